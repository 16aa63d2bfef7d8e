"""Read a TOML file table by table and collect every fault, each with its line and field, not the first alone.

The standard parser keeps no line numbers, so the line of a field is found again in the text by its header and key. A
header or key inside a multi-line string could mislead that search; it only ever decides which line a message names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

MAX_SCENARIO_BYTES = 1024 * 1024
MAX_TEXT_CHARACTERS = 500
FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Fault:
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.message}"


class ScenarioError(Exception):
    """The scenario cannot be run; `faults` says everything that is wrong with it."""

    def __init__(self, path: Path, faults: list[Fault]) -> None:
        self.path = path
        self.faults = tuple(faults)
        shown = [str(fault) for fault in faults[:FAULTS_SHOWN]]
        if len(faults) > FAULTS_SHOWN:
            shown.append(f"... and {len(faults) - FAULTS_SHOWN} more")
        super().__init__("\n".join([f"{path}: {len(faults)} fault(s)", *(f"  {line}" for line in shown)]))


_HEADER = re.compile(r"^\s*(\[\[|\[)\s*([A-Za-z0-9_.\-\s]+?)\s*(\]\]|\])\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-]+)\s*=")


class _Lines:
    """Where each table and key stands in the text."""

    def __init__(self, text: str) -> None:
        self.keys: dict[str, int] = {}
        counts: dict[str, int] = {}
        path = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                path = self._enter(header.group(2).replace(" ", ""), header.group(1) == "[[", counts)
                self.keys.setdefault(path, number)
            elif key := _KEY.match(line):
                self.keys.setdefault(f"{path}.{key.group(1)}" if path else key.group(1), number)

    @staticmethod
    def _enter(name: str, repeated: bool, counts: dict[str, int]) -> str:
        """The path of a header with the number of each array element it stands in: `passes[3].seal_broken`."""
        path = ""
        parts = name.split(".")
        for depth, part in enumerate(parts):
            path = f"{path}.{part}" if path else part
            if depth == len(parts) - 1 and repeated:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path = f"{path}[{counts[path]}]"
        return path

    def of(self, field: str) -> int:
        """The line of a field, or of the nearest table around it."""
        while field:
            if field in self.keys:
                return self.keys[field]
            cut = max(field.rfind("."), field.rfind("["))
            field = field[:cut] if cut >= 0 else ""
        return 1


class Document:
    """One file being read, and what was found wrong with it so far."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.faults: list[Fault] = []
        self._lines = _Lines(text)
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = re.search(r"at line (\d+)", str(error))
            raise ScenarioError(path, [Fault(int(place.group(1)) if place else 1, "(syntax)", str(error))]) from error
        self.root = Table(self, "", values)

    def fault(self, field: str, message: str) -> None:
        self.faults.append(Fault(self._lines.of(field), field, message))

    def end(self) -> None:
        """Raises ScenarioError if anything was wrong."""
        if self.faults:
            raise ScenarioError(self.path, sorted(self.faults, key=lambda fault: (fault.line, fault.field)))


def read_document(path: Path) -> Document:
    """Raises ScenarioError when the file cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SCENARIO_BYTES + 1)
    except OSError as error:
        raise ScenarioError(path, [Fault(1, "(file)", f"cannot be read: {error.strerror or error}")]) from error
    if len(data) > MAX_SCENARIO_BYTES:
        raise ScenarioError(path, [Fault(1, "(file)", f"too large: limit {MAX_SCENARIO_BYTES} bytes")])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ScenarioError(path, [Fault(line, "(file)", "is not UTF-8")]) from error
    return Document(path, text)


class Table:
    """One table of the file. Takes its keys out one by one; `end` complains about those that nobody asked for.

    What cannot be read is a fault in the document and gives an empty value, so that the reading goes on.
    """

    def __init__(self, document: Document, where: str, values: Mapping[str, Any]) -> None:
        self.where = where
        self._document = document
        self._left = dict(values)

    def field(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def fault(self, key: str, message: str) -> None:
        self._document.fault(self.field(key), message)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def _take(self, key: str, kind: type[T], expected: str, empty: T) -> T:
        if key not in self._left:
            self.fault(key, f"is missing: expected {expected}")
            return empty
        value = self._left.pop(key)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            self.fault(key, f"expected {expected}, got {value!r}")
            return empty
        return value

    def text(self, key: str, default: str | None = None) -> str:
        if default is not None and key not in self._left:
            return default
        value = self._take(key, str, "a text", "")
        if len(value) > MAX_TEXT_CHARACTERS:
            self.fault(key, f"is too long: limit {MAX_TEXT_CHARACTERS} characters, got {len(value)}")
            return ""
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self.text(key, default)
        if value not in choices:
            self.fault(key, f"expected one of {', '.join(choices)}, got {value!r}")
            return choices[0]
        return value

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        if default is not None and key not in self._left:
            return default
        value = self._take(key, int, "a whole number", low)
        if not low <= value <= high:
            self.fault(key, f"expected {low} to {high}, got {value}")
            return low
        return value

    def flag(self, key: str) -> bool:
        return key in self._left and self._take_flag(key)

    def _take_flag(self, key: str) -> bool:
        value = self._left.pop(key)
        if not isinstance(value, bool):
            self.fault(key, f"expected true or false, got {value!r}")
        return value is True

    def mapping(self, key: str) -> dict[str, Any]:
        """The table of that name as it stands, or an empty one: whoever uses it checks what is in it."""
        return dict(self._take(key, dict, "a table", {})) if key in self._left else {}

    def mappings(self, key: str) -> list[dict[str, Any]]:
        """A list of tables as they stand: whoever uses them checks what is in them."""
        values = self._take(key, list, "a list of tables", [])
        if not all(isinstance(value, dict) for value in values):
            self.fault(key, f"expected a list of tables, got {values!r}")
            return []
        return [dict(value) for value in values]

    def day(self, key: str) -> date:
        return self._take(key, date, "a date such as 2025-07-01", date(1970, 1, 1))

    def texts(self, key: str, at_least: int = 0) -> tuple[str, ...]:
        if at_least == 0 and key not in self._left:
            return ()
        values = self._take(key, list, "a list of texts", [])
        if not all(isinstance(value, str) for value in values):
            self.fault(key, f"expected a list of texts, got {values!r}")
            return ()
        if len(values) < at_least:
            self.fault(key, f"expected at least {at_least}, got {len(values)}")
        if len(set(values)) != len(values):
            self.fault(key, "a text stands there twice")
        return tuple(values)

    def table(self, key: str) -> Table | None:
        """The table of that name, or None when it is not there."""
        if key not in self._left:
            return None
        return Table(self._document, self.field(key), self._take(key, dict, "a table", {}))

    def required_table(self, key: str) -> Table:
        return Table(self._document, self.field(key), self._take(key, dict, "a table", {}))

    def tables(self, key: str, at_least: int = 0) -> list[Table]:
        if at_least == 0 and key not in self._left:
            return []
        values = self._take(key, list, "a list of tables", [])
        if not all(isinstance(value, dict) for value in values):
            self.fault(key, "expected a list of tables")
            return []
        if len(values) < at_least:
            self.fault(key, f"expected at least {at_least}, got {len(values)}")
        return [Table(self._document, f"{self.field(key)}[{number}]", value) for number, value in enumerate(values)]

    def entries(self) -> dict[str, Any]:
        """All that is left, for tables whose keys are names."""
        left, self._left = self._left, {}
        return left

    def checked(self, key: str, value: str, check: Callable[[str], object]) -> str:
        """The value, and a fault if the check raises."""
        if value:
            try:
                check(value)
            except Exception as error:  # every identifier has its own error; each says what is wrong with it
                self.fault(key, str(error))
        return value

    def end(self) -> None:
        for key in self._left:
            self.fault(key, "is not a known key")

"""The operator's reference tables: UN/LOCODE and the Harmonized System, read from files, for the gateway alone.

Contracts check the form of a place or of a goods code, and nothing but the form: two validators with different tables
would come to different states. So tables stand at the gateway: it refuses (or, if so configured, only reports) what is
not in them before it is signed into the ledger, and names what is. A gateway without tables judges nothing.

What a table says nothing about is not judged: places of a country that it has no row of, local posts, which have no
UN/LOCODE, and chapters 98 and 99, which each country fills itself, unless it has rows of them. A national code of ten
digits is listed if it stands in the table, or, where the table has no ten-digit code of its six digits, if these do.

Files: UN/LOCODE as UNECE publishes it, CSV of twelve columns without a heading, UTF-8, one file or several; the
Harmonized System as CSV with a heading that has `hscode` or `code`, and `description`, and may have `parent`.
Whatever is wrong with a file is said with its line. Files that change are read again; where that fails, what was there
before stays.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.identifiers import IdentifierError, parse_hs, parse_place
from contracts.payloads import SCHEMAS
from contracts.schema import Schema, Type

MAX_TABLE_BYTES = 64 * 1024 * 1024
MAX_TABLE_ROWS = 500_000
MAX_NAME_CHARS = 1_000
LOCODE_COLUMNS = 12
# Marks of a row that UNECE takes out of the table, and of one that only points to another name.
LOCODE_REMOVED, LOCODE_ALIAS = "X", "="


class TableError(Exception):
    """A table that cannot be used: which file, which line, what was expected."""


@dataclass(frozen=True, slots=True)
class Locode:
    """A place that has a UN/LOCODE. `function` as UNECE spells it: 1 port, 2 rail, 3 road, 4 airport, B border."""

    code: str
    name: str
    subdivision: str
    function: str
    latitude_udeg: int | None
    longitude_udeg: int | None

    def document(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "country": self.code[:2],
            "name": self.name,
            "subdivision": self.subdivision or None,
            "function": self.function or None,
            "latitude_udeg": self.latitude_udeg,
            "longitude_udeg": self.longitude_udeg,
        }


@dataclass(frozen=True, slots=True)
class Goods:
    """A line of the Harmonized System, or a country's own below it."""

    code: str
    description: str


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A field of a payload whose code is in no table that speaks of it."""

    path: str
    code: str
    table: str

    def __str__(self) -> str:
        return f"{self.path}: {self.code} is not in the table of {self.table}"


@dataclass(frozen=True, slots=True)
class Tables:
    """What was read. An empty table judges nothing."""

    locodes: Mapping[str, Locode] = field(default_factory=dict)
    goods: Mapping[str, Goods] = field(default_factory=dict)
    _countries: frozenset[str] = field(init=False)
    _chapters: frozenset[str] = field(init=False)
    _refined: frozenset[str] = field(init=False)  # six digits below which there are longer codes

    def __post_init__(self) -> None:
        object.__setattr__(self, "_countries", frozenset(code[:2] for code in self.locodes))
        object.__setattr__(self, "_chapters", frozenset(code[:2] for code in self.goods))
        object.__setattr__(self, "_refined", frozenset(code[:6] for code in self.goods if len(code) > 6))

    def lists_place(self, text: str) -> bool:
        """Whether a place is listed, or is of no country that the table speaks of."""
        place = parse_place(text)
        return place.latitude_udeg is not None or place.country not in self._countries or place.code in self.locodes

    def lists_goods(self, text: str) -> bool:
        """Whether a goods code is listed, or is of a chapter that is each country's own and not in the table."""
        if not self.goods or text in self.goods:
            return True
        hs = parse_hs(text)
        if hs.national and text[:2] not in self._chapters:
            return True
        return hs.national_line is not None and hs.subheading in self.goods and hs.subheading not in self._refined

    def line_of(self, code: str) -> list[Goods]:
        """A code and all above it, the chapter first; empty if it is not listed."""
        if not self.goods or code not in self.goods:
            return []
        return [
            self.goods[code[:width]] for width in (2, 4, 6, 10) if width <= len(code) and code[:width] in self.goods
        ]

    def unlisted(self, kind: str, payload: Mapping[Any, Any]) -> tuple[Unlisted, ...]:
        """The places and goods codes of a payload that are not listed. What has not their form is not judged here."""
        walk = _WALKS.get(kind)
        if walk is None or not (self.locodes or self.goods):
            return ()
        found = []
        for path, parse, text in walk("", payload):
            lists, table = (
                (self.lists_goods, "goods codes") if parse is parse_hs else (self.lists_place, "UN/LOCODE places")
            )
            try:
                if not lists(text):
                    found.append(Unlisted(path, text, table))
            except IdentifierError:
                continue
        return tuple(found)


# ---- where the codes stand in a payload

_Walk = Callable[[str, Any], Iterator[tuple[str, Callable[[str], object], str]]]


def _walk_of(described: Type) -> _Walk | None:
    if described.parse in (parse_place, parse_hs):
        return _text_walk(described.parse)
    if described.element is not None:
        element = _walk_of(described.element)
        return None if element is None else _list_walk(element)
    return None if described.schema is None else _schema_walk(described.schema)


def _text_walk(parse: Callable[[str], object]) -> _Walk:
    def walk(path: str, value: Any) -> Iterator[tuple[str, Callable[[str], object], str]]:
        if type(value) is str:
            yield path, parse, value

    return walk


def _list_walk(element: _Walk) -> _Walk:
    def walk(path: str, value: Any) -> Iterator[tuple[str, Callable[[str], object], str]]:
        if isinstance(value, list | tuple):
            for number, each in enumerate(value):
                yield from element(f"{path}[{number}]", each)

    return walk


def _schema_walk(schema: Schema) -> _Walk | None:
    walks = [(each.name, walk) for each in schema.fields if (walk := _walk_of(each.type)) is not None]

    def walk_fields(path: str, value: Any) -> Iterator[tuple[str, Callable[[str], object], str]]:
        if isinstance(value, Mapping):
            for name, each in walks:
                if name in value:
                    yield from each(f"{path}.{name}" if path else name, value[name])

    return walk_fields if walks else None


_WALKS: dict[str, _Walk] = {
    kind: walk for kind, schema in SCHEMAS.items() if (walk := _schema_walk(schema)) is not None
}


# ---- reading the files


def read_tables(locode_paths: Iterable[Path], goods_path: Path | None) -> Tables:
    """Raises TableError."""
    locodes: dict[str, Locode] = {}
    for path in locode_paths:
        locodes.update(read_locodes(path))
    return Tables(locodes, {} if goods_path is None else read_goods(goods_path))


def read_locodes(path: Path) -> dict[str, Locode]:
    """The places of one file of UN/LOCODE. Raises TableError."""
    found: dict[str, Locode] = {}
    for line, row in _rows(path):
        if len(row) != LOCODE_COLUMNS:
            raise TableError(f"{path}:{line}: expected {LOCODE_COLUMNS} columns of UN/LOCODE, got {len(row)}")
        change, country, location, name, plain, subdivision, function, _, _, _, coordinates, _ = row
        # Headings of countries and other names of a place have no location of their own.
        if not location or change in (LOCODE_REMOVED, LOCODE_ALIAS):
            continue
        code = country + location
        try:
            parse_place(code)
        except IdentifierError as error:
            raise TableError(f"{path}:{line}: {error}") from error
        if not name or len(name) > MAX_NAME_CHARS:
            raise TableError(f"{path}:{line}: name: expected 1 to {MAX_NAME_CHARS} characters, got {len(name)}")
        latitude_udeg, longitude_udeg = _position(coordinates)
        if code not in found:
            found[code] = Locode(code, plain or name, subdivision, function, latitude_udeg, longitude_udeg)
    if not found:
        raise TableError(f"{path}: expected rows of UN/LOCODE, got none")
    return found


def _position(text: str) -> tuple[int | None, int | None]:
    """`4752N 08807E`: degrees and minutes, as micro-degrees to the nearest.

    None and None for what is no position: the published table has some, such as 75 minutes, and the place is listed all
    the same.
    """
    latitude, _, longitude = text.partition(" ")
    angles = _angle(latitude, 4, "NS", 90), _angle(longitude, 5, "EW", 180)
    return (None, None) if None in angles else angles


def _angle(text: str, digits: int, signs: str, most_degrees: int) -> int | None:
    number, sign = text[:-1], text[-1:]
    if len(number) != digits or not number.isascii() or not number.isdigit() or sign not in signs:
        return None
    degrees, minutes = int(number[:-2]), int(number[-2:])
    if minutes > 59 or degrees * 60 + minutes > most_degrees * 60:
        return None
    udeg = ((degrees * 60 + minutes) * 1_000_000 + 30) // 60
    return -udeg if sign in "SW" else udeg


def read_goods(path: Path) -> dict[str, Goods]:
    """The Harmonized System from one file. Raises TableError."""
    rows = _rows(path)
    line, heading = next(rows, (1, []))
    columns = {name.strip().lower(): number for number, name in enumerate(heading)}
    code_at, name_at = columns.get("hscode", columns.get("code")), columns.get("description")
    if code_at is None or name_at is None:
        raise TableError(f"{path}:{line}: expected a heading with hscode (or code) and description, got {heading[:8]}")
    found: dict[str, Goods] = {}
    for line, row in rows:
        if len(row) != len(heading):
            raise TableError(f"{path}:{line}: expected {len(heading)} columns as in the heading, got {len(row)}")
        code, description = row[code_at].strip().replace(".", ""), row[name_at].strip()
        if not code.isascii() or not code.isdigit():
            continue  # totals and sections
        if len(code) not in (2, 4, 6, 10):
            raise TableError(f"{path}:{line}: expected a code of 2, 4, 6 or 10 digits, got {code[:20]!r}")
        if not description or len(description) > MAX_NAME_CHARS:
            raise TableError(
                f"{path}:{line}: description: expected 1 to {MAX_NAME_CHARS} characters, got {len(description)}"
            )
        if code in found:
            raise TableError(f"{path}:{line}: {code} stands in the table twice")
        found[code] = Goods(code, description)
    if not found:
        raise TableError(f"{path}: expected goods codes, got none")
    return found


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file with the line on which each ends. Raises TableError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_TABLE_BYTES:
        raise TableError(f"{path}: too large: expected at most {MAX_TABLE_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TableError(f"{path}:{line}: expected UTF-8: convert the file first, as with iconv") from error
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        for count, row in enumerate(reader):
            if count >= MAX_TABLE_ROWS:
                raise TableError(f"{path}:{reader.line_num}: expected at most {MAX_TABLE_ROWS} rows")
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise TableError(f"{path}:{reader.line_num}: {error}") from error

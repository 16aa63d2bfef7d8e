"""Every leaf element and attribute of a document, and what became of it: the report of an import.

Promises: each leaf stands in it once, in the document's order; its fate is one that the mapping's row allows, or FAULT,
or NOWHERE. Nothing disappears: what nobody took is kept nowhere, with the reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from api.wco.mapping import UNNAMED, Fate, row_of
from api.wco.reading import Element

MAX_SHOWN_CHARS = 120


@dataclass(frozen=True, slots=True)
class Problem:
    """Something for which the document cannot be signed as it is; `path` and `line` where an element is to blame."""

    message: str
    field: str  # of the payload, or `subject`
    path: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}: " if self.path else ""
        return f"{where}{self.field}: {self.message}" if self.field else f"{where}{self.message}"

    def as_dict(self) -> dict[str, Any]:
        return {"field": self.field, "path": self.path, "line": self.line, "message": self.message}


@dataclass(slots=True, eq=False)
class Leaf:
    path: str
    pattern: str
    line: int
    value: str
    fate: Fate = Fate.NOWHERE
    to: str = ""
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        shown = self.value if len(self.value) <= MAX_SHOWN_CHARS else self.value[: MAX_SHOWN_CHARS - 1] + "…"
        document: dict[str, Any] = {"path": self.path, "line": self.line, "value": shown, "fate": self.fate.value}
        document.update({"to": self.to} if self.to else {}, **({"why": self.why} if self.why else {}))
        return document


def one_line(text: str) -> str:
    """Text without line breaks and doubled blanks: XML editors indent what stands between tags."""
    return " ".join(text.split())


class Leaves:
    """The leaves of one document, and what is wrong with it."""

    def __init__(self, root: Element) -> None:
        self.all: list[Leaf] = []
        self.problems: list[Problem] = []
        self._by_place: dict[tuple[int, str], Leaf] = {}
        for element in root.walk():
            self._keep(element)

    def _keep(self, element: Element) -> None:
        if element.children and not element.attributes:
            return
        path, pattern = element.path, element.pattern
        places = [(f"@{name}", value) for name, value in element.attributes]
        if not element.children:
            places.insert(0, ("", element.text))
        for suffix, value in places:
            row = row_of(pattern + suffix)
            why = UNNAMED if row is None else row.to if row.fate is Fate.NOWHERE else f"not needed: {row.to}"
            if not value.strip():
                why = "empty"
            leaf = Leaf(path + suffix, pattern + suffix, element.line, one_line(value), why=why)
            self.all.append(leaf)
            self._by_place[id(element), suffix.removeprefix("@")] = leaf

    def leaf(self, element: Element, attribute: str = "") -> Leaf | None:
        return self._by_place.get((id(element), attribute))

    def take(self, element: Element | None, fate: Fate, to: str, attribute: str = "") -> str:
        """The value of a leaf, from now on accounted for; empty where there is none."""
        leaf = None if element is None else self.leaf(element, attribute)
        if leaf is None or not leaf.value:
            return ""
        leaf.fate, leaf.to, leaf.why = fate, to, ""
        return leaf.value

    def pass_over(self, element: Element | None, why: str) -> None:
        """Say better than the mapping why a leaf is kept nowhere."""
        leaf = None if element is None else self.leaf(element)
        if leaf is not None and leaf.value:
            leaf.fate, leaf.to, leaf.why = Fate.NOWHERE, "", why

    def fault(self, element: Element | None, field: str, message: str, attribute: str = "") -> None:
        """Something is wrong: with a leaf, with an element, or (None) with what is not there."""
        leaf = None if element is None else self.leaf(element, attribute)
        if leaf is not None:
            leaf.fate, leaf.to, leaf.why = Fate.FAULT, field, message
            self.problems.append(Problem(message, field, leaf.path, leaf.line))
        elif element is not None:
            self.problems.append(Problem(message, field, element.path, element.line))
        else:
            self.problems.append(Problem(message, field))

    def one(self, parent: Element | None, *names: str) -> Element | None:
        """The one element at the end of a path; a problem where there are several to choose from."""
        element = parent
        for name in names:
            if element is None:
                return None
            found = element.named(name)
            if len(found) > 1:
                self.fault(found[1], "", f"expected one {name}, got {len(found)}")
            element = found[0] if found else None
        return element

    def given_instead(self, fields: list[str]) -> None:
        """The declarant gives these fields: what the document says of them counts no longer."""

        def replaced(field: str) -> bool:
            return any(field == given or field.startswith((f"{given}.", f"{given}[")) for given in fields)

        self.problems = [problem for problem in self.problems if not replaced(problem.field)]
        for leaf in self.all:
            if leaf.fate in (Fate.FIELD, Fate.COMMERCIAL, Fate.FAULT, Fate.SUBJECT) and replaced(leaf.to):
                leaf.fate, leaf.to, leaf.why = Fate.NOWHERE, "", "given otherwise by who imports"

    def counts(self) -> dict[str, int]:
        counted = Counter(leaf.fate for leaf in self.all)
        return {fate.value: counted[fate] for fate in Fate}

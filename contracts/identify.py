"""What kinds of identifier a text is, and what is wrong with it as each of the others.

Promises: `readings` takes a text in its canonical spelling and nothing else, as the contracts do; `canonical` is the
spelling that a person may have meant: upper case, without blanks, and without the separators that people put into
container numbers and goods codes. Forms overlap: nearly every upper-case text is a UCR and a seal number as well, so
kinds come in the order of how much their form says, those with a check digit first.

Does not say whether the thing exists: the ledger (`comity find`) and the operator's tables do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from contracts import identifiers as i

MAX_TEXT_CHARS = 128
_CUT = str.maketrans("", "", " \t\n")
_CUT_SEPARATORS = str.maketrans("", "", " \t\n-.")


@dataclass(frozen=True, slots=True)
class Kind:
    """`certain`: the form says so much that another kind is unlikely (check digit, date, fixed prefix)."""

    name: str
    parse: Callable[[str], Any]
    title: str
    form: str
    certain: bool = False


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "container",
            i.parse_container,
            "container, ISO 6346",
            "3 letters, one of U J Z R, 6 digits, check digit",
            True,
        ),
        Kind(
            "mrn",
            i.parse_mrn,
            "movement reference number",
            "year 2, country 2, 12 of A-Z0-9, 1 of A-Z0-9, check digit",
            True,
        ),
        Kind(
            "kz_number",
            i.parse_kz_number,
            "declaration number of Kazakhstan",
            "NNNNN/ddmmyy/NNNNNNN, or 398NNNNN/yymmdd/NNNNNNN for transit and express",
            True,
        ),
        Kind(
            "cn_number",
            i.parse_cn_number,
            "declaration number of China",
            "18 digits: office 4, year 4, 1 import or 0 export, serial 9",
            True,
        ),
        Kind("vehicle", i.parse_vehicle, "vehicle", "CC/PLATE, or fleet/ID of an unmanned one", True),
        Kind("place", i.parse_place, "place", "UN/LOCODE, or CC/NAME@latitude,longitude in micro-degrees"),
        Kind("hs", i.parse_hs, "goods code, Harmonized System", "6 digits, or 10 of a country that begin with them"),
        Kind("ucr", i.parse_ucr, "unique consignment reference", "1 to 35 of A-Z0-9-/"),
        Kind("seal", i.parse_seal, "seal number", "1 to 20 of A-Z0-9-/"),
        Kind("seal_class", i.parse_seal_class, "seal class, ISO 17712", "I, S or H"),
        Kind("mass", i.parse_mass, "mass in grams", "whole grams, no leading zero"),
        Kind("participant", i.parse_participant_id, "participant", "1 to 64 of a-z0-9./_-"),
        Kind("country", i.parse_country, "country, ISO 3166-1", "2 letters"),
        Kind("date", i.parse_date, "date", "YYYY-MM-DD"),
    )
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The text as an identifier of a kind, and its parts."""

    kind: Kind
    value: Any

    @property
    def parts(self) -> dict[str, Any]:
        if self.kind.name == "country":
            return {}
        if self.kind.name == "date":
            return {"year": self.value.year, "month": self.value.month, "day": self.value.day}
        parts: dict[str, Any] = {}
        for each in (*(field.name for field in fields(self.value)), *_DERIVED.get(self.kind.name, ())):
            part = getattr(self.value, each)
            if each not in ("text", "code", "letter", "grams") and part is not None:
                parts[each] = part if isinstance(part, str | int) else str(part)
        return parts


# What a value says beside its fields.
_DERIVED = {
    "mrn": ("form",),
    "hs": ("chapter", "heading", "subheading", "national_line"),
    "seal_class": ("meaning",),
    "participant": ("namespace",),
}


@dataclass(frozen=True, slots=True)
class Identification:
    """What a text is, what it is not, and the spelling that may have been meant where it is nothing certain."""

    text: str
    readings: tuple[Reading, ...]
    errors: tuple[tuple[Kind, i.IdentifierError], ...]
    meant: tuple[tuple[Kind, str], ...]


def identify(text: str, kinds: tuple[str, ...] = ()) -> Identification:
    """What `text` is among `kinds` (all, if none is named). The nearest errors come first."""
    readings, errors, meant = [], [], []
    for name, kind in KINDS.items():
        if kinds and name not in kinds:
            continue
        try:
            readings.append(Reading(kind, kind.parse(text)))
        except i.IdentifierError as error:
            errors.append((kind, error))
            spelled = canonical(kind, text)
            if spelled is not None and (kind.certain or kinds):
                meant.append((kind, spelled))
    errors.sort(key=lambda each: -each[1].position)
    return Identification(text, tuple(readings), tuple(errors), tuple(meant))


def canonical(kind: Kind, text: str) -> str | None:
    """The spelling of this kind that a person may have meant by a text that is not canonical; None if there is none."""
    as_written = text if kind.name == "participant" else _upper(text)
    candidates = [as_written.translate(_CUT)]
    if kind.name in ("container", "mrn", "hs", "cn_number"):
        candidates.append(as_written.translate(_CUT_SEPARATORS))
    elif kind.name == "participant":
        candidates.append(candidates[0].lower())
    for candidate in candidates:
        if candidate != text:
            try:
                kind.parse(candidate)
            except i.IdentifierError:
                continue
            return candidate
    return None


def _upper(text: str) -> str:
    upper = text.upper()
    return "fleet/" + upper[6:] if upper.startswith("FLEET/") else upper

"""What JSON Schema can say of the identifiers: their form as a pattern, by the function that parses them.

A pattern allows what the parser might take and says nothing of check digits, dates that exist or limits of a sum: the
parser decides. Written for ECMA 262 and for Python alike, with the character sets of `contracts.identifiers` spelled
out, since whoever reads a schema has nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contracts.identifiers import (
    MAX_FLEET_ID_CHARS,
    MAX_LOCAL_POST_CHARS,
    MAX_PARTICIPANT_ID_CHARS,
    MAX_PLATE_CHARS,
    MAX_SEAL_CHARS,
    MAX_UCR_CHARS,
    parse_container,
    parse_country,
    parse_date,
    parse_hs,
    parse_mrn,
    parse_participant_id,
    parse_place,
    parse_seal,
    parse_ucr,
    parse_vehicle,
)


def _form(pattern: str, example: str) -> dict[str, Any]:
    return {"pattern": f"^(?:{pattern})$", "examples": [example]}


_DEGREES = "-?[0-9]{1,9}"

FORMS: Mapping[Callable[[str], object], Mapping[str, Any]] = {
    parse_ucr: _form(f"[A-Z0-9/-]{{1,{MAX_UCR_CHARS}}}", "26KZBKT/000123"),
    parse_mrn: _form("[0-9]{2}[A-Z]{2}[A-Z0-9]{13}[0-9]", "19GBCKKCQSXV2FGVA8"),
    parse_container: _form("[A-Z]{3}[UJZR][0-9]{7}", "CSQU3054383"),
    parse_seal: _form(f"[A-Z0-9/-]{{1,{MAX_SEAL_CHARS}}}", "KZE0000001"),
    parse_place: _form(
        f"[A-Z]{{2}}(?:[A-Z2-9]{{3}}|/[A-Z0-9-]{{1,{MAX_LOCAL_POST_CHARS}}}@{_DEGREES},{_DEGREES})", "CNBKT"
    ),
    parse_hs: _form("[0-9]{6}(?:[0-9]{4})?", "100199"),
    parse_vehicle: _form(
        f"fleet/[A-Z0-9-]{{1,{MAX_FLEET_ID_CHARS}}}|[A-Z]{{2}}/[A-Z0-9\\u4e00-\\u9fff]{{1,{MAX_PLATE_CHARS}}}",
        "KZ/123ABC02",
    ),
    parse_participant_id: _form(f"[a-z0-9][a-z0-9./_-]{{0,{MAX_PARTICIPANT_ID_CHARS - 1}}}", "kz/declarant/astyk"),
    parse_country: _form("[A-Z]{2}", "KZ"),
    parse_date: _form("[0-9]{4}-[0-9]{2}-[0-9]{2}", "2025-07-01"),
}

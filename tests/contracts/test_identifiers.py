"""Identifiers: what is valid, what is not, and which character is wrong."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import identifiers as i

DATA = Path(os.environ.get("COMITY_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))

VALID: list[tuple[Callable[[str], object], str]] = [
    (i.parse_ucr, "KZ26/AGRO-000001"),
    (i.parse_ucr, "A" * 35),
    (i.parse_kz_number, "55301/221126/0000123"),
    (i.parse_kz_number, "39855301/261122/0000123"),
    (i.parse_kz_number, "55301/290224/0000001"),
    (i.parse_cn_number, "943020260000000123"),
    (i.parse_cn_number, "943020261000000123"),
    (i.parse_mrn, "19GBCKKCQSXV2FGVA8"),
    (i.parse_mrn, "26KZ000000000001J9"),
    (i.parse_container, "CSQU3054383"),
    (i.parse_container, "CBHU3202732"),
    (i.parse_seal, "HS00000001"),
    (i.parse_place, "CNBKT"),
    (i.parse_place, "KZ/BAKHTY@46660000,82750000"),
    (i.parse_place, "AR/USHUAIA@-54800000,-68300000"),
    (i.parse_hs, "100199"),
    (i.parse_hs, "1001990000"),
    (i.parse_hs, "9801000000"),
    (i.parse_vehicle, "KZ/123ABC02"),
    (i.parse_vehicle, "CN/新G12345"),
    (i.parse_vehicle, "fleet/BKT-0001"),
    (i.parse_participant_id, "kz/truck/t-001"),
    (i.parse_country, "KZ"),
    (i.parse_date, "2025-07-01"),
    (i.parse_seal_class, "I"),
    (i.parse_seal_class, "S"),
    (i.parse_seal_class, "H"),
    (i.parse_mass, "1"),
    (i.parse_mass, "33000000"),
    (i.parse_mass, "1000000000000"),
]


@pytest.mark.parametrize(("parse", "text"), VALID)
def test_a_valid_identifier_is_its_own_canonical_text(parse: Callable[[str], object], text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("parse", "text", "position", "expected"),
    [
        (i.parse_ucr, "", 1, "1 to 35 characters"),
        (i.parse_ucr, "A" * 36, 36, "the end"),
        (i.parse_ucr, "KZ26_1", 5, "A-Z, 0-9, - or /"),
        (i.parse_ucr, "KZ26\n", 5, "A-Z, 0-9, - or /"),
        (i.parse_kz_number, "55301/310226/0000123", 7, "a date that exists"),
        (i.parse_kz_number, "55301/290226/0000123", 7, "a date that exists"),
        (i.parse_kz_number, "5530/221126/00001234", 5, "a digit"),
        (i.parse_kz_number, "39755301/261122/0000123", 3, "398"),
        (i.parse_kz_number, "39855301/221326/0000123", 10, "a date that exists"),
        (i.parse_kz_number, "55301/221126/000012", 20, "a digit"),
        (i.parse_kz_number, "55301/221126/00001234", 21, "the end"),
        (i.parse_kz_number, "55301-221126-0000123", 6, "/"),
        (i.parse_cn_number, "943020262000000123", 9, "1 (import) or 0 (export)"),
        (i.parse_cn_number, "943018260000000123", 5, "a year"),
        (i.parse_cn_number, "94302026000000012", 18, "18 characters"),
        (i.parse_cn_number, "94302026000000012X", 18, "a digit"),
        (i.parse_mrn, "19GBCKKCQSXV2FGVA7", 18, "check digit 8"),
        (i.parse_mrn, "19GBCKKCQSXV2FGVA", 18, "18 characters"),
        (i.parse_mrn, "1XGBCKKCQSXV2FGVA8", 2, "a digit of the year"),
        (i.parse_mrn, "19G1CKKCQSXV2FGVA8", 4, "a letter"),
        (i.parse_mrn, "19GBCKKcQSXV2FGVA8", 8, "A-Z or 0-9"),
        (i.parse_mrn, "19GBCKKCQSXV2FGVAA", 18, "a digit"),
        (i.parse_container, "CSQU3054384", 11, "check digit 3"),
        (i.parse_container, "CSQA3054383", 4, "category U, J, Z or R"),
        (i.parse_container, "CSQU305438", 11, "11 characters"),
        (i.parse_container, "csqu3054383", 1, "a letter"),
        (i.parse_seal, "A" * 21, 21, "the end"),
        (i.parse_seal, "a1", 1, "A-Z, 0-9, - or /"),
        (i.parse_place, "CNBK1", 5, "A-Z or 2-9"),
        (i.parse_place, "CNBKTT", 6, "the end"),
        (i.parse_place, "CN", 3, "A-Z or 2-9"),
        (i.parse_place, "KZ/BAKHTY", 10, "@ and a position"),
        (i.parse_place, "KZ/BAKHTY@46660000", 19, ", and a longitude"),
        (i.parse_place, "KZ/BAKHTY@90000001,0", 11, "at most 90000000"),
        (i.parse_place, "KZ/BAKHTY@0046,0", 11, "the shortest spelling 46"),
        (i.parse_place, "KZ/BAKHTY@-0,0", 11, "the shortest spelling 0"),
        (i.parse_place, "KZ/@1,1", 4, "a post code"),
        (i.parse_hs, "770100", 1, "a chapter"),
        (i.parse_hs, "000100", 1, "a chapter"),
        (i.parse_hs, "10019", 6, "6 or 10 digits"),
        (i.parse_hs, "10019900", 9, "10 characters"),
        (i.parse_vehicle, "KZ/", 4, "a plate"),
        (i.parse_vehicle, "KZ123", 3, "/"),
        (i.parse_vehicle, "fleet/", 7, "a fleet id"),
        (i.parse_participant_id, "-kz", 1, "a-z or 0-9"),
        (i.parse_participant_id, "kz/Truck", 4, "a-z"),
        (i.parse_country, "kz", 1, "a letter"),
        (i.parse_date, "2025-02-30", 1, "a date that exists"),
        (i.parse_date, "2025-2-30", 7, "a digit"),
        (i.parse_seal_class, "X", 1, "I (indicative), S (security) or H (high security)"),
        (i.parse_seal_class, "HH", 2, "the end"),
        (i.parse_seal_class, "", 1, "I (indicative)"),
        (i.parse_mass, "", 1, "1 to 13 characters"),
        (i.parse_mass, "0", 1, "without leading zeros"),
        (i.parse_mass, "033", 1, "without leading zeros"),
        (i.parse_mass, "33.5", 3, "a digit"),
        (i.parse_mass, "1000000000001", 1, "at most 1000000000000 g"),
        (i.parse_mass, "10000000000000", 14, "the end"),
    ],
)
def test_an_invalid_identifier_says_which_character_is_wrong(
    parse: Callable[[str], object], text: str, position: int, expected: str
) -> None:
    with pytest.raises(i.IdentifierError) as caught:
        parse(text)
    assert caught.value.position == position
    assert expected in caught.value.expected


@given(st.sampled_from(VALID), st.text(max_size=40))
def test_whatever_the_text_it_parses_to_itself_or_is_refused(
    valid: tuple[Callable[[str], object], str], text: str
) -> None:
    parse, _ = valid
    try:
        value = parse(text)
    except i.IdentifierError:
        return
    assert str(value) == text


@given(st.sampled_from(VALID), st.integers(0, 40), st.characters())
def test_one_changed_character_is_refused_or_parses_to_itself(
    valid: tuple[Callable[[str], object], str], at: int, char: str
) -> None:
    parse, text = valid
    changed = text[:at] + char + text[at + 1 :]
    position = 1
    try:
        spelled = str(parse(changed))
    except i.IdentifierError as error:
        spelled, position = changed, error.position
    assert spelled == changed
    assert 1 <= position <= len(changed) + 1


# ISO 6346, table 1, as printed there: written out once more, not computed.
_LETTER_VALUES = {
    "A": 10, "B": 12, "C": 13, "D": 14, "E": 15, "F": 16, "G": 17, "H": 18, "I": 19, "J": 20, "K": 21, "L": 23, "M": 24,
    "N": 25, "O": 26, "P": 27, "Q": 28, "R": 29, "S": 30, "T": 31, "U": 32, "V": 34, "W": 35, "X": 36, "Y": 37, "Z": 38,
}  # fmt: skip
_CHARS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHECKED = [
    "CSQU3054383",
    "CBHU3202732",
    "MSKU0000007",
    "TGHU7599330",
    "19GBCKKCQSXV2FGVA8",
    "26KZ00000000000014",
    "26CN000000ABCDEFJ9",
]


def _remainder(text: str) -> int:
    """The sum of the standard modulo 11, before 10 is written as 0."""
    weight, total = 1, 0
    for char in text[:-1]:
        total += weight * (_LETTER_VALUES[char] if char in _LETTER_VALUES else int(char))
        weight *= 2
    return total % 11


def _parses(text: str) -> bool:
    try:
        (i.parse_mrn if len(text) == 18 else i.parse_container)(text)
    except i.IdentifierError:
        return False
    return True


def _has_the_form(text: str) -> bool:
    if len(text) == 18:
        return text[:2].isdigit() and text[2:4].isalpha() and text[17].isdigit()
    return text[:3].isalpha() and text[3] in "UJZR" and text[4:].isdigit()


def _valid(text: str) -> str:
    """The text with the check digit that the arithmetic of the standard gives."""
    return text[:-1] + str(_remainder(text) % 10)


@pytest.mark.parametrize("text", [_valid(text) for text in _CHECKED])
def test_every_changed_character_is_caught_exactly_as_the_arithmetic_says(text: str) -> None:
    assert _parses(text)
    passed = []
    for at in range(len(text)):
        for char in _CHARS:
            changed = text[:at] + char + text[at + 1 :]
            if changed == text or not _has_the_form(changed):
                assert changed == text or not _parses(changed)
                continue
            assert _parses(changed) == (str(_remainder(changed) % 10) == changed[-1])
            if _parses(changed):
                passed.append((text[at], char, _remainder(text), _remainder(changed)))
    for before, after, old, new in passed:
        # Values that are equal modulo 11, or the sum went between 0 and 10, which are both written 0.
        values = [int(each) if each.isdigit() else _LETTER_VALUES[each] for each in (before, after)]
        assert (values[0] - values[1]) % 11 == 0 or {old, new} == {0, 10}


@pytest.mark.parametrize("text", [_valid(text) for text in _CHECKED])
def test_neighbours_that_change_places_are_caught_exactly_as_the_arithmetic_says(text: str) -> None:
    for at in range(len(text) - 1):
        changed = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        if not _has_the_form(changed):
            assert changed == text or not _parses(changed)
            continue
        assert _parses(changed) == (str(_remainder(changed) % 10) == changed[-1])
        if _parses(changed) and changed != text and at + 2 < len(text):
            values = [int(each) if each.isdigit() else _LETTER_VALUES[each] for each in text[at : at + 2]]
            assert (values[0] - values[1]) % 11 == 0 or {_remainder(text), _remainder(changed)} == {0, 10}


@pytest.mark.parametrize("owner", ["CSQU", "MSKU", "TGHU"])
def test_one_wrong_digit_in_a_serial_passes_only_where_the_sum_goes_between_0_and_10(owner: str) -> None:
    """The known weakness of ISO 6346: owners are advised not to use serials whose sum is 10."""
    for serial in range(0, 1_000_000, 997):
        text = _valid(f"{owner}{serial:06}?")
        for at in range(4, 10):
            changed = text[:at] + str((int(text[at]) + 1 + serial % 9) % 10) + text[at + 1 :]
            if changed != text and _parses(changed):
                assert {_remainder(text), _remainder(changed)} == {0, 10}


def test_the_parts_of_identifiers_are_read() -> None:
    transit = i.parse_kz_number("39855301/261122/0000123")
    assert (transit.transit, transit.date.isoformat()) == (True, "2026-11-22")
    assert i.parse_cn_number("943020261000000123").is_import
    mrn = i.parse_mrn("19GBCKKCQSXV2FGVA8")
    assert (mrn.year, mrn.country, mrn.procedure, mrn.form) == (19, "GB", "A", "phase_5")
    assert i.parse_mrn("26KZ00000000000014").form == "transition"
    assert i.parse_hs("9801000000").national
    assert not i.parse_hs("100199").national
    line = i.parse_hs("1001990000")
    assert (line.chapter, line.heading, line.subheading, line.national_line) == (10, "1001", "100199", "0000")
    assert i.parse_hs("100199").national_line is None
    assert i.parse_seal_class("H").meaning == "high security"
    assert i.parse_mass("33000000").grams == 33_000_000
    assert i.parse_place("KZ/BAKHTY@46660000,82750000").code == "KZ/BAKHTY"
    assert i.parse_vehicle("fleet/BKT-0001").fleet_id == "BKT-0001"


def test_every_code_of_the_published_harmonized_system_parses() -> None:
    path = DATA / "hs" / "harmonized-system.csv"
    if not path.exists():
        pytest.skip(f"reference data is not here: {path}")
    with path.open(encoding="utf-8") as lines:
        codes = [row["hscode"] for row in csv.DictReader(lines) if len(row["hscode"]) == 6 and row["hscode"].isdigit()]
    assert len(codes) > 5000
    for code in codes:
        i.parse_hs(code)


def test_every_published_locode_of_the_corridor_parses() -> None:
    paths = [DATA / "unlocode" / f"{country}.csv" for country in ("CN", "KZ", "MN")]
    if not all(path.exists() for path in paths):
        pytest.skip(f"reference data is not here: {paths[0].parent}")
    seen = set()
    for path in paths:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                code = row[1] + row[2]
                if len(code) == 5:
                    i.parse_place(code)
                    seen.add(code)
    assert "CNBKT" in seen

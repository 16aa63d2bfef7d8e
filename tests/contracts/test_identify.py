"""What kind of identifier a text is: readings, near misses and the spelling that was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.identifiers import IdentifierError
from contracts.identify import KINDS, canonical, identify

# One of each kind, and the kinds that its text is beside that one.
EXAMPLES = {
    "container": ("CSQU3054383", {"ucr", "seal"}),
    "mrn": ("19GBCKKCQSXV2FGVA8", {"ucr", "seal"}),
    "kz_number": ("55301/221126/0000123", {"ucr", "seal", "participant"}),
    "cn_number": ("943020261000000123", {"ucr", "seal", "participant"}),
    "vehicle": ("CN/新G12345", set[str]()),
    "place": ("CNBKT", {"ucr", "seal"}),
    "hs": ("100199", {"ucr", "seal", "mass", "participant"}),
    "ucr": ("KZ26/AGRO-000001-0000002", set[str]()),
    "seal": ("HS00000001", {"ucr"}),
    "seal_class": ("H", {"ucr", "seal"}),
    "mass": ("33000000", {"ucr", "seal", "participant"}),
    "participant": ("kz/truck/t-001", set[str]()),
    "country": ("KZ", {"ucr", "seal"}),
    "date": ("2025-07-01", {"ucr", "seal", "participant"}),
}


def test_there_is_an_example_of_every_kind() -> None:
    assert set(EXAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_text_is_read_as_its_kind_and_as_those_whose_form_it_shares(kind: str) -> None:
    text, others = EXAMPLES[kind]
    assert {reading.kind.name for reading in identify(text).readings} == {kind, *others}


@pytest.mark.parametrize(
    ("kind", "text", "meant"),
    [
        ("container", "csqu 305438-3", "CSQU3054383"),
        ("container", "CSQU 305438 3", "CSQU3054383"),
        ("mrn", "19gb ckkc qsxv 2fgv a8", "19GBCKKCQSXV2FGVA8"),
        ("vehicle", "kz/123 abc 02", "KZ/123ABC02"),
        ("vehicle", "fleet/bkt-0001", "fleet/BKT-0001"),
        ("place", "cn bkt", "CNBKT"),
        ("hs", "1001.99", "100199"),
        ("participant", "KZ/Truck/T-001", "kz/truck/t-001"),
        # A wrong check digit is never put right: which character is wrong nobody knows.
        ("container", "csqu 305438-4", None),
    ],
)
def test_the_spelling_that_was_meant_is_found_and_nothing_is_corrected(kind: str, text: str, meant: str | None) -> None:
    assert canonical(KINDS[kind], text) == meant


def test_errors_stand_in_order_of_how_far_the_text_was_right() -> None:
    found = identify("CSQU3054384")
    positions = [error.position for _, error in found.errors]
    assert positions == sorted(positions, reverse=True)
    assert found.errors[0][0].name == "container"


def test_asked_for_one_kind_the_others_are_not_mentioned() -> None:
    found = identify("CSQU3054383", ("mrn",))
    assert found.readings == ()
    assert [kind.name for kind, _ in found.errors] == ["mrn"]


def test_the_parts_of_a_reading_are_plain_data() -> None:
    (reading,) = identify("19GBCKKCQSXV2FGVA8", ("mrn",)).readings
    assert reading.parts == {
        "year": 19,
        "country": "GB",
        "identifier": "CKKCQSXV2FGV",
        "procedure": "A",
        "check_digit": 8,
        "form": "phase_5",
    }


@given(st.text(max_size=40))
def test_a_text_is_of_exactly_the_kinds_that_parse_it(text: str) -> None:
    expected = set()
    for name, kind in KINDS.items():
        try:
            kind.parse(text)
            expected.add(name)
        except IdentifierError:
            pass
    found = identify(text)
    assert {reading.kind.name for reading in found.readings} == expected
    assert {kind.name for kind, _ in found.errors} == set(KINDS) - expected
    for kind, spelled in found.meant:
        assert str(kind.parse(spelled)) == spelled

"""Things are named in the notation of their standards, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.epcis import names


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        ("CNBKT", "urn:comity:place:CNBKT"),
        ("KZ/BAKHTY@46660000,82750000", "geo:46.66,82.75"),
        ("KZ/X@-1,100", "geo:-0.000001,0.0001"),
        ("KZ/X@0,0", "geo:0,0"),
        ("KZ/X@90000000,-180000000", "geo:90,-180"),
    ],
)
def test_a_post_is_a_position_where_it_has_one(place: str, uri: str) -> None:
    assert names.place(place) == uri


@given(st.integers(-90_000_000, 90_000_000), st.integers(-180_000_000, 180_000_000))
def test_no_micro_degree_is_lost(latitude: int, longitude: int) -> None:
    text = names.position(latitude, longitude).removeprefix("geo:")
    back = []
    for part in text.split(","):
        whole, _, fraction = part.partition(".")
        back.append((-1 if part.startswith("-") else 1) * (abs(int(whole)) * 1_000_000 + int(fraction.ljust(6, "0"))))
    assert back == [latitude, longitude]


def test_times_are_utc_to_the_millisecond() -> None:
    assert names.time(1_795_312_800_007) == "2026-11-22T02:00:00.007Z"
    assert names.time(0) == "1970-01-01T00:00:00.000Z"


def test_a_plate_with_a_chinese_character_is_percent_encoded() -> None:
    assert names.urn("vehicle", "CN/新A12345") == "urn:comity:vehicle:CN/%E6%96%B0A12345"

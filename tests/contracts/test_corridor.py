"""How far fixes are from a route: against great circles, and against a walk along the route in small steps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.corridor import EARTH_RADIUS_M, Position, deviation, distance_m, positions_of
from contracts.telemetry import Fix
from ledger.errors import Misuse

BAKHTY = (46_660_000, 82_750_000)
BAKETU = (46_700_000, 82_900_000)


def great_circle_m(one: Position, other: Position) -> float:
    """The haversine formula."""
    (lat1, lon1), (lat2, lon2) = ((math.radians(value / 1e6) for value in each) for each in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(half))


@pytest.mark.parametrize(
    ("at", "metres"),
    [
        (BAKHTY, 0.0),
        ((46_661_000, 82_750_000), 111.2),  # a thousandth of a degree north
        ((46_660_000, 82_749_000), 76.3),  # a thousandth west, at this latitude
    ],
)
def test_distances_that_one_can_look_up(at: Position, metres: float) -> None:
    assert distance_m(at, [BAKHTY]) == pytest.approx(metres, abs=0.2)


def test_a_route_goes_on_across_the_line_where_days_change() -> None:
    route = [(65_000_000, 179_900_000), (65_000_000, -179_900_000)]
    assert distance_m((65_000_000, 180_000_000), route) == pytest.approx(0, abs=1)
    assert distance_m((65_010_000, -180_000_000), route) == pytest.approx(1_112, abs=5)


near = st.tuples(st.integers(45_000_000, 48_000_000), st.integers(81_000_000, 84_000_000))


@settings(max_examples=60, deadline=None)
@given(near, near)
def test_the_distance_to_one_place_is_that_of_a_great_circle(at: Position, place: Position) -> None:
    assert distance_m(at, [place]) == pytest.approx(great_circle_m(at, place), rel=0.005, abs=0.5)


@settings(max_examples=25, deadline=None)
@given(near, st.lists(near, min_size=2, max_size=4))
def test_the_distance_to_a_route_is_that_to_its_nearest_point(at: Position, route: list[Position]) -> None:
    """By hand: every leg walked in a thousand steps, straight on a map of degrees."""
    nearest = math.inf
    for one, other in pairwise(route):
        for step in range(1_001):
            part = step / 1_000
            point = (round(one[0] + part * (other[0] - one[0])), round(one[1] + part * (other[1] - one[1])))
            nearest = min(nearest, great_circle_m(at, point))
    # A step of the longest leg is some 450 m, and the two straight lines are not of one map.
    assert distance_m(at, route) == pytest.approx(nearest, rel=0.02, abs=1_500)


def test_a_batch_says_how_many_fixes_were_outside_when_the_first_was_and_how_far_the_farthest() -> None:
    # 0, 556, 1668, 2780 and 0 m north of the post, which the route leads away from to the east.
    norths = (0, 5_000, 15_000, 25_000, 0)
    fixes = [Fix(1_000 * (n + 1), BAKHTY[0] + north, BAKHTY[1] - 1) for n, north in enumerate(norths)]
    east = (BAKHTY[0], BAKHTY[1] + 100_000)
    found = deviation(fixes, [BAKHTY, east], 1_000)
    assert (found.fixes, found.outside, found.left_at_ms, found.farthest_at_ms) == (5, 2, 3_000, 4_000)
    assert found.farthest_m == pytest.approx(2_780, abs=3)
    inside = deviation(fixes[:2], [BAKHTY, east], 1_000)
    assert (inside.outside, inside.left_at_ms) == (0, None)


def test_a_place_whose_position_nobody_knows_is_not_guessed() -> None:
    assert positions_of(["KZ/BAKHTY@46660000,82750000", "CNBKT"], {"CNBKT": BAKETU}) == (BAKHTY, BAKETU)
    with pytest.raises(Misuse, match="position of CNBKT is not known"):
        positions_of(["CNBKT"], {})
    with pytest.raises(Misuse):
        deviation([], [BAKHTY], 1)
    with pytest.raises(Misuse):
        deviation([Fix(1, 0, 0)], [], 1)

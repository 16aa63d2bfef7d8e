"""How far a vehicle was from its planned route: what a reader of a telemetry batch wants to know.

No contract decides by this. A plan names places and the width of a corridor around the way between them; the ledger
holds the hash of a batch and not its fixes. Whoever has both compares them here, afterwards and anywhere.

The way between two places is a straight line on a map around the fix that is looked at, which is good to well under
a metre in a hundred for what is near. Floats are in order here: nothing of this is hashed.

Does not: know roads. A route of two places far apart is a straight line; a plan that means a road names places on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from contracts.identifiers import parse_place
from contracts.telemetry import Fix
from ledger.errors import Misuse

EARTH_RADIUS_M = 6_371_008.8  # mean, of the IUGG
FULL_TURN_UDEG = 360_000_000

# Latitude and longitude in micro-degrees.
Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Deviation:
    """How a batch lies to its corridor."""

    corridor_m: int
    fixes: int
    outside: int
    # The fix that is farthest from the route.
    farthest_m: int
    farthest_at_ms: int
    # The first that is outside; None if none is.
    left_at_ms: int | None


def positions_of(places: Sequence[str], known: Mapping[str, Position]) -> tuple[Position, ...]:
    """Where the places of a plan are: a local post says so itself, a UN/LOCODE has to be known. Raises Misuse."""
    found = []
    for text in places:
        place = parse_place(text)
        if place.latitude_udeg is not None and place.longitude_udeg is not None:
            found.append((place.latitude_udeg, place.longitude_udeg))
        elif place.code in known:
            found.append(known[place.code])
        else:
            raise Misuse(f"position of {place.code} is not known: expected it, in micro-degrees")
    return tuple(found)


def deviation(fixes: Sequence[Fix], route: Sequence[Position], corridor_m: int) -> Deviation:
    """Hold every fix against the way along these positions. Misuse if there is none."""
    if not route or not fixes:
        raise Misuse(f"expected a route and fixes, got {len(route)} positions and {len(fixes)} fixes")
    distances = [distance_m((fix.latitude_udeg, fix.longitude_udeg), route) for fix in fixes]
    outside = [fix for fix, metres in zip(fixes, distances, strict=True) if metres > corridor_m]
    farthest = max(range(len(fixes)), key=distances.__getitem__)
    return Deviation(
        corridor_m=corridor_m,
        fixes=len(fixes),
        outside=len(outside),
        farthest_m=round(distances[farthest]),
        farthest_at_ms=fixes[farthest].at_ms,
        left_at_ms=outside[0].at_ms if outside else None,
    )


def distance_m(at: Position, route: Sequence[Position]) -> float:
    """From a position to the nearest point of a way."""
    points = [_on_the_map(at, each) for each in route]
    if len(points) == 1:
        return math.hypot(*points[0])
    return min(_to_segment(one, other) for one, other in pairwise(points))


def _on_the_map(centre: Position, point: Position) -> tuple[float, float]:
    """Metres east and north of the centre, on a map on which distances from the centre are nearly true."""
    east_udeg = (point[1] - centre[1] + FULL_TURN_UDEG // 2) % FULL_TURN_UDEG - FULL_TURN_UDEG // 2
    middle = math.radians((point[0] + centre[0]) / 2e6)
    east = math.radians(east_udeg / 1e6) * math.cos(middle) * EARTH_RADIUS_M
    north = math.radians((point[0] - centre[0]) / 1e6) * EARTH_RADIUS_M
    return east, north


def _to_segment(one: tuple[float, float], other: tuple[float, float]) -> float:
    """From the origin to the straight line between two points."""
    along = (other[0] - one[0], other[1] - one[1])
    length = along[0] ** 2 + along[1] ** 2
    part = 0.0 if length == 0 else max(0.0, min(1.0, -(one[0] * along[0] + one[1] * along[1]) / length))
    return math.hypot(one[0] + part * along[0], one[1] + part * along[1])

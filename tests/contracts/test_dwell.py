"""Dwell and queue times: what begins and ends each interval, as a timetable; percentiles, exactly."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import dwell
from contracts.dwell import INTERVALS, Figure, Measured, Passage, figures, follow, nearest_rank
from contracts.escort import ESCORT
from contracts.identifiers import IdentifierError

EXIT, ENTRY = "KZ/BAKHTY", "CNBKT"
TRUCK, GATE = "kz/truck/t-001", "kz/terminal/gate-1"
PLAN = {"exit_post": "KZ/BAKHTY@46660000,82750000", "entry_post": ENTRY, "truck": TRUCK}
DEPARTURE, DESTINATION = "departure", "destination"

Event = tuple[int, str, str, dict[str, Any]]


def ridden(*events: Event) -> tuple[Passage | None, list[tuple[str, str, str, int, int]]]:
    """The passage after these events (minute, event, issuer, payload), and what was measured, in minutes."""
    passage, measured = None, []
    for minute, event, issuer, payload in ((0, "plan", "kz-kgd/officer", PLAN), *events):
        passage, found = follow(passage, f"escort.{event}", issuer, payload, minute * 60_000)
        measured += [(m.interval, m.side, m.post, m.ended_ms // 60_000, m.took_ms // 60_000) for m in found]
    return passage, measured


def at(minute: int, event: str, issuer: str = "kz/terminal/x", **payload: Any) -> Event:
    return minute, event, issuer, payload


TRUCK_FIRST = (at(100, "reach_border", TRUCK), at(130, "reach_border", GATE))
QUEUED = ("queue", DEPARTURE, EXIT, 130, 30)
OFFERED = ("offer", DEPARTURE, EXIT, 135, 5)


@pytest.mark.parametrize(
    ("events", "measured"),
    [
        pytest.param(
            (
                *TRUCK_FIRST,
                at(135, "offer"),
                at(142, "accept"),
                at(200, "arrive"),
                at(260, "unload", as_declared=True),
            ),
            [
                QUEUED,
                OFFERED,
                ("answer", DESTINATION, ENTRY, 142, 7),
                ("border", DEPARTURE, EXIT, 142, 42),
                ("border", DESTINATION, ENTRY, 142, 42),
                ("approach", DESTINATION, ENTRY, 200, 58),
                ("unloading", DESTINATION, ENTRY, 260, 60),
            ],
            id="a passage as it should be",
        ),
        pytest.param(
            (at(100, "reach_border", GATE), at(104, "reach_border", TRUCK), at(106, "offer"), at(107, "accept")),
            [
                ("queue", DEPARTURE, EXIT, 104, 0),
                ("offer", DEPARTURE, EXIT, 106, 2),
                ("answer", DESTINATION, ENTRY, 107, 1),
                ("border", DEPARTURE, EXIT, 107, 7),
                ("border", DESTINATION, ENTRY, 107, 7),
            ],
            id="the gate was first: nobody queued",
        ),
        pytest.param(
            (*TRUCK_FIRST, at(135, "offer"), at(140, "refuse_handover"), at(155, "offer"), at(157, "accept")),
            [
                QUEUED,
                OFFERED,
                ("answer", DESTINATION, ENTRY, 140, 5),
                ("offer", DEPARTURE, EXIT, 155, 15),
                ("answer", DESTINATION, ENTRY, 157, 2),
                ("border", DEPARTURE, EXIT, 157, 57),
                ("border", DESTINATION, ENTRY, 157, 57),
            ],
            id="refused, then the departure side has to offer again",
        ),
        pytest.param(
            (*TRUCK_FIRST, at(135, "offer"), at(1_635, "offer"), at(1_640, "accept")),
            [
                QUEUED,
                OFFERED,
                ("answer", DESTINATION, ENTRY, 1_640, 5),
                ("border", DEPARTURE, EXIT, 1_640, 1_540),
                ("border", DESTINATION, ENTRY, 1_640, 1_540),
            ],
            id="an offer that lapsed has no answer, and shows in the whole time at the border",
        ),
        pytest.param(
            (
                *TRUCK_FIRST,
                at(135, "offer"),
                at(137, "accept_with_differences"),
                at(150, "resolve", "kz-kgd/officer", decision="handed_over"),
                at(160, "resolve", "cn-gacc/officer", decision="returned"),
                at(180, "resolve", "cn-gacc/officer", decision="handed_over"),
                at(200, "arrive"),
            ),
            [
                QUEUED,
                OFFERED,
                ("answer", DESTINATION, ENTRY, 137, 2),
                ("dispute", DEPARTURE, EXIT, 180, 43),
                ("dispute", DESTINATION, ENTRY, 180, 43),
                ("border", DEPARTURE, EXIT, 180, 80),
                ("border", DESTINATION, ENTRY, 180, 80),
                ("approach", DESTINATION, ENTRY, 200, 20),
            ],
            id="a dispute ends with the decision on which both agree, seen by the arrival",
        ),
        pytest.param(
            (
                at(90, "incident", TRUCK, code="vehicle_changed", vehicle="fleet/BKT-0002"),
                at(95, "resume", "kz-kgd/officer", truck="kz/truck/t-002"),
                at(100, "reach_border", "kz/truck/t-002"),
                at(101, "reach_border", "kz/truck/t-002"),
                at(130, "reach_border", GATE),
            ),
            [QUEUED],
            id="after a change of the vehicle the new one's word counts, and its first one",
        ),
        pytest.param((*TRUCK_FIRST, at(135, "offer"), at(136, "incident", code="01", seal="S"), at(137, "abort")),
                     [QUEUED, OFFERED], id="what never ends is in no figure"),
    ],
)  # fmt: skip
def test_a_timetable_gives_these_intervals(events: tuple[Event, ...], measured: list[Any]) -> None:
    assert ridden(*events)[1] == measured


@pytest.mark.parametrize(
    "last",
    [
        at(200, "unload", as_declared=True),
        at(200, "abort", reason="r"),
        at(200, "refuse_start", reason="r"),
        at(200, "turn_back", reason="r"),
        at(200, "discharge", reason="r"),
        at(200, "recover", reason="r"),
        at(200, "incident", code="goods_destroyed"),
        at(200, "resolve_overdue", decision="abort"),
    ],
)
def test_a_passage_that_is_over_is_forgotten(last: Event) -> None:
    assert ridden(*TRUCK_FIRST)[0] is not None
    assert ridden(*TRUCK_FIRST, last)[0] is None
    assert ridden(*TRUCK_FIRST, last, at(300, "arrive"))[1] == ridden(*TRUCK_FIRST, last)[1]


def test_what_goes_on_is_remembered() -> None:
    for last in (at(200, "incident", code="01"), at(200, "resolve_overdue", decision="continue", limit_s=60)):
        assert ridden(*TRUCK_FIRST, last)[0] is not None


@pytest.mark.parametrize(
    "payload",
    [{}, {**PLAN, "exit_post": 7}, {**PLAN, "exit_post": "nowhere"}, {"exit_post": ENTRY, "entry_post": ENTRY}],
)
def test_a_plan_of_a_form_that_a_later_version_may_have_is_not_counted_and_harms_nothing(
    payload: dict[str, Any],
) -> None:
    assert follow(None, "escort.plan", TRUCK, payload, 0) == (None, [])
    passage, _ = ridden(*TRUCK_FIRST)
    for event in sorted(dwell.FOLLOWED - {"escort.plan"}):
        follow(passage, event, TRUCK, {}, 8_000_000)


def test_every_event_that_is_followed_is_one_of_the_contract() -> None:
    events = {f"escort.{event}" for machine in ESCORT.machines for _, event in machine.transitions}
    assert events >= dwell.FOLLOWED


def test_a_passage_is_spelled_and_read_again() -> None:
    passage, _ = ridden(*TRUCK_FIRST)
    assert passage is not None
    assert Passage.decode(passage.encode()) == passage


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=200), st.sampled_from([50, 95, 1, 100]))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values: list[int], percentile: int) -> None:
    enough = Fraction(percentile, 100) * len(values)
    expected = min(value for value in values if sum(other <= value for other in values) >= enough)
    assert nearest_rank(sorted(values), percentile) == expected


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [([7], 7, 7), ([1, 2], 1, 2), ([1, 2, 3], 2, 3), (list(range(1, 21)), 10, 19), (list(range(1, 101)), 50, 95)],
)
def test_percentiles_are_nearest_rank(values: list[int], p50: int, p95: int) -> None:
    (over_all, of_day) = figures([Measured(EXIT, DEPARTURE, "queue", 0, value) for value in values])
    assert (over_all.p50_ms, over_all.p95_ms) == (p50, p95)
    assert of_day == Figure(EXIT, DEPARTURE, "queue", 0, len(values), p50, p95, max(values))


def test_an_interval_belongs_to_the_utc_day_on_which_it_ended() -> None:
    day_ms = 86_400_000
    measured = [Measured(EXIT, DEPARTURE, "queue", ended, 5) for ended in (day_ms - 1, day_ms, 2 * day_ms - 1)]
    assert [(figure.day, figure.count) for figure in figures(measured)] == [(None, 3), (0, 1), (1, 2)]


def test_figures_stand_in_one_order_whatever_the_order_of_what_was_measured() -> None:
    measured = [
        Measured(post, side, name, day * 86_400_000, day)
        for name, interval in INTERVALS.items()
        for side in interval.sides
        for post in (EXIT, ENTRY)
        for day in range(3)
    ]
    assert figures(measured) == figures(reversed(measured))
    document = dwell.document("o", 9, 0, 2, "", figures(measured))
    assert dwell.encoded(document) == dwell.encoded(json.loads(dwell.encoded(document)))
    assert [day["day"] for day in document["figures"][0]["days"]] == ["1970-01-01", "1970-01-02", "1970-01-03"]


@pytest.mark.parametrize(
    ("text", "code"),
    [("CNBKT", "CNBKT"), ("KZ/BAKHTY", "KZ/BAKHTY"), ("KZ/BAKHTY@46660000,82750000", "KZ/BAKHTY")],
)
def test_a_post_is_one_wherever_exactly_it_is_said_to_stand(text: str, code: str) -> None:
    assert dwell.parse_post(text) == code


@pytest.mark.parametrize(
    ("text", "position"), [("cnbkt", 1), ("CNBK", 5), ("KZ/bakhty", 4), ("KZ/", 4), ("KZ/BAKHTY@1", 12)]
)
def test_a_text_that_is_no_post_says_which_character_is_wrong(text: str, position: int) -> None:
    with pytest.raises(IdentifierError) as caught:
        dwell.parse_post(text)
    assert caught.value.position == position


def test_days_are_counted_from_1970_and_a_week_is_shown_where_nobody_says() -> None:
    assert dwell.date_text(dwell.day_number(date(2026, 11, 22))) == "2026-11-22"
    first, last = dwell.days_before(1_795_312_800_000)
    assert (dwell.date_text(first), dwell.date_text(last)) == ("2026-11-16", "2026-11-22")


def test_the_page_says_of_every_interval_what_the_program_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dwell-times.md").read_text()
    rows = [f"| `{name}` | {', '.join(each.sides)} | {each.begins} | {each.ends} |" for name, each in INTERVALS.items()]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows

"""Late, out of order, doubled, and by a clock that is wrong: what devices report, and what the ledger makes of it.

Devices without a link send when they can. The tables read: in which state, what is reported, what comes of it.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import escort as e
from contracts.escort_reports import MAX_FORMER_TRUCKS
from contracts.movement import Movement, decode_movement, movement_key, movement_parties
from contracts.outcome import Outcome
from contracts.views import movement_view
from ledger.cbor import decode, encode
from tests.contracts import corridor as c
from tests.contracts import stages as s

TRUCK, SECOND, THIRD = "kz/truck/t-001", "kz/truck/t-002", "kz/truck/t-003"
HOME, PARTNER = s.HOME[0], s.PARTNER[0]
DAY_S = 86_400
SOFT_S, HARD_S, WINDOW_S = 300, 3 * DAY_S, 3 * DAY_S
LASTS = (e.STARTED, e.AT_BORDER, e.OFFERED, e.DISPUTED, e.HELD, e.HANDED_OVER, e.OVERDUE)
OVER = (e.ARRIVED, e.UNLOADED, e.DISCREPANCY, e.RECOVERY, e.DISCHARGED, e.RETURNED, e.ABORTED)
NOT_BEGUN = (e.PLANNED, e.LOADED, e.SEALED, e.REFUSED)


def fix(at_ms: int, latitude_udeg: int = 46_660_000) -> dict[str, Any]:
    return {"fix": {**c.FIX, "at_ms": at_ms, "latitude_udeg": latitude_udeg}}


def batch(from_ms: int, until_ms: int, fixes: int = 60) -> dict[str, Any]:
    return {"batch": {"sha256": c.PHOTO, "fixes": fixes, "from_ms": from_ms, "until_ms": until_ms}}


def report(ledger: c.Ledger, payload: dict[str, Any], truck: str = TRUCK, age_s: int = 0) -> Outcome:
    return ledger.send("escort.position", truck, c.MRN, payload, age_s=age_s)


def decided(movement: Movement) -> tuple[Any, ...]:
    """Everything that a report must not move."""
    return (
        movement.state,
        movement.since_ms,
        movement.since_statement,
        movement.by,
        movement.custody,
        movement.deadline_s,
        movement.remaining_s,
        movement.came_from,
        movement.seals,
        movement.offer,
        movement.acceptance,
        movement.journey_ended_ms,
        movement.guarantee_free_ms,
        movement.plan,
    )


@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("kind", ["fix", "batch"])
def test_a_late_report_is_taken_and_counted_and_moves_nothing_that_was_decided(state: str, kind: str) -> None:
    ledger = s.movement_at(state)
    before = ledger.movement(c.MRN)
    since_ms = before.since_ms
    assert (
        report(ledger, fix(since_ms - 1) if kind == "fix" else batch(since_ms - 60_000, since_ms)) is Outcome.ACCEPTED
    )
    after = ledger.movement(c.MRN)
    assert decided(after) == decided(before)
    assert (after.late_reports, after.flagged) == (before.late_reports + 1, before.flagged)
    assert after.position_count == before.position_count + (1 if kind == "fix" else 60)
    assert set(ledger.last_changes) == {movement_key(c.MRN)}
    assert movement_view(after)["late_reports"] == 1


@pytest.mark.parametrize("state", LASTS)
def test_a_truck_reports_for_as_long_as_its_journey_lasts_and_is_not_late(state: str) -> None:
    """Held and driven off, or away from the border with the goods on offer: customs see where it goes."""
    ledger = s.movement_at(state)
    before = ledger.movement(c.MRN)
    ledger.now_ms += 600_000
    now_ms = ledger.now_ms
    assert report(ledger, fix(now_ms, 46_000_001)) is Outcome.ACCEPTED
    assert report(ledger, batch(1, ledger.now_ms)) is Outcome.ACCEPTED
    after = ledger.movement(c.MRN)
    assert (after.late_reports, after.position) == (0, (now_ms, 46_000_001, 82_750_000, 12_000))
    assert decided(after) == decided(before)


def test_the_states_of_a_journey_are_all_states_but_those_before_and_those_after_it() -> None:
    assert {*NOT_BEGUN, *LASTS, *OVER} == set(s.MOVEMENT_STATES) - {"-"}
    assert set(e.LATE) == set(OVER)


@pytest.mark.parametrize("state", NOT_BEGUN)
def test_nothing_is_reported_of_a_journey_that_did_not_begin(state: str) -> None:
    ledger = s.movement_at(state)
    assert report(ledger, fix(ledger.now_ms)) is Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED


# How long after the end it is sent, how far beyond the end its last fix is by the device's clock, and what comes of it.
@pytest.mark.parametrize(
    ("sent_after_s", "beyond_ms", "outcome"),
    [
        (0, 0, Outcome.ACCEPTED),
        (0, SOFT_S * 1000, Outcome.ACCEPTED),  # a clock may be as fast as the soft limit
        (0, SOFT_S * 1000 + 1, Outcome.REPORT_AFTER_JOURNEY),
        (HARD_S, 10**9, Outcome.REPORT_AFTER_JOURNEY),
        (WINDOW_S, 0, Outcome.ACCEPTED),
        (WINDOW_S, -(10**9), Outcome.ACCEPTED),  # how old a fix is does not matter, when the journey ended does
        (WINDOW_S + 1, 0, Outcome.REPORT_TOO_LATE),
        (WINDOW_S + 1, SOFT_S * 1000 + 1, Outcome.REPORT_AFTER_JOURNEY),  # the first fact in the order of the row
    ],
)
@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("kind", ["fix", "batch"])
def test_late_has_an_end_that_is_the_same_for_everybody(
    state: str, kind: str, sent_after_s: int, beyond_ms: int, outcome: Outcome
) -> None:
    ledger = s.movement_at(state)
    ended_ms = ledger.movement(c.MRN).journey_ended_ms
    assert ended_ms is not None
    ledger.now_ms = ended_ms + sent_after_s * 1000
    last_ms = ended_ms + beyond_ms
    assert report(ledger, fix(last_ms) if kind == "fix" else batch(1, last_ms)) is outcome


def test_the_end_of_the_journey_stays_whatever_is_decided_about_it_later() -> None:
    ledger = s.movement_at(e.ARRIVED)
    ended_ms = ledger.movement(c.MRN).journey_ended_ms
    assert ended_ms == ledger.movement(c.MRN).since_ms
    for event, payload in (
        ("unload", {"as_declared": False, "seals": c.readings()}),
        ("discrepancy", {"findings": ["short"]}),
        ("recover", s.REASON),
        ("discharge", s.REASON),
    ):
        ledger.pass_time(DAY_S)
        ledger.must(f"escort.{event}", PARTNER, c.MRN, payload)
        assert ledger.movement(c.MRN).journey_ended_ms == ended_ms
    assert report(ledger, fix(ended_ms)) is Outcome.REPORT_TOO_LATE  # four days, though discharged a moment ago


def test_how_late_is_governed_and_none_at_all_can_be_chosen() -> None:
    for window_s in (0, 60, 30 * DAY_S):
        ledger = c.to_movement(
            c.to_declaration(c.Ledger.of_corridor(late_report_s=window_s), "recognise"), e.DISCHARGED
        )
        ended_ms = ledger.movement(c.MRN).journey_ended_ms
        assert ended_ms is not None
        ledger.now_ms = ended_ms + window_s * 1000
        assert report(ledger, fix(ended_ms)) is Outcome.ACCEPTED
        ledger.now_ms = ended_ms + window_s * 1000 + 1
        assert report(ledger, fix(ended_ms)) is Outcome.REPORT_TOO_LATE


@pytest.mark.parametrize(
    ("sender", "state", "outcome"),
    [
        (SECOND, e.DISCHARGED, Outcome.SIDE_NOT_ALLOWED),  # a truck that never had the goods
        ("kz/eseal/e-1", e.DISCHARGED, Outcome.ROLE_NOT_ALLOWED),
        ("cn/terminal/baketu", e.ARRIVED, Outcome.ROLE_NOT_ALLOWED),
        (HOME, e.ABORTED, Outcome.ROLE_NOT_ALLOWED),
    ],
)
def test_nobody_else_reports_late(sender: str, state: str, outcome: Outcome) -> None:
    ledger = s.movement_at(state)
    assert report(ledger, fix(1), sender) is outcome


def test_a_key_that_was_revoked_meanwhile_reports_nothing_late() -> None:
    ledger = s.movement_at(e.DISCHARGED)
    ledger.must("registry.revoke_all", "kz-kgd/registrar", TRUCK, s.REASON)
    assert report(ledger, fix(1)) is Outcome.KEY_REVOKED


# Out of order: what arrives, by the device's clock; where the record says that the truck was last.
@pytest.mark.parametrize("order", list(itertools.permutations((1_000, 2_000, 3_000))))
@pytest.mark.parametrize("state", [e.STARTED, e.HANDED_OVER, e.OVERDUE, e.ARRIVED, e.ABORTED, e.RETURNED, e.HELD])
def test_in_whichever_order_reports_arrive_the_last_position_is_the_newest(state: str, order: tuple[int, ...]) -> None:
    ledger = s.movement_at(state)
    start_ms = c.OPEN_MS - 60_000
    for at_ms in order:
        assert report(ledger, fix(start_ms + at_ms, 46_000_000 + at_ms)) is Outcome.ACCEPTED
    position = ledger.movement(c.MRN).position
    assert position is not None
    assert position[:2] == (start_ms + 3_000, 46_003_000)


# A doubled event is the same thing said once more by a statement of its own: the state says whether it can be.
@pytest.mark.parametrize(
    ("state", "event", "iss", "again"),
    [
        (e.STARTED, "reach_border", TRUCK, Outcome.BORDER_ALREADY_REPORTED),
        (e.STARTED, "reach_border", s.GATE, Outcome.BORDER_ALREADY_REPORTED),
        (e.SEALED, "start", HOME, Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED),
        (e.AT_BORDER, "offer", s.GATE, Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED),
        (e.OFFERED, "accept", s.FAR_GATE, Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED),
        (e.HANDED_OVER, "arrive", s.FAR_GATE, Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED),
        (e.ARRIVED, "unload", PARTNER, Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED),
        (e.STARTED, "position", TRUCK, Outcome.ACCEPTED),  # two statements, two reports
        (e.DISCHARGED, "position", TRUCK, Outcome.ACCEPTED),
        (e.STARTED, "incident", TRUCK, Outcome.ACCEPTED),
    ],
)
def test_an_event_that_is_said_twice(state: str, event: str, iss: str, again: Outcome) -> None:
    ledger = s.movement_at(state)
    payload = s.ESCORT_EVENTS[event].payload(ledger)
    ledger.must(f"escort.{event}", iss, c.MRN, payload)
    once = ledger.movement(c.MRN)
    assert ledger.send(f"escort.{event}", iss, c.MRN, payload) is again
    twice = ledger.movement(c.MRN)
    assert twice.custody == once.custody
    assert (twice == once) == (again is not Outcome.ACCEPTED)


# By how much the device's clock is behind the ledger's when it signs: what comes of it, and how often it is flagged.
@pytest.mark.parametrize(
    ("age_s", "outcome", "flagged"),
    [
        (0, Outcome.ACCEPTED, 0),
        (SOFT_S, Outcome.ACCEPTED, 0),
        (SOFT_S + 1, Outcome.ACCEPTED, 1),
        (-SOFT_S - 1, Outcome.ACCEPTED, 1),
        (HARD_S, Outcome.ACCEPTED, 1),
        (HARD_S + 1, Outcome.IAT_TOO_OLD, 0),
        (-HARD_S - 1, Outcome.IAT_IN_FUTURE, 0),
    ],
)
@pytest.mark.parametrize("state", [e.STARTED, e.DISCHARGED])
def test_a_clock_that_is_wrong_is_flagged_and_beyond_the_hard_limit_refused_late_or_not(
    state: str, age_s: int, outcome: Outcome, flagged: int
) -> None:
    ledger = s.movement_at(state)
    at_ms = ledger.movement(c.MRN).since_ms
    assert report(ledger, fix(at_ms), age_s=age_s) is outcome
    assert ledger.movement(c.MRN).flagged == flagged
    assert ledger.participant(TRUCK).flagged == flagged
    late = state == e.DISCHARGED and outcome is Outcome.ACCEPTED
    assert ledger.movement(c.MRN).late_reports == int(late)


# A truck that was left behind.


def _gone_on_with(ledger: c.Ledger, truck: str, seal: str, **more: Any) -> int:
    """Held, and gone on with another truck; when it was held."""
    custody = ledger.movement(c.MRN).custody.authority
    ledger.must("escort.incident", f"{custody}/officer", c.MRN, {"code": "vehicle_changed", "vehicle": f"fleet/{seal}"})
    held_ms = ledger.movement(c.MRN).since_ms
    seals = [{"id": seal, "class": "H", "container": c.BOX}]
    ledger.must("escort.resume", f"{custody}/officer", c.MRN, {"seals": seals, "truck": truck, **more})
    return held_ms


def test_a_truck_that_the_goods_left_reports_of_its_own_part_and_not_of_the_others() -> None:
    ledger = s.movement_at(e.STARTED)
    held_ms = _gone_on_with(ledger, SECOND, "HS1")
    assert ledger.movement(c.MRN).former_trucks == ((TRUCK, held_ms),)
    assert report(ledger, batch(1, held_ms), TRUCK) is Outcome.ACCEPTED
    assert report(ledger, fix(held_ms + SOFT_S * 1000 + 1), TRUCK) is Outcome.REPORT_AFTER_JOURNEY
    assert report(ledger, fix(ledger.now_ms), SECOND) is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    assert (movement.late_reports, movement.position_count, movement.truck) == (1, 60 + 1, SECOND)
    assert ledger.send("escort.reach_border", TRUCK, c.MRN, {}) is Outcome.SIDE_NOT_ALLOWED
    assert ledger.send("escort.incident", TRUCK, c.MRN, {"code": "04"}) is Outcome.SIDE_NOT_ALLOWED
    ledger.now_ms = held_ms + WINDOW_S * 1000 + 1
    assert report(ledger, fix(held_ms), TRUCK) is Outcome.REPORT_TOO_LATE
    assert {TRUCK, SECOND} <= movement_parties(movement)
    assert movement_view(movement)["former_trucks"] == [{"truck": TRUCK, "until_ms": held_ms}]


def test_a_truck_that_takes_the_goods_again_counts_from_its_last_part() -> None:
    ledger = s.movement_at(e.STARTED)
    _gone_on_with(ledger, SECOND, "HS1")
    second_ms = _gone_on_with(ledger, TRUCK, "HS2")
    movement = ledger.movement(c.MRN)
    assert (movement.truck, movement.former_trucks[-1]) == (TRUCK, (SECOND, second_ms))
    assert report(ledger, fix(ledger.now_ms), TRUCK) is Outcome.ACCEPTED
    assert ledger.movement(c.MRN).late_reports == 0
    third_ms = _gone_on_with(ledger, SECOND, "HS3")
    assert ledger.movement(c.MRN).former_trucks == ((SECOND, second_ms), (TRUCK, third_ms))
    assert report(ledger, fix(ledger.now_ms), SECOND) is Outcome.ACCEPTED
    assert ledger.movement(c.MRN).late_reports == 0


def test_the_former_trucks_of_a_record_are_bounded() -> None:
    ledger = s.movement_at(e.STARTED)
    names = [f"kz/truck/x-{number}" for number in range(MAX_FORMER_TRUCKS + 3)]
    for name in names:
        enrol = {"key": c.key_of(name).cose_key, "roles": ["truck"]}
        ledger.must("registry.enrol", "kz-kgd/registrar", name, enrol)
    for number, name in enumerate(names):
        _gone_on_with(ledger, name, f"HSX{number}")
    former = [truck for truck, _ in ledger.movement(c.MRN).former_trucks]
    assert former == names[-MAX_FORMER_TRUCKS - 1 : -1]


# Weighings of one vehicle only. What was weighed when the goods went on, what at unloading, and what comes of it.
@pytest.mark.parametrize(
    ("resumed_g", "unloaded_g", "version", "outcome"),
    [
        (None, c.MASS, 2, Outcome.ACCEPTED),  # another vehicle, never weighed: nothing to compare with
        (None, s.HEAVY, 2, Outcome.ACCEPTED),
        (s.HEAVY, s.HEAVY, 2, Outcome.ACCEPTED),  # the same vehicle, the same mass
        (s.HEAVY, c.MASS, 2, Outcome.MASS_OUT_OF_TOLERANCE),  # two tonnes are gone
        (s.HEAVY, None, 2, Outcome.ACCEPTED),
        # Version 1 compares with the vehicle that was left behind.
        (s.HEAVY, s.HEAVY, 1, Outcome.MASS_OUT_OF_TOLERANCE),
        (s.HEAVY, c.MASS, 1, Outcome.ACCEPTED),
    ],
)
def test_as_declared_compares_weighings_of_the_vehicle_that_is_unloaded(
    resumed_g: int | None, unloaded_g: int | None, version: int, outcome: Outcome
) -> None:
    ledger = s.movement_at(e.HANDED_OVER, version)
    _gone_on_with(ledger, SECOND, "HS1", **({} if resumed_g is None else {"mass_g": resumed_g}))
    ledger.must("escort.arrive", s.FAR_GATE, c.MRN)
    mass = {} if unloaded_g is None else {"mass_g": unloaded_g}
    unload = {"as_declared": True, "seals": c.readings("HS1"), **mass}
    assert ledger.send("escort.unload", PARTNER, c.MRN, unload) is outcome


def test_a_vehicle_changed_before_the_handover_is_compared_with_the_acceptance() -> None:
    ledger = s.movement_at(e.STARTED)
    _gone_on_with(ledger, SECOND, "HS1")
    assert ledger.movement(c.MRN).loaded_mass_g is None
    read = {"seals": c.readings("HS1"), "mass_g": s.HEAVY}
    for event, iss, payload in (
        ("reach_border", SECOND, {}),
        ("reach_border", s.GATE, {}),
        ("offer", s.GATE, {**read, "photo_sha256": c.PHOTO}),
        ("accept", s.FAR_GATE, read),  # the loading was weighed with another vehicle
        ("arrive", s.FAR_GATE, {}),
    ):
        ledger.must(f"escort.{event}", iss, c.MRN, payload)
    unload = {"as_declared": True, "seals": c.readings("HS1")}
    assert ledger.send("escort.unload", PARTNER, c.MRN, {**unload, "mass_g": c.MASS}) is Outcome.MASS_OUT_OF_TOLERANCE
    assert ledger.send("escort.unload", PARTNER, c.MRN, {**unload, "mass_g": s.HEAVY}) is Outcome.ACCEPTED


# From version 1 to version 2 on a running network.


@pytest.mark.parametrize("state", OVER)
def test_a_journey_that_ended_under_version_1_can_be_reported_of_under_version_2(state: str) -> None:
    ledger = s.movement_at(state, 1)
    since_ms = ledger.movement(c.MRN).since_ms
    assert report(ledger, fix(since_ms)) is Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED
    ledger.under("escort", 2)
    assert report(ledger, fix(since_ms + SOFT_S * 1000 + 1)) is Outcome.REPORT_AFTER_JOURNEY
    assert report(ledger, fix(since_ms)) is Outcome.ACCEPTED
    assert ledger.movement(c.MRN).late_reports == 1
    ledger.now_ms = since_ms + WINDOW_S * 1000 + 1
    assert report(ledger, fix(since_ms)) is Outcome.REPORT_TOO_LATE


@pytest.mark.parametrize("state", s.MOVEMENT_STATES[1:])
def test_a_record_to_which_nothing_new_happened_is_spelled_as_version_1_spells_it(state: str) -> None:
    old, new = (s.movement_at(state, version).movement(c.MRN) for version in (1, 2))
    assert len(decode(old.encode())[-1]) == 4  # type: ignore[arg-type, index]
    ended = new.journey_ended_ms is not None
    assert len(decode(new.encode())[-1]) == (8 if ended else 4)  # type: ignore[arg-type, index]
    assert ended == (state in OVER)


@given(
    late=st.integers(0, 2**40),
    ended=st.none() | st.integers(0, 2**47),
    changed=st.none() | st.integers(0, 2**47),
    trucks=st.lists(st.tuples(st.sampled_from([TRUCK, SECOND, THIRD]), st.integers(0, 2**47)), max_size=4),
)
def test_a_record_is_read_as_it_was_written(
    late: int, ended: int | None, changed: int | None, trucks: list[tuple[str, int]]
) -> None:
    record = s.movement_at(e.STARTED).movement(c.MRN)
    record = record.amended(
        late_reports=late, journey_ended_ms=ended, vehicle_since_ms=changed, former_trucks=tuple(trucks)
    )
    raw = record.encode()
    assert decode_movement(raw) == record
    assert decode_movement(raw).encode() == raw
    assert encode(decode(raw)) == raw

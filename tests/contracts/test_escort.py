"""Escort: planning, the border in either order, handover and dispute, incidents, deadlines, custody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from contracts import declaration as d
from contracts import escort as e
from contracts.declaration_record import declaration_key
from contracts.execute import next_deadline_ms
from contracts.incidents import HELD, INCIDENTS
from contracts.machine import ABSENT
from contracts.outcome import Outcome
from contracts.working import Working
from tests.contracts import corridor as c
from tests.contracts import stages as s

HOME, PARTNER = "kz-kgd/officer", "cn-gacc/officer"
TRUCK, GATE, FAR_GATE, ESEAL = "kz/truck/t-001", "kz/terminal/bakhty", "cn/terminal/baketu", "kz/eseal/e-1"
OTHER_BOX = c.make_container(2)


def _plan(ledger: c.Ledger, mrn: str = c.MRN, **changes: Any) -> Outcome:
    return ledger.send("escort.plan", HOME, mrn, c.plan(**changes))


def _send(ledger: c.Ledger, event: str, iss: str, **payload: Any) -> Outcome:
    return ledger.send(f"escort.{event}", iss, c.MRN, payload)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"declarations": ["NONE"]}, Outcome.MOVEMENT_DECLARATION_UNKNOWN),
        ({"truck": "kz/carrier/steppe"}, Outcome.TRUCK_UNKNOWN),
        ({"truck": "kz/nobody"}, Outcome.TRUCK_UNKNOWN),
        ({"carrier": "kz/declarant/agro"}, Outcome.CARRIER_UNKNOWN),
        ({"carrier": "cn/carrier/silk"}, Outcome.CARRIER_UNKNOWN),
        ({"receiver": "kz/carrier/steppe"}, Outcome.RECEIVER_UNKNOWN),
        ({"receiver": "cn/terminal/baketu"}, Outcome.RECEIVER_UNKNOWN),
        ({"receiver": "cn/declarant/mill"}, Outcome.ACCEPTED),
        ({"exit_post": "CNBKT"}, Outcome.POST_NOT_ALLOWED),
        ({"exit_post": "KZ/OTHER@1,1"}, Outcome.POST_NOT_ALLOWED),
        ({"entry_post": "CNTCS"}, Outcome.POST_NOT_ALLOWED),
        ({"corridor_m": 2_001}, Outcome.CORRIDOR_TOO_WIDE),
        ({"limit_to_border_s": 3 * 86_400 + 1}, Outcome.LEG_LIMIT_TOO_LONG),
        ({"limit_to_destination_s": 3 * 86_400 + 1}, Outcome.LEG_LIMIT_TOO_LONG),
        ({"containers": [OTHER_BOX]}, Outcome.CONTAINER_NOT_DECLARED),
        ({"containers": []}, Outcome.ACCEPTED),
    ],
)
def test_a_plan_must_hang_together(changes: dict[str, Any], outcome: Outcome) -> None:
    assert _plan(s.movement_at(ABSENT), **changes) is outcome


def test_a_plan_needs_its_own_declarations_released_and_recognised() -> None:
    assert _plan(s.declaration_at(d.ACCEPTED)) is Outcome.DECLARATION_NOT_RELEASED
    for state in (d.NONE, d.REFUSED, d.SUSPENDED, d.WITHDRAWN):
        assert _plan(s.recognition_at(state)) is Outcome.DECLARATION_NOT_RECOGNISED
    ledger = s.recognition_at(d.RECOGNISED)
    assert ledger.send("escort.plan", PARTNER, c.MRN, c.plan()) is Outcome.DECLARATION_HOME_DIFFERS
    assert _plan(ledger, c.make_mrn(1, "CN")) is Outcome.MRN_COUNTRY_DIFFERS
    assert _plan(ledger, c.make_mrn(1)) is Outcome.ACCEPTED


def test_a_movement_starts_only_on_declarations_as_they_were_planned() -> None:
    ledger = s.movement_at(e.SEALED)
    suspended = ledger.copy()
    suspended.must("declaration.suspend_recognition", PARTNER, c.UCR, c.decision())
    assert _send(suspended, "start", HOME) is Outcome.DECLARATION_NOT_RECOGNISED
    suspended.must("declaration.resume_recognition", PARTNER, c.UCR, c.decision())
    assert _send(suspended, "start", HOME) is Outcome.ACCEPTED
    for event, payload in (("invalidate", {"reason": "x"}), ("clear", {"evidence": s.EVIDENCE})):
        ended = ledger.copy()
        ended.must(f"declaration.{event}", HOME, c.UCR, payload)
        assert _send(ended, "start", HOME) is Outcome.DECLARATION_NOT_RELEASED


def test_a_container_is_on_one_movement_until_that_is_unloaded_or_ends() -> None:
    second = c.make_mrn(2)
    for state in s.MOVEMENT_STATES[1:]:
        free = state in (e.REFUSED, e.RETURNED, e.ABORTED, e.UNLOADED, e.DISCREPANCY, e.RECOVERY, e.DISCHARGED)
        expected = Outcome.ACCEPTED if free else Outcome.CONTAINER_IN_OTHER_MOVEMENT
        assert _plan(s.movement_at(state), second) is expected, state


@pytest.mark.parametrize(
    ("seals", "outcome"),
    [
        ([{"id": "A", "class": "H"}, {"id": "A", "class": "I"}], Outcome.SEAL_ALREADY_USED),
        ([{"id": "A", "class": "H", "container": OTHER_BOX}], Outcome.SEAL_CONTAINER_NOT_ON_MOVEMENT),
        ([{"id": "A", "class": "H", "device": "kz/eseal/e-9"}], Outcome.SEAL_DEVICE_UNKNOWN),
        ([{"id": "A", "class": "H", "device": TRUCK}], Outcome.SEAL_DEVICE_UNKNOWN),
        ([{"id": "A", "class": "H", "device": ESEAL}], Outcome.ACCEPTED),
    ],
)
def test_seals_are_new_and_close_what_is_there(seals: list[dict[str, Any]], outcome: Outcome) -> None:
    ledger = s.movement_at(e.LOADED)
    assert _send(ledger, "seal", GATE, seals=seals, photo_sha256=c.PHOTO) is outcome
    if outcome is Outcome.ACCEPTED:
        assert ledger.state.records["seal/A"] is not None


def test_truck_and_gate_reach_the_border_in_either_order_and_each_once() -> None:
    for first, second in ((TRUCK, GATE), (GATE, TRUCK)):
        ledger = s.movement_at(e.STARTED)
        ledger.must("escort.reach_border", first, c.MRN, {})
        assert ledger.movement(c.MRN).state == e.STARTED
        assert _send(ledger, "reach_border", first) is Outcome.BORDER_ALREADY_REPORTED
        ledger.must("escort.reach_border", second, c.MRN, {})
        assert ledger.movement(c.MRN).state == e.AT_BORDER
    ledger = s.movement_at(e.STARTED)
    assert _send(ledger, "reach_border", "kz/truck/t-002") is Outcome.SIDE_NOT_ALLOWED
    assert _send(ledger, "reach_border", FAR_GATE) is Outcome.SIDE_NOT_ALLOWED


def test_a_position_that_comes_late_counts_but_does_not_move_the_truck_back() -> None:
    ledger = s.movement_at(e.STARTED)
    for at_ms, latitude in ((3_000, 3), (1_000, 1), (2_000, 2)):
        ledger.must("escort.position", TRUCK, c.MRN, {"fix": {**c.FIX, "at_ms": at_ms, "latitude_udeg": latitude}})
    movement = ledger.movement(c.MRN)
    assert movement.position == (3_000, 3, 82_750_000, 12_000)
    assert movement.position_count == 3
    ledger.must("escort.position", TRUCK, c.MRN, {"batch": c.BATCH})
    assert ledger.movement(c.MRN).position_count == 63


def test_a_fix_from_the_future_does_not_hide_every_later_one() -> None:
    ledger = s.movement_at(e.STARTED)
    soft_ms = 300_000
    for ahead_ms, latitude in ((-2_000, 1), (10**12, 2), (soft_ms + 2_000, 3), (-1_000, 4), (soft_ms - 60_000, 5)):
        fix = {**c.FIX, "at_ms": ledger.now_ms + ahead_ms, "latitude_udeg": latitude}
        ledger.must("escort.position", TRUCK, c.MRN, {"fix": fix})
        seen = ledger.movement(c.MRN).position
        assert seen is not None
        assert seen[1] == {2: 1, 3: 1}.get(latitude, latitude)
    assert ledger.movement(c.MRN).position_count == 5


@pytest.mark.parametrize(("event", "iss", "state"), [("offer", GATE, e.AT_BORDER), ("accept", FAR_GATE, e.OFFERED)])
def test_a_reading_covers_exactly_the_seals_in_force_and_finds_them_intact(event: str, iss: str, state: str) -> None:
    photo = {"photo_sha256": c.PHOTO} if event == "offer" else {}
    cases = [
        (c.readings(c.SEAL), Outcome.SEAL_READINGS_DIFFER),
        (c.readings(c.SEAL, c.SEAL), Outcome.SEAL_READINGS_DIFFER),
        (c.readings(c.SEAL, c.ESEAL_ID, "STRANGE"), Outcome.SEAL_READINGS_DIFFER),
        (c.readings(c.SEAL) + c.readings(c.ESEAL_ID, state="broken"), Outcome.SEAL_NOT_INTACT),
        (c.readings(c.SEAL) + c.readings(c.ESEAL_ID, state="missing"), Outcome.SEAL_NOT_INTACT),
        (c.readings(c.ESEAL_ID, c.SEAL), Outcome.ACCEPTED),
    ]
    for seals, outcome in cases:
        assert _send(s.movement_at(state), event, iss, seals=seals, mass_g=c.MASS, **photo) is outcome


# 5 permille of the greater of two masses, or 50 kg.
@pytest.mark.parametrize(
    ("mass_g", "outcome"),
    [
        (c.MASS, Outcome.ACCEPTED),
        (c.MASS - 167_000, Outcome.ACCEPTED),
        (c.MASS - 167_001, Outcome.MASS_OUT_OF_TOLERANCE),
        (c.MASS + 167_839, Outcome.ACCEPTED),
        (c.MASS + 167_840, Outcome.MASS_OUT_OF_TOLERANCE),
    ],
)
def test_the_mass_is_within_tolerance_to_the_gram(mass_g: int, outcome: Outcome) -> None:
    assert _send(s.movement_at(e.OFFERED), "accept", FAR_GATE, seals=c.readings(), mass_g=mass_g) is outcome


def test_acceptance_with_differences_lists_each_and_needs_one() -> None:
    kind = "accept_with_differences"
    ledger = s.movement_at(e.OFFERED)
    assert _send(ledger, kind, FAR_GATE, seals=c.readings(), mass_g=c.MASS) is Outcome.NO_DIFFERENCE_FOUND
    seals = [*c.readings(c.SEAL, state="broken"), *c.readings("STRANGE", "STRANGE")]
    assert _send(ledger, kind, FAR_GATE, seals=seals, mass_g=c.MASS - 900_000) is Outcome.ACCEPTED
    assert ledger.movement(c.MRN).differences == (
        f"seal {c.ESEAL_ID} not read",
        "seal STRANGE not expected",
        "seal STRANGE read twice",
        f"seal {c.SEAL} broken",
        "mass differs from offer by -900000 g",
        "mass differs from load by -900000 g",
    )


def _resolve(ledger: c.Ledger, iss: str, decision: str) -> None:
    ledger.must("escort.resolve", iss, c.MRN, {"decision": decision, "reason": "weighed again"})


@pytest.mark.parametrize("order", [(HOME, PARTNER), (PARTNER, HOME)])
@pytest.mark.parametrize(("decision", "custodian"), [("handed_over", "cn-gacc"), ("returned", "kz-kgd")])
def test_a_dispute_is_resolved_by_both_authorities_alike(order: tuple[str, str], decision: str, custodian: str) -> None:
    other = {"handed_over": "returned", "returned": "handed_over"}[decision]
    ledger = s.movement_at(e.DISPUTED)
    _resolve(ledger, order[0], decision)
    _resolve(ledger, order[0], decision)  # twice by one side is still one side
    assert ledger.movement(c.MRN).state == e.DISPUTED
    _resolve(ledger, order[1], other)
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.custody.authority) == (e.DISPUTED, "kz-kgd")
    _resolve(ledger, order[1], decision)
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.custody.authority) == (decision, custodian)
    assert (movement.deadline_s is not None) == (decision == "handed_over")


def test_an_offer_that_lapses_goes_back_to_the_border_and_can_be_made_again() -> None:
    ledger = s.movement_at(e.OFFERED)
    assert ledger.pass_time(1_800) == 1
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.by, movement.reason) == (e.AT_BORDER, e.DEADLINE, "offer lapsed")
    assert movement.since_statement is None
    assert movement.offer is None
    assert _send(ledger, "offer", GATE, seals=c.readings(), mass_g=c.MASS, photo_sha256=c.PHOTO) is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("state", "limit_s", "officer", "other"), [(e.STARTED, 3600, HOME, PARTNER), (e.HANDED_OVER, 7200, PARTNER, HOME)]
)
def test_a_leg_that_takes_too_long_is_overdue_until_an_officer_of_that_side_resolves(
    state: str, limit_s: int, officer: str, other: str
) -> None:
    ledger = s.movement_at(state)
    assert ledger.pass_time(limit_s) == 1
    assert ledger.movement(c.MRN).state == e.OVERDUE
    assert _send(ledger, "position", TRUCK, fix=c.FIX) is Outcome.ACCEPTED
    go_on = {"decision": "continue", "reason": "storm"}
    assert _send(ledger, "resolve_overdue", other, **go_on, limit_s=600) is Outcome.SIDE_NOT_ALLOWED
    assert _send(ledger, "resolve_overdue", officer, **go_on) is Outcome.LEG_LIMIT_MISSING
    too_long = {**go_on, "limit_s": 3 * 86_400 + 1}
    assert _send(ledger, "resolve_overdue", officer, **too_long) is Outcome.LEG_LIMIT_TOO_LONG
    aborted = ledger.copy()
    assert _send(aborted, "resolve_overdue", officer, decision="abort", reason="lost") is Outcome.ACCEPTED
    assert aborted.movement(c.MRN).state == e.ABORTED
    assert _send(ledger, "resolve_overdue", officer, **go_on, limit_s=600) is Outcome.ACCEPTED
    assert ledger.movement(c.MRN).state == state
    assert ledger.pass_time(600) == 1
    assert ledger.movement(c.MRN).state == e.OVERDUE


def _incident(ledger: c.Ledger, code: str, iss: str = "") -> Outcome:
    if not iss:  # the truck, but for what an officer alone can say
        officer = f"{ledger.movement(c.MRN).custody.authority}/officer"
        iss = officer if INCIDENTS[code].reporters == ("customs.officer",) else TRUCK
    named = {"seal": c.ESEAL_ID} if INCIDENTS[code].breaks_seal else {}
    return _send(ledger, "incident", iss, code=code, **named)


@pytest.mark.parametrize("state", [e.STARTED, e.AT_BORDER, e.OFFERED, e.HANDED_OVER])
@pytest.mark.parametrize("code", INCIDENTS)
def test_each_incident_does_what_its_rule_says_wherever_it_happens(code: str, state: str) -> None:
    ledger = s.movement_at(state)
    custodian = ledger.movement(c.MRN).custody
    assert _incident(ledger, code) is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    rule = INCIDENTS[code]
    assert movement.state == {"same": state}.get(rule.consequence, rule.consequence)
    assert movement.custody == custodian
    assert movement.incidents[-1].code == code
    assert (movement.deadline_s is None) == (movement.state != state or state == e.AT_BORDER)
    assert (next_deadline_ms(ledger.state) is None) == (movement.deadline_s is None)


REPORTERS: list[tuple[str, str, bool]] = [
    # reporter, state, may report
    (TRUCK, e.STARTED, True), ("kz/truck/t-002", e.STARTED, False), (ESEAL, e.STARTED, True),
    ("kz/eseal/e-2", e.STARTED, False), (GATE, e.STARTED, True), (FAR_GATE, e.STARTED, False),
    (HOME, e.STARTED, True), (PARTNER, e.STARTED, False), ("kz-kgd/system", e.STARTED, False),
    (GATE, e.AT_BORDER, True), (FAR_GATE, e.AT_BORDER, True), (PARTNER, e.OFFERED, True), (HOME, e.OFFERED, True),
    (GATE, e.HANDED_OVER, False), (FAR_GATE, e.HANDED_OVER, True), (HOME, e.HANDED_OVER, False),
    (PARTNER, e.HANDED_OVER, True), (TRUCK, e.HANDED_OVER, True), (ESEAL, e.HANDED_OVER, True),
    ("kz/carrier/steppe", e.STARTED, False), ("kz/auditor", e.STARTED, False),
]  # fmt: skip


@pytest.mark.parametrize(("iss", "state", "may"), REPORTERS)
def test_who_may_report_an_incident_is_who_can_see_the_movement(iss: str, state: str, may: bool) -> None:
    outcome = _incident(s.movement_at(state), "03", iss)
    assert (outcome is Outcome.ACCEPTED) == may
    assert may or outcome in (Outcome.ROLE_NOT_ALLOWED, Outcome.SIDE_NOT_ALLOWED)


def test_an_incident_about_a_seal_names_one_in_force_and_a_device_speaks_for_itself() -> None:
    ledger = s.movement_at(e.STARTED)
    assert _send(ledger, "incident", TRUCK, code="01") is Outcome.INCIDENT_NEEDS_SEAL
    assert _send(ledger, "incident", TRUCK, code="01", seal="NONE") is Outcome.SEAL_NOT_ON_MOVEMENT
    assert _send(ledger, "incident", ESEAL, code="01", seal=c.SEAL) is Outcome.SEAL_OF_OTHER_DEVICE
    assert _send(ledger, "incident", ESEAL, code="01", seal=c.ESEAL_ID) is Outcome.ACCEPTED
    assert [seal.state for seal in ledger.movement(c.MRN).seals] == ["intact", "broken"]


def _held(code: str, state: str = e.STARTED) -> c.Ledger:
    ledger = s.movement_at(state)
    assert _incident(ledger, code) is Outcome.ACCEPTED
    return ledger


def test_a_broken_seal_is_replaced_before_the_movement_goes_on() -> None:
    ledger = _held("01")
    assert _send(ledger, "resume", HOME) is Outcome.NEW_SEALS_REQUIRED
    reused = [{"id": c.ESEAL_ID, "class": "S"}]
    assert _send(ledger, "resume", HOME, seals=reused) is Outcome.SEAL_ALREADY_USED
    assert _send(ledger, "resume", PARTNER, seals=[s.NEW_SEAL]) is Outcome.SIDE_NOT_ALLOWED
    assert _send(ledger, "resume", HOME, seals=[s.NEW_SEAL]) is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    assert movement.seals_in_force() == (c.SEAL, s.NEW_SEAL["id"])
    assert [seal.state for seal in movement.seals] == ["intact", "replaced", "intact"]
    # The old seal's device is off the movement, and the next hold without a broken seal needs no new one.
    assert _send(ledger, "incident", ESEAL, code="04") is Outcome.SIDE_NOT_ALLOWED
    ledger.must("escort.incident", TRUCK, c.MRN, {"code": "07"})
    assert _send(ledger, "resume", HOME) is Outcome.ACCEPTED


@pytest.mark.parametrize("code", ["vehicle_changed", "goods_transferred"])
def test_a_changed_vehicle_goes_on_with_its_identity_its_truck_and_new_seals_only(code: str) -> None:
    ledger = _held(code)
    vehicle = {"vehicle": "fleet/BKT-0002"}
    assert _send(ledger, "resume", HOME, seals=[s.NEW_SEAL]) is Outcome.NEW_VEHICLE_REQUIRED
    assert _send(ledger, "resume", HOME, **vehicle) is Outcome.NEW_SEALS_REQUIRED
    unknown = {**vehicle, "seals": [s.NEW_SEAL], "truck": "kz/nobody"}
    assert _send(ledger, "resume", HOME, **unknown) is Outcome.TRUCK_UNKNOWN
    known = {**unknown, "truck": "kz/truck/t-002"}
    assert _send(ledger, "resume", HOME, **known) is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    assert (movement.vehicle, movement.truck) == ("fleet/BKT-0002", "kz/truck/t-002")
    assert movement.seals_in_force() == (s.NEW_SEAL["id"],)
    now = {**c.FIX, "at_ms": ledger.now_ms + 301_000}
    assert _send(ledger, "position", TRUCK, fix=now) is Outcome.REPORT_AFTER_JOURNEY
    assert _send(ledger, "position", "kz/truck/t-002", fix=now) is Outcome.ACCEPTED


@pytest.mark.parametrize("state", [e.STARTED, e.AT_BORDER, e.OFFERED, e.HANDED_OVER])
def test_a_held_movement_goes_back_to_where_it_was_and_its_clock_stands_still(state: str) -> None:
    ledger = s.movement_at(state)
    before = ledger.movement(c.MRN).deadline_s
    ledger.must("escort.incident", TRUCK, c.MRN, {"code": "accident"})
    assert ledger.pass_time(30 * 86_400) == 0
    ledger.must("escort.resume", PARTNER if state == e.HANDED_OVER else HOME, c.MRN, {})
    movement = ledger.movement(c.MRN)
    assert movement.state == state
    if before is None:
        assert movement.deadline_s is None
    else:
        assert movement.deadline_s is not None
        assert 30 * 86_400 <= movement.deadline_s - before <= 30 * 86_400 + 3


def test_a_handover_after_resealing_reads_the_new_seals() -> None:
    ledger = _held("01", e.OFFERED)
    ledger.must("escort.resume", HOME, c.MRN, {"seals": [s.NEW_SEAL]})
    old = _send(ledger, "accept", FAR_GATE, seals=c.readings(), mass_g=c.MASS)
    assert old is Outcome.SEAL_READINGS_DIFFER
    seals = c.readings(c.SEAL, s.NEW_SEAL["id"])
    assert _send(ledger, "accept", FAR_GATE, seals=seals, mass_g=c.MASS) is Outcome.ACCEPTED


def test_the_seals_of_a_movement_are_limited() -> None:
    ledger = s.movement_at(e.STARTED)
    for number in range(40):
        ledger.must("escort.incident", TRUCK, c.MRN, {"code": "07"})
        outcome = _send(ledger, "resume", HOME, seals=[{"id": f"N{number}", "class": "I"}])
        if outcome is not Outcome.ACCEPTED:
            assert (outcome, number) == (Outcome.SEAL_LIMIT_REACHED, 30)
            return
    raise AssertionError("the seals of a movement have no limit")


@pytest.mark.parametrize(
    ("payload", "outcome", "state"),
    [
        ({"as_declared": True}, Outcome.SEAL_READINGS_MISSING, e.ARRIVED),
        ({"as_declared": False}, Outcome.SEAL_READINGS_MISSING, e.ARRIVED),
        ({"as_declared": True, "seals": c.readings(c.SEAL)}, Outcome.SEAL_READINGS_DIFFER, e.ARRIVED),
        ({"as_declared": True, "seals": c.readings(state="broken")}, Outcome.SEAL_NOT_INTACT, e.ARRIVED),
        ({"as_declared": True, "seals": c.readings(), "mass_g": 1}, Outcome.MASS_OUT_OF_TOLERANCE, e.ARRIVED),
        ({"as_declared": True, "seals": c.readings(), "mass_g": c.MASS}, Outcome.ACCEPTED, e.DISCHARGED),
        ({"as_declared": True, "seals": c.readings()}, Outcome.ACCEPTED, e.DISCHARGED),
        ({"as_declared": False, "seals": c.readings(state="broken"), "mass_g": 1}, Outcome.ACCEPTED, e.UNLOADED),
    ],
)
def test_unloading_as_declared_is_discharged_and_anything_else_is_looked_into(
    payload: dict[str, Any], outcome: Outcome, state: str
) -> None:
    ledger = s.movement_at(e.ARRIVED)
    assert _send(ledger, "unload", PARTNER, **payload) is outcome
    movement = ledger.movement(c.MRN)
    assert movement.state == state
    assert (movement.guarantee_free_ms is not None) == (state == e.DISCHARGED)


def test_the_guarantee_is_free_after_recovery_too() -> None:
    ledger = s.movement_at(e.RECOVERY)
    ledger.must("escort.discharge", PARTNER, c.MRN, {"reason": "duty paid"})
    assert ledger.movement(c.MRN).guarantee_free_ms is not None
    assert ledger.declaration(c.UCR).movements_open == 0


@pytest.mark.parametrize("state", s.MOVEMENT_STATES[1:])
def test_custody_is_the_departure_sides_up_to_the_handover_and_the_destination_sides_after(state: str) -> None:
    after = (e.HANDED_OVER, e.ARRIVED, e.UNLOADED, e.DISCREPANCY, e.RECOVERY, e.DISCHARGED)
    custody = s.movement_at(state).movement(c.MRN).custody
    expected = ("cn-gacc", "cn/carrier/silk") if state in after else ("kz-kgd", "kz/carrier/steppe")
    assert (custody.authority, custody.liable) == expected
    assert len(custody.since_statement) == 32


def _stand(check: Callable[[c.Ledger], bool]) -> list[str]:
    return [state for state in s.MOVEMENT_STATES[1:] if check(s.movement_at(state))]


def test_a_deadline_is_in_the_calendar_exactly_in_the_states_that_have_one() -> None:
    assert _stand(lambda ledger: next_deadline_ms(ledger.state) is not None) == [e.STARTED, e.OFFERED, e.HANDED_OVER]
    assert set(e.DEADLINES) == {e.STARTED, e.OFFERED, e.HANDED_OVER}


def test_the_incidents_that_hold_are_those_of_broken_seals_danger_and_changed_vehicles() -> None:
    holding = {code for code, rule in INCIDENTS.items() if rule.consequence == HELD}
    assert holding == {
        "01", "02", "07", "seal_broken", "goods_transferred", "imminent_danger", "accident", "vehicle_changed",
    }  # fmt: skip


def test_a_movement_carries_declarations_of_one_pair_and_in_the_version_it_was_planned_with() -> None:
    ledger = s.movement_at(e.SEALED)
    record = ledger.declaration(c.UCR)
    changed = Working(ledger.state)
    recognised = replace(record.recognition, version=2)
    changed.put(declaration_key(c.UCR), replace(record, version=2, recognition=recognised))
    ledger.state.write(changed.changes())
    assert _send(ledger, "start", HOME) is Outcome.DECLARATION_VERSION_CHANGED

    ledger = s.movement_at(ABSENT)
    other = Working(ledger.state)
    other.put(declaration_key("OTHER"), replace(ledger.declaration(c.UCR), ucr="OTHER", partner="uz-sct"))
    ledger.state.write(other.changes())
    assert _plan(ledger, declarations=[c.UCR, "OTHER"]) is Outcome.DECLARATION_PARTNER_DIFFERS

"""Escort where it does not go as planned: turned back, transferred, recovered, written off; and what stays standing."""

from __future__ import annotations

from typing import Any

import pytest

from contracts import escort as e
from contracts.incidents import INCIDENTS
from contracts.machine import ABSENT
from contracts.outcome import Outcome
from contracts.views import movement_view
from tests.contracts import corridor as c
from tests.contracts import stages as s

HOME, PARTNER = "kz-kgd/officer", "cn-gacc/officer"
TRUCK, GATE, FAR_GATE, ESEAL = "kz/truck/t-001", "kz/terminal/bakhty", "cn/terminal/baketu", "kz/eseal/e-1"
NEW_BOX = c.make_container(7)
NEW_VEHICLE = {"vehicle": "fleet/BKT-0002", "truck": "kz/truck/t-002"}


def _send(ledger: c.Ledger, event: str, iss: str, **payload: Any) -> Outcome:
    return ledger.send(f"escort.{event}", iss, c.MRN, payload)


def _container_rows(ledger: c.Ledger) -> set[str]:
    return {key.partition("/")[2] for key in ledger.state.records if key.startswith("container/")}


# At the border.


def test_a_truck_that_is_refused_for_good_goes_back_and_its_goods_can_be_planned_anew() -> None:
    ledger = s.movement_at(e.OFFERED)
    assert _send(ledger, "turn_back", HOME, reason="x") is Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED
    ledger.must("escort.refuse_handover", PARTNER, c.MRN, {"reason": "no quarantine permit"})
    assert _send(ledger, "turn_back", PARTNER, reason="x") is Outcome.SIDE_NOT_ALLOWED
    assert _send(ledger, "turn_back", HOME, reason="refused for good") is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.custody.authority) == (e.RETURNED, "kz-kgd")
    assert (movement.guarantee_free_ms, _container_rows(ledger)) == (None, set())
    assert ledger.declaration(c.UCR).movements_open == 0
    again = c.make_mrn(2)
    assert ledger.send("escort.plan", HOME, again, c.plan()) is Outcome.ACCEPTED
    ledger.must("escort.load", GATE, again, {"containers": [c.BOX], "mass_g": c.MASS})
    # The seals are still on: they are the new movement's now, and stay in the record of the old one.
    ledger.must("escort.seal", GATE, again, {"seals": c.new_seals(), "photo_sha256": c.PHOTO})
    ledger.must("escort.start", HOME, again, {})
    ledger.must("escort.discharge", HOME, c.MRN, {"reason": "goods are back at Bakhty"})
    assert ledger.movement(c.MRN).guarantee_free_ms is not None
    assert ledger.declaration(c.UCR).movements_open == 1


@pytest.mark.parametrize("event", ["suspend_recognition", "withdraw_recognition"])
def test_no_terminal_takes_over_what_its_customs_does_not_recognise_any_more(event: str) -> None:
    ledger = s.movement_at(e.OFFERED)
    ledger.must(f"declaration.{event}", PARTNER, c.UCR, c.decision())
    answer = {"seals": c.readings(), "mass_g": c.MASS}
    assert _send(ledger, "accept", FAR_GATE, **answer) is Outcome.DECLARATION_NOT_RECOGNISED
    assert _send(ledger, "refuse_handover", FAR_GATE, reason="not recognised") is Outcome.ACCEPTED
    if event == "suspend_recognition":
        ledger.must("declaration.resume_recognition", PARTNER, c.UCR, c.decision())
        ledger.must("escort.offer", GATE, c.MRN, {**answer, "photo_sha256": c.PHOTO})
        assert _send(ledger, "accept", FAR_GATE, **answer) is Outcome.ACCEPTED


def _disputed_over_a_seal(state: str = "broken") -> c.Ledger:
    ledger = s.movement_at(e.OFFERED)
    seals = [*c.readings(c.SEAL), *c.readings(c.ESEAL_ID, state=state)]
    ledger.must("escort.accept_with_differences", FAR_GATE, c.MRN, {"seals": seals, "mass_g": c.MASS})
    return ledger


@pytest.mark.parametrize("state", ["broken", "missing"])
@pytest.mark.parametrize("who_seals", [HOME, PARTNER])
def test_goods_whose_seals_were_not_intact_go_over_only_under_new_ones(who_seals: str, state: str) -> None:
    ledger = _disputed_over_a_seal(state)
    over = {"decision": "handed_over", "reason": "goods are complete"}
    first, second = (HOME, PARTNER) if who_seals == PARTNER else (PARTNER, HOME)
    ledger.must("escort.resolve", first, c.MRN, over)
    assert _send(ledger, "resolve", second, **over) is Outcome.NEW_SEALS_REQUIRED
    old = [{"id": c.SEAL, "class": "H"}]
    assert _send(ledger, "resolve", second, **over, seals=old) is Outcome.SEAL_ALREADY_USED
    assert _send(ledger, "resolve", second, **over, seals=[s.NEW_SEAL]) is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.custody.liable) == (e.HANDED_OVER, "cn/carrier/silk")
    assert [(seal.id, seal.state) for seal in movement.seals] == [
        (c.SEAL, "intact"), (c.ESEAL_ID, "replaced"), (s.NEW_SEAL["id"], "intact"),
    ]  # fmt: skip
    assert movement.seals[-1].by == second


def test_seals_put_on_in_a_dispute_stay_on_whatever_is_decided() -> None:
    ledger = _disputed_over_a_seal()
    back = {"decision": "returned", "reason": "goods are wet"}
    ledger.must("escort.resolve", PARTNER, c.MRN, {**back, "decision": "handed_over", "seals": [s.NEW_SEAL]})
    ledger.must("escort.resolve", HOME, c.MRN, back)
    assert ledger.movement(c.MRN).state == e.DISPUTED
    ledger.must("escort.resolve", PARTNER, c.MRN, back)
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.seals_in_force()) == (e.RETURNED, (c.SEAL, s.NEW_SEAL["id"]))


# Incidents.


@pytest.mark.parametrize("code", INCIDENTS)
def test_a_seal_reports_what_a_seal_can_know_and_an_officer_alone_a_total_loss(code: str) -> None:
    # Codes of electronic seals: anybody. Causes of the conventions: whoever sees. Total loss: customs.
    may = {"digits": {TRUCK, ESEAL, GATE, HOME}, "words": {TRUCK, GATE, HOME}, "loss": {HOME}}
    kind = "digits" if code.isdigit() else "loss" if code == "goods_destroyed" else "words"
    for reporter in (TRUCK, ESEAL, GATE, HOME):
        named = {"seal": c.ESEAL_ID} if INCIDENTS[code].breaks_seal else {}
        outcome = _send(s.movement_at(e.STARTED), "incident", reporter, code=code, **named)
        expected = Outcome.ACCEPTED if reporter in may[kind] else Outcome.INCIDENT_REPORTER_NOT_ALLOWED
        assert outcome is expected, reporter


@pytest.mark.parametrize("state", [e.AT_BORDER, e.OFFERED])
def test_at_the_border_neither_side_ends_what_is_in_the_custody_of_the_other(state: str) -> None:
    lost = {"code": "goods_destroyed"}
    ledger = s.movement_at(state)
    assert _send(ledger, "incident", PARTNER, **lost) is Outcome.INCIDENT_REPORTER_NOT_ALLOWED
    assert _send(ledger, "incident", PARTNER, code="imminent_danger") is Outcome.ACCEPTED
    assert _send(s.movement_at(state), "incident", HOME, **lost) is Outcome.ACCEPTED


def _transferred(state: str = e.STARTED) -> c.Ledger:
    ledger = s.movement_at(state)
    ledger.must("escort.incident", TRUCK, c.MRN, {"code": "goods_transferred"})
    return ledger


def test_transferred_goods_go_on_in_other_containers_on_another_vehicle_under_new_seals() -> None:
    ledger = _transferred()
    seal = {"id": "HS00000050", "class": "H", "container": NEW_BOX}
    going_on = {**NEW_VEHICLE, "containers": [NEW_BOX], "seals": [seal], "mass_g": c.MASS + 900_000}
    old_box = {**going_on, "seals": [s.NEW_SEAL]}
    assert _send(ledger, "resume", HOME, **old_box) is Outcome.SEAL_CONTAINER_NOT_ON_MOVEMENT
    assert _send(ledger, "resume", HOME, **going_on) is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    assert (movement.plan.containers, _container_rows(ledger)) == ((NEW_BOX,), {NEW_BOX})
    assert (movement.truck, movement.vehicle) == (NEW_VEHICLE["truck"], NEW_VEHICLE["vehicle"])
    assert (movement.loaded_mass_g, movement.seals_in_force()) == (c.MASS + 900_000, ("HS00000050",))
    assert [seal.state for seal in movement.seals] == ["removed", "removed", "intact"]
    # The old box is free, the new one taken until it is unloaded.
    assert ledger.send("escort.plan", HOME, c.make_mrn(2), c.plan()) is Outcome.ACCEPTED
    read = {"seals": c.readings("HS00000050"), "mass_g": c.MASS + 900_000}
    for event, iss, payload in (
        ("reach_border", "kz/truck/t-002", {}), ("reach_border", GATE, {}),
        ("offer", GATE, {**read, "photo_sha256": c.PHOTO}), ("accept", FAR_GATE, read), ("arrive", FAR_GATE, {}),
        ("unload", PARTNER, {"as_declared": True, **read}),
    ):  # fmt: skip
        ledger.must(f"escort.{event}", iss, c.MRN, payload)
    assert (ledger.movement(c.MRN).state, _container_rows(ledger)) == (e.DISCHARGED, {c.BOX})


def test_goods_that_stay_in_their_containers_keep_them_and_another_vehicle_has_no_mass_until_it_is_weighed() -> None:
    ledger = _transferred()
    ledger.must("escort.resume", HOME, c.MRN, {**NEW_VEHICLE, "seals": [s.NEW_SEAL]})
    movement = ledger.movement(c.MRN)
    assert (movement.plan.containers, movement.loaded_mass_g) == ((c.BOX,), None)


@pytest.mark.parametrize(
    ("code", "more", "outcome"),
    [
        ("vehicle_changed", {**NEW_VEHICLE, "containers": [NEW_BOX]}, Outcome.CONTAINERS_CANNOT_CHANGE),
        ("accident", {"containers": [NEW_BOX]}, Outcome.CONTAINERS_CANNOT_CHANGE),
        ("accident", {"mass_g": 1}, Outcome.MASS_CANNOT_CHANGE),
        ("vehicle_changed", {**NEW_VEHICLE, "mass_g": c.MASS + 500_000}, Outcome.ACCEPTED),
    ],
)
def test_containers_and_mass_change_only_for_a_cause(code: str, more: dict[str, Any], outcome: Outcome) -> None:
    ledger = s.movement_at(e.STARTED)
    ledger.must("escort.incident", TRUCK, c.MRN, {"code": code})
    assert _send(ledger, "resume", HOME, **more, seals=[s.NEW_SEAL]) is outcome


def test_goods_are_not_put_into_a_container_that_is_on_another_movement() -> None:
    ledger = _transferred()
    taken = c.make_container(8)
    c.to_declaration_of(ledger, c.make_ucr(9), [taken], 9)
    other = c.plan(declarations=[c.make_ucr(9)], containers=[taken])
    ledger.must("escort.plan", HOME, c.make_mrn(9), other)
    going_on = {**NEW_VEHICLE, "seals": [{"id": "X1", "class": "H"}]}
    outcome = _send(ledger, "resume", HOME, **going_on, containers=[c.BOX, taken])
    assert outcome is Outcome.CONTAINER_IN_OTHER_MOVEMENT
    assert _send(ledger, "resume", HOME, **going_on, containers=[c.BOX, NEW_BOX]) is Outcome.ACCEPTED
    assert _container_rows(ledger) == {c.BOX, NEW_BOX, taken}


def test_the_vehicle_named_in_the_report_is_the_one_it_goes_on_with_unless_the_officer_names_another() -> None:
    for named, expected in (({}, "fleet/BKT-0007"), ({"vehicle": "fleet/BKT-0008"}, "fleet/BKT-0008")):
        ledger = s.movement_at(e.STARTED)
        ledger.must("escort.incident", TRUCK, c.MRN, {"code": "vehicle_changed", "vehicle": "fleet/BKT-0007"})
        assert ledger.movement(c.MRN).vehicle == "fleet/BKT-0001"
        ledger.must("escort.resume", HOME, c.MRN, {"seals": [s.NEW_SEAL], **named})
        assert ledger.movement(c.MRN).vehicle == expected


@pytest.mark.parametrize("by", ["the report", "the officer"])
def test_another_vehicle_goes_on_under_new_seals_only_whatever_the_incident_was_called(by: str) -> None:
    other = {"vehicle": "fleet/BKT-0007"}
    ledger = s.movement_at(e.OFFERED)
    ledger.must("escort.incident", TRUCK, c.MRN, {"code": "accident", **(other if by == "the report" else {})})
    named = {} if by == "the report" else other
    assert _send(ledger, "resume", HOME, **named) is Outcome.NEW_SEALS_REQUIRED
    weighed = {"seals": [s.NEW_SEAL], "mass_g": c.MASS + 900_000}
    assert _send(ledger, "resume", HOME, **named, **weighed) is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    assert (movement.vehicle, movement.loaded_mass_g) == ("fleet/BKT-0007", c.MASS + 900_000)
    assert movement.seals_in_force() == (s.NEW_SEAL["id"],)
    assert (movement.state, movement.offer) == (e.AT_BORDER, None)


def test_an_officer_can_say_that_it_goes_on_with_the_vehicle_it_was_on_whatever_the_report_says() -> None:
    ledger = s.movement_at(e.STARTED)
    before = ledger.movement(c.MRN)
    ledger.must("escort.incident", TRUCK, c.MRN, {"code": "accident", "vehicle": "fleet/BKT-0007"})
    assert _send(ledger, "resume", HOME, vehicle=before.vehicle) is Outcome.ACCEPTED
    movement = ledger.movement(c.MRN)
    assert (movement.vehicle, movement.seals_in_force()) == (before.vehicle, before.seals_in_force())


def test_what_was_offered_before_the_vehicle_changed_must_be_offered_again() -> None:
    ledger = _transferred(e.OFFERED)
    ledger.must("escort.resume", HOME, c.MRN, {**NEW_VEHICLE, "seals": [s.NEW_SEAL], "mass_g": c.MASS + 900_000})
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.offer, movement.deadline_s) == (e.AT_BORDER, None, None)
    read = {"seals": c.readings(s.NEW_SEAL["id"]), "mass_g": c.MASS + 900_000}
    ledger.must("escort.offer", GATE, c.MRN, {**read, "photo_sha256": c.PHOTO})
    assert _send(ledger, "accept", FAR_GATE, **read) is Outcome.ACCEPTED


# Recovery and discharge.


def _aborted(after: str, officer: str) -> c.Ledger:
    ledger = s.movement_at(after)
    ledger.must("escort.incident", officer, c.MRN, {"code": "goods_destroyed"})
    assert ledger.movement(c.MRN).state == e.ABORTED
    return ledger


@pytest.mark.parametrize(("after", "officer", "other"), [(e.STARTED, HOME, PARTNER), (e.HANDED_OVER, PARTNER, HOME)])
@pytest.mark.parametrize("owed", [False, True])
def test_lost_goods_are_written_off_or_recovered_by_the_side_that_had_custody(
    after: str, officer: str, other: str, owed: bool
) -> None:
    ledger = _aborted(after, officer)
    before = ledger.movement(c.MRN)
    for event in ("recover", "discharge"):
        assert _send(ledger, event, other, reason="x") is Outcome.SIDE_NOT_ALLOWED
    if owed:
        ledger.must("escort.recover", officer, c.MRN, {"reason": "loss was not an accident"})
        assert ledger.movement(c.MRN).guarantee_free_ms is None
    ledger.must("escort.discharge", officer, c.MRN, {"reason": "established" if not owed else "paid"})
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.custody) == (e.DISCHARGED, before.custody)
    assert movement.guarantee_free_ms is not None
    declaration = ledger.declaration(c.UCR)
    assert (declaration.movements_open, declaration.exits) == (0, int(after == e.HANDED_OVER))


@pytest.mark.parametrize(("state", "officer"), [(e.STARTED, HOME), (e.HANDED_OVER, PARTNER)])
def test_a_movement_that_never_comes_is_recovered_from_whoever_was_liable(state: str, officer: str) -> None:
    ledger = s.movement_at(state)
    ledger.pass_time(7200)
    liable = ledger.movement(c.MRN).custody
    ledger.must("escort.resolve_overdue", officer, c.MRN, {"decision": "recover", "reason": "enquiry without result"})
    movement = ledger.movement(c.MRN)
    assert (movement.state, movement.custody, movement.deadline_s) == (e.RECOVERY, liable, None)
    assert (_container_rows(ledger), ledger.declaration(c.UCR).movements_open) == (set(), 0)
    ledger.must("escort.discharge", officer, c.MRN, {"reason": "duty paid"})
    assert ledger.declaration(c.UCR).movements_open == 0


@pytest.mark.parametrize("steps", [("discharge",), ("recover", "discharge")])
def test_a_discrepancy_is_explained_or_recovered_and_counts_as_one_end(steps: tuple[str, ...]) -> None:
    ledger = s.movement_at(e.DISCREPANCY)
    assert ledger.declaration(c.UCR).movements_open == 1
    for event in steps:
        ledger.must(f"escort.{event}", PARTNER, c.MRN, {"reason": "two bags were in the next truck"})
    assert (ledger.declaration(c.UCR).movements_open, ledger.declaration(c.UCR).exits) == (0, 1)


# Unloading.


def test_each_seal_becomes_what_it_is_found_to_be_at_unloading() -> None:
    seals = [*c.readings(c.SEAL, state="missing"), *c.readings(c.ESEAL_ID, state="broken")]
    ledger = s.movement_at(e.ARRIVED)
    assert _send(ledger, "unload", PARTNER, as_declared=False, seals=seals[:1]) is Outcome.SEAL_READINGS_DIFFER
    ledger.must("escort.unload", PARTNER, c.MRN, {"as_declared": False, "seals": seals})
    assert [seal.state for seal in ledger.movement(c.MRN).seals] == ["missing", "broken"]
    ledger = s.movement_at(e.DISCHARGED)
    assert [seal.state for seal in ledger.movement(c.MRN).seals] == ["removed", "removed"]


# Custody.


@pytest.mark.parametrize("state", s.MOVEMENT_STATES[1:])
def test_every_passage_of_custody_stays_in_the_record_with_its_statement(state: str) -> None:
    movement = s.movement_at(state).movement(c.MRN)
    passages = movement.custody_passages()
    over = state in (e.HANDED_OVER, e.ARRIVED, e.UNLOADED, e.DISCREPANCY, e.RECOVERY, e.DISCHARGED)
    assert [(each.authority, each.liable) for each in passages] == [
        ("kz-kgd", "kz/carrier/steppe"), ("cn-gacc", "cn/carrier/silk"),
    ][: 1 + over]  # fmt: skip
    assert passages[0].since_statement == movement.plan.planned_statement
    assert passages[-1] == movement.custody
    assert len({each.since_statement for each in passages}) == len(passages)
    shown = movement_view(movement)["custody_passages"]
    assert [each["since_statement"] for each in shown] == [each.since_statement.hex() for each in passages]


def test_nothing_of_this_is_there_before_the_plan() -> None:
    assert _send(s.movement_at(ABSENT), "turn_back", HOME, reason="x") is Outcome.MOVEMENT_UNKNOWN

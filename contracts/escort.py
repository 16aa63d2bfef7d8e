"""The contract `escort`: the unmanned escort of goods and its handover at the border. Key: the MRN.

Custody: at every instant exactly one authority has custody and one party is liable. It is the departure side's from the
plan on, with the carrier liable, and passes once, with the state `handed_over`, to the destination side and the
receiver. A movement that ends otherwise leaves custody where it was. The plan and the handover are the only two
passages of custody, and the record keeps both.

A movement that did not end as planned is not over with its end: goods that came back, were lost, never arrived or were
not as declared leave a guarantee that is not free. The customs of the side that has custody either discharges the
movement (nothing is owed) or recovers what is owed and then discharges it: the enquiry and recovery of the Convention
on a common transit procedure, and the discharge of the TIR Convention (articles 10 and 11).

A movement starts only on declarations that are released and recognised in the version it was planned with. Seals in
force are those in the record whose state is intact; a seal never leaves the record. A container is on one movement at a
time (index `container/<number>`), from the plan until it is unloaded or the movement ends before.

Order comes from the state, not from arrival: an event whose state has not come yet, or is over, is refused and may be
sent again. Deadlines run in block time and stand still while a movement is held.

There are two versions. The second takes what a truck without a link reports of a journey that is over, and compares
weighings of one vehicle only (`contracts.escort_reports`).

Who may speak stands in `contracts.escort_sides`, the guards in `contracts.escort_guards`, the effects in
`contracts.escort_effects`; this module has the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from contracts import escort_effects as do
from contracts import escort_guards as guard
from contracts import escort_reports as reports
from contracts import escort_sides as by
from contracts.escort_payloads import SCHEMAS
from contracts.identifiers import parse_mrn
from contracts.machine import (
    ABSENT,
    DEADLINE,
    OFFICER,
    TERMINAL,
    TRUCK,
    Contract,
    DeadlineRule,
    Deadlines,
    Lapse,
    Machine,
    RecordType,
    Subject,
    Transition,
    Transitions,
    Who,
)
from contracts.movement import (
    ABORTED,
    ARRIVED,
    AT_BORDER,
    DISCHARGED,
    DISCREPANCY,
    DISPUTED,
    HANDED_OVER,
    HELD,
    LOADED,
    OFFERED,
    OVERDUE,
    PLANNED,
    RECOVERY,
    REFUSED,
    RETURNED,
    SEALED,
    STARTED,
    UNLOADED,
    Movement,
    decode_movement,
    load_movement,
    movement_key,
    movement_parties,
)
from contracts.outcome import Outcome
from contracts.views import movement_view

# The states are words of the contract, though its record holds them.
__all__ = [
    "ABORTED",
    "ARRIVED",
    "AT_BORDER",
    "DEADLINE",
    "DEADLINES",
    "DISCHARGED",
    "DISCREPANCY",
    "DISPUTED",
    "ESCORT",
    "ESCORT_2",
    "HANDED_OVER",
    "HELD",
    "LOADED",
    "OFFERED",
    "OVERDUE",
    "PLANNED",
    "RECOVERY",
    "REFUSED",
    "RETURNED",
    "SEALED",
    "STARTED",
    "TRANSITIONS",
    "TRANSITIONS_2",
    "UNLOADED",
]

# Tables.


_REFUSE_START = Transition(by.DEPARTURE, do.refuse_start, (REFUSED,))
_RECOVER = Transition(by.CUSTOMS_WITH_CUSTODY, do.recover, (RECOVERY,))
_DISCHARGE = Transition(by.CUSTOMS_WITH_CUSTODY, do.discharge, (DISCHARGED,))
_NEW_SEALS_FIT = (
    guard.seals_are_new,
    guard.seals_are_few_enough,
    guard.seals_close_its_containers,
    guard.seal_devices_are_known,
)


def _position(state: str) -> Transition:
    return Transition(by.ITS_TRUCK, do.position, (state,))


def _incident(state: str) -> Transition:
    guards = (by.reporter_may_know, guard.incident_names_its_seal)
    return Transition(by.REPORTERS, do.incident, (state, HELD, ABORTED), guards)


TRANSITIONS: Transitions = {
    (ABSENT, "plan"): Transition(
        by.DEPARTURE,
        do.plan,
        (PLANNED,),
        (
            guard.declarations_are_known,
            guard.declarations_are_of_one_pair,
            guard.mrn_is_of_departure_country,
            guard.declarations_are_released,
            guard.declarations_are_recognised,
            guard.truck_is_known,
            guard.carrier_is_of_departure,
            guard.receiver_is_of_destination,
            guard.posts_are_allowed,
            guard.corridor_is_narrow_enough,
            guard.legs_are_short_enough,
            guard.containers_are_declared,
            guard.containers_are_free,
        ),
    ),
    (PLANNED, "load"): Transition(by.DEPARTURE_TERMINAL, do.load, (LOADED,), (guard.containers_are_as_planned,)),
    (LOADED, "seal"): Transition(
        (*by.DEPARTURE, *by.DEPARTURE_TERMINAL),
        do.seal,
        (SEALED,),
        _NEW_SEALS_FIT,
    ),
    (SEALED, "start"): Transition(
        by.DEPARTURE,
        do.start,
        (STARTED,),
        (guard.declarations_are_as_planned,),
    ),
    # A plan given up before it started must free its containers: the same refusal, one or two steps earlier.
    (PLANNED, "refuse_start"): _REFUSE_START,
    (LOADED, "refuse_start"): _REFUSE_START,
    (SEALED, "refuse_start"): _REFUSE_START,
    (STARTED, "position"): _position(STARTED),
    (HANDED_OVER, "position"): _position(HANDED_OVER),
    # A movement that is late is the last one to lose sight of.
    (OVERDUE, "position"): _position(OVERDUE),
    (STARTED, "reach_border"): Transition(
        (Who(TRUCK, by.its_truck), Who(TERMINAL, by.departure)),
        do.reach_border,
        (STARTED, AT_BORDER),
        (guard.border_is_not_yet_reported,),
    ),
    (AT_BORDER, "offer"): Transition(
        by.DEPARTURE_TERMINAL, do.offer, (OFFERED,), (guard.every_seal_is_read, guard.every_seal_is_intact)
    ),
    (OFFERED, "accept"): Transition(
        by.DESTINATION_TERMINAL,
        do.accept,
        (HANDED_OVER,),
        (
            guard.recognition_stands,
            guard.every_seal_is_read,
            guard.every_seal_is_intact,
            guard.mass_is_within_tolerance,
        ),
    ),
    (OFFERED, "accept_with_differences"): Transition(
        by.DESTINATION_TERMINAL, do.accept_with_differences, (DISPUTED,), (guard.there_is_a_difference,)
    ),
    (OFFERED, "refuse_handover"): Transition(
        (*by.DESTINATION, *by.DESTINATION_TERMINAL), do.refuse_handover, (AT_BORDER,)
    ),
    # Refused for good, or no longer recognised: a truck at the border must have a way back.
    (AT_BORDER, "turn_back"): Transition((Who(OFFICER, by.departure),), do.turn_back, (RETURNED,)),
    (DISPUTED, "resolve"): Transition(
        (Who(OFFICER, by.either),),
        do.resolve,
        (DISPUTED, HANDED_OVER, RETURNED),
        (guard.what_was_open_is_sealed, *_NEW_SEALS_FIT),
    ),
    (HANDED_OVER, "arrive"): Transition(by.DESTINATION_TERMINAL, do.arrive, (ARRIVED,)),
    (ARRIVED, "unload"): Transition(
        by.DESTINATION,
        do.unload,
        (DISCHARGED, UNLOADED),
        (
            guard.unloading_reads_seals,
            guard.every_seal_is_read,
            guard.as_declared_has_seals_intact,
            guard.as_declared_has_the_mass,
        ),
    ),
    (UNLOADED, "discrepancy"): Transition(by.DESTINATION, do.discrepancy, (DISCREPANCY,)),
    (DISCREPANCY, "recover"): _RECOVER,
    (ABORTED, "recover"): _RECOVER,
    (RECOVERY, "discharge"): _DISCHARGE,
    # Nothing is owed: the difference was explained, the loss established, or the goods are back.
    (DISCREPANCY, "discharge"): _DISCHARGE,
    (ABORTED, "discharge"): _DISCHARGE,
    (RETURNED, "discharge"): _DISCHARGE,
    **{(state, "incident"): _incident(state) for state in (STARTED, AT_BORDER, OFFERED, HANDED_OVER)},
    (HELD, "resume"): Transition(
        by.OFFICER_WHERE_IT_STANDS,
        do.resume,
        (STARTED, AT_BORDER, OFFERED, HANDED_OVER),
        (
            guard.new_vehicle_is_named,
            guard.new_seals_are_put_on,
            guard.new_truck_is_known,
            guard.new_mass_has_a_cause,
            guard.new_containers_have_a_cause,
            guard.new_containers_are_free,
            *_NEW_SEALS_FIT,
        ),
    ),
    (HELD, "abort"): Transition(by.OFFICER_WHERE_IT_STANDS, do.abort, (ABORTED,)),
    (OVERDUE, "resolve_overdue"): Transition(
        by.OFFICER_WHERE_IT_STANDS,
        do.resolve_overdue,
        (STARTED, HANDED_OVER, ABORTED, RECOVERY),
        (guard.new_limit_is_given,),
    ),
}

# Version 2. States in which the journey is over: what the truck reports then comes late.
LATE = (ARRIVED, UNLOADED, DISCREPANCY, RECOVERY, DISCHARGED, RETURNED, ABORTED)
_ENDING = ("turn_back", "resolve", "arrive", "incident", "abort", "resolve_overdue")


def _report(state: str) -> Transition:
    who = (Who(TRUCK, reports.its_truck_now_or_before),)
    return Transition(
        who, reports.position, (state,), (reports.report_is_of_its_journey, reports.report_is_not_too_late)
    )


def _unload_2(row: Transition) -> Transition:
    """The same guards, but for the last: which weighing the mass is compared with."""
    return replace(row, guards=(*row.guards[:-1], reports.as_declared_has_the_mass_of_this_vehicle))


TRANSITIONS_2: Transitions = {
    **{
        key: replace(row, effect=reports.ending(row.effect)) if key[1] in _ENDING else row
        for key, row in TRANSITIONS.items()
    },
    **{(state, "position"): _report(state) for state in (*reports.UNDER_WAY, *LATE)},
    (HELD, "resume"): replace(TRANSITIONS[(HELD, "resume")], effect=reports.resume),
    (ARRIVED, "unload"): _unload_2(TRANSITIONS[(ARRIVED, "unload")]),
}


def _lapsed(lapse: Lapse, **changes: Any) -> Movement:
    record: Movement = lapse.record
    return record.amended(
        state=lapse.rule.to,
        since_ms=lapse.time_ms,
        since_statement=None,
        by=DEADLINE,
        reason=lapse.rule.reason,
        deadline_s=None,
        **changes,
    )


def overdue(lapse: Lapse) -> Movement:
    """It remembers where it came from, for the officer who resolves."""
    return _lapsed(lapse, came_from=lapse.record.state)


def offer_lapses(lapse: Lapse) -> Movement:
    return _lapsed(lapse, came_from="", offer=None)


DEADLINES = {
    STARTED: DeadlineRule(OVERDUE, "time limit of the leg to the border passed", overdue),
    HANDED_OVER: DeadlineRule(OVERDUE, "time limit of the leg to the destination passed", overdue),
    OFFERED: DeadlineRule(AT_BORDER, "offer lapsed", offer_lapses),
}


def _state(record: Movement, payload: Mapping[str, Any]) -> str | Outcome:
    return record.state


# In the order in which a diagram shows them, from above.
_STATES = {
    PLANNED: "declarations, truck, route and time limits are fixed; the containers are taken",
    LOADED: "the goods are on the vehicle, and weighed",
    SEALED: "closed with the seals that count from now on",
    STARTED: "on its way to the border; the first time limit runs",
    REFUSED: "given up before it started",
    AT_BORDER: "truck and gate have both reported the border",
    OFFERED: "the departure terminal has read the seals and offers the goods",
    DISPUTED: "the receiving terminal read something else than it was offered; both authorities decide",
    HANDED_OVER: "custody and liability have passed; the second time limit runs",
    ARRIVED: "at its destination",
    UNLOADED: "unloaded, not as declared",
    DISCREPANCY: "what differs is on record; explained, or recovered",
    HELD: "stopped by an incident until an officer decides; no time limit runs",
    OVERDUE: "later than its time limit, until an officer decides",
    ABORTED: "ended on the way; custody stays where it was; not yet accounted for",
    RETURNED: "the goods stay with the departure side, by its own word or that of both; not yet accounted for",
    RECOVERY: "duties are being recovered",
    DISCHARGED: "over; the guarantee is free",
}


def _escort(version: int, transitions: Transitions) -> Contract:
    """The contract in one version: they differ in the rows."""
    return Contract(
        name="escort",
        version=version,
        title="The unmanned escort of goods and its handover at the border",
        subject=Subject(parse_mrn, "MRN"),
        record=RecordType(Movement, movement_key, decode_movement, load_movement, movement_view, movement_parties),
        machines=(
            Machine(
                "movement",
                transitions,
                _state,
                Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED,
                _STATES,
                ends=(REFUSED, DISCHARGED),
            ),
        ),
        schemas=SCHEMAS,
        deadlines=Deadlines("movement", lambda movement: movement.deadline_s, DEADLINES),
        unknown=Outcome.MOVEMENT_UNKNOWN,
        exists=Outcome.MOVEMENT_ALREADY_PLANNED,
        outcomes=range(300, 400),
        sources=(
            "Convention on a common transit procedure (1987), Appendix I",
            "TIR Convention (1975), articles 10 and 11",
            "Revised Kyoto Convention, Specific Annex E, chapter 1",
        ),
    )


ESCORT = _escort(1, TRANSITIONS)
ESCORT_2 = _escort(2, TRANSITIONS_2)

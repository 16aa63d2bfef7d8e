"""The contract `escort`: the unmanned escort of goods and its handover at the border. Key: the MRN.

Custody: at every instant exactly one authority has custody and one party is liable. It is the departure side's from the
plan on, with the carrier liable, and passes once, with the state `handed_over`, to the destination side and the
receiver. A movement that ends otherwise leaves custody where it was.

A movement starts only on declarations that are released and recognised in the version it was planned with. Seals in
force are those in the record whose state is intact; a seal never leaves the record. A container is on one movement at a
time (index `container/<number>`), from the plan until it is unloaded or the movement ends before.

Order comes from the state, not from arrival: an event whose state has not come yet, or is over, is refused and may be
sent again. Deadlines run in block time and stand still while a movement is held.

Guards stand in `contracts.escort_guards`; this module has the effects and the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from contracts import escort_guards as guard
from contracts.deadlines import ceil_s, lift_deadline, set_deadline
from contracts.declaration_record import declaration_key, load_declaration
from contracts.escort_payloads import SCHEMAS
from contracts.identifiers import parse_mrn
from contracts.incidents import ABORTED as CONSEQUENCE_ABORTED
from contracts.incidents import HELD as CONSEQUENCE_HELD
from contracts.incidents import INCIDENTS
from contracts.machine import (
    ABSENT,
    DEADLINE,
    ESEAL,
    OFFICER,
    SYSTEM,
    TERMINAL,
    TRUCK,
    Context,
    Contract,
    ContractBug,
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
    BROKEN,
    DISCHARGED,
    DISCREPANCY,
    DISPUTED,
    HANDED_OVER,
    HELD,
    INTACT,
    LOADED,
    OFFERED,
    OVERDUE,
    PLANNED,
    RECOVERY,
    REFUSED,
    REMOVED,
    REPLACED,
    RETURNED,
    SEALED,
    STARTED,
    UNLOADED,
    Custody,
    IncidentReport,
    Movement,
    Plan,
    Reading,
    Seal,
    container_key,
    decode_movement,
    load_movement,
    movement_key,
    movement_parties,
    seal_key,
)
from contracts.outcome import Outcome
from contracts.views import movement_view
from contracts.working import Working

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
    "HANDED_OVER",
    "HELD",
    "LOADED",
    "MAX_INCIDENTS_KEPT",
    "OFFERED",
    "OVERDUE",
    "PLANNED",
    "RECOVERY",
    "REFUSED",
    "RETURNED",
    "SEALED",
    "STARTED",
    "TRANSITIONS",
    "UNLOADED",
]

MAX_INCIDENTS_KEPT = 16


# Sides.


def departure(ctx: Context) -> bool:
    """The authority where the movement departs; who plans one is it, and the guards compare the declarations."""
    return ctx.record is None or ctx.record.plan.departure == ctx.issuer.authority


def destination(ctx: Context) -> bool:
    """The authority where the movement goes."""
    return bool(ctx.record.plan.destination == ctx.issuer.authority)


def either(ctx: Context) -> bool:
    """Either authority of the movement."""
    return ctx.issuer.authority in (ctx.record.plan.departure, ctx.record.plan.destination)


def custody(ctx: Context) -> bool:
    """The side on which the movement stands: the one that has custody."""
    return bool(ctx.record.custody.authority == ctx.issuer.authority)


def near(ctx: Context) -> bool:
    """Who can see the movement: at the border both sides, elsewhere the one that has custody."""
    return either(ctx) if ctx.record.state in (AT_BORDER, OFFERED) else custody(ctx)


def its_truck(ctx: Context) -> bool:
    """The truck that the movement is on."""
    return bool(ctx.record.truck == ctx.issuer.id)


def its_seal(ctx: Context) -> bool:
    """The device of a seal in force on the movement."""
    return any(seal.device == ctx.issuer.id and seal.state == INTACT for seal in ctx.record.seals)


# What several effects do.


def _moved(ctx: Context, state: str, **changes: Any) -> Movement:
    record: Movement = ctx.record
    return record.amended(
        state=state,
        since_ms=ctx.time_ms,
        since_statement=ctx.statement.id,
        by=ctx.issuer.id,
        **changes,
    )


def _deadline(ctx: Context, limit_s: int | None) -> int | None:
    """Let the deadline that runs, if any, give way to one in `limit_s` from now, or to none."""
    record: Movement = ctx.record
    key = movement_key(record.plan.mrn)
    if record.deadline_s is not None:
        lift_deadline(ctx.working, record.deadline_s, key)
    if limit_s is None:
        return None
    due_s = ceil_s(ctx.time_ms) + limit_s
    set_deadline(ctx.working, due_s, key)
    return due_s


def _free_containers(working: Working, plan: Plan) -> None:
    for container in plan.containers:
        working.put(container_key(container), None)


def _count_open(working: Working, plan: Plan, step: int) -> None:
    """Declarations know how many movements are under way with them, so that none is pulled from under one."""
    for ucr, _ in plan.declarations:
        declaration = load_declaration(working, ucr)
        if declaration is None:
            raise ContractBug(f"movement {plan.mrn} names a declaration that is not there: {ucr}")
        working.put(declaration_key(ucr), replace(declaration, movements_open=declaration.movements_open + step))


def _ended_on_the_way(ctx: Context, state: str, **changes: Any) -> Movement:
    """The end of a movement that had started and was not unloaded."""
    plan = ctx.record.plan
    _free_containers(ctx.working, plan)
    _count_open(ctx.working, plan, -1)
    return _moved(ctx, state, deadline_s=_deadline(ctx, None), remaining_s=None, came_from="", **changes)


def _handed_over(ctx: Context, **changes: Any) -> Movement:
    plan = ctx.record.plan
    return _moved(
        ctx,
        HANDED_OVER,
        custody=Custody(plan.destination, plan.receiver, ctx.time_ms, ctx.statement.id),
        deadline_s=_deadline(ctx, plan.limit_to_destination_s),
        **changes,
    )


def _discharged(ctx: Context, **changes: Any) -> Movement:
    _count_open(ctx.working, ctx.record.plan, -1)
    return _moved(ctx, DISCHARGED, guarantee_free_ms=ctx.time_ms, **changes)


def _new_seals(ctx: Context, mrn: str) -> tuple[Seal, ...]:
    seals = []
    for entry in ctx.payload.get("seals", ()):
        ctx.working.put(seal_key(entry["id"]), (mrn,))
        seals.append(
            Seal(entry["id"], entry["class"], entry.get("container"), entry.get("device"), INTACT, ctx.issuer.id)
        )
    return tuple(seals)


def _reading(ctx: Context) -> Reading:
    return Reading(
        seals=tuple((entry["id"], entry["state"]) for entry in ctx.payload["seals"]),
        mass_g=ctx.payload["mass_g"],
        by=ctx.issuer.id,
        time_ms=ctx.time_ms,
        statement=ctx.statement.id,
    )


def _later_position(ctx: Context) -> tuple[int, int, int, int] | None:
    """The newest fix by the device's own clock: fixes arrive late and out of order."""
    known: tuple[int, int, int, int] | None = ctx.record.position
    fix = ctx.payload.get("fix")
    if fix is None or (known is not None and fix["at_ms"] < known[0]):
        return known
    return (fix["at_ms"], fix["latitude_udeg"], fix["longitude_udeg"], fix.get("speed_mm_s", 0))


# Effects.


def plan(ctx: Context) -> Movement:
    payload, mrn = ctx.payload, ctx.statement.sub
    declarations = [cast(Any, load_declaration(ctx.working, ucr)) for ucr in payload["declarations"]]
    for container in payload["containers"]:
        ctx.working.put(container_key(container), (mrn,))
    planned = Plan(
        mrn=mrn,
        departure=ctx.issuer.authority,
        destination=declarations[0].partner,
        carrier=payload["carrier"],
        receiver=payload["receiver"],
        declarations=tuple((declaration.ucr, declaration.version) for declaration in declarations),
        containers=tuple(payload["containers"]),
        exit_post=payload["exit_post"],
        entry_post=payload["entry_post"],
        route=tuple(payload["route"]),
        corridor_m=payload["corridor_m"],
        limit_to_border_s=payload["limit_to_border_s"],
        limit_to_destination_s=payload["limit_to_destination_s"],
        planned_ms=ctx.time_ms,
        planned_statement=ctx.statement.id,
    )
    return Movement(
        plan=planned,
        state=PLANNED,
        since_ms=ctx.time_ms,
        since_statement=ctx.statement.id,
        by=ctx.issuer.id,
        custody=Custody(planned.departure, planned.carrier, ctx.time_ms, ctx.statement.id),
        truck=payload["truck"],
        vehicle=payload["vehicle"],
    )


def load(ctx: Context) -> Movement:
    return _moved(ctx, LOADED, loaded_mass_g=ctx.payload["mass_g"])


def seal(ctx: Context) -> Movement:
    return _moved(ctx, SEALED, seals=_new_seals(ctx, ctx.record.plan.mrn))


def start(ctx: Context) -> Movement:
    _count_open(ctx.working, ctx.record.plan, 1)
    return _moved(ctx, STARTED, deadline_s=_deadline(ctx, ctx.record.plan.limit_to_border_s))


def refuse_start(ctx: Context) -> Movement:
    _free_containers(ctx.working, ctx.record.plan)
    return _moved(ctx, REFUSED, reason=ctx.payload["reason"])


def position(ctx: Context) -> Movement:
    record: Movement = ctx.record
    batch = ctx.payload.get("batch")
    return record.amended(
        position=_later_position(ctx),
        position_count=record.position_count + (1 if batch is None else batch["fixes"]),
        batch_count=record.batch_count + (batch is not None),
    )


def reach_border(ctx: Context) -> Movement:
    """The truck and the gate each say so, in either order; the second brings the movement to the border."""
    record: Movement = ctx.record
    by_truck = record.truck == ctx.issuer.id
    changes = {
        "truck_at_border_ms" if by_truck else "gate_at_border_ms": ctx.time_ms,
        "position": _later_position(ctx),
    }
    other = record.gate_at_border_ms if by_truck else record.truck_at_border_ms
    if other is None:
        return record.amended(**changes)
    return _moved(ctx, AT_BORDER, deadline_s=_deadline(ctx, None), **changes)


def offer(ctx: Context) -> Movement:
    return _moved(ctx, OFFERED, offer=_reading(ctx), deadline_s=_deadline(ctx, ctx.parameters.offer_lapse_s))


def accept(ctx: Context) -> Movement:
    return _handed_over(ctx, acceptance=_reading(ctx))


def accept_with_differences(ctx: Context) -> Movement:
    return _moved(
        ctx,
        DISPUTED,
        acceptance=_reading(ctx),
        differences=guard.differences(ctx),
        deadline_s=_deadline(ctx, None),
    )


def refuse_handover(ctx: Context) -> Movement:
    return _moved(ctx, AT_BORDER, reason=ctx.payload["reason"], offer=None, deadline_s=_deadline(ctx, None))


def resolve(ctx: Context) -> Movement:
    """An officer of each authority decides; when both decide alike it is so. Until then either may decide anew."""
    record: Movement = ctx.record
    decision, reason = ctx.payload["decision"], ctx.payload["reason"]
    if ctx.issuer.authority == record.plan.departure:
        decisions = {"departure_decision": decision}
        other = record.destination_decision
    else:
        decisions = {"destination_decision": decision}
        other = record.departure_decision
    if other != decision:
        return record.amended(reason=reason, **decisions)
    if decision == HANDED_OVER:
        return _handed_over(ctx, reason=reason, **decisions)
    return _ended_on_the_way(ctx, RETURNED, reason=reason, **decisions)


def arrive(ctx: Context) -> Movement:
    return _moved(ctx, ARRIVED, position=_later_position(ctx), deadline_s=_deadline(ctx, None))


def unload(ctx: Context) -> Movement:
    """Unloaded as declared is discharged at once, by the contract itself."""
    _free_containers(ctx.working, ctx.record.plan)
    seals = tuple(replace(s, state=REMOVED) if s.state == INTACT else s for s in ctx.record.seals)
    if ctx.payload["as_declared"]:
        return _discharged(ctx, seals=seals)
    return _moved(ctx, UNLOADED, seals=seals, reason=ctx.payload.get("note", ""))


def discrepancy(ctx: Context) -> Movement:
    return _moved(ctx, DISCREPANCY, findings=tuple(ctx.payload["findings"]))


def recover(ctx: Context) -> Movement:
    return _moved(ctx, RECOVERY, reason=ctx.payload["reason"])


def discharge(ctx: Context) -> Movement:
    return _discharged(ctx, reason=ctx.payload["reason"])


def incident(ctx: Context) -> Movement:
    record: Movement = ctx.record
    code, sealed = ctx.payload["code"], ctx.payload.get("seal")
    rule = INCIDENTS[code]
    report = IncidentReport(code, rule.consequence, sealed, ctx.issuer.id, ctx.time_ms, ctx.statement.id)
    changes: dict[str, Any] = {
        "incidents": (*record.incidents, report)[-MAX_INCIDENTS_KEPT:],
        "incident_count": record.incident_count + 1,
        "position": _later_position(ctx),
    }
    if rule.breaks_seal:
        changes["seals"] = tuple(replace(s, state=BROKEN) if s.id == sealed else s for s in record.seals)
    if rule.changes_vehicle:
        changes["vehicle_changed"] = True
    if rule.consequence == CONSEQUENCE_ABORTED:
        return _ended_on_the_way(ctx, ABORTED, reason=rule.meaning, **changes)
    if rule.consequence == CONSEQUENCE_HELD:
        left_s = None if record.deadline_s is None else record.deadline_s - ceil_s(ctx.time_ms)
        changes.update(came_from=record.state, remaining_s=left_s, deadline_s=_deadline(ctx, None))
        return _moved(ctx, HELD, **changes)
    return record.amended(**changes)


def resume(ctx: Context) -> Movement:
    record: Movement = ctx.record
    seals = tuple(replace(s, state=REPLACED) if s.state == BROKEN else s for s in record.seals)
    if record.vehicle_changed:  # what closed the old vehicle closes nothing now
        seals = tuple(replace(s, state=REMOVED) if s.state == INTACT else s for s in seals)
    return _moved(
        ctx,
        record.came_from,
        came_from="",
        remaining_s=None,
        deadline_s=_deadline(ctx, record.remaining_s),
        seals=(*seals, *_new_seals(ctx, record.plan.mrn)),
        vehicle=ctx.payload.get("vehicle", record.vehicle),
        truck=ctx.payload.get("truck", record.truck),
        vehicle_changed=False,
    )


def abort(ctx: Context) -> Movement:
    return _ended_on_the_way(ctx, ABORTED, reason=ctx.payload["reason"])


def resolve_overdue(ctx: Context) -> Movement:
    reason = ctx.payload["reason"]
    if ctx.payload["decision"] == "abort":
        return _ended_on_the_way(ctx, ABORTED, reason=reason)
    deadline_s = _deadline(ctx, ctx.payload["limit_s"])
    return _moved(ctx, ctx.record.came_from, came_from="", deadline_s=deadline_s, reason=reason)


# Tables.

_DEPARTURE = (Who(OFFICER, departure), Who(SYSTEM, departure))
_DEPARTURE_TERMINAL = (Who(TERMINAL, departure),)
_DESTINATION = (Who(OFFICER, destination), Who(SYSTEM, destination))
_DESTINATION_TERMINAL = (Who(TERMINAL, destination),)
_TRUCK = (Who(TRUCK, its_truck),)
_OFFICER_WHERE_IT_STANDS = (Who(OFFICER, custody),)
_REPORTERS = (Who(TRUCK, its_truck), Who(ESEAL, its_seal), Who(TERMINAL, near), Who(OFFICER, near))

_REFUSE_START = Transition(_DEPARTURE, refuse_start, (REFUSED,))


def _position(state: str) -> Transition:
    return Transition(_TRUCK, position, (state,))


def _incident(state: str) -> Transition:
    return Transition(_REPORTERS, incident, (state, HELD, ABORTED), (guard.incident_names_its_seal,))


TRANSITIONS: Transitions = {
    (ABSENT, "plan"): Transition(
        _DEPARTURE,
        plan,
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
    (PLANNED, "load"): Transition(_DEPARTURE_TERMINAL, load, (LOADED,), (guard.containers_are_as_planned,)),
    (LOADED, "seal"): Transition(
        (*_DEPARTURE, *_DEPARTURE_TERMINAL),
        seal,
        (SEALED,),
        (
            guard.seals_are_new,
            guard.seals_are_few_enough,
            guard.seals_close_its_containers,
            guard.seal_devices_are_known,
        ),
    ),
    (SEALED, "start"): Transition(
        _DEPARTURE,
        start,
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
        (Who(TRUCK, its_truck), Who(TERMINAL, departure)),
        reach_border,
        (STARTED, AT_BORDER),
        (guard.border_is_not_yet_reported,),
    ),
    (AT_BORDER, "offer"): Transition(
        _DEPARTURE_TERMINAL, offer, (OFFERED,), (guard.every_seal_is_read, guard.every_seal_is_intact)
    ),
    (OFFERED, "accept"): Transition(
        _DESTINATION_TERMINAL,
        accept,
        (HANDED_OVER,),
        (guard.every_seal_is_read, guard.every_seal_is_intact, guard.mass_is_within_tolerance),
    ),
    (OFFERED, "accept_with_differences"): Transition(
        _DESTINATION_TERMINAL, accept_with_differences, (DISPUTED,), (guard.there_is_a_difference,)
    ),
    (OFFERED, "refuse_handover"): Transition((*_DESTINATION, *_DESTINATION_TERMINAL), refuse_handover, (AT_BORDER,)),
    (DISPUTED, "resolve"): Transition((Who(OFFICER, either),), resolve, (DISPUTED, HANDED_OVER, RETURNED)),
    (HANDED_OVER, "arrive"): Transition(_DESTINATION_TERMINAL, arrive, (ARRIVED,)),
    (ARRIVED, "unload"): Transition(
        _DESTINATION,
        unload,
        (DISCHARGED, UNLOADED),
        (
            guard.unloading_reads_seals,
            guard.as_declared_reads_every_seal,
            guard.as_declared_has_seals_intact,
            guard.as_declared_has_the_mass,
        ),
    ),
    (UNLOADED, "discrepancy"): Transition(_DESTINATION, discrepancy, (DISCREPANCY,)),
    (DISCREPANCY, "recover"): Transition(_DESTINATION, recover, (RECOVERY,)),
    (RECOVERY, "discharge"): Transition(_DESTINATION, discharge, (DISCHARGED,)),
    **{(state, "incident"): _incident(state) for state in (STARTED, AT_BORDER, OFFERED, HANDED_OVER)},
    (HELD, "resume"): Transition(
        _OFFICER_WHERE_IT_STANDS,
        resume,
        (STARTED, AT_BORDER, OFFERED, HANDED_OVER),
        (
            guard.new_vehicle_is_named,
            guard.new_seals_are_put_on,
            guard.new_truck_is_known,
            guard.seals_are_new,
            guard.seals_are_few_enough,
            guard.seals_close_its_containers,
            guard.seal_devices_are_known,
        ),
    ),
    (HELD, "abort"): Transition(_OFFICER_WHERE_IT_STANDS, abort, (ABORTED,)),
    (OVERDUE, "resolve_overdue"): Transition(
        _OFFICER_WHERE_IT_STANDS, resolve_overdue, (STARTED, HANDED_OVER, ABORTED), (guard.new_limit_is_given,)
    ),
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


_STATES = {
    PLANNED: "declarations, truck, route and time limits are fixed; the containers are taken",
    LOADED: "the goods are on the vehicle, and weighed",
    SEALED: "closed with the seals that count from now on",
    STARTED: "on its way to the border; the first time limit runs",
    REFUSED: "given up before it started",
    AT_BORDER: "truck and gate have both reported the border",
    OFFERED: "the departure terminal has read the seals and offers the goods",
    HANDED_OVER: "custody and liability have passed; the second time limit runs",
    DISPUTED: "the receiving terminal read something else than it was offered; both authorities decide",
    RETURNED: "both authorities decided that it goes back",
    ARRIVED: "at its destination",
    UNLOADED: "unloaded, not as declared",
    DISCREPANCY: "what differs is on record",
    RECOVERY: "duties are being recovered",
    DISCHARGED: "over; the guarantee is free",
    HELD: "stopped by an incident until an officer decides; no time limit runs",
    OVERDUE: "later than its time limit, until an officer decides",
    ABORTED: "ended on the way; custody stays where it was",
}

ESCORT = Contract(
    name="escort",
    version=1,
    title="The unmanned escort of goods and its handover at the border",
    subject=Subject(parse_mrn, "MRN"),
    record=RecordType(Movement, movement_key, decode_movement, load_movement, movement_view, movement_parties),
    machines=(
        Machine(
            "movement",
            TRANSITIONS,
            _state,
            Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED,
            _STATES,
            ends=(REFUSED, RETURNED, DISCHARGED, ABORTED),
        ),
    ),
    schemas=SCHEMAS,
    deadlines=Deadlines("movement", lambda movement: movement.deadline_s, DEADLINES),
    unknown=Outcome.MOVEMENT_UNKNOWN,
    exists=Outcome.MOVEMENT_ALREADY_PLANNED,
    outcomes=range(300, 400),
)

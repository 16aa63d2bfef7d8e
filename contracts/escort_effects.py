"""Effects of the contract `escort`: what each event makes of the record, and of the indexes beside it.

No effect refuses: the guards of the row have held. What every effect must keep is said in `contracts.escort`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from contracts import escort_guards as guard
from contracts.deadlines import ceil_s, lift_deadline, set_deadline
from contracts.declaration_record import declaration_key, load_declaration
from contracts.incidents import ABORTED as CONSEQUENCE_ABORTED
from contracts.incidents import HELD as CONSEQUENCE_HELD
from contracts.incidents import INCIDENTS
from contracts.machine import (
    Context,
    ContractBug,
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
    MISSING,
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
    movement_key,
    seal_key,
)
from contracts.working import Working

MAX_INCIDENTS_KEPT = 16


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


def _count_open(working: Working, plan: Plan, step: int, exits: int = 0) -> None:
    """Declarations know the movements under way with them, so that none is pulled from under one, and those over."""
    for ucr, _ in plan.declarations:
        declaration = load_declaration(working, ucr)
        if declaration is None:
            raise ContractBug(f"movement {plan.mrn} names a declaration that is not there: {ucr}")
        movements_open, exited = declaration.movements_open + step, declaration.exits + exits
        working.put(declaration_key(ucr), declaration.amended(movements_open=movements_open, exits=exited))


def _count_ended(ctx: Context) -> None:
    """A movement that has ended was an exit if custody had passed."""
    record: Movement = ctx.record
    _count_open(ctx.working, record.plan, -1, int(record.custody.authority == record.plan.destination))


def _ended_on_the_way(ctx: Context, state: str, **changes: Any) -> Movement:
    """The end of a movement that had started and was not unloaded."""
    plan = ctx.record.plan
    _free_containers(ctx.working, plan)
    _count_ended(ctx)
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
    record: Movement = ctx.record
    if record.state in (ARRIVED, DISCREPANCY) or record.came_from == DISCREPANCY:  # else its end has counted already
        _count_ended(ctx)
    return _moved(ctx, DISCHARGED, guarantee_free_ms=ctx.time_ms, came_from="", **changes)


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
    """The newest fix by the device's own clock: fixes arrive late and out of order.

    One of a time that no device can have seen yet is no position: every true one after it would be older.
    """
    known: tuple[int, int, int, int] | None = ctx.record.position
    fix = ctx.payload.get("fix")
    if fix is None or (known is not None and fix["at_ms"] < known[0]):
        return known
    if fix["at_ms"] > ctx.time_ms + ctx.parameters.iat_skew_soft_s * 1000:
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
    name = "departure_decision" if ctx.issuer.authority == record.plan.departure else "destination_decision"
    changes: dict[str, Any] = {"reason": reason, name: decision}
    if "seals" in ctx.payload:  # put on where it stands, whatever is decided in the end
        opened = record.found_open()
        seals = tuple(replace(s, state=REPLACED) if s.id in opened else s for s in record.seals)
        changes["seals"] = (*seals, *_new_seals(ctx, record.plan.mrn))
    if guard.other_decision(ctx) != decision:
        return record.amended(**changes)
    if decision == HANDED_OVER:
        return _handed_over(ctx, **changes)
    return _ended_on_the_way(ctx, RETURNED, **changes)


def turn_back(ctx: Context) -> Movement:
    """The other side will not take the goods over: they stay with the side that has custody."""
    return _ended_on_the_way(ctx, RETURNED, reason=ctx.payload["reason"])


def arrive(ctx: Context) -> Movement:
    return _moved(ctx, ARRIVED, position=_later_position(ctx), deadline_s=_deadline(ctx, None))


def unload(ctx: Context) -> Movement:
    """Unloaded as declared is discharged at once, by the contract itself."""
    _free_containers(ctx.working, ctx.record.plan)
    found = {entry["id"]: entry["state"] for entry in ctx.payload.get("seals", ())}
    becomes = {INTACT: REMOVED, BROKEN: BROKEN, MISSING: MISSING}
    seals = tuple(replace(s, state=becomes[found[s.id]]) if s.state == INTACT else s for s in ctx.record.seals)
    if ctx.payload["as_declared"]:
        return _discharged(ctx, seals=seals)
    return _moved(ctx, UNLOADED, seals=seals, reason=ctx.payload.get("note", ""))


def discrepancy(ctx: Context) -> Movement:
    return _moved(ctx, DISCREPANCY, findings=tuple(ctx.payload["findings"]))


def recover(ctx: Context) -> Movement:
    return _moved(ctx, RECOVERY, reason=ctx.payload["reason"], came_from=ctx.record.state)


def discharge(ctx: Context) -> Movement:
    return _discharged(ctx, reason=ctx.payload["reason"])


def incident(ctx: Context) -> Movement:
    record: Movement = ctx.record
    code, sealed = ctx.payload["code"], ctx.payload.get("seal")
    rule = INCIDENTS[code]
    vehicle = ctx.payload.get("vehicle")
    report = IncidentReport(code, rule.consequence, sealed, ctx.issuer.id, ctx.time_ms, ctx.statement.id, vehicle)
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
    state, remaining_s, payload = record.came_from, record.remaining_s, ctx.payload
    seals = tuple(replace(s, state=REPLACED) if s.state == BROKEN else s for s in record.seals)
    changes: dict[str, Any] = {}
    if guard.vehicle_changes(
        ctx
    ):  # what closed the old vehicle closes nothing now, and what was offered is not there now
        seals = tuple(replace(s, state=REMOVED) if s.state == INTACT else s for s in seals)
        changes["loaded_mass_g"] = payload.get("mass_g", record.loaded_mass_g)
        if state == OFFERED:
            state, remaining_s = AT_BORDER, None
            changes["offer"] = None
    if "containers" in payload:
        changes["plan"] = _in_other_containers(ctx)
    return _moved(
        ctx,
        state,
        came_from="",
        remaining_s=None,
        deadline_s=_deadline(ctx, remaining_s),
        seals=(*seals, *_new_seals(ctx, record.plan.mrn)),
        vehicle=guard.vehicle_from_now(ctx),
        truck=payload.get("truck", record.truck),
        vehicle_changed=False,
        **changes,
    )


def _in_other_containers(ctx: Context) -> Plan:
    plan: Plan = ctx.record.plan
    _free_containers(ctx.working, plan)
    for container in ctx.payload["containers"]:
        ctx.working.put(container_key(container), (plan.mrn,))
    return replace(plan, containers=tuple(ctx.payload["containers"]))


def abort(ctx: Context) -> Movement:
    return _ended_on_the_way(ctx, ABORTED, reason=ctx.payload["reason"])


def resolve_overdue(ctx: Context) -> Movement:
    reason = ctx.payload["reason"]
    if ctx.payload["decision"] == "abort":
        return _ended_on_the_way(ctx, ABORTED, reason=reason)
    if ctx.payload["decision"] == "recover":
        return _ended_on_the_way(ctx, RECOVERY, reason=reason).amended(came_from=OVERDUE)
    deadline_s = _deadline(ctx, ctx.payload["limit_s"])
    return _moved(ctx, ctx.record.came_from, came_from="", deadline_s=deadline_s, reason=reason)

"""What version 2 of `escort` has beside version 1: reports that come late, and weighings of the vehicle it is on.

A truck reports where it is for as long as its journey lasts, held or at the border as well: one that is driven off
while it is held is the last to lose sight of. A truck without a link signs on, and sends when it can: after the gate
has reported its arrival, after an officer has turned it back, after a transfer of the goods to another vehicle. Such a
report is of a part of the journey that is over. It is taken, counted as late, and moves neither custody nor state nor
deadline. Two facts are looked at. What it reports lies within the truck's own part, by the device's clock and the
governed soft skew, so that nobody's track goes on after the goods have left the vehicle. And the part is over for no
longer than `late_report_s`, in block time, so that a record is at rest one day; when that is, is the same on every
validator.

A weighing is of a vehicle with what is on it. So it is compared with weighings of the same vehicle only: after a change
of vehicle with the one that the officer gives when the goods go on, and if none is given, with none.

Does not: take a late report of anybody else. Gates, officers and electronic seals speak to the state as it is; what
they would report late changes what is decided, and has its own words (`discrepancy`, `reason`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts import escort_effects as do
from contracts import escort_guards as guard
from contracts.escort_sides import its_truck
from contracts.machine import Context, refuses
from contracts.movement import (
    ABORTED,
    ARRIVED,
    AT_BORDER,
    DISPUTED,
    HANDED_OVER,
    HELD,
    OFFERED,
    OVERDUE,
    RECOVERY,
    RETURNED,
    STARTED,
    Movement,
)
from contracts.outcome import Outcome

# The journey lasts: the truck reports where it is.
UNDER_WAY = (STARTED, AT_BORDER, OFFERED, DISPUTED, HELD, HANDED_OVER, OVERDUE)
# What ends the journey, whatever comes of the movement afterwards.
_ENDS = (ARRIVED, RETURNED, ABORTED, RECOVERY)
MAX_FORMER_TRUCKS = 16  # the latest are kept


# Whose report it is, and since when its part is over.


def its_truck_now_or_before(ctx: Context) -> bool:
    """The truck that the movement is on, or was on before the goods went on with another."""
    return its_truck(ctx) or any(truck == ctx.issuer.id for truck, _ in ctx.record.former_trucks)


def part_over_ms(record: Movement, truck: str) -> int | None:
    """Since when, in block time, the part of a truck is over; None while its journey lasts."""
    if record.truck == truck:
        if record.state in UNDER_WAY:
            return None
        return record.since_ms if record.journey_ended_ms is None else record.journey_ended_ms
    return max(until_ms for former, until_ms in record.former_trucks if former == truck)


def _newest_ms(ctx: Context) -> int:
    """The last moment that a report is about, by the device's clock."""
    fix = ctx.payload.get("fix")
    return int(ctx.payload["batch"]["until_ms"] if fix is None else fix["at_ms"])


# Guards.


@refuses(Outcome.REPORT_AFTER_JOURNEY)
def report_is_of_its_journey(ctx: Context) -> Outcome | None:
    """What a late report is about lies within the truck's own part of the journey, up to the soft limit of skew."""
    over_ms = part_over_ms(ctx.record, ctx.issuer.id)
    if over_ms is None:
        return None
    beyond = _newest_ms(ctx) > over_ms + ctx.parameters.iat_skew_soft_s * 1000
    return Outcome.REPORT_AFTER_JOURNEY if beyond else None


@refuses(Outcome.REPORT_TOO_LATE)
def report_is_not_too_late(ctx: Context) -> Outcome | None:
    """The truck's part of the journey is over for no longer than late reports are waited for."""
    over_ms = part_over_ms(ctx.record, ctx.issuer.id)
    if over_ms is None:
        return None
    return Outcome.REPORT_TOO_LATE if ctx.time_ms > over_ms + ctx.parameters.late_report_s * 1000 else None


@refuses(Outcome.MASS_OUT_OF_TOLERANCE)
def as_declared_has_the_mass_of_this_vehicle(ctx: Context) -> Outcome | None:
    """Unloading as declared finds the mass that the destination side weighed last, of the vehicle that is unloaded."""
    mass_g, weighed_g = ctx.payload.get("mass_g"), weighed_since_handover_g(ctx.record)
    if not ctx.payload["as_declared"] or mass_g is None or weighed_g is None:
        return None
    return None if ctx.parameters.mass_within_tolerance(mass_g, weighed_g) else Outcome.MASS_OUT_OF_TOLERANCE


def weighed_since_handover_g(record: Movement) -> int | None:
    """The mass of the vehicle as the destination side knows it; None if it is another and was not weighed."""
    if record.vehicle_since_ms is not None and record.vehicle_since_ms >= record.custody.since_ms:
        return record.loaded_mass_g
    return None if record.acceptance is None else record.acceptance.mass_g


# Effects.


def position(ctx: Context) -> Movement:
    """As in version 1; of a part of the journey that is over, it is counted as late too."""
    moved = do.position(ctx)
    late = part_over_ms(ctx.record, ctx.issuer.id) is not None
    return moved.amended(late_reports=moved.late_reports + 1) if late else moved


def ending(effect: Callable[[Context], Movement]) -> Callable[[Context], Movement]:
    """An effect that also notes when the journey ended, where it does: not to be moved by what is decided later."""

    def noted(ctx: Context) -> Movement:
        moved = effect(ctx)
        return moved.amended(journey_ended_ms=ctx.time_ms) if moved.state in _ENDS else moved

    return noted


def resume(ctx: Context) -> Movement:
    """As in version 1. A truck that is left behind stays on record, and so does since when it is another vehicle."""
    record: Movement = ctx.record
    moved = do.resume(ctx)
    changes: dict[str, Any] = {}
    if guard.vehicle_changes(ctx):
        changes = {"vehicle_since_ms": ctx.time_ms, "loaded_mass_g": ctx.payload.get("mass_g")}
    if moved.truck != record.truck:
        # It stood still since it was held: what it reports after that is not of this journey.
        before = tuple(each for each in record.former_trucks if each[0] != record.truck)
        changes["former_trucks"] = (*before, (record.truck, record.since_ms))[-MAX_FORMER_TRUCKS:]
    return moved.amended(**changes)

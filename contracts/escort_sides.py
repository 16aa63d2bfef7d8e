"""Who may speak in an escort: the sides on which senders stand, and the senders that the rows of the table name."""

from __future__ import annotations

from contracts.incidents import ABORTED, INCIDENTS
from contracts.machine import ESEAL, OFFICER, SYSTEM, TERMINAL, TRUCK, Context, Who, refuses
from contracts.movement import AT_BORDER, INTACT, OFFERED
from contracts.outcome import Outcome

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


DEPARTURE = (Who(OFFICER, departure), Who(SYSTEM, departure))
DEPARTURE_TERMINAL = (Who(TERMINAL, departure),)
DESTINATION = (Who(OFFICER, destination), Who(SYSTEM, destination))
DESTINATION_TERMINAL = (Who(TERMINAL, destination),)
ITS_TRUCK = (Who(TRUCK, its_truck),)
OFFICER_WHERE_IT_STANDS = (Who(OFFICER, custody),)
CUSTOMS_WITH_CUSTODY = (Who(OFFICER, custody), Who(SYSTEM, custody))
REPORTERS = (Who(TRUCK, its_truck), Who(ESEAL, its_seal), Who(TERMINAL, near), Who(OFFICER, near))


def _near_as(ctx: Context, role: str) -> bool:
    """Whether the sender, in one role of those who may report incidents, is near the movement."""
    return role in ctx.issuer.roles and any(who.role == role and who.side(ctx) for who in REPORTERS)


@refuses(Outcome.INCIDENT_REPORTER_NOT_ALLOWED)
def reporter_may_know(ctx: Context) -> Outcome | None:
    """The code decides who can speak of it: a seal reports no accident, and an officer alone a total loss."""
    rule = INCIDENTS[ctx.payload["code"]]
    may = any(_near_as(ctx, role) for role in rule.reporters)
    if rule.consequence == ABORTED:  # what is in the custody of one side is not for the other to end
        may = may and custody(ctx)
    return None if may else Outcome.INCIDENT_REPORTER_NOT_ALLOWED

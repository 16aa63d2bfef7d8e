"""Guards of the contract `escort`: each looks at one fact and names the one that stands in the way."""

from __future__ import annotations

from typing import Any, cast

from contracts.declaration import RELEASED, Declaration, load_declaration
from contracts.escort_payloads import MAX_SEALS
from contracts.identifiers import parse_place
from contracts.incidents import INCIDENTS
from contracts.machine import CARRIER, DECLARANT, ESEAL, TRUCK, Context
from contracts.movement import BROKEN, INTACT, Movement, container_key
from contracts.outcome import Outcome
from contracts.registry import load_authority, load_participant

# Planning.


def _planned(ctx: Context) -> list[Declaration]:
    """The declarations that a plan names; `declarations_are_known` came first."""
    return [cast(Declaration, load_declaration(ctx.working, ucr)) for ucr in ctx.payload["declarations"]]


def declarations_are_known(ctx: Context) -> Outcome | None:
    for ucr in ctx.payload["declarations"]:
        if load_declaration(ctx.working, ucr) is None:
            return Outcome.MOVEMENT_DECLARATION_UNKNOWN
    return None


def declarations_are_of_one_pair(ctx: Context) -> Outcome | None:
    """All received by the authority that plans, and all put to the same partner: where the movement goes."""
    declarations = _planned(ctx)
    if any(declaration.home != ctx.issuer.authority for declaration in declarations):
        return Outcome.DECLARATION_HOME_DIFFERS
    if any(declaration.partner != declarations[0].partner for declaration in declarations):
        return Outcome.DECLARATION_PARTNER_DIFFERS
    return None


def mrn_is_of_departure_country(ctx: Context) -> Outcome | None:
    return None if ctx.statement.sub[2:4] == ctx.issuer.country else Outcome.MRN_COUNTRY_DIFFERS


def declarations_are_released(ctx: Context) -> Outcome | None:
    released = all(declaration.status == RELEASED for declaration in _planned(ctx))
    return None if released else Outcome.DECLARATION_NOT_RELEASED


def declarations_are_recognised(ctx: Context) -> Outcome | None:
    recognised = all(declaration.recognised() for declaration in _planned(ctx))
    return None if recognised else Outcome.DECLARATION_NOT_RECOGNISED


def _truck_refusal(ctx: Context, truck: str) -> Outcome | None:
    participant = load_participant(ctx.working, truck)
    return None if participant is not None and TRUCK in participant.roles else Outcome.TRUCK_UNKNOWN


def truck_is_known(ctx: Context) -> Outcome | None:
    return _truck_refusal(ctx, ctx.payload["truck"])


def carrier_is_of_departure(ctx: Context) -> Outcome | None:
    carrier = load_participant(ctx.working, ctx.payload["carrier"])
    if carrier is None or CARRIER not in carrier.roles or carrier.authority != ctx.issuer.authority:
        return Outcome.CARRIER_UNKNOWN
    return None


def receiver_is_of_destination(ctx: Context) -> Outcome | None:
    receiver = load_participant(ctx.working, ctx.payload["receiver"])
    if receiver is None or not {CARRIER, DECLARANT}.intersection(receiver.roles):
        return Outcome.RECEIVER_UNKNOWN
    return None if receiver.authority == _planned(ctx)[0].partner else Outcome.RECEIVER_UNKNOWN


def posts_are_allowed(ctx: Context) -> Outcome | None:
    """Both posts are governed ones, and each lies on its own side."""
    partner = load_authority(ctx.working, _planned(ctx)[0].partner)
    entry_country = None if partner is None else partner.country
    for name, country in (("exit_post", ctx.issuer.country), ("entry_post", entry_country)):
        place = parse_place(ctx.payload[name])
        if place.code not in ctx.parameters.posts or place.country != country:
            return Outcome.POST_NOT_ALLOWED
    return None


def corridor_is_narrow_enough(ctx: Context) -> Outcome | None:
    return Outcome.CORRIDOR_TOO_WIDE if ctx.payload["corridor_m"] > ctx.parameters.corridor_m else None


def legs_are_short_enough(ctx: Context) -> Outcome | None:
    longest_s = max(ctx.payload["limit_to_border_s"], ctx.payload["limit_to_destination_s"])
    return Outcome.LEG_LIMIT_TOO_LONG if longest_s > ctx.parameters.leg_limit_s else None


def containers_are_declared(ctx: Context) -> Outcome | None:
    declared = {container for declaration in _planned(ctx) for container in declaration.content.containers}
    return None if declared.issuperset(ctx.payload["containers"]) else Outcome.CONTAINER_NOT_DECLARED


def containers_are_free(ctx: Context) -> Outcome | None:
    for container in ctx.payload["containers"]:
        if ctx.working.row(container_key(container)) is not None:
            return Outcome.CONTAINER_IN_OTHER_MOVEMENT
    return None


# Loading, sealing, starting.


def containers_are_as_planned(ctx: Context) -> Outcome | None:
    same = sorted(ctx.payload["containers"]) == sorted(ctx.record.plan.containers)
    return None if same else Outcome.CONTAINERS_DIFFER_FROM_PLAN


def seals_are_new(ctx: Context) -> Outcome | None:
    """No seal number twice on one movement, not even one that was broken or removed."""
    used = {seal.id for seal in ctx.record.seals}
    for entry in ctx.payload.get("seals", ()):
        if entry["id"] in used:
            return Outcome.SEAL_ALREADY_USED
        used.add(entry["id"])
    return None


def seals_are_few_enough(ctx: Context) -> Outcome | None:
    count = len(ctx.record.seals) + len(ctx.payload.get("seals", ()))
    return Outcome.SEAL_LIMIT_REACHED if count > MAX_SEALS else None


def seals_close_its_containers(ctx: Context) -> Outcome | None:
    for entry in ctx.payload.get("seals", ()):
        if "container" in entry and entry["container"] not in ctx.record.plan.containers:
            return Outcome.SEAL_CONTAINER_NOT_ON_MOVEMENT
    return None


def seal_devices_are_known(ctx: Context) -> Outcome | None:
    for entry in ctx.payload.get("seals", ()):
        if "device" in entry:
            device = load_participant(ctx.working, entry["device"])
            if device is None or ESEAL not in device.roles:
                return Outcome.SEAL_DEVICE_UNKNOWN
    return None


def declarations_are_as_planned(ctx: Context) -> Outcome | None:
    """Between plan and start a declaration can be invalidated, amended, or lose its recognition."""
    for ucr, version in ctx.record.plan.declarations:
        declaration = cast(Declaration, load_declaration(ctx.working, ucr))
        if declaration.status != RELEASED:
            return Outcome.DECLARATION_NOT_RELEASED
        if declaration.version != version:
            return Outcome.DECLARATION_VERSION_CHANGED
        if not declaration.recognised():
            return Outcome.DECLARATION_NOT_RECOGNISED
    return None


# The border.


def border_is_not_yet_reported(ctx: Context) -> Outcome | None:
    record: Movement = ctx.record
    by_truck = record.truck == ctx.issuer.id
    reported_ms = record.truck_at_border_ms if by_truck else record.gate_at_border_ms
    return None if reported_ms is None else Outcome.BORDER_ALREADY_REPORTED


def _read(ctx: Context) -> list[dict[str, Any]]:
    return list(ctx.payload.get("seals", ()))


def every_seal_is_read(ctx: Context) -> Outcome | None:
    """Exactly the seals in force, each once."""
    read = sorted(entry["id"] for entry in _read(ctx))
    return None if read == sorted(ctx.record.seals_in_force()) else Outcome.SEAL_READINGS_DIFFER


def every_seal_is_intact(ctx: Context) -> Outcome | None:
    intact = all(entry["state"] == INTACT for entry in _read(ctx))
    return None if intact else Outcome.SEAL_NOT_INTACT


def _weighings(record: Movement) -> list[tuple[str, int]]:
    """What a weighing is compared with: the offer, if there is one, and the loading."""
    weighings = [] if record.offer is None else [("offer", record.offer.mass_g)]
    if record.loaded_mass_g is not None:
        weighings.append(("load", record.loaded_mass_g))
    return weighings


def mass_is_within_tolerance(ctx: Context) -> Outcome | None:
    for _, mass_g in _weighings(ctx.record):
        if not ctx.parameters.mass_within_tolerance(ctx.payload["mass_g"], mass_g):
            return Outcome.MASS_OUT_OF_TOLERANCE
    return None


def differences(ctx: Context) -> tuple[str, ...]:
    """Every difference between what the receiving terminal read and what it was offered, each in a fixed spelling."""
    in_force = sorted(ctx.record.seals_in_force())
    read = sorted((entry["id"], entry["state"]) for entry in _read(ctx))
    ids = [seal for seal, _ in read]
    found = [f"seal {seal} not read" for seal in in_force if seal not in ids]
    found += [f"seal {seal} not expected" for seal in dict.fromkeys(ids) if seal not in in_force]
    found += [f"seal {seal} read twice" for seal in dict.fromkeys(ids) if ids.count(seal) > 1]
    found += [f"seal {seal} {state}" for seal, state in read if state != INTACT]
    for what, mass_g in _weighings(ctx.record):
        if not ctx.parameters.mass_within_tolerance(ctx.payload["mass_g"], mass_g):
            found.append(f"mass differs from {what} by {ctx.payload['mass_g'] - mass_g} g")
    return tuple(found)


def there_is_a_difference(ctx: Context) -> Outcome | None:
    return None if differences(ctx) else Outcome.NO_DIFFERENCE_FOUND


# Unloading.


def unloading_reads_seals(ctx: Context) -> Outcome | None:
    missing = bool(ctx.record.seals_in_force()) and not ctx.payload.get("seals")
    return Outcome.SEAL_READINGS_MISSING if missing else None


def as_declared_reads_every_seal(ctx: Context) -> Outcome | None:
    return every_seal_is_read(ctx) if ctx.payload["as_declared"] else None


def as_declared_has_seals_intact(ctx: Context) -> Outcome | None:
    return every_seal_is_intact(ctx) if ctx.payload["as_declared"] else None


def as_declared_has_the_mass(ctx: Context) -> Outcome | None:
    """Compared with what the destination side itself weighed when it took the goods over."""
    mass_g, accepted = ctx.payload.get("mass_g"), ctx.record.acceptance
    if not ctx.payload["as_declared"] or mass_g is None:
        return None
    within = ctx.parameters.mass_within_tolerance(mass_g, accepted.mass_g)
    return None if within else Outcome.MASS_OUT_OF_TOLERANCE


# Incidents.


def incident_names_its_seal(ctx: Context) -> Outcome | None:
    """A broken seal is named and in force; an electronic seal speaks for itself alone."""
    sealed = ctx.payload.get("seal")
    if sealed is None:
        return Outcome.INCIDENT_NEEDS_SEAL if INCIDENTS[ctx.payload["code"]].breaks_seal else None
    for seal in ctx.record.seals:
        if seal.id == sealed and seal.state == INTACT:
            other = ESEAL in ctx.issuer.roles and seal.device != ctx.issuer.id
            return Outcome.SEAL_OF_OTHER_DEVICE if other else None
    return Outcome.SEAL_NOT_ON_MOVEMENT


def new_vehicle_is_named(ctx: Context) -> Outcome | None:
    missing = ctx.record.vehicle_changed and "vehicle" not in ctx.payload
    return Outcome.NEW_VEHICLE_REQUIRED if missing else None


def new_seals_are_put_on(ctx: Context) -> Outcome | None:
    """After a seal broke, and on a new vehicle."""
    needed = ctx.record.vehicle_changed or any(seal.state == BROKEN for seal in ctx.record.seals)
    return Outcome.NEW_SEALS_REQUIRED if needed and not ctx.payload.get("seals") else None


def new_truck_is_known(ctx: Context) -> Outcome | None:
    return _truck_refusal(ctx, ctx.payload["truck"]) if "truck" in ctx.payload else None


def new_limit_is_given(ctx: Context) -> Outcome | None:
    missing = ctx.payload["decision"] == "continue" and "limit_s" not in ctx.payload
    if missing:
        return Outcome.LEG_LIMIT_MISSING
    too_long = ctx.payload.get("limit_s", 0) > ctx.parameters.leg_limit_s
    return Outcome.LEG_LIMIT_TOO_LONG if too_long else None

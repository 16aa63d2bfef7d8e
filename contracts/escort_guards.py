"""Guards of the contract `escort`: each looks at one fact and names the one that stands in the way."""

from __future__ import annotations

from typing import Any, cast

from contracts.declaration_record import RELEASED, Declaration, load_declaration
from contracts.escort_payloads import MAX_SEALS
from contracts.identifiers import parse_place
from contracts.incidents import INCIDENTS
from contracts.machine import CARRIER, DECLARANT, ESEAL, TRUCK, Context, refuses
from contracts.movement import BROKEN, HANDED_OVER, INTACT, Movement, container_key
from contracts.outcome import Outcome
from contracts.registry import load_authority, load_participant

# Planning.


def _planned(ctx: Context) -> list[Declaration]:
    """The declarations that a plan names; `declarations_are_known` came first."""
    return [cast(Declaration, load_declaration(ctx.working, ucr)) for ucr in ctx.payload["declarations"]]


@refuses(Outcome.MOVEMENT_DECLARATION_UNKNOWN)
def declarations_are_known(ctx: Context) -> Outcome | None:
    """Every declaration that the plan names has been lodged."""
    for ucr in ctx.payload["declarations"]:
        if load_declaration(ctx.working, ucr) is None:
            return Outcome.MOVEMENT_DECLARATION_UNKNOWN
    return None


@refuses(Outcome.DECLARATION_HOME_DIFFERS, Outcome.DECLARATION_PARTNER_DIFFERS)
def declarations_are_of_one_pair(ctx: Context) -> Outcome | None:
    """All received by the authority that plans, and all put to the same partner: where the movement goes."""
    declarations = _planned(ctx)
    if any(declaration.home != ctx.issuer.authority for declaration in declarations):
        return Outcome.DECLARATION_HOME_DIFFERS
    if any(declaration.partner != declarations[0].partner for declaration in declarations):
        return Outcome.DECLARATION_PARTNER_DIFFERS
    return None


@refuses(Outcome.MRN_COUNTRY_DIFFERS)
def mrn_is_of_departure_country(ctx: Context) -> Outcome | None:
    """The MRN is of the country of the authority that plans."""
    return None if ctx.statement.sub[2:4] == ctx.issuer.country else Outcome.MRN_COUNTRY_DIFFERS


@refuses(Outcome.DECLARATION_NOT_RELEASED)
def declarations_are_released(ctx: Context) -> Outcome | None:
    """Every declaration is released by its home authority."""
    released = all(declaration.status == RELEASED for declaration in _planned(ctx))
    return None if released else Outcome.DECLARATION_NOT_RELEASED


@refuses(Outcome.DECLARATION_NOT_RECOGNISED)
def declarations_are_recognised(ctx: Context) -> Outcome | None:
    """Every declaration is recognised by the partner, in its present version."""
    recognised = all(declaration.recognised() for declaration in _planned(ctx))
    return None if recognised else Outcome.DECLARATION_NOT_RECOGNISED


def _truck_refusal(ctx: Context, truck: str) -> Outcome | None:
    participant = load_participant(ctx.working, truck)
    return None if participant is not None and TRUCK in participant.roles else Outcome.TRUCK_UNKNOWN


@refuses(Outcome.TRUCK_UNKNOWN)
def truck_is_known(ctx: Context) -> Outcome | None:
    """The truck is enrolled as one."""
    return _truck_refusal(ctx, ctx.payload["truck"])


@refuses(Outcome.CARRIER_UNKNOWN)
def carrier_is_of_departure(ctx: Context) -> Outcome | None:
    """The carrier is enrolled as one, by the departure side."""
    carrier = load_participant(ctx.working, ctx.payload["carrier"])
    if carrier is None or CARRIER not in carrier.roles or carrier.authority != ctx.issuer.authority:
        return Outcome.CARRIER_UNKNOWN
    return None


@refuses(Outcome.RECEIVER_UNKNOWN)
def receiver_is_of_destination(ctx: Context) -> Outcome | None:
    """The receiver is enrolled as carrier or declarant, by the destination side."""
    receiver = load_participant(ctx.working, ctx.payload["receiver"])
    if receiver is None or not {CARRIER, DECLARANT}.intersection(receiver.roles):
        return Outcome.RECEIVER_UNKNOWN
    return None if receiver.authority == _planned(ctx)[0].partner else Outcome.RECEIVER_UNKNOWN


@refuses(Outcome.POST_NOT_ALLOWED)
def posts_are_allowed(ctx: Context) -> Outcome | None:
    """Both posts are governed ones, and each lies on its own side."""
    partner = load_authority(ctx.working, _planned(ctx)[0].partner)
    entry_country = None if partner is None else partner.country
    for name, country in (("exit_post", ctx.issuer.country), ("entry_post", entry_country)):
        place = parse_place(ctx.payload[name])
        if place.code not in ctx.parameters.posts or place.country != country:
            return Outcome.POST_NOT_ALLOWED
    return None


@refuses(Outcome.CORRIDOR_TOO_WIDE)
def corridor_is_narrow_enough(ctx: Context) -> Outcome | None:
    """The corridor is no wider than the authorities allow."""
    return Outcome.CORRIDOR_TOO_WIDE if ctx.payload["corridor_m"] > ctx.parameters.corridor_m else None


@refuses(Outcome.LEG_LIMIT_TOO_LONG)
def legs_are_short_enough(ctx: Context) -> Outcome | None:
    """Neither time limit is longer than the authorities allow."""
    longest_s = max(ctx.payload["limit_to_border_s"], ctx.payload["limit_to_destination_s"])
    return Outcome.LEG_LIMIT_TOO_LONG if longest_s > ctx.parameters.leg_limit_s else None


@refuses(Outcome.CONTAINER_NOT_DECLARED)
def containers_are_declared(ctx: Context) -> Outcome | None:
    """Every container stands in one of the declarations."""
    declared = {container for declaration in _planned(ctx) for container in declaration.content.containers}
    return None if declared.issuperset(ctx.payload["containers"]) else Outcome.CONTAINER_NOT_DECLARED


@refuses(Outcome.CONTAINER_IN_OTHER_MOVEMENT)
def containers_are_free(ctx: Context) -> Outcome | None:
    """No container is on another movement."""
    for container in ctx.payload["containers"]:
        if ctx.working.row(container_key(container)) is not None:
            return Outcome.CONTAINER_IN_OTHER_MOVEMENT
    return None


# Loading, sealing, starting.


@refuses(Outcome.CONTAINERS_DIFFER_FROM_PLAN)
def containers_are_as_planned(ctx: Context) -> Outcome | None:
    """The containers loaded are those of the plan."""
    same = sorted(ctx.payload["containers"]) == sorted(ctx.record.plan.containers)
    return None if same else Outcome.CONTAINERS_DIFFER_FROM_PLAN


@refuses(Outcome.SEAL_ALREADY_USED)
def seals_are_new(ctx: Context) -> Outcome | None:
    """No seal number twice on one movement, not even one that was broken or removed."""
    used = {seal.id for seal in ctx.record.seals}
    for entry in ctx.payload.get("seals", ()):
        if entry["id"] in used:
            return Outcome.SEAL_ALREADY_USED
        used.add(entry["id"])
    return None


@refuses(Outcome.SEAL_LIMIT_REACHED)
def seals_are_few_enough(ctx: Context) -> Outcome | None:
    """The movement stays within the number of seals that one may ever have."""
    count = len(ctx.record.seals) + len(ctx.payload.get("seals", ()))
    return Outcome.SEAL_LIMIT_REACHED if count > MAX_SEALS else None


@refuses(Outcome.SEAL_CONTAINER_NOT_ON_MOVEMENT)
def seals_close_its_containers(ctx: Context) -> Outcome | None:
    """A seal that names a container names one that it is on, or is on from now where the goods were transferred."""
    containers = ctx.payload.get("containers", ctx.record.plan.containers)
    for entry in ctx.payload.get("seals", ()):
        if "container" in entry and entry["container"] not in containers:
            return Outcome.SEAL_CONTAINER_NOT_ON_MOVEMENT
    return None


@refuses(Outcome.SEAL_DEVICE_UNKNOWN)
def seal_devices_are_known(ctx: Context) -> Outcome | None:
    """A seal that names a device names an enrolled electronic seal."""
    for entry in ctx.payload.get("seals", ()):
        if "device" in entry:
            device = load_participant(ctx.working, entry["device"])
            if device is None or ESEAL not in device.roles:
                return Outcome.SEAL_DEVICE_UNKNOWN
    return None


@refuses(Outcome.DECLARATION_NOT_RELEASED, Outcome.DECLARATION_VERSION_CHANGED, Outcome.DECLARATION_NOT_RECOGNISED)
def declarations_are_as_planned(ctx: Context) -> Outcome | None:
    """Every declaration is still released, of the planned version, and recognised in it.

    Between plan and start one can be invalidated, amended, or lose its recognition.
    """
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


@refuses(Outcome.BORDER_ALREADY_REPORTED)
def border_is_not_yet_reported(ctx: Context) -> Outcome | None:
    """This party has not reported the border before."""
    record: Movement = ctx.record
    by_truck = record.truck == ctx.issuer.id
    reported_ms = record.truck_at_border_ms if by_truck else record.gate_at_border_ms
    return None if reported_ms is None else Outcome.BORDER_ALREADY_REPORTED


def _read(ctx: Context) -> list[dict[str, Any]]:
    return list(ctx.payload.get("seals", ()))


@refuses(Outcome.SEAL_READINGS_DIFFER)
def every_seal_is_read(ctx: Context) -> Outcome | None:
    """Exactly the seals in force, each once."""
    read = sorted(entry["id"] for entry in _read(ctx))
    return None if read == sorted(ctx.record.seals_in_force()) else Outcome.SEAL_READINGS_DIFFER


@refuses(Outcome.SEAL_NOT_INTACT)
def every_seal_is_intact(ctx: Context) -> Outcome | None:
    """Every seal that was read is intact."""
    intact = all(entry["state"] == INTACT for entry in _read(ctx))
    return None if intact else Outcome.SEAL_NOT_INTACT


def _weighings(record: Movement) -> list[tuple[str, int]]:
    """What a weighing is compared with: the offer, if there is one, and the loading."""
    weighings = [] if record.offer is None else [("offer", record.offer.mass_g)]
    if record.loaded_mass_g is not None:
        weighings.append(("load", record.loaded_mass_g))
    return weighings


@refuses(Outcome.MASS_OUT_OF_TOLERANCE)
def mass_is_within_tolerance(ctx: Context) -> Outcome | None:
    """The mass agrees with the earlier weighings within the governed tolerance."""
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


@refuses(Outcome.NO_DIFFERENCE_FOUND)
def there_is_a_difference(ctx: Context) -> Outcome | None:
    """Something differs: without a difference the handover is to be accepted as it is."""
    return None if differences(ctx) else Outcome.NO_DIFFERENCE_FOUND


@refuses(Outcome.DECLARATION_NOT_RECOGNISED)
def recognition_stands(ctx: Context) -> Outcome | None:
    """Recognition gives the handover its effect: a terminal takes nothing over while it is suspended or withdrawn."""
    for ucr, _ in ctx.record.plan.declarations:
        if not cast(Declaration, load_declaration(ctx.working, ucr)).recognised():
            return Outcome.DECLARATION_NOT_RECOGNISED
    return None


def other_decision(ctx: Context) -> str:
    """What an officer of the other authority decided on the dispute, if one did."""
    record: Movement = ctx.record
    by_departure = ctx.issuer.authority == record.plan.departure
    return record.destination_decision if by_departure else record.departure_decision


@refuses(Outcome.NEW_SEALS_REQUIRED)
def what_was_open_is_sealed(ctx: Context) -> Outcome | None:
    """Goods whose seals were not found intact go over only under new ones."""
    goes_over = ctx.payload["decision"] == HANDED_OVER == other_decision(ctx)
    needed = goes_over and bool(ctx.record.found_open())
    return Outcome.NEW_SEALS_REQUIRED if needed and not ctx.payload.get("seals") else None


# Unloading.


@refuses(Outcome.SEAL_READINGS_MISSING)
def unloading_reads_seals(ctx: Context) -> Outcome | None:
    """Whoever unloads a movement with seals in force has read them."""
    missing = bool(ctx.record.seals_in_force()) and not ctx.payload.get("seals")
    return Outcome.SEAL_READINGS_MISSING if missing else None


@refuses(Outcome.SEAL_NOT_INTACT)
def as_declared_has_seals_intact(ctx: Context) -> Outcome | None:
    """Unloading as declared has found every seal intact."""
    return every_seal_is_intact(ctx) if ctx.payload["as_declared"] else None


@refuses(Outcome.MASS_OUT_OF_TOLERANCE)
def as_declared_has_the_mass(ctx: Context) -> Outcome | None:
    """Unloading as declared finds the mass that the destination side weighed when it took the goods over."""
    mass_g, accepted = ctx.payload.get("mass_g"), ctx.record.acceptance
    if not ctx.payload["as_declared"] or mass_g is None:
        return None
    within = ctx.parameters.mass_within_tolerance(mass_g, accepted.mass_g)
    return None if within else Outcome.MASS_OUT_OF_TOLERANCE


# Incidents.


@refuses(Outcome.INCIDENT_NEEDS_SEAL, Outcome.SEAL_OF_OTHER_DEVICE, Outcome.SEAL_NOT_ON_MOVEMENT)
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


def vehicle_from_now(ctx: Context) -> str:
    """The vehicle that a held movement goes on with: the officer's word, else that of whoever reported the incident."""
    record: Movement = ctx.record
    return ctx.payload.get("vehicle") or record.incidents[-1].vehicle or record.vehicle


def vehicle_changes(ctx: Context) -> bool:
    """Whatever the incident was called: goods that go on with another vehicle are on another vehicle."""
    return bool(ctx.record.vehicle_changed or vehicle_from_now(ctx) != ctx.record.vehicle)


@refuses(Outcome.NEW_VEHICLE_REQUIRED)
def new_vehicle_is_named(ctx: Context) -> Outcome | None:
    """After the vehicle was changed the new one is named, by the officer or by whoever reported the change."""
    named = "vehicle" in ctx.payload or ctx.record.incidents[-1].vehicle is not None
    return Outcome.NEW_VEHICLE_REQUIRED if ctx.record.vehicle_changed and not named else None


@refuses(Outcome.NEW_SEALS_REQUIRED)
def new_seals_are_put_on(ctx: Context) -> Outcome | None:
    """After a seal broke, and on a new vehicle, new seals are put on."""
    needed = vehicle_changes(ctx) or any(seal.state == BROKEN for seal in ctx.record.seals)
    return Outcome.NEW_SEALS_REQUIRED if needed and not ctx.payload.get("seals") else None


@refuses(Outcome.TRUCK_UNKNOWN)
def new_truck_is_known(ctx: Context) -> Outcome | None:
    """The new vehicle's computer, where one is named, is enrolled as a truck."""
    return _truck_refusal(ctx, ctx.payload["truck"]) if "truck" in ctx.payload else None


@refuses(Outcome.MASS_CANNOT_CHANGE)
def new_mass_has_a_cause(ctx: Context) -> Outcome | None:
    """Another vehicle is weighed anew; the same one weighs what it weighed."""
    cause = vehicle_changes(ctx) or "mass_g" not in ctx.payload
    return None if cause else Outcome.MASS_CANNOT_CHANGE


@refuses(Outcome.CONTAINERS_CANNOT_CHANGE)
def new_containers_have_a_cause(ctx: Context) -> Outcome | None:
    """Only a transfer of the goods puts them into other containers."""
    moved = INCIDENTS[ctx.record.incidents[-1].code].moves_goods
    return None if moved or "containers" not in ctx.payload else Outcome.CONTAINERS_CANNOT_CHANGE


@refuses(Outcome.CONTAINER_IN_OTHER_MOVEMENT)
def new_containers_are_free(ctx: Context) -> Outcome | None:
    """The containers that the goods are in now are on no other movement."""
    for container in ctx.payload.get("containers", ()):
        row = ctx.working.row(container_key(container))
        if row is not None and row[0] != ctx.record.plan.mrn:
            return Outcome.CONTAINER_IN_OTHER_MOVEMENT
    return None


@refuses(Outcome.LEG_LIMIT_MISSING, Outcome.LEG_LIMIT_TOO_LONG)
def new_limit_is_given(ctx: Context) -> Outcome | None:
    """Going on has a new time limit, no longer than the authorities allow."""
    missing = ctx.payload["decision"] == "continue" and "limit_s" not in ctx.payload
    if missing:
        return Outcome.LEG_LIMIT_MISSING
    too_long = ctx.payload.get("limit_s", 0) > ctx.parameters.leg_limit_s
    return Outcome.LEG_LIMIT_TOO_LONG if too_long else None

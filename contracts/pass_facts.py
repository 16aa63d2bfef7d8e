"""What a state says of a movement, as a crossing pass has it: read by validators, each from its own final state.

Promises: a function of the state, the checkpoint and the time alone, so that two validators with the same state say the
same to the byte. Does not judge: `contracts.crossing_pass.objections` says whether the movement may pass.
"""

from __future__ import annotations

from collections.abc import Callable

from contracts.crossing_pass import MAX_TRUCK_KEYS, PassedDeclaration, PassFacts
from contracts.declaration_record import declaration_key, decode_declaration
from contracts.movement import Movement, decode_movement, movement_key
from contracts.parameters import parameter_value
from contracts.registry import decode_participant, participant_key


def pass_facts(
    get: Callable[[str], bytes | None], mrn: str, *, origin: str, size: int, root: bytes, as_of_s: int
) -> PassFacts | None:
    """What a state says of a movement, as a pass has it; None if there is no such movement.

    `get` reads the state as of the checkpoint of this size and root.
    """
    raw = get(movement_key(mrn))
    if raw is None:
        return None
    movement = decode_movement(raw)
    plan = movement.plan
    return PassFacts(
        origin=origin,
        size=size,
        root=root,
        as_of_s=as_of_s,
        until_s=as_of_s + 60 * int(parameter_value(get, "pass_minutes")),
        mrn=mrn,
        state=movement.state,
        custody=movement.custody.authority,
        exit_post=plan.exit_post,
        entry_post=plan.entry_post,
        truck=movement.truck,
        truck_keys=_truck_keys(get, movement, as_of_s * 1000),
        vehicle=movement.vehicle,
        containers=plan.containers,
        seals=movement.seals_in_force(),
        declarations=tuple(_passed(get, ucr, version) for ucr, version in plan.declarations),
    )


def _truck_keys(get: Callable[[str], bytes | None], movement: Movement, time_ms: int) -> tuple[bytes, ...]:
    raw = get(participant_key(movement.truck))
    if raw is None:
        return ()
    usable = [key.kid for key in decode_participant(raw).keys if key.usable(time_ms)]
    return tuple(usable[-MAX_TRUCK_KEYS:])


def _passed(get: Callable[[str], bytes | None], ucr: str, planned: int) -> PassedDeclaration:
    raw = get(declaration_key(ucr))
    if raw is None:
        return PassedDeclaration(ucr, planned, planned, "unknown", "unknown", 0)
    record = decode_declaration(raw)
    recognition = record.recognition
    return PassedDeclaration(ucr, planned, record.version, record.status, recognition.state, recognition.version)

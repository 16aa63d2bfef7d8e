"""The record of an escorted movement: `escort/<mrn>`, an array `[tag, plan, progress]`.

The plan is fixed once and its encoding is kept beside it: a position changes a few numbers of the progress and must not
cost an encoding of the route.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from contracts.working import Working, record_fields
from ledger.cbor import encode, head

TAG = "movement.v1"
_START = head(4, 3) + encode(TAG)

# States of a seal. A broken one is replaced when the movement goes on with new seals.
INTACT = "intact"
BROKEN = "broken"
REPLACED = "replaced"
REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Plan:
    mrn: str
    departure: str
    destination: str
    carrier: str  # liable up to the handover
    receiver: str  # liable after it
    declarations: tuple[tuple[str, int], ...]  # UCR and version
    containers: tuple[str, ...]
    exit_post: str
    entry_post: str
    route: tuple[str, ...]
    corridor_m: int
    limit_to_border_s: int
    limit_to_destination_s: int
    planned_ms: int
    planned_statement: bytes
    encoded: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        fields = (
            self.mrn,
            self.departure,
            self.destination,
            self.carrier,
            self.receiver,
            self.declarations,
            self.containers,
            self.exit_post,
            self.entry_post,
            self.route,
            self.corridor_m,
            self.limit_to_border_s,
            self.limit_to_destination_s,
            self.planned_ms,
            self.planned_statement,
        )
        object.__setattr__(self, "encoded", encode(fields))


@dataclass(frozen=True, slots=True)
class Seal:
    """`state` intact: in force. A seal once put on stays in the record for ever."""

    id: str
    seal_class: str
    container: str | None
    device: str | None
    state: str
    by: str

    def fields(self) -> tuple[Any, ...]:
        return (self.id, self.seal_class, self.container, self.device, self.state, self.by)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a terminal read at the border."""

    seals: tuple[tuple[str, str], ...]
    mass_g: int
    by: str
    time_ms: int
    statement: bytes

    def fields(self) -> tuple[Any, ...]:
        return (self.seals, self.mass_g, self.by, self.time_ms, self.statement)


@dataclass(frozen=True, slots=True)
class Custody:
    """Which authority has custody, which party is liable, since when and since which statement."""

    authority: str
    liable: str
    since_ms: int
    since_statement: bytes

    def fields(self) -> tuple[Any, ...]:
        return (self.authority, self.liable, self.since_ms, self.since_statement)


@dataclass(frozen=True, slots=True)
class IncidentReport:
    code: str
    consequence: str
    seal: str | None
    by: str
    time_ms: int
    statement: bytes

    def fields(self) -> tuple[Any, ...]:
        return (self.code, self.consequence, self.seal, self.by, self.time_ms, self.statement)


@dataclass(frozen=True, slots=True)
class Movement:
    plan: Plan
    state: str
    since_ms: int  # of the state
    since_statement: bytes | None  # None if a deadline brought it there
    by: str  # who did; `deadline` if nobody
    custody: Custody
    truck: str
    vehicle: str
    came_from: str = ""  # the state to go back to, while held or overdue
    deadline_s: int | None = None  # Unix seconds of the deadline that runs
    remaining_s: int | None = None  # of the one that stands still, while held
    loaded_mass_g: int | None = None
    seals: tuple[Seal, ...] = ()
    truck_at_border_ms: int | None = None
    gate_at_border_ms: int | None = None
    offer: Reading | None = None
    acceptance: Reading | None = None
    differences: tuple[str, ...] = ()
    departure_decision: str = ""  # on a dispute
    destination_decision: str = ""
    vehicle_changed: bool = False  # and not yet resealed
    incidents: tuple[IncidentReport, ...] = ()  # the latest
    incident_count: int = 0
    position: tuple[int, int, int, int] | None = None  # device time ms, latitude and longitude udeg, speed mm/s
    position_count: int = 0
    batch_count: int = 0
    findings: tuple[str, ...] = ()
    reason: str = ""  # of the last refusal, abort, lapse or decision
    guarantee_free_ms: int | None = None
    flagged: int = 0

    def seals_in_force(self) -> tuple[str, ...]:
        return tuple(seal.id for seal in self.seals if seal.state == INTACT)

    def encode(self) -> bytes:
        progress = (
            self.state,
            self.since_ms,
            self.since_statement,
            self.by,
            self.custody.fields(),
            self.truck,
            self.vehicle,
            self.came_from,
            self.deadline_s,
            self.remaining_s,
            self.loaded_mass_g,
            tuple([seal.fields() for seal in self.seals]),
            self.truck_at_border_ms,
            self.gate_at_border_ms,
            None if self.offer is None else self.offer.fields(),
            None if self.acceptance is None else self.acceptance.fields(),
            self.differences,
            self.departure_decision,
            self.destination_decision,
            self.vehicle_changed,
            tuple([incident.fields() for incident in self.incidents]),
            self.incident_count,
            self.position,
            self.position_count,
            self.batch_count,
            self.findings,
            self.reason,
            self.guarantee_free_ms,
            self.flagged,
        )
        return b"".join((_START, self.plan.encoded, encode(progress)))


def _reading(fields: Any) -> Reading | None:
    if fields is None:
        return None
    seals, *rest = fields
    return Reading(tuple((seal, state) for seal, state in seals), *rest)


def decode_movement(raw: bytes) -> Movement:
    plan, progress = cast(Any, record_fields(TAG, raw, 2))
    plan[5] = tuple((ucr, version) for ucr, version in plan[5])
    plan[6] = tuple(plan[6])
    plan[9] = tuple(plan[9])
    progress[4] = Custody(*progress[4])
    progress[11] = tuple(Seal(*seal) for seal in progress[11])
    progress[14] = _reading(progress[14])
    progress[15] = _reading(progress[15])
    progress[16] = tuple(progress[16])
    progress[20] = tuple(IncidentReport(*incident) for incident in progress[20])
    progress[22] = None if progress[22] is None else tuple(progress[22])
    progress[25] = tuple(progress[25])
    return Movement(Plan(*plan), *progress)


def movement_key(mrn: str) -> str:
    return f"escort/{mrn}"


def container_key(container: str) -> str:
    """Index: the movement that a container is on now."""
    return f"container/{container}"


def seal_key(seal: str) -> str:
    """Index: the movement that a seal of this number was last put on."""
    return f"seal/{seal}"


def load_movement(working: Working, mrn: str) -> Movement | None:
    return working.record(movement_key(mrn), Movement, decode_movement)

"""The record of an escorted movement: `escort/<mrn>`.

An array `[tag, plan, custody, seals, offer, acceptance, incidents, progress, tracking]`. All but the tracking are parts
that change seldom and whose encodings are remembered: a position, the most frequent statement, encodes a few numbers
and not the route and the seals again.

What version 2 of the contract keeps beside stands at the end of the tracking, and only where there is any of it: a
record to which nothing of the kind happened is spelled as version 1 spells it, and there is one spelling of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast

from contracts.amending import amender
from contracts.working import Working, record_fields
from ledger.cbor import encode, head

TAG = "movement.v1"
MAX_REMEMBERED_ROWS = 4096
_START = head(4, 9) + encode(TAG)
_NOTHING = encode(None)

PLANNED = "planned"
LOADED = "loaded"
SEALED = "sealed"
STARTED = "started"
REFUSED = "refused"
AT_BORDER = "at_border"
OFFERED = "offered"
HANDED_OVER = "handed_over"
DISPUTED = "disputed"
RETURNED = "returned"
ARRIVED = "arrived"
UNLOADED = "unloaded"
DISCREPANCY = "discrepancy"
RECOVERY = "recovery"
DISCHARGED = "discharged"
HELD = "held"
OVERDUE = "overdue"
ABORTED = "aborted"

# States of a seal. A broken one is replaced when the movement goes on with new seals; at unloading each seal in force
# becomes what it is found to be: removed by customs, broken, or missing.
INTACT = "intact"
BROKEN = "broken"
REPLACED = "replaced"
REMOVED = "removed"
MISSING = "missing"


def _keep_encoded(part: Plan | Custody | Seal | Reading | IncidentReport) -> None:
    object.__setattr__(part, "encoded", encode(part.fields()))


@dataclass(frozen=True, slots=True)
class Plan:
    mrn: str
    departure: str
    destination: str
    carrier: str  # liable up to the handover
    receiver: str  # liable after it
    declarations: tuple[tuple[str, int], ...]  # UCR and version
    containers: tuple[str, ...]  # those it is on now: a transfer of the goods on the way may change them
    exit_post: str
    entry_post: str
    route: tuple[str, ...]
    corridor_m: int
    limit_to_border_s: int
    limit_to_destination_s: int
    planned_ms: int
    planned_statement: bytes
    encoded: bytes = field(init=False, compare=False, repr=False)

    def fields(self) -> tuple[Any, ...]:
        return (
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

    def __post_init__(self) -> None:
        _keep_encoded(self)


@dataclass(frozen=True, slots=True)
class Seal:
    """`state` intact: in force. A seal once put on stays in the record for ever."""

    id: str
    seal_class: str
    container: str | None
    device: str | None
    state: str
    by: str
    encoded: bytes = field(init=False, compare=False, repr=False)

    def fields(self) -> tuple[Any, ...]:
        return (self.id, self.seal_class, self.container, self.device, self.state, self.by)

    def __post_init__(self) -> None:
        _keep_encoded(self)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a terminal read at the border."""

    seals: tuple[tuple[str, str], ...]
    mass_g: int
    by: str
    time_ms: int
    statement: bytes
    encoded: bytes = field(init=False, compare=False, repr=False)

    def fields(self) -> tuple[Any, ...]:
        return (self.seals, self.mass_g, self.by, self.time_ms, self.statement)

    def __post_init__(self) -> None:
        _keep_encoded(self)


@dataclass(frozen=True, slots=True)
class Custody:
    """Which authority has custody, which party is liable, since when and since which statement."""

    authority: str
    liable: str
    since_ms: int
    since_statement: bytes
    encoded: bytes = field(init=False, compare=False, repr=False)

    def fields(self) -> tuple[Any, ...]:
        return (self.authority, self.liable, self.since_ms, self.since_statement)

    def __post_init__(self) -> None:
        _keep_encoded(self)


@dataclass(frozen=True, slots=True)
class IncidentReport:
    code: str
    consequence: str
    seal: str | None
    by: str
    time_ms: int
    statement: bytes
    vehicle: str | None = None  # that the goods are on since
    encoded: bytes = field(init=False, compare=False, repr=False)

    def fields(self) -> tuple[Any, ...]:
        return (self.code, self.consequence, self.seal, self.by, self.time_ms, self.statement, self.vehicle)

    def __post_init__(self) -> None:
        _keep_encoded(self)


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
    came_from: str = ""  # the state to go back to, while held or overdue; the one before, in recovery
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
    # Since version 2.
    late_reports: int = 0  # taken of a part of the journey that was over
    journey_ended_ms: int | None = None  # by arrival, return, abort or recovery
    vehicle_since_ms: int | None = None  # that it is on another vehicle than it was planned with
    former_trucks: tuple[tuple[str, int], ...] = ()  # and until when the goods were on each

    def seals_in_force(self) -> tuple[str, ...]:
        return tuple(seal.id for seal in self.seals if seal.state == INTACT)

    def found_open(self) -> tuple[str, ...]:
        """The seals in force that the receiving terminal did not find intact."""
        read = () if self.acceptance is None else self.acceptance.seals
        return tuple(seal for seal in self.seals_in_force() if any(i == seal and s != INTACT for i, s in read))

    def custody_passages(self) -> tuple[Custody, ...]:
        """Who had custody and who was liable, from the plan on, each until the next: custody passes once at most."""
        plan = self.plan
        first = Custody(plan.departure, plan.carrier, plan.planned_ms, plan.planned_statement)
        return (first,) if self.custody == first else (first, self.custody)

    def amended(self, **changes: Any) -> Movement:
        return _amend(self, changes)

    def encode(self) -> bytes:
        parts = [_START, self.plan.encoded, self.custody.encoded, head(4, len(self.seals))]
        parts += [seal.encoded for seal in self.seals]
        parts += [
            _NOTHING if self.offer is None else self.offer.encoded,
            _NOTHING if self.acceptance is None else self.acceptance.encoded,
            head(4, len(self.incidents)),
        ]
        parts += [incident.encoded for incident in self.incidents]
        parts.append(_encode_progress(_progress(self)))
        later = _later(self)
        parts.append(encode(_tracking(self) if later == _NOTHING_LATER else _tracking(self) + later))
        return b"".join(parts)


_PARTS = ("plan", "custody", "seals", "offer", "acceptance", "incidents")
_NAMES = tuple(each.name for each in fields(Movement))
_TRACKING_NAMES = ("position", "position_count", "batch_count", "flagged")
_LATER_NAMES = ("late_reports", "journey_ended_ms", "vehicle_since_ms", "former_trucks")
_NOTHING_LATER = (0, None, None, ())
_PROGRESS_NAMES = tuple(name for name in _NAMES if name not in _PARTS + _TRACKING_NAMES + _LATER_NAMES)
_amend = amender(Movement)
_progress = attrgetter(*_PROGRESS_NAMES)
_tracking = attrgetter(*_TRACKING_NAMES)
_later = attrgetter(*_LATER_NAMES)
# Equal rows have equal encodings only because no field is now a boolean and now an integer.
_encode_progress = lru_cache(MAX_REMEMBERED_ROWS)(encode)


def progress_names() -> tuple[str, ...]:
    """The names of the progress part of a record, in their order: for who reads records elsewhere."""
    return _PROGRESS_NAMES


def _reading(raw_fields: Any) -> Reading | None:
    if raw_fields is None:
        return None
    seals, *rest = raw_fields
    return Reading(tuple((seal, state) for seal, state in seals), *rest)


def decode_movement(raw: bytes) -> Movement:
    plan, custody, seals, offer, acceptance, incidents, progress, tracking = cast(Any, record_fields(TAG, raw, 8))
    plan[5] = tuple((ucr, version) for ucr, version in plan[5])
    plan[6] = tuple(plan[6])
    plan[9] = tuple(plan[9])
    later = tracking[len(_TRACKING_NAMES) :] or list(_NOTHING_LATER)
    values = dict(
        zip(
            _PROGRESS_NAMES + _TRACKING_NAMES + _LATER_NAMES,
            progress + tracking[: len(_TRACKING_NAMES)] + later,
            strict=True,
        )
    )
    values["former_trucks"] = tuple((truck, until_ms) for truck, until_ms in values["former_trucks"])
    for name in ("differences", "findings"):
        values[name] = tuple(values[name])
    if values["position"] is not None:
        values["position"] = tuple(values["position"])
    return Movement(
        plan=Plan(*plan),
        custody=Custody(*custody),
        seals=tuple(Seal(*seal) for seal in seals),
        offer=_reading(offer),
        acceptance=_reading(acceptance),
        incidents=tuple(IncidentReport(*incident) for incident in incidents),
        **values,
    )


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


# Where a movement is, and whose terminals have something to do with it there: a weighing, a reading, a gate to open. At
# the border both sides', since the one is offered what the other reads.
_TERMINALS_AT_WORK = {
    PLANNED: ("departure",),
    LOADED: ("departure",),
    STARTED: ("departure",),
    AT_BORDER: ("departure", "destination"),
    OFFERED: ("departure", "destination"),
    HANDED_OVER: ("destination",),
}


def terminals_at_work(movement: Movement) -> frozenset[str]:
    """The authorities whose terminals the movement's next step waits for, or may."""
    return frozenset(getattr(movement.plan, side) for side in _TERMINALS_AT_WORK.get(movement.state, ()))


def movement_parties(movement: Movement) -> frozenset[str]:
    """Who has a part in a movement by its own record."""
    plan = movement.plan
    readings = [reading.by for reading in (movement.offer, movement.acceptance) if reading is not None]
    seals = [who for seal in movement.seals for who in (seal.by, seal.device) if who]
    incidents = [incident.by for incident in movement.incidents]
    trucks = [movement.truck, *(truck for truck, _ in movement.former_trucks)]
    return frozenset((plan.carrier, plan.receiver, movement.by, *trucks, *readings, *seals, *incidents))

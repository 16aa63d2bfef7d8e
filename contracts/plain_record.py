"""Contracts of plain records: what most contracts need, so that one is a table and a few guards.

For a contract with one machine, whose statements are not the thousands a second of a truck. Its record is a frozen
dataclass; the fields, in the order of the class, are one deterministic CBOR array after the record's tag. Values are
integers, texts, booleans, bytes, None, and tuples of these; no map and no float has a place in what is hashed. The
order and number of the fields are the format: a field more is another tag, and so another version of the contract.

`step` and `end` are rows whose effect is the usual one: the record goes to the state, with what the payload says of its
fields. An end lifts the record's deadline. `plain_contract` puts the declaration together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

from contracts.deadlines import lift_deadline, set_deadline
from contracts.machine import (
    DEADLINE,
    OFFICER,
    SYSTEM,
    Context,
    Contract,
    DeadlineRule,
    Deadlines,
    Effect,
    Guard,
    Lapse,
    Machine,
    RecordType,
    Subject,
    Transition,
    Transitions,
    Who,
)
from contracts.outcome import Outcome
from contracts.schema import Schema
from contracts.well_formed import NotWellFormed
from contracts.working import Working, encode_record, record_fields


@dataclass(frozen=True, kw_only=True)
class PlainRecord:
    """What every plain record has: its state, since when, by whom, by which statement and why, and when it is due."""

    TAG: ClassVar[str]
    CONTRACT: ClassVar[str]

    subject: str
    state: str
    since_ms: int
    by: str
    statement: bytes | None  # None if a deadline brought it there
    reason: str = ""
    due_s: int | None = None  # the second at which it lapses, while it can
    flagged: int = 0  # statements that came later than the soft limit; the kernel counts

    @classmethod
    def key(cls, subject: str) -> str:
        return f"{cls.CONTRACT}/{subject}"

    @classmethod
    def decode(cls, raw: bytes) -> Any:
        names = [each.name for each in fields(cls)]
        values = record_fields(cls.TAG, raw, len(names))
        return cls(**dict(zip(names, map(_as_tuples, values), strict=True)))

    def encode(self) -> bytes:
        return encode_record(self.TAG, tuple(getattr(self, each.name) for each in fields(self)))

    def view(self) -> dict[str, Any]:
        """The fields by their names, as JSON can hold them: bytes in hex."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


P = TypeVar("P", bound=PlainRecord)


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(entry) for entry in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


def load_plain(record: type[P], working: Working, subject: str) -> P | None:
    return working.record(record.key(subject), record, record.decode)


def customs_of(field: str, meaning: str) -> tuple[Who, ...]:
    """Officers and systems of the authority that a field of the record names; who makes a record is on its side."""

    def side(ctx: Context) -> bool:
        return ctx.record is None or getattr(ctx.record, field) == ctx.issuer.authority

    side.__name__, side.__doc__ = field, meaning
    return (Who(OFFICER, side), Who(SYSTEM, side))


# What no payload says of a record, whatever its schema calls its fields: who, when, in which state, due or late.
_NOT_SAID = frozenset(each.name for each in fields(PlainRecord)) - {"reason"}


def _said(record: type[PlainRecord], ctx: Context) -> dict[str, Any]:
    """What the payload says of fields that the record has under the same name, texts, integers and bytes only."""
    names = {each.name for each in fields(record)} - _NOT_SAID
    return {
        name: value
        for name, value in ctx.payload.items()
        if name in names and not isinstance(value, list | dict | tuple)
    }


def begun(record: type[P], ctx: Context, state: str, **values: Any) -> P:
    """A new record in its first state; `due_s` among its values sets its deadline."""
    common = {"subject": ctx.statement.sub, "state": state, "since_ms": ctx.time_ms, "by": ctx.issuer.id}
    made = record(**{**common, "statement": ctx.statement.id, **_said(record, ctx), **values})
    if made.due_s is not None:
        set_deadline(ctx.working, made.due_s, record.key(made.subject))
    return made


# Whether the effect of a row lifts the record's deadline, of those that `step` and `end` made.
_OVER: dict[Effect, bool] = {}


def _goes_to(state: str, *, over: bool) -> Effect:
    def effect(ctx: Context) -> PlainRecord:
        record: PlainRecord = ctx.record
        changes = _said(type(record), ctx)
        if over and record.due_s is not None:
            lift_deadline(ctx.working, record.due_s, record.key(record.subject))
            changes["due_s"] = None
        since = {"since_ms": ctx.time_ms, "by": ctx.issuer.id, "statement": ctx.statement.id}
        return replace(record, **{"reason": "", **changes, **since, "state": state})

    _OVER[effect] = over
    return effect


def step(who: tuple[Who, ...], state: str, *guards: Guard) -> Transition:
    """A row that leads on."""
    return Transition(who, _goes_to(state, over=False), (state,), guards)


def end(who: tuple[Who, ...], state: str, *guards: Guard) -> Transition:
    """A row that leads to an end: what would have fallen due no longer does."""
    return Transition(who, _goes_to(state, over=True), (state,), guards)


def _lapse(lapse: Lapse) -> PlainRecord:
    record: PlainRecord = lapse.record
    since: dict[str, Any] = {"since_ms": lapse.time_ms, "by": DEADLINE, "statement": None, "due_s": None}
    return replace(record, state=lapse.rule.to, reason=lapse.rule.reason, **since)


def plain_contract(
    record: type[P],
    version: int,
    title: str,
    subject: Subject,
    *,
    visible_to: Callable[[P], frozenset[str]],
    transitions: Transitions,
    states: Mapping[str, str],
    schemas: Mapping[str, Schema],
    outcomes: range,
    lapse: tuple[str, str] | None = None,
) -> Contract:
    """The declaration of a contract whose records are of a plain class, moved by one machine.

    `outcomes` is its block of numbers, of which the first three mean unknown, there already, and not allowed in this
    state, as in every contract. `lapse`: the state that what is due goes to, and why; a record can be due in every
    state but an end. The ends are the states that no row leaves.
    """
    ends = tuple(state for state in states if not any(origin == state for origin, _ in transitions))
    for (origin, event), row in transitions.items():
        over = _OVER.get(row.effect)
        if over is not None and over != set(row.to).issubset(ends):  # else something falls due that nothing awaits
            expected, got = ("step", "end") if over else ("end", "step")
            raise NotWellFormed(f"row ({origin}, {event}) to {', '.join(row.to)}: expected {expected}, got {got}")
    unknown, exists, not_allowed = (Outcome(number) for number in outcomes[:3])
    deadlines = None
    if lapse is not None:
        rule = DeadlineRule(*lapse, _lapse)
        standing = {state: rule for state in states if state not in ends}
        deadlines = Deadlines(record.CONTRACT, lambda found: found.due_s, standing)
    return Contract(
        name=record.CONTRACT,
        version=version,
        title=title,
        subject=subject,
        record=RecordType(
            record,
            record.key,
            record.decode,
            lambda working, sub: load_plain(record, working, sub),
            lambda found: found.view(),
            visible_to,
        ),
        machines=(
            Machine(record.CONTRACT, transitions, lambda found, payload: found.state, not_allowed, states, ends),
        ),
        schemas=schemas,
        unknown=unknown,
        exists=exists,
        outcomes=outcomes,
        deadlines=deadlines,
    )

"""What a contract is made of: its records, its tables of transitions, and the terms that their rows use.

A contract is a declaration. `Contract` names the records it keeps, the subject that finds one, the machines that move
them, the payload of every event, and what falls due by itself; the kernel (`contracts.execute`), the check that signers
share (`contracts.payloads`), the reference, the schemas, the diagrams and the look-up over HTTP are all made from it,
and from nothing else. `contracts.catalogue` is the one list of contracts.

A machine is a dict from (state, event) to a `Transition`; a missing key is the refusal. A row says who may send the
event (pairs of a role and the side the sender stands on), which guards must hold, in which order they are asked, what
the effect is, and in which states it can end. Guards look and answer with an outcome or None, and say beforehand which
outcomes those are (`refuses`); effects cannot refuse.

What people read is said where the thing is: the first sentence of a guard's and of a side's docstring, `Schema.meaning`
of an event, `Machine.states` of a state. `contracts.well_formed` refuses a contract that leaves any of it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from contracts.outcome import Outcome
from contracts.parameters import Parameters
from contracts.working import Record, Working

if TYPE_CHECKING:
    from contracts.registry import Participant
    from contracts.schema import Schema
    from ledger.statement import Statement

# The state of what is not there yet.
ABSENT = "-"
# In the place of whoever brought a record to its state, where nobody did.
DEADLINE = "deadline"

REGISTRAR = "customs.registrar"
OFFICER = "customs.officer"
SYSTEM = "customs.system"
DECLARANT = "declarant"
CARRIER = "carrier"
TERMINAL = "terminal"
TRUCK = "truck"
ESEAL = "eseal"
AUDITOR = "auditor"
ROLES = (REGISTRAR, OFFICER, SYSTEM, DECLARANT, CARRIER, TERMINAL, TRUCK, ESEAL, AUDITOR)


class ContractBug(Exception):
    """A contract did what its own table does not say. The validator must stop before it cosigns."""


@dataclass(slots=True)
class Context:
    """One statement on its way through a contract. `record` is the subject's, None where there is none."""

    working: Working
    parameters: Parameters
    time_ms: int
    height: int  # of the block that the statement is in
    statement: Statement
    payload: Mapping[str, Any]  # checked against the schema of its kind
    issuer: Participant
    record: Any = None


Guard = Callable[[Context], Outcome | None]
Effect = Callable[[Context], Any]
Side = Callable[[Context], bool]

_REFUSALS: dict[Guard, tuple[Outcome, ...]] = {}


def refuses(*outcomes: Outcome) -> Callable[[Guard], Guard]:
    """Say of a guard which outcomes it can answer with, in the order in which it looks for them."""

    def declare(guard: Guard) -> Guard:
        _REFUSALS[guard] = outcomes
        return guard

    return declare


def refusals(guard: Guard) -> tuple[Outcome, ...]:
    """What a guard said that it can answer with; nothing if it never said."""
    return _REFUSALS.get(guard, ())


@dataclass(frozen=True, slots=True)
class Who:
    """A role, and the side on which its holder must stand; the side's name is that of its function."""

    role: str
    side: Side


@dataclass(frozen=True, slots=True)
class Transition:
    who: tuple[Who, ...]
    effect: Effect
    to: tuple[str, ...]
    guards: tuple[Guard, ...] = ()


Transitions = dict[tuple[str, str], Transition]


@dataclass(frozen=True, slots=True)
class Machine:
    """A table, how to find the state of a record in it (or why there is none), and the outcome of a missing key.

    `states` says of each state what it means. `begins` are those in which the machine stands without a row having
    brought it there, if it does not begin with `ABSENT`; `ends` those that nothing leaves. `by_itself` says of pairs of
    states why a record goes from the one to the other without an event of this machine: at a height, or through another
    machine or record.
    """

    name: str
    transitions: Transitions
    state_of: Callable[[Any, Mapping[str, Any]], str | Outcome]
    not_allowed: Outcome
    states: Mapping[str, str]
    ends: tuple[str, ...] = ()
    begins: tuple[str, ...] = (ABSENT,)
    by_itself: Mapping[tuple[str, str], str] = field(default_factory=dict)
    no_state: tuple[Outcome, ...] = ()  # what `state_of` can answer in the place of a state


@dataclass(slots=True)
class Lapse:
    """A deadline that has passed, on its way through a contract."""

    working: Working
    parameters: Parameters
    time_ms: int
    height: int
    due_s: int
    rule: DeadlineRule
    record: Any


@dataclass(frozen=True, slots=True)
class DeadlineRule:
    """What the passing of its deadline does to a record in a state. The kernel lifts the deadline before `effect`."""

    to: str
    reason: str
    effect: Callable[[Lapse], Any]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """By state of a machine, what falls due in it; `due_s` is the second at which a record does, if it does.

    Effects set and lift deadlines under the record's own key (`contracts.deadlines`); the kernel fires them as soon as
    the time of a block has reached them, before any of its statements.
    """

    machine: str
    due_s: Callable[[Any], int | None]
    rules: Mapping[str, DeadlineRule]


@dataclass(frozen=True, slots=True)
class Subject:
    """What statements of a contract are about: how it is spelled (IdentifierError if not so), and what it is called."""

    parse: Callable[[str], object]
    noun: str


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class RecordType(Generic[R]):
    """The records of a contract, under `<name>/<subject>`.

    `view` shows one as plain data for people and programs outside. `visible_to` names the participants whose own it is:
    customs and auditors see every record, nobody else one that does not name them.
    """

    type: type[R]
    key: Callable[[str], str]
    decode: Callable[[bytes], R]
    load: Callable[[Working, str], R | None]
    view: Callable[[R], dict[str, Any]]
    visible_to: Callable[[R], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract of one version. See the module; `outcomes` is the block of numbers that are its own to give."""

    name: str
    version: int
    title: str
    subject: Subject
    record: RecordType[Any]
    machines: tuple[Machine, ...]
    schemas: Mapping[str, Schema]
    unknown: Outcome
    exists: Outcome
    outcomes: range
    deadlines: Deadlines | None = None
    sources: tuple[str, ...] = ()  # the conventions and standards whose procedure this is

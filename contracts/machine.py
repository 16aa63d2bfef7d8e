"""What a contract is made of: tables of transitions, and the terms that their rows use.

A machine is a dict from (state, event) to a `Transition`; a missing key is the refusal. A row says who may send the
event (pairs of a role and the side the sender stands on), which guards must hold, in which order they are asked, what
the effect is, and in which states it can end. Guards look and answer with an outcome or None; effects cannot refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contracts.outcome import Outcome
from contracts.parameters import Parameters
from contracts.working import Working

if TYPE_CHECKING:
    from contracts.registry import Participant
    from ledger.statement import Statement

# The state of what is not there yet.
ABSENT = "-"

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
    """A table, how to find the state of a record in it (or why there is none), and the outcome of a missing key."""

    name: str
    transitions: Transitions
    state_of: Callable[[Any, Mapping[str, Any]], str | Outcome]
    not_allowed: Outcome


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract of one version: the records it keeps under `<name>/<subject>` and the machines that move them."""

    name: str
    version: int
    parse_subject: Callable[[str], object]
    load: Callable[[Working, str], Any]
    machines: tuple[Machine, ...]
    unknown: Outcome
    exists: Outcome
    key: Callable[[str], str]

"""Is a contract whole? Asked of every contract of the catalogue before anything is executed under it.

A table can be wrong in ways that no statement of a test meets: a state that nothing leads to, an event without a
payload, a guard that answers with another contract's number. `check_contract` raises `NotWellFormed` and names the
contract and the row. It looks at the declaration only; what guards and effects do, tests tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

from contracts.machine import ABSENT, ROLES, Contract, Machine, Transition, refusals
from contracts.outcome import Outcome

Row = tuple[tuple[str, str], Transition]

# First parts of the keys of the state that are no contract's records: indexes, and what the kernel and governance keep.
# A contract of one of these names would read its records where another keeps rows, and stop every validator.
TAKEN = frozenset(
    (
        "authority",
        "container",
        "contract",
        "due",
        "envelope_keys",
        "governed",
        "key",
        "legal_basis",
        "number",
        "parameter",
        "seal",
    )
)


class NotWellFormed(Exception):
    """A contract that its own declaration contradicts: which contract, which row, what is expected."""


def check_contract(contract: Contract) -> None:
    """Raise NotWellFormed unless the declaration is whole."""
    for complaint in complaints(contract):
        raise NotWellFormed(f"contract {contract.name} version {contract.version}: {complaint}")


def complaints(contract: Contract) -> Iterator[str]:
    """Everything that is wrong with a contract, one sentence each."""
    if "/" in contract.name or "." in contract.name or not contract.name:
        yield f"name: expected a word without / and ., got {contract.name!r}"
    if contract.name in TAKEN:
        yield f"name: expected one that no other records of the state have, got {contract.name}"
    if contract.record.key("x") != f"{contract.name}/x":
        yield f"records: expected keys {contract.name}/<subject>, got {contract.record.key('<subject>')}"
    if "flagged" not in {each.name for each in fields(contract.record.type)}:
        yield "records: expected a field flagged, where the kernel counts late statements, got none"
    if not contract.title:
        yield "title: expected one line, got none"
    yield from _events(contract)
    yield from _deadlines(contract)
    for machine in contract.machines:
        for complaint in _machine(contract, machine):
            yield f"machine {machine.name}: {complaint}"
    for outcome in (contract.unknown, contract.exists, *(machine.not_allowed for machine in contract.machines)):
        yield from _number(contract, "contract", outcome)


def _events(contract: Contract) -> Iterator[str]:
    owner: dict[str, str] = {}
    for machine in contract.machines:
        for event in dict.fromkeys(event for _, event in machine.transitions):
            if event in owner:
                yield f"event {event}: expected in one machine, got {owner[event]} and {machine.name}"
            owner[event] = machine.name
            schema = contract.schemas.get(event)
            if schema is None:
                yield f"event {event}: expected a payload schema, got none"
            elif not schema.meaning:
                yield f"event {event}: expected what it means in its schema, got nothing"
    for event in contract.schemas:
        if event not in owner:
            yield f"schema {event}: expected an event of this name in a machine, got none"


def _machine(contract: Contract, machine: Machine) -> Iterator[str]:
    senders: dict[str, object] = {}
    creating = {event for state, event in machine.transitions if state == ABSENT}
    for key, row in machine.transitions.items():
        state, event = key
        for complaint in _row(contract, row):
            yield f"row ({state}, {event}): {complaint}"
        if senders.setdefault(event, row.who) != row.who:
            yield f"row ({state}, {event}): expected the senders of the other rows of {event}, got others"
        if event in creating and state != ABSENT:
            yield f"row ({state}, {event}): {event} makes a record, and so cannot meet one"
        for end in (state, *row.to):
            if end != ABSENT and end not in machine.states:
                yield f"row ({state}, {event}): expected a state with a meaning, got {end}"
    for outcome in machine.no_state:
        yield from _number(contract, "state", outcome)
    for (state, to), why in machine.by_itself.items():
        for end in (state, to):
            if end not in machine.states:
                yield f"by itself ({state}, {to}): expected a state with a meaning, got {end}"
        if not why:
            yield f"by itself ({state}, {to}): expected why, got nothing"
    yield from _reach(contract, machine)


def _row(contract: Contract, row: Transition) -> Iterator[str]:
    if not row.to:
        yield "expected a state to end in, got none"
    if not row.who:
        yield "expected who may send it, got nobody"
    for who in row.who:
        if who.role not in ROLES:
            yield f"expected a role, got {who.role}"
        yield from _documented("side", who.side)
    for guard in row.guards:
        name = _name(guard)
        yield from _documented("guard", guard)
        if not refusals(guard):
            yield f"guard {name}: expected the outcomes it refuses with, got none"
        for outcome in refusals(guard):
            yield from _number(contract, f"guard {name}", outcome)


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", repr(function))


def _documented(what: str, function: Callable[..., object]) -> Iterator[str]:
    if not (function.__doc__ or "").strip():
        yield f"{what} {_name(function)}: expected a docstring that says what holds, got none"


def _number(contract: Contract, where: str, outcome: Outcome) -> Iterator[str]:
    if int(outcome) not in contract.outcomes:
        block = f"{contract.outcomes.start} to {contract.outcomes.stop - 1}"
        yield f"{where}: expected an outcome of the block {block}, got {int(outcome)} {outcome.fact}"


def _steps(contract: Contract, machine: Machine) -> set[tuple[str, str]]:
    """Every pair of a state and one that a row or a deadline can bring it to."""
    steps = {(state, to) for (state, _), row in machine.transitions.items() for to in row.to}
    if contract.deadlines is not None and contract.deadlines.machine == machine.name:
        steps |= {(state, rule.to) for state, rule in contract.deadlines.rules.items()}
    return steps | set(machine.by_itself)


def _reach(contract: Contract, machine: Machine) -> Iterator[str]:
    steps = _steps(contract, machine)
    reached, found = set(machine.begins), set(machine.begins)
    while found:
        found = {to for state, to in steps if state in found} - reached
        reached |= found
    for state in machine.states:
        leaves = any(origin == state and to != state for origin, to in steps)
        if state not in reached:
            yield f"state {state}: expected to be reached from {', '.join(machine.begins)}, got no way"
        if state in machine.ends and leaves:
            yield f"state {state}: expected an end, got a way out of it"
        if state not in machine.ends and not any(origin == state for origin, _ in steps):
            yield f"state {state}: expected a row that leaves it or a declared end, got neither"
    for state in machine.ends:
        if state not in machine.states:
            yield f"end {state}: expected a state of the table, got none of this name"


def _deadlines(contract: Contract) -> Iterator[str]:
    if contract.deadlines is None:
        return
    machine = next((each for each in contract.machines if each.name == contract.deadlines.machine), None)
    if machine is None:
        yield f"deadlines: expected a machine of the contract, got {contract.deadlines.machine}"
        return
    for state, rule in contract.deadlines.rules.items():
        for end in (state, rule.to):
            if end not in machine.states:
                yield f"deadline of {state}: expected a state of machine {machine.name}, got {end}"
        if not rule.reason:
            yield f"deadline of {state}: expected why, got nothing"

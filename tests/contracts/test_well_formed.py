"""A contract that contradicts itself is refused before anything is executed under it, with the row that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from contracts.catalogue import CONTRACTS, _catalogue
from contracts.machine import ABSENT, Context, Contract, DeadlineRule, Deadlines, Transition, Who
from contracts.outcome import Outcome
from contracts.schema import Schema
from contracts.well_formed import TAKEN, NotWellFormed, check_contract, complaints
from tests.contracts import stages as s
from tests.contracts.governing import Governed, parameter

ESCORT = CONTRACTS[("escort", 1)]
DECLARATION = CONTRACTS[("declaration", 1)]


def _with_rows(contract: Contract, rows: dict[tuple[str, str], Transition], index: int = 0, **changes: Any) -> Contract:
    machines = list(contract.machines)
    machines[index] = replace(machines[index], transitions={**machines[index].transitions, **rows}, **changes)
    return replace(contract, machines=tuple(machines))


def _row(contract: Contract, key: tuple[str, str]) -> Transition:
    return next(machine.transitions[key] for machine in contract.machines if key in machine.transitions)


def _undeclared(ctx: Context) -> Outcome | None:
    """Holds."""
    return None


def _unsaid(ctx: Context) -> bool:
    return True


START = _row(ESCORT, ("sealed", "start"))
MOVEMENT = ESCORT.machines[0]
LOST = {**MOVEMENT.states, "lost": "nobody knows where it is"}

BROKEN: list[tuple[str, Callable[[], Contract], str]] = [
    (
        "a state that nothing leads to",
        lambda: _with_rows(ESCORT, {("lost", "start"): START}, states=LOST),
        "state lost: expected to be reached from -, got no way",
    ),
    (
        "a row that ends in a state without a meaning",
        lambda: _with_rows(ESCORT, {("sealed", "start"): replace(START, to=("gone",))}),
        r"row \(sealed, start\): expected a state with a meaning, got gone",
    ),
    (
        "a row that ends nowhere",
        lambda: _with_rows(ESCORT, {("sealed", "start"): replace(START, to=())}),
        r"row \(sealed, start\): expected a state to end in, got none",
    ),
    (
        "a state that is no end and that nothing leaves",
        lambda: _with_rows(ESCORT, {("sealed", "start"): replace(START, to=("started", "lost"))}, states=LOST),
        "state lost: expected a row that leaves it or a declared end, got neither",
    ),
    (
        "an end that a row leaves",
        lambda: _with_rows(ESCORT, {}, ends=(*MOVEMENT.ends, "sealed")),
        "state sealed: expected an end, got a way out of it",
    ),
    (
        "an end that is no state",
        lambda: _with_rows(ESCORT, {}, ends=(*MOVEMENT.ends, "nirvana")),
        "end nirvana: expected a state of the table, got none of this name",
    ),
    (
        "an event without a payload",
        lambda: replace(ESCORT, schemas={name: s for name, s in ESCORT.schemas.items() if name != "start"}),
        "event start: expected a payload schema, got none",
    ),
    (
        "a payload without an event",
        lambda: replace(ESCORT, schemas={**ESCORT.schemas, "vanish": Schema((), meaning="It vanishes.")}),
        "schema vanish: expected an event of this name in a machine, got none",
    ),
    (
        "an event of which nothing is said",
        lambda: replace(ESCORT, schemas={**ESCORT.schemas, "start": replace(ESCORT.schemas["start"], meaning="")}),
        "event start: expected what it means in its schema, got nothing",
    ),
    (
        "an event in two machines",
        lambda: _with_rows(DECLARATION, {("none", "release"): _row(DECLARATION, ("accepted", "release"))}, 1),
        "event release: expected in one machine, got status and recognition",
    ),
    (
        "other senders in one row of an event than in the others",
        lambda: _with_rows(
            ESCORT, {("sealed", "refuse_start"): replace(_row(ESCORT, ("sealed", "refuse_start")), who=START.who[:1])}
        ),
        r"row \(sealed, refuse_start\): expected the senders of the other rows of refuse_start, got others",
    ),
    (
        "an event that makes a record and meets one",
        lambda: _with_rows(ESCORT, {("planned", "plan"): _row(ESCORT, (ABSENT, "plan"))}),
        r"row \(planned, plan\): plan makes a record, and so cannot meet one",
    ),
    (
        "a row for nobody",
        lambda: _with_rows(ESCORT, {("sealed", "start"): replace(START, who=())}),
        r"row \(sealed, start\): expected who may send it, got nobody",
    ),
    (
        "a role that there is not",
        lambda: _with_rows(ESCORT, {("sealed", "start"): replace(START, who=(Who("pirate", START.who[0].side),))}),
        r"row \(sealed, start\): expected a role, got pirate",
    ),
    (
        "a side of which nothing is said",
        lambda: _with_rows(ESCORT, {("sealed", "start"): replace(START, who=(Who("truck", _unsaid),))}),
        r"row \(sealed, start\): side _unsaid: expected a docstring",
    ),
    (
        "a guard that never said what it refuses with",
        lambda: _with_rows(ESCORT, {("sealed", "start"): replace(START, guards=(_undeclared,))}),
        r"row \(sealed, start\): guard _undeclared: expected the outcomes it refuses with, got none",
    ),
    (
        "a guard that answers with another contract's number",
        lambda: _with_rows(
            ESCORT, {("sealed", "start"): replace(START, guards=_row(DECLARATION, ("released", "clear")).guards)}
        ),
        r"guard no_movement_is_under_way: expected an outcome of the block 300 to 399, got 216 declaration_in_movement",
    ),
    (
        "an outcome of the contract itself in another's block",
        lambda: replace(ESCORT, unknown=Outcome.DECLARATION_UNKNOWN),
        "contract: expected an outcome of the block 300 to 399, got 200 declaration_unknown",
    ),
    (
        "a deadline of a state that there is not",
        lambda: replace(
            ESCORT, deadlines=Deadlines("movement", lambda r: None, {"asleep": DeadlineRule("held", "x", lambda x: x)})
        ),
        "deadline of asleep: expected a state of machine movement, got asleep",
    ),
    (
        "deadlines of a machine that there is not",
        lambda: replace(ESCORT, deadlines=Deadlines("sleep", lambda r: None, {})),
        "deadlines: expected a machine of the contract, got sleep",
    ),
    (
        "something that happens by itself between states that there are not",
        lambda: _with_rows(ESCORT, {}, by_itself={("sealed", "asleep"): "it is late"}),
        r"by itself \(sealed, asleep\): expected a state with a meaning, got asleep",
    ),
    (
        "something that happens by itself for no reason",
        lambda: _with_rows(ESCORT, {}, by_itself={("sealed", "started"): ""}),
        r"by itself \(sealed, started\): expected why, got nothing",
    ),
    (
        "records under another name than the contract's",
        lambda: replace(ESCORT, name="convoy"),
        "records: expected keys convoy/<subject>, got escort/<subject>",
    ),
    ("no title", lambda: replace(ESCORT, title=""), "title: expected one line, got none"),
]


@pytest.mark.parametrize(("what", "make", "message"), BROKEN, ids=[what for what, _, _ in BROKEN])
def test_is_refused_and_the_row_is_named(what: str, make: Callable[[], Contract], message: str) -> None:
    with pytest.raises(NotWellFormed, match=message):
        check_contract(make())


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_a_name_under_which_the_state_keeps_something_else_is_no_contracts(name: str) -> None:
    with pytest.raises(NotWellFormed, match=f"no other records of the state have, got {name}"):
        check_contract(replace(ESCORT, name=name, record=replace(ESCORT.record, key=lambda sub: f"{name}/{sub}")))


def test_whatever_the_state_keeps_beside_the_records_of_contracts_is_a_name_that_is_taken() -> None:
    governed = Governed.begin()
    basis = {"legal_basis": {"agreement": "an agreement", "article": "4", "to": "2025-07-01"}}
    governed.agree("kz/p-1", parameter("corridor_m", 2_500), basis)
    governed.until(governed.proposal("kz/p-1").effect_height + 1)
    ledgers = [s.movement_at(state) for state in s.MOVEMENT_STATES] + [governed]
    firsts = {key.partition("/")[0] for ledger in ledgers for key in ledger.state.records}
    names = {name for name, _ in CONTRACTS}
    assert firsts - names <= TAKEN
    assert names.isdisjoint(TAKEN)
    assert {"due", "governed", "key", "legal_basis", "seal"} <= firsts


def test_a_contract_stands_in_the_catalogue_once() -> None:
    with pytest.raises(NotWellFormed, match="escort version 1: expected once"):
        _catalogue(ESCORT, DECLARATION, ESCORT)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: f"{contract.name}-{contract.version}")
def test_every_contract_of_the_catalogue_is_whole(contract: Contract) -> None:
    assert list(complaints(contract)) == []

"""The reference pages, written from the contracts: `docs/contracts.md` and `docs/outcomes.md`.

`python -m contracts.reference` prints the first, `python -m contracts.reference outcomes` the second; `make generate`
writes both. Whatever stands there was read out of the declarations: a contract that is added is in the reference.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from contracts.advice import STATEMENT_OUTCOMES, advice_of, kinds_by_outcome
from contracts.catalogue import CONTRACTS, newest_versions
from contracts.incidents import INCIDENTS
from contracts.machine import ABSENT, ROLES, Contract, Guard, Machine, Transition, refusals
from contracts.outcome import Outcome
from contracts.parameters import PARAMETERS, IntegerParameter
from contracts.schema import Schema

_INTRODUCTION = """# Contracts

What the contracts decide, written from their declarations by `make generate`; do not edit by hand.

A statement is accepted, and then is an entry of the log, or is refused with one outcome and changes nothing. What
refuses it is looked for in this order: kind, subject and payload; issuer; key; signature; role; side; `iat`; the
record; the transition; the guards of the row, left to right. Deadlines that the block time has reached fire before the
first statement of a block.

In the tables `-` is the state of what is not there yet. *Who* is a role and the side its holder must stand on. Every
payload has a [JSON Schema](schemas), every outcome says [what it means and what to do](outcomes.md).
[Writing a contract](writing-a-contract.md) builds one from nothing.
"""

_OUTCOMES_INTRODUCTION = """# Outcomes

What became of a statement, as numbers that never change; written by `make generate`, do not edit by hand.

A refused statement left no trace: correct it, sign it anew, send it. The same texts are at every gateway, without a
token: `GET /v1/outcomes` and `GET /v1/outcomes/307`. A problem document names its outcome in `outcome` and
`outcome_code`, and `help` leads there. Where several facts stand in the way the first is named, in the order of
[the reference](contracts.md).
"""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _said(function: Callable[..., object]) -> str:
    """The first sentence of a docstring: its first paragraph on one line."""
    return " ".join((function.__doc__ or "").strip().partition("\n\n")[0].split())


def diagram_name(contract: Contract, machine: Machine) -> str:
    """The file of a machine's diagram, without its ending; a version that is not the newest has its number in it."""
    old = contract.version != newest_versions()[contract.name]
    return f"{contract.name}{f'-v{contract.version}' if old else ''}-{machine.name}"


def anchor(outcome: Outcome) -> str:
    """Where on the page of outcomes one stands."""
    return f"{outcome.value}-{outcome.fact}"


def _link(outcome: Outcome) -> str:
    return f"[`{outcome.fact}`](outcomes.md#{anchor(outcome)})"


def _machine(contract: Contract, machine: Machine) -> Iterator[str]:
    yield f"![{contract.name}: {machine.name}](diagrams/{diagram_name(contract, machine)}.svg)"
    yield ""
    yield "| state | | meaning |"
    yield "| --- | --- | --- |"
    for state, meaning in machine.states.items():
        yield f"| `{state}` | {'end' if state in machine.ends else ''} | {meaning} |"
    yield ""
    yield "| from | event | who | guards | to |"
    yield "| --- | --- | --- | --- | --- |"
    for (state, event), row in machine.transitions.items():
        who = "; ".join(f"`{each.role}` ({_words(each.side.__name__)})" for each in row.who)
        guards = ", ".join(_words(guard.__name__) for guard in row.guards)
        came_from = state if state == ABSENT else f"`{state}`"
        yield f"| {came_from} | `{event}` | {who} | {guards} | {', '.join(f'`{to}`' for to in row.to)} |"
    yield ""
    for (state, to), why in machine.by_itself.items():
        yield f"By itself `{state}` becomes `{to}`: {why}."
        yield ""
    yield f"Any other pair of state and event: {_link(machine.not_allowed)}."
    yield ""


def _events(contract: Contract) -> Iterator[str]:
    """Who may do what: a row an event, a column a role, in a cell the side; and in which states."""
    rows = {event: row for machine in contract.machines for (_, event), row in machine.transitions.items()}
    states: dict[str, list[str]] = {}
    for machine in contract.machines:
        for state, event in machine.transitions:
            states.setdefault(event, []).append(state if state == ABSENT else f"`{state}`")
    roles = [role for role in ROLES if any(each.role == role for row in rows.values() for each in row.who)]
    yield "| event | meaning | in states | " + " | ".join(f"`{role}`" for role in roles) + " |"
    yield "| --- | --- | --- |" + " --- |" * len(roles)
    for event, row in rows.items():
        cells = [", ".join(_words(each.side.__name__) for each in row.who if each.role == role) for role in roles]
        meaning, where = contract.schemas[event].meaning, ", ".join(states[event])
        yield f"| `{event}` | {meaning} | {where} | {' | '.join(cells)} |"
    yield ""
    sides = {each.side: None for row in rows.values() for each in row.who}
    yield "| side | who stands there |"
    yield "| --- | --- |"
    for side in sides:
        yield f"| {_words(side.__name__)} | {_said(side)} |"
    yield ""


def _all_guards(contract: Contract) -> dict[Guard, None]:
    return {
        guard: None for machine in contract.machines for row in machine.transitions.values() for guard in row.guards
    }


def _guards(contract: Contract) -> Iterator[str]:
    guards = _all_guards(contract)
    if guards:
        yield from _guard_table(guards)


def _guard_table(guards: Iterable[Guard]) -> Iterator[str]:
    yield "| guard | what has to hold | otherwise |"
    yield "| --- | --- | --- |"
    for guard in guards:
        otherwise = ", ".join(_link(outcome) for outcome in refusals(guard))
        yield f"| {_words(guard.__name__)} | {_said(guard)} | {otherwise} |"
    yield ""


def _deadlines(contract: Contract) -> Iterator[str]:
    if contract.deadlines is None:
        return
    yield "### Deadlines"
    yield ""
    yield "| in state | becomes | because |"
    yield "| --- | --- | --- |"
    for state, rule in contract.deadlines.rules.items():
        yield f"| `{state}` | `{rule.to}` | {rule.reason} |"
    yield ""


def _schema(schema: Schema) -> Iterator[str]:
    yield "| field | | type | meaning |"
    yield "| --- | --- | --- | --- |"
    for field in schema.fields:
        needed = "required" if field.required else "optional"
        yield f"| `{field.name}` | {needed} | {field.type.description} | {field.meaning} |"
    if schema.exactly_one:
        yield ""
        yield f"Exactly one of {', '.join(f'`{name}`' for name in schema.exactly_one)}."
    yield ""


def _contract(contract: Contract) -> Iterator[str]:
    yield f"## Contract `{contract.name}`, version {contract.version}"
    yield ""
    where = contract.record.key("…")
    yield f"{contract.title}. The subject is the {contract.subject.noun}; a record stands under `{where}`."
    yield ""
    newest = CONTRACTS[(contract.name, newest_versions()[contract.name])]
    if contract is not newest:
        yield from _older(contract, newest)
        return
    if contract.sources:
        yield f"Where the agreement of the two sides is silent it follows: {'; '.join(contract.sources)}."
        yield ""
    for machine in contract.machines:
        yield f"### {machine.name.capitalize()}"
        yield ""
        yield from _machine(contract, machine)
    yield from _deadlines(contract)
    yield f"### Who may do what in `{contract.name}`"
    yield ""
    yield from _events(contract)
    yield f"### Guards of `{contract.name}`"
    yield ""
    yield from _guards(contract)


def _row(row: Transition | None) -> str:
    """A row in one line, for comparing."""
    if row is None:
        return "no row"
    who = "; ".join(f"`{each.role}` ({_words(each.side.__name__)})" for each in row.who)
    guards = ", ".join(_words(guard.__name__) for guard in row.guards) or "no guard"
    return f"{who}: {guards}"


def _older(contract: Contract, newest: Contract) -> Iterator[str]:
    """A version that another has replaced: only what is different in it."""
    yield f"What was decided under it is executed under it for ever. Like version {newest.version}, but for these rows:"
    yield ""
    for machine in contract.machines:
        yield f"![{contract.name}: {machine.name}](diagrams/{diagram_name(contract, machine)}.svg)"
        yield ""
    yield f"| from | event | in version {contract.version} | in version {newest.version} |"
    yield "| --- | --- | --- | --- |"
    for machine, other in zip(contract.machines, newest.machines, strict=True):
        for key in dict.fromkeys((*machine.transitions, *other.transitions)):
            old, new = machine.transitions.get(key), other.transitions.get(key)
            here, there = _row(old), _row(new)
            if here == there and old is not None and new is not None and old.effect is not new.effect:
                here = "the same, with another effect"
            if here != there:
                yield f"| `{key[0]}` | `{key[1]}` | {here} | {there} |"
    yield ""
    if guards := {guard: None for guard in _all_guards(contract) if guard not in _all_guards(newest)}:
        yield from _guard_table(guards)


def _incidents() -> Iterator[str]:
    yield "## Incidents"
    yield ""
    yield "| code | meaning | consequence | needs |"
    yield "| --- | --- | --- | --- |"
    for code, incident in INCIDENTS.items():
        needs = "the seal, and new seals to go on" if incident.breaks_seal else ""
        needs = "the new vehicle and new seals to go on" if incident.changes_vehicle else needs
        yield f"| `{code}` | {incident.meaning} | {incident.consequence} | {needs} |"
    yield ""


def _parameters() -> Iterator[str]:
    yield "## Parameters"
    yield ""
    yield "| name | default | limits | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, rule in PARAMETERS.items():
        limits = f"{rule.lowest} to {rule.highest}" if isinstance(rule, IntegerParameter) else "text"
        yield f"| `{name}` | `{rule.default}` | {limits} | {rule.meaning} |"
    yield ""


def _payloads() -> Iterator[str]:
    yield "## Payloads"
    yield ""
    yield "A field that is not named here is refused. Each has a schema document in [`schemas`](schemas)."
    yield ""
    maps: dict[str, Schema] = {}
    for contract in CONTRACTS.values():
        newest = CONTRACTS[(contract.name, newest_versions()[contract.name])]
        for event, schema in contract.schemas.items():
            if contract is not newest and schema == newest.schemas.get(event):
                continue
            version = "" if contract.version == newest_versions()[contract.name] else f", version {contract.version}"
            yield f"### `{contract.name}.{event}`{version}"
            yield ""
            yield schema.meaning
            yield ""
            yield from _schema(schema)
            maps.update(schema.maps())
    yield "## Maps in payloads"
    yield ""
    for name, schema in maps.items():
        yield f"### Map `{name}`"
        yield ""
        yield from _schema(schema)


def lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Roles"
    yield ""
    yield ", ".join(f"`{role}`" for role in ROLES) + "."
    yield ""
    for contract in CONTRACTS.values():
        yield from _contract(contract)
    yield from _incidents()
    yield from _parameters()
    yield from _payloads()
    yield "## Outcomes"
    yield ""
    yield "| number | name |"
    yield "| --- | --- |"
    for outcome in Outcome:
        yield f"| {outcome.value} | {_link(outcome)} |"


def outcome_lines() -> Iterator[str]:
    yield _OUTCOMES_INTRODUCTION
    kinds = kinds_by_outcome()
    for outcome in Outcome:
        advice = advice_of(outcome)
        yield f"## {outcome.value} {outcome.fact}"
        yield ""
        yield advice.means
        yield ""
        yield f"**What to do.** {advice.do}"
        yield ""
        if outcome in STATEMENT_OUTCOMES:
            yield "Any statement can meet it."
            yield ""
        elif outcome in kinds:
            yield f"Met by {', '.join(f'`{kind}`' for kind in kinds[outcome])}."
            yield ""


def text() -> str:
    return "\n".join(lines()) + "\n"


def outcomes_text() -> str:
    return "\n".join(outcome_lines()).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(outcomes_text() if sys.argv[1:] == ["outcomes"] else text())

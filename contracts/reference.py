"""The reference `docs/contracts.md`, written from the tables: `python -m contracts.reference > docs/contracts.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from contracts import declaration_payloads, escort_payloads
from contracts.catalogue import CONTRACTS
from contracts.escort import DEADLINES
from contracts.incidents import INCIDENTS
from contracts.machine import ABSENT, ROLES, Machine
from contracts.outcome import Outcome
from contracts.parameters import PARAMETERS, IntegerParameter
from contracts.payloads import SCHEMAS
from contracts.schema import Schema

_MAPS: dict[str, Schema] = {
    "content": declaration_payloads.CONTENT,
    "goods item": declaration_payloads.GOODS_ITEM,
    "document": declaration_payloads.DOCUMENT,
    "invoice value": declaration_payloads.INVOICE_VALUE,
    "commitment": declaration_payloads.COMMITMENT,
    "legal basis": declaration_payloads.LEGAL_BASIS,
    "fix": escort_payloads.FIX,
    "batch": escort_payloads.BATCH,
    "new seal": escort_payloads.NEW_SEAL,
    "seal reading": escort_payloads.READING,
}

_INTRODUCTION = """# Contracts

What the contracts decide, written from their tables by `python -m contracts.reference`; do not edit by hand.

A statement is accepted, and then is an entry of the log, or is refused with one outcome and changes nothing. What
refuses it is looked for in this order: kind, subject and payload; issuer; key; signature; role; side; `iat`; the
record; the transition; the guards of the row, left to right. Deadlines that the block time has reached fire before the
first statement of a block.

In the tables `-` is the state of what is not there yet. *Who* is a role and the side its holder must stand on.
"""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _machine(machine: Machine) -> Iterator[str]:
    yield "| from | event | who | guards | to |"
    yield "| --- | --- | --- | --- | --- |"
    for (state, event), row in machine.transitions.items():
        who = "; ".join(f"`{each.role}` ({_words(each.side.__name__)})" for each in row.who)
        guards = ", ".join(_words(guard.__name__) for guard in row.guards)
        came_from = state if state == ABSENT else f"`{state}`"
        yield f"| {came_from} | `{event}` | {who} | {guards} | {', '.join(f'`{to}`' for to in row.to)} |"
    yield ""
    yield f"Any other pair of state and event: `{machine.not_allowed.fact}`."
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


def lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Roles"
    yield ""
    yield ", ".join(f"`{role}`" for role in ROLES) + "."
    yield ""
    for contract in CONTRACTS.values():
        yield f"## Contract `{contract.name}`, version {contract.version}"
        yield ""
        for machine in contract.machines:
            yield f"### {machine.name.capitalize()}"
            yield ""
            yield from _machine(machine)
    yield "## Deadlines of a movement"
    yield ""
    yield "| in state | becomes | because |"
    yield "| --- | --- | --- |"
    for state, deadline in DEADLINES.items():
        yield f"| `{state}` | `{deadline.to}` | {deadline.reason} |"
    yield ""
    yield "## Incidents"
    yield ""
    yield "| code | meaning | consequence | needs |"
    yield "| --- | --- | --- | --- |"
    for code, incident in INCIDENTS.items():
        needs = "the seal, and new seals to go on" if incident.breaks_seal else ""
        needs = "the new vehicle and new seals to go on" if incident.changes_vehicle else needs
        yield f"| `{code}` | {incident.meaning} | {incident.consequence} | {needs} |"
    yield ""
    yield "## Parameters"
    yield ""
    yield "| name | default | limits | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, rule in PARAMETERS.items():
        limits = f"{rule.lowest} to {rule.highest}" if isinstance(rule, IntegerParameter) else "text"
        yield f"| `{name}` | `{rule.default}` | {limits} | {rule.meaning} |"
    yield ""
    yield "## Payloads"
    yield ""
    yield "A field that is not named here is refused."
    yield ""
    for kind, schema in SCHEMAS.items():
        yield f"### `{kind}`"
        yield ""
        yield from _schema(schema)
    yield "## Maps in payloads"
    yield ""
    for name, schema in _MAPS.items():
        yield f"### Map `{name}`"
        yield ""
        yield from _schema(schema)
    yield "## Outcomes"
    yield ""
    yield "| number | name |"
    yield "| --- | --- |"
    for outcome in Outcome:
        yield f"| {outcome.value} | `{outcome.fact}` |"


def text() -> str:
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())

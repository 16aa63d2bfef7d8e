"""Which identifiers a statement mentions: what it can be found by.

Promises: a pure function of the statement alone, derived from the payload schemas of the contracts: a field whose type
is one of the identifiers in `MENTIONED` is mentioned wherever it stands, so a new contract can be found by its
containers and seals without a line written for it. Nothing that is hashed depends on it.

Does not cover the registry and governance: whom they are about is found by the participant's id or the proposal's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from contracts.catalogue import CONTRACTS
from contracts.identifiers import (
    parse_container,
    parse_declaration_number,
    parse_mrn,
    parse_participant_id,
    parse_seal,
    parse_ucr,
    parse_vehicle,
)
from contracts.machine import ABSENT
from contracts.schema import Schema, Type

# What an identifier is called in a look-up, by the function that parses it.
MENTIONED: dict[Callable[[str], object], str] = {
    parse_ucr: "ucr",
    parse_declaration_number: "number",
    parse_mrn: "mrn",
    parse_container: "container",
    parse_seal: "seal",
    parse_vehicle: "vehicle",
    parse_participant_id: "participant",
}
LOOKUP_KINDS = tuple(MENTIONED.values())
NOT_COVERED = ("registry", "governance")

Mention = tuple[str, str]  # kind of identifier, its text
_Take = Callable[[Any], Iterator[Mention]]


def _take_text(kind: str) -> _Take:
    def take(value: Any) -> Iterator[Mention]:
        if type(value) is str:
            yield kind, value

    return take


def _take_each(element: _Take) -> _Take:
    def take(value: Any) -> Iterator[Mention]:
        if isinstance(value, list | tuple):
            for each in value:
                yield from element(each)

    return take


def _take_fields(fields: tuple[tuple[str, _Take], ...]) -> _Take:
    def take(value: Any) -> Iterator[Mention]:
        if isinstance(value, dict):
            for name, each in fields:
                if name in value:
                    yield from each(value[name])

    return take


def _of_type(described: Type) -> _Take | None:
    if described.parse is not None and described.parse in MENTIONED:
        return _take_text(MENTIONED[described.parse])
    if described.element is not None:
        element = _of_type(described.element)
        return None if element is None else _take_each(element)
    return None if described.schema is None else _of_schema(described.schema)


def _of_schema(schema: Schema) -> _Take | None:
    fields = tuple((field.name, take) for field in schema.fields if (take := _of_type(field.type)) is not None)
    return _take_fields(fields) if fields else None


def _together(takes: list[_Take]) -> _Take:
    def take(value: Any) -> Iterator[Mention]:
        for each in takes:
            yield from each(value)

    return take


def _takes() -> dict[str, _Take]:
    """By kind of statement, of all versions of each contract: what an old one names was named by its statements."""
    by_kind: dict[str, list[_Take]] = {}
    for (name, _), contract in CONTRACTS.items():
        for event, schema in contract.schemas.items():
            take = _of_schema(schema)
            if name not in NOT_COVERED and take is not None:
                by_kind.setdefault(f"{name}.{event}", []).append(take)
    return {kind: _together(takes) for kind, takes in by_kind.items()}


_TAKES = _takes()
_SUBJECTS: dict[str, str] = {
    name: MENTIONED[contract.subject.parse]
    for (name, _), contract in CONTRACTS.items()
    if contract.subject.parse in MENTIONED and name not in NOT_COVERED
}
# Events by which a record comes to be: only these mention their subject, which all later ones share.
CREATING: frozenset[str] = frozenset(
    f"{name}.{event}"
    for (name, _), contract in CONTRACTS.items()
    if name not in NOT_COVERED
    for machine in contract.machines
    for state, event in machine.transitions
    if state == ABSENT
)


def mentions(kind: str, subject: str, payload: Mapping[Any, Any]) -> dict[Mention, None]:
    """The identifiers in an accepted statement, each once, in the order in which they stand in its schema."""
    found: dict[Mention, None] = {}
    if kind in CREATING:
        name = _SUBJECTS.get(kind.partition(".")[0])
        if name is not None:
            found[name, subject] = None
    take = _TAKES.get(kind)
    if take is not None:
        found.update(dict.fromkeys(take(payload)))
    return found

"""JSON Schema (2020-12) documents of the payloads, made from the contracts.

A payload is CBOR inside a signature; its JSON picture is what the schema describes. All maps one to one but bytes:
a CBOR byte string is a JSON string in lower-case base16, which `contentEncoding` says. `as_json` makes that picture.

A schema says what JSON Schema can say: names, types, limits, forms. It refuses nothing that the contracts accept. What
it lets through may still be refused: for a check digit, for a list of a record, for who says it.
"""

from __future__ import annotations

from typing import Any

from contracts.catalogue import CONTRACTS, newest_versions
from contracts.machine import Contract

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_COMMENT = (
    "JSON picture of a CBOR payload: byte strings are lower-case base16 (contentEncoding); all else maps as it is."
)


def as_json(value: Any) -> Any:
    """The JSON picture of a payload or of a part of it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: as_json(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    return value


def payload_schema(contract: Contract, event: str) -> dict[str, Any]:
    """The schema document of the payload of one event."""
    schema = contract.schemas[event]
    return {
        "$schema": DIALECT,
        "$id": f"urn:comity:schema:{contract.name}.{event}:{contract.version}",
        "$comment": _COMMENT,
        "title": f"{contract.name}.{event}",
        "description": f"{schema.meaning} The subject is the {contract.subject.noun}.",
        **schema.json_schema(),
    }


def payload_schemas() -> dict[str, dict[str, Any]]:
    """Every schema document by its name: the kind, with `.v<n>` after it for a version that is not the newest.

    A version that is not the newest has documents of its own only for payloads that have changed since.
    """
    newest = newest_versions()
    documents = {}
    for (name, version), contract in CONTRACTS.items():
        for event, schema in contract.schemas.items():
            if version != newest[name] and schema == CONTRACTS[(name, newest[name])].schemas.get(event):
                continue
            suffix = "" if version == newest[name] else f".v{version}"
            documents[f"{name}.{event}{suffix}"] = payload_schema(contract, event)
    return documents

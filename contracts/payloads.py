"""The payload of every kind of statement, declared; and the check that signers and validators share.

`validate_payload(kind, payload)` and `validate_subject(kind, sub)` raise `PayloadError` for exactly what execution
would refuse before looking at any record, so that a signer fails before it signs.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.catalogue import CONTRACTS, contract_of, kind_parts
from contracts.identifiers import IdentifierError
from contracts.outcome import Outcome
from contracts.schema import PayloadError, Schema

# By kind, of the newest version of each contract that has it.
SCHEMAS: dict[str, Schema] = {
    f"{name}.{event}": schema
    for (name, _), contract in sorted(CONTRACTS.items(), key=lambda entry: entry[0][1])
    for event, schema in contract.schemas.items()
}


def validate_payload(kind: str, payload: Mapping[str, object]) -> None:
    """Raise PayloadError, with the outcome it would meet, unless statements of `kind` may have this payload."""
    schema = SCHEMAS.get(kind)
    if schema is None:
        raise PayloadError(Outcome.KIND_UNKNOWN, "", f"expected a kind that a contract knows, got {kind}")
    schema.check("", payload)


def validate_subject(kind: str, sub: str) -> None:
    """Raise PayloadError unless `sub` is an identifier of what statements of `kind` are about."""
    contract = contract_of(kind_parts(kind)[0])
    if contract is None:
        raise PayloadError(Outcome.KIND_UNKNOWN, "", f"expected a kind that a contract knows, got {kind}")
    try:
        contract.subject.parse(sub)
    except IdentifierError as error:
        raise PayloadError(Outcome.SUBJECT_INVALID, "sub", str(error)) from error

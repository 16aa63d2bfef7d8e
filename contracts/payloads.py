"""The payload of every kind of statement, declared; and the check that signers and validators share.

`validate_payload(kind, payload)` and `validate_subject(kind, sub)` raise `PayloadError` for exactly what execution
would refuse before looking at any record, so that a signer fails before it signs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contracts import declaration_payloads, escort_payloads, registry_payloads
from contracts.identifiers import IdentifierError, parse_mrn, parse_participant_id, parse_ucr
from contracts.outcome import Outcome
from contracts.schema import PayloadError, Schema

SUBJECTS: dict[str, Callable[[str], object]] = {
    "declaration": parse_ucr,
    "escort": parse_mrn,
    "registry": parse_participant_id,
}

SCHEMAS: dict[str, Schema] = {
    **{f"registry.{event}": schema for event, schema in registry_payloads.SCHEMAS.items()},
    **{f"declaration.{event}": schema for event, schema in declaration_payloads.SCHEMAS.items()},
    **{f"escort.{event}": schema for event, schema in escort_payloads.SCHEMAS.items()},
}


def validate_payload(kind: str, payload: Mapping[str, object]) -> None:
    """Raise PayloadError, with the outcome it would meet, unless statements of `kind` may have this payload."""
    schema = SCHEMAS.get(kind)
    if schema is None:
        raise PayloadError(Outcome.KIND_UNKNOWN, "", f"expected a kind that a contract knows, got {kind}")
    schema.check("", payload)


def validate_subject(kind: str, sub: str) -> None:
    """Raise PayloadError unless `sub` is an identifier of what statements of `kind` are about."""
    parse = SUBJECTS.get(kind.partition(".")[0])
    if parse is None:
        raise PayloadError(Outcome.KIND_UNKNOWN, "", f"expected a kind that a contract knows, got {kind}")
    try:
        parse(sub)
    except IdentifierError as error:
        raise PayloadError(Outcome.SUBJECT_INVALID, "sub", str(error)) from error

"""What a registrar reads before it signs: a proposal, held against the statement that proposed it.

What a gateway shows is compared with the statement, field by field, and the statement with its signature. The key that
it has to be signed with is the one that the registry has for its proposer, as the gateway says; or the one that whoever
signs brings along, who then needs to believe no gateway at all.
"""

from __future__ import annotations

from typing import Any

from contracts.governance_changes import change_of
from contracts.governance_payloads import SCHEMAS
from contracts.governance_views import change_view
from contracts.schema import PayloadError
from ledger.algorithms import PublicKey
from ledger.errors import LedgerError
from ledger.statement import Statement, parse_statement, verify_statement


class NotWhatWasProposed(Exception):
    """Nothing is to be signed; the message says what differs."""


def check_proposal(client: Any, proposal_id: str, record: dict[str, Any], signer: PublicKey | None) -> None:
    """Raise NotWhatWasProposed unless the statement that the record names says what the record shows, signed by its
    proposer, whose key is `signer` if it is known.
    """
    try:
        statement = parse_statement(client.statement(record["proposal"]).raw)
        payload: Any = statement.payload
        SCHEMAS["propose"].check("", payload)
    except (LedgerError, PayloadError) as error:
        raise NotWhatWasProposed(f"the gateway shows no statement that proposes it: {error}") from error
    for what, expected, got in (
        ("id of the statement", record["proposal"], statement.id.hex()),
        ("kind", "governance.propose", statement.kind),
        ("proposal", proposal_id, statement.sub),
        ("title", payload["title"], record["title"]),
        ("height", payload.get("height"), record["not_before_height"]),
        ("changes", [change_view(change_of(entry)) for entry in payload["changes"]], record["changes"]),
        ("proposer", statement.iss, record["approvals"][0]["by"] if record["approvals"] else None),
    ):
        if expected != got:
            raise NotWhatWasProposed(
                f"the gateway shows another {what} than the statement that proposed it: ask another gateway; "
                f"expected {expected}, got {got}"
            )
    _check_signature(statement, signer if signer is not None else _registered_key(client, statement))


def _registered_key(client: Any, statement: Statement) -> PublicKey:
    """The key that the statement names, as the registry has it: a thumbprint is of one key alone."""
    shown = client.participant(statement.iss)["record"]["keys"]
    found = next((each for each in shown if each["kid"] == statement.kid.hex()), None)
    if found is None:
        raise NotWhatWasProposed(f"{statement.iss} has no key {statement.kid.hex()}, which the statement names")
    try:
        return PublicKey.from_cose_key(bytes.fromhex(found["cose_key"]))
    except (LedgerError, ValueError) as error:
        raise NotWhatWasProposed(f"the gateway shows no key of {statement.iss}: {error}") from error


def _check_signature(statement: Statement, key: PublicKey) -> None:
    if key.kid != statement.kid:
        raise NotWhatWasProposed(
            f"{statement.iss} has signed with another key: expected {key.kid.hex()}, got {statement.kid.hex()}"
        )
    try:
        verify_statement(statement, key)
    except LedgerError as error:
        raise NotWhatWasProposed(f"{statement.iss} has not signed it: {error}") from error


def read_proposed(raw: bytes, signer: PublicKey) -> tuple[Statement, list[dict[str, Any]]]:
    """The statement that proposes, signed by that key, and its changes as the ledger would show them."""
    try:
        statement = parse_statement(raw)
        payload: Any = statement.payload
        if statement.kind != "governance.propose":
            raise NotWhatWasProposed(f"expected governance.propose, got {statement.kind}")
        SCHEMAS["propose"].check("", payload)
    except (LedgerError, PayloadError) as error:
        raise NotWhatWasProposed(f"is no statement that proposes: {error}") from error
    _check_signature(statement, signer)
    return statement, [change_view(change_of(entry)) for entry in payload["changes"]]

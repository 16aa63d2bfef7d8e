"""The policy file that goes with a log key that both authorities have put in the place of another.

Nothing is taken from a gateway on faith. That a key is in force follows from statements on the log: one that proposes
it, and one of every other authority that approves that very statement. A statement is on the log only where it was
accepted, so a proof of each, by the policy file of before, is proof of the decision. What a gateway could still do is
hide one.
"""

from __future__ import annotations

from typing import Any

from contracts.governance_changes import change_of, fields_of, topic_of
from contracts.governance_payloads import SCHEMAS
from contracts.schema import PayloadError
from ledger.entry import Genesis
from ledger.errors import LedgerError
from ledger.membership import Role, verify_chain
from ledger.policy import parse_policy
from ledger.proof_check import Verdict, check_proof
from ledger.statement import Statement, parse_statement
from nodes.config import ConfigError
from nodes.network import policy_of_members, wants_several

PROOF_WAIT_S = 10.0


class PolicyRefused(Exception):
    """The decision does not follow from what the gateway shows; the message says what is missing."""


def policy_of_decisions(client: Any, genesis_raw: bytes, known_policy: bytes, authority: str) -> str:
    """The text of the policy file. Raises PolicyRefused."""
    try:
        genesis = Genesis.decode(genesis_raw)
        notes = [note.encode() for note in client.membership()["changes"]]
        register = verify_chain(genesis, notes)[-1]
    except LedgerError as error:
        raise PolicyRefused(f"genesis record or changes of the membership do not hold: {error}") from error
    held = [
        each
        for each in client.governance()["keys"]
        if (each["authority"], each["kind"]) == (authority, "log_key") and not each["waiting"]
    ]
    present = next((each.log_key for each in genesis.authorities if each.name == authority), None)
    if present is None or not held:
        raise PolicyRefused(f"{authority} is no authority of the genesis record, or the gateway shows no key of it")
    for each in held:
        if each["proposal"] is not None:
            present = _decided(client, genesis, known_policy, authority, each["proposal"], present)
    if present.hex() != held[-1]["value"]:
        raise PolicyRefused(f"expected the log key {present.hex()} as decided, the gateway shows {held[-1]['value']}")
    try:
        # What those who verify wanted of each side they want with the new key too.
        majority = wants_several(parse_policy(known_policy))
        return policy_of_members(genesis, authority, register.of(Role.VOTER), present, majority=majority)
    except (ConfigError, LedgerError) as error:
        raise PolicyRefused(str(error)) from error


def _decided(client: Any, genesis: Genesis, policy: bytes, authority: str, proposal_id: str, before: bytes) -> bytes:
    """The key that a proposal has put in the place of `before`, proved."""
    record = client.proposal(proposal_id)["record"]
    if record["state"] != "in_force":
        raise PolicyRefused(f"{proposal_id}: expected a proposal that is in force, got {record['state']}")
    approvals = [_proved(client, policy, each["statement"], proposal_id) for each in record["approvals"]]
    proposed, *approved = approvals
    if proposed.kind != "governance.propose" or any(
        each.kind != "governance.approve" or each.payload.get("proposal") != proposed.id for each in approved
    ):
        raise PolicyRefused(f"{proposal_id}: the statements do not propose and approve one and the same proposal")
    sides = {each.iss.partition("/")[0] for each in approvals}
    missing = [each.name for each in genesis.authorities if not sides & {each.name, each.country.lower()}]
    if missing:
        raise PolicyRefused(f"{proposal_id}: no statement of {', '.join(missing)} is shown")
    payload: Any = proposed.payload
    try:
        SCHEMAS["propose"].check("", payload)
    except PayloadError as error:
        raise PolicyRefused(f"{proposal_id}: the statement proposes nothing that can be read: {error}") from error
    for change in map(change_of, payload["changes"]):
        if topic_of(change) == f"log_key/{authority}":
            fields = fields_of(change)
            if fields["from"] != before:
                raise PolicyRefused(f"{proposal_id}: replaces {fields['from'].hex()}, expected {before.hex()}")
            key: bytes = fields["to"]
            return key
    raise PolicyRefused(f"{proposal_id}: proposes no log key of {authority}")


def _proved(client: Any, policy: bytes, statement_id: str, proposal_id: str) -> Statement:
    """A statement about the proposal, on the log by the policy."""
    raw = client.statement(statement_id).raw
    report = check_proof(policy, client.proof(statement_id, wait_s=PROOF_WAIT_S), raw)
    if not report.holds:
        why = next(each.detail for each in report.checks if each.verdict is Verdict.FAILS)
        raise PolicyRefused(f"{proposal_id}: statement {statement_id} is not proved by the policy of before: {why}")
    statement = parse_statement(raw)
    if statement.sub != proposal_id or statement.id.hex() != statement_id:
        raise PolicyRefused(f"{proposal_id}: statement {statement_id} is about something else")
    return statement

"""Proposals as plain data for people and programs outside: what the gateway shows."""

from __future__ import annotations

from typing import Any

from contracts.governance_changes import fields_of, topic_of
from contracts.governance_record import APPROVED, OPEN, Change, Proposal

View = dict[str, Any]


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def change_view(change: Change) -> View:
    """A change as the payload had it, what was left out left out; bytes in hex."""
    fields = fields_of(change).items()
    return {str(change[0]): {name: _plain(value) for name, value in fields if value is not None}}


def proposal_view(record: Proposal) -> View:
    return {
        "id": record.id,
        "state": record.state,
        "title": record.title,
        "authority": record.authority,
        "proposal": record.statement.hex(),
        "changes": [change_view(change) for change in record.changes],
        "topics": [topic_of(change) for change in record.changes],
        "not_before_height": record.not_before_height or None,
        "effect_height": record.effect_height or None,
        "lapses_ms": None if record.lapse_s is None else record.lapse_s * 1000,
        "approvals": [
            {
                "authority": approval.authority,
                "by": approval.by,
                "kid": approval.kid.hex(),
                "statement": approval.statement.hex(),
                "time_ms": approval.time_ms,
                "height": approval.height,
                **({"membership_signature": approval.signature.hex()} if approval.signature else {}),
            }
            for approval in record.approvals
        ],
        "withdrawals": list(record.withdrawals),
        "since": {
            "time_ms": record.since_ms,
            "height": record.since_height,
            "statement": None if record.since_statement is None else record.since_statement.hex(),
            "by": record.by,
        },
        "reason": record.reason or None,
        "previous": [{"topic": topic, "proposal": name} for topic, name in record.previous],
        "flagged": record.flagged,
        "pending": _pending(record),
    }


def _pending(record: Proposal) -> list[View]:
    """What it waits for."""
    if record.state == OPEN:
        return [{"event": "approve or reject", "by": "every other authority", "role": "customs.registrar"}]
    if record.state == APPROVED:
        return [{"event": f"height {record.effect_height}", "by": "the log", "role": "-"}]
    return []

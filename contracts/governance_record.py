"""The records of `governance`: proposals, and the rows that say what is open, approved, pending and in force.

| key | what |
| --- | --- |
| `governance/<id>` | a proposal, for ever |
| `governed` | hash of the genesis record, then the names of the authorities whose approval everything needs |
| `governed/open` | ids of the open proposals, in the order in which they were made |
| `governed/approved` | height and id of what waits for its height, by height, then in the order of approval |
| `governed/pending/<topic>` | id of the approved proposal that is going to change the topic |
| `governed/now/<topic>` | id, height, block time and entry of the proposal that changed the topic last |
| `governed/contracts` | name, version and release of every contract that a proposal brought into force |

A topic is what one change is about: `parameter/corridor_m`, `contract/escort`, `registrar/kz-kgd`. Two proposals with a
topic in common cannot both wait. From a proposal, `previous` leads to the one that changed a topic before it, so that
the history of a topic can be walked without a list that grows for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from contracts.working import Row, Working, encode_record, record_fields
from ledger.cbor import Encodable

TAG = "proposal.v1"

OPEN = "open"
APPROVED = "approved"
IN_FORCE = "in_force"
REJECTED = "rejected"
WITHDRAWN = "withdrawn"
LAPSED = "lapsed"
SUPERSEDED = "superseded"

ROOT = "governed"
OPEN_LIST = "governed/open"
SCHEDULE = "governed/approved"
CONTRACT_LIST = "governed/contracts"

# One change as a record holds it: its kind, then its fields in the order of `contracts.governance_changes`.
Change = tuple[Encodable, ...]


@dataclass(frozen=True, slots=True)
class Approval:
    """One authority's word. `signature` is of the membership change, if the proposal has one; else empty."""

    authority: str
    by: str
    kid: bytes
    statement: bytes
    time_ms: int
    height: int
    signature: bytes = b""

    def fields(self) -> tuple[Encodable, ...]:
        return (self.authority, self.by, self.kid, self.statement, self.time_ms, self.height, self.signature)


@dataclass(frozen=True, slots=True)
class Proposal:
    id: str
    state: str
    authority: str  # the side that proposed it
    title: str
    changes: tuple[Change, ...]
    not_before_height: int
    # One of each authority that has approved, the proposer's first; the first one's statement is the proposal.
    approvals: tuple[Approval, ...]
    lapse_s: int | None  # the second at which it falls due; None once it is no longer open
    effect_height: int  # 0 until all have approved
    withdrawals: tuple[str, ...]  # authorities that want an approved one back
    since_ms: int
    since_height: int
    since_statement: bytes | None  # of the state; None where a deadline or a height brought it
    by: str
    reason: str
    previous: tuple[tuple[str, str], ...]  # topic, and the proposal that changed it before this one
    flagged: int = 0

    @property
    def statement(self) -> bytes:
        """The id of the statement that proposed it, which every approval names."""
        return self.approvals[0].statement

    def approved_by(self, authority: str) -> bool:
        return any(approval.authority == authority for approval in self.approvals)

    def encode(self) -> bytes:
        return encode_record(
            TAG,
            (
                self.id,
                self.state,
                self.authority,
                self.title,
                self.changes,
                self.not_before_height,
                tuple(approval.fields() for approval in self.approvals),
                self.lapse_s,
                self.effect_height,
                self.withdrawals,
                self.since_ms,
                self.since_height,
                self.since_statement,
                self.by,
                self.reason,
                self.previous,
                self.flagged,
            ),
        )


def decode_proposal(raw: bytes) -> Proposal:
    fields = cast(Any, record_fields(TAG, raw, 17))
    fields[4] = tuple(tuple(change) for change in fields[4])
    fields[6] = tuple(Approval(*approval) for approval in fields[6])
    fields[9] = tuple(fields[9])
    fields[15] = tuple(tuple(entry) for entry in fields[15])
    return Proposal(*fields)


def proposal_key(proposal_id: str) -> str:
    return f"governance/{proposal_id}"


def load_proposal(working: Working, proposal_id: str) -> Proposal | None:
    return working.record(proposal_key(proposal_id), Proposal, decode_proposal)


def pending_key(topic: str) -> str:
    return f"governed/pending/{topic}"


def now_key(topic: str) -> str:
    return f"governed/now/{topic}"


def authorities(working: Working) -> tuple[str, ...]:
    """The authorities whose approval everything needs, in the order of the genesis record."""
    return tuple(str(name) for name in (working.row(ROOT) or ())[1:])


def network_hash(working: Working) -> str:
    """SHA-256 of the genesis record, in hex: what a change of the membership says which network it is for."""
    row = working.row(ROOT)
    return str(row[0]) if row else ""


def open_proposals(working: Working) -> tuple[str, ...]:
    return tuple(str(name) for name in working.row(OPEN_LIST) or ())


def schedule(working: Working) -> tuple[tuple[int, str], ...]:
    """Height and proposal of all that waits for its height, in the order in which it takes effect."""
    return pairs(working.row(SCHEDULE) or ())


def pairs(row: Row) -> tuple[tuple[int, str], ...]:
    return tuple((int(row[index]), str(row[index + 1])) for index in range(0, len(row), 2))


def put_open(working: Working, names: tuple[str, ...]) -> None:
    working.put(OPEN_LIST, names or None)


def put_schedule(working: Working, waiting: tuple[tuple[int, str], ...]) -> None:
    working.put(SCHEDULE, tuple(value for entry in waiting for value in entry) or None)

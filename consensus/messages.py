"""What voters say to each other and what they write down: frozen values, and the check of their shape.

No encoding: `nodes` decides what the bytes on the wire and on disk look like. `verify_message` is what stands between
the core and a peer that is not ours: shape only, without a look at any state. Thesis chapter 3, figures 3.1 and 5.3;
the field names follow it (`log_term` and `index` are the term and index of the entry before `entries`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from consensus.errors import MessageRefused
from consensus.quorum import Membership

MAX_TERM = 2**63 - 1
MAX_INDEX = 2**63 - 1
MAX_ENTRY_BYTES = 16 * 1024 * 1024
MAX_ENTRIES_PER_MESSAGE = 65_536
# What a leader proposes before anything of it is committed. A follower stores twice as many from whoever leads it.
MAX_UNCOMMITTED_ENTRIES = 65_536
MAX_CONTEXT_BYTES = 1024
MAX_SNAPSHOT_BYTES = 64 * 1024 * 1024

# The context of a vote request that may break the lease of the present leader, which asked for it (section 4.2.3).
TRANSFER = b"transfer"


class EntryType(IntEnum):
    NORMAL = 0
    # A change of the membership, in the bytes of `consensus.configuration`.
    CONFIGURATION = 1


class MessageType(IntEnum):
    """The numbers are the wire's: never reuse one."""

    APPEND = 1
    APPEND_RESPONSE = 2
    VOTE = 3
    VOTE_RESPONSE = 4
    PRE_VOTE = 5
    PRE_VOTE_RESPONSE = 6
    HEARTBEAT = 7
    HEARTBEAT_RESPONSE = 8
    SNAPSHOT = 9
    TIMEOUT_NOW = 10
    READ_INDEX = 11
    READ_INDEX_RESPONSE = 12


# An answer says "I have" or "I promise", and a vote request says "I voted for myself": a crash must not unsay either.
WAITS_FOR_DISK = frozenset(
    {
        MessageType.APPEND_RESPONSE,
        MessageType.VOTE,
        MessageType.VOTE_RESPONSE,
        MessageType.PRE_VOTE_RESPONSE,
        MessageType.HEARTBEAT_RESPONSE,
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    term: int
    index: int
    type: EntryType = EntryType.NORMAL
    # Empty data: the entry with which a leader opens its term. Nothing to apply.
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class HardState:
    """What a voter must never forget. `commit` may be forgotten: it only saves time after a restart."""

    term: int = 0
    vote: str | None = None
    commit: int = 0


@dataclass(frozen=True, slots=True)
class SnapshotMetadata:
    index: int
    term: int
    # As of `index`.
    membership: Membership


@dataclass(frozen=True, slots=True)
class Snapshot:
    metadata: SnapshotMetadata
    # Whatever the state machine needs to be at `metadata.index`; opaque here.
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Message:
    type: MessageType
    to: str
    sender: str
    term: int
    log_term: int = 0
    index: int = 0
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    snapshot: Snapshot | None = None


def verify_message(message: Message) -> None:
    """Refuse what no correct peer sends, whatever its state."""
    # Term 0 is before the first election: all that can be said in it is no to a pre-vote.
    if not 0 < message.term <= MAX_TERM and not (message.term == 0 and message.type is MessageType.PRE_VOTE_RESPONSE):
        raise MessageRefused("bad_term", f"term out of range: expected 1..{MAX_TERM}, got {message.term}")
    if not (0 <= message.index <= MAX_INDEX and 0 <= message.commit <= MAX_INDEX):
        raise MessageRefused("bad_index", f"index or commit out of range: got {message.index} and {message.commit}")
    if not (0 <= message.log_term <= message.term and 0 <= message.reject_hint <= MAX_INDEX):
        raise MessageRefused(
            "bad_log_term", f"log term out of range: expected 0..{message.term}, got {message.log_term}"
        )
    if len(message.context) > MAX_CONTEXT_BYTES:
        raise MessageRefused("bad_context", f"context too long: expected at most {MAX_CONTEXT_BYTES} bytes")
    if message.type is MessageType.READ_INDEX and not message.context:
        raise MessageRefused("bad_context", "a read without a context could not be answered")
    if message.entries:
        verify_entries(message)
    if (message.type is MessageType.SNAPSHOT) != (message.snapshot is not None):
        raise MessageRefused("bad_snapshot", "a snapshot goes with a snapshot message and with no other")
    if message.snapshot is not None:
        metadata = message.snapshot.metadata
        if not (0 < metadata.index <= MAX_INDEX and 0 < metadata.term <= message.term):
            raise MessageRefused("bad_snapshot", f"snapshot out of range: index {metadata.index} term {metadata.term}")
        if len(message.snapshot.data) > MAX_SNAPSHOT_BYTES:
            raise MessageRefused("bad_snapshot", f"snapshot too large: expected at most {MAX_SNAPSHOT_BYTES} bytes")


def verify_entries(message: Message) -> None:
    """Entries go on from `index` without a gap, in terms that never fall and never exceed the message's."""
    if message.type is not MessageType.APPEND:
        raise MessageRefused("unexpected_entries", f"expected entries in an append only, got {message.type.name}")
    if len(message.entries) > MAX_ENTRIES_PER_MESSAGE:
        raise MessageRefused("too_many_entries", f"expected at most {MAX_ENTRIES_PER_MESSAGE}")
    index, term, highest = message.index, message.log_term, message.term
    for entry in message.entries:
        index += 1
        if entry.index != index:
            raise MessageRefused("entry_out_of_order", f"expected index {index}, got {entry.index}")
        if not term <= entry.term <= highest or entry.term == 0:
            raise MessageRefused("bad_entry_term", f"expected {term}..{highest} at index {index}, got {entry.term}")
        term = entry.term
        if len(entry.data) > MAX_ENTRY_BYTES:
            raise MessageRefused("entry_too_large", f"expected at most {MAX_ENTRY_BYTES} bytes, got {len(entry.data)}")

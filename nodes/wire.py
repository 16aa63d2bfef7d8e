"""Messages of the consensus core, and signatures, as protocol buffers, and back.

Sender and receiver are not on the wire: they are those of the stream, whose name TLS proved. What comes back is of the
right types; whether it makes sense is for `consensus.messages.verify_message`.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.errors import MessageRefused
from consensus.messages import Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata
from consensus.quorum import Membership
from ledger.note import NoteSignature
from nodes.proto import peer_pb2

_TYPES = {int(kind): kind for kind in MessageType}
_ENTRY_TYPES = {int(kind): kind for kind in EntryType}


def to_envelope(message: Message) -> peer_pb2.Envelope:
    """Of a snapshot only where it ends is sent: who needs one fetches it, from whomever it likes."""
    raft = peer_pb2.RaftMessage(
        type=int(message.type),
        term=message.term,
        log_term=message.log_term,
        index=message.index,
        commit=message.commit,
        reject=message.reject,
        reject_hint=message.reject_hint,
        context=message.context,
    )
    if message.snapshot is not None:
        raft.index, raft.log_term = message.snapshot.metadata.index, message.snapshot.metadata.term
    for entry in message.entries:
        raft.entries.append(
            peer_pb2.RaftEntry(term=entry.term, index=entry.index, type=int(entry.type), data=entry.data)
        )
    return peer_pb2.Envelope(raft=raft)


def to_cosignatures(size: int, root: bytes, lines: Sequence[NoteSignature]) -> peer_pb2.Envelope:
    message = peer_pb2.Cosignatures(size=size, root=root)
    for line in lines:
        message.lines.append(peer_pb2.SignatureLine(name=line.name, key_id=line.key_id, signature=line.signature))
    return peer_pb2.Envelope(cosignatures=message)


def from_cosignatures(message: peer_pb2.Cosignatures) -> list[NoteSignature]:
    return [NoteSignature(line.name, line.key_id, line.signature) for line in message.lines]


def is_known(raft: peer_pb2.RaftMessage) -> bool:
    """Whether this release knows the type. A newer one may have more; a message of those is ignored, as if lost."""
    return raft.type in _TYPES


def is_snapshot(raft: peer_pb2.RaftMessage) -> bool:
    return raft.type == MessageType.SNAPSHOT


def from_snapshot(raft: peer_pb2.RaftMessage, sender: str, to: str, membership: Membership) -> Message:
    """The leader's message that what we need next comes after a position that it no longer has.

    ``membership`` stands for the one as of there, which is not on the wire: good for a message that tells us nothing
    new, and for no other.
    """
    snapshot = Snapshot(SnapshotMetadata(raft.index, raft.log_term, membership))
    return Message(MessageType.SNAPSHOT, to, sender, raft.term, snapshot=snapshot)


def from_raft(raft: peer_pb2.RaftMessage, sender: str, to: str) -> Message:
    """Raises MessageRefused for a type that nobody knows."""
    kind = _TYPES.get(raft.type)
    if kind is None:
        raise MessageRefused("unknown_type", f"message type: expected one of {sorted(_TYPES)}, got {raft.type}")
    entries = []
    for entry in raft.entries:
        entry_type = _ENTRY_TYPES.get(entry.type)
        if entry_type is None:
            raise MessageRefused(
                "unknown_type", f"entry type: expected one of {sorted(_ENTRY_TYPES)}, got {entry.type}"
            )
        entries.append(Entry(entry.term, entry.index, entry_type, entry.data))
    return Message(
        kind,
        to,
        sender,
        raft.term,
        raft.log_term,
        raft.index,
        tuple(entries),
        raft.commit,
        raft.reject,
        raft.reject_hint,
        raft.context,
    )

"""Raft as a sans-IO core: `tick, step, propose, ready, advance`.

No clock, no socket, no thread, no disk, no randomness but a seed; orders bytes and knows no customs. The door is
`consensus.rawnode.RawNode`, whose module says what a caller owes it; the commit rule is in `consensus.quorum`.
"""

from consensus.configuration import (
    Action,
    ConfigurationChange,
    Step,
    apply_change,
    decode_change,
    encode_change,
    enter,
    leave,
)
from consensus.errors import (
    ChangeNotTaken,
    ChangeRefused,
    Compacted,
    ConsensusError,
    DropReason,
    MessageRefused,
    Misuse,
    ProposalDropped,
    SnapshotUnavailable,
    Unavailable,
    UnknownDurableState,
)
from consensus.log import Storage
from consensus.messages import Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata
from consensus.progress import ProgressState
from consensus.quorum import Configuration, Membership, VoteResult
from consensus.raft import Config, Role
from consensus.rawnode import FollowerStatus, RawNode, Ready, SoftState, Status
from consensus.reads import DroppedRead, ReadState

__all__ = [
    "Action",
    "ChangeNotTaken",
    "ChangeRefused",
    "Compacted",
    "Config",
    "Configuration",
    "ConfigurationChange",
    "ConsensusError",
    "DropReason",
    "DroppedRead",
    "Entry",
    "EntryType",
    "FollowerStatus",
    "HardState",
    "Membership",
    "Message",
    "MessageRefused",
    "MessageType",
    "Misuse",
    "ProgressState",
    "ProposalDropped",
    "RawNode",
    "ReadState",
    "Ready",
    "Role",
    "Snapshot",
    "SnapshotMetadata",
    "SnapshotUnavailable",
    "SoftState",
    "Status",
    "Step",
    "Storage",
    "Unavailable",
    "UnknownDurableState",
    "VoteResult",
    "apply_change",
    "decode_change",
    "encode_change",
    "enter",
    "leave",
]

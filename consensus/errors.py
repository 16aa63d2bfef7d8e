"""What can go wrong in ordering, in classes that are never merged: what a peer sent, what the caller did, what the
disk says, and the ordinary "not now" of a proposal.
"""

from __future__ import annotations

from enum import Enum


class ConsensusError(Exception):
    """The root of everything raised here on purpose."""


class MessageRefused(ConsensusError):
    """A peer's message is malformed, or says what no honest peer could say. The log did not change.

    One code does not accuse who sent it: `term_jump` may come of a lie that a third member told the sender.
    `code` is stable and in snake case; the caller keeps the message as evidence and carries on.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class ChangeNotTaken(MessageRefused):
    """A leader sent a change of the membership that may not be, or that is not authorised: an honest one never does.

    Nothing goes on here until another leads, for what comes after the change cannot be taken either.
    """


class Misuse(ConsensusError):
    """The caller broke the contract of a verb: a bug in the program, not in the world."""


class UnknownDurableState(ConsensusError):
    """What is on disk contradicts itself. Fatal: stop, and find out what happened to the disk."""


class ChangeRefused(ConsensusError):
    """A change of the membership that may not be, whoever asks. Nothing was appended; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class DropReason(Enum):
    NO_LEADER = "no_leader"
    NOT_LEADER = "not_leader"
    UNCOMMITTED_LIMIT = "uncommitted_limit"
    LEADERSHIP_TRANSFER = "leadership_transfer"
    HALTED = "halted"
    # Of changes of the membership: one at a time, and none before the leader has committed an entry of its own term.
    CHANGE_PENDING = "change_pending"
    TERM_NOT_OPEN = "term_not_open"
    # Of reads.
    TOO_MANY_READS = "too_many_reads"
    LEADER_CHANGED = "leader_changed"
    NO_ANSWER = "no_answer"


class ProposalDropped(ConsensusError):
    """Nothing was appended; the caller may try again, or elsewhere. `leader` is who leads, as far as is known here."""

    def __init__(self, reason: DropReason, leader: str | None = None) -> None:
        super().__init__(f"proposal dropped: {reason.value}" + (f", leader is {leader}" if leader else ""))
        self.reason = reason
        self.leader = leader


class Compacted(ConsensusError):
    """The index asked for is older than the log: a snapshot stands in for it."""


class Unavailable(ConsensusError):
    """The index asked for is beyond the log."""


class SnapshotUnavailable(ConsensusError):
    """No snapshot can be had at the moment; it will be asked for again."""

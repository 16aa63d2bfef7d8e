"""One member of the group behind five verbs: tick, step, propose, ready, advance.

The caller owns the clock, the sockets and the disk. It calls `tick` at a steady pace, `step` for every message that
arrives, `propose` for what is to be ordered; and whenever `has_ready()`, it takes one `Ready` and

1. may send `messages` at once: nothing in them depends on this node's disk;
2. writes, in one atomic batch or in any order but the snapshot first: `snapshot`, `entries` (cutting the log on disk
   before the first of them), `hard_state`; and syncs if `must_sync`;
3. then, and only then, sends `messages_after_persist`;
4. takes `committed_entries` in order for applying (every one is on this node's own disk already), and installs
   `snapshot` into the state machine if there is one;
5. calls `advance(ready)`.

Between `ready` and `advance` the other verbs may be called: what they cause is in the next `Ready`. Applying may go on
elsewhere after `advance`, as long as it keeps the order. A crash may happen at any point; after it `Config.applied`
says how far the state machine got, and committed entries after that are handed out again. If the log on disk then
begins after what was applied (a crash between the two writes of a snapshot), the caller first brings the state machine
to `Storage.snapshot()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consensus.configuration import ConfigurationChange
from consensus.errors import DropReason, Misuse, ProposalDropped
from consensus.leadership import Leadership
from consensus.log import Storage
from consensus.messages import Entry, HardState, Message, MessageType, Snapshot
from consensus.progress import ProgressState
from consensus.quorum import Membership
from consensus.raft import Config, Raft, Role
from consensus.reads import DroppedRead, ReadState


@dataclass(frozen=True, slots=True)
class SoftState:
    """Worth knowing, not worth writing down."""

    leader_id: str | None
    role: Role


@dataclass(frozen=True, slots=True)
class Ready:
    """What has to be done now. See the module for the order."""

    soft_state: SoftState | None
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    committed_entries: tuple[Entry, ...]
    messages: tuple[Message, ...]
    messages_after_persist: tuple[Message, ...]
    must_sync: bool
    # What is in force now, if that is not what it was at the last Ready. It may be taken back: see `Status`.
    membership: Membership | None = None
    # Answers to `read_index`. Whoever has applied the index of a read state sees all that was committed when it was
    # asked; a dropped read has to be asked again.
    read_states: tuple[ReadState, ...] = ()
    dropped_reads: tuple[DroppedRead, ...] = ()


@dataclass(frozen=True, slots=True)
class FollowerStatus:
    match: int
    next: int
    state: ProgressState
    paused: bool
    inflight_messages: int
    # Ticks since anything was heard from it, counted from the election at the earliest.
    silent_ticks: int
    # Whether a member without a vote may be given one.
    caught_up: bool


@dataclass(frozen=True, slots=True)
class Status:
    id: str
    role: Role
    term: int
    vote: str | None
    leader_id: str | None
    committed_index: int
    applied_index: int
    stable_index: int
    first_index: int
    last_index: int
    membership: Membership
    # The entry that brought this membership, and whether it is known to be committed: until then it may be cut off.
    membership_index: int
    change_pending: bool
    # While leading: everybody else, the target of a transfer, and the authorities of which nobody was heard within an
    # election time-out. While there is such an authority, nothing new becomes committed.
    followers: Mapping[str, FollowerStatus]
    transferee: str | None
    missing_authorities: tuple[str, ...]


class RawNode:
    """See the module. Not thread-safe: one caller at a time."""

    __slots__ = ("_handed_hard_state", "_handed_membership", "_handed_soft_state", "_outstanding", "_raft")

    def __init__(self, config: Config, storage: Storage) -> None:
        self._raft = Raft(config, storage)
        self._handed_hard_state = HardState(self._raft.term, self._raft.vote, self._raft.log.committed)
        self._handed_soft_state = SoftState(None, Role.FOLLOWER)
        self._handed_membership = self._raft.membership
        self._outstanding: Ready | None = None

    # Input.

    def tick(self) -> None:
        """One tick of the caller's clock has passed."""
        self._raft.tick()

    def step(self, message: Message) -> None:
        """Take a message from a peer whose identity the caller has checked. Raises MessageRefused."""
        self._raft.step(message)

    def goes_on_from(self, index: int, term: int) -> bool:
        """Whether entries after this one would be looked at; otherwise an append with them is answered without."""
        log = self._raft.log
        return index >= log.committed and log.matches(index, term)

    def propose(self, data: bytes | Sequence[bytes]) -> int:
        """Order these bytes, each an entry of its own. Returns the index of the last; raises ProposalDropped.

        Being appended is no promise: the entries are ordered when they come out of `Ready.committed_entries`.
        """
        datas = [data] if isinstance(data, bytes) else list(data)
        if not datas or not all(datas):
            raise Misuse("proposal is empty: expected at least one byte in each entry, got none")
        return self._proposing().propose(datas)

    def _proposing(self) -> Leadership:
        raft = self._raft
        if raft.passive:
            raise ProposalDropped(DropReason.HALTED, raft.leader_id)
        if raft.leadership is None:
            raise ProposalDropped(DropReason.NOT_LEADER if raft.leader_id else DropReason.NO_LEADER, raft.leader_id)
        return raft.leadership

    def propose_change(self, change: ConfigurationChange) -> int:
        """Change the membership. Returns the index of the entry; raises ProposalDropped, or ChangeRefused.

        In force at once, here and wherever the entry is appended; done when it is committed and, if it has more than
        one step, the joint configuration is left, which the leader sees to. Until then the next is dropped as
        `change_pending`. Whoever is to vote is a learner first, and `caught_up`. A leader that takes its own vote away
        leads until the change is committed.
        """
        return self._proposing().propose_change(change)

    def read_index(self, context: bytes) -> None:
        """Ask what is committed now. The answer comes with this context, in `read_states` or in `dropped_reads`.

        Any node may ask: a follower asks the leader it knows. Raises ProposalDropped when there is none. A context
        is not used again while it waits.
        """
        raft = self._raft
        if raft.leader_id is None:
            raise ProposalDropped(DropReason.NO_LEADER)
        raft.reads.ask(context, raft.leader_id)
        if raft.leadership is None:
            raft.send(Message(MessageType.READ_INDEX, raft.leader_id, raft.id, raft.term, context=context))
        elif not raft.leadership.ask_read(raft.id, context):
            raft.reads.drop(context, DropReason.TOO_MANY_READS)

    def campaign(self) -> None:
        """Ask for leadership now, not after a time-out. Does nothing on a leader, a learner or a passive node."""
        if not self._raft.passive:
            self._raft.campaign()

    def set_passive(self, passive: bool = True) -> None:
        """For a node that no longer executes what is ordered: it follows, and leaves leading to the others.

        It keeps its copy of the log, acknowledges and votes as before, for a copy and a vote are about the log alone,
        and the others may need both to go on. It drops every proposal as `halted`, and does not campaign, not even when
        it is asked to take over. If it leads, it brings the others up to date and hands over to the first voter that
        has all of the log; it steps down if that one has not taken over within an election time-out.

        One exception, without which the group could stand still: when a candidate that lacks entries of ours has asked
        for our vote and nobody leads, it campaigns, passes those entries on, and hands over.

        Not written down: whoever starts the node again says it again.
        """
        self._raft.set_passive(passive=passive)

    def transfer_leadership(self, to: str) -> None:
        """Hand leadership to another voter. Proposals are dropped until it has, or an election time-out has passed."""
        raft = self._raft
        if raft.leadership is None:
            raise ProposalDropped(DropReason.NOT_LEADER if raft.leader_id else DropReason.NO_LEADER, raft.leader_id)
        raft.leadership.transfer(to)

    def report_unreachable(self, member: str) -> None:
        """The last message to this member was not delivered."""
        if self._raft.leadership is not None and member in self._raft.leadership.progress:
            self._raft.leadership.on_unreachable(member)

    def report_snapshot(self, member: str, ok: bool) -> None:
        """A snapshot sent to this member has been delivered, or has not."""
        if self._raft.leadership is not None and member in self._raft.leadership.progress:
            self._raft.leadership.on_snapshot_report(member, ok)

    def compact(self, index: int) -> int:
        """Let the storage forget the log up to `index`, which the state machine must have on disk.

        Goes less far where a follower that is keeping up still needs entries; one that is away will need a snapshot.
        How much of the log stays for such a one is the caller's choice: an index that is so much lower.
        Returns the index actually compacted to.
        """
        raft = self._raft
        log = raft.log
        if index > log.applied:
            raise Misuse(f"compaction of what was not applied: expected at most {log.applied}, got {index}")
        if log.pending_snapshot is not None:
            return log.first_index - 1
        if raft.leadership is not None:
            index = min(index, raft.leadership.compaction_floor())
        if index < log.first_index:
            return log.first_index - 1
        log.compact(index)
        raft.history.compact(index)
        return index

    # Output.

    def has_ready(self) -> bool:
        """Whether `ready` has anything to say. Never while one is outstanding."""
        if self._outstanding is not None:
            return False
        raft = self._raft
        log = raft.log
        return bool(
            raft.outbox
            or raft.outbox_after_persist
            or log.has_unwritten
            or log.pending_snapshot is not None
            or log.has_appliable
            or self._hard_state() != self._handed_hard_state
            or self._soft_state() != self._handed_soft_state
            or raft.membership is not self._handed_membership
            or raft.reads.has_news
        )

    def ready(self) -> Ready:
        if self._outstanding is not None:
            raise Misuse("ready called twice: advance the previous one first")
        raft = self._raft
        log = raft.log
        hard_state, soft_state = self._hard_state(), self._soft_state()
        previous = self._handed_hard_state
        entries = log.take_unwritten()
        snapshot = log.pending_snapshot
        ready = Ready(
            soft_state=soft_state if soft_state != self._handed_soft_state else None,
            hard_state=hard_state if hard_state != previous else None,
            entries=entries,
            snapshot=snapshot,
            committed_entries=log.appliable(raft.config.max_committed_bytes_per_ready),
            messages=tuple(raft.outbox),
            messages_after_persist=tuple(raft.outbox_after_persist),
            must_sync=bool(entries)
            or snapshot is not None
            or hard_state.term != previous.term
            or hard_state.vote != previous.vote,
            membership=raft.membership if raft.membership is not self._handed_membership else None,
            read_states=tuple(raft.reads.answered),
            dropped_reads=tuple(raft.reads.dropped),
        )
        if raft.reads.has_news:
            raft.reads.taken()
        self._handed_membership = raft.membership
        raft.outbox.clear()
        raft.outbox_after_persist.clear()
        self._handed_hard_state = hard_state
        self._handed_soft_state = soft_state
        self._outstanding = ready
        return ready

    def advance(self, ready: Ready) -> None:
        """All of `ready` is written, and synced if it had to be; its committed entries are taken."""
        if ready is not self._outstanding:
            raise Misuse("advance of a ready that is not outstanding")
        self._outstanding = None
        raft = self._raft
        log = raft.log
        if ready.snapshot is not None:
            log.snapshot_written(ready.snapshot)
        if ready.committed_entries:
            log.applied_to(ready.committed_entries[-1].index)
        if ready.entries:
            log.written(ready.entries[-1].index)
            if raft.leadership is not None:
                raft.leadership.on_written()
        if ready.hard_state is not None:
            raft.on_hard_state_written(ready.hard_state)

    def status(self) -> Status:
        raft = self._raft
        log, leadership = raft.log, raft.leadership
        followers: dict[str, FollowerStatus] = {}
        missing: tuple[str, ...] = ()
        if leadership is not None:
            for member, progress in leadership.progress.items():
                followers[member] = FollowerStatus(
                    match=progress.match,
                    next=progress.next,
                    state=progress.state,
                    paused=progress.blocked,
                    inflight_messages=len(progress.inflights),
                    silent_ticks=leadership.silent_ticks(member),
                    caught_up=leadership.is_caught_up(member),
                )
            patience = raft.config.election_timeout_ticks
            heard = {member for member, follower in followers.items() if follower.silent_ticks <= patience}
            missing = raft.membership.missing_authorities(heard | {raft.id})
        return Status(
            id=raft.id,
            role=raft.role,
            term=raft.term,
            vote=raft.vote,
            leader_id=raft.leader_id,
            committed_index=log.committed,
            applied_index=log.applied,
            stable_index=log.stable_index,
            first_index=log.first_index,
            last_index=log.last_index,
            membership=raft.membership,
            membership_index=raft.history.latest_index,
            change_pending=raft.change_pending,
            followers=followers,
            transferee=leadership.transferee if leadership is not None else None,
            missing_authorities=missing,
        )

    def _hard_state(self) -> HardState:
        raft = self._raft
        log = raft.log
        commit = self._handed_hard_state.commit
        if log.pending_snapshot is None:
            # Only what is on disk already, so that the parts of this Ready may be written in any order.
            commit = max(commit, min(log.committed, log.stable_index))
        return HardState(raft.term, raft.vote, commit)

    def _soft_state(self) -> SoftState:
        return SoftState(self._raft.leader_id, self._raft.role)

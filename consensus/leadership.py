"""What a node does while it leads, from the election it won to the term it loses: replicate, count, commit.

One object lives for one term of leadership; a follower has none. Thesis sections 3.5 (replication), 3.6.2 (only entries
of the own term are committed by counting), 3.10 (transfer), 6.2 (CheckQuorum), 10.2.1 (appends leave before the own
disk has the entry, which counts only when it has).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.errors import Compacted, DropReason, MessageRefused, Misuse, ProposalDropped, SnapshotUnavailable
from consensus.messages import (
    MAX_ENTRY_BYTES,
    MAX_INDEX,
    MAX_UNCOMMITTED_ENTRIES,
    Entry,
    EntryType,
    Message,
    MessageType,
)
from consensus.progress import Inflights, Progress, ProgressState
from consensus.quorum import VoteResult

if TYPE_CHECKING:
    from consensus.raft import Raft

# A snapshot whose arrival nobody reported is sent again after this many election time-outs.
SNAPSHOT_PATIENCE_ROUNDS = 10


class Leadership:
    """The leader's book: how far each member's disk is, and what is on its way to it."""

    __slots__ = (
        "_heartbeat_elapsed_ticks",
        "_match",
        "_raft",
        "_round_elapsed_ticks",
        "_round_start_tick",
        "_tick",
        "progress",
        "transferee",
    )

    def __init__(self, raft: Raft) -> None:
        config = raft.config
        self._raft = raft
        self._tick = 0
        self._round_start_tick = 0
        self._round_elapsed_ticks = 0
        self._heartbeat_elapsed_ticks = 0
        self.transferee: str | None = None
        # Everybody else, learners too.
        self.progress: dict[str, Progress] = {
            member: Progress(
                raft.log.last_index + 1, -1, Inflights(config.max_inflight_messages, config.max_inflight_bytes)
            )
            for member in sorted(raft.membership.members - {raft.id})
        }
        # The same `match`, ready for counting, with our own disk in it.
        self._match: dict[str, int] = dict.fromkeys(self.progress, 0)
        self._match[raft.id] = raft.log.stable_index

    # Time.

    def tick(self) -> None:
        """One tick as leader. May end the leadership: CheckQuorum (section 6.2)."""
        raft = self._raft
        self._tick += 1
        self._round_elapsed_ticks += 1
        self._heartbeat_elapsed_ticks += 1
        if self._round_elapsed_ticks >= raft.config.election_timeout_ticks:
            # Passive, and whoever was to take over did not: somebody has all of the log, let the others elect.
            if (raft.passive and self.transferee is not None) or not self._heard_quorum():
                raft.become_follower(raft.term, None)
                return
            self._next_round()
        if self._heartbeat_elapsed_ticks >= raft.config.heartbeat_ticks:
            self._heartbeat_elapsed_ticks = 0
            self.broadcast_heartbeat()

    def _heard_quorum(self) -> bool:
        heard = {member: progress.heard_tick >= self._round_start_tick for member, progress in self.progress.items()}
        heard[self._raft.id] = True
        return self._raft.membership.vote_result(heard) is VoteResult.WON

    def _next_round(self) -> None:
        self._round_elapsed_ticks = 0
        self._round_start_tick = self._tick
        # A transfer that took this long has failed; go on leading (section 3.10).
        self.transferee = None
        for progress in self.progress.values():
            if progress.state is ProgressState.SNAPSHOT:
                progress.waited_rounds += 1
                if progress.waited_rounds >= SNAPSHOT_PATIENCE_ROUNDS:
                    progress.pending_snapshot = 0
                    progress.become_probe()

    def silent_ticks(self, member: str) -> int:
        return self._tick - max(self.progress[member].heard_tick, 0)

    # Proposals.

    def propose(self, datas: list[bytes]) -> int:
        raft = self._raft
        if self.transferee is not None:
            raise ProposalDropped(DropReason.LEADERSHIP_TRANSFER, raft.id)
        size = 0
        for data in datas:
            if len(data) > MAX_ENTRY_BYTES:
                raise Misuse(f"proposal too large: expected at most {MAX_ENTRY_BYTES} bytes, got {len(data)}")
            size += len(data)
        limit = raft.config.max_uncommitted_bytes
        if len(datas) > MAX_UNCOMMITTED_ENTRIES or (len(datas) > 1 and size > limit):
            raise Misuse(
                f"too much in one proposal: expected at most {MAX_UNCOMMITTED_ENTRIES} entries of {limit} bytes, got"
                f" {len(datas)} of {size}"
            )
        # What earlier leaders left counts too: followers store no more than a multiple of this (`Raft._on_append`). One
        # entry always fits when nothing is waiting, however large it is.
        log = raft.log
        waiting_bytes = log.uncommitted_bytes
        too_many = log.last_index - log.committed + len(datas) > MAX_UNCOMMITTED_ENTRIES
        if too_many or (waiting_bytes and waiting_bytes + size > limit):
            raise ProposalDropped(DropReason.UNCOMMITTED_LIMIT, raft.id)
        self._append(datas)
        self.broadcast_append()
        return raft.log.last_index

    def open_term(self) -> None:
        """The empty entry with which a new leader commits what its predecessors left (section 6.4, 3.6.2)."""
        self._append([b""])
        self.broadcast_append()

    def _append(self, datas: list[bytes]) -> None:
        log, term = self._raft.log, self._raft.term
        index = log.last_index
        if index + len(datas) > MAX_INDEX:
            raise Misuse(f"log is full: expected at most {MAX_INDEX} entries")
        log.append([Entry(term, index + 1 + offset, EntryType.NORMAL, data) for offset, data in enumerate(datas)])

    # Sending.

    def broadcast_append(self) -> None:
        for member in self.progress:
            self.send_append(member)

    def broadcast_heartbeat(self) -> None:
        raft = self._raft
        for member, progress in self.progress.items():
            # Never a commit index beyond what the follower is known to have.
            commit = min(progress.match, raft.log.committed)
            raft.send(Message(MessageType.HEARTBEAT, member, raft.id, raft.term, commit=commit))

    def send_append(self, member: str, *, even_if_empty: bool = True) -> bool:
        """Send what the follower lacks, as far as its window allows. Empty: carries the commit index alone."""
        progress = self.progress[member]
        if progress.blocked:
            return False
        raft = self._raft
        log = raft.log
        previous = progress.next - 1
        try:
            previous_term = log.term(previous)
            entries: tuple[Entry, ...] = ()
            if not (progress.state is ProgressState.REPLICATE and progress.inflights.full):
                entries = log.slice(progress.next, log.last_index + 1, raft.config.max_append_bytes)
        except Compacted:
            return self._send_snapshot(member, progress)
        if not entries and not even_if_empty:
            return False
        raft.send(
            Message(MessageType.APPEND, member, raft.id, raft.term, previous_term, previous, entries, log.committed)
        )
        size = sum([len(entry.data) for entry in entries])
        progress.sent(len(entries), previous + len(entries), size)
        progress.sent_commit = log.committed
        return True

    def _send_snapshot(self, member: str, progress: Progress) -> bool:
        raft = self._raft
        if progress.heard_tick < self._round_start_tick:
            return False  # It is away: a snapshot would be thrown at nobody.
        try:
            snapshot = raft.log.snapshot()
        except SnapshotUnavailable:
            return False
        progress.become_snapshot(snapshot.metadata.index)
        raft.send(Message(MessageType.SNAPSHOT, member, raft.id, raft.term, snapshot=snapshot))
        return True

    # Answers.

    def on_append_response(self, message: Message) -> None:
        member = message.sender
        progress = self.progress[member]
        log = self._raft.log
        if message.index > log.last_index:
            raise MessageRefused(
                "acknowledges_unsent", f"{member} answers for index {message.index}, the log ends at {log.last_index}"
            )
        progress.heard_tick = self._tick
        if message.reject:
            hint = message.reject_hint
            if message.log_term > 0:
                hint = log.backtrack(min(hint, log.last_index), message.log_term)[0]
            if progress.rejected(message.index, hint):
                if progress.state is ProgressState.REPLICATE:
                    progress.become_probe()
                self.send_append(member)
            return
        was_blocked = progress.blocked
        news = progress.acknowledged(message.index)
        if not news and not (progress.state is ProgressState.PROBE and progress.match == message.index):
            return
        if progress.state is ProgressState.PROBE:
            progress.become_replicate()
        elif progress.state is ProgressState.SNAPSHOT:
            # It has all that was compacted, by the snapshot or without it.
            if progress.match + 1 >= log.first_index:
                progress.become_replicate()
        else:
            progress.inflights.free_to(message.index)
        self._match[member] = progress.match
        if self._maybe_commit():
            self.broadcast_append()
        elif was_blocked:
            # It may have missed a commit index while its window was full.
            self.send_append(member, even_if_empty=progress.sent_commit < log.committed)
        while self.send_append(member, even_if_empty=False):
            pass
        self._maybe_hand_over(member)

    def on_heartbeat_response(self, message: Message) -> None:
        progress = self.progress[message.sender]
        progress.heard_tick = self._tick
        progress.paused = False
        if progress.match < self._raft.log.last_index or progress.state is ProgressState.PROBE:
            self.send_append(message.sender)

    def on_written(self) -> None:
        """Our own disk has caught up: now, and only now, it counts."""
        raft = self._raft
        self._match[raft.id] = raft.log.stable_index
        if self._maybe_commit():
            self.broadcast_append()

    def _maybe_commit(self) -> bool:
        log = self._raft.log
        index = self._raft.membership.committed_index(self._match)
        if index <= log.committed:
            return False
        # Entries of earlier terms become committed only together with one of ours (section 3.6.2, figure 3.7).
        if log.term(index) != self._raft.term:
            return False
        log.committed = index
        return True

    def on_unreachable(self, member: str) -> None:
        progress = self.progress[member]
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()  # What was on its way is probably lost.

    def on_snapshot_report(self, member: str, ok: bool) -> None:
        progress = self.progress[member]
        if progress.state is not ProgressState.SNAPSHOT:
            return
        if not ok:
            progress.pending_snapshot = 0
        progress.become_probe()
        # Give it until its next heartbeat to load what it got, or to come back.
        progress.paused = True

    # Transfer (section 3.10).

    def transfer(self, to: str) -> None:
        raft = self._raft
        if to not in raft.membership.electors:
            raise Misuse(
                f"leadership goes to a voter only: expected one of {sorted(raft.membership.electors)}, got {to}"
            )
        if to == raft.id or to == self.transferee:
            return
        self.transferee = to
        # A whole round from now for the transfer to succeed in; meanwhile nobody is taken for lost.
        self._round_elapsed_ticks = 0
        self._maybe_hand_over(to)
        if self.progress[to].match < raft.log.last_index:
            self.send_append(to)

    def retire(self) -> None:
        """Lead no longer than until a voter has all of the log: without it, who lacks entries of ours could not win."""
        raft = self._raft
        heard_last = sorted(
            raft.membership.electors - {raft.id}, key=lambda member: self.progress[member].heard_tick, reverse=True
        )
        for member in heard_last:
            self._maybe_hand_over(member)

    def _maybe_hand_over(self, member: str) -> None:
        raft = self._raft
        if self.progress[member].match != raft.log.last_index:
            return
        if self.transferee == member:
            raft.send(Message(MessageType.TIMEOUT_NOW, member, raft.id, raft.term))
        elif self.transferee is None and raft.passive and member in raft.membership.electors:
            self.transfer(member)

    def compaction_floor(self) -> int:
        """The log up to here is needed by no follower that is being replicated to."""
        floor = self._raft.log.committed
        for progress in self.progress.values():
            if progress.state is ProgressState.REPLICATE and progress.match < floor:
                floor = progress.match
        return floor

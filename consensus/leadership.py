"""What a node does while it leads, from the election it won to the term it loses: replicate, count, commit.

One object lives for one term of leadership; a follower has none. Thesis sections 3.5 (replication), 3.6.2 (only entries
of the own term are committed by counting), 3.10 (transfer), 4.1 to 4.3 (changes of the membership), 6.2 (CheckQuorum),
6.4 (reads), 10.2.1 (appends leave before the own disk has the entry, which counts only when it has).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.configuration import LEAVE_JOINT, Action, ConfigurationChange, encode_change, enter, leave
from consensus.errors import (
    ChangeRefused,
    Compacted,
    DropReason,
    MessageRefused,
    Misuse,
    ProposalDropped,
    SnapshotUnavailable,
)
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
from consensus.reads import READ_PATIENCE_ROUNDS, ReadRounds

if TYPE_CHECKING:
    from consensus.quorum import Membership
    from consensus.raft import Raft

# A snapshot whose arrival nobody reported is sent again after this many election time-outs.
SNAPSHOT_PATIENCE_ROUNDS = 10
# What comes after a snapshot is kept for whoever was told to get it, until it has been silent for so many time-outs:
# getting it and starting from it takes time, and who then finds the log gone on without it would begin again for ever.
SNAPSHOT_GRACE_ROUNDS = 60


class Leadership:
    """The leader's book: how far each member's disk is, and what is on its way to it."""

    __slots__ = (
        "_changing",
        "_heartbeat_elapsed_ticks",
        "_match",
        "_opened",
        "_opening_index",
        "_raft",
        "_reads",
        "_round_elapsed_ticks",
        "_round_start_tick",
        "_tick",
        "_voteless",
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
        # The entry that opens our term: once it is committed, we know what is committed.
        self._opening_index = raft.log.last_index + 1
        self._opened = False
        self._reads = ReadRounds(raft, READ_PATIENCE_ROUNDS * config.election_timeout_ticks)
        # Everybody else, learners too, and until it is committed those whom the last change has removed.
        self.progress: dict[str, Progress] = {}
        # The same `match`, ready for counting, with our own disk in it.
        self._match: dict[str, int] = {raft.id: raft.log.stable_index}
        self._follow_membership(heard_tick=-1)

    def _follow_membership(self, heard_tick: int) -> None:
        """Replicate to whoever is to have the log now. Newcomers count as heard at `heard_tick`."""
        raft, config = self._raft, self._raft.config
        audience = raft.membership.members
        if raft.change_pending:
            # Whoever is removed hears of it, and then campaigns no more (section 4.2.3 is for those who do not).
            audience |= raft.history.previous.members
        for member in self.progress.keys() - audience:
            del self.progress[member], self._match[member]
        for member in sorted(audience - self.progress.keys() - {raft.id}):
            self.progress[member] = Progress(
                raft.log.last_index + 1, heard_tick, Inflights(config.max_inflight_messages, config.max_inflight_bytes)
            )
            self._match[member] = 0
            self.progress[member].catch_up_target = raft.log.last_index
            self.progress[member].catch_up_start_tick = self._tick
        self._changing = raft.change_pending or raft.membership.outgoing is not None
        self._voteless = [member for member in self.progress if member not in raft.membership.electors]
        if self.transferee is not None and self.transferee not in raft.membership.electors:
            self.transferee = None

    # Time.

    def tick(self) -> None:
        """One tick as leader. May end the leadership: CheckQuorum (section 6.2)."""
        raft = self._raft
        self._tick += 1
        self._round_elapsed_ticks += 1
        self._heartbeat_elapsed_ticks += 1
        for member in self._voteless:
            self._next_catch_up(member)
        if self._round_elapsed_ticks >= raft.config.election_timeout_ticks:
            # Passive, and whoever was to take over did not: somebody has all of the log, let the others elect.
            if (raft.passive and self.transferee is not None) or not self._heard_quorum():
                raft.become_follower(raft.term, None)
                return
            self._next_round()
            if raft.leadership is not self:
                return
        if self._heartbeat_elapsed_ticks >= raft.config.heartbeat_ticks:
            self._heartbeat_elapsed_ticks = 0
            self._reads.forget(self._tick)
            self._reads.begin()
            self.broadcast_heartbeat()
            self._reads.confirm()

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
        self._on_commit()

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

    def propose_change(self, change: ConfigurationChange) -> int:
        """Append a change of the membership, which is in force from then on (section 4.1)."""
        raft = self._raft
        if self.transferee is not None:
            raise ProposalDropped(DropReason.LEADERSHIP_TRANSFER, raft.id)
        # The erratum to section 4.2: two leaders of different terms, each with a change of its own, could find
        # majorities that do not meet. An entry of our own term in between makes the older change impossible.
        if not self._opened:
            raise ProposalDropped(DropReason.TERM_NOT_OPEN, raft.id)
        if raft.change_pending or raft.membership.outgoing is not None:
            raise ProposalDropped(DropReason.CHANGE_PENDING, raft.id)
        after = enter(raft.membership, change)
        for step in change.steps:
            if step.action in (Action.ADD_VOTER, Action.ADD_WITNESS) and step.member not in raft.membership.electors:
                self._verify_caught_up(step.member)
        try:
            raft.verify_authorised(change, raft.membership)
        except MessageRefused as error:
            raise ChangeRefused(error.code, error.detail) from error
        self._append_change(change, after)
        return raft.log.last_index

    def _verify_caught_up(self, member: str) -> None:
        """A new voter has the log before it counts: until then nothing could be committed (section 4.2.1)."""
        progress = self.progress.get(member)
        if progress is None:
            raise ChangeRefused("not_caught_up", f"{member} is no learner: expected it to have the log before it votes")
        if not self.is_caught_up(member):
            raise ChangeRefused(
                "not_caught_up",
                f"{member} has the log up to {progress.match} of {self._raft.log.last_index}, and is not keeping up",
            )

    def is_caught_up(self, member: str) -> bool:
        """Whether it has all that we had at some moment less than an election time-out ago (section 4.2.1)."""
        progress = self.progress[member]
        since = self._tick - self._raft.config.election_timeout_ticks
        if progress.state is not ProgressState.REPLICATE or progress.heard_tick < since:
            return False
        return progress.match >= self._raft.log.last_index or progress.caught_up_tick > max(since, -1)

    def _next_catch_up(self, member: str) -> None:
        """A round of catching up: what was in our log when it began has arrived, so the next begins."""
        progress = self.progress[member]
        if progress.match >= progress.catch_up_target:
            progress.caught_up_tick = progress.catch_up_start_tick
            progress.catch_up_target = self._raft.log.last_index
            progress.catch_up_start_tick = self._tick

    def _append_change(self, change: ConfigurationChange, after: Membership) -> None:
        raft = self._raft
        self._append([encode_change(change)], EntryType.CONFIGURATION)
        raft.history.append(raft.log.last_index, after)
        raft.membership = after
        self._follow_membership(heard_tick=self._tick)
        self.broadcast_append()

    def _on_commit(self) -> None:
        """The commit index moved, or may be looked at again: what waited for that happens."""
        raft = self._raft
        if not self._opened:
            if raft.log.committed < self._opening_index:
                return
            self._opened = True
            self._reads.open()
            self._begin_reads()
        if not self._changing or raft.change_pending:
            return
        if raft.membership.outgoing is None:
            self._complete_change()
        elif self.transferee is None and not raft.passive:
            # Whoever leads when the joint configuration is committed leaves it (section 4.3), or whoever leads next.
            self._append_change(LEAVE_JOINT, leave(raft.membership))

    def _complete_change(self) -> None:
        """The change is committed, and all have been told: who was removed is done, and if it is us, steps down."""
        raft = self._raft
        self._follow_membership(heard_tick=self._tick)
        if raft.id in raft.membership.electors:
            return
        # Section 4.2.2. So that nobody has to wait for a time-out, the first that has all of the log takes over.
        for member in sorted(raft.membership.electors):
            if self.progress[member].match == raft.log.last_index:
                raft.send(Message(MessageType.TIMEOUT_NOW, member, raft.id, raft.term))
                break
        raft.become_follower(raft.term, None)

    def open_term(self) -> None:
        """The empty entry with which a new leader commits what its predecessors left (section 6.4, 3.6.2)."""
        self._append([b""])
        self.broadcast_append()

    def _append(self, datas: list[bytes], kind: EntryType = EntryType.NORMAL) -> None:
        log, term = self._raft.log, self._raft.term
        index = log.last_index
        if index + len(datas) > MAX_INDEX:
            raise Misuse(f"log is full: expected at most {MAX_INDEX} entries")
        log.append([Entry(term, index + 1 + offset, kind, data) for offset, data in enumerate(datas)])

    # Sending.

    def broadcast_append(self) -> None:
        for member in self.progress:
            self.send_append(member)

    def broadcast_heartbeat(self) -> None:
        raft = self._raft
        context = self._reads.context
        for member, progress in self.progress.items():
            # Never a commit index beyond what the follower is known to have.
            commit = min(progress.match, raft.log.committed)
            raft.send(Message(MessageType.HEARTBEAT, member, raft.id, raft.term, commit=commit, context=context))

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
        progress = self.progress.get(member)
        if progress is None:
            return  # It was removed, and still speaks.
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
            self._tell_commit()
            if self._raft.leadership is not self:
                return
        elif was_blocked:
            # It may have missed a commit index while its window was full.
            self.send_append(member, even_if_empty=progress.sent_commit < log.committed)
        if member not in self.progress:
            return  # Its removal is committed.
        while self.send_append(member, even_if_empty=False):
            pass
        self._maybe_hand_over(member)

    def on_heartbeat_response(self, message: Message) -> None:
        progress = self.progress.get(message.sender)
        if progress is None:
            return
        progress.heard_tick = self._tick
        progress.paused = False
        if message.context:
            self._reads.heard(message.sender, message.context)
            self._reads.confirm()
            self._begin_reads()
        if progress.match < self._raft.log.last_index or progress.state is ProgressState.PROBE:
            self.send_append(message.sender)

    def on_written(self) -> None:
        """Our own disk has caught up: now, and only now, it counts."""
        raft = self._raft
        self._match[raft.id] = raft.log.stable_index
        if self._maybe_commit():
            self._tell_commit()

    def _tell_commit(self) -> None:
        self.broadcast_append()
        self._on_commit()

    # Reads (section 6.4).

    def ask_read(self, asker: str, context: bytes) -> bool:
        """Answer `asker` when a quorum has confirmed that we lead. Returns whether there was room for it."""
        if not self._reads.ask(asker, context, self._tick, opened=self._opened):
            return False
        self._begin_reads()
        return True

    def _begin_reads(self) -> None:
        if self._reads.begin():
            self.broadcast_heartbeat()
            self._reads.confirm()

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
        """The log up to here is needed by no follower that is being replicated to, or that gets a snapshot to be."""
        floor = self._raft.log.committed
        heard_since = self._tick - SNAPSHOT_GRACE_ROUNDS * self._raft.config.election_timeout_ticks
        for progress in self.progress.values():
            if progress.state is ProgressState.REPLICATE:
                floor = min(floor, progress.match)
            elif progress.snapshot_index and progress.heard_tick >= heard_since:
                floor = min(floor, progress.snapshot_index)
        return floor

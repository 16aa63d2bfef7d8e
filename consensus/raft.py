"""The Raft core: terms, votes, roles, and what a follower does. No clock, no socket, no thread, no disk.

Follows Ongaro's thesis (*Consensus: Bridging Theory and Practice*, 2014): chapter 3, section 9.6 (PreVote), section 6.2
(CheckQuorum and the lease that goes with it), section 3.10 (transfer). Both PreVote and CheckQuorum are always on: a
validator that was cut off must not depose a leader that the others hear, and a leader that hears no majority must
not go on telling clients that it leads.

Promises: at most one leader in a term; nothing is answered before `Ready` had it written; nothing is committed
but by the rule of `consensus.quorum`. Does not promise anything against a majority that lies: a lying member can
delay, and is refused with `MessageRefused` where its lie shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from consensus.configuration import (
    MAX_CHANGE_BYTES,
    ConfigurationChange,
    ConfigurationHistory,
    apply_change,
    decode_change,
)
from consensus.errors import ChangeNotTaken, ChangeRefused, DropReason, MessageRefused, Misuse, UnknownDurableState
from consensus.leadership import Leadership
from consensus.log import Log, Storage
from consensus.messages import (
    MAX_TERM,
    MAX_UNCOMMITTED_ENTRIES,
    TRANSFER,
    WAITS_FOR_DISK,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    verify_message,
)
from consensus.quorum import Membership, VoteResult
from consensus.reads import READ_PATIENCE_ROUNDS, Reads

# How far one message may move our term. Terms end at MAX_TERM and are never taken back, so a liar who names the last of
# them must not be believed: in it nobody can ever campaign again. By steps it is nine million million messages away.
# Honest terms grow by one an election, and PreVote lets nobody who is cut off count on by itself, so no honest node is
# a step ahead, however long another was away. Unless a liar drove it there, step by step: hence a message from further
# ahead moves us by one step although it is refused. The two could never speak again otherwise; so they meet soon.
MAX_TERM_JUMP = 1_000_000

_CONFIGURATION = EntryType.CONFIGURATION


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Config:
    """What a node is told when it starts. Sizes are of the data of entries."""

    id: str
    # Only its spread matters: nodes may share a seed, the id is mixed in.
    seed: int
    # A follower campaigns after election_timeout_ticks .. 2 * election_timeout_ticks - 1 without a leader.
    election_timeout_ticks: int = 10
    heartbeat_ticks: int = 1
    # The last index that the state machine has applied, from its own disk.
    applied: int = 0
    max_append_bytes: int = 1024 * 1024
    max_inflight_messages: int = 64
    max_inflight_bytes: int = 16 * 1024 * 1024
    # What a leader proposes before it is committed. A follower stores up to twice its own: let all have about the same.
    max_uncommitted_bytes: int = 64 * 1024 * 1024
    max_committed_bytes_per_ready: int = 4 * 1024 * 1024
    max_tail_bytes: int = 8 * 1024 * 1024
    # Whether this change may be made to this membership: the leader asks before it proposes, every follower before it
    # takes the entry. Raises MessageRefused if not; must say the same of the same arguments everywhere. Not asked about
    # what is on disk already, nor about the end of a joint configuration, which its beginning allowed. None: no change
    # is authorised.
    authorise: Callable[[ConfigurationChange, Membership], None] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_ticks < self.election_timeout_ticks:
            raise Misuse(
                "heartbeats must be more frequent than elections: expected 0 < heartbeat_ticks <"
                f" election_timeout_ticks, got {self.heartbeat_ticks} and {self.election_timeout_ticks}"
            )
        for name in (
            "max_append_bytes",
            "max_inflight_messages",
            "max_inflight_bytes",
            "max_uncommitted_bytes",
            "max_committed_bytes_per_ready",
            "max_tail_bytes",
        ):
            if getattr(self, name) <= 0:
                raise Misuse(f"{name} must be positive, got {getattr(self, name)}")


class Raft:
    """One member. `RawNode` is the door; nothing outside this package calls in here, except tests that look."""

    __slots__ = (
        "_election_elapsed_ticks",
        "_log_wanted",
        "_random",
        "_timeout_ticks",
        "_votes",
        "config",
        "history",
        "id",
        "leader_id",
        "leadership",
        "log",
        "membership",
        "outbox",
        "outbox_after_persist",
        "passive",
        "reads",
        "role",
        "term",
        "vote",
    )

    def __init__(self, config: Config, storage: Storage) -> None:
        hard_state, membership = storage.initial_state()
        self.config = config
        self.id = config.id
        self.history = _read_history(storage, membership)
        # What is in force: the newest in the log, committed or not (section 4.1). We need not be in it: a node that is
        # to join follows first, and one that was removed still has to learn so.
        self.membership: Membership = self.history.latest
        # A snapshot is of committed entries only.
        commit = max(hard_state.commit, storage.first_index() - 1)
        self.log = Log(
            storage,
            commit=commit,
            applied=config.applied,
            max_tail_bytes=config.max_tail_bytes,
            max_uncommitted_bytes=config.max_uncommitted_bytes,
        )
        if hard_state.term == 0 and (hard_state.vote is not None or hard_state.commit > 0):
            raise UnknownDurableState(f"a vote or a commit without a term: {hard_state}")
        self.term = hard_state.term
        self.vote = hard_state.vote
        if self.log.last_term > self.term:
            # A torn write: the entries of a later term reached the disk, the term did not. That term has begun; no vote
            # in it can have left this node, for none leaves before it is on disk.
            self.term, self.vote = self.log.last_term, None
        self.role = Role.FOLLOWER
        self.leader_id: str | None = None
        self.leadership: Leadership | None = None
        self.passive = False
        # Somebody who lacks entries of ours has asked for our vote since we last knew a leader.
        self._log_wanted = False
        self.outbox: list[Message] = []
        self.outbox_after_persist: list[Message] = []
        self.reads = Reads(READ_PATIENCE_ROUNDS * config.election_timeout_ticks)
        self._votes: dict[str, bool] = {}
        self._random = random.Random(f"{config.seed}/{config.id}")
        self._election_elapsed_ticks = 0
        self._timeout_ticks = 0
        self._draw_timeout()

    # Sending.

    def send(self, message: Message) -> None:
        (self.outbox_after_persist if message.type in WAITS_FOR_DISK else self.outbox).append(message)

    # Roles.

    def _draw_timeout(self) -> None:
        ticks = self.config.election_timeout_ticks
        self._election_elapsed_ticks = 0
        self._timeout_ticks = self._random.randrange(ticks, 2 * ticks)

    def _enter_term(self, term: int) -> None:
        if term != self.term:
            self.term = term
            self.vote = None
        self._votes = {}
        self.leadership = None
        if self.reads:
            self.reads.drop_all(DropReason.LEADER_CHANGED)
        self._draw_timeout()

    def become_follower(self, term: int, leader_id: str | None) -> None:
        self._enter_term(term)
        self.role = Role.FOLLOWER
        self.leader_id = leader_id
        if leader_id is not None:
            self._log_wanted = False

    def _become_leader(self) -> None:
        self._enter_term(self.term)
        self.role = Role.LEADER
        self.leader_id = self.id
        self.leadership = Leadership(self)
        self._log_wanted = False
        self.leadership.open_term()

    @property
    def promotable(self) -> bool:
        """Learners never campaign, nor do those outside, nor does a node whose log is a snapshot still being written.

        Whom a change makes a learner, or removes, does while it is not known to be committed: it may be the only one
        whose log is long enough to lead (section 4.2.2, figure 4.6). Its own vote does not count then.

        A passive node does only where nothing could go on otherwise: it has entries that a candidate lacks, so that
        candidate cannot have its vote, and may find no majority without it. It then leads to pass them on.
        """
        if self.passive and not self._log_wanted:
            return False
        if self.log.pending_snapshot is not None:
            return False
        return self.id in self.membership.electors or (
            self.change_pending and self.id in self.history.previous.electors
        )

    @property
    def change_pending(self) -> bool:
        """Whether the newest change of the membership is not known to be committed."""
        return self.history.latest_index > self.log.committed

    def set_passive(self, *, passive: bool) -> None:
        if passive == self.passive:
            return
        self.passive = passive
        if not passive:
            return
        if self.leadership is not None:
            self.leadership.retire()
        elif self.role is not Role.FOLLOWER:
            # Votes that still arrive for us no longer make us lead. Ours, for us, stays given: one a term.
            self.become_follower(self.term, None)

    def campaign(self, *, pre_vote: bool = True, transfer: bool = False) -> None:
        """Ask for votes: first whether one would get them (section 9.6), unless the leader has asked for this."""
        if self.role is Role.LEADER or not self.promotable or self.term >= MAX_TERM:
            return
        if pre_vote:
            self._enter_term(self.term)
            self.role = Role.PRE_CANDIDATE
            kind, term = MessageType.PRE_VOTE, self.term + 1
        else:
            self._enter_term(self.term + 1)
            self.role = Role.CANDIDATE
            self.vote = self.id
            kind, term = MessageType.VOTE, self.term
        self.leader_id = None
        log = self.log
        context = TRANSFER if transfer else b""
        for voter in sorted(self.membership.electors - {self.id}):
            self.send(Message(kind, voter, self.id, term, log.last_term, log.last_index, context=context))
        if pre_vote:
            self._count_vote(self.id, granted=True)  # Promises nothing, so need not be on disk.

    def on_hard_state_written(self, hard_state: HardState) -> None:
        """Our vote for ourselves counts once it is on disk, as everybody else's does."""
        if self.role is Role.CANDIDATE and hard_state.term == self.term and hard_state.vote == self.id:
            self._count_vote(self.id, granted=True)

    def _count_vote(self, voter: str, *, granted: bool) -> None:
        self._votes.setdefault(voter, granted)
        result = self.membership.vote_result(self._votes)
        if result is VoteResult.WON:
            if self.role is Role.PRE_CANDIDATE:
                self.campaign(pre_vote=False)
            else:
                self._become_leader()
        elif result is VoteResult.LOST:
            self.become_follower(self.term, None)

    # Time.

    def tick(self) -> None:
        self.reads.tick()
        if self.leadership is not None:
            self.leadership.tick()
            return
        self._election_elapsed_ticks += 1
        if self._election_elapsed_ticks >= self._timeout_ticks and self.promotable:
            self.campaign()

    @property
    def in_lease(self) -> bool:
        """A leader is heard: no vote for anybody else yet (section 4.2.3)."""
        if self.leadership is not None:
            return True
        return self.leader_id is not None and self._election_elapsed_ticks < self.config.election_timeout_ticks

    # Messages.

    def step(self, message: Message) -> None:
        """Messages are taken without a look at the membership, as section 4.1 has it: a new member does not know yet
        who leads it, and a candidate may know of a change that we do not. Answers of those outside count for nothing.
        """
        verify_message(message)
        if message.to != self.id:
            raise MessageRefused("not_for_us", f"expected a message to {self.id}, got one to {message.to}")
        if message.sender == self.id:
            raise MessageRefused("unknown_sender", f"{message.sender} is ourselves")
        kind = message.type
        if message.term > self.term:
            if not self._accept_later_term(message):
                return
        elif message.term < self.term:
            self._answer_earlier_term(message)
            return
        if kind is MessageType.APPEND_RESPONSE:
            if self.leadership is not None:
                self.leadership.on_append_response(message)
        elif kind is MessageType.APPEND:
            self._follow(message)
            self._on_append(message)
        elif kind is MessageType.HEARTBEAT:
            self._follow(message)
            self._on_heartbeat(message)
        elif kind is MessageType.HEARTBEAT_RESPONSE:
            if self.leadership is not None:
                self.leadership.on_heartbeat_response(message)
        elif kind is MessageType.VOTE or kind is MessageType.PRE_VOTE:
            self._on_vote_request(message)
        elif kind is MessageType.VOTE_RESPONSE:
            if self.role is Role.CANDIDATE:
                self._count_vote(message.sender, granted=not message.reject)
        elif kind is MessageType.PRE_VOTE_RESPONSE:
            # A grant names the term that the campaign would have; a late one of an earlier campaign says nothing.
            if self.role is Role.PRE_CANDIDATE and (message.reject or message.term == self.term + 1):
                self._count_vote(message.sender, granted=not message.reject)
        elif kind is MessageType.SNAPSHOT:
            self._follow(message)
            self._on_snapshot(message)
        elif kind is MessageType.TIMEOUT_NOW:
            self._on_timeout_now(message)
        elif kind is MessageType.READ_INDEX:
            self._on_read_index(message)
        elif kind is MessageType.READ_INDEX_RESPONSE and message.sender == self.leader_id:
            if message.reject:
                self.reads.drop(message.context, DropReason.LEADER_CHANGED)
            else:
                self.reads.answer(message.context, message.index)

    def _accept_later_term(self, message: Message) -> bool:
        """Move to a later term where the message proves that it has begun. False: the message is ignored."""
        kind = message.type
        if kind is MessageType.VOTE or kind is MessageType.PRE_VOTE:
            if self.in_lease and message.context != TRANSFER:
                return False
            if kind is MessageType.PRE_VOTE:
                return True  # A pre-vote asks about a term that has not begun.
        elif kind is MessageType.PRE_VOTE_RESPONSE and not message.reject:
            return True  # Nor does a grant for one.
        if message.term - self.term > MAX_TERM_JUMP:
            self.become_follower(self.term + MAX_TERM_JUMP, None)
            raise MessageRefused(
                "term_jump",
                f"{message.sender} says term {message.term}: moved on by {MAX_TERM_JUMP} to {self.term}, no further",
            )
        from_leader = kind in (MessageType.APPEND, MessageType.HEARTBEAT, MessageType.SNAPSHOT)
        self.become_follower(message.term, message.sender if from_leader else None)
        return True

    def _answer_earlier_term(self, message: Message) -> None:
        """Tell a leader or a candidate of the past that time has gone on; it would never know otherwise.

        PreVote and CheckQuorum make this necessary: a node that came back in a later term is not listened to, and would
        wait for ever for a leader of its own term.
        """
        kind = message.type
        if kind in (MessageType.APPEND, MessageType.HEARTBEAT, MessageType.SNAPSHOT):
            self.send(Message(MessageType.APPEND_RESPONSE, message.sender, self.id, self.term))
        elif kind is MessageType.PRE_VOTE:
            self.send(Message(MessageType.PRE_VOTE_RESPONSE, message.sender, self.id, self.term, reject=True))
        elif kind is MessageType.VOTE:
            self.send(Message(MessageType.VOTE_RESPONSE, message.sender, self.id, self.term, reject=True))

    def _on_vote_request(self, message: Message) -> None:
        pre_vote = message.type is MessageType.PRE_VOTE
        answer = MessageType.PRE_VOTE_RESPONSE if pre_vote else MessageType.VOTE_RESPONSE
        free = (
            self.vote == message.sender
            or (self.vote is None and self.leader_id is None)
            or (pre_vote and message.term > self.term)
        )
        if free and self.log.is_up_to_date(message.index, message.log_term):
            # A grant carries the term of the request: for a pre-vote that is the term to come.
            self.send(Message(answer, message.sender, self.id, message.term))
            if not pre_vote:
                self.vote = message.sender
                self._election_elapsed_ticks = 0
        else:
            self.send(Message(answer, message.sender, self.id, self.term, reject=True))
            if not self.log.is_up_to_date(message.index, message.log_term):
                self._log_wanted = True

    def _on_timeout_now(self, message: Message) -> None:
        """The leader wants us to take over (section 3.10): at once and without a pre-vote, it knows of it."""
        if self.leader_id is None:
            return  # We asked for votes meanwhile, or this is late: an election is on its way in any case.
        if message.sender != self.leader_id:
            raise MessageRefused("not_the_leader", f"{message.sender} hands over, but the leader is {self.leader_id}")
        if not self.passive:
            self.campaign(pre_vote=False, transfer=True)

    # Following.

    def _follow(self, message: Message) -> None:
        """Whoever sends this leads the present term."""
        if self.leader_id != message.sender:
            if self.leader_id is not None:
                raise MessageRefused(
                    "second_leader", f"{message.sender} leads term {self.term}, but so does {self.leader_id}"
                )
            self.become_follower(self.term, message.sender)
        self._election_elapsed_ticks = 0

    def _on_append(self, message: Message) -> None:
        log = self.log
        index = message.index
        if log.first_index - 1 <= index <= log.committed and log.term(index) != message.log_term:
            raise MessageRefused(
                "contradicts_committed",
                f"{message.sender} has term {message.log_term} at index {index}, committed there is {log.term(index)}",
            )
        if index < log.committed:
            # Late or doubled: all up to our commit index is here, and cannot be otherwise.
            self._acknowledge(message, log.committed)
            return
        if not log.matches(index, message.log_term):
            hint, hint_term = log.backtrack(min(index, log.last_index), message.log_term)
            self.send(
                Message(
                    MessageType.APPEND_RESPONSE,
                    message.sender,
                    self.id,
                    self.term,
                    log_term=hint_term,
                    index=index,
                    reject=True,
                    reject_hint=hint,
                )
            )
            return
        entries = message.entries
        if entries:
            position = log.first_conflict(entries) if index < log.last_index else 0
            if position < len(entries):
                new = entries[position:] if position else entries
                self._verify_room(message, new[0].index - 1)
                first = new[0].index
                changes: list[tuple[int, Membership]] = []
                if [entry for entry in new if entry.type is _CONFIGURATION]:
                    changes = self._verify_changes(message, new)
                log.replace(new)
                if changes or self.history.latest_index >= first:
                    self.history.truncate(first - 1)
                    for at, membership in changes:
                        self.history.append(at, membership)
                    self.membership = self.history.latest
        matched = index + len(entries)
        # Beyond what this message shows we may have entries that the leader does not have.
        log.committed = max(log.committed, min(message.commit, matched))
        self._acknowledge(message, matched)

    def _verify_changes(self, message: Message, entries: Sequence[Entry]) -> list[tuple[int, Membership]]:
        """What the changes of the membership among these entries lead to, by index. Raises MessageRefused.

        The leader has seen to all of this; a leader that lies has not.
        """
        changes: list[tuple[int, Membership]] = []
        for entry in entries:
            if entry.type is not _CONFIGURATION:
                continue
            before = changes[-1][1] if changes else self.history.at(entries[0].index - 1)
            try:
                change = decode_change(entry.data)
                after = apply_change(before, change)
                if change.steps:
                    self.verify_authorised(change, before)
            except (ChangeRefused, MessageRefused) as error:
                raise ChangeNotTaken(error.code, f"{message.sender} has at {entry.index}: {error.detail}") from error
            changes.append((entry.index, after))
        return changes

    def verify_authorised(self, change: ConfigurationChange, before: Membership) -> None:
        if self.config.authorise is None:
            raise MessageRefused("unauthorised", "no change of the membership is authorised here")
        self.config.authorise(change, before)

    def _verify_room(self, message: Message, matched: int) -> None:
        """Store no more than a leader may have proposed without committing it: our disk is not a liar's to fill.

        An honest leader stays below half of this, with its commit index as it is in the message. What was on disk when
        we started does not count: the note of what of it was committed may be lost, here and at the leader. A follower
        that lacks much more than that, too, may meet this until others have told the leader what is committed; the
        leader sends again what was refused.
        """
        log = self.log
        log.committed = max(log.committed, min(message.commit, matched))
        count, size = log.unvouched(matched)
        limit = 2 * self.config.max_uncommitted_bytes
        if size > limit or count > 2 * MAX_UNCOMMITTED_ENTRIES:
            raise MessageRefused(
                "too_much_uncommitted",
                f"{message.sender} had us store {count} entries of {size} bytes and committed none of them: expected at"
                f" most {2 * MAX_UNCOMMITTED_ENTRIES} of {limit} bytes",
            )

    def _on_heartbeat(self, message: Message) -> None:
        if message.commit > self.log.last_index:
            raise MessageRefused(
                "commit_beyond_log",
                f"{message.sender} counts on index {message.commit}, our log ends at {self.log.last_index}",
            )
        self.log.committed = max(self.log.committed, message.commit)
        self.send(Message(MessageType.HEARTBEAT_RESPONSE, message.sender, self.id, self.term, context=message.context))

    def _on_read_index(self, message: Message) -> None:
        """A follower of ours asks for its caller; it must hear if we lead no longer."""
        if self.leadership is not None:
            self.leadership.ask_read(message.sender, message.context)
        else:
            self.send(
                Message(
                    MessageType.READ_INDEX_RESPONSE,
                    message.sender,
                    self.id,
                    self.term,
                    reject=True,
                    context=message.context,
                )
            )

    def _on_snapshot(self, message: Message) -> None:
        snapshot = message.snapshot
        if snapshot is None:
            return
        log, metadata = self.log, snapshot.metadata
        # We need not be a member as of the snapshot: what follows it may add us. The authorities never change.
        expected = set(self.membership.incoming.authorities)
        for half in (metadata.membership.incoming, metadata.membership.outgoing):
            if half is not None and set(half.authorities) != expected:
                raise MessageRefused(
                    "bad_snapshot",
                    f"voters as of {metadata.index}: expected some of each of {sorted(expected)} and of nobody else,"
                    f" got {sorted(half.authorities)}",
                )
        if metadata.index > log.committed:
            if log.matches(metadata.index, metadata.term):
                log.committed = metadata.index  # We have it all; only the commit index is news.
            else:
                log.restore(snapshot)
                self.history = ConfigurationHistory(metadata.index, metadata.membership)
                self.membership = metadata.membership
        self._acknowledge(message, log.committed)

    def _acknowledge(self, message: Message, index: int) -> None:
        self.send(Message(MessageType.APPEND_RESPONSE, message.sender, self.id, self.term, index=index))


def _read_history(storage: Storage, membership: Membership) -> ConfigurationHistory:
    """Every change that is on disk, once more: what is in force is the newest of them (section 4.1)."""
    history = ConfigurationHistory(storage.first_index() - 1, membership)
    for index in storage.configuration_indexes():
        entry = storage.entries(index, index + 1, MAX_CHANGE_BYTES)[0]
        try:
            if entry.type is not EntryType.CONFIGURATION or index <= history.latest_index:
                raise UnknownDurableState(f"log: expected a change of the membership at {index}, got {entry.type.name}")
            history.append(index, apply_change(history.latest, decode_change(entry.data)))
        except ChangeRefused as error:
            raise UnknownDurableState(f"log: the change of the membership at {index} cannot be: {error}") from error
    return history

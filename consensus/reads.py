"""Reads that see everything committed before they were asked, without an entry in the log (thesis section 6.4).

A leader notes its commit index, and answers with it once a quorum has said, to heartbeats sent *after* the read
arrived, that it still follows: then no other leader had committed anything newer when the read was asked. A new leader
does not know what is committed before an entry of its own term is; until then reads wait. Who asked waits until it has
applied that index, and reads its own state.

No clock is part of this. A leader in its lease could answer without the round (section 6.4.1), but a lease holds only
while clocks run at about the same rate, and a virtual machine that stood still for a second does not know it. The lease
here is for elections only, where a wrong clock costs an election and nothing else.

Does not protect against a leader that lies: it may name an index that is too old. What a reader must not take on trust
it proves against a cosigned checkpoint.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consensus.errors import DropReason, MessageRefused, Misuse, ProposalDropped
from consensus.messages import MAX_CONTEXT_BYTES, Message, MessageType
from consensus.quorum import VoteResult

if TYPE_CHECKING:
    from consensus.raft import Raft

# Of one node, at its own door and at the leader: each has room of its own there, which no other can take.
MAX_WAITING_READS = 1024
# A read that got no answer for this many election time-outs is given up: it, or its answer, was lost.
READ_PATIENCE_ROUNDS = 2
_ROUND_BYTES = 8


@dataclass(frozen=True, slots=True)
class ReadState:
    """Whoever has applied `index` sees all that was committed when `context` was asked."""

    index: int
    context: bytes


@dataclass(frozen=True, slots=True)
class DroppedRead:
    """There will be no answer to `context`; ask again."""

    context: bytes
    reason: DropReason


class Reads:
    """What the caller of this node has asked, whoever leads. Each is answered once: with an index, or as dropped."""

    __slots__ = ("_patience_ticks", "_tick", "_waiting", "answered", "dropped", "has_news")

    def __init__(self, patience_ticks: int) -> None:
        self._patience_ticks = patience_ticks
        self._tick = 0
        # By context, oldest first: the tick at which it is given up.
        self._waiting: dict[bytes, int] = {}
        self.answered: list[ReadState] = []
        self.dropped: list[DroppedRead] = []
        self.has_news = False

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, context: bytes, leader: str | None) -> None:
        if not 0 < len(context) <= MAX_CONTEXT_BYTES:
            raise Misuse(f"read context has wrong length: expected 1..{MAX_CONTEXT_BYTES} bytes, got {len(context)}")
        if context in self._waiting:
            raise Misuse("read context is in use: expected another for each read that waits")
        if len(self._waiting) >= MAX_WAITING_READS:
            raise ProposalDropped(DropReason.TOO_MANY_READS, leader)
        self._waiting[context] = self._tick + self._patience_ticks

    def answer(self, context: bytes, index: int) -> None:
        # One that is not waiting: the answer is late, or doubled.
        if self._waiting.pop(context, None) is not None:
            self.answered.append(ReadState(index, context))
            self.has_news = True

    def drop(self, context: bytes, reason: DropReason) -> None:
        if self._waiting.pop(context, None) is not None:
            self.dropped.append(DroppedRead(context, reason))
            self.has_news = True

    def drop_all(self, reason: DropReason) -> None:
        for context in list(self._waiting):
            self.drop(context, reason)

    def taken(self) -> None:
        """Whoever asked has been told."""
        self.answered.clear()
        self.dropped.clear()
        self.has_news = False

    def tick(self) -> None:
        self._tick += 1
        if self._waiting:
            for context in [context for context, until in self._waiting.items() if until <= self._tick]:
                self.drop(context, DropReason.NO_ANSWER)


@dataclass(frozen=True, slots=True)
class _Asked:
    asker: str
    context: bytes
    tick: int
    # What was committed when it was asked; 0 as long as that is not known.
    index: int = 0


class ReadRounds:
    """What a leader was asked, by its own caller and by followers, and the rounds of heartbeats that confirm it.

    One round is on its way at a time; reads that arrive meanwhile share the next.
    """

    __slots__ = ("_confirming", "_heard", "_patience_ticks", "_queued", "_raft", "_round", "_unopened", "_waiting")

    def __init__(self, raft: Raft, patience_ticks: int) -> None:
        self._raft = raft
        self._patience_ticks = patience_ticks
        self._round = 0
        # The newest round to which each member has answered.
        self._heard: dict[str, int] = {}
        self._unopened: deque[_Asked] = deque()
        self._queued: deque[_Asked] = deque()
        self._confirming: deque[_Asked] = deque()
        # How many of these each member has asked.
        self._waiting: Counter[str] = Counter()

    @property
    def context(self) -> bytes:
        """What a heartbeat carries now: the round, while somebody waits for it."""
        return self._round.to_bytes(_ROUND_BYTES, "big") if self._confirming else b""

    def ask(self, asker: str, context: bytes, tick: int, *, opened: bool) -> bool:
        """Returns whether there was room. Follow with `begin`."""
        if self._waiting[asker] >= MAX_WAITING_READS:
            return False
        self._waiting[asker] += 1
        if opened:
            self._queued.append(_Asked(asker, context, tick, self._raft.log.committed))
        else:
            self._unopened.append(_Asked(asker, context, tick))
        return True

    def open(self) -> None:
        """An entry of the leader's term is committed: it knows what is committed, and reads may begin."""
        committed = self._raft.log.committed
        self._queued += [_Asked(asked.asker, asked.context, asked.tick, committed) for asked in self._unopened]
        self._unopened.clear()

    def begin(self) -> bool:
        """Begin a round for what is queued, unless one is on its way. True: heartbeats have to carry it now.

        Never two at a time: where answers take longer than the time between heartbeats, each would be overtaken by the
        next and none confirmed.
        """
        if not self._queued or self._confirming:
            return False
        self._round += 1
        self._confirming += self._queued
        self._queued.clear()
        self._heard[self._raft.id] = self._round
        return True

    def heard(self, member: str, context: bytes) -> None:
        """A member answered a heartbeat that carried `context`."""
        number = int.from_bytes(context, "big")
        if len(context) != _ROUND_BYTES or number > self._round:
            raise MessageRefused("answers_unasked", f"{member} answers a heartbeat that was not sent")
        if number > self._heard.get(member, 0):
            self._heard[member] = number

    def confirm(self) -> None:
        """Answer what a quorum has confirmed, in the membership in force; in both halves of a joint one."""
        if not self._confirming:
            return
        raft = self._raft
        heard = {member: number >= self._round for member, number in self._heard.items()}
        if raft.membership.vote_result(heard) is not VoteResult.WON:
            return
        for asked in self._confirming:
            self._waiting[asked.asker] -= 1
            if asked.asker == raft.id:
                raft.reads.answer(asked.context, asked.index)
            else:
                raft.send(
                    Message(
                        MessageType.READ_INDEX_RESPONSE,
                        asked.asker,
                        raft.id,
                        raft.term,
                        index=asked.index,
                        context=asked.context,
                    )
                )
        self._confirming.clear()

    def forget(self, tick: int) -> None:
        """Let go of what was asked so long ago that whoever asked has given it up."""
        for waiting in (self._unopened, self._queued, self._confirming):
            while waiting and waiting[0].tick + self._patience_ticks <= tick:
                self._waiting[waiting.popleft().asker] -= 1

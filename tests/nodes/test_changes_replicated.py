"""A follower's order and its register together, while a leader brings it up to date: what it lacks it asks for, what it
has it takes again, and neither is held against the leader.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from consensus import Config, Entry, Membership, Message, MessageType, decode_change
from ledger.membership import Step, Verb
from ledger.store import MemoryStore
from nodes import wire
from nodes.membership import Roster, configuration_of
from nodes.metrics import Metrics
from nodes.ordering import RaftOrdering
from nodes.proto import peer_pb2
from nodes.raft_store import RaftStore
from tests.nodes.test_membership import Log
from tests.nodes.world import HandClock

FOLLOWER, LEADER = "kz-kgd-2", "cn-gacc-1"


class StandingClock(HandClock):
    """Nothing takes any time but what the test says."""

    def monotonic_s(self) -> float:
        return self.time_ms / 1000


class Follower:
    """One validator's order, and a leader that says what the test has it say."""

    def __init__(self) -> None:
        self.log = Log()
        self.roster = Roster(self.log.genesis, MemoryStore())
        membership = Membership(configuration_of(self.log.register))
        self.clock = StandingClock(1_795_000_000_000)
        self.answers: list[Message] = []
        self.refused: list[str] = []
        self.ordering = RaftOrdering(
            Config(id=FOLLOWER, seed=1, authorise=self.roster.authorise),
            RaftStore(MemoryStore(), node=FOLLOWER, network=bytes(32), membership=membership),
            tick_ms=1_000_000,
            send=self._send,
            metrics=Metrics(FOLLOWER),
            clock=self.clock,
            roster=self.roster,
            on_refused=lambda _, why: self.refused.append(why),
        )

    def _send(self, to: str, envelope: peer_pb2.Envelope) -> bool:
        self.answers.append(wire.from_raft(envelope.raft, FOLLOWER, to))
        return True

    def changes(self) -> list[Entry]:
        """Three changes of the membership, with something else in between: positions 2, 5 and 8."""
        register, entries = self.log.register, [Entry(1, 1)]
        steps = (Step(Verb.DEMOTE, "kz-kgd-1"), Step(Verb.PROMOTE, "kz-kgd-1"), Step(Verb.DEMOTE, "kz-kgd-1"))
        for number, step in enumerate(steps):
            change = self.log.change(step, on=register)
            register = register.after(register.change([step]))
            index = 2 + 3 * number
            entries += [self.log.entry(index, change), Entry(1, index + 1, data=b"x"), Entry(1, index + 2, data=b"y")]
        return entries

    async def append(self, index: int, entries: list[Entry], commit: int = 0) -> tuple[str, int] | None:
        """What the follower answers to an append, and up to where; None if it does not."""
        self.answers.clear()
        term = 1 if index else 0
        message = Message(MessageType.APPEND, FOLLOWER, LEADER, 1, term, index, tuple(entries), commit)
        self.ordering.step(LEADER, wire.to_envelope(message).raft)
        for _ in range(200):
            await asyncio.sleep(0.001)
            if self.answers:
                answer = self.answers[-1]
                return ("lacks", answer.reject_hint) if answer.reject else ("has", answer.index)
        return None


@contextlib.asynccontextmanager
async def following() -> AsyncIterator[Follower]:
    follower = Follower()
    task = asyncio.create_task(follower.ordering.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_change_after_what_a_follower_lacks_is_answered_with_what_it_lacks() -> None:
    async with following() as follower:
        entries = follower.changes()
        assert await follower.append(4, entries[4:]) == ("lacks", 0)
        assert not follower.refused
        assert await follower.append(0, entries) == ("has", entries[-1].index)
        assert follower.roster.register.number == 3


async def test_a_new_change_is_taken_in_one_append_with_those_that_are_committed_here() -> None:
    async with following() as follower:
        entries = follower.changes()
        await follower.append(0, entries[:6], commit=6)
        for _ in range(200):
            await asyncio.sleep(0.001)
            if follower.roster.committed.number == 2:
                break
        assert follower.roster.committed.number == 2
        # The leader has not heard that, for the answers were lost. It is told again, and goes on from there.
        follower.clock.time_ms += 10_000_000
        assert await follower.append(0, entries, commit=6) == ("has", 6)
        assert await follower.append(6, entries[6:], commit=6) == ("has", entries[-1].index)
        assert follower.roster.register.number == 3
        assert not follower.refused


async def test_a_change_that_is_not_for_its_place_is_refused_where_the_order_goes_on_from_there() -> None:
    async with following() as follower:
        entries = follower.changes()
        await follower.append(0, entries[:4])
        again = follower.log.entry(5, decode_change(entries[1].data))
        assert await follower.append(4, [again]) is None
        assert follower.refused == ["a message that no validator sends: membership_refused"]

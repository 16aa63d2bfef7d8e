"""Statements that wait: batched, forwarded, forwarded again, answered in time; with a scripted order."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from contracts.outcome import Outcome
from ledger.errors import Malformed
from nodes.blocks import Block, decode_block
from nodes.config import Tuning
from nodes.execution import Rejected, Unparsable
from nodes.metrics import Metrics
from nodes.ordering import NotLeading
from nodes.proposing import Proposals, Unordered
from nodes.proto import peer_pb2
from tests.nodes.world import HandClock

NOW_MS = 1_800_000_000_000
QUICK = Tuning(block_interval_ms=1, order_timeout_ms=100, block_max_statements=5, blocks_in_flight=2)


class ScriptedOrder:
    """An order that does what a test says."""

    def __init__(self, leader: str | None) -> None:
        self.leader = leader
        self.blocks: list[Block] = []
        self.refuse = False

    @property
    def leading(self) -> bool:
        return self.leader == "kz-kgd-1"

    def submit(self, payload: bytes) -> None:
        if not self.leading or self.refuse:
            raise NotLeading(self.leader, "not now")
        self.blocks.append(decode_block(payload))

    async def take(self, after: int) -> list[tuple[int, bytes]]:
        raise NotImplementedError

    def waiting(self, after: int) -> int:
        return 0


class Desk:
    """A `Proposals` with everything around it in the hands of the test."""

    def __init__(self, leader: str | None = "kz-kgd-1", tuning: Tuning = QUICK) -> None:
        self.order = ScriptedOrder(leader)
        self.clock = HandClock(NOW_MS)
        self.sent: list[tuple[str, list[bytes], int]] = []
        self.missing: tuple[str, ...] = ()
        self.applied = 0
        self.due_ms: int | None = None
        self.answers: list[object] = []
        self.garbage: list[str] = []
        self.proposals = Proposals(
            "kz-kgd-1",
            self.order,
            tuning=tuning,
            clock=self.clock,
            metrics=Metrics("kz-kgd-1"),
            send=self._send,
            missing_authorities=lambda: self.missing,
            applied=lambda: self.applied,
            due_ms=lambda: self.due_ms,
            on_garbage=lambda peer, _: self.garbage.append(peer),
        )

    def _send(self, to: str, envelope: peer_pb2.Envelope) -> bool:
        self.sent.append((to, list(envelope.proposals.statements), envelope.proposals.since))
        return True

    def submit(self, *raws: bytes) -> None:
        for raw in raws:
            self.proposals.submit(raw, self.answers.append)

    async def run(self, seconds: float) -> None:
        """Let it work for a while."""
        tasks = [asyncio.create_task(self.proposals.propose_blocks()), asyncio.create_task(self.proposals.keep_house())]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_leader_batches_what_waits_in_the_order_in_which_it_came() -> None:
    desk = Desk()
    desk.submit(*[b"%d" % number for number in range(7)])
    await desk.run(0.05)
    assert [block.statements for block in desk.order.blocks] == [(b"0", b"1", b"2", b"3", b"4"), (b"5", b"6")]
    assert {(block.proposer, block.time_ms) for block in desk.order.blocks} == {("kz-kgd-1", NOW_MS)}


async def test_no_more_blocks_than_agreed_are_in_flight() -> None:
    desk = Desk()
    desk.submit(*[b"%d" % number for number in range(30)])
    await desk.run(0.05)
    assert len(desk.order.blocks) == 2
    desk.proposals.block_executed("cn-gacc-1", NOW_MS)  # another's does not make room
    await desk.run(0.02)
    assert len(desk.order.blocks) == 2
    desk.proposals.block_executed("kz-kgd-1", NOW_MS)
    await desk.run(0.02)
    assert len(desk.order.blocks) == 3


async def test_block_time_does_not_go_back_with_the_clock() -> None:
    desk = Desk()
    desk.submit(b"one")
    await desk.run(0.03)
    desk.clock.time_ms -= 60_000
    desk.submit(b"two")
    await desk.run(0.03)
    assert [block.time_ms for block in desk.order.blocks] == [NOW_MS, NOW_MS]


async def test_a_statement_that_is_submitted_twice_is_proposed_once_and_answers_both() -> None:
    desk = Desk()
    desk.submit(b"one", b"one")
    await desk.run(0.03)
    desk.proposals.executed(b"one", "done", None)
    assert [block.statements for block in desk.order.blocks] == [(b"one",)]
    assert desk.answers == ["done", "done"]


async def test_a_follower_forwards_together_what_came_together() -> None:
    desk = Desk("cn-gacc-1")
    desk.applied = 7
    desk.submit(b"one", b"two")
    await desk.run(0.01)
    assert desk.sent == [("cn-gacc-1", [b"one", b"two"], 7)]
    assert desk.order.blocks == []


async def test_all_that_is_pending_goes_to_a_new_leader_and_what_was_executed_does_not() -> None:
    desk = Desk("cn-gacc-1")
    desk.submit(b"one", b"two", b"three")
    await desk.run(0.01)
    desk.proposals.executed(b"two", "done", None)
    desk.order.leader = "cn-gacc-2"
    desk.proposals.leadership_changed()
    await desk.run(0.01)
    assert desk.sent[-1] == ("cn-gacc-2", [b"one", b"three"], 0)
    desk.order.leader = "kz-kgd-1"
    desk.proposals.leadership_changed()
    await desk.run(0.03)
    assert desk.order.blocks[0].statements == (b"one", b"three")


async def test_what_the_old_leader_lost_is_forwarded_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.proposing.FORWARD_AGAIN_S", 0.1)
    desk = Desk("cn-gacc-1")
    desk.submit(b"one")
    await desk.run(0.5)
    assert len(desk.sent) >= 2
    assert {tuple(raws) for _, raws, _ in desk.sent} == {(b"one",)}


async def test_without_an_authority_everybody_is_told_which_within_the_time_allowed() -> None:
    desk = Desk(None)
    desk.missing = ("cn-gacc",)
    desk.submit(b"one")
    await desk.run(0.5)
    (answer,) = desk.answers
    assert isinstance(answer, Unordered)
    assert (answer.overloaded, answer.missing_authorities) == (False, ("cn-gacc",))
    assert "waiting for cn-gacc" in answer.detail
    # From now on nobody has to wait to hear it, and nothing piles up.
    desk.submit(b"two")
    assert isinstance(desk.answers[1], Unordered)
    assert len(desk.proposals) == 1


async def test_a_statement_that_was_answered_is_still_ordered_when_the_authority_is_back() -> None:
    desk = Desk(None)
    desk.submit(b"one")
    await desk.run(0.5)
    assert len(desk.answers) == 1
    desk.order.leader = "kz-kgd-1"
    desk.proposals.leadership_changed()
    await desk.run(0.03)
    assert desk.order.blocks[0].statements == (b"one",)


async def test_a_full_queue_says_so_at_once() -> None:
    desk = Desk(tuning=dataclasses.replace(QUICK, pending_max_statements=3))
    desk.submit(b"1", b"2", b"3", b"4")
    (answer,) = desk.answers
    assert isinstance(answer, Unordered)
    assert answer.overloaded
    assert answer.retry_after_ms > 0


async def test_a_queue_of_too_many_bytes_says_so_at_once() -> None:
    desk = Desk(tuning=dataclasses.replace(QUICK, pending_max_bytes=100))
    desk.submit(b"x" * 60, b"y" * 60)
    assert [isinstance(answer, Unordered) and answer.overloaded for answer in desk.answers] == [True]


async def test_one_peer_cannot_fill_the_leaders_queue() -> None:
    desk = Desk(tuning=dataclasses.replace(QUICK, pending_max_statements=8))
    desk.proposals.forwarded("cn-gacc-1", [b"%d" % number for number in range(50)], 0)
    assert len(desk.proposals) == 2
    desk.submit(b"ours")
    assert desk.answers == []


async def test_a_statement_too_large_to_be_one_is_not_taken_from_a_peer() -> None:
    desk = Desk()
    assert desk.proposals.forwarded("cn-gacc-1", [b"x" * 40_000], 0) == []


async def test_a_statement_that_was_judged_on_its_way_is_not_judged_again() -> None:
    desk = Desk()
    desk.proposals.forwarded("cn-gacc-1", [b"one"], 4)
    desk.proposals.executed(b"one", "rejected", 9)
    # Forwarded again by a validator that had not seen the rejection yet.
    assert desk.proposals.forwarded("cn-gacc-1", [b"one"], 4) == []
    # Sent again by its device, who did see it.
    assert desk.proposals.forwarded("cn-gacc-1", [b"one"], 9) == [b"one"]


async def test_what_could_not_be_proposed_keeps_its_place() -> None:
    desk = Desk()
    desk.order.refuse = True
    desk.submit(b"one", b"two")
    await desk.run(0.03)
    desk.order.refuse = False
    desk.submit(b"three")
    await desk.run(0.3)
    assert [raw for block in desk.order.blocks for raw in block.statements] == [b"one", b"two", b"three"]


async def test_an_empty_block_is_proposed_when_a_deadline_is_due_and_not_before() -> None:
    desk = Desk()
    desk.due_ms = NOW_MS + 1
    await desk.run(0.3)
    assert desk.order.blocks == []
    desk.clock.time_ms += 1
    await desk.run(0.3)
    assert [block.statements for block in desk.order.blocks] == [()]


async def test_a_halted_validator_answers_everybody_and_takes_nothing_more() -> None:
    desk = Desk("cn-gacc-1")
    desk.submit(b"one")
    desk.proposals.halt("a bug")
    desk.submit(b"two")
    details = [answer.detail for answer in desk.answers if isinstance(answer, Unordered)]
    assert details == ["this validator has halted: a bug"] * 2
    assert len(desk.proposals) == 0


@pytest.mark.parametrize(("statements", "interval_ms"), [(1, 30), (12, 30), (20, 50), (40, 100), (400, 120)])
async def test_when_statements_come_fast_blocks_come_less_often(statements: int, interval_ms: int) -> None:
    desk = Desk(tuning=Tuning())
    assert desk.proposals._interval_ms() == 30
    desk.submit(*(b"%d" % number for number in range(statements)))
    await desk.run(0.05)
    assert [len(block.statements) for block in desk.order.blocks] == [statements]
    assert desk.proposals._interval_ms() == interval_ms


async def test_a_peer_that_forwards_what_it_did_not_check_is_named() -> None:
    desk = Desk()
    desk.proposals.forwarded("cn-gacc-1", [b"a", b"b", b"c"], 0)
    desk.submit(b"d")
    desk.proposals.executed(b"a", Unparsable(Malformed("bad_statement", "not a statement")), 1)
    desk.proposals.executed(b"b", Rejected(Outcome.SIGNATURE_INVALID, None), 1)
    desk.proposals.executed(b"c", Rejected(Outcome.DECLARATION_UNKNOWN, None), 1)  # that is for execution to know
    desk.proposals.executed(b"d", Unparsable(Malformed("bad_statement", "ours")), 1)
    assert desk.garbage == ["cn-gacc-1", "cn-gacc-1"]

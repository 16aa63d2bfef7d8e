"""Linearizable reads: confirmed by a majority or not given, whoever is asked and whoever leads meanwhile."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from consensus import Config, Configuration, Membership, Message, MessageType
from nodes import reading, wire
from nodes.metrics import Metrics
from nodes.ordering import RaftOrdering
from nodes.proto import peer_pb2
from nodes.raft_store import RaftStore
from nodes.reading import FreshReads, NotConfirmed, whole
from tests.nodes.test_ordering import CLOCK, Disk, Group, group, taken, until

FOUR = Membership(Configuration({"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}))


def disks() -> dict[str, Disk]:
    return {name: Disk() for name in FOUR.electors}


def reads_of(node: RaftOrdering, applied: int = 1 << 60) -> FreshReads:
    return FreshReads(node, lambda: applied, lambda: None)


async def committed(made: Group, payload: bytes) -> int:
    leader = next(node for name, node in made.nodes.items() if node.leading and name not in made.cut)
    leader.submit(payload)
    before = leader.committed
    await until(lambda: leader.committed > before)
    return leader.committed


async def test_whoever_is_asked_names_a_position_that_has_all_that_was_committed() -> None:
    async with group(FOUR, disks()) as made:
        await made.leader()
        for number in range(5):
            index = await committed(made, b"%d" % number)
            await until(lambda: all(node.leader for node in made.nodes.values()))
            for node in made.nodes.values():
                assert await reads_of(node).confirm() >= index


async def test_a_leader_that_was_cut_off_gives_no_older_state_while_another_commits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nodes.reading.CONFIRM_TIMEOUT_S", 0.3)
    async with group(FOUR, disks()) as made:
        old = await made.leader()
        await committed(made, b"before")
        made.cut.add(next(name for name, node in made.nodes.items() if node is old))
        asked = asyncio.create_task(reads_of(old).confirm())
        await until(lambda: any(node.leading for node in made.nodes.values() if node is not old))
        index = await committed(made, b"after")
        with pytest.raises(NotConfirmed):
            await asked
        with pytest.raises(NotConfirmed):
            await reads_of(old).confirm()
        made.cut.clear()

        async def confirmed() -> int:
            while True:
                with contextlib.suppress(NotConfirmed):
                    return await reads_of(old).confirm()
                await asyncio.sleep(0.01)

        async with asyncio.timeout(20):
            assert await confirmed() >= index


async def test_the_answer_waits_until_so_much_is_executed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.reading.EXECUTE_TIMEOUT_S", 0.2)
    async with group(FOUR, disks()) as made:
        leader = await made.leader()
        index = await committed(made, b"x")
        executed = [0]
        reads = FreshReads(leader, lambda: executed[0], lambda: None)
        with pytest.raises(NotConfirmed, match="still to be executed"):
            await reads.confirm()
        monkeypatch.setattr("nodes.reading.EXECUTE_TIMEOUT_S", 20)
        asked = asyncio.create_task(reads.confirm())
        await asyncio.sleep(0.05)
        assert not asked.done()
        executed[0] = 1 << 60
        reads.advanced()
        assert await asked >= index  # more, if somebody else has opened a term meanwhile
        assert await taken(leader, 1) == [b"x"]


async def test_a_halted_validator_confirms_nothing() -> None:
    async with group(FOUR, disks()) as made:
        leader = await made.leader()
        with pytest.raises(NotConfirmed, match="has halted"):
            await FreshReads(leader, lambda: 1 << 60, lambda: "this validator has halted").confirm()


async def test_the_answer_to_a_read_of_before_a_restart_answers_none_of_after_it() -> None:
    """Its position is from before what has been committed meanwhile."""
    disk, sent = Disk(), list[Message]()

    def send(to: str, envelope: peer_pb2.Envelope) -> bool:
        sent.append(wire.from_raft(envelope.raft, "a-1", to))
        return True

    async def asked(seed: int) -> tuple[RaftOrdering, asyncio.Task[None], asyncio.Task[int], bytes]:
        node = RaftOrdering(
            Config(id="a-1", seed=seed),
            RaftStore(disk, node="a-1", network=bytes(32), membership=FOUR),
            tick_ms=1_000_000,
            send=send,
            metrics=Metrics("a-1"),
            clock=CLOCK,
        )
        running = asyncio.create_task(node.run())
        sent.clear()
        node.step("b-1", wire.to_envelope(Message(MessageType.HEARTBEAT, "a-1", "b-1", 1)).raft)
        await until(lambda: node.leader)
        read = asyncio.create_task(node.read_index())
        await until(lambda: any(message.type is MessageType.READ_INDEX for message in sent))
        return node, running, read, next(m.context for m in sent if m.type is MessageType.READ_INDEX)

    _, running, read, before = await asked(seed=1)
    for task in (read, running):
        task.cancel()
    await asyncio.gather(read, running, return_exceptions=True)
    node, running, read, context = await asked(seed=2)
    for index, of in ((7, before), (9, context)):
        answer = Message(MessageType.READ_INDEX_RESPONSE, "a-1", "b-1", 1, index=index, context=of)
        node.step("b-1", wire.to_envelope(answer).raft)
    assert await read == 9
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# --- beside the thread that executes --------------------------------------------------------------------------------


class Ledger:
    """Its store shows a block before its head does, for as long as the disk takes."""

    def __init__(self) -> None:
        self.growths = 0
        self.size = self.shown = 1

    def begin(self) -> None:
        self.growths += 1
        self.shown += 1

    def end(self) -> None:
        self.size += 1
        self.growths += 1

    def read(self) -> tuple[int, int]:
        return self.size, self.shown


async def test_what_is_read_while_a_block_is_written_is_all_of_before_or_all_of_after_it() -> None:
    ledger = Ledger()
    assert await whole(ledger, ledger.read) == (1, 1)
    ledger.begin()
    assert ledger.read() == (1, 2), "half of it is there to be seen"
    waiting = asyncio.create_task(whole(ledger, ledger.read))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    ledger.end()
    assert await waiting == (2, 2)


async def test_a_block_that_begins_while_somebody_reads_makes_it_read_again() -> None:
    ledger = Ledger()
    times: list[int] = []

    def read() -> tuple[int, int]:
        size = ledger.size
        if not times:
            ledger.begin()
            ledger.end()
        times.append(1)
        return size, ledger.shown

    assert await whole(ledger, read) == (2, 2)
    assert len(times) == 2


async def test_where_the_disk_takes_seconds_a_read_is_refused_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "WHOLE_TIMEOUT_S", 0.01)
    ledger = Ledger()
    ledger.begin()
    with pytest.raises(NotConfirmed, match="a block is being written, and the disk is slow"):
        await whole(ledger, ledger.read)

"""The Ready loop: nothing is said before it is on the disk, nothing committed is lost on its way to execution."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import Action, Config, Configuration, ConfigurationChange, Membership, Role, Step
from ledger.store import MemoryStore, StoreUnavailable
from nodes import ordering as ordering_module
from nodes.blocks import block_proposer, block_time_ms, encode_block
from nodes.metrics import Metrics
from nodes.ordering import NotLeading, RaftOrdering
from nodes.proto import peer_pb2
from nodes.raft_store import RaftStore
from tests.nodes.world import HandClock

CLOCK = HandClock(1_795_000_000_000)
ALONE = Membership(Configuration({"a-1": "a"}))
PAIR = Membership(Configuration({"a-1": "a", "b-1": "b"}))
FOUR = Membership(Configuration({"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}))


async def until(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


class Disk(MemoryStore):
    """Says no when it is full, and counts what it has."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False

    def write(self, batch: Mapping[bytes, bytes | None], sync: bool = True) -> None:
        if self.full:
            raise StoreUnavailable("disk is full")
        super().write(batch, sync)


class Group:
    """Some validators' orderings, joined by plain calls."""

    def __init__(self, membership: Membership, disks: dict[str, Disk], applied: int = 0) -> None:
        self.nodes: dict[str, RaftOrdering] = {}
        self.cut: set[str] = set()
        for name, disk in disks.items():
            self.nodes[name] = RaftOrdering(
                Config(id=name, seed=1, election_timeout_ticks=5, heartbeat_ticks=1, applied=applied),
                RaftStore(disk, node=name, network=bytes(32), membership=membership),
                tick_ms=5,
                send=partial(self._send, name),
                metrics=Metrics(name),
                clock=CLOCK,
            )

    def _send(self, sender: str, to: str, envelope: peer_pb2.Envelope) -> bool:
        if to not in self.nodes or {sender, to} & self.cut:
            return False
        asyncio.get_running_loop().call_soon(self.nodes[to].step, sender, envelope.raft)
        return True

    async def leader(self) -> RaftOrdering:
        await until(lambda: any(node.leading for node in self.nodes.values()))
        return next(node for node in self.nodes.values() if node.leading)


@contextlib.asynccontextmanager
async def group(membership: Membership, disks: dict[str, Disk], applied: int = 0) -> AsyncIterator[Group]:
    made = Group(membership, disks, applied)
    tasks = [asyncio.create_task(node.run()) for node in made.nodes.values()]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def taken(node: RaftOrdering, count: int, after: int = 0) -> list[bytes]:
    """The next payloads that are no opening of a term."""
    payloads: list[bytes] = []
    async with asyncio.timeout(60):
        while len(payloads) < count:
            for index, payload in await node.take(after):
                assert index == after + 1
                after = index
                if payload:
                    payloads.append(payload)
    return payloads


async def test_what_is_submitted_comes_out_everywhere_in_one_order() -> None:
    async with group(PAIR, {"a-1": Disk(), "b-1": Disk()}) as made:
        leader = await made.leader()
        for number in range(50):
            leader.submit(b"%d" % number)
        outs = [await taken(node, 50) for node in made.nodes.values()]
        assert outs[0] == outs[1] == [b"%d" % number for number in range(50)]


async def test_a_follower_says_who_leads() -> None:
    async with group(PAIR, {"a-1": Disk(), "b-1": Disk()}) as made:
        leader = await made.leader()
        (follower,) = (node for node in made.nodes.values() if node is not leader)
        await until(lambda: follower.leader)
        with pytest.raises(NotLeading) as error:
            follower.submit(b"x")
        assert error.value.leader == leader.leader


async def test_what_does_not_fit_into_memory_is_read_from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering_module, "WAITING_MAX_BYTES", 25)
    monkeypatch.setattr(ordering_module, "TAKE_MAX_BYTES", 40)
    async with group(ALONE, {"a-1": Disk()}) as made:
        leader = await made.leader()
        expected = [b"%09d" % number for number in range(60)]
        for payload in expected[:40]:
            leader.submit(payload)
        await asyncio.sleep(0.05)
        assert (await taken(leader, 20))[:20] == expected[:20]
        for payload in expected[40:]:
            leader.submit(payload)
        assert await taken(leader, 60) == expected


async def test_after_a_start_the_order_goes_on_behind_what_was_executed() -> None:
    disk = Disk()
    async with group(ALONE, {"a-1": disk}) as made:
        leader = await made.leader()
        for number in range(10):
            leader.submit(b"%d" % number)
        await taken(leader, 10)
    async with group(ALONE, {"a-1": disk}, applied=6) as made:
        again = await made.leader()
        assert await taken(again, 5, after=6) == [b"5", b"6", b"7", b"8", b"9"]


async def test_a_follower_with_a_full_disk_acknowledges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering_module, "DISK_RETRY_S", 0.02)
    disks = {"a-1": Disk(), "b-1": Disk()}
    async with group(PAIR, disks) as made:
        leader = await made.leader()
        await until(lambda: leader.committed)  # the opening of its term
        (name,) = (name for name, node in made.nodes.items() if node is not leader)
        disks[name].full = True
        before = leader.committed
        leader.submit(b"x")
        await until(lambda: made.nodes[name].disk_trouble == "disk is full")
        assert leader.committed == before
        disks[name].full = False
        await until(lambda: made.nodes[name].disk_trouble is None)


async def test_a_leader_that_stepped_down_while_its_disk_hung_has_nothing_to_hand_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ordering_module, "DISK_RETRY_S", 0.02)
    disks = {"a-1": Disk(), "b-1": Disk()}
    async with group(PAIR, disks) as made:
        leader = await made.leader()
        (name,) = (name for name, node in made.nodes.items() if node is leader)
        (other,) = made.nodes.keys() - {name}
        disks[name].full = True
        leader.submit(b"x")
        made.cut.add(name)
        await until(lambda: leader._node.status().role is not Role.LEADER)
        assert leader.leading  # what the core knows is announced with the next write
        leader.transfer_leadership(other)
        leader.transfer_leadership("nobody")
        disks[name].full = False
        await until(lambda: not leader.leading)


async def test_a_message_that_no_honest_peer_sends_is_dropped_and_counted() -> None:
    async with group(PAIR, {"a-1": Disk(), "b-1": Disk()}) as made:
        leader = await made.leader()
        term = leader.term
        other = "b-1" if leader.leader == "a-1" else "a-1"
        for message in (
            peer_pb2.RaftMessage(type=99, term=term),
            peer_pb2.RaftMessage(type=1, term=0),
            peer_pb2.RaftMessage(type=1, term=term, entries=[peer_pb2.RaftEntry(term=term, index=77, data=b"x")]),
            peer_pb2.RaftMessage(type=1, term=term, entries=[peer_pb2.RaftEntry(term=term, index=1, type=9)]),
            peer_pb2.RaftMessage(type=1, term=term),  # there is a leader of this term already, and it is us
        ):
            leader.step(other, message)
        assert leader.refused == 5
        assert leader.leading


@pytest.mark.parametrize("time_ms", [0, 1, 2**32 - 1, 2**32, CLOCK.time_ms, 253_402_300_799_999])
def test_the_time_of_a_block_is_read_without_decoding_it(time_ms: int) -> None:
    payload = encode_block("a-1", time_ms, [b"s" * 40])
    assert block_time_ms(payload) == (time_ms if time_ms >= 2**32 else 0)
    assert block_time_ms(b"") == 0


async def test_a_block_dated_ahead_is_never_committed_and_its_sender_loses_the_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await check_lie_is_not_committed(monkeypatch, lambda liar: encode_block(liar, CLOCK.time_ms + 3_600_000, []))


async def test_a_block_in_anothers_name_is_never_committed_and_its_sender_loses_the_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await check_lie_is_not_committed(monkeypatch, lambda liar: encode_block("z" + liar[1:], CLOCK.time_ms, [b"s"]))


async def check_lie_is_not_committed(monkeypatch: pytest.MonkeyPatch, lie: Callable[[str], bytes]) -> None:
    monkeypatch.setattr(ordering_module, "SILENCE_S", 0.3)
    names = ["a-1", "a-2", "b-1", "b-2"]
    async with group(FOUR, {name: Disk() for name in names}) as made:
        liar = await made.leader()
        honest = {name: node for name, node in made.nodes.items() if node is not liar}
        liar.submit(lie(next(name for name, node in made.nodes.items() if node is liar)))
        await until(lambda: any(node.leading for node in honest.values()))
        assert all(node.refused for node in honest.values())
        name, leader = next((name, node) for name, node in honest.items() if node.leading)
        good = encode_block(name, CLOCK.time_ms + 4_000, [])
        leader.submit(good)
        for node in honest.values():
            assert await taken(node, 1) == [good]


async def test_a_change_that_nobody_authorised_is_not_taken_and_its_sender_loses_the_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ordering_module, "SILENCE_S", 0.3)
    async with group(FOUR, {name: Disk() for name in ("a-1", "a-2", "b-1", "b-2")}) as made:
        liar = await made.leader()
        await until(lambda: liar.committed)  # before its term is open, it makes no change at all
        honest = [node for node in made.nodes.values() if node is not liar]
        core = liar._node._raft
        core.config = replace(core.config, authorise=lambda change, before: None)
        victim = next(name for name, node in made.nodes.items() if node is not liar)
        liar._node.propose_change(ConfigurationChange((Step(Action.ADD_LEARNER, victim),)))
        liar._wake.set()
        await until(lambda: any(node.leading for node in honest))
        for node in honest:
            assert victim in node._node.status().membership.electors


async def test_blocks_of_earlier_terms_carry_the_names_of_their_own_leaders() -> None:
    """Whoever leads sends what others proposed before: that is no lie."""
    disks = {"a-1": Disk(), "b-1": Disk()}
    first = encode_block("a-1", CLOCK.time_ms, [b"one"])
    async with group(PAIR, disks) as made:
        leader = await made.leader()
        name = next(name for name, node in made.nodes.items() if node is leader)
        first = encode_block(name, CLOCK.time_ms, [b"one"])
        leader.submit(first)
        for node in made.nodes.values():
            await taken(node, 1)
        (other,) = (each for each in made.nodes if each != name)
        leader.transfer_leadership(other)
        await until(lambda: made.nodes[other].leading)
        second = encode_block(other, CLOCK.time_ms, [b"two"])
        made.nodes[other].submit(second)
        assert await taken(leader, 2) == [first, second]
        assert leader.refused == 0


@given(st.text(max_size=300), st.integers(0, 2**53), st.lists(st.binary(max_size=8), max_size=3))
def test_the_proposer_of_a_block_is_read_without_decoding_it(
    proposer: str, time_ms: int, statements: list[bytes]
) -> None:
    found = block_proposer(encode_block(proposer, time_ms, statements))
    assert found == (proposer.encode() if len(proposer.encode()) < 256 else None)


@given(st.binary(max_size=40))
def test_what_is_no_block_has_no_proposer_or_some_bytes_of_its_own(payload: bytes) -> None:
    found = block_proposer(payload)
    assert found is None or found in payload


async def test_a_passive_leader_hands_over_and_orders_nothing_more() -> None:
    async with group(PAIR, {"a-1": Disk(), "b-1": Disk()}) as made:
        leader = await made.leader()
        (other,) = (node for node in made.nodes.values() if node is not leader)
        leader.submit(b"before")
        await taken(other, 1)
        leader.set_passive(passive=True)
        await until(lambda: other.leading)
        with pytest.raises(NotLeading):
            leader.submit(b"after")
        other.submit(b"goes on")
        assert await taken(leader, 2) == [b"before", b"goes on"]

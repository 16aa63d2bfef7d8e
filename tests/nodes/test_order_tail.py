"""How many blocks of the order, and how many bytes of them, are kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from consensus import Configuration, Entry, EntryType, HardState, Membership
from ledger.store import MemoryStore
from nodes.catch_up import PeerFailed
from nodes.config import load_validator_config
from nodes.environment import Environment
from nodes.identity import load_identity
from nodes.network import init_network
from nodes.opening import open_stores
from nodes.order_tail import BUCKET, COUNT_BYTES, OrderTail
from nodes.proto.peer_pb2 import FetchPiece
from nodes.raft_store import RaftStore
from nodes.snapshots import Snapshots
from tests.nodes.network import AUTHORITIES, ORIGIN

MEMBERSHIP = Membership(Configuration({"a-1": "a", "b-1": "b"}))


class World:
    """An order on a disk in memory, of blocks of given sizes."""

    def __init__(self) -> None:
        self.disk = MemoryStore()
        self.sizes: list[int] = []
        self.open()

    def open(self) -> None:
        self.order = RaftStore(self.disk, node="a-1", network=bytes(32), membership=MEMBERSHIP)

    def append(self, *sizes: int) -> None:
        first = self.order.last_index() + 1
        entries = [Entry(1, first + number, EntryType.NORMAL, bytes(size)) for number, size in enumerate(sizes)]
        self.order.write(HardState(1), entries, sync=True)
        self.sizes += sizes

    def kept(self, position: int) -> int:
        return sum(self.sizes[position:])

    def tail(self, *, max_entries: int = 10**9, max_bytes: int) -> OrderTail:
        return OrderTail(self.order, max_entries=max_entries, max_bytes=max_bytes)


def counted(tail: OrderTail, applied: int) -> int:
    """Asked again until nothing is left to count."""
    before, now = (-1, -1), (tail.bytes, tail.forgettable(applied))
    while now != before:
        before, position = now, tail.forgettable(applied)
        now = (tail.bytes, position)
    return now[1]


def test_blocks_beyond_the_bytes_need_not_be_kept_though_they_are_few() -> None:
    world = World()
    world.append(*[1000] * 160)
    position = counted(world.tail(max_bytes=50_000), 160)
    assert world.kept(position) <= 50_000 < world.kept(position - BUCKET)


def test_blocks_beyond_the_number_need_not_be_kept_though_they_are_small() -> None:
    world = World()
    world.append(*[1] * 160)
    assert counted(world.tail(max_entries=100, max_bytes=50_000), 160) == 60


def test_what_is_not_executed_is_kept_however_large_it_is() -> None:
    world = World()
    world.append(*[100_000] * 64)
    assert counted(world.tail(max_bytes=1), 20) <= 20
    assert counted(world.tail(max_bytes=1), 0) <= 0


def test_a_start_in_front_of_a_long_order_counts_a_little_at_a_time() -> None:
    world = World()
    world.append(*[COUNT_BYTES // 4] * 64)
    tail = world.tail(max_bytes=2 * COUNT_BYTES)
    tail.forgettable(64)
    assert 0 < tail.bytes <= COUNT_BYTES
    assert world.kept(counted(tail, 64)) <= 2 * COUNT_BYTES + BUCKET * COUNT_BYTES // 4


def test_what_was_forgotten_counts_no_more() -> None:
    world = World()
    world.append(*[1000] * 160)
    tail = world.tail(max_bytes=10**9)
    assert counted(tail, 160) <= 0
    world.order.compact(96)
    counted(tail, 160)
    assert tail.bytes == 64_000


def test_a_validator_keeps_what_its_configuration_says(tmp_path: Path) -> None:
    network = init_network(tmp_path / "net", origin=ORIGIN, authorities=AUTHORITIES)
    config = load_validator_config(network.validators[0].config)
    config = replace(config, tuning=replace(config.tuning, order_tail_entries=100, order_tail_bytes=64 * 1024))
    identity, environment = load_identity(config), Environment()
    stores = open_stores(config, identity, environment)
    entries = [Entry(1, index, EntryType.NORMAL, bytes(4096)) for index in range(1, 201)]
    stores.order.write(HardState(1), entries, sync=True)
    stores.chain.advance(200)

    async def nobody(peer: str, request: object) -> AsyncGenerator[FetchPiece, None]:
        raise PeerFailed(peer)
        yield FetchPiece()

    snapshots = Snapshots(
        config,
        identity,
        stores,
        environment,
        order_record=lambda index: None,
        party_of=str,
        halt=lambda _: None,
        fetch=nobody,
        peers=list,
        policies=lambda: [identity.policy],
    )
    assert snapshots.compactable() == 192  # whole sixteens go, until what is left fits
    stores.order.store.close()
    stores.ledger.close()


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 4000), min_size=1, max_size=40)),
        st.tuples(st.just("apply"), st.integers(0, 60)),
        st.tuples(st.just("compact"), st.booleans()),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=25,
)


@given(_STEPS, st.integers(1, 40_000), st.integers(1, 60))
def test_whatever_happens_as_much_is_kept_as_was_asked_for_and_little_more(
    steps: list[tuple[str, object]], max_bytes: int, max_entries: int
) -> None:
    world, applied = World(), 0
    tail = world.tail(max_entries=max_entries, max_bytes=max_bytes)
    for what, value in steps:
        if what == "append" and isinstance(value, list):
            world.append(*value)
        elif what == "apply" and isinstance(value, int):
            applied = min(applied + value, world.order.last_index())
        elif what == "restart":
            world.open()
            tail = world.tail(max_entries=max_entries, max_bytes=max_bytes)
        elif what == "compact" and world.order.first_index() <= (position := tail.forgettable(applied)):
            world.order.compact(position)
        position = counted(tail, applied)
        assert position <= applied
        executed = world.sizes[max(position, world.order.first_index() - 1) : applied]
        # The newest bucket stays whatever its size; all before it fits.
        newest = executed[-(BUCKET + applied % BUCKET) :]
        assert sum(executed) <= max_bytes + sum(newest)
        assert len(executed) <= max_entries
        # Nothing goes that both limits would have kept: with one bucket more, one of them is passed.
        begin = max(0, position - BUCKET)
        if position > max(0, applied - max_entries):
            assert sum(world.sizes[begin:applied]) > max_bytes

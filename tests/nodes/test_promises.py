"""What may have been signed is known without the ledger, written ahead and without a sync of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import Configuration, Entry, EntryType, HardState, Membership
from ledger.checkpoint import Checkpoint
from ledger.errors import UnknownDurableState
from ledger.store import Batch, MemoryStore
from nodes.blocks import encode_block
from nodes.cosigning import INTENT_KEY, Intent
from nodes.promises import Promise, Promises, growth
from nodes.raft_store import RaftStore
from tests.nodes.world import Node, World

MEMBERSHIP = Membership(Configuration({"kz-kgd-1": "kz-kgd", "cn-gacc-1": "cn-gacc"}))


class CountingStore(MemoryStore):
    """Counts the synced writes."""

    syncs = 0

    def write(self, batch: Batch, sync: bool = True) -> None:
        super().write(batch, sync)
        self.syncs += sync


class Part:
    """What of a validator keeps promises: an order, a ledger, execution."""

    def __init__(self, world: World, order: MemoryStore | None = None, ledger: MemoryStore | None = None) -> None:
        self.world = world
        self.order_disk = CountingStore() if order is None else order
        self.ledger_disk = CountingStore() if ledger is None else ledger
        self.order = RaftStore(self.order_disk, node="kz-kgd-1", network=bytes(32), membership=MEMBERSHIP)
        self.node: Node = world.node(store=self.ledger_disk)
        stored = self.ledger_disk.get(INTENT_KEY)
        self.promises = Promises(self.order, self.node.chain, Intent.decode(stored) if stored else None)
        self.promises.applied = lambda: self.node.execution.applied
        self.promises.intent = lambda: self.node.execution.intent
        self.node.execution._permits = self.promises.permits
        self.signed: list[Checkpoint] = []

    def append(self, first: int, payloads: Sequence[bytes], term: int = 1) -> None:
        entries = [Entry(term, first + number, EntryType.NORMAL, data) for number, data in enumerate(payloads)]
        for entry in entries:
            self.promises.appended(entry.index, growth(entry))
        self.order.write(HardState(term), entries, sync=True, promise=self.promises.ahead())

    def execute(self, upto: int | None = None) -> None:
        for index in range(self.node.execution.applied + 1, (upto or self.order.last_index()) + 1):
            executed = self.node.execution.execute(index, self.order.entries(index, index + 1, 1)[0].data, 0)
            if executed.signed is not None:
                self.signed.append(executed.signed.checkpoint)

    @property
    def promise(self) -> Promise:
        return Promise.decode(self.order.promise or b"")

    def again(self, ledger: MemoryStore | None = None) -> Part:
        return Part(self.world, self.order_disk.reopen(), self.ledger_disk.reopen() if ledger is None else ledger)


def block(world: World, statements: int) -> bytes:
    return encode_block("kz-kgd-1", world.time_ms + 1, [world.enrol().raw for _ in range(statements)])


def test_a_promise_is_read_back_as_it_was() -> None:
    promise = Promise(7, 5, bytes(32), 1_800_000_000, 3)
    assert Promise.decode(promise.encode()) == promise
    for damaged in (b"", b"\xa0", promise.encode()[:-1]):
        with pytest.raises(UnknownDurableState):
            Promise.decode(damaged)


def test_nothing_is_signed_above_the_ceiling_on_the_disk_and_the_ceiling_costs_no_sync() -> None:
    part = Part(World())
    syncs = part.order_disk.syncs  # type: ignore[attr-defined]
    for index in range(1, 8):
        part.append(index, [block(part.world, index % 3)])
        assert part.promise.ceiling >= part.node.chain.size
        part.execute()
        assert part.promise.ceiling >= part.node.chain.size
    assert part.order_disk.syncs == syncs + 7  # type: ignore[attr-defined]
    assert len(part.signed) == sum(index % 3 > 0 for index in range(1, 8))
    assert part.promise.size == part.signed[-2].size


def test_a_size_above_the_ceiling_is_not_signed() -> None:
    part = Part(World())
    part.append(1, [block(part.world, 2)])
    low = part.promise
    part.order.put_promise(Promise(low.ceiling - 1).encode())
    part.execute()
    assert part.signed == []
    assert part.node.execution.sign_now() is None
    part.append(2, [block(part.world, 1)])
    part.execute()
    assert [checkpoint.size for checkpoint in part.signed] == [part.node.chain.size]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["append", "replace", "execute", "start"]), st.integers(0, 2)), max_size=12))
def test_whatever_is_appended_cut_off_executed_and_started_again_the_ceiling_covers_what_is_signed(
    steps: list[tuple[str, int]],
) -> None:
    part, term = Part(World()), 1
    for what, count in steps:
        applied, last = part.node.execution.applied, part.order.last_index()
        if what == "append":
            part.append(last + 1, [block(part.world, count), block(part.world, 1)], term)
        elif what == "replace" and last > applied:
            term += 1
            part.append(applied + 1, [block(part.world, count)], term)
        elif what == "execute":
            part.execute(min(last, applied + 1 + count))
        elif what == "start":
            signed = part.signed
            part = part.again()
            part.signed = signed
        assert part.promise.ceiling >= part.node.chain.size
    part.execute()
    # Every size that was come to was signed: no ceiling was ever in the way.
    assert part.node.chain.size == (part.signed[-1].size if part.signed else 1)


def test_a_validator_of_the_release_before_gets_its_promise_before_it_takes_part() -> None:
    part = Part(World())
    part.append(1, [block(part.world, 2), block(part.world, 3)])
    part.execute(1)
    part.order_disk.write({b"p": None})
    again = part.again()
    assert again.promise == Promise(8, 4, part.node.chain.root, again.promise.time_s)


def test_a_ledger_that_has_gone_back_in_time_is_noticed() -> None:
    part = Part(World())
    part.append(1, [block(part.world, 1)])
    part.execute()
    old = part.ledger_disk.reopen()
    part.append(2, [block(part.world, 1)])
    part.execute()
    part.append(3, [block(part.world, 1)])
    with pytest.raises(UnknownDurableState, match="gone back in time"):
        part.again(old)
    with pytest.raises(UnknownDurableState, match="knows only of 0"):
        part.again(MemoryStore())


def test_a_ledger_of_another_history_is_noticed() -> None:
    part, other = Part(World()), Part(World())
    for each in (part, other):
        each.append(1, [block(each.world, 1)])
        each.execute()
        each.append(2, [block(each.world, 1)])
    other.world = part.world
    with pytest.raises(UnknownDurableState, match="says the order, but the ledger has root"):
        Promises(part.order, other.node.chain, other.node.execution.intent)


# --- after the ledger was lost ---------------------------------------------------------------------------------------


def without_ledger(part: Part) -> Part:
    """As `comity storage repair` leaves it."""
    promise = part.promise
    order = part.order_disk.reopen()
    RaftStore(order, node="kz-kgd-1", network=bytes(32), membership=MEMBERSHIP).put_promise(
        Promise(promise.ceiling, promise.size, promise.root, promise.time_s, promise.ceiling).encode()
    )
    return Part(part.world, order, CountingStore())


def test_a_ledger_derived_again_signs_nothing_that_may_have_been_signed_before_and_goes_on_behind_it() -> None:
    part = Part(World())
    for index in range(1, 5):
        part.append(index, [block(part.world, 2)])
        part.execute()
    last = part.node.chain.head
    again = without_ledger(part)
    again.execute()
    assert again.node.chain.head == last
    assert again.signed == []
    assert again.node.execution.sign_now() is None
    again.append(5, [block(again.world, 1)])
    again.execute()
    assert [checkpoint.size for checkpoint in again.signed] == [last.size + 2]
    # And it may be started again at any time.
    third = again.again()
    third.append(6, [block(third.world, 1)])
    third.execute()
    assert len(third.signed) == 1
    assert third.promise.floor == 0


def test_a_start_half_way_through_deriving_never_lowers_the_floor() -> None:
    part = Part(World())
    for index in range(1, 5):
        part.append(index, [block(part.world, 2)])
        part.execute()
    again = without_ledger(part)
    again.execute(2)
    again.append(5, [block(part.world, 1)])
    ceiling = again.promise.ceiling
    third = again.again()
    assert third.promises.floor == third.promise.floor == ceiling > part.promise.ceiling
    third.execute()
    assert third.signed == []
    third.append(6, [block(part.world, 1)])
    third.execute()
    assert len(third.signed) == 1


def test_a_ledger_lost_a_second_time_signs_nothing_that_the_one_in_between_signed() -> None:
    part = Part(World())
    part.append(1, [block(part.world, 2)])
    part.execute()
    second = without_ledger(part)
    second.execute()
    second.append(2, [block(part.world, 1)])
    second.execute()
    signed = second.signed[-1].size
    # Nothing was appended since, so the order still has the first floor.
    assert second.promise.floor < signed <= second.promise.ceiling
    third = second.again(CountingStore())
    assert third.promise.floor >= signed
    third.execute()
    assert third.node.chain.size == signed
    assert third.signed == []
    assert third.node.execution.sign_now() is None
    third.append(3, [block(part.world, 1)])
    third.execute()
    assert [checkpoint.size for checkpoint in third.signed] == [signed + 2]


def test_a_ledger_derived_to_another_root_than_was_signed_stops_the_validator() -> None:
    part = Part(World())
    for index in range(1, 4):
        part.append(index, [block(part.world, 2)])
        part.execute()
    again = without_ledger(part)
    forged = again.order.entries(1, 4, 1 << 20)
    again.order.write(HardState(2), [Entry(2, 1, EntryType.NORMAL, block(part.world, 2)), *forged[1:]], sync=True)
    with pytest.raises(UnknownDurableState, match="keep the folder, it is evidence"):
        again.execute()
    assert again.signed == []

"""The vote and the log of the order on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import Configuration, Entry, EntryType, HardState, Membership, SnapshotUnavailable, Unavailable
from ledger.errors import UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.store import MemoryStore, Store
from nodes.raft_store import RaftStore

MEMBERSHIP = Membership(Configuration({"a-1": "a", "b-1": "b"}))
NETWORK = bytes(32)


def opened(store: Store, node: str = "a-1", network: bytes = NETWORK) -> RaftStore:
    return RaftStore(store, node=node, network=network, membership=MEMBERSHIP)


def entries(first: int, *terms: int) -> list[Entry]:
    return [
        Entry(term, first + number, EntryType.NORMAL, b"%d/%d" % (term, first + number))
        for number, term in enumerate(terms)
    ]


def test_a_new_disk_is_empty() -> None:
    store = opened(MemoryStore())
    assert store.initial_state() == (HardState(), MEMBERSHIP)
    assert (store.first_index(), store.last_index(), store.term(0)) == (1, 0, 0)


def test_what_was_written_is_there_after_a_start() -> None:
    disk = MemoryStore()
    opened(disk).write(HardState(3, "b-1", 2), entries(1, 1, 2, 3), sync=True)
    again = opened(disk.reopen())
    assert again.initial_state()[0] == HardState(3, "b-1", 2)
    assert again.last_index() == 3
    assert list(again.entries(1, 4, 10_000)) == entries(1, 1, 2, 3)
    assert [again.term(index) for index in range(4)] == [0, 1, 2, 3]


def test_entries_that_replace_others_take_the_whole_tail_along() -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(1), entries(1, 1, 1, 1, 1), sync=True)
    store.write(HardState(2), entries(2, 2), sync=True)
    for each in (store, opened(disk.reopen())):
        assert each.last_index() == 2
        assert list(each.entries(1, 3, 10_000)) == entries(1, 1, 2)
        with pytest.raises(Unavailable):
            each.term(3)


def test_entries_never_leave_a_gap() -> None:
    store = opened(MemoryStore())
    with pytest.raises(UnknownDurableState, match="expected entries from at most 1, got 2"):
        store.write(HardState(1), entries(2, 1), sync=True)


def test_a_read_is_bounded_but_never_empty() -> None:
    store = opened(MemoryStore())
    store.write(HardState(1), entries(1, 1, 1, 1), sync=True)
    assert [entry.index for entry in store.entries(1, 4, 0)] == [1]
    assert [entry.index for entry in store.entries(1, 4, 6)] == [1, 2]


@pytest.mark.parametrize(("node", "network"), [("b-1", NETWORK), ("a-1", b"\x01" * 32)])
def test_the_disk_of_another_node_or_network_is_refused(node: str, network: bytes) -> None:
    disk = MemoryStore()
    opened(disk)
    with pytest.raises(UnknownDurableState, match="belongs to another"):
        opened(disk.reopen(), node=node, network=network)


def test_records_without_a_mark_of_whose_they_are_are_refused() -> None:
    disk = MemoryStore()
    disk.write({b"s": b"\x00"})
    with pytest.raises(UnknownDurableState, match="no mark"):
        opened(disk)


@pytest.mark.parametrize("record", [b"", b"\xff", b"\x01", b"\xa0"])
def test_a_vote_that_cannot_be_read_stops_the_validator(record: bytes) -> None:
    disk = MemoryStore()
    opened(disk).write(HardState(1, "a-1"), (), sync=True)
    disk.write({b"s": record})
    with pytest.raises(UnknownDurableState, match="term and vote"):
        opened(disk.reopen())


def test_a_lost_vote_is_noticed() -> None:
    disk = MemoryStore()
    opened(disk).write(HardState(2, "a-1"), entries(1, 1, 2), sync=True)
    disk.write({b"s": None})
    with pytest.raises(UnknownDurableState, match="later than the term"):
        opened(disk.reopen())


def test_a_log_that_lost_its_beginning_is_noticed() -> None:
    disk = MemoryStore()
    opened(disk).write(HardState(1), entries(1, 1, 1), sync=True)
    disk.write({b"e" + (1).to_bytes(8, "big"): None})
    with pytest.raises(UnknownDurableState, match="begins at 2"):
        opened(disk.reopen())


def test_a_hole_in_the_log_is_noticed_when_it_is_read() -> None:
    disk = MemoryStore()
    opened(disk).write(HardState(1), entries(1, 1, 1, 1), sync=True)
    disk.write({b"e" + (2).to_bytes(8, "big"): None})
    store = opened(disk.reopen())
    with pytest.raises(UnknownDurableState, match="entry 2 is missing"):
        store.entries(1, 4, 10_000)
    with pytest.raises(UnknownDurableState, match="entry 2 is missing"):
        store.term(2)


def test_there_are_no_snapshots() -> None:
    with pytest.raises(SnapshotUnavailable):
        opened(MemoryStore()).snapshot()


def test_a_log_cut_at_any_byte_of_its_last_write_has_that_write_whole_or_not_at_all(tmp_path: Path) -> None:
    source = tmp_path / "disk"
    disk = LevelDBStore(source)
    store = opened(disk)
    store.write(HardState(1, "a-1"), entries(1, 1, 1), sync=True)
    (log,) = source.glob("*.log")
    before = log.stat().st_size
    store.write(HardState(2, "b-1"), entries(2, 2, 2), sync=True)
    disk.close()
    whole = log.read_bytes()
    assert len(whole) > before
    for size in range(before, len(whole) + 1, 3):
        target = tmp_path / f"cut-{size}"
        target.mkdir()
        for file in source.iterdir():
            (target / file.name).write_bytes(whole[:size] if file.name == log.name else file.read_bytes())
        cut = LevelDBStore(target)
        found = opened(cut)
        state = (found.initial_state()[0], [entry.term for entry in found.entries(1, found.last_index() + 1, 10_000)])
        assert state in ((HardState(1, "a-1"), [1, 1]), (HardState(2, "b-1"), [1, 2, 2])), size
        cut.close()


class Oracle:
    """A list of terms."""

    def __init__(self) -> None:
        self.terms: list[int] = []

    def write(self, first: int, terms: list[int]) -> None:
        self.terms[first - 1 :] = terms


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4)), max_size=12))
def test_the_log_is_what_a_list_would_be(writes: list[tuple[int, int]]) -> None:
    disk, oracle = MemoryStore(), Oracle()
    store = opened(disk)
    for term, (first, count) in enumerate(writes, 1):
        first = min(first, len(oracle.terms) + 1)
        store.write(HardState(term), entries(first, *[term] * count), sync=True)
        oracle.write(first, [term] * count)
    store = opened(disk.reopen())
    assert store.last_index() == len(oracle.terms)
    found = store.entries(1, store.last_index() + 1, 1 << 30) if oracle.terms else []
    assert [entry.term for entry in found] == oracle.terms


def test_where_changes_of_the_membership_are_is_known_after_a_restart_and_after_a_cut() -> None:
    disk = MemoryStore()
    store = opened(disk)
    changes = [Entry(1, index, EntryType.CONFIGURATION, b"change") for index in (3, 4)]
    store.write(HardState(1), [*entries(1, 1, 1), *changes, *entries(5, 1)], sync=True)
    for each in (store, opened(disk.reopen())):
        assert list(each.configuration_indexes()) == [3, 4]
    store.write(HardState(2), entries(4, 2), sync=True)
    for each in (store, opened(disk.reopen())):
        assert list(each.configuration_indexes()) == [3]

"""The vote and the log of the order on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import (
    Action,
    Compacted,
    Configuration,
    ConfigurationChange,
    Entry,
    EntryType,
    HardState,
    Membership,
    Misuse,
    Snapshot,
    SnapshotMetadata,
    SnapshotUnavailable,
    Step,
    Unavailable,
    encode_change,
    enter,
)
from ledger import cbor
from ledger.errors import UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.store import Batch, MemoryStore, Store, StoreUnavailable
from nodes.raft_store import RaftStore, decode_membership, encode_membership, verify_log

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
    with pytest.raises(UnknownDurableState, match="expected entries from 1 to 1, got 2"):
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


def test_without_a_provider_there_are_no_snapshots() -> None:
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


# --- where the log begins --------------------------------------------------------------------------------------------


class PowerCut(Exception):
    """The machine is gone."""


class DyingStore(MemoryStore):
    """Dies at its n-th write, before it or just after; a write that was not synced may be lost with it."""

    def __init__(self, lives: int, *, after: bool, keeps_unsynced: bool) -> None:
        super().__init__()
        self.lives = lives
        self._after = after
        self._keeps_unsynced = keeps_unsynced
        self._synced: dict[bytes, bytes] = {}

    def write(self, batch: Batch, sync: bool = True) -> None:
        self.lives -= 1
        if self.lives == 0 and not self._after:
            raise PowerCut
        super().write(batch, sync)
        if sync:
            self._synced = dict(self.iterate(b"", b"\xff"))
        if self.lives == 0:
            raise PowerCut

    def survivor(self) -> MemoryStore:
        """What a machine finds that starts again."""
        if self._keeps_unsynced:
            return self.reopen()
        survivor = MemoryStore()
        survivor.write(self._synced)
        return survivor


def add(member: str) -> ConfigurationChange:
    return ConfigurationChange((Step(Action.ADD_LEARNER, member, "a"),))


def change(term: int, index: int, member: str) -> Entry:
    return Entry(term, index, EntryType.CONFIGURATION, encode_change(add(member)))


def contents(store: RaftStore) -> tuple[object, ...]:
    first, last = store.first_index(), store.last_index()
    return (
        *store.initial_state(),
        first,
        store.term(first - 1),
        list(store.entries(first, last + 1, 1 << 30)) if last >= first else [],
        list(store.configuration_indexes()),
        store.membership_at(last),
    )


def test_a_compacted_log_goes_on_behind_its_base() -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(2, "a-1", 3), entries(1, 1, 1, 2, 2), sync=True)
    store.compact(3)
    for each in (store, opened(disk.reopen())):
        assert (each.first_index(), each.last_index(), each.term(3), each.term(4)) == (4, 4, 2, 2)
        assert list(each.entries(4, 5, 10_000)) == entries(4, 2)
        with pytest.raises(Compacted):
            each.term(2)
        with pytest.raises(Compacted):
            each.entries(3, 5, 10_000)
    store.write(None, entries(5, 2), sync=True)
    store.compact(2)
    assert (store.first_index(), store.last_index()) == (4, 5)
    assert [key for key, _ in disk.iterate(b"e", b"f")] == [b"e" + n.to_bytes(8, "big") for n in (4, 5)]


def test_a_log_compacted_to_its_end_is_empty_and_goes_on() -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(1, None, 2), entries(1, 1, 1), sync=True)
    store.compact(2)
    assert (store.first_index(), store.last_index(), store.term(2)) == (3, 2, 1)
    disk = disk.reopen()
    store = opened(disk)
    assert (store.first_index(), store.last_index(), store.term(2)) == (3, 2, 1)
    store.write(None, entries(3, 1), sync=True)
    assert opened(disk.reopen()).last_index() == 3


def test_nothing_beyond_the_end_is_forgotten() -> None:
    store = opened(MemoryStore())
    store.write(HardState(1), entries(1, 1), sync=True)
    with pytest.raises(Misuse, match="expected at most 1, got 2"):
        store.compact(2)


def test_changes_of_the_membership_are_found_at_a_start_and_survive_compaction_in_the_base() -> None:
    disk = MemoryStore()
    store = opened(disk)
    log = [*entries(1, 1), change(1, 2, "a-2"), *entries(3, 1), change(1, 4, "a-3"), *entries(5, 1)]
    store.write(HardState(1, None, 5), log, sync=True)
    with_one, with_both = enter(MEMBERSHIP, add("a-2")), enter(enter(MEMBERSHIP, add("a-2")), add("a-3"))
    for each in (store, opened(disk.reopen())):
        assert list(each.configuration_indexes()) == [2, 4]
        assert each.initial_state()[1] == MEMBERSHIP
        assert [each.membership_at(index) for index in (1, 2, 3, 4)] == [MEMBERSHIP, with_one, with_one, with_both]
    store.compact(3)
    for each in (store, opened(disk.reopen())):
        assert list(each.configuration_indexes()) == [4]
        assert each.initial_state()[1] == with_one
        assert each.membership_at(5) == with_both


def test_a_change_that_was_cut_off_leaves_no_mark() -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(1), [*entries(1, 1), change(1, 2, "a-2"), change(1, 3, "a-3")], sync=True)
    store.write(HardState(2), entries(3, 2), sync=True)
    for each in (store, opened(disk.reopen())):
        assert list(each.configuration_indexes()) == [2]
    store.write(HardState(3), entries(2, 3), sync=True)
    for each in (store, opened(disk.reopen())):
        assert list(each.configuration_indexes()) == []


JOINT = Membership(
    Configuration({"a-1": "a", "b-1": "b"}, frozenset({"n"}), frozenset({"l"})),
    Configuration({"a-2": "a", "b-1": "b"}),
)


def test_every_membership_is_read_back_as_it_was() -> None:
    for membership in (MEMBERSHIP, JOINT):
        assert decode_membership(cbor.decode(cbor.encode(encode_membership(membership)))) == membership


def test_a_snapshot_beyond_the_log_takes_the_place_of_all_of_it() -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(2, "b-1", 1), [*entries(1, 1), change(1, 2, "a-2"), *entries(3, 1)], sync=True)
    store.install(SnapshotMetadata(1_000_000, 3, JOINT))
    for each in (store, opened(disk.reopen())):
        assert each.initial_state() == (HardState(3, None, 1_000_000), JOINT)
        assert (each.first_index(), each.last_index(), each.term(1_000_000)) == (1_000_001, 1_000_000, 3)
        assert list(each.configuration_indexes()) == []
    assert next(disk.iterate(b"e", b"f"), None) is None
    store.write(None, entries(1_000_001, 3), sync=True)
    assert opened(disk.reopen()).last_index() == 1_000_001


def test_a_snapshot_of_the_logs_own_history_leaves_what_is_behind_it() -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(2, "b-1", 2), entries(1, 1, 1, 2, 2), sync=True)
    store.install(SnapshotMetadata(3, 2, MEMBERSHIP))
    for each in (store, opened(disk.reopen())):
        assert each.initial_state() == (HardState(2, "b-1", 3), MEMBERSHIP)
        assert list(each.entries(4, 5, 1000)) == entries(4, 2)


def test_a_snapshot_of_another_history_takes_the_uncommitted_tail_along() -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(2, "b-1", 1), entries(1, 1, 1, 2, 2), sync=True)
    store.install(SnapshotMetadata(3, 3, MEMBERSHIP))
    for each in (store, opened(disk.reopen())):
        assert each.initial_state() == (HardState(3, None, 3), MEMBERSHIP)
        assert (each.first_index(), each.last_index()) == (4, 3)
    store.write(None, entries(4, 3), sync=True)
    assert list(opened(disk.reopen()).entries(4, 5, 1000)) == entries(4, 3)


def test_a_snapshot_that_contradicts_what_was_committed_is_refused() -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(2, "b-1", 4), entries(1, 1, 1, 2, 2), sync=True)
    before = contents(store)
    with pytest.raises(UnknownDurableState, match="committed up to 4"):
        store.install(SnapshotMetadata(3, 3, MEMBERSHIP))
    with pytest.raises(Misuse, match="cannot lead back"):
        store.install(SnapshotMetadata(0, 1, MEMBERSHIP))
    assert contents(store) == contents(opened(disk.reopen())) == before


@pytest.mark.parametrize("what", ["compact", "install beyond", "install within", "install over another history"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("keeps_unsynced", [False, True])
def test_a_power_cut_at_any_write_leaves_the_log_as_it_was_or_as_it_is_to_be(
    what: str, after: bool, keeps_unsynced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.raft_store.DELETE_ENTRIES", 2)
    log = [*entries(1, 1, 1, 1), change(1, 4, "a-2"), *entries(5, 2, 2, 2), change(2, 8, "a-3"), *entries(9, 2)]

    def act(store: RaftStore) -> None:
        if what == "compact":
            store.compact(7)
        else:
            index, term = {"beyond": (20, 3), "within": (6, 2), "history": (6, 3)}[what.split()[-1]]
            membership = enter(MEMBERSHIP, add("a-2")) if what == "install within" else JOINT
            store.install(SnapshotMetadata(index, term, membership))

    def started(lives: int) -> tuple[DyingStore, RaftStore]:
        disk = DyingStore(1000, after=after, keeps_unsynced=keeps_unsynced)
        store = opened(disk)
        store.write(HardState(2, "a-1", 3), log, sync=True)
        disk.lives = lives
        return disk, store

    _, store = started(1000)
    before = contents(store)
    act(store)
    done = contents(store)
    found = set()
    for lives in range(1, 30):
        disk, store = started(lives)
        try:
            act(store)
        except PowerCut:
            pass
        else:
            assert lives > 2
            break
        left = disk.survivor()
        # Who looks at it before the next start does so must not call it damaged.
        assert [last for last, _ in verify_log(left, 1000)] == [RaftStore.positions(left)[2]]
        again = opened(left)
        state = contents(again)
        assert state in (before, done), (lives, state)
        found.add(state == done)
        # And it can be done again, and written to, with the same outcome.
        if state == before:
            act(again)
        assert contents(again) == done
        last = again.last_index()
        again.write(None, entries(last + 1, 3), sync=True)
        assert again.last_index() == last + 1
    else:
        pytest.fail("never came to its end")
    assert True in found


class FullDisk(MemoryStore):
    """Has no room after so many more writes."""

    room = 1000

    def write(self, batch: Batch, sync: bool = True) -> None:
        if self.room == 0:
            raise StoreUnavailable("the disk is full")
        self.room -= 1
        super().write(batch, sync)


def test_a_disk_that_is_full_while_the_log_is_cut_at_its_beginning_leaves_a_log_that_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nodes.raft_store.DELETE_ENTRIES", 2)
    disk = FullDisk()
    store = opened(disk)
    log = [*entries(1, 1, 1, 1), change(1, 4, "a-2"), *entries(5, 2, 2, 2)]
    store.write(HardState(2, "a-1", 3), log, sync=True)
    disk.room = 2
    store.compact(5)
    assert store.first_index() == 6
    assert store.configuration_indexes() == ()
    assert next(disk.iterate(b"e", b"f"))[0] == b"e" + (3).to_bytes(8, "big")
    membership = enter(MEMBERSHIP, add("a-2"))
    assert store.membership_at(6) == membership
    assert store.changes() == (6, membership, [])
    disk.room = 1000
    store.compact(6)
    assert next(disk.iterate(b"e", b"f"))[0] == b"e" + (7).to_bytes(8, "big")
    assert contents(opened(disk)) == contents(store)


class CountingStore(MemoryStore):
    """Counts the records that are looked at."""

    looked_at = 0

    def get(self, key: bytes) -> bytes | None:
        self.looked_at += 1
        return super().get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        for pair in super().iterate(start, stop, reverse):
            self.looked_at += 1
            yield pair


@pytest.mark.parametrize("compacted", [0, 2500, 5000])
def test_opening_looks_at_a_handful_of_records_however_long_the_log_is(compacted: int) -> None:
    disk = CountingStore()
    store = opened(disk)
    store.write(HardState(1, None, 5000), entries(1, *[1] * 5000), sync=True)
    store.compact(compacted)
    disk.looked_at = 0
    assert opened(disk).last_index() == 5000
    assert disk.looked_at < 10


def test_the_newest_snapshot_is_handed_on_if_it_reaches_the_log() -> None:
    store = opened(MemoryStore())
    store.write(HardState(1, None, 3), entries(1, 1, 1, 1), sync=True)
    store.compact(2)
    made = Snapshot(SnapshotMetadata(1, 1, MEMBERSHIP), b"one")
    store.snapshot_provider = lambda: made
    with pytest.raises(SnapshotUnavailable, match="ends at 1, the log begins at 3"):
        store.snapshot()
    made = Snapshot(SnapshotMetadata(2, 1, MEMBERSHIP), b"two")
    assert store.snapshot() is made


@pytest.mark.parametrize("record", [b"", b"\xff", b"\x01", b"\xa0"])
def test_a_beginning_that_cannot_be_read_stops_the_validator(record: bytes) -> None:
    disk = MemoryStore()
    store = opened(disk)
    store.write(HardState(1, "a-1", 2), entries(1, 1, 1), sync=True)
    store.compact(1)
    disk.write({b"b": record})
    with pytest.raises(UnknownDurableState, match="where it begins"):
        opened(disk.reopen())


def test_a_lost_beginning_or_end_is_noticed() -> None:
    for lost, expected in ((b"b", "begins at 3, expected 1"), (b"e" + (4).to_bytes(8, "big"), "committed up to 4")):
        disk = MemoryStore()
        store = opened(disk)
        store.write(HardState(1, "a-1", 4), entries(1, 1, 1, 1, 1), sync=True)
        store.compact(2)
        disk.write({lost: None})
        with pytest.raises(UnknownDurableState, match=expected):
            opened(disk.reopen())


class BasedOracle:
    """A list of terms, and how many of them are forgotten."""

    def __init__(self) -> None:
        self.terms: list[int] = []
        self.base = 0


@given(st.lists(st.tuples(st.sampled_from(["write", "compact", "install"]), st.integers(1, 9), st.integers(1, 4))))
def test_whatever_is_written_compacted_and_installed_the_log_is_what_a_list_would_be(
    steps: list[tuple[str, int, int]],
) -> None:
    disk, oracle = MemoryStore(), BasedOracle()
    store = opened(disk)
    for term, (what, at, count) in enumerate(steps, 1):
        if what == "write":
            first = max(oracle.base + 1, min(at, len(oracle.terms) + 1))
            store.write(HardState(term), entries(first, *[term] * count), sync=True)
            oracle.terms[first - 1 :] = [term] * count
        elif what == "compact" and at <= len(oracle.terms):
            store.compact(at)
            oracle.base = max(oracle.base, at)
        elif what == "install" and at > oracle.base:
            fits = at <= len(oracle.terms)
            of = oracle.terms[at - 1] if fits and count % 2 else term
            store.install(SnapshotMetadata(at, of, MEMBERSHIP))
            if not (fits and oracle.terms[at - 1] == of):
                oracle.terms = [0] * (at - 1) + [of]
            oracle.base = at
        store = opened(disk.reopen()) if count == 4 else store
        disk = disk if count != 4 else store._store  # type: ignore[assignment]
        assert (store.first_index(), store.last_index()) == (oracle.base + 1, len(oracle.terms))
        found = store.entries(oracle.base + 1, len(oracle.terms) + 1, 1 << 30)
        assert [entry.term for entry in found] == oracle.terms[oracle.base :]
        if oracle.terms:
            assert store.term(oracle.base) == (oracle.terms[oracle.base - 1] if oracle.base else 0)

"""Every record is what was written under its key, or is refused by name; old stores become checked ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checked import CHECKSUM_BYTES, FORMAT_KEY, CheckedStore, DamagedRecord, holds, sealed, write_unchecked
from ledger.errors import Misuse, UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.store import Batch, MemoryStore, Store, StoreUnavailable

KEYS = st.binary(min_size=1, max_size=12).filter(lambda key: key >= b"\x01")
VALUES = st.binary(max_size=40)


@pytest.fixture(params=["memory", "leveldb"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else LevelDBStore(tmp_path / "db")
    yield store
    store.close()


def everything(store: Store) -> dict[bytes, bytes]:
    return dict(store.iterate(b"", b"\xff" * 64))


def test_what_was_written_comes_back_and_the_format_is_nobodys_record(disk: Store) -> None:
    store = CheckedStore(disk)
    store.write({b"a": b"1", b"b": b"", b"c": b"3"})
    store.write({b"c": None})
    for each in (store, store.view(), CheckedStore(disk)):
        assert (each.get(b"a"), each.get(b"b"), each.get(b"c"), each.get(b"d")) == (b"1", b"", None, None)
        assert list(each.iterate(b"", b"\xff")) == [(b"a", b"1"), (b"b", b"")]
        assert list(each.iterate(b"", b"\xff", reverse=True)) == [(b"b", b""), (b"a", b"1")]
    assert disk.get(FORMAT_KEY) is not None


@pytest.mark.parametrize("key", [b"", FORMAT_KEY, b"\x00\x01", b"\x00\xff"])
def test_the_stores_own_key_is_not_for_its_users(key: bytes) -> None:
    with pytest.raises(Misuse, match="belongs to the store"):
        CheckedStore(MemoryStore()).write({key: b"x"})


@given(KEYS, VALUES, st.data())
def test_no_bit_of_a_record_flips_unnoticed(key: bytes, value: bytes, data: st.DataObject) -> None:
    disk = MemoryStore()
    store = CheckedStore(disk)
    store.write({key: value})
    record = bytearray(disk.get(key) or b"")
    bits = data.draw(st.sets(st.integers(0, len(record) * 8 - 1), min_size=1, max_size=3))
    for bit in bits:
        record[bit // 8] ^= 1 << bit % 8
    disk.write({key: bytes(record)})
    for read in (lambda: store.get(key), lambda: everything(store), lambda: store.view().get(key)):
        with pytest.raises(DamagedRecord) as caught:
            read()
        assert caught.value.key == key


@given(KEYS, VALUES, st.integers(1, 50))
def test_no_record_is_cut_short_or_lengthened_unnoticed(key: bytes, value: bytes, cut: int) -> None:
    record = sealed(key, value)
    assert holds(key, record)
    for damaged in (record[:-cut], record + bytes(cut), record + record, b""):
        disk = MemoryStore()
        store = CheckedStore(disk)
        disk.write({key: damaged})
        with pytest.raises(DamagedRecord):
            store.get(key)


@given(KEYS, VALUES, KEYS, VALUES)
def test_the_record_of_another_key_is_not_taken_for_ones_own(one: bytes, a: bytes, other: bytes, b: bytes) -> None:
    if one == other:
        return
    disk = MemoryStore()
    store = CheckedStore(disk)
    store.write({one: a, other: b})
    disk.write({one: disk.get(other), other: disk.get(one)})
    for key in (one, other):
        with pytest.raises(DamagedRecord):
            store.get(key)


def test_damage_is_described_in_the_words_of_who_knows_the_keys() -> None:
    disk = MemoryStore()
    store = CheckedStore(disk, name="the ledger in d", describe=lambda key: f"entry {key[-1]}")
    store.write({b"e\x07": b"x"})
    disk.write({b"e\x07": b"y" + (disk.get(b"e\x07") or b"")[1:]})
    with pytest.raises(DamagedRecord, match=r"the ledger in d: entry 7 is damaged: its checksum should be \w+, got"):
        store.get(b"e\x07")


# --- stores of the format before -------------------------------------------------------------------------------------


@given(st.dictionaries(KEYS, VALUES, max_size=12), st.dictionaries(KEYS, VALUES, max_size=4))
def test_an_old_store_has_the_same_records_after_it_was_opened(
    old: dict[bytes, bytes], new: dict[bytes, bytes]
) -> None:
    disk = MemoryStore()
    disk.write(old)
    store = CheckedStore(disk)
    assert everything(store) == old
    store.write(new)
    assert everything(CheckedStore(disk)) == {**old, **new}
    assert all(holds(key, record) for key, record in everything(disk).items())


class PowerCut(Exception):
    """The machine is gone."""


class DyingStore(MemoryStore):
    """Dies after its n-th write; what was not synced may or may not be there when it starts again."""

    lives = 1000
    keeps_unsynced = False

    def __init__(self) -> None:
        super().__init__()
        self.synced: dict[bytes, bytes] = {}

    def write(self, batch: Batch, sync: bool = True) -> None:
        super().write(batch, sync)
        if sync:
            self.synced = everything(self)
        self.lives -= 1
        if self.lives == 0:
            raise PowerCut


@pytest.mark.parametrize("keeps_unsynced", [False, True])
def test_a_rewriting_that_is_cut_off_anywhere_goes_on_at_the_next_start(
    keeps_unsynced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.checked.REWRITE_BATCH_BYTES", 30)
    old = {b"key-%02d" % number: b"value %d" % number for number in range(20)}
    for lives in range(1, 30):
        disk = DyingStore()
        disk.write(old)
        disk.lives = lives
        try:
            CheckedStore(disk)
        except PowerCut:
            survivor = MemoryStore()
            survivor.write(everything(disk) if keeps_unsynced else disk.synced)
            assert everything(CheckedStore(survivor)) == old
            assert all(holds(key, record) for key, record in everything(survivor).items())
        else:
            assert lives > 5
            return
    pytest.fail("never came to its end")


@pytest.mark.parametrize("keeps_unsynced", [False, True])
def test_a_way_back_that_is_cut_off_anywhere_is_ended_later_and_not_opened_before(
    keeps_unsynced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.checked.REWRITE_BATCH_BYTES", 30)
    old = {b"key-%02d" % number: b"value %d" % number for number in range(20)}
    for lives in range(1, 30):
        disk = DyingStore()
        disk.write(old)
        CheckedStore(disk)
        disk.lives = lives
        try:
            write_unchecked(disk)
        except PowerCut:
            survivor = MemoryStore()
            survivor.write(everything(disk) if keeps_unsynced else disk.synced)
            if survivor.get(FORMAT_KEY) is not None:
                with pytest.raises(UnknownDurableState, match="going back"):
                    CheckedStore(survivor)
            write_unchecked(survivor)
            assert everything(survivor) == old
        else:
            assert lives > 5
            assert everything(disk) == old
            write_unchecked(disk)
            assert everything(disk) == old
            return
    pytest.fail("never came to its end")


def test_a_damaged_record_is_not_taken_back_to_where_nothing_would_notice() -> None:
    disk = MemoryStore()
    CheckedStore(disk).write({b"aa": b"1", b"bb": b"2"})
    disk.write({b"bb": b"3" + (disk.get(b"bb") or b"")[1:]})
    with pytest.raises(DamagedRecord):
        write_unchecked(disk)


def test_progress_of_a_rewriting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.checked.REWRITE_BATCH_BYTES", 30)
    disk = MemoryStore()
    disk.write({b"key-%02d" % number: b"value" for number in range(20)})
    told: list[int] = []
    CheckedStore(disk, on_rewritten=told.append)
    assert told == sorted(told)
    assert told[-1] == 20
    assert len(told) > 3
    CheckedStore(disk, on_rewritten=lambda _: pytest.fail("rewritten twice"))


def test_a_checked_store_that_lost_its_mark_is_not_taken_for_an_old_one() -> None:
    disk = MemoryStore()
    CheckedStore(disk).write({b"aa": b"1", b"bb": b"2"})
    before = everything(disk)
    disk.write({FORMAT_KEY: None})
    with pytest.raises(DamagedRecord, match="format is missing"):
        CheckedStore(disk)
    assert {**everything(disk), FORMAT_KEY: before[FORMAT_KEY]} == before


@pytest.mark.parametrize("mark", [b"", b"\x00", b"comity store 2", sealed(FORMAT_KEY, b"comity store 3")])
def test_a_mark_that_is_damaged_or_of_a_later_program_is_refused(mark: bytes) -> None:
    disk = MemoryStore()
    CheckedStore(disk).write({b"aa": b"1"})
    disk.write({FORMAT_KEY: mark})
    with pytest.raises(UnknownDurableState, match="format"):
        CheckedStore(disk)
    assert disk.get(b"aa") == sealed(b"aa", b"1")


def test_a_checksum_costs_four_bytes_a_record() -> None:
    assert len(sealed(b"key", b"value")) == len(b"value") + CHECKSUM_BYTES


# --- acknowledged writes ---------------------------------------------------------------------------------------------


class Noted:
    """The number, as it survives."""

    def __init__(self, number: int | None = None) -> None:
        self.number = number

    def read(self) -> int | None:
        return self.number

    def note(self, number: int) -> None:
        self.number = number


def test_a_store_that_lost_its_last_acknowledged_write_is_refused() -> None:
    disk, noted = MemoryStore(), Noted()
    store = CheckedStore(disk, acknowledged=noted)
    store.write({b"aa": b"1"})
    before = disk.reopen()
    store.write({b"aa": b"2"})
    assert noted.number == 2
    assert CheckedStore(disk.reopen(), acknowledged=noted).get(b"aa") == b"2"
    with pytest.raises(UnknownDurableState, match="last write is number 1, but number 2 was on the disk"):
        CheckedStore(before, acknowledged=noted)


def test_what_was_not_synced_may_be_lost_and_a_number_that_is_behind_or_gone_says_nothing() -> None:
    disk, noted = MemoryStore(), Noted()
    store = CheckedStore(disk, acknowledged=noted)
    store.write({b"aa": b"1"})
    before = disk.reopen()
    store.write({b"aa": b"2"}, sync=False)
    assert CheckedStore(before, acknowledged=noted).get(b"aa") == b"1"
    store.write({b"aa": b"3"})
    for number in (None, 0, 1):
        assert CheckedStore(disk.reopen(), acknowledged=Noted(number)).get(b"aa") == b"3"


def test_a_write_that_was_refused_has_no_number() -> None:
    class Full(MemoryStore):
        full = False

        def write(self, batch: Batch, sync: bool = True) -> None:
            if self.full:
                raise StoreUnavailable("full")
            super().write(batch, sync)

    disk, noted = Full(), Noted()
    store = CheckedStore(disk, acknowledged=noted)
    store.write({b"aa": b"1"})
    disk.full = True
    with pytest.raises(StoreUnavailable):
        store.write({b"aa": b"2"})
    assert noted.number == 1
    disk.full = False
    store.write({b"aa": b"3"})
    assert CheckedStore(disk.reopen(), acknowledged=noted).get(b"aa") == b"3"


def test_a_damaged_number_is_named() -> None:
    disk = MemoryStore()
    CheckedStore(disk, acknowledged=Noted()).write({b"aa": b"1"})
    disk.write({b"\x00\x01": b"123456789012"})
    with pytest.raises(DamagedRecord, match="number of its last write"):
        CheckedStore(disk)

"""Every store keeps its promises: order, whole batches, iteration that does not move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Misuse
from ledger.leveldb import LevelDBStore
from ledger.store import MAX_KEY_BYTES, MemoryStore, Store


@pytest.fixture(params=["memory", "leveldb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else LevelDBStore(tmp_path / "db")
    yield opened
    opened.close()


def test_keys_come_back_in_order_of_unsigned_bytes(store: Store) -> None:
    store.write({b"\xff": b"3", b"a": b"1", b"": b"0", b"a\x00": b"2"})
    assert list(store.iterate(b"", b"\xff\xff")) == [(b"", b"0"), (b"a", b"1"), (b"a\x00", b"2"), (b"\xff", b"3")]
    assert [key for key, _ in store.iterate(b"a", b"\xff", reverse=True)] == [b"a\x00", b"a"]


def test_a_missing_key_has_no_value_and_a_deleted_one_is_missing(store: Store) -> None:
    assert store.get(b"k") is None
    store.write({b"k": b""})
    assert store.get(b"k") == b""
    store.write({b"k": None, b"never there": None})
    assert store.get(b"k") is None


def test_an_iteration_sees_the_store_as_it_was_when_it_began(store: Store) -> None:
    store.write({b"a": b"1", b"b": b"1"})
    pairs = store.iterate(b"", b"z")
    store.write({b"a": b"2", b"b": None, b"c": b"2"})
    assert list(pairs) == [(b"a", b"1"), (b"b", b"1")]


def test_a_view_stays_as_the_store_was_and_cannot_be_written(store: Store) -> None:
    store.write({b"a": b"1", b"b": b"1"})
    view = store.view()
    store.write({b"a": b"2", b"b": None, b"c": b"2"})
    assert (view.get(b"a"), view.get(b"b"), view.get(b"c")) == (b"1", b"1", None)
    assert list(view.iterate(b"", b"z", reverse=True)) == [(b"b", b"1"), (b"a", b"1")]
    with pytest.raises(Misuse, match="cannot be written"):
        view.write({b"a": b"3"})
    view.close()
    view.close()
    with pytest.raises(Misuse):
        view.get(b"a")
    assert store.get(b"a") == b"2"


def test_a_view_ends_with_its_store(store: Store) -> None:
    store.write({b"a": b"1"})
    view = store.view()
    store.close()
    if isinstance(store, LevelDBStore):
        with pytest.raises(Misuse):
            view.get(b"a")
        with pytest.raises(Misuse):
            list(view.iterate(b"", b"z"))
    view.close()


def test_a_closed_store_says_so_and_closes_twice(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(Misuse):
        store.get(b"a")
    with pytest.raises(Misuse):
        store.iterate(b"", b"z")
    with pytest.raises(Misuse):
        store.write({b"a": b"1"})


def test_an_oversized_key_is_refused_and_nothing_of_its_batch_is_written(store: Store) -> None:
    with pytest.raises(Misuse):
        store.write({b"a": b"1", bytes(MAX_KEY_BYTES + 1): b"1"})
    assert store.get(b"a") is None


@given(st.lists(st.dictionaries(st.binary(max_size=3), st.none() | st.binary(max_size=3), max_size=6), max_size=8))
def test_the_memory_store_agrees_with_a_sorted_dictionary(batches: list[dict[bytes, bytes | None]]) -> None:
    store, plain = MemoryStore(), dict[bytes, bytes]()
    for batch in batches:
        store.write(batch)
        for key, value in batch.items():
            if value is None:
                plain.pop(key, None)
            else:
                plain[key] = value
        expected = sorted((key, value) for key, value in plain.items() if b"\x01" <= key < b"\xf0")
        assert list(store.iterate(b"\x01", b"\xf0")) == expected
        assert list(store.iterate(b"\x01", b"\xf0", reverse=True)) == expected[::-1]

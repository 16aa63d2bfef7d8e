"""A state built from a stream is what the map holds that came to it by updates; nothing else is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Malformed, Misuse, Untrue
from ledger.statemap import StateMap, root_of_sorted_leaves
from ledger.stateproof import EMPTY, leaf_hash, state_path
from ledger.statestream import LENGTH_BYTES, StateBuilder, state_chunks
from ledger.store import MemoryStore

PREFIX = b"\x02"


def filled(records: dict[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    state = StateMap(store, PREFIX)
    # In two updates and with one key that comes and goes, so that pages were split and merged on the way.
    half = dict(sorted(records.items())[::2])
    for changes in ({**half, "passing": b"x"}, {**records, "passing": None}):
        update = state.update(changes)
        store.write(update.writes)
        state.adopt(update)
    return store


def built(store: MemoryStore, chunk_bytes: int = 64) -> tuple[bytes, MemoryStore]:
    copy = MemoryStore()
    builder = StateBuilder(PREFIX)
    for chunk in state_chunks(store, PREFIX, chunk_bytes):
        copy.write(builder.add(chunk))
    root, last = builder.finish()
    copy.write(last)
    return root, copy


def contents(store: MemoryStore) -> dict[bytes, bytes]:
    return dict(store.iterate(b"", b"\xff"))


records_of_any_kind = st.dictionaries(
    st.text(min_size=1, max_size=12).filter(lambda key: key != "passing"), st.binary(max_size=40), max_size=60
)


@given(records_of_any_kind, st.integers(1, 400))
def test_a_state_built_from_a_stream_is_byte_for_byte_the_one_that_grew(
    records: dict[str, bytes], chunk_bytes: int
) -> None:
    store = filled(records)
    root, copy = built(store, chunk_bytes)
    assert contents(copy) == contents(store)
    assert root == StateMap(copy, PREFIX).root
    leaves = sorted((state_path(key), leaf_hash(state_path(key), _hash(value))) for key, value in records.items())
    assert root == root_of_sorted_leaves(leaves)


def _hash(value: bytes) -> bytes:
    from hashlib import sha256

    return sha256(value).digest()


def test_thousands_of_records_fill_dense_and_sparse_pages_alike() -> None:
    store = filled({f"declaration/{number:06d}": b"%d" % number for number in range(3000)})
    root, copy = built(store, 10_000)
    assert contents(copy) == contents(store)
    StateMap(copy, PREFIX).verify_all()
    assert root != EMPTY


def test_the_names_of_the_records_come_along_when_asked_for() -> None:
    store = filled({"a": b"1", "b": b"2"})
    names: list[bytes] = []
    builder = StateBuilder(PREFIX)
    for chunk in state_chunks(store, PREFIX):
        builder.add(chunk, names)
    assert sorted(names) == [b"a", b"b"]
    assert builder.records == 2
    assert 0 < builder.fraction < 1


def chunk_of(*records: tuple[str, bytes]) -> bytes:
    parts = []
    for key, value in records:
        record = len(key.encode()).to_bytes(2, "big") + key.encode() + value
        parts.append(len(record).to_bytes(LENGTH_BYTES, "big") + record)
    return b"".join(parts)


def in_order(*keys: str) -> list[str]:
    return sorted(keys, key=state_path)


def test_records_out_of_order_or_twice_are_refused() -> None:
    first, second = in_order("a", "b")
    with pytest.raises(Untrue, match="out of order"):
        StateBuilder(PREFIX).add(chunk_of((second, b""), (first, b"")))
    builder = StateBuilder(PREFIX)
    builder.add(chunk_of((first, b"")))
    with pytest.raises(Untrue, match="out of order"):
        builder.add(chunk_of((first, b"")))


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 6])
def test_a_chunk_that_ends_within_a_record_is_refused(cut: int) -> None:
    chunk = chunk_of(("abc", b"value"))
    with pytest.raises(Malformed):
        StateBuilder(PREFIX).add(chunk[:cut])


def test_a_record_whose_key_is_longer_than_itself_is_refused() -> None:
    with pytest.raises(Malformed):
        StateBuilder(PREFIX).add(bytes((0, 0, 0, 3, 0, 9, 65)))


def test_nothing_is_added_to_a_finished_state() -> None:
    builder = StateBuilder(PREFIX)
    assert builder.finish() == (EMPTY, {PREFIX + b"r": EMPTY})
    with pytest.raises(Misuse):
        builder.add(b"")

"""The audit's state against the map that validators keep, with so little room that everything goes to the scratch."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.audit_state import AuditState, Numbers, Scratch
from ledger.errors import Misuse
from ledger.statemap import MAX_STATE_KEY_BYTES, StateMap
from ledger.store import MemoryStore, StoreUnavailable

# Few keys, so that they are set again and taken out; many blocks of them, so that they are put away in between.
KEYS = st.integers(0, 60).map(lambda number: f"escort/{number}")
VALUES = st.none() | st.binary(min_size=0, max_size=6)
BLOCKS = st.lists(st.dictionaries(KEYS, VALUES, max_size=12), max_size=25)


@given(BLOCKS, st.sampled_from([2, 8, 64]))
@settings(max_examples=60, deadline=None)
def test_the_root_and_every_value_are_those_of_the_map_of_a_validator(
    blocks: list[dict[str, bytes | None]], held: int
) -> None:
    store = MemoryStore()
    dumb = StateMap(store)
    audited = AuditState(held_values=held, held_pages=held)
    try:
        for changes in blocks:
            # A block reads what it changes, and more: reading must not hide what is put away.
            for key in list(changes)[::2]:
                assert audited.get(key) == dumb.get(key)
            update = dumb.update(changes)
            store.write(update.writes)
            dumb.adopt(update)
            audited.apply(changes)
            assert audited.root == dumb.root
        for number in range(61):
            assert audited.get(f"escort/{number}") == dumb.get(f"escort/{number}")
    finally:
        audited.close()


def test_what_was_put_away_and_taken_out_since_does_not_come_back() -> None:
    state = AuditState(held_values=2, held_pages=2)
    state.apply({"a": b"1", "b": b"2", "c": b"3"})
    state.apply({"d": b"4"})
    state.apply({"a": None, "b": None})
    for number in range(20):
        state.apply({f"x{number}": b"x"})
    assert state.get("a") is None
    assert state.get("b") is None
    assert state.get("c") == b"3"
    state.close()


def test_a_key_that_no_state_may_hold_is_refused_as_a_validator_refuses_it() -> None:
    with pytest.raises(Misuse, match="state key is too long"):
        AuditState().apply({"k" * (MAX_STATE_KEY_BYTES + 1): b""})


class _Full(Scratch):
    """A disk with no room."""

    def _open(self) -> sqlite3.Connection:
        database = super()._open()
        database.execute("PRAGMA max_page_count = 4")
        return database


def test_a_full_disk_is_said_to_be_one() -> None:
    scratch = _Full()
    with pytest.raises(StoreUnavailable, match=r"scratch file: .* make room for temporary files"):
        scratch.put([(number.to_bytes(2, "big"), bytes(3000)) for number in range(100)])
    scratch.close()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(1, 9))
@settings(deadline=None)
def test_numbers_come_back_in_their_order_however_few_are_held(numbers: list[int], held: int) -> None:
    kept = Numbers(held)
    for number in numbers:
        kept.append(number)
    assert len(kept) == len(numbers)
    assert list(kept) == list(kept) == numbers
    kept.append(7)
    assert list(kept) == [*numbers, 7], "reading does not end the writing"
    kept.close()

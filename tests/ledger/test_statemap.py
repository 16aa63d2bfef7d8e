"""The authenticated map against a second implementation that is too simple to be wrong."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Malformed, Misuse, UnknownDurableState, Untrue
from ledger.statemap import StateMap, StateUpdate, root_of_sorted_leaves
from ledger.stateproof import EMPTY, StateProof, leaf_hash, parse_state_proof, state_path, verify_state_proof
from ledger.store import MemoryStore

# Keys whose paths share many leading digits, found by search: pages nest six deep, which random keys seldom do.
NESTING_KEYS: list[str] = []


def _find_nesting_keys() -> list[str]:
    by_prefix: dict[str, list[str]] = {}
    for number in range(4000):
        by_prefix.setdefault(sha256(f"k{number}".encode()).hexdigest()[:3], []).append(f"k{number}")
    groups = sorted((group for group in by_prefix.values() if len(group) >= 4), key=len, reverse=True)
    return [key for group in groups[:6] for key in group[:6]] + [f"k{number}" for number in range(20)]


NESTING_KEYS = _find_nesting_keys()


def oracle(values: dict[str, bytes]) -> bytes:
    """Root of the map, straight from the definition."""
    return _oracle({sha256(key.encode()).hexdigest(): value for key, value in values.items()}, 0)


def _oracle(values: dict[str, bytes], depth: int) -> bytes:
    if not values:
        return bytes(32)
    if len(values) == 1:
        ((path, value),) = values.items()
        return sha256(b"\x01" + bytes.fromhex(path) + sha256(value).digest()).digest()
    quads = b""
    for quad in ("0123", "4567", "89ab", "cdef"):
        children = [_oracle({p: v for p, v in values.items() if p[depth] == digit}, depth + 1) for digit in quad]
        quads += sha256(b"\x03" + b"".join(children)).digest() if any(map(any, children)) else bytes(32)
    return sha256(b"\x02" + quads).digest()


def apply(state: StateMap, store: MemoryStore, changes: dict[str, bytes | None]) -> None:
    update = state.update(changes)
    store.write(update.writes)
    state.adopt(update)


changes_strategy = st.dictionaries(st.sampled_from(NESTING_KEYS), st.none() | st.binary(max_size=3), max_size=12)


@given(st.lists(changes_strategy, max_size=8), st.integers(1, 8))
def test_any_history_gives_the_root_values_and_pages_that_the_contents_alone_define(
    batches: list[dict[str, bytes | None]], cache_pages: int
) -> None:
    store, plain = MemoryStore(), dict[str, bytes]()
    state = StateMap(store, b"s", cache_pages=cache_pages)
    for changes in batches:
        apply(state, store, changes)
        plain.update({key: value for key, value in changes.items() if value is not None})
        for key, value in changes.items():
            if value is None:
                plain.pop(key, None)
        assert state.root == oracle(plain)
        assert dict(state.items()) == plain
    fresh_store = MemoryStore()
    fresh = StateMap(fresh_store, b"s")
    apply(fresh, fresh_store, dict(plain))
    everything = list(store.iterate(b"s", b"t"))
    assert list(fresh_store.iterate(b"s", b"t")) == everything or not plain
    assert StateMap(store, b"s").root == state.root
    state.verify_all()


@given(changes_strategy, st.sampled_from(NESTING_KEYS))
def test_every_key_has_a_proof_of_what_it_is_and_of_nothing_else(changes: dict[str, bytes | None], asked: str) -> None:
    store = MemoryStore()
    state = StateMap(store)
    apply(state, store, changes)
    value = changes.get(asked)
    proof = state.prove(asked)
    verify_state_proof(state.root, asked, value, proof)
    encoded = proof.encode()
    assert parse_state_proof(encoded) == proof
    verify_state_proof(state.root, asked, value, encoded)
    for wrong in (b"wrong", None if value is not None else b""):
        with pytest.raises(Untrue):
            verify_state_proof(state.root, asked, wrong, encoded)
    with pytest.raises(Untrue):
        verify_state_proof(bytes(31) + b"\x01", asked, value, encoded)


@given(changes_strategy, st.sampled_from(NESTING_KEYS), st.data())
def test_a_proof_with_any_bit_flipped_is_refused(
    changes: dict[str, bytes | None], asked: str, data: st.DataObject
) -> None:
    store = MemoryStore()
    state = StateMap(store)
    apply(state, store, {**changes, "k1": b"one", "k2": b"two"})
    encoded = bytearray(state.prove(asked).encode())
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Untrue, Malformed)):
        verify_state_proof(state.root, asked, state.get(asked), bytes(encoded))


def test_every_single_bit_of_a_deep_proof_counts() -> None:
    store = MemoryStore()
    state = StateMap(store)
    apply(state, store, dict.fromkeys(NESTING_KEYS, b"value"))
    present, absent = NESTING_KEYS[0], next(f"a{n}" for n in range(999) if state.prove(f"a{n}").other is not None)
    for key, value in ((present, b"value"), (absent, None)):
        encoded = state.prove(key).encode()
        verify_state_proof(state.root, key, value, encoded)
        for bit in range(len(encoded) * 8):
            flipped = bytearray(encoded)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises((Untrue, Malformed)):
                verify_state_proof(state.root, key, value, bytes(flipped))


def test_a_proof_for_one_key_proves_nothing_about_another() -> None:
    store = MemoryStore()
    state = StateMap(store)
    apply(state, store, {f"k{number}": b"same" for number in range(60)})
    encoded = state.prove("k1").encode()
    for number in (0, *range(2, 90)):
        for claim in (b"same", None):
            with pytest.raises(Untrue):
                verify_state_proof(state.root, f"k{number}", claim, encoded)


def test_absence_cannot_be_shown_with_an_entry_that_sits_elsewhere() -> None:
    here, there = "k1", "k2"
    other = (state_path(there), sha256(b"x").digest())
    store = MemoryStore()
    state = StateMap(store)
    apply(state, store, {there: b"x"})
    verify_state_proof(state.root, here, None, StateProof((), other))
    with pytest.raises(Untrue, match="itself"):
        verify_state_proof(state.root, there, None, StateProof((), other))
    with pytest.raises(Untrue, match="sit"):
        verify_state_proof(state.root, here, None, StateProof(((EMPTY,) * 6,), other))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x83\x40\x40\xf7", b"\x83\x41\x40\x40\xf6", b"\x83\x41\x01\x40\xf6"])
def test_malformed_proofs_are_told_from_untrue_ones(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_state_proof(data)


def test_an_explicit_empty_hash_and_an_overlong_proof_are_malformed() -> None:
    with pytest.raises(Malformed, match="empty hash"):
        parse_state_proof(b"\x83\x41\x01\x58\x20" + bytes(32) + b"\xf6")
    with pytest.raises(Malformed, match="deep"):
        parse_state_proof(b"\x83\x58\x41" + bytes(65) + b"\x40\xf6")
    with pytest.raises(Malformed, match="too large"):
        parse_state_proof(bytes(20_000))


def test_computing_an_update_changes_nothing_until_it_is_adopted() -> None:
    store = MemoryStore()
    state = StateMap(store)
    apply(state, store, {f"k{number}": b"before" for number in range(300)})
    root, stored = state.root, list(store.iterate(b"", b"\xff"))
    # The write fails: the update is thrown away, and another one must come out as if it had never been computed.
    state.update({f"k{number}": None if number % 2 else b"lost" for number in range(400)})
    assert (state.root, list(store.iterate(b"", b"\xff"))) == (root, stored)
    apply(state, store, {"k7": b"after"})
    assert state.root == oracle({**{f"k{number}": b"before" for number in range(300)}, "k7": b"after"})
    state.verify_all()


def test_an_update_computed_from_another_root_is_not_adopted() -> None:
    store = MemoryStore()
    state = StateMap(store)
    stale = state.update({"a": b"1"})
    apply(state, store, {"b": b"1"})
    with pytest.raises(Misuse):
        state.adopt(stale)


@given(st.lists(st.tuples(changes_strategy, st.sampled_from(["adopt", "drop", "adopt the one before"])), max_size=12))
def test_updates_that_are_dropped_or_overtaken_leave_nothing_behind_in_memory(
    steps: list[tuple[dict[str, bytes | None], str]],
) -> None:
    """A write that failed is tried again, after other updates perhaps: pages that it altered must not be used."""
    store = MemoryStore()
    state = StateMap(store)
    values: dict[str, bytes] = {}
    # Computed from the present root, not adopted yet.
    made: list[tuple[StateUpdate, dict[str, bytes | None]]] = []
    for changes, fate in steps:
        made.append((state.update(changes), changes))
        if fate == "drop":
            continue
        update, chosen = made[-1] if fate == "adopt" else made[0]
        store.write(update.writes)
        state.adopt(update)
        made.clear()
        values = {key: value for key, value in {**values, **chosen}.items() if value is not None}
        assert state.root == oracle(values)
    again = state.update({"k0": b"x"})
    assert again.root == oracle({**values, "k0": b"x"})


def test_an_empty_update_leaves_the_root() -> None:
    store = MemoryStore()
    state = StateMap(store)
    assert state.update({}).root == state.root == EMPTY
    apply(state, store, {"a": b"1"})
    assert state.update({}).root == state.root
    assert state.update({"b": None}).root == state.root


def read_everything(store: MemoryStore) -> None:
    reopened = StateMap(store.reopen())
    reopened.verify_all()
    for asked in NESTING_KEYS:
        reopened.prove(asked)


def test_damage_in_the_store_is_unknown_durable_state() -> None:
    for kind in (b"r", b"p", b"v"):
        store = MemoryStore()
        state = StateMap(store)
        apply(state, store, dict.fromkeys(NESTING_KEYS, b"value"))
        key, value = next(store.iterate(kind, kind + b"\xff" * 40))
        for damaged in (value[:-1], value[:-1] + bytes((value[-1] ^ 1,)), b""):
            store.write({key: damaged})
            with pytest.raises(UnknownDurableState):
                read_everything(store)


@given(st.dictionaries(st.sampled_from(NESTING_KEYS), st.binary(max_size=2), max_size=40))
def test_the_root_of_sorted_leaves_is_the_root_of_the_map(values: dict[str, bytes]) -> None:
    leaves = sorted((state_path(key), leaf_hash(state_path(key), sha256(v).digest())) for key, v in values.items())
    assert root_of_sorted_leaves(leaves) == oracle(values)


def test_a_long_random_history_stays_with_the_definition() -> None:
    chooser = random.Random(7)
    store, plain = MemoryStore(), dict[str, bytes]()
    state = StateMap(store, cache_pages=16)
    for _ in range(40):
        changes: dict[str, bytes | None] = {}
        for _ in range(chooser.randrange(1, 200)):
            changes[f"key/{chooser.randrange(3000)}"] = chooser.choice((None, b"a", b"b", b"c"))
        apply(state, store, changes)
        for key, value in changes.items():
            if value is None:
                plain.pop(key, None)
            else:
                plain[key] = value
    assert state.root == oracle(plain)
    state.verify_all()
    apply(state, store, dict.fromkeys(plain))
    assert state.root == EMPTY
    assert len(store) == 1

"""One proof for many leaves: against a tree that is computed whole, for every shape and every way to alter it."""

from __future__ import annotations

from hashlib import sha256
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import TILE_WIDTH, inclusion_proof, leaf_hash, verify_inclusion
from ledger.multiproof import MAX_PROVEN_LEAVES, multiproof, multiproof_tiles, verify_multiproof
from tests.ledger.archives import naive_root

Leaves = list[bytes]


def leaves_of(size: int) -> Leaves:
    return [leaf_hash(b"%d" % number) for number in range(size)]


class Tiles:
    """Tiles of a list of leaves, computed the slow way, that says what was read."""

    def __init__(self, leaves: Leaves) -> None:
        self._levels = [leaves]
        while len(self._levels[-1]) >= TILE_WIDTH:
            row = self._levels[-1]
            count = len(row) // TILE_WIDTH
            self._levels.append([naive_root(row[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]) for n in range(count)])
        self.read: set[tuple[int, int, int]] = set()

    def __call__(self, level: int, index: int, width: int) -> bytes:
        self.read.add((level, index, width))
        return b"".join(self._levels[level][index * TILE_WIDTH : index * TILE_WIDTH + width])


def oracle(indexes: tuple[int, ...], leaves: Leaves, start: int, stop: int) -> list[bytes]:
    """The definition, word for word, over the whole tree."""
    inside = [index for index in indexes if start <= index < stop]
    if not inside:
        return [naive_root(leaves[start:stop])]
    if stop - start == 1:
        return []
    half = 1
    while half * 2 < stop - start:
        half *= 2
    return oracle(indexes, leaves, start, start + half) + oracle(indexes, leaves, start + half, stop)


def test_every_set_of_leaves_of_every_small_tree_has_the_proof_of_the_definition_and_verifies() -> None:
    for size in range(1, 9):
        leaves = leaves_of(size)
        root = naive_root(leaves)
        for count in range(1, size + 1):
            for indexes in combinations(range(size), count):
                proof = multiproof(indexes, size, Tiles(leaves))
                assert proof == oracle(indexes, leaves, 0, size)
                verify_multiproof({index: leaves[index] for index in indexes}, size, proof, root)


@given(st.data())
def test_larger_trees_prove_over_several_levels_of_tiles(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 1200))
    indexes = tuple(sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=20))))
    leaves = leaves_of(size)
    tiles = Tiles(leaves)
    proof = multiproof(indexes, size, tiles)
    assert proof == oracle(indexes, leaves, 0, size)
    assert set(multiproof_tiles(indexes, size)) == tiles.read
    verify_multiproof({index: leaves[index] for index in indexes}, size, proof, naive_root(leaves))


def test_the_proof_of_one_leaf_has_the_hashes_of_its_audit_path() -> None:
    leaves = leaves_of(300)
    for index in (0, 7, 255, 256, 299):
        path = inclusion_proof(index, 300, Tiles(leaves))
        proof = multiproof((index,), 300, Tiles(leaves))
        assert sorted(path) == sorted(proof)
        verify_inclusion(index, 300, leaves[index], path, naive_root(leaves))


def test_hashes_are_shared_between_leaves() -> None:
    leaves = leaves_of(1024)
    indexes = tuple(range(512, 544))
    alone = sum(len(inclusion_proof(index, 1024, Tiles(leaves))) for index in indexes)
    assert (alone, len(multiproof(indexes, 1024, Tiles(leaves)))) == (320, 5)


@pytest.fixture
def proven() -> tuple[dict[int, bytes], int, list[bytes], bytes]:
    leaves = leaves_of(13)
    indexes = (0, 3, 4, 11, 12)
    return {n: leaves[n] for n in indexes}, 13, multiproof(indexes, 13, Tiles(leaves)), naive_root(leaves)


Proven = tuple[dict[int, bytes], int, list[bytes], bytes]


def refused(leaves: dict[int, bytes], size: int, proof: list[bytes], root: bytes) -> bool:
    with pytest.raises(Untrue) as raised:
        verify_multiproof(leaves, size, proof, root)
    return raised.value.code == "bad_inclusion_proof"


def test_every_flipped_bit_of_a_leaf_a_hash_or_the_root_is_refused(proven: Proven) -> None:
    leaves, size, proof, root = proven
    for bit in range(0, 256, 7):
        for n in range(len(proof)):
            assert refused(leaves, size, [_flip(h, bit) if at == n else h for at, h in enumerate(proof)], root)
        for index in leaves:
            assert refused(leaves | {index: _flip(leaves[index], bit)}, size, proof, root)
        assert refused(leaves, size, proof, _flip(root, bit))


def _flip(value: bytes, bit: int) -> bytes:
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(32, "big")


def test_a_hash_too_many_one_too_few_or_in_another_order_is_refused(proven: Proven) -> None:
    leaves, size, proof, root = proven
    assert refused(leaves, size, proof[:-1], root)
    assert refused(leaves, size, [*proof, bytes(32)], root)
    assert refused(leaves, size, [], root)
    for at in range(len(proof) - 1):
        swapped = [*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :]]
        assert refused(leaves, size, swapped, root)


def test_a_leaf_at_another_index_and_a_tree_of_another_size_are_refused(proven: Proven) -> None:
    leaves, size, proof, root = proven
    for index in leaves:
        for other in set(range(size)) - set(leaves):
            moved = {other if each == index else each: value for each, value in leaves.items()}
            assert refused(moved, size, proof, root)
    for other in (5, 12, 14, 16, 1 << 62):
        assert refused(leaves, other, proof, root)
    assert refused({0: leaves[3], 3: leaves[0], **{n: leaves[n] for n in (4, 11, 12)}}, size, proof, root)
    assert refused({}, size, proof, root)


def test_a_node_of_the_tree_is_not_taken_for_a_leaf() -> None:
    leaves = leaves_of(4)
    node = sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    assert refused({0: node}, 2, [sha256(b"\x01" + leaves[2] + leaves[3]).digest()], bytes(32))
    # In a tree of two the same hashes do lead to the root: what a leaf is, its own hash says, from the bytes in hand.
    verify_multiproof({0: node}, 2, [sha256(b"\x01" + leaves[2] + leaves[3]).digest()], naive_root(leaves))


def test_what_no_proof_can_be_made_of_is_misuse_and_hashes_of_other_lengths_are_malformed() -> None:
    tiles = Tiles(leaves_of(4))
    for indexes in ((), (4,), (1, 1), (2, 1), (-1,)):
        with pytest.raises(Misuse):
            multiproof(indexes, 4, tiles)
    with pytest.raises(Misuse):
        multiproof(tuple(range(MAX_PROVEN_LEAVES + 1)), 1 << 20, tiles)
    with pytest.raises(Malformed):
        verify_multiproof({0: leaves_of(1)[0]}, 2, [bytes(31)], bytes(32))


def test_a_proof_in_the_largest_tree_is_verified_in_a_bounded_number_of_steps() -> None:
    size = (1 << 63) - 1
    indexes = [n * (size // 64) for n in range(64)]
    assert refused(dict.fromkeys(indexes, bytes(32)), size, [], bytes(32))

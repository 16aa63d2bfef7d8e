"""The tree against the plain recursion of RFC 6962 section 2.1, against published roots, and under attack."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import Frontier, leaf_hash

# The eight leaves and the roots of sizes 0 to 8 that the Certificate Transparency projects test with.
PUBLISHED_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
PUBLISHED_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

COUNT = 1100  # five tiles of level 0 and the beginning of level 1
LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(COUNT)]


# The dumb second implementation: the definitions of the RFC, word for word.
@lru_cache(None)
def mth(start: int, stop: int) -> bytes:
    if start == stop:
        return sha256(b"").digest()
    if stop - start == 1:
        return LEAVES[start]
    k = power_below(stop - start)
    return sha256(b"\x01" + mth(start, start + k) + mth(start + k, stop)).digest()


def power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m: int, start: int, stop: int) -> list[bytes]:
    n = stop - start
    if n == 1:
        return []
    k = power_below(n)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, stop)]
    return [*path(m - k, start + k, stop), mth(start, start + k)]


def subproof(m: int, start: int, stop: int, whole: bool) -> list[bytes]:
    n = stop - start
    if m == n:
        return [] if whole else [mth(start, stop)]
    k = power_below(n)
    if m <= k:
        return [*subproof(m, start, start + k, whole), mth(start + k, stop)]
    return [*subproof(m - k, start + k, stop, False), mth(start, start + k)]


def read_tile(level: int, index: int, width: int) -> bytes:
    span = 256**level
    nodes = range(index * 256, index * 256 + width)
    assert (nodes[-1] + 1) * span <= COUNT, "asked for a tile that the tree does not have"
    return b"".join(mth(node * span, (node + 1) * span) for node in nodes)


def test_roots_are_the_published_ones() -> None:
    frontier = Frontier()
    for size, root in enumerate(PUBLISHED_ROOTS):
        assert frontier.root().hex() == root
        if size < len(PUBLISHED_LEAVES):
            frontier.append(leaf_hash(bytes.fromhex(PUBLISHED_LEAVES[size])))


def test_leaves_and_nodes_are_hashed_apart() -> None:
    left, right = LEAVES[:2]
    assert merkle.node_hash(left, right) != leaf_hash(left + right)


def test_appending_gives_every_root_and_completes_every_tile() -> None:
    frontier = Frontier()
    completed: list[bytes] = []
    for size, leaf in enumerate(LEAVES, 1):
        done = frontier.append(leaf)
        assert len(done) == (1 if size % 256 == 0 else 0)
        completed += done
        assert frontier.size == size
        if size < 300 or size % 97 == 0:
            assert frontier.root() == mth(0, size) == merkle.root_from_tiles(size, read_tile)
            assert Frontier.from_tiles(size, read_tile).hashes == frontier.hashes
    assert b"".join(completed) == read_tile(1, 0, 4)


def test_a_tile_of_level_two_is_completed_by_its_last_leaf() -> None:
    frontier = Frontier(65_535, [bytes((height,)) * 32 for height in range(16)])
    assert [len(frontier.append(LEAVES[0])), frontier.size] == [2, 65_536]


def test_a_copy_grows_on_its_own() -> None:
    frontier = Frontier()
    frontier.append(LEAVES[0])
    copy = frontier.copy()
    copy.append(LEAVES[1])
    assert (frontier.size, copy.size) == (1, 2)
    assert (frontier.root(), copy.root()) == (mth(0, 1), mth(0, 2))


sizes = st.integers(1, COUNT) | st.sampled_from([1, 2, 255, 256, 257, 511, 512, 513, 1024, 1025, COUNT])


@given(sizes, st.data())
def test_inclusion_proofs_are_those_of_the_rfc_and_verify(size: int, draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, read_tile)
    assert proof == path(index, 0, size)
    merkle.verify_inclusion(index, size, LEAVES[index], proof, mth(0, size))


@given(sizes, st.data())
def test_consistency_proofs_are_those_of_the_rfc_and_verify(new_size: int, draw: st.DataObject) -> None:
    old_size = draw.draw(st.integers(0, new_size))
    proof = merkle.consistency_proof(old_size, new_size, read_tile)
    assert proof == (subproof(old_size, 0, new_size, True) if old_size else [])
    merkle.verify_consistency(old_size, mth(0, old_size), new_size, mth(0, new_size), proof)


def test_every_proof_of_every_small_tree_verifies_and_nothing_else_does() -> None:
    for size in range(1, 20):
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, read_tile)
            merkle.verify_inclusion(index, size, LEAVES[index], proof, mth(0, size))
            for wrong_index in range(-1, size + 1):
                if wrong_index != index:
                    refused(merkle.verify_inclusion, wrong_index, size, LEAVES[index], proof, mth(0, size))
        for old_size in range(size + 1):
            proof = merkle.consistency_proof(old_size, size, read_tile)
            merkle.verify_consistency(old_size, mth(0, old_size), size, mth(0, size), proof)
            for wrong_size in range(-1, size + 2):
                if wrong_size != old_size:
                    refused(merkle.verify_consistency, wrong_size, mth(0, old_size), size, mth(0, size), proof)


def refused(verify: Callable[..., None], *claim: Any) -> None:
    with pytest.raises(Untrue) as caught:
        verify(*claim)
    assert caught.value.code in ("bad_inclusion_proof", "bad_consistency_proof")


def spoiled(proof: list[bytes]) -> list[list[bytes]]:
    """Return the proof shortened, lengthened, reordered, and with one bit flipped in each hash."""
    ways = [proof[:-1], proof[1:], [*proof, proof[0]], [proof[0], *proof], proof[::-1], [], [p[:31] for p in proof]]
    for position, value in enumerate(proof):
        flipped = bytes((value[0] ^ 1,)) + value[1:]
        ways.append([*proof[:position], flipped, *proof[position + 1 :]])
    return [way for way in ways if way != proof]


@pytest.mark.parametrize(("index", "size"), [(0, 2), (6, 7), (255, 257), (300, 1000), (999, 1000)])
def test_a_spoiled_inclusion_proof_is_refused(index: int, size: int) -> None:
    proof, root = merkle.inclusion_proof(index, size, read_tile), mth(0, size)
    for way in spoiled(proof):
        refused(merkle.verify_inclusion, index, size, LEAVES[index], way, root)
    refused(merkle.verify_inclusion, index, size, LEAVES[index + 1], proof, root)
    refused(merkle.verify_inclusion, index, size, LEAVES[index], proof, mth(0, size - 1))
    refused(merkle.verify_inclusion, index, size, root, [], root)


@pytest.mark.parametrize(
    ("old_size", "new_size"), [(1, 2), (3, 7), (4, 7), (256, 257), (300, 1000), (999, 1000), (512, 1024)]
)
def test_a_spoiled_consistency_proof_is_refused(old_size: int, new_size: int) -> None:
    proof = merkle.consistency_proof(old_size, new_size, read_tile)
    old_root, new_root = mth(0, old_size), mth(0, new_size)
    for way in spoiled(proof):
        refused(merkle.verify_consistency, old_size, old_root, new_size, new_root, way)
    refused(merkle.verify_consistency, old_size, new_root, new_size, new_root, proof)
    refused(merkle.verify_consistency, old_size, old_root, new_size, old_root, proof)
    refused(merkle.verify_consistency, new_size, new_root, old_size, old_root, proof)
    refused(merkle.verify_consistency, 0, old_root, new_size, new_root, [])
    refused(merkle.verify_consistency, new_size, old_root, new_size, new_root, [])


def test_sizes_beyond_any_tree_are_refused_and_not_computed() -> None:
    refused(merkle.verify_inclusion, 0, 1 << 64, LEAVES[0], [LEAVES[0]] * 64, LEAVES[0])
    refused(merkle.verify_consistency, 1, LEAVES[0], 1 << 64, LEAVES[0], [LEAVES[0]] * 64)


def serving(tile: bytes) -> merkle.TileReader:
    return lambda level, index, width: tile


def test_a_tile_of_the_wrong_length_is_malformed() -> None:
    for tile in (b"", read_tile(0, 0, 9), read_tile(0, 0, 10) + b"x"):
        with pytest.raises(Malformed, match="bad_tile"):
            merkle.inclusion_proof(3, 10, serving(tile))


def test_a_wider_tile_than_asked_for_serves() -> None:
    assert merkle.root_from_tiles(10, lambda level, index, width: read_tile(level, index, 256)) == mth(0, 10)


def test_asking_for_what_is_not_in_the_tree_is_misuse() -> None:
    for attempt in (
        lambda: merkle.inclusion_proof(10, 10, read_tile),
        lambda: merkle.inclusion_proof(-1, 10, read_tile),
        lambda: merkle.consistency_proof(11, 10, read_tile),
        lambda: Frontier(3, [LEAVES[0]]),
    ):
        with pytest.raises(Misuse):
            attempt()


def test_what_is_remembered_of_subtrees_is_known_by_their_leaves_alone() -> None:
    """Two logs that differ in one leaf, proven by turns: neither is given the other's hashes."""
    size = 3 * merkle.TILE_WIDTH + 77
    one = [leaf_hash(b"%d" % number) for number in range(size)]
    other = [*one[:300], leaf_hash(b"another"), *one[301:]]

    def reader(leaves: list[bytes]) -> Callable[[int, int, int], bytes]:
        def read(level: int, index: int, width: int) -> bytes:
            if level == 0:
                return b"".join(leaves[index * merkle.TILE_WIDTH : index * merkle.TILE_WIDTH + width])
            tiles = (leaves[at * merkle.TILE_WIDTH : (at + 1) * merkle.TILE_WIDTH] for at in range(width))
            return b"".join(merkle.perfect_root(b"".join(tile)) for tile in tiles)

        return read

    for index in (0, 255, 290, 300, 511, 700, size - 1) * 2:
        for leaves in (one, other):
            root = merkle.root_from_tiles(size, reader(leaves))
            merkle.verify_inclusion(
                index, size, leaves[index], merkle.inclusion_proof(index, size, reader(leaves)), root
            )
    assert merkle.root_from_tiles(size, reader(one)) != merkle.root_from_tiles(size, reader(other))

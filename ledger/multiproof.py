"""One proof for many leaves of a tree (RFC 6962 section 2): every hash that is needed, and none of them twice.

The proof is the list of the roots of the largest subtrees in which none of the leaves stands, from left to right. Split
the tree as RFC 6962 splits it; a part without any of the leaves contributes its hash, a part that is one of the leaves
contributes nothing, and any other part is split again. For one leaf these are the hashes of its audit path, from left
to right.

Promises: which hashes there are follows from the indexes and the size alone, so a proof with one more or one less is
refused; a leaf in another place leads to another root. Made from stored tiles; what reads a tile is handed in.

Does not: say anything of leaves that are not among those proved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE, TileReader, node_hash, range_roots, split

# Leaves that one proof covers. A path has at most 63 hashes, which bounds what a verifier hashes.
MAX_PROVEN_LEAVES = 4096
_CODE = "bad_inclusion_proof"


def _parts(indexes: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the parts without any of the leaves, [start, stop) each, from left to right."""
    if not indexes:
        yield start, stop
    elif stop - start > 1:
        middle = start + split(stop - start)
        left = _below(indexes, middle)
        yield from _parts(indexes[:left], start, middle)
        yield from _parts(indexes[left:], middle, stop)


def _below(indexes: Sequence[int], bound: int) -> int:
    """How many of the rising indexes are below a bound."""
    low, high = 0, len(indexes)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if indexes[middle] < bound else (low, middle)
    return low


def _check_indexes(indexes: Sequence[int], size: int) -> str:
    """What is wrong with the indexes; empty if nothing is."""
    if not 0 < size <= MAX_TREE_SIZE:
        return f"tree size is out of range: expected 1 to 2^63-1, got {size}"
    if not 0 < len(indexes) <= MAX_PROVEN_LEAVES:
        return f"expected 1 to {MAX_PROVEN_LEAVES} leaves, got {len(indexes)}"
    if any(later <= earlier for earlier, later in pairwise(indexes)):
        return "indexes of the leaves do not rise"
    if not 0 <= indexes[0] <= indexes[-1] < size:
        return f"leaf is not in the tree: expected an index below {size}, got {indexes[-1]}"
    return ""


def multiproof(indexes: Sequence[int], size: int, read_tile: TileReader) -> list[bytes]:
    """Return the proof of the leaves at rising `indexes` in the tree of `size` leaves."""
    wrong = _check_indexes(indexes, size)
    if wrong:
        raise Misuse(wrong)
    return range_roots(_parts(indexes, 0, size), size, read_tile)


def multiproof_tiles(indexes: Sequence[int], size: int) -> list[tuple[int, int, int]]:
    """Return (level, index, width) of every tile that `multiproof` reads, each once, for who has to fetch them."""
    read: dict[tuple[int, int, int], None] = {}

    def note(level: int, index: int, width: int) -> bytes:
        read[level, index, width] = None
        return bytes(width * HASH_BYTES)

    multiproof(indexes, size, note)
    return list(read)


def verify_multiproof(leaves: Mapping[int, bytes], size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise Untrue unless the leaf hashes, each at its index, and the proof lead to the root of `size` leaves."""
    indexes = sorted(leaves)
    wrong = _check_indexes(indexes, size)
    if wrong:
        raise Untrue(_CODE, wrong)
    for value in (*leaves.values(), *proof, root):
        if len(value) != HASH_BYTES:
            raise Malformed("bad_proof", f"hash has wrong length: expected {HASH_BYTES} bytes, got {len(value)}")
    expected = sum(1 for _ in _parts(indexes, 0, size))
    if len(proof) != expected:
        raise Untrue(_CODE, f"inclusion proof has wrong length: expected {expected}, got {len(proof)}")
    computed = _root(leaves, indexes, 0, size, iter(proof))
    if computed != root:
        raise Untrue(_CODE, f"inclusion proof leads to another root: expected {root.hex()}, got {computed.hex()}")


def _root(leaves: Mapping[int, bytes], indexes: Sequence[int], start: int, stop: int, proof: Iterator[bytes]) -> bytes:
    if not indexes:
        return next(proof)
    if stop - start == 1:
        return leaves[start]
    middle = start + split(stop - start)
    left = _below(indexes, middle)
    first = _root(leaves, indexes[:left], start, middle, proof)
    return node_hash(first, _root(leaves, indexes[left:], middle, stop, proof))

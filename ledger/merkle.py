"""The Merkle tree of the log: RFC 6962 section 2 (the same as RFC 9162 section 2), with SHA-256.

Promises: leaf and node hashes are separated by their first byte; a proof verifies exactly when it has the right
length for its sizes and leads from what it starts with to the root. Proofs and roots are made from stored tiles alone
(C2SP tlog-tiles: 256 hashes, eight levels of the tree each); a `Frontier` appends with at most 64 hashes in memory.

Does not: store anything. What reads a tile is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TypeAlias

from ledger.errors import Malformed, Misuse, Untrue

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_TREE_SIZE = (1 << 63) - 1
EMPTY_ROOT = sha256(b"").digest()

# (level, index, width) -> at least width hashes, concatenated: the tile of that width or any wider one.
TileReader: TypeAlias = Callable[[int, int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node with two children."""
    return sha256(b"\x01" + left + right).digest()


def perfect_root(leaves: bytes) -> bytes:
    """Return the root over a power of two of leaf hashes that stand end to end."""
    row = leaves
    while len(row) > HASH_BYTES:
        row = b"".join(
            [sha256(b"\x01" + row[at : at + 2 * HASH_BYTES]).digest() for at in range(0, len(row), 2 * HASH_BYTES)]
        )
    return row


# Subtrees of a tile from this height on, 32 leaves, are remembered by their leaves: so nothing can make them stale.
# Every proof passes through those of the upper tiles, of which a million entries have sixteen.
_REMEMBERED_HEIGHT = 5
# At most 8 KB of leaves each, 2 KB in the mean.
MAX_REMEMBERED_ROOTS = 1024
_remembered_root = lru_cache(MAX_REMEMBERED_ROOTS)(perfect_root)


class Frontier:
    """The right edge of a growing tree: the roots of its perfect subtrees, largest first."""

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self._hashes = list(hashes)
        self._size = size
        if not 0 <= size <= MAX_TREE_SIZE or len(self._hashes) != size.bit_count():
            raise Misuse(f"frontier of {size} leaves has {size.bit_count()} subtrees: got {len(self._hashes)}")

    @classmethod
    def from_tiles(cls, size: int, read_tile: TileReader) -> Frontier:
        """Return the frontier of the first `size` leaves as stored tiles have it."""
        reader = _NodeReader(size, read_tile)
        return cls(size, [reader.node(height, index) for height, index in _cover(0, size)])

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of the perfect subtrees, largest first."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> tuple[bytes, ...]:
        """Add a leaf hash. Return the hashes that this completes at tile levels 1, 2, …: one for each tile now full."""
        hashes = self._hashes
        size = self._size
        completed: tuple[bytes, ...] = ()
        height = 0
        while size >> height & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            height += 1
            if not height % TILE_HEIGHT:
                completed += (leaf,)
        hashes.append(leaf)
        self._size = size + 1
        return completed

    def root(self) -> bytes:
        """Return the root of the tree."""
        return _fold(self._hashes)

    def copy(self) -> Frontier:
        """Return a frontier that grows on its own."""
        return Frontier(self._size, self._hashes)


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over perfect subtrees, largest first."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def _cover(start: int, stop: int) -> list[tuple[int, int]]:
    """Split [start, stop) into its perfect subtrees from left to right, as (height, index at that height)."""
    parts = []
    while start < stop:
        height = (stop - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        parts.append((height, start >> height))
        start += 1 << height
    return parts


class _NodeReader:
    """Any node of the tree from its tiles; reads each tile once, hashes each inner node once."""

    def __init__(self, size: int, read_tile: TileReader) -> None:
        if not 0 <= size <= MAX_TREE_SIZE:
            raise Misuse(f"tree size is out of range: expected 0 to 2^63-1, got {size}")
        self._size = size
        self._read_tile = read_tile
        self._tiles: dict[tuple[int, int], bytes] = {}

    def node(self, height: int, index: int) -> bytes:
        """Return the root of the perfect subtree over leaves [index << height, index + 1 << height)."""
        level, inner = divmod(height, TILE_HEIGHT)
        first = index << inner
        tile = self._tile(level, first // TILE_WIDTH)
        offset = first % TILE_WIDTH * HASH_BYTES
        root_of = perfect_root if inner < _REMEMBERED_HEIGHT else _remembered_root
        return root_of(tile[offset : offset + (HASH_BYTES << inner)])

    def range_root(self, start: int, stop: int) -> bytes:
        """Return the RFC 6962 hash of the leaves [start, stop)."""
        return _fold([self.node(height, index) for height, index in _cover(start, stop)])

    def _tile(self, level: int, index: int) -> bytes:
        tile = self._tiles.get((level, index))
        if tile is None:
            width = min(TILE_WIDTH, (self._size >> level * TILE_HEIGHT) - index * TILE_WIDTH)
            tile = self._read_tile(level, index, width)
            if len(tile) < width * HASH_BYTES or len(tile) % HASH_BYTES:
                expected = f"expected {width * HASH_BYTES} bytes, got {len(tile)}"
                raise Malformed("bad_tile", f"tile {index} of level {level} has wrong length: {expected}")
            self._tiles[level, index] = tile
        return tile


def range_roots(ranges: Iterable[tuple[int, int]], size: int, read_tile: TileReader) -> list[bytes]:
    """Return the RFC 6962 hash of the leaves [start, stop) of each range, in a tree of `size` leaves."""
    reader = _NodeReader(size, read_tile)
    return [reader.range_root(start, stop) for start, stop in ranges]


def root_from_tiles(size: int, read_tile: TileReader) -> bytes:
    """Return the root of the first `size` leaves."""
    return _NodeReader(size, read_tile).range_root(0, size)


def inclusion_proof(index: int, size: int, read_tile: TileReader) -> list[bytes]:
    """Return the audit path of a leaf in the tree of `size` leaves (RFC 6962 section 2.1.1), its sibling first."""
    if not 0 <= index < size:
        raise Misuse(f"leaf is not in the tree: expected an index below {size}, got {index}")
    reader = _NodeReader(size, read_tile)
    path = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + split(stop - start)
        if index < middle:
            path.append(reader.range_root(middle, stop))
            stop = middle
        else:
            path.append(reader.range_root(start, middle))
            start = middle
    path.reverse()
    return path


def consistency_proof(old_size: int, new_size: int, read_tile: TileReader) -> list[bytes]:
    """Return the proof that the tree of `old_size` leaves begins that of `new_size` (RFC 6962 section 2.1.2)."""
    if not 0 <= old_size <= new_size:
        raise Misuse(f"sizes are not in order: expected at most {new_size}, got {old_size}")
    if old_size in (0, new_size):
        return []
    reader = _NodeReader(new_size, read_tile)
    path = []
    start, stop = 0, new_size
    whole = True  # [start, stop) still begins at 0, so that its hash is one that the verifier has
    while old_size != stop:
        middle = start + split(stop - start)
        if old_size <= middle:
            path.append(reader.range_root(middle, stop))
            stop = middle
        else:
            path.append(reader.range_root(start, middle))
            start = middle
            whole = False
    if not whole:
        path.append(reader.range_root(start, stop))
    path.reverse()
    return path


def split(count: int) -> int:
    """Return the largest power of two below count."""
    return 1 << (count - 1).bit_length() - 1


def inclusion_root(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """Return the root of the tree of `size` leaves to which the proof leads from the leaf hash at `index`.

    Untrue if no proof for that place can have this length. What the root is worth, others have to say.
    """
    code = "bad_inclusion_proof"
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise Untrue(code, f"leaf is not in the tree: expected an index below {size}, got {index}")
    _check_hashes(code, [leaf, *proof])
    # Up to the height where the paths of this leaf and the last one meet, siblings lie on either side; above, left.
    inner = (index ^ (size - 1)).bit_length()
    expected = inner + (index >> inner).bit_count()
    if len(proof) != expected:
        raise Untrue(code, f"inclusion proof has wrong length: expected {expected}, got {len(proof)}")
    computed = leaf
    for height in range(inner):
        sibling = proof[height]
        computed = node_hash(sibling, computed) if index >> height & 1 else node_hash(computed, sibling)
    for sibling in proof[inner:]:
        computed = node_hash(sibling, computed)
    return computed


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raise Untrue unless the proof leads from the leaf hash at `index` to the root of the tree of `size` leaves."""
    code = "bad_inclusion_proof"
    _check_hashes(code, [root])
    computed = inclusion_root(index, size, leaf, proof)
    if computed != root:
        raise Untrue(code, f"inclusion proof leads to another root: expected {root.hex()}, got {computed.hex()}")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise Untrue unless the proof shows that the old tree is the beginning of the new one."""
    code = "bad_consistency_proof"
    if not 0 <= old_size <= new_size <= MAX_TREE_SIZE:
        raise Untrue(code, f"sizes are not in order: expected at most {new_size}, got {old_size}")
    _check_hashes(code, [old_root, new_root, *proof])
    if old_size in (0, new_size):
        expected_root = EMPTY_ROOT if old_size == 0 else new_root
        if proof:
            raise Untrue(code, f"consistency proof has wrong length: expected 0, got {len(proof)}")
        if old_root != expected_root:
            raise Untrue(code, f"old root differs: expected {expected_root.hex()}, got {old_root.hex()}")
        return
    # The walk starts at the largest perfect subtree that ends where the old tree ends.
    shift = (old_size & -old_size).bit_length() - 1
    inner = ((old_size - 1) ^ (new_size - 1)).bit_length() - shift
    border = (old_size - 1 >> shift + inner).bit_count()
    given = 0 if old_size == 1 << shift else 1  # the proof leaves out a start that is the old root itself
    expected = given + inner + border
    if len(proof) != expected:
        raise Untrue(code, f"consistency proof has wrong length: expected {expected}, got {len(proof)}")
    old = new = proof[0] if given else old_root
    position = old_size - 1 >> shift
    for height, sibling in enumerate(proof[given:]):
        if height >= inner or position >> height & 1:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    if old != old_root:
        raise Untrue(code, f"consistency proof leads to another old root: expected {old_root.hex()}, got {old.hex()}")
    if new != new_root:
        raise Untrue(code, f"consistency proof leads to another new root: expected {new_root.hex()}, got {new.hex()}")


def _check_hashes(code: str, hashes: Iterable[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise Untrue(code, f"hash has wrong length: expected {HASH_BYTES} bytes, got {len(value)}")

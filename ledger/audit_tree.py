"""The tree of an archive, recomputed from its bundles and compared with every stored hash.

An entry and the tile that holds its leaf hash may disagree. Which of them was altered shows in the hash above: it is
that of the other one. The recomputation goes on with the one that fits, so that one altered byte is one fault, and what
follows from it is not told again at every level.
"""

from __future__ import annotations

from ledger.audit_chunks import UNKNOWN_LEAF, Chunk, read_file, subtree_root
from ledger.audit_report import Check, FaultList
from ledger.merkle import HASH_BYTES, TILE_WIDTH, Frontier
from ledger.tiles import tile_path, tile_width

# A longer run of bundles that are missing with their tiles is not bridged from the level above.
MAX_BRIDGED_BUNDLES = 65_536


class TreeCheck:
    """Takes chunks in order of index; `finish` compares the root."""

    def __init__(self, directory: str, size: int, faults: FaultList) -> None:
        self._directory = directory
        self._size = size
        self._faults = faults
        # Over whole chunks: a tree of their roots is the upper part of the tree of entries.
        self._upper = Frontier()
        self._upper_counts: dict[int, int] = {}
        self._upper_tiles: dict[int, tuple[int, bytes | None]] = {}
        self._last: Chunk | None = None
        self._broken_at: int | None = None

    def resume(self, upper: Frontier) -> None:
        """Go on after the whole bundles over which this frontier is."""
        self._upper = upper
        level, count = 1, upper.size
        while count:
            self._upper_counts[level] = count
            level, count = level + 1, count // TILE_WIDTH

    @property
    def upper(self) -> tuple[bytes, ...]:
        """The frontier over the whole bundles so far."""
        return self._upper.hashes

    def add(self, chunk: Chunk) -> list[int]:
        """Take the next chunk; return the entries in it that were altered, as far as the tree can tell."""
        self._bridge(chunk.index)
        if chunk.width < TILE_WIDTH:
            self._last = chunk
            return chunk.differing
        above = self._stored(1, chunk.index)
        if not chunk.differing and not chunk.unreadable:
            self._append_chunk(chunk.root)
            return []
        tile_root = None if chunk.tile is None else subtree_root(chunk.tile)
        if above is not None and above == tile_root:
            self._tell(chunk, "the entry was altered")
            self._append_chunk(tile_root)
            return chunk.differing
        if above is not None and above == chunk.root:
            self._tell(chunk, "the tile was altered")
            self._append_chunk(chunk.root)
            return []
        self._tell(chunk, "the entry or the tile was altered")
        self._append_chunk(above if above is not None and UNKNOWN_LEAF in _leaves(chunk) else chunk.root)
        return chunk.differing

    def finish(self, root: bytes | None, tell: bool = True) -> bytes | None:
        """Compare the whole with ``root``, that of the checkpoint; return the recomputed root, None if it cannot be."""
        self._bridge(-(-self._size // TILE_WIDTH) - (1 if self._last is not None else 0))
        if self._broken_at is not None:
            self._faults.add(
                Check.ROOT, "the root cannot be recomputed: entries are missing from here on", entry=self._broken_at
            )
            return None
        whole = Frontier(self._upper.size * TILE_WIDTH, self._upper.hashes)
        last = self._last
        if last is None:
            found = whole.root()
        else:
            found = _root_with(whole, last.leaves)
            if last.differing:
                found = self._decide_last(whole, last, found, root)
        if root is not None and found != root and tell:
            self._faults.add(
                Check.ROOT, f"entries come to root {found.hex()}, expected {root.hex()} as the checkpoint says"
            )
        return found

    def _decide_last(self, whole: Frontier, last: Chunk, found: bytes, root: bytes | None) -> bytes:
        if found == root:
            self._tell(last, "the tile was altered")
            return found
        with_tile = found if last.tile is None else _root_with(whole, last.tile)
        self._tell(last, "the entry was altered" if with_tile == root else "the entry or the tile was altered")
        return with_tile if with_tile == root else found

    def _tell(self, chunk: Chunk, judgement: str) -> None:
        path = tile_path(0, chunk.index, chunk.width)
        for index in chunk.differing:
            message = f"entry does not hash to its leaf in the tile: {judgement}"
            self._faults.add(Check.TILES, message, entry=index, file=path)

    def _bridge(self, index: int) -> None:
        """Fill the place of chunks of which nothing is there with what the level above says."""
        missing = index - self._upper.size
        if missing > MAX_BRIDGED_BUNDLES:
            self._break(self._upper.size * TILE_WIDTH)
            return
        for _ in range(missing):
            above = self._stored(1, self._upper.size)
            if above is None:
                self._break(self._upper.size * TILE_WIDTH)
                return
            self._append_chunk(above)

    def _break(self, entry: int) -> None:
        if self._broken_at is None:
            self._broken_at = entry

    def _append_chunk(self, root: bytes) -> None:
        if self._broken_at is not None:
            return
        for level, computed in enumerate((root, *self._upper.append(root)), 1):
            index = self._upper_counts.get(level, 0)
            self._upper_counts[level] = index + 1
            stored = self._stored(level, index)
            if stored is not None and stored != computed:
                span = TILE_WIDTH**level
                self._faults.add(
                    Check.TILES,
                    f"hash {index % TILE_WIDTH} is not that of entries {index * span} to {(index + 1) * span - 1}",
                    file=tile_path(level, index // TILE_WIDTH, self._width(level, index // TILE_WIDTH)),
                )

    def _width(self, level: int, tile: int) -> int:
        return tile_width(level, tile, self._size)

    def _stored(self, level: int, index: int) -> bytes | None:
        """The stored hash at ``index`` of an upper ``level``; None if there is no such tile."""
        tile, at = divmod(index, TILE_WIDTH)
        known = self._upper_tiles.get(level)
        if known is None or known[0] != tile:
            known = (tile, self._read_tile(level, tile))
            self._upper_tiles[level] = known
        hashes = known[1]
        return None if hashes is None else hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] or None

    def _read_tile(self, level: int, tile: int) -> bytes | None:
        if self._width(level, tile) == 0:
            return None
        path = tile_path(level, tile, self._width(level, tile))
        expected_bytes = self._width(level, tile) * HASH_BYTES
        data = read_file(self._directory, path, TILE_WIDTH * HASH_BYTES)
        if isinstance(data, str):
            if data != "is missing":
                self._faults.add(Check.FILES, data, file=path)
            return None
        if len(data) != expected_bytes:
            self._faults.add(
                Check.FILES, f"has wrong length: expected {expected_bytes} bytes, got {len(data)}", file=path
            )
            return None
        return data


def _leaves(chunk: Chunk) -> list[bytes]:
    return [chunk.leaves[at : at + HASH_BYTES] for at in range(0, len(chunk.leaves), HASH_BYTES)]


def _root_with(whole: Frontier, leaves: bytes) -> bytes:
    frontier = whole.copy()
    for at in range(0, len(leaves), HASH_BYTES):
        frontier.append(leaves[at : at + HASH_BYTES])
    return frontier.root()

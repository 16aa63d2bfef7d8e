"""Tiles of hashes that a gateway has been given: the same bytes again, without asking a validator.

A tile of a width is the same for ever, and the narrower ones of its place are its beginning (C2SP tlog-tiles). So one
tile is kept for each place, the widest that was asked for; a narrower one is cut from it, and a wider one is asked for.

Promises: bounded in bytes, the longest unused go first; what has not the length of its width is never kept, nor what
contradicts what is kept: then neither is, and both are asked for again. Does not: say how wide a tile may be served,
that is for the newest final checkpoint, each time; keep entries, which whoever reads them reads once.
"""

from __future__ import annotations

from collections import OrderedDict

from ledger.merkle import HASH_BYTES

# Full tiles of a log of a million entries.
KEPT_MAX_BYTES = 36 * 1024 * 1024
# Of an object and its key, beside the hashes.
OVERHEAD_BYTES = 256


class GivenTiles:
    """The widest tile that there was of each (level, index)."""

    def __init__(self, max_bytes: int = KEPT_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._tiles: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, level: int, index: int, width: int) -> bytes | None:
        tile = self._tiles.get((level, index))
        if tile is None or len(tile) < width * HASH_BYTES:
            return None
        self._tiles.move_to_end((level, index))
        return tile[: width * HASH_BYTES]

    def keep(self, level: int, index: int, width: int, tile: bytes) -> None:
        """Remember a tile of this width, unless a wider one is known."""
        if len(tile) != width * HASH_BYTES:
            return
        known = self._tiles.get((level, index))
        if known is not None:
            shorter = min(len(known), len(tile))
            if known[:shorter] != tile[:shorter]:
                self._forget(level, index)
                return
            if len(known) >= len(tile):
                return
            self._forget(level, index)
        self._tiles[(level, index)] = tile
        self.size_bytes += len(tile) + OVERHEAD_BYTES
        while self.size_bytes > self._max_bytes:
            self._forget(*next(iter(self._tiles)))

    def _forget(self, level: int, index: int) -> None:
        self.size_bytes -= len(self._tiles.pop((level, index))) + OVERHEAD_BYTES

"""The tree of an archive, as far as single questions go: an entry, a proof, the root at an earlier size.

Promises: what is not there, or not readable, is Malformed, and says which file. Does not: verify anything; whoever asks
holds the answers against a root that somebody signed.
"""

from __future__ import annotations

import os
from pathlib import Path

from ledger.archive import CHECKPOINT, TileSource
from ledger.audit_chunks import MAX_BUNDLE_BYTES, Task, cut_bundle, harvest_keys, read_file
from ledger.checkpoint import parse_checkpoint
from ledger.errors import Malformed, Misuse
from ledger.merkle import HASH_BYTES, TILE_WIDTH, consistency_proof, inclusion_proof, root_from_tiles
from ledger.note import MAX_NOTE_BYTES, parse_note
from ledger.tiles import ENTRIES, tile_path, tile_width


class ArchiveTree:
    """An archive's tiles and bundles, read as they are asked for. Malformed for what is not there or not readable."""

    def __init__(self, directory: Path | str) -> None:
        self._directory = os.fspath(directory)
        data = self._read(CHECKPOINT, MAX_NOTE_BYTES)
        self.note = data
        self.checkpoint = parse_checkpoint(parse_note(data).text)
        self._keys: dict[bytes, bytes] | None = None

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        return consistency_proof(old_size, new_size, self._tile)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        return inclusion_proof(index, size, self._tile)

    def root_at(self, size: int) -> bytes:
        return root_from_tiles(size, self._tile)

    def entry(self, index: int) -> bytes:
        bundle, number = divmod(index, TILE_WIDTH)
        width = tile_width(ENTRIES, bundle, self.checkpoint.size)
        if number >= width:
            raise Misuse(f"no such entry: expected less than {self.checkpoint.size}, got {index}")
        path = tile_path(ENTRIES, bundle, width)
        entries = cut_bundle(self._read(path, MAX_BUNDLE_BYTES), width)
        raw = None if entries is None else entries[number]
        if raw is None:
            raise Malformed("bad_entry_bundle", f"{path} cannot be cut into {width} entries")
        return raw

    def find_key(self, kid: bytes) -> bytes | None:
        """The COSE_Key of this thumbprint, wherever in the archive it is enrolled."""
        if self._keys is None:
            self._keys = {}
            for bundle in range(-(-self.checkpoint.size // TILE_WIDTH)):
                width = tile_width(ENTRIES, bundle, self.checkpoint.size)
                self._keys |= harvest_keys(Task(self._directory, bundle, width))
        return self._keys.get(kid)

    def _tile(self, level: int, index: int, width: int) -> bytes:
        # The tile is as wide as it is in the archive's own tree, whichever size was asked for.
        width = max(width, tile_width(level, index, self.checkpoint.size))
        return self._read(tile_path(level, index, width), TILE_WIDTH * HASH_BYTES)

    def _read(self, path: str, max_bytes: int) -> bytes:
        data = read_file(self._directory, path, max_bytes)
        if isinstance(data, str):
            raise Malformed("bad_archive", f"{path} {data}")
        return data


class ServedTree:
    """The roots of a tree of this size, from whoever serves its tiles. Raises what the source does."""

    def __init__(self, source: TileSource, size: int) -> None:
        self._source = source
        self._size = size

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        return consistency_proof(old_size, new_size, self._tile)

    def root_at(self, size: int) -> bytes:
        return root_from_tiles(size, self._tile)

    def _tile(self, level: int, index: int, width: int) -> bytes:
        whole = max(width, tile_width(level, index, self._size))
        path = tile_path(level, index, whole)
        data = self._source.tile(path)
        if len(data) != whole * HASH_BYTES:
            raise Malformed("bad_tile", f"{path}: expected {whole * HASH_BYTES} bytes, got {len(data)}")
        return data

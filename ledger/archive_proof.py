"""Proofs from the files of an archive alone: of a folder, or of any server that hands out its files as they are.

Promises: a proof that comes out verifies under the policy that it was asked for with; whatever the files say. What is
read is the checkpoint, the tiles on the way, and the one bundle that has the statement; to find a statement by its id
alone, the tiles of leaf hashes up to it, since the id is the leaf hash.

Does not: look for anything newer than the checkpoint that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger.archive import CHECKPOINT, TileSource
from ledger.audit_chunks import read_file
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, TILE_WIDTH, inclusion_proof, leaf_hash, root_from_tiles
from ledger.note import MAX_NOTE_BYTES
from ledger.policy import Policy, verify_checkpoint
from ledger.proof import Proof, verify_proof
from ledger.tiles import ENTRIES, MAX_ENTRY_BYTES, decode_entry_bundle, parse_tile_path, tile_path, tile_width

Progress = Callable[[int, int], None]


class ArchiveFolder:
    """The files of a folder. Only plain files are read: no link is followed, no pipe waited for."""

    def __init__(self, directory: Path | str) -> None:
        self._directory = str(directory)

    def checkpoint(self) -> bytes:
        return self._read(CHECKPOINT, MAX_NOTE_BYTES)

    def tile(self, path: str) -> bytes:
        return self._read(path, tile_file_limit(path))

    def _read(self, path: str, max_bytes: int) -> bytes:
        data = read_file(self._directory, path, max_bytes)
        if isinstance(data, str):
            raise Malformed("bad_archive", f"{self._directory}: {path} {data}")
        return data


def tile_file_limit(path: str) -> int:
    """How many bytes a tile or bundle can have at most. Malformed unless it is the path of one."""
    level, _, width = parse_tile_path(path)
    return width * (2 + MAX_ENTRY_BYTES) if level == ENTRIES else width * HASH_BYTES


def prove_statement(
    source: TileSource, checkpoint_note: bytes, policy: Policy, statement_id: bytes, progress: Progress | None = None
) -> tuple[Proof, bytes]:
    """Return the proof of a statement, verified, and the statement. Untrue if the log does not have it.

    Raises Malformed and Untrue for files that are not those of the checkpoint.
    """
    checkpoint = verify_checkpoint(checkpoint_note, policy)
    index = _find(source, checkpoint.size, statement_id, progress)
    if index is None:
        raise Untrue(
            "not_in_log", f"statement {statement_id.hex()} is not among the {checkpoint.size} entries of the checkpoint"
        )

    def read_tile(level: int, at: int, _: int) -> bytes:
        return source.tile(tile_path(level, at, tile_width(level, at, checkpoint.size)))

    try:
        hashes = inclusion_proof(index, checkpoint.size, read_tile)
    except Misuse as error:
        raise Malformed("bad_archive", str(error)) from error
    proof = Proof(index, tuple(hashes), checkpoint_note)
    verify_proof(proof, statement_id, policy)
    tile, at = divmod(index, TILE_WIDTH)
    width = tile_width(ENTRIES, tile, checkpoint.size)
    raw = decode_entry_bundle(source.tile(tile_path(ENTRIES, tile, width)), width)[at]
    if leaf_hash(raw) != statement_id:
        raise Untrue("archive_differs", f"entry {index} is not the one that its leaf hash is of")
    return proof, raw


def _find(source: TileSource, size: int, leaf: bytes, progress: Progress | None) -> int | None:
    if len(leaf) != HASH_BYTES:
        raise Misuse(f"statement id: expected {HASH_BYTES} bytes, got {len(leaf)}")
    for tile in range(-(-size // TILE_WIDTH)):
        width = tile_width(0, tile, size)
        hashes = source.tile(tile_path(0, tile, width))
        if len(hashes) != width * HASH_BYTES:
            raise Malformed("bad_tile", f"tile {tile} of level 0 has wrong length: got {len(hashes)} bytes")
        at = hashes.find(leaf)
        # A hash can also be found across two others; then look on behind it.
        while at != -1 and at % HASH_BYTES:
            at = hashes.find(leaf, at + 1)
        if at != -1:
            return tile * TILE_WIDTH + at // HASH_BYTES
        if progress is not None:
            progress(tile * TILE_WIDTH + width, size)
    return None


def root_of_archive(source: TileSource, archive_size: int, size: int) -> bytes:
    """The root that an archive of ``archive_size`` entries has at an earlier size. Raises LedgerError."""
    if not 0 <= size <= archive_size:
        raise Misuse(f"expected a size of at most {archive_size}, got {size}")
    return root_from_tiles(
        size, lambda level, index, _: source.tile(tile_path(level, index, tile_width(level, index, archive_size)))
    )

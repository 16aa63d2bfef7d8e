"""Reading the entries of an archive in order, for what is computed from the log alone.

Promises: the entries that `read_entries` has given are exactly those of the checkpoint, if it ends without an error; a
caller concludes nothing before that. The checkpoint is one that the policy holds for final.

Does not: verify statements, or execute anything again; `ledger.audit` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ledger.archive import CHECKPOINT, MAX_BUNDLE_BYTES
from ledger.audit_chunks import read_file
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, Untrue
from ledger.merkle import TILE_WIDTH, Frontier, leaf_hash
from ledger.note import MAX_NOTE_BYTES
from ledger.policy import Policy, verify_checkpoint
from ledger.tiles import ENTRIES, decode_entry_bundle, tile_path, tile_width


def read_checkpoint(directory: Path | str, policy: Policy) -> Checkpoint:
    """The checkpoint of an archive. Raises Malformed, Untrue."""
    return verify_checkpoint(_read(directory, CHECKPOINT, MAX_NOTE_BYTES), policy)


def read_entries(
    directory: Path | str, checkpoint: Checkpoint, progress: Callable[[int, int], None] | None = None
) -> Iterator[bytes]:
    """Every entry up to the checkpoint; Untrue at the end where they are not the checkpoint's, Malformed on the way."""
    frontier = Frontier()
    for index in range(-(-checkpoint.size // TILE_WIDTH)):
        width = tile_width(0, index, checkpoint.size)
        for entry in decode_entry_bundle(_read(directory, tile_path(ENTRIES, index, width), MAX_BUNDLE_BYTES), width):
            frontier.append(leaf_hash(entry))
            yield entry
        if progress is not None:
            progress(frontier.size, checkpoint.size)
    if frontier.root() != checkpoint.root:
        raise Untrue(
            "archive_differs",
            f"the entries hash to {frontier.root().hex()}, expected {checkpoint.root.hex()} as the checkpoint says",
        )


def _read(directory: Path | str, path: str, max_bytes: int) -> bytes:
    data = read_file(str(directory), path, max_bytes)
    if isinstance(data, str):
        raise Malformed("bad_archive", f"{path} {data}")
    return data

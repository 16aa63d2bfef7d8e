"""The archive that an auditor is handed: a C2SP tlog-tiles directory, with its checkpoint and policy.

    checkpoint                       the final checkpoint, a signed note
    policy                           whom to believe about it, without addresses
    membership                       the signed changes of the membership since genesis, if there were any
    tile/<level>/<number>[.p/<width>]     hashes
    tile/entries/<number>[.p/<width>]     entries

Promises: the files of a tree of the checkpoint's size and no others; each is written whole (to a name of its own, then
renamed); the checkpoint comes last, so that an export that was interrupted leaves the archive that was there before.
Exporting again fetches only what is new. What cannot be an archive of this checkpoint is refused.

Does not: check hashes and signatures of what it copies; `ledger.audit` does, with nothing else to rely on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import Malformed, Misuse
from ledger.merkle import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH
from ledger.note import MAX_NOTE_BYTES, parse_note
from ledger.policy import Policy, format_policy, parse_policy, verify_checkpoint
from ledger.tiles import ENTRIES, MAX_ENTRY_BYTES, decode_entry_bundle, tile_path, tile_width

CHECKPOINT = "checkpoint"
POLICY = "policy"
MEMBERSHIP = "membership"
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)

# Called with the number of files done and of all files.
Progress = Callable[[int, int], None]


class TileSource(Protocol):
    """Where tiles come from: a `ledger.chain.Chain`, or a gateway's client."""

    def tile(self, path: str) -> bytes:
        """Return what C2SP tlog-tiles has under ``path``."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did, in files."""

    checkpoint: Checkpoint
    written: int
    kept: int
    removed: int


def archive_levels(size: int) -> Iterator[tuple[int, int]]:
    """Yield (level, number of hashes) of every level of tiles in a tree of ``size``, the entries' first."""
    if size:
        yield ENTRIES, size
    level = 0
    while size >> TILE_HEIGHT * level:
        yield level, size >> TILE_HEIGHT * level
        level += 1


def archive_paths(size: int) -> Iterator[str]:
    """Yield the path of every tile and bundle of a tree of ``size``."""
    for level, count in archive_levels(size):
        for index in range(-(-count // TILE_WIDTH)):
            yield tile_path(level, index, tile_width(level, index, size))


def count_archive_files(size: int) -> int:
    return sum(-(-count // TILE_WIDTH) for _, count in archive_levels(size))


def archive_policy(policy: Policy) -> bytes:
    """``policy`` as an archive carries it: the same keys and rules, spelled in one way, without addresses."""
    return format_policy(
        replace(
            policy,
            logs=tuple(replace(log, url=None) for log in policy.logs),
            witnesses=tuple(replace(witness, url=None) for witness in policy.witnesses),
        )
    )


def export_archive(
    source: TileSource,
    directory: Path | str,
    policy: bytes,
    checkpoint_note: bytes,
    progress: Progress | None = None,
    changes: bytes = b"",
) -> ExportReport:
    """Make ``directory`` the archive of ``checkpoint_note``, reading from ``source`` what is not there yet.

    ``changes``: the signed changes of the membership, one after the other; they name whoever joined after genesis.

    Raises `Untrue` where the policy does not hold the checkpoint for final, `Malformed` where the source answers with
    what is no such tile, `Misuse` where the directory holds another log or a longer one.
    """
    parsed = parse_policy(policy)
    checkpoint = verify_checkpoint(checkpoint_note, parsed)
    root = Path(directory)
    _check_directory(root, checkpoint)
    root.mkdir(parents=True, exist_ok=True)
    total = count_archive_files(checkpoint.size)
    written = kept = 0
    for level, count in archive_levels(checkpoint.size):
        for index in range(-(-count // TILE_WIDTH)):
            width = tile_width(level, index, checkpoint.size)
            path = tile_path(level, index, width)
            if _is_there(root / path, level, width):
                kept += 1
            else:
                data = source.tile(path)
                _check_shape(path, level, width, data)
                _write_whole(root / path, data)
                written += 1
            if progress is not None:
                progress(written + kept, total)
    _write_whole(root / POLICY, archive_policy(parsed))
    if changes:
        _write_whole(root / MEMBERSHIP, changes)
    _write_whole(root / CHECKPOINT, checkpoint_note)
    return ExportReport(checkpoint, written, kept, _remove_outgrown(root, checkpoint.size))


def _check_directory(root: Path, checkpoint: Checkpoint) -> None:
    """An archive only ever grows, and of one log."""
    try:
        note = (root / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        return
    try:
        present = parse_checkpoint(parse_note(note[: MAX_NOTE_BYTES + 1]).text)
    except Malformed as error:
        raise Misuse(f"{root} holds a checkpoint that cannot be read, export elsewhere: {error}") from error
    if present.origin != checkpoint.origin or present.size > checkpoint.size:
        raise Misuse(
            f"{root} holds {present.origin} up to {present.size}, expected {checkpoint.origin} "
            f"up to at most {checkpoint.size}"
        )


def _is_there(path: Path, level: int, width: int) -> bool:
    """Whether the file is there in the right shape; hash tiles are told by their length, bundles by reading them."""
    try:
        if level != ENTRIES:
            return path.stat().st_size == width * HASH_BYTES
        decode_entry_bundle(path.read_bytes(), width)
    except (OSError, Malformed):
        return False
    return True


def _check_shape(path: str, level: int, width: int, data: bytes) -> None:
    if level == ENTRIES:
        decode_entry_bundle(data, width)
    elif len(data) != width * HASH_BYTES:
        raise Malformed("bad_tile", f"{path} has wrong length: expected {width * HASH_BYTES} bytes, got {len(data)}")


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(data)
    unfinished.replace(path)


def _remove_outgrown(root: Path, size: int) -> int:
    """Remove the partial tiles of smaller sizes, and what an interrupted export left half-written."""
    expected = set()
    for level, count in archive_levels(size):
        index = (count - 1) // TILE_WIDTH
        expected.add(root / tile_path(level, index, tile_width(level, index, size)))
    removed = 0
    for parent, _, names in os.walk(root / "tile"):
        for name in names:
            path = Path(parent, name)
            unfinished = name.startswith(".") and name.endswith(".part")
            if unfinished or (parent.endswith(".p") and path not in expected):
                path.unlink()
                removed += 1
        if parent.endswith(".p") and not os.listdir(parent):
            os.rmdir(parent)
    return removed

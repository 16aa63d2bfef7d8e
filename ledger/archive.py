"""The archive that an auditor is handed: a C2SP tlog-tiles directory, with its checkpoint and policy.

    checkpoint                       the final checkpoint, a signed note
    policy                           whom to believe about it, without addresses
    membership                       the signed changes of the membership since genesis, if there were any
    tile/<level>/<number>[.p/<width>]     hashes
    tile/entries/<number>[.p/<width>]     entries

Promises: the files of a tree of the checkpoint's size and no others; each is written whole (to a name of its own, then
renamed); the checkpoint comes last, so that an export that was interrupted leaves the archive that was there before.
Exporting again fetches only what is new. Every hash and entry that is fetched belongs to the tree of the checkpoint, or
it is refused before it is in its place; and that tree goes on from the one that was there before.

Does not: check statements' signatures, or execute anything again; `ledger.audit` does, with nothing else to rely on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, leaf_hash, perfect_root, root_from_tiles
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
    *,
    recheck: bool = True,
) -> ExportReport:
    """Make ``directory`` the archive of ``checkpoint_note``, reading from ``source`` what is not there yet.

    ``changes``: the signed changes of the membership, one after the other; they name whoever joined after genesis.
    ``recheck``: look at every file that an earlier export left, and fetch those again that have lost their shape. A
    mirror that has just done so need not do it again for each new block.

    Raises `Untrue` where the policy does not hold the checkpoint for final, where what the source gives is not of its
    tree, and where the directory's own checkpoint is not of one history with it (code `history_differs`); `Malformed`
    where the source answers with what is no such tile; `Misuse` where the directory holds another log or a longer one.
    """
    parsed = parse_policy(policy)
    checkpoint = verify_checkpoint(checkpoint_note, parsed)
    root = Path(directory)
    present = _present(root, checkpoint)
    root.mkdir(parents=True, exist_ok=True)
    export = _Export(source, root, checkpoint, 0 if present is None else present.size, recheck, progress)
    export.take_hashes()
    if present is not None:
        _check_history(root, present, checkpoint, export.root_at(present.size))
    export.keep_edge()
    export.take_entries()
    _write_whole(root / POLICY, archive_policy(parsed))
    if changes:
        _write_whole(root / MEMBERSHIP, changes)
    _write_whole(root / CHECKPOINT, checkpoint_note)
    return ExportReport(checkpoint, export.written, export.kept, _remove_outgrown(root, checkpoint.size))


def _check_history(root: Path, present: Checkpoint, checkpoint: Checkpoint, had: bytes) -> None:
    if had != present.root:
        raise Untrue(
            "history_differs",
            f"{root} holds a final checkpoint of {present.size} entries with root {present.root.hex()}, and the tree "
            f"of the checkpoint of {checkpoint.size} entries had {had.hex()} there: both authorities cosigned two "
            "histories",
        )


class _Export:
    """The files of one checkpoint's tree, from the top down, so that each is vouched for before it is fetched.

    The partial tiles, one a level, come to the checkpoint's root together; a full tile comes to a hash of the tile
    above it; a bundle's entries hash to the tile below it. Memory: a few tiles.
    """

    def __init__(
        self,
        source: TileSource,
        root: Path,
        checkpoint: Checkpoint,
        trusted: int,
        recheck: bool,
        progress: Progress | None,
    ) -> None:
        """``trusted``: so many entries were verified when the files that are there were written."""
        self._source = source
        self._root = root
        self._size = checkpoint.size
        self._expected_root = checkpoint.root
        self._trusted = trusted
        self._progress = progress
        # The partial tile of each level: its path, what it holds, and whether that came from the directory.
        self._edge: dict[int, tuple[str, bytes, bool]] = {}
        self._last: tuple[int, int, bytes] | None = None
        # Level, the first tile to look at, the number of hashes or entries.
        self._levels = [
            (level, 0 if recheck else (trusted >> TILE_HEIGHT * max(level, 0)) // TILE_WIDTH, count)
            for level, count in archive_levels(checkpoint.size)
        ]
        self._total = sum(max(0, -(-count // TILE_WIDTH) - begin) for _, begin, count in self._levels)
        self.written = self.kept = 0

    def take_hashes(self) -> None:
        """Take every tile of hashes, the highest level's first. The partial ones are not in their places yet: those of
        another history of the same size would lie where the present archive has its own.
        """
        self._take_edge()
        for level, begin, count in sorted(self._levels, reverse=True):
            if level != ENTRIES:
                for index in range(begin, count // TILE_WIDTH):
                    self._take(level, index, TILE_WIDTH, partial(self._is_of, level + 1, index))

    def keep_edge(self) -> None:
        for path, data, kept in self._edge.values():
            if not kept:
                _write_whole(self._root / path, data)
            self._count(kept=kept)

    def take_entries(self) -> None:
        """Take every bundle; the hashes are there."""
        for level, begin, count in self._levels:
            if level == ENTRIES:
                for index in range(begin, -(-count // TILE_WIDTH)):
                    width = tile_width(level, index, self._size)
                    self._take(level, index, width, partial(self._hashes_to, index, width))

    def root_at(self, size: int) -> bytes:
        """The root that this tree had at an earlier size."""
        return root_from_tiles(size, lambda level, index, _: self._tile(level, index))

    def _take_edge(self) -> None:
        """The partial tiles: those of the directory if they come to the root, else the source's."""
        widths = {}
        for level, _, count in self._levels:
            if level != ENTRIES and count % TILE_WIDTH:
                path = self._path(level, count // TILE_WIDTH)
                widths[level] = count % TILE_WIDTH
                self._edge[level] = path, _read_tile_file(self._root / path), True
        # A second time for those that are of the right length and of something else.
        for again in (False, True):
            for level, width in widths.items():
                path, data, _ = self._edge[level]
                if again or len(data) != width * HASH_BYTES:
                    data = self._source.tile(path)
                    _check_shape(path, level, width, data)
                    self._edge[level] = path, data, False
            if self._edge_root() == self._expected_root:
                return
        found = self._edge_root()
        raise Untrue(
            "tiles_differ",
            f"the tiles of the tree's right edge come to root {found.hex()}, expected {self._expected_root.hex()} as "
            "the checkpoint says",
        )

    def _edge_root(self) -> bytes:
        return root_from_tiles(self._size, lambda level, index, _: self._edge[level][1])

    def _path(self, level: int, index: int) -> str:
        return tile_path(level, index, tile_width(level, index, self._size))

    def _tile(self, level: int, index: int) -> bytes:
        """A verified tile of this tree: of the edge, or one that is in its place already."""
        if tile_width(level, index, self._size) < TILE_WIDTH:
            return self._edge[level][1]
        if self._last is None or self._last[:2] != (level, index):
            self._last = level, index, _read_tile_file(self._root / tile_path(level, index))
        return self._last[2]

    def _take(self, level: int, index: int, width: int, holds: Callable[[bytes], bool]) -> None:
        path = tile_path(level, index, width)
        whole = width == TILE_WIDTH and (index + 1) * TILE_WIDTH <= self._trusted >> TILE_HEIGHT * max(level, 0)
        if _is_there(self._root / path, level, width) and (whole or holds(_read_tile_file(self._root / path))):
            self._count(kept=True)
            return
        data = self._source.tile(path)
        _check_shape(path, level, width, data)
        if not holds(data):
            raise Untrue("tiles_differ", f"{path} is not that of the checkpoint of {self._size} entries")
        _write_whole(self._root / path, data)
        self._count(kept=False)

    def _is_of(self, level: int, index: int, data: bytes) -> bool:
        """Whether a full tile comes to the hash that the level above has for it."""
        at = index % TILE_WIDTH * HASH_BYTES
        return perfect_root(data) == self._tile(level, index // TILE_WIDTH)[at : at + HASH_BYTES]

    def _hashes_to(self, index: int, width: int, data: bytes) -> bool:
        leaves = b"".join(map(leaf_hash, decode_entry_bundle(data, width)))
        return leaves == self._tile(0, index)[: len(leaves)]

    def _count(self, *, kept: bool) -> None:
        self.kept += kept
        self.written += not kept
        if self._progress is not None:
            self._progress(self.written + self.kept, self._total)


def _present(root: Path, checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint that is there: an archive only ever grows, and of one log."""
    try:
        note = (root / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        return None
    try:
        present = parse_checkpoint(parse_note(note[: MAX_NOTE_BYTES + 1]).text)
    except Malformed as error:
        raise Misuse(f"{root} holds a checkpoint that cannot be read, export elsewhere: {error}") from error
    if present.origin != checkpoint.origin or present.size > checkpoint.size:
        raise Misuse(
            f"{root} holds {present.origin} up to {present.size}, expected {checkpoint.origin} "
            f"up to at most {checkpoint.size}"
        )
    return present


def _is_there(path: Path, level: int, width: int) -> bool:
    """Whether the file is there in the right shape; hash tiles are told by their length, bundles by reading them."""
    try:
        if level != ENTRIES:
            return path.stat().st_size == width * HASH_BYTES
        decode_entry_bundle(path.read_bytes(), width)
    except (OSError, Malformed):
        return False
    return True


def _read_tile_file(path: Path) -> bytes:
    """What is there; nothing, where nothing can be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


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

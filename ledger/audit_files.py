"""The files of an archive: which tiles are there, which a tree of this size wants, and what does not belong.

Promises: a run of missing files is one fault, and the number of such runs that are told is bounded by
`ledger.audit_report`. Does not: follow links, open tiles other than the first bundle, or compare hashes
(`ledger.audit_tree` does).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ledger.archive import CHECKPOINT, MEMBERSHIP, POLICY, archive_levels
from ledger.audit_chunks import Task, read_first_entry
from ledger.audit_report import Check, FaultList
from ledger.checkpoint import Checkpoint
from ledger.entry import Genesis, parse_entry
from ledger.errors import LedgerError, Malformed
from ledger.merkle import MAX_TREE_SIZE, TILE_WIDTH
from ledger.tiles import ENTRIES, parse_tile_path, tile_path, tile_width


class FileCheck:
    """Lists at once; `check` when it is known how large the tree should be."""

    def __init__(self, directory: str, faults: FaultList) -> None:
        self._directory = directory
        self._faults = faults
        # The tiles that are there, as level -> index -> widths, and everything that is none.
        self._present: dict[int, dict[int, set[int]]] = {}
        self._strangers: list[str] = []
        self._list()

    def bundles(self) -> list[int]:
        """The bundles of which the entries or their leaf hashes are there, in order."""
        return sorted({*self._present.get(ENTRIES, {}), *self._present.get(0, {})})

    def peek_genesis(self) -> Genesis | None:
        """Read entry 0 ahead of everything, for the keys that it names; its faults are told when its turn comes."""
        for width in sorted(self._present.get(ENTRIES, {}).get(0, ()), reverse=True):
            raw = read_first_entry(Task(self._directory, 0, width))
            try:
                entry = None if raw is None else parse_entry(raw)
            except LedgerError:
                continue
            if isinstance(entry, Genesis):
                return entry
        return None

    def size(self, checkpoint: Checkpoint | None, vouched: bool) -> int:
        """The size to audit: the checkpoint's, or if nobody vouches for that, what the bundles come to."""
        if checkpoint is not None and vouched:
            return checkpoint.size
        bundles = self._present.get(ENTRIES, {})
        if not bundles:
            return 0 if checkpoint is None else checkpoint.size
        last = max(bundles)
        found = min(last * TILE_WIDTH + max(bundles[last]), MAX_TREE_SIZE)
        if checkpoint is not None and checkpoint.size != found:
            message = f"files hold {found} entries, expected {checkpoint.size} as the checkpoint says"
            self._faults.add(Check.FILES, message)
        return found

    def check(self, size: int) -> None:
        """Tell what a tree of this size lacks here, and what is no part of it."""
        for path in self._strangers:
            self._faults.add(Check.NOTHING_ELSE, "does not belong to an archive", file=path)
        for level, indexes in self._present.items():
            for index, widths in indexes.items():
                for width in widths:
                    if width != tile_width(level, index, size):
                        message = f"does not belong to a tree of {size} entries"
                        self._faults.add(Check.NOTHING_ELSE, message, file=tile_path(level, index, width))
        for level, count in archive_levels(size):
            there = sorted(
                index
                for index, widths in self._present.get(level, {}).items()
                if tile_width(level, index, size) in widths
            )
            for first, last in _gaps(there, -(-count // TILE_WIDTH)):
                self._tell_missing(level, first, last, size)

    def _list(self) -> None:
        for parent, directories, names in os.walk(self._directory, followlinks=False):
            inside = os.path.relpath(parent, self._directory)
            for name in [*names, *(each for each in directories if os.path.islink(os.path.join(parent, each)))]:
                path = name if inside == "." else f"{inside}/{name}".replace(os.sep, "/")
                try:
                    level, index, width = parse_tile_path(path)
                except (Malformed, UnicodeError):
                    if path not in (CHECKPOINT, POLICY, MEMBERSHIP):
                        self._strangers.append(path)
                    continue
                self._present.setdefault(level, {}).setdefault(index, set()).add(width)

    def _tell_missing(self, level: int, first: int, last: int, size: int) -> None:
        path = tile_path(level, first, tile_width(level, first, size))
        message = "is missing"
        if last > first:
            message = f"is missing, and all up to {tile_path(level, last, tile_width(level, last, size))}"
        entry = first * TILE_WIDTH if level == ENTRIES else None
        self._faults.add(Check.FILES, message, entry=entry, file=path)


def _gaps(there: list[int], count: int) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of numbers below ``count`` that is not in the ordered list."""
    expected = 0
    for index in [*there, count]:
        if index > expected:
            yield expected, index - 1
        expected = index + 1

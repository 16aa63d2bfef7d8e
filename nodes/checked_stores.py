"""The stores of a validator as they are opened: LevelDB below, a checksum on every record, names for people.

A store that the release before this one wrote has no checksums. It is rewritten when it is opened, once, and the log
says how far that is; nothing else is asked of the operator.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import structlog

from ledger.checked import CHECKSUM_BYTES, CheckedStore, holds, write_unchecked
from ledger.errors import UnknownDurableState
from ledger.leveldb import DISK_RESERVE_BYTES, LevelDBStore
from nodes.catch_up_adoption import ADOPTED, STAGING
from nodes.files import Files
from nodes.promises import Promise
from nodes.raft_store import RaftStore
from nodes.record_names import LEDGER, ORDER, describe

# How often a rewriting that takes long says how far it is.
PROGRESS_S = 2.0


# In the folder of the store, so that it goes wherever that goes. LevelDB leaves files alone that it does not know.
ACKNOWLEDGED = "acknowledged"
_NUMBER_BYTES = 8
_FILE_BYTES = _NUMBER_BYTES + 4


class AcknowledgedFile:
    """The number of the last acknowledged write of a store: eight bytes and their CRC-32, over and over in place.

    Never synced: it costs a system call, and after a loss of power it may be behind or unreadable, which says nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def read(self) -> int | None:
        try:
            data = self._path.read_bytes()
        except OSError:
            return None
        number, check = data[:_NUMBER_BYTES], data[_NUMBER_BYTES:]
        if len(data) != _FILE_BYTES or zlib.crc32(number) != int.from_bytes(check, "big") or not any(number):
            return None
        return int.from_bytes(number, "big")

    def note(self, number: int) -> None:
        data = number.to_bytes(_NUMBER_BYTES, "big")
        # A full disk has room for this once it has: it is written in place. Without it only this protection is less.
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(self._file, data + zlib.crc32(data).to_bytes(4, "big"), 0)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class _NumberedStore(CheckedStore):
    """With the file closed when the store is."""

    def __init__(self, below: LevelDBStore, path: Path, name: Path, on_rewritten: Callable[[int], None]) -> None:
        self._file = AcknowledgedFile(path / ACKNOWLEDGED)
        super().__init__(
            below,
            name=f"store {name}",
            describe=describe(name),
            on_rewritten=on_rewritten,
            acknowledged=self._file,
        )

    def close(self) -> None:
        super().close()
        self._file.close()


def open_checked(path: Path, *, name: Path | None = None, disk_reserve_bytes: int = DISK_RESERVE_BYTES) -> CheckedStore:
    """`name` is the path to name in errors, if another. Raises StoreUnavailable, UnknownDurableState."""
    log = structlog.get_logger().bind(part="store", store=str(path))
    told_s = time.monotonic()

    def rewritten(records: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= PROGRESS_S:
            told_s = time.monotonic()
            log.info("store_is_rewritten_with_checksums", records=records)

    below = LevelDBStore(path, disk_reserve_bytes=disk_reserve_bytes)
    try:
        return _NumberedStore(below, path, name or path, rewritten)
    except BaseException:
        below.close()
        raise


def take_back(data: Path, on_rewritten: Callable[[int], None] = lambda _: None) -> None:
    """Rewrite both stores for the release before this one. Raises StoreUnavailable, UnknownDurableState."""
    if (data / STAGING / ADOPTED).exists():
        raise UnknownDurableState(f"{data}: a ledger is being put in the place of another: start this release once")
    if (data / ORDER).exists():
        _refuse_a_floor(data / ORDER)
    for part in (LEDGER, ORDER):
        if (data / part).exists():
            store = LevelDBStore(data / part)
            try:
                # First, and for good: the release before does not number its writes, and a number that outlived them
                # would say, after the next upgrade, that they were lost.
                with contextlib.suppress(FileNotFoundError):
                    Files().remove(data / part / ACKNOWLEDGED)
                write_unchecked(store, name=f"store {data / part}", on_rewritten=on_rewritten)
            finally:
                store.close()


def _refuse_a_floor(order: Path) -> None:
    """The release before knows nothing of what must not be signed again after a repair, so it would sign it."""
    store = LevelDBStore(order)
    try:
        record = store.get(RaftStore.PROMISE_KEY)
        if record is not None and holds(RaftStore.PROMISE_KEY, record):
            floor = Promise.decode(record[:-CHECKSUM_BYTES]).floor
            if floor:
                raise UnknownDurableState(
                    f"{order}: after a repair nothing up to size {floor} may be signed again, which the release before "
                    "does not know: wait until this one has signed above it and taken the next block"
                )
    finally:
        store.close()

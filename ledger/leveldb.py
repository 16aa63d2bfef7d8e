"""The store on disk: LevelDB through plyvel (design sections 5 and 9).

Promises what `ledger.store` promises. Every checksum is verified on every read; a batch is one record of LevelDB's log,
so a crash leaves all of it or none. What cannot be read back as it was written is `UnknownDurableState`.

A write that fails inside LevelDB leaves the log in an unknown state (the record may be there when the database is next
opened, and a failed sync may have thrown away what it could not write: asking again would get the answer of an empty
queue), so the store raises `WriteFailed`, then and for whatever is asked of it afterwards; only closing it and opening
it again tells. Another thread may be reading at that moment, so it does not close itself: `close` is for when nobody
reads any more, or the process ends in the middle of LevelDB. A disk that is about to be
full, that is mounted read only, or for which there is no file descriptor left is noticed before anything is written,
and that is `StoreUnavailable`.

LevelDB syncs a new log file but not the name of it. So the directory is synced as well, when something in it was made
or removed since it last was, before a synced write is acknowledged.

Opening repairs one thing only: a last record that the machine was still writing when it lost power (see
`ledger.leveldb_log`). The only module of `ledger` that needs plyvel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import plyvel

from ledger.errors import Misuse, UnknownDurableState, WriteFailed
from ledger.leveldb_log import drop_torn_tail, has_hole
from ledger.store import Batch, Store, StoreUnavailable, check_batch

# Twice LevelDB's own: what is rewritten in the background grows with every level, and the levels with small buffers.
WRITE_BUFFER_BYTES = 8 * 1024 * 1024
BLOCK_CACHE_BYTES = 8 * 1024 * 1024
MAX_OPEN_FILES = 256
BLOOM_FILTER_BITS_PER_KEY = 10
# Below this much free space nothing is written: compaction needs room to finish what was already accepted.
DISK_RESERVE_BYTES = 64 * 1024 * 1024
# Two changes of a directory closer together than this may bear one time.
DIRECTORY_TIME_NS = 50_000_000

_WHAT_TO_DO = "stop, and look with `comity storage check`"
_BEHIND_ALL_KEYS = b"\xff" * 64
_NO_DESCRIPTOR = "Too many open files"


class LevelDBStore:
    """A `Store` in the directory ``path``, which one process at a time may open."""

    def __init__(self, path: Path | str, *, disk_reserve_bytes: int = DISK_RESERVE_BYTES) -> None:
        self._path = Path(path)
        self._disk_reserve_bytes = disk_reserve_bytes
        self._failed: str | None = None
        self._failed_as: type[UnknownDurableState] = WriteFailed
        self._write_lock = Lock()
        self._flush_lock = Lock()
        self._path.mkdir(parents=True, exist_ok=True)
        self._database = self._open()
        self._directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        self._directory_time_ns = 0

    def _open(self) -> plyvel.DB:
        # LevelDB takes a folder without this file for a new one, and removes what it finds there.
        if not (self._path / "CURRENT").exists() and any(
            file.suffix in (".ldb", ".sst", ".log") for file in self._path.iterdir()
        ):
            raise UnknownDurableState(f"store {self._path} is corrupt: it has lost its file CURRENT; {_WHAT_TO_DO}")
        if has_hole(self._path) and not drop_torn_tail(self._path):
            raise UnknownDurableState(f"store {self._path} is corrupt: its log has a hole; {_WHAT_TO_DO}")
        try:
            return self._open_database()
        except plyvel.CorruptionError as error:
            if not drop_torn_tail(self._path):
                raise UnknownDurableState(f"store {self._path} is corrupt: {error}; {_WHAT_TO_DO}") from error
        except (plyvel.Error, OSError) as error:
            raise StoreUnavailable(f"store {self._path} cannot be opened: {error}") from error
        try:
            return self._open_database()
        except plyvel.Error as error:
            raise UnknownDurableState(f"store {self._path} is corrupt: {error}; {_WHAT_TO_DO}") from error

    def _open_database(self) -> plyvel.DB:
        return plyvel.DB(
            str(self._path),
            create_if_missing=True,
            paranoid_checks=True,
            write_buffer_size=WRITE_BUFFER_BYTES,
            lru_cache_size=BLOCK_CACHE_BYTES,
            max_open_files=MAX_OPEN_FILES,
            bloom_filter_bits=BLOOM_FILTER_BITS_PER_KEY,
            # Nearly all of it is hashes, signatures and keys: packing them costs more than executing a statement does.
            compression=None,
        )

    def get(self, key: bytes) -> bytes | None:
        if self._failed is not None:
            raise self._closed()
        try:
            value: bytes | None = self._database.get(key, verify_checksums=True)
        except (plyvel.CorruptionError, plyvel.IOError) as error:
            raise self._unreadable(error) from error
        except RuntimeError as error:
            raise self._closed() from error
        return value

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        if self._failed is not None:
            raise self._closed()
        # The cursor is opened here, not at the first step, so that what it sees is fixed when the caller asks.
        try:
            cursor = self._database.raw_iterator(verify_checksums=True, fill_cache=False)
        except RuntimeError as error:
            raise self._closed() from error
        return self._steps(cursor, start, stop, reverse)

    def _steps(
        self, cursor: plyvel._plyvel.RawIterator, start: bytes, stop: bytes, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        # The raw iterator asks LevelDB after each step whether it is still well. plyvel's other one takes a table that
        # cannot be read for the end of the data, and says nothing.
        try:
            with contextlib.closing(cursor):
                if reverse:
                    cursor.seek(stop)
                    if cursor.valid():
                        cursor.prev()
                    else:
                        cursor.seek_to_last()
                    while cursor.valid():
                        pair = cursor.item()
                        if pair[0] < start:
                            return
                        yield pair
                        cursor.prev()
                else:
                    cursor.seek(start)
                    while cursor.valid():
                        pair = cursor.item()
                        if pair[0] >= stop:
                            return
                        yield pair
                        cursor.next()
        except (plyvel.CorruptionError, plyvel.IOError) as error:
            raise self._unreadable(error) from error
        except (plyvel.IteratorInvalidError, RuntimeError) as error:
            raise self._closed() from error

    def write(self, batch: Batch, sync: bool = True) -> None:
        size_bytes = check_batch(batch)
        with self._write_lock:
            self._check_usable()
            self._check_disk(size_bytes)
            try:
                with self._database.write_batch(transaction=True, sync=sync) as record:
                    for key, value in batch.items():
                        if value is None:
                            record.delete(key)
                        else:
                            record.put(key, value)
                if sync:
                    self._sync_names()
            except plyvel.CorruptionError as error:
                # Rewriting its tables, LevelDB met one that is damaged. Opening it again would end here again.
                self._failed = f"store {self._path} is corrupt: {error}; {_WHAT_TO_DO}"
                self._failed_as = UnknownDurableState
                raise self._closed() from error
            except (plyvel.Error, OSError) as error:
                self._failed = (
                    f"a write to {self._path} failed and may be there in part: {error}; open it again to know"
                )
                raise self._closed() from error
            except RuntimeError as error:
                raise self._closed() from error

    def _sync_names(self) -> None:
        """Make the names of new files durable; their contents are."""
        changed_ns = os.fstat(self._directory).st_mtime_ns
        if changed_ns != self._directory_time_ns:
            os.fsync(self._directory)
            # What happens in the same tick of the clock as the last change seen would not be told from it.
            settled = time.time_ns() - changed_ns > DIRECTORY_TIME_NS
            self._directory_time_ns = changed_ns if settled else 0

    def flush(self) -> None:
        """Write what only the log holds into a table, so that reading every record reads all there is on the disk."""
        with self._flush_lock:
            self._check_usable()
            self._check_disk(WRITE_BUFFER_BYTES)
            self._database.compact_range(start=_BEHIND_ALL_KEYS, stop=_BEHIND_ALL_KEYS)

    def _check_usable(self) -> None:
        if self._failed is not None or self._database.closed:
            raise self._closed()

    def _check_disk(self, size_bytes: int) -> None:
        try:
            # LevelDB may need one for its next log.
            os.close(os.dup(self._directory))
            disk = os.fstatvfs(self._directory)
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise StoreUnavailable(f"no file descriptor is left to write {self._path} with") from error
            raise StoreUnavailable(f"the disk of {self._path} does not answer: {error}") from error
        if disk.f_flag & os.ST_RDONLY:
            raise StoreUnavailable(f"the disk of {self._path} is mounted read only")
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes < self._disk_reserve_bytes + size_bytes:
            raise StoreUnavailable(
                f"the disk of {self._path} is full: expected {self._disk_reserve_bytes + size_bytes} bytes free, "
                f"got {free_bytes}"
            )

    def view(self) -> Store:
        if self._failed is not None:
            raise self._closed()
        try:
            return _LevelDBView(self, self._database.snapshot())
        except RuntimeError as error:
            raise self._closed() from error

    def close(self) -> None:
        with self._write_lock, self._flush_lock:
            if not self._database.closed:
                self._database.close()
                os.close(self._directory)

    def _unreadable(self, error: Exception) -> UnknownDurableState | StoreUnavailable:
        if _NO_DESCRIPTOR in str(error):
            return StoreUnavailable(f"no file descriptor is left to read {self._path} with")
        return UnknownDurableState(f"store {self._path} cannot be read back: {error}; {_WHAT_TO_DO}")

    def _closed(self) -> Misuse | UnknownDurableState:
        return Misuse("the store is closed") if self._failed is None else self._failed_as(self._failed)


class _LevelDBView:
    """A `LevelDBStore` as it was when `view` was called. It ends with the store: closing that ends this."""

    def __init__(self, store: LevelDBStore, snapshot: plyvel._plyvel.Snapshot) -> None:
        self._store = store
        self._snapshot = snapshot
        self._open = True

    def get(self, key: bytes) -> bytes | None:
        self._check_open()
        try:
            value: bytes | None = self._snapshot.get(key, verify_checksums=True)
        except (plyvel.CorruptionError, plyvel.IOError) as error:
            raise self._store._unreadable(error) from error
        except RuntimeError as error:
            raise self._store._closed() from error
        return value

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        try:
            cursor = self._snapshot.raw_iterator(verify_checksums=True, fill_cache=False)
        except RuntimeError as error:
            raise self._store._closed() from error
        return self._store._steps(cursor, start, stop, reverse)

    def write(self, batch: Batch, sync: bool = True) -> None:
        raise Misuse("a view of a store cannot be written")

    def view(self) -> Store:
        raise Misuse("a view has no views of its own")

    def close(self) -> None:
        if self._open:
            self._open = False
            self._snapshot.close()

    def _check_open(self) -> None:
        if not self._open:
            raise Misuse("the view is closed")
        if self._store._failed is not None:
            raise self._store._closed()

"""An ordered map of bytes to bytes, written in atomic batches (design sections 5 and 9).

Promises: keys are ordered as unsigned bytes; a batch is applied whole or not at all; a batch written with ``sync`` is
on the disk when ``write`` returns; reading while another thread writes is safe, and an iteration sees the store as it
was when the iteration began. Does not promise: anything across two calls of ``get``, except on
what `Store.view` returns, which stays as the store was.

Three ways to fail, never merged. `StoreUnavailable`: nothing was written and the same call may be tried again.
`UnknownDurableState`: the batch may or may not be on the disk, or what is there contradicts itself; close, open again,
and derive everything anew. `Misuse`: the store was closed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Protocol

from ledger.errors import LedgerError, Misuse

# A key is an index prefix, a subject of at most a few hundred bytes, and a position.
MAX_KEY_BYTES = 1024
# A block of the largest permitted size with its tiles, state and indexes stays well under this.
MAX_BATCH_BYTES = 256 * 1024 * 1024


class StoreUnavailable(LedgerError):
    """Nothing was written (the disk is full, say), and the same write may be tried again later."""


Batch = Mapping[bytes, bytes | None]


class Store(Protocol):
    """What the ledger needs of a database: `MemoryStore` here, `ledger.leveldb.LevelDBStore` on disk."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop`` in order of key, or in the opposite order."""

    def write(self, batch: Batch, sync: bool = True) -> None:
        """Apply every put (bytes) and delete (None) of ``batch``, or none of them."""

    def view(self) -> Store:
        """Return the store as it is now, to be read while this one is written; close it soon, it keeps what was.

        Writing to a view is `Misuse`.
        """

    def close(self) -> None:
        """Release what the store holds; closing twice is harmless."""


def check_batch(batch: Batch) -> int:
    """Return the size of ``batch`` in bytes; raise `Misuse` where it exceeds a limit."""
    longest_bytes = max(map(len, batch), default=0)
    if longest_bytes > MAX_KEY_BYTES:
        raise Misuse(f"key is too long: expected at most {MAX_KEY_BYTES} bytes, got {longest_bytes}")
    total_bytes = sum(map(len, batch)) + sum(map(len, filter(None, batch.values())))
    if total_bytes > MAX_BATCH_BYTES:
        raise Misuse(f"batch is too large: expected at most {MAX_BATCH_BYTES} bytes, got {total_bytes}")
    return total_bytes


class MemoryStore:
    """A `Store` that forgets: for tests, and for the state that an auditor re-derives."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        # Sorted only when somebody iterates: most users only ever get.
        self._ordered: list[bytes] | None = None
        self._lock = Lock()
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        self._check_open()
        return self._values.get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        with self._lock:
            if self._ordered is None:
                self._ordered = sorted(self._values)
            low, high = bisect_left(self._ordered, start), bisect_left(self._ordered, stop)
            pairs = [(key, self._values[key]) for key in self._ordered[low:high]]
        return iter(pairs[::-1] if reverse else pairs)

    def write(self, batch: Batch, sync: bool = True) -> None:
        self._check_open()
        check_batch(batch)
        with self._lock:
            for key, value in batch.items():
                if value is None:
                    if self._values.pop(key, None) is not None:
                        self._ordered = None
                else:
                    if self._ordered is not None and key not in self._values:
                        self._ordered = None
                    self._values[key] = value

    def view(self) -> Store:
        self._check_open()
        with self._lock:
            return _MemoryView(dict(self._values))

    def close(self) -> None:
        self._closed = True

    def reopen(self) -> MemoryStore:
        """Return a second store over what this one holds, as a process that starts again would find it."""
        survivor = MemoryStore()
        survivor._values = dict(self._values)
        return survivor

    def __len__(self) -> int:
        return len(self._values)

    def _check_open(self) -> None:
        if self._closed:
            raise Misuse("the store is closed")


class _MemoryView(MemoryStore):
    """What a `MemoryStore` held at one moment."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        super().__init__()
        self._values = values

    def write(self, batch: Batch, sync: bool = True) -> None:
        raise Misuse("a view of a store cannot be written")

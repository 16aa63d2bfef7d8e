"""A store that never lies about a record: each carries a checksum over its key and its value.

Promises: a value that comes out is the one that went in under this key, or `DamagedRecord` names the record. A flipped
bit, a value that was cut short or lengthened, and the value of another key are all caught, whoever did it: memory, the
database below, the disk or its controller. What is below checks its blocks with CRC-32C; this is another polynomial,
from the hand of the writer to the hand of the reader, so that no single fault slips past both.

Record: value, then CRC-32 (zlib's) of key and value, begun with the length of the key, 4 bytes, big-endian. Against
rot that is enough: it catches every burst of up to 32 bits, every error of two bits, of three in a record of up to
11 KB, and all but one in 2^32 of the rest. It is none against somebody who alters the file and its checksum: hashes,
cosignatures and the other authority's copy are for that.

Does not notice a record that is *gone*, nor one that is an older value of the same key: what refers to it does (a log
without gaps, the roots of tree and state), when it is read and in every scrub.

A log that is cut short looks like one whose last writes never were. So synced writes are numbered, and the number of
the last one that was acknowledged is kept outside the store (`Acknowledged`), without a sync of its own: it comes after
the sync that it speaks of, so it may be behind, never ahead. A store that ends before it has lost what it had promised
to keep (Alagappan et al., FAST 2018, section 3.3.3: telling corruption from a crash).

Keys below `01` are the store's own: its format, and the number of its last synced write. A store of the format before
this one, without checksums, is rewritten when it is opened, a bounded batch at a time; a crash in between goes on where
it stopped. A program of that version does not take the new records for its own: what it reads first has four bytes too
many for it. `write_unchecked` is the way back.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Final, Protocol

from ledger.errors import Misuse, UnknownDurableState
from ledger.store import Batch, Store

CHECKSUM_BYTES: Final = 4
FORMAT_KEY: Final = b"\x00"
_NUMBER_KEY: Final = b"\x00\x01"
_NUMBER_BYTES: Final = 8
_FIRST_KEY: Final = b"\x01"
_CHECKED: Final = b"comity store 2"
# Followed by the last key that was rewritten.
_REWRITING: Final = b"comity store 1 to 2 up to "
_REWRITING_BACK: Final = b"comity store 2 to 1 up to "
REWRITE_BATCH_BYTES = 4 * 1024 * 1024
# How many records of a store without a mark are looked at before it is believed to be of the format before.
_PROBES = 8


class DamagedRecord(UnknownDurableState):
    """A record is not what was written; `key` is whose."""

    def __init__(self, message: str, key: bytes) -> None:
        super().__init__(message)
        self.key = key


def checksum(key: bytes, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key, len(key))).to_bytes(CHECKSUM_BYTES, "big")


def sealed(key: bytes, value: bytes) -> bytes:
    """The value as it is stored."""
    return value + zlib.crc32(value, zlib.crc32(key, len(key))).to_bytes(CHECKSUM_BYTES, "big")


def holds(key: bytes, record: bytes) -> bool:
    """Whether a stored record is what was written under this key."""
    return len(record) >= CHECKSUM_BYTES and checksum(key, record[:-CHECKSUM_BYTES]) == record[-CHECKSUM_BYTES:]


class Acknowledged(Protocol):
    """Where the number of the last acknowledged write is kept, beside the store."""

    def read(self) -> int | None:
        """None where nothing was kept, or what was kept cannot be read."""

    def note(self, number: int) -> None:
        """Keep a number. Need not be durable, must never survive a crash that its write did not."""


class _CheckedReads:
    """Reading, checked: of a store, or of a view of one."""

    def __init__(self, inner: Store, name: str, describe: Callable[[bytes], str]) -> None:
        self._inner = inner
        self._name = name
        self._describe = describe

    def get(self, key: bytes) -> bytes | None:
        record = self._inner.get(key)
        if record is None:
            return None
        value = record[:-CHECKSUM_BYTES]
        if zlib.crc32(value, zlib.crc32(key, len(key))).to_bytes(4, "big") != record[-CHECKSUM_BYTES:]:
            raise self._damaged(key, record)
        return value

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        # Not a generator: the cursor below is opened now, so that what it sees is fixed when the caller asks.
        return self._steps(self._inner.iterate(max(start, _FIRST_KEY), stop, reverse))

    def _steps(self, pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        crc32 = zlib.crc32
        for key, record in pairs:
            value = record[:-CHECKSUM_BYTES]
            if crc32(value, crc32(key, len(key))).to_bytes(4, "big") != record[-CHECKSUM_BYTES:]:
                raise self._damaged(key, record)
            yield key, value

    def _damaged(self, key: bytes, record: bytes) -> DamagedRecord:
        expected = checksum(key, record[:-CHECKSUM_BYTES]).hex()
        return DamagedRecord(
            f"{self._name}: {self._describe(key)} is damaged: its checksum should be {expected}, "
            f"got {record[-CHECKSUM_BYTES:].hex()}",
            key,
        )

    def write(self, batch: Batch, sync: bool = True) -> None:
        raise Misuse("a view of a store cannot be written")

    def view(self) -> Store:
        raise Misuse("a view has no views of its own")

    def close(self) -> None:
        self._inner.close()


class CheckedStore(_CheckedReads):
    """A `Store` over another one. `describe` says in words which record a key is; `name` which store this is.

    Opening an old store rewrites it, and tells `on_rewritten` how many records are done.
    """

    def __init__(
        self,
        inner: Store,
        *,
        name: str = "store",
        describe: Callable[[bytes], str] = lambda key: f"record {key.hex()}",
        on_rewritten: Callable[[int], None] = lambda _: None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        super().__init__(inner, name, describe)
        self._acknowledged = acknowledged
        self._lock = Lock()
        mark = inner.get(FORMAT_KEY)
        if mark is None:
            self._begin()
            mark = inner.get(FORMAT_KEY)
        if mark is None or not holds(FORMAT_KEY, mark):
            raise DamagedRecord(f"{name}: the record of its format cannot be read", FORMAT_KEY)
        mark = mark[:-CHECKSUM_BYTES]
        if mark.startswith(_REWRITING):
            self._rewrite(mark[len(_REWRITING) :], on_rewritten)
        elif mark.startswith(_REWRITING_BACK):
            raise UnknownDurableState(f"{name}: going back to the format without checksums was begun and must be ended")
        elif mark != _CHECKED:
            raise UnknownDurableState(f"{name}: has a format that this program does not know: {mark[:64]!r}")
        self._number = self._last_number()
        expected = acknowledged.read() if acknowledged is not None else None
        if expected is not None and self._number < expected:
            raise UnknownDurableState(
                f"{name}: has lost what it had acknowledged: its last write is number {self._number}, but number "
                f"{expected} was on the disk"
            )

    def _last_number(self) -> int:
        record = self._inner.get(_NUMBER_KEY)
        if record is None:
            return 0
        if not holds(_NUMBER_KEY, record):
            raise DamagedRecord(f"{self._name}: the number of its last write cannot be read", _NUMBER_KEY)
        return int.from_bytes(record[:-CHECKSUM_BYTES], "big")

    def _begin(self) -> None:
        """There is no mark: this is a new store, or one of the format before."""
        probes = [pair for pair, _ in zip(self._inner.iterate(_FIRST_KEY, b"\xff" * 64), range(_PROBES), strict=False)]
        if any(holds(key, record) for key, record in probes):
            raise DamagedRecord(f"{self._name}: the record of its format is missing", FORMAT_KEY)
        self._put_mark({}, _REWRITING if probes else _CHECKED, sync=True)

    def _put_mark(self, batch: dict[bytes, bytes | None], mark: bytes, *, sync: bool) -> None:
        batch[FORMAT_KEY] = sealed(FORMAT_KEY, mark)
        self._inner.write(batch, sync=sync)

    def _rewrite(self, after: bytes, on_rewritten: Callable[[int], None]) -> None:
        batch: dict[bytes, bytes | None] = {}
        size = done = 0
        # The cursor sees the store as it is now, whatever is written meanwhile.
        for key, value in self._inner.iterate(max(after + b"\x00", _FIRST_KEY), b"\xff" * 64):
            batch[key] = sealed(key, value)
            size += len(key) + len(value)
            done += 1
            if size >= REWRITE_BATCH_BYTES:
                # In order, so that without a sync a crash loses the last of them only, and their mark with them.
                self._put_mark(batch, _REWRITING + key, sync=False)
                batch, size = {}, 0
                on_rewritten(done)
        self._put_mark(batch, _CHECKED, sync=True)
        on_rewritten(done)

    def write(self, batch: Batch, sync: bool = True) -> None:
        crc32 = zlib.crc32
        if batch and min(batch) < _FIRST_KEY:
            raise Misuse(f"key belongs to the store: {min(batch).hex()}")
        records = {
            key: value if value is None else value + crc32(value, crc32(key, len(key))).to_bytes(4, "big")
            for key, value in batch.items()
        }
        if not sync or self._acknowledged is None:
            self._inner.write(records, sync)
            return
        with self._lock:
            number = self._number + 1
            records[_NUMBER_KEY] = sealed(_NUMBER_KEY, number.to_bytes(_NUMBER_BYTES, "big"))
            self._inner.write(records, sync)
            self._number = number
            self._acknowledged.note(number)

    def view(self) -> Store:
        return _CheckedReads(self._inner.view(), self._name, self._describe)

    def flush(self) -> None:
        """Have the store below write what is only in its log into its tables, if it has such a thing."""
        flush = getattr(self._inner, "flush", None)
        if flush is not None:
            flush()


def write_unchecked(inner: Store, *, name: str = "store", on_rewritten: Callable[[int], None] = lambda _: None) -> None:
    """Rewrite a checked store to the format before, for the release before this one; a crash in between goes on."""
    mark = inner.get(FORMAT_KEY)
    if mark is None:
        return
    after = b""
    if mark[:-CHECKSUM_BYTES].startswith(_REWRITING_BACK) and holds(FORMAT_KEY, mark):
        after = mark[len(_REWRITING_BACK) : -CHECKSUM_BYTES]
    else:
        CheckedStore(inner, name=name)
        inner.write({FORMAT_KEY: sealed(FORMAT_KEY, _REWRITING_BACK)}, sync=True)
    batch: dict[bytes, bytes | None] = {}
    size = done = 0
    for key, record in inner.iterate(max(after + b"\x00", _FIRST_KEY), b"\xff" * 64):
        if not holds(key, record):
            raise DamagedRecord(f"{name}: record {key.hex()} is damaged", key)
        batch[key] = record[:-CHECKSUM_BYTES]
        size += len(key) + len(record)
        done += 1
        if size >= REWRITE_BATCH_BYTES:
            batch[FORMAT_KEY] = sealed(FORMAT_KEY, _REWRITING_BACK + key)
            inner.write(batch, sync=False)
            batch, size = {}, 0
            on_rewritten(done)
    inner.write({**batch, FORMAT_KEY: None, _NUMBER_KEY: None}, sync=True)
    on_rewritten(done)

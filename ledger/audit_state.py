"""The state as an audit re-derives it: the root after every block, in memory that does not grow with the state.

The hashes are those of `ledger.statemap`, and so is the code that makes them. What differs is what is kept: an audit
starts anew after a crash, so nothing has to be on a disk when a block ends. Values and pages that blocks touch stay in
memory as they are, are altered in place, and are spelled out only when they have not been used for long and give way
to others: then they go to a scratch file, from which they come back when they are asked for.

Promises: `get` returns what the last `apply` that set the key put there; `root` is what a `StateMap` with the same
contents has. Memory is bounded by the numbers below. Does not survive the process, nor prove anything.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import BinaryIO, Generic, TypeVar, cast

from ledger.errors import UnknownDurableState
from ledger.statemap import EMPTY_SLOT, Batch, Page, Slot, check_sizes
from ledger.stateproof import EMPTY
from ledger.store import StoreUnavailable

# How many of each are in memory at most: some 10 and 20 MB with records and pages of usual size.
MAX_HELD_VALUES = 16_384
MAX_HELD_PAGES = 16_384
SCRATCH_CACHE_KIB = 8 * 1024
MAX_HELD_NUMBERS = 128 * 1024

T = TypeVar("T")


class Scratch:
    """Bytes by name in a file that is gone when the process is: SQLite, as every Python has it, without a journal."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None

    def get(self, name: bytes) -> bytes | None:
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT value FROM scratch WHERE name = ?", (name,)).fetchone()
        except sqlite3.Error as error:
            raise _unavailable(error) from error
        return None if row is None else bytes(row[0])

    def put(self, values: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Keep each (name, value); None forgets the name."""
        ordered = sorted(values)  # by name: neighbours share a page of the file; no name comes twice
        try:
            database = self._database or self._open()
            database.execute("BEGIN")
            database.executemany("INSERT OR REPLACE INTO scratch VALUES (?, ?)", _present(ordered))
            database.executemany("DELETE FROM scratch WHERE name = ?", _absent(ordered))
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    def sorted_by_hash(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The names that begin so, without that beginning, and their values, in the order of the names' SHA-256."""
        if self._database is None:
            return
        after = prefix[:-1] + bytes((prefix[-1] + 1,))
        self._database.create_function(
            "place", 1, lambda name: sha256(name[len(prefix) :]).digest(), deterministic=True
        )
        query = "SELECT name, value FROM scratch WHERE name >= ? AND name < ? ORDER BY place(name)"
        try:
            for name, value in self._database.execute(query, (prefix, after)):
                yield bytes(name[len(prefix) :]), bytes(value)
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        # An empty path is a temporary file of SQLite's own, which goes with the connection.
        database = sqlite3.connect("", isolation_level=None, cached_statements=8)
        database.execute(f"PRAGMA cache_size = -{SCRATCH_CACHE_KIB}")
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE scratch (name BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._database = database
        return database


def _present(values: Iterable[tuple[bytes, bytes | None]]) -> Iterable[tuple[bytes, bytes]]:
    return ((name, value) for name, value in values if value is not None)


def _absent(values: Iterable[tuple[bytes, bytes | None]]) -> Iterable[tuple[bytes]]:
    return ((name,) for name, value in values if value is None)


def _unavailable(error: sqlite3.Error | OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the audit cannot keep its scratch file: {error}; make room for temporary files, "
        "or name a folder that has some in TMPDIR"
    )


class Numbers:
    """Numbers of 64 bits in the order in which they came; all but the last are in a temporary file without a name."""

    def __init__(self, held: int = MAX_HELD_NUMBERS) -> None:
        self._held = held
        self._last = array("Q")
        self._file: BinaryIO | None = None
        self._filed = 0

    def __len__(self) -> int:
        return self._filed + len(self._last)

    def append(self, number: int) -> None:
        self._last.append(number)
        if len(self._last) >= self._held:
            self._put_away()

    def _put_away(self) -> None:
        try:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115, closed by `close`
            self._file.seek(0, os.SEEK_END)
            self._file.write(self._last.tobytes())
            self._file.flush()
        except OSError as error:
            raise _unavailable(error) from error
        self._filed += len(self._last)
        self._last = array("Q")

    def __iter__(self) -> Iterator[int]:
        """One at a time: not while another iteration goes on."""
        if self._file is not None:
            self._file.seek(0)
            for _ in range(self._filed // self._held):
                part = array("Q")
                part.frombytes(self._file.read(self._held * part.itemsize))
                yield from part
        yield from self._last

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Held(Generic[T]):
    """Things by name, the recently used of them in memory: two generations, of which the older is put away whole."""

    def __init__(
        self,
        scratch: Scratch,
        prefix: bytes,
        most: int,
        spell: Callable[[T], bytes],
        read: Callable[[bytes], T],
    ) -> None:
        self._scratch = scratch
        self._prefix = prefix
        self._generation = max(1, most // 2)
        self._spell = spell
        self._read = read
        self._young: dict[bytes, T | None] = {}
        self._old: dict[bytes, T | None] = {}
        self._put_away = 0

    def get(self, name: bytes) -> T | None:
        young = self._young
        if name in young:
            return young[name]
        if name in self._old:
            found = self._old.pop(name)
        else:
            raw = self._scratch.get(self._prefix + name) if self._put_away else None
            found = None if raw is None else self._read(raw)
        young[name] = found
        return found

    def put(self, things: Mapping[bytes, T | None]) -> None:
        """Take these in; None: there is none."""
        self._young.update(things)
        if len(self._young) < self._generation:
            return
        # What was used again since is in the younger one too, and is newer there.
        spelled = [
            (self._prefix + name, None if thing is None else self._spell(thing))
            for name, thing in self._old.items()
            if name not in self._young
        ]
        if spelled:
            self._scratch.put(spelled)
            self._put_away += len(spelled)
        self._old, self._young = self._young, {}

    def put_all_away(self) -> None:
        """Into the scratch file with everything; in memory it stays as well."""
        held = {**self._old, **self._young}
        self._scratch.put(
            (self._prefix + name, None if thing is None else self._spell(thing)) for name, thing in held.items()
        )
        self._put_away += len(held)


class AuditState:
    """See the module. For one thread."""

    def __init__(self, *, held_values: int = MAX_HELD_VALUES, held_pages: int = MAX_HELD_PAGES) -> None:
        self._scratch = Scratch()
        self._values: _Held[bytes] = _Held(self._scratch, b"v", held_values, bytes, bytes)
        self._pages: _Held[Page] = _Held(self._scratch, b"p", held_pages, Page.encode, Page.decode)
        self._top: Slot = EMPTY_SLOT

    @property
    def root(self) -> bytes:
        return self._top.hash

    def get(self, key: str) -> bytes | None:
        """Return the value of ``key``, or None."""
        return self._values.get(key.encode())

    def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """Set (bytes) and remove (None) keys. An exception leaves the state unusable."""
        if not changes:
            return
        values: dict[bytes, bytes | None] = {}
        leaves: list[tuple[bytes, bytes]] = []
        for key, value in changes.items():
            name = key.encode()
            values[name] = value
            path = sha256(name).digest()
            if value is None:
                leaves.append((path, EMPTY))
            else:
                check_sizes(name, value)
                leaves.append((path, sha256(b"\x01" + path + sha256(value).digest()).digest()))
        leaves.sort()
        batch = Batch(self._page, b"")
        self._top = batch.set(self._top, leaves)
        self._pages.put(batch.pages)
        self._values.put(values)

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value, in the order of the map. Nothing may be applied meanwhile."""
        self._values.put_all_away()
        yield from self._scratch.sorted_by_hash(b"v")

    def close(self) -> None:
        self._scratch.close()

    def _page(self, page_key: bytes) -> Page:
        page = self._pages.get(page_key)
        if page is None:
            raise UnknownDurableState(f"page {page_key.hex()} of the re-derived state is missing")
        return page

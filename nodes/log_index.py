"""Indexes over the log, beside the state: where each identifier is mentioned, and how long each passage took.

Derived from the entries alone and never hashed (docs/adr/0025). Promises: what is indexed is exactly the log up to
`covered`, written in the batch of the block that it comes from; an index that is missing, of another version or behind
(a program without it executed blocks meanwhile, a snapshot or a repair brought a ledger without it) is made again from
the entries, while the validator takes part, and answers nothing until it covers the log.

`additions` and `catch_up` are called by whoever executes, never two of them at once; the rest reads the store and may
be called from any thread.

    index/at                                                     -> version, how many entries are covered
    index/m/ kind NUL identifier NUL first entry of the subject, record key   -> the last entry that mentions it
    index/p/, index/d/                                           -> dwell times, see `nodes.dwell_rows`
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from contracts.dwell import Measured
from contracts.mentions import mentions
from ledger import cbor
from ledger.chain import Chain
from ledger.entry import parse_entry
from ledger.errors import LedgerError, Malformed, UnknownDurableState
from ledger.statement import Statement
from ledger.store import Store, StoreUnavailable
from nodes.dwell_rows import dwell_writes, measured_in

# Raised when what is written under the keys above changes: an index of another version is made again.
VERSION = 1
PREFIX = b"index/"
AT = b"index/at"
MENTION = b"index/m/"
MAX_AT_BYTES = 64
NUMBER_BYTES = 8
# Indexed, or deleted, in one go, between which blocks are executed.
SLICE_ENTRIES = 256
DELETE_KEYS = 2_000
PAUSE_S = 0.02
RETRY_S = 1.0
REMEMBERED_MAX_SUBJECTS = 16_384
PAGE_MAX_FOUND = 500
MEASURED_MAX = 1_000_000


class Incomplete(Exception):
    """The index does not cover the log yet: so many entries of so many."""

    def __init__(self, covered: int, size: int) -> None:
        super().__init__(f"the look-up index is being made: {covered} of {size} entries")
        self.covered = covered
        self.size = size


@dataclass(frozen=True, slots=True)
class Found:
    """A record whose statements mention an identifier; `position` is where the next page begins."""

    key: str
    first_entry: int  # of what the record is about, not of the mention
    last_entry: int  # the last that mentions the identifier
    position: bytes


class LogIndex:
    """See the module."""

    def __init__(self, store: Store, chain: Chain) -> None:
        self._store = store
        self._chain = chain
        # Where subjects that are busy begin: to look for it in the chain costs as much as to execute a statement.
        self._first_entries: dict[str, int] = {}
        stored = store.get(AT)
        # None: what is there is of another version, or nothing is.
        self._covered = None if stored is None else _decode_at(stored)
        if self._covered is not None and chain.initialised and self._covered > chain.size:
            self._covered = None

    @property
    def covered(self) -> int:
        """How many entries of the log are indexed."""
        return self._covered or 0

    @property
    def complete(self) -> bool:
        return self._covered == self._chain.size

    # --- writing -----------------------------------------------------------------------------------------------------

    def beginning(self) -> dict[bytes, bytes]:
        """What to write with a ledger that is new: its genesis record mentions nothing."""
        return {AT: _encode_at(1)}

    def begun(self) -> None:
        self._covered = 1

    def additions(self, statements: Sequence[Statement], time_ms: int) -> dict[bytes, bytes | None]:
        """What to write with the next block; nothing while the index is behind the log."""
        if not self.complete:
            return {}
        first = self._chain.size
        writes = self._mentions(first, statements)
        writes.update(dwell_writes(self._store.get, first, statements, time_ms))
        writes[AT] = _encode_at(first + len(statements) + 1)
        return writes

    def added(self, count: int) -> None:
        """The block of so many statements is on the disk, with its additions."""
        if self._covered == self._chain.size - count - 1:
            self._covered = self._chain.size

    def catch_up(self) -> bool:
        """Index a little more; whether there is more to do. Raises StoreUnavailable, UnknownDurableState."""
        if self._covered is None:
            return self._delete_some()
        chain, at = self._chain, self._covered
        if at >= chain.size:
            return False
        # Whole blocks: the time of a statement stands in the record that follows it.
        record = chain.block_of(at)
        writes: dict[bytes, bytes | None] = {}

        def get(key: bytes) -> bytes | None:
            return writes[key] if key in writes else self._store.get(key)

        while True:
            statements = []
            for raw in chain.entries(record.first, record.first + record.count):
                try:
                    entry = parse_entry(raw)
                except LedgerError as error:
                    raise UnknownDurableState(f"entry of block {record.height} cannot be read: {error}") from error
                if not isinstance(entry, Statement):
                    raise UnknownDurableState(f"block {record.height} has an entry that is no statement")
                statements.append(entry)
            writes.update(self._mentions(record.first, statements))
            writes.update(dwell_writes(get, record.first, statements, record.time_ms))
            after = record.first + record.count + 1
            if after >= chain.size or after - at >= SLICE_ENTRIES:
                break
            record = chain.block_of(after)
        writes[AT] = _encode_at(after)
        # Not synced: it is made from what is, and comes onto the disk with the next block.
        self._store.write(writes, sync=False)
        self._covered = after
        return after < chain.size

    def _delete_some(self) -> bool:
        batch: dict[bytes, bytes | None] = {}
        for key, _ in self._store.iterate(PREFIX, PREFIX + b"\xff"):
            batch[key] = None
            if len(batch) == DELETE_KEYS:
                break
        if len(batch) < DELETE_KEYS:
            batch[AT] = _encode_at(1)
            self._covered = 1
        self._store.write(batch, sync=False)
        return True

    def _mentions(self, first: int, statements: Sequence[Statement]) -> dict[bytes, bytes | None]:
        """Where the statements of one block can be found from."""
        writes: dict[bytes, bytes | None] = {}
        begun: dict[str, int] = {}
        for index, statement in enumerate(statements, first):
            begun.setdefault(statement.sub, index)
            found = mentions(statement.kind, statement.sub, statement.payload)
            if not found:
                continue
            since = self._first_entry(statement.sub, begun)
            key = f"{statement.kind.partition('.')[0]}/{statement.sub}"
            for kind, text in found:
                writes[_mention_key(kind, text, since, key)] = index.to_bytes(NUMBER_BYTES, "big")
        return writes

    def _first_entry(self, sub: str, begun: Mapping[str, int]) -> int:
        """The first entry about a subject; those of the block at hand are not in the chain's own index yet."""
        first = self._first_entries.get(sub)
        if first is not None:
            return first
        known = self._chain.subject_entries(sub, limit=1)
        if not known or begun[sub] <= known[0]:
            return begun[sub]  # not remembered: the block may yet not be written
        if len(self._first_entries) >= REMEMBERED_MAX_SUBJECTS:
            self._first_entries.clear()
        self._first_entries[sub] = known[0]
        return known[0]

    # --- reading -----------------------------------------------------------------------------------------------------

    def find(
        self, kind: str, text: str, *, limit: int, after: bytes = b"", newest_first: bool = True
    ) -> tuple[list[Found], bool]:
        """Records that mention an identifier, in the order in which they came to be, and whether there are more.

        Raises Incomplete.
        """
        if not self.complete:
            raise Incomplete(self.covered, self._chain.size)
        start = _identifier_prefix(kind, text)
        stop = start + b"\xff" * (NUMBER_BYTES + 1)
        prefix_bytes = len(start)
        if after:
            start, stop = (start, start + after) if newest_first else (start + after + b"\x00", stop)
        limit = min(limit, PAGE_MAX_FOUND)
        found: list[Found] = []
        for key, value in self._store.iterate(start, stop, reverse=newest_first):
            if len(found) == limit:
                return found, True
            position = key[prefix_bytes:]
            found.append(
                Found(
                    key=position[NUMBER_BYTES:].decode(),
                    first_entry=int.from_bytes(position[:NUMBER_BYTES], "big"),
                    last_entry=int.from_bytes(value, "big"),
                    position=position,
                )
            )
        return found, False

    def measured(self, post: str, first_day: int, last_day: int, size: int) -> list[Measured]:
        """The intervals that ended on these days, by the first `size` entries. Raises Incomplete, TooMany."""
        if not self.complete:
            raise Incomplete(self.covered, self._chain.size)
        return list(measured_in(self._store, post, first_day, last_day, size, MEASURED_MAX))


def _encode_at(covered: int) -> bytes:
    return cbor.encode([VERSION, covered])


def _decode_at(stored: bytes) -> int | None:
    try:
        value = cbor.decode(stored, max_bytes=MAX_AT_BYTES)
    except Malformed:
        return None
    if isinstance(value, list) and len(value) == 2 and value[0] == VERSION and isinstance(value[1], int):
        return value[1]
    return None


def _identifier_prefix(kind: str, text: str) -> bytes:
    return MENTION + kind.encode() + b"\x00" + text.encode() + b"\x00"


def _mention_key(kind: str, text: str, since: int, key: str) -> bytes:
    return _identifier_prefix(kind, text) + since.to_bytes(NUMBER_BYTES, "big") + key.encode()


async def keep_up(
    index: LogIndex, executing: asyncio.Lock, in_thread: Callable[[Callable[[], bool]], asyncio.Future[bool]]
) -> None:
    """Make the index cover the log, a slice at a time between blocks; for ever, since no part of a validator ends."""
    log = structlog.get_logger().bind(part="log index")
    said = index.complete
    while True:
        if index.complete:
            if not said:
                log.info("log_index_complete", covered=index.covered)
            said = True
            await asyncio.Event().wait()
        if said:
            log.info("log_index_behind", covered=index.covered)
            said = False
        try:
            async with executing:
                await in_thread(index.catch_up)
        except StoreUnavailable as error:
            log.warning("log_index_put_off", reason=str(error))
            await asyncio.sleep(RETRY_S)
        await asyncio.sleep(PAUSE_S)

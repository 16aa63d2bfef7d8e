"""Reading all that a validator has stored, again and again: rot is found while there are others who can still help.

`walk_order` and `walk_ledger` read a store from one end to the other and hold everything in it against everything else:
every record's checksum; the order without gaps and its terms never falling; the leaf of every entry, every tile, the
root; for every statement its place in each index, and no index of anything else; every block record; the root in every
final checkpoint; every page of the state hashed from its values up to the root in the last block record. They are
generators of `Step`, so that whoever drives them decides how fast. `UnknownDurableState` names the record.

`Scrub` drives them in a running validator, at a bounded rate, over a view of the store, so that execution goes on
meanwhile. A pass begins by turning the write-ahead log into a table: what is only in the memory of the process would
be read from there, and rot in the log would be found only by the next start. A fault ends the validator.

Does not see below the operating system's cache: a page that is cached is read from there, and rot on the medium shows
when it is next read from the medium. `comity storage check` does the same walk over a stopped validator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import structlog

from ledger import chain_layout as layout
from ledger.chain import Chain
from ledger.checkpoint import parse_checkpoint
from ledger.entry import BlockRecord
from ledger.errors import LedgerError, UnknownDurableState
from ledger.merkle import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, leaf_hash
from ledger.note import parse_note
from ledger.statestream import StateBuilder, state_chunks
from ledger.store import Store, StoreUnavailable
from nodes.clock import Clock
from nodes.raft_store import verify_log

# How much is read between two looks at the clock.
SLICE_BYTES = 256 * 1024
_STEP_RECORDS = 64
_LAST = b"\xff" * 9
RETRY_S = 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """A little more was read: so many bytes, of this."""

    bytes: int
    what: str


def walk_order(store: Store) -> Iterator[Step]:
    """Every record of the order. Raises UnknownDurableState."""
    for last, size in verify_log(store, _STEP_RECORDS):
        yield Step(size, f"the order up to {last}")


def walk_ledger(store: Store) -> Iterator[Step]:
    """Every record of a ledger that nobody writes to: a view, or one that is stopped. Raises UnknownDurableState."""
    chain = Chain.open(store)
    if not chain.initialised:
        return
    try:
        yield from _entries(store, chain)
        yield from _indexes(store, chain)
        yield from _notes(store, chain)
        yield from _state(store, chain)
        yield from _rest(store)
    except UnknownDurableState:
        raise
    except LedgerError as error:
        raise UnknownDurableState(f"the stored ledger cannot be read: {error}") from error


def _wrong(what: str) -> UnknownDurableState:
    return UnknownDurableState(f"the stored ledger contradicts itself: {what}")


def _entries(store: Store, chain: Chain) -> Iterator[Step]:
    """Leaves, tiles, root; each statement's index, each block record's."""
    head = chain.head
    frontier = Frontier()
    pending: list[bytearray] = [bytearray()]
    size = height = applied = 0
    for index, raw in enumerate(chain.entries(0, head.size)):
        leaf = leaf_hash(raw)
        for level, completed in enumerate((leaf, *frontier.append(leaf))):
            if level == len(pending):
                pending.append(bytearray())
            pending[level] += completed
            if len(pending[level]) == TILE_WIDTH * HASH_BYTES:
                tile = (frontier.size >> TILE_HEIGHT * level) // TILE_WIDTH - 1
                size += len(pending[level])
                if store.get(layout.tile_key(level, tile)) != bytes(pending[level]):
                    raise _wrong(f"tile {tile} of level {level} is not that of the entries")
                pending[level].clear()
        position = store.get(layout.block_at_key(index))
        if position is not None:
            record = BlockRecord.decode(raw)
            height += 1
            # Empty where the block was copied from others and not executed here.
            if position and not applied < int.from_bytes(position, "big") <= head.applied:
                raise _wrong(f"block {height} is said to come from position {position.hex()} of the order")
            applied = int.from_bytes(position, "big") or applied
            if record.height != height:
                raise _wrong(f"entry {index} is the record of block {record.height}, expected {height}")
            key, name = layout.numbered_key(layout.BLOCK_BY_HEIGHT, height), f"index of block {height}"
        else:
            key, name = layout.STATEMENT + leaf, f"index of the statement at entry {index}"
        if index and store.get(key) != index.to_bytes(8, "big"):
            raise _wrong(f"{name} is missing or wrong")
        size += len(raw)
        if index % _STEP_RECORDS == 0:
            yield Step(size, f"entry {index} of {head.size}")
            size = 0
    if frontier.root() != head.root or tuple(map(bytes, pending)) != head.tails:
        raise _wrong(f"the entries hash to root {frontier.root().hex()}, expected {head.root.hex()}")
    if height != head.height:
        raise _wrong(f"there are records of {height} blocks, expected {head.height}")
    yield Step(size, f"all {head.size} entries")


def _count(store: Store, prefix: bytes, what: str, expected: int) -> Iterator[Step]:
    found = size = 0
    for key, value in store.iterate(prefix, prefix + _LAST * 64):
        found += 1
        size += len(key) + len(value)
        if found % _STEP_RECORDS == 0:
            yield Step(size, what)
            size = 0
    if found != expected:
        raise _wrong(f"{what}: expected {expected}, got {found}")
    yield Step(size, what)


def _indexes(store: Store, chain: Chain) -> Iterator[Step]:
    """Nothing missing was found above for each that has to be there; here, that there are no others."""
    head = chain.head
    statements = head.size - 1 - head.height
    yield from _count(store, layout.STATEMENT, "indexes of statements", statements)
    yield from _count(store, layout.CTI, "indexes of ctis", statements)
    yield from _count(store, layout.SUBJECT, "indexes of subjects", statements)
    yield from _count(store, layout.BLOCK_BY_HEIGHT, "indexes of blocks", head.height)
    yield from _count(store, layout.BLOCK_AT, "indexes of block records", head.height)
    tiles = 0
    level = 0
    while head.size >> TILE_HEIGHT * (level + 1):
        tiles += head.size >> TILE_HEIGHT * (level + 1)
        level += 1
    yield from _count(store, layout.TILE, "whole tiles", tiles)


def _notes(store: Store, chain: Chain) -> Iterator[Step]:
    for key, note in store.iterate(layout.NOTE, layout.NOTE + _LAST):
        size = layout.read_number(key)
        checkpoint = parse_checkpoint(parse_note(note).text)
        if checkpoint.size != size or size > chain.size or checkpoint.root != chain.root_at(size):
            raise _wrong(f"the final checkpoint of size {size} is not of this ledger")
        yield Step(len(key) + len(note), f"final checkpoint of size {size}")


def _state(store: Store, chain: Chain) -> Iterator[Step]:
    """Every page as it comes of the values, up to the root."""
    builder = StateBuilder(layout.STATE)
    pages = 0

    def compare(writes: dict[bytes, bytes]) -> int:
        size = found = 0
        for key, value in writes.items():
            size += len(key) + len(value)
            if key.startswith(layout.STATE + b"p"):
                found += 1
            if store.get(key) != value:
                raise _wrong(f"page {key.hex()} of the state is not that of its values")
        nonlocal pages
        pages += found
        return size

    for chunk in state_chunks(store, layout.STATE, SLICE_BYTES // 8):
        yield Step(compare(builder.add(chunk)), f"state, {builder.records} records")
    root, writes = builder.finish()
    if chain.state.root != root:
        raise _wrong(f"the state hashes to {root.hex()}, expected {chain.state.root.hex()}")
    if builder.records:
        yield Step(compare(writes), f"state, all {builder.records} records")
    yield from _count(store, layout.STATE + b"p", "pages of the state", pages)


def _rest(store: Store) -> Iterator[Step]:
    """What is a node's own: its checksum is all there is to hold it against."""
    size = 0
    for number, (key, value) in enumerate(store.iterate(layout.FIRST_FOREIGN_KEY, _LAST * 64)):
        size += len(key) + len(value)
        if number % _STEP_RECORDS == 0:
            yield Step(size, "the node's own records")
            size = 0
    yield Step(size, "the node's own records")


class Scrub:
    """Of one running validator. `walks` are its stores by name, each with how to read it from end to end."""

    def __init__(
        self,
        walks: dict[str, tuple[Store, Callable[[Store], Iterator[Step]]]],
        *,
        rate_bytes_per_s: int,
        interval_s: float,
        clock: Clock,
        executor: Executor,
    ) -> None:
        self._walks = walks
        self._rate = rate_bytes_per_s
        self._interval_s = interval_s
        self._clock = clock
        self._executor = executor
        self._log = structlog.get_logger().bind(part="scrub")
        self.read_bytes = 0
        self.passes = 0
        self.faults = 0
        self.last_pass_ms: int | None = None
        self.at: str | None = None

    async def run(self) -> None:
        """Pass after pass, for ever. Raises UnknownDurableState for a fault."""
        if self._rate == 0:
            return
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                for name, (store, walk) in self._walks.items():
                    await self._pass(name, store, walk)
            except StoreUnavailable as error:
                self._log.warning("scrub_put_off", reason=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            except UnknownDurableState as error:
                self.faults += 1
                self.at = f"fault: {error}"
                raise
            self.passes += 1
            self.last_pass_ms = self._clock.now_ms()
            self.at = None
            self._log.info("scrubbed", passes=self.passes, bytes=self.read_bytes)

    def close(self) -> None:
        """When `run` has ended: wait for the read that is going on."""
        self._executor.shutdown(wait=True)

    async def _pass(self, name: str, store: Store, walk: Callable[[Store], Iterator[Step]]) -> None:
        loop = asyncio.get_running_loop()
        flush = getattr(store, "flush", None)
        if flush is not None:
            await loop.run_in_executor(self._executor, flush)
        view = store.view()
        steps = walk(view)
        try:
            while True:
                size, what = await loop.run_in_executor(self._executor, _advance, steps)
                self.read_bytes += size
                if what is None:
                    return
                self.at = f"{name}: {what}"
                await asyncio.sleep(size / self._rate)
        finally:
            view.close()


def _advance(steps: Iterator[Step]) -> tuple[int, str | None]:
    size = 0
    for step in steps:
        size += step.bytes
        if size >= SLICE_BYTES:
            return size, step.what
    return size, None

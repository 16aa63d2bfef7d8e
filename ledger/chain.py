"""The ledger itself over a store: entries, tree, state and indexes, one synced atomic batch a block (design 5 and 9).

Promises: a block is on the disk whole, with everything that follows from it, or not at all; after a write that failed,
the chain is what it was, and after a crash `Chain.open` finds the last block that was written whole. What is stored is
checked against itself when opened. Memory does not grow with the length of the log.

Does not: judge statements (`contracts` did, and hands over the changes), order them, or sign. One thread appends; any
thread may read at the same time, and sees the ledger as it was after some whole block: what a reader needs of the
present stands in one immutable `Head`, published after the write.

Every block ends in its block record, so the last entry of the log is always one (or the genesis record). Nothing is
ever pruned: an entry, its tile and the note that made it final stay for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger import cbor
from ledger.chain_layout import (
    BLOCK_AT,
    BLOCK_BY_HEIGHT,
    ENTRY,
    FIRST_FOREIGN_KEY,
    HEAD,
    NOTE,
    STATE,
    STATEMENT,
    block_at_key,
    chunk_key,
    cti_key,
    encode_head,
    numbered_key,
    read_number,
    subject_key,
    subject_range,
    tile_key,
)
from ledger.checkpoint import Checkpoint
from ledger.entry import MAX_BLOCK_STATEMENTS, BlockRecord, Genesis, parse_entry
from ledger.errors import LedgerError, Malformed, Misuse, UnknownDurableState
from ledger.merkle import (
    HASH_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_from_tiles,
)
from ledger.statemap import StateMap, StateUpdate
from ledger.statement import Statement
from ledger.store import Store
from ledger.tiles import ENTRIES, encode_entry_bundle, parse_tile_path, tile_width

MAX_SUBJECT_PAGE = 1000
MAX_HEAD_BYTES = 256
_TILE_BYTES = TILE_WIDTH * HASH_BYTES

Extra = Mapping[bytes, bytes] | Callable[[Checkpoint], Mapping[bytes, bytes | None]]


@dataclass(frozen=True, slots=True)
class Head:
    """Where the ledger stands after a block: all that changes, in one object that does not."""

    size: int
    root: bytes
    applied: int
    state_root: bytes
    last_block: BlockRecord | None
    last_record_hash: bytes
    # The hashes of the last, partial tile of each level, end to end; level 0 first.
    tails: tuple[bytes, ...]

    @property
    def height(self) -> int:
        return 0 if self.last_block is None else self.last_block.height


@dataclass(frozen=True, slots=True)
class _Growth:
    """What appending leaves would make of the tree; nothing of it holds until it is written."""

    frontier: Frontier
    tails: tuple[bytes, ...]
    chunks: tuple[tuple[int, ...], ...]
    writes: dict[bytes, bytes | None]


class Chain:
    """See the module. `Chain.open` finds what is in the store; an empty store wants `initialise` first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._state = StateMap(store, STATE)
        self._frontier = Frontier()
        # For each level, the offsets at which the stored chunks of its partial tile begin.
        self._chunks: tuple[tuple[int, ...], ...] = ()
        self._head: Head | None = None
        self._genesis: Genesis | None = None
        self._failed: UnknownDurableState | None = None
        # Odd while a block is being written: the store may already show a state that `head` does not name yet. Whoever
        # reads beside the writer reads again unless this is even, and the same before and after.
        self.growths = 0

    # --- opening -----------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, store: Store, *, thorough: bool = False) -> Chain:
        """Return the ledger in ``store``; `UnknownDurableState` where what is stored contradicts itself.

        Always checked: the tree's root from its tiles, the state's root, and the last block record. ``thorough`` hashes
        every entry and every state value as well.
        """
        chain = cls(store)
        stored = store.get(HEAD)
        if stored is not None:
            try:
                chain._recover(stored)
            except (Malformed, Misuse) as error:
                raise _contradiction(str(error)) from error
            if thorough:
                chain.verify_all()
        elif next(store.iterate(ENTRY, ENTRY + b"\xff"), None) is not None:
            raise _contradiction("there are entries but no record of where the ledger ends")
        return chain

    def _recover(self, stored: bytes) -> None:
        fields = cbor.decode(stored, max_bytes=MAX_HEAD_BYTES)
        if not isinstance(fields, dict):
            raise _contradiction("the record of where the ledger ends is not a map")
        size, applied, root, state_root = (fields.get(name) for name in ("size", "applied", "root", "state_root"))
        if not isinstance(size, int) or not isinstance(applied, int) or size < 1:
            raise _contradiction("the record of where the ledger ends has no size")
        if not isinstance(root, bytes) or not isinstance(state_root, bytes):
            raise _contradiction("the record of where the ledger ends has no roots")
        tails, self._chunks = self._read_tails(size)

        def read_tile(level: int, index: int, width: int) -> bytes:
            if index == (size >> TILE_HEIGHT * level) // TILE_WIDTH and level < len(tails):
                return tails[level]
            return self._full_tile(level, index)

        self._frontier = Frontier.from_tiles(size, read_tile)
        if self._frontier.root() != root:
            raise _contradiction(f"the tiles hash to root {self._frontier.root().hex()}, expected {root.hex()}")
        if self._state.root != state_root:
            raise _contradiction(f"the state has root {self._state.root.hex()}, expected {state_root.hex()}")
        last = self._stored_entry(size - 1)
        self._genesis = Genesis.decode(self._stored_entry(0))
        last_block = None
        if size > 1:
            last_block = BlockRecord.decode(last)
            if last_block.state_root != state_root or last_block.first + last_block.count != size - 1:
                raise _contradiction("the last block record is not of the last block")
        if self._leaf(tails, size - 1) != leaf_hash(last):
            raise _contradiction("the last entry does not hash to its leaf")
        self._head = Head(size, root, applied, state_root, last_block, leaf_hash(last), tails)

    def _read_tails(self, size: int) -> tuple[tuple[bytes, ...], tuple[tuple[int, ...], ...]]:
        tails: list[bytes] = []
        chunks: list[tuple[int, ...]] = []
        level = 0
        while size >> TILE_HEIGHT * level:
            index = (size >> TILE_HEIGHT * level) // TILE_WIDTH
            tail = b""
            offsets: list[int] = []
            for key, hashes in self._store.iterate(chunk_key(level, index, 0), chunk_key(level, index + 1, 0)):
                if key[-1] * HASH_BYTES != len(tail):
                    raise _contradiction(f"tile {index} of level {level} has a gap")
                offsets.append(key[-1])
                tail += hashes
            width = tile_width(level, index, size)
            if len(tail) != width * HASH_BYTES:
                raise _contradiction(
                    f"tile {index} of level {level} has {len(tail)} bytes, expected {width * HASH_BYTES}"
                )
            tails.append(tail)
            chunks.append(tuple(offsets))
            level += 1
        return tuple(tails), tuple(chunks)

    def _leaf(self, tails: Sequence[bytes], index: int) -> bytes:
        tile, at = divmod(index, TILE_WIDTH)
        hashes = tails[0] if len(tails[0]) > at * HASH_BYTES else self._full_tile(0, tile)
        return hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]

    def verify_all(self) -> None:
        """Hash every entry, every tile and every state value anew; `UnknownDurableState` where one does not fit."""
        head = self.head
        frontier = Frontier()
        pending: list[bytearray] = [bytearray()]
        for raw in self.entries(0, head.size):
            leaf = leaf_hash(raw)
            for level, completed in enumerate((leaf, *frontier.append(leaf))):
                if level == len(pending):
                    pending.append(bytearray())
                pending[level] += completed
                if len(pending[level]) == _TILE_BYTES:
                    index = (frontier.size >> TILE_HEIGHT * level) // TILE_WIDTH - 1
                    if self._full_tile(level, index) != pending[level]:
                        raise _contradiction(f"tile {index} of level {level} is not that of the entries")
                    pending[level].clear()
        if frontier.root() != head.root or tuple(map(bytes, pending)) != head.tails:
            raise _contradiction(f"the entries hash to root {frontier.root().hex()}, expected {head.root.hex()}")
        self._state.verify_all()

    # --- what it is now ----------------------------------------------------------------------------------------------

    @property
    def initialised(self) -> bool:
        return self._head is not None

    @property
    def head(self) -> Head:
        """Everything about the present that belongs together; take it once and read from it."""
        if self._head is None:
            raise Misuse("the ledger has no genesis yet")
        return self._head

    @property
    def genesis(self) -> Genesis:
        if self._genesis is None:
            raise Misuse("the ledger has no genesis yet")
        return self._genesis

    @property
    def size(self) -> int:
        """Number of entries; 0 before `initialise`."""
        return 0 if self._head is None else self._head.size

    @property
    def root(self) -> bytes:
        return self.head.root

    @property
    def height(self) -> int:
        return 0 if self._head is None else self._head.height

    @property
    def last_block(self) -> BlockRecord | None:
        return None if self._head is None else self._head.last_block

    @property
    def applied(self) -> int:
        """The last position of the order that was executed; 0 before any."""
        return 0 if self._head is None else self._head.applied

    @property
    def state(self) -> StateMap:
        """The records: ``get``, ``items`` and ``prove``. Whoever holds it must not update it."""
        return self._state

    # --- growing -----------------------------------------------------------------------------------------------------

    def initialise(self, genesis: Genesis, initial_state: Mapping[str, bytes]) -> Checkpoint:
        """Begin the ledger with its genesis record; `Misuse` if it has begun."""
        if self._head is not None:
            raise Misuse("the ledger has a genesis already")
        raw = genesis.encode()
        update = self._state.update(dict(initial_state))
        leaf = leaf_hash(raw)
        growth = self._grow(0, (), [leaf])
        head = Head(1, growth.frontier.root(), 0, update.root, None, leaf, growth.tails)
        writes: dict[bytes, bytes | None] = {numbered_key(ENTRY, 0): raw}
        checkpoint = Checkpoint(genesis.origin, 1, head.root)
        self._commit(checkpoint, head, growth, update, writes, {})
        self._genesis = genesis
        return checkpoint

    def append_block(
        self,
        applied: int,
        time_ms: int,
        proposer: str,
        statements: Sequence[Statement],
        changes: Mapping[str, bytes | None],
        extra: Extra | None = None,
    ) -> Checkpoint:
        """Append accepted ``statements`` and their block record, with the state ``changes`` that they make.

        ``extra`` are keys of the caller's own for the same batch, or a function of the new checkpoint that gives them
        (None: the key goes).
        If it raises `StoreUnavailable`, nothing has happened; after `UnknownDurableState`, open the chain anew.
        """
        head = self.head
        self._check_block(head, applied, time_ms, statements)
        update = self._state.update(changes)
        first = head.size
        record_index = first + len(statements)
        record = BlockRecord(
            height=head.height + 1,
            time_ms=time_ms,
            first=first,
            count=len(statements),
            previous=head.last_record_hash,
            state_root=update.root,
            proposer=proposer,
        )
        raw_record = record.encode()
        record_hash = leaf_hash(raw_record)
        leaves = [statement.id for statement in statements]
        leaves.append(record_hash)
        growth = self._grow(first, head.tails, leaves)
        writes = _index_writes(first, statements)
        writes[numbered_key(ENTRY, record_index)] = raw_record
        writes[numbered_key(BLOCK_BY_HEIGHT, record.height)] = record_index.to_bytes(8, "big")
        writes[block_at_key(record_index)] = applied.to_bytes(8, "big")
        grown = Head(record_index + 1, growth.frontier.root(), applied, update.root, record, record_hash, growth.tails)
        checkpoint = Checkpoint(self.genesis.origin, grown.size, grown.root)
        self._commit(checkpoint, grown, growth, update, writes, extra or {})
        return checkpoint

    def advance(self, applied: int) -> None:
        """Note that the order was executed up to ``applied`` and that nothing of it came onto the log."""
        head = self.head
        self._check_usable()
        if applied < head.applied:
            raise Misuse(f"the order goes back: expected at least {head.applied}, got {applied}")
        advanced = Head(
            head.size, head.root, applied, head.state_root, head.last_block, head.last_record_hash, head.tails
        )
        self._write({HEAD: _encode_head(advanced)})
        self._head = advanced

    def _check_block(self, head: Head, applied: int, time_ms: int, statements: Sequence[Statement]) -> None:
        self._check_usable()
        if applied <= head.applied:
            raise Misuse(f"the order goes back: expected more than {head.applied}, got {applied}")
        not_before_ms = self.genesis.time_ms if head.last_block is None else head.last_block.time_ms
        if time_ms < not_before_ms:
            raise Misuse(f"block time goes back: expected at least {not_before_ms} ms, got {time_ms}")
        if len(statements) > MAX_BLOCK_STATEMENTS:
            raise Misuse(f"block is too large: expected at most {MAX_BLOCK_STATEMENTS}, got {len(statements)}")
        if len({statement.id for statement in statements}) != len(statements):
            raise Misuse("a statement stands twice in one block")
        if len({(statement.iss, statement.cti) for statement in statements}) != len(statements):
            raise Misuse("an issuer's cti stands twice in one block")

    def _grow(self, size: int, tails: tuple[bytes, ...], leaves: Sequence[bytes]) -> _Growth:
        """Append ``leaves`` to the tree of ``size`` leaves whose partial tiles are ``tails``."""
        frontier = self._frontier.copy()
        added: list[list[bytes]] = [[]]
        for leaf in leaves:
            added[0].append(leaf)
            for level, completed in enumerate(frontier.append(leaf), 1):
                if level == len(added):
                    added.append([])
                added[level].append(completed)
        writes: dict[bytes, bytes | None] = {}
        grown_tails = list(tails)
        grown_chunks = list(self._chunks)
        for level, hashes in enumerate(added):
            if level == len(grown_tails):
                grown_tails.append(b"")
                grown_chunks.append(())
            index = (size >> TILE_HEIGHT * level) // TILE_WIDTH
            grown_tails[level], grown_chunks[level] = _extend_tile(
                writes, level, index, grown_tails[level], grown_chunks[level], b"".join(hashes)
            )
        return _Growth(frontier, tuple(grown_tails), tuple(grown_chunks), writes)

    def _commit(
        self,
        checkpoint: Checkpoint,
        head: Head,
        growth: _Growth,
        update: StateUpdate,
        writes: dict[bytes, bytes | None],
        extra: Extra,
    ) -> None:
        """Write everything in one batch; only then let memory follow."""
        own = extra(checkpoint) if callable(extra) else extra
        for key in own:
            if key < FIRST_FOREIGN_KEY:
                raise Misuse(f"key belongs to the ledger: {key.hex()}")
        batch = {**writes, **growth.writes, **update.writes, **own, HEAD: _encode_head(head)}
        self.growths += 1
        try:
            self._write(batch)
            self._state.adopt(update)
            self._frontier = growth.frontier
            self._chunks = growth.chunks
            self._head = head
        finally:
            self.growths += 1

    def _write(self, batch: Mapping[bytes, bytes | None], *, sync: bool = True) -> None:
        try:
            self._store.write(batch, sync=sync)
        except UnknownDurableState as error:
            self._failed = error
            raise

    def _check_usable(self) -> None:
        if self._failed is not None:
            raise UnknownDurableState(f"an earlier write may be there in part, open the ledger anew: {self._failed}")

    # --- reading entries ---------------------------------------------------------------------------------------------

    def entry(self, index: int) -> bytes:
        """Return the raw entry at ``index``."""
        if not 0 <= index < self.size:
            raise Misuse(f"no such entry: expected less than {self.size}, got {index}")
        return self._stored_entry(index)

    def entries(self, low: int, high: int) -> Iterator[bytes]:
        """Iterate over the raw entries ``low`` <= index < ``high``, reading them one at a time."""
        if not 0 <= low <= high <= self.size:
            raise Misuse(f"no such entries: expected within 0 to {self.size}, got {low} to {high}")
        return self._entries(low, high)

    def _entries(self, low: int, high: int) -> Iterator[bytes]:
        expected = low
        for key, raw in self._store.iterate(numbered_key(ENTRY, low), numbered_key(ENTRY, high)):
            if read_number(key) != expected:
                break
            yield raw
            expected += 1
        if expected != high:
            raise _contradiction(f"entry {expected} is missing")

    def find(self, statement_id: bytes) -> int | None:
        """Return where the statement of this id is, or None."""
        return self._find(STATEMENT + statement_id)

    def find_cti(self, iss: str, cti: bytes) -> int | None:
        """Return where this issuer's statement with this ``cti`` is, or None."""
        return self._find(cti_key(iss, cti))

    def block_of(self, index: int) -> BlockRecord:
        """Return the record of the block that entry ``index`` (a statement or the record itself) is in."""
        if not 1 <= index < self.size:
            raise Misuse(f"no such entry in a block: expected 1 to {self.size - 1}, got {index}")
        found = next(self._store.iterate(block_at_key(index), BLOCK_AT + b"\xff" * 9), None)
        if found is None:
            raise _contradiction(f"entry {index} is in no block")
        return self._record(read_number(found[0]))

    def block(self, height: int) -> BlockRecord:
        """Return the record of the block at ``height``, from 1 up."""
        if not 1 <= height <= self.height:
            raise Misuse(f"no such block: expected 1 to {self.height}, got {height}")
        index = self._find(numbered_key(BLOCK_BY_HEIGHT, height))
        if index is None:
            raise _contradiction(f"block {height} is missing")
        return self._record(index)

    def order_of_block(self, height: int) -> int | None:
        """Return the position of the order that the block came from; None if it was not executed here but copied."""
        index = self._find(numbered_key(BLOCK_BY_HEIGHT, height))
        return (self._find(block_at_key(index)) or None) if index is not None else None

    def subject_entries(self, sub: str, after: int = -1, limit: int = MAX_SUBJECT_PAGE) -> list[int]:
        """Return the first ``limit`` indexes above ``after`` of statements about ``sub``."""
        if not 1 <= limit <= MAX_SUBJECT_PAGE:
            raise Misuse(f"limit is out of range: expected 1 to {MAX_SUBJECT_PAGE}, got {limit}")
        found: list[int] = []
        for key, _ in self._store.iterate(*subject_range(sub, after + 1)):
            found.append(read_number(key))
            if len(found) == limit:
                break
        return found

    # --- tiles and proofs --------------------------------------------------------------------------------------------

    def tile(self, path: str) -> bytes:
        """Return what C2SP tlog-tiles serves under ``path``; `Misuse` if the tree has no such tile yet."""
        level, index, width = parse_tile_path(path)
        head = self.head
        if width > tile_width(level, index, head.size):
            raise Misuse(f"no such tile in a tree of {head.size}: {path}")
        if level == ENTRIES:
            low = index * TILE_WIDTH
            return encode_entry_bundle(list(self.entries(low, low + width)))
        return self._tile(head, level, index)[: width * HASH_BYTES]

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the hashes that lead from entry ``index`` to the root at ``size``."""
        return inclusion_proof(index, size, self._reader(size))

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the hashes that show the tree at ``old_size`` to be the beginning of that at ``new_size``."""
        return consistency_proof(old_size, new_size, self._reader(new_size))

    def root_at(self, size: int) -> bytes:
        """Return the root that the tree had when it held ``size`` entries."""
        head = self.head
        return head.root if size == head.size else root_from_tiles(size, self._reader(size))

    def _reader(self, size: int) -> Callable[[int, int, int], bytes]:
        head = self.head
        if not 0 <= size <= head.size:
            raise Misuse(f"no such size: expected at most {head.size}, got {size}")
        return lambda level, index, width: self._tile(head, level, index)

    def _tile(self, head: Head, level: int, index: int) -> bytes:
        """The tile as wide as it is at ``head``, whatever has been appended since."""
        if index < (head.size >> TILE_HEIGHT * level) // TILE_WIDTH:
            return self._full_tile(level, index)
        return head.tails[level]

    # --- final checkpoints -------------------------------------------------------------------------------------------

    def put_cosigned(self, size: int, note: bytes, *, sync: bool = True) -> None:
        """Keep the note of a final checkpoint, so that the proofs made from it stay the same for good.

        Without ``sync`` it is on the disk with the next block at the latest; signatures can be asked for again.
        """
        if not 1 <= size <= self.size:
            raise Misuse(f"no such size: expected at most {self.size}, got {size}")
        self._check_usable()
        self._write({numbered_key(NOTE, size): note}, sync=sync)

    def cosigned_at_or_after(self, size: int) -> tuple[int, bytes] | None:
        """Return size and note of the first final checkpoint that is at least ``size``, or None."""
        found = next(self._store.iterate(numbered_key(NOTE, size), NOTE + b"\xff" * 9), None)
        return None if found is None else (read_number(found[0]), found[1])

    @property
    def latest_final(self) -> tuple[int, bytes] | None:
        """Size and note of the newest final checkpoint, or None."""
        found = next(self._store.iterate(NOTE, NOTE + b"\xff" * 9, reverse=True), None)
        return None if found is None else (read_number(found[0]), found[1])

    # --- the store ---------------------------------------------------------------------------------------------------

    def _find(self, key: bytes) -> int | None:
        found = self._store.get(key)
        return None if found is None else int.from_bytes(found, "big")

    def _stored_entry(self, index: int) -> bytes:
        raw = self._store.get(numbered_key(ENTRY, index))
        if raw is None:
            raise _contradiction(f"entry {index} is missing")
        return raw

    def _record(self, index: int) -> BlockRecord:
        try:
            record = parse_entry(self._stored_entry(index))
        except LedgerError as error:
            raise _contradiction(f"entry {index} should be a block record: {error}") from error
        if not isinstance(record, BlockRecord):
            raise _contradiction(f"entry {index} should be a block record")
        return record

    def _full_tile(self, level: int, index: int) -> bytes:
        hashes = self._store.get(tile_key(level, index))
        if hashes is None or len(hashes) != _TILE_BYTES:
            raise _contradiction(f"tile {index} of level {level} is missing or cut short")
        return hashes


def _index_writes(first: int, statements: Sequence[Statement]) -> dict[bytes, bytes | None]:
    """The entries of a block's statements, and the ways to find them."""
    writes: dict[bytes, bytes | None] = {}
    for index, statement in enumerate(statements, first):
        number = index.to_bytes(8, "big")
        writes[ENTRY + number] = statement.raw
        writes[STATEMENT + statement.id] = number
        writes[cti_key(statement.iss, statement.cti)] = number
        writes[subject_key(statement.sub, index)] = b""
    return writes


def _extend_tile(
    writes: dict[bytes, bytes | None], level: int, index: int, tail: bytes, chunks: tuple[int, ...], hashes: bytes
) -> tuple[bytes, tuple[int, ...]]:
    """Add ``hashes`` to the partial tile ``tail``; return the partial tile that remains and where its chunks begin.

    A partial tile is stored as the chunks in which it came, so that a block writes only its own hashes; they give way
    to the whole tile when it is full.
    """
    while len(tail) + len(hashes) >= _TILE_BYTES:
        room = _TILE_BYTES - len(tail)
        writes[tile_key(level, index)] = tail + hashes[:room]
        for offset in chunks:
            writes[chunk_key(level, index, offset)] = None
        tail, chunks, hashes = b"", (), hashes[room:]
        index += 1
    if hashes:
        offset = len(tail) // HASH_BYTES
        writes[chunk_key(level, index, offset)] = hashes
        tail, chunks = tail + hashes, (*chunks, offset)
    return tail, chunks


def _encode_head(head: Head) -> bytes:
    return encode_head(applied=head.applied, root=head.root, size=head.size, state_root=head.state_root)


def _contradiction(what: str) -> UnknownDurableState:
    return UnknownDurableState(
        f"the stored ledger contradicts itself: {what}; stop, set its directory aside, "
        "and let the node derive it again from the order"
    )

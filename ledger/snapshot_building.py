"""A ledger built from a snapshot that somebody sent, every piece verified before the next one is asked for.

The order of the checks, each of which ends the attempt with `Malformed` or `Untrue`:

1. the note is a checkpoint of our log, and the policy holds it for final (its log's line apart, where that is judged
   at the end by the state itself: `JudgeNote`);
2. the hashes of level 1 and the tail come to a root that the consistency proof leads to that checkpoint's;
3. each bundle hashes to its hash of level 1, the last one to the tail; what it holds are entries, blocks in order;
4. the last block record says the state root of the descriptor;
5. the records of the state, all of them and no others, come to that root;
6. what that state says of the log's keys agrees with the lines of the note, where somebody judges that.

So a record that was altered, left out, added or moved is noticed before the ledger has an end: until `finish` has
written the head, the store is no ledger, and nothing of it is used. What the log determines (where statements, `cti`,
subjects and blocks are) is derived here and never believed.

Bundles survive: who opens a builder over the same store goes on after the last full one, with whatever newer snapshot.
The state is of one moment and begins anew with each descriptor. Memory: 32 bytes for each 256 entries, and the open
pages of the state.

Nothing is synced but what `finish` writes, and LevelDB keeps writes in order: after a loss of power the store is what
it was at some earlier moment, or cannot be opened. Who uses it must close and open it once more after `finish`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from ledger import cbor
from ledger.chain import Chain
from ledger.chain_layout import (
    BLOCK_BY_HEIGHT,
    ENTRY,
    HEAD,
    NOTE,
    STATE,
    STATEMENT,
    block_at_key,
    chunk_key,
    cti_key,
    encode_head,
    numbered_key,
    subject_key,
    tile_key,
)
from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, TILE_WIDTH, Frontier, leaf_hash, verify_consistency
from ledger.note import parse_note
from ledger.policy import Policy
from ledger.snapshot import Descriptor
from ledger.statemap import StateMap
from ledger.statement import Statement
from ledger.statestream import MAX_CHUNK_BYTES, StateBuilder
from ledger.store import Store
from ledger.tiles import decode_entry_bundle

PROGRESS = b"snapshot/progress"
STATE_BEGUN = b"snapshot/state"
BUNDLE = b"snapshot/bundle/"  # + index -> root of a verified bundle
_AFTER_BUNDLES = b"snapshot/bundle0"
MAX_PROGRESS_BYTES = 256
# Deleted in one batch.
CLEAR_KEYS = 10_000

# Given the keys of state records, returns what to write for them beside the state.
IndexRecords = Callable[[Sequence[bytes]], Mapping[bytes, bytes]]
# Given the whole state, the note, height and block time of the snapshot, and whether the note is of a later block:
# raises Untrue where the log's lines are not by keys that the state says count.
JudgeNote = Callable[[StateMap, bytes, int, int, bool], None]


@dataclass(frozen=True, slots=True)
class _Progress:
    """After so many full bundles: the height so far, where the block begins that is under way, the record before it."""

    bundles: int
    height: int
    first: int
    previous: bytes

    def encode(self) -> bytes:
        return cbor.encode(
            {"bundles": self.bundles, "first": self.first, "height": self.height, "previous": self.previous}
        )

    @classmethod
    def decode(cls, data: bytes) -> _Progress:
        value = cbor.decode(data, max_bytes=MAX_PROGRESS_BYTES)
        if isinstance(value, dict):
            bundles, height, first = value.get("bundles"), value.get("height"), value.get("first")
            previous = value.get("previous")
            if (
                isinstance(bundles, int)
                and isinstance(height, int)
                and isinstance(first, int)
                and isinstance(previous, bytes)
            ):
                return cls(bundles, height, first, previous)
        raise Malformed("bad_snapshot_store", "the record of how far it goes cannot be read")


class SnapshotBuilder:
    """See the module. `begin`, `add_hashes` until `hashes_missing` is 0, `add_bundle` until `entries_complete`,
    `add_state`, `finish`.

    Raises `Malformed` when the store holds the beginnings of no snapshot: then begin with an empty one.
    """

    def __init__(
        self,
        store: Store,
        policies: Sequence[Policy],
        genesis: Genesis,
        genesis_state_root: bytes,
        index_records: IndexRecords = lambda _: {},
        judge_note: JudgeNote | None = None,
    ) -> None:
        """`judge_note`: without it the policy alone says by which key the log has to have signed."""
        self._store = store
        self._policies = policies
        self._genesis = genesis
        self._genesis_raw = genesis.encode()
        self._genesis_state_root = genesis_state_root
        self._index_records = index_records
        self._judge_note = judge_note
        self._time_ms = genesis.time_ms  # of the last block of the snapshot at hand
        self._descriptor: Descriptor | None = None
        self._final: Checkpoint | None = None
        self._root = b""
        self._state = StateBuilder(STATE)
        # What the bundle at the end comes to, if it is not full: written with the head, at most 255 entries.
        self._partial: dict[bytes, bytes] = {}
        self.entries_complete = False
        if store.get(HEAD) is not None:
            raise Misuse("the store holds a whole ledger already")
        stored = store.get(PROGRESS)
        if stored is None and next(store.iterate(b"", b"\xff"), None) is not None:
            raise Malformed("bad_snapshot_store", "there are records but none of how far they go")
        self._at = _Progress(0, 0, 1, leaf_hash(self._genesis_raw)) if stored is None else _Progress.decode(stored)
        # The roots of full bundles: those that are here, then those that the descriptor at hand vouches for.
        self._hashes = bytearray(b"".join(value for _, value in store.iterate(BUNDLE, _AFTER_BUNDLES)))
        if len(self._hashes) != self._at.bundles * HASH_BYTES:
            raise Malformed("bad_snapshot_store", "the hashes of the bundles so far are not all here")

    # --- what is there -----------------------------------------------------------------------------------------------

    @property
    def bundles(self) -> int:
        """How many full bundles are here, verified."""
        return self._at.bundles

    @property
    def records(self) -> int:
        """How many records of the state are here."""
        return self._state.records

    @property
    def state_fraction(self) -> float:
        return self._state.fraction

    @property
    def descriptor(self) -> Descriptor:
        if self._descriptor is None:
            raise Misuse("no snapshot has begun")
        return self._descriptor

    @property
    def hashes_missing(self) -> int:
        return self.descriptor.bundles - len(self._hashes) // HASH_BYTES

    def bundle_hash(self, index: int) -> bytes:
        """The verified root of the full bundle ``index`` of the snapshot at hand."""
        if self.hashes_missing or not 0 <= index < self.descriptor.bundles:
            raise Misuse(f"no such bundle: expected one of {self.descriptor.bundles}, got {index}")
        return bytes(self._hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def _verified(self, note: bytes) -> Checkpoint:
        """The checkpoint of a note by one of the policies; what the last of them has against it, if none takes it."""
        refused: Untrue | None = None
        for policy in self._policies:
            try:
                result = policy.check(parse_note(note))
                # Which key the log has to have signed by, the state itself says at the end.
                if self._judge_note is None or not result.quorum_met:
                    result.check()
                return result.checkpoint
            except Untrue as error:
                refused = error
        raise refused or Misuse("a snapshot is verified by at least one policy")

    # --- taking pieces -----------------------------------------------------------------------------------------------

    def begin(self, descriptor: Descriptor) -> None:
        """Take a snapshot's descriptor: the first, or a newer one in place of one that was cut off."""
        final = self._verified(descriptor.note)
        if final.origin != self._genesis.origin:
            raise Untrue("snapshot_of_another_log", f"expected {self._genesis.origin}, got {final.origin[:255]!r}")
        if final.size < descriptor.size:
            raise Untrue(
                "snapshot_not_final", f"expected a final checkpoint of {descriptor.size} or more, got {final.size}"
            )
        if descriptor.bundles < self.bundles:
            raise Untrue(
                "snapshot_too_old",
                f"expected at least the {self.bundles} bundles that are here, got a snapshot of {descriptor.bundles}",
            )
        if self._store.get(STATE_BEGUN) is not None:
            self._clear_state()
        self._state = StateBuilder(STATE)
        self._descriptor, self._final = descriptor, final
        self._partial = {}
        self.entries_complete = False
        del self._hashes[self.bundles * HASH_BYTES :]
        if not self.hashes_missing:
            self._verify_tree()

    def add_hashes(self, hashes: bytes) -> None:
        """Take the next roots of full bundles, end to end."""
        missing = self.hashes_missing
        if not hashes or len(hashes) % HASH_BYTES or len(hashes) // HASH_BYTES > missing:
            raise Malformed(
                "bad_snapshot_hashes", f"expected 1 to {missing} hashes of {HASH_BYTES} bytes, got {len(hashes)} bytes"
            )
        self._hashes += hashes
        if not self.hashes_missing:
            self._verify_tree()

    def _verify_tree(self) -> None:
        descriptor, final = self.descriptor, self._final
        if final is None:
            raise Misuse("no snapshot has begun")
        upper = Frontier()
        for at in range(0, len(self._hashes), HASH_BYTES):
            upper.append(bytes(self._hashes[at : at + HASH_BYTES]))
        tree = Frontier(upper.size * TILE_WIDTH, upper.hashes)
        for at in range(0, len(descriptor.tail), HASH_BYTES):
            tree.append(descriptor.tail[at : at + HASH_BYTES])
        self._root = tree.root()
        try:
            verify_consistency(descriptor.size, self._root, final.size, final.root, descriptor.consistency)
        except Untrue:
            del self._hashes[self.bundles * HASH_BYTES :]
            raise

    def add_bundle(self, data: bytes) -> None:
        """Take the next bundle of entries: verified, parsed and indexed, then written, not synced."""
        descriptor = self.descriptor
        if self.hashes_missing or self.entries_complete:
            raise Misuse("no bundle is expected now")
        index = self.bundles
        full = index < descriptor.bundles
        entries = decode_entry_bundle(data, TILE_WIDTH if full else descriptor.size % TILE_WIDTH)
        leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
        tile = b"".join(leaves)
        found, expected = (_root_of_256(leaves), self.bundle_hash(index)) if full else (tile, descriptor.tail)
        if found != expected:
            raise Untrue("snapshot_bundle_differs", f"bundle {index} of the log is not that of the final checkpoint")
        after, writes = self._take_entries(index * TILE_WIDTH, entries, leaves)
        if full:
            at = replace(after, bundles=index + 1)
            writes[tile_key(0, index)] = tile
            writes[numbered_key(BUNDLE, index)] = found
            self._store.write({**writes, PROGRESS: at.encode()}, sync=False)
            self._at = at
        else:
            # It comes again with the next snapshot, and that one may be shorter: what it lacks must never be found.
            self._partial = writes
            self._store.write({PROGRESS: self._at.encode()}, sync=False)
        if not full or (index + 1) * TILE_WIDTH == descriptor.size:
            self._end_entries(after.first, entries[-1])

    def _take_entries(
        self, first: int, entries: Sequence[bytes], leaves: Sequence[bytes]
    ) -> tuple[_Progress, dict[bytes, bytes]]:
        """The writes for entries that are known to be the log's, as `Chain.append_block` makes them."""
        writes: dict[bytes, bytes] = {}
        height, block_first, previous = self._at.height, self._at.first, self._at.previous
        for index, (raw, leaf) in enumerate(zip(entries, leaves, strict=True), first):
            number = index.to_bytes(8, "big")
            writes[ENTRY + number] = raw
            if index == 0:
                if raw != self._genesis_raw:
                    raise Untrue("snapshot_of_another_log", "the log begins with another genesis record")
                continue
            entry = parse_entry(raw)
            if isinstance(entry, Statement):
                writes[STATEMENT + leaf] = number
                writes[cti_key(entry.iss, entry.cti)] = number
                writes[subject_key(entry.sub, index)] = b""
                continue
            if not isinstance(entry, BlockRecord):
                raise Untrue("snapshot_not_a_log", f"entry {index} is a second genesis record")
            expected = (height + 1, block_first, index - block_first, previous)
            if (entry.height, entry.first, entry.count, entry.previous) != expected:
                raise Untrue("snapshot_not_a_log", f"entry {index} is not the record of the block that it ends")
            height, block_first, previous = entry.height, index + 1, leaf
            writes[numbered_key(BLOCK_BY_HEIGHT, entry.height)] = number
            writes[block_at_key(index)] = b""
        return _Progress(self._at.bundles, height, block_first, previous), writes

    def _end_entries(self, block_first: int, last: bytes) -> None:
        """All entries are here: does the log say the state that the descriptor promises?"""
        descriptor = self.descriptor
        if block_first != descriptor.size:
            raise Untrue("snapshot_within_a_block", f"entry {descriptor.size - 1} ends no block")
        height, state_root = 0, self._genesis_state_root
        if descriptor.size > 1:
            record = BlockRecord.decode(last)
            height, state_root, self._time_ms = record.height, record.state_root, record.time_ms
        if height != descriptor.height:
            raise Untrue("snapshot_height_differs", f"the last block is {height}, got {descriptor.height}")
        if state_root != descriptor.state_root:
            raise Untrue(
                "snapshot_state_differs",
                f"the last block says state root {state_root.hex()}, got {descriptor.state_root.hex()}",
            )
        self.entries_complete = True

    def add_state(self, chunk: bytes) -> None:
        """Take the next records of the state; whether they are the right ones shows in `finish`."""
        self.write_state(self.state_writes(chunk))

    def state_writes(self, chunk: bytes) -> dict[bytes, bytes]:
        """The first half of `add_state`: what to write, which costs the interpreter and not the disk."""
        if not self.entries_complete:
            raise Misuse("the entries come before the state")
        if len(chunk) > MAX_CHUNK_BYTES:
            raise Malformed("bad_state_chunk", f"expected at most {MAX_CHUNK_BYTES} bytes, got {len(chunk)}")
        names: list[bytes] = []
        writes = self._state.add(chunk, names)
        writes.update(self._index_records(names))
        writes[STATE_BEGUN] = b""
        return writes

    def write_state(self, writes: Mapping[bytes, bytes]) -> None:
        """The second half, in order and none left out; in another thread it goes on beside the next first half."""
        self._store.write(writes, sync=False)

    def _clear_state(self) -> None:
        """Forget the state of an earlier moment: a record of it that is gone since would be found for ever."""
        batch: dict[bytes, None] = {}
        for key, _ in self._store.iterate(STATE, STATE + b"\xff"):
            batch[key] = None
            if len(batch) == CLEAR_KEYS:
                self._store.write(batch, sync=False)
                batch = {}
        self._store.write({**batch, STATE_BEGUN: None}, sync=False)

    def finish(self) -> Chain:
        """Verify the state's root, give the ledger its end, synced, and return it opened."""
        descriptor = self.descriptor
        if not self.entries_complete:
            raise Misuse("the entries are not complete")
        root, last = self._state.finish()
        if root != descriptor.state_root:
            raise Untrue(
                "snapshot_state_differs", f"the records hash to {root.hex()}, expected {descriptor.state_root.hex()}"
            )
        self._judge(last)
        writes: dict[bytes, bytes | None] = {**self._partial, **last}
        self._upper_tiles(writes)
        if self._final is not None and self._final.size == descriptor.size:
            writes[numbered_key(NOTE, descriptor.size)] = descriptor.note
        writes[HEAD] = encode_head(
            applied=descriptor.applied, root=self._root, size=descriptor.size, state_root=descriptor.state_root
        )
        self._store.write(writes, sync=True)
        self._clear_progress()
        return Chain.open(self._store)

    def _judge(self, last: Mapping[bytes, bytes]) -> None:
        """Is the note signed by log keys that count by this state? `last`: what the state's map still lacks."""
        descriptor, final = self.descriptor, self._final
        if self._judge_note is None or final is None:
            return
        # Without a head it is no ledger yet, and the next descriptor has the state begin anew.
        self._store.write({**last, STATE_BEGUN: b""}, sync=False)
        later = final.size > descriptor.size
        self._judge_note(StateMap(self._store, STATE), descriptor.note, descriptor.height, self._time_ms, later)

    def _clear_progress(self) -> None:
        batch: dict[bytes, None] = {PROGRESS: None, STATE_BEGUN: None}
        for key, _ in self._store.iterate(BUNDLE, _AFTER_BUNDLES):
            batch[key] = None
            if len(batch) >= CLEAR_KEYS:
                self._store.write(batch, sync=False)
                batch = {}
        self._store.write(batch, sync=False)

    def _upper_tiles(self, writes: dict[bytes, bytes | None]) -> None:
        """The tiles of level 1 and above, and the beginnings of those that are not full yet."""
        descriptor = self.descriptor
        if descriptor.tail:
            writes[chunk_key(0, descriptor.bundles, 0)] = descriptor.tail
        level, hashes = 1, bytes(self._hashes)
        while hashes:
            above: list[bytes] = []
            for index, at in enumerate(range(0, len(hashes), TILE_WIDTH * HASH_BYTES)):
                tile = hashes[at : at + TILE_WIDTH * HASH_BYTES]
                if len(tile) == TILE_WIDTH * HASH_BYTES:
                    writes[tile_key(level, index)] = tile
                    above.append(_root_of_256([tile[i : i + HASH_BYTES] for i in range(0, len(tile), HASH_BYTES)]))
                else:
                    writes[chunk_key(level, index, 0)] = tile
            level, hashes = level + 1, b"".join(above)


def _root_of_256(row: Sequence[bytes]) -> bytes:
    """Root over the hashes of a full tile."""
    while len(row) > 1:
        row = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]

"""A ledger as it was after one block, in pieces small enough to send: what a validator that fell behind is given.

In order: a `Descriptor`; the hashes of level 1 of the tree, one for each full bundle of 256 entries; the bundles (C2SP
tlog-tiles, "Log Entries"), the last one partial; the records of the state in order of path (`ledger.statestream`).

The descriptor carries a final checkpoint, of the snapshot's size or a later one, and the proof that the one tree begins
the other. From that alone, and a policy, the receiver knows the root of the tree before it has one entry, and each
piece is verified as it comes (`ledger.snapshot_building`). Bundles are the same whoever sends them and whenever: who
was cut off goes on where it stopped, with somebody else if need be. The state is of one moment; it begins anew.

`applied`, the position of the order that the block came from, is the only number that the log does not vouch for. What
a lie about it could do, and who must agree on it, is for the caller (docs/adr/0015).

Does not: send anything, or hold more than one chunk in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import cbor
from ledger.chain import Chain
from ledger.chain_layout import STATE
from ledger.errors import Malformed, Misuse
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE, TILE_WIDTH
from ledger.note import MAX_NOTE_BYTES
from ledger.statestream import CHUNK_BYTES, state_chunks
from ledger.store import Store
from ledger.tiles import entries_path, tile_path

MAX_CONSISTENCY_HASHES = 64 + 1
MAX_DESCRIPTOR_BYTES = MAX_NOTE_BYTES + (TILE_WIDTH + MAX_CONSISTENCY_HASHES + 8) * (HASH_BYTES + 8)
# Hashes of level 1 in one chunk: those of 2^20 entries.
HASHES_IN_CHUNK = 4096
_KEYS = {"applied", "consistency", "height", "note", "size", "state_root", "tail"}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Which moment a snapshot is of, and why to believe it."""

    size: int
    height: int
    applied: int
    state_root: bytes
    # A final checkpoint of `size` or more, and the consistency proof (RFC 6962 section 2.1.2) from `size` to it.
    note: bytes
    consistency: tuple[bytes, ...]
    # The leaf hashes of the last, partial bundle, end to end.
    tail: bytes

    @property
    def bundles(self) -> int:
        """How many full bundles the log has."""
        return self.size // TILE_WIDTH

    def encode(self) -> bytes:
        return cbor.encode(
            {
                "applied": self.applied,
                "consistency": b"".join(self.consistency),
                "height": self.height,
                "note": self.note,
                "size": self.size,
                "state_root": self.state_root,
                "tail": self.tail,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Descriptor:
        """Raises Malformed unless this is the one spelling of a descriptor whose lengths fit its size."""
        value = cbor.decode(data, max_bytes=MAX_DESCRIPTOR_BYTES)
        if not isinstance(value, dict) or value.keys() != _KEYS:
            raise _bad(f"expected a map of {', '.join(sorted(_KEYS))}")
        numbers = (value["size"], value["height"], value["applied"])
        for number, name in zip(numbers, ("size", "height", "applied"), strict=True):
            if type(number) is not int or not 0 <= number <= MAX_TREE_SIZE:
                raise _bad(f"{name}: expected an integer of 0 to {MAX_TREE_SIZE}")
        size, height, applied = (int(number) for number in numbers if isinstance(number, int))
        if size < 1 or height >= size:
            raise _bad(f"expected more entries than blocks, got {size} and {height}")
        state_root, note = value["state_root"], value["note"]
        consistency, tail = value["consistency"], value["tail"]
        if not isinstance(state_root, bytes) or len(state_root) != HASH_BYTES:
            raise _bad(f"state_root: expected {HASH_BYTES} bytes")
        if not isinstance(note, bytes) or not 1 <= len(note) <= MAX_NOTE_BYTES:
            raise _bad(f"note: expected 1 to {MAX_NOTE_BYTES} bytes")
        if not isinstance(consistency, bytes) or len(consistency) % HASH_BYTES:
            raise _bad("consistency: expected hashes end to end")
        if len(consistency) > MAX_CONSISTENCY_HASHES * HASH_BYTES:
            raise _bad(f"consistency: expected at most {MAX_CONSISTENCY_HASHES} hashes")
        if not isinstance(tail, bytes) or len(tail) != size % TILE_WIDTH * HASH_BYTES:
            raise _bad(f"tail: expected {size % TILE_WIDTH} hashes end to end")
        proof = tuple(consistency[at : at + HASH_BYTES] for at in range(0, len(consistency), HASH_BYTES))
        return cls(size, height, applied, state_root, note, proof, tail)


def _bad(what: str) -> Malformed:
    return Malformed("bad_snapshot_descriptor", what)


class SnapshotSource:
    """The ledger of ``store`` as it is now. `describe` once a checkpoint covering it is final; `close` at the end."""

    def __init__(self, store: Store) -> None:
        self._view = store.view()
        try:
            self._chain = Chain.open(self._view)
        except BaseException:
            self._view.close()
            raise
        if not self._chain.initialised:
            self._view.close()
            raise Misuse("an empty ledger has no snapshot")

    @property
    def size(self) -> int:
        return self._chain.size

    @property
    def applied(self) -> int:
        return self._chain.applied

    def describe(self, present: Chain) -> Descriptor | None:
        """Return the descriptor, or None if no checkpoint that covers this size is final in ``present`` yet."""
        head = self._chain.head
        final = present.cosigned_at_or_after(head.size)
        if final is None or final[0] > present.size:
            return None
        width = head.size % TILE_WIDTH
        return Descriptor(
            size=head.size,
            height=head.height,
            applied=head.applied,
            state_root=head.state_root,
            note=final[1],
            consistency=tuple(present.consistency_proof(head.size, final[0])),
            tail=self._chain.tile(tile_path(0, head.size // TILE_WIDTH, width)) if width else b"",
        )

    def hashes(self, first_bundle: int = 0) -> Iterator[bytes]:
        """Yield the roots of the full bundles from ``first_bundle`` on, end to end, in chunks."""
        bundles = self._chain.size // TILE_WIDTH
        parts: list[bytes] = []
        position = first_bundle
        while position < bundles:
            tile, at = divmod(position, TILE_WIDTH)
            width = min(TILE_WIDTH, bundles - tile * TILE_WIDTH)
            parts.append(self._chain.tile(tile_path(1, tile, width))[at * HASH_BYTES :])
            position = tile * TILE_WIDTH + width
            if sum(map(len, parts)) >= HASHES_IN_CHUNK * HASH_BYTES:
                yield b"".join(parts)
                parts.clear()
        if parts:
            yield b"".join(parts)

    def bundles(self, first_bundle: int = 0) -> Iterator[bytes]:
        """Yield the bundles from ``first_bundle`` on; the last one is partial unless the size is a multiple of 256."""
        size = self._chain.size
        for index in range(first_bundle, -(-size // TILE_WIDTH)):
            yield self._chain.tile(entries_path(index, min(TILE_WIDTH, size - index * TILE_WIDTH)))

    def state(self, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield the records of the state in order of path."""
        return state_chunks(self._view, STATE, chunk_bytes)

    def close(self) -> None:
        self._view.close()

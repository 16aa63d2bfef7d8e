"""The records of a state as a stream in order of path, and the map built from such a stream in one pass.

A stream is cut into chunks of whole records; each record stands behind its length in four bytes, as the map stores it
(length of the key in two bytes, key, value). What `StateBuilder` makes of a stream is, key for key and byte for byte,
what a `StateMap` holds that came to the same records by updates: the same pages, the same root. It keeps the open pages
along one path in memory and nothing else, whatever the number of records.

Promises: records that are not in strictly ascending order of path are refused, as is what is no record. Whether they
are the records of a state that anybody vouches for shows when the root is compared, at the end, by the caller: until
then nothing of what was written is to be used.

Here every microsecond is spent a million times over, hence the flat loops.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import sha256

from ledger.errors import Malformed, Misuse, Untrue
from ledger.statemap import MAX_STATE_KEY_BYTES, MAX_STATE_VALUE_BYTES, stored_page_key
from ledger.stateproof import EMPTY
from ledger.store import Store

# A record behind its length. A chunk is as long as its sender likes, up to `MAX_CHUNK_BYTES`, and holds whole records.
LENGTH_BYTES = 4
MAX_RECORD_BYTES = 2 + MAX_STATE_KEY_BYTES + MAX_STATE_VALUE_BYTES
CHUNK_BYTES = 256 * 1024
MAX_CHUNK_BYTES = 4 * 1024 * 1024

_LEAF, _PAGE, _QUAD = b"\x01", b"\x02", b"\x03"
_PATH_BITS = 256
# From this many used slots on, a page is stored with all of them: see `ledger.statemap.Page.encode`.
_DENSE_SLOTS = 9
_ALL_EMPTY = (EMPTY,) * 16
# So many empty slots end to end.
_GAP = tuple(EMPTY * count for count in range(4))
# Length of a record, length of its key.
_HEAD = struct.Struct(">IH")

# A slot of an open page: which of the sixteen, its hash, and the path if it is a lone leaf.
_Slot = tuple[int, bytes, bytes | None]


def state_chunks(store: Store, prefix: bytes, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the records of the map under ``prefix`` of ``store`` in chunks of about ``chunk_bytes``, never none."""
    parts: list[bytes] = []
    size = 0
    start = prefix + b"v"
    for _, record in store.iterate(start, start + b"\xff" * 33):
        parts += (len(record).to_bytes(LENGTH_BYTES, "big"), record)
        size += LENGTH_BYTES + len(record)
        if size >= chunk_bytes:
            yield b"".join(parts)
            parts.clear()
            size = 0
    if parts:
        yield b"".join(parts)


class StateBuilder:
    """`add` chunk after chunk and write what it returns; then `finish`, and compare the root."""

    def __init__(self, prefix: bytes = b"") -> None:
        self._prefix = prefix
        # One open page a depth along the path of the last leaf. That leaf is not placed before its neighbour is known,
        # for it sits just below where it parts from the nearer of the two.
        self._open: list[list[_Slot]] = []
        self._path = b""
        self._leaf = b""
        self._shared_before = -1
        self._finished = False
        self.records = 0

    @property
    def fraction(self) -> float:
        """How much of the state has come, from 0 to 1: paths are hashes, so they are spread evenly."""
        return 1.0 if self._finished else int.from_bytes(self._path[:4], "big") / 2**32

    def add(self, chunk: bytes, names: list[bytes] | None = None) -> dict[bytes, bytes]:
        """Return the writes for the records of a chunk, and append their keys to ``names``.

        Raises `Malformed` for what is no chunk, `Untrue` for records out of order; after either, build anew.
        """
        if self._finished:
            raise Misuse("the state is finished")
        writes: dict[bytes, bytes] = {}
        value_prefix = self._prefix + b"v"
        pages, close = self._open, self._close
        unpack, number_of, hashed = _HEAD.unpack_from, int.from_bytes, sha256
        previous, leaf, before = self._path, self._leaf, self._shared_before
        number = number_of(previous, "big")
        position, end = 0, len(chunk)
        count = 0
        while position < end:
            if position + _HEAD.size > end:
                raise self._cut_short(count)
            length, name_length = unpack(chunk, position)
            start = position + LENGTH_BYTES
            position = start + length
            value_start = start + 2 + name_length
            if position > end or value_start > position or name_length > MAX_STATE_KEY_BYTES:
                raise self._cut_short(count)
            name = chunk[start + 2 : value_start]
            path = hashed(name).digest()
            if path <= previous:
                raise Untrue("state_out_of_order", f"record {self.records + count} of the state is out of order")
            writes[value_prefix + path] = chunk[start:position]
            if names is not None:
                names.append(name)
            ahead = number_of(path, "big")
            if previous:
                shared = _PATH_BITS - (number ^ ahead).bit_length() >> 2
                depth = shared if shared > before else before
                while len(pages) <= depth:
                    pages.append([])
                byte = previous[depth >> 1]
                pages[depth].append((byte & 15 if depth & 1 else byte >> 4, leaf, previous))
                if len(pages) > shared + 1:
                    close(previous, shared, writes)
                before = shared
            previous, number = path, ahead
            leaf = hashed(_LEAF + path + hashed(chunk[value_start:position]).digest()).digest()
            count += 1
        self._path, self._leaf, self._shared_before = previous, leaf, before
        self.records += count
        return writes

    def _cut_short(self, count: int) -> Malformed:
        return Malformed("bad_state_chunk", f"record {self.records + count} of the state is cut short")

    def finish(self) -> tuple[bytes, dict[bytes, bytes]]:
        """Return the root and the last writes."""
        writes: dict[bytes, bytes] = {}
        root, lone = EMPTY, b""
        if self._path and self._shared_before < 0:
            root, lone = self._leaf, self._path
        elif self._path:
            depth = self._shared_before
            byte = self._path[depth >> 1]
            self._open[depth].append((byte & 15 if depth & 1 else byte >> 4, self._leaf, self._path))
            self._close(self._path, 0, writes)
            root, writes[stored_page_key(self._prefix + b"p", 0, self._path)] = _page(self._open.pop())
        writes[self._prefix + b"r"] = root + lone
        self._finished = True
        return root, writes

    def _close(self, path: bytes, depth: int, writes: dict[bytes, bytes]) -> None:
        """Hash every page below ``depth`` on the way to ``path`` into the one above it."""
        pages = self._open
        key_prefix = self._prefix + b"p"
        while len(pages) > depth + 1:
            hash_, data = _page(pages.pop())
            above = len(pages)
            writes[stored_page_key(key_prefix, above, path)] = data
            above -= 1
            byte = path[above >> 1]
            pages[above].append((byte & 15 if above & 1 else byte >> 4, hash_, None))


def _page(slots: list[_Slot]) -> tuple[bytes, bytes]:
    """Hash and stored form of a page, its slots in order: what `ledger.statemap.Page` would make of them."""
    if len(slots) == 2:
        return _page_of_two(slots)
    children = list(_ALL_EMPTY)
    used = leaf_bits = 0
    paths = b""
    for index, hash_, path in slots:
        children[index] = hash_
        used |= 1 << index
        if path is not None:
            leaf_bits |= 1 << index
            paths += path
    quads = b"".join(
        [
            sha256(_QUAD + b"".join(children[at : at + 4])).digest() if used >> at & 0xF else EMPTY
            for at in (0, 4, 8, 12)
        ]
    )
    head = leaf_bits.to_bytes(2, "big")
    if len(slots) >= _DENSE_SLOTS:
        data = b"".join((head, b"\xff\xff", *children, quads, paths))
    else:
        data = b"".join((head, used.to_bytes(2, "big"), *[slot[1] for slot in slots], paths))
    return sha256(_PAGE + quads).digest(), data


def _page_of_two(slots: list[_Slot]) -> tuple[bytes, bytes]:
    """The same for the page that three of four are: two leaves that parted here."""
    (one, one_hash, one_path), (other, other_hash, other_path) = slots
    first, second = one >> 2, other >> 2
    if first == second:
        quad = (_QUAD, _GAP[one & 3], one_hash, _GAP[other - one - 1], other_hash, _GAP[3 - (other & 3)])
        quads = _GAP[first] + sha256(b"".join(quad)).digest() + _GAP[3 - first]
    else:
        left = sha256(_QUAD + _GAP[one & 3] + one_hash + _GAP[3 - (one & 3)]).digest()
        right = sha256(_QUAD + _GAP[other & 3] + other_hash + _GAP[3 - (other & 3)]).digest()
        quads = b"".join((_GAP[first], left, _GAP[second - first - 1], right, _GAP[3 - second]))
    leaf_bits = (0 if one_path is None else 1 << one) | (0 if other_path is None else 1 << other)
    head = (leaf_bits << 16 | 1 << one | 1 << other).to_bytes(4, "big")
    return sha256(_PAGE + quads).digest(), b"".join((head, one_hash, other_hash, one_path or b"", other_path or b""))

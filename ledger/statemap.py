"""An authenticated map: one root hash for all records, with proofs that a key has a value, or none (design section 5).

The root depends on the contents alone, never on the order in which they came. A key's place is its path, SHA-256 of its
UTF-8 text, read as 64 digits of four bits. For the set of entries whose paths share the first *d* digits:

    no entry        32 zero bytes
    one entry       leaf(path, value) = SHA-256(0x01 || path || SHA-256(value))
    more            page = SHA-256(0x02 || quad 0 .. quad 3), over the sixteen sets that digit *d* tells apart, where
                    quad = SHA-256(0x03 || child 0 .. child 3), or 32 zero bytes if all four are empty

so that a lone entry sits as high as it can, and taking an entry out leaves what would be there had it never come.
Sixteen children to a page because a page is what is read and written; four to a hash because that is what a proof pays.

In the store, under a prefix: ``r`` the root; ``p`` + depth + path digits, a page; ``v`` + path, a key and its value.
`StateMap.update` computes and writes nothing: the caller writes the batch it returns with everything else of a block,
and then has the map `adopt` it. If the write fails, the map is what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from ledger.errors import Misuse, UnknownDurableState
from ledger.stateproof import EMPTY, MAX_DEPTH, StateProof, digit, leaf_hash, state_path
from ledger.store import Store

MAX_STATE_KEY_BYTES = 512
MAX_STATE_VALUE_BYTES = 1024 * 1024
# About 1 KB each in memory.
CACHE_PAGES = 16 * 1024
# How often a proof is read again because an update overtook it.
MAX_PROOF_ATTEMPTS = 100


class Slot(NamedTuple):
    """A subtree as its parent sees it: empty, a lone leaf (which has a path), or a page."""

    hash: bytes
    leaf_path: bytes | None


EMPTY_SLOT = Slot(EMPTY, None)

_LEAF, _QUAD, _PAGE = b"\x01", b"\x03", b"\x02"
_ALL_USED = 0xFFFF
_ALL_QUADS = 0xF
_PATH_BITS = 256
# In the slot of a page that is still open: anything but empty.
_NOT_YET_HASHED = b"\xff" * 32
# From this many used slots on, a page is stored as it is in memory.
_DENSE_SLOTS = 9
_DENSE_BYTES = 4 + 512 + 128
_BYTES = tuple(bytes((value,)) for value in range(256))
# The quads of a set of four, as a bitmap.
_QUADS = tuple(tuple(quad for quad in range(4) if mask >> quad & 1) for mask in range(16))


@cache
def _offsets(used: int) -> tuple[int, ...]:
    """Where in a page the hashes of the slots of a bitmap begin. There are 65,536 bitmaps, a few hundred in use."""
    return tuple(index * 32 for index in range(16) if used >> index & 1)


class Page:
    """Sixteen slots: their hashes end to end, which are used, which of those are leaves, the paths of the leaves.

    Flat, because a page is loaded, hashed and stored far more often than one slot of it is looked at.
    """

    __slots__ = ("at", "hashes", "key", "leaf_bits", "leaf_paths", "quads", "shrunk", "stale", "used")

    def __init__(self, hashes: bytearray, quads: bytearray, used: int, leaf_bits: int, leaf_paths: bytes) -> None:
        self.hashes = hashes
        self.quads = quads
        self.used = used
        self.leaf_bits = leaf_bits
        self.leaf_paths = leaf_paths
        # The rest is of a `Batch` that has the page open. The quads whose slots were set since they were hashed:
        self.stale = 0
        # whether it may hold too little to be a page; its key, and its place in the page above it.
        self.shrunk = False
        self.key = b""
        self.at = 0

    @classmethod
    def empty(cls) -> Page:
        return cls(bytearray(512), bytearray(128), 0, 0, b"")

    def leaf_path(self, index: int) -> bytes | None:
        bits = self.leaf_bits
        if not bits >> index & 1:
            return None
        offset = (bits & (1 << index) - 1).bit_count() * 32
        return self.leaf_paths[offset : offset + 32]

    def slot(self, index: int) -> Slot:
        return Slot(bytes(self.hashes[index * 32 : index * 32 + 32]), self.leaf_path(index))

    def put(self, index: int, child: bytes, leaf_path: bytes | None) -> None:
        """Set a slot; its quad is stale until `rehash`."""
        self.stale |= 1 << (index >> 2)
        self.hashes[index * 32 : index * 32 + 32] = child
        bits, bit = self.leaf_bits, 1 << index
        self.used = self.used & ~bit if child == EMPTY else self.used | bit
        if leaf_path is None and not bits & bit:
            return
        offset = (bits & bit - 1).bit_count() * 32
        after = offset + 32 if bits & bit else offset
        if leaf_path is None:
            self.leaf_bits = bits & ~bit
            self.leaf_paths = self.leaf_paths[:offset] + self.leaf_paths[after:]
        else:
            self.leaf_bits = bits | bit
            self.leaf_paths = self.leaf_paths[:offset] + leaf_path + self.leaf_paths[after:]

    def rehash(self) -> None:
        """Hash anew the quads that are stale."""
        for quad in _QUADS[self.stale]:
            if self.used >> quad * 4 & 0xF:
                children = self.hashes[quad * 128 : quad * 128 + 128]
                self.quads[quad * 32 : quad * 32 + 32] = sha256(_QUAD + children).digest()
            else:
                self.quads[quad * 32 : quad * 32 + 32] = EMPTY
        self.stale = 0

    def lone_slot(self) -> Slot | None:
        """The only slot that is not empty, `EMPTY_SLOT` if all are, None if there are two or more."""
        used = self.used
        if used & used - 1:
            return None
        return self.slot(used.bit_length() - 1) if used else EMPTY_SLOT

    def hash(self) -> bytes:
        return sha256(_PAGE + self.quads).digest()

    def encode(self) -> bytes:
        """Two bitmaps (which slots are leaves, which are used), the used hashes, the paths of the leaves.

        A page more than half full has 0xFFFF for its second bitmap, then all its hashes and its quads as they are in
        memory: taking it apart, and hashing the quads again, would cost more than the bytes.
        """
        used = self.used
        head = self.leaf_bits.to_bytes(2, "big")
        if used.bit_count() >= _DENSE_SLOTS:
            return b"".join((head, b"\xff\xff", self.hashes, self.quads, self.leaf_paths))
        hashes = self.hashes
        return b"".join(
            (head, used.to_bytes(2, "big"), *[hashes[at : at + 32] for at in _offsets(used)], self.leaf_paths)
        )

    @classmethod
    def decode(cls, data: bytes) -> Page:
        leaf_bits, used = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        paths_start = _DENSE_BYTES if used == _ALL_USED else 4 + 32 * used.bit_count()
        if len(data) < 4 or leaf_bits & ~used or len(data) != paths_start + 32 * leaf_bits.bit_count():
            raise UnknownDurableState(f"a page of the state map has a wrong shape: {len(data)} bytes")
        if used == _ALL_USED:
            hashes = bytearray(data[4:516])
            if EMPTY in data[4:516]:
                used = sum(1 << index for index in range(16) if any(hashes[index * 32 : index * 32 + 32]))
            return cls(hashes, bytearray(data[516:_DENSE_BYTES]), used, leaf_bits, data[_DENSE_BYTES:])
        hashes = bytearray(512)
        for number, at in enumerate(_offsets(used)):
            hashes[at : at + 32] = data[4 + 32 * number : 36 + 32 * number]
        page = cls(hashes, bytearray(128), used, leaf_bits, data[paths_start:])
        page.stale = _ALL_QUADS
        page.rehash()
        return page


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """What a batch of changes comes to: the new root, and the writes that must be durable before `StateMap.adopt`."""

    root: bytes
    writes: Mapping[bytes, bytes | None]
    base: bytes  # the root that this was computed from
    top: Slot = field(repr=False)
    pages: Mapping[bytes, Page | None] = field(repr=False)


class ProvenRecord(NamedTuple):
    """A value (None: no record) and the proof of it under ``root``."""

    root: bytes
    value: bytes | None
    proof: StateProof


class StateMap:
    """The map under ``prefix`` of ``store``. One thread updates; any thread may `get` and `prove`."""

    def __init__(self, store: Store, prefix: bytes = b"", *, cache_pages: int = CACHE_PAGES) -> None:
        self._store = store
        self._root_key = prefix + b"r"
        self._page_prefix = prefix + b"p"
        self._value_prefix = prefix + b"v"
        # Two generations: a page used since the last turn is in the young one, and the old one is dropped whole.
        self._young: dict[bytes, Page | None] = {}
        self._old: dict[bytes, Page | None] = {}
        self._generation_pages = max(1, cache_pages // 2)
        # Pages are altered in place, which is half as dear as copying them first; only updates look at them. So until
        # the latest update is adopted, those in memory are of a state that may never be.
        self._altered = False
        self._latest: StateUpdate | None = None
        self._top = self._load_top()

    @property
    def root(self) -> bytes:
        return self._top.hash

    def get(self, key: str) -> bytes | None:
        """Return the value of ``key``, or None."""
        return self._read_value(state_path(key), key)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Yield every key and value, in the order of their paths, without holding them all."""
        start = self._value_prefix
        for stored_key, record in self._store.iterate(start, start + b"\xff" * 33):
            key, value = _decode_value(record)
            if state_path(key) != stored_key[len(start) :]:
                raise UnknownDurableState(f"the value of state key {key!r} is stored in the wrong place")
            yield key, value

    def update(self, changes: Mapping[str, bytes | None]) -> StateUpdate:
        """Return what setting (bytes) and removing (None) the keys of ``changes`` would make of the map."""
        if self._altered:
            self._forget_pages()
        writes: dict[bytes, bytes | None] = {}
        leaves: list[tuple[bytes, bytes]] = []
        value_prefix = self._value_prefix
        for key, value in changes.items():
            name = key.encode()
            path = sha256(name).digest()
            if value is None:
                leaves.append((path, EMPTY))
                writes[value_prefix + path] = None
            else:
                leaves.append((path, sha256(_LEAF + path + sha256(value).digest()).digest()))
                writes[value_prefix + path] = _encode_value(name, value)
        top = self._top
        pages: dict[bytes, Page | None] = {}
        if leaves:
            leaves.sort()
            self._altered = True
            batch = Batch(self._hot_page, self._page_prefix)
            pages = batch.pages
            top = batch.set(top, leaves)
            for page_key, page in pages.items():
                writes[page_key] = None if page is None else page.encode()
        writes[self._root_key] = top.hash + (top.leaf_path or b"")
        self._latest = StateUpdate(root=top.hash, writes=writes, base=self._top.hash, top=top, pages=pages)
        return self._latest

    def adopt(self, update: StateUpdate) -> None:
        """Take ``update`` for the present state: its writes are durable."""
        if update.base != self._top.hash:
            raise Misuse("the update was computed from another state root")
        if update is not self._latest:
            self._forget_pages()
        self._latest = None
        self._altered = False
        self._young.update(update.pages)
        self._turn()
        self._top = update.top

    def prove(self, key: str) -> StateProof:
        """Return the proof that ``key`` has the value that `get` returns, or none, under `root`."""
        return self.prove_record(key).proof

    def prove_record(self, key: str) -> ProvenRecord:
        """Return the value of ``key``, its proof, and the root that this is under, all of one moment.

        A proof that an update overtook would mix two states. So the root is read from the store first, the proof is
        checked against it, and if an update came in between, all is read again.
        """
        path = state_path(key)
        for _ in range(MAX_PROOF_ATTEMPTS):
            stored = self._store.get(self._root_key)
            top = _decode_top(stored)
            fault = f"the state map does not hash to its root {top.hash.hex()} at key {key!r}"
            try:
                proof, value = self._prove(path, key, top)
                if proof.root(path, value) == top.hash:
                    return ProvenRecord(top.hash, value, proof)
            except UnknownDurableState as error:
                fault = str(error)
            if self._store.get(self._root_key) == stored:
                raise UnknownDurableState(fault)
        raise UnknownDurableState(f"the state map changed faster than a proof of {key!r} could be read")

    def _prove(self, path: bytes, key: str, slot: Slot) -> tuple[StateProof, bytes | None]:
        siblings: list[tuple[bytes, ...]] = []
        depth = 0
        while slot.leaf_path is None and slot.hash != EMPTY:
            page = self._read_page(stored_page_key(self._page_prefix, depth, path))
            index = digit(path, depth)
            quad = index >> 2
            children = [bytes(page.hashes[at * 32 : at * 32 + 32]) for at in range(quad * 4, quad * 4 + 4)]
            siblings.append(
                tuple(children[at] for at in range(4) if at != index & 3)
                + tuple(bytes(page.quads[at * 32 : at * 32 + 32]) for at in range(4) if at != quad)
            )
            slot = page.slot(index)
            depth += 1
        other: tuple[bytes, bytes] | None = None
        value = None
        if slot.leaf_path == path:
            value = self._read_value(path, key)
        elif slot.leaf_path is not None:
            record = self._store.get(self._value_prefix + slot.leaf_path)
            if record is None:
                raise UnknownDurableState(f"the value at path {slot.leaf_path.hex()} of the state map is missing")
            other = (slot.leaf_path, sha256(_decode_value(record)[1]).digest())
        return StateProof(tuple(siblings), other), value

    def verify_all(self) -> None:
        """Raise `UnknownDurableState` unless the values, hashed anew, come to `root`. Reads everything."""
        leaves = ((state_path(key), leaf_hash(state_path(key), sha256(value).digest())) for key, value in self.items())
        found = root_of_sorted_leaves(leaves)
        if found != self.root:
            raise UnknownDurableState(f"state values hash to {found.hex()}, expected root {self.root.hex()}")

    def _load_top(self) -> Slot:
        top = _decode_top(self._store.get(self._root_key))
        if top.leaf_path is None and top.hash != EMPTY:
            found = self._read_page(stored_page_key(self._page_prefix, 0, b"")).hash()
            if found != top.hash:
                raise UnknownDurableState(
                    f"the root page of the state map hashes to {found.hex()}, expected {top.hash.hex()}"
                )
        return top

    def _read_value(self, path: bytes, key: str) -> bytes | None:
        record = self._store.get(self._value_prefix + path)
        if record is None:
            return None
        stored_key, value = _decode_value(record)
        if stored_key != key:
            raise UnknownDurableState(f"the value of state key {key!r} is stored as that of {stored_key!r}")
        return value

    def _read_page(self, page_key: bytes) -> Page:
        data = self._store.get(page_key)
        if data is None:
            raise UnknownDurableState(f"page {page_key.hex()} of the state map is missing")
        return Page.decode(data)

    def _hot_page(self, page_key: bytes) -> Page:
        page = self._young.get(page_key)
        if page is None:
            page = self._old.get(page_key) or self._read_page(page_key)
            self._young[page_key] = page
        return page

    def _forget_pages(self) -> None:
        """An update has altered pages and was not adopted: what the store has is what they are."""
        self._young = {}
        self._old = {}
        self._altered = False

    def _turn(self) -> None:
        if len(self._young) >= self._generation_pages:
            self._old = self._young
            self._young = {}


class Batch:
    """One update in the making. `load` gives a page that the batch may alter; ``pages`` are those that it did.

    Here the empty hash is always the object `EMPTY` itself, so that ``is`` tells it: this is the innermost loop of all.
    """

    def __init__(self, load: Callable[[bytes], Page], page_prefix: bytes) -> None:
        self._load = load
        self._page_prefix = page_prefix
        self.pages: dict[bytes, Page | None] = {}

    def set(self, top: Slot, leaves: list[tuple[bytes, bytes]]) -> Slot:
        """Return what ``top`` becomes when each (path, leaf hash or EMPTY) of ``leaves``, in order of path, is set.

        The pages on the way to a leaf stay open until a leaf parts from that way above them: so each is loaded and
        hashed once, however many leaves are below it.
        """
        path, leaf = leaves[0]
        if top.leaf_path is None and top.hash != EMPTY:
            way = [self._open(0, path)]
        elif len(leaves) == 1 and (top.leaf_path is None or top.leaf_path == path):
            return EMPTY_SLOT if leaf is EMPTY else Slot(leaf, path)
        else:
            way = [self._open_new(0, path, top)]
        number = int.from_bytes(path, "big")
        for path, leaf in leaves:
            before, number = number, int.from_bytes(path, "big")
            common = _PATH_BITS - (number ^ before).bit_length() >> 2
            while len(way) > common + 1:
                self._close(way)
            page, depth = way[-1], len(way) - 1
            while True:
                byte = path[depth >> 1]
                index = byte & 15 if depth & 1 else byte >> 4
                bit = 1 << index
                if not page.used & bit:
                    if leaf is not EMPTY:
                        page.put(index, leaf, path)
                    break
                if not page.leaf_bits & bit:
                    depth += 1
                    page = self._open(depth, path)
                elif page.leaf_paths.startswith(path, (page.leaf_bits & bit - 1).bit_count() << 5):
                    if leaf is EMPTY:
                        page.put(index, EMPTY, None)
                        page.shrunk = True
                    else:
                        page.hashes[index << 5 : (index << 5) + 32] = leaf
                        page.stale |= 1 << (index >> 2)
                    break
                elif leaf is EMPTY:
                    break
                else:  # another leaf has the place: they part further down
                    other = page.slot(index)
                    page.put(index, _NOT_YET_HASHED, None)
                    depth += 1
                    page = self._open_new(depth, path, other)
                page.at = index
                way.append(page)
        while len(way) > 1:
            self._close(way)
        return self._hashed(way[0])

    def _open(self, depth: int, path: bytes) -> Page:
        key = stored_page_key(self._page_prefix, depth, path)
        page = self.pages[key] = self._load(key)
        page.key = key
        return page

    def _open_new(self, depth: int, path: bytes, other: Slot) -> Page:
        """A page that was not there, with what was there in its place: a leaf, or nothing."""
        key = stored_page_key(self._page_prefix, depth, path)
        page = self.pages[key] = Page.empty()
        page.key = key
        if other.leaf_path is not None:
            page.put(digit(other.leaf_path, depth), other.hash, other.leaf_path)
        page.shrunk = True
        return page

    def _close(self, way: list[Page]) -> None:
        """Hash the last page of the way into the one above it."""
        child = way.pop()
        page, index = way[-1], child.at
        if child.shrunk:
            new = self._hashed(child)
            page.put(index, new.hash, new.leaf_path)
            page.shrunk = page.shrunk or new.leaf_path is not None or new is EMPTY_SLOT
            return
        child.rehash()
        page.hashes[index << 5 : (index << 5) + 32] = child.hash()
        page.stale |= 1 << (index >> 2)

    def _hashed(self, page: Page) -> Slot:
        """What a page is to the one above it, when all below it is set. One that has come to a lone leaf goes."""
        if page.shrunk:
            page.shrunk = False
            lone = page.lone_slot()
            # A page alone in its parent stays: it holds two entries, which part further down.
            if lone is not None and (lone.leaf_path is not None or lone is EMPTY_SLOT):
                self.pages[page.key] = None
                return lone
        page.rehash()
        return Slot(page.hash(), None)


def root_of_sorted_leaves(leaves: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Root of (path, leaf hash) pairs in order of path, holding no more than one path's pages at a time."""
    # One open page a depth along the path of the last leaf; a page closes when a path leaves it.
    open_pages: list[Page] = []
    held: Slot = EMPTY_SLOT  # the last leaf, not yet placed: its depth is known once its neighbour is
    shared_before = -1
    for path, leaf in leaves:
        if held.leaf_path is not None:
            if path <= held.leaf_path:
                raise Misuse("leaves are out of order")
            shared = _shared_digits(held.leaf_path, path)
            _place(open_pages, held, max(shared, shared_before))
            _close(open_pages, held.leaf_path, shared)
            shared_before = shared
        held = Slot(leaf, path)
    if held.leaf_path is None:
        return EMPTY
    if shared_before < 0:
        return held.hash
    _place(open_pages, held, shared_before)
    _close(open_pages, held.leaf_path, 0)
    return open_pages[0].hash()


def _place(open_pages: list[Page], leaf: Slot, depth: int) -> None:
    while len(open_pages) <= depth:
        open_pages.append(Page.empty())
    path = leaf.leaf_path
    if path is not None:
        _set(open_pages[depth], digit(path, depth), leaf.hash)


def _close(open_pages: list[Page], path: bytes, depth: int) -> None:
    """Hash every page below ``depth`` on the way to ``path`` into its parent."""
    while len(open_pages) > depth + 1:
        closed = open_pages.pop()
        _set(open_pages[-1], digit(path, len(open_pages) - 1), closed.hash())


def _set(page: Page, index: int, child: bytes) -> None:
    page.put(index, child, None)
    page.rehash()


def _shared_digits(one: bytes, other: bytes) -> int:
    for at in range(32):
        if one[at] != other[at]:
            return 2 * at + (one[at] >> 4 == other[at] >> 4)
    return MAX_DEPTH


def stored_page_key(prefix: bytes, depth: int, path: bytes) -> bytes:
    """Key of the page at ``depth`` on the way to ``path``: its first ``depth`` digits, the odd one padded with zero."""
    half = depth >> 1
    if depth & 1:
        return prefix + _BYTES[depth] + path[:half] + _BYTES[path[half] & 0xF0]
    return prefix + _BYTES[depth] + path[:half]


def _decode_top(data: bytes | None) -> Slot:
    if data is None:
        return EMPTY_SLOT
    if len(data) not in (32, 64):
        raise UnknownDurableState(f"the root record of the state map has {len(data)} bytes, expected 32 or 64")
    return Slot(data[:32], data[32:] or None)


def check_sizes(name: bytes, value: bytes) -> None:
    """Raise Misuse for a key or value that no state may hold."""
    if len(name) > MAX_STATE_KEY_BYTES:
        raise Misuse(f"state key is too long: expected at most {MAX_STATE_KEY_BYTES} bytes, got {len(name)}")
    if len(value) > MAX_STATE_VALUE_BYTES:
        raise Misuse(f"state value is too large: expected at most {MAX_STATE_VALUE_BYTES} bytes, got {len(value)}")


def _encode_value(name: bytes, value: bytes) -> bytes:
    check_sizes(name, value)
    return len(name).to_bytes(2, "big") + name + value


def _decode_value(record: bytes) -> tuple[str, bytes]:
    split = 2 + int.from_bytes(record[:2], "big")
    if len(record) < max(split, 2):
        raise UnknownDurableState("a value of the state map is cut short")
    try:
        return record[2:split].decode(), record[split:]
    except UnicodeDecodeError as error:
        raise UnknownDurableState("a key of the state map is not UTF-8") from error

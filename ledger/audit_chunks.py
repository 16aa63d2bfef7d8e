"""The part of an audit that needs no order: one bundle of entries with its tile of leaf hashes at a time.

A bundle is read, cut into entries, hashed and parsed, and the signature of each statement is checked under the key that
it names. A `kid` is the hash of its key, so this can be done before it is known whether the registry had that key at
that entry: the execution in order then only has to find the same `kid`.

Runs in other processes as well as in this one: what goes in and comes out is plain data. Nothing here raises for what
an archive holds; it reports.
"""

from __future__ import annotations

import marshal
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ledger.algorithms import PublicKey
from ledger.audit_report import Check, Fault
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import LedgerError, Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, TILE_WIDTH, Frontier, leaf_hash, perfect_root
from ledger.statement import Statement, verify_statement
from ledger.tiles import ENTRIES, tile_path

MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + 0xFFFF)

# Stands for the leaf of an entry that cannot be read and of which there is no tile either.
UNKNOWN_LEAF = bytes(HASH_BYTES)

# In the bytes of every statement whose payload may carry a participant's key.
KEY_MARKERS = (b"comity.registry.", b"comity.governance.")
# How a statement's signature stands before execution.
SIGNATURE_VALID = 1
SIGNATURE_BAD = 2
KEY_UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Task:
    """One bundle: its number, how many entries the tree has in it, and where."""

    directory: str
    index: int
    width: int
    # The tile and the bundle as `read_file` gave them, for who has no such directory; None: they are read there.
    contents: tuple[bytes | str, bytes | str] | None = None

    @property
    def first(self) -> int:
        return self.index * TILE_WIDTH


# A statement with how its signature stands, another kind of entry, or None for what cannot be read.
Parsed = tuple[Statement, int] | BlockRecord | Genesis | None


@dataclass(slots=True)
class Chunk:
    """What a bundle holds. ``leaves`` are of the entries, where readable, else of the tile; ``root`` is over them."""

    index: int
    width: int
    entries: list[Parsed] = field(default_factory=list)
    leaves: bytes = b""
    root: bytes = b""
    tile: bytes | None = None
    # For each statement 64 bits of (cti, issuer), for any other entry 0.
    ctis: list[int] = field(default_factory=list)
    # Entries whose leaf hash is not that of the tile; entries that cannot be read at all.
    differing: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def first(self) -> int:
        return self.index * TILE_WIDTH


def subtree_root(leaves: bytes) -> bytes:
    """Root over leaf hashes that stand end to end."""
    if len(leaves) == TILE_WIDTH * HASH_BYTES:
        return perfect_root(leaves)
    frontier = Frontier()
    for at in range(0, len(leaves), HASH_BYTES):
        frontier.append(leaves[at : at + HASH_BYTES])
    return frontier.root()


def read_file(root: str, path: str, max_bytes: int) -> bytes | str:
    """Return the bytes of a plain file, or the reason why there are none. Follows no link, waits for no pipe."""
    whole = os.path.join(root, path)
    try:
        found = os.lstat(whole)
        if not stat.S_ISREG(found.st_mode):
            return "is not a plain file"
        if found.st_size > max_bytes:
            return f"is too large: expected at most {max_bytes} bytes, got {found.st_size}"
        return Path(whole).read_bytes()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def pack_chunk(chunk: Chunk) -> bytes:
    """Spell a chunk out for the process that asked for it, which runs the same program: no format that anyone stores.

    Half of the cost of a chunk was handing its statements over as objects; as plain values it is a tenth.
    """
    entries: list[object] = []
    for entry in chunk.entries:
        if isinstance(entry, tuple):
            each, signature = entry
            entries.append(
                (
                    (each.raw, each.alg, each.kid, each.kind, each.iss, each.sub, each.iat_s, each.cti),
                    (each.payload, each.signature, each._protected_end, each.id),
                    signature,
                )
            )
        else:
            entries.append(None if entry is None else entry.encode())
    faults = [(int(fault.check), fault.message, fault.entry, fault.file) for fault in chunk.faults]
    numbers = (chunk.ctis, chunk.differing, chunk.unreadable)
    return marshal.dumps((chunk.index, chunk.width, chunk.leaves, chunk.root, chunk.tile, numbers, faults, entries), 2)


def unpack_chunk(packed: bytes) -> Chunk:
    """Return what `pack_chunk` was given."""
    index, width, leaves, root, tile, (ctis, differing, unreadable), faults, entries = marshal.loads(packed)
    chunk = Chunk(index, width, [], leaves, root, tile, ctis, differing, unreadable)
    chunk.faults = [Fault(Check(check), message, entry, file) for check, message, entry, file in faults]
    for entry in entries:
        if type(entry) is tuple:
            claims, rest, signature = entry
            chunk.entries.append((Statement(*claims, *rest), signature))
        else:
            chunk.entries.append(None if entry is None else _own_entry(entry))
    return chunk


def _own_entry(raw: bytes) -> BlockRecord | Genesis:
    entry = parse_entry(raw)
    if isinstance(entry, Statement):
        raise Misuse("a statement is not packed as bytes")
    return entry


class KnownKeys:
    """Keys by thumbprint, each parsed once: there may be more than are remembered everywhere else."""

    def __init__(self, cose_keys: Mapping[bytes, bytes]) -> None:
        self._cose_keys = cose_keys
        self._parsed: dict[bytes, PublicKey] = {}

    def get(self, kid: bytes) -> PublicKey | None:
        key = self._parsed.get(kid)
        if key is None:
            cose_key = self._cose_keys.get(kid)
            if cose_key is None:
                return None
            key = self._parsed[kid] = PublicKey.from_cose_key(cose_key)
        return key


def process(task: Task, keys: KnownKeys) -> Chunk:
    """Read, hash, parse and check one bundle."""
    chunk = Chunk(task.index, task.width)
    chunk.tile = _read_tile(task, chunk)
    entries = _read_entries(task, chunk)
    leaves = []
    for number in range(task.width):
        raw = entries[number]
        expected = chunk.tile[number * HASH_BYTES : (number + 1) * HASH_BYTES] if chunk.tile is not None else None
        if raw is None:
            chunk.unreadable.append(task.first + number)
            chunk.entries.append(None)
            chunk.ctis.append(0)
            leaves.append(expected or UNKNOWN_LEAF)
            continue
        parsed = _parse(chunk, task.first + number, raw, keys)
        leaf = parsed[0].id if isinstance(parsed, tuple) else leaf_hash(raw)
        leaves.append(leaf)
        if expected is not None and leaf != expected:
            chunk.differing.append(task.first + number)
        chunk.entries.append(parsed)
        chunk.ctis.append(cti_number(parsed[0]) if isinstance(parsed, tuple) else 0)
    chunk.leaves = b"".join(leaves)
    chunk.root = subtree_root(chunk.leaves)
    return chunk


def _read_tile(task: Task, chunk: Chunk) -> bytes | None:
    path = tile_path(0, task.index, task.width)
    data = read_file(task.directory, path, TILE_WIDTH * HASH_BYTES) if task.contents is None else task.contents[0]
    if isinstance(data, bytes) and len(data) != task.width * HASH_BYTES:
        data = f"has wrong length: expected {task.width * HASH_BYTES} bytes, got {len(data)}"
    if isinstance(data, str):
        if data != "is missing":  # what is missing is counted from the list of files
            chunk.faults.append(Fault(Check.FILES, data, file=path))
        return None
    return data


def _read_entries(task: Task, chunk: Chunk) -> list[bytes | None]:
    path = tile_path(ENTRIES, task.index, task.width)
    data = read_file(task.directory, path, MAX_BUNDLE_BYTES) if task.contents is None else task.contents[1]
    if isinstance(data, str):
        if data != "is missing":
            chunk.faults.append(Fault(Check.FILES, data, entry=task.first, file=path))
        return [None] * task.width
    entries = cut_bundle(data, task.width)
    if entries is None:
        entries = _cut_damaged_bundle(data, task, chunk, path)
    return entries


def with_contents(task: Task) -> Task:
    """The task with what it is about, to be done where the directory is not."""
    tile = read_file(task.directory, tile_path(0, task.index, task.width), TILE_WIDTH * HASH_BYTES)
    bundle = read_file(task.directory, tile_path(ENTRIES, task.index, task.width), MAX_BUNDLE_BYTES)
    return Task("", task.index, task.width, (tile, bundle))


def cut_bundle(data: bytes, count: int) -> list[bytes | None] | None:
    """Return the entries of a bundle of exactly ``count``, or None if the lengths do not add up."""
    entries: list[bytes | None] = []
    position = 0
    for _ in range(count):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data):
            return None
        entries.append(data[start:position])
    return entries if position == len(data) else None


def _cut_damaged_bundle(data: bytes, task: Task, chunk: Chunk, path: str) -> list[bytes | None]:
    """Cut a bundle whose lengths do not add up, by what the leaf hashes say the entries are.

    A length of which one byte was altered is found by trying the others; past anything worse, nothing can be read.
    """
    entries: list[bytes | None] = []
    position = 0
    for number in range(task.width):
        expected = None if chunk.tile is None else chunk.tile[number * HASH_BYTES : (number + 1) * HASH_BYTES]
        stated = int.from_bytes(data[position : position + 2], "big")
        raw = data[position + 2 : position + 2 + stated]
        if expected is None or len(raw) != stated or leaf_hash(raw) != expected:
            rest = cut_bundle(data[position:], task.width - number)
            if rest is not None:  # the lengths add up from here: only contents differ
                return entries + rest
            found = _find_length(data[position + 2 :], stated, expected)
            if found is None:
                entry = task.first + number
                message = f"bundle cannot be cut into entries {entry} to {task.first + task.width - 1}: lengths differ"
                chunk.faults.append(Fault(Check.FILES, message, entry=entry, file=path))
                return entries + [None] * (task.width - number)
            message = f"length of the entry is altered: expected {found} bytes, got {stated}"
            chunk.faults.append(Fault(Check.FILES, message, entry=task.first + number, file=path))
            raw = data[position + 2 : position + 2 + found]
        entries.append(raw)
        position += 2 + len(raw)
    if position != len(data):
        message = f"bytes follow the last entry: expected {position} bytes, got {len(data)}"
        chunk.faults.append(Fault(Check.FILES, message, entry=task.first + task.width - 1, file=path))
    return entries


def _find_length(data: bytes, stated: int, expected: bytes | None) -> int | None:
    if expected is None:
        return None
    high, low = stated & 0xFF00, stated & 0x00FF
    candidates = [high | byte for byte in range(256)] + [byte << 8 | low for byte in range(256)]
    for length in candidates:
        if length <= len(data) and leaf_hash(data[:length]) == expected:
            return length
    return None


def _parse(chunk: Chunk, index: int, raw: bytes, keys: KnownKeys) -> Parsed:
    try:
        entry = parse_entry(raw)
    except LedgerError as error:
        chunk.faults.append(Fault(Check.ENTRIES, f"entry cannot be read: {error}", entry=index))
        return None
    if not isinstance(entry, Statement):
        return entry
    key = keys.get(entry.kid)
    if key is None:
        message = f"no key with thumbprint {entry.kid.hex()} was ever enrolled"
        chunk.faults.append(Fault(Check.SIGNATURES, message, entry=index))
        return entry, KEY_UNKNOWN
    try:
        verify_statement(entry, key)
    except (Untrue, Malformed) as error:
        chunk.faults.append(Fault(Check.SIGNATURES, f"statement of {entry.iss}: {error}", entry=index))
        return entry, SIGNATURE_BAD
    return entry, SIGNATURE_VALID


def read_first_entry(task: Task) -> bytes | None:
    """Return the first entry of a bundle, ahead of its turn and without telling faults."""
    scratch = Chunk(task.index, task.width)
    scratch.tile = _read_tile(task, scratch)
    return _read_entries(task, scratch)[0]


def harvest_keys(task: Task) -> dict[bytes, bytes]:
    """Return every COSE_Key that a statement about keys or the genesis in this bundle carries, by thumbprint.

    Whether it was rightly enrolled is not asked here. Most bundles hold none and are only searched for the markers.
    """
    keys: dict[bytes, bytes] = {}
    data = read_file(task.directory, tile_path(ENTRIES, task.index, task.width), MAX_BUNDLE_BYTES)
    if isinstance(data, str) or (task.index and not _may_carry_keys(data)):
        return keys
    # The lengths may be damaged: then the entries are found again with the tile's help, and the faults told elsewhere.
    scratch = Chunk(task.index, task.width)
    scratch.tile = _read_tile(task, scratch)
    for number, raw in enumerate(_read_entries(task, scratch)):
        if raw is None or ((task.index or number) and not _may_carry_keys(raw)):
            continue
        try:
            entry = parse_entry(raw)
        except LedgerError:
            continue
        found: list[object] = []
        if isinstance(entry, Genesis):
            found = [authority.registrar_key for authority in entry.authorities]
        elif isinstance(entry, Statement):
            found = list(_values(entry.payload))
        for value in found:
            if isinstance(value, bytes):
                _add_key(keys, value)
    return keys


def _may_carry_keys(data: bytes) -> bool:
    return any(marker in data for marker in KEY_MARKERS)


def _values(value: object) -> Iterator[object]:
    """Everything in a payload, however deep: `MAX_CBOR_DEPTH` bounds it."""
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _values(member)
    else:
        yield value


def _add_key(keys: dict[bytes, bytes], cose_key: bytes) -> None:
    try:
        keys[PublicKey.from_cose_key(cose_key).kid] = cose_key
    except Malformed:
        return  # bytes that are no key


def cti_number(statement: Statement) -> int:
    """64 bits that tell (issuer, cti) pairs apart, nearly always."""
    return int.from_bytes(sha256(statement.cti + statement.iss.encode()).digest()[:8], "big")

"""A crossing certificate: everything about one movement that a court, a bank or a carrier will ask for, in one file.

    certificate = ["comity.crossing.v1", mrn, checkpoint, hashes, entries, record]        deterministic CBOR
    entries     = [[index, bytes], ...]      by index: the genesis record; the statements about the movement, but
                                             positions, and about its declarations; the block record of each of them
    hashes      = the hashes of one `ledger.multiproof` for all entries, end to end
    record      = null, or [value, state proof] of the movement's own record under the checkpoint's last block

All entries are proven in the tree of the one checkpoint, a note that both authorities cosigned. Block records say when
each statement was put on the ledger; cosignatures say when each side vouched for all of it.

Promises: one spelling (`encode(parse(x)) == x`, or x is malformed); limits before parsing; the same bytes from an
archive and from a gateway for the same checkpoint, entries and record. `contracts.certificate_check` verifies.

Does not: hold positions (there are thousands) or attachments, or what opens private fields: commitments stay closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contracts.catalogue import kind_parts
from contracts.crossing_story import DECLARATION, ESCORT, told_in_a_certificate
from contracts.identifiers import IdentifierError, parse_mrn
from ledger.cbor import decode, encode
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import LedgerError, Malformed, Misuse
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE, TileReader, leaf_hash
from ledger.multiproof import multiproof
from ledger.note import MAX_NOTE_BYTES
from ledger.statement import Statement
from ledger.tiles import MAX_ENTRY_BYTES

TAG = "comity.crossing.v1"
# How a file begins: an array of six, the tag first.
START = b"\x86" + encode(TAG)
MEDIA_TYPE = "application/vnd.comity.crossing+cbor"
SUFFIX = ".crossing"
MAX_CERTIFICATE_BYTES = 4 * 1024 * 1024
MAX_CERTIFICATE_ENTRIES = 2048
MAX_CERTIFICATE_RECORD_BYTES = 256 * 1024
_CODE = "bad_certificate"

Entry = Genesis | Statement | BlockRecord


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as the file has it; nothing of it is verified. `entries` are those of `raw_entries`, parsed."""

    mrn: str
    checkpoint_note: bytes
    hashes: tuple[bytes, ...]
    raw_entries: tuple[tuple[int, bytes], ...]
    record: tuple[bytes, bytes] | None
    entries: tuple[tuple[int, Entry], ...]

    @property
    def genesis(self) -> Genesis:
        first = self.entries[0][1]
        if not isinstance(first, Genesis):  # parsing saw to it
            raise Malformed(_CODE, "the first entry is not the genesis record")
        return first

    @property
    def statements(self) -> tuple[tuple[int, Statement], ...]:
        return tuple((index, entry) for index, entry in self.entries if isinstance(entry, Statement))

    @property
    def block_records(self) -> tuple[tuple[int, BlockRecord], ...]:
        return tuple((index, entry) for index, entry in self.entries if isinstance(entry, BlockRecord))

    def leaves(self) -> dict[int, bytes]:
        return {index: leaf_hash(raw) for index, raw in self.raw_entries}

    def encode(self) -> bytes:
        """The file."""
        hashes = b"".join(self.hashes)
        return encode((TAG, self.mrn, self.checkpoint_note, hashes, self.raw_entries, self.record))


def belongs(statement: Statement, mrn: str, declarations: Iterable[str]) -> bool:
    """Whether a statement is part of the certificate of a movement with these declarations."""
    if not told_in_a_certificate(statement.kind):
        return False
    contract = kind_parts(statement.kind)[0]
    return (contract == ESCORT and statement.sub == mrn) or (contract == DECLARATION and statement.sub in declarations)


def make_certificate(
    mrn: str,
    checkpoint_note: bytes,
    size: int,
    entries: Mapping[int, bytes],
    read_tile: TileReader,
    record: tuple[bytes, bytes] | None = None,
) -> bytes:
    """The certificate of these entries of the log of `size`. Misuse if they make none. Nothing is verified."""
    indexes = sorted(entries)
    hashes = multiproof(indexes, size, read_tile)
    raw_entries = tuple((index, entries[index]) for index in indexes)
    raw = Certificate(mrn, checkpoint_note, tuple(hashes), raw_entries, record, ()).encode()
    try:
        parse_certificate(raw)
    except Malformed as error:
        raise Misuse(f"no such certificate can be: {error}") from error
    return raw


def parse_certificate(raw: bytes) -> Certificate:
    """Malformed for anything but the one spelling of a certificate. Nothing is verified."""
    value = decode(raw, max_bytes=MAX_CERTIFICATE_BYTES)
    if not isinstance(value, list) or len(value) != 6 or value[0] != TAG:
        raise Malformed(_CODE, f"expected [{TAG}, mrn, checkpoint, hashes, entries, record]")
    _, mrn, note, hashes, entries, record = value
    if not isinstance(mrn, str):
        raise Malformed(_CODE, "expected the mrn as text")
    try:
        parse_mrn(mrn)
    except IdentifierError as error:
        raise Malformed(_CODE, f"mrn: {error}") from error
    if not isinstance(note, bytes) or len(note) > MAX_NOTE_BYTES:
        raise Malformed(_CODE, f"expected the checkpoint as at most {MAX_NOTE_BYTES} bytes")
    if not isinstance(hashes, bytes) or len(hashes) % HASH_BYTES:
        raise Malformed(_CODE, f"expected the hashes as bytes, {HASH_BYTES} each")
    raw_entries = _raw_entries(entries)
    return Certificate(
        mrn,
        note,
        tuple(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)),
        raw_entries,
        _record(record),
        _parsed(raw_entries),
    )


def _raw_entries(value: object) -> tuple[tuple[int, bytes], ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CERTIFICATE_ENTRIES:
        raise Malformed(_CODE, f"expected 1 to {MAX_CERTIFICATE_ENTRIES} entries")
    entries: list[tuple[int, bytes]] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Malformed(_CODE, "expected each entry as [index, bytes]")
        index, raw = pair
        if type(index) is not int or not 0 <= index < MAX_TREE_SIZE or (entries and index <= entries[-1][0]):
            raise Malformed(_CODE, f"expected entries by rising index, got {index!r:.40}")
        if not isinstance(raw, bytes) or len(raw) > MAX_ENTRY_BYTES:
            raise Malformed(_CODE, f"entry {index}: expected at most {MAX_ENTRY_BYTES} bytes")
        entries.append((index, raw))
    return tuple(entries)


def _parsed(raw_entries: Sequence[tuple[int, bytes]]) -> tuple[tuple[int, Entry], ...]:
    entries: list[tuple[int, Entry]] = []
    for index, raw in raw_entries:
        try:
            entry = parse_entry(raw)
        except LedgerError as error:
            raise Malformed(_CODE, f"entry {index}: {error}") from error
        if isinstance(entry, Genesis) != (index == 0):
            raise Malformed(_CODE, f"entry {index}: expected the genesis record at index 0, and nowhere else")
        entries.append((index, entry))
    if entries[0][0] != 0:
        raise Malformed(_CODE, f"expected the genesis record first, got entry {entries[0][0]}")
    return tuple(entries)


def _record(value: object) -> tuple[bytes, bytes] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2:
        record, proof = value
        if isinstance(record, bytes) and isinstance(proof, bytes) and len(record) <= MAX_CERTIFICATE_RECORD_BYTES:
            return record, proof
    raise Malformed(
        _CODE, f"expected null or [record, proof], a record of at most {MAX_CERTIFICATE_RECORD_BYTES} bytes"
    )

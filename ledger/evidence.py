"""Evidence: signed heads of one log that cannot all be true, or that vouch for an entry that no rule of a log allows.

A bundle is one file, deterministic CBOR, that a third party verifies with the policies alone: no ledger, no archive, no
network. `docs/formats.md` has the format, ADR 0040 what can be proven so and what cannot. This module is the format;
`ledger.evidence_check` judges.

Promises: one bundle has one spelling; `decode` accepts exactly what `encode` writes. Sizes and counts are limited
before anything is parsed. A bundle's id is the SHA-256 of its bytes.

Does not: believe anything that stands in a bundle, nor say that it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from hashlib import sha256

from ledger import cbor
from ledger.algorithms import MAX_COSE_KEY_BYTES
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import Malformed, Misuse
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE
from ledger.note import MAX_NOTE_BYTES, parse_note
from ledger.proof import MAX_PROOF_HASHES
from ledger.tiles import MAX_ENTRY_BYTES

EVIDENCE_TYPE = "comity.evidence.v1"
MEDIA_TYPE = "application/vnd.comity.evidence+cbor"
SUFFIX = ".evidence"
MAX_EVIDENCE_BYTES = 1024 * 1024
MAX_EVIDENCE_ITEMS = 1024
MAX_SHOWN_ENTRIES = 2  # of one head
_TYPE = cbor.encode("type") + cbor.encode(EVIDENCE_TYPE)
# Only a key and a path, both of limited length, are spelled before the type.
_TYPE_WITHIN_BYTES = 8 * 1024


class Claim(Enum):
    """What a bundle shows. The values are in files: they never change."""

    TWO_ROOTS = "two_roots"
    INCONSISTENT_TREES = "inconsistent_trees"
    BLOCK_END = "block_end"
    BLOCK_PREVIOUS = "block_previous"
    BLOCK_HEIGHT = "block_height"
    BLOCK_TIME = "block_time"
    STATEMENT_SIGNATURE = "statement_signature"
    CTI_TWICE = "cti_twice"
    SECOND_GENESIS = "second_genesis"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Claim.TWO_ROOTS: "two roots were signed for one size of the log",
    Claim.INCONSISTENT_TREES: "the smaller tree that was signed is not the beginning of the larger one",
    Claim.BLOCK_END: "a block record stands where its block does not end",
    Claim.BLOCK_PREVIOUS: "a block record does not follow the entry before its block",
    Claim.BLOCK_HEIGHT: "the height of a block is not the next one",
    Claim.BLOCK_TIME: "the time of a block goes back",
    Claim.STATEMENT_SIGNATURE: "a statement stands on the log that its key did not sign",
    Claim.CTI_TWICE: "one issuer's statement, or its cti, stands on the log twice",
    Claim.SECOND_GENESIS: "a genesis record stands after the beginning of the log",
}
CONFLICTS = frozenset({Claim.TWO_ROOTS, Claim.INCONSISTENT_TREES})
# How many entries the one head of a bad entry shows.
SHOWN = {
    Claim.BLOCK_END: 1,
    Claim.BLOCK_PREVIOUS: 2,
    Claim.BLOCK_HEIGHT: 2,
    Claim.BLOCK_TIME: 2,
    Claim.STATEMENT_SIGNATURE: 1,
    Claim.CTI_TWICE: 2,
    Claim.SECOND_GENESIS: 1,
}


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An entry, and the path that leads from it to the root of the head that shows it."""

    index: int
    raw: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class SignedHead:
    """A checkpoint note as somebody signed it, and entries of its tree."""

    note: bytes
    entries: tuple[ShownEntry, ...] = ()

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """As the note states it; whose signature it carries is not asked here. Raises Malformed."""
        return parse_checkpoint(parse_note(self.note).text)


@dataclass(frozen=True)
class Evidence:
    """A claim, and what shows it.

    Of `inconsistent_trees`, `path` leads to the root of the larger tree, and shows `prefix_root` to be the root of its
    beginning. `key`, of a bad signature: the COSE_Key whose thumbprint the statement names.
    """

    claim: Claim
    heads: tuple[SignedHead, ...]
    prefix_root: bytes = b""
    path: tuple[bytes, ...] = ()
    key: bytes = b""

    @property
    def origin(self) -> str:
        return self.heads[0].checkpoint.origin

    @cached_property
    def id(self) -> str:
        """In lower-case hexadecimal digits."""
        return sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """The bundle. Misuse if it breaks a rule of the format."""
        raw = self._spell()
        try:
            decode_evidence(raw)
        except Malformed as error:
            raise Misuse(f"no such evidence can be: {error}") from error
        return raw

    def _spell(self) -> bytes:
        members: dict[str, cbor.Encodable] = {
            "type": EVIDENCE_TYPE,
            "claim": self.claim.value,
            "heads": [
                {
                    "note": head.note,
                    "entries": [{"index": each.index, "entry": each.raw, "path": each.path} for each in head.entries],
                }
                for head in self.heads
            ],
        }
        if self.prefix_root:
            members |= {"prefix_root": self.prefix_root, "path": self.path}
        if self.key:
            members["key"] = self.key
        return cbor.encode(members)


def is_evidence(data: bytes) -> bool:
    """Whether the bytes begin as a bundle does: only to tell it from files of other kinds."""
    return data[:1] in (b"\xa3", b"\xa4", b"\xa5") and _TYPE in data[:_TYPE_WITHIN_BYTES]


def decode_evidence(data: bytes) -> Evidence:
    """The bundle that the bytes spell; Malformed if they are none."""
    value = cbor.decode(data, max_bytes=MAX_EVIDENCE_BYTES, max_items=MAX_EVIDENCE_ITEMS)
    members = _members(value, "evidence", {"type", "claim", "heads"}, {"prefix_root", "path", "key"})
    if members["type"] != EVIDENCE_TYPE:
        raise _bad(f"type is wrong: expected {EVIDENCE_TYPE}, got {members['type']!r:.80}")
    try:
        claim = Claim(members["claim"])
    except ValueError as error:
        raise _bad(f"no claim of this release: got {members['claim']!r:.80}") from error
    heads = tuple(_head(each) for each in _array(members["heads"], "heads", 2))
    evidence = Evidence(
        claim,
        heads,
        _octets(members["prefix_root"], "prefix_root", HASH_BYTES) if "prefix_root" in members else b"",
        _path(members["path"]) if "path" in members else (),
        _octets(members["key"], "key", None) if "key" in members else b"",
    )
    _check_shape(evidence, members.keys())
    return evidence


def _check_shape(evidence: Evidence, names: Collection[str | int]) -> None:
    """What a claim needs is there, and nothing that it does not use: so the same claim has one spelling."""
    claim, heads = evidence.claim, evidence.heads
    optional = {"prefix_root", "path", "key"} & {str(name) for name in names}
    expected = {
        Claim.INCONSISTENT_TREES: {"prefix_root", "path"},
        Claim.STATEMENT_SIGNATURE: {"key"},
    }.get(claim, set())
    if optional != expected:
        raise _bad(f"{claim.value} is shown by {sorted(expected) or 'its heads'}: got {sorted(optional)}")
    if len(evidence.key) > MAX_COSE_KEY_BYTES:
        raise _bad(f"key is too long: expected at most {MAX_COSE_KEY_BYTES} bytes, got {len(evidence.key)}")
    if len(heads) != (2 if claim in CONFLICTS else 1):
        raise _bad(f"{claim.value} has the wrong number of heads: got {len(heads)}")
    for head in heads:
        indexes = [each.index for each in head.entries]
        if sorted(set(indexes)) != indexes:
            raise _bad("entries of a head are not in order")
        if any(index >= head.checkpoint.size for index in indexes):
            raise _bad("an entry is not in the tree of its head")
    if claim in SHOWN:
        if len(heads[0].entries) != SHOWN[claim]:
            raise _bad(f"{claim.value} shows {SHOWN[claim]} entries: got {len(heads[0].entries)}")
        return
    for head in heads:
        # The record of the last block, by which people see what the two differ in.
        if [each.index for each in head.entries] not in ([], [head.checkpoint.size - 1]):
            raise _bad(f"{claim.value} shows the last entry of a head, or none")
    places = [(head.checkpoint.size, head.checkpoint.root) for head in heads]
    if sorted(places) != places or places[0][0] < 1:
        raise _bad("heads are not in order: the smaller size first, of one size the smaller root")
    if (places[0][0] == places[1][0]) != (claim is Claim.TWO_ROOTS):
        raise _bad(f"{claim.value} has the wrong sizes: got {places[0][0]} and {places[1][0]}")


def _head(value: cbor.Value) -> SignedHead:
    members = _members(value, "head", {"note", "entries"})
    note = _octets(members["note"], "note", None)
    if len(note) > MAX_NOTE_BYTES:
        raise _bad(f"note is too long: expected at most {MAX_NOTE_BYTES} bytes, got {len(note)}")
    head = SignedHead(note, tuple(_entry(each) for each in _array(members["entries"], "entries", MAX_SHOWN_ENTRIES)))
    _ = head.checkpoint  # Malformed unless it is one
    return head


def _entry(value: cbor.Value) -> ShownEntry:
    members = _members(value, "entry", {"index", "entry", "path"})
    index = members["index"]
    if type(index) is not int or not 0 <= index <= MAX_TREE_SIZE:
        raise _bad(f"index is wrong: expected 0 to 2^63-1, got {index!r:.40}")
    raw = _octets(members["entry"], "entry", None)
    if len(raw) > MAX_ENTRY_BYTES:
        raise _bad(f"entry is too long: expected at most {MAX_ENTRY_BYTES} bytes, got {len(raw)}")
    return ShownEntry(index, raw, _path(members["path"]))


def _path(value: cbor.Value) -> tuple[bytes, ...]:
    return tuple(_octets(each, "hash of a path", HASH_BYTES) for each in _array(value, "path", MAX_PROOF_HASHES))


def _members(
    value: cbor.Value, what: str, required: Collection[str], optional: Collection[str] = ()
) -> dict[str | int, cbor.Value]:
    if type(value) is not dict:
        raise _bad(f"{what} must be a map: got {type(value).__name__}")
    strangers = [key for key in value if key not in required and key not in optional]
    missing = [key for key in required if key not in value]
    if strangers or missing:
        raise _bad(f"{what} has other members: missing {sorted(missing)}, not known {strangers!r:.80}")
    return value


def _array(value: cbor.Value, what: str, most: int) -> Sequence[cbor.Value]:
    if type(value) is not list or len(value) > most:
        raise _bad(f"{what} must be an array of at most {most}")
    return value


def _octets(value: cbor.Value, what: str, length: int | None) -> bytes:
    if type(value) is not bytes or not value or (length is not None and len(value) != length):
        raise _bad(f"{what} must be {'bytes' if length is None else f'{length} bytes'}: got {value!r:.40}")
    return value


def _bad(message: str) -> Malformed:
    return Malformed("bad_evidence", message)

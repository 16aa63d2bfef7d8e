"""What an audit leaves behind for the next one, so that it need not begin at the first entry again.

A file of the auditor's own, to be kept as the policy file is. It is believed for one thing that nothing else can show:
that the entries before its checkpoint were audited and had no fault. Everything else in it is held against the archive
that is audited next, before anything is taken from it: its checkpoint must be the beginning of the archive's tree (a
consistency proof, computed from the tiles), the genesis record and the last block record must stand in that tree where
the file says, and the records of the state must come to the state root of that block record. It goes with one program
and one policy only: what another release or other rules would find in the earlier entries, nobody has looked for.

    comity audit state 1 LF
    length in four bytes, then that many bytes of deterministic CBOR: the header
    for each statement, eight bytes each: entry, half of its id's first half, the number of its issuer and cti
    for each record of the state, in the order of the map: length in two bytes, key, length in four bytes, value
    SHA-256 of all before

Promises: only an audit that found no fault is saved; the file is there whole or not at all; what was damaged is told.
Memory does not grow with it. Does not: protect the file; whoever alters it can do so so that its hash is right.
"""

from __future__ import annotations

import os
import stat
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from ledger import cbor
from ledger.algorithms import PublicKey
from ledger.archive_tree import ArchiveTree
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, TILE_WIDTH, Frontier, leaf_hash, verify_consistency, verify_inclusion
from ledger.statemap import MAX_STATE_KEY_BYTES, MAX_STATE_VALUE_BYTES

MAGIC = b"comity audit state 1\n"
MAX_SAVED_HEADER_BYTES = 64 * 1024 * 1024  # most of it the keys of participants
NUMBERS = 3
NUMBER_BYTES = 8
COPIED_NUMBERS = 8192
RECORDS_AT_ONCE = 4096


@dataclass(frozen=True)
class Header:
    """All but the numbers and the records. `upper`: the frontier over the whole bundles' roots."""

    program: str
    policy_sha256: bytes
    note: bytes  # the checkpoint, as it was signed
    origin: str
    size: int
    root: bytes
    genesis: bytes  # leaf hash of entry 0
    record: bytes  # the last block record, raw
    upper: tuple[bytes, ...]
    keys: tuple[bytes, ...]  # COSE_Keys that the entries enrol
    statements: int
    blocks: int
    records: int
    state_root: bytes

    @property
    def bundles(self) -> int:
        """Whole bundles that were audited."""
        return self.size // TILE_WIDTH

    def encode(self) -> bytes:
        return cbor.encode({name: getattr(self, name) for name in sorted(_TYPES)})

    @classmethod
    def decode(cls, data: bytes) -> Header:
        value = cbor.decode(data, max_bytes=MAX_SAVED_HEADER_BYTES, max_items=MAX_SAVED_HEADER_BYTES)
        if type(value) is not dict or value.keys() != _TYPES.keys():
            raise Malformed("bad_audit_state", "header of the saved audit has other members")
        members: dict[str, Any] = {str(name): each for name, each in value.items()}
        for name, kind in _TYPES.items():
            if type(members[name]) is not kind:
                raise Malformed("bad_audit_state", f"{name} of the saved audit must be {kind.__name__}")
        for name in ("upper", "keys"):
            if any(type(each) is not bytes for each in members[name]):
                raise Malformed("bad_audit_state", f"{name} of the saved audit must be bytes")
            members[name] = tuple(members[name])
        header = cls(**members)
        wrong = [name for name in ("root", "genesis", "state_root") if len(members[name]) != HASH_BYTES]
        if wrong or len(header.upper) != header.bundles.bit_count() or min(header.size, header.records) < 1:
            raise Malformed("bad_audit_state", "header of the saved audit does not fit together")
        return header

    def known_keys(self) -> dict[bytes, bytes]:
        """COSE_Keys by their thumbprints."""
        return {PublicKey.from_cose_key(each).kid: each for each in self.keys}


_TYPES: dict[str, type] = {
    "program": str,
    "policy_sha256": bytes,
    "note": bytes,
    "origin": str,
    "size": int,
    "root": bytes,
    "genesis": bytes,
    "record": bytes,
    "upper": list,
    "keys": list,
    "statements": int,
    "blocks": int,
    "records": int,
    "state_root": bytes,
}


def check_continues(header: Header, tree: ArchiveTree, size: int, root: bytes) -> None:
    """Raise Untrue or Malformed unless the archive's tree, of this size and root, goes on from the saved audit."""
    verify_consistency(header.size, header.root, size, root, tree.consistency_proof(header.size, size))
    last = header.size - 1
    if tree.entry(last) != header.record:
        raise Untrue("not_continued", f"entry {last} is not the block record that the saved audit ended with")
    verify_inclusion(last, size, leaf_hash(header.record), tree.inclusion_proof(last, size), root)
    verify_inclusion(0, size, header.genesis, tree.inclusion_proof(0, size), root)
    if leaf_hash(tree.entry(0)) != header.genesis:
        raise Untrue("not_continued", "entry 0 is not the genesis record of the saved audit")


class _Hashed:
    """A file that is hashed as it is written or read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = sha256()

    def write(self, data: bytes) -> None:
        self.hash.update(data)
        self._file.write(data)

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise Malformed("bad_audit_state", "the saved audit is cut short")
        self.hash.update(data)
        return data


def write_saved(
    path: Path, header: Header, numbers: Iterable[tuple[int, int, int]], records: Iterable[tuple[bytes, bytes]]
) -> None:
    """Write the file whole or not at all. Raises OSError."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            out = _Hashed(file)
            raw = header.encode()
            out.write(MAGIC + len(raw).to_bytes(4, "big") + raw)
            for each in numbers:
                out.write(b"".join(number.to_bytes(NUMBER_BYTES, "big") for number in each))
            for key, value in records:
                out.write(len(key).to_bytes(2, "big") + key + len(value).to_bytes(4, "big") + value)
            file.write(out.hash.digest())
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


class SavedAudit:
    """A file that was read as far as its header; the rest comes when it is asked for, in order."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, Malformed."""
        self._path = path
        if not stat.S_ISREG(path.stat().st_mode):
            raise Malformed("bad_audit_state", f"{path} is not a plain file")
        with path.open("rb") as file:
            self.header = self._read_header(_Hashed(file))

    def _read_header(self, file: _Hashed) -> Header:
        if file.read(len(MAGIC)) != MAGIC:
            raise Malformed("bad_audit_state", f"{self._path} is no saved audit")
        length = int.from_bytes(file.read(4), "big")
        if length > MAX_SAVED_HEADER_BYTES:
            raise Malformed(
                "too_large", f"header is too large: expected at most {MAX_SAVED_HEADER_BYTES} bytes, got {length}"
            )
        return Header.decode(file.read(length))

    def check_goes_with(self, program: str, policy: bytes) -> None:
        """Raise Misuse unless this program, under this policy, made the file."""
        if self.header.program != program:
            raise Misuse(
                f"{self._path} was saved by {self.header.program}, this is {program}: audit from the beginning"
            )
        if self.header.policy_sha256 != sha256(policy).digest():
            raise Misuse(f"{self._path} was saved under another policy: audit from the beginning")

    def restore(
        self,
        number: Callable[[int, int, int], None],
        records: Callable[[Mapping[str, bytes]], None],
    ) -> None:
        """Hand out everything; Malformed at the end if the file was damaged, so that nothing is concluded before."""
        with self._path.open("rb") as raw:
            file = _Hashed(raw)
            self._read_header(file)
            for numbers in self._numbers(file):
                number(*numbers)
            batch: dict[str, bytes] = {}
            for key, value in self._records(file):
                batch[key] = value
                if len(batch) == RECORDS_AT_ONCE:
                    records(batch)
                    batch = {}
            records(batch)
            expected = file.hash.digest()
            if raw.read(HASH_BYTES + 1) != expected:
                raise Malformed("bad_audit_state", f"{self._path} was damaged: its hash is not that at its end")

    def _numbers(self, file: _Hashed) -> Iterator[tuple[int, int, int]]:
        left = self.header.statements
        while left:
            count = min(left, COPIED_NUMBERS)
            numbers = array("Q")
            numbers.frombytes(file.read(count * NUMBERS * NUMBER_BYTES))
            if sys.byteorder == "little":
                numbers.byteswap()
            yield from zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
            left -= count

    def _records(self, file: _Hashed) -> Iterator[tuple[str, bytes]]:
        for _ in range(self.header.records):
            key_bytes = int.from_bytes(file.read(2), "big")
            if key_bytes > MAX_STATE_KEY_BYTES:
                raise Malformed("bad_audit_state", f"key of a saved record is too long: got {key_bytes} bytes")
            key = file.read(key_bytes)
            value_bytes = int.from_bytes(file.read(4), "big")
            if value_bytes > MAX_STATE_VALUE_BYTES:
                raise Malformed("bad_audit_state", f"value of a saved record is too long: got {value_bytes} bytes")
            try:
                yield key.decode(), file.read(value_bytes)
            except UnicodeDecodeError as error:
                raise Malformed("bad_audit_state", "key of a saved record is no utf-8") from error


def resumed_frontier(header: Header) -> Frontier:
    """Over the roots of the whole bundles."""
    return Frontier(header.bundles, header.upper)

"""What a carrier keeps: C2SP tlog-proof. It verifies offline, against a policy and the statement it is about.

Promises: a proof has one spelling; `verify_proof` checks in this order the checkpoint under the policy, then the path
from the leaf to its root, and believes nothing else that the proof carries.

Does not: read the entry itself. The extra data is not authenticated, and no decision here rests on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import Malformed, Misuse
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE, verify_inclusion
from ledger.note import MAX_NOTE_BYTES, decode_base64, encode_base64, parse_decimal, parse_note
from ledger.policy import Policy, verify_checkpoint

MAX_PROOF_HASHES = 63  # a tree has fewer than 2^63 leaves
MAX_EXTRA_BYTES = 64 * 1024
MAX_PROOF_BYTES = MAX_NOTE_BYTES + MAX_EXTRA_BYTES * 4 // 3 + 4 * 1024

_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """That some leaf stands at an index of the tree of a checkpoint."""

    index: int
    hashes: tuple[bytes, ...]  # the leaf's sibling first
    checkpoint_note: bytes
    extra: bytes | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as the proof states it, not verified."""
        return parse_checkpoint(parse_note(self.checkpoint_note).text)


def format_proof(proof: Proof) -> bytes:
    """Return the proof as a file. Misuse if it breaks a rule of the format."""
    data = _format(proof.index, proof.hashes, proof.checkpoint_note, proof.extra)
    try:
        parse_proof(data)
    except Malformed as error:
        raise Misuse(f"no such proof can be: {error}") from error
    return data


def _format(index: int, hashes: Sequence[bytes], checkpoint_note: bytes, extra: bytes | None) -> bytes:
    lines = [_HEADER]
    if extra is not None:
        lines.append(f"extra {encode_base64(extra)}")
    lines.append(f"index {index}")
    lines += map(encode_base64, hashes)
    return ("\n".join(lines) + "\n\n").encode() + checkpoint_note


def parse_proof(data: bytes) -> Proof:
    """Return the proof that the file is; Malformed unless it is its one spelling. Nothing is verified."""
    if len(data) > MAX_PROOF_BYTES:
        raise Malformed("too_large", f"proof is too large: expected at most {MAX_PROOF_BYTES} bytes, got {len(data)}")
    head, blank, checkpoint_note = data.partition(b"\n\n")
    if not blank:
        raise Malformed("bad_proof", "proof must have an empty line before its checkpoint")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise Malformed("bad_proof", "proof is not ascii before its checkpoint") from error
    if lines[0] != _HEADER:
        raise Malformed("bad_proof", f"first line is wrong: expected {_HEADER}, got {lines[0][:40]!r}")
    lines = lines[1:]
    try:
        extra = _parse_extra(lines.pop(0)) if lines and lines[0].startswith("extra ") else None
        if not lines or not lines[0].startswith("index "):
            raise Malformed("bad_proof", f"index line is missing: got {lines[:1]!r:.60}")
        index = parse_decimal(lines[0].removeprefix("index "), "index", MAX_TREE_SIZE - 1)
        if len(lines) - 1 > MAX_PROOF_HASHES:
            raise Malformed("bad_proof", f"too many hashes: expected at most {MAX_PROOF_HASHES}, got {len(lines) - 1}")
        hashes = tuple(decode_base64(line, "proof hash") for line in lines[1:])
    except Malformed as error:
        raise Malformed("bad_proof", error.args[0]) from error
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise Malformed("bad_proof", f"hash has wrong length: expected {HASH_BYTES} bytes, got {len(value)}")
    parse_checkpoint(parse_note(checkpoint_note).text)
    if _format(index, hashes, checkpoint_note, extra) != data:
        raise Malformed("bad_proof", "proof is not in its canonical form")
    return Proof(index, hashes, checkpoint_note, extra)


def _parse_extra(line: str) -> bytes:
    extra = decode_base64(line.removeprefix("extra "), "extra data")
    if not 1 <= len(extra) <= MAX_EXTRA_BYTES:
        raise Malformed("bad_proof", f"extra data must be 1 to {MAX_EXTRA_BYTES} bytes: got {len(extra)}")
    return extra


def verify_proof(proof: Proof, leaf_hash: bytes, policy: Policy) -> Checkpoint:
    """Return the checkpoint that vouches for the leaf; Untrue if the policy or the path says otherwise."""
    checkpoint = verify_checkpoint(proof.checkpoint_note, policy)
    verify_inclusion(proof.index, checkpoint.size, leaf_hash, proof.hashes, checkpoint.root)
    return checkpoint

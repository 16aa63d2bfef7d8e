"""Checkpoints: C2SP tlog-checkpoint, three lines, no extensions.

Promises: origin, size and root in their one spelling; the log's signature over them has note type 0x01 and the origin
as its key name.

Does not: carry extension lines. Cosigners would vouch for a line whose meaning nobody audits; they are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.errors import Malformed, Misuse
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE
from ledger.note import (
    ED25519,
    NoteSignature,
    NoteSigner,
    VerifierKey,
    decode_base64,
    encode_base64,
    is_key_name,
    parse_decimal,
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log's tree: which log, how many leaves, which root."""

    origin: str
    size: int
    root: bytes


def checkpoint_body(checkpoint: Checkpoint) -> str:
    """Return the note text, with its last newline."""
    if not is_key_name(checkpoint.origin):
        raise Misuse(f"origin must be usable as a key name: got {checkpoint.origin!r}")
    if not 0 <= checkpoint.size <= MAX_TREE_SIZE or len(checkpoint.root) != HASH_BYTES:
        raise Misuse(f"no such checkpoint: size {checkpoint.size}, root of {len(checkpoint.root)} bytes")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{encode_base64(checkpoint.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text is; Malformed unless it is exactly three lines in their one spelling."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise Malformed("bad_checkpoint", f"checkpoint must be three lines: got {len(lines) - 1}")
    origin, size_line, root_line, _ = lines
    if not is_key_name(origin):
        raise Malformed("bad_checkpoint", f"origin must be usable as a key name: got {origin[:80]!r}")
    try:
        size = parse_decimal(size_line, "tree size", MAX_TREE_SIZE)
        root = decode_base64(root_line, "root hash")
    except Malformed as error:
        raise Malformed("bad_checkpoint", error.args[0]) from error
    if len(root) != HASH_BYTES:
        raise Malformed("bad_checkpoint", f"root hash has wrong length: expected {HASH_BYTES} bytes, got {len(root)}")
    return Checkpoint(origin, size, root)


def log_verifier(origin: str, public_key: bytes) -> VerifierKey:
    """Return the key that a log signs its checkpoints with."""
    return VerifierKey(origin, ED25519, public_key)


def log_signature(signing_key: NoteSigner, checkpoint: Checkpoint) -> NoteSignature:
    """Return the log's signature line for a checkpoint."""
    body = checkpoint_body(checkpoint).encode()
    key = signing_key.verifier(checkpoint.origin, ED25519)
    return NoteSignature(key.name, key.key_id, signing_key.sign(body))

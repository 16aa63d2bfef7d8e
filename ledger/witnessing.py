"""What a log and a third party's witness say to each other: C2SP tlog-witness, `add-checkpoint`, the log's side of it.

Promises: a request is an old size, the consistency proof from there, an empty line and the checkpoint; an answer is
read with limits, and what a witness may not say is `Malformed`.

Does not: speak HTTP, or believe a cosignature: whoever knows the witness's key verifies it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import Malformed, Misuse
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE
from ledger.note import NoteSignature, encode_base64, parse_decimal, parse_note

SIZE_CONTENT_TYPE = "text/x.tlog.size"
MAX_PROOF_LINES = 63
MAX_ANSWER_BYTES = 256 * 1024
_ANY_TEXT = b"checkpoint\n\n"


def add_checkpoint_request(old_size: int, consistency: Sequence[bytes], note: bytes) -> bytes:
    """Return the body that asks a witness, which knows the log up to `old_size`, to cosign a checkpoint note."""
    if not 0 <= old_size <= MAX_TREE_SIZE or (old_size == 0 and consistency):
        raise Misuse(f"no such request: old size {old_size}, {len(consistency)} hashes")
    if len(consistency) > MAX_PROOF_LINES or any(len(value) != HASH_BYTES for value in consistency):
        raise Misuse(f"consistency proof: expected at most {MAX_PROOF_LINES} hashes of {HASH_BYTES} bytes")
    lines = [f"old {old_size}", *map(encode_base64, consistency)]
    return ("\n".join(lines) + "\n\n").encode() + note


def parse_witness_size(body: bytes) -> int:
    """Return the size that a witness says, with status 409, it has cosigned last."""
    if not body.endswith(b"\n") or len(body) > MAX_ANSWER_BYTES:
        raise Malformed("bad_witness_answer", f"expected a size and a newline, got {body[:40]!r}")
    try:
        return parse_decimal(body[:-1].decode("ascii"), "size of a witness", MAX_TREE_SIZE)
    except (UnicodeDecodeError, Malformed) as error:
        raise Malformed("bad_witness_answer", f"expected a size and a newline, got {body[:40]!r}") from error


def parse_witness_lines(body: bytes) -> tuple[NoteSignature, ...]:
    """Return the signature lines that a witness answers with, one or more."""
    if len(body) > MAX_ANSWER_BYTES - len(_ANY_TEXT):
        raise Malformed("bad_witness_answer", f"answer is too large: expected at most {MAX_ANSWER_BYTES} bytes")
    if b"\n\n" in body:
        raise Malformed("bad_witness_answer", "expected signature lines alone")
    try:
        return parse_note(_ANY_TEXT + body).signatures
    except Malformed as error:
        raise Malformed("bad_witness_answer", f"expected signature lines: {error.args[0]}") from error

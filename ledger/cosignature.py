"""Cosignatures: C2SP tlog-cosignature, version 1 with Ed25519 (note type 0x04).

Promises: a cosignature says that, as of its own time, its signer saw this tree as the largest consistent one of the
log. The time is inside what is signed.

Does not: know ML-DSA-44 cosignatures (note type 0x06), nor judge whether a time is plausible: who has a clock does.
"""

from __future__ import annotations

from ledger.checkpoint import Checkpoint, checkpoint_body
from ledger.errors import Malformed, Misuse
from ledger.note import COSIGNATURE_V1, NoteSignature, NoteSigner, VerifierKey

MAX_TIMESTAMP_S = (1 << 63) - 1
TIMESTAMP_BYTES = 8
SIGNATURE_BYTES = TIMESTAMP_BYTES + 64


def cosigned_message(body: str, timestamp_s: int) -> bytes:
    """Return what a cosigner signs: two lines, then the whole text of the checkpoint."""
    return f"cosignature/v1\ntime {timestamp_s}\n{body}".encode()


def cosign(signing_key: NoteSigner, name: str, checkpoint: Checkpoint, timestamp_s: int) -> NoteSignature:
    """Return the cosignature line of a named cosigner for a checkpoint, made at a time in Unix seconds."""
    if not 0 <= timestamp_s <= MAX_TIMESTAMP_S:
        raise Misuse(f"cosignature time is out of range: expected 0 to 2^63-1 s, got {timestamp_s}")
    key = signing_key.verifier(name, COSIGNATURE_V1)
    signature = signing_key.sign(cosigned_message(checkpoint_body(checkpoint), timestamp_s))
    return NoteSignature(name, key.key_id, timestamp_s.to_bytes(TIMESTAMP_BYTES, "big") + signature)


def cosignature_timestamp_s(signature: NoteSignature) -> int:
    """Return the time that a cosignature line claims, in Unix seconds; Malformed if the line cannot be one."""
    return _parse(signature)[0]


def _parse(signature: NoteSignature) -> tuple[int, bytes]:
    if len(signature.signature) != SIGNATURE_BYTES:
        length = len(signature.signature)
        raise Malformed(
            "bad_cosignature",
            f"cosignature of {signature.name} has wrong length: expected {SIGNATURE_BYTES} bytes, got {length}",
        )
    timestamp_s = int.from_bytes(signature.signature[:TIMESTAMP_BYTES], "big")
    if timestamp_s > MAX_TIMESTAMP_S:
        raise Malformed("bad_cosignature", f"time of the cosignature of {signature.name} exceeds 2^63-1 s")
    return timestamp_s, signature.signature[TIMESTAMP_BYTES:]


def cosigner_verifier(name: str, public_key: bytes) -> VerifierKey:
    """Return the key under which a cosigner's lines are known."""
    return VerifierKey(name, COSIGNATURE_V1, public_key)


def verify_cosignature(key: VerifierKey, body: str, signature: NoteSignature) -> int:
    """Return the time, in Unix seconds, of this key's cosignature of a checkpoint text; Untrue unless it is one."""
    if key.algorithm != COSIGNATURE_V1:
        raise Misuse(f"key of {key.name} is no cosigner's: expected type 0x04, got {key.algorithm:#04x}")
    timestamp_s, bare = _parse(signature)
    key.verify(cosigned_message(body, timestamp_s), bare)
    return timestamp_s

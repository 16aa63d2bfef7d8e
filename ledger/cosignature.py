"""Cosignatures: C2SP tlog-cosignature, with Ed25519 (note type 0x04) and with ML-DSA-44 (note type 0x06).

Promises: a cosignature says that, as of its own time, its signer saw this tree as the largest consistent one of the
log. The time is inside what is signed. One of ML-DSA-44 also commits to its signer's name; its time may be 0, and then
it says that the tree is consistent with all that its signer saw, and not when.

Does not: sign or check subtrees that do not begin at the first leaf, nor judge whether a time is plausible: who has a
clock does.
"""

from __future__ import annotations

from ledger.algorithms import eddsa, mldsa44
from ledger.checkpoint import Checkpoint, checkpoint_body, parse_checkpoint
from ledger.errors import Malformed, Misuse
from ledger.note import COSIGNATURE_V1, SUBTREE_V1, NoteSignature, NoteSigner, VerifierKey, is_key_name

MAX_TIMESTAMP_S = (1 << 63) - 1
TIMESTAMP_BYTES = 8
# What follows the key id in a line, by the type of its key.
LINE_BYTES = {
    COSIGNATURE_V1: TIMESTAMP_BYTES + eddsa.SIGNATURE_BYTES,
    SUBTREE_V1: TIMESTAMP_BYTES + mldsa44.SIGNATURE_BYTES,
}
_SUBTREE_LABEL = b"subtree/v1\n\0"


def cosigned_message(body: str, timestamp_s: int) -> bytes:
    """Return what a cosigner signs with Ed25519: two lines, then the whole text of the checkpoint."""
    return f"cosignature/v1\ntime {timestamp_s}\n{body}".encode()


def subtree_message(name: str, timestamp_s: int, checkpoint: Checkpoint) -> bytes:
    """Return what a cosigner signs with ML-DSA-44: the whole tree as the subtree from its first leaf on."""
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    start, end = (0).to_bytes(8, "big"), checkpoint.size.to_bytes(8, "big")
    return b"".join(
        (
            _SUBTREE_LABEL,
            bytes((len(cosigner),)),
            cosigner,
            timestamp_s.to_bytes(TIMESTAMP_BYTES, "big"),
            bytes((len(origin),)),
            origin,
            start,
            end,
            checkpoint.root,
        )
    )


def cosign(signing_key: NoteSigner, name: str, checkpoint: Checkpoint, timestamp_s: int) -> NoteSignature:
    """Return the Ed25519 cosignature line of a cosigner for a checkpoint, made at a time in Unix seconds."""
    _check_time(timestamp_s)
    key = signing_key.verifier(name, COSIGNATURE_V1)
    signature = signing_key.sign(cosigned_message(checkpoint_body(checkpoint), timestamp_s))
    return NoteSignature(name, key.key_id, timestamp_s.to_bytes(TIMESTAMP_BYTES, "big") + signature)


class MlDsaCosigner:
    """An ML-DSA-44 private key of a cosigner. The name goes in with each signature."""

    __slots__ = ("_signer",)

    def __init__(self, seed: bytes) -> None:
        self._signer = mldsa44.Signer(seed)

    @classmethod
    def generate(cls) -> MlDsaCosigner:
        """Make a new key."""
        cosigner = cls.__new__(cls)
        cosigner._signer = mldsa44.Signer.generate()
        return cosigner

    @classmethod
    def from_pem(cls, pem: bytes) -> MlDsaCosigner:
        """Read a key from unencrypted PKCS #8; Malformed if it is not ML-DSA-44."""
        cosigner = cls.__new__(cls)
        cosigner._signer = mldsa44.Signer.from_pem(pem)
        return cosigner

    def to_pem(self) -> bytes:
        """Return the key as unencrypted PKCS #8; whoever stores it guards it."""
        return self._signer.to_pem()

    def verifier(self, name: str) -> VerifierKey:
        """Return the public key under the name of its cosigner."""
        if not is_key_name(name):
            raise Misuse(f"no such key name: {name!r}")
        return VerifierKey(name, SUBTREE_V1, self._signer.material)

    def cosign(self, name: str, checkpoint: Checkpoint, timestamp_s: int) -> NoteSignature:
        """Return the cosignature line for a checkpoint, made at a time in Unix seconds; 0: it does not say when."""
        _check_time(timestamp_s)
        checkpoint_body(checkpoint)  # Misuse if there can be no such checkpoint
        key = self.verifier(name)
        signature = self._signer.sign(subtree_message(name, timestamp_s, checkpoint))
        return NoteSignature(name, key.key_id, timestamp_s.to_bytes(TIMESTAMP_BYTES, "big") + signature)

    def __repr__(self) -> str:
        return f"MlDsaCosigner(public_key={self._signer.material[:8].hex()}...)"


def _check_time(timestamp_s: int) -> None:
    if not 0 <= timestamp_s <= MAX_TIMESTAMP_S:
        raise Misuse(f"cosignature time is out of range: expected 0 to 2^63-1 s, got {timestamp_s}")


def cosignature_timestamp_s(signature: NoteSignature) -> int:
    """Return the time that a cosignature line claims, in Unix seconds; Malformed if the line cannot be one."""
    return _parse(signature, *LINE_BYTES.values())[0]


def _parse(signature: NoteSignature, *lengths: int) -> tuple[int, bytes]:
    if len(signature.signature) not in lengths:
        length, expected = len(signature.signature), " or ".join(map(str, lengths))
        raise Malformed(
            "bad_cosignature",
            f"cosignature of {signature.name} has wrong length: expected {expected} bytes, got {length}",
        )
    timestamp_s = int.from_bytes(signature.signature[:TIMESTAMP_BYTES], "big")
    if timestamp_s > MAX_TIMESTAMP_S:
        raise Malformed("bad_cosignature", f"time of the cosignature of {signature.name} exceeds 2^63-1 s")
    return timestamp_s, signature.signature[TIMESTAMP_BYTES:]


def cosigner_verifier(name: str, public_key: bytes) -> VerifierKey:
    """Return the key under which a cosigner's Ed25519 lines are known."""
    return VerifierKey(name, COSIGNATURE_V1, public_key)


def verify_cosignature(key: VerifierKey, body: str, signature: NoteSignature) -> int:
    """Return the time, in Unix seconds, of this key's cosignature of a checkpoint text; Untrue unless it is one."""
    expected_bytes = LINE_BYTES.get(key.algorithm)
    if expected_bytes is None:
        raise Misuse(f"key of {key.name} is no cosigner's: expected type 0x04 or 0x06, got {key.algorithm:#04x}")
    timestamp_s, bare = _parse(signature, expected_bytes)
    if key.algorithm == SUBTREE_V1:
        message = subtree_message(key.name, timestamp_s, parse_checkpoint(body))
    else:
        message = cosigned_message(body, timestamp_s)
    key.verify(message, bare)
    return timestamp_s

"""ML-DSA-44 (FIPS 204), by OpenSSL through pyca/cryptography: what cosignatures of note type 0x06 are made with.

Promises: signatures that stand when somebody has a quantum computer; keys are 32 bytes of seed, kept as PKCS #8.
Signing is hedged, as FIPS 204 recommends, so that the same message signed twice gives two signatures, both good.

Does not: take part in statements. It is no COSE algorithm of `ledger.algorithms`: a signature is 38 times as long as
one of Ed25519, and every statement is kept for ever.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from ledger.errors import Malformed, Misuse, Untrue

NAME = "ML-DSA-44"
SEED_BYTES = 32
PUBLIC_KEY_BYTES = 1312
SIGNATURE_BYTES = 2420
MAX_PEM_BYTES = 16 * 1024
# The wheels on PyPI have one that does; what a distribution links against may not.
_UNSUPPORTED = "this installation of cryptography has no ml-dsa: expected OpenSSL 3.5 or later, or the wheel from PyPI"


def check_key(public_key: bytes) -> None:
    """Raise Malformed unless the bytes have the one length of a key. Any bytes of that length are one."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise Malformed(
            "bad_key", f"ml-dsa-44 key has wrong length: expected {PUBLIC_KEY_BYTES} bytes, got {len(public_key)}"
        )


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise Untrue unless the signature of the message, under the empty context, is this key's."""
    if len(signature) != SIGNATURE_BYTES:
        raise Untrue(
            "bad_signature",
            f"ml-dsa-44 signature has wrong length: expected {SIGNATURE_BYTES} bytes, got {len(signature)}",
        )
    try:
        MLDSA44PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature as error:
        raise Untrue("bad_signature", "ml-dsa-44 signature does not verify") from error
    except UnsupportedAlgorithm as error:
        raise Misuse(_UNSUPPORTED) from error


class Signer:
    """A private key."""

    __slots__ = ("_key", "material")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise Misuse(f"ml-dsa-44 seed has wrong length: expected {SEED_BYTES} bytes, got {len(seed)}")
        try:
            self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        except UnsupportedAlgorithm as error:
            raise Misuse(_UNSUPPORTED) from error
        self.material: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Signer:
        return cls(os.urandom(SEED_BYTES))

    @classmethod
    def from_pem(cls, pem: bytes) -> Signer:
        """Read a key from unencrypted PKCS #8; Malformed if it is none of ML-DSA-44."""
        if len(pem) > MAX_PEM_BYTES:
            raise Malformed("too_large", f"pem is too large: expected at most {MAX_PEM_BYTES} bytes, got {len(pem)}")
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("bad_key", "pem holds no unencrypted private key") from error
        if not isinstance(key, MLDSA44PrivateKey):
            raise Malformed("unknown_algorithm", "pem holds no ml-dsa-44 key")
        return cls(key.private_bytes_raw())

    def to_pem(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

"""EdDSA over Ed25519 (RFC 8032, COSE algorithm -8, RFC 9053 section 2.2), by libsodium through PyNaCl.

Promises: `verify` releases the interpreter lock while libsodium works, so that a pool of threads uses every core. A
public key is refused unless it is the canonical spelling of a point of the prime-order subgroup: a point of small
order would let one signature hold for many messages. libsodium itself refuses a signature whose S is not reduced, so
that no third party can turn a signature into another one of the same message.

Does not: the pre-hashed or context variants; Ed448.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError
from nacl.utils import random

from ledger import cbor
from ledger.errors import Malformed, Misuse, Untrue

ALG = -8
NAME = "EdDSA"
KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_PEM_BYTES = 16 * 1024
_MAX_REMEMBERED_KEYS = 1024

_KTY, _CRV, _X = 1, -1, -2
_OKP, _ED25519 = 1, 6


@lru_cache(_MAX_REMEMBERED_KEYS)
def _is_good_point(x: bytes) -> bool:
    """Nearly as dear as checking a signature, and a policy names the same few keys each time it is read."""
    return bool(crypto_core_ed25519_is_valid_point(x))


def check_key(x: bytes) -> None:
    """Raise Malformed unless x is a canonical point of the prime-order subgroup."""
    if len(x) != KEY_BYTES:
        raise Malformed("bad_key", f"ed25519 key has wrong length: expected {KEY_BYTES} bytes, got {len(x)}")
    if not _is_good_point(x):
        raise Malformed("bad_key", "ed25519 key is not a canonical point of the prime-order subgroup")


def cose_members(x: bytes) -> dict[int, int | bytes]:
    """Return the required members of the COSE_Key (RFC 9679 section 4.1)."""
    return {_KTY: _OKP, _CRV: _ED25519, _X: x}


def parse_members(members: Mapping[str | int, cbor.Value]) -> bytes | None:
    """Return the key material of a COSE_Key of this algorithm, None if it is not one, Malformed if it is a bad one."""
    if members.get(_KTY) != _OKP or members.get(_CRV) != _ED25519:
        return None
    x = members.get(_X)
    if members.keys() != {_KTY, _CRV, _X} or type(x) is not bytes:
        raise Malformed("bad_key", "okp key must have exactly the members 1, -1 and -2")
    check_key(x)
    return x


def check_signature_spelling(signature: bytes) -> None:
    """Raise Malformed unless the signature has the one length it may have; libsodium checks that S is reduced."""
    if len(signature) != SIGNATURE_BYTES:
        raise Malformed(
            "bad_signature_spelling",
            f"signature has wrong length: expected {SIGNATURE_BYTES} bytes, got {len(signature)}",
        )


def verify(key: bytes, message: bytes, signature: bytes) -> None:
    """Raise Untrue unless the signature of the message is this key's."""
    if len(signature) != SIGNATURE_BYTES:
        raise Untrue("bad_signature", f"ed25519 signature has wrong length: expected 64 bytes, got {len(signature)}")
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError as error:
        raise Untrue("bad_signature", "ed25519 signature does not verify") from error


class Signer:
    """An Ed25519 private key."""

    __slots__ = ("_secret", "material")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise Misuse(f"ed25519 seed has wrong length: expected {KEY_BYTES} bytes, got {len(seed)}")
        self.material, self._secret = crypto_sign_seed_keypair(seed)

    @classmethod
    def generate(cls) -> Signer:
        return cls(random(KEY_BYTES))

    @classmethod
    def from_pem(cls, pem: bytes) -> Signer:
        """Read a key from unencrypted PKCS #8; Malformed if it is none of Ed25519."""
        if len(pem) > MAX_PEM_BYTES:
            raise Malformed("too_large", f"pem is too large: expected at most {MAX_PEM_BYTES} bytes, got {len(pem)}")
        try:
            signer = cls.from_cryptography(serialization.load_pem_private_key(pem, password=None))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("bad_key", "pem holds no unencrypted private key") from error
        if signer is None:
            raise Malformed("unknown_algorithm", "pem holds no ed25519 key")
        return signer

    @classmethod
    def from_cryptography(cls, key: object) -> Signer | None:
        """Return the signer for a loaded private key, None if it is of another algorithm."""
        return cls(key.private_bytes_raw()) if isinstance(key, Ed25519PrivateKey) else None

    def to_pem(self) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self._secret[:KEY_BYTES]).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

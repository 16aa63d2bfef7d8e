"""ES256: ECDSA over P-256 with SHA-256 (COSE algorithm -7, RFC 9053 section 2.1), by OpenSSL through cryptography.

It is here because the secure elements and TPMs in vehicles have P-256 and rarely Ed25519.

Promises: signatures are r || s, 64 bytes, with s in the lower half of the group order. From any ECDSA signature (r,
s) a stranger can make the equally valid (r, n - s); a statement would then have two spellings and two ids. So there
is one: a signer whose hardware returns the upper half replaces s by n - s, which needs no key.

Does not: DER signatures, compressed points, other curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from ledger import cbor
from ledger.errors import Malformed, Untrue

ALG = -7
NAME = "ES256"
COORDINATE_BYTES = 32
SIGNATURE_BYTES = 64
# The order of P-256 (SEC 2 section 2.4.2).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_KTY, _CRV, _X, _Y = 1, -1, -2, -3
_EC2, _P256 = 2, 1
_MAX_LOADED_KEYS = 4096


@lru_cache(_MAX_LOADED_KEYS)
def _load(material: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + material)


def check_key(material: bytes) -> None:
    """Raise Malformed unless x || y is a point of the curve."""
    if len(material) != 2 * COORDINATE_BYTES:
        raise Malformed("bad_key", f"p-256 key has wrong length: expected 64 bytes, got {len(material)}")
    try:
        _load(material)
    except ValueError as error:
        raise Malformed("bad_key", "p-256 key is not a point of the curve") from error


def cose_members(material: bytes) -> dict[int, int | bytes]:
    """Return the required members of the COSE_Key (RFC 9679 section 4.2)."""
    return {_KTY: _EC2, _CRV: _P256, _X: material[:COORDINATE_BYTES], _Y: material[COORDINATE_BYTES:]}


def parse_members(members: Mapping[str | int, cbor.Value]) -> bytes | None:
    """Return x || y of a COSE_Key of this algorithm, None if it is not one, Malformed if it is a bad one."""
    if members.get(_KTY) != _EC2 or members.get(_CRV) != _P256:
        return None
    x, y = members.get(_X), members.get(_Y)
    if members.keys() != {_KTY, _CRV, _X, _Y} or type(x) is not bytes or type(y) is not bytes:
        raise Malformed("bad_key", "ec2 key must have exactly the members 1, -1, -2 and -3, uncompressed")
    if len(x) != COORDINATE_BYTES:
        raise Malformed("bad_key", f"x has wrong length: expected {COORDINATE_BYTES} bytes, got {len(x)}")
    check_key(x + y)
    return x + y


def _split(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:COORDINATE_BYTES], "big"), int.from_bytes(signature[COORDINATE_BYTES:], "big")


def check_signature_spelling(signature: bytes) -> None:
    """Raise Malformed unless the signature is r || s with both in range and s in the lower half."""
    if len(signature) != SIGNATURE_BYTES:
        raise Malformed(
            "bad_signature_spelling",
            f"signature has wrong length: expected {SIGNATURE_BYTES} bytes, got {len(signature)}",
        )
    r, s = _split(signature)
    if not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        raise Malformed("bad_signature_spelling", "es256 signature is out of range: expected 0 < r < n, 0 < s <= n/2")


def verify(key: bytes, message: bytes, signature: bytes) -> None:
    """Raise Untrue unless the signature of the message is this key's."""
    try:
        check_signature_spelling(signature)
        _load(key).verify(encode_dss_signature(*_split(signature)), message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, Malformed) as error:
        raise Untrue("bad_signature", "es256 signature does not verify") from error


class Signer:
    """A P-256 private key."""

    __slots__ = ("_key", "material")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        numbers = key.public_key().public_numbers()
        self.material = numbers.x.to_bytes(COORDINATE_BYTES, "big") + numbers.y.to_bytes(COORDINATE_BYTES, "big")

    @classmethod
    def generate(cls) -> Signer:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_cryptography(cls, key: object) -> Signer | None:
        """Return the signer for a loaded private key, None if it is of another algorithm."""
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        return None

    def to_pem(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        s = min(s, ORDER - s)
        return r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")

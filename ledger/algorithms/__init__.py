"""The signature algorithms that a participant's key may have, by COSE algorithm id, one module each.

Promises: a `PublicKey` is a COSE_Key (RFC 9052 section 7) of the required members alone in deterministic encoding,
checked to be a good key; its `kid` is the SHA-256 thumbprint of RFC 9679, so a kid names one key for ever.

Adding an algorithm (ML-DSA, SM2, GOST R 34.10) is adding a module with the same functions and a line to `_MODULES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ledger import cbor
from ledger.algorithms import eddsa, es256
from ledger.errors import Malformed, Misuse

EDDSA = eddsa.ALG
ES256 = es256.ALG
KID_BYTES = 32
MAX_COSE_KEY_BYTES = 4096
MAX_PEM_BYTES = eddsa.MAX_PEM_BYTES

_MODULES = {module.ALG: module for module in (eddsa, es256)}
_MAX_PARSED_KEYS = 4096


def supported() -> tuple[int, ...]:
    """Return the COSE algorithm ids that a statement may carry."""
    return tuple(_MODULES)


def name_of(alg: int) -> str:
    """Return the registered name of an algorithm."""
    return _module(alg).NAME


def check_signature_spelling(alg: int, signature: bytes) -> None:
    """Raise Malformed unless the bytes are the one spelling of some signature of this algorithm."""
    _module(alg).check_signature_spelling(signature)


def _module(alg: int) -> _Algorithm:
    module: _Algorithm | None = _MODULES.get(alg)
    if module is None:
        raise Misuse(f"algorithm is not registered: expected one of {sorted(_MODULES)}, got {alg}")
    return module


class _Signer(Protocol):
    @property
    def material(self) -> bytes: ...
    def sign(self, message: bytes) -> bytes: ...
    def to_pem(self) -> bytes: ...


class _SignerClass(Protocol):
    def generate(self) -> _Signer: ...
    def from_cryptography(self, key: object) -> _Signer | None: ...


class _Algorithm(Protocol):
    """What each module of an algorithm offers."""

    @property
    def ALG(self) -> int: ...
    @property
    def NAME(self) -> str: ...
    @property
    def Signer(self) -> _SignerClass: ...
    def check_key(self, material: bytes, /) -> None: ...
    def cose_members(self, material: bytes, /) -> dict[int, int | bytes]: ...
    def parse_members(self, members: Mapping[str | int, cbor.Value], /) -> bytes | None: ...
    def check_signature_spelling(self, signature: bytes, /) -> None: ...
    def verify(self, key: bytes, message: bytes, signature: bytes, /) -> None: ...


@dataclass(frozen=True)
class PublicKey:
    """A participant's public key: which algorithm, and the canonical COSE_Key."""

    alg: int
    cose_key: bytes
    material: bytes  # what the algorithm's module calls the key: 32 bytes of Ed25519, x || y of P-256

    @classmethod
    def from_cose_key(cls, cose_key: bytes) -> PublicKey:
        """Return the key; Malformed unless the bytes are the canonical COSE_Key of a good key."""
        return _parse_cose_key(bytes(cose_key))

    @classmethod
    def from_material(cls, alg: int, material: bytes) -> PublicKey:
        """Return the key of an algorithm whose raw key is known; Malformed unless it is a good one."""
        module = _module(alg)
        module.check_key(material)
        return cls(alg, cbor.encode(module.cose_members(material)), material)

    @cached_property
    def kid(self) -> bytes:
        """The RFC 9679 thumbprint, 32 bytes: as `cose_key` holds the required members alone, it is simply its hash."""
        return sha256(self.cose_key).digest()

    def verify(self, message: bytes, signature: bytes) -> None:
        """Raise Untrue("bad_signature") unless the signature of the message is this key's."""
        _module(self.alg).verify(self.material, message, signature)


@lru_cache(_MAX_PARSED_KEYS)
def _parse_cose_key(cose_key: bytes) -> PublicKey:
    members = cbor.decode(cose_key, max_bytes=MAX_COSE_KEY_BYTES)
    if not isinstance(members, dict):
        raise Malformed("bad_key", f"cose key must be a map: got {type(members).__name__}")
    for alg in _MODULES:
        material = _module(alg).parse_members(members)
        if material is not None:
            return PublicKey(alg, cose_key, material)
    raise Malformed("unknown_algorithm", "cose key is of no registered algorithm")


class PrivateKey:
    """A participant's private key. It signs; it shows its secret only to `to_pem`."""

    __slots__ = ("_signer", "public")

    def __init__(self, alg: int, signer: _Signer) -> None:
        self._signer = signer
        self.public = PublicKey.from_material(alg, signer.material)

    @classmethod
    def generate(cls, alg: int = EDDSA) -> PrivateKey:
        """Make a new key of an algorithm."""
        return cls(alg, _module(alg).Signer.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> PrivateKey:
        """Read a key from unencrypted PKCS #8; Malformed if it is none of a registered algorithm."""
        if len(pem) > MAX_PEM_BYTES:
            raise Malformed("too_large", f"pem is too large: expected at most {MAX_PEM_BYTES} bytes, got {len(pem)}")
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("bad_key", "pem holds no unencrypted private key") from error
        for alg in _MODULES:
            signer = _module(alg).Signer.from_cryptography(key)
            if signer is not None:
                return cls(alg, signer)
        raise Malformed("unknown_algorithm", "pem holds a key of no registered algorithm")

    def to_pem(self) -> bytes:
        """Return the key as unencrypted PKCS #8; whoever stores it guards it."""
        return self._signer.to_pem()

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message in the algorithm's one spelling."""
        return self._signer.sign(message)

    def __repr__(self) -> str:
        return f"PrivateKey(alg={self.public.alg}, kid={self.public.kid.hex()})"

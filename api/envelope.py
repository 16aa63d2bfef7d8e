"""The envelope: what opens a declaration's commitments, closed for each of the two authorities and for nobody else.

    envelope  = [1, subject, [[authority, kid, box], ...]]      deterministic CBOR, recipients in the order of names
    box       = sealed box (libsodium crypto_box_seal: X25519, XSalsa20-Poly1305) of the padded plaintext
    plaintext = [1, subject, [[salt, name, value], ...]]

Promises: only who has the private part of a named key reads a box; the statement carries the SHA-256 of the envelope,
and the plaintext names what it is about, so that an envelope cannot be put in the place of another. Plaintexts are
padded (ISO/IEC 7816-4) to multiples of `PADDING_BYTES`: the length of a name does not show.

Does not: make the sender honest. A box is checked by its reader, who opens the commitments with it
(`contracts.declaration_private.reveal`); what was sealed to the other side, nobody but they can tell. A sealed box says
nothing of who sealed it: the signature of the statement does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from nacl.bindings import sodium_pad, sodium_unpad
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from contracts.commitments import MAX_OPENINGS_BYTES, Opening, openings_of, openings_value
from contracts.envelope_keys import X25519_KEY_BYTES, envelope_kid
from ledger.cbor import decode, encode
from ledger.errors import LedgerError, Malformed, Misuse, Untrue

FORMAT = 1
MAX_RECIPIENTS = 4
MAX_SUBJECT_CHARS = 64
MAX_NAME_CHARS = 64
PADDING_BYTES = 512
SEAL_BYTES = 48  # an ephemeral public key and a tag
KID_BYTES = 32
MAX_BOX_BYTES = MAX_OPENINGS_BYTES + MAX_SUBJECT_CHARS + PADDING_BYTES + SEAL_BYTES
MAX_ENVELOPE_ITEMS = 4 + 4 * MAX_RECIPIENTS
MAX_ENVELOPE_BYTES = MAX_RECIPIENTS * (MAX_BOX_BYTES + KID_BYTES + MAX_NAME_CHARS + 16) + MAX_SUBJECT_CHARS + 16


@dataclass(frozen=True, slots=True)
class Box:
    """One copy, for the authority that has the private part of the key `kid`."""

    authority: str
    kid: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    subject: str
    boxes: tuple[Box, ...]

    def encode(self) -> bytes:
        return encode((FORMAT, self.subject, tuple((box.authority, box.kid, box.sealed) for box in self.boxes)))

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.encode()).digest()


def seal_envelope(subject: str, openings: Sequence[Opening], keys: Mapping[str, bytes]) -> Envelope:
    """Close the openings for each authority, by name, with its current X25519 key."""
    if not 1 <= len(keys) <= MAX_RECIPIENTS:
        raise Misuse(f"an envelope is for 1 to {MAX_RECIPIENTS} authorities, got {len(keys)}")
    plaintext = encode((FORMAT, subject, openings_value(openings)))
    if len(plaintext) > MAX_OPENINGS_BYTES:
        raise Misuse(f"private fields are too large: expected at most {MAX_OPENINGS_BYTES} bytes, got {len(plaintext)}")
    padded = sodium_pad(plaintext, PADDING_BYTES)
    boxes = []
    for authority in sorted(keys):
        public = keys[authority]
        if len(public) != X25519_KEY_BYTES:
            raise Misuse(f"key of {authority}: expected {X25519_KEY_BYTES} bytes, got {len(public)}")
        try:
            boxes.append(Box(authority, envelope_kid(public), SealedBox(PublicKey(public)).encrypt(padded)))
        except (CryptoError, RuntimeError) as error:  # a point of small order: it would seal to everybody
            raise Misuse(f"key of {authority} is none that can be sealed to: {error}") from error
    return Envelope(subject, tuple(boxes))


def parse_envelope(raw: bytes) -> Envelope:
    """Malformed for anything but the one spelling of an envelope. What is in the boxes only their readers can tell."""
    value = decode(raw, max_bytes=MAX_ENVELOPE_BYTES, max_items=MAX_ENVELOPE_ITEMS)
    if not isinstance(value, list) or len(value) != 3 or value[0] != FORMAT or value[0] is True:
        raise Malformed("bad_envelope", f"expected [{FORMAT}, subject, boxes]")
    _, subject, rows = value
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT_CHARS:
        raise Malformed("bad_envelope", f"subject: expected 1 to {MAX_SUBJECT_CHARS} characters")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_RECIPIENTS:
        raise Malformed("bad_envelope", f"expected 1 to {MAX_RECIPIENTS} boxes")
    boxes: list[Box] = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 3:
            raise Malformed("bad_envelope", "expected [authority, kid, box]")
        authority, kid, sealed = row
        if not isinstance(authority, str) or not 1 <= len(authority) <= MAX_NAME_CHARS:
            raise Malformed("bad_envelope", f"authority: expected 1 to {MAX_NAME_CHARS} characters")
        if not isinstance(kid, bytes) or len(kid) != KID_BYTES:
            raise Malformed("bad_envelope", f"kid: expected {KID_BYTES} bytes")
        if not isinstance(sealed, bytes) or not SEAL_BYTES < len(sealed) <= MAX_BOX_BYTES:
            raise Malformed("bad_envelope", f"box: expected {SEAL_BYTES + 1} to {MAX_BOX_BYTES} bytes")
        if boxes and authority <= boxes[-1].authority:
            raise Malformed("bad_envelope", "expected boxes in the order of the authorities' names, none twice")
        boxes.append(Box(authority, kid, sealed))
    return Envelope(subject, tuple(boxes))


def open_envelope(envelope: Envelope, key: EnvelopePrivateKey) -> tuple[Opening, ...]:
    """What the copy for this key holds. Untrue where there is none, or it is not what it should be."""
    box = next((box for box in envelope.boxes if box.kid == key.kid), None)
    if box is None:
        sealed_to = ", ".join(f"{box.authority} {box.kid.hex()[:16]}" for box in envelope.boxes)
        raise Untrue("not_for_this_key", f"no copy is for key {key.kid.hex()[:16]}; there are copies for {sealed_to}")
    try:
        plaintext = sodium_unpad(SealedBox(key.secret).decrypt(box.sealed), PADDING_BYTES)
        value = decode(plaintext, max_bytes=MAX_OPENINGS_BYTES)
    except (CryptoError, ValueError, LedgerError) as error:
        raise Untrue(
            "box_does_not_open", f"the copy for {box.authority} is not what this key opens: {error}"
        ) from error
    if not isinstance(value, list) or len(value) != 3 or value[0] != FORMAT:
        raise Untrue("box_does_not_open", "expected openings in the copy, got something else")
    if value[1] != envelope.subject:
        raise Untrue("box_of_other_subject", f"expected openings about {envelope.subject!r}, got {value[1]!r:.80}")
    try:
        return openings_of(value[2])
    except Malformed as error:
        raise Untrue("box_does_not_open", str(error)) from error


class EnvelopePrivateKey:
    """An authority's key for envelopes: X25519, in a PKCS #8 PEM file."""

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.kid = envelope_kid(self.public)
        self.secret = PrivateKey(private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    @classmethod
    def generate(cls) -> EnvelopePrivateKey:
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, data: bytes) -> EnvelopePrivateKey:
        try:
            private = load_pem_private_key(data, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("bad_private_key", f"not a PEM private key: {error}") from error
        if not isinstance(private, X25519PrivateKey):
            raise Malformed("bad_private_key", "expected an X25519 key: `comity envelope new-key` makes one")
        return cls(private)

    def to_pem(self) -> bytes:
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def public_pem(self) -> bytes:
        return self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_key_of_pem(data: bytes) -> bytes:
    """The 32 bytes of an X25519 public key in PEM."""
    try:
        public = load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Malformed("bad_public_key", f"not a PEM public key: {error}") from error
    if not isinstance(public, X25519PublicKey):
        raise Malformed("bad_public_key", "expected an X25519 key: `comity envelope new-key` makes one")
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)

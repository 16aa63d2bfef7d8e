"""Signed notes: C2SP signed-note, with Ed25519 keys of note types 0x01 (a log's) and 0x04 (a cosigner's), and ML-DSA-44
keys of type 0x06 (a cosigner's, or a log's).

Promises: a note has one spelling; parsing formats again and compares. A parsed note is text plus signature lines that
are not yet checked: its text means nothing before a known key has vouched for it (`ledger.policy` does that).

Does not: know what the text says, nor the other signature types: a line of an unknown key is carried, never judged.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from ledger.algorithms import eddsa, mldsa44
from ledger.errors import Malformed, Misuse, Untrue

MAX_NOTE_BYTES = 256 * 1024  # room for more than 16 post-quantum signatures of 5 kB
MAX_NOTE_SIGNATURES = 64
MAX_KEY_NAME_BYTES = 255
MAX_VKEY_BYTES = 2048  # a name of 255 bytes, and the 1,313 of an ML-DSA-44 key as base64
KEY_ID_BYTES = 4
ED25519 = 0x01
COSIGNATURE_V1 = 0x04
SUBTREE_V1 = 0x06  # ML-DSA-44

_SIGNATURE_PREFIX = "— "
_find_control = re.compile(r"[\x00-\x09\x0b-\x1f]").search
# `\s` is what `str.isspace` is, of every script: a test holds the two together.
_find_no_name = re.compile(r"[+\s\x00-\x1f]").search


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A signature line: who claims to have signed, and what."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends in a newline, and its signature lines in their order."""

    text: str
    signatures: tuple[NoteSignature, ...]


def is_key_name(name: str) -> bool:
    """Return whether the text may name a key: not empty, no space of any script, no plus, no control character."""
    if not name or len(name) > MAX_KEY_NAME_BYTES or _find_no_name(name):
        return False
    try:
        return len(name.encode()) <= MAX_KEY_NAME_BYTES
    except UnicodeEncodeError:
        return False


def decode_base64(text: str, what: str) -> bytes:
    """Return the bytes of standard base64 in its one spelling; Malformed otherwise."""
    try:
        data = b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Malformed("bad_base64", f"{what} is not base64") from error
    if encode_base64(data) != text:
        raise Malformed("bad_base64", f"{what} is not canonical base64")
    return data


def encode_base64(data: bytes) -> str:
    """Return the bytes as standard base64."""
    return b64encode(data).decode("ascii")


def parse_decimal(text: str, what: str, maximum: int) -> int:
    """Return the number that ASCII digits without leading zeros spell; Malformed otherwise or above the maximum."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(maximum)) or (text[0] == "0" and text != "0"):
        raise Malformed("bad_decimal", f"{what} is not a canonical decimal: got {text[:40]!r}")
    number = int(text)
    if number > maximum:
        raise Malformed("bad_decimal", f"{what} is too large: expected at most {maximum}, got {text}")
    return number


def format_signature(signature: NoteSignature) -> str:
    """Return one signature line, with its newline."""
    return f"{_SIGNATURE_PREFIX}{signature.name} {encode_base64(signature.key_id + signature.signature)}\n"


def format_note(note: Note) -> bytes:
    """Return the note as it is stored and sent."""
    for signature in note.signatures:
        if not is_key_name(signature.name) or len(signature.key_id) != KEY_ID_BYTES or not signature.signature:
            raise Misuse(f"no such signature line: name {signature.name!r}, key id {signature.key_id.hex()}")
    if not 1 <= len(note.signatures) <= MAX_NOTE_SIGNATURES or not note.text.endswith("\n"):
        raise Misuse(f"a note is text ending in a newline and 1 to {MAX_NOTE_SIGNATURES} signatures")
    return (note.text + "\n" + "".join(map(format_signature, note.signatures))).encode()


def parse_note(data: bytes) -> Note:
    """Return the note that the bytes are; Malformed unless they are its one spelling. No signature is checked."""
    if len(data) > MAX_NOTE_BYTES:
        raise Malformed("too_large", f"note is too large: expected at most {MAX_NOTE_BYTES} bytes, got {len(data)}")
    try:
        whole = str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("bad_note", "note is not utf-8") from error
    if _find_control(whole):
        raise Malformed("bad_note", "note holds a control character other than newline")
    blank = whole.rfind("\n\n")
    if blank < 0 or not whole.endswith("\n"):
        raise Malformed("bad_note", "note must be text, an empty line, and signature lines that end in a newline")
    lines = whole[blank + 2 : -1].split("\n")
    if len(lines) > MAX_NOTE_SIGNATURES:
        raise Malformed("bad_note", f"too many signatures: expected at most {MAX_NOTE_SIGNATURES}, got {len(lines)}")
    note = Note(whole[: blank + 1], tuple(map(_parse_signature, lines)))
    if format_note(note) != data:
        raise Malformed("bad_note", "note is not in its canonical form")
    return note


def _parse_signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(_SIGNATURE_PREFIX) or not space or not is_key_name(name):
        raise Malformed("bad_note", f"not a signature line: {line[:80]!r}")
    data = decode_base64(encoded, f"signature of {name}")
    if len(data) <= KEY_ID_BYTES:
        raise Malformed("bad_note", f"signature of {name} is too short: got {len(data)} bytes")
    return NoteSignature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    """Return the id that signature lines carry: a name for the key, not a strong hash of it."""
    return sha256(name.encode() + b"\n" + bytes((algorithm,)) + public_key).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key as notes know it: name, signature type, 32 bytes of Ed25519 or 1,312 of ML-DSA-44."""

    name: str
    algorithm: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The id in this key's signature lines, 4 bytes."""
        return key_id(self.name, self.algorithm, self.public_key)

    def verify(self, message: bytes, signature: bytes) -> None:
        """Raise Untrue unless the bare signature of the message is this key's."""
        scheme = mldsa44 if self.algorithm == SUBTREE_V1 else eddsa
        try:
            scheme.verify(self.public_key, message, signature)
        except Untrue as error:
            raise Untrue("bad_signature", f"signature of {self.name} does not verify") from error


def format_vkey(key: VerifierKey) -> str:
    """Return the key as policies and configurations write it: name+id+base64(type || key)."""
    return f"{key.name}+{key.key_id.hex()}+{encode_base64(bytes((key.algorithm,)) + key.public_key)}"


def parse_vkey(text: str) -> VerifierKey:
    """Return the key; Malformed unless it is of a type known here and its id belongs to it."""
    if len(text) > MAX_VKEY_BYTES:
        raise Malformed("bad_vkey", f"vkey is too long: expected at most {MAX_VKEY_BYTES} characters, got {len(text)}")
    name, _, rest = text.partition("+")
    hexadecimal, plus, encoded = rest.partition("+")
    if not plus or not is_key_name(name):
        raise Malformed("bad_vkey", f"not a vkey, name+id+key: {text[:80]!r}")
    data = decode_base64(encoded, f"vkey of {name}")
    if data[:1] not in (bytes((ED25519,)), bytes((COSIGNATURE_V1,)), bytes((SUBTREE_V1,))):
        raise Malformed(
            "bad_vkey", f"vkey of {name} is of an unknown type: expected 0x01, 0x04 or 0x06, got 0x{data[:1].hex()}"
        )
    key = VerifierKey(name, data[0], data[1:])
    try:
        (mldsa44 if key.algorithm == SUBTREE_V1 else eddsa).check_key(key.public_key)
    except Malformed as error:
        raise Malformed("bad_vkey", f"vkey of {name} holds no good key: {error.args[0]}") from error
    if format_vkey(key) != text:
        raise Malformed(
            "bad_vkey", f"vkey of {name} has the wrong id: expected {key.key_id.hex()}, got {hexadecimal[:8]}"
        )
    return key


class NoteSigner:
    """An Ed25519 private key of a log or a cosigner. The name and type go in with each signature."""

    __slots__ = ("_signer",)

    def __init__(self, seed: bytes) -> None:
        self._signer = eddsa.Signer(seed)

    @classmethod
    def generate(cls) -> NoteSigner:
        """Make a new key."""
        signer = cls.__new__(cls)
        signer._signer = eddsa.Signer.generate()
        return signer

    @classmethod
    def from_pem(cls, pem: bytes) -> NoteSigner:
        """Read a key from unencrypted PKCS #8; Malformed if it is not Ed25519."""
        signer = cls.__new__(cls)
        signer._signer = eddsa.Signer.from_pem(pem)
        return signer

    def to_pem(self) -> bytes:
        """Return the key as unencrypted PKCS #8; whoever stores it guards it."""
        return self._signer.to_pem()

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._signer.material

    def verifier(self, name: str, algorithm: int) -> VerifierKey:
        """Return the public key under a name and a signature type."""
        if not is_key_name(name) or algorithm not in (ED25519, COSIGNATURE_V1):
            raise Misuse(f"no such key: name {name!r}, type {algorithm:#04x}")
        return VerifierKey(name, algorithm, self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the bare Ed25519 signature of a message, 64 bytes."""
        return self._signer.sign(message)

    def __repr__(self) -> str:
        return f"NoteSigner(public_key={self.public_key.hex()})"

"""Salted commitments: a private field is on the ledger as a hash that says nothing, and can be opened one by one.

A commitment is SHA-256 of the deterministic CBOR array `[salt, name, value]`: the salt 16 bytes that nobody else knows,
the name of the field, its value. The construction is that of selective disclosure: RFC 9901 (SD-JWT) section 4.2, and
its CBOR form, draft-ietf-spice-sd-cwt. As there, the salt comes from a secure source and is used once (RFC 9901
section 9.3), so that a value of which there are few, a price or one of ten known importers, cannot be found by trying.

Promises: binding, as far as SHA-256 has no collisions: a commitment opens to one name and one value. Hiding, as long as
the salt is not given away. An opening that does not belong to a commitment is `Untrue`, never an answer.

Does not: make randomness (salts come in as an argument), know which fields exist (`contracts.declaration_private`), or
say who may see an opening (`api.envelope` closes them for the two authorities).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ledger.cbor import Encodable, Value, decode, encode
from ledger.errors import Malformed, Misuse, Untrue

SALT_BYTES = 16
MAX_OPENINGS = 256
MAX_NAME_CHARS = 40
MAX_OPENINGS_BYTES = 128 * 1024

Salts = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens one commitment. Whoever has it can show the field to anybody."""

    name: str
    salt: bytes
    value: Value

    def fields(self) -> tuple[Encodable, ...]:
        return (self.salt, self.name, self.value)

    @property
    def commitment(self) -> bytes:
        return hashlib.sha256(encode(self.fields())).digest()


def commit_fields(fields: Mapping[str, Value], salts: Salts) -> tuple[dict[str, bytes], tuple[Opening, ...]]:
    """Commit to each field by itself, in the order of the names. `salts(n)` gives n secret bytes, new ones each time.

    The commitments go into the payload; the openings are the sender's to keep, and to send in an envelope.
    """
    if len(fields) > MAX_OPENINGS:
        raise Misuse(f"too many private fields: expected at most {MAX_OPENINGS}, got {len(fields)}")
    openings = []
    used: set[bytes] = set()
    for name in sorted(fields):
        salt = salts(SALT_BYTES)
        if type(salt) is not bytes or len(salt) != SALT_BYTES:
            raise Misuse(f"salt of {name}: expected {SALT_BYTES} bytes, got {len(salt)}")
        if salt in used:
            raise Misuse(f"salt of {name}: expected one that was not used before, got {salt.hex()} again")
        used.add(salt)
        openings.append(Opening(name, salt, fields[name]))
    return {opening.name: opening.commitment for opening in openings}, tuple(openings)


def check_opening(opening: Opening, commitments: Mapping[str, bytes]) -> None:
    """Untrue unless the commitment of that name is to this value with this salt."""
    expected = commitments.get(opening.name)
    if expected is None:
        raise Untrue("field_not_committed", f"no commitment has the name {opening.name!r}")
    got = opening.commitment
    if got != expected:
        raise Untrue("commitment_differs", f"{opening.name}: expected {expected.hex()}, got {got.hex()}")


def check_openings(openings: Sequence[Opening], commitments: Mapping[str, bytes]) -> None:
    """Untrue unless the openings open every commitment, each once."""
    for opening in openings:
        check_opening(opening, commitments)
    opened = {opening.name for opening in openings}
    unopened = sorted(set(commitments) - opened)
    if unopened or len(opened) != len(openings):
        raise Untrue("openings_incomplete", f"expected each commitment opened once, not opened: {unopened}")


def openings_value(openings: Sequence[Opening]) -> list[Encodable]:
    """Openings as they stand in an envelope, in a disclosure and in the sender's own file."""
    return [opening.fields() for opening in openings]


def openings_of(value: Value) -> tuple[Opening, ...]:
    """Openings from outside: `[[salt, name, value], ...]` in the order of the names, none twice."""
    if not isinstance(value, list) or len(value) > MAX_OPENINGS:
        raise Malformed("bad_openings", f"expected an array of at most {MAX_OPENINGS} openings")
    openings: list[Opening] = []
    for fields in value:
        if not isinstance(fields, list) or len(fields) != 3:
            raise Malformed("bad_openings", "expected [salt, name, value] for each opening")
        salt, name, opened = fields
        if not isinstance(salt, bytes) or len(salt) != SALT_BYTES:
            raise Malformed("bad_openings", f"expected a salt of {SALT_BYTES} bytes")
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
            raise Malformed("bad_openings", f"expected a name of 1 to {MAX_NAME_CHARS} characters")
        if openings and name <= openings[-1].name:
            raise Malformed("bad_openings", f"expected names in order, none twice, got {name!r} last")
        openings.append(Opening(name, salt, opened))
    return tuple(openings)


def encode_openings(openings: Sequence[Opening]) -> bytes:
    return encode(openings_value(openings))


def parse_openings(raw: bytes) -> tuple[Opening, ...]:
    """The inverse of `encode_openings`; Malformed for anything else."""
    return openings_of(decode(raw, max_bytes=MAX_OPENINGS_BYTES))


def commitments_of(content: object) -> dict[str, bytes]:
    """The commitments in the content of a signed payload, by name. A content that has none gives none."""
    if not isinstance(content, dict):
        return {}
    found = {}
    listed = content.get("commitments")
    for entry in cast(list[object], listed) if isinstance(listed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("sha256"), bytes):
            found[entry["name"]] = entry["sha256"]
    return found

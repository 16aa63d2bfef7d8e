"""Proof that a key of the authenticated map has a value, or has none, under a state root.

The map and its hashes are described in `ledger.statemap`; this half needs no store and is all that a verifier runs. A
proof is canonical CBOR, an array of three:

    bitmaps   byte string, one byte for each page from the root down: bit 0..2 the other children of the key's quad,
              bit 3..5 the other quads of the page, in order; 1 where that hash follows, 0 where it is empty
    hashes    byte string: those hashes, end to end
    other     null, or path || SHA-256(value) of the entry that sits alone where the key would be (non-membership)

Every bit of it counts: spare bits are zero, an empty hash is never spelled out, and no byte may follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from ledger import cbor
from ledger.errors import Malformed, Untrue

EMPTY = bytes(32)
MAX_DEPTH = 64
# 64 pages of six siblings, the lone entry, and the CBOR around them.
MAX_STATE_PROOF_BYTES = MAX_DEPTH * (1 + 6 * 32) + 64 + 16

_EMPTY_QUAD = bytes(128)


def state_path(key: str) -> bytes:
    """Where ``key`` sits in the map."""
    return sha256(key.encode()).digest()


def digit(path: bytes, depth: int) -> int:
    byte = path[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def leaf_hash(path: bytes, value_hash: bytes) -> bytes:
    return sha256(b"\x01" + path + value_hash).digest()


def quad_hash(children: bytes | bytearray) -> bytes:
    """Hash of four children, end to end."""
    return EMPTY if children == _EMPTY_QUAD else sha256(b"\x03" + children).digest()


def page_hash(quads: bytes | bytearray) -> bytes:
    """Hash of four quads, end to end."""
    return sha256(b"\x02" + quads).digest()


@dataclass(frozen=True, slots=True)
class StateProof:
    """``siblings``: for each page from the root down, three of the quad and three quads. ``other``: see the module."""

    siblings: tuple[tuple[bytes, ...], ...]
    other: tuple[bytes, bytes] | None = None

    def root(self, path: bytes, value: bytes | None) -> bytes:
        """Return the root that this proof implies if the key at ``path`` has ``value`` (None: is absent)."""
        if value is not None:
            found = leaf_hash(path, sha256(value).digest())
        elif self.other is not None:
            found = leaf_hash(*self.other)
        else:
            found = EMPTY
        for depth in range(len(self.siblings) - 1, -1, -1):
            siblings = self.siblings[depth]
            index = digit(path, depth)
            within, quad = index & 3, index >> 2
            children = (*siblings[:within], found, *siblings[within:3])
            others = siblings[3:]
            found = page_hash(b"".join((*others[:quad], quad_hash(b"".join(children)), *others[quad:])))
        return found

    def encode(self) -> bytes:
        bitmaps = bytearray()
        hashes: list[bytes] = []
        for siblings in self.siblings:
            bitmap = 0
            for at, sibling in enumerate(siblings):
                if sibling != EMPTY:
                    bitmap |= 1 << at
                    hashes.append(sibling)
            bitmaps.append(bitmap)
        other = None if self.other is None else self.other[0] + self.other[1]
        return cbor.encode([bytes(bitmaps), b"".join(hashes), other])


def parse_state_proof(data: bytes) -> StateProof:
    """Return the proof that ``data`` encodes; raise `Malformed`."""
    if len(data) > MAX_STATE_PROOF_BYTES:
        raise Malformed(
            "too_large", f"state proof is too large: expected at most {MAX_STATE_PROOF_BYTES} bytes, got {len(data)}"
        )
    fields = cbor.decode(data)
    if not isinstance(fields, list) or len(fields) != 3:
        raise Malformed("bad_state_proof", "state proof is not an array of three")
    bitmaps, hashes, other = fields
    if not isinstance(bitmaps, bytes) or not isinstance(hashes, bytes):
        raise Malformed("bad_state_proof", "state proof: bitmaps and hashes are not byte strings")
    if len(bitmaps) > MAX_DEPTH:
        raise Malformed("bad_state_proof", f"state proof is too deep: expected at most {MAX_DEPTH}, got {len(bitmaps)}")
    if any(bitmap >> 6 for bitmap in bitmaps):
        raise Malformed("bad_state_proof", "state proof: a spare bit is set")
    expected_bytes = 32 * sum(bitmap.bit_count() for bitmap in bitmaps)
    if len(hashes) != expected_bytes:
        raise Malformed("bad_state_proof", f"state proof: expected {expected_bytes} bytes of hashes, got {len(hashes)}")
    siblings = []
    offset = 0
    for bitmap in bitmaps:
        page = [EMPTY] * 6
        for at in range(6):
            if bitmap >> at & 1:
                page[at] = hashes[offset : offset + 32]
                offset += 32
                if page[at] == EMPTY:
                    raise Malformed("bad_state_proof", "state proof spells out an empty hash")
        siblings.append(tuple(page))
    if other is None:
        return StateProof(tuple(siblings))
    if not isinstance(other, bytes) or len(other) != 64:
        raise Malformed("bad_state_proof", "state proof: the other entry is not 64 bytes")
    return StateProof(tuple(siblings), (other[:32], other[32:]))


def verify_state_proof(root: bytes, key: str, value: bytes | None, proof: StateProof | bytes) -> None:
    """Raise `Untrue` unless ``proof`` shows that under ``root``, ``key`` has ``value`` (None: has none)."""
    if isinstance(proof, bytes):
        proof = parse_state_proof(proof)
    path = state_path(key)
    if proof.other is not None:
        if value is not None:
            raise Untrue("bad_state_proof", "state proof shows another entry in place of the key, expected its value")
        other_path = proof.other[0]
        depth = len(proof.siblings)
        if other_path == path:
            raise Untrue("bad_state_proof", "state proof of absence shows the key itself")
        if any(digit(other_path, at) != digit(path, at) for at in range(depth)):
            raise Untrue("bad_state_proof", "state proof shows an entry that does not sit where the key would")
    found = proof.root(path, value)
    if found != root:
        raise Untrue("state_root_mismatch", f"state proof leads to root {found.hex()}, expected {root.hex()}")

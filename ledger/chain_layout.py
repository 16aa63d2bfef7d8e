"""Where `ledger.chain` keeps what in the store.

Keys below 0x10 are the ledger's; a node keeps its own records under readable names in the same store. Numbers are
eight bytes, big-endian, so that the order of keys is the order of numbers.
"""

from __future__ import annotations

from ledger import cbor
from ledger.errors import Misuse
from ledger.merkle import TILE_WIDTH

HEAD = b"\x01h"  # -> canonical CBOR: applied, root, size, state_root
ENTRY = b"\x01e"  # + index -> raw entry
STATEMENT = b"\x01i"  # + statement id -> index
CTI = b"\x01c"  # + cti + issuer -> index
SUBJECT = b"\x01s"  # + length of subject (2 bytes) + subject + index -> empty
BLOCK_BY_HEIGHT = b"\x01b"  # + height -> index of the block record
# + index of a block record -> position of the order that the block was executed at; empty if it was not executed here
BLOCK_AT = b"\x01r"
TILE = b"\x01t"  # + level (1 byte) + tile index -> 256 hashes
CHUNK = b"\x01p"  # + level (1 byte) + tile index + offset (1 byte) -> hashes of a tile that is not yet full
NOTE = b"\x01n"  # + size -> note of a final checkpoint
STATE = b"\x02"  # prefix of the state map

# Readable names begin above this.
FIRST_FOREIGN_KEY = b"\x10"


def numbered_key(prefix: bytes, number: int) -> bytes:
    return prefix + number.to_bytes(8, "big")


def read_number(key: bytes) -> int:
    """The number at the end of ``key``."""
    return int.from_bytes(key[-8:], "big")


def block_at_key(record_index: int) -> bytes:
    return BLOCK_AT + record_index.to_bytes(8, "big")


def cti_key(iss: str, cti: bytes) -> bytes:
    return CTI + cti + iss.encode()


def subject_key(sub: str, index: int) -> bytes:
    name = sub.encode()
    return SUBJECT + len(name).to_bytes(2, "big") + name + index.to_bytes(8, "big")


def subject_range(sub: str, first: int) -> tuple[bytes, bytes]:
    """Start and stop of the keys of ``sub`` with an index of at least ``first``."""
    stop = subject_key(sub, 0)[:-8] + b"\xff" * 8
    return subject_key(sub, max(0, first)), stop


def tile_key(level: int, index: int) -> bytes:
    return TILE + bytes((level,)) + index.to_bytes(8, "big")


def chunk_key(level: int, index: int, offset: int) -> bytes:
    if not 0 <= offset < TILE_WIDTH:
        raise Misuse(f"no such place in a tile: expected less than {TILE_WIDTH}, got {offset}")
    return CHUNK + bytes((level,)) + index.to_bytes(8, "big") + bytes((offset,))


def encode_head(*, applied: int, root: bytes, size: int, state_root: bytes) -> bytes:
    """The value of `HEAD`: where the ledger ends."""
    return cbor.encode({"applied": applied, "root": root, "size": size, "state_root": state_root})

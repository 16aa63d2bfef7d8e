"""What is ordered: the payload of one entry of the order, `{"p": proposer, "s": [statement, ...], "t": time_ms}`.

The leader makes it, and a leader may lie: every validator decodes it by the same strict rules, and what is no block is
skipped by all of them alike. Statements are carried as bytes; whether one parses is decided one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import cbor
from ledger.entry import MAX_BLOCK_STATEMENTS, MAX_TIME_MS
from ledger.errors import Malformed

MAX_BLOCK_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Block:
    proposer: str
    time_ms: int
    statements: tuple[bytes, ...]


def encode_block(proposer: str, time_ms: int, statements: Sequence[bytes]) -> bytes:
    return cbor.encode({"p": proposer, "s": list(statements), "t": time_ms})


def block_time_ms(payload: bytes) -> int:
    """The time that a payload gives itself, read from its last bytes without decoding the rest.

    Keys of a block are in order, so `t` is last, and a time after 1970-02-19 takes eight bytes. 0 for what is earlier,
    or is no block at all: that is for `decode_block` to judge.
    """
    if len(payload) > MAX_BLOCK_BYTES or payload[-11:-8] != b"at\x1b":
        return 0
    return int.from_bytes(payload[-8:], "big")


def block_proposer(payload: bytes) -> bytes | None:
    """The name that a payload begins with, read without decoding the rest; None where this is no block."""
    # A map of three whose first key is `p`, then a text: its length is in the head, or in the byte behind it.
    if payload[:3] != b"\xa3ap" or len(payload) > MAX_BLOCK_BYTES:
        return None
    head = payload[3:4]
    if b"\x60" <= head < b"\x78":
        start, length = 4, head[0] - 0x60
    elif head == b"\x78":
        start, length = 5, int.from_bytes(payload[4:5], "big")
    else:
        return None
    return payload[start : start + length]


def decode_block(payload: bytes) -> Block:
    """Raises Malformed. Whether the proposer is a validator is for the caller."""
    value = cbor.decode(payload, max_bytes=MAX_BLOCK_BYTES)
    if not isinstance(value, dict) or value.keys() != {"p", "s", "t"}:
        raise Malformed("bad_block", "block must be a map of p, s and t")
    proposer, statements, time_ms = value["p"], value["s"], value["t"]
    if not isinstance(proposer, str) or type(time_ms) is not int or not 0 <= time_ms <= MAX_TIME_MS:
        raise Malformed("bad_block", "block must have a text p and a time t in milliseconds")
    if not isinstance(statements, list) or len(statements) > MAX_BLOCK_STATEMENTS:
        raise Malformed("bad_block", f"block must have at most {MAX_BLOCK_STATEMENTS} statements s")
    raws: list[bytes] = []
    for statement in statements:
        if not isinstance(statement, bytes):
            raise Malformed("bad_block", "statements of a block must be byte strings")
        raws.append(statement)
    return Block(proposer, time_ms, tuple(raws))

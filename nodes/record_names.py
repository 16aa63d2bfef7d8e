"""What the records of a validator's two stores are, in words that an operator can read: for damage, scrub and repair.

The keys themselves are laid down in `ledger.chain_layout`, `ledger.statemap` and `nodes.raft_store`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger import chain_layout as layout

LEDGER = "ledger"
ORDER = "order"
MAX_NAME_CHARS = 80

_NUMBERED = {
    layout.ENTRY: "entry",
    layout.BLOCK_BY_HEIGHT: "index of block",
    layout.BLOCK_AT: "index of the block record at entry",
    layout.NOTE: "final checkpoint of size",
}
_NAMED = {
    layout.STATEMENT: "index of the statement with id",
    layout.CTI: "index of the cti",
    layout.SUBJECT: "index of a subject, key",
    layout.STATE + b"r": "root of the state map",
    layout.STATE + b"p": "page of the state map at",
    layout.STATE + b"v": "value of the state map at",
}


def _readable(key: bytes) -> str:
    text = key.decode(errors="replace")
    return (text if text.isprintable() else key.hex())[:MAX_NAME_CHARS]


def ledger_record(key: bytes) -> str:
    """What the record of this key is in a ledger."""
    if key == layout.HEAD:
        return "record of where the ledger ends"
    for prefix, name in _NUMBERED.items():
        if key.startswith(prefix) and len(key) == len(prefix) + 8:
            return f"{name} {layout.read_number(key)}"
    for prefix in (layout.TILE, layout.CHUNK):
        if key.startswith(prefix) and len(key) >= len(prefix) + 9:
            at = len(prefix) + 1
            return f"tile {int.from_bytes(key[at : at + 8], 'big')} of level {key[at - 1]}"
    for prefix, name in _NAMED.items():
        if key.startswith(prefix):
            return f"{name} {key[len(prefix) :].hex()}".strip()[: MAX_NAME_CHARS + len(name)]
    return f"record {_readable(key)}"


_ORDER = {
    b"n": "record of whose this is",
    b"s": "record of term and vote",
    b"b": "record of where the order begins",
    b"d": "record of how far the order is deleted",
    b"p": "record of what may have been signed",
}


def order_record(key: bytes) -> str:
    """What the record of this key is in the order."""
    if len(key) == 9 and key[:1] in (b"e", b"c"):
        kind = "entry" if key[:1] == b"e" else "mark of the change of the membership at"
        return f"{kind} {int.from_bytes(key[1:], 'big')} of the order"
    if len(key) == 10 and key.startswith(b"m/"):
        return f"record of membership change {int.from_bytes(key[2:], 'big')}"
    return _ORDER.get(key) or f"record {_readable(key)}"


def describe(path: Path) -> Callable[[bytes], str]:
    """The namer for the store at a path, which is named after what it holds."""
    return order_record if path.name == ORDER else ledger_record

"""Where a tiled log keeps its hashes and entries: C2SP tlog-tiles.

Promises: a path has one spelling, and parsing accepts no other; a bundle holds exactly the entries that its path
says.

Does not: read or write files, or hash anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ledger.errors import Malformed, Misuse
from ledger.merkle import MAX_TREE_SIZE, TILE_HEIGHT, TILE_WIDTH

ENTRIES = -1  # the level under which entry bundles go, as they lie below the leaf hashes
MAX_ENTRY_BYTES = (1 << 16) - 1  # a bundle counts an entry's bytes in sixteen bits
MAX_LEVEL = 63
MAX_TILE_PATH_BYTES = 64

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile of hashes, or of a bundle of entries when level is ENTRIES."""
    if not ENTRIES <= level <= MAX_LEVEL or not 0 <= index <= MAX_TREE_SIZE or not 1 <= width <= TILE_WIDTH:
        raise Misuse(f"no such tile: level {level}, index {index}, width {width}")
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
    number = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{'entries' if level == ENTRIES else level}/{number}{partial}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a bundle of entries."""
    return tile_path(ENTRIES, index, width)


def parse_tile_path(path: str) -> tuple[int, int, int]:
    """Return level (ENTRIES for a bundle), index and width; Malformed unless it is the one spelling of them."""
    match = _PATH.fullmatch(path) if len(path) <= MAX_TILE_PATH_BYTES else None
    if match is None:
        raise Malformed("bad_tile_path", f"not a tile path: {path[:MAX_TILE_PATH_BYTES]!r}")
    level = ENTRIES if match[1] == "entries" else int(match[1])
    index = int(match[2].replace("x", "").replace("/", ""))
    width = int(match[3]) if match[3] else TILE_WIDTH
    in_range = level <= MAX_LEVEL and index <= MAX_TREE_SIZE and width <= TILE_WIDTH
    if not in_range or tile_path(level, index, width) != path:
        raise Malformed("bad_tile_path", f"not the canonical path of a tile: {path!r}")
    return level, index, width


def tile_width(level: int, index: int, size: int) -> int:
    """Return how wide a tile is in a tree of `size` leaves: 0 if it is not there, 256 if it is full."""
    count = size >> max(level, 0) * TILE_HEIGHT
    return max(0, min(TILE_WIDTH, count - index * TILE_WIDTH))


def encode_entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of up to 256 entries: each after its length in two bytes, big-endian."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise Misuse(f"a bundle holds 1 to {TILE_WIDTH} entries: got {len(entries)}")
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise Misuse(f"entry is too large: expected at most {MAX_ENTRY_BYTES} bytes, got {len(entry)}")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_entry_bundle(data: bytes, count: int) -> list[bytes]:
    """Return the entries of a bundle; Malformed unless there are exactly `count` and nothing else."""
    if not 1 <= count <= TILE_WIDTH:
        raise Misuse(f"a bundle holds 1 to {TILE_WIDTH} entries: got {count}")
    entries = []
    start, total = 0, len(data)
    for number in range(count):
        begin = start + 2
        stop = begin + (data[start] << 8 | data[start + 1]) if begin <= total else total + 1
        if stop > total:
            raise Malformed("bad_entry_bundle", f"bundle ends early: expected {count} entries, got {number}")
        entries.append(data[begin:stop])
        start = stop
    if start != total:
        raise Malformed("bad_entry_bundle", f"bytes follow the last entry: expected {start} bytes, got {total}")
    return entries

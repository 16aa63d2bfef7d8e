"""What an adversary does to a file: each byte altered, each length cut, parts doubled and left out. Always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from ledger.errors import Malformed, Untrue

MAX_CUTS = 200


def mutations(data: bytes, seed: int = 1, step: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yield what was done and what came of it; never the bytes themselves. Of each `step` bytes, one is altered."""
    random = Random(seed)
    for at in range(0, len(data), step):
        yield f"bit of byte {at}", data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        if at % 8 == 0:
            yield f"byte {at} gone", data[:at] + data[at + 1 :]
            yield f"byte {at} doubled", data[:at] + data[at : at + 1] + data[at:]
    for length in sorted(random.sample(range(len(data)), min(len(data), MAX_CUTS))):
        yield f"cut to {length}", data[:length]
    yield "a byte more", data + b"\x00"
    yield "twice", data + data
    yield "nothing", b""
    half = len(data) // 2
    yield "halves swapped", data[half:] + data[:half]


def survivors(data: bytes, verify: Callable[[bytes], object], step: int = 1) -> list[str]:
    """What was done to `data` that `verify` did not refuse as Malformed or Untrue; any other exception comes out."""
    found = []
    for what, altered in mutations(data, step=step):
        try:
            verify(altered)
        except (Malformed, Untrue):
            continue
        found.append(what)
    return found

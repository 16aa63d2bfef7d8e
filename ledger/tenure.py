"""Which key of an authority counted where on a log: the log keys that sign checkpoints, and the CAs of its machines.

A key is in force from one height on, until the height at which another takes its place; for an overlap after that it
still counts, which ends by block time. Both are on the log itself, so whoever has executed it knows them, and nobody
has to be asked: a validator, or an audit years later.

Does not: know how a key comes into force (the contracts do), nor trust anything: it compares numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tenure:
    """One key, or the SHA-256 of one CA certificate, of an authority."""

    authority: str
    value: bytes
    # 0 for what the genesis record names.
    from_height: int
    # From here on another is in force; None as long as this one is.
    until_height: int | None = None
    # The first block time at which it does not count any more. At `until_height` that may be over already.
    until_ms: int | None = None
    # The proposal that brought it, for whoever wants to read it; None for what the genesis record names.
    proposal: str | None = None

    def counts(self, height: int, time_ms: int) -> bool:
        """Whether it may be used for a block of that height and block time."""
        if height < self.from_height:
            return False
        if self.until_height is None or height < self.until_height:
            return True
        return self.until_ms is not None and time_ms < self.until_ms

    def in_force(self, height: int) -> bool:
        """Whether it is the one in force at a height, rather than one that still counts."""
        return self.from_height <= height and (self.until_height is None or height < self.until_height)

    def __str__(self) -> str:
        held = f"from height {self.from_height} on"
        held += f" by {self.proposal}" if self.proposal is not None else ""
        if self.until_height is not None:
            held += f", until another took its place at height {self.until_height}"
            held += f"; it counted until block time {self.until_ms} ms"
        return f"{self.authority} {self.value.hex()} {held}"


Tenures = Mapping[str, tuple[Tenure, ...]]


def counting(tenures: Iterable[Tenure], height: int, time_ms: int) -> tuple[Tenure, ...]:
    """Those that may be used there: the one in force first, then those whose overlap lasts, the newest first."""
    return tuple(each for each in reversed(tuple(tenures)) if each.counts(height, time_ms))

"""One direction of the way between two nodes: what becomes of a packet. Pure, and random only by the seed handed in.

The parameters mean what they mean for `tc netem`: each packet is lost or not; what is not lost is delayed by `delay_ms`
give or take `jitter_ms`, which lets a later one overtake; a packet that is reordered goes at once; a duplicated one
goes twice. A direction that is blocked loses everything and says nothing, as a cable that was cut would.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

MAX_DELAY_MS = 10_000.0


@dataclass(frozen=True, slots=True)
class Link:
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0
    duplicate_percent: float = 0.0
    reorder_percent: float = 0.0
    blocked: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.delay_ms <= MAX_DELAY_MS or not 0 <= self.jitter_ms <= MAX_DELAY_MS:
            raise ValueError(f"delay is out of range: expected 0 to {MAX_DELAY_MS} ms, got {self}")
        for percent in (self.loss_percent, self.duplicate_percent, self.reorder_percent):
            if not 0 <= percent <= 100:
                raise ValueError(f"share is out of range: expected 0 to 100 percent, got {self}")

    @property
    def perfect(self) -> bool:
        return self == PERFECT


PERFECT = Link()


def fate(link: Link, rng: random.Random) -> tuple[float, ...]:
    """After how many seconds each copy of a packet arrives; none if it is lost."""
    if link.perfect:
        return (0.0,)
    if link.blocked or rng.random() * 100 < link.loss_percent:
        return ()
    copies = 2 if rng.random() * 100 < link.duplicate_percent else 1
    return tuple(_delay_s(link, rng) for _ in range(copies))


def _delay_s(link: Link, rng: random.Random) -> float:
    if rng.random() * 100 < link.reorder_percent:
        return 0.0
    return max(0.0, link.delay_ms + rng.uniform(-link.jitter_ms, link.jitter_ms)) / 1000

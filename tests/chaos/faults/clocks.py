"""Wall clocks that are set. `tests/chaos/clock_step.c` says how."""

from __future__ import annotations

import random
import time

from tests.chaos.faults.hands import Hands, Held


def clock_step(hands: Hands, victim: str, rng: random.Random) -> Held:
    offset_ms = rng.choice((-3_600_000, -30_000, -2_000, 2_000, 4_000, 30_000, 3_600_000))
    hands.cluster.set_clock(victim, offset_ms)
    return Held(
        f"clock of {victim} stepped by {offset_ms / 1000:+g} s", (victim,), lambda: hands.cluster.set_clock(victim, 0)
    )


def clock_strobe(hands: Hands, victim: str, rng: random.Random) -> Held:
    for _ in range(20):
        hands.cluster.set_clock(victim, rng.randrange(-4_000, 4_000))
        time.sleep(rng.uniform(0.05, 0.3))
    hands.cluster.set_clock(victim, 0)
    return Held(f"clock of {victim} stepped to and fro 20 times within 4 s", (victim,), lambda: None)

"""The clocks of a node: the wall clock, which may be wrong and may go back, and one that only ever goes forward.

The only place where a validator asks what time it is, so that a test or the simulator can hand in another one. What
ends up in a block or a cosignature comes from `now_ms`; how long something took or has waited, from `monotonic_s`.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """`SystemClock` here; a clock set by hand in the tests, a clock that drifts in the simulator."""

    def now_ms(self) -> int: ...

    def monotonic_s(self) -> float: ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

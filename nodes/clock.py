"""The wall clock of a node, which may be wrong and may go back; `monotonic` for how long something took.

The only place where `nodes` asks what time it is for anything that ends up in a block or a cosignature, so that a test
can hand in another one.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """`SystemClock` here; a clock set by hand in the tests."""

    def now_ms(self) -> int: ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

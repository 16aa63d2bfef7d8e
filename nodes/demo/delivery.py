"""What became of each statement on its way from the device that signed it, and the figures that follow from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ledger.statement import Statement


@dataclass(frozen=True, slots=True)
class Receipt:
    """The statement is final: where it stands on the log."""

    index: int
    height: int
    block_time_ms: int
    duplicate: bool = False

    @property
    def final(self) -> bool:
        return True


class NotNow(Exception):
    """It cannot become final now; the same bytes are to be sent again."""

    def __init__(self, reason: str, retry_after_s: float, missing_authorities: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.missing_authorities = tuple(missing_authorities)


class TurnedAway(Exception):
    """The answer is no, and sending it again would not change that."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(f"{outcome}: {detail}" if detail else outcome)
        self.outcome = outcome


class PostOffice(Protocol):
    """Takes a statement to the ledger through the gateway of one side and waits until it is final."""

    async def deliver(self, statement: Statement, leaving: Callable[[], None]) -> Receipt:
        """`leaving` is called as it leaves, after any wait for a free connection. Raises NotNow or TurnedAway."""
        ...


@dataclass(slots=True)
class Delivery:
    """One statement's way. Times are of this machine's monotonic clock, in seconds."""

    statement: Statement
    authority: str
    signed_at_s: float
    first_sent_at_s: float | None = None
    final_at_s: float | None = None
    attempts: int = 0
    put_off: list[NotNow] = field(default_factory=list)
    receipt: Receipt | None = None
    turned_away: TurnedAway | None = None

    def leaving(self) -> None:
        """It leaves the device, for the first time or again."""
        if self.first_sent_at_s is None:
            self.first_sent_at_s = time.monotonic()
        self.attempts += 1

    @property
    def final(self) -> bool:
        return self.receipt is not None

    @property
    def answered(self) -> bool:
        return self.receipt is not None or self.turned_away is not None

    def overlaps(self, begin_s: float, end_s: float) -> bool:
        """Whether any of its time from first sending to final was inside the span."""
        if self.first_sent_at_s is None or self.final_at_s is None:
            return True
        return self.first_sent_at_s <= end_s and self.final_at_s >= begin_s


@dataclass(frozen=True, slots=True)
class Latency:
    """From first sending to final, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    def as_report(self) -> dict[str, float | int]:
        return {
            "count": self.count,
            "p50_ms": round(self.p50_ms, 1),
            "p99_ms": round(self.p99_ms, 1),
            "max_ms": round(self.max_ms, 1),
        }


def latency(deliveries: Iterable[Delivery]) -> Latency:
    """Nearest-rank percentiles over the deliveries that are final."""
    times_ms = sorted(
        (item.final_at_s - item.first_sent_at_s) * 1000
        for item in deliveries
        if item.final_at_s is not None and item.first_sent_at_s is not None
    )
    if not times_ms:
        return Latency(0, 0.0, 0.0, 0.0)
    return Latency(len(times_ms), _nearest_rank(times_ms, 50), _nearest_rank(times_ms, 99), times_ms[-1])


def _nearest_rank(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

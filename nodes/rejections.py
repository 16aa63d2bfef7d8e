"""How fast a participant may have statements rejected, so that one key cannot fill the order.

A statement that the contracts reject leaves no trace on the ledger (ADR 0002), but it took its place in a block and in
every validator's Raft log. A signature costs its sender little; so each participant has a bucket of rejections, which
fills again slowly. One whose bucket is empty is told to wait, by the validator that it asks, before anything is
ordered. Whoever is accepted never notices: without a recent rejection there is no bucket at all.

Every validator counts what it executes, whoever brought it, so a participant gains nothing by asking another gateway.
The count is a matter of one process: it decides what is proposed and never what comes of it, differs between
validators and is gone after a restart.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass

from nodes.clock import Clock

# Enough for one bad batch of a terminal that was out of reach for a day.
REJECTIONS_MAX = 256
REJECTIONS_PER_S = 4.0
# However much was under way when the bucket ran out, its participant waits no longer than this for the next try.
WAIT_MAX_S = 60.0
PARTICIPANTS_MAX = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_ms: int


class RejectionLimits:
    """Belongs to the event loop. Times are block times and the clock's, which differ by little."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: collections.OrderedDict[str, _Bucket] = collections.OrderedDict()
        self._under_way: collections.Counter[str] = collections.Counter()
        self.refused = 0

    def rejected(self, participant: str, at_ms: int) -> None:
        """A statement of theirs was executed in a block of this time, and rejected."""
        bucket = self._buckets.get(participant)
        if bucket is None:
            bucket = self._buckets[participant] = _Bucket(REJECTIONS_MAX, at_ms)
            if len(self._buckets) > PARTICIPANTS_MAX:
                self._buckets.popitem(last=False)
        self._fill(bucket, at_ms)
        bucket.tokens = max(bucket.tokens - 1, -WAIT_MAX_S * REJECTIONS_PER_S)
        self._buckets.move_to_end(participant)

    def wait_ms(self, participant: str) -> int:
        """How long they are to wait before they send another statement; 0 for now.

        What is under way counts as if it were rejected: otherwise a bucket could be overdrawn by all that fits a queue.
        """
        bucket = self._buckets.get(participant)
        if bucket is None:
            return 0
        self._fill(bucket, self._clock.now_ms())
        missing = self._under_way[participant] + 1 - bucket.tokens
        if missing <= 0:
            return 0
        self.refused += 1
        return max(1, int(min(missing / REJECTIONS_PER_S, WAIT_MAX_S) * 1000))

    def begun(self, participant: str) -> None:
        """A statement of theirs is on its way to the order."""
        self._under_way[participant] += 1

    def ended(self, participant: str) -> None:
        """It was answered."""
        self._under_way[participant] -= 1
        if self._under_way[participant] <= 0:
            del self._under_way[participant]

    def limited(self) -> list[str]:
        """Those who would have to wait now."""
        now_ms = self._clock.now_ms()
        for bucket in self._buckets.values():
            self._fill(bucket, now_ms)
        return sorted(name for name, bucket in self._buckets.items() if bucket.tokens < 1)

    def _fill(self, bucket: _Bucket, now_ms: int) -> None:
        gone_ms = now_ms - bucket.at_ms
        if gone_ms > 0:
            bucket.tokens = min(REJECTIONS_MAX, bucket.tokens + gone_ms / 1000 * REJECTIONS_PER_S)
            bucket.at_ms = now_ms

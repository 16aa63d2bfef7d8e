"""How fast the disk is, as the synced writes of the order see it, and when it is too slow for a leader.

A leader whose every write takes seconds makes everybody wait, and its heartbeats wait with it. So it hands over; as a
follower it slows nobody down, since a majority is enough. What counts is a smoothed time, so that one long write is
forgiven, and a write that has been going on for long, so that a disk that does not answer at all shows.
"""

from __future__ import annotations

from nodes.clock import Clock

# Smoothed over about sixteen writes.
SLOW_SYNC_S = 0.2
STUCK_S = 2.0
HAND_OVER_AGAIN_S = 30.0


class DiskHealth:
    """`began` and `ended` around every synced write, of which there is one at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s: float | None = None
        self._handed_over_s: float | None = None
        self.smoothed_s = 0.0

    def began(self) -> None:
        self._began_s = self._clock.monotonic_s()

    def ended(self) -> float:
        """How long it took, in seconds."""
        took_s = self.waiting_s()
        self._began_s = None
        self.smoothed_s += (took_s - self.smoothed_s) / 16
        return took_s

    def given_up(self) -> None:
        """The disk refused; that says nothing about its speed."""
        self._began_s = None

    def waiting_s(self) -> float:
        """For how long a write has been going on; 0 if there is none."""
        return 0.0 if self._began_s is None else self._clock.monotonic_s() - self._began_s

    @property
    def slow(self) -> bool:
        return self.smoothed_s > SLOW_SYNC_S or self.waiting_s() > STUCK_S

    def shall_hand_over(self) -> bool:
        """Whether a leader should let somebody else lead now; not again at once, if nobody is faster."""
        now_s = self._clock.monotonic_s()
        if not self.slow or (self._handed_over_s is not None and now_s - self._handed_over_s < HAND_OVER_AGAIN_S):
            return False
        self._handed_over_s = now_s
        return True

    def __str__(self) -> str:
        if self.waiting_s() > STUCK_S:
            return f"the disk is slow: a write has been going on for {self.waiting_s():.0f} s"
        return f"the disk is slow: {self.smoothed_s * 1000:.0f} ms for a synced write"

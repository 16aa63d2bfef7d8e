"""Peers that send what no validator sends, and how long nothing of theirs is read.

A peer is known by its certificate, so what it sends is its own doing: a bug, or a lie. A few such messages are counted
and dropped one by one; a peer that goes on is cut off, its stream ended, for a second at first and twice as long each
time, up to a minute. It is let in again afterwards, because a validator that was repaired must come back by itself.

Cutting off a peer costs what its absence costs, and nothing else: it may be what keeps an authority from being there.
That is its operator's to mend, and status and log name it.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from nodes.clock import Clock

# So many offences may come at once, and so many a second are forgiven.
OFFENCES_MAX = 64
FORGIVEN_PER_S = 1.0
CUT_OFF_FIRST_S = 1.0
CUT_OFF_LAST_S = 60.0
# Whoever behaved for so long begins anew.
GOOD_AFTER_S = 600.0


@dataclass(slots=True)
class _Record:
    offences: float = 0.0
    at_s: float = 0.0
    total: int = 0
    until_s: float = 0.0
    next_s: float = CUT_OFF_FIRST_S
    what: str = ""


class Offences:
    """Belongs to the event loop. Names are those of peers, so there are as many records as members."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._log = structlog.get_logger().bind(part="offences")

    def add(self, peer: str, what: str) -> None:
        """Count one. Enough of them in a short time cut the peer off."""
        now_s = self._clock.monotonic_s()
        record = self._records.setdefault(peer, _Record(at_s=now_s))
        idle_s = now_s - record.at_s
        if idle_s > GOOD_AFTER_S:
            record.next_s = CUT_OFF_FIRST_S
        record.offences = max(0.0, record.offences - idle_s * FORGIVEN_PER_S) + 1
        record.at_s, record.what = now_s, what
        record.total += 1
        if record.offences > OFFENCES_MAX and now_s >= record.until_s:
            record.until_s = now_s + record.next_s
            self._log.error("peer_cut_off", peer=peer, for_s=record.next_s, offences=record.total, last=what)
            record.next_s = min(record.next_s * 2, CUT_OFF_LAST_S)
            record.offences = OFFENCES_MAX / 2

    def why(self, peer: str) -> str | None:
        """Why nothing of this peer is read now, or None."""
        record = self._records.get(peer)
        if record is None or not record.until_s:
            return None
        left_s = record.until_s - self._clock.monotonic_s()
        return f"{peer} is cut off for {left_s:.0f} s: it sent {record.what}" if left_s > 0 else None

    def total(self) -> int:
        return sum(record.total for record in self._records.values())

    def cut_off(self) -> list[str]:
        """Why, of each peer that is cut off now."""
        return [why for peer in sorted(self._records) if (why := self.why(peer)) is not None]

"""What ends by itself: certificates and keys, and how near their end is.

An operator hears of it 90, 30 and 7 days ahead, and once it has ended: in the status, in what `/readyz` says, and in
`/metrics`. Nothing here stops anything: what has ended is refused where it is used.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from prometheus_client import CollectorRegistry, Gauge

WARNED_DAYS = (7, 30, 90)
DAY_MS = 86_400_000
MAX_TOLD = 3


@dataclass(frozen=True, slots=True)
class Ending:
    """Something with an end: `certificate of kz-kgd-1`, `key of kz-kgd/registrar`. `ends_ms` is Unix time."""

    what: str
    ends_ms: int

    def within_days(self, now_ms: int) -> int | None:
        """The nearest of the warned days that it ends within; 0 once it has ended, None if it is far off."""
        left_ms = self.ends_ms - now_ms
        if left_ms <= 0:
            return 0
        return next((days for days in WARNED_DAYS if left_ms <= days * DAY_MS), None)

    def in_words(self, now_ms: int) -> str:
        date = datetime.datetime.fromtimestamp(self.ends_ms // 1000, datetime.UTC).date().isoformat()
        if self.ends_ms <= now_ms:
            return f"{self.what} has ended on {date}"
        return f"{self.what} ends in {(self.ends_ms - now_ms) // DAY_MS} days, on {date}"


def certificate_endings(what: str, pem: bytes) -> list[Ending]:
    """The end of every certificate of a file. Raises ValueError if it holds none."""
    certificates = x509.load_pem_x509_certificates(pem)
    return [Ending(what, int(each.not_valid_after_utc.timestamp()) * 1000) for each in certificates]


def file_endings(files: Iterable[tuple[str, Path]]) -> list[Ending]:
    """The ends of certificates on the disk; what cannot be read here is told where it is used."""
    found = []
    for what, path in files:
        try:
            found += certificate_endings(what, path.read_bytes())
        except (OSError, ValueError):
            continue
    return found


def nearing(endings: Iterable[Ending], now_ms: int) -> list[Ending]:
    """Those that an operator is to be told of, the nearest first."""
    near = [each for each in endings if each.within_days(now_ms) is not None]
    return sorted(near, key=lambda each: (each.ends_ms, each.what))


def warning(near: list[Ending], now_ms: int) -> str:
    """All of them in one line; empty if there is none."""
    told = "; ".join(each.in_words(now_ms) for each in near[:MAX_TOLD])
    return told + (f"; and {len(near) - MAX_TOLD} more" if len(near) > MAX_TOLD else "")


class EndingGauges:
    """The same for Prometheus: when each ends, and how many are within each of the warned days."""

    def __init__(self, prefix: str, registry: CollectorRegistry) -> None:
        self._ends = Gauge(
            f"{prefix}_ends_timestamp_seconds",
            "Unix time at which a certificate or key ends",
            ["what"],
            registry=registry,
        )
        self._within = Gauge(
            f"{prefix}_ends_within_days",
            "Certificates and keys that end within so many days, or have ended",
            ["days"],
            registry=registry,
        )

    def set(self, endings: Iterable[Ending], now_ms: int) -> None:
        self._ends.clear()
        earliest: dict[str, int] = {}
        for each in endings:
            earliest[each.what] = min(each.ends_ms, earliest.get(each.what, each.ends_ms))
        for what, ends_ms in earliest.items():
            self._ends.labels(what).set(ends_ms / 1000)
        for days in (0, *WARNED_DAYS):
            left_ms = days * DAY_MS
            self._within.labels(str(days)).set(sum(ends_ms - now_ms <= left_ms for ends_ms in earliest.values()))

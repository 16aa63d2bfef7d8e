"""What a validator tells Prometheus. Counters and histograms are kept as things happen; gauges are read when asked.

A registry of its own, so that several validators can live in one process, as in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from api.expiry import Ending, EndingGauges
from nodes.further import Health

_SYNC_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
_BLOCK_BUCKETS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 400, 1000)
_EXECUTE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LAG_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)


class _FurtherGauges:
    """How far behind the further cosigners are. The labelled ones are there only where some are asked."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._size = Gauge(
            "comity_further_size",
            "Entries under the newest checkpoint that satisfies the policy of further cosignatures",
            registry=registry,
        )
        self._lag_s = Gauge(
            "comity_further_lag_seconds",
            "How long the oldest final entry has been waiting to be under such a checkpoint",
            registry=registry,
        )
        self._cosigned = Gauge(
            "comity_further_cosigned_size",
            "Largest size that a further cosigner has cosigned, as this validator knows since its start",
            ["cosigner"],
            registry=registry,
        )
        self._trouble = Gauge(
            "comity_further_trouble",
            "1 while something is wrong with a further cosigner: comity status says what",
            ["cosigner"],
            registry=registry,
        )

    def set(self, health: Health | None) -> None:
        if health is None:
            return
        self._size.set(health.size)
        self._lag_s.set(health.lag_ms / 1000)
        for each in health.cosigners:
            self._cosigned.labels(each.name).set(each.size)
            self._trouble.labels(each.name).set(each.trouble != "")


class Metrics:
    """The metrics of one validator."""

    def __init__(self, validator: str) -> None:
        self.registry = CollectorRegistry()
        self.validator = validator
        registry = self.registry
        # Open file descriptors and their limit, among others: a store that cannot open a file cannot go on.
        ProcessCollector(registry=registry)
        self._endings = EndingGauges("comity", registry)
        self._read_endings: Callable[[], tuple[Iterable[Ending], int]] = lambda: ((), 0)
        self._further = _FurtherGauges(registry)
        self._read_further: Callable[[], Health | None] = lambda: None
        self.sync_s = Histogram(
            "comity_raft_sync_seconds", "Synced write of the Raft log", buckets=_SYNC_BUCKETS_S, registry=registry
        )
        self.block_statements = Histogram(
            "comity_block_statements", "Statements in a block", buckets=_BLOCK_BUCKETS, registry=registry
        )
        self.execute_s = Histogram(
            "comity_block_execute_seconds",
            "Executing and appending a block, the synced write included",
            buckets=_EXECUTE_BUCKETS_S,
            registry=registry,
        )
        self.final_s = Histogram(
            "comity_final_seconds", "From executed here to final", buckets=_LAG_BUCKETS_S, registry=registry
        )
        self.accepted = Counter("comity_statements_accepted", "Statements appended", registry=registry)
        self.rejected = Counter(
            "comity_statements_rejected", "Statements that the contracts rejected", ["outcome"], registry=registry
        )
        self.late = Counter(
            "comity_statements_late",
            "Statements appended that were dated before the soft limit of skew",
            registry=registry,
        )
        self.refused = Counter(
            "comity_statements_refused", "Statements that were not ordered", ["reason"], registry=registry
        )
        self.signature_checks = Counter(
            "comity_signature_checks", "Signatures of statements checked", ["when"], registry=registry
        )
        self.malformed_blocks = Counter(
            "comity_malformed_blocks", "Ordered payloads that are no block", registry=registry
        )
        self.divergences = Counter(
            "comity_divergences", "Valid cosignatures of another root than ours", registry=registry
        )

    def gauges(self, read: Callable[[], Mapping[str, float]], meanings: Mapping[str, str]) -> None:
        """Register gauges by name and meaning; `read` gives their values when somebody asks."""
        self._read = read
        self._gauges = {
            name: Gauge(f"comity_{name}", meaning, registry=self.registry) for name, meaning in meanings.items()
        }

    def endings(self, read: Callable[[], tuple[Iterable[Ending], int]]) -> None:
        """Tell what ends by itself: `read` gives it, and the time, when somebody asks."""
        self._read_endings = read

    def further(self, read: Callable[[], Health | None]) -> None:
        """Tell how far behind the further cosigners are: `read` says it when somebody asks; None if none are asked."""
        self._read_further = read

    def text(self) -> bytes:
        self._further.set(self._read_further())
        self._endings.set(*self._read_endings())
        for name, value in self._read().items():
            self._gauges[name].set(value)
        return generate_latest(self.registry)

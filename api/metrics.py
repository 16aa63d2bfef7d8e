"""What the gateway counts, for Prometheus. One registry a gateway, so that several can live in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.answers import Accepted, Answer, Refused, Rejected
from api.attachments import AttachmentStore
from api.expiry import Ending, EndingGauges
from api.validators import ValidatorPool

LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class GatewayMetrics:
    """Counters that the routes and streams touch; gauges that are read from the pool when asked for."""

    def __init__(
        self,
        pool: ValidatorPool,
        attachments: AttachmentStore | None = None,
        endings: Sequence[Ending] = (),
        unbound_tokens: Callable[[], int] = lambda: 0,
    ) -> None:
        self._pool = pool
        self._store = attachments
        self._unbound = unbound_tokens
        self.registry = CollectorRegistry()
        self._endings = endings
        self._ending_gauges = EndingGauges("comity_gateway", self.registry)
        self._requests = Counter(
            "comity_gateway_requests", "HTTP requests", ["operation", "status"], registry=self.registry
        )
        self._latency = Histogram(
            "comity_gateway_request_seconds",
            "Time from a request to the start of its answer",
            ["operation"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        statements = Counter("comity_gateway_statements", "Statements answered", ["answer"], registry=self.registry)
        # Looked up once: the submit stream counts thousands a second.
        self._accepted = statements.labels("accepted")
        self._rejected = statements.labels("rejected")
        self._refused = statements.labels("refused")
        self._unavailable = statements.labels("unavailable")
        self._streams = Gauge("comity_gateway_streams", "Open streams", ["kind"], registry=self.registry)
        self._in_flight = Gauge("comity_gateway_in_flight", "Statements not answered yet", registry=self.registry)
        self._in_flight_bytes = Gauge(
            "comity_gateway_in_flight_bytes", "Bytes of the statements not answered yet", registry=self.registry
        )
        self._awaiting_final = Gauge(
            "comity_gateway_awaiting_final", "Waits for an entry to become final", registry=self.registry
        )
        self._resent = Gauge(
            "comity_gateway_resent", "Statements sent again through another validator", registry=self.registry
        )
        self._final_size = Gauge("comity_gateway_final_size", "Entries that are final", registry=self.registry)
        self._validator_up = Gauge(
            "comity_gateway_validator_up", "Whether the stream to a validator is open", ["validator"],
            registry=self.registry,
        )  # fmt: skip
        self._authority_reachable = Gauge(
            "comity_gateway_authority_reachable", "Whether our validators reach an authority", ["authority"],
            registry=self.registry,
        )  # fmt: skip

        self._unbound_tokens = Gauge(
            "comity_gateway_unbound_tokens",
            "Tokens taken since the start that name the log and not this authority: of clients of before",
            registry=self.registry,
        )
        self._attachments = Gauge("comity_gateway_attachments", "Attachments kept", ["kind"], registry=self.registry)
        self._attachment_bytes = Gauge(
            "comity_gateway_attachment_bytes", "Bytes of the attachments kept", ["kind"], registry=self.registry
        )
        self._attachments_damaged = Gauge(
            "comity_gateway_attachments_damaged",
            "Attachments set aside because their bytes had changed",
            registry=self.registry,
        )

    def observe_request(self, operation: str, status: int, seconds: float) -> None:
        self._requests.labels(operation, str(status)).inc()
        self._latency.labels(operation).observe(seconds)

    def count_answer(self, answer: Answer) -> None:
        if isinstance(answer, Accepted):
            self._accepted.inc()
        elif isinstance(answer, Rejected):
            self._rejected.inc()
        elif isinstance(answer, Refused):
            self._refused.inc()
        else:
            self._unavailable.inc()

    @contextmanager
    def stream(self, kind: str) -> Iterator[None]:
        """Counts a stream while it is open."""
        gauge = self._streams.labels(kind)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        pool = self._pool
        self._ending_gauges.set(self._endings, time.time_ns() // 1_000_000)
        self._in_flight.set(pool.streams.in_flight)
        self._in_flight_bytes.set(pool.streams.in_flight_bytes)
        self._awaiting_final.set(pool.finality.waiting)
        self._resent.set(pool.streams.resent)
        self._unbound_tokens.set(self._unbound())
        self._final_size.set(pool.finality.size)
        for lane in pool.lanes:
            self._validator_up.labels(lane.name).set(lane.up)
        if self._store is not None:
            for kind, (number, size_bytes) in self._store.counts().items():
                self._attachments.labels(kind).set(number)
                self._attachment_bytes.labels(kind).set(size_bytes)
            self._attachments_damaged.set(self._store.damaged)
        status = pool.best_status()
        if status is not None:
            for authority in status.authorities:
                self._authority_reachable.labels(authority.name).set(authority.reachable)
        return generate_latest(self.registry)

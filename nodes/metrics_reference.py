"""`docs/metrics.md`: every metric of a validator and of a gateway, read out of their registries.

`make generate` writes the page, `python -m tests.generated` checks it: a metric that is not on it does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import cast

from prometheus_client import CollectorRegistry

from api.listing import Listing
from api.metrics import GatewayMetrics
from api.validators import ValidatorPool
from nodes.metrics import Metrics
from nodes.status import GAUGES

PAGE = "docs/metrics.md"
# Every registry of a process has these; Prometheus says what they mean.
OF_THE_LIBRARY = ("process_", "python_")

_INTRODUCTION = """# Metrics

Written by `make generate` from what validators and gateways register; do not edit by hand. Which of them to have an
alarm for is in [operating.md](operating.md#watch). A counter's name ends in `_total`; a histogram has `_bucket`, `_sum`
and `_count`. A validator also has `process_open_fds`, `process_resident_memory_bytes` and the others that Prometheus
defines for a process.
"""


def registries() -> tuple[CollectorRegistry, CollectorRegistry]:
    """Of a validator and of a gateway that nobody runs: for their names only."""
    validator = Metrics("validator")
    validator.gauges(lambda: dict.fromkeys(GAUGES, 0.0), GAUGES)
    gateway = GatewayMetrics(cast(ValidatorPool, None)).registry
    Listing(None, cast(Callable[[bytes], Awaitable[bool]], None), gateway)
    return validator.registry, gateway


def text() -> str:
    """The page."""
    validator, gateway = registries()
    parts = [_INTRODUCTION]
    for title, registry in (("A validator", validator), ("A gateway", gateway)):
        parts += [f"\n## {title}\n\n| metric | kind | by | what it is |\n| --- | --- | --- | --- |\n"]
        parts += [f"{row}\n" for row in sorted(_rows(registry), key=lambda row: row.split("`")[1])]
    return "".join(parts)


def _rows(registry: CollectorRegistry) -> Iterator[str]:
    for collector in registry._collector_to_names:
        for metric in collector.describe() if hasattr(collector, "describe") else ():
            if metric.name.startswith(OF_THE_LIBRARY):
                continue
            suffix = "_total" if metric.type == "counter" else ""
            labels = ", ".join(f"`{name}`" for name in getattr(collector, "_labelnames", ()))
            yield f"| `{metric.name}{suffix}` | {metric.type} | {labels} | {metric.documentation} |"

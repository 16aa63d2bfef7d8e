"""What operators are told to watch is there to be watched."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from prometheus_client import generate_latest

from api.listing import Listing
from api.metrics import GatewayMetrics
from api.validators import ValidatorPool
from nodes.metrics import Metrics
from nodes.status import GAUGES

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


def test_every_metric_of_the_operators_page_is_one_that_a_validator_or_a_gateway_has() -> None:
    metrics = Metrics("kz-kgd-1")
    metrics.gauges(lambda: dict.fromkeys(GAUGES, 0.0), GAUGES)
    documented = set(re.findall(r"`((?:comity|process)_[a-z_]+)`", OPERATING.read_text()))
    registry = GatewayMetrics(cast(ValidatorPool, None)).registry
    Listing(None, cast(Callable[[bytes], Awaitable[bool]], None), registry)
    gateway = generate_latest(registry)
    there = set(re.findall(r"(?m)^# TYPE (\S+)", (metrics.text() + gateway).decode()))
    assert len(documented) > 15
    assert documented - there == set()

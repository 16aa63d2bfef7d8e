"""What operators are told to watch is there to be watched."""

from __future__ import annotations

import re
from pathlib import Path

from nodes.metrics import Metrics
from nodes.status import GAUGES

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


def test_every_metric_of_the_operators_page_is_one_that_a_validator_has() -> None:
    metrics = Metrics("kz-kgd-1")
    metrics.gauges(lambda: dict.fromkeys(GAUGES, 0.0), GAUGES)
    documented = set(re.findall(r"`((?:comity|process)_[a-z_]+)`", OPERATING.read_text()))
    there = set(re.findall(r"(?m)^# TYPE (\S+)", metrics.text().decode()))
    assert len(documented) > 15
    assert documented - there == set()

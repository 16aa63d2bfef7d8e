"""What operators are told to watch is there to be watched, and what is there to be watched is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from nodes.further import Cosigner, Health
from nodes.metrics import Metrics
from nodes.metrics_reference import registries, text

DOCS = Path(__file__).parents[2] / "docs"
# Part of a longer name in a sentence about several.
PREFIXES = {"comity_catch_up_"}


def exposed() -> set[str]:
    return set(
        re.findall(r"(?m)^# TYPE (\S+)", b"".join(generate_latest(registry) for registry in registries()).decode())
    )


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_metric_that_a_page_names_is_one_that_a_validator_or_a_gateway_has(page: Path) -> None:
    named = set(re.findall(r"`((?:comity|process)_[a-z0-9_]+)`", page.read_text()))
    assert named - exposed() - PREFIXES == set()


def test_the_operators_page_tells_what_to_watch() -> None:
    assert len(re.findall(r"`(?:comity|process)_[a-z_]+`", (DOCS / "operating.md").read_text())) > 15


def test_the_page_of_metrics_has_every_one_that_is_ours() -> None:
    listed = set(re.findall(r"(?m)^\| `(\w+)` \|", text()))
    ours = {
        name for name in exposed() if not name.startswith(("process_", "python_")) and not name.endswith("_created")
    }
    assert listed == ours


def test_a_gauge_is_what_was_read_when_somebody_asked() -> None:
    metrics, values = Metrics("kz-kgd-1"), {"halted": 0.0}
    metrics.gauges(lambda: values, {"halted": "1 if this validator has halted"})
    assert b"comity_halted 0.0" in metrics.text()
    values["halted"] = 1.0
    assert b"comity_halted 1.0" in metrics.text()


def test_who_of_the_further_cosigners_is_behind_is_told_by_name_and_only_where_some_are_asked() -> None:
    metrics = Metrics("kz-kgd-1")
    metrics.gauges(dict, {})
    assert b"{cosigner=" not in metrics.text()
    away = Cosigner("w1", size=40, trouble="cannot be reached: refused")
    metrics.further(lambda: Health(40, 61_500, (Cosigner("kz-kgd-1-ml-dsa", size=55), away)))
    for line in (
        "comity_further_size 40.0",
        "comity_further_lag_seconds 61.5",
        'comity_further_cosigned_size{cosigner="kz-kgd-1-ml-dsa"} 55.0',
        'comity_further_cosigned_size{cosigner="w1"} 40.0',
        'comity_further_trouble{cosigner="kz-kgd-1-ml-dsa"} 0.0',
        'comity_further_trouble{cosigner="w1"} 1.0',
    ):
        assert line in metrics.text().decode().splitlines()

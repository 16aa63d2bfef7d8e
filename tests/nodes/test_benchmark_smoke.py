"""The benchmark runs, and its report holds every figure. How good the figures are is not for a test to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.report import TARGETS, ratios, table, targets_met

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 150
FIGURES = (
    "final_per_s",
    "submit_to_final_ms",
    "validator_rss_mb",
    "audit_entries_per_s",
    "proof_http_ms",
    "signature_checks_per_s",
    "execute_us",
)


@pytest.mark.soak
@pytest.mark.processes
def test_a_quick_run_of_the_benchmark_reports_every_figure(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick", "--out", str(out)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(out.read_text())
    for name in ("machine", "commit", "bare_signature_checks", *FIGURES):
        assert report[name] is not None, name
    for name in ("submit_to_final_ms", "proof_http_ms", "execute_us"):
        assert 0 < report[name]["p50"] <= report[name]["p99"]
    assert set(report["ratios"]) == set(FIGURES)
    not_measured = {name for name, verdict in report["targets"].items() if verdict["measured"] is None}
    assert not_measured == {  # these need a network that catches up for a while, and a ledger that takes long to make
        "catching_up.network.ratio_p50",
        "catching_up.network.ratio_p99",
        "catching_up.start_of_a_million.seconds_to_started",
    }
    assert report["catching_up"]["start"]["entries"] == 2000
    assert report["catching_up"]["blocks"]["statements"] >= 900
    assert set(report["saturated"]["outcomes"]) == {"STATE_FINAL"}
    assert set(report["latency"]["outcomes"]) == {"final"}
    # What the gateways said was final is what the archive holds: genesis, statements, and a record for each block.
    statements = report["statements_final"]
    assert report["audit"]["report"]["statements"] == statements
    assert report["catching_up"]["snapshot"]["records"] >= 2000
    assert "final_per_s" in done.stdout


def report_of(benchmark: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{benchmark}", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.soak
@pytest.mark.processes
def test_a_short_run_of_what_a_gateway_serves_reports_every_stage(tmp_path: Path) -> None:
    report = report_of("serving", "--entries", "700", "--requests", "40")
    for stage in ("proofs_first", "proofs_again", "tiles_full", "tiles_partial", "bundles"):
        assert report[stage]["requests"] == 40
        assert 0 < report[stage]["ms"]["p50"] <= report[stage]["ms"]["p99"]


def test_a_short_run_of_verifying_one_proof_reports_every_figure() -> None:
    report = report_of("verifying", "--entries", "500", "--runs", "1")
    for figure in ("proof_bytes", "command_processor_s", "command_clock_s", "library_us", "bare_check_us"):
        assert report[figure] > 0, figure


def test_a_target_is_met_only_by_a_figure_on_its_right_side() -> None:
    figures = {"final_per_s": 999.9, "submit_to_final_ms": {"p50": 60.0, "p99": 300.1}, "validator_rss_mb": 120.0}
    verdicts = targets_met(figures)
    assert {name: verdict["met"] for name, verdict in verdicts.items()} == {
        "final_per_s": False,
        "submit_to_final_ms.p50": True,
        "submit_to_final_ms.p99": False,
        "validator_rss_mb": True,
        "execute_us.p50": None,
        "audit_entries_per_s": None,
        "proof_http_ms.p99": None,
        "catching_up.snapshot.entries_per_s.by_clock": None,
        "catching_up.snapshot.records_per_s.by_clock": None,
        "catching_up.blocks.statements_per_s": None,
        "catching_up.network.ratio_p50": None,
        "catching_up.network.ratio_p99": None,
        "catching_up.start_of_a_million.seconds_to_started": None,
    }
    assert set(verdicts) == set(TARGETS)


def test_ratios_are_to_the_signature_checks_that_a_figure_needs() -> None:
    bare = {"all_cores_per_s": 20_000, "one_check_us": 100.0, "bare_process_rss_mb": 10.0}
    figures = {
        "final_per_s": 1000.0,
        "submit_to_final_ms": {"p50": 50.0},
        "validator_rss_mb": 120.0,
        "audit_entries_per_s": 5000.0,
        "proof_http_ms": {"p50": 4.0},
    }
    assert ratios(figures, bare, 4) == {
        "final_per_s": 0.2,  # 20,000 checks a second, four for each statement
        "submit_to_final_ms": 250.0,  # four checks take 0.2 ms
        "validator_rss_mb": 12.0,
        "audit_entries_per_s": 0.25,
        "proof_http_ms": 40.0,
    }


def test_the_table_names_what_was_not_measured() -> None:
    report = {"targets": targets_met({"final_per_s": 1200.0}), "ratios": {"final_per_s": 0.25}}
    lines = table(report).splitlines()
    assert lines[1].split() == ["final_per_s", "1,200.0", ">=", "1,000", "yes", "0.25"]
    assert "not measured" in lines[2]

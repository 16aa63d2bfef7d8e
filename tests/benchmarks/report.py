"""The figures beside their targets, and as ratios to the bare cost of the signature checks they need.

How each ratio is defined (`bare` is PyNaCl alone, measured in the same run, on all cores unless said otherwise):

- `final_per_s`: every validator checks every statement, so the bare bound is checks a second divided by the number of
  validators. The ratio is the part of that bound that was reached; 1 would mean that nothing but signature checks cost.
- `submit_to_final_ms`: p50 divided by the time of the checks of one statement at all validators, at the bare rate.
- `validator_rss_mb`: divided by the memory of an interpreter that has imported PyNaCl and checked one signature.
- `execute_us`: p50 divided by one bare check, both in time of the processor, taken in the same minute.
- `audit_entries_per_s`: one check an entry; divided by the bare rate.
- `proof_http_ms`: one check, the caller's token; p50 divided by the time of one bare check on one thread.
- `signature_checks_per_s`: through our own parsing and key handling, divided by the bare rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Target, and whether more is better. Statements a second, milliseconds, megabytes, microseconds, entries a second,
# milliseconds; then entries and records of a snapshot and statements of blocks a second, times the latency of before,
# seconds.
TARGETS: Mapping[str, tuple[float, bool]] = {
    "final_per_s": (1000.0, True),
    "submit_to_final_ms.p50": (60.0, False),
    "submit_to_final_ms.p99": (300.0, False),
    "validator_rss_mb": (200.0, False),
    "execute_us.p50": (60.0, False),
    "audit_entries_per_s": (10_000.0, True),
    "proof_http_ms.p99": (20.0, False),
    "catching_up.snapshot.entries_per_s.by_clock": (10_000.0, True),
    "catching_up.snapshot.records_per_s.by_clock": (100_000.0, True),
    "catching_up.blocks.statements_per_s": (10_000.0, True),
    "catching_up.network.ratio_p50": (2.0, False),
    "catching_up.network.ratio_p99": (2.0, False),
    "catching_up.start_of_a_million.seconds_to_started": (10.0, False),
}


def value_of(figures: Mapping[str, Any], name: str) -> float | None:
    """`a.b` is member b of figure a; None where it was not measured."""
    value: Any = figures
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return None if value is None else float(value)


def targets_met(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each target with what was measured; `met` is None where nothing was."""
    verdicts: dict[str, dict[str, Any]] = {}
    for name, (target, more_is_better) in TARGETS.items():
        value = value_of(figures, name)
        met = None if value is None else (value >= target if more_is_better else value <= target)
        verdicts[name] = {"target": target, "at_least": more_is_better, "measured": value, "met": met}
    return verdicts


def ratios(figures: Mapping[str, Any], bare: Mapping[str, Any], validators: int) -> dict[str, float]:
    """The module's docstring defines each."""
    checks_per_s = float(bare["all_cores_per_s"])
    one_check_ms = float(bare["one_check_us"]) / 1000
    references = {
        "final_per_s": ("final_per_s", checks_per_s / validators),
        "submit_to_final_ms": ("submit_to_final_ms.p50", validators / checks_per_s * 1000),
        "validator_rss_mb": ("validator_rss_mb", float(bare["bare_process_rss_mb"])),
        "audit_entries_per_s": ("audit_entries_per_s", checks_per_s),
        "proof_http_ms": ("proof_http_ms.p50", one_check_ms),
        # Of a processor, both: the bare check is the one that was made between the blocks.
        "execute_us": ("execute_us.p50", value_of(figures, "execute_us.bare_check") or one_check_ms * 1000),
        "signature_checks_per_s": ("signature_checks_per_s", checks_per_s),
    }
    found: dict[str, float] = {}
    for name, (figure, reference) in references.items():
        value = value_of(figures, figure)
        if value is not None:
            found[name] = round(value / reference, 3)
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    measured: str
    target: str
    verdict: str
    ratio: str


def table(report: Mapping[str, Any]) -> str:
    """For people, at the end of a run."""
    rows = [_Row("figure", "measured", "target", "met", "to bare checks")]
    for name, verdict in report["targets"].items():
        measured = verdict["measured"]
        ratio = report["ratios"].get(name.split(".")[0]) if not name.endswith("p99") or "proof" in name else None
        rows.append(
            _Row(
                name,
                "-" if measured is None else f"{measured:,.1f}",
                f"{'>=' if verdict['at_least'] else '<='} {verdict['target']:,.0f}",
                {None: "not measured", True: "yes", False: "NO"}[verdict["met"]],
                "-" if ratio is None else f"{ratio:.2f}",
            )
        )
    checks = report.get("signature_checks_per_s")
    if checks is not None:
        ratio = report["ratios"].get("signature_checks_per_s", 0.0)
        rows.append(_Row("signature_checks_per_s", f"{checks:,.0f}", "-", "-", f"{ratio:.2f}"))
    widths = [max(len(getattr(row, field)) for row in rows) for field in _Row.__slots__]
    return "\n".join(
        "  ".join(
            getattr(row, field).ljust(width) if number == 0 else getattr(row, field).rjust(width)
            for number, (field, width) in enumerate(zip(_Row.__slots__, widths, strict=True))
        ).rstrip()
        for row in rows
    )

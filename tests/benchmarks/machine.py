"""What was measured, and on what: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_machine() -> dict[str, Any]:
    """Processor, memory, interpreter, and how busy the machine was before the benchmark began."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def describe_commit() -> dict[str, Any]:
    """The commit, and whether the working tree differs from it; None where this is no clone."""
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed": None if status is None else bool(status),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def percentiles(values_ms: list[float]) -> dict[str, float]:
    """p50, p99 and the largest, by nearest rank."""
    if not values_ms:
        raise ValueError("no values to take percentiles of")
    ordered = sorted(values_ms)

    def rank(permille: int) -> float:
        return round(ordered[max(0, -(-len(ordered) * permille // 1000) - 1)], 2)

    return {"p50": rank(500), "p90": rank(900), "p99": rank(990), "max": round(ordered[-1], 2)}

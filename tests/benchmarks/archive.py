"""The auditor's part: a validator's ledger as an archive, audited as a stranger would, by the command line.

The time of the audit is that of the whole command, start of the interpreter included, with two jobs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger.archive import archive_policy, export_archive
from ledger.chain import Chain
from ledger.policy import parse_policy
from nodes.checked_stores import open_checked
from nodes.network import Network
from tests.benchmarks.machine import REPOSITORY

JOBS = 2
AUDIT_TIMEOUT_S = 600.0


class AuditFailed(Exception):
    """The audit of an archive that ought to hold did not hold, or did not end."""


def export_and_audit(network: Network, directory: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """Export the ledger of the first validator, which must have stopped, and audit it. Raises AuditFailed."""
    validator = network.validators[0]
    policy_path = next(a.policy for a in network.authorities if a.name == validator.authority)
    started = time.perf_counter()
    store = open_checked(validator.config.parent / "data" / "ledger")
    try:
        chain = Chain.open(store)
        final = chain.latest_final
        if final is None:
            raise AuditFailed(f"{validator.name} has no final checkpoint")
        size, note = final
        export_archive(chain, directory, archive_policy(parse_policy(policy_path.read_bytes())), note)
    finally:
        store.close()
    exported_s = time.perf_counter() - started
    progress(f"archive of {size} entries exported in {exported_s:.1f} s")
    audited_s, report = _audit(directory, policy_path)
    progress(f"audit: {size / audited_s:.0f} entries a second")
    return {
        "entries": size,
        "jobs": JOBS,
        "seconds": round(audited_s, 2),
        "entries_per_s": round(size / audited_s, 1),
        "export_seconds": round(exported_s, 2),
        "archive_mb": round(sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 2**20, 1),
        "report": report,
    }


def _audit(directory: Path, policy: Path) -> tuple[float, dict[str, Any]]:
    command = [sys.executable, "-m", "nodes.cli", "audit", str(directory), "--policy", str(policy)]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, "--jobs", str(JOBS), "--json"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=AUDIT_TIMEOUT_S,
            env=os.environ,
        )
    except subprocess.TimeoutExpired as error:
        raise AuditFailed(f"audit did not end within {AUDIT_TIMEOUT_S:.0f} s") from error
    took_s = time.perf_counter() - started
    if done.returncode != 0:
        raise AuditFailed(f"audit ended with status {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    report = json.loads(done.stdout)
    return took_s, {name: value for name, value in report.items() if isinstance(value, int | str | bool)}

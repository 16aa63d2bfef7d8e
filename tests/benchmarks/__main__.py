"""`python -m tests.benchmarks`: measure, write `build/bench.json`, print the table. Progress goes to stderr."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import REPOSITORY, describe_commit, describe_machine
from tests.benchmarks.report import ratios, table, targets_met
from tests.benchmarks.signatures import measure_signatures
from tests.benchmarks.whole import FULL, QUICK, STAGES, Scale, measure_whole

# A ledger for itself, of which a validator starts and another is sent a snapshot: not a stage of the one network.
CATCHING_UP = "catching_up"
ALL = ("signatures", "micro", *STAGES, CATCHING_UP)
DEFAULT_OUT = REPOSITORY / "build" / "bench.json"
EXIT_DONE = 0
EXIT_MISUSE = 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few hundred statements: that it works, not how fast")
    parser.add_argument("--only", choices=ALL, action="append", help="may be given again")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="default: build/bench.json")
    parser.add_argument("--entries", type=int, help="statements to put on the log before memory and audit are measured")
    parser.add_argument("--ledger", type=int, help="entries, and records of the state, to catch up with and start on")
    parser.add_argument("--validators", type=int, default=2, help="of each authority; 2 if not given")
    parser.add_argument("--majority", action="store_true", help="more than half of each authority has to cosign")
    parser.add_argument("--per-s", type=int, help="statements a second whose way to finality is measured")
    parser.add_argument("--seconds", type=int, help="for how long")
    parser.add_argument("--keep", type=Path, help="keep the network, its logs and its archive in this directory")
    arguments = parser.parse_args()
    if arguments.keep is not None and arguments.keep.exists() and any(arguments.keep.iterdir()):
        parser.error(f"{arguments.keep} is not empty")
    return arguments


def progress(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def run(scale: Scale, only: list[str] | None, directory: Path) -> dict[str, Any]:
    """The whole report. `only` limits what is measured; the bare signature checks are always measured."""
    wanted = set(only or ALL)
    report: dict[str, Any] = {"machine": describe_machine(), **describe_commit(), "scale": scale.name}
    report |= {"validators_of_each_authority": scale.validators, "majority": scale.majority}
    progress("bare signature checks")
    bare = measure_signatures(scale.signature_s)
    report["bare_signature_checks"] = bare
    if "micro" in wanted or "signatures" in wanted:
        from tests.benchmarks.executing import measure_execute
        from tests.benchmarks.micro import measure_micro

        progress("single operations")
        report["micro_us"], report["signature_checks_per_s"] = measure_micro(scale.signature_s)
        progress("executing whole crossings")
        report["execute_us"] = measure_execute(*scale.executing)
    if wanted & set(STAGES):
        report |= asyncio.run(measure_whole(scale, wanted, directory, progress))
    if CATCHING_UP in wanted:
        from tests.benchmarks import catching_up
        from tests.benchmarks.blocks import measure_blocks

        parts = catching_up.STAGES if scale.network_beside else ("snapshot", "start")
        report[CATCHING_UP] = catching_up.run(scale.ledger, scale.ledger, parts, directory / "catching-up")
        progress("catching up by blocks")
        report[CATCHING_UP]["blocks"] = measure_blocks(*scale.blocks)
    report["ratios"] = ratios(report, bare, 2 * scale.validators)
    report["targets"] = targets_met(report)
    return report


def main() -> int:
    arguments = _arguments()
    scale: Scale = QUICK if arguments.quick else FULL
    if arguments.entries is not None:
        scale = scale.with_entries(arguments.entries)
    if arguments.ledger is not None:
        scale = scale.with_ledger(arguments.ledger)
    scale = replace(
        scale,
        validators=arguments.validators,
        majority=arguments.majority,
        latency_per_s=arguments.per_s or scale.latency_per_s,
        latency_s=arguments.seconds or scale.latency_s,
    )
    directory = arguments.keep or Path(tempfile.mkdtemp(prefix="comity-bench-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        report = run(scale, arguments.only, directory)
    finally:
        if arguments.keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    sys.stdout.write(f"\n{table(report)}\n\nwritten to {arguments.out}\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

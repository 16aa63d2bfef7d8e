"""The audit of archives of growing length: ``python -m tests.benchmarks.auditing --entries 100000 --entries 400000``.

Archives of whole crossings, really executed and really signed, made in this process; then `comity audit --jobs 2` as a
command. Entries a second by the clock; microseconds an entry of processor, of all its processes, and the same as a
ratio to a bare signature check of the same minutes; the most memory, of the largest process and of all together. With
two lengths it shows by how much memory grows for a million entries more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from ledger.archive import archive_policy, export_archive
from ledger.policy import parse_policy
from ledger.statement import parse_statement
from nodes.network import Network, init_network
from tests.benchmarks.archive import AuditFailed
from tests.benchmarks.long_ledger import make_final
from tests.benchmarks.machine import REPOSITORY, describe_machine
from tests.benchmarks.micro import BLOCK_STATEMENTS, InProcessLedger
from tests.benchmarks.processes import AUTHORITIES, ORIGIN
from tests.benchmarks.signatures import bare_check_us
from tests.benchmarks.workload import STEPS_PER_PASS, Workload

JOBS = 2
LANES = 1000
SAMPLE_S = 0.1


def make_archives(directory: Path, sizes: Sequence[int]) -> Iterator[tuple[Path, Path]]:
    """Yield (archive, policy) of a ledger of at least each size in turn."""
    network: Network = init_network(directory / "network", origin=ORIGIN, authorities=AUTHORITIES)
    workload = Workload(network, LANES, seed=3)
    ledger = InProcessLedger(network, directory / "store")

    def append(raws: list[bytes]) -> None:
        for start in range(0, len(raws), BLOCK_STATEMENTS):
            ledger.append([parse_statement(raw) for raw in raws[start : start + BLOCK_STATEMENTS]])

    for waves in (workload.enrolments(), workload.to_their_places()):
        for wave in waves:
            append(wave)
    policy = network.authorities[0].policy
    for size in sorted(sizes):
        while ledger.chain.size < size:
            append(workload.rounds(STEPS_PER_PASS))
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {ledger.chain.size} entries\n")
        make_final(network, ledger.chain)
        final = ledger.chain.latest_final
        if final is None:
            raise AuditFailed("the ledger was made with a final checkpoint")
        archive = directory / f"archive-{size}"
        export_archive(ledger.chain, archive, archive_policy(parse_policy(policy.read_bytes())), final[1])
        yield archive, policy
    ledger.store.close()


def measure_audit(archive: Path, policy: Path) -> dict[str, Any]:
    """Audit as a command, watched from outside."""
    command = [sys.executable, "-m", "nodes.cli", "audit", str(archive), "--policy", str(policy), "--jobs", str(JOBS)]
    bare_us = [bare_check_us()]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--json"], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    watched = psutil.Process(process.pid)
    largest = together = 0
    processor_s: dict[int, float] = {}
    while process.poll() is None:
        rss = []
        for each in (watched, *_children(watched)):
            try:
                rss.append(each.memory_info().rss)
                times = each.cpu_times()
            except psutil.Error:
                continue
            processor_s[each.pid] = times.user + times.system
        largest, together = max(largest, *rss, 0), max(together, sum(rss))
        time.sleep(SAMPLE_S)
    took_s = time.perf_counter() - started
    bare_us.append(bare_check_us())
    report = json.loads(process.stdout.read() if process.stdout is not None else "{}")
    if not report["holds"]:
        raise AuditFailed(f"the audit says: {report['faults'][:3]}")
    entries = report["entries"]
    processor_us = sum(processor_s.values()) / entries * 1e6
    bare = sum(bare_us) / len(bare_us)
    return {
        "entries": entries,
        "entries_per_s": round(entries / took_s),
        "processor_us": round(processor_us, 1),
        "bare_check_us": round(bare, 1),
        "processor_to_bare_check": round(processor_us / bare, 2),
        "largest_process_mb": round(largest / 2**20),
        "all_processes_mb": round(together / 2**20),
    }


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def run(sizes: Sequence[int]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="comity-bench-audit-") as name:
        audits = [measure_audit(*made) for made in make_archives(Path(name), sizes)]
    report: dict[str, Any] = {"machine": describe_machine(), "audits": audits}
    if len(audits) > 1:
        first, last = audits[0], audits[-1]
        more = (last["entries"] - first["entries"]) / 1_000_000
        report["mb_for_a_million_more"] = round((last["all_processes_mb"] - first["all_processes_mb"]) / more, 1)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, action="append", help="may be given again; default: 100,000")
    sys.stdout.write(json.dumps(run(parser.parse_args().entries or [100_000]), indent=2) + "\n")


if __name__ == "__main__":
    main()

"""One proof, verified from a cold command line and in the library: ``python -m tests.benchmarks.verifying``.

A ledger of so many entries is made (`long_ledger`), and a proof of one of them with its statement is written to files.
Then `comity verify` as a command, again and again: seconds of processor and by the clock, and those of an interpreter
that does nothing, which are in them; and the same check in this process, which has imported everything. The bare cost
of a signature check beside them: a proof needs three, one for the log's key and one for each authority.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from contracts.verifying import Context, verify_file
from ledger.chain import Chain
from ledger.proof import Proof, format_proof
from nodes.environment import Environment
from nodes.network import init_network
from tests.benchmarks.long_ledger import make_long_ledger
from tests.benchmarks.machine import REPOSITORY, describe_commit, describe_machine
from tests.benchmarks.processes import AUTHORITIES, ORIGIN
from tests.benchmarks.signatures import bare_check_us

ENTRIES_MADE = 20_000
RUNS = 11
IN_LIBRARY = 200


class DoesNotHold(Exception):
    """The proof ought to hold, and does not: a figure of that is no figure."""


def _command_s(command: list[str]) -> tuple[float, float]:
    """Seconds of processor and by the clock. DoesNotHold unless it ends well."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    took_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise DoesNotHold(done.stdout + done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took_s


def _make_proof(directory: Path, entries: int) -> tuple[Path, Path]:
    """The files of a proof, its statement beside it, and of the policy."""
    network = init_network(directory / "network", origin=ORIGIN, authorities=AUTHORITIES)
    data = make_long_ledger(network, network.validators[0].name, entries, 1, lambda text: None)
    store = Environment().open_store(data / "ledger")
    chain = Chain.open(store)
    index = chain.size // 3
    while not chain.entry(index).startswith(b"\xd2\x84"):
        index += 1
    size, note = chain.latest_final or (0, b"")
    proof = directory / "one.tlog-proof"
    proof.write_bytes(format_proof(Proof(index, tuple(chain.inclusion_proof(index, size)), note)))
    proof.with_suffix(".cose").write_bytes(chain.entry(index))
    store.close()
    return proof, network.authorities[0].policy


def run(entries: int, runs: int) -> dict[str, Any]:
    report: dict[str, Any] = {"machine": describe_machine(), "commit": describe_commit(), "runs": runs}
    with tempfile.TemporaryDirectory(prefix="comity-bench-verifying-") as name:
        proof, policy = _make_proof(Path(name), entries)
        verify = [sys.executable, "-m", "nodes.cli", "verify", str(proof), "--policy", str(policy)]
        bare_us = [bare_check_us()]
        cold = [_command_s(verify) for _ in range(runs)]
        empty = [_command_s([sys.executable, "-c", "pass"]) for _ in range(runs)]
        bare_us.append(bare_check_us())
        data, statement = proof.read_bytes(), proof.with_suffix(".cose").read_bytes()
        context = Context(policy.read_bytes(), int(time.time()), statement)
        started = time.thread_time()
        for _ in range(IN_LIBRARY):
            if not verify_file(data, proof.name, context).holds:
                raise DoesNotHold("in the library")
        library_us = (time.thread_time() - started) / IN_LIBRARY * 1e6
        bare_us.append(bare_check_us())
    bare = sum(bare_us) / len(bare_us)
    return report | {
        "entries": entries,
        "proof_bytes": len(data),
        "command_processor_s": round(median(each[0] for each in cold), 3),
        "command_clock_s": round(median(each[1] for each in cold), 3),
        "empty_interpreter_processor_s": round(median(each[0] for each in empty), 3),
        "library_us": round(library_us),
        "library_to_bare_check": round(library_us / bare, 2),
        "bare_check_us": round(bare, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=ENTRIES_MADE)
    parser.add_argument("--runs", type=int, default=RUNS, help="of the command")
    arguments = parser.parse_args()
    sys.stdout.write(json.dumps(run(arguments.entries, arguments.runs), indent=2) + "\n")


if __name__ == "__main__":
    main()

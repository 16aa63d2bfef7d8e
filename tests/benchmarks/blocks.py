"""Catching up by blocks, the order executed again as by a validator that was away: `python -m tests.benchmarks.blocks`.

A network's real keys and a real mix of crossings, signed beforehand; blocks of 200 as the order has them. Then the part
of a validator that executes (`nodes.execution`), over a checked LevelDB, with the thread that checks signatures running
ahead of it, or the processes (``--processes``), exactly as in a validator; what is left out is the consensus that hands
the blocks over. Every statement is parsed, its signature checked, executed, and written with tree, state, indexes and
one synced batch a block.

Statements a second by the clock, and microseconds a statement of processor time: of the thread that executes, of the
whole process, and of the processes that check. The bare cost of a signature check beside them, as a busy machine
stretches all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from contracts.execute import genesis_state
from ledger.chain import Chain
from ledger.entry import Genesis
from nodes.blocks import decode_block, encode_block
from nodes.checked_stores import open_checked
from nodes.checking import KnownKeys, SignatureChecks
from nodes.checking_process import CheckingProcess
from nodes.clock import SystemClock
from nodes.config import load_validator_config
from nodes.cosigning import Cosigner
from nodes.execution import Accepted, Execution
from nodes.identity import load_identity
from nodes.log_index import LogIndex
from nodes.metrics import Metrics
from nodes.network import Network, init_network
from nodes.records import RecordIndex
from tests.benchmarks.processes import AUTHORITIES, ORIGIN
from tests.benchmarks.signatures import bare_check_us
from tests.benchmarks.workload import STEPS_PER_PASS, Workload

BLOCK_STATEMENTS = 200
BLOCK_TIME_MS = 200
# How many blocks the signatures are checked ahead: what a validator that catches up has been sent, and not executed.
AHEAD_BLOCKS = 8
LANES = 1000


class BlockExecutor:
    """What executes in a validator, without what orders."""

    def __init__(self, network: Network, directory: Path, processes: int = 0) -> None:
        validator = network.validators[0]
        identity = load_identity(load_validator_config(validator.config))
        genesis = Genesis.decode(network.genesis.read_bytes())
        self.store = open_checked(directory)
        self.chain = Chain.open(self.store)
        state = genesis_state(genesis)
        records, log_index = RecordIndex(self.store), LogIndex(self.store, self.chain)
        self.store.write({**records.additions(state), **log_index.beginning()})
        self.chain.initialise(genesis, state)
        log_index.begun()
        metrics = Metrics(validator.name)
        self._processes = [CheckingProcess() for _ in range(processes)]
        pool = ThreadPoolExecutor(processes or 1)
        self.checks = SignatureChecks(KnownKeys(self.chain).find, metrics, pool, self._processes)
        self.execution = Execution(
            self.chain,
            self.store,
            self.checks,
            Cosigner(validator.name, identity.cosigner_key, identity.log_keys, None),
            records,
            log_index,
            clock=SystemClock(),
            metrics=metrics,
            is_validator=lambda name, index: True,
            may_cosign=lambda: False,  # whoever catches up does not, but for the newest
        )

    def execute(self, blocks: list[bytes]) -> dict[str, float]:
        """Execute blocks that follow; seconds by the clock, of this thread and of the process."""
        first = self.execution.applied + 1
        clock_s, thread_s, process_s = time.perf_counter(), time.thread_time(), time.process_time()
        others_s = self._others_s()
        for number, payload in enumerate(blocks):
            for ahead in blocks[number : number + AHEAD_BLOCKS] if number % AHEAD_BLOCKS == 0 else ():
                self.checks.expect(decode_block(ahead).statements)
            done = self.execution.execute(first + number, payload, len(blocks) - number)
            for raw, result in done.results:
                if not isinstance(result, Accepted):
                    raise ValueError(f"{self.checks.statement(raw).kind}: {result}")
            self.checks.forget(raw for raw, _ in done.results)
        return {
            "clock_s": time.perf_counter() - clock_s,
            "thread_s": time.thread_time() - thread_s,
            "process_s": time.process_time() - process_s,
            "others_s": self._others_s() - others_s,
        }

    def _others_s(self) -> float:
        """What the processes that check have used of the processor."""
        used = [psutil.Process(each.pid).cpu_times() for each in self._processes if each.pid is not None]
        return float(sum(each.user + each.system for each in used))

    def close(self) -> None:
        self.checks.close()
        self.store.close()


def _blocks(proposer: str, raws: list[bytes], time_ms: int) -> Iterator[bytes]:
    for start in range(0, len(raws), BLOCK_STATEMENTS):
        yield encode_block(
            proposer, time_ms + start // BLOCK_STATEMENTS * BLOCK_TIME_MS, raws[start:][:BLOCK_STATEMENTS]
        )


def measure_blocks(statements: int, lanes: int = LANES, processes: int = 0) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="comity-bench-blocks-") as name:
        directory = Path(name)
        network = init_network(directory / "network", origin=ORIGIN, authorities=AUTHORITIES)
        proposer = network.validators[0].name
        workload = Workload(network, lanes, seed=5)
        executor = BlockExecutor(network, directory / "ledger", processes)
        time_ms = time.time_ns() // 1_000_000
        for waves in (workload.enrolments(), workload.to_their_places()):
            for wave in waves:
                executor.execute(list(_blocks(proposer, wave, time_ms)))
        spent = {"clock_s": 0.0, "thread_s": 0.0, "process_s": 0.0, "others_s": 0.0}
        bare: list[float] = []
        done = 0
        while done < statements:
            raws = workload.rounds(STEPS_PER_PASS)
            time_ms += len(raws)
            blocks = list(_blocks(proposer, raws, time_ms))
            bare.append(bare_check_us())
            for each, seconds in executor.execute(blocks).items():
                spent[each] += seconds
            done += len(raws)
        executor.close()
    return {
        "statements": done,
        "statements_per_s": round(done / spent["clock_s"]),
        "execution_thread_us": round(spent["thread_s"] / done * 1e6, 1),
        "process_us": round(spent["process_s"] / done * 1e6, 1),
        "checking_processes_us": round(spent["others_s"] / done * 1e6, 1),
        "bare_check_us": round(sorted(bare)[len(bare) // 2], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--statements", type=int, default=46_000)
    parser.add_argument("--processes", type=int, default=0, help="as `[tuning] signature_processes`")
    arguments = parser.parse_args()
    report = measure_blocks(arguments.statements, processes=arguments.processes)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

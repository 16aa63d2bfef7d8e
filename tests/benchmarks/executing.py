"""What one statement costs to execute: ``python -m tests.benchmarks.executing``, and the figure `execute_us`.

Whole crossings as `tests.benchmarks.workload` has them, in blocks of 200, by the contracts over a state map on LevelDB.
A statement's cost is the time of this thread in the contract, and its share of what its block then takes: encoding the
records that changed, hashing the pages of the state map, and writing both. Parsing, the signature and the log are not
in it. The bare cost of one signature check beside it, as a busy machine stretches both.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, median
from typing import Any

from contracts.execute import BlockExecution, genesis_state
from ledger.algorithms import PublicKey
from ledger.entry import Genesis
from ledger.leveldb import LevelDBStore
from ledger.recent_state import RecentState
from ledger.statemap import StateMap
from ledger.statement import Statement, parse_statement
from nodes.network import init_network
from tests.benchmarks.machine import percentiles
from tests.benchmarks.processes import AUTHORITIES, ORIGIN
from tests.benchmarks.signatures import bare_check_us
from tests.benchmarks.workload import STEPS_PER_PASS, Workload

BLOCK_STATEMENTS = 200
BARE_CHECKS = 20


def _checked(statement: Statement, key: PublicKey) -> None:
    """The signature was checked ahead of time, in another thread."""


class _Executor:
    """A state that blocks are executed on, and what each part took, in microseconds of this thread."""

    def __init__(self, genesis: Genesis, directory: Path) -> None:
        self._store = LevelDBStore(directory)
        self._state = StateMap(self._store)
        self._recent = RecentState(self._state)
        self._time_ms = max(genesis.time_ms, time.time_ns() // 1_000_000)
        self._height = 0
        self._write(genesis_state(genesis))
        self.forget()

    def forget(self) -> None:
        self.by_kind: dict[str, list[float]] = {}
        self.whole_us: list[float] = []
        self.contract_us: list[float] = []
        self.encoding_us: list[float] = []
        self.state_map_us: list[float] = []
        self.bare_us: list[float] = []

    def _write(self, changes: dict[str, bytes | None] | dict[str, bytes]) -> None:
        update = self._state.update(changes)
        self._store.write(update.writes, sync=False)
        self._state.adopt(update)
        self._recent.written(changes)

    def execute(self, statements: list[Statement]) -> None:
        self._time_ms += len(statements)
        self._height += 1
        self.bare_us.append(bare_check_us(BARE_CHECKS))
        execution = BlockExecution(self._recent, self._time_ms, self._height)
        execution.begin()
        contract_us = []
        for statement in statements:
            started = time.thread_time_ns()
            outcome = execution.execute(statement, _checked)
            contract_us.append((time.thread_time_ns() - started) / 1000)
            if not outcome.accepted:
                raise ValueError(f"{statement.kind} of {statement.iss}: {outcome.fact} {execution.detail or ''}")
        started = time.thread_time_ns()
        changes = execution.changes
        encoded = time.thread_time_ns()
        self._write(changes)
        written = time.thread_time_ns()
        encoding_us = (encoded - started) / 1000 / len(statements)
        state_map_us = (written - encoded) / 1000 / len(statements)
        self.contract_us += contract_us
        self.encoding_us.append(encoding_us)
        self.state_map_us.append(state_map_us)
        for statement, own_us in zip(statements, contract_us, strict=True):
            self.whole_us.append(own_us + encoding_us + state_map_us)
            self.by_kind.setdefault(statement.kind, []).append(own_us)

    def close(self) -> None:
        self._store.close()


def measure_execute(lanes: int, passes: int) -> dict[str, Any]:
    """`execute_us`, with its parts, after one pass of every lane that is not counted."""
    with tempfile.TemporaryDirectory(prefix="comity-bench-execute-") as name:
        network = init_network(Path(name, "network"), origin=ORIGIN, authorities=AUTHORITIES)
        workload = Workload(network, lanes, seed=11)
        executor = _Executor(Genesis.decode(network.genesis.read_bytes()), Path(name, "state"))

        def execute(raws: list[bytes]) -> None:
            for start in range(0, len(raws), BLOCK_STATEMENTS):
                executor.execute([parse_statement(raw) for raw in raws[start : start + BLOCK_STATEMENTS]])

        for waves in (workload.enrolments(), workload.to_their_places()):
            for wave in waves:
                execute(wave)
        executor.forget()
        for _ in range(passes):
            execute(workload.rounds(STEPS_PER_PASS))
        executor.close()
    whole = percentiles(executor.whole_us)
    bare_us = median(executor.bare_us)
    return {
        "p50": round(whole["p50"], 1),
        "p99": round(whole["p99"], 1),
        "mean": round(fmean(executor.whole_us), 1),
        "contract": round(fmean(executor.contract_us), 1),
        "encoding": round(fmean(executor.encoding_us), 1),
        "state_map": round(fmean(executor.state_map_us), 1),
        "bare_check": round(bare_us, 1),
        "p50_to_bare_check": round(whole["p50"] / bare_us, 2),
        "statements": len(executor.whole_us),
        "contract_p50_by_kind": {kind: round(median(us), 1) for kind, us in sorted(executor.by_kind.items())},
    }


def main() -> None:
    sys.stdout.write(json.dumps(measure_execute(1000, 1), indent=2) + "\n")


if __name__ == "__main__":
    main()

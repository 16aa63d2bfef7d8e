"""Single operations on one core, without network or processes: what a statement costs where.

Microseconds a statement, over a real stretch of the workload executed in blocks of `BLOCK_STATEMENTS` into a LevelDB
store in a temporary directory. The same pieces in the same order as in a validator, but in one thread and with nothing
to wait for.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from contracts.execute import BlockExecution, genesis_state
from ledger.algorithms import PublicKey
from ledger.chain import Chain
from ledger.entry import Genesis
from ledger.leveldb import LevelDBStore
from ledger.statement import Statement, parse_statement, verify_statement
from nodes.blocks import decode_block, encode_block
from nodes.network import Network, init_network
from tests.benchmarks.processes import AUTHORITIES, ORIGIN
from tests.benchmarks.workload import STEPS_PER_PASS, Workload

BLOCK_STATEMENTS = 200
SINGLES = 50
CHUNK_STATEMENTS = 32


def _per_item_us(work: Callable[[], object], items: int) -> float:
    started = time.perf_counter()
    work()
    return round((time.perf_counter() - started) / items * 1e6, 1)


class InProcessLedger:
    """A chain in this process that executes and appends blocks, and says how long each part took."""

    def __init__(self, network: Network, directory: Path) -> None:
        genesis = Genesis.decode(network.genesis.read_bytes())
        self.store = LevelDBStore(directory)
        self.chain = Chain.open(self.store)
        self.chain.initialise(genesis, genesis_state(genesis))
        self.proposer = network.validators[0].name
        self.keys: dict[bytes, PublicKey] = {}
        self._time_ms = max(genesis.time_ms, time.time_ns() // 1_000_000)
        self._applied = 0

    def append(self, statements: Sequence[Statement]) -> tuple[float, float]:
        """Execute and append one block; seconds of each. Signatures are not checked again."""
        # A thousand statements a second: what falls due in one second is then as much as at a busy post.
        self._time_ms += max(1, len(statements))
        self._applied += 1
        started = time.perf_counter()
        execution = BlockExecution(self.chain.state, self._time_ms, self._applied)
        execution.begin()
        for statement in statements:
            outcome = execution.execute(statement, self._remember_key)
            if not outcome.accepted:
                raise ValueError(f"{statement.kind} of {statement.iss}: {outcome.fact} {execution.detail or ''}")
        changes = execution.changes
        executed = time.perf_counter()
        self.chain.append_block(self._applied, self._time_ms, self.proposer, statements, changes, {})
        return executed - started, time.perf_counter() - executed

    def _remember_key(self, statement: Statement, key: PublicKey) -> None:
        self.keys[statement.kid] = key


def _signature_rate(statements: Sequence[Statement], keys: dict[bytes, PublicKey], seconds: float) -> float:
    """Checks a second as a validator makes them: a chunk a job, on as many threads as there are cores."""
    threads = len(os.sched_getaffinity(0))
    chunks = [statements[start : start + CHUNK_STATEMENTS] for start in range(0, len(statements), CHUNK_STATEMENTS)]

    def work(first: int) -> int:
        done = 0
        number = first
        while time.perf_counter() < deadline:
            for statement in chunks[number % len(chunks)]:
                verify_statement(statement, keys[statement.kid])
                done += 1
            number += threads
        return done

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        deadline = started + seconds
        done = sum(pool.map(work, range(threads)))
        return done / (time.perf_counter() - started)


def measure_micro(seconds: float) -> tuple[dict[str, Any], int]:
    """Microseconds a statement by operation, and signature checks a second through our own code."""
    lanes = 200 if seconds >= 1 else 40
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as name:
        directory = Path(name)
        network = init_network(directory / "network", origin=ORIGIN, authorities=AUTHORITIES)
        workload = Workload(network, lanes, seed=3)
        enrolments = [raw for wave in workload.enrolments() for raw in wave]
        raws = workload.rounds(STEPS_PER_PASS)
        figures: dict[str, Any] = {"statements": len(raws), "block_statements": BLOCK_STATEMENTS}
        statements: list[Statement] = []
        figures["parse"] = _per_item_us(lambda: statements.extend(map(parse_statement, raws)), len(raws))
        block = raws[:BLOCK_STATEMENTS]
        payload = encode_block(network.validators[0].name, 1, block)
        figures["block_encode"] = _per_item_us(
            lambda: [encode_block(network.validators[0].name, 1, block) for _ in range(10)], 10 * len(block)
        )
        figures["block_decode"] = _per_item_us(lambda: [decode_block(payload) for _ in range(10)], 10 * len(block))
        ledger = InProcessLedger(network, directory / "store")
        for start in range(0, len(enrolments), BLOCK_STATEMENTS):
            ledger.append([parse_statement(raw) for raw in enrolments[start : start + BLOCK_STATEMENTS]])
        figures |= _append_in_blocks(ledger, statements[:-SINGLES])
        singles = [ledger.append([statement]) for statement in statements[-SINGLES:]]
        figures["block_of_one_execute"] = round(sum(each[0] for each in singles) / SINGLES * 1e6, 1)
        figures["block_of_one_append"] = round(sum(each[1] for each in singles) / SINGLES * 1e6, 1)
        ledger.store.close()
        rate = _signature_rate(statements, ledger.keys, seconds)
        return figures, round(rate)


def _append_in_blocks(ledger: InProcessLedger, statements: Sequence[Statement]) -> dict[str, float]:
    execute_s = append_s = 0.0
    for start in range(0, len(statements), BLOCK_STATEMENTS):
        executed, appended = ledger.append(statements[start : start + BLOCK_STATEMENTS])
        execute_s += executed
        append_s += appended
    return {
        "execute": round(execute_s / len(statements) * 1e6, 1),
        "append": round(append_s / len(statements) * 1e6, 1),
    }

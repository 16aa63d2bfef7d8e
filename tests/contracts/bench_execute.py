"""What one statement costs to execute: `python -m tests.contracts.bench_execute`.

Whole crossings, with the writing of the state map, are in `tests.benchmarks.executing`; this is the contract alone. A
position and a gate event on a realistic movement, signature check left out, records read from bytes and
encoded at the end of a block. Prints the median, in time of one core, a statement for blocks of one and of many.
"""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import Any

from contracts.execute import BlockExecution
from contracts.outcome import Outcome
from ledger.algorithms import PublicKey
from ledger.statement import Statement
from tests.contracts import corridor as c

BUDGET_US = 60
ROUNDS = 2000
TRUCK = "kz/truck/t-001"


def _unchecked(statement: Statement, key: PublicKey) -> None:
    """The signature is checked elsewhere, ahead of time."""


def _bare_step_ns() -> float:
    """What one step of an empty loop costs: tells a slower machine from slower code."""
    laps = []
    for _ in range(9):
        started = time.thread_time_ns()
        for _ in range(100_000):
            pass
        laps.append((time.thread_time_ns() - started) / 100_000)
    return median(laps)


def _block(state: c.DictState, time_ms: int, statements: list[Statement]) -> tuple[float, dict[str, bytes | None]]:
    """Execute a block; what it took, in us of one core, and what it writes."""
    started = time.thread_time_ns()
    execution = BlockExecution(state, time_ms, 1)
    execution.begin()
    outcomes = [execution.execute(statement, _unchecked) for statement in statements]
    changes = execution.changes
    took_us = (time.thread_time_ns() - started) / 1000
    refused = [outcome.fact for outcome in outcomes if outcome is not Outcome.ACCEPTED]
    if refused or not changes:
        raise SystemExit(f"not what was to be measured: {refused[:1]}")
    return took_us, changes


def _us_a_statement(ledger: c.Ledger, before: list[Statement], statements: list[Statement]) -> tuple[float, float]:
    """The median cost where the block before wrote the records, as on a chain that moves, and where none did.

    The second is the cost after a restart: records are decoded from their bytes, once each.
    """
    warm, cold = [], []
    for _ in range(max(3, ROUNDS // len(statements))):
        state = c.DictState(ledger.state.records)
        cold_us, changes = _block(state, ledger.now_ms, before)
        state.write(changes)
        warm_us, _ = _block(state, ledger.now_ms, statements)
        warm.append(warm_us / len(statements))
        cold.append(cold_us / len(before))
    return median(warm), median(cold)


def _fleet(count: int, state: str) -> tuple[c.Ledger, list[str]]:
    ledger = c.to_declaration(c.Ledger.of_corridor(), "recognise")
    mrns = [c.make_mrn(number) for number in range(count)]
    for mrn in mrns:
        for reached, event, iss, payload in c.ESCORT_STEPS:
            changed: dict[str, Any] = dict(payload)
            if event in ("plan", "load"):
                changed["containers"] = []
            if event == "seal":
                changed["seals"] = [{k: v for k, v in s.items() if k != "container"} for s in payload["seals"]]
            ledger.must(f"escort.{event}", iss, mrn, changed)
            if reached == state:
                break
    return ledger, mrns


def main() -> int:
    slowest = 0.0
    before_ns = _bare_step_ns()
    for count in (1, 20, 200):
        ledger, mrns = _fleet(count, "started")
        iat_s = ledger.now_ms // 1000
        payload = {"fix": c.FIX}
        before = [c.fake_statement("escort.position", TRUCK, mrn, payload, iat_s) for mrn in mrns]
        for event, iss in (("position", TRUCK), ("reach_border", "kz/terminal/bakhty")):
            block = [c.fake_statement(f"escort.{event}", iss, mrn, payload, iat_s) for mrn in mrns]
            warm_us, cold_us = _us_a_statement(ledger, before, block)
            print(f"{event:>14}, blocks of {count:>3}: {warm_us:6.1f} us a statement, {cold_us:6.1f} cold")  # noqa: T201
            if count > 1:
                slowest = max(slowest, warm_us)
    print(f"bare loop step: {before_ns:.1f} ns before, {_bare_step_ns():.1f} ns after")  # noqa: T201
    print(f"budget {BUDGET_US} us, slowest {slowest:.1f} us")  # noqa: T201
    return 0 if slowest <= BUDGET_US else 1


if __name__ == "__main__":
    sys.exit(main())

"""What one statement costs to execute: `python -m tests.contracts.bench_execute`.

A position and a gate event on a realistic movement, signature check left out, records read from bytes and encoded at
the end of a block. Prints the median, in time of one core, a statement for blocks of one and of many.
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


def _unchecked(statement: Statement, key: PublicKey) -> None:
    """The signature is checked elsewhere, ahead of time."""


def _us_a_statement(ledger: c.Ledger, statements: list[Statement], expected: Outcome) -> float:
    laps = []
    for _ in range(max(1, ROUNDS // len(statements))):
        started = time.thread_time_ns()
        execution = BlockExecution(ledger.state, ledger.now_ms)
        execution.begin()
        outcomes = [execution.execute(statement, _unchecked) for statement in statements]
        changes = execution.changes
        laps.append((time.thread_time_ns() - started) / 1000 / len(statements))
        if outcomes[0] is not expected or not changes:
            raise SystemExit(f"not what was to be measured: {outcomes[0].fact}")
    return median(laps)


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
    for count in (1, 20, 200):
        ledger, mrns = _fleet(count, "started")
        iat_s = ledger.now_ms // 1000
        for event, iss in (("position", "kz/truck/t-001"), ("reach_border", "kz/terminal/bakhty")):
            payload = {"fix": c.FIX}
            block = [c.fake_statement(f"escort.{event}", iss, mrn, payload, iat_s) for mrn in mrns]
            cost_us = _us_a_statement(ledger, block, Outcome.ACCEPTED)
            print(f"{event:>14}, blocks of {count:>3}: {cost_us:6.1f} us a statement")  # noqa: T201
            if count > 1:
                slowest = max(slowest, cost_us)
    print(f"budget {BUDGET_US} us, slowest {slowest:.1f} us")  # noqa: T201
    return 0 if slowest <= BUDGET_US else 1


if __name__ == "__main__":
    sys.exit(main())

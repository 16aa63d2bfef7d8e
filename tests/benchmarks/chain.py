"""Cost of the ledger: ``python -m tests.benchmarks.chain [--entries N]``.

Appends blocks of 200 and blocks of one to a chain on disk, with the toy contract of the tests executed outside the
measured time; exports the archive and audits it with one and two jobs. Times of this thread and of the clock; the cost
of one signature check beside them, as the machine may be busy.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from ledger.archive import export_archive
from ledger.audit import audit_archive
from ledger.leveldb import LevelDBStore
from ledger.statement import Statement, verify_statement
from tests.ledger.toy import World


def say(text: str) -> None:
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{text} (rss {rss_mb:.0f} MB)\n")
    sys.stdout.flush()


def append(world: World, statements: list[Statement]) -> tuple[float, float]:
    world.time_ms += 100
    changes = world.execute(statements)
    for statement in statements:
        _ = statement.id  # known since the statement was parsed
    began, thread_began = time.perf_counter(), time.thread_time()
    world.chain.append_block(world.chain.applied + 1, world.time_ms, "kz-kgd-1", statements, changes)
    return time.perf_counter() - began, time.thread_time() - thread_began


def appending(world: World, entries: int) -> None:
    world.append(world.enrol("kz/truck/1"))
    number = 0
    clock_s = thread_s = 0.0
    while world.chain.size < entries:
        block = []
        for _ in range(200):
            number += 1
            block.append(world.add("kz/truck/1", f"c{number % 20_000}"))
        spent = append(world, block)
        clock_s, thread_s = clock_s + spent[0], thread_s + spent[1]
    say(f"blocks of 200: {thread_s / number * 1e6:.1f} us an entry, {clock_s / number * 1e6:.1f} us by the clock")
    singles = [append(world, [world.add("kz/truck/1", f"c{one}")]) for one in range(500)]
    clock = sorted(each[0] for each in singles)
    thread = sum(each[1] for each in singles) / len(singles)
    say(f"blocks of 1: {thread * 1e6:.0f} us, {clock[250] * 1e6:.0f} us by the clock in the median, sync included")


def auditing(world: World, directory: Path) -> None:
    began = time.perf_counter()
    export_archive(world.chain, directory, world.policy(), world.note())
    say(f"export: {world.chain.size / (time.perf_counter() - began):.0f} entries/s")
    statement = world.add("kz/truck/1", "c1")
    key = world.keys["kz/truck/1"].public
    began = time.perf_counter()
    for _ in range(2000):
        verify_statement(statement, key)
    say(f"one signature check: {(time.perf_counter() - began) / 2000 * 1e6:.0f} us")
    for jobs in (1, 2):
        began = time.perf_counter()
        report = audit_archive(directory, world.policy(), world.replay, jobs)
        spent_s = time.perf_counter() - began
        say(f"audit, {jobs} jobs: {report.size / spent_s:.0f} entries/s, holds: {report.holds}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        world = World(LevelDBStore(Path(directory, "db")))
        appending(world, arguments.entries)
        auditing(world, Path(directory, "archive"))
        world.store.close()


if __name__ == "__main__":
    main()

"""What the checksums of records, the numbering of writes and the promise beside the order cost, as ratios in one run.

`python -m tests.benchmarks.storage`: the same records through LevelDB alone and through the checked store, interleaved,
so that what else the machine does falls on both; then the rate of `comity storage check` and of the rewriting of a
store of the release before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ledger.leveldb import LevelDBStore
from ledger.store import Store
from nodes.checked_stores import open_checked
from nodes.repair import check
from tests.nodes.stored import make
from tests.nodes.world import World

ROUNDS = 15
RECORDS = 2000
VALUE_BYTES = 300
SYNCS = 40


def _timed(act: Callable[[], object], count: int) -> float:
    """Microseconds for each."""
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) / count * 1e6


def _round(store: Store, number: int) -> dict[str, float]:
    batch: dict[bytes, bytes | None] = {b"k%02d%06d" % (number, at): os.urandom(VALUE_BYTES) for at in range(RECORDS)}
    low, high = b"k%02d" % number, b"k%02d" % (number + 1)

    def syncs() -> None:
        for at in range(SYNCS):
            store.write({b"s%d" % at: b"x" * VALUE_BYTES})

    return {
        "write": _timed(lambda: store.write(batch, sync=False), RECORDS),
        "get": _timed(lambda: [store.get(key) for key in batch], RECORDS),
        "iterate": _timed(lambda: list(store.iterate(low, high)), RECORDS),
        "synced write": _timed(syncs, SYNCS),
    }


def measure(directory: Path) -> dict[str, object]:
    plain, checked = LevelDBStore(directory / "plain"), open_checked(directory / "checked")
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(ROUNDS):
        first, second = _round(plain, number), _round(checked, number)
        for what, microseconds in first.items():
            found.setdefault(what, []).append((microseconds, second[what]))
    plain.close()
    checked.close()
    costs = {
        what: {
            "plain_us": round(statistics.median(each[0] for each in pairs), 2),
            "checked_us": round(statistics.median(each[1] for each in pairs), 2),
            "ratio": round(statistics.median(each[1] / each[0] for each in pairs), 2),
        }
        for what, pairs in found.items()
    }
    old = LevelDBStore(directory / "plain")
    records = sum(1 for _ in old.iterate(b"", b"\xff"))
    old.close()
    rewriting_us = _timed(lambda: open_checked(directory / "plain").close(), records)
    make(directory / "data", World(), blocks=20, statements=200)
    started = time.perf_counter()
    report = check(directory / "data")
    took_s = time.perf_counter() - started
    read_bytes = report.ledger.read_bytes + report.order.read_bytes
    return {
        "records": costs,
        "rewriting_records_per_s": round(1e6 / rewriting_us),
        "check": {"entries_per_s": round(20 * 201 / took_s), "mb_per_s": round(read_bytes / took_s / 1e6, 1)},
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(measure(Path(directory)), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()

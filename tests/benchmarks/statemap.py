"""Microseconds a key of the authenticated map: ``python -m tests.benchmarks.statemap [--keys N] [--store ...]``.

Fills a map with N keys, then sets random existing and new keys in batches of 200, as a block does, and times computing
the update, writing it, and adopting it. The budget is 30 us a key at a million keys.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from hashlib import sha256

from ledger.leveldb import LevelDBStore
from ledger.statemap import StateMap
from ledger.store import MemoryStore, Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--store", choices=("leveldb", "memory"), default="leveldb")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        store: Store = LevelDBStore(directory) if arguments.store == "leveldb" else MemoryStore()
        run(store, arguments.keys, arguments.batch, arguments.batches)
        store.close()


def run(store: Store, keys: int, batch: int, batches: int) -> None:
    state = StateMap(store)
    value = sha256(b"value").digest() * 4
    for start in range(0, keys, 20_000):
        update = state.update(
            {f"declaration/{number:012d}": value for number in range(start, min(start + 20_000, keys))}
        )
        store.write(update.writes, sync=False)
        state.adopt(update)
    chooser = random.Random(1)
    spent = {"update": 0.0, "write": 0.0}
    written_bytes = pages = 0
    for number in range(batches):
        changes: dict[str, bytes | None] = {
            f"declaration/{chooser.randrange(keys + keys // 4):012d}": value[number % 32 :] for _ in range(batch)
        }
        began = time.thread_time()
        update = state.update(changes)
        computed = time.thread_time()
        store.write(update.writes)
        state.adopt(update)
        done = time.thread_time()
        spent["update"] += computed - began
        spent["write"] += done - computed
        written_bytes += sum(len(key) + len(data or b"") for key, data in update.writes.items())
        pages += len(update.pages)
    total = batch * batches
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(
        f"keys {keys}: update {spent['update'] / total * 1e6:.1f} us a key, write {spent['write'] / total * 1e6:.1f} us"
        f", {pages / total:.2f} pages, {written_bytes / total:.0f} bytes; rss {rss_mb:.0f} MB\n"
    )


if __name__ == "__main__":
    main()

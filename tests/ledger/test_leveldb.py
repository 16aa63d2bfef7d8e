"""The store on disk: torn writes, damage, a full disk; whatever happens, a block is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import plyvel
import pytest

from ledger.chain import Chain
from ledger.errors import Misuse, UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.leveldb_log import BLOCK_BYTES, find_torn_tail
from ledger.store import StoreUnavailable
from tests.ledger.toy import World


def newest_log(directory: Path) -> Path:
    return max(directory.glob("*.log"), key=lambda path: int(path.stem))


def two_batches(directory: Path, first: bytes = b"1" * 3000, second: bytes = b"2" * 3000) -> tuple[bytes, int]:
    """Write two batches; return the log and where the second begins."""
    store = LevelDBStore(directory)
    store.write({b"a": first, b"b": first})
    split = newest_log(directory).stat().st_size
    store.write({b"a": second, b"c": second})
    store.close()
    return newest_log(directory).read_bytes(), split


def test_a_log_cut_at_any_byte_of_the_last_batch_opens_with_that_batch_or_without(tmp_path: Path) -> None:
    log, split = two_batches(tmp_path / "db", b"1" * 40, b"2" * 40)
    name = newest_log(tmp_path / "db").name
    for cut in range(split, len(log) + 1):
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "db", copy)
        (copy / name).write_bytes(log[:cut])
        store = LevelDBStore(copy)
        if cut == len(log):
            assert (store.get(b"a"), store.get(b"c")) == (b"2" * 40, b"2" * 40)
        else:
            assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == (b"1" * 40, b"1" * 40, None)
        store.close()
        shutil.rmtree(copy)


def test_a_block_whose_write_was_torn_anywhere_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    world = World(LevelDBStore(tmp_path / "db"))
    world.append(world.enrol("kz/truck/1"))
    world.append(*(world.add("kz/truck/1", f"c{number}") for number in range(240)))
    split = newest_log(tmp_path / "db").stat().st_size
    before = world.chain.head
    # This block fills a tile, so that old chunks go and a whole tile comes in the same batch.
    world.append(*(world.add("kz/truck/1", f"d{number}") for number in range(30)))
    after = world.chain.head
    world.store.close()
    log, name = newest_log(tmp_path / "db").read_bytes(), newest_log(tmp_path / "db").name
    for cut in [*range(split, len(log), 1201), len(log) - 1, len(log)]:
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "db", copy)
        (copy / name).write_bytes(log[:cut])
        store = LevelDBStore(copy)
        assert Chain.open(store, thorough=True).head == (after if cut == len(log) else before)
        store.close()
        shutil.rmtree(copy)


@pytest.mark.parametrize("kept", [0, 7, 500, 2500, 5000])
def test_a_last_batch_of_which_sectors_never_reached_the_disk_is_dropped(tmp_path: Path, kept: int) -> None:
    log, split = two_batches(tmp_path)
    torn = log[: split + kept] + bytes(len(log) - split - kept)
    newest_log(tmp_path).write_bytes(torn)
    store = LevelDBStore(tmp_path)
    assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == (b"1" * 3000, b"1" * 3000, None)
    store.write({b"d": b"4"})
    store.close()
    assert LevelDBStore(tmp_path).get(b"d") == b"4"


def test_a_torn_batch_that_spans_blocks_of_the_log_is_dropped_as_one(tmp_path: Path) -> None:
    log, split = two_batches(tmp_path, second=b"2" * BLOCK_BYTES)
    assert len(log) > 2 * BLOCK_BYTES
    for torn_at in (split + 1000, BLOCK_BYTES - 1500, BLOCK_BYTES + 600, len(log) - 2000):
        start = -(-torn_at // 512) * 512
        # A sector or two in the middle are missing, or everything from there on.
        for damaged in (log[:start] + bytes(1024) + log[start + 1024 :], log[:start] + bytes(len(log) - start)):
            assert find_torn_tail(damaged) == split
            newest_log(tmp_path).write_bytes(damaged)
            store = LevelDBStore(tmp_path)
            assert (store.get(b"a"), store.get(b"c")) == (b"1" * 3000, None)
            store.close()
            shutil.rmtree(tmp_path)
            assert two_batches(tmp_path, second=b"2" * BLOCK_BYTES) == (log, split)


def test_damage_to_what_was_acknowledged_is_not_taken_for_a_torn_write(tmp_path: Path) -> None:
    log, split = two_batches(tmp_path)
    path = newest_log(tmp_path)
    for damaged in (
        log[:200] + b"\xff" + log[201:],  # the first batch
        log[: split + 200] + b"\xff" + log[split + 201 :],  # the last one, but no sector of it is missing
        log[:512] + bytes(1024) + log[1536:],  # sectors are missing, but another batch follows
        bytes(1024) + log[1024:],  # and not even the length is there
    ):
        path.write_bytes(damaged)
        with pytest.raises(UnknownDurableState, match="corrupt"):
            LevelDBStore(tmp_path)
        assert newest_log(tmp_path).read_bytes() == damaged
    assert find_torn_tail(log) is None


def test_damage_in_a_table_is_unknown_durable_state_when_it_is_read(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path)
    store.write({b"%06d" % number: os.urandom(100) for number in range(20_000)})
    store._database.compact_range()
    store.close()
    for table in tmp_path.glob("*.ldb"):
        data = bytearray(table.read_bytes())
        data[len(data) // 3] ^= 0xFF
        table.write_bytes(data)
    with pytest.raises(UnknownDurableState):
        read_all(tmp_path)


def read_all(directory: Path) -> None:
    store = LevelDBStore(directory)
    try:
        list(store.iterate(b"", b"\xff"))
        for number in range(20_000):
            store.get(b"%06d" % number)
    finally:
        store.close()


def test_a_disk_about_to_be_full_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path)
    store.write({b"a": b"1"})
    size = newest_log(tmp_path).stat().st_size
    store._disk_reserve_bytes = 1 << 62
    with pytest.raises(StoreUnavailable, match="full"):
        store.write({b"a": b"2"})
    assert newest_log(tmp_path).stat().st_size == size
    store._disk_reserve_bytes = 0
    store.write({b"a": b"3"})
    assert store.get(b"a") == b"3"
    store.close()


FAILING_WRITE = """
import resource, signal, sys
from ledger.errors import UnknownDurableState
from ledger.leveldb import LevelDBStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = LevelDBStore(sys.argv[1])
store.write({b"before": b"1" * 1000})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for attempt in range(2):
    try:
        store.write({b"lost": b"2" * 1_000_000})
    except UnknownDurableState:
        print("unknown")
try:
    store.get(b"before")
except UnknownDurableState:
    print("unknown")
"""


def test_a_write_that_the_disk_refuses_half_way_ends_the_store_and_opening_it_again_tells(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING_WRITE, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["unknown"] * 3), done.stderr
    store = LevelDBStore(tmp_path)
    assert (store.get(b"before"), store.get(b"lost")) == (b"1" * 1000, None)
    store.close()


KILLED_WRITER = """
import sys
from ledger.leveldb import LevelDBStore
store = LevelDBStore(sys.argv[1])
number = 0
while True:
    number += 1
    store.write({b"%d/%d" % (number, part): b"x" * 500 for part in range(50)} | {b"last": b"%d" % number})
    print(number, flush=True)
"""


def test_what_a_killed_process_had_written_is_there_whole(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        lines = writer.stdout
        assert lines is not None
        acknowledged = [int(next(lines)) for _ in range(40)][-1]
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.endswith("\n"))])
    store = LevelDBStore(tmp_path)
    last = int(store.get(b"last") or b"0")
    assert last in (acknowledged, acknowledged + 1)
    for number in range(1, last + 1):
        assert len(list(store.iterate(b"%d/" % number, b"%d0" % number))) == 50
    assert next(store.iterate(b"%d/" % (last + 1), b"%d0" % (last + 1)), None) is None
    store.close()


def test_a_second_opener_is_told_that_the_store_is_in_use(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path)
    with pytest.raises(StoreUnavailable):
        LevelDBStore(tmp_path)
    store.close()
    LevelDBStore(tmp_path).close()


def test_an_iteration_over_a_store_that_is_closed_meanwhile_is_misuse(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path)
    store.write({b"a": b"1", b"b": b"2"})
    pairs = store.iterate(b"", b"z")
    next(pairs)
    store.close()
    with pytest.raises(Misuse):
        next(pairs)


def test_errors_of_the_database_never_come_out_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def get(self, key: bytes, verify_checksums: bool) -> bytes:
            raise plyvel.IOError("gone")

        def close(self) -> None:
            pass

    store = LevelDBStore(tmp_path)
    store.close()
    monkeypatch.setattr(store, "_database", Broken())
    with pytest.raises(UnknownDurableState):
        store.get(b"a")
    monkeypatch.setattr("ledger.leveldb.os.statvfs", lambda path: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(StoreUnavailable):
        store.write({b"a": b"1"})

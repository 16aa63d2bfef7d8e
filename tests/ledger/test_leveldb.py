"""The store on disk: torn writes, damage, a full disk; whatever happens, a block is there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import plyvel
import pytest

from ledger.chain import Chain
from ledger.errors import Misuse, UnknownDurableState, WriteFailed
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


@pytest.mark.parametrize("from_end", [2306055, 5000, 30, 1], ids=["block", "index", "footer", "magic"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_table_that_cannot_be_read_is_never_taken_for_the_end_of_the_data(
    tmp_path: Path, from_end: int, reverse: bool
) -> None:
    store = LevelDBStore(tmp_path)
    store.write({b"%06d" % number: bytes(100) for number in range(20_000)})
    store.flush()
    store.close()
    (table,) = tmp_path.glob("*.ldb")
    data = bytearray(table.read_bytes())
    data[max(0, len(data) - from_end)] ^= 0xFF
    table.write_bytes(data)
    store = LevelDBStore(tmp_path)
    try:
        assert len(list(store.iterate(b"", b"\xff", reverse))) == 20_000
    except UnknownDurableState:
        return
    finally:
        store.close()
    assert from_end == 30  # the padding of the footer, which means nothing


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
        closed = False

        def get(self, key: bytes, verify_checksums: bool) -> bytes:
            raise plyvel.IOError("gone")

        def close(self) -> None:
            pass

    store = LevelDBStore(tmp_path)
    store._database.close()
    monkeypatch.setattr(store, "_database", Broken())
    with pytest.raises(UnknownDurableState):
        store.get(b"a")
    monkeypatch.setattr("ledger.leveldb.os.fstatvfs", lambda path: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(StoreUnavailable):
        store.write({b"a": b"1"})


FEW_DESCRIPTORS = """
import os, resource, sys
from ledger.leveldb import LevelDBStore
from ledger.store import StoreUnavailable
store = LevelDBStore(sys.argv[1])
store.write({b"%06d" % number: os.urandom(100) for number in range(20_000)})
store.flush()
store.close()
store = LevelDBStore(sys.argv[1])
held = []
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, limit))
try:
    while True:
        held.append(os.dup(0))
except OSError:
    pass
for act in (lambda: store.write({b"a": b"1"}), lambda: store.get(b"010000"), lambda: list(store.iterate(b"0", b"1"))):
    try:
        act()
        print("went")
    except StoreUnavailable as error:
        print("no file descriptor is left" in str(error))
os.close(held.pop())
os.close(held.pop())
store.write({b"a": b"1"})
print(len(store.get(b"010000")), store.get(b"a"))
"""


def test_without_a_file_descriptor_nothing_is_written_or_lost_and_it_goes_on_when_there_is_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FEW_DESCRIPTORS, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True", "True", "100", "b'1'"]), done.stderr


def test_a_disk_mounted_read_only_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LevelDBStore(tmp_path)
    real = os.fstatvfs

    class ReadOnly:
        def __init__(self, descriptor: int) -> None:
            found = real(descriptor)
            self.f_flag = found.f_flag | os.ST_RDONLY
            self.f_bavail, self.f_frsize = found.f_bavail, found.f_frsize

    with monkeypatch.context() as patched:
        patched.setattr("ledger.leveldb.os.fstatvfs", ReadOnly)
        with pytest.raises(StoreUnavailable, match="mounted read only"):
            store.write({b"a": b"1"})
    store.write({b"a": b"2"})
    assert store.get(b"a") == b"2"
    store.close()


def test_the_name_of_a_new_log_is_on_the_disk_before_what_is_in_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A synced file whose name is not in the directory is lost with the power (fsync(2))."""
    synced: list[set[str]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append({path.name for path in tmp_path.glob("*.log")})
        real(descriptor)

    store = LevelDBStore(tmp_path)
    monkeypatch.setattr("ledger.leveldb.os.fsync", fsync)
    before = newest_log(tmp_path).name
    for number in range(12):
        store.write({b"%d" % number: bytes(1024 * 1024)}, sync=False)
        if number % 4 == 3:
            store.write({b"last": b"%d" % number})
            assert newest_log(tmp_path).name in synced[-1]
    assert newest_log(tmp_path).name != before
    store.close()


def test_once_nothing_new_is_in_the_directory_one_write_is_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LevelDBStore(tmp_path)
    old_ns = store._path.stat().st_mtime_ns - 10**10
    os.utime(tmp_path, ns=(old_ns, old_ns))
    calls: list[int] = []
    monkeypatch.setattr("ledger.leveldb.os.fsync", calls.append)
    for number in range(20):
        store.write({b"a": b"%d" % number})
    assert len(calls) == 1
    store.close()


def test_damage_that_a_write_meets_is_damage_and_not_a_write_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LevelDB reads tables when it rewrites them, long after: to open the store again would only end there again."""
    store = LevelDBStore(tmp_path)

    class Rewriting:
        closed = False

        def write_batch(self, **_options: object) -> object:
            raise plyvel.CorruptionError(b"Corruption: block checksum mismatch")

    with monkeypatch.context() as patched:
        patched.setattr(store, "_database", Rewriting())
        acts: tuple[Callable[[], object], ...] = (
            lambda: store.write({b"a": b"1"}),
            lambda: store.get(b"a"),
            store.flush,
        )
        for act in acts:
            with pytest.raises(UnknownDurableState, match=r"block checksum mismatch.*; stop, and look with") as raised:
                act()
            assert not isinstance(raised.value, WriteFailed)
    store.close()


def test_a_write_that_failed_is_never_tried_again_on_the_same_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the kernel may have dropped the pages and say yes to the next one."""
    store = LevelDBStore(tmp_path)
    store.write({b"a": b"1"})

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("ledger.leveldb.os.fsync", fails)
        store._directory_time_ns = 0
        with pytest.raises(WriteFailed, match="Input/output error"):
            store.write({b"a": b"2"})
    for act in (lambda: store.write({b"a": b"3"}), lambda: store.get(b"a"), store.flush, store.view):
        with pytest.raises(WriteFailed, match="open it again to know"):
            act()
    store.close()
    again = LevelDBStore(tmp_path)
    assert again.get(b"a") in (b"1", b"2")
    again.close()


FAILING_UNDER_READERS = """
import errno, os, sys, threading
from ledger import leveldb
from ledger.errors import WriteFailed
def fails(descriptor):
    raise OSError(errno.EIO, "Input/output error")
for attempt in range(10):
    store = leveldb.LevelDBStore(os.path.join(sys.argv[1], str(attempt)))
    store.write({b"%04d" % number: bytes(1000) for number in range(2000)})
    store.flush()
    turns = [threading.Semaphore(0), threading.Semaphore(0)]
    def read(source, turn):
        try:
            while True:
                for _ in source.iterate(b"", b"a"):
                    turn.release()
        except WriteFailed:
            pass
    readers = [threading.Thread(target=read, args=each) for each in zip((store, store.view()), turns)]
    for reader in readers:
        reader.start()
    for turn in turns:
        for _ in range(500):
            turn.acquire()
    whole, os.fsync = os.fsync, fails
    store._directory_time_ns = 0
    try:
        store.write({b"a": b"1"})
    except WriteFailed:
        pass
    os.fsync = whole
    for reader in readers:
        reader.join()
    store.close()
"""


def test_a_write_that_fails_while_others_read_ends_their_reading_and_not_the_process(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FAILING_UNDER_READERS, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_flush_leaves_nothing_in_the_log_and_everything_readable(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path)
    store.write({b"a": b"1" * 100_000})
    assert newest_log(tmp_path).stat().st_size > 100_000
    store.flush()
    assert newest_log(tmp_path).stat().st_size < 1000
    assert store.get(b"a") == b"1" * 100_000
    store.close()
    with pytest.raises(Misuse):
        store.flush()

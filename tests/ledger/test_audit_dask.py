"""The same report from a cluster as from one process, whatever the archive holds and whatever becomes of a worker."""

from __future__ import annotations

import marshal
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ledger import audit_dask
from ledger.archive import export_archive
from ledger.audit import AuditReport, audit_archive
from ledger.audit_chunks import KnownKeys, Task, process, with_contents
from ledger.audit_dask import Cluster, ClusterUnavailable, check_workers, on_cluster, process_remotely, program
from tests.ledger.archives import edit, flip
from tests.ledger.toy import World


@pytest.fixture(scope="module")
def world() -> World:
    grown = World()
    grown.grow(100, 8)
    return grown


@pytest.fixture
def archive(world: World, tmp_path: Path) -> Path:
    export_archive(world.chain, tmp_path / "archive", world.policy(), world.note())
    return tmp_path / "archive"


class Synchronous:
    """What `Cluster` asks of a client, done at once; some submissions never come back."""

    def __init__(self, lost: frozenset[int] = frozenset(), garbled: Callable[[bytes], bytes] | None = None) -> None:
        self._lost = lost
        self._garbled = garbled
        self.submitted = 0
        self.most_pending = 0
        self.open = 0

    def scatter(self, data: list[Any], *, broadcast: bool, hash: bool) -> list[Any]:
        return data

    def nthreads(self) -> dict[str, int]:
        return {"tcp://one": 1}

    def submit(self, function: Any, task: Task, digest: str, keys: Any, by: str, *, pure: bool) -> Future[bytes]:
        # A worker has no file of the archive.
        assert task.directory == ""
        future: Future[bytes] = Future()
        if self.submitted in self._lost:
            future.set_exception(RuntimeError("KilledWorker"))
        else:
            packed = function(task, digest, keys, by)
            future.set_result(packed if self._garbled is None else self._garbled(packed))
        self.submitted += 1
        return future


def audit(directory: Path, world: World, spread: Any = None) -> AuditReport:
    return audit_archive(directory, world.policy(), world.replay, 1, spread=spread)


def damaged(archive: Path) -> None:
    edit(archive / "tile/entries/000", flip(9000))
    edit(archive / "tile/entries/001", lambda data: data[:-5])
    edit(archive / "tile/0/002", flip(64))
    shutil.rmtree(archive / "tile/1")
    (archive / "tile/0/001").unlink()


@pytest.mark.parametrize("lost", [frozenset(), frozenset({0, 2})], ids=["all come back", "workers die"])
def test_a_cluster_finds_what_one_process_finds(world: World, archive: Path, lost: frozenset[int]) -> None:
    cluster = Cluster(Synchronous(lost))
    assert audit(archive, world, cluster) == audit(archive, world)
    assert cluster.done_here == len(lost)
    damaged(archive)
    found = audit(archive, world, Cluster(Synchronous(lost)))
    assert found == audit(archive, world)
    assert len(found.faults) >= 4


@pytest.mark.parametrize(
    "garbled",
    [
        lambda packed: b"",
        lambda packed: packed[:-7],
        lambda packed: marshal.dumps(("another", "shape"), 2),
        lambda packed: marshal.dumps((7, *marshal.loads(packed)[1:]), 2),
    ],
    ids=["nothing", "cut", "of another shape", "of another bundle"],
)
def test_what_a_worker_gives_back_and_cannot_be_read_is_done_here(
    world: World, archive: Path, garbled: Callable[[bytes], bytes]
) -> None:
    client = Synchronous(garbled=garbled)
    cluster = Cluster(client)
    assert audit(archive, world, cluster) == audit(archive, world)
    assert cluster.done_here == client.submitted > 0


class Workers:
    """What `check_workers` asks of a client: who is there, and what each runs."""

    def __init__(self, **said: object) -> None:
        self._said = said

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(self._said, 1)

    def run(self, function: Any, *, on_error: str) -> dict[str, object]:
        assert (function, on_error) == (program, "return")
        return dict(self._said)


def test_workers_of_another_release_are_refused_by_name_before_the_audit_begins() -> None:
    check_workers(Workers(one=program(), two=program()))
    with pytest.raises(ClusterUnavailable, match="no workers"):
        check_workers(Workers())
    older = AttributeError("module 'ledger.audit_dask' has no attribute 'program'")
    with pytest.raises(ClusterUnavailable, match=r"2 of 3 workers run another release .*\(older, two\)"):
        check_workers(Workers(one=program(), two="00" * 32, older=older))


def test_a_worker_of_another_release_that_joins_later_does_nothing(world: World, archive: Path) -> None:
    task = with_contents(Task(str(archive), 0, 256))
    assert process_remotely(task, "", {}, program())
    with pytest.raises(ClusterUnavailable, match="another release"):
        process_remotely(task, "", {}, "00" * 32)


def test_a_task_is_the_same_whether_its_files_are_read_or_come_with_it(world: World, archive: Path) -> None:
    damaged(archive)
    keys = {key.public.kid: key.public.cose_key for key in world.keys.values()}
    for index in range(5):
        task = Task(str(archive), index, 256)
        assert process(with_contents(task), KnownKeys(keys)) == process(task, KnownKeys(keys))


def test_nobody_at_the_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(audit_dask, "CONNECT_TIMEOUT_S", 0.5)
    with pytest.raises(ClusterUnavailable, match="no scheduler answers"), on_cluster("tcp://127.0.0.1:9"):
        pass


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.soak
def test_a_cluster_of_processes_finds_what_one_process_finds(world: World, archive: Path, scheduler: str) -> None:
    with on_cluster(scheduler) as cluster:
        assert audit(archive, world, cluster) == audit(archive, world)
        damaged(archive)
        assert audit(archive, world, cluster) == audit(archive, world)
        assert cluster.done_here == 0


@pytest.mark.soak
def test_a_worker_that_is_killed_costs_time_and_nothing_else(world: World, archive: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as local,
        on_cluster(local.scheduler_address) as cluster,
    ):
        killed: list[bool] = []

        def kill(done: int, of: int) -> None:
            if not killed:
                killed.append(True)
                next(iter(local.workers.values())).process.process.kill()

        report = audit_archive(archive, world.policy(), world.replay, 1, kill, spread=cluster)
        assert killed
        assert report == audit(archive, world)

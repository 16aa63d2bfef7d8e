"""The same report from a cluster as from one process, whatever the archive holds and whatever becomes of a worker."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ledger import audit_dask
from ledger.archive import export_archive
from ledger.audit import AuditReport, audit_archive
from ledger.audit_chunks import KnownKeys, Task, process, with_contents
from ledger.audit_dask import Cluster, ClusterUnavailable, on_cluster
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

    def __init__(self, lost: frozenset[int] = frozenset()) -> None:
        self._lost = lost
        self.submitted = 0
        self.most_pending = 0
        self.open = 0

    def scatter(self, data: list[Any], *, broadcast: bool, hash: bool) -> list[Any]:
        return data

    def nthreads(self) -> dict[str, int]:
        return {"tcp://one": 1}

    def submit(self, function: Any, task: Task, digest: str, keys: Any, *, pure: bool) -> Future[bytes]:
        # A worker has no file of the archive.
        assert task.directory == ""
        future: Future[bytes] = Future()
        if self.submitted in self._lost:
            future.set_exception(RuntimeError("KilledWorker"))
        else:
            future.set_result(function(task, digest, keys))
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

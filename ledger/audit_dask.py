"""The part of an audit that needs no order, on the machines of a Dask cluster (extra `dask`).

The archive is read here, and each bundle with its tile is sent along: a worker needs no file of the archive, sees it as
this machine does, and the report is the same byte for byte as without a cluster. Blocks are executed here, one after
the other, while the workers are ahead by so many bundles; that part no cluster makes faster.

Promises: chunks in order, each once; a few bundles a worker on the way and no more, so that memory does not grow. What
the cluster fails to do is done here. Workers of another release, which may judge otherwise, are refused by name before
the audit begins; what one that joins later is given is done here. Does not: check the workers: who runs one can forge
what it finds, so the workers are the auditor's own, as this machine is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.audit_chunks import Chunk, KnownKeys, Task, pack_chunk, process, unpack_chunk, with_contents

PENDING_PER_THREAD = 4
MAX_PENDING = 256
CONNECT_TIMEOUT_S = 10
# A bundle that a worker has not given back after so long is done here.
RESULT_TIMEOUT_S = 300
MAX_NAMED = 5

_keys: dict[str, KnownKeys] = {}


class ClusterUnavailable(Exception):
    """Nobody answers at the address, nobody works there, or somebody does with another release."""


@cache
def program() -> str:
    """What judges in this process: the SHA-256 of this package's sources, whatever number its release bears."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(Path(__file__).parent).as_posix()} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def process_remotely(task: Task, digest: str, keys: dict[bytes, bytes], asked_by: str) -> bytes:
    """In a worker: the keys are parsed once in each. `asked_by`: the program that asks."""
    if asked_by != program():
        raise ClusterUnavailable(f"the worker runs another release: expected {asked_by[:12]}, got {program()[:12]}")
    known = _keys.get(digest)
    if known is None:
        _keys.clear()
        known = _keys[digest] = KnownKeys(keys)
    return pack_chunk(process(task, known))


class Cluster:
    """Hand this to `ledger.audit.audit_archive` as `spread`. `client`: a `distributed.Client`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        # Bundles that were done here because the cluster did not.
        self.done_here = 0

    def __call__(self, tasks: Sequence[Task], keys: dict[bytes, bytes]) -> Iterator[Chunk]:
        """Yield the chunk of every task, in order."""
        digest = sha256(b"".join(sorted(keys))).hexdigest()
        everywhere = self._client.scatter([keys], broadcast=True, hash=False)[0]
        most = min(MAX_PENDING, PENDING_PER_THREAD * max(1, sum(self._client.nthreads().values())))
        known = KnownKeys(keys)
        pending: deque[tuple[Task, Any]] = deque()
        try:
            for task in tasks:
                if len(pending) >= most:
                    yield self._result(*pending.popleft(), known)
                future = self._client.submit(
                    process_remotely, with_contents(task), digest, everywhere, program(), pure=False
                )
                pending.append((task, future))
            while pending:
                yield self._result(*pending.popleft(), known)
        finally:
            for _, future in pending:
                future.cancel()

    def _result(self, task: Task, future: Any, known: KnownKeys) -> Chunk:
        try:
            chunk = unpack_chunk(future.result(timeout=RESULT_TIMEOUT_S))
            if (chunk.index, chunk.width) != (task.index, task.width):
                raise ClusterUnavailable(f"the worker did another bundle: expected {task.index}, got {chunk.index}")
        except Exception:  # whatever became of the worker says nothing of the archive
            future.cancel()
            self.done_here += 1
            return process(task, known)
        return chunk


def check_workers(client: Any) -> None:
    """Raises ClusterUnavailable unless everybody at work there runs the program that runs here."""
    if not client.nthreads():
        raise ClusterUnavailable("its scheduler has no workers: start some, with this program installed")
    found: dict[str, object] = client.run(program, on_error="return")
    others = sorted(name for name, said in found.items() if said != program())
    if others:
        named = ", ".join(others[:MAX_NAMED]) + (
            f" and {len(others) - MAX_NAMED} more" if len(others) > MAX_NAMED else ""
        )
        raise ClusterUnavailable(
            f"{len(others)} of {len(found)} workers run another release than this machine ({named}): what they find "
            "could differ. Install the same release there, and start them again"
        )


@contextmanager
def on_cluster(address: str) -> Iterator[Cluster]:
    """The cluster whose scheduler is at this address. Raises ClusterUnavailable."""
    # Not typed.
    import distributed

    connect: Any = distributed.Client

    try:
        client = connect(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterUnavailable(f"no scheduler answers: {error}") from error
    try:
        check_workers(client)
        yield Cluster(client)
    finally:
        client.close()

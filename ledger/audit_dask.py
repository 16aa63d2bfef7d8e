"""The part of an audit that needs no order, on the machines of a Dask cluster (extra `dask`).

The archive is read here, and each bundle with its tile is sent along: a worker needs no file of the archive, sees it as
this machine does, and the report is the same byte for byte as without a cluster. Blocks are executed here, one after
the other, while the workers are ahead by so many bundles; that part no cluster makes faster.

Promises: chunks in order, each once; a few bundles a worker on the way and no more, so that memory does not grow. What
the cluster fails to do is done here. Does not: check the workers: who runs one can forge what it finds,
so the workers are the auditor's own, as this machine is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from ledger.audit_chunks import Chunk, KnownKeys, Task, pack_chunk, process, unpack_chunk, with_contents

PENDING_PER_THREAD = 4
MAX_PENDING = 256
CONNECT_TIMEOUT_S = 10
# A bundle that a worker has not given back after so long is done here.
RESULT_TIMEOUT_S = 300

_keys: dict[str, KnownKeys] = {}


class ClusterUnavailable(Exception):
    """Nobody answers at the address, or nobody works there."""


def process_remotely(task: Task, digest: str, keys: dict[bytes, bytes]) -> bytes:
    """In a worker: the keys are parsed once in each."""
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
                future = self._client.submit(process_remotely, with_contents(task), digest, everywhere, pure=False)
                pending.append((task, future))
            while pending:
                yield self._result(*pending.popleft(), known)
        finally:
            for _, future in pending:
                future.cancel()

    def _result(self, task: Task, future: Any, known: KnownKeys) -> Chunk:
        try:
            packed = future.result(timeout=RESULT_TIMEOUT_S)
        except Exception:  # whatever became of the worker says nothing of the archive
            future.cancel()
            self.done_here += 1
            return process(task, known)
        return unpack_chunk(packed)


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
        if not client.nthreads():
            raise ClusterUnavailable("its scheduler has no workers: start some, with this program installed")
        yield Cluster(client)
    finally:
        client.close()

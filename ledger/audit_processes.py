"""The part of an audit that needs no order, on the processes of this machine: parsing, hashing, checking signatures.

Promises: chunks in order, each once; a few bundles a process on the way and no more, so that memory does not grow.
What a process that was killed leaves undone is done here. `ledger.audit_dask` has the same for a cluster.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ledger.audit_chunks import Chunk, KnownKeys, Task, pack_chunk, process, unpack_chunk

# Fewer bundles than this are done in this process: starting others would take longer.
MIN_PARALLEL_BUNDLES = 8
MAX_PENDING_BUNDLES_PER_JOB = 4

_worker_keys: list[KnownKeys] = []


def _start_worker(keys: dict[bytes, bytes]) -> None:
    _worker_keys[:] = [KnownKeys(keys)]


def _process_in_worker(task: Task) -> bytes:
    return pack_chunk(process(task, _worker_keys[0]))


class Processes:
    """So many processes of this machine; with one, or little to do, all is done in this one."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def __call__(self, tasks: Sequence[Task], keys: dict[bytes, bytes]) -> Iterator[Chunk]:
        """Yield the chunk of every task, in order."""
        done = 0
        if self._jobs > 1 and len(tasks) >= MIN_PARALLEL_BUNDLES:
            try:
                for chunk in _process_in_pool(tasks, keys, self._jobs):
                    yield chunk
                    done += 1
            except BrokenProcessPool:
                pass  # a worker was killed, for memory perhaps; what remains is done here, one at a time
        known = KnownKeys(keys)
        for task in tasks[done:]:
            yield process(task, known)


def _process_in_pool(tasks: Sequence[Task], keys: dict[bytes, bytes], jobs: int) -> Iterator[Chunk]:
    # Started anew, not forked: a caller may run threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(keys,)) as pool:
        pending: deque[Future[bytes]] = deque()
        try:
            for task in tasks:
                if len(pending) >= jobs * MAX_PENDING_BUNDLES_PER_JOB:
                    yield unpack_chunk(pending.popleft().result())
                pending.append(pool.submit(_process_in_worker, task))
            while pending:
                yield unpack_chunk(pending.popleft().result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

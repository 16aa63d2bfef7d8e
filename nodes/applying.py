"""What is committed is executed: taken from the order, a slice at a time, on the event loop or in the thread for it.

Promises: execution, signing and the making of the index are never in two threads at once; blocks are executed in their
order, each once, until this validator halts; a disk that cannot be written holds execution up and is tried again.
What a block does is `nodes.execution`; what becomes of its answers is the validator's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import structlog

from ledger.errors import LedgerError
from ledger.store import StoreUnavailable
from nodes.checking import SignatureChecks
from nodes.clock import Clock
from nodes.cosigning import Contradiction
from nodes.execution import Executed, Execution, Halted, Signed
from nodes.log_index import LogIndex, keep_up
from nodes.ordering import RaftOrdering

EXECUTE_SLICE_S = 0.03
# A block that is expected to take less than this is executed on the event loop.
QUICK_S = 0.01
DISK_RETRY_S = 0.5


class Applying:
    """`run` for as long as the validator lives. Whoever else touches what execution writes holds `executing`."""

    def __init__(
        self,
        ordering: RaftOrdering,
        execution: Execution,
        checks: SignatureChecks,
        log_index: LogIndex,
        *,
        clock: Clock,
        thread: Executor,
        quick_max_bytes: int,
        absorb: Callable[[Sequence[Executed]], None],
        halt: Callable[[str], None],
        halted: Callable[[], bool],
        hand_over: Callable[[], None],
    ) -> None:
        self._ordering = ordering
        self._execution = execution
        self._checks = checks
        self._log_index = log_index
        self._clock = clock
        self._thread = thread
        self._quick_max_bytes = quick_max_bytes
        self._absorb = absorb
        self._halt = halt
        self._halted = halted
        self._hand_over = hand_over
        self._log = structlog.get_logger().bind(part="validator")
        self._recent_s = 0.0
        # Execution and signing are never in two threads at once.
        self.executing = asyncio.Lock()
        self.disk_trouble: str | None = None

    async def run(self) -> None:
        """Execute whatever is committed. Returns when this validator has halted; raises what ends it."""
        loop = asyncio.get_running_loop()
        while not self._halted():
            blocks = await self._ordering.take(self._execution.applied)
            while blocks and not self._halted():
                behind = self._ordering.waiting(blocks[-1][0]) + len(blocks)
                async with self.executing:
                    if self._is_quick(blocks):
                        executed, error = self.execute_some(blocks, behind)
                    else:
                        executed, error = await loop.run_in_executor(self._thread, self.execute_some, blocks, behind)
                blocks = blocks[len(executed) :]
                self._absorb(executed)
                if error is None:
                    self.disk_trouble = None
                elif isinstance(error, StoreUnavailable):
                    if self.disk_trouble is None:
                        self._log.error("disk_unavailable", reason=str(error))
                        self._hand_over()
                    self.disk_trouble = str(error)
                    await asyncio.sleep(DISK_RETRY_S)
                elif isinstance(error, Halted | Contradiction):
                    self._halt(str(error))
                else:
                    raise error

    def _is_quick(self, blocks: Sequence[tuple[int, bytes]]) -> bool:
        """Whether to execute at once: handing a small block to the thread and back costs more than the block itself.

        Not while the disk is slow: the event loop has heartbeats to send.
        """
        return (
            sum(len(payload) for _, payload in blocks) <= self._quick_max_bytes
            and self._recent_s < QUICK_S
            and self._checks.idle()  # or execution would wait for a signature check, and heartbeats with it
            and self.disk_trouble is None
        )

    def execute_some(self, blocks: Sequence[tuple[int, bytes]], behind: int) -> tuple[list[Executed], Exception | None]:
        """In the thread that executes: as many as fit a slice of time, so that answers leave in between."""
        started = self._clock.monotonic_s()
        executed: list[Executed] = []
        for index, payload in blocks:
            try:
                executed.append(self._execution.execute(index, payload, behind - len(executed) - 1))
            except (LedgerError, Halted) as error:
                return executed, error
            if self._clock.monotonic_s() - started > EXECUTE_SLICE_S:
                break
        if executed:
            took_s = (self._clock.monotonic_s() - started) / len(executed)
            self._recent_s += (took_s - self._recent_s) / 8
        return executed, None

    async def sign_now(self) -> Signed | None:
        """The newest checkpoint, if its signature had to wait for the clock and need not any longer."""
        loop = asyncio.get_running_loop()
        try:
            async with self.executing:
                return await loop.run_in_executor(self._thread, self._execution.sign_now)
        except StoreUnavailable as error:
            self.disk_trouble = str(error)
        except Contradiction as error:
            self._halt(str(error))
        return None

    async def keep_index(self) -> None:
        """Make the index cover the log, in between."""
        loop = asyncio.get_running_loop()
        await keep_up(self._log_index, self.executing, lambda slice_: loop.run_in_executor(self._thread, slice_))

    def close(self) -> None:
        self._thread.shutdown(wait=True)

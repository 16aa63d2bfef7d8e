"""Who waits for which entry to become final, released in one go as each new cosigned checkpoint arrives.

The size only grows: an older checkpoint that arrives late changes nothing. No clock and no network in here.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count


class Waiting:
    """One who waits; `cancel` is idempotent, and nothing once the wait is over."""

    __slots__ = ("_cancelled", "callback")

    def __init__(self, callback: Callable[[], None], cancelled: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback
        self._cancelled = cancelled

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._cancelled()


class Finality:
    """The newest checkpoint that both authorities cosigned, and those who wait for a later one."""

    def __init__(self) -> None:
        self.size = 0
        self.checkpoint = b""
        self._heap: list[tuple[int, int, Waiting]] = []
        self._cancelled = 0
        self._order = count()
        self._beyond: set[asyncio.Future[None]] = set()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._heap) - self._cancelled

    def when_final(self, index: int, callback: Callable[[], None]) -> Waiting:
        """Calls back once entry `index` is covered: now, if it is already."""
        waiting = Waiting(callback, self._one_cancelled)
        if index < self.size:
            waiting.callback = None
            callback()
        else:
            heapq.heappush(self._heap, (index, next(self._order), waiting))
        return waiting

    def _one_cancelled(self) -> None:
        """Sweeps once the cancelled are the most: while nothing becomes final, nobody else takes them away."""
        self._cancelled += 1
        if 2 * self._cancelled > len(self._heap):
            # In place: `advance` may be at work on it.
            self._heap[:] = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def advance(self, size: int, checkpoint: bytes) -> None:
        """Takes in a checkpoint, and releases everyone whose entry it covers, in the order of entries."""
        if size <= self.size:
            return
        self.size = size
        self.checkpoint = checkpoint
        heap = self._heap
        while heap and heap[0][0] < size:
            waiting = heapq.heappop(heap)[2]
            callback, waiting.callback = waiting.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()
        self.wake()

    async def beyond(self, size: int) -> int:
        """Waits until the final size exceeds `size`, or until `wake`; returns the final size."""
        if self.size <= size:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._beyond.add(future)
            try:
                await future
            finally:
                self._beyond.discard(future)
        return self.size

    def wake(self) -> None:
        """Lets everyone go who waits in `beyond`: the gateway is stopping."""
        beyond, self._beyond = self._beyond, set()
        for future in beyond:
            if not future.done():
                future.set_result(None)

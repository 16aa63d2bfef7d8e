"""Who waits for which entry to become final, released in one go as each new cosigned checkpoint arrives.

The size only grows: an older checkpoint that arrives late changes nothing. No clock and no network in here.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count


class Waiting:
    """One who waits; `cancel` is idempotent."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Finality:
    """The newest checkpoint that both authorities cosigned, and those who wait for a later one."""

    def __init__(self) -> None:
        self.size = 0
        self.checkpoint = b""
        self._heap: list[tuple[int, int, Waiting]] = []
        self._order = count()
        self._beyond: set[asyncio.Future[None]] = set()

    @property
    def waiting(self) -> int:
        """How many wait, the cancelled ones not yet swept included."""
        return len(self._heap)

    def when_final(self, index: int, callback: Callable[[], None]) -> Waiting:
        """Calls back once entry `index` is covered: now, if it is already."""
        waiting = Waiting(callback)
        if index < self.size:
            waiting.callback = None
            callback()
        else:
            heapq.heappush(self._heap, (index, next(self._order), waiting))
        return waiting

    def advance(self, size: int, checkpoint: bytes) -> None:
        """Takes in a checkpoint, and releases everyone whose entry it covers, in the order of entries."""
        if size <= self.size:
            return
        self.size = size
        self.checkpoint = checkpoint
        heap = self._heap
        while heap and heap[0][0] < size:
            callback = heapq.heappop(heap)[2].callback
            if callback is not None:
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

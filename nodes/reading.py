"""Reads that see all that was committed before they were asked (ReadIndex; thesis section 6.4).

The leader says up to where the order is committed, once a majority has confirmed that it still leads; this validator
waits until it has executed so much, and reads its own ledger. No clock is trusted. A leader that lies may name a
position that is too old: who cannot bear that asks for a proof, and checks how old its checkpoint is.

`whole` is for reads beside the thread that executes: what it returns is of one size, never half of the next block.

Without a majority there is no answer, nor from a validator that has halted: `NotConfirmed`, never an older state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from consensus import ProposalDropped
from nodes.ordering import RaftOrdering

T = TypeVar("T")

CONFIRM_TIMEOUT_S = 2.0
# How long the writing of one block may take until whoever reads asks another validator; and between two looks.
WHOLE_TIMEOUT_S = 2.0
LOOK_AGAIN_S = 0.001
EXECUTE_TIMEOUT_S = 2.0


class NotConfirmed(Exception):
    """That a read sees everything committed could not be established; the message says why. Ask again."""


class Growing(Protocol):
    """A ledger that another thread writes: `ledger.chain.Chain`."""

    growths: int


async def whole(ledger: Growing, read: Callable[[], T]) -> T:
    """What `read` returns where no block was being written meanwhile. Raises NotConfirmed.

    A block is visible in the store a moment before the head names it, as long as a disk takes to sync.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + WHOLE_TIMEOUT_S
    while True:
        before = ledger.growths
        if not before & 1:
            found = read()
            if ledger.growths == before:
                return found
        if loop.time() > deadline_s:
            raise NotConfirmed("a block is being written, and the disk is slow")
        await asyncio.sleep(LOOK_AGAIN_S)


class FreshReads:
    """See the module. Belongs to the event loop. `objection`: why nobody may be asked now, None if one may."""

    def __init__(self, ordering: RaftOrdering, applied: Callable[[], int], objection: Callable[[], str | None]) -> None:
        self._ordering = ordering
        self._applied = applied
        self._objection = objection
        self._advanced = asyncio.Event()
        self._awaited = False

    def advanced(self) -> None:
        """More of the order has been executed."""
        if self._awaited:
            self._advanced.set()
            self._advanced = asyncio.Event()
            self._awaited = False

    async def confirm(self) -> int:
        """Return when the ledger here has all that was committed before. Raises NotConfirmed."""
        objection = self._objection()
        if objection is not None:
            raise NotConfirmed(objection)
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                index = await self._ordering.read_index()
        except TimeoutError as error:
            raise NotConfirmed("no majority has confirmed the leader in time") from error
        except ProposalDropped as error:
            raise NotConfirmed(f"the leader has changed or is not known: {error.reason.value}") from error
        try:
            async with asyncio.timeout(EXECUTE_TIMEOUT_S):
                while self._applied() < index:
                    self._awaited = True
                    await self._advanced.wait()
        except TimeoutError as error:
            raise NotConfirmed(f"{index - self._applied()} blocks are still to be executed here") from error
        return index

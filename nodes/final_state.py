"""The state as of the newest final checkpoint, to be proven from while execution goes on.

A checkpoint becomes final a moment after its block was executed, and under load the state has moved on by then. So for
as long as somebody asks for proofs (`WANTED_S` after each time), a view of the store is kept of each block that is not
final yet, and of the newest that is: views are LevelDB's own snapshots, which cost nothing but that what is overwritten
meanwhile stays on the disk. At most `MAX_VIEWS` are kept, the newest; nobody asks, and there is none.

Promises: what `latest` returns is of one block, and of the block of the checkpoint that goes with it: held against the
root in its block record. It is final, and its note on record here.

Does not: wait for ever. Where no checkpoint becomes final whose state is at hand, `NotFinal` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from ledger.chain import Chain
from ledger.chain_layout import STATE
from ledger.entry import BlockRecord, parse_entry
from ledger.errors import LedgerError, UnknownDurableState
from ledger.statemap import StateMap
from ledger.status_proof import StatusProof
from ledger.store import Store
from nodes.clock import Clock

WANTED_S = 10.0
MAX_VIEWS = 64
WAIT_S = 2.0
LOOK_AGAIN_S = 0.02
# The genesis record, and a block record at least: before that no block says which state there is.
FIRST_BLOCK_SIZE = 2


class NotFinal(Exception):
    """There is no final checkpoint whose state is at hand; the message says why. Ask again."""


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A final checkpoint, the block that it ends with, and the state after it. Read at once: it may be closed later."""

    size: int
    root: bytes
    note: bytes
    block: BlockRecord
    path: tuple[bytes, ...]  # from the block record to the root
    state: StateMap

    def prove(self, key: str) -> StatusProof:
        """The record under a key, or that there is none."""
        found = self.state.prove_record(key)
        if found.root != self.block.state_root:
            raise UnknownDurableState(f"the state after block {self.block.height} is not that of its record")
        return StatusProof(key, found.value, found.proof, self.block, self.path, self.note)


class FinalState:
    """See the module. `grown` is called in the thread that executes, all else on the event loop."""

    def __init__(
        self,
        store: Store,
        chain: Chain,
        clock: Clock,
        latest_final: Callable[[], tuple[int, bytes] | None],
        next_change: Callable[[], asyncio.Event],
    ) -> None:
        """`next_change`: set once the ledger has grown or more of it is final."""
        self._store = store
        self._chain = chain
        self._clock = clock
        self._latest_final = latest_final
        self._next_change = next_change
        self._wanted_until_s = float("-inf")
        self._lock = Lock()
        # By the size of the ledger at which each was taken, oldest first; of the newest final size, too.
        self._views: dict[int, Store] = {}
        self._block: FinalBlock | None = None

    @property
    def views(self) -> int:
        """How many views of the store are kept."""
        return len(self._views)

    def grown(self, size: int) -> None:
        """A block was written that ends at this size, and no other since."""
        if self._clock.monotonic_s() > self._wanted_until_s:
            return
        # The block is on the disk; that its state cannot be kept for proofs must not look as if it were not.
        with suppress(LedgerError):
            self._keep(size, self._store.view())

    def _keep(self, size: int, view: Store) -> None:
        with self._lock:
            if size in self._views:
                # Of the same block, and the older one may be what is proven from.
                closing = [view]
            else:
                self._views[size] = view
                closing = []
            # Not the one that is final: it is what is proven from, for as long as nothing newer becomes final.
            held = self._block.size if self._block is not None else None
            others = [each for each in sorted(self._views) if each != held]
            closing += [self._views.pop(each) for each in others[: max(0, len(self._views) - MAX_VIEWS)]]
        for each in closing:
            each.close()

    def became_final(self) -> None:
        """Another checkpoint is the newest final one: nothing older is of use, and nothing at all if nobody asks."""
        final = self._latest_final()
        wanted = self._clock.monotonic_s() <= self._wanted_until_s
        if final is not None and self._views:
            self._forget(final[0] if wanted else None)

    def _forget(self, below: int | None) -> None:
        with self._lock:
            closing = [self._views.pop(size) for size in list(self._views) if below is None or size < below]
        if self._block is not None and (below is None or self._block.size < below):
            self._block = None
        for each in closing:
            each.close()

    async def latest(self, at_least: int = 0) -> FinalBlock:
        """The newest final checkpoint of at least a size, and its state. Raises NotFinal."""
        self._wanted_until_s = self._clock.monotonic_s() + WANTED_S
        deadline_s = self._clock.monotonic_s() + WAIT_S
        while True:
            change = self._next_change()
            found = self._at_hand()
            if found is not None and found.size >= at_least:
                return found
            if self._clock.monotonic_s() > deadline_s:
                raise NotFinal("no checkpoint has become final in time whose state is at hand")
            # Not for ever: a block on its way to the disk is visible before anybody is told.
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await change.wait()

    def _at_hand(self) -> FinalBlock | None:
        final = self._latest_final()
        if final is None or final[0] < FIRST_BLOCK_SIZE:
            return None
        size, note = final
        if self._block is not None and self._block.size == size:
            return self._block
        before = self._chain.growths
        if size not in self._views and self._chain.size == size and not before & 1:
            view = self._store.view()
            if self._chain.growths == before:
                self._keep(size, view)
            else:
                view.close()
        held = self._views.get(size)
        if held is not None:
            self._forget(size)
            self._block = self._read(size, note, held)
            return self._block
        return None

    def _read(self, size: int, note: bytes, view: Store) -> FinalBlock:
        block = parse_entry(self._chain.entry(size - 1))
        state = StateMap(view, STATE)
        if not isinstance(block, BlockRecord) or state.root != block.state_root:
            raise UnknownDurableState(f"the state at size {size} is not that of the block record before it")
        path = tuple(self._chain.inclusion_proof(size - 1, size))
        return FinalBlock(size, self._chain.root_at(size), note, block, path, state)

    def close(self) -> None:
        """Let go of every view."""
        self._forget(None)

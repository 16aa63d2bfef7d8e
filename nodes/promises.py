"""What a validator may have signed, written a second time where the loss of the ledger does not lose it.

The ledger holds the last intent to sign, in the batch of its block (`nodes.cosigning`). A validator whose ledger is
damaged could derive it again from the order, but would no longer know what it has vouched for. So the order's store
keeps a *ceiling*: no size above it was ever signed. It is written ahead, in the batch that brings the blocks from which
the ledger will grow, which is synced anyway: a block adds at most its statements and its record. No sync is added, and
a size is signed only when a ceiling on the disk permits it.

With it goes the last intent that was known when it was written. It tells a ledger that went back in time, restored
from a copy or cut short, from one that is whole: such a ledger does not start.

After `comity storage repair` there is a *floor*, the ceiling of the time when the ledger was lost: nothing at or below
it is signed again, with any root, and the ledger that is derived anew must come past the known root. Until that ledger
shows a signature of its own, each start moves the floor up to the ceiling: it may be another one, the first lost again.

Does not survive the loss of the order: who lost that has lost its vote as well, and does not come back under its name.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from consensus import Entry
from ledger import cbor
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, UnknownDurableState
from nodes.blocks import decode_block
from nodes.cosigning import Intent

MAX_PROMISE_BYTES = 512
# How much of the order is read at a time where no ceiling was kept yet.
READ_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Promise:
    """No size above `ceiling` was signed. `size`, `root`, `time_s`: the last intent known then; size 0 if none."""

    ceiling: int
    size: int = 0
    root: bytes = b""
    time_s: int = 0
    # Nothing up to here is signed again; 0 if the ledger was never lost.
    floor: int = 0

    def encode(self) -> bytes:
        return cbor.encode(
            {
                "ceiling": self.ceiling,
                "floor": self.floor,
                "root": self.root,
                "size": self.size,
                "time_s": self.time_s,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Promise:
        try:
            value = cbor.decode(data, max_bytes=MAX_PROMISE_BYTES)
        except Malformed as error:
            raise UnknownDurableState(f"record of what may have been signed cannot be read: {error}") from error
        if isinstance(value, dict) and value.keys() == {"ceiling", "floor", "root", "size", "time_s"}:
            ceiling, size, time_s, floor = (value[name] for name in ("ceiling", "size", "time_s", "floor"))
            root = value["root"]
            if (
                isinstance(ceiling, int)
                and isinstance(size, int)
                and isinstance(time_s, int)
                and isinstance(floor, int)
                and isinstance(root, bytes)
            ):
                return cls(ceiling, size, root, time_s, floor)
        raise UnknownDurableState("record of what may have been signed cannot be read: wrong shape")

    def knowing(self, intent: Intent | None) -> Promise:
        """With a later intent, if this is one."""
        if intent is None or intent.size < self.size:
            return self
        floor = self.floor if intent.size <= self.floor else 0
        return replace(self, size=intent.size, root=intent.root, time_s=intent.time_s, floor=floor)


class Order(Protocol):
    """Where promises are kept: `nodes.raft_store.RaftStore`."""

    @property
    def promise(self) -> bytes | None:
        """What was kept last and is on the disk."""

    def put_promise(self, promise: bytes) -> None: ...

    def first_index(self) -> int: ...

    def last_index(self) -> int: ...

    def entries(self, low: int, high: int, max_bytes: int) -> Iterable[Entry]: ...


def growth(entry: Entry) -> int:
    """By how many entries the ledger grows at most when this position of the order is executed."""
    if not entry.data:
        return 0
    try:
        return len(decode_block(entry.data).statements) + 1
    except Malformed:
        return 1


class Promises:
    """Of one validator. `appended` and `ahead` on the event loop; `permits` where blocks are executed."""

    def __init__(self, order: Order, chain: Chain, intent: Intent | None) -> None:
        """Raises UnknownDurableState where the ledger is not the one that was signed from."""
        self._order = order
        self._chain = chain
        self._log = structlog.get_logger().bind(part="promises")
        stored = order.promise
        known = Promise(0) if stored is None else Promise.decode(stored)
        if stored is not None:
            _check(known, chain, intent)
        known = known.knowing(intent)
        if known.floor and intent is None and known.ceiling > known.floor:
            # Nothing here shows that this ledger is the one begun after the repair: that one may have signed above the
            # floor before it was lost as well.
            known = replace(known, floor=known.ceiling)
            order.put_promise(known.encode())
        if stored is None or known.ceiling < chain.size:
            known = replace(known, ceiling=max(known.ceiling, chain.size) + self._unexecuted())
            order.put_promise(known.encode())
        self._first = known
        # Covered by the ceiling found at the start: what was in the order then.
        self._old_until = order.last_index()
        self._pending: collections.deque[tuple[int, int]] = collections.deque()
        self._pending_growth = 0
        self._passed = known.floor == 0 or known.size == 0 or chain.size >= known.size
        self.applied: Callable[[], int] = lambda: chain.applied
        self.intent: Callable[[], Intent | None] = lambda: intent

    @property
    def floor(self) -> int:
        """Nothing up to here is signed again; 0 for a validator that never lost its ledger."""
        return self._first.floor

    @property
    def last_time_s(self) -> int:
        """The time of the last signature that the order knows of: of one that comes after the ledger was lost, too."""
        return self._first.time_s

    def _unexecuted(self) -> int:
        order, total = self._order, 0
        index = max(self._chain.applied + 1, order.first_index())
        while index <= order.last_index():
            for entry in order.entries(index, order.last_index() + 1, READ_MAX_BYTES):
                total += growth(entry)
                index = entry.index + 1
        return total

    # --- ahead of the blocks -----------------------------------------------------------------------------------------

    def appended(self, index: int, grows_by: int) -> None:
        """A position of the order is about to be written; what stood there and behind it is not."""
        while self._pending and self._pending[-1][0] >= index:
            self._pending_growth -= self._pending.pop()[1]
        self._pending.append((index, grows_by))
        self._pending_growth += grows_by

    def ahead(self) -> bytes:
        """What to write in the batch of the positions that were appended."""
        # The position first: a ledger that grows meanwhile is counted twice, not missed.
        applied = self.applied()
        while self._pending and self._pending[0][0] <= applied:
            self._pending_growth -= self._pending.popleft()[1]
        base = self._chain.size
        if applied < self._old_until:
            base = max(base, self._first.ceiling)
        promise = replace(self._first, ceiling=base + self._pending_growth).knowing(self.intent())
        return promise.encode()

    # --- before signing ----------------------------------------------------------------------------------------------

    def permits(self, checkpoint: Checkpoint) -> bool:
        """Whether this may be signed. To be asked about every checkpoint that is come to, in order.

        Raises UnknownDurableState where a ledger that was derived anew is not the one that was signed from.
        """
        first = self._first
        if not self._passed and checkpoint.size >= first.size:
            if checkpoint.size != first.size or checkpoint.root != first.root:
                raise UnknownDurableState(
                    f"the ledger derived anew has root {checkpoint.root.hex()} at size {checkpoint.size}, "
                    f"but size {first.size} was signed with root {first.root.hex()}: keep the folder, it is evidence"
                )
            self._passed = True
        if checkpoint.size <= first.floor:
            return False
        stored = self._order.promise
        if stored is None or checkpoint.size > Promise.decode(stored).ceiling:
            self._log.error("size_above_what_was_promised", size=checkpoint.size)
            return False
        return True


def _check(known: Promise, chain: Chain, intent: Intent | None) -> None:
    if known.size and chain.size >= known.size and chain.root_at(known.size) != known.root:
        raise UnknownDurableState(
            f"size {known.size} was signed with root {known.root.hex()}, says the order, "
            f"but the ledger has root {chain.root_at(known.size).hex()} there"
        )
    if known.floor == 0 and (0 if intent is None else intent.size) < known.size:
        raise UnknownDurableState(
            f"size {known.size} was signed, says the order, but the ledger knows only of "
            f"{0 if intent is None else intent.size}: it has gone back in time. Restore it as it was when the "
            "validator last stopped, or let `comity storage repair` have it derived again"
        )

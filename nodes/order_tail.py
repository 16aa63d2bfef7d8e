"""How much of the order is kept after it was executed: so many blocks, and of these so many bytes.

Promises: `forgettable` names a position behind which the kept blocks are at most `max_entries` and hold, by what was
counted, little more than `max_bytes`; it never goes back, and never passes what was executed. Memory and the work of
one call are bounded however long the order is: sizes are added up over `BUCKET` blocks, and a call reads
`COUNT_BYTES`. After a start the blocks are counted from the oldest on: as long as that takes, more may be kept, never
less. Of the blocks that go, whole buckets go, so the newest bucket stays however large it is.

Does not delete anything, and does not know who still needs what: that is for `nodes.ordering` and the core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from consensus.messages import Entry

BUCKET = 16
COUNT_BYTES = 1024 * 1024


class Order(Protocol):
    def first_index(self) -> int: ...

    def last_index(self) -> int: ...

    def entries(self, low: int, high: int, max_bytes: int) -> Sequence[Entry]: ...


class OrderTail:
    def __init__(self, order: Order, *, max_entries: int, max_bytes: int) -> None:
        self._order = order
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._counted = order.first_index() - 1
        # The last position of each run of blocks, and their bytes, oldest first.
        self._buckets: deque[tuple[int, int]] = deque()
        self.bytes = 0
        self._forgettable = 0

    def forgettable(self, applied: int) -> int:
        """Up to which position the order need not be kept, where the ledger on the disk has it up to ``applied``."""
        self._forget_uncounted()
        self._count(min(applied, self._order.last_index()))
        while len(self._buckets) > 1 and self.bytes > self._max_bytes:
            last, size = self._buckets.popleft()
            self.bytes -= size
            self._forgettable = last
        self._forgettable = max(self._forgettable, applied - self._max_entries)
        return self._forgettable

    def _forget_uncounted(self) -> None:
        """What the order has let go of meanwhile counts no more."""
        base = self._order.first_index() - 1
        while self._buckets and self._buckets[0][0] <= base:
            self.bytes -= self._buckets.popleft()[1]
        self._counted = max(self._counted, base)

    def _count(self, until: int) -> None:
        if until <= self._counted:
            return
        for entry in self._order.entries(self._counted + 1, until + 1, COUNT_BYTES):
            self._counted = entry.index
            self.bytes += len(entry.data)
            if self._buckets and self._buckets[-1][0] % BUCKET:
                self._buckets[-1] = entry.index, self._buckets[-1][1] + len(entry.data)
            else:
                self._buckets.append((entry.index, len(entry.data)))

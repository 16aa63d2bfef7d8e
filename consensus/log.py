"""The log as the core sees it: what is on disk, and a tail of it in memory.

The tail holds every entry that is not on disk yet, and the newest of those that are, up to a number of bytes: appends
and the applying of entries read what was written a moment ago, and need no disk for it. What is on disk is read from
there again if it has to be, committed or not: a leader that never commits must not fill the memory.

Indexes, in the order in which they are always found: `applied <= committed <= last_index`, `stable_index <=
last_index`; an entry is handed out for applying only when it is committed *and* on this node's own disk.

Does not write: the caller does, through `Ready`. Thesis sections 3.5 and 3.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from consensus.errors import Compacted, Unavailable, UnknownDurableState
from consensus.messages import MAX_UNCOMMITTED_ENTRIES, Entry, HardState, Snapshot
from consensus.quorum import Membership

# How far one rejection may walk the log back. More is legal, but a peer must not choose how long we are busy.
MAX_BACKTRACK_ENTRIES = 4096


class Storage(Protocol):
    """What the core reads from disk. It only ever asks for what an advanced `Ready` said was written."""

    def initial_state(self) -> tuple[HardState, Membership]:
        """What was written last; for a new disk an empty HardState and the membership of the genesis.

        The membership is the one as of `first_index() - 1`: changes that are still in the log come on top of it.
        """

    def configuration_indexes(self) -> Sequence[int]:
        """The indexes of all CONFIGURATION entries on disk, ascending. Asked for once, at the start."""

    def first_index(self) -> int:
        """The first index that `entries` can return; 1 for a new disk, snapshot index + 1 after a snapshot."""

    def last_index(self) -> int:
        """The last index on disk; `first_index() - 1` when there are no entries."""

    def term(self, index: int) -> int:
        """The term at an index in `first_index() - 1 .. last_index()`; raises Compacted or Unavailable outside."""

    def entries(self, low: int, high: int, max_bytes: int) -> Sequence[Entry]:
        """Entries in `low <= index < high`, fewer if their data exceeds `max_bytes`, but never none."""

    def snapshot(self) -> Snapshot:
        """The newest snapshot, for a follower that needs compacted entries; raises SnapshotUnavailable."""

    def compact(self, index: int) -> None:
        """Forget the entries up to and including `index`. Must keep the term and the membership as of `index`."""


class Log:
    """See the module. All of it is in the hands of the core: nothing here is checked against a hostile caller."""

    __slots__ = (
        "_handed_index",
        "_max_tail_bytes",
        "_storage",
        "_tail",
        "_tail_bytes",
        "_tail_first",
        "_total_bytes",
        "_total_first",
        "_vouched_index",
        "applied",
        "committed",
        "first_index",
        "last_index",
        "pending_snapshot",
        "stable_index",
    )

    def __init__(
        self, storage: Storage, *, commit: int, applied: int, max_tail_bytes: int, max_uncommitted_bytes: int
    ) -> None:
        self._storage = storage
        self.first_index = storage.first_index()
        self.last_index = storage.last_index()
        if self.last_index < self.first_index - 1:
            raise UnknownDurableState(
                f"log ends before it begins: first index {self.first_index}, last index {self.last_index}"
            )
        least = max(commit, applied)
        if self.last_index < least:
            raise UnknownDurableState(
                f"log is shorter than what was committed: expected at least {least}, got {self.last_index}"
            )
        if applied < self.first_index - 1:
            raise UnknownDurableState(
                f"log begins after what was applied: expected first index at most {applied + 1}, got {self.first_index}"
            )
        self.stable_index = self.last_index
        # What was applied was committed, even if the note of it was lost: `commit` need not be synced.
        self.committed = max(commit, applied)
        self.applied = applied
        self.pending_snapshot: Snapshot | None = None
        self._tail: list[Entry] = []
        self._tail_first = self.last_index + 1
        self._tail_bytes = 0
        self._max_tail_bytes = max_tail_bytes
        # The newest entry whose present copy has been handed out to be written.
        self._handed_index = self.last_index
        # What was on disk at the start: its part that is not known to be committed is held against nobody.
        self._vouched_index = self.last_index
        # The bytes of data in `_total_first < index <= _total_first + n`, for every n up to the end of the log.
        self._total_first, self._total_bytes = self._measure(max_uncommitted_bytes)

    def _measure(self, enough_bytes: int) -> tuple[int, list[int]]:
        """Add up what is not committed, from the end back until it is enough."""
        sizes: list[int] = []
        total, index = 0, self.last_index
        while index > self.committed and total < enough_bytes and len(sizes) < MAX_UNCOMMITTED_ENTRIES:
            size = len(self._storage.entries(index, index + 1, enough_bytes)[0].data)
            sizes.append(size)
            total += size
            index -= 1
        return index, list(accumulate(reversed(sizes), initial=0))

    @property
    def uncommitted_bytes(self) -> int:
        """The data of all entries that are not committed; of those from before the start perhaps only the newest."""
        totals = self._total_bytes
        return totals[-1] - totals[max(self.committed - self._total_first, 0)]

    def unvouched(self, high: int) -> tuple[int, int]:
        """Number and bytes of the entries up to `high` that were stored since the start and are not committed."""
        first, totals = self._total_first, self._total_bytes
        low = max(self.committed, self._vouched_index)
        return (high - low, totals[high - first] - totals[low - first]) if high > low else (0, 0)

    def term(self, index: int) -> int:
        if index >= self._tail_first:
            if index > self.last_index:
                raise Unavailable(f"index {index} is beyond the log, which ends at {self.last_index}")
            return self._tail[index - self._tail_first].term
        if self.pending_snapshot is not None:
            metadata = self.pending_snapshot.metadata
            if index == metadata.index:
                return metadata.term
            raise Compacted(f"index {index} is older than the snapshot at {metadata.index}")
        if index < self.first_index - 1:
            raise Compacted(f"index {index} is older than the log, which begins at {self.first_index}")
        return self._storage.term(index)

    @property
    def last_term(self) -> int:
        return self.term(self.last_index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the log has an entry of this term at this index (the consistency check of section 3.5)."""
        try:
            return index <= self.last_index and self.term(index) == term
        except Compacted:
            return False

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a candidate with this log may have our vote (section 3.6.1)."""
        own = self.last_term
        return last_term > own or (last_term == own and last_index >= self.last_index)

    def slice(self, low: int, high: int, max_bytes: int) -> tuple[Entry, ...]:
        """Entries in `low <= index < high` whose data fits in `max_bytes`, at least one if there is one."""
        if low < self.first_index:
            raise Compacted(f"index {low} is older than the log, which begins at {self.first_index}")
        if low >= high:
            return ()
        taken: list[Entry] = []
        size = 0
        if low < self._tail_first:
            stop = min(high, self._tail_first)
            taken.extend(self._storage.entries(low, stop, max_bytes))
            size = sum(len(entry.data) for entry in taken)
            if len(taken) < stop - low or size >= max_bytes:
                return tuple(taken)
            low = stop
        start = low - self._tail_first
        for entry in self._tail[start : start + high - low]:
            size += len(entry.data)
            if size > max_bytes and taken:
                break
            taken.append(entry)
        return tuple(taken)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries that go on from the end."""
        totals = self._total_bytes
        before = total = totals[-1]
        for entry in entries:
            total += len(entry.data)
            totals.append(total)
        self._tail.extend(entries)
        self.last_index += len(entries)
        self._tail_bytes += total - before
        committed = self.committed - self._total_first
        if committed > MAX_BACKTRACK_ENTRIES:
            del totals[:committed]
            self._total_first = self.committed

    def first_conflict(self, entries: Sequence[Entry]) -> int:
        """Position of the first entry that the log does not have, or has of another term; their number if none."""
        last = self.last_index
        for position, entry in enumerate(entries):
            if entry.index > last or self.term(entry.index) != entry.term:
                return position
        return len(entries)

    def replace(self, entries: Sequence[Entry]) -> None:
        """Cut the log before the first of these entries and go on with them. The caller saw that none is committed."""
        keep = entries[0].index - 1
        if keep < self.last_index:
            if keep < self._tail_first:
                self._tail, self._tail_first, self._tail_bytes = [], keep + 1, 0
            else:
                cut = keep + 1 - self._tail_first
                self._tail_bytes -= sum(len(entry.data) for entry in self._tail[cut:])
                del self._tail[cut:]
            if keep < self._total_first:
                self._total_first, self._total_bytes = keep, [0]
            else:
                del self._total_bytes[keep + 1 - self._total_first :]
            self.last_index = keep
            self.stable_index = min(self.stable_index, keep)
            self._handed_index = min(self._handed_index, keep)
            self._vouched_index = min(self._vouched_index, keep)
        self.append(entries)

    def backtrack(self, index: int, term: int) -> tuple[int, int]:
        """The newest (index, term) at or before `index` whose term is at most `term`; term 0 if that is compacted.

        With it one rejection skips all entries of the terms that cannot match, instead of one (section 3.5).
        """
        floor = max(index - MAX_BACKTRACK_ENTRIES, 0)
        try:
            while True:
                own = self.term(index)
                if own <= term or index <= floor:
                    return index, own
                index -= 1
        except (Compacted, Unavailable):
            return index, 0

    def restore(self, snapshot: Snapshot) -> None:
        """Let a snapshot stand in for the whole log; what was there is forgotten."""
        index = snapshot.metadata.index
        self.pending_snapshot = snapshot
        self._tail, self._tail_first, self._tail_bytes = [], index + 1, 0
        self.first_index = index + 1
        self.last_index = self.stable_index = self._handed_index = self._vouched_index = self.committed = index
        self._total_first, self._total_bytes = index, [0]

    # What Ready hands out, and what comes back.

    @property
    def has_unwritten(self) -> bool:
        return self._handed_index < self.last_index

    def take_unwritten(self) -> tuple[Entry, ...]:
        """Every entry not handed out yet. The first may replace one that is on disk: all after it is void then."""
        if self._handed_index == self.last_index:
            return ()
        taken = tuple(self._tail[self._handed_index + 1 - self._tail_first :])
        self._handed_index = self.last_index
        return taken

    def written(self, index: int) -> None:
        """Entries up to `index` that were handed out are on disk. Those replaced since do not count."""
        self.stable_index = max(self.stable_index, min(index, self._handed_index))
        self._trim()

    def snapshot_written(self, snapshot: Snapshot) -> None:
        self.applied = max(self.applied, snapshot.metadata.index)
        if self.pending_snapshot is snapshot:
            self.pending_snapshot = None

    @property
    def has_appliable(self) -> bool:
        return self.pending_snapshot is None and min(self.committed, self.stable_index) > self.applied

    def appliable(self, max_bytes: int) -> tuple[Entry, ...]:
        """Committed entries on our own disk that were not handed out for applying yet."""
        if not self.has_appliable:
            return ()
        return self.slice(self.applied + 1, min(self.committed, self.stable_index) + 1, max_bytes)

    def applied_to(self, index: int) -> None:
        self.applied = max(self.applied, index)

    def compact(self, index: int) -> None:
        self._storage.compact(index)
        self.first_index = max(self.first_index, index + 1)

    def snapshot(self) -> Snapshot:
        return self.pending_snapshot if self.pending_snapshot is not None else self._storage.snapshot()

    def _trim(self) -> None:
        """Let go of the oldest entries in memory that are on disk, down to half the limit."""
        if self._tail_bytes <= self._max_tail_bytes and len(self._tail) <= MAX_BACKTRACK_ENTRIES:
            return
        droppable = self.stable_index + 1 - self._tail_first
        keep_entries = len(self._tail) - MAX_BACKTRACK_ENTRIES // 2
        count = 0
        while count < droppable and (self._tail_bytes > self._max_tail_bytes // 2 or count < keep_entries):
            self._tail_bytes -= len(self._tail[count].data)
            count += 1
        if count:
            del self._tail[:count]
            self._tail_first += count

"""A log in memory, for tests and simulation: the reference for what a `Storage` has to do.

Does not survive anything. The validator keeps its log on disk (`nodes.raft_store`).
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.configuration import apply_change, decode_change
from consensus.errors import Compacted, Misuse, SnapshotUnavailable, Unavailable
from consensus.messages import Entry, EntryType, HardState, Snapshot, SnapshotMetadata
from consensus.quorum import Membership


class MemoryStorage:
    """Implements `consensus.log.Storage`, and the three writes that a `Ready` asks for."""

    def __init__(self, membership: Membership) -> None:
        self.hard_state = HardState()
        # As of what stands just before the first entry.
        self._membership = membership
        self._snapshot: Snapshot | None = None
        # What stands just before the first entry: (index, term) of the newest entry forgotten.
        self._before = (0, 0)
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, Membership]:
        return self.hard_state, self._membership

    def configuration_indexes(self) -> Sequence[int]:
        return [entry.index for entry in self._entries if entry.type is EntryType.CONFIGURATION]

    def membership(self, index: int) -> Membership:
        """The membership as of `index`, which is in the log or just before it."""
        membership = self._membership
        for entry in self._entries[: index - self._before[0]]:
            if entry.type is EntryType.CONFIGURATION:
                membership = apply_change(membership, decode_change(entry.data))
        return membership

    def first_index(self) -> int:
        return self._before[0] + 1

    def last_index(self) -> int:
        return self._before[0] + len(self._entries)

    def term(self, index: int) -> int:
        offset = index - self._before[0]
        if offset < 0:
            raise Compacted(f"index {index} is compacted, the log begins at {self.first_index()}")
        if offset == 0:
            return self._before[1]
        if offset > len(self._entries):
            raise Unavailable(f"index {index} is beyond the log, which ends at {self.last_index()}")
        return self._entries[offset - 1].term

    def entries(self, low: int, high: int, max_bytes: int) -> Sequence[Entry]:
        if low < self.first_index():
            raise Compacted(f"index {low} is compacted, the log begins at {self.first_index()}")
        if high > self.last_index() + 1:
            raise Unavailable(f"index {high - 1} is beyond the log, which ends at {self.last_index()}")
        taken: list[Entry] = []
        size = 0
        for entry in self._entries[low - self.first_index() : high - self.first_index()]:
            size += len(entry.data)
            if size > max_bytes and taken:
                break
            taken.append(entry)
        return taken

    def snapshot(self) -> Snapshot:
        if self._snapshot is None or self._snapshot.metadata.index < self._before[0]:
            raise SnapshotUnavailable("no snapshot that reaches the log was made yet")
        return self._snapshot

    # The writes of a Ready.

    def set_hard_state(self, hard_state: HardState) -> None:
        self.hard_state = hard_state

    def append(self, entries: Sequence[Entry]) -> None:
        """Cut the log before the first of these entries and go on with them."""
        if not entries:
            return
        first = entries[0].index
        if not self.first_index() <= first <= self.last_index() + 1:
            raise Misuse(f"entries leave a gap: expected at most index {self.last_index() + 1}, got {first}")
        del self._entries[first - self.first_index() :]
        self._entries.extend(entries)

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Let a snapshot from the leader stand in for the whole log."""
        metadata = snapshot.metadata
        self._snapshot = snapshot
        self._membership = metadata.membership
        self._before = (metadata.index, metadata.term)
        self._entries = []

    # The caller's own upkeep.

    def create_snapshot(self, index: int, data: bytes) -> Snapshot:
        """Remember what the state machine looks like at `index`."""
        self._snapshot = Snapshot(SnapshotMetadata(index, self.term(index), self.membership(index)), data)
        return self._snapshot

    def compact(self, index: int) -> None:
        """Forget entries up to and including `index`."""
        if index <= self._before[0]:
            return
        before, membership = (index, self.term(index)), self.membership(index)
        del self._entries[: index - self._before[0]]
        self._before, self._membership = before, membership

"""What the leader believes about one follower, and how much it may send it unasked.

Three states, after etcd's tracker (thesis section 10.2.1 for the pipelining):

* PROBE: where the logs agree is not known. One append at a time, the next after an answer or a heartbeat.
* REPLICATE: they agree up to `match`. Appends follow each other without waiting, up to a window of messages and bytes.
* SNAPSHOT: what the follower needs is compacted; a snapshot is on its way and nothing else is sent.
"""

from __future__ import annotations

from collections import deque
from enum import Enum


class ProgressState(Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Inflights:
    """Appends that were sent and not answered: the last index and the size of each, oldest first."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_sent")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._sent: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def full(self) -> bool:
        return len(self._sent) >= self._max_messages or self._bytes >= self._max_bytes

    def add(self, last_index: int, size_bytes: int) -> None:
        self._sent.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: int) -> None:
        """An answer for `index` answers everything before it."""
        sent = self._sent
        while sent and sent[0][0] <= index:
            self._bytes -= sent.popleft()[1]

    def clear(self) -> None:
        self._sent.clear()
        self._bytes = 0


class Progress:
    """`match`: the follower's disk has the log up to here. `next`: the first index to send. Always match < next."""

    __slots__ = (
        "catch_up_start_tick",
        "catch_up_target",
        "caught_up_tick",
        "heard_tick",
        "inflights",
        "match",
        "next",
        "paused",
        "pending_snapshot",
        "sent_commit",
        "snapshot_index",
        "state",
        "waited_rounds",
    )

    def __init__(self, next_index: int, heard_tick: int, inflights: Inflights) -> None:
        self.match = 0
        self.next = next_index
        self.state = ProgressState.PROBE
        self.inflights = inflights
        # Nothing more may be sent until an answer or a heartbeat's answer comes.
        self.paused = False
        self.pending_snapshot = 0
        # The last snapshot that it was told to get, until the log has brought it on from there; 0 when there is none.
        self.snapshot_index = 0
        # The commit index that went out last.
        self.sent_commit = 0
        # Tick of the leader's clock at which anything was last heard from the follower.
        self.heard_tick = heard_tick
        # Of a member without a vote, rounds of catching up (section 4.2.1): the end of the log when the present round
        # began, that moment, and the beginning of the last round that was finished.
        self.catch_up_target = 0
        self.catch_up_start_tick = 0
        self.caught_up_tick = -1
        # Rounds of CheckQuorum that a snapshot has been on its way.
        self.waited_rounds = 0

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.paused = False
        self.pending_snapshot = 0
        self.waited_rounds = 0
        self.inflights.clear()

    def become_probe(self) -> None:
        # A follower that got the snapshot needs what comes after it, even if its answer was lost.
        after_snapshot = self.pending_snapshot + 1 if self.state is ProgressState.SNAPSHOT else 0
        self._enter(ProgressState.PROBE)
        self.next = max(self.match + 1, after_snapshot)

    def become_replicate(self) -> None:
        self._enter(ProgressState.REPLICATE)
        self.snapshot_index = 0
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        self._enter(ProgressState.SNAPSHOT)
        self.pending_snapshot = self.snapshot_index = index
        self.next = index + 1

    @property
    def blocked(self) -> bool:
        return self.paused or self.state is ProgressState.SNAPSHOT

    def sent(self, count: int, last_index: int, size_bytes: int) -> None:
        """An append with `count` entries, the last of them at `last_index`, has gone out."""
        if self.state is ProgressState.REPLICATE:
            if count:
                self.next = last_index + 1
                self.inflights.add(last_index, size_bytes)
            # A full window that was just told the commit index is told again when the window opens.
            self.paused = self.inflights.full
        else:
            self.paused = True

    def acknowledged(self, index: int) -> bool:
        """The follower's disk has the log up to `index`. Returns whether that is news."""
        if index >= self.next:
            self.next = index + 1
        if index <= self.match:
            return False
        self.match = index
        self.paused = False
        return True

    def rejected(self, index: int, hint: int) -> bool:
        """The follower has no match at `index` and proposes `hint`. Returns whether to probe again from there.

        An answer that is late or doubled speaks of something else than what was sent last, and changes nothing.
        """
        if self.state is ProgressState.REPLICATE:
            if index <= self.match:
                return False
            self.next = self.match + 1
            return True
        if self.state is ProgressState.SNAPSHOT or self.next - 1 != index:
            return False
        self.next = max(min(index, hint + 1), self.match + 1)
        self.paused = False
        return True

"""The judge's own model of what an order holds: what was written, what a crash takes back, what is there for good."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from consensus.messages import HardState
from tests.simulation.membership import Key
from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle


@dataclass
class OrderLog:
    """What a node's order holds, and how much of it is on the disk for good."""

    entries: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    last: int = 0
    # What is before it was compacted, or came with a snapshot.
    base: int = 0
    hard: HardState = field(default_factory=HardState)
    pending: list[OrderBatch] = field(default_factory=list)

    def durable_last(self) -> int:
        firsts = [batch.first - 1 for batch in self.pending if batch.first]
        return min([self.last, *firsts])

    def durable_hard(self) -> HardState:
        return next((batch.hard_before for batch in self.pending if batch.hard is not None), self.hard)


class OrderBatch:
    """One write of the order: the model that goes with its bytes."""

    def __init__(self, oracle: Oracle, node: Node, hard: HardState | None, entries: Any) -> None:
        self._oracle = oracle
        self._node = node
        self._log = oracle.logs[node.name]
        self.entries: list[Key] = [oracle.key(entry) for entry in entries]
        self.hard = hard
        self.first = self.entries[0][0] if self.entries else 0
        self.hard_before = self._log.hard
        self._last_before = self._log.last
        self._before: dict[int, tuple[int, bytes]] = {}

    def applied(self) -> None:
        log = self._log
        self.hard_before, self._last_before = log.hard, log.last
        if self.hard is not None:
            log.hard = self.hard
        if self.entries:
            for index in range(self.first, log.last + 1):
                self._before[index] = log.entries.pop(index)
            for index, term, digest in self.entries:
                log.entries[index] = (term, digest)
            log.last = self.entries[-1][0]
            self._oracle.check_log(self._node, self.entries)
            for key in self.entries:
                if key in self._oracle.ordered.seen and not self._node.lies:
                    self._oracle.check_change(self._node, key)
            self._oracle.check_cut(self._node, log.last, self._before)
        log.pending.append(self)

    def lost(self) -> None:
        log = self._log
        log.hard = self.hard_before
        if self.entries:
            for index, _, _ in self.entries:
                log.entries.pop(index, None)
            log.entries |= self._before
            log.last = self._last_before
        log.pending.remove(self)


def digest_of(kind: int, data: bytes) -> bytes:
    return sha256(bytes([kind]) + data).digest()[:12]

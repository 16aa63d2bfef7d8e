"""A few nodes wired together, every message delivered but to those cut off: for tests of behaviour, not of faults."""

from __future__ import annotations

from collections.abc import Callable

from consensus import Config, ConfigurationChange, DroppedRead, Entry, Membership, Message, RawNode, ReadState
from consensus.storage import MemoryStorage

MAX_ROUNDS = 500


def allow(_change: ConfigurationChange, _before: Membership) -> None:
    """Every change is authorised."""


class Group:
    """Logs are empty at first; `settle` lets everybody work until nobody has anything to say."""

    def __init__(
        self, membership: Membership, authorise: Callable[[ConfigurationChange, Membership], None] = allow
    ) -> None:
        self.genesis = membership
        self.authorise = authorise
        self.storages: dict[str, MemoryStorage] = {}
        self.nodes: dict[str, RawNode] = {}
        self.applied: dict[str, list[Entry]] = {}
        self.reads: dict[str, list[ReadState]] = {}
        self.dropped: dict[str, list[DroppedRead]] = {}
        self.away: frozenset[str] = frozenset()
        self.sent: list[Message] = []
        self.join(*sorted(membership.members))

    def join(self, *names: str) -> None:
        """New nodes: they know of the genesis only."""
        for name in names:
            self.storages[name] = MemoryStorage(self.genesis)
            self.nodes[name] = RawNode(Config(name, 1, authorise=self.authorise), self.storages[name])
            self.applied[name], self.reads[name], self.dropped[name] = [], [], []

    def work(self, name: str) -> list[Message]:
        node, storage = self.nodes[name], self.storages[name]
        sent: list[Message] = []
        while node.has_ready():
            ready = node.ready()
            if ready.snapshot is not None:
                storage.apply_snapshot(ready.snapshot)
            storage.append(ready.entries)
            if ready.hard_state is not None:
                storage.set_hard_state(ready.hard_state)
            sent += [*ready.messages, *ready.messages_after_persist]
            self.applied[name] += ready.committed_entries
            self.reads[name] += ready.read_states
            self.dropped[name] += ready.dropped_reads
            node.advance(ready)
        return sent

    def deliver(self, messages: list[Message]) -> None:
        for message in messages:
            if message.to in self.nodes and (message.to in self.away) == (message.sender in self.away):
                self.nodes[message.to].step(message)

    def settle(self) -> None:
        for _ in range(MAX_ROUNDS):
            sent = [message for name in self.nodes for message in self.work(name)]
            if not sent:
                return
            self.sent += sent
            self.deliver(sent)
        raise AssertionError(f"still talking after {MAX_ROUNDS} rounds without a tick")

    def elect(self, name: str) -> Group:
        self.nodes[name].campaign()
        self.settle()
        return self

    def propose(self, name: str, data: bytes) -> None:
        self.nodes[name].propose(data)
        self.settle()

    def change(self, name: str, change: ConfigurationChange) -> None:
        self.nodes[name].propose_change(change)
        self.settle()

    def tick(self, name: str, count: int) -> None:
        for _ in range(count):
            self.nodes[name].tick()
            self.settle()

    def cut(self, *names: str) -> None:
        self.away = frozenset(names)

    def heal(self) -> None:
        self.away = frozenset()

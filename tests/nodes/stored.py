"""The data folder of a validator that has run: a ledger with tiles, state and notes, and the order it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from consensus import Entry, EntryType, HardState
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, checkpoint_body
from ledger.note import Note, format_note
from ledger.store import Store
from nodes.blocks import encode_block
from nodes.checked_stores import open_checked
from nodes.cosigning import INTENT_KEY, Intent
from nodes.promises import Promises, growth
from nodes.raft_store import RaftStore
from tests.nodes.world import Node, World

NODE = "kz-kgd-1"
NETWORK = bytes(32)


class Stored:
    """Opens what is in a folder as a validator does, makes it grow, and closes it."""

    def __init__(self, data: Path, world: World, open_store: Callable[[Path], Store] = open_checked) -> None:
        from consensus import Configuration, Membership

        self.world = world
        membership = Membership(Configuration({"kz-kgd-1": "kz-kgd", "cn-gacc-1": "cn-gacc"}))
        self.order = RaftStore(open_store(data / "order"), node=NODE, network=NETWORK, membership=membership)
        self.ledger = open_store(data / "ledger")
        self.node: Node = world.node(NODE, store=self.ledger)
        stored = self.ledger.get(INTENT_KEY)
        self.promises = Promises(self.order, self.node.chain, Intent.decode(stored) if stored else None)
        self.promises.applied = lambda: self.node.execution.applied
        self.promises.intent = lambda: self.node.execution.intent
        self.node.execution._permits = self.promises.permits
        self.signed: list[int] = []

    @property
    def chain(self) -> Chain:
        return self.node.chain

    def append(self, *statements: int) -> None:
        """Blocks of so many statements each, into the order."""
        last = self.order.last_index()
        entries = [
            Entry(
                1,
                last + number,
                EntryType.NORMAL,
                encode_block(NODE, self.world.time_ms + 1, [self.world.enrol().raw for _ in range(count)]),
            )
            for number, count in enumerate(statements, 1)
        ]
        for entry in entries:
            self.promises.appended(entry.index, growth(entry))
        self.order.write(HardState(1, NODE, last), entries, sync=True, promise=self.promises.ahead())

    def execute(self) -> None:
        for index in range(self.node.execution.applied + 1, self.order.last_index() + 1):
            done = self.node.execution.execute(index, self.order.entries(index, index + 1, 1)[0].data, 0)
            if done.signed is not None:
                self.signed.append(done.signed.checkpoint.size)
        head = self.chain.head
        checkpoint = Checkpoint(self.world.genesis.origin, head.size, head.root)
        lines = (*self.world.lines("kz-kgd-1", checkpoint), *self.world.lines("cn-gacc-1", checkpoint))
        self.chain.put_cosigned(head.size, format_note(Note(checkpoint_body(checkpoint), lines)))

    def close(self) -> None:
        self.node.checks.close()
        self.order.close()
        self.ledger.close()


def make(data: Path, world: World, blocks: int = 6, statements: int = 60) -> None:
    """A folder whose ledger has whole and partial tiles."""
    stored = Stored(data, world)
    for _ in range(blocks):
        stored.append(statements)
        stored.execute()
    stored.close()

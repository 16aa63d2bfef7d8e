"""Where the judge looks on: every write of the order, every execution and every final note of every node.

The code under test is wrapped, not changed: what it was given it gets, what it returns is returned, and in between the
oracle is told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from consensus.messages import SnapshotMetadata
from ledger.chain import Chain
from nodes.execution import Execution
from nodes.ordering import RaftOrdering
from nodes.raft_store import RaftStore
from tests.simulation.disk import SimulatedStore
from tests.simulation.node import Node
from tests.simulation.oracle import Oracle


@contextlib.contextmanager
def watching(oracle: Oracle) -> Iterator[None]:
    """While this holds, every write of the order, every execution and every final note is seen."""

    def of(part: Any) -> Node | None:
        store = part._store
        while not isinstance(store, SimulatedStore) and hasattr(store, "_inner"):
            store = store._inner
        return oracle.nodes[store.disk.node] if isinstance(store, SimulatedStore) else None

    write, execute, put_cosigned = RaftStore.write, Execution.execute, Chain.put_cosigned
    install, turn = RaftStore.install, RaftOrdering._turn

    @wraps(write)
    def watched_write(self: RaftStore, hard_state: Any, entries: Any, **more: Any) -> None:
        node = of(self)
        if node is not None and (hard_state is not None or entries):
            platter = node.disk.platter(node.config.data / "order")
            oracle.writing(node, platter, hard_state, entries)
        write(self, hard_state, entries, **more)

    @wraps(turn)
    async def watched_turn(self: RaftOrdering, ready: Any) -> None:
        oracle.turning(oracle.nodes[self._name], ready.entries)
        await turn(self, ready)

    @wraps(install)
    def watched_install(self: RaftStore, metadata: SnapshotMetadata) -> None:
        install(self, metadata)
        node = of(self)
        if node is not None:
            oracle.installed(node, metadata.index, metadata.term, self.last_index())

    @wraps(execute)
    def watched_execute(self: Execution, index: int, payload: bytes, behind: int) -> Any:
        done = execute(self, index, payload, behind)
        node = of(self)
        if node is not None:
            oracle.executed(node, index, payload, done)
        return done

    @wraps(put_cosigned)
    def watched_put(self: Chain, size: int, note: bytes, *, sync: bool = True) -> None:
        put_cosigned(self, size, note, sync=sync)
        node = of(self)
        if node is not None:
            oracle.final(node, size, note)

    patches: list[tuple[type, str, Callable[..., Any]]] = [
        (RaftStore, "write", watched_write),
        (RaftStore, "install", watched_install),
        (RaftOrdering, "_turn", watched_turn),
        (Execution, "execute", watched_execute),
        (Chain, "put_cosigned", watched_put),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    for owner, name, watched in patches:
        setattr(owner, name, watched)
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)

"""The simulation of whole validators, writing down what each did to its order, its ledger and its signatures.

One line for each thing that the judge sees: what came into an order and what of it is synced, what was executed and to
which root, which cosignatures left, which notes were kept as final, and what was left after a crash.
docs/model/ValidatorTrace.tla says what a line claims. Entries are named by number, and described once.

Of a run in which nobody lies: what a liar does, the model has no trace of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest.mock import patch

from consensus.messages import EntryType
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.note import parse_note
from nodes.execution import Execution
from tests.simulation.corridor import ORIGIN
from tests.simulation.membership import InForce, Key
from tests.simulation.node import Node
from tests.simulation.oracle import Oracle
from tests.simulation.simulation import Simulation, simulate

NOBODY = "nobody"
# One validator of an authority is alone, so that nobody can be chosen to lie.
SHAPE = "kz-kgd:2 cn-gacc:1"
# Who is away from when to when, while the others go on and keep little of the order: it comes back by a snapshot.
AWAY, LEAVES_US, COMES_BACK_US = "kz-kgd-2", 300_000, 7_000_000
Line = dict[str, Any]


@dataclass
class Recording:
    """`lines` of a run; `table`: the entries that they name by number, from 1 on; `genesis`: constants of the model."""

    genesis: dict[str, Any] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def leave_out_bystanders(self) -> None:
        """Newcomers that nobody set up: the checker looks at every order of all machines before it begins."""
        there = {line["node"] for line in self.lines} | set(self.genesis["new"])
        there |= {name for entry in self.table for name in (*entry["new"], *entry["old"])}
        self.genesis["nodes"] = sorted(there)
        self.genesis["authorities"] = [sorted(there & set(side)) for side in self.genesis["authorities"]]


class Recorder:
    """Sees what the oracle sees, before it judges; it judges nothing itself."""

    def __init__(self, simulation: Simulation, recording: Recording, most: int) -> None:
        self._simulation = simulation
        self._recording = recording
        self._most = most
        oracle = self._oracle = simulation.oracle
        self._numbers: dict[Key, int] = {}
        # Of each node: the numbers of its entries from the first on, in memory.
        self._logs: dict[str, list[int]] = {name: [] for name in simulation.nodes}
        self._agreed: list[int] = []
        # At which place of the order the ledger came to a size.
        self._place: dict[int, int] = {}
        self._said: set[tuple[str, int, bytes]] = set()
        self._empty: set[Key] = set()
        parties = oracle.ordered.parties
        recording.genesis.update(
            nodes=sorted(simulation.nodes),
            authorities=[
                sorted(name for name in simulation.nodes if parties[name] == authority)
                for authority in sorted(simulation.corridor.authorities)
            ],
            new=sorted(oracle.ordered.start.incoming.of("voter", "witness")),
            old=[],
        )
        self._watch(oracle)

    def _watch(self, oracle: Oracle) -> None:
        # The model is to judge, not the simulation.
        oracle.fail = lambda *_: None  # type: ignore[method-assign]
        for name in ("turning", "_synced", "installed", "executed", "started", "_cosigned", "final"):
            seen, then = getattr(self, name.lstrip("_")), getattr(oracle, name)

            def both(*given: Any, seen: Any = seen, then: Any = then) -> Any:
                seen(*given)
                return then(*given)

            setattr(oracle, name, both)

    def _emit(self, event: str, node: Node, **more: Any) -> None:
        if len(self._recording.lines) < self._most:
            self._recording.lines.append({"event": event, "node": node.name, **more})

    # --- the order --------------------------------------------------------------------------------------------------

    def _number(self, key: Key, before: list[int]) -> int:
        """Of an entry, described when it is first seen. `before`: the log that it stands in, up to it."""
        if key not in self._numbers:
            self._recording.table.append(self._described(key, before))
            self._numbers[key] = len(self._recording.table)
        return self._numbers[key]

    def _described(self, key: Key, before: list[int]) -> dict[str, Any]:
        described: dict[str, Any] = {"term": key[1], "kind": "data", "data": key[2].hex(), "new": [], "old": []}
        ordered = self._oracle.ordered
        if key in ordered.seen:
            keys = {number: key for key, number in self._numbers.items()}
            changes = [keys[number] for number in before if keys[number] in ordered.seen]
            after: InForce = ordered.followed(iter([*changes, key]))
            outgoing = after.outgoing.of("voter", "witness") if after.outgoing is not None else set()
            described |= {"kind": "change", "data": NOBODY, "new": sorted(after.incoming.of("voter", "witness"))}
            described["old"] = sorted(outgoing)
        elif key in self._empty:
            described |= {"kind": "empty", "data": NOBODY}
        return described

    def turning(self, node: Node, entries: Any) -> None:
        if not entries:
            return
        log, first = self._logs[node.name], entries[0].index
        del log[first - 1 :]
        for entry in entries:
            key = self._oracle.key(entry)
            if entry.type is EntryType.NORMAL and not entry.data:
                self._empty.add(key)
            log.append(self._number(key, log))
        self._emit("remember", node, first=first, entries=log[first - 1 :])

    def synced(self, node: Node) -> None:
        if any(batch.entries for batch in self._oracle.logs[node.name].pending):
            self._emit("store", node)

    def installed(self, node: Node, index: int, term: int, last: int) -> None:
        log = self._logs[node.name]
        keeps = last > index
        self._logs[node.name] = self._agreed[:index] + (log[index:] if keeps else [])
        self._emit("snapshot", node, index=index, keeps=keeps)

    def started(self, node: Node) -> None:
        if node.validator is None or node.starts == 1:
            return
        held = self._oracle.logs[node.name]
        kept = self._agreed[: held.base]
        for index in range(held.base + 1, held.last + 1):
            term, digest = held.entries[index]
            kept.append(self._numbers[(index, term, digest)])
        self._logs[node.name] = kept
        applied, root = node.validator.execution.applied, node.validator.chain.root.hex()[:16]
        self._emit("restart", node, entries=list(kept), applied=applied, root=root)

    # --- the ledger -------------------------------------------------------------------------------------------------

    def executed(self, node: Node, index: int, payload: bytes, done: Any) -> None:
        log = self._logs[node.name]
        if index == len(self._agreed) + 1 and index <= len(log):
            self._agreed.append(log[index - 1])
        chain = node.validator.chain if node.validator is not None else None
        root = chain.root.hex() if chain is not None else ""
        if done.checkpoint is not None:
            root = done.checkpoint.root.hex()
            self._place.setdefault(done.checkpoint.size, index)
        self._emit("execute", node, index=index, root=root[:16])
        if done.signed is not None:
            self.signed(node.name, done.signed.checkpoint)

    def signed(self, name: str, checkpoint: Checkpoint) -> None:
        """When it is made, before anybody hears of it: whoever made it may count it at once."""
        fact = (name, checkpoint.size, checkpoint.root)
        # The checkpoint of genesis is not of the order.
        if checkpoint.size > 1 and fact not in self._said:
            self._said.add(fact)
            node = self._simulation.nodes[name]
            self._emit("cosign", node, index=self._place.get(checkpoint.size, 0), root=checkpoint.root.hex()[:16])

    def cosigned(self, node: Node, message: Any) -> None:
        """What left, whether or not we saw it made."""
        if any(line.name == node.name for line in message.lines):
            self.signed(node.name, Checkpoint(ORIGIN, message.size, message.root))

    def final(self, node: Node, size: int, note: bytes) -> None:
        parsed = parse_note(note)
        signers = sorted({line.name for line in parsed.signatures} & set(self._simulation.nodes))
        root = parse_checkpoint(parsed.text).root.hex()
        if size > 1:
            self._emit("final", node, index=self._place.get(size, 0), root=root[:16], signers=signers)


def record(seed: int, lines: int, **options: Any) -> Recording:
    """The first lines of one run."""
    return _record(seed, lines, lambda _: None, {"shape": SHAPE, **options})


def record_a_return(seed: int, lines: int) -> Recording:
    """Of a run in which one validator is away for so long that it needs a snapshot."""

    def leave(simulation: Simulation) -> None:
        node = simulation.nodes[AWAY]
        simulation.faults.kinds = ("hand_over",)
        simulation.world.at(LEAVES_US, lambda: node.crash(keep_unsynced=True))
        simulation.world.at(COMES_BACK_US, node.start)

    options = {"season": "absences", "trouble_us": COMES_BACK_US, "changing": False, "silent": True}
    return _record(seed, lines, leave, {"shape": SHAPE, **options})


def _record(seed: int, lines: int, prepare: Callable[[Simulation], None], options: dict[str, Any]) -> Recording:
    recording = Recording()
    recorders: list[Recorder] = []

    def attach(simulation: Simulation) -> None:
        recorders.append(Recorder(simulation, recording, lines))
        prepare(simulation)

    sign_now = Execution.sign_now

    @wraps(sign_now)
    def watched(self: Execution) -> Any:
        done = sign_now(self)
        if done is not None:
            recorders[0].signed(self._cosigner._name, done.checkpoint)
        return done

    with patch.object(Execution, "sign_now", watched):
        simulate(seed, prepare=attach, **options)
    recording.leave_out_bystanders()
    return recording

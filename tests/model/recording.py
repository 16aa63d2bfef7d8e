"""The simulation of the core, writing down what every machine did, in the words of the model.

One line for each step of one machine, with what its memory looks like after it: docs/model/CoreTrace.tla says what a
line claims. The lines are made from what can be seen of the core, before and after: whatever is seen to change without
a line that explains it is an `Unexplained`, never left out.

Snapshots and compaction are not in the model, so nothing is compacted in a run that is recorded.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consensus import Entry, EntryType, Membership, Message, MessageType, RawNode, Role
from tests.consensus.simulation.run import Simulation

if TYPE_CHECKING:
    from tests.consensus.simulation.world import Node

NOBODY = "nobody"
Line = dict[str, Any]


class Unexplained(Exception):
    """The core changed in a way for which there is no line."""


@dataclass(frozen=True)
class Seen:
    """What a line says of a machine after it."""

    term: int = 0
    vote: str = NOBODY
    leads: bool = False
    last_index: int = 0
    last_term: int = 0


class Recording(Simulation):
    def __init__(self, seed: int) -> None:
        self.lines: list[Line] = []
        self.seen: dict[str, Seen] = {}
        self.committed_of: dict[str, int] = {}
        self.durable_of: dict[str, int] = {}
        self.candidates: set[str] = set()
        self.cause: Message | None = None
        # Everybody who was ever a voter, by authority.
        self.sides: dict[str, set[str]] = {}
        super().__init__(seed)
        looked = self.world.inspect

        def inspect(node: Node) -> None:
            looked(node)
            self.observe(node)

        self.world.inspect = inspect  # type: ignore[method-assign]
        # The model is to judge, not the simulation.
        self.world.check = lambda holds, invariant, detail: None  # type: ignore[method-assign]

    def constants(self) -> dict[str, Any]:
        """Who votes in the beginning, and for whom: the constants of the model."""
        self.note_sides(self.genesis)
        return {
            "nodes": sorted(self.nodes),
            "authorities": [sorted(self.sides[name]) for name in sorted(self.sides)],
            **voters(self.genesis),
        }

    def note_sides(self, membership: Membership) -> None:
        for half in (membership.incoming, membership.outgoing):
            for member, authority in half.voters.items() if half is not None else ():
                self.sides.setdefault(authority, set()).add(member)

    def emit(self, event: str, node: Node, after: Seen, **more: Any) -> Seen:
        self.lines.append(
            {
                "event": event,
                "node": node.id,
                "term": after.term,
                "vote": after.vote,
                "leads": after.leads,
                "last_index": after.last_index,
                "last_term": after.last_term,
                **more,
            }
        )
        self.seen[node.id] = after
        return after

    # What happens to a machine.

    def start(self, node: Node) -> None:
        super().start(node)
        if node.raw is None:
            raise Unexplained(f"{node.id} did not start")
        now = look(node.raw)
        committed = node.raw._raft.log.committed
        self.candidates.discard(node.id)
        self.committed_of[node.id] = committed
        self.durable_of[node.id] = node.machine.applied
        if node.starts == 1:
            self.seen[node.id] = now
            return
        terms = [entry.term for entry in entries(node.raw, 1)]
        self.emit("restart", node, now, log=terms, applied=node.machine.applied, committed=committed)

    def deliver(self, message: Message) -> None:
        self.cause = message
        super().deliver(message)
        self.cause = None

    def take(self, node: Node) -> None:
        self.observe(node)
        before = node.outstanding
        super().take(node)
        if node.outstanding is not before:
            self.emit("take", node, self.seen[node.id])

    def sync(self, node: Node) -> None:
        writing = node.outstanding is not None and not node.synced
        super().sync(node)
        if writing:
            self.emit("persist", node, self.seen[node.id])

    def finish(self, node: Node) -> None:
        super().finish(node)
        if node.machine.durable[0] != self.durable_of[node.id]:
            self.durable_of[node.id] = node.machine.durable[0]
            # The core may have moved since: `observe` sees that next.
            self.emit("store", node, self.seen[node.id])

    def apply(self, node: Node, entry: Entry) -> None:
        super().apply(node, entry)
        more = {"index": entry.index, "entry_term": entry.term, "data": words(entry)}
        self.emit("execute", node, self.seen[node.id], **more)

    def nudge(self, kind: str, node: Node, raw: RawNode) -> None:
        if kind != "compact":
            super().nudge(kind, node, raw)

    # What it did, read off what changed.

    def observe(self, node: Node) -> None:
        raw = node.raw
        if raw is None:
            return
        self._observe_role(node, raw)
        if self.seen[node.id].leads and raw._raft.log.committed <= self.seen[node.id].last_index:
            # What a leader appends by itself, the end of a joint configuration, comes after what it waited for.
            self._observe_commit(node, raw)
        self._observe_log(node, raw)
        self._observe_commit(node, raw)
        now = look(raw)
        if self.seen[node.id] != now:
            raise Unexplained(f"{node.id}: lines lead to {self.seen[node.id]}, the core is at {now}")

    def _observe_role(self, node: Node, raw: RawNode) -> None:
        seen, now = self.seen[node.id], look(raw)
        raft = raw._raft
        elected = raft.role in (Role.CANDIDATE, Role.LEADER)
        was_elected = seen.leads or node.id in self.candidates
        if elected and now.term > seen.term:
            seen = self.emit("campaign", node, replace(seen, term=now.term, vote=node.id, leads=False))
            self.candidates.add(node.id)
        elif not elected and now.vote not in (NOBODY, node.id) and (now.term, now.vote) != (seen.term, seen.vote):
            seen = self.emit("grant", node, replace(seen, term=now.term, vote=now.vote, leads=False))
        elif now.term > seen.term or (was_elected and not elected):
            seen = self.emit("follow", node, replace(seen, term=now.term, vote=now.vote, leads=False))
        if not elected:
            self.candidates.discard(node.id)
        if raft.role is Role.LEADER and not seen.leads:
            self.candidates.discard(node.id)
            self.emit("win", node, replace(seen, leads=True, last_index=seen.last_index + 1, last_term=now.term))

    def _observe_log(self, node: Node, raw: RawNode) -> None:
        seen, now = self.seen[node.id], look(raw)
        if now.leads:
            for entry in entries(raw, seen.last_index + 1):
                after = replace(self.seen[node.id], last_index=entry.index, last_term=entry.term)
                if entry.type is EntryType.NORMAL:
                    self.emit("append", node, after, data=words(entry))
                else:
                    membership = raw._raft.history.at(entry.index)
                    self.note_sides(membership)
                    self.emit("change", node, after, **voters(membership))
            return
        message = self.cause
        if message is None or message.type is not MessageType.APPEND or message.to != node.id:
            return
        if message.term != now.term:
            return
        self.cause = None
        previous, upto = message.index, message.index + len(message.entries)
        log = raw._raft.log
        if not log.matches(previous, message.log_term):
            return
        if previous < self.committed_of[node.id]:
            # It answers with what it knows to be committed, whatever was sent.
            previous = upto = self.committed_of[node.id]
        after = replace(seen, last_index=now.last_index, last_term=now.last_term)
        self.emit("receive", node, after, leader=message.sender, previous=previous, upto=upto)

    def _observe_commit(self, node: Node, raw: RawNode) -> None:
        committed = raw._raft.log.committed
        if committed > self.committed_of[node.id]:
            seen = self.seen[node.id]
            self.emit("commit" if seen.leads else "learn", node, seen, index=committed)
            self.committed_of[node.id] = committed


def look(raw: RawNode) -> Seen:
    raft = raw._raft
    log = raft.log
    return Seen(raft.term, raft.vote or NOBODY, raft.role is Role.LEADER, log.last_index, log.last_term)


def entries(raw: RawNode, first: int) -> tuple[Entry, ...]:
    log = raw._raft.log
    return log.slice(first, log.last_index + 1, sys.maxsize)


def words(entry: Entry) -> str:
    """What the model calls the content of an entry: nothing for an empty one and for a change."""
    return entry.data.decode() if entry.data and entry.type is EntryType.NORMAL else NOBODY


def voters(membership: Membership) -> dict[str, list[str]]:
    old = membership.outgoing
    return {"new": sorted(membership.incoming.electors), "old": sorted(old.electors) if old is not None else []}


def record(seed: int, steps: int) -> tuple[dict[str, Any], list[Line]]:
    """The constants and the lines of one run."""
    recording = Recording(seed)
    for recording.step_number in range(steps):
        recording.step()
    return recording.constants(), recording.lines


def write_jsonl(path: Path, genesis: dict[str, Any], lines: list[Line]) -> None:
    """The same for people and other tools: the first line is the genesis."""
    path.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in ({"genesis": genesis}, *lines)))

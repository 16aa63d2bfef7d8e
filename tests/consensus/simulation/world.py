"""What the whole world has seen, and what must always be true of it.

The invariants of figure 3.2 of the thesis; the commit rule, counted on the disks; of changes of the membership, that
what is in force is what the log says, that those which follow each other have quorums that meet, that only one is under
way, and that whoever could be elected has all that is committed; of reads, that none goes back.
"""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from dataclasses import dataclass, field

from consensus import (
    Compacted,
    Entry,
    EntryType,
    HardState,
    Membership,
    RawNode,
    Ready,
    Role,
    Snapshot,
    decode_change,
)
from consensus.storage import MemoryStorage
from tests.consensus import oracle


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass
class Machine:
    """The state machine of one node: a running digest of what was applied, and how much of it is on disk."""

    applied: int = 0
    digest: int = 0
    durable: tuple[int, int] = (0, 0)

    def apply(self, entry: Entry) -> None:
        self.digest = zlib.crc32(b"%d.%d." % (self.digest, entry.index) + entry.data)
        self.applied = entry.index


@dataclass
class Node:
    id: str
    storage: MemoryStorage
    machine: Machine = field(default_factory=Machine)
    raw: RawNode | None = None
    outstanding: Ready | None = None
    synced: bool = False
    # The hard state that a crash cannot take back.
    durable_hard_state: HardState = field(default_factory=HardState)
    # What the last step saw, for the invariants that speak of change.
    seen_commit: int = 0
    seen_term: int = 0
    seen_leading: tuple[int, int, int] | None = None  # term, last index, last term
    starts: int = 0
    # Halted: it stays so over a restart, until the simulation says otherwise.
    passive: bool = False


class World:
    def __init__(self, genesis: Membership, nodes: dict[str, Node]) -> None:
        self.nodes = nodes
        self.genesis = oracle.halves_of(genesis)
        self.leaders: dict[int, str] = {}
        self.votes: dict[tuple[str, int], str] = {}
        # By index and term: the entry, and the term of the one before it.
        self.entries: dict[tuple[int, int], tuple[Entry, int]] = {}
        # By index: what is committed, and the membership as of it.
        self.committed: list[Entry] = [Entry(0, 0)]
        self.memberships: list[oracle.Halves] = [self.genesis]
        self.digests: dict[int, int] = {0: 0}
        self.acknowledged: dict[int, bytes] = {}
        # Reads that wait for an answer: who asked, the context, and what was committed by then.
        self.reads: dict[tuple[str, bytes], int] = {}
        self.counts: Counter[str] = Counter()
        self._met: set[str] = set()

    def check(self, holds: bool, invariant: str, detail: str) -> None:
        if not holds:
            raise Violation(f"{invariant}: {detail}")

    # What leaves, and what is written.

    def note_vote(self, voter: str, term: int, candidate: str) -> None:
        known = self.votes.setdefault((voter, term), candidate)
        self.check(known == candidate, "one vote a term", f"{voter} voted for {known} and {candidate} in term {term}")

    def note_entries(self, node: Node, entries: tuple[Entry, ...]) -> None:
        """Log matching: an index and a term mean one entry, and one predecessor."""
        if node.raw is None:
            return
        log = node.raw._raft.log
        for entry in entries:
            fact = (entry, log.term(entry.index - 1))
            known = self.entries.setdefault((entry.index, entry.term), fact)
            self.check(known == fact, "log matching", f"{node.id} has {fact} at {entry.index}, seen was {known}")
        if entries:
            self.inspect_membership(node)

    def note_apply(self, node: Node, entry: Entry) -> None:
        machine = node.machine
        self.check(
            entry.index == machine.applied + 1, "order", f"{node.id} applies {entry.index} after {machine.applied}"
        )
        self.check(
            entry.index < len(self.committed) and self.committed[entry.index] == entry,
            "state machine safety",
            f"{node.id} applies {entry} at {entry.index}, not what was committed",
        )
        machine.apply(entry)
        known = self.digests.setdefault(machine.applied, machine.digest)
        self.check(known == machine.digest, "state machine safety", f"{node.id} differs at {machine.applied}")

    def note_install(self, node: Node, snapshot: Snapshot) -> None:
        digest, metadata = int(snapshot.data), snapshot.metadata
        self.check(
            self.digests.get(metadata.index) == digest,
            "state machine safety",
            f"{node.id} loads a snapshot of {metadata.index}",
        )
        self.check(
            oracle.halves_of(metadata.membership) == self.memberships[metadata.index],
            "membership of a snapshot",
            f"{node.id} loads {metadata}",
        )
        node.machine.applied, node.machine.digest = metadata.index, digest

    # Reads.

    def note_read(self, node: Node, context: bytes) -> None:
        self.reads[node.id, context] = len(self.committed) - 1

    def note_answers(self, node: Node, ready: Ready) -> None:
        for state in ready.read_states:
            asked = self.reads.pop((node.id, state.context), None)
            self.check(asked is not None, "one answer to a read", f"{node.id} got {state} which it did not ask for")
            self.check(
                asked is not None and asked <= state.index < len(self.committed),
                "reads see what was committed",
                f"{node.id} asked when {asked} was committed, and is told {state.index}",
            )
            self.counts["reads"] += 1
        for dropped in ready.dropped_reads:
            asked = self.reads.pop((node.id, dropped.context), None)
            self.check(asked is not None, "one answer to a read", f"{node.id} got {dropped} which it did not ask for")
            self.counts["reads dropped"] += 1

    def forget_reads(self, node: Node) -> None:
        """It crashed: nobody waits any more."""
        self.reads = {key: asked for key, asked in self.reads.items() if key[0] != node.id}

    # What every node has to be like.

    def inspect(self, node: Node) -> None:
        if node.raw is None:
            return
        raft = node.raw._raft
        log = raft.log
        self.check(raft.term >= node.seen_term, "terms grow", f"{node.id} in {raft.term} after {node.seen_term}")
        node.seen_term = raft.term
        if raft.role is Role.LEADER:
            self.inspect_leader(node)
        else:
            node.seen_leading = None
        if raft.role is not Role.FOLLOWER:
            electors = raft.membership.electors | (raft.history.previous.electors if raft.change_pending else set())
            self.check(raft.id in electors, "only voters lead", f"{node.id} is {raft.role} outside {sorted(electors)}")
        if log.committed != node.seen_commit:
            self.check(log.committed > node.seen_commit, "commit index grows", f"{node.id}: {log.committed}")
            self.inspect_commit(node, leading=node.seen_leading is not None)
            node.seen_commit = log.committed

    def inspect_leader(self, node: Node) -> None:
        if node.raw is None:
            return
        raft = node.raw._raft
        log = raft.log
        known = self.leaders.setdefault(raft.term, node.id)
        self.check(known == node.id, "election safety", f"{known} and {node.id} lead term {raft.term}")
        seen = node.seen_leading
        if seen is None or seen[0] != raft.term:
            for index in range(max(log.first_index, 1), len(self.committed)):
                self.check(
                    log.matches(index, self.committed[index].term),
                    "leader completeness",
                    f"{node.id} leads term {raft.term} without index {index}",
                )
        else:
            kept = log.last_index >= seen[1] and log.term(seen[1]) == seen[2]
            self.check(kept, "leader append-only", f"{node.id} lost index {seen[1]} of term {seen[2]}")
        node.seen_leading = (raft.term, log.last_index, log.last_term)

    def inspect_commit(self, node: Node, *, leading: bool) -> None:
        if node.raw is None:
            return
        raft = node.raw._raft
        log = raft.log
        index = log.committed
        try:
            term = log.term(index)
        except Compacted:
            return
        if index < len(self.committed):
            known = self.committed[index].term
            self.check(known == term, "state machine safety", f"{node.id} commits {index} of term {term}")
            return
        if leading:
            self.check(
                term == raft.term, "only own terms are counted", f"{node.id} in {raft.term} counted {index} of {term}"
            )
        # The membership in force at whoever commits, from its own log.
        having = {member for member in self.nodes if self.on_disk(member, index, term)}
        self.check(
            oracle.commits(self.membership_of(node), having),
            "commit rule",
            f"{node.id} reports {index} of term {term}, which only {sorted(having)} have",
        )
        first = len(self.committed)
        for offset, entry in enumerate(log.slice(first, index + 1, sys.maxsize)):
            self.check(entry.index == first + offset, "order", f"{node.id} has {entry} at {first + offset}")
            self.committed.append(entry)
            self.memberships.append(self.after(self.memberships[-1], entry))
            self.counts["changes"] += entry.type is EntryType.CONFIGURATION
            self.counts["joint"] += self.memberships[-1][1] is not None and entry.type is EntryType.CONFIGURATION
        self.inspect_electable()

    def on_disk(self, member: str, index: int, term: int) -> bool:
        storage = self.nodes[member].storage
        if index < storage.first_index():
            return True
        return index <= storage.last_index() and storage.term(index) == term

    # Chapter 4.

    def after(self, halves: oracle.Halves, entry: Entry) -> oracle.Halves:
        if entry.type is EntryType.NORMAL:
            return halves
        changed = oracle.changed(halves, decode_change(entry.data))
        if changed is None:
            raise Violation(f"changes that may be: {entry} after {halves}")
        return changed

    def membership_of(self, node: Node) -> oracle.Halves:
        """What its log says, from what was committed before it begins."""
        if node.raw is None:
            return self.genesis
        log = node.raw._raft.log
        halves = self.memberships[min(log.first_index, len(self.memberships)) - 1]
        for entry in log.slice(log.first_index, log.last_index + 1, sys.maxsize):
            halves = self.after(halves, entry)
        return halves

    def inspect_membership(self, node: Node) -> None:
        """The log of `node` has changed: what is in force follows, whatever of it is committed."""
        if node.raw is None:
            return
        raft = node.raw._raft
        log = raft.log
        halves = self.memberships[min(log.first_index, len(self.memberships)) - 1]
        pending = 0
        for entry in log.slice(log.first_index, log.last_index + 1, sys.maxsize):
            if entry.type is EntryType.NORMAL:
                continue
            before, halves = halves, self.after(halves, entry)
            pending += entry.index >= len(self.committed)
            self.inspect_step(before, halves)
        said = oracle.halves_of(raft.membership)
        self.check(said == halves, "a change is in force once it is appended", f"{node.id} has {said}, not {halves}")
        self.check(pending <= 1, "one change at a time", f"{node.id} has {pending} that are not committed")

    def inspect_step(self, before: oracle.Halves, after: oracle.Halves) -> None:
        known = f"{before} {after}"
        if known in self._met:
            return
        self._met.add(known)
        self.check(oracle.all_meet(before, after), "quorums meet", f"not those of {before} and {after}")
        sides = oracle.authorities(self.genesis[0])
        for roles in after:
            kept = roles is None or oracle.authorities(roles) == sides
            self.check(kept, "every authority has a voter", f"not in {roles}")

    def inspect_electable(self) -> None:
        """Leader completeness, before there is a leader: who could find a quorum has all that is committed."""
        logs = {}
        for member, node in self.nodes.items():
            storage = node.storage
            logs[member] = (storage.term(storage.last_index()), storage.last_index())
        last = self.committed[-1]
        for member, node in self.nodes.items():
            if self.on_disk(member, last.index, last.term):
                continue
            halves = oracle.halves_of(node.storage.membership(node.storage.last_index()))
            willing = {voter for voter, log in logs.items() if log <= logs[member]}
            self.check(
                not oracle.elects(halves, willing),
                "who could be elected has what is committed",
                f"{member} lacks {last.index} of term {last.term}, and {sorted(willing)} would vote for it",
            )

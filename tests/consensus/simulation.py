"""A whole group of voters in one thread, with everything going wrong, from one seed.

Messages are lost, doubled, delayed and reordered; links fail one way or both; a whole authority is cut off; nodes crash
between any two parts of the `Ready` contract, losing what was not synced, keeping a part of it, or forgetting what
the state machine applied last. After every step the invariants of the thesis (figure 3.2) are checked, and the commit
rule is recomputed from the disks by hand, not with the code under test. At the end the network heals, and everybody
must agree within a bound.

    python -m tests.consensus.simulation --seed 7 --steps 4000      one run
    python -m tests.consensus.simulation --seeds 1000               a soak: seeds 0..999

Prints the commit and the seed first: with both the run comes back, step by step.
"""

from __future__ import annotations

import random
import subprocess
import sys
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from consensus import (
    Compacted,
    Config,
    Configuration,
    ConsensusError,
    Entry,
    HardState,
    Membership,
    Message,
    MessageType,
    ProposalDropped,
    RawNode,
    Ready,
    Role,
    SnapshotUnavailable,
)
from consensus.storage import MemoryStorage

DEFAULT_STEPS = 1500
# Election time-outs within which a healed network has a leader, has committed something new, and has told everybody.
HEALING_BOUND_TIMEOUTS = 40
# A network that is still talking after this many rounds without a tick will never stop.
MAX_QUIET_ROUNDS = 500
TRACE_EVENTS = 60

# How often each, relative to the others. A bounce is a crash in the middle of writing, and a restart at once.
FAULTS = (
    *("bounce",) * 6,
    *("crash",) * 2,
    *("start",) * 3,
    *("cut",) * 2,
    *("leap",) * 6,
    *("heal",) * 3,
    *("compact", "transfer", "report", "campaign", "passive"),
)


def _configuration(text: str) -> Configuration:
    """`kz:3 cn:2 witness:1 learner:1` as members kz-1, kz-2, ..."""
    voters: dict[str, str] = {}
    others: dict[str, set[str]] = {"witness": set(), "learner": set()}
    for part in text.split():
        name, _, count = part.partition(":")
        for number in range(1, int(count) + 1):
            if name in others:
                others[name].add(f"{name}-{number}")
            else:
                voters[f"{name}-{number}"] = name
    return Configuration(voters, frozenset(others["witness"]), frozenset(others["learner"]))


TOPOLOGIES = (
    Membership(_configuration("kz:2 cn:2")),
    Membership(_configuration("kz:3 cn:2")),
    Membership(_configuration("kz:2 cn:2 witness:1")),
    Membership(_configuration("kz:3 cn:1 witness:1")),
    Membership(_configuration("kz:1 cn:1 witness:1")),
    Membership(_configuration("kz:4 cn:1")),
    Membership(_configuration("kz:2 cn:1 learner:1")),
    Membership(_configuration("kz:1 cn:1 ru:1")),
    Membership(_configuration("kz:2 cn:2"), _configuration("kz:3 cn:1")),
)


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


@dataclass(frozen=True)
class Weather:
    """How bad it is. Drawn from the seed, so that many seeds see many kinds of trouble."""

    drop: float
    double: float
    deliver: float
    work: float
    tick: float
    propose: float
    fault: float
    late: float

    @classmethod
    def draw(cls, rng: random.Random) -> Weather:
        stormy = rng.uniform(0.3, 1.0)
        return cls(
            drop=rng.choice((0.0, 0.02, 0.1, 0.3)) * stormy,
            double=rng.choice((0.0, 0.02, 0.1)),
            deliver=rng.uniform(30, 60),
            work=rng.uniform(20, 60),
            tick=rng.uniform(3, 20),
            propose=rng.uniform(2, 8),
            fault=rng.choice((1.0, 4.0, 8.0)) * stormy,
            late=rng.choice((0.0, 0.2, 1.0)),
        )


class Simulation:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.membership = self.rng.choice(TOPOLOGIES)
        self.weather = Weather.draw(self.rng)
        self.election_timeout_ticks = self.rng.choice((3, 4, 8))
        self.limits: dict[str, Any] = {
            "max_append_bytes": self.rng.choice((1, 40, 10_000)),
            "max_inflight_messages": self.rng.choice((1, 3, 64)),
            "max_committed_bytes_per_ready": self.rng.choice((1, 10_000)),
            "max_tail_bytes": self.rng.choice((1, 100, 10_000)),
            "max_uncommitted_bytes": self.rng.choice((40, 100_000)),
        }
        self.nodes = {
            member: Node(member, MemoryStorage(self.membership)) for member in sorted(self.membership.members)
        }
        self.network: list[Message] = []
        self.blocked: set[tuple[str, str]] = set()
        self.trace: deque[str] = deque(maxlen=TRACE_EVENTS)
        self.step_number = 0
        self.proposed = 0
        # What the whole world has seen, which no single node may contradict.
        self.leaders: dict[int, str] = {}
        self.votes: dict[tuple[str, int], str] = {}
        self.entries: dict[tuple[int, int], tuple[bytes, int]] = {}
        self.committed: list[tuple[int, bytes]] = [(0, b"")]  # by index: term and data
        self.digests: dict[int, int] = {0: 0}
        self.waiting: dict[tuple[str, int, int], bytes] = {}  # proposer, term, index
        self.acknowledged: dict[int, bytes] = {}
        for node in self.nodes.values():
            self.start(node)

    # One node's life.

    def start(self, node: Node) -> None:
        node.starts += 1
        machine = node.machine
        machine.applied, machine.digest = machine.durable
        if machine.applied < node.storage.first_index() - 1:
            # Crashed between the two writes of a snapshot: bring the state machine to it first.
            self.install(node, node.storage.snapshot().data, node.storage.first_index() - 1)
            machine.durable = (machine.applied, machine.digest)
        node.raw = RawNode(
            Config(
                id=node.id,
                seed=self.seed * 1000 + node.starts,
                election_timeout_ticks=self.election_timeout_ticks,
                applied=machine.applied,
                **self.limits,
            ),
            node.storage,
        )
        node.raw.set_passive(node.passive)
        node.outstanding, node.synced = None, False
        node.seen_commit, node.seen_term, node.seen_leading = 0, 0, None

    def crash(self, node: Node) -> None:
        """Everything in memory is gone. Of what was not synced, anything that the contract allows may be there."""
        ready = node.outstanding
        if ready is not None and not node.synced:
            parts = ["entries", "hard_state"]
            self.rng.shuffle(parts)
            parts = ["snapshot", *parts][: self.rng.randrange(4)]
            if "snapshot" in parts and ready.snapshot is not None:
                node.storage.apply_snapshot(ready.snapshot)
            if "entries" in parts:
                node.storage.append(ready.entries[: self.rng.randrange(len(ready.entries) + 1)])
            if "hard_state" in parts and ready.hard_state is not None:
                node.storage.set_hard_state(ready.hard_state)
                node.durable_hard_state = ready.hard_state
        if self.rng.random() < 0.5:
            node.storage.set_hard_state(node.durable_hard_state)
        else:
            node.durable_hard_state = node.storage.hard_state
        self.waiting = {key: data for key, data in self.waiting.items() if key[0] != node.id}
        node.raw = node.outstanding = None

    def take(self, node: Node) -> None:
        raw = node.raw
        if raw is None or not raw.has_ready():
            return
        ready = raw.ready()
        node.outstanding, node.synced = ready, False
        log = raw._raft.log
        for entry in ready.entries:
            # Log matching: an index and a term mean one entry, and one predecessor.
            fact = (entry.data, log.term(entry.index - 1))
            known = self.entries.setdefault((entry.index, entry.term), fact)
            self.check(known == fact, "log matching", f"{node.id} has {fact} at {entry.index}, seen was {known}")
        self.send(ready.messages)
        for entry in ready.committed_entries:
            on_disk = entry.index <= node.storage.last_index() and node.storage.term(entry.index) == entry.term
            self.check(on_disk, "applied from the own disk", f"{node.id} is to apply {entry}, not on its disk")

    def sync(self, node: Node) -> None:
        ready = node.outstanding
        if ready is None or node.synced:
            return
        if ready.snapshot is not None:
            node.storage.apply_snapshot(ready.snapshot)
        node.storage.append(ready.entries)
        if ready.hard_state is not None:
            self.check(ready.hard_state.term >= node.storage.hard_state.term, "terms grow", f"{node.id}: {ready}")
            node.storage.set_hard_state(ready.hard_state)
        if ready.must_sync:
            node.durable_hard_state = node.storage.hard_state
        node.synced = True

    def finish(self, node: Node) -> None:
        ready, raw = node.outstanding, node.raw
        if ready is None or raw is None or not node.synced:
            return
        self.send(ready.messages_after_persist)
        if ready.snapshot is not None:
            self.install(node, ready.snapshot.data, ready.snapshot.metadata.index)
            node.machine.durable = (node.machine.applied, node.machine.digest)
        for entry in ready.committed_entries:
            self.apply(node, entry)
        if self.rng.random() < 0.5:
            node.machine.durable = (node.machine.applied, node.machine.digest)
        node.outstanding, node.synced = None, False
        raw.advance(ready)

    def apply(self, node: Node, entry: Entry) -> None:
        machine = node.machine
        self.check(
            entry.index == machine.applied + 1, "order", f"{node.id} applies {entry.index} after {machine.applied}"
        )
        self.check(
            entry.index < len(self.committed) and self.committed[entry.index] == (entry.term, entry.data),
            "state machine safety",
            f"{node.id} applies {entry} at {entry.index}, not what was committed",
        )
        machine.apply(entry)
        known = self.digests.setdefault(machine.applied, machine.digest)
        self.check(known == machine.digest, "state machine safety", f"{node.id} differs at {machine.applied}")
        data = self.waiting.pop((node.id, entry.term, entry.index), None)
        if data is not None:
            self.check(data == entry.data, "acknowledgement", f"{node.id} proposed {data!r} and got {entry}")
            self.acknowledged[entry.index] = data

    def install(self, node: Node, data: bytes, index: int) -> None:
        digest = int(data)
        self.check(self.digests.get(index) == digest, "state machine safety", f"{node.id} loads a snapshot of {index}")
        node.machine.applied, node.machine.digest = index, digest

    # The network.

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            # What has left cannot be taken back, wherever it gets to.
            if message.type is MessageType.VOTE_RESPONSE and not message.reject:
                self.note_vote(message.sender, message.term, message.to)
            elif message.type is MessageType.VOTE:
                self.note_vote(message.sender, message.term, message.sender)
            if self.rng.random() >= self.weather.drop:
                self.network.append(message)
            if self.weather.double and self.rng.random() < self.weather.double:
                self.network.append(message)

    def deliver(self, message: Message) -> None:
        node = self.nodes[message.to]
        if node.raw is None or (message.sender, message.to) in self.blocked:
            return
        node.raw.step(message)
        self.inspect(node)

    def pick_message(self) -> Message:
        """The oldest, or any: order is kept, somewhat, or not at all."""
        network = self.network
        if self.rng.random() >= self.weather.late:
            return network.pop(0)
        place = self.rng.randrange(len(network))
        network[place], network[-1] = network[-1], network[place]
        return network.pop()

    # Faults.

    def fault(self) -> None:
        rng = self.rng
        node = rng.choice(list(self.nodes.values()))
        kind = rng.choice(FAULTS)
        self.trace.append(f"{self.step_number} fault {kind} {node.id}")
        if kind == "crash":
            # Sometimes a whole side, or everybody: the power went.
            prefix = rng.choice((node.id, node.id, node.id.partition("-")[0], ""))
            for other in self.nodes.values():
                if other.id.startswith(prefix) and other.raw is not None:
                    self.crash(other)
        elif kind == "bounce":
            writing = [other for other in self.nodes.values() if other.outstanding is not None and not other.synced]
            voting = [other for other in writing if other.outstanding and other.outstanding.hard_state is not None]
            victim = rng.choice(voting or writing or [node])
            if victim.raw is not None:
                self.crash(victim)
                self.start(victim)
                self.inspect(victim)
        elif kind == "start":
            for other in self.nodes.values():
                if other.raw is None and rng.random() < 0.7:
                    self.start(other)
                    self.inspect(other)
        elif kind == "leap":
            # Clocks run ahead, here or there: leases end, several campaign at once.
            for other in self.nodes.values():
                for _ in range(rng.randrange(2 * self.election_timeout_ticks)):
                    if other.raw is not None and rng.random() < 0.8:
                        other.raw.tick()
                        self.inspect(other)
        elif kind == "cut":
            self.cut(node)
        elif kind == "heal":
            self.blocked.clear()
        elif node.raw is not None:
            self.nudge(kind, node, node.raw)

    def cut(self, node: Node) -> None:
        members = list(self.nodes)
        kind = self.rng.choice(("one", "authority", "half", "link"))
        if kind == "link":
            self.blocked.add((node.id, self.rng.choice(members)))  # One way only.
            return
        if kind == "one":
            island = {node.id}
        elif kind == "authority":
            island = {member for member in members if member.partition("-")[0] == node.id.partition("-")[0]}
        else:
            island = {member for member in members if self.rng.random() < 0.5}
        for one in members:
            for other in members:
                if (one in island) != (other in island):
                    self.blocked.add((one, other))

    def nudge(self, kind: str, node: Node, raw: RawNode) -> None:
        rng = self.rng
        if kind == "compact":
            index = node.machine.durable[0]
            # The snapshot is of exactly what is on the state machine's disk.
            if node.outstanding is None and node.storage.first_index() - 1 <= index <= node.storage.last_index():
                node.storage.create_snapshot(index, b"%d" % node.machine.durable[1])
                raw.compact(index)
        elif kind == "transfer":
            try:
                raw.transfer_leadership(rng.choice(sorted(self.membership.electors)))
            except ProposalDropped:
                return
        elif kind == "report":
            other = rng.choice(list(self.nodes))
            if rng.random() < 0.5:
                raw.report_unreachable(other)
            else:
                raw.report_snapshot(other, rng.random() < 0.5)
        elif kind == "passive":
            node.passive = not node.passive
            raw.set_passive(node.passive)
        else:
            raw.campaign()
        self.inspect(node)

    def propose(self, node: Node) -> bool:
        if node.raw is None:
            return False
        data = b"entry %d" % self.proposed
        try:
            index = node.raw.propose(data)
        except ProposalDropped:
            return False
        self.proposed += 1
        self.waiting[(node.id, node.raw.status().term, index)] = data
        self.inspect(node)
        return True

    # What must always be true.

    def check(self, holds: bool, invariant: str, detail: str) -> None:
        if not holds:
            raise Violation(f"{invariant}: {detail}")

    def note_vote(self, voter: str, term: int, candidate: str) -> None:
        known = self.votes.setdefault((voter, term), candidate)
        self.check(known == candidate, "one vote a term", f"{voter} voted for {known} and {candidate} in term {term}")

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
                    log.matches(index, self.committed[index][0]),
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
            self.check(
                self.committed[index][0] == term, "state machine safety", f"{node.id} commits {index} of term {term}"
            )
            return
        if leading:
            self.check(
                term == raft.term, "only own terms are counted", f"{node.id} in {raft.term} counted {index} of {term}"
            )
        self.check(
            self.on_enough_disks(raft.membership, index, term),
            "commit rule",
            f"{node.id} reports {index} of term {term}, which disks lack",
        )
        first = len(self.committed)
        for offset, entry in enumerate(log.slice(first, index + 1, sys.maxsize)):
            self.check(entry.index == first + offset, "order", f"{node.id} has {entry} at {first + offset}")
            self.committed.append((entry.term, entry.data))

    def on_enough_disks(self, membership: Membership, index: int, term: int) -> bool:
        """The commit rule, said again with nothing but counting."""

        def has(member: str) -> bool:
            storage = self.nodes[member].storage
            if index < storage.first_index():
                return True
            return index <= storage.last_index() and storage.term(index) == term

        for configuration in (membership.incoming, membership.outgoing):
            if configuration is None:
                continue
            voters = [*configuration.voters, *configuration.witnesses]
            if 2 * sum(has(voter) for voter in voters) <= len(voters):
                return False
            for authority in set(configuration.voters.values()):
                if not any(has(voter) for voter, side in configuration.voters.items() if side == authority):
                    return False
        return True

    # The run.

    def run(self, steps: int) -> None:
        try:
            for self.step_number in range(steps):
                self.step()
            self.heal()
        except (Violation, ConsensusError, SnapshotUnavailable, IndexError, KeyError) as error:
            raise Violation(self.report(error, steps)) from error

    def step(self) -> None:
        weather, rng = self.weather, self.rng
        total = weather.deliver + weather.work + weather.tick + weather.propose + weather.fault
        draw = rng.random() * total
        if draw < weather.deliver and self.network:
            message = self.pick_message()
            self.trace.append(f"{self.step_number} deliver {describe(message)}")
            self.deliver(message)
            return
        draw = max(draw - weather.deliver, 0)
        if draw < weather.work:
            busy = [
                other
                for other in self.nodes.values()
                if other.raw is not None and (other.outstanding is not None or other.raw.has_ready())
            ]
            if busy:
                self.work(rng.choice(busy))
                return
            draw = weather.work
        node = rng.choice(list(self.nodes.values()))
        draw -= weather.work
        if draw < weather.tick:
            if node.raw is not None:
                node.raw.tick()
                self.inspect(node)
            return
        draw -= weather.tick
        if draw < weather.propose:
            leaders = [other for other in self.nodes.values() if other.seen_leading is not None]
            if leaders:
                self.trace.append(f"{self.step_number} propose {self.proposed}")
                self.propose(rng.choice(leaders))
            return
        self.fault()

    def work(self, node: Node) -> None:
        """The next part of the contract of one node; sometimes all of them."""
        parts = 3 if self.rng.random() < 0.5 else 1
        for _ in range(parts):
            self.trace.append(f"{self.step_number} work {node.id}")
            if node.outstanding is None:
                self.take(node)
            elif not node.synced:
                self.sync(node)
            else:
                self.finish(node)
            self.inspect(node)

    def heal(self) -> None:
        """The storm is over: within a bound everybody has the same, and something new besides."""
        self.trace.append("heal")
        self.blocked.clear()
        self.weather = Weather(0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
        # One voter that has not halted is enough to lead, whichever it is.
        electors = [self.nodes[elector] for elector in sorted(self.membership.electors)]
        if all(node.passive for node in electors):
            self.rng.choice(electors).passive = False
        for node in self.nodes.values():
            if node.raw is None:
                self.start(node)
            else:
                node.raw.set_passive(node.passive)
            self.inspect(node)
        target = 0
        for _ in range(HEALING_BOUND_TIMEOUTS * self.election_timeout_ticks):
            for node in self.nodes.values():
                if node.raw is not None:
                    node.raw.tick()
                    self.inspect(node)
            self.settle()
            if target == 0:
                leaders = [node for node in self.nodes.values() if node.seen_leading is not None]
                if any(self.propose(node) for node in leaders):
                    target = self.proposed - 1
                    wanted = b"entry %d" % target
            elif self.committed[-1][1] == wanted and {
                (node.machine.applied, node.machine.digest) for node in self.members()
            } == {(len(self.committed) - 1, self.digests.get(len(self.committed) - 1))}:
                for index, data in self.acknowledged.items():
                    self.check(self.committed[index][1] == data, "nothing acknowledged is lost", f"index {index}")
                return
            elif wanted not in self.waiting.values():
                # The leader changed under the proposal: it may or may not be ordered. Propose another.
                target = 0
        state = "; ".join(f"{node.id} {node.raw.status() if node.raw else 'down'}" for node in self.nodes.values())
        raise Violation(f"liveness: no agreement within {HEALING_BOUND_TIMEOUTS} election time-outs: {state}")

    def members(self) -> list[Node]:
        """Who has to have everything: a joint configuration is left, so not everybody may be."""
        members: set[str] = set()
        for node in self.nodes.values():
            if node.raw is not None and node.seen_leading is not None:
                members |= node.raw.status().membership.members
        return [node for node in self.nodes.values() if node.id in members]

    def settle(self) -> None:
        """Everybody works, everything arrives, until nobody has anything to say."""
        for _ in range(MAX_QUIET_ROUNDS):
            busy = False
            for node in self.nodes.values():
                if node.raw is not None and (node.outstanding is not None or node.raw.has_ready()):
                    busy = True
                    if node.outstanding is None:
                        self.take(node)
                    self.sync(node)
                    self.finish(node)
                    self.inspect(node)
            arriving, self.network = self.network, []
            for message in arriving:
                busy = True
                self.deliver(message)
            if not busy:
                return
        raise Violation(f"liveness: still talking after {MAX_QUIET_ROUNDS} rounds without a tick")

    def report(self, error: Exception, steps: int) -> str:
        events = "\n  ".join(self.trace)
        return (
            f"{error}\n  step {self.step_number}, {self.describe()}\n  {events}\n"
            f"reproduce: python -m tests.consensus.simulation --seed {self.seed} --steps {steps}"
        )

    def describe(self) -> str:
        joint = ", joint" if self.membership.outgoing is not None else ""
        return f"members {' '.join(self.nodes)}{joint}, {self.limits}, {self.weather}"

    def summary(self) -> str:
        return (
            f"{len(self.committed) - 1} committed, {len(self.acknowledged)} acknowledged, {len(self.leaders)} leaders,"
            f" {sum(node.starts for node in self.nodes.values()) - len(self.nodes)} restarts"
        )


def describe(message: Message) -> str:
    refused = " reject" if message.reject else ""
    return (
        f"{message.type.name} {message.sender}->{message.to} term {message.term} at {message.index}/{message.log_term}"
        f" +{len(message.entries)} commit {message.commit}{refused}"
    )


def commit_id() -> str:
    try:
        run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


@click.command()
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.option("--seeds", default=1, show_default=True, help="How many seeds, one after the other.")
@click.option("--steps", default=DEFAULT_STEPS, show_default=True, help="Steps of each run.")
def main(seed: int, seeds: int, steps: int) -> None:
    """Run the simulation; exit status 1 at the first violation."""
    click.echo(f"commit {commit_id()}, seeds {seed}..{seed + seeds - 1}, {steps} steps each")
    for number in range(seed, seed + seeds):
        simulation = Simulation(number)
        try:
            simulation.run(steps)
        except Violation as violation:
            click.echo(f"seed {number}: {violation}")
            raise SystemExit(1) from violation
        if seeds == 1 or (number + 1) % 100 == 0:
            click.echo(f"seed {number}: {simulation.summary()}")


if __name__ == "__main__":
    main()

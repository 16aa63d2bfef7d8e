"""The run: nodes that start, crash and work, a network between them, and everything that goes wrong."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Any

from consensus import (
    Action,
    ChangeRefused,
    Config,
    ConfigurationChange,
    ConsensusError,
    Entry,
    Membership,
    Message,
    MessageType,
    ProposalDropped,
    RawNode,
    SnapshotUnavailable,
    Step,
)
from consensus.storage import MemoryStorage
from tests.consensus import oracle
from tests.consensus.group import allow
from tests.consensus.simulation.weather import FAIR, FAULTS, SPARES, TOPOLOGIES, Weather
from tests.consensus.simulation.world import Node, Violation, World

DEFAULT_STEPS = 1500
# Election time-outs within which a healed network has a leader, has committed something new, and has told everybody.
HEALING_BOUND_TIMEOUTS = 40
# A network that is still talking after this many rounds without a tick will never stop.
MAX_QUIET_ROUNDS = 500
TRACE_EVENTS = 60


class Simulation:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.genesis: Membership = self.rng.choice(TOPOLOGIES)
        spares = self.rng.choice(SPARES)
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
            member: Node(member, MemoryStorage(self.genesis)) for member in sorted(self.genesis.members | set(spares))
        }
        self.network: list[Message] = []
        self.blocked: set[tuple[str, str]] = set()
        self.stalled: set[str] = set()
        self.trace: deque[str] = deque(maxlen=TRACE_EVENTS)
        self.step_number = 0
        self.proposed = 0
        self.asked = 0
        self.world = World(self.genesis, self.nodes)
        self.waiting: dict[tuple[str, int, int], bytes] = {}  # proposer, term, index
        for node in self.nodes.values():
            self.start(node)

    # One node's life.

    def start(self, node: Node) -> None:
        node.starts += 1
        machine = node.machine
        machine.applied, machine.digest = machine.durable
        if machine.applied < node.storage.first_index() - 1:
            # Crashed between the two writes of a snapshot: bring the state machine to it first.
            self.world.note_install(node, node.storage.snapshot())
            machine.durable = (machine.applied, machine.digest)
        node.raw = RawNode(
            Config(
                id=node.id,
                seed=self.seed * 1000 + node.starts,
                election_timeout_ticks=self.election_timeout_ticks,
                applied=machine.applied,
                authorise=allow,
                **self.limits,
            ),
            node.storage,
        )
        node.raw.set_passive(node.passive)
        node.outstanding, node.synced = None, False
        node.seen_commit, node.seen_term, node.seen_leading = 0, 0, None
        self.world.inspect_membership(node)

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
        self.world.forget_reads(node)
        node.raw = node.outstanding = None

    def take(self, node: Node) -> None:
        raw = node.raw
        if raw is None or not raw.has_ready():
            return
        ready = raw.ready()
        node.outstanding, node.synced = ready, False
        self.world.note_entries(node, ready.entries)
        self.world.note_answers(node, ready)
        self.send(ready.messages)
        for entry in ready.committed_entries:
            on_disk = entry.index <= node.storage.last_index() and node.storage.term(entry.index) == entry.term
            self.world.check(on_disk, "applied from the own disk", f"{node.id} is to apply {entry}, not on its disk")

    def sync(self, node: Node) -> None:
        ready = node.outstanding
        if ready is None or node.synced:
            return
        if ready.snapshot is not None:
            node.storage.apply_snapshot(ready.snapshot)
        node.storage.append(ready.entries)
        if ready.hard_state is not None:
            self.world.check(ready.hard_state.term >= node.storage.hard_state.term, "terms grow", f"{node.id}: {ready}")
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
            self.world.note_install(node, ready.snapshot)
            node.machine.durable = (node.machine.applied, node.machine.digest)
        for entry in ready.committed_entries:
            self.apply(node, entry)
        if self.rng.random() < 0.5:
            node.machine.durable = (node.machine.applied, node.machine.digest)
        node.outstanding, node.synced = None, False
        led = node.seen_leading
        raw.advance(ready)
        self.world.inspect(node)
        self.seize(node, led)

    def apply(self, node: Node, entry: Entry) -> None:
        self.world.note_apply(node, entry)
        data = self.waiting.pop((node.id, entry.term, entry.index), None)
        if data is not None:
            self.world.check(data == entry.data, "acknowledgement", f"{node.id} proposed {data!r} and got {entry}")
            self.world.acknowledged[entry.index] = data

    # The network.

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            # What has left cannot be taken back, wherever it gets to.
            if message.type is MessageType.VOTE_RESPONSE and not message.reject:
                self.world.note_vote(message.sender, message.term, message.to)
            elif message.type is MessageType.VOTE:
                self.world.note_vote(message.sender, message.term, message.sender)
            if self.rng.random() >= self.weather.drop:
                self.network.append(message)
            if self.weather.double and self.rng.random() < self.weather.double:
                self.network.append(message)

    def deliver(self, message: Message) -> None:
        node = self.nodes[message.to]
        if node.raw is None or (message.sender, message.to) in self.blocked:
            return
        led = node.seen_leading
        node.raw.step(message)
        self.world.inspect(node)
        self.seize(node, led)

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
                self.world.inspect(victim)
        elif kind == "start":
            for other in self.nodes.values():
                if other.raw is None and rng.random() < 0.7:
                    self.start(other)
                    self.world.inspect(other)
        elif kind == "leap":
            # Clocks run ahead, here or there: leases end, several campaign at once.
            for other in self.nodes.values():
                for _ in range(rng.randrange(2 * self.election_timeout_ticks)):
                    if other.raw is not None and other.id not in self.stalled and rng.random() < 0.8:
                        other.raw.tick()
                        self.world.inspect(other)
        elif kind == "cut":
            self.cut(node)
        elif kind == "stall":
            # A clock stands still, rather that of a leader, who does not notice then that its time is over.
            leaders = [other for other in self.nodes.values() if other.seen_leading is not None]
            victim = rng.choice([*leaders, node])
            self.stalled.add(victim.id)
            if rng.random() < 0.5:
                self.cut(victim, "one")
        elif kind == "heal":
            self.blocked.clear()
            self.stalled.clear()
        elif node.raw is not None:
            self.nudge(kind, node, node.raw)

    def cut(self, node: Node, kind: str | None = None) -> None:
        members = list(self.nodes)
        kind = kind or self.rng.choice(("one", "authority", "half", "link"))
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
                raw.transfer_leadership(rng.choice(sorted(raw.status().membership.electors)))
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
        self.world.inspect(node)

    def seize(self, node: Node, led: tuple[int, int, int] | None) -> None:
        """A new leader may be asked for a change before it has committed anything."""
        if led is None and node.seen_leading is not None and self.rng.random() < self.weather.change:
            self.change(node)

    def change(self, node: Node) -> None:
        """Whoever leads is asked for a change, mostly a sensible one: a spare learns, a learner votes, a voter goes."""
        if node.raw is None:
            return
        rng = self.rng
        roles = oracle.roles_of(node.raw.status().membership.incoming)
        count = rng.choice((1, 1, 1, 2, 3))
        steps = [self.draw_step(member, roles.get(member)) for member in rng.sample(sorted(self.nodes), count)]
        try:
            node.raw.propose_change(ConfigurationChange(tuple(steps)))
        except (ProposalDropped, ChangeRefused) as error:
            self.trace.append(f"{self.step_number} change {[step.action.name for step in steps]}: {error}")
            self.world.counts["changes refused"] += 1
        else:
            # A leader that is cut off with a change of its own is what the erratum to section 4.2 is about.
            if self.rng.random() < self.weather.change:
                self.cut(node, "one")
        self.world.inspect_membership(node)
        self.world.inspect(node)

    def draw_step(self, member: str, role: str | None) -> Step:
        side = member.partition("-")[0]
        vote = Step(Action.ADD_VOTER, member, side) if side in ("kz", "cn", "ru") else Step(Action.ADD_WITNESS, member)
        if role is None:
            return Step(Action.ADD_LEARNER, member)
        if role == "learner":
            return self.rng.choice((vote, vote, Step(Action.REMOVE, member)))
        return self.rng.choice((Step(Action.ADD_LEARNER, member), Step(Action.REMOVE, member)))

    def read(self, node: Node) -> None:
        if node.raw is None:
            return
        context = b"read %d" % self.asked
        self.asked += 1
        self.world.note_read(node, context)
        try:
            node.raw.read_index(context)
        except ProposalDropped:
            self.world.reads.pop((node.id, context))
        self.world.inspect(node)

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
        self.world.inspect(node)
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
            if node.raw is not None and node.id not in self.stalled:
                node.raw.tick()
                self.world.inspect(node)
            return
        draw -= weather.tick
        if draw < weather.propose:
            leaders = [other for other in self.nodes.values() if other.seen_leading is not None]
            kind = rng.random()
            if kind < self.weather.change:
                self.change(rng.choice(leaders or [node]))
            elif kind < self.weather.change + self.weather.read:
                self.read(rng.choice([*leaders, node]))
            elif leaders:
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
            self.world.inspect(node)

    def heal(self) -> None:
        """The storm is over: within a bound all members have the same, something new besides, and answers to reads."""
        self.trace.append("heal")
        self.blocked.clear()
        self.stalled.clear()
        self.weather = FAIR
        for node in self.nodes.values():
            if node.raw is None:
                self.start(node)
            else:
                node.raw.set_passive(node.passive)
            self.world.inspect(node)
        self.wake_one()
        wanted: bytes | None = None
        for _ in range(HEALING_BOUND_TIMEOUTS * self.election_timeout_ticks):
            for node in self.nodes.values():
                if node.raw is not None:
                    node.raw.tick()
                    self.world.inspect(node)
            self.settle()
            if wanted is None:
                for node in self.nodes.values():
                    if node.seen_leading is not None and self.propose(node):
                        wanted = b"entry %d" % (self.proposed - 1)
                        self.read_everywhere()
                        break
            elif self.all_agree(wanted):
                for index, data in self.world.acknowledged.items():
                    self.world.check(
                        self.world.committed[index].data == data, "nothing acknowledged is lost", f"index {index}"
                    )
                return
            elif wanted not in self.waiting.values() and self.world.committed[-1].data != wanted:
                # The leader changed under the proposal: it may or may not be ordered. Propose another.
                wanted = None
        state = "; ".join(f"{node.id} {node.raw.status() if node.raw else 'down'}" for node in self.nodes.values())
        raise Violation(f"liveness: no agreement within {HEALING_BOUND_TIMEOUTS} election time-outs: {state}")

    def wake_one(self) -> None:
        """One voter that has not halted is enough to lead, whichever it is, of whatever membership will hold."""
        for node in self.nodes.values():
            if node.raw is None:
                continue
            membership = node.raw.status().membership
            # A joint configuration is left: what matters is who votes then.
            for half in (membership.incoming, membership.outgoing):
                electors = [self.nodes[elector] for elector in half.electors] if half is not None else []
                if electors and all(elector.passive for elector in electors):
                    chosen = self.rng.choice(electors)
                    chosen.passive = False
                    if chosen.raw is not None:
                        chosen.raw.set_passive(False)

    def all_agree(self, wanted: bytes) -> bool:
        """Everybody whom the membership names has all that is committed; no change is under way, and no read waits."""
        last = len(self.world.committed) - 1
        roles, joint = self.world.memberships[-1]
        if self.world.committed[-1].data != wanted or joint is not None or self.world.reads:
            return False
        machines = [self.nodes[member].machine for member in roles]
        return all((machine.applied, machine.digest) == (last, self.world.digests.get(last)) for machine in machines)

    def read_everywhere(self) -> None:
        for node in self.nodes.values():
            self.read(node)

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
                    self.world.inspect(node)
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
        return f"began as {self.genesis}, with {' '.join(self.nodes)}, {self.limits}, {self.weather}"

    def counts(self) -> dict[str, int]:
        """How much happened: a simulation in which nothing happens finds nothing."""
        world = self.world
        return {
            "committed": len(world.committed) - 1,
            "acknowledged": len(world.acknowledged),
            "leaders": len(world.leaders),
            "restarts": sum(node.starts - 1 for node in self.nodes.values()),
            **{name: world.counts[name] for name in ("changes", "joint", "changes refused", "reads", "reads dropped")},
        }


def describe(message: Message) -> str:
    refused = " reject" if message.reject else ""
    return (
        f"{message.type.name} {message.sender}->{message.to} term {message.term} at {message.index}/{message.log_term}"
        f" +{len(message.entries)} commit {message.commit}{refused}"
    )

"""One run of the whole network from one seed: trouble for a while, then peace, and a look at what is left.

    python -m tests.simulation --seed 7                one run
    python -m tests.simulation --seeds 300             that many fresh ones
    python -m tests.simulation --minutes 30            as many as there is time for

Real: consensus, ordering, execution, contracts, the ledger and its state, cosigning, finality, divergence, the
service to gateways, the protocol buffers, every signature. Simulated: time, threads, disks, the network, and who uses
it.
The oracle looks at every step; at the end the network heals, and within `HEALING_BOUND_US` a fresh statement of each
authority is final on every validator.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any

import structlog

from ledger.algorithms import eddsa
from ledger.errors import LedgerError
from nodes.certificates import PeerDirectory
from tests.simulation.clients import Client, Errand
from tests.simulation.corridor import Corridor, corridor
from tests.simulation.faults import KINDS, SEASONS, Faults
from tests.simulation.links import Links, Weather
from tests.simulation.node import Node
from tests.simulation.operators import Operators
from tests.simulation.oracle import Oracle
from tests.simulation.watching import watching
from tests.simulation.world import MS, S, Violation, World

SHAPES = (
    "kz-kgd:2 cn-gacc:2",
    "kz-kgd:2 cn-gacc:2",
    "kz-kgd:2 cn-gacc:2",
    "kz-kgd:3 cn-gacc:2",
    "kz-kgd:2 cn-gacc:1",
    "kz-kgd:1 cn-gacc:1",
    "kz-kgd:1 cn-gacc:1 ru-fts:1",
    "kz-kgd:2 cn-gacc:2 arbiter:1",
)
# Connections, an election or two, the patience of clients and of whoever was lied to: measured in virtual time.
HEALING_BOUND_US = 45 * S
SETTLE_US = 8 * S
REMEMBERED_SIGNATURES = 20_000
# The part of the runs in which somebody lies, where an authority has a validator to spare.
LIARS = 0.35
# The part in which the network is bad from the first moment to the last.
STORMY = 0.15
# The part in which one sort of trouble prevails, and the one that ends in silence.
SEASONAL = 0.25
SILENT = 0.3
# The part in which the membership changes.
CHANGING = 0.4


@dataclass
class Result:
    seed: int
    trace_hash: str
    virtual_us: int
    steps: int
    blocks: int
    answers: int
    faults: dict[str, int]
    violation: Violation | None
    trace: list[str]
    events: list[dict[str, Any]] = field(default_factory=list)


class Simulation:
    def __init__(
        self,
        seed: int,
        *,
        shape: str | None = None,
        trouble_us: int | None = None,
        liar: str | None = None,
        tail_entries: int | None = None,
        stormy: bool = False,
        season: str | None = None,
        silent: bool | None = None,
        changing: bool | None = None,
    ) -> None:
        self.world = World(seed)
        rng = self.world.rng
        self.corridor: Corridor = corridor(shape or rng.choice(SHAPES))
        self.links = Links(self.world)
        tick_ms, timeout_ticks = rng.choice(((50, 20), (50, 10), (100, 10)))
        changes: dict[str, Any] = {
            "tick_ms": tick_ms,
            "election_timeout_ticks": timeout_ticks,
            "inline_max_bytes": rng.choice((0, 16 * 1024)),
            "block_interval_ms": rng.choice((5, 30, 100)),
            "blocks_in_flight": rng.choice((1, 4)),
            "order_tail_entries": tail_entries or rng.choice((16, 40, 100_000)),
            "block_max_statements": rng.choice((2, 400)),
        }
        if season is None and rng.random() < SEASONAL:
            season = rng.choice(sorted(SEASONS))
        self.season = SEASONS[season] if season is not None else None
        # Whether nobody wants anything any more once the trouble is over: what is there must be settled all the same.
        self.silent = silent if silent is not None else rng.random() < SILENT
        if self.season is not None:
            changes |= self.season.tuning
        self.nodes: dict[str, Node] = {}
        for name, config in self.corridor.configs.items():
            config = dataclasses.replace(config, tuning=dataclasses.replace(config.tuning, **changes))
            self.nodes[name] = Node(self.world, self.links, self.corridor, config)
        self.oracle = Oracle(self.world, self.corridor, self.nodes)
        self.links.on_sent = self.oracle.sent
        self.links.on_received = self.oracle.received
        for node in self.nodes.values():
            node.on_started = self._started
            node.on_crashed = self.oracle.crashed
        self.clients = [
            Client(
                self.world,
                self.corridor,
                self.oracle,
                authority,
                [node for node in self.nodes.values() if node.authority == authority],
            )
            for authority in self.corridor.authorities
        ]
        self.operators: Operators | None = None
        seasonal = self.season.changes if self.season is not None else ()
        if seasonal or (changing if changing is not None else rng.random() < CHANGING):
            pace_us = rng.choice((150, 400, 1000)) * MS
            self.operators = Operators(self.world, self.corridor, self.oracle, self.nodes, pace_us=pace_us)
            self.operators.kinds = seasonal or self.operators.kinds
        pace_us = rng.choice((250, 700, 1500)) * MS
        kinds: tuple[str, ...] = KINDS
        if self.season is not None:
            pace_us, kinds = self.season.pace_us, self.season.kinds
            for client in self.clients:
                client.reads = self.season.reads
            self.links.weather = self.links.climate = self.season.climate
        self.faults = Faults(self.world, self.links, self.nodes, pace_us=pace_us, kinds=kinds)
        self.faults.is_removed = self.oracle.is_removed
        self.faults.may_lose = self.operators.may_lose if self.operators is not None else self._may_lose
        self.trouble_us = trouble_us if trouble_us is not None else rng.choice((3, 5, 10)) * S
        from tests.simulation.liars import SHAPES as LIARS_SHAPES
        from tests.simulation.liars import tell_lies

        if stormy or (self.season is None and rng.random() < STORMY):
            # All the time, so that what is late meets what came after it.
            self.links.weather = self.links.climate = Weather(overtake=1.0, double=0.1, late=0.2, delay_us=20 * MS)
        may_lie = self.corridor.shape in LIARS_SHAPES
        if may_lie and (liar is not None or rng.random() < LIARS):
            tell_lies(self, liar)
            # Who was lied to may halt, and stays so until somebody looks.
            self.silent = False

    def _started(self, node: Node) -> None:
        self.oracle.started(node)
        if self.season is not None and self.season.small_appends and node.validator is not None:
            object.__setattr__(node.validator.ordering._node._raft.config, "max_append_bytes", 1)

    def _may_lose(self, name: str) -> bool:
        """Whether the network can do without this validator, beside those that it lacks already."""
        sound = {
            other.name
            for other in self.nodes.values()
            if other.name != name
            and not (other.lost or other.lies or any(platter.flipped for platter in other.disk.platters.values()))
        }
        return self.oracle.ordered.present.may_commit(sound)

    # --- one run ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises Violation."""
        world = self.world
        world.note(f"seed {world.seed} {self.corridor.shape}")
        for node in self.nodes.values():
            world.after(world.rng.randrange(200 * MS), node.start)
        for client in self.clients:
            client.begin()
        if self.operators is not None:
            self.operators.begin()
        if self.silent:
            # The last of what they wanted is done before the trouble is over: nothing new comes to carry it along.
            world.at(self.trouble_us // 2, self._rest)
        self.faults.begin()
        world.run_until(self.trouble_us)
        self.faults.heal()
        if self.operators is not None:
            self.operators.finish()
        for node in self._well():
            if node.validator is not None and node.validator.halted is not None:
                # Somebody was lied to while nobody else could be heard. An operator has looked, and starts it again.
                node.crash(keep_unsynced=True)
                node.start()
        healed_us = world.now_us
        if self.silent:
            world.run_until(healed_us + HEALING_BOUND_US, lambda: world.now_us > healed_us + S and self._quiet())
            if not self._quiet():
                world.fail("what is accepted becomes final", self._standing([]))
        else:
            world.run_until(healed_us + 2 * S)
        self._rest()
        probes = [self._probe(client) for client in self.clients]
        healed_us = world.now_us
        world.run_until(healed_us + HEALING_BOUND_US, lambda: world.now_us > healed_us and self._settled(probes))
        if not self._settled(probes):
            world.fail("progress after healing", self._standing(probes))
            raise world.failure or Violation("progress after healing", "")
        world.run_until(world.now_us + SETTLE_US, self._agreed)
        self.oracle.conclude()
        if world.failure is not None:
            raise world.failure

    def _rest(self) -> None:
        """Nobody wants anything new."""
        for client in self.clients:
            client.resting = True

    def _probe(self, client: Client) -> Errand:
        errand = client.fresh()
        client.send([errand])
        return errand

    def _well(self) -> list[Node]:
        """The members of now that are sound."""
        members = self.oracle.ordered.present.incoming.roles
        return [node for name, node in self.nodes.items() if name in members and node.lost is None and not node.lies]

    def _membership_settled(self) -> bool:
        """What was begun is done, and whoever was removed has heard of it."""
        gone = [self.nodes[name] for name in self.oracle.ordered.removed]
        return (
            (self.operators is None or self.operators.settled)
            and self.oracle.ordered.present.outgoing is None
            and not any(node.present and node.lost is None and not node.lies for node in gone)
        )

    def _settled(self, probes: list[Errand]) -> bool:
        if not self._membership_settled():
            return False
        if any(probe.accepted_at is None for probe in probes):
            return False
        newest = max(probe.accepted_at or 0 for probe in probes)
        for node in self._well():
            final = node.validator.concluding.latest if node.validator is not None else None
            if final is None or final[0] <= newest:
                return False
        return True

    def _quiet(self) -> bool:
        """Everything that anybody has executed is executed and final everywhere."""
        if not self._membership_settled():
            return False
        sizes = {
            (node.validator.chain.size, node.validator.finality.final_size) if node.validator is not None else (-1, 0)
            for node in self._well()
        }
        return len(sizes) == 1 and all(size == final for size, final in sizes)

    def _agreed(self) -> bool:
        sizes = {node.validator.chain.size if node.validator is not None else -1 for node in self._well()}
        return len(sizes) == 1 and -1 not in sizes

    def _standing(self, probes: list[Errand]) -> str:
        """What everybody is waiting for, for whoever has to find out why."""
        parts = [f"probes {[probe.accepted_at for probe in probes]}", f"members {self.oracle.ordered.present}"]
        if not self._membership_settled():
            waiting = len(self.operators.pending) if self.operators is not None else 0
            parts.append(f"{waiting} changes pending, removed {self.oracle.ordered.removed}")
        for node in self._well():
            validator = node.validator
            if validator is None:
                parts.append(f"{node.name} down {node.exit_code}")
                continue
            parts.append(
                f"{node.name} term {validator.ordering.term} leader {validator.ordering.leader} "
                f"committed {validator.ordering.committed} applied {validator.execution.applied} "
                f"final {validator.finality.final_size}/{validator.chain.size} {validator.report.readiness()[1]}"
            )
        return "; ".join(parts)


def _verified_once(verify: Callable[[bytes, bytes, bytes], None]) -> Callable[[bytes, bytes, bytes], None]:
    """Whether bytes carry a signature does not depend on who asks: all validators of one process share the answer."""

    @lru_cache(maxsize=REMEMBERED_SIGNATURES)
    def found(key: bytes, message: bytes, signature: bytes) -> LedgerError | None:
        try:
            verify(key, message, signature)
        except LedgerError as error:
            return error
        return None

    def answer(key: bytes, message: bytes, signature: bytes) -> None:
        error = found(key, message, signature)
        if error is not None:
            raise error.with_traceback(None)

    return answer


_identities: dict[tuple[frozenset[tuple[str, str]], bytes], str] = {}


def _identified(directory: PeerDirectory, pem: bytes, identify: Callable[[PeerDirectory, bytes], str]) -> str:
    place = (frozenset(directory._members.items()), pem)
    if place not in _identities:
        _identities[place] = identify(directory, pem)
    return _identities[place]


def _left_by_a_crash(error: BaseException | None) -> bool:
    """Said by a generator that a node was in the middle of when its power went, as it is cleared up."""
    return isinstance(error, RuntimeError) and "asynchronous generator is already running" in str(error)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the logs of the validators, and without asking twice what has one answer."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    collecting = gc.isenabled()
    gc.disable()
    unraisable = sys.unraisablehook
    sys.unraisablehook = lambda left: None if _left_by_a_crash(left.exc_value) else unraisable(left)
    verify, identify = eddsa.verify, PeerDirectory.identify_certificate
    eddsa.verify = _verified_once(verify)  # type: ignore[assignment]
    PeerDirectory.identify_certificate = lambda self, pem: _identified(self, pem, identify)  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings():
            # Of a node that crashed before it came to run what it had begun.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            yield
    finally:
        sys.unraisablehook = unraisable
        eddsa.verify = verify
        PeerDirectory.identify_certificate = identify  # type: ignore[method-assign]
        structlog.configure(**before)
        if collecting:
            gc.enable()


def simulate(
    seed: int, *, prepare: Callable[[Simulation], None] | None = None, events: bool = False, **options: Any
) -> Result:
    """One run. `prepare` may change the simulation before it begins."""
    with quiet():
        simulation = Simulation(seed, **options)
        if events:
            simulation.oracle.events = []
        if prepare is not None:
            prepare(simulation)
        violation: Violation | None = None
        with watching(simulation.oracle):
            try:
                simulation.run()
            except Violation as found:
                violation = found
            except Exception as error:
                # In words: not every exception survives the way between two processes.
                violation = Violation("nothing escapes", "".join(traceback.format_exception(error)))
        world = simulation.world
        result = Result(
            seed,
            world.trace_hash(),
            world.now_us,
            world.steps,
            simulation.oracle.executed_blocks,
            len(simulation.oracle.answers),
            dict(sorted(world.faults.items())),
            violation,
            list(world.trace),
            simulation.oracle.events or [],
        )
        for node in simulation.nodes.values():
            if node.loop is not None:
                node.loop.kill()
        del simulation
        _clear_up()
    return result


_runs = count(1)


def _clear_up() -> None:
    """Here, where nobody is told of coroutines that a crash left behind."""
    gc.collect()
    if next(_runs) == 1:
        # The modules, keys and statements that all runs share: nobody has to look at them again.
        gc.freeze()

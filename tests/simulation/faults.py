"""What goes wrong, and when: drawn from the seed.

A fault has a beginning and mostly an end. `heal` ends all of them. Whoever must never be lost for the network to go on
(a majority, and one validator of each authority) is never lost for good; everything else is fair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nodes.validator import EXIT_REMOVED
from tests.simulation.links import Links, Weather
from tests.simulation.node import Node
from tests.simulation.world import MS, S, World

# How often each, relative to the others.
KINDS = (
    *("crash_at",) * 8,
    *("crash",) * 3,
    *("authority_down",),
    *("all_down",),
    *("cut_one",) * 3,
    *("cut_authority",) * 2,
    *("cut_half",),
    *("cut_leader",),
    *("cut_link",) * 3,
    *("storm",) * 3,
    *("disk_full",) * 2,
    *("disk_slow",) * 2,
    *("write_failure",) * 2,
    *("read_failure",),
    *("flip",),
    *("clock_step",) * 2,
    *("drift",),
    *("pause",) * 3,
    *("pause_leader",),
    *("hand_over",) * 2,
    *("stop",),
)


@dataclass(frozen=True)
class Season:
    """A time in which one sort of trouble prevails: `kinds` instead of `KINDS`, `tuning` of every validator."""

    kinds: tuple[str, ...]
    climate: Weather
    pace_us: int
    tuning: Mapping[str, int]
    # Appends of one entry each, so that a log is replaced, and counted, one entry at a time.
    small_appends: bool = False
    # The part of what clients do that is a read which must see everything acknowledged before it.
    reads: float = 0.05
    # What operators do with the membership, if they do nothing else.
    changes: tuple[str, ...] = ()


SEASONS = {
    # Two that want to lead at a time, again and again.
    "elections": Season(
        ("hand_over", "hand_over", "cut_leader", "crash", "pause"),
        Weather(delay_us=90 * MS, overtake=0.3),
        400 * MS,
        {"tick_ms": 50, "election_timeout_ticks": 4},
    ),
    # Leaders that are away with entries that nobody else has, and come back to others.
    "lost_leaders": Season(
        ("cut_leader",) * 4 + ("cut_link", "crash"),
        Weather(delay_us=30 * MS, double=0.1, late=0.05, late_us=400 * MS),
        700 * MS,
        {
            "tick_ms": 50,
            "election_timeout_ticks": 6,
            "block_max_statements": 1,
            "block_interval_ms": 5,
        },
        small_appends=True,
    ),
    # Everything arrives, late and in any order.
    "disorder": Season(
        ("disk_slow", "pause", "hand_over"),
        Weather(delay_us=60 * MS, overtake=1.0, double=0.3, late=0.2, late_us=300 * MS),
        1500 * MS,
        {"tick_ms": 100, "election_timeout_ticks": 20, "block_max_statements": 1, "block_interval_ms": 5},
        small_appends=True,
    ),
    # Leaders that do not know that time has passed, and are asked at once.
    "standstill": Season(
        ("pause_leader",) * 3 + ("pause", "hand_over"),
        Weather(),
        1500 * MS,
        {"tick_ms": 50, "election_timeout_ticks": 10},
        reads=0.5,
    ),
    # Machines are replaced one after the other while others cannot be reached.
    "replacements": Season(
        ("cut_one",) * 3 + ("cut_link", "crash", "pause"),
        Weather(delay_us=10 * MS),
        400 * MS,
        {"tick_ms": 50, "election_timeout_ticks": 6},
        changes=("replace", "replace", "join"),
    ),
    # Machine rooms are moved: several machines of both sides in one change, which stays joint for as long as it takes.
    "renewals": Season(
        ("cut_one",) * 3 + ("cut_link", "crash", "pause", "hand_over"),
        Weather(delay_us=30 * MS),
        400 * MS,
        {"tick_ms": 50, "election_timeout_ticks": 10},
        changes=("renew", "renew", "welcome"),
    ),
    # Whoever was away finds that the others no longer have what it lacks, and begins with a snapshot.
    "absences": Season(
        ("away",) * 3 + ("crash", "cut_one", "hand_over"),
        Weather(),
        1000 * MS,
        {"tick_ms": 50, "order_tail_entries": 8, "block_max_statements": 1, "block_interval_ms": 5},
    ),
    # Machines that lose their power in the middle of whatever they write.
    "power_cuts": Season(
        ("crash_at",) * 5 + ("all_down", "hand_over"),
        Weather(),
        300 * MS,
        {"tick_ms": 50, "election_timeout_ticks": 6},
    ),
    # Much of what is sent never arrives.
    "losses": Season(("cut_link", "crash", "pause"), Weather(drop=0.15), 1500 * MS, {}),
}
# So often a validator whose disk contradicts itself is started again before somebody says that it is lost.
RESTARTS_MAX = 3


class Faults:
    def __init__(
        self, world: World, links: Links, nodes: dict[str, Node], *, pace_us: int, kinds: tuple[str, ...] = KINDS
    ) -> None:
        self.world = world
        self.kinds = kinds
        self.links = links
        self.nodes = nodes
        self.pace_us = pace_us
        self.over = False
        self._troubles: dict[str, int] = dict.fromkeys(nodes, 0)
        # Those whose disk was made to contradict itself: the only ones that may say so.
        self.excused: set[str] = set()
        # Set by whoever knows the membership: who has been removed by it, and who can be done without.
        self.is_removed: Callable[[str], bool] = lambda _: False
        self.may_lose: Callable[[str], bool] = lambda _: False
        for node in nodes.values():
            node.on_ended = self.ended

    def begin(self) -> None:
        self.world.after(self.world.rng.randrange(self.pace_us), self._go_on)

    def _go_on(self) -> None:
        if self.over:
            return
        kind = self.world.rng.choice(self.kinds)
        node = self.world.rng.choice([node for node in self.nodes.values() if node.present])
        self.world.faults[kind.replace("_", " ")] += 1
        self.world.note(f"fault {kind} {node.name}")
        getattr(self, f"_{kind}")(node)
        self.world.after(self.world.rng.randrange(1, 2 * self.pace_us), self._go_on)

    def heal(self) -> None:
        """From now on the machines and the network are as they should be."""
        self.over = True
        self.world.note("heal")
        self.links.heal()
        for node in self.nodes.values():
            disk = node.disk
            disk.full, disk.slow_us, disk.write_failure, disk.read_failure = False, 0, 0.0, 0.0
            disk.crash_at = None
            node.clock_error_ms = 0
            node.start()

    def ended(self, node: Node, code: int, why: str) -> None:
        """A validator stopped by itself. It says why, and somebody starts it again, or gives it up."""
        if code == EXIT_REMOVED and not node.lies:
            if not self.is_removed(node.name):
                self.world.fail("nobody leaves without cause", f"{node.name} ended as removed, and is not: {why}")
            node.present = False
            return
        if code in (3, 4):
            if node.name not in self.excused and not node.lies:
                self.world.fail("nobody gives up without cause", f"{node.name} ended with {code}: {why}")
            self._troubles[node.name] += 1
            flipped = any(platter.flipped for platter in node.disk.platters.values())
            if flipped and (self._troubles[node.name] >= RESTARTS_MAX or self.over):
                node.lost = why
                return
        elif code != 0 and not node.lies and not any(other.lies for other in self.nodes.values()):
            self.world.fail("nobody halts without cause", f"{node.name} ended with {code}: {why}")
        self.world.after(self.world.rng.randrange(50 * MS, 2 * S), node.start)

    def _later(self, low_us: int, high_us: int, run: object) -> None:
        self.world.after(self.world.rng.randrange(low_us, high_us), run)  # type: ignore[arg-type]

    # --- crashes ----------------------------------------------------------------------------------------------------

    def _crash(self, node: Node) -> None:
        node.crash(keep_unsynced=self.world.rng.random() < 0.4)
        self._later(50 * MS, 4 * S, node.start)

    def _away(self, node: Node) -> None:
        """Down for longer than the others keep the order, if they go on: most of the time that there is trouble for."""
        if all(other.up for other in self.nodes.values() if other.present and other.lost is None):
            node.crash(keep_unsynced=self.world.rng.random() < 0.4)
            self._later(1500 * MS, 4 * S, node.start)

    def _crash_at(self, node: Node) -> None:
        rng = self.world.rng
        node.disk.crash_at = node.disk.operations + rng.choice((1, 1, 2, 3, 5, 10))
        node.disk.crash_how = rng.choice(("before", "during", "after"))

    def _authority_down(self, node: Node) -> None:
        for other in self.nodes.values():
            if other.authority == node.authority:
                self._crash(other)

    def _all_down(self, node: Node) -> None:
        for other in self.nodes.values():
            self._crash(other)

    def _stop(self, node: Node) -> None:
        """An operator stops it and starts it again."""
        if node.validator is not None and node.serving and node.loop is not None:
            node.loop.call_soon(node.validator.finish)

    def _pause(self, node: Node) -> None:
        if node.loop is not None:
            node.loop.pause(self.world.rng.choice((100, 1000, 4000)) * MS)

    def _pause_leader(self, node: Node) -> None:
        """Whoever leads stands still until others lead, and goes on as if nothing had been, before it hears of them."""
        for other in self.nodes.values():
            if other.loop is None or other.validator is None or not other.validator.ordering.leading:
                continue
            pause_us = self.world.rng.choice((1500, 3000)) * MS
            other.loop.pause(pause_us)
            pairs = {(other.name, name) for name in self.nodes} | {(name, other.name) for name in self.nodes}
            self.links.block(pairs)

            def unblock(pairs: set[tuple[str, str]] = pairs) -> None:
                self.links.blocked -= pairs

            self.world.after(pause_us + self.world.rng.randrange(1 * MS, 500 * MS), unblock)

    def _hand_over(self, node: Node) -> None:
        for other in self.nodes.values():
            if other.validator is not None and other.serving and other.loop is not None:
                other.loop.call_soon(other.validator.hand_over)

    # --- the network ------------------------------------------------------------------------------------------------

    def _cut(self, island: set[str]) -> None:
        pairs = {
            (one, other)
            for one in self.nodes
            for other in self.nodes
            if one != other and (one in island) != (other in island)
        }
        self._block(pairs)

    def _block(self, pairs: set[tuple[str, str]]) -> None:
        self.links.block(pairs)

        def unblock() -> None:
            self.links.blocked -= pairs

        self._later(200 * MS, 6 * S, unblock)

    def _cut_one(self, node: Node) -> None:
        self._cut({node.name})

    def _cut_authority(self, node: Node) -> None:
        self._cut({other.name for other in self.nodes.values() if other.authority == node.authority})

    def _cut_leader(self, node: Node) -> None:
        """Whoever leads, while it takes statements; perhaps it goes down as soon as it has heard of another."""
        for other in list(self.nodes.values()):
            if other.validator is None or not other.validator.ordering.leading:
                continue
            until_us = self.world.now_us + self.world.rng.randrange(500 * MS, 4 * S)
            pairs = {(other.name, name) for name in self.nodes} | {(name, other.name) for name in self.nodes}
            self.links.block(pairs)

            def unblock(pairs: set[tuple[str, str]] = pairs) -> None:
                self.links.blocked -= pairs

            self.world.at(until_us, unblock)
            if self.world.rng.random() < 0.5:
                # Among the first things that it then writes is that its own entries are void.
                self.world.at(until_us, lambda other=other: None if self.over else self._crash_at(other))  # type: ignore[misc]

    def _cut_half(self, node: Node) -> None:
        self._cut({name for name in self.nodes if self.world.rng.random() < 0.5})

    def _cut_link(self, node: Node) -> None:
        """One way only."""
        others = [name for name in self.nodes if name != node.name]
        some = self.world.rng.sample(others, self.world.rng.randrange(1, len(others) + 1))
        self._block({(node.name, other) if self.world.rng.random() < 0.5 else (other, node.name) for other in some})

    def _storm(self, node: Node) -> None:
        self.links.weather = Weather.draw(self.world.rng)

        def calm() -> None:
            self.links.weather = self.links.climate if not self.over else Weather()

        self._later(500 * MS, 6 * S, calm)

    # --- disks ------------------------------------------------------------------------------------------------------

    def _disk_full(self, node: Node) -> None:
        node.disk.full = True

        def empty() -> None:
            node.disk.full = False

        self.excused.add(node.name)
        self._later(200 * MS, 4 * S, empty)

    def _disk_slow(self, node: Node) -> None:
        node.disk.slow_us = self.world.rng.choice((10 * MS, 200 * MS, 2 * S))

        def quick() -> None:
            node.disk.slow_us = 0

        self._later(500 * MS, 4 * S, quick)

    def _write_failure(self, node: Node) -> None:
        self.excused.add(node.name)
        node.disk.write_failure = self.world.rng.choice((0.02, 0.2, 1.0))

        def well() -> None:
            node.disk.write_failure = 0.0

        self._later(200 * MS, 2 * S, well)

    def _read_failure(self, node: Node) -> None:
        self.excused.add(node.name)
        node.disk.read_failure = self.world.rng.choice((0.001, 0.02))

        def well() -> None:
            node.disk.read_failure = 0.0

        self._later(200 * MS, 2 * S, well)

    def _flip(self, node: Node) -> None:
        """Damage something for good, if the network can do without this validator."""
        if not self.may_lose(node.name):
            return
        self.excused.add(node.name)
        platters = [node.disk.platters[path] for path in sorted(node.disk.platters)]
        if platters:
            node.disk.flip(self.world.rng.choice(platters))

    # --- clocks -----------------------------------------------------------------------------------------------------

    def _clock_step(self, node: Node) -> None:
        node.clock_error_ms = self.world.rng.choice((-20_000, -3000, -500, 500, 3000, 4500, 20_000))

        def right() -> None:
            node.clock_error_ms = 0

        self._later(500 * MS, 6 * S, right)

    def _drift(self, node: Node) -> None:
        """From its next start on."""
        node.drift = self.world.rng.choice((0.95, 0.999, 1.001, 1.05))

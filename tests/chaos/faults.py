"""The faults: how each is injected and healed in a running cluster. What the machine cannot do is not here at all.

A fault is a function of the cluster, the resolved victim and a seeded generator. It injects, and returns a `Held`:
what was done, in words, who was touched, and how to heal it. Healing brings the machine back to order and starts what
is down; whether the network then comes back is the matter of the runner and the checker.

Blocking, and run in a thread: the load goes on meanwhile.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.cluster import Cluster
from tests.chaos.link import Link
from tests.chaos.machine import CLOCK, DISK_ERRORS, DISK_FREEZE, DISKS, SWITCH, Ability
from tests.chaos.schedule import ANY, FOLLOWER, LEADER, Kind

EXIT_CONTRADICTS_ITSELF: Final = 4
# How long a validator may take to notice that its store is damaged, or to show that it runs.
NOTICE_TIMEOUT_S: Final = 30.0
# A leader's blocks are dated by its clock; others take no part in one dated further ahead than this.
CLOCK_TOLERANCE_MS: Final = 5_000


@dataclass(slots=True)
class Held:
    """A fault that is in place."""

    what: str
    touched: tuple[str, ...]
    heal: Callable[[], None]
    notes: list[str] = field(default_factory=list)


Inject = Callable[["Hands", str, random.Random], Held]


class Hands:
    """What faults work with: the cluster, and the links that more than one fault may have changed."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._links: dict[int, Mapping[tuple[str, str], Link]] = {}
        self._next = 0

    def lay(self, links: Mapping[tuple[str, str], Link]) -> int:
        self._next += 1
        self._links[self._next] = links
        self._set()
        return self._next

    def lift(self, handle: int) -> None:
        del self._links[handle]
        self._set()

    def _set(self) -> None:
        merged: dict[tuple[str, str], Link] = {}
        for links in self._links.values():
            for direction, link in links.items():
                there = merged.get(direction)
                if there is None or not there.blocked:
                    merged[direction] = link
        self.cluster.set_links(merged)

    def start(self, *names: str) -> None:
        for name in names:
            if not self.cluster.nodes[name].running:
                self.cluster.start(name)


# ---- processes


def _kill(hands: Hands, victim: str, rng: random.Random) -> Held:
    hands.cluster.kill(victim)
    return Held(f"kill -9 of {victim}", (victim,), lambda: hands.start(victim))


def _kill_many(hands: Hands, names: list[str], what: str) -> Held:
    for name in names:
        hands.cluster.kill(name)
    return Held(what, tuple(names), lambda: hands.start(*names))


def _kill_authority(hands: Hands, victim: str, rng: random.Random) -> Held:
    authority = hands.cluster.authority_of(victim)
    return _kill_many(hands, hands.cluster.members(authority), f"kill -9 of every validator of {authority}")


def _kill_everything(hands: Hands, victim: str, rng: random.Random) -> Held:
    names = [*hands.cluster.validators, *hands.cluster.gateways]
    return _kill_many(hands, names, "kill -9 of every validator and gateway at once")


def _kill_gateway(hands: Hands, victim: str, rng: random.Random) -> Held:
    gateway = rng.choice(hands.cluster.gateways)
    return _kill_many(hands, [gateway], f"kill -9 of {gateway}")


def _kill_again_and_again(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Killed at random instants of its own start, where recovery is at work."""
    times = rng.randrange(3, 7)
    for _ in range(times):
        hands.cluster.kill(victim)
        hands.start(victim)
        time.sleep(rng.uniform(0.1, 2.5))
    hands.cluster.kill(victim)
    return Held(f"kill -9 of {victim}, {times + 1} times while it starts", (victim,), lambda: hands.start(victim))


def _pause(hands: Hands, victim: str, rng: random.Random) -> Held:
    hands.cluster.pause(victim)
    return Held(f"SIGSTOP of {victim}", (victim,), lambda: hands.cluster.resume(victim))


def _restart(hands: Hands, victim: str, rng: random.Random) -> Held:
    status = hands.cluster.stop(victim)
    held = Held(f"SIGTERM of {victim}", (victim,), lambda: hands.start(victim))
    if status != 0:
        held.notes.append(f"violation: {victim} ended with status {status} when told to stop")
    return held


def _rolling_restart(hands: Hands, victim: str, rng: random.Random) -> Held:
    """As for an upgrade: each in turn, the next when the one before is ready."""
    held = Held("graceful restart of all validators in turn", tuple(hands.cluster.validators), lambda: None)
    names = hands.cluster.validators
    rng.shuffle(names)
    for name in names:
        status = hands.cluster.stop(name)
        if status != 0:
            held.notes.append(f"violation: {name} ended with status {status} when told to stop")
        hands.start(name)
        late = hands.cluster.wait_ready([name], NOTICE_TIMEOUT_S)
        held.notes += [f"violation: {who} did not come back: {said}" for who, said in late.items()]
    return held


# ---- network


def _others(cluster: Cluster, *but: str) -> list[str]:
    return [name for name in cluster.validators if name not in but]


def _cut(hands: Hands, pairs: list[tuple[str, str]], what: str, touched: tuple[str, ...]) -> Held:
    return _laid(hands, {pair: Link(blocked=True) for pair in pairs}, "dropped", what, touched)


def _laid(
    hands: Hands, links: Mapping[tuple[str, str], Link], counter: str, what: str, touched: tuple[str, ...]
) -> Held:
    """Links in place. What the switch then counts is noted: a fault that touched no packet was none."""
    handle = hands.lay(links)
    before = hands.cluster.packets.get(counter, 0)

    def heal() -> None:
        hands.lift(handle)
        count = hands.cluster.packets.get(counter, 0) - before
        held.notes.append(f"{count} packets {counter}" if count else f"violation: no packet was {counter}")

    held = Held(what, touched, heal)
    return held


def _both_ways(left: list[str], right: list[str]) -> list[tuple[str, str]]:
    return [pair for a in left for b in right for pair in ((a, b), (b, a))]


def _partition_one(hands: Hands, victim: str, rng: random.Random) -> Held:
    pairs = _both_ways([victim], _others(hands.cluster, victim))
    return _cut(hands, pairs, f"{victim} cut off from all other validators", (victim,))


def _partition_deaf(hands: Hands, victim: str, rng: random.Random) -> Held:
    pairs = [(other, victim) for other in _others(hands.cluster, victim)]
    return _cut(hands, pairs, f"{victim} sends but receives nothing", (victim,))


def _partition_mute(hands: Hands, victim: str, rng: random.Random) -> Held:
    pairs = [(victim, other) for other in _others(hands.cluster, victim)]
    return _cut(hands, pairs, f"{victim} receives but sends nothing", (victim,))


def _partition_authorities(hands: Hands, victim: str, rng: random.Random) -> Held:
    members = hands.cluster.members(hands.cluster.authority_of(victim))
    others = _others(hands.cluster, *members)
    return _cut(hands, _both_ways(members, others), "the authorities cut off from each other", ())


def _partition_one_way_authorities(hands: Hands, victim: str, rng: random.Random) -> Held:
    authority = hands.cluster.authority_of(victim)
    members = hands.cluster.members(authority)
    pairs = [(a, b) for a in members for b in _others(hands.cluster, *members)]
    return _cut(hands, pairs, f"nothing gets from {authority} to the other authority", ())


def _partition_across(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Two halves, each with a validator of each authority: no majority anywhere."""
    half = [victim]
    others = [name for name in hands.cluster.authorities if name != hands.cluster.authority_of(victim)]
    half += [rng.choice(hands.cluster.members(authority)) for authority in others]
    return _cut(
        hands, _both_ways(half, _others(hands.cluster, *half)), f"two halves: {' and '.join(half)} and the others", ()
    )


def _partition_ring(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Everybody hears everybody but one: no two see the same network."""
    ring = hands.cluster.validators
    rng.shuffle(ring)
    pairs = [pair for a, b in zip(ring, ring[2:] + ring[:2], strict=True) for pair in ((a, b), (b, a))]
    return _cut(hands, pairs, f"a ring: {' - '.join(ring)}; opposites do not hear each other", ())


def _flapping(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Cut and joined, faster than an election."""
    pairs = {pair: Link(blocked=True) for pair in _both_ways([victim], _others(hands.cluster, victim))}
    times = rng.randrange(5, 12)
    for _ in range(times):
        handle = hands.lay(pairs)
        time.sleep(rng.uniform(0.2, 1.2))
        hands.lift(handle)
        time.sleep(rng.uniform(0.1, 0.6))
    return Held(f"{victim} cut off and joined again {times} times", (victim,), lambda: None)


def _cable(hands: Hands, victim: str, rng: random.Random) -> Held:
    hands.cluster.set_cable(victim, plugged=False)
    return Held(f"interface of {victim} down", (victim,), lambda: hands.cluster.set_cable(victim, plugged=True))


def _everywhere(hands: Hands, link: Link, what: str) -> Held:
    names = hands.cluster.validators
    links = {(a, b): link for a in names for b in names if a != b}
    return _laid(hands, links, "delayed", f"{what} between all validators", ())


def _delay(hands: Hands, victim: str, rng: random.Random) -> Held:
    delay_ms = rng.choice((20, 60, 120, 250))
    return _everywhere(hands, Link(delay_ms=delay_ms, jitter_ms=delay_ms / 4), f"{delay_ms} ms, jitter a quarter,")


def _loss(hands: Hands, victim: str, rng: random.Random) -> Held:
    loss_percent = rng.choice((1, 5, 15))
    return _everywhere(hands, Link(delay_ms=5, jitter_ms=2, loss_percent=loss_percent), f"{loss_percent} % loss")


def _mess(hands: Hands, victim: str, rng: random.Random) -> Held:
    link = Link(delay_ms=30, jitter_ms=30, loss_percent=2, duplicate_percent=10, reorder_percent=25)
    return _everywhere(hands, link, "2 % loss, 10 % duplicated, 25 % reordered, 0 to 60 ms")


# ---- disks


def _disk_full(hands: Hands, victim: str, rng: random.Random) -> Held:
    disk = hands.cluster.disks[victim]
    ballast = disk.fill(leave_bytes=rng.choice((0, 0, 64 * 1024, 512 * 1024)))

    def heal() -> None:
        disk.empty()
        hands.start(victim)

    return Held(f"disk of {victim} full ({ballast >> 20} MiB of ballast)", (victim,), heal)


def _disk_full_at_start(hands: Hands, victim: str, rng: random.Random) -> Held:
    hands.cluster.kill(victim)
    held = _disk_full(hands, victim, rng)
    hands.start(victim)
    held.what = f"kill -9 of {victim}, started again on a full disk"
    return held


def _disk_freeze(hands: Hands, victim: str, rng: random.Random) -> Held:
    disk = hands.cluster.disks[victim]
    disk.freeze()
    return Held(f"disk of {victim} answers nothing", (victim,), disk.thaw)


def _disk_read_only(hands: Hands, victim: str, rng: random.Random) -> Held:
    disk = hands.cluster.disks[victim]
    disk.turn_read_only()

    def heal() -> None:
        hands.cluster.kill(victim)
        disk.mend()
        hands.start(victim)

    return Held(f"disk of {victim} turned read-only", (victim,), heal)


def _disk_dies(hands: Hands, victim: str, rng: random.Random) -> Held:
    """The validator sees errors for a while, then goes; what was not synced is lost."""
    disk = hands.cluster.disks[victim]
    disk.die()

    def heal() -> None:
        hands.cluster.kill(victim)
        disk.remount()
        hands.start(victim)

    return Held(f"disk of {victim} fails with EIO and forgets what was not synced", (victim,), heal)


def _power_cut_of(hands: Hands, names: list[str], what: str) -> Held:
    for name in names:
        hands.cluster.kill(name)
    for name in names:
        if name in hands.cluster.disks:
            hands.cluster.disks[name].die()

    def heal() -> None:
        for name in names:
            if name in hands.cluster.disks:
                hands.cluster.disks[name].remount()
        hands.start(*names)

    return Held(what, tuple(names), heal)


def _power_cut(hands: Hands, victim: str, rng: random.Random) -> Held:
    return _power_cut_of(hands, [victim], f"power cut of {victim}: killed, and its page cache lost")


def _power_cut_authority(hands: Hands, victim: str, rng: random.Random) -> Held:
    authority = hands.cluster.authority_of(victim)
    return _power_cut_of(hands, hands.cluster.members(authority), f"power cut of all validators of {authority}")


def _power_cut_everything(hands: Hands, victim: str, rng: random.Random) -> Held:
    names = [*hands.cluster.validators, *hands.cluster.gateways]
    return _power_cut_of(hands, names, "power cut of every validator and gateway at once")


# ---- damaged files


def _damage(hands: Hands, victim: str, rng: random.Random, how: str) -> Held:
    """Stop it, keep a copy, damage a file, start it: it must refuse to run, or run unharmed.

    The copy is from after its last stop, which is what an operator's backup must be to be of use.
    """
    cluster = hands.cluster
    status = cluster.stop(victim)
    data = cluster.data_of(victim)
    backup = cluster.directory / f"{victim}.backup"
    _copy(data, backup)
    file = _choose_file(data, rng)
    what = truncate_file(file, rng) if how == "truncated" else flip_bits(file, rng)
    hands.start(victim)
    held = Held(f"{victim} stopped, {file.relative_to(data)} {what}, started", (victim,), lambda: None)
    if status != 0:
        held.notes.append(f"violation: {victim} ended with status {status} when told to stop")

    def heal() -> None:
        node = cluster.nodes[victim]
        deadline_s = time.monotonic() + NOTICE_TIMEOUT_S
        while node.running and time.monotonic() < deadline_s and not cluster.readiness(victim)[0]:
            time.sleep(0.2)
        if node.running:
            held.notes.append("ran: the damaged bytes were not needed, or were restored")
            return
        held.notes.append(f"refused to run with status {node.exit_status}")
        if node.exit_status != EXIT_CONTRADICTS_ITSELF:
            held.notes.append(f"violation: expected exit status {EXIT_CONTRADICTS_ITSELF}, got {node.exit_status}")
        held.notes.append("given back its data as of its last stop")
        _give_back(backup, data)
        hands.start(victim)

    held.heal = heal
    return held


def _copy(data: Path, backup: Path) -> None:
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(data, backup, ignore=shutil.ignore_patterns("lost+found"))


def _give_back(backup: Path, data: Path) -> None:
    for path in data.iterdir():
        if path.name != "lost+found":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(backup, data, dirs_exist_ok=True)


def _choose_file(data: Path, rng: random.Random) -> Path:
    """A file that holds data: of either store, by name, so that the same seed on the same files chooses the same."""
    files = sorted(
        path
        for path in data.rglob("*")
        if path.is_file() and path.stat().st_size > 0 and path.suffix in (".log", ".ldb", ".sst")
    )
    return rng.choice(files or sorted(path for path in data.rglob("*") if path.is_file() and path.stat().st_size))


def truncate_file(path: Path, rng: random.Random) -> str:
    """Cut a file short. Returns what was done."""
    size = path.stat().st_size
    left = rng.randrange(size)
    with path.open("r+b") as file:
        file.truncate(left)
    return f"truncated from {size} to {left} bytes"


def flip_bits(path: Path, rng: random.Random) -> str:
    """Flip one to eight bits somewhere. Returns what was done."""
    size = path.stat().st_size
    at = rng.randrange(size)
    count = rng.randrange(1, 9)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        for bit in rng.sample(range(8), count):
            byte ^= 1 << bit
        file.seek(at)
        file.write(bytes([byte]))
    return f"with {count} bits flipped in byte {at} of {size}"


def _files_truncated(hands: Hands, victim: str, rng: random.Random) -> Held:
    return _damage(hands, victim, rng, "truncated")


def _files_flipped(hands: Hands, victim: str, rng: random.Random) -> Held:
    return _damage(hands, victim, rng, "flipped")


# ---- clocks


def _clock_step(hands: Hands, victim: str, rng: random.Random) -> Held:
    offset_ms = rng.choice((-3_600_000, -30_000, -2_000, 2_000, 4_000, 30_000, 3_600_000))
    hands.cluster.set_clock(victim, offset_ms)
    return Held(
        f"clock of {victim} stepped by {offset_ms / 1000:+g} s", (victim,), lambda: hands.cluster.set_clock(victim, 0)
    )


def _clock_strobe(hands: Hands, victim: str, rng: random.Random) -> Held:
    for _ in range(20):
        hands.cluster.set_clock(victim, rng.randrange(-4_000, 4_000))
        time.sleep(rng.uniform(0.05, 0.3))
    hands.cluster.set_clock(victim, 0)
    return Held(f"clock of {victim} stepped to and fro 20 times within 4 s", (victim,), lambda: None)


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind, how it is done, what it needs of the machine, and how it is described in the table."""

    kind: Kind
    inject: Inject
    needs: str | None
    how: str


def _fault(
    name: str,
    inject: Inject,
    how: str,
    held_s: tuple[float, float],
    *,
    needs: str | None = None,
    stays_down: int = 1,
    exclusive: bool = False,
    roles: tuple[str, ...] = (LEADER, FOLLOWER, ANY),
) -> Fault:
    return Fault(Kind(name, held_s, stays_down, exclusive, roles), inject, needs, how)


_SHORT: Final = (1.0, 5.0)
_LONG: Final = (4.0, 9.0)

FAULTS: Final[Mapping[str, Fault]] = {
    fault.kind.name: fault
    for fault in (
        _fault("kill", _kill, "SIGKILL of one validator", _SHORT),
        _fault("kill-authority", _kill_authority, "SIGKILL of all of one authority", _LONG, stays_down=2),
        _fault("kill-everything", _kill_everything, "SIGKILL of every process", (0.5, 3.0), exclusive=True),
        _fault("kill-gateway", _kill_gateway, "SIGKILL of a gateway", _SHORT, stays_down=0),
        _fault("kill-starting", _kill_again_and_again, "SIGKILL again and again while it starts", (0.5, 2.0)),
        _fault("pause", _pause, "SIGSTOP longer than an election, SIGCONT", _LONG),
        _fault("restart", _restart, "SIGTERM, then start", _SHORT),
        _fault("rolling-restart", _rolling_restart, "SIGTERM and start of each in turn", (0.5, 1.0), exclusive=True),
        _fault("partition-one", _partition_one, "one validator cut off", _LONG, needs=SWITCH),
        _fault("partition-deaf", _partition_deaf, "one direction: receives nothing", _LONG, needs=SWITCH),
        _fault("partition-mute", _partition_mute, "one direction: sends nothing", _LONG, needs=SWITCH),
        _fault(
            "partition-authorities", _partition_authorities, "authorities cut apart", _LONG, needs=SWITCH, stays_down=2
        ),
        _fault(
            "partition-one-way",
            _partition_one_way_authorities,
            "one direction between the authorities",
            _LONG,
            needs=SWITCH,
            stays_down=2,
        ),
        _fault("partition-halves", _partition_across, "no majority anywhere", _LONG, needs=SWITCH, stays_down=2),
        _fault("partition-ring", _partition_ring, "everybody misses one", _LONG, needs=SWITCH, stays_down=2),
        _fault("flapping", _flapping, "cut and joined faster than an election", (0.5, 2.0), needs=SWITCH),
        _fault("cable", _cable, "interface down in its namespace", _LONG, needs=SWITCH),
        _fault("delay", _delay, "20 to 250 ms with jitter", _LONG, needs=SWITCH, stays_down=0),
        _fault("loss", _loss, "1 to 15 % of packets lost", _LONG, needs=SWITCH, stays_down=0),
        _fault("mess", _mess, "lost, duplicated, reordered, delayed", _LONG, needs=SWITCH, stays_down=0),
        _fault("disk-full", _disk_full, "ENOSPC: every free block allocated", _LONG, needs=DISKS),
        _fault("disk-full-start", _disk_full_at_start, "started on a full disk", _LONG, needs=DISKS),
        _fault("disk-freeze", _disk_freeze, "fsfreeze: writes wait for seconds", (2.0, 8.0), needs=DISK_FREEZE),
        _fault("disk-read-only", _disk_read_only, "ext4 error, remounted read-only", _LONG, needs=DISK_ERRORS),
        _fault("disk-dies", _disk_dies, "EIO, then what was not synced is gone", _LONG, needs=DISKS),
        _fault("power-cut", _power_cut, "SIGKILL and page cache lost, one validator", _SHORT, needs=DISKS),
        _fault(
            "power-cut-authority",
            _power_cut_authority,
            "the same, one authority",
            _SHORT,
            needs=DISKS,
            stays_down=2,
            exclusive=True,
        ),
        _fault(
            "power-cut-everything",
            _power_cut_everything,
            "the same, everything at once",
            _SHORT,
            needs=DISKS,
            exclusive=True,
        ),
        _fault("file-truncated", _files_truncated, "a store's file cut short while down", (0.5, 2.0), exclusive=True),
        _fault("file-flipped", _files_flipped, "bits of a store's file flipped while down", (0.5, 2.0), exclusive=True),
        _fault("clock-step", _clock_step, "wall clock stepped, up to an hour", _LONG, needs=CLOCK),
        _fault("clock-strobe", _clock_strobe, "wall clock to and fro", (0.5, 1.0), needs=CLOCK),
    )
}


def allowed(abilities: Mapping[str, Ability], only: frozenset[str]) -> tuple[list[Fault], dict[str, str]]:
    """The faults that this machine allows, and why the others are skipped. `only`: empty for all."""
    unknown = only - set(FAULTS)
    if unknown:
        raise ValueError(f"unknown kinds of fault: {', '.join(sorted(unknown))}; known: {', '.join(FAULTS)}")
    possible, skipped = [], {}
    for name, fault in FAULTS.items():
        ability = abilities[fault.needs] if fault.needs else None
        if only and name not in only:
            continue
        if ability is not None and not ability.there:
            skipped[name] = ability.reason
        else:
            possible.append(fault)
    return possible, skipped


def resolve(cluster: Cluster, role: str, rng: random.Random, busy: frozenset[str]) -> str:
    """Which validator has that role now, and is not the victim of another fault."""
    candidates = [name for name in cluster.validators if name not in busy]
    leader = None
    with contextlib.suppress(OSError):
        leader = cluster.leader()
    if role == LEADER and leader in candidates:
        return leader
    if role == FOLLOWER:
        candidates = [name for name in candidates if name != leader] or candidates
    return rng.choice(candidates)

"""Disks: full, slow, read-only, dead, and what a power cut leaves. `tests.chaos.disks` says how each is done."""

from __future__ import annotations

import random
import time

from tests.chaos.faults.hands import Hands, Held


def disk_full(hands: Hands, victim: str, rng: random.Random) -> Held:
    disk = hands.cluster.disks[victim]
    ballast = disk.fill(leave_bytes=rng.choice((0, 0, 64 * 1024, 512 * 1024)))

    def heal() -> None:
        disk.empty()
        hands.start(victim)

    return Held(f"disk of {victim} full ({ballast >> 20} MiB of ballast)", (victim,), heal)


def disk_full_at_start(hands: Hands, victim: str, rng: random.Random) -> Held:
    hands.cluster.kill(victim)
    held = disk_full(hands, victim, rng)
    hands.start(victim)
    held.what = f"kill -9 of {victim}, started again on a full disk"
    return held


def disk_freeze(hands: Hands, victim: str, rng: random.Random) -> Held:
    disk = hands.cluster.disks[victim]
    disk.freeze()
    return Held(f"disk of {victim} answers nothing", (victim,), disk.thaw)


def disk_slow(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Every sync takes seconds, again and again."""
    disk = hands.cluster.disks[victim]
    times = rng.randrange(3, 6)
    try:
        for _ in range(times):
            disk.freeze()
            time.sleep(rng.uniform(0.5, 2.5))
            disk.thaw()
            time.sleep(rng.uniform(0.05, 0.5))
    finally:
        disk.thaw()
    return Held(f"disk of {victim} slow: {times} times up to 2.5 s", (victim,), lambda: None)


def disk_read_only(hands: Hands, victim: str, rng: random.Random) -> Held:
    disk = hands.cluster.disks[victim]
    disk.turn_read_only()

    def heal() -> None:
        hands.cluster.kill(victim)
        disk.mend()
        hands.start(victim)

    return Held(f"disk of {victim} turned read-only", (victim,), heal)


def disk_dies(hands: Hands, victim: str, rng: random.Random) -> Held:
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


def power_cut(hands: Hands, victim: str, rng: random.Random) -> Held:
    return _power_cut_of(hands, [victim], f"power cut of {victim}: killed, and its page cache lost")


def power_cut_authority(hands: Hands, victim: str, rng: random.Random) -> Held:
    authority = hands.cluster.authority_of(victim)
    return _power_cut_of(hands, hands.cluster.members(authority), f"power cut of all validators of {authority}")


def power_cut_everything(hands: Hands, victim: str, rng: random.Random) -> Held:
    names = [*hands.cluster.validators, *hands.cluster.gateways]
    return _power_cut_of(hands, names, "power cut of every validator and gateway at once")

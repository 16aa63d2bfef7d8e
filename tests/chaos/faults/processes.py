"""Processes that are killed, stopped, paused, starved, and started again."""

from __future__ import annotations

import random
import time
from typing import Final

from tests.chaos.faults.hands import Hands, Held

READY_TIMEOUT_S: Final = 30.0
SNAPSHOT_ADOPTED: Final = "info snapshot_adopted"


def kill(hands: Hands, victim: str, rng: random.Random) -> Held:
    hands.cluster.kill(victim)
    return Held(f"kill -9 of {victim}", (victim,), lambda: hands.start(victim))


def _kill_many(hands: Hands, names: list[str], what: str) -> Held:
    for name in names:
        hands.cluster.kill(name)
    return Held(what, tuple(names), lambda: hands.start(*names))


def away(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Gone for longer than the others keep the order: it comes back by a snapshot."""
    hands.cluster.kill(victim)
    adopted = hands.cluster.logged()[SNAPSHOT_ADOPTED]

    def heal() -> None:
        hands.start(victim)
        hands.cluster.wait_ready([victim], READY_TIMEOUT_S)
        count = hands.cluster.logged()[SNAPSHOT_ADOPTED] - adopted
        held.notes.append(f"{count} snapshots adopted")

    held = Held(f"{victim} away", (victim,), heal)
    return held


def kill_authority(hands: Hands, victim: str, rng: random.Random) -> Held:
    authority = hands.cluster.authority_of(victim)
    return _kill_many(hands, hands.cluster.members(authority), f"kill -9 of every validator of {authority}")


def kill_everything(hands: Hands, victim: str, rng: random.Random) -> Held:
    names = [*hands.cluster.validators, *hands.cluster.gateways]
    return _kill_many(hands, names, "kill -9 of every validator and gateway at once")


def kill_gateway(hands: Hands, victim: str, rng: random.Random) -> Held:
    gateway = rng.choice(hands.cluster.gateways)
    return _kill_many(hands, [gateway], f"kill -9 of {gateway}")


def kill_again_and_again(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Killed at random instants of its own start, where recovery and catching up are at work."""
    times = rng.randrange(3, 7)
    hands.cluster.kill(victim)
    time.sleep(rng.uniform(0.0, 8.0))
    for _ in range(times):
        hands.cluster.kill(victim)
        hands.start(victim)
        time.sleep(rng.uniform(0.1, 2.5))
    hands.cluster.kill(victim)
    return Held(f"kill -9 of {victim}, {times + 1} times while it starts", (victim,), lambda: hands.start(victim))


def pause(hands: Hands, victim: str, rng: random.Random) -> Held:
    hands.cluster.pause(victim)
    return Held(f"SIGSTOP of {victim}", (victim,), lambda: hands.cluster.resume(victim))


def restart(hands: Hands, victim: str, rng: random.Random) -> Held:
    status = hands.cluster.stop(victim)
    held = Held(f"SIGTERM of {victim}", (victim,), lambda: hands.start(victim))
    if status != 0:
        held.notes.append(f"violation: {victim} ended with status {status} when told to stop")
    return held


def rolling_restart(hands: Hands, victim: str, rng: random.Random) -> Held:
    """As for an upgrade: each in turn, the next when the one before is ready."""
    held = Held("graceful restart of all validators in turn", tuple(hands.cluster.validators), lambda: None)
    names = hands.cluster.validators
    rng.shuffle(names)
    for name in names:
        status = hands.cluster.stop(name)
        if status != 0:
            held.notes.append(f"violation: {name} ended with status {status} when told to stop")
        hands.start(name)
        late = hands.cluster.wait_ready([name], READY_TIMEOUT_S)
        held.notes += [f"violation: {who} did not come back: {said}" for who, said in late.items()]
    return held


def stutter(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Paused and resumed, as on a machine that swaps or is starved: never long enough to be taken for dead."""
    times = rng.randrange(8, 16)
    for _ in range(times):
        hands.cluster.pause(victim)
        time.sleep(rng.uniform(0.1, 0.7))
        hands.cluster.resume(victim)
        time.sleep(rng.uniform(0.02, 0.2))
    return Held(f"{victim} stopped for a moment {times} times", (victim,), lambda: None)


def descriptors(hands: Hands, victim: str, rng: random.Random) -> Held:
    """No file or connection can be opened any more: EMFILE from the very next one."""
    before = hands.cluster.limit_descriptors(victim, None)

    def heal() -> None:
        if hands.cluster.nodes[victim].running:
            hands.cluster.limit_descriptors(victim, before)
        hands.start(victim)

    return Held(f"{victim} may open no more files", (victim,), heal)

"""The network: cut in both directions or one, slow, lossy, out of order. Every packet passes through the switch."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

from tests.chaos.cluster import Cluster
from tests.chaos.faults.hands import Hands, Held
from tests.chaos.link import Link


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


def partition_one(hands: Hands, victim: str, rng: random.Random) -> Held:
    pairs = _both_ways([victim], _others(hands.cluster, victim))
    return _cut(hands, pairs, f"{victim} cut off from all other validators", (victim,))


def partition_deaf(hands: Hands, victim: str, rng: random.Random) -> Held:
    pairs = [(other, victim) for other in _others(hands.cluster, victim)]
    return _cut(hands, pairs, f"{victim} sends but receives nothing", (victim,))


def partition_mute(hands: Hands, victim: str, rng: random.Random) -> Held:
    pairs = [(victim, other) for other in _others(hands.cluster, victim)]
    return _cut(hands, pairs, f"{victim} receives but sends nothing", (victim,))


def partition_authorities(hands: Hands, victim: str, rng: random.Random) -> Held:
    members = hands.cluster.members(hands.cluster.authority_of(victim))
    others = _others(hands.cluster, *members)
    return _cut(hands, _both_ways(members, others), "the authorities cut off from each other", ())


def partition_one_way_authorities(hands: Hands, victim: str, rng: random.Random) -> Held:
    authority = hands.cluster.authority_of(victim)
    members = hands.cluster.members(authority)
    pairs = [(a, b) for a in members for b in _others(hands.cluster, *members)]
    return _cut(hands, pairs, f"nothing gets from {authority} to the other authority", ())


def partition_across(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Two halves, each with a validator of each authority: no majority anywhere."""
    half = [victim]
    others = [name for name in hands.cluster.authorities if name != hands.cluster.authority_of(victim)]
    half += [rng.choice(hands.cluster.members(authority)) for authority in others]
    return _cut(
        hands, _both_ways(half, _others(hands.cluster, *half)), f"two halves: {' and '.join(half)} and the others", ()
    )


def partition_ring(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Everybody hears everybody but one: no two see the same network."""
    ring = hands.cluster.validators
    rng.shuffle(ring)
    pairs = [pair for a, b in zip(ring, ring[2:] + ring[:2], strict=True) for pair in ((a, b), (b, a))]
    return _cut(hands, pairs, f"a ring: {' - '.join(ring)}; opposites do not hear each other", ())


def flapping(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Cut and joined, faster than an election."""
    pairs = {pair: Link(blocked=True) for pair in _both_ways([victim], _others(hands.cluster, victim))}
    times = rng.randrange(5, 12)
    for _ in range(times):
        handle = hands.lay(pairs)
        time.sleep(rng.uniform(0.2, 1.2))
        hands.lift(handle)
        time.sleep(rng.uniform(0.1, 0.6))
    return Held(f"{victim} cut off and joined again {times} times", (victim,), lambda: None)


def cable(hands: Hands, victim: str, rng: random.Random) -> Held:
    hands.cluster.set_cable(victim, plugged=False)
    return Held(f"interface of {victim} down", (victim,), lambda: hands.cluster.set_cable(victim, plugged=True))


def _everywhere(hands: Hands, link: Link, what: str) -> Held:
    names = hands.cluster.validators
    links = {(a, b): link for a in names for b in names if a != b}
    return _laid(hands, links, "delayed", f"{what} between all validators", ())


def partition_gateway(hands: Hands, victim: str, rng: random.Random) -> Held:
    """A gateway loses the validator that it likes best, or all that it has."""
    gateway = rng.choice(hands.cluster.gateways)
    members = hands.cluster.members(hands.cluster.authority_of_gateway(gateway))
    lost = members if rng.randrange(2) else [rng.choice(members)]
    return _cut(hands, _both_ways([gateway], lost), f"{gateway} cut off from {' and '.join(lost)}", ())


def delay(hands: Hands, victim: str, rng: random.Random) -> Held:
    delay_ms = rng.choice((20, 60, 120, 250))
    return _everywhere(hands, Link(delay_ms=delay_ms, jitter_ms=delay_ms / 4), f"{delay_ms} ms, jitter a quarter,")


def loss(hands: Hands, victim: str, rng: random.Random) -> Held:
    loss_percent = rng.choice((1, 5, 15))
    return _everywhere(hands, Link(delay_ms=5, jitter_ms=2, loss_percent=loss_percent), f"{loss_percent} % loss")


def mess(hands: Hands, victim: str, rng: random.Random) -> Held:
    link = Link(delay_ms=30, jitter_ms=30, loss_percent=2, duplicate_percent=10, reorder_percent=25)
    return _everywhere(hands, link, "2 % loss, 10 % duplicated, 25 % reordered, 0 to 60 ms")

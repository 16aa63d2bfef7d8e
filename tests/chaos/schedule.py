"""Which fault, where, when and for how long: a pure function of the seed and of what the machine allows.

The schedule is an endless sequence of rounds. A round is one fault, sometimes two at once, held for a while, healed,
and followed by a calm in which everything must come back. Victims are drawn by role (`leader`, `follower`, any) and
resolved when the round begins: who leads is not a matter of the seed. The same seed gives the same rounds.

Kinds come in bags, shuffled: each kind has had its turn before any has its second, so that a short run shows all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# Roles that a victim may have.
LEADER: Final = "leader"
FOLLOWER: Final = "follower"
ANY: Final = "any"

DOUBLE_PERCENT: Final = 25


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    `held_s`: shortest and longest time between injecting and healing. `stays_down`: how many validators it takes away
    at most (0: none). `exclusive`: never together with another, because it takes away what the other needs.
    """

    name: str
    held_s: tuple[float, float]
    stays_down: int = 1
    exclusive: bool = False
    roles: tuple[str, ...] = (LEADER, FOLLOWER, ANY)


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault of a round. `victim` is a role; `salt` seeds whatever else it has to choose."""

    kind: str
    victim: str
    held_s: float
    salt: int


@dataclass(frozen=True, slots=True)
class Round:
    number: int
    injections: tuple[Injection, ...]
    calm_s: float


def rounds(seed: int, kinds: Sequence[Kind], calm_s: tuple[float, float] = (2.0, 5.0)) -> Iterator[Round]:
    """The endless schedule. Raises ValueError when there is nothing to choose from."""
    if not kinds:
        raise ValueError("no kind of fault is allowed here")
    rng = random.Random(f"chaos/{seed}")
    by_name: Mapping[str, Kind] = {kind.name: kind for kind in kinds}
    bag: list[str] = []
    number = 0
    while True:
        if not bag:
            bag = sorted(by_name)
            rng.shuffle(bag)
        first = by_name[bag.pop()]
        chosen = [first]
        partners = [name for name in bag if _may_meet(first, by_name[name])]
        if partners and rng.randrange(100) < DOUBLE_PERCENT:
            second = rng.choice(partners)
            bag.remove(second)
            chosen.append(by_name[second])
        number += 1
        yield Round(number, tuple(_injection(rng, kind) for kind in chosen), rng.uniform(*calm_s))


def _may_meet(first: Kind, second: Kind) -> bool:
    return not first.exclusive and not second.exclusive and first.stays_down + second.stays_down <= 2


def _injection(rng: random.Random, kind: Kind) -> Injection:
    return Injection(kind.name, rng.choice(kind.roles), rng.uniform(*kind.held_s), rng.getrandbits(32))

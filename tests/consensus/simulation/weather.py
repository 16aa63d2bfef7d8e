"""Who there is at the beginning, who may join, and how bad it gets: all of it drawn from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from consensus import Configuration, Membership

# How often each, relative to the others. A bounce is a crash in the middle of writing, and a restart at once.
FAULTS = (
    *("bounce",) * 10,
    *("crash",) * 2,
    *("start",) * 3,
    *("cut",) * 2,
    *("leap",) * 8,
    *("stall",) * 2,
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
# Nodes that are there from the beginning and know of the genesis only, until somebody adds them.
SPARES = ((), (), ("kz-8",), ("kz-8", "cn-8"), ("cn-8", "witness-8"), ("kz-8", "kz-9", "cn-8"))


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
    # Of what is asked for, how much is a change of the membership, and how much a read.
    change: float
    read: float

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
            change=rng.choice((0.0, 0.05, 0.3, 0.6)),
            read=rng.choice((0.05, 0.3)),
        )


FAIR = Weather(0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)

"""What a fault works with, and what it leaves in place until it is healed.

A fault is a function of the hands, the resolved victim and a seeded generator. It injects, and returns a `Held`: what
was done, in words, who was touched, and how to heal it. Healing brings the machine back to order and starts what is
down; whether the network then comes back is the matter of the runner and the checker.

Blocking, and run in a thread: the load goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos.cluster import Cluster
from tests.chaos.link import Link
from tests.chaos.operators import Operators


@dataclass(slots=True)
class Held:
    """A fault that is in place."""

    what: str
    touched: tuple[str, ...]
    heal: Callable[[], None]
    notes: list[str] = field(default_factory=list)


class Hands:
    """What faults work with: the cluster, and the links that more than one fault may have changed."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        # Validators that run on damaged files: the damage was not needed yet, and may be met at any time.
        self.damaged: set[str] = set()
        self._links: dict[int, Mapping[tuple[str, str], Link]] = {}
        self._next = 0
        self._operators: Operators | None = None

    def operators(self) -> Operators:
        """Those who change the membership: the same ones throughout, for they know what it is by now."""
        if self._operators is None:
            self._operators = Operators(self.cluster)
        return self._operators

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

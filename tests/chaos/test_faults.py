"""Damage done to files is damage, and chosen by the seed; which validator is the victim follows its role."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.faults import Hands, resolve
from tests.chaos.faults.files import flip_bits, truncate_file
from tests.chaos.link import Link
from tests.chaos.schedule import ANY, FOLLOWER, LEADER

VALIDATORS = ["cn-1", "cn-2", "kz-1", "kz-2"]


class _Cluster:
    """What faults ask of a cluster, without one."""

    def __init__(self, leader: str | None = None) -> None:
        self.validators = VALIDATORS
        self.links: dict[tuple[str, str], Link] = {}
        self._leader = leader

    def leader(self) -> str | None:
        return self._leader

    def set_links(self, links: dict[tuple[str, str], Link]) -> None:
        self.links = dict(links)


@pytest.mark.parametrize("seed", range(20))
def test_a_truncated_file_is_shorter(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "000003.log"
    path.write_bytes(b"x" * 100)
    truncate_file(path, random.Random(seed))
    assert path.stat().st_size < 100


@pytest.mark.parametrize("seed", range(50))
def test_flipped_bits_change_exactly_one_byte(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "000003.log"
    before = bytes(range(100))
    path.write_bytes(before)
    flip_bits(path, random.Random(seed))
    assert sum(old != new for old, new in zip(before, path.read_bytes(), strict=True)) == 1


@pytest.mark.parametrize("seed", range(10))
def test_a_victim_has_the_role_that_was_drawn(seed: int) -> None:
    cluster, rng = cast("Cluster", _Cluster("kz-2")), random.Random(seed)
    assert resolve(cluster, LEADER, rng, frozenset()) == "kz-2"
    assert resolve(cluster, FOLLOWER, rng, frozenset()) != "kz-2"
    assert resolve(cluster, LEADER, rng, frozenset(("kz-2",))) != "kz-2"
    assert resolve(cluster, ANY, rng, frozenset(VALIDATORS[:3])) == "kz-2"


def test_without_a_leader_somebody_is_the_victim() -> None:
    assert resolve(cast("Cluster", _Cluster(None)), LEADER, random.Random(1), frozenset()) in VALIDATORS


def test_two_faults_on_one_link_add_up_and_a_cut_wins_until_it_is_lifted() -> None:
    cluster = _Cluster()
    hands = Hands(cast("Cluster", cluster))
    pair = ("kz-1", "cn-1")
    cut = hands.lay({pair: Link(blocked=True)})
    slow = hands.lay({pair: Link(delay_ms=5), ("cn-1", "kz-1"): Link(delay_ms=5)})
    assert cluster.links == {pair: Link(blocked=True), ("cn-1", "kz-1"): Link(delay_ms=5)}
    hands.lift(cut)
    assert cluster.links[pair] == Link(delay_ms=5)
    hands.lift(slow)
    assert cluster.links == {}

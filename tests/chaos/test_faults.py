"""Damage done to files is damage, and chosen by the seed; which validator is the victim follows its role."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

import pytest

from nodes.config import load_gateway_config
from nodes.network import init_network
from tests.chaos.cluster import Cluster
from tests.chaos.faults import Hands, files, resolve
from tests.chaos.faults.files import EXIT_CONTRADICTS_ITSELF, flip_bits, mend_late, truncate_file
from tests.chaos.link import Link
from tests.chaos.machine import CLOCK, DISKS, SWITCH, Ability
from tests.chaos.operators import Operators
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


class _Node:
    running = False
    exit_status = EXIT_CONTRADICTS_ITSELF


class _Damaged:
    """A cluster of which one validator ended with 4: `comity storage repair` ends with `repaired`."""

    def __init__(self, repaired: int) -> None:
        self.nodes = {name: _Node() for name in VALIDATORS}
        self.started: list[str] = []
        self._repaired = repaired

    def data_of(self, name: str) -> Path:
        return Path(name)

    def storage(self, command: str, data: Path) -> tuple[int, str]:
        assert command == "repair"
        return self._repaired, "the verdict"

    def start(self, name: str) -> None:
        self.started.append(name)


def late(repaired: int, monkeypatch: pytest.MonkeyPatch) -> tuple[_Damaged, str | None, list[str]]:
    cluster, replaced = _Damaged(repaired), []

    def replace(hands: Hands, lost: str) -> str:
        replaced.append(lost)
        return "kz-3"

    monkeypatch.setattr(files, "replace_lost", replace)
    hands = Hands(cast("Cluster", cluster))
    hands.damaged.add("kz-1")
    done = mend_late(hands, "kz-1")
    # Once is enough: whoever ends again after that has another reason, and it is a finding.
    assert mend_late(hands, "kz-1") is None
    return cluster, done, replaced


def test_whose_ledger_is_met_damaged_late_is_repaired_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, done, replaced = late(0, monkeypatch)
    assert (cluster.started, replaced) == (["kz-1"], [])
    assert done is not None
    assert done.endswith("comity storage repair: the verdict")


def test_whose_order_is_met_damaged_late_is_replaced_and_never_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, done, replaced = late(1, monkeypatch)
    assert (cluster.started, replaced) == ([], ["kz-1"])
    assert done is not None
    assert "kz-3 took its place" in done


def test_whoever_ends_without_damage_done_to_it_is_not_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mend_late(Hands(cast("Cluster", _Damaged(0))), "kz-1") is None


def test_a_successor_stands_where_the_lost_one_stood_and_the_gateway_asks_it(tmp_path: Path) -> None:
    nothing = {name: Ability(name, False, "a test") for name in (SWITCH, DISKS, CLOCK)}
    cluster = Cluster(tmp_path, nothing, seed=1)
    cluster.network = init_network(tmp_path / "network", origin="a.example/b", authorities=[("kz", "KZ"), ("cn", "CN")])
    for validator in cluster.network.validators:
        cluster._add_node(validator.name, "validator", validator.config)
    for gateway in cluster.network.gateways:
        cluster._add_node(gateway.name, "gateway", gateway.config)
    made = Operators(cluster).make("kz-3", like="kz-2", to_stay=True)
    before = cluster.validators
    cluster.succeed("kz-1", "kz-3")
    assert cluster.validators == [{"kz-1": "kz-3"}.get(name, name) for name in before]
    assert cluster.members("kz") == ["kz-3", "kz-2"]
    assert set(cluster.ever) == {*before, "kz-3"}
    assert cluster.data_of("kz-1") != cluster.data_of("kz-3")
    listed = {
        item.authority: [each.name for each in load_gateway_config(item.config).validators]
        for item in cluster.network.gateways
    }
    assert listed == {"kz": ["kz-3", "kz-2"], "cn": ["cn-1", "cn-2"]}
    (gateway,) = (item for item in cluster.network.gateways if item.authority == "kz")
    ports = {each.name: each.port for each in load_gateway_config(gateway.config).validators}
    assert ports["kz-3"] == made.service_address.port

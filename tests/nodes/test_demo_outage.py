"""Who can be told, during the outage of the demo, whose absence it is; and what is waited for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nodes.demo.delivery import NotNow
from nodes.demo.outage import OutageSeen, _can_be_told, _unheard
from nodes.demo.scaling import with_crossings
from nodes.demo.scenario import Scenario, shipped_scenario
from nodes.demo.scenario_file import load_scenario
from tests.nodes.memory_ledger import make_stage

AWAY = OutageSeen("cn-gacc")


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return with_crossings(load_scenario(shipped_scenario()), 4)


async def test_only_who_stands_where_somebody_answers_and_asks_over_http_can_be_told(
    scenario: Scenario, tmp_path: Path
) -> None:
    stage, _, _ = make_stage(scenario, tmp_path)
    truck = next(truck for truck in scenario.trucks.values() if truck.link == "http")
    table = {("http", "kz-kgd"): True, ("http", "cn-gacc"): False, ("grpc", "kz-kgd"): False}
    for (link, ground), told in table.items():
        trucks = {**scenario.trucks, truck.id: replace(truck, link=link)}
        stage.scenario = replace(scenario, trucks=trucks)
        stage.devices[truck.id].authority = ground
        assert _can_be_told(stage, truck.id, AWAY) is told, (link, ground)


async def test_nobody_is_waited_for_who_can_never_be_told(scenario: Scenario, tmp_path: Path) -> None:
    stage, ledger, _ = make_stage(scenario, tmp_path)
    truck = next(truck for truck in scenario.trucks.values() if truck.link == "http")
    device, mrn = stage.devices[truck.id], scenario.crossings[0].mrn
    ledger.missing = ("cn-gacc",)
    assert not _unheard(stage, AWAY)  # nobody waits
    device.authority = "cn-gacc"
    delivery = device.sign("escort.position", mrn, {})
    assert not _unheard(stage, AWAY)  # its gateway knows only that nobody answers
    device.authority = "kz-kgd"
    assert _unheard(stage, AWAY)
    delivery.put_off.append(NotNow("no answer", 1.0))
    assert _unheard(stage, AWAY)
    delivery.put_off.append(NotNow("waiting for cn-gacc", 1.0, ("cn-gacc",)))
    assert not _unheard(stage, AWAY)
    for each in stage.devices.values():
        each.close()

"""The whole shipped scenario, played by real devices against the real contracts, without a network."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.declaration_record import decode_declaration
from contracts.movement import decode_movement
from contracts.telemetry import check_batch
from nodes.demo.scaling import with_crossings
from nodes.demo.scenario import MassDifference, Pace, Scenario, shipped_scenario
from nodes.demo.scenario_file import load_scenario
from nodes.demo.script import Script, write_script
from nodes.demo.steps import CheckFailed
from tests.nodes.memory_ledger import MemoryLedger, make_stage

AT_ONCE = Pace(departure_interval_ms=0, position_interval_ms=0)


@pytest.fixture(scope="module")
def shipped() -> Scenario:
    return replace(load_scenario(shipped_scenario()), pace=AT_ONCE)


async def _play_all(scenario: Scenario, outboxes: Path) -> tuple[Script, MemoryLedger]:
    stage, ledger, keys = make_stage(scenario, outboxes)
    await stage.enrol(keys)
    await stage.play_declarations()
    await stage.play_refusals()
    await stage.play_crossings()
    assert stage.records.failure is None
    accepted = [item for item in stage.records.deliveries.values() if item.final]
    assert Counter(item.statement.raw for item in accepted) == Counter(item.raw for item in ledger.accepted)
    assert all(device.waiting == 0 for device in stage.devices.values())
    return stage.script, ledger


def _movement_states(ledger: MemoryLedger, script: Script) -> dict[str, tuple[str, str]]:
    found = {}
    for story in script.crossings:
        movement = decode_movement(ledger.state[f"escort/{story.subject}"])
        found[story.subject] = (movement.state, movement.custody.authority)
    return found


async def test_every_story_ends_in_the_state_that_the_script_says(shipped: Scenario, tmp_path: Path) -> None:
    script, ledger = await _play_all(shipped, tmp_path)
    assert _movement_states(ledger, script) == {
        story.subject: (story.final_state, story.custody) for story in script.crossings
    }
    crossed = {ucr for crossing in shipped.crossings for ucr in crossing.declarations}
    for story in script.declarations:
        declaration = decode_declaration(ledger.state[f"declaration/{story.subject}"])
        assert declaration.status == ("cleared" if story.subject in crossed else story.final_state)
    for story in script.refusals:
        assert f"escort/{story.subject}" not in ledger.state


async def test_every_truck_signs_its_whole_track_and_leaves_it_at_a_gateway(shipped: Scenario, tmp_path: Path) -> None:
    script, ledger = await _play_all(shipped, tmp_path)
    signed: list[Any] = [item.payload["batch"] for item in ledger.accepted if "batch" in item.payload]
    assert len(signed) == sum(story.keeps_track for story in script.crossings) == len(ledger.attachments)
    for batch in signed:
        assert check_batch(ledger.attachments[batch["sha256"]], batch).fixes > 1


async def test_the_branches_leave_their_traces_in_the_records(shipped: Scenario, tmp_path: Path) -> None:
    _, ledger = await _play_all(shipped, tmp_path)
    broken = next(item for item in shipped.crossings if item.seal_broken)
    movement = decode_movement(ledger.state[f"escort/{broken.mrn}"])
    assert movement.incident_count == 1
    assert {seal.state for seal in movement.seals} == {"replaced", "removed"}
    differing = next(item for item in shipped.crossings if item.mass_difference)
    movement = decode_movement(ledger.state[f"escort/{differing.mrn}"])
    assert movement.differences
    assert movement.departure_decision == movement.destination_decision == "handed_over"


async def test_a_dispute_can_end_with_the_truck_sent_back(shipped: Scenario, tmp_path: Path) -> None:
    crossings = tuple(
        replace(item, mass_difference=MassDifference(item.mass_g // 2, "returned")) for item in shipped.crossings[:2]
    )
    script, ledger = await _play_all(replace(shipped, crossings=crossings), tmp_path)
    assert {state for state, _ in _movement_states(ledger, script).values()} == {"returned"}
    assert _movement_states(ledger, script) == {
        story.subject: (story.final_state, story.custody) for story in script.crossings
    }


@pytest.mark.parametrize("after_positions", [0, 5])
async def test_a_seal_may_break_anywhere_on_the_way_to_the_border(
    shipped: Scenario, tmp_path: Path, after_positions: int
) -> None:
    crossing = next(item for item in shipped.crossings if item.seal_broken)
    assert crossing.seal_broken is not None
    crossing = replace(crossing, seal_broken=replace(crossing.seal_broken, after_positions=after_positions))
    script, ledger = await _play_all(replace(shipped, crossings=(crossing,)), tmp_path)
    assert _movement_states(ledger, script)[crossing.mrn][0] == "discharged"


async def test_a_scenario_grown_to_many_trucks_plays_to_its_end(shipped: Scenario, tmp_path: Path) -> None:
    script, ledger = await _play_all(with_crossings(shipped, 32), tmp_path)
    assert [state for state, _ in _movement_states(ledger, script).values()] == ["discharged"] * 32


async def test_lost_answers_make_devices_send_again_and_nothing_is_doubled(shipped: Scenario, tmp_path: Path) -> None:
    scenario = with_crossings(shipped, 4)
    stage, ledger, keys = make_stage(scenario, tmp_path)
    ledger.lost_answers_percent = 20
    await stage.enrol(keys)
    await stage.play_declarations()
    await stage.play_crossings()
    assert stage.records.resent > 10
    assert len({item.id for item in ledger.accepted}) == len(ledger.accepted) == stage.records.final


async def test_trucks_go_on_signing_while_an_authority_is_away_and_lose_nothing_with_their_power(
    shipped: Scenario, tmp_path: Path
) -> None:
    scenario = replace(with_crossings(shipped, 4), pace=Pace(0, 30))
    stage, ledger, keys = make_stage(scenario, tmp_path)
    await stage.enrol(keys)
    await stage.play_declarations()
    crossings = asyncio.create_task(stage.play_crossings())
    for _ in range(1000):
        if stage.trucks_driving() >= 2:
            break
        await asyncio.sleep(0.01)
    ledger.missing = ("cn-gacc",)
    size, signed = len(ledger.accepted), stage.records.signed
    await asyncio.sleep(0.5)
    assert len(ledger.accepted) == size
    assert stage.records.signed > signed
    waiting = {name: device.waiting for name, device in stage.devices.items() if device.waiting}
    assert waiting
    for name, count in waiting.items():
        assert stage.devices[name].lose_power() == count
    ledger.missing = ()
    await crossings
    assert len({item.id for item in ledger.accepted}) == len(ledger.accepted) == stage.records.final
    put_off = [reason for item in stage.records.deliveries.values() for reason in item.put_off]
    assert {reason.missing_authorities for reason in put_off} == {("cn-gacc",)}


async def test_an_answer_that_the_script_does_not_expect_stops_the_run(shipped: Scenario, tmp_path: Path) -> None:
    stage, _, keys = make_stage(with_crossings(shipped, 2), tmp_path)
    await stage.enrol(keys)
    # No declaration was ever lodged.
    with pytest.raises(CheckFailed, match=r"escort\.plan of .*: expected accepted, got movement_declaration_unknown"):
        await stage.play_crossings()


async def test_an_acceptance_where_the_script_expects_a_refusal_stops_the_run(
    shipped: Scenario, tmp_path: Path
) -> None:
    stage, _, keys = make_stage(shipped, tmp_path)
    await stage.enrol(keys)
    await stage.play_declarations()
    story = stage.script.crossings[0]
    wrong = replace(story, steps=(replace(story.steps[0], outcome="declaration_not_released"),))
    stage.script = replace(stage.script, refusals=(wrong,))
    with pytest.raises(CheckFailed, match="expected declaration_not_released, got accepted"):
        await stage.play_refusals()


def test_a_pass_is_about_twenty_statements_by_at_least_four_signers_on_both_sides(shipped: Scenario) -> None:
    for story in write_script(shipped).crossings:
        assert 19 <= story.accepted <= 24
        assert len({step.actor for step in story.steps}) >= 4
        assert {step.authority for step in story.steps} == {"kz-kgd", "cn-gacc"}


def test_truck_and_gate_report_the_border_in_either_order(shipped: Scenario) -> None:
    first = Counter(
        next(step.actor for step in story.steps if step.kind == "escort.reach_border").split("/")[1]
        for story in write_script(shipped).crossings
    )
    assert set(first) > {"truck"}


async def test_the_scenario_in_the_documentation_is_whole_and_plays_to_its_end(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text()
    text = page.split("<!-- scenario: begin -->\n```toml\n")[1].split("```\n<!-- scenario: end -->")[0]
    path = tmp_path / "small.toml"
    path.write_text(text)
    script, ledger = await _play_all(replace(load_scenario(path), pace=AT_ONCE), tmp_path / "outboxes")
    assert [state for state, _ in _movement_states(ledger, script).values()] == ["returned"]


async def test_the_told_story_in_the_documentation_plays_to_its_end(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text()
    whole = page.split("<!-- scenario: begin -->\n```toml\n")[1].split("```\n<!-- scenario: end -->")[0]
    told = page.split("<!-- steps: begin -->\n```toml\n")[1].split("```\n<!-- steps: end -->")[0]
    usual = whole.split("[crossings.seal_broken]")[0]
    path = tmp_path / "told.toml"
    path.write_text("\n".join(line for line in usual.splitlines() if not line.startswith("positions_")) + "\n" + told)
    script, ledger = await _play_all(replace(load_scenario(path), pace=AT_ONCE), tmp_path / "outboxes")
    assert [state for state, _ in _movement_states(ledger, script).values()] == ["discharged"]
    assert script.crossings[0].count("escort.position") == 3

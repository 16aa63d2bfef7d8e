"""The scenario `everything`: played in memory, it uses every row of every table; and the same count as after a run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.deadlines import next_deadline_ms
from contracts.incidents import INCIDENTS
from contracts.movement import load_movement
from contracts.telemetry import Fix, batch_payload, encode_telemetry
from contracts.working import Working
from ledger.algorithms import PrivateKey
from ledger.entry import BlockRecord
from ledger.statement import Statement, sign_statement
from nodes.demo.processes import comity_command
from nodes.demo.reading import ScenarioError
from nodes.demo.rows import COUNTED, RowsTaken, every_row
from nodes.demo.scaling import with_crossings
from nodes.demo.scenario import SHIPPED, Scenario, shipped_scenario
from nodes.demo.scenario_file import load_scenario
from nodes.demo.script import Script, write_script
from nodes.demo.story import ACCEPTED, Step, Story
from tests.nodes.memory_ledger import make_genesis, make_keys

STEP_MS = 1_000


class Playing:
    """Plays one story after the other on the contracts, in a time of its own: whoever waits is waited for."""

    def __init__(self, scenario: Scenario) -> None:
        self.keys: dict[str, PrivateKey] = make_keys(scenario)
        genesis = make_genesis(scenario, self.keys)
        self.rows = RowsTaken.from_genesis(genesis)
        self.now_ms = genesis.time_ms
        self.height = 0
        self.genesis = genesis
        self.log: list[Statement | BlockRecord] = []
        self.accepted: list[tuple[int, int, Statement]] = []  # place on the log, block time, statement
        self.proposed: dict[str, bytes] = {}
        self.track: list[Fix] = []
        registrars = {authority.name: authority.registrar for authority in scenario.authorities}
        for participant in scenario.participants.values():
            if participant.id not in registrars.values():
                key = self.keys[participant.id].public.cose_key
                enrol = {"key": key, "roles": list(participant.roles)}
                assert self.say("registry.enrol", registrars[participant.authority], participant.id, enrol) == ACCEPTED

    def say(self, kind: str, iss: str, sub: str, payload: Mapping[str, Any], clock_s: int = 0) -> str:
        self.now_ms += STEP_MS
        self.height += 1
        statement = sign_statement(
            self.keys[iss],
            kind=kind,
            iss=iss,
            sub=sub,
            iat_s=self.now_ms // 1000 + clock_s,
            cti=self.height.to_bytes(16, "big"),
            payload=dict(payload),
        )
        outcome = self.rows.take(statement, self.now_ms, self.height)
        if outcome == ACCEPTED:
            self.accepted.append((2 * self.height, self.now_ms, statement))
            if kind == "governance.propose":
                self.proposed[sub] = statement.id
        self._close([statement] if outcome == ACCEPTED else [])
        return outcome

    def _close(self, statements: list[Statement]) -> None:
        """A block as it stands in the log; its hashes are the audit's to look at."""
        zero = bytes(32)
        record = BlockRecord(self.height, self.now_ms, len(self.log), len(statements), zero, zero, "kz-kgd-1")
        self.log += [*statements, record]

    def play(self, story: Story) -> None:
        self.track = []
        for step in story.steps:
            if step.wait:
                self.wait(step.subject, step.wait)
                continue
            if step.driving:
                self.track.append(Fix(self.now_ms, 46_672_000, 82_735_000))
            outcome = self.say(step.kind, step.actor, step.subject, self.payload_of(step), step.clock_s)
            assert outcome == step.outcome, (step.kind, step.subject, step.where)

    def payload_of(self, step: Step) -> dict[str, Any]:
        if step.batch:
            batch = batch_payload(encode_telemetry(self.track))
            self.track = []
            return {"batch": batch}
        named = {"proposal": self.proposed[step.subject]} if step.names_proposal else {}
        return step.payload_at(self.now_ms) | named

    def wait(self, mrn: str, state: str) -> None:
        while self.state(mrn) != state:
            due_ms = next_deadline_ms(self.rows)
            assert due_ms is not None, f"{mrn} is {self.state(mrn)} and nothing will make it {state}"
            self.now_ms = due_ms
            self.height += 1
            self.rows.begin(self.now_ms, self.height)
            self._close([])

    def state(self, mrn: str) -> str:
        record = load_movement(Working(self.rows), mrn)
        assert record is not None
        return record.state


@pytest.fixture(scope="module")
def played() -> tuple[Scenario, Script, Playing]:
    scenario = load_scenario(shipped_scenario("everything"))
    script = write_script(scenario)
    playing = Playing(scenario)
    for story in script.stories():
        playing.play(story)
    return scenario, script, playing


def test_every_row_of_every_table_is_used(played: tuple[Scenario, Script, Playing]) -> None:
    assert played[2].rows.missing() == []


def test_every_kind_of_incident_happens(played: tuple[Scenario, Script, Playing]) -> None:
    assert played[2].rows.codes == set(INCIDENTS)


def test_every_story_ends_where_the_scenario_says(played: tuple[Scenario, Script, Playing]) -> None:
    _, script, playing = played
    for story in script.crossings:
        record = load_movement(Working(playing.rows), story.subject)
        assert record is not None
        assert (record.state, record.custody.authority) == (story.final_state, story.custody), story.subject


def test_the_report_counts_what_was_used_and_names_what_was_not(played: tuple[Scenario, Script, Playing]) -> None:
    report = played[2].rows.as_report()
    for name in COUNTED:
        found = report["contracts"][name]
        assert (found["used"], found["not_used"]) == (found["rows"], [])
    assert sum(found["rows"] for found in report["contracts"].values()) == len(every_row())
    empty = RowsTaken({}).as_report()
    assert empty["contracts"]["escort"]["used"] == 0
    assert "escort: offered --(time passes)--> at_border" in empty["contracts"]["escort"]["not_used"]


def test_a_log_that_is_followed_afterwards_tells_the_same_rows(played: tuple[Scenario, Script, Playing]) -> None:
    playing = played[2]
    again = RowsTaken.from_genesis(playing.genesis)
    again.follow(playing.log)
    assert again.taken == playing.rows.taken
    assert again.state == playing.rows.state


def test_stories_told_step_by_step_are_not_copied() -> None:
    scenario = load_scenario(shipped_scenario("everything"))
    grown = with_crossings(scenario, len(scenario.crossings) + 3)
    assert not any(item.steps for item in grown.crossings[len(scenario.crossings) :])
    all_told = replace(scenario, crossings=tuple(item for item in scenario.crossings if item.steps))
    with pytest.raises(ValueError, match="tells each of them step by step"):
        with_crossings(all_told, len(all_told.crossings) + 1)
    assert len(with_crossings(all_told, 4).crossings) == 4


@pytest.mark.processes
@pytest.mark.soak
def test_a_run_of_it_over_real_processes_uses_every_row_and_holds(tmp_path: Path) -> None:
    command = comity_command("demo", "--scenario", "everything", "--json", "--out", str(tmp_path / "out"))
    done = subprocess.run(command, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    assert all(step["ok"] for step in report["steps"])
    assert all(found["not_used"] == [] for found in report["rows"]["contracts"].values())
    assert report["rows"]["incidents"]["not_used"] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_every_scenario_that_is_installed_can_be_written(name: str) -> None:
    assert any(True for _ in write_script(load_scenario(shipped_scenario(name))).steps())


# What is wrong with a story is said with its place.


def _faults(tmp_path: Path, old: str, new: str) -> Iterator[str]:
    text = shipped_scenario("everything").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    return (str(fault) for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ('{ do = "turn_back", say', '{ do = "turn_round", say', "crossings[4].steps[10]", "expected an event"),
        (
            '{ do = "turn_back", say',
            '{ do = "turn_back", by = "captain", say',
            "steps[10]",
            "by: expected a participant",
        ),
        ('{ do = "turn_back", say', '{ do = "turn_back", with = { why = 1 }, say', "steps[10]", "why"),
        (
            '{ do = "turn_back", say',
            '{ do = "turn_back", drive = 1, say',
            "steps[10]",
            "exactly one of do, drive and wait",
        ),
        ('{ do = "turn_back", say', '{ do = "turn_back", refused = "no", say', "steps[10]", "the name of an outcome"),
        ('{ do = "turn_back", say', '{ do = "depart", with = { note = "x" }, say', "steps[10]", "expected it alone"),
        ('{ do = "turn_back", say', '{ wait = "returned", until = 5, say', "steps[10]", "is not a known key"),
        ('by = "seal KZE50011"', 'by = "seal KZE99"', "crossings[10].steps[6]", "expected an electronic seal"),
        ('code = "04"', 'code = "99"', "crossings[10].steps[6]", "expected one of"),
        (
            'participant = "kz/spare-device"',
            'participant = "kz/nobody"',
            "registrations[0].participant",
            "no participant",
        ),
        ('ends = "rejected"\nrecog', 'ends = "forgotten"\nrecog', "declarations[0].ends", "expected one of"),
        ('ends = "rejected"', 'ends = "forgotten"', "proposals[1].ends", "expected one of"),
        ('corridor_m", from = 2_000', 'corridor_m", was = 2_000', "proposals[2].steps[0]", "from"),
        ('id = "kz-kgd/2026-002"', 'id = "nobody/2026 002"', "proposals[2].id", "proposal"),
        ("again = true", 'again = "twice"', "steps[1].again", "expected true or false"),
        ("every_row = true", 'every_row = "yes"', "scenario.every_row", "expected true or false"),
    ],
)
def test_what_is_wrong_with_a_told_story_is_said_with_its_place(
    tmp_path: Path, old: str, new: str, field: str, message: str
) -> None:
    faults = list(_faults(tmp_path, old, new))
    assert any(field in fault and message in fault for fault in faults), faults

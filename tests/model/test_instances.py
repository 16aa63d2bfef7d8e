"""The tables of what is checked keep up with the specification."""

from __future__ import annotations

import re

import pytest

from tests.model.checker import SPECIFICATIONS, CheckFailed, read
from tests.model.instances import INSTANCES, PLANTED, configuration, directed

TEXT = (SPECIFICATIONS / "Comity.tla").read_text()
DEFINED = set(re.findall(r"^(\w+)(?:\([^)]*\))? *==", TEXT, re.M))
RULES = set(re.findall(r'Broken (?:=|#) "(\w+)"', TEXT)) - {"nothing"}


def test_every_rule_that_can_be_left_out_is_left_out_once_and_has_to_be_found() -> None:
    assert sorted(planted.broken for planted in PLANTED if planted.broken != "nothing") == sorted(RULES)


def test_every_invariant_that_is_asked_for_is_in_the_specification() -> None:
    asked = {name for instance in INSTANCES for name in instance.invariants}
    asked |= {name for planted in PLANTED for name in (*planted.finds, *planted.instance.invariants)}
    assert asked <= DEFINED


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_what_has_to_be_found_is_looked_for(planted) -> None:  # type: ignore[no-untyped-def]
    assert set(planted.finds) <= set(planted.instance.invariants)


def test_a_configuration_names_every_constant_of_the_specification() -> None:
    declared = TEXT.partition("CONSTANTS")[2].partition("VARIABLES")[0]
    names = set(re.findall(r"\b[A-Z]\w+\b", re.sub(r"\\\*.*", "", declared)))
    text = configuration(INSTANCES[0])
    assert names == set(re.findall(r"^  (\w+) = (?!\1$)", text, re.M))


HOLDS = """Model checking completed. No error has been found.
20 states generated, 12 distinct states found, 0 states left on queue.
The depth of the complete state graph search is 7.
"""


def test_an_answer_is_read_with_its_figures() -> None:
    result = read(0, HOLDS)
    assert (result.violated, result.states, result.distinct, result.depth) == (None, 20, 12, 7)


def test_a_violation_is_read_with_its_name() -> None:
    text = (
        "Error: Invariant OneVote is violated.\n9 states generated, 8 distinct states found, 3 states left on queue.\n"
    )
    assert read(12, text).violated == "OneVote"


def test_an_answer_that_was_cut_is_taken_for_one_only_where_there_was_a_limit() -> None:
    text = HOLDS.replace("0 states left", "4 states left")
    result = read(0, text, may_be_cut=True)
    assert (result.violated, result.cut, result.depth) == (None, True, 7)
    assert not read(0, HOLDS, may_be_cut=True).cut


SCENARIOS = [planted for planted in PLANTED if planted.scenario is not None]


@pytest.mark.parametrize("planted", SCENARIOS, ids=lambda planted: planted.name)
def test_a_scenario_gives_every_term_and_nobody_that_is_not_there_a_part(planted) -> None:  # type: ignore[no-untyped-def]
    machines = set(planted.instance.nodes.split())
    scenario = planted.scenario
    assert len(scenario.elections) == planted.instance.max_term
    named = {name for candidate, voters in scenario.elections for name in (candidate, *voters.split())}
    assert {*named, *scenario.deaf.split(), *scenario.longest} <= machines
    assert not planted.instance.liars
    text = configuration(planted.instance, planted.broken, planted.scenario)
    assert "CONSTRAINT OnlyHere" in text
    assert "SYMMETRY" not in text
    assert "OnlyHere ==" in directed(planted.instance, planted.scenario)


def test_what_has_to_hold_is_never_narrowed_to_a_scenario() -> None:
    assert all("CONSTRAINT" not in configuration(instance) for instance in INSTANCES)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, HOLDS.replace("0 states left", "4 states left")),
        (0, ""),
        (12, "Error: something else"),
        (255, HOLDS),
        (143, "killed"),
    ],
)
def test_whatever_is_no_answer_is_not_taken_for_one(status: int, text: str) -> None:
    with pytest.raises(CheckFailed):
        read(status, text)

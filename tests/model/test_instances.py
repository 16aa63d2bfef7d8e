"""The tables of what is checked keep up with the specification."""

from __future__ import annotations

import re

import pytest

from tests.model.checker import SPECIFICATIONS, CheckFailed, read
from tests.model.instances import INSTANCES, PLANTED, configuration

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

"""What the core does is what the model allows, and a trace that says otherwise is refused at the right line."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest

from consensus.quorum import Configuration
from tests.model.checker import ready
from tests.model.recording import Line, record
from tests.model.tracing import judge, tla

SEED, STEPS = 2, 350
needs_checker = pytest.mark.skipif(ready() is not None, reason=str(ready()))


def test_values_are_written_as_the_model_reads_them() -> None:
    line = {"event": "change", "leads": True, "term": 3, "log": [1, 2], "new": ["kz-1"], "old": []}
    assert tla(line) == (
        '[event |-> "change", leads |-> TRUE, term |-> 3, log |-> <<1, 2>>, new |-> {"kz-1"}, old |-> {}]'
    )


def test_a_seed_gives_the_same_trace_twice() -> None:
    assert record(SEED, STEPS) == record(SEED, STEPS)


def test_everything_that_a_machine_can_do_is_in_some_trace() -> None:
    """`Unexplained` is raised if the core ever does what no line says."""
    seen = {line["event"] for seed in range(1, 9) for line in record(seed, 600)[1]}
    assert seen >= {
        *("campaign", "grant", "follow", "win", "append", "receive", "commit", "learn"),
        *("take", "persist", "execute", "store", "restart"),
    }


def first(lines: list[Line], event: str) -> int:
    return next(number for number, line in enumerate(lines) if line["event"] == event)


@needs_checker
def test_a_run_of_the_core_is_a_behaviour_of_the_model() -> None:
    genesis, lines = record(SEED, STEPS)
    verdict = judge(genesis, lines)
    assert verdict.accepted, f"line {verdict.explained + 1}: {lines[verdict.explained]}"


@needs_checker
def test_a_trace_in_which_a_leader_commits_too_much_is_refused_at_that_line() -> None:
    genesis, lines = record(SEED, STEPS)
    at = first(lines, "commit")
    altered = copy.deepcopy(lines)
    # The index after the one that a majority and both authorities have acknowledged.
    altered[at]["index"] += 1
    verdict = judge(genesis, altered)
    assert (verdict.accepted, verdict.explained) == (False, at)


@needs_checker
def test_a_trace_in_which_a_vote_answers_before_it_is_persisted_is_refused() -> None:
    genesis, lines = record(SEED, STEPS)
    won = first(lines, "win")
    voter = next(line["node"] for line in lines if line["event"] == "grant")
    # Without its writes, nothing that the voter said can have left it.
    altered = [line for line in lines[:won] if line["node"] != voter or line["event"] != "persist"] + lines[won:]
    assert not judge(genesis, altered).accepted


@needs_checker
def test_a_core_without_the_authority_rule_is_found_out_by_its_trace() -> None:
    def majority_only(self: Configuration, match: Mapping[str, int]) -> int:
        return sorted((match.get(elector, 0) for elector in self.electors), reverse=True)[self.majority - 1]

    def run(seed: int) -> tuple[dict[str, Any], list[Line]]:
        with patch.object(Configuration, "committed_index", majority_only):
            return record(seed, STEPS)

    # The first run in which it makes a difference: the rule is all that is left out.
    seed = next(seed for seed in range(40) if len(run(seed)[0]["authorities"][0]) == 1 and commits_differ(seed, run))
    genesis, lines = run(seed)
    verdict = judge(genesis, lines)
    assert not verdict.accepted
    assert verdict.violated == "OnADiskOfEach" or lines[verdict.explained]["event"] == "commit"


def commits_differ(seed: int, run: Any) -> bool:
    return bool(record(seed, STEPS)[1] != run(seed)[1])

"""What whole validators do with the order is what the model allows, and a trace that says otherwise is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest

from tests.model.checker import ready
from tests.model.recording import Line
from tests.model.tracing import judge_validators
from tests.model.validators import AWAY, Recording, record, record_a_return
from tests.simulation.bugs import BUGS, planted

SEED, LINES, TROUBLE_US = 2, 60, 1_500_000
RETURN_LINES = 440
needs_checker = pytest.mark.skipif(ready() is not None, reason=str(ready()))


def run(lines: int = LINES) -> Recording:
    return record(SEED, lines, trouble_us=TROUBLE_US, changing=True)


def test_a_seed_gives_the_same_trace_twice_and_has_every_kind_of_line_in_it() -> None:
    one, other = run(400), run(400)
    assert (one.lines, one.table, one.genesis) == (other.lines, other.table, other.genesis)
    assert {line["event"] for line in one.lines} >= {"remember", "store", "execute", "cosign", "final", "restart"}
    assert any(entry["kind"] == "change" for entry in one.table)


@needs_checker
def test_a_run_of_whole_validators_is_a_behaviour_of_the_model() -> None:
    recording = run()
    verdict = judge_validators(recording)
    assert verdict.accepted, f"line {verdict.explained + 1}: {recording.lines[verdict.explained]}"


def _without_a_sync(lines: list[Line]) -> int:
    """Executed what its own disk does not have yet."""
    at = next(number for number, line in enumerate(lines) if line["event"] == "execute")
    before = [line for line in lines[:at] if (line["event"], line["node"]) != ("store", lines[at]["node"])]
    lines[:at] = before
    return len(before)


def _another_root(lines: list[Line]) -> int:
    at = [number for number, line in enumerate(lines) if line["event"] == "cosign"][-1]
    lines[at]["root"] = "0" * 16
    return at


def _of_one_authority(lines: list[Line]) -> int:
    at = next(number for number, line in enumerate(lines) if line["event"] == "final")
    lines[at]["signers"] = [name for name in lines[at]["signers"] if name.startswith("kz")]
    return at


@needs_checker
@pytest.mark.parametrize("alter", [_without_a_sync, _another_root, _of_one_authority], ids=lambda alter: alter.__name__)
def test_a_trace_that_says_what_may_not_be_is_refused_at_that_line(alter: Callable[[list[Line]], int]) -> None:
    recording = copy.deepcopy(run())
    at = alter(recording.lines)
    verdict = judge_validators(recording)
    assert (verdict.accepted, verdict.explained) == (False, at)


@needs_checker
def test_the_trace_of_validators_with_a_planted_bug_is_refused() -> None:
    with planted(BUGS["final_with_one_authority"]):
        recording = run()
    verdict = judge_validators(recording)
    assert not verdict.accepted
    assert recording.lines[verdict.explained]["event"] == "final"


# --- coming back by a snapshot --------------------------------------------------------------------------------------


@cache
def came_back() -> Recording:
    return record_a_return(SEED, RETURN_LINES)


def _at(lines: list[Line], event: str, after: int = 0) -> int:
    return next(at for at, line in enumerate(lines) if at >= after and (line["event"], line["node"]) == (event, AWAY))


def test_a_validator_that_was_away_for_long_comes_back_by_a_snapshot_and_goes_on_behind_it() -> None:
    lines = came_back().lines
    at = _at(lines, "snapshot")
    assert lines[_at(lines, "restart", at)]["applied"] == lines[at]["index"]
    assert lines[_at(lines, "execute", at)]["index"] == lines[at]["index"] + 1
    executed = [line["index"] for line in lines[:at] if (line["event"], line["node"]) == ("execute", AWAY)]
    assert lines[at]["index"] > max(executed, default=0) + 1


@needs_checker
def test_coming_back_by_a_snapshot_is_a_behaviour_of_the_model() -> None:
    verdict = judge_validators(came_back())
    assert verdict.accepted, f"line {verdict.explained + 1}: {came_back().lines[verdict.explained]}"


def _of_what_nobody_agreed(lines: list[Line]) -> int:
    at = _at(lines, "snapshot")
    lines[at]["index"] = 1 + max(line["index"] for line in lines[:at] if line["event"] == "execute")
    return at


def _of_less_than_it_brought(lines: list[Line]) -> int:
    at = _at(lines, "restart", _at(lines, "snapshot"))
    lines[at]["applied"] -= 1
    return at


def _of_another_ledger(lines: list[Line]) -> int:
    at = _at(lines, "restart", _at(lines, "snapshot"))
    lines[at]["root"] = "0" * 16
    return at


@needs_checker
@pytest.mark.parametrize(
    "alter", [_of_what_nobody_agreed, _of_less_than_it_brought, _of_another_ledger], ids=lambda alter: alter.__name__
)
def test_a_snapshot_that_may_not_be_is_refused_at_its_line(alter: Callable[[list[Line]], int]) -> None:
    recording = copy.deepcopy(came_back())
    at = alter(recording.lines)
    verdict = judge_validators(recording)
    assert (verdict.accepted, verdict.explained) == (False, at)

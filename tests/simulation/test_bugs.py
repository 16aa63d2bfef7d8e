"""Proof that the simulator bites: bugs are planted, and it has to find them. The whole table under `make soak`."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.simulation import __main__ as program
from tests.simulation.bugs import BUGS, Bug, hunt, planted
from tests.simulation.simulation import simulate

# Those that few seeds find.
QUICK = (
    "acknowledges_before_the_sync",
    "answers_before_it_writes",
    "signs_before_it_persists",
    "final_with_one_authority",
    "takes_the_time_from_its_own_clock",
    "an_observer_makes_final",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name: str) -> None:
    bug = BUGS[name]
    found = hunt(bug)
    assert found is not None, f"not found in {bug.seeds} seeds"
    assert found.invariant in bug.invariants, str(found.violation)


def test_there_are_enough_of_them_and_each_says_what_is_wrong() -> None:
    assert len(BUGS) >= 20
    words = [bug.words for bug in BUGS.values()]
    assert all(words)
    assert len(set(words)) == len(BUGS)


def test_what_another_process_found_arrives_and_is_shown_with_the_line_that_brings_it_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bug = BUGS["answers_before_it_writes"]
    with planted(bug):
        result = pickle.loads(pickle.dumps(simulate(0, **bug.options)))
    program.show(result, program.Choice(season="renewals"))
    shown = capsys.readouterr().out
    assert "seed 0 FAILED: persist, then answer: " in shown
    assert "again: make simulate SEED=0 SEASON=renewals " in shown
    monkeypatch.setattr(program, "BUGS", {bug.name: bug})
    page = tmp_path / "page.md"
    page.write_text(f"before\n{program.BEGIN}\nold\n{program.END}\nafter\n")
    assert program.hunt_all(1, page)
    assert "all 1 were found" in capsys.readouterr().out
    written = page.read_text()
    assert f"| {bug.words} | 1 | {bug.seeds} | persist, then answer |" in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written


def test_a_bug_that_is_not_found_is_said_and_fails_the_hunt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = Bug("sound", list, 0, ("commit rule",))
    monkeypatch.setattr(program, "BUGS", {sound.name: sound})
    assert not program.hunt_all(1)
    assert "not found, or by the wrong invariant: sound" in capsys.readouterr().out

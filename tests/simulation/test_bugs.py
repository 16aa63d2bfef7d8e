"""Proof that the simulator bites: bugs are planted, and it has to find them. The whole table under `make soak`."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS, hunt

# Those that few seeds find.
QUICK = (
    "acknowledges_before_the_sync",
    "answers_before_it_writes",
    "signs_before_it_persists",
    "final_with_one_authority",
    "takes_the_time_from_its_own_clock",
    "executes_without_a_look_at_signatures",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name: str) -> None:
    bug = BUGS[name]
    found = hunt(bug)
    assert found is not None, f"not found in {bug.seeds} seeds"
    assert found.invariant in bug.invariants, str(found.violation)


def test_there_are_enough_of_them() -> None:
    assert len(BUGS) >= 20

"""The calendar of deadlines against a sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts import deadlines
from contracts.working import Working
from tests.contracts.corridor import DictState

TIMES = st.integers(0, 12_000)


@given(st.lists(st.tuples(st.sampled_from(["set", "lift", "pop", "block"]), TIMES, st.integers(0, 5)), max_size=60))
def test_the_calendar_agrees_with_a_sorted_list_and_leaves_nothing_behind(steps: list[tuple[str, int, int]]) -> None:
    state = DictState({})
    working = Working(state)
    oracle: list[tuple[int, str]] = []
    for step, due_s, number in steps:
        entry = (due_s, f"escort/{number}")
        if step == "set" and entry not in oracle:
            deadlines.set_deadline(working, *entry)
            oracle.append(entry)
        elif step == "lift" and oracle:
            entry = oracle.pop(number % len(oracle))
            deadlines.lift_deadline(working, *entry)
        elif step == "pop" and oracle:
            first = min(due for due, _ in oracle)
            for key in deadlines.due_at(working, first):
                oracle.remove((first, key))
                deadlines.lift_deadline(working, first, key)
        elif step == "block":
            state.write(working.changes())
            working = Working(state)
            expected = min((due for due, _ in oracle), default=None)
            assert deadlines.next_deadline_ms(state) == (None if expected is None else expected * 1000)
        assert deadlines.first_deadline_s(working) == min((due for due, _ in oracle), default=None)
        for due in {due for due, _ in oracle}:
            assert list(deadlines.due_at(working, due)) == [key for at, key in oracle if at == due]
    for due_s, key in oracle:
        deadlines.lift_deadline(working, due_s, key)
    state.write(working.changes())
    assert state.records == {}


def test_a_deadline_is_never_early() -> None:
    assert [deadlines.ceil_s(ms) for ms in (0, 1, 999, 1000, 1001)] == [0, 1, 1, 1, 2]

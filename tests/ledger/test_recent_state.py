"""What is remembered of the state is never anything else than the state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.recent_state import RecentState

KEYS = st.sampled_from([f"escort/{number}" for number in range(12)])
VALUES = st.one_of(st.none(), st.binary(max_size=3))


class _Counting(dict[str, bytes]):
    """A state that counts how often it is read."""

    reads = 0

    def get(self, key: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
        self.reads += 1
        return super().get(key, default)


@given(st.lists(st.one_of(KEYS, st.dictionaries(KEYS, VALUES, max_size=4)), max_size=60), st.integers(2, 9))
def test_every_read_gives_what_the_state_holds(steps: list[str | dict[str, bytes | None]], max_values: int) -> None:
    state = _Counting()
    recent = RecentState(state, max_values)
    for step in steps:
        if isinstance(step, str):
            assert recent.get(step) == dict.get(state, step)
        else:
            for key, value in step.items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
            recent.written(step)
        assert len(recent) <= max_values
    for number in range(12):
        assert recent.get(f"escort/{number}") == dict.get(state, f"escort/{number}")


def test_what_was_read_or_written_lately_is_not_read_again() -> None:
    state = _Counting({"parameter/posts": b"1"})
    recent = RecentState(state)
    assert recent.get("parameter/posts") == b"1"
    assert recent.get("escort/x") is None
    recent.written({"escort/y": b"2"})
    reads = state.reads
    assert [recent.get(key) for key in ("parameter/posts", "escort/x", "escort/y")] == [b"1", None, b"2"]
    assert state.reads == reads


def test_a_block_that_was_not_written_leaves_nothing_behind() -> None:
    state = _Counting({"escort/x": b"before"})
    recent = RecentState(state)
    assert recent.get("escort/x") == b"before"
    # The disk refused the block: `written` is never called, and the block is executed again.
    assert recent.get("escort/x") == b"before"

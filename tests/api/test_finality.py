"""api/finality.py against a list that is searched from one end to the other."""

from __future__ import annotations

import asyncio
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from api.finality import Finality, Waiting

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 30)),
        st.tuples(st.just("final"), st.integers(0, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(STEPS)
def test_everyone_is_released_once_as_soon_as_covered_and_nobody_who_cancelled(steps: list[tuple[str, int]]) -> None:
    finality = Finality()
    released: list[int] = []
    waiting = []
    expected: list[int] = []
    open_waits: list[tuple[int, int]] = []
    size = 0
    for serial, (step, number) in enumerate(steps):
        if step == "wait":
            waiting.append((serial, finality.when_final(number, partial(released.append, serial))))
            if number < size:
                expected.append(serial)
            else:
                open_waits.append((number, serial))
        elif step == "final":
            finality.advance(number, b"note %d" % number)
            size = max(size, number)
            done = sorted(wait for wait in open_waits if wait[0] < size)
            expected += [serial for _, serial in done]
            open_waits = [wait for wait in open_waits if wait[0] >= size]
        elif waiting:
            serial_cancelled, wait = waiting[number % len(waiting)]
            wait.cancel()
            open_waits = [wait for wait in open_waits if wait[1] != serial_cancelled]
        assert released == expected
        assert finality.waiting == len(open_waits)
        assert finality.size == size


def test_those_who_gave_up_leave_nothing_behind_while_nothing_becomes_final() -> None:
    finality = Finality()
    patient = [finality.when_final(index, lambda: None) for index in range(10)]
    for index in range(10_000):
        finality.when_final(index, lambda: None).cancel()
    assert finality.waiting == len(patient)
    assert len(finality._heap) <= 2 * len(patient) + 1


def test_whoever_is_released_may_cancel_others_that_are_about_to_be() -> None:
    finality = Finality()
    released: list[int] = []
    others: list[Waiting] = []

    def first() -> None:
        released.append(0)
        for other in others:
            other.cancel()

    finality.when_final(0, first)
    others += [finality.when_final(index, partial(released.append, index)) for index in range(1, 9)]
    finality.when_final(9, partial(released.append, 9))
    finality.advance(10, b"ten")
    assert released == [0, 9]
    assert finality.waiting == 0


def test_an_older_checkpoint_that_comes_late_changes_nothing() -> None:
    finality = Finality()
    finality.advance(10, b"ten")
    finality.advance(7, b"seven")
    assert (finality.size, finality.checkpoint) == (10, b"ten")


async def test_those_who_wait_for_growth_leave_nothing_behind_when_they_give_up() -> None:
    finality = Finality()
    for _ in range(3):
        try:
            async with asyncio.timeout(0.01):
                await finality.beyond(5)
        except TimeoutError:
            pass
    assert not finality._beyond
    waiting = asyncio.create_task(finality.beyond(5))
    await asyncio.sleep(0)
    finality.wake()
    assert await waiting == 0

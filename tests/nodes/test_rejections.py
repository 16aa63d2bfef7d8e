"""How fast one participant may have statements rejected. Attacks first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.rejections import PARTICIPANTS_MAX, REJECTIONS_MAX, REJECTIONS_PER_S, WAIT_MAX_S, RejectionLimits
from tests.nodes.world import HandClock

THIEF = "kz/truck/t-1"
START_MS = 1_800_000_000_000


def flood(limits: RejectionLimits, clock: HandClock, seconds: int, a_second: int) -> int:
    """Sends as fast as it is let, and everything is rejected. Returns how many got into the order."""
    ordered = 0
    for _ in range(seconds):
        clock.time_ms += 1000
        for _ in range(a_second):
            if limits.wait_ms(THIEF) == 0:
                limits.begun(THIEF)
                limits.rejected(THIEF, clock.now_ms())
                limits.ended(THIEF)
                ordered += 1
    return ordered


def test_one_that_floods_gets_its_burst_and_then_a_trickle() -> None:
    clock = HandClock(START_MS)
    limits = RejectionLimits(clock)
    assert flood(limits, clock, 60, 1000) <= REJECTIONS_MAX + 60 * REJECTIONS_PER_S
    assert limits.limited() == [THIEF]


def test_what_is_under_way_counts_too_so_a_bucket_is_not_overdrawn_by_a_full_queue() -> None:
    clock = HandClock(START_MS)
    limits = RejectionLimits(clock)
    limits.rejected(THIEF, START_MS)
    let_in = 0
    while limits.wait_ms(THIEF) == 0:
        limits.begun(THIEF)
        let_in += 1
    assert let_in == REJECTIONS_MAX - 1
    limits.ended(THIEF)
    assert limits.wait_ms(THIEF) == 0


def test_whoever_is_accepted_is_never_limited() -> None:
    limits = RejectionLimits(HandClock(START_MS))
    for _ in range(50_000):
        assert limits.wait_ms("kz/gate/g-1") == 0
        limits.begun("kz/gate/g-1")
    for _ in range(50_000):
        limits.ended("kz/gate/g-1")
    assert limits.limited() == []
    assert not limits._under_way


def test_one_does_not_pay_for_another() -> None:
    clock = HandClock(START_MS)
    limits = RejectionLimits(clock)
    flood(limits, clock, 5, 1000)
    assert limits.wait_ms(THIEF) > 0
    assert limits.wait_ms("kz/truck/t-2") == 0


def test_blocks_of_long_ago_executed_now_limit_nobody() -> None:
    """Catching up, a validator executes months in minutes."""
    limits = RejectionLimits(HandClock(START_MS))
    for hour in range(3 * REJECTIONS_MAX):
        limits.rejected(THIEF, START_MS - (4000 - hour) * 3_600_000)
    assert limits.wait_ms(THIEF) == 0


def test_there_is_an_end_to_the_waiting_and_to_the_memory() -> None:
    clock = HandClock(START_MS)
    limits = RejectionLimits(clock)
    for _ in range(100_000):
        limits.rejected(THIEF, START_MS)
    assert limits.wait_ms(THIEF) <= WAIT_MAX_S * 1000
    clock.time_ms += int(WAIT_MAX_S * 1000) + 1000
    assert limits.wait_ms(THIEF) == 0
    for number in range(PARTICIPANTS_MAX + 100):
        limits.rejected(f"kz/truck/{number}", START_MS)
    assert len(limits._buckets) == PARTICIPANTS_MAX


@given(st.lists(st.tuples(st.sampled_from(["rejected", "time"]), st.integers(1, 400)), max_size=60))
def test_the_bucket_is_what_a_count_second_by_second_would_give(steps: list[tuple[str, int]]) -> None:
    clock = HandClock(START_MS)
    limits = RejectionLimits(clock)
    tokens: float | None = None
    for what, number in steps:
        if what == "time":
            clock.time_ms += number * 250
            for _ in range(number):
                tokens = None if tokens is None else min(REJECTIONS_MAX, tokens + REJECTIONS_PER_S / 4)
        else:
            for _ in range(number):
                limits.rejected(THIEF, clock.now_ms())
                floor = -WAIT_MAX_S * REJECTIONS_PER_S
                tokens = max((REJECTIONS_MAX if tokens is None else tokens) - 1, floor)
        assert (limits.wait_ms(THIEF) > 0) == (tokens is not None and tokens < 1)

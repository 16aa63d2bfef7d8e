"""A link does to packets what it says, in the shares that it says."""

from __future__ import annotations

import random

import pytest

from tests.chaos.link import MAX_DELAY_MS, PERFECT, Link, fate

PACKETS = 20_000


def _fates(link: Link, seed: int = 1) -> list[tuple[float, ...]]:
    rng = random.Random(seed)
    return [fate(link, rng) for _ in range(PACKETS)]


def test_a_perfect_link_passes_everything_at_once_and_takes_no_chances() -> None:
    rng = random.Random(1)
    before = rng.getstate()
    assert fate(PERFECT, rng) == (0.0,)
    assert rng.getstate() == before


def test_a_blocked_link_passes_nothing() -> None:
    assert set(_fates(Link(blocked=True, duplicate_percent=100))) == {()}


def test_loss_is_the_share_that_it_says() -> None:
    lost = sum(not copies for copies in _fates(Link(loss_percent=15)))
    assert 0.13 < lost / PACKETS < 0.17


def test_duplicates_are_the_share_that_they_say() -> None:
    doubled = sum(len(copies) == 2 for copies in _fates(Link(duplicate_percent=10)))
    assert 0.08 < doubled / PACKETS < 0.12


def test_delay_stays_within_its_jitter_and_is_never_negative() -> None:
    delays = [copies[0] for copies in _fates(Link(delay_ms=30, jitter_ms=40))]
    assert min(delays) == 0.0
    assert 0.069 < max(delays) <= 0.070


def test_what_is_reordered_goes_at_once() -> None:
    at_once = sum(copies == (0.0,) for copies in _fates(Link(delay_ms=30, reorder_percent=25)))
    assert 0.23 < at_once / PACKETS < 0.27


def test_the_same_seed_gives_the_same_fates() -> None:
    link = Link(delay_ms=10, jitter_ms=5, loss_percent=5, duplicate_percent=5, reorder_percent=5)
    assert _fates(link, 3) == _fates(link, 3)
    assert _fates(link, 3) != _fates(link, 4)


@pytest.mark.parametrize(
    "bad", [{"delay_ms": -1}, {"delay_ms": MAX_DELAY_MS + 1}, {"jitter_ms": -1}, {"loss_percent": 101}]
)
def test_a_link_that_cannot_be_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Link(**bad)  # type: ignore[arg-type]

"""The schedule follows from the seed, shows every kind, and never takes away more than the network can give back."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos.faults import FAULTS, allowed
from tests.chaos.machine import CLOCK, DISK_ERRORS, DISK_FREEZE, DISKS, SWITCH, Ability
from tests.chaos.schedule import rounds

KINDS = [fault.kind for fault in FAULTS.values()]
BY_NAME = {kind.name: kind for kind in KINDS}
NEEDS = (SWITCH, DISKS, DISK_ERRORS, DISK_FREEZE, CLOCK)


def _abilities(*there: str) -> dict[str, Ability]:
    return {name: Ability(name, name in there, "as the test wants it") for name in NEEDS}


def test_the_same_seed_gives_the_same_rounds_and_another_seed_others() -> None:
    first, again, other = (list(islice(rounds(seed, KINDS), 50)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_the_order_in_which_kinds_are_listed_does_not_matter() -> None:
    assert list(islice(rounds(7, KINDS), 50)) == list(islice(rounds(7, KINDS[::-1]), 50))


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_has_its_turn_before_any_has_its_second(seed: int) -> None:
    seen: list[str] = []
    for planned in rounds(seed, KINDS):
        seen += [injection.kind for injection in planned.injections]
        if len(seen) >= len(KINDS):
            break
    assert set(seen) == set(BY_NAME)
    assert len(seen) == len(KINDS)


@pytest.mark.parametrize("seed", range(20))
def test_faults_that_meet_leave_what_the_other_needs(seed: int) -> None:
    for planned in islice(rounds(seed, KINDS), 200):
        kinds = [BY_NAME[injection.kind] for injection in planned.injections]
        if len(kinds) > 1:
            assert not any(kind.exclusive for kind in kinds)
            assert sum(kind.stays_down for kind in kinds) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_a_fault_is_held_as_long_as_its_kind_says(seed: int) -> None:
    for planned in islice(rounds(seed, KINDS), 100):
        for injection in planned.injections:
            shortest, longest = BY_NAME[injection.kind].held_s
            assert shortest <= injection.held_s <= longest
            assert injection.victim in BY_NAME[injection.kind].roles


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no kind of fault"):
        next(rounds(1, []))


def test_what_the_machine_does_not_allow_is_skipped_with_its_reason() -> None:
    possible, skipped = allowed(_abilities(), frozenset())
    assert {fault.kind.name for fault in possible} | set(skipped) == set(FAULTS)
    assert all(fault.needs is None for fault in possible)
    assert set(skipped.values()) == {"as the test wants it"}


def test_where_everything_is_allowed_nothing_is_skipped() -> None:
    possible, skipped = allowed(_abilities(*NEEDS), frozenset())
    assert len(possible) == len(FAULTS)
    assert not skipped


def test_only_what_is_wanted_is_chosen_and_a_typing_error_is_named() -> None:
    possible, _ = allowed(_abilities(*NEEDS), frozenset(("kill", "loss")))
    assert {fault.kind.name for fault in possible} == {"kill", "loss"}
    with pytest.raises(ValueError, match="kil,"):
        allowed(_abilities(), frozenset(("kil,",)))

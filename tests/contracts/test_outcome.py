"""Outcome numbers are for ever."""

from __future__ import annotations

from pathlib import Path

from contracts.outcome import Outcome

GOLDEN = Path(__file__).with_name("outcomes.golden")


def test_no_number_or_name_ever_given_has_changed() -> None:
    golden = dict(line.split() for line in GOLDEN.read_text(encoding="ascii").splitlines())
    assert {str(outcome.value): outcome.fact for outcome in Outcome} == golden


def test_numbers_stand_in_their_blocks_and_in_order() -> None:
    numbers = [outcome.value for outcome in Outcome]
    assert numbers == sorted(set(numbers))
    assert all(number == 0 or number // 100 in (1, 2, 3, 4, 5, 9) for number in numbers)


def test_only_zero_is_accepted() -> None:
    assert [outcome for outcome in Outcome if outcome.accepted] == [Outcome.ACCEPTED]
    assert Outcome.DECLARATION_NOT_RELEASED.fact == "declaration_not_released"

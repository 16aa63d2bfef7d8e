"""Times for people: within the calendar as ISO 8601 has them, and never an exception beyond it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.calendar import time_text

LAST_S = 253_402_300_799  # the last second of the year 9999


@given(st.integers(0, LAST_S))
def test_a_time_within_the_calendar_is_written_as_iso_8601_has_it(at_s: int) -> None:
    assert time_text(at_s) == datetime.fromtimestamp(at_s, UTC).isoformat()


@pytest.mark.parametrize("at_s", [LAST_S + 1, 2**63 - 1, 2**64 - 1, 2**200])
def test_a_time_beyond_the_calendar_is_the_number_that_it_is(at_s: int) -> None:
    assert time_text(at_s) == f"{at_s} s"


def test_a_page_may_have_a_form_of_its_own() -> None:
    assert time_text(1_795_312_800, "%Y-%m-%d %H:%M:%SZ") == "2026-11-22 02:00:00Z"

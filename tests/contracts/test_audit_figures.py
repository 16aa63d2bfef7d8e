"""What an audit counts for people, against sorted lists and the exact figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import audit_figures
from contracts.audit_figures import OTHERS, Figures, Times, bin_ms, bin_of
from contracts.dwell import DAY_MS, nearest_rank
from ledger.audit_chunks import SIGNATURE_VALID, Chunk, Parsed
from ledger.entry import BlockRecord
from tests.ledger.toy import World

WORLD = World()
START_DAY = 20_000
PLAN = {"exit_post": "KZ/BAKHTY@46660000,82750000", "entry_post": "CNBKT", "truck": "kz-kgd/registrar"}


@given(st.integers(0, 10**13))
def test_a_bin_begins_at_most_three_per_cent_below_what_falls_into_it(took_ms: int) -> None:
    begins = bin_ms(bin_of(took_ms))
    assert begins <= took_ms
    assert (took_ms - begins) * 32 <= took_ms


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.sampled_from([50, 95]))
def test_a_percentile_is_that_of_the_sorted_times_to_three_per_cent(values: list[int], percentile: int) -> None:
    times = Times()
    for value in values:
        times.add(value)
    exact = nearest_rank(sorted(values), percentile)
    assert times.percentile_ms(percentile) == bin_ms(bin_of(exact))


def statement(kind: str, sub: str, payload: Mapping[str, Any] | None = None) -> Parsed:
    return WORLD.sign("kz-kgd/registrar", kind, sub, payload or {}), SIGNATURE_VALID


def record(day: int, minute: int = 0) -> BlockRecord:
    return BlockRecord(1, (START_DAY + day) * DAY_MS + minute * 60_000, 1, 0, bytes(32), bytes(32), "kz-kgd-1")


def observed(entries: Sequence[Parsed], skip: int = 0, figures: Figures | None = None) -> Figures:
    figures = figures or Figures()
    for first in range(0, len(entries), 3):
        figures.observe(Chunk(first // 3, 3, list(entries[first : first + 3])), max(0, skip - first))
    return figures


def test_statements_are_counted_on_the_day_of_their_block_by_contract() -> None:
    found = observed(
        [
            statement("registry.enrol", "a"),
            statement("escort.plan", "m", PLAN),
            record(0),
            statement("escort.start", "m"),
            None,
            record(2),
        ]
    )
    assert found.days == {START_DAY: {"registry": 1, "escort": 1}, START_DAY + 2: {"escort": 1}}
    assert found.blocks == {START_DAY: 1, START_DAY + 2: 1}


def test_what_was_audited_before_is_not_counted_again() -> None:
    entries = [statement("registry.enrol", "a"), record(0), statement("registry.enrol", "b"), record(1)]
    assert observed(entries, skip=2).days == {START_DAY + 1: {"registry": 1}}


def test_an_interval_of_a_passage_is_counted_once_whichever_sides_it_is_shown_at() -> None:
    found = observed(
        [
            statement("escort.plan", "m", PLAN),
            record(0),
            statement("escort.reach_border", "m"),
            record(0, 60),
            statement("escort.offer", "m"),
            statement("escort.accept", "m"),
            record(0, 90),
            statement("escort.arrive", "m"),
            record(1, 90),
        ]
    )
    assert found.all_times("border").count == 1
    assert found.all_times("border").percentile_ms(50) == bin_ms(bin_of(30 * 60_000))
    assert found.all_times("approach").percentile_ms(95) == bin_ms(bin_of(DAY_MS))
    assert found.times["approach"].keys() == {START_DAY + 1}


def test_no_log_makes_the_figures_outgrow_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_figures, "MAX_PASSAGES", 5)
    monkeypatch.setattr(audit_figures, "MAX_DAYS", 3)
    monkeypatch.setattr(audit_figures, "MAX_CONTRACTS", 2)
    monkeypatch.setattr(audit_figures, "MAX_BLOCK_STATEMENTS", 4)
    found = observed([each for n in range(9) for each in (statement("escort.plan", f"m{n}", PLAN), record(n))])
    assert found.forgotten == 4
    assert len(found.blocks) == 3
    found = observed([each for name in "abcd" for each in (statement(f"{name}.x", "s"), record(0))])
    assert found.days == {START_DAY: {"a": 1, "b": 1, OTHERS: 2}}
    found = observed([*(statement("a.x", f"{n}") for n in range(20)), record(0)])
    assert found.days == {START_DAY: {"a": 4}}

"""Telemetry batches: one spelling, every field within its limits, and nothing but the signed batch passes for it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.payloads import validate_payload
from contracts.telemetry import (
    MAX_TELEMETRY_BYTES,
    Fix,
    batch_payload,
    check_batch,
    encode_telemetry,
    parse_telemetry,
    summary_of,
)
from ledger.cbor import encode
from ledger.errors import LedgerError, Malformed, Misuse, Untrue

START_MS = 1_790_000_000_000
DRIVE = (
    Fix(START_MS, 46_660_000, 82_750_000, 0),
    Fix(START_MS + 1_000, 46_660_100, 82_750_900, 21_500),
    Fix(START_MS + 61_000, 46_660_200, 82_751_000, None),
)


@st.composite
def drives(draw: st.DrawFn) -> tuple[Fix, ...]:
    steps = draw(st.lists(st.integers(1, 10**7), min_size=1, max_size=20))
    fixes, at_ms = [], draw(st.integers(0, START_MS))
    for step_ms in steps:
        at_ms += step_ms
        fixes.append(
            Fix(
                at_ms,
                draw(st.integers(-90_000_000, 90_000_000)),
                draw(st.integers(-180_000_000, 180_000_000)),
                draw(st.none() | st.integers(0, 100_000)),
            )
        )
    return tuple(fixes)


def slow_summary(fixes: tuple[Fix, ...]) -> dict[str, int | None]:
    """The same, the dumb way."""
    longest, longest_at = 0, fixes[0].at_ms
    for position in range(1, len(fixes)):
        gap = fixes[position].at_ms - fixes[position - 1].at_ms
        if gap > longest:
            longest, longest_at = gap, fixes[position - 1].at_ms
    speeds = [fix.speed_mm_s for fix in fixes if fix.speed_mm_s is not None]
    return {
        "fixes": len(fixes),
        "from_ms": fixes[0].at_ms,
        "until_ms": fixes[-1].at_ms,
        "longest_gap_ms": longest,
        "longest_gap_at_ms": longest_at,
        "top_speed_mm_s": sorted(speeds)[-1] if speeds else None,
    }


@given(drives())
def test_a_batch_comes_back_from_its_bytes_and_its_summary_is_what_counting_gives(fixes: tuple[Fix, ...]) -> None:
    raw = encode_telemetry(fixes)
    assert parse_telemetry(raw) == fixes
    assert summary_of(fixes).as_dict() == slow_summary(fixes)
    signed = batch_payload(raw)
    validate_payload("escort.position", {"batch": signed})
    assert check_batch(raw, signed) == summary_of(fixes)


@given(drives(), st.binary(min_size=1, max_size=4), st.data())
def test_bytes_changed_anywhere_never_pass_for_the_batch(
    fixes: tuple[Fix, ...], noise: bytes, data: st.DataObject
) -> None:
    raw = encode_telemetry(fixes)
    start = data.draw(st.integers(0, len(raw)))
    changed = raw[:start] + noise + raw[start + data.draw(st.integers(0, 4)) :]
    if changed == raw:
        return
    with pytest.raises(LedgerError):
        check_batch(changed, batch_payload(raw))


def test_a_batch_is_spelled_as_the_format_says() -> None:
    raw = encode_telemetry((Fix(1, -2, 3, None),))
    assert raw.hex() == "8201" + "81" + "84" + "01" + "21" + "03" + "f6"


def test_the_longest_possible_batch_is_within_the_limit_in_bytes() -> None:
    last = 253_402_300_799_999
    longest = encode((last, -90_000_000, -180_000_000, 100_000))
    assert 100_000 * len(longest) + len(encode((1, ()))) + 4 <= MAX_TELEMETRY_BYTES


BAD: list[tuple[str, Any, str]] = [
    ("no array", {}, r"expected \[1, fixes\]"),
    ("another format", [2, [[1, 0, 0, 0]]], r"expected \[1, fixes\]"),
    ("true is not one", [True, [[1, 0, 0, 0]]], r"expected \[1, fixes\]"),
    ("no fixes", [1, []], "expected 1 to"),
    ("three values", [1, [[1, 0, 0]]], "expected 4 values"),
    ("a text", [1, [[1, 0, "0", 0]]], "expected integers"),
    ("a boolean", [1, [[1, 0, False, 0]]], "expected integers"),
    ("no time", [1, [[None, 0, 0, 0]]], "expected integers"),
    ("the same time twice", [1, [[1, 0, 0, 0], [1, 0, 0, 0]]], "a time after 1 ms"),
    ("time goes back", [1, [[2, 0, 0, 0], [1, 0, 0, 0]]], "a time after 2 ms"),
    ("before the epoch", [1, [[-1, 0, 0, 0]]], "a time after -1 ms"),
    ("after the calendar", [1, [[253_402_300_800_000, 0, 0, 0]]], "a time after"),
    ("beyond the pole", [1, [[1, 90_000_001, 0, 0]]], "on the earth"),
    ("beyond the date line", [1, [[1, 0, -180_000_001, 0]]], "on the earth"),
    ("backwards", [1, [[1, 0, 0, -1]]], "mm/s"),
    ("too fast", [1, [[1, 0, 0, 100_001]]], "mm/s"),
]


@pytest.mark.parametrize(("what", "value", "why"), BAD, ids=[row[0] for row in BAD])
def test_what_is_no_batch_is_malformed(what: str, value: Any, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_telemetry(encode(value))


def test_a_device_cannot_even_make_a_batch_that_would_be_malformed() -> None:
    with pytest.raises(Misuse):
        encode_telemetry(())
    with pytest.raises(Misuse):
        encode_telemetry((DRIVE[1], DRIVE[0]))


@pytest.mark.parametrize("field", ["fixes", "from_ms", "until_ms"])
def test_a_statement_that_says_otherwise_of_its_own_batch_is_untrue(field: str) -> None:
    raw = encode_telemetry(DRIVE)
    signed = batch_payload(raw)
    lie = signed | {field: int(signed[field]) + 1}
    with pytest.raises(Untrue, match=f"telemetry_{field}_differs"):
        check_batch(raw, lie)


def test_a_batch_that_is_not_the_signed_one_is_named_by_its_hash() -> None:
    raw = encode_telemetry(DRIVE)
    with pytest.raises(Untrue, match=hashlib.sha256(raw).hexdigest()):
        check_batch(raw, batch_payload(encode_telemetry(DRIVE[:2])))
    with pytest.raises(Untrue, match="telemetry_hash_differs"):
        check_batch(raw, {})

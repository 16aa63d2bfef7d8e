"""Telemetry batches: thousands of fixes that one statement signs by their hash.

    batch = [1, [[at_ms, latitude_udeg, longitude_udeg, speed_mm_s], ...]]

Deterministic CBOR, integers only; `speed_mm_s` null where the device does not know it; `at_ms`, the device's clock,
strictly rises. `escort.position` carries the SHA-256 of these bytes, the count, and the first and the last time. The
bytes themselves are kept beside the ledger (`api.attachments`).

Promises: one list of fixes has one spelling. `check_batch` is the whole of what the statement says of the batch, and
`summary_of` what can be reckoned from it again by anybody. Never raises anything but `Malformed` and `Untrue` for bytes
from outside.

Does not: make the device honest about where it was. The hash proves what it said, and that it has not changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import NamedTuple, cast

from contracts.escort_payloads import MAX_BATCH_FIXES, MAX_SPEED_MM_S, MAX_TIME_MS
from contracts.identifiers import MAX_LATITUDE_UDEG, MAX_LONGITUDE_UDEG
from ledger.cbor import decode, encode
from ledger.errors import Malformed, Misuse, Untrue

FORMAT = 1
MAX_FIX_BYTES = 25  # a head, a time of 9 bytes, three numbers of 5
MAX_TELEMETRY_BYTES = MAX_BATCH_FIXES * MAX_FIX_BYTES + 16
_FIELDS = 4


class Fix(NamedTuple):
    """Where a device was, by its own clock."""

    at_ms: int
    latitude_udeg: int
    longitude_udeg: int
    speed_mm_s: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a batch comes to."""

    fixes: int
    from_ms: int
    until_ms: int
    longest_gap_ms: int
    longest_gap_at_ms: int  # when it began; the first fix if there is one fix only
    top_speed_mm_s: int | None

    def as_dict(self) -> dict[str, int | None]:
        return asdict(self)


def encode_telemetry(fixes: Sequence[Fix]) -> bytes:
    """The batch as it is hashed and kept. Misuse for fixes that are none: a device must not sign those."""
    raw = encode((FORMAT, tuple(tuple(fix) for fix in fixes)))
    try:
        _fixes_of([FORMAT, [list(fix) for fix in fixes]])
    except Malformed as error:
        raise Misuse(str(error)) from error
    return raw


def parse_telemetry(raw: bytes) -> tuple[Fix, ...]:
    """The fixes of a batch; Malformed for anything but its one spelling."""
    return _fixes_of(decode(raw, max_bytes=MAX_TELEMETRY_BYTES, max_items=(_FIELDS + 1) * MAX_BATCH_FIXES + 3))


def _fixes_of(value: object) -> tuple[Fix, ...]:
    if not isinstance(value, list) or len(value) != 2 or value[0] != FORMAT or value[0] is True:
        raise Malformed("bad_telemetry", f"expected [{FORMAT}, fixes]")
    rows = value[1]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_BATCH_FIXES:
        raise Malformed("bad_telemetry", f"expected 1 to {MAX_BATCH_FIXES} fixes")
    fixes = []
    before_ms = -1
    for position, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != _FIELDS:
            raise Malformed("bad_telemetry", f"fix {position}: expected {_FIELDS} values")
        at_ms, latitude, longitude, speed = cast(list[int], row)
        # A bool is an int to isinstance, so exact types.
        if not (type(at_ms) is type(latitude) is type(longitude) is int) or type(speed) not in (int, type(None)):
            raise Malformed("bad_telemetry", f"fix {position}: expected integers, and null for a speed not known")
        if not before_ms < at_ms <= MAX_TIME_MS:
            raise Malformed("bad_telemetry", f"fix {position}: expected a time after {before_ms} ms, got {at_ms}")
        if abs(latitude) > MAX_LATITUDE_UDEG or abs(longitude) > MAX_LONGITUDE_UDEG:
            raise Malformed(
                "bad_telemetry", f"fix {position}: expected a place on the earth, got {latitude},{longitude}"
            )
        if speed is not None and not 0 <= speed <= MAX_SPEED_MM_S:
            raise Malformed("bad_telemetry", f"fix {position}: expected 0 to {MAX_SPEED_MM_S} mm/s, got {speed}")
        fixes.append(Fix(at_ms, latitude, longitude, speed))
        before_ms = at_ms
    return tuple(fixes)


def summary_of(fixes: Sequence[Fix]) -> Summary:
    gap_ms, gap_at_ms = max(
        ((after.at_ms - before.at_ms, -before.at_ms) for before, after in pairwise(fixes)),
        default=(0, -fixes[0].at_ms),
    )
    return Summary(
        fixes=len(fixes),
        from_ms=fixes[0].at_ms,
        until_ms=fixes[-1].at_ms,
        longest_gap_ms=gap_ms,
        longest_gap_at_ms=-gap_at_ms,
        top_speed_mm_s=max((fix.speed_mm_s for fix in fixes if fix.speed_mm_s is not None), default=None),
    )


def batch_payload(raw: bytes) -> dict[str, int | bytes]:
    """The map `batch` of `escort.position` for these bytes."""
    summary = summary_of(parse_telemetry(raw))
    return {
        "sha256": hashlib.sha256(raw).digest(),
        "fixes": summary.fixes,
        "from_ms": summary.from_ms,
        "until_ms": summary.until_ms,
    }


def check_batch(raw: bytes, signed: Mapping[str, object]) -> Summary:
    """Raise Untrue unless these bytes are the batch that a statement signed, by hash, count and times."""
    got = hashlib.sha256(raw).digest()
    if got != signed.get("sha256"):
        expected = signed.get("sha256")
        shown = expected.hex() if isinstance(expected, bytes) else repr(expected)
        raise Untrue("telemetry_hash_differs", f"expected a batch of hash {shown}, got {got.hex()}")
    summary = summary_of(parse_telemetry(raw))
    for name, value in (("fixes", summary.fixes), ("from_ms", summary.from_ms), ("until_ms", summary.until_ms)):
        if signed.get(name) != value:
            raise Untrue(
                f"telemetry_{name}_differs", f"{name}: the statement says {signed.get(name)}, the batch {value}"
            )
    return summary

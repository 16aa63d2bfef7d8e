"""How things of the ledger are named in EPCIS: as URIs, and times and places in the notations of their standards."""

from __future__ import annotations

import datetime
from urllib.parse import quote

from contracts.identifiers import parse_place

NAMESPACE = "urn:comity:epcis:"
PREFIX = "comity"
MICRO = 1_000_000
_UNRESERVED = "/-._~:"


def urn(kind: str, name: str) -> str:
    """`urn:comity:<kind>:<name>`; what a URN cannot have (a Chinese character of a plate) is percent-encoded."""
    return f"urn:comity:{kind}:{quote(name, safe=_UNRESERVED)}"


def container(number: str) -> str:
    """A container by its ISO 6346 code (GS1 EPC Tag Data Standard, BIC)."""
    return f"urn:epc:id:bic:{number}"


def position(latitude_udeg: int, longitude_udeg: int) -> str:
    """A `geo` URI (RFC 5870), exactly."""
    return f"geo:{_degrees(latitude_udeg)},{_degrees(longitude_udeg)}"


def place(text: str) -> str:
    """A post with a position by that, one with a UN/LOCODE by name."""
    parsed = parse_place(text)
    if parsed.latitude_udeg is not None and parsed.longitude_udeg is not None:
        return position(parsed.latitude_udeg, parsed.longitude_udeg)
    return urn("place", parsed.code)


def time(unix_ms: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(unix_ms // 1000, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03}Z"


def _degrees(udeg: int) -> str:
    whole, fraction = divmod(abs(udeg), MICRO)
    text = f"{whole}.{fraction:06}".rstrip("0").rstrip(".")
    return f"-{text}" if udeg < 0 else text

"""The kinds of attachment: what statements refer to by SHA-256 and the ledger does not hold.

For both ends: it needs neither grpc nor fastapi.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from api.envelope import MAX_ENVELOPE_BYTES, parse_envelope
from contracts.telemetry import MAX_TELEMETRY_BYTES, parse_telemetry
from ledger.errors import Misuse

HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of attachment: its media type, how large one may be, what form it must have."""

    name: str
    media_type: str
    max_bytes: int
    check: Callable[[bytes], object]
    roles: frozenset[str]  # one of these may send it


TELEMETRY = Kind(
    "telemetry",
    "application/comity.telemetry.v1+cbor",
    MAX_TELEMETRY_BYTES,
    parse_telemetry,
    frozenset({"truck", "eseal", "terminal", "customs.officer", "customs.system"}),
)
ENVELOPE = Kind(
    "envelope",
    "application/comity.envelope.v1+cbor",
    MAX_ENVELOPE_BYTES,
    parse_envelope,
    frozenset({"declarant", "customs.officer", "customs.system"}),
)
KINDS = {kind.name: kind for kind in (TELEMETRY, ENVELOPE)}
KIND_OF_MEDIA_TYPE = {kind.media_type: kind for kind in KINDS.values()}


def kind_of(media_type: str) -> Kind:
    """The kind that a media type names."""
    kind = KIND_OF_MEDIA_TYPE.get(media_type)
    if kind is None:
        raise Misuse(f"expected {' or '.join(KIND_OF_MEDIA_TYPE)}, got {media_type[:80]!r}")
    return kind


def references_of(kind: str, payload: object) -> dict[bytes, Kind]:
    """What a statement refers to by hash: its telemetry batch, the envelope of its content."""
    if not isinstance(payload, dict):
        return {}
    if kind == "escort.position":
        found, holder, name = TELEMETRY, payload.get("batch"), "sha256"
    elif kind.startswith("declaration."):
        found, holder, name = ENVELOPE, payload.get("content"), "envelope_sha256"
    else:
        return {}
    digest = holder.get(name) if isinstance(holder, dict) else None
    return {digest: found} if isinstance(digest, bytes) and len(digest) == HASH_BYTES else {}

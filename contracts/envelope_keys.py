"""The keys to which envelopes are sealed: one X25519 key of each authority at a time, the earlier ones kept.

An authority's registrar publishes them (`registry.publish_envelope_key`). They are of no use for signing, and change
nothing that the contracts decide: they are on the ledger so that a declarant knows, with a proof and not from whoever
runs the gateway, to which key the other side's copy must be sealed.

A key once published stays in the record, with the time at which the next one came: an envelope names the key it was
sealed to, and the authority that kept the private part can still open it. Only the last `MAX_KEPT_KEYS` are kept; the
log has them all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, cast

from contracts.working import Working, encode_record, record_fields

TAG = "envelope_keys.v1"
X25519_KEY_BYTES = 32
MAX_KEPT_KEYS = 16


@dataclass(frozen=True, slots=True)
class EnvelopeKey:
    """`until_ms` is None for the one that envelopes are sealed to now."""

    public: bytes
    since_ms: int
    until_ms: int | None
    by: str
    statement: bytes

    @property
    def kid(self) -> bytes:
        return envelope_kid(self.public)


@dataclass(frozen=True, slots=True)
class EnvelopeKeys:
    """The keys of one authority, the current one last."""

    authority: str
    keys: tuple[EnvelopeKey, ...] = ()

    @property
    def current(self) -> EnvelopeKey | None:
        return self.keys[-1] if self.keys else None

    def published(self, public: bytes, time_ms: int, by: str, statement: bytes) -> EnvelopeKeys:
        """With a new current key."""
        kept = [
            EnvelopeKey(
                key.public, key.since_ms, time_ms if key.until_ms is None else key.until_ms, key.by, key.statement
            )
            for key in self.keys[-(MAX_KEPT_KEYS - 1) :]
        ]
        return EnvelopeKeys(self.authority, (*kept, EnvelopeKey(public, time_ms, None, by, statement)))

    def encode(self) -> bytes:
        rows = tuple((key.public, key.since_ms, key.until_ms, key.by, key.statement) for key in self.keys)
        return encode_record(TAG, (self.authority, rows))


def envelope_kid(public: bytes) -> bytes:
    """How an envelope names the key that a copy is sealed to."""
    return hashlib.sha256(public).digest()


def envelope_keys_key(authority: str) -> str:
    return f"envelope_keys/{authority}"


def decode_envelope_keys(raw: bytes) -> EnvelopeKeys:
    authority, rows = cast(Any, record_fields(TAG, raw, 2))
    return EnvelopeKeys(authority, tuple(EnvelopeKey(*row) for row in rows))


def load_envelope_keys(working: Working, authority: str) -> EnvelopeKeys | None:
    return working.record(envelope_keys_key(authority), EnvelopeKeys, decode_envelope_keys)


def envelope_keys_view(record: EnvelopeKeys) -> dict[str, Any]:
    return {
        "authority": record.authority,
        "keys": [
            {
                "kid": key.kid.hex(),
                "public": key.public.hex(),
                "since_ms": key.since_ms,
                "until_ms": key.until_ms,
                "by": key.by,
                "statement": key.statement.hex(),
            }
            for key in record.keys
        ],
    }

"""Payloads of `registry.*`. The subject is the participant's id."""

from __future__ import annotations

from contracts.envelope_keys import X25519_KEY_BYTES
from contracts.machine import ROLES
from contracts.schema import Field, Schema, choice, integer, list_of, octets, sha256, text

MAX_COSE_KEY_BYTES = 4096
MAX_TIME_MS = 253_402_300_799_999
MAX_OVERLAP_S = 90 * 86_400

_KEY = Field("key", octets(1, MAX_COSE_KEY_BYTES), meaning="the public key, a canonical COSE_Key")
_KID = Field("kid", sha256(), meaning="thumbprint of the key")
_ROLES = Field("roles", list_of(choice(*ROLES), 1, len(ROLES), unique=True))
_VALIDITY = (
    Field("valid_from_ms", integer(0, MAX_TIME_MS), False, "block time from which the key counts; now if left out"),
    Field("valid_until_ms", integer(0, MAX_TIME_MS), False, "block time from which it no longer does"),
)
_REASON = Field("reason", text())

SCHEMAS: dict[str, Schema] = {
    "enrol": Schema(
        (
            _KEY,
            _ROLES,
            *_VALIDITY,
            Field("description", text(), False, "what or who it is"),
        ),
        meaning="A registrar enrols a participant of its own authority, with a first key.",
    ),
    "rotate": Schema(
        (
            _KEY,
            *_VALIDITY,
            Field("replaces", sha256(), False, "thumbprint of the key that ends"),
            Field("overlap_s", integer(0, MAX_OVERLAP_S), False, "for how long the replaced key still counts; 0"),
        ),
        meaning="A registrar adds a key to a participant, in the place of another or beside it.",
    ),
    "change_roles": Schema(
        (_ROLES, _REASON), meaning="A registrar gives a participant other roles, in the place of those it has."
    ),
    "suspend_all": Schema(
        (_REASON,), meaning="A registrar stops every key of a participant from counting, for a time."
    ),
    "revoke_all": Schema((_REASON,), meaning="A registrar ends every key of a participant for good."),
    "suspend": Schema((_KID, _REASON), meaning="A registrar stops a key from counting, for a time."),
    "resume": Schema((_KID, _REASON), meaning="A registrar lets a suspended key count again."),
    "revoke": Schema((_KID, _REASON), meaning="A registrar ends a key for good."),
    "publish_envelope_key": Schema(
        (
            Field("authority", text(64), meaning="name of the authority whose key it is"),
            Field("key", octets(X25519_KEY_BYTES, X25519_KEY_BYTES), meaning="the public key, X25519"),
        ),
        meaning="A registrar says to which key envelopes for its authority are sealed from now on.",
    ),
}

"""The contract `registry`: who may sign, with which key, in which roles, and by whose word.

A participant is enrolled by the registrar of one authority and belongs to it. It has roles and keys; a key has a window
of validity and a state: active, suspended, revoked. A key counts at the position in the ledger at which it is used:
revoking it undoes nothing signed before and lets nothing pass after. A key belongs to one participant for ever: the
index `key/<kid>` is never removed, so that a revoked key cannot come back under another name.

The first segment of a participant id is the name of its authority or its country in lower case, so that no registrar
can take a name on the other side. The last key by which an authority's registrar can act is neither suspended nor
revoked here, nor is that registrar's role taken from it: nobody could undo it.

A participant as a whole is stopped in one statement, whatever keys it has: `suspend_all`, for what is looked into, and
`revoke_all`, for what is lost or dismissed. It comes back key by key: each suspended key is resumed by name, and who
was revoked gets a new key by `rotate`. Roles are replaced as a whole (`change_roles`); what was signed before stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from contracts.amending import amender
from contracts.envelope_keys import EnvelopeKeys, envelope_keys_key, load_envelope_keys
from contracts.identifiers import ParticipantId, parse_participant_id
from contracts.machine import (
    ABSENT,
    REGISTRAR,
    Context,
    Contract,
    Machine,
    RecordType,
    Subject,
    Transition,
    Transitions,
    Who,
    refuses,
)
from contracts.outcome import Outcome
from contracts.registry_payloads import SCHEMAS
from contracts.views import participant_view
from contracts.working import StateView, Working, encode_record, record_fields
from ledger.algorithms import PublicKey
from ledger.errors import Malformed

MAX_KEYS = 8
PARTICIPANT_TAG = "participant.v1"
AUTHORITY_TAG = "authority.v1"

ACTIVE = "active"
SUSPENDED = "suspended"
REVOKED = "revoked"
ENROLLED = "enrolled"


@dataclass(frozen=True, slots=True)
class Key:
    """`since_ms`, `by` and `statement` tell of the last change of state; a statement of None is the genesis."""

    kid: bytes
    alg: int
    cose_key: bytes
    valid_from_ms: int
    valid_until_ms: int | None
    state: str
    since_ms: int
    by: str
    statement: bytes | None

    def expired(self, time_ms: int) -> bool:
        return self.valid_until_ms is not None and time_ms >= self.valid_until_ms

    def usable(self, time_ms: int) -> bool:
        return self.state == ACTIVE and time_ms >= self.valid_from_ms and not self.expired(time_ms)


@dataclass(frozen=True, slots=True)
class Participant:
    id: str
    authority: str
    country: str
    roles: tuple[str, ...]
    enrolled_by: str
    enrolled_ms: int
    statement: bytes | None
    description: str
    keys: tuple[Key, ...]
    flagged: int = 0

    def key(self, kid: bytes) -> Key | None:
        for key in self.keys:
            if key.kid == kid:
                return key
        return None

    def amended(self, **changes: Any) -> Participant:
        return _amend(self, changes)

    def encode(self) -> bytes:
        keys = tuple(
            (
                k.kid,
                k.alg,
                k.cose_key,
                k.valid_from_ms,
                k.valid_until_ms,
                k.state,
                k.since_ms,
                k.by,
                k.statement,
            )
            for k in self.keys
        )
        return encode_record(
            PARTICIPANT_TAG,
            (
                self.id,
                self.authority,
                self.country,
                self.roles,
                self.enrolled_by,
                self.enrolled_ms,
                self.statement,
                self.description,
                keys,
                self.flagged,
            ),
        )


_amend = amender(Participant)


def decode_participant(raw: bytes) -> Participant:
    fields = cast(Any, record_fields(PARTICIPANT_TAG, raw, 10))
    fields[3] = tuple(fields[3])
    fields[8] = tuple(Key(*key) for key in fields[8])
    return Participant(*fields)


@dataclass(frozen=True, slots=True)
class AuthorityRecord:
    """An authority as the genesis names it."""

    name: str
    country: str
    registrar: str
    log_key: bytes
    ca_sha256: bytes

    def encode(self) -> bytes:
        return encode_record(AUTHORITY_TAG, (self.name, self.country, self.registrar, self.log_key, self.ca_sha256))


def decode_authority(raw: bytes) -> AuthorityRecord:
    return AuthorityRecord(*cast(Any, record_fields(AUTHORITY_TAG, raw, 5)))


def participant_key(participant_id: str) -> str:
    return f"registry/{participant_id}"


def authority_key(name: str) -> str:
    return f"authority/{name}"


def key_index_key(kid: bytes) -> str:
    return f"key/{kid.hex()}"


def load_participant(working: Working, participant_id: str) -> Participant | None:
    return working.record(participant_key(participant_id), Participant, decode_participant)


def load_authority(working: Working, name: str) -> AuthorityRecord | None:
    return working.record(authority_key(name), AuthorityRecord, decode_authority)


def lookup(state: StateView, participant_id: str) -> Participant | None:
    """The participant as the state knows it now: for a gateway that must know who asks."""
    return load_participant(Working(state), participant_id)


def key_refusal(key: Key | None, time_ms: int) -> Outcome | None:
    """Why a key does not count at `time_ms`, in the fixed order; None if it does."""
    if key is None:
        return Outcome.KEY_UNKNOWN
    if time_ms < key.valid_from_ms:
        return Outcome.KEY_NOT_YET_VALID
    if key.state == SUSPENDED:
        return Outcome.KEY_SUSPENDED
    if key.state == REVOKED:
        return Outcome.KEY_REVOKED
    if key.expired(time_ms):
        return Outcome.KEY_EXPIRED
    return None


def own_authority(ctx: Context) -> bool:
    """The participant is, or will be, one of the registrar's own authority."""
    return ctx.record is None or ctx.record.authority == ctx.issuer.authority


@refuses(Outcome.PARTICIPANT_ID_OF_OTHER_AUTHORITY)
def namespace_is_own(ctx: Context) -> Outcome | None:
    """The first part of the new id is the registrar's authority or its country."""
    namespace = ParticipantId(ctx.statement.sub).namespace
    if namespace in (ctx.issuer.authority, ctx.issuer.country.lower()):
        return None
    return Outcome.PARTICIPANT_ID_OF_OTHER_AUTHORITY


@refuses(Outcome.KEY_MALFORMED)
def key_is_well_formed(ctx: Context) -> Outcome | None:
    """The key is a canonical COSE_Key of a suite that the ledger has."""
    try:
        PublicKey.from_cose_key(ctx.payload["key"])
    except Malformed:
        return Outcome.KEY_MALFORMED
    return None


@refuses(Outcome.KEY_ALREADY_ENROLLED)
def key_is_new(ctx: Context) -> Outcome | None:
    """The key was never enrolled before, for anybody."""
    kid = PublicKey.from_cose_key(ctx.payload["key"]).kid
    return Outcome.KEY_ALREADY_ENROLLED if ctx.working.row(key_index_key(kid)) is not None else None


@refuses(Outcome.KEY_VALIDITY_EMPTY)
def validity_is_not_empty(ctx: Context) -> Outcome | None:
    """The key ends after it begins, and has not ended already."""
    until_ms = ctx.payload.get("valid_until_ms")
    if until_ms is None or until_ms > max(ctx.payload.get("valid_from_ms", ctx.time_ms), ctx.time_ms):
        return None
    return Outcome.KEY_VALIDITY_EMPTY


@refuses(Outcome.KEY_NOT_OF_PARTICIPANT)
def replaced_key_is_its_own(ctx: Context) -> Outcome | None:
    """The key that is replaced is one of the participant's."""
    kid = ctx.payload.get("replaces")
    return Outcome.KEY_NOT_OF_PARTICIPANT if kid is not None and ctx.record.key(kid) is None else None


@refuses(Outcome.KEY_LIMIT_REACHED)
def a_key_can_be_added(ctx: Context) -> Outcome | None:
    """The participant has fewer standing keys than the limit."""
    standing = [key for key in ctx.record.keys if key.state != REVOKED and not key.expired(ctx.time_ms)]
    return Outcome.KEY_LIMIT_REACHED if len(standing) >= MAX_KEYS else None


@refuses(Outcome.LAST_REGISTRAR_KEY)
def a_registrar_key_is_left(ctx: Context) -> Outcome | None:
    """The authority's own registrar keeps a key that does not end.

    Another registrar's would not do: it could be revoked at any time.
    """
    authority = load_authority(ctx.working, ctx.record.authority)
    if authority is None or authority.registrar != ctx.record.id:
        return None
    left = [k for k in ctx.record.keys if k.kid != ctx.payload["kid"] and k.usable(ctx.time_ms)]
    return None if any(k.valid_until_ms is None for k in left) else Outcome.LAST_REGISTRAR_KEY


@refuses(Outcome.LAST_REGISTRAR_KEY)
def the_registrar_keeps_a_key(ctx: Context) -> Outcome | None:
    """A rotation may not end the last key before the new one holds."""
    replaced = ctx.payload.get("replaces")
    authority = load_authority(ctx.working, ctx.record.authority)
    if replaced is None or authority is None or authority.registrar != ctx.record.id:
        return None
    overlap_until_ms = ctx.time_ms + ctx.payload.get("overlap_s", 0) * 1000
    starts_in_time = ctx.payload.get("valid_from_ms", ctx.time_ms) <= overlap_until_ms
    lasts = ctx.payload.get("valid_until_ms") is None
    return None if starts_in_time and lasts else Outcome.LAST_REGISTRAR_KEY


@refuses(Outcome.ENVELOPE_KEY_NOT_OF_AUTHORITY)
def authority_is_its_own(ctx: Context) -> Outcome | None:
    """The authority named is the registrar's own, and the subject the registrar that the genesis names for it."""
    authority = load_authority(ctx.working, ctx.payload["authority"])
    own = authority is not None and authority.name == ctx.issuer.authority and authority.registrar == ctx.record.id
    return None if own else Outcome.ENVELOPE_KEY_NOT_OF_AUTHORITY


@refuses(Outcome.ENVELOPE_KEY_ALREADY_PUBLISHED)
def envelope_key_is_new(ctx: Context) -> Outcome | None:
    """The authority has not had this key before."""
    before = load_envelope_keys(ctx.working, ctx.payload["authority"])
    known = before is not None and any(key.public == ctx.payload["key"] for key in before.keys)
    return Outcome.ENVELOPE_KEY_ALREADY_PUBLISHED if known else None


@refuses(Outcome.LAST_REGISTRAR_KEY)
def it_is_not_the_authoritys_registrar(ctx: Context) -> Outcome | None:
    """The registrar that the authority's own record names goes on: it could let nobody in again, itself included."""
    authority = load_authority(ctx.working, ctx.record.authority)
    its_own = authority is not None and authority.registrar == ctx.record.id
    return Outcome.LAST_REGISTRAR_KEY if its_own else None


@refuses(Outcome.LAST_REGISTRAR_KEY)
def the_registrar_keeps_its_role(ctx: Context) -> Outcome | None:
    """Whatever else it may do, the authority's own registrar stays one."""
    return None if REGISTRAR in ctx.payload["roles"] else it_is_not_the_authoritys_registrar(ctx)


@refuses(Outcome.REGISTRAR_KEY_IS_GOVERNED)
def it_is_not_governed(ctx: Context) -> Outcome | None:
    """The participant is not the registrar that an authority's own record names, or nothing is governed here.

    Whoever stole that registrar's key could otherwise put its own in the place of it before anybody noticed.
    """
    if ctx.working.row("governed") is None:
        return None
    authority = load_authority(ctx.working, ctx.record.authority)
    its_own = authority is not None and authority.registrar == ctx.record.id
    return Outcome.REGISTRAR_KEY_IS_GOVERNED if its_own else None


@refuses(Outcome.REGISTRY_TRANSITION_NOT_ALLOWED)
def a_key_can_be_suspended(ctx: Context) -> Outcome | None:
    """At least one key is active."""
    any_left = any(key.state == ACTIVE for key in ctx.record.keys)
    return None if any_left else Outcome.REGISTRY_TRANSITION_NOT_ALLOWED


@refuses(Outcome.REGISTRY_TRANSITION_NOT_ALLOWED)
def a_key_can_be_revoked(ctx: Context) -> Outcome | None:
    """At least one key is not revoked yet."""
    any_left = any(key.state != REVOKED for key in ctx.record.keys)
    return None if any_left else Outcome.REGISTRY_TRANSITION_NOT_ALLOWED


def _new_key(ctx: Context) -> Key:
    public = PublicKey.from_cose_key(ctx.payload["key"])
    return Key(
        kid=public.kid,
        alg=public.alg,
        cose_key=public.cose_key,
        valid_from_ms=ctx.payload.get("valid_from_ms", ctx.time_ms),
        valid_until_ms=ctx.payload.get("valid_until_ms"),
        state=ACTIVE,
        since_ms=ctx.time_ms,
        by=ctx.issuer.id,
        statement=ctx.statement.id,
    )


def enrol(ctx: Context) -> Participant:
    key = _new_key(ctx)
    ctx.working.put(key_index_key(key.kid), (ctx.statement.sub,))
    return Participant(
        id=ctx.statement.sub,
        authority=ctx.issuer.authority,
        country=ctx.issuer.country,
        roles=tuple(sorted(ctx.payload["roles"])),
        enrolled_by=ctx.issuer.id,
        enrolled_ms=ctx.time_ms,
        statement=ctx.statement.id,
        description=ctx.payload.get("description", ""),
        keys=(key,),
    )


def rotate(ctx: Context) -> Participant:
    """Add a key; the one it replaces holds for the overlap. Keys that ended make room, the oldest first."""
    record: Participant = ctx.record
    key = _new_key(ctx)
    ctx.working.put(key_index_key(key.kid), (record.id,))
    end_ms = ctx.time_ms + ctx.payload.get("overlap_s", 0) * 1000
    keys = []
    for old in record.keys:
        if old.kid == ctx.payload.get("replaces") and (old.valid_until_ms is None or old.valid_until_ms > end_ms):
            old = replace(old, valid_until_ms=end_ms)
        keys.append(old)
    while len(keys) >= MAX_KEYS:
        ended = next(k for k in keys if k.state == REVOKED or k.expired(ctx.time_ms))
        keys.remove(ended)
    return replace(record, keys=(*keys, key))


def change_roles(ctx: Context) -> Participant:
    return replace(cast(Participant, ctx.record), roles=tuple(sorted(ctx.payload["roles"])))


def _keys_changed(ctx: Context, state: str, changes: Callable[[Key], bool]) -> Participant:
    changed = {"state": state, "since_ms": ctx.time_ms, "by": ctx.issuer.id, "statement": ctx.statement.id}
    keys = tuple(replace(key, **changed) if changes(key) else key for key in ctx.record.keys)
    return replace(cast(Participant, ctx.record), keys=keys)


def _key_state(ctx: Context, state: str) -> Participant:
    return _keys_changed(ctx, state, lambda key: key.kid == ctx.payload["kid"])


def suspend_all(ctx: Context) -> Participant:
    return _keys_changed(ctx, SUSPENDED, lambda key: key.state == ACTIVE)


def revoke_all(ctx: Context) -> Participant:
    return _keys_changed(ctx, REVOKED, lambda key: key.state != REVOKED)


def suspend(ctx: Context) -> Participant:
    return _key_state(ctx, SUSPENDED)


def resume(ctx: Context) -> Participant:
    return _key_state(ctx, ACTIVE)


def revoke(ctx: Context) -> Participant:
    return _key_state(ctx, REVOKED)


def publish_envelope_key(ctx: Context) -> Participant:
    """Beside the participant, whose record stays as it is: the keys are the authority's."""
    name = ctx.payload["authority"]
    before = load_envelope_keys(ctx.working, name) or EnvelopeKeys(name)
    after = before.published(ctx.payload["key"], ctx.time_ms, ctx.issuer.id, ctx.statement.id)
    ctx.working.put(envelope_keys_key(name), after)
    return cast(Participant, ctx.record)


_REGISTRAR = (Who(REGISTRAR, own_authority),)

PARTICIPANT_TRANSITIONS: Transitions = {
    (ABSENT, "enrol"): Transition(
        _REGISTRAR, enrol, (ENROLLED,), (namespace_is_own, key_is_well_formed, key_is_new, validity_is_not_empty)
    ),
    (ENROLLED, "rotate"): Transition(
        _REGISTRAR,
        rotate,
        (ENROLLED,),
        (
            key_is_well_formed,
            key_is_new,
            validity_is_not_empty,
            replaced_key_is_its_own,
            a_key_can_be_added,
            the_registrar_keeps_a_key,
        ),
    ),
    (ENROLLED, "publish_envelope_key"): Transition(
        _REGISTRAR, publish_envelope_key, (ENROLLED,), (authority_is_its_own, envelope_key_is_new)
    ),
    (ENROLLED, "change_roles"): Transition(_REGISTRAR, change_roles, (ENROLLED,), (the_registrar_keeps_its_role,)),
    (ENROLLED, "suspend_all"): Transition(
        _REGISTRAR, suspend_all, (ENROLLED,), (it_is_not_the_authoritys_registrar, a_key_can_be_suspended)
    ),
    (ENROLLED, "revoke_all"): Transition(
        _REGISTRAR, revoke_all, (ENROLLED,), (it_is_not_the_authoritys_registrar, a_key_can_be_revoked)
    ),
}

KEY_TRANSITIONS: Transitions = {
    (ACTIVE, "suspend"): Transition(_REGISTRAR, suspend, (SUSPENDED,), (a_registrar_key_is_left,)),
    (SUSPENDED, "resume"): Transition(_REGISTRAR, resume, (ACTIVE,)),
    (ACTIVE, "revoke"): Transition(_REGISTRAR, revoke, (REVOKED,), (a_registrar_key_is_left,)),
    (SUSPENDED, "revoke"): Transition(_REGISTRAR, revoke, (REVOKED,)),
}


def _participant_state(record: Participant, payload: Mapping[str, Any]) -> str | Outcome:
    return ENROLLED


def _key_state_of(record: Participant, payload: Mapping[str, Any]) -> str | Outcome:
    key = record.key(payload["kid"])
    return Outcome.KEY_NOT_OF_PARTICIPANT if key is None else key.state


def _registry(version: int, participants: Transitions) -> Contract:
    """The contract in one version: they differ in the rows of a participant."""
    return Contract(
        name="registry",
        version=version,
        title="Who may sign, with which key, in which roles",
        subject=Subject(parse_participant_id, "participant id"),
        record=RecordType(
            Participant,
            participant_key,
            decode_participant,
            load_participant,
            participant_view,
            lambda participant: frozenset((participant.id,)),
        ),
        machines=(
            Machine(
                "participant",
                participants,
                _participant_state,
                Outcome.REGISTRY_TRANSITION_NOT_ALLOWED,
                {ENROLLED: "known to the ledger, with at least one key"},
            ),
            Machine(
                "key",
                KEY_TRANSITIONS,
                _key_state_of,
                Outcome.REGISTRY_TRANSITION_NOT_ALLOWED,
                {
                    ACTIVE: "counts, within its window of validity; what it signs is considered",
                    SUSPENDED: "does not count until it is resumed",
                    REVOKED: "does not count any more; what it signed before stays",
                },
                ends=(REVOKED,),
                begins=(ACTIVE,),  # enrolment and rotation bring it in
                no_state=(Outcome.KEY_NOT_OF_PARTICIPANT,),
            ),
        ),
        schemas=SCHEMAS,
        unknown=Outcome.PARTICIPANT_UNKNOWN,
        exists=Outcome.PARTICIPANT_ALREADY_ENROLLED,
        outcomes=range(130, 150),
    )


# As version 1, but that both authorities decide about the key of the registrar that an authority's record names.
_ROTATE = PARTICIPANT_TRANSITIONS[(ENROLLED, "rotate")]
PARTICIPANT_TRANSITIONS_2: Transitions = PARTICIPANT_TRANSITIONS | {
    (ENROLLED, "rotate"): replace(_ROTATE, guards=(it_is_not_governed, *_ROTATE.guards))
}

REGISTRY = _registry(1, PARTICIPANT_TRANSITIONS)
REGISTRY_2 = _registry(2, PARTICIPANT_TRANSITIONS_2)

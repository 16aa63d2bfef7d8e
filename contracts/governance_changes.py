"""What can be governed: for each kind of change what it is about, what it replaces, when it may not be, what it does.

A change names what it replaces (`from`). It is refused where that is not what is in force, or where another approved
change of the same topic waits for its height: whoever approves is never surprised by what was there before. What a
change does when its height is reached cannot fail: everything that could stand in its way was looked at, and reserved,
when it was approved.

What these rules know of parameters, of the text of a membership change, of keys and of places is part of this version
of `governance`: a release that adds a parameter, moves a limit, or takes what the one before refused, brings a new
version of it, or two releases would disagree about a proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from contracts.governance_record import (
    CONTRACT_LIST,
    Change,
    authorities,
    load_proposal,
    network_hash,
    now_key,
    pending_key,
)
from contracts.legal_basis import legal_basis_date, legal_basis_key, put_legal_basis
from contracts.machine import Context
from contracts.outcome import Outcome
from contracts.parameters import (
    PARAMETERS,
    check_parameter,
    contradiction,
    decode_parameter,
    encode_parameter,
    parameter_key,
)
from contracts.registry import (
    ACTIVE,
    MAX_KEYS,
    REVOKED,
    Key,
    Participant,
    authority_key,
    key_index_key,
    load_authority,
    load_participant,
    participant_key,
)
from contracts.working import Working
from ledger.algorithms import EDDSA, PublicKey
from ledger.cbor import encode
from ledger.errors import Malformed, Misuse
from ledger.membership import parse_change

Fields = Mapping[str, Any]

# What no two authorities may have in common: the kind of change, and the field that brings it.
_OF_ONE_AUTHORITY = {"registrar_key": "key", "log_key": "to", "ca": "to"}


@dataclass(frozen=True, slots=True)
class Effect:
    """A change whose height is reached."""

    working: Working
    proposal: str
    statement: bytes  # that proposed it
    by: str
    time_ms: int
    height: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of change. `refusal` looks at the change alone and at what is in force; it does not write."""

    fields: tuple[str, ...]
    topic: Callable[[Fields], str]
    refusal: Callable[[Context, Fields], Outcome | None]
    effect: Callable[[Effect, Fields], None]


def change_of(entry: Mapping[str, Any]) -> Change:
    """A change as a record holds it, from the payload's."""
    kind = next(iter(entry))
    return (kind, *(entry[kind].get(name) for name in KINDS[kind].fields))


def fields_of(change: Change) -> Fields:
    return dict(zip(KINDS[str(change[0])].fields, change[1:], strict=True))


def kind_of(change: Change) -> Kind:
    return KINDS[str(change[0])]


def topic_of(change: Change) -> str:
    return kind_of(change).topic(fields_of(change))


def topics_of(changes: Iterable[Change]) -> tuple[str, ...]:
    return tuple(topic_of(change) for change in changes)


def changes_refusal(ctx: Context, changes: tuple[Change, ...]) -> Outcome | None:
    """Why these changes may not be proposed or approved now; None if they may."""
    topics = topics_of(changes)
    if len(set(topics)) != len(topics):
        return Outcome.CHANGE_TWICE
    if any(ctx.working.row(pending_key(topic)) is not None for topic in topics):
        return Outcome.CHANGE_PENDING
    for change in changes:
        refusal = kind_of(change).refusal(ctx, fields_of(change))
        if refusal is not None:
            return refusal
    if _one_key_for_two(ctx.working, changes):
        return Outcome.GOVERNED_KEY_TAKEN
    return _contradiction(ctx.working, changes)


def _waiting(working: Working, topic: str) -> Change | None:
    """The approved change of a topic that waits for its height."""
    row = working.row(pending_key(topic))
    proposal = None if row is None else load_proposal(working, str(row[0]))
    changes = () if proposal is None else proposal.changes
    return next((change for change in changes if topic_of(change) == topic), None)


def _one_key_for_two(working: Working, changes: tuple[Change, ...]) -> bool:
    """Whether two authorities would come to have the same key, or CA, by these changes and those that wait.

    What each has now, the refusal of the kind has compared.
    """
    for kind, field in _OF_ONE_AUTHORITY.items():
        waiting = (_waiting(working, f"{kind}/{name}") for name in authorities(working))
        given = [fields_of(each)[field] for each in (*changes, *waiting) if each is not None and each[0] == kind]
        if len(set(given)) != len(given):
            return True
    return False


def _contradiction(working: Working, changes: tuple[Change, ...]) -> Outcome | None:
    """The parameters that go together: with these, both as the others are now and as they will be with all that waits.

    What waits has a height of its own, and may be taken back before it. What contradicts itself since the genesis
    record stands in the way of nothing else.
    """
    new = {change[1]: _plain(change[3]) for change in changes if change[0] == "parameter"}
    concerned = False

    def now(name: str) -> int | str:
        nonlocal concerned
        concerned = concerned or name in new
        return new[name] if name in new else _parameter(working, name)

    def later(name: str) -> int | str:
        waiting = None if name in new else _waiting(working, f"parameter/{name}")
        return now(name) if waiting is None else _plain(waiting[3])

    wrong = contradiction(now) or contradiction(later)
    return Outcome.PARAMETERS_CONTRADICT if wrong and concerned else None


# Parameters.


def _plain(value: object) -> int | str:
    if not isinstance(value, int | str):
        raise TypeError(f"parameter value: expected an integer or text, got {type(value).__name__}")
    return value


def _parameter(working: Working, name: str) -> int | str:
    row = working.row(parameter_key(name))
    return PARAMETERS[name].default if row is None else decode_parameter(encode(row))


def _parameter_refusal(ctx: Context, change: Fields) -> Outcome | None:
    name = change["name"]
    if name not in PARAMETERS or not _has_a_use(ctx.working, name):
        return Outcome.PARAMETER_UNKNOWN
    try:
        check_parameter(name, change["to"])
    except Misuse:
        return Outcome.PARAMETER_OUT_OF_LIMITS
    return _replaces(_parameter(ctx.working, name), change)


def _has_a_use(working: Working, name: str) -> bool:
    """Whether the version of the contract that a parameter came with is in force: before that nobody knows its name."""
    since = PARAMETERS[name].since
    return since is None or contract_version(working, since[0]) >= since[1]


def _parameter_effect(effect: Effect, change: Fields) -> None:
    effect.working.put(parameter_key(change["name"]), parameter_row(_plain(change["to"])))


def parameter_row(value: int | str) -> tuple[int | str, ...]:
    """The record of a parameter as a row: `encode_parameter` spells the same bytes."""
    row: tuple[int | str, ...] = (1, value)
    if encode(row) != encode_parameter(value):
        raise TypeError("the record of a parameter is not spelled as a row")
    return row


def _replaces(present: object, change: Fields) -> Outcome | None:
    if change["from"] != present or type(change["from"]) is not type(present):
        return Outcome.CHANGE_SUPERSEDED
    return Outcome.CHANGE_WITHOUT_EFFECT if change["to"] == present else None


# Contracts.


def contract_version(working: Working, name: str) -> int:
    """The version in force; 0 if the contract is not in this network."""
    row = working.row(f"contract/{name}")
    return 0 if row is None else int(row[0])


def _contract_refusal(ctx: Context, change: Fields) -> Outcome | None:
    """Which versions there are is not asked: validators with different programs must answer alike."""
    present = contract_version(ctx.working, change["name"])
    if change["from"] != present:
        return Outcome.CHANGE_SUPERSEDED
    return Outcome.CONTRACT_VERSION_NOT_HIGHER if change["to"] <= present else None


def _contract_effect(effect: Effect, change: Fields) -> None:
    working, name = effect.working, change["name"]
    working.put(f"contract/{name}", (change["to"],))
    row = working.row(CONTRACT_LIST) or ()
    others = [row[index : index + 3] for index in range(0, len(row), 3) if row[index] != name]
    working.put(
        CONTRACT_LIST, tuple(value for entry in (*others, (name, change["to"], change["release"])) for value in entry)
    )


# An authority's keys.


def _registrar_refusal(ctx: Context, change: Fields) -> Outcome | None:
    registrar = _registrar(ctx.working, change["authority"])
    if registrar is None:
        return Outcome.GOVERNED_AUTHORITY_UNKNOWN
    old = registrar.key(change["from"])
    if old is None or old.state == REVOKED or old.expired(ctx.time_ms):
        return Outcome.CHANGE_SUPERSEDED
    try:
        key = PublicKey.from_cose_key(change["key"])
    except Malformed:
        return Outcome.GOVERNED_KEY_MALFORMED
    return Outcome.GOVERNED_KEY_TAKEN if ctx.working.row(key_index_key(key.kid)) is not None else None


def _registrar(working: Working, name: str) -> Participant | None:
    authority = load_authority(working, name)
    return None if authority is None else load_participant(working, authority.registrar)


def reserve_keys(working: Working, changes: Iterable[Change]) -> None:
    """On approval: a registrar's new key is its own from now on, so that nobody can enrol it before it counts."""
    for change in changes:
        if change[0] == "registrar_key":
            fields = fields_of(change)
            registrar = _registrar(working, fields["authority"])
            if registrar is not None:
                working.put(key_index_key(PublicKey.from_cose_key(fields["key"]).kid), (registrar.id,))


def _registrar_effect(effect: Effect, change: Fields) -> None:
    registrar = _registrar(effect.working, change["authority"])
    if registrar is None:
        raise LookupError(f"authority {change['authority']} has no registrar")
    public = PublicKey.from_cose_key(change["key"])
    end_ms = effect.time_ms + (change["overlap_s"] or 0) * 1000
    keys = []
    for old in registrar.keys:
        if old.kid == change["from"] and (old.valid_until_ms is None or old.valid_until_ms > end_ms):
            old = replace(old, valid_until_ms=end_ms, since_ms=effect.time_ms, by=effect.by, statement=effect.statement)
        keys.append(old)
    for old in tuple(keys):
        if len(keys) >= MAX_KEYS and (old.state == REVOKED or old.expired(effect.time_ms)):
            keys.remove(old)
    keys.append(
        Key(
            kid=public.kid,
            alg=public.alg,
            cose_key=public.cose_key,
            valid_from_ms=effect.time_ms,
            valid_until_ms=None,
            state=ACTIVE,
            since_ms=effect.time_ms,
            by=effect.by,
            statement=effect.statement,
        )
    )
    effect.working.put(participant_key(registrar.id), replace(registrar, keys=tuple(keys)))


def _authority_refusal(field: str) -> Callable[[Context, Fields], Outcome | None]:
    def refusal(ctx: Context, change: Fields) -> Outcome | None:
        authority = load_authority(ctx.working, change["authority"])
        if authority is None:
            return Outcome.GOVERNED_AUTHORITY_UNKNOWN
        for name in authorities(ctx.working):
            other = load_authority(ctx.working, name)
            if name != authority.name and other is not None and getattr(other, field) == change["to"]:
                return Outcome.GOVERNED_KEY_TAKEN
        if field == "log_key":
            try:
                PublicKey.from_material(EDDSA, change["to"])
            except Malformed:
                return Outcome.GOVERNED_KEY_MALFORMED
        return _replaces(getattr(authority, field), change)

    return refusal


def _authority_effect(field: str, topic: str) -> Callable[[Effect, Fields], None]:
    def effect_of(effect: Effect, change: Fields) -> None:
        authority = load_authority(effect.working, change["authority"])
        if authority is None:
            raise LookupError(f"authority {change['authority']} is not there")
        until_ms = effect.time_ms + (change["overlap_s"] or 0) * 1000
        effect.working.put(overlap_key(topic, authority.name), (change["from"].hex(), until_ms))
        changed = {field: change["to"]}
        effect.working.put(authority_key(authority.name), replace(authority, **changed))

    return effect_of


def overlap_key(topic: str, authority: str) -> str:
    """Where the key or hash before the present one is, and until when it counts: `log_key` or `ca`."""
    return f"governed/overlap/{topic}/{authority}"


# The legal basis.


def _legal_basis_refusal(ctx: Context, change: Fields) -> Outcome | None:
    present = legal_basis_date(ctx.working, change["agreement"], change["article"])
    if (change["from"] or "") != present:
        return Outcome.CHANGE_SUPERSEDED
    return Outcome.CHANGE_WITHOUT_EFFECT if (change["to"] or "") == present else None


def _legal_basis_effect(effect: Effect, change: Fields) -> None:
    put_legal_basis(effect.working, change["agreement"], change["article"], change["to"] or "")


# The membership.


def _membership_refusal(ctx: Context, change: Fields) -> Outcome | None:
    try:
        parsed = parse_change(change["change"])
    except Malformed:
        return Outcome.MEMBERSHIP_CHANGE_MALFORMED
    if parsed.network.hex() != network_hash(ctx.working):
        return Outcome.MEMBERSHIP_CHANGE_OF_OTHER_NETWORK
    return Outcome.CHANGE_SUPERSEDED if parsed.number <= last_membership_number(ctx.working) else None


def last_membership_number(working: Working) -> int:
    """The number of the last change of the membership that was decided on the ledger; 0 if none was."""
    row = working.row("governed/membership")
    return int(row[0]) if row else 0


def _membership_effect(effect: Effect, change: Fields) -> None:
    effect.working.put("governed/membership", (parse_change(change["change"]).number, effect.proposal))


def membership_text(changes: Iterable[Change]) -> str | None:
    """The text of the membership change among these, if there is one."""
    return next((str(change[1]) for change in changes if change[0] == "membership"), None)


KINDS: dict[str, Kind] = {
    "parameter": Kind(
        ("name", "from", "to"), lambda change: f"parameter/{change['name']}", _parameter_refusal, _parameter_effect
    ),
    "contract": Kind(
        ("name", "from", "to", "release"),
        lambda change: f"contract/{change['name']}",
        _contract_refusal,
        _contract_effect,
    ),
    "registrar_key": Kind(
        ("authority", "from", "key", "overlap_s"),
        lambda change: f"registrar_key/{change['authority']}",
        _registrar_refusal,
        _registrar_effect,
    ),
    "log_key": Kind(
        ("authority", "from", "to", "overlap_s"),
        lambda change: f"log_key/{change['authority']}",
        _authority_refusal("log_key"),
        _authority_effect("log_key", "log_key"),
    ),
    "ca": Kind(
        ("authority", "from", "to", "overlap_s"),
        lambda change: f"ca/{change['authority']}",
        _authority_refusal("ca_sha256"),
        _authority_effect("ca_sha256", "ca"),
    ),
    "legal_basis": Kind(
        ("agreement", "article", "from", "to"),
        lambda change: legal_basis_key(change["agreement"], change["article"]),
        _legal_basis_refusal,
        _legal_basis_effect,
    ),
    "membership": Kind(("change",), lambda change: "membership", _membership_refusal, _membership_effect),
}


def take_effect(effect: Effect, changes: Iterable[Change]) -> None:
    """The height of an approved proposal is reached. Cannot refuse."""
    for change in changes:
        topic = topic_of(change)
        kind_of(change).effect(effect, fields_of(change))
        effect.working.put(pending_key(topic), None)
        effect.working.put(now_key(topic), (effect.proposal, effect.height, effect.time_ms, effect.statement.hex()))

"""The contract `declaration`: one electronic declaration, and the other side's recognition of it. Key: the UCR.

Two machines move one record. The status is the home authority's: lodged, registered, accepted, under control,
released, cleared, or one of the ends. The recognition is the partner's, beside that status and bound to the version of
the content it looked at: a new version must be recognised anew.

An amendment waits beside the status for the home authority's decision, which brings a registered declaration to
accepted; the decision then carries the national number, as every accepted declaration has one. A request to invalidate
waits in the same way until the home authority invalidates or refuses it.

Goods leave once. A released declaration is cleared when their exit is confirmed: by a movement that carried them over,
or else by another proof that the home authority names (the alternative evidence of article 335 of the implementing
regulation (EU) 2015/2447). One whose goods have left is not invalidated any more, as in article 148 (4) of the
delegated regulation (EU) 2015/2446.

A control whose result corrects the content ends a pending amendment: what customs found out itself, the declarant can
no longer amend (UCC article 173 (2)).

National numbers are unique: the index `number/<country>/<number>` leads from a number to its UCR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from contracts.declaration_payloads import SCHEMAS
from contracts.declaration_private import PRIVATE_FIELD_REFUSALS, private_fields_refusal
from contracts.declaration_record import (
    ACCEPTED,
    CLEARED,
    INVALIDATED,
    LODGED,
    NONE,
    RECOGNISED,
    REFUSED,
    REGISTERED,
    REJECTED,
    RELEASED,
    SUSPENDED,
    UNDER_CONTROL,
    WITHDRAWN,
    Content,
    Declaration,
    Document,
    Recognition,
    content_of,
    declaration_key,
    decode_declaration,
    load_declaration,
    number_key,
)
from contracts.identifiers import IdentifierError, parse_national_number, parse_ucr
from contracts.legal_basis import legal_basis_is_registered
from contracts.machine import (
    ABSENT,
    CARRIER,
    DECLARANT,
    OFFICER,
    SYSTEM,
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
from contracts.registry import load_authority, load_participant
from contracts.views import declaration_view

# The states are words of the contract, though its record holds them.
__all__ = [
    "ACCEPTED",
    "CLEARED",
    "DECLARATION",
    "INVALIDATED",
    "LODGED",
    "NONE",
    "RECOGNISED",
    "RECOGNITION_TRANSITIONS",
    "REFUSED",
    "REGISTERED",
    "REJECTED",
    "RELEASED",
    "SUSPENDED",
    "TRANSITIONS",
    "UNDER_CONTROL",
    "WITHDRAWN",
    "Declaration",
    "Recognition",
    "content_of",
]


# Sides.


def home(ctx: Context) -> bool:
    """The authority that received the declaration; for a new one, the authority it names."""
    name = ctx.payload["home"] if ctx.record is None else ctx.record.home
    return bool(ctx.issuer.authority == name)


def partner(ctx: Context) -> bool:
    """The other authority."""
    return bool(ctx.issuer.authority == ctx.record.partner)


def lodger(ctx: Context) -> bool:
    """The declarant who lodged it."""
    return bool(ctx.issuer.id == ctx.record.declarant)


# Guards.


@refuses(Outcome.DECLARATION_PARTNER_IS_HOME)
def partner_is_not_home(ctx: Context) -> Outcome | None:
    """The authority asked to recognise it is another than the one that receives it."""
    return Outcome.DECLARATION_PARTNER_IS_HOME if ctx.payload["partner"] == ctx.payload["home"] else None


@refuses(Outcome.DECLARATION_AUTHORITY_UNKNOWN)
def authorities_are_known(ctx: Context) -> Outcome | None:
    """Both authorities are parties of this network."""
    for name in (ctx.payload["home"], ctx.payload["partner"]):
        if load_authority(ctx.working, name) is None:
            return Outcome.DECLARATION_AUTHORITY_UNKNOWN
    return None


@refuses(Outcome.DECLARATION_CARRIER_UNKNOWN)
def carrier_is_known(ctx: Context) -> Outcome | None:
    """The carrier, where one is named, is enrolled as one."""
    carrier = ctx.payload.get("carrier")
    if carrier is None:
        return None
    participant = load_participant(ctx.working, carrier)
    known = participant is not None and CARRIER in participant.roles
    return None if known else Outcome.DECLARATION_CARRIER_UNKNOWN


@refuses(*PRIVATE_FIELD_REFUSALS)
def private_fields_are_committed(ctx: Context) -> Outcome | None:
    """Form only: what is committed to, no validator ever sees."""
    content = ctx.payload.get("content")
    return None if content is None else private_fields_refusal(content)


@refuses(Outcome.GOODS_MASS_EXCEEDS_GROSS_MASS)
def goods_fit_gross_mass(ctx: Context) -> Outcome | None:
    """The net masses of the goods together do not exceed the gross mass."""
    content = ctx.payload.get("content")
    if content is None or sum(g["mass_g"] for g in content["goods"]) <= content["gross_mass_g"]:
        return None
    return Outcome.GOODS_MASS_EXCEEDS_GROSS_MASS


def _number_refusal(ctx: Context, country: str) -> Outcome | None:
    number = ctx.payload["number"]
    try:
        parse_national_number(country, number)
    except IdentifierError:
        return Outcome.DECLARATION_NUMBER_INVALID
    holder = ctx.working.row(number_key(country, number))
    # A number once given belongs to its declaration: the partner may give it again to a later version of the same one.
    if holder is not None and holder[0] != ctx.record.ucr:
        return Outcome.DECLARATION_NUMBER_TAKEN
    return None


@refuses(Outcome.DECLARATION_NUMBER_INVALID, Outcome.DECLARATION_NUMBER_TAKEN)
def home_number_is_good(ctx: Context) -> Outcome | None:
    """The home authority's number has its country's form and belongs to no other declaration."""
    return _number_refusal(ctx, ctx.record.home_country)


@refuses(
    Outcome.DECLARATION_NUMBER_ALREADY_GIVEN,
    Outcome.DECLARATION_NUMBER_MISSING,
    Outcome.DECLARATION_NUMBER_INVALID,
    Outcome.DECLARATION_NUMBER_TAKEN,
)
def home_number_is_given_once(ctx: Context) -> Outcome | None:
    """A decision on an amendment carries the number exactly when there is none yet."""
    given = "number" in ctx.payload
    if ctx.record.number:
        return Outcome.DECLARATION_NUMBER_ALREADY_GIVEN if given else None
    return _number_refusal(ctx, ctx.record.home_country) if given else Outcome.DECLARATION_NUMBER_MISSING


@refuses(Outcome.DECLARATION_NUMBER_INVALID, Outcome.DECLARATION_NUMBER_TAKEN)
def partner_number_is_good(ctx: Context) -> Outcome | None:
    """The partner's number has its country's form and belongs to no other declaration."""
    return _number_refusal(ctx, ctx.record.partner_country)


@refuses(Outcome.AMENDMENT_NOT_PENDING)
def amendment_is_pending(ctx: Context) -> Outcome | None:
    """An amendment waits for a decision."""
    return Outcome.AMENDMENT_NOT_PENDING if ctx.record.amendment is None else None


@refuses(Outcome.AMENDMENT_PENDING)
def no_amendment_is_pending(ctx: Context) -> Outcome | None:
    """No amendment waits for a decision."""
    return None if ctx.record.amendment is None else Outcome.AMENDMENT_PENDING


@refuses(Outcome.INVALIDATION_NOT_REQUESTED)
def invalidation_is_requested(ctx: Context) -> Outcome | None:
    """The declarant has asked to invalidate it."""
    return None if ctx.record.invalidation_reason else Outcome.INVALIDATION_NOT_REQUESTED


@refuses(Outcome.INVALIDATION_PENDING)
def no_invalidation_is_requested(ctx: Context) -> Outcome | None:
    """No request to invalidate it waits for a decision."""
    return Outcome.INVALIDATION_PENDING if ctx.record.invalidation_reason else None


@refuses(Outcome.DECLARATION_IN_MOVEMENT)
def no_movement_is_under_way(ctx: Context) -> Outcome | None:
    """No movement that carries its goods is under way."""
    return Outcome.DECLARATION_IN_MOVEMENT if ctx.record.movements_open else None


@refuses(Outcome.EXIT_NOT_CONFIRMED)
def the_exit_is_confirmed(ctx: Context) -> Outcome | None:
    """A movement carried the goods over, or another proof is named."""
    confirmed = bool(ctx.record.exits) or "evidence" in ctx.payload
    return None if confirmed else Outcome.EXIT_NOT_CONFIRMED


@refuses(Outcome.DECLARATION_HAS_EXITED)
def nothing_has_left(ctx: Context) -> Outcome | None:
    """No movement has carried its goods over."""
    return Outcome.DECLARATION_HAS_EXITED if ctx.record.exits else None


@refuses(Outcome.CORRECTION_MISSING, Outcome.CORRECTION_NOT_EXPECTED)
def correction_fits_result(ctx: Context) -> Outcome | None:
    """A corrected content comes with the result `corrected`, and only with it."""
    corrected = ctx.payload["result"] == "corrected"
    if corrected == ("content" in ctx.payload):
        return None
    return Outcome.CORRECTION_MISSING if corrected else Outcome.CORRECTION_NOT_EXPECTED


@refuses(Outcome.DECLARATION_VERSION_DIFFERS)
def version_is_current(ctx: Context) -> Outcome | None:
    """What was looked at is the present version of the content."""
    return None if ctx.payload["version"] == ctx.record.version else Outcome.DECLARATION_VERSION_DIFFERS


@refuses(Outcome.DECLARATION_NOT_ACCEPTED)
def declaration_is_accepted(ctx: Context) -> Outcome | None:
    """The home authority has accepted it, and it has not ended."""
    accepted = ctx.record.status in (ACCEPTED, UNDER_CONTROL, RELEASED, CLEARED)
    return None if accepted else Outcome.DECLARATION_NOT_ACCEPTED


# Effects.


def lodge(ctx: Context) -> Declaration:
    payload, statement = ctx.payload, ctx.statement
    countries = [cast(Any, load_authority(ctx.working, payload[side])).country for side in ("home", "partner")]
    return Declaration(
        ucr=statement.sub,
        status=LODGED,
        version=1,
        home=payload["home"],
        home_country=countries[0],
        partner=payload["partner"],
        partner_country=countries[1],
        declarant=ctx.issuer.id,
        carrier=payload.get("carrier"),
        lodged_ms=ctx.time_ms,
        lodged_statement=statement.id,
        since_ms=ctx.time_ms,
        since_statement=statement.id,
        by=ctx.issuer.id,
        number="",
        content=content_of(payload["content"]),
        amendment=None,
        amendment_reason="",
        invalidation_reason="",
        control="",
        control_result="",
        reasons=(),
        recognition=Recognition(),
    )


def _moved(ctx: Context, status: str, **changes: Any) -> Declaration:
    record: Declaration = ctx.record
    return record.amended(
        status=status,
        since_ms=ctx.time_ms,
        since_statement=ctx.statement.id,
        by=ctx.issuer.id,
        **changes,
    )


def _ended(ctx: Context, status: str, reasons: tuple[str, ...]) -> Declaration:
    """What was pending ends with the declaration."""
    return _moved(ctx, status, reasons=reasons, amendment=None, amendment_reason="", invalidation_reason="")


def _give_home_number(ctx: Context) -> str:
    number: str | None = ctx.payload.get("number")
    if number is None:
        return str(ctx.record.number)
    ctx.working.put(number_key(ctx.record.home_country, number), (ctx.record.ucr,))
    return number


def register(ctx: Context) -> Declaration:
    return _moved(ctx, REGISTERED)


def reject(ctx: Context) -> Declaration:
    return _ended(ctx, REJECTED, tuple(ctx.payload["reasons"]))


def accept(ctx: Context) -> Declaration:
    return _moved(ctx, ACCEPTED, number=_give_home_number(ctx))


def control(ctx: Context) -> Declaration:
    return _moved(ctx, UNDER_CONTROL, control=ctx.payload["control"], control_result="")


def control_result(ctx: Context) -> Declaration:
    """A corrected content is a new version, as an amended one is."""
    result = ctx.payload["result"]
    if result != "corrected":
        return _moved(ctx, ACCEPTED, control_result=result)
    corrected = _next_version(ctx, content_of(ctx.payload["content"]))
    return _moved(ctx, ACCEPTED, control_result=result, amendment=None, amendment_reason="", **corrected)


def _next_version(ctx: Context, content: Content) -> dict[str, Any]:
    return {"version": ctx.record.version + 1, "content": content, "recognition": Recognition()}


def refuse(ctx: Context) -> Declaration:
    return _ended(ctx, REFUSED, tuple(ctx.payload["reasons"]))


def request_amendment(ctx: Context) -> Declaration:
    content = content_of(ctx.payload["content"])
    return replace(cast(Declaration, ctx.record), amendment=content, amendment_reason=ctx.payload["reason"])


def accept_amendment(ctx: Context) -> Declaration:
    version = _next_version(ctx, ctx.record.amendment)
    return _moved(ctx, ACCEPTED, number=_give_home_number(ctx), amendment=None, amendment_reason="", **version)


def refuse_amendment(ctx: Context) -> Declaration:
    return _moved(ctx, ACCEPTED, number=_give_home_number(ctx), amendment=None, amendment_reason="")


def release(ctx: Context) -> Declaration:
    return _moved(ctx, RELEASED)


def clear(ctx: Context) -> Declaration:
    proof = ctx.payload.get("evidence")
    document = None if proof is None else Document(proof["kind"], proof["number"], proof["sha256"])
    return _moved(ctx, CLEARED, exit_evidence=document)


def request_invalidation(ctx: Context) -> Declaration:
    return replace(cast(Declaration, ctx.record), invalidation_reason=ctx.payload["reason"])


def refuse_invalidation(ctx: Context) -> Declaration:
    return replace(cast(Declaration, ctx.record), invalidation_reason="")


def invalidate(ctx: Context) -> Declaration:
    return _ended(ctx, INVALIDATED, (ctx.payload["reason"],))


def _decided(ctx: Context, state: str) -> Declaration:
    record: Declaration = ctx.record
    basis = ctx.payload["legal_basis"]
    number = ctx.payload.get("number", record.recognition.number)
    if "number" in ctx.payload:
        ctx.working.put(number_key(record.partner_country, number), (record.ucr,))
    recognition = Recognition(
        state=state,
        version=record.version,
        number=number,
        reason=ctx.payload["reason"],
        legal_basis=(basis["agreement"], basis["article"], basis["effective"]),
        by=ctx.issuer.id,
        since_ms=ctx.time_ms,
        statement=ctx.statement.id,
    )
    return record.amended(recognition=recognition)


def recognise(ctx: Context) -> Declaration:
    return _decided(ctx, RECOGNISED)


def refuse_recognition(ctx: Context) -> Declaration:
    return _decided(ctx, REFUSED)


def suspend_recognition(ctx: Context) -> Declaration:
    return _decided(ctx, SUSPENDED)


def withdraw_recognition(ctx: Context) -> Declaration:
    return _decided(ctx, WITHDRAWN)


# Tables.

_DECLARANT = (Who(DECLARANT, lodger),)
_HOME = (Who(OFFICER, home), Who(SYSTEM, home))
_PARTNER = (Who(OFFICER, partner), Who(SYSTEM, partner))

_LODGE = Transition(
    (Who(DECLARANT, home),),
    lodge,
    (LODGED,),
    (
        partner_is_not_home,
        authorities_are_known,
        carrier_is_known,
        goods_fit_gross_mass,
        private_fields_are_committed,
    ),
)
_REJECT = Transition(_HOME, reject, (REJECTED,))
_REFUSE = Transition(_HOME, refuse, (REFUSED,))
_ACCEPT_AMENDMENT = Transition(_HOME, accept_amendment, (ACCEPTED,), (amendment_is_pending, home_number_is_given_once))
_REFUSE_AMENDMENT = Transition(_HOME, refuse_amendment, (ACCEPTED,), (amendment_is_pending, home_number_is_given_once))
_INVALIDATE_ON_REQUEST = Transition(_HOME, invalidate, (INVALIDATED,), (invalidation_is_requested,))


def _request_amendment(state: str) -> Transition:
    guards = (no_amendment_is_pending, goods_fit_gross_mass, private_fields_are_committed)
    return Transition(_DECLARANT, request_amendment, (state,), guards)


def _request_invalidation(state: str) -> Transition:
    return Transition(_DECLARANT, request_invalidation, (state,), (no_invalidation_is_requested,))


def _refuse_invalidation(state: str) -> Transition:
    return Transition(_HOME, refuse_invalidation, (state,), (invalidation_is_requested,))


_BEFORE_RELEASED = (LODGED, REGISTERED, ACCEPTED, UNDER_CONTROL)

TRANSITIONS: Transitions = {
    (ABSENT, "lodge"): _LODGE,
    (LODGED, "register"): Transition(_HOME, register, (REGISTERED,)),
    (LODGED, "reject"): _REJECT,
    (REGISTERED, "reject"): _REJECT,
    (REGISTERED, "accept"): Transition(_HOME, accept, (ACCEPTED,), (home_number_is_good,)),
    (ACCEPTED, "control"): Transition(_HOME, control, (UNDER_CONTROL,)),
    (UNDER_CONTROL, "control_result"): Transition(
        _HOME,
        control_result,
        (ACCEPTED,),
        (correction_fits_result, goods_fit_gross_mass, private_fields_are_committed),
    ),
    (UNDER_CONTROL, "refuse"): _REFUSE,
    (ACCEPTED, "refuse"): _REFUSE,
    (REGISTERED, "request_amendment"): _request_amendment(REGISTERED),
    (ACCEPTED, "request_amendment"): _request_amendment(ACCEPTED),
    (REGISTERED, "accept_amendment"): _ACCEPT_AMENDMENT,
    (ACCEPTED, "accept_amendment"): _ACCEPT_AMENDMENT,
    (REGISTERED, "refuse_amendment"): _REFUSE_AMENDMENT,
    (ACCEPTED, "refuse_amendment"): _REFUSE_AMENDMENT,
    (ACCEPTED, "release"): Transition(
        _HOME, release, (RELEASED,), (no_amendment_is_pending, no_invalidation_is_requested)
    ),
    (RELEASED, "clear"): Transition(_HOME, clear, (CLEARED,), (no_movement_is_under_way, the_exit_is_confirmed)),
    **{(state, "request_invalidation"): _request_invalidation(state) for state in _BEFORE_RELEASED},
    **{(state, "refuse_invalidation"): _refuse_invalidation(state) for state in _BEFORE_RELEASED},
    **{(state, "invalidate"): _INVALIDATE_ON_REQUEST for state in _BEFORE_RELEASED},
    (RELEASED, "invalidate"): Transition(
        _HOME, invalidate, (INVALIDATED,), (no_movement_is_under_way, nothing_has_left)
    ),
}

_WITHDRAW = Transition(_PARTNER, withdraw_recognition, (WITHDRAWN,), (version_is_current,))

RECOGNITION_TRANSITIONS: Transitions = {
    (NONE, "recognise"): Transition(
        _PARTNER,
        recognise,
        (RECOGNISED,),
        (version_is_current, declaration_is_accepted, legal_basis_is_registered, partner_number_is_good),
    ),
    (NONE, "refuse_recognition"): Transition(
        _PARTNER, refuse_recognition, (REFUSED,), (version_is_current, declaration_is_accepted)
    ),
    (RECOGNISED, "suspend_recognition"): Transition(_PARTNER, suspend_recognition, (SUSPENDED,), (version_is_current,)),
    (SUSPENDED, "resume_recognition"): Transition(
        _PARTNER, recognise, (RECOGNISED,), (version_is_current, declaration_is_accepted, legal_basis_is_registered)
    ),
    (RECOGNISED, "withdraw_recognition"): _WITHDRAW,
    (SUSPENDED, "withdraw_recognition"): _WITHDRAW,
}


def _status(record: Declaration, payload: Mapping[str, Any]) -> str | Outcome:
    return record.status


def _recognition(record: Declaration, payload: Mapping[str, Any]) -> str | Outcome:
    return record.recognition.state


def _own(record: Declaration) -> frozenset[str]:
    """Declarant and carrier."""
    return frozenset(filter(None, (record.declarant, record.carrier)))


_STATUSES = {
    LODGED: "handed in by the declarant; nobody has looked at it yet",
    REGISTERED: "entered in the home authority's register",
    ACCEPTED: "complete and in force, with the home authority's number; the goods may be controlled or released",
    UNDER_CONTROL: "the home authority looks at the documents or the goods",
    RELEASED: "the goods may leave; a movement may be planned with it",
    CLEARED: "the procedure is over",
    REJECTED: "not registered, for the reasons given",
    REFUSED: "release refused, for the reasons given",
    INVALIDATED: "taken back; it counts for nothing any more",
}
_RECOGNITIONS = {
    NONE: "the partner has not decided on this version of the content",
    RECOGNISED: "the partner takes the home authority's decision for its own, under its own number",
    REFUSED: "the partner does not recognise this version",
    SUSPENDED: "recognised before, and not to be relied on until the partner resumes it",
    WITHDRAWN: "recognised before, and taken back for this version",
}

DECLARATION = Contract(
    name="declaration",
    version=1,
    title="One electronic declaration, and the other side's recognition of it",
    subject=Subject(parse_ucr, "UCR"),
    record=RecordType(Declaration, declaration_key, decode_declaration, load_declaration, declaration_view, _own),
    machines=(
        Machine(
            "status",
            TRANSITIONS,
            _status,
            Outcome.DECLARATION_TRANSITION_NOT_ALLOWED,
            _STATUSES,
            ends=(CLEARED, REJECTED, REFUSED, INVALIDATED),
        ),
        Machine(
            "recognition",
            RECOGNITION_TRANSITIONS,
            _recognition,
            Outcome.RECOGNITION_TRANSITION_NOT_ALLOWED,
            _RECOGNITIONS,
            begins=(NONE,),
            by_itself=dict.fromkeys(
                ((state, NONE) for state in (RECOGNISED, REFUSED, SUSPENDED, WITHDRAWN)),
                "the content has a new version",
            ),
        ),
    ),
    schemas=SCHEMAS,
    unknown=Outcome.DECLARATION_UNKNOWN,
    exists=Outcome.DECLARATION_ALREADY_LODGED,
    outcomes=range(200, 300),
    sources=("Revised Kyoto Convention, General Annex, chapter 3", "WCO Data Model 3.6"),
)

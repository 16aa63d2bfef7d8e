"""The contract `declaration`: one electronic declaration, and the other side's recognition of it. Key: the UCR.

Two machines move one record. The status is the home authority's: lodged, registered, accepted, under control,
released, cleared, or one of the ends. The recognition is the partner's, beside that status and bound to the version of
the content it looked at: a new version must be recognised anew.

An amendment waits beside the status for the home authority's decision, which brings a registered declaration to
accepted; the decision then carries the national number, as every accepted declaration has one. A request to invalidate
waits in the same way until the home authority invalidates or refuses it.

National numbers are unique: the index `number/<country>/<number>` leads from a number to its UCR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from contracts.identifiers import IdentifierError, parse_national_number, parse_ucr
from contracts.machine import (
    ABSENT,
    CARRIER,
    DECLARANT,
    OFFICER,
    SYSTEM,
    Context,
    Contract,
    Machine,
    Transition,
    Transitions,
    Who,
)
from contracts.outcome import Outcome
from contracts.registry import load_authority, load_participant
from contracts.working import Working, record_fields
from ledger.cbor import encode, encode_sequence, head

TAG = "declaration.v1"
_START = head(4, 26) + encode(TAG)

LODGED = "lodged"
REGISTERED = "registered"
ACCEPTED = "accepted"
UNDER_CONTROL = "under_control"
RELEASED = "released"
CLEARED = "cleared"
REJECTED = "rejected"
REFUSED = "refused"
INVALIDATED = "invalidated"

NONE = "none"
RECOGNISED = "recognised"
SUSPENDED = "suspended"
WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Goods:
    hs: str
    description: str
    mass_g: int
    packages: int


@dataclass(frozen=True, slots=True)
class Document:
    kind: str
    number: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """What is declared. A new one is a new version."""

    consignor: str
    consignee: str
    origin: str
    destination: str
    gross_mass_g: int
    goods: tuple[Goods, ...]
    containers: tuple[str, ...]
    documents: tuple[Document, ...]
    # Spelled once: a declaration changes many times, its content seldom.
    encoded: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoded", encode(self.fields()))

    def fields(self) -> tuple[Any, ...]:
        return (
            self.consignor,
            self.consignee,
            self.origin,
            self.destination,
            self.gross_mass_g,
            tuple((g.hs, g.description, g.mass_g, g.packages) for g in self.goods),
            self.containers,
            tuple((d.kind, d.number, d.sha256) for d in self.documents),
        )


@dataclass(frozen=True, slots=True)
class Recognition:
    """The partner's last decision. `state` none has nothing else. `number` stays through suspension and withdrawal."""

    state: str = NONE
    version: int = 0
    number: str = ""
    reason: str = ""
    legal_basis: tuple[str, str, str] = ("", "", "")  # agreement, article, effective date
    by: str = ""
    since_ms: int = 0
    statement: bytes | None = None
    encoded: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoded", encode(self.fields()))

    def fields(self) -> tuple[Any, ...]:
        return (
            self.state,
            self.version,
            self.number,
            self.reason,
            self.legal_basis,
            self.by,
            self.since_ms,
            self.statement,
        )


@dataclass(frozen=True, slots=True)
class Declaration:
    ucr: str
    status: str
    version: int
    home: str
    home_country: str
    partner: str
    partner_country: str
    declarant: str
    carrier: str | None
    lodged_ms: int
    lodged_statement: bytes
    since_ms: int  # of the status
    since_statement: bytes
    by: str
    number: str  # the home authority's; empty until accepted
    content: Content
    amendment: Content | None
    amendment_reason: str
    invalidation_reason: str  # empty unless the declarant asked
    control: str  # documentary, physical or scan while under control, and the last one after it
    control_result: str
    reasons: tuple[str, ...]  # of a rejection, refusal or invalidation
    recognition: Recognition
    movements_open: int = 0  # movements that have started with it and not ended
    flagged: int = 0

    def recognised(self) -> bool:
        return self.recognition.state == RECOGNISED and self.recognition.version == self.version

    def encode(self) -> bytes:
        before = (
            self.ucr,
            self.status,
            self.version,
            self.home,
            self.home_country,
            self.partner,
            self.partner_country,
            self.declarant,
            self.carrier,
            self.lodged_ms,
            self.lodged_statement,
            self.since_ms,
            self.since_statement,
            self.by,
            self.number,
        )
        between = (
            None if self.amendment is None else self.amendment.fields(),
            self.amendment_reason,
            self.invalidation_reason,
            self.control,
            self.control_result,
            self.reasons,
        )
        return b"".join(
            (
                _START,
                encode_sequence(before),
                self.content.encoded,
                encode_sequence(between),
                self.recognition.encoded,
                encode_sequence((self.movements_open, self.flagged)),
            )
        )


def _content_of_fields(fields: Any) -> Content:
    fields[5] = tuple(Goods(*goods) for goods in fields[5])
    fields[6] = tuple(fields[6])
    fields[7] = tuple(Document(*document) for document in fields[7])
    return Content(*fields)


def decode_declaration(raw: bytes) -> Declaration:
    fields = cast(Any, record_fields(TAG, raw, 25))
    fields[15] = _content_of_fields(fields[15])
    fields[16] = None if fields[16] is None else _content_of_fields(fields[16])
    fields[21] = tuple(fields[21])
    recognition = fields[22]
    recognition[4] = tuple(recognition[4])
    fields[22] = Recognition(*recognition)
    return Declaration(*fields)


def content_of(payload: Mapping[str, Any]) -> Content:
    return Content(
        consignor=payload["consignor"],
        consignee=payload["consignee"],
        origin=payload["origin"],
        destination=payload["destination"],
        gross_mass_g=payload["gross_mass_g"],
        goods=tuple(Goods(g["hs"], g["description"], g["mass_g"], g.get("packages", 0)) for g in payload["goods"]),
        containers=tuple(payload["containers"]),
        documents=tuple(Document(d["kind"], d["number"], d["sha256"]) for d in payload.get("documents", ())),
    )


def declaration_key(ucr: str) -> str:
    return f"declaration/{ucr}"


def number_key(country: str, number: str) -> str:
    return f"number/{country.lower()}/{number}"


def load_declaration(working: Working, ucr: str) -> Declaration | None:
    return working.record(declaration_key(ucr), Declaration, decode_declaration)


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


def partner_is_not_home(ctx: Context) -> Outcome | None:
    return Outcome.DECLARATION_PARTNER_IS_HOME if ctx.payload["partner"] == ctx.payload["home"] else None


def authorities_are_known(ctx: Context) -> Outcome | None:
    for name in (ctx.payload["home"], ctx.payload["partner"]):
        if load_authority(ctx.working, name) is None:
            return Outcome.DECLARATION_AUTHORITY_UNKNOWN
    return None


def carrier_is_known(ctx: Context) -> Outcome | None:
    carrier = ctx.payload.get("carrier")
    if carrier is None:
        return None
    participant = load_participant(ctx.working, carrier)
    known = participant is not None and CARRIER in participant.roles
    return None if known else Outcome.DECLARATION_CARRIER_UNKNOWN


def goods_fit_gross_mass(ctx: Context) -> Outcome | None:
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


def home_number_is_good(ctx: Context) -> Outcome | None:
    return _number_refusal(ctx, ctx.record.home_country)


def home_number_is_given_once(ctx: Context) -> Outcome | None:
    """A decision on an amendment carries the number exactly when there is none yet."""
    given = "number" in ctx.payload
    if ctx.record.number:
        return Outcome.DECLARATION_NUMBER_ALREADY_GIVEN if given else None
    return _number_refusal(ctx, ctx.record.home_country) if given else Outcome.DECLARATION_NUMBER_MISSING


def partner_number_is_good(ctx: Context) -> Outcome | None:
    return _number_refusal(ctx, ctx.record.partner_country)


def amendment_is_pending(ctx: Context) -> Outcome | None:
    return Outcome.AMENDMENT_NOT_PENDING if ctx.record.amendment is None else None


def no_amendment_is_pending(ctx: Context) -> Outcome | None:
    return None if ctx.record.amendment is None else Outcome.AMENDMENT_PENDING


def invalidation_is_requested(ctx: Context) -> Outcome | None:
    return None if ctx.record.invalidation_reason else Outcome.INVALIDATION_NOT_REQUESTED


def no_invalidation_is_requested(ctx: Context) -> Outcome | None:
    return Outcome.INVALIDATION_PENDING if ctx.record.invalidation_reason else None


def no_movement_is_under_way(ctx: Context) -> Outcome | None:
    return Outcome.DECLARATION_IN_MOVEMENT if ctx.record.movements_open else None


def correction_fits_result(ctx: Context) -> Outcome | None:
    corrected = ctx.payload["result"] == "corrected"
    if corrected == ("content" in ctx.payload):
        return None
    return Outcome.CORRECTION_MISSING if corrected else Outcome.CORRECTION_NOT_EXPECTED


def version_is_current(ctx: Context) -> Outcome | None:
    return None if ctx.payload["version"] == ctx.record.version else Outcome.DECLARATION_VERSION_DIFFERS


def declaration_is_accepted(ctx: Context) -> Outcome | None:
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
    return replace(
        cast(Declaration, ctx.record),
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
    return _moved(ctx, ACCEPTED, control_result=result, **_next_version(ctx, content_of(ctx.payload["content"])))


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
    return _moved(ctx, CLEARED)


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
    return replace(record, recognition=recognition)


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
    (partner_is_not_home, authorities_are_known, carrier_is_known, goods_fit_gross_mass),
)
_REJECT = Transition(_HOME, reject, (REJECTED,))
_REFUSE = Transition(_HOME, refuse, (REFUSED,))
_ACCEPT_AMENDMENT = Transition(_HOME, accept_amendment, (ACCEPTED,), (amendment_is_pending, home_number_is_given_once))
_REFUSE_AMENDMENT = Transition(_HOME, refuse_amendment, (ACCEPTED,), (amendment_is_pending, home_number_is_given_once))
_INVALIDATE_ON_REQUEST = Transition(_HOME, invalidate, (INVALIDATED,), (invalidation_is_requested,))


def _request_amendment(state: str) -> Transition:
    return Transition(_DECLARANT, request_amendment, (state,), (no_amendment_is_pending, goods_fit_gross_mass))


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
        _HOME, control_result, (ACCEPTED,), (correction_fits_result, goods_fit_gross_mass)
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
    (RELEASED, "clear"): Transition(_HOME, clear, (CLEARED,), (no_movement_is_under_way,)),
    **{(state, "request_invalidation"): _request_invalidation(state) for state in _BEFORE_RELEASED},
    **{(state, "refuse_invalidation"): _refuse_invalidation(state) for state in _BEFORE_RELEASED},
    **{(state, "invalidate"): _INVALIDATE_ON_REQUEST for state in _BEFORE_RELEASED},
    (RELEASED, "invalidate"): Transition(_HOME, invalidate, (INVALIDATED,), (no_movement_is_under_way,)),
}

_WITHDRAW = Transition(_PARTNER, withdraw_recognition, (WITHDRAWN,), (version_is_current,))

RECOGNITION_TRANSITIONS: Transitions = {
    (NONE, "recognise"): Transition(
        _PARTNER, recognise, (RECOGNISED,), (version_is_current, declaration_is_accepted, partner_number_is_good)
    ),
    (NONE, "refuse_recognition"): Transition(
        _PARTNER, refuse_recognition, (REFUSED,), (version_is_current, declaration_is_accepted)
    ),
    (RECOGNISED, "suspend_recognition"): Transition(_PARTNER, suspend_recognition, (SUSPENDED,), (version_is_current,)),
    (SUSPENDED, "resume_recognition"): Transition(
        _PARTNER, recognise, (RECOGNISED,), (version_is_current, declaration_is_accepted)
    ),
    (RECOGNISED, "withdraw_recognition"): _WITHDRAW,
    (SUSPENDED, "withdraw_recognition"): _WITHDRAW,
}


def _status(record: Declaration, payload: Mapping[str, Any]) -> str | Outcome:
    return record.status


def _recognition(record: Declaration, payload: Mapping[str, Any]) -> str | Outcome:
    return record.recognition.state


DECLARATION = Contract(
    name="declaration",
    version=1,
    parse_subject=parse_ucr,
    load=load_declaration,
    machines=(
        Machine("status", TRANSITIONS, _status, Outcome.DECLARATION_TRANSITION_NOT_ALLOWED),
        Machine("recognition", RECOGNITION_TRANSITIONS, _recognition, Outcome.RECOGNITION_TRANSITION_NOT_ALLOWED),
    ),
    unknown=Outcome.DECLARATION_UNKNOWN,
    exists=Outcome.DECLARATION_ALREADY_LODGED,
    key=declaration_key,
)

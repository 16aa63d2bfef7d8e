"""Who may do what, the whole matrix: event, sender (role and side), state, validity of the key.

The tables below are written by hand from the customs domain and from the decisions on its gaps, not from the contracts.
They name for every event who may send it, in which states it is taken, and for the states in which the row is there
but a fact stands in the way, which one (`state@side`: for senders of that side). Everything else is refused, by the
first of these that holds: the key, the role, the side, the record, the row. Payloads fit, so that nothing but the
matrix decides. Signatures are checked by the stand-in of the corridor. Every contract is walked, in every version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pytest

from contracts.catalogue import CONTRACTS
from contracts.execute import BlockExecution, genesis_state
from contracts.governance_record import load_proposal
from contracts.outcome import Outcome
from contracts.phytosanitary import PHYTOSANITARY as PHYTOSANITARY_CONTRACT
from contracts.working import Working
from ledger.algorithms import PublicKey
from tests.contracts import corridor as c
from tests.contracts import governing
from tests.contracts import stages as s


def words(text: str) -> list[str]:
    return text.split()


# ---------------------------------------------------------------------------------------------------------------------
# Who there is: name, role, side. The declaration is lodged at kz-kgd and put to cn-gacc; the movement departs there and
# goes here. `lodger`, `its` mark the one declarant, truck and seal that the record is about.

SENDERS = """
kz-kgd/registrar      customs.registrar  home
kz-kgd/officer        customs.officer    home
kz-kgd/system         customs.system     home
kz/terminal/bakhty    terminal           home
kz/declarant/agro     declarant          home  its
kz/declarant/other    declarant          home
kz/carrier/steppe     carrier            home
kz/truck/t-001        truck              home  its
kz/truck/t-002        truck              home
kz/eseal/e-1          eseal              home  its
kz/eseal/e-2          eseal              home
kz/auditor            auditor            home
cn-gacc/registrar     customs.registrar  partner
cn-gacc/officer       customs.officer    partner
cn-gacc/system        customs.system     partner
cn/terminal/baketu    terminal           partner
cn/declarant/mill     declarant          partner
cn/carrier/silk       carrier            partner
cn/truck/t-101        truck              partner
cn/eseal/e-101        eseal              partner
cn/auditor            auditor            partner
"""

# ---------------------------------------------------------------------------------------------------------------------
# What is taken: event | who, as roles@side | states. `customs` is officer and system.

REGISTRY = """
enrol                 customs.registrar@own  -
rotate                customs.registrar@own  active suspended revoked registrar
change_roles          customs.registrar@own  active suspended revoked
suspend               customs.registrar@own  active
resume                customs.registrar@own  suspended
revoke                customs.registrar@own  active suspended
suspend_all           customs.registrar@own  active
revoke_all            customs.registrar@own  active suspended
publish_envelope_key  customs.registrar@own  registrar
"""
# The states are those of the key of a truck; in `registrar` it is the registrar that the authority's record names.
REGISTRY_FACTS = """
publish_envelope_key  active suspended revoked  envelope_key_not_of_authority
change_roles          registrar@home            last_registrar_key
suspend               registrar@home            last_registrar_key
revoke                registrar@home            last_registrar_key
suspend_all           registrar@home            last_registrar_key
revoke_all            registrar@home            last_registrar_key
"""
REGISTRY_2_FACTS = (
    REGISTRY_FACTS
    + """
rotate                registrar@home            registrar_key_is_governed
"""
)

DECLARATION = """
lodge                 declarant@home    -
register              customs@home      lodged lodged+invalidation
reject                customs@home      lodged lodged+invalidation registered registered+amendment
reject                customs@home      registered+invalidation
accept                customs@home      registered registered+amendment registered+invalidation
control               customs@home      accepted accepted+amendment accepted+invalidation
control_result        customs@home      under_control under_control+invalidation
refuse                customs@home      under_control under_control+invalidation accepted accepted+amendment
refuse                customs@home      accepted+invalidation
request_amendment     declarant@lodger  registered registered+invalidation accepted accepted+invalidation
accept_amendment      customs@home      registered+amendment accepted+amendment
refuse_amendment      customs@home      registered+amendment accepted+amendment
release               customs@home      accepted
clear                 customs@home      released recognised unrecognised suspended withdrawn exited returned
request_invalidation  declarant@lodger  lodged registered registered+amendment accepted accepted+amendment under_control
invalidate            customs@home      lodged+invalidation registered+invalidation accepted+invalidation
invalidate            customs@home      under_control+invalidation
invalidate            customs@home      released recognised unrecognised suspended withdrawn returned
refuse_invalidation   customs@home      lodged+invalidation registered+invalidation accepted+invalidation
refuse_invalidation   customs@home      under_control+invalidation
recognise             customs@partner   accepted accepted+amendment accepted+invalidation under_control released
recognise             customs@partner   under_control+invalidation
refuse_recognition    customs@partner   accepted accepted+amendment accepted+invalidation under_control released
refuse_recognition    customs@partner   under_control+invalidation
suspend_recognition   customs@partner   recognised moving exited returned
resume_recognition    customs@partner   suspended
withdraw_recognition  customs@partner   recognised moving exited returned suspended
"""
DECLARATION_FACTS = """
request_amendment     registered+amendment accepted+amendment                             amendment_pending
accept_amendment      registered registered+invalidation accepted accepted+invalidation   amendment_not_pending
refuse_amendment      registered registered+invalidation accepted accepted+invalidation   amendment_not_pending
release               accepted+amendment                                                  amendment_pending
release               accepted+invalidation                                               invalidation_pending
request_invalidation  lodged+invalidation registered+invalidation                         invalidation_pending
request_invalidation  accepted+invalidation under_control+invalidation                    invalidation_pending
invalidate            lodged registered registered+amendment accepted accepted+amendment  invalidation_not_requested
invalidate            under_control                                                       invalidation_not_requested
refuse_invalidation   lodged registered registered+amendment accepted accepted+amendment  invalidation_not_requested
refuse_invalidation   under_control                                                       invalidation_not_requested
clear                 moving                                                              declaration_in_movement
invalidate            moving                                                              declaration_in_movement
invalidate            exited                                                              declaration_has_exited
recognise             lodged lodged+invalidation registered registered+amendment          declaration_not_accepted
recognise             registered+invalidation rejected refused invalidated                declaration_not_accepted
refuse_recognition    lodged lodged+invalidation registered registered+amendment          declaration_not_accepted
refuse_recognition    registered+invalidation rejected refused invalidated                declaration_not_accepted
"""
# Cleared without ever having been recognised: the recognition still stands at none, and is the partner's to decide.
DECLARATION += """
recognise             customs@partner   cleared
refuse_recognition    customs@partner   cleared
"""

ESCORT = """
plan                     customs@departure                                            -
load                     terminal@departure                                           planned
seal                     customs@departure terminal@departure                         loaded
start                    customs@departure                                            sealed
refuse_start             customs@departure                                            planned loaded sealed
refuse_start             customs@departure                                            sealed+suspended sealed+cleared
position                 truck@its                                                    started started+truck started+gate
position                 truck@its                                                    handed_over overdue overdue+over
reach_border             truck@its                                                    started started+gate
reach_border             terminal@departure                                           started started+truck
offer                    terminal@departure                                           at_border
turn_back                customs.officer@departure                                    at_border
accept                   terminal@destination                                         offered
accept_with_differences  terminal@destination                                         offered offered+suspended
refuse_handover          customs@destination terminal@destination                     offered offered+suspended
resolve                  customs.officer@departure customs.officer@destination        disputed disputed+decided
arrive                   terminal@destination                                         handed_over
unload                   customs@destination                                          arrived
discrepancy              customs@destination                                          unloaded
recover                  customs@custody                                              discrepancy aborted aborted+over
discharge                customs@custody                                              discrepancy recovery returned
discharge                customs@custody                                              recovery+lost aborted
discharge                customs@custody                                              aborted+over
incident                 truck@its eseal@force terminal@near customs.officer@near     started started+truck started+gate
incident                 truck@its eseal@force terminal@near customs.officer@near     at_border offered
incident                 truck@its eseal@force terminal@near customs.officer@near     offered+suspended
incident                 truck@its eseal@force terminal@near customs.officer@near     handed_over
resume                   customs.officer@custody                                      held held+over
abort                    customs.officer@custody                                      held held+over
resolve_overdue          customs.officer@custody                                      overdue overdue+over
"""
ESCORT_FACTS = """
start         sealed+suspended   declaration_not_recognised
start         sealed+cleared     declaration_not_released
accept        offered+suspended  declaration_not_recognised
reach_border  started+truck      border_already_reported
reach_border  started+gate       border_already_reported
"""
# Version 2: a truck reports for as long as its journey lasts, and late when it is over.
ESCORT_2 = (
    ESCORT
    + """
position  truck@its  at_border offered offered+suspended disputed disputed+decided returned arrived unloaded
position  truck@its  discrepancy recovery recovery+lost discharged held held+over aborted aborted+over
"""
)
# Where the destination side has custody; everywhere else the departure side has.
OVER = words("handed_over arrived unloaded discrepancy recovery discharged held+over overdue+over aborted+over")
# At the border both sides see the movement; elsewhere the one with custody.
BOTH_NEAR = words("at_border offered offered+suspended")
# The electronic seal e-1 was put on with sealing; in these states it is broken, or taken off at unloading.
SEAL_OFF = words("- planned loaded held aborted unloaded discrepancy recovery discharged")

# Proposals of the home side; in the states with `+theirs` the partner proposed, with `+one` the home side has
# said that it wants an approved one back.
GOVERNANCE = """
propose   customs.registrar@any  -
approve   customs.registrar@any  open open+theirs
reject    customs.registrar@any  open open+theirs
withdraw  customs.registrar@any  open open+theirs approved approved+one
"""
GOVERNANCE_FACTS = """
propose   -@partner                     proposal_id_of_other_authority
approve   open@home open+theirs@partner  side_already_approved
reject    open@home open+theirs@partner  side_already_approved
withdraw  open@partner open+theirs@home  proposal_of_other_side
withdraw  approved+one@home              side_already_withdrew
"""

# The home side exports.
PHYTOSANITARY = """
issue      customs@home     -
recognise  customs@partner  issued
refuse     customs@partner  issued
suspend    customs@partner  recognised
resume     customs@partner  suspended
use_up     customs@partner  recognised
withdraw   customs@home     issued recognised suspended
replace    customs@home     issued recognised suspended
"""
PHYTOSANITARY_FACTS = """
issue      -@partner  certificate_country_differs
"""

# ---------------------------------------------------------------------------------------------------------------------
# Reading the tables.

KEYS = {
    "active": Outcome.ACCEPTED,
    "not yet": Outcome.KEY_NOT_YET_VALID,
    "expired": Outcome.KEY_EXPIRED,
    "suspended": Outcome.KEY_SUSPENDED,
    "revoked": Outcome.KEY_REVOKED,
    "unknown": Outcome.KEY_UNKNOWN,
}


@dataclass(frozen=True)
class Sender:
    name: str
    role: str
    side: str
    its: bool


EVERYBODY = tuple(
    Sender(name, role, side, bool(mark))
    for name, role, side, *mark in (line.split() for line in SENDERS.strip().splitlines())
)


@dataclass(frozen=True)
class Table:
    """What one contract's tables say, looked up in the plainest way."""

    taken: Mapping[str, tuple[tuple[str, str, frozenset[str]], ...]]  # event -> role, side, states
    facts: Mapping[tuple[str, str], Outcome]  # event, state -> what stands in the way
    unknown: Outcome
    exists: Outcome
    no_row: Callable[[str], Outcome]
    makes: str

    def expected(self, event: str, sender: Sender, state: str, key: str) -> Outcome:
        if key != "active":
            return KEYS[key]
        rows = [row for row in self.taken[event] if row[0] == sender.role]
        if not rows:
            return Outcome.ROLE_NOT_ALLOWED
        if state == "-" and event != self.makes:
            return self.unknown
        told = self.facts.get((event, f"{state}@{sender.side}"))
        if told is not None:
            return told
        if not any(stands(side, sender, state) for _, side, _ in rows):
            # What is not there yet has no side to compare with: whose it is to make, declarations or the name tell.
            if state == "-" and event == "plan":
                return Outcome.DECLARATION_HOME_DIFFERS
            if state == "-" and event == "enrol":
                return Outcome.PARTICIPANT_ID_OF_OTHER_AUTHORITY
            return Outcome.SIDE_NOT_ALLOWED
        if state != "-" and event == self.makes:
            return self.exists
        if any(state in states for _, _, states in rows):
            return Outcome.ACCEPTED
        return self.facts.get((event, state), self.no_row(event))


def stands(side: str, sender: Sender, state: str) -> bool:
    """Whether a sender stands on a side, as the domain means it."""
    over = state in OVER
    return {
        "any": True,
        "own": sender.side == "home",
        "home": sender.side == "home",
        "departure": sender.side == "home",
        "partner": sender.side == "partner",
        "destination": sender.side == "partner",
        "lodger": sender.its,
        "its": sender.its,
        "force": sender.its and state not in SEAL_OFF,
        "custody": sender.side == ("partner" if over else "home"),
        "near": state in BOTH_NEAR or sender.side == ("partner" if over else "home"),
    }[side]


def _taken(text: str) -> dict[str, tuple[tuple[str, str, frozenset[str]], ...]]:
    taken: dict[str, tuple[tuple[str, str, frozenset[str]], ...]] = {}
    for line in text.strip().splitlines():
        if not line:
            continue
        event, *words = line.split()
        states = frozenset(word for word in words if "@" not in word)
        for word in words:
            if "@" in word:
                roles, side = word.split("@")
                for role in ("customs.officer", "customs.system") if roles == "customs" else (roles,):
                    taken[event] = (*taken.get(event, ()), (role, side, states))
    return taken


def _facts(text: str) -> dict[tuple[str, str], Outcome]:
    facts = {}
    for line in filter(None, text.splitlines()):
        event, *states, fact = line.split()
        facts.update({(event, state): Outcome[fact.upper()] for state in states})
    return facts


def _no_row(outcome: Outcome, recognition: Outcome | None = None) -> Callable[[str], Outcome]:
    return lambda event: recognition if recognition is not None and "recogni" in event else outcome


def _registry(facts: str) -> Table:
    return Table(
        _taken(REGISTRY),
        _facts(facts),
        Outcome.PARTICIPANT_UNKNOWN,
        Outcome.PARTICIPANT_ALREADY_ENROLLED,
        _no_row(Outcome.REGISTRY_TRANSITION_NOT_ALLOWED),
        "enrol",
    )


def _escort(taken: str) -> Table:
    return Table(
        _taken(taken),
        _facts(ESCORT_FACTS),
        Outcome.MOVEMENT_UNKNOWN,
        Outcome.MOVEMENT_ALREADY_PLANNED,
        _no_row(Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED),
        "plan",
    )


def _governance() -> Table:
    return Table(
        _taken(GOVERNANCE),
        _facts(GOVERNANCE_FACTS),
        Outcome.PROPOSAL_UNKNOWN,
        Outcome.PROPOSAL_ALREADY_MADE,
        _no_row(Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED),
        "propose",
    )


TABLES = {
    ("registry", 1): _registry(REGISTRY_FACTS),
    ("registry", 2): _registry(REGISTRY_2_FACTS),
    ("declaration", 1): Table(
        _taken(DECLARATION),
        _facts(DECLARATION_FACTS),
        Outcome.DECLARATION_UNKNOWN,
        Outcome.DECLARATION_ALREADY_LODGED,
        _no_row(Outcome.DECLARATION_TRANSITION_NOT_ALLOWED, Outcome.RECOGNITION_TRANSITION_NOT_ALLOWED),
        "lodge",
    ),
    ("escort", 1): _escort(ESCORT),
    ("escort", 2): _escort(ESCORT_2),
    # The versions differ in what can be governed, not in who may say what.
    ("governance", 1): _governance(),
    ("governance", 2): _governance(),
    ("phytosanitary", 1): Table(
        _taken(PHYTOSANITARY),
        _facts(PHYTOSANITARY_FACTS),
        Outcome.CERTIFICATE_UNKNOWN,
        Outcome.CERTIFICATE_ALREADY_ISSUED,
        _no_row(Outcome.CERTIFICATE_TRANSITION_NOT_ALLOWED),
        "issue",
    ),
}
NAMES = [f"{name}-{version}" for name, version in TABLES]

# ---------------------------------------------------------------------------------------------------------------------
# The states: a ledger that stands in each.

KEYS_MS = c.OPEN_MS - 10_000
FAR_MS = c.OPEN_MS + 100 * 366 * 86_400_000
NEWCOMERS = {"cn/truck/t-101": "truck", "cn/eseal/e-101": "eseal", "cn/auditor": "auditor"}
SUBJECT = "kz/spare"
STOPPED = {"suspended": "suspend", "revoked": "revoke"}
PROPOSAL, THEIRS = "kz-kgd/proposed", "cn-gacc/proposed"
CERTIFICATE, OTHER_CERTIFICATE = "KZ/2026-004711", "KZ/2026-004712"


@cache
def key_of(sender: Sender, validity: str) -> PublicKey:
    if validity == "active" and sender.name in c.KEYS:
        return c.KEYS[sender.name]
    return c.key_of(sender.name if validity == "active" else f"{sender.name} {validity}")


@cache
def _everybody_with_every_key() -> Mapping[str, bytes]:
    """The rows of the registry: each sender has an active key and one of every other validity."""
    ledger = c.Ledger.of_corridor()

    def say(event: str, registrar: str, sub: str, payload: dict[str, Any]) -> None:
        ledger.now_ms = KEYS_MS  # before any of the states below came to be
        ledger.must(f"registry.{event}", registrar, sub, payload)

    for name, role in NEWCOMERS.items():
        say("enrol", "cn-gacc/registrar", name, {"key": c.key_of(name).cose_key, "roles": [role]})
    say("enrol", "kz-kgd/registrar", SUBJECT, {"key": c.key_of(SUBJECT).cose_key, "roles": ["truck"]})
    windows = {"not yet": {"valid_from_ms": FAR_MS}, "expired": {"valid_until_ms": KEYS_MS + 1}}
    for sender in EVERYBODY:
        registrar = "kz-kgd/registrar" if sender.side == "home" else "cn-gacc/registrar"
        for validity in (*windows, *STOPPED):
            key = key_of(sender, validity)
            say("rotate", registrar, sender.name, {"key": key.cose_key, **windows.get(validity, {})})
            if validity in STOPPED:
                say(STOPPED[validity], registrar, sender.name, {"kid": key.kid, "reason": "x"})
    return {key: raw for key, raw in ledger.state.records.items() if key.startswith(("registry/", "key/"))}


def _with(ledger: c.Ledger, *steps: tuple[str, str, dict[str, Any]]) -> c.Ledger:
    for kind, iss, payload in steps:
        ledger.must(kind, iss, c.MRN if kind.startswith("escort") else c.UCR, payload)
    return ledger


_ASK: dict[str, tuple[str, dict[str, Any]]] = {
    "amendment": ("declaration.request_amendment", {"content": c.content(gross_mass_g=34_000_000), **s.REASON}),
    "invalidation": ("declaration.request_invalidation", s.REASON),
}
_RECOGNITIONS = {
    "recognised": "recognised",
    "unrecognised": "refused",
    "suspended": "suspended",
    "withdrawn": "withdrawn",
}


def declaration_in(state: str) -> c.Ledger:
    if state in _RECOGNITIONS:
        return s.recognition_at(_RECOGNITIONS[state])
    if state in ("moving", "exited", "returned"):
        return s.movement_at({"moving": "started", "exited": "discharged", "returned": "returned"}[state])
    status, _, pending = state.partition("+")
    ledger = s.declaration_at(status)
    if pending:
        kind, payload = _ASK[pending]
        ledger.must(kind, "kz/declarant/agro", c.UCR, payload)
    return ledger


def movement_in(state: str, version: int = 2) -> c.Ledger:
    home, partner = s.HOME[0], s.PARTNER[0]
    accident = {"code": "accident"}
    suspend = ("declaration.suspend_recognition", partner, c.decision())
    variants: dict[str, tuple[str, tuple[tuple[str, str, dict[str, Any]], ...]]] = {
        "sealed+suspended": ("sealed", (suspend,)),
        "sealed+cleared": ("sealed", (("declaration.clear", home, {"evidence": s.EVIDENCE}),)),
        "offered+suspended": ("offered", (suspend,)),
        "started+truck": ("started", (("escort.reach_border", s.THE_TRUCK, {}),)),
        "started+gate": ("started", (("escort.reach_border", s.GATE, {}),)),
        "disputed+decided": ("disputed", (("escort.resolve", home, {"decision": "returned", **s.REASON}),)),
        "held+over": ("handed_over", (("escort.incident", s.FAR_GATE, accident),)),
        "aborted+over": ("handed_over", (("escort.incident", partner, {"code": "goods_destroyed"}),)),
        "recovery+lost": ("overdue", (("escort.resolve_overdue", home, {"decision": "recover", **s.REASON}),)),
    }
    if state == "overdue+over":
        ledger = s.movement_at("handed_over", version)
        ledger.pass_time(7200)
        return ledger
    at, steps = variants.get(state, (state, ()))
    return _with(s.movement_at(at, version), *steps)


def participant_in(state: str, version: int = 1) -> c.Ledger:
    ledger = c.Ledger.of_corridor().under("registry", version)
    ledger.state.records.update(_everybody_with_every_key())
    ledger.state.records["governed"] = genesis_state(governing.genesis())["governed"]
    if state in STOPPED:
        payload = {"kid": c.key_of(SUBJECT).kid, "reason": "x"}
        ledger.must(f"registry.{STOPPED[state]}", "kz-kgd/registrar", SUBJECT, payload)
    return ledger


CHANGE = governing.parameter("corridor_m", 1_500)


def proposal_in(state: str, version: int = 1) -> c.Ledger:
    ledger = governing.Governed.begin()
    ledger.under("governance", version)
    name, by, other = PROPOSAL, governing.KZ, governing.CN
    if state == "-":
        return ledger
    if state.endswith("+theirs"):
        name, by, other = THEIRS, governing.CN, governing.KZ
    if ledger.propose(name, CHANGE, who=by) is not Outcome.ACCEPTED:
        raise AssertionError(ledger.detail)
    at = state.partition("+")[0]
    if at in ("approved", "in_force"):
        ledger.answer("approve", name, other)
    if state == "approved+one":
        ledger.answer("withdraw", name, by)
    if at == "in_force":
        ledger.until(ledger.proposal(name).effect_height + 1)
    if at == "rejected":
        ledger.answer("reject", name, other)
    if at == "withdrawn":
        ledger.answer("withdraw", name, by)
    if at == "lapsed":
        ledger.pass_time(15 * 86_400)
    if at == "superseded":
        ledger.agree("kz-kgd/another", CHANGE)
    return ledger


def certificate_in(state: str) -> c.Ledger:
    ledger = s.movement_at("started").under("phytosanitary", 1)
    if state == "-":
        return ledger
    for number in (CERTIFICATE, OTHER_CERTIFICATE):
        ledger.must("phytosanitary.issue", "kz-kgd/officer", number, _certificate_payload("issue", ledger))
    if state == "lapsed":
        ledger.pass_time(31 * 86_400)
    steps = {
        "recognised": "recognise",
        "suspended": "recognise suspend",
        "used": "recognise use_up",
        "refused": "refuse",
        "withdrawn": "withdraw",
        "replaced": "replace",
    }
    for event in words(steps.get(state, "")):
        sender = "kz-kgd/officer" if event in ("withdraw", "replace") else "cn-gacc/officer"
        ledger.must(f"phytosanitary.{event}", sender, CERTIFICATE, _certificate_payload(event, ledger))
    return ledger


MOVEMENT_STATES = words("""- planned loaded sealed sealed+suspended sealed+cleared started started+truck started+gate
    refused at_border offered offered+suspended disputed disputed+decided returned handed_over arrived unloaded
    discrepancy recovery recovery+lost discharged held held+over overdue overdue+over aborted aborted+over""")
DECLARATION_STATES = words("""- lodged lodged+invalidation registered registered+amendment registered+invalidation
    accepted accepted+amendment accepted+invalidation under_control under_control+invalidation released recognised
    unrecognised suspended withdrawn moving exited returned cleared rejected refused invalidated""")
PARTICIPANT_STATES = words("- active suspended revoked registrar")
PROPOSAL_STATES = words("- open open+theirs approved approved+one in_force rejected withdrawn lapsed superseded")
CERTIFICATE_STATES = words("- issued recognised suspended used refused withdrawn replaced lapsed")
# By contract and version: the states, and a ledger that stands in one.
STATES: dict[tuple[str, int], tuple[list[str], Callable[[str], c.Ledger]]] = {
    ("registry", 1): (PARTICIPANT_STATES, participant_in),
    ("registry", 2): (PARTICIPANT_STATES, partial(participant_in, version=2)),
    ("declaration", 1): (DECLARATION_STATES, declaration_in),
    ("escort", 1): (MOVEMENT_STATES, partial(movement_in, version=1)),
    ("escort", 2): (MOVEMENT_STATES, movement_in),
    ("governance", 1): (PROPOSAL_STATES, proposal_in),
    ("governance", 2): (PROPOSAL_STATES, partial(proposal_in, version=2)),
    ("phytosanitary", 1): (CERTIFICATE_STATES, certificate_in),
}


def _subject(contract: str, state: str) -> str:
    if contract == "registry":
        return {"-": "kz/nobody", "registrar": "kz-kgd/registrar"}.get(state, SUBJECT)
    if contract == "governance":
        return THEIRS if state.endswith("+theirs") else PROPOSAL
    return {"declaration": c.UCR, "escort": c.MRN, "phytosanitary": CERTIFICATE}[contract]


def _proposal_payload(event: str, state: str, ledger: c.Ledger) -> dict[str, Any]:
    if event == "propose":
        return {"title": "for the test", "changes": [CHANGE]}
    record = load_proposal(Working(ledger.state), _subject("governance", state))
    named = {"proposal": bytes(32) if record is None else record.statement}
    return named if event == "approve" else {**named, "reason": "x"}


def _certificate_payload(event: str, ledger: c.Ledger) -> dict[str, Any]:
    issue = {
        "ucr": c.UCR,
        "ephyto_sha256": bytes(range(32)),
        "plants": [{"name": "Triticum aestivum", "mass_g": 24_000_000}],
        "valid_until_ms": ledger.now_ms + 30 * 86_400_000,
    }
    payloads: dict[str, dict[str, Any]] = {
        "issue": issue,
        "recognise": {},
        "use_up": {"mrn": c.MRN},
        "replace": {"replacement": OTHER_CERTIFICATE, "reason": "x"},
    }
    return payloads.get(event, {"reason": "x"})


def _registry_payload(event: str, state: str) -> dict[str, Any]:
    reason = {"reason": "x"}
    new_key = {"key": c.key_of("brand new").cose_key}
    payloads: dict[str, dict[str, Any]] = {
        "enrol": {**new_key, "roles": ["truck"]},
        "rotate": new_key,
        "change_roles": {"roles": ["auditor"], **reason},
        "suspend_all": reason,
        "revoke_all": reason,
        "publish_envelope_key": {"authority": "kz-kgd", "key": bytes(range(32))},
    }
    kid = c.KEYS["kz-kgd/registrar"].kid if state == "registrar" else c.key_of(SUBJECT).kid
    return payloads.get(event, {"kid": kid, **reason})


def _payload(contract: str, event: str, state: str, ledger: c.Ledger) -> dict[str, Any]:
    if contract == "registry":
        return _registry_payload(event, state)
    if contract == "governance":
        return _proposal_payload(event, state, ledger)
    if contract == "phytosanitary":
        return _certificate_payload(event, ledger)
    if contract == "declaration":
        payload = (s.STATUS_EVENTS | s.RECOGNITION_EVENTS)[event].payload(s.declaration_at("accepted"))
        numbered = state != "-" and bool(ledger.declaration(c.UCR).number)
        if event in ("accept_amendment", "refuse_amendment") and not numbered:
            payload["number"] = c.make_kz_number(7)
        return payload
    if event in ("position", "plan", "start", "incident"):
        return {"position": {"fix": c.FIX}, "plan": c.plan(), "start": {}, "incident": {"code": "03"}}[event]
    source = ledger if state not in ("-", "planned", "loaded") else s.movement_at("sealed")
    payload = s.ESCORT_EVENTS[event].payload(source)
    if "seals" in payload and not payload["seals"]:
        payload["seals"] = c.readings()
    return payload


# ---------------------------------------------------------------------------------------------------------------------
# The walk.


def test_every_contract_is_walked_in_every_version() -> None:
    assert set(TABLES) == set(STATES) == set(CONTRACTS)


@pytest.mark.parametrize("contract", TABLES, ids=NAMES)
def test_the_tables_here_name_every_event_of_the_contract(contract: tuple[str, int]) -> None:
    assert set(TABLES[contract].taken) == set(CONTRACTS[contract].schemas)


@pytest.mark.parametrize("contract", TABLES, ids=NAMES)
def test_the_whole_matrix_is_as_the_tables_say(contract: tuple[str, int]) -> None:
    """Each wrong cell is listed: event, state, sender, validity, what the tables say, what the contract did."""
    table, name = TABLES[contract], contract[0]
    states, ledger_in = STATES[contract]
    wrong, cells = [], 0
    for state in states:
        ledger = ledger_in(state)
        ledger.state.records.update({} if name == "registry" else _everybody_with_every_key())
        sub, now_ms = _subject(name, state), ledger.now_ms
        execution = BlockExecution(ledger.state, now_ms, ledger.height)
        for event in table.taken:
            payload = _payload(name, event, state, ledger)
            for sender in EVERYBODY:
                for validity in KEYS:
                    key = key_of(sender, validity)
                    statement = c.fake_statement(f"{name}.{event}", sender.name, sub, payload, now_ms // 1000, key)
                    outcome = execution.execute(statement, c.CHECK)
                    cells += 1
                    expected = table.expected(event, sender, state, validity)
                    if outcome is not expected:
                        wrong.append((event, state, sender.name, validity, expected.fact, outcome.fact))
                    if outcome is Outcome.ACCEPTED:  # a refusal leaves no trace; what was taken does
                        execution = BlockExecution(ledger.state, now_ms, ledger.height)
    assert wrong == []
    assert cells == len(states) * len(table.taken) * len(EVERYBODY) * len(KEYS)


def test_the_states_are_what_they_are_called() -> None:
    for state in MOVEMENT_STATES[1:]:
        for version in (1, 2):
            assert movement_in(state, version).movement(c.MRN).state == state.partition("+")[0]
    for state in DECLARATION_STATES[1:]:
        record = declaration_in(state).declaration(c.UCR)
        names = (record.status, record.recognition.state)
        named = {"unrecognised": "refused", "moving": "released", "exited": "released", "returned": "released"}
        assert named.get(state, state.partition("+")[0]) in names
    for state in PROPOSAL_STATES[1:]:
        proposal = load_proposal(Working(proposal_in(state).state), _subject("governance", state))
        assert proposal is not None
        assert proposal.state == state.partition("+")[0]
    for state in CERTIFICATE_STATES[1:]:
        certificate = PHYTOSANITARY_CONTRACT.record.load(Working(certificate_in(state).state), CERTIFICATE)
        assert certificate is not None
        assert certificate.state == state
    for state in PARTICIPANT_STATES[1:-1]:
        key = participant_in(state).participant(SUBJECT).key(c.key_of(SUBJECT).kid)
        assert key is not None
        assert key.state == state

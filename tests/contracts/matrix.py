"""Who may do what, as tables written by hand: what `test_matrix` holds the contracts against.

They come from the customs domain and from the decisions on its gaps, not from the contracts. They name for every event
who may send it, in which states it is taken, and for the states in which the row is there but a fact stands in the way,
which one (`state@side`: for senders of that side). Everything else is refused, by the first of these that holds: the
key, the role, the side, the record, the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts.outcome import Outcome


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

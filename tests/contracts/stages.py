"""Ledgers that stand in each state of each machine, and for each event a sender and a payload that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from contracts import declaration as d
from contracts import escort as e
from contracts.machine import ABSENT
from tests.contracts import corridor as c

Ledger = c.Ledger
HOME = ("kz-kgd/officer", "kz-kgd/system")
PARTNER = ("cn-gacc/officer", "cn-gacc/system")
NEW_SEAL = {"id": "HS00000099", "class": "H", "container": c.BOX}
HEAVY = c.MASS + 2_000_000
REASON = {"reason": "because"}
EVIDENCE = {"kind": "certificate of exit", "number": "EX-1", "sha256": c.PHOTO}


@dataclass(frozen=True)
class Event:
    """Who may send it, as people write it down, and with what."""

    senders: tuple[str, ...]
    payload: Callable[[Ledger], dict[str, Any]]
    before: Mapping[str, tuple[tuple[str, str, Any], ...]] = field(default_factory=dict)  # by state; "*" any
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by state, other senders than `senders`

    def senders_at(self, state: str) -> tuple[str, ...]:
        return self.elsewhere.get(state, self.senders)


def _fixed(**payload: Any) -> Callable[[Ledger], dict[str, Any]]:
    return lambda ledger: payload


_ASK_AMENDMENT = (
    ("declaration.request_amendment", "kz/declarant/agro", {"content": c.content(gross_mass_g=34_000_000), **REASON}),
)
_ASK_INVALIDATION = (("declaration.request_invalidation", "kz/declarant/agro", REASON),)
_AMENDABLE = {d.REGISTERED: _ASK_AMENDMENT, d.ACCEPTED: _ASK_AMENDMENT}
_BEFORE_RELEASED = dict.fromkeys((d.LODGED, d.REGISTERED, d.ACCEPTED, d.UNDER_CONTROL), _ASK_INVALIDATION)


def _amendment_number(ledger: Ledger) -> dict[str, Any]:
    return {} if ledger.declaration(c.UCR).number else {"number": c.make_kz_number(7)}


STATUS_EVENTS: dict[str, Event] = {
    "lodge": Event(("kz/declarant/agro", "kz/declarant/other"), lambda ledger: dict(c.DECLARATION_STEPS[0][2])),
    "register": Event(HOME, _fixed()),
    "reject": Event(HOME, _fixed(reasons=["illegible"])),
    "accept": Event(HOME, _fixed(number=c.make_kz_number(1))),
    "control": Event(HOME, _fixed(control="scan")),
    "control_result": Event(HOME, _fixed(result="satisfactory")),
    "refuse": Event(HOME, _fixed(reasons=["prohibited"])),
    "request_amendment": Event(("kz/declarant/agro",), _fixed(content=c.content(), reason="typing error")),
    "accept_amendment": Event(HOME, _amendment_number, _AMENDABLE),
    "refuse_amendment": Event(HOME, lambda ledger: {**_amendment_number(ledger), **REASON}, _AMENDABLE),
    "release": Event(HOME, _fixed()),
    "clear": Event(HOME, _fixed(evidence=EVIDENCE)),
    "request_invalidation": Event(("kz/declarant/agro",), _fixed(reason="not sent")),
    "refuse_invalidation": Event(HOME, _fixed(reason="under control"), _BEFORE_RELEASED),
    "invalidate": Event(HOME, _fixed(reason="asked"), _BEFORE_RELEASED),
}

RECOGNITION_EVENTS: dict[str, Event] = {
    "recognise": Event(PARTNER, lambda ledger: c.decision(number=c.make_cn_number(1))),
    "refuse_recognition": Event(PARTNER, lambda ledger: c.decision()),
    "suspend_recognition": Event(PARTNER, lambda ledger: c.decision()),
    "resume_recognition": Event(PARTNER, lambda ledger: c.decision()),
    "withdraw_recognition": Event(PARTNER, lambda ledger: c.decision()),
}

GATE, FAR_GATE, THE_TRUCK = "kz/terminal/bakhty", "cn/terminal/baketu", "kz/truck/t-001"


def _readings(ledger: Ledger) -> list[dict[str, str]]:
    return [{"id": seal, "state": "intact"} for seal in ledger.movement(c.MRN).seals_in_force()]


ESCORT_EVENTS: dict[str, Event] = {
    "plan": Event(HOME, lambda ledger: c.plan()),
    "load": Event((GATE,), _fixed(containers=[c.BOX], mass_g=c.MASS)),
    "seal": Event((*HOME, GATE), lambda ledger: {"seals": c.new_seals(), "photo_sha256": c.PHOTO}),
    "start": Event(HOME, _fixed()),
    "refuse_start": Event(HOME, _fixed(reason="documents")),
    "position": Event((THE_TRUCK,), _fixed(fix=c.FIX)),
    "reach_border": Event((GATE, THE_TRUCK), _fixed()),
    "offer": Event((GATE,), lambda ledger: {"seals": _readings(ledger), "mass_g": c.MASS, "photo_sha256": c.PHOTO}),
    "accept": Event((FAR_GATE,), lambda ledger: {"seals": _readings(ledger), "mass_g": c.MASS}),
    "accept_with_differences": Event((FAR_GATE,), lambda ledger: {"seals": _readings(ledger), "mass_g": HEAVY}),
    "refuse_handover": Event((*PARTNER, FAR_GATE), _fixed(reason="queue closed")),
    "resolve": Event(("kz-kgd/officer", "cn-gacc/officer"), _fixed(decision="handed_over", reason="weighed again")),
    "arrive": Event((FAR_GATE,), _fixed()),
    "unload": Event(PARTNER, lambda ledger: {"as_declared": True, "seals": _readings(ledger)}),
    "discrepancy": Event(PARTNER, _fixed(findings=["two bags missing"])),
    "recover": Event(PARTNER, _fixed(reason="duty on two bags"), elsewhere={e.ABORTED: HOME}),
    "discharge": Event(PARTNER, _fixed(reason="duty paid"), elsewhere={e.ABORTED: HOME, e.RETURNED: HOME}),
    "turn_back": Event(("kz-kgd/officer",), _fixed(reason="refused for good")),
    "resume": Event(("kz-kgd/officer",), _fixed(seals=[NEW_SEAL])),
    "abort": Event(("kz-kgd/officer",), _fixed(reason="goods spoilt")),
    "resolve_overdue": Event(("kz-kgd/officer",), _fixed(decision="continue", limit_s=3600, reason="storm")),
    # Who may report depends on where it stands; `test_escort` has the whole of it.
    "incident": Event((THE_TRUCK,), _fixed(code="04")),
}


def with_steps(ledger: Ledger, *steps: tuple[str, str, str, dict[str, Any]]) -> Ledger:
    for kind, iss, sub, payload in steps:
        ledger.must(kind, iss, sub, payload)
    return ledger


@cache
def _declaration_at(status: str) -> Ledger:
    happy = {ABSENT: "", d.LODGED: "lodge", d.REGISTERED: "register", d.ACCEPTED: "accept", d.RELEASED: "release"}
    ledger = Ledger.of_corridor()
    if status == ABSENT:
        return ledger
    if status in happy:
        return c.to_declaration(ledger, happy[status])
    came_from, steps = {
        d.UNDER_CONTROL: (d.ACCEPTED, ("control",)),
        d.CLEARED: (d.RELEASED, ("clear",)),
        d.REJECTED: (d.LODGED, ("reject",)),
        d.REFUSED: (d.ACCEPTED, ("refuse",)),
        d.INVALIDATED: (d.LODGED, ("request_invalidation", "invalidate")),
    }[status]
    ledger = _declaration_at(came_from).copy()
    for name in steps:
        event = STATUS_EVENTS[name]
        ledger.must(f"declaration.{name}", event.senders[0], c.UCR, event.payload(ledger))
    return ledger


def declaration_at(status: str) -> Ledger:
    return _declaration_at(status).copy()


@cache
def _recognition_at(state: str) -> Ledger:
    ledger = declaration_at(d.RELEASED)
    steps = {
        d.NONE: (),
        d.RECOGNISED: ("recognise",),
        d.REFUSED: ("refuse_recognition",),
        d.SUSPENDED: ("recognise", "suspend_recognition"),
        d.WITHDRAWN: ("recognise", "withdraw_recognition"),
    }[state]
    for name in steps:
        ledger.must(f"declaration.{name}", PARTNER[0], c.UCR, RECOGNITION_EVENTS[name].payload(ledger))
    return ledger


def recognition_at(state: str) -> Ledger:
    return _recognition_at(state).copy()


_BRANCHES: dict[str, tuple[str, tuple[tuple[str, str, dict[str, Any]], ...]]] = {
    e.REFUSED: (e.SEALED, (("refuse_start", HOME[0], REASON),)),
    e.DISPUTED: (e.OFFERED, (("accept_with_differences", FAR_GATE, {"seals": c.readings(), "mass_g": HEAVY}),)),
    e.RETURNED: (
        e.DISPUTED,
        (
            ("resolve", HOME[0], {"decision": "returned", **REASON}),
            ("resolve", PARTNER[0], {"decision": "returned", **REASON}),
        ),
    ),
    e.UNLOADED: (e.ARRIVED, (("unload", PARTNER[0], {"as_declared": False, "seals": c.readings()}),)),
    e.DISCREPANCY: (e.UNLOADED, (("discrepancy", PARTNER[0], {"findings": ["short"]}),)),
    e.RECOVERY: (e.DISCREPANCY, (("recover", PARTNER[0], REASON),)),
    e.HELD: (e.STARTED, (("incident", "kz/eseal/e-1", {"code": "01", "seal": c.ESEAL_ID}),)),
    e.ABORTED: (e.HELD, (("abort", HOME[0], REASON),)),
}


@cache
def _movement_at(state: str, version: int) -> Ledger:
    if state == ABSENT:
        return recognition_at(d.RECOGNISED).under("escort", version)
    if state == e.OVERDUE:
        ledger = movement_at(e.STARTED, version)
        ledger.pass_time(3600)
        return ledger
    if state not in _BRANCHES:
        return c.at(state, version)
    came_from, steps = _BRANCHES[state]
    ledger = movement_at(came_from, version)
    return with_steps(ledger, *((f"escort.{event}", iss, c.MRN, payload) for event, iss, payload in steps))


def movement_at(state: str, version: int = 2) -> Ledger:
    return _movement_at(state, version).copy()


MOVEMENT_STATES = (
    ABSENT, e.PLANNED, e.LOADED, e.SEALED, e.STARTED, e.REFUSED, e.AT_BORDER, e.OFFERED, e.HANDED_OVER, e.DISPUTED,
    e.RETURNED, e.ARRIVED, e.UNLOADED, e.DISCREPANCY, e.RECOVERY, e.DISCHARGED, e.HELD, e.OVERDUE, e.ABORTED,
)  # fmt: skip
STATUSES = (
    ABSENT, d.LODGED, d.REGISTERED, d.ACCEPTED, d.UNDER_CONTROL, d.RELEASED, d.CLEARED, d.REJECTED, d.REFUSED,
    d.INVALIDATED,
)  # fmt: skip
RECOGNITIONS = (d.NONE, d.RECOGNISED, d.REFUSED, d.SUSPENDED, d.WITHDRAWN)

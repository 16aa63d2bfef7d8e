"""The tables against the specification, written down here a second time, row by row; and every row of them executed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from contracts import declaration as d
from contracts import escort as e
from contracts import registry as r
from contracts.catalogue import CONTRACTS
from contracts.machine import ABSENT, ROLES, Transitions
from contracts.outcome import Outcome
from contracts.payloads import SCHEMAS
from tests.contracts import corridor as c
from tests.contracts import stages as s

# from | event | roles | to. Written from the domain's tables, not from the code.
DECLARATION_SPECIFICATION = """
-                                            lodge                 declarant  lodged
lodged                                       register              home       registered
lodged registered                            reject                home       rejected
registered                                   accept                home       accepted
accepted                                     control               home       under_control
under_control                                control_result        home       accepted
under_control accepted                       refuse                home       refused
registered                                   request_amendment     declarant  registered
accepted                                     request_amendment     declarant  accepted
registered accepted                          accept_amendment      home       accepted
registered accepted                          refuse_amendment      home       accepted
accepted                                     release               home       released
released                                     clear                 home       cleared
lodged                                       request_invalidation  declarant  lodged
registered                                   request_invalidation  declarant  registered
accepted                                     request_invalidation  declarant  accepted
under_control                                request_invalidation  declarant  under_control
lodged                                       refuse_invalidation   home       lodged
registered                                   refuse_invalidation   home       registered
accepted                                     refuse_invalidation   home       accepted
under_control                                refuse_invalidation   home       under_control
lodged registered accepted under_control     invalidate            home       invalidated
released                                     invalidate            home       invalidated
"""
RECOGNITION_SPECIFICATION = """
none                   recognise              home  recognised
none                   refuse_recognition     home  refused
recognised             suspend_recognition    home  suspended
suspended              resume_recognition     home  recognised
recognised suspended   withdraw_recognition   home  withdrawn
"""
ESCORT_SPECIFICATION = """
-                         plan                     customs           planned
planned                   load                     terminal          loaded
loaded                    seal                     customs+terminal  sealed
sealed                    start                    customs           started
planned loaded sealed     refuse_start             customs           refused
started                   position                 truck             started
handed_over               position                 truck             handed_over
overdue                   position                 truck             overdue
started                   reach_border             truck+terminal    started at_border
at_border                 offer                    terminal          offered
offered                   accept                   terminal          handed_over
offered                   accept_with_differences  terminal          disputed
offered                   refuse_handover          customs+terminal  at_border
disputed                  resolve                  officer           disputed handed_over returned
handed_over               arrive                   terminal          arrived
arrived                   unload                   customs           discharged unloaded
unloaded                  discrepancy              customs           discrepancy
discrepancy aborted       recover                  customs           recovery
discrepancy recovery      discharge                customs           discharged
aborted returned          discharge                customs           discharged
at_border                 turn_back                officer           returned
started                   incident                 reporters         started held aborted
at_border                 incident                 reporters         at_border held aborted
offered                   incident                 reporters         offered held aborted
handed_over               incident                 reporters         handed_over held aborted
held                      resume                   officer           started at_border offered handed_over
held                      abort                    officer           aborted
overdue                   resolve_overdue          officer           started handed_over aborted recovery
"""
# Version 2 has besides: what a truck reports while it is held or at the border, and of a journey that is over.
ESCORT_2_SPECIFICATION = (
    ESCORT_SPECIFICATION
    + """
at_border   position  truck  at_border
offered     position  truck  offered
disputed    position  truck  disputed
held        position  truck  held
arrived     position  truck  arrived
unloaded    position  truck  unloaded
discrepancy position  truck  discrepancy
recovery    position  truck  recovery
discharged  position  truck  discharged
returned    position  truck  returned
aborted     position  truck  aborted
"""
)
REGISTRY_SPECIFICATION = """
-                    enrol    registrar  enrolled
enrolled             rotate   registrar  enrolled
enrolled             publish_envelope_key registrar enrolled
enrolled             change_roles registrar enrolled
enrolled             suspend_all registrar enrolled
enrolled             revoke_all registrar enrolled
active               suspend  registrar  suspended
suspended            resume   registrar  active
active suspended     revoke   registrar  revoked
"""
ROLES_OF = {
    "home": {"customs.officer", "customs.system"},
    "customs": {"customs.officer", "customs.system"},
    "customs+terminal": {"customs.officer", "customs.system", "terminal"},
    "truck+terminal": {"truck", "terminal"},
    "officer": {"customs.officer"},
    "registrar": {"customs.registrar"},
    "reporters": {"truck", "eseal", "terminal", "customs.officer"},
}


def _specified(text: str) -> dict[tuple[str, str], tuple[set[str], set[str]]]:
    """A row is states, event, roles, states: the event is the first word that is one of the table's."""
    rows = {}
    for line in filter(None, text.splitlines()):
        states, event, roles, targets = (part.strip() for part in _columns(line))
        for state in states.split():
            rows[(state, event)] = (ROLES_OF.get(roles, {roles}), set(targets.split()))
    return rows


def _columns(line: str) -> tuple[str, str, str, str]:
    words = line.split()
    at = next(index for index, word in enumerate(words) if word in _EVENT_NAMES and index > 0)
    return " ".join(words[:at]), words[at], words[at + 1], " ".join(words[at + 2 :])


_EVENT_NAMES = {kind.partition(".")[2] for kind in SCHEMAS}
SPECIFIED: list[tuple[str, str, Transitions]] = [
    ("status", DECLARATION_SPECIFICATION, d.TRANSITIONS),
    ("recognition", RECOGNITION_SPECIFICATION, d.RECOGNITION_TRANSITIONS),
    ("movement v1", ESCORT_SPECIFICATION, e.TRANSITIONS),
    ("movement", ESCORT_2_SPECIFICATION, e.TRANSITIONS_2),
    ("registry", REGISTRY_SPECIFICATION, {**r.PARTICIPANT_TRANSITIONS, **r.KEY_TRANSITIONS}),
]


@pytest.mark.parametrize(("name", "text", "table"), SPECIFIED, ids=[name for name, _, _ in SPECIFIED])
def test_a_table_has_the_rows_of_the_specification_and_no_other(name: str, text: str, table: Transitions) -> None:
    specified = _specified(text)
    assert set(table) == set(specified)
    for key, row in table.items():
        roles, targets = specified[key]
        assert ({who.role for who in row.who}, set(row.to)) == (roles, targets), key


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=[name for name, _ in CONTRACTS])
def test_all_rows_of_an_event_name_the_same_senders_and_creating_events_have_one_row(contract: object) -> None:
    for machine in contract.machines:  # type: ignore[attr-defined]
        events: dict[str, set[object]] = {}
        for (_, event), row in machine.transitions.items():
            events.setdefault(event, set()).add(row.who)
            assert {who.role for who in row.who} <= set(ROLES)
        assert all(len(who) == 1 for who in events.values())
        creating = {event for state, event in machine.transitions if state == ABSENT}
        assert all(state == ABSENT for state, event in machine.transitions if event in creating)


def test_every_event_has_a_schema_and_every_schema_an_event() -> None:
    events = {
        f"{contract.name}.{event}"
        for contract in CONTRACTS.values()
        for machine in contract.machines
        for _, event in machine.transitions
    }
    assert events == set(SCHEMAS)


def _send(ledger: c.Ledger, contract: str, name: str, event: s.Event, state: str, sender: str) -> Outcome:
    sub = c.UCR if contract == "declaration" else c.MRN
    for kind, iss, payload in event.before.get(state, ()):
        ledger.must(kind, iss, sub, payload)
    return ledger.send(f"{contract}.{name}", sender, sub, event.payload(ledger))


def _rows(table: Transitions) -> list[tuple[str, str]]:
    return list(table)


@pytest.mark.parametrize(("state", "name"), _rows(d.TRANSITIONS))
def test_each_row_of_the_status_leads_where_it_says(state: str, name: str) -> None:
    event = s.STATUS_EVENTS[name]
    for sender in event.senders:
        ledger = s.declaration_at(state)
        assert _send(ledger, "declaration", name, event, state, sender) is Outcome.ACCEPTED
        assert ledger.declaration(c.UCR).status in d.TRANSITIONS[(state, name)].to


@pytest.mark.parametrize(("state", "name"), _rows(d.RECOGNITION_TRANSITIONS))
def test_each_row_of_the_recognition_leads_where_it_says(state: str, name: str) -> None:
    event = s.RECOGNITION_EVENTS[name]
    for sender in event.senders:
        ledger = s.recognition_at(state)
        assert _send(ledger, "declaration", name, event, state, sender) is Outcome.ACCEPTED
        assert ledger.declaration(c.UCR).recognition.state in d.RECOGNITION_TRANSITIONS[(state, name)].to


ESCORTS = {1: e.TRANSITIONS, 2: e.TRANSITIONS_2}


@pytest.mark.parametrize(
    ("version", "state", "name"), [(version, *key) for version, table in ESCORTS.items() for key in _rows(table)]
)
def test_each_row_of_the_escort_leads_where_it_says(version: int, state: str, name: str) -> None:
    event = s.ESCORT_EVENTS[name]
    for sender in event.senders_at(state):
        ledger = s.movement_at(state, version)
        assert _send(ledger, "escort", name, event, state, sender) is Outcome.ACCEPTED, sender
        assert ledger.movement(c.MRN).state in ESCORTS[version][(state, name)].to


def _missing(states: tuple[str, ...], events: dict[str, s.Event], table: Transitions) -> list[tuple[str, str]]:
    return [key for key in itertools.product(states, events) if key not in table]


@pytest.mark.parametrize(("state", "name"), _missing(s.STATUSES, s.STATUS_EVENTS, d.TRANSITIONS))
def test_a_status_event_that_the_table_does_not_have_is_refused(state: str, name: str) -> None:
    event = s.STATUS_EVENTS[name]
    expected = Outcome.DECLARATION_TRANSITION_NOT_ALLOWED
    if name == "lodge":
        expected = Outcome.DECLARATION_ALREADY_LODGED
    if state == ABSENT:
        expected = Outcome.DECLARATION_UNKNOWN
    ledger = s.declaration_at(state)
    payload = event.payload(ledger) if state != ABSENT or "amendment" not in name else _absent_payload(name)
    assert ledger.send(f"declaration.{name}", event.senders[0], c.UCR, payload) is expected


def _absent_payload(name: str) -> dict[str, Any]:
    payloads: dict[str, dict[str, Any]] = {
        "request_amendment": {"content": c.content(), "reason": "x"},
        "accept_amendment": {},
        "refuse_amendment": {"reason": "x"},
    }
    return payloads[name]


@pytest.mark.parametrize(("state", "name"), _missing(s.RECOGNITIONS, s.RECOGNITION_EVENTS, d.RECOGNITION_TRANSITIONS))
def test_a_recognition_event_that_the_table_does_not_have_is_refused(state: str, name: str) -> None:
    ledger = s.recognition_at(state)
    event = s.RECOGNITION_EVENTS[name]
    outcome = ledger.send(f"declaration.{name}", event.senders[0], c.UCR, event.payload(ledger))
    assert outcome is Outcome.RECOGNITION_TRANSITION_NOT_ALLOWED


@pytest.mark.parametrize(
    ("version", "state", "name"),
    [(v, *key) for v, table in ESCORTS.items() for key in _missing(s.MOVEMENT_STATES, s.ESCORT_EVENTS, table)],
)
def test_an_escort_event_that_the_table_does_not_have_is_refused(version: int, state: str, name: str) -> None:
    expected = Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED
    if name == "plan":
        expected = Outcome.MOVEMENT_ALREADY_PLANNED
    if state == ABSENT:
        expected = Outcome.MOVEMENT_UNKNOWN
    ledger = s.movement_at(state, version)
    sealed = s.movement_at(e.SEALED, version)
    event = s.ESCORT_EVENTS[name]
    sender = event.senders[0]
    if state != ABSENT and name in ("resume", "abort", "resolve_overdue", "recover", "discharge"):
        # Whoever must stand on the side of custody stands on the other side after the handover.
        sender = f"{ledger.movement(c.MRN).custody.authority}/officer"
    assert ledger.send(f"escort.{name}", sender, c.MRN, event.payload(sealed)) is expected


# A plan has no record yet whose side could be compared: its declarations tell that it is another's to make.
NOT_THE_SENDER = (Outcome.ROLE_NOT_ALLOWED, Outcome.SIDE_NOT_ALLOWED, Outcome.DECLARATION_HOME_DIFFERS)


def _who_may(contract: str, sub: str, events: dict[str, s.Event], at: dict[str, c.Ledger]) -> None:
    for name, event in events.items():
        for sender in c.EVERYONE:
            ledger = at[name].copy()
            outcome = ledger.send(f"{contract}.{name}", sender, sub, event.payload(ledger))
            refused = outcome in NOT_THE_SENDER
            assert refused == (sender not in event.senders), (name, sender, outcome)
            assert refused or outcome is Outcome.ACCEPTED, (name, sender, outcome)


def _ready(contract: str, sub: str, events: dict[str, s.Event], table: Transitions, at: object) -> dict[str, c.Ledger]:
    """For each event, a ledger in the first state that has it."""
    ready = {}
    for name, event in events.items():
        state = next(state for state, other in table if other == name)
        ledger = at(state)  # type: ignore[operator]
        for kind, iss, payload in event.before.get(state, ()):
            ledger.must(kind, iss, sub, payload)
        ready[name] = ledger
    return ready


def test_each_status_event_is_taken_from_exactly_those_who_may_send_it() -> None:
    ready = _ready("declaration", c.UCR, s.STATUS_EVENTS, d.TRANSITIONS, s.declaration_at)
    _who_may("declaration", c.UCR, s.STATUS_EVENTS, ready)


def test_each_recognition_event_is_taken_from_exactly_those_who_may_send_it() -> None:
    ready = _ready("declaration", c.UCR, s.RECOGNITION_EVENTS, d.RECOGNITION_TRANSITIONS, s.recognition_at)
    _who_may("declaration", c.UCR, s.RECOGNITION_EVENTS, ready)


def test_each_escort_event_is_taken_from_exactly_those_who_may_send_it() -> None:
    events = {name: event for name, event in s.ESCORT_EVENTS.items() if name != "incident"}
    ready = _ready("escort", c.MRN, events, e.TRANSITIONS_2, s.movement_at)
    _who_may("escort", c.MRN, events, ready)

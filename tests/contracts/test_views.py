"""Views: plain data that JSON can hold, from every state."""

from __future__ import annotations

import json

import pytest

from contracts import escort as e
from contracts.views import declaration_view, movement_view, participant_view
from tests.contracts import corridor as c
from tests.contracts import stages as s


def test_every_record_of_every_stage_is_shown_as_json() -> None:
    for state in s.MOVEMENT_STATES[1:]:
        view = movement_view(s.movement_at(state).movement(c.MRN))
        assert json.loads(json.dumps(view)) == view
    for status in s.STATUSES[1:]:
        view = declaration_view(s.declaration_at(status).declaration(c.UCR))
        assert json.loads(json.dumps(view)) == view
    for state in s.RECOGNITIONS:
        view = declaration_view(s.recognition_at(state).declaration(c.UCR))
        assert json.loads(json.dumps(view)) == view
    view = participant_view(c.Ledger.of_corridor().participant("kz/truck/t-001"))
    assert json.loads(json.dumps(view)) == view


def test_custody_and_the_other_plain_facts_of_a_movement_are_there() -> None:
    view = movement_view(s.movement_at(e.HANDED_OVER).movement(c.MRN))
    assert (view["mrn"], view["state"], view["truck"], view["vehicle"]) == (
        c.MRN, "handed_over", "kz/truck/t-001", "fleet/BKT-0001",
    )  # fmt: skip
    assert view["custody"]["authority"] == "cn-gacc"
    assert view["custody"]["liable"] == "cn/carrier/silk"
    assert view["masses_g"] == {"loaded": c.MASS, "offered": c.MASS, "accepted": c.MASS + 10_000}
    assert view["declarations"] == [{"ucr": c.UCR, "version": 1}]
    assert view["pending"] == [{"event": "arrive", "by": "cn-gacc", "role": "terminal"}]


def test_a_declaration_shows_both_numbers_and_its_recognition() -> None:
    view = declaration_view(s.recognition_at("recognised").declaration(c.UCR))
    assert view["numbers"] == {"KZ": c.make_kz_number(1), "CN": c.make_cn_number(1)}
    assert view["recognition"]["in_force"] is True
    assert view["recognition"]["legal_basis"]["agreement"] == "Smart Customs pilot"
    assert view["pending"] == [{"event": "clear", "by": "kz-kgd", "role": "customs"}]


@pytest.mark.parametrize("state", s.MOVEMENT_STATES[1:])
def test_what_a_movement_waits_for_is_what_the_table_takes_next(state: str) -> None:
    pending = movement_view(s.movement_at(state).movement(c.MRN))["pending"]
    events = {event for from_state, event in e.TRANSITIONS_2 if from_state == state} - {"position", "incident"}
    named = {word.strip(",") for each in pending for word in each["event"].split()} & events
    ends = state in (e.REFUSED, e.DISCHARGED)
    assert bool(pending) != ends
    assert named == (events - {"refuse_start"} if state in (e.PLANNED, e.LOADED) else events)


def test_a_dispute_waits_for_whoever_has_not_decided() -> None:
    ledger = s.movement_at(e.DISPUTED)
    ledger.must("escort.resolve", "kz-kgd/officer", c.MRN, {"decision": "returned", "reason": "x"})
    pending = movement_view(ledger.movement(c.MRN))["pending"]
    assert pending == [{"event": "resolve", "by": "cn-gacc", "role": "officer"}]
    ledger.must("escort.resolve", "cn-gacc/officer", c.MRN, {"decision": "handed_over", "reason": "x"})
    assert len(movement_view(ledger.movement(c.MRN))["pending"]) == 2


def test_the_border_waits_for_whoever_has_not_reported() -> None:
    ledger = s.movement_at(e.STARTED)
    assert len(movement_view(ledger.movement(c.MRN))["pending"]) == 2
    ledger.must("escort.reach_border", "kz/truck/t-001", c.MRN, {})
    pending = movement_view(ledger.movement(c.MRN))["pending"]
    assert pending == [{"event": "reach_border", "by": "kz-kgd", "role": "terminal"}]


def test_a_declaration_with_requests_waits_for_their_answers() -> None:
    ledger = s.declaration_at("accepted")
    declarant = "kz/declarant/agro"
    ledger.must("declaration.request_amendment", declarant, c.UCR, {"content": c.content(), "reason": "x"})
    ledger.must("declaration.request_invalidation", declarant, c.UCR, {"reason": "x"})
    view = declaration_view(ledger.declaration(c.UCR))
    assert [each["event"] for each in view["pending"]] == [
        "release",
        "accept_amendment or refuse_amendment",
        "invalidate or refuse_invalidation",
        "recognise or refuse_recognition",
    ]
    assert view["amendment"]["reason"] == "x"
    suspended = declaration_view(s.recognition_at("suspended").declaration(c.UCR))
    assert suspended["pending"][-1]["by"] == "cn-gacc"

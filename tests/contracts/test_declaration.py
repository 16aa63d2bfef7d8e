"""Declarations: numbers, amendments, corrections, invalidation, and recognition bound to a version."""

from __future__ import annotations

from typing import Any

import pytest

from contracts import declaration as d
from contracts.outcome import Outcome
from tests.contracts import corridor as c
from tests.contracts import stages as s

HOME, PARTNER, DECLARANT = "kz-kgd/officer", "cn-gacc/officer", "kz/declarant/agro"
LODGE: dict[str, Any] = c.DECLARATION_STEPS[0][2]
OTHER = c.make_ucr(2)


def _lodge(**changes: Any) -> Outcome:
    return c.Ledger.of_corridor().send("declaration.lodge", DECLARANT, c.UCR, {**LODGE, **changes})


def test_a_lodged_declaration_keeps_who_lodged_what_and_when() -> None:
    ledger = s.declaration_at(d.LODGED)
    record = ledger.declaration(c.UCR)
    assert (record.declarant, record.home, record.partner, record.version) == (DECLARANT, "kz-kgd", "cn-gacc", 1)
    assert record.content == d.content_of(c.content())
    assert record.recognition.state == d.NONE


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"partner": "kz-kgd"}, Outcome.DECLARATION_PARTNER_IS_HOME),
        ({"partner": "uz-sct"}, Outcome.DECLARATION_AUTHORITY_UNKNOWN),
        ({"home": "uz-sct"}, Outcome.SIDE_NOT_ALLOWED),
        ({"home": "cn-gacc", "partner": "kz-kgd"}, Outcome.SIDE_NOT_ALLOWED),
        ({"carrier": "kz/nobody"}, Outcome.DECLARATION_CARRIER_UNKNOWN),
        ({"carrier": "kz/truck/t-001"}, Outcome.DECLARATION_CARRIER_UNKNOWN),
        ({"carrier": "kz/carrier/steppe"}, Outcome.ACCEPTED),
        ({"content": c.content(gross_mass_g=32_999_999)}, Outcome.GOODS_MASS_EXCEEDS_GROSS_MASS),
        ({"content": c.content(gross_mass_g=33_000_000)}, Outcome.ACCEPTED),
    ],
)
def test_what_is_lodged_must_hang_together(changes: dict[str, Any], outcome: Outcome) -> None:
    assert _lodge(**changes) is outcome


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (c.make_kz_number(5), Outcome.ACCEPTED),
        ("39855301/261122/0000123", Outcome.ACCEPTED),
        (c.make_cn_number(5), Outcome.DECLARATION_NUMBER_INVALID),
        ("55301/310226/0000001", Outcome.DECLARATION_NUMBER_INVALID),
    ],
)
def test_the_number_has_the_form_of_the_country_that_gives_it(number: str, outcome: Outcome) -> None:
    assert s.declaration_at(d.REGISTERED).send("declaration.accept", HOME, c.UCR, {"number": number}) is outcome


def test_a_number_leads_to_one_declaration_only() -> None:
    ledger = s.declaration_at(d.RELEASED)
    ledger.must("declaration.recognise", PARTNER, c.UCR, c.decision(number=c.make_cn_number(1)))
    for event, iss, payload in c.DECLARATION_STEPS[:2]:
        ledger.must(f"declaration.{event}", iss, OTHER, payload)
    taken = {"number": c.make_kz_number(1)}
    assert ledger.send("declaration.accept", HOME, OTHER, taken) is Outcome.DECLARATION_NUMBER_TAKEN
    ledger.must("declaration.accept", HOME, OTHER, {"number": c.make_kz_number(2)})
    recognise = c.decision(number=c.make_cn_number(1))
    assert ledger.send("declaration.recognise", PARTNER, OTHER, recognise) is Outcome.DECLARATION_NUMBER_TAKEN
    assert set(ledger.state.records) >= {
        f"number/kz/{c.make_kz_number(1)}",
        f"number/kz/{c.make_kz_number(2)}",
        f"number/cn/{c.make_cn_number(1)}",
    }


NEW_CONTENT = c.content(gross_mass_g=34_000_000, consignee="Urumqi Mill")
ASK = {"content": NEW_CONTENT, "reason": "weighed again"}


def test_an_accepted_amendment_is_a_new_version_that_must_be_recognised_anew() -> None:
    ledger = s.declaration_at(d.ACCEPTED)
    ledger.must("declaration.recognise", PARTNER, c.UCR, c.decision(number=c.make_cn_number(1)))
    ledger.must("declaration.request_amendment", DECLARANT, c.UCR, ASK)
    assert ledger.declaration(c.UCR).content == d.content_of(c.content())
    assert ledger.declaration(c.UCR).recognised()
    ledger.must("declaration.accept_amendment", HOME, c.UCR, {})
    record = ledger.declaration(c.UCR)
    assert (record.version, record.status, record.amendment) == (2, d.ACCEPTED, None)
    assert record.content == d.content_of(NEW_CONTENT)
    assert record.recognition == d.Recognition()
    stale = c.decision(number=c.make_cn_number(1))
    assert ledger.send("declaration.recognise", PARTNER, c.UCR, stale) is Outcome.DECLARATION_VERSION_DIFFERS
    # The partner may give its number again: it is the number of the same declaration.
    ledger.must("declaration.recognise", PARTNER, c.UCR, c.decision(2, number=c.make_cn_number(1)))
    assert ledger.declaration(c.UCR).recognised()


def test_a_refused_amendment_changes_neither_content_nor_recognition() -> None:
    ledger = s.declaration_at(d.ACCEPTED)
    ledger.must("declaration.recognise", PARTNER, c.UCR, c.decision(number=c.make_cn_number(1)))
    before = ledger.declaration(c.UCR)
    ledger.must("declaration.request_amendment", DECLARANT, c.UCR, ASK)
    ledger.must("declaration.refuse_amendment", HOME, c.UCR, {"reason": "no"})
    after = ledger.declaration(c.UCR)
    assert (after.content, after.version, after.recognition) == (before.content, 1, before.recognition)
    assert after.amendment is None


def test_a_registered_declaration_gets_its_number_with_the_answer_to_its_amendment() -> None:
    for event, more in (("accept_amendment", {}), ("refuse_amendment", {"reason": "no"})):
        ledger = s.declaration_at(d.REGISTERED)
        ledger.must("declaration.request_amendment", DECLARANT, c.UCR, ASK)
        kind = f"declaration.{event}"
        assert ledger.send(kind, HOME, c.UCR, more) is Outcome.DECLARATION_NUMBER_MISSING
        bad = {**more, "number": "1"}
        assert ledger.send(kind, HOME, c.UCR, bad) is Outcome.DECLARATION_NUMBER_INVALID
        ledger.must(kind, HOME, c.UCR, {**more, "number": c.make_kz_number(3)})
        assert ledger.declaration(c.UCR).number == c.make_kz_number(3)


def test_an_amendment_is_asked_once_answered_once_and_stands_in_the_way_of_release() -> None:
    ledger = s.declaration_at(d.ACCEPTED)
    for event in ("accept_amendment", "refuse_amendment"):
        payload = {"reason": "x"} if event.startswith("refuse") else {}
        assert ledger.send(f"declaration.{event}", HOME, c.UCR, payload) is Outcome.AMENDMENT_NOT_PENDING
    ledger.must("declaration.request_amendment", DECLARANT, c.UCR, ASK)
    assert ledger.send("declaration.request_amendment", DECLARANT, c.UCR, ASK) is Outcome.AMENDMENT_PENDING
    assert ledger.send("declaration.release", HOME, c.UCR, {}) is Outcome.AMENDMENT_PENDING
    again = {"number": c.make_kz_number(9)}
    assert ledger.send("declaration.accept_amendment", HOME, c.UCR, again) is Outcome.DECLARATION_NUMBER_ALREADY_GIVEN
    ledger.must("declaration.accept_amendment", HOME, c.UCR, {})
    ledger.must("declaration.release", HOME, c.UCR, {})


def test_an_amendment_is_the_lodgers_own_to_ask() -> None:
    ledger = s.declaration_at(d.ACCEPTED)
    outcome = ledger.send("declaration.request_amendment", "kz/declarant/other", c.UCR, ASK)
    assert outcome is Outcome.SIDE_NOT_ALLOWED


def test_a_corrected_content_is_a_new_version_and_a_satisfactory_one_is_not() -> None:
    ledger = s.declaration_at(d.UNDER_CONTROL)
    kind = "declaration.control_result"
    assert ledger.send(kind, HOME, c.UCR, {"result": "corrected"}) is Outcome.CORRECTION_MISSING
    unasked = {"result": "satisfactory", "content": NEW_CONTENT}
    assert ledger.send(kind, HOME, c.UCR, unasked) is Outcome.CORRECTION_NOT_EXPECTED
    heavy = {"result": "corrected", "content": c.content(gross_mass_g=1)}
    assert ledger.send(kind, HOME, c.UCR, heavy) is Outcome.GOODS_MASS_EXCEEDS_GROSS_MASS
    satisfied = ledger.copy()
    satisfied.must(kind, HOME, c.UCR, {"result": "satisfactory"})
    assert satisfied.declaration(c.UCR).version == 1
    ledger.must(kind, HOME, c.UCR, {"result": "corrected", "content": NEW_CONTENT})
    record = ledger.declaration(c.UCR)
    assert (record.version, record.status, record.control, record.control_result) == (
        2,
        "accepted",
        "scan",
        "corrected",
    )


def test_invalidation_before_release_needs_the_declarants_request() -> None:
    for status in (d.LODGED, d.REGISTERED, d.ACCEPTED, d.UNDER_CONTROL):
        ledger = s.declaration_at(status)
        for event in ("invalidate", "refuse_invalidation"):
            outcome = ledger.send(f"declaration.{event}", HOME, c.UCR, {"reason": "x"})
            assert outcome is Outcome.INVALIDATION_NOT_REQUESTED
        ledger.must("declaration.request_invalidation", DECLARANT, c.UCR, {"reason": "not sent"})
        again = ledger.send("declaration.request_invalidation", DECLARANT, c.UCR, {"reason": "not sent"})
        assert again is Outcome.INVALIDATION_PENDING
        refused = ledger.copy()
        refused.must("declaration.refuse_invalidation", HOME, c.UCR, {"reason": "under control"})
        assert refused.declaration(c.UCR).invalidation_reason == ""
        ledger.must("declaration.invalidate", HOME, c.UCR, {"reason": "asked"})
        assert ledger.declaration(c.UCR).reasons == ("asked",)


def test_a_declaration_whose_invalidation_is_asked_is_not_released() -> None:
    ledger = s.declaration_at(d.ACCEPTED)
    ledger.must("declaration.request_invalidation", DECLARANT, c.UCR, {"reason": "not sent"})
    assert ledger.send("declaration.release", HOME, c.UCR, {}) is Outcome.INVALIDATION_PENDING


def test_a_declaration_on_the_way_is_neither_cleared_nor_invalidated() -> None:
    ledger = s.movement_at("started")
    assert ledger.send("declaration.clear", HOME, c.UCR, {}) is Outcome.DECLARATION_IN_MOVEMENT
    assert ledger.send("declaration.invalidate", HOME, c.UCR, {"reason": "x"}) is Outcome.DECLARATION_IN_MOVEMENT
    for ended in ("returned", "aborted", "refused"):
        assert s.movement_at(ended).send("declaration.invalidate", HOME, c.UCR, {"reason": "x"}) is Outcome.ACCEPTED


def test_goods_that_have_left_are_cleared_without_more_and_their_declaration_is_past_invalidating() -> None:
    ledger = s.movement_at("discharged")
    assert ledger.declaration(c.UCR).exits == 1
    refused = ledger.send("declaration.invalidate", HOME, c.UCR, {"reason": "x"})
    assert refused is Outcome.DECLARATION_HAS_EXITED
    ledger.must("declaration.clear", HOME, c.UCR, {})
    assert ledger.declaration(c.UCR).exit_evidence is None


@pytest.mark.parametrize("ended", ["returned", "aborted", "refused"])
def test_an_exit_that_no_movement_made_needs_another_proof(ended: str) -> None:
    ledger = s.movement_at(ended)
    assert ledger.declaration(c.UCR).exits == 0
    assert ledger.send("declaration.clear", HOME, c.UCR, {}) is Outcome.EXIT_NOT_CONFIRMED
    ledger.must("declaration.clear", HOME, c.UCR, {"evidence": s.EVIDENCE})
    proof = ledger.declaration(c.UCR).exit_evidence
    assert proof is not None
    assert (proof.kind, proof.number, proof.sha256) == tuple(s.EVIDENCE.values())


def test_a_correction_by_customs_ends_an_amendment_that_was_pending() -> None:
    ledger = s.declaration_at("accepted")
    ask = {"content": c.content(consignee="Somebody else"), "reason": "typing error"}
    ledger.must("declaration.request_amendment", "kz/declarant/agro", c.UCR, ask)
    ledger.must("declaration.control", HOME, c.UCR, {"control": "physical"})
    found = c.content(gross_mass_g=34_000_000)
    ledger.must("declaration.control_result", HOME, c.UCR, {"result": "corrected", "content": found})
    record = ledger.declaration(c.UCR)
    assert (record.version, record.amendment, record.content.gross_mass_g) == (2, None, 34_000_000)
    assert ledger.send("declaration.accept_amendment", HOME, c.UCR, {}) is Outcome.AMENDMENT_NOT_PENDING
    ledger.must("declaration.release", HOME, c.UCR, {})


def test_an_amendment_outlives_a_control_that_finds_nothing() -> None:
    ledger = s.declaration_at("accepted")
    ask = {"content": c.content(gross_mass_g=34_000_000), "reason": "typing error"}
    ledger.must("declaration.request_amendment", "kz/declarant/agro", c.UCR, ask)
    ledger.must("declaration.control", HOME, c.UCR, {"control": "documentary"})
    ledger.must("declaration.control_result", HOME, c.UCR, {"result": "satisfactory"})
    assert ledger.send("declaration.release", HOME, c.UCR, {}) is Outcome.AMENDMENT_PENDING
    ledger.must("declaration.accept_amendment", HOME, c.UCR, {})
    assert ledger.declaration(c.UCR).version == 2


def test_recognition_waits_for_acceptance_and_does_not_for_release() -> None:
    payload = c.decision(number=c.make_cn_number(1))
    for status, expected in (
        (d.LODGED, Outcome.DECLARATION_NOT_ACCEPTED),
        (d.REGISTERED, Outcome.DECLARATION_NOT_ACCEPTED),
        (d.ACCEPTED, Outcome.ACCEPTED),
        (d.UNDER_CONTROL, Outcome.ACCEPTED),
        (d.RELEASED, Outcome.ACCEPTED),
        (d.REJECTED, Outcome.DECLARATION_NOT_ACCEPTED),
        (d.REFUSED, Outcome.DECLARATION_NOT_ACCEPTED),
        (d.INVALIDATED, Outcome.DECLARATION_NOT_ACCEPTED),
    ):
        ledger = s.declaration_at(status)
        assert ledger.send("declaration.recognise", PARTNER, c.UCR, payload) is expected, status


def test_a_recognition_keeps_reason_legal_basis_number_and_version() -> None:
    record = s.recognition_at(d.SUSPENDED).declaration(c.UCR)
    assert record.recognition.number == c.make_cn_number(1)
    assert record.recognition.legal_basis == ("Smart Customs pilot", "4", "2025-07-01")
    assert not record.recognised()


@pytest.mark.parametrize(
    "event", ["refuse_recognition", "suspend_recognition", "resume_recognition", "withdraw_recognition"]
)
def test_every_decision_on_recognition_names_the_version_it_is_about(event: str) -> None:
    state = next(state for state, name in d.RECOGNITION_TRANSITIONS if name == event)
    ledger = s.recognition_at(state)
    outcome = ledger.send(f"declaration.{event}", PARTNER, c.UCR, c.decision(2))
    assert outcome is Outcome.DECLARATION_VERSION_DIFFERS


def test_the_home_side_cannot_recognise_its_own_declaration() -> None:
    ledger = s.declaration_at(d.RELEASED)
    payload = c.decision(number=c.make_cn_number(1))
    assert ledger.send("declaration.recognise", HOME, c.UCR, payload) is Outcome.SIDE_NOT_ALLOWED
    assert ledger.send("declaration.release", PARTNER, c.UCR, {}) is Outcome.SIDE_NOT_ALLOWED

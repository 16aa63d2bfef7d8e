"""The example contract: its table as a specification, every row executed, and what it refuses."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import phytosanitary as p
from contracts.catalogue import ALWAYS, EXAMPLES, newest_versions, usual_versions
from contracts.execute import contract_key, genesis_state
from contracts.machine import ABSENT, DEADLINE
from contracts.outcome import Outcome
from contracts.payloads import validate_subject
from contracts.schema import PayloadError
from contracts.working import Working
from ledger.cbor import encode
from tests.contracts import corridor as c
from tests.contracts import stages as s
from tests.contracts.governing import Governed, contract

NUMBER, OTHER = "KZ/2026-004711", "KZ/2026-004712"
KZ, CN = "kz-kgd/system", "cn-gacc/officer"
REASON = {"reason": "because"}
DAY_S = 86_400


def _payload(ledger: c.Ledger, ucr: str = c.UCR) -> dict[str, Any]:
    return {
        "ucr": ucr,
        "ephyto_sha256": bytes(range(32)),
        "plants": [{"name": "Triticum aestivum", "mass_g": 24_000_000}],
        "valid_until_ms": ledger.now_ms + 30 * DAY_S * 1000,
    }


def _with_contract(ledger: c.Ledger) -> c.Ledger:
    ledger = ledger.copy()
    ledger.state.write({contract_key("phytosanitary"): encode([1])})
    return ledger


@cache
def _started() -> c.Ledger:
    """A movement of the declared goods is on its way."""
    return _with_contract(s.movement_at("started"))


TO: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "issued": (),
    "recognised": (("recognise", CN, {}),),
    "suspended": (("recognise", CN, {}), ("suspend", CN, REASON)),
    "used": (("recognise", CN, {}), ("use_up", CN, {"mrn": c.MRN})),
    "refused": (("refuse", CN, REASON),),
    "withdrawn": (("withdraw", KZ, REASON),),
    "replaced": (("replace", KZ, {"replacement": OTHER, **REASON}),),
}


def _at(state: str) -> c.Ledger:
    """A certificate in a state; beside it another one for the same goods, issued."""
    ledger = _started().copy()
    if state == ABSENT:
        return ledger
    for number in (NUMBER, OTHER):
        ledger.must("phytosanitary.issue", KZ, number, _payload(ledger))
    if state == "lapsed":
        ledger.pass_time(31 * DAY_S)
        return ledger
    for event, iss, payload in TO[state]:
        ledger.must(f"phytosanitary.{event}", iss, NUMBER, payload)
    return ledger


def _certificate(ledger: c.Ledger, number: str = NUMBER) -> p.Certificate:
    record = p.PHYTOSANITARY.record.load(Working(ledger.state), number)
    assert isinstance(record, p.Certificate)
    return record


STATES = (*TO, "lapsed")
SENDERS = {"exporting": ("kz-kgd/officer", "kz-kgd/system"), "importing": ("cn-gacc/officer", "cn-gacc/system")}
# event | side | from | to. Written from ISPM 12 and the brief, not from the code.
SPECIFICATION = [
    ("issue", "exporting", (ABSENT,), "issued"),
    ("recognise", "importing", ("issued",), "recognised"),
    ("refuse", "importing", ("issued",), "refused"),
    ("suspend", "importing", ("recognised",), "suspended"),
    ("resume", "importing", ("suspended",), "recognised"),
    ("use_up", "importing", ("recognised",), "used"),
    ("withdraw", "exporting", ("issued", "recognised", "suspended"), "withdrawn"),
    ("replace", "exporting", ("issued", "recognised", "suspended"), "replaced"),
]
PAYLOADS: dict[str, dict[str, Any]] = {
    "recognise": {},
    "use_up": {"mrn": c.MRN},
    "replace": {"replacement": OTHER, **REASON},
}


def _send(ledger: c.Ledger, event: str, sender: str) -> Outcome:
    payload = _payload(ledger) if event == "issue" else PAYLOADS.get(event, REASON)
    return ledger.send(f"phytosanitary.{event}", sender, NUMBER, payload)


def test_the_table_is_the_specification() -> None:
    rows = {(state, event): (side, to) for event, side, states, to in SPECIFICATION for state in states}
    assert {key: (row.who[0].side.__name__, *row.to) for key, row in p.TRANSITIONS.items()} == rows


@pytest.mark.parametrize(("event", "side", "states", "to"), SPECIFICATION, ids=[row[0] for row in SPECIFICATION])
def test_a_row_is_for_its_side_in_its_states_and_for_nobody_else(
    event: str, side: str, states: tuple[str, ...], to: str
) -> None:
    for state in (ABSENT, *STATES):
        for sender in SENDERS[side]:
            ledger = _at(state)
            outcome = _send(ledger, event, sender)
            if state in states:
                assert outcome is Outcome.ACCEPTED
                assert (_certificate(ledger).state, _certificate(ledger).by) == (to, sender)
            else:
                assert outcome in (
                    Outcome.CERTIFICATE_UNKNOWN if state == ABSENT else Outcome.CERTIFICATE_TRANSITION_NOT_ALLOWED,
                    Outcome.CERTIFICATE_ALREADY_ISSUED,
                )
    other = SENDERS["importing" if side == "exporting" else "exporting"]
    for sender in (*other, "kz/declarant/agro", "kz/truck/t-001", "kz/auditor", "kz-kgd/registrar"):
        outcome = _send(_at(states[0]), event, sender)
        assert outcome in (
            Outcome.SIDE_NOT_ALLOWED,
            Outcome.ROLE_NOT_ALLOWED,
            # Nobody is on the wrong side of what is not there: the number's country and the declaration tell.
            *([Outcome.CERTIFICATE_COUNTRY_DIFFERS] if event == "issue" else []),
        )


def test_issuing_takes_the_sides_and_the_reader_from_the_declaration() -> None:
    record = _certificate(_at("issued"))
    assert (record.exporting, record.importing, record.declarant) == ("kz-kgd", "cn-gacc", "kz/declarant/agro")
    assert record.plants == (("Triticum aestivum", 24_000_000),)


@pytest.mark.parametrize(
    ("number", "changed", "outcome"),
    [
        ("CN/2026-1", {}, Outcome.CERTIFICATE_COUNTRY_DIFFERS),
        (NUMBER, {"ucr": "KZ26-999999"}, Outcome.CERTIFICATE_DECLARATION_UNKNOWN),
        (NUMBER, {"valid_until_ms": 1}, Outcome.CERTIFICATE_TIME_IS_OVER),
        (NUMBER, {"plants": []}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS),
        (NUMBER, {"ephyto_sha256": bytes(31)}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS),
        (NUMBER, {"ucr": "no ucr"}, Outcome.PAYLOAD_IDENTIFIER_INVALID),
        ("KZ2026", {}, Outcome.SUBJECT_INVALID),
    ],
)
def test_a_certificate_that_does_not_fit_is_not_issued(number: str, changed: dict[str, Any], outcome: Outcome) -> None:
    ledger = _at(ABSENT)
    assert ledger.send("phytosanitary.issue", KZ, number, {**_payload(ledger), **changed}) is outcome


def test_the_other_sides_declarations_are_not_ours_to_certify() -> None:
    ledger = _at(ABSENT)
    outcome = ledger.send("phytosanitary.issue", "cn-gacc/officer", "CN/2026-1", _payload(ledger))
    assert outcome is Outcome.CERTIFICATE_DECLARATION_UNKNOWN


@pytest.mark.parametrize("by", [NUMBER, "KZ/NONE"])
def test_a_certificate_is_replaced_by_another_one_that_is_there(by: str) -> None:
    ledger = _at("recognised")
    outcome = ledger.send("phytosanitary.replace", KZ, NUMBER, {"replacement": by, **REASON})
    assert outcome is Outcome.REPLACEMENT_NOT_IN_FORCE


def test_a_certificate_is_not_replaced_by_one_that_is_over() -> None:
    ledger = _at("recognised")
    ledger.must("phytosanitary.withdraw", KZ, OTHER, REASON)
    outcome = ledger.send("phytosanitary.replace", KZ, NUMBER, {"replacement": OTHER, **REASON})
    assert outcome is Outcome.REPLACEMENT_NOT_IN_FORCE


def test_a_certificate_is_used_up_once_and_only_by_a_movement_of_its_goods() -> None:
    ledger = _at("recognised")
    stranger = {"mrn": c.make_mrn(77)}
    assert ledger.send("phytosanitary.use_up", CN, NUMBER, stranger) is Outcome.MOVEMENT_OF_OTHER_GOODS
    ledger.must("phytosanitary.use_up", CN, NUMBER, {"mrn": c.MRN})
    assert _certificate(ledger).mrn == c.MRN
    again = ledger.send("phytosanitary.use_up", CN, NUMBER, {"mrn": c.MRN})
    assert again is Outcome.CERTIFICATE_TRANSITION_NOT_ALLOWED


@pytest.mark.parametrize("state", ["issued", "recognised", "suspended"])
def test_what_is_not_used_by_its_last_day_lapses_by_itself(state: str) -> None:
    ledger = _at(state)
    ledger.pass_time(31 * DAY_S)
    record = _certificate(ledger)
    assert (record.state, record.by, record.statement, record.due_s) == ("lapsed", DEADLINE, None, None)
    assert record.reason == "its last day passed"


@pytest.mark.parametrize("state", ["used", "refused", "withdrawn", "replaced"])
def test_what_is_over_has_nothing_falling_due(state: str) -> None:
    ledger = _at(state)
    ledger.must("phytosanitary.withdraw", KZ, OTHER, REASON)
    before = _certificate(ledger)
    movement = ledger.movement(c.MRN)
    fired = ledger.pass_time(31 * DAY_S)
    assert _certificate(ledger) == before
    assert fired == (movement.deadline_s is not None), "nothing but the movement's own time limit"


def test_a_network_has_the_example_only_if_its_genesis_names_it() -> None:
    ledger = s.movement_at("started").copy()
    assert ledger.send("phytosanitary.issue", KZ, NUMBER, _payload(ledger)) is Outcome.KIND_UNKNOWN
    assert contract_key("phytosanitary") not in genesis_state(c.genesis())
    named = replace(c.genesis(), contracts={**c.genesis().contracts, "phytosanitary": 1})
    assert genesis_state(named)[contract_key("phytosanitary")] == encode([1])
    assert set(usual_versions()) == set(newest_versions()) - set(EXAMPLES)
    assert set(ALWAYS) <= set(usual_versions())


def test_a_network_that_runs_takes_it_in_by_a_change_that_both_authorities_approve() -> None:
    ledger = Governed.begin()
    for who in ("kz/declarant/agro", "kz/carrier/steppe", KZ):
        registrar, roles = c.CAST[who]
        ledger.must("registry.enrol", registrar, who, {"key": c.KEYS[who].cose_key, "roles": list(roles)})
    c.to_declaration(ledger, "lodge")
    before = ledger.send("phytosanitary.issue", KZ, NUMBER, _payload(ledger))
    ledger.agree("kz-kgd/2026-001", contract("phytosanitary", 0, 1))
    ledger.until(ledger.proposal("kz-kgd/2026-001").effect_height)
    ledger.empty_block()
    after = ledger.send("phytosanitary.issue", KZ, NUMBER, _payload(ledger))
    assert (before, after) == (Outcome.KIND_UNKNOWN, Outcome.ACCEPTED)
    assert ledger.state.get(contract_key("phytosanitary")) == encode([1])


@given(st.sampled_from(STATES))
def test_a_record_is_the_same_after_the_disk_and_its_view_is_plain(state: str) -> None:
    record = _certificate(_at(state))
    assert p.Certificate.decode(record.encode()) == record
    view = p.PHYTOSANITARY.record.view(record)
    assert view["ephyto_sha256"] == bytes(range(32)).hex()
    assert view["plants"] == [["Triticum aestivum", 24_000_000]]
    assert p.PHYTOSANITARY.record.visible_to(record) == {"kz/declarant/agro"}


def test_a_late_statement_is_counted_as_in_every_contract() -> None:
    ledger = _at("issued")
    outcome = ledger.send("phytosanitary.recognise", CN, NUMBER, {}, age_s=4_000)
    assert (outcome, _certificate(ledger).flagged) == (Outcome.ACCEPTED, 1)


@pytest.mark.parametrize("text", ["", "KZ", "KZ/", "kz/1", "KZ/1_", "KZ/" + "1" * 33, "KZ/1\n", "KZ/١"])
def test_a_number_of_another_form_is_no_certificates(text: str) -> None:
    with pytest.raises(PayloadError):
        validate_subject("phytosanitary.issue", text)


def _code_lines(source: str) -> int:
    """Lines with code on them: no blank lines, no comments, no docstrings, no imports."""
    lines: set[int] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
            continue
        docstrings = {
            line
            for inner in ast.walk(node)
            if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant)
            for line in range(inner.lineno, inner.end_lineno + 1 if inner.end_lineno else inner.lineno)
        }
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        lines.update(set(range(first, (node.end_lineno or node.lineno) + 1)) - docstrings)
    texts = source.splitlines()
    return sum(1 for line in lines if texts[line - 1].strip() and not texts[line - 1].strip().startswith("#"))


def test_the_example_stays_under_a_hundred_lines_of_code() -> None:
    assert _code_lines('"""One.\n\nTwo."""\n\nimport re\n\nx = 1  # three\n') == 1
    assert _code_lines('def f():\n    """Says."""\n    # why\n    return 1\n') == 2
    assert _code_lines(Path(p.__file__).read_text()) < 100

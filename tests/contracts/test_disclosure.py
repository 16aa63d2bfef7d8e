"""Disclosures: one field shown, the others closed, and nothing put in the place of anything else passes."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.commitments import Opening
from contracts.declaration_private import ENVELOPE, conceal
from contracts.disclosure import Disclosure, check_disclosure, commitments_in, disclose, parse_disclosure
from ledger.algorithms import EDDSA, PrivateKey
from ledger.cbor import encode
from ledger.errors import LedgerError, Malformed, Misuse, Untrue
from ledger.statement import Statement, parse_statement, sign_statement
from tests.contracts.corridor import content
from tests.ledger.test_proof_check import POLICY, proof_of

KEY = PrivateKey.generate(EDDSA)
BOTH = ("kz-kgd-1", "cn-gacc-1")


def declared(kind: str = "declaration.lodge", **changes: Any) -> tuple[Statement, tuple[Opening, ...]]:
    open_content = content(value={"amount": 7_500_000, "currency": "USD"}, **changes)
    concealed, openings = conceal(open_content, ["consignee", "value"], secrets.token_bytes)
    payload: Any = {"home": "kz-kgd", "partner": "cn-gacc", "content": concealed | {ENVELOPE: bytes(32)}}
    statement = sign_statement(
        KEY,
        kind=kind,
        iss="kz/declarant/agro",
        sub="KZ26-000001",
        iat_s=1,
        cti=secrets.token_bytes(16),
        payload=payload,
    )
    return statement, openings


STATEMENT, OPENINGS = declared()
PROOF = proof_of(STATEMENT.raw, BOTH)
OTHER, OTHER_OPENINGS = declared(consignee="Somebody Else")


def failing(raw: bytes, policy: bytes = POLICY) -> list[str]:
    report = check_disclosure(policy, raw)
    assert report.holds == (not [c for c in report.checks if c.verdict.value != "holds"])
    return [check.name for check in report.checks if check.verdict.value == "fails"]


def test_one_field_is_shown_and_holds_with_the_policy_alone() -> None:
    raw = disclose(STATEMENT.raw, PROOF, OPENINGS, ["consignee"]).encode()
    report = check_disclosure(POLICY, raw)
    assert report.holds
    assert [(o.name, o.value) for o in report.fields] == [("consignee", "Tacheng Flour Mill")]
    assert [check.number for check in report.checks] == list(range(1, 9))
    assert "consignee; 1 more stay closed" in report.checks[-1].detail


def test_what_is_not_shown_is_nowhere_in_the_file() -> None:
    raw = disclose(STATEMENT.raw, PROOF, OPENINGS, ["consignee"]).encode()
    value = next(opening for opening in OPENINGS if opening.name == "value")
    assert value.salt not in raw
    assert encode(7_500_000) not in raw
    assert parse_disclosure(raw).encode() == raw


FORGED: list[tuple[str, Disclosure, str]] = [
    ("another value", Disclosure(STATEMENT.raw, PROOF, (Opening("consignee", OPENINGS[0].salt, "Mill"),)), "fields"),
    ("another salt", Disclosure(STATEMENT.raw, PROOF, (Opening("consignee", bytes(16), OPENINGS[0].value),)), "fields"),
    ("another name", Disclosure(STATEMENT.raw, PROOF, (Opening("value", *OPENINGS[0].fields()[::2]),)), "fields"),  # type: ignore[arg-type]
    ("a field not committed to", Disclosure(STATEMENT.raw, PROOF, (Opening("consignor", bytes(16), "A"),)), "fields"),
    ("of another declaration", Disclosure(STATEMENT.raw, PROOF, OTHER_OPENINGS), "fields"),
    ("another statement", Disclosure(OTHER.raw, PROOF, OTHER_OPENINGS), "inclusion"),
    ("one side's proof", Disclosure(STATEMENT.raw, proof_of(STATEMENT.raw, BOTH[:1]), OPENINGS), "quorum"),
    ("another's proof", Disclosure(STATEMENT.raw, proof_of(OTHER.raw, BOTH), OPENINGS), "inclusion"),
    ("no proof", Disclosure(STATEMENT.raw, b"", OPENINGS), "proof"),
    ("no statement", Disclosure(b"", PROOF, OPENINGS), "statement"),
]


@pytest.mark.parametrize(("what", "forged", "check"), FORGED, ids=[row[0] for row in FORGED])
def test_a_forgery_fails_the_check_that_names_it(what: str, forged: Disclosure, check: str) -> None:
    assert check in failing(forged.encode())


def test_a_statement_that_declares_nothing_discloses_nothing() -> None:
    accept = sign_statement(
        KEY, kind="declaration.accept", iss="kz-kgd/officer", sub="KZ26-000001", iat_s=1, cti=bytes(16), payload={}
    )
    raw = Disclosure(accept.raw, proof_of(accept.raw, BOTH), OPENINGS).encode()
    assert failing(raw) == ["content"]
    with pytest.raises(Untrue, match="nothing_committed"):
        commitments_in(parse_statement(accept.raw))
    with pytest.raises(Untrue, match="nothing_committed"):
        disclose(accept.raw, PROOF, OPENINGS, ["value"])


@pytest.mark.parametrize(
    "commitments", [5, None, True, "text", {}, [7], [{"name": "\x1b[2J\x1b[Hholds", "sha256": bytes(32)}]], ids=repr
)
def test_a_statement_made_to_deceive_its_reader_fails_and_nothing_of_it_reaches_a_terminal(commitments: Any) -> None:
    made = sign_statement(
        KEY,
        kind="declaration.lodge",
        iss="kz/declarant/agro",
        sub="KZ26-000001",
        iat_s=1,
        cti=bytes(16),
        payload={"content": {"commitments": commitments}},
    )
    raw = Disclosure(made.raw, proof_of(made.raw, BOTH), OPENINGS).encode()
    assert failing(raw) == ["content"]
    assert all(check.detail.isprintable() for check in check_disclosure(POLICY, raw).checks)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_bit_turned_anywhere_is_found(data: st.DataObject) -> None:
    raw = bytearray(disclose(STATEMENT.raw, PROOF, OPENINGS, ["consignee"]).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    report = check_disclosure(POLICY, bytes(raw))
    if report.holds:  # the turned bit was in a cosignature beyond the quorum, or in the base64 of the proof
        assert [(o.name, o.value) for o in report.fields] == [("consignee", "Tacheng Flour Mill")]


def test_one_who_discloses_is_told_at_once_of_openings_that_are_not_the_statements() -> None:
    with pytest.raises(Untrue, match="commitment_differs"):
        disclose(STATEMENT.raw, PROOF, OTHER_OPENINGS, ["consignee"])
    with pytest.raises(Misuse, match="expected fields among consignee, value, got price"):
        disclose(STATEMENT.raw, PROOF, OPENINGS, ["price"])
    with pytest.raises(Misuse, match="got none"):
        disclose(STATEMENT.raw, PROOF, OPENINGS, [])


@pytest.mark.parametrize(
    "value", [{}, [2, b"", b"", []], [True, b"", b"", []], [1, b"", b""], [1, "", b"", []], [1, b"", b"", []]]
)
def test_what_is_no_disclosure_is_malformed_and_fails_with_number_0(value: Any) -> None:
    with pytest.raises(Malformed):
        parse_disclosure(encode(value))
    report = check_disclosure(POLICY, encode(value))
    assert [(check.number, check.verdict.value) for check in report.checks] == [(0, "fails")]
    assert not report.holds


@given(st.binary(max_size=64))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    assert not check_disclosure(POLICY, raw).holds
    with pytest.raises(LedgerError):
        parse_disclosure(raw)

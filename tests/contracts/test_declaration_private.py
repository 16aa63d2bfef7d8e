"""Private fields of a declaration: open or committed, never both, and the record holds what was signed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commitments import Opening
from contracts.declaration_private import (
    ENVELOPE,
    conceal,
    every_private_field,
    parse_currency,
    parse_private_field,
    private_fields_refusal,
    reveal,
)
from contracts.declaration_record import decode_declaration
from contracts.identifiers import IdentifierError
from contracts.outcome import Outcome
from contracts.payloads import validate_payload
from contracts.views import declaration_view
from ledger.errors import Misuse, Untrue
from tests.contracts.corridor import UCR, Ledger, content

DECLARANT = "kz/declarant/agro"
INVOICE = {"kind": "invoice", "number": "INV-7", "sha256": bytes(32)}
CMR = {"kind": "cmr", "number": "CMR-1", "sha256": bytes(31) + b"\1"}


def salts() -> Callable[[int], bytes]:
    counter = itertools.count(1)
    return lambda size: next(counter).to_bytes(size, "big")


def rich_content(**changes: Any) -> dict[str, Any]:
    return content(
        **{
            "goods": [
                {
                    "hs": "100199",
                    "description": "wheat",
                    "mass_g": 16_000_000,
                    "value": {"amount": 4_000_000, "currency": "USD"},
                },
                {"hs": "100390", "description": "barley", "mass_g": 17_000_000},
            ],
            "documents": [CMR, INVOICE],
            "value": {"amount": 7_500_000, "currency": "USD"},
            **changes,
        }
    )


def lodged(of: dict[str, Any]) -> dict[str, Any]:
    return {"home": "kz-kgd", "partner": "cn-gacc", "content": of}


def private(names: list[str] | None = None) -> tuple[dict[str, Any], tuple[Opening, ...]]:
    concealed, openings = conceal(rich_content(), names or every_private_field(rich_content()), salts())
    concealed[ENVELOPE] = bytes(32)
    return concealed, openings


NAMES = every_private_field(rich_content())


def test_every_private_field_is_the_table() -> None:
    assert sorted(NAMES) == [
        "consignee",
        "consignor",
        "documents/0",
        "documents/1",
        "goods/0/description",
        "goods/0/value",
        "goods/1/description",
        "value",
    ]


@given(st.sets(st.sampled_from(NAMES)))
def test_whatever_is_concealed_is_lodged_nowhere_in_the_record_and_revealed_whole(names: set[str]) -> None:
    concealed, openings = conceal(rich_content(), names, salts())
    if names:
        concealed[ENVELOPE] = bytes(32)
    validate_payload("declaration.lodge", lodged(concealed))
    assert private_fields_refusal(concealed) is None
    revealed = reveal(concealed, openings)
    expected = rich_content()
    if names & {"documents/0"}:  # private documents come after those left open
        expected["documents"] = [INVOICE, CMR] if "documents/1" not in names else [CMR, INVOICE]
    assert revealed == expected
    secret = {"consignor": "Agro Export", "consignee": "Tacheng", "goods/0/description": "wheat"}
    for name, text in secret.items():
        assert (text in repr(concealed)) == (name not in names)


def test_a_declaration_with_all_committed_is_accepted_and_its_record_comes_back_from_its_bytes() -> None:
    ledger = Ledger.of_corridor()
    concealed, openings = private()
    ledger.must("declaration.lodge", DECLARANT, UCR, lodged(concealed))
    record = ledger.declaration(UCR)
    assert decode_declaration(record.encode()) == record
    assert dict(record.content.commitments) == {opening.name: opening.commitment for opening in openings}
    shown = declaration_view(record)["content"]
    assert shown["consignee"] is None
    assert shown["goods"][0]["description"] is None
    assert shown["documents"] == []
    assert shown["envelope_sha256"] == bytes(32).hex()
    assert b"Tacheng" not in record.encode()


def test_an_open_value_is_kept_and_shown() -> None:
    ledger = Ledger.of_corridor()
    ledger.must("declaration.lodge", DECLARANT, UCR, lodged(rich_content()))
    shown = declaration_view(ledger.declaration(UCR))["content"]
    assert shown["value"] == {"amount": 7_500_000, "currency": "USD"}
    assert [item["value"] for item in shown["goods"]] == [{"amount": 4_000_000, "currency": "USD"}, None]
    assert shown["commitments"] == {}


def _commitment(name: str) -> dict[str, Any]:
    return {"name": name, "sha256": bytes(32)}


REFUSALS: list[tuple[str, dict[str, Any], list[str], Outcome]] = [
    ("in another order", {ENVELOPE: bytes(32)}, ["value", "documents/0"], Outcome.COMMITMENTS_NOT_IN_ORDER),
    ("one twice", {ENVELOPE: bytes(32)}, ["value", "value"], Outcome.COMMITMENTS_NOT_IN_ORDER),
    ("open and committed", {ENVELOPE: bytes(32)}, ["consignee"], Outcome.FIELD_OPEN_AND_COMMITTED),
    ("an item that is not there", {ENVELOPE: bytes(32)}, ["goods/1/value"], Outcome.COMMITMENT_OF_NOTHING),
    ("a document beyond the limit", {ENVELOPE: bytes(32)}, ["documents/20"], Outcome.COMMITMENT_OF_NOTHING),
    ("no envelope", {}, ["value"], Outcome.ENVELOPE_MISSING),
    ("an envelope of nothing", {ENVELOPE: bytes(32)}, [], Outcome.ENVELOPE_NOT_EXPECTED),
]


@pytest.mark.parametrize(("what", "more", "names", "outcome"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_fields_that_do_not_fit_together_are_refused(
    what: str, more: dict[str, Any], names: list[str], outcome: Outcome
) -> None:
    payload = content(**more)
    if names:
        payload["commitments"] = [_commitment(name) for name in names]
    assert Ledger.of_corridor().send("declaration.lodge", DECLARANT, UCR, lodged(payload)) is outcome


@pytest.mark.parametrize("gone", ["consignor", "consignee", "description"])
def test_a_field_that_is_neither_open_nor_committed_is_refused(gone: str) -> None:
    payload = content()
    del (payload["goods"][0] if gone == "description" else payload)[gone]
    outcome = Ledger.of_corridor().send("declaration.lodge", DECLARANT, UCR, lodged(payload))
    assert outcome is Outcome.FIELD_NEITHER_OPEN_NOR_COMMITTED


def test_an_amendment_and_a_correction_are_held_to_the_same_rules() -> None:
    ledger = Ledger.of_corridor()
    ledger.must("declaration.lodge", DECLARANT, UCR, lodged(content()))
    ledger.must("declaration.register", "kz-kgd/officer", UCR)
    bad, (good, openings) = content(**{ENVELOPE: bytes(32)}), private()
    amendment = {"content": bad, "reason": "consignee is not for all"}
    refusal = ledger.send("declaration.request_amendment", DECLARANT, UCR, amendment)
    assert refusal is Outcome.ENVELOPE_NOT_EXPECTED
    ledger.must("declaration.request_amendment", DECLARANT, UCR, {"content": good, "reason": "not for all"})
    number = {"number": "55301/221126/0000001"}
    ledger.must("declaration.accept_amendment", "kz-kgd/officer", UCR, number)
    assert len(ledger.declaration(UCR).content.commitments) == len(openings)
    ledger.must("declaration.control", "kz-kgd/officer", UCR, {"control": "documentary"})
    corrected = {"result": "corrected", "content": bad}
    assert ledger.send("declaration.control_result", "kz-kgd/officer", UCR, corrected) is Outcome.ENVELOPE_NOT_EXPECTED


@pytest.mark.parametrize("name", ["", "hs", "goods/00/value", "goods/100/value", "goods/0/mass_g", "value\n", "ｖalue"])
def test_other_names_are_not_of_private_fields(name: str) -> None:
    with pytest.raises(IdentifierError):
        parse_private_field(name)


def test_a_currency_is_three_capital_letters() -> None:
    assert parse_currency("KZT") == "KZT"
    for text in ("kzt", "KZ", "KZTT", "K2T", "ÄBC"):
        with pytest.raises(IdentifierError):
            parse_currency(text)


@pytest.mark.parametrize("name", ["goods/2/value", "goods/1/value", "documents/2"])
def test_what_is_not_there_cannot_be_concealed(name: str) -> None:
    with pytest.raises(Misuse):
        conceal(rich_content(), [name], salts())


def test_nothing_is_revealed_by_openings_of_another_declaration() -> None:
    concealed, _ = private()
    other = conceal(rich_content(consignee="Somebody Else"), NAMES, salts())[1]
    with pytest.raises(Untrue, match="consignee"):
        reveal(concealed, other)

"""Payloads: what a schema refuses, with which outcome, before any record is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.outcome import Outcome
from contracts.payloads import SCHEMAS, validate_payload, validate_subject
from contracts.schema import PayloadError, Schema
from tests.contracts import corridor as c
from tests.contracts import stages as s

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("registry.enrol", {"key": b"\x01", "roles": ["truck"]}),
    ("declaration.lodge", dict(c.DECLARATION_STEPS[0][2])),
    ("declaration.recognise", c.decision(number=c.make_cn_number(1))),
    ("escort.plan", c.plan()),
    ("escort.seal", {"seals": c.new_seals(), "photo_sha256": c.PHOTO}),
    ("escort.position", {"fix": c.FIX}),
    ("escort.offer", {"seals": c.readings(), "mass_g": c.MASS, "photo_sha256": c.PHOTO}),
    ("escort.incident", {"code": "01", "seal": c.SEAL}),
]


@pytest.mark.parametrize(("kind", "payload"), GOOD)
def test_a_good_payload_is_let_through_unchanged(kind: str, payload: dict[str, Any]) -> None:
    before = repr(payload)
    validate_payload(kind, payload)
    assert repr(payload) == before


@pytest.mark.parametrize(("kind", "payload"), GOOD)
def test_an_unknown_field_is_refused_wherever_it_stands(kind: str, payload: dict[str, Any]) -> None:
    for changed, path in _with_extra_field(payload, ""):
        with pytest.raises(PayloadError) as caught:
            validate_payload(kind, changed)
        assert (caught.value.outcome, caught.value.path) == (Outcome.PAYLOAD_FIELD_UNKNOWN, path)


def _with_extra_field(payload: dict[str, Any], path: str) -> list[tuple[dict[str, Any], str]]:
    prefix = f"{path}." if path else ""
    found: list[tuple[dict[str, Any], str]] = [({**payload, "zz": 1}, f"{prefix}zz")]
    for name, value in payload.items():
        if isinstance(value, dict):
            found += [({**payload, name: inner}, at) for inner, at in _with_extra_field(value, f"{prefix}{name}")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            inside = _with_extra_field(value[0], f"{prefix}{name}[0]")
            found += [({**payload, name: [inner, *value[1:]]}, at) for inner, at in inside]
    return found


@pytest.mark.parametrize(("kind", "payload"), GOOD)
def test_each_required_field_is_missed_and_each_wrong_type_is_named(kind: str, payload: dict[str, Any]) -> None:
    for field in SCHEMAS[kind].fields:
        if field.required:
            left = {name: value for name, value in payload.items() if name != field.name}
            with pytest.raises(PayloadError) as caught:
                validate_payload(kind, left)
            assert (caught.value.outcome, caught.value.path) == (Outcome.PAYLOAD_FIELD_MISSING, field.name)
        if field.name not in SCHEMAS[kind].exactly_one:
            with pytest.raises(PayloadError) as caught:
                validate_payload(kind, {**payload, field.name: None})
            assert caught.value.outcome is Outcome.PAYLOAD_FIELD_WRONG_TYPE


@pytest.mark.parametrize(
    ("kind", "payload", "outcome", "path"),
    [
        ("escort.load", {"containers": [], "mass_g": True}, Outcome.PAYLOAD_FIELD_WRONG_TYPE, "mass_g"),
        ("escort.load", {"containers": [], "mass_g": 1.5}, Outcome.PAYLOAD_FIELD_WRONG_TYPE, "mass_g"),
        ("escort.load", {"containers": [], "mass_g": 0}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, "mass_g"),
        ("escort.load", {"containers": [], "mass_g": 10**12 + 1}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, "mass_g"),
        ("escort.load", {"containers": [c.BOX, c.BOX], "mass_g": 1}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, "containers"),
        ("escort.load", {"containers": ["X"], "mass_g": 1}, Outcome.PAYLOAD_IDENTIFIER_INVALID, "containers[0]"),
        ("escort.abort", {"reason": ""}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, "reason"),
        ("escort.abort", {"reason": "a\x00b"}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, "reason"),
        ("escort.abort", {"reason": "a" * 501}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, "reason"),
        ("escort.abort", {1: "reason"}, Outcome.PAYLOAD_FIELD_MISSING, "reason"),
        ("escort.abort", {"reason": "x", 1: "y"}, Outcome.PAYLOAD_FIELD_UNKNOWN, "1"),
        ("escort.position", {}, Outcome.PAYLOAD_FIELD_MISSING, "fix"),
        ("escort.position", {"fix": c.FIX, "batch": c.BATCH}, Outcome.PAYLOAD_FIELD_UNKNOWN, "batch"),
        ("escort.incident", {"code": "99"}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, "code"),
        ("escort.accept", {"seals": [], "mass_g": 1}, Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, "seals"),
        ("declaration.register", {"note": "a"}, None, ""),
        ("declaration.sell", {}, Outcome.KIND_UNKNOWN, ""),
    ],
)  # fmt: skip
def test_a_bad_field_is_refused_with_its_own_outcome_and_path(
    kind: str, payload: dict[Any, Any], outcome: Outcome | None, path: str
) -> None:
    if outcome is None:
        validate_payload(kind, payload)
        return
    with pytest.raises(PayloadError) as caught:
        validate_payload(kind, payload)
    assert (caught.value.outcome, caught.value.path) == (outcome, path)


def test_a_subject_must_be_an_identifier_of_its_contract() -> None:
    validate_subject("declaration.lodge", c.UCR)
    validate_subject("escort.plan", c.MRN)
    validate_subject("registry.enrol", "kz/truck/t-009")
    for kind, sub in (("declaration.lodge", "ucr!"), ("escort.plan", c.UCR), ("registry.enrol", "KZ")):
        with pytest.raises(PayloadError) as caught:
            validate_subject(kind, sub)
        assert caught.value.outcome is Outcome.SUBJECT_INVALID
    with pytest.raises(PayloadError):
        validate_subject("weather.report", "x")


def test_execution_refuses_what_validation_refuses_and_says_where() -> None:
    ledger = s.movement_at("planned")
    outcome = ledger.send("escort.load", "kz/terminal/bakhty", c.MRN, {"containers": [c.BOX], "mass_g": "heavy"})
    assert outcome is Outcome.PAYLOAD_FIELD_WRONG_TYPE
    assert ledger.detail == "mass_g: expected an integer, got str"


def test_every_schema_field_is_described() -> None:
    def described(schema: Schema) -> bool:
        return all(field.type.description for field in schema.fields)

    assert all(described(schema) for schema in SCHEMAS.values())

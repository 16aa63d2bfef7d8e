"""Commitments: an opening opens its own and no other, and what is on the ledger says nothing of the value."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commitments import (
    MAX_OPENINGS,
    SALT_BYTES,
    Opening,
    check_opening,
    check_openings,
    commit_fields,
    commitments_of,
    encode_openings,
    parse_openings,
)
from contracts.telemetry import Fix, encode_telemetry
from ledger.cbor import Value, encode
from ledger.errors import Malformed, Misuse, Untrue


def counting_salts() -> Callable[[int], bytes]:
    count = 0

    def salts(size: int) -> bytes:
        nonlocal count
        count += 1
        return count.to_bytes(size, "big")

    return salts


NAMES = st.sampled_from(("consignor", "consignee", "value", "goods/0/value", "documents/0"))
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.text(max_size=30),
    st.integers(0, 10**15),
    st.binary(max_size=8),
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3),
)


def test_a_commitment_is_the_hash_of_salt_name_and_value_in_deterministic_cbor() -> None:
    """Spelled byte by byte: an array of three, 16 bytes, a text of 9, a text of 4."""
    spelled = bytes.fromhex("8350") + bytes(range(16)) + b"\x69consignee" + b"\x64Mill"
    assert Opening("consignee", bytes(range(16)), "Mill").commitment == hashlib.sha256(spelled).digest()


def test_the_example_of_the_document_is_what_the_code_makes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    opening = Opening("consignee", bytes(range(16)), "Mill")
    shown = re.sub(r"\s", "", page)
    assert encode(opening.fields()).hex() in shown
    assert f"commitment{opening.commitment.hex()}" in shown
    assert encode_telemetry([Fix(1, -2, 3, None)]).hex() in shown


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_was_committed_opens_and_survives_its_file(fields: dict[str, Value]) -> None:
    commitments, openings = commit_fields(fields, counting_salts())
    check_openings(openings, commitments)
    assert {opening.name: opening.value for opening in openings} == fields
    assert parse_openings(encode_openings(openings)) == openings


@given(NAMES, VALUES, NAMES, VALUES, st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES))
def test_nothing_but_the_very_same_salt_name_and_value_opens_a_commitment(
    name: str, value: Value, other_name: str, other_value: Value, other_salt: bytes
) -> None:
    commitments, (opening,) = commit_fields({name: value}, counting_salts())
    forged = Opening(other_name, other_salt, other_value)
    for attempt in (
        forged,
        Opening(name, other_salt, value),
        Opening(name, opening.salt, other_value),
        Opening(other_name, opening.salt, value),
    ):
        same = (attempt.name, attempt.salt, encode(attempt.value)) == (name, opening.salt, encode(value))
        if same:
            check_opening(attempt, commitments)
        else:
            with pytest.raises(Untrue):
                check_opening(attempt, commitments)


def test_one_and_true_are_not_the_same_value() -> None:
    commitments, (opening,) = commit_fields({"value": 1}, counting_salts())
    with pytest.raises(Untrue, match="commitment_differs"):
        check_opening(Opening("value", opening.salt, True), commitments)


def test_the_same_value_twice_gives_two_commitments_that_have_nothing_in_common() -> None:
    salts = counting_salts()
    first, _ = commit_fields({"consignee": "Mill"}, salts)
    second, _ = commit_fields({"consignee": "Mill"}, salts)
    assert first["consignee"] != second["consignee"]


def test_a_value_of_which_there_are_few_is_not_found_by_trying_without_the_salt() -> None:
    commitments, openings = commit_fields({"value": 7}, lambda size: hashlib.sha256(b"secret").digest()[:size])
    guesses = [Opening("value", bytes(SALT_BYTES), guess).commitment for guess in range(100)]
    assert commitments["value"] not in guesses
    assert openings[0].commitment == commitments["value"]


def test_a_salt_used_twice_or_of_another_length_is_misuse() -> None:
    with pytest.raises(Misuse, match="not used before"):
        commit_fields({"consignor": "A", "consignee": "B"}, lambda size: bytes(size))
    with pytest.raises(Misuse, match="expected 16 bytes, got 8"):
        commit_fields({"consignor": "A"}, lambda size: bytes(8))
    with pytest.raises(Misuse, match="too many"):
        commit_fields({str(n): n for n in range(MAX_OPENINGS + 1)}, counting_salts())


def test_openings_must_open_every_commitment_and_each_once() -> None:
    commitments, openings = commit_fields({"consignor": "A", "consignee": "B"}, counting_salts())
    with pytest.raises(Untrue, match="openings_incomplete"):
        check_openings(openings[:1], commitments)
    with pytest.raises(Untrue, match="openings_incomplete"):
        check_openings((*openings, openings[0]), commitments)
    with pytest.raises(Untrue, match="field_not_committed"):
        check_openings((*openings, Opening("value", bytes(16), 1)), commitments)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({}, "expected an array"),
        ([[bytes(16), "a"]], r"expected \[salt, name, value\]"),
        ([[bytes(15), "a", 1]], "salt of 16 bytes"),
        ([[bytes(16), "", 1]], "name of 1 to"),
        ([[bytes(16), "n" * 41, 1]], "name of 1 to"),
        ([[bytes(16), "b", 1], [bytes(16), "a", 1]], "names in order"),
        ([[bytes(16), "a", 1], [bytes(16), "a", 2]], "none twice"),
        ([[bytes(16), f"{n:04}", 1] for n in range(MAX_OPENINGS + 1)], "at most"),
    ],
)
def test_openings_that_are_none_are_malformed(value: Value, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_openings(encode(value))


def test_commitments_of_a_payload_that_is_anything_at_all_are_found_or_are_none() -> None:
    good = {"name": "value", "sha256": bytes(32)}
    assert commitments_of({"commitments": [good, {"name": 1}, 7]}) == {"value": bytes(32)}
    assert commitments_of(None) == commitments_of({}) == {}

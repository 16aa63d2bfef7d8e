"""Envelope keys: each authority publishes its own and nobody else's; what was sealed before stays openable."""

from __future__ import annotations

from typing import Any

from contracts.envelope_keys import (
    MAX_KEPT_KEYS,
    EnvelopeKeys,
    decode_envelope_keys,
    envelope_keys_view,
    load_envelope_keys,
)
from contracts.outcome import Outcome
from contracts.working import Working
from tests.contracts import corridor as c

REGISTRAR = "kz-kgd/registrar"
KIND = "registry.publish_envelope_key"


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def publish(number: int, authority: str = "kz-kgd") -> dict[str, Any]:
    return {"authority": authority, "key": key(number)}


def keys_of(ledger: c.Ledger, authority: str = "kz-kgd") -> EnvelopeKeys | None:
    return load_envelope_keys(Working(ledger.state), authority)


def test_there_is_no_record_before_the_first_key_so_the_state_of_older_networks_is_as_it_was() -> None:
    ledger = c.Ledger.of_corridor()
    assert keys_of(ledger) is None
    assert not any(name.startswith("envelope_keys/") for name in ledger.state.records)


def test_the_newest_key_is_current_and_the_one_before_is_kept_with_its_end() -> None:
    ledger = c.Ledger.of_corridor()
    ledger.must(KIND, REGISTRAR, REGISTRAR, publish(1))
    first_ms = ledger.now_ms - 1000
    ledger.must(KIND, REGISTRAR, REGISTRAR, publish(2))
    record = keys_of(ledger)
    assert record is not None
    assert record.current is not None
    assert record.current.public == key(2)
    assert [(k.public, k.since_ms, k.until_ms) for k in record.keys] == [
        (key(1), first_ms, first_ms + 1000),
        (key(2), first_ms + 1000, None),
    ]
    assert decode_envelope_keys(record.encode()) == record
    shown = envelope_keys_view(record)
    assert [k["public"] for k in shown["keys"]] == [key(1).hex(), key(2).hex()]
    assert keys_of(ledger, "cn-gacc") is None


def test_the_registrars_own_record_is_not_touched() -> None:
    ledger = c.Ledger.of_corridor()
    before = ledger.state.get(f"registry/{REGISTRAR}")
    ledger.must(KIND, REGISTRAR, REGISTRAR, publish(1))
    assert ledger.state.get(f"registry/{REGISTRAR}") == before


def test_nobody_publishes_for_the_other_side() -> None:
    ledger = c.Ledger.of_corridor()
    other = "cn-gacc/registrar"
    assert ledger.send(KIND, other, REGISTRAR, publish(1)) is Outcome.SIDE_NOT_ALLOWED
    assert ledger.send(KIND, other, other, publish(1)) is Outcome.ENVELOPE_KEY_NOT_OF_AUTHORITY
    assert ledger.send(KIND, other, other, publish(1, "mn-gacc")) is Outcome.ENVELOPE_KEY_NOT_OF_AUTHORITY
    assert ledger.send(KIND, "kz-kgd/officer", REGISTRAR, publish(1)) is Outcome.ROLE_NOT_ALLOWED


def test_the_subject_is_the_authoritys_registrar_so_that_there_is_one_place_to_look() -> None:
    ledger = c.Ledger.of_corridor()
    refusal = ledger.send(KIND, REGISTRAR, "kz-kgd/officer", publish(1))
    assert refusal is Outcome.ENVELOPE_KEY_NOT_OF_AUTHORITY


def test_a_key_given_up_does_not_come_back() -> None:
    ledger = c.Ledger.of_corridor()
    ledger.must(KIND, REGISTRAR, REGISTRAR, publish(1))
    assert ledger.send(KIND, REGISTRAR, REGISTRAR, publish(1)) is Outcome.ENVELOPE_KEY_ALREADY_PUBLISHED
    ledger.must(KIND, REGISTRAR, REGISTRAR, publish(2))
    assert ledger.send(KIND, REGISTRAR, REGISTRAR, publish(1)) is Outcome.ENVELOPE_KEY_ALREADY_PUBLISHED


def test_the_record_is_bounded() -> None:
    ledger = c.Ledger.of_corridor()
    for number in range(1, MAX_KEPT_KEYS + 4):
        ledger.must(KIND, REGISTRAR, REGISTRAR, publish(number))
    record = keys_of(ledger)
    assert record is not None
    assert [k.public for k in record.keys] == [key(n) for n in range(4, MAX_KEPT_KEYS + 4)]
    assert [k.until_ms is None for k in record.keys] == [False] * (MAX_KEPT_KEYS - 1) + [True]


def test_a_key_of_another_length_is_refused() -> None:
    ledger = c.Ledger.of_corridor()
    payload = {"authority": "kz-kgd", "key": bytes(31)}
    assert ledger.send(KIND, REGISTRAR, REGISTRAR, payload) is Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS

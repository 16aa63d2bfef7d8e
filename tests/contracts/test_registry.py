"""The registry: keys count where they are used, names and keys have one owner, nobody locks an authority out."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.outcome import Outcome
from contracts.registry import MAX_KEYS, lookup
from ledger.algorithms import ES256, PrivateKey
from tests.contracts import corridor as c

REGISTRAR = "kz-kgd/registrar"
NEW = "kz/truck/t-900"
POSITION = {"fix": c.FIX}


def _key(seed: str) -> bytes:
    return c.key_of(seed).cose_key


def _enrolled(**more: Any) -> c.Ledger:
    ledger = c.Ledger.of_corridor()
    ledger.must("registry.enrol", REGISTRAR, NEW, {"key": _key("one"), "roles": ["declarant"], **more})
    return ledger


def _lodge(ledger: c.Ledger, seed: str, ucr: str = "T-1") -> Outcome:
    return ledger.send("declaration.lodge", NEW, ucr, dict(c.DECLARATION_STEPS[0][2]), key=c.key_of(seed))


def test_who_enrolled_whom_is_kept() -> None:
    ledger = _enrolled(description="Sitrak C7H, bay 4")
    participant = lookup(ledger.state, NEW)
    assert participant is not None
    assert (participant.authority, participant.country, participant.enrolled_by) == ("kz-kgd", "KZ", REGISTRAR)
    assert participant.roles == ("declarant",)
    assert participant.keys[0].by == REGISTRAR
    assert lookup(ledger.state, "kz/nobody") is None


def test_a_participant_belongs_to_the_authority_of_the_registrar_and_to_its_names() -> None:
    ledger = c.Ledger.of_corridor()
    payload = {"key": _key("one"), "roles": ["truck"]}
    for name in ("cn/truck/t-1", "cn-gacc/officer-2", "truck", "kz-kgd2/x"):
        assert ledger.send("registry.enrol", REGISTRAR, name, payload) is Outcome.PARTICIPANT_ID_OF_OTHER_AUTHORITY
    assert ledger.send("registry.enrol", REGISTRAR, "kz-kgd/officer-2", payload) is Outcome.ACCEPTED


def test_a_registrar_of_the_other_side_has_no_say() -> None:
    ledger = _enrolled()
    kid = c.key_of("one").kid
    for event in ("suspend", "revoke", "resume"):
        payload = {"kid": kid, "reason": "x"}
        assert ledger.send(f"registry.{event}", "cn-gacc/registrar", NEW, payload) is Outcome.SIDE_NOT_ALLOWED
    rotate = {"key": _key("two")}
    assert ledger.send("registry.rotate", "cn-gacc/registrar", NEW, rotate) is Outcome.SIDE_NOT_ALLOWED
    enrol = {"key": _key("two"), "roles": ["truck"]}
    assert ledger.send("registry.enrol", "cn-gacc/registrar", NEW, enrol) is Outcome.SIDE_NOT_ALLOWED
    assert ledger.send("registry.enrol", REGISTRAR, NEW, enrol) is Outcome.PARTICIPANT_ALREADY_ENROLLED


@pytest.mark.parametrize("sender", [name for name in c.EVERYONE if not name.endswith("registrar")])
def test_nobody_but_a_registrar_enrols(sender: str) -> None:
    ledger = c.Ledger.of_corridor()
    outcome = ledger.send("registry.enrol", sender, NEW, {"key": _key("one"), "roles": ["truck"]})
    assert outcome is Outcome.ROLE_NOT_ALLOWED


def test_a_key_has_one_owner_for_ever_even_after_it_was_revoked() -> None:
    ledger = _enrolled()
    ledger.must("registry.revoke", REGISTRAR, NEW, {"kid": c.key_of("one").kid, "reason": "lost"})
    again = {"key": _key("one"), "roles": ["truck"]}
    assert ledger.send("registry.enrol", REGISTRAR, "kz/truck/t-901", again) is Outcome.KEY_ALREADY_ENROLLED
    assert ledger.send("registry.rotate", REGISTRAR, NEW, {"key": _key("one")}) is Outcome.KEY_ALREADY_ENROLLED
    assert ledger.send("registry.enrol", "cn-gacc/registrar", "cn/truck/t-1", again) is Outcome.KEY_ALREADY_ENROLLED


@pytest.mark.parametrize("key", [b"\x00", b"\xa1\x01\x01", b"\xff" * 40])
def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    ledger = c.Ledger.of_corridor()
    assert ledger.send("registry.enrol", REGISTRAR, NEW, {"key": key, "roles": ["truck"]}) is Outcome.KEY_MALFORMED


def test_keys_of_every_algorithm_are_enrolled() -> None:
    ledger = c.Ledger.of_corridor()
    key = PrivateKey.generate(ES256).public
    ledger.must("registry.enrol", REGISTRAR, NEW, {"key": key.cose_key, "roles": ["truck"]})
    assert ledger.participant(NEW).keys[0].alg == ES256


def test_a_key_counts_at_the_position_at_which_it_is_used() -> None:
    ledger = _enrolled()
    kid = {"kid": c.key_of("one").kid, "reason": "x"}
    assert _lodge(ledger, "one", "T-1") is Outcome.ACCEPTED
    ledger.must("registry.suspend", REGISTRAR, NEW, kid)
    assert _lodge(ledger, "one", "T-2") is Outcome.KEY_SUSPENDED
    ledger.must("registry.resume", REGISTRAR, NEW, kid)
    assert _lodge(ledger, "one", "T-2") is Outcome.ACCEPTED
    ledger.must("registry.revoke", REGISTRAR, NEW, kid)
    assert _lodge(ledger, "one", "T-3") is Outcome.KEY_REVOKED
    assert ledger.declaration("T-1").declarant == NEW
    for event in ("suspend", "resume", "revoke"):
        outcome = ledger.send(f"registry.{event}", REGISTRAR, NEW, kid)
        assert outcome is Outcome.REGISTRY_TRANSITION_NOT_ALLOWED


def test_a_key_counts_within_its_window_and_the_window_is_half_open() -> None:
    ledger = c.Ledger.of_corridor()
    opens_ms = ledger.now_ms + 10_000
    window = {"valid_from_ms": opens_ms, "valid_until_ms": opens_ms + 10_000}
    ledger.must("registry.enrol", REGISTRAR, NEW, {"key": _key("one"), "roles": ["declarant"], **window})
    for at_ms, expected in (
        (opens_ms - 1, Outcome.KEY_NOT_YET_VALID),
        (opens_ms, Outcome.ACCEPTED),
        (opens_ms + 9_999, Outcome.ACCEPTED),
        (opens_ms + 10_000, Outcome.KEY_EXPIRED),
    ):
        ledger.now_ms = at_ms
        assert _lodge(ledger, "one", f"T-{at_ms}") is expected


def test_a_window_that_is_empty_or_over_is_refused() -> None:
    ledger = c.Ledger.of_corridor()
    for window in (
        {"valid_from_ms": ledger.now_ms + 9_000, "valid_until_ms": ledger.now_ms + 9_000},
        {"valid_until_ms": ledger.now_ms - 1},
    ):
        outcome = ledger.send("registry.enrol", REGISTRAR, NEW, {"key": _key("one"), "roles": ["truck"], **window})
        assert outcome is Outcome.KEY_VALIDITY_EMPTY


def test_both_keys_count_during_the_overlap_and_only_the_new_one_after() -> None:
    ledger = _enrolled()
    rotate = {"key": _key("two"), "replaces": c.key_of("one").kid, "overlap_s": 60}
    ledger.must("registry.rotate", REGISTRAR, NEW, rotate)
    assert _lodge(ledger, "one", "T-1") is Outcome.ACCEPTED
    assert _lodge(ledger, "two", "T-2") is Outcome.ACCEPTED
    ledger.now_ms += 60_000
    assert _lodge(ledger, "one", "T-3") is Outcome.KEY_EXPIRED
    assert _lodge(ledger, "two", "T-4") is Outcome.ACCEPTED


def test_a_rotation_replaces_only_a_key_of_the_participant() -> None:
    ledger = _enrolled()
    other = c.KEYS["kz/truck/t-001"].kid
    outcome = ledger.send("registry.rotate", REGISTRAR, NEW, {"key": _key("two"), "replaces": other})
    assert outcome is Outcome.KEY_NOT_OF_PARTICIPANT
    outcome = ledger.send("registry.suspend", REGISTRAR, NEW, {"kid": other, "reason": "x"})
    assert outcome is Outcome.KEY_NOT_OF_PARTICIPANT
    outcome = ledger.send("registry.rotate", REGISTRAR, "kz/nobody", {"key": _key("two")})
    assert outcome is Outcome.PARTICIPANT_UNKNOWN


def test_keys_that_stand_are_limited_and_ended_ones_make_room() -> None:
    ledger = _enrolled()
    for number in range(1, MAX_KEYS):
        ledger.must("registry.rotate", REGISTRAR, NEW, {"key": _key(f"key {number}")})
    assert ledger.send("registry.rotate", REGISTRAR, NEW, {"key": _key("more")}) is Outcome.KEY_LIMIT_REACHED
    ledger.must("registry.revoke", REGISTRAR, NEW, {"kid": c.key_of("key 3").kid, "reason": "x"})
    ledger.must("registry.rotate", REGISTRAR, NEW, {"key": _key("more")})
    kids = [key.kid for key in ledger.participant(NEW).keys]
    assert len(kids) == MAX_KEYS
    assert c.key_of("key 3").kid not in kids
    assert c.key_of("one").kid in kids
    assert _lodge(ledger, "key 3") is Outcome.KEY_UNKNOWN


def test_the_last_key_of_an_authoritys_registrar_cannot_be_taken_away() -> None:
    ledger = c.Ledger.of_corridor()
    kid = c.KEYS[REGISTRAR].kid
    for event in ("suspend", "revoke"):
        outcome = ledger.send(f"registry.{event}", REGISTRAR, REGISTRAR, {"kid": kid, "reason": "x"})
        assert outcome is Outcome.LAST_REGISTRAR_KEY
    ends = {"key": _key("r2"), "replaces": kid, "valid_until_ms": ledger.now_ms + 1_000_000}
    assert ledger.send("registry.rotate", REGISTRAR, REGISTRAR, ends) is Outcome.LAST_REGISTRAR_KEY
    late = {"key": _key("r2"), "replaces": kid, "valid_from_ms": ledger.now_ms + 1_000_000}
    assert ledger.send("registry.rotate", REGISTRAR, REGISTRAR, late) is Outcome.LAST_REGISTRAR_KEY
    ledger.must("registry.rotate", REGISTRAR, REGISTRAR, {"key": _key("r2"), "replaces": kid, "overlap_s": 60})
    ledger.must("registry.revoke", REGISTRAR, REGISTRAR, {"kid": kid, "reason": "x"})
    outcome = ledger.send("registry.enrol", REGISTRAR, NEW, {"key": _key("n"), "roles": ["truck"]}, key=c.key_of("r2"))
    assert outcome is Outcome.ACCEPTED


def test_a_second_registrar_serves_its_authority_and_can_be_revoked() -> None:
    ledger = c.Ledger.of_corridor()
    second = "kz-kgd/registrar-2"
    ledger.must("registry.enrol", REGISTRAR, second, {"key": _key("second"), "roles": ["customs.registrar"]})
    enrol = {"key": _key("n"), "roles": ["truck"]}
    assert ledger.send("registry.enrol", second, NEW, enrol, key=c.key_of("second")) is Outcome.ACCEPTED
    assert ledger.participant(NEW).enrolled_by == second
    ledger.must("registry.revoke", REGISTRAR, second, {"kid": c.key_of("second").kid, "reason": "left"})

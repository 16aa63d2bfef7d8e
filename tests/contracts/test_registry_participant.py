"""The registry, a participant as a whole: its roles, and all its keys in one statement."""

from __future__ import annotations

import pytest

from contracts.outcome import Outcome
from tests.contracts import corridor as c

REGISTRAR, OTHER_REGISTRAR = "kz-kgd/registrar", "cn-gacc/registrar"
TRUCK = "kz/truck/t-001"
LOST = {"reason": "stolen at the depot"}


def _two_keys() -> c.Ledger:
    ledger = c.Ledger.of_corridor()
    ledger.must("registry.rotate", REGISTRAR, TRUCK, {"key": c.key_of("second").cose_key})
    return ledger


def _states(ledger: c.Ledger) -> list[str]:
    return [key.state for key in ledger.participant(TRUCK).keys]


def test_everything_a_participant_could_sign_with_is_stopped_in_one_statement() -> None:
    for event, state in (("suspend_all", "suspended"), ("revoke_all", "revoked")):
        ledger = _two_keys()
        ledger.must(f"registry.{event}", REGISTRAR, TRUCK, LOST)
        assert _states(ledger) == [state, state]
        assert {key.by for key in ledger.participant(TRUCK).keys} == {REGISTRAR}
        refused = {"suspended": Outcome.KEY_SUSPENDED, "revoked": Outcome.KEY_REVOKED}[state]
        for key in (None, c.key_of("second")):
            assert ledger.send("escort.position", TRUCK, c.MRN, {"fix": c.FIX}, key=key) is refused
        assert ledger.send(f"registry.{event}", REGISTRAR, TRUCK, LOST) is Outcome.REGISTRY_TRANSITION_NOT_ALLOWED


def test_it_comes_back_key_by_key_and_a_revoked_one_with_a_new_key_only() -> None:
    ledger = _two_keys()
    ledger.must("registry.suspend_all", REGISTRAR, TRUCK, LOST)
    ledger.must("registry.resume", REGISTRAR, TRUCK, {"kid": c.key_of("second").kid, "reason": "found"})
    assert _states(ledger) == ["suspended", "active"]
    ledger.must("registry.revoke_all", REGISTRAR, TRUCK, LOST)
    assert _states(ledger) == ["revoked", "revoked"]
    resume = {"kid": c.key_of("second").kid, "reason": "found"}
    assert ledger.send("registry.resume", REGISTRAR, TRUCK, resume) is Outcome.REGISTRY_TRANSITION_NOT_ALLOWED
    ledger.must("registry.rotate", REGISTRAR, TRUCK, {"key": c.key_of("third").cose_key})
    assert _states(ledger) == ["revoked", "revoked", "active"]


def test_what_was_suspended_before_stays_as_it_was_noted() -> None:
    ledger = _two_keys()
    ledger.must("registry.suspend", REGISTRAR, TRUCK, {"kid": c.KEYS[TRUCK].kid, "reason": "looked into"})
    before = ledger.participant(TRUCK).keys[0]
    ledger.must("registry.suspend_all", REGISTRAR, TRUCK, LOST)
    assert ledger.participant(TRUCK).keys[0] == before


def test_roles_count_from_the_change_on_and_not_before() -> None:
    ledger = c.Ledger.of_corridor()
    officer = "kz-kgd/officer"
    c.to_declaration(ledger, "accept")
    ledger.must("registry.change_roles", REGISTRAR, officer, {"roles": ["auditor"], "reason": "moved to audit"})
    assert ledger.participant(officer).roles == ("auditor",)
    assert ledger.send("declaration.release", officer, c.UCR, {}) is Outcome.ROLE_NOT_ALLOWED
    assert ledger.declaration(c.UCR).status == "accepted"
    roles = {"roles": ["terminal", "customs.officer"], "reason": "back"}
    ledger.must("registry.change_roles", REGISTRAR, officer, roles)
    assert ledger.participant(officer).roles == ("customs.officer", "terminal")
    ledger.must("declaration.release", officer, c.UCR, {})


@pytest.mark.parametrize("event", ["suspend_all", "revoke_all", "change_roles"])
def test_only_a_registrar_of_its_own_authority_says_so(event: str) -> None:
    ledger = c.Ledger.of_corridor()
    payload = {**LOST, "roles": ["truck"]} if event == "change_roles" else LOST
    assert ledger.send(f"registry.{event}", OTHER_REGISTRAR, TRUCK, payload) is Outcome.SIDE_NOT_ALLOWED
    assert ledger.send(f"registry.{event}", "kz-kgd/officer", TRUCK, payload) is Outcome.ROLE_NOT_ALLOWED
    assert ledger.send(f"registry.{event}", REGISTRAR, "kz/nobody", payload) is Outcome.PARTICIPANT_UNKNOWN
    assert ledger.send(f"registry.{event}", REGISTRAR, TRUCK, payload) is Outcome.ACCEPTED


@pytest.mark.parametrize("event", ["suspend_all", "revoke_all", "change_roles"])
def test_an_authoritys_own_registrar_is_not_locked_out(event: str) -> None:
    ledger = c.Ledger.of_corridor()
    ledger.must("registry.rotate", REGISTRAR, REGISTRAR, {"key": c.key_of("spare").cose_key})
    payload = {**LOST, "roles": ["customs.officer"]} if event == "change_roles" else LOST
    assert ledger.send(f"registry.{event}", REGISTRAR, REGISTRAR, payload) is Outcome.LAST_REGISTRAR_KEY
    both = {"roles": ["customs.officer", "customs.registrar"], "reason": "a small office"}
    ledger.must("registry.change_roles", REGISTRAR, REGISTRAR, both)


def test_another_registrar_of_the_authority_can_be_stopped_at_once() -> None:
    ledger = c.Ledger.of_corridor()
    second = "kz-kgd/registrar-2"
    enrol = {"key": c.key_of("second").cose_key, "roles": ["customs.registrar"]}
    ledger.must("registry.enrol", REGISTRAR, second, enrol)
    ledger.must("registry.revoke_all", REGISTRAR, second, {"reason": "left"})
    again = {"key": c.key_of("n").cose_key, "roles": ["truck"]}
    outcome = ledger.send("registry.enrol", second, "kz/truck/t-900", again, key=c.key_of("second"))
    assert outcome is Outcome.KEY_REVOKED

"""Who may do what, the whole matrix: event, sender (role and side), state, validity of the key.

The tables are those of `matrix`, written by hand. Payloads fit, so that nothing but the matrix decides. Signatures are
checked by the stand-in of the corridor. Every contract is walked, in every version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import pytest

from contracts.catalogue import CONTRACTS
from contracts.execute import BlockExecution, genesis_state
from contracts.governance_record import load_proposal
from contracts.outcome import Outcome
from contracts.phytosanitary import PHYTOSANITARY as PHYTOSANITARY_CONTRACT
from contracts.working import Working
from ledger.algorithms import PublicKey
from tests.contracts import corridor as c
from tests.contracts import governing
from tests.contracts import stages as s
from tests.contracts.matrix import EVERYBODY, KEYS, TABLES, Sender, words

NAMES = [f"{name}-{version}" for name, version in TABLES]


# ---------------------------------------------------------------------------------------------------------------------
# The states: a ledger that stands in each.

KEYS_MS = c.OPEN_MS - 10_000
FAR_MS = c.OPEN_MS + 100 * 366 * 86_400_000
NEWCOMERS = {"cn/truck/t-101": "truck", "cn/eseal/e-101": "eseal", "cn/auditor": "auditor"}
SUBJECT = "kz/spare"
STOPPED = {"suspended": "suspend", "revoked": "revoke"}
PROPOSAL, THEIRS = "kz-kgd/proposed", "cn-gacc/proposed"
CERTIFICATE, OTHER_CERTIFICATE = "KZ/2026-004711", "KZ/2026-004712"


@cache
def key_of(sender: Sender, validity: str) -> PublicKey:
    if validity == "active" and sender.name in c.KEYS:
        return c.KEYS[sender.name]
    return c.key_of(sender.name if validity == "active" else f"{sender.name} {validity}")


@cache
def _everybody_with_every_key() -> Mapping[str, bytes]:
    """The rows of the registry: each sender has an active key and one of every other validity."""
    ledger = c.Ledger.of_corridor()

    def say(event: str, registrar: str, sub: str, payload: dict[str, Any]) -> None:
        ledger.now_ms = KEYS_MS  # before any of the states below came to be
        ledger.must(f"registry.{event}", registrar, sub, payload)

    for name, role in NEWCOMERS.items():
        say("enrol", "cn-gacc/registrar", name, {"key": c.key_of(name).cose_key, "roles": [role]})
    say("enrol", "kz-kgd/registrar", SUBJECT, {"key": c.key_of(SUBJECT).cose_key, "roles": ["truck"]})
    windows = {"not yet": {"valid_from_ms": FAR_MS}, "expired": {"valid_until_ms": KEYS_MS + 1}}
    for sender in EVERYBODY:
        registrar = "kz-kgd/registrar" if sender.side == "home" else "cn-gacc/registrar"
        for validity in (*windows, *STOPPED):
            key = key_of(sender, validity)
            say("rotate", registrar, sender.name, {"key": key.cose_key, **windows.get(validity, {})})
            if validity in STOPPED:
                say(STOPPED[validity], registrar, sender.name, {"kid": key.kid, "reason": "x"})
    return {key: raw for key, raw in ledger.state.records.items() if key.startswith(("registry/", "key/"))}


def _with(ledger: c.Ledger, *steps: tuple[str, str, dict[str, Any]]) -> c.Ledger:
    for kind, iss, payload in steps:
        ledger.must(kind, iss, c.MRN if kind.startswith("escort") else c.UCR, payload)
    return ledger


_ASK: dict[str, tuple[str, dict[str, Any]]] = {
    "amendment": ("declaration.request_amendment", {"content": c.content(gross_mass_g=34_000_000), **s.REASON}),
    "invalidation": ("declaration.request_invalidation", s.REASON),
}
_RECOGNITIONS = {
    "recognised": "recognised",
    "unrecognised": "refused",
    "suspended": "suspended",
    "withdrawn": "withdrawn",
}


def declaration_in(state: str) -> c.Ledger:
    if state in _RECOGNITIONS:
        return s.recognition_at(_RECOGNITIONS[state])
    if state in ("moving", "exited", "returned"):
        return s.movement_at({"moving": "started", "exited": "discharged", "returned": "returned"}[state])
    status, _, pending = state.partition("+")
    ledger = s.declaration_at(status)
    if pending:
        kind, payload = _ASK[pending]
        ledger.must(kind, "kz/declarant/agro", c.UCR, payload)
    return ledger


def movement_in(state: str, version: int = 2) -> c.Ledger:
    home, partner = s.HOME[0], s.PARTNER[0]
    accident = {"code": "accident"}
    suspend = ("declaration.suspend_recognition", partner, c.decision())
    variants: dict[str, tuple[str, tuple[tuple[str, str, dict[str, Any]], ...]]] = {
        "sealed+suspended": ("sealed", (suspend,)),
        "sealed+cleared": ("sealed", (("declaration.clear", home, {"evidence": s.EVIDENCE}),)),
        "offered+suspended": ("offered", (suspend,)),
        "started+truck": ("started", (("escort.reach_border", s.THE_TRUCK, {}),)),
        "started+gate": ("started", (("escort.reach_border", s.GATE, {}),)),
        "disputed+decided": ("disputed", (("escort.resolve", home, {"decision": "returned", **s.REASON}),)),
        "held+over": ("handed_over", (("escort.incident", s.FAR_GATE, accident),)),
        "aborted+over": ("handed_over", (("escort.incident", partner, {"code": "goods_destroyed"}),)),
        "recovery+lost": ("overdue", (("escort.resolve_overdue", home, {"decision": "recover", **s.REASON}),)),
    }
    if state == "overdue+over":
        ledger = s.movement_at("handed_over", version)
        ledger.pass_time(7200)
        return ledger
    at, steps = variants.get(state, (state, ()))
    return _with(s.movement_at(at, version), *steps)


def participant_in(state: str, version: int = 1) -> c.Ledger:
    ledger = c.Ledger.of_corridor().under("registry", version)
    ledger.state.records.update(_everybody_with_every_key())
    ledger.state.records["governed"] = genesis_state(governing.genesis())["governed"]
    if state in STOPPED:
        payload = {"kid": c.key_of(SUBJECT).kid, "reason": "x"}
        ledger.must(f"registry.{STOPPED[state]}", "kz-kgd/registrar", SUBJECT, payload)
    return ledger


CHANGE = governing.parameter("corridor_m", 1_500)


def proposal_in(state: str, version: int = 1) -> c.Ledger:
    ledger = governing.Governed.begin()
    ledger.under("governance", version)
    name, by, other = PROPOSAL, governing.KZ, governing.CN
    if state == "-":
        return ledger
    if state.endswith("+theirs"):
        name, by, other = THEIRS, governing.CN, governing.KZ
    if ledger.propose(name, CHANGE, who=by) is not Outcome.ACCEPTED:
        raise AssertionError(ledger.detail)
    at = state.partition("+")[0]
    if at in ("approved", "in_force"):
        ledger.answer("approve", name, other)
    if state == "approved+one":
        ledger.answer("withdraw", name, by)
    if at == "in_force":
        ledger.until(ledger.proposal(name).effect_height + 1)
    if at == "rejected":
        ledger.answer("reject", name, other)
    if at == "withdrawn":
        ledger.answer("withdraw", name, by)
    if at == "lapsed":
        ledger.pass_time(15 * 86_400)
    if at == "superseded":
        ledger.agree("kz-kgd/another", CHANGE)
    return ledger


def certificate_in(state: str) -> c.Ledger:
    ledger = s.movement_at("started").under("phytosanitary", 1)
    if state == "-":
        return ledger
    for number in (CERTIFICATE, OTHER_CERTIFICATE):
        ledger.must("phytosanitary.issue", "kz-kgd/officer", number, _certificate_payload("issue", ledger))
    if state == "lapsed":
        ledger.pass_time(31 * 86_400)
    steps = {
        "recognised": "recognise",
        "suspended": "recognise suspend",
        "used": "recognise use_up",
        "refused": "refuse",
        "withdrawn": "withdraw",
        "replaced": "replace",
    }
    for event in words(steps.get(state, "")):
        sender = "kz-kgd/officer" if event in ("withdraw", "replace") else "cn-gacc/officer"
        ledger.must(f"phytosanitary.{event}", sender, CERTIFICATE, _certificate_payload(event, ledger))
    return ledger


MOVEMENT_STATES = words("""- planned loaded sealed sealed+suspended sealed+cleared started started+truck started+gate
    refused at_border offered offered+suspended disputed disputed+decided returned handed_over arrived unloaded
    discrepancy recovery recovery+lost discharged held held+over overdue overdue+over aborted aborted+over""")
DECLARATION_STATES = words("""- lodged lodged+invalidation registered registered+amendment registered+invalidation
    accepted accepted+amendment accepted+invalidation under_control under_control+invalidation released recognised
    unrecognised suspended withdrawn moving exited returned cleared rejected refused invalidated""")
PARTICIPANT_STATES = words("- active suspended revoked registrar")
PROPOSAL_STATES = words("- open open+theirs approved approved+one in_force rejected withdrawn lapsed superseded")
CERTIFICATE_STATES = words("- issued recognised suspended used refused withdrawn replaced lapsed")
# By contract and version: the states, and a ledger that stands in one.
STATES: dict[tuple[str, int], tuple[list[str], Callable[[str], c.Ledger]]] = {
    ("registry", 1): (PARTICIPANT_STATES, participant_in),
    ("registry", 2): (PARTICIPANT_STATES, partial(participant_in, version=2)),
    ("declaration", 1): (DECLARATION_STATES, declaration_in),
    ("escort", 1): (MOVEMENT_STATES, partial(movement_in, version=1)),
    ("escort", 2): (MOVEMENT_STATES, movement_in),
    ("governance", 1): (PROPOSAL_STATES, proposal_in),
    ("governance", 2): (PROPOSAL_STATES, partial(proposal_in, version=2)),
    ("phytosanitary", 1): (CERTIFICATE_STATES, certificate_in),
}


def _subject(contract: str, state: str) -> str:
    if contract == "registry":
        return {"-": "kz/nobody", "registrar": "kz-kgd/registrar"}.get(state, SUBJECT)
    if contract == "governance":
        return THEIRS if state.endswith("+theirs") else PROPOSAL
    return {"declaration": c.UCR, "escort": c.MRN, "phytosanitary": CERTIFICATE}[contract]


def _proposal_payload(event: str, state: str, ledger: c.Ledger) -> dict[str, Any]:
    if event == "propose":
        return {"title": "for the test", "changes": [CHANGE]}
    record = load_proposal(Working(ledger.state), _subject("governance", state))
    named = {"proposal": bytes(32) if record is None else record.statement}
    return named if event == "approve" else {**named, "reason": "x"}


def _certificate_payload(event: str, ledger: c.Ledger) -> dict[str, Any]:
    issue = {
        "ucr": c.UCR,
        "ephyto_sha256": bytes(range(32)),
        "plants": [{"name": "Triticum aestivum", "mass_g": 24_000_000}],
        "valid_until_ms": ledger.now_ms + 30 * 86_400_000,
    }
    payloads: dict[str, dict[str, Any]] = {
        "issue": issue,
        "recognise": {},
        "use_up": {"mrn": c.MRN},
        "replace": {"replacement": OTHER_CERTIFICATE, "reason": "x"},
    }
    return payloads.get(event, {"reason": "x"})


def _registry_payload(event: str, state: str) -> dict[str, Any]:
    reason = {"reason": "x"}
    new_key = {"key": c.key_of("brand new").cose_key}
    payloads: dict[str, dict[str, Any]] = {
        "enrol": {**new_key, "roles": ["truck"]},
        "rotate": new_key,
        "change_roles": {"roles": ["auditor"], **reason},
        "suspend_all": reason,
        "revoke_all": reason,
        "publish_envelope_key": {"authority": "kz-kgd", "key": bytes(range(32))},
    }
    kid = c.KEYS["kz-kgd/registrar"].kid if state == "registrar" else c.key_of(SUBJECT).kid
    return payloads.get(event, {"kid": kid, **reason})


def _payload(contract: str, event: str, state: str, ledger: c.Ledger) -> dict[str, Any]:
    if contract == "registry":
        return _registry_payload(event, state)
    if contract == "governance":
        return _proposal_payload(event, state, ledger)
    if contract == "phytosanitary":
        return _certificate_payload(event, ledger)
    if contract == "declaration":
        payload = (s.STATUS_EVENTS | s.RECOGNITION_EVENTS)[event].payload(s.declaration_at("accepted"))
        numbered = state != "-" and bool(ledger.declaration(c.UCR).number)
        if event in ("accept_amendment", "refuse_amendment") and not numbered:
            payload["number"] = c.make_kz_number(7)
        return payload
    if event in ("position", "plan", "start", "incident"):
        return {"position": {"fix": c.FIX}, "plan": c.plan(), "start": {}, "incident": {"code": "03"}}[event]
    source = ledger if state not in ("-", "planned", "loaded") else s.movement_at("sealed")
    payload = s.ESCORT_EVENTS[event].payload(source)
    if "seals" in payload and not payload["seals"]:
        payload["seals"] = c.readings()
    return payload


# ---------------------------------------------------------------------------------------------------------------------
# The walk.


def test_every_contract_is_walked_in_every_version() -> None:
    assert set(TABLES) == set(STATES) == set(CONTRACTS)


@pytest.mark.parametrize("contract", TABLES, ids=NAMES)
def test_the_tables_here_name_every_event_of_the_contract(contract: tuple[str, int]) -> None:
    assert set(TABLES[contract].taken) == set(CONTRACTS[contract].schemas)


@pytest.mark.parametrize("contract", TABLES, ids=NAMES)
def test_the_whole_matrix_is_as_the_tables_say(contract: tuple[str, int]) -> None:
    """Each wrong cell is listed: event, state, sender, validity, what the tables say, what the contract did."""
    table, name = TABLES[contract], contract[0]
    states, ledger_in = STATES[contract]
    wrong, cells = [], 0
    for state in states:
        ledger = ledger_in(state)
        ledger.state.records.update({} if name == "registry" else _everybody_with_every_key())
        sub, now_ms = _subject(name, state), ledger.now_ms
        execution = BlockExecution(ledger.state, now_ms, ledger.height)
        for event in table.taken:
            payload = _payload(name, event, state, ledger)
            for sender in EVERYBODY:
                for validity in KEYS:
                    key = key_of(sender, validity)
                    statement = c.fake_statement(f"{name}.{event}", sender.name, sub, payload, now_ms // 1000, key)
                    outcome = execution.execute(statement, c.CHECK)
                    cells += 1
                    expected = table.expected(event, sender, state, validity)
                    if outcome is not expected:
                        wrong.append((event, state, sender.name, validity, expected.fact, outcome.fact))
                    if outcome is Outcome.ACCEPTED:  # a refusal leaves no trace; what was taken does
                        execution = BlockExecution(ledger.state, now_ms, ledger.height)
    assert wrong == []
    assert cells == len(states) * len(table.taken) * len(EVERYBODY) * len(KEYS)


def test_the_states_are_what_they_are_called() -> None:
    for state in MOVEMENT_STATES[1:]:
        for version in (1, 2):
            assert movement_in(state, version).movement(c.MRN).state == state.partition("+")[0]
    for state in DECLARATION_STATES[1:]:
        record = declaration_in(state).declaration(c.UCR)
        names = (record.status, record.recognition.state)
        named = {"unrecognised": "refused", "moving": "released", "exited": "released", "returned": "released"}
        assert named.get(state, state.partition("+")[0]) in names
    for state in PROPOSAL_STATES[1:]:
        proposal = load_proposal(Working(proposal_in(state).state), _subject("governance", state))
        assert proposal is not None
        assert proposal.state == state.partition("+")[0]
    for state in CERTIFICATE_STATES[1:]:
        certificate = PHYTOSANITARY_CONTRACT.record.load(Working(certificate_in(state).state), CERTIFICATE)
        assert certificate is not None
        assert certificate.state == state
    for state in PARTICIPANT_STATES[1:-1]:
        key = participant_in(state).participant(SUBJECT).key(c.key_of(SUBJECT).kid)
        assert key is not None
        assert key.state == state

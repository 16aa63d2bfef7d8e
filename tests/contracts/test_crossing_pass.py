"""A crossing pass: both authorities say what holds, a gate verifies it with a policy file, and every trick shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts import crossing_pass, declaration_record, escort_payloads
from contracts import movement as mv
from contracts.crossing_pass import (
    MAX_GATE_BEHIND_S,
    MAX_PASS_BYTES,
    CrossingPass,
    PassedDeclaration,
    PassFacts,
    check_seen,
    objections,
    parse_pass,
    pass_message,
    sign_pass,
    verify_pass,
    verify_signatures,
)
from contracts.machine import ABSENT
from contracts.parameters import PARAMETERS, IntegerParameter, encode_parameter, parameter_key
from contracts.pass_facts import pass_facts
from ledger.attestation import kid_of
from ledger.errors import Malformed, Misuse, Untrue
from ledger.note import NoteSigner
from ledger.policy import parse_policy
from tests.contracts import corridor as c
from tests.contracts import stages
from tests.contracts.proving import AT_S, PARSED, SIGNERS, Proven, forged, signed, started
from tests.ledger import corridor
from tests.ledger.mutations import mutations, survivors

FACTS = started().facts()
GOOD = signed(FACTS)
RAW = GOOD.encode()
DECLARATION = FACTS.declarations[0]


def code_of(crossing: CrossingPass, at_s: int = AT_S) -> str:
    with pytest.raises(Untrue) as raised:
        verify_pass(crossing, PARSED, at_s)
    return raised.value.code


def test_a_pass_of_both_authorities_lets_a_movement_on_its_way_through() -> None:
    assert parse_pass(RAW) == GOOD
    assert verify_pass(parse_pass(RAW), PARSED, AT_S) == SIGNERS


def test_it_says_what_the_state_says() -> None:
    movement = c.at("started").movement(c.MRN)
    assert (FACTS.mrn, FACTS.state, FACTS.vehicle, FACTS.truck) == (c.MRN, "started", movement.vehicle, movement.truck)
    assert FACTS.seals == movement.seals_in_force()
    assert FACTS.containers == movement.plan.containers
    assert FACTS.truck_keys == (c.KEYS[movement.truck].kid,)
    assert PassedDeclaration(c.UCR, 1, 1, "released", "recognised", 1) == DECLARATION


def test_what_a_gate_knows_of_the_contracts_without_their_modules_is_what_they_have() -> None:
    rule = PARAMETERS["pass_minutes"]
    assert isinstance(rule, IntegerParameter)
    assert rule.highest == crossing_pass.MAX_PASS_MINUTES
    for name in ("MAX_DECLARATIONS", "MAX_CONTAINERS", "MAX_SEALS"):
        assert getattr(crossing_pass, name) == getattr(escort_payloads, name)
    assert (declaration_record.RELEASED, declaration_record.RECOGNISED) == ("released", "recognised")
    assert crossing_pass.PASSING == (mv.STARTED, mv.AT_BORDER, mv.OFFERED, mv.HANDED_OVER)


def test_it_counts_for_the_governed_minutes() -> None:
    assert FACTS.until_s - FACTS.as_of_s == 60 * int(PARAMETERS["pass_minutes"].default)
    records = dict(c.at("started").state.records)
    records[parameter_key("pass_minutes")] = encode_parameter(5)
    shorter = Proven(records).facts()
    assert shorter.until_s - shorter.as_of_s == 300


def test_there_is_none_of_a_movement_that_there_is_not() -> None:
    facts = pass_facts(
        started().state.get, c.make_mrn(77), origin=corridor.ORIGIN, size=1, root=bytes(32), as_of_s=AT_S
    )
    assert facts is None


# --- who may pass ----------------------------------------------------------------------------------------------------

MAY_PASS = {"started", "at_border", "offered", "handed_over"}


@pytest.mark.parametrize("state", [state for state in stages.MOVEMENT_STATES if state != ABSENT])
def test_only_a_movement_on_its_way_may_pass(state: str) -> None:
    facts = Proven(stages.movement_at(state).state.records).facts()
    of_movement = [why for why in objections(facts) if why.startswith("movement")]
    assert (not of_movement) == (state in MAY_PASS)
    if of_movement:
        assert f"is {state}" in of_movement[0]


def suspended() -> PassFacts:
    ledger = c.at("started")
    payload = stages.RECOGNITION_EVENTS["suspend_recognition"].payload(ledger)
    ledger.must("declaration.suspend_recognition", "cn-gacc/officer", c.UCR, payload)
    return Proven(ledger.state.records).facts()


def without_truck() -> PassFacts:
    ledger = c.at("started")
    ledger.must("registry.suspend_all", "kz-kgd/registrar", "kz/truck/t-001", {"reason": "looked into"})
    return Proven(ledger.state.records).facts()


NOT_RECOGNISED = replace(DECLARATION, ucr="OTHER", recognition="none")
OBJECTIONS: list[tuple[str, PassFacts, str]] = [
    ("its recognition is suspended", suspended(), "recognition of declaration .* is suspended: expected recognised"),
    ("its truck is suspended", without_truck(), "truck kz/truck/t-001 has no key in force"),
    (
        "it is not released",
        replace(FACTS, declarations=(replace(DECLARATION, status="invalidated"),)),
        "is invalidated: expected released",
    ),
    (
        "another version is recognised",
        replace(FACTS, declarations=(replace(DECLARATION, version=2),)),
        "has version 2: recognised is 1, planned with was 1",
    ),
    (
        "another version was planned with",
        replace(FACTS, declarations=(replace(DECLARATION, version=2, recognised=2),)),
        "planned with was 1",
    ),
    ("one of two is not recognised", replace(FACTS, declarations=(DECLARATION, NOT_RECOGNISED)), "OTHER is none"),
]


@pytest.mark.parametrize(("what", "facts", "says"), OBJECTIONS, ids=[each[0] for each in OBJECTIONS])
def test_nothing_passes_with_a_declaration_or_truck_that_may_not(what: str, facts: PassFacts, says: str) -> None:
    with pytest.raises(Misuse, match=says):
        sign_pass(corridor.COSIGNERS["kz-kgd-1"], facts)
    # And a gate does not rely on that nobody signs it.
    with pytest.raises(Untrue, match=f"may_not_pass.*{says}"):
        verify_pass(forged(facts), PARSED, AT_S)


# --- when ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_s", "code"),
    [
        (FACTS.as_of_s - MAX_GATE_BEHIND_S - 1, "pass_not_yet_valid"),
        (FACTS.as_of_s - MAX_GATE_BEHIND_S, ""),
        (FACTS.as_of_s, ""),
        (FACTS.until_s, ""),
        (FACTS.until_s + 1, "pass_expired"),
        (FACTS.until_s + 10**9, "pass_expired"),
        (0, "pass_not_yet_valid"),
    ],
)
def test_it_counts_from_when_it_was_signed_until_it_expires(at_s: int, code: str) -> None:
    if code:
        assert code_of(GOOD, at_s) == code
    else:
        verify_pass(GOOD, PARSED, at_s)


# --- who signed ------------------------------------------------------------------------------------------------------

STRANGER = NoteSigner(corridor.seed("a stranger"))


def stranger_signed(facts: PassFacts) -> tuple[bytes, bytes]:
    kid = kid_of(STRANGER.public_key)
    return kid, STRANGER.sign(pass_message(facts.encode(), kid))


def test_one_side_alone_cannot_issue_one() -> None:
    assert code_of(signed(FACTS, ("kz-kgd-1", "kz-kgd-2"))) == "quorum_not_met"
    assert code_of(signed(FACTS, ("cn-gacc-1",))) == "quorum_not_met"


def test_a_stranger_counts_for_nothing_and_spoils_nothing() -> None:
    assert code_of(CrossingPass(FACTS, (stranger_signed(FACTS),))) == "quorum_not_met"
    more = CrossingPass(FACTS, (stranger_signed(FACTS), *GOOD.signatures))
    assert verify_signatures(more, PARSED) == SIGNERS


def test_a_bad_signature_of_a_known_key_spoils_it_though_the_others_are_enough() -> None:
    third = (kid_of(corridor.COSIGNERS["kz-kgd-2"].public_key), bytes(64))
    assert code_of(CrossingPass(FACTS, (*GOOD.signatures, third))) == "bad_signature"


def test_a_policy_that_demands_no_witness_still_demands_that_one_has_signed() -> None:
    lenient = parse_policy(corridor.policy_text("kz").replace(b"quorum both", b"quorum none"))
    with pytest.raises(Untrue, match="quorum_not_met"):
        verify_pass(CrossingPass(FACTS, (stranger_signed(FACTS),)), lenient, AT_S)


def test_the_signature_of_one_validator_is_not_that_of_another() -> None:
    (one, signature), (other, _) = GOOD.signatures
    assert code_of(CrossingPass(FACTS, ((other, signature), (one, GOOD.signatures[1][1])))) == "bad_signature"


CHANGES: dict[str, Any] = {
    "origin": "other.example/log",
    "size": FACTS.size + 1,
    "root": bytes(32),
    "as_of_s": FACTS.as_of_s - 1,
    "until_s": FACTS.until_s + 1,
    "mrn": c.make_mrn(77),
    "state": "handed_over",
    "custody": "cn-gacc",
    "exit_post": "KZ/OTHER",
    "entry_post": "KZ/OTHER",
    "truck": "kz/truck/t-002",
    "truck_keys": (bytes(32),),
    "vehicle": "KZ/999XXX02",
    "containers": (c.make_container(77),),
    "seals": ("OTHER1",),
    "declarations": (replace(DECLARATION, ucr="OTHER"),),
}


@pytest.mark.parametrize("name", CHANGES)
def test_no_fact_can_be_changed_after_it_was_signed(name: str) -> None:
    assert set(CHANGES) == set(PassFacts.__dataclass_fields__)
    changed = CrossingPass(replace(FACTS, **{name: CHANGES[name]}), GOOD.signatures)
    parse_pass(changed.encode())
    assert code_of(changed) == ("unknown_log" if name == "origin" else "bad_signature")


def test_a_copied_pass_on_another_vehicle_or_with_other_seals_shows() -> None:
    check_seen("vehicle", (FACTS.vehicle,), (FACTS.vehicle,))
    check_seen("seals", ("B", "A"), ("A", "B"))
    for what, seen in (("vehicle", ("KZ/999XXX02",)), ("seals", ()), ("containers", (c.make_container(77),))):
        said = (FACTS.vehicle,) if what == "vehicle" else getattr(FACTS, what) or ("S1",)
        with pytest.raises(Untrue) as raised:
            check_seen(what, said, seen)
        assert raised.value.code == f"other_{what}"


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_every_altered_byte_every_length_and_every_repetition_is_refused() -> None:
    assert survivors(RAW, lambda altered: verify_pass(parse_pass(altered), PARSED, AT_S)) == []


def test_what_parses_is_its_one_spelling() -> None:
    for _, altered in mutations(RAW):
        try:
            found = parse_pass(altered)
        except Malformed:
            continue
        assert found.encode() == altered


def test_what_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Malformed, match="too_large"):
        parse_pass(bytes(MAX_PASS_BYTES + 1))


BROKEN: dict[str, Any] = {
    "signed by nobody": CrossingPass(FACTS, ()),
    "signed twice by one": CrossingPass(FACTS, GOOD.signatures[:1] * 2),
    "for ever": CrossingPass(replace(FACTS, until_s=FACTS.as_of_s + 86_401), GOOD.signatures),
    "for no time": CrossingPass(replace(FACTS, until_s=FACTS.as_of_s), GOOD.signatures),
    "a vehicle that is none": CrossingPass(replace(FACTS, vehicle="a truck"), GOOD.signatures),
    "a movement that is none": CrossingPass(replace(FACTS, mrn="X"), GOOD.signatures),
    "a seal twice": CrossingPass(replace(FACTS, seals=("S1", "S1")), GOOD.signatures),
    "too many containers": CrossingPass(
        replace(FACTS, containers=tuple(map(c.make_container, range(11)))), GOOD.signatures
    ),
    "a state that could clear a screen": CrossingPass(replace(FACTS, state="\x1b[2J"), GOOD.signatures),
    "a root that is none": CrossingPass(replace(FACTS, root=b"x"), GOOD.signatures),
    "a signature that is none": CrossingPass(FACTS, ((GOOD.signatures[0][0], b"x"),)),
    "a kid that is none": CrossingPass(FACTS, ((b"x", bytes(64)),)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_a_rule_of_the_format_is_never_made(what: str) -> None:
    with pytest.raises(Misuse):
        BROKEN[what].encode()


def test_an_ordinary_pass_fits_one_qr_code_of_a_size_that_is_easily_read() -> None:
    """Version 40-L holds 2,953 bytes; 1,273 fit version 25-L, which a phone reads from an arm's length."""
    assert len(RAW) < 1_000
    most = tuple(replace(DECLARATION, ucr=f"UCR-{number:031d}") for number in range(20))
    full = replace(
        FACTS,
        declarations=most[:8],
        containers=tuple(map(c.make_container, range(4))),
        seals=tuple(f"SEAL{number:06d}" for number in range(8)),
    )
    assert len(signed(full).encode()) < 2_953

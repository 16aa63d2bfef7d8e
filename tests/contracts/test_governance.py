"""Governance, attacks first: what one side alone, a late word, or a word about something else must not bring about."""

from __future__ import annotations

from typing import Any

import pytest

from contracts import governance_record as g
from contracts.execute import BlockExecution, genesis_state, next_deadline_ms
from contracts.governance import MAX_OPEN_PROPOSALS
from contracts.outcome import Outcome
from contracts.parameters import PARAMETERS, encode_parameter, parameter_key
from contracts.registry import load_authority
from contracts.releases import ReleaseNeeded, missing_ahead
from contracts.working import Working
from ledger.cbor import encode
from tests.contracts import corridor as c
from tests.contracts import stages as s
from tests.contracts.governing import (
    CN,
    CN_DEPUTY,
    DEPUTY_KEYS,
    KZ,
    KZ_DEPUTY,
    LEAD,
    Governed,
    contract,
    genesis,
    parameter,
)

P = "kz-kgd/1"
Q = "cn-gacc/1"
LAPSE = parameter("offer_lapse_s", 3_600)
WIDER = parameter("corridor_m", 3_000)


@pytest.fixture
def ledger() -> Governed:
    return Governed.begin()


# One side alone.


def test_the_proposing_side_cannot_approve_its_own_proposal_by_whichever_registrar(ledger: Governed) -> None:
    assert ledger.propose(P, LAPSE) is Outcome.ACCEPTED
    for who in (KZ, KZ_DEPUTY):
        assert ledger.answer("approve", P, who) is Outcome.SIDE_ALREADY_APPROVED
    assert ledger.proposal(P).state == g.OPEN
    ledger.until(ledger.height + 3 * LEAD)
    assert ledger.in_force("offer_lapse_s") == PARAMETERS["offer_lapse_s"].default


def test_the_side_that_approved_cannot_reject_it_afterwards(ledger: Governed) -> None:
    ledger.agree(P, LAPSE)
    assert ledger.answer("reject", P) is Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED


def test_nobody_but_a_registrar_takes_part(ledger: Governed) -> None:
    assert ledger.propose(P, LAPSE, who="kz-kgd/officer") is Outcome.ROLE_NOT_ALLOWED
    assert ledger.propose(P, LAPSE) is Outcome.ACCEPTED
    assert ledger.answer("approve", P, "kz-kgd/officer") is Outcome.ROLE_NOT_ALLOWED


def test_the_partner_cannot_withdraw_and_the_proposer_cannot_reject(ledger: Governed) -> None:
    ledger.propose(P, LAPSE)
    assert ledger.answer("withdraw", P, CN) is Outcome.PROPOSAL_OF_OTHER_SIDE
    assert ledger.answer("reject", P, KZ) is Outcome.SIDE_ALREADY_APPROVED


def test_no_side_takes_a_proposal_id_of_the_other(ledger: Governed) -> None:
    assert ledger.propose("cn-gacc/9", LAPSE) is Outcome.PROPOSAL_ID_OF_OTHER_AUTHORITY
    assert ledger.propose("kz/9", LAPSE) is Outcome.ACCEPTED


def test_neither_side_alone_takes_back_what_both_approved(ledger: Governed) -> None:
    ledger.agree(P, LAPSE)
    assert ledger.answer("withdraw", P, KZ) is Outcome.ACCEPTED
    assert ledger.answer("withdraw", P, KZ_DEPUTY) is Outcome.SIDE_ALREADY_WITHDREW
    ledger.until(ledger.proposal(P).effect_height)
    assert ledger.empty_block() == 1
    assert ledger.in_force("offer_lapse_s") == 3_600


def test_both_together_take_back_what_has_not_taken_effect(ledger: Governed) -> None:
    ledger.agree(P, LAPSE, height=ledger.height + 10)
    assert ledger.answer("withdraw", P, KZ) is Outcome.ACCEPTED
    assert ledger.answer("withdraw", P, CN) is Outcome.ACCEPTED
    assert ledger.proposal(P).state == g.WITHDRAWN
    assert ledger.propose(Q, LAPSE, who=CN) is Outcome.ACCEPTED  # nothing of it is pending any more
    ledger.until(ledger.height + 12)
    assert ledger.in_force("offer_lapse_s") == PARAMETERS["offer_lapse_s"].default


def test_a_registrar_whose_key_is_revoked_takes_part_no_more(ledger: Governed) -> None:
    kid = DEPUTY_KEYS[CN_DEPUTY].kid
    ledger.propose(P, LAPSE)
    ledger.must("registry.revoke", CN, CN_DEPUTY, {"kid": kid, "reason": "lost"})
    assert ledger.answer("approve", P, CN_DEPUTY) is Outcome.KEY_REVOKED


def test_an_approval_given_before_its_key_was_revoked_stays(ledger: Governed) -> None:
    kid = DEPUTY_KEYS[CN_DEPUTY].kid
    ledger.propose(P, LAPSE)
    assert ledger.answer("approve", P, CN_DEPUTY) is Outcome.ACCEPTED
    ledger.must("registry.revoke", CN, CN_DEPUTY, {"kid": kid, "reason": "lost"})
    ledger.until(ledger.proposal(P).effect_height)
    assert ledger.empty_block() == 1


# Something else than what was read.


def test_an_approval_of_another_statement_is_refused(ledger: Governed) -> None:
    ledger.propose(P, LAPSE)
    ledger.propose("kz-kgd/2", WIDER)
    other = ledger.proposal("kz-kgd/2").statement
    assert ledger.answer("approve", P, proposal=other) is Outcome.PROPOSAL_DIFFERS
    assert ledger.answer("reject", P, proposal=bytes(32)) is Outcome.PROPOSAL_DIFFERS


def test_an_id_is_used_once_so_that_nothing_can_be_put_in_the_place_of_what_was_read(ledger: Governed) -> None:
    ledger.propose(P, LAPSE)
    assert ledger.propose(P, WIDER) is Outcome.PROPOSAL_ALREADY_MADE
    assert ledger.answer("withdraw", P, KZ) is Outcome.ACCEPTED
    assert ledger.propose(P, WIDER) is Outcome.PROPOSAL_ALREADY_MADE


def test_an_approval_twice_is_refused(ledger: Governed) -> None:
    ledger.agree(P, LAPSE)
    assert ledger.answer("approve", P) is Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED
    ledger.until(ledger.proposal(P).effect_height)
    ledger.empty_block()
    assert ledger.answer("approve", P) is Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED


# Heights.


def test_a_change_takes_effect_at_its_height_and_not_before(ledger: Governed) -> None:
    height = ledger.height + 20
    ledger.agree(P, LAPSE, height=height)
    ledger.until(height - 1)
    before = ledger.execution()
    before.begin()
    assert (before.fired, ledger.in_force("offer_lapse_s")) == (0, 1_800)
    ledger.until(height)
    assert (ledger.empty_block(), ledger.in_force("offer_lapse_s")) == (1, 3_600)
    assert ledger.proposal(P).state == g.IN_FORCE
    assert ledger.proposal(P).since_height == height


def test_without_a_height_it_takes_effect_the_governed_lead_after_the_last_approval(ledger: Governed) -> None:
    ledger.propose(P, LAPSE)
    approved_at = ledger.height
    ledger.answer("approve", P)
    assert ledger.proposal(P).effect_height == approved_at + LEAD


def test_a_height_that_has_passed_is_not_proposed(ledger: Governed) -> None:
    for height in (1, ledger.height, ledger.height + LEAD - 1):
        assert ledger.propose(P, LAPSE, height=height) is Outcome.EFFECT_HEIGHT_TOO_EARLY
    assert ledger.propose(P, LAPSE, height=ledger.height + LEAD) is Outcome.ACCEPTED


def test_an_approval_that_comes_late_moves_the_height_by_the_lead_and_never_into_the_past(ledger: Governed) -> None:
    ledger.propose(P, LAPSE, height=ledger.height + LEAD)
    ledger.until(ledger.height + 30)
    approved_at = ledger.height
    ledger.answer("approve", P)
    assert ledger.proposal(P).effect_height == approved_at + LEAD


def test_a_statement_in_the_block_of_the_height_is_judged_by_the_new_parameter(ledger: Governed) -> None:
    ledger.agree(P, parameter("iat_skew_hard_s", 600))
    height = ledger.proposal(P).effect_height
    ledger.until(height - 1)
    reason = {"kid": DEPUTY_KEYS[CN_DEPUTY].kid, "reason": "old"}
    assert ledger.send("registry.suspend", CN, CN_DEPUTY, reason, age_s=700) is Outcome.ACCEPTED
    assert ledger.send("registry.resume", CN, CN_DEPUTY, reason, age_s=700) is Outcome.IAT_TOO_OLD
    assert ledger.in_force("iat_skew_hard_s") == 600


# Time.


def test_a_proposal_lapses_and_then_cannot_be_approved_even_in_the_same_block(ledger: Governed) -> None:
    ledger.propose(P, LAPSE)
    due_ms = next_deadline_ms(ledger.state)
    assert due_ms is not None
    ledger.now_ms = due_ms
    assert ledger.answer("approve", P) is Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED
    assert ledger.proposal(P).state == g.LAPSED
    assert g.open_proposals(Working(ledger.state)) == ()
    assert next_deadline_ms(ledger.state) is None


def test_an_approval_a_millisecond_before_the_lapse_counts(ledger: Governed) -> None:
    ledger.propose(P, LAPSE)
    due_ms = next_deadline_ms(ledger.state)
    assert due_ms is not None
    ledger.now_ms = due_ms - 1
    assert ledger.answer("approve", P) is Outcome.ACCEPTED
    assert next_deadline_ms(ledger.state) is None


# Two proposals about one thing.


def test_of_two_about_one_thing_the_first_to_be_approved_wins(ledger: Governed) -> None:
    ledger.propose(P, LAPSE)
    ledger.propose("kz-kgd/2", WIDER)
    ledger.propose(Q, WIDER, parameter("offer_lapse_s", 900), who=CN)
    assert ledger.answer("approve", P) is Outcome.ACCEPTED
    assert ledger.proposal(Q).state == g.SUPERSEDED
    assert ledger.proposal("kz-kgd/2").state == g.OPEN
    assert ledger.answer("approve", Q, KZ) is Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED


def test_what_waits_for_its_height_cannot_be_proposed_about(ledger: Governed) -> None:
    ledger.agree(P, LAPSE)
    assert ledger.propose(Q, parameter("offer_lapse_s", 900), who=CN) is Outcome.CHANGE_PENDING
    ledger.until(ledger.proposal(P).effect_height)
    ledger.empty_block()
    assert ledger.propose(Q, parameter("offer_lapse_s", 900), who=CN) is Outcome.CHANGE_SUPERSEDED
    assert ledger.propose(Q, parameter("offer_lapse_s", 900, replaces=3_600), who=CN) is Outcome.ACCEPTED


def test_the_history_of_a_topic_can_be_walked(ledger: Governed) -> None:
    ledger.agree(P, LAPSE)
    ledger.until(ledger.proposal(P).effect_height)
    ledger.agree("kz-kgd/2", parameter("offer_lapse_s", 900, replaces=3_600))
    assert ledger.proposal("kz-kgd/2").previous == (("parameter/offer_lapse_s", P),)
    ledger.until(ledger.proposal("kz-kgd/2").effect_height)
    ledger.empty_block()
    row = Working(ledger.state).row(g.now_key("parameter/offer_lapse_s"))
    proposal = ledger.proposal("kz-kgd/2")
    assert row == ("kz-kgd/2", proposal.effect_height, proposal.since_ms, proposal.statement.hex())


def test_all_changes_of_a_proposal_take_effect_together(ledger: Governed) -> None:
    ledger.agree(P, LAPSE, WIDER, parameter("posts", "CNBKT"))
    ledger.until(ledger.proposal(P).effect_height)
    ledger.empty_block()
    assert [ledger.in_force(name) for name in ("offer_lapse_s", "corridor_m", "posts")] == [3_600, 3_000, "CNBKT"]


def test_one_bad_change_refuses_all(ledger: Governed) -> None:
    assert ledger.propose(P, LAPSE, parameter("corridor_m", 9)) is Outcome.PARAMETER_OUT_OF_LIMITS
    assert g.load_proposal(Working(ledger.state), P) is None


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ([{"parameter": {"name": "no_such", "from": 1, "to": 2}}], Outcome.PARAMETER_UNKNOWN),
        ([parameter("iat_skew_hard_s", 0)], Outcome.PARAMETER_OUT_OF_LIMITS),
        ([parameter("iat_skew_hard_s", "600")], Outcome.PARAMETER_OUT_OF_LIMITS),
        ([parameter("proposal_lapse_s", 0)], Outcome.PARAMETER_OUT_OF_LIMITS),
        ([parameter("effect_lead_blocks", 10**9, replaces=LEAD)], Outcome.PARAMETER_OUT_OF_LIMITS),
        ([parameter("posts", "nowhere at all")], Outcome.PARAMETER_OUT_OF_LIMITS),
        ([parameter("iat_skew_hard_s", 60)], Outcome.PARAMETERS_CONTRADICT),
        ([parameter("iat_skew_hard_s", 60), parameter("iat_skew_soft_s", 30)], Outcome.ACCEPTED),
        ([LAPSE, parameter("offer_lapse_s", 900)], Outcome.CHANGE_TWICE),
        ([parameter("offer_lapse_s", 900, replaces=1_799)], Outcome.CHANGE_SUPERSEDED),
        ([parameter("offer_lapse_s", 900, replaces="1800")], Outcome.CHANGE_SUPERSEDED),
        ([parameter("offer_lapse_s", 1_800)], Outcome.CHANGE_WITHOUT_EFFECT),
        ([contract("escort", 0, 2)], Outcome.CHANGE_SUPERSEDED),
        ([contract("escort", 1, 1)], Outcome.CONTRACT_VERSION_NOT_HIGHER),
        ([contract("escort", 1, 2)], Outcome.ACCEPTED),
        ([contract("grain", 0, 1)], Outcome.ACCEPTED),
    ],
)
def test_what_may_be_proposed(ledger: Governed, changes: list[dict[str, Any]], outcome: Outcome) -> None:
    assert ledger.propose(P, *changes) is outcome


@pytest.mark.parametrize(
    "change",
    [
        {},
        LAPSE | WIDER | contract("escort", 1, 2),
        {"parameter": {"name": "offer_lapse_s", "to": 1}},
        {"parameter": {"name": "offer_lapse_s", "from": 1.5, "to": 1}},
        {"contract": {"name": "Escort", "from": 1, "to": 2, "release": "1"}},
        {"log_key": {"authority": "kz-kgd", "from": b"short", "to": bytes(32)}},
    ],
)
def test_a_change_of_another_shape_is_refused_before_anything_is_looked_up(
    ledger: Governed, change: dict[str, Any]
) -> None:
    assert 105 <= ledger.propose(P, change) <= 109


def test_two_parameters_that_go_together_are_compared_with_what_waits(ledger: Governed) -> None:
    ledger.agree(P, parameter("iat_skew_soft_s", 3_600))
    assert ledger.propose(Q, parameter("iat_skew_hard_s", 1_800), who=CN) is Outcome.PARAMETERS_CONTRADICT


def test_two_parameters_go_together_before_the_one_that_waits_takes_effect_as_well(ledger: Governed) -> None:
    """It may be taken back, and its height is another: until then the hard limit would be below the soft one."""
    ledger.agree(P, parameter("iat_skew_soft_s", 60), height=ledger.height + 1_000)
    assert ledger.propose(Q, parameter("iat_skew_hard_s", 120), who=CN) is Outcome.PARAMETERS_CONTRADICT
    assert ledger.propose(Q, parameter("iat_skew_hard_s", 300), who=CN) is Outcome.ACCEPTED


def test_what_the_genesis_record_contradicts_itself_in_stands_in_the_way_of_nothing_else() -> None:
    ledger = Governed.begin(iat_skew_soft_s=3_600, iat_skew_hard_s=1_800)
    basis = {"legal_basis": {"agreement": "Smart Customs pilot", "article": "4", "to": "2026-01-01"}}
    assert ledger.propose("kz-kgd/2", basis) is Outcome.ACCEPTED
    assert ledger.propose(P, WIDER) is Outcome.ACCEPTED
    worse = parameter("iat_skew_hard_s", 900, replaces=1_800)
    assert ledger.propose(Q, worse, who=CN) is Outcome.PARAMETERS_CONTRADICT
    repaired = parameter("iat_skew_soft_s", 1_800, replaces=3_600)
    assert ledger.propose(Q, repaired, who=CN) is Outcome.ACCEPTED


def test_a_side_that_proposes_without_end_leaves_the_other_room(ledger: Governed) -> None:
    for number in range(MAX_OPEN_PROPOSALS):
        assert ledger.propose(f"kz-kgd/n{number}", LAPSE) is Outcome.ACCEPTED
    assert ledger.propose("kz-kgd/more", LAPSE) is Outcome.OPEN_PROPOSAL_LIMIT_REACHED
    assert ledger.propose(Q, LAPSE, who=CN) is Outcome.ACCEPTED
    assert ledger.answer("approve", Q, KZ) is Outcome.ACCEPTED
    assert g.open_proposals(Working(ledger.state)) == ()


# An authority's keys.


def new_registrar_key(seed: str, overlap_s: int = 0) -> dict[str, Any]:
    present = c.KEYS[KZ].kid
    return {
        "registrar_key": {
            "authority": "kz-kgd",
            "from": present,
            "key": c.key_of(seed).cose_key,
            "overlap_s": overlap_s,
        }
    }


def test_a_lost_registrar_key_is_replaced_by_a_deputy_and_the_other_side(ledger: Governed) -> None:
    assert ledger.propose(P, new_registrar_key("fresh"), who=KZ_DEPUTY) is Outcome.ACCEPTED
    assert ledger.answer("approve", P) is Outcome.ACCEPTED
    height = ledger.proposal(P).effect_height
    ledger.until(height)
    ledger.empty_block()
    assert ledger.propose("kz-kgd/2", LAPSE) is Outcome.KEY_EXPIRED
    payload = {"title": "after", "changes": [LAPSE]}
    assert ledger.by(KZ, "propose", "kz-kgd/2", payload, key=c.key_of("fresh")) is Outcome.ACCEPTED


def test_a_registrar_key_that_both_took_back_stays_set_aside(ledger: Governed) -> None:
    ledger.agree(P, new_registrar_key("fresh"))
    for who in (CN, KZ):
        assert ledger.answer("withdraw", P, who) is Outcome.ACCEPTED
    assert ledger.propose("kz-kgd/2", new_registrar_key("fresh")) is Outcome.GOVERNED_KEY_TAKEN
    assert ledger.propose("kz-kgd/2", new_registrar_key("fresher")) is Outcome.ACCEPTED


def test_a_stolen_registrar_key_cannot_hold_up_its_replacement_that_both_sides_sign_ahead(ledger: Governed) -> None:
    """The thief fills the side's open proposals, and would withdraw or reject whatever it sees on the log."""
    for number in range(MAX_OPEN_PROPOSALS):
        assert ledger.propose(f"kz-kgd/n{number}", LAPSE) is Outcome.ACCEPTED
    assert ledger.propose(P, new_registrar_key("fresh"), who=KZ_DEPUTY) is Outcome.OPEN_PROPOSAL_LIMIT_REACHED
    payload: dict[str, Any] = {"title": "stolen", "changes": [new_registrar_key("fresh")]}
    proposal = c.fake_statement("governance.propose", CN, Q, payload, ledger.now_ms // 1000, None)
    approval = c.fake_statement(
        "governance.approve", KZ_DEPUTY, Q, {"proposal": proposal.id}, ledger.now_ms // 1000, DEPUTY_KEYS[KZ_DEPUTY]
    )
    execution = ledger.execution()
    for statement in (proposal, approval):
        assert execution.execute(statement, lambda *_: None) is Outcome.ACCEPTED
    ledger.state.write(execution.changes)
    ledger.height += 1
    assert ledger.answer("reject", Q, KZ) is Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED
    assert ledger.answer("withdraw", Q, KZ) is Outcome.ACCEPTED  # for its own side, which is not all
    ledger.until(ledger.proposal(Q).effect_height)
    assert ledger.propose("kz-kgd/3", LAPSE) is Outcome.KEY_EXPIRED


def test_the_old_registrar_key_counts_for_the_overlap_and_no_longer(ledger: Governed) -> None:
    ledger.agree(P, new_registrar_key("fresh", overlap_s=3_600))
    ledger.until(ledger.proposal(P).effect_height)
    ledger.empty_block()
    assert ledger.propose("kz-kgd/2", LAPSE) is Outcome.ACCEPTED
    ledger.now_ms += 3_600_000
    assert ledger.propose("kz-kgd/3", LAPSE) is Outcome.KEY_EXPIRED


def test_a_registrars_new_key_is_its_own_from_the_approval_on(ledger: Governed) -> None:
    ledger.agree(P, new_registrar_key("fresh"))
    enrolment = {"key": c.key_of("fresh").cose_key, "roles": ["truck"]}
    assert ledger.send("registry.enrol", CN, "cn/truck/t-9", enrolment) is Outcome.KEY_ALREADY_ENROLLED


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"authority": "ru-fts", "from": bytes(32), "key": b"x"}, Outcome.GOVERNED_AUTHORITY_UNKNOWN),
        ({"authority": "kz-kgd", "from": bytes(32), "key": b"x"}, Outcome.CHANGE_SUPERSEDED),
        ({"authority": "kz-kgd", "from": c.KEYS[KZ].kid, "key": b"x"}, Outcome.GOVERNED_KEY_MALFORMED),
        ({"authority": "kz-kgd", "from": c.KEYS[KZ].kid, "key": c.KEYS[CN].cose_key}, Outcome.GOVERNED_KEY_TAKEN),
    ],
)
def test_a_registrar_key_that_cannot_be_is_not_proposed(
    ledger: Governed, change: dict[str, Any], outcome: Outcome
) -> None:
    assert ledger.propose(P, {"registrar_key": change}) is outcome


def test_log_key_and_ca_are_replaced_with_an_overlap_that_is_on_the_ledger(ledger: Governed) -> None:
    old = load_authority(Working(ledger.state), "cn-gacc")
    assert old is not None
    log_key = {"authority": "cn-gacc", "from": old.log_key, "to": c.raw_ed25519("new log"), "overlap_s": 60}
    ca = {"authority": "cn-gacc", "from": old.ca_sha256, "to": bytes(32), "overlap_s": 120}
    ledger.agree(P, {"log_key": log_key}, {"ca": ca})
    ledger.until(ledger.proposal(P).effect_height)
    now_ms = ledger.now_ms
    ledger.empty_block()
    new = load_authority(Working(ledger.state), "cn-gacc")
    assert new is not None
    assert (new.log_key, new.ca_sha256) == (c.raw_ed25519("new log"), bytes(32))
    overlap = Working(ledger.state).row("governed/overlap/log_key/cn-gacc")
    assert overlap == (old.log_key.hex(), now_ms + 60_000)


def test_an_authority_cannot_take_the_log_key_or_ca_of_the_other(ledger: Governed) -> None:
    kz, cn = (load_authority(Working(ledger.state), name) for name in ("kz-kgd", "cn-gacc"))
    assert kz is not None
    assert cn is not None
    log_key = {"authority": "cn-gacc", "from": cn.log_key, "to": kz.log_key}
    assert ledger.propose(P, {"log_key": log_key}) is Outcome.GOVERNED_KEY_TAKEN
    ca = {"authority": "cn-gacc", "from": cn.ca_sha256, "to": kz.ca_sha256}
    assert ledger.propose(P, {"ca": ca}) is Outcome.GOVERNED_KEY_TAKEN
    assert ledger.propose(P, {"ca": ca | {"from": bytes(32)}}) is Outcome.GOVERNED_KEY_TAKEN


def _keys_of_both(ledger: Governed, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Changes that give the same new key, or CA, to both authorities."""
    made = []
    for name, registrar in (("kz-kgd", KZ), ("cn-gacc", CN)):
        present = load_authority(Working(ledger.state), name)
        assert present is not None
        fields: dict[str, Any] = {
            "registrar_key": {"from": c.KEYS[registrar].kid, "key": c.key_of("shared").cose_key},
            "log_key": {"from": present.log_key, "to": c.raw_ed25519("shared log")},
            "ca": {"from": present.ca_sha256, "to": bytes(32)},
        }[kind]
        made.append({kind: {"authority": name, **fields}})
    return made[0], made[1]


@pytest.mark.parametrize("kind", ["registrar_key", "log_key", "ca"])
def test_two_authorities_never_get_the_same_key_at_once_or_one_after_the_other(ledger: Governed, kind: str) -> None:
    kz, cn = _keys_of_both(ledger, kind)
    assert ledger.propose(P, kz, cn) is Outcome.GOVERNED_KEY_TAKEN
    ledger.agree(Q.replace("cn-gacc", "kz-kgd"), kz)
    assert ledger.propose("kz-kgd/later", cn) is Outcome.GOVERNED_KEY_TAKEN


# Contracts that this program does not have.


def test_a_program_stops_before_the_block_whose_contract_it_does_not_have(ledger: Governed) -> None:
    ledger.agree(P, contract("escort", 1, 99, "9.0.0"))
    height = ledger.proposal(P).effect_height
    assert [str(each) for each in missing_ahead(ledger.state)] == [
        f"contract escort version 99 takes effect at height {height} (kz-kgd/1): "
        "this program does not have it; install release 9.0.0 before"
    ]
    ledger.until(height)
    before = dict(ledger.state.records)
    with pytest.raises(ReleaseNeeded, match=r"release 9\.0\.0"):
        BlockExecution(ledger.state, ledger.now_ms, ledger.height).begin()
    assert ledger.state.records == before
    # Nor does it go on where somebody caught that and sends a statement nevertheless.
    lodged = c.fake_statement("declaration.lodge", "kz/declarant/agro", c.UCR, {}, ledger.now_ms // 1000)
    execution = BlockExecution(ledger.state, ledger.now_ms, ledger.height)
    for _ in range(2):
        with pytest.raises(ReleaseNeeded):
            execution.execute(lodged, c.CHECK)


def test_a_program_stops_before_a_contract_whose_name_it_has_never_heard(ledger: Governed) -> None:
    ledger.agree(P, contract("quotas", 0, 1, "3.0.0"))
    ledger.until(ledger.proposal(P).effect_height)
    with pytest.raises(ReleaseNeeded, match="no version of it"):
        ledger.execution().begin()


def test_a_program_that_has_no_rules_for_what_waits_does_not_try_them(ledger: Governed) -> None:
    """A state that came as a snapshot may be of a `governance` whose records are not those of this program."""
    ledger.agree(P, contract("governance", 1, 9, "9.0.0"))
    ledger.until(ledger.proposal(P).effect_height)
    ledger.state.records["governed/contracts"] = encode(["governance", 9, "9.0.0"])
    ledger.state.records[g.proposal_key(P)] = encode(["proposal.v9", 1])
    with pytest.raises(ReleaseNeeded, match=r"governance version 9 is in force.*release 9\.0\.0"):
        ledger.execution().begin()


def test_both_sides_can_take_back_a_contract_that_nobody_has(ledger: Governed) -> None:
    ledger.agree(P, contract("escort", 1, 99, "9.0.0"))
    for who in (CN, KZ):
        assert ledger.answer("withdraw", P, who) is Outcome.ACCEPTED
    assert missing_ahead(ledger.state) == []
    ledger.until(ledger.height + LEAD + 1)


def test_a_proposed_contract_that_is_not_here_is_told_before_anybody_approves_it(ledger: Governed) -> None:
    ledger.propose(P, contract("escort", 1, 99, "9.0.0"))
    assert [each.height for each in missing_ahead(ledger.state)] == [0]


# Networks without it.


def test_a_network_whose_genesis_does_not_name_governance_has_none_of_it() -> None:
    state = genesis_state(c.genesis())
    assert not [key for key in state if key.startswith("govern")]
    ledger = c.Ledger.of_corridor()
    payload = {"title": "t", "changes": [LAPSE]}
    assert ledger.send("governance.propose", KZ, P, payload) is Outcome.KIND_UNKNOWN


def test_the_state_begins_with_the_authorities_and_the_hash_of_the_genesis_record() -> None:
    working = Working(c.DictState(genesis_state(genesis())))
    assert g.authorities(working) == ("kz-kgd", "cn-gacc")
    assert len(g.network_hash(working)) == 64


def test_a_parameter_that_came_with_a_version_of_a_contract_is_unknown_until_that_is_in_force() -> None:
    """A release without the version has stopped by then: no two releases disagree about the proposal."""
    ledger = Governed.begin()
    shorter = parameter("late_report_s", 86_400)
    assert ledger.propose("kz-kgd/early", shorter) is Outcome.PARAMETER_UNKNOWN
    ledger.agree("kz-kgd/escort", contract("escort", 1, 2))
    assert ledger.propose("kz-kgd/early", shorter) is Outcome.PARAMETER_UNKNOWN
    ledger.until(ledger.proposal("kz-kgd/escort").effect_height + 1)
    assert ledger.proposal("kz-kgd/escort").state == "in_force"
    ledger.agree("kz-kgd/late", shorter)
    ledger.until(ledger.proposal("kz-kgd/late").effect_height + 1)
    assert ledger.in_force("late_report_s") == 86_400


def test_both_sides_bring_version_2_of_the_escort_into_force_on_a_ledger_with_movements() -> None:
    """What ended under version 1 can be reported of from the height on, and not before."""
    ledger = Governed(s.movement_at("discharged", 1).state, c.OPEN_MS + 100_000, 100)
    ledger.state.records.update({k: v for k, v in genesis_state(genesis()).items() if k not in ledger.state.records})
    ledger.state.records[parameter_key("effect_lead_blocks")] = encode_parameter(LEAD)
    late = {"fix": {**c.FIX, "at_ms": ledger.movement(c.MRN).since_ms}}
    ledger.agree("kz-kgd/escort", contract("escort", 1, 2))
    height = ledger.proposal("kz-kgd/escort").effect_height
    assert ledger.send("escort.position", "kz/truck/t-001", c.MRN, late) is Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED
    ledger.until(height)
    assert ledger.send("escort.position", "kz/truck/t-001", c.MRN, late) is Outcome.ACCEPTED
    assert ledger.movement(c.MRN).late_reports == 1

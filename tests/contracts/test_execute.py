"""The kernel: the order of refusals, nothing written on rejection, clocks, signatures, one result for one input."""

from __future__ import annotations

import random
from typing import Any

import pytest

from contracts import escort as e
from contracts.execute import BlockExecution, genesis_state, next_deadline_ms
from contracts.machine import ContractBug
from contracts.outcome import Outcome
from contracts.working import UnreadableRecord
from ledger.algorithms import ES256, PrivateKey, PublicKey
from ledger.entry import Genesis
from ledger.errors import Misuse
from ledger.statement import Statement, sign_statement, verify_statement
from tests.contracts import corridor as c
from tests.contracts import stages as s


def test_a_declaration_and_its_movement_go_from_lodging_to_discharge() -> None:
    ledger = c.at("discharged")
    movement = ledger.movement(c.MRN)
    assert movement.custody.authority == "cn-gacc"
    assert movement.custody.liable == "cn/carrier/silk"
    assert movement.guarantee_free_ms is not None
    assert ledger.declaration(c.UCR).movements_open == 0
    assert ledger.send("declaration.clear", "kz-kgd/system", c.UCR, {}) is Outcome.ACCEPTED


# The order of refusals: a statement wrong in every way is mended one wrong at a time, and names the next each time.


def test_facts_that_refuse_are_found_in_the_fixed_order() -> None:
    ledger = s.movement_at(e.PLANNED)
    old_s = 30 * 86_400
    stranger = c.key_of("stranger")
    wrong: dict[str, Any] = {
        "kind": "escort.fly",
        "sub": "not an mrn",
        "payload": {"mass_g": 1},
        "iss": "kz/nobody",
        "key": stranger,
        "age_s": old_s,
    }
    good_payload = {"containers": [], "mass_g": 1}
    mends: list[tuple[dict[str, Any], Outcome]] = [
        ({}, Outcome.KIND_UNKNOWN),
        ({"kind": "escort.load"}, Outcome.SUBJECT_INVALID),
        ({"sub": c.make_mrn(404)}, Outcome.PAYLOAD_FIELD_MISSING),
        ({"payload": good_payload}, Outcome.ISSUER_UNKNOWN),
        ({"iss": "kz/auditor"}, Outcome.KEY_UNKNOWN),
        ({"key": None}, Outcome.ROLE_NOT_ALLOWED),
        ({"iss": "cn/terminal/baketu", "sub": c.MRN}, Outcome.SIDE_NOT_ALLOWED),
        ({"iss": "kz/terminal/bakhty"}, Outcome.IAT_TOO_OLD),
        ({"age_s": -4 * 86_400}, Outcome.IAT_IN_FUTURE),
        ({"age_s": 0, "sub": c.make_mrn(404)}, Outcome.MOVEMENT_UNKNOWN),
        ({"sub": c.MRN, "kind": "escort.offer", "payload": _OFFER}, Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED),
        ({"kind": "escort.load", "payload": good_payload}, Outcome.CONTAINERS_DIFFER_FROM_PLAN),
        ({"payload": {"containers": [c.BOX], "mass_g": 1}}, Outcome.ACCEPTED),
    ]
    for mend, expected in mends:
        wrong |= mend
        outcome = ledger.send(
            wrong["kind"], wrong["iss"], wrong["sub"], wrong["payload"], age_s=wrong["age_s"], key=_key(wrong)
        )
        assert outcome is expected


_OFFER = {"seals": c.readings(), "mass_g": 1, "photo_sha256": c.PHOTO}


def _key(wrong: dict[str, Any]) -> PublicKey:
    return wrong["key"] or c.KEYS.get(wrong["iss"]) or c.key_of("stranger")


def test_a_rejected_statement_leaves_the_changes_of_its_block_byte_for_byte() -> None:
    ledger = s.movement_at(e.STARTED)
    execution = BlockExecution(ledger.state, ledger.now_ms, ledger.height)
    iat_s = ledger.now_ms // 1000
    good = c.fake_statement("escort.position", "kz/truck/t-001", c.MRN, {"fix": c.FIX}, iat_s)
    assert execution.execute(good, c.CHECK) is Outcome.ACCEPTED
    before = execution.changes
    for kind, iss, sub, payload in (
        ("escort.position", "kz/truck/t-002", c.MRN, {"fix": c.FIX}),
        ("escort.offer", "kz/terminal/bakhty", c.MRN, _OFFER),
        ("escort.plan", "kz-kgd/officer", c.make_mrn(2), c.plan()),
        ("declaration.lodge", "kz/declarant/agro", c.UCR, dict(c.DECLARATION_STEPS[0][2])),
        ("registry.enrol", "kz-kgd/registrar", "cn/truck/t-1", {"key": c.key_of("x").cose_key, "roles": ["truck"]}),
    ):
        assert execution.execute(c.fake_statement(kind, iss, sub, payload, iat_s), c.CHECK) is not Outcome.ACCEPTED
        assert execution.changes == before


def test_a_bad_signature_is_an_outcome_and_any_other_failure_of_the_check_is_not_caught() -> None:
    ledger = s.movement_at(e.STARTED)
    statement = c.fake_statement("escort.position", "kz/truck/t-001", c.MRN, {"fix": c.FIX}, ledger.now_ms // 1000)
    forged = Statement(
        statement.raw, statement.alg, statement.kid, statement.kind, statement.iss, statement.sub, statement.iat_s,
        statement.cti, statement.payload, c.key_of("forger").kid, c.FAKE_PROTECTED_END,
    )  # fmt: skip
    execution = BlockExecution(ledger.state, ledger.now_ms, ledger.height)
    assert execution.execute(forged, c.CHECK) is Outcome.SIGNATURE_INVALID

    def broken(statement: Statement, key: PublicKey) -> None:
        raise RuntimeError("the checker is broken")

    with pytest.raises(RuntimeError):
        execution.execute(statement, broken)


def test_an_algorithm_that_is_not_the_keys_is_a_bad_signature() -> None:
    ledger = s.movement_at(e.STARTED)
    made = c.fake_statement("escort.position", "kz/truck/t-001", c.MRN, {"fix": c.FIX}, ledger.now_ms // 1000)
    other = Statement(
        made.raw, ES256, made.kid, made.kind, made.iss, made.sub, made.iat_s, made.cti, made.payload, made.signature,
        c.FAKE_PROTECTED_END,
    )  # fmt: skip
    assert (
        BlockExecution(ledger.state, ledger.now_ms, ledger.height).execute(other, c.CHECK) is Outcome.SIGNATURE_INVALID
    )


@pytest.mark.parametrize(
    ("age_s", "outcome", "flagged"),
    [
        (0, Outcome.ACCEPTED, 0),
        (300, Outcome.ACCEPTED, 0),
        (301, Outcome.ACCEPTED, 1),
        (3 * 86_400, Outcome.ACCEPTED, 1),
        (3 * 86_400 + 1, Outcome.IAT_TOO_OLD, 0),
        (-300, Outcome.ACCEPTED, 0),
        (-301, Outcome.ACCEPTED, 1),
        (-3 * 86_400, Outcome.ACCEPTED, 1),
        (-3 * 86_400 - 1, Outcome.IAT_IN_FUTURE, 0),
    ],
)
def test_a_clock_that_differs_is_counted_and_beyond_the_limits_refused(
    age_s: int, outcome: Outcome, flagged: int
) -> None:
    ledger = s.movement_at(e.STARTED)
    ledger.now_ms -= ledger.now_ms % 1000
    assert ledger.send("escort.position", "kz/truck/t-001", c.MRN, {"fix": c.FIX}, age_s=age_s) is outcome
    assert ledger.movement(c.MRN).flagged == flagged
    assert ledger.participant("kz/truck/t-001").flagged == flagged
    assert ledger.participant("kz-kgd/officer").flagged == 0


def test_a_clock_that_is_wrong_is_counted_with_its_owner_over_all_that_it_signs() -> None:
    ledger = s.movement_at(e.STARTED)
    for expected in (1, 2, 3):
        ledger.send("escort.position", "kz/truck/t-001", c.MRN, {"fix": c.FIX}, age_s=301 + expected)
        assert ledger.participant("kz/truck/t-001").flagged == expected
    ledger.send("escort.position", "kz/truck/t-001", c.MRN, {"fix": c.FIX})
    assert ledger.participant("kz/truck/t-001").flagged == 3


def test_a_late_registrar_is_counted_once_where_the_record_is_its_own() -> None:
    ledger = c.Ledger.of_corridor()
    registrar = "kz-kgd/registrar"
    own = {"authority": "kz-kgd", "key": bytes(range(32))}
    assert ledger.send("registry.publish_envelope_key", registrar, registrar, own, age_s=400) is Outcome.ACCEPTED
    assert ledger.participant(registrar).flagged == 1
    enrol = {"key": c.key_of("new").cose_key, "roles": ["truck"]}
    assert ledger.send("registry.enrol", registrar, "kz/truck/t-900", enrol, age_s=400) is Outcome.ACCEPTED
    assert (ledger.participant(registrar).flagged, ledger.participant("kz/truck/t-900").flagged) == (2, 1)


def test_a_block_says_how_many_of_its_statements_were_late() -> None:
    ledger = s.movement_at(e.STARTED)
    execution = BlockExecution(ledger.state, ledger.now_ms, ledger.height)
    for age_s in (0, 400, 500, 3 * 86_400 + 100):
        statement = c.fake_statement(
            "escort.position", "kz/truck/t-001", c.MRN, {"fix": c.FIX}, ledger.now_ms // 1000 - age_s
        )
        execution.execute(statement, c.CHECK)
    assert execution.late == 2, "the last was refused"


def test_real_statements_with_real_signatures_pass_through_the_kernel() -> None:
    genesis = c.genesis()
    state = c.DictState(genesis_state(genesis))
    registrar = PrivateKey.from_pem(c._pem("kz-kgd/registrar"))
    declarant = PrivateKey.generate(ES256)

    def signed(key: PrivateKey, kind: str, iss: str, sub: str, payload: Any, number: int) -> Statement:
        cti = number.to_bytes(16, "big")
        iat_s = c.START_MS // 1000
        return sign_statement(key, kind=kind, iss=iss, sub=sub, iat_s=iat_s, cti=cti, payload=payload)

    name = "kz/declarant/new"
    enrol = signed(
        registrar,
        "registry.enrol",
        "kz-kgd/registrar",
        name,
        {"key": declarant.public.cose_key, "roles": ["declarant"]},
        1,
    )
    lodge = signed(declarant, "declaration.lodge", name, c.UCR, dict(c.DECLARATION_STEPS[0][2]), 2)
    forged = signed(declarant, "registry.revoke", "kz-kgd/registrar", name, {"kid": bytes(32), "reason": "x"}, 3)
    execution = BlockExecution(state, c.START_MS, 1)
    assert execution.execute(lodge, verify_statement) is Outcome.ISSUER_UNKNOWN
    assert execution.execute(enrol, verify_statement) is Outcome.ACCEPTED
    assert execution.execute(lodge, verify_statement) is Outcome.ACCEPTED
    assert execution.execute(forged, verify_statement) is Outcome.KEY_UNKNOWN
    assert f"declaration/{c.UCR}" in execution.changes


def _story() -> list[Statement]:
    """The whole happy path as statements, and some that are refused."""
    iat_s = c.OPEN_MS // 1000
    steps = [(f"declaration.{event}", iss, c.UCR, payload) for event, iss, payload in c.DECLARATION_STEPS]
    steps += [(f"escort.{event}", iss, c.MRN, payload) for _, event, iss, payload in c.ESCORT_STEPS]
    steps.insert(3, ("declaration.release", "cn-gacc/officer", c.UCR, {}))
    steps.append(("escort.offer", "kz/terminal/bakhty", c.MRN, dict(c.ESCORT_STEPS[7][3])))
    return [c.fake_statement(kind, iss, sub, payload, iat_s) for kind, iss, sub, payload in steps]


def _replay(statements: list[Statement], cuts: list[int]) -> tuple[list[Outcome], dict[str, bytes]]:
    ledger = c.Ledger.of_corridor()
    outcomes = []
    for start, stop in zip([0, *cuts], [*cuts, len(statements)], strict=True):
        execution = BlockExecution(ledger.state, ledger.now_ms, ledger.height)
        execution.begin()
        outcomes += [execution.execute(statement, c.CHECK) for statement in statements[start:stop]]
        ledger.state.write(execution.changes)
    return outcomes, ledger.state.records


def test_how_statements_are_cut_into_blocks_of_one_time_changes_no_byte() -> None:
    story = _story()
    whole = _replay(story, [])
    random_cuts = random.Random(7)
    for _ in range(20):
        cuts = sorted(random_cuts.sample(range(1, len(story)), random_cuts.randrange(1, len(story) - 1)))
        assert _replay(story, cuts) == whole
    assert whole[0].count(Outcome.ACCEPTED) == len(story) - 2


def test_changes_are_in_the_order_of_their_keys() -> None:
    ledger = c.Ledger.of_corridor()
    execution = BlockExecution(ledger.state, ledger.now_ms, ledger.height)
    for statement in _story():
        execution.execute(statement, c.CHECK)
    assert list(execution.changes) == sorted(execution.changes)


# Genesis.


def test_the_genesis_state_does_not_depend_on_the_order_of_its_parameters() -> None:
    one = c.genesis(offer_lapse_s=60, corridor_m=100)
    other = Genesis(
        one.origin,
        one.time_ms,
        one.authorities,
        dict(reversed(list(one.parameters.items()))),
        dict(reversed(list(one.contracts.items()))),
    )
    assert genesis_state(one) == genesis_state(other)


@pytest.mark.parametrize(
    "parameters",
    [
        {"no_such_parameter": 1},
        {"offer_lapse_s": 0},
        {"offer_lapse_s": "60"},
        {"mass_tolerance_permille": True},
        {"posts": 5},
        {"posts": "CNBKT CNBKT"},
        {"posts": "Bakhty"},
    ],
)
def test_a_genesis_with_a_parameter_that_cannot_be_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        genesis_state(c.genesis(**parameters))


def test_a_genesis_with_a_contract_version_that_is_not_here_is_refused() -> None:
    genesis = c.genesis()
    genesis.contracts["escort"] = 99
    with pytest.raises(Misuse):
        genesis_state(genesis)


def test_a_contract_version_on_the_ledger_that_is_not_here_decides_nothing() -> None:
    ledger = s.movement_at(e.STARTED)
    ledger.state.records["contract/escort"] = bytes([0x81, 0x18, 0x63])
    assert ledger.send("escort.position", "kz/truck/t-001", c.MRN, {"fix": c.FIX}) is Outcome.CONTRACT_VERSION_UNKNOWN
    assert ledger.send("declaration.clear", "cn-gacc/officer", c.UCR, {}) is Outcome.SIDE_NOT_ALLOWED


def test_a_state_without_parameters_is_no_state() -> None:
    with pytest.raises(UnreadableRecord):
        BlockExecution(c.DictState({}), c.START_MS, 1)


def test_governed_parameters_are_those_of_the_genesis() -> None:
    ledger = c.to_movement(c.to_declaration(c.Ledger.of_corridor(offer_lapse_s=10), "recognise"), e.OFFERED)
    due_ms = next_deadline_ms(ledger.state)
    assert due_ms is not None
    assert 9_000 <= due_ms - ledger.now_ms <= 10_000


# Deadlines.


def test_a_deadline_fires_once_at_its_second_and_not_before() -> None:
    ledger = s.movement_at(e.STARTED)
    due_ms = next_deadline_ms(ledger.state)
    assert due_ms is not None
    for time_ms, fired in ((due_ms - 1, 0), (due_ms, 1)):
        execution = BlockExecution(ledger.state, time_ms, ledger.height)
        execution.begin()
        execution.begin()
        assert (execution.fired, bool(execution.changes)) == (fired, bool(fired))
    ledger.state.write(execution.changes)
    assert ledger.movement(c.MRN).state == e.OVERDUE
    assert next_deadline_ms(ledger.state) is None


def test_a_deadline_fires_before_the_statements_of_its_block() -> None:
    ledger = s.movement_at(e.OFFERED)
    due_ms = next_deadline_ms(ledger.state)
    assert due_ms is not None
    execution = BlockExecution(ledger.state, due_ms, ledger.height)
    payload = {"seals": c.readings(), "mass_g": c.MASS}
    late = c.fake_statement("escort.accept", "cn/terminal/baketu", c.MRN, payload, due_ms // 1000)
    assert execution.execute(late, c.CHECK) is Outcome.MOVEMENT_TRANSITION_NOT_ALLOWED
    assert execution.fired == 1


def test_a_deadline_that_no_record_has_is_a_bug_and_not_an_event() -> None:
    ledger = s.movement_at(e.STARTED)
    due_ms = next_deadline_ms(ledger.state)
    assert due_ms is not None
    del ledger.state.records[f"escort/{c.MRN}"]
    with pytest.raises(ContractBug):
        BlockExecution(ledger.state, due_ms, ledger.height).begin()


def test_an_effect_that_leads_where_its_row_does_not_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    row = e.TRANSITIONS_2[(e.PLANNED, "load")]
    monkeypatch.setitem(e.TRANSITIONS_2, (e.PLANNED, "load"), type(row)(row.who, row.effect, (e.SEALED,), ()))
    with pytest.raises(ContractBug):
        s.movement_at(e.PLANNED).send("escort.load", "kz/terminal/bakhty", c.MRN, {"containers": [c.BOX], "mass_g": 1})


def test_a_block_sees_what_it_wrote_itself() -> None:
    ledger = s.movement_at(e.STARTED)
    truck = ledger.participant("kz/truck/t-001")
    iat_s = ledger.now_ms // 1000
    position = c.fake_statement("escort.position", truck.id, c.MRN, {"fix": c.FIX}, iat_s)
    revoke = c.fake_statement(
        "registry.revoke", "kz-kgd/registrar", truck.id, {"kid": truck.keys[0].kid, "reason": "stolen"}, iat_s
    )
    execution = BlockExecution(ledger.state, ledger.now_ms, ledger.height)
    outcomes = [execution.execute(each, c.CHECK) for each in (position, revoke, position)]
    assert outcomes == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.KEY_REVOKED]

"""Receipts and passes between validators: enough of each side, and nothing that is not final or not so here."""

from __future__ import annotations

import asyncio

import pytest

from contracts.crossing_pass import parse_facts, verify_pass
from contracts.declaration_record import declaration_key, decode_declaration
from contracts.movement import movement_key
from ledger.checkpoint import Checkpoint
from ledger.merkle import leaf_hash
from ledger.policy import parse_policy
from ledger.receipt import format_transparent, parse_transparent, verify_receipt, verify_transparent
from nodes import attesting
from nodes.attesting import MAX_APART_S, NotEnough, Refused
from nodes.network import policy_text
from nodes.proto import peer_pb2
from tests.contracts import corridor as c
from tests.contracts import stages
from tests.nodes.attesters import NAMES, Network


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attesting, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr("nodes.final_state.WAIT_S", 0.1)


def final_network(movement: str = "started") -> tuple[Network, Checkpoint, bytes]:
    """A network with one final statement; its checkpoint and bytes."""
    network = Network(movement)
    statement = network.world.enrol()
    checkpoint = network.append(statement)
    network.finalise(checkpoint)
    return network, checkpoint, statement.raw


# --- receipts --------------------------------------------------------------------------------------------------------


async def test_a_transparent_statement_has_a_receipt_of_each_authority_and_both_policies_accept_it() -> None:
    network, checkpoint, raw = final_network()
    receipts = await network.nodes["kz-kgd-1"].attesting.receipts(1, checkpoint)
    transparent = parse_transparent(format_transparent(raw, receipts))
    for authority in ("kz-kgd", "cn-gacc"):
        assert verify_transparent(transparent, network.world.policy(authority)) == ("kz-kgd-1", "cn-gacc-1")


async def test_the_others_are_asked_once_for_a_tree_and_then_no_more() -> None:
    network, checkpoint, _ = final_network()
    node = network.nodes["kz-kgd-1"].attesting
    first = await node.receipts(1, checkpoint)
    assert network.questions() == [("kz-kgd-1", "cn-gacc-1")]
    network.up = {"kz-kgd-1"}
    assert await node.receipts(1, checkpoint) == first
    assert len(network.questions()) == 1


async def test_the_receipt_of_one_authority_can_be_had_alone() -> None:
    network, checkpoint, raw = final_network()
    node = network.nodes["kz-kgd-1"].attesting
    (theirs,) = await node.receipts(1, checkpoint, "cn-gacc")
    assert verify_receipt(theirs, leaf_hash(raw), network.policy) == "cn-gacc-1"
    network.up = {"kz-kgd-1"}
    (ours,) = await node.receipts(1, checkpoint, "kz-kgd")
    assert verify_receipt(ours, leaf_hash(raw), network.policy) == "kz-kgd-1"


async def test_a_policy_that_wants_two_of_each_side_gets_two_of_each_side() -> None:
    network, checkpoint, raw = final_network()
    strict = policy_text(network.world.genesis, "kz-kgd").replace(" any ", " 2 ").encode()
    network.policy = parse_policy(strict)
    receipts = await network.nodes["cn-gacc-2"].attesting.receipts(1, checkpoint)
    assert sorted(receipt.signer for receipt in receipts) == ["cn-gacc-1", "cn-gacc-2", "kz-kgd-1", "kz-kgd-2"]
    verify_transparent(parse_transparent(format_transparent(raw, receipts)), network.policy)


async def test_when_one_of_the_other_side_does_not_answer_the_next_is_asked() -> None:
    network, checkpoint, _ = final_network()
    network.tamper = lambda _, receiver, envelope: None if receiver == "cn-gacc-1" else envelope
    receipts = await network.nodes["kz-kgd-1"].attesting.receipts(1, checkpoint)
    assert [receipt.signer for receipt in receipts] == ["kz-kgd-1", "cn-gacc-2"]


async def test_a_receipt_of_the_other_authority_that_is_remembered_can_be_had_alone_while_it_is_away() -> None:
    network, checkpoint, _ = final_network()
    node = network.nodes["kz-kgd-1"].attesting
    await node.receipts(1, checkpoint)
    network.up = {"kz-kgd-1"}
    (theirs,) = await node.receipts(1, checkpoint, "cn-gacc")
    assert theirs.signer == "cn-gacc-1"


async def test_without_the_other_authority_there_is_nothing_and_it_is_named() -> None:
    network, checkpoint, _ = final_network()
    network.up = {"kz-kgd-1", "kz-kgd-2"}
    with pytest.raises(NotEnough) as raised:
        await network.nodes["kz-kgd-1"].attesting.receipts(1, checkpoint)
    assert raised.value.missing == ("cn-gacc",)


async def test_who_speaks_an_older_version_is_not_asked() -> None:
    network, checkpoint, _ = final_network()
    network.speaking = {"kz-kgd-1", "kz-kgd-2", "cn-gacc-2"}
    await network.nodes["kz-kgd-1"].attesting.receipts(1, checkpoint)
    assert network.questions() == [("kz-kgd-1", "cn-gacc-2")]


async def test_a_signature_that_is_not_of_the_asked_or_not_of_this_is_passed_over() -> None:
    network, checkpoint, raw = final_network()

    def forge(sender: str, _: str, envelope: peer_pb2.Envelope) -> peer_pb2.Envelope:
        if sender == "cn-gacc-1" and envelope.WhichOneof("body") == "attestation_answer":
            envelope.attestation_answer.signature = bytes(64)
        return envelope

    network.tamper = forge
    receipts = await network.nodes["kz-kgd-1"].attesting.receipts(1, checkpoint)
    assert [receipt.signer for receipt in receipts] == ["kz-kgd-1", "cn-gacc-2"]
    verify_transparent(parse_transparent(format_transparent(raw, receipts)), network.policy)


async def test_an_answer_of_another_peer_or_to_no_question_changes_nothing() -> None:
    network, checkpoint, _ = final_network()

    def steal(sender: str, receiver: str, envelope: peer_pb2.Envelope) -> peer_pb2.Envelope:
        if envelope.WhichOneof("body") == "attestation_query":
            for number in range(1, 5):
                answer = peer_pb2.AttestationAnswer(number=number, signature=bytes(64))
                network.nodes[sender].attesting.take("kz-kgd-2", peer_pb2.Envelope(attestation_answer=answer))
        return envelope

    network.tamper = steal
    receipts = await network.nodes["kz-kgd-1"].attesting.receipts(1, checkpoint)
    assert [receipt.signer for receipt in receipts] == ["kz-kgd-1", "cn-gacc-1"]


async def asked(network: Network, query: peer_pb2.AttestationQuery, times: int = 1) -> peer_pb2.AttestationAnswer:
    """What cn-gacc-1 answers a validator that asks in its own words."""
    network.sent.clear()
    for number in range(times):
        query.number = number
        network.nodes["cn-gacc-1"].attesting.take("kz-kgd-1", peer_pb2.Envelope(attestation_query=query))
    for _ in range(100):
        answers = [envelope for _, to, envelope in network.sent if to == "kz-kgd-1"]
        if len(answers) == times:
            return answers[-1].attestation_answer
        await asyncio.sleep(0.01)
    raise AssertionError("no answer")


async def test_nothing_is_signed_that_is_not_final_not_ours_or_no_block() -> None:
    network, checkpoint, _ = final_network()
    newer = network.append(network.world.enrol())
    inside = network.nodes["cn-gacc-1"].chain.root_at(2)
    for size, root, code in (
        (newer.size, newer.root, "not_final"),
        (checkpoint.size, bytes(32), "other_root"),
        (checkpoint.size, b"", "other_root"),
        (0, bytes(32), "other_root"),
        (2**63, bytes(32), "not_final"),
        (2, inside, "no_block"),
    ):
        query = peer_pb2.AttestationQuery(receipt=peer_pb2.ReceiptQuery(size=size, root=root))
        answer = await asked(network, query)
        assert (answer.signature, answer.refused) == (b"", code)


async def test_who_has_halted_or_does_not_vote_signs_nothing() -> None:
    network, checkpoint, _ = final_network()
    query = peer_pb2.AttestationQuery(receipt=peer_pb2.ReceiptQuery(size=checkpoint.size, root=checkpoint.root))
    network.nodes["cn-gacc-1"].halted = "it found a contradiction"
    assert (await asked(network, query)).refused == "signs_nothing"
    network.nodes["cn-gacc-1"].halted = None
    del network.voters["cn-gacc-1"]
    assert (await asked(network, query)).refused == "signs_nothing"


async def test_a_peer_that_asks_without_end_is_told_to_come_again_later() -> None:
    network, checkpoint, _ = final_network()
    query = peer_pb2.AttestationQuery(receipt=peer_pb2.ReceiptQuery(size=checkpoint.size, root=checkpoint.root))
    await asked(network, query, times=700)
    answers = [envelope.attestation_answer.refused for _, to, envelope in network.sent if to == "kz-kgd-1"]
    assert set(answers) == {"", "busy"}
    assert answers.count("") <= attesting.PEER_MAX_PER_S * 2  # a second may end in between


async def test_a_question_that_this_release_does_not_know_is_answered_so() -> None:
    network, _, _ = final_network()
    assert (await asked(network, peer_pb2.AttestationQuery())).refused == "unknown"
    answer = await asked(network, peer_pb2.AttestationQuery(pass_facts=b"\xff"))
    assert (answer.signature, answer.refused) == (b"", "unsupported_cbor")


# --- passes ----------------------------------------------------------------------------------------------------------


async def test_a_pass_is_signed_by_both_sides_as_of_now_and_both_policies_accept_it() -> None:
    network, checkpoint, _ = final_network()
    crossing = await network.nodes["cn-gacc-2"].attesting.crossing_pass(c.MRN)
    now_s = network.world.time_ms // 1000
    assert (crossing.facts.size, crossing.facts.root) == (checkpoint.size, checkpoint.root)
    assert crossing.facts.as_of_s == now_s
    for authority in ("kz-kgd", "cn-gacc"):
        assert len(verify_pass(crossing, network.world.policy(authority), now_s)) == 2


@pytest.mark.parametrize("movement", ["planned", "sealed", "arrived", "discharged"])
async def test_there_is_no_pass_of_a_movement_that_is_not_on_its_way(movement: str) -> None:
    network, _, _ = final_network(movement)
    with pytest.raises(Refused, match=rf"movement .* is {movement}"):
        await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.MRN)
    assert network.questions() == []


async def test_there_is_no_pass_of_a_movement_that_there_is_not() -> None:
    network, _, _ = final_network()
    with pytest.raises(Refused) as raised:
        await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.make_mrn(77))
    assert raised.value.code == "not_found"


def suspension() -> dict[str, bytes | None]:
    """What the state changes when the partner suspends its recognition."""
    ledger = c.at("started")
    payload = stages.RECOGNITION_EVENTS["suspend_recognition"].payload(ledger)
    ledger.must("declaration.suspend_recognition", "cn-gacc/officer", c.UCR, payload)
    return dict(ledger.last_changes)


async def test_a_suspension_that_only_the_other_side_has_yet_is_found_before_it_is_signed() -> None:
    """Our own state is behind: the other authority's validator says no, and there is no pass."""
    network, _, _ = final_network()
    for name in ("cn-gacc-1", "cn-gacc-2"):
        network.nodes[name].finalise(network.nodes[name].append(network.world.enrol(), changes=suspension()))
    with pytest.raises(Refused) as raised:
        await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.MRN)
    assert raised.value.code == "other_facts"


async def test_one_that_knows_of_a_suspension_is_not_passed_over_for_one_that_does_not() -> None:
    network, _, _ = final_network()
    ahead = network.nodes["cn-gacc-1"]
    ahead.finalise(ahead.append(network.world.enrol(), changes=suspension()))
    with pytest.raises(Refused) as raised:
        await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.MRN)
    assert raised.value.code == "other_facts"
    assert ("kz-kgd-1", "cn-gacc-2") not in network.questions()


async def test_after_a_suspension_there_is_no_pass() -> None:
    network, _, _ = final_network()
    network.finalise(network.append(network.world.enrol(), changes=suspension()))
    with pytest.raises(Refused, match="is suspended"):
        await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.MRN)


@pytest.mark.parametrize("executing", [("kz-kgd-1",), ("cn-gacc-1", "cn-gacc-2"), NAMES])
async def test_a_suspension_that_is_executed_and_not_final_yet_stops_passes(executing: tuple[str, ...]) -> None:
    """A side that withholds its cosignatures would else have passes for suspended goods for as long as it likes."""
    network, _, _ = final_network()
    for each in network.nodes.values():
        await each.final_state.latest()
    for name in executing:
        network.nodes[name].append(network.world.enrol(), changes=suspension())
    with pytest.raises(Refused, match=r"not final yet: .*is suspended") as raised:
        await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.MRN)
    assert raised.value.code == "may_not_pass"


async def test_a_movement_that_is_executed_as_gone_has_no_pass() -> None:
    network, _, _ = final_network()
    node = network.nodes["kz-kgd-1"]
    await node.final_state.latest()
    node.append(network.world.enrol(), changes={movement_key(c.MRN): None})
    with pytest.raises(Refused, match="not final yet: the movement is gone"):
        await node.attesting.crossing_pass(c.MRN)


async def test_what_is_executed_and_not_final_yet_and_no_objection_is_not_in_the_pass() -> None:
    network, checkpoint, _ = final_network()
    for each in network.nodes.values():
        await each.final_state.latest()
    network.append(network.world.enrol(), changes={"parameter/test": b"1"})
    crossing = await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.MRN)
    assert crossing.facts.size == checkpoint.size


@pytest.mark.parametrize("apart_s", [MAX_APART_S + 1, -MAX_APART_S - 1])
async def test_nobody_signs_a_time_that_is_not_about_now(apart_s: int) -> None:
    network, _, _ = final_network()
    for name in ("cn-gacc-1", "cn-gacc-2"):
        network.nodes[name].clock.time_ms += apart_s * 1000
    with pytest.raises(Refused) as raised:
        await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.MRN)
    assert raised.value.code == "clocks_apart"


async def test_a_lying_asker_gets_no_signature_for_what_is_not_so() -> None:
    from dataclasses import replace

    network, checkpoint, _ = final_network()
    facts = (await network.nodes["kz-kgd-1"].attesting.crossing_pass(c.MRN)).facts
    record = decode_declaration(network.records[declaration_key(c.UCR)])
    assert record.status == "released"
    for lie in (
        replace(facts, until_s=facts.until_s + 60),
        replace(facts, vehicle="KZ/999XXX02"),
        replace(facts, seals=()),
        replace(facts, mrn=c.make_mrn(77)),
        replace(facts, state="handed_over"),
        replace(facts, root=bytes(32)),
        replace(facts, size=checkpoint.size + 1),
        replace(facts, origin="other.example/log"),
    ):
        parse_facts(lie.encode())
        answer = await asked(network, peer_pb2.AttestationQuery(pass_facts=lie.encode()))
        assert answer.signature == b"", lie
        assert answer.refused in ("other_facts", "other_root", "not_final")
    assert (await asked(network, peer_pb2.AttestationQuery(pass_facts=facts.encode()))).signature

"""Reads from the caller's side: each is answered once or dropped once, whatever gets lost or comes twice."""

from __future__ import annotations

import pytest

from consensus import (
    Action,
    Config,
    Configuration,
    ConfigurationChange,
    DropReason,
    Membership,
    Message,
    MessageRefused,
    MessageType,
    Misuse,
    ProposalDropped,
    RawNode,
    ReadState,
    Step,
)
from consensus.messages import MAX_CONTEXT_BYTES
from consensus.reads import MAX_WAITING_READS
from consensus.storage import MemoryStorage
from tests.consensus.group import Group

FOUR = Membership(Configuration({"k1": "kz", "k2": "kz", "c1": "cn", "c2": "cn"}, learners=frozenset({"l1"})))


def rounds(group: Group) -> set[bytes]:
    return {message.context for message in group.sent if message.type is MessageType.HEARTBEAT and message.context}


def test_whoever_asks_is_told_what_was_committed() -> None:
    group = Group(FOUR).elect("k1")
    group.propose("k1", b"lodge")
    for name in group.nodes:
        group.nodes[name].read_index(b"read")
    group.settle()
    assert all(group.reads[name] == [ReadState(2, b"read")] for name in group.nodes)


def test_reads_that_arrive_together_share_a_round() -> None:
    group = Group(FOUR).elect("k1")
    for number in range(100):
        group.nodes["k1"].read_index(b"%d" % number)
    group.settle()
    assert len(group.reads["k1"]) == 100
    # The first has one of its own, for it does not wait; the others came while that was on its way.
    assert len(rounds(group)) == 2


def test_a_lone_voter_confirms_itself() -> None:
    group = Group(Membership(Configuration({"k1": "kz"}))).elect("k1")
    group.nodes["k1"].read_index(b"read")
    group.settle()
    assert group.reads["k1"] == [ReadState(1, b"read")]


def test_a_learner_confirms_nothing() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("k1", "k2", "l1")
    group.nodes["k1"].read_index(b"read")
    group.settle()
    assert group.reads["k1"] == []


def test_while_joint_both_halves_confirm() -> None:
    group = Group(FOUR).elect("k1")
    group.tick("k1", 2)
    # Old: k1 k2 c1 c2, new: k1 c1 c2 l1.
    group.cut("k1", "k2", "c1")
    steps = (Step(Action.ADD_VOTER, "l1", "kz"), Step(Action.REMOVE, "k2"))
    group.nodes["k1"].propose_change(ConfigurationChange(steps))
    group.nodes["k1"].read_index(b"read")
    group.settle()
    assert group.reads["k1"] == []
    group.cut("k2")
    group.tick("k1", 1)
    assert [state.context for state in group.reads["k1"]] == [b"read"]


def test_a_heartbeat_that_is_lost_is_said_again() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("k1")
    group.nodes["k1"].read_index(b"read")
    group.settle()
    group.heal()
    group.tick("k1", 1)
    assert group.reads["k1"] == [ReadState(1, b"read")]


def test_a_question_or_an_answer_that_is_lost_is_given_up() -> None:
    group = Group(FOUR).elect("k1")
    group.nodes["l1"].read_index(b"read")
    group.work("l1")
    for _ in range(20):
        group.nodes["l1"].tick()
    group.work("l1")
    assert [(dropped.context, dropped.reason) for dropped in group.dropped["l1"]] == [(b"read", DropReason.NO_ANSWER)]
    # The answer comes after all: nobody waits for it.
    group.deliver([Message(MessageType.READ_INDEX_RESPONSE, "l1", "k1", 1, index=1, context=b"read")])
    group.work("l1")
    assert group.reads["l1"] == []


def test_an_answer_counts_once_and_from_the_leader_only() -> None:
    group = Group(FOUR).elect("k1")
    node = group.nodes["l1"]
    node.read_index(b"read")
    for sender in ("c1", "k1", "k1"):
        node.step(Message(MessageType.READ_INDEX_RESPONSE, "l1", sender, 1, index=1, context=b"read"))
        group.work("l1")
    assert group.reads["l1"] == [ReadState(1, b"read")]


def test_a_follower_that_is_asked_says_that_it_does_not_lead() -> None:
    group = Group(FOUR).elect("k1")
    group.nodes["c1"].step(Message(MessageType.READ_INDEX, "c1", "l1", 1, context=b"read"))
    (answer,) = group.work("c1")
    assert (answer.type, answer.reject, answer.context) == (MessageType.READ_INDEX_RESPONSE, True, b"read")
    group.nodes["l1"].read_index(b"read")
    group.nodes["l1"].step(Message(MessageType.READ_INDEX_RESPONSE, "l1", "k1", 1, reject=True, context=b"read"))
    group.work("l1")
    assert [dropped.reason for dropped in group.dropped["l1"]] == [DropReason.LEADER_CHANGED]


def test_an_answer_to_a_heartbeat_that_was_never_sent_is_a_lie() -> None:
    group = Group(FOUR).elect("k1")
    for context in ((1).to_bytes(8, "big"), b"short"):
        with pytest.raises(MessageRefused) as refused:
            group.nodes["k1"].step(Message(MessageType.HEARTBEAT_RESPONSE, "k1", "c1", 1, context=context))
        assert refused.value.code == "answers_unasked"


def test_a_read_without_a_context_is_refused() -> None:
    group = Group(FOUR).elect("k1")
    with pytest.raises(MessageRefused, match="bad_context"):
        group.nodes["k1"].step(Message(MessageType.READ_INDEX, "k1", "c1", 1))
    for context in (b"", b"x" * (MAX_CONTEXT_BYTES + 1)):
        with pytest.raises(Misuse, match="wrong length"):
            group.nodes["k1"].read_index(context)


def test_a_context_is_not_used_twice_at_a_time() -> None:
    group = Group(FOUR).elect("k1")
    group.nodes["l1"].read_index(b"read")
    with pytest.raises(Misuse, match="in use"):
        group.nodes["l1"].read_index(b"read")
    group.settle()
    group.nodes["l1"].read_index(b"read")


def test_without_a_leader_there_is_nobody_to_ask() -> None:
    node = RawNode(Config("k1", 1), MemoryStorage(FOUR))
    with pytest.raises(ProposalDropped) as dropped:
        node.read_index(b"read")
    assert dropped.value.reason is DropReason.NO_LEADER


def test_reads_that_wait_have_a_limit_here_and_at_the_leader() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("k1", "l1")
    for number in range(MAX_WAITING_READS):
        group.nodes["l1"].read_index(b"%d" % number)
    with pytest.raises(ProposalDropped) as dropped:
        group.nodes["l1"].read_index(b"one more")
    assert dropped.value.reason is DropReason.TOO_MANY_READS


def test_a_member_that_asks_for_ever_takes_no_room_from_the_others() -> None:
    group = Group(FOUR).elect("k1")
    leader = group.nodes["k1"]
    for number in range(MAX_WAITING_READS + 10):
        leader.step(Message(MessageType.READ_INDEX, "k1", "l1", 1, context=b"%d" % number))
    leader.read_index(b"own")
    group.nodes["c1"].read_index(b"of c1")
    group.settle()
    assert [answered.context for answered in group.reads["k1"]] == [b"own"]
    assert [answered.context for answered in group.reads["c1"]] == [b"of c1"]
    answers = [message for message in group.sent if message.type is MessageType.READ_INDEX_RESPONSE]
    assert sum(message.to == "l1" for message in answers) == MAX_WAITING_READS


def test_reads_that_were_given_up_make_room_again() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("k1", "k2", "c1", "c2", "l1")
    for number in range(MAX_WAITING_READS):
        group.nodes["k1"].read_index(b"%d" % number)
    group.work("k1")
    # Those who asked have given up by then, and there is room again.
    group.heal()
    for _ in range(25):
        group.tick("k1", 1)
    group.nodes["k1"].read_index(b"again")
    group.settle()
    assert group.reads["k1"][-1].context == b"again"

"""The five verbs from the caller's side: what is refused, what waits, what a restart brings back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from consensus import (
    Config,
    Configuration,
    DropReason,
    Entry,
    HardState,
    Membership,
    Message,
    MessageRefused,
    MessageType,
    Misuse,
    ProposalDropped,
    RawNode,
    Role,
    Snapshot,
    SnapshotMetadata,
    UnknownDurableState,
)
from consensus.messages import MAX_ENTRY_BYTES, MAX_TERM, MAX_UNCOMMITTED_ENTRIES, verify_message
from consensus.raft import MAX_TERM_JUMP
from consensus.storage import MemoryStorage

ALONE = Membership(Configuration({"k1": "kz"}))
BOTH = Membership(Configuration({"k1": "kz", "c1": "cn"}))
WITH_LEARNER = Membership(Configuration({"k1": "kz"}, learners=frozenset({"l1"})))


def work(node: RawNode, storage: MemoryStorage) -> list[Message]:
    """Do what the contract says until there is nothing to do; returns what would have been sent."""
    sent: list[Message] = []
    while node.has_ready():
        ready = node.ready()
        if ready.snapshot is not None:
            storage.apply_snapshot(ready.snapshot)
        storage.append(ready.entries)
        if ready.hard_state is not None:
            storage.set_hard_state(ready.hard_state)
        sent += [*ready.messages, *ready.messages_after_persist]
        node.advance(ready)
    return sent


def lone_leader(**options: Any) -> tuple[RawNode, MemoryStorage]:
    storage = MemoryStorage(ALONE)
    node = RawNode(Config("k1", 1, **options), storage)
    node.campaign()
    work(node, storage)
    return node, storage


def test_a_lone_voter_leads_and_commits_once_its_own_disk_has_it() -> None:
    node, storage = lone_leader()
    assert node.status().role is Role.LEADER
    node.propose(b"lodge")
    assert node.status().committed_index == 1
    work(node, storage)
    assert node.status().applied_index == 2


def test_a_proposal_without_a_leader_is_dropped_and_says_so() -> None:
    node = RawNode(Config("k1", 1), MemoryStorage(BOTH))
    with pytest.raises(ProposalDropped) as dropped:
        node.propose(b"lodge")
    assert (dropped.value.reason, dropped.value.leader) == (DropReason.NO_LEADER, None)


def test_a_proposal_to_a_follower_names_the_leader() -> None:
    node = RawNode(Config("k1", 1), MemoryStorage(BOTH))
    node.step(Message(MessageType.HEARTBEAT, "k1", "c1", term=1))
    with pytest.raises(ProposalDropped) as dropped:
        node.propose(b"lodge")
    assert (dropped.value.reason, dropped.value.leader) == (DropReason.NOT_LEADER, "c1")
    with pytest.raises(ProposalDropped):
        node.transfer_leadership("c1")


def test_proposals_beyond_the_limit_wait_until_something_is_committed() -> None:
    node, storage = lone_leader(max_uncommitted_bytes=10)
    node.propose(b"larger than ten")  # One always fits.
    with pytest.raises(ProposalDropped) as dropped:
        node.propose(b"x")
    assert dropped.value.reason is DropReason.UNCOMMITTED_LIMIT
    work(node, storage)
    node.propose([b"x", b"y"])


def test_a_new_leader_waits_for_what_earlier_ones_left_and_a_restart_does_not_forget_it() -> None:
    storage = MemoryStorage(BOTH)
    storage.set_hard_state(HardState(1, "k1", 0))
    storage.append([Entry(1, 1, data=b"larger than ten")])
    node = RawNode(Config("k1", 1, max_uncommitted_bytes=10), storage)
    node.campaign()
    work(node, storage)
    node.step(Message(MessageType.PRE_VOTE_RESPONSE, "k1", "c1", term=2))
    work(node, storage)
    node.step(Message(MessageType.VOTE_RESPONSE, "k1", "c1", term=2))
    work(node, storage)
    with pytest.raises(ProposalDropped) as dropped:
        node.propose(b"x")
    assert dropped.value.reason is DropReason.UNCOMMITTED_LIMIT
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term=2, index=2))
    node.propose(b"x")


def test_many_small_proposals_wait_as_well() -> None:
    node, storage = lone_leader()
    node.propose([b"x"] * MAX_UNCOMMITTED_ENTRIES)
    with pytest.raises(ProposalDropped) as dropped:
        node.propose(b"x")
    assert dropped.value.reason is DropReason.UNCOMMITTED_LIMIT
    work(node, storage)
    node.propose(b"x")


def test_a_batch_that_could_never_fit_is_misuse() -> None:
    node, _ = lone_leader(max_uncommitted_bytes=10)
    for batch in ([b"123456", b"12345"], [b"x"] * (MAX_UNCOMMITTED_ENTRIES + 1)):
        with pytest.raises(Misuse, match="too much in one proposal"):
            node.propose(batch)


@pytest.mark.parametrize("size_bytes", [100, 0])
def test_a_leader_that_never_commits_fills_neither_the_memory_nor_the_disk(
    size_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consensus.raft.MAX_UNCOMMITTED_ENTRIES", 50)
    storage = MemoryStorage(BOTH)
    node = RawNode(Config("k1", 1, max_uncommitted_bytes=2000, max_tail_bytes=500), storage)
    batch = 5

    def append(first: int, commit: int = 0) -> None:
        entries = tuple(Entry(1, index, data=b"x" * size_bytes) for index in range(first, first + batch))
        node.step(Message(MessageType.APPEND, "k1", "c1", 1, 1 if first > 1 else 0, first - 1, entries, commit))
        work(node, storage)

    refused = ""
    for first in range(1, 1000, batch):
        try:
            append(first)
        except MessageRefused as error:
            refused = error.code
            break
    assert refused == "too_much_uncommitted"
    last = storage.last_index()
    # Twice what an honest leader proposes, and one message.
    assert last <= (2 * 2000 // 100 if size_bytes else 2 * 50) + batch
    assert sum(len(entry.data) for entry in node._raft.log._tail) <= 500
    # Whoever commits something of it is believed again.
    append(last + 1, commit=batch)
    assert storage.last_index() == last + batch
    # So is a follower of ours that was away: what is committed in its leader's message does not count.
    for first in range(last + 1 + batch, 1000, batch):
        append(first, commit=first - 1)


def test_another_leader_may_put_its_own_entries_in_the_place_of_those_never_committed() -> None:
    storage = MemoryStorage(Membership(Configuration({"k1": "kz", "c1": "cn"}, witnesses=frozenset({"w1"}))))
    node = RawNode(Config("k1", 1, max_uncommitted_bytes=100), storage)
    old = tuple(Entry(1, index, data=b"x" * 100) for index in range(1, 11))
    node.step(Message(MessageType.APPEND, "k1", "c1", term=1, entries=old))
    work(node, storage)
    more = (Entry(1, 11, data=b"y"),)
    with pytest.raises(MessageRefused, match="too_much_uncommitted"):
        node.step(Message(MessageType.APPEND, "k1", "c1", term=1, log_term=1, index=10, entries=more))
    new = (Entry(2, 2, data=b"z" * 100),)
    node.step(Message(MessageType.APPEND, "k1", "w1", term=2, log_term=1, index=1, entries=new))
    work(node, storage)
    assert storage.entries(1, 3, 1000) == [old[0], new[0]]


def test_an_empty_or_an_oversized_proposal_is_misuse() -> None:
    node, _ = lone_leader()
    for data in (b"", [], [b"x", b""], b"x" * (MAX_ENTRY_BYTES + 1)):
        with pytest.raises(Misuse):
            node.propose(data)
    assert node.status().last_index == 1


def test_ready_is_outstanding_until_it_is_advanced() -> None:
    node, _ = lone_leader()
    node.propose(b"lodge")
    ready = node.ready()
    assert not node.has_ready()
    with pytest.raises(Misuse):
        node.ready()
    node.advance(ready)
    with pytest.raises(Misuse):
        node.advance(ready)


def test_what_happens_while_ready_is_outstanding_is_in_the_next_one() -> None:
    node, storage = lone_leader()
    node.propose(b"first")
    ready = node.ready()
    node.propose(b"second")
    assert [entry.data for entry in ready.entries] == [b"first"]
    storage.append(ready.entries)
    node.advance(ready)
    assert node.status().committed_index == 2
    following = node.ready()
    assert [entry.data for entry in following.entries] == [b"second"]
    assert [entry.data for entry in following.committed_entries] == [b"first"]


def test_entries_replaced_while_they_were_written_do_not_count_as_written() -> None:
    storage = MemoryStorage(Membership(Configuration({"k1": "kz", "c1": "cn"}, witnesses=frozenset({"w1"}))))
    node = RawNode(Config("k1", 1), storage)
    old = (Entry(1, 1, data=b"a"), Entry(1, 2, data=b"b"))
    node.step(Message(MessageType.APPEND, "k1", "c1", term=1, entries=old))
    ready = node.ready()
    new = (Entry(2, 2, data=b"B"),)
    node.step(Message(MessageType.APPEND, "k1", "w1", term=2, log_term=1, index=1, entries=new, commit=2))
    storage.append(ready.entries)
    node.advance(ready)
    assert (node.status().stable_index, node.status().committed_index) == (1, 2)
    following = node.ready()
    assert [entry.data for entry in following.committed_entries] == [b"a"]
    assert following.entries == new
    storage.append(following.entries)
    node.advance(following)
    assert [entry.data for entry in node.ready().committed_entries] == [b"B"]
    assert storage.entries(1, 3, 100) == [old[0], new[0]]


def test_a_commit_index_alone_needs_no_sync() -> None:
    storage = MemoryStorage(BOTH)
    node = RawNode(Config("k1", 1), storage)
    entries = (Entry(1, 1, data=b"a"),)
    node.step(Message(MessageType.APPEND, "k1", "c1", term=1, entries=entries))
    work(node, storage)
    node.step(Message(MessageType.HEARTBEAT, "k1", "c1", term=1, commit=1))
    ready = node.ready()
    assert ready.hard_state == HardState(1, None, 1)
    assert not ready.must_sync


def test_the_written_commit_index_never_runs_ahead_of_the_disk() -> None:
    # So that hard state and entries may be written in any order, and a crash between them is no contradiction.
    node = RawNode(Config("k1", 1), MemoryStorage(BOTH))
    entries = (Entry(1, 1, data=b"a"), Entry(1, 2, data=b"b"))
    node.step(Message(MessageType.APPEND, "k1", "c1", term=1, entries=entries, commit=2))
    ready = node.ready()
    assert ready.hard_state == HardState(1, None, 0)
    assert ready.committed_entries == ()


def test_a_restart_hands_out_again_what_was_not_applied() -> None:
    node, storage = lone_leader()
    node.propose([b"a", b"b", b"c"])
    work(node, storage)
    again = RawNode(Config("k1", 1, applied=2), storage)
    assert [entry.data for entry in again.ready().committed_entries] == [b"b", b"c"]


def test_an_applied_index_ahead_of_the_noted_commit_index_is_believed() -> None:
    node, storage = lone_leader()
    node.propose([b"a", b"b"])
    work(node, storage)
    storage.set_hard_state(HardState(1, "k1", 0))
    assert RawNode(Config("k1", 1, applied=3), storage).status().committed_index == 3


@pytest.mark.parametrize("applied", [9])
def test_a_log_shorter_than_what_was_applied_is_fatal(applied: int) -> None:
    _, storage = lone_leader()
    with pytest.raises(UnknownDurableState, match="shorter"):
        RawNode(Config("k1", 1, applied=applied), storage)


def test_a_log_that_begins_after_what_was_applied_is_fatal() -> None:
    node, storage = lone_leader()
    node.propose([b"a", b"b"])
    work(node, storage)
    storage.compact(2)
    with pytest.raises(UnknownDurableState, match="begins after"):
        RawNode(Config("k1", 1, applied=1), storage)


def test_a_vote_without_a_term_is_fatal() -> None:
    storage = MemoryStorage(ALONE)
    storage.set_hard_state(HardState(0, "k1", 0))
    with pytest.raises(UnknownDurableState, match="without a term"):
        RawNode(Config("k1", 1), storage)


def test_entries_of_a_later_term_than_the_noted_one_prove_that_it_began() -> None:
    storage = MemoryStorage(BOTH)
    storage.set_hard_state(HardState(1, "k1", 0))
    storage.append([Entry(4, 1, data=b"a")])
    status = RawNode(Config("k1", 1), storage).status()
    assert (status.term, status.vote) == (4, None)


def test_a_passive_node_campaigns_neither_by_itself_nor_when_asked() -> None:
    storage = MemoryStorage(BOTH)
    node = RawNode(Config("k1", 1), storage)
    node.step(Message(MessageType.HEARTBEAT, "k1", "c1", term=1))
    node.set_passive()
    for _ in range(100):
        node.tick()
    node.campaign()
    node.step(Message(MessageType.TIMEOUT_NOW, "k1", "c1", term=1))
    assert node.status().role is Role.FOLLOWER
    assert {message.type for message in work(node, storage)} == {MessageType.HEARTBEAT_RESPONSE}
    node.set_passive(False)
    node.campaign()
    assert node.status().role is Role.PRE_CANDIDATE


def test_a_passive_node_takes_no_proposals_and_says_that_it_has_halted() -> None:
    node, _ = lone_leader()
    node.set_passive()
    with pytest.raises(ProposalDropped) as dropped:
        node.propose(b"lodge")
    assert (dropped.value.reason, dropped.value.leader) == (DropReason.HALTED, "k1")
    assert node.status().last_index == 1
    node.set_passive(False)
    node.propose(b"lodge")


def test_a_passive_node_acknowledges_and_votes() -> None:
    storage = MemoryStorage(BOTH)
    node = RawNode(Config("k1", 1), storage)
    node.set_passive()
    entries = (Entry(1, 1, data=b"a"),)
    node.step(Message(MessageType.VOTE, "k1", "c1", term=1))
    node.step(Message(MessageType.APPEND, "k1", "c1", term=1, entries=entries))
    assert [(message.type, message.index, message.reject) for message in work(node, storage)] == [
        (MessageType.VOTE_RESPONSE, 0, False),
        (MessageType.APPEND_RESPONSE, 1, False),
    ]


def test_a_hand_over_that_crosses_our_own_campaign_is_no_lie() -> None:
    node = RawNode(Config("k1", 1), MemoryStorage(BOTH))
    node.step(Message(MessageType.HEARTBEAT, "k1", "c1", term=1))
    node.campaign()
    node.step(Message(MessageType.TIMEOUT_NOW, "k1", "c1", term=1))
    assert node.status().role is Role.PRE_CANDIDATE


def message_in_the_last_term(kind: MessageType, membership: Membership) -> Message:
    snapshot = Snapshot(SnapshotMetadata(9, 1, membership)) if kind is MessageType.SNAPSHOT else None
    reject = kind is MessageType.PRE_VOTE_RESPONSE
    message = Message(kind, "k1", "c1", term=MAX_TERM, reject=reject, snapshot=snapshot, context=b"read")
    verify_message(message)
    return message


@pytest.mark.parametrize("kind", [kind for kind in MessageType if kind is not MessageType.PRE_VOTE])
def test_no_message_takes_us_to_the_last_term(kind: MessageType) -> None:
    storage = MemoryStorage(BOTH)
    node = RawNode(Config("k1", 1), storage)
    with pytest.raises(MessageRefused) as refused:
        node.step(message_in_the_last_term(kind, BOTH))
    assert refused.value.code == "term_jump"
    assert work(node, storage) == []
    status = node.status()
    assert (status.term, status.vote, status.leader_id, status.last_index) == (MAX_TERM_JUMP, None, None, 0)
    node.campaign()
    assert [message.term for message in work(node, storage)] == [MAX_TERM_JUMP + 1]


def test_a_pre_vote_or_a_grant_of_any_term_moves_ours_by_nothing() -> None:
    for message in (
        Message(MessageType.PRE_VOTE, "k1", "c1", term=MAX_TERM),
        Message(MessageType.PRE_VOTE_RESPONSE, "k1", "c1", term=MAX_TERM),
    ):
        node = RawNode(Config("k1", 1), MemoryStorage(BOTH))
        node.campaign()
        node.step(message)
        assert (node.status().term, node.status().role) == (0, Role.PRE_CANDIDATE)


def test_a_jump_that_is_just_not_too_far_is_followed() -> None:
    node = RawNode(Config("k1", 1), MemoryStorage(BOTH))
    node.step(Message(MessageType.HEARTBEAT, "k1", "c1", term=MAX_TERM_JUMP))
    assert (node.status().term, node.status().leader_id) == (MAX_TERM_JUMP, "c1")


@pytest.mark.parametrize("passive", [False, True])
def test_an_honest_node_that_a_liar_drove_far_ahead_finds_the_others_again(passive: bool) -> None:
    storages = {member: MemoryStorage(BOTH) for member in ("k1", "c1")}
    nodes = {member: RawNode(Config(member, 1), storages[member]) for member in storages}
    # Step by step, each as large as may be.
    for step in range(1, 6):
        nodes["k1"].step(Message(MessageType.HEARTBEAT, "k1", "c1", term=step * MAX_TERM_JUMP))
    nodes["c1"].set_passive(passive)
    for _ in range(200):
        for node in nodes.values():
            node.tick()
        sent = [message for member in nodes for message in work(nodes[member], storages[member])]
        for message in sent:
            with suppress(MessageRefused):
                nodes[message.to].step(message)
    assert {node.status().leader_id for node in nodes.values()} in ({"k1"}, {"c1"})
    assert all(node.status().committed_index > 0 for node in nodes.values())


def test_a_learner_never_campaigns() -> None:
    storage = MemoryStorage(WITH_LEARNER)
    node = RawNode(Config("l1", 1), storage)
    for _ in range(100):
        node.tick()
    node.campaign()
    assert node.status().role is Role.FOLLOWER
    assert work(node, storage) == []


def test_whoever_is_no_member_follows_and_never_campaigns() -> None:
    storage = MemoryStorage(BOTH)
    node = RawNode(Config("zz", 1), storage)
    for _ in range(100):
        node.tick()
    node.campaign()
    assert work(node, storage) == []
    node.step(Message(MessageType.APPEND, "zz", "k1", term=1, entries=(Entry(1, 1, data=b"a"),)))
    assert [(message.type, message.index) for message in work(node, storage)] == [(MessageType.APPEND_RESPONSE, 1)]
    assert node.status().leader_id == "k1"


def test_compaction_goes_no_further_than_what_was_applied() -> None:
    node, storage = lone_leader()
    node.propose([b"a", b"b"])
    work(node, storage)
    with pytest.raises(Misuse, match="not applied"):
        node.compact(4)
    assert node.compact(2) == 2
    assert (storage.first_index(), node.status().first_index) == (3, 3)
    assert node.compact(1) == 2


def test_the_same_seed_gives_the_same_time_outs_and_another_id_others() -> None:
    def first_campaign(member: str, seed: int) -> int:
        node = RawNode(Config(member, seed, election_timeout_ticks=1000), MemoryStorage(BOTH))
        ticks = 0
        while node.status().role is Role.FOLLOWER:
            node.tick()
            ticks += 1
        return ticks

    assert first_campaign("k1", 7) == first_campaign("k1", 7)
    assert len({first_campaign("k1", 7), first_campaign("c1", 7), first_campaign("k1", 8)}) == 3


def test_a_grant_is_written_before_it_leaves() -> None:
    node = RawNode(Config("k1", 1), MemoryStorage(BOTH))
    node.step(Message(MessageType.VOTE, "k1", "c1", term=3))
    ready = node.ready()
    assert ready.messages == ()
    assert [message.type for message in ready.messages_after_persist] == [MessageType.VOTE_RESPONSE]
    assert ready.hard_state == HardState(3, "c1", 0)
    assert ready.must_sync


@pytest.mark.parametrize(
    "options",
    [
        {"heartbeat_ticks": 0},
        {"heartbeat_ticks": 10},
        {"max_append_bytes": 0},
        {"max_inflight_messages": 0},
        {"max_tail_bytes": -1},
    ],
)
def test_a_configuration_that_cannot_work_is_misuse(options: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        Config("k1", 1, **options)

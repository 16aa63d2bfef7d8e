"""Every rule of the thesis, and of its errata, that is easy to get wrong: one test each, in the order of the sections.

Sections are of Ongaro, *Consensus: Bridging Theory and Practice* (2014). What a rule looks like on the wire is in the
transcripts; that it holds whatever goes wrong, and that breaking it shows, is in `test_simulation.py`.
"""

from __future__ import annotations

import pytest

from consensus import (
    Action,
    ChangeRefused,
    Config,
    Configuration,
    ConfigurationChange,
    DropReason,
    Entry,
    EntryType,
    HardState,
    Membership,
    Message,
    MessageRefused,
    MessageType,
    ProgressState,
    ProposalDropped,
    RawNode,
    ReadState,
    Role,
    Snapshot,
    SnapshotMetadata,
    Step,
    encode_change,
)
from consensus.leadership import SNAPSHOT_GRACE_ROUNDS
from consensus.storage import MemoryStorage
from tests.consensus.group import Group, allow

TRIO = Membership(Configuration({"k1": "kz", "k2": "kz", "c1": "cn"}))
FOUR = Membership(Configuration({"k1": "kz", "k2": "kz", "c1": "cn", "c2": "cn"}))
WITNESSED = Membership(Configuration({"k1": "kz", "c1": "cn"}, witnesses=frozenset({"w1"})))


def node_of(
    name: str, membership: Membership, terms: tuple[int, ...] = (), hard_state: HardState | None = None
) -> tuple[RawNode, MemoryStorage]:
    """A node that starts from a disk with entries of these terms."""
    storage = MemoryStorage(membership)
    storage.append([Entry(term, index, data=b"%d" % index) for index, term in enumerate(terms, 1)])
    storage.set_hard_state(hard_state or HardState(max(terms, default=0)))
    return RawNode(Config(name, 1, authorise=allow), storage), storage


def work(node: RawNode, storage: MemoryStorage) -> list[Message]:
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


def lead(node: RawNode, storage: MemoryStorage, *voters: str) -> int:
    """Make `node` leader by the votes of these; returns its term."""
    node.campaign()
    term = node.status().term + 1
    for kind in (MessageType.PRE_VOTE_RESPONSE, MessageType.VOTE_RESPONSE):
        for voter in voters:
            node.step(Message(kind, node.status().id, voter, term))
        work(node, storage)
    assert node.status().role is Role.LEADER
    return term


def change(*steps: Step) -> ConfigurationChange:
    return ConfigurationChange(steps)


# Chapter 3: the basic algorithm.


def test_3_4_a_vote_is_on_disk_before_the_answer_leaves() -> None:
    node, storage = node_of("k1", TRIO)
    node.step(Message(MessageType.VOTE, "k1", "c1", 1))
    ready = node.ready()
    assert ready.messages == ()
    assert [message.type for message in ready.messages_after_persist] == [MessageType.VOTE_RESPONSE]
    assert (ready.hard_state, ready.must_sync) == (HardState(1, "c1", 0), True)
    storage.set_hard_state(HardState(1, "c1", 0))
    again = RawNode(Config("k1", 1), storage)
    again.step(Message(MessageType.VOTE, "k1", "k2", 1))
    assert [message.reject for message in again.ready().messages_after_persist] == [True]


def test_3_4_a_candidates_own_vote_counts_once_it_is_on_disk() -> None:
    node, storage = node_of("k1", Membership(Configuration({"k1": "kz"})))
    node.campaign()
    ready = node.ready()
    assert node.status().role is Role.CANDIDATE
    storage.set_hard_state(ready.hard_state or HardState())
    node.advance(ready)
    assert node.status().role is Role.LEADER


def test_3_4_one_vote_a_term_however_often_it_is_asked() -> None:
    node, _ = node_of("k1", TRIO)
    for candidate in ("c1", "k2", "c1"):
        node.step(Message(MessageType.VOTE, "k1", candidate, 1))
    answers = node.ready().messages_after_persist
    assert [(answer.to, answer.reject) for answer in answers] == [("c1", False), ("k2", True), ("c1", False)]


def test_3_5_an_append_is_on_disk_before_it_is_acknowledged() -> None:
    node, _ = node_of("k1", TRIO)
    node.step(Message(MessageType.APPEND, "k1", "c1", 1, entries=(Entry(1, 1, data=b"a"),)))
    ready = node.ready()
    assert ready.messages == ()
    assert ready.must_sync
    assert [message.index for message in ready.messages_after_persist] == [1]


def test_3_5_an_append_that_arrives_late_cuts_nothing_off() -> None:
    """Only an entry that conflicts is removed with what follows it: the log may be longer than an old message says."""
    node, storage = node_of("k1", TRIO, (1, 1, 1))
    node.step(Message(MessageType.APPEND, "k1", "c1", 1, entries=(Entry(1, 1, data=b"1"),)))
    work(node, storage)
    assert storage.last_index() == 3


def test_3_5_the_commit_index_never_goes_beyond_what_the_message_showed() -> None:
    """The follower's own tail may be of another leader: `min(leaderCommit, index of last new entry)`."""
    node, storage = node_of("k1", TRIO, (1, 1, 1))
    node.step(Message(MessageType.APPEND, "k1", "c1", 2, 1, 1, commit=3))
    work(node, storage)
    assert node.status().committed_index == 1


def test_3_5_the_commit_index_never_goes_back() -> None:
    node, storage = node_of("k1", TRIO, (1, 1, 1))
    for commit in (3, 1):
        node.step(Message(MessageType.APPEND, "k1", "c1", 1, 1, 3, commit=commit))
        node.step(Message(MessageType.HEARTBEAT, "k1", "c1", 1, commit=commit))
        work(node, storage)
    assert node.status().committed_index == 3


def test_3_5_a_match_index_never_goes_back_on_answers_out_of_order() -> None:
    node, storage = node_of("k1", TRIO)
    term = lead(node, storage, "c1")
    node.propose([b"a", b"b"])
    work(node, storage)
    for index, reject in ((1, False), (3, False), (1, False), (3, True), (1, True)):
        node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=index, reject=reject))
    assert node.status().followers["c1"].match == 3
    assert node.status().committed_index == 3


def test_3_6_1_a_vote_goes_to_no_shorter_log_and_to_no_older_last_term() -> None:
    for terms, granted in (((1, 2), True), ((1, 2, 2), True), ((1, 1, 1, 1), False), ((1,), False)):
        node, _ = node_of("k1", TRIO, (1, 2))
        node.step(Message(MessageType.VOTE, "k1", "c1", 3, terms[-1], len(terms)))
        assert [answer.reject for answer in node.ready().messages_after_persist] == [not granted]


def test_3_6_2_entries_of_older_terms_are_not_committed_by_counting() -> None:
    """Figure 3.7: a majority has index 2 of term 2, and it may still be overwritten; with one of the own term it is."""
    node, storage = node_of("k1", TRIO, (1, 2))
    term = lead(node, storage, "c1", "k2")
    for follower in ("c1", "k2"):
        node.step(Message(MessageType.APPEND_RESPONSE, "k1", follower, term, index=2))
    assert node.status().committed_index == 0
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=3))
    assert node.status().committed_index == 3


def test_3_6_2_one_authority_alone_commits_nothing_whatever_its_majority() -> None:
    """Ours, not the thesis's: a majority, and a voter of each authority."""
    node, storage = node_of("k1", TRIO)
    term = lead(node, storage, "k2", "c1")
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "k2", term, index=1))
    assert node.status().committed_index == 0
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=1))
    assert node.status().committed_index == 1


def test_3_8_the_term_and_the_vote_survive_a_restart_the_commit_index_need_not() -> None:
    node, storage = node_of("k1", TRIO)
    node.step(Message(MessageType.VOTE, "k1", "c1", 4))
    work(node, storage)
    status = RawNode(Config("k1", 1), storage).status()
    assert (status.term, status.vote) == (4, "c1")


def test_3_10_leadership_goes_only_to_whom_has_the_whole_log() -> None:
    group = Group(TRIO).elect("k1")
    group.cut("c1")
    group.nodes["k1"].propose(b"lodge")
    group.nodes["k1"].transfer_leadership("c1")
    group.settle()
    assert MessageType.TIMEOUT_NOW not in {message.type for message in group.sent}
    with pytest.raises(ProposalDropped) as dropped:
        group.nodes["k1"].propose(b"meanwhile")
    assert dropped.value.reason is DropReason.LEADERSHIP_TRANSFER
    group.heal()
    group.tick("k1", 1)
    assert group.nodes["c1"].status().role is Role.LEADER


# Chapter 4: changes of the membership.


def test_4_1_a_configuration_is_used_as_soon_as_it_is_appended() -> None:
    node, _ = node_of("k1", FOUR)
    entry = Entry(1, 1, EntryType.CONFIGURATION, encode_change(change(Step(Action.REMOVE, "c2"))))
    node.step(Message(MessageType.APPEND, "k1", "c1", 1, entries=(entry,)))
    assert node.ready().membership == node.status().membership
    assert (node.status().change_pending, "c2" in node.status().membership.members) == (True, False)


def test_4_1_and_given_up_when_its_entry_is_cut_off() -> None:
    node, storage = node_of("k1", FOUR)
    entry = Entry(1, 1, EntryType.CONFIGURATION, encode_change(change(Step(Action.REMOVE, "c2"))))
    node.step(Message(MessageType.APPEND, "k1", "c1", 1, entries=(entry,)))
    work(node, storage)
    node.step(Message(MessageType.APPEND, "k1", "c2", 2, entries=(Entry(2, 1, data=b"other"),)))
    assert node.status().membership == FOUR


def test_4_1_appends_are_taken_from_a_leader_that_is_no_member() -> None:
    node, storage = node_of("k3", TRIO)
    stranger = Message(MessageType.APPEND, "k3", "k9", 1, entries=(Entry(1, 1, data=b"a"),))
    node.step(stranger)
    assert [(answer.to, answer.index, answer.reject) for answer in work(node, storage)] == [("k9", 1, False)]


def test_4_1_votes_are_given_to_a_candidate_that_is_no_member() -> None:
    """The vote of whoever does not know the newest configuration may be needed to find a leader in it."""
    node, storage = node_of("k1", TRIO)
    for kind in (MessageType.PRE_VOTE, MessageType.VOTE):
        node.step(Message(kind, "k1", "k9", 1))
        assert [(answer.to, answer.reject) for answer in work(node, storage)] == [("k9", False)]


def test_4_1_erratum_no_change_before_an_entry_of_the_own_term_is_committed() -> None:
    """Ongaro, "bug in single-server membership changes" (2015)."""
    node, storage = node_of("k1", TRIO, (1,))
    term = lead(node, storage, "c1")
    with pytest.raises(ProposalDropped) as dropped:
        node.propose_change(change(Step(Action.ADD_LEARNER, "k3")))
    assert dropped.value.reason is DropReason.TERM_NOT_OPEN
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=2))
    node.propose_change(change(Step(Action.ADD_LEARNER, "k3")))


def test_4_1_one_change_at_a_time() -> None:
    node, storage = node_of("k1", TRIO)
    term = lead(node, storage, "c1")
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=1))
    node.propose_change(change(Step(Action.ADD_LEARNER, "k3")))
    with pytest.raises(ProposalDropped) as dropped:
        node.propose_change(change(Step(Action.ADD_LEARNER, "k4")))
    assert dropped.value.reason is DropReason.CHANGE_PENDING


def test_4_2_1_a_new_server_catches_up_before_it_votes() -> None:
    group = Group(TRIO).elect("k1")
    group.change("k1", change(Step(Action.ADD_LEARNER, "k3")))
    with pytest.raises(ChangeRefused, match="not_caught_up"):
        group.nodes["k1"].propose_change(change(Step(Action.ADD_VOTER, "k3", "kz")))
    group.join("k3")
    group.tick("k1", 2)
    group.change("k1", change(Step(Action.ADD_VOTER, "k3", "kz")))
    assert "k3" in group.nodes["k3"].status().membership.incoming.voters


def test_4_2_1_a_learner_counts_neither_for_elections_nor_for_commits() -> None:
    group = Group(Membership(Configuration({"k1": "kz", "c1": "cn"}, learners=frozenset({"l1"})))).elect("k1")
    group.cut("c1")
    group.propose("k1", b"lodge")
    assert group.nodes["k1"].status().followers["l1"].match == 2
    assert group.nodes["k1"].status().committed_index == 1
    group.tick("k1", 21)
    assert group.nodes["k1"].status().role is not Role.LEADER


def test_4_2_2_a_removed_leader_does_not_count_itself_and_steps_down_once_that_is_committed() -> None:
    node, storage = node_of("k1", TRIO)
    term = lead(node, storage, "c1")
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=1))
    node.propose_change(change(Step(Action.REMOVE, "k1")))
    work(node, storage)
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=2))
    assert (node.status().role, node.status().committed_index) == (Role.LEADER, 1)
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "k2", term, index=2))
    assert (node.status().role, node.status().committed_index) == (Role.FOLLOWER, 2)


def test_4_2_2_whoever_is_removed_still_campaigns_until_that_is_committed() -> None:
    """Figure 4.6: its log may be the only one that is long enough. Its own vote does not count."""
    entry = Entry(1, 1, EntryType.CONFIGURATION, encode_change(change(Step(Action.REMOVE, "k1"))))
    for commit, role in ((0, Role.PRE_CANDIDATE), (1, Role.FOLLOWER)):
        storage = MemoryStorage(TRIO)
        storage.append([entry])
        storage.set_hard_state(HardState(1, None, commit))
        node = RawNode(Config("k1", 1), storage)
        node.campaign()
        assert node.status().role is role
    storage.set_hard_state(HardState(1))
    node = RawNode(Config("k1", 1), storage)
    node.campaign()
    node.step(Message(MessageType.PRE_VOTE_RESPONSE, "k1", "c1", 2))
    assert node.status().role is Role.PRE_CANDIDATE
    node.step(Message(MessageType.PRE_VOTE_RESPONSE, "k1", "k2", 2))
    assert node.status().role is Role.CANDIDATE


def test_4_2_3_a_disruptive_server_is_not_listened_to_while_a_leader_is_heard() -> None:
    group = Group(FOUR).elect("k1")
    for kind in (MessageType.PRE_VOTE, MessageType.VOTE):
        group.nodes["c1"].step(Message(kind, "c1", "k2", 7, 6, 99))
        group.nodes["k1"].step(Message(kind, "k1", "k2", 7, 6, 99))
    group.settle()
    assert [group.nodes[name].status().term for name in ("c1", "k1")] == [1, 1]
    assert group.nodes["k1"].status().role is Role.LEADER


def test_4_2_3_unless_the_leader_has_asked_it_to_take_over() -> None:
    group = Group(FOUR).elect("k1")
    group.nodes["k1"].transfer_leadership("c2")
    group.settle()
    assert group.nodes["c2"].status().role is Role.LEADER


def test_4_3_a_joint_configuration_decides_by_both_halves() -> None:
    joint = Membership(Configuration({"k2": "kz", "c2": "cn"}), Configuration({"k1": "kz", "c1": "cn"}))
    for having in ({"k1", "c1"}, {"k2", "c2"}, {"k1", "c1", "k2"}, {"k1", "k2", "c2"}):
        assert joint.committed_index(dict.fromkeys(having, 1)) == 0
    assert joint.committed_index(dict.fromkeys(("k1", "c1", "k2", "c2"), 1)) == 1


def test_4_3_a_new_leader_that_finds_a_joint_configuration_leaves_it() -> None:
    swap = change(Step(Action.ADD_LEARNER, "c2"), Step(Action.ADD_LEARNER, "k2"))
    storage = MemoryStorage(FOUR)
    storage.append([Entry(1, 1, EntryType.CONFIGURATION, encode_change(swap))])
    storage.set_hard_state(HardState(1, None, 1))
    node = RawNode(Config("k1", 1, authorise=allow), storage)
    term = lead(node, storage, "c1", "k2")
    assert node.status().membership.outgoing is not None
    for follower in ("c1", "k2"):
        node.step(Message(MessageType.APPEND_RESPONSE, "k1", follower, term, index=2))
    assert node.status().membership == Membership(
        Configuration({"k1": "kz", "c1": "cn"}, learners=frozenset({"k2", "c2"}))
    )


def test_4_no_authority_loses_its_last_voter_not_even_by_a_leader_that_lies() -> None:
    """Ours, not the thesis's."""
    node, storage = node_of("k1", TRIO)
    for steps in (
        (Step(Action.REMOVE, "c1"),),
        (Step(Action.ADD_WITNESS, "c1"),),
        (Step(Action.REMOVE, "c1"), Step(Action.REMOVE, "k2")),
    ):
        entry = Entry(1, 1, EntryType.CONFIGURATION, encode_change(change(*steps)))
        with pytest.raises(MessageRefused, match="authority_without_voter"):
            node.step(Message(MessageType.APPEND, "k1", "k2", 1, entries=(entry,)))
    assert storage.last_index() == node.status().last_index == 0


# Chapter 5: compaction.


def test_5_a_stale_snapshot_changes_nothing() -> None:
    node, storage = node_of("k1", TRIO, (1, 1, 1), HardState(1, None, 3))
    old = Snapshot(SnapshotMetadata(2, 1, FOUR), b"old")
    node.step(Message(MessageType.SNAPSHOT, "k1", "c1", 1, snapshot=old))
    assert [answer.index for answer in work(node, storage)] == [3]
    assert (storage.last_index(), node.status().membership) == (3, TRIO)


def test_5_a_snapshot_of_what_the_log_has_keeps_the_log_behind_it() -> None:
    node, storage = node_of("k1", TRIO, (1, 1, 1))
    node.step(Message(MessageType.SNAPSHOT, "k1", "c1", 1, snapshot=Snapshot(SnapshotMetadata(2, 1, TRIO))))
    work(node, storage)
    assert (storage.last_index(), node.status().committed_index) == (3, 2)


def test_5_a_snapshot_brings_the_membership_as_of_its_index() -> None:
    node, storage = node_of("k1", TRIO)
    metadata = SnapshotMetadata(9, 1, FOUR)
    node.step(Message(MessageType.SNAPSHOT, "k1", "c1", 1, snapshot=Snapshot(metadata)))
    work(node, storage)
    assert node.status().membership == FOUR
    assert RawNode(Config("k1", 1, applied=9), storage).status().membership == FOUR


def test_5_what_follows_a_snapshot_is_kept_for_who_gets_it_but_not_for_ever() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("c2")
    for number in range(3):
        group.propose("k1", b"%d" % number)
    leader = group.nodes["k1"]
    leader.report_unreachable("c2")
    group.storages["k1"].create_snapshot(4, b"state")
    assert leader.compact(4) == 4
    group.heal()
    while leader.status().followers["c2"].state is not ProgressState.SNAPSHOT:  # told, and then busy with getting it
        leader.tick()
        group.deliver([message for message in group.work("k1") if message.type is not MessageType.SNAPSHOT])
        group.deliver(group.work("c2"))
    group.cut("c2")
    group.propose("k1", b"more")
    assert leader.compact(5) == 4
    ticks = SNAPSHOT_GRACE_ROUNDS * Config("k1", 1).election_timeout_ticks
    group.tick("k1", ticks - 1)
    assert leader.compact(5) == 4
    group.tick("k1", 2)
    assert leader.compact(5) == 5


def test_5_a_snapshot_that_changes_the_authorities_is_refused() -> None:
    """Ours, not the thesis's."""
    node, storage = node_of("k1", TRIO)
    for other in ({"k1": "kz", "k2": "kz"}, {"k1": "kz", "c1": "cn", "r1": "ru"}):
        snapshot = Snapshot(SnapshotMetadata(9, 1, Membership(Configuration(other))))
        with pytest.raises(MessageRefused, match="bad_snapshot"):
            node.step(Message(MessageType.SNAPSHOT, "k1", "c1", 1, snapshot=snapshot))
    assert node.status().last_index == storage.last_index() == 0


# Chapter 6: clients.


def test_6_2_a_leader_that_hears_no_majority_steps_down() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("k1", "k2")
    group.tick("k1", 21)
    assert group.nodes["k1"].status().role is not Role.LEADER


def test_6_4_a_read_is_answered_only_when_a_majority_has_confirmed_the_leader_after_it_was_asked() -> None:
    node, storage = node_of("k1", FOUR)
    term = lead(node, storage, "c1", "k2")
    for follower in ("c1", "k2"):
        node.step(Message(MessageType.APPEND_RESPONSE, "k1", follower, term, index=1))
    node.tick()
    work(node, storage)
    node.read_index(b"read")
    asked = [message for message in work(node, storage) if message.type is MessageType.HEARTBEAT]
    # Answers to the heartbeats from before the read prove nothing, however many there are.
    for follower in ("c1", "k2", "c2"):
        node.step(Message(MessageType.HEARTBEAT_RESPONSE, "k1", follower, term))
    answers: list[ReadState] = []
    for message in asked:
        if node.has_ready():
            ready = node.ready()
            answers += ready.read_states
            node.advance(ready)
        # With the leader these are two, then three of four, then all.
        assert answers == ([ReadState(1, b"read")] if message is asked[2] else [])
        node.step(Message(MessageType.HEARTBEAT_RESPONSE, "k1", message.to, term, context=message.context))


def test_6_4_a_new_leader_answers_no_read_before_an_entry_of_its_term_is_committed() -> None:
    node, storage = node_of("k1", TRIO, (1,))
    term = lead(node, storage, "c1")
    node.read_index(b"early")
    assert work(node, storage) == []
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=2))
    rounds = [message for message in work(node, storage) if message.type is MessageType.HEARTBEAT]
    assert rounds
    node.step(Message(MessageType.HEARTBEAT_RESPONSE, "k1", "c1", term, context=rounds[0].context))
    assert node.ready().read_states == (ReadState(2, b"early"),)


def test_6_4_a_read_never_rests_on_a_clock() -> None:
    """Section 6.4.1 would answer within the lease. Ours waits for the round, however fresh the lease is."""
    group = Group(FOUR).elect("k1")
    group.tick("k1", 1)
    group.cut("k1")
    group.nodes["k1"].read_index(b"read")
    group.settle()
    assert group.nodes["k1"].status().role is Role.LEADER
    assert group.reads["k1"] == []


def test_6_4_a_read_that_waits_is_dropped_with_the_leadership() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("k1")
    group.nodes["k1"].read_index(b"read")
    group.settle()
    group.nodes["k1"].step(Message(MessageType.HEARTBEAT, "k1", "c1", 5))
    group.settle()
    assert [dropped.reason for dropped in group.dropped["k1"]] == [DropReason.LEADER_CHANGED]


# Chapter 9 and 10: elections and performance.


def test_9_6_a_pre_vote_moves_nobodys_term_and_nothing_onto_a_disk() -> None:
    node, storage = node_of("k1", TRIO, (1,), HardState(1, "c1", 0))
    node.campaign()
    ready = node.ready()
    assert (ready.hard_state, ready.must_sync) == (None, False)
    assert {message.term for message in ready.messages} == {2}
    node.advance(ready)
    other, _ = node_of("k2", TRIO, (1,), HardState(1, "c1", 0))
    other.step(ready.messages[-1])
    assert other.status().term == 1
    assert storage.hard_state == HardState(1, "c1", 0)


def test_9_6_a_node_that_was_cut_off_deposes_nobody_when_it_comes_back() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("k2")
    for _ in range(100):
        group.nodes["k2"].tick()
        group.settle()
    group.heal()
    group.tick("k1", 3)
    assert (group.nodes["k1"].status().role, group.nodes["k1"].status().term) == (Role.LEADER, 1)
    assert group.nodes["k2"].status().leader_id == "k1"


def test_10_2_1_the_leaders_disk_counts_only_when_it_has_written() -> None:
    node, storage = node_of("k1", WITNESSED)
    term = lead(node, storage, "c1")
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=1))
    work(node, storage)
    node.propose(b"lodge")
    ready = node.ready()
    assert [message.type for message in ready.messages] == [MessageType.APPEND]
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=2))
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "w1", term, index=2))
    # c1 and w1 are a majority, but of kz only k1 could have it, and its disk has not.
    assert node.status().committed_index == 1
    storage.append(ready.entries)
    node.advance(ready)
    assert node.status().committed_index == 2


def test_10_2_1_a_rejected_append_slows_down_to_one_at_a_time() -> None:
    node, storage = node_of("k1", TRIO)
    term = lead(node, storage, "c1")
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, index=1))
    node.propose(b"lodge")
    work(node, storage)
    assert node.status().followers["c1"].state is ProgressState.REPLICATE
    node.step(Message(MessageType.APPEND_RESPONSE, "k1", "c1", term, 0, 2, reject=True, reject_hint=1))
    assert node.status().followers["c1"].state is ProgressState.PROBE
    assert node.status().followers["c1"].paused

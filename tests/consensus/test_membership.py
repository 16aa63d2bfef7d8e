"""Changes of the membership from the caller's side: who may vote when, what is refused, what a restart brings back."""

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
    ProposalDropped,
    RawNode,
    Role,
    Step,
    UnknownDurableState,
    encode_change,
    enter,
    leave,
)
from consensus.storage import MemoryStorage
from tests.consensus.group import Group

PAIR = Membership(Configuration({"k1": "kz", "c1": "cn"}))
FOUR = Membership(Configuration({"k1": "kz", "k2": "kz", "c1": "cn", "c2": "cn"}))


def change(*steps: tuple[Action, str] | tuple[Action, str, str]) -> ConfigurationChange:
    return ConfigurationChange(tuple(Step(*step) for step in steps))


def learner(member: str) -> ConfigurationChange:
    return change((Action.ADD_LEARNER, member))


def voter(member: str, authority: str) -> ConfigurationChange:
    return change((Action.ADD_VOTER, member, authority))


def remove(*members: str) -> ConfigurationChange:
    return change(*((Action.REMOVE, member) for member in members))


def test_a_new_member_learns_then_votes() -> None:
    group = Group(PAIR).elect("k1")
    group.change("k1", learner("k2"))
    group.join("k2")
    group.tick("k1", 2)
    group.change("k1", voter("k2", "kz"))
    assert all(node.status().membership.incoming.voters.keys() == {"k1", "k2", "c1"} for node in group.nodes.values())
    assert not group.nodes["k1"].status().change_pending
    group.cut("c1")
    group.propose("k1", b"without c1")
    assert group.nodes["k1"].status().committed_index < group.nodes["k1"].status().last_index
    group.heal()
    group.tick("k1", 2)
    assert group.nodes["k2"].status().applied_index == group.nodes["k1"].status().last_index


def test_nobody_votes_before_it_has_the_log() -> None:
    group = Group(PAIR).elect("k1")
    for wanted in (voter("k2", "kz"), change((Action.ADD_WITNESS, "k2"))):
        with pytest.raises(ChangeRefused, match="not_caught_up"):
            group.nodes["k1"].propose_change(wanted)
    group.change("k1", learner("k2"))
    group.join("k2")
    group.cut("k2")
    group.tick("k1", 30)
    with pytest.raises(ChangeRefused, match="not_caught_up"):
        group.nodes["k1"].propose_change(voter("k2", "kz"))
    assert not group.nodes["k1"].status().followers["k2"].caught_up
    group.heal()
    group.tick("k1", 3)
    assert group.nodes["k1"].status().followers["k2"].caught_up


def test_several_at_once_go_through_a_joint_configuration_which_the_leader_leaves() -> None:
    group = Group(FOUR).elect("k1")
    group.change("k1", learner("k3"))
    group.change("k1", learner("c3"))
    group.join("k3", "c3")
    group.tick("k1", 3)
    swap = change(
        (Action.ADD_VOTER, "k3", "kz"),
        (Action.ADD_VOTER, "c3", "cn"),
        (Action.REMOVE, "k2"),
        (Action.ADD_LEARNER, "c2"),
    )
    group.nodes["k1"].propose_change(swap)
    joint = group.nodes["k1"].status().membership
    assert joint == enter(FOUR_WITH_LEARNERS, swap)
    assert joint.outgoing is not None
    with pytest.raises(ProposalDropped) as dropped:
        group.nodes["k1"].propose_change(remove("c2"))
    assert dropped.value.reason is DropReason.CHANGE_PENDING
    group.settle()
    for name in ("k1", "c1", "c2", "k3", "c3", "k2"):
        assert group.nodes[name].status().membership == leave(joint)
    assert "k2" not in group.nodes["k1"].status().followers


FOUR_WITH_LEARNERS = Membership(Configuration(FOUR.incoming.voters, learners=frozenset({"k3", "c3"})))


@pytest.mark.parametrize("steps", [2, 1])
def test_no_authority_is_left_without_a_voter_not_even_for_a_moment(steps: int) -> None:
    group = Group(Membership(Configuration({"k1": "kz", "k2": "kz", "c1": "cn"}, learners=frozenset({"c2"}))))
    group.elect("k1")
    wanted = change((Action.REMOVE, "c1"), (Action.ADD_WITNESS, "k2"))
    wanted = wanted if steps == 2 else remove("c1")
    with pytest.raises(ChangeRefused) as refused:
        group.nodes["k1"].propose_change(wanted)
    assert refused.value.code == "authority_without_voter"
    # A leader that lies appends it nevertheless: no follower takes it, or says that it has it.
    data = encode_change(wanted)
    last = group.nodes["k1"].status().last_index
    for follower in ("k2", "c1"):
        lie = (Entry(1, last + 1, EntryType.CONFIGURATION, data),)
        with pytest.raises(MessageRefused) as lied:
            group.nodes[follower].step(Message(MessageType.APPEND, follower, "k1", 1, 1, last, lie, last))
        assert lied.value.code == "authority_without_voter"
        assert not group.nodes[follower].ready().messages_after_persist
        assert group.nodes[follower].status().last_index == last


def test_a_change_that_is_not_authorised_is_neither_proposed_nor_taken() -> None:
    def authorise(asked: ConfigurationChange, before: Membership) -> None:
        if asked.authorisation != b"kz and cn" or before != PAIR:
            raise MessageRefused("unauthorised", "not signed by both")

    storage = MemoryStorage(PAIR)
    node = RawNode(Config("c1", 1, authorise=authorise), storage)
    steps = learner("k2").steps
    for authorisation, taken in ((b"kz", False), (b"kz and cn", True)):
        entry = Entry(1, 1, EntryType.CONFIGURATION, encode_change(ConfigurationChange(steps, authorisation)))
        message = Message(MessageType.APPEND, "c1", "k1", 1, entries=(entry,))
        if taken:
            node.step(message)
        else:
            with pytest.raises(MessageRefused, match="unauthorised"):
                node.step(message)
        assert ("k2" in node.status().membership.members) is taken
    group = Group(PAIR, authorise=authorise).elect("k1")
    with pytest.raises(ChangeRefused) as refused:
        group.nodes["k1"].propose_change(ConfigurationChange(steps))
    assert refused.value.code == "unauthorised"
    assert group.nodes["k1"].status().membership == PAIR


def test_without_somebody_to_ask_no_change_is_authorised() -> None:
    node = RawNode(Config("c1", 1), MemoryStorage(PAIR))
    entry = Entry(1, 1, EntryType.CONFIGURATION, encode_change(learner("k2")))
    with pytest.raises(MessageRefused, match="unauthorised"):
        node.step(Message(MessageType.APPEND, "c1", "k1", 1, entries=(entry,)))


def test_a_leader_that_is_removed_leads_until_that_is_committed_and_another_takes_over_at_once() -> None:
    group = Group(FOUR).elect("k1")
    group.cut("c1", "c2")
    group.nodes["k1"].propose_change(remove("k1"))
    group.settle()
    assert group.nodes["k1"].status().role is Role.LEADER
    # Two of three have it, k2 and k1: but k1 does not count, and neither c1 nor c2 has it.
    assert group.nodes["k1"].status().change_pending
    group.heal()
    group.tick("k1", 2)
    assert group.nodes["k1"].status().role is Role.FOLLOWER
    leaders = [name for name, node in group.nodes.items() if node.status().role is Role.LEADER]
    assert len(leaders) == 1
    assert leaders != ["k1"]
    term = group.nodes["k1"].status().term
    for _ in range(100):
        group.nodes["k1"].tick()
    group.nodes["k1"].campaign()
    assert (group.nodes["k1"].status().term, group.nodes["k1"].status().role) == (term, Role.FOLLOWER)


@pytest.mark.parametrize("guarded", [True, False])
def test_two_leaders_in_turn_do_not_reach_majorities_that_do_not_meet(
    guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erratum to section 4.2, played out: without the guard a leader is elected who lacks what is committed."""
    group = Group(Membership(Configuration(FOUR.incoming.voters, learners=frozenset({"k3"})))).elect("k1")
    group.tick("k1", 2)
    nodes = group.nodes
    # k1 gives k3 a vote, of which nobody else hears.
    group.cut("k1", "k3")
    nodes["k1"].propose_change(voter("k3", "kz"))
    group.settle()
    for name in ("k2", "c1", "c2"):
        for _ in range(10):
            nodes[name].tick()
    nodes["k2"].campaign()
    for name in ("k2", "c1", "c2") * 2:
        group.deliver(group.work(name))
    assert nodes["k2"].status().role is Role.LEADER
    # k2 leads, has committed nothing in its term, and takes c1's vote away: two of the three that are left will do.
    group.cut("k1", "k3", "c1")
    if guarded:
        with pytest.raises(ProposalDropped) as dropped:
            nodes["k2"].propose_change(remove("c1"))
        assert dropped.value.reason is DropReason.TERM_NOT_OPEN
    else:
        leadership = nodes["k2"]._raft.leadership
        monkeypatch.setattr(leadership, "_opened", True)
        nodes["k2"].propose_change(remove("c1"))
    group.settle()
    assert (nodes["k2"].status().committed_index == 3) is not guarded
    # k1, k3 and c1 are three of the five that k1 knows of. c1 has nothing of what k2 committed with c2.
    group.cut("k2", "c2")
    group.tick("k1", 21)
    for _ in range(3):
        for name in ("k3", "c1"):
            for _ in range(10):
                nodes[name].tick()
        nodes["k1"].campaign()
        group.settle()
    status = nodes["k1"].status()
    elected_without = status.role is Role.LEADER and nodes["k2"].status().committed_index == 3
    assert elected_without is not guarded


def test_a_restart_finds_the_membership_in_the_log() -> None:
    group = Group(PAIR).elect("k1")
    group.change("k1", learner("k2"))
    again = RawNode(Config("c1", 1), group.storages["c1"])
    assert again.status().membership.incoming.learners == {"k2"}
    assert again.status().membership_index == 2
    group.propose("k1", b"more")
    group.storages["k1"].compact(3)
    status = RawNode(Config("k1", 1, applied=3), group.storages["k1"]).status()
    assert (status.membership.incoming.learners, status.membership_index) == (frozenset({"k2"}), 3)


def test_a_change_that_is_cut_off_is_taken_back() -> None:
    storage = MemoryStorage(FOUR)
    node = RawNode(Config("c1", 1, authorise=lambda _change, _before: None), storage)
    entry = Entry(1, 1, EntryType.CONFIGURATION, encode_change(remove("k2")))
    node.step(Message(MessageType.APPEND, "c1", "k1", 1, entries=(entry,)))
    ready = node.ready()
    assert ready.membership == enter(FOUR, remove("k2"))
    storage.append(ready.entries)
    node.advance(ready)
    node.step(Message(MessageType.APPEND, "c1", "k2", 2, entries=(Entry(2, 1, data=b"other"),)))
    assert node.ready().membership == FOUR


def test_a_log_with_a_change_that_cannot_be_is_fatal() -> None:
    for data in (b"not a change", encode_change(remove("c1"))):
        storage = MemoryStorage(PAIR)
        storage.set_hard_state(HardState(1, None, 0))
        storage.append([Entry(1, 1, EntryType.CONFIGURATION, data)])
        with pytest.raises(UnknownDurableState, match="change of the membership at 1 cannot be"):
            RawNode(Config("k1", 1), storage)

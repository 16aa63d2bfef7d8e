"""The quorum maths against an oracle that only enumerates subsets."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.quorum import MAX_MEMBERS, Configuration, Membership, VoteResult

NAMES = tuple("abcdefg")


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    roles = draw(st.lists(st.sampled_from(["kz", "cn", "ru", "witness", "learner"]), min_size=1, max_size=len(NAMES)))
    named = list(zip(NAMES, roles, strict=False))
    voters = {name: role for name, role in named if role not in ("witness", "learner")} or {"z": "kz"}
    return Configuration(
        voters,
        frozenset(name for name, role in named if role == "witness"),
        frozenset(name for name, role in named if role == "learner"),
    )


matches = st.dictionaries(st.sampled_from([*NAMES, "z", "stranger"]), st.integers(0, 6))
ballots = st.dictionaries(st.sampled_from([*NAMES, "z", "stranger"]), st.booleans())


def is_quorum(members: set[str], configuration: Configuration) -> bool:
    """The commit rule in the words of the specification."""
    electors = set(configuration.voters) | configuration.witnesses
    sides = set(configuration.voters.values())
    return 2 * len(members & electors) > len(electors) and {configuration.voters.get(m) for m in members} >= sides


def subsets(members: set[str]) -> list[set[str]]:
    return [set(chosen) for size in range(len(members) + 1) for chosen in combinations(sorted(members), size)]


def oracle_committed(configuration: Configuration, match: dict[str, int]) -> int:
    best = 0
    electors = set(configuration.voters) | configuration.witnesses
    for chosen in subsets(electors):
        if is_quorum(chosen, configuration):
            best = max(best, min(match.get(member, 0) for member in chosen))
    return best


def oracle_vote(configuration: Configuration, votes: dict[str, bool]) -> VoteResult:
    """Won if decided whatever the others say, lost if decided against, pending otherwise: try all completions."""
    electors = set(configuration.voters) | configuration.witnesses
    silent = {elector for elector in electors if elector not in votes}
    granted = {elector for elector in electors if votes.get(elector)}
    outcomes = {2 * len(granted | more) > len(electors) for more in subsets(silent)}
    if outcomes == {True}:
        return VoteResult.WON
    if outcomes == {False}:
        return VoteResult.LOST
    return VoteResult.PENDING


@given(configurations(), matches)
def test_the_committed_index_is_that_of_the_best_quorum(configuration: Configuration, match: dict[str, int]) -> None:
    assert configuration.committed_index(match) == oracle_committed(configuration, match)


@given(configurations(), ballots)
def test_an_election_is_decided_when_no_further_vote_can_change_it(
    configuration: Configuration, votes: dict[str, bool]
) -> None:
    assert configuration.vote_result(votes) is oracle_vote(configuration, votes)


@given(configurations(), configurations(), matches, ballots)
def test_a_joint_membership_demands_both(
    incoming: Configuration, outgoing: Configuration, match: dict[str, int], votes: dict[str, bool]
) -> None:
    joint = Membership(incoming, outgoing)
    assert joint.committed_index(match) == min(oracle_committed(c, match) for c in (incoming, outgoing))
    results = {oracle_vote(c, votes) for c in (incoming, outgoing)}
    if VoteResult.LOST in results:
        assert joint.vote_result(votes) is VoteResult.LOST
    elif results == {VoteResult.WON}:
        assert joint.vote_result(votes) is VoteResult.WON
    else:
        assert joint.vote_result(votes) is VoteResult.PENDING


@given(configurations())
def test_every_election_quorum_meets_every_commit_quorum(configuration: Configuration) -> None:
    # Why an election needs no more than a majority: thesis section 3.6.3.
    electors = set(configuration.voters) | configuration.witnesses
    electing = [
        chosen
        for chosen in subsets(electors)
        if configuration.vote_result(dict.fromkeys(chosen, True)) is VoteResult.WON
    ]
    committing = [
        chosen for chosen in subsets(electors) if configuration.committed_index(dict.fromkeys(chosen, 1)) == 1
    ]
    assert electing
    assert committing
    assert all(one & other for one in electing for other in committing)


@given(configurations(), st.sets(st.sampled_from([*NAMES, "z"])))
def test_an_authority_is_missing_when_none_of_its_voters_is_there(
    configuration: Configuration, present: set[str]
) -> None:
    sides = set(configuration.voters.values())
    expected = {side for side in sides if not any(configuration.voters.get(m) == side for m in present)}
    assert set(configuration.missing_authorities(present)) == expected


def test_two_and_two_need_three_of_which_one_is_from_each_side() -> None:
    both = Configuration({"k1": "kz", "k2": "kz", "c1": "cn", "c2": "cn"})
    assert both.committed_index({"k1": 9, "k2": 9}) == 0
    assert both.committed_index({"k1": 9, "k2": 9, "c1": 4}) == 4


def test_a_majority_of_one_side_and_a_witness_commits_nothing() -> None:
    configuration = Configuration({"k1": "kz", "k2": "kz", "c1": "cn"}, witnesses=frozenset({"w"}))
    assert configuration.committed_index({"k1": 5, "k2": 5, "w": 5}) == 0
    assert configuration.committed_index({"k1": 5, "k2": 5, "w": 5, "c1": 3}) == 3
    assert configuration.vote_result({"k1": True, "k2": True, "w": True}) is VoteResult.WON


@pytest.mark.parametrize(
    ("voters", "witnesses", "learners", "says"),
    [
        ({}, (), (), "no voters"),
        ({"a": "kz"}, ("a",), (), "twice"),
        ({"a": "kz"}, (), ("a",), "twice"),
        ({"a": ""}, (), (), "no authority"),
        ({"": "kz"}, (), (), "wrong length"),
        ({"a" * 65: "kz"}, (), (), "wrong length"),
        ({f"n{n}": "kz" for n in range(MAX_MEMBERS + 1)}, (), (), "too many"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    voters: dict[str, str], witnesses: tuple[str, ...], learners: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        Configuration(voters, frozenset(witnesses), frozenset(learners))

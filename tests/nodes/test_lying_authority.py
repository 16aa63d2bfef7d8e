"""What one authority can do to the other when it lies with all its machines: found by the model, shown in the code.

docs/model/README.md has the theorem. Two honest validators of one authority, each led by the liar down another road,
come to two histories; each of them is consistent, neither ever contradicts itself. Whether both histories can become
final is a matter of the policy: with *any* validator of a side they can, with a majority of each side they cannot.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus import Config, Configuration, Entry, EntryType, Membership, Message, MessageRefused, MessageType, RawNode
from consensus.storage import MemoryStorage
from ledger.checkpoint import Checkpoint
from ledger.entry import Genesis
from ledger.errors import Untrue
from ledger.membership import Member, Register, Role
from ledger.note import Note, format_note, parse_note
from ledger.policy import Policy, parse_policy
from nodes.cosigning import Finality
from nodes.membership import Roster
from nodes.network import policy_of_members, policy_text, wants_several
from nodes.participation import Participation
from tests.nodes.world import ORIGIN, World

WORLD = World()
HONEST = ("kz-kgd-1", "kz-kgd-2")
LIAR, OTHER_LIAR = "cn-gacc-1", "cn-gacc-2"
VOTERS = {name: name.rpartition("-")[0] for name in (*HONEST, LIAR, OTHER_LIAR)}
ROOTS = (bytes(range(32)), bytes(32))
THIRD_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()


def follower(name: str) -> RawNode:
    return RawNode(Config(name, seed=0), MemoryStorage(Membership(Configuration(VOTERS))))


def tell(node: RawNode, story: bytes, *, sender: str = LIAR, term: int = 1) -> tuple[Entry, ...]:
    """What a follower executes after a leader told it one entry, and that it is committed."""
    name = node.status().id
    entry = Entry(term, 1, EntryType.NORMAL, story)
    node.step(Message(MessageType.APPEND, name, sender, term, entries=(entry,), commit=1))
    executed: tuple[Entry, ...] = ()
    while node.has_ready():
        ready = node.ready()
        node._raft.log._storage.append(ready.entries)  # type: ignore[attr-defined]
        executed += ready.committed_entries
        node.advance(ready)
    return executed


def wanting(each: str, genesis: Genesis = WORLD.genesis) -> Policy:
    text = policy_text(genesis, "kz-kgd")
    for country in ("kz", "cn"):
        text = text.replace(f"group {country} any ", f"group {country} {each} ")
    return parse_policy(text.encode())


def final_at(validator: str, root: bytes, policy: Policy, *cosigners: str) -> bool:
    """Whether what this validator executed is final once these others have signed it too, and not before the last."""
    checkpoint = Checkpoint(ORIGIN, 5, root)
    finality = Finality(WORLD.genesis, policy, None)
    finality.executed(checkpoint)
    finality.signed(checkpoint, WORLD.lines(validator, checkpoint))
    for cosigner in cosigners:
        assert finality.conclude() is None
        assert finality.receive(cosigner, 5, root, WORLD.lines(cosigner, checkpoint), lambda _: root) is None
    assert finality.refused == 0
    return finality.conclude() is not None


def test_a_lying_leader_can_lead_two_honest_validators_down_two_roads() -> None:
    roads = [tell(follower(name), story) for name, story in zip(HONEST, (b"one", b"other"), strict=True)]
    assert [[entry.data for entry in road] for road in roads] == [[b"one"], [b"other"]]


def test_a_validator_that_has_executed_one_history_refuses_the_other() -> None:
    node = follower(HONEST[0])
    tell(node, b"one")
    other = Entry(2, 2, EntryType.NORMAL, b"goes on from the other history")
    append = Message(MessageType.APPEND, HONEST[0], OTHER_LIAR, 2, log_term=2, index=1, entries=(other,), commit=2)
    with pytest.raises(MessageRefused) as refused:
        node.step(append)
    assert refused.value.code == "contradicts_committed"
    assert tell(node, b"other", sender=OTHER_LIAR, term=3) == ()


def test_with_any_validator_of_a_side_both_histories_become_final() -> None:
    assert final_at(HONEST[0], ROOTS[0], wanting("any"), LIAR)
    assert final_at(HONEST[1], ROOTS[1], wanting("any"), LIAR)


def test_with_a_majority_of_each_side_neither_does() -> None:
    for honest, colleague, root in zip(HONEST, reversed(HONEST), ROOTS, strict=True):
        assert not final_at(honest, root, wanting("2"), LIAR, OTHER_LIAR)
        # For want of the colleague, who was led down the other road, and of nothing else.
        assert final_at(honest, root, wanting("2"), LIAR, OTHER_LIAR, colleague)


@pytest.mark.parametrize("last", [HONEST[1], LIAR, OTHER_LIAR])
def test_where_a_majority_of_each_side_is_wanted_it_is_final_with_the_last_of_it_in_whatever_order(last: str) -> None:
    before = [name for name in (HONEST[1], LIAR, OTHER_LIAR) if name != last]
    assert not final_at(HONEST[0], ROOTS[0], wanting("2"), *before)
    assert final_at(HONEST[0], ROOTS[0], wanting("2"), *before, last)
    assert final_at(HONEST[0], ROOTS[0], wanting("2"), *reversed(before), last)


def test_no_more_cosignatures_of_a_side_are_verified_than_are_wanted_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    monkeypatch.setattr("nodes.cosigning.verify_cosignature", lambda key, body, line: verified.append(line.name))
    checkpoint = Checkpoint(ORIGIN, 5, ROOTS[0])
    for each, wanted in (("any", [LIAR]), ("2", [LIAR, OTHER_LIAR, HONEST[1]])):
        finality = Finality(WORLD.genesis, wanting(each), None)
        finality.executed(checkpoint)
        finality.signed(checkpoint, WORLD.lines(HONEST[0], checkpoint))
        for name in (LIAR, OTHER_LIAR, HONEST[1]) * 2:
            finality.receive(name, 5, ROOTS[0], WORLD.lines(name, checkpoint), lambda _: ROOTS[0])
        assert verified == wanted
        verified.clear()


def test_the_two_validators_that_were_lied_to_find_out_as_soon_as_they_hear_each_other() -> None:
    finality = WORLD.finality()
    finality.executed(Checkpoint(ORIGIN, 5, ROOTS[0]))
    theirs = Checkpoint(ORIGIN, 5, ROOTS[1])
    found = finality.receive(HONEST[1], 5, ROOTS[1], WORLD.lines(HONEST[1], theirs), lambda _: ROOTS[0])
    assert found is not None
    assert (found.our_root, found.their_root) == ROOTS


def test_a_liar_with_two_validators_signs_each_history_with_another_and_is_not_named_by_the_evidence() -> None:
    """Each note has one validator of each side: nobody signed both, though one authority must have lied."""
    policy = wanting("any")
    signers = [{HONEST[0], LIAR}, {HONEST[1], OTHER_LIAR}]
    assert all(policy.quorum_met_by(names) for names in signers)
    assert signers[0].isdisjoint(signers[1])


def test_a_policy_of_majorities_has_no_two_sets_of_one_side_without_a_validator_in_both() -> None:
    voters = Register.of_genesis(WORLD.genesis).of(Role.VOTER)
    policy = parse_policy(policy_of_members(WORLD.genesis, "kz-kgd", voters, majority=True).encode())
    assert not policy.quorum_met_by({HONEST[0], LIAR, OTHER_LIAR})
    assert policy.quorum_met_by({*HONEST, LIAR, OTHER_LIAR})
    for group in policy.groups:
        assert 2 * group.threshold > len(group.members)


def test_whether_one_of_a_side_is_enough_is_read_from_the_groups_of_validators_alone() -> None:
    # The group of both authorities always wants two: of them.
    assert not wants_several(wanting("any"))
    assert wants_several(wanting("2"))
    assert wants_several(wanting("all"))


class _Beginning:
    """A roster before any change."""

    def __init__(self) -> None:
        self.committed = Register.of_genesis(WORLD.genesis)

    def voters(self) -> dict[str, Member]:
        return {member.name: member for member in self.committed.of(Role.VOTER)}

    def registers(self) -> list[Register]:
        return [self.committed]


class _Members:
    """A roster after a change: a third validator of the first authority has a vote."""

    def __init__(self) -> None:
        genesis = Register.of_genesis(WORLD.genesis)
        self.members = [*genesis.of(Role.VOTER)]
        third = dataclasses.replace(self.members[0], name="kz-kgd-3", cosigner_key=THIRD_KEY)
        self.members.append(third)
        self.committed = SimpleNamespace(number=1, of=lambda role: self.members)

    def voters(self) -> dict[str, Member]:
        return {member.name: member for member in self.members}

    def registers(self) -> list[Any]:
        return [self.committed]


def participation(
    file: Policy, roster: _Members | _Beginning | Roster | None = None, genesis: Genesis = WORLD.genesis
) -> Participation:
    config, identity = (
        SimpleNamespace(authority="kz-kgd", peers=()),
        SimpleNamespace(genesis=genesis, policy=file),
    )
    keys = SimpleNamespace(known_to=lambda policy, authority: policy)
    return Participation(config, identity, roster or _Members(), keys)  # type: ignore[arg-type]


def thresholds(policy: Policy) -> dict[str, tuple[int, int]]:
    return {group.name: (group.threshold, len(group.members)) for group in policy.groups}


def test_who_wants_several_of_a_side_still_does_when_the_membership_has_changed() -> None:
    assert thresholds(participation(wanting("2")).policy()) == {"kz": (2, 3), "cn": (2, 2), "both": (2, 2)}
    assert thresholds(participation(wanting("any")).policy()) == {"kz": (1, 3), "cn": (1, 2), "both": (2, 2)}


def test_a_validator_starts_again_with_a_file_that_wants_more_than_made_its_last_note_final() -> None:
    checkpoint = Checkpoint(ORIGIN, 5, ROOTS[0])
    finality = Finality(WORLD.genesis, wanting("any"), None)
    finality.executed(checkpoint)
    finality.signed(checkpoint, WORLD.lines(HONEST[0], checkpoint))
    finality.receive(LIAR, 5, ROOTS[0], WORLD.lines(LIAR, checkpoint), lambda _: ROOTS[0])
    concluded = finality.conclude()
    assert concluded is not None
    part = participation(wanting("2"), _Beginning())
    assert Finality(WORLD.genesis, part.policy_of_note(concluded[1]), concluded[1]).final_size == 5
    # What is to become final goes by the file; a note that was final by neither is still refused.
    assert thresholds(part.policy())["kz"] == (2, 2)
    alone = parse_note(concluded[1])
    short = format_note(Note(alone.text, tuple(line for line in alone.signatures if line.name != LIAR)))
    with pytest.raises(Untrue):
        Finality(WORLD.genesis, part.policy_of_note(short), short)

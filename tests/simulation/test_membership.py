"""The judge's own reading of changes of the membership, held against the code that makes them."""

from __future__ import annotations

import pytest

from consensus import Action, Configuration, ConfigurationChange, encode_change
from consensus import Step as RaftStep
from ledger.membership import Register, Verb, sign_change
from ledger.membership import Step as SignedStep
from nodes.membership import change_of
from tests.simulation.corridor import Corridor, corridor
from tests.simulation.membership import (
    InForce,
    Members,
    at_genesis,
    read_change,
    unsigned_by,
    what_is_done,
    what_is_said,
)

CORRIDOR = corridor("kz-kgd:2 cn-gacc:2")
NAMES = ("k1", "k2", "c1", "c2", "w1")
PARTIES = {"k1": "kz", "k2": "kz", "c1": "cn", "c2": "cn", "w1": "neutral"}


def note(network: Corridor, *steps: SignedStep, signers: tuple[str, ...] = ("kz-kgd", "cn-gacc")) -> bytes:
    data = Register.of_genesis(network.genesis).change(steps).text().encode()
    for name in signers:
        data = sign_change(data, network.registrars[name], network.genesis)
    return data


def test_a_change_is_read_as_it_was_written() -> None:
    steps = (RaftStep(Action.ADD_VOTER, "k3", "kz"), RaftStep(Action.REMOVE, "c1"), RaftStep(Action.ADD_WITNESS, "w1"))
    read = read_change(encode_change(ConfigurationChange(steps, b"signed")))
    assert [(step.action, step.member, step.authority) for step in read.steps] == [
        (int(step.action), step.member, step.authority or "") for step in steps
    ]
    assert read.note == b"signed"
    assert read_change(encode_change(ConfigurationChange(()))).steps == ()


@pytest.mark.parametrize(
    ("signers", "missing"),
    [
        (("kz-kgd", "cn-gacc"), set()),
        (("kz-kgd",), {"cn-gacc"}),
        (("cn-gacc",), {"kz-kgd"}),
    ],
)
def test_whose_signature_is_missing_is_found_without_the_verifier(signers: tuple[str, ...], missing: set[str]) -> None:
    data = note(CORRIDOR, CORRIDOR.newcomers["kz-kgd-3"], signers=signers)
    assert unsigned_by(CORRIDOR.genesis, data) == missing


def test_a_signature_of_another_text_is_none() -> None:
    data = note(CORRIDOR, CORRIDOR.newcomers["kz-kgd-3"]).replace(b"kz-kgd-3", b"kz-kgd-9")
    assert unsigned_by(CORRIDOR.genesis, data) == {"kz-kgd", "cn-gacc"}


def test_what_is_said_and_what_is_done_agree_for_what_the_leader_proposes() -> None:
    register = Register.of_genesis(CORRIDOR.genesis)
    steps = (CORRIDOR.newcomers["kz-kgd-3"], SignedStep(Verb.DEMOTE, "cn-gacc-2"), SignedStep(Verb.REMOVE, "kz-kgd-2"))
    change = register.change(steps)
    read = read_change(encode_change(change_of(register, change, note(CORRIDOR, *steps))))
    before = at_genesis(CORRIDOR.genesis, CORRIDOR.parties).incoming
    assert what_is_said(read) == what_is_done(read, before)
    assert what_is_said(read) == {("add", "kz-kgd-3"), ("demote", "cn-gacc-2"), ("remove", "kz-kgd-2")}


@pytest.mark.parametrize("holders", range(1 << len(NAMES)))
def test_who_may_commit_is_what_the_rule_of_the_core_allows(holders: int) -> None:
    """Two implementations, every set of disks; one authority has a voter, an observer and the other's two beside it."""
    roles = {"k1": "voter", "k2": "observer", "c1": "voter", "c2": "voter", "w1": "witness"}
    members = Members(roles, PARTIES)
    core = Configuration({"k1": "kz", "c1": "cn", "c2": "cn"}, frozenset(["w1"]), frozenset(["k2"]))
    present = {name for bit, name in enumerate(NAMES) if holders >> bit & 1}
    assert members.may_commit(present) == (core.committed_index(dict.fromkeys(present, 1)) == 1)
    other = Members({**roles, "k1": "observer", "k2": "voter"}, PARTIES)
    both = InForce(members, other)
    assert both.may_commit(present) == (members.may_commit(present) and other.may_commit(present))

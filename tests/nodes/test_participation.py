"""By whose signatures a validator believes what is ahead of its own log after several changes."""

from __future__ import annotations

from collections.abc import Sequence

from consensus import Membership, enter
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.cosignature import cosign
from ledger.membership import Register, Role, Step, Verb, newcomer, verify_change
from ledger.note import COSIGNATURE_V1, Note, NoteSigner, VerifierKey, format_note, format_vkey, parse_note
from ledger.policy import Policy
from ledger.store import MemoryStore
from nodes.cosigning import Finality
from nodes.membership import Roster, change_of, configuration_of
from nodes.participation import Participation
from tests.nodes.test_lying_authority import participation, wanting
from tests.nodes.test_membership import Log
from tests.nodes.world import ORIGIN

NOW_S = 1_800_000_000
AUTHORITIES = ("kz-kgd", "cn-gacc")


class Renewed:
    """All validators of both sides replaced, twice: a roster that has been shown it, and their keys."""

    def __init__(self) -> None:
        self.log = Log()
        self.cosigners = dict(self.log.world.cosigners)
        for number in (3, 4):
            self.cosigners |= {f"{authority}-{number}": NoteSigner.generate() for authority in AUTHORITIES}
        self.roster = Roster(self.log.genesis, MemoryStore())
        register = self.log.register
        self.notes: list[bytes] = []
        for steps in (
            [self._add(authority, number) for authority in AUTHORITIES for number in (3, 4)],
            self._replace(register, 3),
            self._replace(None, 4, leaving=3),
        ):
            change = register.change(steps)
            self.notes.append(self.log.note(change))
            register = register.after(change)
        self.roster.learn(self.notes)

    def _add(self, authority: str, number: int) -> Step:
        name = f"{authority}-{number}"
        key = format_vkey(VerifierKey(name, COSIGNATURE_V1, self.cosigners[name].public_key))
        return newcomer(name, authority, f"{authority}:{number}", key)

    def _replace(self, register: Register | None, number: int, leaving: int = 0) -> list[Step]:
        leave = (
            [member.name for member in register.of(Role.VOTER)]
            if register is not None
            else [f"{authority}-{leaving}" for authority in AUTHORITIES]
        )
        come = [Step(Verb.PROMOTE, f"{authority}-{number}") for authority in AUTHORITIES]
        return [*come, *(Step(Verb.REMOVE, name) for name in leave)]

    def participation(self, each: str) -> Participation:
        genesis = self.log.genesis
        return participation(wanting(each, genesis), self.roster, genesis)

    def note(self, *names: str) -> bytes:
        checkpoint = Checkpoint(ORIGIN, 5, bytes(range(32)))
        log_keys = self.log.world.log_keys
        logs = [log_signature(log_keys[authority], checkpoint) for authority in AUTHORITIES]
        lines = [cosign(self.cosigners[name], name, checkpoint, NOW_S) for name in names]
        return format_note(Note(checkpoint_body(checkpoint), (*logs, *lines)))


def satisfied(policies: Sequence[Policy], note: bytes) -> list[bool]:
    return [policy.check(parse_note(note)).satisfied for policy in policies]


def test_a_snapshot_is_final_by_the_members_of_any_one_time_that_is_known() -> None:
    renewed = Renewed()
    policies = renewed.participation("any").policies_of_snapshots()
    by_number = {
        # of genesis, and after the change that only let observers in
        ("kz-kgd-1", "cn-gacc-2"): [True, True, False, False],
        ("kz-kgd-3", "cn-gacc-3"): [False, False, True, False],
        ("kz-kgd-4", "cn-gacc-4"): [False, False, False, True],
        # of two times, or of one side
        ("kz-kgd-1", "cn-gacc-4"): [False] * 4,
        ("kz-kgd-4", "cn-gacc-3"): [False] * 4,
        ("kz-kgd-3",): [False] * 4,
    }
    assert {names: satisfied(policies, renewed.note(*names)) for names in by_number} == by_number


def test_where_several_of_a_side_are_wanted_they_are_of_one_time_too() -> None:
    renewed = Renewed()
    policies = renewed.participation("2").policies_of_snapshots()
    both = ("kz-kgd-1", "kz-kgd-2", "cn-gacc-1", "cn-gacc-2")
    assert satisfied(policies, renewed.note(*both))[:2] == [True, True]
    assert satisfied(policies, renewed.note("kz-kgd-1", "cn-gacc-1")) == [False] * 4


def test_a_validator_starts_with_a_note_of_members_that_its_order_has_not_come_to_yet() -> None:
    """It came with a snapshot; the order that the snapshot goes with begins before the changes."""
    renewed = Renewed()
    part = renewed.participation("any")
    note = renewed.note("kz-kgd-3", "cn-gacc-3")
    assert Finality(renewed.log.genesis, part.policy_of_note(note), note, part.ever()).final_size == 5


def test_who_has_not_left_a_joint_configuration_believes_a_snapshot_of_those_who_have() -> None:
    renewed = Renewed()
    log, roster = renewed.log, Roster(renewed.log.genesis, MemoryStore())
    register = log.register
    for number, note in enumerate(renewed.notes[:2], 1):
        before, register = register, register.after(verify_change(register, note))
        change = change_of(before, verify_change(before, note), note)
        roster.appended([log.entry(number, change)])
    assert roster.record(2)
    roster.in_force(enter(Membership(configuration_of(before)), change))
    part = participation(wanting("any", log.genesis), roster, log.genesis)
    assert roster.joint
    assert roster.voters().keys() == {member.name for member in before.of(Role.VOTER)}
    assert satisfied(part.policies_of_snapshots(), renewed.note("kz-kgd-3", "cn-gacc-3")) == [False, True]

"""The register on one validator: it follows the log entry by entry, and a leader that lies gets nothing past it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from consensus import (
    Action,
    Configuration,
    ConfigurationChange,
    Entry,
    EntryType,
    Membership,
    MessageRefused,
    encode_change,
    enter,
)
from consensus import Step as RaftStep
from ledger.algorithms import PrivateKey
from ledger.errors import LedgerError, UnknownDurableState
from ledger.membership import Change, Register, Role, Step, Verb, ca_credential, newcomer, sign_change, signer_key
from ledger.note import COSIGNATURE_V1, NoteSigner, VerifierKey, format_vkey
from ledger.store import MemoryStore
from nodes.membership import Roster, change_of, configuration_of
from tests.nodes.world import World


class Log:
    """Both registrars, and the order as a leader would make it."""

    def __init__(self) -> None:
        self.world = World()
        self.genesis = self.world.genesis
        self.register = Register.of_genesis(self.genesis)

    def note(self, change: Change, *names: str) -> bytes:
        data = change.text().encode()
        for name in names or self.world.registrars:
            data = sign_change(data, self.world.registrars[name], self.genesis)
        return data

    def add(self, name: str = "kz-kgd-3", port: int = 1) -> Step:
        key = format_vkey(VerifierKey(name, COSIGNATURE_V1, NoteSigner.generate().public_key))
        return newcomer(name, "kz-kgd", f"h:{port}", key)

    def change(self, *steps: Step, on: Register | None = None, signers: Sequence[str] = ()) -> ConfigurationChange:
        register = on or self.register
        change = register.change(steps)
        return change_of(register, change, self.note(change, *signers))

    def entry(self, index: int, change: ConfigurationChange) -> Entry:
        return Entry(1, index, EntryType.CONFIGURATION, encode_change(change))


@pytest.fixture
def log() -> Log:
    return Log()


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(MessageRefused) as error:
        call()
    return str(error.value)


def after(log: Log, change: ConfigurationChange) -> Register:
    roster = Roster(log.genesis, MemoryStore())
    roster.appended([log.entry(1, change)])
    return roster.register


def test_a_change_counts_when_it_is_appended_and_no_longer_when_it_is_cut_off(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    assert roster.appended([log.entry(5, log.change(log.add()))])
    assert roster.register.members["kz-kgd-3"].role is Role.OBSERVER
    assert roster.committed.number == 0
    assert roster.appended([Entry(2, 5)])
    assert roster.register.number == 0


def test_what_is_committed_is_on_record_and_found_again_without_the_log(log: Log) -> None:
    store = MemoryStore()
    roster = Roster(log.genesis, store)
    change = log.change(log.add())
    roster.appended([log.entry(5, change)])
    assert not roster.record(4)
    assert Roster(log.genesis, store).register.number == 0
    assert roster.record(5)
    again = Roster(log.genesis, store)
    assert (again.register.digest, again.index, again.notes(0)) == (roster.register.digest, 5, [change.authorisation])
    again.replay(9, Membership(configuration_of(again.register)), [])
    with pytest.raises(UnknownDurableState, match="the records say"):
        again.replay(9, Membership(configuration_of(log.register)), [])


def test_changes_that_are_still_in_the_log_are_replayed_at_a_start(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    first = log.change(log.add())
    roster.replay(1, Membership(configuration_of(log.register)), [log.entry(3, first)])
    assert roster.register.number == 1
    assert roster.at(2).number == 0
    assert roster.at(3).number == 1


def test_a_record_that_was_altered_stops_the_start(log: Log) -> None:
    store = MemoryStore()
    roster = Roster(log.genesis, store)
    roster.appended([log.entry(5, log.change(log.add()))])
    roster.record(5)
    key, value = next(iter(store.iterate(b"m/", b"m0")))
    store.write({key: value.replace(b"h:1", b"h:2")}, sync=True)
    with pytest.raises(UnknownDurableState, match="does not hold"):
        Roster(log.genesis, store)


@pytest.mark.parametrize("names", [["kz-kgd"], ["cn-gacc"]])
def test_a_follower_takes_no_change_that_one_authority_alone_has_signed(log: Log, names: list[str]) -> None:
    roster = Roster(log.genesis, MemoryStore())
    change = log.change(log.add(), signers=names)
    assert "signature_missing" in refused(lambda: roster.offered(0, [log.entry(1, change)]))
    assert "signature_missing" in refused(lambda: roster.authorise(change, Membership(configuration_of(log.register))))


def test_a_follower_takes_no_steps_but_those_that_were_signed(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    good = log.change(log.add())
    more = replace(good, steps=(*good.steps, RaftStep(Action.REMOVE, "kz-kgd-1", None)))
    voter = replace(good, steps=(RaftStep(Action.ADD_VOTER, "kz-kgd-3", "kz-kgd"),))
    none = replace(good, authorisation=b"")
    for forged in (more, voter, none):
        refused(lambda forged=forged: roster.offered(0, [log.entry(1, forged)]))  # type: ignore[misc]
        refused(lambda forged=forged: roster.authorise(forged, Membership(configuration_of(log.register))))  # type: ignore[misc]
    roster.offered(0, [log.entry(1, good)])
    roster.authorise(good, Membership(configuration_of(log.register)))


def test_an_old_change_is_not_taken_again_even_where_the_members_are_the_same_again(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    demote, promote = Step(Verb.DEMOTE, "kz-kgd-2"), Step(Verb.PROMOTE, "kz-kgd-2")
    first = log.change(demote)
    second = log.change(promote, on=after(log, first))
    roster.appended([log.entry(1, first), log.entry(2, second)])
    assert configuration_of(roster.register) == configuration_of(log.register)
    # Consensus sees the same members; the place in the log is what tells.
    assert "out_of_turn" in refused(lambda: roster.offered(2, [log.entry(3, first)]))
    # Where it replaces the tail from there on, it is in its place.
    roster.offered(0, [log.entry(1, first), log.entry(2, second)])


def test_several_changes_in_one_append_are_each_seen_in_their_place(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    first = log.change(log.add())
    second = log.change(Step(Verb.PROMOTE, "kz-kgd-3"), on=after(log, first))
    roster.offered(0, [log.entry(1, first), Entry(1, 2, data=b"x"), log.entry(3, second)])
    members = Membership(configuration_of(log.register))
    roster.authorise(first, members)
    roster.authorise(second, enter(members, first))
    assert "out_of_turn" in refused(lambda: roster.offered(0, [log.entry(1, second)]))


def test_notes_from_a_peer_tell_who_is_there_and_who_was_removed(log: Log) -> None:
    store = MemoryStore()
    roster = Roster(log.genesis, store)
    first = log.change(log.add())
    second = log.change(Step(Verb.REMOVE, "kz-kgd-2"), on=after(log, first))
    assert roster.learn([first.authorisation, second.authorisation])
    assert not roster.learn([first.authorisation])
    assert "kz-kgd-3" in roster.known()
    assert roster.register.number == 0, "what is shown is not in force"
    assert "kz-kgd-3" in Roster(log.genesis, store).known(), "and it is kept"


def test_a_change_that_was_signed_and_never_ordered_removes_nobody_whatever_one_side_shows(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    removal = log.change(Step(Verb.REMOVE, "kz-kgd-2")).authorisation
    assert roster.learn([removal], "cn-gacc-1")
    assert not roster.learn([removal], "cn-gacc-2")
    assert roster.removed("kz-kgd-2") is None, "one authority may lie, with all its machines"
    assert roster.learn([removal], "kz-kgd-1"), "that it counts as committed from now on is news"
    assert roster.removed("kz-kgd-2") == 1


def test_since_when_somebody_is_an_observer_is_known_unless_it_ever_was_more(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    add = log.change(log.add())
    roster.appended([log.entry(5, add)])
    assert roster.observer_since("kz-kgd-3") == 5
    promote = log.change(Step(Verb.PROMOTE, "kz-kgd-3"), on=roster.register)
    roster.appended([log.entry(7, promote)])
    assert roster.observer_since("kz-kgd-3") is None
    roster.appended([log.entry(9, log.change(Step(Verb.DEMOTE, "kz-kgd-3"), on=roster.register))])
    assert roster.observer_since("kz-kgd-3") is None, "it had a vote, so it was heard"
    assert roster.observer_since("kz-kgd-1") is None
    assert roster.observer_since("stranger") is None


def test_what_a_stranger_or_our_own_folder_shows_vouches_for_nothing(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    removal = log.change(Step(Verb.REMOVE, "kz-kgd-2")).authorisation
    roster.learn([removal], "cn-gacc-1")
    roster.learn([removal])
    roster.learn([removal], "kz-kgd-77")
    assert roster.removed("kz-kgd-2") is None


def test_of_two_changes_for_one_place_the_one_that_was_ordered_is_gone_by_though_a_liar_was_first(log: Log) -> None:
    """Both are signed by all: one lost the race, and a peer that lies shows it for the one that won."""
    store = MemoryStore()
    roster = Roster(log.genesis, store)
    lost, won = log.change(log.add("kz-kgd-8")), log.change(log.add("kz-kgd-9"))
    roster.learn([lost.authorisation], "kz-kgd-2")
    assert "kz-kgd-8" in roster.known()
    roster.learn([won.authorisation], "kz-kgd-1")
    roster.learn([won.authorisation], "cn-gacc-1")
    assert "kz-kgd-9" in roster.known()
    assert "kz-kgd-8" not in roster.known()
    assert not roster.learn([lost.authorisation], "kz-kgd-2"), "it may say so again"
    again = Roster(log.genesis, store)
    assert "kz-kgd-9" in again.known()
    again.anchor(40, 1)
    assert again.committed.members.keys() == after(log, won).members.keys()


def test_a_longer_fork_that_only_a_liar_shows_does_not_hide_the_shorter_one_that_was_ordered(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    lost, won = log.change(log.add("kz-kgd-8")), log.change(log.add("kz-kgd-9"))
    more = log.change(Step(Verb.REMOVE, "kz-kgd-2"), on=after(log, lost))
    roster.learn([lost.authorisation, more.authorisation], "kz-kgd-1")
    for peer in ("cn-gacc-1", "kz-kgd-2"):
        roster.learn([won.authorisation], peer)
    assert roster.newest_number == 1
    assert "kz-kgd-9" in roster.known()


def test_a_snapshot_brings_the_register_to_its_place(log: Log) -> None:
    store = MemoryStore()
    roster = Roster(log.genesis, store)
    first = log.change(log.add())
    roster.learn([first.authorisation])
    roster.anchor(40, 1)
    roster.replay(41, Membership(configuration_of(after(log, first))), [])
    assert (roster.register.number, roster.index, roster.committed.number) == (1, 40, 1)
    again = Roster(log.genesis, store)
    assert (again.register.number, again.index) == (1, 40)
    with pytest.raises(UnknownDurableState, match="not all are on record"):
        again.anchor(50, 2)


def test_a_neutral_party_whose_ca_is_no_certificate_is_not_let_in(log: Log) -> None:
    roster = Roster(log.genesis, MemoryStore())
    change = log.change(newcomer("harbour-1", "harbour-trust", "h:9", ca_credential(b"no certificate")))
    assert "bad_certificate" in refused(lambda: roster.offered(0, [log.entry(1, change)]))


def test_consensus_knows_voters_witnesses_and_learners_of_the_register(log: Log) -> None:
    assert configuration_of(log.register) == Configuration(
        {f"{name}-{number}": name for name in ("kz-kgd", "cn-gacc") for number in (1, 2)}
    )


def test_a_new_voter_makes_nothing_final_before_its_change_is_committed(log: Log) -> None:
    """Cut off again, it would have cosigned as somebody who never had a vote: no policy would ever hold for that."""
    roster = Roster(log.genesis, MemoryStore())
    first = log.change(log.add())
    register = after(log, first)
    second = log.change(Step(Verb.PROMOTE, "kz-kgd-3"), Step(Verb.DEMOTE, "kz-kgd-1"), on=register)
    before = Membership(configuration_of(register))
    roster.appended([log.entry(1, first)])
    roster.record(1)
    roster.appended([log.entry(2, second)])
    roster.in_force(enter(before, second))
    assert roster.register.members["kz-kgd-3"].role is Role.VOTER
    assert "kz-kgd-3" not in roster.voters()
    assert "kz-kgd-1" in roster.voters()
    roster.record(2)
    assert roster.joint
    voters = {member.name for member in register.of(Role.VOTER)}
    assert roster.voters().keys() == voters, "a note of some of both sides would be final by no register either"
    roster.in_force(Membership(configuration_of(roster.register)))
    assert roster.voters().keys() == voters - {"kz-kgd-1"} | {"kz-kgd-3"}


def test_who_lacks_hundreds_of_changes_is_shown_all_of_them(log: Log) -> None:
    """By some of them no snapshot could be placed, and the next change not be proposed."""
    told, shown = Roster(log.genesis, MemoryStore()), Roster(log.genesis, MemoryStore())
    register = log.register
    for number in range(1, 301):
        step = Step(Verb.DEMOTE if number % 2 else Verb.PROMOTE, "kz-kgd-2")
        told.appended([log.entry(number, log.change(step, on=register))])
        register = told.register
    told.record(300)
    assert shown.learn(told.notes(0))
    assert not shown.learn(told.notes(0))
    shown.anchor(1000, 300)
    assert shown.committed.digest == register.digest


def test_what_a_snapshot_is_to_rest_on_survives_a_power_cut(log: Log) -> None:
    """The snapshot is on the disk when the order is opened again, and nobody shows the changes before that."""

    class PowerCut(MemoryStore):
        def write(self, batch: Mapping[bytes, bytes | None], sync: bool = True) -> None:
            if sync:
                super().write(batch, sync)

    store = PowerCut()
    Roster(log.genesis, store).learn([log.change(log.add()).authorisation])
    again = Roster(log.genesis, store)
    again.anchor(40, 1)
    assert again.committed.number == 1


def test_a_key_that_a_change_let_sign_signs_the_next_one_in_the_log_over_a_restart_and_from_a_peer(log: Log) -> None:
    deputy = PrivateKey.generate()
    signer = signer_key("kz-kgd/deputy", deputy.public.cose_key)
    first = log.change(log.add(), Step(Verb.TRUST, "kz-kgd", signer=signer))
    assert [step.member for step in first.steps] == ["kz-kgd-3"]  # who signs is nothing to the order
    register = after(log, first)
    change = register.change([Step(Verb.REMOVE, "kz-kgd-3")])
    note = change.text().encode()
    for key in (deputy, log.world.registrars["cn-gacc"]):
        note = sign_change(note, key, register)
    store = MemoryStore()
    roster = Roster(log.genesis, store)
    roster.appended([log.entry(1, first), log.entry(2, change_of(register, change, note))])
    roster.record(2)
    assert Roster(log.genesis, store).committed.digest == roster.committed.digest == register.after(change).digest
    newcomer_roster = Roster(log.genesis, MemoryStore())
    newcomer_roster.learn([first.authorisation, note])
    assert newcomer_roster.newest_number == 2
    # The same signatures under the register of genesis are nothing.
    alone = log.register.change([Step(Verb.REMOVE, "kz-kgd-2")])
    by_deputy = sign_change(alone.text().encode(), log.world.registrars["cn-gacc"], log.register)
    forged = b"".join([by_deputy, note.splitlines(keepends=True)[-2]])
    with pytest.raises(LedgerError):
        newcomer_roster.learn([forged], "cn-gacc-1")

"""The simulation finds nothing in the code as it is, and finds every bug that is planted in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest

from consensus import Action, ChangeRefused, ConfigurationChange, enter, leave
from consensus.configuration import ConfigurationHistory
from consensus.leadership import Leadership
from consensus.log import Log
from consensus.messages import Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata
from consensus.quorum import Configuration, Membership
from consensus.raft import Raft
from consensus.reads import ReadRounds, Reads
from consensus.storage import MemoryStorage
from tests.consensus.simulation import DEFAULT_STEPS, Simulation, Violation

SEEDS = 60


def test_no_invariant_breaks_over_many_seeds() -> None:
    totals: Counter[str] = Counter()
    for seed in range(SEEDS):
        simulation = Simulation(seed)
        simulation.run(DEFAULT_STEPS)
        totals.update(simulation.counts())
    # A simulation in which nothing happens finds nothing.
    assert totals["committed"] > 12 * SEEDS
    assert totals["restarts"] > 4 * SEEDS
    assert totals["leaders"] > 2 * SEEDS
    assert totals["changes"] > SEEDS / 2
    assert totals["joint"] > SEEDS / 10
    assert totals["reads"] > 4 * SEEDS


def test_a_seed_gives_the_same_run_twice() -> None:
    runs = []
    for _ in range(2):
        simulation = Simulation(11)
        simulation.run(DEFAULT_STEPS)
        world = simulation.world
        runs.append((world.committed, world.leaders, list(simulation.trace), world.digests, simulation.counts()))
    assert runs[0] == runs[1]


# Planted bugs: each replaces one thing in the code by the mistake that a tired programmer makes there.


def forget_the_vote() -> object:
    def set_hard_state(self: MemoryStorage, hard_state: HardState) -> None:
        self.hard_state = HardState(hard_state.term, None, hard_state.commit)

    return patch.object(MemoryStorage, "set_hard_state", set_hard_state)


def send_before_sync(*kinds: MessageType) -> object:
    original = Raft.send

    def send(self: Raft, message: Message) -> None:
        if message.type in kinds:
            self.outbox.append(message)
        else:
            original(self, message)

    return patch.object(Raft, "send", send)


def commit_by_majority_alone() -> object:
    def committed_index(self: Configuration, match: dict[str, int]) -> int:
        return sorted((match.get(elector, 0) for elector in self.electors), reverse=True)[self.majority - 1]

    return patch.object(Configuration, "committed_index", committed_index)


def commit_by_half() -> object:
    def committed_index(self: Configuration, match: dict[str, int]) -> int:
        half = (len(self.electors) + 1) // 2
        majority = sorted((match.get(elector, 0) for elector in self.electors), reverse=True)[half - 1]
        return min(majority, *(max(match.get(member, 0) for member in ids) for ids in self.authorities.values()))

    return patch.object(Configuration, "committed_index", committed_index)


def count_old_terms() -> object:
    def maybe_commit(self: Leadership) -> bool:
        log = self._raft.log
        index = self._raft.membership.committed_index(self._match)
        if index <= log.committed:
            return False
        log.committed = index
        return True

    return patch.object(Leadership, "_maybe_commit", maybe_commit)


def count_own_disk_before_sync() -> object:
    original = Leadership._append

    def append(self: Leadership, datas: list[bytes], kind: EntryType = EntryType.NORMAL) -> None:
        original(self, datas, kind)
        self._match[self._raft.id] = self._raft.log.last_index

    return patch.object(Leadership, "_append", append)


def vote_for_any_log() -> object:
    return patch.object(Log, "is_up_to_date", lambda self, last_index, last_term: True)


def cut_the_log_at_every_append() -> object:
    return patch.object(Log, "first_conflict", lambda self, entries: 0)


def follow_any_commit_index() -> object:
    original = Raft._on_append

    def on_append(self: Raft, message: Message) -> None:
        original(self, message)
        self.log.committed = max(self.log.committed, min(message.commit, self.log.last_index))

    return patch.object(Raft, "_on_append", on_append)


def skip_the_consistency_check() -> object:
    return patch.object(Log, "matches", lambda self, index, term: index <= self.last_index)


def apply_what_is_not_on_disk() -> object:
    def appliable(self: Log, max_bytes: int) -> tuple[Entry, ...]:
        if self.pending_snapshot is not None or self.committed <= self.applied:
            return ()
        return self.slice(self.applied + 1, self.committed + 1, max_bytes)

    return patch.object(Log, "appliable", appliable)


def send_the_whole_commit_index_with_heartbeats() -> object:
    def broadcast_heartbeat(self: Leadership) -> None:
        raft = self._raft
        for member in self.progress:
            raft.send(Message(MessageType.HEARTBEAT, member, raft.id, raft.term, commit=raft.log.committed))

    return patch.object(Leadership, "broadcast_heartbeat", broadcast_heartbeat)


def never_probe_again() -> object:
    def on_heartbeat_response(self: Leadership, message: Message) -> None:
        self.progress[message.sender].heard_tick = self._tick

    return patch.object(Leadership, "on_heartbeat_response", on_heartbeat_response)


def never_pass_on_what_a_halted_node_has() -> object:
    def promotable(self: Raft) -> bool:
        return self.id in self.membership.electors and self.log.pending_snapshot is None and not self.passive

    return patch.object(Raft, "promotable", property(promotable))


def keep_leading_when_nobody_takes_over() -> object:
    original = Leadership.tick

    def tick(self: Leadership) -> None:
        raft = self._raft
        passive, raft.passive = raft.passive, False
        original(self)
        raft.passive = passive

    return patch.object(Leadership, "tick", tick)


def propose_without_limit() -> object:
    return patch.object(Log, "uncommitted_bytes", 0)


# Of changes of the membership (thesis chapter 4).


def change_before_an_entry_of_the_own_term_is_committed() -> object:
    """The erratum to section 4.2: two leaders in turn, each with a change that the other does not know of."""
    original = Leadership.propose_change

    def propose_change(self: Leadership, change: ConfigurationChange) -> int:
        opened, self._opened = self._opened, True
        try:
            return original(self, change)
        finally:
            self._opened = opened

    return patch.object(Leadership, "propose_change", propose_change)


def change_while_a_change_is_under_way() -> object:
    return patch.object(Raft, "change_pending", property(lambda self: False))


def commit_a_change_by_what_was_before_it() -> object:
    def maybe_commit(self: Leadership) -> bool:
        raft = self._raft
        log = raft.log
        before = raft.history.previous if raft.change_pending else raft.membership
        index = before.committed_index(self._match)
        if index <= log.committed or log.term(index) != raft.term:
            return False
        log.committed = index
        return True

    return patch.object(Leadership, "_maybe_commit", maybe_commit)


def keep_a_change_that_was_cut_off() -> object:
    return patch.object(ConfigurationHistory, "truncate", lambda self, last_index: None)


def forget_changes_at_a_restart() -> object:
    def read_history(storage: MemoryStorage, membership: Membership) -> ConfigurationHistory:
        return ConfigurationHistory(storage.first_index() - 1, membership)

    return patch("consensus.raft._read_history", read_history)


def forget_changes_that_are_compacted() -> object:
    original = MemoryStorage.compact

    def compact(self: MemoryStorage, index: int) -> None:
        membership = self._membership
        original(self, index)
        self._membership = membership

    return patch.object(MemoryStorage, "compact", compact)


def snapshots_with_the_membership_of_today() -> object:
    original = MemoryStorage.create_snapshot

    def create_snapshot(self: MemoryStorage, index: int, data: bytes) -> Snapshot:
        snapshot = original(self, index, data)
        metadata = SnapshotMetadata(index, snapshot.metadata.term, self.membership(self.last_index()))
        self._snapshot = Snapshot(metadata, data)
        return self._snapshot

    return patch.object(MemoryStorage, "create_snapshot", create_snapshot)


def count_only_the_new_half() -> object:
    return patch.multiple(
        Membership,
        committed_index=lambda self, match: self.incoming.committed_index(match),
        vote_result=lambda self, votes: self.incoming.vote_result(votes),
    )


def never_leave_a_joint_configuration() -> object:
    original = Leadership._append_change

    def append_change(self: Leadership, change: ConfigurationChange, after: Membership) -> None:
        if change.steps:
            original(self, change, after)

    return patch.object(Leadership, "_append_change", append_change)


def enter_by(wrong: Callable[[Membership, ConfigurationChange], Membership]) -> object:
    """The leader and its followers make the same mistake."""

    def apply_change(membership: Membership, change: ConfigurationChange) -> Membership:
        return wrong(membership, change) if change.steps else leave(membership)

    return patch("consensus.leadership.enter", wrong), patch("consensus.raft.apply_change", apply_change)


def several_steps_at_once_without_a_joint_configuration() -> object:
    return enter_by(lambda membership, change: Membership(enter(membership, change).incoming))


def leave_an_authority_without_a_voter() -> object:
    def wrong(membership: Membership, change: ConfigurationChange) -> Membership:
        try:
            return enter(membership, change)
        except ChangeRefused as error:
            voters = dict(membership.incoming.voters)
            if error.code != "authority_without_voter" or len(change.steps) > 1 or len(voters) == 1:
                raise
            member = change.steps[0].member
            del voters[member]
            gone = change.steps[0].action is Action.REMOVE
            learners = membership.incoming.learners | (set() if gone else {member})
            return Membership(Configuration(voters, membership.incoming.witnesses, learners))

    return enter_by(wrong)


def let_whoever_is_removed_campaign() -> object:
    return patch.object(Raft, "promotable", property(lambda self: self.log.pending_snapshot is None))


def go_on_leading_when_removed() -> object:
    def complete_change(self: Leadership) -> None:
        self._follow_membership(heard_tick=self._tick)

    return patch.object(Leadership, "_complete_change", complete_change)


# Of reads (section 6.4).


def answer_reads_without_asking_anybody() -> object:
    original = ReadRounds.confirm

    def confirm(self: ReadRounds) -> None:
        for member in self._raft.membership.electors:
            self._heard[member] = self._round
        original(self)

    return patch.object(ReadRounds, "confirm", confirm)


def answer_reads_before_an_entry_of_the_own_term_is_committed() -> object:
    original = ReadRounds.ask

    def ask(self: ReadRounds, asker: str, context: bytes, tick: int, *, opened: bool) -> bool:
        return original(self, asker, context, tick, opened=True)

    return patch.object(ReadRounds, "ask", ask)


def answer_reads_from_what_the_follower_knows() -> object:
    def on_read_index(self: Raft, message: Message) -> None:
        index, answer = self.log.committed, MessageType.READ_INDEX_RESPONSE
        self.send(Message(answer, message.sender, self.id, self.term, index=index, context=message.context))

    return patch.object(Raft, "_on_read_index", on_read_index)


def forget_reads_when_the_leader_changes() -> object:
    return patch.object(Reads, "drop_all", lambda self, reason: self._waiting.clear())


ACK = MessageType.APPEND_RESPONSE
VOTE = MessageType.VOTE
GRANT = MessageType.VOTE_RESPONSE

# The bug, the seed to begin with, and the number of seeds within which it must be found. The rare ones begin near the
# seed that finds them today, to keep the suite short; any change to the core moves that seed, hence the number.
PLANTED: list[tuple[str, Callable[[], object], int, int]] = [
    ("forget_the_vote", forget_the_vote, 0, 250),
    ("acknowledge_before_sync", lambda: send_before_sync(ACK), 0, 250),
    ("grant_before_sync", lambda: send_before_sync(GRANT), 100, 250),
    ("ask_for_votes_before_sync", lambda: send_before_sync(VOTE), 70, 250),
    ("commit_by_majority_alone", commit_by_majority_alone, 0, 250),
    ("commit_by_half", commit_by_half, 0, 250),
    ("count_old_terms", count_old_terms, 0, 250),
    ("count_own_disk_before_sync", count_own_disk_before_sync, 45, 250),
    ("vote_for_any_log", vote_for_any_log, 0, 250),
    ("cut_the_log_at_every_append", cut_the_log_at_every_append, 0, 250),
    ("follow_any_commit_index", follow_any_commit_index, 0, 250),
    ("skip_the_consistency_check", skip_the_consistency_check, 0, 250),
    ("apply_what_is_not_on_disk", apply_what_is_not_on_disk, 0, 250),
    ("send_the_whole_commit_index", send_the_whole_commit_index_with_heartbeats, 0, 250),
    ("never_probe_again", never_probe_again, 0, 250),
    ("never_pass_on_what_a_halted_node_has", never_pass_on_what_a_halted_node_has, 195, 250),
    ("propose_without_limit", propose_without_limit, 0, 250),
    ("keep_leading_when_nobody_takes_over", keep_leading_when_nobody_takes_over, 0, 250),
    ("change_while_a_change_is_under_way", change_while_a_change_is_under_way, 0, 250),
    ("commit_a_change_by_what_was_before_it", commit_a_change_by_what_was_before_it, 0, 250),
    ("keep_a_change_that_was_cut_off", keep_a_change_that_was_cut_off, 0, 250),
    ("forget_changes_at_a_restart", forget_changes_at_a_restart, 0, 250),
    ("forget_changes_that_are_compacted", forget_changes_that_are_compacted, 0, 250),
    ("snapshots_with_the_membership_of_today", snapshots_with_the_membership_of_today, 45, 250),
    ("count_only_the_new_half", count_only_the_new_half, 25, 250),
    ("never_leave_a_joint_configuration", never_leave_a_joint_configuration, 0, 250),
    ("several_steps_at_once", several_steps_at_once_without_a_joint_configuration, 0, 250),
    ("leave_an_authority_without_a_voter", leave_an_authority_without_a_voter, 0, 250),
    ("let_whoever_is_removed_campaign", let_whoever_is_removed_campaign, 0, 250),
    ("go_on_leading_when_removed", go_on_leading_when_removed, 0, 250),
    ("answer_reads_without_asking_anybody", answer_reads_without_asking_anybody, 0, 250),
    ("answer_reads_before_the_term_is_open", answer_reads_before_an_entry_of_the_own_term_is_committed, 0, 250),
    ("answer_reads_from_what_the_follower_knows", answer_reads_from_what_the_follower_knows, 0, 250),
    ("forget_reads_when_the_leader_changes", forget_reads_when_the_leader_changes, 0, 250),
]


@contextmanager
def planted(bug: object) -> Iterator[None]:
    with ExitStack() as stack:
        for one in bug if isinstance(bug, tuple) else (bug,):
            stack.enter_context(one)
        yield


def first_violation(seed: int) -> str:
    try:
        Simulation(seed).run(DEFAULT_STEPS)
    except Violation as violation:
        return str(violation)
    return ""


@pytest.mark.parametrize(
    ("bug", "first", "within"), [planted[1:] for planted in PLANTED], ids=[planted[0] for planted in PLANTED]
)
def test_a_planted_bug_is_found(bug: Callable[[], object], first: int, within: int) -> None:
    with planted(bug()):
        for seed in range(first, first + within):
            found = first_violation(seed)
            if found:
                assert f"--seed {seed} " in found
                return
    pytest.fail(f"not found within {within} seeds from {first} on")

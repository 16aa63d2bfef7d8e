"""Planted bugs: each makes a validator wrong in one known way, and the simulator has to find it.

A bug is a patch of the real code for the time of a run, of all validators alike, and says in how many seeds it is to be
found at most and which invariants may be the ones to find it. One that is not found means that the simulator is not
done.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from consensus.leadership import Leadership
from consensus.log import Log
from consensus.messages import Entry, EntryType, HardState, Message, MessageType
from consensus.quorum import Configuration, Membership
from consensus.raft import Raft
from consensus.reads import ReadRounds
from ledger.chain import Chain
from ledger.checked import CheckedStore, sealed
from ledger.membership import Member, Signatures
from ledger.snapshot_building import SnapshotBuilder
from ledger.store import StoreUnavailable
from nodes.checking import SignatureChecks
from nodes.cosigning import Cosigner, Finality, Intent
from nodes.divergence import Divergences
from nodes.execution import Accepted, Execution
from nodes.membership import Roster
from nodes.ordering import RaftOrdering
from nodes.proposing import Proposals
from nodes.raft_store import RaftStore
from nodes.validator import Validator
from tests.simulation.simulation import simulate
from tests.simulation.world import S, Violation

Patch = tuple[type, str, Any]
PERSIST = "persist, then answer"
VOTE = "one vote a term"


@dataclass(frozen=True)
class Bug:
    """`seeds`: found within so many. `invariants`: any of these is the finder. `options`: of the simulation."""

    name: str
    patches: Callable[[], list[Patch]]
    seeds: int
    invariants: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What is wrong, for a table that people read."""
        said = (self.patches.__doc__ or "").strip().rstrip(".")
        return said[:1].lower() + said[1:]


BUGS: dict[str, Bug] = {}


def _bug(
    seeds: int, *invariants: str, **options: Any
) -> Callable[[Callable[[], list[Patch]]], Callable[[], list[Patch]]]:
    def add(patches: Callable[[], list[Patch]]) -> Callable[[], list[Patch]]:
        BUGS[patches.__name__] = Bug(patches.__name__, patches, seeds, invariants, options)
        return patches

    return add


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    patches = bug.patches()
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in patches]
    for owner, name, wrong in patches:
        setattr(owner, name, wrong)
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)


@dataclass(frozen=True)
class Found:
    seed: int
    violation: Violation

    @property
    def invariant(self) -> str:
        return self.violation.invariant


def hunt(bug: Bug) -> Found | None:
    """Run seeds 0, 1, ... until an invariant fails, or the bug's own number of seeds is used up."""
    for seed in range(bug.seeds):
        with planted(bug):
            violation = simulate(seed, **bug.options).violation
        if violation is not None:
            return Found(seed, violation)
    return None


def table() -> Iterator[tuple[Bug, Found | None]]:
    for bug in BUGS.values():
        yield bug, hunt(bug)


PAIR = "kz-kgd:2 cn-gacc:2"
UNEVEN = "kz-kgd:3 cn-gacc:2"

# --- the order ------------------------------------------------------------------------------------------------------


def _writes(change: Callable[[Any, HardState | None, Sequence[Entry], bool], tuple[Any, Any, bool]]) -> list[Patch]:
    write = RaftStore.write

    def wrong(
        self: RaftStore, hard_state: HardState | None, entries: Sequence[Entry], *, sync: bool, **more: Any
    ) -> None:
        hard_state, entries, sync = change(self, hard_state, entries, sync)
        write(self, hard_state, entries, sync=sync, **more)

    return [(RaftStore, "write", wrong)]


@_bug(20, VOTE, "election safety")
def vote_not_persisted() -> list[Patch]:
    """A vote is not written down."""

    def change(self: Any, hard: HardState | None, entries: Any, sync: bool) -> tuple[Any, Any, bool]:
        return (dataclasses.replace(hard, vote=None) if hard is not None else None), entries, sync

    return _writes(change)


@_bug(20, "terms never go back", VOTE, "nobody gives up without cause")
def term_not_persisted() -> list[Patch]:
    """The term is not written down."""

    def change(self: Any, hard: HardState | None, entries: Any, sync: bool) -> tuple[Any, Any, bool]:
        kept = dataclasses.replace(hard, term=max(0, hard.term - 1), vote=None) if hard is not None else None
        return kept, entries, sync

    return _writes(change)


@_bug(10, PERSIST, "commit rule")
def acknowledges_before_the_sync() -> list[Patch]:
    """Acknowledged before the sync."""

    return _writes(lambda self, hard, entries, sync: (hard, entries, False))


# Room is looked at before each write, so that few seeds come to a disk that fills in between.
@_bug(60, PERSIST, "commit rule", "log matching", "progress after healing")
def full_disk_taken_for_written() -> list[Patch]:
    """A full disk is taken for written."""

    write = RaftStore.write

    def wrong(self: RaftStore, hard_state: Any, entries: Any, **more: Any) -> None:
        with contextlib.suppress(StoreUnavailable):
            write(self, hard_state, entries, **more)

    return [(RaftStore, "write", wrong)]


@_bug(10, PERSIST, "commit rule")
def answers_before_it_writes() -> list[Patch]:
    """Answered before it is written."""

    turn = RaftOrdering._turn

    async def wrong(self: RaftOrdering, ready: Any) -> None:
        self._dispatch(ready.messages_after_persist)
        object.__setattr__(ready, "messages_after_persist", ())
        await turn(self, ready)

    return [(RaftOrdering, "_turn", wrong)]


@_bug(20, "commit rule")
def skips_the_authority_rule() -> list[Patch]:
    """The rule of the two authorities is skipped."""

    def wrong(self: Configuration, match: Mapping[str, int]) -> int:
        return sorted((match.get(each, 0) for each in self.electors), reverse=True)[self.majority - 1]

    return [(Configuration, "committed_index", wrong)]


@_bug(40, "leader completeness", "committed entries stay", "state machine safety")
def elects_without_a_look_at_the_log() -> list[Patch]:
    """Elected without a look at the log."""

    return [(Log, "is_up_to_date", lambda self, index, term: True)]


@_bug(40, "commit rule")
def counts_its_own_unsynced_entries() -> list[Patch]:
    """A leader counts what its own disk has not synced."""

    append = Leadership._append

    def wrong(self: Leadership, datas: list[bytes], kind: EntryType = EntryType.NORMAL) -> None:
        append(self, datas, kind)
        self._match[self._raft.id] = self._raft.log.last_index
        # And one acknowledgement counts for two.
        for member in self._match:
            self._match[member] = max(self._match[member], self._match[self._raft.id] - 1)

    return [(Leadership, "_append", wrong)]


@_bug(20, "commits by its own term", season="lost_leaders", shape="kz-kgd:1 cn-gacc:1")
def counts_replicas_of_old_terms() -> list[Patch]:
    """Replicas of old terms are counted."""

    def wrong(self: Leadership) -> bool:
        log = self._raft.log
        index = self._raft.membership.committed_index(self._match)
        if index <= log.committed:
            return False
        log.committed = index
        return True

    return [(Leadership, "_maybe_commit", wrong)]


@_bug(20, VOTE, "election safety", season="elections")
def votes_twice_in_a_term() -> list[Patch]:
    """Two votes in a term."""

    on_vote_request = Raft._on_vote_request

    def wrong(self: Raft, message: Message) -> None:
        if message.type is MessageType.VOTE:
            self.vote = self.leader_id = None
        on_vote_request(self, message)

    return [(Raft, "_on_vote_request", wrong)]


@_bug(20, "acknowledged entries stay", "committed entries stay", "commit rule", season="disorder")
def late_append_cuts_the_log() -> list[Patch]:
    """A late append cuts the log."""

    on_append = Raft._on_append

    def wrong(self: Raft, message: Message) -> None:
        log = self.log
        if message.entries and log.committed <= message.index and log.matches(message.index, message.log_term):
            log.replace(message.entries)
        on_append(self, message)

    return [(Raft, "_on_append", wrong)]


@_bug(20, "commit rule", "state machine safety", season="lost_leaders")
def commits_beyond_what_was_matched() -> list[Patch]:
    """A heartbeat commits what was never matched."""

    def wrong(self: Leadership) -> None:
        raft = self._raft
        for member in self.progress:
            raft.send(
                Message(
                    MessageType.HEARTBEAT,
                    member,
                    raft.id,
                    raft.term,
                    commit=raft.log.committed,
                    context=self._reads.context,
                )
            )

    on_heartbeat = Raft._on_heartbeat

    def believes(self: Raft, message: Message) -> None:
        on_heartbeat(self, dataclasses.replace(message, commit=min(message.commit, self.log.last_index)))

    return [(Leadership, "broadcast_heartbeat", wrong), (Raft, "_on_heartbeat", believes)]


@_bug(
    20,
    "one ledger",
    "nobody gives up without cause",
    "progress after healing",
    liar="altered_snapshot",
    shape=PAIR,
    season="absences",
    trouble_us=8 * S,
)
def snapshot_not_verified() -> list[Patch]:
    """A snapshot is not verified, and a liar altered it."""

    finish = SnapshotBuilder.finish

    def wrong(self: SnapshotBuilder) -> Chain:
        root = self.descriptor.state_root
        end = self._state.finish
        self._state.finish = lambda: (root, end()[1])  # type: ignore[method-assign]
        return finish(self)

    return [(SnapshotBuilder, "finish", wrong)]


@_bug(40, "log matching", season="lost_leaders", shape=UNEVEN)
def replaced_tail_comes_back() -> list[Patch]:
    """A tail that was replaced comes back after a restart."""

    write = RaftStore.write

    def wrong(self: RaftStore, hard_state: Any, entries: Any, **more: Any) -> None:
        if entries:
            self._last = min(self._last, entries[-1].index)
        write(self, hard_state, entries, **more)

    return [(RaftStore, "write", wrong)]


@_bug(20, "reads see what was acknowledged", season="standstill", shape=UNEVEN)
def a_leader_answers_reads_unasked() -> list[Patch]:
    """A leader answers reads without asking anybody."""

    begin = ReadRounds.begin

    def wrong(self: ReadRounds) -> bool:
        began = begin(self)
        if began:
            self._heard |= dict.fromkeys(self._raft.membership.electors, self._round)
            self.confirm()
        return began

    return [(ReadRounds, "begin", wrong)]


# --- the membership -------------------------------------------------------------------------------------------------


@_bug(20, "membership is changed by all authorities", changing=True, shape=PAIR)
def takes_a_change_that_one_has_signed() -> list[Patch]:
    """A change of the membership that one side signed is taken."""

    return [(Signatures, "check", lambda self: None)]


@_bug(30, "commit rule", changing=True, shape=PAIR)
def counts_a_learner_for_a_commit() -> list[Patch]:
    """A learner is counted for a commit."""

    def wrong(self: Configuration, match: Mapping[str, int]) -> int:
        members = [*self.electors, *self.learners]
        committed = sorted((match.get(each, 0) for each in members), reverse=True)[self.majority - 1]
        parties = [max(match.get(each, 0) for each in ids) for ids in self.authorities.values()]
        return min(committed, *parties)

    return [(Configuration, "committed_index", wrong)]


@_bug(40, "commit rule", "elected by a majority", season="replacements", shape=PAIR)
def joint_is_committed_by_the_new_alone() -> list[Patch]:
    """A joint configuration is committed by its new half."""

    return [(Membership, "committed_index", lambda self, match: self.incoming.committed_index(match))]


# A change that is committed and then replaced by a competing one leaves members that disagree on who they are.
@_bug(60, "commit rule", "progress after healing", season="renewals", shape=PAIR)
def joint_is_committed_by_the_old_alone() -> list[Patch]:
    """A joint configuration is committed by its old half."""

    def wrong(self: Membership, match: Mapping[str, int]) -> int:
        return (self.outgoing or self.incoming).committed_index(match)

    return [(Membership, "committed_index", wrong)]


@_bug(40, "elected by a majority", "leader completeness", season="renewals", shape=PAIR)
def joint_elects_by_the_new_alone() -> list[Patch]:
    """In a joint configuration the new half elects alone."""
    return [(Membership, "vote_result", lambda self, votes: self.incoming.vote_result(votes))]


@_bug(40, "final means cosigned by both", changing=True, shape=PAIR)
def an_observer_makes_final() -> list[Patch]:
    """An observer makes final."""

    def wrong(self: Roster) -> dict[str, Member]:
        return {name: member for name, member in self.members().items() if member.cosigner_key}

    return [(Roster, "voters", wrong)]


@_bug(40, "nobody leaves without cause", season="replacements", liar="lost_change", shape=PAIR)
def believes_a_change_that_was_never_ordered() -> list[Patch]:
    """A removal that was signed and never ordered is believed."""

    return [(Roster, "_count_vouched", lambda self: setattr(self, "_vouched", len(self._hints)))]


@_bug(20, "progress after healing", "what is accepted becomes final", changing=True, shape=PAIR)
def does_not_notice_that_it_is_removed() -> list[Patch]:
    """Who was removed does not notice."""

    return [(Roster, "removed", lambda self, name: None)]


# --- execution ------------------------------------------------------------------------------------------------------


@_bug(20, "only what was signed is accepted", liar="forged_statement", shape=PAIR)
def executes_without_a_look_at_signatures() -> list[Patch]:
    """A forged statement is executed."""

    return [(SignatureChecks, "check", lambda self, statement, key: None)]


@_bug(20, "nothing twice")
def takes_a_cti_twice() -> list[Patch]:
    """One `cti` is taken twice."""

    return [(Chain, "find_cti", lambda self, iss, cti: None)]


@_bug(20, "block time never goes back", liar="wrong_time", shape=PAIR)
def block_time_goes_back() -> list[Patch]:
    """Block time goes back."""

    execute = Execution._execute

    def wrong(self: Execution, index: int, block: Any, behind: int, started: float) -> Any:
        last = self._chain.last_block
        earlier = last is not None and block.time_ms < last.time_ms
        done = execute(self, index, block, behind, started)
        return dataclasses.replace(done, time_ms=block.time_ms) if earlier and done.checkpoint is not None else done

    return [(Execution, "_execute", wrong)]


@_bug(20, "nothing from the future is signed", "progress after healing", liar="wrong_time", shape=PAIR)
def signs_what_is_dated_ahead() -> list[Patch]:
    """What is dated ahead is signed."""

    return [
        (Execution, "may_sign", lambda self, time_ms: True),
        (RaftOrdering, "_lie", lambda self, message: None),
    ]


@_bug(20, "one ledger", "nobody halts without cause")
def takes_the_time_from_its_own_clock() -> list[Patch]:
    """Time is taken from the own clock."""

    execute = Execution._execute

    def wrong(self: Execution, index: int, block: Any, behind: int, started: float) -> Any:
        return execute(self, index, dataclasses.replace(block, time_ms=self._clock.now_ms()), behind, started)

    return [(Execution, "_execute", wrong)]


@_bug(20, "nothing twice", "one ledger", "executed in order", "nobody gives up without cause")
def applies_twice_after_a_restart() -> list[Patch]:
    """A block is applied again after a restart."""

    append_block, find_cti = Chain.append_block, Chain.find_cti

    def wrong(self: Chain, applied: int, *rest: Any) -> Any:
        self._appended = True  # type: ignore[attr-defined]
        return append_block(self, applied - 1, *rest)

    def forgets(self: Chain, iss: str, cti: bytes) -> int | None:
        return find_cti(self, iss, cti) if hasattr(self, "_appended") else None

    return [(Chain, "append_block", wrong), (Chain, "find_cti", forgets)]


@_bug(30, "nothing acknowledged is lost")
def acknowledges_what_is_only_proposed() -> list[Patch]:
    """Acknowledged when only proposed."""

    propose = Proposals._propose

    def wrong(self: Proposals, taken: Any) -> None:
        propose(self, taken)
        for pending in taken:
            waiters, pending.waiters = pending.waiters, []
            for waiter in waiters:
                waiter(Accepted(10**6, 0, 0, False))

    return [(Proposals, "_propose", wrong)]


@_bug(30, "nobody gives up without cause", "one ledger", "nobody halts without cause", "persist, then sign")
def half_a_batch_is_a_batch() -> list[Patch]:
    """Half a batch counts as a batch."""

    def wrong(self: CheckedStore, batch: Any, sync: bool = True) -> None:
        records = [(key, None if value is None else sealed(key, value)) for key, value in batch.items()]
        half = len(records) // 2
        if half > 3:
            self._inner.write(dict(records[half:]), sync=False)
            records = records[:half]
        self._inner.write(dict(records), sync=sync)

    return [(CheckedStore, "write", wrong)]


# --- cosigning ------------------------------------------------------------------------------------------------------


@_bug(10, "persist, then sign")
def signs_before_it_persists() -> list[Patch]:
    """Signed before it is synced."""

    write = Chain._write
    return [(Chain, "_write", lambda self, batch, *, sync=True: write(self, batch, sync=False))]


@_bug(40, "one signature a size")
def forgets_what_it_signed() -> list[Patch]:
    """What was signed is forgotten over a restart."""

    init = Cosigner.__init__

    def wrong(self: Cosigner, name: str, key: Any, log_key: Any, last: Intent | None, **_: Any) -> None:
        init(self, name, key, log_key, None)

    return [(Cosigner, "__init__", wrong)]


@_bug(10, "final means cosigned by both")
def final_with_one_authority() -> list[Patch]:
    """Final with one authority."""

    conclude = Finality.conclude

    def wrong(self: Finality) -> Any:
        authorities, policy = self._authorities, self._policy
        self._authorities = authorities[:1]
        self._policy = _Any()  # type: ignore[assignment]
        try:
            return conclude(self)
        finally:
            self._authorities, self._policy = authorities, policy

    return [(Finality, "conclude", wrong)]


class _Any:
    def quorum_met_by(self, names: Any) -> bool:
        return bool(names)


@_bug(40, "what is accepted becomes final", season="losses", silent=True, shape="kz-kgd:1 cn-gacc:1")
def never_asks_again_for_cosignatures() -> list[Patch]:
    """Cosignatures that were lost are never asked for again."""

    return [(Validator, "_exchange", lambda self: None)]


@_bug(20, "evidence is kept", liar="two_cosignatures", shape=PAIR)
def ignores_divergence() -> list[Patch]:
    """A divergence is ignored."""

    receive = Finality.receive

    def wrong(self: Finality, *arguments: Any) -> None:
        receive(self, *arguments)

    return [(Finality, "receive", wrong)]


@_bug(20, "evidence is kept", liar="two_cosignatures", shape=PAIR)
def keeps_no_evidence() -> list[Patch]:
    """Evidence is not kept."""

    return [(Divergences, "_keep", lambda self, divergence: self._directory)]

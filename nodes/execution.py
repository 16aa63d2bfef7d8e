"""Executing the order: block after block against the ledger, one atomic write each, and our signature after it.

Every validator comes to the same ledger from the same order, whatever the order holds: a payload that is no block, a
block of somebody who is no validator, a statement that does not parse are skipped by rules that look at nothing but the
bytes and the ledger before them. A block in which nothing was accepted and no deadline fired leaves no trace.

Block time never goes back: a block that says an earlier time than the last recorded one is executed at that one's.

Runs in one thread at a time. An exception that a contract raises is a bug: it comes out of `execute` as `Halted`
before anything of that block was written or signed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from contracts.authority_keys import CHANGES_WITH, AuthorityKeys, read_authority_keys
from contracts.execute import BlockExecution, next_deadline_ms
from contracts.outcome import Outcome
from contracts.releases import ReleaseNeeded
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, UnknownDurableState
from ledger.note import NoteSignature
from ledger.recent_state import RecentState
from ledger.statement import Statement
from ledger.store import Store, StoreUnavailable
from nodes.blocks import Block, decode_block
from nodes.checking import SignatureChecks
from nodes.clock import Clock
from nodes.cosigning import INTENT_KEY, Contradiction, Cosigner, Intent
from nodes.log_index import LogIndex
from nodes.metrics import Metrics
from nodes.records import RecordIndex

# A block from further in the future than this is not signed until our clock has caught up.
MAX_AHEAD_MS = 5000
# While catching up with more blocks than this, only every sixteenth height is signed: the newest one is always.
CATCHING_UP_BLOCKS = 16
SIGN_EVERY_HEIGHTS = 16
# What leaves no trace is not worth a synced write each time; after a restart so much of it is executed again.
ADVANCE_EVERY = 1024


class Halted(Exception):
    """Execution cannot go on, and must not: a contract failed, or we were asked to contradict ourselves."""


@dataclass(frozen=True, slots=True)
class Accepted:
    index: int
    height: int
    block_time_ms: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    outcome: Outcome
    detail: str | None


@dataclass(frozen=True, slots=True)
class Unparsable:
    """In the order, but no statement: no honest validator put it there."""

    error: Malformed


Result = Accepted | Rejected | Unparsable


@dataclass(frozen=True, slots=True)
class Signed:
    checkpoint: Checkpoint
    lines: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True)
class Executed:
    """What became of one payload of the order."""

    index: int
    block: Block | None
    results: tuple[tuple[bytes, Result], ...]
    # Where the ledger stands after it, if it grew.
    checkpoint: Checkpoint | None
    height: int
    time_ms: int
    signed: Signed | None
    took_s: float
    # As of this block.
    keys: AuthorityKeys


class Execution:
    """See the module. `open_signature` first, then `execute` and `sign_now`, never two of them at once."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        checks: SignatureChecks,
        cosigner: Cosigner,
        records: RecordIndex,
        log_index: LogIndex,
        *,
        clock: Clock,
        metrics: Metrics,
        is_validator: Callable[[str, int], bool],
        may_cosign: Callable[[], bool] = lambda: True,
        permits: Callable[[Checkpoint], bool] = lambda _: True,
    ) -> None:
        """`is_validator`: whether a name had been admitted at an index of the order. `may_cosign`: whether we are a
        validator whose cosignature counts, now.
        """
        self._chain = chain
        self._store = store
        self._checks = checks
        self._cosigner = cosigner
        self._records = records
        self._log_index = log_index
        self._clock = clock
        self._metrics = metrics
        self._is_validator = is_validator
        self._permits = permits
        self._may_cosign = may_cosign
        self._log = structlog.get_logger().bind(part="execution")
        self._state = RecentState(chain.state)
        # Called with the size of the ledger after each block that grew it, at once and in this thread.
        self.on_grown: Callable[[int], None] = lambda _: None
        self.applied = chain.applied
        # When the next deadline is due, as of the last block; read by others while we write.
        self.next_due_ms = next_deadline_ms(chain.state)
        self._authorities = [authority.name for authority in chain.genesis.authorities]
        # Which log keys and CAs count where; another object once both authorities have decided otherwise.
        self.keys = read_authority_keys(chain.state, self._authorities)

    # --- signing -----------------------------------------------------------------------------------------------------

    def open_signature(self) -> Signed | None:
        """After a start: make again, bit for bit, the newest signature that was promised to the disk."""
        intent = self._cosigner.intent
        if intent is None:
            return None
        if intent.size > self._chain.size:
            raise UnknownDurableState(
                f"size {intent.size} was signed, but the ledger ends at {self._chain.size}: "
                "it lost entries after they were vouched for; restore it or start over from the others' archive"
            )
        checkpoint = Checkpoint(self._chain.genesis.origin, intent.size, self._chain.root_at(intent.size))
        try:
            return self._signed(checkpoint, intent, *self._place_of(intent.size))
        except Contradiction as error:
            raise UnknownDurableState(f"the ledger is not the one that was signed: {error}") from error

    def _place_of(self, size: int) -> tuple[int, int]:
        """Height and block time of the checkpoint of a size that ended a block."""
        record = self._chain.block_of(size - 1) if size > 1 else None
        return (0, self._chain.genesis.time_ms) if record is None else (record.height, record.time_ms)

    def _signed(self, checkpoint: Checkpoint, intent: Intent, height: int, time_ms: int) -> Signed:
        """Sign with what counts there. `intent` must be on the disk."""
        counting = self.keys.all_log_keys_at(height, time_ms)
        return Signed(checkpoint, self._cosigner.sign(checkpoint, intent, counting))

    def log_keys_at(self, size: int) -> dict[str, tuple[bytes, ...]]:
        """The log keys of each authority that may sign the checkpoint of a size that ended a block."""
        return self.keys.log_keys_of_all_at(*self._place_of(size))

    def unsigned(self) -> bool:
        """Whether the ledger has grown beyond what was signed."""
        intent = self._cosigner.intent
        return self._may_cosign() and self._chain.size > (intent.size if intent else 0)

    def may_sign(self, time_ms: int) -> bool:
        return time_ms <= self._clock.now_ms() + MAX_AHEAD_MS

    def sign_now(self) -> Signed | None:
        """Sign where the ledger stands, if it was not and our clock permits."""
        head = self._chain.head
        time_ms = head.last_block.time_ms if head.last_block is not None else self._chain.genesis.time_ms
        if not self.unsigned() or not self.may_sign(time_ms):
            return None
        # Size and root of one head: two reads could straddle a block.
        checkpoint = Checkpoint(self._chain.genesis.origin, head.size, head.root)
        if not self._permits(checkpoint):
            return None
        intent = self._cosigner.intend(checkpoint, self._clock.now_ms() // 1000)
        self._store.write({INTENT_KEY: intent.encode()}, sync=True)
        return self._signed(checkpoint, intent, 0 if head.last_block is None else head.last_block.height, time_ms)

    @property
    def intent(self) -> Intent | None:
        """The last that was promised to be signed and is on the disk."""
        return self._cosigner.intent

    # --- executing ---------------------------------------------------------------------------------------------------

    def execute(self, index: int, payload: bytes, behind: int) -> Executed:
        """Take the next payload of the order; `behind` more are waiting.

        Raises StoreUnavailable (nothing happened, try again), UnknownDurableState, Halted.
        """
        started = self._clock.monotonic_s()
        if index != self.applied + 1:
            raise UnknownDurableState(f"the order goes on at {index}, the ledger at {self.applied + 1}")
        block = self._read(index, payload)
        if block is None:
            self.applied = index
            return Executed(index, None, (), None, self._chain.height, 0, None, 0.0, self.keys)
        try:
            executed = self._execute(index, block, behind, started)
        except (StoreUnavailable, UnknownDurableState):
            raise
        except ReleaseNeeded as error:
            self._log.error("release_needed", index=index, reason=str(error))
            raise Halted(str(error)) from error
        except Exception as error:
            self._log.error("halted", index=index, exc_info=True)
            raise Halted(f"block at {index} of the order: {type(error).__name__}: {error}") from error
        self.applied = index
        return executed

    def _read(self, index: int, payload: bytes) -> Block | None:
        if not payload:
            return None
        try:
            block = decode_block(payload)
        except Malformed as error:
            self._metrics.malformed_blocks.inc()
            self._log.error("malformed_block", index=index, reason=str(error))
            return None
        if not self._is_validator(block.proposer, index):
            self._metrics.malformed_blocks.inc()
            self._log.error("block_of_a_stranger", index=index, proposer=block.proposer[:64])
            return None
        return block

    def _execute(self, index: int, block: Block, behind: int, started: float) -> Executed:
        chain = self._chain
        last = chain.last_block
        time_ms = max(block.time_ms, last.time_ms if last is not None else chain.genesis.time_ms)
        execution = BlockExecution(self._state, time_ms, chain.height + 1)
        execution.begin()
        accepted: list[Statement] = []
        found: list[tuple[bytes, Result | int]] = []
        placed: dict[bytes, int] = {}
        ctis: set[tuple[str, bytes]] = set()
        for raw in block.statements:
            result = self._take(raw, execution, accepted, placed, ctis)
            found.append((raw, result))
        if not accepted and not execution.fired:
            if index - chain.applied >= ADVANCE_EVERY:
                chain.advance(index)
            results = tuple((raw, result) for raw, result in found if not isinstance(result, int))
            return self._done(index, block, results, None, time_ms, None, started)
        first, height, changes = chain.size, chain.height + 1, execution.changes
        self._metrics.late.inc(execution.late)
        sign = self._shall_sign(height, time_ms, behind)
        intents: list[Intent] = []

        def extra(checkpoint: Checkpoint) -> dict[bytes, bytes | None]:
            own: dict[bytes, bytes | None] = {**self._records.additions(changes)}
            own.update(self._log_index.additions(accepted, time_ms))
            # Asked about every checkpoint, signed or not: see `nodes.promises`.
            if self._permits(checkpoint) and sign:
                intents.append(self._cosigner.intend(checkpoint, self._clock.now_ms() // 1000))
                own[INTENT_KEY] = intents[0].encode()
            return own

        checkpoint = chain.append_block(index, time_ms, block.proposer, accepted, changes, extra)
        self._metrics.accepted.inc(len(accepted))
        self.on_grown(checkpoint.size)
        self._records.added(changes)
        self._log_index.added(len(accepted))
        self.next_due_ms = next_deadline_ms(chain.state)
        self._state.written(changes)
        if CHANGES_WITH in changes:
            self.keys = read_authority_keys(chain.state, self._authorities)
        signed = self._signed(checkpoint, intents[0], height, time_ms) if intents else None
        results = tuple(
            (
                raw,
                Accepted(first + (result >> 1), height, time_ms, bool(result & 1))
                if isinstance(result, int)
                else result,
            )
            for raw, result in found
        )
        return self._done(index, block, results, checkpoint, time_ms, signed, started)

    def _take(
        self,
        raw: bytes,
        execution: BlockExecution,
        accepted: list[Statement],
        placed: dict[bytes, int],
        ctis: set[tuple[str, bytes]],
    ) -> Result | int:
        """One statement. An int is twice its position among those accepted in this block, plus 1 for a duplicate."""
        chain = self._chain
        try:
            statement = self._checks.statement(raw)
        except Malformed as error:
            return Unparsable(error)
        position = placed.get(statement.id)
        if position is not None:
            return 2 * position + 1
        # The log has the `cti` of every statement that it has: where that is not found, neither look again.
        if chain.find_cti(statement.iss, statement.cti) is not None:
            known = chain.find(statement.id)
            if known is None:
                return Rejected(Outcome.CTI_REUSED, None)
            record = chain.block_of(known)
            return Accepted(known, record.height, record.time_ms, True)
        if (statement.iss, statement.cti) in ctis:
            return Rejected(Outcome.CTI_REUSED, None)
        outcome = execution.execute(statement, self._checks.check)
        if outcome is not Outcome.ACCEPTED:
            return Rejected(outcome, execution.detail)
        placed[statement.id] = len(accepted)
        ctis.add((statement.iss, statement.cti))
        accepted.append(statement)
        return 2 * placed[statement.id]

    def _shall_sign(self, height: int, time_ms: int, behind: int) -> bool:
        if not self._may_cosign():
            return False
        if not self.may_sign(time_ms):
            self._log.warning("block_ahead_of_our_clock", time_ms=time_ms, clock_ms=self._clock.now_ms())
            return False
        return behind <= CATCHING_UP_BLOCKS or height % SIGN_EVERY_HEIGHTS == 0

    def _done(
        self,
        index: int,
        block: Block,
        results: tuple[tuple[bytes, Result], ...],
        checkpoint: Checkpoint | None,
        time_ms: int,
        signed: Signed | None,
        started: float,
    ) -> Executed:
        took_s = self._clock.monotonic_s() - started
        self._metrics.execute_s.observe(took_s)
        return Executed(index, block, results, checkpoint, self._chain.height, time_ms, signed, took_s, self.keys)

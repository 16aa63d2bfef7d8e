"""The part of an audit that needs order: the chain of block records, and every block executed again.

What the contracts are is not known here; a `Replay` is handed in. The state is re-derived from the genesis record on,
in memory, and its root compared with what each block record says. After the first block that does not come out, or the
first entry that cannot be trusted, later roots could not come out either: they are not compared, and the report says
from which entry on. Everything that does not rest on the state is checked to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

from ledger.algorithms import PublicKey
from ledger.audit_chunks import (
    MAX_BUNDLE_BYTES,
    SIGNATURE_BAD,
    SIGNATURE_VALID,
    Chunk,
    cut_bundle,
    read_file,
)
from ledger.audit_report import Check, FaultList
from ledger.audit_state import AuditState, Numbers
from ledger.entry import MAX_BLOCK_STATEMENTS, BlockRecord, Genesis, parse_entry
from ledger.errors import LedgerError, Untrue
from ledger.merkle import HASH_BYTES, TILE_WIDTH, leaf_hash
from ledger.statement import Statement, verify_statement
from ledger.store import StoreUnavailable
from ledger.tenure import Tenures
from ledger.tiles import ENTRIES, tile_path, tile_width

ACCEPTED = 0
# Numbers sorted at a time when looking for repetitions.
MAX_SORTED_NUMBERS = 1_000_000

CheckSignature = Callable[[Statement, PublicKey], None]


class StateReader(Protocol):
    """The state as a contract sees it."""

    def get(self, key: str) -> bytes | None:
        """Return the record under ``key``, or None."""


class BlockReplay(Protocol):
    """One block being executed again. Deadlines that are due fire when it begins."""

    @property
    def changes(self) -> Mapping[str, bytes | None]:
        """What the block has written so far."""

    def execute(self, statement: Statement, check_signature: CheckSignature) -> tuple[int, str]:
        """Take one statement and return its outcome, number and name; 0 is accepted.

        ``check_signature`` must be called with the key that the registry has for it, and raises `Untrue`.
        """


class Replay(Protocol):
    """How an audit executes a log again."""

    def genesis_state(self, genesis: Genesis) -> Mapping[str, bytes]:
        """Return the records with which the state begins."""

    def begin_block(self, state: StateReader, time_ms: int, height: int) -> BlockReplay:
        """Begin a block at its block time and height."""

    def log_keys(self, state: StateReader, authorities: Iterable[str]) -> Tenures:
        """Return the log keys that each authority has had so far, as the state says, oldest first."""

    def decided_changes(self, state: StateReader) -> Sequence[str]:
        """Return the texts of the changes of the membership that were decided on the log."""


class ReplayCheck:
    """Takes chunks in order; tells what does not follow from what came before."""

    def __init__(self, replay: Replay, faults: FaultList, joined: Iterable[str] = ()) -> None:
        """`joined`: the names of those who may have proposed blocks though they are not in the genesis record."""
        self._joined = frozenset(joined)
        self._replay = replay
        self._faults = faults
        self._state = AuditState()
        self._validators: frozenset[str] | None = None
        self._next = 0
        self._pending: list[tuple[int, Statement, int]] = []
        self._pending_count = 0
        self._height = 0
        self._time_ms = 0
        self._previous: tuple[bytes, ...] = ()
        # Whether something since the last block record could not be read, so that the next one must be believed.
        self._lost = False
        # By how much entries are out of place, once that has been told: one too many shifts all that follow.
        self._shift = 0
        self.genesis: Genesis | None = None
        # The last one.
        self.record: BlockRecord | None = None
        self.statements = 0
        self.blocks = 0
        self.height_compared = 0
        self.not_comparable_from: int | None = None
        self.not_comparable_because: str | None = None

    def resume(self, genesis: Genesis, size: int, record: BlockRecord, statements: int, blocks: int) -> None:
        """Go on after `size` entries that an earlier audit has executed, of which `record` is the last."""
        self.genesis = genesis
        self._name_validators(genesis)
        self._next = size // TILE_WIDTH * TILE_WIDTH
        self._height = self.height_compared = record.height
        self._time_ms, self._previous = record.time_ms, (leaf_hash(record.encode()),)
        self.statements, self.blocks = statements, blocks
        self.record = record

    @property
    def state(self) -> AuditState:
        """As of the last block."""
        return self._state

    def add(self, chunk: Chunk, altered: list[int], skip: int = 0) -> None:
        """`skip`: so many entries of the chunk were executed before."""
        if chunk.first != self._next:
            self._lose(self._next, "entries are missing")
        distrusted = {*altered, *chunk.unreadable}
        for number, parsed in enumerate(chunk.entries[skip:] if skip else chunk.entries, skip):
            index = chunk.first + number
            if isinstance(parsed, tuple):
                statement, signature = parsed
                if index in distrusted:
                    self._lose(index, "an entry was altered")
                else:
                    self._take(index, statement, signature)
            elif isinstance(parsed, BlockRecord) and index not in distrusted:
                leaf = chunk.leaves[number * HASH_BYTES : (number + 1) * HASH_BYTES]
                self._close(index, parsed, leaf)
            elif isinstance(parsed, Genesis) and index not in distrusted:
                self._begin(index, parsed, chunk.leaves[number * HASH_BYTES : (number + 1) * HASH_BYTES])
            else:
                self._lose(index, "an entry cannot be read" if parsed is None else "an entry was altered")
        self._next = chunk.first + chunk.width

    def finish(self) -> None:
        if self._pending_count:
            self._faults.add(
                Check.BLOCKS,
                f"the log does not end in a block record: {self._pending_count} statements follow the last one",
                entry=self._next - self._pending_count,
            )
        if self.genesis is None and not self._lost and self._next:
            self._faults.add(Check.GENESIS, "entry 0 is no genesis record", entry=0)

    @property
    def place(self) -> tuple[int, int]:
        """Height and block time of the last block."""
        return self._height, self._time_ms

    def log_keys(self) -> Tenures | None:
        """The log keys of each authority, as the whole log decided them; None where it could not all be executed."""
        if self.genesis is None or self.not_comparable_from is not None:
            return None
        try:
            return self._replay.log_keys(self._state, [authority.name for authority in self.genesis.authorities])
        except StoreUnavailable:
            raise
        except Exception as error:
            self._faults.add(Check.OUTCOMES, f"the log keys cannot be read: {type(error).__name__}: {error}")
            return None

    def decided_changes(self) -> frozenset[str] | None:
        """The texts of the changes of the membership that the log decided; None where it could not be executed."""
        if self.genesis is None or self.not_comparable_from is not None:
            return None
        try:
            return frozenset(self._replay.decided_changes(self._state))
        except StoreUnavailable:
            raise
        except Exception as error:
            self._faults.add(Check.OUTCOMES, f"decisions on the membership: {type(error).__name__}: {error}")
            return None

    def _stop(self, index: int, because: str) -> None:
        """From here on nothing can be said about the state."""
        if self.not_comparable_from is None:
            self.not_comparable_from, self.not_comparable_because = index, because

    def _lose(self, index: int, because: str) -> None:
        self._lost = True
        self._pending.clear()
        self._stop(index, because)

    def _begin(self, index: int, genesis: Genesis, leaf: bytes) -> None:
        if index:
            self._faults.add(Check.ENTRIES, "a genesis record may only be entry 0", entry=index)
            self._lose(index, "a second genesis record")
            return
        self.genesis = genesis
        self._previous = (leaf,)
        self._time_ms = genesis.time_ms
        self._name_validators(genesis)
        try:
            self._state.apply(self._replay.genesis_state(genesis))
        except Exception as error:
            self._faults.add(Check.OUTCOMES, f"the state cannot begin: {type(error).__name__}: {error}", entry=0)
            self._stop(0, "the state cannot begin")

    def _name_validators(self, genesis: Genesis) -> None:
        self._validators = frozenset(
            validator.name for authority in genesis.authorities for validator in authority.validators
        ).union(self._joined)

    def _take(self, index: int, statement: Statement, signature: int) -> None:
        self.statements += 1
        self._pending_count += 1
        if self._pending_count > MAX_BLOCK_STATEMENTS:
            if self._pending_count == MAX_BLOCK_STATEMENTS + 1:
                message = f"block is too long: expected at most {MAX_BLOCK_STATEMENTS} statements"
                self._faults.add(Check.BLOCKS, message, entry=index)
            self._pending.clear()
            self._stop(index, "a block is too long")
        elif self.not_comparable_from is None:
            self._pending.append((index, statement, signature))

    def _close(self, index: int, record: BlockRecord, leaf: bytes) -> None:
        self.blocks += 1
        self._check_record(index, record)
        self.record = record
        if self.not_comparable_from is None:
            self._execute(index, record)
        self._height = record.height
        self._time_ms = max(self._time_ms, record.time_ms)
        self._previous = (leaf,)
        self._pending.clear()
        self._pending_count = 0
        self._lost = False

    def _check_record(self, index: int, record: BlockRecord) -> None:
        def fault(what: str, expected: object, got: object) -> None:
            self._faults.add(Check.BLOCKS, f"{what} is wrong: expected {expected}, got {got}", entry=index)

        if index - record.first - record.count != self._shift:
            fault("end of the block", index - self._shift, record.first + record.count)
            self._shift = index - record.first - record.count
        if not self._lost:
            if record.height != self._height + 1:
                fault("height", self._height + 1, record.height)
            if record.count != self._pending_count:
                fault("count", self._pending_count, record.count)
            if record.previous not in self._previous:
                expected = " or ".join(each.hex() for each in self._previous) or "a genesis record"
                fault("hash of the previous record", expected, record.previous.hex())
        if record.time_ms < self._time_ms:
            fault("block time, which may not go back,", f"at least {self._time_ms} ms", f"{record.time_ms} ms")
        if self._validators is not None and record.proposer not in self._validators:
            fault("proposer", "a validator of the genesis or of a change", record.proposer)

    def _execute(self, index: int, record: BlockRecord) -> None:
        at = index
        try:
            block = self._replay.begin_block(self._state, record.time_ms, record.height)
            for at, statement, signature in self._pending:
                check = _SignatureCheck(signature)
                code, name = block.execute(statement, check)
                if code != ACCEPTED:
                    self._faults.add(
                        Check.OUTCOMES, f"executed again, {statement.kind} is refused: {code} {name}", entry=at
                    )
                elif not check.asked:
                    message = f"{statement.kind} was accepted without its signature being checked"
                    self._faults.add(Check.SIGNATURES, message, entry=at)
            at = index
            self._state.apply(block.changes)
        except StoreUnavailable:
            raise  # says nothing of the archive
        except Exception as error:
            self._faults.add(Check.OUTCOMES, f"execution failed: {type(error).__name__}: {error}", entry=at)
            self._stop(at, "execution failed")
            return
        if self._state.root != record.state_root:
            self._faults.add(
                Check.STATE_ROOTS,
                f"block {record.height} comes to state root {self._state.root.hex()}, "
                f"expected {record.state_root.hex()} as its record says",
                entry=index,
            )
            self._stop(index, f"block {record.height} comes to another state")
            return
        self.height_compared = record.height


class _SignatureCheck:
    """What a contract calls: the signature was checked ahead, under the key of the statement's ``kid``."""

    __slots__ = ("_signature", "asked")

    def __init__(self, signature: int) -> None:
        self._signature = signature
        self.asked = False

    def __call__(self, statement: Statement, key: PublicKey) -> None:
        self.asked = True
        if key.kid == statement.kid and key.alg == statement.alg:
            if self._signature == SIGNATURE_VALID:
                return
            if self._signature == SIGNATURE_BAD:
                raise Untrue("bad_signature", f"signature of {statement.iss} does not verify")
        verify_statement(statement, key)


class UniqueCheck:
    """Finds statements, and ctis of one issuer, that stand twice, with 24 bytes a statement in temporary files.

    Only 64 bits of each are kept; what looks repeated is read again and compared in full.
    """

    def __init__(self, directory: str, size: int, faults: FaultList) -> None:
        self._directory = directory
        self._size = size
        self._faults = faults
        self._indexes = Numbers()
        self._ids = Numbers()
        self._ctis = Numbers()

    def remember(self, index: int, id_number: int, cti: int) -> None:
        """A statement of entries that were audited before."""
        self._indexes.append(index)
        self._ids.append(id_number)
        self._ctis.append(cti)

    def numbers(self) -> Iterator[tuple[int, int, int]]:
        """What `remember` takes, of every statement so far."""
        return zip(self._indexes, self._ids, self._ctis, strict=True)

    def add(self, chunk: Chunk, skip: int = 0) -> None:
        for number, parsed in enumerate(chunk.entries[skip:] if skip else chunk.entries, skip):
            if isinstance(parsed, tuple):
                self._indexes.append(chunk.first + number)
                self._ids.append(int.from_bytes(chunk.leaves[number * HASH_BYTES : number * HASH_BYTES + 8], "big"))
                self._ctis.append(chunk.ctis[number])

    def finish(self) -> None:
        twice_ids = set()
        for first, again in self._repeated(self._ids, lambda statement: statement.id):
            twice_ids.add(again)
            self._faults.add(
                Check.UNIQUE, f"the statement of entry {first} stands here again", entry=again, other=first
            )
        for first, again in self._repeated(self._ctis, lambda statement: (statement.iss, statement.cti)):
            if again not in twice_ids:
                self._faults.add(Check.UNIQUE, f"issuer and cti are those of entry {first}", entry=again, other=first)

    def close(self) -> None:
        for numbers in (self._indexes, self._ids, self._ctis):
            numbers.close()

    def _repeated(self, numbers: Numbers, identity: Callable[[Statement], object]) -> list[tuple[int, int]]:
        parts = 1 + len(numbers) // MAX_SORTED_NUMBERS
        suspects: set[int] = set()
        for part in range(parts):
            ordered = sorted(number for number in numbers if parts == 1 or number % parts == part)
            suspects.update(one for one, other in pairwise(ordered) if one == other)
        if not suspects:
            return []
        seen: dict[object, int] = {}
        found = []
        for index, number in zip(self._indexes, numbers, strict=True):
            statement = self._statement(index) if number in suspects else None
            if statement is not None:
                key = identity(statement)
                if key in seen:
                    found.append((seen[key], index))
                else:
                    seen[key] = index
        return found

    def _statement(self, index: int) -> Statement | None:
        bundle = index // TILE_WIDTH
        width = tile_width(0, bundle, self._size)
        data = read_file(self._directory, tile_path(ENTRIES, bundle, width), MAX_BUNDLE_BYTES)
        entries = None if isinstance(data, str) else cut_bundle(data, width)
        raw = None if entries is None else entries[index % TILE_WIDTH]
        try:
            parsed = None if raw is None else parse_entry(raw)
        except LedgerError:
            return None
        return parsed if isinstance(parsed, Statement) else None

"""A validator's ledger from an archive: everything verified, everything executed again, nothing asked of anybody.

For a validator that has not started yet (`comity validator init`). What comes out is the ledger that an honest
validator had at the archive's checkpoint, byte for byte where bytes are hashed. Promises:

- nothing of it is in place before all of it holds: the checkpoint under the policy, by a log key that counts where the
  archive ends, every statement under the key that the registry had for it, every block executed to the record that the
  archive has, the root at the end;
- an interruption at any instant leaves a validator that has not started yet;
- what is restored knows no position of the order, so it never executes one: it serves what it has, and goes on from a
  snapshot of the others, which has to contain it (docs/adr/0043).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from contracts.authority_keys import read_authority_keys
from contracts.execute import BlockExecution, genesis_state
from contracts.outcome import Outcome
from ledger.archive_proof import ArchiveFolder
from ledger.archive_reading import read_entries
from ledger.chain import Chain
from ledger.chain_layout import BLOCK_AT, HEAD, encode_head
from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import Malformed, Misuse, Untrue
from ledger.policy import Policy, parse_policy, verify_checkpoint
from ledger.recent_state import RecentState
from ledger.statement import Statement
from ledger.store import Batch, Store
from nodes.checking import KnownKeys, SignatureChecks
from nodes.config import ValidatorConfig
from nodes.files import Files
from nodes.identity import Identity
from nodes.log_index import LogIndex
from nodes.log_lines import check_counts
from nodes.metrics import Metrics
from nodes.opening import FIRST_START, RESTORED
from nodes.records import RecordIndex

STAGING = "restored"
LEDGER = "ledger"
# Statements whose signatures are checked in threads while those before them are executed.
AHEAD_ENTRIES = 2048

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """Where the ledger ends that was made."""

    checkpoint: Checkpoint
    height: int
    statements: int


def restore(
    archive: Path,
    config: ValidatorConfig,
    identity: Identity,
    policy: bytes,
    *,
    open_store: Callable[[Path], Store],
    threads: int,
    progress: Progress | None = None,
) -> Restored:
    """Make the ledger of a validator that has not started yet.

    Raises Misuse where the validator has started, or is of another network; Malformed and Untrue where the archive does
    not hold; StoreUnavailable, OSError.
    """
    files = Files()
    if not files.exists(config.data / FIRST_START):
        raise Misuse(
            f"{config.data}: this validator has started before, and may have voted and signed: restore into the folder "
            "of a new one, which `comity validator init` makes"
        )
    if files.exists(config.data / LEDGER):
        raise Misuse(f"{config.data} has a ledger already; nothing is overwritten")
    note = ArchiveFolder(archive).checkpoint()
    checkpoint = verify_checkpoint(note, parse_policy(policy))
    staging = config.data / STAGING
    if files.exists(staging):
        files.remove_folder(staging)
    store = open_store(staging / LEDGER)
    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="signatures") as pool:
            rebuilding = _Rebuilding(_Unsynced(store), identity.genesis, pool, config.name)
            for raw in _read_ahead(read_entries(archive, checkpoint, progress), rebuilding):
                rebuilding.take(raw)
        restored = rebuilding.finish(checkpoint, note, parse_policy(policy))
        # The last write, and the only one that has to be on the disk: it takes all before it along.
        store.write({RESTORED: note}, sync=True)
    finally:
        store.close()
    files.rename(staging / LEDGER, config.data / LEDGER)
    files.remove_folder(staging)
    return restored


class _Unsynced:
    """A store whose writes are not waited for, and in which no block comes from a position of the order."""

    def __init__(self, below: Store) -> None:
        self._below = below

    def get(self, key: bytes) -> bytes | None:
        return self._below.get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self._below.iterate(start, stop, reverse)

    def write(self, batch: Batch, sync: bool = True) -> None:
        self._below.write({key: b"" if key.startswith(BLOCK_AT) else value for key, value in batch.items()}, sync=False)

    def view(self) -> Store:
        return self._below.view()

    def close(self) -> None:
        self._below.close()


class _Rebuilding:
    """The ledger so far."""

    def __init__(self, store: Store, genesis: Genesis, pool: ThreadPoolExecutor, name: str) -> None:
        self._store = store
        self._genesis = genesis
        self._chain = Chain.open(store)
        self._checks = SignatureChecks(KnownKeys(self._chain).find, Metrics(name), pool)
        self._records = RecordIndex(store)
        self._log_index = LogIndex(store, self._chain)
        self._state = RecentState(self._chain.state)
        self._block: list[bytes] = []
        self._statements = 0

    def expect(self, raws: Sequence[bytes]) -> None:
        """These come next: begin to check their signatures."""
        self._checks.expect(raw for raw in raws if raw[:1] == b"\xd2")

    def take(self, raw: bytes) -> None:
        """The next entry of the archive."""
        if not self._chain.initialised:
            self._begin(raw)
            return
        if raw[:1] == b"\xd2":
            self._block.append(raw)
            return
        record = parse_entry(raw)
        if not isinstance(record, BlockRecord):
            raise Untrue("second_genesis", f"entry {self._chain.size} is a second genesis record")
        self._execute(record, raw)
        self._checks.forget(self._block)
        self._statements += len(self._block)
        self._block = []

    def finish(self, checkpoint: Checkpoint, note: bytes, policy: Policy) -> Restored:
        chain = self._chain
        if self._block:
            raise Untrue("unfinished_block", f"the archive ends within a block, at entry {chain.size}")
        if not chain.initialised or (chain.size, chain.root) != (checkpoint.size, checkpoint.root):
            raise Untrue("archive_differs", f"the ledger ends at {chain.size}, expected {checkpoint.size}")
        self._check_log_key(note, policy)
        chain.put_cosigned(checkpoint.size, note, sync=False)
        head = chain.head
        self._store.write({HEAD: encode_head(applied=0, root=head.root, size=head.size, state_root=head.state_root)})
        return Restored(checkpoint, chain.height, self._statements)

    def _check_log_key(self, note: bytes, policy: Policy) -> None:
        """The policy may name a key that is over where the archive ends."""
        last, genesis = self._chain.last_block, self._genesis
        place = (0, genesis.time_ms) if last is None else (last.height, last.time_ms)
        keys = read_authority_keys(self._chain.state, [authority.name for authority in genesis.authorities])
        check_counts(note, policy, keys, *place)

    def _begin(self, raw: bytes) -> None:
        if raw != self._genesis.encode():
            raise Misuse("the archive is of another network than the validator: their genesis records differ")
        state = genesis_state(self._genesis)
        self._store.write({**self._records.additions(state), **self._log_index.beginning()})
        self._chain.initialise(self._genesis, state)
        self._log_index.begun()

    def _execute(self, record: BlockRecord, raw: bytes) -> None:
        chain = self._chain
        execution = BlockExecution(self._state, record.time_ms, chain.height + 1)
        execution.begin()
        accepted: list[Statement] = []
        for number, each in enumerate(self._block):
            accepted.append(self._accept(execution, each, chain.size + number))
        changes = execution.changes

        def extra(_: Checkpoint) -> Mapping[bytes, bytes | None]:
            return {**self._records.additions(changes), **self._log_index.additions(accepted, record.time_ms)}

        try:
            # Any position that only grows would do: none is kept.
            chain.append_block(chain.height + 1, record.time_ms, record.proposer, accepted, changes, extra)
        except Misuse as error:
            raise Untrue("block_differs", f"block {chain.height + 1}: {error}") from error
        if chain.entry(chain.size - 1) != raw:
            raise Untrue(
                "block_differs",
                f"entry {chain.size - 1}: executed again, block {chain.height} comes to another record",
            )
        self._records.added(changes)
        self._log_index.added(len(accepted))
        self._state.written(changes)

    def _accept(self, execution: BlockExecution, raw: bytes, index: int) -> Statement:
        try:
            statement = self._checks.statement(raw)
        except Malformed as error:
            raise Malformed("bad_entry", f"entry {index}: {error}") from error
        if self._chain.find_cti(statement.iss, statement.cti) is not None:
            raise Untrue("stands_twice", f"entry {index}: this issuer's cti is on the log already")
        outcome = execution.execute(statement, self._checks.check)
        if outcome is not Outcome.ACCEPTED:
            raise Untrue("not_accepted", f"entry {index}: executed again, it is refused: {outcome.fact}")
        return statement


def _read_ahead(entries: Iterator[bytes], rebuilding: _Rebuilding) -> Iterator[bytes]:
    """The entries in order, each announced some time before it comes."""
    now = list(islice(entries, AHEAD_ENTRIES))
    while now:
        ahead = list(islice(entries, AHEAD_ENTRIES))
        rebuilding.expect(ahead)
        yield from now
        now = ahead

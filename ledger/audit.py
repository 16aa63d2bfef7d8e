"""The audit of a whole archive, offline: files, and one policy file got out of band, are all that is believed.

Promises: all faults are reported, not the first; each names its entry or file, under one of the numbered checks of
`ledger.audit_report`. A byte altered anywhere in the archive is a fault. The audit ends, whatever the archive holds, in
memory that does not grow with the log or its state: what would is in temporary files.

Does not: use a network, a clock or a server; know the contracts (a `Replay` is handed in); say whether the latest
checkpoint is recent, or what was never put on the log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger.archive import CHECKPOINT
from ledger.archive_tree import ArchiveTree
from ledger.audit_chunks import Chunk, Task, harvest_keys, read_file
from ledger.audit_files import FileCheck
from ledger.audit_processes import Processes
from ledger.audit_replay import BlockReplay, Replay, ReplayCheck, StateReader, UniqueCheck
from ledger.audit_report import AuditReport, Check, Fault, FaultList
from ledger.audit_saved import Header, SavedAudit, check_continues, resumed_frontier, write_saved
from ledger.audit_signers import SignerCheck
from ledger.audit_tree import TreeCheck
from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord, Genesis
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import TILE_WIDTH, leaf_hash
from ledger.note import MAX_NOTE_BYTES
from ledger.tiles import tile_width

__all__ = [
    "AuditReport",
    "BlockReplay",
    "Check",
    "Fault",
    "Progress",
    "Replay",
    "StateReader",
    "audit_archive",
]

MAX_JOBS = 64

# Called with the number of entries audited and of all entries.
Progress = Callable[[int, int], None]
# Called with each chunk, and how many of its entries an earlier audit has seen.
Observer = Callable[[Chunk, int], None]
# Yields the chunk of every task, in order; a statement's key is among those given, or nobody enrolled it.
Spread = Callable[[Sequence[Task], dict[bytes, bytes]], Iterator[Chunk]]


@dataclass(frozen=True, slots=True)
class Save:
    """Where to leave what the next audit needs, and which program does."""

    path: Path
    program: str


def audit_archive(
    directory: Path | str,
    policy: bytes,
    replay: Replay,
    jobs: int = 1,
    progress: Progress | None = None,
    *,
    since: SavedAudit | None = None,
    save: Save | None = None,
    spread: Spread | None = None,
    observe: Observer | None = None,
) -> AuditReport:
    """Audit the archive in ``directory`` under ``policy``, executing every block with ``replay``.

    ``jobs`` processes parse, hash and check signatures, or whatever ``spread`` has instead; execution is in this one.
    ``since`` goes on where an earlier audit ended; whether it goes with this program is for the caller to have asked.
    ``save`` writes what a later one needs, if there is no fault. ``observe`` is shown every chunk, in order.

    `Misuse` only if there is no such directory, no such number of jobs, or the archive is shorter than what ``since``
    has audited; OSError only if ``save`` cannot be written.
    """
    if not 1 <= jobs <= MAX_JOBS:
        raise Misuse(f"number of jobs is out of range: expected 1 to {MAX_JOBS}, got {jobs}")
    if not Path(directory).is_dir():
        raise Misuse(f"there is no directory {directory}")
    audit = _Audit(os.fspath(directory), policy, since, save)
    return audit.run(replay, spread or Processes(jobs), progress, observe)


class _Audit:
    def __init__(self, directory: str, policy: bytes, since: SavedAudit | None, save: Save | None) -> None:
        self._directory = directory
        self._policy = policy
        self._since, self._save = since, save
        self._faults = FaultList()

    def run(self, replay: Replay, spread: Spread, progress: Progress | None, observe: Observer | None) -> AuditReport:
        files = FileCheck(self._directory, self._faults)
        genesis = files.peek_genesis()
        signers = SignerCheck(self._directory, self._policy, genesis, self._faults)
        checkpoint = signers.checkpoint
        size = files.size(checkpoint, signers.vouched)
        files.check(size)
        tasks = [Task(self._directory, index, tile_width(0, index, size)) for index in files.bundles()]
        tree = TreeCheck(self._directory, size, self._faults)
        blocks = ReplayCheck(replay, self._faults, (member.name for member in signers.joined))
        unique = UniqueCheck(self._directory, size, self._faults)
        before, keys = 0, {}
        if self._continues(genesis, checkpoint, size) and self._since is not None and genesis is not None:
            before, keys = self._since.header.size, self._resume(self._since, genesis, blocks, unique)
            tree.resume(resumed_frontier(self._since.header))
        tasks = [task for task in tasks if task.width and task.index >= before // TILE_WIDTH]
        keys |= self._harvest(tasks)
        entries = 0
        for chunk in spread(tasks, keys):
            for fault in chunk.faults:
                self._faults.add(fault.check, fault.message, entry=fault.entry, file=fault.file)
            skip = max(0, before - chunk.first)
            altered = tree.add(chunk)
            blocks.add(chunk, altered, skip)
            unique.add(chunk, skip)
            if observe is not None:
                observe(chunk, skip)
            entries += chunk.width - len(chunk.unreadable) - skip
            if progress is not None:
                progress(min(chunk.first + chunk.width, size), size)
        root = tree.finish(None if checkpoint is None else checkpoint.root)
        blocks.finish()
        unique.finish()
        tenures = blocks.log_keys()
        signers.finish(blocks.genesis, tenures, blocks.place)
        report = AuditReport(
            origin=None if checkpoint is None else checkpoint.origin,
            size=size,
            root=root,
            before=before,
            entries=entries,
            statements=blocks.statements,
            blocks=blocks.blocks,
            faults=self._faults.sorted(),
            uncounted=self._faults.uncounted,
            signed=signers.signed,
            missing=signers.missing,
            height_compared=blocks.height_compared,
            not_comparable_from=blocks.not_comparable_from,
            not_comparable_because=blocks.not_comparable_because,
            log_keys=tuple(each for held in (tenures or {}).values() for each in held),
            membership=signers.changes,
            membership_undecided=signers.undecided(blocks.decided_changes()),
        )
        if self._save is not None and report.holds:
            self._write_saved(self._save, report, keys, tree, blocks, unique)
        unique.close()
        return report

    # --- from one audit to the next ----------------------------------------------------------------------------------

    def _continues(self, genesis: Genesis | None, checkpoint: Checkpoint | None, size: int) -> bool:
        """Whether there is an earlier audit to go on from, and this archive goes on from it: else that is a fault."""
        if self._since is None:
            return False
        header = self._since.header
        if size < header.size:
            raise Misuse(f"the archive has {size} entries, {header.size} were audited before: expected no fewer")
        try:
            if checkpoint is None or genesis is None:
                raise Untrue("not_continued", "it has no checkpoint or no genesis record to hold against it")
            check_continues(header, ArchiveTree(self._directory), size, checkpoint.root)
        except (Malformed, Untrue) as error:
            message = f"the archive does not go on from the saved audit, it is audited from the beginning: {error}"
            self._faults.add(Check.ROOT, message, entry=header.size - 1)
            return False
        return True

    def _resume(
        self, since: SavedAudit, genesis: Genesis, blocks: ReplayCheck, unique: UniqueCheck
    ) -> dict[bytes, bytes]:
        """Take up what an earlier audit has left; returns the keys. Misuse if the file was damaged or does not fit."""
        header, state = since.header, blocks.state
        try:
            record = BlockRecord.decode(header.record)
            # The record's height and the tree's size, both held against the archive, say how many there were of each.
            if header.blocks != record.height or header.statements + header.blocks + 1 != header.size:
                raise Misuse("the counts of the saved audit do not fit together: audit from the beginning")
            keys = header.known_keys()
            since.restore(unique.remember, state.apply)
        except Malformed as error:
            raise Misuse(f"{error}: audit from the beginning") from error
        if not state.root == header.state_root == record.state_root:
            raise Misuse("the saved records do not come to the state root of the last block: audit from the beginning")
        blocks.resume(genesis, header.size, record, header.statements, header.blocks)
        return keys

    def _write_saved(
        self,
        save: Save,
        report: AuditReport,
        keys: Mapping[bytes, bytes],
        tree: TreeCheck,
        blocks: ReplayCheck,
        unique: UniqueCheck,
    ) -> None:
        note = read_file(self._directory, CHECKPOINT, MAX_NOTE_BYTES)
        if isinstance(note, str) or report.root is None or blocks.record is None or blocks.genesis is None:
            return  # a log of nothing but its genesis: there is nothing to save
        header = Header(
            program=save.program,
            policy_sha256=sha256(self._policy).digest(),
            note=note,
            origin=report.origin or "",
            size=report.size,
            root=report.root,
            genesis=leaf_hash(blocks.genesis.encode()),
            record=blocks.record.encode(),
            upper=tree.upper,
            keys=tuple(keys[kid] for kid in sorted(keys)),
            statements=blocks.statements,
            blocks=blocks.blocks,
            records=sum(1 for _ in blocks.state.records()),
            state_root=blocks.state.root,
        )
        write_saved(save.path, header, unique.numbers(), blocks.state.records())

    def _harvest(self, tasks: list[Task]) -> dict[bytes, bytes]:
        keys: dict[bytes, bytes] = {}
        for task in tasks:
            keys.update(harvest_keys(task))
        return keys

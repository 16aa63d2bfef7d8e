"""The audit of a whole archive, offline: files, and one policy file got out of band, are all that is believed.

Promises: all faults are reported, not the first; each names its entry or file, under one of the numbered checks of
`ledger.audit_report`. A byte altered anywhere in the archive is a fault. The audit ends, whatever the archive holds, in
memory that does not grow with the log or its state: what would is in temporary files.

Does not: use a network, a clock or a server; know the contracts (a `Replay` is handed in); say whether the latest
checkpoint is recent, or what was never put on the log.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from ledger.archive import CHECKPOINT, MEMBERSHIP, POLICY, archive_levels, archive_policy
from ledger.archive_tree import ArchiveTree
from ledger.audit_chunks import (
    Chunk,
    KnownKeys,
    Task,
    harvest_keys,
    pack_chunk,
    process,
    read_file,
    read_first_entry,
    unpack_chunk,
)
from ledger.audit_replay import BlockReplay, Replay, ReplayCheck, StateReader, UniqueCheck
from ledger.audit_report import AuditReport, Check, Fault, FaultList
from ledger.audit_saved import Header, SavedAudit, check_continues, resumed_frontier, write_saved
from ledger.audit_tree import TreeCheck
from ledger.checkpoint import Checkpoint, log_verifier, parse_checkpoint
from ledger.cosignature import cosigner_verifier, verify_cosignature
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import LedgerError, Malformed, Misuse, Untrue
from ledger.membership import MAX_CHAIN_BYTES, Member, parse_change, split_chain, verify_chain
from ledger.merkle import MAX_TREE_SIZE, TILE_WIDTH, leaf_hash
from ledger.note import COSIGNATURE_V1, ED25519, MAX_NOTE_BYTES, Note, NoteSignature, VerifierKey, parse_note
from ledger.policy import MAX_POLICY_BYTES, Policy, parse_policy
from ledger.tenure import Tenures
from ledger.tiles import ENTRIES, parse_tile_path, tile_path, tile_width

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
# Fewer bundles than this are done in this process: starting others would take longer.
MIN_PARALLEL_BUNDLES = 8
MAX_PENDING_BUNDLES_PER_JOB = 4
MAX_REPORTED_RANGES = 1000

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
        self._raw_policy = policy
        self._since, self._save = since, save
        self._faults = FaultList()
        self._policy = self._read_policy(policy)
        self._signed: dict[str, int] = {}
        self._missing: tuple[str, ...] = ()
        # Who joined after genesis, by changes that all authorities' registrars signed.
        self._joined: list[Member] = []
        # What only the executed log can tell: whose these lines of the checkpoint are, and these keys of the archive's
        # policy; and which log keys, of whom, have signed.
        self._strangers: list[tuple[Note, NoteSignature]] = []
        self._archive_logs: list[VerifierKey] = []
        self._logged: set[VerifierKey] = set()
        # The steps of each change of the membership, as the registrars signed them.
        self._changes: tuple[tuple[str, ...], ...] = ()
        self._texts: tuple[str, ...] = ()

    def run(self, replay: Replay, spread: Spread, progress: Progress | None, observe: Observer | None) -> AuditReport:
        present, strangers = self._list_files()
        genesis = self._peek_genesis(present)
        self._read_membership(genesis)
        checkpoint, vouched = self._check_checkpoint(genesis)
        self._check_archive_policy()
        size = self._size(checkpoint, vouched, present)
        self._check_files(size, present, strangers)
        bundles = sorted({*present.get(ENTRIES, {}), *present.get(0, {})})
        tasks = [Task(self._directory, index, tile_width(0, index, size)) for index in bundles]
        tree = TreeCheck(self._directory, size, self._faults)
        blocks = ReplayCheck(replay, self._faults, (member.name for member in self._joined))
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
        log_keys = LogKeys(checkpoint, blocks.genesis, tenures, blocks.place)
        self._check_log_keys(log_keys)
        self._check_genesis(blocks.genesis, checkpoint, log_keys)
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
            signed=self._signed,
            missing=self._missing,
            height_compared=blocks.height_compared,
            not_comparable_from=blocks.not_comparable_from,
            not_comparable_because=blocks.not_comparable_because,
            log_keys=tuple(each for held in (tenures or {}).values() for each in held),
            membership=self._changes,
            membership_undecided=self._undecided(blocks.decided_changes()),
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
            policy_sha256=sha256(self._raw_policy).digest(),
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

    def _read_membership(self, genesis: Genesis | None) -> None:
        """The signed changes that the archive brings, if any: what they do not prove, they do not change."""
        if genesis is None or not os.path.lexists(os.path.join(self._directory, MEMBERSHIP)):
            return
        data = read_file(self._directory, MEMBERSHIP, MAX_CHAIN_BYTES)
        if isinstance(data, str):
            self._faults.add(Check.GENESIS, data, file=MEMBERSHIP)
            return
        try:
            notes = split_chain(data)
            registers = verify_chain(genesis, notes)
            changes = [parse_change(parse_note(note).text) for note in notes]
        except (Malformed, Untrue) as error:
            self._faults.add(Check.GENESIS, f"changes of the membership do not hold: {error}", file=MEMBERSHIP)
            return
        first = registers[0].members
        joined = {name: each for register in registers for name, each in register.members.items() if name not in first}
        self._joined = list(joined.values())
        self._changes = tuple(tuple(step.line().rstrip() for step in change.steps) for change in changes)
        self._texts = tuple(change.text() for change in changes)

    # --- policy and checkpoint ---------------------------------------------------------------------------------------

    def _read_policy(self, data: bytes) -> Policy | None:
        try:
            return parse_policy(data)
        except Malformed as error:
            self._faults.add(Check.POLICY, str(error))
            return None

    def _check_archive_policy(self) -> None:
        data = read_file(self._directory, POLICY, MAX_POLICY_BYTES)
        if isinstance(data, str):
            self._faults.add(Check.ARCHIVE_POLICY, data, file=POLICY)
            return
        try:
            found = parse_policy(data)
        except Malformed as error:
            self._faults.add(Check.ARCHIVE_POLICY, str(error), file=POLICY)
            return
        if archive_policy(found) != data:
            self._faults.add(Check.ARCHIVE_POLICY, "is not spelled as an archive's policy is", file=POLICY)
        if self._policy is None:
            return
        own = parse_policy(archive_policy(self._policy))
        if replace(found, logs=()) != replace(own, logs=()):
            self._faults.add(Check.ARCHIVE_POLICY, "witnesses, groups or quorum are not the auditor's", file=POLICY)
        # Each authority hands out its own log key; one log has them all, and says itself whose they are.
        known = {log.key for log in own.logs}
        self._archive_logs = [log.key for log in found.logs if log.key not in known]

    def _check_checkpoint(self, genesis: Genesis | None) -> tuple[Checkpoint | None, bool]:
        """Return the checkpoint, if it can be read, and whether its signatures are enough to go by its size."""
        data = read_file(self._directory, CHECKPOINT, MAX_NOTE_BYTES)
        if isinstance(data, str):
            self._faults.add(Check.LOG_SIGNATURE, data, file=CHECKPOINT)
            return None, False
        try:
            note = parse_note(data)
            checkpoint = parse_checkpoint(note.text)
        except Malformed as error:
            self._faults.add(Check.LOG_SIGNATURE, f"cannot be read: {error}", file=CHECKPOINT)
            return None, False
        good = self._check_lines(note, checkpoint, genesis)
        policy = self._policy
        if policy is None:
            return checkpoint, False
        logged = any(log.key in good and checkpoint.origin == log.key.name for log in policy.logs)
        if not logged:
            message = f"no log of the policy has signed the checkpoint of {checkpoint.origin}"
            self._faults.add(Check.LOG_SIGNATURE, message, file=CHECKPOINT)
        self._signed = {each.name: good[each.key] for each in policy.witnesses if each.key in good}
        self._missing = tuple(each.name for each in policy.witnesses if each.key not in good)
        met = policy.quorum_met_by(self._signed)
        if not met:
            signed, missing = ", ".join(self._signed) or "none", ", ".join(self._missing) or "none"
            message = f"quorum {policy.quorum} is not met: signed {signed}; missing {missing}"
            self._faults.add(Check.QUORUM, message, file=CHECKPOINT)
        return checkpoint, logged and met

    def _check_lines(self, note: Note, checkpoint: Checkpoint, genesis: Genesis | None) -> dict[VerifierKey, int]:
        """Verify every signature line; return the keys whose lines are valid, with a cosigner's own time."""
        keys = self._known_keys(genesis)
        good: dict[VerifierKey, int] = {}
        seen: set[tuple[str, bytes]] = set()
        for line in note.signatures:
            who = f"{line.name} ({line.key_id.hex()})"
            if (line.name, line.key_id) in seen:
                self._faults.add(Check.SIGNATURE_LINES, f"{who} has signed twice", file=CHECKPOINT)
            seen.add((line.name, line.key_id))
            candidates = [key for key in keys if key.name == line.name and key.key_id == line.key_id]
            if not candidates:
                self._strangers.append((note, line))
                continue
            faults = []
            for key in candidates:
                try:
                    good.setdefault(key, _verify_line(key, note.text, line))
                    if key.algorithm != COSIGNATURE_V1:
                        self._logged.add(key)
                except (Untrue, Malformed) as error:
                    faults.append(str(error))
            if len(faults) == len(candidates):
                self._faults.add(Check.SIGNATURE_LINES, f"{who}: {faults[0]}", file=CHECKPOINT)
        return good

    def _known_keys(self, genesis: Genesis | None) -> list[VerifierKey]:
        keys: dict[VerifierKey, None] = {}
        if self._policy is not None:
            keys.update(dict.fromkeys(log.key for log in self._policy.logs))
            keys.update(dict.fromkeys(witness.key for witness in self._policy.witnesses))
        for authority in () if genesis is None else genesis.authorities:
            keys[log_verifier(genesis.origin if genesis is not None else "", authority.log_key)] = None
            for validator in authority.validators:
                keys[cosigner_verifier(validator.name, validator.cosigner_key)] = None
        for member in self._joined:
            if member.cosigner_key:
                keys[cosigner_verifier(member.name, member.cosigner_key)] = None
        return list(keys)

    def _undecided(self, decided: frozenset[str] | None) -> tuple[int, ...]:
        """The changes of the membership that the log did not decide, by number; none where nothing is known of it."""
        if decided is None:
            return ()
        return tuple(number for number, text in enumerate(self._texts, 1) if text not in decided)

    def _check_log_keys(self, log_keys: LogKeys) -> None:
        """Now that the log has been executed: which keys it gave its authorities, and whether they counted here."""
        for key in self._archive_logs:
            if key not in log_keys.known:
                message = f"log key {key.public_key.hex()} is neither the auditor's nor one that the log names"
                self._faults.add(Check.ARCHIVE_POLICY, message, file=POLICY)
        for note, line in self._strangers:
            who = f"{line.name} ({line.key_id.hex()})"
            candidates = [key for key in log_keys.known if (key.name, key.key_id) == (line.name, line.key_id)]
            if not candidates:
                self._faults.add(
                    Check.SIGNATURE_LINES, f"{who} is not known to policy, genesis or log", file=CHECKPOINT
                )
                continue
            try:
                candidates[0].verify(note.text.encode(), line.signature)
            except Untrue as error:
                self._faults.add(Check.SIGNATURE_LINES, f"{who}: {error}", file=CHECKPOINT)
            else:
                self._logged.add(candidates[0])
        for key in sorted(self._logged, key=lambda each: each.public_key):
            why = log_keys.objection(key)
            if why is not None:
                self._faults.add(Check.LOG_SIGNATURE, why, file=CHECKPOINT)

    def _check_genesis(self, genesis: Genesis | None, checkpoint: Checkpoint | None, log_keys: LogKeys) -> None:
        if genesis is None:
            return
        if checkpoint is not None and genesis.origin != checkpoint.origin:
            message = f"genesis is of another log: expected {checkpoint.origin}, got {genesis.origin}"
            self._faults.add(Check.GENESIS, message, entry=0)
        if self._policy is None:
            return
        if not any(log.key in log_keys.known for log in self._policy.logs):
            message = "no log key of the policy is in the genesis record, nor did the log bring one into force"
            self._faults.add(Check.GENESIS, message, entry=0)
        validators = {
            cosigner_verifier(each.name, each.cosigner_key)
            for authority in genesis.authorities
            for each in authority.validators
        }
        validators |= {cosigner_verifier(each.name, each.cosigner_key) for each in self._joined if each.cosigner_key}
        for witness in self._policy.witnesses:
            # A third party's witness is named with its URL, and of a validator's keys genesis has the classical one.
            further = witness.url is not None or witness.key.algorithm != COSIGNATURE_V1
            if witness.key not in validators and not further:
                message = f"witness {witness.name} of the policy is no validator of the genesis record or of a change"
                self._faults.add(Check.GENESIS, message, entry=0)

    # --- files -------------------------------------------------------------------------------------------------------

    def _list_files(self) -> tuple[dict[int, dict[int, set[int]]], list[str]]:
        """Return the tiles that are there, as level -> index -> widths, and everything that is none."""
        present: dict[int, dict[int, set[int]]] = {}
        strangers: list[str] = []
        for parent, directories, names in os.walk(self._directory, followlinks=False):
            inside = os.path.relpath(parent, self._directory)
            for name in [*names, *(each for each in directories if os.path.islink(os.path.join(parent, each)))]:
                path = name if inside == "." else f"{inside}/{name}".replace(os.sep, "/")
                try:
                    level, index, width = parse_tile_path(path)
                except (Malformed, UnicodeError):
                    if path not in (CHECKPOINT, POLICY, MEMBERSHIP):
                        strangers.append(path)
                    continue
                present.setdefault(level, {}).setdefault(index, set()).add(width)
        return present, strangers

    def _peek_genesis(self, present: Mapping[int, Mapping[int, set[int]]]) -> Genesis | None:
        """Read entry 0 ahead of everything, for the keys that it names; its faults are told when its turn comes."""
        for width in sorted(present.get(ENTRIES, {}).get(0, ()), reverse=True):
            raw = read_first_entry(Task(self._directory, 0, width))
            try:
                entry = None if raw is None else parse_entry(raw)
            except LedgerError:
                continue
            if isinstance(entry, Genesis):
                return entry
        return None

    def _size(self, checkpoint: Checkpoint | None, vouched: bool, present: Mapping[int, Mapping[int, set[int]]]) -> int:
        """The size to audit: the checkpoint's, or if nobody vouches for that, what the bundles come to."""
        if checkpoint is not None and vouched:
            return checkpoint.size
        bundles = present.get(ENTRIES, {})
        if not bundles:
            return 0 if checkpoint is None else checkpoint.size
        last = max(bundles)
        found = min(last * TILE_WIDTH + max(bundles[last]), MAX_TREE_SIZE)
        if checkpoint is not None and checkpoint.size != found:
            message = f"files hold {found} entries, expected {checkpoint.size} as the checkpoint says"
            self._faults.add(Check.FILES, message)
        return found

    def _check_files(self, size: int, present: Mapping[int, Mapping[int, set[int]]], strangers: list[str]) -> None:
        for path in strangers:
            self._faults.add(Check.NOTHING_ELSE, "does not belong to an archive", file=path)
        for level, indexes in present.items():
            for index, widths in indexes.items():
                for width in widths:
                    if width != tile_width(level, index, size):
                        message = f"does not belong to a tree of {size} entries"
                        self._faults.add(Check.NOTHING_ELSE, message, file=tile_path(level, index, width))
        for level, count in archive_levels(size):
            there = sorted(
                index for index, widths in present.get(level, {}).items() if tile_width(level, index, size) in widths
            )
            for first, last in _gaps(there, -(-count // TILE_WIDTH)):
                self._tell_missing(level, first, last, size)

    def _tell_missing(self, level: int, first: int, last: int, size: int) -> None:
        path = tile_path(level, first, tile_width(level, first, size))
        message = "is missing"
        if last > first:
            message = f"is missing, and all up to {tile_path(level, last, tile_width(level, last, size))}"
        entry = first * TILE_WIDTH if level == ENTRIES else None
        self._faults.add(Check.FILES, message, entry=entry, file=path)

    def _harvest(self, tasks: list[Task]) -> dict[bytes, bytes]:
        keys: dict[bytes, bytes] = {}
        for task in tasks:
            keys.update(harvest_keys(task))
        return keys


class LogKeys:
    """Which log keys a log has given its authorities, and which counted where it ends."""

    def __init__(
        self, checkpoint: Checkpoint | None, genesis: Genesis | None, tenures: Tenures | None, place: tuple[int, int]
    ) -> None:
        """`tenures`: None where the log could not be executed; then the genesis record is all there is to go by."""
        self._place = place
        self._tenures = [each for held in (tenures or {}).values() for each in held]
        named = () if genesis is None else genesis.authorities
        raw = {authority.log_key for authority in named} | {each.value for each in self._tenures}
        origin = genesis.origin if genesis is not None else "" if checkpoint is None else checkpoint.origin
        self.known = frozenset(log_verifier(origin, each) for each in raw) if origin else frozenset()

    def objection(self, key: VerifierKey) -> str | None:
        """Why a key's signature under the last checkpoint is worth nothing; None if it counts, or is not known."""
        held = [each for each in self._tenures if each.value == key.public_key]
        if not held or key not in self.known or any(each.counts(*self._place) for each in held):
            return None
        height, time_ms = self._place
        told = "; ".join(map(str, held))
        return f"a log key has signed that does not count at height {height}, block time {time_ms} ms: {told}"


def _verify_line(key: VerifierKey, text: str, line: NoteSignature) -> int:
    """Return a cosigner's time, 0 for a log; `Untrue` or `Malformed` if the line is not this key's."""
    if key.algorithm != ED25519:
        return verify_cosignature(key, text, line)
    key.verify(text.encode(), line.signature)
    return 0


def _gaps(there: list[int], count: int) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of numbers below ``count`` that is not in the ordered list."""
    expected = 0
    for index in [*there, count]:
        if index > expected:
            yield expected, index - 1
        expected = index + 1


# --- processes -------------------------------------------------------------------------------------------------------

_worker_keys: list[KnownKeys] = []


def _start_worker(keys: dict[bytes, bytes]) -> None:
    _worker_keys[:] = [KnownKeys(keys)]


def _process_in_worker(task: Task) -> bytes:
    return pack_chunk(process(task, _worker_keys[0]))


class Processes:
    """So many processes of this machine; with one, or little to do, all is done in this one."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def __call__(self, tasks: Sequence[Task], keys: dict[bytes, bytes]) -> Iterator[Chunk]:
        """Yield the chunk of every task, in order."""
        done = 0
        if self._jobs > 1 and len(tasks) >= MIN_PARALLEL_BUNDLES:
            try:
                for chunk in _process_in_pool(tasks, keys, self._jobs):
                    yield chunk
                    done += 1
            except BrokenProcessPool:
                pass  # a worker was killed, for memory perhaps; what remains is done here, one at a time
        known = KnownKeys(keys)
        for task in tasks[done:]:
            yield process(task, known)


def _process_in_pool(tasks: Sequence[Task], keys: dict[bytes, bytes], jobs: int) -> Iterator[Chunk]:
    # Started anew, not forked: a caller may run threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(keys,)) as pool:
        pending: deque[Future[bytes]] = deque()
        try:
            for task in tasks:
                if len(pending) >= jobs * MAX_PENDING_BUNDLES_PER_JOB:
                    yield unpack_chunk(pending.popleft().result())
                pending.append(pool.submit(_process_in_worker, task))
            while pending:
                yield unpack_chunk(pending.popleft().result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

"""What an audit checks, by number and name, and what it found.

The numbers are shared by code, documents and reports. An audit reports every fault, each with the entry or the file
where it is; beyond a limit, faults of one check are only counted, so that no archive makes the report outgrow memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from ledger.tenure import Tenure

MAX_FAULTS_PER_CHECK = 1000


class Check(IntEnum):
    """The checks, in the order of what rests on what."""

    POLICY = 1
    ARCHIVE_POLICY = 2
    LOG_SIGNATURE = 3
    QUORUM = 4
    SIGNATURE_LINES = 5
    FILES = 6
    TILES = 7
    ROOT = 8
    GENESIS = 9
    ENTRIES = 10
    SIGNATURES = 11
    UNIQUE = 12
    BLOCKS = 13
    OUTCOMES = 14
    STATE_ROOTS = 15
    NOTHING_ELSE = 16

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Check.POLICY: "the auditor's policy can be read",
    Check.ARCHIVE_POLICY: "the archive's policy names the same keys and rules as the auditor's",
    Check.LOG_SIGNATURE: "the log's key signed the checkpoint, at a height at which it counted",
    Check.QUORUM: "both authorities cosigned the checkpoint, as the policy demands",
    Check.SIGNATURE_LINES: "every signature on the checkpoint is of a known key, and valid",
    Check.FILES: "every tile and bundle of the tree is there, in the right shape",
    Check.TILES: "every hash in a tile is that of the entries below it",
    Check.ROOT: "the entries come to the root of the checkpoint",
    Check.GENESIS: (
        "entry 0 is the genesis record, of this log and of the policy's keys; "
        "each change in `membership` is signed by both registrars and follows the one before"
    ),
    Check.ENTRIES: "every entry is a statement or a block record in its one spelling",
    Check.SIGNATURES: "every statement was signed by an enrolled key",
    Check.UNIQUE: "no statement, and no cti of one issuer, stands twice",
    Check.BLOCKS: "block records follow one another: height, entries, previous record, time, proposer",
    Check.OUTCOMES: "every statement is accepted when it is executed again, under the registry of its moment",
    Check.STATE_ROOTS: "every block, executed again, comes to the state root that it records",
    Check.NOTHING_ELSE: "there is nothing else in the directory",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not hold, and where."""

    check: Check
    message: str
    entry: int | None = None
    file: str | None = None
    # The entry that this one repeats.
    other: int | None = None

    def __str__(self) -> str:
        where = f" entry {self.entry}:" if self.entry is not None else ""
        where += f" {self.file}:" if self.file is not None else ""
        return f"check {int(self.check)}:{where} {self.message}"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Everything found. ``holds`` only if there is no fault and the whole log was executed again."""

    origin: str | None
    size: int
    root: bytes | None
    entries: int
    statements: int
    blocks: int
    faults: tuple[Fault, ...]
    # Faults beyond `MAX_FAULTS_PER_CHECK`, counted only.
    uncounted: Mapping[Check, int]
    # Cosigners of the policy that signed, with their own time in Unix seconds, and those that did not.
    signed: Mapping[str, int]
    missing: tuple[str, ...]
    # The last block whose state root was compared, and the entry from which on none could be, with the reason.
    height_compared: int
    not_comparable_from: int | None
    not_comparable_because: str | None
    # Which log key of each authority counted where, as the log itself decided; empty where it could not be executed.
    log_keys: tuple[Tenure, ...] = ()
    # So many entries an earlier audit has found without fault; they were not read again, and `entries` does not count
    # them. `statements` and `blocks` do.
    before: int = 0
    # The steps of each change of the membership that the archive brings.
    membership: tuple[tuple[str, ...], ...] = ()
    # The numbers of those that no proposal on the log decided: they hold by their signatures alone.
    membership_undecided: tuple[int, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.faults and self.not_comparable_from is None

    def as_dict(self) -> dict[str, object]:
        """The report for JSON."""
        return {
            "holds": self.holds,
            "origin": self.origin,
            "size": self.size,
            "root": None if self.root is None else self.root.hex(),
            "audited_before": self.before,
            "entries": self.entries,
            "statements": self.statements,
            "blocks": self.blocks,
            "signed": dict(self.signed),
            "missing": list(self.missing),
            "height_compared": self.height_compared,
            "not_comparable_from": self.not_comparable_from,
            "not_comparable_because": self.not_comparable_because,
            "membership": [list(steps) for steps in self.membership],
            "membership_undecided": list(self.membership_undecided),
            "log_keys": [
                {
                    "authority": each.authority,
                    "key": each.value.hex(),
                    "from_height": each.from_height,
                    "until_height": each.until_height,
                    "until_ms": each.until_ms,
                    "proposal": each.proposal,
                }
                for each in self.log_keys
            ],
            "checks": [
                {
                    "number": int(check),
                    "name": check.name.lower(),
                    "sentence": check.sentence,
                    "faults": sum(fault.check is check for fault in self.faults) + self.uncounted.get(check, 0),
                }
                for check in Check
            ],
            "faults": [
                {
                    "check": int(fault.check),
                    "name": fault.check.name.lower(),
                    "entry": fault.entry,
                    "file": fault.file,
                    "message": fault.message,
                }
                for fault in self.faults
            ],
        }


@dataclass(slots=True)
class FaultList:
    """Faults as they are found."""

    faults: list[Fault] = field(default_factory=list)
    uncounted: dict[Check, int] = field(default_factory=dict)
    _counts: dict[Check, int] = field(default_factory=dict)

    def add(
        self,
        check: Check,
        message: str,
        *,
        entry: int | None = None,
        file: str | None = None,
        other: int | None = None,
    ) -> None:
        count = self._counts.get(check, 0)
        if count >= MAX_FAULTS_PER_CHECK:
            self.uncounted[check] = self.uncounted.get(check, 0) + 1
            return
        self._counts[check] = count + 1
        self.faults.append(Fault(check, message, entry, file, other))

    def sorted(self) -> tuple[Fault, ...]:
        return tuple(sorted(self.faults, key=lambda fault: (fault.check, -1 if fault.entry is None else fault.entry)))

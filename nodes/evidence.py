"""The bundles of evidence that a validator makes by itself, beside the notes of `nodes.divergence`.

A note shows that somebody signed another root than ours. Alone it convinces nobody who does not have our ledger; so
it is paired with a head that contradicts it, into a bundle that anybody verifies (`ledger.evidence`). The stronger the
other head, the better, and a better one that comes later takes the place of what was there:

    1  signed by this validator, and by whoever else has signed the same size
    2  final: both authorities have cosigned it, at that size or a larger one
    3  signed by the very validator that signed the other root, too: it is accused by its own two signatures

Promises: what is kept holds, checked as a stranger would check it; it survives a crash, and what could not be made
before one is made after it. Does not: judge who is right, nor halt anybody; `nodes.divergence` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from ledger.chain import Chain
from ledger.checkpoint import log_verifier
from ledger.entry import Genesis
from ledger.errors import Malformed, Misuse, Untrue
from ledger.evidence import SUFFIX, Evidence, SignedHead, decode_evidence
from ledger.evidence_check import EvidenceReport, check_evidence
from ledger.evidence_making import conflicting_heads, with_last_record
from ledger.note import ED25519, parse_note
from ledger.policy import Log, Policy, Witness, format_policy
from ledger.store import StoreUnavailable
from nodes.cosigning import Finality
from nodes.files import Files

NOTE_SUFFIX = ".note"
SIGNED, FINAL, OWN_WORDS = 1, 2, 3
# Read from the folder when a validator starts; it makes far fewer.
MAX_READ = 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle on the disk. Its words are for people."""

    raw: bytes
    evidence: Evidence
    words: str
    strength: int


class Bundles:
    """Belongs to the event loop. `policy` is asked for anew each time: who counts, changes with the membership."""

    def __init__(
        self,
        genesis: Genesis,
        directory: Path,
        files: Files,
        chain: Chain,
        finality: Finality,
        policy: Callable[[], Policy],
    ) -> None:
        self._genesis = genesis
        self._directory = directory
        self._files = files
        self._chain = chain
        self._finality = finality
        self._policy = policy
        self._log = structlog.get_logger().bind(part="evidence")
        # By the stem of their files: notes of other roots, and the bundles made of them.
        self._lies: dict[str, SignedHead] = {}
        self.kept: dict[str, Kept] = {}
        self._read_folder()

    def add(self, note_path: Path, note: bytes) -> None:
        """A note of another root than ours was kept at this path."""
        self._lies[note_path.stem] = SignedHead(note)
        self.improve()

    def improve(self) -> None:
        """Make what can be made now and could not before. To be called now and then."""
        for stem, lie in self._lies.items():
            kept = self.kept.get(stem)
            if kept is not None and kept.strength == OWN_WORDS:
                continue
            self._watch(lie)
            try:
                self._pair(stem, lie, 0 if kept is None else kept.strength)
            except (StoreUnavailable, OSError, Malformed, Misuse, Untrue) as error:
                # Evidence that cannot be made stops nobody; only a ledger that contradicts itself does.
                self._log.error("evidence_not_made", evidence=stem, reason=str(error))

    def words(self) -> list[str]:
        """What each bundle says, in the order of the files' names."""
        return [self.kept[stem].words for stem in sorted(self.kept)]

    def _watch(self, lie: SignedHead) -> None:
        """A line of the same signers under our root, whenever they send one."""
        for line in parse_note(lie.note).signatures:
            self._finality.watch(line.name, lie.checkpoint.size)

    def _pair(self, stem: str, lie: SignedHead, strength: int) -> None:
        if lie.checkpoint.size > self._chain.size:
            return  # our ledger was lost since, and has not grown back so far: later
        for head, promises in self._heads(lie):
            if promises <= strength:
                return
            found = conflicting_heads(lie, with_last_record(head, self._chain), self._chain)
            if found is None:
                return  # our own roots are those of the other head: nothing is contradicted
            report = check_evidence([self._stranger()], found.encode())
            if report.holds:
                self._keep(stem, found, report, max(promises, _strength(report)))
                return

    def _heads(self, lie: SignedHead) -> list[tuple[SignedHead, int]]:
        """Heads of ours that contradict the other one, the strongest first."""
        size = lie.checkpoint.size
        found: list[tuple[SignedHead, int]] = []
        for line in parse_note(lie.note).signatures:
            note = self._finality.vouched(line.name, size)
            if note is not None:
                found.append((SignedHead(note), OWN_WORDS))
        final = self._chain.cosigned_at_or_after(size)
        if final is not None:
            found.append((SignedHead(final[1]), FINAL))
        note = self._finality.signed_note(size)
        if note is not None:
            found.append((SignedHead(note), SIGNED))
        return found

    def _keep(self, stem: str, found: Evidence, report: EvidenceReport, strength: int) -> None:
        raw = found.encode()
        path = self._directory / f"{stem}{SUFFIX}"
        self._files.keep(path, raw)
        self.kept[stem] = Kept(raw, found, report.words, strength)
        self._log.error("evidence", bundle=str(path), id=found.id, claim=found.claim.value, says=report.words)

    def _stranger(self) -> bytes:
        """The policies of all authorities in one: the log keys of each are named, as an outsider with all would have
        them: those since genesis, and those that have taken their place.
        """
        raw = dict.fromkeys([each.log_key for each in self._genesis.authorities] + self._finality.log_keys())
        logs = tuple(Log(log_verifier(self._genesis.origin, each)) for each in raw)
        policy = self._policy()
        counting = {each.key for each in policy.witnesses}
        taken = {each.name for each in policy.witnesses} | {each.name for each in policy.groups}
        # Who was removed signed what it signed: its bundle accuses it still.
        former = tuple(
            Witness(f"{key.name}@{key.key_id.hex()}" if key.name in taken else key.name, key)
            for key in self._finality.cosigner_keys()
            if key not in counting
        )
        return format_policy(replace(policy, logs=logs, witnesses=(*policy.witnesses, *former)))

    def _read_folder(self) -> None:
        """What was kept before a restart."""
        try:
            names = self._files.names(self._directory)[:MAX_READ]
        except OSError as error:
            self._log.error("evidence_not_read", reason=str(error))
            return
        for name in names:
            path = self._directory / name
            try:
                if name.endswith(NOTE_SUFFIX):
                    head = SignedHead(self._files.read(path))
                    _ = head.checkpoint.size  # Malformed here, and not whenever it is looked at
                    self._lies[path.stem] = head
                elif name.endswith(SUFFIX):
                    raw = self._files.read(path)
                    report = check_evidence([self._stranger()], raw)
                    self.kept[path.stem] = Kept(raw, decode_evidence(raw), report.words, _strength(report))
            except (OSError, Malformed) as error:
                self._log.error("evidence_not_read", file=str(path), reason=str(error))


def _strength(report: EvidenceReport) -> int:
    """That a log key signed both is not enough for the most: all validators of an authority have it."""
    validators = {name for each in report.signers for key, name in each.names.items() if key.algorithm != ED25519}
    if validators & set(report.accused):
        return OWN_WORDS
    return FINAL if any(signers.final for signers in report.signers) else SIGNED

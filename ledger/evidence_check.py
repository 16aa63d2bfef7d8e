"""The checks behind `comity evidence verify`, one after the other, each with its number, name, and what was found.

    1 policies    every policy file is one
    2 bundle      the file is a bundle of evidence
    3 signers     each head carries a good signature of a key that the policies name, and no bad one
    4 one_log     all heads are of one log
    5 shown       the entries and roots that the bundle shows are those of its heads
    6 claim       what they show cannot be in any log whose signers did as they promised

Promises: where the checks hold, somebody signed what no honest and sound validator signs; `accused` names whose keys
did. Honest signatures, in whatever combination and with whatever beside them, never make a bundle that holds. Nothing
raises for bytes from outside.

Does not: say which of two histories is the right one, nor how a key came to sign: its holder, a thief, or a broken
machine. `NOT_CHECKED` says so to whoever reads the report. A key that no policy names is no signer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.algorithms import PublicKey
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import LedgerError, Malformed, Untrue
from ledger.evidence import CONFLICTS, Claim, Evidence, ShownEntry, SignedHead, decode_evidence
from ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.note import VerifierKey, parse_note
from ledger.policy import Policy, parse_policy
from ledger.proof_check import Check, Verdict
from ledger.statement import Statement, verify_statement

LOG_KEY = "log key "
CHECKS = ("policies", "bundle", "signers", "one_log", "shown", "claim")
NOT_CHECKED = (
    "which of two histories is the right one: the archives of both sides say",
    "how a key came to sign this: its holder, a thief, a broken machine or a wrong program",
    "signatures of keys that the policies do not name; each authority's policy names its own log key only",
    "whether a block leads to the state that its record says: executing an archive again shows it (`comity audit`)",
)


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose good signatures one head carries, in the words of the policies, and whether they make it final."""

    names: Mapping[VerifierKey, str]
    final: bool  # under every policy that names its log

    def __str__(self) -> str:
        return ", ".join(self.names.values())


@dataclass(slots=True)
class EvidenceReport:
    """All checks of one bundle, and what they established."""

    checks: list[Check] = field(default_factory=list)
    evidence: Evidence | None = None
    signers: list[Signers] = field(default_factory=list)
    # Who contradicts himself, or vouched for the bad entry: one name a key. Empty: nobody signed both heads.
    accused: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return len(self.checks) == len(CHECKS) and all(check.verdict is Verdict.HOLDS for check in self.checks)

    @property
    def words(self) -> str:
        """The whole in one sentence, for people."""
        if not self.holds or self.evidence is None:
            return "this proves nothing against anybody"
        return _words(self.evidence, self.signers, self.accused)

    def add(self, verdict: Verdict, detail: str) -> None:
        self.checks.append(Check(len(self.checks) + 1, CHECKS[len(self.checks)], verdict, detail))


def check_evidence(policies: Sequence[bytes], bundle: bytes) -> EvidenceReport:
    """Make the six checks. Never raises for what the files hold."""
    report = EvidenceReport()
    parsed = _check_policies(report, policies)
    _check_bundle(report, bundle)
    _check_signers(report, parsed)
    _check_log(report)
    _check_shown(report)
    _check_claim(report)
    return report


def _check_policies(report: EvidenceReport, policies: Sequence[bytes]) -> list[Policy]:
    parsed = []
    for number, data in enumerate(policies, 1):
        try:
            parsed.append(parse_policy(data))
        except Malformed as error:
            report.add(Verdict.FAILS, f"policy {number}: {error}")
            return []
    if not parsed:
        report.add(Verdict.FAILS, "no policy was given: without one nobody is known")
        return []
    witnesses = {witness.key for policy in parsed for witness in policy.witnesses}
    logs = {log.key for policy in parsed for log in policy.logs}
    report.add(Verdict.HOLDS, f"{len(parsed)} read: {len(logs)} log keys, {len(witnesses)} cosigners")
    return parsed


def _check_bundle(report: EvidenceReport, bundle: bytes) -> None:
    try:
        report.evidence = decode_evidence(bundle)
    except Malformed as error:
        report.add(Verdict.FAILS, str(error))
        return
    report.add(Verdict.HOLDS, f"{report.evidence.claim.value}: {report.evidence.claim.sentence}")


def _check_signers(report: EvidenceReport, policies: Sequence[Policy]) -> None:
    if report.evidence is None or not policies:
        report.add(Verdict.NOT_REACHED, "needs policies and a bundle")
        return
    for head in report.evidence.heads:
        try:
            signers = _signers_of(head, policies, report.evidence.claim)
        except (Malformed, Untrue) as error:
            report.add(Verdict.FAILS, f"head of size {head.checkpoint.size}: {error}")
            return
        if not signers.names:
            report.add(Verdict.FAILS, f"head of size {head.checkpoint.size}: no key of the policies has signed it")
            return
        report.signers.append(signers)
    said = "; ".join(
        f"size {head.checkpoint.size}, root {head.checkpoint.root.hex()[:16]}…: {signers}"
        + (" (final: as many as the policy demands)" if signers.final else "")
        for head, signers in zip(report.evidence.heads, report.signers, strict=True)
    )
    report.add(Verdict.HOLDS, said)


def _signers_of(head: SignedHead, policies: Sequence[Policy], claim: Claim) -> Signers:
    """Raises Untrue for a bad signature of a key that some policy names: such a note has been tampered with."""
    note = parse_note(head.note)
    named: dict[VerifierKey, str] = {}
    final = []
    for policy in policies:
        result = policy.check(note)
        for log in policy.logs:  # a note may carry lines of several logs of one name: both authorities'
            if replace(policy, logs=(log,)).check(note).log is not None:
                named[log.key] = f"{LOG_KEY}{log.key.key_id.hex()} of {log.key.name}"
        # A third party's witness, which has a URL, vouches that the log only grew, and looks at no entry.
        named |= {
            each.key: each.name
            for each in policy.witnesses
            if each.name in result.timestamps and (claim in CONFLICTS or each.url is None)
        }
        if any(log.key.name == head.checkpoint.origin for log in policy.logs):
            final.append(result.satisfied)
    return Signers(named, bool(final) and all(final))


def _check_log(report: EvidenceReport) -> None:
    if report.evidence is None or not report.signers:
        report.add(Verdict.NOT_REACHED, "needs heads whose signers are known")
        return
    origins = {head.checkpoint.origin for head in report.evidence.heads}
    if len(origins) > 1:
        report.add(Verdict.FAILS, f"heads are of several logs: {', '.join(sorted(origins))}")
        return
    report.add(Verdict.HOLDS, report.evidence.origin)


def _check_shown(report: EvidenceReport) -> None:
    evidence = report.evidence
    if evidence is None:
        report.add(Verdict.NOT_REACHED, "needs a bundle")
        return
    try:
        for head in evidence.heads:
            for entry in head.entries:
                checkpoint = head.checkpoint
                verify_inclusion(entry.index, checkpoint.size, leaf_hash(entry.raw), entry.path, checkpoint.root)
        if evidence.claim is Claim.INCONSISTENT_TREES:
            smaller, larger = (head.checkpoint for head in evidence.heads)
            verify_consistency(smaller.size, evidence.prefix_root, larger.size, larger.root, evidence.path)
    except (Untrue, Malformed) as error:
        report.add(Verdict.FAILS, str(error))
        return
    count = sum(len(head.entries) for head in evidence.heads)
    report.add(Verdict.HOLDS, f"{count} entries lead to the roots of their heads" if count else "roots only")


def _check_claim(report: EvidenceReport) -> None:
    evidence = report.evidence
    if evidence is None or report.checks[-1].verdict is not Verdict.HOLDS:
        report.add(Verdict.NOT_REACHED, "needs a bundle that shows what is of its heads")
        return
    try:
        detail = _CLAIMS[evidence.claim](evidence)
    except LedgerError as error:
        report.add(Verdict.FAILS, f"cannot be decided by this release: {error}")
        return
    if detail is None:
        report.add(Verdict.FAILS, f"what is shown is as it should be: not so that {evidence.claim.sentence}")
        return
    report.add(Verdict.HOLDS, detail)
    if report.holds:
        first, last = report.signers[0].names, report.signers[-1].names
        both = [name for key, name in first.items() if key in last]
        report.accused = tuple(sorted(both, key=lambda name: name.startswith(LOG_KEY)))


# --- claims: what was found, or None where the entries are as they should be ------------------------------------------


def _two_roots(evidence: Evidence) -> str | None:
    one, other = (head.checkpoint for head in evidence.heads)
    if one.root == other.root:
        return None
    return f"at size {one.size}: {one.root.hex()} and {other.root.hex()}{_last_records(evidence)}"


def _inconsistent_trees(evidence: Evidence) -> str | None:
    smaller, larger = (head.checkpoint for head in evidence.heads)
    if smaller.root == evidence.prefix_root:
        return None
    return (
        f"the first {smaller.size} entries of the tree of {larger.size} come to {evidence.prefix_root.hex()}, "
        f"the head of {smaller.size} says {smaller.root.hex()}{_last_records(evidence)}"
    )


def _last_records(evidence: Evidence) -> str:
    """In what the last blocks differ, where both heads show theirs."""
    records = [_parsed(entry) for head in evidence.heads for entry in head.entries]
    blocks = [each for each in records if isinstance(each, BlockRecord)]
    if len(blocks) != 2:
        return ""
    one, other = blocks
    names = [name for name in BlockRecord.__slots__ if getattr(one, name) != getattr(other, name)]
    said = "; ".join(f"{name} {_shown(getattr(one, name))} or {_shown(getattr(other, name))}" for name in names)
    return f"; block {one.height} says {said}" if one.height == other.height else ""


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _block_end(evidence: Evidence) -> str | None:
    (entry,) = evidence.heads[0].entries
    record = _parsed(entry)
    if not isinstance(record, BlockRecord) or record.first + record.count == entry.index:
        return None
    return (
        f"the record of block {record.height} is entry {entry.index}, "
        f"and says {record.count} statements from {record.first} on"
    )


def _before_and_record(evidence: Evidence) -> tuple[ShownEntry, BlockRecord] | None:
    """The entry before a block, and the record that closes the block; None if the two are not that."""
    before, closing = evidence.heads[0].entries
    record = _parsed(closing)
    if not isinstance(record, BlockRecord):
        return None
    if record.first + record.count != closing.index or record.first - 1 != before.index:
        return None
    return before, record


def _block_previous(evidence: Evidence) -> str | None:
    found = _before_and_record(evidence)
    if found is None or leaf_hash(found[0].raw) == found[1].previous:
        return None
    return f"block {found[1].height} names {found[1].previous.hex()}, entry {found[0].index} has another hash"


def _block_height(evidence: Evidence) -> str | None:
    found = _before_and_record(evidence)
    before = None if found is None else _parsed(found[0])
    if found is None or not isinstance(before, BlockRecord | Genesis):
        return None
    expected = before.height + 1 if isinstance(before, BlockRecord) else 1
    height = found[1].height
    return None if height == expected else f"expected height {expected}, the record says {height}"


def _block_time(evidence: Evidence) -> str | None:
    found = _before_and_record(evidence)
    before = None if found is None else _parsed(found[0])
    if found is None or not isinstance(before, BlockRecord | Genesis) or found[1].time_ms >= before.time_ms:
        return None
    return f"block {found[1].height} is dated {found[1].time_ms} ms, what it follows {before.time_ms} ms"


def _statement_signature(evidence: Evidence) -> str | None:
    (entry,) = evidence.heads[0].entries
    statement = _parsed(entry)
    if not isinstance(statement, Statement):
        return None
    key = PublicKey.from_cose_key(evidence.key)
    if key.kid != statement.kid:
        return None
    try:
        verify_statement(statement, key)
    except Untrue:
        return (
            f"entry {entry.index}, {statement.kind} of {statement.iss}: not signed by key {key.kid.hex()} that it names"
        )
    return None


def _cti_twice(evidence: Evidence) -> str | None:
    one, other = (_parsed(entry) for entry in evidence.heads[0].entries)
    if not isinstance(one, Statement) or not isinstance(other, Statement):
        return None
    if (one.iss, one.cti) != (other.iss, other.cti):
        return None
    first, again = (entry.index for entry in evidence.heads[0].entries)
    return f"entries {first} and {again} are of {one.iss} with cti {one.cti.hex()}"


def _second_genesis(evidence: Evidence) -> str | None:
    (entry,) = evidence.heads[0].entries
    if entry.index == 0 or not isinstance(_parsed(entry), Genesis):
        return None
    return f"entry {entry.index} is a genesis record"


def _parsed(entry: ShownEntry) -> Genesis | Statement | BlockRecord | None:
    """None for what this release cannot read: a later one may, so that it is evidence of nothing."""
    try:
        return parse_entry(entry.raw)
    except LedgerError:
        return None


_CLAIMS: dict[Claim, Callable[[Evidence], str | None]] = {
    Claim.TWO_ROOTS: _two_roots,
    Claim.INCONSISTENT_TREES: _inconsistent_trees,
    Claim.BLOCK_END: _block_end,
    Claim.BLOCK_PREVIOUS: _block_previous,
    Claim.BLOCK_HEIGHT: _block_height,
    Claim.BLOCK_TIME: _block_time,
    Claim.STATEMENT_SIGNATURE: _statement_signature,
    Claim.CTI_TWICE: _cti_twice,
    Claim.SECOND_GENESIS: _second_genesis,
}


def _words(evidence: Evidence, signers: Sequence[Signers], accused: Sequence[str]) -> str:
    who = " and ".join(accused)
    if evidence.claim not in CONFLICTS:
        return f"{who} vouched for a log in which {_lower(evidence.claim.sentence)}"
    sizes = " and ".join(str(head.checkpoint.size) for head in evidence.heads)
    validators = [name for name in accused if not name.startswith(LOG_KEY)]
    if validators:
        return f"{', '.join(validators)} signed both of two histories that cannot both be true (sizes {sizes})"
    if accused:
        # Not that one of its validators lies: each of two may have signed one history, led apart by somebody else.
        return (
            f"{who} stands under both of two histories that cannot both be true (sizes {sizes}): "
            "of the validators that share it, no one here signed both"
        )
    sides = " against ".join(map(str, signers))
    return f"{sides}: they signed two histories that cannot both be true (sizes {sizes}); nobody here signed both"


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]

"""The checks of a crossing certificate, one after the other, each with its number, its name and what was found.

    1 policy         the policy file is one (C2SP tlog-policy)
    2 certificate    the file is a certificate, in its one spelling
    3 log            a log of the policy signed the checkpoint
    4 quorum         the witnesses that the policy demands cosigned it
    5 inclusion      every entry stands at its index in the tree of the checkpoint
    6 genesis        the first of them is the genesis of this log: whether its log keys are still the policy's, it says
    7 blocks         a block record closes the block of every statement, and they rise in height and time
    8 story          each statement follows from those before it, by the tables of the contracts, from the plan on
    9 record         the movement's own record, proven under the last block's state root, says the same
                     (where the certificate has it)

Promises: every check that can be made is made, one that cannot because an earlier one failed says so, and nothing
raises for bytes from outside. Whoever believes the policy needs nothing else: no network, no server, no registry.

Does not: check the signatures of statements under the keys of their signers. Both authorities did before they cosigned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from contracts.certificate import Certificate, belongs, parse_certificate
from contracts.crossing_story import Story, tell
from contracts.movement import Movement, decode_movement, movement_key
from contracts.working import UnreadableRecord
from ledger.calendar import time_text
from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord, Genesis
from ledger.errors import LedgerError, Malformed, Untrue
from ledger.multiproof import verify_multiproof
from ledger.note import parse_note
from ledger.policy import Policy, QuorumResult, parse_policy
from ledger.proof_check import Check, Verdict
from ledger.statement import Statement
from ledger.stateproof import verify_state_proof

_ALWAYS_NOT_CHECKED = (
    "the statements' own signatures: both authorities checked them against their registry before cosigning; an audit "
    "of the archive checks them again",
    "what happened after the checkpoint",
    "positions of the truck, photos and other attachments: they are not in a certificate",
)
_NOT_CHECKED_WITHOUT_RECORD = (
    "that the last statements were not left out, and with them a later state and another custody; nor what changes no "
    "state, such as an incident that held nothing, or a time limit that has passed since the last statement: this "
    "certificate has no proof of the movement's record"
)
_NOT_IN_THE_RECORD = (
    "that nothing was left out which the movement's record does not keep: what became of its declarations (suspension, "
    "withdrawal, control, request: ask for their status proofs), a time limit that passed and was extended, an offer "
    "that lapsed"
)


@dataclass(slots=True)
class CertificateReport:
    """All checks of one certificate, and what they established: believe `story` only if `holds`."""

    checks: list[Check] = field(default_factory=list)
    certificate: Certificate | None = None
    checkpoint: Checkpoint | None = None
    quorum: QuorumResult | None = None
    story: Story | None = None
    record: Movement | None = None

    @property
    def holds(self) -> bool:
        return len(self.checks) >= 8 and all(check.verdict is Verdict.HOLDS for check in self.checks)

    @property
    def not_checked(self) -> tuple[str, ...]:
        """In plain words, what this certificate cannot tell."""
        without = self.story.not_told() if self.story is not None else ()
        undeclared = (
            (f"declarations {', '.join(without)}: what they say and how they were decided is not in this certificate",)
            if without
            else ()
        )
        unproven = (_NOT_CHECKED_WITHOUT_RECORD,) if self.record is None else ()
        return (*_ALWAYS_NOT_CHECKED, *unproven, _NOT_IN_THE_RECORD, *undeclared)

    @property
    def summary(self) -> str:
        """In one sentence, what it says; empty where that cannot be believed."""
        if not self.holds or self.story is None or self.checkpoint is None:
            return ""
        story, custody = self.story, self.story.custody[-1]
        unproven = "; that nothing came after it is not proven" if self.record is None else ""
        return (
            f"movement {story.mrn} with {story.vehicle} is {story.state.replace('_', ' ')}; custody has been with "
            f"{custody.authority}, and {custody.liable} liable, since {time_text_ms(custody.since.block_time_ms)}"
            f"{unproven}"
        )

    def add(self, number: int, name: str, verdict: Verdict, detail: str) -> None:
        self.checks.append(Check(number, name, verdict, detail))


def check_certificate(policy_bytes: bytes, raw: bytes) -> CertificateReport:
    """Make the checks. Never raises for what the files hold."""
    report = CertificateReport()
    policy = _policy(report, policy_bytes)
    certificate = _certificate(report, raw)
    _weigh(report, policy, certificate)
    _inclusion(report, certificate)
    _genesis(report, policy, certificate)
    times = _blocks(report, certificate)
    _story(report, certificate, times)
    _record(report, certificate)
    return report


def _policy(report: CertificateReport, data: bytes) -> Policy | None:
    try:
        policy = parse_policy(data)
    except Malformed as error:
        report.add(1, "policy", Verdict.FAILS, str(error))
        return None
    report.add(1, "policy", Verdict.HOLDS, policy.told)
    return policy


def _certificate(report: CertificateReport, raw: bytes) -> Certificate | None:
    try:
        certificate = parse_certificate(raw)
    except Malformed as error:
        report.add(2, "certificate", Verdict.FAILS, str(error))
        return None
    report.certificate = certificate
    detail = f"of movement {certificate.mrn}, {len(certificate.statements)} statements"
    report.add(2, "certificate", Verdict.HOLDS, detail)
    return certificate


def _weigh(report: CertificateReport, policy: Policy | None, certificate: Certificate | None) -> None:
    if policy is None or certificate is None:
        report.add(3, "log", Verdict.NOT_REACHED, "needs a policy and a certificate")
        report.add(4, "quorum", Verdict.NOT_REACHED, "needs a policy and a certificate")
        return
    try:
        result = policy.check(parse_note(certificate.checkpoint_note))
    except (Malformed, Untrue) as error:
        report.add(3, "log", Verdict.FAILS, str(error))
        report.add(4, "quorum", Verdict.NOT_REACHED, "needs a checkpoint whose signatures are good")
        return
    report.quorum, report.checkpoint = result, result.checkpoint
    if result.log is None:
        report.add(3, "log", Verdict.FAILS, f"no log of the policy signed a checkpoint of {result.checkpoint.origin}")
    else:
        report.add(3, "log", Verdict.HOLDS, f"{result.checkpoint.origin}, {result.checkpoint.size} entries")
    report.add(4, "quorum", Verdict.HOLDS if result.quorum_met else Verdict.FAILS, result.told)


def _inclusion(report: CertificateReport, certificate: Certificate | None) -> None:
    checkpoint = report.checkpoint
    if certificate is None or checkpoint is None:
        report.add(5, "inclusion", Verdict.NOT_REACHED, "needs a certificate and a checkpoint")
        return
    try:
        verify_multiproof(certificate.leaves(), checkpoint.size, certificate.hashes, checkpoint.root)
    except (Malformed, Untrue) as error:
        report.add(5, "inclusion", Verdict.FAILS, str(error))
        return
    detail = f"{len(certificate.entries)} entries, of {checkpoint.size}"
    report.add(5, "inclusion", Verdict.HOLDS, detail)


def _genesis(report: CertificateReport, policy: Policy | None, certificate: Certificate | None) -> None:
    if certificate is None or policy is None or report.checkpoint is None:
        report.add(6, "genesis", Verdict.NOT_REACHED, "needs a certificate, a policy and a checkpoint")
        return
    genesis = certificate.genesis
    names = " and ".join(f"{each.name} ({each.country})" for each in genesis.authorities)
    keys = {each.log_key for each in genesis.authorities}
    if genesis.origin != report.checkpoint.origin:
        detail = f"it begins another log: expected {report.checkpoint.origin}, got {genesis.origin}"
        report.add(6, "genesis", Verdict.FAILS, detail)
    else:
        # Log keys are replaced, the genesis record never is. Check 5 ties it to the root that both cosigned.
        replaced = not any(log.key.public_key in keys for log in policy.logs)
        detail = f"log of {names}" + ("; the policy's log key took the place of those in it" if replaced else "")
        report.add(6, "genesis", Verdict.HOLDS, detail)


def _blocks(report: CertificateReport, certificate: Certificate | None) -> dict[int, int] | None:
    """Check the block records; return the block time of each statement by its index, None if they do not hold."""
    if certificate is None:
        report.add(7, "blocks", Verdict.NOT_REACHED, "needs a certificate")
        return None
    try:
        times = dict(_block_times(certificate, report.checkpoint))
    except Untrue as error:
        report.add(7, "blocks", Verdict.FAILS, str(error))
        return None
    records = certificate.block_records
    detail = f"{len(records)} block records"
    if times:
        detail += f", {time_text_ms(min(times.values()))} to {time_text_ms(max(times.values()))}"
    report.add(7, "blocks", Verdict.HOLDS, detail)
    return times


def _block_times(certificate: Certificate, checkpoint: Checkpoint | None) -> Iterator[tuple[int, int]]:
    waiting: list[int] = []
    before: BlockRecord | None = None
    after_before = 1  # index after the last block record seen
    for index, entry in certificate.entries:
        if isinstance(entry, Statement):
            waiting.append(index)
        elif isinstance(entry, BlockRecord):
            if entry.first + entry.count != index or entry.first < after_before:
                raise Untrue("bad_blocks", f"entry {index} is no record of a block that ends there")
            if before is not None and (entry.height <= before.height or entry.time_ms < before.time_ms):
                raise Untrue("bad_blocks", f"block record {index}: height and time do not rise")
            last = checkpoint is not None and certificate.record is not None and index == checkpoint.size - 1
            if not waiting and not last:
                raise Untrue("bad_blocks", f"block record {index} closes none of the statements")
            for each in waiting:
                if each < entry.first:
                    raise Untrue("bad_blocks", f"statement {each}: the record of its block is not in the certificate")
                yield each, entry.time_ms
            waiting.clear()
            before, after_before = entry, index + 1
    if waiting:
        raise Untrue("bad_blocks", f"statement {waiting[0]}: the record of its block is not in the certificate")


def authority_of(genesis: Genesis, participant_id: str) -> str:
    """Who enrols under a participant's namespace, which is an authority's name or country; empty if nobody."""
    namespace = participant_id.partition("/")[0]
    for authority in genesis.authorities:
        if namespace in (authority.name, authority.country.lower()):
            return authority.name
    return ""


def _story(report: CertificateReport, certificate: Certificate | None, times: dict[int, int] | None) -> None:
    if certificate is None or times is None:
        report.add(8, "story", Verdict.NOT_REACHED, "needs a certificate whose block records hold")
        return
    genesis = certificate.genesis
    try:
        story = tell(
            certificate.mrn,
            (
                (index, times[index], statement, authority_of(genesis, statement.iss))
                for index, statement in certificate.statements
            ),
        )
        for index, statement in certificate.statements:
            if not belongs(statement, certificate.mrn, story.declarations):
                raise Untrue("story_breaks", f"entry {index}: {statement.kind} about {statement.sub} does not belong")
    except LedgerError as error:
        report.add(8, "story", Verdict.FAILS, str(error))
        return
    report.story = story
    last = story.told[-1]
    detail = f"{story.state.replace('_', ' ')} since {time_text_ms(last.block_time_ms)}, custody "
    detail += f"{story.custody[-1].authority}, liable {story.custody[-1].liable}"
    report.add(8, "story", Verdict.HOLDS, detail)


def _record(report: CertificateReport, certificate: Certificate | None) -> None:
    if certificate is None or certificate.record is None:
        return
    checkpoint, story = report.checkpoint, report.story
    # A record that nobody vouches for could be anything: it is not even read.
    if checkpoint is None or story is None or any(check.verdict is not Verdict.HOLDS for check in report.checks):
        report.add(9, "record", Verdict.NOT_REACHED, "needs all that is before it")
        return
    try:
        record = _proven_record(certificate, checkpoint)
        _compare(story, record)
    except LedgerError as error:
        report.add(9, "record", Verdict.FAILS, str(error))
        return
    report.record = record
    detail = f"{record.state.replace('_', ' ')} as of entry {checkpoint.size - 1}, {record.incident_count} incidents"
    report.add(9, "record", Verdict.HOLDS, detail)


def _proven_record(certificate: Certificate, checkpoint: Checkpoint) -> Movement:
    value, proof = certificate.record or (b"", b"")
    index, last = certificate.entries[-1]
    if index != checkpoint.size - 1 or not isinstance(last, BlockRecord):
        raise Untrue("bad_state_proof", "the block record that closes the log is not in the certificate")
    verify_state_proof(last.state_root, movement_key(certificate.mrn), value, proof)
    try:
        return decode_movement(value)
    except (UnreadableRecord, TypeError, ValueError) as error:
        raise Malformed("bad_record", f"record cannot be read by this release: {error}") from error


def _compare(story: Story, record: Movement) -> None:
    """Untrue where the record says otherwise than the statements: then some of them are missing."""
    custody = story.custody[-1]
    pairs: tuple[tuple[str, object, object], ...] = (
        ("custody", record.custody.authority, custody.authority),
        ("liable party", record.custody.liable, custody.liable),
        ("handover", record.custody.since_statement, custody.since.statement.id),
        ("plan", record.plan.planned_statement, story.custody[0].since.statement.id),
        ("vehicle", record.vehicle, story.vehicle),
        ("containers", record.plan.containers, story.containers),
        ("incidents", record.incident_count, len(story.incidents)),
        ("seals", _seals_of(record), {seal.id: seal.state for seal in story.seals.values()}),
    )
    for name, got, told in pairs:
        if got != told:
            raise Untrue("record_differs", f"{name}: the record says {_shown(got)}, the statements {_shown(told)}")
    # A time limit may have passed of which no statement tells; nothing else changes a state without one.
    if record.state not in story.states_now():
        raise Untrue("record_differs", f"state: the record says {record.state}, the statements {story.state}")


def _seals_of(record: Movement) -> dict[str, str]:
    return {seal.id: seal.state for seal in record.seals}


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def time_text_ms(at_ms: int) -> str:
    return time_text(at_ms // 1000)

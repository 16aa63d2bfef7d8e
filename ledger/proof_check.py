"""The checks behind `comity verify`, one after the other, each with its number, name, and what was found.

    1 policy       the policy file is one (C2SP tlog-policy)
    2 proof        the proof file is one (C2SP tlog-proof)
    3 statement    the statement is one (COSE_Sign1 in its one spelling)
    4 log          a log of the policy signed the checkpoint
    5 quorum       the witnesses that the policy demands cosigned it
    6 inclusion    the statement stands at the proof's index in the tree of the checkpoint

Promises: every check that can be made is made, a check that cannot because an earlier one failed says so, and nothing
raises for bytes from outside. `NOT_CHECKED` says what a proof cannot tell.

Does not: check the statement's own signature. The key it must be made with is the one enrolled at that point of the
ledger; both authorities checked it before they cosigned, and `ledger.audit` checks it from the archive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ledger.calendar import time_text
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, Untrue
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.note import parse_note
from ledger.policy import Policy, QuorumResult, parse_policy
from ledger.proof import Proof, parse_proof
from ledger.statement import Statement, parse_statement

NOT_CHECKED = (
    "the statement's own signature: both authorities checked it against their registry before cosigning; "
    "an audit of the archive checks it again",
    "what happened after the checkpoint: a later entry may have changed what this one says",
)


class Verdict(Enum):
    """What became of one check."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Check:
    """One check, done or not."""

    number: int
    name: str
    verdict: Verdict
    detail: str


@dataclass(slots=True)
class ProofReport:
    """All checks of one proof, and what they established."""

    checks: list[Check] = field(default_factory=list)
    index: int | None = None
    checkpoint: Checkpoint | None = None
    statement: Statement | None = None
    cosigned_at_s: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return len(self.checks) == 6 and all(check.verdict is Verdict.HOLDS for check in self.checks)

    def _add(self, number: int, name: str, verdict: Verdict, detail: str) -> None:
        self.checks.append(Check(number, name, verdict, detail))


def check_proof(policy_bytes: bytes, proof_bytes: bytes, statement_bytes: bytes) -> ProofReport:
    """Make the six checks. Never raises for what the files hold."""
    report = ProofReport()
    policy = _policy(report, policy_bytes)
    proof = _proof(report, proof_bytes)
    _statement(report, statement_bytes)
    result = _weigh(policy, proof)
    _log(report, result)
    _quorum(report, result)
    _inclusion(report, proof, statement_bytes)
    return report


def _policy(report: ProofReport, data: bytes) -> Policy | None:
    try:
        policy = parse_policy(data)
    except Malformed as error:
        report._add(1, "policy", Verdict.FAILS, str(error))
        return None
    report._add(1, "policy", Verdict.HOLDS, policy.told)
    return policy


def _proof(report: ProofReport, data: bytes) -> Proof | None:
    try:
        proof = parse_proof(data)
        report.checkpoint = proof.checkpoint
    except Malformed as error:
        report._add(2, "proof", Verdict.FAILS, str(error))
        return None
    report.index = proof.index
    report._add(2, "proof", Verdict.HOLDS, f"entry {proof.index} of a tree of {report.checkpoint.size}")
    return proof


def _statement(report: ProofReport, data: bytes) -> None:
    try:
        statement = parse_statement(data)
    except Malformed as error:
        report._add(3, "statement", Verdict.FAILS, str(error))
        return
    report.statement = statement
    dated = time_text(statement.iat_s)
    detail = f"{statement.kind} about {statement.sub}, by {statement.iss}, dated {dated} by its signer"
    report._add(3, "statement", Verdict.HOLDS, detail)


def _weigh(policy: Policy | None, proof: Proof | None) -> QuorumResult | Untrue | Malformed | None:
    if policy is None or proof is None:
        return None
    try:
        return policy.check(parse_note(proof.checkpoint_note))
    except (Malformed, Untrue) as error:
        return error


def _log(report: ProofReport, result: QuorumResult | Untrue | Malformed | None) -> None:
    if result is None:
        report._add(4, "log", Verdict.NOT_REACHED, "needs a policy and a proof")
    elif isinstance(result, Untrue | Malformed):
        report._add(4, "log", Verdict.FAILS, str(result))
    elif result.log is None:
        report._add(4, "log", Verdict.FAILS, f"no log of the policy signed a checkpoint of {result.checkpoint.origin}")
    else:
        report._add(4, "log", Verdict.HOLDS, f"{result.checkpoint.origin}, {result.checkpoint.size} entries")


def _quorum(report: ProofReport, result: QuorumResult | Untrue | Malformed | None) -> None:
    if not isinstance(result, QuorumResult):
        report._add(5, "quorum", Verdict.NOT_REACHED, "needs a checkpoint whose signatures are good")
        return
    report.cosigned_at_s = dict(result.timestamps)
    report._add(5, "quorum", Verdict.HOLDS if result.quorum_met else Verdict.FAILS, result.told)


def _inclusion(report: ProofReport, proof: Proof | None, statement_bytes: bytes) -> None:
    checkpoint = report.checkpoint
    if proof is None or checkpoint is None:
        report._add(6, "inclusion", Verdict.NOT_REACHED, "needs a proof")
        return
    try:
        verify_inclusion(proof.index, checkpoint.size, leaf_hash(statement_bytes), proof.hashes, checkpoint.root)
    except (Untrue, Malformed) as error:
        report._add(6, "inclusion", Verdict.FAILS, f"this statement is not entry {proof.index}: {error}")
        return
    report._add(6, "inclusion", Verdict.HOLDS, f"entry {proof.index}, id {leaf_hash(statement_bytes).hex()}")

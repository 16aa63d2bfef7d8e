"""A bundle of evidence as `comity verify` reports it. The rules are those of `ledger.evidence_check`."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.verifying import Verification
from ledger.evidence_check import NOT_CHECKED, check_evidence


def evidence_verification(policies: Sequence[bytes], data: bytes) -> Verification:
    """Check a bundle under one policy, or those of several sides: each names its own log key only."""
    report = check_evidence(policies, data)
    evidence = report.evidence
    facts = {
        "claim": None if evidence is None else evidence.claim.value,
        "id": None if evidence is None else evidence.id,
        "heads": [
            {"size": head.checkpoint.size, "root": head.checkpoint.root.hex(), "origin": head.checkpoint.origin}
            for head in (() if evidence is None else evidence.heads)
        ],
        "signed": [{"names": list(each.names.values()), "final": each.final} for each in report.signers],
        "accused": list(report.accused),
    }
    return Verification("evidence", report.checks, NOT_CHECKED, facts, report.words)

"""What `comity verify` can be given: one table of kinds of file, each told by its content and checked offline.

Promises: a file is known by its bytes, whatever it is called; its name decides only where the bytes are of no kind, so
that a damaged file is told what is wrong with it. A check never raises for what a file holds. Every report names what
was checked, in order and in plain words, and what no such file can tell (`not_checked`).

Does not: read files, print, or know a clock: the caller hands all that in. A kind imports what it needs when it is
asked, so that one proof is verified without what the others need.

To add a kind: a row in `KINDS`. Its `check` gets the bytes and a `Context` and returns a `Verification`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.proof_check import Check, Verdict


@dataclass(frozen=True, slots=True)
class Context:
    """What the files are held against: the policy, and what the caller sees or wants to know."""

    policy: bytes
    # When it is, Unix seconds: for what is valid for a time.
    at_s: int
    # What a proof that does not carry its statement is about.
    statement: bytes | None = None
    # What a gate sees for itself, to be compared with what a pass says; None where it was not looked at.
    vehicle: str | None = None
    containers: tuple[str, ...] | None = None
    seals: tuple[str, ...] | None = None


@dataclass(slots=True)
class Verification:
    """The checks of one file. `facts` are what it says, as plain data: believe them only if it `holds`."""

    kind: str
    checks: list[Check] = field(default_factory=list)
    not_checked: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    # In one sentence, for people; empty where the checks say it all.
    summary: str = ""

    @property
    def holds(self) -> bool:
        return bool(self.checks) and all(check.verdict is Verdict.HOLDS for check in self.checks)


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of file. `suffix`: how it is usually called. `max_bytes`: no longer one is looked at."""

    name: str
    what: str
    suffix: str
    max_bytes: int
    sniff: Callable[[bytes], bool]
    check: Callable[[bytes, Context], Verification]
    # Whether the statement that it is about is a file of its own.
    needs_statement: bool = False


class Checks:
    """Checks in the making: numbered as they come, and each after a failed one that it needs is `not reached`."""

    def __init__(self) -> None:
        self.made: list[Check] = []

    def holds(self, name: str, detail: str) -> None:
        self._add(name, Verdict.HOLDS, detail)

    def fails(self, name: str, detail: object) -> None:
        self._add(name, Verdict.FAILS, str(detail))

    def not_reached(self, name: str, needs: str) -> None:
        self._add(name, Verdict.NOT_REACHED, f"needs {needs}")

    def _add(self, name: str, verdict: Verdict, detail: str) -> None:
        self.made.append(Check(len(self.made) + 1, name, verdict, detail))


def kind_of(data: bytes, name: str = "") -> Kind | None:
    """The kind of a file by its bytes; where they are of none, by its name; None where that says nothing either."""
    for kind in KINDS:
        if kind.sniff(data):
            return kind
    return next((kind for kind in KINDS if name.endswith(kind.suffix)), None)


def verify_file(data: bytes, name: str, context: Context) -> Verification:
    """Check a file, whatever it is."""
    kind = kind_of(data, name)
    checks = Checks()
    if kind is None:
        known = ", ".join(f"{each.what} ({each.suffix})" for each in KINDS)
        checks.fails("kind", f"nothing that can be verified: expected one of {known}")
        return Verification("unknown", checks.made)
    if len(data) > kind.max_bytes:
        checks.fails("size", f"too large for {kind.what}: expected at most {kind.max_bytes} bytes, got {len(data)}")
        return Verification(kind.name, checks.made)
    return kind.check(data, context)


def all_not_checked(verifications: Sequence[Verification]) -> list[str]:
    """What none of these could tell, each thing once."""
    return list(dict.fromkeys(line for each in verifications for line in each.not_checked))


# --- C2SP tlog-proof -------------------------------------------------------------------------------------------------

_TLOG_PROOF = b"c2sp.org/tlog-proof@"
_MAX_PROOF_BYTES = 353_621  # `ledger.proof.MAX_PROOF_BYTES`, held equal by a test


def _check_tlog_proof(data: bytes, context: Context) -> Verification:
    from ledger.proof_check import NOT_CHECKED, check_proof

    if context.statement is None:
        checks = Checks()
        checks.fails("statement", "a proof is about a statement, which is a file of its own: name it")
        return Verification("tlog-proof", checks.made, NOT_CHECKED)
    report = check_proof(context.policy, data, context.statement)
    statement = report.statement
    facts = {
        "index": report.index,
        "tree_size": report.checkpoint.size if report.checkpoint else None,
        "statement": None
        if statement is None
        else {
            "id": statement.id_hex,
            "kind": statement.kind,
            "issuer": statement.iss,
            "subject": statement.sub,
            "iat_s": statement.iat_s,
        },
        "cosigned_at_s": report.cosigned_at_s,
    }
    return Verification("tlog-proof", report.checks, NOT_CHECKED, facts)


# --- formats of this project, or of others with a profile of this project's ------------------------------------------

_TRANSPARENT = b"\xd2\x84"
_OPEN_HEADER_OF_RECEIPTS = b"\xa1\x19\x01\x8a"
_STATUS_PROOF = b"\x87\x70comity.status.v1"
_PASS = b"\xd8\x62\x84"
# The limits of `ledger.receipt`, `ledger.status_proof`, `contracts.crossing_pass` and `ledger.evidence`, held equal
# by tests.
_MAX_TRANSPARENT_BYTES = 98_368
_MAX_STATUS_PROOF_BYTES = 539_824
_MAX_PASS_BYTES = 16_384
_EVIDENCE = b"dtypercomity.evidence.v1"  # CBOR: the text `type`, then the text of 18 characters
_EVIDENCE_WITHIN_BYTES = 8 * 1024
_MAX_EVIDENCE_BYTES = 1_048_576
# Within so many bytes the protected header of a statement has ended.
_HEADER_BYTES = 1_200


def _is_transparent(data: bytes) -> bool:
    return data.startswith(_TRANSPARENT) and _OPEN_HEADER_OF_RECEIPTS in data[:_HEADER_BYTES]


def _check_transparent(data: bytes, context: Context) -> Verification:
    from contracts.verifying_kinds import check_transparent

    return check_transparent(data, context)


def _check_status_proof(data: bytes, context: Context) -> Verification:
    from contracts.verifying_kinds import check_status_proof

    return check_status_proof(data, context)


def _check_pass(data: bytes, context: Context) -> Verification:
    from contracts.verifying_kinds import check_pass

    return check_pass(data, context)


def _check_evidence(data: bytes, context: Context) -> Verification:
    from contracts.verifying_evidence import evidence_verification

    return evidence_verification([context.policy], data)


# --- crossing certificate ------------------------------------------------------------------------------------------

# `contracts.certificate.START` and `MAX_CERTIFICATE_BYTES`, held equal by a test.
_CROSSING = b"\x86\x72comity.crossing.v1"
_MAX_CROSSING_BYTES = 4 * 1024 * 1024


def _check_crossing(data: bytes, context: Context) -> Verification:
    from contracts.certificate_check import check_certificate
    from contracts.certificate_facts import certificate_facts

    report = check_certificate(context.policy, data)
    return Verification("crossing", report.checks, report.not_checked, certificate_facts(report), report.summary)


KINDS: tuple[Kind, ...] = (
    Kind(
        "tlog-proof",
        "the proof of a statement, C2SP tlog-proof",
        ".tlog-proof",
        _MAX_PROOF_BYTES,
        lambda data: data.startswith(_TLOG_PROOF),
        _check_tlog_proof,
        needs_statement=True,
    ),
    Kind(
        "transparent-statement",
        "a statement with its COSE receipts, RFC 9943",
        ".cose",
        _MAX_TRANSPARENT_BYTES,
        _is_transparent,
        _check_transparent,
    ),
    Kind(
        "status-proof",
        "the proof of a record as it stands",
        ".status-proof",
        _MAX_STATUS_PROOF_BYTES,
        lambda data: data.startswith(_STATUS_PROOF),
        _check_status_proof,
    ),
    Kind(
        "pass",
        "a crossing pass",
        ".pass",
        _MAX_PASS_BYTES,
        lambda data: data.startswith(_PASS),
        _check_pass,
    ),
    Kind(
        "evidence",
        "evidence against signers",
        ".evidence",
        _MAX_EVIDENCE_BYTES,
        lambda data: _EVIDENCE in data[:_EVIDENCE_WITHIN_BYTES] and data[:1] in (b"\xa3", b"\xa4", b"\xa5"),
        _check_evidence,
    ),
    Kind(
        "crossing",
        "a crossing certificate",
        ".crossing",
        _MAX_CROSSING_BYTES,
        lambda data: data.startswith(_CROSSING),
        _check_crossing,
    ),
)

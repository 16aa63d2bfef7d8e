"""A disclosure: single private fields of one declaration, shown to somebody who trusts nothing but a policy file.

    disclosure = [1, statement, proof, [[salt, name, value], ...]]      deterministic CBOR

The statement and its tlog-proof as they are, and the openings of the fields that are shown; the others stay closed. The
checks, one after the other: those of `comity verify` for the statement (1 to 6 of `ledger.proof_check`), and

    7 content      the statement declares a content with commitments
    8 fields       each field shown opens the commitment of its name in that content

Promises: never raises for what the file holds; a value, a salt, a name, a statement or a proof put in the place of
another fails a check that says so. The light install is enough.

Does not: show that a content is in force (`NOT_CHECKED`), or who handed the file over. Whoever gets a disclosure can
pass it on: what is opened is open.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from contracts.commitments import Opening, check_opening, commitments_of, openings_of, openings_value
from contracts.declaration_private import parse_private_field
from contracts.identifiers import IdentifierError
from ledger import proof_check
from ledger.cbor import decode, encode
from ledger.errors import LedgerError, Malformed, Misuse, Untrue
from ledger.proof_check import Check, ProofReport, Verdict, check_proof
from ledger.statement import Statement, parse_statement

FORMAT = 1
MAX_DISCLOSURE_BYTES = 512 * 1024
DECLARING_KINDS = ("declaration.lodge", "declaration.request_amendment", "declaration.control_result")
NOT_CHECKED = (
    *proof_check.NOT_CHECKED,
    "that this content is in force: a request to amend is on the ledger as soon as it is made, decided or not, and a "
    "later version may say otherwise",
)


@dataclass(frozen=True, slots=True)
class Disclosure:
    statement: bytes
    proof: bytes
    openings: tuple[Opening, ...]

    def encode(self) -> bytes:
        return encode((FORMAT, self.statement, self.proof, openings_value(self.openings)))


@dataclass(slots=True)
class DisclosureReport:
    """All checks of one disclosure. `fields` are those that were shown; believe them only if `holds`."""

    checks: list[Check] = field(default_factory=list)
    proof: ProofReport | None = None
    fields: tuple[Opening, ...] = ()

    @property
    def holds(self) -> bool:
        return len(self.checks) == 8 and all(check.verdict is Verdict.HOLDS for check in self.checks)


def commitments_in(statement: Statement) -> dict[str, bytes]:
    """The commitments of the content that a statement declares; Untrue if it declares none.

    The statement may be one that no ledger took, made to be read here: names that no field has are not repeated.
    """
    payload = statement.payload if statement.kind in DECLARING_KINDS else {}
    commitments = commitments_of(payload.get("content") if isinstance(payload, dict) else None)
    if not commitments:
        raise Untrue("nothing_committed", f"{statement.kind} declares no content with commitments")
    for name in commitments:
        try:
            parse_private_field(name)
        except IdentifierError as error:
            raise Untrue("no_private_field", str(error)) from error
    return commitments


def disclose(statement: bytes, proof: bytes, openings: Sequence[Opening], names: Collection[str]) -> Disclosure:
    """Show the named fields. Misuse or Untrue if the openings are not those of the statement: before, not after."""
    commitments = commitments_in(parse_statement(statement))
    chosen = tuple(opening for opening in openings if opening.name in set(names))
    missing = sorted(set(names) - {opening.name for opening in chosen})
    if missing or not chosen:
        having = ", ".join(opening.name for opening in openings) or "none"
        raise Misuse(f"expected fields among {having}, got {', '.join(missing) or 'none'}")
    for opening in chosen:
        check_opening(opening, commitments)
    return Disclosure(statement, proof, chosen)


def parse_disclosure(raw: bytes) -> Disclosure:
    """Malformed for anything but the one spelling of a disclosure."""
    value = decode(raw, max_bytes=MAX_DISCLOSURE_BYTES)
    if not isinstance(value, list) or len(value) != 4 or value[0] != FORMAT or value[0] is True:
        raise Malformed("bad_disclosure", f"expected [{FORMAT}, statement, proof, openings]")
    _, statement, proof, openings = value
    if not isinstance(statement, bytes) or not isinstance(proof, bytes):
        raise Malformed("bad_disclosure", "expected the bytes of a statement and of a proof")
    shown = openings_of(openings)
    if not shown:
        raise Malformed("bad_disclosure", "expected at least one field")
    return Disclosure(statement, proof, shown)


def check_disclosure(policy: bytes, raw: bytes) -> DisclosureReport:
    """Make the eight checks; of a file that is no disclosure, one that fails with number 0."""
    report = DisclosureReport()
    try:
        disclosure = parse_disclosure(raw)
    except LedgerError as error:
        report.checks.append(Check(0, "disclosure", Verdict.FAILS, str(error)))
        return report
    report.proof = check_proof(policy, disclosure.proof, disclosure.statement)
    report.checks += report.proof.checks
    report.fields = disclosure.openings
    _content(report, disclosure)
    return report


def _content(report: DisclosureReport, disclosure: Disclosure) -> None:
    statement = report.proof.statement if report.proof else None
    if statement is None:
        report.checks.append(Check(7, "content", Verdict.NOT_REACHED, "needs a statement"))
        report.checks.append(Check(8, "fields", Verdict.NOT_REACHED, "needs a content"))
        return
    try:
        commitments = commitments_in(statement)
    except Untrue as error:
        report.checks.append(Check(7, "content", Verdict.FAILS, str(error)))
        report.checks.append(Check(8, "fields", Verdict.NOT_REACHED, "needs commitments"))
        return
    detail = f"{statement.kind} about {statement.sub} commits to {', '.join(sorted(commitments))}"
    report.checks.append(Check(7, "content", Verdict.HOLDS, detail))
    for opening in disclosure.openings:
        try:
            check_opening(opening, commitments)
        except Untrue as error:
            report.checks.append(Check(8, "fields", Verdict.FAILS, str(error)))
            return
    shown = ", ".join(opening.name for opening in disclosure.openings)
    hidden = len(commitments) - len(disclosure.openings)
    report.checks.append(Check(8, "fields", Verdict.HOLDS, f"{shown}; {hidden} more stay closed"))

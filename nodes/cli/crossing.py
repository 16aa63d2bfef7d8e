"""`comity crossing`: make the certificate of a crossing, and print it. `comity verify` verifies one."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ledger.errors import LedgerError
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import progress_bar, read_policy, read_small_file
from nodes.cli.participant import gateway_option, open_client, signer_options, stop, write_new

FILE = click.Path(path_type=Path, dir_okay=False)
# It names who was where, and when.
FILE_MODE = 0o600


@click.group()
def crossing() -> None:
    """Make and print the certificate of a crossing: its statements, proofs and times in one file."""


@crossing.command("make")
@click.argument("archive", required=False, type=click.Path(path_type=Path, file_okay=False))
@gateway_option(required=False)
@click.option("--movement", "mrn", required=True, metavar="MRN", help="The movement.")
@click.option("--policy", "policy_path", required=True, type=FILE, help="Whom to believe.")
@click.option("--out", required=True, type=FILE, help="Where to put the certificate.")
@click.option(
    "--without-declarations",
    is_flag=True,
    help="Leave out what its declarations say and how they were decided: for whom they are not.",
)
@signer_options
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def crossing_make(
    archive: Path | None,
    gateway: str | None,
    mrn: str,
    policy_path: Path,
    out: Path,
    without_declarations: bool,
    participant_id: str | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Make the certificate of a movement, from ARCHIVE offline, or from a gateway.

    From a gateway it is for whom the movement is (--as and --key), has what the caller may see, and the movement's own
    record with its proof, which shows what was left out of what it keeps: not what became of the declarations. It is
    verified before it is written.

    Exit status: 0 made, 1 there is no such movement or something does not hold, 2 misuse, 3 not available.
    """
    if (archive is None) == (gateway is None):
        stop("expected an ARCHIVE or --gateway, one of the two", EXIT_MISUSE)
    if archive is not None and (participant_id is not None or key is not None):
        stop("--as and --key go with --gateway: an archive is read offline", EXIT_MISUSE)
    policy = read_policy(policy_path)
    movement = _movement(mrn)
    if archive is not None:
        raw = _from_archive(archive, policy, movement, not without_declarations)
    else:
        raw = _from_gateway(gateway or "", policy, movement, not without_declarations, participant_id, key)
    write_new(out, raw, FILE_MODE)
    _show(out, policy, raw, as_json)


def _movement(mrn: str) -> str:
    from contracts.identifiers import IdentifierError, parse_mrn

    try:
        return str(parse_mrn(mrn))
    except IdentifierError as error:
        stop(f"--movement: {error}", EXIT_MISUSE)


def _from_archive(archive: Path, policy: bytes, mrn: str, declarations: bool) -> bytes:
    from api.certifying import NoSuchMovement, certificate_of_archive

    try:
        with progress_bar("entries") as progress:
            return certificate_of_archive(archive, policy, mrn, declarations=declarations, progress=progress)
    except (LedgerError, NoSuchMovement) as error:
        stop(f"{archive}: {error}", EXIT_DOES_NOT_HOLD)
    except OSError as error:
        stop(f"{archive}: {error.filename or ''}: {error.strerror or error}", EXIT_UNAVAILABLE)


def _from_gateway(
    gateway: str, policy: bytes, mrn: str, declarations: bool, participant_id: str | None, key: Path | None
) -> bytes:
    from api.certifying import verified
    from contracts.certificate import parse_certificate

    with open_client(gateway, participant_id, key) as client:
        raw = client.certificate(mrn, declarations=declarations)
    try:
        verified(policy, raw)
    except LedgerError as error:
        stop(f"{gateway}: {error}", EXIT_DOES_NOT_HOLD)
    if parse_certificate(raw).mrn != mrn:
        stop(f"{gateway}: certificate of another movement", EXIT_DOES_NOT_HOLD)
    return raw


def _show(out: Path, policy: bytes, raw: bytes, as_json: bool) -> None:
    from contracts.certificate_check import check_certificate

    report = check_certificate(policy, raw)
    if as_json:
        found = report.certificate
        shown = {
            "file": str(out),
            "bytes": len(raw),
            "entries": len(found.entries) if found else 0,
            "statements": len(found.statements) if found else 0,
            "record": report.record is not None,
            "summary": report.summary,
        }
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(f"{out}: {report.summary}")


@crossing.command("pdf")
@click.argument("file", type=FILE)
@click.option("--policy", "policy_path", required=True, type=FILE, help="Whom to believe.")
@click.option("--out", required=True, type=FILE, help="Where to put the PDF.")
@click.option(
    "--disclosure",
    "disclosures",
    multiple=True,
    type=FILE,
    help="A disclosure whose private fields are to be shown; once for each.",
)
def crossing_pdf(file: Path, policy_path: Path, out: Path, disclosures: tuple[Path, ...]) -> None:
    """Print the certificate in FILE for people to read, as a PDF, if it holds.

    What does not hold is not printed. Private fields stay closed unless a disclosure opens them (`comity
    disclosure new`). The same bytes for the same files. Needs the extra `certificate`.

    Exit status: 0 printed, 1 something does not hold, 2 misuse, 3 not available.
    """
    from api.certificate_pdf import certificate_pdf

    policy = read_policy(policy_path)
    try:
        pdf = certificate_pdf(policy, read_small_file(file), [read_small_file(each) for each in disclosures])
    except LedgerError as error:
        stop(f"{file}: {error}", EXIT_DOES_NOT_HOLD)
    write_new(out, pdf, FILE_MODE)
    click.echo(f"{out}: {len(pdf)} bytes")

"""`comity export`: the archive from a gateway, or one subject of an archive as a document in the field's formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.errors import LedgerError
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import progress_bar, read_policy
from nodes.cli.participant import checkpoint_for, gateway_option, open_client, signer_options, stop, write_new

if TYPE_CHECKING:
    from api.history import History

_path = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@gateway_option(required=False)
@click.option("--policy", "policy_path", required=True, type=_path, help="Whom to believe.")
@click.option(
    "--format",
    "document_format",
    type=click.Choice(["archive", "epcis", "wco"]),
    default="archive",
    show_default=True,
    help="archive: fetch everything to DIRECTORY. epcis, wco: read the archive in DIRECTORY, offline.",
)
@click.option("--movement", "mrn", metavar="MRN", help="epcis: the movement.")
@click.option("--declaration", "ucr", metavar="UCR", help="wco: the declaration whose notifications are written.")
@click.option("--out", type=_path, help="epcis, wco: where to put the document; it is printed if not given.")
@signer_options
@click.option("--json", "as_json", is_flag=True, help="archive: print what was exported as JSON.")
def export(
    directory: Path,
    gateway: str | None,
    policy_path: Path,
    document_format: str,
    mrn: str | None,
    ucr: str | None,
    out: Path | None,
    participant_id: str | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Export the archive from a gateway to DIRECTORY, or one subject of it as a document.

    The archive: tiles, entries, checkpoint and policy. Run again, it fetches only what is new. Entries are for
    authorities and auditors: name one with --as and --key. Every hash and entry has to be of the checkpoint, the
    checkpoint final under the policy, and the archive that was there its beginning; whether statements are signed and
    executed as they should be, `comity audit DIRECTORY --policy POLICY` says, offline.

    A document (EPCIS 2.0 JSON-LD of a movement, WCO notifications of a declaration) is a function of the archive alone:
    whoever has the archive writes the same bytes. Checked is that the entries are those of its checkpoint, and that the
    policy holds that for final.
    """
    policy = read_policy(policy_path)
    if document_format != "archive":
        if gateway is not None or participant_id is not None or key is not None or as_json:
            stop(
                f"--format {document_format} reads the archive in DIRECTORY: no --gateway, --as, --key, --json",
                EXIT_MISUSE,
            )
        _export_document(directory, policy, document_format, mrn, ucr, out)
        return
    if mrn is not None or ucr is not None or out is not None:
        stop("--movement, --declaration and --out go with --format epcis or wco", EXIT_MISUSE)
    if gateway is None:
        stop("--gateway: needed, to fetch the archive from", EXIT_MISUSE)
    if participant_id is None:
        stop("entries are for authorities and auditors: name one with --as and --key", EXIT_MISUSE)
    _export_archive(directory, gateway, policy, participant_id, key, as_json)


def _export_archive(
    directory: Path, gateway: str, policy: bytes, participant_id: str, key: Path | None, as_json: bool
) -> None:
    from ledger.archive import export_archive

    with open_client(gateway, participant_id, key) as client, progress_bar("files") as progress:
        try:
            note = checkpoint_for(client, policy)
            changes = "".join(client.membership()["changes"]).encode()
            done = export_archive(client, directory, policy, note, progress, changes)
        except LedgerError as error:
            stop(str(error), EXIT_DOES_NOT_HOLD)
        except OSError as error:
            stop(f"{directory}: {error.strerror or error}", EXIT_UNAVAILABLE)
    shown = {
        "directory": str(directory),
        "origin": done.checkpoint.origin,
        "size": done.checkpoint.size,
        "root": done.checkpoint.root.hex(),
        "files_written": done.written,
        "files_kept": done.kept,
        "files_removed": done.removed,
    }
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(f"{directory}: {done.checkpoint.size} entries, {done.written} files written, {done.kept} kept")


def _export_document(
    directory: Path, policy: bytes, document_format: str, mrn: str | None, ucr: str | None, out: Path | None
) -> None:
    from api.epcis.document import movement_document
    from api.wco.notifications import NothingToNotify, notifications_document

    if (document_format == "epcis") != (mrn is not None) or (document_format == "wco") != (ucr is not None):
        stop("--format epcis goes with --movement, --format wco with --declaration", EXIT_MISUSE)
    subject = _subject(mrn, ucr)
    history = _history(directory, policy, subject)
    if not history.entries:
        stop(f"{directory}: nothing is about {subject} in {history.size} entries", EXIT_DOES_NOT_HOLD)
    try:
        document = (movement_document if mrn is not None else notifications_document)(subject, history)
    except NothingToNotify as error:
        stop(f"{directory}: {error}", EXIT_DOES_NOT_HOLD)
    if out is None:
        click.echo(document, nl=False)
    else:
        write_new(out, document)
        click.echo(f"{out}: {len(history.entries)} entries about {subject}", err=True)


def _subject(mrn: str | None, ucr: str | None) -> str:
    from contracts.identifiers import IdentifierError, parse_mrn, parse_ucr

    try:
        return str(parse_mrn(mrn) if mrn is not None else parse_ucr(ucr or ""))
    except IdentifierError as error:
        stop(str(error), EXIT_MISUSE)


def _history(directory: Path, policy: bytes, subject: str) -> History:
    from api.history import read_archive

    try:
        with progress_bar("entries") as progress:
            return read_archive(directory, policy, subject, progress)
    except LedgerError as error:
        stop(f"{directory}: {error}", EXIT_DOES_NOT_HOLD)
    except OSError as error:
        stop(f"{directory}: {error.strerror or error}", EXIT_UNAVAILABLE)

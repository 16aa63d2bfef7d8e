"""`comity import`: documents in the field's formats become statements to sign. Works offline, on the light install."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import STATEMENT_SUFFIX, progress_bar, read_small_file
from nodes.cli.participant import (
    open_client,
    payload_from_json,
    private_key,
    signed_statement,
    stop,
    write_new,
)

if TYPE_CHECKING:
    from api.wco.importing import Given, Imported
    from ledger.statement import Statement

MAX_DOCUMENT_FILE_BYTES = 256 * 1024 * 1024
PAYLOAD_SUFFIX = ".payload.json"
REPORT_SUFFIX = ".report.json"
_PRIVATE = (
    "{file}: not signed: these fields would stand on the ledger for ever: {fields}; say --open if they may, or sign "
    "the payload after `comity envelope seal`"
)

_path = click.Path(path_type=Path, dir_okay=False)
_folder = click.Path(path_type=Path, file_okay=False)


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=_path)
@click.option(
    "--format",
    "document_format",
    type=click.Choice(["wco"]),
    default="wco",
    show_default=True,
    help="wco: WCO Data Model 3.6 XML.",
)
@click.option("--home", default="", metavar="NAME", help="Authority that receives the declaration, as kz-kgd.")
@click.option("--partner", default="", metavar="NAME", help="Authority that is asked to recognise it, as cn-gacc.")
@click.option("--carrier", default="", metavar="ID", help="Participant id of the carrier, who may then read it.")
@click.option("--ucr", default="", help="UCR, where the document has none or another; goes with one FILE.")
@click.option(
    "--fields",
    "fields_path",
    type=_path,
    help="JSON laid over the payload: what the document lacks or has wrong. Items of goods by their number: "
    '{"content": {"goods": {"1": {"hs": "100190"}}}}.',
)
@click.option(
    "--document",
    "documents",
    multiple=True,
    metavar="NUMBER=FILE",
    help="File of a declared document: it is kept with its SHA-256. Give it once for each.",
)
@click.option("--xsd", "xsd", type=_folder, help="Folder of XML Schemas that documents must be valid against.")
@click.option("--out", type=_folder, help="Folder for payloads, reports and signed statements.")
@click.option("--key", type=_path, help="Private key: sign what is ready. Goes with --as and --out.")
@click.option("--as", "iss", metavar="ID", help="Participant that signs: the declarant.")
@click.option("--open", "in_the_open", is_flag=True, help="Sign commercial fields in the open: the ledger keeps them.")
@click.option("--submit", "gateway", metavar="URL", help="Send what was signed to this gateway, and wait until final.")
@click.option("--report", "full", is_flag=True, help="Show what became of every element, not only how many.")
@click.option("--json", "as_json", is_flag=True, help="Print all reports as JSON.")
def import_(
    files: tuple[Path, ...],
    document_format: str,
    home: str,
    partner: str,
    carrier: str,
    ucr: str,
    fields_path: Path | None,
    documents: tuple[str, ...],
    xsd: Path | None,
    out: Path | None,
    key: Path | None,
    iss: str | None,
    in_the_open: bool,
    gateway: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """Import declarations: payloads ready to sign, and a report of what became of every element.

    What does not map is reported, never dropped. Nothing is signed that is not ready. Exit status: 0 every FILE is
    ready (and, if asked for, signed and final), 1 some is not, 2 misuse, 3 a file or gateway is not available.
    """
    if (key is None) != (iss is None) or (key is not None and out is None) or (gateway is not None and key is None):
        stop("--key goes with --as and --out, and --submit with --key", EXIT_MISUSE)
    if ucr and len(files) > 1:
        stop("--ucr goes with one FILE", EXIT_MISUSE)
    if len({file.stem for file in files}) < len(files) and out is not None:
        stop("--out: two FILEs have the same name", EXIT_MISUSE)
    given = _given(home, partner, carrier, ucr, fields_path, documents)
    schemas = _schemas(xsd)
    shown = []
    signed: list[tuple[dict[str, Any], Statement]] = []
    with progress_bar("documents") as progress:
        for done, file in enumerate(files, 1):
            report, imported = _import(file, given, schemas)
            shown.append(report)
            statement = _sign(file, report, imported, key, iss, in_the_open)
            if statement is not None:
                signed.append((report, statement))
            if out is not None:
                _write(out, file.stem, report, imported, statement)
            if progress is not None:
                progress(done, len(files))
    if gateway is not None and signed:
        _submit(gateway, signed)
    if as_json:
        click.echo(json.dumps({"documents": shown}, indent=2, ensure_ascii=False))
    else:
        for report in shown:
            _show(report, full)
    good = all(report["ready"] and report.get("state", "final") in ("committed", "final") for report in shown)
    raise SystemExit(0 if good else EXIT_DOES_NOT_HOLD)


def _sign(
    file: Path, report: dict[str, Any], imported: Imported | None, key: Path | None, iss: str | None, in_the_open: bool
) -> Statement | None:
    """What is ready, signed if that is asked for; its id goes into the report."""
    if imported is None or not imported.ready or key is None or iss is None:
        return None
    if imported.commercial and not in_the_open:
        stop(_PRIVATE.format(file=file, fields=", ".join(imported.commercial)), EXIT_MISUSE)
    payload: dict[str | int, Any] = dict(imported.payload.items())
    statement = signed_statement(private_key(key), imported.kind, iss, imported.subject, payload)
    report["statement"] = statement.id_hex
    return statement


def _given(
    home: str, partner: str, carrier: str, ucr: str, fields_path: Path | None, documents: tuple[str, ...]
) -> Given:
    from api.wco.importing import Given

    fields: Any = {}
    if fields_path is not None:
        try:
            fields = payload_from_json(json.loads(read_small_file(fields_path)))
        except (ValueError, RecursionError) as error:
            stop(f"{fields_path}: {error}", EXIT_MISUSE)
        if not isinstance(fields, dict):
            stop(f"{fields_path}: expected a map, got {type(fields).__name__}", EXIT_MISUSE)
    hashes = {}
    for document in documents:
        number, equals, path = document.rpartition("=")
        if not equals or not number:
            stop(f"--document: expected NUMBER=FILE, got {document!r}", EXIT_MISUSE)
        hashes[number] = _sha256(Path(path))
    return Given(home, partner, carrier, ucr, fields, hashes)


def _sha256(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if path.stat().st_size > MAX_DOCUMENT_FILE_BYTES:
                stop(f"{path}: too large: expected at most {MAX_DOCUMENT_FILE_BYTES} bytes", EXIT_MISUSE)
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        stop(f"{path}: {error.strerror or error}", EXIT_UNAVAILABLE)


def _schemas(folder: Path | None) -> Any:
    if folder is None:
        return None
    from api.wco.schemas import Schemas, SchemaUnusable

    try:
        return Schemas(folder)
    except SchemaUnusable as error:
        stop(f"--xsd: {error}", EXIT_MISUSE)
    except OSError as error:
        stop(f"--xsd: {error}", EXIT_UNAVAILABLE)


def _import(file: Path, given: Given, schemas: Any) -> tuple[dict[str, Any], Imported | None]:
    from api.wco.importing import import_declaration
    from api.wco.reading import XmlRefused

    raw = read_small_file(file)
    try:
        imported = import_declaration(raw, given)
        if schemas is not None:
            _check_against(schemas, raw)
    except XmlRefused as error:
        return {"file": str(file), "ready": False, "refused": error.code, "message": str(error)}, None
    return {"file": str(file), **imported.as_dict()}, imported


def _check_against(schemas: Any, raw: bytes) -> None:
    from api.wco.schemas import SchemaUnusable

    try:
        schemas.check(raw)
    except SchemaUnusable as error:
        stop(f"--xsd: {error}", EXIT_MISUSE)


def _write(
    folder: Path, stem: str, report: dict[str, Any], imported: Imported | None, statement: Statement | None
) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"{folder}: {error.strerror or error}", EXIT_UNAVAILABLE)

    def as_json(document: Any) -> bytes:
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()

    write_new(folder / f"{stem}{REPORT_SUFFIX}", as_json(report))
    if imported is not None and imported.ready:
        write_new(folder / f"{stem}{PAYLOAD_SUFFIX}", as_json(report["payload"]))
    if statement is not None:
        write_new(folder / f"{stem}{STATEMENT_SUFFIX}", statement.raw)


def _submit(gateway: str, signed: list[tuple[dict[str, Any], Statement]]) -> None:
    from api.client import ProblemError

    with open_client(gateway) as client:
        for report, statement in signed:
            try:
                receipt = client.submit(statement.raw, wait="final")
            except ProblemError as error:
                report.update(state="failed", problem=error.code, detail=error.detail)
                continue
            report.update(state=receipt.state, index=receipt.index)


def _show(report: dict[str, Any], full: bool) -> None:
    if "refused" in report:
        click.echo(f"{report['file']}: REFUSED: {report['message']}")
        return
    about = f" about {report['subject']}" if report["subject"] else ""
    state = "ready" if report["ready"] else "NOT READY"
    click.echo(f"{report['file']}: {state}: {report['kind'] or 'unknown kind'}{about}")
    for problem in report["problems"]:
        where = f"{problem['path']}, line {problem['line']}: " if problem["path"] else ""
        what = f"{problem['field']}: " if problem["field"] else ""
        click.echo(f"  problem: {where}{what}{problem['message']}")
    for note in report["notes"]:
        click.echo(f"  note: {note}")
    counts = ", ".join(f"{count} {fate}" for fate, count in report["fates"].items() if count)
    click.echo(f"  {sum(report['fates'].values())} values: {counts}")
    if full:
        for element in report["elements"]:
            what = " ".join(filter(None, (element["fate"], element.get("to", ""))))
            why = f" ({element['why']})" if element.get("why") else ""
            click.echo(f"  {element['line']:>5} {element['path']} = {element['value']!r}: {what}{why}")
    if "statement" in report:
        detail = f": {report['problem']}: {report['detail']}" if "problem" in report else ""
        click.echo(f"  signed {report['statement']}, {report.get('state', 'not sent')}{detail}")

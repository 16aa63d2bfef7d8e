"""Commands for those who sign and ask: keys, enrol, sign, submit, proof, status."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from ledger import cbor
from ledger.algorithms import EDDSA, ES256, PrivateKey, PublicKey
from ledger.errors import LedgerError
from ledger.statement import CTI_BYTES, Statement, parse_statement, parse_statement_sequence, sign_statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import STATEMENT_SUFFIX, progress_bar, read_policy, read_small_file
from nodes.cli.terminal import unfiltered

if TYPE_CHECKING:
    from api.client import Client

PRIVATE_FILE_MODE = 0o600
# Twice what a gateway takes in one request: a longer file is sent in several.
MAX_STATEMENTS_A_FILE = 100_000
MAX_SEQUENCE_FILE_BYTES = 512 * 1024 * 1024
HEX_FIELD = "hex"

F = TypeVar("F", bound=Callable[..., Any])


def stop(message: str, status: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)


def private_key(path: Path) -> PrivateKey:
    """A private key file; ends the command if it is none."""
    try:
        return PrivateKey.from_pem(read_small_file(path))
    except LedgerError as error:
        stop(f"{path}: {error}", EXIT_MISUSE)


def read_public_key(path: Path) -> PublicKey:
    """A .pub file; ends the command if it is none."""
    try:
        return PublicKey.from_cose_key(read_small_file(path))
    except LedgerError as error:
        stop(f"{path}: {error}; expected the .pub file that `comity keys new` wrote", EXIT_MISUSE)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        stop(f"{path}: is there already; nothing is overwritten", EXIT_MISUSE)
    except OSError as error:
        stop(f"{path}: {error.strerror or error}", EXIT_UNAVAILABLE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def gateway_option(required: bool = True) -> Callable[[F], F]:
    return click.option("--gateway", required=required, metavar="URL", help="A gateway, as http://127.0.0.1:8080.")


def signer_options(command: F) -> F:
    """Who asks: needed where the gateway shows a caller only its own."""
    for option in (
        click.option(
            "--as", "participant_id", metavar="ID", help="Participant that asks; needed for what is not open."
        ),
        click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="That participant's private key."),
    ):
        command = option(command)
    return command


@contextmanager
def connect(url: str, participant_id: str | None = None, key: Path | None = None) -> Iterator[Client]:
    """A client, with a token of its own making if it says who asks. Raises what `api.client` raises."""
    from api import client as http

    if (participant_id is None) != (key is None):
        stop("--as and --key go together", EXIT_MISUSE)
    if not url.startswith(("http://", "https://")):
        stop(f"--gateway: expected a URL that begins with http:// or https://, got {url!r}", EXIT_MISUSE)
    retry = http.Retry(attempts=3, total_pause_s=10.0)
    signer = None
    if participant_id is not None and key is not None:
        private = private_key(key)
        with http.Client(url, retry=retry) as plain:
            status = plain.status()
        # A gateway of before knows tokens for the log alone.
        authority = status["authority"] if "token_audience" in status else None
        signer = http.TokenSigner(private, participant=participant_id, origin=status["origin"], authority=authority)
    with http.Client(url, signer=signer, retry=retry) as client:
        yield client


def checkpoint_for(client: Client, policy: bytes) -> bytes:
    """The newest checkpoint that the gateway has for this policy: one with further cosignatures where it demands them.

    Raises LedgerError if it is none that the policy can be asked about, and what `api.client` raises.
    """
    from ledger.errors import Untrue
    from ledger.policy import parse_policy, verify_checkpoint

    note = client.checkpoint()
    try:
        verify_checkpoint(note, parse_policy(policy))
    except Untrue as error:
        if error.code != "quorum_not_met":
            raise
        return _further_checkpoint(client, note)
    return note


def _further_checkpoint(client: Client, note: bytes) -> bytes:
    """What stands in for a note that lacks somebody; the note itself where the gateway has no such checkpoint."""
    from api import client as http

    try:
        return client.checkpoint(further=True)
    except http.NotFound:
        return note


@contextmanager
def open_client(url: str, participant_id: str | None = None, key: Path | None = None) -> Iterator[Client]:
    """A client whose failures become exit statuses."""
    from api import client as http

    try:
        with connect(url, participant_id, key) as client:
            yield client
    except (http.Unreachable, http.Unavailable, http.Overloaded) as error:
        stop(f"{url}: {error}", EXIT_UNAVAILABLE)
    except http.NotFinal as error:
        stop(f"{error}; ask again, or wait with --wait", EXIT_UNAVAILABLE)
    except http.ClientError as error:
        stop(f"{url}: {error}", EXIT_DOES_NOT_HOLD)


# ---- keys


@click.group()
def keys() -> None:
    """Make and show keys."""


@keys.command("new")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--alg", type=click.Choice(["eddsa", "es256"]), default="eddsa", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the public key as JSON.")
def keys_new(path: Path, alg: str, as_json: bool) -> None:
    """Make a key: PATH (PKCS #8 PEM, private, readable by you alone) and PATH.pub (COSE_Key, to be enrolled)."""
    public_path = path.with_name(path.name + ".pub")
    if public_path.exists():
        stop(f"{public_path}: is there already; nothing is overwritten", EXIT_MISUSE)
    key = PrivateKey.generate({"eddsa": EDDSA, "es256": ES256}[alg])
    write_new(path, key.to_pem(), PRIVATE_FILE_MODE)
    write_new(public_path, key.public.cose_key)
    _show_key(key.public, as_json)


@keys.command("show")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the public key as JSON.")
def keys_show(path: Path, as_json: bool) -> None:
    """Show the public part of a private key file or of a .pub file."""
    public = read_public_key(path) if path.suffix == ".pub" else private_key(path).public
    _show_key(public, as_json)


def _show_key(key: PublicKey, as_json: bool) -> None:
    shown = {"alg": key.alg, "kid": key.kid.hex(), "cose_key": key.cose_key.hex()}
    click.echo(
        json.dumps(shown, indent=2) if as_json else "\n".join(f"{name}: {value}" for name, value in shown.items())
    )


# ---- sign, enrol, submit


def payload_of_file(path: Path) -> dict[str | int, cbor.Value]:
    """A payload from CBOR (.cbor) or JSON, where {"hex": "00ff"} stands for bytes."""
    value = json_payload(path)
    if not isinstance(value, dict):
        stop(f"{path}: expected a map, got {type(value).__name__}", EXIT_MISUSE)
    return value


def json_payload(path: Path) -> Any:
    """What a file holds, CBOR (.cbor) or JSON, where {"hex": "00ff"} stands for bytes; ends the command if neither."""
    data = read_small_file(path)
    try:
        return cbor.decode(data) if path.suffix == ".cbor" else payload_from_json(json.loads(data))
    except (LedgerError, ValueError, RecursionError) as error:
        stop(f"{path}: {error}", EXIT_MISUSE)


def payload_from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {HEX_FIELD} and isinstance(value[HEX_FIELD], str):
            return bytes.fromhex(value[HEX_FIELD])
        return {name: payload_from_json(member) for name, member in value.items()}
    if isinstance(value, list):
        return [payload_from_json(member) for member in value]
    if isinstance(value, float):
        raise ValueError(f"expected integers only, got {value}")
    return value


def signed_statement(key: PrivateKey, kind: str, iss: str, sub: str, payload: dict[str | int, cbor.Value]) -> Statement:
    from contracts.payloads import validate_payload, validate_subject
    from contracts.schema import PayloadError

    try:
        validate_subject(kind, sub)
        validate_payload(kind, {str(name): value for name, value in payload.items()})
        return sign_statement(
            key,
            kind=kind,
            iss=iss,
            sub=sub,
            iat_s=int(time.time()),
            cti=secrets.token_bytes(CTI_BYTES),
            payload=payload,
        )
    except PayloadError as error:
        stop(f"{error} ({error.outcome.fact}); docs/contracts.md has the payload of {kind}", EXIT_MISUSE)
    except LedgerError as error:
        stop(str(error), EXIT_MISUSE)


@click.command()
@click.option("--key", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Private key, PEM.")
@click.option("--as", "iss", required=True, metavar="ID", help="Participant that signs.")
@click.option("--kind", required=True, help="Kind of statement, as declaration.lodge.")
@click.option("--about", "sub", required=True, help="What it is about: UCR, MRN or participant id.")
@click.option(
    "--payload",
    "payload_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help='JSON, where {"hex": "00ff"} stands for bytes, or CBOR (.cbor). Empty if not given.',
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to put the statement."
)
@click.option("--json", "as_json", is_flag=True, help="Print the statement's id as JSON.")
def sign(key: Path, iss: str, kind: str, sub: str, payload_path: Path | None, out: Path, as_json: bool) -> None:
    """Sign a statement. Its payload is checked against the contract's schema first."""
    payload = payload_of_file(payload_path) if payload_path else {}
    statement = signed_statement(private_key(key), kind, iss, sub, payload)
    write_new(out, statement.raw)
    click.echo(json.dumps({"id": statement.id_hex, "file": str(out)}) if as_json else statement.id_hex)


@click.command()
@gateway_option()
@click.option(
    "--key", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The registrar's private key."
)
@click.option("--as", "registrar", required=True, metavar="ID", help="The registrar, as kz-kgd/registrar.")
@click.option("--participant", required=True, metavar="ID", help="Who is enrolled.")
@click.option("--public-key", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Its .pub file.")
@click.option("--role", "roles", required=True, multiple=True, help="A role; give it once for each.")
@click.option("--valid-from-ms", type=int, help="Block time from which the key counts; at once if not given.")
@click.option("--valid-until-ms", type=int, help="Block time from which it no longer does; without end if not given.")
@click.option("--description", help="What or who it is.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
def enrol(
    gateway: str,
    key: Path,
    registrar: str,
    participant: str,
    public_key: Path,
    roles: tuple[str, ...],
    valid_from_ms: int | None,
    valid_until_ms: int | None,
    description: str | None,
    as_json: bool,
) -> None:
    """Enrol a participant's key, and wait until both authorities have made it final."""
    payload: dict[str | int, cbor.Value] = {"key": read_public_key(public_key).cose_key, "roles": list(roles)}
    optional = {"valid_from_ms": valid_from_ms, "valid_until_ms": valid_until_ms, "description": description}
    payload.update({name: value for name, value in optional.items() if value is not None})
    statement = signed_statement(private_key(key), "registry.enrol", registrar, participant, payload)
    with open_client(gateway) as client:
        show_receipt(client.submit(statement.raw, wait="final"), as_json)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, dir_okay=False))
@gateway_option()
@click.option("--wait", type=click.Choice(["committed", "final"]), default="final", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the receipts as JSON, one object.")
def submit(files: tuple[Path, ...], gateway: str, wait: str, as_json: bool) -> None:
    """Send signed statements. Each FILE holds one, or a CBOR sequence of many (.cbor-seq).

    Sending a statement again is safe: the answer is the same and nothing happens twice. Exit status: 0 all are on the
    log, 1 some were refused or rejected, 3 the gateway or an authority is not there: send them again.
    """
    from api.client import ProblemError, Unavailable
    from api.exchange import SEQUENCE_MAX_BYTES, SEQUENCE_MAX_STATEMENTS

    statements: list[bytes] = []
    for file in files:
        statements += _statements(file)
    results: list[Any] = []
    with open_client(gateway) as client:
        if len(statements) == 1:
            try:
                results = [client.submit(statements[0], wait=wait)]
            except ProblemError as error:
                results = [error]
        else:
            for batch in _batches(statements, SEQUENCE_MAX_STATEMENTS, SEQUENCE_MAX_BYTES):
                results += client.submit_many(batch, wait=wait)
                if len(statements) > SEQUENCE_MAX_STATEMENTS and sys.stderr.isatty():
                    click.echo(f"\r{len(results)} of {len(statements)}", file=unfiltered(sys.stderr), nl=False)
    shown = [_result(result, raw) for result, raw in zip(results, statements, strict=True)]
    if as_json:
        click.echo(json.dumps({"results": shown}, indent=2))
    else:
        for result in shown:
            click.echo(" ".join(str(value) for name, value in result.items() if name != "do"))
            if "do" in result:
                click.echo(f"  what to do: {result['do']}")
    if any(isinstance(result, Unavailable) for result in results):
        raise SystemExit(EXIT_UNAVAILABLE)
    if any(isinstance(result, ProblemError) for result in results):
        raise SystemExit(EXIT_DOES_NOT_HOLD)


def _statements(file: Path) -> list[bytes]:
    try:
        if file.suffix == ".cbor-seq":
            if file.stat().st_size > MAX_SEQUENCE_FILE_BYTES:
                stop(f"{file}: too large: expected at most {MAX_SEQUENCE_FILE_BYTES} bytes", EXIT_MISUSE)
            return parse_statement_sequence(file.read_bytes(), MAX_STATEMENTS_A_FILE)
        raw = read_small_file(file)
        parse_statement(raw)
    except LedgerError as error:
        stop(f"{file}: {error}", EXIT_MISUSE)
    except OSError as error:
        stop(f"{file}: {error.strerror or error}", EXIT_UNAVAILABLE)
    return [raw]


def _batches(statements: list[bytes], most: int, most_bytes: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for raw in statements:
        if batch and (len(batch) == most or size + len(raw) > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(raw)
        size += len(raw)
    if batch:
        yield batch


def _advice(problem: Any) -> dict[str, Any]:
    """Of a rejection, its outcome and what to do; nothing of one that is newer than this program."""
    from contracts.advice import advice_of
    from contracts.outcome import Outcome

    try:
        outcome = Outcome(problem.document["outcome_code"])
    except (KeyError, ValueError):
        return {}
    return {"outcome_code": int(outcome), "do": advice_of(outcome).do}


def _result(result: Any, raw: bytes) -> dict[str, Any]:
    from api.client import ProblemError

    statement_id = parse_statement(raw).id_hex
    if isinstance(result, ProblemError):
        failed = {"id": statement_id, "state": "failed", "problem": result.code, "detail": result.detail}
        return failed | _advice(result)
    return {"id": statement_id, "state": result.state, "index": result.index, "duplicate": result.duplicate}


def show_receipt(receipt: Any, as_json: bool) -> None:
    """What became of a statement that was sent."""
    shown = {
        "id": receipt.id,
        "state": receipt.state,
        "index": receipt.index,
        "height": receipt.height,
        "block_time_ms": receipt.block_time_ms,
        "duplicate": receipt.duplicate,
    }
    click.echo(json.dumps(shown, indent=2) if as_json else f"{receipt.state}: entry {receipt.index}, id {receipt.id}")


# ---- proof, status


@click.command()
@click.argument("statement", metavar="ID_OR_FILE")
@gateway_option(required=False)
@click.option(
    "--archive", metavar="FOLDER_OR_URL", help="Make the proof from the files of an archive instead; with --policy."
)
@click.option("--policy", "policy_path", type=click.Path(path_type=Path, dir_okay=False), help="Whom to believe.")
@signer_options
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=0.0,
    help="Wait so many seconds for finality, and with --further for those cosigners.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tlog", "scitt"]),
    default="tlog",
    show_default=True,
    help="tlog: C2SP tlog-proof, the statement beside it. scitt: the statement with COSE receipts in it.",
)
@click.option("--authority", default="", help="With --format scitt: the COSE receipt of this authority alone.")
@click.option("--further", is_flag=True, help="Under a checkpoint that the further cosigners have cosigned too.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to put the .tlog-proof or .cose.",
)
def proof(
    statement: str,
    gateway: str | None,
    archive: str | None,
    policy_path: Path | None,
    participant_id: str | None,
    key: Path | None,
    wait_s: float,
    form: str,
    authority: str,
    further: bool,
    out: Path,
) -> None:
    """Fetch the proof of a statement, and put the statement beside it; or the statement with its COSE receipts.

    The statement is named by its id (64 hexadecimal digits) or by its file. `comity verify` checks the proof offline.

    With --archive no gateway is needed: the proof is made from the checkpoint and the tiles of a folder, or of any web
    server that hands out such a folder, and verified under --policy before it is written.
    """
    if (gateway is None) == (archive is None):
        stop("expected one of --gateway and --archive", EXIT_MISUSE)
    if archive is not None and (participant_id or key or wait_s):
        stop("--archive asks nobody: no --as, --key, --wait", EXIT_MISUSE)
    if (policy_path is None) != (archive is None):
        stop("--policy goes with --archive, and --archive with --policy", EXIT_MISUSE)
    if (archive is not None and form != "tlog") or (authority and form != "scitt"):
        stop("--format scitt asks a gateway, and --authority goes with it", EXIT_MISUSE)
    if further and (archive is not None or form != "tlog"):
        stop("--further goes with --gateway and --format tlog: an archive has the checkpoint that it has", EXIT_MISUSE)
    file = Path(statement)
    statement_id = parse_statement(_statements(file)[0]).id_hex if file.exists() else statement.lower()
    if form == "scitt":
        with open_client(gateway or "", participant_id, key) as client:
            client.proof(statement_id, wait_s=wait_s)
            write_new(out, client.receipt(statement_id, authority=authority))
        alone = f"a receipt of {authority} alone, without the statement"
        click.echo(f"{out}: {alone if authority else f'verify with: comity verify {out} --policy POLICY'}")
        return
    if archive is not None and policy_path is not None:
        data, raw = _prove_from_archive(archive, read_policy(policy_path), statement_id)
    else:
        with open_client(gateway or "", participant_id, key) as client:
            data = client.proof(statement_id, wait_s=wait_s, further=further)
            raw = client.statement(statement_id).raw
    write_new(out, data)
    beside = out.with_suffix(STATEMENT_SUFFIX)
    if not (beside.exists() and beside.read_bytes() == raw):
        write_new(beside, raw)
    click.echo(f"{out}: verify with: comity verify {out} --policy POLICY")


def _prove_from_archive(archive: str, policy: bytes, statement_id: str) -> tuple[bytes, bytes]:
    from api.static_archive import ArchiveSite, ArchiveUnreachable
    from ledger.archive_proof import ArchiveFolder, prove_statement
    from ledger.policy import parse_policy
    from ledger.proof import format_proof

    if re.fullmatch("[0-9a-f]{64}", statement_id) is None:
        stop(f"{statement_id}: is no file, and no id of 64 hexadecimal digits", EXIT_MISUSE)
    source = ArchiveSite(archive) if archive.startswith(("http://", "https://")) else ArchiveFolder(archive)
    if isinstance(source, ArchiveFolder) and not Path(archive).is_dir():
        stop(f"{archive}: there is no such folder", EXIT_UNAVAILABLE)
    try:
        with progress_bar("entries") as progress:
            found, raw = prove_statement(
                source, source.checkpoint(), parse_policy(policy), bytes.fromhex(statement_id), progress
            )
    except LedgerError as error:
        stop(f"{archive}: {error}", EXIT_DOES_NOT_HOLD)
    except ArchiveUnreachable as error:
        stop(str(error), EXIT_UNAVAILABLE)
    return format_proof(found), raw


def _ending_in_words(ending: dict[str, Any]) -> str:
    date = time.strftime("%Y-%m-%d", time.gmtime(ending["ends_ms"] / 1000))
    if not ending["within_days"]:
        return f"ENDED: {ending['what']}, on {date}"
    return f"ends within {ending['within_days']} days: {ending['what']}, on {date}"


def _show_protocols(document: dict[str, Any]) -> None:
    """The version that all speak, and whoever speaks another one. A gateway of an older release says nothing of it."""
    if not document.get("protocol_effective"):
        return
    click.echo(f"  protocol version {document['protocol_effective']}")
    for spoken in document["protocols"]:
        name, highest = spoken["validator"], spoken["highest"]
        if spoken["refusal"]:
            click.echo(f"  {name}: NOT LISTENED TO: {spoken['refusal']}")
        elif not highest:
            click.echo(f"  {name}: has not said which version it speaks")
        elif highest != document["protocol_effective"]:
            click.echo(f"  {name}: speaks up to version {highest}")


def _show_further(document: dict[str, Any]) -> None:
    """How much has further cosignatures, and who of those cosigners has not signed all that is final."""
    further = document.get("further")
    if further is None:
        return
    final = document["final_size"]
    waiting = f"; the oldest without has waited {further['lag_ms'] // 1000} s" if further["lag_ms"] else ""
    click.echo(f"  further cosignatures: {further['size']} of {final} final entries{waiting}")
    for each in further["cosigners"]:
        if each["size"] < final or each["trouble"]:
            trouble = f": {each['trouble']}" if each["trouble"] else ""
            click.echo(f"  {each['name']}: has cosigned {each['size']} of {final}{trouble}")


@click.command()
@gateway_option()
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON.")
def status(gateway: str, as_json: bool) -> None:
    """Say in plain words how the network is doing. Exit status 0 ready, 3 not."""
    with open_client(gateway) as client:
        document = client.status()
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(
            f"{document['origin']} through {document['gateway']} of {document['authority']}: {document['state']}"
        )
        click.echo(
            f"  {document['size']} entries, {document['final_size']} of them final, height {document['height']}, "
            f"finality lag {document['final_lag_ms']} ms"
        )
        for authority in document["authorities"]:
            here = "reachable" if authority["reachable"] else "NOT REACHABLE"
            missing = ", ".join(authority["validators_missing"])
            click.echo(
                f"  {authority['name']} ({authority['country']}): {here}{'; missing ' + missing if missing else ''}"
            )
        for validator in document["validators"]:
            ready = "ready" if validator["ready"] else "not ready"
            halted = f", HALTED: {validator['halted']}" if validator["halted"] else ""
            click.echo(f"  {validator['name']}: {ready}, leader {validator['leader'] or 'none'}{halted}")
        _show_protocols(document)
        _show_further(document)
        for ending in document.get("endings", ()):
            click.echo(f"  {_ending_in_words(ending)}")
        for line in document.get("evidence", ()):
            click.echo(f"  EVIDENCE: {line}; comity evidence export --gateway URL fetches it")
        for line in document.get("releases_needed", ()):
            click.echo(f"  RELEASE NEEDED: {line}")
    raise SystemExit(0 if document["ready"] else EXIT_UNAVAILABLE)

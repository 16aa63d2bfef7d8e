"""`comity attachment` and `comity telemetry`: what statements refer to by hash, and the batches of devices."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ledger.errors import LedgerError
from ledger.statement import parse_statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import read_policy, read_small_file
from nodes.cli.participant import gateway_option, open_client, signer_options, stop, write_new

FILE = click.Path(path_type=Path, dir_okay=False)
MIRROR_INTERVAL_S = 10.0
MAX_LINE_BYTES = 512


@click.group()
def attachment() -> None:
    """Leave, fetch and copy what statements refer to by hash: telemetry batches and envelopes."""


def _signer_needed(participant_id: str | None) -> None:
    if participant_id is None:
        stop("attachments are for those who are enrolled: name one with --as and --key", EXIT_MISUSE)


@attachment.command("put")
@click.argument("file", type=FILE)
@click.option("--kind", type=click.Choice(["telemetry", "envelope"]), required=True, help="What it is.")
@gateway_option()
@signer_options
@click.option("--json", "as_json", is_flag=True, help="Print the hash as JSON.")
def attachment_put(
    file: Path, kind: str, gateway: str, participant_id: str | None, key: Path | None, as_json: bool
) -> None:
    """Leave FILE at a gateway. An envelope comes before its statement, telemetry before or after.

    Sending it again is safe. Exit status: 0 it is there, 1 it was refused, 3 the gateway is not there or is full.
    """
    import hashlib

    from api.attachment_kinds import KINDS

    _signer_needed(participant_id)
    data = read_small_file(file)
    try:
        KINDS[kind].check(data)
    except LedgerError as error:
        stop(f"{file}: {error}", EXIT_MISUSE)
    with open_client(gateway, participant_id, key) as client:
        new = client.put_attachment(KINDS[kind].media_type, data)
    digest = hashlib.sha256(data).hexdigest()
    shown = {"sha256": digest, "kind": kind, "size_bytes": len(data), "new": new}
    click.echo(json.dumps(shown, indent=2) if as_json else f"{'kept' if new else 'here already'}: {digest}")


def _hash_argument(text: str) -> str:
    if len(text) != 64 or any(char not in "0123456789abcdef" for char in text):
        stop(f"expected 64 lower-case hexadecimal digits, got {text[:80]!r}", EXIT_MISUSE)
    return text


@attachment.command("get")
@click.argument("sha256")
@gateway_option()
@signer_options
@click.option("--statement", "statement_id", metavar="ID", help="A statement of yours to see that refers to it.")
@click.option("--out", required=True, type=FILE, help="Where to put it.")
def attachment_get(
    sha256: str, gateway: str, participant_id: str | None, key: Path | None, statement_id: str | None, out: Path
) -> None:
    """Fetch what has this hash; bytes of any other hash are refused, whoever sends them."""
    _signer_needed(participant_id)
    with open_client(gateway, participant_id, key) as client:
        data = client.attachment(_hash_argument(sha256), statement_id=statement_id)
    write_new(out, data)
    click.echo(f"{out}: {len(data)} bytes")


@attachment.command("delete")
@click.argument("sha256")
@gateway_option()
@signer_options
def attachment_delete(sha256: str, gateway: str, participant_id: str | None, key: Path | None) -> None:
    """Do away with an attachment at a gateway, as an officer or registrar of its authority.

    The ledger and every proof stay as they are. The other authority's gateway has its own copy, which is its own to
    delete.
    """
    _signer_needed(participant_id)
    with open_client(gateway, participant_id, key) as client:
        client.delete_attachment(_hash_argument(sha256))
    click.echo(f"deleted: {sha256}")


@attachment.command("mirror")
@click.option("--from", "source_url", required=True, metavar="URL", help="The other authority's gateway.")
@click.option("--to", "destination_url", required=True, metavar="URL", help="Your own.")
@signer_options
@click.option("--position", type=FILE, help="Where to keep how far it has come. It begins at the first entry without.")
@click.option("--follow", is_flag=True, help="Go on for ever, every few seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print what was copied as JSON, one object a round.")
def attachment_mirror(
    source_url: str,
    destination_url: str,
    participant_id: str | None,
    key: Path | None,
    position: Path | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Copy what final statements refer to from one gateway to another, as a customs participant.

    So each authority has what the other's declarants and devices left. Run again, it begins at the first statement
    whose attachment was not there the last time. Exit status: 0 all is there, 1 some is missing or was refused.
    """
    from api.mirroring import mirror

    _signer_needed(participant_id)
    first = _read_position(position)
    while True:
        with (
            open_client(source_url, participant_id, key) as source,
            open_client(destination_url, participant_id, key) as destination,
        ):
            done = mirror(source, destination, first)
        first = done.next
        if position is not None:
            _keep_position(position, first)
        if as_json:
            click.echo(json.dumps(asdict(done)))
        else:
            click.echo(
                f"{done.copied} copied ({done.copied_bytes} bytes), {done.there} there, {done.missing} missing, "
                f"{done.refused} refused; next begins at entry {done.next}"
            )
        if not follow:
            raise SystemExit(EXIT_DOES_NOT_HOLD if done.missing or done.refused else EXIT_HOLDS)
        time.sleep(MIRROR_INTERVAL_S)


def _read_position(path: Path | None) -> int:
    if path is None or not path.exists():
        return 0
    text = read_small_file(path).decode(errors="replace").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        stop(f"{path}: expected the number of an entry, got {text[:40]!r}", EXIT_MISUSE)
    return int(text)


def _keep_position(path: Path, first: int) -> None:
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(f"{first}\n")
        partial.replace(path)
    except OSError as error:
        stop(f"{path}: {error.strerror or error}", EXIT_UNAVAILABLE)


# ---- telemetry


@click.group()
def telemetry() -> None:
    """Make telemetry batches, and verify them against the statements that sign them."""


@telemetry.command("new")
@click.argument("fixes", type=FILE)
@click.option("--out", required=True, type=FILE, help="Where to put the batch.")
@click.option("--payload", "payload_path", required=True, type=FILE, help="Where to put the payload to sign, CBOR.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def telemetry_new(fixes: Path, out: Path, payload_path: Path, as_json: bool) -> None:
    """Make a batch of FIXES, JSON Lines: {"at_ms": 1, "latitude_udeg": 2, "longitude_udeg": 3, "speed_mm_s": 4}.

    Then: `comity sign --kind escort.position --payload PAYLOAD`, and `comity attachment put OUT --kind telemetry`.
    """
    from contracts.escort_payloads import MAX_BATCH_FIXES
    from contracts.telemetry import Fix, batch_payload, encode_telemetry, parse_telemetry, summary_of
    from ledger import cbor

    rows = []
    try:
        with fixes.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                if number > MAX_BATCH_FIXES:
                    stop(f"{fixes}: expected at most {MAX_BATCH_FIXES} fixes in a batch", EXIT_MISUSE)
                rows.append(Fix(**json.loads(line)))
    except (ValueError, TypeError) as error:
        stop(f"{fixes}: line {len(rows) + 1}: {error}", EXIT_MISUSE)
    except OSError as error:
        stop(f"{fixes}: {error.strerror or error}", EXIT_UNAVAILABLE)
    try:
        raw = encode_telemetry(rows)
    except LedgerError as error:
        stop(f"{fixes}: {error}", EXIT_MISUSE)
    write_new(out, raw)
    write_new(payload_path, cbor.encode({"batch": batch_payload(raw)}))
    _show_summary(summary_of(parse_telemetry(raw)).as_dict(), as_json)


def _show_summary(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        for name, value in shown.items():
            click.echo(f"{name}: {'unknown' if value is None else value}")


@telemetry.command("verify")
@click.argument("batch", type=FILE)
@click.option("--statement", "statement_path", required=True, type=FILE, help="The escort.position that signs it.")
@click.option("--proof", "proof_path", type=FILE, help="That statement's proof, to check that it is on the ledger.")
@click.option("--policy", "policy_path", type=FILE, help="Whom to believe; goes with --proof.")
@click.option("--plan", "plan_path", type=FILE, help="The escort.plan of the movement: every fix is held against it.")
@click.option(
    "--place",
    "places",
    multiple=True,
    metavar="CODE=LAT,LON",
    help="Where a UN/LOCODE of the plan is, in micro-degrees; again for each. Local posts say it themselves.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def telemetry_verify(
    batch: Path,
    statement_path: Path,
    proof_path: Path | None,
    policy_path: Path | None,
    plan_path: Path | None,
    places: tuple[str, ...],
    as_json: bool,
) -> None:
    """Verify a telemetry batch offline: hash, count and times are those that the device signed.

    With --proof and --policy also that the statement is on the ledger. With --plan also that every fix lies in the
    corridor of that plan; whether the plan was changed since, an archive tells. Exit status: 0 it holds, 1 it does not.
    """
    from contracts.telemetry import check_batch
    from ledger.errors import Untrue
    from ledger.proof_check import check_proof

    if (proof_path is None) != (policy_path is None):
        stop("--proof and --policy go together", EXIT_MISUSE)
    raw_statement = read_small_file(statement_path)
    try:
        statement = parse_statement(raw_statement)
        payload = statement.payload
        signed = payload.get("batch") if isinstance(payload, dict) else None
        if statement.kind != "escort.position" or not isinstance(signed, dict):
            raise Untrue("no_batch_signed", f"{statement.kind} about {statement.sub} signs no batch")
        summary = check_batch(read_small_file(batch), {str(name): value for name, value in signed.items()})
    except LedgerError as error:
        stop(f"{batch}: {error}", EXIT_DOES_NOT_HOLD)
    if proof_path is not None and policy_path is not None:
        report = check_proof(read_policy(policy_path), read_small_file(proof_path), raw_statement)
        if not report.holds:
            failed = next(check for check in report.checks if check.verdict.value != "holds")
            stop(f"{proof_path}: {failed.name}: {failed.detail}", EXIT_DOES_NOT_HOLD)
    shown = {
        "holds": True,
        "movement": statement.sub,
        "device": statement.iss,
        "on_ledger": None if proof_path is None else True,
        **summary.as_dict(),
    }
    if plan_path is not None:
        shown |= _corridor(read_small_file(batch), statement.sub, plan_path, places)
        shown["holds"] = not shown["fixes_outside"]
    _show_summary(shown, as_json)
    if not shown["holds"]:
        raise SystemExit(EXIT_DOES_NOT_HOLD)


def _corridor(batch: bytes, mrn: str, plan_path: Path, places: tuple[str, ...]) -> dict[str, Any]:
    """How the fixes of a batch lie to the corridor of the movement's plan."""
    from contracts.corridor import deviation, positions_of
    from contracts.escort_payloads import SCHEMAS
    from contracts.schema import PayloadError
    from contracts.telemetry import parse_telemetry
    from ledger.errors import Misuse

    try:
        plan = parse_statement(read_small_file(plan_path))
        payload: Any = plan.payload
        if plan.kind != "escort.plan" or plan.sub != mrn:
            stop(
                f"{plan_path}: expected the escort.plan of {mrn}, got {plan.kind} about {plan.sub}", EXIT_DOES_NOT_HOLD
            )
        SCHEMAS["plan"].check("", payload)
        # A plan without places on the way means the way from one post to the other.
        way = payload["route"] or [payload["exit_post"], payload["entry_post"]]
        route = positions_of(way, _positions(places))
        found = deviation(parse_telemetry(batch), route, payload["corridor_m"])
    except Misuse as error:
        stop(f"{error}: --place CODE=LAT,LON says where a place is", EXIT_MISUSE)
    except (LedgerError, PayloadError) as error:
        stop(f"{plan_path}: is no plan: {error}", EXIT_DOES_NOT_HOLD)
    return {
        "corridor_m": found.corridor_m,
        "fixes_outside": found.outside,
        "left_at_ms": found.left_at_ms,
        "farthest_m": found.farthest_m,
        "farthest_at_ms": found.farthest_at_ms,
    }


def _positions(places: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    known = {}
    for text in places:
        code, _, where = text.partition("=")
        latitude, _, longitude = where.partition(",")
        try:
            known[code] = int(latitude), int(longitude)
        except ValueError:
            stop(f"--place: expected CODE=LAT,LON in micro-degrees, got {text!r}", EXIT_MISUSE)
    return known

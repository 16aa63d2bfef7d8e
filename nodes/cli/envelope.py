"""`comity envelope` and `comity disclosure`: private fields, from declarant to authorities and to third parties.

Opening, disclosing and verifying need no network and the light install only.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger import cbor
from ledger.errors import LedgerError, Misuse, Untrue
from ledger.statement import Statement, parse_statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE
from nodes.cli.offline import read_policy, read_small_file
from nodes.cli.participant import (
    PRIVATE_FILE_MODE,
    gateway_option,
    open_client,
    payload_of_file,
    private_key,
    show_receipt,
    signed_statement,
    signer_options,
    stop,
    write_new,
)

if TYPE_CHECKING:
    from api.envelope import EnvelopePrivateKey
    from contracts.commitments import Opening

FILE = click.Path(path_type=Path, dir_okay=False)
EVERY_FIELD = "all"


@click.group()
def envelope() -> None:
    """Close private fields for the two authorities, and open them as one of them."""


@envelope.command("new-key")
@click.argument("path", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print the public key as JSON.")
def envelope_new_key(path: Path, as_json: bool) -> None:
    """Make an authority's key for envelopes: PATH (X25519, private) and PATH.pub (to be published).

    Keep the private part of every key that was ever published: what was sealed to it, nothing else opens.
    """
    from api.envelope import EnvelopePrivateKey

    public_path = path.with_name(path.name + ".pub")
    if public_path.exists():
        stop(f"{public_path}: is there already; nothing is overwritten", EXIT_MISUSE)
    key = EnvelopePrivateKey.generate()
    write_new(path, key.to_pem(), PRIVATE_FILE_MODE)
    write_new(public_path, key.public_pem())
    shown = {"kid": key.kid.hex(), "public": key.public.hex()}
    click.echo(json.dumps(shown, indent=2) if as_json else "\n".join(f"{name}: {shown[name]}" for name in shown))


def _public_key(path: Path) -> bytes:
    from api.envelope import public_key_of_pem

    try:
        return public_key_of_pem(read_small_file(path))
    except LedgerError as error:
        stop(f"{path}: {error}", EXIT_MISUSE)


def _private_key(path: Path) -> EnvelopePrivateKey:
    from api.envelope import EnvelopePrivateKey

    try:
        return EnvelopePrivateKey.from_pem(read_small_file(path))
    except LedgerError as error:
        stop(f"{path}: {error}", EXIT_MISUSE)


@envelope.command("publish-key")
@gateway_option()
@click.option("--key", required=True, type=FILE, help="The registrar's private key.")
@click.option("--as", "registrar", required=True, metavar="ID", help="The registrar, as kz-kgd/registrar.")
@click.option("--authority", required=True, metavar="NAME", help="The authority, as kz-kgd.")
@click.option("--public-key", required=True, type=FILE, help="The .pub file that `comity envelope new-key` wrote.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
def envelope_publish_key(
    gateway: str, key: Path, registrar: str, authority: str, public_key: Path, as_json: bool
) -> None:
    """Publish the key to which envelopes for an authority are sealed from now on, and wait until it is final."""
    payload: dict[str | int, cbor.Value] = {"authority": authority, "key": _public_key(public_key)}
    statement = signed_statement(private_key(key), "registry.publish_envelope_key", registrar, registrar, payload)
    with open_client(gateway) as client:
        show_receipt(client.submit(statement.raw, wait="final"), as_json)


@envelope.command("keys")
@gateway_option()
@signer_options
@click.option("--policy", "policy_path", type=FILE, help="Prove each key; needs --as and --key.")
@click.option("--json", "as_json", is_flag=True, help="Print the keys as JSON.")
def envelope_keys(
    gateway: str, participant_id: str | None, key: Path | None, policy_path: Path | None, as_json: bool
) -> None:
    """Show to which keys envelopes are sealed now; with --policy, proven by the ledger."""
    from api.sealing import proven_envelope_keys

    with open_client(gateway, participant_id, key) as client:
        document = client.envelope_keys()
        if policy_path is not None:
            try:
                proven_envelope_keys(client, read_policy(policy_path))
            except LedgerError as error:
                stop(str(error), EXIT_DOES_NOT_HOLD)
    if as_json:
        click.echo(json.dumps({**document, "proven": policy_path is not None}, indent=2))
        return
    for shown in document["authorities"]:
        current = shown["keys"][-1] if shown["keys"] else None
        said = f"{current['public']} (statement {current['statement']})" if current else "has published none"
        click.echo(f"{shown['authority']}: {said}")


@envelope.command("seal")
@click.option("--payload", "payload_path", required=True, type=FILE, help="A payload with an open `content`.")
@click.option("--about", "subject", required=True, metavar="UCR", help="The declaration it is about.")
@click.option(
    "--hide",
    "names",
    required=True,
    multiple=True,
    metavar="FIELD",
    help="A field, as consignee or goods/0/value; give it once for each, or `all`.",
)
@click.option("--gateway", metavar="URL", help="Where to fetch the keys of the authorities.")
@click.option("--policy", "policy_path", type=FILE, help="Whom to believe about those keys.")
@signer_options
@click.option(
    "--seal-to", "named_keys", multiple=True, metavar="NAME=FILE", help="A key by file instead: kz-kgd=PATH.pub."
)
@click.option("--out", required=True, type=FILE, help="The payload to sign, CBOR.")
@click.option("--envelope", "envelope_path", required=True, type=FILE, help="The envelope to send before it.")
@click.option("--openings", "openings_path", required=True, type=FILE, help="What opens the fields: keep it.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def envelope_seal(
    payload_path: Path,
    subject: str,
    names: tuple[str, ...],
    gateway: str | None,
    policy_path: Path | None,
    participant_id: str | None,
    key: Path | None,
    named_keys: tuple[str, ...],
    out: Path,
    envelope_path: Path,
    openings_path: Path,
    as_json: bool,
) -> None:
    """Commit to fields of a declaration's content instead of showing them, and seal them to both authorities.

    Then: `comity sign --payload OUT`, `comity attachment put ENVELOPE --kind envelope`, `comity submit`. The keys come
    from a gateway, each proven with --policy, or by file with --seal-to.
    """
    from api.sealing import seal_content
    from contracts.commitments import encode_openings
    from contracts.declaration_private import every_private_field
    from contracts.identifiers import IdentifierError, parse_ucr

    payload = payload_of_file(payload_path)
    content: Any = payload.get("content")
    if not isinstance(content, dict):
        stop(f"{payload_path}: expected a payload with a map `content`", EXIT_MISUSE)
    keys = _keys_to_seal_to(gateway, policy_path, participant_id, key, named_keys)
    try:
        parse_ucr(subject)
        chosen = every_private_field(content) if EVERY_FIELD in names else list(names)
        sealed = seal_content(subject, content, chosen, keys)
    except (LedgerError, IdentifierError, KeyError, TypeError) as error:
        stop(f"{payload_path}: {error}", EXIT_MISUSE)
    # A gateway that shows the keys of one side only would leave the other with a hash that nothing opens.
    for side in ("home", "partner"):
        name = payload.get(side)
        if isinstance(name, str) and name not in keys:
            stop(f"no key of {name}, {side} of the declaration: got keys of {', '.join(sorted(keys))}", EXIT_MISUSE)
    write_new(openings_path, encode_openings(sealed.openings), PRIVATE_FILE_MODE)
    write_new(envelope_path, sealed.envelope.encode())
    write_new(out, cbor.encode({**payload, "content": sealed.content}))
    shown = {
        "envelope_sha256": sealed.envelope.sha256.hex(),
        "sealed_to": sorted(keys),
        "fields": [opening.name for opening in sealed.openings],
    }
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(f"{', '.join(shown['fields'])}: sealed to {', '.join(sorted(keys))}")
        click.echo(f"envelope {shown['envelope_sha256']}; send it before the statement, and keep {openings_path}")


def _keys_to_seal_to(
    gateway: str | None,
    policy_path: Path | None,
    participant_id: str | None,
    key: Path | None,
    named_keys: tuple[str, ...],
) -> dict[str, bytes]:
    from api.sealing import proven_envelope_keys

    if named_keys:
        if gateway is not None:
            stop("--seal-to and --gateway exclude each other", EXIT_MISUSE)
        keys = {}
        for text in named_keys:
            name, sign, path = text.partition("=")
            if not sign or not name:
                stop(f"--seal-to: expected NAME=FILE, got {text!r}", EXIT_MISUSE)
            keys[name] = _public_key(Path(path))
        return keys
    if gateway is None or policy_path is None or participant_id is None:
        stop("the keys come from --gateway, with --policy, --as and --key, or from --seal-to", EXIT_MISUSE)
    with open_client(gateway, participant_id, key) as client:
        try:
            return proven_envelope_keys(client, read_policy(policy_path))
        except LedgerError as error:
            stop(str(error), EXIT_DOES_NOT_HOLD)


@envelope.command("open")
@click.argument("file", type=FILE)
@click.option("--key", "key_path", required=True, type=FILE, help="The authority's private envelope key.")
@click.option("--statement", "statement_path", required=True, type=FILE, help="The statement that refers to it.")
@click.option("--openings", "openings_path", type=FILE, help="Where to put the openings, to disclose fields.")
@click.option("--json", "as_json", is_flag=True, help="Print the fields as JSON.")
def envelope_open(file: Path, key_path: Path, statement_path: Path, openings_path: Path | None, as_json: bool) -> None:
    """Open an envelope, and check that it is the statement's and opens every commitment in it.

    Exit status: 0 it does, 1 it is another's, is not for this key, or says other things than were signed.
    """
    from api.envelope import open_envelope, parse_envelope
    from contracts.commitments import encode_openings

    key, statement = _private_key(key_path), _statement(statement_path)
    data = read_small_file(file)
    try:
        content = _content_that_refers_to(statement, data)
        closed = parse_envelope(data)
        if closed.subject != statement.sub:  # somebody else's, whose commitments were copied with it
            raise Untrue("envelope_of_another", f"expected one about {statement.sub}, got {closed.subject!r}")
        openings = open_envelope(closed, key)
        revealed = _revealed(statement, content, openings)
    except LedgerError as error:
        stop(f"{file}: {error}", EXIT_DOES_NOT_HOLD)
    if openings_path is not None:
        write_new(openings_path, encode_openings(openings), PRIVATE_FILE_MODE)
    if as_json:
        shown = {"subject": statement.sub, "fields": _fields_as_json(openings), "content": _json(revealed)}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    click.echo(f"{statement.kind} about {statement.sub}: every commitment opens")
    _print_fields(openings)


def _content_that_refers_to(statement: Statement, data: bytes) -> dict[str, Any]:
    payload = statement.payload
    content: Any = payload.get("content") if isinstance(payload, dict) else None
    if not isinstance(content, dict) or not isinstance(content.get("envelope_sha256"), bytes):
        raise Untrue("envelope_not_expected", f"{statement.kind} about {statement.sub} refers to no envelope")
    got = hashlib.sha256(data).digest()
    if got != content["envelope_sha256"]:
        expected = content["envelope_sha256"].hex()
        raise Untrue("envelope_of_another", f"expected the envelope of hash {expected}, got {got.hex()}")
    return content


def _revealed(statement: Statement, content: dict[str, Any], openings: tuple[Opening, ...]) -> dict[str, Any]:
    """The open content, which must be one that could have been lodged openly."""
    from contracts.declaration_payloads import CONTENT
    from contracts.declaration_private import private_fields_refusal, reveal
    from contracts.schema import PayloadError

    # The file may hold what no ledger would take.
    try:
        CONTENT.check("content", content)
    except PayloadError as error:
        raise Untrue("content_refused", str(error)) from error
    refusal = private_fields_refusal(content)
    if refusal is not None:
        raise Untrue("content_refused", refusal.fact.replace("_", " "))
    revealed = reveal(content, openings)
    try:
        CONTENT.check("content", revealed)
    except PayloadError as error:
        raise Untrue(
            "revealed_content_refused", f"{statement.iss} committed to what no declaration holds: {error}"
        ) from error
    return revealed


def _statement(path: Path) -> Statement:
    try:
        return parse_statement(read_small_file(path))
    except LedgerError as error:
        stop(f"{path}: {error}", EXIT_MISUSE)


def _json(value: Any) -> Any:
    """Bytes as {"hex": ...}, as `comity sign` reads them."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {str(name): _json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_json(member) for member in value]
    return value


def _fields_as_json(openings: tuple[Opening, ...]) -> dict[str, Any]:
    return {opening.name: _json(opening.value) for opening in openings}


def _print_fields(openings: tuple[Opening, ...]) -> None:
    for name, value in _fields_as_json(openings).items():
        # As JSON: what a stranger committed to may hold anything, a terminal's control characters too, of which JSON
        # leaves some as they are, and marks that turn the direction of writing.
        written = json.dumps(value, ensure_ascii=False)
        click.echo(f"  {name}: " + "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in written))


# ---- to third parties


@click.group()
def disclosure() -> None:
    """Show single private fields to a third party, who checks them offline."""


@disclosure.command("new")
@click.option("--statement", "statement_path", required=True, type=FILE, help="The statement that commits to them.")
@click.option("--proof", "proof_path", required=True, type=FILE, help="Its proof, from `comity proof`.")
@click.option("--openings", "openings_path", required=True, type=FILE, help="What opens the fields.")
@click.option("--field", "names", required=True, multiple=True, metavar="FIELD", help="A field to show; once for each.")
@click.option("--out", required=True, type=FILE, help="Where to put the disclosure.")
def disclosure_new(
    statement_path: Path, proof_path: Path, openings_path: Path, names: tuple[str, ...], out: Path
) -> None:
    """Make a file that shows the named fields of a declaration, and no others, to whoever has it."""
    from contracts.commitments import parse_openings
    from contracts.disclosure import disclose

    try:
        openings = parse_openings(read_small_file(openings_path))
        made = disclose(read_small_file(statement_path), read_small_file(proof_path), openings, names)
    except Misuse as error:
        stop(f"{openings_path}: {error}", EXIT_MISUSE)
    except LedgerError as error:
        stop(str(error), EXIT_DOES_NOT_HOLD)
    write_new(out, made.encode(), PRIVATE_FILE_MODE)
    click.echo(f"{out}: shows {', '.join(names)}; verify with: comity disclosure verify {out} --policy POLICY")


@disclosure.command("verify")
@click.argument("file", type=FILE)
@click.option("--policy", "policy_path", required=True, type=FILE, help="Whom to believe.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks and the fields as JSON.")
def disclosure_verify(file: Path, policy_path: Path, as_json: bool) -> None:
    """Verify disclosed fields offline: the proof of the statement, and that each field is what it committed to.

    Exit status: 0 every check holds, 1 some check does not, 2 misuse, 3 a file cannot be read.
    """
    from contracts.disclosure import NOT_CHECKED, check_disclosure

    report = check_disclosure(read_policy(policy_path), read_small_file(file))
    statement = report.proof.statement if report.proof else None
    if as_json:
        shown = {
            "file": str(file),
            "holds": report.holds,
            "subject": statement.sub if statement and report.holds else None,
            "fields": _fields_as_json(report.fields) if report.holds else {},
            "checks": [
                {"number": check.number, "name": check.name, "verdict": check.verdict.value, "detail": check.detail}
                for check in report.checks
            ],
            "not_checked": NOT_CHECKED,
        }
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        click.echo(f"{file}: {'holds' if report.holds else 'DOES NOT HOLD'}")
        for check in report.checks:
            click.echo(f"  {check.number} {check.name:<10} {check.verdict.value:<11} {check.detail}")
        if report.holds:
            _print_fields(report.fields)
        click.echo("not checked:")
        for line in NOT_CHECKED:
            click.echo(f"  {line}")
    raise SystemExit(EXIT_HOLDS if report.holds else EXIT_DOES_NOT_HOLD)

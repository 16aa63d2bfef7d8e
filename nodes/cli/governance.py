"""`comity governance`: propose, approve, reject, withdraw; show what is proposed and what is in force.

A registrar signs here with its own key; nothing is sent that its schema refuses, and an approval names the statement
that proposed. That statement is fetched and hashed here, and what the gateway shows is compared with it: a gateway that
shows other changes than it has approved, or another text of a membership than both sides sign, is found out. What the
ledger decides about it is its outcome.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import click

from ledger import cbor
from ledger.algorithms import EDDSA
from ledger.errors import LedgerError
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE
from nodes.cli.offline import read_policy, read_small_file
from nodes.cli.participant import (
    json_payload,
    open_client,
    private_key,
    read_public_key,
    show_receipt,
    signed_statement,
    signer_options,
    write_new,
)

_FILE = click.Path(path_type=Path, dir_okay=False)
_GATEWAY = click.option("--gateway", required=True, metavar="URL", help="A gateway, as http://127.0.0.1:8080.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_KEY = click.option("--key", "key_path", required=True, type=_FILE, help="The registrar's private key.")
_AS = click.option("--as", "registrar", required=True, metavar="ID", help="The registrar, as kz-kgd/registrar.")
_REASON = click.option("--reason", required=True, help="Why; it stands in the log for ever.")
_READ = click.option(
    "--proposal",
    "statement",
    metavar="HEX",
    help="Id of the statement that was read; asked of the gateway if not given.",
)


def _stop(message: str, status: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)


@click.group()
def governance() -> None:
    """Propose and approve what both authorities decide: parameters, contracts, keys, legal basis, membership."""


@governance.command("propose")
@click.argument("proposal_id", metavar="PROPOSAL")
@_GATEWAY
@_KEY
@_AS
@click.option("--title", required=True, help="What it is for, in one line.")
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter and its new value.")
@click.option("--contract", "contracts", multiple=True, metavar="NAME=VERSION", help="A contract and its new version.")
@click.option("--release", metavar="TEXT", help="The first release that can execute the contracts; with --contract.")
@click.option("--registrar-key", metavar="AUTHORITY=FILE", help="An authority and its registrar's new .pub file.")
@click.option("--replaces", metavar="HEX", help="Thumbprint of the registrar's key that ends; with --registrar-key.")
@click.option("--log-key", metavar="AUTHORITY=FILE", help="An authority and the .pub file of its new log key.")
@click.option("--ca", metavar="AUTHORITY=FILE", help="An authority and its new CA certificate, PEM.")
@click.option(
    "--overlap", default=0, show_default=True, type=click.IntRange(0), help="Seconds that the old key or CA stays."
)
@click.option("--legal-basis", "bases", multiple=True, metavar="AGREEMENT;ARTICLE;DATE", help="A basis to register.")
@click.option("--membership", type=_FILE, help="A change of the membership, as `comity membership propose` writes it.")
@click.option("--changes", type=_FILE, help="JSON: an array of changes in full, for what has no option here.")
@click.option(
    "--height", type=click.IntRange(1), help="Height at which it takes effect; as soon as it may if not given."
)
@click.option("--out", type=_FILE, help="Write the signed proposal here and send nothing: `approve-ahead` takes it.")
@_JSON
def propose(
    proposal_id: str,
    gateway: str,
    key_path: Path,
    registrar: str,
    title: str,
    height: int | None,
    out: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Propose changes as PROPOSAL, an id such as kz-kgd/2026-014, and so approve them for the own side.

    What each change replaces is read from the gateway. All changes of a proposal take effect together, at one height,
    once every authority has approved. Exit status: 0 on the log, 1 refused, 2 misuse, 3 the gateway is not there.
    """
    key = private_key(key_path)
    with open_client(gateway) as client:
        changes = _changes(client, asked)
        payload: dict[str | int, Any] = {"title": title, "changes": changes}
        if height is not None:
            payload["height"] = height
        payload |= _membership_signature(key, changes)
        statement = signed_statement(key, "governance.propose", registrar, proposal_id, payload)
        if out is None:
            show_receipt(client.submit(statement.raw, wait="final"), as_json)
    if out is not None:
        write_new(out, statement.raw)
        click.echo(f"written to {out}; a registrar of each other side signs: comity governance approve-ahead {out}")
    elif not as_json:
        click.echo(f"the other side reads it with: comity governance show {proposal_id}")


def _changes(client: Any, asked: dict[str, Any]) -> list[dict[str, Any]]:
    changes = _parameter_changes(client, asked["parameters"]) + _contract_changes(
        client, asked["contracts"], asked["release"]
    )
    if asked["registrar_key"]:
        changes.append(_registrar_change(asked["registrar_key"], asked["replaces"], asked["overlap"]))
    changes += _authority_changes(client, asked["log_key"], asked["ca"], asked["overlap"])
    changes += _legal_basis_changes(client, asked["bases"])
    if asked["membership"] is not None:
        changes.append({"membership": {"change": _membership_text(asked["membership"])}})
    if asked["changes"] is not None:
        more = json_payload(asked["changes"])
        if not isinstance(more, list):
            _stop(f"{asked['changes']}: expected an array of changes, got {type(more).__name__}", EXIT_MISUSE)
        changes += more
    if not changes:
        _stop("nothing to change: expected --parameter, --contract, --registrar-key or another change", EXIT_MISUSE)
    if asked["overlap"] and not any(asked[name] for name in ("registrar_key", "log_key", "ca")):
        _stop("--overlap: expected --registrar-key, --log-key or --ca with it", EXIT_MISUSE)
    return changes


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        _stop(f"--{option}: expected NAME=VALUE, got {text!r}", EXIT_MISUSE)
    return name, value


def _parameter_changes(client: Any, asked: tuple[str, ...]) -> list[dict[str, Any]]:
    if not asked:
        return []
    present = {each["name"]: each["value"] for each in client.parameters()["parameters"]}
    changes = []
    for text in asked:
        name, value = _pair(text, "parameter")
        if name not in present:
            _stop(f"--parameter: expected one of {', '.join(present)}, got {name}", EXIT_MISUSE)
        to: int | str = value
        if isinstance(present[name], int):
            try:
                to = int(value)
            except ValueError:
                _stop(f"--parameter {name}: expected an integer, got {value!r}", EXIT_MISUSE)
        changes.append({"parameter": {"name": name, "from": present[name], "to": to}})
    return changes


def _contract_changes(client: Any, asked: tuple[str, ...], release: str | None) -> list[dict[str, Any]]:
    if not asked:
        return []
    if release is None:
        _stop("--contract: expected --release, the first release that can execute it", EXIT_MISUSE)
    present = {each["name"]: each["version"] for each in client.governance()["contracts"]}
    changes = []
    for text in asked:
        name, version = _pair(text, "contract")
        if not version.isascii() or not version.isdigit():
            _stop(f"--contract {name}: expected a version, got {version!r}", EXIT_MISUSE)
        fields = {"name": name, "from": present.get(name, 0), "to": int(version), "release": release}
        changes.append({"contract": fields})
    return changes


def _registrar_change(text: str, replaces: str | None, overlap_s: int) -> dict[str, Any]:
    authority, file = _pair(text, "registrar-key")
    try:
        old = bytes.fromhex(replaces or "")
    except ValueError:
        old = b""
    if len(old) != 32:
        _stop("--replaces: expected the thumbprint of the registrar's key that ends, 64 hex digits", EXIT_MISUSE)
    key = read_public_key(Path(file))
    return {"registrar_key": {"authority": authority, "from": old, "key": key.cose_key, "overlap_s": overlap_s}}


def _authority_changes(client: Any, log_key: str | None, ca: str | None, overlap_s: int) -> list[dict[str, Any]]:
    """What is replaced, is what the gateway says is in force: the ledger refuses what is not."""
    changes = []
    for kind, text in (("log_key", log_key), ("ca", ca)):
        if text is None:
            continue
        authority, file = _pair(text, kind.replace("_", "-"))
        present = [
            each["value"]
            for each in client.governance()["keys"]
            if (each["authority"], each["kind"]) == (authority, kind) and not each["waiting"]
        ]
        if not present:
            _stop(f"--{kind.replace('_', '-')}: {authority} is no authority of this network", EXIT_MISUSE)
        to = _log_key(Path(file)) if kind == "log_key" else _ca_sha256(Path(file))
        old = bytes.fromhex(present[-1])
        changes.append({kind: {"authority": authority, "from": old, "to": to, "overlap_s": overlap_s}})
    return changes


def _log_key(path: Path) -> bytes:
    key = read_public_key(path)
    if key.alg != EDDSA:
        _stop(f"{path}: a log key has to be Ed25519: make one with comity keys new --alg EdDSA", EXIT_MISUSE)
    return key.material


def _ca_sha256(path: Path) -> bytes:
    from nodes.certificates import certificates_by_sha256

    try:
        found = list(certificates_by_sha256(read_small_file(path)))
    except ValueError as error:
        _stop(f"{path}: is no certificate: {error}", EXIT_MISUSE)
    if len(found) != 1:
        _stop(f"{path}: expected the new CA certificate alone, got {len(found)}", EXIT_MISUSE)
    return found[0]


def _legal_basis_changes(client: Any, asked: tuple[str, ...]) -> list[dict[str, Any]]:
    if not asked:
        return []
    present = {(each["agreement"], each["article"]): each["effective"] for each in client.governance()["legal_basis"]}
    changes = []
    for text in asked:
        parts = [part.strip() for part in text.split(";")]
        if len(parts) != 3 or not parts[0] or not parts[1]:
            _stop(f"--legal-basis: expected AGREEMENT;ARTICLE;DATE, got {text!r}", EXIT_MISUSE)
        fields = {"agreement": parts[0], "article": parts[1]}
        before = present.get((parts[0], parts[1]))
        changes.append(
            {"legal_basis": fields | ({"from": before} if before else {}) | ({"to": parts[2]} if parts[2] else {})}
        )
    return changes


def _membership_text(path: Path) -> str:
    from ledger.membership import split_change

    try:
        change, _ = split_change(read_small_file(path))
    except LedgerError as error:
        _stop(f"{path}: {error}", EXIT_MISUSE)
    return change.text()


def _membership_signature(key: Any, changes: list[dict[str, Any]]) -> dict[str | int, cbor.Value]:
    texts = [change["membership"]["change"] for change in changes if "membership" in change]
    return {"membership_signature": key.sign(texts[0].encode())} if texts else {}


@governance.command("approve")
@click.argument("proposal_id", metavar="PROPOSAL")
@_GATEWAY
@_KEY
@_AS
@_READ
@click.option("--without-release", is_flag=True, help="Approve a contract that the gateway's program does not have.")
@click.option(
    "--signed-by", type=_FILE, help="The .pub file of the registrar who proposed, if the gateway is not believed."
)
@_JSON
def approve(
    proposal_id: str,
    gateway: str,
    key_path: Path,
    registrar: str,
    statement: str | None,
    without_release: bool,
    signed_by: Path | None,
    as_json: bool,
) -> None:
    """Approve PROPOSAL for the own side. Read it before: `comity governance show PROPOSAL`.

    Refused here, not by the ledger, where the gateway shows anything else than the statement that proposed it, or one
    that its proposer's key has not signed; and where its own program does not have a contract that the proposal brings:
    its validators would stop at that height. Exit status: 0 on the log, 1 refused, 2 misuse, 3 not available.
    """
    key = private_key(key_path)
    with open_client(gateway, registrar, key_path) as client:
        record = client.proposal(proposal_id)["record"]
        named = _named(record, statement)
        _hold_against_statement(client, proposal_id, record, signed_by)
        missing = [line for line in client.governance()["missing"] if f"({proposal_id})" in line]
        if missing and not without_release:
            _stop(f"{missing[0]}; --without-release approves it all the same", EXIT_DOES_NOT_HOLD)
        payload = named | _membership_signature(key, record["changes"])
        made = signed_statement(key, "governance.approve", registrar, proposal_id, payload)
        show_receipt(client.submit(made.raw, wait="final"), as_json)
        record = client.proposal(proposal_id)["record"]
    if not as_json:
        click.echo(_in_one_line(record))


def _named(record: dict[str, Any], statement: str | None) -> dict[str | int, Any]:
    """The statement that an answer is about: the one that was read, if it is said which."""
    if statement is not None and statement.lower() != record["proposal"]:
        _stop(
            f"{record['id']} is another proposal than the one that was read: expected {statement}, "
            f"got {record['proposal']}",
            EXIT_DOES_NOT_HOLD,
        )
    return {"proposal": bytes.fromhex(record["proposal"])}


def _hold_against_statement(client: Any, proposal_id: str, record: dict[str, Any], signer: Path | None = None) -> None:
    """End the command unless the statement that the record names says what it shows, and its proposer has signed it."""
    from nodes.cli.proposal_reading import NotWhatWasProposed, check_proposal

    try:
        check_proposal(client, proposal_id, record, None if signer is None else read_public_key(signer))
    except NotWhatWasProposed as error:
        _stop(f"{proposal_id}: {error}", EXIT_DOES_NOT_HOLD)


def _answer(
    event: str,
    proposal_id: str,
    *,
    gateway: str,
    key_path: Path,
    registrar: str,
    statement: str | None,
    reason: str,
    as_json: bool,
) -> None:
    key = private_key(key_path)
    with open_client(gateway) as client:
        payload = _named(client.proposal(proposal_id)["record"], statement) | {"reason": reason}
        made = signed_statement(key, f"governance.{event}", registrar, proposal_id, payload)
        show_receipt(client.submit(made.raw, wait="final"), as_json)


@governance.command("approve-ahead")
@click.argument("proposed", metavar="FILE", type=_FILE)
@_KEY
@_AS
@click.option("--signed-by", required=True, type=_FILE, help="The .pub file of the registrar who signed the proposal.")
@click.option("--out", required=True, type=_FILE, help="Where to write the signed approval.")
def approve_ahead(proposed: Path, key_path: Path, registrar: str, signed_by: Path, out: Path) -> None:
    """Approve the proposal in FILE before it is on the ledger, where `comity governance propose --out` wrote it.

    For what must not stand open: both statements are handed in together, by `comity submit`, and a registrar's key that
    was stolen has no time in which to reject or withdraw. Needs no gateway. Exit status: 0 written, 1 FILE is not what
    it should be, 2 misuse.
    """
    from nodes.cli.proposal_reading import NotWhatWasProposed, read_proposed

    key = private_key(key_path)
    try:
        statement, changes = read_proposed(read_small_file(proposed), read_public_key(signed_by))
    except NotWhatWasProposed as error:
        _stop(f"{proposed}: {error}", EXIT_DOES_NOT_HOLD)
    payload: dict[str | int, Any] = {"proposal": statement.id}
    payload |= _membership_signature(key, changes)
    made = signed_statement(key, "governance.approve", registrar, statement.sub, payload)
    write_new(out, made.raw)
    click.echo(f"{statement.sub}, proposed by {statement.iss}, statement {statement.id.hex()}")
    _echo_changes(changes)
    click.echo(f"written to {out}; hand both in together: comity submit {proposed} {out}")


@governance.command("reject")
@click.argument("proposal_id", metavar="PROPOSAL")
@_GATEWAY
@_KEY
@_AS
@_READ
@_REASON
@_JSON
def reject(proposal_id: str, **options: Any) -> None:
    """Refuse PROPOSAL of the other side, which ends it."""
    _answer("reject", proposal_id, **options)


@governance.command("withdraw")
@click.argument("proposal_id", metavar="PROPOSAL")
@_GATEWAY
@_KEY
@_AS
@_READ
@_REASON
@_JSON
def withdraw(proposal_id: str, **options: Any) -> None:
    """Take back an own open PROPOSAL; or, once every authority says so, one that waits for its height.

    A signature of a membership change is not taken back by that: only another change in its place makes it void.
    """
    _answer("withdraw", proposal_id, **options)


@governance.command("show")
@click.argument("proposal_id", metavar="PROPOSAL")
@_GATEWAY
@signer_options
@_JSON
def show(proposal_id: str, gateway: str, participant_id: str | None, key: Path | None, as_json: bool) -> None:
    """Show PROPOSAL: what it changes, who has approved it, when it takes effect.

    With --as and --key of somebody who sees all, a registrar or an auditor, it is compared with the statement that
    proposed it: exit status 1 if the gateway shows anything else.
    """
    with open_client(gateway, participant_id, key) as client:
        record = client.proposal(proposal_id)["record"]
        if participant_id is not None:
            _hold_against_statement(client, proposal_id, record)
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    click.echo(_in_one_line(record))
    click.echo(f"  statement {record['proposal']}")
    _echo_changes(record["changes"])
    for approval in record["approvals"]:
        click.echo(f"  approved by {approval['by']} at height {approval['height']}")
    for entry in record["previous"]:
        click.echo(f"  {entry['topic']} was changed before by {entry['proposal']}")


def _echo_changes(changes: list[dict[str, Any]]) -> None:
    for change in changes:
        for kind, fields in change.items():
            click.echo(f"  {kind}: " + ", ".join(f"{name} {value}" for name, value in fields.items()))


def _in_one_line(record: dict[str, Any]) -> str:
    states = {
        "open": f"open until {record['lapses_ms']} ms: waits for the other side",
        "approved": f"approved: takes effect at height {record['effect_height']}",
        "in_force": f"in force since height {record['effect_height']}",
    }
    reason = f" ({record['reason']})" if record["reason"] else ""
    return f"{record['id']}: {record['title']}: {states.get(record['state'], record['state'])}{reason}"


@governance.command("list")
@_GATEWAY
@_JSON
def list_proposals(gateway: str, as_json: bool) -> None:
    """Show what is open, what waits for its height, the contracts in force and the legal basis."""
    with open_client(gateway) as client:
        document = client.governance()
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    if not document["authorities"]:
        click.echo("this network has no governance: its genesis record does not name the contract")
    for record in (*document["open"], *document["approved"]):
        click.echo(_in_one_line(record))
    for contract in document["contracts"]:
        since = f", since height {contract['since']['height']}" if contract["since"] else ""
        click.echo(f"contract {contract['name']} version {contract['version']}{since}")
    for basis in document["legal_basis"]:
        click.echo(f"legal basis {basis['agreement']}, article {basis['article']}: {basis['effective'] or 'taken off'}")
    for line in document["missing"]:
        click.echo(f"warning: {line}", err=True)


@governance.command("keys")
@_GATEWAY
@_JSON
def authority_keys(gateway: str, as_json: bool) -> None:
    """Show the log key and the CA of each authority: since which height, what they replaced, and what waits."""
    with open_client(gateway) as client:
        found = client.governance()["keys"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for each in found:
        held = f"since height {each['from_height']}" + (f" by {each['proposal']}" if each["proposal"] else "")
        if each["waiting"]:
            held = f"from height {each['from_height']} on, by {each['proposal']}"
        elif each["until_height"] is not None:
            held += f", until height {each['until_height']}; counted until block time {each['until_ms']} ms"
        click.echo(f"{each['authority']:<12} {each['kind']:<8} {each['value']}  {held}")


@governance.command("policy")
@_GATEWAY
@click.option("--genesis", "genesis_path", required=True, type=_FILE, help="The network's genesis.cbor.")
@click.option("--authority", required=True, metavar="NAME", help="Whose policy: its own log key stands in it.")
@click.option(
    "--policy", "known", required=True, type=_FILE, help="The policy file of before, by which all is verified."
)
@_KEY
@_AS
@click.option("--out", required=True, type=_FILE, help="Where to write the new one.")
def policy(
    gateway: str, genesis_path: Path, authority: str, known: Path, key_path: Path, registrar: str, out: Path
) -> None:
    """Write the policy file that goes with the log key in force, for those who verify what is signed from now on.

    The gateway is not believed: the statements by which every authority has decided on the key are fetched with their
    proofs, and verified by the policy file of before and by the genesis record's authorities. Do it in the overlap,
    in which checkpoints are signed with both keys, and keep the file of before: older proofs hold by it. Who joined or
    left since is in the new file as well. Exit status: 0 written, 1 something does not hold.
    """
    from nodes.cli.log_key_policy import PolicyRefused, policy_of_decisions

    data = read_policy(known)
    with open_client(gateway, registrar, key_path) as client:
        try:
            text = policy_of_decisions(client, read_small_file(genesis_path), data, authority)
        except PolicyRefused as error:
            _stop(str(error), EXIT_DOES_NOT_HOLD)
    if out.exists():
        _stop(f"{out}: is there already; nothing is overwritten", EXIT_MISUSE)
    out.write_text(text)
    click.echo(f"written to {out}; keep {known}: what was signed before holds by that one")


@governance.command("parameters")
@_GATEWAY
@_JSON
def parameters(gateway: str, as_json: bool) -> None:
    """Show the parameters in force, since when and by which proposal, and what waits to replace them."""
    with open_client(gateway) as client:
        document = client.parameters()
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for each in document["parameters"]:
        since = (
            f"since height {each['since']['height']} by {each['since']['proposal']}"
            if each["since"]
            else "as of genesis"
        )
        pending = f"; {each['pending']} waits to replace it" if each["pending"] else ""
        click.echo(f"{each['name']:<24} {each['value']!s:<16} {since}{pending}")


@governance.command("membership")
@click.argument("proposal_id", metavar="PROPOSAL")
@_GATEWAY
@click.option("--genesis", "genesis_path", required=True, type=_FILE, help="The network's genesis.cbor.")
@click.option("--out", required=True, type=_FILE, help="Where to write the signed change.")
def membership(proposal_id: str, gateway: str, genesis_path: Path, out: Path) -> None:
    """Write the signed change of the membership that PROPOSAL's approvals are the signatures of.

    It is then handed in by `comity membership submit`. The signatures come from the ledger, and are verified here.
    """
    from ledger.entry import Genesis
    from ledger.membership import signed_change

    try:
        genesis = Genesis.decode(read_small_file(genesis_path))
    except LedgerError as error:
        _stop(f"{genesis_path}: is no genesis record: {error}", EXIT_MISUSE)
    with open_client(gateway) as client:
        record = client.proposal(proposal_id)["record"]
        notes = [note.encode() for note in client.membership()["changes"]]
    texts = [change["membership"]["change"] for change in record["changes"] if "membership" in change]
    if not texts:
        _stop(f"{proposal_id} has no change of the membership", EXIT_DOES_NOT_HOLD)
    if record["state"] not in ("approved", "in_force"):
        _stop(
            f"{proposal_id}: expected a proposal that every authority has approved, got {_in_one_line(record)}",
            EXIT_DOES_NOT_HOLD,
        )
    lines = {each["authority"]: bytes.fromhex(each["membership_signature"]) for each in record["approvals"]}
    try:
        note = signed_change(genesis, notes, texts[0], lines)
    except LedgerError as error:
        _stop(f"{proposal_id}: {error}", EXIT_DOES_NOT_HOLD)
    if out.exists():
        _stop(f"{out}: is there already; nothing is overwritten", EXIT_MISUSE)
    out.write_bytes(note)
    click.echo(f"{out}: hand it in with: comity membership submit {out} --gateway {gateway}")

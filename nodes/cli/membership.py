"""`comity membership`: propose, sign, check, submit, show, status, policy.

A change goes from hand to hand as a file: one operator proposes it, each registrar reads it and signs, on a machine
where the registrar's key is, and either side hands it in. `check` says what it would do and who has signed.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ledger.errors import LedgerError, Malformed, Untrue
from ledger.membership import (
    Change,
    Register,
    Role,
    Step,
    Verb,
    check_signatures,
    parse_step,
    sign_change,
    signer_key,
    split_chain,
    split_change,
    verify_chain,
)
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import read_small_file
from nodes.cli.participant import open_client, private_key

if TYPE_CHECKING:
    from ledger.entry import Genesis

_FILE = click.Path(path_type=Path, dir_okay=False)
RETRY_PAUSE_S = 1.0
# Nobody leads for a moment, or the newcomer is not as far yet: the same change may be taken later.
_PASSING = ("no_leader", "not_leader", "not_caught_up", "term_not_open", "change_pending", "overloaded")


def _stop(message: str, status: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)


def _genesis(path: Path) -> Genesis:
    from ledger.entry import Genesis

    try:
        return Genesis.decode(read_small_file(path))
    except LedgerError as error:
        _stop(f"{path}: is no genesis record: {error}", EXIT_MISUSE)


def _change(path: Path) -> tuple[Change, Any, bytes]:
    data = read_small_file(path)
    try:
        return *split_change(data), data
    except Malformed as error:
        _stop(f"{path}: {error}", EXIT_MISUSE)


def _fetched(gateway: str) -> dict[str, Any]:
    with open_client(gateway) as client:
        return client.membership()


def _register(genesis: Genesis, gateway: str | None, changes: Path | None) -> tuple[Register, list[bytes]]:
    """The present register: derived from signed changes, whoever hands them out, never just believed."""
    if (gateway is None) == (changes is None):
        _stop("expected one of --gateway and --changes", EXIT_MISUSE)
    try:
        if gateway is not None:
            notes = [note.encode() for note in _fetched(gateway)["changes"]]
        else:
            notes = split_chain(read_small_file(changes)) if changes is not None else []
        return verify_chain(genesis, notes)[-1], notes
    except (Malformed, Untrue) as error:
        _stop(f"{gateway or changes}: changes of the membership do not hold: {error}", EXIT_DOES_NOT_HOLD)


def _write(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Whole or not at all. Nothing of somebody else's is overwritten."""
    if path.exists() and not replace:
        _stop(f"{path}: is there already; nothing is overwritten", EXIT_MISUSE)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        _stop(f"{path}: {error.strerror or error}", EXIT_UNAVAILABLE)


# An authority, the id of its registrar or deputy, and the .pub file of that one's key.
_SIGNER = click.Tuple([str, str, _FILE])
_GENESIS = click.option("--genesis", "genesis_path", required=True, type=_FILE, help="The network's genesis.cbor.")
_GATEWAY = click.option("--gateway", metavar="URL", help="A gateway, as http://127.0.0.1:8080.")
_CHANGES = click.option("--changes", type=_FILE, help="The signed changes since genesis, as `show --changes` writes.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group()
def membership() -> None:
    """Change who belongs to the order, by a document that both authorities sign."""


@membership.command("propose")
@_GENESIS
@_GATEWAY
@_CHANGES
@click.option("--add", "added", multiple=True, type=_FILE, help="A newcomer's `member` file; it begins as an observer.")
@click.option("--promote", multiple=True, metavar="NAME", help="An observer that is to have a vote.")
@click.option("--demote", multiple=True, metavar="NAME", help="A voter or witness that is to observe.")
@click.option("--remove", multiple=True, metavar="NAME", help="A member that is to leave, for good.")
@click.option(
    "--trust",
    type=_SIGNER,
    multiple=True,
    metavar="AUTHORITY ID FILE",
    help="A registrar's .pub file that is to sign changes for AUTHORITY too; with a step about a member.",
)
@click.option(
    "--distrust",
    type=_SIGNER,
    multiple=True,
    metavar="AUTHORITY ID FILE",
    help="One that is to sign no more.",
)
@click.option("--out", required=True, type=_FILE, help="Where to write the change.")
def propose(
    genesis_path: Path,
    gateway: str | None,
    changes: Path | None,
    added: tuple[Path, ...],
    promote: tuple[str, ...],
    demote: tuple[str, ...],
    remove: tuple[str, ...],
    trust: tuple[tuple[str, str, Path], ...],
    distrust: tuple[tuple[str, str, Path], ...],
    out: Path,
) -> None:
    """Write a change of the present membership, for both registrars to sign."""
    genesis = _genesis(genesis_path)
    register, _ = _register(genesis, gateway, changes)
    try:
        steps = [parse_step(read_small_file(path).decode(errors="replace").removesuffix("\n")) for path in added]
        for verb, names in ((Verb.PROMOTE, promote), (Verb.DEMOTE, demote), (Verb.REMOVE, remove)):
            steps += [Step(verb, name) for name in names]
        for verb, signers in ((Verb.TRUST, trust), (Verb.DISTRUST, distrust)):
            steps += [Step(verb, name, signer=signer_key(who, read_small_file(path))) for name, who, path in signers]
        if not steps:
            _stop("nothing to change: expected --add, --promote, --demote or --remove", EXIT_MISUSE)
        change = register.change(steps)
    except Malformed as error:
        _stop(str(error), EXIT_MISUSE)
    except Untrue as error:
        _stop(str(error), EXIT_DOES_NOT_HOLD)
    _write(out, change.text().encode())
    click.echo(change.text(), nl=False)
    click.echo(f"written to {out}; each registrar now signs it: comity membership sign {out}", err=True)


@membership.command("sign")
@click.argument("file", type=_FILE)
@_GENESIS
@click.option("--key", "key_path", required=True, type=_FILE, help="The registrar's private key.")
@_GATEWAY
@_CHANGES
def sign(file: Path, genesis_path: Path, key_path: Path, gateway: str | None, changes: Path | None) -> None:
    """Add a registrar's signature to FILE. Read what FILE says before: `comity membership check`.

    Where changes have let other keys sign than those of the genesis record, say where the changes are to be had.
    """
    genesis = _genesis(genesis_path)
    register = Register.of_genesis(genesis)
    if gateway is not None or changes is not None:
        register, _ = _register(genesis, gateway, changes)
    change, _, data = _change(file)
    try:
        signed = sign_change(data, private_key(key_path), register)
        signatures = check_signatures(register, *split_change(signed))
    except (Malformed, Untrue) as error:
        _stop(f"{file}: {error}", EXIT_DOES_NOT_HOLD)
    _write(file, signed, replace=True)
    click.echo(change.text(), nl=False)
    _say_signatures(signatures.signed, signatures.missing)


def _say_signatures(signed: tuple[str, ...], missing: tuple[str, ...]) -> None:
    click.echo(f"signed by {', '.join(signed) or 'nobody'}" + (f"; missing {', '.join(missing)}" if missing else ""))


@membership.command("check")
@click.argument("file", type=_FILE)
@_GENESIS
@_GATEWAY
@_CHANGES
@_JSON
def check(file: Path, genesis_path: Path, gateway: str | None, changes: Path | None, as_json: bool) -> None:
    """Say what FILE would do, to which membership, and who has signed it.

    Exit status: 0 it may be handed in, 1 it may not, or signatures are missing; 2 misuse, 3 something is not available.
    """
    genesis = _genesis(genesis_path)
    register, _ = _register(genesis, gateway, changes)
    change, lines, _ = _change(file)
    problem, members = "", list[str]()
    signed: tuple[str, ...] = ()
    missing = tuple(authority.name for authority in genesis.authorities)
    try:
        signatures = check_signatures(register, change, lines)
        signed, missing = signatures.signed, signatures.missing
        members = [member.line().strip() for member in register.after(change).members.values()]
        signatures.check()
    except Untrue as error:
        problem = str(error)
    if as_json:
        report = {
            "number": change.number,
            "steps": [step.line().strip() for step in change.steps],
            "members_after": members,
            "signed": signed,
            "missing": missing,
            "holds": not problem,
            "problem": problem,
        }
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(change.text(), nl=False)
        _say_signatures(signed, missing)
        for line in members:
            click.echo(f"  after: {line[:100]}")
        click.echo(f"does not hold: {problem}" if problem else "holds: may be handed in")
    raise SystemExit(EXIT_DOES_NOT_HOLD if problem else 0)


@membership.command("submit")
@click.argument("file", type=_FILE)
@click.option("--gateway", required=True, metavar="URL", help="A gateway, as http://127.0.0.1:8080.")
@click.option("--wait", default=0, show_default=True, type=click.IntRange(0, 3600), help="Seconds to ask again.")
@_JSON
def submit(file: Path, gateway: str, wait: int, as_json: bool) -> None:
    """Hand in a change that both registrars have signed. The same FILE again asks what has become of it.

    Exit status: 0 committed, 1 refused, 3 proposed and not committed yet, or the gateway cannot be reached.
    """
    from api import client as http

    _, _, data = _change(file)
    until_s = time.monotonic() + wait
    while True:
        refused = ""
        reply: dict[str, Any] = {"state": "unanswered", "number": 0, "detail": ""}
        with open_client(gateway) as client:
            try:
                reply = client.change_membership(data)
            except (http.Unreachable, http.Unavailable, http.Overloaded):
                # It may have been taken all the same; handed in again, it happens once.
                if time.monotonic() >= until_s:
                    raise
            except http.ProblemError as error:
                if error.code != "change_refused":
                    raise
                reply["state"], refused = "refused", str(error.detail or error)
        if (refused and not refused.startswith(_PASSING)) or reply["state"] == "committed":
            break
        if reply["state"] != "unanswered" and time.monotonic() >= until_s:
            break
        time.sleep(RETRY_PAUSE_S)
    if as_json:
        click.echo(json.dumps({**reply, "detail": refused or reply["detail"]}, indent=2))
    elif refused:
        click.echo(f"error: refused: {refused}", err=True)
    else:
        click.echo(
            f"change {reply['number']} is {reply['state']}" + (f": {reply['detail']}" if reply["detail"] else "")
        )
    status = {"committed": 0, "refused": EXIT_DOES_NOT_HOLD, "proposed": EXIT_UNAVAILABLE}
    raise SystemExit(status.get(reply["state"], EXIT_UNAVAILABLE))


@membership.command("show")
@_GENESIS
@_GATEWAY
@_CHANGES
@click.option("--save", type=_FILE, help="Write the signed changes since genesis here, for a newcomer's folder.")
@_JSON
def show(genesis_path: Path, gateway: str | None, changes: Path | None, save: Path | None, as_json: bool) -> None:
    """Show the membership as the signed changes make it, and their hash. Needs no trust in who hands them out."""
    register, notes = _register(_genesis(genesis_path), gateway, changes)
    if save is not None:
        _write(save, b"".join(notes), replace=True)
    if as_json:
        document = {"number": register.number, "digest": register.digest.hex(), "text": register.text()}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(register.text(), nl=False)
    click.echo(f"sha-256 {register.digest.hex()}")


@membership.command("status")
@click.option("--gateway", required=True, metavar="URL", help="A gateway, as http://127.0.0.1:8080.")
@_JSON
def status(gateway: str, as_json: bool) -> None:
    """Show who belongs to the order now, who can be reached, and how far behind each is."""
    found = _fetched(gateway)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    state = "joint: members of before still have a say" if found["joint"] else ""
    state = state or ("" if found["committed"] else "in force, not committed yet")
    click.echo(f"membership {found['number']}" + (f", {state}" if state else ""))
    for member in found["members"]:
        reach = "reachable" if member["reachable"] else "not reachable"
        lead = ", leads" if member["leader"] else ""
        click.echo(
            f"  {member['name']:<20} {member['party']:<16} {member['role']:<9} {reach}, "
            f"{member['behind']} entries behind{lead}"
        )


_WITH_ITS_KEY = "comity governance policy --policy POLICY_OF_BEFORE"


def _refuse_replaced_key(genesis: Genesis, gateway: str, authority: str) -> None:
    """A policy with a key that signs nothing any more would let every new proof fail."""
    with open_client(gateway) as client:
        held = client.governance().get("keys", [])
    first = {each.name: each.log_key.hex() for each in genesis.authorities}
    for each in held:
        if (each["authority"], each["kind"]) != (authority, "log_key") or each["waiting"]:
            continue
        if each["value"] != first.get(authority):
            _stop(
                f"the log key of {authority} was replaced by {each['proposal']}, and is not that of the genesis record "
                f"any more: write the policy with `{_WITH_ITS_KEY}`, which verifies that both authorities decided so",
                EXIT_DOES_NOT_HOLD,
            )


@membership.command("policy")
@_GENESIS
@_GATEWAY
@_CHANGES
@click.option("--authority", required=True, metavar="NAME", help="Whose policy: its own log key stands in it.")
@click.option("--majority", is_flag=True, help="Want more than half of each authority's validators, not any one.")
@click.option("--out", type=_FILE, help="Where to write it; standard output if not given.")
def policy(
    genesis_path: Path, gateway: str | None, changes: Path | None, authority: str, majority: bool, out: Path | None
) -> None:
    """Write the policy file that follows from the present voters of each authority.

    Give it to those who verify, over a channel that they trust. Keep the one before: older proofs hold by it. The log
    key in it is that of the genesis record: where both authorities have replaced it, `comity governance policy` writes
    the file, and this command refuses if it can ask a gateway.
    With --majority no lie of one authority can make two histories final, and of two validators none may be missing.
    """
    from nodes.config import ConfigError
    from nodes.network import policy_of_members

    genesis = _genesis(genesis_path)
    register, _ = _register(genesis, gateway, changes)
    if gateway is None:
        click.echo(f"# the log key is that of the genesis record; if it was replaced since: {_WITH_ITS_KEY}", err=True)
    else:
        _refuse_replaced_key(genesis, gateway, authority)
    try:
        text = policy_of_members(genesis, authority, register.of(Role.VOTER), majority=majority)
    except ConfigError as error:
        _stop(str(error), EXIT_MISUSE)
    if out is None:
        click.echo(text, nl=False)
    else:
        _write(out, text.encode(), replace=True)
        click.echo(f"written to {out}")

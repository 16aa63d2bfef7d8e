"""`comity evidence`: what somebody signed that cannot be true, as files that third parties verify."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import read_policy, read_small_file, stop
from nodes.cli.participant import gateway_option, open_client, signer_options, write_new

if TYPE_CHECKING:
    from ledger.evidence import Evidence, SignedHead

_file = click.Path(path_type=Path, dir_okay=False)
_policies = click.option(
    "--policy",
    "policy_paths",
    required=True,
    multiple=True,
    type=_file,
    help="Whom to believe. Give both authorities' policies to know both log keys.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
# Below the folder of a validator's data.
FOLDER = "evidence"
MAX_LISTED = 10_000


@click.group()
def evidence() -> None:
    """List, show, make and verify evidence: signatures that contradict each other, or vouch for what no log may hold.

    docs/operating.md says what to do when there is some. Exit status: 0 holds or done, 1 does not hold, 2 misuse,
    3 not available.
    """


@evidence.command("list")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@_json
def list_(folder: Path, as_json: bool) -> None:
    """List the bundles in FOLDER, or in the data folder of a validator. Verified they are by `verify` alone."""
    if not folder.is_dir():
        stop(f"{folder}: there is no such folder", EXIT_UNAVAILABLE)
    rows = [{"file": str(path), **_row(bundle)} for path, bundle in _bundles(folder)]
    if as_json:
        click.echo(json.dumps({"evidence": rows}, indent=2))
        return
    for row in rows:
        click.echo(f"{row['file']}: {row['says']}")
    if not rows:
        click.echo(f"{folder}: no evidence")


def _bundles(folder: Path) -> Iterator[tuple[Path, Evidence]]:
    from ledger.errors import Malformed
    from ledger.evidence import SUFFIX, decode_evidence

    inside = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    for path in sorted(inside.glob(f"*{SUFFIX}"))[:MAX_LISTED]:
        try:
            yield path, decode_evidence(read_small_file(path))
        except Malformed as error:
            click.echo(f"{path}: {error}", err=True)


def _row(bundle: Evidence) -> dict[str, Any]:
    return {
        "id": bundle.id,
        "claim": bundle.claim.value,
        "says": bundle.claim.sentence,
        "origin": bundle.origin,
        "sizes": [head.checkpoint.size for head in bundle.heads],
    }


@evidence.command()
@click.argument("file", type=_file)
@_json
def show(file: Path, as_json: bool) -> None:
    """Show what stands in a bundle. Nothing is verified: `comity evidence verify` does that."""
    from ledger.errors import Malformed
    from ledger.evidence import decode_evidence

    try:
        bundle = decode_evidence(read_small_file(file))
    except Malformed as error:
        stop(f"{file}: {error}", EXIT_DOES_NOT_HOLD)
    shown = {"file": str(file), **_row(bundle), "heads": [_shown(head) for head in bundle.heads]}
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(f"{file}: {bundle.claim.value}: {bundle.claim.sentence}")
    click.echo(f"  {bundle.origin}, id {bundle.id}")
    for head in bundle.heads:
        click.echo(f"  size {head.checkpoint.size}, root {head.checkpoint.root.hex()}")
        for line in _shown(head)["lines"]:
            click.echo(f"    a line of {line}")
        for entry in _shown(head)["entries"]:
            click.echo(f"    entry {entry['index']}: {entry['what']}")
    click.echo("nothing was verified: comity evidence verify --policy POLICY " + str(file))


def _shown(head: SignedHead) -> dict[str, Any]:
    from ledger.note import parse_note

    return {
        "size": head.checkpoint.size,
        "root": head.checkpoint.root.hex(),
        "lines": [f"{line.name} ({line.key_id.hex()})" for line in parse_note(head.note).signatures],
        "entries": [{"index": each.index, "what": _entry_words(each.raw)} for each in head.entries],
    }


def _entry_words(raw: bytes) -> str:
    from ledger.entry import BlockRecord, Genesis, parse_entry
    from ledger.errors import LedgerError

    try:
        entry = parse_entry(raw)
    except LedgerError as error:
        return f"{len(raw)} bytes that this release cannot read: {error}"
    if isinstance(entry, BlockRecord):
        return (
            f"record of block {entry.height} at {entry.time_ms} ms by {entry.proposer}: {entry.count} statements "
            f"from {entry.first} on, state root {entry.state_root.hex()}"
        )
    if isinstance(entry, Genesis):
        return f"genesis record of {entry.origin}"
    return f"{entry.kind} about {entry.sub} by {entry.iss}, cti {entry.cti.hex()}"


@evidence.command("verify")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=_file)
@_policies
@_json
def verify_(files: tuple[Path, ...], policy_paths: tuple[Path, ...], as_json: bool) -> None:
    """Verify bundles, with policies alone: no ledger, no archive, no network.

    Exit status: 0 every bundle holds, so that somebody is proven to have signed what cannot be, 1 one does not.
    """
    from contracts.verifying_evidence import evidence_verification
    from nodes.cli.verify import report

    policies = [read_policy(path) for path in policy_paths]
    report([(file, evidence_verification(policies, read_small_file(file))) for file in files], as_json)


@evidence.command()
@click.argument("notes", nargs=2, metavar="NOTE NOTE", type=_file)
@_policies
@click.option(
    "--archive",
    type=click.Path(path_type=Path, file_okay=False),
    help="Of the tree of the larger NOTE; needed where the sizes differ.",
)
@click.option("--out", required=True, type=_file, help="Where to put the bundle; a file that is there is left alone.")
def make(notes: tuple[Path, Path], policy_paths: tuple[Path, ...], archive: Path | None, out: Path) -> None:
    """Make a bundle of two checkpoints that cannot both be true, such as two carriers were shown.

    Exit status: 0 made, 1 they do not contradict each other, or nobody known has signed them.
    """
    from ledger.archive_tree import ArchiveTree
    from ledger.errors import LedgerError, Misuse
    from ledger.evidence import SignedHead
    from ledger.evidence_making import conflicting_heads

    policies = [read_policy(path) for path in policy_paths]
    heads = [SignedHead(read_small_file(path)) for path in notes]
    try:
        tree = None if archive is None else ArchiveTree(archive)
        larger = max(head.checkpoint.size for head in heads)
        if tree is not None and tree.checkpoint.size < larger:
            stop(f"{archive}: has {tree.checkpoint.size} entries, expected at least {larger}", EXIT_MISUSE)
        made = conflicting_heads(heads[0], heads[1], tree)
    except Misuse as error:
        stop(f"{error}: name its archive with --archive", EXIT_MISUSE)
    except LedgerError as error:
        stop(str(error), EXIT_DOES_NOT_HOLD)
    if made is None:
        stop("the two do not contradict each other", EXIT_DOES_NOT_HOLD)
    _write(made, policies, out)


@evidence.command()
@click.argument("files", nargs=2, metavar="FILE FILE", type=_file)
@_policies
@click.option("--out", required=True, type=_file, help="Where to put the bundle; a file that is there is left alone.")
def join(files: tuple[Path, Path], policy_paths: tuple[Path, ...], out: Path) -> None:
    """Join both sides' bundles of one divergence: so a third party sees in what their last blocks differ."""
    from ledger.errors import LedgerError
    from ledger.evidence import decode_evidence
    from ledger.evidence_making import joined

    policies = [read_policy(path) for path in policy_paths]
    try:
        made = joined(*(decode_evidence(read_small_file(file)) for file in files))
    except LedgerError as error:
        stop(str(error), EXIT_DOES_NOT_HOLD)
    _write(made, policies, out)


@evidence.command()
@gateway_option()
@signer_options
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to put the bundles in."
)
@_json
def export(gateway: str, participant_id: str | None, key: Path | None, out: Path, as_json: bool) -> None:
    """Fetch the bundles that the validators behind a gateway made, each to a file named by its id.

    For customs of either authority, and auditors. What is there already is left alone.
    """
    from ledger.evidence import SUFFIX

    if participant_id is None:
        stop("evidence is for customs and auditors: name one with --as and --key", EXIT_MISUSE)
    rows = []
    with open_client(gateway, participant_id, key) as client:
        for row in client.evidence():
            path = out / f"{row['id']}{SUFFIX}"
            if not path.exists():
                raw = client.evidence_bundle(row["id"])
                if sha256(raw).hexdigest() != row["id"]:
                    stop(f"{row['id']}: the gateway sent other bytes: expected that SHA-256", EXIT_DOES_NOT_HOLD)
                out.mkdir(parents=True, exist_ok=True)
                write_new(path, raw)
            rows.append({"file": str(path), **row})
    if as_json:
        click.echo(json.dumps({"evidence": rows}, indent=2))
        return
    for row in rows:
        click.echo(f"{row['file']}: {row['words']}")
    if not rows:
        click.echo(f"{gateway}: no evidence")


def _write(made: Evidence, policies: list[bytes], out: Path) -> None:
    """Only what holds is written."""
    from ledger.evidence_check import check_evidence
    from ledger.proof_check import Verdict

    raw = made.encode()
    report = check_evidence(policies, raw)
    if not report.holds:
        why = next(check for check in report.checks if check.verdict is Verdict.FAILS)
        stop(f"this would convince nobody: {why.name}: {why.detail}", EXIT_DOES_NOT_HOLD)
    write_new(out, raw)
    click.echo(f"{out}: {report.words}")

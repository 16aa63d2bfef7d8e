"""`comity verify`: any file that can be verified offline, told by its content. The light install is enough."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.plain_text import plain
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE
from nodes.cli.offline import STATEMENT_SUFFIX, read_policy, read_small_file, stop

if TYPE_CHECKING:
    from contracts.verifying import Kind, Verification


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--policy", "policy_path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Whom to believe."
)
@click.option(
    "--statement",
    "statement_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The statement that a tlog-proof is about. Otherwise the file beside FILE that ends in .cose.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def verify(files: tuple[Path, ...], policy_path: Path, statement_path: Path | None, as_json: bool) -> None:
    """Verify files offline: what each is, its content tells.

    Says what was checked, what holds, and what such a file cannot tell. Exit status: 0 every check of every FILE holds,
    1 some check does not, 2 misuse, 3 a file cannot be read.
    """
    from contracts.verifying import Context, kind_of, verify_file

    if statement_path is not None and len(files) > 1:
        stop("--statement goes with one FILE", EXIT_MISUSE)
    policy = read_policy(policy_path)
    at_s = int(time.time())
    found: list[tuple[Path, Verification]] = []
    for file in files:
        data = read_small_file(file)
        statement = _statement(file, kind_of(data, file.name), statement_path)
        found.append((file, verify_file(data, file.name, Context(policy, at_s, statement))))
    report(found, as_json)


def report(found: list[tuple[Path, Verification]], as_json: bool) -> None:
    """Say what was found, and end with the exit status that it comes to."""
    from contracts.verifying import all_not_checked

    not_checked = all_not_checked([each for _, each in found])
    if as_json:
        proofs = [_as_json(file, each) for file, each in found]
        click.echo(json.dumps({"proofs": proofs, "not_checked": not_checked}, indent=2))
    else:
        for file, each in found:
            click.echo(f"{file}: {each.kind}: {'holds' if each.holds else 'DOES NOT HOLD'}")
            for check in each.checks:
                click.echo(f"  {check.number} {check.name:<10} {check.verdict.value:<11} {plain(check.detail)}")
            if each.summary:
                click.echo(f"  {plain(each.summary)}")
        click.echo("not checked:" if not_checked else "not checked: nothing, as nothing could be")
        for line in not_checked:
            click.echo(f"  {plain(line)}")
    raise SystemExit(EXIT_HOLDS if all(each.holds for _, each in found) else EXIT_DOES_NOT_HOLD)


def _statement(file: Path, kind: Kind | None, named: Path | None) -> bytes | None:
    """The statement that the file is about, where that is a file of its own."""
    if kind is None or not kind.needs_statement:
        if named is not None:
            stop(f"{file}: --statement goes with a tlog-proof", EXIT_MISUSE)
        return None
    beside = named or file.with_suffix(STATEMENT_SUFFIX)
    if named is None and not beside.exists():
        stop(f"{file}: no {beside.name} beside it: name the statement with --statement", EXIT_MISUSE)
    return read_small_file(beside)


def _as_json(file: Path, found: Verification) -> dict[str, Any]:
    return {
        "file": str(file),
        "kind": found.kind,
        "holds": found.holds,
        "summary": found.summary,
        **found.facts,
        "checks": [
            {"number": check.number, "name": check.name, "verdict": check.verdict.value, "detail": check.detail}
            for check in found.checks
        ],
        "not_checked": found.not_checked,
    }

"""`comity audit`, and what the offline commands share: no network, no server, the light install."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE

# Read no more than this of a file that should be small: the files are somebody else's.
MAX_SMALL_FILE_BYTES = 4 * 1024 * 1024
PROGRESS_S = 2.0
STATEMENT_SUFFIX = ".cose"
MAX_CALENDAR_S = 253_402_300_799  # the last second of the year 9999


def read_small_file(path: Path) -> bytes:
    """The bytes of a file that is not allowed to be large; ends the command if it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SMALL_FILE_BYTES + 1)
    except OSError as error:
        stop(f"{path}: {error.strerror or error}", EXIT_UNAVAILABLE)
    if len(data) > MAX_SMALL_FILE_BYTES:
        stop(f"{path}: too large: expected at most {MAX_SMALL_FILE_BYTES} bytes", EXIT_MISUSE)
    return data


def read_policy(path: Path) -> bytes:
    """A policy file that is one: with any other, nothing could be concluded, so it is the caller's mistake."""
    from ledger.errors import Malformed
    from ledger.policy import parse_policy

    data = read_small_file(path)
    try:
        parse_policy(data)
    except Malformed as error:
        stop(f"{path}: {error}", EXIT_MISUSE)
    return data


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Something to call with (done, of all): a bar with rate and time left on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def progress_count(what: str) -> Iterator[Callable[[int], None]]:
    """Something to call with how many are done: said on a terminal every two seconds, nowhere else."""
    shown_s = time.monotonic()

    def show(done: int) -> None:
        nonlocal shown_s
        if sys.stderr.isatty() and time.monotonic() - shown_s >= PROGRESS_S:
            shown_s = time.monotonic()
            click.echo(f"\r{done} {what}", err=True, nl=False)

    yield show


def stop(message: str, status: int) -> NoReturn:
    """End the command with an error and an exit status."""
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--policy", "policy_path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Whom to believe."
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=lambda: os.cpu_count() or 1,
    show_default="one a core",
    help="Processes that check signatures and hashes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def audit(directory: Path, policy_path: Path, jobs: int, as_json: bool) -> None:
    """Audit a whole archive offline: every hash, signature and block record, and every block executed again.

    All faults are reported, each with its entry or file. Exit status: 0 everything holds, 1 it does not,
    2 misuse, 3 a file cannot be read.
    """
    from contracts.replay import ContractReplay
    from ledger.audit import audit_archive
    from ledger.errors import Misuse
    from ledger.store import StoreUnavailable

    policy = read_policy(policy_path)
    if not directory.is_dir():
        stop(f"{directory}: there is no such directory", EXIT_UNAVAILABLE)
    try:
        with progress_bar("entries") as progress:
            report = audit_archive(directory, policy, ContractReplay(), jobs, progress)
    except Misuse as error:
        stop(str(error), EXIT_MISUSE)
    except StoreUnavailable as error:
        stop(str(error), EXIT_UNAVAILABLE)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        _print_audit(directory, report)
    raise SystemExit(EXIT_HOLDS if report.holds else EXIT_DOES_NOT_HOLD)


def _print_audit(directory: Path, report: Any) -> None:
    from datetime import UTC, datetime

    from ledger.audit_report import Check

    click.echo(f"{directory}: {'holds' if report.holds else 'DOES NOT HOLD'}")
    click.echo(f"  {report.origin}: {report.size} entries, {report.statements} statements, {report.blocks} blocks")
    if report.root is not None:
        click.echo(f"  root {report.root.hex()}")
    for name, at_s in report.signed.items():
        at = datetime.fromtimestamp(at_s, UTC).isoformat() if at_s <= MAX_CALENDAR_S else f"{at_s} s"
        click.echo(f"  cosigned by {name} at {at}")
    for name in report.missing:
        click.echo(f"  not cosigned by {name}")
    for held in report.log_keys:
        click.echo(f"  log key of {held}")
    for check in Check:
        faults = sum(fault.check is check for fault in report.faults) + report.uncounted.get(check, 0)
        click.echo(f"  {int(check):>2} {'holds' if not faults else f'{faults} FAULTS':<10} {check.sentence}")
    for fault in report.faults:
        click.echo(f"fault: {fault}")
    for check, count in report.uncounted.items():
        click.echo(f"fault: check {int(check)}: {count} more")
    if report.not_comparable_from is not None:
        click.echo(
            f"from entry {report.not_comparable_from} on, execution was not compared: {report.not_comparable_because}"
        )

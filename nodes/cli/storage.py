"""Commands for what a stopped validator has on its disk: `comity storage`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import PROGRESS_S, progress_count

if TYPE_CHECKING:
    from nodes.repair import Report

_DIRECTORY = click.Path(path_type=Path, file_okay=False, exists=True)


@click.group()
def storage() -> None:
    """Look after what a stopped validator has on its disk.

    DIRECTORY is the validator's `data`. While the validator runs, every command ends with 3.
    """


def _stop(message: str, status: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)


@contextmanager
def _telling() -> Iterator[Callable[[str, int], None]]:
    """Where the reading is, on a terminal, every two seconds."""
    began_s = shown_s = time.monotonic()

    def tell(what: str, read_bytes: int) -> None:
        nonlocal shown_s
        now_s = time.monotonic()
        if sys.stderr.isatty() and now_s - shown_s >= PROGRESS_S:
            shown_s = now_s
            click.echo(f"{what}, {read_bytes / 1e6 / (now_s - began_s):.1f} MB/s", err=True)

    yield tell


def _as_json(report: Report) -> dict[str, Any]:
    promise, intent = report.promise, report.intent
    return {
        "directory": str(report.directory),
        "verdict": report.verdict,
        "stores": {
            part.name: {"present": part.present, "read_bytes": part.read_bytes, "fault": part.fault}
            for part in (report.order, report.ledger)
        },
        "promises": {
            "term": report.term,
            "vote": report.vote,
            "first_index": report.first_index,
            "last_index": report.last_index,
            "signed_at_most": promise.ceiling if promise else None,
            "last_signed_size": intent.size if intent else promise.size if promise else None,
            "never_sign_up_to": promise.floor if promise else None,
        },
    }


def _print(report: Report) -> None:
    for part in (report.order, report.ledger):
        click.echo(
            f"{part.name:<7} {f'DAMAGED: {part.fault}' if part.fault else f'whole, {part.read_bytes} bytes read'}"
        )
    if report.term is not None:
        click.echo(f"term {report.term}, vote {report.vote or 'none'}, order {report.first_index}..{report.last_index}")
    if report.promise is not None:
        click.echo(f"signed at most size {report.promise.ceiling}")


@storage.command("check")
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def check_command(directory: Path, as_json: bool) -> None:
    """Read everything in DIRECTORY and hold it against itself. Changes nothing.

    Every checksum, every entry against its leaf, every tile, every index, the state against its root, the order without
    gaps. Exit status: 0 whole, 1 damaged, 2 no such folder, 3 in use.
    """
    from ledger.errors import Misuse
    from ledger.store import StoreUnavailable
    from nodes.repair import REPLACE, check

    try:
        with _telling() as tell:
            report = check(directory, tell)
    except StoreUnavailable as error:
        _stop(str(error), EXIT_UNAVAILABLE)
    except Misuse as error:
        _stop(str(error), EXIT_MISUSE)
    if as_json:
        click.echo(json.dumps(_as_json(report), indent=2))
    else:
        _print(report)
        if report.verdict == "repairable":
            click.echo(f"the ledger can be derived again: comity storage repair {directory}")
        elif report.verdict == "replace":
            click.echo(REPLACE)
    raise SystemExit(EXIT_HOLDS if report.verdict == "whole" else EXIT_DOES_NOT_HOLD)


@storage.command("repair")
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def repair_command(directory: Path, as_json: bool) -> None:
    """Set a damaged ledger in DIRECTORY aside, so that the validator derives it again when it starts.

    Nothing is removed, and nothing that may have been signed is signed again. Refused where the order is damaged: what
    this validator voted for and acknowledged, nobody else can know. Exit status: 0 done or nothing to do, 1 refused, 2
    no such folder, 3 in use or the disk cannot be written.
    """
    from ledger.errors import Misuse, UnknownDurableState
    from ledger.store import StoreUnavailable
    from nodes.repair import Refused, repair

    try:
        with _telling() as tell:
            report, done = repair(directory, tell)
    except (StoreUnavailable, OSError) as error:
        _stop(str(error), EXIT_UNAVAILABLE)
    except Misuse as error:
        _stop(str(error), EXIT_MISUSE)
    except (Refused, UnknownDurableState) as error:
        _stop(str(error), EXIT_DOES_NOT_HOLD)
    if as_json:
        found: dict[str, Any] = {"found": _as_json(report), "repaired": None}
        if done is not None:
            found["repaired"] = {
                "set_aside": str(done.aside) if done.aside else None,
                "never_sign_up_to": done.floor,
                "derived_from": "order" if done.from_order else "snapshot",
            }
        click.echo(json.dumps(found, indent=2))
        return
    if done is None:
        click.echo(f"{directory}: whole; nothing to do")
        return
    if done.aside is not None:
        click.echo(f"the damaged ledger is kept in {done.aside}")
    source = "its own order" if done.from_order else "a snapshot of the others"
    click.echo(f"start the validator: it derives the ledger from {source} and signs nothing up to size {done.floor}")


@storage.command("downgrade")
@click.argument("directory", type=_DIRECTORY)
def downgrade(directory: Path) -> None:
    """Rewrite DIRECTORY for the release before this one, which knows no checksums.

    Nothing of it is lost; the present release rewrites it again when it is next started on it. Exit status: 0 done, 1 a
    record is damaged and nothing is given away, 3 it is in use or cannot be written.
    """
    from ledger.errors import UnknownDurableState
    from ledger.store import StoreUnavailable
    from nodes.checked_stores import take_back

    try:
        with progress_count("records rewritten") as on_rewritten:
            take_back(directory, on_rewritten)
    except StoreUnavailable as error:
        _stop(str(error), EXIT_UNAVAILABLE)
    except UnknownDurableState as error:
        _stop(str(error), EXIT_DOES_NOT_HOLD)
    click.echo(f"{directory}: is as the release before this one wants it")

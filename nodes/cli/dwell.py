"""`comity dwell`: dwell and queue times from an archive, offline, the same figures that the gateways give."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import progress_bar, read_policy

_DATE = click.DateTime(formats=["%Y-%m-%d"])


@click.command("dwell")
@click.argument("directory", metavar="ARCHIVE", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--policy", "policy_path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Whom to believe."
)
@click.option("--post", default="", help="Only this post: CNBKT, or KZ/BAKHTY for a local one.")
@click.option("--from", "first", type=_DATE, help="First UTC day. Without days: the week up to the last block.")
@click.option("--to", "last", type=_DATE, help="Last UTC day.")
@click.option("--size", type=click.IntRange(1), help="Of the first entries only, as another archive may end there.")
@click.option("--json", "as_json", is_flag=True, help="Print what a gateway answers for the same size and days.")
def dwell_command(
    directory: Path,
    policy_path: Path,
    post: str,
    first: datetime.datetime | None,
    last: datetime.datetime | None,
    size: int | None,
    as_json: bool,
) -> None:
    """Show how long passages took at each post and side, from an archive alone.

    Every entry is hashed and held against the checkpoint that both authorities cosigned; `comity audit` checks the
    rest. docs/dwell-times.md says what each interval begins and ends with.

    Exit status: 0 shown, 1 the archive does not hold, 2 misuse, 3 a file cannot be read.
    """
    from contracts import dwell
    from contracts.identifiers import IdentifierError
    from ledger.archive_reading import read_checkpoint, read_entries
    from ledger.errors import LedgerError
    from ledger.policy import parse_policy

    policy = parse_policy(read_policy(policy_path))
    if not directory.is_dir():
        _stop(f"{directory}: there is no such directory", EXIT_UNAVAILABLE)
    try:
        code = dwell.parse_post(post) if post else ""
    except IdentifierError as error:
        _stop(f"--post: {error}", EXIT_MISUSE)
    reading = dwell.LogReading([])
    try:
        checkpoint = read_checkpoint(directory, policy)
        wanted = checkpoint.size if size is None else size
        if wanted > checkpoint.size:
            _stop(f"--size: expected at most {checkpoint.size}, got {wanted}", EXIT_MISUSE)
        with progress_bar("entries") as progress:
            reading.read(read_entries(directory, checkpoint, progress), wanted)
    except LedgerError as error:
        _stop(f"{directory}: {error}", EXIT_DOES_NOT_HOLD)
    first_day, last_day = _days(first, last, reading.last_time_ms)
    within = [
        each
        for each in reading.measured
        if first_day <= dwell.day_of(each.ended_ms) <= last_day and code in ("", each.post)
    ]
    shown = dwell.document(checkpoint.origin, reading.size, first_day, last_day, code, dwell.figures(within))
    if as_json:
        click.echo(dwell.encoded(shown))
    else:
        _print(shown)


def _days(first: datetime.datetime | None, last: datetime.datetime | None, last_time_ms: int) -> tuple[int, int]:
    from contracts import dwell

    if first is None and last is None:
        return dwell.days_before(last_time_ms)
    if first is None or last is None:
        _stop("--from and --to go together", EXIT_MISUSE)
    days = (last - first).days + 1
    if not 1 <= days <= dwell.MAX_DAYS:
        _stop(f"days: expected 1 to {dwell.MAX_DAYS}, got {days}", EXIT_MISUSE)
    return dwell.day_number(first.date()), dwell.day_number(last.date())


def _stop(message: str, status: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)


def _print(shown: dict[str, Any]) -> None:
    click.echo(f"{shown['origin']}, first {shown['size']} entries, {shown['from']} to {shown['to']} (UTC days)")
    if not shown["figures"]:
        click.echo("no interval ended on these days")
        return
    click.echo(
        f"{'post':<20} {'side':<12} {'interval':<10} {'day':<11}{'count':>7}{'p50':>12}{'p95':>12}{'longest':>12}"
    )
    for each in shown["figures"]:
        for day, row in (("all", each["all"]), *((row["day"], row) for row in each["days"])):
            times = "".join(f"{_shown_time(row[name]):>12}" for name in ("p50_ms", "p95_ms", "max_ms"))
            head = f"{each['post']:<20} {each['side']:<12} {each['interval']:<10}"
            click.echo(f"{head} {day:<11}{row['count']:>7}{times}")


def _shown_time(time_ms: int) -> str:
    """`2:26:00`, or seconds with their thousandths below a minute."""
    if time_ms < 60_000:
        return f"{time_ms // 1000}.{time_ms % 1000:03} s"
    minutes, seconds = divmod(time_ms // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"

"""What the offline commands share: no network, no server, the light install."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from nodes.cli import EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.terminal import unfiltered

# Read no more than this of a file that should be small: the files are somebody else's.
MAX_SMALL_FILE_BYTES = 4 * 1024 * 1024
PROGRESS_S = 2.0
PLAIN_PROGRESS_S = 10.0
STATEMENT_SUFFIX = ".cose"


def read_small_file(path: Path) -> bytes:
    """The bytes of a file that is not allowed to be large; ends the command if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, perhaps for ever
            stop(f"{path}: is not a plain file", EXIT_UNAVAILABLE)
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
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Something to call with (done, of all): a bar with rate and time left on a terminal, else now and then a line.

    All of it to standard error: what a command says stays alone on standard output.
    """
    if not sys.stderr.isatty():
        yield _PlainProgress(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=Console(file=unfiltered(sys.stderr)), transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")
        started_s, first = time.monotonic(), -1

        def show(done: int, total: int) -> None:
            nonlocal first
            first = done if first < 0 else first
            took_s = time.monotonic() - started_s
            rate = f"{(done - first) / took_s:,.0f}/s" if took_s > 1 else ""
            progress.update(task, completed=done, total=total, rate=rate)

        yield show


class _PlainProgress:
    """A line every ten seconds, for logs."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started_s = self._shown_s = time.monotonic()
        self._first = -1

    def __call__(self, done: int, total: int) -> None:
        # What an earlier audit has done took no time here.
        self._first = done if self._first < 0 else self._first
        now_s = time.monotonic()
        if now_s - self._shown_s < PLAIN_PROGRESS_S:
            return
        self._shown_s = now_s
        rate = (done - self._first) / (now_s - self._started_s)
        left = f", {(total - done) / rate:.0f} s left" if rate else ""
        click.echo(f"{self._what}: {done} of {total}, {rate:.0f}/s{left}", err=True)


@contextmanager
def progress_count(what: str) -> Iterator[Callable[[int], None]]:
    """Something to call with how many are done: said on a terminal every two seconds, nowhere else."""
    shown_s = time.monotonic()

    def show(done: int) -> None:
        nonlocal shown_s
        if sys.stderr.isatty() and time.monotonic() - shown_s >= PROGRESS_S:
            shown_s = time.monotonic()
            click.echo(f"\r{done} {what}", file=unfiltered(sys.stderr), nl=False)

    yield show


def stop(message: str, status: int) -> NoReturn:
    """End the command with an error and an exit status."""
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)

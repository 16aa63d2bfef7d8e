"""`make simulate` and `make soak`: many seeds, or one. Prints the commit and the seeds first.

A seed that fails prints the end of its trace and the one line that brings it back. `--bugs` plants every bug of the
table and prints how soon each is found; with `--write` into the page that has the table.
"""

from __future__ import annotations

import collections
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

import click

from tests.simulation.bugs import BUGS, Found, hunt
from tests.simulation.faults import SEASONS
from tests.simulation.simulation import Result, simulate
from tests.simulation.world import S

TRACE_LINES_SHOWN = 60
IN_FLIGHT = 4
SHORT_US = 2 * S
BEGIN, END = "<!-- simulated bugs: written by --bugs -->", "<!-- end of simulated bugs -->"


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


class Tally:
    """What a soak has to show."""

    def __init__(self) -> None:
        self.seeds = self.steps = self.blocks = self.answers = self.virtual_us = 0
        self.faults: collections.Counter[str] = collections.Counter()
        self.started_s = time.monotonic()

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.steps += result.steps
        self.blocks += result.blocks
        self.answers += result.answers
        self.virtual_us += result.virtual_us
        self.faults.update(result.faults)

    def lines(self) -> list[str]:
        took_s = time.monotonic() - self.started_s
        lines = [
            f"{self.seeds} seeds, {self.virtual_us / 3.6e9:.2f} simulated hours, {self.steps} steps, "
            f"{self.blocks} blocks executed, {self.answers} acknowledgements checked",
            f"{took_s:.0f} s, {self.seeds / took_s:.2f} seeds/s, {self.steps / took_s:.0f} steps/s, "
            f"{self.virtual_us / 1e6 / took_s:.1f} simulated seconds a second",
            "faults:",
        ]
        return lines + [f"  {kind:30} {times}" for kind, times in sorted(self.faults.items())]


@dataclass(frozen=True)
class Choice:
    """What of every run is not left to its seed."""

    short: bool = False
    season: str | None = None

    def options(self) -> dict[str, Any]:
        return {"trouble_us": SHORT_US if self.short else None, "season": self.season}

    def __str__(self) -> str:
        return f"{' SHORT=1' if self.short else ''}{f' SEASON={self.season}' if self.season else ''}"


def show(result: Result, choice: Choice) -> None:
    for line in result.trace[-TRACE_LINES_SHOWN:]:
        click.echo(f"  {line}")
    click.echo(f"seed {result.seed} FAILED: {result.violation}")
    click.echo(f"again: make simulate SEED={result.seed}{choice}    (commit {commit()})")


def one(seed: int, trace: Path | None, choice: Choice) -> bool:
    result = simulate(seed, events=trace is not None, **choice.options())
    if trace is not None:
        with trace.open("w") as file:
            for event in result.events:
                file.write(json.dumps(event, sort_keys=True) + "\n")
    if result.violation is not None:
        show(result, choice)
        return False
    click.echo(
        f"seed {seed}: {result.virtual_us / 1e6:.1f} simulated s, {result.steps} steps, {result.blocks} blocks, "
        f"{result.answers} acknowledgements, trace {result.trace_hash[:16]}"
    )
    return True


def _simulate(seed: int, choice: Choice) -> Result:
    """In a process of the pool. A fault of the simulator itself says its seed as well."""
    try:
        return simulate(seed, **choice.options())
    except Exception as error:
        raise RuntimeError(f"seed {seed} ended the simulator: {error!r}") from error


def many(first: int, number: int | None, minutes: float | None, processes: int, choice: Choice) -> bool:
    tally, failed = Tally(), 0
    end_s = time.monotonic() + minutes * 60 if minutes is not None else None
    seeds = count(first) if number is None else iter(range(first, first + number))
    with ProcessPoolExecutor(processes) as pool:
        running = [pool.submit(_simulate, seed, choice) for seed in islice(seeds, processes * IN_FLIGHT)]
        while running:
            result = running.pop(0).result()
            tally.add(result)
            if result.violation is not None:
                failed += 1
                show(result, choice)
            # With an end to the time, what has begun is finished; how many that were, the tally says.
            if end_s is None or time.monotonic() < end_s:
                running += [pool.submit(_simulate, seed, choice) for seed in islice(seeds, 1)]
    for line in tally.lines():
        click.echo(line)
    click.echo(f"{failed} of {tally.seeds} seeds failed" if failed else "every invariant held in every seed")
    return failed == 0


def _hunt(name: str) -> tuple[str, Found | None]:
    return name, hunt(BUGS[name])


def hunt_all(processes: int, page: Path | None = None) -> bool:
    """The table: bug, how many seeds until one found it, by which invariant. One that is not found is a hole.

    In Markdown, as it stands in docs/reliability.md; `page` is one to put it into.
    """
    missed = []
    lines = ["| planted bug | seeds until found | of at most | invariant that failed |", "| --- | --: | --: | --- |"]
    click.echo("\n".join(lines))
    started_s = time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        for name, found in pool.map(_hunt, BUGS):
            bug = BUGS[name]
            if found is None or found.invariant not in bug.invariants:
                missed.append(name)
            seeds = "not found" if found is None else str(found.seed + 1)
            lines.append(f"| {bug.words} | {seeds} | {bug.seeds} | {found.invariant if found else ''} |")
            click.echo(lines[-1])
    took_s = time.monotonic() - started_s
    outcome = f"not found, or by the wrong invariant: {', '.join(missed)}" if missed else f"all {len(BUGS)} were found"
    click.echo(f"{outcome}; {took_s:.0f} s")
    if page is not None:
        day = datetime.now(UTC).date()
        write_into(page, f"One run at commit {commit()}, {day}, {took_s:.0f} s: {outcome}.\n\n" + "\n".join(lines))
    return not missed


def write_into(page: Path, text: str) -> None:
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise click.ClickException(f"{page}: expected {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


@click.command()
@click.option("--seed", type=int, help="Run this one seed.")
@click.option("--seeds", type=int, help="Run so many fresh ones.")
@click.option("--minutes", type=float, help="Run fresh ones for so long; with --seeds, no more than those.")
@click.option("--first", type=int, help="The first of them; drawn if not given.")
@click.option("--processes", type=int, default=2, show_default=True)
@click.option("--short", is_flag=True, help="Two seconds of trouble each, for where time is short.")
@click.option("--season", type=click.Choice(sorted(SEASONS)), help="In all of them, instead of one that a seed draws.")
@click.option("--bugs", is_flag=True, help="Plant every bug of the table and look how soon it is found.")
@click.option("--write", type=click.Path(exists=True, path_type=Path), help="Put the table of --bugs into this page.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write the abstract events of --seed as JSON lines.")
def main(
    seed: int | None,
    seeds: int | None,
    minutes: float | None,
    first: int | None,
    processes: int,
    short: bool,
    season: str | None,
    bugs: bool,
    write: Path | None,
    trace: Path | None,
) -> None:
    choice = Choice(short, season)
    if bugs:
        click.echo(f"commit {commit()}, planted bugs")
        sys.exit(0 if hunt_all(processes, write) else 1)
    if seed is not None:
        click.echo(f"commit {commit()}, seed {seed}")
        sys.exit(0 if one(seed, trace, choice) else 1)
    start = first if first is not None else random.SystemRandom().randrange(10**9)
    click.echo(f"commit {commit()}, seeds from {start}")
    sys.exit(0 if many(start, seeds, minutes, processes, choice) else 1)


if __name__ == "__main__":
    main()

"""Check the model: that it holds, that its invariants bite, and that the implementation is a behaviour of it.

    python -m tests.model                  small networks and larger ones: minutes
    python -m tests.model --small          what CI runs
    python -m tests.model --full           all of them
    python -m tests.model --only "joint"   one of them, with TLC's own words
    python -m tests.model --limit 600      each for at most so many seconds

A check that is not done by its limit is cut: what it saw until then held, and how far it came is said. That is enough
for the largest networks (`--full`) alone; any other has to come to its end, and a violation has to be found.

What came out is kept in `build/model` for as long as the modules that it is of stay as they are, so that the tables of
`--write` may come from several runs. Exit status 1 if anything is not as it has to be. Where there is no Java or no
checker: says so, exit status 0.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from tests.model import validators
from tests.model.checker import BUILD, SPECIFICATIONS, CheckFailed, Result, Unavailable, check, fetch, java
from tests.model.instances import DIRECTED, INSTANCES, PLANTED, Instance, Planted, configuration, directed
from tests.model.recording import record, write_jsonl
from tests.model.tracing import judge, judge_validators

# In the first of them the membership changes jointly, through elections and crashes.
TRACE_SEEDS = {1: (4,), 2: (4, 2, 3), 3: tuple(range(1, 21))}
TRACE_STEPS = 900
# Of whole validators, in the simulator.
VALIDATOR_SEEDS = {1: (2,), 2: (2, 3), 3: tuple(range(1, 11))}
VALIDATOR_LINES = {1: 120, 2: 300, 3: 600}
VALIDATORS_TROUBLE_US = 1_500_000
# One of them away, and back by a snapshot.
RETURN_SEEDS, RETURN_LINES = {1: (2,), 2: (2,), 3: (1, 2, 3)}, 700
# Of an instance: it may be cut, and is not part of CI.
LARGEST = 3
LIMIT_S = 900
RESULTS = BUILD / "results.jsonl"
BEGIN, END = "<!-- model: written by `make model` -->", "<!-- end of model -->"


@dataclass(frozen=True)
class Row:
    """One check: what was to come out, and what did."""

    section: str
    name: str
    shows: str
    outcome: str
    good: bool
    states: int = 0
    depth: int = 0
    cpu_s: float = 0.0
    cut: bool = False
    # Of docs/model, beside Comity: what the outcome depends on.
    module: str = "Comity"


def check_instance(instance: Instance, limit_s: float) -> tuple[Row, Result]:
    result = check("Comity", configuration(instance), timeout_s=limit_s)
    outcome = "holds" if result.violated is None else f"{result.violated} violated"
    if result.cut:
        outcome = f"holds in all of fewer than {result.depth} steps, then cut"
    good = result.violated is None and (not result.cut or instance.size == LARGEST)
    figures = (result.distinct, result.depth, result.cpu_s, result.cut)
    return Row("holds", instance.name, instance.shows, outcome, good, *figures), result


def check_planted(planted: Planted, limit_s: float) -> tuple[Row, Result]:
    module, more = "Comity", None
    if planted.scenario is not None:
        module, more = DIRECTED, {DIRECTED: directed(planted.instance, planted.scenario)}
    text = configuration(planted.instance, planted.broken, planted.scenario)
    result = check(module, text, modules=more, timeout_s=limit_s)
    good = result.violated in planted.finds
    outcome = f"{result.violated} violated" if result.violated else "not found"
    figures = (result.distinct, result.depth, result.cpu_s, result.cut)
    return Row("bites", planted.name, planted.shows, outcome, good, *figures), result


def check_trace(seed: int, steps: int) -> Row:
    genesis, lines = record(seed, steps)
    write_jsonl(BUILD / f"trace-{seed}.jsonl", genesis, lines)
    verdict = judge(genesis, lines)
    kinds = len({line["event"] for line in lines})
    outcome = (
        "accepted" if verdict.accepted else f"refused at line {verdict.explained + 1}: {verdict.violated or 'no step'}"
    )
    shows = f"{len(genesis['nodes'])} machines, {len(lines)} lines of {kinds} kinds"
    figures = (len(lines), verdict.explained, verdict.cpu_s)
    return Row("traces", f"seed {seed}", shows, outcome, verdict.accepted, *figures, module="CoreTrace")


def check_validators(seed: int, most: int) -> Row:
    recording = validators.record(seed, most, trouble_us=VALIDATORS_TROUBLE_US, changing=True)
    return _judged(f"validators, seed {seed}", recording)


def check_return(seed: int) -> Row:
    return _judged(f"validators, one away, seed {seed}", validators.record_a_return(seed, RETURN_LINES))


def _judged(name: str, recording: validators.Recording) -> Row:
    verdict = judge_validators(recording)
    kinds = len({line["event"] for line in recording.lines})
    outcome = "accepted"
    if not verdict.accepted:
        outcome = f"refused at line {verdict.explained + 1}: {verdict.violated or 'no step'}"
    changes = sum(entry["kind"] == "change" for entry in recording.table)
    snapshots = sum(line["event"] == "snapshot" for line in recording.lines)
    shows = (
        f"whole validators, {len(recording.lines)} lines of {kinds} kinds, {changes} changes of the membership, "
        f"{snapshots} snapshots"
    )
    figures = (len(recording.lines), verdict.explained, verdict.cpu_s)
    return Row("traces", name, shows, outcome, verdict.accepted, *figures, module="ValidatorTrace")


def table(rows: list[Row]) -> str:
    """Markdown, for people and for docs/reliability.md."""
    heads = {
        "holds": "| network | what it is for | outcome | distinct states | depth | seconds of one core |",
        "bites": "| left out | what happens | found | distinct states | depth | seconds of one core |",
        "traces": "| run | what is in it | verdict | lines | explained | seconds of one core |",
    }
    parts = []
    for section, head in heads.items():
        chosen = [row for row in rows if row.section == section]
        if chosen:
            parts += [head, "| --- | --- | --- | --- | --- | --- |"]
            parts += [
                f"| {row.name} | {row.shows} | {row.outcome} | {row.states:,} | {row.depth} | {row.cpu_s:.0f} |"
                for row in chosen
            ]
            parts.append("")
    return "\n".join(parts)


def specification(module: str = "Comity") -> str:
    """What a figure is of: a digest of Comity, and of the module of traces that was checked against it."""
    text = "".join((SPECIFICATIONS / f"{name}.tla").read_text() for name in sorted({"Comity", module}))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def remember(row: Row) -> None:
    with RESULTS.open("a") as file:
        file.write(json.dumps({"of": specification(row.module), **asdict(row)}) + "\n")


def remembered() -> list[Row]:
    """The newest outcome of every check, of the specification as it is now, in the order of the tables."""
    order = [check.name for check in (*INSTANCES, *PLANTED)] + [f"seed {seed}" for seed in TRACE_SEEDS[3]]
    order += [f"validators, seed {seed}" for seed in VALIDATOR_SEEDS[3]]
    order += [f"validators, one away, seed {seed}" for seed in RETURN_SEEDS[3]]
    rows: dict[str, Row] = {}
    for line in RESULTS.read_text().splitlines() if RESULTS.exists() else ():
        kept = json.loads(line)
        of, row = kept.pop("of"), Row(**kept)
        if of == specification(row.module):
            rows[row.name] = row
    return [rows[name] for name in order if name in rows]


def write_into(page: Path, rows: list[Row]) -> None:
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise click.ClickException(f"{page}: expected {BEGIN} and {END}")
    cpu_s = sum(row.cpu_s for row in rows)
    cut = sum(row.cut for row in rows)
    note = (
        f"{len(rows)} checks of the specification {specification()}, {cpu_s:,.0f} seconds of one core in all; "
        f"{len(rows) - cut} came to their end, {cut} were cut at their limit of time."
    )
    page.write_text(f"{before}{BEGIN}\n\n{note}\n\n{table(rows)}\n{END}{after}")


@click.command()
@click.option("--small", "size", flag_value=1, type=int, help="Only what takes seconds each.")
@click.option("--full", "size", flag_value=3, type=int, help="All, however long it takes.")
@click.option("--only", help="The check of this name, with what TLC printed.")
@click.option("--limit", "limit_s", type=click.FloatRange(1), default=LIMIT_S, show_default=True, help="Seconds each.")
@click.option("--write", type=click.Path(exists=True, path_type=Path), help="Put the tables into this page.")
def main(size: int | None, only: str | None, limit_s: float, write: Path | None) -> None:
    """See the module."""
    try:
        java()
        fetch()
    except Unavailable as error:
        click.echo(f"the model is not checked: {error}")
        return
    started = time.monotonic()
    rows: list[Row] = []

    def note(row: Row, result: Result | None = None) -> None:
        rows.append(row)
        remember(row)
        mark = "ok " if row.good else "BAD"
        click.echo(
            f"{mark} {row.section:6} {row.name}: {row.outcome}; {row.states:,} states, {row.cpu_s:.0f} s of one core"
        )
        if result is not None and (only or not row.good):
            click.echo(result.output)

    limit = 2 if size is None else size

    def wanted(name: str, size: int) -> bool:
        return name == only if only else size <= limit

    for instance in INSTANCES:
        if wanted(instance.name, instance.size):
            note(*check_instance(instance, limit_s))
    for planted in PLANTED:
        if wanted(planted.name, planted.size):
            note(*check_planted(planted, limit_s))
    for seed in TRACE_SEEDS[limit]:
        if wanted(f"seed {seed}", 1):
            note(check_trace(seed, TRACE_STEPS))
    for seed in VALIDATOR_SEEDS[limit]:
        if wanted(f"validators, seed {seed}", 1):
            note(check_validators(seed, VALIDATOR_LINES[limit]))
    for seed in RETURN_SEEDS[limit]:
        if wanted(f"validators, one away, seed {seed}", 1):
            note(check_return(seed))
    if not rows:
        raise click.ClickException(f"no check is called {only!r}")
    (BUILD / "report.md").write_text(table(remembered()))
    if write is not None:
        write_into(write, remembered())
    bad = [row.name for row in rows if not row.good]
    cut = [row.name for row in rows if row.cut]
    click.echo(
        f"{len(rows)} checks in {time.monotonic() - started:.0f} s: {len(rows) - len(bad)} as they have to be, "
        f"of which {len([name for name in cut if name not in bad])} were cut at their limit; {len(bad)} not"
    )
    for what, names in (("cut", cut), ("not as they have to be", bad)):
        if names:
            click.echo(f"{what}: {', '.join(names)}")
    if bad:
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except CheckFailed as failure:
        raise SystemExit(str(failure)) from failure

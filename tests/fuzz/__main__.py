"""Fuzz every parser for a while, and say what came of it.

    python -m tests.fuzz --minutes 60            all targets, each for its share of the time
    python -m tests.fuzz --minutes 2 --only note
    python -m tests.fuzz --again build/fuzz/findings/note/crash-…

Each target runs in a process of its own, since libFuzzer never gives one back; all are forked from one that has loaded
and instrumented the packages, which takes longer than many a run. What a target learned is kept in `build/fuzz`, and
the next run begins with it. Exit status 1 if anything was found, and the file that brings it back is named. Where
atheris is not installed (it has wheels for Linux alone): says so, exit status 0.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

BUILD = Path("build/fuzz")
# One input may take so long, and the process so much memory, before that is a finding.
INPUT_TIMEOUT_S = 10
MEMORY_LIMIT_MB = 1024
_LINE = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
_UNITS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_PEAK = re.compile(r"stat::peak_rss_mb:\s*(\d+)")


@dataclass(frozen=True)
class Row:
    """What one target's run came to."""

    target: str
    seconds: int
    executions: int
    edges: int
    features: int
    corpus: int
    peak_memory_mb: int
    findings: tuple[str, ...]


def _become(target: Target, arguments: list[str], log: Path) -> NoReturn:
    """In the process of its own: hand over to libFuzzer for good."""
    import atheris

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    corpus = BUILD / "corpus" / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:40]).write_bytes(seed)
    atheris.Setup([sys.argv[0], *arguments, f"-max_len={target.max_bytes}", str(corpus)], target)
    atheris.Fuzz()
    os._exit(0)


def _run(target: Target, seconds: int) -> Row:
    findings = BUILD / "findings" / target.name
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    arguments = [
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_LIMIT_MB}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
    ]
    log = BUILD / f"{target.name}.log"
    started = time.monotonic()
    child = os.fork()
    if not child:
        _become(target, arguments, log)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = _LINE.findall(text)
    units, peak = _UNITS.search(text), _PEAK.search(text)
    found = [str(path) for path in sorted(set(findings.iterdir()) - before)]
    if status and not found:
        found = [f"ended with status {status}, see {log}"]
    last = lines[-1] if lines else ("0", "0", "0", "0")
    return Row(
        target.name,
        round(time.monotonic() - started),
        int(units[1]) if units else int(last[0]),
        int(last[1]),
        int(last[2]),
        int(last[3]),
        int(peak[1]) if peak else 0,
        tuple(found),
    )


def table(rows: list[Row]) -> str:
    """The figures as a page shows them."""
    lines = ["| parser | seconds | executions | edges | features | inputs kept | peak MB | findings |"]
    lines.append("| --- " * 8 + "|")
    for row in rows:
        cells = (row.target, row.seconds, f"{row.executions:,}", f"{row.edges:,}", f"{row.features:,}", row.corpus)
        lines.append(f"| {' | '.join(map(str, cells))} | {row.peak_memory_mb} | {len(row.findings)} |")
    return "\n".join(lines)


@click.command()
@click.option("--minutes", default=1.0, show_default=True, help="For all targets together.")
@click.option("--only", default="", help="Targets, by commas.")
@click.option("--again", type=click.Path(path_type=Path, exists=True), help="Run one finding once more.")
def main(minutes: float, only: str, again: Path | None) -> None:
    """Fuzz the parsers; exit status 1 if anything is found."""
    if again is not None:
        from tests.fuzz.targets import TARGETS

        next(each for each in TARGETS if each.name == again.parent.name)(again.read_bytes())
        click.echo("nothing is wrong with it any more")
        return
    if importlib.util.find_spec("atheris") is None:
        click.echo("atheris is not installed: nothing is fuzzed. `make fuzz` installs it, on Linux")
        return
    import atheris

    with atheris.instrument_imports(include=["ledger", "contracts", "api", "nodes"]):
        from tests.fuzz.targets import TARGETS
    targets = [each for each in TARGETS if not only or each.name in only.split(",")]
    if not targets:
        raise click.UsageError(f"no such target: expected of {', '.join(each.name for each in TARGETS)}")
    seconds = max(1, round(minutes * 60 / len(targets)))
    rows = []
    for number, target in enumerate(targets, 1):
        rows.append(_run(target, seconds))
        click.echo(f"{number} of {len(targets)}: {target.name}: {rows[-1].executions:,} executions", err=True)
        (BUILD / "figures.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    click.echo(table(rows))
    found = [each for row in rows for each in row.findings]
    for each in found:
        click.echo(f"found: {each}")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

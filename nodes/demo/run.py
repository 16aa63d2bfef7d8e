"""The main job, from an empty directory to an audited archive. Every step is checked; the exit status says so."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from nodes.cli.terminal import unfiltered
from nodes.demo.afterwards import run_offline
from nodes.demo.board import Board
from nodes.demo.context import Places, Run
from nodes.demo.delivery import Delivery, latency
from nodes.demo.display import choose_display
from nodes.demo.online import run_online
from nodes.demo.reading import ScenarioError
from nodes.demo.scaling import with_crossings
from nodes.demo.scenario import SHIPPED, Pace, Scenario, shipped_scenario
from nodes.demo.scenario_file import load_scenario
from nodes.demo.script import write_script
from nodes.demo.steps import StepFailed, Steps, counted
from nodes.demo.timeline import timeline_table
from nodes.network import Network

EXIT_HOLDS: Final = 0
EXIT_DOES_NOT_HOLD: Final = 1
EXIT_MISUSE: Final = 2
EXIT_INTERRUPTED: Final = 130

SHORT_TRUCKS: Final = 4
SHORT_PACE: Final = Pace(departure_interval_ms=300, position_interval_ms=250)
SHORT_OUTAGE_S: Final = 4
TRUCKS_MAX: Final = 2000
TIMELINES_SHOWN: Final = 12
PIPE_WIDTH_COLUMNS: Final = 160
VERSIONS_OF: Final = ("comity", "cbor2", "cryptography", "fastapi", "grpcio", "httpx", "plyvel", "pynacl", "uvicorn")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`short` keeps all branches with fewer trucks; `seed` decides only how devices spread their retries."""

    scenario: Path | None = None
    out: Path | None = None
    trucks: int | None = None
    json: bool = False
    short: bool = False
    seed: int | None = None


class _Misuse(Exception):
    """The options cannot be run."""


def run_demo(options: DemoOptions) -> int:
    """Run the main job. 0 only if every step held, 1 if one did not, 2 for misuse, 130 when interrupted."""
    # With --json only the report goes to standard output; what must be said to people goes to standard error.
    complaints = Console(file=unfiltered(sys.stderr), soft_wrap=True, highlight=False, markup=False)
    try:
        scenario = _scenario(options)
        root, temporary = _root(options)
    except (_Misuse, ScenarioError) as error:
        complaints.print(f"error: {error}")
        return EXIT_MISUSE
    console = Console(file=unfiltered(sys.stdout), soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH_COLUMNS  # nobody's window: timelines are not cut
    places = Places(root, Path(tempfile.mkdtemp(prefix="comity-demo-work-")))
    status = EXIT_DOES_NOT_HOLD
    try:
        status = _run_to_the_end(options, scenario, places, console, complaints)
    finally:
        shutil.rmtree(places.work, ignore_errors=True)
        if temporary and status == EXIT_HOLDS:
            shutil.rmtree(root, ignore_errors=True)
        elif temporary:
            complaints.print(f"what there is was kept in {root}")
    return status


def _scenario(options: DemoOptions) -> Scenario:
    scenario = load_scenario(_scenario_file(options.scenario))
    if options.trucks is not None and not 1 <= options.trucks <= TRUCKS_MAX:
        raise _Misuse(f"--trucks: expected 1 to {TRUCKS_MAX}, got {options.trucks}")
    trucks = options.trucks
    if options.short:
        trucks = trucks or min(SHORT_TRUCKS, len(scenario.crossings))
        outage = replace(scenario.outage, seconds=min(scenario.outage.seconds, SHORT_OUTAGE_S))
        scenario = replace(scenario, pace=SHORT_PACE, outage=outage)
    if trucks is None:
        return scenario
    if trucks < len(scenario.crossings):
        scenario = replace(scenario, every_row=False)  # fewer trucks take fewer ways
    try:
        return with_crossings(scenario, trucks)
    except ValueError as error:
        raise _Misuse(f"--trucks: {error}") from error


def _scenario_file(named: Path | None) -> Path:
    """A file, or the name of a scenario that is installed with the program."""
    if named is None:
        return shipped_scenario()
    return shipped_scenario(str(named)) if str(named) in SHIPPED and not named.exists() else named


def _root(options: DemoOptions) -> tuple[Path, bool]:
    """The directory for what is kept, made now, and whether it is a temporary one."""
    if options.out is None:
        return Path(tempfile.mkdtemp(prefix="comity-demo-")), True
    out = options.out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise _Misuse(f"--out: {out} is there already and is not an empty directory")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _Misuse(f"--out: {out} cannot be made: {error.strerror or error}") from error
    return out, False


def _run_to_the_end(
    options: DemoOptions, scenario: Scenario, places: Places, console: Console, complaints: Console
) -> int:
    """Every step, then the report, whatever came of them."""
    begin_s = time.monotonic()
    count = f"{counted(len(scenario.declarations), 'declaration')}, {counted(len(scenario.crossings), 'truck')}"
    board = Board(title=f"{scenario.title}: {count}")
    display = choose_display(board, console, silent=options.json)
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    run = Run(scenario, write_script(scenario), places, board, display, Steps(display.step), random.Random(seed))
    status, why = EXIT_DOES_NOT_HOLD, ""
    try:
        # A demo that is told to end must end its processes too, as when it is interrupted.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with display:
            network = asyncio.run(_online_until_told_to_end(run))
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # the loop took its own handler with it
            run_offline(run, network)
        status = EXIT_HOLDS if run.steps.held else EXIT_DOES_NOT_HOLD
    except StepFailed as error:
        why = f"step {error.step.name} did not hold: {error.step.detail}"
    except (KeyboardInterrupt, asyncio.CancelledError):
        status, why = EXIT_INTERRUPTED, "interrupted; every process that the demo started was stopped"
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    document = _document(run, seed, status, why, time.monotonic() - begin_s)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    places.report.write_text(text)
    if options.json:
        sys.stdout.write(text)
    else:
        _print_summary(console, run, document)
    if why:
        complaints.print(f"error: {why}")
        complaints.print(f"logs of all processes: {places.logs}")
    elif not options.json and options.out is not None:
        console.print(f"kept in {places.root}: archive, policy, proofs, logs, report.json")
    return status


async def _online_until_told_to_end(run: Run) -> Network:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_online(run)


def _document(run: Run, seed: int, status: int, why: str, seconds: float) -> dict[str, Any]:
    """The report for programs: times in the units that their names end in."""
    scenario = run.scenario
    return {
        "ok": status == EXIT_HOLDS,
        "error": why or None,
        "seconds": round(seconds, 3),
        "scenario": {
            "name": scenario.name,
            "title": scenario.title,
            "trucks": len(scenario.crossings),
            "declarations": len(scenario.declarations),
            "seed": seed,
        },
        "steps": [step.as_report() for step in run.steps.taken],
        "latency": _latency(run),
        **run.report,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


def _latency(run: Run) -> dict[str, Any]:
    """From first sending to final; the outage apart, because it measures the length of the outage."""
    final = [item for item in run.records.deliveries.values() if item.final]
    outage = run.outage
    undisturbed: list[Delivery] = final
    if outage is not None:
        undisturbed = [item for item in final if not item.overlaps(outage.killed_at_s, outage.back_at_s)]
    return {
        "submit_to_final_ms": latency(undisturbed).as_report(),
        "submit_to_final_with_outage_ms": latency(final).as_report(),
    }


def _print_summary(console: Console, run: Run, document: dict[str, Any]) -> None:
    authorities = [authority.name for authority in run.scenario.authorities]
    for crossing in run.scenario.crossings[:TIMELINES_SHOWN]:
        marks = run.timelines.get(crossing.mrn)
        if marks:
            console.print()
            title = f"{crossing.truck}, movement {crossing.mrn}, {crossing.route}"
            console.print(timeline_table(title, marks, authorities))
    if len(run.timelines) > TIMELINES_SHOWN:
        console.print(f"\nand {len(run.timelines) - TIMELINES_SHOWN} more timelines in the report")
    console.print()
    calm, whole = document["latency"].values()
    for what, figures in (("outside the outage", calm), ("the outage included", whole)):
        console.print(
            f"submit to final, {what}: p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms, "
            f"longest {figures['max_ms']} ms, of {figures['count']}"
        )
    held = sum(step.ok for step in run.steps.taken)
    console.print(f"{held} of {len(run.steps.taken)} steps held in {document['seconds']:.0f} s")

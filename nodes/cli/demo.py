"""`comity demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--scenario",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A scenario file of your own, or the name of one that is installed: bakhty-baketu, which is taken if none is "
    "given, or everything, which uses every row of registry, declaration and escort. docs/demo.md says how to write "
    "one.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep everything in this empty folder.")
@click.option("--trucks", type=click.IntRange(1, 2000), help="How many trucks cross.")
@click.option("--short", is_flag=True, help="Fewer trucks, the same branches.")
@click.option("--seed", type=int, help="Decides how devices spread their retries; another each time if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print the report alone, as JSON.")
def demo(
    scenario: Path | None, out: Path | None, trucks: int | None, short: bool, seed: int | None, as_json: bool
) -> None:
    """Run the main job: two authorities, a corridor, a proof that verifies offline.

    Starts two validators and a gateway for each authority on loopback, runs the scenario, and stops everything. Exit
    status 0 only if every step held.
    """
    from nodes.demo import DemoOptions, run_demo

    raise SystemExit(
        run_demo(DemoOptions(scenario=scenario, out=out, trucks=trucks, json=as_json, short=short, seed=seed))
    )

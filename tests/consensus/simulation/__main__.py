"""`python -m tests.consensus.simulation`: one run, or a soak."""

from __future__ import annotations

import random
import subprocess

import click

from tests.consensus.simulation import DEFAULT_STEPS, Simulation, Violation


def commit_id() -> str:
    try:
        run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


@click.command()
@click.option("--seed", type=int, help="The first seed; drawn if not given.")
@click.option("--seeds", default=1, show_default=True, help="How many seeds, one after the other.")
@click.option("--steps", default=DEFAULT_STEPS, show_default=True, help="Steps of each run.")
def main(seed: int | None, seeds: int, steps: int) -> None:
    """Run the simulation; exit status 1 at the first violation."""
    if seed is None:
        seed = random.SystemRandom().randrange(10**9)
    click.echo(f"commit {commit_id()}, seeds {seed}..{seed + seeds - 1}, {steps} steps each")
    totals: dict[str, int] = {}
    for number in range(seed, seed + seeds):
        simulation = Simulation(number)
        try:
            simulation.run(steps)
        except Violation as violation:
            click.echo(f"seed {number}: {violation}")
            click.echo(f"again: python -m tests.consensus.simulation --seed {number} --steps {steps}")
            raise SystemExit(1) from violation
        for what, count in simulation.counts().items():
            totals[what] = totals.get(what, 0) + count
        done = number - seed + 1
        if done == seeds or done % 100 == 0:
            click.echo(f"seed {number}: " + ", ".join(f"{count} {what}" for what, count in totals.items()))


if __name__ == "__main__":
    main()

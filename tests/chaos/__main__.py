"""`python -m tests.chaos`: see the package. Exit status 0 only if every property held; 1 if one was violated; 2 misuse;
3 if the network could not even be set up.

Seed and commit are printed first: together they are the schedule.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from pathlib import Path

from tests.chaos import machine, report
from tests.chaos.cluster import ClusterFailed
from tests.chaos.disks import DiskFailed
from tests.chaos.faults import FAULTS
from tests.chaos.planted import BUGS
from tests.chaos.run import Outcome, check_again, perform

REPOSITORY = Path(__file__).parents[2]
EXIT_HOLDS, EXIT_VIOLATED, EXIT_MISUSE, EXIT_NO_NETWORK = 0, 1, 2, 3


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults are injected")
    parser.add_argument("--seed", type=int, default=None, help="another each time if not given")
    parser.add_argument("--rate", type=float, default=20.0, help="statements a second")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "build" / "chaos", help="a folder for all that is kept"
    )
    parser.add_argument("--only", default="", help="kinds of fault, by comma; all if not given")
    parser.add_argument("--into", type=Path, help="a document whose table of faults is replaced by this run's")
    parser.add_argument(
        "--plant", choices=sorted(BUGS), default="", help="a bug in every validator, which has to be found"
    )
    parser.add_argument("--no-namespaces", action="store_true", help="loopback and processes only")
    parser.add_argument("--check", type=Path, help="check again what an earlier run left in this folder, and end")
    parser.add_argument("--kinds", action="store_true", help="list the kinds of fault and end")
    return parser.parse_args(given)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    arguments = _arguments(sys.argv[1:])
    if arguments.kinds:
        for name, fault in FAULTS.items():
            _say(f"{name:24} {fault.how}")
        return EXIT_HOLDS
    if arguments.check:
        verdicts = check_again(arguments.check).verdicts
        for name, found in verdicts.items():
            _say(f"{name:24} {'holds' if not found else f'VIOLATED {len(found)} times'}")
            for violation in found:
                _say(f"    {violation.text}")
        return EXIT_VIOLATED if any(verdicts.values()) else EXIT_HOLDS
    only = frozenset(name for name in arguments.only.split(",") if name)
    if only - set(FAULTS) or not 0 < arguments.minutes <= 24 * 60 or not 0 < arguments.rate <= 1000:
        _say(f"error: expected kinds of --kinds, up to 1440 minutes and 1000 statements a second, got {sys.argv[1:]}")
        return EXIT_MISUSE
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    why_not = "not wanted"
    if not machine.is_inside() and not arguments.no_namespaces:
        ability = machine.can_enter()
        if ability.there:
            machine.enter([*sys.argv[1:], "--seed", str(seed)])
        why_not = ability.reason
    return _run(arguments, seed, only, why_not)


def _run(arguments: argparse.Namespace, seed: int, only: frozenset[str], why_not: str) -> int:
    about = {"commit": machine.commit(REPOSITORY), **machine.describe()}
    _say(f"seed {seed}, commit {about['commit']}")
    abilities = machine.probe(machine.is_inside(), why_not)
    for ability in abilities.values():
        _say(f"  {ability.name:12} {'yes' if ability.there else 'no ':3}  {ability.reason}")
    directory: Path = arguments.out.resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    outcome = Outcome(seed, arguments.minutes, arguments.plant)
    status = EXIT_NO_NETWORK
    try:
        perform(directory, outcome, abilities, only, arguments.rate, _say)
        # With a bug planted, the run is good if it found it.
        status = EXIT_HOLDS if outcome.holds != bool(arguments.plant) else EXIT_VIOLATED
    except (ClusterFailed, DiskFailed) as error:
        _say(f"error: {error}")
    except KeyboardInterrupt:
        _say("interrupted")
        status = 130
    about["at"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    report.write(directory, outcome, abilities, about)
    if arguments.into and not arguments.plant and status in (EXIT_HOLDS, EXIT_VIOLATED):
        report.write_into(arguments.into, report.as_section(outcome, about))
    for found in outcome.verdicts.values():
        for violation in found[:5]:
            _say(f"VIOLATION {violation.name}: {violation.text}")
    if arguments.plant:
        _say(f"the planted bug {arguments.plant} was {'found' if status == EXIT_HOLDS else 'NOT FOUND'}")
        return status
    held = "everything held" if status == EXIT_HOLDS else "VIOLATED" if status == EXIT_VIOLATED else "not finished"
    _say(f"{held}: {len(outcome.records)} faults, {outcome.statements} statements; {directory / 'report.md'}")
    return status


if __name__ == "__main__":
    sys.exit(main())

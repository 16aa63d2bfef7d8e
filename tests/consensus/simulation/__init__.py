"""A whole group of voters in one thread, with everything going wrong, from one seed.

Messages are lost, doubled, delayed and reordered; links fail one way or both; a whole authority is cut off; nodes crash
between any two parts of the `Ready` contract, losing what was not synced, keeping a part of it, or forgetting what
the state machine applied last; and the membership changes under all of it, one at a time and jointly, by nodes that
join, vote, are demoted and leave. Reads are asked everywhere. After every step the invariants of the thesis (figure
3.2) and of chapter 4 are checked, and the commit rule is recomputed from the disks by hand, not with the code under
test (`tests.consensus.oracle`). At the end the network heals, and everybody must agree within a bound.

    python -m tests.consensus.simulation --seed 7 --steps 4000      one run
    python -m tests.consensus.simulation --seeds 1000               a soak: so many, from one that is drawn and printed

Prints the commit and the seed first: with both the run comes back, step by step.

`weather`: the topologies, and how bad it gets. `world`: what must always be true. `run`: nodes, network, faults.
"""

from tests.consensus.simulation.run import DEFAULT_STEPS, Simulation
from tests.consensus.simulation.world import Violation

__all__ = ["DEFAULT_STEPS", "Simulation", "Violation"]

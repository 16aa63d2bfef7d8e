"""Changes of the membership, under load and whatever else goes wrong at the time."""

from __future__ import annotations

import random
import time
from typing import Final

from ledger.membership import Step, Verb
from tests.chaos.cluster import ClusterFailed
from tests.chaos.faults.hands import Hands, Held
from tests.chaos.operators import ChangeFailed

READY_TIMEOUT_S: Final = 60.0
EXIT_REMOVED: Final = 6
LEAVES_WITHIN_S: Final = 30.0


def member_joins(hands: Hands, victim: str, rng: random.Random) -> Held:
    """A newcomer observes, catches up, is given a vote, is killed and comes back, and is removed for good."""
    cluster, operators = hands.cluster, hands.operators()
    authority = cluster.authority_of(victim)
    name = cluster.spare(authority)
    if name is None:
        return Held(f"no machine is left for another validator of {authority}", (), lambda: None)
    asked = [other for other in cluster.validators if other != victim]
    rng.shuffle(asked)
    held = Held(f"{name} joins, votes, and leaves", (), lambda: None)
    try:
        made = operators.make(name, like=victim)
        cluster.start(name)
        operators.change(asked, made.step)
        late = cluster.wait_ready([name], READY_TIMEOUT_S)
        held.notes += [f"violation: {who} does not get ready as an observer: {said}" for who, said in late.items()]
        operators.change(asked, Step(Verb.PROMOTE, name))
        cluster.kill(name)
        time.sleep(rng.uniform(0.0, 2.0))
        cluster.start(name)
        late = cluster.wait_ready([name], READY_TIMEOUT_S)
        held.notes += [f"violation: {who} does not get ready as a voter: {said}" for who, said in late.items()]
    except (ChangeFailed, ClusterFailed) as error:
        held.notes.append(f"violation: {error}")

    def heal() -> None:
        if name not in operators.register.members:
            return
        try:
            operators.change(asked, Step(Verb.REMOVE, name))
        except ChangeFailed as error:
            held.notes.append(f"violation: {error}")
            return
        status = cluster.nodes[name].wait(time.monotonic() + LEAVES_WITHIN_S)
        if status != EXIT_REMOVED:
            held.notes.append(f"violation: {name} was removed: expected exit status {EXIT_REMOVED}, got {status}")
        cluster.kill(name)

    held.heal = heal
    return held

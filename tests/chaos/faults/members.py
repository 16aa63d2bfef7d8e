"""Changes of the membership, under load and whatever else goes wrong at the time."""

from __future__ import annotations

import random
import shutil
import time
from typing import Final

from ledger.membership import Step, Verb
from tests.chaos.cluster import NEUTRAL, ClusterFailed
from tests.chaos.faults.hands import Hands, Held
from tests.chaos.operators import ChangeFailed

READY_TIMEOUT_S: Final = 60.0
EXIT_REMOVED: Final = 6
LEAVES_WITHIN_S: Final = 30.0
# The order is kept for 150 blocks: with some statements a second that is less than this.
AWAY_TIMEOUT_S: Final = 40.0


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

    held.heal = lambda: _leave(hands, held, name, asked)
    return held


def _leave(hands: Hands, held: Held, name: str, asked: list[str]) -> None:
    """Whoever is still a member is removed, and ends by itself because of that."""
    cluster, operators = hands.cluster, hands.operators()
    if name not in operators.register.members:
        return
    try:
        operators.change(asked, Step(Verb.REMOVE, name))
    except ChangeFailed as error:
        held.notes.append(f"violation: {error}")
        return
    hands.start(name)
    status = cluster.nodes[name].wait(time.monotonic() + LEAVES_WITHIN_S)
    if status != EXIT_REMOVED:
        held.notes.append(f"violation: {name} was removed: expected exit status {EXIT_REMOVED}, got {status}")
    cluster.kill(name)


def _come_in(hands: Hands, held: Held, name: str, like: str, asked: list[str], party: str | None = None) -> None:
    """Made, started, let in as an observer, caught up. Raises ChangeFailed, ClusterFailed."""
    made = hands.operators().make(name, like=like, party=party)
    hands.cluster.start(name)
    hands.operators().change(asked, made.step)
    _until_ready(hands, held, name, "as an observer")


def _until_ready(hands: Hands, held: Held, name: str, when: str) -> None:
    late = hands.cluster.wait_ready([name], READY_TIMEOUT_S)
    held.notes += [f"violation: {who} does not get ready {when}: {said}" for who, said in late.items()]


def replace_lost(hands: Hands, lost: str) -> str:
    """What docs/operating.md says of a validator whose order is damaged: it never comes back, another takes its place.

    The newcomer observes, catches up, and gets its vote in the change that removes the lost one; then its authority's
    gateways are told to ask it. Returns its name. Raises ChangeFailed, ClusterFailed.
    """
    cluster, operators = hands.cluster, hands.operators()
    authority = cluster.authority_of(lost)
    name = cluster.spare(authority)
    if name is None:
        raise ClusterFailed(f"no machine is left for another validator of {authority}")
    asked = [other for other in cluster.validators if other != lost]
    # Made like a colleague; where there is none, like the lost one, whose folder is not damaged.
    like = next((other for other in cluster.members(authority) if other != lost), lost)
    made = operators.make(name, like=like, to_stay=True)
    cluster.start(name)
    operators.change(asked, made.step)
    _ready_or_failed(hands, name, "as an observer")
    operators.change(asked, Step(Verb.PROMOTE, name), Step(Verb.REMOVE, lost))
    cluster.succeed(lost, name)
    _ready_or_failed(hands, name, "as a voter")
    return name


def _ready_or_failed(hands: Hands, name: str, when: str) -> None:
    late = hands.cluster.wait_ready([name], READY_TIMEOUT_S)
    if late:
        raise ClusterFailed(f"{name} does not get ready {when}: {late[name]}")


def _others(hands: Hands, victim: str, rng: random.Random) -> list[str]:
    asked = [other for other in hands.cluster.validators if other != victim]
    rng.shuffle(asked)
    return asked


def member_replaced(hands: Hands, victim: str, rng: random.Random) -> Held:
    """A voter is lost with its disk: another machine takes its place in one change, through a joint configuration."""
    cluster, operators = hands.cluster, hands.operators()
    authority, asked = cluster.authority_of(victim), _others(hands, victim, rng)
    held = Held(f"a voter of {authority} is lost with its disk and replaced", (), lambda: None)
    names: list[str] = []
    try:
        for when in ("lost", "new"):
            name = cluster.spare(authority)
            if name is None:
                held.notes.append(f"no machine is left for another validator of {authority}")
                return held
            if when == "lost":
                _come_in(hands, held, name, victim, asked)
                operators.change(asked, Step(Verb.PROMOTE, name))
                cluster.kill(name)
                shutil.rmtree(cluster.data_of(name))
                held.what = f"{name} is lost with its disk and replaced"
            else:
                _come_in(hands, held, name, victim, asked)
                operators.change(asked, Step(Verb.PROMOTE, name), Step(Verb.REMOVE, names[0]))
                _until_ready(hands, held, name, "as a voter")
            names.append(name)
    except (ChangeFailed, ClusterFailed) as error:
        held.notes.append(f"violation: {error}")

    def heal() -> None:
        for name in names:
            _leave(hands, held, name, asked)

    held.heal = heal
    return held


def observer_troubled(hands: Hands, victim: str, rng: random.Random) -> Held:
    """An observer is killed, stands still, and stays away for longer than the order is kept."""
    cluster = hands.cluster
    asked, name = _others(hands, victim, rng), cluster.spare(cluster.authority_of(victim))
    if name is None:
        return Held("no machine is left for an observer", (), lambda: None)
    held = Held(f"{name} observes, is killed, stopped, and away", (), lambda: None)
    held.heal = lambda: _leave(hands, held, name, asked)
    try:
        _come_in(hands, held, name, victim, asked)
    except (ChangeFailed, ClusterFailed) as error:
        held.notes.append(f"violation: {error}")
        return held
    cluster.kill(name)
    time.sleep(rng.uniform(0.0, 2.0))
    cluster.start(name)
    _until_ready(hands, held, name, "after a kill")
    cluster.pause(name)
    time.sleep(rng.uniform(2.0, 5.0))
    cluster.resume(name)
    cluster.kill(name)
    before = cluster.metric(asked[0], "comity_order_first_index") or 0.0
    until_s = time.monotonic() + AWAY_TIMEOUT_S
    while (cluster.metric(asked[0], "comity_order_first_index") or 0.0) <= before and time.monotonic() < until_s:
        time.sleep(0.5)
    cluster.start(name)
    _until_ready(hands, held, name, "after it was away")
    return held


def witness_troubled(hands: Hands, victim: str, rng: random.Random) -> Held:
    """A neutral witness joins; with one validator down its vote is needed; then it stands still, and is killed."""
    cluster, operators = hands.cluster, hands.operators()
    asked, name = _others(hands, victim, rng), cluster.spare(NEUTRAL)
    if name is None:
        return Held("no machine is left for a witness", (), lambda: None)
    held = Held(
        f"{name} witnesses; {victim} is killed, then it stands still, then it is killed", (victim,), lambda: None
    )

    def heal() -> None:
        hands.start(victim)
        _leave(hands, held, name, asked)

    held.heal = heal
    try:
        _come_in(hands, held, name, victim, asked, party=NEUTRAL)
        operators.change(asked, Step(Verb.PROMOTE, name))
    except (ChangeFailed, ClusterFailed) as error:
        held.notes.append(f"violation: {error}")
        return held
    cluster.kill(victim)
    time.sleep(rng.uniform(1.0, 3.0))
    cluster.start(victim)
    _until_ready(hands, held, victim, "after a kill beside a witness")
    cluster.pause(name)
    time.sleep(rng.uniform(2.0, 4.0))
    cluster.resume(name)
    cluster.kill(name)
    time.sleep(rng.uniform(0.0, 2.0))
    cluster.start(name)
    _until_ready(hands, held, name, "as a witness")
    return held

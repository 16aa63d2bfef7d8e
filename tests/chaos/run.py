"""One run: network up, load on, round after round of faults, everything healed, archives exported, history checked."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos import faults
from tests.chaos.archives import entries_of, export_all, read_archive
from tests.chaos.checker import ArchiveView, Evidence, Violation, check
from tests.chaos.cluster import Cluster, ClusterFailed
from tests.chaos.faults import Fault, Hands, Held, resolve
from tests.chaos.faults.files import mend_late
from tests.chaos.history import SUBMIT, History, read_history
from tests.chaos.load import Load
from tests.chaos.machine import Ability
from tests.chaos.replay import StateHistory
from tests.chaos.schedule import Injection, Round, rounds

UP_TIMEOUT_S: Final = 60.0
# Everything must be back so soon after the last fault of a round was healed.
BACK_TIMEOUT_S: Final = 90.0
ACKNOWLEDGED_TIMEOUT_S: Final = 60.0
DRAIN_TIMEOUT_S: Final = 60.0
SETTLE_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.1

# What a validator only says of itself when it is wrong.
BUGS_SAID: Final = {"error part_failed": "a part of a validator failed", "error halted": "a validator halted"}

Say = Callable[[str], None]


@dataclass(slots=True)
class FaultRecord:
    """What happened with one fault. Times as in the history."""

    round: int
    kind: str
    what: str
    injected_s: float
    healed_s: float
    notes: list[str] = field(default_factory=list)
    silent_s: float = 0.0
    acknowledged_after_s: float | None = None
    ready_after_s: float | None = None


@dataclass(slots=True)
class Outcome:
    """All that the report says."""

    seed: int
    minutes: float
    plant: str = ""
    records: list[FaultRecord] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, list[Violation]] = field(default_factory=dict)
    unwell: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    archives: dict[str, int] = field(default_factory=dict)
    packets: dict[str, int] = field(default_factory=dict)
    logged: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    statements: int = 0
    lasted_s: float = 0.0

    @property
    def holds(self) -> bool:
        return bool(self.verdicts) and not any(self.verdicts.values())


class Run:
    def __init__(
        self,
        cluster: Cluster,
        load: Load,
        outcome: Outcome,
        possible: list[Fault],
        say: Say,
    ) -> None:
        self._cluster = cluster
        self._load = load
        self._outcome = outcome
        self._faults = {fault.kind.name: fault for fault in possible}
        self._hands = Hands(cluster)
        self._say = say

    async def whole(self) -> None:
        """Everything but the check. Raises ClusterFailed when the network does not even come up."""
        nodes = [*self._cluster.validators, *self._cluster.gateways]
        for name in nodes:
            self._cluster.start(name)
        unready = await asyncio.to_thread(self._cluster.wait_ready, nodes, UP_TIMEOUT_S)
        if unready:
            raise ClusterFailed(f"the network did not come up: {unready}")
        await self._load.prepare()
        working = asyncio.create_task(self._load.run())
        try:
            await self._schedule(working)
            self._load.stopping = True
            _, late = await asyncio.wait({working}, timeout=DRAIN_TIMEOUT_S)
            if late:
                self._outcome.unwell["load"] = (
                    f"statements were not settled {DRAIN_TIMEOUT_S:.0f} s after all was healed"
                )
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        self._outcome.lasted_s = self._load.now_s()
        await asyncio.to_thread(self._settle)

    async def _schedule(self, working: asyncio.Task[None]) -> None:
        kinds = [fault.kind for fault in self._faults.values()]
        ends_s = self._load.now_s() + self._outcome.minutes * 60
        for planned in rounds(self._outcome.seed, kinds):
            if self._load.now_s() >= ends_s:
                return
            if working.done():
                working.result()
                raise ClusterFailed("the load ended by itself")
            await asyncio.sleep(planned.calm_s)
            if not await self._round(planned):
                return

    async def _round(self, planned: Round) -> bool:
        """Inject, hold, heal, and wait until all are back. Whether the run can go on."""
        held: list[tuple[FaultRecord, Held, Injection]] = []
        for injection in planned.injections:
            busy = frozenset(name for _, item, _ in held for name in item.touched)
            rng = random.Random(f"{self._outcome.seed}/{planned.number}/{injection.salt}")
            victim = await asyncio.to_thread(resolve, self._cluster, injection.victim, rng, busy)
            began_s = self._load.now_s()
            fault = self._faults[injection.kind]
            done = await asyncio.to_thread(fault.inject, self._hands, victim, rng)
            record = FaultRecord(planned.number, injection.kind, done.what, began_s, 0.0)
            self._outcome.records.append(record)
            self._say(f"{began_s:7.1f} s  round {planned.number}: {done.what}")
            held.append((record, done, injection))
        await asyncio.sleep(max(injection.held_s for _, _, injection in held))
        for record, done, _ in reversed(held):
            await asyncio.to_thread(done.heal)
            record.healed_s = self._load.now_s()
            record.notes = done.notes
            for note in done.notes:
                self._say(f"           {note}")
                if note.startswith("violation: "):
                    self._outcome.unwell[f"round {planned.number}"] = note.removeprefix("violation: ")
        return await self._until_back(planned, [record for record, _, _ in held])

    async def _until_back(self, planned: Round, records: list[FaultRecord]) -> bool:
        healed_s = max(record.healed_s for record in records)
        nodes = [*self._cluster.validators, *self._cluster.gateways]
        unready = await asyncio.to_thread(self._cluster.wait_ready, nodes, BACK_TIMEOUT_S)
        for name in list(unready):
            mended = await asyncio.to_thread(mend_late, self._hands, name)
            if mended is not None:
                self._say(f"           {mended}")
                records[-1].notes.append(mended)
                # Another may have taken its place.
                nodes = [*self._cluster.validators, *self._cluster.gateways]
                unready = await asyncio.to_thread(self._cluster.wait_ready, nodes, BACK_TIMEOUT_S)
        ready_s = self._load.now_s()
        if unready:
            for name, said in unready.items():
                self._outcome.unwell[name] = f"not back {BACK_TIMEOUT_S:.0f} s after round {planned.number}: {said}"
            self._say(f"           NOT BACK: {unready}")
            return False
        acknowledged_s = await self._acknowledged_after(healed_s)
        if acknowledged_s is None:
            self._outcome.unwell["network"] = (
                f"nothing was acknowledged within {ACKNOWLEDGED_TIMEOUT_S:.0f} s after round {planned.number}"
            )
            self._say("           NOTHING IS ACKNOWLEDGED ANY MORE")
            return False
        for record in records:
            record.ready_after_s = ready_s - healed_s
            record.acknowledged_after_s = acknowledged_s - healed_s
            record.silent_s = _longest_silence(self._load.acknowledged_at, record.injected_s, acknowledged_s)
        self._say(
            f"           back: acknowledged {acknowledged_s - healed_s:.2f} s after healing, "
            f"all ready {ready_s - healed_s:.1f} s; longest silence {max(r.silent_s for r in records):.1f} s"
        )
        return True

    async def _acknowledged_after(self, since_s: float) -> float | None:
        """When the first statement was acknowledged that came after this time."""
        give_up_s = self._load.now_s() + ACKNOWLEDGED_TIMEOUT_S
        while self._load.now_s() < give_up_s:
            times = self._load.acknowledged_at
            position = len(times)
            while position and times[position - 1] > since_s:
                position -= 1
            if position < len(times):
                return times[position]
            await asyncio.sleep(POLL_S)
        return None

    def _settle(self) -> None:
        """Wait until every validator has everything, and all of it final."""
        deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
        names = [name for name in self._cluster.validators if self._cluster.nodes[name].running]
        while time.monotonic() < deadline_s:
            sizes = {self._cluster.metric(name, "comity_ledger_size") for name in names}
            finals = {self._cluster.metric(name, "comity_final_size") for name in names}
            if len(sizes | finals) == 1 and None not in sizes:
                return
            time.sleep(POLL_S)
        self._outcome.unwell["network"] = f"validators did not end alike: sizes {sizes}, final {finals}"


def _longest_silence(times: list[float], since_s: float, until_s: float) -> float:
    """The longest time between two acknowledgements within the span, its ends included."""
    inside = [since_s, *(at_s for at_s in times if since_s < at_s < until_s), until_s]
    return max(later - earlier for earlier, later in itertools.pairwise(inside))


def stop_all(cluster: Cluster, outcome: Outcome) -> None:
    """Every node must end when it is told to, and say so with status 0."""
    for name, node in cluster.nodes.items():
        if not node.running:
            if name in cluster.validators and name not in outcome.unwell:
                outcome.unwell[name] = f"ended by itself with status {node.exit_status}"
            continue
        status = cluster.stop(name)
        if status != 0:
            outcome.unwell.setdefault(name, f"ended with status {status} when told to stop")


def conflicts(cluster: Cluster) -> list[str]:
    """Files of evidence that a validator kept of conflicting signatures."""
    found = []
    for name in cluster.ever:
        directory = cluster.data_of(name) / "evidence"
        if directory.is_dir():
            found += [f"{name}: {path.name}" for path in sorted(directory.iterdir())]
    return found


def perform(
    directory: Path, outcome: Outcome, abilities: dict[str, Ability], only: frozenset[str], rate: float, say: Say
) -> None:
    """A whole run, into `directory` and `outcome`."""
    possible, outcome.skipped = faults.allowed(abilities, only)
    if not possible:
        raise ClusterFailed(f"no kind of fault is possible here: {outcome.skipped}")
    with (
        Cluster(directory, abilities, outcome.seed, outcome.plant) as cluster,
        (directory / "history.jsonl").open("w") as file,
    ):
        history = History(file)
        archives: list[ArchiveView] = []
        kept: list[str] = []
        load = Load(cluster, history, outcome.seed, rate)

        async def all_of_it() -> None:
            try:
                await Run(cluster, load, outcome, possible, say).whole()
            finally:
                await load.close()

        try:
            asyncio.run(all_of_it())
            say("exporting and auditing the archive of every validator")
            archives, missing = export_all(cluster, directory / "archives")
            for name, why in missing.items():
                outcome.unwell.setdefault(name, why)
            stop_all(cluster, outcome)
            kept = conflicts(cluster)
        finally:
            outcome.counts = dict(sorted(load.counts.items()))
            outcome.packets = dict(cluster.packets)
            outcome.logged = dict(sorted(cluster.logged().items()))
            outcome.latency_ms = _latencies(history)
    for event, what in BUGS_SAID.items():
        if outcome.logged.get(event):
            outcome.unwell[event] = f"{what}, {outcome.logged[event]} times: see the logs"
    say("checking the history")
    judge(directory, outcome, history, archives, kept)


def judge(directory: Path, outcome: Outcome, history: History, archives: list[ArchiveView], kept: list[str]) -> None:
    """Check what a run left behind, into `outcome`."""
    if not archives:
        outcome.verdicts = {"nodes_back": [Violation("nodes_back", f"{k}: {v}") for k, v in outcome.unwell.items()]}
        return
    outcome.archives = {archive.validator: archive.size for archive in archives}
    longest = max(archives, key=lambda archive: archive.size)
    outcome.statements = sum(statement_id is not None for statement_id in longest.ids)
    states = StateHistory(entries_of(directory / "archives" / longest.validator))
    outcome.verdicts = check(
        Evidence(
            operations=history.operations,
            archives=archives,
            sent=frozenset(item.about for item in history if item.kind == SUBMIT),
            record_at=states.record_at,
            conflicts=kept,
            unwell=outcome.unwell,
        )
    )


def check_again(directory: Path) -> Outcome:
    """Check what an earlier run left in its folder: the history and the archives, without the nodes."""
    outcome = Outcome(seed=0, minutes=0)
    history = read_history(directory / "history.jsonl")
    paths = sorted(path for path in (directory / "archives").iterdir() if path.is_dir())
    judge(directory, outcome, history, [read_archive(path.name, path, True, "") for path in paths], [])
    return outcome


def _latencies(history: History) -> dict[str, float]:
    """Of acknowledged submissions, nearest rank."""
    times = sorted((item.returned_s - item.invoked_s) * 1000 for item in history if item.acknowledged)
    if not times:
        return {}
    return {
        name: round(times[max(0, -(-len(times) * percent // 100) - 1)], 1)
        for name, percent in (("p50", 50), ("p90", 90), ("p99", 99), ("max", 100))
    }

"""Half-way, one authority goes away: what must then be seen, and what must be seen when it is back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

from nodes.demo.devices import Records
from nodes.demo.running import RunningNetwork
from nodes.demo.scenario import Outage
from nodes.demo.stage import Stage
from nodes.demo.steps import require

POLL_S: Final = 0.05
SETTLED_S: Final = 0.7
SETTLES_WITHIN_S: Final = 5.0
SAMPLE_EVERY_S: Final = 0.25
# Far beyond what an answer takes, on a machine with ten times too much to do as well.
NAMED_WITHIN_S: Final = 60.0
BACK_WITHIN_S: Final = 60.0
# Rather with trucks on the road; but not much later for their sake.
LATER_AT_MOST_PERCENT: Final = 15


@dataclass(slots=True)
class OutageSeen:
    """What was observed. Times are of this machine's monotonic clock."""

    authority: str
    killed: dict[str, int] = field(default_factory=dict)
    killed_at_s: float = 0.0
    restarted_at_s: float = 0.0
    back_at_s: float = 0.0
    final_size: int = 0
    samples: int = 0
    signed: int = 0
    put_off: int = 0
    state: str = ""
    power_lost: str = ""
    came_back: int = 0
    fixes_came_back: int = 0

    def as_report(self) -> dict[str, Any]:
        return {
            "authority": self.authority,
            "killed": self.killed,
            "seconds": round(self.restarted_at_s - self.killed_at_s, 3),
            "final_size_throughout": self.final_size,
            "samples": self.samples,
            "signed_meanwhile": self.signed,
            "answered_not_now_naming_it": self.put_off,
            "state": self.state,
            "lost_power": {"device": self.power_lost, "back_from_disk": self.came_back, "fixes": self.fixes_came_back},
            "final_again_after_s": round(self.back_at_s - self.restarted_at_s, 3),
        }


async def until_due(stage: Stage, outage: Outage) -> None:
    """Wait until so many percent of the crossing statements are final and trucks are on the road, one of them where it
    can be told who is away."""
    planned = sum(story.accepted for story in stage.script.crossings)
    while True:
        percent = stage.crossings_final() * 100 // planned
        if percent >= outage.at_percent + LATER_AT_MOST_PERCENT:
            return
        if percent >= outage.at_percent and stage.trucks_driving(lambda truck: _can_be_told(stage, truck, outage)):
            return
        await asyncio.sleep(POLL_S)


async def take_away(running: RunningNetwork, stage: Stage, outage: Outage) -> OutageSeen:
    """Kill the authority's validators, and watch that nothing becomes final while devices sign on.

    Raises CheckFailed when something does, or when nobody says whose absence it is.
    """
    seen = OutageSeen(outage.authority)
    records = stage.records
    other = stage.scenario.partner(outage.authority).name
    for name in running.validators_of(outage.authority):
        process = running.processes[name]
        seen.killed[name] = process.pid or 0
        process.kill()
    seen.killed_at_s = time.monotonic()
    seen.final_size = await _settled_size(running, other)
    quiet_from_s = time.monotonic()
    end_s = seen.killed_at_s + outage.seconds
    give_up_s = seen.killed_at_s + max(outage.seconds, NAMED_WITHIN_S)
    while time.monotonic() < end_s or (_unheard(stage, seen) and time.monotonic() < give_up_s):
        size = await running.final_size(other)
        require(size == seen.final_size, f"{seen.final_size} entries were final, now {size}: with {other} alone")
        seen.samples += 1
        await asyncio.sleep(SAMPLE_EVERY_S)
    seen.state = str((await running.status(other))["state"])
    _lose_power(stage, seen)
    seen.signed = sum(item.signed_at_s > seen.killed_at_s for item in records.deliveries.values())
    seen.put_off = _named(records, seen)
    answered = [
        item
        for item in records.deliveries.values()
        if item.receipt is not None
        and (item.final_at_s or 0.0) > quiet_from_s
        and item.receipt.index >= seen.final_size
    ]
    require(not answered, f"{len(answered)} devices were told that their statement is final")
    require(seen.signed > 0, "no device signed anything meanwhile")
    require(not _unheard(stage, seen), f"nobody was told that {outage.authority} is missing")
    require(outage.authority in seen.state, f"the status does not name {outage.authority}: {seen.state}")
    require(seen.came_back > 0, "no device had anything waiting on its disk")
    return seen


async def _settled_size(running: RunningNetwork, authority: str) -> int:
    """The final size once it stands still: cosignatures that were on their way at the end may still count."""
    size = await running.final_size(authority)
    since_s = time.monotonic()
    give_up_s = since_s + SETTLES_WITHIN_S
    while (now_s := time.monotonic()) - since_s < SETTLED_S and now_s < give_up_s:
        await asyncio.sleep(POLL_S)
        if (latest := await running.final_size(authority)) != size:
            size, since_s = latest, time.monotonic()
    return size


def _named(records: Records, seen: OutageSeen) -> int:
    """How many answers named the missing authority."""
    return sum(
        seen.authority in reason.missing_authorities for item in records.deliveries.values() for reason in item.put_off
    )


def _unheard(stage: Stage, seen: OutageSeen) -> bool:
    """Whether devices wait that can be told whose absence it is, and none was."""
    waiting = (name for name, device in stage.devices.items() if device.waiting)
    return any(_can_be_told(stage, name, seen) for name in waiting) and not _named(stage.records, seen)


def _can_be_told(stage: Stage, device: str, away: Outage | OutageSeen) -> bool:
    """Whether a device stands where the gateway still has validators to ask, and is answered over HTTP.

    On the ground of those who are away the gateway knows only that nobody answers. A gRPC stream keeps the reason for
    its delay to itself.
    """
    truck = stage.scenario.trucks.get(device)
    streams = truck is not None and truck.link == "grpc"
    return not streams and stage.devices[device].authority != away.authority


def _lose_power(stage: Stage, seen: OutageSeen) -> None:
    """The device with the most to say is switched off and on: what it signed must come back from its disk."""
    device = max(stage.devices.values(), key=lambda item: item.waiting)
    seen.power_lost, waiting, fixes = device.participant, device.waiting, device.fixes
    seen.came_back = device.lose_power()
    seen.fixes_came_back = device.fixes
    require(seen.came_back == waiting, f"{device.participant}: expected {waiting} on its disk, got {seen.came_back}")
    require(device.fixes == fixes, f"{device.participant}: expected a track of {fixes} fixes, got {device.fixes}")


async def bring_back(running: RunningNetwork, stage: Stage, seen: OutageSeen) -> None:
    """Start the same validators again from their own disks. Raises CheckFailed unless the log goes on."""
    names = running.validators_of(seen.authority)
    other = stage.scenario.partner(seen.authority).name
    seen.restarted_at_s = time.monotonic()
    running.processes.start(names)
    await running.until_ready(names)
    give_up_s = seen.restarted_at_s + BACK_WITHIN_S
    while (size := await running.final_size(other)) <= seen.final_size:
        require(time.monotonic() < give_up_s, f"still {size} final entries {BACK_WITHIN_S:.0f} s after the restart")
        await asyncio.sleep(POLL_S)
    seen.back_at_s = time.monotonic()

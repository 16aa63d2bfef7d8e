"""The table of faults: how each is done, what it needs of the machine, and what it takes away meanwhile.

What the machine cannot do is skipped, with the reason. Each module says how its faults are injected and healed.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.chaos.cluster import Cluster
from tests.chaos.faults import clocks, disk, files, members, network, processes
from tests.chaos.faults.hands import Hands, Held
from tests.chaos.machine import CLOCK, DISK_ERRORS, DISK_FREEZE, DISKS, SWITCH, Ability
from tests.chaos.schedule import ANY, FOLLOWER, LEADER, Kind

__all__ = ["FAULTS", "Fault", "Hands", "Held", "allowed", "resolve"]

Inject = Callable[[Hands, str, random.Random], Held]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind, how it is done, what it needs of the machine, and how it is described in the table."""

    kind: Kind
    inject: Inject
    needs: str | None
    how: str


def _fault(
    name: str,
    inject: Inject,
    how: str,
    held_s: tuple[float, float],
    *,
    needs: str | None = None,
    stays_down: int = 1,
    exclusive: bool = False,
    roles: tuple[str, ...] = (LEADER, FOLLOWER, ANY),
) -> Fault:
    return Fault(Kind(name, held_s, stays_down, exclusive, roles), inject, needs, how)


_SHORT: Final = (1.0, 5.0)
_LONG: Final = (4.0, 9.0)

FAULTS: Final[Mapping[str, Fault]] = {
    fault.kind.name: fault
    for fault in (
        _fault("kill", processes.kill, "SIGKILL of one validator", _SHORT),
        _fault("kill-authority", processes.kill_authority, "SIGKILL of all of one authority", _LONG, stays_down=2),
        _fault("kill-everything", processes.kill_everything, "SIGKILL of every process", (0.5, 3.0), exclusive=True),
        _fault("kill-gateway", processes.kill_gateway, "SIGKILL of a gateway", _SHORT, stays_down=0),
        _fault("kill-starting", processes.kill_again_and_again, "SIGKILL again and again while it starts", (0.5, 2.0)),
        _fault("away", processes.away, "SIGKILL, then absent for longer than the order is kept", (18.0, 26.0)),
        _fault("pause", processes.pause, "SIGSTOP longer than an election, SIGCONT", _LONG),
        _fault("restart", processes.restart, "SIGTERM, then start", _SHORT),
        _fault(
            "rolling-restart",
            processes.rolling_restart,
            "SIGTERM and start of each in turn",
            (0.5, 1.0),
            exclusive=True,
        ),
        _fault("stutter", processes.stutter, "SIGSTOP and SIGCONT, each for a moment", (0.5, 1.0)),
        _fault("descriptors", processes.descriptors, "no file or connection can be opened", _LONG),
        _fault("partition-one", network.partition_one, "one validator cut off", _LONG, needs=SWITCH),
        _fault("partition-deaf", network.partition_deaf, "one direction: receives nothing", _LONG, needs=SWITCH),
        _fault("partition-mute", network.partition_mute, "one direction: sends nothing", _LONG, needs=SWITCH),
        _fault(
            "partition-authorities",
            network.partition_authorities,
            "authorities cut apart",
            _LONG,
            needs=SWITCH,
            stays_down=2,
        ),
        _fault(
            "partition-one-way",
            network.partition_one_way_authorities,
            "one direction between the authorities",
            _LONG,
            needs=SWITCH,
            stays_down=2,
        ),
        _fault("partition-halves", network.partition_across, "no majority anywhere", _LONG, needs=SWITCH, stays_down=2),
        _fault("partition-ring", network.partition_ring, "everybody misses one", _LONG, needs=SWITCH, stays_down=2),
        _fault(
            "partition-gateway",
            network.partition_gateway,
            "a gateway loses its validators",
            _LONG,
            needs=SWITCH,
            stays_down=0,
        ),
        _fault("flapping", network.flapping, "cut and joined faster than an election", (0.5, 2.0), needs=SWITCH),
        _fault("cable", network.cable, "interface down in its namespace", _LONG, needs=SWITCH),
        _fault("delay", network.delay, "20 to 250 ms with jitter", _LONG, needs=SWITCH, stays_down=0),
        _fault("loss", network.loss, "1 to 15 % of packets lost", _LONG, needs=SWITCH, stays_down=0),
        _fault("mess", network.mess, "lost, duplicated, reordered, delayed", _LONG, needs=SWITCH, stays_down=0),
        _fault("disk-full", disk.disk_full, "ENOSPC: every free block allocated", _LONG, needs=DISKS),
        _fault("disk-full-start", disk.disk_full_at_start, "started on a full disk", _LONG, needs=DISKS),
        _fault("disk-freeze", disk.disk_freeze, "fsfreeze: writes wait for seconds", (2.0, 8.0), needs=DISK_FREEZE),
        _fault("disk-slow", disk.disk_slow, "fsfreeze again and again: syncs take seconds", _SHORT, needs=DISK_FREEZE),
        _fault("disk-read-only", disk.disk_read_only, "ext4 error, remounted read-only", _LONG, needs=DISK_ERRORS),
        _fault("disk-dies", disk.disk_dies, "EIO, then what was not synced is gone", _LONG, needs=DISKS),
        _fault("power-cut", disk.power_cut, "SIGKILL and page cache lost, one validator", _SHORT, needs=DISKS),
        _fault(
            "power-cut-authority",
            disk.power_cut_authority,
            "the same, one authority",
            _SHORT,
            needs=DISKS,
            stays_down=2,
            exclusive=True,
        ),
        _fault(
            "power-cut-everything",
            disk.power_cut_everything,
            "the same, everything at once",
            _SHORT,
            needs=DISKS,
            exclusive=True,
        ),
        _fault(
            "file-truncated", files.files_truncated, "a store's file cut short while down", (0.5, 2.0), exclusive=True
        ),
        _fault(
            "file-flipped", files.files_flipped, "bits of a store's file flipped while down", (0.5, 2.0), exclusive=True
        ),
        _fault(
            "ledger-ruined",
            files.ledger_ruined,
            "every file of the ledger damaged while down, `comity storage repair`",
            (0.5, 2.0),
            exclusive=True,
        ),
        _fault(
            "order-ruined",
            files.order_ruined,
            "every file of the order damaged while down: replaced by a change that both sides sign",
            (0.5, 2.0),
            needs=SWITCH,
            exclusive=True,
        ),
        _fault(
            "flipped-running",
            files.flipped_while_running,
            "bits of a ledger's table flipped while it runs, found by the scrub",
            (1.0, 3.0),
            exclusive=True,
        ),
        _fault(
            "member-joins",
            members.member_joins,
            "a validator joins, gets a vote, is killed, comes back, is removed",
            (2.0, 6.0),
            needs=SWITCH,
            # Without a whole authority no change is committed, by design.
            stays_down=1,
        ),
        _fault(
            "member-replaced",
            members.member_replaced,
            "a voter is lost with its disk, another takes its place by one joint change",
            (2.0, 6.0),
            needs=SWITCH,
            stays_down=1,
        ),
        _fault(
            "observer",
            members.observer_troubled,
            "an observer is killed, stands still, is away for longer than the order is kept",
            (1.0, 3.0),
            needs=SWITCH,
            stays_down=1,
        ),
        _fault(
            "witness",
            members.witness_troubled,
            "a neutral witness joins, its vote is needed, it stands still, is killed",
            (1.0, 3.0),
            needs=SWITCH,
            exclusive=True,
        ),
        _fault("clock-step", clocks.clock_step, "wall clock stepped, up to an hour", _LONG, needs=CLOCK),
        _fault("clock-strobe", clocks.clock_strobe, "wall clock to and fro", (0.5, 1.0), needs=CLOCK),
    )
}


def allowed(abilities: Mapping[str, Ability], only: frozenset[str]) -> tuple[list[Fault], dict[str, str]]:
    """The faults that this machine allows, and why the others are skipped. `only`: empty for all."""
    unknown = only - set(FAULTS)
    if unknown:
        raise ValueError(f"unknown kinds of fault: {', '.join(sorted(unknown))}; known: {', '.join(FAULTS)}")
    possible, skipped = [], {}
    for name, fault in FAULTS.items():
        ability = abilities[fault.needs] if fault.needs else None
        if only and name not in only:
            continue
        if ability is not None and not ability.there:
            skipped[name] = ability.reason
        else:
            possible.append(fault)
    return possible, skipped


def resolve(cluster: Cluster, role: str, rng: random.Random, busy: frozenset[str]) -> str:
    """Which validator has that role now, and is not the victim of another fault."""
    candidates = [name for name in cluster.validators if name not in busy]
    leader = None
    with contextlib.suppress(OSError):
        leader = cluster.leader()
    if role == LEADER and leader in candidates:
        return leader
    if role == FOLLOWER:
        candidates = [name for name in candidates if name != leader] or candidates
    return rng.choice(candidates)

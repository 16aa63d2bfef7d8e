"""One sync serves many; a disk that is slow or stuck shows, and does not stay a leader's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from consensus import Config, Configuration, Membership
from ledger.store import MemoryStore
from nodes.clock import SystemClock
from nodes.disk_health import HAND_OVER_AGAIN_S, SLOW_SYNC_S, STUCK_S, DiskHealth
from nodes.metrics import Metrics
from nodes.ordering import RaftOrdering
from nodes.raft_store import RaftStore


class HandClock(SystemClock):
    """Goes only when told."""

    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s


def test_one_long_write_is_forgiven_and_many_are_not() -> None:
    clock = HandClock()
    health = DiskHealth(clock)

    def write(seconds: float) -> None:
        health.began()
        clock.now_s += seconds
        health.ended()

    write(2.0)
    assert not health.slow
    for _ in range(20):
        write(0.3)
    assert health.slow
    assert "ms for a synced write" in str(health)
    for _ in range(60):
        write(0.001)
    assert not health.slow


def test_a_write_that_does_not_come_back_shows_while_it_is_going_on() -> None:
    clock = HandClock()
    health = DiskHealth(clock)
    health.began()
    clock.now_s += STUCK_S + 5
    assert health.slow
    assert "has been going on for 7 s" in str(health)
    health.given_up()
    assert not health.slow
    assert health.smoothed_s == 0


def test_a_leader_hands_over_once_and_not_again_at_once() -> None:
    clock = HandClock()
    health = DiskHealth(clock)
    assert not health.shall_hand_over()
    health.smoothed_s = SLOW_SYNC_S * 2
    assert health.shall_hand_over()
    clock.now_s += HAND_OVER_AGAIN_S / 2
    assert not health.shall_hand_over()
    clock.now_s += HAND_OVER_AGAIN_S
    assert health.shall_hand_over()


class SlowDisk(MemoryStore):
    """Counts its syncs; takes as long for each as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0
        self.entries = 0
        self.gate = threading.Event()
        self.gate.set()

    def write(self, batch: Mapping[bytes, bytes | None], sync: bool = True) -> None:
        if not self.gate.is_set() and threading.current_thread() is not threading.main_thread():
            self.gate.wait(20)
        super().write(batch, sync)
        self.syncs += sync
        self.entries += sum(key.startswith(b"e") for key in batch)


async def ordering_over(disk: SlowDisk) -> RaftOrdering:
    membership = Membership(Configuration({"a-1": "a"}))
    ordering = RaftOrdering(
        Config(id="a-1", seed=1, election_timeout_ticks=5, heartbeat_ticks=1),
        RaftStore(disk, node="a-1", network=bytes(32), membership=membership),
        tick_ms=5,
        send=partial(lambda to, envelope: False),
        metrics=Metrics("a-1"),
        clock=SystemClock(),
        disk=ThreadPoolExecutor(1),
    )
    # Slow enough that it is written to from its thread.
    ordering.disk_health.smoothed_s = 0.05
    return ordering


async def committed(ordering: RaftOrdering, index: int) -> None:
    async with asyncio.timeout(20):
        after = 0
        while after < index:
            after = (await ordering.take(after))[-1][0]


async def begun(ordering: RaftOrdering) -> None:
    while True:
        if ordering.disk_health.waiting_s():
            return
        await asyncio.sleep(0)


async def test_one_sync_serves_all_that_came_while_the_last_one_was_going_on() -> None:
    disk = SlowDisk()
    ordering = await ordering_over(disk)
    running = asyncio.create_task(ordering.run())
    await committed(ordering, 1)
    syncs, last = disk.syncs, ordering.last_index
    disk.gate.clear()
    ordering.submit(b"first")
    await begun(ordering)
    for number in range(300):
        ordering.submit(b"%d" % number)
    assert ordering.disk_health.waiting_s() > 0
    disk.gate.set()
    await committed(ordering, last + 301)
    assert disk.entries == last + 301
    # One for the first, one for the three hundred, at most one more for a term or a commit between them.
    assert disk.syncs - syncs <= 3
    running.cancel()
    ordering.close()


async def test_a_disk_that_hangs_does_not_stop_the_event_loop() -> None:
    disk = SlowDisk()
    ordering = await ordering_over(disk)
    running = asyncio.create_task(ordering.run())
    await committed(ordering, 1)
    disk.gate.clear()
    ordering.submit(b"x")
    began_s = time.monotonic()
    turns = 0
    while time.monotonic() - began_s < 0.3:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20
    assert ordering.disk_health.waiting_s() > 0
    assert ordering.committed < ordering.last_index + 1
    disk.gate.set()
    await committed(ordering, 2)
    assert ordering.disk_health.waiting_s() == 0
    running.cancel()
    ordering.close()


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_the_time_of_a_write_is_measured(seconds: float) -> None:
    clock = HandClock()
    health = DiskHealth(clock)
    health.began()
    clock.now_s += seconds
    assert health.ended() == seconds
    assert health.smoothed_s == seconds / 16

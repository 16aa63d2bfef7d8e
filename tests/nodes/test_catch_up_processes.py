"""Validators that fell behind what the others keep of the order, as real processes: they come back by a snapshot."""

from __future__ import annotations

import asyncio
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from ledger.statement import Statement
from nodes.repair import check, repair
from nodes.validator import EXIT_DURABLE_STATE
from tests.benchmarks.long_ledger import copy_ledger, make_long_ledger
from tests.nodes.network import Client, Processes, Signer, all_final, make_network, until, wait_ready

pytestmark = pytest.mark.processes

TAIL_ENTRIES = 16
BLOCKS = 60
# A ledger that takes a few seconds to fetch.
ENTRIES = 6000


def keep_a_short_order(processes: Processes) -> None:
    for each in processes.network.validators:
        with each.config.open("a") as file:
            file.write(f"\n[tuning]\norder_tail_entries = {TAIL_ENTRIES}\n")


async def one_block_each(client: Client, statements: list[Statement]) -> None:
    for statement in statements:
        while True:
            results = await client.submit([statement.raw])
            if results[0].HasField("accepted"):
                break


def running(process_id: int) -> bool:
    try:
        return bool(Path(f"/proc/{process_id}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


async def has_ended(process_id: int) -> bool:
    return not running(process_id)


async def said(processes: Processes, name: str, event: str) -> bool:
    return any(each.get("event") == event for each in processes.events(name))


async def test_a_validator_that_was_away_for_too_long_comes_back_by_a_snapshot_and_cosigns(tmp_path: Path) -> None:
    processes = make_network(tmp_path / "net")
    network = processes.network
    keep_a_short_order(processes)
    with processes.validator("kz-kgd-2").config.open("a") as file:
        file.write("signature_processes = 1\n")
    signer = Signer(network)
    processes.start()
    try:
        await wait_ready(network, processes.running)
        before = [signer.enrol() for _ in range(3)]
        async with Client(network, "cn-gacc-1") as client:
            await one_block_each(client, before)
            processes.kill("kz-kgd-2")
            during = [signer.enrol() for _ in range(BLOCKS)]
            await one_block_each(client, during)
            for name in ("kz-kgd-1", "cn-gacc-1", "cn-gacc-2"):
                await until(partial(said, processes, name, "order_compacted"), what=f"{name} keeps a short order")
            processes.start("kz-kgd-2")
            await until(partial(said, processes, "kz-kgd-2", "snapshot_adopted"), what="a snapshot")
            # Only with the one that came back is there anybody of its authority.
            await wait_ready(network, ["kz-kgd-2"])
            processes.kill("kz-kgd-1")
            after = [signer.enrol() for _ in range(3)]
            await one_block_each(client, after)
        ids = [statement.id for statement in (*before, *during, *after)]
        await all_final(network, "kz-kgd-2", ids)
        await all_final(network, "cn-gacc-2", ids)
        # It has its signatures checked by a process of their own, which does not outlive it.
        started = [each for each in processes.events("kz-kgd-2") if each.get("event") == "checking_process_started"]
        processes.kill("kz-kgd-2")
        assert len(started) == 2
        for each in started:
            await until(partial(has_ended, each["process_id"]), what="the end of the process that checks")
    finally:
        for name in list(processes.running):
            processes.kill(name)


def listening(pid: int) -> int:
    """How many sockets a process listens on."""
    listens = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listens.add(f"socket:[{fields[9]}]")
    return sum(os.readlink(file) in listens for file in Path(f"/proc/{pid}/fd").iterdir())


async def test_a_validator_whose_ledger_was_lost_and_whose_order_was_cut_is_repaired_from_the_others_and_cosigns(
    tmp_path: Path,
) -> None:
    processes = make_network(tmp_path / "net")
    network, lost = processes.network, "kz-kgd-2"
    keep_a_short_order(processes)
    signer = Signer(network)
    data = processes.validator(lost).config.parent / "data"
    processes.start()
    try:
        await wait_ready(network, processes.running)
        async with Client(network, "cn-gacc-1") as client:
            before = [signer.enrol() for _ in range(BLOCKS)]
            await one_block_each(client, before)
            await all_final(network, lost, [statement.id for statement in before])
            await until(partial(said, processes, lost, "order_compacted"), what="a short order")
            assert processes.stop(lost) == {lost: 0}
            shutil.rmtree(data / "ledger")
            processes.start(lost)
            assert await asyncio.to_thread(processes.running.pop(lost).wait, 60) == EXIT_DURABLE_STATE
            _, done = await asyncio.to_thread(repair, data)
            assert done is not None
            assert not done.from_order
            assert done.floor >= 1 + 2 * BLOCKS
            processes.start(lost)
            await until(partial(said, processes, lost, "snapshot_adopted"), what="a snapshot")
            await wait_ready(network, [lost])
            # It began anew as the same process, without what the one before it had open.
            assert listening(processes.running[lost].pid) == listening(processes.running["cn-gacc-2"].pid)
            # Only with the one that was repaired is there anybody of its authority.
            processes.kill("kz-kgd-1")
            after = [signer.enrol() for _ in range(3)]
            await one_block_each(client, after)
            for name in (lost, "cn-gacc-2"):
                await all_final(network, name, [statement.id for statement in (*before, *after)])
        assert processes.stop(lost) == {lost: 0}
        report = await asyncio.to_thread(check, data)
        assert report.verdict == "whole", report
        assert report.intent is not None
        assert report.intent.size > done.floor
    finally:
        for name in list(processes.running):
            processes.kill(name)


async def test_a_new_validator_that_is_killed_while_it_fetches_and_while_the_ledgers_change_places_gets_there(
    tmp_path: Path,
) -> None:
    processes = make_network(tmp_path / "net")
    network = processes.network
    newcomer = "cn-gacc-2"
    data = make_long_ledger(network, "kz-kgd-1", ENTRIES, ENTRIES, lambda _: None)
    for name in ("kz-kgd-2", "cn-gacc-1"):
        copy_ledger(network, data, name)
    processes.start("kz-kgd-1", "kz-kgd-2", "cn-gacc-1")
    try:
        await wait_ready(network, processes.running)
        processes.start(newcomer)
        for event in ("snapshot_begun", "snapshot_complete"):
            await until(partial(said, processes, newcomer, event), what=event)
            processes.kill(newcomer)
            processes.start(newcomer)
        await until(partial(said, processes, newcomer, "snapshot_adopted"), what="a snapshot")
        await wait_ready(network, [newcomer])
        processes.kill("cn-gacc-1")
        statement = Signer(network).enrol()
        async with Client(network, "kz-kgd-1") as client:
            await one_block_each(client, [statement])
        await all_final(network, newcomer, [statement.id])
        async with Client(network, newcomer) as client, Client(network, "kz-kgd-1") as other:
            assert (await client.status()).size == (await other.status()).size > ENTRIES * 9 // 10
        assert not (processes.validator(newcomer).config.parent / "data" / "catch-up").exists()
        # And what it signed binds it from now on: without it, it does not start under its name.
        assert processes.stop(newcomer) == {newcomer: 0}
        shutil.rmtree(processes.validator(newcomer).config.parent / "data" / "ledger")
        processes.start(newcomer)
        assert await asyncio.to_thread(processes.running[newcomer].wait, 60) == EXIT_DURABLE_STATE
    finally:
        for name in list(processes.running):
            processes.kill(name)

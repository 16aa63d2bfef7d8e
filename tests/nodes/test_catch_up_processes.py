"""Validators that fell behind what the others keep of the order, as real processes: they come back by a snapshot."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from ledger.statement import Statement
from tests.nodes.network import Client, Processes, Signer, all_final, make_network, until, wait_ready

pytestmark = pytest.mark.processes

TAIL_ENTRIES = 16
BLOCKS = 60


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


async def said(processes: Processes, name: str, event: str) -> bool:
    return any(each.get("event") == event for each in processes.events(name))


async def test_a_validator_that_was_away_for_too_long_comes_back_by_a_snapshot_and_cosigns(tmp_path: Path) -> None:
    processes = make_network(tmp_path / "net")
    network = processes.network
    keep_a_short_order(processes)
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
            await until(partial(said, processes, "kz-kgd-2", "snapshot_adopted"), what="a snapshot", timeout_s=30)
            # Only with the one that came back is there anybody of its authority.
            await wait_ready(network, ["kz-kgd-2"])
            processes.kill("kz-kgd-1")
            after = [signer.enrol() for _ in range(3)]
            await one_block_each(client, after)
        ids = [statement.id for statement in (*before, *during, *after)]
        await all_final(network, "kz-kgd-2", ids)
        await all_final(network, "cn-gacc-2", ids)
    finally:
        for name in list(processes.running):
            processes.kill(name)

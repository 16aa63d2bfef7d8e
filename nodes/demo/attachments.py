"""Tracks of trucks as batches: left at a gateway, copied to the other authority's, fetched, and held against the log.

A truck signs its whole track with one statement, by hash; the bytes stand beside the ledger. Each authority keeps its
own copy, as an operator would have it: `comity attachment mirror`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from contracts.telemetry import check_batch
from nodes.demo.context import Run
from nodes.demo.delivery import Delivery
from nodes.demo.offline import run_comity
from nodes.demo.running import RunningNetwork
from nodes.demo.stage import Stage
from nodes.demo.steps import require
from nodes.network import Network


def batches(run: Run, stage: Stage) -> Iterator[tuple[str, Delivery]]:
    """The movement and the statement of each batch that was signed and taken."""
    for story in run.script.crossings:
        for step, delivery in stage.played[story.subject]:
            if step.batch and delivery.final:
                yield story.subject, delivery


async def mirror_and_check(run: Run, network: Network, running: RunningNetwork, stage: Stage) -> None:
    """Each authority copies what was left at the other's gateway; then both have every batch, byte for byte."""
    with run.steps.step("telemetry", "Tracks signed by hash are copied by each authority, and checked") as step:
        found = list(batches(run, stage))
        for home in network.authorities:
            other = run.scenario.partner(home.name).name
            ended = await asyncio.to_thread(
                run_comity, "attachment", "mirror", "--from", running.url(other), "--to", running.url(home.name),
                "--as", f"{home.name}/officer", "--key", str(home.key("officer")), "--json",
            )  # fmt: skip
            # What the other side has not copied yet is there after its own round.
            require(ended.status in (0, 1), f"comity attachment mirror ended with {ended.status}: {ended.said()}")
        run.places.telemetry.mkdir()
        fixes = 0
        for mrn, delivery in found:
            signed: Any = delivery.statement.payload["batch"]
            for authority, reader in running.readers.items():
                raw = await reader.attachment(signed["sha256"].hex())
                summary = check_batch(raw, signed)
                require(bool(summary.fixes), f"{authority}: an empty batch of {mrn}")
            fixes += summary.fixes
            proof = await running.readers[delivery.authority].proof(delivery.statement.id_hex, wait_s=5.0)
            stem = run.places.telemetry / f"{mrn}-{delivery.statement.id_hex[:8]}"
            stem.with_suffix(".telemetry").write_bytes(raw)
            stem.with_suffix(".cose").write_bytes(delivery.statement.raw)
            stem.with_suffix(".tlog-proof").write_bytes(proof)
        step.detail = f"{len(found)} tracks of {fixes} fixes, the same at both gateways"


def verify_batches(run: Run) -> None:
    """Offline: each batch is the one that was signed and is on the ledger, and with one bit flipped it is not."""
    files = sorted(run.places.telemetry.glob("*.telemetry"))
    if not files:
        return
    with run.steps.step("tracks", "A track holds offline against its statement, and no other does") as step:
        file = files[0]
        statement, proof = str(file.with_suffix(".cose")), str(file.with_suffix(".tlog-proof"))
        for authority in run.scenario.authorities:
            policy = str(run.places.policy(authority.name))
            ended = run_comity(
                "telemetry", "verify", str(file), "--statement", statement, "--proof", proof, "--policy", policy,
                "--json",
            )  # fmt: skip
            require(ended.status == 0, f"comity telemetry verify ended with {ended.status}: {ended.said()}")
        found = ended.report()
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        forged = run.places.work / "forged.telemetry"
        forged.write_bytes(bytes(raw))
        ended = run_comity("telemetry", "verify", str(forged), "--statement", statement)
        require(ended.status == 1, f"a track with a bit flipped was taken: status {ended.status}")
        step.detail = f"{found['fixes']} fixes of {found['device']} on {found['movement']}"
        run.report["telemetry"] = {"files": [f"telemetry/{each.name}" for each in files]}

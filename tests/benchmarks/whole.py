"""The whole network under load: what its stages measure, on which load, and in which order.

One network serves all stages, so that latency, proofs and memory are measured on a ledger that is as full as the target
says, not on an empty one:

1. set up: participants enrolled; every lane of the workload brought to its own place in a crossing (not measured);
2. `saturated`: gRPC streams to both gateways until the ledger holds the entries that `memory` wants; `final_per_s`;
3. `memory`: resident size of each validator;
4. `latency`: HTTP, a fixed rate, open loop; `submit_to_final_ms`;
5. `proofs`: fetched over HTTP at a fixed rate, first from an idle network, then beside a load; `proof_http_ms`;
6. `audit`: the network is stopped, a validator's store exported as an archive, the archive audited with re-execution.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.archive import export_and_audit
from tests.benchmarks.machine import percentiles
from tests.benchmarks.paced import Latencies, Request, run_paced
from tests.benchmarks.processes import RunningNetwork, Usage, cpu_us_per_statement
from tests.benchmarks.raw_http import Answer, HttpConnection
from tests.benchmarks.saturated import LoadFailed, StreamTally, drive_all
from tests.benchmarks.workload import Workload

STAGES = ("saturated", "memory", "latency", "proofs", "audit")
FINAL = "final"
FETCHED = "fetched"
SETTLE_S = 2.0
PROOF_START = b"c2sp.org/tlog-proof@v1\n"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    name: str
    signature_s: float
    lanes: int
    entries: int
    window: int
    warm_up_s: float
    latency_per_s: int
    latency_s: int
    proofs_per_s: int
    proofs_s: int
    # Entries, and records of the state, of the ledger that is caught up with; whether in a network that is looked at.
    ledger: int
    network_beside: bool
    # Lanes and passes of each that are executed by themselves; statements and lanes of the order executed again.
    executing: tuple[int, int]
    blocks: tuple[int, int]
    # Of each authority; and whether more than half of them have to cosign, not any one.
    validators: int = 2
    majority: bool = False

    def with_entries(self, entries: int) -> Scale:
        return replace(self, entries=entries)

    def with_ledger(self, entries: int) -> Scale:
        return replace(self, ledger=entries)


FULL = Scale("full", 3.0, 1000, 100_000, 800, 5.0, 100, 30, 50, 20, 100_000, True, (1000, 1), (46_000, 1000))
QUICK = Scale("quick", 0.3, 40, 700, 32, 0.5, 50, 2, 25, 2, 2000, False, (40, 1), (900, 40))


@dataclass
class _Run:
    scale: Scale
    network: RunningNetwork
    workload: Workload
    progress: Progress
    # What the gateways have said is final, in every stage: the archive must hold exactly that.
    final: int = 0


async def measure_whole(scale: Scale, wanted: set[str], directory: Path, progress: Progress) -> dict[str, Any]:
    """Measure the wanted stages. Raises NodeFailed or LoadFailed."""
    network = RunningNetwork(directory, validators=scale.validators, majority=scale.majority)
    report: dict[str, Any] = {}
    try:
        progress(f"network of {2 * scale.validators} validators and two gateways")
        await network.start()
        progress("signing the workload ahead")
        workload = Workload(network.network, scale.lanes, seed=1)
        run = _Run(scale, network, workload, progress)
        await _set_up(run)
        if wanted & {"saturated", "memory", "audit"}:
            report |= await _saturated(run)
        if "memory" in wanted:
            report |= await _memory(run)
        if "latency" in wanted:
            report |= await _latency(run)
        if "proofs" in wanted:
            report |= await _proofs(run)
        report["final_size"] = await _final_sizes(run)
        report["statements_final"] = run.final
    finally:
        network.stop()
    if "audit" in wanted:
        progress("archive and audit")
        report["audit"] = export_and_audit(network.network, directory / "archive", progress)
        report["audit_entries_per_s"] = report["audit"]["entries_per_s"]
        _cross_check(report)
    return report


def _cross_check(report: dict[str, Any]) -> None:
    """Nothing that was said to be final may be missing from the archive.

    There may be more: a statement that was answered with *send it again* can have become final all the same.
    """
    said, found = report["statements_final"], report["audit"]["report"]["statements"]
    if found < said:
        raise LoadFailed(f"the gateways said that {said} statements are final, the archive holds {found}")


def _addresses(run: _Run) -> list[Any]:
    return [gateway.grpc_address for gateway in run.network.network.gateways]


async def _all_final(run: _Run, statements: Sequence[bytes], what: str) -> StreamTally:
    """Drive the statements and insist that every one becomes final: what follows builds on them."""
    tally = await drive_all(_addresses(run), [[statement] for statement in statements], run.scale.window)
    run.final += tally.final
    if tally.final != len(statements):
        raise LoadFailed(f"{what}: expected {len(statements)} final, got {dict(tally.outcomes)}")
    return tally


async def _set_up(run: _Run) -> None:
    started = time.perf_counter()
    count = 0
    for wave in run.workload.enrolments():
        await _all_final(run, wave, "enrolment")
        count += len(wave)
    for wave in run.workload.to_their_places():
        await _all_final(run, wave, "set-up")
        count += len(wave)
    run.progress(f"{count} statements of set-up final after {time.perf_counter() - started:.1f} s")


async def _saturated(run: _Run) -> dict[str, Any]:
    scale = run.scale
    rounds = max(2, -(-(scale.entries - run.workload.taken) // scale.lanes))
    lanes = await asyncio.to_thread(run.workload.lanes, rounds)
    count = sum(map(len, lanes))
    run.progress(f"saturated: {count} statements, at most {scale.window} unanswered")
    before = run.network.usage()
    started = time.perf_counter()
    tally = await drive_all(_addresses(run), lanes, scale.window)
    after = run.network.usage()
    run.final += tally.final
    ended = tally.finals[-1][0] if tally.finals else time.perf_counter()
    # The first seconds fill caches and queues; at the end the window drains.
    low = started + min(scale.warm_up_s, (ended - started) / 4)
    high = ended - min(2.0, (ended - started) / 10)
    final_per_s = tally.between(low, high) / (high - low)
    run.progress(f"saturated: {final_per_s:.0f} final a second over {high - low:.1f} s")
    return {
        "final_per_s": round(final_per_s, 1),
        "saturated": {
            "seconds": round(high - low, 1),
            "whole_run_per_s": round(tally.final / (ended - started), 1),
            "slowest_second": _slowest_second(tally, low, high),
            "window": scale.window,
            "outcomes": dict(tally.outcomes),
            "cpu_us_per_statement": cpu_us_per_statement(before, after, tally.final),
            "cpu_cores_busy": _cores_busy(before, after),
            "statement_bytes_mean": round(sum(len(raw) for lane in lanes for raw in lane) / count),
        },
    }


def _slowest_second(tally: StreamTally, low: float, high: float) -> int | None:
    seconds = int(high - low)
    return min((tally.between(low + second, low + second + 1) for second in range(seconds)), default=None)


def _cores_busy(before: Usage, after: Usage) -> float:
    busy = sum(after.cpu_s.values()) - sum(before.cpu_s.values())
    return round(busy / (after.at_s - before.at_s), 2)


async def _memory(run: _Run) -> dict[str, Any]:
    await asyncio.sleep(SETTLE_S)
    rss = run.network.rss_mb()
    largest = max(rss[name] for name in run.network.validator_names)
    run.progress(f"memory: largest validator {largest} MB")
    return {"validator_rss_mb": largest, "memory": {"rss_mb": rss, "final_size": await _final_sizes(run)}}


async def _latency(run: _Run) -> dict[str, Any]:
    scale = run.scale
    result, usage = await _paced_load(run, scale.latency_per_s, scale.latency_s)
    if not result.milliseconds:
        raise LoadFailed(f"latency: no statement became final: {dict(result.outcomes)}")
    figures = percentiles(result.milliseconds)
    run.progress(f"latency at {scale.latency_per_s}/s: p50 {figures['p50']} ms, p99 {figures['p99']} ms")
    return {
        "submit_to_final_ms": figures,
        "latency": {"per_s": scale.latency_per_s, "outcomes": dict(result.outcomes), "cpu_us_per_statement": usage},
    }


async def _paced_load(run: _Run, per_s: int, seconds: int) -> tuple[Latencies, dict[str, float]]:
    """Statements over HTTP, each waited for until it is final."""
    warm_up = per_s
    rounds = -(-(per_s * seconds + warm_up) // run.scale.lanes)
    statements = await asyncio.to_thread(run.workload.rounds, rounds)
    gateways = [gateway.http_address for gateway in run.network.network.gateways]
    headers = "Content-Type: application/cose\r\n"
    requests = [
        Request(gateways[number % len(gateways)], "POST", "/v1/statements?wait=final", statement, headers)
        for number, statement in enumerate(statements)
    ]
    before = run.network.usage()
    result = await run_paced(requests, per_s, _judge_submission, FINAL, warm_up)
    run.final += result.answered[FINAL]
    return result, cpu_us_per_statement(before, run.network.usage(), len(requests))


def _judge_submission(answer: Answer) -> str:
    try:
        document = json.loads(answer.body)
    except ValueError:
        return f"HTTP {answer.status}"
    if answer.status in (200, 201):
        return str(document.get("state"))
    return f"HTTP {answer.status} {document.get('outcome') or document.get('type')}"


async def _proofs(run: _Run) -> dict[str, Any]:
    """Of random statements anywhere in the ledger, each asked for by the truck that it belongs to."""
    scale = run.scale
    chooser = random.Random(2)
    gateways = [gateway.http_address for gateway in run.network.network.gateways]
    requests = []
    for number in range(scale.proofs_per_s * (scale.proofs_s + 1)):
        statement_id, token = run.workload.a_statement_of_a_truck(chooser)
        headers = f"Authorization: Bearer {token}\r\n"
        target = f"/v1/statements/{statement_id}/proof"
        requests.append(Request(gateways[number % len(gateways)], "GET", target, b"", headers))
    idle = await run_paced(requests, scale.proofs_per_s, _judge_proof, FETCHED, scale.proofs_per_s)
    load = asyncio.create_task(_paced_load(run, scale.latency_per_s, scale.proofs_s + 1))
    busy = await run_paced(requests, scale.proofs_per_s, _judge_proof, FETCHED, scale.proofs_per_s)
    beside, _ = await load
    if not idle.milliseconds or not busy.milliseconds:
        raise LoadFailed(f"proofs: none was fetched: {dict(idle.outcomes)} {dict(busy.outcomes)}")
    figures = percentiles(idle.milliseconds)
    loaded = percentiles(busy.milliseconds)
    run.progress(f"proofs at {scale.proofs_per_s}/s: p99 {figures['p99']} ms idle, {loaded['p99']} ms beside a load")
    return {
        "proof_http_ms": figures,
        "proofs": {
            "per_s": scale.proofs_per_s,
            "outcomes": dict(idle.outcomes),
            "beside_load": loaded,
            "beside_load_per_s": scale.latency_per_s,
            "beside_load_outcomes": dict(busy.outcomes),
            "load_beside_proofs": dict(beside.outcomes),
        },
    }


def _judge_proof(answer: Answer) -> str:
    return (
        FETCHED if answer.status == 200 and answer.body.startswith(b"c2sp.org/tlog-proof@v1\n") else str(answer.status)
    )


async def _final_sizes(run: _Run) -> dict[str, int]:
    """The size of the newest checkpoint that both authorities cosigned, as each gateway serves it."""
    sizes = {}
    for gateway in run.network.network.gateways:
        connection = await HttpConnection.open(gateway.http_address.host, gateway.http_address.port)
        try:
            answer = await connection.request("GET", "/log/checkpoint")
        finally:
            await connection.close()
        if answer.status != 200:
            raise LoadFailed(f"{gateway.name}: /log/checkpoint answered {answer.status}")
        sizes[gateway.name] = int(answer.body.split(b"\n")[1])
    return sizes

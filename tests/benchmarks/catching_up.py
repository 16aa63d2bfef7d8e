"""Catching up and starting again: ``python -m tests.benchmarks.catching_up [--entries N] [--records N] [--only ...]``.

- `snapshot`: a ledger read, sent through this process's memory, verified and written to another folder, by one thread:
  entries and records a second, by the clock and by the processor (what one core would do with nothing else to do).
- `start`: a validator process on that ledger: seconds until it says that it has started, its memory; and the same on
  one a tenth as long.
- `network`: three validators that hold the ledger and one with nothing. Statements go to the gateways' ports of two of
  them one after another; p50 and p99 of being accepted, while nothing else happens and while the fourth catches up.

The ledgers are made up (`long_ledger`), the programs are the real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from contracts.execute import genesis_state
from ledger.chain import Chain
from ledger.chain_layout import STATE
from ledger.snapshot import SnapshotSource
from ledger.snapshot_building import SnapshotBuilder
from ledger.statemap import StateMap
from ledger.store import MemoryStore
from nodes.config import load_validator_config
from nodes.environment import Environment
from nodes.identity import load_identity
from nodes.network import init_network
from nodes.records import index_keys
from tests.benchmarks.long_ledger import copy_ledger, make_long_ledger
from tests.benchmarks.machine import REPOSITORY, describe_machine, percentiles
from tests.nodes.network import AUTHORITIES, ORIGIN, Client, Processes, Signer, wait_ready

STAGES = ("snapshot", "start", "network")
START_TIMEOUT_S = 120.0
CATCH_UP_TIMEOUT_S = 1800.0
# Statements are sent one after another with this pause, to each of two validators.
PAUSE_S = 0.02
# How long latencies are taken before and after.
IDLE_S = 15.0
MILLION = 1_000_000

Progress = Callable[[str], None]


def progress(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


# --- one process ----------------------------------------------------------------------------------------------------


class _Stopwatch:
    def __init__(self) -> None:
        self._clock, self._processor = time.perf_counter(), time.process_time()

    def rates(self, count: int) -> dict[str, int]:
        clock_s, processor_s = time.perf_counter() - self._clock, time.process_time() - self._processor
        return {"by_clock": round(count / clock_s), "by_processor": round(count / processor_s)}


def measure_snapshot(data: Path, config_path: Path, directory: Path) -> dict[str, Any]:
    identity = load_identity(load_validator_config(config_path))
    environment = Environment()
    store = environment.open_store(data / "ledger")
    chain = Chain.open(store)
    source = SnapshotSource(store)
    descriptor = source.describe(chain)
    if descriptor is None:
        raise RuntimeError("the ledger was made with a final checkpoint")
    target = environment.open_store(directory / "copy")
    state_root = StateMap(MemoryStore(), STATE).update(dict(genesis_state(identity.genesis))).root
    builder = SnapshotBuilder(target, [identity.policy], identity.genesis, state_root, index_keys)
    rss_before = psutil.Process().memory_info().rss
    builder.begin(descriptor)
    for hashes in source.hashes():
        builder.add_hashes(hashes)
    watch = _Stopwatch()
    for bundle in source.bundles():
        builder.add_bundle(bundle)
    entries = watch.rates(descriptor.size)
    watch = _Stopwatch()
    with ThreadPoolExecutor(1) as writer:  # as `nodes.catch_up` does
        writing: Future[None] | None = None
        for chunk in source.state():
            writes = builder.state_writes(chunk)
            if writing is not None:
                writing.result()
            writing = writer.submit(builder.write_state, writes)
    records = watch.rates(builder.records)
    watch = _Stopwatch()
    count = sum(1 for _ in source.state())
    del count
    sent = watch.rates(builder.records)
    copy = builder.finish()
    if copy.root != chain.root:
        raise RuntimeError("the copy is another ledger")
    grown_mb = (psutil.Process().memory_info().rss - rss_before) / 2**20
    source.close()
    store.close()
    target.close()
    shutil.rmtree(directory / "copy")
    return {
        "entries": descriptor.size,
        "records": builder.records,
        "entries_per_s": entries,
        "records_per_s": records,
        "records_read_for_sending_per_s": sent,
        "memory_grown_mb": round(grown_mb, 1),
    }


def measure_start(config_path: Path, log_path: Path) -> dict[str, float]:
    """Seconds from the start of the process to `started` in its log; then its memory."""
    began = time.perf_counter()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nodes.cli", "validator", "run", "--config", str(config_path)],
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
        )
    try:
        while b'"started"' not in log_path.read_bytes():
            if process.poll() is not None or time.perf_counter() - began > START_TIMEOUT_S:
                raise RuntimeError(f"the validator did not start: {log_path.read_text()[-2000:]}")
            time.sleep(0.01)
        took_s = time.perf_counter() - began
        watched = psutil.Process(process.pid)
        times = watched.cpu_times()
        memory_mb = watched.memory_info().rss / 2**20
        return {
            "seconds_to_started": round(took_s, 2),
            "processor_s": round(times.user + times.system, 2),
            "rss_mb": round(memory_mb, 1),
        }
    finally:
        process.terminate()
        process.wait(timeout=30)


# --- a network ------------------------------------------------------------------------------------------------------


async def _send(client: Client, signer: Signer, latencies_ms: list[float], enough: asyncio.Event) -> None:
    while not enough.is_set():
        statement = signer.enrol()
        began = time.perf_counter()
        results = await client.submit([statement.raw])
        if results[0].HasField("accepted"):
            latencies_ms.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE_S)


async def _latencies(processes: Processes, until: Callable[[], Any]) -> dict[str, float]:
    """Of statements that go to one validator of each authority until ``until`` returns."""
    latencies_ms: list[float] = []
    enough = asyncio.Event()
    async with Client(processes.network, "kz-kgd-1") as ours, Client(processes.network, "cn-gacc-1") as theirs:
        tasks = [
            asyncio.create_task(_send(ours, Signer(processes.network, "kz-kgd"), latencies_ms, enough)),
            asyncio.create_task(_send(theirs, Signer(processes.network, "cn-gacc"), latencies_ms, enough)),
        ]
        await until()
        enough.set()
        await asyncio.gather(*tasks)
    return {**percentiles(latencies_ms), "statements": len(latencies_ms)}


async def measure_network(processes: Processes, newcomer: str, idle_s: float) -> dict[str, Any]:
    names = [each.name for each in processes.network.validators if each.name != newcomer]
    processes.start(*names)
    complete: dict[str, Any] = {}

    async def caught_up() -> None:
        processes.start(newcomer)
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        while time.monotonic() < deadline:
            events = {str(event.get("event")): event for event in processes.events(newcomer)}
            if "snapshot_complete" in events:
                complete.update(events["snapshot_complete"])
                return
            await asyncio.sleep(0.2)
        raise RuntimeError(f"{newcomer} did not catch up: {processes.log(newcomer).read_text()[-2000:]}")

    try:
        await wait_ready(processes.network, names, timeout_s=60)
        await _latencies(processes, lambda: asyncio.sleep(2))
        before = await _latencies(processes, lambda: asyncio.sleep(idle_s))
        during = await _latencies(processes, caught_up)
        await wait_ready(processes.network, [newcomer], timeout_s=60)
        after = await _latencies(processes, lambda: asyncio.sleep(idle_s))
    finally:
        for name in list(processes.running):
            processes.kill(name)
    shown = ("size", "records", "took_s", "entries_per_s", "records_per_s")
    return {
        "accepted_ms_before": before,
        "accepted_ms_during": during,
        "accepted_ms_after": after,
        "ratio_p50": round(during["p50"] / before["p50"], 2),
        "ratio_p99": round(during["p99"] / before["p99"], 2),
        "snapshot": {name: complete[name] for name in shown if name in complete},
    }


def run(entries: int, records: int, only: Sequence[str], directory: Path) -> dict[str, Any]:
    directory.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": describe_machine(), "load_average": os.getloadavg()}
    network = init_network(directory / "network", origin=ORIGIN, authorities=AUTHORITIES)
    first, *others = network.validators
    data = make_long_ledger(network, first.name, entries, records, progress)
    if "snapshot" in only:
        progress("snapshot, one process")
        report["snapshot"] = measure_snapshot(data, first.config, directory)
    if "start" in only:
        progress("start")
        report["start_of_a_million" if entries >= MILLION else "start"] = {
            "entries": entries,
            **measure_start(first.config, directory / "start.log"),
        }
        short = init_network(directory / "short", origin=ORIGIN, authorities=AUTHORITIES)
        make_long_ledger(short, first.name, entries // 10, records // 10, progress)
        report["start_of_a_tenth"] = measure_start(short.validators[0].config, directory / "short.log")
        shutil.rmtree(directory / "short")
    if "network" in only:
        progress("network")
        for each in others[:-1]:
            copy_ledger(network, data, each.name)
        report["network"] = asyncio.run(measure_network(Processes(network), others[-1].name, IDLE_S))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=MILLION)
    parser.add_argument("--records", type=int, default=MILLION)
    parser.add_argument("--only", choices=STAGES, action="append")
    parser.add_argument("--directory", type=Path, help="default: a temporary one, removed afterwards")
    arguments = parser.parse_args()
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="comity-catching-up-"))
    try:
        report = run(arguments.entries, arguments.records, arguments.only or list(STAGES), directory)
    finally:
        if arguments.directory is None:
            shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

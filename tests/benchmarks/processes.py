"""A whole network as real processes: brought up, watched (CPU time, memory), and stopped by process id.

Each node logs into its own file in the run's directory. A node that ends while it should run fails the benchmark with
the end of its log: a figure of a network that lost a node is no figure.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from nodes.network import Network, init_network
from tests.benchmarks.machine import REPOSITORY
from tests.benchmarks.raw_http import HttpConnection

ORIGIN = "comity.example/benchmark"
AUTHORITIES = (("kz-kgd", "KZ"), ("cn-gacc", "CN"))
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
LOG_TAIL_CHARACTERS = 2000


class NodeFailed(Exception):
    """A node did not come up, or ended while it should run; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used by each node so far, and by this process, the load generator."""

    at_s: float
    cpu_s: Mapping[str, float]


class RunningNetwork:
    """Validators of two authorities and a gateway of each, as subprocesses of this one."""

    def __init__(
        self,
        directory: Path,
        parameters: Mapping[str, int | str] | None = None,
        *,
        validators: int = 2,
        majority: bool = False,
    ) -> None:
        """`validators`: of each authority. `majority`: whether more than half of them have to cosign, not any one."""
        self.directory = directory
        self.network: Network = init_network(
            directory / "network",
            origin=ORIGIN,
            authorities=AUTHORITIES,
            parameters=parameters,
            validators_per_authority=validators,
            majority=majority,
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, IO[bytes]] = {}

    @property
    def validator_names(self) -> list[str]:
        return [validator.name for validator in self.network.validators]

    async def start(self) -> None:
        """Start every node and wait until each says that it is ready. Raises NodeFailed."""
        for validator in self.network.validators:
            self._spawn(validator.name, "validator", validator.config)
        for gateway in self.network.gateways:
            self._spawn(gateway.name, "gateway", gateway.config)
        deadline = time.monotonic() + READY_TIMEOUT_S
        addresses = {validator.name: validator.http_address for validator in self.network.validators}
        addresses |= {gateway.name: gateway.http_address for gateway in self.network.gateways}
        for name, address in addresses.items():
            while not await _is_ready(address.host, address.port):
                self.check()
                if time.monotonic() > deadline:
                    raise NodeFailed(f"{name} was not ready after {READY_TIMEOUT_S:.0f} s: {self._tail(name)}")
                await asyncio.sleep(0.1)

    def _spawn(self, name: str, kind: str, config: Path) -> None:
        log = (self.directory / f"{name}.log").open("wb")
        self._logs[name] = log
        # Its own session: an interrupt at the terminal reaches the benchmark alone, which then stops its nodes.
        self._processes[name] = subprocess.Popen(
            [*_launcher(name), "-m", "nodes.cli", kind, "run", "--config", str(config)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _tail(self, name: str) -> str:
        text = (self.directory / f"{name}.log").read_text(errors="replace")
        return text[-LOG_TAIL_CHARACTERS:] or "(its log is empty)"

    def check(self) -> None:
        """Raises NodeFailed if any node has ended."""
        for name, process in self._processes.items():
            status = process.poll()
            if status is not None:
                raise NodeFailed(f"{name} ended with status {status}: {self._tail(name)}")

    def usage(self) -> Usage:
        self.check()
        cpu: dict[str, float] = {}
        for name, process in self._processes.items():
            times = psutil.Process(process.pid).cpu_times()
            cpu[name] = times.user + times.system
        own = psutil.Process().cpu_times()
        cpu["load generator"] = own.user + own.system
        return Usage(time.perf_counter(), cpu)

    def rss_mb(self) -> dict[str, float]:
        return {
            name: round(psutil.Process(process.pid).memory_info().rss / 2**20, 1)
            for name, process in self._processes.items()
        }

    def process_id(self, name: str) -> int:
        return self._processes[name].pid

    def stop(self) -> None:
        """Ask every node to end, wait, and kill what did not."""
        # Gateways first: a validator that waits for its streams to end need not.
        for name in reversed(list(self._processes)):
            if self._processes[name].poll() is None:
                self._processes[name].send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for name, process in self._processes.items():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                sys.stderr.write(f"{name} did not stop within {STOP_TIMEOUT_S:.0f} s: killed\n")
                process.kill()
                process.wait()
        for log in self._logs.values():
            log.close()
        self._processes.clear()


def _launcher(name: str) -> list[str]:
    """The interpreter; under cProfile for the node that COMITY_BENCH_PROFILE names, as `name=file`."""
    wanted, _, output = os.environ.get("COMITY_BENCH_PROFILE", "").partition("=")
    return [sys.executable, "-m", "cProfile", "-o", output] if wanted == name and output else [sys.executable]


async def _is_ready(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            connection = await HttpConnection.open(host, port)
            try:
                return (await connection.request("GET", "/readyz")).status == 200
            finally:
                await connection.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False


def cpu_us_per_statement(before: Usage, after: Usage, statements: int) -> dict[str, float]:
    """CPU time by process, in microseconds for each statement made final between the two readings."""
    return {
        name: round((after.cpu_s[name] - before.cpu_s.get(name, 0.0)) * 1e6 / max(1, statements), 1)
        for name in after.cpu_s
    }

"""Proofs and tiles from one gateway: ``python -m tests.benchmarks.serving [--entries N] [--requests N]``.

A ledger of whole tiles and more (`long_ledger`) in the folders of three real validators, one real gateway of one worker
in front of them, and so many kept-alive connections on each of which one request follows the other:

- `proofs_first`: proofs of statements anywhere in the log, each asked for once;
- `proofs_again`: the same, which the gateway has given before;
- `tiles_full`, `tiles_partial`: tiles of hashes, the latter of every width and ever another one;
- `bundles`: the entries of full tiles, plain, as a mirror or an auditor reads them.

Every tile and bundle is compared with what the ledger has, every proof with the statement's index. By the clock,
requests a second and the time of an answer; by the processor, microseconds a request of the gateway, of all validators
and of this load generator. `gateway_bound_per_s` is what the gateway would answer had it a core of its own: on a
machine that does other things meanwhile it says more than the clock. The bare cost of a signature check beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from api.tokens import sign_token
from ledger.algorithms import PrivateKey
from ledger.chain import Chain
from ledger.merkle import TILE_WIDTH, leaf_hash
from ledger.tiles import ENTRIES, tile_path
from nodes.environment import Environment
from nodes.network import init_network
from tests.benchmarks.long_ledger import copy_ledger, make_long_ledger
from tests.benchmarks.machine import describe_commit, describe_machine, percentiles
from tests.benchmarks.raw_http import HttpConnection
from tests.benchmarks.signatures import bare_check_us
from tests.nodes.network import AUTHORITIES, ORIGIN, Processes, start_gateway, until, wait_ready

AUTHORITY = "kz-kgd"
ENTRIES_MADE = 60_000
REQUESTS = 8_000
CONNECTIONS = 16
# Asked before anything is measured: connections, caches of the interpreter.
WARM_UP = 500
STATEMENT_START = b"\xd2\x84"


class WrongAnswer(Exception):
    """The gateway did not answer what the ledger has: a figure of that is no figure."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and with what the answer has to begin or, if `whole`, what it has to be."""

    target: str
    expected: bytes
    whole: bool


class _Served:
    """The gateway's and the validators' processes, and what they have used of a processor."""

    def __init__(self, gateway: psutil.Process, validators: Sequence[psutil.Process]) -> None:
        self._gateway, self._validators = gateway, validators

    def used_s(self) -> tuple[float, float, float]:
        return (
            _processor_s(self._gateway),
            sum(map(_processor_s, self._validators)),
            _processor_s(psutil.Process()),
        )

    def gateway_rss_mb(self) -> float:
        return round(float(self._gateway.memory_info().rss) / 2**20, 1)


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _questions(chain: Chain, requests: int) -> dict[str, list[Question]]:
    """What each stage asks. A proof is known by its index, everything else to the last byte."""
    chooser = random.Random(7)
    indices = chooser.sample(range(1, chain.size), min(chain.size - 1, 2 * requests))
    proofs: list[Question] = []
    for index in indices:
        raw = chain.entry(index)
        if raw.startswith(STATEMENT_START) and len(proofs) < requests:
            head = b"c2sp.org/tlog-proof@v1\nindex %d\n" % index
            proofs.append(Question(f"/v1/statements/{leaf_hash(raw).hex()}/proof", head, False))
    full = chain.size // TILE_WIDTH

    def tile(level: int, number: int, width: int) -> Question:
        path = tile_path(level, number, width)
        return Question(f"/log/{path}", chain.tile(path), True)

    hashes = [tile(0, number, TILE_WIDTH) for number in range(full)]
    bundles = [tile(ENTRIES, number, TILE_WIDTH) for number in range(full)]
    partial = [tile(0, chooser.randrange(full), width) for width in range(1, TILE_WIDTH)]
    return {
        "proofs_first": proofs,
        "proofs_again": proofs,
        "tiles_full": [hashes[number % len(hashes)] for number in range(requests)],
        "tiles_partial": [partial[number % len(partial)] for number in range(requests)],
        "bundles": [bundles[number % len(bundles)] for number in range(requests)],
    }


async def _ask_all(
    host: str, port: int, questions: Sequence[Question], headers: str, connections: int
) -> tuple[list[float], float]:
    """Milliseconds of each answer, and seconds of all. WrongAnswer for the first that is not right."""
    latencies_ms: list[float] = []
    waiting = iter(questions)

    async def one() -> None:
        connection = await HttpConnection.open(host, port)
        try:
            for question in waiting:
                started = time.perf_counter()
                answer = await connection.request("GET", question.target, b"", headers)
                latencies_ms.append((time.perf_counter() - started) * 1e3)
                body = answer.body if question.whole else answer.body[: len(question.expected)]
                if answer.status != 200 or body != question.expected:
                    raise WrongAnswer(f"{question.target}: {answer.status} {answer.body[:200]!r}")
        finally:
            await connection.close()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one())
    return latencies_ms, time.perf_counter() - started


async def _measure(
    host: str,
    port: int,
    stages: dict[str, list[Question]],
    headers: Callable[[], str],
    connections: int,
    served: _Served,
) -> dict[str, Any]:
    report: dict[str, Any] = {}
    warm = stages["tiles_full"][:WARM_UP]
    await _ask_all(host, port, warm, headers(), connections)
    for name, questions in stages.items():
        bare_us = bare_check_us()
        before = served.used_s()
        latencies_ms, took_s = await _ask_all(host, port, questions, headers(), connections)
        gateway, validators, generator = (
            (now - then) / len(questions) * 1e6 for now, then in zip(served.used_s(), before, strict=True)
        )
        bare_us = (bare_us + bare_check_us()) / 2
        report[name] = {
            "requests": len(questions),
            "per_s": round(len(questions) / took_s),
            "ms": percentiles(latencies_ms),
            "gateway_us": round(gateway, 1),
            "validators_us": round(validators, 1),
            "load_generator_us": round(generator, 1),
            "bare_check_us": round(bare_us, 1),
            "gateway_to_bare_check": round(gateway / bare_us, 2),
            "gateway_bound_per_s": round(1e6 / max(gateway, 0.1)),
            "gateway_rss_mb": served.gateway_rss_mb(),
        }
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {name}: {report[name]['per_s']} a second\n")
    return report


async def measure_serving(directory: Path, entries: int, requests: int, connections: int) -> dict[str, Any]:
    """See the module. The ledger is made in `directory`."""
    network = init_network(directory / "network", origin=ORIGIN, authorities=AUTHORITIES)
    first, *others = network.validators
    data = make_long_ledger(network, first.name, entries, TILE_WIDTH, lambda text: None, every_block_final=True)
    for each in others[:-1]:  # three of four: a majority, and both authorities
        copy_ledger(network, data, each.name)
    store = Environment().open_store(data / "ledger")
    chain = Chain.open(store)
    stages, size = _questions(chain, requests), chain.size
    store.close()
    authority = next(each for each in network.authorities if each.name == AUTHORITY)
    registrar = PrivateKey.from_pem(authority.key("registrar").read_bytes())

    def headers() -> str:
        token = sign_token(
            registrar, issuer=f"{AUTHORITY}/registrar", origin=ORIGIN, now_s=int(time.time()), authority=AUTHORITY
        )
        return f"Authorization: Bearer {token}\r\nAccept-Encoding: identity\r\n"

    processes = Processes(network)
    names = [each.name for each in network.validators[:-1]]
    gateway = next(each for each in network.gateways if each.authority == AUTHORITY)
    host, port = gateway.http_address.host, gateway.http_address.port
    processes.start(*names)
    process = start_gateway(gateway.config)
    try:
        await wait_ready(network, names)

        async def follows() -> bool:
            try:
                connection = await HttpConnection.open(host, port)
            except OSError:
                return False
            try:
                answer = await connection.request("GET", "/log/checkpoint")
                return answer.status == 200 and int(answer.body.split(b"\n")[1]) >= size
            finally:
                await connection.close()

        await until(follows, what=f"{gateway.name} serving {size} entries")
        validators = [psutil.Process(each.pid) for each in processes.running.values()]
        served = _Served(psutil.Process(process.pid), validators)
        return {"entries": size, **await _measure(host, port, stages, headers, connections, served)}
    finally:
        process.terminate()
        process.wait(timeout=30)
        for name in list(processes.running):
            processes.kill(name)


def run(entries: int, requests: int, connections: int) -> dict[str, Any]:
    machine, commit = describe_machine(), describe_commit()
    with tempfile.TemporaryDirectory(prefix="comity-bench-serving-") as name:
        report = asyncio.run(measure_serving(Path(name), entries, requests, connections))
    return {"machine": machine, "commit": commit, "connections": connections, **report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=ENTRIES_MADE)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each kind")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    arguments = parser.parse_args()
    report = run(arguments.entries, arguments.requests, arguments.connections)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

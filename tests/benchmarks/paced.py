"""Load at a fixed rate over HTTP, open loop: requests go when they are due, whether or not earlier ones were answered.

Latency counts from the instant at which a request was *due*, so a stall of the network, of a gateway or of the load
generator itself is seen in every request that it delays.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nodes.config import Address
from tests.benchmarks.raw_http import Answer, HttpConnection

REQUEST_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    address: Address
    method: str
    target: str
    body: bytes = b""
    headers: str = ""


@dataclass
class Latencies:
    """`milliseconds` and `outcomes` are without the warm-up, `answered` is of everything that was sent."""

    milliseconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)


class _Pool:
    """Kept-alive connections to each gateway; a new one is opened only when all are busy."""

    def __init__(self) -> None:
        self._free: dict[Address, list[HttpConnection]] = {}

    async def request(self, request: Request) -> Answer:
        free = self._free.setdefault(request.address, [])
        connection = free.pop() if free else await HttpConnection.open(request.address.host, request.address.port)
        try:
            answer = await connection.request(request.method, request.target, request.body, request.headers)
        except BaseException:
            await connection.close()
            raise
        free.append(connection)
        return answer

    async def close(self) -> None:
        for connections in self._free.values():
            for connection in connections:
                await connection.close()


async def run_paced(
    requests: Sequence[Request], per_s: float, judge: Callable[[Answer], str], wanted: str, warm_up: int = 0
) -> Latencies:
    """Send the requests at `per_s`. Latencies are of those that `judge` calls `wanted`, after the warm-up."""
    result = Latencies()
    pool = _Pool()

    async def one(number: int, request: Request, due_s: float) -> None:
        try:
            answer = await asyncio.wait_for(pool.request(request), REQUEST_TIMEOUT_S)
            outcome = judge(answer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            outcome = f"failed: {type(error).__name__}"
        result.answered[outcome] += 1
        if number < warm_up:
            return
        result.outcomes[outcome] += 1
        if outcome == wanted:
            result.milliseconds.append((time.perf_counter() - due_s) * 1e3)

    started = time.perf_counter() + 0.05
    try:
        async with asyncio.TaskGroup() as group:
            for number, request in enumerate(requests):
                due_s = started + number / per_s
                delay = due_s - time.perf_counter()
                if delay > 0:
                    await asyncio.sleep(delay)
                group.create_task(one(number, request, due_s))
    finally:
        await pool.close()
    return result

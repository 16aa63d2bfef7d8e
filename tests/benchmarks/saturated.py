"""Load over the gateways' gRPC streams: as much as they take, within a window of unanswered statements.

Closed loop, and as devices do it: a lane sends its next statement when the one before it was answered as final, and
sends the same one again after a while when the answer says so. Anything else than *final* is counted by what was
answered. The generator shares the machine with what it measures, so its work for a statement is one hash and one entry
of a dictionary.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc.aio

from api.proto import gateway_pb2, gateway_pb2_grpc
from ledger.merkle import leaf_hash
from nodes.config import Address

STATEMENTS_PER_MESSAGE = 50
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
ANSWER_TIMEOUT_S = 60.0
# Less than a full message is held back for so long, once.
GATHER_S = 0.01


class LoadFailed(Exception):
    """The load could not be sent, or was not answered."""


@dataclass
class StreamTally:
    """What came back, and when: `finals` holds (seconds, how many) for each message of answers."""

    finals: list[tuple[float, int]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def final(self) -> int:
        return sum(count for _, count in self.finals)

    def between(self, start_s: float, end_s: float) -> int:
        return sum(count for at_s, count in self.finals if start_s <= at_s < end_s)


class _Lane:
    """Statements in their order; the last of `left` is the next to be answered."""

    __slots__ = ("left",)

    def __init__(self, statements: Sequence[bytes]) -> None:
        self.left = list(reversed(statements))


class _Stream:
    """One Submit stream with at most `window` statements unanswered."""

    def __init__(self, lanes: Sequence[Sequence[bytes]], window: int, tally: StreamTally) -> None:
        self._ready = deque(_Lane(statements) for statements in lanes if statements)
        self._left = sum(map(len, lanes))
        self._window = window
        self._sent: dict[bytes, _Lane] = {}
        self._tally = tally
        self._wake = asyncio.Event()

    def _sendable(self) -> int:
        return min(STATEMENTS_PER_MESSAGE, self._window - len(self._sent), len(self._ready))

    async def requests(self) -> AsyncIterator[gateway_pb2.SubmitRequest]:
        while self._left:
            if not self._sendable():
                self._wake.clear()
                await self._wake.wait()
                continue
            if self._sendable() < STATEMENTS_PER_MESSAGE and self._sent:
                # Small messages cost each process on the way as much as full ones.
                await asyncio.sleep(GATHER_S)
            batch = []
            for _ in range(self._sendable()):
                lane = self._ready.popleft()
                raw = lane.left[-1]
                self._sent[leaf_hash(raw)] = lane
                batch.append(raw)
            yield gateway_pb2.SubmitRequest(statements=batch, wait=gateway_pb2.WAIT_FINAL)

    def take(self, reply: gateway_pb2.SubmitReply) -> bool:
        """Count the answers; True when nothing is left to be answered."""
        final = 0
        for status in reply.statuses:
            lane = self._sent.pop(status.id, None)
            if lane is None:
                self._tally.outcomes["answered twice"] += 1
                continue
            if status.state == gateway_pb2.STATE_FINAL:
                final += 1
            else:
                name = gateway_pb2.State.Name(status.state)
                self._tally.outcomes[f"{name} {status.outcome or status.problem}".strip()] += 1
                if status.state == gateway_pb2.STATE_UNAVAILABLE:
                    pause_s = max(status.retry_after_ms, 1) / 1000
                    asyncio.get_running_loop().call_later(pause_s, self._again, lane)
                    continue
            self._left -= 1
            lane.left.pop()
            if lane.left:
                self._ready.append(lane)
        if final:
            self._tally.finals.append((time.perf_counter(), final))
            self._tally.outcomes["STATE_FINAL"] += final
        self._wake.set()
        return self._left == 0

    def _again(self, lane: _Lane) -> None:
        self._ready.appendleft(lane)
        self._wake.set()


async def drive(address: Address, lanes: Sequence[Sequence[bytes]], window: int, tally: StreamTally) -> None:
    """Send all the lanes' statements to one gateway and wait for their answers. Raises LoadFailed."""
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    stream = _Stream(lanes, window, tally)
    async with grpc.aio.insecure_channel(str(address), options=options) as channel:
        stub = gateway_pb2_grpc.GatewayStub(channel)
        call = stub.Submit(stream.requests())
        try:
            while True:
                reply = await asyncio.wait_for(call.read(), ANSWER_TIMEOUT_S)
                if reply is grpc.aio.EOF:
                    raise LoadFailed(f"{address} ended the stream early: {dict(tally.outcomes)}")
                if stream.take(reply):
                    return
        except TimeoutError as error:
            raise LoadFailed(
                f"{address} did not answer for {ANSWER_TIMEOUT_S:.0f} s: {dict(tally.outcomes)}"
            ) from error
        except grpc.aio.AioRpcError as error:
            raise LoadFailed(f"{address} broke the stream: {error.code().name}: {error.details()}") from error
        finally:
            call.cancel()


async def drive_all(addresses: Sequence[Address], lanes: Sequence[Sequence[bytes]], window: int) -> StreamTally:
    """Share the lanes out among the gateways, in turn, and wait for all answers. `window` is of all together."""
    tally = StreamTally()
    async with asyncio.TaskGroup() as group:
        for number, address in enumerate(addresses):
            share = lanes[number :: len(addresses)]
            group.create_task(drive(address, share, window // len(addresses), tally))
    return tally

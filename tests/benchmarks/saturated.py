"""Load over the gateways' gRPC streams: as much as they take, within a window of unanswered statements.

Closed loop: the next statements go when earlier ones were answered as final. The workload lays statements out so that
two of one movement are further apart than the window, so each finds the one before it executed. Answers other than
*final* are counted by what they say.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc.aio

from api.proto import gateway_pb2, gateway_pb2_grpc
from nodes.config import Address

STATEMENTS_PER_MESSAGE = 50
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
ANSWER_TIMEOUT_S = 60.0


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


class _Stream:
    """One Submit stream with at most `window` statements unanswered."""

    def __init__(self, statements: Sequence[bytes], window: int, tally: StreamTally) -> None:
        self._waiting = deque(statements)
        self._window = window
        self._unanswered = 0
        self._left = len(statements)
        self._tally = tally
        self._room = asyncio.Event()
        self._room.set()

    async def requests(self) -> AsyncIterator[gateway_pb2.SubmitRequest]:
        while self._left:
            while self._waiting and self._unanswered < self._window:
                count = min(STATEMENTS_PER_MESSAGE, len(self._waiting), self._window - self._unanswered)
                batch = [self._waiting.popleft() for _ in range(count)]
                self._unanswered += count
                yield gateway_pb2.SubmitRequest(statements=batch, wait=gateway_pb2.WAIT_FINAL)
            self._room.clear()
            await self._room.wait()

    def take(self, reply: gateway_pb2.SubmitReply) -> bool:
        """Count the answers; True when nothing is left to be answered."""
        final = 0
        for status in reply.statuses:
            if status.state == gateway_pb2.STATE_FINAL:
                final += 1
            else:
                name = gateway_pb2.State.Name(status.state)
                self._tally.outcomes[f"{name} {status.outcome or status.problem}".strip()] += 1
        if final:
            self._tally.finals.append((time.perf_counter(), final))
            self._tally.outcomes["STATE_FINAL"] += final
        answered = len(reply.statuses)
        self._unanswered -= answered
        self._left -= answered
        # Wait until a whole message fits: small ones cost each process on the way as much as a full one.
        if self._window - self._unanswered >= STATEMENTS_PER_MESSAGE or self._unanswered == 0:
            self._room.set()
        return self._left == 0


async def drive(address: Address, statements: Sequence[bytes], window: int, tally: StreamTally) -> None:
    """Send all the statements to one gateway and wait for their answers. Raises LoadFailed."""
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    stream = _Stream(statements, window, tally)
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


async def drive_all(addresses: Sequence[Address], statements: Sequence[bytes], window: int) -> StreamTally:
    """Share the statements out among the gateways, in turn, and wait for all answers. `window` is of all together."""
    tally = StreamTally()
    shares = [statements[number :: len(addresses)] for number in range(len(addresses))]
    async with asyncio.TaskGroup() as group:
        for address, share in zip(addresses, shares, strict=True):
            group.create_task(drive(address, share, window // len(addresses), tally))
    return tally

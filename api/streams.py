"""Statements on their way from a gateway to its authority's validators, over one stream to each.

Promises: every submitted statement is answered exactly once, within `timeout_s`; a statement whose stream broke is sent
again through another validator, which is safe because the ledger takes a statement once, whoever brings it; the same
statement submitted twice at the same time travels once and answers both.

Statements go to the best stream (ready, then the leader itself, then the order of the configuration). What queues up
while a message is being written travels in the next one: batches without a wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import count
from typing import Any

import grpc.aio
import structlog

from api.answers import DEFAULT_RETRY_AFTER_MS, Answer, Unavailable, answer_of
from api.lanes import Backoff, Callback, InFlight, Lane, task_is_cancelled
from api.proto import validator_pb2 as wire

BATCH_MAX_STATEMENTS = 256
BATCH_MAX_BYTES = 512 * 1024
CONNECT_TIMEOUT_S = 2.0
STREAMS_DOWN_PATIENCE_S = 2.0
SWEEP_INTERVAL_S = 0.1

# grpc's ways of saying that a call ended while it was being used.
BROKEN_CALL = (grpc.aio.UsageError, asyncio.InvalidStateError)

log = structlog.get_logger("api.validators")


class SubmitStreams:
    """See the module. `missing_authorities`: those that no validator reaches; `opened`: a stream is open again."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        in_flight_max: int,
        in_flight_max_bytes: int,
        timeout_s: float,
        missing_authorities: Callable[[], tuple[str, ...]],
        opened: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._in_flight_max = in_flight_max
        self._in_flight_max_bytes = in_flight_max_bytes
        self._timeout_s = timeout_s
        self._missing_authorities = missing_authorities
        self._opened = opened
        self.in_flight_bytes = 0
        self.resent = 0
        self._by_id: dict[bytes, InFlight] = {}
        self._by_deadline: deque[InFlight] = deque()
        self._orphans: deque[InFlight] = deque()
        self._tags = count(1)
        self._closing = False

    def tasks(self) -> Iterator[tuple[Coroutine[Any, Any, None], str]]:
        """What has to run, each under a name. Statements submitted meanwhile wait for the first stream."""
        for lane in self._lanes:
            yield self._run_stream(lane), f"submit {lane.name}"
        yield self._run_sweeper(), "sweeper"

    def closing(self) -> None:
        """From now on nothing is taken, and nothing sent again."""
        self._closing = True

    def close(self) -> None:
        """Answers what is still on the way as unavailable."""
        for item in list(self._by_id.values()):
            self._answer(item, Unavailable("shutting_down", "this gateway is stopping", DEFAULT_RETRY_AFTER_MS))

    @property
    def in_flight(self) -> int:
        return len(self._by_id)

    def submit(self, statement_id: bytes, raw: bytes, callback: Callback) -> None:
        """Sends one statement on its way; `callback` is called exactly once, from the event loop."""
        item = self._by_id.get(statement_id)
        if item is not None:
            item.waiters.append(callback)
            return
        if self._closing:
            callback(Unavailable("shutting_down", "this gateway is stopping", DEFAULT_RETRY_AFTER_MS))
            return
        if len(self._by_id) >= self._in_flight_max:
            detail = f"{self._in_flight_max} statements are waiting for their answer"
            callback(Unavailable("overloaded", detail, DEFAULT_RETRY_AFTER_MS))
            return
        if self.in_flight_bytes + len(raw) > self._in_flight_max_bytes:
            detail = f"{self.in_flight_bytes} bytes of statements are waiting for their answer"
            callback(Unavailable("overloaded", detail, DEFAULT_RETRY_AFTER_MS))
            return
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        item = InFlight(next(self._tags), statement_id, raw, deadline_s, [callback])
        self._by_id[statement_id] = item
        self.in_flight_bytes += len(raw)
        self._by_deadline.append(item)
        self._dispatch(item)

    def _dispatch(self, item: InFlight) -> None:
        """Queues a statement for the best stream that is open, or keeps it until there is one."""
        best = self._best_stream(item.tried)
        if best is None:
            item.orphaned_since_s = asyncio.get_running_loop().time()
            self._orphans.append(item)
            return
        item.tried = (*item.tried, best.name)
        best.in_flight[item.tag] = item
        best.queue.append(item)
        best.wake.set()

    def _best_stream(self, tried: tuple[str, ...]) -> Lane | None:
        """The best open stream, an untried one if there is any."""
        open_lanes = [(position, lane) for position, lane in enumerate(self._lanes) if lane.up]
        if not open_lanes:
            return None
        return min(open_lanes, key=lambda pair: (pair[1].name in tried, *pair[1].rank(pair[0])))[1]

    def _answer(self, item: InFlight, answer: Answer) -> None:
        if item.answered:
            return  # and by now the same statement may be on its way anew
        item.answered = True
        del self._by_id[item.id]
        self.in_flight_bytes -= len(item.raw)
        item.raw = b""
        waiters, item.waiters = item.waiters, []
        for waiter in waiters:
            waiter(answer)

    def _take_result(self, lane: Lane, result: wire.Result) -> None:
        item = lane.in_flight.pop(result.tag, None)
        if item is None or item.answered:
            return
        answer = answer_of(result)
        if isinstance(answer, Unavailable) and not answer.missing_authorities and answer.code != "overloaded":
            # This one reaches no order; perhaps another does. Each validator is asked once.
            if any(other.up and other.name not in item.tried for other in self._lanes):
                self.resent += 1
                self._dispatch(item)
                return
            missing = self._missing_authorities()
            if missing:
                detail = f"waiting for {', '.join(missing)}: nothing becomes committed until it is back"
                answer = Unavailable("authority_unreachable", detail, answer.retry_after_ms, missing)
        self._answer(item, answer)

    # ---- one stream

    async def _run_stream(self, lane: Lane) -> None:
        backoff = Backoff()
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):  # wait_for may lose a cancellation: Python issue 86296
                    await lane.channel.channel_ready()
                call = lane.stub.Submit()
                lane.submit_call = call
                self._stream_opened(lane)
                await self._pump(lane, call, backoff)
                reason = "ended by the validator"
            except TimeoutError:
                reason = f"no connection within {CONNECT_TIMEOUT_S} s"
            except grpc.aio.AioRpcError as error:
                reason = f"{error.code().name.lower()}: {error.details()}"
            except BROKEN_CALL as error:
                reason = str(error)
            except asyncio.CancelledError:
                if task_is_cancelled():
                    self._stream_closed(lane, "closing")
                    raise
                # grpc raises this as well when a call was cancelled from elsewhere, as the health check does.
                reason = "cancelled"
            self._stream_closed(lane, reason)
            await asyncio.sleep(backoff.next_s())

    async def _pump(self, lane: Lane, call: Any, backoff: Backoff) -> None:
        """Writes and reads until either ends."""
        writer = asyncio.create_task(self._write(lane, call))
        reader = asyncio.create_task(self._read(lane, call, backoff))
        try:
            done, _ = await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (writer, reader):
                task.cancel()
            call.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)

    async def _write(self, lane: Lane, call: Any) -> None:
        queue = lane.queue
        item_type = wire.SubmitRequest.Item
        while True:
            await lane.wake.wait()
            lane.wake.clear()
            while queue:
                items: list[wire.SubmitRequest.Item] = []
                size_bytes = 0
                while queue and len(items) < BATCH_MAX_STATEMENTS and size_bytes < BATCH_MAX_BYTES:
                    item = queue.popleft()
                    if not item.answered:
                        items.append(item_type(tag=item.tag, statement=item.raw))
                        size_bytes += len(item.raw)
                if items:
                    await call.write(wire.SubmitRequest(items=items))

    async def _read(self, lane: Lane, call: Any, backoff: Backoff) -> None:
        async for reply in call:
            backoff.reset()
            for result in reply.results:
                self._take_result(lane, result)

    def _stream_opened(self, lane: Lane) -> None:
        lane.up = True
        log.info("validator_stream_opened", validator=lane.name)
        self._opened()
        orphans, self._orphans = self._orphans, deque()
        for item in orphans:
            if not item.answered:
                item.tried = ()
                self._dispatch(item)

    def _stream_closed(self, lane: Lane, reason: str) -> None:
        if lane.up and not self._closing:
            log.warning("validator_stream_closed", validator=lane.name, reason=reason, in_flight=len(lane.in_flight))
        lane.up = False
        lane.submit_call = None
        lane.queue.clear()
        moved, lane.in_flight = lane.in_flight, {}
        if self._closing:
            return
        for item in moved.values():
            if not item.answered:
                self.resent += 1
                self._dispatch(item)

    async def _run_sweeper(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            now_s = loop.time()
            while self._by_deadline and (self._by_deadline[0].deadline_s <= now_s or self._by_deadline[0].answered):
                item = self._by_deadline.popleft()
                if not item.answered:
                    self._answer(item, self._out_of_time(f"no answer within {self._timeout_s:g} s"))
            while self._orphans:
                oldest = self._orphans[0]
                if not oldest.answered and now_s - oldest.orphaned_since_s < STREAMS_DOWN_PATIENCE_S:
                    break
                item = self._orphans.popleft()
                if not item.answered:
                    detail = "none of this authority's validators can be reached"
                    self._answer(item, Unavailable("validators_unreachable", detail, DEFAULT_RETRY_AFTER_MS))

    def _out_of_time(self, detail: str) -> Unavailable:
        missing = self._missing_authorities()
        if missing:
            detail = f"waiting for {', '.join(missing)}: nothing becomes committed until it is back"
            return Unavailable("authority_unreachable", detail, DEFAULT_RETRY_AFTER_MS, missing)
        return Unavailable("not_ordered_in_time", detail, DEFAULT_RETRY_AFTER_MS)

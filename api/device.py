"""The gateway's gRPC service: for devices and for high volume.

Promises: every statement that comes in on a submit stream is answered, in batches, by id; one that was to be answered
as committed is answered once more when it is final. A stream that has too many statements unanswered, or not final yet,
or answers not fetched, is not read from until there are fewer: back-pressure reaches the sender through HTTP/2.

Submitting needs no token, since a statement carries its own signature; status and events do, as over HTTP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import grpc.aio

from api.answers import Accepted, Answer, Refused, Rejected, Unavailable, problem_of
from api.core import Gateway
from api.finality import Waiting
from api.problems import Problem
from api.proto import gateway_pb2 as wire
from api.proto import gateway_pb2_grpc as service

REPLY_MAX_STATUSES = 512
REQUEST_MAX_STATEMENTS = 1_024
TAKE_AT_ONCE_STATEMENTS = 256
MESSAGE_MAX_BYTES = 4 * 1024 * 1024
HALF_CLOSED_PATIENCE_S = 30.0

STATUS_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    # Not RESOURCE_EXHAUSTED, which clients take for "again, later".
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class SubmitSession:
    """One submit stream: what came in, what is still owed, what waits to be written."""

    def __init__(self, gateway: Gateway, unanswered_max: int) -> None:
        self._gateway = gateway
        self._unanswered_max = unanswered_max
        self._outbox: deque[wire.StatementStatus] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._unanswered = 0
        self._finals: dict[int, Waiting] = {}
        self._serial = 0
        self._input_ended = False
        self._closed = False

    async def take(self, request: wire.SubmitRequest) -> None:
        """Takes in one message, waiting for room first and, where it is long, on the way."""
        until_final = request.wait == wire.WAIT_FINAL
        total = len(request.statements)
        too_many = f"message holds too many statements: expected at most {REQUEST_MAX_STATEMENTS}, got {total}"
        for position, raw in enumerate(request.statements):
            if position % TAKE_AT_ONCE_STATEMENTS == 0:
                await self._room_for_more()
            if position >= REQUEST_MAX_STATEMENTS:
                self._push(_refusal(self._gateway.id_of(raw), Problem("too_many", too_many)))
                continue
            try:
                signed = self._gateway.signed(raw)
                await self._gateway.require(signed)
            except Problem as problem:
                self._push(_refusal(self._gateway.id_of(raw), problem))
                continue
            self._unanswered += 1
            self._gateway.pool.streams.submit(signed.id, raw, partial(self._answered, signed.id, until_final))

    async def _room_for_more(self) -> None:
        """Lets others run, then waits until little enough is owed."""
        await asyncio.sleep(0)
        self._measure_room()
        await self._room.wait()

    def _measure_room(self) -> None:
        """A caller that sends without reading is not read from either: what it has not fetched counts as well.

        So does what is committed and not final: each is remembered until it is answered for the second time.
        """
        if max(self._unanswered, len(self._finals), len(self._outbox)) < self._unanswered_max:
            self._room.set()
        else:
            self._room.clear()

    def end_input(self) -> None:
        self._input_ended = True
        self._wake.set()

    def close(self) -> None:
        """The caller is gone: whoever still waits, waits no more."""
        self._closed = True
        for waiting in self._finals.values():
            waiting.cancel()
        self._finals.clear()

    def _answered(self, statement_id: bytes, until_final: bool, answer: Answer) -> None:
        self._gateway.metrics.count_answer(answer)
        if self._closed:
            return
        if not isinstance(answer, Accepted):
            self._unanswered -= 1
            self._push(_status(statement_id, answer))
            return
        final = answer.index < self._gateway.pool.finality.size
        if final or not until_final:
            self._unanswered -= 1
            self._push(_accepted(statement_id, answer, final))
        if not final:
            self._serial += 1
            serial = self._serial
            became_final = partial(self._became_final, serial, statement_id, answer, until_final)
            self._finals[serial] = self._gateway.pool.finality.when_final(answer.index, became_final)

    def _became_final(self, serial: int, statement_id: bytes, answer: Accepted, until_final: bool) -> None:
        self._finals.pop(serial, None)
        if until_final:
            self._unanswered -= 1
        self._push(_accepted(statement_id, answer, True))

    def _push(self, status: wire.StatementStatus) -> None:
        self._outbox.append(status)
        self._wake.set()

    def _owes(self) -> bool:
        return self._unanswered > 0 or bool(self._finals)

    async def replies(self) -> AsyncIterator[wire.SubmitReply]:
        """What is to be written, until the input has ended and nothing is owed."""
        outbox = self._outbox
        while True:
            while outbox:
                statuses = [outbox.popleft() for _ in range(min(len(outbox), REPLY_MAX_STATUSES))]
                yield wire.SubmitReply(statuses=statuses)
            self._measure_room()
            if self._input_ended and not self._owes():
                return
            try:
                async with asyncio.timeout(HALF_CLOSED_PATIENCE_S if self._input_ended else None):
                    await self._wake.wait()
            except TimeoutError:
                return
            self._wake.clear()


class DeviceService(service.GatewayServicer):
    """`comity.gateway.v1.Gateway`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def Submit(self, request_iterator: AsyncIterator[wire.SubmitRequest], context: Any) -> None:
        """Statements in, statuses out."""
        session = SubmitSession(self._gateway, self._gateway.config.limits.stream_unanswered_max_statements)

        async def read() -> None:
            try:
                async for request in request_iterator:
                    await session.take(request)
            finally:
                session.end_input()

        with self._gateway.metrics.stream("submit"):
            reader = asyncio.create_task(read())
            try:
                async for reply in session.replies():
                    await context.write(reply)
            finally:
                session.close()
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def GetStatus(self, request: wire.StatusRequest, context: Any) -> wire.StatementStatus:
        """What is known of one statement that the caller may see."""
        try:
            principal = await self._gateway.access.authenticate(_authorization(context))
            info = await self._gateway.visible_statement(principal, request.id)
        except Problem as problem:
            if problem.code == "not_found":
                return wire.StatementStatus(id=request.id, state=wire.STATE_UNKNOWN)
            await _abort(context, problem)
            raise
        return wire.StatementStatus(
            id=request.id,
            state=wire.STATE_FINAL if info.final else wire.STATE_COMMITTED,
            index=info.index,
            height=info.height,
            block_time_ms=info.block_time_ms,
        )

    async def Events(self, request: wire.EventsRequest, context: Any) -> None:
        """Final statements that the caller may see, from an index on, for as long as the caller listens."""
        try:
            principal = await self._gateway.access.authenticate(_authorization(context))
            self._gateway.admit_stream()
            with self._gateway.listening():
                async for event in self._gateway.events(principal, request.first, request.subject):
                    if event.statement is None:
                        continue
                    await context.write(
                        wire.Event(
                            index=event.index,
                            id=event.statement.id,
                            statement=event.statement.raw,
                            height=event.height,
                            block_time_ms=event.block_time_ms,
                        )
                    )
        except Problem as problem:
            await _abort(context, problem)


def _authorization(context: Any) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else None
    return None


async def _abort(context: Any, problem: Problem) -> None:
    code = STATUS_CODES.get(problem.row.status, grpc.StatusCode.INTERNAL)
    trailing = [("comity-problem", problem.code)]
    if problem.retry_after_ms:
        trailing.append(("retry-after-ms", str(problem.retry_after_ms)))
    await context.abort(code, problem.detail or problem.row.title, tuple(trailing))


def _accepted(statement_id: bytes, answer: Accepted, final: bool) -> wire.StatementStatus:
    return wire.StatementStatus(
        id=statement_id,
        state=wire.STATE_FINAL if final else wire.STATE_COMMITTED,
        index=answer.index,
        height=answer.height,
        block_time_ms=answer.block_time_ms,
        duplicate=answer.duplicate,
    )


def _status(statement_id: bytes, answer: Rejected | Refused | Unavailable) -> wire.StatementStatus:
    problem = problem_of(answer)
    if problem is None:
        raise TypeError(f"an answer that is no problem: {answer}")
    if isinstance(answer, Rejected):
        return wire.StatementStatus(
            id=statement_id,
            state=wire.STATE_REJECTED,
            outcome_code=answer.code,
            outcome=answer.name,
            problem=problem.code,
            detail=problem.detail,
        )
    return _refusal(statement_id, problem)


def _refusal(statement_id: bytes, problem: Problem) -> wire.StatementStatus:
    return wire.StatementStatus(
        id=statement_id,
        state=wire.STATE_UNAVAILABLE if problem.row.status in (429, 503) else wire.STATE_REFUSED,
        problem=problem.code,
        detail=problem.detail,
        retry_after_ms=problem.retry_after_ms,
        missing_authorities=problem.missing_authorities,
    )

"""The device's client: a submit stream that sends every statement until it is answered, whatever breaks in between.

Promises: a statement given to `submit` stays in the queue until it is committed, rejected or refused; a stream that
breaks, a gateway that stops, an authority that is absent only delay it. Statements are sent in the order in which they
were given, and again in that order after a break; the ledger takes each once. `unanswered` is what a device must keep
over a restart of its own: this queue is memory.

Does not: verify proofs or keep files.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from api.client import TokenSigner
from api.exchange import ClientError, Event, ProblemError, Receipt, Unreachable, error_of
from api.problems import PROBLEMS, type_of
from api.proto import gateway_pb2 as wire
from api.proto import gateway_pb2_grpc as service
from ledger.merkle import leaf_hash
from ledger.statement import MAX_STATEMENT_BYTES, parse_statement

BATCH_MAX_STATEMENTS = 256
BATCH_MAX_BYTES = 512 * 1024
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
CONNECT_TIMEOUT_S = 2.0
SILENCE_MAX_S = 45.0
REQUEST_TIMEOUT_S = 10.0

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
)


class Submission:
    """A statement on its way. A definite no is raised as its problem; until then it is being sent."""

    __slots__ = ("_committed", "_final", "id", "raw")

    def __init__(self, statement_id: bytes, raw: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.id = statement_id
        self.raw = raw
        self._committed: asyncio.Future[Receipt] = loop.create_future()
        self._final: asyncio.Future[Receipt] = loop.create_future()

    async def committed(self) -> Receipt:
        """Waits until it is on the log."""
        return await asyncio.shield(self._committed)

    async def final(self) -> Receipt:
        """Waits until both authorities have cosigned it."""
        return await asyncio.shield(self._final)

    def _succeed(self, receipt: Receipt) -> None:
        if not self._committed.done():
            self._committed.set_result(receipt)
        if receipt.final and not self._final.done():
            self._final.set_result(receipt)

    def _fail(self, error: ClientError) -> None:
        for future in (self._committed, self._final):
            if not future.done():
                future.set_exception(error)
                # Whoever waits for one of the two need not ask for the other.
                future.exception()


class DeviceClient:
    """A client of one gateway, or of several of one authority: the next is tried when one fails.

    `until_final` has a statement answered once, when it is final, and counts it as unanswered until then; otherwise it
    is answered twice, and committed is enough.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        signer: TokenSigner | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        until_final: bool = True,
        unanswered_max: int = 4_096,
        rng: random.Random | None = None,
    ) -> None:
        if not targets:
            raise ValueError("a client needs at least one gateway")
        self._channels = [
            grpc.aio.insecure_channel(target, options=list(CHANNEL_OPTIONS))
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=list(CHANNEL_OPTIONS))
            for target in targets
        ]
        self._stubs = [service.GatewayStub(channel) for channel in self._channels]
        self._current = 0
        self._signer = signer
        self._until_final = until_final
        self._unanswered_max = unanswered_max
        self._rng = rng or random.Random()
        self._pending: OrderedDict[bytes, Submission] = OrderedDict()
        self._awaiting_final: dict[bytes, Submission] = {}
        self._queue: deque[Submission] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._heard_s = 0.0

    # ---- life

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def start(self) -> None:
        """Begins connecting; statements may be submitted before."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="device stream")

    async def close(self) -> None:
        """Stops sending. What was not answered raises `Unreachable`; `unanswered` still lists it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for submission in [*self._pending.values(), *self._awaiting_final.values()]:
            submission._fail(Unreachable("the client was closed before the statement was answered"))
        for channel in self._channels:
            await channel.close()

    # ---- submission

    @property
    def unanswered(self) -> list[bytes]:
        """The signed bytes of everything that is not answered yet, oldest first."""
        return [submission.raw for submission in self._pending.values()]

    async def submit(self, raw: bytes) -> Submission:
        """Queues a statement, waiting first for room. The same statement again is the same submission."""
        if len(raw) > MAX_STATEMENT_BYTES:
            raise error_of({"type": type_of("too_large"), "status": PROBLEMS["too_large"].status})
        statement_id = leaf_hash(raw)
        known = self._pending.get(statement_id)
        if known is not None:
            return known
        if len(self._pending) >= self._unanswered_max:
            async with self._room:
                await self._room.wait_for(lambda: len(self._pending) < self._unanswered_max)
        submission = Submission(statement_id, raw)
        self._pending[statement_id] = submission
        self._queue.append(submission)
        self._wake.set()
        return submission

    async def drain(self) -> None:
        """Waits until everything is answered."""
        async with self._room:
            await self._room.wait_for(lambda: not self._pending)

    async def _run(self) -> None:
        failures = 0
        while True:
            began_s = time.monotonic()
            try:
                await self._stream()
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, TimeoutError):
                pass
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
            failures = 1 if time.monotonic() - began_s > BACKOFF_MAX_S else failures + 1
            self._current = (self._current + 1) % len(self._stubs)
            bound_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures, 10))
            await asyncio.sleep(self._rng.uniform(bound_s / 2, bound_s))

    async def _stream(self) -> None:
        """One stream: everything unanswered is sent anew, in order."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):  # wait_for may lose a cancellation: Python issue 86296
            await self._channels[self._current].channel_ready()
        call = self._stubs[self._current].Submit()
        self._queue = deque([*self._awaiting_final.values(), *self._pending.values()])
        self._wake.set()
        self._heard_s = time.monotonic()
        tasks = [asyncio.create_task(run) for run in (self._write(call), self._read(call), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            call.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, call: Any) -> None:
        wait = wire.WAIT_FINAL if self._until_final else wire.WAIT_COMMITTED
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                raws: list[bytes] = []
                size_bytes = 0
                while self._queue and len(raws) < BATCH_MAX_STATEMENTS and size_bytes < BATCH_MAX_BYTES:
                    submission = self._queue.popleft()
                    if submission.id in self._pending or submission.id in self._awaiting_final:
                        raws.append(submission.raw)
                        size_bytes += len(submission.raw)
                if raws:
                    await call.write(wire.SubmitRequest(statements=raws, wait=wait))

    async def _read(self, call: Any) -> None:
        async for reply in call:
            self._heard_s = time.monotonic()
            before = len(self._pending)
            for status in reply.statuses:
                self._take(status)
            if len(self._pending) < before:
                async with self._room:
                    self._room.notify_all()

    async def _watch(self) -> None:
        """Gives up on a stream that owes answers and has long said nothing."""
        while True:
            await asyncio.sleep(SILENCE_MAX_S / 10)
            if not self._pending:
                self._heard_s = time.monotonic()
            elif time.monotonic() - self._heard_s > SILENCE_MAX_S:
                raise TimeoutError

    def _take(self, status: wire.StatementStatus) -> None:
        submission = self._pending.get(status.id) or self._awaiting_final.get(status.id)
        if submission is None:
            return
        if status.state in (wire.STATE_COMMITTED, wire.STATE_FINAL):
            final = status.state == wire.STATE_FINAL
            submission._succeed(_receipt(status))
            if final or not self._until_final:
                self._pending.pop(status.id, None)
            if final:
                self._awaiting_final.pop(status.id, None)
            elif not self._until_final:
                self._awaiting_final[status.id] = submission
        elif status.state == wire.STATE_UNAVAILABLE:
            after_s = status.retry_after_ms / 1000
            asyncio.get_running_loop().call_later(
                self._rng.uniform(after_s, after_s * 1.5 + 0.05), self._again, submission
            )
        else:
            self._pending.pop(status.id, None)
            submission._fail(_error(status))

    def _again(self, submission: Submission) -> None:
        if submission.id in self._pending:
            self._queue.append(submission)
            self._wake.set()

    # ---- questions

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self._signer is None else (("authorization", f"Bearer {self._signer.token()}"),)

    async def status(self, statement_id: bytes) -> Receipt | None:
        """What the gateway knows of a statement of ours; None if it is not on the log."""
        try:
            status = await self._stubs[self._current].GetStatus(
                wire.StatusRequest(id=statement_id), metadata=self._metadata(), timeout=REQUEST_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _rpc_error(error) from error
        return None if status.state == wire.STATE_UNKNOWN else _receipt(status)

    async def events(self, *, first: int = 0, subject: str = "") -> AsyncIterator[Event]:
        """Final statements from entry `first` on, for ever; reconnects and resumes by itself."""
        failures = 0
        while True:
            stub = self._stubs[(self._current + failures) % len(self._stubs)]
            try:
                request = wire.EventsRequest(first=first, subject=subject)
                async for event in stub.Events(request, metadata=self._metadata()):
                    failures = 0
                    if event.index >= first:
                        first = event.index + 1
                        yield _event(event)
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                    raise _rpc_error(error) from error
            failures += 1
            bound_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures, 10))
            await asyncio.sleep(self._rng.uniform(bound_s / 2, bound_s))


def _receipt(status: wire.StatementStatus) -> Receipt:
    return Receipt(
        status.id.hex(),
        "final" if status.state == wire.STATE_FINAL else "committed",
        status.index,
        status.height,
        status.block_time_ms,
        status.duplicate,
    )


def _error(status: wire.StatementStatus) -> ProblemError:
    row = PROBLEMS.get(status.problem)
    document: dict[str, Any] = {
        "type": type_of(status.problem),
        "status": row.status if row else 400,
        "detail": status.detail,
        "id": status.id.hex(),
    }
    if status.outcome_code:
        document |= {"outcome_code": status.outcome_code, "outcome": status.outcome}
    return error_of(document)


def _event(event: wire.Event) -> Event:
    statement = parse_statement(event.statement)
    return Event(
        event.index,
        event.id.hex(),
        event.height,
        event.block_time_ms,
        statement.kind,
        statement.iss,
        statement.sub,
        statement.raw,
    )


def _rpc_error(error: grpc.aio.AioRpcError) -> ClientError:
    code = next((value for key, value in error.trailing_metadata() or () if key == "comity-problem"), None)
    if not isinstance(code, str):
        return Unreachable(f"{error.code().name.lower()}: {error.details()}")
    row = PROBLEMS.get(code)
    return error_of({"type": type_of(code), "status": row.status if row else 500, "detail": error.details()})

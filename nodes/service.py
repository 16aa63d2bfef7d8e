"""What a validator offers the gateways of its own authority: `comity.validator.v1.Validator` over mutual TLS.

Promises: only a gateway that the configuration names, with a certificate of this authority's own CA, is answered. Every
statement handed in is answered once on the stream it came by: at once if its bytes or its signature are bad, when it is
executed here, or within a bounded time that no order can be reached. Pages and batches have limits.

Reads see the ledger as of the last executed block. Nothing here changes anything but the queue of statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from enum import Enum
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc
import structlog

from api.proto import validator_pb2, validator_pb2_grpc
from contracts import dwell
from contracts.mentions import LOOKUP_KINDS
from contracts.outcome import Outcome
from contracts.registry import participant_key
from ledger.chain import Chain
from ledger.entry import BlockRecord
from ledger.errors import Malformed, Misuse
from ledger.statement import MAX_STATEMENT_BYTES
from nodes.certificates import NotThePeer, PeerDirectory
from nodes.checking import Checked, SignatureChecks
from nodes.config import ValidatorConfig
from nodes.dwell_rows import TooMany, whole_blocks
from nodes.execution import Accepted, Rejected
from nodes.log_index import PAGE_MAX_FOUND, Found, Incomplete, LogIndex
from nodes.metrics import Metrics
from nodes.peers import SERVER_OPTIONS
from nodes.proposing import Proposals, Unordered
from nodes.proving import Proving, refuse_unless_key, refuse_unless_mrn
from nodes.reading import FreshReads, NotConfirmed, whole
from nodes.records import RecordIndex
from nodes.rejections import RejectionLimits
from nodes.replies import REASON, Replies, malformed, to_result

MAX_ITEMS = 4096
MAX_UNANSWERED = 32_768
MAX_KEYS = 512
PAGE_MAX = 1000
PAGE_MAX_BYTES = 4 * 1024 * 1024
ID_BYTES = 32
MAX_IDENTIFIER_CHARS = 128
MAX_POSITION_BYTES = 512
# A statement of an unknown key is looked at so often, so long apart, before it is refused; so many may wait at once.
KEY_LOOK_S = 0.2
KEY_LOOKS_MAX = 4
LOOKING_MAX_STATEMENTS = 1024
# By this a gateway knows a read that was not confirmed from a validator that is not there.
NOT_CONFIRMED = "read not confirmed: "

T = TypeVar("T")


class Status(Protocol):
    """What the service tells of the validator as a whole."""

    def status(self) -> validator_pb2.ValidatorStatus: ...

    def readiness(self) -> tuple[bool, str]: ...

    def latest_final(self) -> tuple[int, bytes] | None: ...

    def cosigned_at(self, note: bytes) -> dict[str, int]: ...

    def evidence(self) -> list[validator_pb2.EvidenceBundle]: ...


class ChangeOutcome(Protocol):
    """What became of a change of the membership."""

    @property
    def state(self) -> Enum: ...

    @property
    def number(self) -> int: ...

    @property
    def code(self) -> str: ...

    @property
    def detail(self) -> str: ...


class MembershipChanges(Protocol):
    """What the service asks about the membership; `nodes.changing.Changes` answers."""

    async def submit(self, note: bytes) -> ChangeOutcome: ...

    def report(self) -> validator_pb2.Membership: ...


class Following:
    """Wakes everybody who follows the ledger; each takes `next_change` first and then reads where it stands."""

    def __init__(self) -> None:
        self.next_change = asyncio.Event()

    def changed(self) -> None:
        self.next_change.set()
        self.next_change = asyncio.Event()


class ValidatorService(validator_pb2_grpc.ValidatorServicer):
    """See the module. The directory is that of this authority's gateways."""

    def __init__(
        self,
        chain: Chain,
        checks: SignatureChecks,
        proposals: Proposals,
        following: Following,
        records: RecordIndex,
        log_index: LogIndex,
        status: Status,
        directory: PeerDirectory,
        metrics: Metrics,
        rejections: RejectionLimits,
        changes: MembershipChanges,
        reads: FreshReads,
        proving: Proving,
    ) -> None:
        self._chain = chain
        self._changes = changes
        self._reads = reads
        self._proving = proving
        self._checks = checks
        self._proposals = proposals
        self._following = following
        self._records = records
        self._log_index = log_index
        self._status = status
        self._directory = directory
        self._metrics = metrics
        self._rejections = rejections
        self._log = structlog.get_logger().bind(part="service")
        self._looking = 0

    async def _admit(self, context: Any) -> None:
        try:
            self._directory.identify(context.auth_context())
        except NotThePeer as error:
            self._log.warning("caller_refused", reason=str(error), address=context.peer())
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))

    # --- submitting --------------------------------------------------------------------------------------------------

    async def Submit(
        self, request_iterator: AsyncIterator[validator_pb2.SubmitRequest], context: Any
    ) -> AsyncIterator[validator_pb2.SubmitReply]:
        await self._admit(context)
        replies = Replies()
        reader = asyncio.create_task(self._read_submissions(request_iterator, replies))
        try:
            while True:
                await replies.wake.wait()
                replies.wake.clear()
                while (reply := replies.take()).results:
                    yield reply
                if replies.ended and replies.unanswered <= 0:
                    return
        finally:
            reader.cancel()

    async def _read_submissions(self, requests: AsyncIterator[validator_pb2.SubmitRequest], replies: Replies) -> None:
        try:
            async for request in requests:
                items = list(request.items)
                replies.unanswered += len(items)
                self._start(self._admit_items(items, replies), replies)
        except asyncio.CancelledError:
            raise
        except Exception:
            self._log.error("submit_stream_failed", exc_info=True)
        finally:
            replies.ended = True
            replies.wake.set()

    def _admit_items(
        self, items: list[validator_pb2.SubmitRequest.Item], replies: Replies
    ) -> list[tuple[int, Checked]]:
        """Begin to check those that are within the limits; answer the others."""
        within = []
        for position, item in enumerate(items):
            if len(item.statement) > MAX_STATEMENT_BYTES:
                detail = f"statement is too large: at most {MAX_STATEMENT_BYTES} bytes, got {len(item.statement)}"
                replies.put(malformed(item.tag, Malformed("too_large", detail)))
            elif position >= MAX_ITEMS or replies.unanswered > MAX_UNANSWERED:
                self._metrics.refused.labels("overloaded").inc()
                replies.put(to_result(item.tag, Unordered(True, "too many statements on one stream", 500)))
            else:
                within.append(item)
        checked = self._checks.expect(item.statement for item in within)
        return list(zip((item.tag for item in within), checked, strict=True))

    def _start(self, admitted: list[tuple[int, Checked]], replies: Replies, looked: int = 0) -> None:
        """Go on with each as soon as it is checked; those that one thread checks in one go come back in one go."""
        together: dict[Future[None], list[tuple[int, Checked]]] = {}
        for tag, checked in admitted:
            future = checked.future
            if future is None or future.done():
                self._checked(tag, checked, replies, looked)
            else:
                together.setdefault(future, []).append((tag, checked))
        loop = asyncio.get_running_loop()
        for future, part in together.items():
            future.add_done_callback(partial(self._call_back, loop, part, replies, looked))

    def _call_back(
        self,
        loop: asyncio.AbstractEventLoop,
        part: list[tuple[int, Checked]],
        replies: Replies,
        looked: int,
        _: object,
    ) -> None:
        """In the thread that checked."""
        loop.call_soon_threadsafe(self._checked_together, part, replies, looked)

    def _checked_together(self, part: list[tuple[int, Checked]], replies: Replies, looked: int) -> None:
        for tag, checked in part:
            self._checked(tag, checked, replies, looked)
        # The future keeps what it called, and each of these keeps the future: nobody would let go of the statements.
        part.clear()

    def _checked(self, tag: int, checked: Checked, replies: Replies, looked: int) -> None:
        """Parsed, and the signature checked if the key is known: answer what is bad, order the rest."""
        try:
            self._go_on(tag, checked, replies, looked)
        except Exception:
            # Whatever it was, it is a fault here: the sender is answered, and sends it again.
            self._log.error("submission_failed", exc_info=True)
            replies.put(to_result(tag, Unordered(False, "this validator could not take it", 1000)))

    def _go_on(self, tag: int, checked: Checked, replies: Replies, looked: int) -> None:
        if checked.malformed is not None:
            self._checks.forget([checked.raw])
            self._metrics.refused.labels("malformed").inc()
            replies.put(malformed(tag, checked.malformed))
            return
        if checked.untrue is not None:
            self._checks.forget([checked.raw])
            self._metrics.refused.labels("untrue").inc()
            refused = validator_pb2.Refused(reason=REASON.UNTRUE, code=checked.untrue.code, detail=str(checked.untrue))
            replies.put(validator_pb2.Result(tag=tag, refused=refused))
            return
        if checked.statement is None:
            raise RuntimeError("the thread that checks signatures failed")
        index = self._chain.find(checked.statement.id)
        # The indexes are written a moment before the new head is published: until then it is only on its way.
        if index is not None and index < self._chain.size:
            record = self._chain.block_of(index)
            self._checks.forget([checked.raw])
            replies.put(to_result(tag, Accepted(index, record.height, record.time_ms, True)))
            return
        if index is None and checked.verified_kid is None:
            self._unknown_key(tag, checked, replies, looked)
            return
        self._order(tag, checked.raw, checked.statement.iss, replies)

    def _order(self, tag: int, raw: bytes, issuer: str, replies: Replies) -> None:
        """Hand in a statement whose signature holds, unless too much of its issuer's was rejected lately."""
        wait_ms = self._rejections.wait_ms(issuer)
        if wait_ms:
            self._metrics.refused.labels("too_many_rejections").inc()
            detail = f"too many statements of {issuer} were rejected: send it again later"
            replies.put(to_result(tag, Unordered(True, detail, wait_ms)))
            return

        def answered(result: object) -> None:
            self._rejections.ended(issuer)
            replies.put(to_result(tag, result))

        self._rejections.begun(issuer)
        self._proposals.submit(raw, answered)

    def _unknown_key(self, tag: int, checked: Checked, replies: Replies, looked: int) -> None:
        """Nobody we know signed this, so its signature could not be checked, and it is not ordered: what is ordered
        stays on every disk. Its enrolment may be on its way, though: look again for a moment.
        """
        self._checks.forget([checked.raw])
        if looked < KEY_LOOKS_MAX and self._looking < LOOKING_MAX_STATEMENTS:
            self._looking += 1
            asyncio.get_running_loop().call_later(KEY_LOOK_S, self._look_again, tag, checked.raw, replies, looked + 1)
            return
        ready, state = self._status.readiness()
        if not ready:
            # What we have not executed yet may well enrol it.
            replies.put(to_result(tag, Unordered(False, state, 2000)))
            return
        statement = checked.statement
        known = statement is not None and self._chain.state.get(participant_key(statement.iss)) is not None
        outcome = Outcome.KEY_UNKNOWN if known else Outcome.ISSUER_UNKNOWN
        self._metrics.refused.labels(outcome.fact).inc()
        replies.put(to_result(tag, Rejected(outcome, None)))

    def _look_again(self, tag: int, raw: bytes, replies: Replies, looked: int) -> None:
        self._looking -= 1
        self._start([(tag, self._checks.expect([raw])[0])], replies, looked)

    # --- following ---------------------------------------------------------------------------------------------------

    async def Follow(
        self, request: validator_pb2.FollowRequest, context: Any
    ) -> AsyncIterator[validator_pb2.LedgerEvent]:
        await self._admit(context)
        size = final_size = -1
        while True:
            changed = self._following.next_change
            chain = self._chain
            final = self._status.latest_final()
            if chain.size != size:
                size = chain.size
                last = chain.last_block
                grown = validator_pb2.Grown(
                    size=size,
                    height=chain.height,
                    block_time_ms=last.time_ms if last is not None else chain.genesis.time_ms,
                )
                yield validator_pb2.LedgerEvent(grown=grown)
            if final is not None and final[0] != final_size:
                final_size = final[0]
                yield validator_pb2.LedgerEvent(final=validator_pb2.Final(size=final_size, checkpoint=final[1]))
            await changed.wait()

    async def _fresh(self, linearizable: bool, context: Any) -> None:
        """Before a read that must see all that is committed by now; others see the last executed block."""
        if linearizable:
            try:
                await self._reads.confirm()
            except NotConfirmed as error:
                await context.abort(grpc.StatusCode.UNAVAILABLE, f"{NOT_CONFIRMED}{error}")

    async def _whole(self, read: Callable[[], T], context: Any) -> T:
        try:
            return await whole(self._chain, read)
        except NotConfirmed as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{NOT_CONFIRMED}{error}")
            raise

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _find(self, request: validator_pb2.StatementQuery, context: Any) -> int | None:
        await self._admit(context)
        if len(request.id) != ID_BYTES:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"id must be {ID_BYTES} bytes, got {len(request.id)}")
        await self._fresh(request.linearizable, context)
        index = self._chain.find(request.id)
        # The indexes are written a moment before the head names the block.
        return index if index is not None and index < self._chain.size else None

    async def GetStatement(self, request: validator_pb2.StatementQuery, context: Any) -> validator_pb2.StatementInfo:
        index = await self._find(request, context)
        if index is None:
            return validator_pb2.StatementInfo(found=False)
        record = self._chain.block_of(index)
        final = self._chain.cosigned_at_or_after(index + 1)
        return validator_pb2.StatementInfo(
            found=True,
            index=index,
            height=record.height,
            block_time_ms=record.time_ms,
            final=final is not None,
            statement=self._chain.entry(index),
            cosigned_at_s=self._status.cosigned_at(final[1]) if final is not None else {},
        )

    async def GetProof(self, request: validator_pb2.StatementQuery, context: Any) -> validator_pb2.ProofReply:
        index = await self._find(request, context)
        if index is None:
            return validator_pb2.ProofReply(found=False)
        return self._proving.proof(index, further=request.further)

    async def GetReceipts(self, request: validator_pb2.ReceiptsQuery, context: Any) -> validator_pb2.ReceiptsReply:
        index = await self._find(validator_pb2.StatementQuery(id=request.id), context)
        if index is None:
            return validator_pb2.ReceiptsReply(found=False)
        return await self._proving.receipts(index, request.authority)

    async def GetStatusProof(
        self, request: validator_pb2.StatusProofQuery, context: Any
    ) -> validator_pb2.StatusProofReply:
        await self._admit(context)
        await refuse_unless_key(request.key, context)
        return await self._proving.status(request.key)

    async def GetPass(self, request: validator_pb2.PassQuery, context: Any) -> validator_pb2.PassReply:
        await self._admit(context)
        await refuse_unless_mrn(request.mrn, context)
        return await self._proving.crossing_pass(request.mrn)

    async def GetFurther(self, request: validator_pb2.FurtherQuery, context: Any) -> validator_pb2.FurtherReply:
        await self._admit(context)
        return self._proving.further_reply()

    async def GetRecords(self, request: validator_pb2.RecordsQuery, context: Any) -> validator_pb2.RecordsReply:
        await self._admit(context)
        if len(request.keys) > MAX_KEYS:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"at most {MAX_KEYS} keys, got {len(request.keys)}")
        await self._fresh(request.linearizable, context)

        def read() -> validator_pb2.RecordsReply:
            reply = validator_pb2.RecordsReply(size=self._chain.size)
            for key in request.keys:
                value = self._chain.state.get(key)
                if value is not None:
                    reply.records.append(validator_pb2.Record(key=key, value=value))
            return reply

        return await self._whole(read, context)

    async def ListRecords(self, request: validator_pb2.ListQuery, context: Any) -> validator_pb2.RecordsReply:
        await self._admit(context)
        await self._fresh(request.linearizable, context)
        return await self._whole(lambda: self._page(request), context)

    def _page(self, request: validator_pb2.ListQuery) -> validator_pb2.RecordsReply:
        limit = min(request.limit or PAGE_MAX, PAGE_MAX)
        reply = validator_pb2.RecordsReply(size=self._chain.size)
        size_bytes = 0
        for key in self._records.keys(request.prefix, request.after):
            value = self._chain.state.get(key)
            if value is None:
                continue
            size_bytes += len(value)
            if len(reply.records) == limit or (reply.records and size_bytes > PAGE_MAX_BYTES):
                reply.more = True
                break
            reply.records.append(validator_pb2.Record(key=key, value=value))
        return reply

    async def Find(self, request: validator_pb2.FindQuery, context: Any) -> validator_pb2.FindReply:
        await self._admit(context)
        if request.kind not in LOOKUP_KINDS:
            expected = ", ".join(LOOKUP_KINDS)
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"kind: expected one of {expected}, got {request.kind[:40]!r}"
            )
        if len(request.identifier) > MAX_IDENTIFIER_CHARS or len(request.after) > MAX_POSITION_BYTES:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "identifier or position is too long")
        await self._fresh(request.linearizable, context)

        def read() -> tuple[int, tuple[list[Found], bool]]:
            found = self._log_index.find(
                request.kind,
                request.identifier,
                limit=min(request.limit or PAGE_MAX_FOUND, PAGE_MAX_FOUND),
                after=request.after,
                newest_first=not request.oldest_first,
            )
            return self._chain.size, found

        try:
            size, (found, more) = await self._whole(read, context)
        except Incomplete as error:
            return validator_pb2.FindReply(size=error.size, complete=False, covered=error.covered)
        reply = validator_pb2.FindReply(size=size, complete=True, covered=size, more=more)
        for each in found:
            reply.found.append(
                validator_pb2.FoundRecord(
                    key=each.key, first_entry=each.first_entry, last_entry=each.last_entry, position=each.position
                )
            )
        return reply

    async def GetDwell(self, request: validator_pb2.DwellQuery, context: Any) -> validator_pb2.DwellReply:
        await self._admit(context)
        final = self._status.latest_final()
        final_size = final[0] if final is not None else 1
        size, time_ms = whole_blocks(self._chain, min(request.size or final_size, final_size))
        first_day, last_day = request.first_day, request.last_day
        if not last_day:
            first_day, last_day = dwell.days_before(time_ms)
        if not first_day <= last_day < first_day + dwell.MAX_DAYS:
            detail = f"days: expected 1 to {dwell.MAX_DAYS}, got {last_day - first_day + 1}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, detail)
        reply = validator_pb2.DwellReply(
            first_day=first_day, last_day=last_day, size=size, complete=True, covered=size, final_size=final_size
        )

        def count() -> list[dwell.Figure]:
            return dwell.figures(self._log_index.measured(request.post, first_day, last_day, size))

        try:
            # A month of a busy post is a second's work, and the event loop has heartbeats to send.
            found = await asyncio.get_running_loop().run_in_executor(None, count)
        except Incomplete as error:
            return validator_pb2.DwellReply(complete=False, covered=error.covered, size=error.size)
        except TooMany as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        for each in found:
            reply.figures.append(
                validator_pb2.DwellFigure(
                    post=each.post,
                    side=each.side,
                    interval=each.interval,
                    day=each.day or 0,
                    count=each.count,
                    p50_ms=each.p50_ms,
                    p95_ms=each.p95_ms,
                    max_ms=each.max_ms,
                )
            )
        return reply

    async def GetEntries(self, request: validator_pb2.EntriesQuery, context: Any) -> validator_pb2.EntriesReply:
        await self._admit(context)
        chain = self._chain
        limit = min(request.limit or PAGE_MAX, PAGE_MAX)
        final = self._status.latest_final() if request.final_only else None
        end = chain.size if not request.final_only else final[0] if final is not None else 0
        first = min(request.first, end)
        if request.subject:
            indexes = chain.subject_entries(request.subject, first - 1, limit)
            indexes = [index for index in indexes if index < end]
            more = len(indexes) == limit
        else:
            indexes = list(range(first, min(first + limit, end)))
            more = bool(indexes) and indexes[-1] + 1 < end
        reply = validator_pb2.EntriesReply(next=indexes[-1] + 1 if more else end)
        record: BlockRecord | None = None
        size_bytes = 0
        for index in indexes:
            raw = chain.entry(index)
            size_bytes += len(raw)
            if reply.entries and size_bytes > PAGE_MAX_BYTES:
                reply.next = index
                break
            if index and (record is None or index > record.first + record.count):
                record = chain.block_of(index)
            reply.entries.append(
                validator_pb2.Entry(
                    index=index,
                    raw=raw,
                    height=record.height if record is not None else 0,
                    block_time_ms=record.time_ms if record is not None else chain.genesis.time_ms,
                )
            )
        return reply

    async def GetTile(self, request: validator_pb2.TileQuery, context: Any) -> validator_pb2.TileReply:
        await self._admit(context)
        try:
            data = self._chain.tile(request.path)
        except (Malformed, Misuse):
            data = None
        return validator_pb2.TileReply(found=data is not None, data=data or b"")

    async def GetStatus(self, request: validator_pb2.StatusQuery, context: Any) -> validator_pb2.ValidatorStatus:
        await self._admit(context)
        return self._status.status()

    async def GetEvidence(self, request: validator_pb2.EvidenceQuery, context: Any) -> validator_pb2.EvidenceReply:
        await self._admit(context)
        reply = validator_pb2.EvidenceReply()
        size_bytes = 0
        for each in self._status.evidence():
            size_bytes += len(each.bundle)
            if reply.bundles and size_bytes > PAGE_MAX_BYTES // 2:
                reply.more = True
                break
            reply.bundles.append(each)
        return reply

    # --- the membership ----------------------------------------------------------------------------------------------

    async def GetMembership(self, request: validator_pb2.MembershipQuery, context: Any) -> validator_pb2.Membership:
        await self._admit(context)
        return self._changes.report()

    async def ChangeMembership(
        self, request: validator_pb2.MembershipSubmission, context: Any
    ) -> validator_pb2.MembershipReply:
        """No more is asked of the caller than of any: the signatures are what counts."""
        await self._admit(context)
        outcome = await self._changes.submit(request.change)
        return validator_pb2.MembershipReply(
            state=outcome.state.value, number=outcome.number, code=outcome.code, detail=outcome.detail
        )


async def serve(
    service: ValidatorService, config: ValidatorConfig, stop: Callable[[], Awaitable[None]] | None = None
) -> grpc.aio.Server:
    """Listen for gateways. Raises OSError when the port is taken."""
    authority = config.authority_of(config.name)
    credentials = grpc.ssl_server_credentials(
        [(config.certificate_key.read_bytes(), config.certificate.read_bytes())],
        root_certificates=authority.ca_certificate.read_bytes(),
        require_client_auth=True,
    )
    server = grpc.aio.server(options=SERVER_OPTIONS)
    validator_pb2_grpc.add_ValidatorServicer_to_server(service, server)
    address = str(config.service_address)
    try:
        bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}") from error
    if not bound:
        raise OSError(f"cannot listen on {address}")
    await server.start()
    return server

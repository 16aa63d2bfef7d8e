"""What a validator offers the gateways of its own authority: `comity.validator.v1.Validator` over mutual TLS.

Promises: only a gateway that the configuration names, with a certificate of this authority's own CA, is answered. Pages
and batches have limits. What becomes of statements that are handed in, `nodes.submissions` says.

Reads see the ledger as of the last executed block. Nothing here changes anything but the queue of statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Any, Protocol, TypeVar

import grpc
import structlog

from api.answers import NOT_CONFIRMED
from api.proto import validator_pb2, validator_pb2_grpc
from contracts import dwell
from contracts.mentions import LOOKUP_KINDS
from ledger.chain import Chain
from ledger.entry import BlockRecord
from ledger.errors import Malformed, Misuse
from nodes.certificates import NotThePeer, PeerDirectory
from nodes.config import ValidatorConfig
from nodes.dwell_rows import TooMany, whole_blocks
from nodes.log_index import PAGE_MAX_FOUND, Found, Incomplete, LogIndex
from nodes.peers import SERVER_OPTIONS
from nodes.proving import Proving, refuse_unless_key, refuse_unless_mrn
from nodes.reading import FreshReads, NotConfirmed, whole
from nodes.records import RecordIndex
from nodes.submissions import Submissions

MAX_KEYS = 512
PAGE_MAX = 1000
PAGE_MAX_BYTES = 4 * 1024 * 1024
ID_BYTES = 32
MAX_IDENTIFIER_CHARS = 128
MAX_POSITION_BYTES = 512

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
        submissions: Submissions,
        following: Following,
        records: RecordIndex,
        log_index: LogIndex,
        status: Status,
        directory: PeerDirectory,
        changes: MembershipChanges,
        reads: FreshReads,
        proving: Proving,
    ) -> None:
        self._chain = chain
        self._changes = changes
        self._reads = reads
        self._proving = proving
        self._submissions = submissions
        self._following = following
        self._records = records
        self._log_index = log_index
        self._status = status
        self._directory = directory
        self._log = structlog.get_logger().bind(part="service")

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
        stream = self._submissions.stream(request_iterator)
        try:
            while (reply := await stream.next()) is not None:
                yield reply
        finally:
            stream.close()

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
        bundles = sorted(self._status.evidence(), key=lambda each: each.id)
        for each in (bundle for bundle in bundles if bundle.id > request.after):
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

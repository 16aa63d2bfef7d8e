"""The gateway without its protocols: what HTTP and gRPC both do, written once.

Stateless but for the attachments (`api.attaching`): everything else it holds can be lost and asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from api.access import Access, Principal
from api.attaching import Attaching
from api.attachment_kinds import ENVELOPE, references_of
from api.config import GatewayConfig
from api.expiry import Ending, file_endings
from api.feed import EntryFeed
from api.given_proofs import GivenProofs
from api.given_tiles import GivenTiles
from api.listing import Listing
from api.metrics import GatewayMetrics
from api.problems import Problem, of_malformed
from api.proto import validator_pb2 as wire
from api.submission import Signed
from api.validators import ValidatorPool
from ledger.errors import Malformed
from ledger.merkle import leaf_hash
from ledger.note import parse_note
from ledger.statement import MAX_STATEMENT_BYTES, Statement, parse_statement
from ledger.tiles import ENTRIES

# Documents made of a whole history, or of a whole declaration: each is memory, and a thread that takes a core.
DOCUMENTS_AT_ONCE = 2
HEARTBEAT_S = 15.0
RECHECK_S = 30.0
LAGGING_PAUSE_S = 0.05
STATEMENT_ID_BYTES = 32
STATE_RETRY_AFTER_MS = 1_000
STATUS_PROOF_TYPE = "application/vnd.comity.status-proof+cbor"


@dataclass(frozen=True, slots=True)
class Event:
    """A final statement, or (statement None) only how far the stream has come."""

    index: int
    height: int = 0
    block_time_ms: int = 0
    statement: Statement | None = None


def _own_endings(config: GatewayConfig) -> list[Ending]:
    """The ends of the certificates that the gateway presents and believes."""
    files = []
    if config.tls is not None:
        files.append((f"certificate of {config.name}", config.tls.certificate))
        files.append((f"CA certificate of {config.authority}", config.tls.authority_ca))
    if config.public_tls is not None:
        files.append((f"public certificate of {config.name}", config.public_tls.certificate))
    return file_endings(files)


class Gateway:
    """One authority's front: its validators, who may see what, and the log as it grows."""

    def __init__(self, config: GatewayConfig, pool: ValidatorPool) -> None:
        self.config = config
        self.pool = pool
        self.access = Access(
            config.origin, pool.records, authority=config.authority, unbound_tokens=config.unbound_tokens
        )
        self.feed = EntryFeed(pool)
        self.given_proofs: GivenProofs[wire.ProofReply] = GivenProofs()
        self.given_receipts: GivenProofs[wire.ReceiptsReply] = GivenProofs()
        self._known_signers = self._log_keys = b""
        self._looked_at = pool.finality.checkpoint
        self.given_tiles = GivenTiles()
        self.attaching = Attaching(self, config.attachments)
        # Read at the start, as TLS reads them.
        self.endings = _own_endings(config)
        self.metrics = GatewayMetrics(pool, self.attaching.kept, self.endings, lambda: self.access.unbound_taken)
        self.listing = Listing(config.reference, self._is_on_log, self.metrics.registry)
        self.documents = asyncio.Semaphore(DOCUMENTS_AT_ONCE)
        self.heartbeat_s = HEARTBEAT_S
        self.recheck_s = RECHECK_S
        self.event_streams = 0
        self.stopping = asyncio.Event()

    # ---- statements

    def signed(self, raw: bytes) -> Signed:
        """Parses a statement far enough to know that it is one; its signature is for the validators to check."""
        if len(raw) > MAX_STATEMENT_BYTES:
            detail = f"statement is too large: expected at most {MAX_STATEMENT_BYTES} bytes, got {len(raw)}"
            raise Problem("too_large", detail)
        try:
            statement = parse_statement(raw)
        except Malformed as error:
            raise of_malformed(error.code, str(error.args[0])) from error
        references = references_of(statement.kind, statement.payload)
        envelope = next((sha256 for sha256, kind in references.items() if kind is ENVELOPE), None)
        return Signed(statement.id, raw, envelope, self.listing.tables.unlisted(statement.kind, statement.payload))

    async def require(self, signed: Signed) -> None:
        """Raise unless everything is here that must be before a statement is handed on."""
        await self.attaching.require(signed)
        await self.listing.require(signed)

    async def _is_on_log(self, statement_id: bytes) -> bool:
        return (await self.pool.statement(statement_id)).found

    @staticmethod
    def id_of(raw: bytes) -> bytes:
        """What a caller knows its bytes by, be they a statement or not."""
        return leaf_hash(raw)

    async def visible_statement(
        self, principal: Principal, statement_id: bytes, *, linearizable: bool = False
    ) -> wire.StatementInfo:
        """A statement on the log that the caller may see; Problem("not_found") for all else."""
        if len(statement_id) != STATEMENT_ID_BYTES:
            raise Problem("bad_identifier", f"statement id: expected 32 bytes, got {len(statement_id)}")
        info = await self.pool.statement(statement_id, linearizable=linearizable)
        if not info.found or not await self.may_see(principal, info.statement):
            raise Problem("not_found")
        return info

    async def visible_proof(
        self, principal: Principal, statement_id: bytes, *, further: bool = False
    ) -> wire.ProofReply:
        """The proof of a final statement that the caller may see; `further`: with further cosignatures too."""
        asked = self._signers() + statement_id
        reply = None if further else self.given_proofs.get(asked)
        if reply is None:
            reply = await self.pool.proof(statement_id, further=further)
            if not further:
                self.given_proofs.keep(asked, reply)
        if not reply.found or not await self.may_see(principal, reply.statement):
            raise Problem("not_found")
        if not reply.final:
            raise Problem("not_final", "both authorities have not cosigned it yet", retry_after_ms=1_000)
        if not reply.proof:
            raise Problem("not_further_cosigned", "see /v1/further for who has cosigned what", retry_after_ms=30_000)
        return reply

    def _signers(self) -> bytes:
        """Who votes and which log keys sign, in as many bytes as a key needs; as was said last, if nobody speaks."""
        said = [lane.status for lane in self.pool.lanes if lane.status is not None]
        if said:
            newest = max(said, key=lambda status: status.commit_index)
            sides = [(*each.validators_reachable, *each.validators_missing) for each in newest.authorities]
            self._known_signers = sha256("\n".join(sorted(name for names in sides for name in names)).encode()).digest()
        checkpoint = self.pool.finality.checkpoint
        if checkpoint is not self._looked_at:
            self._looked_at = checkpoint
            note = parse_note(checkpoint)
            origin = note.text.partition("\n")[0]
            self._log_keys = b"".join(sorted(line.key_id for line in note.signatures if line.name == origin))
        return self._known_signers + self._log_keys

    async def visible_receipt(self, principal: Principal, statement_id: bytes, authority: str) -> bytes:
        """A final statement that the caller may see, with its receipts; or the receipt of one authority."""
        # Another membership signs otherwise, and whose key counts no longer convinces nobody who has the new policy.
        asked = self._signers() + statement_id + authority.encode()
        reply = self.given_receipts.get(asked)
        if reply is None:
            reply = await self.pool.receipts(statement_id, authority)
            self.given_receipts.keep(asked, reply)
        if not reply.found or not await self.may_see(principal, reply.statement):
            raise Problem("not_found")
        if not reply.final:
            raise Problem("not_final", "both authorities have not cosigned it yet", retry_after_ms=1_000)
        if not reply.document:
            raise self._unsigned(reply.refused, reply.detail, reply.missing_authorities)
        return reply.document

    async def tile(self, path: str, level: int, index: int, width: int) -> bytes | None:
        """What stands at the path of a tile, which the newest final checkpoint covers; None if no validator has it."""
        if level == ENTRIES:
            return await self.pool.tile(path)
        tile = self.given_tiles.get(level, index, width)
        if tile is None:
            tile = await self.pool.tile(path)
            if tile is not None:
                self.given_tiles.keep(level, index, width, tile)
        return tile

    async def status_proof(self, key: str) -> bytes:
        """The proof of a record as it stands, or that there is none. Who may have it, the caller has decided."""
        reply = await self.pool.status_proof(key)
        if not reply.proof:
            raise Problem("state_not_final", retry_after_ms=STATE_RETRY_AFTER_MS)
        return reply.proof

    async def crossing_pass(self, mrn: str) -> bytes:
        """A crossing pass. Who may have it, the caller has decided."""
        reply = await self.pool.crossing_pass(mrn)
        if not reply.crossing_pass:
            raise self._unsigned(reply.refused, reply.detail, reply.missing_authorities)
        return reply.crossing_pass

    @staticmethod
    def _unsigned(refused: str, detail: str, missing: Sequence[str]) -> Problem:
        """Why validators did not sign: said so, or not there to be asked."""
        if refused in ("may_not_pass", "not_found"):
            return Problem(refused, detail)
        if refused in ("unknown_authority", "too_large"):
            return Problem("bad_request", detail)
        if missing and not refused:
            return Problem(
                "authority_unreachable", detail, retry_after_ms=STATE_RETRY_AFTER_MS, missing_authorities=tuple(missing)
            )
        return Problem("state_not_final", detail, retry_after_ms=STATE_RETRY_AFTER_MS)

    async def may_see(self, principal: Principal, raw: bytes) -> bool:
        """Whether the caller may see an entry."""
        if principal.sees_all:
            return True
        try:
            statement = parse_statement(raw)
        except Malformed:
            return False  # genesis or a block record: the log's own, for those who see all of it
        return await self.access.may_see_statement(principal, statement.kind, statement.iss, statement.sub)

    # ---- the log as it grows

    async def events(self, principal: Principal, first: int, subject: str = "") -> AsyncIterator[Event]:
        """Final statements that the caller may see, from `first` on, without a gap and without a repetition.

        Between them, at least every `heartbeat_s`, an event without a statement says how far the stream has come.
        """
        position = first
        finality = self.pool.finality
        clock_s = asyncio.get_running_loop().time
        checked_s = clock_s()
        while not self.stopping.is_set():
            if clock_s() - checked_s >= self.recheck_s:
                principal = await self.access.still(principal)
                checked_s = clock_s()
            if position >= finality.size:
                try:
                    async with asyncio.timeout(self.heartbeat_s):
                        await finality.beyond(position)
                except TimeoutError:
                    yield Event(position - 1)
                continue
            page = await self.feed.page(position, subject)
            if page.next <= position:
                # The validator that answers is behind the one that told us.
                await asyncio.sleep(LAGGING_PAUSE_S)
                continue
            shown = position - 1
            for entry in page.entries:
                statement = entry.statement
                if principal.sees_all or await self.access.may_see_statement(
                    principal, statement.kind, statement.iss, statement.sub
                ):
                    shown = entry.index
                    yield Event(entry.index, entry.height, entry.block_time_ms, statement)
            position = page.next
            if shown != position - 1:
                yield Event(position - 1)

    def admit_stream(self) -> None:
        """Raises if as many listen as may."""
        limit = self.config.limits.event_streams_max
        if self.event_streams >= limit:
            raise Problem("too_many_streams", f"{limit} event streams are open", retry_after_ms=5_000)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Counts one who listens."""
        self.event_streams += 1
        try:
            with self.metrics.stream("events"):
                yield
        finally:
            self.event_streams -= 1

    def stop_streams(self) -> None:
        """Ends the event streams; those who listen resume elsewhere from where they are."""
        self.stopping.set()
        self.pool.finality.wake()

    async def close(self) -> None:
        """Ends the streams, then lets go of the validators and of the disk."""
        self.stop_streams()
        await self.pool.close()
        self.attaching.close()

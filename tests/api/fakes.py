"""A validator that behaves as specified, or misbehaves as told: real gRPC on loopback, a list for a ledger.

Validators of one network share a `FakeLedger`. Nothing is signed or executed here: what a statement leads to is decided
by `FakeLedger.decide`, which a test replaces.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import grpc
import grpc.aio

from api.config import ValidatorEndpoint
from api.proto import validator_pb2 as wire
from api.proto import validator_pb2_grpc as service
from ledger.algorithms import EDDSA, PrivateKey
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.merkle import leaf_hash
from ledger.note import Note, NoteSigner, format_note
from ledger.statement import Statement, sign_statement
from ledger.tiles import tile_path

ORIGIN = "comity.example/bakhty-baketu"
BLOCK_TIME_MS = 1_795_312_800_000
_serial = count(1)
# So many bundles of evidence are what fits a message of theirs.
EVIDENCE_PAGE = 2


def signed_statement(
    key: PrivateKey | None = None,
    *,
    kind: str = "escort.position",
    iss: str = "kz/truck/t-001",
    sub: str = "19GBCKKCQSXV2FGVA8",
    payload: dict[str, Any] | None = None,
) -> Statement:
    """A statement unlike any other."""
    key = key or KEYS[EDDSA]
    cti = next(_serial).to_bytes(16, "big")
    return sign_statement(key, kind=kind, iss=iss, sub=sub, iat_s=1_795_312_799, cti=cti, payload=payload or {"n": 1})


KEYS = {alg: PrivateKey.generate(alg) for alg in (-8, -7)}


@dataclass
class FakeLedger:
    """Entries, records and finality, shared by the validators of one test."""

    entries: list[tuple[bytes, int]] = field(default_factory=lambda: [(b"genesis", 0)])
    records: dict[str, bytes] = field(default_factory=dict)
    # (kind, identifier) -> record keys, oldest first.
    mentioned: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    by_id: dict[bytes, int] = field(default_factory=dict)
    dwell: list[wire.DwellFigure] = field(default_factory=list)
    # By id; None: its validators are of a release that has no evidence to give.
    evidence: dict[str, bytes] | None = field(default_factory=dict)
    # The numbers of the validators of each authority that vote.
    voters: tuple[int, ...] = (1, 2)
    # Whether they go on where they are asked to: those of before did not.
    pages_evidence: bool = True
    # What validators say of further cosignatures; None: they collect none.
    further: wire.FurtherReply | None = None
    final_size: int = 0
    finalise_at_once: bool = True
    missing: tuple[str, ...] = ()
    tile: Callable[[str], bytes] | None = None  # of a real tree, where a test has one
    status_proof: Callable[[str], bytes] | None = None  # of a real state, as well
    decide: Callable[[bytes], wire.Result | None] = lambda raw: None
    submissions: list[bytes] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    signer: NoteSigner = field(default_factory=NoteSigner.generate)

    def append(self, raw: bytes) -> wire.Accepted:
        """Puts a statement on the log once, followed by a block record."""
        statement_id = leaf_hash(raw)
        index = self.by_id.get(statement_id)
        duplicate = index is not None
        if index is None:
            index = len(self.entries)
            height = self.entries[-1][1] + 1
            self.entries += [(raw, height), (b"block record %d" % height, height)]
            self.by_id[statement_id] = index
            if self.finalise_at_once:
                self.finalise()
        height = self.entries[index][1]
        return wire.Accepted(index=index, height=height, block_time_ms=BLOCK_TIME_MS + height, duplicate=duplicate)

    def finalise(self, size: int | None = None) -> None:
        self.final_size = len(self.entries) if size is None else size
        self.notify()

    def notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def note(self) -> bytes:
        checkpoint = Checkpoint(ORIGIN, self.final_size, bytes(32))
        return format_note(Note(checkpoint_body(checkpoint), (log_signature(self.signer, checkpoint),)))

    def final_event(self) -> wire.LedgerEvent:
        return wire.LedgerEvent(final=wire.Final(size=self.final_size, checkpoint=self.note()))


def pass_at(size: int) -> bytes:
    """A pass of a state of so many entries."""
    from tests.contracts.proving import forged, started

    return forged(replace(started().facts(), size=max(size, 1))).encode()


class FakeValidator(service.ValidatorServicer):
    """One validator. The flags are its failures."""

    def __init__(self, name: str, ledger: FakeLedger, *, leader: str = "") -> None:
        self.name = name
        self.ledger = ledger
        self.leader = leader or name
        self.port = 0
        self.ready = True
        self.silent = False  # takes statements, orders them, says nothing
        self.deaf = False  # answers no status
        self.no_leader = False
        self.overloaded = False
        self.refuses = ""  # to sign anything, with this code
        self.indexed: int | None = None  # still making its index, so far
        self.behind_at: int | None = None  # answers as if the log ended there
        self.answer_delay_s = 0.0
        self.break_after: int | None = (
            None  # ends the submit stream once it has ordered so many, answering none of them
        )
        self.ordered = 0
        self.batches: list[int] = []
        self.calls: list[str] = []
        self.streams: set[asyncio.Task[Any]] = set()
        self._server: grpc.aio.Server | None = None

    # ---- life

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> ValidatorEndpoint:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        service.add_ValidatorServicer_to_server(self, self._server)
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        await self._server.start()
        return ValidatorEndpoint(self.name, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)

    @property
    def size(self) -> int:
        return len(self.ledger.entries) if self.behind_at is None else self.behind_at

    @property
    def final_size(self) -> int:
        return min(self.size, self.ledger.final_size)

    def result(self, tag: int, raw: bytes) -> wire.Result | None:
        """What becomes of one statement; None is silence."""
        self.ledger.submissions.append(raw)
        refused = wire.Refused
        if self.overloaded:
            return wire.Result(tag=tag, refused=refused(reason=refused.OVERLOADED, code="queue", retry_after_ms=700))
        if self.no_leader:
            return wire.Result(
                tag=tag, refused=refused(reason=refused.UNAVAILABLE, code="no_leader", detail="no leader")
            )
        if self.ledger.missing:
            missing = refused(
                reason=refused.UNAVAILABLE, retry_after_ms=2_500, missing_authorities=list(self.ledger.missing)
            )
            return wire.Result(tag=tag, refused=missing)
        decided = self.ledger.decide(raw)
        if decided is not None:
            decided.tag = tag
            return decided
        accepted = self.ledger.append(raw)
        self.ordered += 1
        return None if self.silent else wire.Result(tag=tag, accepted=accepted)

    # ---- the service

    async def Submit(self, request_iterator: AsyncIterator[wire.SubmitRequest], context: Any) -> AsyncIterator[Any]:
        async for request in request_iterator:
            self.batches.append(len(request.items))
            results = [self.result(item.tag, item.statement) for item in request.items]
            if self.break_after is not None and self.ordered >= self.break_after:
                self.break_after = None
                await context.abort(grpc.StatusCode.INTERNAL, "broken on purpose")
            if self.answer_delay_s:
                await asyncio.sleep(self.answer_delay_s)
            answered = [result for result in results if result is not None]
            if answered:
                yield wire.SubmitReply(results=answered)

    async def Follow(self, request: wire.FollowRequest, context: Any) -> AsyncIterator[wire.LedgerEvent]:
        self.calls.append("Follow")
        sent = -1
        while True:
            changed = self.ledger.changed
            if self.ledger.final_size > sent and self.ledger.final_size > 0:
                sent = self.ledger.final_size
                yield self.ledger.final_event()
            else:
                await changed.wait()

    async def GetStatement(self, request: wire.StatementQuery, context: Any) -> wire.StatementInfo:
        self.calls.append("GetStatement")
        index = self.ledger.by_id.get(request.id)
        if index is None or index >= self.size:
            return wire.StatementInfo(found=False)
        raw, height = self.ledger.entries[index]
        final = index < self.final_size
        return wire.StatementInfo(
            found=True,
            index=index,
            height=height,
            block_time_ms=BLOCK_TIME_MS + height,
            final=final,
            statement=raw,
            cosigned_at_s={"kz-kgd": 1_795_312_800, "cn-gacc": 1_795_312_801} if final else {},
        )

    async def GetProof(self, request: wire.StatementQuery, context: Any) -> wire.ProofReply:
        index = self.ledger.by_id.get(request.id)
        if index is None or index >= self.size:
            return wire.ProofReply(found=False)
        final = index < self.final_size
        proof = b"c2sp.org/tlog-proof@v1\nindex %d\n" % index if final else b""
        if request.further:
            covered = self.ledger.further is not None and index < self.ledger.further.size
            proof = b"c2sp.org/tlog-proof@v1\nindex %d\nfurther\n" % index if covered else b""
        return wire.ProofReply(found=True, final=final, proof=proof, statement=self.ledger.entries[index][0])

    async def GetReceipts(self, request: wire.ReceiptsQuery, context: Any) -> wire.ReceiptsReply:
        index = self.ledger.by_id.get(request.id)
        if index is None or index >= self.size:
            return wire.ReceiptsReply(found=False)
        reply = wire.ReceiptsReply(
            found=True, final=index < self.final_size, statement=self.ledger.entries[index][0], refused=self.refuses
        )
        reply.missing_authorities.extend(self.ledger.missing)
        if reply.final and not self.refuses and not self.ledger.missing:
            reply.document = b"receipt of " + (request.authority or "both").encode()
            if self.ledger.voters != (1, 2):
                reply.document += f", signed by {self.ledger.voters}".encode()
        return reply

    async def GetStatusProof(self, request: wire.StatusProofQuery, context: Any) -> wire.StatusProofReply:
        self.calls.append("GetStatusProof")
        if not self.final_size:
            return wire.StatusProofReply(size=0)
        if self.ledger.status_proof is not None:
            return wire.StatusProofReply(
                size=self.final_size, proof=self.ledger.status_proof(request.key), present=True
            )
        present = request.key in self.ledger.records
        proof = b"%s: %s" % (request.key.encode(), self.ledger.records.get(request.key, b"none"))
        return wire.StatusProofReply(size=self.final_size, proof=proof, present=present)

    async def GetPass(self, request: wire.PassQuery, context: Any) -> wire.PassReply:
        if self.refuses or self.ledger.missing:
            return wire.PassReply(refused=self.refuses, detail="why", missing_authorities=self.ledger.missing)
        return wire.PassReply(crossing_pass=pass_at(self.final_size))

    async def GetFurther(self, request: wire.FurtherQuery, context: Any) -> wire.FurtherReply:
        return self.ledger.further or wire.FurtherReply()

    async def GetRecords(self, request: wire.RecordsQuery, context: Any) -> wire.RecordsReply:
        self.calls.append("GetRecords")
        found = [(key, self.ledger.records[key]) for key in request.keys if key in self.ledger.records]
        records = [wire.Record(key=key, value=value) for key, value in found]
        return wire.RecordsReply(records=records, size=self.size)

    async def ListRecords(self, request: wire.ListQuery, context: Any) -> wire.RecordsReply:
        keys = sorted(key for key in self.ledger.records if key.startswith(request.prefix) and key > request.after)
        page = keys[: request.limit]
        records = [wire.Record(key=key, value=self.ledger.records[key]) for key in page]
        return wire.RecordsReply(records=records, more=len(keys) > len(page), size=self.size)

    async def Find(self, request: wire.FindQuery, context: Any) -> wire.FindReply:
        self.calls.append("Find")
        if self.indexed is not None:
            return wire.FindReply(size=self.size, complete=False, covered=self.indexed)
        mentioned = self.ledger.mentioned.get((request.kind, request.identifier), [])
        rows = [(f"{number:08}".encode(), key) for number, key in enumerate(mentioned)]
        rows = [row for row in reversed(rows) if not request.after or row[0] < request.after]
        page = rows[: request.limit]
        found = [wire.FoundRecord(key=key, first_entry=1, last_entry=2, position=position) for position, key in page]
        return wire.FindReply(found=found, more=len(rows) > len(page), size=self.size, complete=True)

    async def GetDwell(self, request: wire.DwellQuery, context: Any) -> wire.DwellReply:
        if self.indexed is not None:
            return wire.DwellReply(size=self.size, complete=False, covered=self.indexed)
        first, last = (request.first_day, request.last_day) if request.last_day else (19_994, 20_000)
        final = self.ledger.final_size
        size = request.size or final
        reply = wire.DwellReply(first_day=first, last_day=last, size=size, final_size=final, complete=True)
        reply.figures.extend(self.ledger.dwell)
        return reply

    async def GetEntries(self, request: wire.EntriesQuery, context: Any) -> wire.EntriesReply:
        self.calls.append("GetEntries")
        end = self.ledger.final_size if request.final_only else len(self.ledger.entries)
        entries: list[wire.Entry] = []
        position = request.first
        while position < end and len(entries) < request.limit:
            raw, height = self.ledger.entries[position]
            if not request.subject or request.subject.encode() in raw:
                entries.append(wire.Entry(index=position, raw=raw, height=height, block_time_ms=BLOCK_TIME_MS + height))
            position += 1
        return wire.EntriesReply(entries=entries, next=position)

    async def GetMembership(self, request: wire.MembershipQuery, context: Any) -> wire.Membership:
        member = wire.MemberStatus(name=self.name, party="kz-kgd", role="voter", reachable=True, leader=True, size=1)
        return wire.Membership(number=0, digest=bytes(32), text="text", committed=True, members=[member])

    async def ChangeMembership(self, request: wire.MembershipSubmission, context: Any) -> wire.MembershipReply:
        if request.change == b"good":
            return wire.MembershipReply(state="committed", number=1)
        return wire.MembershipReply(state="refused", code="signature_missing", detail="missing cn-gacc")

    async def GetEvidence(self, request: wire.EvidenceQuery, context: Any) -> wire.EvidenceReply:
        if self.ledger.evidence is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "an older release")
        bundles = [
            wire.EvidenceBundle(id=key, claim="two_roots", words=f"words of {self.name}", bundle=raw)
            for key, raw in sorted((self.ledger.evidence or {}).items())
        ]
        if self.ledger.pages_evidence:
            bundles = [each for each in bundles if each.id > request.after]
        return wire.EvidenceReply(bundles=bundles[:EVIDENCE_PAGE], more=len(bundles) > EVIDENCE_PAGE)

    async def GetTile(self, request: wire.TileQuery, context: Any) -> wire.TileReply:
        self.calls.append(f"GetTile {request.path}")
        if self.ledger.tile is not None:
            return wire.TileReply(found=True, data=self.ledger.tile(request.path))
        known = {tile_path(0, 0, width) for width in range(1, 257)} | {tile_path(-1, 0, w) for w in range(1, 257)}
        return wire.TileReply(found=request.path in known, data=request.path.encode())

    async def GetStatus(self, request: wire.StatusQuery, context: Any) -> wire.ValidatorStatus:
        if self.deaf:
            await asyncio.sleep(3600)
        missing = self.ledger.missing
        authorities = [
            wire.AuthorityStatus(
                name=name,
                country=country,
                reachable=name not in missing,
                validators_reachable=[] if name in missing else [f"{name}-{each}" for each in self.ledger.voters],
                validators_missing=[f"{name}-{each}" for each in self.ledger.voters] if name in missing else [],
            )
            for name, country in (("kz-kgd", "KZ"), ("cn-gacc", "CN"))
        ]
        state = "ready" if not missing else f"waiting for {missing[0]}: nothing becomes committed until it is back"
        return wire.ValidatorStatus(
            validator=self.name,
            authority="kz-kgd",
            origin=ORIGIN,
            leader="" if self.no_leader else self.leader,
            size=self.size,
            height=self.ledger.entries[self.size - 1][1],
            final_size=self.final_size,
            authorities=authorities,
            ready=self.ready and not missing and not self.no_leader,
            state=state,
        )

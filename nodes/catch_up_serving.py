"""Giving a snapshot to a validator that fell behind, without falling behind oneself (docs/adr/0015).

A session is one stream: the ledger as it was when the session began (`ledger.snapshot`), held by a view of the store.
Sessions are few, one for each peer and one for each party, so that machines of one side cannot keep the other's from
coming back; and each piece is read in a thread of its own and followed by a rest several times
as long as the reading took; a receiver that stops taking pieces loses its session. So the statements that come
in meanwhile find the interpreter free most of the time.

A question about a position of the order is answered from what was executed here. That answer is what binds a snapshot
to the order: the log does not say from which position a block came, and one peer alone is not believed.

Does not: verify anything of the one who asks but its name, which TLS proved, and its network.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from hashlib import sha256

import structlog

from ledger.chain import Chain
from ledger.snapshot import Descriptor, SnapshotSource
from ledger.store import Store
from nodes.proto import peer_pb2

# Two authorities, and a neutral party.
MAX_SESSIONS = 3
# A bundle goes in pieces of this size: other messages are not to wait for a large one.
BUNDLE_PIECE_BYTES = 256 * 1024
# Rest after each piece, as a multiple of the time it took to read.
REST_FACTOR = 2
# How long a session waits for the present size to become final, and how often it looks.
FINAL_WAIT_S = 15.0
FINAL_POLL_S = 0.05
_SUPERSEDED = "a newer session of the same peer has taken over"

# The term of a position of the order and the encoded membership after it; None where that is no longer on record.
OrderRecord = Callable[[int], tuple[int, bytes] | None]


class FetchRefused(Exception):
    """Not now, or not for you; the text says why."""


class SnapshotServer:
    """See the module. Belongs to the event loop; reads in ``executor``."""

    def __init__(
        self,
        store: Store,
        chain: Chain,
        network: bytes,
        order_record: OrderRecord,
        executor: Executor,
        *,
        party_of: Callable[[str], str] = str,
    ) -> None:
        """`party_of`: whose a peer is."""
        self._party_of = party_of
        self._store = store
        self._chain = chain
        self._network = network
        self._order_record = order_record
        self._executor = executor
        self._sessions: dict[str, object] = {}
        self._log = structlog.get_logger().bind(part="catch_up")

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    def serve(self, peer: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
        """Answer a request. The iterator raises FetchRefused."""
        if request.network != self._network:
            return _refuse("another network: genesis records differ")
        if request.HasField("position"):
            return self._answer(request.position)
        return self._session(peer, request)

    # --- a position of the order -------------------------------------------------------------------------------------

    async def _answer(self, query: peer_pb2.PositionQuery) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
        yield peer_pb2.FetchPiece(position=self.position(query.applied, query.height))

    def position(self, applied: int, height: int) -> peer_pb2.Position:
        """Whether the ledger was at this height after this position of the order."""
        verdict = self._verdict(applied, height)
        if verdict != peer_pb2.Position.YES:
            return peer_pb2.Position(verdict=verdict)
        record = self._order_record(applied)
        if record is None:
            return peer_pb2.Position(verdict=peer_pb2.Position.UNKNOWN)
        return peer_pb2.Position(verdict=verdict, order_term=record[0], membership_sha256=sha256(record[1]).digest())

    def _verdict(self, applied: int, height: int) -> peer_pb2.Position.Verdict:
        head = self._chain.head
        if applied > head.applied:
            return peer_pb2.Position.UNKNOWN
        if height > head.height:
            return peer_pb2.Position.NO
        at = self._chain.order_of_block(height) if height else 0
        after = self._chain.order_of_block(height + 1) if height < head.height else head.applied + 1
        if (at is not None and at > applied) or (after is not None and after <= applied):
            return peer_pb2.Position.NO
        return peer_pb2.Position.UNKNOWN if at is None or after is None else peer_pb2.Position.YES

    # --- a snapshot --------------------------------------------------------------------------------------------------

    async def _session(self, peer: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
        others = [other for other in self._sessions if other != peer]
        if peer not in self._sessions and len(others) >= MAX_SESSIONS:
            raise FetchRefused(f"{len(others)} others are being served")
        for other in others:
            if self._party_of(other) == self._party_of(peer):
                raise FetchRefused(f"{other}, of the same party, is being served: one of each at a time")
        # A newer session of the same peer takes the place of one whose end we have not noticed.
        mine = self._sessions[peer] = object()
        loop = asyncio.get_running_loop()
        source: SnapshotSource | None = None
        try:
            source = await loop.run_in_executor(self._executor, SnapshotSource, self._store)
            descriptor = await self._described(source, peer, mine)
            if not request.hashes_from <= request.bundles_from <= descriptor.bundles:
                raise FetchRefused(f"expected bundles from at most {descriptor.bundles} on, got {request.bundles_from}")
            record = self._order_record(descriptor.applied)
            if record is None:
                raise FetchRefused(f"position {descriptor.applied} of the order is no longer on record")
            self._log.info("snapshot_begun", peer=peer, size=descriptor.size, applied=descriptor.applied)
            yield peer_pb2.FetchPiece(
                beginning=peer_pb2.FetchBeginning(
                    descriptor=descriptor.encode(), order_term=record[0], membership=record[1]
                )
            )
            pieces = _pieces(source, request.hashes_from, request.bundles_from)
            while self._sessions.get(peer) is mine:
                began_s = loop.time()
                piece = await loop.run_in_executor(self._executor, next, pieces, None)
                if piece is None:
                    self._log.info("snapshot_sent", peer=peer, size=descriptor.size)
                    return
                took_s = loop.time() - began_s
                yield piece
                await asyncio.sleep(took_s * REST_FACTOR)
            raise FetchRefused(_SUPERSEDED)
        finally:
            if self._sessions.get(peer) is mine:
                del self._sessions[peer]
            if source is not None:
                source.close()

    async def _described(self, source: SnapshotSource, peer: str, session: object) -> Descriptor:
        """What is executed here becomes final a moment later: wait for that moment, in one session of a peer."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + FINAL_WAIT_S
        while True:
            descriptor = source.describe(self._chain)
            if descriptor is not None:
                return descriptor
            if loop.time() > deadline_s:
                raise FetchRefused(f"no checkpoint that covers {source.size} entries is final")
            await asyncio.sleep(FINAL_POLL_S)
            if self._sessions.get(peer) is not session:
                raise FetchRefused(_SUPERSEDED)


async def _refuse(why: str) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
    raise FetchRefused(why)
    yield


def _pieces(source: SnapshotSource, hashes_from: int, bundles_from: int) -> Iterator[peer_pb2.FetchPiece]:
    for hashes in source.hashes(hashes_from):
        yield peer_pb2.FetchPiece(hashes=hashes)
    for bundle in source.bundles(bundles_from):
        for at in range(0, len(bundle), BUNDLE_PIECE_BYTES):
            end = at + BUNDLE_PIECE_BYTES
            yield peer_pb2.FetchPiece(bundle=peer_pb2.BundlePiece(data=bundle[at:end], more=end < len(bundle)))
    for chunk in source.state():
        yield peer_pb2.FetchPiece(state=chunk)
    yield peer_pb2.FetchPiece(end=peer_pb2.FetchEnd())

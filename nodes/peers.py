"""The transport between validators: grpc.aio streams under mutual TLS, one from each validator to each other one.

Promises: an envelope is delivered under a sender's name only if TLS proved that name (the certificate is issued by the
CA of that validator's own authority, see `certificates`), the batch claims the same name and the same network, and
both speak a common version of the protocol (see `versions`).
Envelopes of one sender arrive in the order in which they were sent, as long as the stream lasts.

Who is there changes while it runs (`set_peers`). A former member that connects is shown the signed changes of the
membership that it lacks, and nothing else: by them it learns that it was removed.

Does not promise delivery: what is queued when a stream breaks is dropped, as is what does not fit the queue. Raft and
the anti-entropy of the cosignatures repeat what matters.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog

from nodes.catch_up import PeerFailed
from nodes.catch_up_serving import FetchRefused
from nodes.certificates import NotThePeer, PeerDirectory, certificate_end_ms
from nodes.clock import Clock, SystemClock
from nodes.config import PeerEntry, ValidatorConfig
from nodes.proto import peer_pb2, peer_pb2_grpc
from nodes.versions import Announcement, VersionsDoNotMeet, announcement_of, own_announcement

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
BATCH_MAX_BYTES = 2 * 1024 * 1024
QUEUE_MAX_BYTES = 32 * 1024 * 1024
QUEUE_MAX_ENVELOPES = 8192
BACKOFF_FIRST_S = 0.05
BACKOFF_LAST_S = 2.0
WELCOME_TIMEOUT_S = 5.0
# Of a snapshot: no piece for so long, and the other side is taken for dead.
FETCH_IDLE_S = 30.0
# A peer that is connected but has said nothing for so long is not called reachable.
SILENCE_S = 5.0

_CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
# Two processes on one port would share its connections silently.
SERVER_OPTIONS: list[tuple[str, Any]] = [*_CHANNEL_OPTIONS, ("grpc.so_reuseport", 0)]

# How a stream ends. A write may find out before the read that waits beside it: then the state of the call is wrong.
_STREAM_ENDS = (
    grpc.RpcError,
    grpc.aio.UsageError,
    asyncio.InvalidStateError,
    TimeoutError,
    NotThePeer,
    VersionsDoNotMeet,
    OSError,
)


ServeFetch = Callable[[str, peer_pb2.FetchRequest], AsyncGenerator[peer_pb2.FetchPiece, None]]


async def refuse_fetch(peer: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
    raise FetchRefused("no snapshots are given here")
    yield


@dataclass(frozen=True, slots=True)
class MembershipExchange:
    """What is said of the membership when a stream opens: how many changes are known here; those beyond a number; what
    to do with those that a peer shows.
    """

    number: Callable[[], int] = lambda: 0
    notes: Callable[[int], Sequence[bytes]] = lambda _: ()
    learn: Callable[[str, Sequence[bytes]], None] = lambda *_: None


@dataclass(slots=True)
class _Outgoing:
    entry: PeerEntry
    queue: collections.deque[tuple[peer_pb2.Envelope, int]] = field(default_factory=collections.deque)
    queued_bytes: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    # Set when the peer has connected to us: it is there again, so there is nothing to wait for.
    returned: asyncio.Event = field(default_factory=asyncio.Event)
    connected: bool = False
    task: asyncio.Task[None] | None = None


class PeerTransport:
    """Sends envelopes to the other validators and hands in theirs. Belongs to one event loop."""

    def __init__(
        self,
        config: ValidatorConfig,
        network: bytes,
        deliver: Callable[[str, peer_pb2.Envelope], None],
        *,
        announcement: Announcement | None = None,
        on_announced: Callable[[str, Announcement], None] = lambda *_: None,
        on_connected: Callable[[str], None] = lambda _: None,
        on_unreachable: Callable[[str], None] = lambda _: None,
        serve_fetch: ServeFetch = refuse_fetch,
        membership: MembershipExchange | None = None,
        jitter: random.Random | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._network = network
        self._deliver = deliver
        self._announcement = announcement or own_announcement()
        # Raises VersionsDoNotMeet for a peer with which there is nothing to talk about.
        self._on_announced = on_announced
        self._on_connected = on_connected
        self._on_unreachable = on_unreachable
        self._serve_fetch = serve_fetch
        self._membership = membership or MembershipExchange()
        self._jitter = jitter or random.Random()
        self._clock = clock or SystemClock()
        self._log = structlog.get_logger().bind(part="peers")
        self._certificate = config.certificate.read_bytes()
        self._key = config.certificate_key.read_bytes()
        self._server: grpc.aio.Server | None = None
        self._outgoing: dict[str, _Outgoing] = {}
        self._heard: dict[str, float] = {}
        self._cas = {authority.name: authority.ca_certificate.read_bytes() for authority in config.authorities}
        self._directory = PeerDirectory({}, self._cas)
        self.certificate_ends: dict[str, int] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self.set_peers(config.peers, {peer.name: peer.authority for peer in config.peers}, self._cas)
        self._incoming: dict[str, int] = {}
        self._streams = 0
        self.refused = 0
        self.dropped = 0
        # The CAs that the server was last told of.
        self._believed: frozenset[bytes] = frozenset()
        # Set by whoever judges what peers send: why a stream is to be ended, and not to be begun for now.
        self.cut_off: Callable[[str], str | None] = lambda _: None

    def set_peers(self, peers: Iterable[PeerEntry], callers: Mapping[str, str], cas: Mapping[str, bytes]) -> None:
        """Who is there from now on: whom to connect to; who may call, by name and party; the CA of each party, PEM."""
        withdrawn = {name for name, before in self._cas.items() if before not in cas.get(name, b"")}
        self._cas = dict(cas)
        self._directory = PeerDirectory(callers, self._cas)
        wanted = {peer.name: peer for peer in peers}
        self.certificate_ends = {name: end for name, end in self.certificate_ends.items() if name in wanted}
        for name, outgoing in list(self._outgoing.items()):
            if wanted.get(name) != outgoing.entry or outgoing.entry.authority in withdrawn:
                del self._outgoing[name]
                self._let_go(outgoing)
        for name, peer in wanted.items():
            if name not in self._outgoing:
                self._outgoing[name] = outgoing = _Outgoing(peer)
                if self._server is not None:
                    self._connect(outgoing)

    def _connect(self, outgoing: _Outgoing) -> None:
        outgoing.task = asyncio.create_task(self._keep_connected(outgoing), name=f"peer {outgoing.entry.name}")

    def _let_go(self, outgoing: _Outgoing) -> None:
        if outgoing.task is not None:
            outgoing.task.cancel()
            self._leaving.add(outgoing.task)
            outgoing.task.add_done_callback(self._leaving.discard)

    def _certificates(self) -> Any:
        """Asked by gRPC for each new connection: whose CA is believed, if that has changed with the membership.

        None while it has not: gRPC frees what it had when it is given anything, and a handshake that is under way on
        another thread ends the process by reading it.
        """
        cas = frozenset(each for each in self._cas.values() if each)
        if cas == self._believed:
            return None
        self._believed = cas
        return grpc.ssl_server_certificate_configuration(
            [(self._key, self._certificate)], root_certificates=b"".join(sorted(cas))
        )

    async def start(self) -> None:
        """Listen, and connect to every peer. Raises OSError when the port is taken."""
        credentials = grpc.dynamic_ssl_server_credentials(
            self._certificates(), self._certificates, require_client_authentication=True
        )
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        peer_pb2_grpc.add_PeerServicer_to_server(_Servicer(self), self._server)
        address = str(self._config.peer_address)
        try:
            bound = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}") from error
        if not bound:
            raise OSError(f"cannot listen on {address}")
        await self._server.start()
        for outgoing in self._outgoing.values():
            self._connect(outgoing)

    async def stop(self) -> None:
        tasks = [outgoing.task for outgoing in self._outgoing.values() if outgoing.task] + list(self._leaving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server:
            await self._server.stop(grace=None)

    def send(self, name: str, envelope: peer_pb2.Envelope) -> bool:
        """Queue one envelope. False when there is no stream to that peer now, or its queue is full."""
        outgoing = self._outgoing.get(name)
        if outgoing is None or not outgoing.connected:
            return False
        size = envelope.ByteSize()
        if outgoing.queued_bytes + size > QUEUE_MAX_BYTES or len(outgoing.queue) >= QUEUE_MAX_ENVELOPES:
            self.dropped += 1
            return False
        outgoing.queue.append((envelope, size))
        outgoing.queued_bytes += size
        outgoing.wake.set()
        return True

    def broadcast(self, envelope: peer_pb2.Envelope) -> None:
        for name in self._outgoing:
            self.send(name, envelope)

    def connected(self) -> list[str]:
        return [name for name, outgoing in self._outgoing.items() if outgoing.connected]

    def reachable(self, name: str) -> bool:
        """Whether a stream to the peer is up and the peer has said something lately."""
        outgoing = self._outgoing.get(name)
        if outgoing is None or not outgoing.connected:
            return False
        return self._clock.monotonic_s() - self._heard.get(name, 0.0) < SILENCE_S

    def queued(self) -> int:
        return sum(len(outgoing.queue) for outgoing in self._outgoing.values())

    # --- fetching ---------------------------------------------------------------------------------------------------

    async def fetch(self, name: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
        """Ask a peer for a snapshot, on a connection of its own: what is urgent is not to wait behind it.

        Raises PeerFailed when the peer cannot be reached, refuses, or sends nothing for too long.
        """
        request.network = self._network
        outgoing = self._outgoing.get(name)
        if outgoing is None:
            raise PeerFailed(f"{name} is no longer a member")
        try:
            async with self._channel(outgoing.entry) as channel:
                call = peer_pb2_grpc.PeerStub(channel).Fetch(request)
                try:
                    while True:
                        async with asyncio.timeout(FETCH_IDLE_S):
                            piece = await call.read()
                        if piece is grpc.aio.EOF:
                            break
                        yield piece
                    if await call.code() is not grpc.StatusCode.OK:
                        raise PeerFailed(f"{await call.details()}")
                finally:
                    call.cancel()
        except (grpc.RpcError, grpc.aio.AioRpcError, grpc.aio.UsageError, TimeoutError, NotThePeer, OSError) as error:
            raise PeerFailed(_reason(error)) from error

    def _channel(self, peer: PeerEntry) -> grpc.aio.Channel:
        if not self._cas[peer.authority]:
            # With no certificate at all, gRPC would believe those of the system.
            raise NotThePeer(f"no CA certificate of {peer.authority} counts here, so nobody is {peer.name}")
        credentials = grpc.ssl_channel_credentials(self._cas[peer.authority], self._key, self._certificate)
        options = [
            *_CHANNEL_OPTIONS,
            ("grpc.ssl_target_name_override", peer.name),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        return grpc.aio.secure_channel(str(peer.address), credentials, options=options)

    async def serve_fetch(self, request: peer_pb2.FetchRequest, context: Any) -> None:
        try:
            name = self._directory.identify(context.auth_context())
        except NotThePeer as error:
            self.refused += 1
            self._log.warning("peer_refused", reason=str(error), address=context.peer())
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
            return
        if name not in self._outgoing:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{name} is no longer a member")
            return
        pieces = self._serve_fetch(name, request)
        try:
            async for piece in pieces:
                async with asyncio.timeout(FETCH_IDLE_S):
                    await context.write(piece)
        except FetchRefused as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"took no piece for {FETCH_IDLE_S} s")
        finally:
            await pieces.aclose()

    # --- outgoing -------------------------------------------------------------------------------------------------

    async def _keep_connected(self, outgoing: _Outgoing) -> None:
        peer = outgoing.entry
        backoff = BACKOFF_FIRST_S
        while True:
            started = self._clock.monotonic_s()
            try:
                async with self._channel(peer) as channel:
                    await self._stream(outgoing, peer_pb2_grpc.PeerStub(channel))
            except asyncio.CancelledError:
                # gRPC says that the other end cancelled the stream in the words in which this task is told to stop.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
            except _STREAM_ENDS as error:
                self._log.debug("peer_stream_ended", peer=peer.name, reason=_reason(error))
            except Exception:
                # Whatever it was, the peer must not be left without a stream for good.
                self._log.error("peer_stream_failed", peer=peer.name, exc_info=True)
            finally:
                self._disconnected(outgoing)
            if self._clock.monotonic_s() - started > BACKOFF_LAST_S:
                backoff = BACKOFF_FIRST_S
            outgoing.returned.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff * (0.5 + self._jitter.random())):
                    await outgoing.returned.wait()
            backoff = min(backoff * 2, BACKOFF_LAST_S)

    async def _stream(self, outgoing: _Outgoing, stub: Any) -> None:
        peer = outgoing.entry
        call = stub.Exchange()
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                await call.write(self._first_batch())
                welcome = await call.read()
            if welcome is grpc.aio.EOF:
                raise NotThePeer(f"{peer.name} ended the stream: {await call.code()} {await call.details()}")
            if welcome.name != peer.name or welcome.network != self._network:
                raise NotThePeer(f"expected {peer.name} of this network, got {welcome.name!r}")
            self._hear(peer.name, welcome)
            if welcome.membership:
                self._membership.learn(peer.name, list(welcome.membership))
            self._log.info("peer_connected", peer=peer.name)
            outgoing.connected = True
            self._on_connected(peer.name)
            ended = asyncio.ensure_future(call.read())
            try:
                await self._pump(outgoing, call, ended)
            finally:
                ended.cancel()
        finally:
            call.cancel()

    def _first_batch(self) -> peer_pb2.Batch:
        own = self._announcement
        return peer_pb2.Batch(
            sender=self._config.name,
            network=self._network,
            protocol_lowest=own.versions.lowest,
            protocol_highest=own.versions.highest,
            release=own.release,
            membership=self._membership.number(),
        )

    def _welcome(self, membership: int) -> peer_pb2.Welcome:
        own = self._announcement
        return peer_pb2.Welcome(
            name=self._config.name,
            network=self._network,
            protocol_lowest=own.versions.lowest,
            protocol_highest=own.versions.highest,
            release=own.release,
            membership=self._membership.notes(membership),
        )

    def _hear(self, name: str, said: peer_pb2.Batch | peer_pb2.Welcome) -> None:
        """Raises NotThePeer for a range that is none, VersionsDoNotMeet for one that ours does not meet."""
        try:
            announcement = announcement_of(said.protocol_lowest, said.protocol_highest, said.release)
        except ValueError as error:
            raise NotThePeer(f"{name}: {error}") from error
        self._on_announced(name, announcement)

    async def _pump(self, outgoing: _Outgoing, call: Any, ended: asyncio.Future[Any]) -> None:
        ended.add_done_callback(lambda _: outgoing.wake.set())
        while not ended.done():
            if not outgoing.queue:
                outgoing.wake.clear()
                await outgoing.wake.wait()
                continue
            batch = peer_pb2.Batch(sender=self._config.name)
            size = 0
            while outgoing.queue and (size == 0 or size + outgoing.queue[0][1] <= BATCH_MAX_BYTES):
                envelope, bytes_ = outgoing.queue.popleft()
                outgoing.queued_bytes -= bytes_
                size += bytes_
                batch.envelopes.append(envelope)
            await call.write(batch)

    def _disconnected(self, outgoing: _Outgoing) -> None:
        outgoing.queue.clear()
        outgoing.queued_bytes = 0
        if outgoing.connected:
            outgoing.connected = False
            self._log.info("peer_disconnected", peer=outgoing.entry.name)
            self._on_unreachable(outgoing.entry.name)

    # --- incoming -------------------------------------------------------------------------------------------------

    async def receive(self, batches: AsyncIterator[peer_pb2.Batch], context: Any) -> None:
        try:
            directory = self._directory
            name = directory.identify(context.auth_context())
        except NotThePeer as error:
            self.refused += 1
            self._log.warning("peer_refused", reason=str(error), address=context.peer())
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
            return
        self._streams += 1
        stream = self._incoming[name] = self._streams
        self.certificate_ends[name] = certificate_end_ms(context.auth_context())
        welcomed = False
        async for batch in batches:
            if self._incoming.get(name) != stream:
                await context.abort(grpc.StatusCode.ABORTED, "a newer stream of the same peer has taken over")
            if directory is not self._directory:
                # Who is there, or whose CA counts, has changed: what TLS proved once may be worth nothing now.
                directory = self._directory
                await self._still_the_peer(directory, context)
            reason = self.cut_off(name)
            if reason:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
            reason = self._objection(name, batch, first=not welcomed)
            if reason:
                self.refused += 1
                self._log.warning("peer_refused", peer=name, reason=reason, address=context.peer())
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, reason)
            if not welcomed:
                try:
                    self._hear(name, batch)
                except (NotThePeer, VersionsDoNotMeet) as error:
                    self.refused += 1
                    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
                await context.write(self._welcome(batch.membership))
                welcomed = True
                outgoing = self._outgoing.get(name)
                if outgoing is None:
                    await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{name} is no longer a member")
                    return
                outgoing.returned.set()
            elif name not in self._outgoing:
                # Whoever left meanwhile: it connects anew, and is told so.
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{name} is no longer a member")
            self._heard[name] = self._clock.monotonic_s()
            for envelope in batch.envelopes:
                self._deliver(name, envelope)

    async def _still_the_peer(self, directory: PeerDirectory, context: Any) -> None:
        try:
            directory.identify(context.auth_context())
        except NotThePeer as error:
            self.refused += 1
            self._log.warning("peer_refused", reason=str(error), address=context.peer())
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))

    def _objection(self, name: str, batch: peer_pb2.Batch, *, first: bool) -> str | None:
        if batch.sender != name:
            return f"batch claims to be from {batch.sender[:64]!r}, the certificate names {name!r}"
        if first and batch.network != self._network:
            return "another network: genesis records differ"
        return None


def _reason(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"


class _Servicer(peer_pb2_grpc.PeerServicer):
    def __init__(self, transport: PeerTransport) -> None:
        self._transport = transport

    async def Exchange(self, request_iterator: AsyncIterator[peer_pb2.Batch], context: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._transport.receive(request_iterator, context)

    async def Fetch(self, request: peer_pb2.FetchRequest, context: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._transport.serve_fetch(request, context)

"""The network between simulated validators: the bytes of production, and everything that can happen to them.

There is a stream from each validator to each other one, as `nodes.peers` makes them: what is sent is serialised, what
arrives is parsed; a stream breaks when its other end dies or after some seconds of a partition, is made again after a
pause, and what was on its way on it is lost. Beyond what TCP would do, envelopes may be dropped, doubled and overtake
each other: Raft and the anti-entropy have to bear that in any case.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledger.errors import LedgerError, UnknownDurableState
from nodes.catch_up import PeerFailed
from nodes.catch_up_serving import FetchRefused
from nodes.config import PeerEntry, ValidatorConfig
from nodes.peers import FETCH_IDLE_S, SILENCE_S, MembershipExchange, ServeFetch
from nodes.proto import peer_pb2
from nodes.versions import Announcement, VersionsDoNotMeet
from tests.simulation.world import MS, NodeLoop, S, World

# How long a partition lasts before the ends of a stream notice.
NOTICE_US = (1 * S, 8 * S)
RECONNECT_US = (50 * MS, 1500 * MS)


@dataclass
class Weather:
    """How the network is while it is bad."""

    drop: float = 0.0
    double: float = 0.0
    overtake: float = 0.0
    delay_us: int = 2 * MS
    # Now and then a message takes this long.
    late: float = 0.0
    late_us: int = 200 * MS

    @classmethod
    def draw(cls, rng: random.Random) -> Weather:
        return cls(
            drop=rng.choice((0.0, 0.0, 0.02, 0.1, 0.25)),
            double=rng.choice((0.0, 0.0, 0.05)),
            overtake=rng.choice((0.0, 0.3, 1.0)),
            delay_us=rng.choice((1, 3, 20, 60)) * MS,
            late=rng.choice((0.0, 0.01, 0.1)),
            late_us=rng.choice((100, 500, 3000)) * MS,
        )


class Links:
    """Who can reach whom."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = self.climate = Weather()
        self.blocked: set[tuple[str, str]] = set()
        self.ends: dict[str, SimulatedTransport] = {}
        # The stream that is up from one to the other, by a number that is never used twice.
        self.streams: dict[tuple[str, str], int] = {}
        self._arrived_us: dict[tuple[str, str], int] = {}
        self._numbers = 0
        # What is watched: sender, receiver, envelope. And what a liar turns an envelope into before it leaves.
        self.on_sent: Callable[[str, str, peer_pb2.Envelope], None] = lambda *_: None
        self.on_received: Callable[[str, str, peer_pb2.Envelope], None] = lambda *_: None
        self.altered: dict[str, Callable[[peer_pb2.FetchPiece], peer_pb2.FetchPiece]] = {}
        self.lies: dict[str, Callable[[str, peer_pb2.Envelope], peer_pb2.Envelope | None]] = {}

    def healthy(self, one: str, other: str) -> bool:
        return (one, other) not in self.blocked and (other, one) not in self.blocked

    def heal(self) -> None:
        self.blocked.clear()
        self.weather = Weather()

    def block(self, pairs: set[tuple[str, str]]) -> None:
        self.blocked |= pairs
        for one, other in sorted(pairs):
            for stream in ((one, other), (other, one)):
                self.world.after(self.world.rng.randrange(*NOTICE_US), lambda stream=stream: self._notice(stream))  # type: ignore[misc]

    def _notice(self, stream: tuple[str, str]) -> None:
        if not self.healthy(*stream):
            self.disconnect(stream)

    # --- streams ----------------------------------------------------------------------------------------------------

    def attach(self, end: SimulatedTransport) -> None:
        self.ends[end.name] = end
        for other in end.peers:
            # Who tried to reach us tries again at once when it hears from us, or soon.
            self._later(end, other, self.world.rng.randrange(1 * MS, 50 * MS))

    def detach(self, end: SimulatedTransport) -> None:
        if self.ends.get(end.name) is end:
            del self.ends[end.name]
        for stream in [each for each in self.streams if end.name in each]:
            if stream[0] == end.name:
                self.streams.pop(stream)
            else:
                self.world.after(self.world.rng.randrange(1 * MS, 30 * MS), self._breaker(stream, self.streams[stream]))

    def _breaker(self, stream: tuple[str, str], number: int) -> Callable[[], None]:
        def run() -> None:
            if self.streams.get(stream) == number:
                self.disconnect(stream)

        return run

    def disconnect(self, stream: tuple[str, str]) -> None:
        if self.streams.pop(stream, None) is None:
            return
        end = self.ends.get(stream[0])
        if end is not None:
            end.loop.call_soon(end.disconnected, stream[1])
            self._later(end, stream[1], self.world.rng.randrange(*RECONNECT_US))

    def _later(self, end: SimulatedTransport, other: str, delay_us: int) -> None:
        self.world.after(delay_us, lambda: self._connect(end, other))

    def _connect(self, end: SimulatedTransport, other: str) -> None:
        stream = (end.name, other)
        if self.ends.get(end.name) is not end or stream in self.streams or other not in end.peers:
            return
        theirs = self.ends.get(other)
        if (
            theirs is None
            or not self.healthy(end.name, other)
            or theirs.cut_off(end.name)
            or end.name not in theirs.callers
        ):
            self._later(end, other, self.world.rng.randrange(*RECONNECT_US))
            return
        notes = list(theirs.membership.notes(end.membership.number()))
        if end.name not in theirs.peers:
            # Whoever left is told so, and why.
            end.loop.call_soon(end.turned_away, other, theirs.announcement, notes)
            self._later(end, other, self.world.rng.randrange(*RECONNECT_US))
            return
        self._numbers += 1
        self.streams[stream] = self._numbers
        theirs.loop.call_soon(theirs.heard_from, end.name, end.announcement)
        end.loop.call_soon(end.connected_to, other, theirs.announcement, notes)

    # --- envelopes --------------------------------------------------------------------------------------------------

    def carry(self, sender: SimulatedTransport, to: str, data: bytes) -> None:
        world, weather, rng = self.world, self.weather, self.world.rng
        stream = (sender.name, to)
        if stream in self.blocked:
            world.faults["message into a partition"] += 1
            return
        if weather.drop and rng.random() < weather.drop:
            world.faults["message dropped"] += 1
            return
        copies = 1
        if weather.double and rng.random() < weather.double:
            world.faults["message doubled"] += 1
            copies = 2
        number = self.streams[stream]
        for _ in range(copies):
            arrival_us = sender.loop.local_us() + rng.randrange(200, 200 + weather.delay_us)
            if weather.late and rng.random() < weather.late:
                world.faults["message late"] += 1
                arrival_us += rng.randrange(weather.late_us)
            if not (weather.overtake and rng.random() < weather.overtake):
                arrival_us = max(arrival_us, self._arrived_us.get(stream, 0) + 1)
                self._arrived_us[stream] = arrival_us
            world.at(arrival_us, lambda: self._arrive(stream, number, data))

    def _arrive(self, stream: tuple[str, str], number: int, data: bytes) -> None:
        if self.streams.get(stream) != number or stream in self.blocked:
            self.world.faults["message lost on its way"] += 1
            return
        end = self.ends.get(stream[1])
        if end is not None:
            end.loop.call_soon(end.receive, stream[0], data)

    # --- snapshots --------------------------------------------------------------------------------------------------

    def fetch(
        self, asker: SimulatedTransport, name: str, request: bytes, arrive: Callable[[bytes | str], None]
    ) -> None:
        world = self.world
        sent_us = world.now_us

        def carry(piece: bytes | str) -> None:
            nonlocal sent_us
            if not self.healthy(asker.name, name):
                return
            sent_us = max(sent_us, world.now_us) + world.rng.randrange(100, 100 + self.weather.delay_us)
            world.at(sent_us, lambda: _soon(asker, arrive, piece))

        giver = self.ends.get(name)
        if giver is None or not self.healthy(asker.name, name) or asker.name not in giver.peers:
            world.after(world.rng.randrange(1 * MS, 1 * S), lambda: carry("cannot be reached"))
            return
        world.faults["snapshot asked for"] += 1

        async def give() -> None:
            change = self.altered.get(name, _unaltered)
            try:
                async for piece in giver.serve_fetch(asker.name, peer_pb2.FetchRequest.FromString(request)):
                    carry(change(piece).SerializeToString())
                carry("")
            except (FetchRefused, LedgerError) as error:
                carry(f"refused: {error}")

        world.after(
            world.rng.randrange(200, 5000), lambda: giver.loop.call_soon(lambda: giver.loop.create_task(give()))
        )


def _soon(end: SimulatedTransport, callback: Callable[..., object], *arguments: object) -> None:
    end.loop.call_soon(callback, *arguments)


def _unaltered(piece: peer_pb2.FetchPiece) -> peer_pb2.FetchPiece:
    return piece


class SimulatedTransport:
    """What `nodes.peers.PeerTransport` is to a validator."""

    def __init__(
        self,
        links: Links,
        loop: NodeLoop,
        config: ValidatorConfig,
        network: bytes,
        deliver: Callable[[str, peer_pb2.Envelope], None],
        *,
        announcement: Announcement,
        on_announced: Callable[[str, Announcement], None],
        on_connected: Callable[[str], None],
        on_unreachable: Callable[[str], None],
        serve_fetch: ServeFetch,
        membership: MembershipExchange,
    ) -> None:
        self.membership = membership
        self.links = links
        self.loop = loop
        self.name = config.name
        self.network = network
        self.announcement = announcement
        self.refused = 0
        self.dropped = 0
        self.peers = [peer.name for peer in config.peers]
        self.callers = set(self.peers)
        self._deliver = deliver
        self._on_announced = on_announced
        self._on_connected = on_connected
        self._on_unreachable = on_unreachable
        self.serve_fetch = serve_fetch
        self.cut_off: Callable[[str], str | None] = lambda _: None
        # No certificates are shown here.
        self.certificate_ends: dict[str, int] = {}
        self._heard: dict[str, float] = {}

    async def start(self) -> None:
        self.links.attach(self)

    async def stop(self) -> None:
        self.links.detach(self)

    def send(self, name: str, envelope: peer_pb2.Envelope) -> bool:
        if self.loop.dead or (self.name, name) not in self.links.streams:
            return False
        lie = self.links.lies.get(self.name)
        if lie is not None:
            changed = lie(name, envelope)
            if changed is None:
                return True
            envelope = changed
        self.links.on_sent(self.name, name, envelope)
        self.links.carry(self, name, envelope.SerializeToString())
        return True

    def set_peers(self, peers: Iterable[PeerEntry], callers: Mapping[str, str], cas: Mapping[str, bytes]) -> None:
        before, self.peers = self.peers, [peer.name for peer in peers]
        self.callers = set(callers)
        if self.links.ends.get(self.name) is not self:
            return
        for name in before:
            if name not in self.peers:
                self.links.disconnect((self.name, name))
        for name in self.peers:
            if name not in before:
                self.links._later(self, name, self.links.world.rng.randrange(1 * MS, 50 * MS))

    def broadcast(self, envelope: peer_pb2.Envelope) -> None:
        for name in self.peers:
            self.send(name, envelope)

    def connected(self) -> list[str]:
        return [name for name in self.peers if (self.name, name) in self.links.streams]

    def reachable(self, name: str) -> bool:
        heard_s = self._heard.get(name)
        return (
            heard_s is not None and (self.name, name) in self.links.streams and self.loop.time() - heard_s < SILENCE_S
        )

    def queued(self) -> int:
        return 0

    async def fetch(self, name: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
        """The stream of a snapshot, piece by piece over the same bad network; the other end runs on its own loop."""
        request.network = self.network
        pieces: asyncio.Queue[bytes | str] = asyncio.Queue()
        self.links.fetch(self, name, request.SerializeToString(), pieces.put_nowait)
        try:
            while True:
                async with asyncio.timeout(FETCH_IDLE_S):
                    piece = await pieces.get()
                if piece == "":
                    return
                if isinstance(piece, str):
                    raise PeerFailed(piece)
                yield peer_pb2.FetchPiece.FromString(piece)
        except TimeoutError as error:
            raise PeerFailed("nothing came") from error

    # --- from the links ---------------------------------------------------------------------------------------------

    def connected_to(self, name: str, announcement: Announcement, notes: Sequence[bytes]) -> None:
        if self._meets(name, announcement) and (self.name, name) in self.links.streams:
            if notes:
                self.membership.learn(name, notes)
            self._on_connected(name)

    def turned_away(self, name: str, announcement: Announcement, notes: Sequence[bytes]) -> None:
        if self._meets(name, announcement) and notes:
            self.membership.learn(name, notes)

    def heard_from(self, name: str, announcement: Announcement) -> None:
        if self._meets(name, announcement):
            self._heard[name] = self.loop.time()
            # It is there again, so there is nothing to wait for.
            self.links._later(self, name, 1 * MS)

    def _meets(self, name: str, announcement: Announcement) -> bool:
        try:
            self._on_announced(name, announcement)
        except (VersionsDoNotMeet, UnknownDurableState):
            self.refused += 1
            return False
        return True

    def disconnected(self, name: str) -> None:
        self._on_unreachable(name)

    def receive(self, name: str, data: bytes) -> None:
        why = self.cut_off(name)
        if why:
            self.links.world.note(f"{self.name} cuts {name} off: {why}")
            self.links.disconnect((name, self.name))
            return
        if name not in self.peers:
            # Whoever left meanwhile: it connects anew, and is told so.
            self.links.disconnect((name, self.name))
            return
        self._heard[name] = self.loop.time()
        envelope = peer_pb2.Envelope.FromString(data)
        self.links.on_received(name, self.name, envelope)
        self._deliver(name, envelope)

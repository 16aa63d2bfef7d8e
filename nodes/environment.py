"""What a validator touches of the machine it runs on: clocks, chance, threads, the disk, the network.

Promises: nothing else in a running validator reads a clock, makes a thread, opens a store or a socket. `Environment` is
the real machine; the simulator hands in another one (FoundationDB's way of testing: the same program over a machine
that does what a seed says).

Does not promise anything of its own: every method is the plain call that the validator would make itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from ledger.leveldb import DISK_RESERVE_BYTES
from ledger.store import Store
from nodes.checked_stores import open_checked
from nodes.checking_process import CheckingProcess
from nodes.clock import Clock, SystemClock
from nodes.config import PeerEntry, ValidatorConfig
from nodes.feeding import Answer, post
from nodes.files import Files
from nodes.peers import MembershipExchange, PeerTransport, ServeFetch
from nodes.proto import peer_pb2
from nodes.service import ValidatorService, serve
from nodes.versions import Announcement


class Transport(Protocol):
    """What a validator asks of whatever carries its messages: `nodes.peers.PeerTransport` promises it."""

    refused: int
    dropped: int
    # Why nothing of a peer is to be read now, or None.
    cut_off: Callable[[str], str | None]

    @property
    def certificate_ends(self) -> Mapping[str, int]:
        """When the certificate ends that each peer has shown, in Unix milliseconds."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def set_peers(self, peers: Iterable[PeerEntry], callers: Mapping[str, str], cas: Mapping[str, bytes]) -> None: ...

    def send(self, name: str, envelope: peer_pb2.Envelope) -> bool: ...

    def broadcast(self, envelope: peer_pb2.Envelope) -> None: ...

    def connected(self) -> list[str]: ...

    def reachable(self, name: str) -> bool: ...

    def queued(self) -> int: ...

    def fetch(self, name: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[peer_pb2.FetchPiece, None]: ...


# Free space that a snapshot on its way leaves alone: twice what the order, which has to go on meanwhile, asks for.
STAGING_RESERVE_BYTES = 2 * DISK_RESERVE_BYTES


class Server(Protocol):
    """What answers gateways: a `grpc.aio.Server` promises it."""

    async def stop(self, grace: float | None) -> None: ...


class Environment:
    """The machine as it is."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.files = Files()

    def seed(self) -> int:
        """For what must differ between the nodes, and between two starts of one: election time-outs."""
        return time.time_ns()

    def open_store(self, path: Path) -> Store:
        """A store in which every record is checked. Raises StoreUnavailable, UnknownDurableState."""
        return open_checked(path)

    def open_staging(self, path: Path) -> Store:
        """As `open_store`, for what comes from others in any amount: it stops long before the order has no room."""
        return open_checked(path, disk_reserve_bytes=STAGING_RESERVE_BYTES)

    def executor(self, threads: int, name: str) -> Executor:
        return ThreadPoolExecutor(threads, thread_name_prefix=name)

    def checking_processes(self, count: int) -> list[CheckingProcess]:
        """Processes that check signatures; each is started when it is first asked."""
        return [CheckingProcess() for _ in range(count)]

    def transport(
        self,
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
    ) -> Transport:
        return PeerTransport(
            config,
            network,
            deliver,
            announcement=announcement,
            on_announced=on_announced,
            on_connected=on_connected,
            on_unreachable=on_unreachable,
            serve_fetch=serve_fetch,
            membership=membership,
            clock=self.clock,
        )

    def post(self, url: str, body: bytes) -> Answer:
        """Ask a third party's witness, in a thread. Raises NoAnswer."""
        return post(url, body)

    async def serve(self, service: ValidatorService, config: ValidatorConfig) -> Server:
        """Answer gateways. Raises OSError when the port is taken."""
        return await serve(service, config)

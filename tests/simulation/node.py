"""One simulated validator: the real `Validator` over a simulated machine, from start to crash to start.

What outlives a start is the disk and the wall clock's error. `serve_validator` is followed step by step, with the same
exit statuses for the same troubles; who starts it again, and when, is for `faults`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import grpc

import consensus
from api.proto import validator_pb2
from ledger.checked import CheckedStore
from ledger.errors import LedgerError, UnknownDurableState
from ledger.store import Store, StoreUnavailable
from nodes.config import ValidatorConfig
from nodes.environment import Environment, Server, Transport
from nodes.opening import FIRST_START
from nodes.service import ValidatorService
from nodes.validator import EXIT_DURABLE_STATE, EXIT_UNAVAILABLE, REOPEN, Validator
from tests.simulation.corridor import START_MS, Corridor
from tests.simulation.disk import Disk, SimulatedFiles, SimulatedStore
from tests.simulation.links import Links, SimulatedTransport
from tests.simulation.world import MS, Crash, NodeLoop, SimulatedExecutor, World


class NodeClock:
    """The two clocks of a node: both drift together, and the wall clock can be set."""

    def __init__(self, node: Node, loop: NodeLoop) -> None:
        self._node = node
        self._loop = loop

    def now_ms(self) -> int:
        return START_MS + 1000 + int(self._loop.local_us() * self._loop.drift) // MS + self._node.clock_error_ms

    def monotonic_s(self) -> float:
        return self._loop.time()


class SimulatedEnvironment(Environment):
    def __init__(self, node: Node, loop: NodeLoop) -> None:
        self.clock = NodeClock(node, loop)
        self._node = node
        self._loop = loop
        self.files = SimulatedFiles(node.disk, node.config.data, self._alive, node.power_failed)

    def _alive(self) -> bool:
        return not self._loop.dead

    def seed(self) -> int:
        return self._node.world.rng.getrandbits(64)

    def open_store(self, path: Path) -> Store:
        node = self._node
        below = SimulatedStore(
            node.disk, node.disk.platter(path), crash=node.power_failed, alive=self._alive, stall=self._loop.stall
        )
        return CheckedStore(below, name=f"store {path}")

    def open_staging(self, path: Path) -> Store:
        return self.open_store(path)

    def executor(self, threads: int, name: str) -> Executor:
        return SimulatedExecutor(self._loop, threads)

    def transport(self, config: ValidatorConfig, network: bytes, deliver: Any, **callbacks: Any) -> Transport:
        self._node.transport = SimulatedTransport(self._node.links, self._loop, config, network, deliver, **callbacks)
        return self._node.transport

    async def serve(self, service: ValidatorService, config: ValidatorConfig) -> Server:
        return _Server()


class _Server:
    async def stop(self, grace: float | None) -> None:
        """Calls that are open end with the loop."""


class Caller:
    """What a gRPC servicer asks of the context of a call."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._pem]}

    def peer(self) -> str:
        return "simulated"

    async def abort(self, code: Any, details: str = "") -> None:
        if code is not grpc.StatusCode.UNAVAILABLE:
            raise RuntimeError(f"the call was refused: {code} {details}")
        raise NotNow(details)


class NotNow(Exception):
    """The validator cannot answer at the moment: to be asked again, or somebody else."""


class Node:
    """`validator` is there while it runs. `exit_code` is that of the last start that ended by itself."""

    def __init__(self, world: World, links: Links, corridor: Corridor, config: ValidatorConfig) -> None:
        self.world = world
        self.links = links
        self.corridor = corridor
        self.config = config
        self.identity = corridor.identities[config.name]
        self.name = config.name
        self.authority = config.authority
        # A newcomer that nobody has set up yet is not there; nor is who was removed, any more.
        self.present = config.name in corridor.validators
        self.disk = Disk(self.name, world.rng)
        self.disk.files[config.data / FIRST_START] = b""
        self.clock_error_ms = 0
        self.drift = 1.0
        self.starts = 0
        self.loop: NodeLoop | None = None
        self.transport: SimulatedTransport | None = None
        self.validator: Validator | None = None
        self.serving = False
        self.exit_code: int | None = None
        # Why it will not come back: a disk that only a repair could help. Or it lies, and is not to be believed.
        self.lost: str | None = None
        self.lies = False
        self.on_ended: Callable[[Node, int, str], None] = lambda *_: None
        self.on_started: Callable[[Node], None] = lambda _: None
        self.on_crashed: Callable[[Node], None] = lambda _: None

    @property
    def up(self) -> bool:
        return self.loop is not None

    def start(self) -> None:
        if self.loop is not None or self.lost is not None or not self.present:
            return
        self.starts += 1
        self.world.note(f"{self.name} start {self.starts}")
        loop = self.loop = NodeLoop(self.world, self.name, drift=self.drift)  # type: ignore[abstract]
        loop.on_error = self._unexpected
        self._main = loop.create_task(self._run(loop), name="main")

    def _unexpected(self, error: BaseException | None, message: str) -> None:
        if error is not None and not isinstance(error, Crash) and message.startswith("Exception in callback"):
            self.world.fail("no callback fails", f"{self.name}: {message}: {error!r}")

    async def _run(self, loop: NodeLoop) -> None:
        """As `nodes.running.serve_validator` does it."""
        while True:
            code, why = await self._serve_once(loop)
            self.serving = False
            if code != REOPEN:
                return self._end(code, why)
            self.world.note(f"{self.name} opens again")
            self.world.faults["taken over by a snapshot"] += 1
            self.validator = None
            self.on_crashed(self)

    async def _serve_once(self, loop: NodeLoop) -> tuple[int, str]:
        try:
            validator = self.validator = Validator(
                self.config, self.identity, environment=SimulatedEnvironment(self, loop)
            )
            self.on_started(self)
        except (UnknownDurableState, consensus.UnknownDurableState) as error:
            return EXIT_DURABLE_STATE, str(error)
        except (StoreUnavailable, OSError) as error:
            return EXIT_UNAVAILABLE, str(error)
        except LedgerError as error:
            return EXIT_DURABLE_STATE, str(error)
        try:
            await validator.start()
            self.serving = True
            code = await validator.run()
            self.serving = False
            await validator.stop()
        except (UnknownDurableState, consensus.UnknownDurableState) as error:
            # Serving ended with a traceback: the exit status of the process is another one, the state is the same.
            return EXIT_DURABLE_STATE, str(error)
        return code, "ended"

    def _end(self, code: int, why: str) -> None:
        self.world.note(f"{self.name} ended with {code}: {why}")
        self._stop(keep_unsynced=True)
        self.exit_code = code
        self.on_ended(self, code, why)

    def _stop(self, *, keep_unsynced: bool) -> int:
        if self.loop is not None:
            self.loop.kill()
        if self.transport is not None:
            self.links.detach(self.transport)
        self.loop, self.transport, self.validator, self.serving = None, None, None, False
        lost = self.disk.power_off(keep_unsynced=keep_unsynced)
        self.on_crashed(self)
        return lost

    def crash(self, *, keep_unsynced: bool) -> None:
        if self.loop is None:
            return
        lost = self._stop(keep_unsynced=keep_unsynced)
        self.world.note(f"{self.name} crash, {lost} batches lost")

    def power_failed(self) -> None:
        """The disk has counted to the operation at which this node ends."""
        self.world.faults[f"crash {self.disk.crash_how} a write"] += 1
        self.crash(keep_unsynced=self.world.rng.random() < 0.3)
        self.world.after(self.world.rng.randrange(50 * MS, 3000 * MS), self.start)

    # --- calls of gateways ------------------------------------------------------------------------------------------

    def submit(self, request: bytes, on_reply: Callable[[validator_pb2.SubmitReply], None]) -> None:
        """One submit stream with one message, as a gateway opens it."""
        if self.validator is not None and self.serving and self.loop is not None:
            self.loop.call_soon(self._open_stream, self.loop, self.validator.service, request, on_reply)

    def _open_stream(self, loop: NodeLoop, service: ValidatorService, request: bytes, on_reply: Any) -> None:
        async def requests() -> AsyncIterator[validator_pb2.SubmitRequest]:
            yield validator_pb2.SubmitRequest.FromString(request)

        async def call() -> None:
            caller = Caller(self.corridor.gateway_pems[self.authority])
            async for reply in service.Submit(requests(), caller):
                on_reply(validator_pb2.SubmitReply.FromString(reply.SerializeToString()))

        self._watch(loop.create_task(call()))

    def ask(self, method: str, request: Any, on_reply: Callable[[Any], None]) -> None:
        """One unary call."""
        if self.validator is None or not self.serving or self.loop is None:
            return
        service, loop = self.validator.service, self.loop

        async def call() -> None:
            caller = Caller(self.corridor.gateway_pems[self.authority])
            on_reply(await getattr(service, method)(request, caller))

        loop.call_soon(lambda: self._watch(loop.create_task(call())))

    def _watch(self, task: asyncio.Task[None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, Crash | UnknownDurableState | NotNow):
                self.world.fail("no call fails", f"{self.name}: {error!r}")

        task.add_done_callback(ended)

"""The network of a run: its processes, its gateways' clients, and what they say of their health."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from api.client import AsyncClient, ClientError, Retry, TokenSigner
from ledger.algorithms import PrivateKey
from ledger.checkpoint import parse_checkpoint
from ledger.note import parse_note
from nodes.config import Address
from nodes.demo.board import AuthorityLine, Board
from nodes.demo.offices import SENT_AT_ONCE_MAX
from nodes.demo.processes import NodeProcess, NodeProcesses, Port, comity_command
from nodes.demo.steps import CheckFailed
from nodes.network import Network

READY_TIMEOUT_S: Final = 60.0
READY_POLL_S: Final = 0.1
REQUEST_TIMEOUT_S: Final = 5.0
MONITOR_EVERY_S: Final = 0.5


class RunningNetwork:
    """Validators and gateways on loopback. Use as an async context: leaving it leaves no process behind."""

    def __init__(self, network: Network, logs: Path, board: Board, refresh: Callable[[], None]) -> None:
        self.network = network
        self._board = board
        self._refresh = refresh
        self._addresses: dict[str, Address] = {}
        nodes = []
        for validator in network.validators:
            self._addresses[validator.name] = validator.http_address
            command = comity_command("validator", "run", "--config", str(validator.config))
            ports = _ports(validator.peer_address, validator.service_address, validator.http_address)
            nodes.append(NodeProcess(validator.name, command, logs / f"{validator.name}.log", ports))
        for gateway in network.gateways:
            self._addresses[gateway.name] = gateway.http_address
            command = comity_command("gateway", "run", "--config", str(gateway.config))
            ports = _ports(gateway.http_address, gateway.grpc_address)
            nodes.append(NodeProcess(gateway.name, command, logs / f"{gateway.name}.log", ports))
        self.processes = NodeProcesses(nodes)
        self._http = httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S)
        # Devices retry by themselves, from their outboxes.
        self.submitters = {
            authority.name: AsyncClient(
                self.url(authority.name), retry=Retry(attempts=1), connections_max=SENT_AT_ONCE_MAX + 4
            )
            for authority in network.authorities
        }
        self.readers: dict[str, AsyncClient] = {}
        for authority in network.authorities:
            board.authorities[authority.name] = AuthorityLine(authority.name, len(self.validators_of(authority.name)))

    async def __aenter__(self) -> RunningNetwork:
        return self

    async def __aexit__(self, *exception: object) -> None:
        for client in (*self.submitters.values(), *self.readers.values()):
            await client.close()
        await self._http.aclose()
        self.processes.__exit__(None, None, None)

    def url(self, authority: str) -> str:
        """Where the first gateway of an authority is."""
        gateway = next(item for item in self.network.gateways if item.authority == authority)
        return f"http://{gateway.http_address}"

    def grpc_address(self, authority: str) -> str:
        return str(next(item.grpc_address for item in self.network.gateways if item.authority == authority))

    def validators_of(self, authority: str) -> list[str]:
        return [item.name for item in self.network.validators if item.authority == authority]

    def sign_readers(self, officers: Mapping[str, PrivateKey]) -> None:
        """Let each authority's officer ask its own gateway. `officers`: authority to key."""
        for authority, key in officers.items():
            signer = TokenSigner(key, participant=f"{authority}/officer", origin=self.network.origin)
            self.readers[authority] = AsyncClient(self.url(authority), signer=signer)

    async def _ready(self, name: str) -> bool:
        try:
            reply = await self._http.get(f"http://{self._addresses[name]}/readyz")
        except httpx.HTTPError:
            return False
        return reply.status_code == 200

    async def until_ready(self, names: Iterable[str]) -> None:
        """Wait until every named node says it is ready. Raises CheckFailed when one ends, or the time is up."""
        waiting = list(names)
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while waiting:
            self.processes.check_running(waiting)
            answers = await asyncio.gather(*(self._ready(name) for name in waiting))
            waiting = [name for name, ready in zip(waiting, answers, strict=True) if not ready]
            self._refresh()
            if waiting and time.monotonic() > deadline_s:
                tails = "\n".join(f"{name}: {self.processes[name].log_tail()}" for name in waiting)
                raise CheckFailed(f"not ready after {READY_TIMEOUT_S:.0f} s: {', '.join(waiting)}\n{tails}")
            if waiting:
                await asyncio.sleep(READY_POLL_S)

    async def final_size(self, authority: str) -> int:
        """The size of the newest checkpoint that a gateway of the authority serves to anybody."""
        note = await self.submitters[authority].checkpoint()
        return parse_checkpoint(parse_note(note).text).size

    async def status(self, authority: str) -> dict[str, Any]:
        return await self.submitters[authority].status()

    async def watch(self) -> None:
        """Keep the board's health up to date, for ever."""
        while True:
            for authority in self.network.authorities:
                with contextlib.suppress(ClientError):
                    self._show(await self.status(authority.name))
            self._refresh()
            await asyncio.sleep(MONITOR_EVERY_S)

    def _show(self, status: Mapping[str, Any]) -> None:
        if not status["authorities"]:
            return  # a gateway without validators knows nothing of the others
        board = self._board
        board.size = max(board.size, int(status["size"]))
        board.final_size = max(board.final_size, int(status["final_size"]))
        board.final_lag_ms = int(status["final_lag_ms"])
        board.state = "" if status["ready"] else str(status["state"])
        for authority in status["authorities"]:
            line = board.authorities[authority["name"]]
            line.reachable = len(authority["validators_reachable"])
            line.last_cosigned_size = int(authority["last_cosigned_size"])
            line.remark = "" if authority["reachable"] else "away: nothing becomes final"


def _ports(*addresses: Address) -> tuple[Port, ...]:
    return tuple(Port(address.host, address.port) for address in addresses)

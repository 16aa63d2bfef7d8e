"""A network of real validator processes on loopback, and a client that speaks to them as a gateway does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx

from api.proto import validator_pb2, validator_pb2_grpc
from ledger.algorithms import EDDSA, PrivateKey
from ledger.statement import Statement, sign_statement
from nodes.network import Network, NetworkValidator, init_network

AUTHORITIES = [("kz-kgd", "KZ"), ("cn-gacc", "CN")]
ORIGIN = "comity.example/bakhty-baketu"
# How long something may take that has to come about. Only a failure waits so long: a machine that runs eight other
# things beside these processes is slow, not wrong.
PATIENCE_S = 180.0
RUN = """
import sys
from nodes.config import load_validator_config
try:
    from nodes.running import run_validator
except ImportError:  # a release of before there was that module
    from nodes.validator import run_validator
sys.exit(run_validator(load_validator_config(sys.argv[1])))
"""


class Processes:
    """The validators of a network, each a process of its own."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def validator(self, name: str) -> NetworkValidator:
        return next(each for each in self.network.validators if each.name == name)

    def log(self, name: str) -> Path:
        return self.validator(name).config.parent / "log.jsonl"

    def start(self, *names: str, program: Path | None = None) -> None:
        """`program`: the sources to run, if not those of this tree; the process imports nothing else of ours."""
        for name in names or [each.name for each in self.network.validators]:
            with self.log(name).open("ab") as log:
                self.running[name] = subprocess.Popen(
                    [sys.executable, "-c", RUN, str(self.validator(name).config)], stderr=log, stdout=log, cwd=program
                )

    def kill(self, *names: str) -> None:
        """As a power cut would."""
        for name in names:
            process = self.running.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def stop(self, *names: str) -> dict[str, int]:
        """Ask them to stop. Returns their exit statuses."""
        chosen = {name: self.running.pop(name) for name in names or list(self.running)}
        for process in chosen.values():
            process.terminate()
        codes = {}
        for name, process in chosen.items():
            try:
                codes[name] = process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        return codes

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.log(name).read_text(errors="replace").splitlines()
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found


def make_network(directory: Path, **options: Any) -> Processes:
    return Processes(init_network(directory, origin=ORIGIN, authorities=AUTHORITIES, **options))


class Client:
    """One validator as its authority's gateway sees it."""

    def __init__(self, network: Network, name: str, *, as_gateway: str | None = None) -> None:
        self.validator = next(each for each in network.validators if each.name == name)
        gateway = next(each for each in network.gateways if each.authority == self.validator.authority)
        if as_gateway is not None:
            gateway = next(each for each in network.gateways if each.name == as_gateway)
        directory = gateway.config.parent
        own = network.directory / "authorities" / self.validator.authority / "ca.pem"
        credentials = grpc.ssl_channel_credentials(
            own.read_bytes(),
            (directory / "certificate.key").read_bytes(),
            (directory / "certificate.pem").read_bytes(),
        )
        options: list[tuple[str, Any]] = [
            ("grpc.ssl_target_name_override", name),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", 32 * 1024 * 1024),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 300),
        ]
        self.channel = grpc.aio.secure_channel(str(self.validator.service_address), credentials, options=options)
        self.stub: Any = validator_pb2_grpc.ValidatorStub(self.channel)

    async def submit(self, raws: Sequence[bytes]) -> list[Any]:
        """Hand in statements, and return what became of each, in order."""
        call = self.stub.Submit()
        request = validator_pb2.SubmitRequest()
        for tag, raw in enumerate(raws):
            request.items.append(validator_pb2.SubmitRequest.Item(tag=tag, statement=raw))
        await call.write(request)
        await call.done_writing()
        results: list[Any] = [None] * len(raws)
        async for reply in call:
            for result in reply.results:
                results[result.tag] = result
        return results

    async def status(self) -> Any:
        return await self.stub.GetStatus(validator_pb2.StatusQuery(), timeout=5)

    async def statement(self, id_: bytes) -> Any:
        return await self.stub.GetStatement(validator_pb2.StatementQuery(id=id_), timeout=5)

    async def close(self) -> None:
        await self.channel.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def until(condition: Callable[[], Any], *, timeout_s: float = PATIENCE_S, what: str = "condition") -> Any:
    """Poll an async condition until it gives something true."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = await condition()
            if last:
                return last
        except grpc.aio.AioRpcError as error:
            last = error.code()
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{what} did not come about within {timeout_s} s; last: {last!r}")


async def wait_ready(network: Network, names: Iterable[str], *, timeout_s: float = PATIENCE_S) -> None:
    for name in names:
        async with Client(network, name) as client:

            async def ready(client: Client = client) -> bool:
                return bool((await client.status()).ready)

            await until(ready, timeout_s=timeout_s, what=f"{name} ready")


async def all_final(network: Network, name: str, ids: Sequence[bytes], *, timeout_s: float = PATIENCE_S) -> list[Any]:
    """Wait until the validator calls every statement final; return what it says of them."""
    async with Client(network, name) as client:

        async def final() -> Any:
            found = [await client.statement(id_) for id_ in ids]
            return found if all(each.final for each in found) else None

        result: list[Any] = await until(final, timeout_s=timeout_s, what=f"{len(ids)} statements final at {name}")
        return result


class Signer:
    """The registrar of an authority, enrolling trucks: each a statement that the contracts accept once."""

    def __init__(self, network: Network, authority: str = "kz-kgd") -> None:
        entry = next(each for each in network.authorities if each.name == authority)
        self.key = PrivateKey.from_pem(entry.key("registrar").read_bytes())
        self.issuer = f"{authority}/registrar"
        self.country = entry.country.lower()

    def enrol(self, name: str | None = None) -> Statement:
        truck = PrivateKey.generate(EDDSA)
        return sign_statement(
            self.key,
            kind="registry.enrol",
            iss=self.issuer,
            sub=f"{self.country}/truck/{name or secrets.token_hex(6)}",
            iat_s=int(time.time()),
            cti=secrets.token_bytes(16),
            payload={"key": truck.public.cose_key, "roles": ["truck"]},
        )


@contextlib.asynccontextmanager
async def running(directory: Path, **options: Any) -> AsyncIterator[Processes]:
    """A network, up and ready; killed at the end."""
    processes = make_network(directory, **options)
    processes.start()
    try:
        # A neutral party has no gateway, and nobody else may ask its witness.
        asked = {gateway.authority for gateway in processes.network.gateways}
        await wait_ready(
            processes.network, [each.name for each in processes.network.validators if each.authority in asked]
        )
        yield processes
    finally:
        for name in list(processes.running):
            processes.kill(name)


def start_gateway(config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nodes.cli", "gateway", "run", "--config", str(config)]
    with config.with_name("log.jsonl").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


@contextlib.asynccontextmanager
async def gateway_of(processes: Processes, authority: str) -> AsyncIterator[str]:
    """The URL of an authority's gateway, a process of its own; stopped at the end."""
    gateway = next(each for each in processes.network.gateways if each.authority == authority)
    process = start_gateway(gateway.config)
    url = f"http://{gateway.http_address}"
    try:
        async with httpx.AsyncClient(base_url=url) as http:

            async def ready() -> bool:
                try:
                    return (await http.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready, what=f"{gateway.name} ready")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""Fake validators on real sockets, a pool in front of them, and a gateway in front of that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI

from api import lanes, serve, streams
from api import validators as validators_module
from api.config import AttachmentLimits, GatewayConfig, RequestLimits, ValidatorEndpoint
from api.core import Gateway
from api.http import create_app
from api.logs import configure_logs
from api.serve import Listening, serve_gateway
from api.validators import ValidatorPool
from ledger.algorithms import PrivateKey
from tests.api.fakes import ORIGIN, FakeLedger, FakeValidator
from tests.api.people import enrol_people


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same behaviour, sooner, and logged as in service."""
    configure_logs("warning")
    monkeypatch.setattr(serve, "GRACE_S", 2.0)
    monkeypatch.setattr(validators_module, "HEALTH_INTERVAL_S", 0.1)
    monkeypatch.setattr(validators_module, "HEALTH_TIMEOUT_S", 0.8)
    monkeypatch.setattr(lanes, "BACKOFF_MAX_S", 0.3)
    monkeypatch.setattr(streams, "STREAMS_DOWN_PATIENCE_S", 0.6)


@pytest.fixture
async def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
async def validators(ledger: FakeLedger) -> AsyncIterator[list[FakeValidator]]:
    """Two validators of one authority; the first leads."""
    both = [FakeValidator("kz-kgd-1", ledger), FakeValidator("kz-kgd-2", ledger, leader="kz-kgd-1")]
    for validator in both:
        await validator.start()
    yield both
    for validator in both:
        await validator.stop()


async def settled(pool: ValidatorPool) -> None:
    """Waits until every validator is known: before that, whichever connected first is the best there is."""
    async with asyncio.timeout(10):
        while not all(lane.up and lane.status is not None for lane in pool.lanes):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def pool(validators: list[FakeValidator]) -> AsyncIterator[ValidatorPool]:
    endpoints = [(v.name, "127.0.0.1", v.port) for v in validators]
    pool = ValidatorPool(
        [ValidatorEndpoint(*endpoint) for endpoint in endpoints],
        None,
        submit_timeout_s=3.0,
        request_timeout_s=2.0,
    )
    await pool.start()
    await settled(pool)
    yield pool
    await pool.close()


@dataclass
class Running:
    """A gateway that serves, and what it serves from."""

    url: str
    metrics_url: str
    grpc_target: str
    ledger: FakeLedger
    validators: list[FakeValidator]
    http: httpx.AsyncClient
    people: dict[str, PrivateKey]
    gateway: Gateway

    def token(self, participant: str, **changes: Any) -> str:
        """A good token, or one spoiled by `changes` of its claims."""
        return bearer(self.people[participant], participant, **changes)

    def auth(self, participant: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(participant)}"}


def bearer(
    key: PrivateKey, issuer: str, *, headers: dict[str, Any] | None = None, algorithm: str = "", **changes: Any
) -> str:
    now_s = int(time.time())
    claims: dict[str, Any] = {"iss": issuer, "aud": ORIGIN, "iat": now_s, "exp": now_s + 60} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    algorithm = algorithm or ("EdDSA" if key.public.alg == -8 else "ES256")
    return jwt.encode(claims, key.to_pem(), algorithm, {"kid": key.public.kid.hex()} | (headers or {}))


@pytest.fixture
async def running(
    ledger: FakeLedger, validators: list[FakeValidator], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Running]:
    """A whole gateway on real sockets."""
    config = GatewayConfig(
        name="kz-kgd-gateway-1",
        authority="kz-kgd",
        origin=ORIGIN,
        validators=tuple(ValidatorEndpoint(v.name, "127.0.0.1", v.port) for v in validators),
        limits=RequestLimits(
            submit_timeout_ms=3_000, request_timeout_ms=2_000, sequence_max_bytes=64 * 1024, sequence_max_statements=20
        ),
        metrics_port=0,
        attachments=AttachmentLimits(tmp_path / "attachments", participant_quota_bytes=200_000),
    )
    people = enrol_people(ledger)
    stop = asyncio.Event()
    made: list[Gateway] = []

    def create(gateway: Gateway) -> FastAPI:
        made.append(gateway)
        return create_app(gateway)

    monkeypatch.setattr(serve, "create_app", create)
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_gateway(config, stop=stop, on_listening=listening.set_result, handle_signals=False)
    )
    either: list[asyncio.Future[Any]] = [serving, listening]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    where = await listening if listening.done() else await serving  # type: ignore[func-returns-value]
    assert where is not None
    await settled(made[0].pool)
    url = f"http://127.0.0.1:{where.http_port}"
    metrics_url = f"http://{where.metrics_host}:{where.metrics_port}/metrics"
    async with httpx.AsyncClient(base_url=url, timeout=10) as http:
        yield Running(url, metrics_url, f"127.0.0.1:{where.grpc_port}", ledger, validators, http, people, made[0])
    stop.set()
    await serving

"""Fake validators on real sockets, a pool in front of them, and a gateway in front of that."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from api import validators as validators_module
from api.validators import ValidatorPool
from tests.api.fakes import FakeLedger, FakeValidator


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same behaviour, sooner."""
    monkeypatch.setattr(validators_module, "HEALTH_INTERVAL_S", 0.1)
    monkeypatch.setattr(validators_module, "HEALTH_TIMEOUT_S", 0.3)
    monkeypatch.setattr(validators_module, "BACKOFF_MAX_S", 0.3)
    monkeypatch.setattr(validators_module, "STREAMS_DOWN_PATIENCE_S", 0.6)


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


@pytest.fixture
async def pool(validators: list[FakeValidator]) -> AsyncIterator[ValidatorPool]:
    endpoints = [(v.name, "127.0.0.1", v.port) for v in validators]
    pool = ValidatorPool(
        [validators_module.ValidatorEndpoint(*endpoint) for endpoint in endpoints],
        None,
        submit_timeout_s=3.0,
        request_timeout_s=2.0,
    )
    await pool.start()
    yield pool
    await pool.close()

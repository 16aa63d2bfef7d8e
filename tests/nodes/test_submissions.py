"""What becomes of statements that a gateway hands in: answered once each, and ordered only if a known key signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.proto import validator_pb2
from ledger.algorithms import PrivateKey, PublicKey
from ledger.statement import Statement, sign_statement
from nodes.checking import SignatureChecks
from nodes.proposing import Unordered
from nodes.rejections import REJECTIONS_MAX, REJECTIONS_PER_S, RejectionLimits
from nodes.submissions import Submissions
from tests.nodes.world import HandClock, World


class Asked:
    """A queue that notes what it is given."""

    def __init__(self) -> None:
        self.raws: list[bytes] = []

    def submit(self, raw: bytes, waiter: Callable[[object], None]) -> None:
        self.raws.append(raw)
        waiter(Unordered(False, "test", 1))


async def submitted(
    statements: list[Statement],
    find_key: Callable[[str, bytes], PublicKey | None],
    limits: RejectionLimits | None = None,
) -> tuple[Any, Asked]:
    world = World()
    node = world.node()
    asked = Asked()
    checks = SignatureChecks(find_key, node.metrics, ThreadPoolExecutor(1))
    queue: Any = asked
    submissions = Submissions(
        node.chain, checks, queue, limits or RejectionLimits(HandClock(0)), node.metrics, lambda: (True, "ready")
    )
    items = [validator_pb2.SubmitRequest.Item(tag=tag, statement=each.raw) for tag, each in enumerate(statements)]

    async def requests() -> AsyncIterator[validator_pb2.SubmitRequest]:
        yield validator_pb2.SubmitRequest(items=items)

    async with asyncio.timeout(60):
        stream = submissions.stream(requests())
        results: list[validator_pb2.Result] = []
        while (reply := await stream.next()) is not None:
            results += reply.results
        stream.close()
    return results, asked


async def test_what_no_known_key_signed_is_answered_and_never_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.submissions.KEY_LOOK_S", 0.01)
    stranger = PrivateKey.generate()
    forged = sign_statement(
        stranger, kind="registry.enrol", iss="kz/nobody", sub="kz/x", iat_s=1, cti=bytes(16), payload={}
    )
    unknown = sign_statement(
        stranger, kind="registry.enrol", iss="kz-kgd/registrar", sub="kz/x", iat_s=1, cti=bytes(16), payload={}
    )
    results, asked = await submitted([forged, unknown], lambda issuer, kid: None)
    assert {result.tag: result.rejected.name for result in results} == {0: "issuer_unknown", 1: "key_unknown"}
    assert asked.raws == []


async def test_a_statement_whose_key_becomes_known_a_moment_later_is_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.submissions.KEY_LOOK_S", 0.01)
    key = PrivateKey.generate()
    statement = sign_statement(
        key, kind="escort.position", iss="kz/truck/t-1", sub="19GBCKKCQSXV2FGVA8", iat_s=1, cti=bytes(16), payload={}
    )
    looks: list[bytes] = []

    def find_key(issuer: str, kid: bytes) -> PublicKey | None:
        looks.append(kid)
        return key.public if len(looks) > 2 else None

    _, asked = await submitted([statement], find_key)
    assert asked.raws == [statement.raw]


async def test_who_has_had_too_much_rejected_is_told_when_to_come_again_and_nobody_else_is() -> None:
    keys = {name: PrivateKey.generate() for name in ("kz/truck/t-1", "kz/truck/t-2")}
    statements = [
        sign_statement(
            key, kind="escort.position", iss=name, sub="19GBCKKCQSXV2FGVA8", iat_s=1, cti=bytes(16), payload={}
        )
        for name, key in keys.items()
    ]
    clock = HandClock(1_000_000)
    limits = RejectionLimits(clock)
    for _ in range(REJECTIONS_MAX):
        limits.rejected("kz/truck/t-1", clock.time_ms)
    results, asked = await submitted(statements, lambda issuer, kid: keys[issuer].public, limits)
    assert asked.raws == [statements[1].raw]
    limited = next(result for result in results if result.tag == 0).refused
    assert limited.reason == validator_pb2.Refused.OVERLOADED
    assert limited.retry_after_ms == 1000 / REJECTIONS_PER_S
    assert "kz/truck/t-1" in limited.detail
    clock.time_ms += limited.retry_after_ms
    _, asked = await submitted(statements, lambda issuer, kid: keys[issuer].public, limits)
    assert asked.raws == [statement.raw for statement in statements]

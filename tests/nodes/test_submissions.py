"""What the service to gateways says of an answer, on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.proto import validator_pb2
from contracts.outcome import Outcome
from ledger.algorithms import PrivateKey, PublicKey
from ledger.statement import Statement, sign_statement
from nodes.checking import SignatureChecks
from nodes.execution import Rejected
from nodes.proposing import Unordered
from nodes.rejections import REJECTIONS_MAX, REJECTIONS_PER_S, RejectionLimits
from nodes.replies import DETAIL_MAX_CHARS, REPLY_MAX_RESULTS, Replies, to_result
from nodes.service import Following, ValidatorService
from tests.nodes.world import HandClock, World


def test_a_rejection_carries_what_the_contracts_said() -> None:
    detail = "gross_mass_g: expected 1 to 100000000, got 0"
    rejected = to_result(7, Rejected(Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, detail)).rejected
    assert (rejected.code, rejected.name, rejected.detail) == (108, "payload_field_out_of_limits", detail)
    assert to_result(7, Rejected(Outcome.KEY_REVOKED, None)).rejected.detail == ""


def test_a_long_name_of_a_field_makes_no_long_answer() -> None:
    name = "\U0001f69a" * 8_000
    result = to_result(1, Rejected(Outcome.PAYLOAD_FIELD_UNKNOWN, f"{name}: expected only place"))
    assert result.rejected.detail == name[:DETAIL_MAX_CHARS]
    reply = validator_pb2.SubmitReply(results=[result] * REPLY_MAX_RESULTS)
    assert reply.ByteSize() < 4 * 1024 * 1024


class Asked:
    """A queue that notes what it is given."""

    def __init__(self) -> None:
        self.raws: list[bytes] = []

    def submit(self, raw: bytes, waiter: Callable[[object], None]) -> None:
        self.raws.append(raw)
        waiter(Unordered(False, "test", 1))


class Ready:
    def readiness(self) -> tuple[bool, str]:
        return True, "ready"


async def submitted(
    statements: list[Statement],
    find_key: Callable[[str, bytes], PublicKey | None],
    limits: RejectionLimits | None = None,
) -> tuple[Any, Asked]:
    world = World()
    node = world.node()
    asked = Asked()
    checks = SignatureChecks(find_key, node.metrics, ThreadPoolExecutor(1))
    make: Any = ValidatorService
    limits = limits or RejectionLimits(HandClock(0))
    service = make(
        node.chain,
        checks,
        asked,
        Following(),
        node.records,
        node.log_index,
        Ready(),
        None,
        node.metrics,
        limits,
        None,
        None,
        None,
    )
    replies = Replies()
    items = [validator_pb2.SubmitRequest.Item(tag=tag, statement=each.raw) for tag, each in enumerate(statements)]
    replies.unanswered += len(items)
    service._start(service._admit_items(items, replies), replies)
    async with asyncio.timeout(60):
        while replies.unanswered:
            await replies.wake.wait()
            replies.wake.clear()
    return replies.take().results, asked


async def test_what_no_known_key_signed_is_answered_and_never_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.service.KEY_LOOK_S", 0.01)
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
    monkeypatch.setattr("nodes.service.KEY_LOOK_S", 0.01)
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

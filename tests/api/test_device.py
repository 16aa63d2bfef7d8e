"""The gateway's gRPC service and the device's client, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from api.client import TokenSigner
from api.device import REQUEST_MAX_STATEMENTS, STATUS_CODES, TAKE_AT_ONCE_STATEMENTS, SubmitSession
from api.exchange import MalformedStatement, NotAuthenticated, RejectedStatement, Unreachable
from api.grpc_client import DeviceClient
from api.problems import PROBLEMS
from api.proto import gateway_pb2 as wire
from api.proto import gateway_pb2_grpc as service
from api.proto import validator_pb2
from ledger.merkle import leaf_hash
from tests.api.conftest import Running
from tests.api.fakes import ORIGIN, signed_statement


@pytest.fixture
async def device(running: Running) -> AsyncIterator[DeviceClient]:
    signer = TokenSigner(running.people["kz/truck/t-001"], participant="kz/truck/t-001", origin=ORIGIN)
    async with DeviceClient([running.grpc_target], signer=signer, until_final=False) as client:
        yield client


async def test_a_statement_is_answered_as_committed_and_then_as_final(running: Running, device: DeviceClient) -> None:
    running.ledger.finalise_at_once = False
    submission = await device.submit(signed_statement().raw)
    receipt = await asyncio.wait_for(submission.committed(), 60)
    assert (receipt.index, receipt.state) == (1, "committed")
    assert device.unanswered == []
    running.ledger.finalise()
    assert (await asyncio.wait_for(submission.final(), 60)).final


async def test_one_that_waits_for_final_is_answered_once(running: Running) -> None:
    async with grpc.aio.insecure_channel(running.grpc_target) as channel:
        call = service.GatewayStub(channel).Submit()
        statements = [signed_statement().raw for _ in range(5)]
        await call.write(wire.SubmitRequest(statements=statements, wait=wire.WAIT_FINAL))
        await call.done_writing()
        statuses = [status async for reply in call for status in reply.statuses]
    assert [status.state for status in statuses] == [wire.STATE_FINAL] * 5
    assert sorted(status.index for status in statuses) == [1, 3, 5, 7, 9]


async def test_thousands_are_answered_once_each_in_batches(running: Running, device: DeviceClient) -> None:
    raws = [signed_statement().raw for _ in range(2000)]
    submissions = [await device.submit(raw) for raw in raws]
    receipts = await asyncio.gather(*(submission.final() for submission in submissions))
    assert len({receipt.index for receipt in receipts}) == 2000
    assert len(running.ledger.entries) == 4001


async def test_garbage_and_rejections_are_definite_and_do_not_disturb_the_rest(
    running: Running, device: DeviceClient
) -> None:
    doomed = signed_statement().raw
    rejected = validator_pb2.Rejected(code=300, name="movement_unknown", detail="sub: expected one, got another")
    running.ledger.decide = lambda raw: validator_pb2.Result(rejected=rejected) if raw == doomed else None
    garbage = await device.submit(b"\xff" * 40)
    refused = await device.submit(doomed)
    good = await device.submit(signed_statement().raw)
    assert (await good.committed()).index == 1
    with pytest.raises(MalformedStatement, match="wrong_tag"):
        await garbage.committed()
    with pytest.raises(RejectedStatement) as caught:
        await refused.final()
    assert (caught.value.outcome_code, caught.value.outcome) == (300, "movement_unknown")
    assert caught.value.detail == "sub: expected one, got another"
    with pytest.raises(MalformedStatement):
        await device.submit(bytes(40_000))


async def test_an_absent_authority_only_delays(running: Running, device: DeviceClient) -> None:
    running.ledger.missing = ("cn-gacc",)
    raws = [signed_statement().raw for _ in range(20)]
    submissions = [await device.submit(raw) for raw in raws]
    await asyncio.sleep(0.2)
    assert device.unanswered == raws
    running.ledger.missing = ()
    receipts = await asyncio.wait_for(asyncio.gather(*(s.final() for s in submissions)), 60)
    assert len({receipt.index for receipt in receipts}) == 20
    assert len(running.ledger.entries) == 41


async def test_validators_that_break_and_die_on_the_way_lose_and_double_nothing(
    running: Running, device: DeviceClient
) -> None:
    running.validators[0].break_after = 50
    raws = [signed_statement().raw for _ in range(400)]
    submissions = [await device.submit(raw) for raw in raws]
    await running.validators[1].stop()
    await asyncio.wait_for(asyncio.gather(*(s.final() for s in submissions)), 60)
    assert sorted(raw for raw, _ in running.ledger.entries if raw in set(raws)) == sorted(raws)


async def test_a_statement_that_is_not_answered_can_be_kept_by_the_device(running: Running) -> None:
    device = DeviceClient(["127.0.0.1:1"])
    device.start()
    raw = signed_statement().raw
    submission = await device.submit(raw)
    assert await device.submit(raw) is submission
    await device.close()
    assert device.unanswered == [raw]
    with pytest.raises(Unreachable):
        await submission.final()


async def test_the_next_gateway_is_tried_when_one_is_gone(running: Running) -> None:
    async with DeviceClient(["127.0.0.1:1", running.grpc_target]) as device:
        device_submission = await device.submit(signed_statement().raw)
        assert (await asyncio.wait_for(device_submission.final(), 60)).final


async def test_a_sender_that_exceeds_its_unanswered_statements_is_held_back_not_cut_off(running: Running) -> None:
    async with DeviceClient([running.grpc_target], unanswered_max=10) as device:
        for _ in range(100):
            await device.submit(signed_statement().raw)
            assert len(device.unanswered) <= 10
        await asyncio.wait_for(device.drain(), 60)
    assert len(running.ledger.entries) == 201


async def test_each_statement_beyond_what_a_message_may_hold_is_refused_by_its_id(running: Running) -> None:
    raws = [signed_statement().raw for _ in range(REQUEST_MAX_STATEMENTS)]
    beyond = [signed_statement().raw for _ in range(3)] + [b"", b"\xff"]
    async with grpc.aio.insecure_channel(running.grpc_target) as channel:
        call = service.GatewayStub(channel).Submit()
        await call.write(wire.SubmitRequest(statements=raws + beyond, wait=wire.WAIT_FINAL))
        await call.done_writing()
        statuses = {status.id: status async for reply in call for status in reply.statuses}
    assert set(statuses) == {leaf_hash(raw) for raw in raws + beyond}
    assert {statuses[leaf_hash(raw)].state for raw in raws} == {wire.STATE_FINAL}
    for raw in beyond:
        status = statuses[leaf_hash(raw)]
        assert (status.state, status.problem) == (wire.STATE_REFUSED, "too_many")
        assert f"got {len(raws + beyond)}" in status.detail


class _Unread:
    """A session that nobody reads from, and how much it owes at most."""

    def __init__(self, running: Running, unanswered_max: int) -> None:
        self.session = SubmitSession(running.gateway, unanswered_max)

    async def take(self, request: wire.SubmitRequest) -> bool:
        """Whether the whole message was taken in."""
        taking = asyncio.create_task(self.session.take(request))
        await asyncio.wait({taking}, timeout=0.5)
        done = taking.done()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        return done


async def test_refusals_that_nobody_fetches_are_not_piled_up_without_end(running: Running) -> None:
    unread = _Unread(running, 1_000)
    assert not await unread.take(wire.SubmitRequest(statements=[b""] * 50_000))
    assert len(unread.session._outbox) < 1_000 + TAKE_AT_ONCE_STATEMENTS


async def test_what_is_committed_but_not_final_holds_the_sender_back(running: Running) -> None:
    running.ledger.finalise_at_once = False
    raws = [signed_statement().raw for _ in range(30)]
    session = SubmitSession(running.gateway, 10)
    replies = session.replies()
    seen: list[wire.StatementStatus] = []

    async def fetch() -> None:
        async for reply in replies:
            seen.extend(reply.statuses)

    async def send() -> None:
        for raw in raws:
            await session.take(wire.SubmitRequest(statements=[raw]))
            while session._unanswered:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        session.end_input()

    fetching, sending = asyncio.create_task(fetch()), asyncio.create_task(send())
    await asyncio.wait({sending}, timeout=1)
    assert not sending.done()
    assert {status.state for status in seen} == {wire.STATE_COMMITTED}
    assert len(seen) == len(session._finals) == 10
    running.ledger.finalise_at_once = True
    running.ledger.finalise()
    await asyncio.wait_for(asyncio.gather(fetching, sending), 60)
    assert {status.id for status in seen if status.state == wire.STATE_FINAL} == {leaf_hash(raw) for raw in raws}
    session.close()


def test_every_status_of_a_problem_has_a_code_of_its_kind() -> None:
    assert {row.status for row in PROBLEMS.values()} <= set(STATUS_CODES)
    internal = {status for status, code in STATUS_CODES.items() if code is grpc.StatusCode.INTERNAL}
    assert internal == {500}


async def test_status_is_for_those_who_may_see_the_statement(running: Running, device: DeviceClient) -> None:
    own = signed_statement(running.people["kz/truck/t-001"])
    other = signed_statement(running.people["kz/truck/t-002"], iss="kz/truck/t-002", sub="26KZAAAAAAAAAAAAK4")
    for statement in (own, other):
        await (await device.submit(statement.raw)).final()
    receipt = await device.status(own.id)
    assert receipt is not None
    assert receipt.final
    assert await device.status(other.id) is None
    assert await device.status(bytes(32)) is None
    async with DeviceClient([running.grpc_target]) as stranger:
        with pytest.raises(NotAuthenticated):
            await stranger.status(own.id)


async def test_events_come_in_order_and_only_ones_own(running: Running, device: DeviceClient) -> None:
    own = [signed_statement(running.people["kz/truck/t-001"]) for _ in range(4)]
    other = signed_statement(iss="kz/truck/t-002", sub="26KZAAAAAAAAAAAAK4")
    for statement in (own[0], other, own[1]):
        await (await device.submit(statement.raw)).final()
    events = device.events(first=0)
    seen = [await asyncio.wait_for(anext(events), 60) for _ in range(2)]
    for statement in (other, own[2], own[3]):
        await (await device.submit(statement.raw)).final()
    seen += [await asyncio.wait_for(anext(events), 60) for _ in range(2)]
    assert [event.raw for event in seen] == [statement.raw for statement in own]
    assert [event.index for event in seen] == [1, 5, 7, 9]
    await events.aclose()  # type: ignore[attr-defined]


async def test_a_stream_of_events_needs_a_token(running: Running) -> None:
    async with DeviceClient([running.grpc_target]) as stranger:
        with pytest.raises(NotAuthenticated):
            await anext(stranger.events())

"""api/exchange.py without a socket, and the two clients of api/client.py against a real gateway."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import exchange
from api.client import AsyncClient, Client, TokenSigner
from api.exchange import (
    Conversation,
    EventParser,
    MalformedStatement,
    NoReply,
    NotAuthenticated,
    NotFinal,
    NotFound,
    Overloaded,
    Pause,
    ProblemError,
    Receipt,
    RejectedStatement,
    Reply,
    Request,
    Retry,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    UntrueStatement,
)
from api.problems import PROBLEMS, Problem
from api.proto import validator_pb2 as wire
from tests.api.conftest import Running
from tests.api.fakes import ORIGIN, signed_statement
from tests.api.people import MRNS, UCR, declaration, movement, put_declaration, put_movement

RECEIPT = {"id": "00", "state": "final", "index": 1, "height": 1, "block_time_ms": 1, "duplicate": False}


def converse(conversation: Conversation[Any], answers: list[Reply | NoReply]) -> tuple[Any, list[Request], list[float]]:
    """Runs a conversation against a script; returns result or exception, what was sent, how long it paused."""
    requests: list[Request] = []
    pauses: list[float] = []
    script = iter(answers)
    answer: Reply | NoReply | None = None
    try:
        while True:
            step = conversation.send(answer)
            answer = None
            if isinstance(step, Pause):
                pauses.append(step.seconds)
            else:
                requests.append(step)
                answer = next(script)
    except StopIteration as done:
        return done.value, requests, pauses
    except exchange.ClientError as error:
        return error, requests, pauses


def good(document: Any = RECEIPT) -> Reply:
    return Reply(200, {"content-type": "application/json"}, json.dumps(document).encode())


def bad(code: str, **fields: Any) -> Reply:
    problem = Problem(code, **fields)
    headers = {name.lower(): value for name, value in problem.headers().items()}
    headers["content-type"] = "application/problem+json"
    return Reply(problem.row.status, headers, json.dumps(problem.document()).encode())


def submit(retry: Retry = Retry()) -> Conversation[Receipt]:  # noqa: B008 - frozen
    return exchange.submit(b"raw", "final", 500, retry, random.Random(1))


def test_a_statement_is_sent_again_after_every_failure_that_may_pass() -> None:
    failures: list[Reply | NoReply] = [
        NoReply(httpx.ConnectError("refused")),
        bad("authority_unreachable", retry_after_ms=3_000, missing_authorities=("cn-gacc",)),
        bad("overloaded", retry_after_ms=700),
        Reply(502, {"content-type": "text/html"}, b"<h1>bad gateway</h1>"),
    ]
    result, requests, pauses = converse(submit(), [*failures, good()])
    assert result.final
    assert len(requests) == 5
    assert {request.content for request in requests} == {b"raw"}
    assert requests[0].path == "/v1/statements?wait=final&timeout_ms=500"
    assert pauses[1] >= 3
    assert pauses[2] >= 1


def test_what_will_not_pass_is_raised_at_once_as_its_type() -> None:
    cases: list[tuple[Reply, type[ProblemError]]] = [
        (bad("wrong_tag"), MalformedStatement),
        (bad("too_large"), MalformedStatement),
        (bad("bad_signature"), UntrueStatement),
        (bad("rejected", outcome_code=307, outcome="declaration_not_released"), RejectedStatement),
        (bad("key_revoked", outcome_code=114, outcome="key_revoked"), RejectedStatement),
        (bad("token_expired"), NotAuthenticated),
        (bad("not_found"), NotFound),
        (bad("not_final"), NotFinal),
        (bad("bad_request"), ProblemError),
        (Reply(404, {}, b"nothing"), NotFound),
        (Reply(400, {"content-type": "application/problem+json"}, b"[]"), ProblemError),
    ]
    for reply, expected in cases:
        error, requests, pauses = converse(submit(), [reply])
        assert type(error) is expected
        assert (len(requests), pauses) == (1, [])


def test_patience_ends_with_the_last_failure() -> None:
    error, requests, _ = converse(submit(Retry(attempts=3)), [bad("overloaded")] * 3)
    assert isinstance(error, Overloaded)
    assert len(requests) == 3
    error, requests, _ = converse(submit(Retry(total_pause_s=5)), [bad("overloaded", retry_after_ms=4_000)] * 9)
    assert isinstance(error, Overloaded)
    assert len(requests) == 2
    error, _, _ = converse(submit(Retry(attempts=1)), [NoReply(OSError("gone"))])
    assert isinstance(error, Unreachable)
    assert isinstance(error.__cause__, OSError)


def test_an_absent_authority_is_named_in_the_exception() -> None:
    reply = bad("authority_unreachable", missing_authorities=("cn-gacc",))
    error, _, _ = converse(submit(Retry(attempts=1)), [reply])
    assert isinstance(error, Unavailable)
    assert error.missing_authorities == ("cn-gacc",)


@pytest.mark.parametrize("document", [[], {}, {"id": 1}, RECEIPT | {"index": True}, RECEIPT | {"duplicate": 1}, None])
def test_answers_of_the_wrong_shape_are_not_believed(document: Any) -> None:
    assert isinstance(converse(submit(), [good(document)])[0], UnexpectedAnswer)


def test_of_many_only_those_told_to_come_again_are_sent_again() -> None:
    raws = [b"a", b"bb", b"ccc"]
    rejected = Problem("rejected", outcome_code=300, outcome="movement_unknown").document()
    waiting = Problem("authority_unreachable", retry_after_ms=2_000).document()
    first = good({"results": [RECEIPT, {"problem": rejected}, {"problem": waiting}]})
    conversation = exchange.submit_many(raws, "committed", None, Retry(), random.Random(1))
    result, requests, pauses = converse(conversation, [first, good({"results": [RECEIPT]})])
    assert [type(one) for one in result] == [Receipt, RejectedStatement, Receipt]
    assert [request.content for request in requests] == [b"abbccc", b"ccc"]
    assert pauses[0] >= 2


@given(st.lists(st.integers(1, 400_000), max_size=30))
def test_chunks_keep_within_the_limits_and_lose_nothing(lengths: list[int]) -> None:
    raws = [bytes(length) for length in lengths]
    chunks = list(exchange._chunks(raws, range(len(raws))))
    assert [position for chunk in chunks for position in chunk] == list(range(len(raws)))
    for chunk in chunks:
        assert sum(len(raws[position]) for position in chunk) <= exchange.SEQUENCE_MAX_BYTES or len(chunk) == 1


def test_a_proof_is_waited_for() -> None:
    not_yet = bad("not_final", retry_after_ms=1_000)
    conversation = exchange.proof("00", 10, Retry(), random.Random(1))
    result, requests, pauses = converse(conversation, [not_yet, Reply(200, {}, b"proof")])
    assert (result, len(requests), pauses) == (b"proof", 2, [1.0])
    error, _, _ = converse(exchange.proof("00", 0, Retry(), random.Random(1)), [not_yet])
    assert isinstance(error, NotFinal)


def _stream() -> bytes:
    event = {"id": "00", "height": 1, "block_time_ms": 1, "kind": "k.k", "iss": "i", "sub": "s", "statement": "AAAA"}
    text = "retry: 1000\n: from 0\n\n"
    for index in (1, 4, 9):
        text += f"id: {index}\nevent: statement\ndata: {json.dumps(event | {'index': index})}\n\n: alive\n\n"
    return (text + ": final up to 20\nid: 20\n\n").encode()


@given(st.lists(st.integers(0, len(_stream())), max_size=10))
def test_events_are_the_same_however_the_bytes_are_cut_and_resume_exactly(cuts: list[int]) -> None:
    stream = _stream()
    parser = EventParser(0)
    seen = []
    edges = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(edges):
        seen += [event.index for event in parser.feed(stream[start:end])]
        # Cut off here, a new connection from `resume_at` shows exactly the rest.
        assert [index for index in (1, 4, 9) if index < parser.resume_at] == seen
    assert (seen, parser.resume_at) == ([1, 4, 9], 21)


def test_an_event_shown_before_is_not_shown_again() -> None:
    assert [event.index for event in EventParser(5).feed(_stream())] == [9]


def test_nonsense_in_the_stream_is_refused_after_what_came_before_it() -> None:
    parser = EventParser(0)
    events: list[Any] = []
    with pytest.raises(UnexpectedAnswer):
        events.extend(parser.feed(_stream() + b"event: statement\ndata: {\n\n"))
    assert len(events) == 3
    with pytest.raises(UnexpectedAnswer):
        list(EventParser(0).feed(bytes(EventParser.LINE_MAX_BYTES + 1)))


def test_importing_the_client_needs_neither_grpc_nor_fastapi() -> None:
    program = "import sys, api.client; print([m for m in ('grpc', 'fastapi', 'google.protobuf') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def signer(running: Running, who: str, clock: Callable[[], float] | None = None) -> TokenSigner:
    return TokenSigner(running.people[who], participant=who, origin=ORIGIN, wall_clock=clock or time.time)


def test_a_token_is_used_until_shortly_before_it_ends(running: Running) -> None:
    now_s = 1_000.0
    tokens = signer(running, "kz/truck/t-001", lambda: now_s)
    first = tokens.token()
    now_s += 170
    assert tokens.token() == first
    now_s += 15
    assert tokens.token() != first


@pytest.fixture
async def client(running: Running) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(running.url, signer=signer(running, "kz-kgd/officer"), retry=Retry(attempts=4)) as client:
        yield client


async def test_every_operation_through_the_async_client(running: Running, client: AsyncClient) -> None:
    statement = signed_statement()
    receipt = await client.submit(statement.raw, wait="final")
    assert (receipt.id, receipt.index, receipt.final) == (statement.id_hex, 1, True)
    assert (await client.submit(statement.raw)).duplicate
    record = await client.statement(receipt.id)
    assert (record.raw, record.cosigned_at_s["kz-kgd"]) == (statement.raw, 1_795_312_800)
    assert (await client.proof(receipt.id)).startswith(b"c2sp.org/tlog-proof@v1\n")
    put_declaration(running.ledger, declaration())
    for mrn in MRNS:
        put_movement(running.ledger, movement(mrn))
    assert (await client.declaration(UCR))["record"]["ucr"] == UCR
    assert (await client.movement(MRNS[0]))["record"]["mrn"] == MRNS[0]
    assert (await client.participant("kz/truck/t-001"))["record"]["id"] == "kz/truck/t-001"
    assert [one["mrn"] async for one in client.movements(page_items=1)] == sorted(MRNS)
    assert (await client.status())["ready"]
    assert await client.checkpoint() == running.ledger.note()
    assert await client.tile("tile/0/000.p/3") == b"tile/0/000.p/3"
    assert await client.tile("tile/entries/000.p/3") == b"tile/entries/000.p/3"
    with pytest.raises(NotFound):
        await client.movement("26KZBBBBBBBBBBBBK1")


async def test_every_operation_through_the_blocking_client(running: Running) -> None:
    statement = signed_statement()
    put_movement(running.ledger, movement(MRNS[0]))

    def work() -> None:
        with Client(running.url, signer=signer(running, "kz-kgd/officer")) as client:
            receipt = client.submit(statement.raw, wait="final")
            assert client.statement(receipt.id).raw == statement.raw
            assert client.proof(receipt.id)
            assert [one["mrn"] for one in client.movements()] == [MRNS[0]]
            assert client.movement(MRNS[0])
            assert client.participant("kz/truck/t-001")
            with pytest.raises(NotFound):
                client.declaration(UCR)
            assert client.status()["state"] == "ready"
            assert client.checkpoint()
            assert client.tile("tile/0/000.p/3")
            results = client.submit_many([signed_statement().raw, statement.raw])
            assert [isinstance(one, Receipt) for one in results] == [True, True]
            assert next(client.events()).raw == statement.raw

    await asyncio.to_thread(work)


async def test_an_absence_only_delays_the_client(running: Running, client: AsyncClient) -> None:
    running.ledger.missing = ("cn-gacc",)
    submitting = asyncio.create_task(client.submit(signed_statement().raw))
    await asyncio.sleep(0.2)
    running.ledger.missing = ()
    assert (await asyncio.wait_for(submitting, 60)).index == 1
    rejected = wire.Rejected(code=300, name="movement_unknown")
    running.ledger.decide = lambda raw: wire.Result(rejected=rejected)
    with pytest.raises(RejectedStatement) as caught:
        await client.submit(signed_statement().raw)
    assert caught.value.outcome == "movement_unknown"


async def test_the_event_iterator_resumes_without_gap_or_repetition_when_streams_are_cut(
    running: Running, client: AsyncClient
) -> None:
    raws = [signed_statement().raw for _ in range(40)]
    seen = []

    async def grow() -> None:
        for raw in raws:
            running.ledger.append(raw)
            await asyncio.sleep(0.01)

    growing = asyncio.create_task(grow())
    async with asyncio.timeout(20):
        async for event in client.events():
            seen.append(event.raw)
            if len(seen) in (5, 15):
                # Cuts every stream, as a gateway that stops does.
                running.gateway.stop_streams()
                running.gateway.stopping.clear()
            if len(seen) == 40:
                break
    await growing
    assert seen == raws


def test_every_problem_has_an_exception_that_carries_its_code() -> None:
    for code, row in PROBLEMS.items():
        error = exchange.error_of(Problem(code).document())
        assert (error.code, error.status) == (code, row.status)

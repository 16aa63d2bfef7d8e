"""The small HTTP port: three answers, and nothing that a slow or hostile caller could hold up."""

from __future__ import annotations

import asyncio

import pytest

from nodes.config import Address
from nodes.health import HealthServer


@pytest.fixture
async def port(unused_tcp_port: int) -> int:
    server = HealthServer(
        Address("127.0.0.1", unused_tcp_port),
        lambda: (False, "waiting for cn-gacc"),
        lambda: b"comity_x 1\n",
        lambda: {"trouble": None},
    )
    await server.start()
    return unused_tcp_port


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"200", b"ok\n"),
        (b"GET /readyz?verbose HTTP/1.1\r\n\r\n", b"503", b"waiting for cn-gacc\n"),
        (b"GET /metrics HTTP/1.0\r\n\r\n", b"200", b"comity_x 1\n"),
        (b"GET /storage HTTP/1.1\r\n\r\n", b"200", b'{\n  "trouble": null\n}\n'),
        (b"GET /else HTTP/1.1\r\n\r\n", b"404", b"there are /healthz, /readyz, /storage and /metrics\n"),
        (b"POST /healthz HTTP/1.1\r\n\r\n", b"405", b"only GET\n"),
        (b"\x16\x03\x01\r\n\r\n", b"405", b"only GET\n"),
    ],
)
async def test_each_question_has_its_answer(port: int, request_: bytes, status: bytes, body: bytes) -> None:
    answer = await ask(port, request_)
    assert answer.split()[1] == status
    assert answer.partition(b"\r\n\r\n")[2] == body


async def test_a_request_line_without_end_is_cut_off(port: int) -> None:
    assert await ask(port, b"GET /" + b"x" * 100_000) == b""

"""What is answered past the framework is answered as the framework answers it, header by header and byte by byte."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api import frequent
from api.frequent import operation_of
from tests.api.conftest import Running
from tests.api.fakes import signed_statement
from tests.api.test_log_http import grow

ID = "ab" * 32


def scope(path: str, **changes: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "query_string": b"", "root_path": "", **changes}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/log/checkpoint", ("getLogCheckpoint", "")),
        ("/log/tile/0/000", ("getTile", "0/000")),
        ("/log/tile/", ("getTile", "")),
        ("/log/tile/entries/000", ("getTile", "entries/000")),
        (f"/v1/statements/{ID}/proof", ("getProof", ID)),
    ],
)
def test_these_are_known_by_their_path(path: str, expected: tuple[str, str]) -> None:
    found = operation_of(scope(path))
    assert found is not None
    assert (found[0].operation_id, found[1]) == expected


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/log/checkpoint", {"method": "HEAD"}),
        ("/log/checkpoint", {"method": "POST"}),
        ("/log/checkpoint", {"query_string": b"a=b"}),
        ("/log/checkpoint", {"root_path": "/behind"}),
        ("/log/checkpoint", {"type": "websocket"}),
        ("/log/checkpoint/", {}),
        ("/log/tile", {}),
        ("/log/further/tile/0/000", {}),
        (f"/v1/statements/{ID}/proof", {"query_string": b"further=true"}),
        (f"/v1/statements/{ID.upper()}/proof", {}),
        (f"/v1/statements/{ID}/proof\n", {}),
        (f"/v1/statements/{ID}/proof/", {}),
        (f"/v1/statements/{ID[2:]}/proof", {}),
        (f"/v1/statements/{ID}/receipt", {}),
        ("/healthz", {}),
    ],
)
def test_all_else_goes_to_the_framework(path: str, changes: dict[str, Any]) -> None:
    assert operation_of(scope(path, **changes)) is None


def shown(response: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    return response.status_code, response.content, sorted((n, v) for n, v in response.headers.items() if n != "date")


async def test_both_ways_answer_alike_in_every_case(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    first = signed_statement()
    running.ledger.append(first.raw)
    await grow(running, 130)
    running.ledger.finalise_at_once = False
    last = signed_statement()
    running.ledger.append(last.raw)
    officer, other = running.auth("kz-kgd/officer"), running.auth("kz/declarant/other")
    tag = {"If-None-Match": '"0/000"'}
    proof = f"/v1/statements/{first.id_hex}/proof"
    questions: list[tuple[str, dict[str, str]]] = [
        ("/log/checkpoint", {}),
        ("/log/tile/0/000", {}),
        ("/log/tile/0/000", tag),
        ("/log/tile/0/000.p/5", {}),
        ("/log/tile/0/001", {}),
        ("/log/tile/0/0", {}),
        ("/log/tile/", {}),
        ("/log/tile/entries/000", {}),
        ("/log/tile/entries/000", officer),
        ("/log/tile/entries/000", officer | {"Accept-Encoding": "identity"}),
        ("/log/tile/entries/000", other),
        (proof, {}),
        (proof, {"Authorization": "Basic x"}),
        (proof, {"Authorization": "Bearer x.y.z"}),
        (proof, officer),
        (proof, other),
        (f"/v1/statements/{last.id_hex}/proof", officer),
        (f"/v1/statements/{ID}/proof", officer),
    ]
    answered = []
    for past in (True, False):
        if not past:
            monkeypatch.setattr(frequent, "operation_of", lambda scope: None)
        answered.append([shown(await running.http.get(path, headers=headers)) for path, headers in questions])
    assert answered[0] == answered[1]
    assert {status for status, _, _ in answered[0]} == {200, 304, 400, 401, 404, 409}


async def test_they_are_measured_by_the_operation_that_they_are(running: Running) -> None:
    await grow(running, 1)
    await running.http.get("/log/checkpoint")
    await running.http.get("/log/tile/0/0")
    await running.http.get(f"/v1/statements/{ID}/proof")
    text = running.gateway.metrics.exposition().decode()
    assert 'comity_gateway_requests_total{operation="getLogCheckpoint",status="200"}' in text
    assert 'comity_gateway_requests_total{operation="getTile",status="400"}' in text
    assert 'comity_gateway_requests_total{operation="getProof",status="401"}' in text


async def test_a_failure_of_ours_is_answered_as_one(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await grow(running, 1)

    async def fail(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(running.gateway, "tile", fail)
    response = await running.http.get("/log/tile/0/000.p/1")
    assert (response.status_code, response.json()["status"]) == (500, 500)

"""Checkpoint and tiles: what is open, what is not, and what no path reaches."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from api.models import CheckpointDocument
from api.problems import type_of
from ledger.note import parse_note
from tests.api.conftest import Running
from tests.api.fakes import ORIGIN, signed_statement


async def grow(running: Running, statements: int) -> None:
    for _ in range(statements):
        running.ledger.append(signed_statement().raw)
    running.ledger.finalise()
    for _ in range(200):
        response = await running.http.get("/v1/checkpoint")
        if response.status_code == 200 and response.json()["size"] == running.ledger.final_size:
            return
    raise AssertionError("the gateway did not follow")


async def test_there_is_no_checkpoint_until_both_authorities_have_cosigned(running: Running) -> None:
    for path in ("/v1/checkpoint", "/log/checkpoint"):
        assert (await running.http.get(path)).status_code == 404


async def test_the_checkpoint_is_open_as_a_note_and_as_json(running: Running) -> None:
    await grow(running, 1)
    note = await running.http.get("/log/checkpoint")
    document = CheckpointDocument.model_validate((await running.http.get("/v1/checkpoint")).json())
    assert note.content == running.ledger.note() == document.note.encode()
    assert parse_note(note.content).text.startswith(f"{ORIGIN}\n{document.size}\n")
    assert note.headers["cache-control"] == "no-store"


async def test_hash_tiles_are_open_and_full_ones_may_be_kept_for_ever(running: Running) -> None:
    await grow(running, 130)
    full = await running.http.get("/log/tile/0/000")
    assert (full.status_code, full.content) == (200, b"tile/0/000")
    assert full.headers["cache-control"] == "public, max-age=31536000, immutable"
    partial = await running.http.get("/log/tile/0/000.p/5")
    assert partial.status_code == 200
    assert "immutable" not in partial.headers["cache-control"]


async def test_nothing_beyond_the_final_checkpoint_is_served(running: Running) -> None:
    await grow(running, 2)
    running.ledger.finalise_at_once = False
    running.ledger.append(signed_statement().raw)
    assert running.ledger.final_size == 5
    assert (await running.http.get("/log/tile/0/000.p/5")).status_code == 200
    assert (await running.http.get("/log/tile/0/000.p/6")).status_code == 404
    assert (await running.http.get("/log/tile/0/000")).status_code == 404


async def raw_get(running: Running, target: bytes) -> int:
    """Asks for a path spelled as it is: an HTTP client would tidy it up."""
    url = httpx.URL(running.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


@pytest.mark.parametrize(
    "path",
    [
        "0/0",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/05",
        "0/000/",
        "64/000",
        "00/000",
        "-1/000",
        "0/x000/000",
        "0/1000",
        "0/x001",
        "0/000.p/5/../6",
        "..%2f..%2fetc/passwd",
        "%2e%2e/%2e%2e/0/000",
        "0/%30%30%30.p%2f5%00",
        "entries/../0/000",
        "ENTRIES/000",
        "0/000?p=5%0a",
        "0//000",
        "0/000.p/5%0d%0aX:%20y",
        "../../v1/status",
        "0/000.p/5/.",
        "x" * 5000,
    ],
)
async def test_paths_that_are_no_tile_reach_no_validator(running: Running, path: str) -> None:
    await grow(running, 3)
    status = await raw_get(running, b"/log/tile/" + path.encode())
    assert status in (400, 404), path
    tiles = [call for validator in running.validators for call in validator.calls if call.startswith("GetTile")]
    assert not tiles


async def test_entries_are_for_those_who_see_all_and_never_cached_for_others(running: Running) -> None:
    await grow(running, 130)
    path = "/log/tile/entries/000"
    assert (await running.http.get(path)).status_code == 401
    response = await running.http.get(path, headers=running.auth("kz/carrier/sary"))
    assert (response.status_code, response.json()["type"]) == (404, type_of("not_found"))
    response = await running.http.get(path, headers=running.auth("kz/auditor"))
    assert response.content == b"tile/entries/000"
    assert response.headers["cache-control"].startswith("private")

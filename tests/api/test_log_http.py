"""Checkpoint and tiles: what is open, what is not, and what no path reaches."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from api.models import CheckpointDocument, FurtherDocument
from api.problems import type_of
from api.proto import validator_pb2 as wire
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
    assert note.headers["content-type"] == "text/plain; charset=utf-8"
    assert note.headers["cache-control"] == "no-cache"


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


async def test_who_has_a_checkpoint_or_a_tile_already_is_told_so_and_no_validator_is_asked(running: Running) -> None:
    await grow(running, 130)
    for path in ("/log/checkpoint", "/log/tile/0/000", "/log/tile/0/000.p/5"):
        tag = (await running.http.get(path)).headers["etag"]
        before = sum(len(validator.calls) for validator in running.validators)
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await running.http.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert sum(len(validator.calls) for validator in running.validators) == before
        assert (await running.http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    tag = (await running.http.get("/log/checkpoint")).headers["etag"]
    await grow(running, 1)
    assert (await running.http.get("/log/checkpoint", headers={"If-None-Match": tag})).status_code == 200


async def test_a_tag_opens_nothing_that_is_closed(running: Running) -> None:
    await grow(running, 130)
    path = "/log/tile/entries/000"
    tag = (await running.http.get(path, headers=running.auth("kz/auditor"))).headers["etag"]
    assert (await running.http.get(path, headers={"If-None-Match": tag})).status_code == 401
    closed = await running.http.get(path, headers=running.auth("kz/carrier/sary") | {"If-None-Match": tag})
    assert closed.status_code == 404


async def test_head_gives_the_headers_of_get_and_nothing_else(running: Running) -> None:
    await grow(running, 130)
    for path in ("/log/checkpoint", "/log/tile/0/000", "/log/tile/0/000.p/5"):
        got, headed = await running.http.get(path), await running.http.head(path)
        assert (headed.status_code, headed.content) == (200, b"")
        for name in ("content-length", "content-type", "cache-control", "etag"):
            assert headed.headers[name] == got.headers[name], name
    assert (await running.http.head("/log/tile/0/001")).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("br, gzip;q=0.5", "gzip"),
        ("*", "gzip"),
        ("GZIP", "gzip"),
        ("identity", None),
        ("br", None),
        ("gzip;q=0", None),
        ("gzip; q=0.000, *", None),
        ("", None),
    ],
)
async def test_entries_are_compressed_for_whoever_takes_gzip(
    running: Running, accepted: str, encoding: str | None
) -> None:
    await grow(running, 130)
    headers = running.auth("kz/auditor") | {"Accept-Encoding": accepted}
    response = await running.http.get("/log/tile/entries/000", headers=headers)
    assert response.content == b"tile/entries/000"
    assert response.headers.get("content-encoding") == encoding
    assert "Accept-Encoding" in response.headers["vary"]
    hashes = await running.http.get("/log/tile/0/000", headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in hashes.headers


async def test_what_is_compressed_has_a_tag_of_its_own_and_the_same_bytes_every_time(running: Running) -> None:
    await grow(running, 130)
    who = running.auth("kz/auditor")
    plain = await running.http.get("/log/tile/entries/000", headers=who | {"Accept-Encoding": "identity"})
    packed = [await running.http.get("/log/tile/entries/000", headers=who) for _ in range(2)]
    assert plain.headers["etag"] != packed[0].headers["etag"]
    assert packed[0].headers["content-length"] == packed[1].headers["content-length"]


async def test_further_cosignatures_are_told_of_only_where_they_are_collected(running: Running) -> None:
    await grow(running, 3)
    for path in ("/v1/further", "/log/further/checkpoint"):
        assert (await running.http.get(path)).status_code == 404
    cosigner = wire.FurtherCosigner(name="w1", size=5, time_s=7, trouble="cannot be reached: refused")
    running.ledger.further = wire.FurtherReply(asked=True, cosigners=[cosigner])
    assert (await running.http.get("/log/further/checkpoint")).status_code == 404
    document = FurtherDocument.model_validate((await running.http.get("/v1/further")).json())
    assert (document.note, document.cosigners[0].trouble) == (None, "cannot be reached: refused")
    note = running.ledger.note()
    running.ledger.further = wire.FurtherReply(asked=True, size=5, checkpoint=note, cosigners=[cosigner])
    assert (await running.http.get("/log/further/checkpoint")).content == note
    assert (await running.http.get("/v1/further")).json()["note"].encode() == note
    same = await running.http.get("/log/further/tile/0/000.p/5")
    assert same.content == (await running.http.get("/log/tile/0/000.p/5")).content


async def test_a_further_proof_is_given_where_a_further_checkpoint_covers_the_statement(running: Running) -> None:
    statements = [signed_statement() for _ in range(2)]
    for statement in statements:
        running.ledger.append(statement.raw)
    running.ledger.finalise()
    await grow(running, 1)
    index = running.ledger.by_id[statements[0].id]
    who = running.auth("kz/auditor")

    async def proof(number: int) -> httpx.Response:
        return await running.http.get(f"/v1/statements/{statements[number].id_hex}/proof?further=true", headers=who)

    assert (await proof(0)).json()["type"] == type_of("not_further_cosigned")
    running.ledger.further = wire.FurtherReply(asked=True, size=index + 1, checkpoint=running.ledger.note())
    assert (await proof(0)).content.endswith(b"further\n")
    assert (await proof(1)).status_code == 409
    plain = await running.http.get(f"/v1/statements/{statements[1].id_hex}/proof", headers=who)
    assert plain.status_code == 200

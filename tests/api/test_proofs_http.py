"""Receipts, status proofs and passes over HTTP: to whom, of what, and what is said where there is none."""

from __future__ import annotations

import json

import pytest

from api.problems import type_of
from tests.api.conftest import Running
from tests.api.fakes import pass_at, signed_statement
from tests.api.people import MRNS, UCR, declaration, movement, put_declaration, put_movement

MRN = MRNS[0]
RECORDS = {
    f"/v1/declarations/{UCR}/status-proof": f"declaration/{UCR}",
    f"/v1/movements/{MRN}/status-proof": f"escort/{MRN}",
    "/v1/participants/kz/truck/t-001/status-proof": "registry/kz/truck/t-001",
}


async def get(running: Running, path: str, who: str = "kz-kgd/officer") -> tuple[int, bytes, str]:
    response = await running.http.get(path, headers=running.auth(who))
    return response.status_code, response.content, response.headers["content-type"]


def kind_of(content: bytes) -> str:
    return str(json.loads(content)["type"])


def final_statement(running: Running) -> str:
    statement = signed_statement()
    running.ledger.append(statement.raw)
    return statement.id_hex


async def test_a_final_statement_comes_with_the_receipts_of_both_or_of_one(running: Running) -> None:
    path = f"/v1/statements/{final_statement(running)}/receipt"
    assert await get(running, path) == (200, b"receipt of both", "application/cose")
    assert await get(running, f"{path}?authority=cn-gacc") == (200, b"receipt of cn-gacc", "application/cose")


async def test_who_may_not_see_a_statement_gets_no_receipt_and_nobody_gets_one_that_is_not_there(
    running: Running,
) -> None:
    path = f"/v1/statements/{final_statement(running)}/receipt"
    assert (await get(running, path, "kz/declarant/other"))[0] == 404
    assert (await get(running, f"/v1/statements/{'00' * 32}/receipt"))[0] == 404
    assert (await get(running, "/v1/statements/nonsense/receipt"))[0] == 400
    assert (await running.http.get(path)).status_code == 401


async def test_a_statement_that_is_not_final_has_no_receipt_yet(running: Running) -> None:
    running.ledger.finalise_at_once = False
    status, content, _ = await get(running, f"/v1/statements/{final_statement(running)}/receipt")
    assert (status, kind_of(content)) == (409, type_of("not_final"))


@pytest.mark.parametrize("path", ["statements", "pass"])
async def test_an_authority_that_cannot_be_asked_is_named(running: Running, path: str) -> None:
    put_movement(running.ledger, movement(MRN))
    statement = final_statement(running)
    running.ledger.missing = ("cn-gacc",)
    where = f"/v1/statements/{statement}/receipt" if path == "statements" else f"/v1/movements/{MRN}/pass"
    response = await running.http.get(where, headers=running.auth("kz-kgd/officer"))
    assert response.status_code == 503
    assert response.json()["type"] == type_of("authority_unreachable")
    assert response.json()["missing_authorities"] == ["cn-gacc"]
    assert "retry-after" in response.headers


@pytest.mark.parametrize(
    ("refused", "status", "code"),
    [
        ("may_not_pass", 409, "may_not_pass"),
        ("not_found", 404, "not_found"),
        ("unknown_authority", 400, "bad_request"),
        ("other_facts", 503, "state_not_final"),
        ("not_final", 503, "state_not_final"),
        ("clocks_apart", 503, "state_not_final"),
    ],
)
async def test_why_validators_do_not_sign_is_said(running: Running, refused: str, status: int, code: str) -> None:
    put_movement(running.ledger, movement(MRN))
    for validator in running.validators:
        validator.refuses = refused
    got, content, _ = await get(running, f"/v1/movements/{MRN}/pass")
    assert (got, kind_of(content)) == (status, type_of(code))


async def test_a_pass_from_a_state_older_than_what_is_known_to_be_final_is_not_taken(running: Running) -> None:
    put_movement(running.ledger, movement(MRN))
    final_statement(running)
    await running.gateway.pool.finality.beyond(1)
    running.validators[0].behind_at = 1
    known = running.gateway.pool.finality.size
    status, content, _ = await get(running, f"/v1/movements/{MRN}/pass")
    assert (status, content) == (200, pass_at(known))


async def test_a_pass_is_for_who_may_see_the_movement(running: Running) -> None:
    put_movement(running.ledger, movement(MRN))
    final_statement(running)
    path = f"/v1/movements/{MRN}/pass"
    assert await get(running, path, "kz/truck/t-001") == (
        200,
        pass_at(running.ledger.final_size),
        "application/vnd.comity.pass+cose",
    )
    assert (await get(running, path, "kz/declarant/other"))[0] == 404
    assert (await get(running, "/v1/movements/NONSENSE/pass"))[0] == 400


@pytest.mark.parametrize("path", RECORDS)
async def test_a_record_is_proven_to_who_may_see_it(running: Running, path: str) -> None:
    put_declaration(running.ledger, declaration())
    put_movement(running.ledger, movement(MRN))
    final_statement(running)
    status, content, media_type = await get(running, path)
    assert (status, media_type) == (200, "application/vnd.comity.status-proof+cbor")
    assert content == f"{RECORDS[path]}: ".encode() + running.ledger.records[RECORDS[path]]
    assert (await get(running, path, "kz/declarant/other"))[0] == 404


@pytest.mark.parametrize(
    "path", ["/v1/declarations/NOT-THERE/status-proof", "/v1/participants/kz/truck/nobody/status-proof"]
)
async def test_that_there_is_no_record_is_proven_to_those_who_see_all_and_to_nobody_else(
    running: Running, path: str
) -> None:
    """Else a stranger would learn from the kind of answer what is there."""
    final_statement(running)
    status, content, _ = await get(running, path)
    assert (status, content.endswith(b": none")) == (200, True)
    assert (await get(running, path, "kz/truck/t-001"))[0] == 404


async def test_without_a_final_state_at_hand_it_is_said_to_come_again(running: Running) -> None:
    put_declaration(running.ledger, declaration())
    running.ledger.finalise_at_once = False
    status, content, _ = await get(running, f"/v1/declarations/{UCR}/status-proof")
    assert (status, kind_of(content)) == (503, type_of("state_not_final"))

"""Reference tables behind a whole gateway: names for consoles, and statements that are refused or reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from api.config import ReferenceFiles
from api.models import GoodsDocument, PlaceDocument
from api.problems import type_of
from api.reference import read_tables
from tests.api.conftest import Running
from tests.api.fakes import signed_statement
from tests.api.test_reference import GOODS, LOCODES, lodged

COSE = {"content-type": "application/cose"}


@pytest.fixture
def listed(running: Running, tmp_path: Path) -> Running:
    """The gateway, with tables as if it had been started with them."""
    (tmp_path / "locodes.csv").write_text(LOCODES, encoding="utf-8")
    (tmp_path / "hs.csv").write_text(GOODS, encoding="utf-8")
    files = ReferenceFiles((tmp_path / "locodes.csv",), tmp_path / "hs.csv")
    running.gateway.listing._files = files
    running.gateway.listing.tables = read_tables(files.unlocode, files.hs)
    return running


async def test_names_are_given_to_whoever_asks(listed: Running) -> None:
    place = await listed.http.get("/v1/reference/unlocode/CNBKT")
    assert PlaceDocument.model_validate(place.json()).name == "Baketu"
    assert place.headers["cache-control"] == "public, max-age=3600"
    for code in ("100199", "1001990000"):
        goods = GoodsDocument.model_validate((await listed.http.get(f"/v1/reference/hs/{code}")).json())
        assert (goods.code, [each.code for each in goods.under]) == ("100199", ["10", "1001"])
    assert (await listed.http.get("/v1/reference/hs/10")).json()["under"] == []


NOT_THERE: list[tuple[str, str, str]] = [
    ("unlocode/CNXXX", "not_found", "CNXXX is not in the table of UN/LOCODE places"),
    ("hs/100198", "not_found", "100198 is not in the table of goods codes"),
    ("hs/9801000000", "not_found", "9801000000 is not in the table"),
    ("hs/77", "not_found", "77 is not in the table"),
    ("hs/12345", "bad_identifier", "hs: character 6: expected 6 or 10 digits"),
    ("hs/" + "1" * 20, "bad_request", "at most 16 characters"),
]


async def test_what_is_not_there_says_so(listed: Running) -> None:
    for path, code, detail in NOT_THERE:
        response = await listed.http.get(f"/v1/reference/{path}")
        assert response.json()["type"] == type_of(code)
        assert detail in response.json()["detail"]


async def test_a_gateway_without_tables_says_so(running: Running) -> None:
    for path, table in (("unlocode/CNBKT", "UN/LOCODE places"), ("hs/100199", "goods codes")):
        response = await running.http.get(f"/v1/reference/{path}")
        assert (response.status_code, response.json()["detail"]) == (404, f"this gateway has no table of {table}")


async def test_a_declaration_with_an_unlisted_code_is_refused_alone_and_in_a_sequence(listed: Running) -> None:
    bad = signed_statement(kind="declaration.lodge", sub="KZ26/1", payload=lodged("100199", "100198"))
    good = signed_statement(kind="declaration.lodge", sub="KZ26/2", payload=lodged("100199"))
    refused = await listed.http.post("/v1/statements", content=bad.raw, headers=COSE)
    assert (refused.status_code, refused.json()["type"]) == (422, type_of("not_listed"))
    assert (refused.json()["field"], refused.json()["id"]) == ("content.goods[1].hs", bad.id_hex)
    both = await listed.http.post(
        "/v1/statements", content=bad.raw + good.raw, headers={"content-type": "application/cbor-seq"}
    )
    states = [(each["state"], each.get("problem", {}).get("field")) for each in both.json()["results"]]
    assert states in ([("refused", "content.goods[1].hs"), (how, None)] for how in ("committed", "final"))
    assert listed.ledger.submissions == [good.raw]


async def test_a_statement_on_the_ledger_is_answered_whatever_the_tables_say_now(listed: Running) -> None:
    statement = signed_statement(kind="declaration.lodge", sub="KZ26/3", payload=lodged("100198"))
    listed.ledger.append(statement.raw)
    again = await listed.http.post("/v1/statements", content=statement.raw, headers=COSE)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)


async def test_where_it_is_only_reported_the_answer_names_the_field(listed: Running) -> None:
    files = listed.gateway.listing._files
    assert files is not None
    listed.gateway.listing._files = replace(files, refuse=False)
    statement = signed_statement(kind="declaration.lodge", sub="KZ26/4", payload=lodged("100198"))
    taken = await listed.http.post("/v1/statements", content=statement.raw, headers=COSE)
    assert taken.status_code == 200
    assert taken.json()["unlisted"] == ["content.goods[0].hs: 100198 is not in the table of goods codes"]
    metrics = (await listed.http.get(listed.metrics_url)).text
    assert 'comity_gateway_unlisted_total{how="reported"} 1.0' in metrics

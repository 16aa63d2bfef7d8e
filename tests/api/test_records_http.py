"""Declarations, movements and participants over HTTP: forms, pages, cursors."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from api.config import RequestLimits
from api.models import MovementPage, ParticipantPage, RecordDocument
from api.problems import Problem, type_of
from api.routes import records
from api.routes.records import decode_cursor, encode_cursor
from contracts.identifiers import parse_mrn
from tests.api.conftest import Running
from tests.api.people import (
    OTHER_UCR,
    UCR,
    declaration,
    enrol,
    movement,
    participant,
    put_declaration,
    put_movement,
)


def mrns(number: int) -> list[str]:
    """Valid ones, in order."""
    made = []
    for serial in range(number):
        stem = f"26KZ{serial:012d}K"
        for digit in "0123456789":
            try:
                made.append(str(parse_mrn(stem + digit)))
                break
            except ValueError:
                continue
    assert len(made) == number
    return made


async def test_a_declaration_shows_its_record_and_as_of_which_size(running: Running) -> None:
    put_declaration(running.ledger, declaration())
    response = await running.http.get(f"/v1/declarations/{UCR}", headers=running.auth("kz-kgd/officer"))
    document = RecordDocument.model_validate(response.json())
    assert (document.key, document.size) == (f"declaration/{UCR}", 1)
    assert document.record["ucr"] == UCR
    response = await running.http.get("/v1/declarations/NOT-THERE", headers=running.auth("kz-kgd/officer"))
    assert response.status_code == 404


async def test_identifiers_of_no_form_are_refused_before_anyone_is_asked(running: Running) -> None:
    officer = running.auth("kz-kgd/officer")
    for path in (
        "/v1/declarations/lower-case",
        "/v1/declarations/" + "A" * 36,
        "/v1/declarations/A%00B",
        "/v1/movements/19GBCKKCQSXV2FGVA9",
        "/v1/participants/KZ",
        "/v1/statements/zz",
        "/v1/statements/" + "A" * 64,
        "/v1/statements/zz/proof",
    ):
        response = await running.http.get(path, headers=officer)
        assert (response.status_code, response.json()["type"]) == (400, type_of("bad_identifier")), path


async def test_pages_hold_every_movement_once_in_order(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SCAN_PAGE_RECORDS", 7)
    monkeypatch.setattr(records, "SCAN_MAX_RECORDS", 14)
    all_mrns = mrns(20)
    put_declaration(running.ledger, declaration())
    put_declaration(running.ledger, declaration(OTHER_UCR, "kz/declarant/other"))
    for serial, mrn in enumerate(all_mrns):
        ours = serial % 5 == 0
        put_movement(
            running.ledger,
            movement(mrn, ucr=UCR if ours else OTHER_UCR, state="started" if serial % 2 else "planned"),
        )
    cases = [
        ("kz-kgd/officer", {}, all_mrns),
        ("kz-kgd/officer", {"state": "planned"}, all_mrns[::2]),
        ("kz-kgd/officer", {"carrier": "kz/carrier/sary"}, all_mrns),
        ("kz-kgd/officer", {"carrier": "kz/carrier/none"}, []),
        ("kz/declarant/astyk", {}, all_mrns[::5]),
        ("kz/declarant/astyk", {"state": "started"}, all_mrns[5::10]),
        ("kz/terminal/gate-1", {}, all_mrns),  # each waits for a terminal of its departure side
        ("cn/terminal/gate-101", {}, []),
    ]
    for who, query, expected in cases:
        for limit in (3, 200):
            seen: list[str] = []
            cursor: str | None = None
            while True:
                page_query = query | {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
                response = await running.http.get("/v1/movements", params=page_query, headers=running.auth(who))
                page = MovementPage.model_validate(response.json())
                assert len(page.movements) <= limit
                seen += [item["mrn"] for item in page.movements]
                cursor = page.next
                if cursor is None:
                    break
            assert seen == expected, (who, query, limit)


async def test_devices_whose_clocks_were_found_wrong_are_listed_for_customs(running: Running) -> None:
    for number in range(5):
        name = f"kz/truck/late-{number}"
        person = participant(name, running.people["kz/truck/t-001"], ("truck",))
        enrol(running.ledger, replace(person, flagged=number))

    async def listed(who: str, **query: str) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        cursor: str | None = None
        while True:
            params = query | ({"cursor": cursor} if cursor else {})
            response = await running.http.get("/v1/participants", params=params, headers=running.auth(who))
            page = ParticipantPage.model_validate(response.json())
            found += [(item["id"], item["flagged"]) for item in page.participants]
            cursor = page.next
            if cursor is None:
                return found

    late = [(f"kz/truck/late-{number}", number) for number in range(5)]
    for who in ("kz-kgd/officer", "cn-gacc/system", "kz/auditor"):
        assert await listed(who, flagged_min="1", limit="2") == late[1:]
    assert await listed("kz-kgd/officer", flagged_min="4") == late[4:]
    trucks = await listed("kz-kgd/officer", role="truck")
    assert trucks == [*late, ("kz/truck/t-001", 0), ("kz/truck/t-002", 0)]
    assert await listed("kz/truck/t-001") == [("kz/truck/t-001", 0)], "others see themselves"
    assert await listed("kz/truck/t-001", flagged_min="1") == []


async def test_a_cursor_that_was_tampered_with_or_belongs_elsewhere_is_refused(running: Running) -> None:
    for mrn in mrns(3):
        put_movement(running.ledger, movement(mrn))
    officer = running.auth("kz-kgd/officer")
    first = (await running.http.get("/v1/movements", params={"limit": 1}, headers=officer)).json()
    cursor = first["next"]
    data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    tampered = [
        base64.urlsafe_b64encode(data[:-1] + bytes([data[-1] ^ 1])).decode(),
        base64.urlsafe_b64encode(data[:8] + b"registry/").decode(),
        "AAAA",
        "",
        "é",
        cursor + "!",
        "A" * 300,
    ]
    for bad in tampered:
        response = await running.http.get("/v1/movements", params={"cursor": bad}, headers=officer)
        assert response.status_code == 400, bad
    other_query = {"cursor": cursor, "state": "planned"}
    response = await running.http.get("/v1/movements", params=other_query, headers=officer)
    assert response.json()["type"] == type_of("bad_cursor")
    for limit in ("0", "201", "x"):
        response = await running.http.get("/v1/movements", params={"limit": limit}, headers=officer)
        assert response.json()["type"] == type_of("bad_request")


async def test_a_page_holds_what_the_gateway_is_configured_for(running: Running) -> None:
    for mrn in mrns(9):
        put_movement(running.ledger, movement(mrn))
    officer = running.auth("kz-kgd/officer")

    async def page(limits: RequestLimits, **query: int) -> tuple[int, int]:
        running.gateway.config = replace(running.gateway.config, limits=limits)
        response = await running.http.get("/v1/movements", params=query, headers=officer)
        return response.status_code, len(response.json().get("movements", ()))

    assert await page(RequestLimits(page_items=4, page_max_items=6)) == (200, 4)
    assert await page(RequestLimits(page_items=4, page_max_items=6), limit=6) == (200, 6)
    assert await page(RequestLimits(page_items=4, page_max_items=6), limit=7) == (400, 0)
    assert await page(RequestLimits(page_max_items=3)) == (200, 3)
    assert await page(RequestLimits(page_max_items=500), limit=500) == (200, 9)


def test_a_cursor_is_of_one_query_tells_nothing_and_cannot_be_made() -> None:
    cursor = encode_cursor("escort/X", "f")
    assert decode_cursor(cursor, "f") == "escort/X"
    assert b"escort" not in base64.urlsafe_b64decode(cursor + "==")
    flipped = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    made = base64.urlsafe_b64encode(bytes(24) + b"escort/Y").decode()
    for wrong, filters in ((cursor, "g"), (flipped, "f"), (made, "f"), ("", "f"), ("\u0663", "f")):
        with pytest.raises(Problem, match="bad_cursor"):
            decode_cursor(wrong, filters)

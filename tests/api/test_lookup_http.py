"""From any identifier to the records that mention it, over HTTP: who sees what, pages, kinds, and what is refused."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api import lookup
from api.client import AsyncClient, Retry
from api.config import RequestLimits
from api.models import LookupPage
from api.problems import type_of
from contracts.declaration_record import Content, Recognition
from contracts.movement import Seal
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, comity
from nodes.cli.lookup import KINDS
from tests.api.conftest import Running
from tests.api.people import MRNS, OTHER_UCR, UCR, declaration, movement, put_declaration, put_movement
from tests.api.test_client import signer
from tests.api.test_records_http import mrns

OFFICER = "kz-kgd/officer"
BOX = "CSQU3054383"
KZ_NUMBER, CN_NUMBER = "55301/221126/0000123", "943020261000000123"


def fill(running: Running) -> None:
    """One declaration on one movement, each with everything that it is known by."""
    content = Content("Astyk LLP", "Wheat Co", "KZ", "CN", 33_000_000, (), (BOX,), ())
    recognition = Recognition("recognised", 1, CN_NUMBER)
    put_declaration(running.ledger, replace(declaration(), number=KZ_NUMBER, content=content, recognition=recognition))
    moved = movement(MRNS[0])
    seal = Seal("HS00000001", "H", BOX, None, "intact", "kz/terminal/gate-1")
    moved = replace(moved, plan=replace(moved.plan, containers=(BOX,)), seals=(seal,), vehicle="fleet/BKT-0001")
    put_movement(running.ledger, moved)
    both = [f"declaration/{UCR}", f"escort/{MRNS[0]}"]
    running.ledger.mentioned.update(
        {
            ("ucr", UCR): both,
            ("number", KZ_NUMBER): both[:1],
            ("number", CN_NUMBER): both[:1],
            ("mrn", MRNS[0]): both[1:],
            ("container", BOX): both,
            ("seal", "HS00000001"): both[1:],
            ("vehicle", "fleet/BKT-0001"): both[1:],
            ("participant", "kz/truck/t-001"): both[1:],
        }
    )


async def ask(running: Running, who: str = OFFICER, **query: Any) -> dict[str, Any]:
    response = await running.http.get("/v1/lookup", params=query, headers=running.auth(who))
    assert response.status_code == 200, response.text
    LookupPage.model_validate(response.json())
    document: dict[str, Any] = response.json()
    return document


BOTH = [f"escort/{MRNS[0]}", f"declaration/{UCR}"]


IDENTIFIERS: list[tuple[Any, ...]] = [
    ("ucr", UCR, BOTH),
    ("number", KZ_NUMBER, BOTH),
    ("number", CN_NUMBER, BOTH),
    ("kz_number", KZ_NUMBER, BOTH),
    ("cn_number", CN_NUMBER, BOTH),
    ("mrn", MRNS[0], BOTH[:1]),
    ("container", BOX, BOTH),
    ("seal", "HS00000001", BOTH[:1]),
    ("vehicle", "fleet/BKT-0001", BOTH[:1]),
    ("truck", "kz/truck/t-001", BOTH[:1]),
    ("participant", "kz/truck/t-001", BOTH[:1]),
]


async def test_every_identifier_of_a_crossing_leads_to_it_by_its_kind_and_by_its_form(running: Running) -> None:
    fill(running)
    for kind, text, keys in IDENTIFIERS:
        named = await ask(running, **{kind: text})
        guessed = await ask(running, q=text)
        assert [each["key"] for each in named["found"]] == keys
        assert [each["key"] for each in guessed["found"]] == keys
        assert (named["next"], named["size"]) == (None, 1)


async def test_each_record_comes_with_all_the_identifiers_that_belong_to_it(running: Running) -> None:
    fill(running)
    moved, declared = (each["identifiers"] for each in (await ask(running, container=BOX))["found"])
    numbers = {"KZ": KZ_NUMBER, "CN": CN_NUMBER}
    assert declared == {"ucr": UCR, "numbers": numbers, "containers": [BOX]}
    assert moved == {
        "mrn": MRNS[0],
        "declarations": [{"ucr": UCR, "version": 1, "numbers": numbers}],
        "containers": [BOX],
        "seals": ["HS00000001"],
        "vehicle": "fleet/BKT-0001",
        "truck": "kz/truck/t-001",
    }


SEEN: list[tuple[Any, ...]] = [
    ("kz-kgd/officer", BOTH, True),
    ("cn-gacc/system", BOTH, True),
    ("kz/auditor", BOTH, True),
    ("kz/declarant/astyk", BOTH, True),
    ("kz/declarant/other", [], False),
    ("kz/carrier/sary", BOTH[:1], False),
    ("cn/carrier/receiver", BOTH[:1], False),
    ("kz/truck/t-001", BOTH[:1], False),
    ("kz/truck/t-002", [], False),
    ("kz/terminal/gate-1", BOTH[:1], False),
]


async def test_nobody_finds_what_is_not_theirs_to_see(running: Running) -> None:
    fill(running)
    for who, keys, numbers in SEEN:
        found = (await ask(running, who, container=BOX))["found"]
        assert [each["key"] for each in found] == keys
        for each in found:
            for carried in each["identifiers"].get("declarations", ()):
                assert bool(carried["numbers"]) == numbers
        # What is not theirs answers as what is not there.
        assert (await ask(running, who, container="CBHU3202732"))["found"] == []


async def test_all_crossings_of_a_container_come_in_pages_newest_first(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "SCAN_MAX_RECORDS", 6)
    put_declaration(running.ledger, declaration())
    put_declaration(running.ledger, declaration(OTHER_UCR, "kz/declarant/other"))
    crossings = mrns(20)
    for serial, mrn in enumerate(crossings):
        put_movement(running.ledger, movement(mrn, ucr=UCR if serial % 5 == 0 else OTHER_UCR))
    running.ledger.mentioned["container", BOX] = [f"escort/{mrn}" for mrn in crossings]
    for who, expected in ((OFFICER, crossings[::-1]), ("kz/declarant/astyk", crossings[::5][::-1])):
        found: list[str] = []
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            page = await ask(running, who, container=BOX, limit=4, **({"cursor": cursor} if cursor else {}))
            assert len(page["found"]) <= 4
            found += [each["subject"] for each in page["found"]]
            cursor, pages = page["next"], pages + 1
        assert found == expected
        assert pages >= 3


async def test_a_stranger_makes_validators_look_at_what_is_hidden_in_few_questions(running: Running) -> None:
    put_declaration(running.ledger, declaration())
    crossings = mrns(300)
    for mrn in crossings:
        put_movement(running.ledger, movement(mrn))
    running.ledger.mentioned["container", BOX] = [f"escort/{mrn}" for mrn in crossings]
    before = sum(validator.calls.count("Find") for validator in running.validators)
    assert (await ask(running, "kz/declarant/other", container=BOX, limit=1))["found"] == []
    assert sum(validator.calls.count("Find") for validator in running.validators) - before < 12


async def test_what_people_write_is_understood_only_when_the_kind_is_guessed(running: Running) -> None:
    fill(running)
    page = await ask(running, q="csqu 305438-3")
    assert page["looked_for"] == [{"kind": "container", "identifier": BOX}]
    assert len(page["found"]) == 2
    response = await running.http.get(
        "/v1/lookup", params={"container": "csqu 305438-3"}, headers=running.auth(OFFICER)
    )
    assert response.status_code == 400
    assert "character 1: expected a letter of the owner code, got 'c'; CSQU3054383 would be one" in response.text


NO_QUESTIONS: list[tuple[Any, ...]] = [
    ({}, "bad_request", "expected q, or one of ucr, number"),
    ({"q": BOX, "seal": "HS1"}, "bad_request", "expected q, or one of"),
    ({"container": BOX, "seal": "HS1"}, "bad_request", "expected one identifier, got container, seal"),
    ({"container": "CSQU3054384"}, "bad_identifier", "character 11: expected check digit 3"),
    ({"kz_number": CN_NUMBER}, "bad_identifier", "kz number: character 6"),
    ({"q": "???"}, "bad_identifier", "is no identifier that is looked up here"),
    ({"q": "x" * 200}, "bad_request", "at most 128 characters"),
    ({"q": BOX, "cursor": "nonsense"}, "bad_cursor", "not a cursor"),
    ({"q": BOX, "limit": 0}, "bad_request", "greater than or equal to 1"),
    ({"q": BOX, "limit": 10_000}, "bad_request", "expected at most"),
]


async def test_a_question_that_is_none_says_what_is_wrong(running: Running) -> None:
    for query, code, detail in NO_QUESTIONS:
        response = await running.http.get("/v1/lookup", params=query, headers=running.auth(OFFICER))
        assert response.json()["type"] == type_of(code)
        assert detail in response.json()["detail"]


async def test_a_cursor_of_one_identifier_opens_no_other(running: Running) -> None:
    put_declaration(running.ledger, declaration())
    running.ledger.mentioned["container", BOX] = [f"escort/{mrn}" for mrn in mrns(3)]
    for mrn in mrns(3):
        put_movement(running.ledger, movement(mrn))
    cursor = (await ask(running, container=BOX, limit=1))["next"]
    response = await running.http.get(
        "/v1/lookup", params={"seal": BOX, "cursor": cursor}, headers=running.auth(OFFICER)
    )
    assert response.json()["type"] == type_of("bad_cursor")


async def test_a_validator_that_still_makes_its_index_is_passed_over_and_all_of_them_are_named(
    running: Running,
) -> None:
    fill(running)
    running.validators[0].indexed = 17
    assert len((await ask(running, container=BOX))["found"]) == 2
    running.validators[1].indexed = 17
    response = await running.http.get("/v1/lookup", params={"container": BOX}, headers=running.auth(OFFICER))
    assert (response.status_code, response.json()["type"]) == (503, type_of("index_incomplete"))
    assert response.json()["detail"] == "17 of 1 entries are indexed"
    assert response.headers["retry-after"] == "5"


async def test_strangers_are_asked_who_they_are(running: Running) -> None:
    response = await running.http.get("/v1/lookup", params={"container": BOX})
    assert response.status_code == 401


async def test_the_client_finds_page_after_page(running: Running) -> None:
    fill(running)
    async with AsyncClient(running.url, signer=signer(running, OFFICER), retry=Retry(attempts=2)) as client:
        assert [each["key"] async for each in client.find(BOX, page_items=1)] == BOTH
        assert [each["key"] async for each in client.find(BOX, kind="seal")] == []


def test_the_command_and_the_gateway_know_the_same_kinds() -> None:
    assert set(KINDS) == set(lookup.ASKED)
    assert RequestLimits().page_max_items >= 100


async def test_the_command_shows_what_was_found_and_its_status_says_whether_anything_was(
    running: Running, tmp_path: Path
) -> None:
    fill(running)
    key = tmp_path / "officer.key"
    key.write_bytes(running.people[OFFICER].to_pem())

    def find(*arguments: str) -> Result:
        signer_of = ("--gateway", running.url, "--as", OFFICER, "--key", str(key))
        return CliRunner().invoke(comity, ["find", *arguments, *signer_of])

    found, shown, limited, nothing, wrong = [
        await asyncio.to_thread(find, *arguments)
        for arguments in (
            (BOX,),
            (BOX, "--json"),
            (BOX, "--limit", "1"),
            ("CBHU3202732",),
            ("CSQU3054384", "--kind", "container"),
        )
    ]
    assert (found.exit_code, nothing.exit_code, wrong.exit_code) == (EXIT_HOLDS, EXIT_DOES_NOT_HOLD, EXIT_DOES_NOT_HOLD)
    assert found.stdout.splitlines()[:4] == [
        f"escort/{MRNS[0]}: started",
        f"  found by container {BOX}, entries 1 to 2",
        f"  mrn {MRNS[0]}",
        f"  declarations {UCR} version 1, KZ {KZ_NUMBER}, CN {CN_NUMBER}",
    ]
    assert [each["key"] for each in json.loads(shown.stdout)["found"]] == BOTH
    assert "there are more than 1: ask for more with --limit" in limited.stdout
    assert f"nothing that {OFFICER} may see mentions CBHU3202732" in nothing.output
    assert "expected check digit 3" in wrong.output
    unsigned = await asyncio.to_thread(CliRunner().invoke, comity, ["find", BOX, "--gateway", running.url])
    assert (unsigned.exit_code, "say who asks with --as and --key" in unsigned.output) == (EXIT_MISUSE, True)

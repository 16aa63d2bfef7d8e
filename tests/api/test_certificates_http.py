"""Crossing certificates from a gateway: those of the archive, for whom the movement is, with what they may see."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api.certifying import certificate_of_archive, verified
from api.client import AsyncClient, Client, TokenSigner
from api.problems import type_of
from contracts.certificate import MEDIA_TYPE, parse_certificate
from contracts.certificate_check import check_certificate
from tests.api.conftest import Running
from tests.api.fakes import ORIGIN
from tests.api.people import enrol, participant
from tests.contracts import corridor as c
from tests.contracts.crossings import POLICY, RealLedger, crossed

OFFICER, TRUCK, STRANGER = "kz-kgd/officer", "kz/truck/t-001", "kz/truck/t-002"
DECLARANT = "kz/declarant/agro"


@pytest.fixture
async def told(running: Running, monkeypatch: pytest.MonkeyPatch) -> RealLedger:
    """The fake validators serve a real ledger; people keep the keys that the tests gave them."""
    from ledger.algorithms import PrivateKey

    book = crossed()
    fake = running.ledger
    running.people[DECLARANT] = PrivateKey.generate()
    enrol(fake, participant(DECLARANT, running.people[DECLARANT], ("declarant",)))
    for key, value in book.chain.state.items():
        fake.records.setdefault(key, value)
    heights = [0, *(book.chain.block_of(index).height for index in range(1, book.size))]
    fake.entries = list(zip(book.chain.entries(0, book.size), heights, strict=True))
    monkeypatch.setattr(fake, "note", book.note)

    fake.tile = book.chain.tile
    fake.finalise()
    async with asyncio.timeout(10):
        await running.gateway.pool.finality.beyond(book.size - 1)
    return book


async def test_a_gateway_s_certificate_is_that_of_the_archive(
    running: Running, told: RealLedger, tmp_path: Path
) -> None:
    answer = await running.http.get(f"/v1/movements/{c.MRN}/certificate", headers=running.auth(OFFICER))
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE), answer.text
    assert f'filename="{c.MRN}.crossing"' in answer.headers["content-disposition"]
    assert check_certificate(POLICY, answer.content).holds
    told.export(tmp_path / "archive")
    assert certificate_of_archive(tmp_path / "archive", POLICY, c.MRN) == answer.content


async def test_where_validators_have_the_record_at_hand_it_is_in_it_and_shows_that_nothing_is_left_out(
    running: Running, told: RealLedger
) -> None:
    running.ledger.status_proof = told.status_proof
    answer = await running.http.get(f"/v1/movements/{c.MRN}/certificate", headers=running.auth(OFFICER))
    report = check_certificate(POLICY, answer.content)
    assert report.holds, report.checks
    assert report.record is not None
    assert answer.content == told.certificate()
    truck = await running.http.get(f"/v1/movements/{c.MRN}/certificate", headers=running.auth(TRUCK))
    assert check_certificate(POLICY, truck.content).record is not None
    assert b"Tacheng Flour Mill" not in truck.content


async def test_who_may_see_the_movement_and_not_its_declaration_gets_it_without(
    running: Running, told: RealLedger
) -> None:
    path = f"/v1/movements/{c.MRN}/certificate"
    whole = await running.http.get(path, headers=running.auth(DECLARANT))
    truck = await running.http.get(path, headers=running.auth(TRUCK))
    asked = await running.http.get(path, headers=running.auth(OFFICER), params={"declarations": "false"})
    assert {s.sub for _, s in parse_certificate(whole.content).statements} == {c.MRN, c.UCR}
    assert {s.sub for _, s in parse_certificate(truck.content).statements} == {c.MRN}
    assert b"Tacheng Flour Mill" not in truck.content
    assert truck.content == asked.content
    assert check_certificate(POLICY, truck.content).holds


async def test_it_is_for_whom_the_movement_is_and_for_nobody_else(running: Running, told: RealLedger) -> None:
    path = f"/v1/movements/{c.MRN}/certificate"
    assert (await running.http.get(path)).status_code == 401
    for who, where in ((STRANGER, path), (OFFICER, f"/v1/movements/{c.make_mrn(2)}/certificate")):
        answer = await running.http.get(where, headers=running.auth(who))
        assert (answer.status_code, answer.json()["type"]) == (404, type_of("not_found"))
    wrong = await running.http.get("/v1/movements/19GBCKKCQSXV2FGVA9/certificate", headers=running.auth(OFFICER))
    assert (wrong.status_code, wrong.json()["type"]) == (400, type_of("bad_identifier"))


async def test_both_clients_fetch_it(running: Running, told: RealLedger) -> None:
    signer = TokenSigner(running.people[TRUCK], participant=TRUCK, origin=ORIGIN)
    async with AsyncClient(running.url, signer=signer) as client:
        raw = await client.certificate(c.MRN)

    def blocking() -> bytes:
        with Client(running.url, signer=signer) as client:
            return client.certificate(c.MRN, declarations=False)

    assert await asyncio.to_thread(blocking) == verified(POLICY, raw)

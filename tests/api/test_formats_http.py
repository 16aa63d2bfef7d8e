"""The field's formats over HTTP: whom they are for, which is asked for, and declarations that come in as XML."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from api.client import AsyncClient, Client, TokenSigner
from api.core import DOCUMENTS_AT_ONCE
from api.epcis.document import movement_document
from api.history import read_archive
from api.models import ImportReport
from api.problems import code_of, type_of
from api.proto import validator_pb2 as wire
from api.routes import formats
from api.routes.formats import EPCIS, JSON, JSON_LD, XML, preferred
from api.wco.notifications import notifications_document
from contracts.declaration_record import number_key
from ledger.cbor import encode
from ledger.entry import BlockRecord
from ledger.statement import parse_statement
from tests.api import tales
from tests.api.conftest import Running
from tests.api.fakes import BLOCK_TIME_MS, ORIGIN
from tests.api.people import MRNS, UCR, declaration, movement, put_declaration, put_movement
from tests.api.wco.documents import lodged, request
from tests.contracts import corridor as c
from tests.ledger.archives import write_archive
from tests.ledger.toy import World
from tests.nodes.test_cli import run

MRN = MRNS[0]
OFFICER = "kz-kgd/officer"
SIDES = {"home": "kz-kgd", "partner": "cn-gacc"}
REASON = "<Amendment><ChangeReasonCode>1</ChangeReasonCode></Amendment>"


async def tell(running: Running, held_back: int = 0) -> None:
    """Puts a movement and its declaration on the log, and what the state says of them beside it."""
    put_declaration(running.ledger, declaration())
    put_movement(running.ledger, movement(MRN))
    running.ledger.finalise_at_once = False
    for number, step in enumerate(tales.DECLARATION):
        running.ledger.append(tales.signed(number, step, UCR).raw)
    for number, step in enumerate(tales.ESCORT):
        running.ledger.append(tales.signed(number, step, MRN).raw)
    running.ledger.finalise(len(running.ledger.entries) - held_back)
    async with asyncio.timeout(10):
        await running.gateway.pool.finality.beyond(running.ledger.final_size - 1)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html", JSON),
        (EPCIS, EPCIS),
        ("application/ld+json", JSON_LD),
        ("application/json;q=0.5, application/vnd.gs1.epcis+json", EPCIS),
        ("application/vnd.gs1.epcis+json;q=0.5, application/json", JSON),
        ("Application/LD+JSON ; q=1.0", JSON_LD),
        ("application/ld+json;q=0", JSON),
        ("application/ld+json;q=nan", JSON),
        ("application/ld+json;q=1e9", JSON),
        ("application/ld+json;q=\xb2", JSON),
        (";;;,,,q=,", JSON),
        ("," * 5000 + EPCIS, JSON),
    ],
)
def test_the_callers_preference_decides_and_what_is_no_preference_does_not(accept: str, chosen: str) -> None:
    assert preferred(accept, (JSON, EPCIS, JSON_LD)) == chosen


async def test_a_movement_is_given_as_events_where_that_is_asked_for(running: Running) -> None:
    await tell(running)
    officer = running.auth(OFFICER)
    plain = await running.http.get(f"/v1/movements/{MRN}", headers=officer)
    assert plain.json()["record"]["mrn"] == MRN
    for media_type in (EPCIS, JSON_LD):
        events = await running.http.get(f"/v1/movements/{MRN}", headers=officer | {"accept": media_type})
        assert events.headers["content-type"] == media_type
        assert len({e["comity:entry"] for e in events.json()["epcisBody"]["eventList"]}) == len(tales.ESCORT)
        own = await running.http.get(f"/v1/movements/{MRN}/events", headers=officer)
        assert own.content == events.content


async def test_the_document_is_that_of_the_entries_up_to_what_is_final(running: Running) -> None:
    await tell(running, held_back=4)
    history = await formats.history_of(running.gateway, MRN)
    assert (await running.http.get(f"/v1/movements/{MRN}/events", headers=running.auth(OFFICER))).content == (
        movement_document(MRN, history)
    )
    assert all(recorded.index < history.size for recorded in history.entries)


async def test_a_declarations_decisions_are_given_as_responses_where_that_is_asked_for(running: Running) -> None:
    await tell(running)
    officer = running.auth(OFFICER)
    asked = await running.http.get(f"/v1/declarations/{UCR}", headers=officer | {"accept": XML})
    assert asked.headers["content-type"].partition(";")[0] == XML
    assert [e.tag.partition("}")[2] for e in ElementTree.fromstring(asked.text)].count("Response") == 4
    own = await running.http.get(f"/v1/declarations/{UCR}/notifications", headers=officer)
    assert own.content == asked.content
    assert (await running.http.get(f"/v1/declarations/{UCR}", headers=officer)).json()["record"]["ucr"] == UCR


async def test_before_the_first_decision_there_is_a_problem_with_a_code_of_its_own(running: Running) -> None:
    put_declaration(running.ledger, declaration())
    running.ledger.append(tales.signed(0, tales.DECLARATION[0], UCR).raw)
    response = await running.http.get(f"/v1/declarations/{UCR}/notifications", headers=running.auth(OFFICER))
    assert (response.status_code, response.json()["type"]) == (404, type_of("no_decision_yet"))


async def test_documents_are_for_those_whom_the_record_is_for(running: Running) -> None:
    await tell(running)
    stranger = running.auth("kz/declarant/other")
    for path in (f"/v1/movements/{MRN}", f"/v1/movements/{MRN}/events"):
        response = await running.http.get(path, headers=stranger | {"accept": EPCIS})
        assert (response.status_code, response.json()["type"]) == (404, type_of("not_found"))
    for path in (f"/v1/declarations/{UCR}", f"/v1/declarations/{UCR}/notifications"):
        response = await running.http.get(path, headers=stranger | {"accept": XML})
        assert (response.status_code, response.json()["type"]) == (404, type_of("not_found"))
    for path in (f"/v1/movements/{MRN}/events", f"/v1/declarations/{UCR}/notifications"):
        assert (await running.http.get(path)).status_code == 401


async def test_identifiers_of_no_form_are_refused(running: Running) -> None:
    for path in ("/v1/movements/19GBCKKCQSXV2FGVA9/events", "/v1/declarations/lower/notifications"):
        response = await running.http.get(path, headers=running.auth(OFFICER))
        assert (response.status_code, response.json()["type"]) == (400, type_of("bad_identifier"))


async def test_a_declaration_in_xml_comes_back_as_a_payload_with_its_report(running: Running) -> None:
    headers = running.auth("kz/declarant/astyk") | {"content-type": "application/xml; charset=utf-8"}
    response = await running.http.post("/v1/import", params=SIDES, content=lodged(), headers=headers)
    report = ImportReport.model_validate(response.json())
    assert (report.ready, report.kind, report.subject) == (True, "declaration.lodge", "KZ-AGRO-2026/77")
    assert len(report.elements) == sum(report.fates.values())
    assert running.ledger.submissions == []
    without = await running.http.post("/v1/import", content=lodged(), headers=headers)
    assert [problem.field for problem in ImportReport.model_validate(without.json()).problems] == ["home", "partner"]


async def test_a_request_about_a_number_is_about_its_declaration_for_whoever_may_see_that(running: Running) -> None:
    put_declaration(running.ledger, declaration())
    running.ledger.records[number_key("KZ", "19GBCKKCQSXV2FGVA8")] = encode([UCR])
    raw = request("INV", REASON)
    for who, subject in (("kz/declarant/astyk", UCR), ("kz/declarant/other", None)):
        headers = running.auth(who) | {"content-type": XML}
        report = ImportReport.model_validate(
            (await running.http.post("/v1/import", content=raw, headers=headers)).json()
        )
        assert (report.ready, report.subject) == (subject is not None, subject), who


@pytest.mark.parametrize(
    ("raw", "media_type", "status", "code"),
    [
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", XML, 400, "bad_document"),
        (b"", XML, 400, "empty_body"),
        (b" " * (formats.IMPORT_MAX_BYTES + 1), XML, 413, "too_large"),
        (b"{}", "application/json", 415, "unsupported_media_type"),
        (b"<a/>", "", 415, "unsupported_media_type"),
    ],
    ids=["doctype", "empty", "large", "json", "untyped"],
)
async def test_what_is_no_declaration_is_refused(
    running: Running, raw: bytes, media_type: str, status: int, code: str
) -> None:
    headers = running.auth("kz/declarant/astyk") | {"content-type": media_type}
    response = await running.http.post("/v1/import", content=raw, headers=headers)
    assert (response.status_code, response.json()["type"]) == (status, type_of(code))


async def test_both_clients_give_the_same_documents_and_reports(running: Running) -> None:
    await tell(running)
    key = running.people["kz/declarant/astyk"]
    signer = TokenSigner(key, participant="kz/declarant/astyk", origin=ORIGIN)

    def ask() -> tuple[bytes, bytes, dict[str, Any]]:
        with Client(running.url, signer=signer) as client:
            report = client.import_declaration(lodged(), **SIDES)
            return client.movement_events(MRN), client.notifications(UCR), report

    blocking = await asyncio.to_thread(ask)
    async with AsyncClient(running.url, signer=signer) as client:
        report = await client.import_declaration(lodged(), **SIDES)
        assert blocking == (await client.movement_events(MRN), await client.notifications(UCR), report)
    assert report["ready"] is True
    officer = running.auth(OFFICER)
    assert blocking[0] == (await running.http.get(f"/v1/movements/{MRN}/events", headers=officer)).content


async def test_who_sends_documents_slowly_holds_few_places_and_gives_them_back(running: Running) -> None:
    more = asyncio.Event()
    headers = running.auth("kz/declarant/astyk") | {"content-type": XML}

    async def slowly() -> AsyncIterator[bytes]:
        yield b"<"
        await more.wait()
        yield b"a/>"

    async def send(content: Any) -> tuple[int, str]:
        response = await running.http.post("/v1/import", content=content, headers=headers)
        return response.status_code, code_of(response.json()["type"])

    slow = [asyncio.create_task(send(slowly())) for _ in range(2)]
    async with asyncio.timeout(10):
        while running.gateway.attaching.receiving < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await send(b"<a/>") == (429, "overloaded")
    more.set()
    assert {await task for task in slow} == {(400, "bad_document")}
    assert await send(b"<a/>") == (400, "bad_document")


async def test_no_more_documents_are_made_at_once_than_there_is_room_for(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(running)
    making, most = 0, 0
    history_of = formats.history_of

    async def counted(gateway: Any, subject: str) -> Any:
        nonlocal making, most
        making += 1
        most = max(most, making)
        try:
            await asyncio.sleep(0)
            return await history_of(gateway, subject)
        finally:
            making -= 1

    monkeypatch.setattr(formats, "history_of", counted)
    path, officer = f"/v1/movements/{MRN}/events", running.auth(OFFICER)
    answers = await asyncio.gather(*(running.http.get(path, headers=officer) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert most == DOCUMENTS_AT_ONCE


async def test_importing_needs_a_token(running: Running) -> None:
    response = await running.http.post("/v1/import", content=lodged(), headers={"content-type": XML})
    assert response.status_code == 401


async def test_the_gateway_gives_what_the_offline_export_writes_of_an_archive_byte_for_byte(
    running: Running, tmp_path: Path
) -> None:
    put_declaration(running.ledger, declaration())
    put_movement(running.ledger, movement(MRN))
    statements = [tales.signed(number, step, UCR) for number, step in enumerate(tales.DECLARATION)]
    statements += [tales.signed(number, step, MRN) for number, step in enumerate(tales.ESCORT)]
    entries: list[tuple[bytes, int]] = [(c.genesis().encode(), 0)]
    for height, statement in enumerate(statements, 1):
        record = BlockRecord(height, BLOCK_TIME_MS + height, len(entries), 1, bytes(32), bytes(32), "kz-kgd-1")
        entries += [(statement.raw, height), (record.encode(), height)]
    running.ledger.entries = entries
    running.ledger.finalise()
    async with asyncio.timeout(10):
        await running.gateway.pool.finality.beyond(len(entries) - 1)
    world = World()
    write_archive(tmp_path, [raw for raw, _ in entries], world)
    officer = running.auth(OFFICER)
    events = await running.http.get(f"/v1/movements/{MRN}/events", headers=officer)
    assert events.content == movement_document(MRN, read_archive(tmp_path, world.policy(), MRN))
    answers = await running.http.get(f"/v1/declarations/{UCR}/notifications", headers=officer)
    assert answers.content == notifications_document(UCR, read_archive(tmp_path, world.policy(), UCR))


async def test_an_imported_declaration_is_sent_where_that_is_asked_for_and_a_rejection_ends_with_1(
    running: Running, tmp_path: Path
) -> None:
    (tmp_path / "wheat.xml").write_bytes(lodged())
    (tmp_path / "key.pem").write_bytes(running.people["kz/declarant/astyk"].to_pem())
    signer = ("--key", tmp_path / "key.pem", "--as", "kz/declarant/astyk", "--open", "--submit", running.url, "--json")
    command = ("import", tmp_path / "wheat.xml", "--home", "kz-kgd", "--partner", "cn-gacc", *signer)
    sent = await asyncio.to_thread(run, *command, "--out", tmp_path / "a")
    (report,) = json.loads(sent.stdout)["documents"]
    assert (sent.exit_code, report["state"]) == (0, "final")
    statement = parse_statement((tmp_path / "a" / "wheat.cose").read_bytes())
    assert running.ledger.submissions == [statement.raw]
    running.ledger.decide = lambda raw: wire.Result(rejected=wire.Rejected(code=301, name="declaration_already_lodged"))
    refused = await asyncio.to_thread(run, *command, "--out", tmp_path / "b")
    (report,) = json.loads(refused.stdout)["documents"]
    assert (refused.exit_code, report["state"], report["problem"]) == (1, "failed", "rejected")


async def test_a_gateway_that_is_not_there_ends_an_import_with_3_and_leaves_what_was_signed(
    running: Running, tmp_path: Path
) -> None:
    (tmp_path / "wheat.xml").write_bytes(lodged())
    (tmp_path / "key.pem").write_bytes(running.people["kz/declarant/astyk"].to_pem())
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    signer = ("--key", tmp_path / "key.pem", "--as", "kz/declarant/astyk", "--open", "--submit", nobody)
    command = ("import", tmp_path / "wheat.xml", "--home", "kz-kgd", "--partner", "cn-gacc", *signer)
    result = await asyncio.to_thread(run, *command, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert (tmp_path / "out" / "wheat.cose").exists()

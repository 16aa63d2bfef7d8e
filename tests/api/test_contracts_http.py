"""Records of any contract, outcomes and schemas over HTTP: the same for a contract that is added later."""

from __future__ import annotations

import jsonschema
import pytest

from api.models import ProblemDocument, RecordDocument
from api.problems import of_rejection, type_of
from contracts.catalogue import CONTRACTS, read_record
from contracts.outcome import Outcome
from contracts.phytosanitary import Certificate
from contracts.working import UnreadableRecord
from tests.api.conftest import Running
from tests.api.fakes import signed_statement
from tests.api.people import MRNS, ROLES, UCR, declaration, movement, put_declaration, put_movement

NUMBER = "KZ/2026-004711"
PATH = f"/v1/records/phytosanitary/{NUMBER}"


def put_certificate(running: Running, declarant: str = "kz/declarant/astyk") -> None:
    certificate = Certificate(
        subject=NUMBER,
        state="issued",
        since_ms=1_790_000_000_000,
        by="kz-kgd/system",
        statement=bytes(32),
        exporting="kz-kgd",
        importing="cn-gacc",
        declarant=declarant,
        ucr=UCR,
        ephyto_sha256=bytes(32),
        plants=(("Triticum aestivum", 24_000_000),),
    )
    running.ledger.records[Certificate.key(NUMBER)] = certificate.encode()


async def test_a_record_of_a_contract_that_the_gateway_has_no_code_for_is_shown(running: Running) -> None:
    put_certificate(running)
    response = await running.http.get(PATH, headers=running.auth("kz-kgd/officer"))
    document = RecordDocument.model_validate(response.json())
    assert document.key == f"phytosanitary/{NUMBER}"
    assert document.record["plants"] == [["Triticum aestivum", 24_000_000]]
    encoded = await running.http.get(PATH.replace("KZ/", "KZ%2F"), headers=running.auth("kz-kgd/officer"))
    assert encoded.json() == response.json()


async def test_a_record_is_for_customs_auditors_and_those_whom_its_contract_names(running: Running) -> None:
    put_certificate(running)
    seen = []
    for who in ROLES:
        response = await running.http.get(PATH, headers=running.auth(who))
        assert response.status_code in (200, 404), who
        seen += [who] if response.status_code == 200 else []
    assert seen == ["kz-kgd/officer", "cn-gacc/system", "kz/auditor", "kz/declarant/astyk"]
    assert (await running.http.get(PATH)).status_code == 401


async def test_whom_a_record_does_not_name_cannot_tell_whether_it_is_there(running: Running) -> None:
    put_certificate(running, declarant="kz/declarant/other")
    caller = running.auth("kz/declarant/astyk")
    hidden = await running.http.get(PATH, headers=caller)
    absent = await running.http.get(PATH[:-1] + "9", headers=caller)
    assert hidden.status_code == absent.status_code == 404
    assert {**hidden.json(), "instance": ""} == {**absent.json(), "instance": ""}


async def test_declarations_and_movements_are_shown_as_at_their_own_addresses(running: Running) -> None:
    put_declaration(running.ledger, declaration())
    put_movement(running.ledger, movement(MRNS[0]))
    officer, truck = running.auth("kz-kgd/officer"), running.auth("kz/truck/t-001")
    for own, general in (
        (f"/v1/declarations/{UCR}", f"/v1/records/declaration/{UCR}"),
        (f"/v1/movements/{MRNS[0]}", f"/v1/records/escort/{MRNS[0]}"),
        ("/v1/participants/kz/truck/t-001", "/v1/records/registry/kz/truck/t-001"),
    ):
        for caller in (officer, truck, running.auth("kz/declarant/astyk")):
            one = await running.http.get(own, headers=caller)
            other = await running.http.get(general, headers=caller)
            assert one.status_code == other.status_code, (own, one.text, other.text)
            if one.status_code == 200:
                assert one.json() == other.json()


async def test_what_is_no_contract_and_no_subject_is_said(running: Running) -> None:
    officer = running.auth("kz-kgd/officer")
    for path, code in (
        ("/v1/records/weather/KZ", "not_found"),
        ("/v1/records/phytosanitary/kz-1", "bad_identifier"),
        ("/v1/records/escort/" + NUMBER, "bad_identifier"),
        ("/v1/records/phytosanitary/KZ/1", "not_found"),
        ("/v1/records/" + "x" * 40 + "/KZ", "bad_request"),
    ):
        response = await running.http.get(path, headers=officer)
        assert response.json()["type"] == type_of(code), path


async def test_every_outcome_says_without_a_token_what_to_do(running: Running) -> None:
    listed = (await running.http.get("/v1/outcomes")).json()["outcomes"]
    assert [entry["outcome_code"] for entry in listed] == [int(outcome) for outcome in Outcome]
    one = (await running.http.get("/v1/outcomes/307")).json()
    assert one in listed
    assert one["kinds"] == ["escort.plan", "escort.start"]
    for path, status in (("/v1/outcomes/308000", 400), ("/v1/outcomes/99", 404), ("/v1/outcomes/x", 400)):
        assert (await running.http.get(path)).status_code == status, path


@pytest.mark.parametrize("outcome", [Outcome.DECLARATION_NOT_RELEASED, Outcome.KEY_REVOKED, Outcome.SIDE_NOT_ALLOWED])
async def test_a_problem_leads_to_the_page_of_its_outcome(running: Running, outcome: Outcome) -> None:
    document = of_rejection(int(outcome), outcome.fact).document()
    ProblemDocument.model_validate(document)
    page = (await running.http.get(document["help"])).json()
    assert page["outcome"] == document["outcome"]


async def test_every_kind_has_its_schema_and_the_description_has_them_all(running: Running) -> None:
    components = (await running.http.get("/openapi.json")).json()["components"]["schemas"]
    for (name, _), contract in CONTRACTS.items():
        for event in contract.schemas:
            response = await running.http.get(f"/v1/schemas/{name}.{event}")
            assert response.headers["content-type"] == "application/schema+json"
            jsonschema.Draft202012Validator.check_schema(response.json())
            assert components[f"payload.{name}.{event}"]["properties"] == response.json()["properties"]
    assert (await running.http.get("/v1/schemas/escort.fly")).status_code == 404


def test_a_record_that_no_version_can_read_is_told_and_not_guessed() -> None:
    with pytest.raises(UnreadableRecord):
        read_record("phytosanitary", declaration().encode())


async def test_a_statement_is_for_those_who_may_see_the_record_it_is_about(running: Running) -> None:
    put_certificate(running)
    statement = signed_statement(kind="phytosanitary.issue", iss="kz-kgd/system", sub=NUMBER)
    running.ledger.append(statement.raw)
    statuses = {}
    for who in ("kz/declarant/astyk", "kz/declarant/other", "kz/truck/t-001", "cn-gacc/system"):
        response = await running.http.get(f"/v1/statements/{statement.id_hex}", headers=running.auth(who))
        statuses[who] = response.status_code
    assert statuses == {
        "kz/declarant/astyk": 200,
        "kz/declarant/other": 404,
        "kz/truck/t-001": 404,
        "cn-gacc/system": 200,
    }

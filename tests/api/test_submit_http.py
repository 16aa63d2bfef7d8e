"""POST /v1/statements: over real sockets, with validators that answer, fail and fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest

from api.models import ProblemDocument, SequenceResult, StatementResult
from api.problems import PROBLEMS, type_of
from api.proto import validator_pb2 as wire
from ledger import cbor
from ledger.statement import MAX_STATEMENT_BYTES, parse_statement
from tests.api.conftest import Running
from tests.api.fakes import KEYS, signed_statement

COSE = {"content-type": "application/cose"}
SEQUENCE = {"content-type": "application/cbor-seq"}


def _rejecting(rejected: wire.Rejected, raw: bytes) -> wire.Result:
    return wire.Result(rejected=rejected)


async def post(running: Running, raw: bytes, headers: dict[str, str] = COSE, **query: Any) -> httpx.Response:
    return await running.http.post("/v1/statements", content=raw, headers=headers, params=query)


def assert_problem(response: httpx.Response, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = response.json()
    ProblemDocument.model_validate(document)
    assert (document["type"], document["status"]) == (type_of(code), response.status_code)
    assert response.status_code == PROBLEMS[code].status
    return dict(document)


async def test_a_statement_becomes_committed_then_final(running: Running) -> None:
    statement = signed_statement()
    response = await post(running, statement.raw, wait="final")
    result = StatementResult.model_validate(response.json())
    assert (response.status_code, result.state, result.index, result.id) == (200, "final", 1, statement.id_hex)
    again = await post(running, statement.raw)
    assert StatementResult.model_validate(again.json()) == result.model_copy(update={"duplicate": True})


async def test_a_wait_for_finality_that_runs_out_says_committed_with_202(running: Running) -> None:
    running.ledger.finalise_at_once = False
    response = await post(running, signed_statement().raw, wait="final", timeout_ms=100)
    assert response.status_code == 202
    assert StatementResult.model_validate(response.json()).state == "committed"


async def test_a_wait_for_any_answer_that_runs_out_says_send_it_again(running: Running) -> None:
    for validator in running.validators:
        validator.silent = True
    response = await post(running, signed_statement().raw, timeout_ms=100)
    assert_problem(response, "not_ordered_in_time")
    assert int(response.headers["retry-after"]) >= 1


def _spoiled() -> dict[str, bytes]:
    good = signed_statement().raw
    statement = parse_statement(good)
    header = cbor.decode(good[4 : 4 + good[3]]) if good[2] == 0x58 else None
    assert isinstance(header, dict)

    def with_header(changed: dict[Any, Any], payload: bytes = b"\xa0", signature: bytes = statement.signature) -> bytes:
        return b"\xd2\x84" + cbor.encode(cbor.encode(changed)) + b"\xa0" + cbor.encode(payload) + cbor.encode(signature)

    return {
        "wrong_tag": b"\xd1" + good[1:],
        "malformed_cbor": good[:-1],
        "non_canonical_cbor": good.replace(b"\xa0", b"\xa0", 1)[:2] + b"\x59\x00" + good[3:],
        "unprotected_not_empty": good.replace(b"\xa0\x44", b"\xa1\x01\x02\x44", 1),
        "unknown_algorithm": with_header(header | {1: -257}),
        "bad_content_type": with_header(header | {3: "text/plain"}),
        "bad_kid": with_header(header | {4: b"short"}),
        "bad_claims": with_header(header | {15: {1: "kz/x"}}),
        "bad_header": with_header({k: v for k, v in header.items() if k != 4}),
        "bad_payload": with_header(header, payload=b"\x01"),
    }


@pytest.mark.parametrize("code", sorted(_spoiled()))
async def test_bytes_that_are_no_statement_are_each_refused_by_name_before_any_validator(
    running: Running, code: str
) -> None:
    raw = _spoiled()[code]
    assert_problem(await post(running, raw), code)
    assert running.ledger.submissions == []


async def test_garbage_emptiness_and_the_wrong_type_are_refused(running: Running) -> None:
    assert_problem(await post(running, b"\xff" * 100), "wrong_tag")
    assert_problem(await post(running, b""), "empty_body")
    assert_problem(await post(running, b"", SEQUENCE), "empty_body")
    assert_problem(await post(running, b"{}", {"content-type": "application/json"}), "unsupported_media_type")
    assert_problem(await post(running, signed_statement().raw, wait="eventually"), "bad_request")
    assert_problem(await post(running, signed_statement().raw, timeout_ms=0), "bad_request")


async def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(running: Running) -> None:
    raw = bytes(MAX_STATEMENT_BYTES + 1)
    assert_problem(await post(running, raw), "too_large")

    async def chunks() -> Any:
        for _ in range(100):
            yield bytes(1024)

    response = await running.http.post("/v1/statements", content=chunks(), headers=COSE)
    assert_problem(response, "too_large")
    assert_problem(await post(running, bytes(65 * 1024), SEQUENCE), "too_large")
    assert_problem(await post(running, b"".join(signed_statement().raw for _ in range(21)), SEQUENCE), "too_many")


async def test_rejections_carry_the_outcome_and_those_about_the_signer_have_types_of_their_own(
    running: Running,
) -> None:
    cases = [
        (307, "declaration_not_released", "rejected"),
        (113, "key_suspended", "key_suspended"),
        (114, "key_revoked", "key_revoked"),
        (111, "key_unknown", "key_unknown"),
        (117, "role_not_allowed", "role_not_allowed"),
        (120, "iat_in_future", "iat_in_future"),
        (102, "cti_reused", "cti_reused"),
    ]
    for number, name, code in cases:
        rejected = wire.Rejected(code=number, name=name)
        running.ledger.decide = partial(_rejecting, rejected)
        statement = signed_statement()
        document = assert_problem(await post(running, statement.raw), code)
        assert (document["outcome_code"], document["outcome"], document["id"]) == (number, name, statement.id_hex)


async def test_a_rejection_says_which_field_was_wrong_where_the_contracts_do(running: Running) -> None:
    detail = "gross_mass_g: expected 1 to 100000000, got 0"
    rejected = wire.Rejected(code=108, name="payload_field_out_of_limits", detail=detail)
    running.ledger.decide = partial(_rejecting, rejected)
    assert assert_problem(await post(running, signed_statement().raw), "payload_refused")["detail"] == detail
    (result,) = (await post(running, signed_statement().raw, SEQUENCE)).json()["results"]
    assert result["problem"]["detail"] == detail
    running.ledger.decide = partial(_rejecting, wire.Rejected(code=307, name="declaration_not_released"))
    document = assert_problem(await post(running, signed_statement().raw), "rejected")
    assert document["detail"] == "declaration not released"


async def test_a_signature_that_does_not_verify_is_said_as_such(running: Running) -> None:
    refused = wire.Refused(reason=wire.Refused.UNTRUE, code="bad_signature", detail="no")
    running.ledger.decide = lambda raw: wire.Result(refused=refused)
    assert_problem(await post(running, signed_statement(KEYS[-7]).raw), "bad_signature")


async def test_an_absent_authority_is_503_with_its_name_and_when_to_come_again(running: Running) -> None:
    running.ledger.missing = ("cn-gacc",)
    response = await post(running, signed_statement().raw)
    document = assert_problem(response, "authority_unreachable")
    assert document["missing_authorities"] == ["cn-gacc"]
    assert response.headers["retry-after"] == "3"
    assert "waiting for cn-gacc" in document["detail"]


async def test_overload_is_429_with_when_to_come_again(running: Running) -> None:
    for validator in running.validators:
        validator.overloaded = True
    response = await post(running, signed_statement().raw)
    assert assert_problem(response, "overloaded")["retry_after_ms"] == 700
    assert response.headers["retry-after"] == "1"


async def test_every_validator_gone_is_503(running: Running) -> None:
    for validator in running.validators:
        await validator.stop()
    response = await post(running, signed_statement().raw)
    assert_problem(response, "validators_unreachable")
    assert "retry-after" in response.headers


async def test_a_sequence_answers_each_item_and_one_bad_one_spoils_no_other(running: Running) -> None:
    statements = [signed_statement() for _ in range(3)]
    bad = _spoiled()["unknown_algorithm"]
    rejected = statements[2].raw
    running.ledger.decide = lambda raw: (
        wire.Result(rejected=wire.Rejected(code=300, name="movement_unknown")) if raw == rejected else None
    )
    body = statements[0].raw + bad + statements[1].raw + rejected
    response = await post(running, body, SEQUENCE, wait="final")
    assert response.status_code == 200
    SequenceResult.model_validate(response.json())
    results = response.json()["results"]
    assert [result["state"] for result in results] == ["final", "refused", "final", "rejected"]
    assert results[1]["problem"]["type"] == type_of("unknown_algorithm")
    assert results[3]["problem"]["outcome"] == "movement_unknown"
    assert [result["id"] for result in results] == [
        statements[0].id_hex,
        results[1]["id"],
        statements[1].id_hex,
        statements[2].id_hex,
    ]
    assert "retry-after" not in response.headers


async def test_a_sequence_that_cannot_be_split_submits_nothing(running: Running) -> None:
    body = signed_statement().raw + b"\x00trailing"
    assert_problem(await post(running, body, SEQUENCE), "wrong_tag")
    assert running.ledger.submissions == []


async def test_a_sequence_with_items_to_send_again_says_when(running: Running) -> None:
    running.ledger.missing = ("cn-gacc",)
    body = signed_statement().raw + signed_statement().raw
    response = await post(running, body, SEQUENCE)
    assert [result["state"] for result in response.json()["results"]] == ["unavailable"] * 2
    assert response.headers["retry-after"] == "3"


async def test_the_same_statement_twice_in_a_sequence_is_one_entry(running: Running) -> None:
    raw = signed_statement().raw
    results = (await post(running, raw + raw, SEQUENCE)).json()["results"]
    assert results[0]["index"] == results[1]["index"] == 1
    assert len(running.ledger.entries) == 3


async def test_a_body_that_does_not_come_gives_its_place_back(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.common.BODY_TIMEOUT_S", 0.1)

    async def never() -> AsyncIterator[bytes]:
        yield b"\xd2"
        await asyncio.sleep(3)

    response = await running.http.post("/v1/statements", content=never(), headers=COSE)
    assert_problem(response, "body_too_slow")


async def test_health_is_answered_when_nothing_else_is(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.REQUESTS_MAX", 0)
    assert (await running.http.get("/v1/checkpoint")).status_code == 429
    assert (await running.http.get("/healthz")).status_code == 200

"""Statements in, and what became of them; a statement that is there, and its proof."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import PlainTextResponse, Response

from api.answers import Accepted, Rejected, Unavailable, problem_of
from api.core import Gateway
from api.examples import EXAMPLE_ID, EXAMPLE_RECORD, EXAMPLE_RESULT
from api.models import SequenceResult, StatementRecord, StatementResult
from api.problems import Problem, of_malformed, retry_after_s
from api.routes.common import (
    AUTHENTICATION,
    LINEARIZABLE,
    NO_STORE,
    CallerDep,
    Consistency,
    GatewayDep,
    body_within,
    example,
    json_response,
    problems,
)
from api.submission import Batch, Signed, Submitted
from ledger.errors import Malformed
from ledger.statement import MAX_STATEMENT_BYTES, parse_statement, parse_statement_sequence

COSE = "application/cose"
CBOR_SEQUENCE = "application/cbor-seq"
TIMEOUT_MAX_MS = 60_000

router = APIRouter(tags=["statements"])

_HEX_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One tagged COSE_Sign1, or a CBOR sequence (RFC 8742) of them.",
        "content": {
            COSE: {"schema": {"type": "string", "format": "binary"}, "example": "d284588a… (binary)"},
            CBOR_SEQUENCE: {"schema": {"type": "string", "format": "binary"}, "example": "d284588a…d284588b… (binary)"},
        },
    }
}
_SUBMIT_PROBLEMS = (
    "malformed_cbor",
    "non_canonical_cbor",
    "unsupported_cbor",
    "wrong_tag",
    "unknown_algorithm",
    "bad_header",
    "bad_content_type",
    "bad_kid",
    "bad_claims",
    "unprotected_not_empty",
    "bad_payload",
    "bad_signature_spelling",
    "malformed_statement",
    "empty_body",
    "bad_request",
    "issuer_unknown",
    "key_unknown",
    "key_not_yet_valid",
    "key_suspended",
    "key_revoked",
    "key_expired",
    "role_not_allowed",
    "side_not_allowed",
    "cti_reused",
    "envelope_missing",
    "envelope_of_other_subject",
    "too_large",
    "body_too_slow",
    "too_many",
    "unsupported_media_type",
    "bad_signature",
    "untrue_statement",
    "unknown_kind",
    "payload_refused",
    "not_listed",
    "iat_in_future",
    "iat_too_old",
    "rejected",
    "overloaded",
    "authority_unreachable",
    "not_ordered_in_time",
    "validators_unreachable",
    "shutting_down",
)


def statement_id_of(text: str) -> bytes:
    """The id that 64 lower-case hex digits spell."""
    if not _HEX_ID.fullmatch(text):
        raise Problem("bad_identifier", "statement id must be 64 lower-case hex digits")
    return bytes.fromhex(text)


@router.post(
    "/v1/statements",
    operation_id="submitStatements",
    summary="Submit one statement or many",
    description=(
        "Needs no token: a statement carries its own signature. The same statement may be sent again at any time and "
        "gives the same answer; nothing happens twice. For a sequence every statement has a result of its own."
    ),
    response_model=StatementResult | SequenceResult,
    openapi_extra=_BODY,
    responses={
        200: {
            "description": "On the log as asked for; or the results of a sequence.",
            "content": {
                "application/json": {
                    "examples": {
                        "one": {"value": EXAMPLE_RESULT},
                        "many": {
                            "value": {
                                "results": [
                                    EXAMPLE_RESULT,
                                    {
                                        "id": EXAMPLE_ID,
                                        "state": "rejected",
                                        "problem": Problem(
                                            "rejected",
                                            "declaration not released",
                                            outcome_code=307,
                                            outcome="declaration_not_released",
                                        ).document(),
                                    },
                                ]
                            }
                        },
                    }
                }
            },
        },
        202: {
            "model": StatementResult,
            **example({**EXAMPLE_RESULT, "state": "committed"}, "Committed, but not final when the time was over."),
        },
        **problems(*_SUBMIT_PROBLEMS),
    },
)
async def submit_statements(
    request: Request,
    gateway: GatewayDep,
    wait: Annotated[Literal["committed", "final"], Query(description="What to wait for.")] = "committed",
    timeout_ms: Annotated[int | None, Query(ge=1, le=TIMEOUT_MAX_MS, description="How long to wait at most.")] = None,
) -> Response:
    limits = gateway.config.limits
    until_final = wait == "final"
    if timeout_ms is None:
        timeout_ms = limits.final_timeout_ms if until_final else limits.submit_timeout_ms
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == COSE:
        raw = await body_within(request, MAX_STATEMENT_BYTES)
        return await _submit_one(gateway, raw, until_final, timeout_ms / 1000)
    if media_type == CBOR_SEQUENCE:
        data = await body_within(request, limits.sequence_max_bytes)
        return await _submit_sequence(gateway, data, until_final, timeout_ms / 1000)
    raise Problem("unsupported_media_type", f"expected {COSE} or {CBOR_SEQUENCE}, got {media_type[:80]!r}")


async def _submit_one(gateway: Gateway, raw: bytes, until_final: bool, timeout_s: float) -> Response:
    if not raw:
        raise Problem("empty_body")
    signed = gateway.signed(raw)
    await gateway.require(signed)
    (submitted,) = await Batch(gateway.pool, [signed], until_final=until_final).wait(timeout_s)
    gateway.metrics.count_answer(submitted.answer)
    problem = problem_of(submitted.answer)
    if problem is not None:
        problem.statement_id = signed.id.hex()
        raise problem
    status = 202 if until_final and not submitted.final else 200
    return json_response(_result(signed, submitted), status, NO_STORE)


async def _submit_sequence(gateway: Gateway, data: bytes, until_final: bool, timeout_s: float) -> Response:
    if not data:
        raise Problem("empty_body")
    try:
        raws = parse_statement_sequence(data, gateway.config.limits.sequence_max_statements)
    except Malformed as error:
        raise of_malformed(error.code, str(error.args[0])) from error
    results: list[dict[str, Any] | None] = []
    good: list[Signed] = []
    for raw in raws:
        try:
            signed_one = gateway.signed(raw)
            await gateway.require(signed_one)
            good.append(signed_one)
            results.append(None)
        except Problem as problem:
            results.append(_failed(gateway.id_of(raw), "refused", problem))
    submitted = iter(await Batch(gateway.pool, good, until_final=until_final).wait(timeout_s))
    signed = iter(good)
    retry_after_ms = 0
    for position, result in enumerate(results):
        if result is not None:
            continue
        statement, outcome = next(signed), next(submitted)
        gateway.metrics.count_answer(outcome.answer)
        results[position] = _result(statement, outcome)
        if isinstance(outcome.answer, Unavailable):
            retry_after_ms = max(retry_after_ms, outcome.answer.retry_after_ms)
    headers = {**NO_STORE, "Retry-After": str(retry_after_s(retry_after_ms))} if retry_after_ms else NO_STORE
    return json_response({"results": results}, 200, headers)


def _result(signed: Signed, submitted: Submitted) -> dict[str, Any]:
    answer = submitted.answer
    if isinstance(answer, Accepted):
        unlisted = {"unlisted": [str(each) for each in signed.unlisted]} if signed.unlisted else {}
        return {
            "id": signed.id.hex(),
            "state": "final" if submitted.final else "committed",
            "index": answer.index,
            "height": answer.height,
            "block_time_ms": answer.block_time_ms,
            "duplicate": answer.duplicate,
            **unlisted,
        }
    problem = problem_of(answer)
    if problem is None:
        raise TypeError(f"an answer that is no problem: {answer}")
    state = "unavailable" if isinstance(answer, Unavailable) else "refused"
    return _failed(signed.id, "rejected" if isinstance(answer, Rejected) else state, problem)


def _failed(statement_id: bytes, state: str, problem: Problem) -> dict[str, Any]:
    return {"id": statement_id.hex(), "state": state, "problem": problem.document()}


StatementId = Annotated[
    str, Path(description="RFC 6962 leaf hash of the statement, 64 lower-case hex digits.", examples=[EXAMPLE_ID])
]


@router.get(
    "/v1/statements/{id}",
    operation_id="getStatement",
    summary="A statement on the log",
    description="For its issuer, for whoever may see what it is about, for customs and auditors. 404 to all others.",
    response_model=StatementRecord,
    responses={
        200: example(EXAMPLE_RECORD),
        **problems(
            "bad_request",
            "bad_identifier",
            *AUTHENTICATION,
            "not_found",
            "validators_unreachable",
            "read_not_confirmed",
        ),
    },
)
async def get_statement(
    id: StatementId, gateway: GatewayDep, caller: CallerDep, consistency: Consistency = "local"
) -> Response:
    fresh = consistency == LINEARIZABLE
    info = await gateway.visible_statement(caller, statement_id_of(id), linearizable=fresh)
    statement = parse_statement(info.statement)
    document = {
        "id": id,
        "state": "final" if info.final else "committed",
        "index": info.index,
        "height": info.height,
        "block_time_ms": info.block_time_ms,
        "cosigned_at_s": dict(sorted(info.cosigned_at_s.items())),
        "kind": statement.kind,
        "iss": statement.iss,
        "sub": statement.sub,
        "iat_s": statement.iat_s,
        "statement": base64.b64encode(statement.raw).decode(),
    }
    return json_response(document, 200, NO_STORE)


@router.get(
    "/v1/statements/{id}/proof",
    operation_id="getProof",
    summary="The proof that a statement is final",
    description=(
        "C2SP tlog-proof: verifies offline against the policy file of either authority. A proof once given verifies "
        "for ever. Another validator may give a different one, which verifies as well. With `further=true`, under a "
        "checkpoint that the further cosigners have cosigned too, if there is one that covers the statement."
    ),
    response_class=PlainTextResponse,
    responses={
        200: example("c2sp.org/tlog-proof@v1\nindex 4711\n…\n\ncomity.example/…\n4712\n…", media_type="text/plain"),
        **problems(
            "bad_identifier",
            *AUTHENTICATION,
            "not_found",
            "not_final",
            "not_further_cosigned",
            "validators_unreachable",
        ),
    },
)
async def get_proof(
    id: StatementId,
    gateway: GatewayDep,
    caller: CallerDep,
    further: Annotated[bool, Query(description="With further cosignatures")] = False,
) -> Response:
    reply = await gateway.visible_proof(caller, statement_id_of(id), further=further)
    return Response(reply.proof, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "private"})

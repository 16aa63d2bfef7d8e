"""What every operation needs: its gateway, its caller, its body within limits, its problems described."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.responses import Response

from api.access import Principal
from api.core import Gateway
from api.models import ProblemDocument
from api.problems import CONTENT_TYPE, PROBLEMS, Problem, type_of

PROBLEM_SCHEMA = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
BODY_TIMEOUT_S = 10.0
NO_STORE = {"Cache-Control": "no-store"}


async def gateway_of(request: Request) -> Gateway:
    """Async, though it waits for nothing: the framework sends each call of anything else through a thread."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(gateway_of)]


async def caller_of(request: Request) -> Principal:
    """The participant that the bearer token proves."""
    gateway: Gateway = request.app.state.gateway
    return await gateway.access.authenticate(request.headers.get("authorization"))


CallerDep = Annotated[Principal, Depends(caller_of)]


LINEARIZABLE = "linearizable"
Consistency = Annotated[
    Literal["local", "linearizable"],
    Query(
        description=(
            "`local`: as of the last block that the answering validator executed. `linearizable`: the answer has "
            "everything that was committed anywhere before the request; costs a round to a majority, and is 503 "
            "`read_not_confirmed` without one."
        )
    ),
]


def json_response(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Compact JSON, written without a detour through a model."""
    content = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(content, status, headers, media_type="application/json")


def problem_response(problem: Problem, instance: str | None = None) -> Response:
    """RFC 9457."""
    content = json.dumps(problem.document(instance), separators=(",", ":"), ensure_ascii=False).encode()
    return Response(content, problem.row.status, {**NO_STORE, **problem.headers()}, media_type=CONTENT_TYPE)


def too_large(limit_bytes: int, got_bytes: int | str) -> Problem:
    return Problem("too_large", f"body is too large: expected at most {limit_bytes} bytes, got {got_bytes}")


async def body_within(request: Request, limit_bytes: int, timeout_s: float | None = None) -> bytes:
    """The body, refused as soon as it is known to be too large."""
    timeout_s = BODY_TIMEOUT_S if timeout_s is None else timeout_s
    declared = request.headers.get("content-length")
    if declared is not None and declared.isascii() and declared.isdigit() and int(declared[:20]) > limit_bytes:
        raise too_large(limit_bytes, declared[:20])
    chunks = []
    size_bytes = 0
    try:
        # Whoever sends slower than this holds a place that others need.
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                size_bytes += len(chunk)
                if size_bytes > limit_bytes:
                    raise too_large(limit_bytes, "more")
                chunks.append(chunk)
    except TimeoutError as error:
        raise Problem("body_too_slow", f"the body was not here within {timeout_s:.0f} s") from error
    return b"".join(chunks)


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of the problems that an operation may answer with, an example of each."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        row = PROBLEMS[code]
        response = by_status.setdefault(
            row.status, {"description": "", "content": {CONTENT_TYPE: {"schema": PROBLEM_SCHEMA, "examples": {}}}}
        )
        response["description"] = "; ".join(filter(None, [response["description"], f"`{type_of(code)}` {row.title}"]))
        example = Problem(code, row.description or row.title)
        if row.status in (429, 503):
            example.retry_after_ms = 1_000
            response["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
        if code == "authority_unreachable":
            example.missing_authorities = ("cn-gacc",)
        if code == "rejected":
            example.outcome_code, example.outcome = 307, "declaration_not_released"
        response["content"][CONTENT_TYPE]["examples"][code] = {"value": example.document()}
    return by_status


def example(value: Any, description: str = "OK", media_type: str = "application/json") -> dict[str, Any]:
    """The OpenAPI description of a good answer."""
    return {"description": description, "content": {media_type: {"example": value}}}


AUTHENTICATION = (
    "token_missing",
    "token_malformed",
    "token_expired",
    "token_too_long",
    "token_wrong_audience",
    "token_untrusted",
)

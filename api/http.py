"""The FastAPI application of a gateway: routes, problem documents, and what is measured of each request.

Every answer that is not as asked for is an RFC 9457 document, those of the framework's own making included.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from api.core import Gateway
from api.frequent import App, Frequent, Message, Receive, Scope, Send
from api.models import ProblemDocument
from api.problems import Problem
from api.routes import (
    attachments,
    certificates,
    contracts,
    events,
    evidence,
    formats,
    governance,
    log,
    lookup,
    membership,
    proofs,
    records,
    reference,
    statements,
    statistics,
    status,
    verify,
)
from api.routes.common import problem_response

API_VERSION = "1"
REQUESTS_MAX = 1_024

logger = structlog.get_logger("api.http")

DESCRIPTION = """\
One authority's front to the ledger that two customs authorities share.

*Committed* is what both authorities have on disk; *final* is what both have executed and cosigned. Statements are
signed by their issuer and need no token. Reading needs `Authorization: Bearer` with a JWT that the participant signs
with its enrolled key: header `kid` (the thumbprint, hex), claims `iss` (participant id), `aud` (the log's origin),
`iat`, `exp` (at most five minutes later). Without one: 401. What is not yours to see answers 404, as if it were not
there.
"""


class Measured:
    """Times requests up to the start of their answer, by operation: never by path, which callers choose.

    Takes no more than `REQUESTS_MAX` at a time: the next one is told to come again, at little cost.
    """

    def __init__(self, app: App, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()

        async def measured_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                operation = getattr(scope.get("route"), "operation_id", None) or "none"
                seconds = time.perf_counter() - started_s
                self._gateway.metrics.observe_request(operation, message["status"], seconds)
                logger.debug("request", operation=operation, status=message["status"], ms=round(seconds * 1000, 2))
            await send(message)

        # Who watches over the gateway is answered whatever it is busy with.
        if self._open >= REQUESTS_MAX and scope["path"] not in ("/healthz", "/readyz"):
            problem = Problem("overloaded", f"{REQUESTS_MAX} requests are open", retry_after_ms=1_000)
            await problem_response(problem, scope["path"])(scope, receive, measured_send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, measured_send)
        finally:
            self._open -= 1


def create_app(gateway: Gateway) -> FastAPI:
    """The application; whoever calls this starts and closes the gateway."""
    app = FastAPI(
        title="Comity gateway",
        version=API_VERSION,
        description=DESCRIPTION,
        # FastAPI's pages load scripts from a public CDN: the description is there, and rendered elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.gateway = gateway
    app.add_middleware(Frequent, gateway=gateway)
    app.add_middleware(Measured, gateway=gateway)  # the last is the outermost
    for module in (
        statements,
        attachments,
        certificates,
        proofs,
        formats,  # before the records: a UCR may have slashes, and then anything follows it
        records,
        lookup,
        statistics,
        reference,
        contracts,
        governance,
        log,
        membership,
        events,
        evidence,
        status,
        verify,
    ):
        app.include_router(module.router)

    @app.exception_handler(Problem)
    async def on_problem(request: Request, problem: Problem) -> Response:
        return problem_response(problem, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem_response(Problem("bad_request", f"{where}: {first['msg']}".lower()), request.url.path)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(error.status_code, "bad_request")
        response = problem_response(Problem(code), request.url.path)
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    @app.exception_handler(Exception)
    async def on_failure(request: Request, error: Exception) -> Response:
        logger.error("request_failed", path=request.url.path, exc_info=error)
        return problem_response(Problem("internal"), request.url.path)

    _describe_security(app)
    return app


def create_metrics_app(gateway: Gateway) -> Starlette:
    """What Prometheus scrapes, and nothing else: for a listener of its own."""

    async def metrics(request: Request) -> Response:
        return Response(gateway.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Starlette(routes=[Route("/metrics", metrics)])


def _describe_security(app: FastAPI) -> None:
    """Adds the bearer scheme to the description, on the operations that answer 401."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = build()
            schema["components"]["securitySchemes"] = {
                "participant": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            }
            for path in schema["paths"].values():
                for operation in path.values():
                    # FastAPI describes its own validation errors; here they are problem documents like all others.
                    operation["responses"].pop("422", None) if _is_framework_422(operation) else None
                    if "401" in operation["responses"]:
                        operation["security"] = [{"participant": []}]
            schemas = schema["components"]["schemas"]
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            schemas[ProblemDocument.__name__] = ProblemDocument.model_json_schema()
            schemas |= contracts.components()
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _is_framework_422(operation: dict[str, Any]) -> bool:
    content = operation["responses"].get("422", {}).get("content", {})
    return "HTTPValidationError" in str(content.get("application/json", {}))

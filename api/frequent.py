"""The few requests that come by the thousand, answered past the framework: proofs, tiles, the checkpoint.

Finding the route among eighty and working out what its function wants takes the framework three quarters of such a
request. Here the path decides at once, and the same function that the framework would call is called.

Promises: an answer is, header by header, the one that the framework's way gives; a test holds the two against each
other. Only what is plainly such a request comes this way: GET, no query, and a path that this module knows. All else,
and whatever is unusual about these, goes on to the framework, which decides.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from api.core import Gateway
from api.problems import Problem
from api.routes.common import caller_of, problem_response
from api.routes.log import get_log_checkpoint, get_tile
from api.routes.statements import get_proof

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = Callable[[Request, Gateway, str], Awaitable[Response]]

CHECKPOINT = "/log/checkpoint"
TILES = "/log/tile/"

_match_proof = re.compile(r"/v1/statements/([0-9a-f]{64})/proof", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Operation:
    """What is measured of a request, as the framework's routes have it."""

    operation_id: str
    answer: Answer


async def _checkpoint(request: Request, gateway: Gateway, _: str) -> Response:
    return await get_log_checkpoint(request, gateway)


async def _proof(request: Request, gateway: Gateway, statement_id: str) -> Response:
    return await get_proof(statement_id, gateway, await caller_of(request))


_CHECKPOINT = Operation("getLogCheckpoint", _checkpoint)
_TILE = Operation("getTile", get_tile)
_PROOF = Operation("getProof", _proof)


def operation_of(scope: Scope) -> tuple[Operation, str] | None:
    """Which of them a request is, and about what; None: the framework may know."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"] or scope.get("root_path"):
        return None
    path: str = scope["path"]
    if path.startswith(TILES):
        return _TILE, path.removeprefix(TILES)
    if path == CHECKPOINT:
        return _CHECKPOINT, ""
    proof = _match_proof(path)
    return None if proof is None else (_PROOF, proof[1])


class Frequent:
    """In front of the framework's router, behind what measures."""

    def __init__(self, app: App, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = operation_of(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        operation, about = found
        scope["route"] = operation
        request = Request(scope, receive)
        try:
            response = await operation.answer(request, self._gateway, about)
        except Problem as problem:
            response = problem_response(problem, request.url.path)
        await response(scope, receive, send)

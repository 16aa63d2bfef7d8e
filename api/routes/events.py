"""The log as it grows: server-sent events whose ids are entry indexes, so that a listener resumes where it was."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from api.access import Principal
from api.core import Event, Gateway
from api.examples import EXAMPLE_EVENT, EXAMPLE_UCR
from api.problems import Problem
from api.routes.common import AUTHENTICATION, CallerDep, GatewayDep, problems

POSITION_MAX = 2**63 - 1
RECONNECT_MS = 1_000
_EXAMPLE = f"id: 4711\nevent: statement\ndata: {json.dumps(EXAMPLE_EVENT)}\n\n: final up to 4713\nid: 4713\n\n"

router = APIRouter(tags=["events"])


def encode_event(event: Event) -> bytes:
    """One event as the WHATWG format has it; without a statement, only the place to resume from moves on."""
    statement = event.statement
    if statement is None:
        # An id without data moves the listener's last event id and dispatches nothing.
        return b": alive\n\n" if event.index < 0 else f": final up to {event.index}\nid: {event.index}\n\n".encode()
    data = {
        "index": event.index,
        "id": statement.id_hex,
        "height": event.height,
        "block_time_ms": event.block_time_ms,
        "kind": statement.kind,
        "iss": statement.iss,
        "sub": statement.sub,
        "iat_s": statement.iat_s,
        "statement": base64.b64encode(statement.raw).decode(),
    }
    return f"id: {event.index}\nevent: statement\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def first_of(from_index: int | None, last_event_id: str | None) -> int:
    """Where to begin: after the last event seen, which a reconnecting listener says, else where it was told."""
    if last_event_id is not None and last_event_id != "":
        if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 19):
            raise Problem("bad_event_position", "Last-Event-ID must be the index of an entry")
        return min(int(last_event_id), POSITION_MAX) + 1
    return from_index if from_index is not None else 0


async def _stream(gateway: Gateway, caller: Principal, first: int, subject: str) -> AsyncIterator[bytes]:
    with gateway.listening():
        try:
            yield f"retry: {RECONNECT_MS}\n: from {first}\n\n".encode()
            async for event in gateway.events(caller, first, subject):
                yield encode_event(event)
        except Problem as problem:
            # The answer has begun: say it in the stream and end it; the listener resumes from its last event.
            yield f"event: problem\ndata: {json.dumps(problem.document())}\n\n".encode()


@router.get(
    "/v1/events",
    operation_id="getEvents",
    summary="Final statements as they come",
    description=(
        "Server-sent events `statement`, in the order of the log, without gap or repetition. `id` is the entry index; "
        "`Last-Event-ID` resumes after it and counts more than `from`. Filtered to what the caller may see. Comments "
        "keep the connection alive; an id without data says how far the stream has come."
    ),
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A stream that does not end",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **problems("bad_request", "bad_event_position", *AUTHENTICATION, "too_many_streams"),
    },
)
async def get_events(
    gateway: GatewayDep,
    caller: CallerDep,
    from_index: Annotated[
        int | None, Query(alias="from", ge=0, le=POSITION_MAX, description="The first entry index of interest.")
    ] = None,
    subject: Annotated[
        str, Query(max_length=128, description="Only statements about this.", examples=[EXAMPLE_UCR])
    ] = "",
    last_event_id: Annotated[str | None, Header(description="The id of the last event seen.")] = None,
) -> StreamingResponse:
    first = first_of(from_index, last_event_id)
    gateway.admit_stream()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(gateway, caller, first, subject), media_type="text/event-stream", headers=headers)

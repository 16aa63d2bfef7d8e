"""The log as C2SP tlog-tiles describes it: checkpoint and hash tiles for everyone, entries for those who see all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import PlainTextResponse, Response

from api.core import Gateway
from api.models import EXAMPLE_CHECKPOINT, CheckpointDocument
from api.problems import Problem
from api.routes.common import AUTHENTICATION, NO_STORE, GatewayDep, example, json_response, problems
from ledger.checkpoint import parse_checkpoint
from ledger.errors import Malformed
from ledger.merkle import TILE_WIDTH
from ledger.note import parse_note
from ledger.tiles import ENTRIES, parse_tile_path, tile_width

IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
IMMUTABLE_PRIVATE = {"Cache-Control": "private, max-age=31536000, immutable"}

router = APIRouter(tags=["log"])


def _checkpoint(gateway: Gateway) -> bytes:
    note = gateway.pool.finality.checkpoint
    if not note:
        raise Problem("not_found", "no checkpoint has been cosigned by both authorities yet")
    return note


@router.get(
    "/v1/checkpoint",
    operation_id="getCheckpoint",
    summary="The newest final checkpoint",
    response_model=CheckpointDocument,
    responses={200: example(EXAMPLE_CHECKPOINT), **problems("not_found")},
)
async def get_checkpoint(gateway: GatewayDep) -> Response:
    note = _checkpoint(gateway)
    checkpoint = parse_checkpoint(parse_note(note).text)
    document = {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "note": note.decode(),
    }
    return json_response(document, 200, NO_STORE)


@router.get(
    "/log/checkpoint",
    operation_id="getLogCheckpoint",
    summary="The newest final checkpoint as a signed note",
    response_class=PlainTextResponse,
    responses={200: example(EXAMPLE_CHECKPOINT["note"], media_type="text/plain"), **problems("not_found")},
)
async def get_log_checkpoint(gateway: GatewayDep) -> Response:
    return Response(_checkpoint(gateway), media_type="text/plain; charset=utf-8", headers=NO_STORE)


@router.get(
    "/log/tile/{path:path}",
    operation_id="getTile",
    summary="A tile of hashes, or a bundle of entries",
    description=(
        "Tiles of hashes are open. Bundles (`/log/tile/entries/…`) need a token of customs or an auditor. Nothing "
        "beyond the newest final checkpoint is served. Full tiles never change."
    ),
    response_class=Response,
    responses={
        200: {
            "description": "The tile",
            "content": {
                "application/octet-stream": {
                    "schema": {"type": "string", "format": "binary"},
                    "example": "(up to 256 hashes of 32 bytes)",
                }
            },
        },
        **problems("bad_tile_path", *AUTHENTICATION, "not_found", "validators_unreachable"),
    },
)
async def get_tile(
    request: Request,
    gateway: GatewayDep,
    path: Annotated[str, Path(description="`<level>/<index>[.p/<width>]`", examples=["0/000.p/17"])],
) -> Response:
    full_path = f"tile/{path}"
    try:
        level, index, width = parse_tile_path(full_path)
    except Malformed as error:
        raise Problem("bad_tile_path", str(error.args[0])) from error
    if level == ENTRIES:
        caller = await gateway.access.authenticate(request.headers.get("authorization"))
        if not caller.sees_all:
            raise Problem("not_found")
    if width > tile_width(level, index, gateway.pool.finality.size):
        raise Problem("not_found", "beyond the newest final checkpoint")
    data = await gateway.pool.tile(full_path)
    if data is None:
        raise Problem("not_found")
    headers = IMMUTABLE_PRIVATE if level == ENTRIES else IMMUTABLE
    if width != TILE_WIDTH:
        # True for ever as well, but soon replaced by the full one.
        headers = {"Cache-Control": "private, max-age=60" if level == ENTRIES else "public, max-age=60"}
    return Response(data, media_type="application/octet-stream", headers=headers)

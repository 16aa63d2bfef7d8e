"""The log as C2SP tlog-tiles describes it: checkpoint and hash tiles for everyone, entries for those who see all.

`/log` is one URL prefix of the log; `/log/further` is another, of the same tiles, whose checkpoint is the newest that
the further cosigners have cosigned as well. What never changes has an entity tag made of its address, so that nobody
has to be asked whether it is still the same; entries are compressed for whoever takes gzip.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import PlainTextResponse, Response

from api.core import Gateway
from api.examples import EXAMPLE_CHECKPOINT, EXAMPLE_FURTHER
from api.models import CheckpointDocument, FurtherDocument
from api.problems import Problem
from api.routes.common import AUTHENTICATION, NO_STORE, GatewayDep, example, json_response, problems
from ledger.checkpoint import parse_checkpoint
from ledger.errors import Malformed
from ledger.merkle import TILE_WIDTH
from ledger.note import parse_note
from ledger.tiles import ENTRIES, parse_tile_path, tile_width

# A checkpoint may be kept, and asked about each time: it changes with the next block.
REVALIDATE = {"Cache-Control": "no-cache"}
FOR_EVER = "max-age=31536000, immutable"
# True for ever as well, but soon replaced by the full one.
A_MINUTE = "max-age=60"
GZIP_LEVEL = 5
# Smaller ones are done before a thread has begun.
GZIP_THREAD_BYTES = 16 * 1024
MAX_ENTITY_TAGS_CHARS = 4096

router = APIRouter(tags=["log"])


def _checkpoint(gateway: Gateway) -> bytes:
    note = gateway.pool.finality.checkpoint
    if not note:
        raise Problem("not_found", "no checkpoint has been cosigned by both authorities yet")
    return note


def takes_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header (RFC 9110 section 12.5.3) takes gzip."""
    weights = {}
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        weights[name.strip()] = weight.replace(" ", "")
    asked = weights.get("gzip", weights.get("x-gzip", weights.get("*", "q=0")))
    return asked not in ("q=0", "q=0.0", "q=0.00", "q=0.000")


def is_known(request: Request, tag: str) -> bool:
    """Whether who asks has this very thing (If-None-Match, RFC 9110 section 13.1.2)."""
    header = request.headers.get("if-none-match", "")[:MAX_ENTITY_TAGS_CHARS]
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in header.split(","))


def tagged(request: Request, content: bytes, media_type: str, tag: str, headers: Mapping[str, str]) -> Response:
    """The content, its headers alone for HEAD, or 304 for who has it already."""
    everything = {**headers, "ETag": tag}
    if is_known(request, tag):
        return Response(status_code=304, headers=everything)
    if request.method == "HEAD":
        return Response(headers={**everything, "Content-Length": str(len(content))}, media_type=media_type)
    return Response(content, media_type=media_type, headers=everything)


def _note_response(request: Request, note: bytes) -> Response:
    tag = f'"{hashlib.sha256(note).hexdigest()[:32]}"'
    return tagged(request, note, "text/plain; charset=utf-8", tag, REVALIDATE)


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


@router.head("/log/checkpoint", include_in_schema=False)
@router.get(
    "/log/checkpoint",
    operation_id="getLogCheckpoint",
    summary="The newest final checkpoint as a signed note",
    response_class=PlainTextResponse,
    responses={200: example(EXAMPLE_CHECKPOINT["note"], media_type="text/plain"), **problems("not_found")},
)
async def get_log_checkpoint(request: Request, gateway: GatewayDep) -> Response:
    return _note_response(request, _checkpoint(gateway))


@router.get(
    "/v1/further",
    operation_id="getFurther",
    summary="The further cosigners, and the newest checkpoint that they have cosigned",
    description=(
        "Further cosignatures make nothing final: ML-DSA-44 keys of validators, and witnesses of third parties. The "
        "note satisfies the policy that this authority's validators have for them."
    ),
    response_model=FurtherDocument,
    responses={200: example(EXAMPLE_FURTHER), **problems("not_found", "validators_unreachable")},
)
async def get_further(gateway: GatewayDep) -> Response:
    reply = await gateway.pool.further()
    if not reply.asked:
        raise Problem("not_found", "this authority's validators collect no further cosignatures")
    cosigners = [
        {"name": each.name, "size": each.size, "time_s": each.time_s, "trouble": each.trouble}
        for each in reply.cosigners
    ]
    note = reply.checkpoint.decode() if reply.checkpoint else None
    return json_response({"size": reply.size, "note": note, "cosigners": cosigners}, 200, NO_STORE)


@router.head("/log/further/checkpoint", include_in_schema=False)
@router.get(
    "/log/further/checkpoint",
    operation_id="getFurtherCheckpoint",
    summary="The newest checkpoint that the further cosigners have cosigned, as a signed note",
    description="With `/log/further` as its prefix the log is the same; its checkpoint is a little older.",
    response_class=PlainTextResponse,
    responses={
        200: example(EXAMPLE_CHECKPOINT["note"], media_type="text/plain"),
        **problems("not_found", "validators_unreachable"),
    },
)
async def get_further_checkpoint(request: Request, gateway: GatewayDep) -> Response:
    note = (await gateway.pool.further()).checkpoint
    if not note:
        raise Problem("not_found", "no checkpoint satisfies the policy of further cosignatures yet")
    return _note_response(request, note)


_TILE = {
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
}
TilePath = Annotated[str, Path(description="`<level>/<index>[.p/<width>]`", examples=["0/000.p/17"])]


@router.head("/log/tile/{path:path}", include_in_schema=False)
@router.head("/log/further/tile/{path:path}", include_in_schema=False)
@router.get("/log/further/tile/{path:path}", include_in_schema=False)
@router.get(
    "/log/tile/{path:path}",
    operation_id="getTile",
    summary="A tile of hashes, or a bundle of entries",
    description=(
        "Tiles of hashes are open. Bundles (`/log/tile/entries/…`) need a token of customs or an auditor, and are "
        "compressed where gzip is taken. Nothing beyond the newest final checkpoint is served. Full tiles never change."
    ),
    response_class=Response,
    responses=_TILE,
)
async def get_tile(request: Request, gateway: GatewayDep, path: TilePath) -> Response:
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
    lasting = FOR_EVER if width == TILE_WIDTH else A_MINUTE
    headers = {"Cache-Control": f"{'private' if level == ENTRIES else 'public'}, {lasting}"}
    compressed = level == ENTRIES and takes_gzip(request.headers.get("accept-encoding", ""))
    if level == ENTRIES:
        headers["Vary"] = "Accept-Encoding, Authorization"
    # What stands at a path of a width is the same for ever.
    tag = f'"{path}{"+gzip" if compressed else ""}"'
    if is_known(request, tag):
        return Response(status_code=304, headers={**headers, "ETag": tag})
    data = await gateway.tile(full_path, level, index, width)
    if data is None:
        raise Problem("not_found")
    if compressed:
        headers["Content-Encoding"] = "gzip"
        data = await asyncio.to_thread(_gzip, data) if len(data) > GZIP_THREAD_BYTES else _gzip(data)
    return tagged(request, data, "application/octet-stream", tag, headers)


def _gzip(data: bytes) -> bytes:
    """The same bytes every time: no time of day in the header."""
    return gzip.compress(data, GZIP_LEVEL, mtime=0)

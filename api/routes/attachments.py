"""What statements refer to by hash: telemetry batches and envelopes; and the keys that envelopes are sealed to."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from api.attachment_kinds import ENVELOPE, KIND_OF_MEDIA_TYPE, TELEMETRY, kind_of
from api.examples import EXAMPLE_ID
from api.models import AttachmentResult, DeletedAttachment, EnvelopeKeysDocument
from api.problems import Problem
from api.routes.common import (
    AUTHENTICATION,
    NO_STORE,
    CallerDep,
    GatewayDep,
    body_within,
    example,
    json_response,
    problems,
)
from api.routes.statements import statement_id_of
from contracts.envelope_keys import envelope_keys_view
from ledger.errors import Misuse

# Two megabytes over a poor radio link.
UPLOAD_TIMEOUT_S = 120.0

router = APIRouter(tags=["attachments"])

_HEX_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BINARY = {"schema": {"type": "string", "format": "binary"}, "example": "8201828401… (binary)"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A telemetry batch or an envelope, in its one spelling.",
        "content": dict.fromkeys(KIND_OF_MEDIA_TYPE, _BINARY),
    }
}
_KEYS_EXAMPLE = {
    "authorities": [
        {
            "authority": "kz-kgd",
            "keys": [
                {
                    "kid": EXAMPLE_ID,
                    "public": EXAMPLE_ID,
                    "since_ms": 1_795_312_800_000,
                    "until_ms": 1_826_848_800_000,
                    "by": "kz-kgd/registrar",
                    "statement": EXAMPLE_ID,
                }
            ],
        }
    ]
}

Sha256 = Annotated[str, Path(description="SHA-256 of the bytes, 64 lower-case hex digits.", examples=[EXAMPLE_ID])]


def _hash(text: str) -> bytes:
    if not _HEX_HASH.fullmatch(text):
        raise Problem("bad_identifier", "hash of an attachment must be 64 lower-case hex digits")
    return bytes.fromhex(text)


@router.put(
    "/v1/attachments/{sha256}",
    operation_id="putAttachment",
    summary="Leave what a statement refers to by hash",
    description=(
        "A telemetry batch, from the device that signs it or a terminal of its; an envelope, from the declarant. It is "
        "on this gateway's disk when this answers. Sending it again changes nothing. An envelope comes before the "
        "statement that refers to it, telemetry before or after. It is kept for a time, and up to a quota for each "
        "participant."
    ),
    response_model=AttachmentResult,
    openapi_extra=_BODY,
    responses={
        200: example({"sha256": EXAMPLE_ID, "kind": "telemetry", "size_bytes": 2300, "new": False}, "Here already."),
        201: {
            "model": AttachmentResult,
            **example({"sha256": EXAMPLE_ID, "kind": "telemetry", "size_bytes": 2300, "new": True}, "Kept."),
        },
        **problems(
            "bad_identifier",
            "bad_attachment",
            "empty_body",
            *AUTHENTICATION,
            "not_yours_to_send",
            "attachments_not_kept",
            "too_large",
            "body_too_slow",
            "unsupported_media_type",
            "attachment_differs",
            "envelope_not_sealed_to_all",
            "attachments_full",
            "overloaded",
            "validators_unreachable",
        ),
    },
)
async def put_attachment(request: Request, sha256: Sha256, gateway: GatewayDep, caller: CallerDep) -> Response:
    digest = _hash(sha256)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        kind = kind_of(media_type)
    except Misuse as error:
        raise Problem("unsupported_media_type", str(error)) from error
    gateway.attaching.admit(caller, kind)
    with gateway.attaching.uploading(caller):
        data = await body_within(request, kind.max_bytes, UPLOAD_TIMEOUT_S)
        if not data:
            raise Problem("empty_body")
        new = await gateway.attaching.put(caller, digest, kind, data)
    document = {"sha256": sha256, "kind": kind.name, "size_bytes": len(data), "new": new}
    return json_response(document, 201 if new else 200, NO_STORE)


@router.get(
    "/v1/attachments/{sha256}",
    operation_id="getAttachment",
    summary="What a statement refers to by hash",
    description=(
        "For whoever sent it and for customs and auditors; telemetry also for whoever may see `statement`, where that "
        "refers to it. 404 to all others, and for what this gateway does not have, or has no more."
    ),
    response_class=Response,
    responses={
        200: {"description": "OK", "content": {TELEMETRY.media_type: _BINARY, ENVELOPE.media_type: _BINARY}},
        **problems("bad_identifier", *AUTHENTICATION, "not_found", "attachments_not_kept", "validators_unreachable"),
    },
)
async def get_attachment(
    sha256: Sha256,
    gateway: GatewayDep,
    caller: CallerDep,
    statement: Annotated[str | None, Query(description="Id of a statement that refers to it.")] = None,
) -> Response:
    digest = _hash(sha256)
    entry, data = await gateway.attaching.get(caller, digest, None if statement is None else statement_id_of(statement))
    return Response(data, media_type=entry.kind.media_type, headers={"Cache-Control": "private"})


@router.head("/v1/attachments/{sha256}", operation_id="headAttachment", include_in_schema=False)
async def head_attachment(
    sha256: Sha256, gateway: GatewayDep, caller: CallerDep, statement: Annotated[str | None, Query()] = None
) -> Response:
    """As GET, without the bytes and without looking at them."""
    named = None if statement is None else statement_id_of(statement)
    entry = await gateway.attaching.entry(caller, _hash(sha256), named)
    headers = {"Content-Type": entry.kind.media_type, "Content-Length": str(entry.size_bytes)}
    return Response(headers={**headers, "Cache-Control": "private"})


@router.delete(
    "/v1/attachments/{sha256}",
    operation_id="deleteAttachment",
    summary="Do away with an attachment",
    description=(
        "For a registrar or an officer of this gateway's authority. What is on the ledger stays as it is, and so does "
        "every proof: only what the hash stands for cannot be had here any more."
    ),
    response_model=DeletedAttachment,
    responses={
        200: example({"sha256": EXAMPLE_ID, "deleted": True}),
        **problems("bad_identifier", *AUTHENTICATION, "not_found", "attachments_not_kept"),
    },
)
async def delete_attachment(sha256: Sha256, gateway: GatewayDep, caller: CallerDep) -> Response:
    await gateway.attaching.delete(caller, _hash(sha256))
    return json_response({"sha256": sha256, "deleted": True}, 200, NO_STORE)


@router.get(
    "/v1/envelope-keys",
    operation_id="getEnvelopeKeys",
    summary="The keys that envelopes are sealed to",
    description=(
        "Of each authority, the current one last. Each names the statement that published it, whose proof anybody "
        "enrolled may fetch: a key is not to be taken on this gateway's word."
    ),
    response_model=EnvelopeKeysDocument,
    responses={200: example(_KEYS_EXAMPLE), **problems("validators_unreachable")},
)
async def get_envelope_keys(gateway: GatewayDep) -> Response:
    keys = await gateway.attaching.envelope_keys()
    return json_response({"authorities": [envelope_keys_view(keys[name]) for name in sorted(keys)]}, 200, NO_STORE)

"""The field's formats over HTTP: documents about one subject, from its final entries, and declarations to be signed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from api.access import Principal
from api.core import Gateway
from api.epcis import document as epcis
from api.examples import EXAMPLE_MRN, EXAMPLE_UCR
from api.feed import FeedPage
from api.history import MAX_HISTORY_ENTRIES, Authority, History, Recorded
from api.models import ImportReport
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
from api.wco import notifications as wco
from api.wco.importing import Given, Imported, import_declaration
from api.wco.reading import XmlRefused
from contracts.declaration_record import number_key
from contracts.identifiers import IdentifierError, parse_mrn, parse_ucr
from ledger.cbor import decode

# A large declaration has some thousands of elements; parsing holds a core for as long as it takes.
IMPORT_MAX_BYTES = 256 * 1024
FIRST_HEARD_S = 1.0
EPCIS = epcis.MEDIA_TYPE
JSON_LD = "application/ld+json"
JSON = "application/json"
XML = wco.MEDIA_TYPE

router = APIRouter(tags=["formats"])

_EXAMPLE_EVENTS = {"@context": [epcis.CONTEXT], "type": "EPCISDocument", "epcisBody": {"eventList": []}}
_EXAMPLE_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<md:MetaData xmlns:md="…">…</md:MetaData>\n'
EXAMPLE_REPORT: dict[str, Any] = {
    "ready": False,
    "kind": "declaration.lodge",
    "subject": EXAMPLE_UCR,
    "payload": {"home": "kz-kgd", "partner": "cn-gacc", "content": {"consignor": "Astyk Agro"}},
    "commercial": [],
    "escort": {},
    "problems": [
        {
            "field": "content.containers[0]",
            "path": "/MetaData/Declaration/GoodsShipment/Consignment/TransportEquipment/ID",
            "line": 41,
            "message": "container: character 11: expected check digit 3, got '4'",
        }
    ],
    "notes": [],
    "fates": {"field": 9, "nowhere": 12, "fault": 1},
    "elements": [
        {"path": "/MetaData/Declaration/FunctionCode", "line": 3, "value": "9", "fate": "check", "to": "lodges"}
    ],
}
# How the description shows a document of each format.
DESCRIBED: dict[str, dict[str, Any]] = {
    EPCIS: {"schema": {"type": "object"}, "example": _EXAMPLE_EVENTS},
    JSON_LD: {"schema": {"type": "object"}, "example": _EXAMPLE_EVENTS},
    XML: {"schema": {"type": "string"}, "example": _EXAMPLE_XML},
}
_PROBLEMS = problems("bad_request", "bad_identifier", *AUTHENTICATION, "not_found", "validators_unreachable")


def preferred(accept: str, offered: tuple[str, ...]) -> str:
    """Which of the offered media types the caller would rather have (RFC 9110 section 12.5.1); else the first."""
    best, best_quality = offered[0], 0.0
    for part in accept[:1024].split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                digits = parameter[2:]
                number = digits.isascii() and digits.replace(".", "", 1).isdigit() and len(digits) <= 5
                quality = float(digits) if number else 0.0
        if media_type in offered and quality > best_quality:
            best, best_quality = media_type, quality
    return best


async def history_of(gateway: Gateway, subject: str) -> History:
    """All final entries about a subject."""
    finality = gateway.pool.finality
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_HEARD_S):  # at its start a gateway has heard of nothing final yet
            await finality.beyond(0)
    status, size = gateway.pool.best_status(), finality.size
    if status is None or size == 0:
        raise Problem("validators_unreachable", "no validator has said how far the ledger is", retry_after_ms=1_000)
    entries: list[Recorded] = []
    position = 0
    while position < size:
        page: FeedPage = await gateway.feed.page(position, subject)
        if page.next <= position:
            raise Problem("validators_unreachable", "the validator that answers is behind", retry_after_ms=1_000)
        entries += [
            Recorded(entry.index, entry.block_time_ms, entry.statement)
            for entry in page.entries
            if entry.index < size and entry.statement.sub == subject
        ]
        if len(entries) > MAX_HISTORY_ENTRIES:
            raise Problem("too_many", f"expected at most {MAX_HISTORY_ENTRIES} entries about {subject}")
        position = page.next
    last = await gateway.pool.entries(size - 1, 1)
    time_ms = last.entries[0].block_time_ms if last.entries else 0
    authorities = tuple(sorted((Authority(each.name, each.country) for each in status.authorities), key=_name))
    return History(gateway.config.origin, size, time_ms, authorities, tuple(entries))


def _name(authority: Authority) -> str:
    return authority.name


def _document(content: bytes, media_type: str) -> Response:
    return Response(content, 200, {**NO_STORE, "Vary": "Accept"}, media_type=media_type)


async def movement_epcis(gateway: Gateway, mrn: str, media_type: str = EPCIS) -> Response:
    async with gateway.documents:
        history = await history_of(gateway, mrn)
        return _document(await asyncio.to_thread(epcis.movement_document, mrn, history), media_type)


async def declaration_wco(gateway: Gateway, ucr: str) -> Response:
    async with gateway.documents:
        history = await history_of(gateway, ucr)
        try:
            return _document(await asyncio.to_thread(wco.notifications_document, ucr, history), XML)
        except wco.NothingToNotify as error:
            raise Problem("no_decision_yet", str(error)) from error


def _identified(parse: Callable[[str], object], text: str) -> str:
    try:
        return str(parse(text))
    except IdentifierError as error:
        raise Problem("bad_identifier", str(error)) from error


@router.get(
    "/v1/movements/{mrn}/events",
    operation_id="getMovementEvents",
    summary="A movement as EPCIS 2.0 events",
    description=(
        "For whom the movement is. From its final entries alone: an archive of the same size gives the same bytes "
        "(`comity export --format epcis`). `GET /v1/movements/{mrn}` gives the same where `Accept` asks for it."
    ),
    response_class=Response,
    responses={200: {"description": "OK", "content": {EPCIS: DESCRIBED[EPCIS]}}, **_PROBLEMS},
)
async def get_movement_events(
    mrn: Annotated[str, Path(description="Movement reference number.", examples=[EXAMPLE_MRN])],
    gateway: GatewayDep,
    caller: CallerDep,
) -> Response:
    _identified(parse_mrn, mrn)
    if not await gateway.access.may_see_movement(caller, mrn):
        raise Problem("not_found")
    return await movement_epcis(gateway, mrn)


@router.get(
    "/v1/declarations/{ucr:path}/notifications",
    operation_id="getNotifications",
    summary="What the authorities decided of a declaration, as WCO responses",
    description=(
        "WCO Data Model 3.6 XML, one `Response` for each decision. For whom the declaration is. "
        "`GET /v1/declarations/{ucr}` gives the same where `Accept` asks for `application/xml`."
    ),
    response_class=Response,
    responses={
        200: {"description": "OK", "content": {XML: DESCRIBED[XML]}},
        **_PROBLEMS,
        **problems("not_found", "no_decision_yet"),
    },
)
async def get_notifications(
    ucr: Annotated[str, Path(description="Unique consignment reference.", examples=[EXAMPLE_UCR])],
    gateway: GatewayDep,
    caller: CallerDep,
) -> Response:
    _identified(parse_ucr, ucr)
    if not await gateway.access.may_see_declaration(caller, ucr):
        raise Problem("not_found")
    return await declaration_wco(gateway, ucr)


@router.post(
    "/v1/import",
    operation_id="importDeclaration",
    summary="A declaration in WCO Data Model XML as a payload to sign",
    description=(
        "Nothing is signed, kept or sent. The report says what became of every element; a document is `ready` if its "
        "payload is what the contract takes. A request that names a national number is about the declaration of that "
        "number, if the caller may see it."
    ),
    response_model=ImportReport,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "WCO Data Model 3.6 XML, DEC-DMS:2.",
            "content": {XML: {"schema": {"type": "string"}, "example": "<md:MetaData>…</md:MetaData>"}},
        }
    },
    responses={
        200: example(EXAMPLE_REPORT),
        **problems(
            "bad_request",
            "bad_document",
            "empty_body",
            *AUTHENTICATION,
            "too_large",
            "body_too_slow",
            "unsupported_media_type",
            "overloaded",
            "validators_unreachable",
        ),
    },
)
async def post_import(
    request: Request,
    gateway: GatewayDep,
    caller: CallerDep,
    home: Annotated[str, Query(max_length=64, description="Authority that receives it.", examples=["kz-kgd"])] = "",
    partner: Annotated[str, Query(max_length=64, description="Authority asked to recognise it.")] = "",
    carrier: Annotated[str, Query(max_length=64, description="Participant id of the carrier.")] = "",
    ucr: Annotated[str, Query(max_length=35, description="UCR, where the document has none or another.")] = "",
) -> Response:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (XML, "text/xml"):
        raise Problem("unsupported_media_type", f"expected {XML}, got {media_type[:80]!r}")
    # Parsing takes a core, which statements need: nobody sends more than a few at a time.
    with gateway.attaching.uploading(caller):
        raw = await body_within(request, IMPORT_MAX_BYTES)
        if not raw:
            raise Problem("empty_body")
        imported = await _import(gateway, raw, Given(home, partner, carrier, ucr))
        if imported.number and not imported.subject and not ucr:
            found = await _ucr_of_number(gateway, caller, imported.number)
            if found:
                imported = await _import(gateway, raw, Given(home, partner, carrier, found))
    return json_response(imported.as_dict(), 200, NO_STORE)


async def _import(gateway: Gateway, raw: bytes, given: Given) -> Imported:
    try:
        async with gateway.documents:
            return await asyncio.to_thread(import_declaration, raw, given)
    except XmlRefused as error:
        raise Problem("bad_document", f"{error.code}: {error}") from error


async def _ucr_of_number(gateway: Gateway, caller: Principal, number: str) -> str:
    """The declaration that a national number was given to, if the caller may see it."""
    status = gateway.pool.best_status()
    keys = [number_key(each.country, number) for each in (status.authorities if status is not None else ())]
    for raw in (await gateway.pool.records(keys)).values() if keys else ():
        row = decode(raw)
        ucr = row[0] if isinstance(row, list) and row else None
        if isinstance(ucr, str) and await gateway.access.may_see_declaration(caller, ucr):
            return ucr
    return ""

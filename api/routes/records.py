"""What the ledger's state says now of declarations, movements and participants."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.utils import random as random_bytes

from api.access import Principal
from api.core import Gateway
from api.examples import EXAMPLE_MRN, EXAMPLE_UCR
from api.models import MovementPage, ParticipantPage, RecordDocument
from api.problems import Problem
from api.routes.common import (
    AUTHENTICATION,
    LINEARIZABLE,
    NO_STORE,
    CallerDep,
    Consistency,
    GatewayDep,
    example,
    json_response,
    problems,
)
from api.routes.formats import DESCRIBED, EPCIS, JSON, JSON_LD, XML, declaration_wco, movement_epcis, preferred
from contracts.catalogue import read_record
from contracts.identifiers import IdentifierError, parse_mrn, parse_participant_id, parse_ucr
from contracts.movement import Movement

SCAN_PAGE_RECORDS = 200
SCAN_MAX_RECORDS = 2_000
CURSOR_CHECK_BYTES = 8
MOVEMENT_PREFIX = "escort/"
PARTICIPANT_PREFIX = "registry/"

router = APIRouter(tags=["records"])

_EXAMPLE_DECLARATION = {
    "key": f"declaration/{EXAMPLE_UCR}",
    "size": 4712,
    "record": {"ucr": EXAMPLE_UCR, "status": "released", "version": 1, "declarant": "kz/declarant/astyk"},
}
_EXAMPLE_MOVEMENT = {
    "key": f"escort/{EXAMPLE_MRN}",
    "size": 4712,
    "record": {"mrn": EXAMPLE_MRN, "state": "started", "truck": "kz/truck/t-001"},
}
_EXAMPLE_PARTICIPANT = {
    "key": "registry/kz/truck/t-001",
    "size": 4712,
    "record": {"id": "kz/truck/t-001", "authority": "kz-kgd", "roles": ["truck"]},
}
_PROBLEMS = problems(
    "bad_request", "bad_identifier", *AUTHENTICATION, "not_found", "validators_unreachable", "read_not_confirmed"
)


def _in_formats(value: Any, *media_types: str) -> dict[str, Any]:
    """A good answer, which `Accept` may ask for as one of the field's documents instead."""
    good = example(value)
    others = {media_type: DESCRIBED[media_type] for media_type in media_types}
    return {**good, "content": {**good["content"], **others}}


def _identifier(parse: Callable[[str], object], text: str) -> str:
    """Checks the form before anyone is asked."""
    try:
        parse(text)
    except IdentifierError as error:
        raise Problem("bad_identifier", str(error)) from error
    return text


async def _record(gateway: Gateway, key: str, consistency: str) -> tuple[bytes, int]:
    reply = await gateway.pool.records_reply([key], linearizable=consistency == LINEARIZABLE)
    if not reply.records:
        raise Problem("not_found")
    return reply.records[0].value, reply.size


@router.get(
    "/v1/declarations/{ucr:path}",
    operation_id="getDeclaration",
    summary="A declaration, and its recognition by the other authority",
    description=(
        "For its declarant, its carrier, customs and auditors. A UCR may contain `/`, encoded or not. With `Accept: "
        "application/xml`: what the authorities decided, as WCO responses."
    ),
    response_model=RecordDocument,
    responses={200: _in_formats(_EXAMPLE_DECLARATION, XML), **_PROBLEMS, **problems("not_found", "no_decision_yet")},
)
async def get_declaration(
    request: Request,
    ucr: Annotated[str, Path(description="Unique consignment reference.", examples=[EXAMPLE_UCR])],
    gateway: GatewayDep,
    caller: CallerDep,
    consistency: Consistency = "local",
) -> Response:
    _identifier(parse_ucr, ucr)
    if not await gateway.access.may_see_declaration(caller, ucr):
        raise Problem("not_found")
    if preferred(request.headers.get("accept", ""), (JSON, XML)) == XML:
        return await declaration_wco(gateway, ucr)
    key = f"declaration/{ucr}"
    raw, size = await _record(gateway, key, consistency)
    return json_response({"key": key, "size": size, "record": _view("declaration", raw)}, 200, NO_STORE)


@router.get(
    "/v1/movements/{mrn}",
    operation_id="getMovement",
    summary="An escorted movement: where it stands, who has custody",
    description=(
        "For its carrier, receiver, truck and terminals, the declarants of its goods, customs and auditors. With "
        "`Accept: application/vnd.gs1.epcis+json`: its events, as EPCIS 2.0."
    ),
    response_model=RecordDocument,
    responses={200: _in_formats(_EXAMPLE_MOVEMENT, EPCIS, JSON_LD), **_PROBLEMS},
)
async def get_movement(
    request: Request,
    mrn: Annotated[str, Path(description="Movement reference number.", examples=[EXAMPLE_MRN])],
    gateway: GatewayDep,
    caller: CallerDep,
    consistency: Consistency = "local",
) -> Response:
    _identifier(parse_mrn, mrn)
    if not await gateway.access.may_see_movement(caller, mrn):
        raise Problem("not_found")
    media_type = preferred(request.headers.get("accept", ""), (JSON, EPCIS, JSON_LD))
    if media_type != JSON:
        return await movement_epcis(gateway, mrn, media_type)
    key = f"{MOVEMENT_PREFIX}{mrn}"
    raw, size = await _record(gateway, key, consistency)
    return json_response({"key": key, "size": size, "record": _view("escort", raw)}, 200, NO_STORE)


@router.get(
    "/v1/movements",
    operation_id="listMovements",
    summary="Movements that the caller may see",
    description=(
        "In the order of their MRN. A page may hold fewer than `limit`, even none, while `next` says there is more. "
        "`limit` has a maximum: 200, unless this gateway is configured for another."
    ),
    response_model=MovementPage,
    responses={
        200: example({"movements": [_EXAMPLE_MOVEMENT["record"]], "next": "M6hTTl1L5hplc2NvcnQv"}),
        **problems("bad_request", "bad_cursor", *AUTHENTICATION, "validators_unreachable"),
    },
)
async def list_movements(
    gateway: GatewayDep,
    caller: CallerDep,
    state: Annotated[str, Query(max_length=32, description="Only in this state.", examples=["started"])] = "",
    carrier: Annotated[str, Query(max_length=64, description="Only of this carrier.")] = "",
    cursor: Annotated[str | None, Query(max_length=256, description="`next` of the page before.")] = None,
    limit: Annotated[int | None, Query(ge=1, description="How many at most; 50 if not said otherwise.")] = None,
) -> Response:
    limit = page_items(gateway, limit)
    filters = "\n".join((gateway.config.origin, caller.id, state, carrier))
    after = "" if cursor is None else decode_cursor(cursor, filters)
    movements: list[dict[str, Any]] = []
    scanned = 0
    more = True
    while more and len(movements) < limit and scanned < SCAN_MAX_RECORDS:
        page = await gateway.pool.list_records(MOVEMENT_PREFIX, after, SCAN_PAGE_RECORDS)
        more = page.more
        read = [read_record("escort", record.value) for record in page.records]
        visible = await _visible(gateway, caller, [movement for _, movement in read])
        for position, (record, movement) in enumerate(zip(page.records, visible, strict=True), 1):
            after = record.key
            scanned += 1
            if (
                movement is None
                or (state and movement.state != state)
                or (carrier and movement.plan.carrier != carrier)
            ):
                continue
            movements.append(read[position - 1][0].view(movement))
            if len(movements) == limit:
                more = more or position < len(page.records)
                break
        if not page.records:
            break
    following = encode_cursor(after, filters) if more else None
    return json_response({"movements": movements, "next": following}, 200, NO_STORE)


def page_items(gateway: Gateway, asked: int | None) -> int:
    """How many items a page holds at most, as asked for and within what this gateway gives out."""
    limits = gateway.config.limits
    if asked is None:
        return min(limits.page_items, limits.page_max_items)
    if asked > limits.page_max_items:
        raise Problem("bad_request", f"limit: expected at most {limits.page_max_items}, got {asked}")
    return asked


async def _visible(gateway: Gateway, caller: Principal, movements: list[Movement]) -> list[Movement | None]:
    """The same movements, None in the place of those that are not the caller's to see."""
    if caller.sees_all:
        return list(movements)
    viewers = await gateway.access.movements_viewers(movements)
    return [movement if who.include(caller) else None for movement, who in zip(movements, viewers, strict=True)]


@router.get(
    "/v1/participants",
    operation_id="listParticipants",
    summary="Participants, or only those whose clocks were found wrong",
    description=(
        "For customs and auditors; others get themselves. `flagged` of a participant counts its statements that were "
        "dated further from the time of their block than the governed `iat_skew_soft_s`: it was out of reach, or its "
        "clock is wrong."
    ),
    response_model=ParticipantPage,
    responses={
        200: example({"participants": [_EXAMPLE_PARTICIPANT["record"]], "next": "M6hTTl1L5hplc2NvcnQv"}),
        **problems("bad_request", "bad_cursor", *AUTHENTICATION, "validators_unreachable"),
    },
)
async def list_participants(
    gateway: GatewayDep,
    caller: CallerDep,
    flagged_min: Annotated[int, Query(ge=0, le=2**53, description="Only those flagged at least so often.")] = 0,
    role: Annotated[str, Query(max_length=32, description="Only with this role.", examples=["truck"])] = "",
    cursor: Annotated[str | None, Query(max_length=256, description="`next` of the page before.")] = None,
    limit: Annotated[int | None, Query(ge=1, description="How many at most; 50 if not said otherwise.")] = None,
) -> Response:
    limit = page_items(gateway, limit)
    filters = "\n".join((gateway.config.origin, caller.id, "participants", str(flagged_min), role))
    after = "" if cursor is None else decode_cursor(cursor, filters)
    participants: list[dict[str, Any]] = []
    scanned = 0
    more = True
    while more and len(participants) < limit and scanned < SCAN_MAX_RECORDS:
        page = await gateway.pool.list_records(PARTICIPANT_PREFIX, after, SCAN_PAGE_RECORDS)
        more = page.more
        for position, record in enumerate(page.records, 1):
            after = record.key
            scanned += 1
            record_type, found = read_record("registry", record.value)
            own = caller.sees_all or found.id == caller.id
            if own and found.flagged >= flagged_min and (not role or role in found.roles):
                participants.append(record_type.view(found))
            if len(participants) == limit:
                more = more or position < len(page.records)
                break
        if not page.records:
            break
    following = encode_cursor(after, filters) if more else None
    return json_response({"participants": participants, "next": following}, 200, NO_STORE)


@router.get(
    "/v1/participants/{id:path}",
    operation_id="getParticipant",
    summary="An enrolled participant: roles and keys",
    description="For itself, customs and auditors.",
    response_model=RecordDocument,
    responses={200: example(_EXAMPLE_PARTICIPANT), **_PROBLEMS},
)
async def get_participant(
    id: Annotated[str, Path(description="Participant id.", examples=["kz/truck/t-001"])],
    gateway: GatewayDep,
    caller: CallerDep,
    consistency: Consistency = "local",
) -> Response:
    _identifier(parse_participant_id, id)
    if not caller.sees_all and caller.id != id:
        raise Problem("not_found")
    key = f"registry/{id}"
    raw, size = await _record(gateway, key, consistency)
    return json_response({"key": key, "size": size, "record": _view("registry", raw)}, 200, NO_STORE)


def _view(contract: str, raw: bytes) -> dict[str, Any]:
    """A record as plain data, whichever version of its contract wrote it."""
    record_type, record = read_record(contract, raw)
    return record_type.view(record)


# A cursor names the last record that was looked at, which may not be the caller's to see: sealed, under a key of this
# process. A cursor of another gateway, or from before a restart, is refused, and the list begins anew.
_CURSOR_BOX = SecretBox(random_bytes(SecretBox.KEY_SIZE))


def encode_cursor(after: str, filters: str) -> str:
    """Where the next page of this very query begins. It opens nothing: what is listed is decided anew each time."""
    sealed = _CURSOR_BOX.encrypt(_digest(filters) + after.encode())
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def decode_cursor(cursor: str, filters: str) -> str:
    """The key that a cursor of this same query stands for."""
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        data = _CURSOR_BOX.decrypt(sealed)
    except (binascii.Error, ValueError, CryptoError) as error:
        raise Problem("bad_cursor", "not a cursor that this gateway gave; begin without one") from error
    if data[:CURSOR_CHECK_BYTES] != _digest(filters):
        raise Problem("bad_cursor", "the cursor belongs to another query")
    return data[CURSOR_CHECK_BYTES:].decode()


def _digest(filters: str) -> bytes:
    return hashlib.sha256(filters.encode()).digest()[:CURSOR_CHECK_BYTES]

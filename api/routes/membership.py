"""Who belongs to the order, and how that is changed: by a document that both authorities' registrars signed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.examples import EXAMPLE_CHANGE_REPLY, EXAMPLE_MEMBERSHIP
from api.models import ChangeReply, MembershipDocument
from api.problems import Problem
from api.routes.common import NO_STORE, GatewayDep, body_within, example, json_response, problems
from ledger.membership import MAX_CHANGE_BYTES

router = APIRouter(tags=["membership"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A signed note, as `comity membership sign` writes it.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "comity membership change v1\n…\n\n— …\n"}},
    }
}


@router.get(
    "/v1/membership",
    operation_id="getMembership",
    summary="Who belongs to the order, and how far each is",
    description=(
        "Open to all, as the policy files that follow from it are. `text` is what `digest` is of, and what the next "
        "change applies to; `changes` are the signed changes since genesis, by which anybody derives it."
    ),
    response_model=MembershipDocument,
    responses={200: example(EXAMPLE_MEMBERSHIP), **problems("validators_unreachable")},
)
async def get_membership(gateway: GatewayDep) -> Response:
    reply = await gateway.pool.membership()
    document = {
        "number": reply.number,
        "digest": reply.digest.hex(),
        "text": reply.text,
        "committed": reply.committed,
        "joint": reply.joint,
        "members": [
            {
                "name": member.name,
                "party": member.party,
                "role": member.role,
                "address": member.address,
                "reachable": member.reachable,
                "leader": member.leader,
                "size": member.size,
                "behind": member.behind,
            }
            for member in reply.members
        ],
        "changes": [change.decode() for change in reply.changes],
    }
    return json_response(document, 200, NO_STORE)


@router.post(
    "/v1/membership",
    operation_id="changeMembership",
    summary="Have a signed change of the membership ordered",
    description=(
        "Needs no token: a change holds by the signatures of all authorities' registrars, and once. Handing the same "
        "change in again asks what has become of it. 409 with `detail` beginning with a code says why it is refused."
    ),
    openapi_extra=_BODY,
    response_model=ChangeReply,
    responses={
        200: example(EXAMPLE_CHANGE_REPLY),
        **problems("too_large", "body_too_slow", "change_refused", "validators_unreachable"),
    },
)
async def change_membership(request: Request, gateway: GatewayDep) -> Response:
    note = await body_within(request, MAX_CHANGE_BYTES)
    reply = await gateway.pool.change_membership(note)
    if reply.state == "refused":
        raise Problem("change_refused", f"{reply.code}: {reply.detail}")
    return json_response({"state": reply.state, "number": reply.number, "detail": reply.detail}, 200, NO_STORE)

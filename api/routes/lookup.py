"""From any identifier to the declarations and movements that it belongs to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.examples import EXAMPLE_MRN, EXAMPLE_UCR
from api.lookup import ASKED, Position, look_up, questions_of
from api.models import LookupPage
from api.problems import Problem
from api.routes.common import AUTHENTICATION, NO_STORE, CallerDep, GatewayDep, example, json_response, problems
from api.routes.records import decode_cursor, encode_cursor, page_items
from contracts.identify import MAX_TEXT_CHARS

router = APIRouter(tags=["records"])

EXAMPLE_CONTAINER = "CSQU3054383"
_EXAMPLE = {
    "looked_for": [{"kind": "container", "identifier": EXAMPLE_CONTAINER}],
    "found": [
        {
            "key": f"escort/{EXAMPLE_MRN}",
            "contract": "escort",
            "subject": EXAMPLE_MRN,
            "state": "started",
            "found_by": {"kind": "container", "identifier": EXAMPLE_CONTAINER},
            "first_entry": 4690,
            "last_entry": 4702,
            "identifiers": {
                "mrn": EXAMPLE_MRN,
                "declarations": [{"ucr": EXAMPLE_UCR, "version": 1, "numbers": {"KZ": "55301/221126/0000123"}}],
                "containers": [EXAMPLE_CONTAINER],
                "seals": ["HS00000001"],
                "vehicle": "fleet/BKT-0001",
                "truck": "kz/truck/t-001",
            },
        }
    ],
    "next": "M6hTTl1L5hplc2NvcnQv",
    "size": 4712,
}


def _asked(description: str) -> object:
    return Query(max_length=MAX_TEXT_CHARS, description=description)


@router.get(
    "/v1/lookup",
    operation_id="lookUp",
    summary="The declarations and movements that an identifier belongs to",
    description=(
        "Name the identifier by its kind, or give it as `q` and let its kinds be guessed from its form. Newest first, "
        "the whole history: a container is found with each of its crossings. Shows what the caller may see, each "
        "record with all its identifiers, its key in the state, and the entries of the log that began it and that "
        "last mentioned the identifier, which can be proved."
    ),
    response_model=LookupPage,
    responses={
        200: example(_EXAMPLE),
        **problems(
            "bad_request", "bad_identifier", "bad_cursor", *AUTHENTICATION, "validators_unreachable", "index_incomplete"
        ),
    },
)
async def get_lookup(
    gateway: GatewayDep,
    caller: CallerDep,
    q: Annotated[str, _asked("Any of the below; kinds are guessed, and blanks and case forgiven.")] = "",
    ucr: Annotated[str, _asked("Unique consignment reference.")] = "",
    number: Annotated[str, _asked("Declaration number of any country.")] = "",
    kz_number: Annotated[str, _asked("Declaration number of Kazakhstan.")] = "",
    cn_number: Annotated[str, _asked("Declaration number of China.")] = "",
    mrn: Annotated[str, _asked("Movement reference number.")] = "",
    container: Annotated[str, _asked("Container, ISO 6346.")] = "",
    seal: Annotated[str, _asked("Seal number.")] = "",
    vehicle: Annotated[str, _asked("CC/PLATE, or fleet/ID of an unmanned vehicle.")] = "",
    truck: Annotated[str, _asked("Participant id of a vehicle's computer.")] = "",
    participant: Annotated[str, _asked("Any participant that a movement or declaration names.")] = "",
    cursor: Annotated[str | None, Query(max_length=2048, description="`next` of the page before.")] = None,
    limit: Annotated[int | None, Query(ge=1, description="How many at most; 50 if not said otherwise.")] = None,
) -> Response:
    given = (ucr, number, kz_number, cn_number, mrn, container, seal, vehicle, truck, participant)
    named = {name: text for name, text in zip(ASKED, given, strict=True) if text}
    if len(named) > 1:
        raise Problem("bad_request", f"expected one identifier, got {', '.join(named)}")
    questions = questions_of(named, q)
    filters = "\n".join((gateway.config.origin, caller.id, *(f"{each.kind} {each.identifier}" for each in questions)))
    start = Position() if cursor is None else Position.decode(decode_cursor(cursor, filters))
    page = await look_up(gateway.pool, gateway.access, caller, questions, start, page_items(gateway, limit))
    document = {
        "looked_for": [each.document() for each in questions],
        "found": page.found,
        "next": None if page.next is None else encode_cursor(page.next.encode(), filters),
        "size": page.size,
    }
    return json_response(document, 200, NO_STORE)

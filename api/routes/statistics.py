"""How long passages take at the border: figures that both authorities compute alike from the log they cosigned."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.models import DwellTimes
from api.problems import Problem
from api.routes.common import AUTHENTICATION, NO_STORE, CallerDep, GatewayDep, example, problems
from contracts import dwell
from contracts.identifiers import IdentifierError

router = APIRouter(tags=["statistics"])

MAX_PLACE_CHARS = 64
_FIGURE = {"count": 812, "p50_ms": 184_000, "p95_ms": 8_760_000, "max_ms": 10_920_000}
_EXAMPLE = {
    "origin": "comity.example/bakhty-baketu",
    "size": 4712,
    "from": "2026-11-16",
    "to": "2026-11-22",
    "post": "KZ/BAKHTY",
    "figures": [
        {
            "post": "KZ/BAKHTY",
            "side": "departure",
            "interval": "queue",
            "all": _FIGURE,
            "days": [{"day": "2026-11-22", **_FIGURE}],
        }
    ],
}


@router.get(
    "/v1/statistics/dwell",
    operation_id="getDwellTimes",
    summary="How long passages took, by post, side, interval and day",
    description=(
        "For customs of either authority and auditors. Computed from the block times of final entries alone, so that "
        "both authorities, and `comity dwell` over an archive, give the same bytes for the same `size`. An interval "
        "belongs to the UTC day on which it ended. Percentiles are nearest-rank. docs/dwell-times.md defines each "
        "interval."
    ),
    response_model=DwellTimes,
    responses={
        200: example(_EXAMPLE),
        **problems(
            "bad_request",
            "bad_identifier",
            *AUTHENTICATION,
            "not_found",
            "validators_unreachable",
            "index_incomplete",
        ),
    },
)
async def get_dwell_times(
    gateway: GatewayDep,
    caller: CallerDep,
    post: Annotated[
        str, Query(max_length=MAX_PLACE_CHARS, description="Only this post: `CNBKT`, or `KZ/BAKHTY` for a local one.")
    ] = "",
    first: Annotated[
        datetime.date | None, Query(alias="from", description="First day. Without days: the week up to the last block.")
    ] = None,
    to: Annotated[datetime.date | None, Query(description=f"Last day, of at most {dwell.MAX_DAYS}.")] = None,
    size: Annotated[
        int | None, Query(ge=1, le=2**53, description="Of the first entries of the log; all that are final otherwise.")
    ] = None,
) -> Response:
    if not caller.sees_all:
        raise Problem("not_found")
    try:
        code = dwell.parse_post(post) if post else ""
    except IdentifierError as error:
        raise Problem("bad_identifier", f"post: {error}") from error
    first_day, last_day = _days(first, to)
    reply = await gateway.pool.dwell(code, first_day, last_day, size or 0)
    found = [
        dwell.Figure(
            each.post,
            each.side,
            each.interval,
            each.day or None,
            each.count,
            each.p50_ms,
            each.p95_ms,
            each.max_ms,
        )
        for each in reply.figures
    ]
    shown: dict[str, Any] = dwell.document(
        gateway.config.origin, reply.size, reply.first_day, reply.last_day, code, found
    )
    return Response(dwell.encoded(shown), 200, NO_STORE, media_type="application/json")


def _days(first: datetime.date | None, last: datetime.date | None) -> tuple[int, int]:
    """As day numbers; 0 and 0 for the week up to the last block."""
    if (first is None) != (last is None):
        raise Problem("bad_request", "from and to go together")
    if first is None or last is None:
        return 0, 0
    days = (last - first).days + 1
    if not 1 <= days <= dwell.MAX_DAYS or first <= dwell.EPOCH:
        raise Problem("bad_request", f"days: expected 1 to {dwell.MAX_DAYS} from 1970-01-02 on, got {days}")
    return dwell.day_number(first), dwell.day_number(last)

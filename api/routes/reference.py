"""Names of places and goods from the operator's tables, for consoles. Public data: nobody is asked who they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from api.models import GoodsDocument, PlaceDocument
from api.problems import Problem
from api.routes.common import GatewayDep, example, json_response, problems
from contracts.identifiers import IdentifierError, parse_hs

router = APIRouter(tags=["reference"])

# Tables change seldom, and a name that is an hour old misleads nobody.
CACHED = {"Cache-Control": "public, max-age=3600"}
MAX_CODE_CHARS = 16
_PROBLEMS = problems("bad_request", "bad_identifier", "not_found")


@router.get(
    "/v1/reference/unlocode/{code}",
    operation_id="getPlace",
    summary="A place by its UN/LOCODE",
    description="From the operator's table. 404 where it is not listed, or this gateway has no such table.",
    response_model=PlaceDocument,
    responses={
        200: example(
            {
                "code": "CNBKT",
                "country": "CN",
                "name": "Baketu",
                "subdivision": "XJ",
                "function": "--3----B",
                "latitude_udeg": 46_700_000,
                "longitude_udeg": 82_800_000,
            }
        ),
        **_PROBLEMS,
    },
)
async def get_place(
    code: Annotated[str, Path(max_length=MAX_CODE_CHARS, description="Five characters.", examples=["CNBKT"])],
    gateway: GatewayDep,
) -> Response:
    tables = gateway.listing.tables
    if not tables.locodes:
        raise Problem("not_found", "this gateway has no table of UN/LOCODE places")
    found = tables.locodes.get(code)
    if found is None:
        raise Problem("not_found", f"{code} is not in the table of UN/LOCODE places")
    return json_response(found.document(), 200, CACHED)


@router.get(
    "/v1/reference/hs/{code}",
    operation_id="getGoods",
    summary="A goods code, and the headings that it stands under",
    description=(
        "From the operator's table. For a national code that is not listed itself, the six digits that all countries "
        "share. 404 where it is not listed, or this gateway has no such table."
    ),
    response_model=GoodsDocument,
    responses={
        200: example(
            {
                "code": "100199",
                "description": "Wheat and meslin; other than durum wheat, other than seed",
                "under": [
                    {"code": "10", "description": "Cereals"},
                    {"code": "1001", "description": "Wheat and meslin"},
                ],
            }
        ),
        **_PROBLEMS,
    },
)
async def get_goods(
    code: Annotated[str, Path(max_length=MAX_CODE_CHARS, description="2, 4, 6 or 10 digits.", examples=["100199"])],
    gateway: GatewayDep,
) -> Response:
    tables = gateway.listing.tables
    if len(code) not in (2, 4):
        try:
            parse_hs(code)
        except IdentifierError as error:
            raise Problem("bad_identifier", str(error)) from error
    if not tables.goods:
        raise Problem("not_found", "this gateway has no table of goods codes")
    line = tables.line_of(code) or (tables.line_of(code[:6]) if len(code) == 10 and tables.lists_goods(code) else [])
    if not line:
        raise Problem("not_found", f"{code} is not in the table of goods codes")
    *above, found = line
    under = [{"code": each.code, "description": each.description} for each in above]
    return json_response({"code": found.code, "description": found.description, "under": under}, 200, CACHED)

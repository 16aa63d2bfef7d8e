"""What the contracts say of themselves, and any record of theirs: the same for every contract of the catalogue.

A contract that is added is here without a line of code: its records under `/v1/records`, its payloads under
`/v1/schemas`, its outcomes under `/v1/outcomes`. Outcomes and schemas are documentation, and open to everybody; a
record is for those whom the contract's `visible_to` names, customs and auditors.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from api.models import RecordDocument
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
from contracts.advice import advice_of, kinds_by_outcome
from contracts.catalogue import CONTRACT_NAMES, contract_of, read_record
from contracts.identifiers import IdentifierError
from contracts.json_schema import payload_schemas
from contracts.outcome import Outcome

SCHEMA_CONTENT_TYPE = "application/schema+json"
MAX_CONTRACT_CHARS = 32
MAX_KIND_CHARS = 64

router = APIRouter(tags=["contracts"])

_SCHEMAS = payload_schemas()
_KINDS = kinds_by_outcome()
_CERTIFICATE = "KZ/2026-004711"
_EXAMPLE_RECORD = {
    "key": f"phytosanitary/{_CERTIFICATE}",
    "size": 4712,
    "record": {"subject": _CERTIFICATE, "state": "recognised", "exporting": "kz-kgd", "importing": "cn-gacc"},
}


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """What there is to say of one outcome."""
    advice = advice_of(outcome)
    return {
        "outcome_code": int(outcome),
        "outcome": outcome.fact,
        "means": advice.means,
        "do": advice.do,
        "kinds": list(_KINDS.get(outcome, ())),
    }


@router.get(
    "/v1/records/{contract}/{subject:path}",
    operation_id="getRecord",
    summary="The record of any contract",
    description=(
        "By the contract's name and the subject of its statements: `phytosanitary/KZ/2026-004711`. For customs, "
        "auditors, and the participants whose own the contract says it is."
    ),
    response_model=RecordDocument,
    responses={
        200: example(_EXAMPLE_RECORD),
        **problems(
            "bad_request",
            "bad_identifier",
            *AUTHENTICATION,
            "not_found",
            "validators_unreachable",
            "read_not_confirmed",
        ),
    },
)
async def get_record(
    contract: Annotated[
        str,
        Path(max_length=MAX_CONTRACT_CHARS, description=f"One of {', '.join(CONTRACT_NAMES)}.", examples=["escort"]),
    ],
    subject: Annotated[str, Path(description="What its statements are about.", examples=["19GBCKKCQSXV2FGVA8"])],
    gateway: GatewayDep,
    caller: CallerDep,
    consistency: Consistency = "local",
) -> Response:
    declared = contract_of(contract)
    if declared is None:
        raise Problem("not_found")
    try:
        declared.subject.parse(subject)
    except IdentifierError as error:
        raise Problem("bad_identifier", str(error)) from error
    if not await gateway.access.may_see_record(caller, contract, subject):
        raise Problem("not_found")
    key = declared.record.key(subject)
    reply = await gateway.pool.records_reply([key], linearizable=consistency == LINEARIZABLE)
    if not reply.records:
        raise Problem("not_found")
    kind, record = read_record(contract, reply.records[0].value)
    return json_response({"key": key, "size": reply.size, "record": kind.view(record)}, 200, NO_STORE)


@router.get(
    "/v1/outcomes",
    operation_id="listOutcomes",
    summary="Every outcome: what it means and what to do",
    responses={200: example({"outcomes": [outcome_document(Outcome.DECLARATION_NOT_RELEASED)]})},
)
async def list_outcomes() -> Response:
    return json_response({"outcomes": [outcome_document(outcome) for outcome in Outcome]})


@router.get(
    "/v1/outcomes/{number}",
    operation_id="getOutcome",
    summary="One outcome: what it means and what to do",
    description="`help` of a problem document leads here.",
    responses={
        200: example(outcome_document(Outcome.DECLARATION_NOT_RELEASED)),
        **problems("bad_request", "not_found"),
    },
)
async def get_outcome(
    number: Annotated[int, Path(ge=0, le=999, description="The outcome's number.", examples=[307])],
) -> Response:
    try:
        return json_response(outcome_document(Outcome(number)))
    except ValueError as error:
        raise Problem("not_found") from error


@router.get(
    "/v1/schemas/{kind}",
    operation_id="getSchema",
    summary="The JSON Schema of the payload of a kind of statement",
    description="Of its JSON picture: byte strings of the CBOR payload are lower-case base16.",
    response_class=Response,
    responses={
        200: {
            "description": "OK",
            "content": {
                SCHEMA_CONTENT_TYPE: {"schema": {"type": "object"}, "example": _SCHEMAS["declaration.register"]}
            },
        },
        **problems("bad_request", "not_found"),
    },
)
async def get_schema(
    kind: Annotated[
        str, Path(max_length=MAX_KIND_CHARS, description="Contract and event.", examples=["declaration.lodge"])
    ],
) -> Response:
    schema = _SCHEMAS.get(kind)
    if schema is None:
        raise Problem("not_found")
    response = json_response(schema)
    response.headers["content-type"] = SCHEMA_CONTENT_TYPE
    return response


def components() -> dict[str, Any]:
    """The payload schemas as components of the OpenAPI description."""
    return {
        f"payload.{kind}": {name: value for name, value in schema.items() if name not in ("$schema", "$id")}
        for kind, schema in _SCHEMAS.items()
    }

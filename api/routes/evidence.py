"""Evidence that this authority's validators made: for customs of both authorities, and for auditors."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from api.examples import EXAMPLE_EVIDENCE, EXAMPLE_ID
from api.models import EvidenceList
from api.problems import Problem
from api.routes.common import AUTHENTICATION, NO_STORE, CallerDep, GatewayDep, example, json_response, problems
from ledger.evidence import MEDIA_TYPE, SUFFIX

router = APIRouter(tags=["evidence"])


@router.get(
    "/v1/evidence",
    operation_id="listEvidence",
    summary="What somebody signed that cannot be true",
    description=(
        "Bundles that the validators of this authority made by themselves. Needs a token of customs, of either "
        "authority, or of an auditor. Others are told that there is nothing here."
    ),
    response_model=EvidenceList,
    responses={200: example(EXAMPLE_EVIDENCE), **problems(*AUTHENTICATION, "not_found", "validators_unreachable")},
)
async def list_evidence(gateway: GatewayDep, caller: CallerDep) -> Response:
    if not caller.sees_all:
        raise Problem("not_found")
    found = await gateway.pool.evidence()
    rows = [
        {
            "id": each.id,
            "claim": each.claim,
            "words": each.words,
            "size_bytes": len(each.bundle),
            "validators": validators,
        }
        for _, (each, validators) in sorted(found.items())
    ]
    return json_response({"evidence": rows}, 200, NO_STORE)


@router.get(
    "/v1/evidence/{evidence_id}",
    operation_id="getEvidence",
    summary="One bundle of evidence, a file that anybody verifies",
    response_class=Response,
    responses={
        200: {
            "description": "The bundle",
            "content": {
                MEDIA_TYPE: {
                    "schema": {"type": "string", "format": "binary"},
                    "example": "(deterministic CBOR; docs/formats.md)",
                }
            },
        },
        **problems(*AUTHENTICATION, "not_found", "validators_unreachable"),
    },
)
async def get_evidence(
    gateway: GatewayDep,
    caller: CallerDep,
    evidence_id: Annotated[
        str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the bundle", examples=[EXAMPLE_ID])
    ],
) -> Response:
    found = (await gateway.pool.evidence()).get(evidence_id) if caller.sees_all else None
    if found is None:
        raise Problem("not_found")
    name = f'attachment; filename="{evidence_id[:16]}{SUFFIX}"'
    return Response(found[0].bundle, media_type=MEDIA_TYPE, headers={**NO_STORE, "Content-Disposition": name})

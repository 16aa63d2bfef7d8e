"""What verifies offline: statements with their receipts, records as they stand, and crossing passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from api.core import STATUS_PROOF_TYPE
from api.examples import EXAMPLE_MRN, EXAMPLE_UCR
from api.problems import Problem
from api.routes.common import AUTHENTICATION, NO_STORE, CallerDep, GatewayDep, example, problems
from api.routes.statements import StatementId, statement_id_of
from contracts.identifiers import IdentifierError, parse_mrn, parse_participant_id, parse_ucr

COSE = "application/cose"
PASS_TYPE = "application/vnd.comity.pass+cose"

router = APIRouter(tags=["proofs"])

_FORM = "bad_request", "bad_identifier", *AUTHENTICATION, "not_found"
_AS_IT_STANDS = (
    "Deterministic CBOR: the record, or that there is none, its path in the state map, the block record, its path in "
    "the log, and the newest checkpoint that both authorities cosigned. Verifies offline with either policy file: "
    "`comity verify`. As old as the cosignatures say; nobody knows offline of anything newer. "
)


def _bytes(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    return {200: example(f"<{what}, as docs/formats.md has it>", what, media_type)}


def _checked(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except IdentifierError as error:
        raise Problem("bad_identifier", str(error)) from error
    return text


@router.get(
    "/v1/statements/{id}/receipt",
    operation_id="getReceipt",
    summary="A final statement with the COSE receipts of both authorities",
    description=(
        "SCITT transparent statement (RFC 9943): the statement byte for byte, with COSE receipts (RFC 9942) in its "
        "unprotected header, as many of each authority's validators as the policy demands. With `authority`: the "
        "receipt of that one alone, which can be had while the other is away. Verifies offline: `comity verify`."
    ),
    response_class=Response,
    responses={
        **_bytes(COSE, "COSE_Sign1"),
        **problems(*_FORM, "not_final", "authority_unreachable", "validators_unreachable"),
    },
)
async def get_receipt(
    id: StatementId,
    gateway: GatewayDep,
    caller: CallerDep,
    authority: Annotated[
        str, Query(max_length=64, description="The receipt of this authority alone.", examples=["kz-kgd"])
    ] = "",
) -> Response:
    document = await gateway.visible_receipt(caller, statement_id_of(id), authority)
    return Response(document, media_type=COSE, headers={"Cache-Control": "private"})


@router.get(
    "/v1/declarations/{ucr:path}/status-proof",
    operation_id="getDeclarationStatusProof",
    summary="Proof of a declaration as it stands, or that there is none",
    description=(
        f"{_AS_IT_STANDS}For its declarant, its carrier, customs and auditors; that there is none, for the latter two."
    ),
    response_class=Response,
    responses={
        **_bytes(STATUS_PROOF_TYPE, "Status proof"),
        **problems(*_FORM, "state_not_final", "validators_unreachable"),
    },
)
async def get_declaration_status_proof(
    ucr: Annotated[str, Path(description="Unique consignment reference.", examples=[EXAMPLE_UCR])],
    gateway: GatewayDep,
    caller: CallerDep,
) -> Response:
    _checked(parse_ucr, ucr)
    if not await gateway.access.may_see_declaration(caller, ucr):
        raise Problem("not_found")
    return await _status_proof(gateway, f"declaration/{ucr}")


@router.get(
    "/v1/movements/{mrn}/status-proof",
    operation_id="getMovementStatusProof",
    summary="Proof of a movement as it stands, or that there is none",
    description=(
        f"{_AS_IT_STANDS}For its carrier, receiver, truck and terminals, the declarants of its goods, customs and "
        "auditors; that there is none, for the latter two."
    ),
    response_class=Response,
    responses={
        **_bytes(STATUS_PROOF_TYPE, "Status proof"),
        **problems(*_FORM, "state_not_final", "validators_unreachable"),
    },
)
async def get_movement_status_proof(
    mrn: Annotated[str, Path(description="Movement reference number.", examples=[EXAMPLE_MRN])],
    gateway: GatewayDep,
    caller: CallerDep,
) -> Response:
    _checked(parse_mrn, mrn)
    if not await gateway.access.may_see_movement(caller, mrn):
        raise Problem("not_found")
    return await _status_proof(gateway, f"escort/{mrn}")


@router.get(
    "/v1/participants/{id:path}/status-proof",
    operation_id="getParticipantStatusProof",
    summary="Proof of a participant's roles and keys as they stand, or that it is not enrolled",
    description=f"{_AS_IT_STANDS}For itself, customs and auditors; that there is none, for the latter two.",
    response_class=Response,
    responses={
        **_bytes(STATUS_PROOF_TYPE, "Status proof"),
        **problems(*_FORM, "state_not_final", "validators_unreachable"),
    },
)
async def get_participant_status_proof(
    id: Annotated[str, Path(description="Participant id.", examples=["kz/truck/t-001"])],
    gateway: GatewayDep,
    caller: CallerDep,
) -> Response:
    _checked(parse_participant_id, id)
    if not caller.sees_all and caller.id != id:
        raise Problem("not_found")
    return await _status_proof(gateway, f"registry/{id}")


async def _status_proof(gateway: GatewayDep, key: str) -> Response:
    proof = await gateway.status_proof(key)
    return Response(proof, media_type=STATUS_PROOF_TYPE, headers=NO_STORE)


@router.get(
    "/v1/movements/{mrn}/pass",
    operation_id="getPass",
    summary="A crossing pass, which a gate without a network verifies",
    description=(
        "COSE_Sign of validators of both authorities: the movement is on its way, its truck has a key in force, every "
        "declaration is released, recognised in the version planned with and not suspended, as of now; counts for the "
        "governed `pass_minutes`. Fits a QR code. For whoever may see the movement. 409 `may_not_pass` says why there "
        "is none."
    ),
    response_class=Response,
    responses={
        **_bytes(PASS_TYPE, "Crossing pass"),
        **problems(*_FORM, "may_not_pass", "state_not_final", "authority_unreachable", "validators_unreachable"),
    },
)
async def get_pass(
    mrn: Annotated[str, Path(description="Movement reference number.", examples=[EXAMPLE_MRN])],
    gateway: GatewayDep,
    caller: CallerDep,
) -> Response:
    _checked(parse_mrn, mrn)
    if not await gateway.access.may_see_movement(caller, mrn):
        raise Problem("not_found")
    return Response(await gateway.crossing_pass(mrn), media_type=PASS_TYPE, headers=NO_STORE)

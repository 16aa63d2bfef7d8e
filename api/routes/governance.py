"""What both authorities have decided, and what one has proposed to the other: proposals, parameters, contracts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from api.core import Gateway
from api.examples import EXAMPLE_ID
from api.models import GovernanceDocument, ParametersDocument, RecordDocument
from api.problems import Problem
from api.routes.common import LINEARIZABLE, NO_STORE, Consistency, GatewayDep, example, json_response, problems
from contracts import governed
from contracts.authority_keys import AuthorityKeys, read_authority_keys
from contracts.governance_payloads import parse_proposal_id
from contracts.governance_record import OPEN_LIST, ROOT, SCHEDULE, decode_proposal, pairs, proposal_key
from contracts.governance_views import proposal_view
from contracts.identifiers import IdentifierError
from contracts.releases import missing_ahead
from contracts.working import UnreadableRecord, Working

LEGAL_BASIS_PREFIX = "legal_basis/"
MAX_LEGAL_BASES = 200
# Of one authority's keys: a round of reading for each.
MAX_ROTATIONS_SHOWN = 256

router = APIRouter(tags=["governance"])

_EXAMPLE_PROPOSAL: dict[str, Any] = {
    "id": "kz-kgd/2026-014",
    "state": "approved",
    "title": "longer time to answer an offer",
    "authority": "kz-kgd",
    "proposal": EXAMPLE_ID,
    "changes": [{"parameter": {"name": "offer_lapse_s", "from": 1800, "to": 3600}}],
    "topics": ["parameter/offer_lapse_s"],
    "effect_height": 822,
}
_EXAMPLE_PARAMETER: dict[str, Any] = {
    "name": "offer_lapse_s",
    "value": 1800,
    "default": 1800,
    "lowest": 10,
    "highest": 604800,
    "meaning": "an offer not answered in this time lapses",
    "since": None,
    "pending": "kz-kgd/2026-014",
}
_EXAMPLE_GOVERNANCE: dict[str, Any] = {
    "size": 4712,
    "authorities": ["kz-kgd", "cn-gacc"],
    "open": [],
    "approved": [_EXAMPLE_PROPOSAL],
    "contracts": [{"name": "escort", "version": 1, "versions_here": [1], "since": None, "pending": None}],
    "legal_basis": [{"agreement": "Smart Customs pilot", "article": "4", "effective": "2025-07-01"}],
    "keys": [
        {
            "authority": "kz-kgd",
            "kind": "log_key",
            "value": EXAMPLE_ID,
            "from_height": 0,
            "until_height": None,
            "until_ms": None,
            "proposal": None,
            "waiting": False,
        }
    ],
    "missing": [],
}


@router.get(
    "/v1/parameters",
    operation_id="getParameters",
    summary="The governed parameters in force",
    description=(
        "Open to all. `since` names the proposal, height, block time and statement that brought a value into force, "
        "and is null as of genesis; `pending` the approved proposal that is going to change it."
    ),
    response_model=ParametersDocument,
    responses={
        200: example({"size": 4712, "parameters": [_EXAMPLE_PARAMETER]}),
        **problems("bad_request", "validators_unreachable", "read_not_confirmed"),
    },
)
async def get_parameters(gateway: GatewayDep, consistency: Consistency = "local") -> Response:
    records, size = await _records(gateway, governed.parameter_keys(), consistency)
    return json_response({"size": size, "parameters": governed.parameters_view(records)}, 200, NO_STORE)


@router.get(
    "/v1/governance",
    operation_id="getGovernance",
    summary="Proposals that are open or wait for their height, the contracts in force, the legal basis",
    description=(
        "Open to all. `missing` says which contracts are approved or proposed that this gateway's program does not "
        "have, and which release is needed. `keys` are the log keys and the SHA-256 of the CA certificates of each "
        "authority: from which height, until which another took its place, and until which block time it still counted "
        "after that. `authorities` is empty where the genesis record names no governance."
    ),
    response_model=GovernanceDocument,
    responses={
        200: example(_EXAMPLE_GOVERNANCE),
        **problems("bad_request", "validators_unreachable", "read_not_confirmed"),
    },
)
async def get_governance(gateway: GatewayDep, consistency: Consistency = "local") -> Response:
    records, size = await _records(gateway, governed.contract_keys(), consistency)
    working = Working(records)
    opened = [str(name) for name in working.row(OPEN_LIST) or ()]
    approved = [name for _, name in pairs(working.row(SCHEDULE) or ())]
    # Read later than the lists: a proposal may have moved on, and is shown as it stands then.
    proposals, _ = await _records(gateway, [proposal_key(name) for name in (*opened, *approved)], "local")
    keys = await _authority_keys(gateway, [str(name) for name in (working.row(ROOT) or ())[1:]])
    shown = {name: proposal_view(decode_proposal(raw)) for name, raw in proposals.items()}
    bases = await gateway.pool.list_records(LEGAL_BASIS_PREFIX, "", MAX_LEGAL_BASES)
    document = {
        "size": size,
        "authorities": [str(name) for name in (working.row(ROOT) or ())[1:]],
        "open": [shown[proposal_key(name)] for name in opened if proposal_key(name) in shown],
        "approved": [shown[proposal_key(name)] for name in approved if proposal_key(name) in shown],
        "contracts": governed.contracts_view(records),
        "legal_basis": [governed.legal_basis_view(record.value) for record in bases.records],
        "keys": governed.authority_keys_view(keys),
        "missing": [str(each) for each in missing_ahead({**records, **proposals})],
    }
    return json_response(document, 200, NO_STORE)


@router.get(
    "/v1/governance/{id:path}",
    operation_id="getProposal",
    summary="A proposal: what it changes, who has approved it, and at which height it takes effect",
    description="Open to all, for ever: whatever becomes of a proposal, its record stays.",
    response_model=RecordDocument,
    responses={
        200: example({"key": "governance/kz-kgd/2026-014", "size": 4712, "record": _EXAMPLE_PROPOSAL}),
        **problems("bad_request", "bad_identifier", "not_found", "validators_unreachable", "read_not_confirmed"),
    },
)
async def get_proposal(
    id: Annotated[str, Path(description="Id of the proposal.", examples=["kz-kgd/2026-014"])],
    gateway: GatewayDep,
    consistency: Consistency = "local",
) -> Response:
    try:
        parse_proposal_id(id)
    except IdentifierError as error:
        raise Problem("bad_identifier", str(error)) from error
    key = proposal_key(id)
    records, size = await _records(gateway, [key], consistency)
    if key not in records:
        raise Problem("not_found")
    return json_response(
        {"key": key, "size": size, "record": proposal_view(decode_proposal(records[key]))}, 200, NO_STORE
    )


class _Asked(dict[str, bytes]):
    """Records that were read, and the names of those that were asked for and have not been."""

    def __init__(self) -> None:
        super().__init__()
        self.absent: set[str] = set()
        self.missing: list[str] = []

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self and key not in self.absent:
            self.missing.append(key)
        return super().get(key, default)


async def _authority_keys(gateway: Gateway, authorities: list[str]) -> AuthorityKeys:
    """Walked from record to record: each proposal says which one was before it."""
    asked = _Asked()
    for _ in range(MAX_ROTATIONS_SHOWN):
        asked.missing = []
        try:
            found = read_authority_keys(asked, authorities)
        except UnreadableRecord:
            if not asked.missing:
                asked = _Asked()  # something has taken effect between two readings
            found = None
        if found is not None and not asked.missing:
            return found
        wanted = list(dict.fromkeys(asked.missing))
        if not wanted:
            continue
        records, _ = await _records(gateway, wanted, "local")
        asked.update(records)
        asked.absent.update(set(wanted) - records.keys())
    raise Problem("internal")


async def _records(gateway: Gateway, keys: list[str], consistency: str) -> tuple[dict[str, bytes], int]:
    reply = await gateway.pool.records_reply(keys, linearizable=consistency == LINEARIZABLE)
    return {record.key: record.value for record in reply.records}, reply.size

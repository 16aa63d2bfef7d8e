"""Crossing certificates over HTTP: everything about one movement, proven under the newest final checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from api.access import Principal
from api.certifying import NoSuchMovement, certificate_of_entries, declarations_of
from api.core import Gateway
from api.examples import EXAMPLE_MRN
from api.feed import PAGE_MAX_ENTRIES
from api.problems import Problem
from api.routes.common import AUTHENTICATION, NO_STORE, CallerDep, GatewayDep, problems
from contracts.certificate import MAX_CERTIFICATE_ENTRIES, MEDIA_TYPE, SUFFIX, belongs
from contracts.identifiers import IdentifierError, parse_mrn
from contracts.movement import movement_key
from ledger.checkpoint import parse_checkpoint
from ledger.entry import MAX_BLOCK_STATEMENTS
from ledger.errors import Malformed, Misuse
from ledger.note import parse_note
from ledger.statement import Statement
from ledger.status_proof import StatusProof, parse_status_proof

_STATEMENT_START = b"\xd2"
HEARD_S = 1.0

router = APIRouter(tags=["formats"])


def _behind() -> Problem:
    return Problem("validators_unreachable", "the validator that answers is behind", retry_after_ms=1_000)


async def _statements_about(gateway: Gateway, subject: str, size: int) -> dict[int, Statement]:
    """Every statement about a subject among the first `size` entries."""
    found: dict[int, Statement] = {}
    position = 0
    while position < size:
        page = await gateway.feed.page(position, subject)
        if page.next <= position:
            raise _behind()
        for entry in page.entries:
            if entry.index < size and entry.statement.sub == subject:
                found[entry.index] = entry.statement
        position = page.next
    return found


async def _block_records(gateway: Gateway, indexes: Iterable[int], size: int) -> dict[int, bytes]:
    """The block record of each statement, by rising indexes: the first entry after it that is no statement."""
    records: dict[int, bytes] = {}
    last = 0
    for index in indexes:
        if index < last:
            continue  # in the block that is closed already
        position = index + 1
        closing = None
        while closing is None and position < min(size, index + MAX_BLOCK_STATEMENTS + 1):
            page = await gateway.pool.entries(position, PAGE_MAX_ENTRIES)
            if not page.entries:
                raise _behind()
            closing = next((entry for entry in page.entries if entry.raw[:1] != _STATEMENT_START), None)
            position = page.entries[-1].index + 1
        if closing is None or closing.index >= size:
            raise _behind()
        last = closing.index
        records[last] = closing.raw
    return records


async def _as_it_stands(gateway: Gateway, mrn: str) -> StatusProof | None:
    """The movement's record with its proof, under a final checkpoint; None where no validator has one at hand."""
    with suppress(Problem, Malformed):
        proof = parse_status_proof(await gateway.status_proof(movement_key(mrn)))
        if proof.value is not None:
            async with asyncio.timeout(HEARD_S):  # the validator may know of a checkpoint that has not come here yet
                await gateway.pool.finality.beyond(proof.checkpoint.size - 1)
            return proof
    return None


async def _certificate(gateway: Gateway, caller: Principal, mrn: str, declarations: bool) -> bytes:
    standing = None
    with suppress(TimeoutError):
        standing = await _as_it_stands(gateway, mrn)
    note = gateway.pool.finality.checkpoint if standing is None else standing.checkpoint_note
    if not note:
        raise Problem("not_found", "no checkpoint has been cosigned by both authorities yet")
    size = parse_checkpoint(parse_note(note).text).size
    statements = await _statements_about(gateway, mrn, size)
    try:
        ucrs = declarations_of(statements.values(), mrn)
    except NoSuchMovement as error:
        raise Problem("not_found", f"{error}, as far as both authorities have cosigned") from error
    visible = [ucr for ucr in ucrs if declarations and await gateway.access.may_see_declaration(caller, ucr)]
    for ucr in visible:
        statements |= await _statements_about(gateway, ucr, size)
    chosen = {index: each for index, each in sorted(statements.items()) if belongs(each, mrn, visible)}
    if 2 * len(chosen) > MAX_CERTIFICATE_ENTRIES:
        raise Problem("too_many", f"expected at most {MAX_CERTIFICATE_ENTRIES // 2} statements about {mrn}")
    genesis = await gateway.pool.entries(0, 1)
    if not genesis.entries:
        raise _behind()
    entries = {0: genesis.entries[0].raw, **{index: each.raw for index, each in chosen.items()}}
    entries |= await _block_records(gateway, chosen, size)
    record = None
    if standing is not None and standing.value is not None:
        record = standing.value, standing.state_proof.encode()
        entries[size - 1] = standing.block.encode()
    try:
        return await certificate_of_entries(mrn, note, size, entries, gateway.pool.tile, record)
    except (Malformed, Misuse) as error:
        raise _behind() from error


@router.get(
    "/v1/movements/{mrn}/certificate",
    operation_id="getCertificate",
    summary="The crossing certificate of a movement",
    description=(
        "For whom the movement is: every statement about it but positions, and about those of its declarations that "
        "the caller may see, proven under the newest final checkpoint, in one file that `comity verify` verifies "
        "offline (docs/certificate.md). With the movement's own record and its proof, where the validators have it at "
        "hand: it shows what was left out of what it keeps, not what became of the declarations."
    ),
    response_class=Response,
    responses={
        200: {
            "description": "The certificate, deterministic CBOR",
            "content": {
                MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}, "example": "(a crossing certificate)"}
            },
        },
        **problems("bad_request", "bad_identifier", *AUTHENTICATION, "not_found", "too_many", "validators_unreachable"),
    },
)
async def get_certificate(
    mrn: Annotated[str, Path(description="Movement reference number.", examples=[EXAMPLE_MRN])],
    gateway: GatewayDep,
    caller: CallerDep,
    declarations: Annotated[
        bool, Query(description="Whether what is about its declarations is to be in it, as far as you may see it.")
    ] = True,
) -> Response:
    try:
        parse_mrn(mrn)
    except IdentifierError as error:
        raise Problem("bad_identifier", str(error)) from error
    if not await gateway.access.may_see_movement(caller, mrn):
        raise Problem("not_found")
    async with gateway.documents:
        raw = await _certificate(gateway, caller, mrn, declarations)
    name = f'attachment; filename="{mrn}{SUFFIX}"'
    return Response(raw, 200, {**NO_STORE, "Content-Disposition": name}, media_type=MEDIA_TYPE)

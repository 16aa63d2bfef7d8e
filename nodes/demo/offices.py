"""The way from a device to the ledger: one gateway of the side on whose ground the device stands.

Neither office tries again by itself: the device does, from its outbox, and so every refusal is seen and counted.
"""

from __future__ import annotations

import asyncio
from typing import Final

from api.client import AsyncClient, ClientError, Overloaded, ProblemError, RejectedStatement, Unavailable, Unreachable
from ledger.statement import Statement
from nodes.demo.delivery import NotNow, Receipt, TurnedAway

FINAL_TIMEOUT_MS: Final = 10_000
ASK_AGAIN_S: Final = 0.5
SENT_AT_ONCE_MAX: Final = 64


class HttpOffice:
    """`POST /v1/statements?wait=final`. `client` must not retry."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._places = asyncio.Semaphore(SENT_AT_ONCE_MAX)

    async def deliver(self, statement: Statement) -> Receipt:
        async with self._places:
            try:
                receipt = await self._client.submit(statement.raw, wait="final", timeout_ms=FINAL_TIMEOUT_MS)
            except ClientError as error:
                raise _meaning_of(error) from error
        if not receipt.final:
            raise NotNow("committed, and not final in time", ASK_AGAIN_S)
        return Receipt(receipt.index, receipt.height, receipt.block_time_ms, receipt.duplicate)


def _meaning_of(error: ClientError) -> NotNow | TurnedAway | ClientError:
    """What a refusal means to a device; what it should never meet stays what it is."""
    if isinstance(error, RejectedStatement):
        return TurnedAway(error.outcome, error.detail)
    if isinstance(error, Unavailable):
        return NotNow(str(error), error.retry_after_s or ASK_AGAIN_S, error.missing_authorities)
    if isinstance(error, Overloaded) or (isinstance(error, ProblemError) and error.status >= 500):
        return NotNow(str(error), error.retry_after_s or ASK_AGAIN_S)
    if isinstance(error, Unreachable):
        return NotNow(str(error), ASK_AGAIN_S)
    return error

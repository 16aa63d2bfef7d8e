"""The way from a device to the ledger: one gateway of the side on whose ground the device stands, over HTTP or gRPC.

Over HTTP nothing is tried again here: the device does that, from its outbox, and so every refusal is seen and counted.
The gRPC client sends again by itself until it is answered; the outbox stands behind it for when the device loses power.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from api.client import AsyncClient, ClientError, Overloaded, ProblemError, RejectedStatement, Unavailable, Unreachable
from api.grpc_client import DeviceClient
from ledger.statement import Statement
from nodes.demo.delivery import NotNow, Receipt, TurnedAway

FINAL_TIMEOUT_MS: Final = 10_000
ASK_AGAIN_S: Final = 0.5
SENT_AT_ONCE_MAX: Final = 16


class HttpOffice:
    """`POST /v1/statements?wait=final`. `client` must not retry."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._places = asyncio.Semaphore(SENT_AT_ONCE_MAX)

    async def deliver(self, statement: Statement, leaving: Callable[[], None]) -> Receipt:
        async with self._places:
            leaving()
            try:
                receipt = await self._client.submit(statement.raw, wait="final", timeout_ms=FINAL_TIMEOUT_MS)
            except ClientError as error:
                raise _meaning_of(error) from error
        if not receipt.final:
            raise NotNow("committed, and not final in time", ASK_AGAIN_S)
        return Receipt(receipt.index, receipt.height, receipt.block_time_ms, receipt.duplicate)


class GrpcOffice:
    """One device's own stream to a gateway."""

    def __init__(self, client: DeviceClient) -> None:
        self._client = client

    async def deliver(self, statement: Statement, leaving: Callable[[], None]) -> Receipt:
        leaving()
        try:
            submission = await self._client.submit(statement.raw)
            receipt = await asyncio.wait_for(submission.final(), FINAL_TIMEOUT_MS / 1000)
        except TimeoutError as error:
            raise NotNow("no answer on the stream yet", ASK_AGAIN_S) from error
        except ClientError as error:
            raise _meaning_of(error) from error
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

"""What a validator answers its gateways, message by message."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from api.proto import validator_pb2
from nodes.service import PAGE_MAX_BYTES, ValidatorService


def test_evidence_that_fits_no_single_message_is_given_in_several_each_bundle_once() -> None:
    size_bytes = PAGE_MAX_BYTES // 5
    # In the order of their files, which is not that of their ids.
    kept = [validator_pb2.EvidenceBundle(id=f"{each:064x}", bundle=bytes(size_bytes)) for each in (5, 2, 9, 1, 7, 3)]

    async def admit(_: object) -> None:
        """Everybody."""

    service: Any = SimpleNamespace(_admit=admit, _status=SimpleNamespace(evidence=lambda: kept))

    async def asked() -> list[list[str]]:
        messages: list[list[str]] = []
        for _ in kept:
            after = messages[-1][-1] if messages else ""
            reply = await ValidatorService.GetEvidence(service, validator_pb2.EvidenceQuery(after=after), None)
            messages.append([each.id for each in reply.bundles])
            if not reply.more:
                break
        return messages

    messages = asyncio.run(asked())
    assert [name for message in messages for name in message] == sorted(each.id for each in kept)
    assert [len(message) for message in messages] == [2, 2, 2]

"""What is said on one submit stream, and how an answer of execution or of the queue goes over the wire."""

from __future__ import annotations

import asyncio
import collections

from api.proto import validator_pb2
from ledger.errors import Malformed
from nodes.execution import Accepted, Rejected, Unparsable
from nodes.proposing import Unordered

REPLY_MAX_RESULTS = 1024
DETAIL_MAX_CHARS = 500
REASON = validator_pb2.Refused.Reason


class Replies:
    """What is to be said on one submit stream."""

    def __init__(self) -> None:
        self._results: collections.deque[validator_pb2.Result] = collections.deque()
        self.wake = asyncio.Event()
        self.unanswered = 0
        self.ended = False

    def put(self, result: validator_pb2.Result) -> None:
        self._results.append(result)
        self.unanswered -= 1
        self.wake.set()

    def take(self) -> validator_pb2.SubmitReply:
        reply = validator_pb2.SubmitReply()
        while self._results and len(reply.results) < REPLY_MAX_RESULTS:
            reply.results.append(self._results.popleft())
        return reply


def to_result(tag: int, result: object) -> validator_pb2.Result:
    """An answer of execution or of the queue, as it goes over the wire."""
    if isinstance(result, Accepted):
        accepted = validator_pb2.Accepted(
            index=result.index, height=result.height, block_time_ms=result.block_time_ms, duplicate=result.duplicate
        )
        return validator_pb2.Result(tag=tag, accepted=accepted)
    if isinstance(result, Rejected):
        # The name of a field that no schema knows is as long as its sender likes: a reply of many must stay a message.
        detail = (result.detail or "")[:DETAIL_MAX_CHARS]
        rejected = validator_pb2.Rejected(code=int(result.outcome), name=result.outcome.fact, detail=detail)
        return validator_pb2.Result(tag=tag, rejected=rejected)
    if isinstance(result, Unordered):
        refused = validator_pb2.Refused(
            reason=REASON.OVERLOADED if result.overloaded else REASON.UNAVAILABLE,
            code="overloaded" if result.overloaded else "unavailable",
            detail=result.detail,
            retry_after_ms=result.retry_after_ms,
            missing_authorities=result.missing_authorities,
        )
        return validator_pb2.Result(tag=tag, refused=refused)
    if isinstance(result, Unparsable):
        return malformed(tag, result.error)
    raise TypeError(f"no answer: {result!r}")


def malformed(tag: int, error: Malformed) -> validator_pb2.Result:
    refused = validator_pb2.Refused(reason=REASON.MALFORMED, code=error.code, detail=str(error))
    return validator_pb2.Result(tag=tag, refused=refused)

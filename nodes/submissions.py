"""What becomes of the statements that gateways hand in, until they are ordered or refused.

Promises: each is answered once on the stream it came by: at once if its bytes or its signature are bad or it is on the
log already, when it is executed here, or within a bounded time that no order can be reached. One whose key nobody here
knows is not ordered; its enrolment may be on its way, so it is looked at again for a moment.

Does not: check signatures (`nodes.checking`), propose (`nodes.proposing`), or know who is asking (`nodes.service`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from functools import partial

import structlog

from api.proto import validator_pb2
from contracts.outcome import Outcome
from contracts.registry import participant_key
from ledger.chain import Chain
from ledger.errors import Malformed
from ledger.statement import MAX_STATEMENT_BYTES
from nodes.checking import Checked, SignatureChecks
from nodes.execution import Accepted, Rejected
from nodes.metrics import Metrics
from nodes.proposing import Proposals, Unordered
from nodes.rejections import RejectionLimits
from nodes.replies import REASON, Replies, malformed, to_result

MAX_ITEMS = 4096
MAX_UNANSWERED = 32_768
# A statement of an unknown key is looked at so often, so long apart, before it is refused; so many may wait at once.
KEY_LOOK_S = 0.2
KEY_LOOKS_MAX = 4
LOOKING_MAX_STATEMENTS = 1024


class AnsweredStream:
    """The answers to one stream of statements. Whoever begins one closes it, however it ends."""

    def __init__(self, replies: Replies, reader: asyncio.Task[None]) -> None:
        self._replies = replies
        self._reader = reader

    async def next(self) -> validator_pb2.SubmitReply | None:
        """The next answers; None when what came in has ended and all of it is answered."""
        replies = self._replies
        while not (reply := replies.take()).results:
            if replies.ended and replies.unanswered <= 0:
                return None
            await replies.wake.wait()
            replies.wake.clear()
        return reply

    def close(self) -> None:
        self._reader.cancel()


class Submissions:
    """Takes streams of statements; `readiness` says whether this validator is up to date, and what it waits for."""

    def __init__(
        self,
        chain: Chain,
        checks: SignatureChecks,
        proposals: Proposals,
        rejections: RejectionLimits,
        metrics: Metrics,
        readiness: Callable[[], tuple[bool, str]],
    ) -> None:
        self._chain = chain
        self._checks = checks
        self._proposals = proposals
        self._rejections = rejections
        self._metrics = metrics
        self._readiness = readiness
        self._log = structlog.get_logger().bind(part="service")
        self._looking = 0

    def stream(self, requests: AsyncIterator[validator_pb2.SubmitRequest]) -> AnsweredStream:
        """Begin to take what comes in."""
        replies = Replies()
        return AnsweredStream(replies, asyncio.create_task(self._read(requests, replies)))

    async def _read(self, requests: AsyncIterator[validator_pb2.SubmitRequest], replies: Replies) -> None:
        try:
            async for request in requests:
                items = list(request.items)
                replies.unanswered += len(items)
                self._start(self._admit_items(items, replies), replies)
        except asyncio.CancelledError:
            raise
        except Exception:
            self._log.error("submit_stream_failed", exc_info=True)
        finally:
            replies.ended = True
            replies.wake.set()

    def _admit_items(
        self, items: list[validator_pb2.SubmitRequest.Item], replies: Replies
    ) -> list[tuple[int, Checked]]:
        """Begin to check those that are within the limits; answer the others."""
        within = []
        for position, item in enumerate(items):
            if len(item.statement) > MAX_STATEMENT_BYTES:
                detail = f"statement is too large: at most {MAX_STATEMENT_BYTES} bytes, got {len(item.statement)}"
                replies.put(malformed(item.tag, Malformed("too_large", detail)))
            elif position >= MAX_ITEMS or replies.unanswered > MAX_UNANSWERED:
                self._metrics.refused.labels("overloaded").inc()
                replies.put(to_result(item.tag, Unordered(True, "too many statements on one stream", 500)))
            else:
                within.append(item)
        checked = self._checks.expect(item.statement for item in within)
        return list(zip((item.tag for item in within), checked, strict=True))

    def _start(self, admitted: list[tuple[int, Checked]], replies: Replies, looked: int = 0) -> None:
        """Go on with each as soon as it is checked; those that one thread checks in one go come back in one go."""
        together: dict[Future[None], list[tuple[int, Checked]]] = {}
        for tag, checked in admitted:
            future = checked.future
            if future is None or future.done():
                self._checked(tag, checked, replies, looked)
            else:
                together.setdefault(future, []).append((tag, checked))
        loop = asyncio.get_running_loop()
        for future, part in together.items():
            future.add_done_callback(partial(self._call_back, loop, part, replies, looked))

    def _call_back(
        self,
        loop: asyncio.AbstractEventLoop,
        part: list[tuple[int, Checked]],
        replies: Replies,
        looked: int,
        _: object,
    ) -> None:
        """In the thread that checked."""
        loop.call_soon_threadsafe(self._checked_together, part, replies, looked)

    def _checked_together(self, part: list[tuple[int, Checked]], replies: Replies, looked: int) -> None:
        for tag, checked in part:
            self._checked(tag, checked, replies, looked)
        # The future keeps what it called, and each of these keeps the future: nobody would let go of the statements.
        part.clear()

    def _checked(self, tag: int, checked: Checked, replies: Replies, looked: int) -> None:
        """Parsed, and the signature checked if the key is known: answer what is bad, order the rest."""
        try:
            self._go_on(tag, checked, replies, looked)
        except Exception:
            # Whatever it was, it is a fault here: the sender is answered, and sends it again.
            self._log.error("submission_failed", exc_info=True)
            replies.put(to_result(tag, Unordered(False, "this validator could not take it", 1000)))

    def _go_on(self, tag: int, checked: Checked, replies: Replies, looked: int) -> None:
        if checked.malformed is not None:
            self._checks.forget([checked.raw])
            self._metrics.refused.labels("malformed").inc()
            replies.put(malformed(tag, checked.malformed))
            return
        if checked.untrue is not None:
            self._checks.forget([checked.raw])
            self._metrics.refused.labels("untrue").inc()
            refused = validator_pb2.Refused(reason=REASON.UNTRUE, code=checked.untrue.code, detail=str(checked.untrue))
            replies.put(validator_pb2.Result(tag=tag, refused=refused))
            return
        if checked.statement is None:
            raise RuntimeError("the thread that checks signatures failed")
        index = self._chain.find(checked.statement.id)
        # The indexes are written a moment before the new head is published: until then it is only on its way.
        if index is not None and index < self._chain.size:
            record = self._chain.block_of(index)
            self._checks.forget([checked.raw])
            replies.put(to_result(tag, Accepted(index, record.height, record.time_ms, True)))
            return
        if index is None and checked.verified_kid is None:
            self._unknown_key(tag, checked, replies, looked)
            return
        self._order(tag, checked.raw, checked.statement.iss, replies)

    def _order(self, tag: int, raw: bytes, issuer: str, replies: Replies) -> None:
        """Hand in a statement whose signature holds, unless too much of its issuer's was rejected lately."""
        wait_ms = self._rejections.wait_ms(issuer)
        if wait_ms:
            self._metrics.refused.labels("too_many_rejections").inc()
            detail = f"too many statements of {issuer} were rejected: send it again later"
            replies.put(to_result(tag, Unordered(True, detail, wait_ms)))
            return

        def answered(result: object) -> None:
            self._rejections.ended(issuer)
            replies.put(to_result(tag, result))

        self._rejections.begun(issuer)
        self._proposals.submit(raw, answered)

    def _unknown_key(self, tag: int, checked: Checked, replies: Replies, looked: int) -> None:
        """Nobody we know signed this, so its signature could not be checked, and it is not ordered: what is ordered
        stays on every disk. Its enrolment may be on its way, though: look again for a moment.
        """
        self._checks.forget([checked.raw])
        if looked < KEY_LOOKS_MAX and self._looking < LOOKING_MAX_STATEMENTS:
            self._looking += 1
            asyncio.get_running_loop().call_later(KEY_LOOK_S, self._look_again, tag, checked.raw, replies, looked + 1)
            return
        ready, state = self._readiness()
        if not ready:
            # What we have not executed yet may well enrol it.
            replies.put(to_result(tag, Unordered(False, state, 2000)))
            return
        statement = checked.statement
        known = statement is not None and self._chain.state.get(participant_key(statement.iss)) is not None
        outcome = Outcome.KEY_UNKNOWN if known else Outcome.ISSUER_UNKNOWN
        self._metrics.refused.labels(outcome.fact).inc()
        replies.put(to_result(tag, Rejected(outcome, None)))

    def _look_again(self, tag: int, raw: bytes, replies: Replies, looked: int) -> None:
        self._looking -= 1
        self._start([(tag, self._checks.expect([raw])[0])], replies, looked)

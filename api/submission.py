"""Waiting for what becomes of statements: until each is answered or, if asked for, final; never longer than told.

Cancelling or running out of time leaves the statements on their way: they may still be ordered, and sending the same
bytes again finds out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from api.answers import DEFAULT_RETRY_AFTER_MS, Accepted, Answer, Unavailable
from api.finality import Waiting
from api.reference import Unlisted
from api.validators import ValidatorPool


class Signed(NamedTuple):
    """The bytes of a statement and its id; the hash of the envelope that must be here before it is taken; the codes in
    it that are in no reference table.
    """

    id: bytes
    raw: bytes
    envelope: bytes | None = None
    unlisted: tuple[Unlisted, ...] = ()


class Submitted(NamedTuple):
    """What became of one statement, and whether it was final when the wait was over."""

    answer: Answer
    final: bool


class Batch:
    """Statements submitted together; `wait` gives one `Submitted` for each, in order."""

    def __init__(self, pool: ValidatorPool, statements: Sequence[Signed], *, until_final: bool) -> None:
        self._pool = pool
        self._until_final = until_final
        self._answers: list[Answer | None] = [None] * len(statements)
        self._waiting: list[Waiting] = []
        self._left = len(statements)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for position, statement in enumerate(statements):
            pool.streams.submit(statement.id, statement.raw, partial(self._answered, position))
        if not statements:
            self._done.set_result(None)

    def _answered(self, position: int, answer: Answer) -> None:
        self._answers[position] = answer
        if self._until_final and isinstance(answer, Accepted):
            self._waiting.append(self._pool.finality.when_final(answer.index, self._one_less))
        else:
            self._one_less()

    def _one_less(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._done.done():
            self._done.set_result(None)

    def give_up(self) -> None:
        """Ends the wait now: the gateway is stopping."""
        if not self._done.done():
            self._done.set_result(None)

    async def wait(self, timeout_s: float) -> list[Submitted]:
        """Waits, at most `timeout_s`."""
        self._pool.waits.add(self)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._done
        finally:
            self._pool.waits.discard(self)
            for waiting in self._waiting:
                waiting.cancel()
        final_size = self._pool.finality.size
        submitted = []
        for answer in self._answers:
            if answer is None:
                answer = self._unanswered(timeout_s)
            submitted.append(Submitted(answer, isinstance(answer, Accepted) and answer.index < final_size))
        return submitted

    def _unanswered(self, timeout_s: float) -> Unavailable:
        if self._pool.stopping:
            return Unavailable("shutting_down", "this gateway is stopping", DEFAULT_RETRY_AFTER_MS)
        missing = self._pool.missing_authorities()
        if missing:
            detail = f"waiting for {', '.join(missing)}: nothing becomes committed until it is back"
            return Unavailable("authority_unreachable", detail, DEFAULT_RETRY_AFTER_MS, missing)
        return Unavailable("not_ordered_in_time", f"no answer within {timeout_s:g} s", DEFAULT_RETRY_AFTER_MS)

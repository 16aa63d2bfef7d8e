"""Proofs and receipts that a gateway has given: the same bytes again, without asking a validator.

A proof of a final statement verifies for ever by the policy of its time, and so do its receipts: what was said once can
be said again. Both are asked for anew when the membership or a log key has changed: by the policy that follows from
that, what was signed before need not hold.

Promises: bounded in bytes, the longest unused go first. Does not: decide who may have one; that is decided each time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from api.proto import validator_pb2 as wire

GIVEN_MAX_BYTES = 32 * 1024 * 1024
# Of an object and its keys, beside the bytes in it.
OVERHEAD_BYTES = 512


Reply = TypeVar("Reply", wire.ProofReply, wire.ReceiptsReply)


class GivenProofs(Generic[Reply]):
    """Answers about final statements by the id of their statement, and whatever else was asked."""

    def __init__(self, max_bytes: int = GIVEN_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._replies: OrderedDict[bytes, Reply] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, asked: bytes) -> Reply | None:
        reply = self._replies.get(asked)
        if reply is not None:
            self._replies.move_to_end(asked)
        return reply

    def keep(self, asked: bytes, reply: Reply) -> None:
        """Remember a reply that gives something: any other may be different the next time."""
        if not _given(reply) or asked in self._replies:
            return
        self._replies[asked] = reply
        self.size_bytes += _size(reply)
        while self.size_bytes > self._max_bytes:
            _, gone = self._replies.popitem(last=False)
            self.size_bytes -= _size(gone)


def _given(reply: wire.ProofReply | wire.ReceiptsReply) -> bytes:
    return reply.proof if isinstance(reply, wire.ProofReply) else reply.document


def _size(reply: wire.ProofReply | wire.ReceiptsReply) -> int:
    return len(_given(reply)) + len(reply.statement) + OVERHEAD_BYTES

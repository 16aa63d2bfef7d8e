"""What becomes of a statement, in the gateway's own terms: neither HTTP nor protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from api.problems import Problem, of_malformed, of_rejection, of_untrue
from api.proto import validator_pb2 as wire


@dataclass(frozen=True, slots=True)
class Accepted:
    """On the log at `index`. `duplicate`: it was already, and nothing happened twice."""

    index: int
    height: int
    block_time_ms: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """The contracts said no; nothing was appended. `detail`, where there is one: which field, expected, got."""

    code: int
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that are no statement, or a claim that does not hold. Sending it again changes nothing."""

    malformed: bool
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Not ordered, or not known to be: the same bytes are to be sent again."""

    code: str
    detail: str
    retry_after_ms: int
    missing_authorities: tuple[str, ...] = ()


Answer: TypeAlias = Accepted | Rejected | Refused | Unavailable

DEFAULT_RETRY_AFTER_MS = 1_000
# How a validator begins to say that a read was not confirmed: by this a gateway knows it from one that is not there.
NOT_CONFIRMED = "read not confirmed: "


def answer_of(result: wire.Result) -> Answer:
    """Reads a validator's result."""
    which = result.WhichOneof("outcome")
    if which == "accepted":
        accepted = result.accepted
        return Accepted(accepted.index, accepted.height, accepted.block_time_ms, accepted.duplicate)
    if which == "rejected":
        return Rejected(result.rejected.code, result.rejected.name, result.rejected.detail)
    if which != "refused":
        return Unavailable("validators_unreachable", "a validator gave no outcome", DEFAULT_RETRY_AFTER_MS)
    refused = result.refused
    reason = refused.reason
    if reason == wire.Refused.MALFORMED or reason == wire.Refused.UNTRUE:
        # An error of `ledger` says its code before its text; here the code stands beside it.
        detail = refused.detail.removeprefix(f"{refused.code}: ")
        return Refused(reason == wire.Refused.MALFORMED, refused.code, detail)
    missing = tuple(refused.missing_authorities)
    retry_after_ms = refused.retry_after_ms or DEFAULT_RETRY_AFTER_MS
    if reason == wire.Refused.OVERLOADED:
        return Unavailable("overloaded", refused.detail, retry_after_ms)
    if missing:
        detail = refused.detail or f"waiting for {', '.join(missing)}: nothing becomes committed until it is back"
        return Unavailable("authority_unreachable", detail, retry_after_ms, missing)
    return Unavailable("not_ordered_in_time", refused.detail, retry_after_ms)


def problem_of(answer: Answer) -> Problem | None:
    """The problem an answer is; None when it is none."""
    if isinstance(answer, Accepted):
        return None
    if isinstance(answer, Rejected):
        return of_rejection(answer.code, answer.name, answer.detail)
    if isinstance(answer, Refused):
        return (of_malformed if answer.malformed else of_untrue)(answer.code, answer.detail)
    return Problem(
        answer.code,
        answer.detail,
        retry_after_ms=answer.retry_after_ms,
        missing_authorities=answer.missing_authorities,
    )

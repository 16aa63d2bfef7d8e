"""What an answer to a gateway says on the wire."""

from __future__ import annotations

from api.proto import validator_pb2
from contracts.outcome import Outcome
from nodes.execution import Rejected
from nodes.replies import DETAIL_MAX_CHARS, REPLY_MAX_RESULTS, to_result


def test_a_rejection_carries_what_the_contracts_said() -> None:
    detail = "gross_mass_g: expected 1 to 100000000, got 0"
    rejected = to_result(7, Rejected(Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, detail)).rejected
    assert (rejected.code, rejected.name, rejected.detail) == (108, "payload_field_out_of_limits", detail)
    assert to_result(7, Rejected(Outcome.KEY_REVOKED, None)).rejected.detail == ""


def test_a_long_name_of_a_field_makes_no_long_answer() -> None:
    name = "\U0001f69a" * 8_000
    result = to_result(1, Rejected(Outcome.PAYLOAD_FIELD_UNKNOWN, f"{name}: expected only place"))
    assert result.rejected.detail == name[:DETAIL_MAX_CHARS]
    reply = validator_pb2.SubmitReply(results=[result] * REPLY_MAX_RESULTS)
    assert reply.ByteSize() < 4 * 1024 * 1024

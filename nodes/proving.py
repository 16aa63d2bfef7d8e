"""The part of a validator's service that hands out what verifies offline: proofs, receipts, status proofs, passes.

Everything here is of a checkpoint that is final and whose note is on record. Who may see it, the gateway decides: that
is why each answer about a statement carries the statement.
"""

from __future__ import annotations

from typing import Any

import grpc

from api.proto import validator_pb2
from contracts.identifiers import IdentifierError, parse_mrn
from ledger.chain import Chain
from ledger.checkpoint import parse_checkpoint
from ledger.note import parse_note
from ledger.proof import Proof, format_proof
from ledger.receipt import format_transparent
from ledger.status_proof import MAX_STATUS_KEY_BYTES
from nodes.attesting import Attesting, NotEnough, Refused
from nodes.final_state import FinalState, NotFinal
from nodes.further import Further

MAX_AUTHORITY_CHARS = 64


class Proving:
    """What is known here that can be proven. Belongs to the event loop."""

    def __init__(
        self, chain: Chain, final_state: FinalState, attesting: Attesting, further: Further | None = None
    ) -> None:
        self._chain = chain
        self._final_state = final_state
        self._attesting = attesting
        self._further = further

    def proof(self, index: int, *, further: bool = False) -> validator_pb2.ProofReply:
        """The tlog-proof of the statement at an index; `further`: under a checkpoint with further cosignatures."""
        raw = self._chain.entry(index)
        final = self._chain.cosigned_at_or_after(index + 1)
        if final is None:
            return validator_pb2.ProofReply(found=True, final=False, statement=raw)
        if further:
            final = None if self._further is None else self._further.at_or_after(index + 1)
            if final is None:
                return validator_pb2.ProofReply(found=True, final=True, statement=raw)
        size, note = final
        proof = format_proof(Proof(index, tuple(self._chain.inclusion_proof(index, size)), note, None))
        return validator_pb2.ProofReply(found=True, final=True, proof=proof, statement=raw)

    def further_reply(self) -> validator_pb2.FurtherReply:
        """How the further cosigners are, and the newest checkpoint of theirs."""
        if self._further is None:
            return validator_pb2.FurtherReply()
        reply = validator_pb2.FurtherReply(asked=True)
        newest = self._further.newest
        if newest is not None:
            reply.size, reply.checkpoint = newest
        for each in self._further.cosigners.values():
            reply.cosigners.append(
                validator_pb2.FurtherCosigner(name=each.name, size=each.size, time_s=each.time_s, trouble=each.trouble)
            )
        return reply

    async def receipts(self, index: int, authority: str) -> validator_pb2.ReceiptsReply:
        """The statement at an index with its receipts, or (`authority`) the receipt of one alone."""
        raw = self._chain.entry(index)
        reply = validator_pb2.ReceiptsReply(found=True, statement=raw)
        final = self._chain.cosigned_at_or_after(index + 1)
        if final is None:
            return reply
        reply.final = True
        try:
            checkpoint = parse_checkpoint(parse_note(final[1]).text)
            receipts = await self._attesting.receipts(index, checkpoint, authority)
            reply.document = receipts[0].encode() if authority else format_transparent(raw, receipts)
        except NotEnough as error:
            reply.detail = str(error)
            reply.missing_authorities.extend(error.missing)
        except Refused as error:
            reply.refused, reply.detail = error.code, str(error)
        return reply

    async def status(self, key: str) -> validator_pb2.StatusProofReply:
        """A record of the newest final state, or that there is none; size 0 if no final state is at hand."""
        try:
            final = await self._final_state.latest()
        except NotFinal:
            return validator_pb2.StatusProofReply(size=0)
        proof = final.prove(key)
        return validator_pb2.StatusProofReply(size=final.size, proof=proof.encode(), present=proof.value is not None)

    async def crossing_pass(self, mrn: str) -> validator_pb2.PassReply:
        """A pass of a movement, or why there is none."""
        try:
            crossing = await self._attesting.crossing_pass(mrn)
        except NotEnough as error:
            return validator_pb2.PassReply(detail=str(error), missing_authorities=error.missing)
        except NotFinal as error:
            return validator_pb2.PassReply(refused="not_final", detail=str(error))
        except Refused as error:
            return validator_pb2.PassReply(refused=error.code, detail=str(error))
        return validator_pb2.PassReply(crossing_pass=crossing.encode())


async def refuse_unless_key(key: str, context: Any) -> None:
    """End a call that asks for a key which no record can have."""
    if not 1 <= len(key.encode()) <= MAX_STATUS_KEY_BYTES:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"key: expected 1 to {MAX_STATUS_KEY_BYTES} bytes")


async def refuse_unless_mrn(mrn: str, context: Any) -> None:
    """End a call that asks for a movement which there cannot be."""
    try:
        parse_mrn(mrn[:MAX_AUTHORITY_CHARS])
    except IdentifierError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

"""What the ledger's state says of one record, or that it has none, proven against a cosigned checkpoint.

    ["comity.status.v1", key, value, state proof, block record, path, checkpoint note]      deterministic CBOR

`value` is the record's bytes, or null: there is none. The state proof (`ledger.stateproof`) leads from it to the state
root in the block record; the path (RFC 6962, hashes end to end) leads from the block record to the checkpoint's root.

Promises: one spelling. Verified in this order: the checkpoint under the policy, the block record as *the last entry* of
its tree, the record under that block's state root. The last: with any earlier block an old state could be shown under a
fresh checkpoint, as if a suspension had not happened. So the state is as new as the cosignatures say.

Does not: say whether there is a newer checkpoint, nor read the record; `contracts` knows what its bytes mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import cbor
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.entry import MAX_BLOCK_RECORD_BYTES, BlockRecord
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from ledger.note import MAX_NOTE_BYTES, parse_note
from ledger.policy import Policy, verify_checkpoint
from ledger.stateproof import MAX_STATE_PROOF_BYTES, StateProof, parse_state_proof, verify_state_proof

MAX_STATUS_KEY_BYTES = 512
MAX_STATUS_VALUE_BYTES = 256 * 1024
MAX_STATUS_HASHES = 63
MAX_STATUS_PROOF_BYTES = (
    MAX_STATUS_KEY_BYTES
    + MAX_STATUS_VALUE_BYTES
    + MAX_STATE_PROOF_BYTES
    + MAX_BLOCK_RECORD_BYTES
    + MAX_STATUS_HASHES * HASH_BYTES
    + MAX_NOTE_BYTES
    + 64
)
STATUS_TYPE = "comity.status.v1"
# How every status proof begins: an array of seven, and the type.
STATUS_START = cbor.head(4, 7) + cbor.encode(STATUS_TYPE)


@dataclass(frozen=True, slots=True)
class StatusProof:
    """A record of the state, or that there is none, as of a checkpoint."""

    key: str
    value: bytes | None
    state_proof: StateProof
    block: BlockRecord
    hashes: tuple[bytes, ...]  # from the block record to the root, its sibling first
    checkpoint_note: bytes

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as the proof states it, not verified."""
        return parse_checkpoint(parse_note(self.checkpoint_note).text)

    def encode(self) -> bytes:
        """Return the proof as a file. Misuse if it breaks a rule of the format."""
        data = cbor.encode(
            [
                STATUS_TYPE,
                self.key,
                self.value,
                self.state_proof.encode(),
                self.block.encode(),
                b"".join(self.hashes),
                self.checkpoint_note,
            ]
        )
        try:
            parse_status_proof(data)
        except Malformed as error:
            raise Misuse(f"no such status proof can be: {error}") from error
        return data


def parse_status_proof(data: bytes) -> StatusProof:
    """Return the proof that the file is; Malformed unless it is its one spelling. Nothing is verified."""
    if len(data) > MAX_STATUS_PROOF_BYTES:
        raise Malformed(
            "too_large", f"status proof is too large: expected at most {MAX_STATUS_PROOF_BYTES} bytes, got {len(data)}"
        )
    items = cbor.decode(data)
    if type(items) is not list or len(items) != 7 or items[0] != STATUS_TYPE:
        raise Malformed("bad_status_proof", f"status proof must be an array of seven that begins with {STATUS_TYPE}")
    _, key, value, state_proof, block, path, note = items
    if type(key) is not str or not 1 <= len(key.encode()) <= MAX_STATUS_KEY_BYTES:
        raise Malformed("bad_status_proof", f"key must be text of 1 to {MAX_STATUS_KEY_BYTES} bytes")
    if value is not None and (type(value) is not bytes or len(value) > MAX_STATUS_VALUE_BYTES):
        raise Malformed("bad_status_proof", f"value must be null or at most {MAX_STATUS_VALUE_BYTES} bytes")
    if type(state_proof) is not bytes or type(block) is not bytes or type(note) is not bytes:
        raise Malformed("bad_status_proof", "state proof, block record and checkpoint must be byte strings")
    if type(path) is not bytes or len(path) % HASH_BYTES or len(path) > MAX_STATUS_HASHES * HASH_BYTES:
        raise Malformed("bad_status_proof", f"path must be at most {MAX_STATUS_HASHES} hashes of {HASH_BYTES} bytes")
    parse_checkpoint(parse_note(note).text)
    hashes = tuple(path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES))
    return StatusProof(key, value, parse_state_proof(state_proof), BlockRecord.decode(block), hashes, note)


def verify_block_record(proof: StatusProof, checkpoint: Checkpoint) -> None:
    """Raise Untrue unless the block record is the last entry of the checkpoint's tree."""
    index = proof.block.first + proof.block.count
    if index != checkpoint.size - 1:
        raise Untrue(
            "bad_status_proof",
            f"the block record is not the last entry of the checkpoint: expected entry {checkpoint.size - 1}, "
            f"got {index}: the state may be older than the checkpoint",
        )
    verify_inclusion(index, checkpoint.size, leaf_hash(proof.block.encode()), proof.hashes, checkpoint.root)


def verify_status_proof(proof: StatusProof, policy: Policy) -> Checkpoint:
    """Return the checkpoint as of which the state has the record, or has none; Untrue otherwise."""
    checkpoint = verify_checkpoint(proof.checkpoint_note, policy)
    verify_block_record(proof, checkpoint)
    verify_state_proof(proof.block.state_root, proof.key, proof.value, proof.state_proof)
    return checkpoint

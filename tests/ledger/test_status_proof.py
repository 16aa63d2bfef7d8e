"""Status proofs: a record as it stands, or none, as of a cosigned checkpoint, and never an older one under a newer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import merkle
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, Misuse, Untrue
from ledger.status_proof import (
    MAX_STATUS_PROOF_BYTES,
    STATUS_START,
    StatusProof,
    parse_status_proof,
    verify_status_proof,
)
from tests.contracts import corridor as c
from tests.contracts.proving import BEFORE, MOVEMENT, PARSED, Proven, started
from tests.ledger import corridor
from tests.ledger.mutations import mutations, survivors

PRESENT = started().status(MOVEMENT)
ABSENT = started().status("escort/26KZCKKCQSXV2FGVA0")


@pytest.mark.parametrize("proof", [PRESENT, ABSENT], ids=["a record", "no record"])
def test_it_verifies_under_the_policy_as_of_its_checkpoint(proof: StatusProof) -> None:
    parsed = parse_status_proof(proof.encode())
    assert parsed == proof
    assert verify_status_proof(parsed, PARSED) == started().checkpoint


def test_every_file_begins_in_the_same_way() -> None:
    assert PRESENT.encode().startswith(STATUS_START)
    assert STATUS_START == b"\x87\x70comity.status.v1"


def test_every_record_of_a_state_and_what_it_lacks_can_be_proven() -> None:
    ledger = c.at("handed_over")
    proven = Proven(ledger.state.records)
    for key in [*ledger.state.records, *(f"{key}x" for key in list(ledger.state.records)[:20])]:
        proof = proven.status(key)
        assert proof.value == ledger.state.records.get(key)
        verify_status_proof(proof, PARSED)


OTHER = started().status("registry/kz/truck/t-001")
ATTACKS = {
    "another value": replace(PRESENT, value=b"another"),
    "no value where there is one": replace(PRESENT, value=None),
    "a value where there is none": replace(ABSENT, value=PRESENT.value),
    "the value of another record": replace(PRESENT, value=OTHER.value),
    "another key": replace(PRESENT, key=OTHER.key),
    "the state proof of another record": replace(PRESENT, state_proof=OTHER.state_proof),
    "another state root": replace(PRESENT, block=replace(PRESENT.block, state_root=bytes(32))),
    "another time": replace(PRESENT, block=replace(PRESENT.block, time_ms=PRESENT.block.time_ms + 1)),
    "another height": replace(PRESENT, block=replace(PRESENT.block, height=8)),
    "a block further back": replace(PRESENT, block=replace(PRESENT.block, first=1)),
    "a hash less": replace(PRESENT, hashes=PRESENT.hashes[1:]),
    "a hash more": replace(PRESENT, hashes=(*PRESENT.hashes, bytes(32))),
    "one side alone": replace(PRESENT, checkpoint_note=corridor.cosigned(started().checkpoint, "kz-kgd-1", "kz-kgd-2")),
    "another log": replace(
        PRESENT, checkpoint_note=corridor.cosigned(started().checkpoint, "kz-kgd-1", "cn-gacc-1", logs=("cn",))
    ),
    "another checkpoint": replace(
        PRESENT,
        checkpoint_note=corridor.cosigned(Checkpoint(corridor.ORIGIN, 11, bytes(32)), "kz-kgd-1", "cn-gacc-1"),
    ),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_nothing_in_it_can_be_put_in_the_place_of_another(what: str) -> None:
    with pytest.raises(Untrue):
        verify_status_proof(ATTACKS[what], PARSED)


def test_an_old_state_cannot_be_shown_under_a_newer_checkpoint() -> None:
    """The block record is on the log, the path to it is right, both sides cosigned: and a suspension came after it."""
    old = started()
    leaves = [*old.leaves, merkle.leaf_hash(b"suspended since")]
    size = len(leaves)

    def read(*_: int) -> bytes:
        return b"".join(leaves)

    newer = Checkpoint(corridor.ORIGIN, size, merkle.root_from_tiles(size, read))
    stale = replace(
        PRESENT,
        hashes=tuple(merkle.inclusion_proof(BEFORE, size, read)),
        checkpoint_note=corridor.cosigned(newer, "kz-kgd-1", "cn-gacc-1"),
    )
    merkle.verify_inclusion(BEFORE, size, leaves[BEFORE], stale.hashes, newer.root)
    with pytest.raises(Untrue, match="not the last entry"):
        verify_status_proof(stale, PARSED)


def test_every_altered_byte_every_length_and_every_repetition_is_refused() -> None:
    # Without the line of the other authority's log key, which is of nobody whom this policy knows.
    note = corridor.cosigned(started().checkpoint, "kz-kgd-1", "cn-gacc-1", logs=("kz",))
    good = replace(PRESENT, checkpoint_note=note).encode()
    assert survivors(good, lambda altered: verify_status_proof(parse_status_proof(altered), PARSED), step=2) == []


def test_what_parses_is_its_one_spelling() -> None:
    for _, altered in mutations(ABSENT.encode(), step=3):
        try:
            found = parse_status_proof(altered)
        except Malformed:
            continue
        assert found.encode() == altered


def test_what_breaks_a_rule_of_the_format_is_never_made() -> None:
    for broken in (
        replace(PRESENT, key=""),
        replace(PRESENT, hashes=(b"short",)),
        replace(PRESENT, hashes=(bytes(32),) * 64),
    ):
        with pytest.raises(Misuse):
            broken.encode()


def test_what_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Malformed, match="too_large"):
        parse_status_proof(bytes(MAX_STATUS_PROOF_BYTES + 1))

"""Proofs verify offline with a policy and a leaf, and with nothing changed anywhere in them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import proof as proofs
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import leaf_hash
from ledger.policy import parse_policy
from ledger.proof import Proof, format_proof, parse_proof, verify_proof
from tests.ledger.corridor import CHECKPOINT, LEAVES, ORIGIN, PROOF, STATEMENT, cosigned, policy_text

KZ = parse_policy(policy_text("kz"))
GOOD = format_proof(PROOF)


def test_a_proof_verifies_under_the_policy_of_either_authority() -> None:
    for country in ("kz", "cn"):
        assert verify_proof(parse_proof(GOOD), STATEMENT.id, parse_policy(policy_text(country))) == CHECKPOINT
    assert PROOF.checkpoint == CHECKPOINT


def test_a_proof_reads_as_the_specification_lays_it_out() -> None:
    lines = GOOD.decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "index 5"
    assert lines[2 + len(PROOF.hashes)] == ""
    assert lines[3 + len(PROOF.hashes)] == ORIGIN
    with_extra = format_proof(replace(PROOF, extra=b"\x00\xff"))
    assert with_extra.decode().split("\n")[1] == "extra AP8="
    assert parse_proof(with_extra).extra == b"\x00\xff"
    verify_proof(parse_proof(with_extra), STATEMENT.id, KZ)


def test_a_tree_of_one_leaf_has_a_proof_without_hashes() -> None:
    leaf = leaf_hash(b"alone")
    alone = Proof(0, (), cosigned(Checkpoint(ORIGIN, 1, leaf), "kz-kgd-1", "cn-gacc-1"))
    assert parse_proof(format_proof(alone)) == alone
    assert verify_proof(alone, leaf, KZ).size == 1


def test_every_flipped_bit_is_malformed_or_untrue() -> None:
    # A note whose every line the policy knows: lines of unknown keys are ignored, whatever they hold.
    note = cosigned(CHECKPOINT, "kz-kgd-1", "cn-gacc-2", logs=("kz",))
    good = format_proof(replace(PROOF, checkpoint_note=note))
    verify_proof(parse_proof(good), STATEMENT.id, KZ)
    for position in range(len(good) * 8):
        data = bytearray(good)
        data[position // 8] ^= 1 << position % 8
        with pytest.raises((Malformed, Untrue)):
            verify_proof(parse_proof(bytes(data)), STATEMENT.id, KZ)


def test_a_proof_cut_at_any_byte_is_malformed_or_untrue() -> None:
    for length in range(len(GOOD)):
        with pytest.raises((Malformed, Untrue)):
            verify_proof(parse_proof(GOOD[:length]), STATEMENT.id, KZ)


def test_a_proof_of_another_leaf_index_or_tree_is_untrue() -> None:
    for changed, leaf in [
        (PROOF, LEAVES[4]),
        (replace(PROOF, index=4), STATEMENT.id),
        (replace(PROOF, index=11), STATEMENT.id),
        (replace(PROOF, hashes=PROOF.hashes[:-1]), STATEMENT.id),
        (replace(PROOF, hashes=PROOF.hashes[::-1]), STATEMENT.id),
        (replace(PROOF, hashes=(*PROOF.hashes, LEAVES[0])), STATEMENT.id),
        (replace(PROOF, hashes=()), STATEMENT.id),
    ]:
        with pytest.raises(Untrue, match="bad_inclusion_proof"):
            verify_proof(changed, leaf, KZ)
    grown = cosigned(Checkpoint(ORIGIN, 100, CHECKPOINT.root), "kz-kgd-1", "cn-gacc-1")
    with pytest.raises(Untrue, match="bad_inclusion_proof"):
        verify_proof(replace(PROOF, checkpoint_note=grown), STATEMENT.id, KZ)


def test_one_authority_alone_proves_nothing() -> None:
    for signers in (("kz-kgd-1", "kz-kgd-2"), ("cn-gacc-1", "cn-gacc-2"), ()):
        with pytest.raises(Untrue, match="quorum_not_met"):
            verify_proof(replace(PROOF, checkpoint_note=cosigned(CHECKPOINT, *signers)), STATEMENT.id, KZ)


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("another version", b"proof@v1", b"proof@v2"),
        ("a space before the header", b"c2sp", b" c2sp"),
        ("a carriage return", b"index 5\n", b"index 5\r\n"),
        ("no index", b"index 5\n", b""),
        ("a leading zero", b"index 5", b"index 05"),
        ("a negative index", b"index 5", b"index -5"),
        ("two spaces", b"index 5", b"index  5"),
        ("an index of 2^63-1", b"index 5", b"index 9223372036854775807"),
        ("an index twice", b"index 5\n", b"index 5\nindex 5\n"),
        ("extra data after the index", b"index 5\n", b"index 5\nextra AA==\n"),
        ("extra data twice", b"index 5\n", b"extra AA==\nextra AA==\nindex 5\n"),
        ("empty extra data", b"index 5\n", b"extra \nindex 5\n"),
        ("extra data that is no base64", b"index 5\n", b"extra !\nindex 5\n"),
        ("extra data in loose base64", b"index 5\n", b"extra AB==\nindex 5\n"),
        ("an empty line among the hashes", b"index 5\n", b"index 5\n\n"),
        ("a hash of 31 bytes", b"index 5\n", b"index 5\n" + b"A" * 40 + b"AA==\n"),
        ("sixty-four hashes", b"index 5\n", b"index 5\n" + (b"A" * 43 + b"=\n") * 61),
        ("no empty line", b"\n\ncomity", b"\ncomity"),
        ("another empty line before the checkpoint", b"\n\ncomity", b"\n\n\ncomity"),
        ("a checkpoint with an extension", b"\n11\n", b"\n11\n11\n"),
    ],
)
def test_a_proof_is_malformed_with(what: str, old: bytes, new: bytes) -> None:
    assert old in GOOD
    with pytest.raises(Malformed):
        parse_proof(GOOD.replace(old, new, 1))


def test_the_size_of_a_proof_is_limited_before_it_is_parsed() -> None:
    with pytest.raises(Malformed, match="too_large"):
        parse_proof(bytes(proofs.MAX_PROOF_BYTES + 1))
    parse_proof(format_proof(replace(PROOF, extra=bytes(proofs.MAX_EXTRA_BYTES))))


def test_writing_a_proof_that_breaks_a_rule_is_misuse() -> None:
    for proof in (
        replace(PROOF, index=-1),
        replace(PROOF, hashes=(b"short",)),
        replace(PROOF, hashes=(bytes(32),) * 64),
        replace(PROOF, extra=b""),
        replace(PROOF, extra=bytes(proofs.MAX_EXTRA_BYTES + 1)),
        replace(PROOF, checkpoint_note=b"not a note"),
    ):
        with pytest.raises(Misuse):
            format_proof(proof)

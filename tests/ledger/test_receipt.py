"""Transparent statements: the statement as it stands on the log, and receipts that hold for it and nothing else."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from ledger import cbor
from ledger.algorithms import EDDSA, PublicKey
from ledger.attestation import kid_of
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import leaf_hash
from ledger.note import NoteSigner
from ledger.policy import parse_policy
from ledger.receipt import (
    MAX_RECEIPTS,
    MAX_TRANSPARENT_BYTES,
    Receipt,
    format_transparent,
    parse_receipt,
    parse_transparent,
    receipt_message,
    sign_receipt,
    verify_receipt,
    verify_transparent,
)
from tests.contracts.proving import PARSED, SIGNERS, started
from tests.ledger import corridor
from tests.ledger.mutations import mutations, survivors

STATEMENT = corridor.STATEMENT.raw
RECEIPTS = tuple(started().receipt(name) for name in SIGNERS)
GOOD = format_transparent(STATEMENT, RECEIPTS)
STRANGER = NoteSigner(corridor.seed("a stranger"))


def receipt_by(key: NoteSigner, name: str, origin: str = corridor.ORIGIN, root: bytes | None = None) -> Receipt:
    signature = sign_receipt(key, name, origin, root or started().checkpoint.root)
    return replace(RECEIPTS[0], signer=name, origin=origin, kid=kid_of(key.public_key), signature=signature)


def test_a_statement_with_a_receipt_of_each_authority_is_vouched_for_by_both() -> None:
    assert verify_transparent(parse_transparent(GOOD), PARSED) == SIGNERS


def test_the_statement_in_it_is_byte_for_byte_what_stands_on_the_log() -> None:
    found = parse_transparent(GOOD).statement
    assert found.raw == STATEMENT
    assert found.id == leaf_hash(STATEMENT)


def test_a_reader_that_knows_only_the_rfcs_can_verify_it() -> None:
    """By hand, from the text of RFC 9052, 9162 and 9942: no function of the format is used."""
    protected, unprotected, payload, signature = decoded(GOOD[1:])
    leaf = leaf_hash(b"\xd2" + cbor.encode([protected, {}, payload, signature]))
    signers = {kid_of(key.public_key): key.public_key for key in corridor.COSIGNERS.values()}
    for raw in unprotected[394]:
        head, open_header, detached, signed = decoded(raw[1:])
        header = decoded(head)
        assert (header[1], header[395], detached) == (-8, 1, None)
        size, index, path = decoded(open_header[396][-1][0])
        message = cbor.encode(["Signature1", head, b"", _rfc9162_root(index, size, leaf, path)])
        PublicKey.from_material(EDDSA, signers[header[4]]).verify(message, signed)


def decoded(data: bytes) -> Any:
    return cbor.decode(data)


def _rfc9162_root(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """Section 2.1.3.2, step by step."""
    fn, sn, r = index, size - 1, leaf
    for p in path:
        assert sn > 0
        if fn & 1 or fn == sn:
            r = sha256(b"\x01" + p + r).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\x01" + r + p).digest()
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return r


def test_one_side_alone_is_not_enough() -> None:
    alone = format_transparent(STATEMENT, [started().receipt(name) for name in ("kz-kgd-1", "kz-kgd-2")])
    with pytest.raises(Untrue, match=r"quorum_not_met.*missing cn-gacc-1, cn-gacc-2"):
        verify_transparent(parse_transparent(alone), PARSED)


def test_a_policy_that_demands_no_witness_still_demands_that_one_has_signed() -> None:
    lenient = parse_policy(corridor.policy_text("kz").replace(b"quorum both", b"quorum none"))
    verify_transparent(parse_transparent(format_transparent(STATEMENT, RECEIPTS[:1])), lenient)
    strange = format_transparent(STATEMENT, [receipt_by(STRANGER, "kz-kgd-1")])
    with pytest.raises(Untrue, match="quorum_not_met"):
        verify_transparent(parse_transparent(strange), lenient)


def test_a_receipt_of_an_unknown_key_counts_for_nothing_and_spoils_nothing() -> None:
    more = format_transparent(STATEMENT, [*RECEIPTS, receipt_by(STRANGER, "somebody.example")])
    assert verify_transparent(parse_transparent(more), PARSED) == SIGNERS


def test_a_bad_receipt_of_a_known_key_spoils_it_all_though_the_others_are_enough() -> None:
    third = replace(started().receipt("kz-kgd-2"), signature=bytes(64))
    with pytest.raises(Untrue, match="bad_receipt: receipt of kz-kgd-2"):
        verify_transparent(parse_transparent(format_transparent(STATEMENT, [*RECEIPTS, third])), PARSED)


@pytest.mark.parametrize(
    ("what", "receipt", "code"),
    [
        ("another index", replace(RECEIPTS[0], index=8), "bad_receipt"),
        ("another hash", replace(RECEIPTS[0], hashes=(bytes(32), *RECEIPTS[0].hashes[1:])), "bad_receipt"),
        ("a hash less", replace(RECEIPTS[0], hashes=RECEIPTS[0].hashes[1:]), "bad_inclusion_proof"),
        ("a hash more", replace(RECEIPTS[0], hashes=(*RECEIPTS[0].hashes, bytes(32))), "bad_inclusion_proof"),
        ("another validator's name", replace(RECEIPTS[0], signer="kz-kgd-2"), "bad_receipt"),
        ("another log", receipt_by(corridor.COSIGNERS["kz-kgd-1"], "kz-kgd-1", "other.example/log"), "unknown_log"),
        ("another root", receipt_by(corridor.COSIGNERS["kz-kgd-1"], "kz-kgd-1", root=bytes(32)), "bad_receipt"),
        ("another validator's signature", replace(RECEIPTS[0], signature=RECEIPTS[1].signature), "bad_receipt"),
    ],
)
def test_a_receipt_with_something_else_in_it_does_not_hold(what: str, receipt: Receipt, code: str) -> None:
    with pytest.raises(Untrue) as raised:
        verify_receipt(receipt, leaf_hash(STATEMENT), PARSED)
    assert raised.value.code == code


def test_the_receipt_of_another_statement_does_not_hold() -> None:
    with pytest.raises(Untrue, match="bad_receipt"):
        verify_receipt(RECEIPTS[0], leaf_hash(b"another"), PARSED)


def test_a_cosignature_is_no_receipt_and_a_receipt_no_statement() -> None:
    """One key signs both, and what it signs can never be the same bytes."""
    message = receipt_message("kz-kgd-1", corridor.ORIGIN, bytes(32), bytes(32))
    assert message[:12] == b"\x84\x6aSignature1"
    assert not message.startswith(b"cosignature/v1")
    with pytest.raises(Malformed):
        parse_receipt(STATEMENT)
    with pytest.raises(Malformed):
        parse_receipt(GOOD)


def test_the_same_receipt_twice_is_malformed() -> None:
    with pytest.raises(Misuse, match="signed twice"):
        format_transparent(STATEMENT, [RECEIPTS[0], RECEIPTS[0]])


@pytest.mark.parametrize("count", [0, MAX_RECEIPTS + 1])
def test_no_receipt_or_too_many_are_malformed(count: int) -> None:
    with pytest.raises(Misuse, match="1 to 16 receipts"):
        format_transparent(STATEMENT, [RECEIPTS[0]] * count)


def test_a_statement_by_itself_is_no_transparent_one() -> None:
    with pytest.raises(Malformed, match="receipts"):
        parse_transparent(STATEMENT)


def test_what_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Malformed, match="too_large"):
        parse_transparent(b"\xd2" * (MAX_TRANSPARENT_BYTES + 1))


def test_a_root_that_is_none_is_not_signed() -> None:
    with pytest.raises(Misuse):
        sign_receipt(STRANGER, "kz-kgd-1", corridor.ORIGIN, b"short")
    with pytest.raises(Misuse):
        sign_receipt(STRANGER, "no name", corridor.ORIGIN, bytes(32))


def test_every_altered_byte_every_length_and_every_repetition_is_refused() -> None:
    assert survivors(GOOD, lambda altered: verify_transparent(parse_transparent(altered), PARSED)) == []


def test_what_parses_is_its_one_spelling() -> None:
    for _, altered in mutations(GOOD):
        try:
            found = parse_transparent(altered)
        except Malformed:
            continue
        assert format_transparent(found.statement.raw, found.receipts) == altered

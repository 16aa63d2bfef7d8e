"""Envelopes: both authorities read the same, nobody else reads anything, and no copy passes for another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PublicKey, SealedBox

from api.envelope import (
    PADDING_BYTES,
    Box,
    Envelope,
    EnvelopePrivateKey,
    open_envelope,
    parse_envelope,
    public_key_of_pem,
    seal_envelope,
)
from contracts.commitments import Opening
from ledger.algorithms import EDDSA, PrivateKey
from ledger.cbor import encode
from ledger.errors import LedgerError, Malformed, Misuse, Untrue

KZ, CN, STRANGER = (EnvelopePrivateKey.generate() for _ in range(3))
KEYS = {"kz-kgd": KZ.public, "cn-gacc": CN.public}
UCR = "KZ26-000001"
OPENINGS = (
    Opening("consignee", bytes(16), "塔城面粉厂"),
    Opening("value", b"\1" * 16, {"amount": 7_500_000, "currency": "USD"}),
)


def test_both_authorities_open_the_same_fields_from_the_bytes_that_were_sent() -> None:
    envelope = parse_envelope(seal_envelope(UCR, OPENINGS, KEYS).encode())
    assert [box.authority for box in envelope.boxes] == ["cn-gacc", "kz-kgd"]
    assert open_envelope(envelope, KZ) == open_envelope(envelope, CN) == OPENINGS


def test_nobody_else_opens_it_and_the_refusal_says_whom_it_is_for() -> None:
    envelope = seal_envelope(UCR, OPENINGS, KEYS)
    with pytest.raises(Untrue, match=r"not_for_this_key: no copy is for key .* kz-kgd"):
        open_envelope(envelope, STRANGER)
    disguised = Envelope(UCR, (Box("kz-kgd", STRANGER.kid, envelope.boxes[1].sealed),))
    with pytest.raises(Untrue, match="box_does_not_open"):
        open_envelope(disguised, STRANGER)


def test_nothing_of_the_fields_shows_and_the_length_of_a_name_does_not_either() -> None:
    short = seal_envelope(UCR, (Opening("consignee", bytes(16), "A"),), KEYS)
    long = seal_envelope(UCR, (Opening("consignee", bytes(16), "A" * 200),), KEYS)
    assert len(short.encode()) == len(long.encode())
    assert b"AAAA" not in long.encode()
    assert (len(short.boxes[0].sealed) - 48) % PADDING_BYTES == 0


def test_two_envelopes_of_the_same_fields_are_not_alike() -> None:
    assert seal_envelope(UCR, OPENINGS, KEYS).sha256 != seal_envelope(UCR, OPENINGS, KEYS).sha256


def test_a_copy_moved_under_another_subject_is_found_out() -> None:
    envelope = seal_envelope(UCR, OPENINGS, KEYS)
    with pytest.raises(Untrue, match="box_of_other_subject"):
        open_envelope(Envelope("KZ26-000002", envelope.boxes), KZ)


@given(st.data())
def test_a_bit_turned_anywhere_is_refused_or_at_least_never_opens_to_anything_else(data: st.DataObject) -> None:
    raw = bytearray(seal_envelope(UCR, OPENINGS, KEYS).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for key in (KZ, CN):
        try:
            opened = open_envelope(parse_envelope(bytes(raw)), key)
        except (Malformed, Untrue):
            continue
        assert opened == OPENINGS  # the turned bit was in the other copy, or in a name


def _boxes(*rows: list[Any]) -> Any:
    return [1, UCR, list(rows)]


GOOD_BOX = ["kz-kgd", bytes(32), bytes(100)]
BAD: list[tuple[str, Any]] = [
    ("no array", {}),
    ("another format", [2, UCR, [GOOD_BOX]]),
    ("true is not one", [True, UCR, [GOOD_BOX]]),
    ("no subject", [1, "", [GOOD_BOX]]),
    ("a long subject", [1, "x" * 65, [GOOD_BOX]]),
    ("no boxes", _boxes()),
    ("five boxes", _boxes(*([f"a{n}", bytes(32), bytes(100)] for n in range(5)))),
    ("two values", _boxes(GOOD_BOX[:2])),
    ("a short kid", _boxes(["kz-kgd", bytes(31), bytes(100)])),
    ("a box of nothing", _boxes(["kz-kgd", bytes(32), bytes(48)])),
    ("one authority twice", _boxes(GOOD_BOX, GOOD_BOX)),
    ("in another order", _boxes(GOOD_BOX, ["cn-gacc", bytes(32), bytes(100)])),
    ("no name", _boxes(["", bytes(32), bytes(100)])),
]


@pytest.mark.parametrize(("what", "value"), BAD, ids=[row[0] for row in BAD])
def test_what_is_no_envelope_is_malformed(what: str, value: Any) -> None:
    with pytest.raises(Malformed):
        parse_envelope(encode(value))


@pytest.mark.parametrize(
    "plaintext", [b"", b"\xff", encode([1, UCR, 7]), encode({}), encode([1, UCR, [[bytes(15), "a", 1]]])]
)
def test_a_box_of_rubbish_sealed_by_a_stranger_is_refused(plaintext: bytes) -> None:
    from nacl.bindings import sodium_pad

    sealed = SealedBox(PublicKey(KZ.public)).encrypt(sodium_pad(plaintext, PADDING_BYTES))
    with pytest.raises(Untrue):
        open_envelope(Envelope(UCR, (Box("kz-kgd", KZ.kid, sealed),)), KZ)
    unpadded = SealedBox(PublicKey(KZ.public)).encrypt(plaintext)
    with pytest.raises(Untrue):
        open_envelope(Envelope(UCR, (Box("kz-kgd", KZ.kid, unpadded),)), KZ)


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_nothing_is_sealed_to_a_point_that_everybody_can_open(point: bytes) -> None:
    with pytest.raises(Misuse, match="none that can be sealed to"):
        seal_envelope(UCR, OPENINGS, {"kz-kgd": point})


def test_a_key_comes_back_from_its_files_and_other_keys_are_refused() -> None:
    again = EnvelopePrivateKey.from_pem(KZ.to_pem())
    assert (again.public, again.kid) == (KZ.public, KZ.kid)
    assert public_key_of_pem(KZ.public_pem()) == KZ.public
    for read in (EnvelopePrivateKey.from_pem, public_key_of_pem):
        for data in (b"", b"-----BEGIN", PrivateKey.generate(EDDSA).to_pem()):
            with pytest.raises(LedgerError):
                read(data)


def test_an_envelope_of_a_great_many_items_is_refused_before_any_is_built() -> None:
    with pytest.raises(Malformed, match="too_many"):
        parse_envelope(encode([[] for _ in range(10_000)]))
    keys = dict.fromkeys(("a", "b", "c", "d"), KZ.public)
    envelope = seal_envelope(UCR, OPENINGS, keys)
    assert parse_envelope(envelope.encode()) == envelope

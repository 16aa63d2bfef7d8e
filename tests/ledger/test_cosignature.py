"""Cosignatures: the message of the specification, a time that is signed, and nothing moved from elsewhere."""

from __future__ import annotations

import pytest

from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature, parse_checkpoint
from ledger.cosignature import (
    MAX_TIMESTAMP_S,
    cosign,
    cosignature_timestamp_s,
    cosigned_message,
    cosigner_verifier,
    verify_cosignature,
)
from ledger.errors import Malformed, Misuse, Untrue
from ledger.note import NoteSignature, NoteSigner

BODY = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
CHECKPOINT = parse_checkpoint(BODY)
SIGNER = NoteSigner(bytes(range(32)))
KEY = cosigner_verifier("kz-kgd-1", SIGNER.public_key)
LINE = cosign(SIGNER, "kz-kgd-1", CHECKPOINT, 1_679_315_147)


def test_the_message_is_that_of_the_specification() -> None:
    assert cosigned_message(BODY, 1_679_315_147) == (
        b"cosignature/v1\n"
        b"time 1679315147\n"
        b"example.com/behind-the-sofa\n"
        b"20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_a_cosignature_verifies_and_gives_its_time() -> None:
    assert (LINE.name, LINE.key_id) == (KEY.name, KEY.key_id)
    assert LINE.signature[:8].hex() == "00000000641850cb"
    assert cosignature_timestamp_s(LINE) == verify_cosignature(KEY, BODY, LINE) == 1_679_315_147


@pytest.mark.parametrize("timestamp_s", [0, 1, MAX_TIMESTAMP_S])
def test_the_whole_range_of_times_is_allowed(timestamp_s: int) -> None:
    assert verify_cosignature(KEY, BODY, cosign(SIGNER, "kz-kgd-1", CHECKPOINT, timestamp_s)) == timestamp_s


def test_every_flipped_bit_is_caught_the_time_included() -> None:
    for position in range(len(LINE.signature) * 8):
        data = bytearray(LINE.signature)
        data[position // 8] ^= 1 << position % 8
        with pytest.raises((Untrue, Malformed)):
            verify_cosignature(KEY, BODY, NoteSignature(LINE.name, LINE.key_id, bytes(data)))


def test_a_cosignature_holds_for_its_checkpoint_and_its_key_alone() -> None:
    other = NoteSigner.generate()
    log_line = log_signature(SIGNER, CHECKPOINT)
    larger = checkpoint_body(Checkpoint(CHECKPOINT.origin, CHECKPOINT.size + 1, CHECKPOINT.root))
    elsewhere = checkpoint_body(Checkpoint("example.com/other", CHECKPOINT.size, CHECKPOINT.root))
    as_cosignature = NoteSignature(KEY.name, KEY.key_id, bytes(8) + log_line.signature)
    for key, body, line in [
        (KEY, larger, LINE),
        (KEY, elsewhere, LINE),
        (cosigner_verifier("kz-kgd-1", other.public_key), BODY, LINE),
        (KEY, BODY, as_cosignature),
    ]:
        with pytest.raises(Untrue, match="bad_signature"):
            verify_cosignature(key, body, line)


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(71), bytes(73), b"\x80" + bytes(71)], ids=len)
def test_a_line_that_cannot_be_a_cosignature_is_malformed(signature: bytes) -> None:
    line = NoteSignature(KEY.name, KEY.key_id, signature)
    with pytest.raises(Malformed, match="bad_cosignature"):
        verify_cosignature(KEY, BODY, line)
    with pytest.raises(Malformed, match="bad_cosignature"):
        cosignature_timestamp_s(line)


def test_impossible_times_names_and_keys_are_misuse() -> None:
    for name, timestamp_s in (("kz-kgd-1", -1), ("kz-kgd-1", 1 << 63), ("kz kgd", 1), ("", 1)):
        with pytest.raises(Misuse):
            cosign(SIGNER, name, CHECKPOINT, timestamp_s)
    with pytest.raises(Misuse):
        verify_cosignature(SIGNER.verifier("kz-kgd-1", 1), BODY, LINE)

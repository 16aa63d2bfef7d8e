"""ML-DSA-44 cosignatures: the message of the specification, another implementation of FIPS 204, attacks."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from dilithium_py.ml_dsa import ML_DSA_44
from hypothesis import given
from hypothesis import strategies as st

from ledger.algorithms import mldsa44
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature, parse_checkpoint
from ledger.cosignature import (
    MAX_TIMESTAMP_S,
    MlDsaCosigner,
    cosign,
    cosignature_timestamp_s,
    cosigned_message,
    subtree_message,
    verify_cosignature,
)
from ledger.errors import Malformed, Misuse, Untrue
from ledger.note import (
    SUBTREE_V1,
    Note,
    NoteSignature,
    NoteSigner,
    VerifierKey,
    format_note,
    format_vkey,
    parse_note,
    parse_vkey,
)
from ledger.policy import parse_policy, verify_checkpoint
from tests.ledger import corridor

BODY = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
CHECKPOINT = parse_checkpoint(BODY)
TIME_S = 1_679_315_147
COSIGNER = MlDsaCosigner(bytes(range(32)))
KEY = COSIGNER.verifier("kz-kgd-1")
LINE = COSIGNER.cosign("kz-kgd-1", CHECKPOINT, TIME_S)


def test_the_message_is_the_structure_of_the_specification() -> None:
    assert subtree_message("kz-kgd-1", TIME_S, CHECKPOINT).hex(" ", -4) == (
        b"subtree/v1\n\0"  # label
        b"\x08kz-kgd-1"  # cosigner_name
        b"\0\0\0\0\x64\x18\x50\xcb"  # timestamp
        b"\x1bexample.com/behind-the-sofa"  # log_origin
        b"\0\0\0\0\0\0\0\0"  # start
        b"\0\0\0\0\x01\x3e\x2d\xc3" + CHECKPOINT.root  # end
    ).hex(" ", -4)


def test_the_key_id_and_the_vkey_are_those_of_type_six() -> None:
    material = b"\x06" + KEY.public_key
    assert len(material) == 1313
    assert KEY.key_id == LINE.key_id == sha256(b"kz-kgd-1\n" + material).digest()[:4]
    assert parse_vkey(format_vkey(KEY)) == KEY


def test_a_cosignature_verifies_and_gives_its_time() -> None:
    assert len(LINE.signature) == 8 + 2420
    assert cosignature_timestamp_s(LINE) == verify_cosignature(KEY, BODY, LINE) == TIME_S


def test_another_implementation_of_the_standard_accepts_ours_and_we_accept_its() -> None:
    public, private = ML_DSA_44.key_derive(bytes(range(32)))
    assert public == KEY.public_key
    message = subtree_message("kz-kgd-1", TIME_S, CHECKPOINT)
    assert ML_DSA_44.verify(public, message, LINE.signature[8:])
    assert not ML_DSA_44.verify(public, message + b"\0", LINE.signature[8:])
    theirs = TIME_S.to_bytes(8, "big") + ML_DSA_44.sign(private, message)
    assert verify_cosignature(KEY, BODY, NoteSignature(KEY.name, KEY.key_id, theirs)) == TIME_S


def test_signing_again_gives_another_signature_that_is_as_good() -> None:
    again = COSIGNER.cosign("kz-kgd-1", CHECKPOINT, TIME_S)
    assert again.signature != LINE.signature
    assert verify_cosignature(KEY, BODY, again) == TIME_S


@pytest.mark.parametrize("timestamp_s", [0, 1, MAX_TIMESTAMP_S])
def test_the_whole_range_of_times_is_allowed(timestamp_s: int) -> None:
    assert verify_cosignature(KEY, BODY, COSIGNER.cosign(KEY.name, CHECKPOINT, timestamp_s)) == timestamp_s


@given(st.integers(0, len(LINE.signature) * 8 - 1))
def test_a_flipped_bit_is_caught_the_time_included(position: int) -> None:
    data = bytearray(LINE.signature)
    data[position // 8] ^= 1 << position % 8
    with pytest.raises((Untrue, Malformed)):
        verify_cosignature(KEY, BODY, replace(LINE, signature=bytes(data)))


def test_a_cosignature_holds_for_its_checkpoint_its_key_and_its_name_alone() -> None:
    larger = checkpoint_body(replace(CHECKPOINT, size=CHECKPOINT.size + 1))
    elsewhere = checkpoint_body(replace(CHECKPOINT, origin="example.com/other"))
    other_root = checkpoint_body(replace(CHECKPOINT, root=bytes(32)))
    other = MlDsaCosigner.generate().verifier("kz-kgd-1")
    renamed = COSIGNER.verifier("kz-kgd-2")
    for key, body in [(KEY, larger), (KEY, elsewhere), (KEY, other_root), (other, BODY), (renamed, BODY)]:
        with pytest.raises(Untrue, match="bad_signature"):
            verify_cosignature(key, body, LINE)


def test_names_and_origins_cannot_flow_into_one_another() -> None:
    """Each is after its length: bytes of the one cannot be read as bytes of the other."""
    one = subtree_message("ab", 0, Checkpoint("c", 1, bytes(32)))
    two = subtree_message("a", 0, Checkpoint("bc", 1, bytes(32)))
    assert len(one) == len(two)
    assert one != two


def test_a_signature_of_the_classical_message_is_no_cosignature_of_this_type() -> None:
    signer = mldsa44.Signer(bytes(range(32)))
    moved = TIME_S.to_bytes(8, "big") + signer.sign(cosigned_message(BODY, TIME_S))
    with pytest.raises(Untrue, match="bad_signature"):
        verify_cosignature(KEY, BODY, replace(LINE, signature=moved))


@pytest.mark.parametrize("length", [0, 8, 72, 2420, 2427, 2429])
def test_a_line_of_another_length_is_malformed(length: int) -> None:
    with pytest.raises(Malformed, match="bad_cosignature"):
        verify_cosignature(KEY, BODY, replace(LINE, signature=bytes(length)))


def test_a_line_of_one_type_is_not_taken_for_the_other() -> None:
    classical = NoteSigner(bytes(32))
    line = cosign(classical, "kz-kgd-1", CHECKPOINT, TIME_S)
    with pytest.raises(Malformed, match="bad_cosignature"):
        verify_cosignature(KEY, BODY, line)
    with pytest.raises(Malformed, match="bad_cosignature"):
        verify_cosignature(classical.verifier("kz-kgd-1", 4), BODY, LINE)


@pytest.mark.parametrize("length", [0, 32, 1311, 1313])
def test_a_vkey_whose_key_has_another_length_is_malformed(length: int) -> None:
    with pytest.raises(Malformed, match="bad_vkey"):
        parse_vkey(format_vkey(VerifierKey("kz-kgd-1", SUBTREE_V1, bytes(length))))


def test_a_key_is_kept_as_pkcs8_and_read_back() -> None:
    assert MlDsaCosigner.from_pem(COSIGNER.to_pem()).verifier("a") == COSIGNER.verifier("a")
    for pem in (NoteSigner(bytes(32)).to_pem(), b"", b"-----BEGIN PRIVATE KEY-----\n", bytes(1 << 15)):
        with pytest.raises(Malformed):
            MlDsaCosigner.from_pem(pem)


def test_impossible_times_names_and_seeds_are_misuse() -> None:
    for name, timestamp_s in (("kz-kgd-1", -1), ("kz-kgd-1", 1 << 63), ("kz kgd", 1), ("", 1)):
        with pytest.raises(Misuse):
            COSIGNER.cosign(name, CHECKPOINT, timestamp_s)
    with pytest.raises(Misuse):
        MlDsaCosigner(bytes(31))


def test_a_key_never_shows_its_secret() -> None:
    assert bytes(range(32)).hex() not in repr(COSIGNER)


# --- policies ---------------------------------------------------------------------------------------------------------

PQ_KEYS = {name: MlDsaCosigner(corridor.seed(f"{name} ml-dsa")) for name in ("kz-kgd-1", "cn-gacc-1")}
QUANTUM_SAFE = (
    corridor.policy_text("kz").replace(b"quorum both\n", b"")
    + "".join(
        [
            *(f"witness {name}-pq {format_vkey(key.verifier(name))}\n" for name, key in PQ_KEYS.items()),
            "group pq all kz-kgd-1-pq cn-gacc-1-pq\n",
            "group both-ways all both pq\n",
            "quorum both-ways\n",
        ]
    ).encode()
)


def note_with(*quantum_safe: str, body: Checkpoint = corridor.CHECKPOINT) -> bytes:
    note = parse_note(corridor.cosigned(corridor.CHECKPOINT, "kz-kgd-1", "cn-gacc-1"))
    lines = tuple(PQ_KEYS[name].cosign(name, body, corridor.TIME_S) for name in quantum_safe)
    return format_note(Note(note.text, note.signatures + lines))


def test_a_policy_may_demand_both_kinds_of_cosignature() -> None:
    policy = parse_policy(QUANTUM_SAFE)
    assert verify_checkpoint(note_with("kz-kgd-1", "cn-gacc-1"), policy) == corridor.CHECKPOINT
    for fewer in ((), ("kz-kgd-1",), ("cn-gacc-1",)):
        with pytest.raises(Untrue, match="quorum_not_met"):
            verify_checkpoint(note_with(*fewer), policy)


def test_whoever_asks_for_classical_cosignatures_alone_ignores_the_others() -> None:
    other = replace(corridor.CHECKPOINT, root=bytes(32))
    note = note_with("kz-kgd-1", "cn-gacc-1", body=other)
    assert verify_checkpoint(note, parse_policy(corridor.policy_text("kz"))) == corridor.CHECKPOINT
    with pytest.raises(Untrue, match="bad_signature"):
        verify_checkpoint(note, parse_policy(QUANTUM_SAFE))


def test_a_log_may_sign_with_ml_dsa_and_counts_for_its_own_origin() -> None:
    log_key = MlDsaCosigner(corridor.seed("kz log ml-dsa"))
    checkpoint = corridor.CHECKPOINT

    def opened(origin: str) -> None:
        policy = parse_policy(f"log {format_vkey(log_key.verifier(origin))}\nquorum none\n".encode())
        line = log_key.cosign(origin, checkpoint, corridor.TIME_S)
        verify_checkpoint(format_note(Note(checkpoint_body(checkpoint), (line,))), policy)

    opened(checkpoint.origin)
    with pytest.raises(Untrue, match="log_signature_missing"):
        opened("example.com/other")


def test_no_key_stands_twice_in_a_policy_whatever_its_type() -> None:
    vkey = format_vkey(PQ_KEYS["kz-kgd-1"].verifier("a"))
    again = format_vkey(PQ_KEYS["kz-kgd-1"].verifier("b"))
    with pytest.raises(Malformed, match="stands twice"):
        parse_policy(f"witness a {vkey}\nwitness b {again}\nquorum none\n".encode())


def test_a_key_of_a_plain_log_is_no_witness() -> None:
    vkey = format_vkey(NoteSigner(bytes(32)).verifier("a", 1))
    with pytest.raises(Malformed, match="expected 0x04 or 0x06"):
        parse_policy(f"witness a {vkey}\nquorum none\n".encode())


def test_sixty_four_lines_of_this_type_fit_a_note() -> None:
    note = note_with("kz-kgd-1")
    line = parse_note(note).signatures[-1]
    text = parse_note(note).text
    assert parse_note(format_note(Note(text, (line,) * 64))).signatures == (line,) * 64
    assert log_signature(NoteSigner(bytes(32)), corridor.CHECKPOINT).signature

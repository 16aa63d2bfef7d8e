"""Keys and signatures: published vectors, one spelling each, and attacks on both algorithms."""

from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ledger import algorithms, cbor
from ledger.algorithms import EDDSA, ES256, PrivateKey, PublicKey, eddsa, es256
from ledger.errors import Malformed, Misuse, Untrue

BOTH = pytest.mark.parametrize("alg", [EDDSA, ES256], ids=["EdDSA", "ES256"])

# RFC 8032 section 7.1, tests 1 to 3.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_ed25519_gives_the_signatures_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    signer = eddsa.Signer(bytes.fromhex(seed))
    assert signer.material.hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    eddsa.verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


def test_es256_accepts_the_key_of_rfc_6979_and_its_signature_in_the_lower_half() -> None:
    # RFC 6979 section A.2.5, SHA-256, message "sample"; that s is in the upper half, so its other spelling is the one.
    key = bytes.fromhex(
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
    )
    r = bytes.fromhex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716")
    s = int("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8", 16)
    public = PublicKey.from_material(ES256, key)
    public.verify(b"sample", r + (es256.ORDER - s).to_bytes(32, "big"))
    with pytest.raises(Untrue):
        public.verify(b"sample", r + s.to_bytes(32, "big"))


def test_kid_is_the_thumbprint_of_the_example_in_rfc_9679() -> None:
    # RFC 9679 section 6: the thumbprint of the key with kid "meriadoc.brandybuck@buckland.example".
    x = bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
    y = bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
    key = PublicKey.from_material(ES256, x + y)
    assert key.kid.hex() == "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"


@BOTH
def test_a_key_survives_pem_and_cose_key(alg: int) -> None:
    private = PrivateKey.generate(alg)
    again = PrivateKey.from_pem(private.to_pem())
    assert again.public == private.public == PublicKey.from_cose_key(private.public.cose_key)
    assert again.public.alg == alg
    assert private.public.kid == sha256(private.public.cose_key).digest()
    again.public.verify(b"message", private.sign(b"message"))
    assert private.to_pem().hex() not in repr(private)


@BOTH
def test_every_flipped_bit_of_a_signature_is_caught(alg: int) -> None:
    private = PrivateKey.generate(alg)
    signature = private.sign(b"message")
    for position in range(len(signature) * 8):
        flipped = bytearray(signature)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(Untrue, match="bad_signature"):
            private.public.verify(b"message", bytes(flipped))


@BOTH
def test_a_signature_holds_for_its_message_its_key_and_its_length_alone(alg: int) -> None:
    private, other = PrivateKey.generate(alg), PrivateKey.generate(alg)
    signature = private.sign(b"message")
    for key, message, given in [
        (private, b"messagf", signature),
        (other, b"message", signature),
        (private, b"message", signature[:-1]),
        (private, b"message", signature + b"\0"),
        (private, b"message", b""),
        (private, b"message", bytes(64)),
    ]:
        with pytest.raises(Untrue, match="bad_signature"):
            key.public.verify(message, given)


def test_a_signature_moved_to_the_other_half_of_the_order_is_refused_by_both_algorithms() -> None:
    ed = PrivateKey.generate(EDDSA)
    signature = ed.sign(b"message")
    order = (1 << 252) + 27742317777372353535851937790883648493
    moved = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    with pytest.raises(Untrue):
        ed.public.verify(b"message", signature[:32] + moved)

    ec_key = PrivateKey.generate(ES256)
    for _ in range(8):
        signature = ec_key.sign(b"message")
        es256.check_signature_spelling(signature)
        moved = (es256.ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
        with pytest.raises(Malformed, match="bad_signature_spelling"):
            es256.check_signature_spelling(signature[:32] + moved)
        with pytest.raises(Untrue):
            ec_key.public.verify(b"message", signature[:32] + moved)


def test_the_refused_half_is_valid_ecdsa_so_that_the_refusal_is_ours() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    signature = es256.Signer(private).sign(b"message")
    r, s = int.from_bytes(signature[:32], "big"), es256.ORDER - int.from_bytes(signature[32:], "big")
    private.public_key().verify(encode_dss_signature(r, s), b"message", ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(
    "spelling",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",  # order 1
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
        "0000000000000000000000000000000000000000000000000000000000000080",  # order 4
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  # order 8
        "0100000000000000000000000000000000000000000000000000000000000080",  # not canonical
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # not canonical
        "0200000000000000000000000000000000000000000000000000000000000000",  # not on the curve
        "00" * 31,
    ],
)
def test_ed25519_points_that_make_bad_keys_are_refused(spelling: str) -> None:
    with pytest.raises(Malformed, match="bad_key"):
        PublicKey.from_material(EDDSA, bytes.fromhex(spelling))


def test_p256_points_off_the_curve_or_at_infinity_are_refused() -> None:
    good = PrivateKey.generate(ES256).public.material
    for bad in (good[:63] + bytes((good[63] ^ 1,)), bytes(64), b"\xff" * 64, good[:63], good + b"\0"):
        with pytest.raises(Malformed, match="bad_key"):
            PublicKey.from_material(ES256, bad)


def test_cose_keys_have_the_required_members_alone_in_one_spelling() -> None:
    ed = PrivateKey.generate(EDDSA).public.material
    p256 = PrivateKey.generate(ES256).public.material
    for members, code in [
        ({1: 1, -1: 6, -2: ed, 3: -8}, "bad_key"),
        ({1: 1, -1: 6, -2: ed, 2: b"kid"}, "bad_key"),
        ({1: 1, -1: 6, -2: ed, -4: b"d" * 32}, "bad_key"),
        ({1: 1, -1: 6, -2: ed[:31]}, "bad_key"),
        ({1: 1, -1: 6}, "bad_key"),
        ({1: 1, -1: 6, -2: "x"}, "bad_key"),
        ({1: 2, -1: 1, -2: p256[:32], -3: True}, "bad_key"),
        ({1: 2, -1: 1, -2: p256[:31], -3: p256[31:]}, "bad_key"),
        ({1: 1, -1: 7, -2: bytes(57)}, "unknown_algorithm"),
        ({1: 2, -1: 2, -2: bytes(48), -3: bytes(48)}, "unknown_algorithm"),
        ({}, "unknown_algorithm"),
        ([], "bad_key"),
    ]:
        with pytest.raises(Malformed) as caught:
            PublicKey.from_cose_key(cbor.encode(members))  # type: ignore[arg-type]
        assert caught.value.code == code
    with pytest.raises(Malformed) as caught:
        PublicKey.from_cose_key(b"\xa3\x20\x06\x01\x01\x21\x58\x20" + ed)
    assert caught.value.code == "non_canonical_cbor"


def test_private_keys_of_other_kinds_are_refused() -> None:
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    for key in (
        ec.generate_private_key(ec.SECP384R1()),
        ed448.Ed448PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ):
        pem = key.private_bytes(*plain, serialization.NoEncryption())
        with pytest.raises(Malformed, match="unknown_algorithm"):
            PrivateKey.from_pem(pem)
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(*plain, serialization.BestAvailableEncryption(b"x"))
    for pem in (locked, b"", b"-----BEGIN PRIVATE KEY-----\n", b"x" * 100_000):
        with pytest.raises(Malformed):
            PrivateKey.from_pem(pem)


def test_an_unregistered_algorithm_is_misuse() -> None:
    with pytest.raises(Misuse):
        PrivateKey.generate(-35)
    assert [algorithms.name_of(alg) for alg in algorithms.supported()] == ["EdDSA", "ES256"]

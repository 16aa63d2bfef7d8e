"""A statement has one spelling, names its key, and says why it is refused."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import cbor, statement
from ledger.algorithms import EDDSA, ES256, PrivateKey
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import leaf_hash
from ledger.statement import (
    MAX_STATEMENT_BYTES,
    parse_statement,
    parse_statement_sequence,
    sign_statement,
    verify_statement,
)

KEYS = {alg: PrivateKey.generate(alg) for alg in (EDDSA, ES256)}
BOTH = pytest.mark.parametrize("alg", [EDDSA, ES256], ids=["EdDSA", "ES256"])
PAYLOAD: dict[str, cbor.Encodable] = {"gate": "CNBKT-1", "mass_g": 33_000_000, "seals": ["K1", "K2"]}


def signed(alg: int = EDDSA, **changes: Any) -> statement.Statement:
    claims = {
        "kind": "escort.reach_border",
        "iss": "kz/truck/t-001",
        "sub": "19GBCKKCQSXV2FGVA8",
        "iat_s": 1_795_305_600,
        "cti": bytes(range(16)),
        "payload": PAYLOAD,
        **changes,
    }
    return sign_statement(KEYS[alg], **claims)


def header(alg: Any = EDDSA, **changes: Any) -> dict[Any, Any]:
    """Return a good protected header, with members of it or of its claims replaced, or left out when `...`."""
    claims = {1: "kz/truck/t-001", 2: "19GBCKKCQSXV2FGVA8", 6: 1_795_305_600, 7: bytes(16)}
    members = {1: alg, 3: "application/comity.escort.start.v1+cbor", 4: bytes(32), 15: claims}
    for name, value in changes.items():
        target, label = (members, int(name[1:])) if name[0] == "h" else (claims, int(name[1:]))
        if value is ...:
            del target[label]
        else:
            target[label] = value
    return members


def spell(
    protected: Any = None,
    unprotected: Any = None,
    payload: Any = None,
    signature: Any = bytes(63) + b"\x01",
) -> bytes:
    """Write a COSE_Sign1 with cbor2, which knows none of our rules."""
    if not isinstance(protected, bytes):
        protected = cbor2.dumps(header() if protected is None else protected)
    if not isinstance(payload, bytes):
        payload = cbor2.dumps({} if payload is None else payload)
    return cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected or {}, payload, signature]))


@BOTH
def test_a_signed_statement_parses_to_what_was_signed_and_verifies(alg: int) -> None:
    made = signed(alg)
    read = parse_statement(made.raw)
    assert read == made
    assert (read.alg, read.kid, read.kind, read.iss) == (
        alg,
        KEYS[alg].public.kid,
        "escort.reach_border",
        "kz/truck/t-001",
    )
    assert (read.sub, read.iat_s, read.cti) == ("19GBCKKCQSXV2FGVA8", 1_795_305_600, bytes(range(16)))
    assert read.payload == PAYLOAD
    assert read.id == leaf_hash(made.raw)
    assert read.id_hex == read.id.hex()
    verify_statement(read, KEYS[alg].public)


@BOTH
def test_it_is_a_cose_sign1_that_another_library_reads_and_signs_the_same_way(alg: int) -> None:
    made = signed(alg)
    tag = cbor2.loads(made.raw)
    assert tag.tag == 18
    protected, unprotected, payload, signature = tag.value
    assert cbor2.loads(protected) == {
        1: alg,
        3: "application/comity.escort.reach_border.v1+cbor",
        4: KEYS[alg].public.kid,
        15: {1: "kz/truck/t-001", 2: "19GBCKKCQSXV2FGVA8", 6: 1_795_305_600, 7: bytes(range(16))},
    }
    assert unprotected == {}
    assert cbor2.loads(payload) == PAYLOAD
    assert made.to_be_signed() == cbor2.dumps(["Signature1", protected, b"", payload])
    KEYS[alg].public.verify(cbor2.dumps(["Signature1", protected, b"", payload]), signature)


def test_the_writer_of_these_tests_makes_statements_that_parse() -> None:
    assert parse_statement(spell()).kind == "escort.start"


REFUSED = [
    ("nothing", b"", "malformed_cbor"),
    ("a tag alone", b"\xd2", "malformed_cbor"),
    ("an array of three", b"\xd2\x83", "malformed_cbor"),
    ("an array of indefinite length", b"\xd2\x9f", "malformed_cbor"),
    ("no tag", spell()[1:], "wrong_tag"),
    ("the tag of cose_sign", b"\xd8\x62" + spell()[1:], "wrong_tag"),
    ("the tag in two bytes", b"\xd8\x12" + spell()[1:], "wrong_tag"),
    ("text", b"hello", "wrong_tag"),
    ("more than 32 KiB", spell(payload={"x": bytes(MAX_STATEMENT_BYTES)}), "too_large"),
    ("more than 32 KiB of anything", bytes(MAX_STATEMENT_BYTES + 1), "too_large"),
    ("a payload of a thousand little arrays too many", spell(payload={"x": [[]] * 5096}), "too_many"),
    ("a byte after it", spell() + b"\0", "malformed_cbor"),
    ("a length in two bytes too many", b"\xd2\x84\x59\x00\x01\xa0", "non_canonical_cbor"),
    ("a length in one byte too many", b"\xd2\x84\x58\x01\xa0", "non_canonical_cbor"),
    ("a protected header of indefinite length", b"\xd2\x84\x5f\x41\xa0\xff", "non_canonical_cbor"),
    ("a protected header with a length in four bytes", b"\xd2\x84\x5a\x00\x00\x00\x01\xa0", "non_canonical_cbor"),
    ("a protected header that is no byte string", b"\xd2\x84\xa0", "malformed_cbor"),
    ("an unprotected header with a member", spell(unprotected={4: b"kid"}), "unprotected_not_empty"),
    ("an unprotected header that is no map", spell()[:2] + b"\x41\xa0\x80", "malformed_cbor"),
    ("a null payload", cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(header()), {}, None, bytes(64)])), "malformed_cbor"),
    ("a payload that is an array", spell(payload=[1]), "bad_payload"),
    ("an empty payload", spell(payload=b""), "malformed_cbor"),
    ("a payload with a float", spell(payload={"mass_g": 1.5}), "unsupported_cbor"),
    ("a payload with its keys out of order", spell(payload=b"\xa2\x61b\x00\x61a\x00"), "non_canonical_cbor"),
    ("a payload with a key twice", spell(payload=b"\xa2\x61a\x00\x61a\x00"), "non_canonical_cbor"),
    ("a payload with a long integer", spell(payload=b"\xa1\x61a\x18\x01"), "non_canonical_cbor"),
    ("a protected header that is an array", spell(protected=[]), "bad_header"),
    ("an empty protected header", spell(protected=b""), "malformed_cbor"),
    ("no algorithm", spell(header(h1=...)), "bad_header"),
    ("no content type", spell(header(h3=...)), "bad_header"),
    ("no kid", spell(header(h4=...)), "bad_header"),
    ("no claims", spell(header(h15=...)), "bad_header"),
    ("one header parameter more", spell(header(h16="x")), "bad_header"),
    ("critical parameters", spell(header(h2=[1])), "bad_header"),
    ("a huge protected header", spell(header(h16="x" * 2000)), "too_large"),
    ("algorithm ES384", spell(header(-35)), "unknown_algorithm"),
    ("algorithm none", spell(header(0)), "unknown_algorithm"),
    ("an algorithm by name", spell(header("EdDSA")), "unknown_algorithm"),
    ("algorithm true", spell(header(True)), "unknown_algorithm"),
    ("algorithm -8.0", spell(header(-8.0)), "unknown_algorithm"),
    ("a content type of another system", spell(header(h3="application/cbor")), "bad_content_type"),
    ("a content type by number", spell(header(h3=60)), "bad_content_type"),
    ("version 2", spell(header(h3="application/comity.escort.start.v2+cbor")), "bad_content_type"),
    ("a kind of one word", spell(header(h3="application/comity.escort.v1+cbor")), "bad_content_type"),
    ("a kind of three words", spell(header(h3="application/comity.a.b.c.v1+cbor")), "bad_content_type"),
    ("a kind in capitals", spell(header(h3="application/comity.Escort.start.v1+cbor")), "bad_content_type"),
    (
        "a kind of 65 characters",
        spell(header(h3=f"application/comity.{'a' * 32}.{'b' * 32}.v1+cbor")),
        "bad_content_type",
    ),
    ("a newline after the content type", spell(header(h3="application/comity.a.b.v1+cbor\n")), "bad_content_type"),
    ("a kid of 31 bytes", spell(header(h4=bytes(31))), "bad_kid"),
    ("a kid of text", spell(header(h4="k" * 32)), "bad_kid"),
    ("claims that are no map", spell(header(h15=[])), "bad_claims"),
    ("no iss", spell(header(c1=...)), "bad_claims"),
    ("no cti", spell(header(c7=...)), "bad_claims"),
    ("an expiry", spell(header(c4=1)), "bad_claims"),
    ("an empty iss", spell(header(c1="")), "bad_claims"),
    ("an iss of 65 characters", spell(header(c1="a" * 65)), "bad_claims"),
    ("an iss in capitals", spell(header(c1="KZ/truck")), "bad_claims"),
    ("an iss that begins with a dot", spell(header(c1="./truck")), "bad_claims"),
    ("an iss with a newline", spell(header(c1="kz/truck\n")), "bad_claims"),
    ("an iss of bytes", spell(header(c1=b"kz/truck")), "bad_claims"),
    ("an empty sub", spell(header(c2="")), "bad_claims"),
    ("a sub of 129 characters", spell(header(c2="a" * 129)), "bad_claims"),
    ("a sub with a space", spell(header(c2="a b")), "bad_claims"),
    ("a sub beyond ASCII", spell(header(c2="é")), "bad_claims"),
    ("a negative iat", spell(header(c6=-1)), "bad_claims"),
    ("an iat after the year 9999", spell(header(c6=253_402_300_800)), "bad_claims"),
    ("an iat with a fraction", spell(header(c6=1.5)), "bad_claims"),
    ("an iat of true", spell(header(c6=True)), "bad_claims"),
    ("a cti of 15 bytes", spell(header(c7=bytes(15))), "bad_claims"),
    ("a cti of text", spell(header(c7="x" * 16)), "bad_claims"),
    ("a header in another order", spell(dict(reversed(header().items()))), "non_canonical_cbor"),
    ("claims in another order", spell(header(h15=dict(reversed(header()[15].items())))), "non_canonical_cbor"),
    ("a header of indefinite length", spell(b"\xbf" + cbor2.dumps(header())[1:] + b"\xff"), "non_canonical_cbor"),
    ("a header with a label in two bytes", spell(b"\xa4\x18\x01" + cbor2.dumps(header())[2:]), "non_canonical_cbor"),
    ("a header with a label twice", spell(b"\xa5\x01\x27" + cbor2.dumps(header())[1:]), "non_canonical_cbor"),
    ("a byte after the header", spell(cbor2.dumps(header()) + b"\0"), "malformed_cbor"),
    ("a tagged header", spell(b"\xc1" + cbor2.dumps(header())), "unsupported_cbor"),
    ("a signature of 63 bytes", spell(signature=bytes(63)), "bad_signature_spelling"),
    ("an empty signature", spell(signature=b""), "bad_signature_spelling"),
    ("a signature of 65 bytes", spell(signature=bytes(65)), "bad_signature_spelling"),
    ("an es256 signature of zeros", spell(header(ES256), signature=bytes(64)), "bad_signature_spelling"),
    (
        "an es256 signature with a large s",
        spell(header(ES256), signature=b"\x7f" + b"\xff" * 63),
        "bad_signature_spelling",
    ),
    ("a signature that is text", spell(signature="x" * 64), "malformed_cbor"),
]


@pytest.mark.parametrize(("what", "raw", "code"), REFUSED, ids=[what for what, _, _ in REFUSED])
def test_a_statement_is_refused_with_a_code_for(what: str, raw: bytes, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_statement(raw)
    assert caught.value.code == code


@BOTH
def test_every_flipped_bit_is_malformed_or_untrue(alg: int) -> None:
    made = signed(alg)
    public = KEYS[alg].public
    for position in range(len(made.raw) * 8):
        flipped = bytearray(made.raw)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises((Malformed, Untrue)):
            verify_statement(parse_statement(bytes(flipped)), public)


@BOTH
def test_a_statement_cut_at_any_byte_is_malformed(alg: int) -> None:
    raw = signed(alg).raw
    for length in range(len(raw)):
        with pytest.raises(Malformed):
            parse_statement(raw[:length])


def test_another_key_is_untrue_even_under_the_same_kid() -> None:
    made = signed()
    other = PrivateKey.generate(EDDSA)
    with pytest.raises(Untrue, match="names another key"):
        verify_statement(made, other.public)
    forged = parse_statement(spell(header(h4=KEYS[EDDSA].public.kid), signature=other.sign(b"x")))
    with pytest.raises(Untrue, match="does not verify"):
        verify_statement(forged, KEYS[EDDSA].public)
    crossed = parse_statement(spell(header(ES256, h4=KEYS[EDDSA].public.kid), signature=b"\x01" * 64))
    with pytest.raises(Untrue, match="names another algorithm"):
        verify_statement(crossed, KEYS[EDDSA].public)


def test_a_signature_moved_to_another_statement_is_untrue() -> None:
    one, two = signed(cti=bytes(16)), signed(cti=b"\x01" * 16)
    moved = parse_statement(one.raw[:-64] + two.signature)
    with pytest.raises(Untrue):
        verify_statement(moved, KEYS[EDDSA].public)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "escort"},
        {"kind": "a.b\n"},
        {"kind": f"{'a' * 40}.{'b' * 40}"},
        {"iss": ""},
        {"iss": "é"},
        {"iss": "\ud800"},
        {"sub": "a b"},
        {"iat_s": -1},
        {"iat_s": 1.5},
        {"iat_s": True},
        {"cti": b"short"},
        {"payload": [1]},
        {"payload": {"x": 1.5}},
        {"payload": {"x": bytes(MAX_STATEMENT_BYTES)}},
    ],
    ids=repr,
)
def test_signing_what_nobody_would_accept_is_misuse(changes: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        signed(**changes)


def test_statements_of_the_largest_size_are_accepted() -> None:
    room = MAX_STATEMENT_BYTES - len(signed(payload={"x": bytes(1000)}).raw) + 1000
    assert len(signed(payload={"x": bytes(room)}).raw) == MAX_STATEMENT_BYTES


@given(
    st.dictionaries(st.text(max_size=20), st.integers(cbor.MIN_INT, cbor.MAX_INT) | st.binary(max_size=300), max_size=8)
)
def test_any_payload_comes_back_as_it_was_signed(payload: dict[str, cbor.Encodable]) -> None:
    made = signed(payload=payload)
    read = parse_statement(made.raw)
    assert read.payload == payload
    assert read.to_be_signed() == cbor2.dumps(["Signature1", cbor2.loads(made.raw).value[0], b"", cbor.encode(payload)])


def test_a_sequence_is_split_where_its_statements_end() -> None:
    raws = [signed(cti=bytes([number]) * 16, payload={"x": bytes(number * 40)}).raw for number in range(20)]
    assert parse_statement_sequence(b"".join(raws), 20) == raws
    assert parse_statement_sequence(b"", 20) == []
    with pytest.raises(Malformed) as caught:
        parse_statement_sequence(b"".join(raws), 19)
    assert caught.value.code == "too_many"


def test_a_sequence_that_cannot_be_split_is_malformed() -> None:
    raw = signed().raw
    for data, code in [
        (raw + raw[:-1], "malformed_cbor"),
        (raw + b"\0", "wrong_tag"),
        (raw + b"\xd2", "malformed_cbor"),
        (bytes(2 * MAX_STATEMENT_BYTES + 1), "too_large"),
        (spell(unprotected={1: 1}), "unprotected_not_empty"),
    ]:
        with pytest.raises(Malformed) as caught:
            parse_statement_sequence(data, 2)
        assert caught.value.code == code


TEXTS = {
    "kind": st.sampled_from(["escort.start", "escort.reach_border", f"a.{'b' * 62}"]),
    "iss": st.sampled_from(["a", "kz/truck/t-001", "x" * 23, "x" * 24, "x" * 64]),
    "sub": st.sampled_from(["!", "19GBCKKCQSXV2FGVA8", "~" * 23, "~" * 24, "~" * 128]),
    "iat_s": st.sampled_from([0, 23, 65_535, 65_536, 1_795_305_600, (1 << 32) - 1, 1 << 32, statement.MAX_IAT_S]),
}


@given(st.fixed_dictionaries(TEXTS), st.data())
def test_reading_a_header_by_its_positions_finds_what_reading_it_by_the_rules_finds(
    claims: dict[str, Any], data: st.DataObject
) -> None:
    """And of a header that is altered, cut or lengthened it finds nothing, or the same."""
    good = signed(**claims)
    protected = good.raw[4 : good._protected_end]
    altered = bytearray(protected)
    for _ in range(data.draw(st.integers(0, 2), "alterations")):
        at = data.draw(st.integers(0, len(altered) - 1), "at")
        altered[at] = data.draw(st.sampled_from([altered[at] ^ 1, altered[at] ^ 0x20, 0, 0x18, 0x78, 255]), "byte")
    if data.draw(st.booleans(), "cut"):
        del altered[data.draw(st.integers(0, len(altered)), "length") :]
    try:
        expected: statement.Header | None = statement._parse_header(bytes(altered))
    except Malformed:
        expected = None
    found = statement._read_usual_header(bytes(altered))
    assert found in (None, expected)
    if altered == protected and 1 << 16 <= claims["iat_s"] < 1 << 32:
        assert found == expected, "this one is usual"


@pytest.mark.parametrize("alg", [EDDSA, ES256], ids=["EdDSA", "ES256"])
def test_a_header_of_the_usual_sort_is_read_by_its_positions_whatever_the_algorithm(alg: int) -> None:
    made = signed(alg)
    found = statement._read_usual_header(made.raw[4 : made._protected_end])
    assert found == (alg, made.kind, made.kid, made.iss, made.sub, made.iat_s, made.cti)

"""One value, one spelling: RFC 8949 section 4.2.1, against its examples, cbor2, and a decoder of nothing but rules."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import cbor
from ledger.errors import Malformed, Misuse

# RFC 8949 appendix A: those examples whose values are in our subset.
APPENDIX_A: list[tuple[Any, str]] = [
    (0, "00"),
    (1, "01"),
    (10, "0a"),
    (23, "17"),
    (24, "1818"),
    (25, "1819"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (bytes.fromhex("01020304"), "4401020304"),
    ("", "60"),
    ("a", "6161"),
    ("IETF", "6449455446"),
    ('"\\', "62225c"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    ([], "80"),
    ([1, 2, 3], "83010203"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    (["a", {"b": "c"}], "826161a161626163"),
    ({"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}, "a56161614161626142616361436164614461656145"),
]


@pytest.mark.parametrize(("value", "spelling"), APPENDIX_A)
def test_values_are_spelt_as_in_the_rfc(value: Any, spelling: str) -> None:
    assert cbor.encode(value).hex() == spelling
    assert cbor.decode(bytes.fromhex(spelling)) == value
    assert cbor.decode_strictly(bytes.fromhex(spelling)) == value


def test_keys_sort_by_the_bytes_of_their_encodings_and_not_by_length() -> None:
    # RFC 8949 section 4.2.1: 10, 100, -1, "z", "aa". Sorting by length first would put -1 and "z" before 100.
    value: dict[str | int, cbor.Encodable] = {"aa": 0, "z": 0, -1: 0, 100: 0, 10: 0}
    assert cbor.encode(value).hex() == "a5" + "0a00" + "186400" + "2000" + "617a00" + "62616100"
    assert list(cbor.decode(cbor.encode(value))) == [10, 100, -1, "z", "aa"]  # type: ignore[arg-type]
    assert cbor2.dumps(value, canonical=True) != cbor.encode(value)


REFUSED = [
    ("", "malformed_cbor", "nothing"),
    ("18", "malformed_cbor", "argument missing"),
    ("1903", "malformed_cbor", "argument cut short"),
    ("6261", "malformed_cbor", "text cut short"),
    ("8201", "malformed_cbor", "array cut short"),
    ("a101", "malformed_cbor", "map cut short"),
    ("0000", "malformed_cbor", "bytes after the item"),
    ("1c", "malformed_cbor", "reserved additional information"),
    ("61ff", "malformed_cbor", "text that is not utf-8"),
    ("63eda080", "malformed_cbor", "text with a surrogate"),
    ("5b7fffffffffffffff", "malformed_cbor", "length beyond any memory"),
    ("9b00000000ffffffff", "non_canonical_cbor", "long length of an array in too many bytes"),
    ("9affffffff", "malformed_cbor", "array of four thousand million items"),
    ("bbffffffffffffffff", "malformed_cbor", "map of as many pairs as can be said"),
    ("1817", "non_canonical_cbor", "23 in two bytes"),
    ("190018", "non_canonical_cbor", "24 in three bytes"),
    ("1a0000ffff", "non_canonical_cbor", "65535 in five bytes"),
    ("1b00000000ffffffff", "non_canonical_cbor", "2^32-1 in nine bytes"),
    ("3800", "non_canonical_cbor", "-1 in two bytes"),
    ("580100", "non_canonical_cbor", "length 1 in two bytes"),
    ("780161", "non_canonical_cbor", "text length 1 in two bytes"),
    ("980101", "non_canonical_cbor", "array length 1 in two bytes"),
    ("b8010101", "non_canonical_cbor", "map length 1 in two bytes"),
    ("9f01ff", "non_canonical_cbor", "indefinite array"),
    ("bf0101ff", "non_canonical_cbor", "indefinite map"),
    ("5f4101ff", "non_canonical_cbor", "indefinite bytes"),
    ("7f6161ff", "non_canonical_cbor", "indefinite text"),
    ("9f" + "00" * 24 + "ff", "non_canonical_cbor", "indefinite array as long as the definite one"),
    ("a201000100", "non_canonical_cbor", "key twice"),
    ("a202000100", "non_canonical_cbor", "keys out of order"),
    ("a2200018640 0".replace(" ", ""), "non_canonical_cbor", "keys in length-first order"),
    ("a26162006161 00".replace(" ", ""), "non_canonical_cbor", "text keys out of order"),
    ("c000", "unsupported_cbor", "tag"),
    ("c24105", "unsupported_cbor", "bignum"),
    ("d81c81d81d00", "unsupported_cbor", "value that contains itself"),
    ("d8238161", "unsupported_cbor", "regular expression"),
    ("f7", "unsupported_cbor", "undefined"),
    ("e0", "unsupported_cbor", "simple value 0"),
    ("f814", "unsupported_cbor", "false in two bytes"),
    ("f820", "unsupported_cbor", "simple value 32"),
    ("f90000", "unsupported_cbor", "half-precision float"),
    ("fa00000000", "unsupported_cbor", "single-precision float"),
    ("fb3ff0000000000000", "unsupported_cbor", "float equal to 1"),
    ("ff", "unsupported_cbor", "break alone"),
    ("3bffffffffffffffff", "unsupported_cbor", "-2^64"),
    ("a1f500", "unsupported_cbor", "key true"),
    ("a1f600", "unsupported_cbor", "key null"),
    ("a14000", "unsupported_cbor", "key of bytes"),
    ("a18000", "unsupported_cbor", "key that is an array"),
    ("a20100f500", "unsupported_cbor", "keys 1 and true, equal to Python"),
    ("81" * 17 + "00", "unsupported_cbor", "nested 17 deep"),
    ("a100" * 17 + "00", "unsupported_cbor", "maps nested 17 deep"),
    ("81" * 50_000, "unsupported_cbor", "nested deeper than any stack"),
]


@pytest.mark.parametrize(("spelling", "code", "what"), REFUSED, ids=[what for _, _, what in REFUSED])
def test_every_other_spelling_is_refused_with_its_code(spelling: str, code: str, what: str) -> None:
    with pytest.raises(Malformed) as caught:
        cbor.decode(bytes.fromhex(spelling))
    assert caught.value.code == code


def test_depth_of_sixteen_is_the_limit_in_both_directions() -> None:
    deepest: Any = 0
    for _ in range(cbor.MAX_CBOR_DEPTH):
        deepest = [deepest]
    assert cbor.decode(cbor.encode(deepest)) == deepest
    with pytest.raises(Misuse):
        cbor.encode([deepest])


def count_items(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(count_items(item) for item in value)
    if isinstance(value, dict):
        return 1 + len(value) + sum(count_items(item) for item in value.values())
    return 1


def test_items_are_counted_before_any_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(data: bytes) -> Any:
        raise AssertionError(f"built a value of {len(data)} bytes")

    monkeypatch.setattr(cbor, "_build", build)
    monkeypatch.setattr(cbor, "decode_strictly", build)
    values: tuple[Any, ...] = (
        [[]] * 5000,
        [{}] * 5000,
        dict.fromkeys(range(2500)),
        [None] * 4096,
        [[b"x" * 300]] * 2048,
    )
    for value in values:
        with pytest.raises(Malformed) as refused:
            cbor.decode(cbor.encode(value), max_items=4096)
        assert refused.value.code == "too_many"
    with pytest.raises(Malformed) as refused:
        cbor.decode(cbor.encode([[]] * cbor.MAX_CBOR_ITEMS))
    assert refused.value.code == "too_many"


def test_as_many_statements_as_a_block_may_hold_are_not_too_many_items() -> None:
    value: Any = {"p": "kz-kgd-1", "s": [b"x"] * 65_536, "t": 1}
    assert cbor.decode(cbor.encode(value)) == value


@pytest.mark.parametrize("length", [0, 23, 24, 255, 256, 65_535, 65_536])
def test_strings_of_every_length_count_one(length: int) -> None:
    for string in (b"\x80" * length, "\0" * length):
        value = [string, [string], 2**40, -(2**20), 2**10, 200]
        data = cbor.encode(value)
        assert cbor.decode(data, max_items=8) == value
        if len(data) > 7:
            with pytest.raises(Malformed, match="too many items"):
                cbor.decode(data, max_items=7)


def test_size_is_checked_before_parsing() -> None:
    with pytest.raises(Malformed) as caught:
        cbor.decode(b"\xff" * 11, max_bytes=10)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        1 << 64,
        -(1 << 63) - 1,
        "\ud800",
        {1, 2},
        {b"k": 1},
        {None: 1},
        {True: 1},
        object(),
        bytearray(b"x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_deterministic_encoding_is_misuse(value: Any) -> None:
    with pytest.raises(Misuse):
        cbor.encode(value)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(cbor.MIN_INT, cbor.MAX_INT)
    | st.integers(-300, 300)
    | st.binary(max_size=40)
    | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=30) | st.integers(-300, 70_000), inner, max_size=6)
    ),
    max_leaves=20,
)


@given(st.lists(values, max_size=8))
def test_an_array_is_its_head_and_the_sequence_of_its_elements(elements: list[Any]) -> None:
    assert cbor.encode(elements) == cbor.head(4, len(elements)) + cbor.encode_sequence(elements)
    assert cbor.encode_sequence(elements) == b"".join(map(cbor.encode, elements))


@given(values)
def test_decoding_gives_back_what_was_encoded(value: Any) -> None:
    spelling = cbor.encode(value)
    for decode in (cbor.decode, cbor.decode_strictly):
        decoded = decode(spelling)
        assert decoded == value
        assert cbor.encode(decoded) == spelling
    assert cbor2.loads(spelling) == value


text_keyed = st.recursive(
    st.booleans() | st.integers(cbor.MIN_INT, cbor.MAX_INT) | st.text(max_size=300),
    lambda inner: st.dictionaries(st.text(max_size=40), inner, max_size=30) | st.lists(inner, max_size=30),
    max_leaves=30,
)


@given(text_keyed)
def test_maps_of_text_keys_alone_are_spelt_as_cbor2_canonical_spells_them(value: Any) -> None:
    assert cbor.encode(value) == cbor2.dumps(value, canonical=True)


def outcome(decode: Any, data: bytes) -> tuple[str, Any]:
    try:
        return "value", decode(data)
    except Malformed as error:
        return "refused", error.code


@given(st.binary(max_size=40) | values.map(cbor.encode), st.data())
def test_fast_and_strict_decoders_agree_on_any_bytes(data: bytes, draw: st.DataObject) -> None:
    if data and draw.draw(st.booleans()):
        position = draw.draw(st.integers(0, len(data) - 1))
        data = data[:position] + bytes((draw.draw(st.integers(0, 255)),)) + data[position + 1 :]
    fast, strict = outcome(cbor.decode, data), outcome(cbor.decode_strictly, data)
    assert repr(fast) == repr(strict)  # repr, as True == 1
    if fast[0] == "value":
        assert cbor.encode(fast[1]) == data


@given(values)
def test_the_limit_of_items_is_exact(value: Any) -> None:
    data, count = cbor.encode(value), count_items(value)
    assert cbor.decode(data, max_items=count) == value
    with pytest.raises(Malformed) as refused:
        cbor.decode(data, max_items=count - 1)
    assert refused.value.code == "too_many"


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_are_refused_or_within_the_limit_of_items(data: bytes, max_items: int) -> None:
    try:
        value = cbor.decode(data, max_items=max_items)
    except Malformed:
        return
    assert count_items(value) <= max_items


@given(values, st.data())
def test_any_looser_spelling_that_cbor2_writes_is_refused_or_the_same(value: Any, draw: st.DataObject) -> None:
    data = cbor2.dumps(
        value,
        indefinite_containers=draw.draw(st.booleans()),
        string_referencing=draw.draw(st.booleans()),
        value_sharing=draw.draw(st.booleans()),
    )
    kind, decoded = outcome(cbor.decode, data)
    assert (kind == "value") == (data == cbor.encode(value))
    if kind == "value":
        assert decoded == value

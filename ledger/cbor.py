"""Deterministic CBOR: RFC 8949 section 4.2.1 (core deterministic encoding), restricted to what is ever hashed here.

Promises: one value has one spelling. `decode` accepts exactly what `encode` produces, so that `encode(decode(x)) ==
x` or `x` is refused: map keys in bytewise order of their encodings and unique, integers and lengths in their shortest
form, definite lengths only, valid UTF-8, nothing after the item. Values are integers, text, bytes, booleans, null,
arrays, and maps whose keys are text or integers.

Does not: know tags, floats, undefined or other simple values; a statement's one tag is read by `ledger.statement`.

`decode` lets cbor2 build the value and then measures it: bytes without tags and indefinite lengths can be no shorter
than the deterministic encoding of their value, so they are that encoding exactly when they are no longer and their
keys are in order. Whatever does not measure up goes to the decoder written out here, which follows the rules byte by
byte and alone decides what is refused, and why. `encode` is written out because cbor2's `canonical=True` sorts
shorter keys first (RFC 7049), which differs from bytewise order as soon as text and integer keys mix.

A value in memory is up to sixty times its bytes: each of 32,000 empty arrays is one byte there and a list here. So the
items are counted, and limited, before any of them is built; where there are fewer bytes than that, they need no count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import cbor2

from ledger.errors import Malformed, Misuse

# What `decode` returns.
Value: TypeAlias = "int | str | bytes | bool | list[Value] | dict[str | int, Value] | None"
# What `encode` takes: the same, and tuples; a mapping must be a dict.
Encodable: TypeAlias = (
    "int | str | bytes | bool | Sequence[Encodable] | Mapping[str, Encodable] | Mapping[int, Encodable] |"
    " Mapping[str | int, Encodable] | None"
)

MAX_CBOR_BYTES = 1 << 20
MAX_CBOR_DEPTH = 16  # nested arrays and maps
# Items in one value, the value itself included: arrays and maps count one each, and so does all that is in them, keys
# too. Above the number of statements in a block.
MAX_CBOR_ITEMS = 1 << 17
# Keys of a map and their characters together, for the set of keys to be remembered.
MAX_REMEMBERED_KEYS_SIZE = 256
MIN_INT = -(1 << 63)
MAX_INT = (1 << 64) - 1

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)


def _long_head(major: int, argument: int) -> bytes:
    """Return the initial byte and argument of an item (RFC 8949 section 3), in the shortest form."""
    if argument < 24:
        return bytes((major << 5 | argument,))
    if argument < 1 << 8:
        return bytes((major << 5 | 24, argument))
    if argument < 1 << 16:
        return bytes((major << 5 | 25,)) + argument.to_bytes(2, "big")
    if argument < 1 << 32:
        return bytes((major << 5 | 26,)) + argument.to_bytes(4, "big")
    return bytes((major << 5 | 27,)) + argument.to_bytes(8, "big")


# Arguments below 256 are nearly all of them: look their heads up.
_HEADS = [[_long_head(major, argument) for argument in range(256)] for major in range(6)]
_UNSIGNED_HEADS, _BYTES_HEADS, _TEXT_HEADS = _HEADS[_UNSIGNED], _HEADS[_BYTES], _HEADS[_TEXT]


def head(major: int, argument: int) -> bytes:
    """Return the head of an item of a major type (0 to 5), in the shortest form."""
    return _HEADS[major][argument] if argument < 256 else _long_head(major, argument)


def encode(value: Encodable) -> bytes:
    """Return the one deterministic encoding of a value; Misuse for what has none."""
    if type(value) is tuple:  # records and their parts
        return head(_ARRAY, len(value)) + _encode_items(value, MAX_CBOR_DEPTH - 1)
    return _encode(value, MAX_CBOR_DEPTH)


def _encode(value: Any, depth: int) -> bytes:
    kind = type(value)  # exact types: bool is an int, and subclasses may lie about their value
    if kind is str:
        try:
            text: bytes = value.encode()
        except UnicodeEncodeError as error:
            raise Misuse("text holds a surrogate, which UTF-8 cannot spell") from error
        length = len(text)
        return (_TEXT_HEADS[length] if length < 256 else _long_head(_TEXT, length)) + text
    if kind is int:
        if value >= 0:
            if value <= MAX_INT:
                return head(_UNSIGNED, value)
        elif value >= MIN_INT:
            return head(_NEGATIVE, -1 - value)
        raise Misuse(f"integer is out of range: expected -2^63 to 2^64-1, got {value}")
    if kind is bytes:
        content: bytes = value
        length = len(content)
        return (_BYTES_HEADS[length] if length < 256 else _long_head(_BYTES, length)) + content
    if kind is dict or kind is list or kind is tuple:
        if depth == 0:
            raise Misuse(f"value is nested too deeply: expected at most {MAX_CBOR_DEPTH} levels")
        return _encode_container(value, depth - 1)
    if value is True:
        return b"\xf5"
    if value is False:
        return b"\xf4"
    if value is None:
        return b"\xf6"
    raise Misuse(f"type has no deterministic encoding: got {kind.__name__}")


@lru_cache(4096)
def _spell_short_key(key: str) -> bytes:
    return _encode(key, 0)


def _spell_key(key: str | int) -> bytes:
    """Return the encoding of a map key. Records have few different ones, and those are short."""
    return _spell_short_key(key) if type(key) is str and len(key) < 32 else _encode(key, 0)


def _encode_container(
    value: dict[object, object] | list[object] | tuple[object, ...],
    depth: int,
) -> bytes:
    if type(value) is not dict:
        return _encode_array(value, depth)
    pairs = []
    for key, item in value.items():
        if type(key) is not str and type(key) is not int:
            raise Misuse(f"map key must be text or an integer: got {type(key).__name__}")
        pairs.append((_spell_key(key), _encode(item, depth)))
    pairs.sort()
    return head(_MAP, len(value)) + b"".join([part for pair in pairs for part in pair])


def _encode_array(value: Any, depth: int) -> bytes:
    return head(_ARRAY, len(value)) + _encode_items(value, depth)


def encode_sequence(values: Sequence[Encodable]) -> bytes:
    """Return the encodings of values end to end (RFC 8742): the elements of an array that is put together in parts."""
    return _encode_items(values, MAX_CBOR_DEPTH - 1)


# Encodings of short texts: roles, states, the ids of those who are busy. Emptied when it is full.
_spelled: dict[str, bytes] = {}
MAX_SPELLED_TEXTS = 8192
MAX_SPELLED_CHARS = 64


def _spell_text(text: str) -> bytes:
    spelling = _encode(text, 0)
    if len(text) <= MAX_SPELLED_CHARS:
        if len(_spelled) >= MAX_SPELLED_TEXTS:
            _spelled.clear()
        _spelled[text] = spelling
    return spelling


def _encode_items(value: Any, depth: int) -> bytes:
    """Records are arrays of short texts, hashes and numbers: spell those here, without a call for each."""
    parts: list[bytes] = []
    add = parts.append
    spelled = _spelled.get
    for item in value:
        kind = type(item)
        if kind is str:
            add(spelled(item) or _spell_text(item))
        elif kind is int and 0 <= item < 1 << 64:
            if item < 256:
                add(_UNSIGNED_HEADS[item])
            elif item < 1 << 32:
                add(_long_head(_UNSIGNED, item))
            else:  # milliseconds
                add(b"\x1b" + item.to_bytes(8, "big"))
        elif kind is bytes:
            length = len(item)
            add(_BYTES_HEADS[length] if length < 256 else _long_head(_BYTES, length))
            add(item)
        elif item is None:
            add(b"\xf6")
        elif (kind is tuple or kind is list) and depth:
            add(_encode_array(item, depth - 1))
        else:
            add(_encode(item, depth))
    return b"".join(parts)


class _Doubt(Exception):
    """The fast decoder cannot vouch for a value."""


class _NoTags(dict[int, object]):
    """Refuses every tag before cbor2 makes anything of it: shared references and regular expressions included."""

    def get(self, key: int, default: object = None) -> object:
        raise _Doubt(key)

    __getitem__ = __missing__ = get


_NO_TAGS: Any = _NoTags()


def _head_length(argument: int) -> int:
    if argument < 24:
        return 1
    if argument < 1 << 8:
        return 2
    if argument < 1 << 16:
        return 3
    return 5 if argument < 1 << 32 else 9


@lru_cache(1024)
def _ordered_keys_length(*keys: str | int) -> int:
    """Return how long the keys of a map are together; 0 unless each is a key and they are in order, each once.

    Payloads have few different sets of keys. Texts and integers are never equal, so they are never taken for another.
    """
    total = 0
    previous = b""
    for key in keys:
        spelling = _encode(key, 0)
        if spelling <= previous:
            return 0
        previous = spelling
        total += len(spelling)
    return total


def _keys_length(value: dict[Any, object]) -> int:
    """Return how long the keys of a decoded map are together; _Doubt if they lack order or are no keys."""
    size = len(value)
    for key in value:
        if type(key) is str:
            size += len(key)
        elif type(key) is not int or not MIN_INT <= key <= MAX_INT:
            raise _Doubt
    known = _ordered_keys_length if size <= MAX_REMEMBERED_KEYS_SIZE else _ordered_keys_length.__wrapped__
    length = known(*value)
    if not length:
        raise _Doubt
    return length


def _deterministic_length(value: Any, depth: int) -> int:
    """Return how long the deterministic encoding of a decoded value is; _Doubt if it has none or keys lack order."""
    kind = type(value)
    if kind is dict:
        if not depth:
            raise _Doubt
        total = _head_length(len(value))
        if not value:
            return total
        return total + _keys_length(value) + _lengths(value.values(), depth - 1)
    if kind is list:
        if not depth:
            raise _Doubt
        return _head_length(len(value)) + _lengths(value, depth - 1)
    return _lengths((value,), depth)


def _lengths(items: Iterable[Any], depth: int) -> int:
    """The lengths of items together. Most are short texts, hashes and numbers: those are counted without a call."""
    total = 0
    for value in items:
        kind = type(value)
        if kind is str:
            length = len(value) if value.isascii() else len(value.encode())
            total += length + (1 if length < 24 else _head_length(length))
        elif kind is int:
            if value < 24:
                total += 1 if value >= -24 else _negative_length(value)
            elif value < 1 << 32:
                total += 5 if value >= 1 << 16 else 3 if value >= 1 << 8 else 2
            elif value <= MAX_INT:
                total += 9
            else:
                raise _Doubt
        elif kind is bytes:
            length = len(value)
            total += length + (1 if length < 24 else _head_length(length))
        elif kind is dict or kind is list:
            total += _deterministic_length(value, depth)
        elif value is True or value is False or value is None:
            total += 1
        else:
            raise _Doubt
    return total


def _negative_length(value: int) -> int:
    if value < MIN_INT:
        raise _Doubt
    return _head_length(-1 - value)


# By initial byte, how long an item is without what it contains; 0 for strings whose length follows.
_ITEM_BYTES = [
    1 + (information if major in (_BYTES, _TEXT) else 0)
    if information < 24
    else (0 if major in (_BYTES, _TEXT) else 1 + (1 << (information - 24)))
    if information < 28
    else 1
    for major in range(8)
    for information in range(32)
]


def _verify_item_count(data: bytes, max_items: int) -> None:
    """Count heads, one after the other, with no regard for what is in what. Well-formed or not is for the decoder."""
    steps, position = _ITEM_BYTES, 0
    try:
        for _ in range(max_items):
            initial = data[position]
            step = steps[initial]
            if not step:
                if initial & 31 == 24:
                    step = 2 + data[position + 1]
                elif initial & 31 == 25:
                    step = 3 + (data[position + 1] << 8 | data[position + 2])
                else:
                    content = position + 1 + (1 << ((initial & 31) - 24))
                    step = content - position + int.from_bytes(data[position + 1 : content], "big")
            position += step
        data[position]
    except IndexError:
        return
    raise Malformed("too_many", f"cbor has too many items: expected at most {max_items}")


def decode(data: bytes, *, max_bytes: int = MAX_CBOR_BYTES, max_items: int = MAX_CBOR_ITEMS) -> Value:
    """Return the value that the bytes spell; Malformed unless they are its one deterministic encoding."""
    if len(data) > max_bytes:
        raise Malformed("too_large", f"cbor is too large: expected at most {max_bytes} bytes, got {len(data)}")
    if len(data) > max_items:
        _verify_item_count(data, max_items)
    try:
        fast = _build(data)
        if _deterministic_length(fast, MAX_CBOR_DEPTH) == len(data):
            return fast
    except (cbor2.CBORDecodeError, _Doubt, UnicodeError):
        pass
    return decode_strictly(data)


def _build(data: bytes) -> Value:
    value: Value = cbor2.loads(data, max_depth=MAX_CBOR_DEPTH + 1, allow_indefinite=False, semantic_decoders=_NO_TAGS)
    return value


def decode_unmeasured(data: bytes, *, max_bytes: int = MAX_CBOR_BYTES) -> Value:
    """Return the value that the bytes spell in any way: only for who formats what it accepts again and compares."""
    if len(data) > max_bytes:
        raise Malformed("too_large", f"cbor is too large: expected at most {max_bytes} bytes, got {len(data)}")
    try:
        return _build(data)
    except (cbor2.CBORDecodeError, _Doubt):
        return decode_strictly(data)


def decode_strictly(data: bytes) -> Value:
    """Do what `decode` does with nothing but the rules, byte by byte: slower, and it can say where a fault is."""
    try:
        value, end = _decode(data, 0, MAX_CBOR_DEPTH)
    except IndexError as error:
        raise Malformed("malformed_cbor", f"cbor ends early: got {len(data)} bytes") from error
    if end != len(data):
        raise Malformed("malformed_cbor", f"bytes follow the cbor item: expected {end} bytes, got {len(data)}")
    return value


def _argument(data: bytes, start: int, information: int) -> tuple[int, int]:
    """Read an argument of more than five bits; return it and where it ends."""
    if information == 24:
        argument = data[start]
        if argument < 24:
            raise Malformed("non_canonical_cbor", f"argument is not in its shortest form at byte {start}")
        return argument, start + 1
    if information > 27:
        if information == 31:
            raise Malformed("non_canonical_cbor", f"indefinite length at byte {start - 1}")
        raise Malformed("malformed_cbor", f"reserved additional information {information} at byte {start - 1}")
    width = 1 << (information - 24)
    end = start + width
    if end > len(data):
        raise Malformed("malformed_cbor", f"cbor ends early: got {len(data)} bytes")
    argument = int.from_bytes(data[start:end], "big")
    if argument >> (width * 4) == 0:
        raise Malformed("non_canonical_cbor", f"argument is not in its shortest form at byte {start}")
    return argument, end


def _decode(data: bytes, start: int, depth: int) -> tuple[Value, int]:
    initial = data[start]
    major = initial >> 5
    argument = initial & 31
    end = start + 1
    if argument >= 24 and major < 6:
        argument, end = _argument(data, end, argument)
    if major in (_TEXT, _BYTES):
        stop = end + argument
        content = data[end:stop]
        if len(content) != argument:
            raise Malformed("malformed_cbor", f"string ends early at byte {start}: expected {argument} bytes")
        if major == _BYTES:
            return content, stop
        try:
            return str(content, "utf-8"), stop
        except UnicodeDecodeError as error:
            raise Malformed("malformed_cbor", f"text is not utf-8 at byte {start}") from error
    if major == _UNSIGNED:
        return argument, end
    if major in (_MAP, _ARRAY):
        if depth == 0:
            raise Malformed("unsupported_cbor", f"nested too deeply at byte {start}: at most {MAX_CBOR_DEPTH} levels")
        if argument > len(data) - end:
            raise Malformed("malformed_cbor", f"container ends early at byte {start}: expected {argument} items")
        return (_decode_map if major == _MAP else _decode_array)(data, end, argument, depth - 1)
    if major == _NEGATIVE:
        value = -1 - argument
        if value < MIN_INT:
            raise Malformed("unsupported_cbor", f"integer is out of range at byte {start}: expected at least -2^63")
        return value, end
    return _decode_simple(initial, start), end


def _decode_simple(initial: int, start: int) -> Value:
    if initial == 0xF5:
        return True
    if initial == 0xF4:
        return False
    if initial == 0xF6:
        return None
    if initial >> 5 == _TAG:
        raise Malformed("unsupported_cbor", f"tag at byte {start}")
    raise Malformed("unsupported_cbor", f"float, undefined or other simple value at byte {start}: got {initial:#04x}")


def _decode_array(data: bytes, start: int, count: int, depth: int) -> tuple[list[Value], int]:
    items: list[Value] = []
    for _ in range(count):
        item, start = _decode(data, start, depth)
        items.append(item)
    return items, start


def _decode_map(data: bytes, start: int, count: int, depth: int) -> tuple[dict[str | int, Value], int]:
    items: dict[str | int, Value] = {}
    previous = b""
    for _ in range(count):
        key, end = _decode(data, start, 0)
        spelling = data[start:end]
        if spelling <= previous:
            fault = "repeated" if spelling == previous else "out of order"
            raise Malformed("non_canonical_cbor", f"map key is {fault} at byte {start}")
        if type(key) is not str and type(key) is not int:
            raise Malformed("unsupported_cbor", f"map key is neither text nor an integer at byte {start}")
        previous = spelling
        items[key], start = _decode(data, end, depth)
    return items, start

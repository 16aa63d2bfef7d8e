"""Damage, made by rule: the same list of named changes for the same bytes, whenever it is made.

Promises: every bit position class, every length, every line, every field, every base64 text, every number and every
head of CBOR is changed in each of the ways listed here. Nothing is random, so that a change that gets through has a
name, and is found again. Where a file is long, positions are taken at even distances.

Does not: know any format, nor repair signatures after a change. What a *signer* could do wrong is for the tests of
each format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

MAX_POSITIONS = 96
# Enough of one byte to be a problem, were it read or counted without a limit.
HUGE_BYTES = 2 * 1024 * 1024
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/=])(?:[A-Za-z0-9+/]{4}){2,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?(?![A-Za-z0-9+/=])"
)
_VKEY = re.compile(r"(?<=\+[0-9a-f]{8}\+)[A-Za-z0-9+/]+={0,2}")
_NUMBER = re.compile(r"(?<![A-Za-z0-9+/=._-])[0-9]+(?![A-Za-z0-9+/=._-])")

Rule = Callable[[bytes], Iterator[tuple[str, bytes]]]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One changed file, and what was done to it."""

    name: str
    data: bytes


def mutations(data: bytes, *rules: Rule) -> Iterator[Mutation]:
    """Yield each different result of the rules once, under the name by which it came first."""
    seen = {sha256(data).digest()}
    for rule in rules:
        for name, changed in rule(data):
            digest = sha256(changed).digest()
            if digest not in seen:
                seen.add(digest)
                yield Mutation(name, changed)


def spread(count: int) -> list[int]:
    """At most `MAX_POSITIONS` of 0 to count - 1, at even distances, first and last among them."""
    if count <= MAX_POSITIONS:
        return list(range(count))
    return sorted({number * (count - 1) // (MAX_POSITIONS - 1) for number in range(MAX_POSITIONS)})


# --- any bytes --------------------------------------------------------------------------------------------------------


def as_bytes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Flipped bits, cut and lengthened files, parts moved and repeated."""
    yield "nothing", b""
    for at in spread(len(data)):
        yield f"byte {at} flipped", _with(data, at, data[at] ^ 1 << at % 8)
    for at in spread(len(data))[1:]:
        yield f"cut to {at}", data[:at]
    for at in spread(len(data))[::8]:
        yield f"byte {at} missing", data[:at] + data[at + 1 :]
        yield f"byte {at} twice", data[: at + 1] + data[at:]
        yield f"byte {at} is 0", _with(data, at, 0)
        yield f"byte {at} is 255", _with(data, at, 255)
    half = len(data) // 2
    yield "halves swapped", data[half:] + data[:half]
    yield "backwards", data[::-1]
    yield "twice", data + data
    for name, byte in (("zero", b"\0"), ("newline", b"\n"), ("space", b" "), ("ff", b"\xff")):
        yield f"{name} before", byte + data
        yield f"{name} after", data + byte
    yield "byte order mark before", b"\xef\xbb\xbf" + data
    yield "huge, of zeros", bytes(HUGE_BYTES)
    yield "huge after", data + bytes(HUGE_BYTES)


def _with(data: bytes, at: int, byte: int) -> bytes:
    return data[:at] + bytes((byte,)) + data[at + 1 :]


# --- text in lines ----------------------------------------------------------------------------------------------------


def as_lines(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Lines missing, twice, swapped, moved, and spelled another way."""
    text = data.decode()
    lines = text.split("\n")
    for number, line in enumerate(lines):
        before, after = lines[:number], lines[number + 1 :]
        what = f"line {number}"
        yield f"{what} missing", _text([*before, *after])
        yield f"{what} twice", _text([*before, line, line, *after])
        yield f"{what} empty", _text([*before, "", *after])
        yield f"an empty line before {what}", _text([*before, "", line, *after])
        if after:
            yield f"{what} after the next", _text([*before, after[0], line, *after[1:]])
            yield f"{what} joined to the next", _text([*before, line + after[0], *after[1:]])
        yield f"{what} last", _text([*before, *after, line])
        yield f"{what} first", _text([line, *before, *after])
        for name, changed in _respelled(line):
            yield f"{what} {name}", _text([*before, changed, *after])
        yield f"{what} a thousand times", _text([*before, *[line] * 1000, *after])
    yield "lines ended as on Windows", data.replace(b"\n", b"\r\n")
    yield "lines backwards", _text(lines[::-1])
    yield "the last newline missing", data.removesuffix(b"\n")


def _respelled(line: str) -> Iterator[tuple[str, str]]:
    yield "after a space", " " + line
    yield "before a space", line + " "
    yield "before a carriage return", line + "\r"
    yield "before a tab", line + "\t"
    yield "with two spaces for one", line.replace(" ", "  ", 1)
    yield "with a tab for a space", line.replace(" ", "\t", 1)
    yield "with a hard space for a space", line.replace(" ", "\u00a0", 1)
    yield "in upper case", line.upper()
    yield "in lower case", line.lower()
    yield "with a hyphen for a dash", line.replace("—", "-", 1)
    yield "with a zero in it", line[: len(line) // 2] + "\0" + line[len(line) // 2 :]


def _text(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


def as_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every decimal of a text, spelled otherwise, off by one, and huge."""
    text = data.decode()
    for count, match in enumerate(_NUMBER.finditer(text)):
        digits = match[0]
        for name, changed in (
            ("after a zero", "0" + digits),
            ("after a plus", "+" + digits),
            ("after a minus", "-" + digits),
            ("one more", str(int(digits) + 1)),
            ("one less", str(int(digits) - 1)),
            ("with a point", digits + ".0"),
            ("with an exponent", digits + "e0"),
            ("with an underscore", digits[:1] + "_" + digits[1:]),
            ("in hexadecimal", hex(int(digits))),
            ("in Arabic digits", "".join(chr(0x660 + int(digit)) for digit in digits)),
            ("in full width", "".join(chr(0xFF10 + int(digit)) for digit in digits)),
            ("of 2^63", str(1 << 63)),
            ("of 2^64 - 1", str((1 << 64) - 1)),
            ("of five thousand digits", "9" * 5000),
            ("empty", ""),
            ("a word", "many"),
        ):
            yield f"number {count} {name}", (text[: match.start()] + changed + text[match.end() :]).encode()


def as_base64(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every base64 text, in spellings that loose decoders take, of another length, and of other bytes."""
    text = data.decode()
    # What follows the two signs of a vkey is base64 as well, and its own sign of 62 is theirs.
    for count, match in enumerate(list(_VKEY.finditer(text)) or _BASE64.finditer(text)):
        encoded = match[0]
        bare = encoded.rstrip("=")
        padding = len(encoded) - len(bare)
        loose = _ALPHABET[_ALPHABET.index(bare[-1]) | (1 if padding else 0)]
        for name, changed in (
            ("with spare bits set", bare[:-1] + loose + "=" * padding),
            ("without padding", bare),
            ("with more padding", encoded + "="),
            ("of four more", "AAAA" + encoded),
            ("of four fewer", encoded[4:]),
            ("of one group", encoded[:4]),
            ("in the alphabet for addresses", encoded.replace("+", "-").replace("/", "_")),
            ("with a newline in it", encoded[:4] + "\n" + encoded[4:]),
            ("with a space in it", encoded[:4] + " " + encoded[4:]),
            ("with padding in it", encoded[:4] + "====" + encoded[4:]),
            ("with a percent sign in it", encoded[:4] + "%" + encoded[5:]),
            ("of zeros", "A" * len(bare) + "=" * padding),
            ("of a million zeros", "A" * 1_000_000),
        ):
            yield f"base64 {count} {name}", (text[: match.start()] + changed + text[match.end() :]).encode()
        for at in (0, 1, 5, len(bare) // 2, len(bare) - 2):
            other = _ALPHABET[_ALPHABET.index(bare[at]) ^ 1]
            changed = encoded[:at] + other + encoded[at + 1 :]
            yield f"base64 {count} character {at}", (text[: match.start()] + changed + text[match.end() :]).encode()


def as_text(data: bytes) -> Iterator[tuple[str, bytes]]:
    """All that can be done to text."""
    yield from as_lines(data)
    yield from as_numbers(data)
    yield from as_base64(data)


# --- CBOR -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """Where one CBOR item stands: its head, all of it, and what is inside it."""

    path: str
    major: int
    argument: int
    start: int
    content: int  # where the head ends
    end: int
    children: tuple[Item, ...]

    def walk(self) -> Iterator[Item]:
        yield self
        for child in self.children:
            yield from child.walk()


def items_of(data: bytes) -> Item:
    """The items of bytes in deterministic CBOR, written down once more for these tests: RFC 8949 section 3."""
    return _item(data, 0, "top")


def _item(data: bytes, start: int, path: str) -> Item:
    major, info = data[start] >> 5, data[start] & 31
    width = 0 if info < 24 else 1 << info - 24
    content = start + 1 + width
    argument = int.from_bytes(data[start + 1 : content], "big") if width else info
    children: list[Item] = []
    end = content
    if major in (2, 3):
        end = content + argument
    elif major in (4, 5, 6):
        for number in range({4: argument, 5: 2 * argument, 6: 1}[major]):
            children.append(_item(data, end, f"{path}.{number}"))
            end = children[-1].end
    return Item(path, major, argument, start, content, end, tuple(children))


def _head(major: int, argument: int, width: int | None = None) -> bytes:
    if width is None:
        width = 0 if argument < 24 else next(each for each in (1, 2, 4, 8) if argument < 1 << 8 * each)
    if width == 0:
        return bytes((major << 5 | argument,))
    return bytes((major << 5 | 24 + width.bit_length() - 1,)) + argument.to_bytes(width, "big")


_STRANGE = {
    "null": b"\xf6",
    "undefined": b"\xf7",
    "true": b"\xf5",
    "a number": b"\x01",
    "a negative number": b"\x20",
    "2^64 - 1": b"\x1b" + b"\xff" * 8,
    "-2^64": b"\x3b" + b"\xff" * 8,
    "a float": b"\xfb\x3f\xf0" + bytes(6),
    "half of nothing": b"\xf9\x7e\x00",
    "a big number": b"\xc2\x41\x01",
    "bytes": b"\x41\x00",
    "text": b"\x61a",
    "no bytes": b"\x40",
    "no text": b"\x60",
    "an empty array": b"\x80",
    "an empty map": b"\xa0",
    "a tag": b"\xc6\x01",
    "text that is no utf-8": b"\x61\xff",
    "a reserved head": b"\x1c",
    "a break": b"\xff",
}


def as_cbor(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every head respelled and every count made huge; every item replaced, tagged, wrapped; every element and entry
    missing, twice, out of order.
    """
    for item in items_of(data).walk():
        whole, inside = data[item.start : item.end], data[item.content : item.end]

        def put(changed: bytes, item: Item = item) -> bytes:
            return data[: item.start] + changed + data[item.end :]

        what = item.path
        for width in (1, 2, 4, 8):
            if item.major != 7 and item.argument < 1 << 8 * width:
                yield f"{what} head of {width}", put(_head(item.major, item.argument, width) + inside)
        if item.major in (2, 3, 4, 5):
            yield f"{what} of open length", put(bytes((item.major << 5 | 31,)) + _chunked(item, inside) + b"\xff")
            for name, count in (("2^16", 1 << 16), ("2^32", 1 << 32), ("2^63", 1 << 63), ("2^64 - 1", (1 << 64) - 1)):
                yield f"{what} count of {name}", put(_head(item.major, count) + inside)
            yield f"{what} count one more", put(_head(item.major, item.argument + 1) + inside)
            if item.argument:
                yield f"{what} count one less", put(_head(item.major, item.argument - 1) + inside)
        if item.major in (2, 3) and item.argument:
            for name, changed in (
                ("shorter", inside[:-1]),
                ("longer", inside + inside[-1:]),
                ("zero", bytes(len(inside))),
            ):
                yield f"{what} {name}", put(_head(item.major, len(changed)) + changed)
            yield f"{what} of the other sort", put(_head(5 - item.major, item.argument) + inside)
            yield f"{what} huge", put(_head(item.major, HUGE_BYTES) + bytes(HUGE_BYTES))
        if item.major in (0, 1):
            for name, number in (("one more", item.argument + 1), ("one less", max(item.argument - 1, 0))):
                yield f"{what} {name}", put(_head(item.major, number))
            yield f"{what} with the other sign", put(_head(1 - item.major, item.argument))
        for name, strange in _STRANGE.items():
            yield f"{what} is {name}", put(strange)
        yield f"{what} tagged", put(b"\xd8\x18" + whole)
        yield f"{what} in an array", put(b"\x81" + whole)
        yield f"{what} as bytes", put(_head(2, len(whole)) + whole)
        if item.major == 6:
            yield f"{what} without its tag", put(inside)
            yield f"{what} with another tag", put(_head(6, item.argument + 1) + inside)
        yield from _elements(item, data, what, put)
    yield "ten thousand arrays", b"\x81" * 10_000 + b"\x80"
    yield "ten thousand tags", b"\xc6" * 10_000 + b"\x00"
    yield "half a million nulls", _head(4, 500_000) + b"\xf6" * 500_000


def _chunked(item: Item, inside: bytes) -> bytes:
    return _head(item.major, len(inside)) + inside if item.major in (2, 3) else inside


def _elements(item: Item, data: bytes, what: str, put: Callable[[bytes], bytes]) -> Iterator[tuple[str, bytes]]:
    size = {4: 1, 5: 2}.get(item.major)
    if size is None:
        return
    spelled = [data[each.start : each.end] for each in item.children]
    entries = [b"".join(spelled[at : at + size]) for at in range(0, len(spelled), size)]

    def made(changed: list[bytes]) -> bytes:
        return put(_head(item.major, len(changed)) + b"".join(changed))

    for at, entry in enumerate(entries):
        yield f"{what} entry {at} missing", made(entries[:at] + entries[at + 1 :])
        yield f"{what} entry {at} twice", made([*entries[: at + 1], *entries[at:]])
        if at + 1 < len(entries):
            yield f"{what} entry {at} after the next", made([*entries[:at], entries[at + 1], entry, *entries[at + 2 :]])
    strange = b"\x61~\x00" if size == 2 else b"\x00"
    yield f"{what} one entry more", made([*entries, strange])
    if len(entries) > 1:
        yield f"{what} backwards", made(entries[::-1])

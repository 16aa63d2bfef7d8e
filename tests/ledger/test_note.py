"""Signed notes: the published example, one spelling, and nothing believed of a tampered one."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import note as notes
from ledger.errors import Malformed, Misuse, Untrue
from ledger.note import (
    COSIGNATURE_V1,
    ED25519,
    Note,
    NoteSignature,
    NoteSigner,
    VerifierKey,
    format_note,
    format_vkey,
    parse_note,
    parse_vkey,
)

# The example in the documentation of the Go package that signed-note specifies.
EXAMPLE_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

SIGNATURE = NoteSignature("example.com/x", b"\x00\x01\x02\x03", bytes(64))
GOOD = format_note(Note("one\n\ntwo\n", (SIGNATURE,)))


def test_the_published_example_parses_and_verifies() -> None:
    note, key = parse_note(EXAMPLE_NOTE), parse_vkey(EXAMPLE_VKEY)
    assert [(line.name, line.key_id) for line in note.signatures] == [(key.name, key.key_id)]
    key.verify(note.text.encode(), note.signatures[0].signature)
    assert format_note(note) == EXAMPLE_NOTE
    assert format_vkey(key) == EXAMPLE_VKEY


def test_text_may_hold_empty_lines_and_any_script() -> None:
    note = Note("Ognuno sta solo\n\ned è subito sera.\n", (SIGNATURE, SIGNATURE))
    assert parse_note(format_note(note)) == note
    assert parse_note(b"\n\n" + format_note(Note("x\n", (SIGNATURE,)))).text == "\n\nx\n"


LINE = notes.format_signature(SIGNATURE)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("nothing", b""),
        ("no signature", b"text\n\n"),
        ("no empty line", f"text\n{LINE}".encode()),
        ("no newline at the end", f"text\n\n{LINE}".encode()[:-1]),
        ("an empty line at the end", f"text\n\n{LINE}\n".encode()),
        ("a line among the signatures", f"text\n\n{LINE}x\n".encode()),
        ("a carriage return", f"text\r\n\n{LINE}".encode()),
        ("a tab", f"te\txt\n\n{LINE}".encode()),
        ("a null", f"te\0xt\n\n{LINE}".encode()),
        ("latin-1", "è\n\n".encode("latin-1") + LINE.encode()),
        ("a byte order mark that is cut", b"\xef\xbb" + GOOD),
        ("a hyphen for the dash", f"text\n\n- {LINE[2:]}".encode()),
        ("two spaces", f"text\n\n{LINE.replace(' ', '  ', 1)}".encode()),
        ("two spaces before the signature", f"text\n\n{'  '.join(LINE.rsplit(' ', 1))}".encode()),
        ("a space after the signature", f"text\n\n{LINE[:-1]} \n".encode()),
        ("a no-break space in the name", f"text\n\n{LINE.replace('/', chr(0xA0))}".encode()),
        ("an ideographic space in the name", f"text\n\n{LINE.replace('/', chr(0x3000))}".encode()),
        ("a plus in the name", f"text\n\n{LINE.replace('/', '+')}".encode()),
        ("no name", f"text\n\n— {LINE.rsplit(' ', 1)[1]}".encode()),
        ("an empty name", f"text\n\n—  {LINE.rsplit(' ', 1)[1]}".encode()),
        ("a key id alone", "text\n\n— a AAECAw==\n".encode()),
        ("less than a key id", "text\n\n— a AAE=\n".encode()),
        ("no signature at all", "text\n\n— a \n".encode()),
        ("base64 without padding", "text\n\n— a AAECAwQ\n".encode()),
        ("base64 with stray bits", "text\n\n— a AAECAwR=\n".encode()),
        ("base64 for URLs", "text\n\n— a AAECAwT_\n".encode()),
        ("base64 of other digits", "text\n\n— a AAECAwQ١\n".encode()),
        ("too many signatures", ("text\n\n" + LINE * (notes.MAX_NOTE_SIGNATURES + 1)).encode()),
    ],
)
def test_a_note_is_malformed_with(what: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_note(data)


def test_the_size_of_a_note_is_limited_and_sixteen_large_signatures_fit() -> None:
    large = NoteSignature("a", bytes(4), bytes(5000))
    parse_note(format_note(Note("text\n", (large,) * 16)))
    with pytest.raises(Malformed) as caught:
        parse_note(bytes(notes.MAX_NOTE_BYTES + 1))
    assert caught.value.code == "too_large"


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(notes.is_key_name)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\n"), max_size=60)
signature_lines = st.builds(NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))


@given(texts.map(lambda text: text + "\n"), st.lists(signature_lines, min_size=1, max_size=5).map(tuple))
def test_any_note_comes_back_as_it_was_formatted(text: str, signatures: tuple[NoteSignature, ...]) -> None:
    note = Note(text, signatures)
    assert parse_note(format_note(note)) == note


@given(st.data())
def test_whatever_parses_is_its_own_format(draw: st.DataObject) -> None:
    data = bytearray(EXAMPLE_NOTE)
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        note = parse_note(bytes(data))
    except Malformed:
        return
    assert format_note(note) == bytes(data)


def test_every_flipped_bit_of_a_note_is_malformed_or_untrue_or_another_key() -> None:
    key = parse_vkey(EXAMPLE_VKEY)
    for position in range(len(EXAMPLE_NOTE) * 8):
        data = bytearray(EXAMPLE_NOTE)
        data[position // 8] ^= 1 << position % 8
        try:
            note = parse_note(bytes(data))
        except Malformed:
            continue
        line = note.signatures[0]
        if (line.name, line.key_id) == (key.name, key.key_id):
            with pytest.raises(Untrue, match="bad_signature"):
                key.verify(note.text.encode(), line.signature)


def test_what_no_note_can_hold_is_misuse() -> None:
    for note in (
        Note("no newline", (SIGNATURE,)),
        Note("text\n", ()),
        Note("text\n", (SIGNATURE,) * 65),
        Note("text\n", (NoteSignature("a b", bytes(4), b"x"),)),
        Note("text\n", (NoteSignature("a", bytes(3), b"x"),)),
        Note("text\n", (NoteSignature("a", bytes(4), b""),)),
    ):
        with pytest.raises(Misuse):
            format_note(note)


def test_a_key_id_depends_on_name_type_and_key() -> None:
    one, other = NoteSigner.generate(), NoteSigner.generate()
    keys = [
        one.verifier("a", ED25519),
        one.verifier("a", COSIGNATURE_V1),
        one.verifier("b", ED25519),
        other.verifier("a", ED25519),
    ]
    assert len({key.key_id for key in keys}) == 4
    for key in keys:
        assert parse_vkey(format_vkey(key)) == key


@pytest.mark.parametrize("position", range(len(EXAMPLE_VKEY)))
def test_every_flipped_bit_of_a_vkey_is_malformed(position: int) -> None:
    for bit in range(7):
        text = EXAMPLE_VKEY[:position] + chr(ord(EXAMPLE_VKEY[position]) ^ 1 << bit) + EXAMPLE_VKEY[position + 1 :]
        with pytest.raises(Malformed):
            parse_vkey(text)


def test_vkeys_of_other_types_or_with_bad_keys_are_malformed() -> None:
    good = NoteSigner.generate().public_key
    for key in (
        VerifierKey("a", 0x02, good),
        VerifierKey("a", 0x06, good),
        VerifierKey("a", ED25519, good[:31]),
        VerifierKey("a", ED25519, good + b"\0"),
        VerifierKey("a", ED25519, b"\x01" + bytes(31)),
        VerifierKey("a b", ED25519, good),
        VerifierKey("", ED25519, good),
    ):
        with pytest.raises(Malformed):
            parse_vkey(format_vkey(key))
    for text in (
        "",
        "a",
        "a+00000000",
        "+00000000+AAAA",
        "a" * 600,
        format_vkey(NoteSigner.generate().verifier("a", 1)).upper(),
    ):
        with pytest.raises(Malformed):
            parse_vkey(text)


def test_a_signer_survives_pem_and_hides_its_secret() -> None:
    signer = NoteSigner(bytes(range(32)))
    again = NoteSigner.from_pem(signer.to_pem())
    assert again.public_key == signer.public_key
    assert again.sign(b"x") == signer.sign(b"x")
    assert bytes(range(32)).hex() not in repr(signer)
    for name, algorithm in (("a b", ED25519), ("a", 0x02)):
        with pytest.raises(Misuse):
            signer.verifier(name, algorithm)
    with pytest.raises(Misuse):
        NoteSigner(bytes(31))


def test_the_characters_that_no_key_name_may_hold_are_plus_controls_and_the_space_of_every_script() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        barred = character == "+" or character < " " or character.isspace() or 0xD800 <= number <= 0xDFFF
        assert notes.is_key_name(character) is not barred, hex(number)

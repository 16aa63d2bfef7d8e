"""What people are shown of a text from outside: nothing that a terminal or a browser obeys."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.plain_text import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Бахты — 巴克图, 20\u00a0t", "Бахты — 巴克图, 20\u00a0t"),
        ("\x1b[2J\x1b]0;all holds\x07", r"\u001b[2J\u001b]0;all holds\u0007"),
        ("\r  9 record holds", r"\r  9 record holds"),
        ("\x9b2J\x7f", r"\u009b2J\u007f"),
        ("kz\u202eztc\u2066", r"kz\u202eztc\u2066"),
        ("a\u200db\ufeff\u2028c", r"a\u200db\ufeff\u2028c"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\udb40\udc41"),
        ("two\nlines\t", r"two\nlines\t"),
    ],
)
def test_what_moves_hides_or_turns_around_other_text_is_spelled_out(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_what_the_caller_keeps_stays() -> None:
    assert plain("two\nlines\x1b", "\n") == "two\nlines\\u001b"


@given(st.text(st.characters(exclude_categories=[])))
def test_nothing_else_is_left_and_json_stays_the_same_json(text: str) -> None:
    shown = plain(text)
    assert not any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in shown)
    document = json.dumps({"text": text}, ensure_ascii=False)
    assert json.loads(plain(document)) == json.loads(document)


def test_no_character_at_all_gets_through_that_is_none() -> None:
    shown = plain("".join(map(chr, range(sys.maxunicode + 1))))
    assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2066", "\u061c", "\u200f"} & set(shown)

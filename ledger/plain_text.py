"""Text from outside as people may be shown it: what moves a cursor, hides or turns around other text is spelled out.

A terminal obeys escape sequences, and both it and a browser obey the characters that change the direction of writing
(U+202E and others): whoever may write a name into a statement could otherwise write what the reader sees of the checks.

Promises: nothing comes out but printable characters of any script, spaces, and what the caller keeps; all else as JSON
spells it in ASCII, so that JSON stays the same JSON. Does not: say that a text is what it looks like: letters of two
scripts may look alike.
"""

from __future__ import annotations

import json
import re
import unicodedata

# Control, format (directions, joiners, tags), surrogates, line and paragraph separators.
_SPELLED_OUT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Every line ends with a character that is not printable, so a look at the whole would seldom be enough.
_beside_ascii = re.compile(r"[^ -~]+")


def plain(text: str, keep: str = "") -> str:
    """The text, with every character spelled out that is not to be shown as it is, but those in `keep`."""

    def shown(found: re.Match[str]) -> str:
        run = found[0]
        if run.isprintable():
            return run
        return "".join(each if each in keep or not _is_spelled_out(each) else _spelled(each) for each in run)

    return _beside_ascii.sub(shown, text)


def _is_spelled_out(character: str) -> bool:
    return unicodedata.category(character) in _SPELLED_OUT


def _spelled(character: str) -> str:
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]

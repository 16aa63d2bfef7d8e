"""What the command line writes, on its way to a terminal or a file: `ledger.plain_text` of it, line by line.

Promises: whichever command prints whatever it got from outside, no escape sequence and no character that turns writing
around leaves raw. Bytes pass as they are: a document that is asked for is handed out unchanged.

Does not: keep a line break in a foreign text from looking like a line of ours; who prints such a text spells it out.
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ledger.plain_text import plain

KEPT = "\n\t"


class PlainStream:
    """A text stream that writes plain text to another."""

    def __init__(self, stream: TextIO) -> None:
        self.unfiltered = stream

    def write(self, text: str) -> int:
        self.unfiltered.write(plain(text, KEPT))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Standard output and standard error, plain; also where they are it already."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _plain(sys.stdout), _plain(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _plain(stream: TextIO) -> Any:
    if isinstance(stream, PlainStream):
        return stream
    if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name == "ascii":
        # Click takes ASCII for a mistake, and would write UTF-8 to the bytes below such a stream, past this one.
        stream.reconfigure(encoding="utf-8", errors="replace")
    return PlainStream(stream)


def unfiltered(stream: TextIO) -> TextIO:
    """For what draws on the terminal with escape sequences of its own, and nothing from outside."""
    found: TextIO = getattr(stream, "unfiltered", stream)
    return found

"""Every transcript says what it said when somebody last read it."""

from __future__ import annotations

import pytest

from tests.consensus.transcript import TRANSCRIPTS, run


@pytest.mark.parametrize("name", sorted(path.name for path in TRANSCRIPTS.glob("*.txt")))
def test_the_transcript_has_not_changed(name: str) -> None:
    text = (TRANSCRIPTS / name).read_text()
    # Meant to change? `python -m tests.consensus.transcript --update`, and read the difference.
    assert run(text) == text


def test_there_are_transcripts() -> None:
    assert len(list(TRANSCRIPTS.glob("*.txt"))) >= 10

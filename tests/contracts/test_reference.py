"""The reference says what the tables say."""

from __future__ import annotations

from pathlib import Path

from contracts.reference import text


def test_the_reference_in_docs_is_up_to_date() -> None:
    path = Path(__file__).parents[2] / "docs" / "contracts.md"
    assert path.read_text(encoding="utf-8") == text(), (
        "write it again: python -m contracts.reference > docs/contracts.md"
    )

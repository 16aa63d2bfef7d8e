"""The page that builds a contract: its code is the file that ships, and what it quotes of other files stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-a-contract.md").read_text()


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_the_code_of_the_page_is_the_shipped_file_whole_and_in_its_order() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    shipped = (ROOT / "contracts" / "phytosanitary.py").read_text()
    assert _lines("\n".join(blocks)) == _lines(shipped)
    assert all(block.strip("\n") in shipped for block in blocks), "blank lines inside a block are the file's too"


def test_what_the_page_quotes_of_other_files_stands_in_them() -> None:
    quoted = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    sources = [(ROOT / "contracts" / name).read_text() for name in ("outcome.py", "catalogue.py")]
    assert len(quoted) == 2
    for text, source in zip(quoted, sources, strict=True):
        assert text in source

"""A history on disk is the history."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.history import COMMITTED, SUBMIT, UNKNOWN, History, Operation, read_history


def test_a_history_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = [
        Operation(SUBMIT, "lane-0", "kz-kgd-gateway-1#1", "aa", 0.0, 1.5, COMMITTED, index=0, height=1),
        Operation(SUBMIT, "lane-1", "kz-kgd-gateway-1#1", "bb", 0.25, 2.0, UNKNOWN, detail="Unreachable: gone"),
    ]
    with (tmp_path / "history.jsonl").open("w") as file:
        history = History(file)
        for operation in written:
            history.add(operation)
    assert read_history(tmp_path / "history.jsonl").operations == written


@pytest.mark.parametrize("line", ['{"kind": "submit", "colour": "red"}', '{"kind": "submit"}'])
def test_a_line_that_is_no_operation_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "history.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1"):
        read_history(tmp_path / "history.jsonl")

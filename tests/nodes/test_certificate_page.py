"""The commands in docs/certificate.md run as they stand there; what asks a gateway asks a stand-in for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nodes.cli import EXIT_HOLDS
from nodes.cli import crossing as command
from tests.contracts.crossings import POLICY, crossed
from tests.nodes.test_cli import run
from tests.nodes.test_documented_commands import ROOT, documented_commands

PAGE = ROOT / "docs" / "certificate.md"


def test_the_page_can_be_followed_command_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = crossed()
    book.export(tmp_path / "archive")
    (tmp_path / "border.policy").write_bytes(POLICY)
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[Any, ...]] = []

    class StandIn:
        def certificate(self, mrn: str, *, declarations: bool) -> bytes:
            asked.append((mrn, declarations))
            return book.certificate(mrn)

    @contextmanager
    def client(url: str, participant: str | None, key: Path | None) -> Iterator[StandIn]:
        asked.append((url, participant, str(key)))
        yield StandIn()

    monkeypatch.setattr(command, "open_client", client)
    for words in documented_commands(PAGE):
        assert words[0] == "comity"
        result = run(*words[1:])
        assert result.exit_code == EXIT_HOLDS, (words, result.output)
    assert asked == [("http://127.0.0.1:7006", "kz-kgd/officer", "officer.key"), ("26KZ000000000001J9", True)]
    assert run("verify", "b.crossing", "--policy", "border.policy").exit_code == EXIT_HOLDS

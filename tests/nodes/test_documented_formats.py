"""The commands in docs/wco.md and docs/epcis.md run as they stand there, on the example beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from api.wco.importing import Given, import_declaration
from nodes.cli import EXIT_HOLDS
from tests.api.wco.documents import lodged
from tests.ledger.archives import write_archive
from tests.ledger.toy import World
from tests.nodes.test_cli import run
from tests.nodes.test_cli_exports import STATEMENTS, entries_of
from tests.nodes.test_documented_commands import ROOT, documented_commands

EXAMPLE = ROOT / "docs" / "examples" / "wheat.xml"


@pytest.mark.parametrize("page", ["wco.md", "epcis.md"])
def test_the_page_can_be_followed_command_by_command(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    write_archive(tmp_path / "archive", entries_of(STATEMENTS), world)
    (tmp_path / "border.policy").write_bytes(world.policy())
    (tmp_path / "phyto.pdf").write_bytes(b"a certificate")
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = documented_commands(ROOT / "docs" / page)
    assert commands
    for words in commands:
        assert words[0] == "comity"
        result = run(*words[1:])
        assert result.exit_code == EXIT_HOLDS, (words, result.output)
    if page == "wco.md":
        assert (tmp_path / "signed" / "wheat.cose").exists()


def test_the_example_is_the_declaration_that_the_tests_take_apart() -> None:
    given = Given(home="kz-kgd", partner="cn-gacc")
    ours, tested = import_declaration(EXAMPLE.read_bytes(), given), import_declaration(lodged(), given)
    assert (ours.ready, ours.subject, ours.payload, ours.counts) == (
        True,
        tested.subject,
        tested.payload,
        tested.counts,
    )

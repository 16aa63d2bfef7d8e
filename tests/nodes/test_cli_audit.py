"""`comity audit` as auditors call it, over years: files left and taken up, pages, evidence, progress."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.archive import export_archive
from ledger.checkpoint import Checkpoint
from ledger.entry import Genesis
from ledger.evidence import Claim, decode_evidence
from nodes.cli import comity, offline
from nodes.cli.audit import this_program
from tests.ledger.archives import edit, entries_of, flip, write_archive
from tests.ledger.toy import ORIGIN, Replay, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The toy ledger, executed by its own contract."""
    monkeypatch.setattr("contracts.replay.ContractReplay", Replay)
    grown = World()
    grown.grow(70, 3)
    return grown


def run(folder: Path, world: World, *options: object) -> Result:
    if not (folder / "policy.txt").exists():
        (folder / "policy.txt").write_bytes(world.policy())
    arguments = ["audit", folder / "archive", "--policy", folder / "policy.txt", "--jobs", 1, *options]
    return CliRunner().invoke(comity, [str(each) for each in arguments])


def exported(world: World, folder: Path) -> None:
    export_archive(world.chain, folder / "archive", world.policy(), world.note())


def test_years_of_audits_go_on_from_one_another(tmp_path: Path, world: World) -> None:
    state = tmp_path / "audit.state"
    exported(world, tmp_path)
    first = run(tmp_path, world, "--save", state)
    assert first.exit_code == 0, first.output
    before = world.chain.size
    for _ in range(2):
        world.grow(20, 3)
        exported(world, tmp_path)
        result = run(tmp_path, world, "--since", state, "--save", state, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.output[: result.output.rindex("}") + 1])
        assert (found["audited_before"], found["entries"]) == (before, world.chain.size - before)
        before = world.chain.size


def test_an_archive_with_a_fault_saves_nothing(tmp_path: Path, world: World) -> None:
    exported(world, tmp_path)
    edit(tmp_path / "archive/tile/entries/000", flip(9000))
    result = run(tmp_path, world, "--save", tmp_path / "state")
    assert result.exit_code == 1
    assert "nothing was saved" in result.output
    assert not (tmp_path / "state").exists()


def test_a_file_of_another_program_or_none_is_misuse_and_says_what_to_do(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(world, tmp_path)
    state = tmp_path / "state"
    assert run(tmp_path, world, "--save", state).exit_code == 0
    (tmp_path / "none").write_bytes(b"what is this")
    assert run(tmp_path, world, "--since", tmp_path / "none").exit_code == 2
    assert run(tmp_path, world, "--since", tmp_path / "missing").exit_code == 3
    assert run(tmp_path, world, "--save", tmp_path / "no" / "where").exit_code == 3
    monkeypatch.setattr("nodes.cli.audit.this_program", lambda: "comity 9 0")
    result = run(tmp_path, world, "--since", state)
    assert result.exit_code == 2
    assert "audit from the beginning" in result.output


def test_the_program_is_named_by_what_its_rules_really_are() -> None:
    name, release, digest = this_program().split(" ")
    assert (name, len(digest)) == ("comity", 32)
    assert release[0].isdigit()
    assert this_program() == this_program()


def test_history_rewritten_between_two_audits_is_told_and_proven(tmp_path: Path, world: World) -> None:
    exported(world, tmp_path)
    state, folder = tmp_path / "state", tmp_path / "bundles"
    assert run(tmp_path, world, "--save", state).exit_code == 0
    other = World()
    other.genesis = world.genesis
    other.keys, other.registrars = world.keys, world.registrars
    forged = entries_of(world)
    forged[10], forged[11] = forged[11], forged[10]
    world.grow(3)
    forged += entries_of(world)[len(forged) :]
    for path in sorted((tmp_path / "archive").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    write_archive(tmp_path / "archive", forged, world)
    result = run(tmp_path, world, "--since", state, "--evidence", folder)
    assert result.exit_code == 1
    assert "does not go on from the saved audit" in result.output
    claims = {decode_evidence(path.read_bytes()).claim for path in folder.iterdir()}
    assert Claim.INCONSISTENT_TREES in claims
    for path in folder.iterdir():
        checked = CliRunner().invoke(comity, ["verify", str(path), "--policy", str(tmp_path / "policy.txt")])
        assert checked.exit_code == 0, checked.output


def test_an_honest_archive_makes_no_evidence_and_no_folder(tmp_path: Path, world: World) -> None:
    exported(world, tmp_path)
    result = run(tmp_path, world, "--evidence", tmp_path / "bundles", "--json")
    assert json.loads(result.output)["evidence"] == []
    assert not (tmp_path / "bundles").exists()


def test_the_page_is_written_whether_it_holds_or_not(tmp_path: Path, world: World) -> None:
    exported(world, tmp_path)
    assert run(tmp_path, world, "--html", tmp_path / "good.html").exit_code == 0
    assert b"Everything holds." in (tmp_path / "good.html").read_bytes()
    edit(tmp_path / "archive/tile/entries/000", flip(9000))
    assert run(tmp_path, world, "--html", tmp_path / "bad.html").exit_code == 1
    page = (tmp_path / "bad.html").read_bytes()
    assert b"It does not hold." in page
    assert b"counter" in page
    assert run(tmp_path, world, "--html", tmp_path / "no" / "where.html").exit_code == 3


# --- input of every kind ends ----------------------------------------------------------------------------------------


def test_an_audit_ends_on_pipes_loops_sparse_giants_and_a_host_of_names(tmp_path: Path, world: World) -> None:
    exported(world, tmp_path)
    archive = tmp_path / "archive"
    for name in ("checkpoint", "tile/0/000", "membership"):
        (archive / name).unlink(missing_ok=True)
        os.mkfifo(archive / name)
    (archive / "tile/loop").symlink_to(archive)
    (archive / "tile/1/again").symlink_to("again")
    with (archive / "tile/entries/000").open("r+b") as file:
        file.truncate(1 << 42)
    for number in range(2000):
        (archive / "tile" / f"x{number}").touch()
    deep = archive
    for _ in range(60):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "f").touch()
    result = run(tmp_path, world)
    assert result.exit_code == 1
    assert "is too large" in result.output
    assert "is not a plain file" in result.output
    assert "more" in result.output.splitlines()[-1] or "execution was not compared" in result.output
    assert len(result.output.splitlines()) < 1200


def test_a_policy_or_state_that_is_a_pipe_is_not_waited_for(tmp_path: Path, world: World) -> None:
    exported(world, tmp_path)
    (tmp_path / "policy.txt").write_bytes(world.policy())
    os.mkfifo(tmp_path / "pipe")
    result = run(tmp_path, world, "--since", tmp_path / "pipe")
    assert result.exit_code in (2, 3)
    result = CliRunner().invoke(comity, ["audit", str(tmp_path / "archive"), "--policy", str(tmp_path / "pipe")])
    assert result.exit_code in (2, 3)


# --- progress --------------------------------------------------------------------------------------------------------


def test_where_there_is_no_terminal_a_line_tells_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 4.0, 11.0, 30.0])
    monkeypatch.setattr("nodes.cli.offline.time.monotonic", lambda: next(times))
    with offline.progress_bar("entries") as progress:
        progress(1000, 9000)
        progress(2100, 9000)
        progress(4000, 9000)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "entries: 2100 of 9000, 100/s, 69 s left",
        "entries: 4000 of 9000, 100/s, 50 s left",
    ]


def test_on_a_terminal_there_is_a_bar_and_it_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("nodes.cli.offline.sys.stderr", terminal)
    with offline.progress_bar("entries") as progress:
        for done in range(1, 4):
            progress(done, 3)
    assert "entries" in terminal.getvalue()


def test_a_checkpoint_of_a_log_that_is_nothing_but_its_genesis_saves_nothing(tmp_path: Path, world: World) -> None:
    young = World()
    write_archive(tmp_path / "archive", [young.genesis.encode()], young)
    result = run(tmp_path, young, "--save", tmp_path / "state")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "state").exists()
    assert isinstance(young.genesis, Genesis)
    assert Checkpoint(ORIGIN, 1, bytes(32)).size == 1

"""Exporting an archive: what is written, what is kept, and what an interruption leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.archive import archive_paths, count_archive_files, export_archive
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, Misuse, Untrue
from ledger.tiles import entries_path, tile_path
from tests.ledger.archives import entries_of, write_archive
from tests.ledger.toy import ORIGIN, World


class Source:
    """A chain that counts what is asked of it, fails when told to, and may lie."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[str] = []
        self.fail_after: int | None = None
        self.lie: bytes | None = None

    def tile(self, path: str) -> bytes:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise ConnectionError("gone")
        self.asked.append(path)
        return self.world.chain.tile(path) if self.lie is None else self.lie


@pytest.fixture(scope="module")
def world() -> World:
    grown = World()
    grown.grow(60, 9)
    return grown


def files(directory: Path) -> dict[str, bytes]:
    return {str(each.relative_to(directory)): each.read_bytes() for each in directory.rglob("*") if each.is_file()}


def at_size(world: World, height: int) -> bytes:
    record = world.chain.block(height)
    size = record.first + record.count + 1
    return world.note(Checkpoint(ORIGIN, size, world.chain.root_at(size)))


def test_an_archive_is_exactly_what_the_tiled_log_of_its_entries_is(world: World, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    report = export_archive(world.chain, tmp_path / "a", world.policy(), world.note(), lambda *step: steps.append(step))
    write_archive(tmp_path / "b", entries_of(world), world)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    total = count_archive_files(world.chain.size)
    assert steps == [(number, total) for number in range(1, total + 1)]
    assert (report.written, report.kept, report.removed) == (total, 0, 0)
    assert {*archive_paths(world.chain.size), "checkpoint", "policy"} == files(tmp_path / "a").keys()


def test_exporting_again_fetches_only_what_is_new_and_removes_what_is_outgrown(world: World, tmp_path: Path) -> None:
    source = Source(world)
    export_archive(source, tmp_path / "a", world.policy(), at_size(world, 40))
    source.asked.clear()
    report = export_archive(source, tmp_path / "a", world.policy(), world.note())
    assert tile_path(0, 0) not in source.asked
    assert entries_path(0) not in source.asked
    assert report.removed == 3
    export_archive(world.chain, tmp_path / "b", world.policy(), world.note())
    assert files(tmp_path / "a") == files(tmp_path / "b")
    source.asked.clear()
    assert export_archive(source, tmp_path / "a", world.policy(), world.note()).written == 0
    assert source.asked == []


@pytest.mark.parametrize("fail_after", range(7))
def test_an_interrupted_export_leaves_the_former_archive_and_can_be_taken_up(
    world: World, tmp_path: Path, fail_after: int
) -> None:
    export_archive(world.chain, tmp_path, world.policy(), at_size(world, 20))
    before = files(tmp_path)
    source = Source(world)
    source.fail_after = fail_after if fail_after < 6 else None
    (tmp_path / "tile" / "0" / ".000.part").write_bytes(b"half of a ti")
    if fail_after < 6:
        with pytest.raises(ConnectionError):
            export_archive(source, tmp_path, world.policy(), world.note())
        assert before.items() <= files(tmp_path).items()
    source.fail_after = None
    export_archive(source, tmp_path, world.policy(), world.note())
    write_archive(tmp_path / "whole", entries_of(world), world)
    expected = files(tmp_path / "whole")
    assert {path: data for path, data in files(tmp_path).items() if not path.startswith("whole")} == expected


def test_a_damaged_file_that_has_a_wrong_shape_is_fetched_again(world: World, tmp_path: Path) -> None:
    export_archive(world.chain, tmp_path, world.policy(), world.note())
    before = files(tmp_path)
    (tmp_path / tile_path(0, 0)).write_bytes(b"")
    (tmp_path / entries_path(1)).write_bytes(b"\x00")
    assert export_archive(world.chain, tmp_path, world.policy(), world.note()).written == 2
    assert files(tmp_path) == before


def test_a_checkpoint_that_is_not_final_is_not_exported(world: World, tmp_path: Path) -> None:
    with pytest.raises(Untrue):
        export_archive(world.chain, tmp_path / "a", world.policy(), world.note(without=("cn-gacc-1", "cn-gacc-2")))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("lie", [b"", b"x", bytes(8191), bytes(8193), bytes(100_000)])
def test_a_source_that_answers_with_something_else_is_found_out(world: World, tmp_path: Path, lie: bytes) -> None:
    source = Source(world)
    source.lie = lie
    with pytest.raises(Malformed):
        export_archive(source, tmp_path, world.policy(), world.note())
    assert not (tmp_path / "checkpoint").exists()


def test_an_archive_never_shrinks_and_never_becomes_one_of_another_log(world: World, tmp_path: Path) -> None:
    export_archive(world.chain, tmp_path, world.policy(), world.note())
    before = files(tmp_path)
    with pytest.raises(Misuse):
        export_archive(world.chain, tmp_path, world.policy(), at_size(world, 20))
    (tmp_path / "checkpoint").write_bytes(b"nonsense")
    with pytest.raises(Misuse):
        export_archive(world.chain, tmp_path, world.policy(), world.note())
    assert {**files(tmp_path), "checkpoint": before["checkpoint"]} == before

"""Exporting an archive: what is written, what is kept, and what an interruption leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.archive import archive_paths, export_archive
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, Misuse, Untrue
from ledger.tiles import entries_path, tile_path
from tests.ledger.archives import entries_of, flip, write_archive
from tests.ledger.toy import ORIGIN, World


class Directory:
    """An archive that somebody else wrote, as a source."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[str] = []

    def tile(self, path: str) -> bytes:
        self.asked.append(path)
        return (self.path / path).read_bytes()


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
    total = len(list(archive_paths(world.chain.size)))
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


def other_entries(world: World, differing: int) -> list[bytes]:
    """The same log but for one entry."""
    entries = entries_of(world)
    return [*entries[:differing], b"another entry", *entries[differing + 1 :]]


@pytest.mark.parametrize(
    "path",
    [entries_path(0), entries_path(2, 93), tile_path(0, 0), tile_path(0, 2, 93), tile_path(1, 0, 2)],
)
@pytest.mark.parametrize("position", [0, 40, -1])
def test_a_hash_or_entry_that_is_not_of_the_checkpoint_is_refused_before_it_is_in_its_place(
    world: World, tmp_path: Path, path: str, position: int
) -> None:
    class Liar(Source):
        def tile(self, asked: str) -> bytes:
            data = super().tile(asked)
            return flip(position % len(data))(data) if asked == path else data

    with pytest.raises((Untrue, Malformed)):  # a flipped length makes a bundle of another shape
        export_archive(Liar(world), tmp_path, world.policy(), world.note())
    assert not (tmp_path / path).exists()
    assert not (tmp_path / "checkpoint").exists()
    export_archive(world.chain, tmp_path, world.policy(), world.note())
    write_archive(tmp_path / "whole", entries_of(world), world)
    assert {name: data for name, data in files(tmp_path).items() if not name.startswith("whole")} == files(
        tmp_path / "whole"
    )


@pytest.mark.parametrize("differing", [1, 255, 256, 300, 511])
@pytest.mark.parametrize("recheck", [True, False])
def test_a_later_checkpoint_of_another_history_is_refused_and_what_was_there_stays(
    world: World, tmp_path: Path, differing: int, recheck: bool
) -> None:
    write_archive(tmp_path / "other", other_entries(world, differing), world)
    export_archive(
        Directory(tmp_path / "other"), tmp_path / "a", world.policy(), (tmp_path / "other/checkpoint").read_bytes()
    )
    shorter = export_of(world, tmp_path / "shorter", 52)
    before = files(shorter)
    with pytest.raises(Untrue) as refused:
        export_archive(
            Directory(tmp_path / "other"),
            shorter,
            world.policy(),
            (tmp_path / "other/checkpoint").read_bytes(),
            recheck=recheck,
        )
    assert refused.value.code == "history_differs"
    assert before.items() <= files(shorter).items()
    whole = export_of(world, tmp_path / "whole", world.chain.height)
    before = files(whole)
    with pytest.raises(Untrue) as refused:
        export_archive(
            Directory(tmp_path / "other"), whole, world.policy(), (tmp_path / "other/checkpoint").read_bytes()
        )
    assert refused.value.code == "history_differs"
    assert files(whole) == before


def export_of(world: World, directory: Path, height: int) -> Path:
    export_archive(world.chain, directory, world.policy(), at_size(world, height))
    return directory


def test_without_looking_at_everything_again_only_what_is_new_is_read(world: World, tmp_path: Path) -> None:
    source = Source(world)
    export_of(world, tmp_path / "a", 55)
    steps: list[tuple[int, int]] = []
    report = export_archive(
        source, tmp_path / "a", world.policy(), world.note(), lambda *step: steps.append(step), recheck=False
    )
    assert sorted(source.asked) == sorted(set(source.asked)) == [tile_path(0, 2, 93), entries_path(2, 93)]
    assert report.kept == 1  # the tile of level 1, which has not grown
    assert steps == [(number, 3) for number in (1, 2, 3)]
    write_archive(tmp_path / "whole", entries_of(world), world)
    assert files(tmp_path / "a") == files(tmp_path / "whole")


@pytest.mark.parametrize(("before", "after"), [(65_530, 65_536), (255, 65_800)])
def test_a_tree_of_three_levels_of_tiles_grows_over_their_edges(
    world: World, tmp_path: Path, before: int, after: int
) -> None:
    entries = [number.to_bytes(3, "big") for number in range(after)]
    write_archive(tmp_path / "shorter", entries[:before], world)
    write_archive(tmp_path / "longer", entries, world)
    for name in ("shorter", "longer"):
        export_archive(
            Directory(tmp_path / name),
            tmp_path / "a",
            world.policy(),
            (tmp_path / name / "checkpoint").read_bytes(),
            recheck=name == "shorter",
        )
    assert files(tmp_path / "a") == files(tmp_path / "longer")

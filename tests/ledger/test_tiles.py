"""Paths and bundles of C2SP tlog-tiles: the specification's examples, and one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import tiles
from ledger.errors import Malformed, Misuse

PATHS = [
    ((0, 0, 256), "tile/0/000"),
    ((0, 0, 1), "tile/0/000.p/1"),
    ((0, 999, 256), "tile/0/999"),
    ((0, 1000, 256), "tile/0/x001/000"),
    ((0, 1234067, 256), "tile/0/x001/x234/067"),  # the specification's example
    ((63, 0, 255), "tile/63/000.p/255"),
    ((1, 273, 17), "tile/1/273.p/17"),
    ((tiles.ENTRIES, 0, 256), "tile/entries/000"),
    ((tiles.ENTRIES, 1234067, 8), "tile/entries/x001/x234/067.p/8"),
]


@pytest.mark.parametrize(("tile", "path"), PATHS)
def test_paths_are_spelt_as_specified(tile: tuple[int, int, int], path: str) -> None:
    assert tiles.tile_path(*tile) == path
    assert tiles.parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.P/1",
        "tile/0/../000",
        "tile/data/000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/" + "x001/" * 1000 + "000",
    ],
)
def test_any_other_path_is_malformed(path: str) -> None:
    with pytest.raises(Malformed, match="bad_tile_path"):
        tiles.parse_tile_path(path)


@given(st.integers(-1, 63), st.integers(0, (1 << 63) - 1), st.integers(1, 256))
def test_every_tile_has_one_path(level: int, index: int, width: int) -> None:
    assert tiles.parse_tile_path(tiles.tile_path(level, index, width)) == (level, index, width)


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    def widths(level: int) -> list[int]:
        found: list[int] = []
        while width := tiles.tile_width(level, len(found), 70_000):
            found.append(width)
        return found

    assert widths(0) == [256] * 273 + [112]
    assert widths(tiles.ENTRIES) == widths(0)
    assert widths(1) == [256, 17]
    assert widths(2) == [1]
    assert widths(3) == []
    assert (tiles.tile_width(0, 0, 256), tiles.tile_width(1, 0, 256)) == (256, 1)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=256))
def test_a_bundle_gives_back_its_entries_and_no_other_count(entries: list[bytes]) -> None:
    bundle = tiles.encode_entry_bundle(entries)
    assert tiles.decode_entry_bundle(bundle, len(entries)) == entries
    for count in {len(entries) - 1, len(entries) + 1} & set(range(1, 257)):
        with pytest.raises(Malformed, match="bad_entry_bundle"):
            tiles.decode_entry_bundle(bundle, count)


def test_a_bundle_is_lengths_and_entries() -> None:
    assert tiles.encode_entry_bundle([b"a", b"", b"bc" * 150]).hex() == "000161" + "0000" + "012c" + "6263" * 150
    assert tiles.decode_entry_bundle(tiles.encode_entry_bundle([bytes(65_535)]), 1) == [bytes(65_535)]


def test_a_bundle_cut_at_any_byte_is_malformed() -> None:
    bundle = tiles.encode_entry_bundle([b"one", b"two", b"three"])
    for length in range(len(bundle)):
        with pytest.raises(Malformed, match="bad_entry_bundle"):
            tiles.decode_entry_bundle(bundle[:length], 3)
    with pytest.raises(Malformed, match="bad_entry_bundle"):
        tiles.decode_entry_bundle(bundle + b"\0", 3)


def test_what_no_bundle_or_path_can_hold_is_misuse() -> None:
    for attempt in (
        lambda: tiles.encode_entry_bundle([]),
        lambda: tiles.encode_entry_bundle([b""] * 257),
        lambda: tiles.encode_entry_bundle([bytes(65_536)]),
        lambda: tiles.decode_entry_bundle(b"", 0),
        lambda: tiles.tile_path(64, 0),
        lambda: tiles.tile_path(0, -1),
        lambda: tiles.tile_path(0, 0, 0),
        lambda: tiles.tile_path(0, 0, 257),
    ):
        with pytest.raises(Misuse):
            attempt()

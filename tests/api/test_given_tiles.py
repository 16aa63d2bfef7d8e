"""Tiles that were given are cut from the widest of their place, within bounds; what contradicts itself is not kept."""

from __future__ import annotations

from hypothesis import given as having
from hypothesis import strategies as st

from api.given_tiles import OVERHEAD_BYTES, GivenTiles
from ledger.merkle import HASH_BYTES, TILE_WIDTH
from ledger.tiles import tile_path
from tests.api.conftest import Running
from tests.api.test_log_http import grow


def tile(width: int, first: int = 0) -> bytes:
    return b"".join(number.to_bytes(HASH_BYTES, "big") for number in range(first, first + width))


def test_a_narrower_tile_is_the_beginning_of_a_wider_one_and_a_wider_one_is_not_known() -> None:
    tiles = GivenTiles()
    tiles.keep(0, 3, 100, tile(100))
    assert tiles.get(0, 3, 7) == tile(7)
    assert tiles.get(0, 3, 100) == tile(100)
    assert tiles.get(0, 3, 101) is None
    assert tiles.get(0, 3, TILE_WIDTH) is None
    assert tiles.get(1, 3, 7) is None
    assert tiles.get(0, 4, 7) is None


def test_what_has_not_the_length_of_its_width_is_not_kept() -> None:
    tiles = GivenTiles()
    for wrong in (b"", tile(99), tile(101), tile(100)[:-1]):
        tiles.keep(0, 0, 100, wrong)
    assert (len(tiles), tiles.size_bytes) == (0, 0)


def test_of_two_that_contradict_each_other_neither_is_kept() -> None:
    for first, second in ((5, 9), (9, 5), (7, 7)):
        tiles = GivenTiles()
        tiles.keep(0, 0, first, tile(first))
        tiles.keep(0, 0, second, tile(second, first=1))
        assert tiles.get(0, 0, 1) is None
        assert (len(tiles), tiles.size_bytes) == (0, 0)


def test_what_is_kept_is_bounded_and_the_longest_unused_go_first() -> None:
    each = 10 * HASH_BYTES + OVERHEAD_BYTES
    tiles = GivenTiles(max_bytes=3 * each)
    for index in range(3):
        tiles.keep(0, index, 10, tile(10, index))
    assert tiles.get(0, 0, 10) is not None
    tiles.keep(0, 3, 10, tile(10, 3))
    assert [tiles.get(0, index, 1) is not None for index in range(4)] == [True, False, True, True]
    assert tiles.size_bytes == 3 * each
    tiles.keep(0, 3, 256, tile(256, 3))  # grown, it alone is more than there is room for
    assert (len(tiles), tiles.size_bytes) == (0, 0)


@having(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 40)), max_size=60))
def test_whatever_is_asked_in_whatever_order_the_answer_is_that_of_the_log(
    steps: list[tuple[bool, int, int]],
) -> None:
    tiles = GivenTiles(max_bytes=2_000)
    for keep, index, width in steps:
        right = tile(width, first=1000 * index)
        if keep:
            tiles.keep(0, index, width, right)
        else:
            assert tiles.get(0, index, width) in (None, right)
        assert tiles.size_bytes == sum(len(each) + OVERHEAD_BYTES for each in tiles._tiles.values()) <= 2_000


async def test_a_validator_is_asked_once_for_a_place_until_it_is_asked_for_more(running: Running) -> None:
    asked: list[str] = []

    def give(path: str) -> bytes:
        asked.append(path)
        width = int(path.rsplit("/", 1)[1]) if ".p/" in path else TILE_WIDTH
        return tile(width)

    running.ledger.tile = give
    await grow(running, 130)
    for width in (5, 5, 3, 9, 5, TILE_WIDTH, 9, 200):
        response = await running.http.get(f"/log/{tile_path(0, 0, width)}")
        assert (response.status_code, response.content) == (200, tile(width))
    assert asked == ["tile/0/000.p/5", "tile/0/000.p/9", "tile/0/000"]
    for _ in range(2):
        await running.http.get("/log/tile/entries/000.p/5", headers=running.auth("kz/auditor"))
    assert asked[3:] == ["tile/entries/000.p/5"] * 2


async def test_what_is_kept_is_served_no_wider_than_what_is_final(running: Running) -> None:
    running.ledger.tile = lambda path: tile(TILE_WIDTH)
    await grow(running, 2)
    running.gateway.given_tiles.keep(0, 0, TILE_WIDTH, tile(TILE_WIDTH))
    assert (await running.http.get("/log/tile/0/000.p/5")).content == tile(5)
    for beyond in ("0/000.p/6", "0/000"):
        assert (await running.http.get(f"/log/tile/{beyond}")).status_code == 404

"""A chunk that another process made is the chunk that this one would have made."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.algorithms import PublicKey
from ledger.archive import export_archive
from ledger.audit_chunks import KnownKeys, Task, harvest_keys, pack_chunk, process, subtree_root, unpack_chunk
from ledger.merkle import TILE_WIDTH, Frontier, leaf_hash
from ledger.statement import Statement
from ledger.tiles import ENTRIES, tile_path, tile_width
from tests.ledger.archives import edit, flip
from tests.ledger.toy import World


@pytest.fixture(scope="module")
def world() -> World:
    grown = World()
    grown.grow(80, 4)
    return grown


@pytest.mark.parametrize("damage", ["none", "an entry", "a length", "the tile is missing", "nobody is enrolled"])
def test_a_chunk_comes_out_of_its_packing_as_it_went_in(world: World, tmp_path: Path, damage: str) -> None:
    export_archive(world.chain, tmp_path, world.policy(), world.note())
    bundle = tmp_path / tile_path(ENTRIES, 0, tile_width(0, 0, world.chain.size))
    if damage == "an entry":
        edit(bundle, flip(-20))
    elif damage == "a length":
        edit(bundle, flip(1))
    elif damage == "the tile is missing":
        (tmp_path / tile_path(0, 0, tile_width(0, 0, world.chain.size))).unlink()
    tasks = [Task(str(tmp_path), index, tile_width(0, index, world.chain.size)) for index in (0, 1)]
    keys = harvest_keys(tasks[0]) if damage != "nobody is enrolled" else {}
    for task in tasks:
        made = process(task, KnownKeys(keys))
        received = unpack_chunk(pack_chunk(made))
        assert received == made
        for one, other in zip(received.entries, made.entries, strict=True):
            if isinstance(one, tuple) and isinstance(other, tuple):
                # Statements are equal when their bytes are: here all that was read from them has to be.
                assert [getattr(one[0], name) for name in Statement.__slots__] == [
                    getattr(other[0], name) for name in Statement.__slots__
                ]


def test_a_key_is_found_under_its_thumbprint_and_no_other_is(world: World, tmp_path: Path) -> None:
    export_archive(world.chain, tmp_path, world.policy(), world.note())
    cose_keys = harvest_keys(Task(str(tmp_path), 0, TILE_WIDTH))
    known = KnownKeys(cose_keys)
    for kid, cose_key in cose_keys.items():
        assert known.get(kid) == known.get(kid) == PublicKey.from_cose_key(cose_key)
    assert known.get(bytes(32)) is None


@pytest.mark.parametrize("count", [1, 2, 3, 100, 255, 256])
def test_the_root_of_a_bundle_is_that_of_a_tree_that_grew_leaf_by_leaf(count: int) -> None:
    leaves = [leaf_hash(bytes((number,))) for number in range(count)]
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    assert subtree_root(b"".join(leaves)) == frontier.root()

"""The stores of a validator as they are opened, those of the release before included."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger import chain_layout as layout
from ledger.chain import Chain
from ledger.checked import DamagedRecord
from ledger.errors import UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.store import Store
from nodes.blocks import encode_block
from nodes.checked_stores import open_checked
from nodes.cosigning import INTENT_KEY
from nodes.record_names import ledger_record, order_record
from tests.nodes.world import World


def filled(store: Store) -> Chain:
    world = World()
    node = world.node(store=store)
    for height in range(1, 4):
        node.execution.execute(height, node_block(world), 0)
    return node.chain


def node_block(world: World) -> bytes:
    return encode_block("kz-kgd-1", world.time_ms + 1, (world.enrol().raw, world.enrol().raw))


def test_a_ledger_of_the_release_before_is_the_same_ledger_after_it_was_opened(tmp_path: Path) -> None:
    old = LevelDBStore(tmp_path / "ledger")
    head = filled(old).head
    before = dict(old.iterate(b"", b"\xff" * 8))
    old.close()
    for _ in range(2):
        store = open_checked(tmp_path / "ledger")
        assert dict(store.iterate(b"", b"\xff" * 8)) == before
        assert Chain.open(store, thorough=True).head == head
        store.close()


def test_the_release_before_refuses_a_store_with_checksums(tmp_path: Path) -> None:
    store = open_checked(tmp_path / "ledger")
    filled(store)
    store.close()
    old = LevelDBStore(tmp_path / "ledger")
    with pytest.raises(UnknownDurableState):
        Chain.open(old)
    old.close()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (layout.HEAD, "record of where the ledger ends"),
        (layout.numbered_key(layout.ENTRY, 17), "entry 17"),
        (layout.numbered_key(layout.NOTE, 300), "final checkpoint of size 300"),
        (layout.tile_key(1, 5), "tile 5 of level 1"),
        (layout.chunk_key(0, 5, 9), "tile 5 of level 0"),
        (layout.STATE + b"r", "root of the state map"),
        (layout.STATE + b"v" + bytes(32), "value of the state map at " + "00" * 32),
        (INTENT_KEY, "record node/intent"),
        (b"\x7f\x00", "record 7f00"),
    ],
)
def test_damage_in_a_ledger_is_named(key: bytes, name: str) -> None:
    assert ledger_record(key) == name


def test_damage_in_an_order_is_named() -> None:
    assert order_record(b"e" + (7).to_bytes(8, "big")) == "entry 7 of the order"
    assert order_record(b"c" + (7).to_bytes(8, "big")) == "mark of the change of the membership at 7 of the order"
    assert order_record(b"s") == "record of term and vote"
    assert order_record(b"\x00x") == "record 0078"


def test_the_store_and_the_record_are_named_when_a_value_was_altered_below_the_checksums(tmp_path: Path) -> None:
    store = open_checked(tmp_path / "ledger")
    filled(store)
    store.close()
    below = LevelDBStore(tmp_path / "ledger")
    key = layout.numbered_key(layout.ENTRY, 2)
    record = below.get(key) or b""
    below.write({key: record[:5] + bytes((record[5] ^ 1,)) + record[6:]})
    below.close()
    store = open_checked(tmp_path / "ledger")
    with pytest.raises(DamagedRecord, match=r"ledger: entry 2 is damaged"):
        store.get(key)
    store.close()


def test_a_store_that_cannot_be_opened_is_not_kept_open(tmp_path: Path) -> None:
    store = open_checked(tmp_path / "ledger")
    store.write({b"aa": b"1"})
    store.close()
    below = LevelDBStore(tmp_path / "ledger")
    below.write({b"\x00": None})
    below.close()
    for _ in range(2):
        with pytest.raises(DamagedRecord, match="format is missing"):
            open_checked(tmp_path / "ledger")
    shutil.rmtree(tmp_path / "ledger")

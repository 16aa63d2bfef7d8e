"""The new ledger takes the old one's place, wherever the machine dies: the old one or the new, never half of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from consensus import Configuration, Membership
from consensus.messages import Entry, HardState
from ledger.chain import Chain
from ledger.chain_layout import HEAD
from ledger.errors import UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.store import MemoryStore, Store
from nodes.catch_up_adoption import (
    ADOPTED,
    LEDGER,
    ORDER_BASE,
    REPLACED,
    STAGING,
    OrderBase,
    adopt,
    install_order_base,
    order_base_of,
)
from nodes.cosigning import INTENT_KEY, Intent
from nodes.files import Files
from nodes.raft_store import RaftStore, membership_from_bytes, membership_to_bytes
from tests.ledger.snapshots import pieces_of, receive
from tests.ledger.toy import World

MEMBERSHIP = Membership(Configuration({"kz-kgd-1": "kz-kgd", "kz-kgd-2": "kz-kgd", "cn-gacc-1": "cn-gacc"}))
MEMBERS = membership_to_bytes(MEMBERSHIP)
OLD_SIZE = 3


class PowerCut(Exception):
    pass


@dataclass
class DyingFiles(Files):
    """Files whose power is cut before or after the n-th operation."""

    dies_at: int = -1
    after: bool = False
    done: int = 0
    what: list[str] = field(default_factory=list)

    def _operate(self, what: str, operation: Callable[[], None]) -> None:
        self.what.append(what)
        number, self.done = self.done, self.done + 1
        if number == self.dies_at and not self.after:
            raise PowerCut
        operation()
        if number == self.dies_at:
            raise PowerCut

    def rename(self, old: Path, new: Path) -> None:
        self._operate(f"rename {old.name}", lambda: super(DyingFiles, self).rename(old, new))

    def remove(self, path: Path) -> None:
        self._operate(f"remove {path.name}", lambda: super(DyingFiles, self).remove(path))

    def remove_folder(self, path: Path) -> None:
        self._operate(f"remove folder {path.name}", lambda: super(DyingFiles, self).remove_folder(path))

    def keep(self, path: Path, data: bytes) -> None:
        self._operate(f"keep {path.name}", lambda: super(DyingFiles, self).keep(path, data))


def intent_of(world: World, size: int) -> bytes:
    return Intent(size, world.chain.root_at(size), 1_800_000_000).encode()


def copied(source: Store, target: Store) -> Store:
    target.write(dict(source.iterate(b"", b"\xff")))
    return target


def prepare(data: Path, world: World) -> None:
    """An old ledger of a few entries in which we signed something, and the whole of a newer one in staging."""
    world.append(world.enrol("kz/truck/0"))
    store = copied(world.store, LevelDBStore(data / LEDGER))
    store.write({INTENT_KEY: intent_of(world, world.chain.size)})
    Chain.open(store).put_cosigned(world.chain.size, world.note())
    store.close()
    world.grow(30, participants=1)
    stage(data, world)


def stage(data: Path, world: World) -> None:
    staging = LevelDBStore(data / STAGING / LEDGER)
    receive(world, pieces_of(world), staging)
    staging.write({ORDER_BASE: OrderBase(world.chain.applied, 7, MEMBERS).encode()})
    staging.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    data, world = tmp_path_factory.mktemp("prepared") / "data", World()
    prepare(data, world)
    return data, world


def look(data: Path) -> tuple[int, bytes | None, OrderBase | None]:
    """Size, what was signed, and where the order goes on, of the ledger that is there."""
    store = LevelDBStore(data / LEDGER)
    try:
        chain = Chain.open(store, thorough=True)
        return chain.size, store.get(INTENT_KEY), order_base_of(store)
    finally:
        store.close()


def test_the_new_ledger_has_what_was_signed_and_the_proofs_that_were_given(
    prepared: tuple[Path, World], tmp_path: Path
) -> None:
    data, world = tmp_path / "data", prepared[1]
    shutil.copytree(prepared[0], data)
    assert adopt(data, LevelDBStore, Files())
    assert look(data) == (world.chain.size, intent_of(world, OLD_SIZE), OrderBase(world.chain.applied, 7, MEMBERS))
    store = LevelDBStore(data / LEDGER)
    assert Chain.open(store).cosigned_at_or_after(1) is not None
    assert (Chain.open(store).cosigned_at_or_after(1) or (0, b""))[0] == OLD_SIZE
    store.close()
    assert sorted(path.name for path in data.iterdir()) == [LEDGER]
    assert not adopt(data, LevelDBStore, Files())


def test_wherever_the_power_is_cut_there_is_the_old_ledger_or_the_new_one(
    prepared: tuple[Path, World], tmp_path: Path
) -> None:
    source, world = prepared
    rehearsal = DyingFiles()
    shutil.copytree(source, tmp_path / "rehearsal")
    assert adopt(tmp_path / "rehearsal", LevelDBStore, rehearsal)
    assert [what.split()[0] for what in rehearsal.what] == ["keep", "rename", "rename", "remove", "remove", "remove"]
    for number in range(rehearsal.done):
        for after in (False, True):
            data = tmp_path / f"{number}-{after}"
            shutil.copytree(source, data)
            with pytest.raises(PowerCut):
                adopt(data, LevelDBStore, DyingFiles(dies_at=number, after=after))
            begun = number > 0 or after
            assert (data / STAGING / ADOPTED).exists() is begun or number >= 4
            # Cut once more at the first thing that the next start does, and then left alone.
            if begun and number < 4:
                with pytest.raises(PowerCut):
                    adopt(data, LevelDBStore, DyingFiles(dies_at=0, after=True))
            adopt(data, LevelDBStore, Files())
            assert look(data)[0] == world.chain.size
            assert look(data)[1] == intent_of(world, OLD_SIZE)
            assert not (data / REPLACED).exists()
            assert not (data / STAGING / LEDGER).exists()


def test_an_unfinished_ledger_is_left_for_catching_up_to_go_on_with(
    prepared: tuple[Path, World], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared[0], data)
    for missing in (ORDER_BASE, HEAD):
        staging = LevelDBStore(data / STAGING / LEDGER)
        staging.write({missing: None})
        staging.close()
        assert not adopt(data, LevelDBStore, Files())
        assert (data / STAGING / LEDGER).exists()
        assert look(data)[0] == OLD_SIZE


def test_a_snapshot_that_leads_back_is_thrown_away(prepared: tuple[Path, World], tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared[0], data)
    assert adopt(data, LevelDBStore, Files())
    shutil.copytree(prepared[0] / STAGING, data / STAGING)
    before = look(data)
    assert not adopt(data, LevelDBStore, Files())
    assert look(data) == before
    assert not (data / STAGING / LEDGER).exists()


def test_without_the_old_ledger_nothing_is_adopted_for_what_it_signed_is_lost(
    prepared: tuple[Path, World], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared[0] / STAGING, data / STAGING)
    assert not adopt(data, LevelDBStore, Files())
    assert not (data / LEDGER).exists()


def test_a_cosigned_log_that_is_not_the_one_we_executed_stops_the_validator(
    prepared: tuple[Path, World], tmp_path: Path
) -> None:
    """Both authorities signed it, and we signed another: somebody's keys made two logs, and people must look."""
    data, fork = tmp_path / "data", copy(prepared[1])
    fork.store = MemoryStore()
    fork.chain = Chain.open(fork.store)
    fork.chain.initialise(fork.genesis, fork.replay.genesis_state(fork.genesis))
    fork.append(fork.enrol("kz/truck/elsewhere"))
    copied(fork.store, LevelDBStore(data / LEDGER)).close()
    shutil.copytree(prepared[0] / STAGING, data / STAGING)
    with pytest.raises(UnknownDurableState, match="another log"):
        adopt(data, LevelDBStore, Files())
    assert (data / STAGING / LEDGER).exists()


def test_a_staging_folder_that_a_power_cut_tore_is_thrown_away(prepared: tuple[Path, World], tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared[0], data)
    for path in (data / STAGING / LEDGER).iterdir():
        if path.name.startswith("MANIFEST"):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for path in (data / STAGING / LEDGER).glob("*.ldb"):
        path.write_bytes(b"")
    assert not adopt(data, LevelDBStore, Files())
    assert look(data)[0] == OLD_SIZE


# --- the order ------------------------------------------------------------------------------------------------------


def order_store(entries: int, term: int = 3) -> RaftStore:
    store = RaftStore(MemoryStore(), node="kz-kgd-1", network=bytes(32), membership=MEMBERSHIP)
    if entries:
        log = [Entry(term, index, data=b"x") for index in range(1, entries + 1)]
        store.write(HardState(term, None, 0), log, sync=True)
    return store


def test_an_order_that_ends_before_the_snapshot_begins_behind_it() -> None:
    order = order_store(10)
    assert install_order_base(order, OrderBase(50, 4, MEMBERS), MEMBERSHIP)
    assert (order.first_index(), order.last_index(), order.term(50)) == (51, 50, 4)
    assert not install_order_base(order, OrderBase(50, 4, MEMBERS), MEMBERSHIP)


def test_an_order_that_reaches_beyond_the_snapshot_keeps_what_it_acknowledged() -> None:
    order = order_store(10)
    assert not install_order_base(order, OrderBase(6, 3, MEMBERS), MEMBERSHIP)
    assert (order.first_index(), order.last_index()) == (1, 10)


def test_an_order_that_has_another_entry_there_gives_up_a_tail_that_was_never_committed() -> None:
    order = order_store(10)
    assert install_order_base(order, OrderBase(6, 5, MEMBERS), MEMBERSHIP)
    assert (order.first_index(), order.last_index(), order.term(6)) == (7, 6, 5)


def test_where_the_order_goes_on_is_read_back_or_stops_the_validator() -> None:
    base = OrderBase(9, 2, MEMBERS)
    assert OrderBase.decode(base.encode()) == base
    assert membership_from_bytes(base.membership) == MEMBERSHIP
    for damaged in (b"", b"\xa0", base.encode()[:-1], base.encode() + b"x"):
        with pytest.raises(UnknownDurableState):
            OrderBase.decode(damaged)

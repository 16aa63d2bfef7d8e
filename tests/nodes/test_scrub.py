"""Everything that is stored is held against everything else: whatever is altered, lost or left over is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger import chain_layout as layout
from ledger.checked import CheckedStore
from ledger.errors import UnknownDurableState
from ledger.store import MemoryStore, Store
from nodes.scrub import Scrub, Step, walk_ledger, walk_order
from tests.nodes.stored import Stored
from tests.nodes.world import HandClock, World


@pytest.fixture(scope="module")
def filled() -> dict[str, MemoryStore]:
    """Both stores as they are below the checksums."""
    disks: dict[str, MemoryStore] = {"ledger": MemoryStore(), "order": MemoryStore()}
    from pathlib import Path

    stored = Stored(Path("."), World(), lambda path: CheckedStore(disks[path.name]))
    for _ in range(5):
        stored.append(60)
        stored.execute()
    stored.append(3)
    return disks


def records(disk: MemoryStore) -> dict[bytes, bytes]:
    return dict(disk.iterate(b"", b"\xff" * 64))


def walk(name: str, disk: MemoryStore) -> list[Step]:
    store = CheckedStore(disk)
    return list(walk_order(store.view()) if name == "order" else walk_ledger(store.view()))


def test_what_is_whole_is_read_whole(filled: dict[str, MemoryStore]) -> None:
    for name, disk in filled.items():
        steps = walk(name, disk)
        size = sum(step.bytes for step in steps)
        assert size > 0.8 * sum(len(value) for value in records(disk).values())
        assert all(step.what for step in steps)


def one_of_each_kind(disk: MemoryStore) -> Iterator[bytes]:
    """For every kind of record the first, one in the middle and the last."""
    kinds: dict[bytes, list[bytes]] = {}
    for key in records(disk):
        kinds.setdefault(key[: 2 if key[:1] in b"\x01\x02" else 5], []).append(key)
    for keys in kinds.values():
        yield from {keys[0], keys[len(keys) // 2], keys[-1]}


@pytest.mark.parametrize("name", ["ledger", "order"])
def test_a_flipped_bit_in_any_kind_of_record_is_found_and_named(filled: dict[str, MemoryStore], name: str) -> None:
    for key in one_of_each_kind(filled[name]):
        disk = filled[name].reopen()
        record = bytearray(disk.get(key) or b"")
        record[len(record) // 2] ^= 0x10
        disk.write({key: bytes(record)})
        with pytest.raises(UnknownDurableState):
            walk(name, disk)


# What may be missing without a contradiction: notes are asked for again, names only serve lists, versions are heard
# again, and who has no promise yet writes one.
DISPENSABLE = (layout.NOTE, b"record/", b"index/", b"node/", b"p", b"s")


@pytest.mark.parametrize("name", ["ledger", "order"])
def test_a_lost_record_of_any_kind_is_found(filled: dict[str, MemoryStore], name: str) -> None:
    for key in one_of_each_kind(filled[name]):
        if key.startswith(DISPENSABLE if name == "ledger" else (b"n", b"p")):
            continue
        if name == "order" and key == max(each for each in records(filled[name]) if each.startswith(b"e")):
            continue  # not committed: what is gone behind it too is a log that ended earlier
        disk = filled[name].reopen()
        disk.write({key: None})
        with pytest.raises(UnknownDurableState):
            walk(name, disk)


def test_records_of_the_ledger_that_nothing_accounts_for_are_found(filled: dict[str, MemoryStore]) -> None:
    strange = {
        layout.STATEMENT + bytes(32): (5).to_bytes(8, "big"),
        layout.cti_key("kz/truck/1", bytes(16)): (5).to_bytes(8, "big"),
        layout.subject_key("kz/truck/1", 5): b"",
        layout.numbered_key(layout.BLOCK_BY_HEIGHT, 99): (5).to_bytes(8, "big"),
        layout.block_at_key(5): b"",
        layout.tile_key(0, 77): bytes(8192),
        layout.STATE + b"p\x01\x00": bytes(4),
        layout.STATE + b"v" + bytes(32): b"\x00\x01kv",
    }
    for key, value in strange.items():
        disk = filled["ledger"].reopen()
        CheckedStore(disk).write({key: value})
        with pytest.raises(UnknownDurableState):
            walk("ledger", disk)


def test_a_record_that_was_altered_with_its_checksum_is_found_by_what_it_contradicts(
    filled: dict[str, MemoryStore],
) -> None:
    for key in one_of_each_kind(filled["ledger"]):
        if key < b"\x01" or key.startswith(DISPENSABLE) or not CheckedStore(filled["ledger"]).get(key):
            continue
        disk = filled["ledger"].reopen()
        store = CheckedStore(disk)
        value = bytearray(store.get(key) or b"")
        value[-1] ^= 1
        if key.startswith((layout.CTI, layout.BLOCK_AT)):
            continue  # where a cti is, and from which position a block came: only the checksum knows
        store.write({key: bytes(value)})
        with pytest.raises(UnknownDurableState):
            walk("ledger", disk)


def test_a_store_that_grows_meanwhile_is_read_as_it_was() -> None:
    from pathlib import Path

    disks: dict[str, MemoryStore] = {"ledger": MemoryStore(), "order": MemoryStore()}
    stored = Stored(Path("."), World(), lambda path: CheckedStore(disks[path.name]))
    stored.append(70)
    stored.execute()
    steps = walk_ledger(stored.ledger.view())
    next(steps)
    stored.append(10)
    stored.execute()
    assert sum(step.bytes for step in steps) > 0
    list(walk_ledger(stored.ledger.view()))


async def until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


async def scrubbing(walks: dict[str, tuple[Store, object]], rate: int = 1 << 30) -> Scrub:
    return Scrub(
        walks,  # type: ignore[arg-type]
        rate_bytes_per_s=rate,
        interval_s=0.01,
        clock=HandClock(5),
        executor=ThreadPoolExecutor(1),
    )


async def test_pass_follows_pass_and_a_fault_ends_it(filled: dict[str, MemoryStore]) -> None:
    disk = filled["ledger"].reopen()
    store = CheckedStore(disk)
    scrub = await scrubbing({"order": (CheckedStore(filled["order"]), walk_order), "ledger": (store, walk_ledger)})
    task = asyncio.create_task(scrub.run())
    async with asyncio.timeout(20):
        await until(lambda: scrub.passes >= 2)
    assert (scrub.faults, scrub.last_pass_ms) == (0, 5)
    key = layout.numbered_key(layout.ENTRY, 17)
    disk.write({key: b"x" + (disk.get(key) or b"")[1:]})
    with pytest.raises(UnknownDurableState, match=f"record {key.hex()} is damaged"):
        async with asyncio.timeout(20):
            await task
    assert scrub.faults == 1
    assert "fault" in (scrub.at or "")
    scrub.close()


async def test_the_rate_is_kept(filled: dict[str, MemoryStore], monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    scrub = await scrubbing({"ledger": (CheckedStore(filled["ledger"]), walk_ledger)}, rate=1000)
    monkeypatch.setattr("nodes.scrub.asyncio.sleep", sleep)
    await scrub._pass("ledger", CheckedStore(filled["ledger"]), walk_ledger)
    assert scrub.read_bytes / 1000 * 0.5 < sum(slept) <= scrub.read_bytes / 1000
    scrub.close()


async def test_a_rate_of_nothing_is_no_scrub(filled: dict[str, MemoryStore]) -> None:
    scrub = await scrubbing({"ledger": (CheckedStore(filled["ledger"]), walk_ledger)}, rate=0)
    await scrub.run()
    assert scrub.read_bytes == 0
    scrub.close()

"""The disk of a simulated node: what outlives a crash, and what does not.

`Platter` is one store as LevelDB is one: batches go to a log in order; a synced batch makes everything before it
durable; when the power goes, of what was not synced a beginning may be left, batch by batch, none of them in part.
A process that is merely killed loses nothing that it wrote.

`Disk` counts what is done to it and can end the node just before, in the middle of or just after the n-th operation. It
can be full (`StoreUnavailable`, nothing written), fail (`UnknownDurableState`, the batch may be there or not), be slow,
fail to read, and turn a bit of what it keeps over: that is for `ledger.checked` above it to notice.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ledger.errors import Misuse, UnknownDurableState
from ledger.store import Batch, MemoryStore, Store, StoreUnavailable, check_batch
from nodes.files import Files
from tests.simulation.world import Crash

_MISSING: Any = object()


class Model(Protocol):
    """What is kept beside the bytes of a batch by whoever checks: told when the batch is there, and when it is lost."""

    def applied(self) -> None: ...

    def lost(self) -> None: ...


@dataclass
class _Unsynced:
    """How to take a batch back."""

    before: dict[bytes, bytes | None]
    model: Model | None


@dataclass
class Platter:
    """The bytes of one store."""

    name: str
    values: dict[bytes, bytes] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    unsynced: list[_Unsynced] = field(default_factory=list)
    # Keys in whose value a bit was turned over.
    flipped: set[bytes] = field(default_factory=set)
    # Of the batch that is written next.
    next_model: Model | None = None
    on_synced: Callable[[], None] = lambda: None

    def put(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            if self.values.pop(key, None) is not None:
                del self.keys[bisect_left(self.keys, key)]
        else:
            if key not in self.values:
                insort(self.keys, key)
            self.values[key] = value
        self.flipped.discard(key)

    def apply(self, batch: Batch, *, sync: bool) -> None:
        model, self.next_model = self.next_model, None
        if model is not None:
            model.applied()
        if not sync:
            self.unsynced.append(_Unsynced({key: self.values.get(key) for key in batch}, model))
        for key, value in batch.items():
            self.put(key, value)
        if sync:
            self.unsynced.clear()
            self.on_synced()

    def lose(self, count: int) -> None:
        """The last so many batches that were not synced never got to the disk."""
        for _ in range(count):
            lost = self.unsynced.pop()
            for key, value in lost.before.items():
                self.put(key, value)
            if lost.model is not None:
                lost.model.lost()
        self.unsynced.clear()
        self.on_synced()


@dataclass
class Disk:
    """All that a node keeps. Outlives its starts."""

    node: str
    rng: random.Random
    platters: dict[Path, Platter] = field(default_factory=dict)
    files: dict[Path, bytes] = field(default_factory=dict)
    full: bool = False
    slow_us: int = 0
    # The chance that one write fails so that nobody knows whether it happened, and that one read fails, this once.
    write_failure: float = 0.0
    read_failure: float = 0.0
    operations: int = 0
    crash_at: int | None = None
    crash_how: str = "before"
    failures: int = 0

    def platter(self, path: Path) -> Platter:
        if path not in self.platters:
            self.platters[path] = Platter(path.name)
        return self.platters[path]

    def power_off(self, *, keep_unsynced: bool) -> int:
        """What is left after a crash. Returns how many batches were lost."""
        lost = 0
        for path in sorted(self.platters):
            platter = self.platters[path]
            count = 0 if keep_unsynced else self.rng.randrange(len(platter.unsynced) + 1)
            platter.lose(count)
            lost += count
        self.crash_at = None
        return lost

    def forget(self, path: Path) -> None:
        """A file, or a folder with all that is in it."""
        for each in [each for each in self.files if path in (each, *each.parents)]:
            del self.files[each]
        for each in [each for each in self.platters if path in (each, *each.parents)]:
            del self.platters[each]

    def move(self, old: Path, new: Path) -> None:
        for each in [each for each in self.files if old in (each, *each.parents)]:
            self.files[new / each.relative_to(old)] = self.files.pop(each)
        for each in [each for each in self.platters if old in (each, *each.parents)]:
            self.platters[new / each.relative_to(old)] = self.platters.pop(each)

    def flip(self, platter: Platter) -> bytes | None:
        """Turn one bit of one value over, where the database below does not notice. Returns its key."""
        keys = [key for key in platter.keys if platter.values[key]]
        if not keys:
            return None
        key = self.rng.choice(keys)
        value = bytearray(platter.values[key])
        value[self.rng.randrange(len(value))] ^= 1 << self.rng.randrange(8)
        platter.values[key] = bytes(value)
        platter.flipped.add(key)
        return key


class SimulatedStore:
    """A `Store` in the hands of one start of a node. Of no use once that start is over."""

    def __init__(
        self,
        disk: Disk,
        platter: Platter,
        *,
        crash: Callable[[], None],
        alive: Callable[[], bool],
        stall: Callable[[int], None],
    ) -> None:
        self.disk = disk
        self.platter = platter
        self._crash = crash
        self._alive = alive
        self._stall = stall
        self._failed: str | None = None
        self._closed = False

    def _check(self) -> None:
        if not self._alive():
            raise Crash
        if self._closed:
            raise Misuse("the store is closed")
        if self._failed is not None:
            raise UnknownDurableState(self._failed)

    def _read(self) -> None:
        disk = self.disk
        if disk.rng.random() < disk.read_failure:
            disk.failures += 1
            raise UnknownDurableState(f"store {self.platter.name}: a block could not be read")

    def get(self, key: bytes) -> bytes | None:
        self._check()
        if self.disk.read_failure:
            self._read()
        return self.platter.values.get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self._check()
        keys = self.platter.keys
        low, high = bisect_left(keys, start), bisect_left(keys, stop)
        values = self.platter.values
        pairs = [(key, values[key]) for key in keys[low:high]]
        if self.disk.read_failure:
            self._read()
        return iter(pairs[::-1] if reverse else pairs)

    def write(self, batch: Batch, sync: bool = True) -> None:
        self._check()
        check_batch(batch)
        disk = self.disk
        disk.operations += 1
        crash = disk.crash_at is not None and disk.operations >= disk.crash_at
        if crash and disk.crash_how == "before":
            self._crash()
            raise Crash
        if disk.full:
            self.platter.next_model = None
            disk.failures += 1
            raise StoreUnavailable(f"store {self.platter.name}: the disk is full")
        if disk.write_failure and disk.rng.random() < disk.write_failure:
            disk.failures += 1
            self._failed = f"store {self.platter.name}: a write failed, open it again"
            if disk.rng.random() < 0.5:
                self.platter.apply(batch, sync=False)
            self.platter.next_model = None
            raise UnknownDurableState(self._failed)
        self.platter.apply(batch, sync=sync and not (crash and disk.crash_how == "during"))
        if sync:
            self._stall(disk.rng.randrange(100, 600) + (disk.rng.randrange(disk.slow_us) if disk.slow_us else 0))
        if crash:
            self._crash()
            raise Crash

    def view(self) -> Store:
        self._check()
        return _View(dict(self.platter.values), self._alive)

    def close(self) -> None:
        self._closed = True


class _View(MemoryStore):
    """What a store held at one moment."""

    def __init__(self, values: dict[bytes, bytes], alive: Callable[[], bool]) -> None:
        super().__init__()
        self._values = values
        self._alive = alive

    def get(self, key: bytes) -> bytes | None:
        if not self._alive():
            raise Crash
        return super().get(key)

    def write(self, batch: Batch, sync: bool = True) -> None:
        raise Misuse("a view of a store cannot be written")


class SimulatedFiles(Files):
    """The files of a node's data folder in memory; what its configuration names is read as it is."""

    def __init__(self, disk: Disk, data: Path, alive: Callable[[], bool], crash: Callable[[], None]) -> None:
        self._disk = disk
        self._data = data
        self._alive = alive
        self._crash = crash

    def _operate(self, change: Callable[[], None]) -> None:
        disk = self._disk
        if not self._alive():
            raise Crash
        disk.operations += 1
        crash = disk.crash_at is not None and disk.operations >= disk.crash_at
        if not crash or disk.crash_how == "after":
            change()
        if crash:
            self._crash()
            raise Crash

    def exists(self, path: Path) -> bool:
        return path in self._disk.files or any(path in (each, *each.parents) for each in self._disk.platters)

    def read(self, path: Path) -> bytes:
        if self._data in path.parents:
            if path not in self._disk.files:
                raise FileNotFoundError(path)
            return self._disk.files[path]
        return super().read(path)

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self._disk.files if path.parent == folder)

    def remove(self, path: Path) -> None:
        self._operate(lambda: self._disk.forget(path))

    def remove_folder(self, path: Path) -> None:
        self._operate(lambda: self._disk.forget(path))

    def rename(self, old: Path, new: Path) -> None:
        if self.exists(new):
            raise FileExistsError(new)
        self._operate(lambda: self._disk.move(old, new))

    def keep(self, path: Path, data: bytes) -> None:
        if self._disk.full:
            raise OSError(28, "No space left on device")

        def put() -> None:
            self._disk.files[path] = data

        self._operate(put)

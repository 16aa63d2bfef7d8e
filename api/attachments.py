"""What statements refer to by hash and the ledger does not hold: telemetry batches and envelopes, kept on a disk.

One mechanism for both: bytes under their SHA-256. Everything else a gateway holds can be lost and asked for again;
this cannot, and so it is written as a ledger's file would be, in this order: a file of another name, synced, renamed,
the folder synced. Each file carries who sent it and when, with a hash of that, before the bytes themselves.

Promises: what `put` returned for is there after a crash. What `get` returns hashes to the name it was asked for: a file
that does not is set aside in `damaged/`, counted and never served, and the same bytes may be put again. The space that
all together take, and what one participant takes, are bounded, and so is the time for which anything is kept. Space is
that of the disk: a file of ten bytes takes a block, and so no crowd of small ones fills disk or memory unseen.

Does not: promise to keep anything for ever, copy to other gateways (`comity attachment mirror` does), or know who may
read what (`api.access`).

One process has the folder to itself: a second one is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO, cast

import structlog

from api.attachment_kinds import HASH_BYTES, KINDS, TELEMETRY, Kind
from api.config import AttachmentLimits
from ledger.cbor import decode, encode
from ledger.errors import LedgerError, Malformed, Untrue

log = structlog.get_logger("api.attachments")

MAGIC = b"comity attachment 1\n"
HEADER_LENGTH_BYTES = 2
MAX_HEADER_BYTES = 512
BLOCK_BYTES = 4096  # of most file systems
DAY_S = 86_400
PARTIAL = "partial"
DAMAGED = "damaged"
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of an attachment without its bytes."""

    sha256: bytes
    kind: Kind
    by: str
    stored_s: int
    size_bytes: int

    @property
    def taken_bytes(self) -> int:
        """The space on the disk, in whole blocks and with the longest header that there may be."""
        file_bytes = len(MAGIC) + HEADER_LENGTH_BYTES + HASH_BYTES + MAX_HEADER_BYTES + self.size_bytes
        return -(-file_bytes // BLOCK_BYTES) * BLOCK_BYTES


class QuotaExceeded(Exception):
    """There is no room: for this participant, or for anybody."""


class DirectoryTaken(Exception):
    """Another process has the folder: two would each keep to half of the rules."""


class AttachmentStore:
    """The attachments of one gateway. `wall_clock` gives seconds since the epoch. Calls block on the disk."""

    def __init__(self, limits: AttachmentLimits, wall_clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = wall_clock
        self._root = limits.directory
        self._entries: dict[bytes, Entry] = {}
        self._used_by: Counter[str] = Counter()
        # By kind, kept as they change: there may be millions, and whoever scrapes metrics asks on the event loop.
        self._number_of: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()
        self.used_bytes = 0
        self.damaged = 0
        self._changing = Lock()  # the gateway calls from threads
        self._root.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        self._lock = (self._root / "lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise DirectoryTaken(f"{self._root}: another gateway keeps its attachments here") from error
        for name in (PARTIAL, DAMAGED):
            (self._root / name).mkdir(exist_ok=True, mode=DIRECTORY_MODE)
        self._load()

    def close(self) -> None:
        self._lock.close()

    def _load(self) -> None:
        for left in (self._root / PARTIAL).iterdir():
            left.unlink()  # nobody was told that it is there
        self.damaged = sum(1 for _ in (self._root / DAMAGED).iterdir())
        for folder in sorted(self._root.iterdir()):
            if len(folder.name) != 2 or not folder.is_dir():
                continue
            for path in sorted(folder.iterdir()):
                try:
                    with path.open("rb") as file:
                        self._add(_read_header(file, bytes.fromhex(path.name), path.stat().st_size))
                except (LedgerError, ValueError) as error:
                    self._set_aside(path, str(error))
        self.sweep()

    def __len__(self) -> int:
        return len(self._entries)

    def counts(self) -> dict[str, tuple[int, int]]:
        """How many of each kind there are, and their bytes."""
        return {name: (self._number_of[name], self._bytes_of[name]) for name in KINDS}

    def entry(self, sha256: bytes) -> Entry | None:
        """Whether it is held, without touching the disk."""
        return self._entries.get(sha256)

    def put(self, sha256: bytes, kind: Kind, by: str, data: bytes) -> bool:
        """Keep the bytes; False if they were here already. They are on the disk when this returns.

        Untrue if the hash is another, Malformed if they are not of the kind's form, QuotaExceeded, or OSError.
        """
        if len(data) > kind.max_bytes:
            raise Malformed("too_large", f"expected at most {kind.max_bytes} bytes of {kind.name}, got {len(data)}")
        got = hashlib.sha256(data).digest()
        if got != sha256:
            raise Untrue("attachment_hash_differs", f"expected bytes of hash {sha256.hex()}, got {got.hex()}")
        kind.check(data)
        entry = Entry(sha256, kind, by, int(self._clock()), len(data))
        with self._changing:
            if sha256 in self._entries:
                return False
            self._make_room(entry)
            self._write(entry, data)
            self._add(entry)
        return True

    def get(self, sha256: bytes) -> bytes | None:
        """The bytes of this hash, or None. A file that holds anything else is set aside."""
        entry = self._entries.get(sha256)
        if entry is None:
            return None
        path = self._path(sha256)
        with self._changing:
            try:
                with path.open("rb") as file:
                    _read_header(file, sha256, path.stat().st_size)
                    data = file.read(entry.kind.max_bytes + 1)
                if hashlib.sha256(data).digest() != sha256:
                    raise Untrue("attachment_hash_differs", "the bytes are not those that were stored")
            except FileNotFoundError:
                if self._forget(entry):
                    log.error("attachment_gone", attachment=sha256.hex())
                return None
            except LedgerError as error:
                self._forget(entry)
                self._set_aside(path, str(error))
                return None
        return data

    def delete(self, sha256: bytes) -> bool:
        """Do away with it; False if it is not here."""
        with self._changing:
            entry = self._entries.get(sha256)
            if entry is None:
                return False
            self._path(sha256).unlink(missing_ok=True)
            _sync_directory(self._path(sha256).parent)
            return self._forget(entry)

    def sweep(self) -> int:
        """Delete what has been here for as long as its kind is kept. Returns how many."""
        now_s = self._clock()
        over = [e for e in list(self._entries.values()) if now_s - e.stored_s >= self._kept_s(e.kind)]
        for entry in over:
            self.delete(entry.sha256)
        if over:
            log.info("attachments_over", deleted=len(over))
        return len(over)

    def _kept_s(self, kind: Kind) -> int:
        days = self._limits.telemetry_days if kind is TELEMETRY else self._limits.envelope_days
        return days * DAY_S

    # ---- the disk

    def _path(self, sha256: bytes) -> Path:
        name = sha256.hex()
        return self._root / name[:2] / name

    def _make_room(self, entry: Entry) -> None:
        limits = self._limits
        if self._used_by[entry.by] + entry.taken_bytes > limits.participant_quota_bytes:
            raise QuotaExceeded(f"{entry.by} may keep {limits.participant_quota_bytes} bytes here")
        if self.used_bytes + entry.taken_bytes > limits.quota_bytes:
            raise QuotaExceeded(f"this gateway keeps {limits.quota_bytes} bytes of attachments, and they are used")

    def _write(self, entry: Entry, data: bytes) -> None:
        header = encode((entry.kind.name, entry.by, entry.stored_s))
        path = self._path(entry.sha256)
        partial = self._root / PARTIAL / path.name
        if not path.parent.exists():
            path.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            _sync_directory(self._root)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(MAGIC + len(header).to_bytes(HEADER_LENGTH_BYTES, "big"))
                file.write(hashlib.sha256(header).digest() + header + data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def _set_aside(self, path: Path, why: str) -> None:
        log.error("attachment_damaged", attachment=path.name, why=why)
        path.replace(self._root / DAMAGED / path.name)
        self.damaged += 1

    def _add(self, entry: Entry) -> None:
        self._entries[entry.sha256] = entry
        self._number_of[entry.kind.name] += 1
        self._bytes_of[entry.kind.name] += entry.size_bytes
        self._used_by[entry.by] += entry.taken_bytes
        self.used_bytes += entry.taken_bytes

    def _forget(self, entry: Entry) -> bool:
        if self._entries.pop(entry.sha256, None) is None:
            return False
        self._number_of[entry.kind.name] -= 1
        self._bytes_of[entry.kind.name] -= entry.size_bytes
        self.used_bytes -= entry.taken_bytes
        self._used_by[entry.by] -= entry.taken_bytes
        if not self._used_by[entry.by]:
            del self._used_by[entry.by]
        return True


def _read_header(file: BinaryIO, sha256: bytes, file_bytes: int) -> Entry:
    """The entry that a file begins with; Malformed if it does not begin with one."""
    start = file.read(len(MAGIC) + HEADER_LENGTH_BYTES)
    length = int.from_bytes(start[len(MAGIC) :], "big")
    if not start.startswith(MAGIC) or not 0 < length <= MAX_HEADER_BYTES or len(sha256) != HASH_BYTES:
        raise Malformed("bad_attachment_file", "expected a file of an attachment")
    digest, header = file.read(HASH_BYTES), file.read(length)
    if hashlib.sha256(header).digest() != digest:
        raise Malformed("bad_attachment_file", "the header is not the one that was written")
    kind, by, stored_s = cast("tuple[str, str, int]", decode(header))
    if kind not in KINDS:
        raise Malformed("bad_attachment_file", f"expected one of {', '.join(KINDS)}, got {kind!r:.40}")
    return Entry(sha256, KINDS[kind], by, stored_s, file_bytes - file.tell())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

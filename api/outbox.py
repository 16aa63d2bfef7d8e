"""What a device keeps on its own disk: every statement it signed, until it is final.

Two files that only ever grow. `<name>.signed` holds the statements, each behind its length in four bytes, and
`<name>.final` the ids of those that need not be sent any more. A statement is on disk before it is sent for the first
time, so that a device that loses power sends the very same bytes again: signed anew, it would be a second statement.

A tail that a power cut left half written is cut off when the outbox is opened: its statement was never sent. A file of
signed statements that has grown past `COMPACT_BYTES` is written anew when it is opened, with those that still wait.

For any device that signs; it needs the light install only.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, Final

from ledger.errors import Malformed, Misuse
from ledger.statement import MAX_STATEMENT_BYTES, Statement, parse_statement

LENGTH_BYTES: Final = 4
COMPACT_BYTES: Final = 8 * 1024 * 1024
ID_BYTES: Final = 32


class OutboxDamaged(Exception):
    """The files are not what an outbox writes; nothing may be sent from them."""


class Outbox:
    """The statements of one device that are not final yet, by what they are about, oldest first."""

    def __init__(self, directory: Path, name: str) -> None:
        stem = name.replace("/", "~")  # no participant id has this character, so no two share a file
        directory.mkdir(parents=True, exist_ok=True)
        self._pending: dict[bytes, Statement] = {}
        self._queues: dict[str, OrderedDict[bytes, Statement]] = {}
        self.signed = 0
        signed_path, final_path = directory / f"{stem}.signed", directory / f"{stem}.final"
        self._load(signed_path, final_path)
        if signed_path.exists() and signed_path.stat().st_size > COMPACT_BYTES:
            self._compact(signed_path, final_path)
        self._signed_file: BinaryIO = signed_path.open("ab")
        self._final_file: BinaryIO = final_path.open("ab")
        _sync_directory(directory)  # or a power cut takes the name of a file whose bytes are safe

    def _load(self, signed_path: Path, final_path: Path) -> None:
        data = signed_path.read_bytes() if signed_path.exists() else b""
        start = 0
        while start + LENGTH_BYTES <= len(data):
            length = int.from_bytes(data[start : start + LENGTH_BYTES], "big")
            end = start + LENGTH_BYTES + length
            if not 0 < length <= MAX_STATEMENT_BYTES:
                raise OutboxDamaged(f"{signed_path}: byte {start}: expected 1 to {MAX_STATEMENT_BYTES}, got {length}")
            if end > len(data):
                break
            try:
                statement = parse_statement(data[start + LENGTH_BYTES : end])
            except Malformed as error:
                raise OutboxDamaged(f"{signed_path}: byte {start}: {error}") from error
            self._add(statement)
            start = end
        _cut(signed_path, start, len(data))
        ids = final_path.read_bytes() if final_path.exists() else b""
        whole = len(ids) - len(ids) % ID_BYTES
        for position in range(0, whole, ID_BYTES):
            statement_id = ids[position : position + ID_BYTES]
            if statement_id in self._pending:
                self._remove(statement_id)
            else:
                raise OutboxDamaged(f"{final_path}: byte {position}: names a statement that was never signed here")
        _cut(final_path, whole, len(ids))

    def _compact(self, signed_path: Path, final_path: Path) -> None:
        """First forget what is final, then what was sent: in between, a power cut only means sending once more."""
        final_path.unlink(missing_ok=True)
        _sync_directory(final_path.parent)
        anew = signed_path.with_suffix(".anew")
        with anew.open("wb") as file:
            for statement in self._pending.values():
                file.write(len(statement.raw).to_bytes(LENGTH_BYTES, "big") + statement.raw)
            _sync(file)
        anew.replace(signed_path)

    def __len__(self) -> int:
        return len(self._pending)

    def waiting(self) -> list[Statement]:
        """Every statement that is not final yet, oldest first."""
        return list(self._pending.values())

    def oldest(self, subject: str) -> Statement | None:
        """The statement about a subject that is to be sent next."""
        queue = self._queues.get(subject)
        return next(iter(queue.values())) if queue else None

    def subjects(self) -> list[str]:
        """What the waiting statements are about."""
        return list(self._queues)

    def _add(self, statement: Statement) -> None:
        self._pending[statement.id] = statement
        self._queues.setdefault(statement.sub, OrderedDict())[statement.id] = statement
        self.signed += 1

    def _remove(self, statement_id: bytes) -> None:
        statement = self._pending.pop(statement_id)
        queue = self._queues[statement.sub]
        del queue[statement_id]
        if not queue:
            del self._queues[statement.sub]

    def put(self, statement: Statement) -> None:
        """Keep a statement. It is on disk when this returns."""
        if statement.id in self._pending:
            raise Misuse(f"statement {statement.id_hex} is in the outbox already")
        self._signed_file.write(len(statement.raw).to_bytes(LENGTH_BYTES, "big") + statement.raw)
        _sync(self._signed_file)
        self._add(statement)

    def done(self, statement_id: bytes) -> None:
        """It is final: never send it again. Losing this note to a power cut only means sending once more."""
        if statement_id not in self._pending:
            raise Misuse(f"statement {statement_id.hex()} is not in the outbox")
        self._final_file.write(statement_id)
        self._final_file.flush()
        self._remove(statement_id)

    def close(self) -> None:
        self._signed_file.close()
        self._final_file.close()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cut(path: Path, whole_bytes: int, got_bytes: int) -> None:
    if whole_bytes < got_bytes:
        with path.open("r+b") as file:
            file.truncate(whole_bytes)
            os.fsync(file.fileno())

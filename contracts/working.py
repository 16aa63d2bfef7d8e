"""The records of a block in the making: read through, written at the end.

Records are frozen; a change is a new record put in the place of the old. Nothing reaches the state before `changes` is
taken, so a rejected statement, which puts nothing, leaves no trace. Decoded records are remembered across blocks by the
exact bytes they were decoded from or encoded to: bytes decide, so the memory can be cold, warm or shared without
changing a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ledger.cbor import Encodable, decode, encode

# Some two kilobytes each: enough for every record that a thousand crossings at a time touch.
MAX_REMEMBERED_RECORDS = 12_288
# Of their encodings: a record can have thirty times its usual size, and whoever lodges one chooses which.
MAX_REMEMBERED_BYTES = 32 * 1024 * 1024

# An index entry: a flat row of integers and texts.
Row = tuple[int | str, ...]


class StateView(Protocol):
    """What execution needs of the state before the block. Keys cannot be listed: what is looked for has a key."""

    def get(self, key: str) -> bytes | None: ...


class Record(Protocol):
    def encode(self) -> bytes: ...


R = TypeVar("R", bound=Record)


class RecordMemory:
    """Decoded records by their bytes: two generations, so that what is used stays and the rest goes in one step."""

    def __init__(
        self,
        generation_records: int = MAX_REMEMBERED_RECORDS // 2,
        generation_bytes: int = MAX_REMEMBERED_BYTES // 2,
    ) -> None:
        self._generation_records = generation_records
        self._generation_bytes = generation_bytes
        self._young_bytes = 0
        self._young: dict[bytes, Record] = {}
        self._old: dict[bytes, Record] = {}

    def get(self, raw: bytes) -> Record | None:
        record = self._young.get(raw)
        if record is None:
            record = self._old.get(raw)
            if record is not None:
                self.put(raw, record)
        return record

    def put(self, raw: bytes, record: Record) -> None:
        if raw in self._young:
            return
        if len(self._young) >= self._generation_records or self._young_bytes + len(raw) > self._generation_bytes:
            self._old = self._young
            self._young = {}
            self._young_bytes = 0
        self._young[raw] = record
        self._young_bytes += len(raw)

    def forget(self, raw: bytes) -> None:
        """These bytes have been replaced: nothing will be decoded from them again, unless a block is taken back."""
        if self._young.pop(raw, None) is not None:
            self._young_bytes -= len(raw)
        self._old.pop(raw, None)


class UnreadableRecord(Exception):
    """A record of the state that this program cannot read. Never an outcome: the state is not what it must be."""


_MEMORY = RecordMemory()
_UNREAD = object()


class Working:
    """Reads of the state before the block, and the puts of this block over them."""

    __slots__ = ("_before", "_memory", "_puts", "_read", "_view")

    def __init__(self, view: StateView, memory: RecordMemory = _MEMORY) -> None:
        self._view = view
        self._memory = memory
        self._before: dict[str, bytes | None] = {}
        self._read: dict[str, object] = {}
        self._puts: dict[str, Record | Row | None] = {}

    def _raw(self, key: str) -> bytes | None:
        raw = self._view.get(key)
        self._before[key] = raw
        return raw

    def record(self, key: str, kind: type[R], decode_record: Callable[[bytes], R]) -> R | None:
        """The record at `key` as it stands now, or None."""
        found = self._read.get(key, _UNREAD)
        if found is _UNREAD:
            raw = self._raw(key)
            found = None
            if raw is not None:
                found = self._memory.get(raw)
                # Two versions of a contract may make other things of the same bytes.
                if type(found) is not kind:
                    found = decode_record(raw)
                    self._memory.put(raw, found)
            self._read[key] = found
        if found is not None and not isinstance(found, kind):
            raise UnreadableRecord(f"record {key}: expected {kind.__name__}, got {type(found).__name__}")
        return found

    def row(self, key: str) -> Row | None:
        """The index entry at `key` as it stands now, or None."""
        found = self._read.get(key, _UNREAD)
        if found is _UNREAD:
            raw = self._raw(key)
            found = None if raw is None else _decode_row(key, raw)
            self._read[key] = found
        if found is not None and not isinstance(found, tuple):
            raise UnreadableRecord(f"record {key}: expected an index row, got {type(found).__name__}")
        return found

    def put(self, key: str, value: Record | Row | None) -> None:
        """Put a record or row at `key`, or remove what is there."""
        self._read[key] = value
        self._puts[key] = value

    def changes(self) -> dict[str, bytes | None]:
        """What this block writes: keys in order, those that end as they began left out."""
        changes: dict[str, bytes | None] = {}
        for key in sorted(self._puts):
            value = self._puts[key]
            raw: bytes | None
            if value is None:
                raw = None
            elif isinstance(value, tuple):
                raw = encode(value)
            else:
                raw = value.encode()
                self._memory.put(raw, value)
            before = self._before[key] if key in self._before else self._raw(key)
            if raw != before:
                changes[key] = raw
                if before is not None:
                    self._memory.forget(before)
        return changes


def _decode_row(key: str, raw: bytes) -> Row:
    fields = decode(raw)
    if not isinstance(fields, list):
        raise UnreadableRecord(f"record {key}: expected an array, got {type(fields).__name__}")
    row: list[int | str] = []
    for value in fields:
        if not isinstance(value, int | str):
            raise UnreadableRecord(f"record {key}: expected integers and texts, got {type(value).__name__}")
        row.append(value)
    return tuple(row)


def encode_record(tag: str, fields: tuple[Encodable, ...]) -> bytes:
    """A record is an array whose first element says what it is: `movement.v1`."""
    return encode((tag, *fields))


def record_fields(tag: str, raw: bytes, count: int) -> list[object]:
    """The fields of a record of `tag`; UnreadableRecord if it is another or has another number of them."""
    fields = decode(raw)
    if not isinstance(fields, list) or not fields or fields[0] != tag:
        raise UnreadableRecord(f"expected a record {tag}, got {fields[:1] if isinstance(fields, list) else fields!r}")
    if len(fields) != count + 1:
        raise UnreadableRecord(f"record {tag}: expected {count} fields, got {len(fields) - 1}")
    return list(fields[1:])

"""The Raft log and vote of one validator on disk: the core's `Storage` over a store of its own beside the ledger.

Promises: what `write` was told to sync is on the disk when it returns; one call is one atomic batch, so a crash leaves
all of it or none, and entries that replace others take the whole tail behind them along. Does not promise to keep
entries in memory: the core does that for the recent ones.

The directory is marked with the node's name and the hash of the genesis record. A directory of another node is refused:
a validator that starts from another's vote and log could break the promise it has given.

Keys: `n` whose this is; `s` term, vote, commit; `e` + index (8 bytes, big-endian): term, type, data; `c` + index: the
entry there is a change of the membership.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from consensus.errors import Compacted, SnapshotUnavailable, Unavailable
from consensus.messages import Entry, EntryType, HardState, Snapshot
from consensus.quorum import Membership
from ledger import cbor
from ledger.errors import Malformed, UnknownDurableState
from ledger.store import Store

_IDENTITY = b"n"
_STATE = b"s"
_CHANGE = b"c"
_AFTER_CHANGES = b"d"
_ENTRY = b"e"
_AFTER_ENTRIES = b"f"
_HEAD = struct.Struct(">QB")
_INDEX = struct.Struct(">Q")
MAX_RECORD_BYTES = 4096


def _key(index: int) -> bytes:
    return _ENTRY + _INDEX.pack(index)


def _entry(key: bytes, value: bytes) -> Entry:
    try:
        term, kind = _HEAD.unpack_from(value)
        return Entry(term, _INDEX.unpack_from(key, 1)[0], EntryType(kind), value[_HEAD.size :])
    except (struct.error, ValueError) as error:
        raise UnknownDurableState(f"raft log: the entry at key {key.hex()} cannot be read: {error}") from error


class RaftStore:
    """See the module. Reads and writes in the caller's thread."""

    def __init__(self, store: Store, *, node: str, network: bytes, membership: Membership) -> None:
        self._store = store
        self._membership = membership
        identity = cbor.encode({"network": network, "node": node})
        found = store.get(_IDENTITY)
        if found is None:
            if any(True for _ in store.iterate(b"", b"\xff")):
                raise UnknownDurableState("raft log: there are records but no mark of whose they are")
            store.write({_IDENTITY: identity}, sync=True)
        elif found != identity:
            raise UnknownDurableState(f"raft log: belongs to another node or network than {node}")
        self._hard_state = self._read_state()
        self._changes = [_INDEX.unpack_from(key, 1)[0] for key, _ in store.iterate(_CHANGE, _AFTER_CHANGES)]
        self._first = next((_INDEX.unpack_from(key, 1)[0] for key, _ in self._entries_between(0, None)), 1)
        last = next(store.iterate(_ENTRY, _AFTER_ENTRIES, reverse=True), None)
        self._last, self._last_term = 0, 0
        if last is not None:
            entry = _entry(*last)
            self._last, self._last_term = entry.index, entry.term
        if self._first != 1:
            raise UnknownDurableState(f"raft log: begins at {self._first}, expected 1")
        if self._last_term > self._hard_state.term:
            raise UnknownDurableState(
                f"raft log: ends in term {self._last_term}, later than the term {self._hard_state.term} on record"
            )

    def _read_state(self) -> HardState:
        data = self._store.get(_STATE)
        if data is None:
            return HardState()
        try:
            value = cbor.decode(data, max_bytes=MAX_RECORD_BYTES)
        except Malformed as error:
            raise UnknownDurableState(f"raft log: term and vote cannot be read: {error}") from error
        if isinstance(value, dict):
            term, vote, commit = value.get("term"), value.get("vote"), value.get("commit")
            if isinstance(term, int) and isinstance(commit, int) and (vote is None or isinstance(vote, str)):
                return HardState(term, vote, commit)
        raise UnknownDurableState("raft log: term and vote cannot be read: wrong shape")

    def _entries_between(self, low: int, high: int | None) -> Iterator[tuple[bytes, bytes]]:
        return self._store.iterate(_key(low), _AFTER_ENTRIES if high is None else _key(high))

    # --- what the core reads ----------------------------------------------------------------------------------------

    def initial_state(self) -> tuple[HardState, Membership]:
        return self._hard_state, self._membership

    def configuration_indexes(self) -> Sequence[int]:
        return self._changes

    def first_index(self) -> int:
        return self._first

    def last_index(self) -> int:
        return self._last

    def term(self, index: int) -> int:
        if index == 0:
            return 0
        if index == self._last:
            return self._last_term
        if index < 0:
            raise Compacted(f"index {index} is before the log")
        if index > self._last:
            raise Unavailable(f"index {index} is beyond the log, which ends at {self._last}")
        value = self._store.get(_key(index))
        if value is None:
            raise UnknownDurableState(f"raft log: entry {index} is missing, the log ends at {self._last}")
        return _entry(_key(index), value).term

    def entries(self, low: int, high: int, max_bytes: int) -> Sequence[Entry]:
        taken: list[Entry] = []
        size = 0
        for key, value in self._entries_between(low, high):
            entry = _entry(key, value)
            if entry.index != low + len(taken):
                raise UnknownDurableState(f"raft log: entry {low + len(taken)} is missing, the next is {entry.index}")
            size += len(entry.data)
            if taken and size > max_bytes:
                break
            taken.append(entry)
        if not taken and low < high:
            raise UnknownDurableState(f"raft log: entry {low} is missing, the log ends at {self._last}")
        return taken

    def snapshot(self) -> Snapshot:
        raise SnapshotUnavailable("the raft log is kept whole")

    def compact(self, index: int) -> None:
        """The log is kept whole: nothing is forgotten."""

    # --- what the Ready loop writes ---------------------------------------------------------------------------------

    def write(self, hard_state: HardState | None, entries: Sequence[Entry], *, sync: bool) -> None:
        """One atomic batch. Raises StoreUnavailable: nothing was written, try again; UnknownDurableState: stop."""
        batch: dict[bytes, bytes | None] = {}
        changes = self._changes
        if entries:
            first = entries[0].index
            if not 0 < first <= self._last + 1:
                raise UnknownDurableState(f"raft log: expected entries from at most {self._last + 1}, got {first}")
            for index in range(entries[-1].index + 1, self._last + 1):
                batch[_key(index)] = None
            for entry in entries:
                batch[_key(entry.index)] = _HEAD.pack(entry.term, entry.type) + entry.data
            new = [entry.index for entry in entries if entry.type is EntryType.CONFIGURATION]
            if new or (changes and changes[-1] >= first):
                batch |= {_CHANGE + _INDEX.pack(index): None for index in changes if index >= first}
                batch |= {_CHANGE + _INDEX.pack(index): b"" for index in new}
                changes = [index for index in changes if index < first] + new
        if hard_state is not None:
            batch[_STATE] = cbor.encode({"term": hard_state.term, "vote": hard_state.vote, "commit": hard_state.commit})
        if not batch:
            return
        self._store.write(batch, sync=sync)
        if hard_state is not None:
            self._hard_state = hard_state
        if entries:
            self._last, self._last_term = entries[-1].index, entries[-1].term
            self._changes = changes

    def close(self) -> None:
        self._store.close()

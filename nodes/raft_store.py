"""The Raft log and vote of one validator on disk: the core's `Storage` over a store of its own beside the ledger.

Promises: what `write` was told to sync is on the disk when it returns; one call is one atomic batch, so a crash leaves
all of it or none, and entries that replace others take the whole tail behind them along. `compact` and `install` are
crash-safe at every write: first one synced record says where the log begins from now on, then what lies before it is
deleted, a bounded batch at a time; a start goes on where a crash left off. Opening reads a handful of records, however
long the log is. Does not promise to keep entries in memory: the core does that for the recent ones.

The directory is marked with the node's name and the hash of the genesis record. A directory of another node is refused:
a validator that starts from another's vote and log could break the promise it has given.

Keys: `n` whose this is; `s` term, vote, commit; `b` the base: index and term of the newest entry that is no longer
there and the membership as of it (thesis section 5.1), and `until`, the end of a log that is being thrown away; `d` how
far what lies before the base is deleted; `p` what may have been signed (`nodes.promises`); `c` + index: there is a
change of the membership at this index; `e` + index (8 bytes, big-endian): term, type, data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from consensus import apply_change, decode_change
from consensus.errors import ChangeRefused, Compacted, Misuse, SnapshotUnavailable, Unavailable
from consensus.messages import Entry, EntryType, HardState, Snapshot, SnapshotMetadata
from consensus.quorum import Configuration, Membership
from ledger import cbor
from ledger.errors import Malformed, UnknownDurableState
from ledger.store import Store, StoreUnavailable

_IDENTITY = b"n"
_STATE = b"s"
_BASE = b"b"
_DELETED = b"d"
_PROMISE = b"p"
_CHANGE = b"c"
_AFTER_CHANGES = b"d"
_ENTRY = b"e"
_AFTER_ENTRIES = b"f"
_HEAD = struct.Struct(">QB")
_INDEX = struct.Struct(">Q")
MAX_RECORD_BYTES = 4096
# 127 members, each named in two configurations with an authority: 64 characters of at most four bytes each.
MAX_BASE_BYTES = 256 * 1024
# What one batch deletes. Small enough that a heartbeat does not wait for it.
DELETE_ENTRIES = 2000


@dataclass(frozen=True, slots=True)
class _Base:
    """Where the log begins: behind this entry. `until`: everything up to there is to go, whatever comes behind."""

    index: int
    term: int
    membership: Membership
    until: int = 0


def _key(index: int) -> bytes:
    return _ENTRY + _INDEX.pack(index)


def _change_key(index: int) -> bytes:
    return _CHANGE + _INDEX.pack(index)


def _entry(key: bytes, value: bytes) -> Entry:
    try:
        term, kind = _HEAD.unpack_from(value)
        return Entry(term, _INDEX.unpack_from(key, 1)[0], EntryType(kind), value[_HEAD.size :])
    except (struct.error, ValueError) as error:
        raise UnknownDurableState(f"raft log: the entry at key {key.hex()} cannot be read: {error}") from error


def encode_membership(membership: Membership) -> dict[str, Any]:
    """A membership as a CBOR map."""

    def members(configuration: Configuration) -> dict[str, Any]:
        return {
            "voters": dict(configuration.voters),
            "witnesses": sorted(configuration.witnesses),
            "learners": sorted(configuration.learners),
        }

    encoded = {"incoming": members(membership.incoming)}
    if membership.outgoing is not None:
        encoded["outgoing"] = members(membership.outgoing)
    return encoded


def decode_membership(value: Any) -> Membership:
    """Raises ValueError, KeyError or TypeError where this is no membership."""

    def configuration(found: Any) -> Configuration:
        return Configuration(found["voters"], frozenset(found["witnesses"]), frozenset(found["learners"]))

    outgoing = configuration(value["outgoing"]) if "outgoing" in value else None
    return Membership(configuration(value["incoming"]), outgoing)


def membership_to_bytes(membership: Membership, changes: int = 0) -> bytes:
    """A membership and how many changes led to it."""
    return cbor.encode({**encode_membership(membership), "changes": changes})


def changes_in(data: bytes) -> int:
    """How many changes led to an encoded membership. Raises Malformed."""
    value = cbor.decode(data, max_bytes=MAX_BASE_BYTES)
    changes = value.get("changes") if isinstance(value, dict) else None
    if type(changes) is not int or changes < 0:
        raise Malformed("bad_membership", "membership says not how many changes led to it")
    return changes


def membership_from_bytes(data: bytes) -> Membership:
    """Raises Malformed."""
    try:
        return decode_membership(cbor.decode(data, max_bytes=MAX_BASE_BYTES))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed("bad_membership", f"membership cannot be read: {error!r}") from error


def _encode_base(base: _Base) -> bytes:
    return cbor.encode(
        {
            "index": base.index,
            "term": base.term,
            "membership": encode_membership(base.membership),
            "until": base.until,
        }
    )


def _decode_base(data: bytes) -> _Base:
    try:
        value: Any = cbor.decode(data, max_bytes=MAX_BASE_BYTES)
        base = _Base(value["index"], value["term"], decode_membership(value["membership"]), value["until"])
        if not all(isinstance(number, int) for number in (base.index, base.term, base.until)):
            raise ValueError("expected numbers")
    except (Malformed, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnknownDurableState(f"raft log: the record of where it begins cannot be read: {error}") from error
    return base


def _decode_state(data: bytes | None) -> HardState:
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


class RaftStore:
    """See the module. Reads and writes in the caller's thread, one at a time.

    `snapshot_provider` makes what a follower is sent that needs entries which are gone; without one, or where it has
    nothing that reaches the log, the follower waits.
    """

    def __init__(self, store: Store, *, node: str, network: bytes, membership: Membership) -> None:
        self._store = self.store = store
        self.snapshot_provider: Callable[[], Snapshot] | None = None
        identity = cbor.encode({"network": network, "node": node})
        found = store.get(_IDENTITY)
        if found is None:
            if any(True for _ in store.iterate(b"", b"\xff")):
                raise UnknownDurableState("raft log: there are records but no mark of whose they are")
            store.write({_IDENTITY: identity}, sync=True)
        elif found != identity:
            raise UnknownDurableState(f"raft log: belongs to another node or network than {node}")
        self._hard_state = _decode_state(store.get(_STATE))
        self._promise = store.get(_PROMISE)
        stored = store.get(_BASE)
        self._base = _Base(0, 0, membership) if stored is None else _decode_base(stored)
        self._finish_deleting()
        self._read_ends()

    PROMISE_KEY = _PROMISE

    @staticmethod
    def is_new(store: Store) -> bool:
        """Whether nobody has begun a log in this store yet."""
        return store.get(_IDENTITY) is None

    @staticmethod
    def positions(store: Store) -> tuple[HardState, int, int, bytes | None]:
        """Term and vote, first and last index, and the promise, of a log that nobody has open."""
        stored = store.get(_BASE)
        base, until = 0, 0
        if stored is not None:
            decoded = _decode_base(stored)
            base, until = decoded.index, decoded.until
        last = next(store.iterate(_key(max(base, until) + 1), _AFTER_ENTRIES, reverse=True), None)
        end = base if last is None else _entry(*last).index
        return _decode_state(store.get(_STATE)), base + 1, end, store.get(_PROMISE)

    def _read_ends(self) -> None:
        base = self._base
        first = next((_INDEX.unpack_from(key, 1)[0] for key, _ in self._entries_between(base.index + 1, None)), None)
        last = next(self._store.iterate(_ENTRY, _AFTER_ENTRIES, reverse=True), None)
        self._last, self._last_term = base.index, base.term
        if last is not None:
            entry = _entry(*last)
            self._last, self._last_term = entry.index, entry.term
        if first is not None and first != base.index + 1:
            raise UnknownDurableState(f"raft log: begins at {first}, expected {base.index + 1}")
        if self._last < base.index or self._last_term < base.term:
            raise UnknownDurableState(f"raft log: ends at {self._last}, before its beginning behind {base.index}")
        if self._last_term > self._hard_state.term:
            raise UnknownDurableState(
                f"raft log: ends in term {self._last_term}, later than the term {self._hard_state.term} on record"
            )
        if self._hard_state.commit > self._last:
            raise UnknownDurableState(
                f"raft log: ends at {self._last}, but was committed up to {self._hard_state.commit}"
            )
        if self._hard_state.commit < base.index:
            # Only what is committed is ever left out; that it was, need not have been written down.
            self._hard_state = replace(self._hard_state, commit=base.index)
        self._changes = [
            _INDEX.unpack_from(key, 1)[0] for key, _ in self._store.iterate(_change_key(base.index + 1), _AFTER_CHANGES)
        ]
        if self._changes and self._changes[-1] > self._last:
            raise UnknownDurableState(
                f"raft log: ends at {self._last}, before the change of the membership at {self._changes[-1]}"
            )

    def _entries_between(self, low: int, high: int | None) -> Iterator[tuple[bytes, bytes]]:
        return self._store.iterate(_key(low), _AFTER_ENTRIES if high is None else _key(high))

    # --- what the core reads ----------------------------------------------------------------------------------------

    def initial_state(self) -> tuple[HardState, Membership]:
        """The membership is the one as of the base: changes that are still in the log come on top of it."""
        return self._hard_state, self._base.membership

    def configuration_indexes(self) -> Sequence[int]:
        return tuple(self._changes)

    def changes(self) -> tuple[int, Membership, list[Entry]]:
        """Where the log begins, the membership there, and the entries of it that change that."""
        entries = [entry for index in self._changes for entry in self.entries(index, index + 1, 0)]
        return self._base.index + 1, self._base.membership, entries

    def first_index(self) -> int:
        return self._base.index + 1

    def last_index(self) -> int:
        return self._last

    def term(self, index: int) -> int:
        if index == self._base.index:
            return self._base.term
        if index == self._last:
            return self._last_term
        if index < self._base.index:
            raise Compacted(f"index {index} is before the log, which begins at {self.first_index()}")
        if index > self._last:
            raise Unavailable(f"index {index} is beyond the log, which ends at {self._last}")
        return self._entry_at(index).term

    def _entry_at(self, index: int) -> Entry:
        value = self._store.get(_key(index))
        if value is None:
            raise UnknownDurableState(f"raft log: entry {index} is missing, the log ends at {self._last}")
        return _entry(_key(index), value)

    def entries(self, low: int, high: int, max_bytes: int) -> Sequence[Entry]:
        if low <= self._base.index:
            raise Compacted(f"index {low} is before the log, which begins at {self.first_index()}")
        if high > self._last + 1:
            raise Unavailable(f"index {high - 1} is beyond the log, which ends at {self._last}")
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

    def membership_at(self, index: int) -> Membership:
        """The membership as of an index from the base on: the base's, with the changes of the log up to there."""
        if index < self._base.index:
            raise Compacted(f"index {index} is before the log, which begins at {self.first_index()}")
        membership = self._base.membership
        for at in self._changes:
            if at > index:
                break
            try:
                membership = apply_change(membership, decode_change(self._entry_at(at).data))
            except ChangeRefused as error:
                raise UnknownDurableState(f"raft log: the change at {at} cannot be: {error}") from error
        return membership

    def snapshot(self) -> Snapshot:
        if self.snapshot_provider is None:
            raise SnapshotUnavailable("nothing here makes snapshots")
        snapshot = self.snapshot_provider()
        if snapshot.metadata.index < self._base.index:
            raise SnapshotUnavailable(
                f"the newest snapshot ends at {snapshot.metadata.index}, the log begins at {self.first_index()}"
            )
        return snapshot

    # --- where the log begins ---------------------------------------------------------------------------------------

    def compact(self, index: int) -> None:
        """Forget the entries up to and including `index`, which must be committed and durably executed."""
        if index <= self._base.index:
            return
        if index > self._last:
            raise Misuse(f"cannot forget what is not there: expected at most {self._last}, got {index}")
        self._begin_behind(_Base(index, self.term(index), self.membership_at(index)))

    def install(self, metadata: SnapshotMetadata) -> None:
        """Let a snapshot stand for the log up to its index.

        Entries behind it stay if the log has the snapshot's own last entry; if not, they are of a history that the
        snapshot contradicts, and go (thesis section 5.3). The term never falls, and a vote of its term stays.
        """
        if metadata.index <= self._base.index:
            raise Misuse(f"a snapshot cannot lead back: expected more than {self._base.index}, got {metadata.index}")
        fits = metadata.index <= self._last and self.term(metadata.index) == metadata.term
        state = self._hard_state
        if metadata.term > state.term:
            state = HardState(metadata.term, None, state.commit)
        commit = max(state.commit, metadata.index) if fits else metadata.index
        until = 0 if fits else self._last
        if until and state.commit > metadata.index:
            raise UnknownDurableState(
                f"raft log: committed up to {state.commit}, and a snapshot that ends at {metadata.index} says otherwise"
            )
        base = _Base(metadata.index, metadata.term, metadata.membership, until)
        self._begin_behind(base, replace(state, commit=commit))

    def _begin_behind(self, base: _Base, hard_state: HardState | None = None) -> None:
        batch: dict[bytes, bytes | None] = {_BASE: _encode_base(base)}
        if hard_state is not None:
            batch[_STATE] = _encode_state(hard_state)
        self._store.write(batch, sync=True)
        self._base = base
        if hard_state is not None:
            self._hard_state = hard_state
        self._changes = [index for index in self._changes if index > base.index]
        try:
            self._finish_deleting()
        except StoreUnavailable:
            # The log begins there all the same: what is left is deleted with the next, or at the next start. Not so
            # where entries behind it are thrown away: they would be taken for the log.
            if base.until:
                raise
        self._read_ends()

    def _finish_deleting(self) -> None:
        """Delete what the base says is gone, from where the last deletion ended."""
        base = self._base
        stored = self._store.get(_DELETED)
        if stored is not None and len(stored) != _INDEX.size:
            raise UnknownDurableState("raft log: the record of how far it is deleted cannot be read")
        done = 0 if stored is None else _INDEX.unpack(stored)[0]
        goal = max(base.index, base.until)
        newest = next(self._store.iterate(_key(done + 1), _key(goal + 1), reverse=True), None) if done < goal else None
        stop = 0 if newest is None else _INDEX.unpack_from(newest[0], 1)[0]
        while done < goal:
            upto = min(goal, done + DELETE_ENTRIES) if done < stop else goal
            batch: dict[bytes, bytes | None] = {_key(index): None for index in range(done + 1, min(upto, stop) + 1)}
            for key, _ in self._store.iterate(_change_key(done + 1), _change_key(upto + 1)):
                batch[key] = None
            batch[_DELETED] = _INDEX.pack(upto)
            # Needs no sync: what a crash brings back is deleted again.
            self._store.write(batch, sync=False)
            done = upto
        if base.until:
            # From now on entries may stand there again: the thrown-away ones must be gone for good before.
            self._base = replace(base, until=0)
            self._store.write({_BASE: _encode_base(self._base), _DELETED: _INDEX.pack(base.index)}, sync=True)

    # --- what the Ready loop writes ---------------------------------------------------------------------------------

    @property
    def promise(self) -> bytes | None:
        """What the caller last had written beside the log, and is on the disk."""
        return self._promise

    def put_promise(self, promise: bytes) -> None:
        """Keep this beside the log at once."""
        self._store.write({_PROMISE: promise}, sync=True)
        self._promise = promise

    def write(
        self, hard_state: HardState | None, entries: Sequence[Entry], *, sync: bool, promise: bytes | None = None
    ) -> None:
        """One atomic batch. Raises StoreUnavailable: nothing was written, try again; UnknownDurableState: stop."""
        batch: dict[bytes, bytes | None] = {}
        changes = self._changes
        if entries:
            first = entries[0].index
            if not self._base.index < first <= self._last + 1:
                raise UnknownDurableState(
                    f"raft log: expected entries from {self._base.index + 1} to {self._last + 1}, got {first}"
                )
            for index in range(entries[-1].index + 1, self._last + 1):
                batch[_key(index)] = None
            for index in changes:
                if index >= first:
                    batch[_change_key(index)] = None
            changes = [index for index in changes if index < first]
            for entry in entries:
                batch[_key(entry.index)] = _HEAD.pack(entry.term, entry.type) + entry.data
                if entry.type is EntryType.CONFIGURATION:
                    batch[_change_key(entry.index)] = b""
                    changes.append(entry.index)
        if hard_state is not None:
            batch[_STATE] = _encode_state(hard_state)
        if not batch:
            return
        if promise is not None:
            batch[_PROMISE] = promise
        self._store.write(batch, sync=sync)
        if promise is not None and sync:
            self._promise = promise
        self._changes = changes
        if hard_state is not None:
            self._hard_state = hard_state
        if entries:
            self._last, self._last_term = entries[-1].index, entries[-1].term

    def close(self) -> None:
        self._store.close()


def _encode_state(state: HardState) -> bytes:
    return cbor.encode({"term": state.term, "vote": state.vote, "commit": state.commit})


def verify_log(store: Store, step_entries: int) -> Iterator[tuple[int, int]]:
    """Read all of a log that nobody writes to; yield the last index and the bytes of each step.

    Raises UnknownDurableState where a record is damaged or missing, or contradicts another.
    """
    stored = store.get(_BASE)
    base = None if stored is None else _decode_base(stored)
    index, term = (0, 0) if base is None else (base.index, base.term)
    # Up to there all is being thrown away, and the next start goes on with that: it is no longer of the log.
    until = 0 if base is None else base.until
    marks = store.iterate(_change_key(max(index, until) + 1), _AFTER_CHANGES)
    marked = next(marks, None)
    size = 0
    for key, value in store.iterate(_key(index + 1), _AFTER_ENTRIES):
        entry = _entry(key, value)
        if entry.index <= until:
            continue
        if entry.index != index + 1:
            raise UnknownDurableState(f"raft log: entry {index + 1} is missing, the next is {entry.index}")
        if entry.term < term:
            raise UnknownDurableState(f"raft log: entry {entry.index} is of term {entry.term}, after one of {term}")
        if (entry.type is EntryType.CONFIGURATION) != (marked is not None and marked[0] == _change_key(entry.index)):
            raise UnknownDurableState(f"raft log: entry {entry.index} and the marks of changes disagree")
        if entry.type is EntryType.CONFIGURATION:
            marked = next(marks, None)
        index, term = entry.index, entry.term
        size += len(value)
        if index % step_entries == 0:
            yield index, size
            size = 0
    if marked is not None:
        raise UnknownDurableState(f"raft log: ends at {index}, before the change marked at {marked[0].hex()}")
    # The few that are left; the store's checksums, and for term and vote their shape, say whether they are well.
    for key in (_IDENTITY, _STATE, _BASE, _DELETED, _PROMISE):
        size += len(store.get(key) or b"")
    state = _decode_state(store.get(_STATE))
    if term > state.term or state.commit > index:
        raise UnknownDurableState(
            f"raft log: ends at {index} in term {term}, but term {state.term} and commit {state.commit} are on record"
        )
    yield index, size

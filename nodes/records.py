"""The names of the records of the state, in order, so that they can be listed by prefix.

The state map is ordered by the hash of the name; an answer to "all movements" needs the names themselves. The index is
written in the batch of the block that first writes a record. It only ever grows: who lists asks the state for each
name, and what is not there any more is left out. Nothing rests on it but lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ledger.store import Store

RECORD_PREFIX = b"record/"
LISTED = ("declaration/", "escort/", "registry/", "parameter/", "authority/", "governance/", "governed", "legal_basis/")
REMEMBERED_MAX_NAMES = 20_000
MAX_NAME_BYTES = 512


_LISTED_BYTES = tuple(prefix.encode() for prefix in LISTED)


def index_keys(names: Iterable[bytes]) -> dict[bytes, bytes]:
    """What the index says of these names, in UTF-8, all of which are new: for a ledger that is copied."""
    return {RECORD_PREFIX + name: b"" for name in names if name.startswith(_LISTED_BYTES)}


class RecordIndex:
    """`additions` and `added` in the thread that executes; `keys` in any."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: set[str] = set()

    def additions(self, names: Iterable[str]) -> dict[bytes, bytes]:
        """What to write for names that may be new."""
        return {
            RECORD_PREFIX + name.encode(): b"" for name in names if name not in self._known and name.startswith(LISTED)
        }

    def added(self, names: Iterable[str]) -> None:
        """They are on the disk: do not write them again soon."""
        if len(self._known) > REMEMBERED_MAX_NAMES:
            self._known.clear()
        self._known.update(name for name in names if name.startswith(LISTED))

    def keys(self, prefix: str, after: str) -> Iterator[str]:
        """Names that begin with a prefix, in order, from behind `after` on."""
        start = RECORD_PREFIX + prefix.encode()[:MAX_NAME_BYTES]
        stop = start + b"\xff"
        if after:
            start = max(start, RECORD_PREFIX + after.encode()[:MAX_NAME_BYTES] + b"\x00")
        for key, _ in self._store.iterate(start, stop):
            yield key[len(RECORD_PREFIX) :].decode()

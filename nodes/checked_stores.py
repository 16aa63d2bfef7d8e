"""The stores of a validator as they are opened: LevelDB below, a checksum on every record, names for people.

A store that the release before this one wrote has no checksums. It is rewritten when it is opened, once, and the log
says how far that is; nothing else is asked of the operator.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from ledger.checked import CheckedStore, write_unchecked
from ledger.leveldb import LevelDBStore
from nodes.record_names import LEDGER, ORDER, describe

# How often a rewriting that takes long says how far it is.
PROGRESS_S = 2.0


def open_checked(path: Path) -> CheckedStore:
    """Raises StoreUnavailable, UnknownDurableState."""
    log = structlog.get_logger().bind(part="store", store=str(path))
    told_s = time.monotonic()

    def rewritten(records: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= PROGRESS_S:
            told_s = time.monotonic()
            log.info("store_is_rewritten_with_checksums", records=records)

    below = LevelDBStore(path)
    try:
        return CheckedStore(below, name=f"store {path}", describe=describe(path), on_rewritten=rewritten)
    except BaseException:
        below.close()
        raise


def take_back(data: Path, on_rewritten: Callable[[int], None] = lambda _: None) -> None:
    """Rewrite both stores for the release before this one. Raises StoreUnavailable, UnknownDurableState."""
    for part in (LEDGER, ORDER):
        if (data / part).exists():
            store = LevelDBStore(data / part)
            try:
                write_unchecked(store, name=f"store {data / part}", on_rewritten=on_rewritten)
            finally:
                store.close()

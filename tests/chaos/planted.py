"""Bugs planted into real validators, to prove that chaos finds what only it can find.

`python -m tests.chaos.planted no-sync validator run --config …` is `comity validator run …` with that bug. A run with
`--plant` has to end with violations: one that does not means that the faults or the checker have become blunt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Final

from ledger.leveldb import LevelDBStore
from ledger.store import Batch


def _no_sync() -> None:
    """Acknowledged is written, but not synced: a process that is killed loses nothing, a power cut does."""
    write = LevelDBStore.write

    def forgetful(self: LevelDBStore, batch: Batch, sync: bool = True) -> None:
        write(self, batch, sync=False)

    LevelDBStore.write = forgetful  # type: ignore[method-assign]


BUGS: Final[Mapping[str, Callable[[], None]]] = {"no-sync": _no_sync}


def main() -> None:
    from nodes.cli import main as comity

    BUGS[sys.argv.pop(1)]()
    comity()


if __name__ == "__main__":
    main()

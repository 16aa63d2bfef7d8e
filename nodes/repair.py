"""Looking over what a stopped validator has on its disk, and mending what can be mended without a lie.

`check` reads everything and changes nothing: it opens copies that share the tables of the stores, which are never
written a second time, and have their own logs.

`repair` knows one cure and one refusal (after Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage",
FAST 2018: what a node does about damage depends on what it has promised to others):

* The ledger follows from the order. If it is damaged, lost or has gone back in time, and the order is whole, the ledger
  is set aside, never removed, and derived again: from the order if that reaches back to its beginning, else from a
  snapshot that both authorities vouch for. The ceiling kept in the order becomes a floor: nothing at or below it is
  signed again (`nodes.promises`).
* The order is what this validator said to others: its vote, and every entry that it acknowledged and that may be
  committed because of it. If anything of it is lost, no peer can give it back, since none knows what was said; taking
  part again could elect a second leader of one term, or lose what is committed. So it does not, under this name: a new
  validator takes its place through a change of the membership.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ledger.errors import LedgerError, Misuse, UnknownDurableState
from ledger.store import Store, StoreUnavailable
from nodes.checked_stores import open_checked
from nodes.cosigning import INTENT_KEY, Intent
from nodes.files import Files
from nodes.promises import Promise
from nodes.raft_store import RaftStore
from nodes.record_names import LEDGER, ORDER
from nodes.scrub import Step, walk_ledger, walk_order

Progress = Callable[[str, int], None]

_BEHIND_ALL_KEYS = b"\xff" * 64

REPLACE = (
    "this validator must not take part again under its name: it may have voted for or acknowledged what it no longer "
    "knows. Keep the folder. Have both authorities remove it from the membership and add a new validator with new keys "
    "(docs/operating.md, `comity membership`)"
)


@dataclass(slots=True)
class PartReport:
    """What was found in one store."""

    name: str
    read_bytes: int = 0
    fault: str | None = None
    present: bool = True


@dataclass(slots=True)
class Report:
    """`verdict`: "whole", "repairable" (the ledger can be derived again) or "replace" (a new identity is needed)."""

    directory: Path
    ledger: PartReport = field(default_factory=lambda: PartReport(LEDGER))
    order: PartReport = field(default_factory=lambda: PartReport(ORDER))
    term: int | None = None
    vote: str | None = None
    first_index: int | None = None
    last_index: int | None = None
    promise: Promise | None = None
    intent: Intent | None = None

    @property
    def verdict(self) -> str:
        if self.order.fault is not None:
            return "replace"
        if self.ledger.fault is None:
            return "whole"
        return "repairable" if self.promise is not None else "replace"


class Refused(Exception):
    """This cannot be mended here; the text says what to do instead."""


@contextlib.contextmanager
def _not_in_use(path: Path) -> Iterator[None]:
    """Hold LevelDB's own lock while a copy is made. Raises StoreUnavailable if a validator has it."""
    lock = path / "LOCK"
    if not lock.exists():
        yield
        return
    try:
        with lock.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise StoreUnavailable(f"{path} is in use: stop the validator first") from error


@contextlib.contextmanager
def _copy(path: Path) -> Iterator[Store]:
    """The store at ``path`` as a start would find it, opened without writing there."""
    with tempfile.TemporaryDirectory(prefix="comity-check-") as folder:
        copy = Path(folder, path.name)
        copy.mkdir()
        with _not_in_use(path):
            for file in path.iterdir():
                if file.suffix in (".ldb", ".sst"):
                    (copy / file.name).symlink_to(file.resolve())
                elif file.is_file() and file.name != "LOCK":
                    shutil.copyfile(file, copy / file.name)
        # It keeps nothing, so a full disk does not stop it.
        store = open_checked(copy, name=path, disk_reserve_bytes=0)
        try:
            yield store
        finally:
            store.close()


def check(data: Path, on_progress: Progress = lambda what, size: None) -> Report:
    """Read everything. Raises StoreUnavailable if a validator runs on it, Misuse if there is nothing to check."""
    if not (data / LEDGER).exists() and not (data / ORDER).exists():
        raise Misuse(f"{data}: there is no ledger and no order: expected the data folder of a validator")
    report = Report(data)
    _check_part(data, report.order, walk_order, on_progress, lambda store: _read_promises(report, store))
    _check_part(data, report.ledger, walk_ledger, on_progress, lambda store: _read_intent(report, store))
    if report.order.fault is None and report.ledger.fault is None:
        promise, intent = report.promise, report.intent
        if promise is not None and promise.floor == 0 and (intent.size if intent else 0) < promise.size:
            report.ledger.fault = (
                f"size {promise.size} was signed, says the order, but the ledger knows only of "
                f"{intent.size if intent else 0}: it has gone back in time"
            )
    return report


def _check_part(
    data: Path,
    part: PartReport,
    walk: Callable[[Store], Iterator[Step]],
    on_progress: Progress,
    read: Callable[[Store], None],
) -> None:
    path = data / part.name
    if not path.exists():
        part.present, part.fault = False, f"{path} is not there"
        return
    try:
        with _copy(path) as store:
            read(store)
            for step in walk(store):
                part.read_bytes += step.bytes
                on_progress(f"{part.name}: {step.what}", part.read_bytes)
            read_what_is_out_of_use(store)
    except UnknownDurableState as error:
        part.fault = str(error)
    except LedgerError as error:
        if isinstance(error, StoreUnavailable):
            raise
        part.fault = str(error)


def read_what_is_out_of_use(store: Store) -> None:
    """Step over every key. LevelDB reads what was deleted or replaced on the way, as it will to rewrite its tables."""
    for _ in store.iterate(b"", _BEHIND_ALL_KEYS):
        pass


def _read_promises(report: Report, store: Store) -> None:
    if RaftStore.is_new(store):
        raise UnknownDurableState("the order does not say whose it is: its records are lost")
    state, first, last, promise = RaftStore.positions(store)
    report.term, report.vote, report.first_index, report.last_index = state.term, state.vote, first, last
    report.promise = None if promise is None else Promise.decode(promise)


def _read_intent(report: Report, store: Store) -> None:
    stored = store.get(INTENT_KEY)
    report.intent = None if stored is None else Intent.decode(stored)


@dataclass(frozen=True, slots=True)
class Repaired:
    aside: Path | None
    floor: int
    from_order: bool


def repair(data: Path, on_progress: Progress = lambda what, size: None) -> tuple[Report, Repaired | None]:
    """Set a damaged ledger aside, so that it is derived again; None where everything is whole.

    Raises Refused where the order is damaged, or where nothing says what was signed.
    """
    report = check(data, on_progress)
    if report.verdict == "whole":
        return report, None
    if report.order.fault is not None:
        raise Refused(f"the order is damaged: {report.order.fault}; {REPLACE}")
    promise = report.promise
    if promise is None:
        raise Refused(
            f"the ledger is damaged ({report.ledger.fault}), and nothing else says what was signed, since this release "
            f"never ran on it; {REPLACE}"
        )
    # The intent in the ledger may be read and still not be the last one: the ceiling is never too low.
    floor = max(promise.ceiling, promise.floor, report.intent.size if report.intent else 0)
    order = open_checked(data / ORDER)
    try:
        kept = promise
        if report.intent is not None and report.intent.size > promise.size and report.ledger.fault is None:
            kept = promise.knowing(report.intent)
        order.write({RaftStore.PROMISE_KEY: replace(kept, floor=floor).encode()}, sync=True)
    finally:
        order.close()
    aside = None
    if report.ledger.present:
        files = Files()
        with _not_in_use(data / LEDGER):
            number = 1
            while (data / f"{LEDGER}.damaged-{number}").exists():
                number += 1
            aside = data / f"{LEDGER}.damaged-{number}"
            files.rename(data / LEDGER, aside)
    return report, Repaired(aside, floor, report.first_index == 1)

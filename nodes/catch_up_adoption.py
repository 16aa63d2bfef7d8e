"""The new ledger takes the place of the old one: what is carried over, and the order of the steps (docs/adr/0015).

Done while the validator is stopped, at every start before anything is opened, so that it makes no difference whether
it was stopped for this or died on the way. A crash between any two steps leaves the old ledger or the new one, never
half of each:

1. the new ledger is whole, and both are opened: it must go on from the old one, same root at the old one's size, or
   there are two cosigned logs, and the validator stops for people to look;
2. what was signed last, and the notes behind proofs that were given, are copied into the new one, synced;
3. the mark `adopted` is made, synced: from here on the new one counts;
4. the old folder is moved aside, the new one into its place, the old one and the mark removed.

The order is brought after the ledger, not before it: `order_base_of` says from which position the ledger goes on, and
`install_order_base` lets the order begin there unless it reaches there anyway. An order that reaches further keeps all
it has: acknowledged entries are not given up for a snapshot.

A validator that lost its ledger is not helped by this: without the old ledger nothing is adopted, since what it signed
would be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from consensus import Membership
from consensus.messages import SnapshotMetadata
from ledger import cbor
from ledger.chain import Chain
from ledger.chain_layout import HEAD, NOTE
from ledger.errors import LedgerError, Malformed, UnknownDurableState
from ledger.store import Store
from nodes.cosigning import INTENT_KEY
from nodes.files import Files

LEDGER = "ledger"
STAGING = "catch-up"
REPLACED = "ledger-replaced"
ADOPTED = "adopted"
ORDER_BASE = b"catch-up/order"
# Of a snapshot whose place only the other authority vouched for (`nodes.catch_up_corroboration`).
UNCONFIRMED = b"catch-up/unconfirmed"
MAX_ORDER_BASE_BYTES = 256 * 1024
# Notes copied in one batch.
COPIED_NOTES = 1000


@dataclass(frozen=True, slots=True)
class OrderBase:
    """The position of the order that a snapshot includes, its term, and the encoded membership after it."""

    index: int
    term: int
    membership: bytes

    def encode(self) -> bytes:
        return cbor.encode({"index": self.index, "membership": self.membership, "term": self.term})

    @classmethod
    def decode(cls, data: bytes) -> OrderBase:
        try:
            value = cbor.decode(data, max_bytes=MAX_ORDER_BASE_BYTES)
        except Malformed as error:
            raise UnknownDurableState(f"record of where the order goes on cannot be read: {error}") from error
        if isinstance(value, dict):
            index, term, membership = value.get("index"), value.get("term"), value.get("membership")
            if isinstance(index, int) and isinstance(term, int) and isinstance(membership, bytes):
                return cls(index, term, membership)
        raise UnknownDurableState("record of where the order goes on cannot be read: wrong shape")


@dataclass(frozen=True, slots=True)
class Place:
    """What a snapshot was said to be of: the position, its term, the members after it, and the ledger's height."""

    index: int
    term: int
    membership_sha256: bytes
    height: int

    def encode(self) -> bytes:
        return cbor.encode(
            {
                "height": self.height,
                "index": self.index,
                "membership_sha256": self.membership_sha256,
                "term": self.term,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Place:
        """Raises UnknownDurableState."""
        try:
            value = cbor.decode(data, max_bytes=MAX_ORDER_BASE_BYTES)
        except Malformed as error:
            raise UnknownDurableState(f"record of an unconfirmed snapshot cannot be read: {error}") from error
        if isinstance(value, dict):
            index, term, height = value.get("index"), value.get("term"), value.get("height")
            members = value.get("membership_sha256")
            if (
                isinstance(index, int)
                and isinstance(term, int)
                and isinstance(height, int)
                and isinstance(members, bytes)
            ):
                return cls(index, term, members, height)
        raise UnknownDurableState("record of an unconfirmed snapshot cannot be read: wrong shape")


class OrderStore(Protocol):
    """What is needed of `nodes.raft_store.RaftStore`."""

    def first_index(self) -> int: ...

    def last_index(self) -> int: ...

    def term(self, index: int) -> int: ...

    def install(self, metadata: SnapshotMetadata) -> None: ...


def adopt(data: Path, open_store: Callable[[Path], Store], files: Files) -> bool:
    """Let a new ledger that is whole take over; go on with that where a crash interrupted it. True if it did.

    Raises UnknownDurableState where the two ledgers contradict each other.
    """
    if files.exists(data / STAGING / ADOPTED):
        _exchange(data, files)
        return True
    staging = data / STAGING / LEDGER
    if not files.exists(staging) or not files.exists(data / LEDGER):
        return False
    log = structlog.get_logger().bind(part="catch_up")
    try:
        new = open_store(staging)
    except UnknownDurableState as error:
        # Not vouched for by anybody yet: it is made again.
        log.warning("snapshot_discarded", reason=str(error))
        files.remove_folder(staging)
        return False
    try:
        if new.get(HEAD) is None or new.get(ORDER_BASE) is None:
            return False  # unfinished: catching up goes on with it
        taken_over = _carry_over(data, new, open_store)
    finally:
        new.close()
    if not taken_over:
        log.warning("snapshot_discarded", reason="the ledger has gone further by itself")
        files.remove_folder(staging)
        return False
    files.keep(data / STAGING / ADOPTED, b"the ledger in this folder takes the place of the present one\n")
    _exchange(data, files)
    log.info("snapshot_adopted")
    return True


def _carry_over(data: Path, new: Store, open_store: Callable[[Path], Store]) -> bool:
    """False where the new ledger is of no use."""
    old = open_store(data / LEDGER)
    try:
        present, coming = Chain.open(old), Chain.open(new)
        if present.initialised:
            if coming.size < present.size or coming.applied <= present.applied:
                return False
            if coming.genesis != present.genesis or coming.root_at(present.size) != present.root:
                raise UnknownDurableState(
                    f"{data}: both authorities cosigned another log than the one that this validator executed up to "
                    f"{present.size}; keep the folder as evidence, and let people look"
                )
        batch: dict[bytes, bytes | None] = {}
        intent = old.get(INTENT_KEY)
        if intent is not None:
            batch[INTENT_KEY] = intent
        for key, note in old.iterate(NOTE, NOTE + b"\xff" * 9):
            batch[key] = note
            if len(batch) >= COPIED_NOTES:
                new.write(batch, sync=False)
                batch = {}
        # The ledger's end was written before the store was opened: opening made that durable, this does the rest.
        new.write({**batch, ORDER_BASE: new.get(ORDER_BASE)}, sync=True)
    except UnknownDurableState:
        raise
    except LedgerError as error:
        raise UnknownDurableState(f"{data}: the ledgers cannot be compared: {error}") from error
    finally:
        old.close()
    return True


def _exchange(data: Path, files: Files) -> None:
    """Every step finds out by itself whether it was done before."""
    staging, present, replaced = data / STAGING / LEDGER, data / LEDGER, data / REPLACED
    if files.exists(staging):
        if files.exists(present):
            if files.exists(replaced):
                files.remove_folder(replaced)
            files.rename(present, replaced)
        files.rename(staging, present)
    if files.exists(replaced):
        files.remove_folder(replaced)
    # Gone for good before anything new comes into that folder: an unfinished ledger must not be taken for this one.
    files.remove(data / STAGING / ADOPTED)
    files.remove_folder(data / STAGING)


def order_base_of(ledger: Store) -> OrderBase | None:
    """Where the order goes on after the snapshot that this ledger came from; None if it came from none."""
    stored = ledger.get(ORDER_BASE)
    return None if stored is None else OrderBase.decode(stored)


def install_order_base(order: OrderStore, base: OrderBase, membership: Membership) -> bool:
    """Let the order begin after ``base`` if it does not reach there. True if it was changed."""
    if order.first_index() > base.index:
        return False
    if order.last_index() >= base.index and order.term(base.index) == base.term:
        return False
    order.install(SnapshotMetadata(base.index, base.term, membership))
    return True

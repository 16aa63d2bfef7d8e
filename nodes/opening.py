"""Opening what a validator has on disk: the ledger and the order, each checked against itself and against the other.

What contradicts itself here is never guessed at: `UnknownDurableState`, and people look. A validator that lost one of
the two after its first start does not start again under its name: it could vote or sign a second time.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.execute import genesis_state
from ledger.chain import Chain
from ledger.errors import UnknownDurableState
from ledger.store import Store
from nodes.catch_up_adoption import adopt, install_order_base, order_base_of
from nodes.config import ValidatorConfig
from nodes.cosigning import INTENT_KEY, Intent
from nodes.environment import Environment
from nodes.identity import Identity
from nodes.log_index import LogIndex
from nodes.membership import Roster
from nodes.promises import Promise
from nodes.raft_store import RaftStore, changes_in, membership_from_bytes
from nodes.records import RecordIndex

# Made with the configuration, and removed when both stores have been made: see `open_stores`.
FIRST_START = "first-start"
# In a ledger that was made from an archive (`nodes.restoring`): the note of the checkpoint it was made from.
RESTORED = b"restored"


@dataclass(frozen=True, slots=True)
class Stores:
    ledger: Store
    records: RecordIndex
    log_index: LogIndex
    chain: Chain
    order: RaftStore
    roster: Roster

    @property
    def intent(self) -> Intent | None:
        """The last intent to sign that is on the disk."""
        stored = self.ledger.get(INTENT_KEY)
        return None if stored is None else Intent.decode(stored)

    @property
    def base(self) -> int:
        """The last position of the order that is no longer on the disk."""
        return self.order.first_index() - 1

    @property
    def behind(self) -> bool:
        """Whether only a snapshot can help: the ledger lacks what the order no longer has, or it was made from an
        archive, which does not say at which position of the order it ends.
        """
        return self.chain.applied < self.base or self.ledger.get(RESTORED) is not None


def open_stores(config: ValidatorConfig, identity: Identity, environment: Environment) -> Stores:
    """Raises UnknownDurableState, StoreUnavailable, OSError."""
    open_store, files = environment.open_store, environment.files
    first = files.exists(config.data / FIRST_START)
    if not first:
        adopt(config.data, open_store, files)
        if not files.exists(config.data / "order"):
            raise _lost(config, "order")
    order_store = open_store(config.data / "order")
    opened = [order_store]
    try:
        if not first and RaftStore.is_new(order_store):
            raise _lost(config, "order")
        order = RaftStore(order_store, node=config.name, network=identity.network, membership=identity.membership)
        repaired = order.promise is not None and Promise.decode(order.promise).floor > 0
        if not first and not repaired and not files.exists(config.data / "ledger"):
            raise _lost(config, "ledger")
        ledger = open_store(config.data / "ledger")
        opened.append(ledger)
        chain = Chain.open(ledger)
        if not first and not repaired and not chain.initialised:
            raise _lost(config, "ledger")
        roster = Roster(identity.genesis, order_store)
        stores = Stores(ledger, RecordIndex(ledger), LogIndex(ledger, chain), chain, order, roster)
        _agree(config, identity, stores)
    except BaseException:
        for store in opened:
            store.close()
        raise
    # Both are on the disk, so from now on both must be found.
    if first:
        files.remove(config.data / FIRST_START)
    return stores


def _lost(config: ValidatorConfig, part: str) -> UnknownDurableState:
    remedy = "comity storage repair" if part == "ledger" else "comity storage check"
    return UnknownDurableState(
        f"{config.data} has no {part}, and this is not the first start: a validator that lost what it voted for or "
        f"signed could do both a second time. Restore the folder as it was when the validator last stopped; what else "
        f"can be done, `{remedy} {config.data}` says"
    )


def _agree(config: ValidatorConfig, identity: Identity, stores: Stores) -> None:
    """Begin a ledger that is new, and hold ledger and order against each other."""
    ledger, chain, order = stores.ledger, stores.chain, stores.order
    if not chain.initialised:
        state = genesis_state(identity.genesis)
        # First the index: a crash in between leaves names in it that are written again at the next start.
        ledger.write({**stores.records.additions(state), **stores.log_index.beginning()}, sync=True)
        chain.initialise(identity.genesis, state)
        stores.log_index.begun()
    if chain.genesis != identity.genesis:
        raise UnknownDurableState(f"{config.data}: the ledger begins with another genesis record")
    base = order_base_of(ledger)
    if base is not None:
        install_order_base(order, base, membership_from_bytes(base.membership))
    if order.last_index() < chain.applied:
        raise UnknownDurableState(
            f"{config.data}: the ledger has executed the order up to {chain.applied}, "
            f"but the order ends at {order.last_index()}"
        )
    roster = stores.roster
    roster.learn(identity.notes[roster.committed.number :])
    if base is not None:
        roster.anchor(base.index, changes_in(base.membership))
    roster.replay(*order.changes())

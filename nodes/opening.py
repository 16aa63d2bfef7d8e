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
from nodes.environment import Environment
from nodes.identity import Identity
from nodes.raft_store import RaftStore, membership_from_bytes
from nodes.records import RecordIndex

# Made with the configuration, and removed when both stores have been made: see `open_stores`.
FIRST_START = "first-start"


@dataclass(frozen=True, slots=True)
class Stores:
    ledger: Store
    records: RecordIndex
    chain: Chain
    order: RaftStore

    @property
    def base(self) -> int:
        """The last position of the order that is no longer on the disk."""
        return self.order.first_index() - 1

    @property
    def behind(self) -> bool:
        """Whether the ledger lacks what the order no longer has: only a snapshot can help."""
        return self.chain.applied < self.base


def open_stores(config: ValidatorConfig, identity: Identity, environment: Environment) -> Stores:
    """Raises UnknownDurableState, StoreUnavailable, OSError."""
    open_store, files = environment.open_store, environment.files
    first_start = config.data / FIRST_START
    if not files.exists(first_start):
        adopt(config.data, open_store, files)
        for part in ("ledger", "order"):
            if not files.exists(config.data / part):
                raise UnknownDurableState(
                    f"{config.data} has no {part}, and this is not the first start: a validator that lost what it "
                    "voted for or signed could do both a second time. Restore the folder as it was when the "
                    "validator last stopped, or let a new validator with new keys take its place"
                )
    ledger = open_store(config.data / "ledger")
    records = RecordIndex(ledger)
    chain = Chain.open(ledger)
    if not chain.initialised:
        state = genesis_state(identity.genesis)
        # First the index: a crash in between leaves names in it that are written again at the next start.
        ledger.write(records.additions(state), sync=True)
        chain.initialise(identity.genesis, state)
    if chain.genesis != identity.genesis:
        raise UnknownDurableState(f"{config.data}: the ledger begins with another genesis record")
    order = RaftStore(
        open_store(config.data / "order"), node=config.name, network=identity.network, membership=identity.membership
    )
    base = order_base_of(ledger)
    if base is not None:
        install_order_base(order, base, membership_from_bytes(base.membership))
    if order.last_index() < chain.applied:
        raise UnknownDurableState(
            f"{config.data}: the ledger has executed the order up to {chain.applied}, "
            f"but the order ends at {order.last_index()}"
        )
    # Both are on the disk, so from now on both must be found.
    if files.exists(first_start):
        files.remove(first_start)
    return Stores(ledger, records, chain, order)

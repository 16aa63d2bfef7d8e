"""What a validator has to do with snapshots: it gives them, it asks for one, and it keeps the order short.

The order is kept for a while after it was executed (`nodes.order_tail`): a validator that was away for a
moment gets it from whoever leads, one that was away for longer gets a snapshot (docs/adr/0015). Nothing is let go of
before the ledger has it on the disk, nor before every member of the network speaks a version that knows snapshots.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from consensus.messages import Snapshot, SnapshotMetadata
from consensus.quorum import Membership
from contracts.authority_keys import read_authority_keys
from contracts.execute import genesis_state
from contracts.working import UnreadableRecord
from ledger.chain_layout import STATE
from ledger.entry import Genesis
from ledger.errors import Untrue
from ledger.policy import Policy
from ledger.snapshot_building import JudgeNote, SnapshotBuilder
from ledger.statemap import StateMap
from ledger.store import MemoryStore, Store
from nodes.catch_up import CatchUp, Fetch, PeerFailed
from nodes.catch_up_corroboration import Corroboration
from nodes.catch_up_serving import OrderRecord, SnapshotServer
from nodes.config import ValidatorConfig
from nodes.environment import Environment
from nodes.identity import Identity
from nodes.log_lines import check_signed_by_each
from nodes.membership import configuration_of
from nodes.opening import Stores
from nodes.order_tail import OrderTail
from nodes.proto import peer_pb2
from nodes.raft_store import changes_in, membership_from_bytes
from nodes.records import index_keys


def judge_by_ledger(genesis: Genesis) -> JudgeNote:
    """By the log keys that count where a snapshot ends, as the snapshot itself has them decided by both authorities."""
    names = [authority.name for authority in genesis.authorities]

    def judge(state: StateMap, note: bytes, height: int, time_ms: int, later: bool) -> None:
        try:
            keys = read_authority_keys(state, names)
        except UnreadableRecord as error:
            raise Untrue("snapshot_unreadable", f"what the state says of log keys cannot be read: {error}") from error
        check_signed_by_each(note, genesis.origin, keys, height, time_ms, later=later)

    return judge


class Snapshots:
    """`run` ends when a new ledger stands ready, for which the validator has to start again."""

    def __init__(
        self,
        config: ValidatorConfig,
        identity: Identity,
        stores: Stores,
        environment: Environment,
        *,
        order_record: OrderRecord,
        fetch: Fetch,
        peers: Callable[[], Sequence[str]],
        policies: Callable[[], Sequence[Policy]],
        party_of: Callable[[str], str],
        halt: Callable[[str], None],
    ) -> None:
        """`policies`: by one of which the checkpoint of a snapshot has to be final, as far as members are known.
        `party_of`: whose a peer is. `halt`: when the place of our own snapshot turns out to be a lie.
        """
        self.corroboration = Corroboration(
            stores.ledger,
            fetch=fetch,
            colleagues=lambda: [peer for peer in peers() if party_of(peer) == config.authority],
            halt=halt,
        )
        self._policies = policies
        self._identity = identity
        self._stores = stores
        self._executor = executor = environment.executor(1, "snapshots")
        self._writer = environment.executor(1, "snapshot-writes")
        tuning = config.tuning
        self._tail = OrderTail(stores.order, max_entries=tuning.order_tail_entries, max_bytes=tuning.order_tail_bytes)
        stores.order.snapshot_provider = self._beginning_of_order
        self.server = SnapshotServer(
            stores.ledger, stores.chain, identity.network, order_record, executor, party_of=party_of
        )
        self.catch_up = CatchUp(
            config.data,
            open_store=environment.open_staging,
            make_builder=self._make_builder,
            own=stores.chain,
            fetch=fetch,
            peers=peers,
            authority=config.authority,
            authority_of={},
            decode_membership=self._decode_membership,
            executor=executor,
            writer=self._writer,
            files=environment.files,
        )

    def _beginning_of_order(self) -> Snapshot:
        """What a follower is told that needs more than the order has: how far it has to get by a snapshot.

        The position before the first that is kept, and not the newest: a follower beyond it needs no snapshot at all.
        """
        order, base = self._stores.order, self._stores.base
        return Snapshot(SnapshotMetadata(base, order.term(base), order.membership_at(base)))

    def _make_builder(self, store: Store) -> SnapshotBuilder:
        genesis = self._identity.genesis
        state_root = StateMap(MemoryStore(), STATE).update(dict(genesis_state(genesis))).root
        return SnapshotBuilder(store, self._policies(), genesis, state_root, index_keys, judge_by_ledger(genesis))

    def set_voters(self, authority_of: Mapping[str, str]) -> None:
        """Whom to ask, of whom each authority has to be heard."""
        self.catch_up.set_authorities(authority_of)

    def _decode_membership(self, data: bytes) -> Membership:
        """Who the members are at the beginning of a snapshot: by changes that both authorities signed."""
        membership, changes = membership_from_bytes(data), changes_in(data)
        register = self._stores.roster.knows(changes)
        if register is None:
            raise PeerFailed(f"membership change {changes} is not known here yet")
        if configuration_of(register) != membership.incoming:
            raise Untrue("other_membership", f"the members after change {changes} are others")
        return membership

    def serve(self, peer: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
        return self.server.serve(peer, request)

    def behind(self, leader: str, index: int) -> None:
        """The leader keeps the order only from behind ``index`` on, and we do not reach there."""
        self.catch_up.need(index, leader)

    def compactable(self) -> int:
        """Up to which position the order need not be kept."""
        return self._tail.forgettable(self._stores.chain.applied)

    async def run(self) -> None:
        if self._stores.behind:
            self.catch_up.need(self._stores.base)
        await self.catch_up.run()

    async def corroborate(self) -> None:
        """Ask colleagues about the snapshot that this ledger came from, if they could not be asked then."""
        await self.corroboration.run()
        await asyncio.Event().wait()

    async def close(self) -> None:
        await self.catch_up.close()
        self._executor.shutdown(wait=True)
        self._writer.shutdown(wait=True)

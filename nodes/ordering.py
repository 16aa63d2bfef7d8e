"""The order of blocks: the narrow interface that the rest of the validator sees, and Raft behind it.

`Ordering` is all that a validator needs of whoever orders: put bytes in, take (index, bytes) out in one order that is
the same for everybody, and say who leads and who has a vote. What it puts in may come out, once, twice or never:
execution is where a statement happens once.

`RaftOrdering` runs the core of `consensus`: it turns the Ready loop (write, then send what waited for the disk, then
hand out what is committed), ticks it from the clock of the event loop, and carries its messages. Everything happens on
the event loop but slow writes to the disk, which go to a thread of their own.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from hashlib import sha256
from typing import Protocol

import structlog

from consensus import (
    ChangeNotTaken,
    Config,
    ConfigurationChange,
    Entry,
    EntryType,
    HardState,
    Membership,
    Message,
    MessageRefused,
    MessageType,
    ProgressState,
    ProposalDropped,
    RawNode,
    Ready,
    Role,
)
from consensus.errors import Compacted, Misuse, Unavailable
from consensus.messages import verify_message
from ledger.store import StoreUnavailable
from nodes import wire
from nodes.blocks import block_proposer, block_time_ms
from nodes.clock import Clock
from nodes.disk_health import DiskHealth
from nodes.membership import Roster
from nodes.metrics import Metrics
from nodes.proto import peer_pb2
from nodes.raft_store import RaftStore, membership_to_bytes

# Committed entries that wait for execution are kept in memory up to this; beyond it they are read from the disk again.
WAITING_MAX_BYTES = 16 * 1024 * 1024
TAKE_MAX_BYTES = 4 * 1024 * 1024
# A disk that takes longer than this to sync is written to from a thread, so that it cannot delay the event loop.
INLINE_SYNC_S = 0.001
DISK_RETRY_S = 0.5
# Forgetting the order is worth a synced write for so many entries, and takes a turn of the loop for each so many.
COMPACT_MIN_ENTRIES = 16
COMPACT_STEP_ENTRIES = 1000
# A block from further in the future than this is neither kept nor acknowledged: its time would be everybody's from
# then on, since block time never goes back.
MAX_AHEAD_MS = 5000
# Who sends one is not listened to as a leader for this long, longer than an election takes, so that another leads.
SILENCE_S = 4.0
_FROM_LEADERS = frozenset({MessageType.APPEND, MessageType.HEARTBEAT, MessageType.SNAPSHOT, MessageType.TIMEOUT_NOW})


def _payload(entry: Entry) -> bytes:
    """What there is to execute: of a change of the membership nothing, as of the entry that opens a term."""
    return entry.data if entry.type is EntryType.NORMAL else b""


class NotLeading(Exception):
    """Somebody else orders, or nobody; `leader` is who, as far as is known."""

    def __init__(self, leader: str | None, why: str) -> None:
        super().__init__(why)
        self.leader = leader


class Ordering(Protocol):
    """What a validator knows of ordering. `RaftOrdering` here; a scripted one in the tests plays a lying leader."""

    @property
    def leader(self) -> str | None: ...

    @property
    def leading(self) -> bool: ...

    def submit(self, payload: bytes) -> None:
        """Propose bytes for the order. Raises NotLeading."""

    async def take(self, after: int) -> list[tuple[int, bytes]]:
        """The next ordered payloads with an index greater than `after`, in order; waits until there is one."""

    def waiting(self, after: int) -> int:
        """How many ordered payloads there are beyond an index."""


class RaftOrdering:
    """See the module. `on_appended` sees new entries on their way to the disk, long before they are committed."""

    def __init__(
        self,
        config: Config,
        store: RaftStore,
        *,
        tick_ms: int,
        send: Callable[[str, peer_pb2.Envelope], bool],
        metrics: Metrics,
        clock: Clock,
        disk: Executor | None = None,
        on_appended: Callable[[Sequence[Entry]], None] = lambda _: None,
        promise: Callable[[], bytes | None] = lambda: None,
        on_leadership: Callable[[], None] = lambda: None,
        on_behind: Callable[[str, int], None] = lambda *_: None,
        on_refused: Callable[[str, str], None] = lambda *_: None,
        roster: Roster | None = None,
        on_membership: Callable[[], None] = lambda: None,
    ) -> None:
        """`roster` follows the changes of the membership in the log; `on_membership` hears when one takes effect."""
        self._node = RawNode(config, store)
        self._store = store
        self._membership: Membership = self._node.status().membership
        self._name = config.id
        self._tick_s = tick_ms / 1000
        self._send = send
        self._metrics = metrics
        self._clock = clock
        # Leaders that are not listened to as such: until when, and why.
        self._silenced: dict[str, tuple[float, str]] = {}
        self._on_refused = on_refused
        self._on_appended = on_appended
        self._promise = promise
        self._on_leadership = on_leadership
        self._on_behind = on_behind
        # Reads that wait for their index. What is answered to one of before a restart is too old for those after it.
        self._read_start = sha256(str(config.seed).encode()).digest()[:8]
        self._read_number = 0
        self._reads: dict[bytes, asyncio.Future[int]] = {}
        self._roster = roster
        if roster is not None:
            roster.in_force(self._membership)
        self._on_membership = on_membership
        self._log = structlog.get_logger().bind(part="ordering")
        self._wake = asyncio.Event()
        self._available = asyncio.Event()
        self._queue: collections.deque[Entry] = collections.deque()
        self._queued_bytes = 0
        self._committed = self._handed = config.applied
        self._leader: str | None = None
        self._role = Role.FOLLOWER
        self.not_leading = asyncio.Event()
        self.not_leading.set()
        self._term = self._node.status().term
        self.disk_health = DiskHealth(clock)
        self._disk = disk or ThreadPoolExecutor(1, thread_name_prefix="raft-disk")
        self._ticks: asyncio.Task[None] | None = None
        self._compactable = 0
        self._said: tuple[str, int, int] | None = None
        self._said_s = 0.0
        self.disk_trouble: str | None = None
        self.refused = 0

    # --- what the validator sees ------------------------------------------------------------------------------------

    @property
    def leader(self) -> str | None:
        return self._leader

    @property
    def leading(self) -> bool:
        return self._role is Role.LEADER

    @property
    def term(self) -> int:
        return self._term

    @property
    def committed(self) -> int:
        return self._committed

    @property
    def last_index(self) -> int:
        return self._store.last_index()

    def submit(self, payload: bytes) -> None:
        try:
            self._node.propose(payload)
        except ProposalDropped as error:
            raise NotLeading(error.leader, str(error)) from error
        self._wake.set()

    async def take(self, after: int) -> list[tuple[int, bytes]]:
        while self._committed <= after:
            self._available.clear()
            await self._available.wait()
        taken: list[tuple[int, bytes]] = []
        size = 0
        while self._queue and self._queue[0].index <= after:
            self._queued_bytes -= len(self._queue.popleft().data)
        if self._queue and self._queue[0].index == after + 1:
            while self._queue and size < TAKE_MAX_BYTES and self._queue[0].index == after + 1 + len(taken):
                entry = self._queue.popleft()
                size += len(entry.data)
                taken.append((entry.index, _payload(entry)))
            self._queued_bytes -= size
            return taken
        high = self._queue[0].index if self._queue else self._committed + 1
        entries = await asyncio.get_running_loop().run_in_executor(
            self._disk, self._store.entries, after + 1, high, TAKE_MAX_BYTES
        )
        return [(entry.index, _payload(entry)) for entry in entries]

    def waiting(self, after: int) -> int:
        return self._committed - after

    @property
    def electors(self) -> frozenset[str]:
        """Who has a vote now, the leaving and the coming alike while a change is joint."""
        return self._membership.electors

    def missing_authorities(self, reachable: set[str]) -> tuple[str, ...]:
        """The authorities of which nobody is reachable: while there is one, nothing becomes committed."""
        return self._membership.missing_authorities(reachable | {self._name})

    async def read_index(self) -> int:
        """Up to where the order was committed when this was asked, as a majority confirms. Raises ProposalDropped."""
        self._read_number += 1
        context = self._read_start + self._read_number.to_bytes(8, "big")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._node.read_index(context)
        self._reads[context] = future
        self._wake.set()
        try:
            return await future
        finally:
            del self._reads[context]

    def _answer_reads(self, ready: Ready) -> None:
        for answered in ready.read_states:
            future = self._reads.get(answered.context)
            if future is not None and not future.done():
                future.set_result(answered.index)
        for dropped in ready.dropped_reads:
            future = self._reads.get(dropped.context)
            if future is not None and not future.done():
                future.set_exception(ProposalDropped(dropped.reason, self._leader))

    def propose_change(self, change: ConfigurationChange) -> None:
        """Raises ProposalDropped, ChangeRefused."""
        self._node.propose_change(change)
        self._wake.set()

    def transfer_leadership(self, to: str) -> None:
        """Let `to` lead, if we do and it has a vote.

        While a write hangs, the core goes on and `leading` does not: it may have stepped down, or taken a change of the
        membership, that is not announced here yet. Then there is nothing to hand over, or nobody to hand it to.
        """
        try:
            self._node.transfer_leadership(to)
        except (ProposalDropped, Misuse) as error:
            self._log.info("not_handed_over", to=to, reason=str(error))
            return
        self._wake.set()

    # --- messages and time ------------------------------------------------------------------------------------------

    def step(self, sender: str, raft: peer_pb2.RaftMessage) -> None:
        """A message of a peer whose name the transport vouches for. What no honest peer sends is dropped and
        counted.
        """
        try:
            if wire.is_snapshot(raft):
                message = wire.from_snapshot(raft, sender, self._name, self._membership)
                verify_message(message)
                if not self._reaches(raft.index, raft.log_term):
                    # Not for the core: it would forget what it has before there is anything in its place.
                    if sender == self._leader and raft.term == self._term:
                        self._on_behind(sender, raft.index)
                    return
            else:
                message = wire.from_raft(raft, sender, self._name)
            if message.type in _FROM_LEADERS and not self._is_believed(message):
                return
            # What comes after something that we lack is not judged: consensus asks for the rest first.
            if (
                self._roster is not None
                and message.entries
                and self._node.goes_on_from(message.index, message.log_term)
            ):
                self._roster.offered(message.index, message.entries)
            self._node.step(message)
        except MessageRefused as error:
            self.refused += 1
            if isinstance(error, ChangeNotTaken):
                # Nothing it sends after that can be taken: who follows it stands still, so another has to lead.
                self._silenced[sender] = (self._clock.monotonic_s() + SILENCE_S, str(error))
            self._log.warning("raft_message_refused", peer=sender, code=error.code, reason=str(error))
            if error.code != "unknown_type":  # a newer peer may well know more types than we do
                self._on_refused(sender, f"a message that no validator sends: {error.code}")
            return
        self._wake.set()

    def _reaches(self, index: int, term: int) -> bool:
        """Whether our order goes on from there, so that the leader need only be told."""
        if index <= self._committed:
            return True
        return index <= self._store.last_index() and self._store.term(index) == term

    def _is_believed(self, message: Message) -> bool:
        """Whether this is to be heard as a leader's. Whoever proposed what no honest leader does is not, for a while.

        Such a block is not acknowledged, so it is never committed while one side is honest; and as its sender is not
        heard either, another leader is elected.
        """
        lie = self._lie(message)
        now_s = self._clock.monotonic_s()
        if lie is not None:
            if message.sender not in self._silenced:
                self._log.error("leader_not_believed", peer=message.sender, reason=lie)
            self._silenced[message.sender] = (now_s + SILENCE_S, lie)
            self.refused += 1
            return False
        if message.sender not in self._silenced:
            return True
        if now_s < self._silenced[message.sender][0]:
            return False
        del self._silenced[message.sender]
        return True

    def _lie(self, message: Message) -> str | None:
        """What is wrong with the blocks of an append: dated further ahead than our clock lets us believe, or, as far as
        the sender itself made them, proposed in another's name. All entries of a term are made by its one leader.
        """
        ahead_ms = -self._clock.now_ms() + max((block_time_ms(_payload(entry)) for entry in message.entries), default=0)
        if ahead_ms > MAX_AHEAD_MS:
            return f"{message.sender} dates blocks {ahead_ms // 1000} s ahead of our clock: one of the clocks is wrong"
        for entry in message.entries:
            proposer = block_proposer(_payload(entry)) if entry.term == message.term else None
            if proposer is not None and proposer != message.sender.encode():
                return f"{message.sender} proposes blocks in the name of {proposer[:64].decode(errors='replace')!r}"
        return None

    def not_believed(self) -> str | None:
        """Why some leader is not listened to now."""
        now_s = self._clock.monotonic_s()
        return next((why for until_s, why in self._silenced.values() if now_s < until_s), None)

    def set_passive(self, *, passive: bool) -> None:
        """A passive node keeps its copy of the order and votes; it proposes nothing, and leads only to hand over."""
        self._node.set_passive(passive=passive)
        self._wake.set()

    def unreachable(self, peer: str) -> None:
        self._node.report_unreachable(peer)

    def returned(self, peer: str) -> None:
        """A peer is there again, perhaps with the snapshot that it was told to get: ask it how far it is."""
        follower = self._node.status().followers.get(peer) if self.leading else None
        if follower is not None and follower.state is ProgressState.SNAPSHOT:
            self._node.report_snapshot(peer, ok=True)
            self._wake.set()

    # --- the beginning of the order ---------------------------------------------------------------------------------

    def record(self, index: int) -> tuple[int, bytes] | None:
        """The term of an executed position and the encoded membership after it; None if that is no longer here."""
        try:
            changes = self._roster.at(index).number if self._roster is not None else 0
            return self._store.term(index), membership_to_bytes(self._store.membership_at(index), changes)
        except (Compacted, Unavailable):
            return None

    def compact(self, index: int) -> None:
        """The order up to ``index`` is not needed any more: forget it, a few entries at a time, as there is time."""
        if index - self._store.first_index() + 1 >= COMPACT_MIN_ENTRIES:
            self._compactable = max(self._compactable, index)
            self._wake.set()

    def _compact_some(self) -> None:
        index = min(self._compactable, self._store.first_index() - 1 + COMPACT_STEP_ENTRIES)
        if index < self._store.first_index():
            return
        try:
            compacted = self._node.compact(index)
        except StoreUnavailable as error:
            self._log.error("disk_unavailable", reason=str(error))
            self._compactable = 0
            return
        if compacted < index:
            self._compactable = 0  # a follower still needs it; it is asked for again
        elif index < self._compactable:
            self._wake.set()
        else:
            self._log.info("order_compacted", first=self._store.first_index(), last=self._store.last_index())

    async def _tick(self) -> None:
        # One tick a turn, however late it is: after a stall, what the others said meanwhile is read first.
        while True:
            await asyncio.sleep(self._tick_s)
            self._node.tick()
            self._wake.set()

    # --- the Ready loop ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turn until cancelled. Raises UnknownDurableState when the disk is no longer to be trusted."""
        self._ticks = asyncio.create_task(self._tick(), name="raft ticks")
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._node.has_ready():
                    await self._turn(self._node.ready())
                self._compact_some()
        finally:
            self._ticks.cancel()

    async def _turn(self, ready: Ready) -> None:
        self._dispatch(ready.messages)
        if ready.entries:
            if self._roster is not None:
                self._roster.appended(ready.entries)
            self._on_appended([entry for entry in ready.entries if entry.type is EntryType.NORMAL])
        # A commit index alone is not worth a write: the ledger knows how far it has executed.
        if ready.entries or ready.must_sync:
            await self._persist(ready.hard_state, ready.entries, sync=ready.must_sync)
        self._dispatch(ready.messages_after_persist)
        recorded = False
        if ready.committed_entries:
            recorded = await self._record(ready.committed_entries[-1].index)
            self._hand_out(ready.committed_entries)
        if ready.read_states or ready.dropped_reads:
            self._answer_reads(ready)
        self._node.advance(ready)
        new_term = ready.hard_state is not None and ready.hard_state.term != self._term
        if ready.hard_state is not None:
            self._term = ready.hard_state.term
        if ready.membership is not None:
            self._membership = ready.membership
            if self._roster is not None:
                self._roster.in_force(ready.membership)
        if ready.membership is not None or recorded:
            self._on_membership()
        if ready.soft_state is not None:
            self._leader, self._role = ready.soft_state.leader_id, ready.soft_state.role
            if self.leading:
                self.not_leading.clear()
            else:
                self.not_leading.set()
        if ready.soft_state is not None or new_term:
            self._log.info("leadership", leader=self._leader, role=self._role.value, term=self._term)
            self._on_leadership()

    async def _persist(self, hard_state: HardState | None, entries: Sequence[Entry], *, sync: bool) -> None:
        """Nothing that waits for the disk is sent before this returns; a full disk is waited for, silently to the
        peers.
        """
        promise = self._promise() if entries else None
        while True:
            if sync:
                self.disk_health.began()
            try:
                if sync and self.disk_health.smoothed_s > INLINE_SYNC_S:
                    await asyncio.get_running_loop().run_in_executor(
                        self._disk, lambda: self._store.write(hard_state, entries, sync=sync, promise=promise)
                    )
                else:
                    self._store.write(hard_state, entries, sync=sync, promise=promise)
            except StoreUnavailable as error:
                if self.disk_trouble is None:
                    self._log.error("disk_unavailable", reason=str(error))
                self.disk_trouble = str(error)
                self.disk_health.given_up()
                await asyncio.sleep(DISK_RETRY_S)
                continue
            self.disk_trouble = None
            if sync:
                self._metrics.sync_s.observe(self.disk_health.ended())
            return

    async def _record(self, index: int) -> bool:
        """What is committed of the membership is on the disk before what comes after it is executed."""
        while self._roster is not None:
            try:
                return self._roster.record(index)
            except StoreUnavailable as error:
                self.disk_trouble = str(error)
                await asyncio.sleep(DISK_RETRY_S)
        return False

    def _dispatch(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.type is MessageType.APPEND_RESPONSE and not message.reject and self._just_said(message):
                continue
            if not self._send(message.to, wire.to_envelope(message)):
                self._said = None
                self._node.report_unreachable(message.to)

    def _just_said(self, message: Message) -> bool:
        """Whether the leader was told the same a moment ago: it is told twice of each block, and hears at once.

        Raft bears the loss of any message; a probe that comes later than this is answered.
        """
        said = (message.to, message.term, message.index)
        now_s = self._clock.monotonic_s()
        if said == self._said and now_s - self._said_s < self._tick_s:
            return True
        self._said, self._said_s = said, now_s
        return False

    def _hand_out(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            # Once something was left out, all after it is left out too until `take` has read up to here from the disk.
            follows = self._queue[-1].index if self._queue else self._handed
            if self._queued_bytes + len(entry.data) <= WAITING_MAX_BYTES and entry.index == follows + 1:
                self._queue.append(entry)
                self._queued_bytes += len(entry.data)
                self._handed = entry.index
        self._committed = entries[-1].index
        if not self._queue:
            self._handed = self._committed
        self._available.set()

    def close(self) -> None:
        self._disk.shutdown(wait=True)
        self._store.close()

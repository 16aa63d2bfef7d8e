"""Statements that wait to be ordered: kept until executed, forwarded to whoever leads, batched into blocks when we
lead.

A statement submitted here is kept until its execution is seen here, and is forwarded again after a change of leader or
a time-out; the order may therefore hold it twice, and execution sees to it that it happens once. Whoever submitted it
is answered within a bounded time: with what became of it, or that no order can be reached and which authority is
missing.

The leader makes a block when something waits, at most one in `block_interval_ms` and with at most `blocks_in_flight`
not yet executed here. When statements come fast, the interval grows with the blocks, up to `block_interval_max_ms`:
when the machines are busy, blocks grow instead of queues.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import structlog

from contracts.outcome import Outcome
from ledger.statement import MAX_STATEMENT_BYTES
from nodes.blocks import encode_block
from nodes.clock import Clock
from nodes.config import Tuning
from nodes.execution import Rejected, Unparsable
from nodes.metrics import Metrics
from nodes.ordering import NotLeading, Ordering
from nodes.proto import peer_pb2

HOUSEKEEPING_S = 0.2
# A statement that was forwarded and not executed after this is forwarded again.
FORWARD_AGAIN_S = 1.0
MOVING_TIMEOUT_FACTOR = 3
# After its sender was told to send it again, a statement is still tried for this long.
KEEP_S = 20.0
FORWARD_MAX_BYTES = 1024 * 1024
CROWDED_MS_A_STATEMENT = 2.5
# Rejections that the leader remembers, so that a statement forwarded twice is not judged twice.
REMEMBERED_REJECTIONS = 20_000


@dataclass(frozen=True, slots=True)
class Unordered:
    """Why a statement was not ordered, or is not known to have been."""

    overloaded: bool
    detail: str
    retry_after_ms: int
    missing_authorities: tuple[str, ...] = ()


Waiter = Callable[[object], None]


class _Pending:
    __slots__ = ("answered", "forwarded_s", "origin", "proposed", "raw", "since", "submitted_s", "waiters")

    def __init__(self, raw: bytes, origin: str, since: int, now_s: float) -> None:
        self.raw = raw
        # The validator that forwarded it; empty for a statement submitted here.
        self.origin = origin
        # How far its validator had executed when it was submitted.
        self.since = since
        self.submitted_s = now_s
        self.forwarded_s = 0.0
        self.proposed = False
        self.answered = False
        self.waiters: list[Waiter] = []


def _is_garbage(result: object) -> bool:
    """What no honest validator forwards: it parses every statement and checks its signature first."""
    return isinstance(result, Unparsable) or (
        isinstance(result, Rejected) and result.outcome is Outcome.SIGNATURE_INVALID
    )


class Proposals:
    """Belongs to the event loop. `applied` tells how far this validator has executed the order."""

    def __init__(
        self,
        name: str,
        ordering: Ordering,
        *,
        tuning: Tuning,
        clock: Clock,
        metrics: Metrics,
        send: Callable[[str, peer_pb2.Envelope], bool],
        missing_authorities: Callable[[], tuple[str, ...]],
        applied: Callable[[], int],
        due_ms: Callable[[], int | None],
        on_garbage: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._name = name
        self._ordering = ordering
        self._tuning = tuning
        self._clock = clock
        self._metrics = metrics
        self._send = send
        self._missing_authorities = missing_authorities
        self._applied = applied
        self._due_ms = due_ms
        self._on_garbage = on_garbage
        self._log = structlog.get_logger().bind(part="proposing")
        self._pending: dict[bytes, _Pending] = {}
        self._unproposed: collections.deque[_Pending] = collections.deque()
        self._to_forward: list[_Pending] = []
        self._bytes = 0
        self._of_origin: collections.Counter[str] = collections.Counter()
        self._rejected: collections.OrderedDict[bytes, int] = collections.OrderedDict()
        self._wake = asyncio.Event()
        self._in_flight = 0
        self._last_time_ms = 0
        self._proposed_s = 0.0
        self._last_count = 0
        self._stuck_since_s: float | None = self._clock.monotonic_s()
        self._forward_scheduled = False
        self.halted: str | None = None

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    # --- coming in ---------------------------------------------------------------------------------------------------

    def submit(self, raw: bytes, waiter: Waiter) -> None:
        """Take a statement that has been parsed and checked. The waiter is called once, now or later."""
        pending = self._pending.get(raw)
        if pending is None:
            refusal = self._refusal(len(raw))
            if refusal is not None:
                waiter(refusal)
                return
            pending = self._add(raw, "", self._applied())
        pending.waiters.append(waiter)
        if pending.answered or pending.origin:
            self._of_origin[pending.origin] -= 1
            self._of_origin[""] += 1
            pending.answered, pending.origin, pending.submitted_s = False, "", self._clock.monotonic_s()

    def _refusal(self, size: int) -> Unordered | None:
        if self.halted is not None:
            return Unordered(False, f"this validator has halted: {self.halted}", 5000)
        tuning = self._tuning
        if len(self._pending) >= tuning.pending_max_statements or self._bytes + size > tuning.pending_max_bytes:
            return Unordered(True, f"{len(self._pending)} statements wait to be ordered", 500)
        oldest = next(iter(self._pending.values()), None)
        if oldest is not None and not oldest.answered and len(self._pending) > tuning.block_max_statements:
            waited_ms = (self._clock.monotonic_s() - oldest.submitted_s) * 1000
            # The order moves, but slower than statements come: say so while it is a matter of a second or two.
            if waited_ms > tuning.order_timeout_ms / 2:
                return Unordered(True, f"{len(self._pending)} statements wait to be ordered", 500)
        stuck = self._stuck_since_s
        if stuck is not None and (self._clock.monotonic_s() - stuck) * 1000 > tuning.order_timeout_ms:
            return self._unavailable()
        return None

    def _unavailable(self) -> Unordered:
        missing = self._missing_authorities()
        if missing:
            detail = f"waiting for {', '.join(missing)}: nothing becomes committed until it is back"
        elif self._ordering.leader is None:
            detail = "no leader is elected at the moment"
        else:
            detail = "the order has not advanced in time"
        return Unordered(False, detail, 2000, missing)

    def forwarded(self, peer: str, statements: Iterable[bytes], since: int) -> list[bytes]:
        """Statements that another validator wants ordered. Returns those that are new here, for checking."""
        fresh: list[bytes] = []
        if self.halted is not None:
            return fresh  # its validator keeps it, and brings it to whoever leads next
        quota = self._tuning.pending_max_statements // 4
        for raw in statements:
            if len(raw) > MAX_STATEMENT_BYTES or self._of_origin[peer] >= quota or raw in self._pending:
                continue
            if self._rejected and self._rejected.get(sha256(raw).digest(), -1) > since:
                continue  # judged after it was submitted there: its validator is about to see so
            if self._bytes + len(raw) > self._tuning.pending_max_bytes:
                break
            self._add(raw, peer, since)
            fresh.append(raw)
        return fresh

    def _add(self, raw: bytes, origin: str, since: int) -> _Pending:
        pending = self._pending[raw] = _Pending(raw, origin, since, self._clock.monotonic_s())
        self._bytes += len(raw)
        self._of_origin[origin] += 1
        self._route(pending)
        return pending

    def _route(self, pending: _Pending) -> None:
        if self._ordering.leading:
            self._unproposed.append(pending)
            self._wake.set()
        elif not pending.origin:
            self._to_forward.append(pending)
            if not self._forward_scheduled:
                self._forward_scheduled = True
                asyncio.get_running_loop().call_soon(self._forward)

    def _forward(self) -> None:
        """To the leader, together what came in one turn of the event loop."""
        self._forward_scheduled = False
        waiting, self._to_forward = self._to_forward, []
        leader = self._ordering.leader
        if leader is None or leader == self._name:
            return  # whoever leads next gets all that is pending
        now_s = self._clock.monotonic_s()
        batch: list[bytes] = []
        size, since = 0, self._applied()
        for pending in waiting:
            if pending.raw not in self._pending:
                continue
            if size + len(pending.raw) > FORWARD_MAX_BYTES:
                self._send_batch(leader, batch, since)
                batch, size = [], 0
            batch.append(pending.raw)
            size += len(pending.raw)
            since = min(since, pending.since)
            pending.forwarded_s = now_s
        if batch:
            self._send_batch(leader, batch, since)

    def _send_batch(self, leader: str, batch: Sequence[bytes], since: int) -> None:
        self._send(leader, peer_pb2.Envelope(proposals=peer_pb2.Proposals(statements=batch, since=since)))

    # --- what became of them -----------------------------------------------------------------------------------------

    def executed(self, raw: bytes, result: object, rejected_at: int | None) -> None:
        """A statement was executed here; `rejected_at` is the position in the order if it was rejected."""
        if rejected_at is not None:
            self._rejected[sha256(raw).digest()] = rejected_at
            while len(self._rejected) > REMEMBERED_REJECTIONS:
                self._rejected.popitem(last=False)
        pending = self._pending.pop(raw, None)
        if pending is None:
            return
        self._bytes -= len(raw)
        self._of_origin[pending.origin] -= 1
        if pending.origin and _is_garbage(result):
            self._on_garbage(pending.origin, "statements that it had not checked")
        for waiter in pending.waiters:
            waiter(result)

    def block_executed(self, proposer: str, time_ms: int) -> None:
        self._last_time_ms = max(self._last_time_ms, time_ms)
        if proposer == self._name and self._in_flight:
            self._in_flight -= 1
        self._wake.set()

    def block_seen(self, time_ms: int) -> None:
        """A block on its way: if we come to lead, our time does not go back behind it."""
        self._last_time_ms = max(self._last_time_ms, min(time_ms, self._clock.now_ms()))

    def leadership_changed(self) -> None:
        """Forget what was proposed to whom, and bring all that is pending to the new leader."""
        self._in_flight = 0
        self._unproposed.clear()
        self._to_forward.clear()
        for raw, pending in list(self._pending.items()):
            pending.proposed = False
            if pending.origin and not self._ordering.leading:
                # Its own validator keeps it, and brings it to the new leader.
                if pending.waiters:
                    pending.origin = ""
                else:
                    self._drop(raw, pending)
                    continue
            self._route(pending)
        self._wake.set()

    def _drop(self, raw: bytes, pending: _Pending) -> None:
        del self._pending[raw]
        self._bytes -= len(raw)
        self._of_origin[pending.origin] -= 1

    def halt(self, why: str) -> None:
        """Nothing is executed here any more: answer everybody."""
        self.halted = why
        for raw, pending in list(self._pending.items()):
            self._drop(raw, pending)
            for waiter in pending.waiters:
                waiter(Unordered(False, f"this validator has halted: {why}", 5000))
        self._unproposed.clear()

    # --- time --------------------------------------------------------------------------------------------------------

    async def keep_house(self) -> None:
        """Forward again, answer those who waited long enough, propose an empty block when a deadline is due."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            stuck = self._ordering.leader is None or bool(self._missing_authorities())
            if not stuck:
                self._stuck_since_s = None
            elif self._stuck_since_s is None:
                self._stuck_since_s = self._clock.monotonic_s()
            self._sweep(self._clock.monotonic_s())
            if self._ordering.leading and self.halted is None and self._in_flight == 0 and not self._unproposed:
                due_ms = self._due_ms()
                if due_ms is not None and due_ms <= self._clock.now_ms():
                    self._propose([])

    def _sweep(self, now_s: float) -> None:
        timeout_s = self._tuning.order_timeout_ms / 1000
        if self._stuck_since_s is None:
            # What is on its way is better waited for than sent again, as long as the order moves.
            timeout_s *= MOVING_TIMEOUT_FACTOR
        for raw, pending in list(self._pending.items()):
            age_s = now_s - pending.submitted_s
            if age_s < min(FORWARD_AGAIN_S, timeout_s) and not pending.forwarded_s:
                continue
            if age_s > timeout_s and not pending.answered:
                pending.answered = True
                waiters, pending.waiters = pending.waiters, []
                for waiter in waiters:
                    waiter(self._unavailable())
            if age_s > timeout_s + KEEP_S and not pending.proposed:
                self._drop(raw, pending)
            elif not self._ordering.leading and not pending.origin and now_s - pending.forwarded_s > FORWARD_AGAIN_S:
                self._route(pending)

    # --- leading -----------------------------------------------------------------------------------------------------

    async def propose_blocks(self) -> None:
        """While we lead, turn what waits into blocks. Runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (
                self._unproposed
                and self.halted is None
                and self._ordering.leading
                and self._in_flight < self._tuning.blocks_in_flight
            ):
                left_s = self._proposed_s + self._interval_ms() / 1000 - self._clock.monotonic_s()
                if left_s > 0:
                    await asyncio.sleep(left_s)
                    continue
                self._propose(self._take())

    def _interval_ms(self) -> float:
        """How long after a block the next one may come.

        A block costs every validator some milliseconds whatever is in it: messages, a sync, a state root, signatures.
        When statements come faster than one in CROWDED_MS_A_STATEMENT, blocks come less often and hold more.
        """
        crowded_ms = self._last_count * CROWDED_MS_A_STATEMENT
        return max(self._tuning.block_interval_ms, min(crowded_ms, self._tuning.block_interval_max_ms))

    def _take(self) -> list[_Pending]:
        taken: list[_Pending] = []
        size = 0
        while self._unproposed and len(taken) < self._tuning.block_max_statements:
            pending = self._unproposed[0]
            if taken and size + len(pending.raw) > self._tuning.block_max_bytes:
                break
            self._unproposed.popleft()
            if self._pending.get(pending.raw) is pending and not pending.proposed:
                taken.append(pending)
                size += len(pending.raw)
        return taken

    def _propose(self, taken: Sequence[_Pending]) -> None:
        self._proposed_s = self._clock.monotonic_s()
        time_ms = max(self._last_time_ms, self._clock.now_ms())
        try:
            self._ordering.submit(encode_block(self._name, time_ms, [pending.raw for pending in taken]))
        except NotLeading as error:
            # A transfer is under way, or too much is uncommitted: keep them, and try when something moves.
            self._log.debug("proposal_dropped", reason=str(error), statements=len(taken))
            self._unproposed.extendleft(reversed(taken))
            asyncio.get_running_loop().call_later(HOUSEKEEPING_S, self._wake.set)
            return
        self._last_time_ms = time_ms
        self._last_count = len(taken)
        self._in_flight += 1
        self._metrics.block_statements.observe(len(taken))
        for pending in taken:
            pending.proposed = True

"""The way from a gateway to its own authority's validators: finality, questions, and failing over.

Promises: a question is answered by a validator that has all that this gateway knows to be final, or not at all.

Does not: check signatures, decide access, or remember anything across a restart; carry statements (`api.streams`).

One stream to each validator is kept open. A validator that holds its connection open but no longer answers is found by
asking each for its status every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
import structlog

from api.answers import DEFAULT_RETRY_AFTER_MS, NOT_CONFIRMED
from api.config import ValidatorEndpoint
from api.finality import Finality
from api.lanes import HEALTH_MISSES_MAX, Backoff, Lane, channel_to, task_is_cancelled
from api.problems import Problem
from api.proto import validator_pb2 as wire
from api.streams import SubmitStreams
from contracts.crossing_pass import parse_pass

HEALTH_INTERVAL_S = 1.0
HEALTH_TIMEOUT_S = 2.0
AHEAD_TIMES_MAX = 3
# A change of the membership is ordered, committed and perhaps left in two steps before it is answered.
CHANGE_TIMEOUT_S = 15.0
INDEX_RETRY_AFTER_MS = 5_000
# From one validator; what is beyond is told by its status and lies in its folder.
MAX_EVIDENCE_MESSAGES = 16

log = structlog.get_logger("api.validators")

Indexed = TypeVar("Indexed", wire.FindReply, wire.DwellReply)
Reply = TypeVar("Reply")


class Age(Enum):
    """Whether an answer takes in all that this gateway knows to be final. `UNSAID`: it does not show by itself."""

    CURRENT = 1
    BEHIND = 2
    UNSAID = 3


class Wait(Protocol):
    """Someone who waits for answers and can be told to stop."""

    def give_up(self) -> None: ...


class ValidatorPool:
    """All validators of one authority as one thing that answers."""

    def __init__(
        self,
        validators: Sequence[ValidatorEndpoint],
        credentials: grpc.ChannelCredentials | None,
        *,
        in_flight_max: int = 16_384,
        in_flight_max_bytes: int = 64 * 1024 * 1024,
        submit_timeout_s: float = 10.0,
        request_timeout_s: float = 5.0,
    ) -> None:
        self.finality = Finality()
        self._lanes = [Lane(endpoint, channel_to(endpoint, credentials)) for endpoint in validators]
        self._request_timeout_s = request_timeout_s
        self._tasks: list[asyncio.Task[None]] = []
        self._follow_again = asyncio.Event()
        self.streams = SubmitStreams(
            self._lanes,
            in_flight_max=in_flight_max,
            in_flight_max_bytes=in_flight_max_bytes,
            timeout_s=submit_timeout_s,
            missing_authorities=self.missing_authorities,
            opened=self._follow_again.set,
        )
        self.stopping = False
        self.waits: set[Wait] = set()

    # ---- life

    async def start(self) -> None:
        """Begins connecting; returns at once. Statements submitted meanwhile wait for the first stream."""
        for lane in self._lanes:
            self._spawn(self._run_health(lane), f"health {lane.name}")
        self._spawn(self._run_follow(), "follow")
        for run, name in self.streams.tasks():
            self._spawn(run, name)

    def _spawn(self, run: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(run, name=name))

    def end_waits(self) -> None:
        """Lets everyone who waits for statements answer with what is known by now."""
        self.stopping = True
        for wait in list(self.waits):
            wait.give_up()

    async def close(self) -> None:
        """Answers what is still on the way as unavailable, and lets go of every connection."""
        self.streams.closing()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.streams.close()
        for lane in self._lanes:
            await lane.channel.close()

    # ---- what the gateway says of its validators

    @property
    def lanes(self) -> Sequence[Lane]:
        return self._lanes

    def best_status(self) -> wire.ValidatorStatus | None:
        """What the best validator last said of itself and of the authorities; None when none answers."""
        for lane in self._ranked():
            if lane.status is not None and lane.misses < HEALTH_MISSES_MAX:
                return lane.status
        return None

    def missing_authorities(self) -> tuple[str, ...]:
        """The authorities that our validators cannot reach at present."""
        status = self.best_status()
        if status is None:
            return ()
        return tuple(authority.name for authority in status.authorities if not authority.reachable)

    def _ranked(self) -> list[Lane]:
        return [lane for _, lane in sorted(enumerate(self._lanes), key=lambda pair: pair[1].rank(pair[0]))]

    # ---- health, finality, time-outs

    async def _run_health(self, lane: Lane) -> None:
        while True:
            try:
                lane.status = await lane.stub.GetStatus(wire.StatusQuery(), timeout=HEALTH_TIMEOUT_S)
                if lane.misses:
                    # Its stream may have been open again before it answered here: only now can it be followed.
                    lane.misses = 0
                    self._follow_again.set()
                self._reconsider_following(lane)
            except grpc.aio.AioRpcError:
                lane.misses += 1
                if lane.misses == HEALTH_MISSES_MAX:
                    log.warning("validator_unresponsive", validator=lane.name)
                    _cancel(lane.submit_call)
                    _cancel(lane.follow_call)
            await asyncio.sleep(HEALTH_INTERVAL_S)

    def _reconsider_following(self, lane: Lane) -> None:
        """Leaves a validator whose news are old when another has newer ones."""
        status = lane.status
        if status is None or lane.follow_call is not None or status.final_size <= self.finality.size:
            lane.ahead = 0
            return
        lane.ahead += 1
        if lane.ahead < AHEAD_TIMES_MAX:
            return  # the news may be on the way
        for other in self._lanes:
            if other.follow_call is not None and other.status and other.status.final_size < status.final_size:
                _cancel(other.follow_call)

    async def _run_follow(self) -> None:
        backoff = Backoff()
        while True:
            lane = self._best_to_follow()
            if lane is None:
                self._follow_again.clear()
                await self._follow_again.wait()
                continue
            try:
                call = lane.stub.Follow(wire.FollowRequest())
                lane.follow_call = call
                async for event in call:
                    backoff.reset()
                    if event.WhichOneof("event") == "final":
                        self.finality.advance(event.final.size, event.final.checkpoint)
            except grpc.aio.AioRpcError as error:
                log.info("follow_broken", validator=lane.name, code=error.code().name.lower())
            except asyncio.CancelledError:
                if task_is_cancelled():
                    raise
            finally:
                _cancel(lane.follow_call)
                lane.follow_call = None
            await asyncio.sleep(backoff.next_s())

    def _best_to_follow(self) -> Lane | None:
        """The validator that knows of the newest final checkpoint, among those that answer."""
        answering = [lane for lane in self._ranked() if lane.up and lane.misses < HEALTH_MISSES_MAX]
        if not answering:
            return None
        return max(answering, key=lambda lane: lane.status.final_size if lane.status else 0)

    # ---- questions

    async def _ask(
        self,
        method: str,
        request: Any,
        reply_type: type[Reply],
        age: Callable[[Reply, int], Age] = lambda *_: Age.CURRENT,
    ) -> Reply:
        """Asks the best validator, then the others, twice over with a pause between, within one time-out for all.

        An answer of a validator that has not got yet what this gateway knows to be final is not taken: what was said
        to be there would seem to be gone again. While there are such, they are asked until the time is over.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._request_timeout_s
        known, backoff, attempt, behind = self.finality.size, Backoff(), 0, False
        # The last try before the time is over may be too short for any answer: what was learned before it stays said.
        ever_behind, unconfirmed = False, ""
        while attempt < 2 or (behind and loop.time() < deadline_s):
            behind = False
            for lane in self._ranked():
                left_s = deadline_s - loop.time()
                if left_s <= 0:
                    break
                # The first one must leave time for another.
                timeout_s = left_s if attempt or len(self._lanes) == 1 else max(left_s / 2, 0.05)
                try:
                    reply: Reply = await getattr(lane.stub, method)(request, timeout=timeout_s)
                    found = age(reply, known)
                    if found is Age.UNSAID:
                        found, reply = await self._ask_once_more(lane, method, request, timeout_s, known)
                except grpc.aio.AioRpcError as error:
                    details = error.details() or ""
                    if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
                        raise Problem("bad_request", details) from error
                    if details.startswith(NOT_CONFIRMED):
                        unconfirmed = details.removeprefix(NOT_CONFIRMED)
                    continue
                if found is Age.CURRENT:
                    return reply
                behind = ever_behind = True
            attempt += 1
            await asyncio.sleep(min(backoff.next_s(), max(0.0, deadline_s - loop.time())))
        if unconfirmed:
            raise Problem("read_not_confirmed", unconfirmed, retry_after_ms=DEFAULT_RETRY_AFTER_MS)
        detail = "none of this authority's validators answered"
        if ever_behind:
            detail = f"those of this authority's validators that answer are behind the {known} entries that are final"
        raise Problem("validators_unreachable", detail, retry_after_ms=DEFAULT_RETRY_AFTER_MS)

    async def _ask_once_more(
        self, lane: Lane, method: str, request: Any, timeout_s: float, known: int
    ) -> tuple[Age, Any]:
        """Whether the validator has it all, and then its answer: the one before may be from before it had."""
        lane.status = await lane.stub.GetStatus(wire.StatusQuery(), timeout=timeout_s)
        if lane.status.final_size < known:
            return Age.BEHIND, None
        return Age.CURRENT, await getattr(lane.stub, method)(request, timeout=timeout_s)

    async def statement(self, statement_id: bytes, *, linearizable: bool = False) -> wire.StatementInfo:
        query = wire.StatementQuery(id=statement_id, linearizable=linearizable)
        return await self._ask("GetStatement", query, wire.StatementInfo, _age_of_statement)

    async def proof(self, statement_id: bytes, *, further: bool = False) -> wire.ProofReply:
        query = wire.StatementQuery(id=statement_id, further=further)
        return await self._ask("GetProof", query, wire.ProofReply, _age_of_proof)

    async def further(self) -> wire.FurtherReply:
        """How the further cosigners are. Of a validator that collects none, another may know more."""
        return await self._ask(
            "GetFurther",
            wire.FurtherQuery(),
            wire.FurtherReply,
            lambda reply, _: Age.CURRENT if reply.checkpoint else Age.UNSAID,
        )

    async def receipts(self, statement_id: bytes, authority: str = "") -> wire.ReceiptsReply:
        """A statement with its receipts, or the receipt of one authority."""
        query = wire.ReceiptsQuery(id=statement_id, authority=authority)
        return await self._ask("GetReceipts", query, wire.ReceiptsReply, _age_of_receipts)

    async def status_proof(self, key: str) -> wire.StatusProofReply:
        """The proof of a record as it stands, as of what this gateway knows to be final at least."""
        return await self._ask("GetStatusProof", wire.StatusProofQuery(key=key), wire.StatusProofReply, _age_of_status)

    async def crossing_pass(self, mrn: str) -> wire.PassReply:
        """A pass, from a state that is no older than what this gateway knows to be final."""
        return await self._ask("GetPass", wire.PassQuery(mrn=mrn), wire.PassReply, _age_of_pass)

    async def records_reply(self, keys: Iterable[str], *, linearizable: bool = False) -> wire.RecordsReply:
        query = wire.RecordsQuery(keys=list(keys), linearizable=linearizable)
        return await self._ask("GetRecords", query, wire.RecordsReply, _age_of_records)

    async def records(self, keys: Iterable[str]) -> dict[str, bytes]:
        reply = await self.records_reply(keys)
        return {record.key: record.value for record in reply.records}

    async def list_records(self, prefix: str, after: str, limit: int) -> wire.RecordsReply:
        query = wire.ListQuery(prefix=prefix, after=after, limit=limit)
        return await self._ask("ListRecords", query, wire.RecordsReply, _age_of_records)

    async def find(self, kind: str, identifier: str, after: bytes, limit: int) -> wire.FindReply:
        """Records that mention an identifier, newest first."""
        query = wire.FindQuery(kind=kind, identifier=identifier, after=after, limit=limit)
        return await self._ask_index("Find", query, wire.FindReply, lambda reply, known: reply.size >= known)

    async def dwell(self, post: str, first_day: int, last_day: int, size: int) -> wire.DwellReply:
        """How long passages took, in the first `size` entries; 0: in all that are final."""
        if size > self.finality.size:
            raise Problem("bad_request", f"size: expected at most the {self.finality.size} that are final, got {size}")
        query = wire.DwellQuery(post=post, first_day=first_day, last_day=last_day, size=size)
        return await self._ask_index(
            "GetDwell", query, wire.DwellReply, lambda reply, known: reply.final_size >= (size or known)
        )

    async def _ask_index(
        self, method: str, query: Any, reply_type: type[Indexed], current: Callable[[Indexed, int], bool]
    ) -> Indexed:
        """Asks for what stands in an index of the log. A validator that is still making it is not believed."""
        making: list[Indexed] = []

        def age(reply: Indexed, known: int) -> Age:
            if not reply.complete:
                making.append(reply)
                return Age.BEHIND
            return Age.CURRENT if current(reply, known) else Age.BEHIND

        try:
            return await self._ask(method, query, reply_type, age)
        except Problem as problem:
            if not making or problem.code != "validators_unreachable":
                raise
            detail = f"{making[-1].covered} of {making[-1].size} entries are indexed"
            raise Problem("index_incomplete", detail, retry_after_ms=INDEX_RETRY_AFTER_MS) from problem

    async def entries(self, first: int, limit: int, subject: str = "") -> wire.EntriesReply:
        """Final entries only."""
        query = wire.EntriesQuery(first=first, limit=limit, subject=subject, final_only=True)
        return await self._ask("GetEntries", query, wire.EntriesReply)

    async def membership(self) -> wire.Membership:
        """Who belongs to the order."""
        return await self._ask("GetMembership", wire.MembershipQuery(), wire.Membership)

    async def change_membership(self, note: bytes) -> wire.MembershipReply:
        """Hands a signed change in, and waits for what becomes of it."""
        for lane in self._ranked():
            with suppress(grpc.aio.AioRpcError):
                reply: wire.MembershipReply = await lane.stub.ChangeMembership(
                    wire.MembershipSubmission(change=note), timeout=CHANGE_TIMEOUT_S
                )
                return reply
        detail = "none of this authority's validators answered"
        raise Problem("validators_unreachable", detail, retry_after_ms=DEFAULT_RETRY_AFTER_MS)

    async def evidence(self) -> dict[str, tuple[wire.EvidenceBundle, list[str]]]:
        """Every bundle that any of our validators has made, by its id, and whose it is: each hears other lies."""
        found: dict[str, tuple[wire.EvidenceBundle, list[str]]] = {}
        answered = False
        for lane in self._lanes:
            try:
                bundles = await self._evidence_of(lane)
            except grpc.aio.AioRpcError as error:
                # Of an older release: it has none to give.
                answered = answered or error.code() == grpc.StatusCode.UNIMPLEMENTED
                continue
            answered = True
            for each in bundles:
                found.setdefault(each.id, (each, []))[1].append(lane.name)
        if not answered:
            detail = "none of this authority's validators answered"
            raise Problem("validators_unreachable", detail, retry_after_ms=DEFAULT_RETRY_AFTER_MS)
        return found

    async def _evidence_of(self, lane: Lane) -> list[wire.EvidenceBundle]:
        """All bundles of one validator, message by message."""
        bundles: dict[str, wire.EvidenceBundle] = {}
        for _ in range(MAX_EVIDENCE_MESSAGES):
            after = max(bundles, default="")
            reply = await lane.stub.GetEvidence(wire.EvidenceQuery(after=after), timeout=self._request_timeout_s)
            bundles |= {each.id: each for each in reply.bundles}
            # One of an older release does not go on from where it was asked to, and gives the same again.
            if not reply.more or max(bundles, default="") == after:
                break
        return list(bundles.values())

    async def tile(self, path: str) -> bytes | None:
        reply = await self._ask("GetTile", wire.TileQuery(path=path), wire.TileReply)
        return reply.data if reply.found else None


def _age_of_statement(reply: wire.StatementInfo, known: int) -> Age:
    if not reply.found:
        return Age.UNSAID
    return Age.CURRENT if reply.final or reply.index >= known else Age.BEHIND


def _age_of_proof(reply: wire.ProofReply, known: int) -> Age:
    return Age.CURRENT if reply.found and reply.final and reply.proof else Age.UNSAID


def _age_of_receipts(reply: wire.ReceiptsReply, known: int) -> Age:
    return Age.CURRENT if reply.found and reply.final else Age.UNSAID


def _age_of_status(reply: wire.StatusProofReply, known: int) -> Age:
    return Age.CURRENT if reply.size >= known or not reply.size else Age.BEHIND


def _age_of_pass(reply: wire.PassReply, known: int) -> Age:
    if not reply.crossing_pass:
        return Age.CURRENT
    return Age.CURRENT if parse_pass(reply.crossing_pass).facts.size >= known else Age.BEHIND


def _age_of_records(reply: wire.RecordsReply, known: int) -> Age:
    return Age.CURRENT if reply.size >= known else Age.BEHIND


def _cancel(call: Any) -> None:
    if call is not None:
        with suppress(Exception):
            call.cancel()

"""A validator: everything put together, from the configuration to the exit status.

One event loop carries the messages, the ticks and the Raft core, and executes small blocks; one thread executes large
ones; a few check signatures.
What becomes of a statement here: checked, forwarded or proposed (`proposing`), ordered (`ordering`), taken in turn
(`applying`), executed and signed (`execution`), made final (`cosigning`), answered (`service`).

It never takes part with a doubt about itself: a contradiction on the disk ends the process; a bug in a contract or a
contradiction with the other authority halts execution and signing, and the process stays up to say so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

import consensus
from consensus import Config, Entry
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, UnknownDurableState, WriteFailed
from ledger.store import StoreUnavailable
from nodes import wire
from nodes.applying import Applying
from nodes.attesting import Attesting, Surroundings
from nodes.blocks import decode_block
from nodes.certificates import PeerDirectory
from nodes.changing import Changes
from nodes.checking import KnownKeys, SignatureChecks
from nodes.concluding import Concluding
from nodes.config import ValidatorConfig
from nodes.cosigning import Cosigner, Finality
from nodes.divergence import Divergences
from nodes.environment import Environment
from nodes.evidence import Bundles
from nodes.execution import Accepted, Executed, Execution, Rejected
from nodes.expiry import Expiry
from nodes.final_state import FinalState
from nodes.further_exchange import further_exchange
from nodes.health import HealthServer
from nodes.identity import Identity
from nodes.keys_in_force import read_keys_in_force
from nodes.metrics import Metrics
from nodes.offences import Offences
from nodes.opening import open_stores
from nodes.ordering import RaftOrdering
from nodes.participation import Participation
from nodes.peers import MembershipExchange
from nodes.promises import Promises
from nodes.proposing import Proposals
from nodes.proto import peer_pb2
from nodes.proving import Proving
from nodes.publishing import Publishing
from nodes.reading import FreshReads
from nodes.rejections import RejectionLimits
from nodes.scrub import Scrub, walk_ledger, walk_order
from nodes.service import Following, ValidatorService
from nodes.snapshots import Snapshots
from nodes.status import GAUGES, StatusReport
from nodes.submissions import Submissions
from nodes.versions import SINCE, SPOKEN, Feature, VersionRange, Versions

EXIT_STOPPED = 0
EXIT_CONFIG = 2
EXIT_UNAVAILABLE = 3  # a port is taken, the disk cannot be written
EXIT_DURABLE_STATE = 4  # what is on disk contradicts itself: people must look before it starts again
EXIT_HALTED = 5  # it had halted by the time it was told to stop
EXIT_REMOVED = 6  # a change of the membership, signed by all authorities, has removed it for good
REOPEN = -1  # no exit status: it starts again in the same process, from the ledger that it has caught up to

EXCHANGE_S = 1.0
HAND_OVER_S = 0.5


class Validator:
    """One validator in this process. `start`, then `run` until it returns an exit status, then `stop`."""

    def __init__(
        self,
        config: ValidatorConfig,
        identity: Identity,
        *,
        environment: Environment | None = None,
        spoken: VersionRange = SPOKEN,
    ) -> None:
        self.config = config
        self.identity = identity
        self.environment = environment or Environment()
        self.clock = self.environment.clock
        self._log = structlog.get_logger().bind(part="validator")
        self.metrics = Metrics(config.name)
        self.halted: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stores = open_stores(config, identity, self.environment)
        self._store, self.chain, self.records = self.stores.ledger, self.stores.chain, self.stores.records
        self.promises = Promises(self.stores.order, self.chain, self.stores.intent)
        self.roster = self.stores.roster
        self.keys_in_force = read_keys_in_force(config, identity, self.chain, self.environment.files)
        self.participation = Participation(config, identity, self.roster, self.keys_in_force)
        self.versions = Versions(
            config.name,
            self.roster.members,
            self._store,
            spoken=spoken,
            given_up=lambda name: self.participation.is_given_up(name, self.ordering.committed),
        )
        self._assemble()

    # --- putting it together -----------------------------------------------------------------------------------------

    def _assemble(self) -> None:
        """Each part is given what it needs of the others; what is made later is reached through a lambda."""
        self._assemble_order()
        self._assemble_execution()
        self._assemble_finality()
        self._assemble_upkeep()
        self._assemble_service()

    def _assemble_order(self) -> None:
        """Statements checked, forwarded, ordered; and the order's messages."""
        config, identity, tuning, environment = self.config, self.identity, self.config.tuning, self.environment
        processes = environment.checking_processes(tuning.signature_processes)
        threads = len(processes) or tuning.signature_threads
        self.checks = SignatureChecks(
            KnownKeys(self.chain).find, self.metrics, environment.executor(threads, "signatures"), processes
        )
        self.following = Following()
        self.offences = Offences(self.clock)
        self.rejections = RejectionLimits(self.clock)
        self.transport = environment.transport(
            config,
            identity.network,
            self._deliver,
            announcement=self.versions.own,
            on_announced=self.versions.hear,
            on_connected=self._connected,
            serve_fetch=lambda peer, request: self.snapshots.serve(peer, request),
            on_unreachable=lambda peer: self.ordering.unreachable(peer),
            membership=MembershipExchange(
                lambda: self.roster.committed.number,
                self.roster.notes,
                lambda peer, notes: self.changes.learn(peer, list(notes)),
            ),
        )
        self.ordering = RaftOrdering(
            Config(
                id=config.name,
                seed=environment.seed(),
                election_timeout_ticks=tuning.election_timeout_ticks,
                heartbeat_ticks=tuning.heartbeat_ticks,
                applied=max(self.chain.applied, self.stores.base),
                authorise=self.roster.authorise,
            ),
            self.stores.order,
            tick_ms=tuning.tick_ms,
            send=self.transport.send,
            metrics=self.metrics,
            clock=self.clock,
            disk=environment.executor(1, "raft-disk"),
            on_appended=self._appended,
            promise=self.promises.ahead,
            on_leadership=lambda: self.proposals.leadership_changed(),
            on_refused=self.offences.add,
            on_behind=lambda leader, index: self.snapshots.behind(leader, index),
            roster=self.roster,
            on_membership=lambda: self.changes.in_force(),
        )
        self.proposals = Proposals(
            config.name,
            self.ordering,
            tuning=tuning,
            clock=self.clock,
            metrics=self.metrics,
            send=self.transport.send,
            missing_authorities=self.missing_authorities,
            applied=lambda: self.execution.applied,
            due_ms=lambda: self.execution.next_due_ms,
            on_garbage=self.offences.add,
        )
        self.snapshots = Snapshots(
            config,
            identity,
            self.stores,
            environment,
            order_record=self.ordering.record,
            fetch=self.transport.fetch,
            peers=self.transport.connected,
            policies=self.participation.policies_of_snapshots,
            party_of=self.participation.party_of,
            halt=self.halt,
        )
        self.transport.cut_off = self.offences.why

    def _assemble_execution(self) -> None:
        """What is ordered, executed and signed; the state of it, and what is attested from that."""
        config, identity = self.config, self.identity
        cosigner = Cosigner(
            config.name,
            identity.cosigner_key,
            identity.log_keys,
            self.stores.intent,
            not_before_s=self.promises.last_time_s,
        )
        self.execution = Execution(
            self.chain,
            self._store,
            self.checks,
            cosigner,
            self.records,
            self.stores.log_index,
            clock=self.clock,
            metrics=self.metrics,
            is_validator=self.roster.was_member,
            may_cosign=self.participation.cosigns,
            permits=self.promises.permits,
        )
        self.final_state = FinalState(
            self._store, self.chain, self.clock, lambda: self.concluding.latest, lambda: self.following.next_change
        )
        self.execution.on_grown = self.final_state.grown
        self.attesting = Attesting(
            config.name,
            config.origin,
            identity.cosigner_key,
            self.chain,
            self.final_state,
            self.clock,
            Surroundings(
                voters=self.roster.voters,
                policy=self.participation.policy,
                reachable=self.transport.reachable,
                speaks=lambda name: self.versions.peer_speaks(name, Feature.ATTESTATIONS),
                send=self.transport.send,
                objection=lambda: self.halted,
            ),
        )
        self.promises.applied = lambda: self.execution.applied
        self.promises.intent = lambda: self.execution.intent

    def _assemble_finality(self) -> None:
        """Cosignatures of the others, and who belongs here; then what is ordered can be taken in turn."""
        config, identity, environment = self.config, self.identity, self.environment
        latest = self.chain.latest_final
        note = latest[1] if latest is not None else None
        policy = self.participation.policy() if note is None else self.participation.policy_of_note(note)
        self.finality = Finality(identity.genesis, policy, note, self.participation.ever())
        kept = config.data / "evidence"
        self.bundles = Bundles(
            identity.genesis, kept, environment.files, self.chain, self.finality, self.participation.policy
        )
        self.divergences = Divergences(policy, kept, self.metrics, environment.files, self.bundles)
        self.concluding = Concluding(
            self.chain,
            self.finality,
            self.divergences,
            self.clock,
            halt=self.halt,
            became_final=self._became_final,
        )
        self.reads = FreshReads(self.ordering, lambda: self.execution.applied, self._no_fresh_reads)
        self.publishing = Publishing(
            config.name, config.authority, self.finality, self.participation, self.ordering, self.transport
        )
        self.changes = Changes(self, self.roster, self.participation, on_removed=lambda _: self.finish(EXIT_REMOVED))
        self.changes.take_effect()
        self.applying = Applying(
            self.ordering,
            self.execution,
            self.checks,
            self.stores.log_index,
            clock=self.clock,
            thread=environment.executor(1, "execution"),
            quick_max_bytes=config.tuning.inline_max_bytes,
            absorb=self._absorb,
            halt=self.halt,
            halted=lambda: self.halted is not None,
            hand_over=self.hand_over,
        )

    def _assemble_upkeep(self) -> None:
        """What looks after this machine, and the cosignatures that nothing waits for."""
        config, tuning, environment = self.config, self.config.tuning, self.environment
        self.scrub = Scrub(
            {
                "order": (self.stores.order.store, walk_order),
                "ledger": (self._store, walk_ledger),
            },
            rate_bytes_per_s=tuning.scrub_bytes_per_s,
            interval_s=tuning.scrub_interval_s,
            clock=self.clock,
            executor=environment.executor(1, "scrub"),
        )
        self.further = further_exchange(config, self.identity, self.chain, self._store, environment, self.transport)
        self.expiry = Expiry(
            config,
            environment.files,
            self.chain.state,
            self.records,
            self.clock,
            peers=lambda: self.transport.certificate_ends,
        )

    def _assemble_service(self) -> None:
        """What gateways and operators are told."""
        config = self.config
        self.report = StatusReport(self)
        self._gateways = PeerDirectory(dict.fromkeys(config.gateways, config.authority), self.participation.cas())
        self.service = ValidatorService(
            self.chain,
            Submissions(self.chain, self.checks, self.proposals, self.rejections, self.metrics, self.report.readiness),
            self.following,
            self.records,
            self.stores.log_index,
            self.report,
            self._gateways,
            self.changes,
            self.reads,
            Proving(
                self.chain, self.final_state, self.attesting, None if self.further is None else self.further.further
            ),
        )
        self.metrics.gauges(self.report.gauges, GAUGES)
        self.metrics.further(self.report.further)
        self.metrics.endings(lambda: (self.expiry.endings(), self.clock.now_ms()))

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Sign again what was promised, then listen and take part. Raises OSError when a port is taken."""
        signed = self.execution.open_signature()
        counting = self.execution.log_keys_at
        if signed is not None:
            self.finality.executed(signed.checkpoint, counting(signed.checkpoint.size))
        size = self.chain.size
        self.finality.executed(Checkpoint(self.config.origin, size, self.chain.root), counting(size))
        if signed is not None:
            self.finality.signed(signed.checkpoint, signed.lines)
        await self.transport.start()
        self._grpc = await self.environment.serve(self.service, self.config)
        self._health: HealthServer | None = None
        if self.config.http_address is not None:
            self._health = HealthServer(
                self.config.http_address, self.report.readiness, self.metrics.text, self.report.storage
            )
            await self._health.start()
        if self.further is not None:
            self._spawn(self.further.run(), "further cosignatures")
        for run, name in (
            (self.ordering.run(), "ordering"),
            (self._apply(), "execution"),
            (self._catch_up(), "catching up"),
            (self.snapshots.corroborate(), "corroborating"),
            (self.scrub.run(), "scrub"),
            (self.proposals.propose_blocks(), "proposing"),
            (self.proposals.keep_house(), "housekeeping"),
            (self._exchange_for_ever(), "exchange"),
            (self.applying.keep_index(), "log index"),
        ):
            self._spawn(run, name)
        self._log.info("started", size=self.chain.size, height=self.chain.height, applied=self.chain.applied)

    def _spawn(self, run: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(run, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """No part of a validator may end without the whole: what is left would only seem to work."""
        if task.cancelled() or self._ended.done():
            return
        error = task.exception()
        if isinstance(error, UnknownDurableState | consensus.UnknownDurableState | StoreUnavailable):
            self._disk_failed(error, task.get_name())
        else:
            self._log.error("part_failed", task=task.get_name(), reason=repr(error), exc_info=error)
            self._ended.set_result(EXIT_DURABLE_STATE)

    def _disk_failed(self, error: Exception, part: str) -> None:
        """End. After a write that failed half way, starting again tells what is there; damage is for people."""
        if isinstance(error, WriteFailed | StoreUnavailable):
            self._log.error("disk_failed", task=part, reason=str(error))
            self.finish(EXIT_UNAVAILABLE)
        else:
            remedy = f"look with: comity storage check {self.config.data}"
            self._log.error("durable_state_unknown", task=part, reason=str(error), remedy=remedy)
            self.finish(EXIT_DURABLE_STATE)

    def finish(self, code: int | None = None) -> None:
        """Make `run` return."""
        if not self._ended.done():
            self._ended.set_result(code if code is not None else EXIT_HALTED if self.halted else EXIT_STOPPED)

    async def run(self) -> int:
        return await self._ended

    async def stop(self) -> None:
        if self.ordering.leading:
            # A planned stop need not cost the others an election time-out.
            self.hand_over()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_S):
                    await self.ordering.not_leading.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._health is not None:
            await self._health.stop()
        await self._grpc.stop(grace=0.2)
        await self.transport.stop()
        self.applying.close()
        self.checks.close()
        self.scrub.close()
        await self.snapshots.close()
        self.ordering.close()
        self.attesting.close()
        self.final_state.close()
        self._store.close()
        self._log.info("stopped", size=self.chain.size, final_size=self.finality.final_size)

    def halt(self, why: str) -> None:
        """Stop executing and signing for good; stay up, keep the copy of the order, and say why."""
        if self.halted is None:
            self.halted = why
            self._log.error("halted", reason=why)
            self.proposals.halt(why)
            self.ordering.set_passive(passive=True)
            self.following.changed()

    def hand_over(self) -> None:
        """Let somebody else lead, if we do and there is somebody."""
        voters = self.roster.voters().keys() & self.ordering.electors
        connected = [name for name in self.transport.connected() if name in voters]
        if self.ordering.leading and connected:
            self.ordering.transfer_leadership(connected[0])

    async def _catch_up(self) -> None:
        """A ledger that was made from a snapshot takes over when this validator starts again, at once."""
        await self.snapshots.run()
        self.finish(REOPEN)
        await asyncio.Event().wait()

    # --- messages ----------------------------------------------------------------------------------------------------

    def _deliver(self, peer: str, envelope: peer_pb2.Envelope) -> None:
        if self.offences.why(peer) is not None:
            return
        try:
            self._take(peer, envelope)
        except (UnknownDurableState, consensus.UnknownDurableState) as error:
            self._disk_failed(error, "messages")

    def _take(self, peer: str, envelope: peer_pb2.Envelope) -> None:
        kind = envelope.WhichOneof("body")
        if kind == "raft":
            if wire.is_known(envelope.raft):
                self.ordering.step(peer, envelope.raft)
            else:
                self.versions.ignore(peer, f"raft message {envelope.raft.type}")
        elif kind == "proposals":
            fresh = self.proposals.forwarded(peer, envelope.proposals.statements, envelope.proposals.since)
            self.checks.expect(fresh)
        elif kind == "cosignatures":
            message = envelope.cosignatures
            lines = wire.from_cosignatures(message)
            self.concluding.receive(peer, message.size, message.root, lines)
            self.concluding.conclude()
            if self.further is not None:
                self.further.receive(message.size, message.root, lines)
        elif kind == "cosignature_query":
            query = envelope.cosignature_query
            self.changes.heard(peer, query.executed_size)
            self.changes.tell(peer, query.membership)
            for size, root, kept in self.finality.answer(query.final_size, query.executed_size, query.final_root):
                self.transport.send(peer, wire.to_cosignatures(size, root, kept))
        elif kind in ("membership_notes", "membership_change", "membership_answer"):
            self.changes.take(peer, envelope)
        elif kind in ("attestation_query", "attestation_answer"):
            self.attesting.take(peer, envelope)
        else:
            self.versions.ignore(peer, "envelope")

    def _appended(self, entries: Sequence[Entry]) -> None:
        """Blocks on their way to our disk: begin to check their signatures, long before they are committed."""
        for entry in entries:
            grows_by = 0
            if entry.data:
                grows_by = 1
                try:
                    block = decode_block(entry.data)
                except Malformed:
                    pass  # execution will say so, if it is ever committed
                else:
                    grows_by += len(block.statements)
                    self.proposals.block_seen(block.time_ms)
                    self.checks.expect(block.statements)
            self.promises.appended(entry.index, grows_by)

    # --- execution ---------------------------------------------------------------------------------------------------

    async def _apply(self) -> None:
        """Execution ends when this validator halts, and does not begin where the order lacks what comes next."""
        if not self.stores.behind:
            await self.applying.run()
        await asyncio.Event().wait()

    def _absorb(self, executed: Sequence[Executed]) -> None:
        """Back on the event loop: answer, publish our signatures, see what is final now."""
        grown = False
        for each in executed:
            if each.block is None:
                continue
            if each.checkpoint is not None:
                grown = True
                self.report.grown(each.checkpoint.size)
                self.finality.executed(each.checkpoint, each.keys.log_keys_of_all_at(each.height, each.time_ms))
                if self.keys_in_force.follow(each.keys, each.height, each.time_ms):
                    self._log.warning("keys_in_force", height=each.height, to_do=self.keys_in_force.to_do())
                    self._gateways.believe(self.participation.cas())
                    self.changes.take_effect()
            if each.signed is not None:
                self.publishing.publish(each.signed)
            for raw, result in each.results:
                self.proposals.executed(raw, result, None if isinstance(result, Accepted) else each.index)
                if isinstance(result, Rejected):
                    self.rejections.rejected(self.checks.statement(raw).iss, each.time_ms)
                    self.metrics.rejected.labels(result.outcome.fact).inc()
            self.checks.forget(each.block.statements)
            self.proposals.block_executed(each.block.proposer, each.time_ms)
        if grown:
            self.concluding.receive_early()
            if not self.concluding.conclude():
                self.following.changed()
        self.reads.advanced()

    # --- finality ----------------------------------------------------------------------------------------------------

    def _became_final(self, size: int) -> None:
        self.final_state.became_final()
        self.report.final(size)
        self.following.changed()

    def _connected(self, peer: str) -> None:
        self._exchange()
        self.ordering.returned(peer)

    def _exchange(self) -> None:
        """Tell everybody how far we are; who has signatures that help us sends them."""
        query = peer_pb2.CosignatureQuery(
            final_size=self.finality.final_size,
            executed_size=self.chain.size,
            final_root=self.finality.final_root,
            membership=self.roster.committed.number,
        )
        self.transport.broadcast(peer_pb2.Envelope(cosignature_query=query))

    async def _exchange_for_ever(self) -> None:
        while True:
            await asyncio.sleep(EXCHANGE_S)
            self._exchange()
            self.concluding.retry()
            if self.versions.speak(Feature.SNAPSHOTS):
                self.ordering.compact(self.snapshots.compactable())
            if self.ordering.leading and self.ordering.disk_health.shall_hand_over():
                self._log.warning("disk_slow", reason=str(self.ordering.disk_health))
                self.hand_over()
            self.bundles.improve()
            if self.halted is not None:
                continue
            why = self.divergences.verdict(self.finality.final_size, self.clock.monotonic_s())
            if why is not None:
                self.halt(why)
                continue
            if self.execution.unsigned() and self.ordering.waiting(self.execution.applied) == 0:
                signed = await self.applying.sign_now()
                if signed is not None:
                    self.publishing.publish(signed)
                    self.concluding.conclude()

    def _no_fresh_reads(self) -> str | None:
        """Why reads cannot be confirmed now, in words; None if they may."""
        if self.halted is not None:
            return "this validator has halted"
        leader = self.ordering.leader
        said = self.versions.said(leader) if leader is not None else None
        if said is not None and said.versions.highest < SINCE[Feature.LINEARIZABLE_READS]:
            return f"{leader}, which leads, does not know linearizable reads: upgrade it"
        return None

    # --- who is there ------------------------------------------------------------------------------------------------

    def reachable(self) -> set[str]:
        return {self.config.name} | {name for name in self.roster.members() if self.transport.reachable(name)}

    def missing_authorities(self) -> tuple[str, ...]:
        """The authorities of which no validator can be reached: without them nothing becomes committed."""
        return self.ordering.missing_authorities(self.reachable())

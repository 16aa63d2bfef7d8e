"""The judge: sees every write, every message, every execution and every answer, and believes none of them.

Everything here is recomputed from what was seen, by rules written a second time and as plainly as possible; nothing
asks the code under test for its opinion. References: the invariants of the Raft thesis, figure 3.2; "persist before
answering", figure 3.1; the commit rule with a voter of each authority and the one of finality, `docs/architecture.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from consensus.messages import Entry, EntryType, HardState, MessageType
from ledger.chain import Chain
from ledger.checked import CHECKSUM_BYTES
from ledger.errors import LedgerError, UnknownDurableState
from ledger.note import parse_note
from ledger.statement import Statement
from nodes.cosigning import INTENT_KEY, Intent
from nodes.execution import Accepted
from nodes.proto import peer_pb2
from tests.simulation.corridor import Corridor
from tests.simulation.disk import Platter
from tests.simulation.evidence import kept, unconvincing
from tests.simulation.membership import (
    InForce,
    Key,
    Ordered,
    SignedChange,
    read_change,
    unsigned_by,
    what_is_done,
    what_is_said,
)
from tests.simulation.node import Node
from tests.simulation.order_log import OrderBatch, OrderLog, digest_of
from tests.simulation.world import World

SIGN_AHEAD_MAX_MS = 5000
_PRE_VOTES = (int(MessageType.PRE_VOTE), int(MessageType.PRE_VOTE_RESPONSE))
_FROM_LEADER = (int(MessageType.APPEND), int(MessageType.HEARTBEAT))
_PROMISES = (int(MessageType.APPEND_RESPONSE), int(MessageType.VOTE), int(MessageType.VOTE_RESPONSE))


@dataclass
class Answer:
    """A statement that was acknowledged to a client."""

    raw: bytes
    index: int
    end_us: int


class Oracle:
    """`watching` installs the hooks; then the simulation runs; then `conclude`."""

    def __init__(self, world: World, corridor: Corridor, nodes: dict[str, Node]) -> None:
        self.world = world
        self.corridor = corridor
        self.nodes = nodes
        self.logs = {name: OrderLog() for name in nodes}
        self.events: list[dict[str, Any]] | None = None
        # The membership
        self.ordered = Ordered(corridor.genesis, corridor.parties)
        self.on_change: Callable[[SignedChange], None] = lambda _: None
        # Raft
        self._leaders: dict[int, str] = {}
        self._votes: dict[tuple[str, int], str] = {}
        self._shown_term: dict[str, int] = dict.fromkeys(nodes, 0)
        # The newest term in which each acknowledged entries to its leader, and up to where.
        self._acknowledged: dict[str, tuple[int, int]] = {}
        self._previous: dict[tuple[int, int], tuple[bytes, int]] = {}
        self.holders: dict[Key, set[str]] = {}
        self.committed: dict[int, tuple[int, bytes]] = {}
        # By which term at the latest each was: who was elected in an earlier one and stood still need not have it.
        self._committed_by: dict[int, int] = {}
        self.highest_commit = 0
        # Ledger
        self.roots: dict[int, bytes] = {}
        self._times: dict[int, int] = {}
        self._applied: dict[str, int] = {}
        self.places: dict[bytes, int] = {}
        self._ctis: dict[tuple[str, bytes], bytes] = {}
        self.valid: dict[bytes, Statement] = {}
        # Cosigning
        self._signed: dict[tuple[str, int], tuple[bytes, bytes]] = {}
        self._notes: set[bytes] = set()
        self.lies_told: dict[str, int] = {}
        # Clients
        self.answers: list[Answer] = []
        self.first_asked_us: dict[bytes, int] = {}
        self.executed_blocks = 0

    def fail(self, invariant: str, detail: str) -> None:
        self.world.fail(invariant, detail)

    def event(self, kind: str, node: str, **more: Any) -> None:
        if self.events is not None:
            self.events.append({"time_us": self.world.now_us, "event": kind, "node": node, **more})

    # --- the membership ---------------------------------------------------------------------------------------------

    def key(self, entry: Entry) -> Key:
        """What names an entry, whoever has it. A change of the membership is remembered with what it says."""
        key = (entry.index, entry.term, digest_of(int(entry.type), entry.data))
        if entry.type is EntryType.CONFIGURATION and key not in self.ordered.seen:
            self.ordered.seen[key] = read_change(entry.data)
        return key

    def changes_of(self, log: OrderLog, until: int, *, before_term: int | None = None) -> Iterator[Key]:
        """The changes that a log holds up to a place, those that came in by a snapshot included."""
        for key in sorted(self.ordered.seen):
            index, term, digest = key
            entry = log.entries.get(index) if index > log.base else self.committed.get(index)
            if index <= until and entry == (term, digest) and (before_term is None or term < before_term):
                yield key

    def in_force(self, log: OrderLog, until: int, *, before_term: int | None = None) -> InForce:
        return self.ordered.followed(self.changes_of(log, until, before_term=before_term))

    def turning(self, node: Node, entries: Any) -> None:
        """New entries of a node, in force there from now on if they change the membership."""
        for entry in entries:
            if entry.type is EntryType.CONFIGURATION:
                self.key(entry)

    def check_change(self, node: Node, key: Key) -> None:
        """Both authorities signed what is done, it is the next change, and each authority keeps a voter."""
        change, name = self.ordered.seen[key], node.name
        before = self.in_force(self.logs[name], key[0] - 1)
        if not change.steps:
            if before.outgoing is None:
                self.fail("changes follow each other", f"{name} leaves at {key[0]} a configuration that is not joint")
            return
        missing = unsigned_by(self.corridor.genesis, change.note)
        if missing:
            self.fail(
                "membership is changed by all authorities", f"{name} takes {key[0]}, unsigned by {sorted(missing)}"
            )
        if before.outgoing is not None:
            self.fail("changes follow each other", f"{name} takes one at {key[0]} while another is joint")
        if what_is_said(change) != what_is_done(change, before.incoming):
            self.fail("membership is changed by all authorities", f"{name} does at {key[0]} what nobody signed")
        number = sum(1 for each in self.changes_of(self.logs[name], key[0]) if self.ordered.seen[each].steps)
        if change.number != number:
            self.fail("changes follow each other", f"{name} takes change {change.number} as number {number}")
        after = before.after(change, self.corridor.parties)
        gone = before.incoming.authorities() - after.incoming.authorities()
        if gone:
            self.fail("every authority has a voter", f"{name} takes {key[0]}, which leaves {sorted(gone)} without")

    def _may_decide(self, log: OrderLog, index: int) -> Iterator[InForce]:
        """What a leader may have gone by that found an entry of this log committed: the configuration at its place, or
        the next one, which counts from the moment that a leader has it in memory. No leader has one before the last is
        committed: a change itself is committed by what it leads to, and a joint one by both halves.
        """
        before = list(self.changes_of(log, index))
        present = self.ordered.followed(iter(before))
        yield present
        if before and before[-1][0] == index:
            return
        number = 1 + sum(1 for key in before if self.ordered.seen[key].steps)
        for key, change in self.ordered.seen.items():
            fits = change.number == number if change.steps else present.outgoing is not None
            if fits and key not in before:
                yield present.after(change, self.corridor.parties)

    def _check_commit(self, node: Node, log: OrderLog, index: int, entry: tuple[int, bytes]) -> None:
        """A majority and a voter of each authority have it on the disk; in both halves of a joint configuration."""
        holders = self.holders.get((index, *entry), set())
        possible = list(self._may_decide(log, index))
        if not any(each.may_commit(holders) for each in possible):
            detail = f"on the disks of {sorted(holders)} of {possible[0]}"
            self.fail("commit rule", f"entry {index} is committed for {node.name}, {detail}")

    def _committed_change(self, node: Node, key: Key) -> None:
        change = self.ordered.commit(key)
        self.world.note(f"members after {key[0]}: {self.ordered.present}")
        self.world.faults["membership changed" if change.steps else "joint configuration left"] += 1
        self.event("membership", node.name, index=key[0], members=str(self.ordered.present))
        if change.steps:
            self.on_change(change)

    def liar_leads(self) -> bool:
        """Whether somebody who lies may lead: it may name a position that is too old, as docs/adr/0013 says."""
        return any(node.lies for node in self.nodes.values())

    def is_removed(self, name: str) -> bool:
        return name in self.ordered.removed

    # --- the order on the disks -------------------------------------------------------------------------------------

    def writing(self, node: Node, platter: Platter, hard: HardState | None, entries: Any) -> None:
        platter.next_model = OrderBatch(self, node, hard, entries)
        platter.on_synced = lambda: self._synced(node)

    def _synced(self, node: Node) -> None:
        log = self.logs[node.name]
        values = node.disk.platter(node.config.data / "order").values
        if any(batch.entries for batch in log.pending) and b"e" + (log.last + 1).to_bytes(8, "big") in values:
            # Looked for on the disk itself: a restart would take it for its own.
            self.fail("log matching", f"{node.name} keeps entry {log.last + 1}, which was replaced with all behind it")
        for batch in log.pending:
            for key in batch.entries:
                self.holders.setdefault(key, set()).add(node.name)
            if batch.entries:
                last = batch.entries[-1]
                self.event("append", node.name, first=batch.first, last=last[0], term=last[1])
        log.pending.clear()

    def installed(self, node: Node, index: int, term: int, last: int) -> None:
        """The order now begins behind a snapshot."""
        log = self.logs[node.name]
        self.world.note(f"{node.name} order begins behind {index}")
        log.base = index
        agreed = self.committed.get(index)
        if agreed is not None and agreed[0] != term and not node.lies:
            self.fail("snapshots are verified", f"{node.name} takes {index} of term {term}, agreed was {agreed[0]}")
        if last == index:
            log.entries, log.last = {}, index
        log.entries[index] = agreed or (term, b"")
        log.pending.clear()

    def check_log(self, node: Node, entries: list[Key]) -> None:
        """Log matching: an index and a term mean one entry, and one predecessor."""
        log = self.logs[node.name]
        for index, term, digest in entries:
            before = log.entries.get(index - 1, (0, b""))[0]
            known = self._previous.setdefault((index, term), (digest, before))
            if known != (digest, before):
                self.fail("log matching", f"{node.name} has another entry at {index} of term {term}")
            agreed = self.committed.get(index)
            # A leader that is cut off goes on in its own term, and may: what it has there was never agreed.
            if agreed is not None and agreed != (term, digest) and term >= agreed[0] and not node.lies:
                self.fail("committed entries stay", f"{node.name} replaces entry {index} of term {agreed[0]} by {term}")

    def check_cut(self, node: Node, last: int, before: dict[int, tuple[int, bytes]]) -> None:
        acknowledged_in, acknowledged = self._acknowledged.get(node.name, (0, 0))
        for index, entry in before.items():
            if index > last and index <= acknowledged and self.logs[node.name].hard.term == acknowledged_in:
                # A leader never takes back what it has: in its term what it was told stays told.
                self.fail("acknowledged entries stay", f"{node.name} cuts {index}, acknowledged in {acknowledged_in}")
            gone = self.logs[node.name].entries.get(index) != entry
            if gone and self.committed.get(index) == entry and not node.lies:
                self.fail("committed entries stay", f"{node.name} cuts its log before entry {index}")

    def started(self, node: Node) -> None:
        """After every start: nothing that was said is forgotten, and nothing comes back that was replaced."""
        if node.validator is None or node.lies:
            return
        order, log = node.validator.stores.order, self.logs[node.name]
        hard = order.initial_state()[0]
        if order.last_index() != log.last:
            self.fail("log matching", f"{node.name} comes back with {order.last_index()} entries, wrote {log.last}")
        shown = self._shown_term[node.name]
        if hard.term < shown:
            self.fail("terms never go back", f"{node.name} spoke in term {shown} and comes back in {hard.term}")
        vote = self._votes.get((node.name, hard.term))
        if vote is not None and hard.vote != vote:
            self.fail("one vote a term", f"{node.name} voted for {vote} in {hard.term} and remembers {hard.vote}")

    # --- messages ---------------------------------------------------------------------------------------------------

    def sent(self, sender: str, to: str, envelope: peer_pb2.Envelope) -> None:
        node = self.nodes[sender]
        kind = envelope.WhichOneof("body")
        if node.lies:
            if kind == "raft":
                self.highest_commit = max(self.highest_commit, envelope.raft.commit)
            return
        if kind == "raft":
            self._raft(node, to, envelope.raft)
        elif kind == "cosignatures":
            self._cosigned(node, envelope.cosignatures)

    def received(self, sender: str, to: str, envelope: peer_pb2.Envelope) -> None:
        """A lie that its receiver can tell for one: it must keep the proof."""
        node = self.nodes[to]
        if not self.nodes[sender].lies or node.lies or envelope.WhichOneof("body") != "cosignatures":
            return
        message, validator = envelope.cosignatures, node.validator
        if validator is None or validator.halted is not None or node.disk.full or self.lies_told.get(to):
            return
        truth = validator.finality._roots.get(message.size)
        if truth is not None and truth != message.root and self.roots.get(message.size) == truth:
            self.lies_told[to] = message.size
            self.world.faults["lie with evidence"] += 1

    def _check_evidence(self) -> None:
        for name, size in sorted(self.lies_told.items()):
            node = self.nodes[name]
            notes = kept(node, ".note")
            if not notes:
                self.fail("evidence is kept", f"{name} was shown another root of size {size} and has no note of it")
            for path in notes:
                note = parse_note(node.disk.files[path])
                signers = {line.name for line in note.signatures}
                liars = {each.name for each in self.nodes.values() if each.lies}
                authorities = {each.authority for each in self.nodes.values() if each.lies}
                if not signers & (liars | {self.corridor.genesis.origin}) or not authorities:
                    self.fail("evidence is kept", f"{name} holds {sorted(signers)} guilty")
        for why in unconvincing(
            self.nodes.values(), self.corridor, changed=self.world.faults["membership changed"] > 0
        ):
            self.fail("evidence convinces", why)
        self.world.faults["bundle of evidence"] += sum(len(kept(each, ".evidence")) for each in self.nodes.values())

    def _raft(self, node: Node, to: str, raft: peer_pb2.RaftMessage) -> None:
        name, kind, term = node.name, raft.type, raft.term
        log = self.logs[name]
        if kind in _FROM_LEADER:
            leader = self._leaders.get(term)
            if leader is None:
                self._leaders[term] = name
                self.world.note(f"{name} leads term {term}")
                self.event("lead", name, term=term)
                for index, by in sorted(self._committed_by.items()):
                    if by < term and index > log.base and log.entries.get(index) != self.committed[index]:
                        self.fail("leader completeness", f"{name} leads term {term} without committed entry {index}")
                        break
                self._check_elected(node, term)
            elif leader != name:
                self.fail("election safety", f"{leader} and {name} both lead term {term}")
            if raft.commit > self.highest_commit:
                entry = log.entries.get(raft.commit)
                if entry is not None and entry[0] != term:
                    self.fail("commits by its own term", f"{name} in term {term} commits {raft.commit} of {entry[0]}")
                if entry is not None and raft.commit not in self.committed:
                    self._check_commit(node, log, raft.commit, entry)
                self.highest_commit = raft.commit
        if kind in _PRE_VOTES:
            return
        self._shown_term[name] = max(self._shown_term[name], term)
        if kind not in _PROMISES:
            return
        durable = log.durable_hard()
        if durable.term < term:
            self.fail("persist, then answer", f"{name} speaks of term {term}, on its disk is {durable.term}")
        if kind == MessageType.VOTE or (kind == MessageType.VOTE_RESPONSE and not raft.reject):
            candidate = name if kind == MessageType.VOTE else to
            known = self._votes.setdefault((name, term), candidate)
            if known != candidate:
                self.fail("one vote a term", f"{name} votes for {known} and {candidate} in term {term}")
            if durable.term == term and durable.vote != candidate:
                self.fail("persist, then answer", f"{name} votes for {candidate}, on its disk is {durable.vote}")
        if kind == MessageType.APPEND_RESPONSE and not raft.reject and raft.index > log.durable_last():
            self.fail("persist, then answer", f"{name} has entry {raft.index}, on its disk is {log.durable_last()}")
        if kind == MessageType.APPEND_RESPONSE and not raft.reject:
            before = self._acknowledged.get(name, (0, 0))
            self._acknowledged[name] = max(before, (term, raft.index))

    def _check_elected(self, node: Node, term: int) -> None:
        """A majority of those who vote by its own log chose it, in both halves of a joint configuration."""
        log, name = self.logs[node.name], node.name
        granted = {voter for (voter, when), candidate in self._votes.items() if when == term and candidate == name}
        granted |= {each.name for each in self.nodes.values() if each.lies}
        present = self.in_force(log, log.last, before_term=term)
        if not present.majority(granted):
            self.fail("elected by a majority", f"{name} leads term {term}, chosen by {sorted(granted)} of {present}")

    def _cosigned(self, node: Node, message: peer_pb2.Cosignatures) -> None:
        name, size, root = node.name, message.size, message.root
        known = self.roots.get(size)
        if known is not None and known != root:
            self.fail("cosigned checkpoints are consistent", f"{name} sends another root of size {size}")
        for line in message.lines:
            if line.name != name:
                continue
            fact = (root, line.signature)
            if self._signed.setdefault((name, size), fact) != fact:
                self.fail("one signature a size", f"{name} signed size {size} twice")
            data = _durable(node, INTENT_KEY)
            if data is None or Intent.decode(data).size < size:
                self.fail("persist, then sign", f"{name} signed size {size}, which is not on its disk")

    # --- execution --------------------------------------------------------------------------------------------------

    def executed(self, node: Node, index: int, payload: bytes, done: Any) -> None:
        if node.lies:
            return
        name = node.name
        self.executed_blocks += 1
        expected = self._applied.get(name)
        if expected is not None and index != expected + 1:
            self.fail("executed in order", f"{name} executes {index} after {expected}")
        self._applied[name] = index
        self._check_committed(node, index, payload)
        if done.checkpoint is not None:
            self._check_block(node, index, done)
        for raw, result in done.results:
            if isinstance(result, Accepted):
                self._accepted(node, raw, result)

    def _check_committed(self, node: Node, index: int, payload: bytes) -> None:
        log = self.logs[node.name]
        entry = log.entries.get(index)
        if entry is None or (payload and entry[1] != digest_of(int(EntryType.NORMAL), payload)):
            self.fail("state machine safety", f"{node.name} executes at {index} what is not in its order")
            return
        known = self.committed.get(index)
        if known is not None:
            if known != entry:
                self.fail("state machine safety", f"{node.name} executes another entry at {index}")
            self.event("execute", node.name, index=index, term=entry[0])
            return
        self.committed[index] = entry
        self._committed_by[index] = max([log.hard.term, *self._leaders])
        self._check_commit(node, log, index, entry)
        key = (index, *entry)
        if key in self.ordered.seen:
            self._committed_change(node, key)
        self.event("execute", node.name, index=index, term=entry[0])

    def _check_block(self, node: Node, index: int, done: Any) -> None:
        name, checkpoint = node.name, done.checkpoint
        if self.roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
            self.fail("one ledger", f"{name} has another root at size {checkpoint.size}")
        if self._times.setdefault(done.height, done.time_ms) != done.time_ms:
            self.fail("one ledger", f"{name} has another time at height {done.height}")
        if done.time_ms < self._times.get(done.height - 1, 0):
            self.fail("block time never goes back", f"height {done.height} of {name} is dated {done.time_ms}")
        self.world.note(f"{name} block {done.height} size {checkpoint.size} {checkpoint.root.hex()[:16]}")
        if done.signed is not None:
            self.event("cosign", name, size=checkpoint.size, root=checkpoint.root.hex())
            validator = node.validator
            ahead_ms = done.time_ms - validator.clock.now_ms() if validator is not None else 0
            if ahead_ms > SIGN_AHEAD_MAX_MS:
                self.fail("nothing from the future is signed", f"{name} signs a block {ahead_ms} ms ahead")

    def _accepted(self, node: Node, raw: bytes, result: Accepted) -> None:
        statement = self.valid.get(raw)
        if statement is None:
            self.fail("only what was signed is accepted", f"{node.name} accepts a forgery at {result.index}")
            return
        if self.places.setdefault(raw, result.index) != result.index:
            self.fail("nothing twice", f"{node.name} has a statement at {self.places[raw]} and {result.index}")
        if self._ctis.setdefault((statement.iss, statement.cti), raw) != raw:
            self.fail("nothing twice", f"{node.name} accepts two statements with one cti")

    def crashed(self, node: Node) -> None:
        self._applied.pop(node.name, None)

    # --- finality ---------------------------------------------------------------------------------------------------

    def final(self, node: Node, size: int, note: bytes) -> None:
        if node.lies or note in self._notes:
            return
        self._notes.add(note)
        self.world.note(f"{node.name} final {size}")
        self.event("final", node.name, size=size)
        parsed = parse_note(note)
        names = {line.name for line in parsed.signatures}
        why = "nobody voted"
        for voters in self._voters_at_most(node):
            missing = {self.corridor.parties[name] for name in voters} - {
                self.corridor.parties[name] for name in voters & names
            }
            if missing:
                why = f"nobody of {sorted(missing)}"
                continue
            try:
                for authority in self.corridor.authorities:
                    result = self.corridor.policy(authority, frozenset(voters)).check(parsed)
                    result.check()
            except LedgerError as error:
                why = str(error)
                continue
            if self.roots.get(result.checkpoint.size, result.checkpoint.root) != result.checkpoint.root:
                self.fail("cosigned checkpoints are consistent", f"{node.name} has a final note of another root")
            return
        self.fail("final means cosigned by both", f"{node.name} at {size}, signed by {sorted(names)}: {why}")

    def _voters_at_most(self, node: Node) -> Iterator[set[str]]:
        """Who voted at some time, from the newest that may be committed back to genesis."""
        log = self.logs[node.name]
        for key in reversed(list(self.changes_of(log, log.last))):
            if any(each.may_commit(self.holders.get(key, set())) for each in self._may_decide(log, key[0])):
                present = self.in_force(log, key[0])
                if present.outgoing is None:
                    yield present.incoming.of("voter")
        for members in reversed(self.ordered.registers):
            yield members.of("voter")

    # --- clients ----------------------------------------------------------------------------------------------------

    def asked(self, raw: bytes, statement: Statement | None) -> None:
        """A client is about to send this; `statement` if it is one that may be accepted."""
        self.first_asked_us.setdefault(raw, self.world.now_us)
        if statement is not None:
            self.valid[raw] = statement

    def answered(self, raw: bytes, index: int) -> None:
        self.answers.append(Answer(raw, index, self.world.now_us))
        if raw not in self.valid:
            self.fail("only what was signed is accepted", "a forgery was acknowledged")
        elif self.places.get(raw, index) != index:
            self.fail("nothing acknowledged is lost", f"acknowledged at {index}, executed at {self.places[raw]}")

    # --- the end ----------------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """What everybody has, once the network has healed."""
        longest: list[bytes] = []
        for node in self.nodes.values():
            if node.validator is None or node.lies:
                continue
            try:
                entries = self._ledger(node, node.validator.chain)
            except UnknownDurableState as error:
                # A bit was turned over, and nobody has read that record since: it says so rather than give it out.
                if not any(platter.flipped for platter in node.disk.platters.values()):
                    self.fail("nobody gives up without cause", f"{node.name} cannot be read at the end: {error}")
                continue
            shared = min(len(entries), len(longest))
            if entries[:shared] != longest[:shared]:
                self.fail("one ledger", f"{node.name} has other entries")
            longest = max(entries, longest, key=len)
        at = {raw: index for index, raw in enumerate(longest)}
        for answer in self.answers:
            if at.get(answer.raw) != answer.index:
                self.fail(
                    "nothing acknowledged is lost", f"acknowledged at {answer.index}, found at {at.get(answer.raw)}"
                )
        self._check_real_time()
        self._check_evidence()

    def _ledger(self, node: Node, chain: Chain) -> list[bytes]:
        entries = list(chain.entries(0, chain.size))
        if _merkle_root(entries) != chain.root:
            self.fail("one ledger", f"{node.name}: the root is not that of the entries")
        statements = [raw for raw in entries[1:] if raw in self.valid]
        if len(set(statements)) != len(statements):
            self.fail("nothing twice", f"{node.name} has a statement twice")
        return entries

    def _check_real_time(self) -> None:
        """What was first asked for after an answer had come is ordered behind what was answered."""
        ended: dict[bytes, Answer] = {}
        for answer in self.answers:
            ended.setdefault(answer.raw, answer)
        ends = list(ended.values())
        newest, position = -1, 0
        for answer in sorted(ends, key=lambda answer: self.first_asked_us[answer.raw]):
            while position < len(ends) and ends[position].end_us < self.first_asked_us[answer.raw]:
                newest = max(newest, ends[position].index)
                position += 1
            if answer.index < newest:
                self.fail("order respects real time", f"{answer.index} was asked for after {newest} was answered")


def _merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, level by level."""
    hashes = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(hashes) > 1:
        odd = [hashes[-1]] if len(hashes) % 2 else []
        pairs = zip(hashes[0::2], hashes[1::2], strict=False)
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return hashes[0]


def _durable(node: Node, key: bytes) -> bytes | None:
    """What would be there if the power went now."""
    platter = node.disk.platters.get(node.config.data / "ledger")
    if platter is None:
        return None
    for batch in platter.unsynced:
        if key in batch.before:
            record = batch.before[key]
            break
    else:
        record = platter.values.get(key)
    return record[:-CHECKSUM_BYTES] if record is not None else None

"""A change of the membership, from the note that an operator hands in to its effect on every part of this validator.

`Changes` takes a signed change, has the leader propose it, and waits for what becomes of it; and when the register that
is in force has changed, by whatever way, it tells the transport whom to connect to and whom to believe, finality whose
cosignatures count, and the order whether we lead. Being removed ends the process (`on_removed`), once the others have
been told what they need from us.

Handing the same note in again gives the same answer: a change happens once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from api.proto import validator_pb2
from consensus import ChangeRefused, ProposalDropped
from ledger.errors import LedgerError, Malformed, Untrue
from ledger.membership import MAX_CHANGE_BYTES, Change, Verb, split_change, verify_change
from nodes.config import PeerEntry
from nodes.membership import Roster, change_of
from nodes.participation import Participation
from nodes.proto import peer_pb2
from nodes.versions import Feature, NotSpokenByAll

if TYPE_CHECKING:
    from nodes.validator import Validator

# The leader answers at once, so this is a leader that is gone, or that has just changed.
ANSWER_TIMEOUT_S = 3.0
# Then the change has to be committed, and a joint one left.
COMMIT_TIMEOUT_S = 8.0
# Who is removed stays so long, for the others to hear from it that the change is committed.
REMOVED_GRACE_S = 2.0
# Who has left stays connected so long; later it hears when it asks.
LEAVING_S = 5.0
MAX_WAITING = 16


class State(Enum):
    """What became of a change that was handed in."""

    COMMITTED = "committed"
    # Proposed, and not committed yet as far as is known here: ask again.
    PROPOSED = "proposed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    state: State
    number: int
    code: str = ""
    detail: str = ""


def _refused(number: int, code: str, detail: str) -> Outcome:
    return Outcome(State.REFUSED, number, code, detail)


class Changes:
    """See the module. Belongs to the event loop."""

    def __init__(
        self, validator: Validator, roster: Roster, participation: Participation, *, on_removed: Callable[[str], None]
    ) -> None:
        self._validator = validator
        self._roster = roster
        self._participation = participation
        self._on_removed = on_removed
        self._removed = False
        self._waiting = 0
        self._answers: dict[bytes, asyncio.Future[peer_pb2.MembershipAnswer]] = {}
        self._changed = asyncio.Event()
        self._connected: dict[str, PeerEntry] = {}
        self._leaving: dict[str, PeerEntry] = {}
        # What each peer said last that it had executed.
        self._sizes: dict[str, int] = {}
        self._log = structlog.get_logger().bind(part="membership")

    # --- what follows from the register ------------------------------------------------------------------------------

    def take_effect(self) -> None:
        """The register in force, or how far it is committed, may be another: tell everybody here."""
        validator, part = self._validator, self._participation
        validator.transport.set_peers(self._peers(), part.callers(), part.cas())
        policy = part.policy()
        validator.finality.set_voters(self._roster.voters().values(), policy)
        validator.divergences.set_policy(policy)
        validator.snapshots.set_voters(part.voices())
        validator.ordering.set_passive(passive=validator.halted is not None or not part.orders())
        self._changed.set()
        self._changed = asyncio.Event()
        why = part.removed()
        if why is not None and not self._removed:
            self._removed = True
            self._log.error("removed", reason=why)
            asyncio.get_running_loop().call_later(REMOVED_GRACE_S, self._on_removed, why)

    def _peers(self) -> list[PeerEntry]:
        """Whom to connect to: who left stays for a moment, to hear that it is final."""
        wanted = {peer.name: peer for peer in self._participation.peers()}
        for name, peer in self._connected.items():
            if name not in wanted and name not in self._leaving:
                self._leaving[name] = peer
                asyncio.get_running_loop().call_later(LEAVING_S, self._gone, name)
        self._connected = wanted
        return [*wanted.values(), *(peer for name, peer in self._leaving.items() if name not in wanted)]

    def _gone(self, name: str) -> None:
        del self._leaving[name]
        self.take_effect()

    def in_force(self) -> None:
        """As `take_effect`, when the order has just said that something changed."""
        register = self._roster.register
        self._log.info(
            "membership_in_force",
            number=register.number,
            index=self._roster.index,
            members=[f"{member.name} {member.role.value}" for member in self._roster.members().values()],
            joint=self._roster.joint,
            own=self._participation.in_words(),
        )
        self.take_effect()

    # --- a change is handed in ---------------------------------------------------------------------------------------

    async def submit(self, note: bytes) -> Outcome:
        """Have a signed change ordered, and wait for that. Any validator takes it."""
        number = 0
        try:
            change, _ = split_change(note[: MAX_CHANGE_BYTES + 1])
            number = change.number
            # By the keys of the register that it applies to: they may have changed since, and by it.
            applies_to = self._roster.knows(number - 1) or self._roster.register
            verify_change(applies_to, note)
            if self._roster.register.number < number:
                self._roster.register.after(change)
        except (Malformed, Untrue) as error:
            return _refused(number, error.code, str(error.args[0]))
        if self._waiting >= MAX_WAITING:
            return _refused(number, "overloaded", f"{self._waiting} changes are being waited for: hand it in again")
        self._waiting += 1
        try:
            if self._roster.register.number < number:
                refused = await self._hand_over(change, note)
                if refused is not None:
                    return refused
            return await self._await_commit(change, note)
        finally:
            self._waiting -= 1

    async def _hand_over(self, change: Change, note: bytes) -> Outcome | None:
        """To whoever leads. None if it is proposed."""
        ordering = self._validator.ordering
        if ordering.leading:
            answer = self._propose(note)
        else:
            digest = sha256(note).digest()
            if len(self._answers) >= MAX_WAITING or digest in self._answers:
                return _refused(change.number, "overloaded", "the same change, or too many others, are being handed in")
            envelope = peer_pb2.Envelope(membership_change=peer_pb2.MembershipChange(note=note))
            leader = ordering.leader
            if leader is None or not self._validator.transport.send(leader, envelope):
                return _refused(change.number, "no_leader", "nobody leads at the moment: hand it in again")
            future = self._answers[digest] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    answer = await future
            except TimeoutError:
                return None  # it may have been proposed all the same: see whether it comes
            finally:
                del self._answers[digest]
        return _refused(change.number, answer.refused, answer.detail) if answer.refused else None

    async def _await_commit(self, change: Change, note: bytes) -> Outcome:
        roster = self._roster
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                while roster.committed.number < change.number or roster.joint:
                    await self._changed.wait()
        if roster.committed.number < change.number:
            missing = self._validator.missing_authorities()
            because = f": {', '.join(missing)} cannot be reached" if missing else ""
            return Outcome(State.PROPOSED, change.number, detail=f"not committed yet{because}; hand it in again to ask")
        if roster.notes(change.number - 1)[0] != note:
            return _refused(change.number, "out_of_turn", f"change {change.number} is another one: propose anew")
        if roster.joint:
            return Outcome(State.PROPOSED, change.number, detail="committed, and the old members still have a say")
        return Outcome(State.COMMITTED, change.number)

    def _propose(self, note: bytes) -> peer_pb2.MembershipAnswer:
        """As the leader. What is wrong with the change, and what is not as it has to be, is in the answer."""
        answer = peer_pb2.MembershipAnswer(change=sha256(note).digest())
        register = self._roster.register
        try:
            change, _ = split_change(note)
            if register.number >= change.number:
                return answer  # the sender will see whether it is this one
            verify_change(register, note)
            proposal = change_of(register, change, note)
            # Somebody who is about to leave holds nothing back, and who comes has not spoken yet.
            leaving = [step.name for step in change.steps if step.verb is Verb.REMOVE]
            silent = [name for name in self._roster.members() if self._validator.versions.said(name) is None]
            self._validator.versions.require(Feature.MEMBERSHIP_CHANGES, leaving=[*leaving, *silent])
            if any(step.signer is not None for step in change.steps):
                self._validator.versions.require(Feature.REGISTRAR_KEYS, leaving=[*leaving, *silent])
            self._validator.ordering.propose_change(proposal)
        except (Malformed, Untrue) as error:
            answer.refused, answer.detail = error.code, str(error.args[0])
        except ChangeRefused as error:
            answer.refused, answer.detail = error.code, str(error.args[0]).removeprefix(f"{error.code}: ")
        except ProposalDropped as error:
            answer.refused = error.reason.value
            answer.detail = f"{error}: hand it in again"
        except NotSpokenByAll as error:
            answer.refused, answer.detail = "not_spoken_by_all", str(error)
        return answer

    # --- peers -------------------------------------------------------------------------------------------------------

    def take(self, peer: str, envelope: peer_pb2.Envelope) -> None:
        """A message about the membership."""
        kind = envelope.WhichOneof("body")
        if kind == "membership_notes":
            self.learn(peer, list(envelope.membership_notes.notes))
        elif kind == "membership_change" and self._validator.ordering.leading:
            answer = self._propose(envelope.membership_change.note)
            self._validator.transport.send(peer, peer_pb2.Envelope(membership_answer=answer))
        elif kind == "membership_answer" and peer == self._validator.ordering.leader:
            future = self._answers.get(envelope.membership_answer.change)
            if future is not None and not future.done():
                future.set_result(envelope.membership_answer)

    def tell(self, peer: str, number: int) -> None:
        """A peer knows of so many changes: show it those that it lacks."""
        notes = self._roster.notes(number)
        if notes:
            message = peer_pb2.MembershipNotes(notes=notes)
            self._validator.transport.send(peer, peer_pb2.Envelope(membership_notes=message))

    def learn(self, peer: str, notes: list[bytes]) -> None:
        """A peer shows us changes that we lack."""
        try:
            if self._roster.learn(notes, peer):
                self._log.info("membership_learnt", peer=peer, number=self._roster.newest_number)
                self.take_effect()
        except LedgerError as error:
            self._log.warning("membership_notes_refused", peer=peer, reason=str(error))

    # --- in words ----------------------------------------------------------------------------------------------------

    def heard(self, peer: str, executed_size: int) -> None:
        """How far a peer says it is."""
        self._sizes[peer] = executed_size

    def report(self) -> validator_pb2.Membership:
        """Who belongs to the order, and how far each is."""
        validator, roster = self._validator, self._roster
        register, size = roster.register, validator.chain.size
        reachable, leader = validator.reachable(), validator.ordering.leader
        members = []
        for member in sorted(roster.members().values(), key=lambda each: (each.party, each.role.value, each.name)):
            theirs = size if member.name == validator.config.name else self._sizes.get(member.name, 0)
            members.append(
                validator_pb2.MemberStatus(
                    name=member.name,
                    party=member.party,
                    role=member.role.value,
                    address=member.address,
                    reachable=member.name in reachable,
                    leader=member.name == leader,
                    size=theirs,
                    behind=max(0, size - theirs),
                )
            )
        return validator_pb2.Membership(
            number=register.number,
            digest=register.digest,
            text=register.text(),
            committed=roster.committed.number == register.number,
            joint=roster.joint,
            members=members,
            changes=roster.notes(0),
            own=self._participation.in_words(),
        )

"""Who belongs to the order, on one validator: the register as the log has it, and what follows from it.

A change of the membership is an entry of the order that carries the note which all authorities' registrars signed
(`ledger.membership`). It is in force as soon as it is *appended* (thesis section 4.1), and no longer once it is cut
off again. `Roster` follows the log entry by entry, so that the register that a change applies to is the one at its
place in the log, whatever a leader says.

Promises: no entry is taken whose note is not signed by all authorities, is for another place in the log, or says other
things than the steps that consensus is given. What is committed is written down, synced, before anything after it is
executed: the log may forget it from then on. From these records, and the changes still in the log, a restart derives
the same registers. The notes prove themselves, so they are also taken from any peer (`learn`): by them a validator
that was away for long knows who may connect, and one that was removed learns why nobody talks to it.

That all have signed a change does not say that it was ever ordered: two may have been signed for one place, and one of
them lost. What peers show is therefore for connecting to whom it names. It counts as committed, and ends a validator
that it removes, once a member of *every* authority has shown it: one of them tells the truth. Where two show different
changes of one number, the one that more authorities show is gone by.

Records, in the store of the order: `m/` + number (8 bytes, big-endian): index in the order, note. Index 0: not in our
order yet, shown by a peer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import consensus
from consensus import (
    Action,
    ChangeRefused,
    Configuration,
    ConfigurationChange,
    Entry,
    EntryType,
    Membership,
    MessageRefused,
    decode_change,
)
from ledger import cbor
from ledger.entry import Genesis
from ledger.errors import LedgerError, UnknownDurableState, Untrue
from ledger.membership import (
    MAX_CHANGE_BYTES,
    MAX_NUMBER,
    Change,
    Member,
    Register,
    Role,
    Verb,
    split_change,
    verify_change,
)
from ledger.store import Store
from nodes.certificates import certificate_pem

_RECORD = b"m/"
_NUMBER_BYTES = 8
MAX_RECORD_BYTES = MAX_CHANGE_BYTES + 64
# Notes handed out at once: all that there can be, as long as they fit a message.
MAX_NOTES_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Placed:
    """A register and the entry of the order that brought it."""

    index: int
    register: Register
    note: bytes


def configuration_of(register: Register) -> Configuration:
    """The register as consensus knows it."""
    return Configuration(
        {member.name: member.party for member in register.of(Role.VOTER)},
        frozenset(member.name for member in register.of(Role.WITNESS)),
        frozenset(member.name for member in register.of(Role.OBSERVER)),
    )


def steps_of(register: Register, change: Change) -> tuple[consensus.Step, ...]:
    """The steps of a change as consensus takes them."""
    steps = []
    after = register.after(change)
    for step in change.steps:
        if step.signer is not None:
            continue  # who signs is nothing to the order
        if step.verb is Verb.REMOVE:
            steps.append(consensus.Step(Action.REMOVE, step.name, None))
            continue
        member = after.members[step.name]
        action = {Role.VOTER: Action.ADD_VOTER, Role.WITNESS: Action.ADD_WITNESS, Role.OBSERVER: Action.ADD_LEARNER}
        neutral = member.party not in register.authorities
        steps.append(consensus.Step(action[member.role], member.name, None if neutral else member.party))
    return tuple(steps)


def change_of(register: Register, change: Change, note: bytes) -> ConfigurationChange:
    """What the leader proposes for a signed change."""
    return ConfigurationChange(steps_of(register, change), note)


def _check_certificates(change: Change) -> None:
    """The CA of a neutral party is one: TLS is to believe it."""
    for step in change.steps:
        if step.member is not None and step.member.ca_certificate:
            try:
                certificate_pem(step.member.ca_certificate)
            except ValueError as error:
                raise Untrue("bad_certificate", f"CA of {step.member.party} is no certificate: {error}") from error


class Roster:
    """See the module. Belongs to the event loop."""

    def __init__(self, genesis: Genesis, store: Store) -> None:
        """Reads the records of what is known; `replay` then follows the log. Raises UnknownDurableState."""
        self._store = store
        self._placed = [_Placed(0, Register.of_genesis(genesis), b"")]
        # Changes beyond the committed ones that peers showed us: there they are committed.
        self._hints: list[_Placed] = []
        for number, index, note in self._read_records():
            before = self._hints[-1] if self._hints else self._placed[-1]
            try:
                register = before.register.after(verify_change(before.register, note))
            except LedgerError as error:
                raise UnknownDurableState(f"record of membership change {number} does not hold: {error}") from error
            if index and self._hints:
                raise UnknownDurableState(f"record of membership change {number} follows one without a place")
            (self._placed if index else self._hints).append(_Placed(index, register, note))
        self._recorded = len(self._placed) - 1
        # What each peer showed beyond what is committed here, since the start: the notes from that number on.
        self._shown: dict[str, tuple[int, tuple[bytes, ...]]] = {}
        self._verified_notes: dict[tuple[bytes, bytes], Change] = {}
        # So many of the hints a member of every authority has shown.
        self._vouched = 0
        # Registers that an append leads to while consensus decides whether to take it.
        self._offered: dict[bytes, Register] = {}
        self._joint = False

    def _read_records(self) -> Iterable[tuple[int, int, bytes]]:
        for expected, (key, value) in enumerate(self._store.iterate(_RECORD, _RECORD + b"\xff"), 1):
            number = int.from_bytes(key[len(_RECORD) :], "big")
            try:
                found = cbor.decode(value, max_bytes=MAX_RECORD_BYTES)
            except LedgerError as error:
                raise UnknownDurableState(f"record of membership change {number} cannot be read: {error}") from error
            index = found.get("index") if isinstance(found, dict) else None
            note = found.get("note") if isinstance(found, dict) else None
            if number != expected or not isinstance(index, int) or not isinstance(note, bytes):
                raise UnknownDurableState(f"record of membership change {expected} is missing or has a wrong shape")
            yield number, index, note

    @property
    def joint(self) -> bool:
        """Whether the members of before still have a say."""
        return self._joint

    @property
    def newest_number(self) -> int:
        """The number of the newest change that is known here, in the log or from a peer."""
        return max(self.register.number, self._hints[-1].register.number if self._hints else 0)

    # --- who ---------------------------------------------------------------------------------------------------------

    @property
    def register(self) -> Register:
        """The register in force: the newest in the log, committed or not."""
        return self._placed[-1].register

    @property
    def committed(self) -> Register:
        """The newest register that cannot be taken back."""
        return self._placed[self._recorded].register

    @property
    def index(self) -> int:
        """Where in the order the register in force came about."""
        return self._placed[-1].index

    @property
    def note(self) -> bytes:
        """The signed change that led to the register in force; empty at genesis."""
        return self._placed[-1].note

    def members(self) -> dict[str, Member]:
        """All that take part: during a joint change those of both sides, as they are in the newer."""
        found = dict(self.register.members)
        if self._joint and len(self._placed) > 1:
            found = {**self._placed[-2].register.members, **found}
        return found

    def voters(self) -> dict[str, Member]:
        """Those whose cosignatures count: the voters of the authorities in one register, whose change is committed, and
        that of before until a joint change is left.

        What was final by a change that is cut off again, or by one authority's new voter and the other's old one, would
        be so by no register that there is, and by no policy file.
        """
        joint = self._joint and 0 < self._recorded == len(self._placed) - 1
        register = self._placed[-2].register if joint else self.committed
        return {member.name: member for member in register.of(Role.VOTER)}

    def known(self) -> dict[str, Member]:
        """Whom to connect to: the members, and those that a peer has shown us notes of."""
        return {**(self._hints[-1].register.members if self._hints else {}), **self.members()}

    def former(self) -> dict[str, Member]:
        """Everybody who ever was a member, as they last were: they may still ask what has become of them."""
        found: dict[str, Member] = {}
        for placed in (*self._placed, *self._hints):
            found |= placed.register.members
        return found

    def was_member(self, name: str, index: int) -> bool:
        """Whether somebody had been admitted when the entry at `index` was ordered.

        A leader that is being removed orders until its removal is committed, so who left is not asked. The same
        everywhere: the log before an entry is the same for everybody.
        """
        return any(name in placed.register.members for placed in self._placed if placed.index < index)

    def observer_since(self, name: str) -> int | None:
        """Where in the order somebody came in who is an observer and has never been more; None for all others."""
        since = None
        for placed in self._placed:
            member = placed.register.members.get(name)
            if member is not None:
                if member.role is not Role.OBSERVER:
                    return None
                since = placed.index if since is None else since
        return since if name in self.register.members else None

    def registers(self) -> list[Register]:
        """All registers from genesis to the newest that is known: in the log, then what a peer has shown."""
        return [placed.register for placed in (*self._placed, *self._hints)]

    def notes(self, after: int) -> list[bytes]:
        """The committed changes beyond a number, oldest first."""
        notes, size = [], 0
        for placed in self._placed[after + 1 : self._recorded + 1]:
            size += len(placed.note)
            if size > MAX_NOTES_BYTES:
                break
            notes.append(placed.note)
        return notes

    def removed(self, name: str) -> int | None:
        """The number of the change by which a member left for good, committed here or, as a member of every authority
        says, there; None if none.
        """
        for placed in (*self._placed[: self._recorded + 1], *self._hints[: self._vouched]):
            if name in placed.register.retired:
                return placed.register.number
        return None

    def knows(self, number: int) -> Register | None:
        """The register after so many changes, in the log or shown by a peer."""
        for placed in (*self._hints, *self._placed):
            if placed.register.number == number:
                return placed.register
        return None

    # --- the log -----------------------------------------------------------------------------------------------------

    def anchor(self, index: int, number: int) -> None:
        """The order begins behind `index`, where so many changes had been made: a snapshot took the place of the rest.

        Raises UnknownDurableState, StoreUnavailable.
        """
        if number <= self._recorded:
            return
        moved = [hint for hint in self._hints if hint.register.number <= number]
        if self._recorded + len(moved) != number:
            raise UnknownDurableState(f"{number} changes of the membership were made by {index}, not all are on record")
        for hint in moved:
            self._placed.insert(self._recorded + 1, _Placed(index, hint.register, hint.note))
            self._recorded += 1
        del self._placed[self._recorded + 1 :]
        self._hints = self._hints[len(moved) :]
        self._store.write(
            {self._key(placed.register.number): self._value(placed) for placed in self._placed[-len(moved) :]},
            sync=True,
        )

    @staticmethod
    def _key(number: int) -> bytes:
        return _RECORD + number.to_bytes(_NUMBER_BYTES, "big")

    @staticmethod
    def _value(placed: _Placed) -> bytes:
        return cbor.encode({"index": placed.index, "note": placed.note})

    def replay(self, first_index: int, membership: Membership, entries: Iterable[Entry]) -> None:
        """Follow what the log on disk holds: `membership` is that of its base, `entries` its changes, in order.

        Raises UnknownDurableState where records and log contradict each other.
        """
        base = next((placed for placed in reversed(self._placed) if placed.index < first_index), self._placed[0])
        if base is not None and configuration_of(base.register) != membership.incoming:
            raise UnknownDurableState(
                f"the order begins at {first_index} with the members {sorted(membership.members)}, "
                f"the records say {sorted(base.register.members)}"
            )
        for entry in entries:
            if entry.index > self._placed[-1].index:
                self._append(entry, UnknownDurableState)
            elif not any(entry.index == placed.index for placed in self._placed) and decode_change(entry.data).steps:
                raise UnknownDurableState(
                    f"the order has a change of the membership at {entry.index}, the records none"
                )

    def _append(self, entry: Entry, refuse: type[Exception]) -> None:
        change = decode_change(entry.data)
        if change.steps:
            try:
                register = self._verified(self._placed[-1].register, change)
            except (LedgerError, ChangeRefused) as error:
                raise refuse(f"change of the membership at {entry.index}: {error}") from error
            self._placed.append(_Placed(entry.index, register, change.authorisation))

    def _verified(self, register: Register, change: ConfigurationChange) -> Register:
        document = verify_change(register, change.authorisation)
        after = register.after(document)
        _check_certificates(document)
        if steps_of(register, document) != change.steps:
            raise ChangeRefused("other_steps", "the steps are not those that were signed")
        return after

    def at(self, index: int) -> Register:
        """The register after the entry at `index`."""
        return next(placed.register for placed in reversed(self._placed) if placed.index <= index or not placed.index)

    def offered(self, index: int, entries: Sequence[Entry]) -> None:
        """A leader offers entries after `index`: see whether the changes among them are for their place in the log.

        Raises MessageRefused. To be asked before consensus is, and only where our log goes on from `index`.
        """
        self._offered.clear()
        changes = [entry for entry in entries if entry.type is EntryType.CONFIGURATION]
        if not changes:
            return
        register = self.at(index)
        for entry in changes:
            # What is committed is not taken again, and consensus compares it with what is there.
            if entry.index <= self._placed[self._recorded].index:
                register = self.at(entry.index)
                continue
            try:
                change = decode_change(entry.data)
                if change.steps:
                    register = self._verified(register, change)
            except (LedgerError, ChangeRefused) as error:
                raise MessageRefused("membership_refused", f"change at {entry.index}: {error}") from error
            self._offered[register.digest] = register

    def authorise(self, change: ConfigurationChange, membership: Membership) -> None:
        """What consensus asks of a change, as leader and as follower. Raises MessageRefused."""
        try:
            document, _ = split_change(change.authorisation)
            register = self._offered.get(document.present)
            if register is None:
                register = next(
                    (placed.register for placed in self._placed if placed.register.digest == document.present), None
                )
            if register is None:
                raise ChangeRefused("out_of_turn", "the change is for a membership that was never in force here")
            if membership.outgoing is not None or configuration_of(register) != membership.incoming:
                raise ChangeRefused("out_of_turn", "the change is for another membership than the one in force")
            self._verified(register, change)
        except (LedgerError, ChangeRefused) as error:
            raise MessageRefused("membership_refused", str(error)) from error

    def appended(self, entries: Sequence[Entry]) -> bool:
        """Entries on their way to our disk; they replace all from the first on. Whether the register changed."""
        if not entries:
            return False
        before = self._placed[-1]
        while self._placed[-1].index >= entries[0].index and len(self._placed) - 1 > self._recorded:
            self._placed.pop()
        for entry in entries:
            if entry.type is EntryType.CONFIGURATION and entry.index > self._placed[-1].index:
                self._append(entry, UnknownDurableState)
        return self._placed[-1] is not before

    def in_force(self, membership: Membership) -> None:
        """What consensus says is in force: whether the change is still joint."""
        self._joint = membership.outgoing is not None

    def record(self, index: int) -> bool:
        """The order is committed up to `index`: write down what became final by that. Whether anything did.

        Raises StoreUnavailable: nothing was written, try again before anything later is executed.
        """
        done = self._recorded
        batch: dict[bytes, bytes | None] = {}
        while done + 1 < len(self._placed) and self._placed[done + 1].index <= index:
            done += 1
            batch[self._key(done)] = self._value(self._placed[done])
        if not batch:
            return False
        if any(hint.note != self._placed[number].note for number, hint in self._numbered_hints() if number <= done):
            batch |= {self._key(number): None for number, _ in self._numbered_hints() if number > done}
        self._store.write(batch, sync=True)
        self._recorded = done
        # Two changes of one number may both have been signed; the order has decided, and shown is not ordered.
        if any(hint.note != self._placed[number].note for number, hint in self._numbered_hints() if number <= done):
            self._hints.clear()
        self._hints = [hint for number, hint in self._numbered_hints() if number > done]
        self._count_vouched()
        return True

    def _numbered_hints(self) -> list[tuple[int, _Placed]]:
        return [(hint.register.number, hint) for hint in self._hints]

    # --- from peers --------------------------------------------------------------------------------------------------

    def learn(self, notes: Sequence[bytes], peer: str = "") -> bool:
        """Notes that a peer showed us, from the first that we lack on; of nobody, what our folder came with. Whether
        they told anything new.

        Raises LedgerError where they do not hold, or the disk cannot be written; nothing is kept of them then.
        """
        shown = (self._recorded, tuple(notes[:MAX_NUMBER]))
        if not notes or self._shown.get(peer) == shown:
            return False  # and nothing is verified for whoever shows the same again and again
        register = self.committed
        for note in shown[1]:
            register = register.after(self._verify(register, note))
        before, vouched = [hint.note for hint in self._hints], self._vouched
        self._shown[peer] = shown
        hints = self._best()
        if [hint.note for hint in hints] != before:
            # Synced: a snapshot may rest on these, and is opened before anybody could show them again.
            batch: dict[bytes, bytes | None] = {self._key(hint.register.number): None for hint in self._hints}
            batch |= {self._key(hint.register.number): self._value(hint) for hint in hints}
            self._store.write(batch, sync=True)
            self._hints = hints
        self._count_vouched()
        return [hint.note for hint in self._hints] != before or self._vouched != vouched

    def _verify(self, register: Register, note: bytes) -> Change:
        """Verified once for a register, whoever shows it: there are no more than the registrars have signed."""
        key = (register.digest, note)
        change = self._verified_notes.get(key)
        if change is None:
            change = verify_change(register, note)
            _check_certificates(change)
            self._verified_notes[key] = change
        return change

    def _tellers(self) -> list[tuple[str, int, tuple[bytes, ...]]]:
        """Whose each peer is that has shown us something, and what: from which number on."""
        members = {**self.former(), **self.known()}
        return [
            (members[peer].party if peer in members else "", after, notes)
            for peer, (after, notes) in self._shown.items()
        ]

    def _support(self, number: int, note: bytes, tellers: list[tuple[str, int, tuple[bytes, ...]]]) -> int:
        """The authorities of which a member has shown this as the change of that number, counted."""
        found = {
            party
            for party, after, notes in tellers
            if after < number <= after + len(notes) and notes[number - after - 1] == note
        }
        return len(found.intersection(self.committed.authorities))

    def _count_vouched(self) -> None:
        tellers, everybody = self._tellers(), len(self.committed.authorities)
        self._vouched = 0
        for hint in self._hints:
            if self._support(hint.register.number, hint.note, tellers) < everybody:
                break
            self._vouched += 1

    def _best(self) -> list[_Placed]:
        """One after the other: of those that were shown for a place, what most authorities show."""
        found: list[_Placed] = []
        register = self.committed
        present = {hint.register.number: hint.note for hint in self._hints}
        tellers = self._tellers()
        while True:
            number = register.number + 1
            candidates = {present[number]} if number in present else set()
            for _, after, notes in tellers:
                if after < number <= after + len(notes):
                    candidates.add(notes[number - after - 1])
            fitting = [note for note in candidates if split_change(note)[0].present == register.digest]
            if not fitting:
                return found
            best = max(
                fitting, key=lambda note: (self._support(number, note, tellers), note == present.get(number), note)
            )
            register = register.after(self._verify(register, best))
            found.append(_Placed(0, register, best))

"""Who belongs to the order, as the judge has it: read from the bytes of the log, by rules written a second time.

A change of the membership is an entry; it is in force from the moment its leader appends it (thesis section 4.1), and
one of several steps is joint until an entry without steps leaves it (section 4.3). Nothing here asks `consensus` or
`nodes` what a change means, nor `ledger.membership` whether it is signed.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.algorithms import PublicKey
from ledger.entry import Genesis

ADD_VOTER, ADD_WITNESS, ADD_LEARNER, REMOVE = 1, 2, 3, 4
_ROLES = {ADD_VOTER: "voter", ADD_WITNESS: "witness", ADD_LEARNER: "observer"}


@dataclass(frozen=True)
class Step:
    action: int
    member: str
    authority: str


@dataclass(frozen=True)
class SignedChange:
    """What an entry says: `note` is empty in one that leaves a joint configuration, and only there."""

    steps: tuple[Step, ...]
    note: bytes

    @property
    def number(self) -> int:
        line = self.note.decode().split("\n")[3]
        return int(line.removeprefix("number "))

    @property
    def lines(self) -> list[str]:
        """What both registrars read: one line for each step."""
        return self.note.decode().split("\n\n")[0].split("\n")[5:]


def read_change(data: bytes) -> SignedChange:
    """Version, number of steps, each with an action and two names, then what was signed; lengths before everything."""
    at = 2

    def take(length_bytes: int) -> bytes:
        nonlocal at
        length = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes + length
        return data[at - length : at]

    steps = []
    for _ in range(data[1]):
        action, at = data[at], at + 1
        steps.append(Step(action, take(2).decode(), take(2).decode()))
    return SignedChange(tuple(steps), take(4))


@dataclass(frozen=True)
class Members:
    """One configuration. `parties`: whose each member is; `roles`: voter, witness or observer."""

    roles: Mapping[str, str]
    parties: Mapping[str, str]

    def of(self, *roles: str) -> set[str]:
        return {name for name, role in self.roles.items() if role in roles}

    def authorities(self) -> set[str]:
        return {self.parties[name] for name in self.of("voter")}

    def after(self, steps: Sequence[Step], parties: Mapping[str, str]) -> Members:
        roles = dict(self.roles)
        for step in steps:
            if step.action == REMOVE:
                roles.pop(step.member, None)
            else:
                roles[step.member] = _ROLES[step.action]
        return Members(roles, parties)

    def majority(self, present: Collection[str]) -> bool:
        electors = self.of("voter", "witness")
        return 2 * len(electors & set(present)) > len(electors)

    def may_commit(self, present: Collection[str]) -> bool:
        """A majority of those who vote, and a voter of each authority."""
        here = {self.parties[name] for name in self.of("voter") & set(present)}
        return self.majority(present) and here == self.authorities()

    def __str__(self) -> str:
        return " ".join(f"{name}:{role}" for name, role in sorted(self.roles.items()))


@dataclass(frozen=True)
class InForce:
    """A configuration, and while a change is joint the one that is being left: then both have a say."""

    incoming: Members
    outgoing: Members | None = None

    @property
    def halves(self) -> tuple[Members, ...]:
        return (self.incoming,) if self.outgoing is None else (self.incoming, self.outgoing)

    def after(self, change: SignedChange, parties: Mapping[str, str]) -> InForce:
        if not change.steps:
            return InForce(self.incoming)
        incoming = self.incoming.after(change.steps, parties)
        return InForce(incoming, self.incoming if len(change.steps) > 1 else None)

    def may_commit(self, present: Collection[str]) -> bool:
        return all(half.may_commit(present) for half in self.halves)

    def majority(self, present: Collection[str]) -> bool:
        return all(half.majority(present) for half in self.halves)

    def __str__(self) -> str:
        return " | ".join(map(str, self.halves))


def at_genesis(genesis: Genesis, parties: Mapping[str, str]) -> InForce:
    roles = {each.name: "voter" for authority in genesis.authorities for each in authority.validators}
    roles |= {witness.name: "witness" for witness in genesis.witnesses}
    return InForce(Members(roles, parties))


def unsigned_by(genesis: Genesis, note: bytes) -> set[str]:
    """The authorities whose registrar has not signed a change, by the note's own lines (C2SP signed-note)."""
    missing = set()
    text, _, lines = note.decode().partition("\n\n")
    signed = [line.removeprefix("— ").split(" ") for line in lines.split("\n") if line]
    for authority in genesis.authorities:
        key = PublicKey.from_cose_key(authority.registrar_key).material
        key_id = sha256(authority.registrar_id.encode() + b"\n\x01" + key).digest()[:4]
        for name, encoded in signed:
            blob = base64.b64decode(encoded)
            if name == authority.registrar_id and blob[:4] == key_id:
                try:
                    Ed25519PublicKey.from_public_bytes(key).verify(blob[4:], (text + "\n").encode())
                    break
                except InvalidSignature:
                    continue
        else:
            missing.add(authority.name)
    return missing


def what_is_said(change: SignedChange) -> set[tuple[str, str]]:
    """Verb and member of each step, as people signed it."""
    return {(line.split(" ")[0], line.split(" ")[1]) for line in change.lines}


def what_is_done(change: SignedChange, before: Members) -> set[tuple[str, str]]:
    """The same, from the steps that consensus follows."""
    done = set()
    for step in change.steps:
        if step.action == REMOVE:
            verb = "remove"
        elif step.action == ADD_LEARNER:
            verb = "demote" if step.member in before.roles else "add"
        else:
            verb = "promote"
        done.add((verb, step.member))
    return done


Key = tuple[int, int, bytes]


@dataclass
class Ordered:
    """The changes that were seen in any log, and those of them that are committed, in their order."""

    genesis: Genesis
    parties: Mapping[str, str]
    seen: dict[Key, SignedChange] = field(default_factory=dict)
    committed: list[tuple[Key, SignedChange]] = field(default_factory=list)
    # All registers that a committed change led to, from genesis on, and who left by which number.
    registers: list[Members] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = at_genesis(self.genesis, self.parties)
        self.present = self.start
        self.registers.append(self.start.incoming)

    def commit(self, key: Key) -> SignedChange:
        change = self.seen[key]
        self.committed.append((key, change))
        before, self.present = self.present, self.present.after(change, self.parties)
        if change.steps:
            self.registers.append(self.present.incoming)
            for name in before.incoming.roles.keys() - self.present.incoming.roles.keys():
                self.removed[name] = len(self.registers) - 1
        return change

    def followed(self, holds: Iterator[Key]) -> InForce:
        """What is in force in a log that holds these changes, in the order of their places."""
        present = self.start
        for key in holds:
            present = present.after(self.seen[key], self.parties)
        return present

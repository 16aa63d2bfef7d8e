"""Changes of the membership: what one says, its bytes in the log, and the membership it leads to. Pure.

Thesis chapter 4. A change of one step adds, removes or changes one member, so that the majorities before and after
intersect, and takes effect at once (section 4.2). A change of several steps goes through a joint configuration
(section 4.3), in which both the old and the new have to agree; a change without steps leaves it. Either takes effect
when its entry is *appended*, committed or not (section 4.1), and ceases to when the entry is cut off again:
`ConfigurationHistory` keeps what is needed for that.

The two-authority rule: the authorities of the network are those it began with. A change after which one of them has no
voter is refused, and so is one that brings in another; the same holds for both halves of a joint configuration, since
each is what a change led to. The leader refuses before it proposes, and every follower before it takes the entry, so
that a leader that lies cannot do it either. What gives a change its right is `authorisation`: opaque here, verified by
`Config.authorise`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import IntEnum

from consensus.errors import ChangeRefused
from consensus.quorum import MAX_ID_CHARS, Configuration, Membership

MAX_STEPS = 64
MAX_AUTHORISATION_BYTES = 64 * 1024
# An id and an authority are at most 64 characters of at most four bytes.
MAX_NAME_BYTES = 4 * MAX_ID_CHARS
MAX_CHANGE_BYTES = 2 + MAX_STEPS * (5 + 2 * MAX_NAME_BYTES) + 4 + MAX_AUTHORISATION_BYTES
_VERSION = 1


class Action(IntEnum):
    """The numbers are the log's: never reuse one. Adding a member that is there gives it the other role."""

    ADD_VOTER = 1
    ADD_WITNESS = 2
    ADD_LEARNER = 3
    REMOVE = 4


@dataclass(frozen=True, slots=True)
class Step:
    action: Action
    member: str
    # Of a voter: whose it is. Of a learner: said for the record, it counts for nothing. Of the others: none.
    authority: str | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.member) <= MAX_ID_CHARS:
            raise ChangeRefused("malformed", f"member id: expected 1..{MAX_ID_CHARS} characters")
        if self.authority is None:
            if self.action is Action.ADD_VOTER:
                raise ChangeRefused(
                    "malformed", f"voter {self.member} names no authority: a voter of none is a witness"
                )
        elif self.action in (Action.ADD_WITNESS, Action.REMOVE):
            raise ChangeRefused("malformed", f"{self.action.name} {self.member}: expected no authority")
        elif not 0 < len(self.authority) <= MAX_ID_CHARS:
            raise ChangeRefused("malformed", f"authority: expected 1..{MAX_ID_CHARS} characters")


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    # Empty: leave the joint configuration. Only a leader proposes that, by itself.
    steps: tuple[Step, ...]
    authorisation: bytes = b""

    def __post_init__(self) -> None:
        if len(self.steps) > MAX_STEPS:
            raise ChangeRefused("malformed", f"expected at most {MAX_STEPS} steps, got {len(self.steps)}")
        if len({step.member for step in self.steps}) != len(self.steps):
            raise ChangeRefused("malformed", "expected one step for each member, got two for one")
        if len(self.authorisation) > MAX_AUTHORISATION_BYTES:
            raise ChangeRefused("malformed", f"authorisation: expected at most {MAX_AUTHORISATION_BYTES} bytes")
        if not self.steps and self.authorisation:
            raise ChangeRefused("malformed", "leaving a joint configuration takes no authorisation")


LEAVE_JOINT = ConfigurationChange(())


# The bytes: version; number of steps; each step: action, id, authority (length 0: none); authorisation. Lengths are in
# bytes, big-endian: two bytes for a name, four for the authorisation.


def _name(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def encode_change(change: ConfigurationChange) -> bytes:
    parts = [bytes((_VERSION, len(change.steps)))]
    for step in change.steps:
        parts += (bytes((step.action,)), _name(step.member), _name(step.authority or ""))
    parts += (len(change.authorisation).to_bytes(4, "big"), change.authorisation)
    return b"".join(parts)


class _Reader:
    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise ChangeRefused("malformed", f"change ends early: expected {count} more bytes, got {len(taken)}")
        self._at += count
        return taken

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def name(self) -> str:
        try:
            return self.take(self.number(2)).decode()
        except UnicodeDecodeError as error:
            raise ChangeRefused("malformed", f"name is not UTF-8: {error}") from error

    def finish(self) -> None:
        if self._at != len(self._data):
            raise ChangeRefused("malformed", f"change has {len(self._data) - self._at} bytes too many")


def decode_change(data: bytes) -> ConfigurationChange:
    """The one change that has these bytes. Raises ChangeRefused."""
    if len(data) > MAX_CHANGE_BYTES:
        raise ChangeRefused("malformed", f"change too large: expected at most {MAX_CHANGE_BYTES} bytes")
    reader = _Reader(data)
    version = reader.number(1)
    if version != _VERSION:
        raise ChangeRefused("unknown_version", f"version of a change: expected {_VERSION}, got {version}")
    steps: list[Step] = []
    for _ in range(reader.number(1)):
        number = reader.number(1)
        try:
            action = Action(number)
        except ValueError as error:
            raise ChangeRefused("malformed", f"action: expected 1..{max(Action)}, got {number}") from error
        steps.append(Step(action, reader.name(), reader.name() or None))
    authorisation = reader.take(reader.number(4))
    reader.finish()
    return ConfigurationChange(tuple(steps), authorisation)


# What a change leads to.


def enter(membership: Membership, change: ConfigurationChange) -> Membership:
    """The membership once `change`, which has steps, is in force. Raises ChangeRefused."""
    if membership.outgoing is not None:
        raise ChangeRefused(
            "already_joint", "one change at a time: the joint configuration of the last is not left yet"
        )
    if not change.steps:
        raise ChangeRefused("nothing_changes", "change has no steps: expected at least one, got none")
    before = membership.incoming
    voters, witnesses, learners = dict(before.voters), set(before.witnesses), set(before.learners)
    for step in change.steps:
        _verify_step(before, step)
        member = step.member
        voters.pop(member, None)
        witnesses.discard(member)
        learners.discard(member)
        if step.action is Action.ADD_VOTER and step.authority is not None:
            voters[member] = step.authority
        elif step.action is Action.ADD_WITNESS:
            witnesses.add(member)
        elif step.action is Action.ADD_LEARNER:
            learners.add(member)
    have, had = set(voters.values()), set(before.authorities)
    if not had <= have:
        raise ChangeRefused("authority_without_voter", f"would leave {', '.join(sorted(had - have))} without a voter")
    if not have <= had:
        raise ChangeRefused("unknown_authority", f"expected one of {sorted(had)}, got {sorted(have - had)}")
    try:
        after = Configuration(voters, frozenset(witnesses), frozenset(learners))
    except ValueError as error:
        raise ChangeRefused("bad_configuration", str(error)) from error
    return Membership(after) if len(change.steps) == 1 else Membership(after, before)


def _verify_step(before: Configuration, step: Step) -> None:
    member, action = step.member, step.action
    authority = before.voters.get(member)
    if action is Action.ADD_VOTER:
        same = authority == step.authority
        if authority is not None and not same:
            raise ChangeRefused("authority_changes", f"{member} is a voter of {authority}, not of {step.authority}")
    elif action is Action.ADD_WITNESS:
        same = member in before.witnesses
    elif action is Action.ADD_LEARNER:
        same = member in before.learners
    else:
        same = False
        if authority is None and member not in before.witnesses and member not in before.learners:
            raise ChangeRefused("unknown_member", f"{member} is no member, so cannot be removed")
    if same:
        raise ChangeRefused("nothing_changes", f"{action.name} {member}: it is that already")


def leave(membership: Membership) -> Membership:
    """The membership once its joint configuration is left. Raises ChangeRefused."""
    if membership.outgoing is None:
        raise ChangeRefused("not_joint", "there is no joint configuration to leave")
    return Membership(membership.incoming)


def apply_change(membership: Membership, change: ConfigurationChange) -> Membership:
    """The membership after an entry of the log that says `change`. Raises ChangeRefused."""
    return enter(membership, change) if change.steps else leave(membership)


class ConfigurationHistory:
    """The membership as of the beginning of the log, and after each change that is in it.

    The newest is in force, although it may still be cut off; the one before it is kept for that. What is compacted is
    forgotten but for its outcome.
    """

    __slots__ = ("_indexes", "_memberships")

    def __init__(self, index: int, membership: Membership) -> None:
        self._indexes = [index]
        self._memberships = [membership]

    @property
    def latest(self) -> Membership:
        return self._memberships[-1]

    @property
    def latest_index(self) -> int:
        """Index of the entry that brought the latest; the index before the log if none in it did."""
        return self._indexes[-1]

    @property
    def previous(self) -> Membership:
        """What was in force before the latest; the latest itself where that is all there is."""
        return self._memberships[-2] if len(self._memberships) > 1 else self._memberships[-1]

    def at(self, index: int) -> Membership:
        """The membership after the entry at `index`, which is not older than the beginning of the log."""
        return self._memberships[max(bisect_right(self._indexes, index), 1) - 1]

    def append(self, index: int, membership: Membership) -> None:
        self._indexes.append(index)
        self._memberships.append(membership)

    def truncate(self, last_index: int) -> None:
        """The log was cut after `last_index`."""
        keep = max(bisect_right(self._indexes, last_index), 1)
        del self._indexes[keep:]
        del self._memberships[keep:]

    def compact(self, index: int) -> None:
        """The log up to `index` was forgotten."""
        drop = bisect_right(self._indexes, index) - 1
        if drop > 0:
            del self._indexes[:drop]
            del self._memberships[:drop]

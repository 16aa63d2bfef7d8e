"""Who must have an entry before it is committed, and whose votes elect: pure maths, no state, no messages.

The commit rule: an index is committed when a majority of all voters *and* at least one voter of every authority have it
on disk. A witness is a voter of a neutral party: it counts for the majority and for no authority. A learner counts
for nothing.

An election needs a majority of the voters and nothing more:

* Leader completeness (thesis section 3.6.3) needs every election quorum to share a voter with every commit quorum.
  A commit quorum contains a majority, an election quorum is a majority, two majorities of one set of voters intersect.
  Demanding a vote of every authority as well would not make the intersection any larger.
* It would cost something: with unequal sides a whole authority may be away while a majority remains. A leader that
  cannot commit still holds the log together, keeps terms from growing, and can say *which* authority is missing. With
  no leader at all nobody can say more than "no leader".
* Where the sides are equal and there is no witness (2 + 2: a majority is 3) the majority implies both sides anyway.

The same holds for CheckQuorum: a leader that hears a majority goes on leading, and commits nothing while an authority
is away.

Joint configurations (thesis section 4.3) take both rules from both configurations: committed is the smaller of the two
indexes, an election must be won in both. How one configuration follows another is in `consensus.configuration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

MAX_MEMBERS = 127
MAX_ID_CHARS = 64


class VoteResult(Enum):
    """What the votes so far say about an election."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Configuration:
    """One set of members: voters by authority, witnesses (voters of no authority), learners (no vote)."""

    voters: Mapping[str, str]
    witnesses: frozenset[str] = frozenset()
    learners: frozenset[str] = frozenset()
    # Derived once: both rules run for every acknowledgement that arrives.
    electors: tuple[str, ...] = field(init=False, compare=False, repr=False)
    majority: int = field(init=False, compare=False, repr=False)
    authorities: Mapping[str, tuple[str, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        voters = dict(sorted(self.voters.items()))
        witnesses, learners = frozenset(self.witnesses), frozenset(self.learners)
        if not voters:
            raise ValueError("configuration has no voters: expected at least one, got none")
        members = len(voters) + len(witnesses) + len(learners)
        if members > MAX_MEMBERS:
            raise ValueError(f"configuration has too many members: expected at most {MAX_MEMBERS}, got {members}")
        if len(voters.keys() | witnesses | learners) != members:
            raise ValueError(
                "configuration names a member twice: expected voters, witnesses and learners to be disjoint"
            )
        for member in (*voters, *witnesses, *learners):
            if not 0 < len(member) <= MAX_ID_CHARS:
                raise ValueError(f"member id has wrong length: expected 1..{MAX_ID_CHARS}, got {len(member)}")
        by_authority: dict[str, list[str]] = {}
        for member, authority in voters.items():
            if not authority:
                raise ValueError(f"voter {member} names no authority: a voter of none is a witness")
            by_authority.setdefault(authority, []).append(member)
        electors = tuple(sorted((*voters, *witnesses)))
        put = object.__setattr__
        put(self, "voters", MappingProxyType(voters))
        put(self, "witnesses", witnesses)
        put(self, "learners", learners)
        put(self, "electors", electors)
        put(self, "majority", len(electors) // 2 + 1)
        put(self, "authorities", MappingProxyType({name: tuple(ids) for name, ids in sorted(by_authority.items())}))

    def committed_index(self, match: Mapping[str, int]) -> int:
        """The highest index that the commit rule allows, where `match` says how far each member's disk has the log."""
        known = match.get
        indexes = sorted([known(elector, 0) for elector in self.electors], reverse=True)
        committed = indexes[self.majority - 1]
        for ids in self.authorities.values():
            # The furthest disk of this authority; at least one must be there.
            furthest = 0
            for member in ids:
                index = known(member, 0)
                if index > furthest:
                    furthest = index
            if furthest < committed:
                committed = furthest
        return committed

    def vote_result(self, votes: Mapping[str, bool]) -> VoteResult:
        """Majority of all voters, witnesses included; votes of anybody else are not counted."""
        granted = refused = 0
        for elector in self.electors:
            vote = votes.get(elector)
            if vote is True:
                granted += 1
            elif vote is False:
                refused += 1
        if granted >= self.majority:
            return VoteResult.WON
        if len(self.electors) - refused < self.majority:
            return VoteResult.LOST
        return VoteResult.PENDING

    def missing_authorities(self, present: frozenset[str] | set[str]) -> tuple[str, ...]:
        """The authorities of which no voter is in `present`: while there is one, nothing new becomes committed."""
        return tuple(name for name, ids in self.authorities.items() if present.isdisjoint(ids))


@dataclass(frozen=True, slots=True)
class Membership:
    """The configuration in force, and during a joint change the one that is being left (thesis section 4.3)."""

    incoming: Configuration
    outgoing: Configuration | None = None
    members: frozenset[str] = field(init=False, compare=False, repr=False)
    electors: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        electors, members = set[str](), set[str]()
        for configuration in (self.incoming, self.outgoing):
            if configuration is not None:
                electors |= set(configuration.electors)
                members |= configuration.learners
        object.__setattr__(self, "electors", frozenset(electors))
        object.__setattr__(self, "members", frozenset(members | electors))

    def committed_index(self, match: Mapping[str, int]) -> int:
        committed = self.incoming.committed_index(match)
        if self.outgoing is not None:
            committed = min(committed, self.outgoing.committed_index(match))
        return committed

    def vote_result(self, votes: Mapping[str, bool]) -> VoteResult:
        result = self.incoming.vote_result(votes)
        if self.outgoing is None or result is VoteResult.LOST:
            return result
        other = self.outgoing.vote_result(votes)
        if other is VoteResult.LOST or result is VoteResult.WON:
            return other
        return VoteResult.PENDING

    def missing_authorities(self, present: frozenset[str] | set[str]) -> tuple[str, ...]:
        missing = set(self.incoming.missing_authorities(present))
        if self.outgoing is not None:
            missing |= set(self.outgoing.missing_authorities(present))
        return tuple(sorted(missing))

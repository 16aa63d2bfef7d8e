"""Which log keys and CAs of an authority counted at which height, read from the state alone.

The record of an authority says what is in force, `governed/now/<topic>` which proposal brought it, and each proposal
which one changed the same before it (`contracts.governance_record`): so the whole history is walked from the state of
any height, by a validator that has just come back as well as by an audit that has executed everything.

A key that a proposal replaced counts for the overlap which the proposal names, from the block time of its height on.
What is approved and waits for its height is told apart (`waiting`): nobody may use it yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.governance_changes import fields_of, topic_of
from contracts.governance_record import IN_FORCE, SCHEDULE, Proposal, load_proposal, now_key, pending_key
from contracts.registry import load_authority
from contracts.working import StateView, UnreadableRecord, Working
from ledger.tenure import Tenure, Tenures, counting

# Rewritten by whatever is approved, taken back, or takes effect: while it stays, so does everything here.
CHANGES_WITH = SCHEDULE

LOG_KEY = "log_key"
CA = "ca"
_FIELD = {LOG_KEY: "log_key", CA: "ca_sha256"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is approved by all and takes effect at a height that has not come."""

    authority: str
    value: bytes
    height: int
    proposal: str


@dataclass(frozen=True, slots=True)
class AuthorityKeys:
    """All of a network, oldest first within an authority."""

    log_keys: Tenures
    cas: Tenures
    log_keys_waiting: tuple[Waiting, ...] = ()
    cas_waiting: tuple[Waiting, ...] = ()

    def log_keys_at(self, authority: str, height: int, time_ms: int) -> tuple[bytes, ...]:
        """The log keys that may sign a checkpoint there, the one in force first."""
        return tuple(each.value for each in counting(self.log_keys.get(authority, ()), height, time_ms))

    def log_keys_of_all_at(self, height: int, time_ms: int) -> dict[str, tuple[bytes, ...]]:
        """As `log_keys_at`, of every authority."""
        return {name: self.log_keys_at(name, height, time_ms) for name in self.log_keys}

    def all_log_keys_at(self, height: int, time_ms: int) -> frozenset[bytes]:
        """Those of every authority."""
        return frozenset(each for name in self.log_keys for each in self.log_keys_at(name, height, time_ms))

    def cas_at(self, authority: str, height: int, time_ms: int) -> tuple[bytes, ...]:
        """The hashes of the CA certificates that count there, the one in force first."""
        return tuple(each.value for each in counting(self.cas.get(authority, ()), height, time_ms))


def read_authority_keys(state: StateView, authorities: Iterable[str]) -> AuthorityKeys:
    """What a state says of these authorities. Raises UnreadableRecord where it does not fit together."""
    working, names = Working(state), tuple(authorities)
    return AuthorityKeys(
        {name: _tenures(working, LOG_KEY, name) for name in names},
        {name: _tenures(working, CA, name) for name in names},
        tuple(each for name in names for each in _waiting(working, LOG_KEY, name)),
        tuple(each for name in names for each in _waiting(working, CA, name)),
    )


def _tenures(working: Working, kind: str, name: str) -> tuple[Tenure, ...]:
    authority = load_authority(working, name)
    if authority is None:
        return ()
    topic = f"{kind}/{name}"
    row = working.row(now_key(topic))
    value: bytes = getattr(authority, _FIELD[kind])
    proposal_id = None if row is None else str(row[0])
    found: list[Tenure] = []
    ended: tuple[int | None, int | None] = (None, None)
    while proposal_id is not None:
        proposal = load_proposal(working, proposal_id)
        change = None if proposal is None else next((c for c in proposal.changes if topic_of(c) == topic), None)
        if proposal is None or change is None or proposal.state != IN_FORCE or fields_of(change)["to"] != value:
            raise UnreadableRecord(f"{topic}: proposal {proposal_id} is said to have brought {value.hex()} about")
        found.append(Tenure(name, value, proposal.since_height, *ended, proposal=proposal.id))
        fields = fields_of(change)
        ended = (proposal.since_height, proposal.since_ms + (fields["overlap_s"] or 0) * 1000)
        value, proposal_id = fields["from"], _before(proposal, topic)
    return (*reversed([*found, Tenure(name, value, 0, *ended)]),)


def _before(proposal: Proposal, topic: str) -> str | None:
    return next((name for other, name in proposal.previous if other == topic), None)


def _waiting(working: Working, kind: str, name: str) -> tuple[Waiting, ...]:
    topic = f"{kind}/{name}"
    row = working.row(pending_key(topic))
    proposal = None if row is None else load_proposal(working, str(row[0]))
    if proposal is None:
        return ()
    return tuple(
        Waiting(name, fields_of(change)["to"], proposal.effect_height, proposal.id)
        for change in proposal.changes
        if topic_of(change) == topic
    )

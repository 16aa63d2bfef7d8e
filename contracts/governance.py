"""The contract `governance`: what both sides have to sign. Key: the id of the proposal.

A registrar proposes changes, which approves them for its authority; they hold once every authority of the genesis
record has approved the very same statement (`proposal` names it), and take effect together at one height. That height
is the one the proposal states, or `effect_lead_blocks` after the last approval if that is later: a partner that takes
its time makes nothing void, and nobody is surprised. All changes of a proposal take effect, or none.

Until every authority has approved, the proposing side may withdraw, another may reject, and `proposal_lapse_s` of block
time ends it. What all have approved nobody takes back alone: only all of them together, before its height. Of two
proposals about one thing the first to be approved wins, in the order of the log; the other is superseded at once.

Which side a registrar is on is what counts, not which registrar: two of one authority are one side. What can be changed
is in `contracts.governance_changes`, what is kept in `contracts.governance_record`. Does not: decide who a validator
is (the order does, by the note that `membership_signature`s make: `ledger.membership`).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from contracts.deadlines import ceil_s, lift_deadline, set_deadline
from contracts.governance_changes import (
    Effect,
    change_of,
    changes_refusal,
    membership_text,
    reserve_keys,
    take_effect,
    topics_of,
)
from contracts.governance_payloads import SCHEMAS, parse_proposal_id
from contracts.governance_record import (
    APPROVED,
    IN_FORCE,
    LAPSED,
    OPEN,
    REJECTED,
    SUPERSEDED,
    WITHDRAWN,
    Approval,
    Change,
    Proposal,
    authorities,
    decode_proposal,
    load_proposal,
    now_key,
    open_proposals,
    pending_key,
    proposal_key,
    put_open,
    put_schedule,
    schedule,
)
from contracts.governance_views import proposal_view
from contracts.machine import (
    ABSENT,
    DEADLINE,
    REGISTRAR,
    Context,
    Contract,
    DeadlineRule,
    Deadlines,
    Lapse,
    Machine,
    RecordType,
    Subject,
    Transition,
    Transitions,
    Who,
    refuses,
)
from contracts.outcome import Outcome
from contracts.working import Working
from ledger.algorithms import EDDSA, PublicKey
from ledger.errors import Untrue

# Of one authority, so that neither can leave the other no room.
MAX_OPEN_PROPOSALS = 16
# In the place of whoever brought a proposal to its state, where its height did.
HEIGHT = "height"


# Sides.


def an_authority(ctx: Context) -> bool:
    """An authority of the genesis record, whichever."""
    return ctx.issuer.authority in authorities(ctx.working)


# Guards.


@refuses(Outcome.PROPOSAL_ID_OF_OTHER_AUTHORITY)
def id_is_of_the_own_side(ctx: Context) -> Outcome | None:
    """The id begins with the name or country of the registrar's authority."""
    namespace = ctx.statement.sub.partition("/")[0]
    if namespace in (ctx.issuer.authority, ctx.issuer.country.lower()):
        return None
    return Outcome.PROPOSAL_ID_OF_OTHER_AUTHORITY


@refuses(Outcome.OPEN_PROPOSAL_LIMIT_REACHED)
def another_can_be_open(ctx: Context) -> Outcome | None:
    """The side has fewer open proposals than the limit."""
    count = 0
    for name in open_proposals(ctx.working):
        proposal = load_proposal(ctx.working, name)
        count += proposal is not None and proposal.authority == ctx.issuer.authority
    return Outcome.OPEN_PROPOSAL_LIMIT_REACHED if count >= MAX_OPEN_PROPOSALS else None


_CHANGE_REFUSALS = (
    Outcome.CHANGE_TWICE,
    Outcome.CHANGE_PENDING,
    Outcome.CHANGE_SUPERSEDED,
    Outcome.CHANGE_WITHOUT_EFFECT,
    Outcome.PARAMETER_UNKNOWN,
    Outcome.PARAMETER_OUT_OF_LIMITS,
    Outcome.CONTRACT_VERSION_NOT_HIGHER,
    Outcome.GOVERNED_AUTHORITY_UNKNOWN,
    Outcome.GOVERNED_KEY_MALFORMED,
    Outcome.GOVERNED_KEY_TAKEN,
    Outcome.MEMBERSHIP_CHANGE_MALFORMED,
    Outcome.MEMBERSHIP_CHANGE_OF_OTHER_NETWORK,
    Outcome.PARAMETERS_CONTRADICT,
)


def _changes(ctx: Context) -> tuple[Change, ...]:
    """Those of the proposal, or of the payload that makes it."""
    if ctx.record is not None:
        return cast(Proposal, ctx.record).changes
    return tuple(change_of(entry) for entry in ctx.payload["changes"])


@refuses(*_CHANGE_REFUSALS)
def the_changes_can_be_made(ctx: Context) -> Outcome | None:
    """Each change replaces what is in force, is within its limits, and no other of the same thing waits."""
    return changes_refusal(ctx, _changes(ctx))


@refuses(Outcome.EFFECT_HEIGHT_TOO_EARLY)
def height_is_ahead(ctx: Context) -> Outcome | None:
    """The height, where one is stated, is at least the governed lead ahead."""
    height = ctx.payload.get("height")
    if height is None or height >= ctx.height + ctx.parameters.effect_lead_blocks:
        return None
    return Outcome.EFFECT_HEIGHT_TOO_EARLY


@refuses(
    Outcome.MEMBERSHIP_SIGNATURE_MISSING,
    Outcome.MEMBERSHIP_SIGNATURE_NOT_EXPECTED,
    Outcome.MEMBERSHIP_SIGNATURE_INVALID,
)
def membership_is_signed(ctx: Context) -> Outcome | None:
    """A membership change comes with its signature by the key that signs the statement, which is Ed25519."""
    text, signature = membership_text(_changes(ctx)), ctx.payload.get("membership_signature")
    if text is None:
        return None if signature is None else Outcome.MEMBERSHIP_SIGNATURE_NOT_EXPECTED
    if signature is None:
        return Outcome.MEMBERSHIP_SIGNATURE_MISSING
    key = ctx.issuer.key(ctx.statement.kid)
    public = None if key is None else PublicKey.from_cose_key(key.cose_key)
    if public is None or public.alg != EDDSA:
        return Outcome.MEMBERSHIP_SIGNATURE_INVALID
    try:
        public.verify(text.encode(), signature)
    except Untrue:
        return Outcome.MEMBERSHIP_SIGNATURE_INVALID
    return None


@refuses(Outcome.PROPOSAL_DIFFERS)
def it_is_the_proposal_that_was_read(ctx: Context) -> Outcome | None:
    """The statement names the very statement that proposed it."""
    return None if ctx.payload["proposal"] == ctx.record.statement else Outcome.PROPOSAL_DIFFERS


@refuses(Outcome.SIDE_ALREADY_APPROVED)
def the_side_has_not_approved(ctx: Context) -> Outcome | None:
    """The registrar's authority has not approved it yet, by whichever registrar."""
    return Outcome.SIDE_ALREADY_APPROVED if ctx.record.approved_by(ctx.issuer.authority) else None


@refuses(Outcome.PROPOSAL_OF_OTHER_SIDE)
def it_is_of_the_own_side(ctx: Context) -> Outcome | None:
    """The registrar's authority has proposed it."""
    return None if ctx.record.authority == ctx.issuer.authority else Outcome.PROPOSAL_OF_OTHER_SIDE


@refuses(Outcome.SIDE_ALREADY_WITHDREW)
def the_side_has_not_withdrawn(ctx: Context) -> Outcome | None:
    """The registrar's authority has not yet said that it wants it back."""
    return Outcome.SIDE_ALREADY_WITHDREW if ctx.issuer.authority in ctx.record.withdrawals else None


# Effects.


def _approval(ctx: Context) -> Approval:
    return Approval(
        authority=ctx.issuer.authority,
        by=ctx.issuer.id,
        kid=ctx.statement.kid,
        statement=ctx.statement.id,
        time_ms=ctx.time_ms,
        height=ctx.height,
        signature=ctx.payload.get("membership_signature", b""),
    )


def _stands(ctx: Context, record: Proposal, state: str, reason: str = "") -> Proposal:
    """The proposal in a state to which this statement brings it."""
    return replace(
        record,
        state=state,
        since_ms=ctx.time_ms,
        since_height=ctx.height,
        since_statement=ctx.statement.id,
        by=ctx.issuer.id,
        reason=reason,
    )


def _close(working: Working, record: Proposal) -> Proposal:
    """Take an open proposal off the lists of what is open."""
    if record.lapse_s is not None:
        lift_deadline(working, record.lapse_s, proposal_key(record.id))
    put_open(working, tuple(name for name in open_proposals(working) if name != record.id))
    return replace(record, lapse_s=None)


def propose(ctx: Context) -> Proposal:
    lapse_s = ceil_s(ctx.time_ms) + ctx.parameters.proposal_lapse_s
    record = Proposal(
        id=ctx.statement.sub,
        state=OPEN,
        authority=ctx.issuer.authority,
        title=ctx.payload["title"],
        changes=_changes(ctx),
        not_before_height=ctx.payload.get("height", 0),
        approvals=(_approval(ctx),),
        lapse_s=lapse_s,
        effect_height=0,
        withdrawals=(),
        since_ms=ctx.time_ms,
        since_height=ctx.height,
        since_statement=ctx.statement.id,
        by=ctx.issuer.id,
        reason="",
        previous=(),
    )
    set_deadline(ctx.working, lapse_s, proposal_key(record.id))
    put_open(ctx.working, (*open_proposals(ctx.working), record.id))
    return _settle(ctx, record)


def approve(ctx: Context) -> Proposal:
    record: Proposal = ctx.record
    return _settle(ctx, replace(record, approvals=(*record.approvals, _approval(ctx))))


def _settle(ctx: Context, record: Proposal) -> Proposal:
    """Schedule a proposal that every authority has approved, and end those that it supersedes."""
    if not all(record.approved_by(name) for name in authorities(ctx.working)):
        return record
    working = ctx.working
    record = _close(working, _stands(ctx, record, APPROVED))
    topics = topics_of(record.changes)
    height = max(record.not_before_height, ctx.height + ctx.parameters.effect_lead_blocks)
    waiting = list(schedule(working))
    insort(waiting, (height, record.id), key=lambda entry: entry[0])  # behind those of the same height
    put_schedule(working, tuple(waiting))
    reserve_keys(working, record.changes)
    for topic in topics:
        working.put(pending_key(topic), (record.id,))
    for name in open_proposals(working):
        other = load_proposal(working, name)
        if other is not None and not set(topics).isdisjoint(topics_of(other.changes)):
            ended = _stands(ctx, _close(working, other), SUPERSEDED, f"by {record.id}")
            working.put(proposal_key(name), ended)
    previous = []
    for topic in topics:
        row = working.row(now_key(topic))
        if row is not None:
            previous.append((topic, str(row[0])))
    return replace(record, effect_height=height, previous=tuple(previous))


def reject(ctx: Context) -> Proposal:
    return _close(ctx.working, _stands(ctx, ctx.record, REJECTED, ctx.payload["reason"]))


def withdraw(ctx: Context) -> Proposal:
    return _close(ctx.working, _stands(ctx, ctx.record, WITHDRAWN, ctx.payload["reason"]))


def withdraw_approved(ctx: Context) -> Proposal:
    """One authority more wants it back; gone once all do."""
    record: Proposal = replace(ctx.record, withdrawals=(*ctx.record.withdrawals, ctx.issuer.authority))
    if not set(authorities(ctx.working)).issubset(record.withdrawals):
        return record
    put_schedule(ctx.working, tuple(entry for entry in schedule(ctx.working) if entry[1] != record.id))
    for topic in topics_of(record.changes):
        ctx.working.put(pending_key(topic), None)
    return _stands(ctx, replace(record, effect_height=0), WITHDRAWN, ctx.payload["reason"])


def lapse(lapsed: Lapse) -> Proposal:
    """The kernel has lifted the deadline."""
    record: Proposal = lapsed.record
    put_open(lapsed.working, tuple(name for name in open_proposals(lapsed.working) if name != record.id))
    return replace(
        record,
        state=LAPSED,
        lapse_s=None,
        since_ms=lapsed.time_ms,
        since_height=lapsed.height,
        since_statement=None,
        by=DEADLINE,
        reason=lapsed.rule.reason,
    )


# Heights.


def fire_heights(working: Working, height: int, time_ms: int) -> int:
    """Bring into force everything whose height is reached, in order; how many proposals that were."""
    waiting = schedule(working)
    due = [entry for entry in waiting if entry[0] <= height]
    if not due:
        return 0
    put_schedule(working, waiting[len(due) :])
    for _, name in due:
        record = load_proposal(working, name)
        if record is None or record.state != APPROVED:
            raise LookupError(
                f"proposal {name} is to take effect at {height}, and is not approved: got {record!r:.200}"
            )
        take_effect(Effect(working, record.id, record.statement, record.by, time_ms, height), record.changes)
        ended = replace(
            record, state=IN_FORCE, since_ms=time_ms, since_height=height, since_statement=None, by=HEIGHT, reason=""
        )
        working.put(proposal_key(name), ended)
    return len(due)


# The table.


_WHO = (Who(REGISTRAR, an_authority),)

TRANSITIONS: Transitions = {
    (ABSENT, "propose"): Transition(
        _WHO,
        propose,
        (OPEN, APPROVED),
        (id_is_of_the_own_side, another_can_be_open, height_is_ahead, the_changes_can_be_made, membership_is_signed),
    ),
    (OPEN, "approve"): Transition(
        _WHO,
        approve,
        (OPEN, APPROVED),
        (
            it_is_the_proposal_that_was_read,
            the_side_has_not_approved,
            the_changes_can_be_made,
            membership_is_signed,
        ),
    ),
    (OPEN, "reject"): Transition(
        _WHO, reject, (REJECTED,), (it_is_the_proposal_that_was_read, the_side_has_not_approved)
    ),
    (OPEN, "withdraw"): Transition(
        _WHO, withdraw, (WITHDRAWN,), (it_is_the_proposal_that_was_read, it_is_of_the_own_side)
    ),
    (APPROVED, "withdraw"): Transition(
        _WHO,
        withdraw_approved,
        (APPROVED, WITHDRAWN),
        (it_is_the_proposal_that_was_read, the_side_has_not_withdrawn),
    ),
}


def _state_of(record: Proposal, payload: Mapping[str, Any]) -> str | Outcome:
    return record.state


GOVERNANCE = Contract(
    name="governance",
    version=1,
    title="What both authorities have to sign: parameters, contracts, keys, the legal basis, the membership",
    subject=Subject(parse_proposal_id, "proposal id"),
    record=RecordType(
        Proposal, proposal_key, decode_proposal, load_proposal, proposal_view, lambda proposal: frozenset()
    ),
    machines=(
        Machine(
            "proposal",
            TRANSITIONS,
            _state_of,
            Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED,
            {
                OPEN: "waits for the approval of every other authority",
                APPROVED: "approved by all; waits for the height at which it takes effect",
                IN_FORCE: "has taken effect",
                REJECTED: "an authority has refused it",
                WITHDRAWN: "taken back: by its own side while open, or by all before its height",
                LAPSED: "not every authority has approved it in time",
                SUPERSEDED: "another proposal about the same thing was approved first",
            },
            ends=(IN_FORCE, REJECTED, WITHDRAWN, LAPSED, SUPERSEDED),
            by_itself={
                (APPROVED, IN_FORCE): "its height is reached",
                (OPEN, SUPERSEDED): "another was approved first",
            },
        ),
    ),
    schemas=SCHEMAS,
    unknown=Outcome.PROPOSAL_UNKNOWN,
    exists=Outcome.PROPOSAL_ALREADY_MADE,
    outcomes=range(400, 460),
    deadlines=Deadlines(
        "proposal",
        lambda proposal: proposal.lapse_s,
        {OPEN: DeadlineRule(LAPSED, "not approved by every authority in time", lapse)},
    ),
)

# As version 1; it governs the parameters that came with it (`since`), which a release without it could not know.
GOVERNANCE_2 = replace(GOVERNANCE, version=2)

"""The rules of membership said again, with dictionaries and counting: member to role, nothing derived, nothing fast.

A role is `voter of X`, `witness` or `learner`. A membership is one such dictionary, or two while it is joint.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from consensus import Action, Configuration, ConfigurationChange, Membership

Roles = dict[str, str]
Halves = tuple[Roles, Roles | None]


def roles_of(configuration: Configuration) -> Roles:
    roles = {member: f"voter of {authority}" for member, authority in configuration.voters.items()}
    roles |= dict.fromkeys(configuration.witnesses, "witness")
    return roles | dict.fromkeys(configuration.learners, "learner")


def halves_of(membership: Membership) -> Halves:
    return roles_of(membership.incoming), roles_of(membership.outgoing) if membership.outgoing else None


def authorities(roles: Roles) -> set[str]:
    return {role for role in roles.values() if role.startswith("voter of ")}


def electors(roles: Roles) -> set[str]:
    return {member for member, role in roles.items() if role != "learner"}


def changed(halves: Halves, change: ConfigurationChange) -> Halves | None:
    """What the change leads to; None where it may not be."""
    now, before = halves
    if not change.steps:
        return (now, None) if before is not None else None
    if before is not None:
        return None
    after = dict(now)
    for step in change.steps:
        old = after.pop(step.member, None)
        if step.action is Action.REMOVE:
            if old is None:
                return None
            continue
        new = {Action.ADD_WITNESS: "witness", Action.ADD_LEARNER: "learner"}.get(
            step.action, f"voter of {step.authority}"
        )
        if old == new or (old and old.startswith("voter of ") and new.startswith("voter of ")):
            return None
        after[step.member] = new
    if authorities(after) != authorities(now):
        return None
    return (after, None) if len(change.steps) == 1 else (after, now)


def elects(halves: Halves, members: set[str]) -> bool:
    """Whether the votes of these elect: a majority, and of both halves."""
    return all(2 * len(members & electors(roles)) > len(electors(roles)) for roles in halves if roles is not None)


def commits(halves: Halves, members: set[str]) -> bool:
    """Whether what these have on disk is committed: a majority and a voter of each authority, and of both halves."""
    return elects(halves, members) and all(
        authorities({member: role for member, role in roles.items() if member in members}) == authorities(roles)
        for roles in halves
        if roles is not None
    )


def subsets(members: Iterable[str]) -> list[set[str]]:
    ordered = sorted(members)
    return [set(chosen) for size in range(len(ordered) + 1) for chosen in combinations(ordered, size)]


def all_meet(one: Halves, other: Halves) -> bool:
    """Whether each election quorum of one shares a member with each commit quorum of the other, and the other way."""
    everybody = {member for halves in (one, other) for roles in halves if roles is not None for member in roles}
    possible = subsets(everybody)
    for left, right in ((one, other), (other, one)):
        electing = [chosen for chosen in possible if elects(left, chosen)]
        committing = [chosen for chosen in possible if commits(right, chosen)]
        if not all(chosen & others for chosen in electing for others in committing):
            return False
    return True

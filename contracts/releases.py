"""Does this program have the contracts that the ledger says are in force, and those that are going to be?

A version that both sides brought into force and that this program does not have is `ReleaseNeeded`: the validator
stops before the block, with nothing decided, written or signed. `missing_ahead` says so as soon as the proposal is
approved, so that an operator hears it before, not at, the height.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.catalogue import CONTRACTS
from contracts.governance_changes import fields_of
from contracts.governance_record import CONTRACT_LIST, OPEN_LIST, SCHEDULE, load_proposal
from contracts.working import StateView, Working


class ReleaseNeeded(Exception):
    """The ledger goes on under a contract that this program does not have. Install the release that is named."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A version that this program does not have. `height` is 0 as long as the proposal is not approved by all."""

    contract: str
    version: int
    release: str
    proposal: str
    height: int

    def __str__(self) -> str:
        what = f"contract {self.contract} version {self.version}"
        if not self.height:
            return f"{what} is proposed ({self.proposal}): this program does not have it, release {self.release} does"
        return (
            f"{what} takes effect at height {self.height} ({self.proposal}): this program does not have it; install "
            f"release {self.release} before"
        )


def check_release(working: Working) -> None:
    """Raise ReleaseNeeded unless this program has every contract that a proposal brought into force."""
    row = working.row(CONTRACT_LIST)
    if row is None:
        return
    for index in range(0, len(row), 3):
        name, version, release = str(row[index]), int(row[index + 1]), row[index + 2]
        if (name, version) not in CONTRACTS:
            known = sorted(other for contract, other in CONTRACTS if contract == name)
            has = f"versions {', '.join(map(str, known))}" if known else "no version"
            raise ReleaseNeeded(
                f"contract {name} version {version} is in force, and this program has {has} of it: "
                f"install release {release}, which has it, and start again"
            )


def missing_ahead(state: StateView) -> list[Missing]:
    """What is approved or proposed and not here, the nearest first."""
    working = Working(state)
    waiting = working.row(SCHEDULE) or ()
    names = [(int(waiting[index]), str(waiting[index + 1])) for index in range(0, len(waiting), 2)]
    names += [(0, str(name)) for name in working.row(OPEN_LIST) or ()]
    found = []
    for height, name in names:
        proposal = load_proposal(working, name)
        for change in () if proposal is None else proposal.changes:
            if change[0] != "contract":
                continue
            fields = fields_of(change)
            if (fields["name"], fields["to"]) not in CONTRACTS:
                found.append(Missing(fields["name"], fields["to"], fields["release"], name, height))
    return found

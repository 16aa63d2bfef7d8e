"""Which changes of the membership were decided on the ledger, read from the state alone.

A change holds in the order by the registrars' signatures, whatever the ledger says (`ledger.membership`). Where a
proposal carried it, the decision stands on the log as well; an audit tells which changes have none.
"""

from __future__ import annotations

from contracts.governance_changes import membership_text
from contracts.governance_record import IN_FORCE, load_proposal, now_key
from contracts.working import StateView, UnreadableRecord, Working

TOPIC = "membership"


def decided_changes(state: StateView) -> list[str]:
    """The texts of the changes whose proposals are in force, the newest first. Raises UnreadableRecord."""
    working = Working(state)
    row = working.row(now_key(TOPIC))
    proposal_id = None if row is None else str(row[0])
    found = []
    while proposal_id is not None:
        proposal = load_proposal(working, proposal_id)
        text = None if proposal is None else membership_text(proposal.changes)
        if proposal is None or text is None or proposal.state != IN_FORCE:
            raise UnreadableRecord(f"{TOPIC}: proposal {proposal_id} is said to have brought a change about")
        found.append(text)
        proposal_id = next((name for topic, name in proposal.previous if topic == TOPIC), None)
    return found

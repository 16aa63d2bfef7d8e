"""Governance against a dumb oracle: two sides that propose, approve, reject, withdraw and wait, in any order.

The oracle knows sides, values and heights, and nothing of records, indexes or deadlines. After every step both say the
same about every proposal and every parameter, and what must always hold is asked of the ledger itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contracts import governance_record as g
from contracts.deadlines import next_deadline_ms
from contracts.outcome import Outcome
from contracts.parameters import PARAMETERS
from contracts.working import Working
from tests.contracts.governing import CN, CN_DEPUTY, KZ, KZ_DEPUTY, LEAD, Governed, parameter

LAPSE_S = 3_600
NAMES = ("offer_lapse_s", "corridor_m")
SIDE_OF = {KZ: "kz-kgd", KZ_DEPUTY: "kz-kgd", CN: "cn-gacc", CN_DEPUTY: "cn-gacc"}
whose = st.sampled_from(sorted(SIDE_OF))
values = st.integers(1_000, 1_004)


@dataclass
class Paper:
    """A proposal as people would keep it."""

    side: str
    changes: dict[str, int]
    made_ms: int
    state: str = g.OPEN
    approved: set[str] = field(default_factory=set)
    taken_back: set[str] = field(default_factory=set)
    not_before: int = 0
    effect: int = 0


class Governing(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Governed.begin(proposal_lapse_s=LAPSE_S)
        self.papers: dict[str, Paper] = {}
        self.values: dict[str, int] = {name: int(PARAMETERS[name].default) for name in NAMES}

    # --- the oracle --------------------------------------------------------------------------------------------------

    def _begin_block(self) -> None:
        """What comes of height and time, before any statement."""
        due = [paper for paper in self.papers.values() if paper.state == g.APPROVED]
        for paper in sorted(due, key=lambda each: each.effect):
            if paper.effect <= self.ledger.height:
                paper.state = g.IN_FORCE
                self.values.update(paper.changes)
        for paper in self.papers.values():
            if paper.state == g.OPEN and self.ledger.now_ms >= (-(-paper.made_ms // 1000) + LAPSE_S) * 1000:
                paper.state = g.LAPSED

    def _waits(self, changes: dict[str, int]) -> bool:
        return any(
            paper.state == g.APPROVED and not changes.keys().isdisjoint(paper.changes) for paper in self.papers.values()
        )

    def _settle(self, name: str) -> None:
        paper = self.papers[name]
        if len(paper.approved) < 2:
            return
        paper.state, paper.effect = g.APPROVED, max(paper.not_before, self.ledger.height + LEAD)
        for other in self.papers.values():
            if other.state == g.OPEN and not other.changes.keys().isdisjoint(paper.changes):
                other.state = g.SUPERSEDED

    # --- what sides do -----------------------------------------------------------------------------------------------

    @rule(who=whose, wanted=st.dictionaries(st.sampled_from(NAMES), values, min_size=1), ahead=st.integers(0, 9))
    def propose(self, who: str, wanted: dict[str, int], ahead: int) -> None:
        self._begin_block()
        name = f"{SIDE_OF[who]}/{len(self.papers)}"
        height = self.ledger.height + ahead
        changes = [parameter(each, to, replaces=self.values[each]) for each, to in sorted(wanted.items())]
        expected = Outcome.ACCEPTED
        if len([p for p in self.papers.values() if p.state == g.OPEN and p.side == SIDE_OF[who]]) >= 16:
            expected = Outcome.OPEN_PROPOSAL_LIMIT_REACHED
        elif 0 < ahead < LEAD:
            expected = Outcome.EFFECT_HEIGHT_TOO_EARLY
        elif self._waits(wanted):
            expected = Outcome.CHANGE_PENDING
        elif any(to == self.values[each] for each, to in wanted.items()):
            expected = Outcome.CHANGE_WITHOUT_EFFECT
        if expected is Outcome.ACCEPTED:
            paper = Paper(SIDE_OF[who], wanted, self.ledger.now_ms, approved={SIDE_OF[who]})
            paper.not_before = height if ahead else 0
            self.papers[name] = paper
        fields = {"height": height} if ahead else {}
        assert self.ledger.propose(name, *changes, who=who, **fields) is expected

    @rule(who=whose, data=st.data(), event=st.sampled_from(("approve", "approve", "reject", "withdraw")))
    def answer(self, who: str, data: st.DataObject, event: str) -> None:
        if not self.papers:
            return
        name = data.draw(st.sampled_from(sorted(self.papers)))
        self._begin_block()
        expected = self._answered(name, SIDE_OF[who], event)
        assert self.ledger.answer(event, name, who) is expected

    def _answered(self, name: str, side: str, event: str) -> Outcome:
        paper = self.papers[name]
        if paper.state == g.OPEN and event == "withdraw":
            if paper.side != side:
                return Outcome.PROPOSAL_OF_OTHER_SIDE
            paper.state = g.WITHDRAWN
        elif paper.state == g.OPEN:
            if side in paper.approved:
                return Outcome.SIDE_ALREADY_APPROVED
            if event == "reject":
                paper.state = g.REJECTED
            else:
                # An open proposal whose topic was approved elsewhere is superseded at once, so none is ever stale.
                assert not self._waits(paper.changes)
                paper.approved.add(side)
                self._settle(name)
        elif paper.state == g.APPROVED and event == "withdraw":
            if side in paper.taken_back:
                return Outcome.SIDE_ALREADY_WITHDREW
            paper.taken_back.add(side)
            if len(paper.taken_back) == 2:
                paper.state = g.WITHDRAWN
        else:
            return Outcome.PROPOSAL_TRANSITION_NOT_ALLOWED
        return Outcome.ACCEPTED

    @rule()
    def a_block_passes(self) -> None:
        self._begin_block()
        self.ledger.until(self.ledger.height + 1)

    @rule(seconds=st.sampled_from((1, 600, LAPSE_S)))
    def time_passes(self, seconds: int) -> None:
        self.ledger.now_ms += seconds * 1000
        self._begin_block()
        self.ledger.pass_time(0)

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def both_say_the_same(self) -> None:
        for name, paper in self.papers.items():
            record = self.ledger.proposal(name)
            assert (record.state, {each.authority for each in record.approvals}) == (paper.state, paper.approved), name
            if paper.state in (g.APPROVED, g.IN_FORCE):
                assert record.effect_height == paper.effect
        assert {name: self.ledger.in_force(name) for name in NAMES} == self.values

    @invariant()
    def nothing_holds_that_both_did_not_approve_in_time(self) -> None:
        for name in self.papers:
            record = self.ledger.proposal(name)
            if record.state in (g.APPROVED, g.IN_FORCE):
                assert {each.authority for each in record.approvals} == {"kz-kgd", "cn-gacc"}
                assert record.effect_height >= max(each.height for each in record.approvals) + LEAD

    @invariant()
    def the_lists_hold_what_is_there_and_nothing_else(self) -> None:
        working = Working(self.ledger.state)
        states = {name: self.ledger.proposal(name).state for name in self.papers}
        assert sorted(g.open_proposals(working)) == sorted(name for name, at in states.items() if at == g.OPEN)
        assert sorted(name for _, name in g.schedule(working)) == sorted(
            n for n, at in states.items() if at == g.APPROVED
        )
        assert (next_deadline_ms(self.ledger.state) is None) == (g.OPEN not in states.values())
        for name in NAMES:
            row = working.row(g.pending_key(f"parameter/{name}"))
            assert row is None or states[str(row[0])] == g.APPROVED


TestGoverning = Governing.TestCase
TestGoverning.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)

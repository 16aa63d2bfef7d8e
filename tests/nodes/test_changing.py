"""How many changes of the membership are waited for at once, whoever hands them in."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from ledger.membership import Step, Verb
from ledger.store import MemoryStore
from nodes.changing import MAX_WAITING, Changes, State
from nodes.membership import Roster
from tests.nodes.test_membership import Log


class Ordering:
    """Leads, and nothing that it proposes is ever committed."""

    leading = True

    def __init__(self) -> None:
        self.proposed = 0

    def propose_change(self, change: object) -> None:
        self.proposed += 1


async def test_a_crowd_that_hands_in_changes_is_turned_away_and_those_before_it_are_answered(monkeypatch: Any) -> None:
    monkeypatch.setattr("nodes.changing.COMMIT_TIMEOUT_S", 0.05)
    log = Log()
    note = log.change(Step(Verb.DEMOTE, "kz-kgd-2")).authorisation
    ordering = Ordering()
    validator: Any = SimpleNamespace(
        identity=SimpleNamespace(genesis=log.genesis),
        ordering=ordering,
        versions=SimpleNamespace(require=lambda *_, **__: None, said=lambda name: name),
        missing_authorities=lambda: ["cn-gacc"],
    )
    participation: Any = None
    changes = Changes(validator, Roster(log.genesis, MemoryStore()), participation, on_removed=lambda _: None)
    outcomes = await asyncio.gather(*(changes.submit(note) for _ in range(MAX_WAITING + 3)))
    states = [outcome.state for outcome in outcomes]
    assert states == [State.PROPOSED] * MAX_WAITING + [State.REFUSED] * 3
    assert {outcome.code for outcome in outcomes[-3:]} == {"overloaded"}
    assert "16 changes are being waited for: hand it in again" in outcomes[-1].detail
    assert (await changes.submit(note)).state is State.PROPOSED, "and there is room again"

"""To whom our signatures go, and when: at once where somebody waits for them, never for nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.checkpoint import Checkpoint
from ledger.membership import Register, Role
from ledger.policy import parse_policy
from nodes.cosigning import Finality
from nodes.execution import Signed
from nodes.network import policy_text
from nodes.participation import Participation
from nodes.publishing import Publishing
from tests.nodes.world import ORIGIN, World

WORLD = World()
ROOT = bytes(range(32))
CHECKPOINT = Checkpoint(ORIGIN, 5, ROOT)
COLLEAGUE, OTHERS = "kz-kgd-2", ["cn-gacc-1", "cn-gacc-2"]
OURS = "kz-kgd-1"
VOTERS = {each.name: each for each in Register.of_genesis(WORLD.genesis).of(Role.VOTER)}


class Sent:
    """A transport that reaches everybody but `away`, and remembers to whom it was told to send."""

    def __init__(self, away: str | None = None) -> None:
        self.there = [name for name in VOTERS if name not in (OURS, away)]
        self.to: list[str] = []

    def connected(self) -> list[str]:
        return self.there

    def reachable(self, name: str) -> bool:
        return name in self.there

    def send(self, name: str, envelope: Any) -> bool:
        assert envelope.cosignatures.size == CHECKPOINT.size
        self.to.append(name)
        return True


def publishing(*, majority: bool, leader: str | None, sent: Sent) -> Publishing:
    policy = parse_policy(policy_text(WORLD.genesis, "kz-kgd", majority=majority).encode())
    finality = Finality(WORLD.genesis, policy, None)
    finality.executed(CHECKPOINT)
    config = SimpleNamespace(name=OURS, authority="kz-kgd", peers=())
    roster = SimpleNamespace(members=lambda: VOTERS)
    participation = Participation(config, SimpleNamespace(), roster, SimpleNamespace())  # type: ignore[arg-type]
    ordering: Any = SimpleNamespace(leader=leader)
    return Publishing(OURS, "kz-kgd", finality, participation, ordering, sent)  # type: ignore[arg-type]


def publish(*, majority: bool, leader: str | None, sent: Sent, wait_s: float = 0.0) -> list[str]:
    async def run() -> list[str]:
        publishing(majority=majority, leader=leader, sent=sent).publish(
            Signed(CHECKPOINT, WORLD.lines(OURS, CHECKPOINT))
        )
        await asyncio.sleep(wait_s)
        return sorted(sent.to)

    return asyncio.run(run())


@pytest.mark.parametrize("leader", [OURS, COLLEAGUE, "cn-gacc-1", None])
def test_where_several_of_a_side_are_wanted_everybody_hears_us_at_once_whoever_leads(leader: str | None) -> None:
    assert publish(majority=True, leader=leader, sent=Sent()) == sorted([COLLEAGUE, *OTHERS])


def test_where_one_of_a_side_is_enough_it_speaks_at_once_and_to_the_others_alone() -> None:
    assert publish(majority=False, leader=OURS, sent=Sent()) == OTHERS


def test_where_a_colleague_speaks_we_do_only_when_nothing_has_become_final_for_a_moment() -> None:
    assert publish(majority=False, leader=COLLEAGUE, sent=Sent()) == []
    assert publish(majority=False, leader=COLLEAGUE, sent=Sent(), wait_s=0.3) == OTHERS


def test_who_leads_and_cannot_be_reached_speaks_for_nobody() -> None:
    assert publish(majority=False, leader=COLLEAGUE, sent=Sent(away=COLLEAGUE)) == OTHERS


def test_a_stranger_hears_nothing() -> None:
    sent = Sent()
    sent.there.append("xx-other-1")
    assert "xx-other-1" not in publish(majority=True, leader=OURS, sent=sent)

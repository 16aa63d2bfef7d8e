"""The story of a crossing, held against the record that the contracts themselves keep of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from contracts import movement as m
from contracts.crossing_story import Story, told_in_a_certificate
from contracts.outcome import Outcome
from ledger.errors import Untrue
from ledger.statement import Statement
from tests.api.epcis.test_document import TALES
from tests.contracts import corridor as c
from tests.contracts import stages

Accepted = tuple[int, Statement]


def authority_of(iss: str) -> str:
    return {"kz": "kz-kgd", "cn": "cn-gacc"}.get(iss.partition("/")[0], iss.partition("/")[0])


class Telling:
    """A corridor whose accepted statements are told as they come."""

    def __init__(self) -> None:
        self.ledger = c.Ledger.of_corridor()
        self.accepted: list[Accepted] = []
        self._story = Story(c.MRN)

    def send(self, kind: str, iss: str, sub: str, payload: dict[str, Any]) -> Outcome:
        time_ms = self.ledger.now_ms
        outcome = self.ledger.send(kind, iss, sub, payload)
        if outcome is Outcome.ACCEPTED and self.ledger.last_statement is not None:
            self.accepted.append((time_ms, self.ledger.last_statement))
            tell_next(self._story, len(self.accepted) + 10, self.accepted[-1])
        return outcome

    def must(self, kind: str, iss: str, sub: str, payload: dict[str, Any]) -> None:
        assert self.send(kind, iss, sub, payload) is Outcome.ACCEPTED, (kind, self.ledger.detail)

    def declared(self) -> Telling:
        for event, iss, payload in c.DECLARATION_STEPS:
            self.must(f"declaration.{event}", iss, c.UCR, payload)
        return self

    def story(self) -> Story:
        return self._story


def tell_next(story: Story, index: int, accepted: Accepted) -> None:
    time_ms, statement = accepted
    if told_in_a_certificate(statement.kind):
        story.take(index, time_ms, statement, authority_of(statement.iss))


def told(accepted: Sequence[Accepted]) -> Story:
    story = Story(c.MRN)
    for index, each in enumerate(accepted, 11):
        tell_next(story, index, each)
    return story


def same(story: Story, record: m.Movement) -> None:
    """What the story says is what the record says."""
    assert record.state in story.states_now()
    if story.states_now() == (story.state,):
        assert record.state == story.state
    assert (story.vehicle, story.truck, story.containers) == (
        record.vehicle,
        record.truck,
        record.plan.containers,
    )
    assert [(each.authority, each.liable, each.since.block_time_ms) for each in story.custody] == [
        (each.authority, each.liable, each.since_ms) for each in record.custody_passages()
    ]
    assert {seal.id: (seal.state, seal.seal_class, seal.container, seal.device) for seal in story.seals.values()} == {
        seal.id: (seal.state, seal.seal_class, seal.container, seal.device) for seal in record.seals
    }
    assert [each.statement.id for each in story.incidents][-16:] == [each.statement for each in record.incidents]
    assert (story.discharged.block_time_ms if story.discharged else None) == record.guarantee_free_ms
    if story.came_from and story.state in (m.HELD, m.OVERDUE):
        # An offer may have lapsed before the incident; which of the two it was, the next statement tells.
        assert (story.came_from, record.came_from) == (m.OFFERED, m.AT_BORDER) or story.came_from == record.came_from


@pytest.mark.parametrize("name", TALES)
def test_a_tale_is_told_as_the_contracts_have_it_after_each_of_its_statements(name: str) -> None:
    telling = Telling().declared()
    for kind, iss, payload in TALES[name]:
        if telling.send(kind, iss, c.MRN, payload) is Outcome.ACCEPTED:
            same(telling.story(), telling.ledger.movement(c.MRN))
    assert len(telling.accepted) > len(c.DECLARATION_STEPS) + 3


def _random_event(telling: Telling, rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    """An event that may or may not fit; what is accepted is for the contracts to say."""
    name = rng.choice(list(stages.ESCORT_EVENTS))
    event = stages.ESCORT_EVENTS[name]
    payload = dict(event.payload(telling.ledger))
    sender = rng.choice([*event.senders, "cn-gacc/officer", "kz-kgd/officer"])
    readings = [{"id": seal, "state": "intact"} for seal in telling.ledger.movement(c.MRN).seals_in_force()]
    if name == "incident":
        codes = ("01", "04", "05", "accident", "vehicle_changed", "goods_transferred", "goods_destroyed")
        payload["code"] = rng.choice([*codes[:-1], *codes])
        sender = rng.choice(["kz/truck/t-001", "kz-kgd/officer", "cn-gacc/officer", "cn/terminal/baketu"])
        if payload["code"] == "01" and readings:
            payload["seal"] = rng.choice(readings)["id"]
        if rng.random() < 0.4:
            payload["vehicle"] = "KZ/123ABC02"
    elif name in ("resume", "resolve") and rng.random() < 0.7:
        payload["seals"] = [{"id": f"HS{rng.randrange(10**8):08}", "class": "H"}]
        if name == "resume" and rng.random() < 0.5:
            payload |= {"vehicle": "KZ/777AAA02", "mass_g": c.MASS}
        if name == "resolve":
            payload["decision"] = rng.choice(["handed_over", "returned"])
    elif name == "accept_with_differences" and readings and rng.random() < 0.5:
        payload["seals"] = [{**readings[0], "state": rng.choice(["broken", "missing"])}, *readings[1:]]
    elif name == "unload":
        payload["as_declared"] = rng.random() < 0.5
    elif name == "resolve_overdue":
        payload["decision"] = rng.choice(["continue", "abort", "recover"])
    return f"escort.{name}", sender, payload


@pytest.mark.parametrize("seed", range(6))
def test_any_way_that_the_contracts_let_a_movement_go_is_told_as_they_have_it(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        telling = Telling().declared()
        telling.must("escort.plan", "kz-kgd/system", c.MRN, c.plan())
        for _ in range(120):
            happy = [step for step in c.ESCORT_STEPS if rng.random() < 0.3]
            if rng.random() < 0.04:
                telling.ledger.pass_time(rng.choice([600, 8000]))
            for kind, iss, payload in [_random_event(telling, rng), *((f"escort.{e}", i, p) for _, e, i, p in happy)]:
                if telling.send(kind, iss, c.MRN, dict(payload)) is Outcome.ACCEPTED:
                    same(telling.story(), telling.ledger.movement(c.MRN))
            if telling.ledger.movement(c.MRN).state in (m.DISCHARGED, m.REFUSED):
                break


def happy() -> list[Accepted]:
    telling = Telling().declared()
    for _, event, iss, payload in c.ESCORT_STEPS:
        telling.must(f"escort.{event}", iss, c.MRN, payload)
    return [each for each in telling.accepted if told_in_a_certificate(each[1].kind)]


def test_a_statement_that_is_left_out_of_the_way_there_ends_the_story() -> None:
    accepted = happy()
    kept = []
    for at, (_, statement) in enumerate(accepted):
        with suppress(Untrue):
            told(accepted[:at] + accepted[at + 1 :])
            kept.append(statement.kind)
    # Without the last statement the story is one that is not over yet, which the record of the movement contradicts.
    assert kept == ["escort.unload"]


def test_statements_in_another_order_twice_or_of_another_movement_end_the_story() -> None:
    accepted = happy()
    for at in range(len(accepted) - 1):
        swapped = [*accepted[:at], accepted[at + 1], accepted[at], *accepted[at + 2 :]]
        kinds = {accepted[at][1].kind, accepted[at + 1][1].kind}
        if kinds in ({"escort.reach_border"}, {"declaration.release", "declaration.recognise"}):
            told(swapped)  # either order is one that happens
            continue
        with pytest.raises(Untrue):
            told(swapped)
        if accepted[at][1].kind not in ("escort.reach_border", "escort.offer"):  # which happen twice
            with pytest.raises(Untrue):
                told([*accepted[: at + 1], *accepted[at:]])
    at = next(at for at, (_, statement) in enumerate(accepted) if statement.kind == "escort.plan")
    with pytest.raises(Untrue):
        tell_next(Story("19GBCKKCQSXV2FGVA8"), 11, accepted[at])


def test_a_plan_on_a_declaration_that_was_not_recognised_by_then_ends_the_story() -> None:
    accepted = happy()
    without = [each for each in accepted if each[1].kind != "declaration.recognise"]
    with pytest.raises(Untrue, match="recognition none"):
        told(without)


def test_without_its_declarations_a_movement_is_told_and_names_what_is_not() -> None:
    story = told([each for each in happy() if each[1].kind.startswith("escort.")])
    assert (story.state, story.not_told(), story.destination) == (m.DISCHARGED, (c.UCR,), "cn-gacc")


def test_a_deadline_that_passed_is_told_with_the_statement_that_presupposes_it() -> None:
    telling = Telling().declared()
    for _, event, iss, payload in c.ESCORT_STEPS[:4]:
        telling.must(f"escort.{event}", iss, c.MRN, payload)
    telling.ledger.pass_time(4000)
    telling.must(
        "escort.resolve_overdue",
        "kz-kgd/officer",
        c.MRN,
        {"decision": "continue", "limit_s": 600, "reason": "storm"},
    )
    story = telling.story()
    assert (story.told[-1].lapsed, story.state) == (m.OVERDUE, m.STARTED)


def test_a_new_content_is_the_one_in_force_and_has_to_be_recognised_anew() -> None:
    telling = Telling()
    for event, iss, payload in c.DECLARATION_STEPS[:3]:
        telling.must(f"declaration.{event}", iss, c.UCR, payload)
    heavier = c.content(gross_mass_g=34_000_000)
    telling.must("declaration.request_amendment", "kz/declarant/agro", c.UCR, {"content": heavier, **stages.REASON})
    assert telling.story().declarations[c.UCR].content["gross_mass_g"] == 33_500_000
    telling.must("declaration.accept_amendment", "kz-kgd/officer", c.UCR, {})
    declaration = telling.story().declarations[c.UCR]
    assert (declaration.version, declaration.content["gross_mass_g"]) == (2, 34_000_000)
    assert not declaration.stands()
    telling.must("declaration.release", "kz-kgd/officer", c.UCR, {})
    telling.must("declaration.recognise", "cn-gacc/officer", c.UCR, c.decision(2, number=c.make_cn_number(1)))
    record = telling.ledger.declaration(c.UCR)
    declaration = telling.story().declarations[c.UCR]
    assert declaration.stands()
    assert (declaration.status, declaration.recognition, declaration.version, declaration.number) == (
        record.status,
        record.recognition.state,
        record.version,
        record.number,
    )
    assert declaration.partner_number == record.recognition.number

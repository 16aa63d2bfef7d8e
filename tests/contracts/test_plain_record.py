"""Plain records: what a payload can say of one, and what it cannot, whatever a schema calls its fields."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.machine import ABSENT, Context, Contract, Subject, Transition
from contracts.plain_record import PlainRecord, begun, customs_of, end, plain_contract, step
from contracts.well_formed import NotWellFormed
from contracts.working import Working
from tests.contracts import corridor as c

FORGED: dict[str, Any] = {
    "subject": "another",
    "state": "forged",
    "since_ms": 1,
    "by": "somebody else",
    "statement": b"forged",
    "due_s": 7,
    "flagged": 9,
    "reason": "because",
    "colour": "red",
}
WHO = customs_of("colour", "Whoever.")


@dataclass(frozen=True, kw_only=True)
class Flag(PlainRecord):
    TAG = "flag.v1"
    CONTRACT = "flag"

    colour: str


def _context(working: Working, record: Flag | None, payload: dict[str, Any]) -> Context:
    statement: Any = SimpleNamespace(sub="one", id=b"statement")
    issuer: Any = SimpleNamespace(id="kz/officer")
    parameters: Any = None
    return Context(working, parameters, 5_000, 3, statement, payload, issuer, record)


def test_a_payload_says_what_a_record_is_about_and_never_who_when_in_which_state_or_when_it_is_due() -> None:
    working = Working(c.DictState({}))
    made = begun(Flag, _context(working, None, FORGED), "made")
    said: dict[str, Any] = {
        "subject": "one",
        "by": "kz/officer",
        "statement": b"statement",
        "since_ms": 5_000,
        "colour": "red",
    }
    assert made == Flag(state="made", reason="because", **said)
    assert working.changes() == {}
    blue = _context(working, made, {**FORGED, "colour": "blue"})
    said["colour"] = "blue"
    for row in (step(WHO, "on"), end(WHO, "on")):
        assert row.effect(blue) == Flag(state="on", reason="because", **said)
    assert working.changes() == {}


def _flags(lower: Transition) -> Contract:
    """Raised, waved as often as one likes, and lowered: the end."""
    made = Transition(WHO, lambda ctx: begun(Flag, ctx, "raised"), ("raised",))
    return plain_contract(
        Flag,
        version=1,
        title="Flags",
        subject=Subject(str, "name"),
        visible_to=lambda flag: frozenset(),
        transitions={
            (ABSENT, "raise"): made,
            ("raised", "wave"): step(WHO, "raised"),
            ("raised", "lower"): lower,
        },
        states={"raised": "there for all to see", "lowered": "over"},
        schemas={},
        outcomes=range(500, 520),
        lapse=("lowered", "the day is over"),
    )


def test_what_is_over_is_over_for_the_calendar_too_or_the_contract_is_refused() -> None:
    assert _flags(end(WHO, "lowered")).machines[0].ends == ("lowered",)
    with pytest.raises(NotWellFormed, match=r"row \(raised, lower\) to lowered: expected end, got step"):
        _flags(step(WHO, "lowered"))
    with pytest.raises(NotWellFormed, match=r"row \(raised, lower\) to raised: expected step, got end"):
        _flags(end(WHO, "raised"))

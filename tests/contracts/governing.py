"""A corridor under governance, for tests: two authorities, a deputy registrar of each, and short ways to propose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from contracts.execute import BlockExecution, genesis_state
from contracts.governance_record import Proposal, load_proposal
from contracts.outcome import Outcome
from contracts.parameters import PARAMETERS, parameter_value
from contracts.working import Working
from ledger.algorithms import PublicKey
from ledger.entry import Genesis
from tests.contracts import corridor as c

KZ, CN = "kz-kgd/registrar", "cn-gacc/registrar"
KZ_DEPUTY, CN_DEPUTY = "kz-kgd/deputy", "cn-gacc/deputy"
DEPUTY_KEYS = {name: c.key_of(name) for name in (KZ_DEPUTY, CN_DEPUTY)}
LEAD = 3


def genesis(**parameters: int | str) -> Genesis:
    named: dict[str, int | str] = {"effect_lead_blocks": LEAD, **parameters}
    return replace(c.genesis(**named), contracts={"registry": 1, "declaration": 1, "escort": 1, "governance": 1})


class Governed(c.Ledger):
    """A ledger that can be governed; ids of proposals are given without the side."""

    @classmethod
    def begin(cls, **parameters: int | str) -> Governed:
        ledger = cls(c.DictState(genesis_state(genesis(**parameters))), c.OPEN_MS)
        for deputy, registrar in ((KZ_DEPUTY, KZ), (CN_DEPUTY, CN)):
            enrolment = {"key": DEPUTY_KEYS[deputy].cose_key, "roles": ["customs.registrar"]}
            ledger.must("registry.enrol", registrar, deputy, enrolment)
        officer = {"key": c.KEYS["kz-kgd/officer"].cose_key, "roles": ["customs.officer"]}
        ledger.must("registry.enrol", KZ, "kz-kgd/officer", officer)
        return ledger

    def proposal(self, name: str) -> Proposal:
        record = load_proposal(Working(self.state), name)
        if record is None:
            raise AssertionError(f"no proposal {name}")
        return record

    def by(self, who: str, event: str, name: str, payload: dict[str, Any], key: PublicKey | None = None) -> Outcome:
        return self.send(f"governance.{event}", who, name, payload, key=key or DEPUTY_KEYS.get(who))

    def propose(self, name: str, *changes: dict[str, Any], who: str = KZ, **fields: Any) -> Outcome:
        return self.by(who, "propose", name, {"title": "for the test", "changes": list(changes), **fields})

    def answer(self, event: str, name: str, who: str = CN, **fields: Any) -> Outcome:
        payload: dict[str, Any] = {"proposal": self.proposal(name).statement}
        if event != "approve":
            payload["reason"] = "because"
        return self.by(who, event, name, payload | fields)

    def agree(self, name: str, *changes: dict[str, Any], **fields: Any) -> None:
        for outcome in (self.propose(name, *changes, **fields), self.answer("approve", name)):
            if outcome is not Outcome.ACCEPTED:
                raise AssertionError(f"{name}: {outcome.fact} ({self.detail})")

    def until(self, height: int) -> None:
        """Blocks, each of one statement that changes nothing else, until the next has this height."""
        while self.height < height:
            state = {"kid": c.KEYS["kz-kgd/officer"].kid, "reason": "a block"}
            held = self.participant("kz-kgd/officer").keys[0].state == "suspended"
            self.must("registry.resume" if held else "registry.suspend", KZ, "kz-kgd/officer", state)

    def empty_block(self) -> int:
        """How many proposals take effect, or deadlines fire, in a block without statements."""
        return self.pass_time(0)

    def in_force(self, name: str) -> int | str:
        return parameter_value(self.state.get, name)

    def execution(self) -> BlockExecution:
        return BlockExecution(self.state, self.now_ms, self.height)


def parameter(name: str, to: int | str, *, replaces: int | str | None = None) -> dict[str, Any]:
    present = PARAMETERS[name].default if replaces is None else replaces
    return {"parameter": {"name": name, "from": present, "to": to}}


def contract(name: str, present: int, to: int, release: str = "1.1.0") -> dict[str, Any]:
    return {"contract": {"name": name, "from": present, "to": to, "release": release}}

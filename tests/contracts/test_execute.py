"""The kernel: order of refusals, nothing written on rejection, real signatures, replay."""

from __future__ import annotations

from contracts.outcome import Outcome
from tests.contracts import corridor as c


def test_a_declaration_and_its_movement_go_from_lodging_to_discharge() -> None:
    ledger = c.at("discharged")
    movement = ledger.movement(c.MRN)
    assert movement.custody.authority == "cn-gacc"
    assert movement.custody.liable == "cn/carrier/silk"
    assert movement.guarantee_free_ms is not None
    assert ledger.declaration(c.UCR).movements_open == 0
    assert ledger.send("declaration.clear", "kz-kgd/system", c.UCR, {}) is Outcome.ACCEPTED

"""Parameters: which have a record from the beginning, what holds where there is none, which values may be."""

from __future__ import annotations

import pytest

from contracts import parameters as p
from ledger.errors import Misuse
from tests.contracts import corridor as c


def test_only_the_first_parameters_have_a_record_at_genesis_unless_it_names_others() -> None:
    assert set(p.genesis_parameters({})) == set(p.FIRST)
    assert set(p.genesis_parameters({"proposal_lapse_s": 7_200})) == {*p.FIRST, "proposal_lapse_s"}


def test_a_parameter_without_a_record_has_its_default() -> None:
    state = c.Ledger.of_corridor().state
    assert p.read_parameters(state.get).proposal_lapse_s == p.PARAMETERS["proposal_lapse_s"].default
    assert p.parameter_value(state.get, "effect_lead_blocks") == p.PARAMETERS["effect_lead_blocks"].default
    state.records[p.parameter_key("proposal_lapse_s")] = p.encode_parameter(3_600)
    assert p.read_parameters(state.get).proposal_lapse_s == 3_600


def test_every_default_is_within_its_own_limits() -> None:
    for name, rule in p.PARAMETERS.items():
        p.check_parameter(name, rule.default)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iat_skew_hard_s", 0),
        ("iat_skew_hard_s", True),
        ("iat_skew_hard_s", "60"),
        ("proposal_lapse_s", 3_599),
        ("effect_lead_blocks", 0),
        ("effect_lead_blocks", 100_001),
        ("posts", ""),
        ("posts", 1),
        ("no_such_thing", 1),
    ],
)
def test_a_value_that_a_parameter_may_not_have_is_refused(name: str, value: object) -> None:
    with pytest.raises(Misuse):
        p.check_parameter(name, value)

"""What version 1 of `governance` decides by, held for ever: parameters, their limits, the text of a membership change.

Validators of two releases execute one log. A release that adds a parameter, moves a limit, or takes a text that the one
before refused, decides otherwise about a proposal, and the two come apart: that needs another version of the contract.
A parameter that is added says since which version of which contract it is governed. So a difference here is not a
golden file to be written anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.catalogue import CONTRACTS
from contracts.governance import GOVERNANCE
from contracts.governance_changes import KINDS, contract_version
from contracts.governance_payloads import CHANGE_FIELDS
from contracts.outcome import Outcome
from contracts.parameters import PARAMETERS, IntegerParameter, contradiction
from contracts.working import Working
from ledger.errors import Malformed
from ledger.membership import MAX_CHANGE_BYTES, MAX_STEPS, parse_change
from tests.contracts.governing import Governed, contract, parameter

GOLDEN = Path(__file__).with_name("governance_version_1.golden")

HEAD = (
    "comity membership change v1\norigin comity.example/bakhty-baketu\n"
    f"network {'ab' * 32}\nnumber 1\npresent {'cd' * 32}\n"
)
VKEY = "kz-kgd-3+2e217857+BAbc+zjTGMDGatkQIxfmEiIiIiIiIiIiIiIiIiIiIiIi"
# A text, and whether version 1 takes it.
TEXTS = (
    ("one step", HEAD + "remove kz-kgd-2\n", True),
    ("two steps", HEAD + "promote kz-kgd-3\nremove kz-kgd-2\n", True),
    ("demote", HEAD + "demote kz-kgd-2\n", True),
    ("no step", HEAD, False),
    ("a verb of a later release", HEAD + "require approval\n", False),
    ("another version", HEAD.replace("v1", "v2", 1) + "remove kz-kgd-2\n", False),
    ("a line of a later release", HEAD + "rule approved\nremove kz-kgd-2\n", False),
    ("the same member twice", HEAD + "remove kz-kgd-2\ndemote kz-kgd-2\n", False),
    ("no newline at the end", HEAD + "remove kz-kgd-2", False),
    ("a blank too many", HEAD + "remove  kz-kgd-2\n", False),
    ("capital letters", HEAD + "remove KZ-KGD-2\n", False),
    ("a number with a leading nought", HEAD.replace("number 1", "number 01") + "remove kz-kgd-2\n", False),
    ("an upper-case hash", HEAD.replace("ab" * 32, "AB" * 32) + "remove kz-kgd-2\n", False),
    ("a key that is none", HEAD + f"add kz-kgd-3 kz-kgd 10.0.0.1:7000 {VKEY}x\n", False),
    ("too many steps", HEAD + "".join(f"remove kz-kgd-{n}\n" for n in range(MAX_STEPS + 1)), False),
    ("as many steps as may be", HEAD + "".join(f"remove kz-kgd-{n}\n" for n in range(MAX_STEPS)), True),
)


def rules() -> list[str]:
    """One line for each thing that a proposal is held against."""
    lines = []
    for name, rule in PARAMETERS.items():
        if rule.since is not None:
            continue
        limits = f"{rule.lowest} {rule.highest}" if isinstance(rule, IntegerParameter) else "posts"
        lines.append(f"parameter {name} default {rule.default} limits {limits}")
    lines += [f"change {kind} {' '.join(KINDS[kind].fields)}" for kind in CHANGE_FIELDS]
    lines.append(f"membership at most {MAX_STEPS} steps {MAX_CHANGE_BYTES} bytes")
    return lines


def test_parameters_limits_and_kinds_of_change_are_those_of_version_1() -> None:
    assert GOVERNANCE.version == 1
    assert rules() == GOLDEN.read_text(encoding="ascii").splitlines()


@pytest.mark.parametrize("name", [name for name, rule in PARAMETERS.items() if rule.since is not None])
def test_a_parameter_that_came_later_is_unknown_until_the_version_that_brought_it(name: str) -> None:
    rule = PARAMETERS[name]
    assert isinstance(rule, IntegerParameter)
    assert rule.since is not None
    assert rule.since in CONTRACTS
    contract_name, version = rule.since
    ledger = Governed.begin()
    change = parameter(name, rule.highest)
    assert ledger.propose("kz-kgd/1", change) is Outcome.PARAMETER_UNKNOWN
    present = contract_version(Working(ledger.state), contract_name)
    ledger.agree("kz-kgd/2", contract(contract_name, present, version))
    ledger.until(ledger.proposal("kz-kgd/2").effect_height + 1)
    assert ledger.propose("kz-kgd/3", change) is Outcome.ACCEPTED


def test_the_parameters_that_go_together_are_still_the_same() -> None:
    defaults = {name: rule.default for name, rule in PARAMETERS.items()}
    assert contradiction(defaults.__getitem__) is None
    assert contradiction({**defaults, "iat_skew_soft_s": 61, "iat_skew_hard_s": 60}.__getitem__) is not None
    assert contradiction({**defaults, "iat_skew_soft_s": 60, "iat_skew_hard_s": 60}.__getitem__) is None
    # Nothing else is compared with anything.
    for name, rule in PARAMETERS.items():
        if isinstance(rule, IntegerParameter) and not name.startswith("iat_skew"):
            for value in (rule.lowest, rule.highest):
                assert contradiction({**defaults, name: value}.__getitem__) is None


@pytest.mark.parametrize(("what", "text", "taken"), TEXTS, ids=[what for what, _, _ in TEXTS])
def test_the_text_of_a_membership_change_is_taken_as_by_version_1(what: str, text: str, taken: bool) -> None:
    if taken:
        assert parse_change(text).text() == text
    else:
        with pytest.raises(Malformed):
            parse_change(text)

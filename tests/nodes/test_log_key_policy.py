"""The policy file that goes with a log key of later: what it keeps of the file of before."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ledger.policy import parse_policy
from nodes.cli.log_key_policy import policy_of_decisions
from nodes.network import policy_text
from tests.nodes.world import World

WORLD = World()
KZ = "kz-kgd"


def gateway() -> SimpleNamespace:
    key = {"authority": KZ, "kind": "log_key", "waiting": False, "proposal": None}
    value = WORLD.log_keys[KZ].public_key.hex()
    return SimpleNamespace(membership=lambda: {"changes": []}, governance=lambda: {"keys": [{**key, "value": value}]})


@pytest.mark.parametrize(("before", "wanted"), [("any", 1), ("2", 2)])
def test_the_new_file_wants_as_many_of_each_side_as_the_one_before(before: str, wanted: int) -> None:
    known = policy_text(WORLD.genesis, KZ)
    for country in ("kz", "cn"):
        known = known.replace(f"group {country} any ", f"group {country} {before} ")
    text = policy_of_decisions(gateway(), WORLD.genesis.encode(), known.encode(), KZ)
    thresholds = {group.name: group.threshold for group in parse_policy(text.encode()).groups}
    assert thresholds == {"kz": wanted, "cn": wanted, "both": 2}

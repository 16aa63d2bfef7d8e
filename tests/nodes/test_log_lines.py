"""By which log keys an archive may be restored: those that its own ledger says count where it ends."""

from __future__ import annotations

import pytest

from contracts.authority_keys import read_authority_keys
from ledger.errors import Untrue
from ledger.policy import parse_policy
from nodes.log_lines import check_counts
from tests.contracts.rotated import CN, KZ, OVERLAP_S, RotatedWorld


@pytest.fixture(scope="module")
def ended() -> RotatedWorld:
    world = RotatedWorld()
    world.rotate()
    world.time_ms += OVERLAP_S * 1000
    world.idle()
    return world


@pytest.mark.parametrize(
    ("policy", "lines", "holds"),
    [
        ("new", "new cn", True),
        ("new old", "new", True),
        ("cn", "old cn", True),
        ("old", "old cn", False),
        ("new old", "old cn", False),
        ("new", "cn", False),
    ],
)
def test_the_line_that_the_policy_goes_by_has_to_be_of_a_key_that_counts_there(
    ended: RotatedWorld, policy: str, lines: str, holds: bool
) -> None:
    signers = {"old": ended.old, "new": ended.new, "cn": ended.log_signers[CN]}
    note = ended.signed_by(*(signers[each] for each in lines.split()))
    named = parse_policy(ended.policy_of([signers[each] for each in policy.split()]))
    keys, last = read_authority_keys(ended.chain.state, [KZ, CN]), ended.chain.last_block
    assert last is not None
    if holds:
        check_counts(note, named, keys, last.height, last.time_ms)
        return
    with pytest.raises(Untrue, match="comity governance policy"):
        check_counts(note, named, keys, last.height, last.time_ms)

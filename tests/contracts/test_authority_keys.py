"""Which log keys and CAs count where: read from the state, against a list that the test keeps by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.authority_keys import CHANGES_WITH, Waiting, read_authority_keys
from contracts.governance_record import now_key, proposal_key
from contracts.working import UnreadableRecord
from ledger.tenure import Tenure, counting
from tests.contracts import corridor as c
from tests.contracts.governing import Governed

KZ, CN = "kz-kgd", "cn-gacc"
BOTH = (KZ, CN)


def of(kind: str, ledger: Governed, name: str = KZ) -> tuple[Tenure, ...]:
    keys = read_authority_keys(ledger.state, BOTH)
    return (keys.log_keys if kind == "log_key" else keys.cas)[name]


def replace_key(
    ledger: Governed, proposal: str, to: bytes, overlap_s: int | None, kind: str = "log_key", name: str = KZ
) -> tuple[int, int]:
    """Height and block time at which it takes effect."""
    change: dict[str, Any] = {"authority": name, "from": of(kind, ledger, name)[-1].value, "to": to}
    if overlap_s is not None:
        change["overlap_s"] = overlap_s
    ledger.agree(proposal, {kind: change})
    height = ledger.proposal(proposal).effect_height
    ledger.until(height)
    ledger.empty_block()
    return height, ledger.proposal(proposal).since_ms


def test_at_first_the_keys_are_those_of_the_genesis_record() -> None:
    ledger = Governed.begin()
    genesis = {each.name: each for each in c.genesis().authorities}
    for name in BOTH:
        assert of("log_key", ledger, name) == (Tenure(name, genesis[name].log_key, 0),)
        assert of("ca", ledger, name) == (Tenure(name, genesis[name].ca_sha256, 0),)


def test_a_state_without_governance_has_the_same_tenures() -> None:
    state = {key: value for key, value in Governed.begin().state.records.items() if not key.startswith("govern")}
    genesis = c.genesis().authorities[0]
    assert read_authority_keys(state, (genesis.name,)).log_keys[genesis.name] == (
        Tenure(genesis.name, genesis.log_key, 0),
    )


@pytest.mark.parametrize("kind", ["log_key", "ca"])
def test_a_replaced_key_counts_for_its_overlap_and_the_new_one_from_its_height_on(kind: str) -> None:
    ledger = Governed.begin()
    old = of(kind, ledger)[0].value
    new = c.raw_ed25519("new") if kind == "log_key" else bytes(range(32))
    height, time_ms = replace_key(ledger, f"{KZ}/1", new, 60, kind)
    assert of(kind, ledger) == (
        Tenure(KZ, old, 0, height, time_ms + 60_000),
        Tenure(KZ, new, height, proposal=f"{KZ}/1"),
    )
    both = of(kind, ledger)
    assert [each.value for each in counting(both, height - 1, time_ms)] == [old]
    assert [each.value for each in counting(both, height, time_ms + 59_999)] == [new, old]
    assert [each.value for each in counting(both, height, time_ms + 60_000)] == [new]
    # What was signed before, was signed before, however late it is looked at.
    assert [each.value for each in counting(both, height - 1, time_ms + 10**9)] == [old]


def test_without_an_overlap_the_old_key_ends_as_the_new_one_begins() -> None:
    ledger = Governed.begin()
    old = of("log_key", ledger)[0].value
    height, time_ms = replace_key(ledger, f"{KZ}/1", c.raw_ed25519("new"), None)
    assert not of("log_key", ledger)[0].counts(height, time_ms)
    assert of("log_key", ledger)[0].counts(height - 1, time_ms)
    assert old == of("log_key", ledger)[0].value


def test_the_other_authority_s_keys_stay_as_they_are() -> None:
    ledger = Governed.begin()
    before = of("log_key", ledger, CN)
    replace_key(ledger, f"{KZ}/1", c.raw_ed25519("new"), 60)
    assert of("log_key", ledger, CN) == before
    assert of("ca", ledger)[0].until_height is None


def test_what_is_only_approved_waits_and_counts_nowhere() -> None:
    ledger = Governed.begin()
    old = of("log_key", ledger)[0]
    change = {"authority": KZ, "from": old.value, "to": c.raw_ed25519("new")}
    ledger.agree(f"{KZ}/1", {"log_key": change})
    keys = read_authority_keys(ledger.state, BOTH)
    assert keys.log_keys[KZ] == (old,)
    height = ledger.proposal(f"{KZ}/1").effect_height
    assert keys.log_keys_waiting == (Waiting(KZ, c.raw_ed25519("new"), height, f"{KZ}/1"),)
    assert keys.log_keys_at(KZ, height - 1, ledger.now_ms) == (old.value,)


def test_what_one_side_alone_has_proposed_does_not_even_wait() -> None:
    ledger = Governed.begin()
    change = {"authority": KZ, "from": of("log_key", ledger)[0].value, "to": c.raw_ed25519("new")}
    ledger.propose(f"{KZ}/1", {"log_key": change})
    for _ in range(20):
        ledger.until(ledger.height + 1)
    keys = read_authority_keys(ledger.state, BOTH)
    assert (keys.log_keys_waiting, len(keys.log_keys[KZ])) == ((), 1)


def test_every_change_of_what_counts_rewrites_the_row_that_says_so() -> None:
    """Validators look again only when that row was written."""
    ledger = Governed.begin()
    seen = [(read_authority_keys(ledger.state, BOTH), ledger.state.get(CHANGES_WITH))]
    change = {"authority": KZ, "from": of("ca", ledger)[0].value, "to": bytes(range(32)), "overlap_s": 5}
    ledger.agree(f"{KZ}/1", {"ca": change})
    seen.append((read_authority_keys(ledger.state, BOTH), ledger.state.get(CHANGES_WITH)))
    ledger.until(ledger.proposal(f"{KZ}/1").effect_height)
    ledger.empty_block()
    seen.append((read_authority_keys(ledger.state, BOTH), ledger.state.get(CHANGES_WITH)))
    for (keys, row), (later, row_later) in pairwise(seen):
        assert keys != later
        assert row != row_later


def test_a_history_that_does_not_fit_together_is_refused() -> None:
    ledger = Governed.begin()
    replace_key(ledger, f"{KZ}/1", c.raw_ed25519("new"), 60)
    without = {key: value for key, value in ledger.state.records.items() if key != proposal_key(f"{KZ}/1")}
    with pytest.raises(UnreadableRecord, match="is said to have brought"):
        read_authority_keys(without, BOTH)
    moved = dict(ledger.state.records)
    del moved[now_key(f"log_key/{KZ}")]
    moved[now_key(f"log_key/{CN}")] = ledger.state.records[now_key(f"log_key/{KZ}")]
    with pytest.raises(UnreadableRecord):
        read_authority_keys(moved, BOTH)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(BOTH), st.sampled_from([None, 0, 1, 7, 400]), st.integers(0, 5)),
        min_size=1,
        max_size=5,
    )
)
def test_after_any_rotations_the_same_keys_count_as_in_a_list_kept_by_hand(
    rotations: list[tuple[str, int | None, int]],
) -> None:
    ledger = Governed.begin()
    # By hand: for each authority what is in force, and what ended, with the block time from which it counts no more.
    present = {name: of("log_key", ledger, name)[0].value for name in BOTH}
    ended: dict[str, list[tuple[bytes, int]]] = {name: [] for name in BOTH}
    for number, (name, overlap_s, idle) in enumerate(rotations):
        new = c.raw_ed25519(f"log {number}")
        _, time_ms = replace_key(ledger, f"{KZ}/{number}", new, overlap_s, name=name)
        ended[name].append((present[name], time_ms + (overlap_s or 0) * 1000))
        present[name] = new
        for _ in range(idle):
            ledger.until(ledger.height + 1)
            keys = read_authority_keys(ledger.state, BOTH)
            height, time_ms = ledger.height - 1, ledger.now_ms
            for each in BOTH:
                still = {old for old, until_ms in ended[each] if time_ms < until_ms}
                found = keys.log_keys_at(each, height, time_ms)
                assert found[0] == present[each]
                assert set(found[1:]) == still

"""The state as of the newest final checkpoint, while execution goes on: one block's, bounded, and let go of."""

from __future__ import annotations

import asyncio

import pytest

from ledger.status_proof import verify_status_proof
from ledger.store import StoreUnavailable
from nodes import final_state
from nodes.final_state import MAX_VIEWS, FinalState, NotFinal
from tests.nodes.attesters import Network

KEY = "parameter/test"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_state, "WAIT_S", 0.1)


def value(number: int) -> dict[str, bytes | None]:
    return {KEY: b"%d" % number}


async def test_a_proof_is_of_the_final_block_though_the_state_has_moved_on() -> None:
    network = Network()
    node = network.nodes["kz-kgd-1"]
    node.finalise(node.append(changes=value(1)))
    assert (await node.final_state.latest()).prove(KEY).value == b"1"
    second = node.append(changes=value(2))
    node.append(changes=value(3))
    assert node.chain.state.get(KEY) == b"3"
    before = (await node.final_state.latest()).prove(KEY)
    assert before.value == b"1"
    node.finalise(second)
    after = (await node.final_state.latest()).prove(KEY)
    assert after.value == b"2"
    for proof in (before, after):
        verify_status_proof(proof, network.policy)


async def test_what_becomes_final_while_one_waits_is_what_one_gets() -> None:
    node = Network().nodes["kz-kgd-1"]
    waiting = asyncio.create_task(node.final_state.latest())
    await asyncio.sleep(0)
    checkpoint = node.append(changes=value(1))
    node.append(changes=value(2))
    await asyncio.sleep(0)
    node.finalise(checkpoint)
    assert (await waiting).prove(KEY).value == b"1"


async def test_nothing_is_kept_as_long_as_nobody_asks() -> None:
    node = Network().nodes["kz-kgd-1"]
    for number in range(10):
        node.finalise(node.append(changes=value(number)))
    assert node.final_state.views == 0


async def test_when_nobody_has_asked_for_a_while_everything_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Network().nodes["kz-kgd-1"]
    node.finalise(node.append(changes=value(1)))
    await node.final_state.latest()
    assert node.final_state.views == 1
    monkeypatch.setattr(node.clock, "monotonic_s", lambda: 1e12)
    node.finalise(node.append(changes=value(2)))
    assert node.final_state.views == 0


async def test_views_are_bounded_while_nothing_becomes_final() -> None:
    node = Network().nodes["kz-kgd-1"]
    node.finalise(node.append(changes=value(0)))
    await node.final_state.latest()
    for number in range(MAX_VIEWS * 2):
        node.append(changes=value(number))
    assert node.final_state.views == MAX_VIEWS


async def test_what_is_final_stays_provable_however_much_is_executed_after_it() -> None:
    node = Network().nodes["kz-kgd-1"]
    node.finalise(node.append(changes=value(0)))
    await node.final_state.latest()
    for number in range(1, MAX_VIEWS * 2):
        node.append(changes=value(number))
    assert (await node.final_state.latest()).prove(KEY).value == b"0"


async def test_a_view_that_cannot_be_had_does_not_stop_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Network().nodes["kz-kgd-1"]
    node.finalise(node.append(changes=value(1)))
    await node.final_state.latest()

    def refuse() -> object:
        raise StoreUnavailable("no file descriptor is left")

    monkeypatch.setattr(node.store, "view", refuse)
    node.append(changes=value(2))
    assert (await node.final_state.latest()).prove(KEY).value == b"1"


async def test_without_a_final_checkpoint_whose_state_is_at_hand_it_says_so() -> None:
    node = Network().nodes["kz-kgd-1"]
    with pytest.raises(NotFinal):
        await node.final_state.latest()
    checkpoint = node.append(changes=value(1))
    node.finalise(checkpoint)
    with pytest.raises(NotFinal):
        await node.final_state.latest(checkpoint.size + 1)


async def test_after_a_start_in_the_middle_the_next_final_checkpoint_is_proven() -> None:
    """The newest final block is not the newest block, and nobody kept its state: it is not guessed at."""
    network = Network()
    node = network.nodes["kz-kgd-1"]
    node.finalise(node.append(changes=value(1)))
    node.append(changes=value(2))
    restarted = FinalState(node.store, node.chain, node.clock, lambda: node.final, lambda: node.changed)
    with pytest.raises(NotFinal):
        await restarted.latest()
    node.final_state = restarted
    node.finalise(node.append(changes=value(3)))
    assert (await restarted.latest()).prove(KEY).value == b"3"


async def test_a_view_taken_while_a_block_came_in_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Network().nodes["kz-kgd-1"]
    node.finalise(node.append(changes=value(1)))
    take = node.store.view

    def late() -> object:
        monkeypatch.setattr(node.store, "view", take)
        node.append(changes=value(2))
        return take()

    monkeypatch.setattr(node.store, "view", late)
    with pytest.raises(NotFinal):
        await node.final_state.latest()


async def test_a_view_taken_when_asked_stays_open_when_execution_reports_its_block_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others made it final, and somebody asks, between the block on the disk and the word that it is."""
    node = Network().nodes["kz-kgd-1"]
    node.finalise(node.append(changes=value(1)))
    await node.final_state.latest()
    told = node.final_state.grown
    monkeypatch.setattr(node.final_state, "grown", lambda _: None)
    checkpoint = node.append(changes=value(2))
    node.finalise(checkpoint)
    assert (await node.final_state.latest()).prove(KEY).value == b"2"
    told(checkpoint.size)
    assert node.final_state.views == 1
    assert (await node.final_state.latest()).prove(KEY).value == b"2"

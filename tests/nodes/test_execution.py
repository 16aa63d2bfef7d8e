"""Executing the order, whatever a lying leader put there and whenever the machine stops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from contracts.execute import BlockExecution
from contracts.outcome import Outcome
from ledger import cbor
from ledger.errors import UnknownDurableState
from ledger.statement import Statement
from ledger.store import Batch, MemoryStore, StoreUnavailable
from nodes.blocks import encode_block
from nodes.cosigning import INTENT_KEY, Intent
from nodes.execution import MAX_AHEAD_MS, Accepted, Executed, Halted, Rejected, Unparsable
from tests.nodes.world import HandClock, Node, World

WORLD = World()


def block(*statements: Statement | bytes, proposer: str = "cn-gacc-1", after_ms: int = 0) -> bytes:
    raws = [each.raw if isinstance(each, Statement) else each for each in statements]
    return encode_block(proposer, WORLD.time_ms + after_ms, raws)


def run(node: Node, *payloads: bytes) -> list[Executed]:
    first = node.execution.applied + 1
    return [node.execution.execute(first + number, payload, 0) for number, payload in enumerate(payloads)]


def test_an_accepted_statement_is_on_the_log_and_signed() -> None:
    node, statement = WORLD.node(), WORLD.enrol()
    (executed,) = run(node, block(statement))
    assert executed.results == ((statement.raw, Accepted(1, 1, WORLD.time_ms, False)),)
    assert node.chain.entry(1) == statement.raw
    assert executed.signed is not None
    assert executed.signed.checkpoint.size == node.chain.size == 3
    stored = node.store.get(INTENT_KEY)
    assert stored is not None
    assert Intent.decode(stored) == Intent(3, node.chain.root, node.clock.now_ms() // 1000)


def lies() -> dict[str, Callable[[Statement], bytes]]:
    """Payloads that no honest leader proposes."""
    return {
        "no cbor": lambda _: b"\xff\xff",
        "a number": lambda _: cbor.encode(7),
        "a member too many": lambda s: cbor.encode({"p": "cn-gacc-1", "s": [s.raw], "t": 1, "x": 1}),
        "a member missing": lambda s: cbor.encode({"p": "cn-gacc-1", "s": [s.raw]}),
        "no proposer": lambda s: cbor.encode({"p": 5, "s": [s.raw], "t": 1}),
        "a stranger": lambda s: block(s, proposer="xx-yyy-1"),
        "negative time": lambda s: cbor.encode({"p": "cn-gacc-1", "s": [s.raw], "t": -1}),
        "true for a time": lambda s: cbor.encode({"p": "cn-gacc-1", "s": [s.raw], "t": True}),
        "statements that are text": lambda _: cbor.encode({"p": "cn-gacc-1", "s": ["text"], "t": 1}),
        "statements that are no list": lambda s: cbor.encode({"p": "cn-gacc-1", "s": s.raw, "t": 1}),
        "a byte behind": lambda s: block(s) + b"\x00",
    }


@pytest.mark.parametrize("lie", lies())
def test_a_payload_that_is_no_block_is_skipped_and_the_next_one_executed(lie: str) -> None:
    node, statement = WORLD.node(), WORLD.enrol()
    before = node.whole()
    executed = node.execution.execute(1, lies()[lie](statement), 0)
    assert executed.block is None
    assert node.whole() == before
    run(node, block(statement))
    assert node.chain.size == 3


def test_a_statement_that_does_not_parse_is_skipped_and_the_others_are_not() -> None:
    node, good = WORLD.node(), WORLD.enrol()
    (executed,) = run(node, block(b"garbage", good, good.raw[:-1]))
    kinds = [type(result) for _, result in executed.results]
    assert kinds == [Unparsable, Accepted, Unparsable]
    assert node.chain.size == 3


def test_a_forged_statement_in_a_block_changes_no_byte() -> None:
    node, statement = WORLD.node(), WORLD.enrol()
    before = node.whole()
    for position in (len(statement.raw) - 1, len(statement.raw) - 40):
        forged = bytearray(statement.raw)
        forged[position] ^= 1
        (executed,) = run(node, block(bytes(forged)))
        assert isinstance(executed.results[0][1], Rejected | Unparsable)
    assert node.whole() == before


def test_a_statement_happens_once_however_often_it_is_ordered() -> None:
    node, statement = WORLD.node(), WORLD.enrol()
    first, again = run(node, block(statement, statement), block(statement))
    assert [result for _, result in first.results] == [
        Accepted(1, 1, WORLD.time_ms, False),
        Accepted(1, 1, WORLD.time_ms, True),
    ]
    assert again.results[0][1] == Accepted(1, 1, WORLD.time_ms, True)
    assert again.checkpoint is None
    assert node.chain.size == 3
    (counted,) = node.metrics.accepted.collect()
    assert counted.samples[0].value == 1


def test_an_issuers_cti_counts_once_in_a_block_and_across_blocks() -> None:
    node = WORLD.node()
    one, two, three = (WORLD.enrol(cti=b"c" * 16) for _ in range(3))
    first, second = run(node, block(one, two), block(three))
    assert isinstance(first.results[0][1], Accepted)
    assert first.results[1][1] == Rejected(Outcome.CTI_REUSED, None)
    assert second.results[0][1] == Rejected(Outcome.CTI_REUSED, None)


def test_a_block_of_rejected_statements_leaves_no_trace() -> None:
    node, stranger = WORLD.node(), World(time_ms=WORLD.time_ms)
    before = node.whole()
    (executed,) = run(node, block(stranger.enrol()))
    assert isinstance(executed.results[0][1], Rejected)
    assert executed.checkpoint is None
    assert executed.signed is None
    assert node.whole() == before


def test_block_time_never_goes_back_even_if_a_leader_says_so() -> None:
    node = WORLD.node()
    run(node, block(WORLD.enrol(), after_ms=500), block(WORLD.enrol(), after_ms=-100_000))
    assert [node.chain.block(height).time_ms for height in (1, 2)] == [WORLD.time_ms + 500] * 2


def test_a_block_from_the_future_is_executed_and_signed_when_our_clock_has_caught_up() -> None:
    node = WORLD.node()
    (executed,) = run(node, block(WORLD.enrol(), after_ms=1000 + MAX_AHEAD_MS + 1))
    assert executed.checkpoint is not None
    assert executed.signed is None
    assert node.store.get(INTENT_KEY) is None
    assert node.execution.sign_now() is None
    node.clock.time_ms += 1
    signed = node.execution.sign_now()
    assert signed is not None
    assert signed.checkpoint == executed.checkpoint


def test_while_catching_up_not_every_block_is_signed_but_the_last_is() -> None:
    node = WORLD.node()
    signed = []
    for number in range(40):
        executed = node.execution.execute(number + 1, block(WORLD.enrol()), 40 - number - 1)
        if executed.signed is not None:
            signed.append(executed.height)
    assert signed == [16, *range(24, 41)]


def test_all_validators_come_to_the_same_ledger_from_the_same_order() -> None:
    order = [
        b"",
        block(WORLD.enrol(), b"junk"),
        b"no block",
        block(WORLD.enrol("cn-gacc"), after_ms=700),
        block(after_ms=800),
        block(WORLD.enrol(), after_ms=-5),
    ]
    roots = set()
    for name in WORLD.cosigners:
        node = WORLD.node(name, clock=HandClock(WORLD.time_ms + 100 * len(name)))
        run(node, *order)
        roots.add((node.chain.size, node.chain.root, node.chain.state.root))
    assert len(roots) == 1


def test_an_exception_in_a_contract_halts_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    node = WORLD.node()
    before = node.whole()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(BlockExecution, "execute", broken)
    with pytest.raises(Halted, match="ZeroDivisionError: a bug"):
        run(node, block(WORLD.enrol()))
    assert node.whole() == before
    assert node.execution.applied == 0


def test_an_order_with_a_gap_stops_the_validator() -> None:
    node = WORLD.node()
    with pytest.raises(UnknownDurableState, match="goes on at 2"):
        node.execution.execute(2, block(WORLD.enrol()), 0)


# --- the disk --------------------------------------------------------------------------------------------------------


class FailingStore(MemoryStore):
    """Refuses writes, or loses the power after one."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.crash_after = False

    def write(self, batch: Batch, sync: bool = True) -> None:
        if self.full:
            raise StoreUnavailable("disk is full")
        super().write(batch, sync)
        if self.crash_after:
            raise UnknownDurableState("power was lost")


def test_a_full_disk_changes_nothing_and_the_block_is_executed_when_there_is_room() -> None:
    store = FailingStore()
    node, statement = WORLD.node(store=store), WORLD.enrol()
    before = node.whole()
    store.full = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            node.execution.execute(1, block(statement), 0)
        assert node.whole() == before
    store.full = False
    executed = node.execution.execute(1, block(statement), 0)
    assert executed.signed is not None
    assert node.chain.size == 3


def test_after_a_crash_behind_the_write_the_same_signature_is_made_again() -> None:
    store = FailingStore()
    node, payload = WORLD.node(store=store), block(WORLD.enrol())
    store.crash_after = True
    with pytest.raises(UnknownDurableState):
        node.execution.execute(1, payload, 0)
    store.crash_after = False
    # It started again an hour later: the block is there, and so is the promise to sign it as of then.
    later = HandClock(node.clock.now_ms() + 3_600_000)
    again = WORLD.node(store=store.reopen(), clock=later)
    assert again.execution.applied == 1
    signed = again.execution.open_signature()
    assert signed is not None
    reference = WORLD.node(clock=HandClock(node.clock.now_ms()))
    assert run(reference, payload)[0].signed == signed
    assert again.execution.sign_now() is None


def test_a_ledger_that_lost_what_was_signed_is_not_used() -> None:
    node = WORLD.node()
    run(node, block(WORLD.enrol()), block(WORLD.enrol()))
    early = WORLD.node()
    intent = node.store.get(INTENT_KEY)
    assert intent is not None
    early.store.write({INTENT_KEY: intent})
    again = WORLD.node(store=early.store)
    with pytest.raises(UnknownDurableState, match="lost entries"):
        again.execution.open_signature()


def test_a_ledger_with_another_root_than_was_signed_is_not_used() -> None:
    node = WORLD.node()
    run(node, block(WORLD.enrol()))
    stored = node.store.get(INTENT_KEY)
    assert stored is not None
    node.store.write({INTENT_KEY: dataclasses.replace(Intent.decode(stored), root=bytes(32)).encode()})
    with pytest.raises(UnknownDurableState, match="not the one that was signed"):
        WORLD.node(store=node.store).execution.open_signature()


def test_what_was_rejected_is_executed_again_after_a_start_to_the_same_ledger() -> None:
    store = MemoryStore()
    node, stranger = WORLD.node(store=store), World(time_ms=WORLD.time_ms)
    order = [block(WORLD.enrol()), block(stranger.enrol()), b"", b"lie"]
    run(node, *order)
    again = WORLD.node(store=store.reopen())
    assert again.execution.applied == 1
    run(again, *order[1:])
    assert again.chain.root == node.chain.root


def test_records_are_listed_by_prefix_in_order() -> None:
    node = WORLD.node()
    run(node, block(WORLD.enrol(name="b"), WORLD.enrol(name="a")), block(WORLD.enrol(name="c")))
    trucks = list(node.records.keys("registry/kz/truck/", ""))
    assert trucks == ["registry/kz/truck/a", "registry/kz/truck/b", "registry/kz/truck/c"]
    assert list(node.records.keys("registry/kz/truck/", trucks[0])) == trucks[1:]
    assert list(node.records.keys("registry/kz/truck/", trucks[2])) == []
    assert "registry/kz-kgd/registrar" in list(node.records.keys("registry/", ""))

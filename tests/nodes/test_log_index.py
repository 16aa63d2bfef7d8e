"""The look-up index: what it finds, against a dumb scan of the log; made again, it is the same to the byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.algorithms import EDDSA, PrivateKey
from ledger.chain import Chain
from ledger.entry import BlockRecord, parse_entry
from ledger.statement import Statement, sign_statement
from ledger.store import Batch, MemoryStore, StoreUnavailable
from nodes import log_index
from nodes.blocks import encode_block
from nodes.log_index import AT, MENTION, PREFIX, Incomplete, LogIndex, keep_up
from tests.nodes.world import World

KEY = PrivateKey.generate(EDDSA)
WORLD = World()
UCR, OTHER_UCR = "KZ26/AGRO-000001", "KZ26/AGRO-000002"
MRNS = ("26KZ000000000001J9", "26KZ00000000000014")
BOX, OTHER_BOX = "CSQU3054383", "CBHU3202732"


def content(*containers: str) -> dict[str, Any]:
    return {"containers": list(containers), "documents": [{"kind": "invoice", "number": BOX}]}


def plan(*containers: str, ucr: str = UCR, vehicle: str = "fleet/BKT-0001") -> dict[str, Any]:
    return {
        "declarations": [ucr],
        "containers": list(containers),
        "vehicle": vehicle,
        "truck": "kz/truck/t-001",
        "carrier": "kz/carrier/sary",
        "exit_post": "KZ/BAKHTY@46660000,82750000",
        "entry_post": "CNBKT",
    }


class Ledger:
    """A chain with its index, blocks appended as execution appends them; no contract is asked."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        self.chain = Chain.open(self.store)
        self.index = LogIndex(self.store, self.chain)
        if not self.chain.initialised:
            self.store.write(self.index.beginning())
            self.chain.initialise(WORLD.genesis, {})
            self.index.begun()

    def append(self, *events: tuple[str, str, Mapping[str, Any]], indexed: bool = True) -> None:
        size = self.chain.size
        statements = [
            sign_statement(
                KEY,
                kind=kind,
                iss="kz/x",
                sub=sub,
                iat_s=1_800_000_000,
                cti=(size + number).to_bytes(16, "big"),
                payload=dict(payload),
            )
            for number, (kind, sub, payload) in enumerate(events)
        ]
        time_ms = WORLD.time_ms + 1000 * self.chain.height
        extra = self.index.additions(statements, time_ms) if indexed else {}
        self.chain.append_block(self.chain.applied + 1, time_ms, "kz-kgd-1", statements, {}, lambda _: extra)
        if indexed:
            self.index.added(len(statements))

    def reopened(self) -> Ledger:
        return Ledger(self.store.reopen())

    def made_again(self) -> LogIndex:
        while self.index.catch_up():
            pass
        return self.index

    def rows(self) -> dict[bytes, bytes]:
        return dict(self.store.iterate(PREFIX, PREFIX + b"\xff"))

    def find(self, kind: str, text: str, **how: Any) -> list[str]:
        found, _ = self.index.find(kind, text, limit=100, **how)
        return [each.key for each in found]


def a_crossing(ledger: Ledger) -> None:
    ledger.append(("declaration.lodge", UCR, {"content": content(BOX)}))
    ledger.append(
        ("declaration.accept", UCR, {"number": "55301/221126/0000123"}),
        ("declaration.recognise", UCR, {"number": "943020261000000123", "version": 1}),
    )
    ledger.append(("escort.plan", MRNS[0], plan(BOX)), ("escort.seal", MRNS[0], {"seals": [{"id": "HS01"}]}))
    ledger.append(("escort.position", MRNS[0], {"fix": {}}))
    ledger.append(("escort.incident", MRNS[0], {"code": "vehicle_changed", "vehicle": "KZ/123ABC02"}))
    ledger.append(("escort.plan", MRNS[1], plan(BOX, OTHER_BOX)))


@pytest.mark.parametrize(
    ("kind", "text", "keys"),
    [
        ("ucr", UCR, [f"escort/{MRNS[1]}", f"escort/{MRNS[0]}", f"declaration/{UCR}"]),
        ("number", "55301/221126/0000123", [f"declaration/{UCR}"]),
        ("number", "943020261000000123", [f"declaration/{UCR}"]),
        ("mrn", MRNS[0], [f"escort/{MRNS[0]}"]),
        ("container", BOX, [f"escort/{MRNS[1]}", f"escort/{MRNS[0]}", f"declaration/{UCR}"]),
        ("container", OTHER_BOX, [f"escort/{MRNS[1]}"]),
        ("seal", "HS01", [f"escort/{MRNS[0]}"]),
        ("vehicle", "fleet/BKT-0001", [f"escort/{MRNS[1]}", f"escort/{MRNS[0]}"]),
        ("vehicle", "KZ/123ABC02", [f"escort/{MRNS[0]}"]),
        ("participant", "kz/truck/t-001", [f"escort/{MRNS[1]}", f"escort/{MRNS[0]}"]),
        ("container", "MSKU0000007", []),
        # Neither the number of a document nor the beginning of an identifier is found.
        ("number", BOX, []),
        ("container", "CSQU305438", []),
        ("ucr", "KZ26/AGRO-00000", []),
    ],
)
def test_every_identifier_leads_to_its_records_newest_first(kind: str, text: str, keys: list[str]) -> None:
    ledger = Ledger()
    a_crossing(ledger)
    assert ledger.find(kind, text) == keys
    assert ledger.find(kind, text, newest_first=False) == keys[::-1]


def test_what_is_found_says_where_its_record_began_and_where_it_was_mentioned_last() -> None:
    ledger = Ledger()
    a_crossing(ledger)
    ((found,), more) = ledger.index.find("vehicle", "KZ/123ABC02", limit=5)
    first, last = (parse_entry(ledger.chain.entry(index)) for index in (found.first_entry, found.last_entry))
    assert isinstance(first, Statement)
    assert isinstance(last, Statement)
    assert (first.kind, last.kind, more) == ("escort.plan", "escort.incident", False)


def test_hundreds_of_crossings_of_one_container_come_in_pages_without_gap_or_repetition() -> None:
    ledger = Ledger()
    mrns = [f"26KZ{number:014}" for number in range(300)]
    for start in range(0, 300, 100):
        ledger.append(*(("escort.plan", mrn, plan(BOX)) for mrn in mrns[start : start + 100]))
    for newest_first in (True, False):
        pages, after, more = [], b"", True
        while more:
            found, more = ledger.index.find("container", BOX, limit=77, after=after, newest_first=newest_first)
            pages += [each.key for each in found]
            after = found[-1].position
        expected = [f"escort/{mrn}" for mrn in mrns]
        assert pages == (expected[::-1] if newest_first else expected)


EVENTS = st.one_of(
    st.tuples(
        st.just("declaration.lodge"),
        st.sampled_from([UCR, OTHER_UCR]),
        st.sampled_from([{"content": content(BOX)}, {"content": content(OTHER_BOX, BOX)}]),
    ),
    st.tuples(
        st.just("declaration.request_amendment"),
        st.sampled_from([UCR, OTHER_UCR]),
        st.sampled_from([{"content": content(BOX)}, {"content": content()}]),
    ),
    st.tuples(
        st.just("escort.plan"), st.sampled_from(MRNS), st.sampled_from([plan(BOX), plan(OTHER_BOX, ucr=OTHER_UCR)])
    ),
    st.tuples(st.just("escort.seal"), st.sampled_from(MRNS), st.just({"seals": [{"id": "HS01", "device": "kz/s"}]})),
    st.tuples(st.just("escort.position"), st.sampled_from(MRNS), st.just({"fix": {}})),
    # A participant may have a name that is a UCR as well: it comes into being earlier, and is another thing.
    st.tuples(st.just("registry.enrol"), st.just("26"), st.just({"roles": ["truck"]})),
    st.tuples(st.just("declaration.lodge"), st.just("26"), st.just({"content": content(BOX)})),
)


def dumb(chain: Chain) -> dict[tuple[str, str], list[str]]:
    """A scan of the whole log, written from the payloads' own names: identifier -> records, oldest first."""
    since: dict[str, int] = {}
    found: dict[tuple[str, str], set[str]] = {}
    for index, raw in enumerate(chain.entries(0, chain.size)):
        entry = parse_entry(raw)
        if not isinstance(entry, Statement):
            continue
        since.setdefault(entry.sub, index)
        payload: Any = entry.payload
        key = f"{entry.kind.partition('.')[0]}/{entry.sub}"
        names = []
        if entry.kind == "declaration.lodge":
            names.append(("ucr", entry.sub))
        if entry.kind == "escort.plan":
            names.append(("mrn", entry.sub))
            names += [("ucr", ucr) for ucr in payload["declarations"]]
            names += [("container", box) for box in payload["containers"]]
            names += [("vehicle", payload["vehicle"])]
            names += [("participant", payload["truck"]), ("participant", payload["carrier"])]
        if "content" in payload:
            names += [("container", box) for box in payload["content"]["containers"]]
        if entry.kind == "escort.seal":
            names += [("seal", seal["id"]) for seal in payload["seals"]]
            names += [("participant", seal["device"]) for seal in payload["seals"]]
        for name in names:
            found.setdefault(name, set()).add(key)
    return {name: sorted(keys, key=lambda key: (since[key.partition("/")[2]], key)) for name, keys in found.items()}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(EVENTS, max_size=4), max_size=8))
def test_whatever_the_log_the_index_is_what_a_scan_finds_and_the_same_when_made_again(blocks: list[list[Any]]) -> None:
    ledger = Ledger()
    for events in blocks:
        ledger.append(*events)
    expected = dumb(ledger.chain)
    for (kind, text), keys in expected.items():
        assert ledger.find(kind, text, newest_first=False) == keys
    live = ledger.rows()
    mentioned = [key for key in live if key.startswith(MENTION)]
    assert len(mentioned) == sum(map(len, expected.values()))
    ledger.store.write(dict.fromkeys(live))
    again = ledger.reopened()
    assert not again.index.complete
    again.made_again()
    assert again.rows() == live


def test_an_index_that_is_missing_answers_nothing_and_is_made_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_index, "SLICE_ENTRIES", 3)
    monkeypatch.setattr(log_index, "DELETE_KEYS", 2)
    ledger = Ledger()
    a_crossing(ledger)
    live = ledger.rows()
    ledger.store.write({AT: b"of another version"})
    again = ledger.reopened()
    with pytest.raises(Incomplete, match="the look-up index is being made: 0 of"):
        again.find("ucr", UCR)
    slices = 1
    while again.index.catch_up():
        slices += 1
    assert slices > 5
    assert again.rows() == live
    # What is executed from now on is indexed with its block again.
    again.append(("escort.plan", "26KZ000000000003J0", plan(BOX)))
    assert again.find("container", BOX)[0] == "escort/26KZ000000000003J0"


def test_blocks_executed_while_it_is_made_are_indexed_when_their_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_index, "SLICE_ENTRIES", 2)
    ledger = Ledger()
    a_crossing(ledger)
    ledger.store.write(dict.fromkeys(ledger.rows()))
    again = ledger.reopened()
    again.index.catch_up()
    again.append(("escort.plan", "26KZ000000000003J0", plan(BOX)))
    assert not again.index.complete
    again.made_again()
    assert again.find("container", BOX)[0] == "escort/26KZ000000000003J0"


def test_blocks_of_a_program_that_knows_no_index_are_indexed_after_it() -> None:
    ledger = Ledger()
    a_crossing(ledger)
    ledger.append(("escort.plan", "26KZ000000000003J0", plan(BOX)), indexed=False)
    again = ledger.reopened()
    assert again.index.covered == ledger.chain.size - 2
    again.made_again()
    whole = Ledger()
    a_crossing(whole)
    whole.append(("escort.plan", "26KZ000000000003J0", plan(BOX)))
    assert again.rows() == whole.rows()


def test_a_ledger_that_is_shorter_than_its_index_has_it_made_anew() -> None:
    ledger = Ledger()
    a_crossing(ledger)
    ledger.store.write({AT: ledger.rows()[AT][:-1] + bytes([ledger.chain.size + 1])})
    assert ledger.reopened().index.covered == 0


class FullDisk(MemoryStore):
    """Refuses writes while told to."""

    full = False

    def write(self, batch: Batch, sync: bool = True) -> None:
        if self.full:
            raise StoreUnavailable("no space")
        super().write(batch, sync)


def test_a_block_that_could_not_be_written_leaves_no_trace_in_the_index() -> None:
    store = FullDisk()
    ledger = Ledger(store)
    a_crossing(ledger)
    before = ledger.rows()
    store.full = True
    with pytest.raises(StoreUnavailable):
        ledger.append(("escort.plan", "26KZ000000000003J0", plan(BOX)))
    store.full = False
    assert ledger.rows() == before
    ledger.append(("escort.plan", "26KZ000000000003J0", plan(BOX)))
    assert ledger.find("mrn", "26KZ000000000003J0") == ["escort/26KZ000000000003J0"]


def test_execution_writes_the_index_with_the_block_and_a_start_finds_it_whole() -> None:
    node = WORLD.node()
    assert node.log_index.complete
    statements = tuple(WORLD.enrol().raw for _ in range(3))
    node.execution.execute(1, encode_block("kz-kgd-1", WORLD.time_ms + 1, statements), 0)
    assert isinstance(parse_entry(node.chain.entry(node.chain.size - 1)), BlockRecord)
    assert node.log_index.complete
    assert LogIndex(node.store, Chain.open(node.store)).complete


async def test_a_running_validator_makes_its_index_between_blocks_and_then_leaves_it_to_execution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_index, "SLICE_ENTRIES", 2)
    monkeypatch.setattr(log_index, "PAUSE_S", 0.0)
    monkeypatch.setattr(log_index, "RETRY_S", 0.0)
    store = FullDisk()
    ledger = Ledger(store)
    a_crossing(ledger)
    live = ledger.rows()
    store.write(dict.fromkeys(live))
    index, executing = LogIndex(store, ledger.chain), asyncio.Lock()
    loop = asyncio.get_running_loop()
    slices = 0

    def in_thread(catch_up: Callable[[], bool]) -> asyncio.Future[bool]:
        nonlocal slices
        slices += 1
        assert executing.locked()
        store.full = slices == 3  # a disk that is full for a moment only puts it off
        return loop.run_in_executor(None, catch_up)

    task = asyncio.create_task(keep_up(index, executing, in_thread))
    async with asyncio.timeout(10):
        while not index.complete:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert not task.done()
    assert slices > 5
    assert ledger.rows() == live
    task.cancel()

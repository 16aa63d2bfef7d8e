"""Reads through, writes at the end, and records that survive their encoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from contracts.declaration_record import decode_declaration
from contracts.escort_effects import MAX_INCIDENTS_KEPT
from contracts.movement import Movement, decode_movement
from contracts.registry import AuthorityRecord, decode_authority, decode_participant, load_participant
from contracts.working import Record, RecordMemory, UnreadableRecord, Working
from ledger import cbor
from tests.contracts import corridor as c
from tests.contracts import stages as s
from tests.contracts.corridor import DictState


def test_every_record_of_every_stage_is_canonical_and_decodes_to_itself() -> None:
    ledgers = [s.movement_at(state) for state in s.MOVEMENT_STATES] + [s.declaration_at(state) for state in s.STATUSES]
    decoders: dict[str, Callable[[bytes], Record]] = {
        "registry": decode_participant,
        "declaration": decode_declaration,
        "escort": decode_movement,
    }
    for ledger in ledgers:
        for key, raw in ledger.state.records.items():
            assert cbor.encode(cbor.decode(raw)) == raw
            decode = decoders.get(key.partition("/")[0])
            if decode is not None:
                record = decode(raw)
                assert record.encode() == raw
                assert decode(record.encode()) == record


def test_a_record_of_another_kind_is_not_read() -> None:
    ledger = s.movement_at("planned")
    raw = ledger.state.records[f"escort/{c.MRN}"]
    with pytest.raises(UnreadableRecord):
        decode_participant(raw)
    ledger.state.records["registry/kz/truck/t-009"] = raw
    with pytest.raises(UnreadableRecord):
        load_participant(Working(ledger.state), "kz/truck/t-009")
    short = cbor.encode(["movement.v1", 1])
    with pytest.raises(UnreadableRecord):
        decode_movement(short)


def test_what_ends_as_it_began_is_not_written() -> None:
    state = DictState({"a": cbor.encode([1]), "b": cbor.encode([2])})
    working = Working(state)
    working.put("a", (9,))
    working.put("a", (1,))
    working.put("b", None)
    working.put("c", (3,))
    working.put("c", None)
    working.put("d", (4,))
    assert working.changes() == {"b": None, "d": cbor.encode([4])}
    assert working.row("d") == (4,)
    assert working.row("b") is None


def test_the_memory_of_records_is_bounded_and_keeps_what_is_used() -> None:
    memory = RecordMemory(generation_records=4)
    record = AuthorityRecord("kz-kgd", "KZ", "kz-kgd/registrar", b"", b"")
    for number in range(100):
        memory.put(b"%d" % number, record)
        assert memory.get(b"0") is record
    assert sum(memory.get(b"%d" % number) is not None for number in range(100)) <= 8
    assert decode_authority(record.encode()) == record


def test_the_memory_of_records_is_bounded_in_bytes_too_and_large_records_make_room_for_each_other() -> None:
    memory = RecordMemory(generation_bytes=1_000)
    record = AuthorityRecord("kz-kgd", "KZ", "kz-kgd/registrar", b"", b"")
    large = [b"%03d" % number * 100 for number in range(50)]  # 300 bytes each
    for raw in large:
        memory.put(raw, record)
        memory.put(raw, record)  # again: counted once
        assert memory.get(raw) is record
    kept = [raw for raw in large if memory.get(raw) is not None]
    assert 3 <= len(kept) <= 8
    memory = RecordMemory(generation_bytes=1_000)
    for raw in large:  # what is forgotten takes no room
        memory.put(raw, record)
        memory.forget(raw)
    for raw in large[:3]:
        memory.put(raw, record)
    memory.put(large[4], record)
    assert all(memory.get(raw) is record for raw in large[:3])


def test_changes_are_the_same_with_a_cold_memory_as_with_a_warm_one() -> None:
    warm = s.movement_at("discharged")
    cold = s.movement_at("discharged")
    assert warm.state.records == cold.state.records
    movement = decode_movement(cold.state.records[f"escort/{c.MRN}"])
    assert isinstance(movement, Movement)
    assert movement.encode() == warm.state.records[f"escort/{c.MRN}"]


def test_incidents_in_the_record_are_bounded() -> None:
    ledger = s.movement_at("started")
    for _ in range(MAX_INCIDENTS_KEPT + 5):
        ledger.must("escort.incident", "kz/truck/t-001", c.MRN, {"code": "03"})
    movement = ledger.movement(c.MRN)
    assert (len(movement.incidents), movement.incident_count) == (MAX_INCIDENTS_KEPT, MAX_INCIDENTS_KEPT + 5)


def test_bytes_that_a_block_replaces_are_forgotten_and_reading_them_again_gives_the_same_record() -> None:
    state = c.Ledger.of_corridor().state
    key = "registry/kz/truck/t-001"
    memory = RecordMemory()
    working = Working(state, memory)
    before = load_participant(working, "kz/truck/t-001")
    assert before is not None
    old = state.records[key]
    assert memory.get(old) is before
    working.put(key, replace(before, flagged=7))
    new = working.changes()[key]
    assert new is not None
    assert memory.get(old) is None
    assert memory.get(new) is not None
    assert load_participant(Working(state, memory), "kz/truck/t-001") == before

"""A version of a contract whose records have another format than those of the version before.

The example contract gets a version in which a certificate says who inspected. Records of before are read, and written
anew when they change; what was executed under the first version comes out the same, whatever this process has seen
since: records are remembered by their bytes, and two versions make two things of the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from contracts import execute
from contracts import phytosanitary as p
from contracts.catalogue import CONTRACTS, read_record
from contracts.execute import contract_key
from contracts.machine import ABSENT, Context
from contracts.outcome import Outcome
from contracts.plain_record import begun, load_plain, plain_contract
from contracts.working import RecordMemory, UnreadableRecord, Working
from ledger.cbor import decode, encode
from tests.contracts import corridor as c
from tests.contracts import stages as s

FIRST, SECOND = "KZ/2026-004711", "KZ/2026-004712"
KZ, CN = "kz-kgd/system", "cn-gacc/officer"


@dataclass(frozen=True, kw_only=True)
class Later(p.Certificate):
    TAG = "phytosanitary.v99"

    inspector: str = "unknown"

    @classmethod
    def decode(cls, raw: bytes) -> Any:
        with suppress(UnreadableRecord):
            return super().decode(raw)
        before = p.Certificate.decode(raw)
        return cls(**{each.name: getattr(before, each.name) for each in fields(before)})


def _issue(ctx: Context) -> Later:
    before = p.issue(ctx)
    values = {each.name: getattr(before, each.name) for each in fields(before)}
    common = ("subject", "state", "since_ms", "by", "statement")
    return begun(Later, ctx, "issued", **{name: value for name, value in values.items() if name not in common})


LATER = plain_contract(
    Later,
    version=99,
    title="As version 1, with who inspected",
    subject=p.PHYTOSANITARY.subject,
    visible_to=lambda certificate: frozenset({certificate.declarant}),
    transitions=p.TRANSITIONS | {(ABSENT, "issue"): replace(p.TRANSITIONS[ABSENT, "issue"], effect=_issue)},
    states=p.STATES,
    schemas=p.SCHEMAS,
    outcomes=range(500, 520),
    lapse=("lapsed", "its last day passed"),
)


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the catalogue, and in what execution has derived from it."""
    key = ("phytosanitary", 99)
    monkeypatch.setitem(CONTRACTS, key, LATER)
    monkeypatch.setitem(execute._EVENTS, key, execute._events_of(LATER))
    execute._rules_of.cache_clear()
    yield
    execute._rules_of.cache_clear()


def in_force(ledger: c.Ledger, version: int) -> c.Ledger:
    ledger = ledger.copy()
    ledger.state.write({contract_key("phytosanitary"): encode([version])})
    return ledger


def begun_under_1() -> c.Ledger:
    """Two certificates, issued under version 1."""
    ledger = in_force(s.movement_at("started"), 1)
    for number in (FIRST, SECOND):
        payload = {
            "ucr": c.UCR,
            "ephyto_sha256": bytes(range(32)),
            "plants": [{"name": "Triticum aestivum", "mass_g": 24_000_000}],
            "valid_until_ms": ledger.now_ms + 10**9,
        }
        ledger.must("phytosanitary.issue", KZ, number, payload)
    return ledger


def tag(ledger: c.Ledger, number: str) -> str:
    raw = ledger.state.get(f"phytosanitary/{number}")
    fields_of: Any = decode(raw or b"")
    return str(fields_of[0])


def recognised(ledger: c.Ledger) -> list[Any]:
    """The record after the other side has recognised it, without the statement's id, which is another each time."""
    ledger.must("phytosanitary.recognise", CN, FIRST, {})
    assert ledger.last_statement is not None
    written: Any = decode(ledger.state.get(f"phytosanitary/{FIRST}") or b"")
    return [value for value in written if value != ledger.last_statement.id]


def test_records_of_before_are_read_and_written_anew_when_they_change() -> None:
    ledger = in_force(begun_under_1(), 99)
    assert (tag(ledger, FIRST), tag(ledger, SECOND)) == ("phytosanitary.v1", "phytosanitary.v1")
    recognised(ledger)
    assert (tag(ledger, FIRST), tag(ledger, SECOND)) == ("phytosanitary.v99", "phytosanitary.v1")
    ledger.must("phytosanitary.withdraw", KZ, SECOND, {"reason": "because"})
    assert tag(ledger, SECOND) == "phytosanitary.v99"


def test_what_was_executed_under_the_first_version_comes_out_the_same_whatever_was_seen_since() -> None:
    """An audit executes the part before the upgrade in a process in which the part after it may have been executed."""
    ledger = begun_under_1()
    before = recognised(ledger.copy())
    assert before[0] == "phytosanitary.v1"
    later = recognised(in_force(ledger, 99))
    assert later[0] == "phytosanitary.v99"
    for _ in range(2):
        assert recognised(ledger.copy()) == before
        assert recognised(in_force(ledger, 99)) == later


@pytest.mark.parametrize("order", [(p.Certificate, Later), (Later, p.Certificate)])
def test_each_version_gets_its_own_record_of_the_same_bytes(order: tuple[type[p.Certificate], ...]) -> None:
    ledger = begun_under_1()
    memory = RecordMemory()
    for kind in (*order, *order):
        found = load_plain(kind, Working(ledger.state, memory), FIRST)
        assert type(found) is kind


def test_a_record_that_nobody_touches_still_lapses_under_the_later_version() -> None:
    ledger = in_force(begun_under_1(), 99)
    ledger.pass_time(2 * 10**6)
    assert tag(ledger, FIRST) == "phytosanitary.v99"
    found = load_plain(Later, Working(ledger.state), FIRST)
    assert found is not None
    assert (found.state, found.inspector) == ("lapsed", "unknown")


def test_the_first_version_refuses_what_only_the_later_one_can_read() -> None:
    """Nobody goes back: a program that lacks the version has stopped before the height."""
    ledger = in_force(begun_under_1(), 99)
    recognised(ledger)
    with pytest.raises(UnreadableRecord):
        in_force(ledger, 1).send("phytosanitary.withdraw", KZ, FIRST, {"reason": "because"})


def test_a_reader_finds_the_version_that_wrote_each_record() -> None:
    ledger = in_force(begun_under_1(), 99)
    recognised(ledger)
    for number in (FIRST, SECOND):
        raw = ledger.state.get(f"phytosanitary/{number}")
        assert raw is not None
        record_type, record = read_record("phytosanitary", raw)
        assert record_type.view(record)["inspector"] == "unknown"
    assert ledger.send("phytosanitary.recognise", CN, FIRST, {}) is not Outcome.ACCEPTED

"""The register of legal bases: nothing is asked as long as it never had an entry, and then exactly what is in it."""

from __future__ import annotations

import pytest

from contracts.legal_basis import date_of, legal_basis_date, put_legal_basis
from contracts.outcome import Outcome
from contracts.working import Working
from tests.contracts import corridor as c
from tests.contracts.governing import CN, KZ, Governed

AGREEMENT, ARTICLE, EFFECTIVE = c.BASIS["agreement"], c.BASIS["article"], c.BASIS["effective"]


def accepted(*entries: tuple[str, str, str]) -> c.Ledger:
    """A declaration that waits for its recognition, and a register with these entries."""
    ledger = c.to_declaration(c.Ledger.of_corridor(), "accept")
    working = Working(ledger.state)
    for entry in entries:
        put_legal_basis(working, *entry)
    ledger.state.write(working.changes())
    return ledger


def recognise(ledger: c.Ledger) -> Outcome:
    payload = c.decision(1, number=c.make_cn_number(1))
    return ledger.send("declaration.recognise", "cn-gacc/officer", c.UCR, payload)


@pytest.mark.parametrize(
    ("entries", "outcome"),
    [
        ([], Outcome.ACCEPTED),
        ([(AGREEMENT, ARTICLE, EFFECTIVE)], Outcome.ACCEPTED),
        ([(AGREEMENT, ARTICLE, "2025-07-02")], Outcome.LEGAL_BASIS_UNKNOWN),
        ([(AGREEMENT, "5", EFFECTIVE)], Outcome.LEGAL_BASIS_UNKNOWN),
        ([("another agreement", ARTICLE, EFFECTIVE)], Outcome.LEGAL_BASIS_UNKNOWN),
        ([(AGREEMENT, ARTICLE, EFFECTIVE), (AGREEMENT, "5", EFFECTIVE)], Outcome.ACCEPTED),
        # Taken off again: the register has been, so what is not in it does not count.
        ([(AGREEMENT, ARTICLE, EFFECTIVE), (AGREEMENT, ARTICLE, "")], Outcome.LEGAL_BASIS_UNKNOWN),
    ],
)
def test_what_a_recognition_may_cite(entries: list[tuple[str, str, str]], outcome: Outcome) -> None:
    assert recognise(accepted(*entries)) is outcome


def test_a_basis_may_be_cited_from_its_date_on_in_block_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = accepted((AGREEMENT, ARTICLE, EFFECTIVE))
    day = date_of(ledger.now_ms)
    later = date_of(ledger.now_ms + 86_400_000)
    for effective, outcome in ((later, Outcome.LEGAL_BASIS_NOT_EFFECTIVE), (day, Outcome.ACCEPTED)):
        monkeypatch.setitem(c.BASIS, "effective", effective)
        assert recognise(accepted((AGREEMENT, ARTICLE, effective))) is outcome


def test_a_date_is_that_of_utc_to_the_millisecond() -> None:
    assert (date_of(0), date_of(86_399_999), date_of(86_400_000)) == ("1970-01-01", "1970-01-01", "1970-01-02")
    assert date_of(1_709_164_800_000) == "2024-02-29"


def test_both_sides_register_a_basis_move_its_date_and_take_it_off() -> None:
    ledger = Governed.begin()
    basis = {"agreement": AGREEMENT, "article": ARTICLE}
    steps: tuple[tuple[str, dict[str, str], str], ...] = (
        ("1", basis | {"to": EFFECTIVE}, EFFECTIVE),
        ("2", basis | {"from": EFFECTIVE, "to": "2026-01-01"}, "2026-01-01"),
        ("3", basis | {"from": "2026-01-01"}, ""),
    )
    for name, change, date in steps:
        ledger.agree(f"kz-kgd/{name}", {"legal_basis": change})
        ledger.until(ledger.proposal(f"kz-kgd/{name}").effect_height)
        ledger.empty_block()
        assert legal_basis_date(Working(ledger.state), AGREEMENT, ARTICLE) == date


def test_a_change_of_a_basis_names_what_is_in_the_register() -> None:
    ledger = Governed.begin()
    basis = {"agreement": AGREEMENT, "article": ARTICLE}
    for change, outcome in (
        (basis | {"from": EFFECTIVE, "to": "2026-01-01"}, Outcome.CHANGE_SUPERSEDED),
        (basis, Outcome.CHANGE_WITHOUT_EFFECT),
        (basis | {"to": "yesterday"}, Outcome.PAYLOAD_IDENTIFIER_INVALID),
        (basis | {"to": EFFECTIVE}, Outcome.ACCEPTED),
    ):
        assert ledger.propose("kz-kgd/1", {"legal_basis": change}, who=KZ) is outcome
    assert ledger.answer("approve", "kz-kgd/1", CN) is Outcome.ACCEPTED

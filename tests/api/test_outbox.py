"""A device's outbox: on disk before it is sent, the same bytes after any power cut, never a statement twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from api.outbox import Outbox, OutboxDamaged
from ledger.algorithms import PrivateKey
from ledger.errors import Misuse
from ledger.statement import Statement, sign_statement

KEY = PrivateKey.generate()
NAME = "kz/truck/t-001"


def _statement(number: int, subject: str = "19GBCKKCQSXV2FGVA8") -> Statement:
    return sign_statement(
        KEY, kind="escort.position", iss=NAME, sub=subject, iat_s=number, cti=number.to_bytes(16, "big"), payload={}
    )


def _waiting(outbox: Outbox) -> list[bytes]:
    found: list[bytes] = []
    while True:
        oldest = [outbox.oldest(subject) for subject in outbox.subjects()]
        if not oldest or oldest[0] is None:
            return found
        found.append(oldest[0].raw)
        outbox.done(oldest[0].id)


def test_what_was_put_is_there_again_after_a_power_cut_with_the_same_bytes_in_order(tmp_path: Path) -> None:
    statements = [_statement(number) for number in range(5)]
    outbox = Outbox(tmp_path, NAME)
    for statement in statements:
        outbox.put(statement)
    outbox.done(statements[0].id)
    again = Outbox(tmp_path, NAME)  # the first was never closed: that is what a power cut is
    assert (again.signed, len(again)) == (5, 4)
    assert _waiting(again) == [statement.raw for statement in statements[1:]]
    assert len(Outbox(tmp_path, NAME)) == 0


def test_order_is_kept_for_each_subject_by_itself(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, NAME)
    first, second, other = _statement(1, "A"), _statement(2, "A"), _statement(3, "B")
    for statement in (first, second, other):
        outbox.put(statement)
    assert outbox.oldest("A") == first
    assert outbox.oldest("B") == other
    outbox.done(first.id)
    assert outbox.oldest("A") == second
    assert outbox.oldest("C") is None


def test_a_tail_torn_at_any_byte_loses_only_what_was_never_sent(tmp_path: Path) -> None:
    whole, torn = _statement(1), _statement(2)
    outbox = Outbox(tmp_path / "full", NAME)
    outbox.put(whole)
    before = (tmp_path / "full" / "kz~truck~t-001.signed").stat().st_size
    outbox.put(torn)
    outbox.close()
    data = (tmp_path / "full" / "kz~truck~t-001.signed").read_bytes()
    for length in range(before, len(data), 7):
        directory = tmp_path / f"cut-{length}"
        directory.mkdir()
        (directory / "kz~truck~t-001.signed").write_bytes(data[:length])
        again = Outbox(directory, NAME)
        assert again.oldest(whole.sub) == whole
        assert len(again) == 1
        again.put(torn)  # what follows the cut tail can be read again
        assert len(Outbox(directory, NAME)) == 2


def test_a_torn_note_that_something_is_final_only_means_sending_it_once_more(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, NAME)
    statement = _statement(1)
    outbox.put(statement)
    outbox.done(statement.id)
    path = tmp_path / "kz~truck~t-001.final"
    path.write_bytes(path.read_bytes()[:-1])
    assert Outbox(tmp_path, NAME).oldest(statement.sub) == statement


def test_a_flipped_byte_stops_the_device_instead_of_sending_something_else(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "good", NAME)
    outbox.put(_statement(1))
    outbox.close()
    path = tmp_path / "good" / "kz~truck~t-001.signed"
    for position in (0, 3, 4, 5, 60):
        directory = tmp_path / f"flip-{position}"
        shutil.copytree(tmp_path / "good", directory)
        data = bytearray(path.read_bytes())
        data[position] ^= 0x80
        (directory / path.name).write_bytes(data)
        try:
            again = Outbox(directory, NAME)
        except OutboxDamaged:
            continue
        assert len(again) == 0 or again.oldest(_statement(1).sub) != _statement(1)


def test_a_note_about_a_statement_that_was_never_signed_is_damage(tmp_path: Path) -> None:
    (tmp_path / "kz~truck~t-001.final").write_bytes(b"x" * 32)
    with pytest.raises(OutboxDamaged, match="never signed here"):
        Outbox(tmp_path, NAME)


def test_nothing_is_kept_twice_and_nothing_unknown_is_final(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, NAME)
    statement = _statement(1)
    outbox.put(statement)
    with pytest.raises(Misuse, match="in the outbox already"):
        outbox.put(statement)
    with pytest.raises(Misuse, match="is not in the outbox"):
        outbox.done(_statement(2).id)

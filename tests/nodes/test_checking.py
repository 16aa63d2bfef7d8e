"""Signatures are checked once, ahead of execution, and a fact about bytes is never taken for another's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.algorithms import PublicKey
from ledger.errors import Malformed, Untrue
from nodes.checking import REMEMBERED_MAX_STATEMENTS, SignatureChecks
from nodes.metrics import Metrics
from tests.nodes.world import World

WORLD = World()
KEY = WORLD.registrars["kz-kgd"].public


def checks(key: PublicKey | None = KEY) -> SignatureChecks:
    return SignatureChecks(lambda issuer, kid: key, Metrics("kz-kgd-1"), ThreadPoolExecutor(1))


def counted(made: SignatureChecks, when: str) -> float:
    return float(made._metrics.signature_checks.labels(when)._value.get())


def test_what_was_checked_ahead_is_not_checked_again() -> None:
    made, statement = checks(), WORLD.enrol()
    (checked,) = made.expect([statement.raw])
    checked.wait()
    assert checked.verified_kid == KEY.kid
    made.check(made.statement(statement.raw), KEY)
    assert (counted(made, "ahead"), counted(made, "at_execution")) == (1, 0)
    assert made.expect([statement.raw]) == [checked]


def test_a_forged_signature_is_untrue_ahead_and_at_execution() -> None:
    made, statement = checks(), WORLD.enrol()
    forged = bytearray(statement.raw)
    forged[-1] ^= 1
    (checked,) = made.expect([bytes(forged)])
    checked.wait()
    assert checked.verified_kid is None
    assert checked.untrue is not None or checked.malformed is not None
    if checked.malformed is None:
        with pytest.raises(Untrue):
            made.check(made.statement(bytes(forged)), KEY)


def test_a_key_that_was_not_known_ahead_is_checked_at_execution() -> None:
    made, statement = checks(None), WORLD.enrol()
    (checked,) = made.expect([statement.raw])
    checked.wait()
    assert (checked.verified_kid, checked.untrue) == (None, None)
    made.check(made.statement(statement.raw), KEY)
    assert counted(made, "at_execution") == 1


def test_a_check_under_one_key_says_nothing_about_another() -> None:
    made, statement = checks(), WORLD.enrol()
    made.expect([statement.raw])[0].wait()
    with pytest.raises(Untrue):
        made.check(statement, WORLD.registrars["cn-gacc"].public)


def test_what_is_no_statement_is_said_so_each_time() -> None:
    made = checks()
    made.expect([b"garbage"])[0].wait()
    for _ in range(2):
        with pytest.raises(Malformed):
            made.statement(b"garbage")


def test_what_nobody_expected_is_parsed_and_checked_all_the_same() -> None:
    made, statement = checks(), WORLD.enrol()
    made.check(made.statement(statement.raw), KEY)
    assert counted(made, "at_execution") == 1


def test_what_is_remembered_is_bounded() -> None:
    made = checks()
    for start in range(0, REMEMBERED_MAX_STATEMENTS + 5000, 5000):
        made.expect([b"%d" % number for number in range(start, start + 5000)])
    assert len(made) == REMEMBERED_MAX_STATEMENTS
    made.close()

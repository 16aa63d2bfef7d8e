"""One table of all that can be verified: each file told by its content, damaged ones by their name."""

from __future__ import annotations

import pytest

from contracts import crossing_pass
from contracts.verifying import KINDS, Checks, Context, Kind, Verification, all_not_checked, kind_of, verify_file
from ledger import proof, receipt, status_proof
from ledger.proof_check import Verdict
from tests.ledger import corridor

POLICY = corridor.policy_text("kz")
PROOF = proof.format_proof(corridor.PROOF)


def context(statement: bytes | None = corridor.STATEMENT.raw) -> Context:
    return Context(POLICY, corridor.TIME_S, statement)


def test_no_two_kinds_share_a_name_or_a_suffix() -> None:
    assert len({kind.name for kind in KINDS}) == len({kind.suffix for kind in KINDS}) == len(KINDS)


def test_a_kind_looks_at_no_more_than_its_format_allows() -> None:
    limits = {kind.name: kind.max_bytes for kind in KINDS}
    assert limits["tlog-proof"] == proof.MAX_PROOF_BYTES
    assert limits["transparent-statement"] == receipt.MAX_TRANSPARENT_BYTES
    assert limits["status-proof"] == status_proof.MAX_STATUS_PROOF_BYTES
    assert limits["pass"] == crossing_pass.MAX_PASS_BYTES


def test_a_file_is_known_by_its_content_whatever_it_is_called() -> None:
    kind = kind_of(PROOF, "holiday.jpg")
    assert kind is not None
    assert kind.name == "tlog-proof"
    assert verify_file(PROOF, "holiday.jpg", context()).holds


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_is_of_no_kind_by_its_content_is_told_what_is_wrong_with_it_by_its_name(kind: Kind) -> None:
    for data in (b"", b"\x00", b"\xff" * 100, b"{}"):
        found = verify_file(data, f"a{kind.suffix}", context())
        assert not found.holds
        assert found.kind == kind.name


def test_what_is_of_no_kind_at_all_does_not_hold_and_says_what_could_be() -> None:
    found = verify_file(b"\x89PNG", "holiday.jpg", context())
    assert not found.holds
    assert found.kind == "unknown"
    assert all(kind.suffix in found.checks[0].detail for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_file_longer_than_its_kind_may_be_is_not_looked_at(kind: Kind) -> None:
    found = verify_file(bytes(kind.max_bytes + 1), f"a{kind.suffix}", context())
    assert [check.name for check in found.checks] == ["size"]
    assert not found.holds


def test_a_proof_without_the_statement_that_it_is_about_does_not_hold() -> None:
    found = verify_file(PROOF, "a.tlog-proof", context(None))
    assert not found.holds
    assert "name it" in found.checks[0].detail


def test_the_proof_of_another_statement_does_not_hold_and_says_which_check() -> None:
    found = verify_file(PROOF, "a.tlog-proof", context(corridor.STATEMENT.raw[:-1] + b"\x01"))
    assert [check.name for check in found.checks if check.verdict is not Verdict.HOLDS] == ["inclusion"]


def test_nothing_checked_is_nothing_that_holds() -> None:
    assert not Verification("tlog-proof").holds


def test_checks_are_numbered_as_they_are_made() -> None:
    checks = Checks()
    checks.holds("one", "fine")
    checks.not_reached("two", "a third")
    checks.fails("three", ValueError("why"))
    assert [(each.number, each.name, each.verdict.value, each.detail) for each in checks.made] == [
        (1, "one", "holds", "fine"),
        (2, "two", "not reached", "needs a third"),
        (3, "three", "fails", "why"),
    ]


def test_what_was_not_checked_of_several_files_is_said_once() -> None:
    found = [Verification("a", not_checked=("x", "y")), Verification("b", not_checked=("y", "z"))]
    assert all_not_checked(found) == ["x", "y", "z"]

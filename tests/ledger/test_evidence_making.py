"""From the faults of an audit to bundles for somebody who has no archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.algorithms import PrivateKey
from ledger.archive import export_archive
from ledger.archive_tree import ArchiveTree
from ledger.audit import audit_archive
from ledger.checkpoint import Checkpoint
from ledger.errors import LedgerError, Malformed, Misuse
from ledger.evidence import Claim, SignedHead
from ledger.evidence_check import check_evidence
from ledger.evidence_making import MAX_BUNDLES, conflicting_heads, evidence_in_archive
from tests.ledger.archives import edit, flip, write_archive
from tests.ledger.evidence import ENTRIES, LAST, WORLD, forged_statement, with_record
from tests.ledger.toy import ORIGIN


def found(directory: Path) -> dict[Claim, int]:
    """How many bundles of each claim the audit of an archive comes to; each of them holds."""
    report = audit_archive(directory, WORLD.policy(), WORLD.replay)
    bundles = list(evidence_in_archive(directory, WORLD.policy(), report))
    for each in bundles:
        assert check_evidence([WORLD.policy("cn-gacc")], each.encode()).holds
    return {claim: sum(each.claim is claim for each in bundles) for claim in {each.claim for each in bundles}}


@pytest.mark.parametrize(
    ("claim", "entries"),
    [
        (Claim.BLOCK_END, with_record(count=3)),
        (Claim.BLOCK_PREVIOUS, with_record(previous=bytes(32))),
        (Claim.BLOCK_HEIGHT, with_record(height=77)),
        (Claim.BLOCK_TIME, with_record(time_ms=1)),
        (Claim.STATEMENT_SIGNATURE, forged_statement()[0]),
        (Claim.CTI_TWICE, [*ENTRIES, ENTRIES[LAST - 1]]),
        (Claim.SECOND_GENESIS, [*ENTRIES, ENTRIES[0]]),
    ],
    ids=lambda value: value.value if isinstance(value, Claim) else "",
)
def test_a_fault_that_can_be_shown_without_the_archive_is(claim: Claim, entries: list[bytes], tmp_path: Path) -> None:
    write_archive(tmp_path, entries, WORLD)
    assert found(tmp_path) == {claim: 1}


def test_an_honest_archive_and_one_that_was_altered_afterwards_prove_nothing(tmp_path: Path) -> None:
    export_archive(WORLD.chain, tmp_path, WORLD.policy(), WORLD.note())
    assert found(tmp_path) == {}
    bundle = next(tmp_path.glob("tile/entries/**/[0-9]*"))
    if bundle.is_dir():
        bundle = next(bundle.iterdir())
    size = bundle.stat().st_size
    for position in range(7, size, size // 9):
        edit(bundle, flip(position))
        assert found(tmp_path) == {}
        edit(bundle, flip(position))
    bundle.unlink()
    assert found(tmp_path) == {}
    (tmp_path / "checkpoint").unlink()
    assert found(tmp_path) == {}


def test_a_wrong_state_root_is_for_an_audit_to_show(tmp_path: Path) -> None:
    write_archive(tmp_path, with_record(state_root=bytes(32)), WORLD)
    assert not audit_archive(tmp_path, WORLD.policy(), WORLD.replay).holds
    assert found(tmp_path) == {}


def test_a_statement_of_a_key_that_nobody_enrolled_cannot_be_shown_to_be_forged(tmp_path: Path) -> None:
    outsider = of_a_stranger()
    write_archive(tmp_path, [*ENTRIES[: LAST - 1], outsider, ENTRIES[LAST]], WORLD)
    assert found(tmp_path) == {}


def of_a_stranger() -> bytes:
    keys = dict(WORLD.keys)
    WORLD.keys["kz/truck/0"] = PrivateKey.generate()
    try:
        return WORLD.add("kz/truck/0", "c1").raw
    finally:
        WORLD.keys.update(keys)


def test_a_log_full_of_repetitions_comes_to_a_bounded_number_of_bundles(tmp_path: Path) -> None:
    again = [raw for raw in ENTRIES if raw[:1] == b"\xd2"] * 6
    write_archive(tmp_path, [*ENTRIES, *again], WORLD)
    assert found(tmp_path) == {Claim.CTI_TWICE: MAX_BUNDLES}


def test_two_archives_of_one_log_that_went_apart_prove_it_at_any_sizes(tmp_path: Path) -> None:
    write_archive(tmp_path / "one", with_record(proposer="cn-gacc-1"), WORLD)
    tree = ArchiveTree(tmp_path / "one")
    for size in (3, LAST - 2, LAST + 1):
        note = WORLD.note(Checkpoint(ORIGIN, size, WORLD.chain.root_at(size)))
        evidence = conflicting_heads(SignedHead(note), SignedHead(tree.note), tree)
        assert (evidence is not None) == (size == LAST + 1)
    lie = SignedHead(WORLD.note(Checkpoint(ORIGIN, 3, bytes(32))))
    evidence = conflicting_heads(SignedHead(tree.note), lie, tree)
    assert evidence is not None
    assert check_evidence([WORLD.policy()], evidence.encode()).holds
    assert evidence.claim is Claim.INCONSISTENT_TREES


def test_an_archive_of_which_a_file_is_missing_says_which(tmp_path: Path) -> None:
    export_archive(WORLD.chain, tmp_path, WORLD.policy(), WORLD.note())
    tree = ArchiveTree(tmp_path)
    assert tree.entry(0) == ENTRIES[0]
    assert tree.root_at(LAST + 1) == WORLD.chain.root
    with pytest.raises(Misuse):
        tree.entry(LAST + 1)
    for path in sorted(each for each in (tmp_path / "tile").rglob("*") if each.is_file()):
        path.unlink()
    with pytest.raises(Malformed, match="is missing"):
        tree.entry(0)
    with pytest.raises(Malformed, match="is missing"):
        tree.root_at(3)
    with pytest.raises(LedgerError):
        ArchiveTree(tmp_path / "none")

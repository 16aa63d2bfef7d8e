"""From a lie that one validator was told to a file that convinces a stranger; and what is never made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint
from ledger.evidence import Claim, decode_evidence
from ledger.evidence_check import EvidenceReport, check_evidence
from ledger.store import StoreUnavailable
from nodes.cosigning import Finality
from nodes.divergence import Divergences
from nodes.evidence import FINAL, OWN_WORDS, SIGNED, Bundles
from nodes.execution import Executed
from nodes.files import Files
from nodes.metrics import Metrics
from nodes.network import policy_text
from tests.nodes.test_execution import block, run
from tests.nodes.world import ORIGIN, Node, World

WORLD = World()
LIE = bytes(32)
LIAR = "cn-gacc-1"


class Validator:
    """The part of a validator that hears lies: execution, finality, divergences and bundles."""

    def __init__(self, folder: Path, files: Files | None = None, node: Node | None = None) -> None:
        self.folder = folder
        self.node = node or WORLD.node("kz-kgd-1")
        self.finality: Finality = WORLD.finality()
        self.bundles = Bundles(
            WORLD.genesis, folder, files or Files(), self.node.chain, self.finality, lambda: WORLD.policy()
        )
        self.divergences = Divergences(WORLD.policy(), folder, Metrics("kz-kgd-1"), files or Files(), self.bundles)

    def grow(self) -> Checkpoint:
        executed: Executed
        (executed,) = run(self.node, block(WORLD.enrol()))
        assert executed.checkpoint is not None
        assert executed.signed is not None
        self.finality.executed(executed.checkpoint)
        self.finality.signed(executed.checkpoint, executed.signed.lines)
        return executed.checkpoint

    def hear(self, signer: str, checkpoint: Checkpoint) -> None:
        lines = WORLD.lines(signer, checkpoint)
        found = self.finality.receive(signer, checkpoint.size, checkpoint.root, lines, self.node.chain.root_at)
        if found is not None:
            self.divergences.add(found, 0.0)
        final = self.finality.conclude()
        if final is not None:
            self.node.chain.put_cosigned(*final)

    def bundle(self) -> tuple[EvidenceReport, int]:
        """What a stranger makes of the one bundle that there is, and how strong it is held to be."""
        (path,) = self.folder.glob("*.evidence")
        (kept,) = self.bundles.kept.values()
        assert path.read_bytes() == kept.raw
        policies = [policy_text(WORLD.genesis, name).encode() for name in ("kz-kgd", "cn-gacc")]
        return check_evidence(policies, kept.raw), kept.strength


@pytest.fixture
def validator(tmp_path: Path) -> Validator:
    return Validator(tmp_path / "evidence")


def lie_about(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(ORIGIN, checkpoint.size, LIE)


def test_a_lie_is_set_against_what_we_have_signed_ourselves(validator: Validator) -> None:
    checkpoint = validator.grow()
    validator.hear(LIAR, lie_about(checkpoint))
    report, strength = validator.bundle()
    assert report.holds
    assert (report.accused, strength) == ((), SIGNED)
    assert "kz-kgd-1" in report.words
    assert LIAR in report.words


def test_what_both_authorities_cosign_takes_the_place_of_what_we_signed_alone(validator: Validator) -> None:
    checkpoint = validator.grow()
    validator.hear(LIAR, lie_about(checkpoint))
    validator.hear("cn-gacc-2", checkpoint)
    validator.bundles.improve()
    report, strength = validator.bundle()
    assert strength == FINAL
    assert [each.final for each in report.signers].count(True) == 1
    # The log key of the liar's authority has signed both; which of its validators did, is not said by that.
    assert len(report.accused) == 1
    assert report.accused[0].startswith("log key")


def test_a_liar_that_signs_the_truth_later_is_accused_by_its_own_two_signatures(validator: Validator) -> None:
    validator.hear(LIAR, lie_about(validator.grow()))
    later = validator.grow()
    validator.hear(LIAR, later)
    validator.bundles.improve()
    report, strength = validator.bundle()
    assert report.holds
    assert strength == OWN_WORDS
    assert LIAR in report.accused
    (kept,) = validator.bundles.kept.values()
    assert kept.evidence.claim is Claim.INCONSISTENT_TREES
    assert validator.bundles.words() == [kept.words]


def test_a_liar_that_signed_the_truth_before_is_accused_once_it_signs_more_of_it(validator: Validator) -> None:
    checkpoint = validator.grow()
    validator.hear(LIAR, checkpoint)
    validator.hear(LIAR, lie_about(checkpoint))
    report, _ = validator.bundle()
    assert LIAR in report.accused


def test_a_lie_about_what_is_final_for_long_is_set_against_the_final_checkpoint(validator: Validator) -> None:
    sizes = []
    for _ in range(4):
        checkpoint = validator.grow()
        sizes.append(checkpoint)
        validator.hear("cn-gacc-2", checkpoint)
    validator.hear(LIAR, lie_about(sizes[1]))
    report, strength = validator.bundle()
    assert report.holds
    assert strength == FINAL
    assert "record of block" not in report.words


def test_what_was_kept_before_a_restart_is_known_and_what_was_not_made_is_made(validator: Validator) -> None:
    checkpoint = validator.grow()
    validator.hear(LIAR, lie_about(checkpoint))
    (bundle,) = validator.folder.glob("*.evidence")
    again = Validator(validator.folder, node=validator.node)
    assert [kept.raw for kept in again.bundles.kept.values()] == [bundle.read_bytes()]
    assert again.bundles.words() == validator.bundles.words()
    bundle.unlink()
    validator.node.chain.put_cosigned(
        checkpoint.size, final_note(checkpoint)
    )  # final by now, and the bundle was never written
    third = Validator(validator.folder, node=validator.node)
    assert third.bundles.kept == {}
    third.bundles.improve()
    assert third.bundle()[0].holds


def final_note(checkpoint: Checkpoint) -> bytes:
    finality = WORLD.finality()
    finality.executed(checkpoint)
    for name in ("kz-kgd-1", "cn-gacc-2"):
        finality.receive(name, checkpoint.size, checkpoint.root, WORLD.lines(name, checkpoint), lambda _: LIE)
    final = finality.conclude()
    assert final is not None
    return final[1]


def test_a_full_disk_is_tried_again_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Files):
        full = True

        def keep(self, path: Path, data: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().keep(path, data)

    files = Full()
    validator = Validator(tmp_path / "evidence", files)
    validator.hear(LIAR, lie_about(validator.grow()))
    assert validator.bundles.kept == {}
    files.full = False
    monkeypatch.setattr(validator.node.chain, "cosigned_at_or_after", lambda size: unavailable())
    validator.bundles.improve()
    assert validator.bundles.kept == {}
    monkeypatch.undo()
    validator.bundles.improve()
    assert validator.bundle()[0].holds


def test_a_note_of_a_size_that_is_not_there_any_more_stops_nobody(validator: Validator) -> None:
    validator.bundles.add(validator.folder / "99-x.note", final_note(Checkpoint(ORIGIN, 99, LIE)))
    validator.grow()
    note = final_note(Checkpoint(ORIGIN, 120, LIE))
    validator.node.chain.cosigned_at_or_after = lambda size: (120, note)  # type: ignore[method-assign]
    validator.bundles.improve()
    assert validator.bundles.kept == {}


def unavailable() -> None:
    raise StoreUnavailable("gone")


def test_files_that_are_no_evidence_are_passed_over(tmp_path: Path) -> None:
    for name in ("5-x.note", "5-x.evidence", "readme", "5-y.note.part"):
        (tmp_path / name).write_bytes(b"what is this")
    (tmp_path / "folder.evidence").mkdir()
    validator = Validator(tmp_path)
    assert validator.bundles.kept == {}
    validator.bundles.improve()


def test_honest_signatures_early_late_and_doubled_make_nothing(validator: Validator) -> None:
    early = Checkpoint(ORIGIN, 99, LIE)
    validator.hear(LIAR, early)
    checkpoints = [validator.grow() for _ in range(3)]
    for checkpoint in (*checkpoints, *checkpoints[::-1]):
        for name in ("cn-gacc-1", "cn-gacc-2", "kz-kgd-2"):
            validator.hear(name, checkpoint)
    validator.bundles.improve()
    assert validator.bundles.kept == {}
    assert not validator.folder.exists()


def test_a_bundle_says_in_which_block_the_two_go_apart(validator: Validator) -> None:
    checkpoint = validator.grow()
    validator.hear(LIAR, lie_about(checkpoint))
    (path,) = validator.folder.glob("*.evidence")
    shown = [head for head in decode_evidence(path.read_bytes()).heads if head.entries]
    assert [head.checkpoint for head in shown] == [checkpoint]
    assert [each.index for each in shown[0].entries] == [checkpoint.size - 1]


def test_a_liar_that_was_removed_since_is_accused_after_a_restart_too(validator: Validator) -> None:
    validator.hear(LIAR, lie_about(validator.grow()))
    validator.hear(LIAR, validator.grow())
    validator.bundles.improve()
    said = validator.bundles.words()
    policy = WORLD.policy()
    without = replace(
        policy,
        witnesses=tuple(each for each in policy.witnesses if each.name != LIAR),
        groups=tuple(
            replace(group, members=tuple(each for each in group.members if each != LIAR)) for group in policy.groups
        ),
    )
    again = Bundles(WORLD.genesis, validator.folder, Files(), validator.node.chain, validator.finality, lambda: without)
    assert again.words() == said


def test_a_lie_about_more_than_is_left_of_our_ledger_after_a_restart_is_shown_once_it_has_grown_back(
    validator: Validator,
) -> None:
    validator.grow()
    checkpoint = validator.grow()
    validator.hear(LIAR, lie_about(checkpoint))
    (made,) = validator.folder.glob("*.evidence")
    made.unlink()  # what could not be made before, and the notes, are what a restart finds
    again = Validator(validator.folder)
    assert again.node.chain.size < checkpoint.size
    again.bundles.improve()
    assert again.bundles.kept == {}
    while again.node.chain.size < checkpoint.size:
        again.grow()
    again.bundles.improve()
    report, _ = again.bundle()
    assert report.holds
    assert LIAR in report.words

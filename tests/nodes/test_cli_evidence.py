"""`comity evidence` and `comity verify` on bundles, as people call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.verifying import KINDS, kind_of
from ledger.archive import export_archive
from ledger.checkpoint import Checkpoint
from ledger.evidence import MAX_EVIDENCE_BYTES, SUFFIX, Claim, Evidence, SignedHead, decode_evidence, is_evidence
from nodes.cli import comity
from tests.ledger.evidence import BUNDLES, LAST, WORLD, two_roots
from tests.ledger.toy import ORIGIN, World


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kz.policy").write_bytes(WORLD.policy("kz-kgd"))
    (tmp_path / "cn.policy").write_bytes(WORLD.policy("cn-gacc"))
    for claim in Claim:
        (tmp_path / f"{claim.value}.evidence").write_bytes(BUNDLES[claim].encode())
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(comity, ["evidence", *map(str, arguments)])


@pytest.mark.parametrize("claim", list(Claim), ids=lambda claim: claim.value)
def test_comity_verify_knows_a_bundle_whatever_it_is_called(folder: Path, claim: Claim) -> None:
    renamed = (folder / f"{claim.value}.evidence").rename(folder / "letter.txt")
    result = CliRunner().invoke(comity, ["verify", str(renamed), "--policy", str(folder / "kz.policy"), "--json"])
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.output)["proofs"]
    assert (found["kind"], found["claim"], found["holds"]) == ("evidence", claim.value, True)
    assert found["accused"]


def test_the_table_of_kinds_knows_what_the_format_says() -> None:
    (kind,) = (each for each in KINDS if each.name == "evidence")
    assert (kind.suffix, kind.max_bytes) == (SUFFIX, MAX_EVIDENCE_BYTES)
    for bundle in BUNDLES.values():
        assert kind.sniff(bundle.encode())
        assert is_evidence(bundle.encode())
        assert kind_of(bundle.encode()) is kind


def test_verify_takes_the_policies_of_both_sides_and_says_what_cannot_be_told(folder: Path) -> None:
    both = ["--policy", folder / "kz.policy", "--policy", folder / "cn.policy"]
    result = run("verify", folder / "two_roots.evidence", *both)
    assert result.exit_code == 0, result.output
    assert "signed both of two histories" in result.output
    assert "2 log keys" in result.output
    assert "which of two histories is the right one" in result.output


def test_a_bundle_that_does_not_hold_is_status_1(folder: Path) -> None:
    damaged = folder / "damaged.evidence"
    damaged.write_bytes(BUNDLES[Claim.TWO_ROOTS].encode()[:-1])
    result = run("verify", folder / "two_roots.evidence", damaged, "--policy", folder / "kz.policy")
    assert result.exit_code == 1
    assert "DOES NOT HOLD" in result.output


def test_list_says_what_lies_in_a_folder_and_in_the_data_of_a_validator(folder: Path) -> None:
    result = run("list", folder)
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == len(Claim)
    (folder / "data" / "evidence").mkdir(parents=True)
    assert "no evidence" in run("list", folder / "data").output
    (folder / "data" / "evidence" / "one.evidence").write_bytes(BUNDLES[Claim.BLOCK_TIME].encode())
    rows = json.loads(run("list", folder / "data", "--json").output)["evidence"]
    assert [(row["claim"], row["id"]) for row in rows] == [("block_time", BUNDLES[Claim.BLOCK_TIME].id)]
    assert run("list", folder / "nowhere").exit_code == 3


@pytest.mark.parametrize("claim", list(Claim), ids=lambda claim: claim.value)
def test_show_says_what_stands_in_a_bundle_and_that_nothing_was_verified(folder: Path, claim: Claim) -> None:
    result = run("show", folder / f"{claim.value}.evidence")
    assert result.exit_code == 0
    assert claim.sentence in result.output
    assert "nothing was verified" in result.output
    shown = json.loads(run("show", folder / f"{claim.value}.evidence", "--json").output)
    assert len(shown["heads"]) == len(BUNDLES[claim].heads)
    (folder / "bad").write_bytes(b"\x00")
    assert run("show", folder / "bad").exit_code == 1


def test_two_checkpoints_that_two_people_were_shown_become_evidence(folder: Path) -> None:
    export_archive(WORLD.chain, folder / "archive", WORLD.policy(), WORLD.note())
    (folder / "mine").write_bytes(WORLD.note())
    (folder / "same").write_bytes(WORLD.note(Checkpoint(ORIGIN, LAST + 1, bytes(32))))
    (folder / "smaller").write_bytes(WORLD.note(Checkpoint(ORIGIN, 5, bytes(32))))
    (folder / "true").write_bytes(WORLD.note(Checkpoint(ORIGIN, 5, WORLD.chain.root_at(5))))
    policy, archive = ("--policy", folder / "kz.policy"), ("--archive", folder / "archive")
    made = run("make", folder / "mine", folder / "same", *policy, "--out", folder / "a.evidence")
    assert made.exit_code == 0, made.output
    made = run("make", folder / "smaller", folder / "mine", *policy, *archive, "--out", folder / "b.evidence")
    assert made.exit_code == 0, made.output
    claims = [decode_evidence((folder / name).read_bytes()).claim for name in ("a.evidence", "b.evidence")]
    assert claims == [Claim.TWO_ROOTS, Claim.INCONSISTENT_TREES]
    out = ("--out", folder / "c.evidence")
    assert run("make", folder / "smaller", folder / "mine", *policy, *out).exit_code == 2
    honest = run("make", folder / "true", folder / "mine", *policy, *archive, *out)
    assert honest.exit_code == 1
    assert "do not contradict" in honest.output
    (folder / "unsigned").write_bytes(World(seed="strangers").note(Checkpoint(ORIGIN, LAST + 1, bytes(32))))
    assert run("make", folder / "unsigned", folder / "mine", *policy, *out).exit_code == 1
    assert not (folder / "c.evidence").exists()
    assert run("make", folder / "mine", folder / "same", *policy, "--out", folder / "a.evidence").exit_code != 0


def test_both_sides_bundles_of_one_divergence_are_joined(folder: Path) -> None:
    whole = two_roots()
    one, other = whole.heads
    halves = (
        Evidence(Claim.TWO_ROOTS, (one, SignedHead(other.note))),
        Evidence(Claim.TWO_ROOTS, (SignedHead(one.note), other)),
    )
    for name, each in zip(("one", "other"), halves, strict=True):
        (folder / name).write_bytes(each.encode())
    policy = ("--policy", folder / "cn.policy")
    result = run("join", folder / "one", folder / "other", *policy, "--out", folder / "whole")
    assert result.exit_code == 0, result.output
    assert (folder / "whole").read_bytes() == whole.encode()
    result = run("join", folder / "one", folder / "block_time.evidence", *policy, "--out", folder / "none")
    assert result.exit_code == 1

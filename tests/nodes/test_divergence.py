"""Somebody validly signed another root: evidence in any case, and then who is the odd one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ledger.checkpoint import Checkpoint
from ledger.note import parse_note
from nodes.cosigning import Divergence
from nodes.divergence import LIES_MAX, PATIENCE_S, Divergences
from nodes.files import Files
from nodes.metrics import Metrics
from tests.nodes.world import ORIGIN, World

WORLD = World()
OURS = bytes(range(32))
THEIRS = bytes(32)


def divergence(signer: str, size: int = 5, root: bytes = THEIRS) -> Divergence:
    finality = WORLD.finality()
    finality.executed(Checkpoint(ORIGIN, size, OURS))
    found = finality.receive(signer, size, root, WORLD.lines(signer, Checkpoint(ORIGIN, size, root)), lambda _: OURS)
    assert found is not None
    return found


def kept(directory: Path) -> Divergences:
    return Divergences(WORLD.policy(), directory / "evidence", Metrics("kz-kgd-1"), Files())


def test_the_evidence_is_a_note_that_anybody_can_check(tmp_path: Path) -> None:
    kept(tmp_path).add(divergence("cn-gacc-1"), 0.0)
    (file,) = (tmp_path / "evidence").iterdir()
    result = WORLD.policy("cn-gacc").check(parse_note(file.read_bytes()))
    assert result.checkpoint == Checkpoint(ORIGIN, 5, THEIRS)
    assert result.signed == ("cn-gacc-1",)


def test_one_liar_is_outvoted_and_we_go_on(tmp_path: Path) -> None:
    divergences = kept(tmp_path)
    assert divergences.add(divergence("cn-gacc-1"), 0.0) is None
    assert divergences.verdict(final_size=4, now_s=1.0) is None
    assert divergences.verdict(final_size=5, now_s=2.0) is None
    assert divergences.odd == {"cn-gacc-1": 5}
    assert divergences.verdict(final_size=5, now_s=PATIENCE_S + 10) is None


def test_when_both_authorities_sign_another_root_we_are_the_odd_one(tmp_path: Path) -> None:
    divergences = kept(tmp_path)
    assert divergences.add(divergence("cn-gacc-1"), 0.0) is None
    why = divergences.add(divergence("kz-kgd-2"), 0.1)
    assert why is not None
    assert "cn-gacc-1, kz-kgd-2 signed another root than ours at size 5" in why


def test_when_the_other_authority_does_not_sign_ours_we_halt(tmp_path: Path) -> None:
    divergences = kept(tmp_path)
    divergences.add(divergence("cn-gacc-1"), 0.0)
    assert divergences.verdict(final_size=4, now_s=PATIENCE_S) is None
    why = divergences.verdict(final_size=4, now_s=PATIENCE_S + 0.1)
    assert why is not None
    assert "its authority has not signed ours" in why


def test_different_lies_do_not_add_up_to_a_quorum(tmp_path: Path) -> None:
    divergences = kept(tmp_path)
    assert divergences.add(divergence("cn-gacc-1"), 0.0) is None
    assert divergences.add(divergence("kz-kgd-2", root=b"\x01" * 32), 0.1) is None


def test_a_liar_cannot_fill_the_disk(tmp_path: Path) -> None:
    divergences = kept(tmp_path)
    for number in range(LIES_MAX + 10):
        divergences.add(divergence("cn-gacc-1", root=number.to_bytes(32, "big")), 0.0)
    assert len(list((tmp_path / "evidence").iterdir())) == LIES_MAX


def test_a_note_that_both_authorities_cosigned_halts_at_once(tmp_path: Path) -> None:
    both = dataclasses.replace(divergence("cn-gacc-1"), cosigners=frozenset({"cn-gacc-1", "kz-kgd-2"}))
    why = kept(tmp_path).add(both, 0.0)
    assert why is not None
    assert "signed another root than ours at size 5" in why


def test_evidence_against_a_log_key_is_kept_too(tmp_path: Path) -> None:
    kept(tmp_path).add(dataclasses.replace(divergence("cn-gacc-1"), signer="cn-gacc log"), 0.0)
    (file,) = (tmp_path / "evidence").iterdir()
    assert file.name.startswith("5-cn-gacc-log-")

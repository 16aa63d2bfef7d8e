"""Persist, then sign; and what others send us. Attacks first."""

from __future__ import annotations

import dataclasses

import pytest

from ledger.checkpoint import Checkpoint
from ledger.errors import UnknownDurableState
from ledger.membership import Register, Role
from ledger.note import NoteSignature, parse_note
from ledger.policy import parse_policy
from nodes.cosigning import EARLY_MAX_SIZES, Contradiction, Cosigner, Finality, Intent
from nodes.network import policy_text
from tests.nodes.world import ORIGIN, World

WORLD = World()
ROOT = bytes(range(32))


def checkpoint(size: int, root: bytes = ROOT) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root)


def no_root(size: int) -> bytes:
    return bytes(32)


def executed(*sizes: int, signed_by: str | None = "kz-kgd-1") -> Finality:
    finality = WORLD.finality()
    for size in sizes:
        finality.executed(checkpoint(size))
        if signed_by:
            finality.signed(checkpoint(size), WORLD.lines(signed_by, checkpoint(size)))
    return finality


# --- signing ---------------------------------------------------------------------------------------------------------


def test_a_size_is_never_signed_with_another_root() -> None:
    cosigner = WORLD.cosigner("kz-kgd-1")
    intent = cosigner.intend(checkpoint(5), 100)
    cosigner.sign(checkpoint(5), intent)
    with pytest.raises(Contradiction, match="size 5 cannot be signed"):
        cosigner.intend(checkpoint(5, bytes(32)), 100)
    with pytest.raises(Contradiction, match="intent is to sign size 5"):
        cosigner.sign(checkpoint(5, bytes(32)), intent)
    with pytest.raises(Contradiction, match="contradicts"):
        cosigner.sign(checkpoint(5, bytes(32)), Intent(5, bytes(32), 100))


def test_a_size_is_never_signed_at_another_time() -> None:
    cosigner = WORLD.cosigner("kz-kgd-1")
    intent = cosigner.intend(checkpoint(5), 100)
    cosigner.sign(checkpoint(5), intent)
    with pytest.raises(Contradiction, match="contradicts"):
        cosigner.sign(checkpoint(5), dataclasses.replace(intent, time_s=101))


def test_nothing_below_what_was_signed_is_ever_signed() -> None:
    cosigner = WORLD.cosigner("kz-kgd-1", Intent(9, ROOT, 100))
    with pytest.raises(Contradiction):
        cosigner.intend(checkpoint(8), 200)
    with pytest.raises(Contradiction):
        cosigner.sign(checkpoint(8), Intent(8, ROOT, 200))


def test_signing_again_after_a_crash_gives_the_same_bytes() -> None:
    first = WORLD.cosigner("kz-kgd-1")
    intent = first.intend(checkpoint(5), 100)
    lines = first.sign(checkpoint(5), intent)
    stored = Intent.decode(intent.encode())
    assert WORLD.cosigner("kz-kgd-1", stored).sign(checkpoint(5), stored) == lines


def test_the_time_of_a_cosignature_does_not_go_back_where_the_ledger_was_lost_and_derived_again() -> None:
    key = WORLD.cosigner("kz-kgd-1")._key
    cosigner = Cosigner("kz-kgd-1", key, [] if key is None else [key], None, not_before_s=1000)
    assert cosigner.intend(checkpoint(6), 400).time_s == 1000
    assert cosigner.intend(checkpoint(6), 1200).time_s == 1200


def test_the_time_of_a_cosignature_does_not_go_back_with_the_clock() -> None:
    cosigner = WORLD.cosigner("kz-kgd-1")
    cosigner.sign(checkpoint(5), cosigner.intend(checkpoint(5), 1000))
    assert cosigner.intend(checkpoint(6), 400).time_s == 1000


@pytest.mark.parametrize("data", [b"", b"\xa0", b"\x80", Intent(5, ROOT, 100).encode()[:-1]])
def test_an_intent_that_cannot_be_read_stops_the_validator(data: bytes) -> None:
    with pytest.raises(UnknownDurableState):
        Intent.decode(data)


# --- collecting ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_final_when_both_authorities_signed() -> None:
    finality = executed(5)
    assert finality.conclude() is None
    assert finality.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5)), no_root) is None
    concluded = finality.conclude()
    assert concluded is not None
    size, note = concluded
    assert size == 5
    for authority in ("kz-kgd", "cn-gacc"):
        result = WORLD.policy(authority).check(parse_note(note))
        result.check()
        assert result.checkpoint == checkpoint(5)
    assert finality.conclude() is None


def test_two_validators_of_one_authority_make_nothing_final() -> None:
    finality = executed(5)
    finality.receive("kz-kgd-2", 5, ROOT, WORLD.lines("kz-kgd-2", checkpoint(5)), no_root)
    assert finality.conclude() is None


def test_a_cosignature_without_the_log_signature_of_its_authority_is_not_enough() -> None:
    finality = executed(5)
    finality.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5))[1:], no_root)
    assert finality.conclude() is None
    finality.receive("cn-gacc-2", 5, ROOT, WORLD.lines("cn-gacc-2", checkpoint(5))[:1], no_root)
    assert finality.conclude() is not None


def test_the_lines_of_a_note_are_in_one_order_however_they_came() -> None:
    notes = []
    for names in (("kz-kgd-1", "cn-gacc-1"), ("cn-gacc-1", "kz-kgd-1")):
        finality = executed(5, signed_by=None)
        for name in names:
            finality.receive(name, 5, ROOT, reversed(WORLD.lines(name, checkpoint(5))), no_root)
        notes.append(finality.conclude())
    assert notes[0] is not None
    assert notes[0] == notes[1]


@pytest.mark.parametrize("bit", [0, 7, 64 * 8 - 1])
def test_a_forged_signature_changes_nothing(bit: int) -> None:
    finality = executed(5)
    forged = []
    for line in WORLD.lines("cn-gacc-1", checkpoint(5)):
        data = bytearray(line.signature)
        data[-1 - bit // 8] ^= 1 << bit % 8
        forged.append(NoteSignature(line.name, line.key_id, bytes(data)))
    assert finality.receive("cn-gacc-1", 5, ROOT, forged, no_root) is None
    assert finality.refused == 2
    assert finality.conclude() is None
    # The true ones still count afterwards.
    finality.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5)), no_root)
    assert finality.conclude() is not None


def test_a_signature_of_another_size_does_not_count_when_replayed() -> None:
    finality = executed(5, 7)
    finality.receive("cn-gacc-1", 7, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5)), no_root)
    assert finality.conclude() is None
    assert finality.refused == 2


def test_a_strangers_line_is_ignored() -> None:
    finality = executed(5)
    stranger = World()
    assert finality.receive("cn-gacc-1", 5, ROOT, stranger.lines("cn-gacc-1", checkpoint(5)), no_root) is None
    assert finality.conclude() is None


def test_a_line_under_another_validators_name_does_not_count() -> None:
    finality = executed(5)
    log, own = WORLD.lines("kz-kgd-2", checkpoint(5))
    theirs = WORLD.lines("cn-gacc-1", checkpoint(5))[1]
    finality.receive("cn-gacc-1", 5, ROOT, [log, NoteSignature(theirs.name, theirs.key_id, own.signature)], no_root)
    assert finality.conclude() is None


def test_a_valid_signature_of_another_root_is_evidence() -> None:
    finality = executed(5)
    other = checkpoint(5, bytes(32))
    divergence = finality.receive("cn-gacc-1", 5, other.root, WORLD.lines("cn-gacc-1", other), no_root)
    assert divergence is not None
    assert (divergence.signer, divergence.size) == ("cn-gacc-1", 5)
    # A third party checks the evidence with nothing but the policy.
    result = WORLD.policy("cn-gacc").check(parse_note(divergence.note))
    assert result.checkpoint == other
    assert result.signed == ("cn-gacc-1",)


def test_a_lie_about_a_size_that_is_final_is_evidence_too() -> None:
    finality = executed(5)
    finality.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5)), no_root)
    assert finality.conclude() is not None
    other = checkpoint(5, bytes(32))
    assert finality.receive("cn-gacc-2", 5, other.root, WORLD.lines("cn-gacc-2", other), no_root) is not None


def test_a_size_that_is_no_end_of_a_block_is_compared_with_the_tree() -> None:
    finality = executed(5, 9)
    other = checkpoint(7, bytes([1]) * 32)
    assert finality.receive("cn-gacc-1", 7, other.root, WORLD.lines("cn-gacc-1", other), no_root) is not None
    same = checkpoint(7, no_root(7))
    assert finality.receive("cn-gacc-1", 7, same.root, WORLD.lines("cn-gacc-1", same), no_root) is None


def test_another_root_without_a_valid_signature_is_no_evidence() -> None:
    finality = executed(5)
    lines = WORLD.lines("cn-gacc-1", checkpoint(5))  # of the true root, claimed for another
    assert finality.receive("cn-gacc-1", 5, bytes(32), lines, no_root) is None
    assert finality.receive("cn-gacc-1", 5, b"short", lines, no_root) is None


def test_signatures_that_come_before_their_time_are_kept_and_used() -> None:
    finality = executed(5)
    finality.receive("cn-gacc-1", 8, ROOT, WORLD.lines("cn-gacc-1", checkpoint(8)), no_root)
    assert finality.early() == []
    finality.executed(checkpoint(8))
    finality.signed(checkpoint(8), WORLD.lines("kz-kgd-1", checkpoint(8)))
    for early in finality.early():
        finality.receive(*early, no_root)
    concluded = finality.conclude()
    assert concluded is not None
    assert concluded[0] == 8


def test_what_a_peer_sends_ahead_is_bounded_and_the_newest_is_kept() -> None:
    finality = executed(5)
    line = WORLD.lines("cn-gacc-1", checkpoint(8))
    for size in range(10, 10 + 10 * EARLY_MAX_SIZES):
        finality.receive("cn-gacc-1", size, ROOT, line, no_root)
    finality.executed(checkpoint(100_000))
    kept = [size for _, size, _, _ in finality.early()]
    assert len(kept) == EARLY_MAX_SIZES
    assert max(kept) == 9 + 10 * EARLY_MAX_SIZES


def test_a_peer_that_is_behind_gets_all_the_lines_of_the_final_note() -> None:
    ahead, behind = executed(5), executed(5, signed_by=None)
    ahead.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5)), no_root)
    ahead.conclude()
    assert ahead.answer(0, 4, b"") == []
    for size, root, lines in ahead.answer(0, 5, b""):
        behind.receive("kz-kgd-1", size, root, lines, no_root)
    concluded = behind.conclude()
    assert concluded is not None
    assert concluded[1] == ahead.final_note


def test_a_peer_that_counts_other_voters_than_made_it_final_gets_the_signature_of_one_that_counts() -> None:
    """cn-gacc-2 was promoted in the place of cn-gacc-1 when the ledger stood here already, and signed it late."""
    ahead, behind = executed(5), executed(5)
    ahead.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5)), no_root)
    assert ahead.conclude() is not None
    ahead.signed(checkpoint(5), WORLD.lines("cn-gacc-2", checkpoint(5)))
    voters = Register.of_genesis(WORLD.genesis).of(Role.VOTER)
    behind.set_voters([each for each in voters if each.name != "cn-gacc-1"], WORLD.policy())
    for size, root, lines in ahead.answer(0, 5, b""):
        behind.receive("cn-gacc-2", size, root, lines, no_root)
    concluded = behind.conclude()
    assert concluded is not None
    assert "cn-gacc-2" in {line.name for line in parse_note(concluded[1]).signatures}
    # Not to whom it is of no use: it is final there, or not executed yet.
    assert ahead.answer(5, 5, ROOT) == []
    assert ahead.answer(0, 4, b"") == []


def test_a_final_note_that_has_the_own_signature_in_it_is_sent_once() -> None:
    ahead = executed(5)
    ahead.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5)), no_root)
    assert ahead.conclude() is not None
    assert len(ahead.answer(0, 5, b"")) == 1


def test_a_final_note_is_found_again_after_a_start() -> None:
    finality = executed(5)
    finality.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5), 1234), no_root)
    concluded = finality.conclude()
    assert concluded is not None
    again = WORLD.finality(concluded[1])
    assert again.final_size == 5
    assert again.times["cn-gacc"].time_s == 1234
    assert again.cosigned_at(concluded[1]) == {"kz-kgd": 1_800_000_000, "cn-gacc": 1234}


def test_two_that_were_led_to_different_final_checkpoints_of_one_size_find_out() -> None:
    other_root = bytes(32)
    here, there = executed(5), WORLD.finality()
    there.executed(checkpoint(5, other_root))
    there.signed(checkpoint(5, other_root), WORLD.lines("kz-kgd-2", checkpoint(5, other_root)))
    here.receive("cn-gacc-1", 5, ROOT, WORLD.lines("cn-gacc-1", checkpoint(5)), no_root)
    there.receive("cn-gacc-1", 5, other_root, WORLD.lines("cn-gacc-1", checkpoint(5, other_root)), no_root)
    assert here.conclude() is not None
    assert there.conclude() is not None
    assert here.answer(5, 5, ROOT) == []
    ((size, root, lines),) = here.answer(there.final_size, 5, there.final_root)
    divergence = there.receive("kz-kgd-1", size, root, lines, no_root)
    assert divergence is not None
    assert divergence.cosigners == {"kz-kgd-1", "cn-gacc-1"}


def test_what_is_no_root_or_no_signature_is_not_even_kept() -> None:
    finality = executed(5)
    line = WORLD.lines("cn-gacc-1", checkpoint(8))[1]
    finality.receive("cn-gacc-1", 8, bytes(1_000_000), [line], no_root)
    finality.receive("cn-gacc-1", 9, ROOT, [NoteSignature(line.name, line.key_id, bytes(1_000_000))], no_root)
    finality.executed(checkpoint(100))
    assert finality.early() == []


def test_another_root_that_only_a_log_key_signed_is_held_against_its_authority() -> None:
    finality = executed(5)
    lies = WORLD.lines("cn-gacc-1", checkpoint(5, bytes(32)))[:1]
    divergence = finality.receive("cn-gacc-1", 5, bytes(32), lies, no_root)
    assert divergence is not None
    assert (divergence.signer, divergence.cosigners) == ("cn-gacc log", frozenset())


@pytest.mark.parametrize(
    ("signers", "lacking"),
    [
        ((), {"kz-kgd": ("kz-kgd-1", "kz-kgd-2"), "cn-gacc": ("cn-gacc-1", "cn-gacc-2")}),
        (("kz-kgd-1", "cn-gacc-1"), {"kz-kgd": ("kz-kgd-2",), "cn-gacc": ("cn-gacc-2",)}),
        (("kz-kgd-1", "kz-kgd-2", "cn-gacc-2"), {"cn-gacc": ("cn-gacc-1",)}),
        (("kz-kgd-1", "kz-kgd-2", "cn-gacc-1", "cn-gacc-2"), {}),
    ],
)
def test_where_a_majority_of_each_side_is_wanted_whoever_is_missing_is_named(
    signers: tuple[str, ...], lacking: dict[str, tuple[str, ...]]
) -> None:
    world = World()
    policy = parse_policy(policy_text(world.genesis, "kz-kgd", majority=True).encode())
    finality = Finality(world.genesis, policy, None)
    assert finality.lacking() == {}
    checkpoint = Checkpoint(ORIGIN, 5, bytes(32))
    finality.executed(checkpoint)
    for name in signers:
        finality.receive(name, 5, bytes(32), world.lines(name, checkpoint), lambda _: bytes(32))
    assert finality.lacking() == lacking
    assert (finality.conclude() is not None) is (not lacking)
    assert lacking or finality.lacking() == {}


def test_where_only_the_line_of_the_log_key_is_missing_its_authority_is_named_and_no_validator() -> None:
    world = World()
    finality = world.finality()
    checkpoint = Checkpoint(ORIGIN, 5, bytes(32))
    finality.executed(checkpoint)
    for name, kept in (("kz-kgd-1", slice(1, 2)), ("cn-gacc-1", slice(0, 2))):
        finality.receive(name, 5, bytes(32), world.lines(name, checkpoint)[kept], lambda _: bytes(32))
    assert finality.conclude() is None
    assert finality.lacking() == {"kz-kgd": ()}

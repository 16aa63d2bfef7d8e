"""The format of evidence: one spelling, every limit, nothing raised but Malformed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import cbor
from ledger.errors import Malformed, Misuse
from ledger.evidence import (
    MAX_EVIDENCE_BYTES,
    Claim,
    Evidence,
    ShownEntry,
    SignedHead,
    decode_evidence,
    is_evidence,
)
from ledger.evidence_making import conflicting_heads
from ledger.note import MAX_NOTE_BYTES
from tests.ledger.evidence import BUNDLES, WORLD, grown


@pytest.mark.parametrize("claim", list(Claim), ids=lambda claim: claim.value)
def test_a_bundle_of_each_claim_is_read_back_as_it_was_written(claim: Claim) -> None:
    evidence = BUNDLES[claim]
    assert decode_evidence(evidence.encode()) == evidence
    assert is_evidence(evidence.encode())
    assert len(evidence.encode()) < 8 * 1024
    assert len(evidence.id) == 64


def test_a_file_of_another_kind_is_not_taken_for_evidence() -> None:
    for other in (b"", b"\xa3", WORLD.note(), WORLD.policy(), WORLD.genesis.encode(), bytes(100_000)):
        assert not is_evidence(other)
        with pytest.raises(Malformed):
            decode_evidence(other)


@pytest.mark.parametrize("claim", list(Claim), ids=lambda claim: claim.value)
def test_a_bundle_cut_short_grown_or_relabelled_is_malformed(claim: Claim) -> None:
    raw = BUNDLES[claim].encode()
    for wrong in (raw[:-1], raw + b"\x00", raw[1:], b"\xa9" + raw[1:]):
        with pytest.raises(Malformed):
            decode_evidence(wrong)
    for other in set(Claim) - {claim}:
        text = cbor.encode(claim.value)
        relabelled = raw.replace(cbor.encode("claim") + text, cbor.encode("claim") + cbor.encode(other.value))
        try:
            decode_evidence(relabelled)
        except Malformed:
            continue  # of another shape; of the same shape it is read, and found not to be so


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(Claim)), st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_is_malformed_or_another_bundle_of_one_spelling(claim: Claim, place: int, mask: int) -> None:
    raw = bytearray(BUNDLES[claim].encode())
    raw[place % len(raw)] ^= mask
    try:
        decoded = decode_evidence(bytes(raw))
    except Malformed:
        return
    assert decoded.encode() == bytes(raw)


def members(claim: Claim) -> dict[str, object]:
    value = cbor.decode(BUNDLES[claim].encode())
    assert isinstance(value, dict)
    return value  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "comity.evidence.v2"}, "type is wrong"),
        ({"claim": "guilty"}, "no claim of this release"),
        ({"heads": []}, "wrong number of heads"),
        ({"heads": [{"note": b"x", "entries": []}] * 3}, "array of at most 2"),
        ({"heads": [{"note": b"", "entries": []}] * 2}, "must be bytes"),
        ({"heads": [{"note": b"x" * (MAX_NOTE_BYTES + 1), "entries": []}] * 2}, "note is too long"),
        ({"heads": [{"note": b"x", "entries": [], "more": 1}] * 2}, "other members"),
        ({"surprise": 1}, "other members"),
        ({"key": b"k"}, "is shown by its heads"),
        ({"prefix_root": bytes(32), "path": []}, "is shown by its heads"),
        ({"prefix_root": bytes(31), "path": []}, "must be 32 bytes"),
    ],
)
def test_what_breaks_a_rule_of_the_format_is_told(change: dict[str, object], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        decode_evidence(cbor.encode({**members(Claim.TWO_ROOTS), **change}))  # type: ignore[arg-type]


def test_too_large_a_bundle_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Malformed, match="too large"):
        decode_evidence(b"\x5a\x00\x20\x00\x00" + bytes(MAX_EVIDENCE_BYTES + 1))
    many = {**members(Claim.TWO_ROOTS), "path": [b""] * 5000}
    with pytest.raises(Malformed):
        decode_evidence(cbor.encode(many))  # type: ignore[arg-type]


def test_the_heads_of_a_conflict_stand_in_one_order() -> None:
    for claim in (Claim.TWO_ROOTS, Claim.INCONSISTENT_TREES):
        evidence = BUNDLES[claim]
        with pytest.raises(Misuse, match=r"not in order|wrong sizes"):
            replace(evidence, heads=evidence.heads[::-1]).encode()
    twice = replace(BUNDLES[Claim.TWO_ROOTS], heads=BUNDLES[Claim.TWO_ROOTS].heads[:1] * 2)
    assert decode_evidence(twice.encode()) == twice  # which shows nothing, and is found to


def test_entries_stand_in_order_and_within_their_tree() -> None:
    evidence = BUNDLES[Claim.CTI_TWICE]
    one, other = evidence.heads[0].entries
    beyond = replace(other, index=evidence.heads[0].checkpoint.size)
    for entries in ((other, one), (one, one), (one, beyond), (one,), (one, other, beyond)):
        with pytest.raises(Misuse):
            Evidence(Claim.CTI_TWICE, (SignedHead(evidence.heads[0].note, entries),)).encode()


def test_a_conflict_shows_last_entries_only() -> None:
    one, other = BUNDLES[Claim.TWO_ROOTS].heads
    with pytest.raises(Misuse, match="last entry"):
        Evidence(Claim.TWO_ROOTS, (SignedHead(one.note, (ShownEntry(0, b"x", ()),)), other)).encode()


def test_heads_that_do_not_contradict_each_other_make_no_evidence() -> None:
    world = grown(blocks=3)
    early = SignedHead(world.note())
    assert conflicting_heads(early, early, world.chain) is None
    world.grow(4)
    late = SignedHead(world.note())
    assert conflicting_heads(early, late, world.chain) is None
    assert conflicting_heads(late, early, world.chain) is None
    with pytest.raises(Misuse, match="two sizes"):
        conflicting_heads(early, late)

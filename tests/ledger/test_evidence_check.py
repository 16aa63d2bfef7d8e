"""What evidence holds, and what does not: liars, and honest signatures in every disguise."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ledger.algorithms import PrivateKey
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.cosignature import cosign
from ledger.errors import Misuse
from ledger.evidence import Claim, Evidence, ShownEntry, SignedHead
from ledger.evidence_check import CHECKS, NOT_CHECKED, EvidenceReport, check_evidence
from ledger.evidence_making import conflicting_heads, joined, with_last_record
from ledger.note import Note, format_note, parse_note
from ledger.proof_check import Verdict
from tests.ledger.archives import entries_of
from tests.ledger.evidence import (
    BEFORE,
    BUNDLES,
    ENTRIES,
    LAST,
    RECORDS,
    WORLD,
    Forged,
    bad_entry,
    forged_statement,
    grown,
    two_roots,
    with_record,
)
from tests.ledger.toy import ORIGIN, World

KZ, CN = WORLD.policy("kz-kgd"), WORLD.policy("cn-gacc")


def judged(evidence: Evidence | bytes, *policies: bytes) -> EvidenceReport:
    return check_evidence(policies or (KZ, CN), evidence if isinstance(evidence, bytes) else evidence.encode())


def failed(report: EvidenceReport) -> str:
    """The first check that does not hold."""
    return next(check.name for check in report.checks if check.verdict is Verdict.FAILS)


@pytest.mark.parametrize("policies", [(KZ,), (CN,), (KZ, CN)], ids=["kz", "cn", "both"])
@pytest.mark.parametrize("claim", list(Claim), ids=lambda claim: claim.value)
def test_every_lie_is_proven_under_the_policy_of_either_side(claim: Claim, policies: tuple[bytes, ...]) -> None:
    report = judged(BUNDLES[claim], *policies)
    assert [check.name for check in report.checks] == list(CHECKS)
    assert report.holds, report.checks
    assert report.accused
    assert report.words.startswith(report.accused[0])


def test_who_signed_both_heads_is_named_and_nobody_else() -> None:
    report = judged(two_roots())
    witnesses = {name for name in report.accused if not name.startswith("log key")}
    assert witnesses == {"cn-gacc-1", "cn-gacc-2"}
    assert len([name for name in report.accused if name.startswith("log key")]) == 2
    assert "signed both of two histories" in report.words
    assert report.signers[0].final is not report.signers[1].final


def test_two_honest_validators_led_apart_are_not_said_to_have_lied() -> None:
    """What the model found: two liars of one side, each of which cosigns one history with another honest validator."""
    other = Forged(with_record(state_root=bytes(32)))
    one = SignedHead(WORLD.note(without=("kz-kgd-2", "cn-gacc-2")))
    two = SignedHead(WORLD.note(other.checkpoint(), without=("kz-kgd-1", "cn-gacc-1")))
    evidence = conflicting_heads(one, two)
    assert evidence is not None
    report = judged(evidence)
    assert report.holds
    assert all(each.final for each in report.signers)
    assert all(name.startswith("log key") for name in report.accused)
    assert "no one here signed both" in report.words


def test_the_record_in_which_two_last_blocks_differ_is_said() -> None:
    check = judged(two_roots()).checks[-1]
    assert "block" in check.detail
    assert bytes(32).hex() in check.detail


def test_two_sides_of_which_nobody_signed_both_are_set_against_each_other() -> None:
    other = Forged(with_record(state_root=bytes(32)))
    mine = SignedHead(WORLD.note(without=("cn-gacc", "cn-gacc-1", "cn-gacc-2")))
    theirs = SignedHead(WORLD.note(other.checkpoint(), without=("kz-kgd", "kz-kgd-1", "kz-kgd-2")))
    evidence = conflicting_heads(mine, theirs)
    assert evidence is not None
    report = judged(evidence)
    assert report.holds
    assert report.accused == ()
    assert " against " in report.words
    assert "nobody here signed both" in report.words


def test_the_two_sides_of_a_divergence_join_what_each_of_them_knows() -> None:
    whole = two_roots()
    (one, other) = whole.heads
    without = [
        Evidence(Claim.TWO_ROOTS, (one, SignedHead(other.note))),
        Evidence(Claim.TWO_ROOTS, (SignedHead(one.note), other)),
    ]
    assert all("block" not in judged(each).checks[-1].detail for each in without)
    assert joined(*without) == whole
    with pytest.raises(Misuse):
        joined(whole, BUNDLES[Claim.INCONSISTENT_TREES])


def test_lines_join_and_each_signer_keeps_one() -> None:
    whole = two_roots()
    notes = [parse_note(head.note) for head in whole.heads]
    parts = [
        Evidence(
            Claim.TWO_ROOTS,
            tuple(SignedHead(format_note(Note(note.text, note.signatures[part]))) for note in notes),
        )
        for part in (slice(0, 2), slice(1, None))
    ]
    made = joined(*parts)
    assert [parse_note(head.note).signatures for head in made.heads] == [note.signatures for note in notes]


# --- what is no evidence ---------------------------------------------------------------------------------------------


def test_honest_heads_of_all_sizes_never_make_a_bundle_that_holds() -> None:
    """Whatever prefix and path somebody makes up: a log that only grew contradicts itself nowhere."""
    sizes = [RECORDS[1] + 1, RECORDS[3] + 1, LAST + 1]
    heads = {size: SignedHead(WORLD.note(Checkpoint(ORIGIN, size, WORLD.chain.root_at(size)))) for size in sizes}
    for small, large in itertools.combinations(sizes, 2):
        path = tuple(WORLD.chain.consistency_proof(small, large))
        true_root = WORLD.chain.root_at(small)
        for prefix_root in (true_root, bytes(32), heads[large].checkpoint.root):
            for proof in (path, path[:-1], (*path, bytes(32)), (), path[::-1]):
                evidence = Evidence(
                    Claim.INCONSISTENT_TREES, (heads[small], heads[large]), prefix_root=prefix_root, path=proof
                )
                assert not judged(evidence).holds
    assert not judged(Evidence(Claim.TWO_ROOTS, (heads[sizes[0]], heads[sizes[0]]))).holds


@pytest.mark.parametrize("claim", sorted(set(Claim) - {Claim.TWO_ROOTS, Claim.INCONSISTENT_TREES}, key=str), ids=str)
def test_no_two_entries_of_an_honest_log_prove_anything(claim: Claim) -> None:
    world = World()
    world.append(world.enrol("kz/truck/0"))
    world.append(world.add("kz/truck/0", "c1"), world.add("kz/truck/0", "c2"))
    world.append()
    tree = Forged(entries_of(world))
    note = world.note(without=("cn-gacc", "kz-kgd-1", "kz-kgd-2", "cn-gacc-1"))
    keys = [key.public.cose_key for key in world.keys.values()]
    shown = [tree.shown(index) for index in range(len(tree.entries))]
    one = claim in (Claim.BLOCK_END, Claim.STATEMENT_SIGNATURE, Claim.SECOND_GENESIS)
    for chosen in itertools.combinations(shown, 1 if one else 2):
        for key in keys if claim is Claim.STATEMENT_SIGNATURE else [b""]:
            report = check_evidence([world.policy()], Evidence(claim, (SignedHead(note, chosen),), key=key).encode())
            assert failed(report) == "claim", (claim, chosen)


def test_a_path_that_leads_elsewhere_proves_nothing() -> None:
    forged, index, key = forged_statement()
    tree = Forged(forged)
    honest = SignedHead(WORLD.note(), (tree.shown(index),))
    assert failed(judged(Evidence(Claim.STATEMENT_SIGNATURE, (honest,), key=key))) == "shown"
    entry = tree.shown(index)
    signed = SignedHead(WORLD.note(tree.checkpoint()), (replace(entry, index=index - 1),))
    assert failed(judged(Evidence(Claim.STATEMENT_SIGNATURE, (signed,), key=key))) == "shown"
    signed = SignedHead(WORLD.note(tree.checkpoint()), (ShownEntry(index, entry.raw, entry.path[:-1]),))
    assert failed(judged(Evidence(Claim.STATEMENT_SIGNATURE, (signed,), key=key))) == "shown"


def test_a_key_that_the_statement_does_not_name_proves_nothing_against_it() -> None:
    index = LAST - 1
    for key in (PrivateKey.generate().public.cose_key, b"no key", WORLD.registrars["cn-gacc"].public.cose_key):
        evidence = bad_entry(WORLD, Claim.STATEMENT_SIGNATURE, ENTRIES, index, key=key)
        assert failed(judged(evidence)) == "claim"


def test_an_entry_that_this_release_cannot_read_is_evidence_of_nothing() -> None:
    for strange in (b"", b"\xff", b"\xa1\x64type\x64next"):
        for claim, indexes in ((Claim.SECOND_GENESIS, (len(ENTRIES),)), (Claim.CTI_TWICE, (LAST - 1, len(ENTRIES)))):
            if strange:
                assert failed(judged(bad_entry(WORLD, claim, [*ENTRIES, strange], *indexes))) == "claim"


def test_a_block_of_nothing_and_the_first_block_are_as_they_should_be() -> None:
    world = World()
    world.append()
    world.append()
    entries = list(world.chain.entries(0, world.chain.size))
    for claim in (Claim.BLOCK_PREVIOUS, Claim.BLOCK_HEIGHT, Claim.BLOCK_TIME):
        for indexes in ((0, 1), (1, 2)):
            assert not check_evidence([world.policy()], bad_entry(world, claim, entries, *indexes).encode()).holds


# --- who signed ------------------------------------------------------------------------------------------------------


def test_strangers_signatures_prove_nothing() -> None:
    strangers = grown(seed="strangers")
    report = check_evidence([strangers.policy()], BUNDLES[Claim.TWO_ROOTS].encode())
    assert failed(report) == "signers"
    assert report.words == "this proves nothing against anybody"


def test_a_head_that_only_a_stranger_signed_proves_nothing_against_the_signers_of_the_other() -> None:
    lie = Checkpoint(ORIGIN, WORLD.chain.size, bytes(range(32)))
    strangers = World(seed="strangers")
    note = strangers.note(lie)
    evidence = conflicting_heads(SignedHead(WORLD.note()), SignedHead(note))
    assert evidence is not None
    assert failed(judged(evidence)) == "signers"


def test_a_bad_signature_of_a_known_key_spoils_a_bundle() -> None:
    evidence = two_roots()
    for number, head in enumerate(evidence.heads):
        note = parse_note(head.note)
        for place, line in enumerate(note.signatures):
            bad = replace(line, signature=line.signature[:-1] + bytes((line.signature[-1] ^ 1,)))
            lines = (*note.signatures[:place], bad, *note.signatures[place + 1 :])
            heads = list(evidence.heads)
            heads[number] = SignedHead(format_note(Note(note.text, lines)), head.entries)
            assert failed(judged(Evidence(Claim.TWO_ROOTS, tuple(heads)))) == "signers"


def test_lines_moved_from_one_head_to_the_other_prove_nothing() -> None:
    lie = Checkpoint(ORIGIN, WORLD.chain.size, bytes(range(32)))
    note = format_note(Note(checkpoint_body(lie), parse_note(WORLD.note()).signatures))
    evidence = conflicting_heads(SignedHead(WORLD.note()), SignedHead(note))
    assert evidence is not None
    assert failed(judged(evidence)) == "signers"


def test_two_logs_of_one_witness_are_no_conflict() -> None:
    """A witness cosigns many logs; of each it signs one history."""
    size = WORLD.chain.size
    other = Checkpoint("log.example/other", size, bytes(32))
    lines = (
        log_signature(WORLD.log_signers["kz-kgd"], other),
        cosign(WORLD.cosigners["kz-kgd-1"], "kz-kgd-1", other, 7),
    )
    heads = sorted(
        (SignedHead(WORLD.note()), SignedHead(format_note(Note(checkpoint_body(other), lines)))),
        key=lambda head: head.checkpoint.root,
    )
    assert conflicting_heads(heads[0], heads[1]) is None
    assert failed(judged(Evidence(Claim.TWO_ROOTS, tuple(heads)))) == "one_log"


def test_one_cosignature_is_enough_and_the_log_key_alone_too() -> None:
    lie = Checkpoint(ORIGIN, WORLD.chain.size, bytes(range(32)))
    truth = SignedHead(WORLD.note())
    for line, name in (
        (cosign(WORLD.cosigners["cn-gacc-2"], "cn-gacc-2", lie, 5), "cn-gacc-2"),
        (log_signature(WORLD.log_signers["cn-gacc"], lie), "log key"),
    ):
        evidence = conflicting_heads(truth, SignedHead(format_note(Note(checkpoint_body(lie), (line,)))))
        assert evidence is not None
        report = judged(evidence)
        assert report.holds
        assert len(report.accused) == 1
        assert report.accused[0].startswith(name)
        # The other authority's policy does not know the log key that signed.
        assert judged(evidence, KZ).holds == (name == "cn-gacc-2")


@pytest.mark.parametrize("policies", [(), (b"",), (KZ, b"quorum nobody\n")], ids=["none", "empty", "one bad"])
def test_without_a_policy_nothing_is_proven(policies: tuple[bytes, ...]) -> None:
    report = check_evidence(policies, BUNDLES[Claim.TWO_ROOTS].encode())
    assert failed(report) == "policies"
    assert len(report.checks) == len(CHECKS)


@pytest.mark.parametrize("bundle", [b"", b"\xa3", b"x" * 2_000_000, WORLD.note()], ids=["empty", "map", "huge", "note"])
def test_what_is_no_bundle_is_told_and_every_check_has_its_line(bundle: bytes) -> None:
    report = judged(bundle)
    assert failed(report) == "bundle"
    assert [check.number for check in report.checks] == [1, 2, 3, 4, 5, 6]


def test_every_byte_of_a_bundle_counts() -> None:
    one_line = ("cn-gacc", "kz-kgd", "kz-kgd-1", "kz-kgd-2", "cn-gacc-1")
    evidence = bad_entry(WORLD, Claim.BLOCK_TIME, with_record(time_ms=1), BEFORE, LAST, without=one_line)
    raw, true = evidence.encode(), judged(evidence)
    assert true.accused == ("cn-gacc-2",)
    for place in range(0, len(raw), 2):
        report = judged(raw[:place] + bytes((raw[place] ^ 0x11,)) + raw[place + 1 :])
        assert not report.holds, place


def test_what_cannot_be_told_is_said() -> None:
    assert len(NOT_CHECKED) == 4
    assert "which of two histories is the right one" in NOT_CHECKED[0]


def test_the_last_record_is_that_of_the_head_of_whatever_size() -> None:
    size = RECORDS[2] + 1
    head = SignedHead(WORLD.note(Checkpoint(ORIGIN, size, WORLD.chain.root_at(size))))
    (entry,) = with_last_record(head, WORLD.chain).entries
    assert entry.index == RECORDS[2]
    assert BEFORE in RECORDS

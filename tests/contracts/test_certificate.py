"""Crossing certificates: what they hold, and every way to forge, shorten, reorder or mix one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from contracts import certificate as format_
from contracts import verifying
from contracts.certificate import Certificate, make_certificate, parse_certificate
from contracts.certificate_check import CertificateReport, check_certificate
from contracts.certificate_facts import certificate_facts
from ledger.cbor import decode, encode
from ledger.entry import BlockRecord
from ledger.errors import Malformed, Misuse
from ledger.merkle import Frontier, leaf_hash
from ledger.proof_check import Verdict
from ledger.statement import Statement
from ledger.stateproof import parse_state_proof
from tests.api.tales import golden
from tests.contracts import corridor as c
from tests.contracts.crossings import (
    BLOCK_MS,
    COSIGNERS,
    CROSSED,
    DECLARED,
    POLICY,
    START_MS,
    RealLedger,
    crossed,
    left_out,
    with_new_log_key,
)
from tests.ledger import corridor

GOLDEN = Path(__file__).parent / "crossing.golden"


@cache
def ledger() -> RealLedger:
    return crossed()


@cache
def made(record: bool = True) -> bytes:
    return ledger().certificate(record=record)


def failing(report: CertificateReport) -> list[str]:
    return [check.name for check in report.checks if check.verdict is Verdict.FAILS]


def check(raw: bytes, policy: bytes = POLICY) -> CertificateReport:
    return check_certificate(policy, raw)


def changed(change: Callable[[Certificate], Certificate], record: bool = True) -> CertificateReport:
    return check(change(parse_certificate(made(record))).encode())


# ---- what it holds


def test_a_certificate_has_every_statement_of_movement_and_declaration_but_positions() -> None:
    certificate = parse_certificate(made())
    kinds = [statement.kind for _, statement in certificate.statements]
    expected = [kind for kind, _, _, _ in (*DECLARED, *CROSSED) if kind != "escort.position"]
    assert kinds == expected
    assert {statement.sub for _, statement in certificate.statements} == {c.UCR, c.MRN}


@pytest.mark.parametrize("record", [True, False])
def test_a_certificate_holds_and_tells_state_custody_and_times(record: bool) -> None:
    report = check(made(record))
    assert report.holds, report.checks
    assert [check.name for check in report.checks] == [
        "policy",
        "certificate",
        "log",
        "quorum",
        "inclusion",
        "genesis",
        "blocks",
        "story",
        *(["record"] if record else []),
    ]
    assert report.story is not None
    assert [(each.authority, each.liable) for each in report.story.custody] == [
        ("kz-kgd", "kz/carrier/steppe"),
        ("cn-gacc", "cn/carrier/silk"),
    ]
    blocks = [told.block_time_ms for told in report.story.told]
    assert all((time_ms - START_MS) % BLOCK_MS == 0 for time_ms in blocks)
    assert blocks == sorted(blocks)
    assert ("left out" in " ".join(report.not_checked)) is True


def test_the_certificate_is_the_same_bytes_again_and_reads_back_as_it_was_written() -> None:
    assert crossed().certificate() == made()
    assert parse_certificate(made()).encode() == made()


def test_the_golden_certificate_still_verifies() -> None:
    assert golden(GOLDEN, made()) == made()
    assert check(GOLDEN.read_bytes()).holds


def test_a_certificate_is_short() -> None:
    assert len(made(False)) < 12_000


def test_one_authority_alone_makes_no_certificate() -> None:
    for alone in (("kz-kgd-1",), ("kz-kgd-1", "kz-kgd-2"), ("cn-gacc-1", "cn-gacc-2")):
        assert failing(check(ledger().certificate(cosigners=alone))) == ["quorum"]


def test_another_log_s_policy_does_not_hold_it() -> None:
    assert failing(check(made(), corridor.policy_text("cn"))) == []
    strange = corridor.policy_text("kz").replace(b"comity.example", b"comity.elsewhere")
    assert failing(check(made(), strange))[0] == "policy"


def test_a_certificate_without_its_declarations_holds_and_says_what_it_does_not_tell() -> None:
    report = check(ledger().certificate(ucrs=()))
    assert report.holds, report.checks
    assert any(c.UCR in line for line in report.not_checked)
    assert certificate_facts(report)["declarations_not_told"] == [c.UCR]


def test_a_movement_on_its_way_has_a_certificate_too() -> None:
    report = check(crossed("offer").certificate())
    assert report.holds, report.checks
    assert certificate_facts(report)["state"] == "offered"


# ---- attacks


@pytest.mark.parametrize("stride", [131, pytest.param(1, marks=pytest.mark.soak)])
def test_every_flipped_byte_is_refused(stride: int) -> None:
    raw = made()
    # But in the line of the other authority's log key, of which this policy knows nothing (signed-note).
    unknown = raw.index(b"\xe2\x80\x94 ", raw.index(b"\xe2\x80\x94 ") + 1)
    ignored = range(unknown, raw.index(b"\n", unknown))
    for at in set(range(0, len(raw), stride)) - set(ignored):
        altered = raw[:at] + bytes((raw[at] ^ 1 << at % 8,)) + raw[at + 1 :]
        report = check(altered)
        assert not report.holds, f"byte {at}"
        assert failing(report), f"byte {at}"


def test_every_truncation_and_what_follows_the_end_are_malformed() -> None:
    raw = made()
    for end in (*range(0, len(raw), 97), len(raw) - 1):
        assert failing(check(raw[:end])) == ["certificate"]
    assert failing(check(raw + b"\x00")) == ["certificate"]


def test_a_statement_left_out_is_missed_by_the_hashes_and_by_the_story() -> None:
    certificate = parse_certificate(made())
    for index, statement in certificate.statements:
        kept = tuple(each for each in certificate.raw_entries if each[0] != index)
        assert "inclusion" in failing(check(replace(certificate, raw_entries=kept).encode())), statement.kind
    # With hashes that fit, the story does not: every statement but the last presupposes the one before it.
    entries = ledger().entries(record=True)
    for index, statement in certificate.statements:
        closing = min(at for at, _ in certificate.block_records if at > index)
        left = {at: raw for at, raw in entries.items() if at != index and (at != closing or at == ledger().size - 1)}
        raw = make_certificate(c.MRN, ledger().note(), ledger().size, left, ledger().read_tile, ledger().record())
        report = check(raw)
        assert set(failing(report)) in ({"story"}, {"record"}), statement.kind


def test_a_statement_of_another_movement_or_declaration_does_not_belong() -> None:
    other = c.make_ucr(2)
    raw = ledger().certificate(ucrs=(c.UCR, other))
    assert failing(check(raw)) == ["story"]
    assert failing(changed(lambda it: replace(it, mrn=c.make_mrn(2)))) == ["story"]


def test_entries_at_other_indexes_or_in_each_others_place_are_refused() -> None:
    certificate = parse_certificate(made())
    raws = list(certificate.raw_entries)
    for at in range(1, len(raws) - 1):
        swapped = [*raws[:at], (raws[at][0], raws[at + 1][1]), (raws[at + 1][0], raws[at][1]), *raws[at + 2 :]]
        assert "inclusion" in failing(check(replace(certificate, raw_entries=tuple(swapped)).encode()))
    moved = tuple((index + 1 if index else 0, raw) for index, raw in raws[:-1])
    assert "inclusion" in failing(check(replace(certificate, raw_entries=moved).encode()))


def test_a_forged_statement_of_the_same_words_is_refused() -> None:
    certificate = parse_certificate(made())
    index, accept = next((i, s) for i, s in certificate.statements if s.kind == "escort.accept")
    forged = RealLedger().sign(accept.kind, accept.iss, accept.sub, {str(k): v for k, v in accept.payload.items()}).raw
    entries = tuple((at, forged if at == index else raw) for at, raw in certificate.raw_entries)
    assert failing(check(replace(certificate, raw_entries=entries).encode())) == ["inclusion"]


def test_hashes_too_many_too_few_or_swapped_are_refused() -> None:
    for hashes in (
        lambda h: h[:-1],
        lambda h: (*h, bytes(32)),
        lambda h: (h[1], h[0], *h[2:]),
        lambda h: (),
    ):
        report = changed(lambda it, hashes=hashes: replace(it, hashes=hashes(it.hashes)))  # type: ignore[misc]
        assert failing(report) == ["inclusion"]


def test_a_checkpoint_of_an_earlier_size_does_not_cover_it() -> None:
    early = crossed("seal")
    assert failing(changed(lambda it: replace(it, checkpoint_note=early.note()), False)) == ["inclusion"]


def test_a_block_record_that_is_missing_foreign_or_of_no_use_is_refused() -> None:
    book = ledger()
    entries = book.entries()
    records = [index for index, raw in entries.items() if index and raw[:1] != b"\xd2"]
    for index in records:
        left = {at: raw for at, raw in entries.items() if at != index}
        raw = make_certificate(c.MRN, book.note(), book.size, left, book.read_tile)
        assert failing(check(raw)) == ["blocks"]
    unused = next(i for i in range(1, book.size) if i not in entries and book.chain.entry(i)[:1] != b"\xd2")
    more = entries | {unused: book.chain.entry(unused)}
    assert failing(check(make_certificate(c.MRN, book.note(), book.size, more, book.read_tile))) == ["blocks"]


def test_a_genesis_of_another_network_is_refused() -> None:
    other = replace(ledger().genesis, origin="comity.example/elsewhere").encode()
    report = changed(lambda it: replace(it, raw_entries=((0, other), *it.raw_entries[1:])))
    assert failing(report) == ["inclusion", "genesis"]


def test_a_certificate_holds_after_the_log_key_was_replaced_and_says_so() -> None:
    policy, raw = with_new_log_key(ledger())
    report = check(raw, policy)
    assert report.holds, report.checks
    assert "took the place" in report.checks[5].detail
    assert "took the place" not in check(made()).checks[5].detail
    assert failing(check(raw)) == ["log"], "the new key is none of the old policy's"


def test_two_authorities_that_vouch_for_a_tree_with_times_that_fall_are_not_believed() -> None:
    """Nobody honest cosigns this; the certificate does not rest on it."""
    book = ledger()
    entries = dict(book.entries())
    last = max(index for index in entries if entries[index][:1] != b"\xd2")
    record = BlockRecord.decode(entries[last])
    entries[last] = replace(record, time_ms=START_MS).encode()
    assert failing(check(cosigned_tree(entries, book))) == ["blocks"]


def cosigned_tree(entries: dict[int, bytes], book: RealLedger) -> bytes:
    """A certificate under a checkpoint that both cosign, of a tree with these entries in it."""
    from ledger.checkpoint import Checkpoint

    leaves = [leaf_hash(entries.get(index, book.chain.entry(index))) for index in range(book.size)]
    tree = Frontier()
    for leaf in leaves:
        tree.append(leaf)
    note = corridor.cosigned(Checkpoint(corridor.ORIGIN, book.size, tree.root()), *COSIGNERS)

    def read_tile(level: int, index: int, width: int) -> bytes:
        assert level == 0
        return b"".join(leaves[index * 256 : index * 256 + width])

    return make_certificate(c.MRN, note, book.size, entries, read_tile)


# ---- the record


def test_the_record_shows_what_the_statements_alone_cannot_that_the_last_one_is_there() -> None:
    book = ledger()
    entries = book.entries(record=True)
    unload = max(index for index, raw in entries.items() if raw[:1] == b"\xd2")
    left = {at: raw for at, raw in entries.items() if at not in (unload, unload + 1)}
    without = make_certificate(
        c.MRN, book.note(), book.size, {k: v for k, v in left.items() if k != book.size - 1}, book.read_tile
    )
    assert check(without).holds, "a movement that is under way, as far as anybody can tell"
    raw = make_certificate(c.MRN, book.note(), book.size, left, book.read_tile, book.record())
    assert failing(check(raw)) == ["record"]


def test_an_incident_that_held_nothing_and_is_left_out_is_missed_by_the_record() -> None:
    book = crossed("start").send(("escort.incident", "kz/eseal/e-1", c.MRN, {"code": "05"}))
    entries = book.entries(record=True)
    assert check(book.certificate()).holds
    incident = book.size - 2
    left = {at: raw for at, raw in entries.items() if at != incident}
    raw = make_certificate(c.MRN, book.note(), book.size, left, book.read_tile, book.record())
    report = check(raw)
    assert failing(report) == ["record"]
    assert "incidents" in report.checks[-1].detail


@pytest.mark.parametrize("record", [True, False])
def test_a_suspension_left_out_is_missed_by_nothing_and_the_check_says_so(record: bool) -> None:
    basis = next(payload for event, _, payload in c.DECLARATION_STEPS if event == "recognise")["legal_basis"]
    suspended = {"version": 1, "reason": "risk", "legal_basis": basis}
    book = crossed("start").send(("declaration.suspend_recognition", "cn-gacc/officer", c.UCR, suspended))
    report = check(left_out(book, "declaration.suspend_recognition", record=record))
    assert report.holds, report.checks
    assert any("suspension" in line and "status proofs" in line for line in report.not_checked)


def test_a_record_of_another_key_of_an_older_state_or_altered_is_refused() -> None:
    book = ledger()
    value, proof = book.record()
    older = crossed("offer").record()
    other = book.chain.state.get(f"declaration/{c.UCR}") or b"", book.chain.state.prove(f"declaration/{c.UCR}").encode()
    absent = book.chain.state.prove(f"escort/{c.make_mrn(9)}").encode()
    altered = value.replace(b"discharged", b"handed_ove")
    for record in (older, other, (altered, proof), (value, absent), (value, b""), (b"", proof), (value, proof[:-1])):
        assert failing(changed(lambda it, record=record: replace(it, record=record))) == ["record"]  # type: ignore[misc]


def test_a_record_whose_proof_is_spelled_as_one_of_absence_is_refused() -> None:
    value, proof = ledger().record()
    spelled = replace(parse_state_proof(proof), other=(b"x" * 32, b"y" * 32)).encode()
    assert failing(changed(lambda it: replace(it, record=(value, spelled)))) == ["record"]


def test_a_record_is_not_read_before_both_authorities_vouch_for_it() -> None:
    raw = ledger().certificate(cosigners=("kz-kgd-1",))
    assert check(raw).checks[-1].verdict is Verdict.NOT_REACHED


def test_a_time_limit_that_passed_is_in_the_record_and_contradicts_no_statement() -> None:
    book = crossed("start")
    book.block([], step_ms=3_700_000)
    report = check(book.certificate())
    assert report.holds, report.checks
    assert report.record is not None
    assert report.record.state == "overdue"


# ---- the spelling


def _with(at: int, value: object) -> bytes:
    fields = decode(made(), max_bytes=format_.MAX_CERTIFICATE_BYTES)
    assert isinstance(fields, list)
    return encode([*fields[:at], value, *fields[at + 1 :]])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, "comity.crossing.v2"),
        (0, 1),
        (1, "19GBCKKCQSXV2FGVA9"),
        (1, b"x"),
        (2, "text"),
        (2, b"\n"),
        (3, bytes(31)),
        (3, None),
        (4, []),
        (4, [[0]]),
        (4, [[0, b""]]),
        (4, [[0, b"\xa0"]]),
        (4, {}),
        (4, [[-1, b"x"]]),
        (5, []),
        (5, [b"", None]),
        (5, True),
    ],
    ids=str,
)
def test_what_is_no_certificate_is_refused_and_nothing_raises(at: int, value: object) -> None:
    report = check(_with(at, value))
    assert not report.holds
    assert failing(report)[0] in ("certificate", "log")


def test_entries_that_do_not_rise_or_do_not_begin_with_the_genesis_are_malformed() -> None:
    certificate = parse_certificate(made())
    first, second, *others = certificate.raw_entries
    for entries in ((second, first, *others), (first, first, second, *others), (second, *others)):
        with pytest.raises(Malformed):
            parse_certificate(replace(certificate, raw_entries=entries).encode())


def test_limits_are_checked_before_anything_is_parsed() -> None:
    with pytest.raises(Malformed, match="too large"):
        parse_certificate(bytes(format_.MAX_CERTIFICATE_BYTES + 1))
    many = tuple((index, b"") for index in range(format_.MAX_CERTIFICATE_ENTRIES + 1))
    with pytest.raises(Malformed, match="expected 1 to 2048 entries"):
        parse_certificate(replace(parse_certificate(made()), raw_entries=many).encode())
    with pytest.raises(Misuse):
        make_certificate("no mrn", b"", 1, {0: b""}, ledger().read_tile)


def test_the_table_of_kinds_knows_a_certificate_by_its_content() -> None:
    kind = verifying.kind_of(made(), "")
    assert kind is not None
    assert (kind.name, kind.suffix) == ("crossing", format_.SUFFIX)
    assert (verifying._CROSSING, verifying._MAX_CROSSING_BYTES) == (format_.START, format_.MAX_CERTIFICATE_BYTES)
    found = verifying.verify_file(made(), "x", verifying.Context(POLICY, 0))
    assert found.holds
    assert "custody has been with cn-gacc" in found.summary
    assert found.facts["declarations"][0]["number"] == c.make_kz_number(1)
    assert isinstance(parse_certificate(made()).statements[0][1], Statement)

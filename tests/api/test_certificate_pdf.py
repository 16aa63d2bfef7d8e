"""The printed certificate: what stands on it, in every script, and that it is printed only of what holds."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pypdfium2
import pytest

from api.certificate_pdf import certificate_pdf, code_text
from api.certificate_words import EVENTS, duration, local, mass, utc
from contracts.catalogue import CONTRACTS
from contracts.certificate import parse_certificate
from contracts.certificate_check import check_certificate
from contracts.commitments import commit_fields
from contracts.crossing_story import told_in_a_certificate
from contracts.disclosure import disclose
from ledger.errors import LedgerError, Untrue
from ledger.proof import Proof, format_proof
from ledger.statement import parse_statement
from tests.contracts import corridor as c
from tests.contracts.crossings import CROSSED, DECLARED, POLICY, RealLedger, crossed
from tests.ledger import corridor

KAZAKH = "«Бақты Ағро Өңдеу» ЖШС"
CHINESE = "塔城面粉厂"
HOSTILE = "<b>&amp; \u202egnp.exe \u0627\ue000"
ENVELOPE = bytes(32)


@cache
def told() -> tuple[RealLedger, tuple[Any, ...]]:
    """A crossing with everything on it: three scripts, a private field, a broken seal, a dispute."""
    content = c.content(consignor=KAZAKH)
    content["goods"] = [{"hs": "100199", "description": HOSTILE, "mass_g": 33_000_000}]
    salts = iter(range(1, 99))
    hidden, openings = commit_fields({"consignee": CHINESE}, lambda n: next(salts).to_bytes(n, "big"))
    del content["consignee"]
    content["commitments"] = [{"name": name, "sha256": digest} for name, digest in sorted(hidden.items())]
    content["envelope_sha256"] = ENVELOPE
    lodge = {"home": "kz-kgd", "partner": "cn-gacc", "content": content}
    broken = [{**c.readings()[0], "state": "broken"}, c.readings("HS00000099")[0]]
    sealed = {"seals": [{"id": "HS00000099", "class": "H", "container": c.BOX}], "note": "жаңа пломба / 新封志"}
    heavy = {"seals": broken, "mass_g": c.MASS + 2_000_000, "note": "重量不符"}
    decided = {"decision": "handed_over", "reason": "weighed again", "seals": [{"id": "HS00000100", "class": "H"}]}
    happy = list(CROSSED)
    offered = {"seals": [c.readings()[0], c.readings("HS00000099")[0]], "mass_g": c.MASS, "photo_sha256": c.PHOTO}
    unloaded = {"as_declared": True, "seals": c.readings("HS00000099", "HS00000100")}
    book = RealLedger().send(
        ("declaration.lodge", "kz/declarant/agro", c.UCR, lodge),
        *DECLARED[1:],
        *happy[:4],
        ("escort.incident", "kz/eseal/e-1", c.MRN, {"code": "01", "seal": c.ESEAL_ID}),
        ("escort.resume", "kz-kgd/officer", c.MRN, sealed),
        *happy[5:7],
        ("escort.offer", "kz/terminal/bakhty", c.MRN, offered),
        ("escort.accept_with_differences", "cn/terminal/baketu", c.MRN, heavy),
        ("escort.resolve", "kz-kgd/officer", c.MRN, decided),
        ("escort.resolve", "cn-gacc/officer", c.MRN, {"decision": "handed_over", "reason": "称重无误"}),
        ("escort.arrive", "cn/terminal/baketu", c.MRN, {}),
        ("escort.unload", "cn-gacc/officer", c.MRN, unloaded),
    )
    return book, openings


@cache
def certificate() -> bytes:
    return told()[0].certificate()


def disclosure(names: tuple[str, ...] = ("consignee",)) -> bytes:
    book, openings = told()
    index, lodge = next((i, s) for i, s in parse_certificate(certificate()).statements if s.kind == "declaration.lodge")
    proof = format_proof(Proof(index, tuple(book.chain.inclusion_proof(index, book.size)), book.note()))
    return disclose(lodge.raw, proof, openings, names).encode()


def words(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    pages = [document[number].get_textpage().get_text_bounded() for number in range(len(document))]
    return re.sub(r"\s+", " ", " ".join(pages))


@cache
def printed() -> bytes:
    return certificate_pdf(POLICY, certificate(), [disclosure()])


def test_the_page_tells_the_crossing() -> None:
    page = words(printed())
    for said in (
        c.MRN,
        "DISCHARGED",
        "kz-kgd (KZ) and cn-gacc (CN)",
        "liable: cn/carrier/silk",
        c.make_kz_number(1),
        c.make_cn_number(1),
        "Smart Customs pilot, article 4",
        "01: seal broken",
        "Differences found",
        "HS00000099",
        "not checked",
        corridor.ORIGIN,
        "cn-gacc-2 at",
    ):
        assert said in page, said


def test_kazakh_russian_and_chinese_stand_on_the_page_as_they_are_written() -> None:
    page = words(printed())
    for said in (KAZAKH, CHINESE, "жаңа пломба / 新封志", "称重无误", "Шекарадан өту куәлігі", "过境证明"):
        assert said.replace(" ", "") in page.replace(" ", ""), said


def test_what_would_turn_the_page_around_is_shown_as_its_code_point() -> None:
    page = words(printed())
    assert "<b>&amp; [U+202E]gnp.exe [U+0627][U+E000]" in page


def test_private_fields_stay_closed_unless_they_are_disclosed() -> None:
    closed = words(certificate_pdf(POLICY, certificate()))
    assert CHINESE not in closed
    assert "committed to, not shown" in closed
    assert f"{CHINESE} (disclosed)" in words(printed())


def test_a_disclosure_of_another_declaration_or_that_was_altered_is_refused() -> None:
    other = certificate_pdf, POLICY, crossed().certificate()
    with pytest.raises(Untrue, match="of no statement"):
        other[0](other[1], other[2], [disclosure()])
    with pytest.raises(LedgerError):
        certificate_pdf(POLICY, certificate(), [disclosure().replace(CHINESE.encode(), "塔城面粉店".encode())])


def test_the_same_files_are_the_same_bytes_whatever_was_printed_before() -> None:
    first = printed()
    certificate_pdf(POLICY, crossed("offer").certificate(ucrs=()))  # other characters
    assert certificate_pdf(POLICY, certificate(), [disclosure()]) == first


def test_what_does_not_hold_is_not_printed() -> None:
    with pytest.raises(Untrue, match="5 inclusion"):
        certificate_pdf(POLICY, certificate().replace(b"HS00000099", b"HS00000098"))
    with pytest.raises(Untrue, match="4 quorum"):
        certificate_pdf(POLICY, told()[0].certificate(cosigners=("kz-kgd-1",)))
    with pytest.raises(Untrue, match="2 certificate"):
        certificate_pdf(POLICY, b"")


def test_a_certificate_without_declarations_is_printed_and_says_so() -> None:
    page = words(certificate_pdf(POLICY, crossed("offer").certificate(ucrs=())))
    assert "not part of this certificate" in page
    assert "OFFERED" in page


def test_the_code_names_the_file_and_the_checkpoint() -> None:
    from hashlib import sha256

    raw = certificate()
    lines = code_text(parse_certificate(raw), raw, check_certificate(POLICY, raw)).split("\n")
    assert lines[:4] == ["comity.crossing.v1", c.MRN, sha256(raw).hexdigest(), corridor.ORIGIN]
    assert int(lines[4]) == told()[0].size


def test_every_statement_that_a_certificate_holds_has_words() -> None:
    kinds = {f"{name}.{event}" for (name, _), contract in CONTRACTS.items() for event in contract.schemas}
    assert set(EVENTS) == {kind for kind in kinds if told_in_a_certificate(kind)}
    for _, statement in parse_certificate(certificate()).statements:
        assert parse_statement(statement.raw).kind in EVENTS


def test_times_and_masses_are_written_as_people_read_them() -> None:
    at_ms = 1_795_305_600_000
    assert (utc(at_ms), local(at_ms, "KZ"), local(at_ms, "CN"), local(at_ms, "UZ")) == (
        "2026-11-22 00:00:00",
        "22.11. 05:00",
        "22.11. 08:00",
        "",
    )
    assert local(1_709_233_199_999, "KZ") == "", "Kazakhstan had two times until then"
    assert [mass(grams) for grams in (33_400_000, 33_400_001, 999, 0)] == ["33.4 t", "33.400001 t", "0.000999 t", "0 t"]
    assert [duration(ms) for ms in (59_999, 60_000, 90_060_000)] == ["under a minute", "1 min", "1 d 1 h 1 min"]

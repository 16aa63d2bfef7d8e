"""The page that an audit writes: whole, the same every time, and nothing of an archive is markup in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from contracts.audit_figures import Figures, Times
from contracts.dwell import INTERVALS
from ledger.audit_report import AuditReport, Check, Fault
from nodes.audit_page import MAX_BARS, Heading, audit_page

HEADING = Heading("archive", "kz.policy", "00" * 32, "comity 0.1.0 test")
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\x00\x1b[2J\ud800&lt;"


def report(**changes: object) -> AuditReport:
    whole: dict[str, object] = {
        "origin": "comity.example/a",
        "size": 1_234_567,
        "root": bytes(32),
        "entries": 1_234_567,
        "statements": 1_000_000,
        "blocks": 234_566,
        "faults": (),
        "uncounted": {},
        "signed": {"kz-kgd-1": 1_795_305_600, "cn-gacc-1": 1 << 62},
        "missing": ("cn-gacc-2",),
        "height_compared": 234_566,
        "not_comparable_from": None,
        "not_comparable_because": None,
        **changes,
    }
    return AuditReport(**whole)  # type: ignore[arg-type]


def filled(days: int = 30) -> Figures:
    figures = Figures()
    for day in range(20_000, 20_000 + days):
        figures.days[day] = {"declaration": 40 + day % 7, "escort": 90, "registry": day % 3}
        figures.blocks[day] = 100
        for name in INTERVALS:
            times = figures.times[name].setdefault(day, Times())
            for took_ms in range(60_000, 900_000, 70_000 + day % 11):
                times.add(took_ms)
    return figures


class Shape(HTMLParser):
    """Tags, attributes, and the text that a reader sees."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_says_what_was_checked_by_whom_it_was_signed_and_that_it_holds() -> None:
    shape = Shape(audit_page(report(), filled(), HEADING))
    assert "Everything holds." in shape.text
    assert "1\u202f234\u202f567 entries" in shape.text
    assert all(name in shape.text for name in ("kz-kgd-1", "did not cosign", "no change since", "comity.example/a"))
    assert shape.text.count("holds") >= len(Check)
    assert shape.tags.count("svg") == 1 + len(INTERVALS)


def test_faults_are_listed_with_their_entries_and_beyond_a_number_counted() -> None:
    faults = tuple(Fault(Check.TILES, f"fault {n}", entry=n, file="tile/0/000") for n in range(1005))
    shape = Shape(audit_page(report(faults=faults, uncounted={Check.TILES: 7}), filled(), HEADING))
    assert "It does not hold." in shape.text
    assert "Faults that were found: 1\u202f012" in shape.text
    assert "fault 999" in shape.text
    assert "12 further faults" in shape.text


def test_nothing_of_an_archive_is_markup() -> None:
    figures = filled(3)
    figures.days[20_001][HOSTILE] = 5
    page = audit_page(
        report(
            origin=HOSTILE,
            signed={HOSTILE: 5},
            missing=(HOSTILE,),
            faults=(Fault(Check.ENTRIES, HOSTILE, entry=1, file=HOSTILE),),
            not_comparable_from=3,
            not_comparable_because=HOSTILE,
            membership=((HOSTILE,),),
        ),
        figures,
        Heading(HOSTILE, HOSTILE, "", HOSTILE),
    )
    shape = Shape(page)
    assert not {"script", "img", "iframe", "object", "link"} & set(shape.tags)
    assert not [name for name, _ in shape.attributes if name.startswith("on")]
    assert "alert(1)" in shape.text
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", page)


def test_the_page_asks_nobody_for_anything() -> None:
    page = audit_page(report(), filled(), HEADING).decode()
    assert "default-src 'none'" in page
    shape = Shape(page.encode())
    assert not [value for name, value in shape.attributes if name in ("src", "href", "action", "data")]
    assert "url(" not in page
    assert "@import" not in page


def test_the_same_report_is_the_same_page() -> None:
    assert audit_page(report(), filled(), HEADING) == audit_page(report(), filled(), HEADING)


@pytest.mark.parametrize("days", [0, 1, 2, 399, 401, 20_000])
def test_a_log_of_any_length_has_charts_that_fit(days: int) -> None:
    figures = Figures()
    for day in range(20_000, 20_000 + days):
        figures.days[day] = {"a": 1}
    page = audit_page(report(), figures, HEADING)
    assert page.count(b"<rect") <= MAX_BARS
    assert page.count(b"<rect") >= min(days, 200)
    assert len(page) < 200_000


def test_a_log_with_days_of_silence_and_times_beyond_the_calendar_is_shown() -> None:
    figures = Figures()
    figures.days = {1: {"a": 1}, 2_932_896: {"a": 3}}
    figures.times["queue"] = {1: Times({0: 1}, 1), 10**9: Times({5: 2}, 2)}
    assert b"statements" in audit_page(report(), figures, HEADING)


def test_what_was_audited_before_is_said_and_what_rests_on_it() -> None:
    text = Shape(audit_page(report(before=1000), filled(2), HEADING)).text
    assert "the first 1\u202f000 entries" in text
    assert "Both are of the entries that this audit read" in text
    assert "whether the earlier audit was done as its file says" in text

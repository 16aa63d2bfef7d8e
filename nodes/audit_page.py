"""The report of an audit as one page of HTML: for people, to read and to print; no script, no outside request.

Promises: whatever stands in an archive is text here and nothing else: the page is built as a tree, never from strings,
and its own policy forbids it scripts and requests. The same report gives the same bytes.

Does not: say more than the report does; `comity audit --json` has all of it for programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from xml.etree.ElementTree import Element, SubElement, tostring

from contracts.audit_figures import Figures
from contracts.dwell import EPOCH, INTERVALS
from ledger.audit_report import AuditReport, Check
from ledger.calendar import time_text
from ledger.plain_text import plain

MAX_SHOWN_FAULTS = 1000
MAX_SHOWN_CHANGES = 500
MAX_BARS = 400
CHART_WIDTH, CHART_HEIGHT = 720, 200
LEFT, BOTTOM, TOP = 64, 26, 12
COLOURS = ("#1b4f72", "#b9770e", "#1e8449", "#76448a", "#a93226", "#5d6d7e")

_STYLE = """
:root { --ink: #1c2833; --soft: #5d6d7e; --line: #d5d8dc; --good: #1e8449; --bad: #a93226; }
* { box-sizing: border-box; }
body { font: 15px/1.5 "Source Sans 3", "Segoe UI", "Helvetica Neue", Arial, sans-serif; color: var(--ink);
  max-width: 52rem; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem;
  border-bottom: 1px solid var(--line); padding-bottom: .2rem; break-after: avoid; }
p.soft, td.soft, figcaption { color: var(--soft); } code, td.code { font: 12.5px/1.45 ui-monospace, Consolas, monospace;
  overflow-wrap: anywhere; }
.verdict { border-left: 6px solid var(--good); padding: .7rem 1rem; background: #f4f9f6; margin: 1.2rem 0; }
.verdict.bad { border-color: var(--bad); background: #fdf4f3; } .verdict strong { font-size: 1.15rem; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0; }
th, td { text-align: left; padding: .28rem .6rem .28rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.good { color: var(--good); } td.bad, .verdict.bad strong { color: var(--bad); }
td.good, td.bad { white-space: nowrap; } th.number { text-align: right; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; break-inside: avoid; } svg { width: 100%; height: auto; display: block; }
svg text { font: 11px "Segoe UI", Arial, sans-serif; fill: #5d6d7e; } tr { break-inside: avoid; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 1em; vertical-align: -.05em; }
@media print { body { margin: 0; max-width: none; padding: 0; font-size: 10.5pt; }
  @page { size: A4; margin: 18mm 16mm; }
  .verdict { background: none; }
}
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """What the report itself does not say: which archive, whose policy, which program."""

    archive: str
    policy: str
    policy_sha256: str
    program: str


def audit_page(report: AuditReport, figures: Figures, heading: Heading) -> bytes:
    """The page."""
    page = Element("html", lang="en")
    head = SubElement(page, "head")
    SubElement(head, "meta", charset="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _text(head, "title", f"Audit of {report.origin or 'an archive'}")
    _text(head, "style", _STYLE)
    body = SubElement(page, "body")
    _verdict(body, report, heading)
    _checks(body, report)
    _signers(body, report)
    _membership(body, report)
    _volumes(body, figures)
    _dwell(body, figures)
    if report.before:
        only = "Both are of the entries that this audit read, without those of passages that began before them."
        _text(body, "p", only, kind="soft")
    _faults(body, report)
    _not_checked(body, report)
    spelled: bytes = tostring(page, encoding="utf-8", method="html", short_empty_elements=False)
    return b"<!doctype html>\n" + spelled + b"\n"


def _text(parent: Element, tag: str, text: str, **attributes: str) -> Element:
    """An element with text, in which nothing is markup. `kind` is its class."""
    if "kind" in attributes:
        attributes["class"] = attributes.pop("kind")
    element = SubElement(parent, tag, attributes)
    element.text = text if tag == "style" else plain(text)
    return element


def _table(parent: Element, titles: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> None:
    """Rows of (text, class)."""
    table = SubElement(parent, "table")
    if titles:
        line = SubElement(SubElement(table, "thead"), "tr")
        kinds = [kind for _, kind in rows[0]] if rows else [""] * len(titles)
        for title, kind in zip(titles, kinds, strict=True):
            _text(line, "th", title, scope="col", **({"kind": kind} if kind == "number" else {}))
    inside = SubElement(table, "tbody")
    for row in rows:
        line = SubElement(inside, "tr")
        for text, kind in row:
            _text(line, "td", text, **({"kind": kind} if kind else {}))


def _time(at_s: int) -> str:
    return time_text(at_s, "%Y-%m-%d %H:%M:%S UTC")


def _date(day: int) -> str:
    try:
        return (EPOCH + timedelta(days=day)).isoformat()
    except OverflowError:
        return f"day {day}"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _count_of_faults(report: AuditReport) -> int:
    return len(report.faults) + sum(report.uncounted.values())


def _verdict(body: Element, report: AuditReport, heading: Heading) -> None:
    _text(body, "h1", "Audit of a ledger archive")
    _text(body, "p", f"{report.origin or 'origin unknown'} · {heading.archive}", kind="soft")
    box = SubElement(body, "div", {"class": "verdict" if report.holds else "verdict bad"})
    _text(box, "strong", "Everything holds." if report.holds else "It does not hold.")
    faults = _count_of_faults(report)
    found = "No fault was found." if not faults else f"Faults that were found: {_number(faults)}, listed below."
    size = (
        f"{_number(report.size)} entries: {_number(report.statements)} statements in {_number(report.blocks)} blocks."
    )
    compared = f"Executed again and compared up to block {_number(report.height_compared)}."
    _text(box, "p", f"{found} {size} {compared}")
    if report.not_comparable_from is not None:
        because = f"From entry {_number(report.not_comparable_from)} on, execution could not be compared: "
        _text(box, "p", because + str(report.not_comparable_because))
    rows = [
        ("Root", "" if report.root is None else report.root.hex()),
        ("Policy", heading.policy),
        ("SHA-256 of the policy", heading.policy_sha256),
        ("Program", heading.program),
    ]
    if report.before:
        rows.append(("Audited before", f"the first {_number(report.before)} entries, without a fault; not read again"))
    _table(body, (), [[(name, ""), (text, "code")] for name, text in rows])


def _checks(body: Element, report: AuditReport) -> None:
    _text(body, "h2", "What was checked")
    rows = []
    for check in Check:
        faults = sum(fault.check is check for fault in report.faults) + report.uncounted.get(check, 0)
        verdict = ("holds", "good") if not faults else (f"{_number(faults)} fault{'s' if faults > 1 else ''}", "bad")
        sentence = check.sentence[:1].upper() + check.sentence[1:].replace("`", "")
        rows.append([(str(int(check)), "number"), (f"{sentence}.", ""), verdict])
    _table(body, (), rows)


def _signers(body: Element, report: AuditReport) -> None:
    _text(body, "h2", "By whom it was signed")
    rows = [[(name, ""), (_time(at_s), ""), ("cosigned", "good")] for name, at_s in report.signed.items()]
    rows += [[(name, ""), ("", ""), ("did not cosign", "soft")] for name in report.missing]
    _table(body, ("Validator", "When, by its own clock", ""), rows)
    if report.log_keys:
        _text(body, "p", "Log keys that the log has given its authorities:", kind="soft")
        _table(body, (), [[(str(each), "code")] for each in report.log_keys])


def _membership(body: Element, report: AuditReport) -> None:
    _text(body, "h2", "Who belonged to it")
    if not report.membership:
        _text(body, "p", "The validators of the genesis record; no change since.")
        return
    _text(
        body,
        "p",
        "The validators of the genesis record, and these changes, each signed by the registrars of all sides.",
    )
    rows = [
        [(str(number), "number"), ("; ".join(steps), "code")]
        for number, steps in enumerate(report.membership[:MAX_SHOWN_CHANGES], 1)
    ]
    _table(body, ("No.", "Change"), rows)
    if len(report.membership) > MAX_SHOWN_CHANGES:
        _text(
            body, "p", f"{len(report.membership) - MAX_SHOWN_CHANGES} further changes are in the archive.", kind="soft"
        )


def _faults(body: Element, report: AuditReport) -> None:
    _text(body, "h2", "Faults")
    if not _count_of_faults(report):
        _text(body, "p", "None.")
        return
    rows = []
    for fault in report.faults[:MAX_SHOWN_FAULTS]:
        entry = "" if fault.entry is None else _number(fault.entry)
        rows.append(
            [(str(int(fault.check)), "number"), (entry, "number"), (fault.file or "", "code"), (fault.message, "")]
        )
    _table(body, ("Check", "Entry", "File", "What"), rows)
    more = _count_of_faults(report) - len(rows)
    if more:
        _text(body, "p", f"{_number(more)} further faults: see the report in JSON.", kind="soft")


def _not_checked(body: Element, report: AuditReport) -> None:
    _text(body, "h2", "What no audit of an archive can tell")
    items = SubElement(body, "ul")
    lines = ["whether there is a newer checkpoint", "what never came onto the log"]
    if report.before:
        lines.append("whether the earlier audit was done as its file says: that file is the auditor's own")
    for line in lines:
        _text(items, "li", line)


# --- charts ----------------------------------------------------------------------------------------------------------


def _volumes(body: Element, figures: Figures) -> None:
    _text(body, "h2", "Statements a day")
    days = _grouped(sorted(figures.days))
    if not days:
        _text(body, "p", "None in what was read.", kind="soft")
        return
    totals: dict[str, int] = {}
    for counts in figures.days.values():
        for contract, count in counts.items():
            totals[contract] = totals.get(contract, 0) + count
    shown = sorted(totals, key=lambda name: (-totals[name], name))
    bars = [
        (_span(group), [sum(figures.days.get(day, {}).get(name, 0) for day in group) for name in shown])
        for group in days
    ]
    figure = SubElement(body, "figure")
    _bar_chart(figure, bars, [_colour(number) for number in range(len(shown))], "statements")
    caption = _text(figure, "figcaption", "By contract:")
    for number, name in enumerate(shown):
        key = SubElement(caption, "span", {"class": "key", "style": f"background:{_colour(number)}"})
        key.tail = plain(f"{name} {_number(totals[name])}")
    if len(days) < len(figures.days):
        _text(body, "p", f"Each bar is {len(days[0])} days.", kind="soft")


def _dwell(body: Element, figures: Figures) -> None:
    _text(body, "h2", "How long passages took")
    if not any(figures.times[name] for name in INTERVALS):
        _text(body, "p", "No interval of a passage ended in what was read.", kind="soft")
        return
    rows = []
    for name in INTERVALS:
        times = figures.all_times(name)
        if times.count:
            middle, late = _duration(times.percentile_ms(50)), _duration(times.percentile_ms(95))
            rows.append([(name, ""), (_number(times.count), "number"), (middle, "number"), (late, "number")])
    _table(body, ("Interval", "How many", "Half within", "95 % within"), rows)
    _text(
        body,
        "p",
        "To three per cent; comity dwell gives each post exactly. What begins and ends each: dwell-times.md.",
        kind="soft",
    )
    for name in INTERVALS:
        days = figures.times[name]
        if len(days) > 1:
            shown = sorted(days)[-MAX_BARS:]
            points = [(_date(day), days[day].percentile_ms(50), days[day].percentile_ms(95)) for day in shown]
            figure = SubElement(body, "figure")
            _line_chart(figure, points)
            caption = _text(figure, "figcaption", f"{name}, a day: ")
            for colour, text in ((COLOURS[0], "half within"), (COLOURS[1], "95 % within")):
                SubElement(caption, "span", {"class": "key", "style": f"background:{colour}"}).tail = text
    if figures.forgotten:
        _text(
            body, "p", f"{_number(figures.forgotten)} passages that were under way for long are left out.", kind="soft"
        )


def _grouped(days: Sequence[int]) -> list[list[int]]:
    """At most `MAX_BARS` runs of days, all of one length, from the first day to the last."""
    if not days:
        return []
    count = days[-1] - days[0] + 1
    width = -(-count // MAX_BARS)
    present = set(days)
    groups: list[list[int]] = []
    for start in range(days[0], days[-1] + 1, width):
        groups.append([day for day in range(start, min(start + width, days[-1] + 1)) if day in present or width == 1])
        if not groups[-1]:
            groups[-1] = [start]
    return groups


def _span(days: Sequence[int]) -> str:
    return _date(days[0]) if len(days) == 1 else f"{_date(days[0])} to {_date(days[-1])}"


def _colour(number: int) -> str:
    return COLOURS[min(number, len(COLOURS) - 1)]


def _duration(took_ms: int) -> str:
    seconds = took_ms // 1000
    if not took_ms:
        return "0"
    if seconds < 60:
        return f"{took_ms / 1000:.1f} s" if took_ms < 10_000 else f"{seconds} s"
    if seconds < 172_800:
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{seconds // 86_400} d {seconds // 3600 % 24} h"


def _chart(figure: Element, what: str) -> Element:
    box = f"0 0 {CHART_WIDTH} {CHART_HEIGHT}"
    return SubElement(figure, "svg", {"viewBox": box, "role": "img", "aria-label": what})


def _scale(svg: Element, highest: int, labels: Sequence[str], *, duration: bool) -> None:
    """Grid, numbers to the left, first and last day below."""
    base = CHART_HEIGHT - BOTTOM
    for part in range(5):
        y = base - (base - TOP) * part // 4
        SubElement(svg, "line", x1=str(LEFT), x2=str(CHART_WIDTH), y1=str(y), y2=str(y), stroke="#e5e8eb")
        value = highest * part // 4
        text = _duration(value) if duration else _number(value)
        _text(svg, "text", text, **{"x": str(LEFT - 8), "y": str(y + 4), "text-anchor": "end"})
    for x, anchor, label in ((LEFT, "start", labels[0]), (CHART_WIDTH, "end", labels[-1])):
        if anchor == "start" or len(labels) > 1:
            _text(svg, "text", label, **{"x": str(x), "y": str(CHART_HEIGHT - 8), "text-anchor": anchor})


def _nice(highest: int) -> int:
    """A round number not below, that quarters well."""
    step = 4
    while step < highest:
        for factor in (1, 2, 3, 5):
            if step * factor >= highest:
                return step * factor
        step *= 10
    return step


def _bar_chart(figure: Element, bars: Sequence[tuple[str, Sequence[int]]], colours: Sequence[str], what: str) -> None:
    svg = _chart(figure, f"{what} a day")
    highest = _nice(max(sum(values) for _, values in bars))
    _scale(svg, highest, [label for label, _ in bars], duration=False)
    base, room = CHART_HEIGHT - BOTTOM, CHART_WIDTH - LEFT
    for number, (label, values) in enumerate(bars):
        left = LEFT + room * number / len(bars)
        width = max(0.6, room / len(bars) - (1 if len(bars) < 200 else 0))
        group = SubElement(svg, "g")
        _text(group, "title", f"{label}: {_number(sum(values))} {what}")
        y = float(base)
        for value, colour in zip(values, colours, strict=True):
            height = (base - TOP) * value / highest
            y -= height
            if value:
                size = {
                    "x": f"{left:.1f}",
                    "y": f"{y:.1f}",
                    "width": f"{min(width, 60):.1f}",
                    "height": f"{height:.1f}",
                }
                SubElement(group, "rect", {**size, "fill": colour})


def _line_chart(figure: Element, points: Sequence[tuple[str, int, int]]) -> None:
    svg = _chart(figure, "times a day")
    highest = max(1000, *(late for _, _, late in points))
    _scale(svg, highest, [label for label, _, _ in points], duration=True)
    base, room = CHART_HEIGHT - BOTTOM, CHART_WIDTH - LEFT
    for which, colour in ((1, COLOURS[0]), (2, COLOURS[1])):
        places = []
        for number, point in enumerate(points):
            x = LEFT + room * number / (len(points) - 1)
            y = base - (base - TOP) * int(point[which]) / highest
            places.append(f"{x:.1f},{y:.1f}")
        SubElement(
            svg, "polyline", {"points": " ".join(places), "fill": "none", "stroke": colour, "stroke-width": "1.6"}
        )

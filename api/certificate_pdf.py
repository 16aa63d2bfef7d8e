"""A crossing certificate as a PDF that a person reads: two or three pages, from the verified file and nothing else.

Promises: only of a certificate that holds under the reader's policy (`Untrue` otherwise); the same bytes for the same
file, policy and disclosures, with no clock in it; every text from outside is escaped, and what no font here has is
shown as its code point, so that nothing is passed over or turned around. All fonts are embedded: Open Sans for Latin
and Cyrillic with the letters of Kazakh, Noto Sans SC for Chinese.

Does not: sign anything. Whoever gets the PDF alone has a text; the code on it names the file that proves it.

Needs reportlab, segno and fontTools, and the two fonts as packages (`comity[certificate]`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import segno
import ttf_opensans
from reportlab.lib.colors import Color, HexColor, white
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from api import chinese_font
from api.certificate_words import (
    duration,
    event_detail,
    event_title,
    local,
    mass,
    offset,
    state_words,
    utc,
)
from contracts.certificate import Certificate
from contracts.certificate_check import CertificateReport, check_certificate
from contracts.commitments import Opening, check_opening
from contracts.crossing_story import CustodyTold, DeclarationTold, SealTold, Story, Told
from contracts.disclosure import commitments_in, parse_disclosure
from contracts.incidents import INCIDENTS
from ledger.calendar import time_text
from ledger.errors import Untrue
from ledger.merkle import leaf_hash
from ledger.note import encode_base64
from ledger.proof_check import Verdict

FONT, BOLD = "OpenSans", "OpenSans-SemiBold"
# The Chinese font is one of the document's own, under a name of its own: a name once registered keeps its characters.
_CHINESE: ContextVar[str] = ContextVar("chinese font")
INK, FAINT, RULE, BAND = HexColor("#1c2733"), HexColor("#5d6b7a"), HexColor("#d5dbe1"), HexColor("#f3f5f7")
# One colour a side, told apart without colour too: each bar carries its name.
SIDES = (HexColor("#1f6f8b"), HexColor("#b5532a"), HexColor("#5b6b2f"), HexColor("#6a4a8c"))
GOOD, BAD = HexColor("#2c7a4b"), HexColor("#b3261e")
MARGIN, GAP = 16 * mm, 5 * mm
WIDTH = A4[0] - 2 * MARGIN
QR_SIZE = 30 * mm
TITLES = ("Свидетельство о пересечении границы", "Шекарадан өту куәлігі", "过境证明")
# What a shown value that stays closed is called.
COMMITTED = "committed to, not shown"


def _register_fonts(characters: Iterable[str]) -> str:
    """Register what the document needs; return the name of its Chinese font."""
    folder = Path(ttf_opensans.__file__).parent / "ttf"
    for name in (FONT, BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            file = "OpenSans-Regular.ttf" if name == FONT else "OpenSans-SemiBold.ttf"
            pdfmetrics.registerFont(TTFont(name, str(folder / file)))
    font = chinese_font.font_of(characters)
    name = f"Chinese-{sha256(font).hexdigest()[:16]}"
    if name not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont(name, BytesIO(font)))
    return name


def _style(size: float = 8.5, *, bold: bool = False, color: Color = INK, align: int = 0) -> ParagraphStyle:
    return ParagraphStyle(
        f"{size}{bold}{color}{align}",
        fontName=BOLD if bold else FONT,
        fontSize=size,
        leading=size * 1.32,
        textColor=color,
        alignment=align,
        splitLongWords=True,
    )


def safe(text: str) -> str:
    """A text from outside as markup: escaped, Chinese in its own font, and what no font has as its code point."""
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    begin = f'<font name="{_CHINESE.get()}">'
    parts: list[str] = []
    for character in text:
        if ord(character) in known and character.isprintable():
            parts.append(escape(character))
        elif character in "\n\t":
            parts.append(" ")
        elif character.isprintable() and chinese_font.is_there(character):
            parts.append(f"{begin}{character}</font>")
        else:
            parts.append(f"[U+{ord(character):04X}]")
    return "".join(parts).replace(f"</font>{begin}", "")


def _p(text: str, size: float = 8.5, **style: Any) -> Paragraph:
    return Paragraph(safe(text), _style(size, **style))


class _CustodyBar(Flowable):  # type: ignore[misc]  # reportlab has no types
    """Who had custody and who was liable, to scale, from the plan to the last statement."""

    HEIGHT = 17 * mm

    def __init__(self, story: Story, colors: Mapping[str, Color]) -> None:
        super().__init__()
        self._story = story
        self._colors = colors
        self.width, self.height = WIDTH, self.HEIGHT

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        canvas, passages = self.canv, self._story.custody
        begins = passages[0].since.block_time_ms
        ends = max(self._story.told[-1].block_time_ms, begins + 1)
        starts = [begins, *(each.since.block_time_ms for each in passages[1:])]
        # A part that would be too short for its words is drawn as wide as these need; the times are written beside it.
        least = 42 * mm
        spans = [max(1, stop - start) for start, stop in zip(starts, [*starts[1:], ends], strict=True)]
        room = self.width - least * len(spans)
        x = 0.0
        for passage, span, start in zip(passages, spans, starts, strict=True):
            width = least + room * span / sum(spans)
            canvas.setFillColor(self._colors.get(passage.authority, SIDES[0]))
            canvas.rect(x, 5 * mm, width, 8 * mm, stroke=0, fill=1)
            canvas.setFillColor(white)
            canvas.setFont(BOLD, 8.5)
            canvas.drawString(x + 2 * mm, 9.4 * mm, passage.authority)
            canvas.setFont(FONT, 7)
            canvas.drawString(x + 2 * mm, 6.3 * mm, f"liable: {passage.liable}")
            canvas.setFillColor(FAINT)
            canvas.drawString(x, 1.2 * mm, f"{utc(start)}")
            canvas.drawRightString(x + width - 2 * mm, 14.2 * mm, duration(span))
            x += width
        canvas.setFillColor(FAINT)
        canvas.drawRightString(self.width, 1.2 * mm, utc(ends))


class _Code(Flowable):  # type: ignore[misc]
    """A QR code, drawn as squares."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._rows = [list(row) for row in segno.make(text, error="m", micro=False).matrix]
        self.width = self.height = QR_SIZE

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        side = QR_SIZE / len(self._rows)
        self.canv.setFillColor(INK)
        for down, row in enumerate(self._rows):
            for across, dark in enumerate(row):
                if dark:
                    # A hair wider than the grid, so that no viewer draws lines between neighbours.
                    self.canv.rect(
                        across * side, QR_SIZE - (down + 1) * side, side * 1.02, side * 1.02, stroke=0, fill=1
                    )


def code_text(certificate: Certificate, raw: bytes, report: CertificateReport) -> str:
    """What the code on the page carries: which file proves it, and under which checkpoint."""
    checkpoint = report.checkpoint
    if checkpoint is None:
        raise Untrue("certificate_does_not_hold", "it has no checkpoint")
    root = encode_base64(checkpoint.root)
    lines = ("comity.crossing.v1", certificate.mrn, sha256(raw).hexdigest(), checkpoint.origin, checkpoint.size, root)
    return "".join(f"{line}\n" for line in lines)


def certificate_pdf(policy: bytes, raw: bytes, disclosures: Sequence[bytes] = ()) -> bytes:
    """The PDF. Untrue, with the first check that fails, for a certificate or disclosure that does not hold."""
    report = check_certificate(policy, raw)
    for check in report.checks:
        if check.verdict is not Verdict.HOLDS:
            raise Untrue("certificate_does_not_hold", f"{check.number} {check.name}: {check.detail}")
    if report.certificate is None or report.story is None:
        raise Untrue("certificate_does_not_hold", "it tells nothing")
    shown = _disclosed(report.certificate, disclosures)
    told = [statement.payload for _, statement in report.certificate.statements]
    opened = [opening.value for openings in shown.values() for opening in openings]
    out = BytesIO()
    texts = (*TITLES, *_texts(told), *_texts(opened))
    token = _CHINESE.set(_register_fonts(character for text in texts for character in text))
    try:
        _Document(out, report.certificate, raw, report, report.story, shown).write()
    finally:
        _CHINESE.reset(token)
    return out.getvalue()


def _texts(value: Any) -> Iterator[str]:
    """Every text in a payload."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)


def _disclosed(certificate: Certificate, disclosures: Sequence[bytes]) -> dict[bytes, tuple[Opening, ...]]:
    """By the id of the statement that commits to them, the fields that are opened."""
    statements = {leaf_hash(raw): raw for _, raw in certificate.raw_entries}
    shown: dict[bytes, tuple[Opening, ...]] = {}
    by_id = {statement.id: statement for _, statement in certificate.statements}
    for raw in disclosures:
        disclosure = parse_disclosure(raw)
        name = leaf_hash(disclosure.statement)
        if name not in statements or name not in by_id:
            raise Untrue("disclosure_of_another", "the disclosure is of no statement of this certificate")
        commitments = commitments_in(by_id[name])
        for opening in disclosure.openings:
            check_opening(opening, commitments)
        shown[name] = (*shown.get(name, ()), *disclosure.openings)
    return shown


class _Document:
    """One certificate on its way to paper."""

    def __init__(
        self,
        out: BytesIO,
        certificate: Certificate,
        raw: bytes,
        report: CertificateReport,
        story: Story,
        shown: Mapping[bytes, tuple[Opening, ...]],
    ) -> None:
        self._out = out
        self._certificate = certificate
        self._raw = raw
        self._report = report
        self._story = story
        self._shown = shown
        self._authorities = {each.name: each.country for each in certificate.genesis.authorities}
        self._colors = {name: SIDES[n % len(SIDES)] for n, name in enumerate(self._ordered_authorities())}
        self._digest = sha256(raw).hexdigest()

    def _ordered_authorities(self) -> list[str]:
        return sorted(self._authorities, key=lambda name: (name != self._story.departure, name))

    def write(self) -> None:
        document = BaseDocTemplate(
            self._out,
            pagesize=A4,
            leftMargin=MARGIN,
            rightMargin=MARGIN,
            topMargin=MARGIN,
            bottomMargin=18 * mm,
            title=f"Crossing certificate {self._story.mrn}",
            author=", ".join(self._ordered_authorities()),
            subject=f"SHA-256 {self._digest}",
            creator="comity",
            invariant=1,
        )
        frame = Frame(MARGIN, 18 * mm, WIDTH, A4[1] - MARGIN - 18 * mm, 0, 0, 0, 0)
        document.addPageTemplates([PageTemplate("page", [frame], onPage=self._foot)])
        parts: list[Flowable] = [*self._head(), *self._custody()]
        parts += [*self._declarations(), *self._timeline(), *self._seals(), *self._incidents(), *self._checked()]
        document.build(parts)

    def _foot(self, canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setStrokeColor(RULE)
        canvas.line(MARGIN, 14 * mm, MARGIN + WIDTH, 14 * mm)
        canvas.setFillColor(FAINT)
        canvas.setFont(FONT, 6.5)
        canvas.drawString(MARGIN, 10.5 * mm, f"{self._story.mrn}   file SHA-256 {self._digest}")
        canvas.drawRightString(MARGIN + WIDTH, 10.5 * mm, f"page {document.page}")
        canvas.drawString(
            MARGIN,
            7.5 * mm,
            "This page proves nothing by itself: the file does, to whoever has the policy of one side.",
        )
        canvas.restoreState()

    # ---- sections

    def _head(self) -> list[Flowable]:
        story = self._story
        names = " and ".join(f"{name} ({self._authorities[name]})" for name in self._ordered_authorities())
        state = Paragraph(safe(state_words(story)).upper(), _style(11, bold=True, color=self._state_color()))
        left = [
            _p("Crossing certificate", 20, bold=True),
            _p("  ·  ".join(TITLES), 8.5, color=FAINT),
            Spacer(0, 3 * mm),
            _p(story.mrn, 15, bold=True),
            state,
            Spacer(0, 2 * mm),
            _p(f"On the shared ledger of {names}, which both executed and cosigned.", 8.5),
        ]
        code = _Code(code_text(self._certificate, self._raw, self._report))
        caption = _p("names the file that proves it", 6, color=FAINT, align=TA_RIGHT)
        head = Table([[left, [code, caption]]], colWidths=[WIDTH - QR_SIZE - 2 * mm, QR_SIZE + 2 * mm])
        head.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_NO_PADDING])
        return [head, Spacer(0, GAP), self._summary(), Spacer(0, GAP)]

    def _state_color(self) -> Color:
        return GOOD if self._story.discharged is not None else INK

    def _summary(self) -> Table:
        story, plan = self._story, self._story.plan
        weighed = "; ".join(f"{_MASS_OF.get(told.event, told.event)} {mass(each)}" for told, each in story.masses_g)
        rows = [
            ("From", plan["exit_post"], "To", plan["entry_post"]),
            ("Vehicle", story.vehicle, "Its computer", story.truck),
            ("Carrier", plan["carrier"], "Receiver", plan["receiver"]),
            ("Containers", ", ".join(story.containers) or "none, in bulk", "Weighed", weighed or "not yet"),
        ]
        if story.discharged is not None:
            rows.append(("Discharged", f"{utc(story.discharged.block_time_ms)} UTC", "", ""))
        cells = [[_p(a, 7.5, color=FAINT), _p(b), _p(c, 7.5, color=FAINT), _p(d)] for a, b, c, d in rows]
        table = Table(cells, colWidths=[20 * mm, WIDTH / 2 - 20 * mm, 22 * mm, WIDTH / 2 - 22 * mm])
        table.setStyle([("BACKGROUND", (0, 0), (-1, -1), BAND), ("VALIGN", (0, 0), (-1, -1), "TOP"), *_CELL_PADDING])
        return table

    def _custody(self) -> list[Flowable]:
        passages = self._story.custody
        said = "; ".join(self._passage(each) for each in passages)
        bar = _CustodyBar(self._story, self._colors)
        return [KeepTogether([_title("Custody and liability"), bar, _p(said, 8)]), Spacer(0, GAP)]

    def _passage(self, passage: CustodyTold) -> str:
        since = passage.since
        return f"{passage.authority} and {passage.liable} since entry {since.index}, {event_title(since).lower()}"

    def _declarations(self) -> list[Flowable]:
        parts: list[Flowable] = []
        for declaration in self._story.carried().values():
            parts += [KeepTogether([_title(f"Declaration {declaration.ucr}"), self._declaration(declaration)])]
            parts.append(Spacer(0, GAP))
        if self._story.not_told():
            missing = ", ".join(self._story.not_told())
            parts += [_title("Declarations"), _p(f"{missing}: not part of this certificate."), Spacer(0, GAP)]
        return parts

    def _declaration(self, declaration: DeclarationTold) -> Table:
        content = declaration.content
        shown = self._shown.get(declaration.content_of.id, ()) if declaration.content_of is not None else ()
        opened = {opening.name: opening.value for opening in shown}
        committed = {each["name"] for each in content.get("commitments", ())}

        def field(name: str) -> str:
            if name in opened:
                return f"{_plain(opened[name])} (disclosed)"
            return str(content[name]) if name in content else COMMITTED if name in committed else "not stated"

        basis = declaration.legal_basis
        numbers = (
            f"{declaration.number or 'none yet'} ({declaration.home}), "
            f"{declaration.partner_number or 'none yet'} ({declaration.partner})"
        )
        rows = [
            ("Numbers", numbers),
            ("Stands", f"{declaration.status}, recognition {declaration.recognition}, version {declaration.version}"),
            ("Legal basis", f"{basis['agreement']}, article {basis['article']}" if basis else "none yet"),
            ("Declarant", declaration.declarant),
            ("Consignor", field("consignor")),
            ("Consignee", field("consignee")),
            ("Goods", self._goods(content, opened, committed)),
            ("Gross mass", f"{mass(content['gross_mass_g'])}, from {content['origin']} to {content['destination']}"),
        ]
        more = sorted(set(opened) - _SHOWN_FIELDS)
        rows += [("Disclosed", f"{name}: {_plain(opened[name])}") for name in more if not name.startswith("goods/")]
        return _pairs(rows)

    def _goods(self, content: Mapping[str, Any], opened: Mapping[str, Any], committed: set[str]) -> str:
        lines = []
        for number, goods in enumerate(content["goods"]):
            name = f"goods/{number}/description"
            words = goods.get("description") or opened.get(name) or (COMMITTED if name in committed else "")
            lines.append(f"HS {goods['hs']}{' ' + str(words) if words else ''}, {mass(goods['mass_g'])} net")
        return "; ".join(lines)

    def _timeline(self) -> list[Flowable]:
        countries = [self._authorities[name] for name in self._ordered_authorities()]
        countries = [country for country in dict.fromkeys(countries) if offset(country)]
        head = ["UTC, on the ledger", *(f"{c}, {offset(c)}" for c in countries), "What", "By", "Entry"]
        rows: list[list[Any]] = [[_p(text, 7, bold=True, color=FAINT) for text in head]]
        rows += [self._told(told, countries) for told in self._story.told]
        time, who, entry = 33 * mm, 34 * mm, 12 * mm
        beside = 19 * mm * len(countries)
        widths = [time, *[19 * mm] * len(countries), WIDTH - time - beside - who - entry, who, entry]
        table = Table(rows, colWidths=widths, repeatRows=1)
        style: list[Any] = [
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            *_CELL_PADDING,
        ]
        for number, told in enumerate(self._story.told, 1):
            color = self._colors.get(told.authority)
            if color is not None:
                style.append(("LINEBEFORE", (0, number), (0, number), 2, color))
        table.setStyle(style)
        note = _p("The line at the left has the colour of the signer's side, as in the bar of custody.", 7, color=FAINT)
        return [_ROOM, _title("What happened, in the order of the ledger"), table, note, Spacer(0, GAP)]

    def _told(self, told: Told, countries: Sequence[str]) -> list[Any]:
        detail = event_detail(told)
        what: list[Any] = [_p(event_title(told), 8, bold=True)]
        if detail:
            what.append(_p(detail, 7.5, color=FAINT))
        times = [_p(local(told.block_time_ms, country), 7.5, color=FAINT) for country in countries]
        entry = _p(str(told.index), 7.5, color=FAINT, align=TA_RIGHT)
        return [_p(utc(told.block_time_ms), 8), *times, what, _p(told.statement.iss, 7.5), entry]

    def _seals(self) -> list[Flowable]:
        if not self._story.seals:
            return []
        head = ["Seal", "Closes", "Put on", "Read since", "Now"]
        rows: list[list[Any]] = [[_p(text, 7, bold=True, color=FAINT) for text in head]]
        rows += [self._seal(seal) for seal in self._story.seals.values()]
        widths = [32 * mm, 27 * mm, 34 * mm, WIDTH - 123 * mm, 30 * mm]
        table = Table(rows, colWidths=widths, repeatRows=1)
        table.setStyle(
            [("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE), ("VALIGN", (0, 0), (-1, -1), "TOP"), *_CELL_PADDING]
        )
        return [KeepTogether([_title("Seals, from sealing to unloading"), table]), Spacer(0, GAP)]

    def _seal(self, seal: SealTold) -> list[Any]:
        electronic = f", electronic: {seal.device}" if seal.device else ""
        readings = "; ".join(f"{_READ_AT.get(told.event, told.event)} {state}" for told, state in seal.readings)
        color = INK if seal.state in ("intact", "removed") else BAD
        now = f"{seal.state}" + (f", {event_title(seal.ended).lower()}" if seal.ended is not None else "")
        return [
            _p(f"{seal.id}, class {seal.seal_class}{electronic}", 8),
            _p(seal.container or "the vehicle's hold", 8),
            _p(f"{utc(seal.put_on.block_time_ms)} by {seal.put_on.statement.iss}", 7.5),
            _p(readings or "not read yet", 7.5),
            _p(now, 8, color=color),
        ]

    def _incidents(self) -> list[Flowable]:
        if not self._story.incidents:
            return [_title("Incidents"), _p("None is on the ledger in this certificate."), Spacer(0, GAP)]
        rows = [
            (
                utc(told.block_time_ms),
                f"{told.payload['code']}: {INCIDENTS[told.payload['code']].meaning}"
                + (f", seal {told.payload['seal']}" if "seal" in told.payload else "")
                + f"; reported by {told.statement.iss}; consequence: {INCIDENTS[told.payload['code']].consequence}",
            )
            for told in self._story.incidents
        ]
        return [KeepTogether([_title("Incidents"), _pairs(rows, 32 * mm)]), Spacer(0, GAP)]

    def _checked(self) -> list[Flowable]:
        report = self._report
        parts: list[Flowable] = [_ROOM, _title("What was checked for this page")]
        parts.append(_pairs([(f"{check.number} {check.name}", check.detail) for check in report.checks], 26 * mm, 7.5))
        if report.quorum is not None and report.checkpoint is not None:
            signed = "; ".join(f"{name} at {time_text(at_s)}" for name, at_s in report.quorum.timestamps.items())
            checkpoint = report.checkpoint
            rows = [
                ("Log", f"{checkpoint.origin}, {checkpoint.size} entries"),
                ("Root", encode_base64(checkpoint.root)),
                ("Vouched for by", signed),
                ("File", f"{len(self._raw)} bytes, SHA-256 {self._digest}"),
            ]
            parts += [Spacer(0, 2 * mm), _title("Checkpoint"), _pairs(rows, 26 * mm, 7.5)]
        parts += [Spacer(0, 2 * mm), _title("What was not checked, as no such file can tell")]
        parts += [_p(f"– {line}", 7.5, color=FAINT) for line in report.not_checked]
        parts += [
            Spacer(0, 2 * mm),
            _p(f"Verify the file yourself: comity verify {self._story.mrn}.crossing --policy POLICY", 8, bold=True),
        ]
        return parts


# A heading that would stand alone at the foot of a page begins the next one.
_ROOM = CondPageBreak(40 * mm)
_NO_PADDING = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
_CELL_PADDING = [
    ("LEFTPADDING", (0, 0), (-1, -1), 4),
    ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ("TOPPADDING", (0, 0), (-1, -1), 2.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
]
_MASS_OF = {"load": "loaded", "offer": "offered", "accept": "accepted", "unload": "unloaded", "resume": "resumed"} | {
    "accept_with_differences": "found"
}
_READ_AT = {"offer": "at the offer", "accept": "at the handover", "unload": "at unloading"} | {
    "accept_with_differences": "at the handover"
}
_SHOWN_FIELDS = {"consignor", "consignee"}


def _title(text: str) -> Paragraph:
    style = _style(10.5, bold=True)
    style.spaceAfter = 1.5 * mm
    return Paragraph(safe(text), style)


def _pairs(rows: Sequence[tuple[str, str]], first: float = 26 * mm, size: float = 8) -> Table:
    table = Table(
        [[_p(name, 7.5, color=FAINT), _p(value, size)] for name, value in rows], colWidths=[first, WIDTH - first]
    )
    table.setStyle([("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE), ("VALIGN", (0, 0), (-1, -1), "TOP"), *_CELL_PADDING])
    return table


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in sorted(value.items()))
    return value.hex() if isinstance(value, bytes) else str(value)

"""The Chinese of one document as a font of its own, to be embedded: only the characters that stand in it.

The source is Noto Sans SC (SIL Open Font License), whose outlines are cubic; what prints takes TrueType, so each
outline is put into quadratic curves to within a thousandth of the em.

Promises: the same characters give the same bytes.

Needs fontTools and the font as a package (`comity[certificate]`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pylopdf_fonts_zh_cn
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont

FILE = "NotoSansSC-Regular.otf"
FAMILY = "Noto Sans SC subset"
MAX_CHARACTERS = 4096
# Of the 1000 units of the em.
MAX_ERROR_UNITS = 1.0


@cache
def _source() -> tuple[Any, dict[int, str]]:
    font = TTFont(Path(pylopdf_fonts_zh_cn.__file__).parent / FILE, lazy=True)
    return font, dict(font.getBestCmap())


def is_there(character: str) -> bool:
    """Whether the font has a character."""
    return ord(character) in _source()[1]


def font_of(characters: Iterable[str]) -> bytes:
    """A TrueType font of these characters, those that there are."""
    source, names = _source()
    glyph_set = source.getGlyphSet()
    chosen = sorted({character for character in characters if ord(character) in names})[:MAX_CHARACTERS]
    of = {".notdef": ".notdef", **{f"u{ord(each):04X}": names[ord(each)] for each in chosen}}
    glyphs, metrics = {}, {}
    for name, original in of.items():
        pen = TTGlyphPen(None)
        glyph_set[original].draw(Cu2QuPen(pen, MAX_ERROR_UNITS, reverse_direction=True))
        glyphs[name] = pen.glyph()
        metrics[name] = (glyph_set[original].width, 0)
    builder = FontBuilder(source["head"].unitsPerEm, isTTF=True)
    builder.setupGlyphOrder(list(of))
    builder.setupCharacterMap({ord(each): f"u{ord(each):04X}" for each in chosen})
    builder.setupGlyf(glyphs)
    bearings = {name: (width, getattr(glyphs[name], "xMin", 0)) for name, (width, _) in metrics.items()}
    builder.setupHorizontalMetrics(bearings)
    builder.setupHorizontalHeader(ascent=source["hhea"].ascent, descent=source["hhea"].descent)
    # A name of its own: what prints tells fonts apart by it.
    digest = sha256("".join(chosen).encode()).hexdigest()[:12]
    names_of_it = {"familyName": f"{FAMILY} {digest}", "styleName": "Regular", "psName": f"NotoSansSC-{digest}"}
    builder.setupNameTable(names_of_it)
    builder.setupOS2()
    builder.setupPost()
    builder.font["head"].created = builder.font["head"].modified = 0
    builder.font.recalcTimestamp = False
    out = BytesIO()
    builder.font.save(out)
    return out.getvalue()

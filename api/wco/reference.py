"""The table in docs/wco.md of what becomes of each element, written from the mapping."""

from __future__ import annotations

from collections.abc import Iterator

from api.wco.mapping import ROWS, UNNAMED

IMPORT_TABLE = "elements"


def table() -> Iterator[str]:
    yield "| element or attribute | fate | where it goes, or why nowhere |"
    yield "| --- | --- | --- |"
    for row in ROWS:
        yield f"| `{row.pattern}` | {row.fate.value} | {row.to} |"
    yield f"| anything else | nowhere | {UNNAMED} |"


def fill(page: str, name: str, lines: Iterator[str]) -> str:
    """The page with what stands between the two marks of a table written anew; ValueError unless each is there once."""
    begin, end = f"<!-- table: {name} -->\n", f"<!-- end of table: {name} -->\n"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"page: expected the marks of table {name!r} once each")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n" + "\n".join(lines) + f"\n\n{end}{after}"

"""The tables in docs/wco.md and docs/epcis.md, written from what the program follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from api.epcis import mapping as epcis
from api.wco.mapping import ROWS, UNNAMED
from api.wco.notifications import DOCUMENTARY_CONTROL
from api.wco.notifications import ROWS as NOTIFICATIONS


def elements() -> Iterator[str]:
    yield "| element or attribute | fate | where it goes, or why nowhere |"
    yield "| --- | --- | --- |"
    for row in ROWS:
        yield f"| `{row.pattern}` | {row.fate.value} | {row.to} |"
    yield f"| anything else | nowhere | {UNNAMED} |"


def notifications() -> Iterator[str]:
    yield "| event | function code | name in the profile | adds |"
    yield "| --- | --- | --- | --- |"
    for event, row in NOTIFICATIONS.items():
        adds = ", ".join(filter(None, (row.date, f"status {row.status}" if row.status else "", row.code)))
        yield f"| `declaration.{event}` | {row.function} | {row.name} | {adds} |"
        if event == "control":
            also = DOCUMENTARY_CONTROL
            yield f"| `declaration.{event}` of the documents | {also.function} | {also.name} | |"


def events() -> Iterator[str]:
    yield "| event | EPCIS event | action | bizStep | disposition | readPoint | |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for event, row in [*epcis.ROWS.items(), ("any other", epcis.OTHER)]:
        name = f"`escort.{event}`" if event in epcis.ROWS else event
        yield (
            f"| {name} | {row.event_type} | {row.action} | {row.step} | {row.disposition} | {row.where} | {row.note} |"
        )


# page -> name of the table -> its lines
PAGES: dict[str, dict[str, Callable[[], Iterator[str]]]] = {
    "docs/wco.md": {"elements": elements, "notifications": notifications},
    "docs/epcis.md": {"events": events},
}


def fill(page: str, name: str, lines: Iterator[str]) -> str:
    """The page with what stands between the two marks of a table written anew; ValueError unless each is there once."""
    begin, end = f"<!-- table: {name} -->\n", f"<!-- end of table: {name} -->\n"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"page: expected the marks of table {name!r} once each")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n" + "\n".join(lines) + f"\n\n{end}{after}"

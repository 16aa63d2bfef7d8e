"""What an authority decided of a declaration, as WCO Data Model 3.6 responses (RES-DMS:2).

One `Response` for each entry that is an authority's answer, in the order of the log, within one `MetaData`. Promises:
the order and lengths of elements that the profile's schema has; the texts of the ledger as they are, but for characters
that XML 1.0 cannot have, which become U+FFFD; the same bytes from the same entries.

Does not: speak of what a declarant or an escort did, or carry commercial fields.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from xml.sax.saxutils import escape

from api.history import History, Recorded

RESPONSE_NAMESPACE = "urn:wco:datamodel:WCO:RES-DMS:2"
RESPONSE_TYPES_NAMESPACE = "urn:wco:datamodel:WCO:Response_DS:DMS:2"
METADATA_NAMESPACE = "urn:wco:datamodel:WCO:DocumentMetaData-DMS:2"
MEDIA_TYPE = "application/xml"
VERSION = "3.6"
DOCUMENT_TYPE = "RES"
DATE_TIME_FORMAT = "304"  # CCYYMMDDHHMMSSZZZ
STATEMENT_TYPE = "AFB"  # a comment for who submitted
REFERENCE_CHARS = 32  # of the statement's id, which names the response
GRANTED, DENIED = "39", "41"
CONTRACT = "declaration"

# A tree of elements: name, and text or children in order.
Node = tuple[str, "str | list[Node]"]


@dataclass(frozen=True, slots=True)
class Row:
    """How one decision is told: the function code, its name in the profile, and what it adds."""

    function: str
    name: str
    date: str = ""  # the element of the declaration that has the time of the decision
    status: str = ""
    code: str = ""  # for a recognition: what became of it


ROWS: dict[str, Row] = {
    "register": Row("02", "DMSRCV"),
    "accept": Row("01", "DMSACC", date="AcceptanceDateTime"),
    "reject": Row("03", "DMSREJ", date="RejectionDateTime"),
    "control": Row("05", "DMSCTL"),
    "control_result": Row("07", "DMSRES"),
    "refuse": Row("03", "DMSREJ", date="RejectionDateTime"),
    "accept_amendment": Row("11", "DMSREQ", status=GRANTED),
    "refuse_amendment": Row("11", "DMSREQ", status=DENIED),
    "release": Row("08", "DMSROG"),
    "clear": Row("09", "DMSCLE"),
    "refuse_invalidation": Row("11", "DMSREQ", status=DENIED),
    "invalidate": Row("10", "DMSINV", date="CancellationDateTime"),
    "recognise": Row("11", "DMSREQ", status=GRANTED, code="RECOGNISED"),
    "refuse_recognition": Row("11", "DMSREQ", status=DENIED, code="NOT_RECOGNISED"),
    "suspend_recognition": Row("11", "DMSREQ", status=DENIED, code="SUSPENDED"),
    "resume_recognition": Row("11", "DMSREQ", status=GRANTED, code="RECOGNISED"),
    "withdraw_recognition": Row("11", "DMSREQ", status=DENIED, code="WITHDRAWN"),
}
# A control of the documents asks for them; a control of the goods announces it.
DOCUMENTARY_CONTROL = Row("06", "DMSDOC")
NEW_VERSION = ("accept_amendment",)


class NothingToNotify(ValueError):
    """No authority has answered yet: there is no document without a response."""


@dataclass(slots=True)
class _Declaration:
    """As far as its entries have been told."""

    ucr: str
    version: int = 1
    home: str = ""
    numbers: dict[str, str] = field(default_factory=dict)  # by authority


def notifications_document(ucr: str, history: History) -> bytes:
    """All responses about a declaration, as one document; NothingToNotify where there is none."""
    declaration = _Declaration(ucr)
    responses = [
        _response(declaration, recorded, row, history)
        for recorded in history.entries
        if (row := _follow(declaration, recorded, history)) is not None
    ]
    if not responses:
        raise NothingToNotify(f"no authority has answered declaration {ucr} yet")
    home = declaration.home
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<md:MetaData xmlns:md="{METADATA_NAMESPACE}">',
        *_rendered("md:WCODataModelVersionCode", VERSION, 1),
        *_rendered("md:WCOTypeName", DOCUMENT_TYPE, 1),
        *_rendered("md:ResponsibleCountryCode", history.country_of(home), 1),
        *_rendered("md:ResponsibleAgencyName", home, 1),
    ]
    for response in responses:
        lines += _rendered(f'Response xmlns="{RESPONSE_NAMESPACE}" xmlns:ds="{RESPONSE_TYPES_NAMESPACE}"', response, 1)
    return "\n".join([*lines, "</md:MetaData>", ""]).encode()


def _follow(declaration: _Declaration, recorded: Recorded, history: History) -> Row | None:
    """Take one entry into account; the row of its notification, if it is an authority's answer."""
    contract, _, event = recorded.statement.kind.partition(".")
    if contract != CONTRACT:
        return None
    payload = cast(dict[str, Any], recorded.statement.payload)
    if event == "lodge":
        declaration.home = payload["home"]
        return None
    corrected = event == "control_result" and payload["result"] == "corrected"
    if event in NEW_VERSION or corrected:
        declaration.version += 1
    if "number" in payload:
        declaration.numbers[history.authority_of(recorded.statement.iss)] = payload["number"]
    if event == "control_result" and not corrected:
        return None
    if event == "control" and payload["control"] == "documentary":
        return DOCUMENTARY_CONTROL
    return ROWS.get(event)


def _response(declaration: _Declaration, recorded: Recorded, row: Row, history: History) -> list[Node]:
    """The children of one Response, in the order of the schema."""
    statement = recorded.statement
    event = statement.kind.partition(".")[2]
    payload = cast(dict[str, Any], statement.payload)
    at = _date_time(recorded.block_time_ms)
    authority = history.authority_of(statement.iss)
    nodes: list[Node] = [
        ("FunctionCode", row.function),
        ("FunctionalReferenceID", statement.id_hex[:REFERENCE_CHARS]),
        ("IssueDateTime", at),
    ]
    nodes += [("AdditionalInformation", each) for each in _information(event, payload, row, authority)]
    if event == "control_result":
        nodes.append(("Amendment", [("Pointer", [("DocumentSectionCode", "42A")])]))
    if event in ("reject", "refuse"):
        nodes += [("Error", [("Description", reason)]) for reason in payload["reasons"]]
    if row.status:
        nodes.append(("Status", [("EffectiveDateTime", at), ("NameCode", row.status)]))
    number = declaration.numbers.get(authority, "")
    about: list[Node] = [("FunctionalReferenceID", declaration.ucr)]
    about += [("ID", number)] if number else []
    about += [("VersionID", str(declaration.version))]
    about += [(row.date, at)] if row.date else []
    nodes.append(("Declaration", sorted(about)))
    return nodes


def _information(event: str, payload: Mapping[str, Any], row: Row, authority: str) -> Iterator[list[Node]]:
    def comment(code: str, text: str) -> list[Node]:
        described: list[Node] = [("StatementDescription", text)] if text else []
        return [("StatementCode", code), *described, ("StatementTypeCode", STATEMENT_TYPE)]

    if event == "control":
        yield comment(payload["control"].upper(), payload.get("note", ""))
    elif row.code:
        yield comment(row.code, payload["reason"])
        basis = payload["legal_basis"]
        yield comment("LEGAL_BASIS", f"{basis['agreement']}; {basis['article']}; {basis['effective']}")
        yield comment("AUTHORITY", authority)
    elif text := payload.get("reason", payload.get("note", "")):
        yield [("StatementDescription", text), ("StatementTypeCode", STATEMENT_TYPE)]


def _date_time(unix_ms: int) -> list[Node]:
    moment = datetime.datetime.fromtimestamp(unix_ms // 1000, datetime.UTC)
    return [(f'ds:DateTimeString formatCode="{DATE_TIME_FORMAT}"', f"{moment:%Y%m%d%H%M%S}Z")]


def _rendered(start: str, content: str | list[Node], depth: int) -> Iterator[str]:
    """Lines of one element. `start` is its name, with attributes if it has any."""
    indent, end = "  " * depth, start.partition(" ")[0]
    if isinstance(content, str):
        yield f"{indent}<{start}>{_text(content)}</{end}>"
        return
    yield f"{indent}<{start}>"
    for name, inner in content:
        yield from _rendered(name, inner, depth + 1)
    yield f"{indent}</{end}>"


def _is_xml(char: str) -> bool:
    """XML 1.0 section 2.2, without the carriage return, which a parser would take for a line feed."""
    return char in "\t\n" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000"


def _text(text: str) -> str:
    return escape("".join(char if _is_xml(char) else "\ufffd" for char in text))

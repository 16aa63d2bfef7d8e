"""From a WCO Data Model declaration (version 3.6, DEC-DMS:2) to a payload to sign, with a report of every leaf.

A document with function code 9 lodges a declaration; 4 and 5 amend one; 13 asks to invalidate (type INV) or to amend
(type COR) one. Promises: what is ready has a payload that the contract's schema takes; masses are exact; nothing of the
document goes unmentioned (`api.wco.leaves`). What is wrong or missing is a problem with its element and line, and then
nothing is ready to sign. Who imports may give fields that the document lacks or has wrong; that is said of each.

Does not: sign, send, or know whether places, tariff codes or participants exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.wco.content import ContentReader, Payload, identified
from api.wco.leaves import Leaf, Leaves, Problem
from api.wco.mapping import Fate
from api.wco.reading import DECLARATION_NAMESPACE, METADATA_NAMESPACE, Element, XmlRefused, read_document
from contracts.declaration_private import every_private_field, private_fields_refusal
from contracts.identifiers import parse_ucr
from contracts.payloads import SCHEMAS
from contracts.schema import PayloadError

VERSION = "3.6"
DOCUMENT_TYPE = "DEC"
UCR_TYPE = "DCR"  # declaration unique consignment reference
REASON_TYPE = "AES"

LODGE = "declaration.lodge"
AMEND = "declaration.request_amendment"
INVALIDATE = "declaration.request_invalidation"
_KIND_OF_FUNCTION = {"9": LODGE, "4": AMEND, "5": AMEND}
_KIND_OF_REQUEST = {"INV": INVALIDATE, "COR": AMEND}
REQUEST_FUNCTION = "13"


@dataclass(frozen=True, slots=True)
class Given:
    """What a document cannot say, and what who imports gives instead of what it says.

    `fields` is laid over the payload: maps member by member, anything else as a whole; of `content.goods` single items
    are meant by a map from their number (from 1). `documents` maps a document's number to the SHA-256 of its file.
    """

    home: str = ""
    partner: str = ""
    carrier: str = ""
    ucr: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    documents: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Imported:
    """What a document says: a statement to sign, if it is `ready`, and what became of every leaf."""

    kind: str
    subject: str
    number: str  # under which the declaration is known already, where the document names one
    payload: Payload
    commercial: tuple[str, ...]  # names of the fields that may be committed to instead of open
    escort: Mapping[str, Any]
    leaves: tuple[Leaf, ...]
    counts: Mapping[str, int]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "kind": self.kind,
            "subject": self.subject or None,
            "payload": _plain(self.payload),
            "commercial": list(self.commercial),
            "escort": dict(self.escort),
            "problems": [problem.as_dict() for problem in self.problems],
            "notes": list(self.notes),
            "fates": dict(self.counts),
            "elements": [leaf.as_dict() for leaf in self.leaves],
        }


def _plain(value: Any) -> Any:
    """As JSON has it, bytes as `comity sign` reads them."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value


def import_declaration(raw: bytes, given: Given) -> Imported:
    """Read one document; XmlRefused where it is none of this kind, problems where it is one and cannot be signed."""
    root = read_document(raw)
    if (root.namespace, root.name) != (METADATA_NAMESPACE, "MetaData"):
        raise XmlRefused("not_wco", f"expected MetaData of WCO DMS:2, got {root.name[:40]}", root.line, root.column)
    declarations = [child for child in root.children if child.name == "Declaration"]
    if len(declarations) != 1 or declarations[0].namespace != DECLARATION_NAMESPACE:
        raise XmlRefused("not_wco", "expected one Declaration of DEC-DMS:2 below MetaData", root.line, root.column)
    return _Import(root, declarations[0], given).run()


class _Import:
    """One document on its way to a payload."""

    def __init__(self, root: Element, declaration: Element, given: Given) -> None:
        self._root = root
        self._declaration = declaration
        self._given = given
        self._notes: list[str] = []
        self._number = ""
        self._leaves = Leaves(root)

    def run(self) -> Imported:
        leaves = self._leaves
        self._check_wrapping()
        kind = self._kind()
        subject = self._subject(kind)
        payload: Payload = {}
        escort: Mapping[str, Any] = {}
        if kind == LODGE:
            payload.update(self._sides())
        if kind in (LODGE, AMEND):
            reader = ContentReader(leaves, self._root, self._declaration, self._given.documents)
            payload["content"] = reader.content()
            escort = reader.escort
            self._notes += reader.notes
        if kind in (AMEND, INVALIDATE):
            payload["reason"] = self._reason()
        self._lay_over(payload)
        if kind and not leaves.problems:
            self._check_payload(kind, payload)
        return Imported(
            kind,
            subject,
            self._number,
            payload,
            tuple(every_private_field(payload["content"])) if not leaves.problems and "content" in payload else (),
            escort,
            tuple(leaves.all),
            leaves.counts(),
            tuple(leaves.problems),
            tuple(self._notes),
        )

    # What it is, and about what.

    def _check_wrapping(self) -> None:
        for name, expected in (("WCODataModelVersionCode", VERSION), ("WCOTypeName", DOCUMENT_TYPE)):
            element = self._leaves.one(self._root, name)
            if (got := self._leaves.take(element, Fate.CHECK, f"must be {expected}")) != expected:
                self._leaves.fault(element, "", f"expected {name} {expected}, got {got or 'none'}")

    def _kind(self) -> str:
        leaves = self._leaves
        function, type_code = (leaves.one(self._declaration, name) for name in ("FunctionCode", "TypeCode"))
        code = leaves.take(function, Fate.CHECK, "says what is asked for")
        if code == REQUEST_FUNCTION:
            request = leaves.take(type_code, Fate.CHECK, "says what is asked for")
            kind = _KIND_OF_REQUEST.get(request, "")
            if not kind:
                leaves.fault(
                    type_code, "", f"expected TypeCode INV or COR with FunctionCode 13, got {request or 'none'}"
                )
            return kind
        leaves.pass_over(type_code, "the kind of a national declaration")
        kind = _KIND_OF_FUNCTION.get(code, "")
        if not kind:
            leaves.fault(function, "", f"expected FunctionCode 4, 5, 9 or 13, got {code or 'none'}")
        return kind

    def _subject(self, kind: str) -> str:
        leaves = self._leaves
        shipment = leaves.one(self._declaration, "GoodsShipment")
        found = self._ucr_elements(shipment)
        number = leaves.take(
            leaves.one(self._declaration, "ID"), Fate.CHECK, "the number under which the declaration is known"
        )
        self._number = number
        if number:
            self._notes.append(f"it is about the declaration of number {number}; the ledger knows it by its UCR")
        if self._given.ucr:
            for element in found:
                leaves.pass_over(element, "the UCR was given by who imports")
            return identified(leaves, None, self._given.ucr, parse_ucr, "subject")
        values = [leaves.take(element, Fate.SUBJECT, "subject") for element in found]
        if len(set(values)) > 1:
            leaves.fault(found[1], "subject", f"expected one UCR, got {len(set(values))}")
            return ""
        if not values:
            of_number = f" of the declaration of number {number}" if number else ""
            if kind:
                leaves.fault(None, "subject", f"expected a UCR, got none: give the UCR{of_number}")
            return ""
        return identified(leaves, found[0], values[0], parse_ucr, "subject")

    def _ucr_elements(self, shipment: Element | None) -> list[Element]:
        leaves = self._leaves
        found = leaves.one(shipment, "UCR", "TraderAssignedReferenceID")
        elements = [] if found is None or not found.text.strip() else [found]
        for previous in [] if shipment is None else shipment.named("PreviousDocument"):
            type_code, identifier = leaves.one(previous, "TypeCode"), leaves.one(previous, "ID")
            if type_code is None or identifier is None:
                continue
            if type_code.text.strip() == UCR_TYPE and identifier.text.strip():
                leaves.take(type_code, Fate.CHECK, f"{UCR_TYPE}: the ID is the UCR")
                elements.append(identifier)
            else:
                leaves.pass_over(identifier, "what came before this declaration is the home authority's to know")
                leaves.pass_over(type_code, "what came before this declaration is the home authority's to know")
        return elements

    def _sides(self) -> Payload:
        sides = {"home": self._given.home, "partner": self._given.partner}
        for name, value in sides.items():
            if not value and name not in self._given.fields:
                self._leaves.fault(
                    None, name, "expected the name of an authority, got none: a document does not say it"
                )
        if self._given.carrier:
            sides["carrier"] = self._given.carrier
        return {name: value for name, value in sides.items() if value}

    def _reason(self) -> str:
        leaves, words = self._leaves, []
        for information in self._declaration.named("AdditionalInformation"):
            type_code = leaves.one(information, "StatementTypeCode")
            if type_code is not None and type_code.text.strip() == REASON_TYPE:
                leaves.take(type_code, Fate.CHECK, f"{REASON_TYPE}: a reason in words")
                words.append(leaves.take(leaves.one(information, "StatementDescription"), Fate.FIELD, "reason"))
        if any(words):
            for amendment in self._declaration.named("Amendment"):
                leaves.pass_over(leaves.one(amendment, "ChangeReasonCode"), "the reason is given in words")
            return "; ".join(filter(None, words))
        for amendment in self._declaration.named("Amendment"):
            code = leaves.take(leaves.one(amendment, "ChangeReasonCode"), Fate.FIELD, "reason")
            if code:
                return f"reason code {code}"
        leaves.fault(None, "reason", "expected a reason, got none")
        return ""

    # What who imports gives.

    def _lay_over(self, payload: Payload) -> None:
        fields: list[str] = []
        try:
            _lay(payload, self._given.fields, "", fields)
        except LookupError as error:
            self._leaves.fault(None, "", str(error.args[0]))
        self._leaves.given_instead(fields)
        self._notes += [f"{name}: given by who imports" for name in fields]

    def _check_payload(self, kind: str, payload: Payload) -> None:
        """What the contract would say of it, said before anyone signs."""
        try:
            SCHEMAS[kind].check("", payload)
        except PayloadError as error:
            self._blame(error.path, str(error).removeprefix(f"{error.path}: "))
            return
        content = payload.get("content")
        if content is not None:
            refusal = private_fields_refusal(content)
            if refusal is not None:
                self._blame("content", refusal.fact)
            net_g = sum(each["mass_g"] for each in content["goods"])
            if net_g > content["gross_mass_g"]:
                message = f"expected at least the goods' net mass, {net_g} g, got {content['gross_mass_g']} g"
                self._blame("content.gross_mass_g", message)

    def _blame(self, field_name: str, message: str) -> None:
        leaf = next(
            (each for each in self._leaves.all if each.fate in (Fate.FIELD, Fate.COMMERCIAL) and each.to == field_name),
            None,
        )
        if leaf is None:
            self._leaves.problems.append(Problem(message, field_name))
            return
        leaf.fate, leaf.why = Fate.FAULT, message
        self._leaves.problems.append(Problem(message, field_name, leaf.path, leaf.line))


def _lay(under: Any, over: Mapping[str, Any], path: str, fields: list[str]) -> None:
    """Lay what is given over what is there, noting which fields; LookupError for an item that is not there."""
    for name, value in over.items():
        if isinstance(under, list):
            position = int(name) - 1 if name.isascii() and name.isdigit() and len(name) <= 4 else -1
            if not 0 <= position < len(under) or not isinstance(value, dict):
                raise LookupError(f"given for {path}[{name}]: expected members of an item from 1 to {len(under)}")
            _lay(under[position], value, f"{path}[{position}]", fields)
            continue
        inner = f"{path}.{name}" if path else name
        if isinstance(value, dict) and isinstance(under.get(name), dict | list):
            _lay(under[name], value, inner, fields)
        else:
            under[name] = value
            fields.append(inner)

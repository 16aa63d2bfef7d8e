"""From a WCO Data Model declaration (version 3.6, DEC-DMS:2) to a payload to sign, with a report of every leaf.

A document with function code 9 lodges a declaration; 4 and 5 amend one; 13 asks to invalidate (type INV) or to amend
(type COR) one. Promises: what is ready has a payload that the contract's schema takes; masses are exact; nothing of the
document goes unmentioned (`api.wco.leaves`). What is wrong or missing is a problem with its element and line, and then
nothing is ready to sign. Who imports may give fields that the document lacks or has wrong; that is said of each.

Does not: sign, send, or know whether places, tariff codes or participants exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.wco.leaves import Leaf, Leaves, Problem
from api.wco.mapping import Fate
from api.wco.reading import DECLARATION_NAMESPACE, METADATA_NAMESPACE, Element, XmlRefused, read_document
from api.wco.units import MeasureError, amount, count, mass_g
from contracts.identifiers import IdentifierError, parse_container, parse_country, parse_hs, parse_seal, parse_ucr
from contracts.payloads import SCHEMAS
from contracts.schema import PayloadError

VERSION = "3.6"
DOCUMENT_TYPE = "DEC"
UCR_TYPE = "DCR"  # declaration unique consignment reference
TARIFF_TYPES = ("", "TSP", "SRZ")
REASON_TYPE = "AES"
HS_DIGITS = 6

LODGE = "declaration.lodge"
AMEND = "declaration.request_amendment"
INVALIDATE = "declaration.request_invalidation"
_KIND_OF_FUNCTION = {"9": LODGE, "4": AMEND, "5": AMEND}
_KIND_OF_REQUEST = {"INV": INVALIDATE, "COR": AMEND}
REQUEST_FUNCTION = "13"

Payload = dict[str, Any]


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
    payload: Payload
    commercial: Mapping[str, str]
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
            "commercial": dict(self.commercial),
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
        self._leaves = Leaves(root)
        self._commercial: dict[str, str] = {}
        self._escort: dict[str, Any] = {}

    def run(self) -> Imported:
        leaves = self._leaves
        self._check_wrapping()
        kind = self._kind()
        subject = self._subject(kind)
        payload: Payload = {}
        if kind == LODGE:
            payload.update(self._sides())
        if kind in (LODGE, AMEND):
            payload["content"] = self._content()
        if kind in (AMEND, INVALIDATE):
            payload["reason"] = self._reason()
        self._lay_over(payload)
        if kind and not leaves.problems:
            self._check_payload(kind, payload)
        return Imported(
            kind,
            subject,
            payload,
            self._commercial,
            self._escort,
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
        if number:
            self._notes.append(f"it is about the declaration of number {number}; the ledger knows it by its UCR")
        if self._given.ucr:
            for element in found:
                leaves.pass_over(element, "the UCR was given by who imports")
            return self._identified(None, self._given.ucr, parse_ucr, "subject")
        values = [leaves.take(element, Fate.SUBJECT, "subject") for element in found]
        if len(set(values)) > 1:
            leaves.fault(found[1], "subject", f"expected one UCR, got {len(set(values))}")
            return ""
        if not values:
            of_number = f" of the declaration of number {number}" if number else ""
            if kind:
                leaves.fault(None, "subject", f"expected a UCR, got none: give the UCR{of_number}")
            return ""
        return self._identified(found[0], values[0], parse_ucr, "subject")

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

    # What is declared.

    def _content(self) -> Payload:
        declaration, leaves = self._declaration, self._leaves
        shipment = leaves.one(declaration, "GoodsShipment")
        if shipment is None:
            leaves.fault(declaration, "content", "expected a GoodsShipment: the whole content is sent, got none")
            return {}
        items = shipment.named("GovernmentAgencyGoodsItem")
        content: Payload = {
            "consignor": self._party((declaration, "Exporter"), (shipment, "Consignor"), field_name="consignor"),
            "consignee": self._party(
                (shipment, "Consignee"), *((item, "Consignee") for item in items[:1]), field_name="consignee"
            ),
            "origin": self._origin(shipment),
            "destination": self._destination(shipment, items),
            "gross_mass_g": self._gross_mass_g(items),
            "goods": self._goods(items),
            "containers": self._containers(shipment),
        }
        documents = self._documents(items)
        if documents:
            content["documents"] = documents
        self._check_counts(items, content["goods"])
        self._amounts(items)
        self._transport(shipment)
        if len(items) > 1 and any(item.named("Consignee") for item in items[1:]):
            leaves.fault(items[1], "content.consignee", "expected one consignee, got one of each item")
        return {name: value for name, value in content.items() if value not in ("", None)}

    def _party(self, *places: tuple[Element, str], field_name: str) -> str:
        """The first place that names one: its name, else its identifier. The other places are not looked at."""
        leaves, to = self._leaves, f"content.{field_name}"
        for parent, name in places:
            party = leaves.one(parent, name)
            for child in ("Name", "ID"):
                text = leaves.take(leaves.one(party, child), Fate.FIELD, to)
                if text:
                    return text
        leaves.fault(None, to, f"expected a {field_name}, got none")
        return ""

    def _origin(self, shipment: Element) -> str:
        leaves, to = self._leaves, "content.origin"
        element = leaves.one(shipment, "ExportCountry", "ID")
        if element is not None and (text := leaves.take(element, Fate.FIELD, to)):
            return self._identified(element, text, parse_country, to)
        element = leaves.one(self._root, "ResponsibleCountryCode")
        text = leaves.take(element, Fate.CHECK, f"{to}, as no ExportCountry says it")
        if text:
            self._notes.append(f"{to} is {text}, the responsible country: no ExportCountry says otherwise")
            return self._identified(element, text, parse_country, to)
        leaves.fault(None, to, "expected a country of export, got none")
        return ""

    def _destination(self, shipment: Element, items: list[Element]) -> str:
        leaves, to = self._leaves, "content.destination"
        element = leaves.one(shipment, "Destination", "CountryCode")
        if element is not None and (text := leaves.take(element, Fate.FIELD, to)):
            return self._identified(element, text, parse_country, to)
        countries = []
        for item in items:
            element = leaves.one(item, "Destination", "CountryCode")
            if element is not None and (text := leaves.take(element, Fate.FIELD, to)):
                countries.append(self._identified(element, text, parse_country, to))
                if len(set(countries)) > 1:
                    leaves.fault(element, to, f"expected one destination, got {countries[0]} and {text}")
        if countries:
            return countries[0]
        element = leaves.one(shipment, "Consignee", "Address", "CountryCode")
        text = leaves.take(element, Fate.CHECK, f"{to}, as no Destination says it")
        if text:
            self._notes.append(f"{to} is {text}, the consignee's country: no Destination says otherwise")
            return self._identified(element, text, parse_country, to)
        leaves.fault(None, to, "expected a country of destination, got none")
        return ""

    def _mass_g(self, element: Element | None, to: str) -> int | None:
        text = self._leaves.take(element, Fate.FIELD, to)
        if element is None or not text:
            return None
        unit = self._leaves.take(element, Fate.CHECK, "the unit of the mass", "unitCode")
        try:
            return mass_g(text, unit)
        except MeasureError as error:
            self._leaves.fault(element, to, str(error))
            return None

    def _gross_mass_g(self, items: list[Element]) -> int | None:
        leaves, to = self._leaves, "content.gross_mass_g"
        faults = len(leaves.problems)
        total = self._mass_g(leaves.one(self._declaration, "TotalGrossMassMeasure"), to)
        measured = [
            self._mass_g(leaves.one(item, "Commodity", "GoodsMeasure", "GrossMassMeasure"), to) for item in items
        ]
        known = [each for each in measured if each is not None]
        if len(leaves.problems) > faults:
            return None
        if total is not None and len(known) == len(items) and sum(known) != total:
            element = leaves.one(self._declaration, "TotalGrossMassMeasure")
            leaves.fault(element, to, f"expected the sum of the items, {sum(known)} g, got {total} g")
            return None
        if total is None and (not known or len(known) != len(items)):
            leaves.fault(None, to, f"expected a gross mass of each of {len(items)} items, got {len(known)}")
            return None
        return sum(known) if total is None else total

    def _goods(self, items: list[Element]) -> list[Payload]:
        leaves = self._leaves
        if not items:
            leaves.fault(None, "content.goods", "expected a GovernmentAgencyGoodsItem, got none")
        goods = []
        for index, item in enumerate(items):
            to = f"content.goods[{index}]"
            self._sequence(item, index)
            commodity = leaves.one(item, "Commodity")
            description = leaves.take(leaves.one(commodity, "Description"), Fate.FIELD, f"{to}.description")
            if not description:
                leaves.fault(item, f"{to}.description", "expected a description, got none")
            net = leaves.one(commodity, "GoodsMeasure", "NetNetWeightMeasure")
            net_g = self._mass_g(net, f"{to}.mass_g")
            if net_g is None and (net is None or not net.text.strip()):
                leaves.fault(item, f"{to}.mass_g", "expected a net mass, got none")
            one: Payload = {
                "hs": self._hs(item, commodity, to),
                "description": description,
                "mass_g": net_g,
                "packages": self._packages(item, to),
            }
            goods.append({name: value for name, value in one.items() if value not in ("", None)})
        return goods

    def _hs(self, item: Element, commodity: Element | None, to: str) -> str:
        """The first six digits of the tariff code. A national addition of another type is passed over."""
        leaves, codes = self._leaves, []
        for classification in [] if commodity is None else commodity.named("Classification"):
            type_code, identifier = (
                leaves.one(classification, "IdentificationTypeCode"),
                leaves.one(classification, "ID"),
            )
            if type_code is not None and type_code.text.strip() not in TARIFF_TYPES:
                leaves.pass_over(identifier, "a national addition to the tariff code")
                leaves.pass_over(type_code, "a national addition to the tariff code")
                continue
            leaves.take(type_code, Fate.CHECK, "a tariff code")
            text = leaves.take(identifier, Fate.FIELD, f"{to}.hs")
            if identifier is not None and text:
                codes.append(identifier)
        if len(codes) != 1:
            leaves.fault(codes[1] if codes else item, f"{to}.hs", f"expected one tariff code, got {len(codes)}")
            return ""
        leaf = leaves.leaf(codes[0])
        text = "" if leaf is None else leaf.value
        if len(text) > HS_DIGITS and leaf is not None and text.isascii() and text.isdigit():
            leaf.why = f"the first {HS_DIGITS} digits; {text[HS_DIGITS:]} is a national subdivision"
            text = text[:HS_DIGITS]
        return self._identified(codes[0], text, parse_hs, f"{to}.hs")

    def _packages(self, item: Element, to: str) -> int | None:
        total = None
        for index, packaging in enumerate(item.named("Packaging")):
            self._sequence(packaging, index)
            number = self._counted(self._leaves.one(packaging, "QuantityQuantity"), Fate.FIELD, f"{to}.packages")
            total = total if number is None else (total or 0) + number
        return total

    def _containers(self, shipment: Element) -> list[str]:
        leaves = self._leaves
        consignment = leaves.one(shipment, "Consignment")
        containers: list[str] = []
        seals: dict[str, list[str]] = {}
        for index, equipment in enumerate([] if consignment is None else consignment.named("TransportEquipment")):
            to = f"content.containers[{index}]"
            self._sequence(equipment, index)
            element = leaves.one(equipment, "ID")
            text = leaves.take(element, Fate.FIELD, to)
            container = self._identified(element, text, parse_container, to) if text else ""
            containers += [container] if container else []
            for number, seal in enumerate(equipment.named("Seal")):
                self._sequence(seal, number)
                identifier = leaves.one(seal, "ID")
                mark = leaves.take(identifier, Fate.ESCORT, "seals")
                if mark:
                    seals.setdefault(text, []).append(mark)
                    self._noted(mark, parse_seal, identifier)
        code = leaves.one(consignment, "ContainerCode")
        declared = leaves.take(code, Fate.CHECK, "1: there are containers, 0: there are none")
        if declared == "0" and containers:
            leaves.fault(code, "content.containers", f"expected no containers, got {len(containers)}")
        if seals:
            self._escort["seals"] = seals
        return containers

    def _documents(self, items: list[Element]) -> list[Payload]:
        """A document is kept with the hash of its file, so only where the file is given."""
        leaves = self._leaves
        documents: list[Payload] = []
        for item in items:
            for document in item.named("AdditionalDocument"):
                identifier = leaves.one(document, "ID")
                parts = [leaves.one(document, name) for name in ("CategoryCode", "TypeCode")]
                number = "" if identifier is None else identifier.text.strip()
                sha256 = self._given.documents.get(number)
                if sha256 is None:
                    for element in (identifier, *parts):
                        leaves.pass_over(element, "a document is kept with the hash of its file, and no file was given")
                    continue
                to = f"content.documents[{len(documents)}]"
                kind = "".join(leaves.take(part, Fate.FIELD, f"{to}.kind") for part in parts)
                leaves.take(identifier, Fate.FIELD, f"{to}.number")
                documents.append({"kind": kind or "document", "number": number, "sha256": sha256})
        unused = set(self._given.documents) - {document["number"] for document in documents}
        for number in sorted(unused):
            leaves.fault(None, "content.documents", f"a file is given for document {number}, which is not declared")
        return documents

    # What is compared, and what is handed over.

    def _check_counts(self, items: list[Element], goods: list[Payload]) -> None:
        leaves = self._leaves
        packages = sum(each.get("packages", 0) for each in goods)
        for name, field_name, got in (
            ("GoodsItemQuantity", "content.goods", len(items)),
            ("TotalPackageQuantity", "content.goods", packages),
        ):
            element = leaves.one(self._declaration, name)
            declared = self._counted(element, Fate.CHECK, f"compared with {field_name}")
            if declared is not None and declared != got:
                self._notes.append(f"{name} says {declared}, and the goods items have {got}")

    def _amounts(self, items: list[Element]) -> None:
        """Money is commercial: exact, and apart from the open fields."""
        leaves = self._leaves
        places = [(leaves.one(self._declaration, "InvoiceAmount"), "invoice_amount")]
        for index, item in enumerate(items):
            places.append((leaves.one(item, "StatisticalValueAmount"), f"statistical_value_{index + 1}"))
        for element, name in places:
            text = leaves.take(element, Fate.COMMERCIAL, name)
            if element is None or not text:
                continue
            currency = leaves.take(element, Fate.COMMERCIAL, name, "currencyID")
            try:
                self._commercial[name] = amount(text, currency)
            except MeasureError as error:
                leaves.fault(element, name, str(error))

    def _transport(self, shipment: Element) -> None:
        leaves = self._leaves
        consignment = leaves.one(shipment, "Consignment")
        whole = leaves.one(self._declaration, "Consignment")
        for parent, name, to in (
            (self._declaration, "BorderTransportMeans", "border_transport"),
            (consignment, "DepartureTransportMeans", "departure_transport"),
        ):
            means = leaves.one(parent, name)
            found = {} if means is None else {e.name: leaves.take(e, Fate.ESCORT, to) for e in means.children}
            if any(found.values()):
                self._escort[to] = {key: value for key, value in found.items() if value}
        office = leaves.take(leaves.one(self._declaration, "ExitOffice", "ID"), Fate.ESCORT, "exit_office")
        location = leaves.one(consignment, "GoodsLocation")
        place = leaves.take(leaves.one(location, "Name"), Fate.ESCORT, "goods_location")
        leaves.take(leaves.one(location, "Address", "TypeCode"), Fate.CHECK, "U: the place begins with a UN/LOCODE")
        country = leaves.take(leaves.one(location, "Address", "CountryCode"), Fate.CHECK, "of the goods' place")
        countries = []
        for index, itinerary in enumerate([] if whole is None else whole.named("Itinerary")):
            self._sequence(itinerary, index)
            code = leaves.take(leaves.one(itinerary, "RoutingCountryCode"), Fate.ESCORT, "routing_countries")
            countries += [code] if code else []
        handed_over = {
            "exit_office": office,
            "goods_location": f"{country}{place}" if place and len(place) != 5 else place,
            "routing_countries": countries,
        }
        self._escort.update({name: value for name, value in handed_over.items() if value})

    def _sequence(self, element: Element, index: int) -> None:
        number = self._leaves.one(element, "SequenceNumeric")
        text = self._leaves.take(number, Fate.CHECK, "counts from 1")
        if number is not None and text and text.lstrip("0") != str(index + 1):
            self._notes.append(f"{number.path}, line {number.line}: counts {text}, expected {index + 1}")

    def _counted(self, element: Element | None, fate: Fate, to: str) -> int | None:
        text = self._leaves.take(element, fate, to)
        if element is None or not text:
            return None
        try:
            return count(text)
        except MeasureError as error:
            self._leaves.fault(element, to if fate is Fate.FIELD else "", str(error))
            return None

    def _identified(self, element: Element | None, text: str, parse: Callable[[str], object], to: str) -> str:
        try:
            parse(text)
        except IdentifierError as error:
            self._leaves.fault(element, to, str(error))
            return ""
        return text

    def _noted(self, text: str, parse: Callable[[str], object], element: Element | None) -> None:
        try:
            parse(text)
        except IdentifierError as error:
            where = "" if element is None else f"{element.path}, line {element.line}: "
            self._notes.append(f"{where}{error}")

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
            net_g = sum(each["mass_g"] for each in content["goods"])
            if net_g > content["gross_mass_g"]:
                message = f"expected at least the goods' net mass, {net_g} g, got {content['gross_mass_g']} g"
                self._blame("content.gross_mass_g", message)

    def _blame(self, field_name: str, message: str) -> None:
        leaf = next((each for each in self._leaves.all if each.fate is Fate.FIELD and each.to == field_name), None)
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

"""The content of a declaration, from its elements: what is declared, what is only compared, what is for the escort.

Promises: masses and amounts are exact; where the document names several of what there is one of, none is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from api.wco.leaves import Leaves
from api.wco.mapping import Fate
from api.wco.reading import Element
from api.wco.units import MeasureError, amount, count, mass_g
from contracts.identifiers import IdentifierError, parse_container, parse_country, parse_hs, parse_seal

TARIFF_TYPES = ("", "TSP", "SRZ")
HS_DIGITS = 6

Payload = dict[str, Any]


def identified(leaves: Leaves, element: Element | None, text: str, parse: Callable[[str], object], to: str) -> str:
    """The text, if it is an identifier of its kind; else nothing, and a problem that says which character is wrong."""
    try:
        parse(text)
    except IdentifierError as error:
        leaves.fault(element, to, str(error))
        return ""
    return text


class ContentReader:
    """Reads the content of one declaration; what it finds wrong goes to the leaves."""

    def __init__(self, leaves: Leaves, root: Element, declaration: Element, files: Mapping[str, bytes]) -> None:
        self._leaves = leaves
        self._root = root
        self._declaration = declaration
        self._files = files
        self.escort: dict[str, Any] = {}
        self.notes: list[str] = []

    def content(self) -> Payload:
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
            "value": self._value("content.value", leaves.one(declaration, "InvoiceAmount")),
        }
        documents = self._documents(items)
        if documents:
            content["documents"] = documents
        self._check_counts(items, content["goods"])
        self._transport(shipment)
        self._check_one_consignee(shipment, items)
        return {name: value for name, value in content.items() if value not in ("", None)}

    def _party(self, *places: tuple[Element, str], field_name: str) -> str:
        """The first place that names one: its name, else its identifier. The other places are not looked at."""
        leaves, to = self._leaves, f"content.{field_name}"
        for parent, name in places:
            party = leaves.one(parent, name)
            for child in ("Name", "ID"):
                text = leaves.take(leaves.one(party, child), Fate.COMMERCIAL, to)
                if text:
                    return text
        leaves.fault(None, to, f"expected a {field_name}, got none")
        return ""

    def _check_one_consignee(self, shipment: Element, items: list[Element]) -> None:
        named = [each for each in (shipment, *items) if each.named("Consignee")]
        if len(named) > 1:
            place = named[1].named("Consignee")[0]
            self._leaves.fault(place, "content.consignee", f"expected one consignee, got {len(named)}")

    def _origin(self, shipment: Element) -> str:
        leaves, to = self._leaves, "content.origin"
        element = leaves.one(shipment, "ExportCountry", "ID")
        if element is not None and (text := leaves.take(element, Fate.FIELD, to)):
            return identified(self._leaves, element, text, parse_country, to)
        element = leaves.one(self._root, "ResponsibleCountryCode")
        text = leaves.take(element, Fate.CHECK, f"{to}, as no ExportCountry says it")
        if text:
            self.notes.append(f"{to} is {text}, the responsible country: no ExportCountry says otherwise")
            return identified(self._leaves, element, text, parse_country, to)
        leaves.fault(None, to, "expected a country of export, got none")
        return ""

    def _destination(self, shipment: Element, items: list[Element]) -> str:
        """Of the shipment, else of its items; wherever it is said, it is the same."""
        leaves, to = self._leaves, "content.destination"
        countries: list[str] = []
        for parent in (shipment, *items):
            element = leaves.one(parent, "Destination", "CountryCode")
            if element is None or not (text := leaves.take(element, Fate.FIELD, to)):
                continue
            if countries and text != countries[0]:
                leaves.fault(element, to, f"expected one destination, got {countries[0]} and {text}")
            countries.append(identified(leaves, element, text, parse_country, to))
        if countries:
            return countries[0]
        element = leaves.one(shipment, "Consignee", "Address", "CountryCode")
        text = leaves.take(element, Fate.CHECK, f"{to}, as no Destination says it")
        if text:
            self.notes.append(f"{to} is {text}, the consignee's country: no Destination says otherwise")
            return identified(leaves, element, text, parse_country, to)
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
        if total is not None and (sum(known) > total or (len(known) == len(items) and sum(known) < total)):
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
            description = leaves.take(leaves.one(commodity, "Description"), Fate.COMMERCIAL, f"{to}.description")
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
                "value": self._value(
                    f"{to}.value",
                    leaves.one(commodity, "InvoiceLine", "ItemChargeAmount"),
                    leaves.one(item, "StatisticalValueAmount"),
                ),
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
        return identified(self._leaves, codes[0], text, parse_hs, f"{to}.hs")

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
            container = identified(self._leaves, element, text, parse_container, to) if text else ""
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
        if declared == "1" and consignment is not None and not consignment.named("TransportEquipment"):
            leaves.fault(code, "content.containers", "expected containers, got none")
        if seals:
            self.escort["seals"] = seals
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
                sha256 = self._files.get(number)
                if sha256 is None:
                    for element in (identifier, *parts):
                        leaves.pass_over(element, "a document is kept with the hash of its file, and no file was given")
                    continue
                to = f"content.documents[{len(documents)}]"
                kind = "".join(leaves.take(part, Fate.COMMERCIAL, f"{to}.kind") for part in parts)
                leaves.take(identifier, Fate.COMMERCIAL, f"{to}.number")
                documents.append({"kind": kind or "document", "number": number, "sha256": sha256})
        unused = set(self._files) - {document["number"] for document in documents}
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
            if declared is not None and declared != got and name == "GoodsItemQuantity":
                leaves.fault(
                    element, field_name, f"expected as many goods items as are declared, {declared}, got {got}"
                )
            elif declared is not None and declared != got:
                self.notes.append(f"{name} says {declared}, and the goods items have {got}")

    def _value(self, to: str, *elements: Element | None) -> Payload | None:
        """The first amount of money that is given, exactly; the others are not needed."""
        leaves = self._leaves
        for element in elements:
            text = leaves.take(element, Fate.COMMERCIAL, to)
            if element is None or not text:
                continue
            currency = leaves.take(element, Fate.COMMERCIAL, to, "currencyID")
            try:
                return amount(text, currency)
            except MeasureError as error:
                leaves.fault(element, to, str(error))
                return None
        return None

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
                self.escort[to] = {key: value for key, value in found.items() if value}
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
        self.escort.update({name: value for name, value in handed_over.items() if value})

    def _sequence(self, element: Element, index: int) -> None:
        number = self._leaves.one(element, "SequenceNumeric")
        text = self._leaves.take(number, Fate.CHECK, "counts from 1")
        if number is not None and text and text.lstrip("0") != str(index + 1):
            self.notes.append(f"{number.path}, line {number.line}: counts {text}, expected {index + 1}")

    def _counted(self, element: Element | None, fate: Fate, to: str) -> int | None:
        text = self._leaves.take(element, fate, to)
        if element is None or not text:
            return None
        try:
            return count(text)
        except MeasureError as error:
            self._leaves.fault(element, to if fate is Fate.FIELD else "", str(error))
            return None

    def _noted(self, text: str, parse: Callable[[str], object], element: Element | None) -> None:
        try:
            parse(text)
        except IdentifierError as error:
            where = "" if element is None else f"{element.path}, line {element.line}: "
            self.notes.append(f"{where}{error}")

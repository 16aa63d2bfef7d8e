"""Every row of the mapping is met by a document of our own: no row waits for a sample that others publish."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from api.wco.importing import Given, import_declaration
from api.wco.leaves import Leaf
from api.wco.mapping import ROWS, Fate, Row, row_of
from tests.api.wco.documents import LODGED

SIDES = Given(home="kz-kgd", partner="cn-gacc")
DEC, MD = "urn:wco:datamodel:WCO:DEC-DMS:2", "urn:wco:datamodel:WCO:DocumentMetaData-DMS:2"
ITEM = "GoodsShipment/GovernmentAgencyGoodsItem"
CONSIGNMENT = "GoodsShipment/Consignment"
# What a row needs to have its own fate: its value, elements beside it, and what must not be there.
VALUES = {
    "AdditionalInformation/StatementTypeCode": "AES",
    "AdditionalInformation/StatementDescription": "typing error",
    "GoodsShipment/UCR/TraderAssignedReferenceID": "KZ-AGRO-2026/78",
    "GoodsItemQuantity": "1",
    "TotalPackageQuantity": "12",
    "TotalGrossMassMeasure": "24.6",
    "TotalGrossMassMeasure@unitCode": "TNE",
    "InvoiceAmount": "7200.50",
    "InvoiceAmount@currencyID": "USD",
    f"{ITEM}/Commodity/InvoiceLine/ItemChargeAmount": "7200.50",
    f"{ITEM}/Commodity/InvoiceLine/ItemChargeAmount@currencyID": "USD",
    f"{ITEM}/Destination/CountryCode": "CN",
    "Consignment/Itinerary/SequenceNumeric": "1",
    f"{CONSIGNMENT}/GoodsLocation/Name": "CNBKT",
    f"{CONSIGNMENT}/GoodsLocation/Address/TypeCode": "U",
    f"{CONSIGNMENT}/GoodsLocation/Address/CountryCode": "CN",
    "Consignment/Itinerary/RoutingCountryCode": "CN",
}
BESIDE = {
    "TotalGrossMassMeasure": ("TotalGrossMassMeasure@unitCode",),
    "TotalGrossMassMeasure@unitCode": ("TotalGrossMassMeasure",),
    "InvoiceAmount": ("InvoiceAmount@currencyID",),
    "InvoiceAmount@currencyID": ("InvoiceAmount",),
    f"{ITEM}/Commodity/InvoiceLine/ItemChargeAmount": (f"{ITEM}/Commodity/InvoiceLine/ItemChargeAmount@currencyID",),
    f"{ITEM}/Commodity/InvoiceLine/ItemChargeAmount@currencyID": (f"{ITEM}/Commodity/InvoiceLine/ItemChargeAmount",),
    f"{CONSIGNMENT}/GoodsLocation/Address/TypeCode": (
        f"{CONSIGNMENT}/GoodsLocation/Name",
        f"{CONSIGNMENT}/GoodsLocation/Address/CountryCode",
    ),
    f"{CONSIGNMENT}/GoodsLocation/Address/CountryCode": (
        f"{CONSIGNMENT}/GoodsLocation/Name",
        f"{CONSIGNMENT}/GoodsLocation/Address/TypeCode",
    ),
    "Consignment/Itinerary/SequenceNumeric": ("Consignment/Itinerary/RoutingCountryCode",),
}
WITHOUT = {
    "Exporter/ID": ("Exporter/Name",),
    "GoodsShipment/Consignor/Name": ("Exporter",),
    "GoodsShipment/Consignor/ID": ("Exporter",),
    "GoodsShipment/Consignee/ID": ("GoodsShipment/Consignee/Name",),
    "GoodsShipment/Consignee/Address/CountryCode": ("GoodsShipment/Destination",),
    f"{ITEM}/Consignee/Name": ("GoodsShipment/Consignee",),
    f"{ITEM}/Consignee/ID": ("GoodsShipment/Consignee",),
    "GoodsShipment/UCR/TraderAssignedReferenceID": ("GoodsShipment/PreviousDocument",),
}
# Met, and kept nowhere in a lodging: they speak of an amendment, of a number, of a file that is not given here, or are
# the last resort behind one that is there.
ONLY_ELSEWHERE = {
    "TypeCode",
    "AdditionalInformation/StatementDescription",
    "AdditionalInformation/StatementTypeCode",
    "Amendment/ChangeReasonCode",
    f"{ITEM}/AdditionalDocument/ID",
    f"{ITEM}/AdditionalDocument/CategoryCode",
    f"{ITEM}/AdditionalDocument/TypeCode",
    "/MetaData/ResponsibleCountryCode",
}


def _place(root: ElementTree.Element, pattern: str) -> tuple[ElementTree.Element, str]:
    """The element of a pattern, made where there is none, and the attribute that the pattern names."""
    path, _, attribute = pattern.partition("@")
    element, namespace = root, MD
    names = [name for name in path.removeprefix("/MetaData").split("/") if name]
    if not pattern.startswith("/"):
        names, namespace = ["Declaration", *names], DEC
    for name in names:
        found = element.find(f"{{{namespace}}}{name}")
        element = ElementTree.SubElement(element, f"{{{namespace}}}{name}") if found is None else found
    return element, attribute


def _put(root: ElementTree.Element, pattern: str) -> None:
    element, attribute = _place(root, pattern)
    if attribute:
        element.set(attribute, element.get(attribute) or VALUES.get(pattern, "x"))
    elif not (element.text or "").strip() or pattern in VALUES:
        element.text = VALUES.get(pattern, "1")


def _remove(root: ElementTree.Element, pattern: str) -> None:
    element = root.find("/".join(f"{{{DEC}}}{name}" for name in ("Declaration", *pattern.split("/")[:-1])))
    gone = None if element is None else element.find(f"{{{DEC}}}{pattern.rpartition('/')[2]}")
    if element is None or gone is None:
        raise AssertionError(f"the document has no {pattern}")
    element.remove(gone)


def document_with(pattern: str) -> bytes:
    """Our own document with the element or attribute of one row in it."""
    root = ElementTree.fromstring(LODGED)
    for other in WITHOUT.get(pattern, ()):
        _remove(root, other)
    for each in (*BESIDE.get(pattern, ()), pattern):
        _put(root, each)
    return ElementTree.tostring(root)


def leaf_of(row: Row) -> Leaf:
    pattern = row.pattern.replace("/…", "/Something/ID")
    imported = import_declaration(document_with(pattern), SIDES)
    found = [leaf for leaf in imported.leaves if leaf.pattern == pattern]
    assert found, [leaf.pattern for leaf in imported.leaves]
    return found[0]


@pytest.mark.parametrize("row", ROWS, ids=[row.pattern for row in ROWS])
def test_every_row_is_met_by_a_document_of_our_own_and_has_the_fate_that_it_names(row: Row) -> None:
    leaf = leaf_of(row)
    assert row_of(leaf.pattern) == row
    expected = Fate.NOWHERE if row.pattern in ONLY_ELSEWHERE else row.fate
    assert leaf.fate is expected, (leaf.fate, leaf.to, leaf.why)
    assert bool(leaf.to) == (expected is not Fate.NOWHERE)
    assert leaf.why or leaf.to

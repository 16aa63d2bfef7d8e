"""What becomes of each element and attribute of a WCO declaration: what the import follows and docs/wco.md shows.

A pattern is the names below `Declaration`, `@` before an attribute; one that begins with `/` counts from the root. A
pattern that ends in `/…` stands for all below it. What no row names is kept nowhere, and the report says so of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of a value. Every leaf element and attribute has exactly one."""

    FIELD = "field"  # stands in the payload
    SUBJECT = "subject"  # says which declaration the statement is about
    COMMERCIAL = "commercial"  # stands in the payload, where it may be committed to instead of open
    CHECK = "check"  # compared with something, and then not needed
    ESCORT = "escort"  # handed over for the plan of the escort, in the report
    NOWHERE = "nowhere"  # not kept; the report says why
    FAULT = "fault"  # should have been kept, and is not what it must be


@dataclass(frozen=True, slots=True)
class Row:
    """What is made of the values of one pattern: where they go, or why nowhere."""

    pattern: str
    fate: Fate
    to: str


_ITEM = "GoodsShipment/GovernmentAgencyGoodsItem"
_CONSIGNMENT = "GoodsShipment/Consignment"
_SEQUENCE = "counts from 1 (an omitted or other number is only noted)"
_ADDRESS = "the ledger names parties, not their addresses"
_NATIONAL = "a national code without meaning to the other side"

ROWS: tuple[Row, ...] = (
    # The wrapping.
    Row("/MetaData/WCODataModelVersionCode", Fate.CHECK, "must be 3.6"),
    Row("/MetaData/WCOTypeName", Fate.CHECK, "must be DEC"),
    Row(
        "/MetaData/ResponsibleCountryCode", Fate.CHECK, "country of the home authority, where no ExportCountry says it"
    ),
    Row("/MetaData/ResponsibleAgencyName", Fate.NOWHERE, "the home authority is named by who imports"),
    Row("/MetaData/AgencyAssignedCustomizationCode", Fate.NOWHERE, "the version of a national profile"),
    Row("/MetaData/AgencyAssignedCustomizationVersionCode", Fate.NOWHERE, "the version of a national profile"),
    Row("/MetaData@schemaLocation", Fate.NOWHERE, "a hint for validators; nothing is fetched"),
    Row("@schemaLocation", Fate.NOWHERE, "a hint for validators; nothing is fetched"),
    # What is asked for.
    Row("FunctionCode", Fate.CHECK, "9 lodges; 4 and 5 amend; 13 with type INV or COR asks to invalidate or amend"),
    Row("TypeCode", Fate.CHECK, "with function 13: INV or COR"),
    Row("FunctionalReferenceID", Fate.NOWHERE, "a trader's own reference: the UCR is what the ledger goes by"),
    Row("ID", Fate.CHECK, "the number under which the declaration is known; its UCR is given by who imports"),
    Row("AdditionalInformation/StatementDescription", Fate.FIELD, "reason, of type AES"),
    Row("AdditionalInformation/StatementTypeCode", Fate.CHECK, "AES: a reason in words"),
    Row("AdditionalInformation/StatementCode", Fate.NOWHERE, _NATIONAL),
    Row("AdditionalInformation/Pointer/…", Fate.NOWHERE, "what an amendment points at: the whole content is sent anew"),
    Row("Amendment/ChangeReasonCode", Fate.FIELD, "reason, where no words are given"),
    Row("Amendment/Pointer/…", Fate.NOWHERE, "what an amendment points at: the whole content is sent anew"),
    Row("AcceptanceDateTime/DateTimeString", Fate.NOWHERE, "the ledger dates each acceptance itself"),
    Row("AcceptanceDateTime/DateTimeString@formatCode", Fate.NOWHERE, "the ledger dates each acceptance itself"),
    Row("IssueDateTime/DateTimeString", Fate.NOWHERE, "the statement has the time at which it is signed"),
    Row("IssueDateTime/DateTimeString@formatCode", Fate.NOWHERE, "the statement has the time at which it is signed"),
    # Parties. The signer of the statement is the declarant.
    Row("Declarant/ID", Fate.NOWHERE, "the declarant is who signs the statement"),
    Row("Declarant/Name", Fate.NOWHERE, "the declarant is who signs the statement"),
    Row("Declarant/Address/…", Fate.NOWHERE, _ADDRESS),
    Row("Submitter/ID", Fate.NOWHERE, "the submitter is who signs the statement"),
    Row("Agent/ID", Fate.NOWHERE, "an agent signs as the declarant"),
    Row("Agent/FunctionCode", Fate.NOWHERE, "an agent signs as the declarant"),
    Row("Agent/Name", Fate.NOWHERE, "an agent signs as the declarant"),
    Row("Exporter/Name", Fate.COMMERCIAL, "content.consignor"),
    Row("Exporter/ID", Fate.COMMERCIAL, "content.consignor, where no name is given"),
    Row("Exporter/Address/…", Fate.NOWHERE, _ADDRESS),
    Row("GoodsShipment/Consignor/Name", Fate.COMMERCIAL, "content.consignor, where no Exporter is given"),
    Row("GoodsShipment/Consignor/ID", Fate.COMMERCIAL, "content.consignor, where no Exporter and no name is given"),
    Row("GoodsShipment/Consignor/Address/…", Fate.NOWHERE, _ADDRESS),
    Row("GoodsShipment/Consignee/Name", Fate.COMMERCIAL, "content.consignee"),
    Row("GoodsShipment/Consignee/ID", Fate.COMMERCIAL, "content.consignee, where no name is given"),
    Row("GoodsShipment/Consignee/Address/CountryCode", Fate.CHECK, "content.destination, where nothing else says it"),
    Row("GoodsShipment/Consignee/Address/…", Fate.NOWHERE, _ADDRESS),
    Row(
        f"{_ITEM}/Consignee/Name", Fate.COMMERCIAL, "content.consignee, of the first item, where the shipment has none"
    ),
    Row(f"{_ITEM}/Consignee/ID", Fate.COMMERCIAL, "content.consignee, of the first item, where nothing else says it"),
    Row(f"{_ITEM}/Consignee/Address/…", Fate.NOWHERE, _ADDRESS),
    Row("Consignment/Carrier/…", Fate.NOWHERE, "a carrier is an enrolled participant, named by who imports"),
    Row("AuthorisationHolder/…", Fate.NOWHERE, "authorisations are the home authority's to know"),
    # Which declaration.
    Row("GoodsShipment/UCR/TraderAssignedReferenceID", Fate.SUBJECT, "UCR"),
    Row(
        "GoodsShipment/PreviousDocument/ID", Fate.SUBJECT, "UCR, of type DCR (declaration unique consignment reference)"
    ),
    Row("GoodsShipment/PreviousDocument/TypeCode", Fate.CHECK, "DCR: the ID is the UCR"),
    Row("GoodsShipment/PreviousDocument/CategoryCode", Fate.NOWHERE, _NATIONAL),
    Row(
        "GoodsShipment/PreviousDocument/LineNumeric",
        Fate.NOWHERE,
        "the ledger refers to declarations, not to their lines",
    ),
    # Where from, where to.
    Row("GoodsShipment/ExportCountry/ID", Fate.FIELD, "content.origin"),
    Row("GoodsShipment/Destination/CountryCode", Fate.FIELD, "content.destination"),
    Row(f"{_ITEM}/Destination/CountryCode", Fate.FIELD, "content.destination; the same wherever it is said"),
    Row("ExitOffice/ID", Fate.ESCORT, "exit_office"),
    Row("SupervisingOffice/ID", Fate.NOWHERE, "the home authority knows its offices"),
    Row(f"{_CONSIGNMENT}/GoodsLocation/Name", Fate.ESCORT, "goods_location, a UN/LOCODE where it is one"),
    Row(f"{_CONSIGNMENT}/GoodsLocation/TypeCode", Fate.NOWHERE, _NATIONAL),
    Row(f"{_CONSIGNMENT}/GoodsLocation/Address/TypeCode", Fate.CHECK, "U: the place begins with a UN/LOCODE"),
    Row(f"{_CONSIGNMENT}/GoodsLocation/Address/CountryCode", Fate.CHECK, "of the goods' place"),
    Row("Consignment/Itinerary/RoutingCountryCode", Fate.ESCORT, "routing_countries"),
    Row("Consignment/Itinerary/SequenceNumeric", Fate.CHECK, _SEQUENCE),
    # Transport.
    Row(f"{_CONSIGNMENT}/ContainerCode", Fate.CHECK, "1: there are containers, 0: there are none"),
    Row(f"{_CONSIGNMENT}/TransportEquipment/ID", Fate.FIELD, "content.containers (ISO 6346)"),
    Row(f"{_CONSIGNMENT}/TransportEquipment/SequenceNumeric", Fate.CHECK, "counts from 1; 0: no container"),
    Row(f"{_CONSIGNMENT}/TransportEquipment/Seal/ID", Fate.ESCORT, "seals: they are put on by `escort.seal`"),
    Row(f"{_CONSIGNMENT}/TransportEquipment/Seal/SequenceNumeric", Fate.CHECK, _SEQUENCE),
    Row(f"{_CONSIGNMENT}/DepartureTransportMeans/ID", Fate.ESCORT, "departure_transport"),
    Row(f"{_CONSIGNMENT}/DepartureTransportMeans/IdentificationTypeCode", Fate.ESCORT, "departure_transport"),
    Row(f"{_CONSIGNMENT}/DepartureTransportMeans/ModeCode", Fate.ESCORT, "departure_transport"),
    Row("BorderTransportMeans/ID", Fate.ESCORT, "border_transport"),
    Row("BorderTransportMeans/IdentificationTypeCode", Fate.ESCORT, "border_transport"),
    Row("BorderTransportMeans/RegistrationNationalityCode", Fate.ESCORT, "border_transport"),
    Row("BorderTransportMeans/ModeCode", Fate.ESCORT, "border_transport"),
    Row("Consignment/Freight/PaymentMethodCode", Fate.NOWHERE, "how the freight is paid is not customs' to share"),
    # Goods.
    Row("GoodsItemQuantity", Fate.CHECK, "the number of goods items"),
    Row("TotalPackageQuantity", Fate.CHECK, "the sum of the packages"),
    Row(
        "TotalGrossMassMeasure", Fate.FIELD, "content.gross_mass_g; must be the sum of the items', where they have one"
    ),
    Row("TotalGrossMassMeasure@unitCode", Fate.CHECK, "the unit of the mass"),
    Row(f"{_ITEM}/SequenceNumeric", Fate.CHECK, _SEQUENCE),
    Row(f"{_ITEM}/Commodity/Description", Fate.COMMERCIAL, "content.goods.description"),
    Row(
        f"{_ITEM}/Commodity/Classification/ID",
        Fate.FIELD,
        "content.goods.hs: the first six digits, of type TSP or none",
    ),
    Row(f"{_ITEM}/Commodity/Classification/IdentificationTypeCode", Fate.CHECK, "TSP or none: a tariff code"),
    Row(f"{_ITEM}/Commodity/GoodsMeasure/NetNetWeightMeasure", Fate.FIELD, "content.goods.mass_g"),
    Row(f"{_ITEM}/Commodity/GoodsMeasure/NetNetWeightMeasure@unitCode", Fate.CHECK, "the unit of the mass"),
    Row(f"{_ITEM}/Commodity/GoodsMeasure/GrossMassMeasure", Fate.FIELD, "content.gross_mass_g, summed over the items"),
    Row(f"{_ITEM}/Commodity/GoodsMeasure/GrossMassMeasure@unitCode", Fate.CHECK, "the unit of the mass"),
    Row(f"{_ITEM}/Commodity/GoodsMeasure/TariffQuantity", Fate.NOWHERE, "supplementary units of a tariff"),
    Row(f"{_ITEM}/Commodity/GoodsMeasure/TariffQuantity@unitCode", Fate.NOWHERE, "supplementary units of a tariff"),
    Row(f"{_ITEM}/Packaging/QuantityQuantity", Fate.FIELD, "content.goods.packages, summed over the packagings"),
    Row(f"{_ITEM}/Packaging/SequenceNumeric", Fate.CHECK, _SEQUENCE),
    Row(f"{_ITEM}/Packaging/MarksNumbersID", Fate.NOWHERE, "the ledger counts packages; their marks are on the papers"),
    Row(f"{_ITEM}/Packaging/TypeCode", Fate.NOWHERE, "the ledger counts packages; their marks are on the papers"),
    Row(f"{_ITEM}/GovernmentProcedure/CurrentCode", Fate.NOWHERE, _NATIONAL),
    Row(f"{_ITEM}/GovernmentProcedure/PreviousCode", Fate.NOWHERE, _NATIONAL),
    Row(f"{_ITEM}/TransactionNatureCode", Fate.NOWHERE, "for statistics"),
    Row(f"{_ITEM}/AdditionalInformation/StatementCode", Fate.NOWHERE, _NATIONAL),
    Row(f"{_ITEM}/AdditionalInformation/StatementDescription", Fate.NOWHERE, _NATIONAL),
    Row(
        f"{_ITEM}/PreviousDocument/…", Fate.NOWHERE, "what happened to the goods before is the home authority's to know"
    ),
    # Values.
    Row("InvoiceAmount", Fate.COMMERCIAL, "content.value, in the smallest unit of the currency"),
    Row("InvoiceAmount@currencyID", Fate.COMMERCIAL, "content.value"),
    Row(f"{_ITEM}/Commodity/InvoiceLine/ItemChargeAmount", Fate.COMMERCIAL, "content.goods.value"),
    Row(f"{_ITEM}/Commodity/InvoiceLine/ItemChargeAmount@currencyID", Fate.COMMERCIAL, "content.goods.value"),
    Row(f"{_ITEM}/StatisticalValueAmount", Fate.COMMERCIAL, "content.goods.value, where no invoice line says it"),
    Row(f"{_ITEM}/StatisticalValueAmount@currencyID", Fate.COMMERCIAL, "content.goods.value"),
    # Documents.
    Row(
        f"{_ITEM}/AdditionalDocument/ID", Fate.FIELD, "content.documents.number, where the file is given, for its hash"
    ),
    Row(f"{_ITEM}/AdditionalDocument/CategoryCode", Fate.COMMERCIAL, "content.documents.kind, where the file is given"),
    Row(f"{_ITEM}/AdditionalDocument/TypeCode", Fate.COMMERCIAL, "content.documents.kind, where the file is given"),
    Row(f"{_ITEM}/AdditionalDocument/Name", Fate.NOWHERE, "the file itself says it"),
    Row(f"{_ITEM}/AdditionalDocument/LPCOExemptionCode", Fate.NOWHERE, _NATIONAL),
    Row(f"{_ITEM}/AdditionalDocument/WriteOff/…", Fate.NOWHERE, "written off where the document was issued"),
)
UNNAMED = "the ledger has no field for it"

_EXACT = {row.pattern: row for row in ROWS if not row.pattern.endswith("/…")}
_BELOW = {row.pattern.removesuffix("…"): row for row in ROWS if row.pattern.endswith("/…")}


def row_of(pattern: str) -> Row | None:
    """The row of a leaf: the exact one, else the nearest that stands for all below."""
    row = _EXACT.get(pattern)
    at = pattern.rfind("/")
    while row is None and at > 0:
        row = _BELOW.get(pattern[: at + 1])
        at = pattern.rfind("/", 0, at)
    return row

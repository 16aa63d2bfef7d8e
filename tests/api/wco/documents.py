"""A small WCO declaration of our own: grain from Kazakhstan to China, which tests take apart and put together wrong."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("COMITY_SHARED_DATA", Path(__file__).parents[3] / "../shared/data")) / "wco"
SAMPLES = sorted(DATA.glob("TT_EX*.xml"))
# One of the published samples closes a comment with `>`, and so is no XML. Mended as its author must have meant it.
UNCLOSED, CLOSED = b"on a C1.>", b"on a C1.-->"

ROOT = (
    '<md:MetaData xmlns:md="urn:wco:datamodel:WCO:DocumentMetaData-DMS:2" xmlns="urn:wco:datamodel:WCO:DEC-DMS:2"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
)
HEAD = (
    "<md:WCODataModelVersionCode>3.6</md:WCODataModelVersionCode><md:WCOTypeName>DEC</md:WCOTypeName>"
    "<md:ResponsibleCountryCode>KZ</md:ResponsibleCountryCode>"
)
SHIPMENT = """
  <GoodsShipment>
    <Consignee><Name>Tacheng
      Flour Mill</Name><Address><CityName>Tacheng</CityName><CountryCode>CN</CountryCode></Address></Consignee>
    <Consignment>
      <ContainerCode>1</ContainerCode>
      <TransportEquipment>
        <SequenceNumeric>1</SequenceNumeric><ID>CSQU3054383</ID>
        <Seal><SequenceNumeric>1</SequenceNumeric><ID>KZ0000123</ID></Seal>
      </TransportEquipment>
    </Consignment>
    <Destination><CountryCode>CN</CountryCode></Destination>
    <ExportCountry><ID>KZ</ID></ExportCountry>
    <GovernmentAgencyGoodsItem>
      <SequenceNumeric>1</SequenceNumeric>
      <StatisticalValueAmount currencyID="USD">7200.50</StatisticalValueAmount>
      <AdditionalDocument><CategoryCode>N</CategoryCode><ID>PH-77</ID><TypeCode>851</TypeCode></AdditionalDocument>
      <Commodity>
        <Description>Wheat, in bulk</Description>
        <Classification><ID>1001990000</ID><IdentificationTypeCode>TSP</IdentificationTypeCode></Classification>
        <GoodsMeasure>
          <GrossMassMeasure unitCode="TNE">24.6</GrossMassMeasure>
          <NetNetWeightMeasure unitCode="KGM">24500.125</NetNetWeightMeasure>
        </GoodsMeasure>
      </Commodity>
      <Packaging><SequenceNumeric>1</SequenceNumeric><QuantityQuantity>12</QuantityQuantity></Packaging>
    </GovernmentAgencyGoodsItem>
    <PreviousDocument><ID>KZ-AGRO-2026/77</ID><TypeCode>DCR</TypeCode></PreviousDocument>
  </GoodsShipment>
"""
LODGED = (
    f"{ROOT}{HEAD}<Declaration><FunctionCode>9</FunctionCode><TypeCode>EXA</TypeCode>"
    "<GoodsItemQuantity>1</GoodsItemQuantity>"
    f"<Exporter><Name>Astyk Agro</Name></Exporter>{SHIPMENT}</Declaration></md:MetaData>"
)


def lodged(*changes: tuple[str, str]) -> bytes:
    """The declaration with pieces of its text replaced, each of which must be in it."""
    text = LODGED
    for old, new in changes:
        if old not in text:
            raise ValueError(f"not in the document: {old}")
        text = text.replace(old, new)
    return text.encode()


def request(type_code: str, inside: str) -> bytes:
    return (
        f"{ROOT}{HEAD}<Declaration><FunctionCode>13</FunctionCode><ID>19GBCKKCQSXV2FGVA8</ID>"
        f"<TypeCode>{type_code}</TypeCode>{inside}</Declaration></md:MetaData>"
    ).encode()

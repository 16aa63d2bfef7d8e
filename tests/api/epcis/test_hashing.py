"""Event ids are those that the authors of the algorithm publish, and depend on nothing but the event."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.epcis.hashing import NotHashable, event_hash_id, pre_hash_string

EXAMPLE = {"example": "https://ns.example.com/epcis/"}

# The authors' examples, with the keys of GS1 already as Digital Links, and the ids that they publish for CBV 2.0.
PUBLISHED: list[tuple[dict[str, Any], str]] = [
    (
        {
            "type": "ObjectEvent",
            "eventTime": "2020-03-04T11:00:30+01:00",
            "eventTimeZoneOffset": "+01:00",
            "epcList": [
                "https://id.gs1.org/00/040123450000003338",
                "https://id.gs1.org/00/040123450000001112",
                "https://id.gs1.org/00/040123450000002225",
            ],
            "action": "OBSERVE",
            "bizStep": "departing",
            "readPoint": {"id": "https://id.gs1.org/414/4012345000115/254/987"},
            "example:myField1": {"example:mySubField1": "2", "example:mySubField2": "5"},
            "example:myField2": "0",
            "example:myField3": {"example:mySubField3": ["3", "1"]},
        },
        "6ae96341e0acc6d7a261364751f60e68278a81cdf51da0abb6b4e617014e39d7",
    ),
    (
        {
            "type": "ObjectEvent",
            "eventTime": "2020-04-01T15:00:00+01:00",
            "eventTimeZoneOffset": "+01:00",
            "epcList": ["https://id.gs1.org/01/04012345111118/21/9876"],
            "action": "OBSERVE",
            "bizStep": "inspecting",
            "readPoint": {"id": "https://id.gs1.org/414/4012345000054"},
            "sensorElementList": [
                {
                    "sensorMetadata": {
                        "deviceID": "https://id.gs1.org/8004/4000001111",
                        "deviceMetadata": "https://id.gs1.org/8004/4000001111",
                    },
                    "sensorReport": [
                        {"type": "Temperature", "value": 26, "sDev": Decimal("0.1"), "uom": "CEL"},
                        {"type": "AbsoluteHumidity", "value": Decimal("12.10"), "uom": "A93"},
                        {
                            "type": "Dimensionless",
                            "microorganism": "https://www.ncbi.nlm.nih.gov/taxonomy/1126011",
                            "value": Decimal("0.05"),
                            "uom": "C35",
                        },
                        {
                            "type": "Dimensionless",
                            "chemicalSubstance": "https://identifiers.org/inchikey:CZMRCDWAGMRECN-UGDNZRGBSA-N",
                            "value": Decimal("0.18"),
                            "uom": "C35",
                        },
                    ],
                }
            ],
        },
        "271565c346ae2fb28c4583c4dca4ab4772d465eb4e0b6e548d77d8b49377d95c",
    ),
]

EVENT: dict[str, Any] = {
    "type": "ObjectEvent",
    "eventTime": "2026-11-22T10:00:00.000Z",
    "eventTimeZoneOffset": "+00:00",
    "epcList": ["urn:comity:vehicle:fleet/BKT-0001", "urn:epc:id:bic:CSQU3054383"],
    "action": "OBSERVE",
    "bizStep": "accepting",
    "disposition": "in_transit",
    "readPoint": {"id": "geo:46.66,82.75"},
    "bizLocation": {"id": "urn:comity:place:CNBKT"},
    "bizTransactionList": [{"type": "urn:comity:btt:mrn", "bizTransaction": "urn:comity:mrn:19GBCKKCQSXV2FGVA8"}],
    "sourceList": [{"type": "possessing_party", "source": "urn:comity:participant:kz/carrier/steppe"}],
    "destinationList": [{"type": "possessing_party", "destination": "urn:comity:participant:cn/carrier/silk"}],
    "sensorElementList": [{"sensorReport": [{"type": "Mass", "value": 24_500_000, "uom": "GRM"}]}],
    "comity:entry": 12,
}
COMITY = {"comity": "urn:comity:epcis:"}


@pytest.mark.parametrize(("event", "digest"), PUBLISHED, ids=["extensions", "sensors"])
def test_the_published_examples_have_the_published_ids(event: dict[str, Any], digest: str) -> None:
    assert event_hash_id(event, EXAMPLE) == f"ni:///sha-256;{digest}?ver=CBV2.0"


def test_the_id_of_an_aggregation_is_that_of_the_authors_program() -> None:
    """Computed with epcis-event-hash-generator 1.9.3."""
    event = {
        "type": "AggregationEvent",
        "eventTime": "2026-11-22T10:00:00.000Z",
        "eventTimeZoneOffset": "+00:00",
        "parentID": "urn:comity:vehicle:fleet/BKT-0001",
        "childEPCs": ["urn:epc:id:bic:CSQU3054383", "urn:epc:id:bic:CBHU3202732"],
        "action": "ADD",
        "bizStep": "loading",
        "disposition": "in_progress",
        "comity:entry": 13,
        "comity:seals": ["a", "b"],
    }
    expected = "ni:///sha-256;2ab9139a2bb922a7f706a9b5a747f9e894f44b4887a2a87d119d299a20001660?ver=CBV2.0"
    assert event_hash_id(event, COMITY) == expected


def test_the_pre_hash_string_has_the_fields_in_the_canonical_order() -> None:
    assert pre_hash_string(EVENT, COMITY) == "".join(
        (
            "eventType=ObjectEvent",
            "eventTime=2026-11-22T10:00:00.000Z",
            "eventTimeZoneOffset=+00:00",
            "epcListepc=urn:comity:vehicle:fleet/BKT-0001epc=urn:epc:id:bic:CSQU3054383",
            "action=OBSERVE",
            "bizStep=https://ref.gs1.org/cbv/BizStep-accepting",
            "disposition=https://ref.gs1.org/cbv/Disp-in_transit",
            "readPointid=geo:46.66,82.75",
            "bizLocationid=urn:comity:place:CNBKT",
            "bizTransactionListtype=urn:comity:btt:mrnbizTransaction=urn:comity:mrn:19GBCKKCQSXV2FGVA8",
            "sourceListtype=https://ref.gs1.org/cbv/SDT-possessing_party",
            "source=urn:comity:participant:kz/carrier/steppe",
            "destinationListtype=https://ref.gs1.org/cbv/SDT-possessing_party",
            "destination=urn:comity:participant:cn/carrier/silk",
            "sensorElementsensorReporttype=https://ref.gs1.org/voc/Massvalue=24500000uom=GRM",
            "{urn:comity:epcis:}entry=12",
        )
    )


@given(st.permutations(list(EVENT)))
def test_the_order_of_fields_in_the_document_changes_nothing(names: list[str]) -> None:
    assert event_hash_id({name: EVENT[name] for name in names}, COMITY) == event_hash_id(EVENT, COMITY)


def test_what_the_repository_adds_and_another_notation_of_the_same_change_nothing() -> None:
    same = {
        **EVENT,
        "recordTime": "2026-11-22T11:00:00.000Z",
        "eventID": "urn:x",
        "eventTime": "2026-11-22T15:00:00+05:00",
        "bizStep": " cbv:BizStep-accepting",
        "disposition": "https://ref.gs1.org/cbv/Disp-in_transit",
        "epcList": list(reversed(EVENT["epcList"])),
    }
    assert event_hash_id(same, COMITY) == event_hash_id(EVENT, COMITY)


@pytest.mark.parametrize("name", [name for name in EVENT if name not in ("type",)])
def test_every_field_counts(name: str) -> None:
    without = {field: value for field, value in EVENT.items() if field != name}
    assert event_hash_id(without, COMITY) != event_hash_id(EVENT, COMITY)


@pytest.mark.parametrize(
    "change",
    [
        {"epcList": ["urn:epc:id:sgtin:0614141.107346.2017"]},
        {"other:field": 1},
        {"field": 1},
        {"eventTime": "2026-11-22T10:00:00"},
        {"eventTime": "2026-11-22T10:00:00.0001Z"},
        {"eventTime": "yesterday"},
        {"comity:entry": 1.5},
        {"readPoint": {"id": "geo:1,1", "comity:gate": 1}},
        {"sensorElementList": [{"sensorReport": [], "comity:x": 1}]},
        {"sensorElementList": [{"sensorReport": [{"type": "Mass", "comity:x": 1}]}]},
        {"bizTransactionList": [{"type": "po", "bizTransaction": "urn:x", "comity:x": 1}]},
    ],
    ids=str,
)
def test_what_the_rules_here_do_not_cover_is_refused_and_not_guessed(change: dict[str, Any]) -> None:
    with pytest.raises(NotHashable):
        event_hash_id({**EVENT, **change}, COMITY)

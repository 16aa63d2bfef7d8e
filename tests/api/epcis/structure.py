"""What EPCIS 2.0 asks of the documents that we write, in a schema of our own: where GS1's is not at hand, this is held.

Not a copy and not a replacement: it knows the four types of events that a movement is told in and the fields that they
have there, and asks at least as much of them as GS1's schema does. `test_document` holds the two against each other
wherever GS1's is there.
"""

from __future__ import annotations

from typing import Any

URI = {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$"}
TIME = {"type": "string", "pattern": r"^\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
OFFSET = {"type": "string", "pattern": r"^[+-](0\d|1[0-4]):[0-5]\d$"}
TEXT = {"type": "string", "minLength": 1}
# Of the Core Business Vocabulary 2.0: the words that a movement needs.
STEPS = [
    "consigning", "arriving", "departing",
    "destroying", "holding", "inspecting", "installing", "loading", "other", "removing",
    "shipping", "staging_outbound", "transporting", "unloading", "void_shipping", "accepting", "receiving", "killing",
    "storing", "sensor_reporting",
]  # fmt: skip
DISPOSITIONS = [
    "available", "conformant", "container_closed", "container_open", "damaged", "destroyed", "disputed", "expired",
    "in_progress", "in_transit", "inactive", "mismatch_quantity", "needs_replacement", "non_conformant", "reserved",
    "returned", "stolen", "unavailable", "unknown", "active", "completeness_inferred", "completeness_verified",
]  # fmt: skip


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "uniqueItems": True}


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_REPORT = _closed(
    {
        "type": TEXT,
        "value": {"type": "number"},
        "minValue": {"type": "number"},
        "maxValue": {"type": "number"},
        "stringValue": TEXT,
        "uriValue": URI,
        "uom": TEXT,
        "time": TIME,
        "dataProcessingMethod": URI,
        "component": TEXT,
    }
) | {"patternProperties": {"^comity:[A-Za-z0-9_]+$": {}}}
_METADATA = _closed({"time": TIME, "startTime": TIME, "endTime": TIME, "deviceID": URI, "rawData": URI}) | {
    "patternProperties": {"^comity:[A-Za-z0-9_]+$": {}}
}
_SENSOR = _closed({"sensorMetadata": _METADATA, "sensorReport": _list(_REPORT) | {"minItems": 1}}, "sensorReport")
_PLACE = _closed({"id": URI}, "id")
_COMMON: dict[str, Any] = {
    "eventID": URI,
    "eventTime": TIME,
    "recordTime": TIME,
    "eventTimeZoneOffset": OFFSET,
    "action": {"enum": ["ADD", "OBSERVE", "DELETE"]},
    "bizStep": {"enum": STEPS},
    "disposition": {"enum": DISPOSITIONS},
    "readPoint": _PLACE,
    "bizLocation": _PLACE,
    "bizTransactionList": _list(_closed({"type": TEXT, "bizTransaction": URI}, "bizTransaction")),
    "sourceList": _list(_closed({"type": TEXT, "source": URI}, "type", "source")),
    "destinationList": _list(_closed({"type": TEXT, "destination": URI}, "type", "destination")),
    "sensorElementList": _list(_SENSOR),
}
_NEEDED = ("type", "eventID", "eventTime", "eventTimeZoneOffset", "action")


def _event(name: str, own: dict[str, Any], *required: str) -> dict[str, Any]:
    event = _closed({"type": {"const": name}, **_COMMON, **own}, *_NEEDED, *required)
    # Fields of others have a prefix.
    return event | {"patternProperties": {"^comity:[A-Za-z0-9_]+$": {}}}


_CHILDREN = {"parentID": URI, "childEPCs": _list(URI)}
EVENTS = {
    "ObjectEvent": _event("ObjectEvent", {"epcList": _list(URI)}, "epcList"),
    "AggregationEvent": _event("AggregationEvent", _CHILDREN, "parentID", "childEPCs"),
    "AssociationEvent": _event("AssociationEvent", _CHILDREN, "parentID", "childEPCs"),
    "TransactionEvent": _event(
        "TransactionEvent", {"epcList": _list(URI), "parentID": URI}, "epcList", "bizTransactionList"
    ),
}
DOCUMENT = _closed(
    {
        "@context": {"type": "array", "minItems": 1},
        "id": URI,
        "type": {"const": "EPCISDocument"},
        "schemaVersion": {"type": "string", "pattern": r"^2(\.\d+)*$"},
        "creationDate": TIME,
        "epcisBody": _closed(
            {
                "eventList": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type"],
                        "properties": {"type": {"enum": list(EVENTS)}},
                        "allOf": [
                            {"if": {"properties": {"type": {"const": name}}}, "then": schema}
                            for name, schema in EVENTS.items()
                        ],
                    },
                }
            },
            "eventList",
        ),
    },
    "@context",
    "type",
    "schemaVersion",
    "creationDate",
    "epcisBody",
)

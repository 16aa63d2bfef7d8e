"""The hash id of an EPCIS event: Core Business Vocabulary 2.0, section 8.9.

A pre-hash string of the event's fields in one order, whatever order and notation the document has them in, then
`ni:///sha-256;<hex>?ver=CBV2.0` (RFC 6920). What a repository adds (`recordTime`, the id itself, an error declaration)
is no part of it.

Promises: the ids that the authors of that section publish with their examples for CBV 2.0: a type stands before its
value, and the list of sensor elements has no name of its own. Does not: convert keys of GS1 into canonical Digital Link
URIs, or place extensions within standard fields, as no event here has such: one that has is refused.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

Event = Mapping[str, Any]

_CBV = "https://ref.gs1.org/cbv/"
_GS1 = "https://ref.gs1.org/voc/"
_PREFIXES = {"gs1": _GS1, "cbv": _CBV}
# What a bare word of a field stands for.
_VOCABULARY = {
    "bizStep": f"{_CBV}BizStep-",
    "disposition": f"{_CBV}Disp-",
    "component": f"{_CBV}Comp-",
    "exception": _GS1,
}
_TYPES = {
    "bizTransactionList": f"{_CBV}BTT-",
    "sourceList": f"{_CBV}SDT-",
    "destinationList": f"{_CBV}SDT-",
    "sensorReport": _GS1,
}
# Keys of GS1, but for those that are to be spelled as they are: a container's code is of ISO 6346.
_GS1_KEYS = ("urn:epc:id:", "urn:epc:class:", "urn:epc:idpat:")
_CONTAINER = "urn:epc:id:bic:"

_QUANTITY = ("epcClass", "quantity", "uom")
_METADATA = [
    "time",
    "startTime",
    "endTime",
    "deviceID",
    "deviceMetadata",
    "rawData",
    "dataProcessingMethod",
    "bizRules",
]
_REPORT = [
    "type",
    "exception",
    "deviceID",
    "deviceMetadata",
    "rawData",
    "dataProcessingMethod",
    "time",
    "microorganism",
    "chemicalSubstance",
    "value",
    "component",
    "stringValue",
    "booleanValue",
    "hexBinaryValue",
    "uriValue",
    "minValue",
    "maxValue",
    "meanValue",
    "sDev",
    "percRank",
    "percValue",
    "uom",
    "coordinateReferenceSystem",
]
_TIMES = frozenset(("eventTime", "time", "startTime", "endTime"))
_LEFT_OUT = frozenset(("type", "eventID", "recordTime", "errorDeclaration", "@context"))
_PAIRS = {"bizTransactionList": "bizTransaction", "sourceList": "source", "destinationList": "destination"}
_EPCS = frozenset(("epcList", "inputEPCList", "childEPCs", "outputEPCList"))
_QUANTITIES = frozenset(("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"))
_PLACES = frozenset(("readPoint", "bizLocation"))
_SENSORS = "sensorElementList"

# The canonical order of an event's fields.
ORDER = [
    "eventTime",
    "eventTimeZoneOffset",
    "epcList",
    "parentID",
    "inputEPCList",
    "childEPCs",
    "quantityList",
    "childQuantityList",
    "inputQuantityList",
    "outputEPCList",
    "outputQuantityList",
    "action",
    "transformationID",
    "bizStep",
    "disposition",
    "readPoint",
    "bizLocation",
    "bizTransactionList",
    "sourceList",
    "destinationList",
    "sensorElementList",
]


class NotHashable(ValueError):
    """An event that is given no id here: which field, what was expected, what was got."""


def event_hash_id(event: Event, namespaces: Mapping[str, str]) -> str:
    """The id of an event whose extensions are under `namespaces`, from prefix to URI."""
    digest = hashlib.sha256(pre_hash_string(event, namespaces).encode()).hexdigest()
    return f"ni:///sha-256;{digest}?ver=CBV2.0"


def pre_hash_string(event: Event, namespaces: Mapping[str, str]) -> str:
    """The fields of an event in their one order and notation."""
    parts = [f"eventType={event['type']}"]
    parts += [_field(name, event[name]) for name in ORDER if name in event]
    others = {name: value for name, value in event.items() if name not in ORDER and name not in _LEFT_OUT}
    return "".join(parts) + "".join(_extensions(others, namespaces))


def _field(name: str, value: Any) -> str:
    if name in _EPCS:
        return _list(name, [f"epc={_value('epc', each)}" for each in value])
    if name in _QUANTITIES:
        return _list(name, [f"quantityElement{_members(_QUANTITY, each)}" for each in value])
    if name in _PLACES:
        return f"{name}{_members(('id',), value)}"
    if name in _PAIRS:
        return _list(name, [_members(("type", _PAIRS[name]), each, _TYPES[name]) for each in value])
    if name == _SENSORS:
        return "".join(sorted(f"sensorElement{_sensor(each)}" for each in value))
    return f"{name}={_value(name, value)}"


def _list(name: str, elements: Sequence[str]) -> str:
    return name + "".join(sorted(elements)) if elements else ""


def _sensor(element: Mapping[str, Any]) -> str:
    if not set(element) <= {"sensorMetadata", "sensorReport"}:
        raise NotHashable(f"sensor element: expected no extension, got {sorted(element)}")
    metadata = "sensorMetadata" + _members(_METADATA, element["sensorMetadata"]) if "sensorMetadata" in element else ""
    reports = [f"sensorReport{_members(_REPORT, each, _TYPES['sensorReport'])}" for each in element["sensorReport"]]
    return metadata + "".join(sorted(reports))


def _members(names: Sequence[str], members: Mapping[str, Any], types: str = "") -> str:
    unknown = set(members) - set(names)
    if unknown:
        raise NotHashable(f"expected members {', '.join(names)}, got {', '.join(sorted(unknown))}")
    return "".join(f"{name}={_value(name, members[name], types)}" for name in names if name in members)


def _extensions(members: Mapping[str, Any], namespaces: Mapping[str, str]) -> list[str]:
    """Fields of other namespaces: their names in full, sorted."""
    parts = []
    for name, value in members.items():
        prefix, colon, local = name.partition(":")
        if not colon or prefix not in namespaces:
            raise NotHashable(f"field {name!r}: expected one of EPCIS 2.0, or one with a prefix that the context has")
        key = f"{{{namespaces[prefix]}}}{local}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                parts.append(key + "".join(_extensions(each, namespaces)))
            else:
                parts.append(f"{key}={_value(local, each)}")
    return sorted(parts)


def _value(name: str, value: Any, types: str = "") -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return _number(value)
    if not isinstance(value, str):
        raise NotHashable(f"field {name!r}: expected a text, an integer or a decimal, got {type(value).__name__}")
    text = value.strip()
    if name in _TIMES:
        return _time(text)
    if text.startswith(_GS1_KEYS) and not text.startswith(_CONTAINER):
        raise NotHashable(f"field {name!r}: expected no key of GS1 but as a Digital Link, got {text!r:.80}")
    prefix, colon, rest = text.partition(":")
    if colon:
        return _PREFIXES[prefix] + rest if prefix in _PREFIXES else text
    return (types if name == "type" else _VOCABULARY.get(name, "")) + text


def _number(value: int | Decimal) -> str:
    """Without zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _time(text: str) -> str:
    """In UTC, to the millisecond."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise NotHashable(f"time: expected RFC 3339, got {text!r:.40}") from error
    if moment.tzinfo is None or moment.microsecond % 1000:
        raise NotHashable(f"time: expected an offset and at most milliseconds, got {text!r:.40}")
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

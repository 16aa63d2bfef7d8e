"""A movement as an EPCIS 2.0 document in JSON-LD: its entries, one or several events each.

Promises: the document validates against GS1's JSON Schema; each event has the hash id of the Core Business Vocabulary,
names its entry and statement in an extension, and says when it happened by its signer's clock (`eventTime`) and when
both sides put it on record (`recordTime`, the block time). A function of the log up to a size and of nothing else:
whoever has the log writes the same bytes.

Does not: tell of what is no entry. A deadline that passed is seen in the state and in what an officer decided then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from api.epcis import names
from api.epcis.crossing import Crossing
from api.epcis.hashing import ORDER, event_hash_id
from api.epcis.mapping import (
    AGGREGATION,
    ASSOCIATION,
    DELETE,
    ENTRY,
    EXIT,
    FIX,
    OBJECT,
    OBSERVE,
    OTHER,
    ROWS,
    TRANSACTION,
    Row,
)
from api.history import History, Recorded
from contracts.incidents import ABORTED, INCIDENTS, SAME

CONTEXT = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
SCHEMA_VERSION = "2.0"
MEDIA_TYPE = "application/vnd.gs1.epcis+json"
CONTRACT = "escort"
NAMESPACES = {names.PREFIX: names.NAMESPACE}
MILLIMETRE_A_SECOND = "C16"  # UN/ECE Recommendation 20
GRAM = "GRM"

Event = dict[str, Any]


def movement_events(mrn: str, history: History) -> list[Event]:
    """The events of a movement, in the order of the log."""
    crossing = Crossing(history)
    events: list[Event] = []
    for recorded in history.entries:
        contract, _, name = recorded.statement.kind.partition(".")
        if contract != CONTRACT:
            continue
        payload = cast(dict[str, Any], recorded.statement.payload)
        before = (crossing.custody, crossing.liable, crossing.vehicle, crossing.containers)
        seals = dict(crossing.seals)
        crossing.take(name, recorded, payload)
        teller = _Teller(mrn, crossing, recorded, payload)
        events += [_finished(event) for event in teller.events(name, before, seals)]
    return events


def movement_document(mrn: str, history: History) -> bytes:
    """The whole document, as it stands in a file or an answer."""
    document = {
        "@context": [CONTEXT, {names.PREFIX: names.NAMESPACE}],
        "id": names.urn("movement", f"{mrn}/{history.size}"),
        "type": "EPCISDocument",
        "schemaVersion": SCHEMA_VERSION,
        "creationDate": names.time(history.time_ms),
        "epcisBody": {"eventList": movement_events(mrn, history)},
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _finished(event: Event) -> Event:
    """With its id, and the fields in the order in which EPCIS lists them."""
    first = ("type", "eventID", "eventTime", "recordTime")
    whole = {**event, "eventID": event_hash_id(event, NAMESPACES)}
    ordered = [*first, *(name for name in ORDER if name not in first)]
    known = {name: whole[name] for name in ordered if name in whole}
    return {**known, **{name: value for name, value in whole.items() if name not in known}}


class _Teller:
    """Tells one entry."""

    def __init__(self, mrn: str, crossing: Crossing, recorded: Recorded, payload: Mapping[str, Any]) -> None:
        self._mrn = mrn
        self._crossing = crossing
        self._recorded = recorded
        self._payload = payload

    def events(
        self, name: str, before: tuple[str, str, str, tuple[str, ...]], seals: Mapping[str, str]
    ) -> Iterable[Event]:
        """`before` and `seals`: custody, liability, vehicle, containers and seals before this entry."""
        row = ROWS.get(name, OTHER)
        custody, liable, vehicle, containers = before
        step, disposition = self._step(name, row)
        event = self._common(row, step, disposition)
        if row.event_type == TRANSACTION:
            yield {**event, "epcList": self._things()}
        elif row.event_type == AGGREGATION:
            yield from self._aggregated(event, row, containers or self._crossing.containers)
        elif row.event_type == ASSOCIATION:
            yield from self._sealed(event, self._new_seals(), row.action)
        else:
            passed = custody and (custody, liable) != (self._crossing.custody, self._crossing.liable)
            yield {**event, "epcList": self._things(), **(self._possession(liable) if passed else {})}
        if name == "unload" and seals:
            yield from self._sealed(self._common(row, "removing", "container_open"), seals, DELETE)
        if name == "resume":
            yield from self._changed(row, vehicle, containers)

    def _changed(self, row: Row, vehicle: str, containers: tuple[str, ...]) -> Iterable[Event]:
        """Another vehicle or other containers, and new seals: told as what was taken off and what was put on."""
        crossing = self._crossing
        if (vehicle, containers) != (crossing.vehicle, crossing.containers):
            yield from self._aggregated(self._common(row, "unloading", "in_progress"), _OFF, containers, vehicle)
            yield from self._aggregated(self._common(row, "loading", "in_progress"), _ON, crossing.containers)
        if self._new_seals():
            yield from self._sealed(self._common(row, "installing", "container_closed"), self._new_seals(), _ON.action)

    def _step(self, name: str, row: Row) -> tuple[str, str]:
        """Of some events the payload says what it came to."""
        payload = self._payload
        if name == "unload" and not payload["as_declared"]:
            return row.step, "non_conformant"
        if name == "resolve_overdue" and payload["decision"] != "continue":
            return row.step, "unavailable"
        if name == "resolve" and payload["decision"] == "returned":
            return row.step, "returned"
        if name == "incident":
            consequence = INCIDENTS[payload["code"]].consequence if payload["code"] in INCIDENTS else ""
            if consequence == ABORTED:
                return "destroying", "destroyed"
            if consequence == SAME:
                return "sensor_reporting", "in_transit"
        return row.step, row.disposition

    def _common(self, row: Row, step: str, disposition: str) -> Event:
        statement, crossing, payload = self._recorded.statement, self._crossing, self._payload
        fix = payload.get("fix")
        batch = payload.get("batch")
        at_ms = fix["at_ms"] if fix else batch["until_ms"] if batch else statement.iat_s * 1000
        event: Event = {
            "type": row.event_type,
            "eventTime": names.time(at_ms),
            "recordTime": names.time(self._recorded.block_time_ms),
            "eventTimeZoneOffset": "+00:00",
            "action": row.action,
            "bizStep": step,
            "disposition": disposition,
            "bizTransactionList": self._transactions(),
        }
        where = self._where(row)
        event.update({"readPoint": {"id": where}} if where else {})
        reports = self._reports()
        if reports:
            event["sensorElementList"] = reports
        extension = {
            "entry": self._recorded.index,
            "statement": names.urn("statement", statement.id_hex),
            "kind": statement.kind,
            "issuer": names.urn("participant", statement.iss),
            "authority": crossing.authority_of(self._recorded),
            "custody": crossing.custody,
            "liable": names.urn("participant", crossing.liable) if crossing.liable else "",
            "incident": payload.get("code", ""),
            "reason": payload.get("reason", payload.get("note", "")),
            "decision": payload.get("decision", ""),
            "seals": [f"{seal['id']} {seal['state']}" for seal in payload.get("seals", ()) if "state" in seal],
            "findings": list(payload.get("findings", ())),
        }
        event.update({f"{names.PREFIX}:{name}": value for name, value in extension.items() if value not in ("", [])})
        return event

    def _transactions(self) -> list[dict[str, str]]:
        references = [("mrn", self._mrn), *(("ucr", ucr) for ucr in self._crossing.plan.get("declarations", ()))]
        return [
            {"type": names.urn("btt", kind), "bizTransaction": names.urn(kind, number)} for kind, number in references
        ]

    def _where(self, row: Row) -> str:
        fix = self._payload.get("fix")
        if fix is not None:
            return names.position(fix["latitude_udeg"], fix["longitude_udeg"])
        post = {EXIT: "exit_post", ENTRY: "entry_post", FIX: ""}.get(row.where, "")
        text = self._crossing.plan.get(post, "") if post else ""
        return names.place(text) if text else ""

    def _reports(self) -> list[dict[str, Any]]:
        """What was measured, and by which device: mass, speed, or the hash of a batch of fixes."""
        payload = self._payload
        device = {"deviceID": names.urn("participant", self._recorded.statement.iss)}
        reports: list[dict[str, Any]] = []
        if "mass_g" in payload:
            reports.append({"type": "Mass", "value": payload["mass_g"], "uom": GRAM})
        fix, batch = payload.get("fix"), payload.get("batch")
        if fix is not None and "speed_mm_s" in fix:
            reports.append({"type": "Speed", "value": fix["speed_mm_s"], "uom": MILLIMETRE_A_SECOND})
        if batch is not None:
            reports.append({"type": "Count", "value": batch["fixes"]})
            device["startTime"], device["endTime"] = names.time(batch["from_ms"]), names.time(batch["until_ms"])
            device["rawData"] = names.urn("telemetry", batch["sha256"].hex())
        return [{"sensorMetadata": device, "sensorReport": reports}] if reports else []

    def _things(self) -> list[str]:
        vehicle = [names.urn("vehicle", self._crossing.vehicle)] if self._crossing.vehicle else []
        return vehicle + [names.container(number) for number in self._crossing.containers]

    def _aggregated(self, event: Event, row: Row, containers: tuple[str, ...], vehicle: str = "") -> Iterable[Event]:
        """Containers on a vehicle. Goods in bulk have none: then the vehicle itself is observed."""
        parent = names.urn("vehicle", vehicle or self._crossing.vehicle)
        if containers:
            children = [names.container(number) for number in containers]
            yield {**event, "type": AGGREGATION, "action": row.action, "parentID": parent, "childEPCs": children}
        else:
            yield {**event, "type": OBJECT, "action": OBSERVE, "epcList": [parent]}

    def _new_seals(self) -> dict[str, str]:
        new = (seal for seal in self._payload.get("seals", ()) if "class" in seal)
        return {seal["id"]: seal.get("container", "") for seal in new}

    def _sealed(self, event: Event, seals: Mapping[str, str], action: str) -> Iterable[Event]:
        """The seals of each container, and those of the vehicle's own hold."""
        for closed in sorted(set(seals.values())):
            parent = names.container(closed) if closed else names.urn("vehicle", self._crossing.vehicle)
            children = [names.urn("seal", number) for number, container in sorted(seals.items()) if container == closed]
            yield {**event, "type": ASSOCIATION, "action": action, "parentID": parent, "childEPCs": children}

    def _possession(self, liable: str) -> Event:
        parties = (("sourceList", "source", liable), ("destinationList", "destination", self._crossing.liable))
        return {
            name: [{"type": "possessing_party", key: names.urn("participant", party)}]
            for name, key, party in parties
            if party
        }


_ON, _OFF = ROWS["load"], ROWS["unload"]

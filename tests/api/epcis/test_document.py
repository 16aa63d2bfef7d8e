"""A movement's entries as EPCIS events: all of them, the same for everybody, and valid by GS1's schema."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.epcis import mapping
from api.epcis.crossing import Crossing
from api.epcis.document import NAMESPACES, movement_document, movement_events
from api.epcis.hashing import event_hash_id
from contracts.catalogue import contract_of
from contracts.outcome import Outcome
from tests.api import tales
from tests.api.epcis.structure import DOCUMENT
from tests.contracts import corridor as c
from tests.contracts import stages

SCHEMA = (
    Path(os.environ.get("COMITY_SHARED_DATA", Path(__file__).parents[3] / "../shared/data"))
    / "epcis/EPCIS-JSON-Schema.json"
)
OUR_SCHEMA = jsonschema.Draft202012Validator(DOCUMENT)
Steps = list[tuple[str, str, dict[str, Any]]]
HAPPY = [(f"escort.{event}", iss, payload) for _, event, iss, payload in c.ESCORT_STEPS]


def happy(last: str) -> Steps:
    """The happy path up to the last event of that name."""
    at = max(number for number, (kind, _, _) in enumerate(HAPPY) if kind == f"escort.{last}")
    return HAPPY[: at + 1]


def steps(*more: tuple[str, str, dict[str, Any]]) -> Steps:
    return [(f"escort.{event}", iss, payload) for event, iss, payload in more]


REASON = {"reason": "because"}
KZ, CN = "kz-kgd/officer", "cn-gacc/officer"
OFFERED = happy("offer")
TALES: dict[str, Steps] = {
    "as planned": HAPPY,
    "given up": happy("seal") + steps(("refuse_start", KZ, REASON)),
    "disputed and handed over": OFFERED
    + steps(
        ("accept_with_differences", "cn/terminal/baketu", {"seals": c.readings(), "mass_g": stages.HEAVY}),
        ("resolve", KZ, {"decision": "returned", **REASON}),
        ("resolve", CN, {"decision": "handed_over", **REASON}),
        ("resolve", KZ, {"decision": "handed_over", **REASON}),
        ("position", "kz/truck/t-001", {"fix": c.FIX}),
    ),
    "refused, turned back and discharged": OFFERED
    + steps(
        ("refuse_handover", "cn/terminal/baketu", REASON),
        ("turn_back", KZ, REASON),
        ("discharge", KZ, REASON),
    ),
    "goods transferred on the way": happy("start")
    + steps(
        ("incident", "kz/truck/t-001", {"code": "goods_transferred", "vehicle": "KZ/123ABC02", "fix": c.FIX}),
        (
            "resume",
            KZ,
            {
                "seals": [{"id": "HS00000077", "class": "H", "container": c.BOX}],
                "vehicle": "KZ/123ABC02",
                "truck": "kz/truck/t-002",
                "mass_g": c.MASS,
                "containers": [c.BOX],
            },
        ),
        ("position", "kz/truck/t-002", {"fix": c.FIX}),
    ),
    "an accident, and on with the vehicle of the report": happy("start")
    + steps(
        ("incident", "kz/truck/t-001", {"code": "accident", "vehicle": "KZ/123ABC02"}),
        ("resume", KZ, {"seals": [{"id": "HS00000078", "class": "H"}]}),
        ("position", "kz/truck/t-001", {"fix": c.FIX}),
    ),
    "an accident, and on with the same vehicle by the word of the officer": happy("start")
    + steps(
        ("incident", "kz/truck/t-001", {"code": "accident", "vehicle": "KZ/123ABC02"}),
        ("resume", KZ, {"vehicle": c.plan()["vehicle"]}),
    ),
    "found broken, sealed anew and handed over": OFFERED
    + steps(
        (
            "accept_with_differences",
            "cn/terminal/baketu",
            {"seals": [{**c.readings()[0], "state": "broken"}, *c.readings()[1:]], "mass_g": c.MASS},
        ),
        ("resolve", KZ, {"decision": "handed_over", "seals": [{"id": "HS00000079", "class": "H"}], **REASON}),
        ("resolve", CN, {"decision": "handed_over", **REASON}),
        ("arrive", "cn/terminal/baketu", {}),
    ),
    "a seal broken, and aborted": happy("start")
    + steps(
        ("incident", "kz/eseal/e-1", {"code": "01", "seal": c.ESEAL_ID}),
        ("abort", KZ, REASON),
        ("recover", KZ, REASON),
        ("discharge", KZ, REASON),
    ),
    "a low battery": happy("start") + steps(("incident", "kz/eseal/e-1", {"code": "05"})),
    "lost": happy("start") + steps(("incident", KZ, {"code": "goods_destroyed"})),
    "not as declared": happy("arrive")
    + steps(
        ("unload", CN, {"as_declared": False, "seals": c.readings(), "note": "short"}),
        ("discrepancy", CN, {"findings": ["two bags missing"]}),
        ("recover", CN, REASON),
        ("discharge", CN, REASON),
    ),
}


def events_of(name: str) -> list[dict[str, Any]]:
    return movement_events(c.MRN, tales.history(TALES[name], c.MRN))


def told(name: str) -> list[tuple[str, str, str, str]]:
    return [(e["comity:kind"], e["type"], e["action"], f"{e['bizStep']} {e['disposition']}") for e in events_of(name)]


def test_a_movement_as_planned_is_told_from_plan_to_unloading() -> None:
    assert told("as planned") == [
        ("escort.plan", "TransactionEvent", "ADD", "staging_outbound reserved"),
        ("escort.load", "AggregationEvent", "ADD", "loading in_progress"),
        ("escort.seal", "AssociationEvent", "ADD", "installing container_closed"),
        ("escort.start", "ObjectEvent", "OBSERVE", "departing in_transit"),
        ("escort.position", "ObjectEvent", "OBSERVE", "transporting in_transit"),
        ("escort.reach_border", "ObjectEvent", "OBSERVE", "arriving in_transit"),
        ("escort.reach_border", "ObjectEvent", "OBSERVE", "arriving in_transit"),
        ("escort.offer", "ObjectEvent", "OBSERVE", "consigning in_transit"),
        ("escort.accept", "ObjectEvent", "OBSERVE", "accepting in_transit"),
        ("escort.position", "ObjectEvent", "OBSERVE", "transporting in_transit"),
        ("escort.arrive", "ObjectEvent", "OBSERVE", "arriving in_progress"),
        ("escort.unload", "AggregationEvent", "DELETE", "unloading available"),
        ("escort.unload", "AssociationEvent", "DELETE", "removing container_open"),
    ]


def test_the_document_of_a_movement_is_the_committed_one() -> None:
    got = movement_document(c.MRN, tales.history(TALES["as planned"], c.MRN))
    assert got == tales.golden(Path(__file__).with_name("as_planned.jsonld"), got)


def test_possession_passes_once_from_carrier_to_receiver() -> None:
    for name in ("as planned", "disputed and handed over"):
        passing = [event for event in events_of(name) if "sourceList" in event]
        assert [(e["sourceList"][0]["source"], e["destinationList"][0]["destination"]) for e in passing] == [
            ("urn:comity:participant:kz/carrier/steppe", "urn:comity:participant:cn/carrier/silk")
        ]
        custody = list(dict.fromkeys(event["comity:custody"] for event in events_of(name)))
        assert custody == ["kz-kgd", "cn-gacc"]


def test_each_event_names_its_entry_statement_times_and_side() -> None:
    history = tales.history(TALES["as planned"], c.MRN)
    by_entry = {recorded.index: recorded for recorded in history.entries}
    for event in movement_events(c.MRN, history):
        recorded = by_entry[event["comity:entry"]]
        assert event["comity:statement"] == f"urn:comity:statement:{recorded.statement.id_hex}"
        assert event["comity:issuer"] == f"urn:comity:participant:{recorded.statement.iss}"
        assert event["comity:authority"] == ("cn-gacc" if recorded.statement.iss.startswith("cn") else "kz-kgd")
        assert event["eventTime"] != event["recordTime"]


def test_places_are_where_the_statement_says_and_fixes_are_exact() -> None:
    places = {(e["comity:kind"], e["readPoint"]["id"]) for e in events_of("as planned") if "readPoint" in e}
    assert places == {
        ("escort.position", "geo:46.66,82.75"),
        ("escort.reach_border", "geo:46.66,82.75"),
        ("escort.offer", "geo:46.66,82.75"),
        ("escort.accept", "urn:comity:place:CNBKT"),
    }


def test_masses_speeds_and_batches_are_reported_by_their_device() -> None:
    reports = [
        (event["comity:kind"], report["type"], report["value"], report.get("uom"))
        for event in events_of("as planned")
        for element in event.get("sensorElementList", ())
        for report in element["sensorReport"]
    ]
    assert ("escort.offer", "Mass", c.MASS, "GRM") in reports
    assert ("escort.accept", "Mass", c.MASS + 10_000, "GRM") in reports
    assert ("escort.position", "Speed", 12_000, "C16") in reports
    assert ("escort.position", "Count", 60, None) in reports


def test_a_changed_vehicle_is_told_as_unloading_loading_and_sealing() -> None:
    assert told("goods transferred on the way")[-5:-1] == [
        ("escort.resume", "ObjectEvent", "OBSERVE", "departing in_transit"),
        ("escort.resume", "AggregationEvent", "DELETE", "unloading in_progress"),
        ("escort.resume", "AggregationEvent", "ADD", "loading in_progress"),
        ("escort.resume", "AssociationEvent", "ADD", "installing container_closed"),
    ]
    parents = [e["parentID"] for e in events_of("goods transferred on the way")[-4:-2]]
    assert parents == ["urn:comity:vehicle:fleet/BKT-0001", "urn:comity:vehicle:KZ/123ABC02"]


@pytest.mark.parametrize("name", TALES)
def test_nothing_is_left_out_and_every_event_has_an_id_of_its_own(name: str) -> None:
    events = events_of(name)
    history = tales.history(TALES[name], c.MRN)
    assert list(dict.fromkeys(e["comity:entry"] for e in events)) == [recorded.index for recorded in history.entries]
    assert len({event["eventID"] for event in events}) == len(events)
    assert all(event["eventID"] == event_hash_id(event, NAMESPACES) for event in events)


@pytest.mark.parametrize("name", TALES)
def test_a_longer_log_has_the_same_events_and_then_more(name: str) -> None:
    whole = tales.history(TALES[name], c.MRN)
    events = movement_events(c.MRN, whole)
    for length in range(len(whole.entries) + 1):
        shorter = tales.history(TALES[name][:length], c.MRN)
        assert movement_events(c.MRN, shorter) == [e for e in events if e["comity:entry"] < 11 + 2 * length]


@pytest.mark.parametrize("name", TALES)
def test_what_is_followed_is_what_the_contract_says(name: str) -> None:
    """The contract executes the same statements: custody, liability, vehicle, containers and seals must be its."""
    ledger = c.to_declaration(c.Ledger.of_corridor(), "recognise")
    history = tales.history(TALES[name], c.MRN)
    crossing = Crossing(history)
    for (kind, iss, payload), recorded in zip(TALES[name], history.entries, strict=True):
        assert ledger.send(kind, iss, c.MRN, payload) is Outcome.ACCEPTED, (kind, ledger.detail)
        crossing.take(kind.partition(".")[2], recorded, payload)
        record = ledger.movement(c.MRN)
        assert (crossing.custody, crossing.liable) == (record.custody.authority, record.custody.liable)
        assert crossing.vehicle == record.vehicle
        assert sorted(crossing.seals) == sorted(record.seals_in_force())


def test_every_event_of_the_contract_has_a_row_and_no_row_is_of_another() -> None:
    contract = contract_of("escort")
    assert contract is not None
    events = {event for machine in contract.machines for _, event in machine.transitions}
    assert set(mapping.ROWS) == events


def test_an_event_that_no_row_names_is_still_told() -> None:
    history = tales.history([*HAPPY[:1], ("escort.weigh_again", "kz-kgd/officer", {})], c.MRN)
    assert movement_events(c.MRN, history)[-1]["bizStep"] == "other"


def test_what_is_not_about_an_escort_is_passed_over_and_an_empty_history_is_an_empty_list() -> None:
    assert movement_events(c.MRN, tales.history(tales.DECLARATION, c.MRN)) == []
    assert json.loads(movement_document(c.MRN, tales.history([], c.MRN)))["epcisBody"] == {"eventList": []}


@pytest.mark.parametrize("name", TALES)
def test_documents_are_what_epcis_asks_for(name: str) -> None:
    document = json.loads(movement_document(c.MRN, tales.history(TALES[name], c.MRN)))
    assert [error.message for error in OUR_SCHEMA.iter_errors(document)] == []


def _event_of(document: Any, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in document["epcisBody"]["eventList"] if e["type"] == kind)
    return found


# What could go wrong with a document, and would be refused by whoever reads it. Each is done to a good one.
FAULTS: dict[str, Callable[[Any], object]] = {
    "no context": lambda d: d.pop("@context"),
    "no version": lambda d: d.pop("schemaVersion"),
    "a version that is none": lambda d: d.update(schemaVersion="two"),
    "no time": lambda d: d.pop("creationDate"),
    "a time without its zone": lambda d: d.update(creationDate="2026-09-21T14:25:21"),
    "another type": lambda d: d.update(type="EPCISQueryDocument"),
    "no events": lambda d: d["epcisBody"].pop("eventList"),
    "a field that nobody defined": lambda d: _event_of(d, "ObjectEvent").update(colour="blue"),
    "an event of no type": lambda d: _event_of(d, "ObjectEvent").pop("type"),
    "an event of an unknown type": lambda d: _event_of(d, "ObjectEvent").update(type="SmellEvent"),
    "an event without a time": lambda d: _event_of(d, "ObjectEvent").pop("eventTime"),
    "an event without its offset": lambda d: _event_of(d, "ObjectEvent").pop("eventTimeZoneOffset"),
    "an offset that is none": lambda d: _event_of(d, "ObjectEvent").update(eventTimeZoneOffset="UTC"),
    "no action": lambda d: _event_of(d, "ObjectEvent").pop("action"),
    "an action that is none": lambda d: _event_of(d, "ObjectEvent").update(action="LOOK"),
    "a step of no vocabulary": lambda d: _event_of(d, "ObjectEvent").update(bizStep="loitering"),
    "a disposition of no vocabulary": lambda d: _event_of(d, "ObjectEvent").update(disposition="fine"),
    "things that are no URIs": lambda d: _event_of(d, "ObjectEvent").update(epcList=["the blue truck"]),
    "things that are no list": lambda d: _event_of(d, "ObjectEvent").update(epcList="urn:a:b"),
    "children of nobody": lambda d: _event_of(d, "AggregationEvent").pop("parentID"),
    "a transaction of nothing": lambda d: _event_of(d, "TransactionEvent").pop("bizTransactionList"),
    "a place without a name": lambda d: _event_of(d, "ObjectEvent").update(readPoint={}),
    "a sensor that reports nothing": lambda d: _event_of(d, "ObjectEvent").update(sensorElementList=[{}]),
}


def _with_fault(fault: str) -> Any:
    document = json.loads(movement_document(c.MRN, tales.history(HAPPY, c.MRN)))
    FAULTS[fault](document)
    return document


@pytest.mark.parametrize("fault", FAULTS)
def test_our_own_schema_meets_each_fault(fault: str) -> None:
    assert not OUR_SCHEMA.is_valid(_with_fault(fault))


# GS1's schema, as a JSON Schema validator reads it, lets these pass: it leaves words of a vocabulary and fields without
# a prefix to others, and nobody checks the format of a time or of a URI for it.
ONLY_OURS = {
    "a time without its zone",
    "a field that nobody defined",
    "an event of an unknown type",
    "a step of no vocabulary",
    "a disposition of no vocabulary",
    "things that are no URIs",
    "children of nobody",
}


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"no schema {SCHEMA}")
@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_schema_of_gs1_refuses_ours_refuses_too(fault: str) -> None:
    assert _gs1().is_valid(_with_fault(fault)) == (fault in ONLY_OURS)


def _gs1() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(
        json.loads(SCHEMA.read_text()), format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    )


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"no schema {SCHEMA}")
@pytest.mark.parametrize("name", TALES)
def test_documents_are_valid_by_the_schema_of_gs1(name: str) -> None:
    validator = jsonschema.Draft7Validator(
        json.loads(SCHEMA.read_text()), format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    )
    document = json.loads(movement_document(c.MRN, tales.history(TALES[name], c.MRN)))
    assert [error.message for error in validator.iter_errors(document)] == []

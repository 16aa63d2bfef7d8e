"""Which EPCIS event each event of an escort is: the table that the export follows and docs/epcis.md shows.

Business steps and dispositions are those of the Core Business Vocabulary 2.0. An event that no row names is observed
under `other`, so that nothing of a movement is left out when its contract grows.
"""

from __future__ import annotations

from dataclasses import dataclass

OBSERVE, ADD, DELETE = "OBSERVE", "ADD", "DELETE"
OBJECT, AGGREGATION, ASSOCIATION, TRANSACTION = (
    "ObjectEvent",
    "AggregationEvent",
    "AssociationEvent",
    "TransactionEvent",
)
# Where: the post that the movement leaves by, the one it enters by, a fix in the statement, or not said.
EXIT, ENTRY, FIX, NOWHERE = "exit post", "entry post", "the fix, if there is one", ""


@dataclass(frozen=True, slots=True)
class Row:
    """How one event of the contract is told."""

    event_type: str
    action: str
    step: str
    disposition: str
    where: str = NOWHERE
    note: str = ""


ROWS: dict[str, Row] = {
    "plan": Row(
        TRANSACTION, ADD, "staging_outbound", "reserved", NOWHERE, "the movement begins: MRN, UCRs, containers"
    ),
    "load": Row(AGGREGATION, ADD, "loading", "in_progress", NOWHERE, "containers onto the vehicle; its mass"),
    "seal": Row(
        ASSOCIATION, ADD, "installing", "container_closed", NOWHERE, "one for each container or hold: its seals"
    ),
    "start": Row(OBJECT, OBSERVE, "departing", "in_transit"),
    "refuse_start": Row(TRANSACTION, DELETE, "void_shipping", "available", NOWHERE, "the plan is given up"),
    "position": Row(OBJECT, OBSERVE, "transporting", "in_transit", FIX, "speed; of a batch its hash and times"),
    "reach_border": Row(OBJECT, OBSERVE, "arriving", "in_transit", EXIT, "one of the truck, one of the gate"),
    "offer": Row(OBJECT, OBSERVE, "consigning", "in_transit", EXIT, "mass and seals as the departure side read them"),
    "accept": Row(OBJECT, OBSERVE, "accepting", "in_transit", ENTRY, "possession passes; mass and seals as read"),
    "accept_with_differences": Row(OBJECT, OBSERVE, "inspecting", "non_conformant", ENTRY, "mass and seals as read"),
    "refuse_handover": Row(OBJECT, OBSERVE, "inspecting", "non_conformant", ENTRY),
    "turn_back": Row(OBJECT, OBSERVE, "void_shipping", "returned", EXIT),
    "resolve": Row(OBJECT, OBSERVE, "inspecting", "in_progress", NOWHERE, "possession passes when both decided so"),
    "arrive": Row(OBJECT, OBSERVE, "arriving", "in_progress", FIX),
    "unload": Row(AGGREGATION, DELETE, "unloading", "available", NOWHERE, "non_conformant unless as declared"),
    "discrepancy": Row(OBJECT, OBSERVE, "inspecting", "non_conformant"),
    "recover": Row(OBJECT, OBSERVE, "holding", "unavailable"),
    "discharge": Row(TRANSACTION, DELETE, "other", "available", NOWHERE, "the guarantee is free"),
    "incident": Row(
        OBJECT, OBSERVE, "holding", "in_progress", FIX, "sensor_reporting if it goes on, destroyed if lost"
    ),
    "resume": Row(OBJECT, OBSERVE, "departing", "in_transit", NOWHERE, "and the seals and containers that changed"),
    "abort": Row(OBJECT, OBSERVE, "void_shipping", "unavailable"),
    "resolve_overdue": Row(OBJECT, OBSERVE, "inspecting", "in_transit", NOWHERE, "unavailable unless it goes on"),
}
OTHER = Row(OBJECT, OBSERVE, "other", "in_progress")

"""Records as plain data for people and programs outside: what the gateway shows.

Only what JSON can hold: texts, integers, booleans, null, lists and maps with text keys; bytes in lower-case hex; times
in Unix milliseconds. `pending` says in plain words what the record waits for, and from whom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts import declaration_record as d
from contracts import movement as e
from contracts.declaration_record import Content, Declaration
from contracts.movement import Movement, Reading

if TYPE_CHECKING:
    from contracts.registry import Participant

View = dict[str, Any]


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _pending(event: str, by: str, role: str) -> View:
    return {"event": event, "by": by, "role": role}


def participant_view(record: Participant) -> View:
    return {
        "id": record.id,
        "authority": record.authority,
        "country": record.country,
        "roles": list(record.roles),
        "description": record.description,
        "enrolled": {"by": record.enrolled_by, "time_ms": record.enrolled_ms, "statement": _hex(record.statement)},
        "keys": [
            {
                "kid": key.kid.hex(),
                "alg": key.alg,
                "cose_key": key.cose_key.hex(),
                "valid_from_ms": key.valid_from_ms,
                "valid_until_ms": key.valid_until_ms,
                "state": key.state,
                "since_ms": key.since_ms,
                "by": key.by,
                "statement": _hex(key.statement),
            }
            for key in record.keys
        ],
        "flagged": record.flagged,
    }


def _value_view(value: tuple[int, str] | None) -> View | None:
    return None if value is None else {"amount": value[0], "currency": value[1]}


def _content_view(content: Content) -> View:
    """A field that is committed to is null here: `commitments` has its hash, the envelope what opens it."""
    return {
        "consignor": content.consignor or None,
        "consignee": content.consignee or None,
        "origin": content.origin,
        "destination": content.destination,
        "gross_mass_g": content.gross_mass_g,
        "goods": [
            {
                "hs": goods.hs,
                "description": goods.description or None,
                "mass_g": goods.mass_g,
                "packages": goods.packages,
                "value": _value_view(goods.value),
            }
            for goods in content.goods
        ],
        "containers": list(content.containers),
        "documents": [
            {"kind": document.kind, "number": document.number, "sha256": document.sha256.hex()}
            for document in content.documents
        ],
        "value": _value_view(content.value),
        "commitments": {name: digest.hex() for name, digest in content.commitments},
        "envelope_sha256": _hex(content.envelope),
    }


def _declaration_pending(record: Declaration) -> list[View]:
    next_of_status = {
        d.LODGED: "register",
        d.REGISTERED: "accept",
        d.ACCEPTED: "release",
        d.UNDER_CONTROL: "control_result",
        d.RELEASED: "clear",
    }
    event = next_of_status.get(record.status)
    if event is None:
        return []
    pending = [_pending(event, record.home, "customs")]
    if record.amendment is not None:
        pending.append(_pending("accept_amendment or refuse_amendment", record.home, "customs"))
    if record.invalidation_reason:
        pending.append(_pending("invalidate or refuse_invalidation", record.home, "customs"))
    if record.status in (d.ACCEPTED, d.UNDER_CONTROL, d.RELEASED):
        if record.recognition.state == d.NONE:
            pending.append(_pending("recognise or refuse_recognition", record.partner, "customs"))
        elif record.recognition.state == d.SUSPENDED:
            pending.append(_pending("resume_recognition or withdraw_recognition", record.partner, "customs"))
    return pending


def declaration_view(record: Declaration) -> View:
    recognition = record.recognition
    agreement, article, effective = recognition.legal_basis
    return {
        "ucr": record.ucr,
        "status": record.status,
        "version": record.version,
        "home": record.home,
        "partner": record.partner,
        "declarant": record.declarant,
        "carrier": record.carrier,
        "numbers": {record.home_country: record.number or None, record.partner_country: recognition.number or None},
        "content": _content_view(record.content),
        "lodged": {"time_ms": record.lodged_ms, "statement": record.lodged_statement.hex()},
        "since": {"time_ms": record.since_ms, "statement": record.since_statement.hex(), "by": record.by},
        "amendment": None
        if record.amendment is None
        else {"reason": record.amendment_reason, "content": _content_view(record.amendment)},
        "invalidation_requested": record.invalidation_reason or None,
        "control": record.control or None,
        "control_result": record.control_result or None,
        "reasons": list(record.reasons),
        "recognition": {
            "state": recognition.state,
            "version": recognition.version or None,
            "in_force": record.recognised(),
            "number": recognition.number or None,
            "reason": recognition.reason or None,
            "legal_basis": {"agreement": agreement, "article": article, "effective": effective} if agreement else None,
            "since": {
                "time_ms": recognition.since_ms or None,
                "statement": _hex(recognition.statement),
                "by": recognition.by or None,
            },
        },
        "movements_open": record.movements_open,
        "exits": record.exits,
        "exit_evidence": None
        if record.exit_evidence is None
        else {
            "kind": record.exit_evidence.kind,
            "number": record.exit_evidence.number,
            "sha256": record.exit_evidence.sha256.hex(),
        },
        "flagged": record.flagged,
        "pending": _declaration_pending(record),
    }


def _reading_view(reading: Reading | None) -> View | None:
    if reading is None:
        return None
    return {
        "seals": [{"id": seal, "state": state} for seal, state in reading.seals],
        "mass_g": reading.mass_g,
        "by": reading.by,
        "time_ms": reading.time_ms,
        "statement": reading.statement.hex(),
    }


# What a movement in a state waits for: event, whose side (an attribute of the plan, or custody), role.
_NEXT: dict[str, tuple[str, str, str]] = {
    e.PLANNED: ("load", "departure", "terminal"),
    e.LOADED: ("seal", "departure", "customs or terminal"),
    e.SEALED: ("start or refuse_start", "departure", "customs"),
    e.AT_BORDER: ("offer or turn_back", "departure", "terminal or officer"),
    e.OFFERED: ("accept, accept_with_differences or refuse_handover", "destination", "terminal"),
    e.HANDED_OVER: ("arrive", "destination", "terminal"),
    e.ARRIVED: ("unload", "destination", "customs"),
    e.UNLOADED: ("discrepancy", "destination", "customs"),
    e.DISCREPANCY: ("recover or discharge", "custody", "customs"),
    e.RECOVERY: ("discharge", "custody", "customs"),
    e.RETURNED: ("discharge", "custody", "customs"),
    e.ABORTED: ("recover or discharge", "custody", "customs"),
    e.HELD: ("resume or abort", "custody", "officer"),
    e.OVERDUE: ("resolve_overdue", "custody", "officer"),
}


def _movement_pending(record: Movement) -> list[View]:
    plan = record.plan
    sides = {"departure": plan.departure, "destination": plan.destination, "custody": record.custody.authority}
    if record.state == e.STARTED:
        pending = []
        if record.truck_at_border_ms is None:
            pending.append(_pending("reach_border", record.truck, "truck"))
        if record.gate_at_border_ms is None:
            pending.append(_pending("reach_border", plan.departure, "terminal"))
        return pending
    if record.state == e.DISPUTED:
        decisions = ((plan.departure, record.departure_decision), (plan.destination, record.destination_decision))
        undecided = [_pending("resolve", side, "officer") for side, made in decisions if not made]
        return undecided or [_pending("resolve (the decisions differ)", side, "officer") for side, _ in decisions]
    if record.state not in _NEXT:
        return []
    event, side, role = _NEXT[record.state]
    return [_pending(event, sides[side], role)]


def movement_view(record: Movement) -> View:
    plan, custody, position = record.plan, record.custody, record.position
    return {
        "mrn": plan.mrn,
        "state": record.state,
        "since": {"time_ms": record.since_ms, "statement": _hex(record.since_statement), "by": record.by},
        "custody": {
            "authority": custody.authority,
            "liable": custody.liable,
            "since_ms": custody.since_ms,
            "since_statement": custody.since_statement.hex(),
        },
        "custody_passages": [
            {
                "authority": passage.authority,
                "liable": passage.liable,
                "since_ms": passage.since_ms,
                "since_statement": passage.since_statement.hex(),
            }
            for passage in record.custody_passages()
        ],
        "departure": plan.departure,
        "destination": plan.destination,
        "carrier": plan.carrier,
        "receiver": plan.receiver,
        "truck": record.truck,
        "former_trucks": [{"truck": truck, "until_ms": until_ms} for truck, until_ms in record.former_trucks],
        "vehicle": record.vehicle,
        "vehicle_since_ms": record.vehicle_since_ms,
        "declarations": [{"ucr": ucr, "version": version} for ucr, version in plan.declarations],
        "containers": list(plan.containers),
        "seals": [
            {
                "id": seal.id,
                "class": seal.seal_class,
                "container": seal.container,
                "device": seal.device,
                "state": seal.state,
                "by": seal.by,
            }
            for seal in record.seals
        ],
        "masses_g": {
            "loaded": record.loaded_mass_g,
            "offered": None if record.offer is None else record.offer.mass_g,
            "accepted": None if record.acceptance is None else record.acceptance.mass_g,
        },
        "exit_post": plan.exit_post,
        "entry_post": plan.entry_post,
        "route": list(plan.route),
        "corridor_m": plan.corridor_m,
        "legs": {
            "limit_to_border_s": plan.limit_to_border_s,
            "limit_to_destination_s": plan.limit_to_destination_s,
            "deadline_ms": None if record.deadline_s is None else record.deadline_s * 1000,
            "remaining_s": record.remaining_s,
        },
        "planned": {"time_ms": plan.planned_ms, "statement": plan.planned_statement.hex()},
        "came_from": record.came_from or None,
        "at_border": {"truck_ms": record.truck_at_border_ms, "gate_ms": record.gate_at_border_ms},
        "offer": _reading_view(record.offer),
        "acceptance": _reading_view(record.acceptance),
        "differences": list(record.differences),
        "decisions": {
            plan.departure: record.departure_decision or None,
            plan.destination: record.destination_decision or None,
        },
        "incidents": [
            {
                "code": incident.code,
                "consequence": incident.consequence,
                "seal": incident.seal,
                "by": incident.by,
                "time_ms": incident.time_ms,
                "statement": incident.statement.hex(),
                "vehicle": incident.vehicle,
            }
            for incident in record.incidents
        ],
        "incident_count": record.incident_count,
        "position": None
        if position is None
        else {
            "at_ms": position[0],
            "latitude_udeg": position[1],
            "longitude_udeg": position[2],
            "speed_mm_s": position[3],
        },
        "position_count": record.position_count,
        "batch_count": record.batch_count,
        "late_reports": record.late_reports,
        "journey_ended_ms": record.journey_ended_ms,
        "findings": list(record.findings),
        "reason": record.reason or None,
        "guarantee_free_ms": record.guarantee_free_ms,
        "flagged": record.flagged,
        "pending": _movement_pending(record),
    }

"""What a crossing certificate says, as plain data for programs: texts, integers, lists and maps; times in Unix ms.

The names are stable. Believe them only where the certificate holds.
"""

from __future__ import annotations

from typing import Any

from contracts.certificate_check import CertificateReport
from contracts.crossing_story import CustodyTold, DeclarationTold, SealTold, Story, Told
from contracts.incidents import INCIDENTS

Facts = dict[str, Any]


def certificate_facts(report: CertificateReport) -> Facts:
    """What `comity verify --json` shows of a certificate; empty for what is none."""
    facts: Facts = {}
    if report.certificate is not None:
        facts["mrn"] = report.certificate.mrn
    if report.checkpoint is not None and report.quorum is not None:
        facts["checkpoint"] = {
            "origin": report.checkpoint.origin,
            "size": report.checkpoint.size,
            "root": report.checkpoint.root.hex(),
            "cosigned_at_s": dict(report.quorum.timestamps),
        }
    if report.story is not None:
        facts |= _story(report.story)
    return facts


def _story(story: Story) -> Facts:
    return {
        "state": story.state,
        "departure": story.departure,
        "destination": story.destination or None,
        "carrier": story.plan["carrier"],
        "receiver": story.plan["receiver"],
        "truck": story.truck,
        "vehicle": story.vehicle,
        "containers": list(story.containers),
        "exit_post": story.plan["exit_post"],
        "entry_post": story.plan["entry_post"],
        "discharged_ms": None if story.discharged is None else story.discharged.block_time_ms,
        "custody": [_custody(each) for each in story.custody],
        "seals": [_seal(each) for each in story.seals.values()],
        "masses_g": [{"event": told.event, "mass_g": mass_g, **_when(told)} for told, mass_g in story.masses_g],
        "incidents": [_incident(each) for each in story.incidents],
        "declarations": [_declaration(each) for each in story.carried().values()],
        "declarations_not_told": list(story.not_told()),
        "told": [
            {"kind": told.statement.kind, "subject": told.statement.sub, "state": told.state, **_when(told)}
            for told in story.told
        ],
    }


def _when(told: Told) -> Facts:
    return {
        "entry": told.index,
        "statement": told.statement.id_hex,
        "block_time_ms": told.block_time_ms,
        "signed_at_s": told.statement.iat_s,
        "by": told.statement.iss,
        "authority": told.authority or None,
    }


def _custody(passage: CustodyTold) -> Facts:
    return {"authority": passage.authority, "liable": passage.liable, "since": _when(passage.since)}


def _seal(seal: SealTold) -> Facts:
    return {
        "id": seal.id,
        "class": seal.seal_class,
        "container": seal.container,
        "device": seal.device,
        "state": seal.state,
        "put_on": _when(seal.put_on),
        "ended": None if seal.ended is None else _when(seal.ended),
        "readings": [{"state": state, **_when(told)} for told, state in seal.readings],
    }


def _incident(told: Told) -> Facts:
    code = told.payload["code"]
    return {
        "code": code,
        "meaning": INCIDENTS[code].meaning,
        "consequence": INCIDENTS[code].consequence,
        "seal": told.payload.get("seal"),
        "vehicle": told.payload.get("vehicle"),
        **_when(told),
    }


def _declaration(declaration: DeclarationTold) -> Facts:
    return {
        "ucr": declaration.ucr,
        "status": declaration.status,
        "recognition": declaration.recognition,
        "version": declaration.version,
        "home": declaration.home,
        "partner": declaration.partner,
        "number": declaration.number or None,
        "partner_number": declaration.partner_number or None,
        "declarant": declaration.declarant,
        "committed_to": sorted(each["name"] for each in declaration.content.get("commitments", ())),
    }

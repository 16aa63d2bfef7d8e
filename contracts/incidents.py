"""Incidents of an escort: what each code does to the movement. Rules are a table.

Codes 01 to 07 are those of electronic navigation seals; the named ones are the causes of the transit convention. What
`holds` stops the movement until an officer of the side it stands on resumes or aborts it.
"""

from __future__ import annotations

from dataclasses import dataclass

SAME = "same"
HELD = "held"
ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Incident:
    consequence: str
    meaning: str
    breaks_seal: bool = False  # must name the seal, which then no longer counts
    changes_vehicle: bool = False  # going on needs the new vehicle's identity and new seals


INCIDENTS: dict[str, Incident] = {
    "01": Incident(HELD, "seal broken", breaks_seal=True),
    "02": Incident(HELD, "housing of the seal broken", breaks_seal=True),
    "03": Incident(SAME, "left the corridor"),
    "04": Incident(SAME, "fault of the seal's electronics"),
    "05": Incident(SAME, "battery under 15 %"),
    "06": Incident(SAME, "two reports missed"),
    "07": Incident(HELD, "unauthorised act"),
    "deviation": Incident(SAME, "deviation from the itinerary"),
    "seal_broken": Incident(HELD, "seal broken or tampered with", breaks_seal=True),
    "goods_transferred": Incident(HELD, "goods transferred to another vehicle", changes_vehicle=True),
    "imminent_danger": Incident(HELD, "imminent danger, unloading at once"),
    "accident": Incident(HELD, "accident"),
    "vehicle_changed": Incident(HELD, "vehicle changed", changes_vehicle=True),
    "goods_destroyed": Incident(ABORTED, "the goods are lost beyond recovery"),
}

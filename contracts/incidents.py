"""Incidents of an escort: what each code does to the movement. Rules are a table.

Codes 01 to 07 are those of electronic navigation seals; the named ones are the incidents during the movement that
common transit knows (article 305 of the implementing regulation (EU) 2015/2447 has the same list; TIR Convention,
article 25). What holds stops the movement until an officer of the side it stands on resumes or aborts it.

A seal says only what a seal can know. That goods are lost beyond recovery ends the movement, so the word of a
driverless vehicle is not enough: it is for customs to be satisfied of it (Revised Kyoto Convention, general annex,
standard 3.44; TIR Convention, article 41), so an officer reports it.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.machine import ESEAL, OFFICER, TERMINAL, TRUCK

SAME = "same"
HELD = "held"
ABORTED = "aborted"

ANYBODY = (TRUCK, ESEAL, TERMINAL, OFFICER)
WITH_EYES = (TRUCK, TERMINAL, OFFICER)


@dataclass(frozen=True, slots=True)
class Incident:
    consequence: str
    meaning: str
    breaks_seal: bool = False  # must name the seal, which then no longer counts
    changes_vehicle: bool = False  # going on needs the new vehicle's identity and new seals
    moves_goods: bool = False  # they may be in other containers when it goes on
    reporters: tuple[str, ...] = WITH_EYES  # of those who may report incidents at all, the roles that may report this


INCIDENTS: dict[str, Incident] = {
    "01": Incident(HELD, "seal broken", breaks_seal=True, reporters=ANYBODY),
    "02": Incident(HELD, "housing of the seal broken", breaks_seal=True, reporters=ANYBODY),
    "03": Incident(SAME, "left the corridor", reporters=ANYBODY),
    "04": Incident(SAME, "fault of the seal's electronics", reporters=ANYBODY),
    "05": Incident(SAME, "battery under 15 %", reporters=ANYBODY),
    "06": Incident(SAME, "two reports missed", reporters=ANYBODY),
    "07": Incident(HELD, "unauthorised act", reporters=ANYBODY),
    "deviation": Incident(SAME, "deviation from the itinerary"),
    "seal_broken": Incident(HELD, "seal broken or tampered with", breaks_seal=True),
    "goods_transferred": Incident(HELD, "goods transferred to another vehicle", changes_vehicle=True, moves_goods=True),
    "imminent_danger": Incident(HELD, "imminent danger, unloading at once"),
    "accident": Incident(HELD, "accident"),
    "vehicle_changed": Incident(HELD, "vehicle changed", changes_vehicle=True),
    "goods_destroyed": Incident(ABORTED, "the goods are lost beyond recovery", reporters=(OFFICER,)),
}

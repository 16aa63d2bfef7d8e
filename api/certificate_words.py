"""A crossing certificate in words and times for people: what a printed one says, before it is laid out.

Times are shown in UTC, which is what the ledger has, and beside it in the official time of each authority's country,
where that is in `LOCAL_TIMES`. Those offsets are constants, not looked up: a certificate printed in ten years says the
same as today's. Texts from statements come as they are; the layout escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.crossing_story import Story, Told
from contracts.incidents import INCIDENTS

# Official time by country: minutes ahead of UTC, and since when (Unix ms). Kazakhstan has had one time since 1 March
# 2024; China, one for all of the country, no summer time since 1992.
LOCAL_TIMES: dict[str, tuple[int, int]] = {"CN": (480, 694_224_000_000), "KZ": (300, 1_709_233_200_000)}

EVENTS: dict[str, str] = {
    "declaration.lodge": "Declaration lodged",
    "declaration.register": "Declaration registered",
    "declaration.reject": "Declaration rejected",
    "declaration.accept": "Declaration accepted",
    "declaration.control": "Control ordered",
    "declaration.control_result": "Result of the control",
    "declaration.refuse": "Release refused",
    "declaration.request_amendment": "Amendment requested",
    "declaration.accept_amendment": "Amendment granted",
    "declaration.refuse_amendment": "Amendment refused",
    "declaration.release": "Goods released",
    "declaration.clear": "Exit confirmed, procedure ended",
    "declaration.request_invalidation": "Withdrawal requested",
    "declaration.refuse_invalidation": "Withdrawal refused",
    "declaration.invalidate": "Declaration withdrawn",
    "declaration.recognise": "Recognised by the partner",
    "declaration.refuse_recognition": "Recognition refused",
    "declaration.suspend_recognition": "Recognition suspended",
    "declaration.resume_recognition": "Recognition resumed",
    "declaration.withdraw_recognition": "Recognition withdrawn",
    "escort.plan": "Movement planned",
    "escort.load": "Loaded and weighed",
    "escort.seal": "Sealed",
    "escort.start": "Started",
    "escort.refuse_start": "Start refused",
    "escort.reach_border": "Border reached",
    "escort.offer": "Offered for handover",
    "escort.accept": "Accepted: custody passes",
    "escort.accept_with_differences": "Differences found",
    "escort.refuse_handover": "Handover refused",
    "escort.resolve": "Decision in the dispute",
    "escort.turn_back": "Turned back",
    "escort.arrive": "Arrived",
    "escort.unload": "Unloaded",
    "escort.discrepancy": "Discrepancy recorded",
    "escort.recover": "Recovery begun",
    "escort.discharge": "Discharged",
    "escort.incident": "Incident",
    "escort.resume": "Resumed",
    "escort.abort": "Aborted",
    "escort.resolve_overdue": "Decision on the late movement",
}
_GRAMS_A_TONNE = 1_000_000


def utc(at_ms: int) -> str:
    return _moment(at_ms).strftime("%Y-%m-%d %H:%M:%S")


def local(at_ms: int, country: str) -> str:
    """The official time of a country, day and minute; empty where it is not known."""
    offset_min, since_ms = LOCAL_TIMES.get(country, (0, at_ms + 1))
    return "" if at_ms < since_ms else (_moment(at_ms) + timedelta(minutes=offset_min)).strftime("%d.%m. %H:%M")


def offset(country: str) -> str:
    minutes = LOCAL_TIMES.get(country, (0, 0))[0]
    return f"UTC+{minutes // 60}" if minutes else ""


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC)


def mass(mass_g: int) -> str:
    """Tonnes to the gram, as they were weighed."""
    tonnes, grams = divmod(mass_g, _GRAMS_A_TONNE)
    return f"{tonnes}.{grams:06}".rstrip("0").rstrip(".") + " t"


def duration(took_ms: int) -> str:
    minutes = took_ms // 60_000
    days, hours, minutes = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = ((days, "d"), (hours, "h"), (minutes, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "under a minute"


def event_title(told: Told) -> str:
    title = EVENTS.get(told.statement.kind, told.statement.kind)
    return title + (" as declared" if told.event == "unload" and told.payload["as_declared"] else "")


def event_detail(told: Told) -> str:
    """What a statement adds to its title, in a line."""
    payload = told.payload
    parts = [words(payload) for name, words in _DETAILS if name in payload]
    if told.lapsed:
        parts.insert(0, f"a time limit had passed ({told.lapsed.replace('_', ' ')})")
    return "; ".join(part for part in parts if part)


def _seals(payload: Mapping[str, Any]) -> str:
    seals = payload["seals"]
    if any("class" in seal for seal in seals):
        return "seals " + ", ".join(f"{seal['id']} ({seal['class']})" for seal in seals)
    bad = [f"{seal['id']} {seal['state']}" for seal in seals if seal["state"] != "intact"]
    return "seals: " + ", ".join(bad) if bad else f"{len(seals)} seals intact"


def _incident(payload: Mapping[str, Any]) -> str:
    rule = INCIDENTS[payload["code"]]
    about = f", seal {payload['seal']}" if "seal" in payload else ""
    return f"{payload['code']}: {rule.meaning}{about}"


_DETAILS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("code", _incident),
    ("number", lambda payload: f"No. {payload['number']}"),
    ("control", lambda payload: str(payload["control"])),
    ("result", lambda payload: str(payload["result"])),
    ("decision", lambda payload: str(payload["decision"]).replace("_", " ")),
    ("mass_g", lambda payload: mass(payload["mass_g"])),
    ("seals", _seals),
    ("legal_basis", lambda payload: f"{payload['legal_basis']['agreement']}, art. {payload['legal_basis']['article']}"),
    ("vehicle", lambda payload: str(payload["vehicle"])),
    ("findings", lambda payload: ", ".join(payload["findings"])),
    ("reasons", lambda payload: ", ".join(payload["reasons"])),
    ("reason", lambda payload: str(payload["reason"])),
    ("note", lambda payload: str(payload["note"])),
)


def state_words(story: Story) -> str:
    return story.state.replace("_", " ")

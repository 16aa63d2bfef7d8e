"""What the verifying page knows of the contracts, as a JavaScript module: made from their declarations."""

from __future__ import annotations

import json
from typing import Any

from api.certificate_words import EVENTS
from contracts.catalogue import CONTRACTS
from contracts.crossing_story import ESCORT
from contracts.escort import DEADLINES
from contracts.incidents import INCIDENTS
from contracts.movement import progress_names

_HEAD = """\
// Generated from the contracts (api/verify_tables.py): `make generate` writes this file.
"""


def _rows() -> dict[str, list[str]]:
    """`state event` to the states it can end in, of all versions of the escort."""
    rows: dict[str, list[str]] = {}
    for (name, _), contract in sorted(CONTRACTS.items()):
        if name == ESCORT:
            for (state, event), transition in contract.machines[0].transitions.items():
                rows[f"{state} {event}"] = list(dict.fromkeys((*rows.get(f"{state} {event}", ()), *transition.to)))
    return dict(sorted(rows.items()))


def tables_js() -> str:
    """The module."""
    tables: dict[str, Any] = {
        "ROWS": _rows(),
        "DEADLINES": {state: rule.to for state, rule in DEADLINES.items()},
        "INCIDENT_CONSEQUENCES": {code: incident.consequence for code, incident in INCIDENTS.items()},
        "VEHICLE_CHANGES": [code for code, incident in INCIDENTS.items() if incident.changes_vehicle],
        "SEAL_BREAKING": [code for code, incident in INCIDENTS.items() if incident.breaks_seal],
        "MOVEMENT_PROGRESS": list(progress_names()),
        "EVENTS": EVENTS,
    }
    spelled = (f"export const {name} = {json.dumps(value, indent=2)};\n" for name, value in tables.items())
    return _HEAD + "\n" + "\n".join(spelled)

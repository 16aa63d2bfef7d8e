"""Version 1 of `escort` decides what it always did: what was decided under it is executed again for ever.

The golden file was written by the program before there was a version 2: for every state and event the outcome, and the
digest of the record that came of it, with the ids of statements blotted out (they are numbered as tests happen to run).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from contracts.movement import movement_key
from tests.contracts import corridor as c
from tests.contracts import stages as s

GOLDEN = Path(__file__).with_name("escort_version_1.golden")
STATEMENT_ID = re.compile(rb"\x58\x20.{32}", re.DOTALL)
OTHER_VEHICLE = {"code": "vehicle_changed", "vehicle": "fleet/BKT-0002"}
RESEALED = {"seals": [s.NEW_SEAL]}


def digest(ledger: c.Ledger) -> str:
    raw = ledger.state.records.get(movement_key(c.MRN), b"")
    return sha256(STATEMENT_ID.sub(b"", raw)).hexdigest()[:16]


def senders(event: s.Event, ledger: c.Ledger, state: str) -> tuple[str, ...]:
    """Those who may, and whoever of customs stands on either side."""
    return tuple(dict.fromkeys((*event.senders_at(state), "kz-kgd/officer", "cn-gacc/officer")))


def every_event_in_every_state() -> Iterator[str]:
    sealed = s.movement_at("sealed", 1)
    for state in s.MOVEMENT_STATES:
        start = s.movement_at(state, 1)
        for name, event in s.ESCORT_EVENTS.items():
            payload = event.payload(sealed if state in ("-", "planned", "loaded") else start)
            for sender in senders(event, start, state):
                ledger = start.copy()
                outcome = ledger.send(f"escort.{name}", sender, c.MRN, payload)
                yield f"{state} {name} {sender} {outcome.fact} {digest(ledger)}"


def another_vehicle_after_the_handover() -> Iterator[str]:
    for weighed_g in (None, s.HEAVY):
        for unloaded_g in (None, c.MASS, s.HEAVY):
            ledger = s.movement_at("handed_over", 1)
            ledger.must("escort.incident", "cn-gacc/officer", c.MRN, OTHER_VEHICLE)
            resume = RESEALED | ({} if weighed_g is None else {"mass_g": weighed_g})
            ledger.must("escort.resume", "cn-gacc/officer", c.MRN, resume)
            ledger.must("escort.arrive", "cn/terminal/baketu", c.MRN)
            mass = {} if unloaded_g is None else {"mass_g": unloaded_g}
            seals = c.readings(s.NEW_SEAL["id"])
            unload = {"as_declared": True, "seals": seals, **mass}
            outcome = ledger.send("escort.unload", "cn-gacc/officer", c.MRN, unload)
            yield f"vehicle changed, weighed {weighed_g}, unloaded {unloaded_g}: {outcome.fact} {digest(ledger)}"


def transcript() -> str:
    return "\n".join((*every_event_in_every_state(), *another_vehicle_after_the_handover())) + "\n"


def test_version_1_decides_and_writes_what_it_always_did() -> None:
    assert transcript() == GOLDEN.read_text(encoding="ascii")

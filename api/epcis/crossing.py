"""What a movement's entries say, one after the other: where it stands, who has custody, what is on it.

A fold over accepted statements, so that nothing is judged again: the contracts have. It follows only what an event
needs to be told: the plan, the vehicle, the containers, the seals in force, and custody and liability.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from api.history import History, Recorded
from contracts.incidents import INCIDENTS

HANDED_OVER = "handed_over"


class Crossing:
    """The state of one movement as far as its entries have been told."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._decisions: dict[str, str] = {}
        self._vehicle_changed = False
        self._reported = ""  # the vehicle that the last incident names
        self._opened: frozenset[str] = frozenset()  # seals that the receiving terminal did not find intact
        self.plan: dict[str, Any] = {}
        self.departure = ""
        self.vehicle = ""
        self.containers: tuple[str, ...] = ()
        self.seals: dict[str, str] = {}  # in force: number to the container that it closes, empty for the hold
        self.custody = ""
        self.liable = ""

    def authority_of(self, recorded: Recorded) -> str:
        return self._history.authority_of(recorded.statement.iss)

    def take(self, event: str, recorded: Recorded, payload: dict[str, Any]) -> None:
        """Follow one entry; afterwards everything is as it is after it."""
        if event == "plan":
            self.plan = payload
            self.departure = self.custody = self.authority_of(recorded)
            self.liable = payload["carrier"]
            self.vehicle = payload["vehicle"]
            self.containers = tuple(payload["containers"])
        elif event == "accept":
            self._hand_over(self.authority_of(recorded))
        elif event == "accept_with_differences":
            self._opened = frozenset(seal["id"] for seal in payload["seals"] if seal["state"] != "intact")
        elif event == "resolve":
            if "seals" in payload:  # put on in the place of those
                self._take_off(self._opened)
            self._decide(self.authority_of(recorded), payload["decision"])
        elif event == "incident":
            self._report(payload)
        elif event == "resume":
            self._go_on_with(payload.get("vehicle") or self._reported or self.vehicle)
            self.containers = tuple(payload.get("containers", self.containers))
        elif event == "unload":
            self.seals.clear()
        for seal in payload.get("seals", ()):
            if "class" in seal:  # a new one; elsewhere `seals` are readings
                self.seals[seal["id"]] = seal.get("container", "")

    def _report(self, payload: dict[str, Any]) -> None:
        rule = INCIDENTS.get(payload["code"])
        if rule is not None and rule.breaks_seal:
            self._take_off((payload["seal"],))
        self._reported = payload.get("vehicle", "")
        self._vehicle_changed |= rule is not None and rule.changes_vehicle

    def _go_on_with(self, vehicle: str) -> None:
        if self._vehicle_changed or vehicle != self.vehicle:  # what closed the old vehicle closes nothing now
            self.seals.clear()
        self._vehicle_changed = False
        self.vehicle = vehicle

    def _take_off(self, seals: Iterable[str]) -> None:
        for seal in seals:
            self.seals.pop(seal, None)

    def _decide(self, authority: str, decision: str) -> None:
        self._decisions[authority] = decision
        others = {name for name, made in self._decisions.items() if made == HANDED_OVER and name != self.departure}
        if self._decisions.get(self.departure) == HANDED_OVER and others:
            self._hand_over(min(others))

    def _hand_over(self, authority: str) -> None:
        self.custody = authority
        self.liable = self.plan.get("receiver", "")

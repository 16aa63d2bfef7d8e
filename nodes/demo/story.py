"""What a scenario is spelled out as: steps, one statement each, and the stories that they make. Pure.

A step that is `driving` happens on the road whether or not anybody answers; every other step is physical (a gate opens,
a seal is read) and happens only when all that came before it in its story is final. A step that waits signs nothing: it
lasts until the record stands in the state that it names. A step with a `batch` signs the track that the truck kept on
the way, by its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Final

from contracts.payloads import validate_payload, validate_subject
from ledger.cbor import Value
from nodes.demo.scenario import Position, Seal

SPEED_MM_S: Final = 8_300
MINUTE_S: Final = 60
ACCEPTED: Final = "accepted"

Payload = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Step:
    """One statement to come. `fix` is where the device stands; its clock is read when it signs."""

    actor: str
    authority: str
    kind: str
    subject: str
    payload: Payload
    where: str
    fix: Position | None = None
    driving: bool = False
    outcome: str = ACCEPTED
    remark: str = ""
    wait: str = ""
    batch: bool = False
    clock_s: int = 0  # by how much the device's clock is ahead
    again: bool = False  # sent once more when it is final, and answered as known
    names_proposal: bool = False  # it names the statement that proposed what it is about

    def payload_at(self, time_ms: int) -> dict[str, Value]:
        """The payload as signed at a time of the device's clock."""
        payload = dict(self.payload)
        if self.fix is not None:
            payload["fix"] = {
                "at_ms": time_ms,
                "latitude_udeg": self.fix.latitude_udeg,
                "longitude_udeg": self.fix.longitude_udeg,
                "speed_mm_s": SPEED_MM_S if self.driving else 0,
            }
        return payload

    def check(self) -> None:
        """Raises PayloadError for what the contracts would refuse whatever the state."""
        if self.wait:
            return
        validate_subject(self.kind, self.subject)
        if self.batch:
            return  # what the truck will have kept
        validate_payload(self.kind, self.payload_at(0) | ({"proposal": bytes(32)} if self.names_proposal else {}))


@dataclass(frozen=True, slots=True)
class Story:
    """The steps about one declaration or one crossing, and the state of its record when all are done."""

    subject: str
    steps: tuple[Step, ...]
    final_state: str
    custody: str = ""
    recognition: str = ""

    def count(self, kind: str) -> int:
        """How many statements of a kind are taken."""
        return sum(step.kind == kind and step.outcome == ACCEPTED for step in self.steps)

    @property
    def keeps_track(self) -> bool:
        """Whether the truck keeps what it reports on the way, to sign it as a batch."""
        return any(step.batch for step in self.steps)

    @property
    def wrong_clocks(self) -> int:
        """How many statements are taken from a clock that is wrong."""
        return sum(step.clock_s != 0 and step.outcome == ACCEPTED for step in self.steps)

    @property
    def accepted(self) -> int:
        return sum(step.outcome == ACCEPTED for step in self.steps if not step.wait)


def photo(*of: str) -> bytes:
    """Stands for the hash of a photograph: the pictures themselves stay with the authority that took them."""
    return sha256(("photograph " + " ".join(of)).encode()).digest()


def new_seal(seal: Seal) -> Value:
    value: dict[str | int, Value] = {"id": seal.number, "class": seal.seal_class}
    if seal.container is not None:
        value["container"] = seal.container
    if seal.device is not None:
        value["device"] = seal.device
    return value


def along(points: tuple[Position, ...], count: int) -> list[Position]:
    """So many positions spread evenly over a polyline (by segment), in whole micro-degrees."""
    legs = list(pairwise(points))
    spread = []
    for number in range(1, count + 1):
        # Position number k of n stands at k * legs / (n + 1) legs from the beginning.
        leg, rest = divmod(number * len(legs), count + 1)
        begin, end = legs[min(leg, len(legs) - 1)]
        spread.append(
            Position(
                begin.latitude_udeg + (end.latitude_udeg - begin.latitude_udeg) * rest // (count + 1),
                begin.longitude_udeg + (end.longitude_udeg - begin.longitude_udeg) * rest // (count + 1),
            )
        )
    return spread

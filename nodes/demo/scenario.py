"""A scenario: the corridor, its participants, the declarations and the crossings, as a user writes them in TOML.

Promises: what `load_scenario` returns refers only to things that exist in it, carries only identifiers that
are well formed with true check digits, and names nothing twice. What the contracts would refuse because of the *state*
of the ledger is not looked for here; the run finds that out. The format is described in docs/demo.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

SHIPPED: Final = ("bakhty-baketu", "everything")


@dataclass(frozen=True, slots=True)
class Authority:
    name: str
    country: str
    title: str

    @property
    def officer(self) -> str:
        return f"{self.name}/officer"

    @property
    def system(self) -> str:
        return f"{self.name}/system"

    @property
    def registrar(self) -> str:
        return f"{self.name}/registrar"


@dataclass(frozen=True, slots=True)
class Position:
    latitude_udeg: int
    longitude_udeg: int


@dataclass(frozen=True, slots=True)
class Post:
    """A border post. `place` is a UN/LOCODE, or where there is none a local post with its position."""

    name: str
    authority: str
    title: str
    place: str


@dataclass(frozen=True, slots=True)
class Participant:
    """Whoever signs. `registrar` side: the authority that enrols the key."""

    id: str
    authority: str
    roles: tuple[str, ...]
    algorithm: str


@dataclass(frozen=True, slots=True)
class Terminal:
    id: str
    post: str
    instrument: str


@dataclass(frozen=True, slots=True)
class Truck:
    id: str
    carrier: str
    vehicle: str
    link: str


@dataclass(frozen=True, slots=True)
class Seal:
    """A physical seal, or (with `device`, the participant id of its key) an electronic one."""

    number: str
    seal_class: str
    container: str | None
    device: str | None


@dataclass(frozen=True, slots=True)
class Goods:
    hs: str
    description: str
    mass_g: int
    packages: int


@dataclass(frozen=True, slots=True)
class Told:
    """One step of a story that the file tells itself: an event, so many positions, or waiting for a state."""

    do: str = ""
    by: str = ""
    payload: dict[str, Any] = field(default_factory=dict)
    refused: str = "accepted"  # the outcome it must meet
    say: str = ""
    drive: int = 0
    wait: str = ""
    clock_s: int = 0  # by how much the device's clock is ahead of the time when it signs
    again: bool = False  # the same bytes are sent once more when they are final


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registrar does about one participant after its enrolment."""

    participant: str
    steps: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one side's registrar proposes to the other, and what becomes of it."""

    id: str
    authority: str
    title: str
    changes: tuple[dict[str, Any], ...]
    ends: str
    steps: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Declaration:
    ucr: str
    home: str
    declarant: str
    carrier: str
    consignor: str
    consignee: str
    origin: str
    destination: str
    gross_mass_g: int
    numbers: dict[str, str]  # by authority: the home's own, and the one under which the partner recognises
    containers: tuple[str, ...]
    goods: tuple[Goods, ...]
    control: str
    decision: str
    reason: str
    steps: tuple[Told, ...] = ()  # told step by step, if any
    ends: str = ""
    recognition: str = ""


@dataclass(frozen=True, slots=True)
class SealBroken:
    """The electronic seal opens after so many positions; an officer puts on the replacement."""

    seal: str
    after_positions: int
    replacement: tuple[Seal, ...]


@dataclass(frozen=True, slots=True)
class MassDifference:
    """What the destination's weighbridge shows, and what the officers of both sides then decide."""

    measured_g: int
    resolution: str


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    departure: str
    destination: str
    points: tuple[Position, ...]
    corridor_m: int
    border_leg_min: int
    arrival_leg_min: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """One pass of one truck, from plan to discharge."""

    mrn: str
    truck: str
    receiver: str
    route: str
    declarations: tuple[str, ...]
    containers: tuple[str, ...]
    seals: tuple[Seal, ...]
    mass_g: int
    positions_before_border: int
    positions_after_border: int
    seal_broken: SealBroken | None
    mass_difference: MassDifference | None
    steps: tuple[Told, ...] = ()  # told step by step, if any
    ends: str = ""
    custody: str = "home"


@dataclass(frozen=True, slots=True)
class LegalBasis:
    agreement: str
    article: str
    effective: date


@dataclass(frozen=True, slots=True)
class Outage:
    """Whose validators are killed, when so many percent of the crossing statements are final, and for how long."""

    authority: str
    at_percent: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Pace:
    departure_interval_ms: int
    position_interval_ms: int


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    title: str
    origin: str
    legal_basis: LegalBasis
    authorities: tuple[Authority, ...]
    posts: dict[str, Post]
    participants: dict[str, Participant]
    terminals: dict[str, Terminal]
    trucks: dict[str, Truck]
    routes: dict[str, Route]
    declarations: dict[str, Declaration]
    crossings: tuple[Crossing, ...]
    outage: Outage
    pace: Pace
    parameters: dict[str, int | str] = field(default_factory=dict)
    registrations: tuple[Registration, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    every_row: bool = False  # the run must use every row of every table

    def authority(self, name: str) -> Authority:
        return next(authority for authority in self.authorities if authority.name == name)

    def partner(self, name: str) -> Authority:
        """The other authority."""
        return next(authority for authority in self.authorities if authority.name != name)

    def terminal(self, post: str, instrument: str) -> Terminal:
        return next(item for item in self.terminals.values() if (item.post, item.instrument) == (post, instrument))

    def departure(self, crossing: Crossing) -> Post:
        return self.posts[self.routes[crossing.route].departure]

    def destination(self, crossing: Crossing) -> Post:
        return self.posts[self.routes[crossing.route].destination]


def shipped_scenario(name: str = SHIPPED[0]) -> Path:
    """A file that is installed with the program."""
    return Path(str(files("nodes.demo") / "scenarios" / f"{name}.toml"))

"""The load: unmanned trucks that cross, signed ahead of every measurement, the same from the same seed and keys.

A *lane* is one truck with its container, passing again and again. A pass is a declaration's whole way (lodged,
registered, accepted, released, recognised by the partner) and a crossing (planned, loaded, sealed, started, positions,
the border reported by truck and gate, offered, accepted, positions, arrival, unloaded and discharged): `STEPS_PER_PASS`
statements, all of them to be accepted. Half of the lanes go from KZ to CN, half back, in turn.

Within a lane order matters; between lanes it does not. A *round* is one statement of every lane. `to_their_places`
first brings the lanes to different points of a pass, so that every round holds the mix of kinds that a busy post has.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from api.tokens import sign_token
from contracts.identifiers import iso6346_check_digit
from ledger.algorithms import EDDSA, PrivateKey, eddsa
from ledger.merkle import leaf_hash
from ledger.statement import sign_statement
from nodes.network import Network

POSITIONS_PER_LEG = 4
DAY_S = 86_400
MASS_G = 33_000_000
COUNTRIES = ("KZ", "CN")
GATES = 4


@dataclass(frozen=True, slots=True)
class _Signers:
    """What a signing process needs: where the customs' keys are, the seed of all others, and the time of the claims."""

    names: tuple[str, str]
    system_keys: tuple[Path, Path]
    registrar_keys: tuple[Path, Path]
    seed: int
    iat_s: int


@dataclass(frozen=True, slots=True)
class _Step:
    """One statement to be: what, by whom, about what."""

    kind: str
    iss: str
    sub: str
    payload: dict[str, Any]


@cache
def _pem_key(path: Path) -> PrivateKey:
    return PrivateKey.from_pem(path.read_bytes())


@cache
def _device_key(seed: int, participant: str) -> PrivateKey:
    return PrivateKey(EDDSA, eddsa.Signer(hashlib.sha256(f"{seed}/{participant}".encode()).digest()))


def _key_of(signers: _Signers, participant: str) -> PrivateKey:
    for name, system, registrar in zip(signers.names, signers.system_keys, signers.registrar_keys, strict=True):
        if participant == f"{name}/system":
            return _pem_key(system)
        if participant == f"{name}/registrar":
            return _pem_key(registrar)
    return _device_key(signers.seed, participant)


def _sign(signers: _Signers, step: _Step, number: str) -> bytes:
    return sign_statement(
        _key_of(signers, step.iss),
        kind=step.kind,
        iss=step.iss,
        sub=step.sub,
        iat_s=signers.iat_s,
        cti=hashlib.sha256(f"{signers.seed}/{number}".encode()).digest()[:16],
        payload=step.payload,
    ).raw


def truck_of(lane: int) -> str:
    return f"{COUNTRIES[lane % 2].lower()}/truck/t-{lane:05}"


def _container(lane: int) -> str:
    body = f"CSQU{lane:06}"
    return f"{body}{iso6346_check_digit(body)}"


def _number(country: str, serial: int) -> str:
    return f"50407/221126/{serial:07}" if country == "KZ" else f"940520261{serial:09}"


def _place(country: str) -> str:
    return "CNBKT" if country == "CN" else "KZ/BAKHTY@46660000,82750000"


def _fix(lane: int, step: int, iat_s: int) -> dict[str, Any]:
    return {
        "at_ms": iat_s * 1000 + step,
        "latitude_udeg": 46_660_000 + lane,
        "longitude_udeg": 82_750_000 + step,
        "speed_mm_s": 12_500,
    }


def _declaration(lane: int, pass_number: int, names: tuple[str, str]) -> list[_Step]:
    home, partner = lane % 2, 1 - lane % 2
    here, there = COUNTRIES[home], COUNTRIES[partner]
    serial = lane * 1000 + pass_number
    ucr = f"26{here}BKT/{serial:08}"
    declarant = f"{here.lower()}/declarant/d-1"
    system, other = f"{names[home]}/system", f"{names[partner]}/system"
    content = {
        "consignor": "Grain House LLP",
        "consignee": "Northern Trade Co",
        "origin": here,
        "destination": there,
        "gross_mass_g": MASS_G,
        "goods": [{"hs": "100199", "description": "wheat, in bulk", "mass_g": MASS_G - 3_000_000}],
        "containers": [_container(lane)],
    }
    lodged = {
        "home": names[home],
        "partner": names[partner],
        "carrier": f"{here.lower()}/carrier/c-1",
        "content": content,
    }
    recognised = {
        "version": 1,
        "reason": "risk assessment passed",
        "legal_basis": {"agreement": "Smart Customs agreement", "article": "4", "effective": "2025-07-01"},
        "number": _number(there, serial),
    }
    return [
        _Step("declaration.lodge", declarant, ucr, lodged),
        _Step("declaration.register", system, ucr, {}),
        _Step("declaration.accept", system, ucr, {"number": _number(here, serial)}),
        _Step("declaration.release", system, ucr, {}),
        _Step("declaration.recognise", other, ucr, recognised),
    ]


def _crossing(lane: int, pass_number: int, names: tuple[str, str], iat_s: int) -> list[_Step]:
    home, partner = lane % 2, 1 - lane % 2
    here, there = COUNTRIES[home], COUNTRIES[partner]
    serial = lane * 1000 + pass_number
    body = f"26{here}{serial:012}A"
    mrn = f"{body}{iso6346_check_digit(body)}"
    truck = truck_of(lane)
    gate = f"{here.lower()}/gate/g-{lane // 2 % GATES}"
    gate_there = f"{there.lower()}/gate/g-{lane // 2 % GATES}"
    seal = f"S{serial:010}"
    readings = [{"id": seal, "state": "intact"}]
    photo = hashlib.sha256(mrn.encode()).digest()
    plan = {
        "declarations": [f"26{here}BKT/{serial:08}"],
        "truck": truck,
        "vehicle": f"fleet/BKT-{lane:05}",
        "carrier": f"{here.lower()}/carrier/c-1",
        "receiver": f"{there.lower()}/carrier/c-1",
        "containers": [_container(lane)],
        "exit_post": _place(here),
        "entry_post": _place(there),
        "route": [],
        "corridor_m": 500,
        "limit_to_border_s": 2 * DAY_S,
        "limit_to_destination_s": 2 * DAY_S,
    }
    positions = [
        _Step("escort.position", truck, mrn, {"fix": _fix(lane, number, iat_s)})
        for number in range(2 * POSITIONS_PER_LEG)
    ]
    weighed = {"containers": [_container(lane)], "mass_g": MASS_G}
    sealed = {"seals": [{"id": seal, "class": "H", "container": _container(lane)}], "photo_sha256": photo}
    return [
        _Step("escort.plan", f"{names[home]}/system", mrn, plan),
        _Step("escort.load", gate, mrn, weighed),
        _Step("escort.seal", gate, mrn, sealed),
        _Step("escort.start", f"{names[home]}/system", mrn, {}),
        *positions[:POSITIONS_PER_LEG],
        _Step("escort.reach_border", truck, mrn, {"fix": _fix(lane, 99, iat_s)}),
        _Step("escort.reach_border", gate, mrn, {"photo_sha256": photo}),
        _Step("escort.offer", gate, mrn, {"seals": readings, "mass_g": MASS_G, "photo_sha256": photo}),
        _Step("escort.accept", gate_there, mrn, {"seals": readings, "mass_g": MASS_G + 20_000, "photo_sha256": photo}),
        *positions[POSITIONS_PER_LEG:],
        _Step("escort.arrive", gate_there, mrn, {}),
        _Step("escort.unload", f"{names[partner]}/system", mrn, {"as_declared": True, "seals": readings}),
    ]


def _pass(lane: int, pass_number: int, names: tuple[str, str], iat_s: int) -> list[_Step]:
    return _declaration(lane, pass_number, names) + _crossing(lane, pass_number, names, iat_s)


_KINDS = [step.kind for step in _pass(0, 0, ("kz", "cn"), 0)]
STEPS_PER_PASS = len(_KINDS)
FIRST_POSITION = _KINDS.index("escort.position")


def _sign_lane(signers: _Signers, lane: int, first: int, count: int) -> list[bytes]:
    """Steps `first` to `first + count` of a lane, signed."""
    signed = []
    steps: list[_Step] = []
    for number in range(first, first + count):
        if not steps or number % STEPS_PER_PASS == 0:
            steps = _pass(lane, number // STEPS_PER_PASS, signers.names, signers.iat_s)
        signed.append(_sign(signers, steps[number % STEPS_PER_PASS], f"lane/{lane}/{number}"))
    return signed


def _enrolment(signers: _Signers, authority: int, participant: str, role: str) -> bytes:
    payload = {"key": _key_of(signers, participant).public.cose_key, "roles": [role]}
    step = _Step("registry.enrol", f"{signers.names[authority]}/registrar", participant, payload)
    return _sign(signers, step, f"enrol/{participant}")


def _sign_enrolment(signers: _Signers, item: tuple[int, str, str]) -> bytes:
    return _enrolment(signers, *item)


class Workload:
    """Signs with every core, keeps count of what each lane has used, and remembers what a proof can be asked for."""

    def __init__(self, network: Network, lanes: int, seed: int) -> None:
        if lanes % 2:
            raise ValueError(f"lanes must be even, half of them each way: got {lanes}")
        authorities = {authority.country: authority for authority in network.authorities}
        kz, cn = authorities["KZ"], authorities["CN"]
        self.origin = network.origin
        self.taken = 0
        self._lanes = lanes
        self._next = [0] * lanes
        self._position_ids: list[tuple[int, bytes]] = []
        self._tokens: dict[int, str] = {}
        self._signers = _Signers(
            (kz.name, cn.name),
            (kz.key("system"), cn.key("system")),
            (kz.key("registrar"), cn.key("registrar")),
            seed,
            int(time.time()),
        )

    def _map(self, work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        cores = len(os.sched_getaffinity(0))
        if len(items) < 100 or cores == 1:
            return [work(item) for item in items]
        with multiprocessing.get_context("spawn").Pool(cores) as pool:
            return pool.map(work, items, chunksize=max(1, len(items) // (4 * cores)))

    def enrolments(self) -> list[list[bytes]]:
        """Everybody of the workload, by the registrar of the own side."""
        items: list[tuple[int, str, str]] = []
        for side, country in enumerate(COUNTRIES):
            prefix = country.lower()
            items.append((side, f"{self._signers.names[side]}/system", "customs.system"))
            items.append((side, f"{prefix}/declarant/d-1", "declarant"))
            items.append((side, f"{prefix}/carrier/c-1", "carrier"))
            items += [(side, f"{prefix}/gate/g-{number}", "terminal") for number in range(GATES)]
        items += [(lane % 2, truck_of(lane), "truck") for lane in range(self._lanes)]
        signed = self._map(partial(_sign_enrolment, self._signers), items)
        self.taken += len(signed)
        return [signed]

    def to_their_places(self) -> list[list[bytes]]:
        """Waves, each to be final before the next: lane k of n comes k/n of a pass ahead of lane 0."""
        ahead = [lane // 2 * 2 * STEPS_PER_PASS // self._lanes for lane in range(self._lanes)]
        signed = self._sign_ahead(ahead)
        return [[steps[wave] for steps in signed if wave < len(steps)] for wave in range(max(ahead))]

    def lanes(self, count: int) -> list[list[bytes]]:
        """The next `count` statements of every lane, lane by lane."""
        return self._sign_ahead([count] * self._lanes)

    def rounds(self, count: int) -> list[bytes]:
        """The same in rounds: one of each lane, then the next of each."""
        signed = self.lanes(count)
        return [steps[number] for number in range(count) for steps in signed]

    def _sign_ahead(self, counts: list[int]) -> list[list[bytes]]:
        items = [(lane, self._next[lane], count) for lane, count in enumerate(counts)]
        signed: list[list[bytes]] = self._map(partial(_sign_item, self._signers), items)
        for lane, steps in enumerate(signed):
            self._remember_positions(lane, steps)
            self._next[lane] += len(steps)
            self.taken += len(steps)
        return signed

    def _remember_positions(self, lane: int, steps: list[bytes]) -> None:
        # The first position after the start: one for each pass is enough to choose proofs from.
        for offset, raw in enumerate(steps):
            if (self._next[lane] + offset) % STEPS_PER_PASS == FIRST_POSITION:
                self._position_ids.append((lane, leaf_hash(raw)))

    def a_statement_of_a_truck(self, chooser: random.Random) -> tuple[str, str]:
        """The id of some statement that a truck signed, in hex, and a token of that truck."""
        lane, statement_id = chooser.choice(self._position_ids)
        if lane not in self._tokens:
            key = _key_of(self._signers, truck_of(lane))
            self._tokens[lane] = sign_token(key, issuer=truck_of(lane), origin=self.origin, now_s=int(time.time()))
        return statement_id.hex(), self._tokens[lane]


def _sign_item(signers: _Signers, item: tuple[int, int, int]) -> list[bytes]:
    return _sign_lane(signers, *item)

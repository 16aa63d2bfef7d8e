"""More crossings or fewer than the scenario has, with every identifier of a copy fresh, valid and unused.

Fewer: the branches (a seal that breaks, a mass that differs) and both directions stay in as long as there is room.
More: each copy of a crossing has its own truck, seals, containers and declarations, so that nothing is in two places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from contracts.identifiers import MAX_PARTICIPANT_ID_CHARS, MAX_SEAL_CHARS, MAX_UCR_CHARS, iso6346_check_digit
from nodes.demo.scenario import Crossing, Declaration, Scenario, Seal


def with_crossings(scenario: Scenario, crossings: int) -> Scenario:
    """The scenario with that many crossings (at least one)."""
    if crossings < 1:
        raise ValueError(f"expected at least one crossing, got {crossings}")
    if crossings <= len(scenario.crossings):
        chosen = set(_by_weight(scenario)[:crossings])
        return replace(scenario, crossings=tuple(item for item in scenario.crossings if item.mrn in chosen))
    return _Copier(scenario).grown_to(crossings)


def _by_weight(scenario: Scenario) -> list[str]:
    """The movements in the order in which they are worth keeping: one of each branch and direction first."""
    shown: set[str] = set()
    first: list[str] = []
    rest: list[str] = []
    for crossing in sorted(scenario.crossings, key=lambda item: not _branches(item)):
        new = ({crossing.route} | _branches(crossing)) - shown
        shown |= new
        (first if new else rest).append(crossing.mrn)
    return first + rest


def _branches(crossing: Crossing) -> set[str]:
    branches = set()
    if crossing.seal_broken is not None:
        branches.add("seal_broken")
    if crossing.mass_difference is not None:
        branches.add("mass_difference")
    return branches


class _Copier:
    """Copies crossings in turn. Knows every identifier in use."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._declarations = dict(scenario.declarations)
        self._trucks = dict(scenario.trucks)
        self._participants = dict(scenario.participants)
        self._used = {text for item in scenario.declarations.values() for text in (*item.containers, item.ucr)}
        self._used |= {text for item in scenario.declarations.values() for text in item.numbers.values()}
        self._used |= {text for item in scenario.crossings for text in (*item.containers, item.mrn)}
        self._used |= {seal.number for item in scenario.crossings for seal in item.seals}
        self._used |= {
            seal.number for item in scenario.crossings if item.seal_broken for seal in item.seal_broken.replacement
        }
        self._used |= set(scenario.participants) | {truck.vehicle for truck in scenario.trucks.values()}
        self._next: dict[str, int] = {}

    def grown_to(self, crossings: int) -> Scenario:
        # A story told step by step names its seals and vehicles one by one: no copy of it could be another.
        originals = [item for item in self._scenario.crossings if not item.steps]
        grown = list(self._scenario.crossings)
        missing = crossings - len(grown)
        if not originals:
            raise ValueError(f"expected at most {len(grown)}: the scenario tells each of them step by step")
        grown += [self._crossing(originals[number % len(originals)]) for number in range(missing)]
        return replace(
            self._scenario,
            crossings=tuple(grown),
            declarations=self._declarations,
            trucks=self._trucks,
            participants=self._participants,
        )

    def _fresh(self, family: str, spell: Callable[[int], str], first: int = 2) -> str:
        """The first text of the family that is not in use yet."""
        number = self._next.get(family, first)
        while (text := spell(number)) in self._used:
            number += 1
        self._next[family] = number + 1
        self._used.add(text)
        return text

    def _crossing(self, original: Crossing) -> Crossing:
        containers: dict[str, str] = {}
        declarations = tuple(self._declaration(ucr, containers) for ucr in original.declarations)
        for container in original.containers:
            if container not in containers:
                containers[container] = self._container(container)
        seals = {seal.number: self._seal(seal, containers) for seal in original.seals}
        broken = original.seal_broken
        if broken is not None:
            broken = replace(
                broken,
                seal=seals[broken.seal].number,
                replacement=tuple(self._seal(seal, containers) for seal in broken.replacement),
            )
        return replace(
            original,
            mrn=self._mrn(original.mrn),
            truck=self._truck(original.truck),
            declarations=declarations,
            containers=tuple(containers[container] for container in original.containers),
            seals=tuple(seals.values()),
            seal_broken=broken,
        )

    def _declaration(self, ucr: str, containers: dict[str, str]) -> str:
        original = self._declarations[ucr]
        for container in original.containers:
            containers[container] = self._container(container)
        copy: Declaration = replace(
            original,
            ucr=self._fresh(f"ucr {ucr}", lambda number: _suffixed(ucr, f"-R{number}", MAX_UCR_CHARS)),
            numbers={name: self._number(name, number) for name, number in original.numbers.items()},
            containers=tuple(containers[container] for container in original.containers),
        )
        self._declarations[copy.ucr] = copy
        return copy.ucr

    def _number(self, authority: str, number: str) -> str:
        # Both national forms end in a serial number of digits without a check digit.
        digits = 7 if self._scenario.authority(authority).country == "KZ" else 9
        head, serial = number[:-digits], int(number[-digits:])
        return self._fresh(f"number {head}", lambda step: f"{head}{(serial + step) % 10**digits:0{digits}}")

    def _container(self, container: str) -> str:
        owner, serial = container[:4], int(container[4:10])
        return self._fresh(f"container {owner}", lambda step: _with_check_digit(f"{owner}{(serial + step) % 10**6:06}"))

    def _mrn(self, mrn: str) -> str:
        # Year, country and the first three characters stay; nine digits count; the 17th keeps the form it had.
        head, form = mrn[:7], mrn[16]
        return self._fresh(f"mrn {head}{form}", lambda step: _with_check_digit(f"{head}{step:09}{form}"))

    def _truck(self, truck: str) -> str:
        original = self._trucks[truck]
        identity = self._participant(truck)
        # A plate cannot be counted up (each country has its own pattern), a fleet's own numbers can.
        vehicle = self._fresh("vehicle", lambda step: f"fleet/COPY-{step:05}")
        self._trucks[identity] = replace(original, id=identity, vehicle=vehicle)
        return identity

    def _seal(self, seal: Seal, containers: dict[str, str]) -> Seal:
        number = self._fresh(f"seal {seal.number}", lambda step: _suffixed(seal.number, f"-{step}", MAX_SEAL_CHARS))
        return replace(
            seal,
            number=number,
            container=None if seal.container is None else containers[seal.container],
            device=None if seal.device is None else self._participant(seal.device),
        )

    def _participant(self, participant: str) -> str:
        identity = self._fresh(
            f"participant {participant}", lambda step: _suffixed(participant, f"-{step}", MAX_PARTICIPANT_ID_CHARS)
        )
        self._participants[identity] = replace(self._participants[participant], id=identity)
        return identity


def _with_check_digit(text: str) -> str:
    return f"{text}{iso6346_check_digit(text)}"


def _suffixed(text: str, suffix: str, longest: int) -> str:
    return text[: longest - len(suffix)] + suffix

"""Who signs what, in which order, at which gateway: a scenario spelled out as steps. Pure; nothing here sends anything.

Stories that a scenario tells step by step are written in `nodes.demo.told`; this module writes those that follow the
usual course.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from contracts.identifiers import iso6346_check_digit
from ledger.cbor import Value
from nodes.demo.scenario import Authority, Crossing, Declaration, Position, Scenario
from nodes.demo.story import ACCEPTED, MINUTE_S, Payload, Step, Story, along, new_seal, photo
from nodes.demo.told import StepFault, recognition_of, told_crossing, told_declaration, told_proposal, told_registration


@dataclass(frozen=True, slots=True)
class Script:
    declarations: tuple[Story, ...]
    crossings: tuple[Story, ...]
    refusals: tuple[Story, ...] = field(default=())
    registrations: tuple[Story, ...] = field(default=())
    proposals: tuple[Story, ...] = field(default=())

    def stories(self) -> Iterator[Story]:
        """In the order in which their kinds are played."""
        yield from (*self.proposals, *self.registrations, *self.declarations, *self.refusals, *self.crossings)

    def steps(self) -> Iterator[Step]:
        for story in self.stories():
            yield from story.steps


def write_script(scenario: Scenario) -> Script:
    """Raises StepFault for a told step that cannot be written; `told_faults` finds all of them, with their places."""
    script = Script(
        declarations=tuple(_declaration(scenario, item) for item in scenario.declarations.values()),
        crossings=tuple(
            told_crossing(scenario, item) if item.steps else _Crossing(scenario, item, number).story()
            for number, item in enumerate(scenario.crossings)
        ),
        refusals=tuple(_refusals(scenario)),
        registrations=tuple(told_registration(scenario, item) for item in scenario.registrations),
        proposals=tuple(told_proposal(scenario, item) for item in scenario.proposals),
    )
    for step in script.steps():
        step.check()
    return script


def told_faults(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Told steps that cannot be written: the field of the scenario file, and what is wrong with it."""
    stories: list[tuple[str, Callable[[], object]]] = [
        (f"registrations[{number}]", partial(told_registration, scenario, item))
        for number, item in enumerate(scenario.registrations)
    ]
    stories += [
        (f"proposals[{number}]", partial(told_proposal, scenario, item))
        for number, item in enumerate(scenario.proposals)
    ]
    stories += [
        (f"declarations[{number}]", partial(_declaration, scenario, item))
        for number, item in enumerate(scenario.declarations.values())
        if item.steps
    ]
    stories += [
        (f"crossings[{number}]", partial(told_crossing, scenario, item))
        for number, item in enumerate(scenario.crossings)
        if item.steps
    ]
    for place, write in stories:
        try:
            write()
        except StepFault as fault:
            yield f"{place}.steps[{fault.number}]", fault.message


def _declaration(scenario: Scenario, declaration: Declaration) -> Story:
    if declaration.steps:
        return told_declaration(scenario, declaration, partial(_lodging, declaration))
    home, partner = scenario.authority(declaration.home), scenario.partner(declaration.home)
    steps: list[Step] = []

    def say(actor: str, authority: Authority, event: str, payload: Payload) -> None:
        steps.append(Step(actor, authority.name, f"declaration.{event}", declaration.ucr, payload, event))

    say(declaration.declarant, home, "lodge", _lodging(declaration, partner))
    if declaration.decision == "reject":
        say(home.officer, home, "reject", {"reasons": [declaration.reason]})
        return Story(declaration.ucr, tuple(steps), "rejected")
    say(home.system, home, "register", {})
    say(home.system, home, "accept", {"number": declaration.numbers[home.name]})
    if declaration.control != "none":
        say(home.officer, home, "control", {"control": declaration.control})
        if declaration.decision == "release":
            say(home.officer, home, "control_result", {"result": "satisfactory"})
    if declaration.decision == "refuse":
        say(home.officer, home, "refuse", {"reasons": [declaration.reason]})
        return Story(declaration.ucr, tuple(steps), "refused")
    say(home.system, home, "release", {})
    recognition = recognition_of(scenario, 1, f"Released by {home.name}")
    recognition["number"] = declaration.numbers[partner.name]
    say(partner.system, partner, "recognise", recognition)
    return Story(declaration.ucr, tuple(steps), "released", recognition="recognised")


def _lodging(declaration: Declaration, partner: Authority) -> Payload:
    goods: list[Value] = []
    for item in declaration.goods:
        line: dict[str | int, Value] = {"hs": item.hs, "description": item.description, "mass_g": item.mass_g}
        if item.packages:
            line["packages"] = item.packages
        goods.append(line)
    return {
        "home": declaration.home,
        "partner": partner.name,
        "carrier": declaration.carrier,
        "content": {
            "consignor": declaration.consignor,
            "consignee": declaration.consignee,
            "origin": declaration.origin,
            "destination": declaration.destination,
            "gross_mass_g": declaration.gross_mass_g,
            "goods": goods,
            "containers": list(declaration.containers),
        },
    }


def _refusals(scenario: Scenario) -> Iterator[Story]:
    """A crossing planned on a declaration that was refused: the contracts must turn it away."""
    used = {crossing.mrn for crossing in scenario.crossings}
    for declaration in scenario.declarations.values():
        if declaration.decision == "release" or declaration.steps:
            continue
        crossing = next((item for item in scenario.crossings if _home(scenario, item).name == declaration.home), None)
        if crossing is None:
            continue
        mrn = _unused_mrn(crossing.mrn, used)
        used.add(mrn)
        plan = _Crossing(scenario, crossing, 0).plan(mrn, [declaration.ucr], list(declaration.containers))
        yield Story(mrn, (plan,), "")


def _unused_mrn(mrn: str, used: set[str]) -> str:
    for number in range(999_999, 0, -1):
        text = f"{mrn[:10]}{number:06}{mrn[16]}"
        text += str(iso6346_check_digit(text))
        if text not in used:
            return text
    raise ValueError("no movement reference number is left")


def _home(scenario: Scenario, crossing: Crossing) -> Authority:
    return scenario.authority(scenario.departure(crossing).authority)


class _Crossing:
    """Writes the story of one crossing."""

    def __init__(self, scenario: Scenario, crossing: Crossing, number: int) -> None:
        self._scenario = scenario
        self._crossing = crossing
        self._number = number
        self._route = scenario.routes[crossing.route]
        self._from, self._to = scenario.departure(crossing), scenario.destination(crossing)
        self._home, self._partner = scenario.authority(self._from.authority), scenario.authority(self._to.authority)
        self._seals = list(crossing.seals)
        self._steps: list[Step] = []

    def _say(
        self,
        actor: str,
        authority: Authority,
        event: str,
        where: str,
        payload: Payload,
        *,
        fix: Position | None = None,
        driving: bool = False,
        outcome: str = ACCEPTED,
        remark: str = "",
        subject: str | None = None,
    ) -> None:
        kind = event if "." in event else f"escort.{event}"
        subject = subject or self._crossing.mrn
        step = Step(actor, authority.name, kind, subject, payload, where, fix, driving, outcome, remark)
        self._steps.append(step)

    def _terminal(self, post: str, instrument: str) -> str:
        return self._scenario.terminal(post, instrument).id

    def plan(self, mrn: str, declarations: list[str], containers: list[str]) -> Step:
        """The plan, or with other declarations than the crossing's one that must be turned away."""
        turned_away = declarations != list(self._crossing.declarations)
        truck = self._scenario.trucks[self._crossing.truck]
        payload: Payload = {
            "declarations": list(declarations),
            "truck": truck.id,
            "vehicle": truck.vehicle,
            "carrier": truck.carrier,
            "receiver": self._crossing.receiver,
            "containers": list(containers),
            "exit_post": self._from.place,
            "entry_post": self._to.place,
            "route": [self._from.place, self._to.place],
            "corridor_m": self._route.corridor_m,
            "limit_to_border_s": self._route.border_leg_min * MINUTE_S,
            "limit_to_destination_s": self._route.arrival_leg_min * MINUTE_S,
        }
        outcome = "declaration_not_released" if turned_away else ACCEPTED
        where = f"planned at {self._from.title}"
        return Step(self._home.system, self._home.name, "escort.plan", mrn, payload, where, outcome=outcome)

    def story(self) -> Story:
        self._steps = [
            self.plan(self._crossing.mrn, list(self._crossing.declarations), list(self._crossing.containers))
        ]
        self._depart()
        self._reach_border()
        if not self._hand_over():
            return Story(self._crossing.mrn, tuple(self._steps), "returned", custody=self._home.name)
        self._arrive()
        return Story(self._crossing.mrn, tuple(self._steps), "discharged", custody=self._partner.name)

    def _depart(self) -> None:
        crossing, home, at = self._crossing, self._home, self._from
        load: Payload = {"containers": list(crossing.containers), "mass_g": crossing.mass_g}
        self._say(self._terminal(at.name, "weighbridge"), home, "load", f"loaded at {at.title}", load)
        seals: Payload = {
            "seals": [new_seal(seal) for seal in self._seals],
            "photo_sha256": photo(crossing.mrn, "seal"),
        }
        self._say(self._terminal(at.name, "gate"), home, "seal", f"sealed at {at.title}", seals)
        self._say(home.system, home, "start", f"leaving {at.title}", {})
        broken = crossing.seal_broken
        points = along(self._route.points, crossing.positions_before_border + crossing.positions_after_border)
        for number in range(crossing.positions_before_border):
            if broken is not None and number == broken.after_positions:
                self._break_seal(points[number])
            self._drive(home, points[number], f"on the road from {at.title}")
        if broken is not None and broken.after_positions >= crossing.positions_before_border:
            self._break_seal(points[crossing.positions_before_border - 1])

    def _drive(self, ground: Authority, point: Position, where: str) -> None:
        self._say(self._crossing.truck, ground, "position", where, {}, fix=point, driving=True)

    def _break_seal(self, point: Position) -> None:
        broken = self._crossing.seal_broken
        if broken is None:
            return
        seal = next(item for item in self._seals if item.number == broken.seal)
        incident: Payload = {"code": "01", "seal": seal.number}
        where = f"held: seal {seal.number} broken"
        self._say(seal.device or "", self._home, "incident", where, incident, fix=point, remark="seal broken, held")
        self._seals.remove(seal)
        self._seals += broken.replacement
        resume: Payload = {
            "seals": [new_seal(item) for item in broken.replacement],
            "note": "Goods found complete, sealed anew",
            "photo_sha256": photo(self._crossing.mrn, "new seal"),
        }
        self._say(self._home.officer, self._home, "resume", "sealed anew, going on", resume, remark="sealed anew")

    def _reach_border(self) -> None:
        crossing, at = self._crossing, self._from
        border = along(self._route.points, crossing.positions_before_border + crossing.positions_after_border)[
            crossing.positions_before_border - 1
        ]
        reports = [
            (crossing.truck, {}, border),
            (self._terminal(at.name, "gate"), {"photo_sha256": photo(crossing.mrn, "border")}, None),
        ]
        # Truck and gate both report, in whichever order: every other crossing the gate is first.
        for actor, payload, fix in reports if self._number % 2 == 0 else reversed(reports):
            self._say(actor, self._home, "reach_border", f"at the border, {at.title} side", payload, fix=fix)

    def _readings(self) -> list[Value]:
        return [{"id": seal.number, "state": "intact"} for seal in self._seals]

    def _hand_over(self) -> bool:
        """Offer and answer. Whether the truck goes on."""
        crossing, home, partner = self._crossing, self._home, self._partner
        offer: Payload = {
            "seals": self._readings(),
            "mass_g": crossing.mass_g,
            "photo_sha256": photo(crossing.mrn, "offer"),
        }
        self._say(self._terminal(self._from.name, "weighbridge"), home, "offer", f"offered to {partner.name}", offer)
        weighbridge = self._terminal(self._to.name, "weighbridge")
        difference = crossing.mass_difference
        measured_g = crossing.mass_g if difference is None else difference.measured_g
        answer: Payload = {"seals": self._readings(), "mass_g": measured_g}
        if difference is None:
            self._say(weighbridge, partner, "accept", f"handed over to {partner.name}", answer)
            return True
        where = "disputed: mass differs"
        # The simple answer is not open to the terminal: the contract weighs for itself.
        self._say(weighbridge, partner, "accept", "offered", answer, outcome="mass_out_of_tolerance")
        self._say(weighbridge, partner, "accept_with_differences", where, answer, remark="mass differs, disputed")
        decision: Payload = {"decision": difference.resolution, "reason": "Weighed again by both sides"}
        self._say(partner.officer, partner, "resolve", f"{where}, {partner.name} agreed", decision)
        handed_over = difference.resolution == "handed_over"
        where = f"handed over to {partner.name}" if handed_over else f"returned to {home.name}"
        self._say(home.officer, home, "resolve", where, decision, remark="dispute resolved")
        return handed_over

    def _arrive(self) -> None:
        crossing, partner, at = self._crossing, self._partner, self._to
        points = along(self._route.points, crossing.positions_before_border + crossing.positions_after_border)
        for point in points[crossing.positions_before_border :]:
            self._drive(partner, point, f"on the road to {at.title}")
        where = f"at {at.title}, its whole track signed"
        self._steps.append(Step(crossing.truck, partner.name, "escort.position", crossing.mrn, {}, where, batch=True))
        self._say(self._terminal(at.name, "gate"), partner, "arrive", f"arrived at {at.title}", {})
        unload: Payload = {"as_declared": True, "seals": self._readings()}
        self._say(partner.officer, partner, "unload", f"unloaded at {at.title}, discharged", unload)
        for ucr in crossing.declarations:
            clear: Payload = {"note": f"Exit confirmed by {crossing.mrn}"}
            self._say(self._home.system, self._home, "declaration.clear", "cleared", clear, subject=ucr)

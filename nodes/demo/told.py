"""Stories that a scenario tells step by step, for the branches that the usual course does not take.

A told step names an event and, where they differ from the usual, who signs it, what the payload holds, and with which
outcome it is refused. Everything else is filled in as the usual course would: readings are those of the seals in force,
masses those of the crossing, a position is where the truck was last. Four words stand for several steps: `depart`
(plan, load, seal, start), `border` (truck and gate report), `hand_over` (offer, accept), `finish` (arrive, unload,
clear each declaration). `batch` signs the track that the truck kept while it drove.

Raises `StepFault` for a step that cannot be written: which, and what is expected. What the contracts would refuse
because of the state is not looked for here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from contracts.incidents import INCIDENTS
from contracts.payloads import SCHEMAS
from contracts.schema import PayloadError
from ledger.algorithms import EDDSA, PrivateKey
from nodes.demo.scenario import Authority, Crossing, Declaration, Position, Proposal, Registration, Scenario, Told
from nodes.demo.story import ACCEPTED, MINUTE_S, Payload, Step, Story, along, new_seal, photo

WORDS: Final = {
    "depart": ("plan", "load", "seal", "start"),
    "border": ("reach_border truck", "reach_border gate"),
    "hand_over": ("offer", "accept"),
    "finish": ("arrive", "unload", "clear"),
}
# Who signs an event unless the step says otherwise.
USUAL: Final = {
    "declaration.lodge": "declarant",
    "declaration.request_amendment": "declarant",
    "declaration.request_invalidation": "declarant",
    "declaration.reject": "home officer",
    "declaration.control": "home officer",
    "declaration.control_result": "home officer",
    "declaration.refuse": "home officer",
    "declaration.recognise": "partner system",
    "declaration.refuse_recognition": "partner officer",
    "declaration.suspend_recognition": "partner officer",
    "declaration.resume_recognition": "partner officer",
    "declaration.withdraw_recognition": "partner officer",
    "declaration": "home system",
    "escort.load": "weighbridge",
    "escort.seal": "gate",
    "escort.position": "truck",
    "escort.reach_border": "truck",
    "escort.offer": "weighbridge",
    "escort.accept": "partner weighbridge",
    "escort.accept_with_differences": "partner weighbridge",
    "escort.refuse_handover": "partner officer",
    "escort.arrive": "partner gate",
    "escort.unload": "partner officer",
    "escort.discrepancy": "partner officer",
    "escort.incident": "truck",
    "escort.plan": "home system",
    "escort.start": "home system",
    "escort.refuse_start": "home officer",
    "escort": "officer",
    "registry": "home registrar",
    "governance.propose": "home registrar",
    "governance.withdraw": "home registrar",
    "governance": "partner registrar",
}
BATCH: Final = "batch"
INSTRUMENTS: Final = ("gate", "weighbridge", "scanner")


class StepFault(Exception):
    """A told step that cannot be written: `number` counts from 0."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"step {number + 1}: {message}")
        self.number = number
        self.message = message


class _Teller:
    """What all told stories have in common: turning one told step into a step."""

    def __init__(self, scenario: Scenario, home: Authority, subject: str, contract: str) -> None:
        self.scenario = scenario
        self.home, self.partner = home, scenario.partner(home.name)
        self.subject = subject
        self.contract = contract
        self.steps: list[Step] = []
        self._keys: dict[str, PrivateKey] = {}

    def tell(self, told: Sequence[Told]) -> None:
        for number, item in enumerate(told):
            try:
                self._tell(item)
            except (PayloadError, ValueError) as error:
                raise StepFault(number, str(error)) from error

    def _tell(self, told: Told) -> None:
        if told.wait:
            where = told.say or f"waits until {told.wait}"
            self.steps.append(Step("", self.ground().name, "", self.subject, {}, where, wait=told.wait))
            return
        for _ in range(told.drive):
            self.drive()
        if told.do in WORDS and (told.payload or told.by or told.refused != ACCEPTED):
            raise ValueError(f"{told.do} stands for several steps: expected it alone")
        if told.do == BATCH:
            self.batch(told)
            return
        for word in WORDS.get(told.do, (told.do,) if told.do else ()):
            event, _, by = word.partition(" ")
            self._say(told, event, told.by or by)

    def _say(self, told: Told, event: str, by: str) -> None:
        kind = event if "." in event else f"{self.contract_of(event)}.{event}"
        if kind not in SCHEMAS:
            raise ValueError(
                f"expected an event that a contract knows, or one of {', '.join((*WORDS, BATCH))}, got {event!r}"
            )
        contract = kind.partition(".")[0]
        by = by or USUAL.get(kind) or USUAL[contract]
        actor, authority = self.actor(by)
        for subject in self.subjects(kind):
            spelled = self._spelled(told.payload)
            payload = {**self.usual(kind, subject, spelled), **spelled}
            step = Step(
                actor, authority.name, kind, subject, payload, told.say or self.where(event), outcome=told.refused,
                remark=told.say if told.refused == ACCEPTED else "", clock_s=told.clock_s, again=told.again,
                fix=self.stands(kind, payload), names_proposal=self.names_proposal(kind),
            )  # fmt: skip
            step.check()
            self.steps.append(step)
            if step.outcome == ACCEPTED:
                self.took(kind, payload, authority)

    def _spelled(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """What a file writes as text and a statement carries as bytes: a hash by the name of what it is of, a key by
        a name of its own."""
        spelled: dict[str, Any] = {}
        for name, value in payload.items():
            if isinstance(value, Mapping):
                spelled[name] = self._spelled(value)
            elif isinstance(value, list):
                spelled[name] = [self._spelled(item) if isinstance(item, Mapping) else item for item in value]
            elif isinstance(value, str) and name.endswith("sha256"):
                spelled[name] = photo(value)
            elif isinstance(value, str) and name in ("kid", "replaces"):
                spelled[name] = self._key(value).public.kid
            elif isinstance(value, str) and name == "key":
                spelled[name] = self._key(value).public.cose_key
            else:
                spelled[name] = value
        return spelled

    def _key(self, name: str) -> PrivateKey:
        return self._keys.setdefault(name, PrivateKey.generate(EDDSA))

    def actor(self, by: str) -> tuple[str, Authority]:
        """Who signs, and on whose ground: `partner officer`, `gate`, or the id of a participant."""
        side, _, role = by.rpartition(" ")
        authority = {"": self.ground(), "home": self.home, "partner": self.partner}.get(side)
        if authority is not None and role in ("officer", "system", "registrar"):
            return f"{authority.name}/{role}", authority
        participant = self.scenario.participants.get(by)
        if participant is None:
            raise ValueError(f"by: expected a participant of this scenario or a word for one, got {by!r}")
        return by, self.scenario.authority(participant.authority)

    # What each kind of story says for itself.

    def contract_of(self, event: str) -> str:
        return self.contract

    def ground(self) -> Authority:
        return self.home

    def subjects(self, kind: str) -> tuple[str, ...]:
        return (self.subject,)

    def where(self, event: str) -> str:
        return event.replace("_", " ")

    def usual(self, kind: str, subject: str, given: Payload) -> dict[str, Any]:
        return {}

    def took(self, kind: str, payload: Payload, authority: Authority) -> None:
        return None

    def drive(self) -> None:
        raise ValueError("drive: expected in the steps of a crossing alone")

    def batch(self, told: Told) -> None:
        raise ValueError("batch: expected in the steps of a crossing alone")

    def stands(self, kind: str, payload: Payload) -> Position | None:
        """Where the device is, if the statement says so."""
        return None

    def names_proposal(self, kind: str) -> bool:
        """Whether the statement names the one that proposed what it is about."""
        return False


class _ToldDeclaration(_Teller):
    def __init__(self, scenario: Scenario, declaration: Declaration, lodging: Callable[[Authority], Payload]) -> None:
        super().__init__(scenario, scenario.authority(declaration.home), declaration.ucr, "declaration")
        self._declaration = declaration
        self._lodging = dict(lodging(self.partner))
        self._version = 1
        self._numbered = False

    def actor(self, by: str) -> tuple[str, Authority]:
        return (self._declaration.declarant, self.home) if by == "declarant" else super().actor(by)

    def usual(self, kind: str, subject: str, given: Payload) -> dict[str, Any]:
        event, numbers = kind.partition(".")[2], self._declaration.numbers
        number = {"number": numbers.get(self.home.name, "")}
        reason = {"reason": self._declaration.reason or "Decided on the documents"}
        if event.endswith(("recognise", "_recognition")):
            decided = recognition_of(self.scenario, self._version, reason["reason"])
            return {**decided, "number": numbers.get(self.partner.name, "")} if event == "recognise" else decided
        payloads: dict[str, dict[str, Any]] = {
            "lodge": self._lodging,
            "accept": number,
            "accept_amendment": {} if self._numbered else number,
            "refuse_amendment": reason if self._numbered else {**reason, **number},
            "control": {"control": "documentary"},
            "control_result": {"content": self._lodging["content"]}
            if "result" in given
            else {"result": "satisfactory"},
            "reject": {"reasons": [reason["reason"]]},
            "refuse": {"reasons": [reason["reason"]]},
            "request_amendment": {"content": self._lodging["content"], **reason},
        }
        return payloads.get(event, reason if event.endswith(("invalidation", "invalidate")) else {})

    def took(self, kind: str, payload: Payload, authority: Authority) -> None:
        self._numbered = self._numbered or "number" in payload
        corrected = payload.get("result") == "corrected"
        self._version += kind == "declaration.accept_amendment" or corrected


def recognition_of(scenario: Scenario, version: int, reason: str) -> dict[str, Any]:
    """What every decision about a recognition says."""
    basis = scenario.legal_basis
    cited = {"agreement": basis.agreement, "article": basis.article, "effective": basis.effective.isoformat()}
    return {"version": version, "reason": reason, "legal_basis": cited}


def told_declaration(scenario: Scenario, declaration: Declaration, lodging: Callable[[Authority], Payload]) -> Story:
    teller = _ToldDeclaration(scenario, declaration, lodging)
    teller.tell(declaration.steps)
    return Story(declaration.ucr, tuple(teller.steps), declaration.ends, recognition=declaration.recognition)


class _ToldCrossing(_Teller):
    def __init__(self, scenario: Scenario, crossing: Crossing) -> None:
        departs, arrives = scenario.departure(crossing), scenario.destination(crossing)
        super().__init__(scenario, scenario.authority(departs.authority), crossing.mrn, "escort")
        self._crossing = crossing
        self._posts = {self.home.name: departs, self.partner.name: arrives}
        self._truck = crossing.truck
        self._seals: dict[str, str] = {}  # number to what it was last read as
        self._mass_g = crossing.mass_g
        self._over = self._vehicle_changed = False
        self._decisions: dict[str, str] = {}
        self._here = scenario.routes[crossing.route].points[0]
        self._points = iter(along(scenario.routes[crossing.route].points, max(1, sum(s.drive for s in crossing.steps))))

    def contract_of(self, event: str) -> str:
        return "declaration" if event == "clear" else "escort"

    def ground(self) -> Authority:
        return self.partner if self._over else self.home

    def subjects(self, kind: str) -> tuple[str, ...]:
        return self._crossing.declarations if kind.startswith("declaration.") else (self.subject,)

    def where(self, event: str) -> str:
        post = self._posts[self.ground().name].title
        return f"{event.replace('_', ' ')} at {post}"

    def drive(self) -> None:
        where = f"on the road at {self._posts[self.ground().name].title}"
        point = self._here = next(self._points)
        step = Step(self._truck, self.ground().name, "escort.position", self.subject, {}, where, point, driving=True)
        self.steps.append(step)

    def batch(self, told: Told) -> None:
        actor, authority = self.actor(told.by or "truck")
        where = told.say or f"its track signed at {self._posts[self.ground().name].title}"
        self.steps.append(
            Step(actor, authority.name, "escort.position", self.subject, {}, where, remark=told.say, batch=True)
        )

    def stands(self, kind: str, payload: Payload) -> Position | None:
        return self._here if kind == "escort.position" and "fix" not in payload else None

    def actor(self, by: str) -> tuple[str, Authority]:
        if by == "truck":
            return self._truck, self.ground()
        side, _, instrument = by.rpartition(" ")
        if instrument in INSTRUMENTS and side in ("", "home", "partner"):
            authority = self.partner if side == "partner" else self.home
            return self.scenario.terminal(self._posts[authority.name].name, instrument).id, authority
        if side == "seal":
            device = next((seal.device for seal in self._crossing.seals if seal.number == instrument), None)
            if device is None:
                raise ValueError(f"by: expected an electronic seal of this crossing, got {instrument!r}")
            return device, self.ground()
        actor, authority = super().actor(by)
        return actor, self.ground() if actor in self.scenario.trucks else authority

    def _readings(self) -> list[Any]:
        return [{"id": number, "state": "intact"} for number in self._seals]

    def usual(self, kind: str, subject: str, given: Payload) -> dict[str, Any]:
        crossing, event = self._crossing, kind.partition(".")[2]
        reason = {"reason": "Decided at the post"}
        if kind.startswith("declaration."):
            clear = {"note": f"Exit confirmed by {crossing.mrn}"}
            return clear if event == "clear" else recognition_of(self.scenario, 1, reason["reason"])
        read = {"seals": self._readings(), "mass_g": self._mass_g}
        if event == "plan":
            return self._plan()
        payloads: dict[str, dict[str, Any]] = {
            "load": {"containers": list(crossing.containers), "mass_g": crossing.mass_g},
            "seal": {"seals": [new_seal(seal) for seal in crossing.seals], "photo_sha256": photo(subject, "seal")},
            "offer": {**read, "photo_sha256": photo(subject, "offer")},
            "accept": read,
            "accept_with_differences": read,
            "unload": {"as_declared": True, "seals": self._readings()},
            "discrepancy": {"findings": ["Not as declared"]},
            "position": {},
            "incident": {"code": "04"},
            "resume": {},
            "start": {},
            "arrive": {},
            "reach_border": {},
        }
        return payloads.get(event, reason)

    def _plan(self) -> dict[str, Any]:
        crossing, truck = self._crossing, self.scenario.trucks[self._crossing.truck]
        route = self.scenario.routes[crossing.route]
        departs, arrives = self._posts[self.home.name], self._posts[self.partner.name]
        return {
            "declarations": list(crossing.declarations),
            "truck": truck.id,
            "vehicle": truck.vehicle,
            "carrier": truck.carrier,
            "receiver": crossing.receiver,
            "containers": list(crossing.containers),
            "exit_post": departs.place,
            "entry_post": arrives.place,
            "route": [departs.place, arrives.place],
            "corridor_m": route.corridor_m,
            "limit_to_border_s": route.border_leg_min * MINUTE_S,
            "limit_to_destination_s": route.arrival_leg_min * MINUTE_S,
        }

    def took(self, kind: str, payload: Payload, authority: Authority) -> None:
        """Keep in mind what the next steps' usual payloads follow from."""
        given: Any = payload
        event = kind.partition(".")[2]
        if event == "incident":
            rule = INCIDENTS[given["code"]]
            self._vehicle_changed = rule.changes_vehicle
            if rule.breaks_seal:
                self._seals.pop(given["seal"], None)
        if event == "accept_with_differences":
            self._seals.update({item["id"]: item["state"] for item in given["seals"] if item["id"] in self._seals})
        if event == "resume" and self._vehicle_changed:
            self._seals.clear()
            self._vehicle_changed = False
            self._truck, self._mass_g = given.get("truck", self._truck), given.get("mass_g", self._mass_g)
        if event in ("seal", "resume", "resolve") and "seals" in given:
            self._seals = {number: "intact" for number, state in self._seals.items() if state == "intact"}
            self._seals.update({item["id"]: "intact" for item in given["seals"]})
        if event == "resolve":
            self._decisions[authority.name] = given["decision"]
        agreed = list(self._decisions.values()) == ["handed_over", "handed_over"]
        self._over = self._over or event == "accept" or agreed


def told_crossing(scenario: Scenario, crossing: Crossing) -> Story:
    teller = _ToldCrossing(scenario, crossing)
    teller.tell(crossing.steps)
    home, partner = teller.home.name, teller.partner.name
    custody = partner if crossing.custody == "partner" else home
    return Story(crossing.mrn, tuple(teller.steps), crossing.ends, custody=custody)


class _ToldRegistration(_Teller):
    def __init__(self, scenario: Scenario, registration: Registration) -> None:
        participant = scenario.participants[registration.participant]
        super().__init__(scenario, scenario.authority(participant.authority), participant.id, "registry")

    def usual(self, kind: str, subject: str, given: Payload) -> dict[str, Any]:
        event = kind.partition(".")[2]
        if event == "publish_envelope_key":
            return {"authority": self.home.name, "key": sha256(f"envelopes of {self.home.name}".encode()).digest()}
        return {} if event in ("rotate", "enrol") else {"reason": "Said by the registrar"}


def told_registration(scenario: Scenario, registration: Registration) -> Story:
    teller = _ToldRegistration(scenario, registration)
    teller.tell(registration.steps)
    return Story(registration.participant, tuple(teller.steps), "enrolled")


class _ToldProposal(_Teller):
    def __init__(self, scenario: Scenario, proposal: Proposal) -> None:
        super().__init__(scenario, scenario.authority(proposal.authority), proposal.id, "governance")
        self._proposal = proposal

    def usual(self, kind: str, subject: str, given: Payload) -> dict[str, Any]:
        event = kind.partition(".")[2]
        if event == "propose":
            return {"title": self._proposal.title, "changes": [self._spelled(each) for each in self._proposal.changes]}
        return {} if event == "approve" else {"reason": "Decided by the two sides"}

    def names_proposal(self, kind: str) -> bool:
        return kind.startswith("governance.") and kind != "governance.propose"


def told_proposal(scenario: Scenario, proposal: Proposal) -> Story:
    teller = _ToldProposal(scenario, proposal)
    teller.tell(proposal.steps)
    return Story(proposal.id, tuple(teller.steps), proposal.ends)

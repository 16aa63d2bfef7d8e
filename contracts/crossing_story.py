"""What the statements about one movement and its declarations tell, one after the other: the story of a crossing.

A fold over accepted statements, with nothing but the tables of the contracts: no state, no registry, no parameters. It
says where the movement stands after each of them, who had custody from when to when, which seals were put on and what
became of them, which incidents there were, and what the declarations said and were decided.

Promises: a statement that does not follow from those before it, by the table of its contract, ends the story with
`Untrue`: then one of those before it is missing, or it belongs to another movement. Of what happens by itself, the
passing of a time limit, the story says that it did, where the next statement presupposes it. For what the contracts
accepted it comes to the same as their own record does; the tests hold the two against each other.

Does not: notice that a statement is missing whose absence changes no state (a note, an incident that holds nothing);
judge guards again (masses, posts, time limits): both authorities have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import declaration_record as d
from contracts import movement as m
from contracts.catalogue import CONTRACTS, kind_parts
from contracts.escort import DEADLINES
from contracts.incidents import INCIDENTS
from contracts.incidents import SAME as CONSEQUENCE_SAME
from contracts.machine import ABSENT
from contracts.payloads import validate_payload
from contracts.schema import PayloadError
from ledger.errors import Untrue
from ledger.statement import Statement

ESCORT = "escort"
DECLARATION = "declaration"
# The most frequent statement, and the one that changes nothing that a certificate tells.
POSITION = "escort.position"
_CODE = "story_breaks"


def _rows(contract: str, machine: int) -> dict[tuple[str, str], tuple[str, ...]]:
    """(state, event) to the states it can end in, of all versions of a contract."""
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    for (name, _), declared in sorted(CONTRACTS.items()):
        if name == contract:
            for key, transition in declared.machines[machine].transitions.items():
                rows[key] = tuple(dict.fromkeys((*rows.get(key, ()), *transition.to)))
    return rows


_MOVEMENT = _rows(ESCORT, 0)
_STATUS = _rows(DECLARATION, 0)
_RECOGNITION = _rows(DECLARATION, 1)


@dataclass(frozen=True, slots=True)
class Told:
    """One statement on the ledger, and what came of it."""

    index: int
    block_time_ms: int
    statement: Statement
    authority: str  # under whose namespace its signer is; empty if nobody's
    state: str = ""  # of its subject, after it
    lapsed: str = ""  # a state that the passing of a time limit had brought it to before this statement

    @property
    def event(self) -> str:
        return kind_parts(self.statement.kind)[1]

    @property
    def payload(self) -> Mapping[str, Any]:
        return self.statement.payload  # type: ignore[return-value]  # its keys are text: its schema was held against it


@dataclass(frozen=True, slots=True)
class CustodyTold:
    """From a statement on, until the next."""

    authority: str
    liable: str
    since: Told


@dataclass(slots=True)
class SealTold:
    """A seal from the statement that put it on to the one that ended it; `state` as in the movement's record."""

    id: str
    seal_class: str
    container: str | None
    device: str | None
    put_on: Told
    state: str = m.INTACT
    ended: Told | None = None
    readings: list[tuple[Told, str]] = field(default_factory=list)

    def end(self, state: str, at: Told) -> None:
        self.state, self.ended = state, at


@dataclass(slots=True)
class DeclarationTold:
    """A declaration as far as it was told. Contents are payloads as they were signed."""

    ucr: str
    status: str = ABSENT
    recognition: str = d.NONE
    recognised_version: int = 0
    version: int = 0
    home: str = ""
    partner: str = ""
    number: str = ""
    partner_number: str = ""
    legal_basis: Mapping[str, Any] = field(default_factory=dict)
    declarant: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    content_of: Statement | None = None  # in which the content in force was declared
    pending: Statement | None = None  # a request to amend that is not decided
    told: list[Told] = field(default_factory=list)

    def stands(self) -> bool:
        """Whether goods may move on it: released, and recognised in its present version."""
        return (
            self.status in (d.RELEASED, d.CLEARED)
            and self.recognition == d.RECOGNISED
            and self.recognised_version == self.version
        )


class Story:
    """A crossing as its statements tell it. `told` has all of them, of movement and declarations, in their order."""

    def __init__(self, mrn: str) -> None:
        self.mrn = mrn
        self.told: list[Told] = []
        self.declarations: dict[str, DeclarationTold] = {}
        self.plan: Mapping[str, Any] = {}
        self.state = ABSENT
        self.came_from = ""
        self.departure = ""
        self.destination = ""
        self.truck = ""
        self.vehicle = ""
        self.containers: tuple[str, ...] = ()
        self.custody: list[CustodyTold] = []
        self.seals: dict[str, SealTold] = {}
        self.incidents: list[Told] = []
        self.masses_g: list[tuple[Told, int]] = []
        self.discharged: Told | None = None
        self._at_border: set[bool] = set()  # by the truck, by the gate
        self._opened: frozenset[str] = frozenset()  # seals that the receiving terminal did not find intact
        self._decisions: dict[str, str] = {}
        self._vehicle_changed = False
        self._incident_vehicle: str | None = None

    def take(self, index: int, block_time_ms: int, statement: Statement, authority: str) -> None:
        """Follow the next statement. Untrue if it cannot be the next; the story is then of no use any more."""
        try:
            validate_payload(statement.kind, statement.payload)  # type: ignore[arg-type]
        except PayloadError as error:
            raise Untrue(_CODE, f"entry {index}, {statement.kind}: {error}") from error
        told = Told(index, block_time_ms, statement, authority)
        contract, event = kind_parts(statement.kind)
        if contract == ESCORT and statement.sub == self.mrn:
            told = self._move(told, event)
        elif (contract == DECLARATION and self.state == ABSENT) or (
            contract == DECLARATION and statement.sub in self.declarations
        ):
            told = self._declare(told, event)
        else:
            raise Untrue(_CODE, f"entry {index}: {statement.kind} about {statement.sub} is not about {self.mrn}")
        self.told.append(told)

    def states_now(self) -> tuple[str, ...]:
        """Where the movement can stand: as its last statement left it, or where the passing of a time limit leads."""
        rule = DEADLINES.get(self.state)
        return (self.state,) if rule is None else (self.state, rule.to)

    def carried(self) -> dict[str, DeclarationTold]:
        """The declarations of the plan that were told, in the plan's order."""
        named = self.plan.get("declarations", ())
        return {ucr: self.declarations[ucr] for ucr in named if ucr in self.declarations}

    def not_told(self) -> tuple[str, ...]:
        """The declarations of the plan of which there is no statement."""
        return tuple(ucr for ucr in self.plan.get("declarations", ()) if ucr not in self.declarations)

    # ---- the movement

    def _move(self, told: Told, event: str) -> Told:
        lapsed = ""
        if (self.state, event) not in _MOVEMENT:
            rule = DEADLINES.get(self.state)
            if rule is None or (rule.to, event) not in _MOVEMENT:
                raise _broken(told, f"movement {self.mrn} is {_shown(self.state)}")
            self.came_from, self.state, lapsed = self.state, rule.to, rule.to
        told = _with(told, lapsed=lapsed)
        effect = _EFFECTS.get(event)
        if effect is not None:
            effect(self, told)
        to = self._after(told, event)
        if to not in _MOVEMENT[self.state, event]:
            raise _broken(told, f"it cannot bring movement {self.mrn} from {_shown(self.state)} to {to}")
        told = _with(told, state=to)
        for seal in told.payload.get("seals", ()):
            self._tell_seal(seal, told)
        if "mass_g" in told.payload:
            self.masses_g.append((told, told.payload["mass_g"]))
        if to == m.HANDED_OVER != self.state and event in ("accept", "resolve"):
            self.custody.append(CustodyTold(self.destination, self.plan["receiver"], told))
        if to == m.DISCHARGED:
            self.discharged = told
        self.state = to
        return told

    def _after(self, told: Told, event: str) -> str:
        """The state after an event: the row's only one, or what the payload and the story make of it."""
        payload = told.payload
        if event == "reach_border":
            self._at_border.add(told.statement.iss == self.truck)
            return m.AT_BORDER if len(self._at_border) == 2 else self.state
        if event == "resolve":
            self._decisions[told.authority] = payload["decision"]
            others = {made for name, made in self._decisions.items() if name != told.authority}
            return str(payload["decision"]) if payload["decision"] in others else self.state
        if event == "unload":
            return m.DISCHARGED if payload["as_declared"] else m.UNLOADED
        if event == "incident":
            consequence = INCIDENTS[payload["code"]].consequence
            if consequence == m.HELD:
                self.came_from = self.state
            return self.state if consequence == CONSEQUENCE_SAME else consequence
        if event == "resume":
            return self.came_from
        if event == "resolve_overdue":
            return {"continue": self.came_from, "abort": m.ABORTED, "recover": m.RECOVERY}[payload["decision"]]
        to = _MOVEMENT[self.state, event]
        return self.state if self.state in to else to[0]

    def _tell_seal(self, seal: Mapping[str, Any], told: Told) -> None:
        if "class" in seal:  # a new one; elsewhere `seals` are readings
            new = SealTold(seal["id"], seal["class"], seal.get("container"), seal.get("device"), told)
            if self.seals.setdefault(seal["id"], new) is not new:
                raise _broken(told, f"seal {seal['id']} was put on before")
        elif seal["id"] in self.seals:
            self.seals[seal["id"]].readings.append((told, seal["state"]))

    def _in_force(self) -> list[SealTold]:
        return [seal for seal in self.seals.values() if seal.state == m.INTACT]

    def _planned(self, told: Told) -> None:
        payload = told.payload
        self.plan = payload
        self.departure = told.authority
        self.truck, self.vehicle = payload["truck"], payload["vehicle"]
        self.containers = tuple(payload["containers"])
        self.custody.append(CustodyTold(told.authority, payload["carrier"], told))
        self.declarations = self.carried()
        for declaration in self.declarations.values():
            if not declaration.stands():
                raise _broken(
                    told,
                    f"declaration {declaration.ucr} is {_shown(declaration.status)}, recognition "
                    f"{_shown(declaration.recognition)}",
                )
            self.destination = declaration.partner

    def _accepted(self, told: Told) -> None:
        self.destination = told.authority

    def _differs(self, told: Told) -> None:
        self.destination = told.authority
        self._opened = frozenset(seal["id"] for seal in told.payload["seals"] if seal["state"] != m.INTACT)

    def _resolved(self, told: Told) -> None:
        if "seals" in told.payload:
            for seal in self._in_force():
                if seal.id in self._opened:
                    seal.end(m.REPLACED, told)

    def _happened(self, told: Told) -> None:
        self.incidents.append(told)
        rule, payload = INCIDENTS[told.payload["code"]], told.payload
        if rule.breaks_seal:
            if payload.get("seal") not in self.seals:
                raise _broken(told, f"seal {payload.get('seal')} was not put on")
            self.seals[payload["seal"]].end(m.BROKEN, told)
        self._vehicle_changed |= rule.changes_vehicle
        self._incident_vehicle = payload.get("vehicle")

    def _resumed(self, told: Told) -> None:
        payload = told.payload
        vehicle = payload.get("vehicle") or self._incident_vehicle or self.vehicle
        for seal in self.seals.values():
            if seal.state == m.BROKEN:
                seal.end(m.REPLACED, told)
        if self._vehicle_changed or vehicle != self.vehicle:  # what closed the old vehicle closes nothing now
            for seal in self._in_force():
                seal.end(m.REMOVED, told)
            if self.came_from == m.OFFERED:
                self.came_from = m.AT_BORDER
        self.vehicle, self.truck = vehicle, payload.get("truck", self.truck)
        self.containers = tuple(payload.get("containers", self.containers))
        self._vehicle_changed = False

    def _unloaded(self, told: Told) -> None:
        becomes = {m.INTACT: m.REMOVED, m.BROKEN: m.BROKEN, m.MISSING: m.MISSING}
        found = {seal["id"]: seal["state"] for seal in told.payload.get("seals", ())}
        for seal in self._in_force():
            if seal.id not in found:
                raise _broken(told, f"seal {seal.id} is in force and was not read")
            seal.end(becomes[found[seal.id]], told)

    # ---- its declarations

    def _declare(self, told: Told, event: str) -> Told:
        ucr = told.statement.sub
        record = self.declarations.setdefault(ucr, DeclarationTold(ucr))
        state = record.recognition if event in _RECOGNITION_EVENTS else record.status
        to = (_RECOGNITION if event in _RECOGNITION_EVENTS else _STATUS).get((state, event))
        if to is None:
            raise _broken(told, f"declaration {ucr} is {_shown(state)}")
        after = state if state in to else to[0]
        told = _with(told, state=after)
        payload = told.payload
        if event in _RECOGNITION_EVENTS:
            record.recognition, record.recognised_version = after, payload["version"]
            record.partner_number = payload.get("number", record.partner_number)
            record.legal_basis = payload["legal_basis"]
        else:
            record.status = after
            record.number = payload.get("number", record.number)
            self._declare_content(record, told, event)
        record.told.append(told)
        return told

    def _declare_content(self, record: DeclarationTold, told: Told, event: str) -> None:
        declares: Statement | None = None
        if event == "lodge":
            record.home, record.partner = told.payload["home"], told.payload["partner"]
            record.declarant = told.statement.iss
            declares = told.statement
        elif event == "request_amendment":
            record.pending = told.statement
        elif event == "refuse_amendment":
            record.pending = None
        elif event == "accept_amendment":
            declares, record.pending = record.pending, None
            if declares is None:
                raise _broken(told, f"declaration {record.ucr} has no amendment that waits")
        elif event == "control_result" and "content" in told.payload:
            declares = told.statement
        if declares is not None:
            record.content, record.content_of = declares.payload["content"], declares  # type: ignore[assignment]
            record.version += 1
            record.recognition = d.NONE


def _with(told: Told, *, state: str = "", lapsed: str = "") -> Told:
    return Told(
        told.index, told.block_time_ms, told.statement, told.authority, state or told.state, lapsed or told.lapsed
    )


def _shown(state: str) -> str:
    return "not there yet" if state == ABSENT else state.replace("_", " ")


def _broken(told: Told, why: str) -> Untrue:
    return Untrue(
        _CODE, f"entry {told.index}, {told.statement.kind}, does not follow from the statements before it: {why}"
    )


_RECOGNITION_EVENTS = frozenset(event for _, event in _RECOGNITION)
_EFFECTS = {
    "plan": Story._planned,
    "accept": Story._accepted,
    "accept_with_differences": Story._differs,
    "resolve": Story._resolved,
    "incident": Story._happened,
    "resume": Story._resumed,
    "unload": Story._unloaded,
}


def told_in_a_certificate(kind: str) -> bool:
    """Whether statements of a kind are part of the story: all of movement and declarations but positions."""
    return kind_parts(kind)[0] in (ESCORT, DECLARATION) and kind != POSITION


def tell(mrn: str, statements: Iterable[tuple[int, int, Statement, str]]) -> Story:
    """The story of statements in the order of the log: index, block time, statement, its signer's authority."""
    story = Story(mrn)
    for index, block_time_ms, statement, authority in statements:
        story.take(index, block_time_ms, statement, authority)
    if not story.plan:
        raise Untrue(_CODE, f"no statement plans movement {mrn}")
    return story

"""Random crossings in both directions: declarations, movements, seals, devices and deadlines of two sides at a time,
anybody sending anything; what must hold holds at every step, and the log alone gives the same state again."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts import declaration as d
from contracts import escort as e
from contracts.deadlines import due_at
from contracts.execute import BlockExecution, next_deadline_ms
from contracts.incidents import INCIDENTS
from contracts.machine import ABSENT
from contracts.movement import Movement
from contracts.outcome import Outcome
from contracts.working import Working
from ledger.statement import Statement
from tests.contracts import corridor as c
from tests.contracts import stages as s

# Two declarations and three movements eastbound, one and two westbound.
UCRS = (c.make_ucr(1), c.make_ucr(2), "CN26-000003")
MRNS = (*(c.make_mrn(number) for number in range(1, 4)), *(c.make_mrn(number, "CN") for number in (4, 5)))
BOXES = {"KZ": c.BOX, "CN": c.make_container(2)}
SPARE_BOXES = tuple(c.make_container(number) for number in (21, 22))
HOME, PARTNER = "kz-kgd/officer", "cn-gacc/officer"
ENDED = (e.REFUSED, e.RETURNED, e.ABORTED, e.DISCHARGED)
ENDED_BEFORE_RECOVERY = (e.ABORTED, e.OVERDUE)
NOT_STARTED = (e.PLANNED, e.LOADED, e.SEALED, e.REFUSED)
FREES_CONTAINERS = (e.REFUSED, e.RETURNED, e.ABORTED, e.UNLOADED, e.DISCREPANCY, e.RECOVERY, e.DISCHARGED)
SEAL_STATES = {"intact", "broken", "replaced", "removed", "missing"}

# Who does on the way west what somebody does on the way east. Trucks and seals may be of either side.
_OTHER = {
    "kz-kgd": "cn-gacc", "kz-kgd/officer": "cn-gacc/officer", "kz-kgd/system": "cn-gacc/system",
    "kz/terminal/bakhty": "cn/terminal/baketu", "kz/declarant/agro": "cn/declarant/mill",
    "kz/carrier/steppe": "cn/carrier/silk", "KZ/BAKHTY@46660000,82750000": "CNBKT",
}  # fmt: skip
OTHER = {**_OTHER, **{there: here for here, there in _OTHER.items()}}
WESTBOUND = {**OTHER, "kz/truck/t-001": "kz/truck/t-002", "kz/eseal/e-1": "kz/eseal/e-2", c.BOX: BOXES["CN"]}


def westbound(subject: str) -> bool:
    return "CN" in subject[:4]


def turned(value: Any) -> Any:
    """A payload, or a name, of the way east as it is on the way west."""
    if isinstance(value, dict):
        return {key: turned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [turned(item) for item in value]
    return WESTBOUND.get(value, value) if isinstance(value, str) else value


class LoggedLedger(c.Ledger):
    """Keeps what a log keeps: statements that were accepted, in their blocks, and the times of empty blocks."""

    def __init__(self, state: c.DictState, now_ms: int) -> None:
        super().__init__(state, now_ms)
        self.log: list[tuple[int, Statement | None]] = []
        self.before = c.DictState(state.records)

    def send(self, kind: str, iss: str, sub: str, payload: Any, **more: Any) -> Outcome:
        at_ms = self.now_ms
        outcome = super().send(kind, iss, sub, payload, **more)
        self.log.append((at_ms, self.last_statement if outcome is Outcome.ACCEPTED else None))
        return outcome

    def pass_time(self, seconds: int) -> int:
        fired = super().pass_time(seconds)
        self.log.append((self.now_ms, None))
        return fired

    def replayed(self) -> dict[str, bytes]:
        """The state that the log alone makes of the genesis and the enrolments."""
        state = c.DictState(self.before.records)
        for height, (at_ms, statement) in enumerate(self.log, start=1):
            execution = BlockExecution(state, at_ms, height)
            execution.begin()
            if statement is not None:
                assert execution.execute(statement, c.CHECK) is Outcome.ACCEPTED
            state.write(execution.changes)
        return state.records


_SIMPLE: dict[str, dict[str, Any]] = {
    "start": {}, "reach_border": {}, "arrive": {}, "position": {"fix": c.FIX},
    "discrepancy": {"findings": ["two bags missing"]},
}  # fmt: skip


def sub_of(record: Movement) -> str:
    return record.plan.mrn


class Crossings(RuleBasedStateMachine):
    """What was accepted is noted here in the plainest way; the records must agree with the notes."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = LoggedLedger(c.DictState(c.Ledger.of_corridor().state.records), c.OPEN_MS)
        self.numbers = itertools.count(1)
        self.exits: dict[str, int] = dict.fromkeys(UCRS, 0)
        self.seals: dict[str, list[str]] = {mrn: [] for mrn in MRNS}
        self.handed_over: dict[str, bool] = dict.fromkeys(MRNS, False)
        self.started: dict[str, bool] = dict.fromkeys(MRNS, False)

    @initialize(steps=st.integers(0, 11))
    def one_declaration_is_recognised_and_a_movement_is_on_its_way(self, steps: int) -> None:
        for ucr in (UCRS[0], UCRS[2]):
            for event, iss, _ in c.DECLARATION_STEPS:
                self._send("declaration", event, iss, ucr, self._declaration_payload(ucr, event))
        self.the_movement_takes_its_straight_way(MRNS[0], steps)
        self.the_movement_takes_its_straight_way(MRNS[3], 11 - steps)

    # What may happen. Everything is written as on the way east; `_send` turns it round for the way west.

    def _as_sent(self, mrn: str, name: str) -> str:
        """Whom to name so that `_send` makes it this participant."""
        return OTHER[name] if westbound(mrn) else name

    def _declaration_state(self, ucr: str) -> d.Declaration | None:
        return self.ledger.declaration(ucr) if f"declaration/{ucr}" in self.ledger.state.records else None

    def _movement(self, mrn: str) -> Movement | None:
        return self.ledger.movement(mrn) if f"escort/{mrn}" in self.ledger.state.records else None

    def _declaration_payload(self, ucr: str, event: str) -> dict[str, Any]:
        record = self._declaration_state(ucr)
        number = next(self.numbers) + 1000
        payload: dict[str, Any]
        own = c.make_cn_number(number) if westbound(ucr) else c.make_kz_number(number)
        if event in s.RECOGNITION_EVENTS:
            payload = c.decision(1 if record is None else record.version)
            partners = c.make_kz_number(number) if westbound(ucr) else c.make_cn_number(number)
            return {**payload, "number": partners} if event == "recognise" else payload
        if "amendment" in event and not event.startswith("request"):
            payload = {"reason": "x"} if event.startswith("refuse") else {}
            unnumbered = record is not None and not record.number
            return {**payload, "number": own} if unnumbered else payload
        if event == "accept":
            return {"number": own}
        return s.STATUS_EVENTS[event].payload(self.ledger)

    def _escort_payload(self, mrn: str, event: str, choice: int) -> dict[str, Any]:
        record = self._movement(mrn)
        in_force = () if record is None else record.seals_in_force()
        readings = [{"id": seal, "state": "intact"} for seal in in_force] or c.readings()
        seals = [{"id": f"N{next(self.numbers)}", "class": "H"}, {"id": f"E{next(self.numbers)}", "class": "S"}]
        seals[1]["device"] = "kz/eseal/e-1"
        broken = [{**reading, "state": "broken"} for reading in readings]
        masses = (c.MASS, c.MASS + 1000, s.HEAVY)
        code = sorted(INCIDENTS)[choice % len(INCIDENTS)]
        payloads: dict[str, dict[str, Any]] = {
            "plan": c.plan(
                declarations=[UCRS[2 if westbound(mrn) else choice % 2]],
                containers=[c.BOX] if mrn in (*MRNS[:2], MRNS[3]) else [],
                limit_to_border_s=600 + choice * 10,
            ),
            "load": {"containers": [] if record is None else list(record.plan.containers), "mass_g": c.MASS},
            "seal": {"seals": seals, "photo_sha256": c.PHOTO},
            "offer": {"seals": readings, "mass_g": c.MASS, "photo_sha256": c.PHOTO},
            "accept": {"seals": readings, "mass_g": masses[choice % 3]},
            "accept_with_differences": {"seals": broken if choice % 2 else readings, "mass_g": masses[choice % 3]},
            "resolve": {
                "decision": ("handed_over", "returned")[choice % 2],
                "reason": "x",
                **({"seals": seals} if choice % 3 else {}),
            },
            "unload": {"as_declared": bool(choice % 2), "seals": readings},
            "resume": self._resume_payload(record, seals, choice),
            "resolve_overdue": {
                "decision": ("continue", "abort", "recover")[choice % 3],
                "limit_s": 600,
                "reason": "x",
            },
            "incident": {"code": code, "seal": readings[0]["id"]} if INCIDENTS[code].breaks_seal else {"code": code},
        }
        return payloads[event] if event in payloads else dict(_SIMPLE.get(event, s.REASON))

    def _resume_payload(self, record: Movement | None, seals: list[dict[str, Any]], choice: int) -> dict[str, Any]:
        if choice % 3 == 0:
            return {}
        payload: dict[str, Any] = {"seals": seals[: 1 + choice % 2], "vehicle": "fleet/BKT-0009"}
        moved = record is not None and record.incidents and record.incidents[-1].code == "goods_transferred"
        if moved and choice % 2:
            payload |= {"containers": [SPARE_BOXES[choice % len(SPARE_BOXES)]], "mass_g": c.MASS}
        return payload

    def _send(self, contract: str, event: str, iss: str, sub: str, payload: dict[str, Any]) -> None:
        if westbound(sub):
            iss, payload = turned(iss), turned(payload)
        before = self._movement(sub) if contract == "escort" else None
        if contract == "escort" and event == "start" and before is not None:
            good = all(
                (record := self.ledger.declaration(ucr)).status == d.RELEASED
                and record.version == version
                and (record.recognition.state, record.recognition.version) == (d.RECOGNISED, version)
                for ucr, version in before.plan.declarations
            )
        else:
            good = True
        records = dict(self.ledger.state.records)
        outcome = self.ledger.send(f"{contract}.{event}", iss, sub, payload)
        if outcome is not Outcome.ACCEPTED:
            assert outcome.value >= 100
            touched = {key for key in records if self.ledger.state.records.get(key) != records[key]}
            assert touched <= self._due_before(records), "a rejection changed a record"
            return
        assert good, "a movement started on a declaration that was not released and recognised in that version"
        if contract == "escort":
            if event in ("seal", "resume", "resolve"):
                self.seals[sub] += [seal["id"] for seal in payload.get("seals", ())]
            after = self.ledger.movement(sub)
            if event == "resume" and before is not None:
                needs_seals = before.vehicle_changed or any(seal.state == "broken" for seal in before.seals)
                assert not needs_seals or len(after.seals) > len(before.seals), "it goes on without new seals"
            if before is not None and self._under_way(before, sub) and not self._under_way(after, sub):
                for ucr, _ in after.plan.declarations:
                    self.exits[ucr] += self.handed_over[sub]
            self.started[sub] |= event == "start"
            self.handed_over[sub] |= after.state == e.HANDED_OVER

    def _due_before(self, records: dict[str, bytes]) -> set[str]:
        """What deadlines may have touched in the same block: movements, and the calendar."""
        return {key for key in records if key.startswith(("due", "escort/"))}

    @rule(ucr=st.sampled_from(UCRS), choice=st.integers(0, 30))
    def the_declaration_goes_on(self, ucr: str, choice: int) -> None:
        record = self._declaration_state(ucr)
        status = ABSENT if record is None else record.status
        recognition = d.NONE if record is None else record.recognition.state
        events = [event for state, event in d.TRANSITIONS if state == status]
        events += [event for state, event in d.RECOGNITION_TRANSITIONS if state == recognition]
        happy = {ABSENT: "lodge", d.LODGED: "register", d.REGISTERED: "accept", d.ACCEPTED: "release"}
        event = happy[status] if choice % 2 and status in happy else events[choice % len(events)] if events else "clear"
        table = s.STATUS_EVENTS if event in s.STATUS_EVENTS else s.RECOGNITION_EVENTS
        self._send("declaration", event, table[event].senders[0], ucr, self._declaration_payload(ucr, event))

    @rule(mrn=st.sampled_from(MRNS), choice=st.integers(0, 60))
    def the_movement_goes_on(self, mrn: str, choice: int) -> None:
        record = self._movement(mrn)
        state = ABSENT if record is None else record.state
        events = [event for from_state, event in e.TRANSITIONS_2 if from_state == state]
        if not events:
            return
        event = events[choice % len(events)]
        senders = list(s.ESCORT_EVENTS[event].senders)
        if record is not None and event in ("resume", "abort", "resolve_overdue", "recover", "discharge"):
            senders = [self._as_sent(sub_of(record), f"{record.custody.authority}/officer")]
        if event == "refuse_start" and choice % 5:
            return
        if event == "incident":
            senders = ["kz/truck/t-001", "kz/eseal/e-1", "kz/terminal/bakhty", "cn/terminal/baketu", HOME]
        iss = senders[choice % len(senders)]
        self._send("escort", event, iss, mrn, self._escort_payload(mrn, event, choice))

    @rule(mrn=st.sampled_from(MRNS), steps=st.integers(1, 7))
    def the_movement_takes_its_straight_way(self, mrn: str, steps: int) -> None:
        """Left to chance alone, hardly a movement would see the border."""
        way = {reached: (event, iss) for reached, event, iss, _ in reversed(c.ESCORT_STEPS) if event != "position"}
        order = (ABSENT, *dict.fromkeys(reached for reached, _, _, _ in c.ESCORT_STEPS))
        after = dict(itertools.pairwise(order))
        for _ in range(steps):
            record = self._movement(mrn)
            state = ABSENT if record is None else record.state
            if state not in after:
                return
            event, iss = way[after[state]]
            if state == e.STARTED and record is not None and record.truck_at_border_ms is None:
                iss = "kz/truck/t-001"
            self._send("escort", event, iss, mrn, self._escort_payload(mrn, event, 3 if event == "unload" else 0))

    @rule(mrn=st.sampled_from(MRNS), code=st.sampled_from(sorted(INCIDENTS)), going_on=st.booleans())
    def an_incident_happens(self, mrn: str, code: str, going_on: bool) -> None:
        record = self._movement(mrn)
        if record is None or record.state in NOT_STARTED:
            self.the_movement_takes_its_straight_way(mrn, 4)
            record = self._movement(mrn)
        if record is None or record.state not in (e.STARTED, e.AT_BORDER, e.OFFERED, e.HANDED_OVER):
            return
        named = {"seal": record.seals_in_force()[0]} if INCIDENTS[code].breaks_seal else {}
        officer = self._as_sent(mrn, f"{record.custody.authority}/officer")
        reporter = officer if code == "goods_destroyed" else "kz/truck/t-001"
        self._send("escort", "incident", reporter, mrn, {"code": code, **named})
        if going_on and self.ledger.movement(mrn).state == e.HELD:
            officer = self._as_sent(mrn, f"{record.custody.authority}/officer")
            self._send("escort", "resume", officer, mrn, {})
            self._send("escort", "resume", officer, mrn, self._escort_payload(mrn, "resume", 1))

    @rule(mrn=st.sampled_from(MRNS), choice=st.integers(0, 60))
    def what_went_wrong_is_settled(self, mrn: str, choice: int) -> None:
        """Chance alone hardly ever lets both officers say the same, or follows a bad end to the last."""
        for _ in range(3):
            record = self._movement(mrn)
            if record is None:
                return
            officer = self._as_sent(mrn, f"{record.custody.authority}/officer")
            if record.state == e.OFFERED and choice % 4 == 0:
                self._send("escort", "accept_with_differences", "cn/terminal/baketu", mrn, {
                    "seals": [{"id": seal, "state": "broken"} for seal in record.seals_in_force()], "mass_g": c.MASS,
                })  # fmt: skip
            elif record.state == e.DISPUTED:
                for each in (HOME, PARTNER):
                    self._send("escort", "resolve", each, mrn, self._escort_payload(mrn, "resolve", choice))
            elif record.state == e.OVERDUE:
                decided = self._escort_payload(mrn, "resolve_overdue", choice)
                self._send("escort", "resolve_overdue", officer, mrn, decided)
            elif record.state == e.UNLOADED:
                self._send("escort", "discrepancy", officer, mrn, _SIMPLE["discrepancy"])
            elif record.state in (e.DISCREPANCY, e.ABORTED, e.RETURNED, e.RECOVERY):
                event = "recover" if choice % 2 and record.state in (e.DISCREPANCY, e.ABORTED) else "discharge"
                self._send("escort", event, officer, mrn, dict(s.REASON))
            else:
                return

    @rule(mrn=st.sampled_from(MRNS), choice=st.integers(0, 60))
    def the_movement_meets_trouble(self, mrn: str, choice: int) -> None:
        record = self._movement(mrn)
        troubles = {
            e.OFFERED: ("accept_with_differences", "cn/terminal/baketu"),
            e.DISPUTED: ("resolve", (HOME, PARTNER)[choice % 2]),
            e.ARRIVED: ("unload", PARTNER),
        }
        if record is not None and record.state in troubles:
            event, iss = troubles[record.state]
            payload = self._escort_payload(mrn, event, 2 * choice if event != "resolve" else choice // 20)
            self._send("escort", event, iss, mrn, payload)

    @rule(
        mrn=st.sampled_from(MRNS),
        event=st.sampled_from(sorted(s.ESCORT_EVENTS)),
        iss=st.sampled_from(c.EVERYONE),
        choice=st.integers(0, 60),
    )
    def anybody_sends_any_event(self, mrn: str, event: str, iss: str, choice: int) -> None:
        self._send("escort", event, iss, mrn, self._escort_payload(mrn, event, choice))

    @rule(
        ucr=st.sampled_from(UCRS),
        event=st.sampled_from(sorted(set(s.STATUS_EVENTS) - {"accept_amendment", "refuse_amendment"})),
        iss=st.sampled_from(c.EVERYONE),
    )
    def anybody_sends_any_declaration_event(self, ucr: str, event: str, iss: str) -> None:
        self._send("declaration", event, iss, ucr, self._declaration_payload(ucr, event))

    @precondition(lambda self: next_deadline_ms(self.ledger.state) is not None)
    @rule(seconds=st.sampled_from([1, 60, 700, 2_000]))
    def time_passes(self, seconds: int) -> None:
        self.ledger.pass_time(seconds)

    # What must hold.

    def _movements(self) -> list[Movement]:
        return [record for mrn in MRNS if (record := self._movement(mrn)) is not None]

    def _under_way(self, record: Movement, mrn: str) -> bool:
        ended = record.state in ENDED or (record.state == e.RECOVERY and record.came_from in ENDED_BEFORE_RECOVERY)
        return self.started[mrn] and not ended

    @invariant()
    def one_authority_has_custody_and_one_party_is_liable(self) -> None:
        for record in self._movements():
            plan = record.plan
            over = self.handed_over[plan.mrn]
            assert record.custody.authority == (plan.destination if over else plan.departure)
            assert record.custody.liable == (plan.receiver if over else plan.carrier)
            assert record.custody.since_ms <= self.ledger.now_ms
            assert len(record.custody_passages()) == 1 + over
            assert over or record.state not in (e.HANDED_OVER, e.ARRIVED, e.UNLOADED, e.DISCREPANCY)

    @invariant()
    def every_seal_ever_put_on_is_in_the_record_once(self) -> None:
        for record in self._movements():
            assert [seal.id for seal in record.seals] == self.seals[record.plan.mrn]
            states = {seal.state for seal in record.seals}
            assert states <= SEAL_STATES
            if record.state in (e.UNLOADED, e.DISCREPANCY):
                assert "intact" not in states, "unloaded, and a seal was not accounted for"
            under_way = record.state in (e.STARTED, e.AT_BORDER, e.OFFERED, e.HANDED_OVER, e.DISPUTED, e.ARRIVED)
            assert not (under_way and "broken" in states), "a movement goes on with a broken seal"
            assert not (under_way and "intact" not in states), "a movement goes on without a seal"

    @invariant()
    def containers_are_on_the_movements_that_hold_them(self) -> None:
        held = {
            f"container/{container}"
            for record in self._movements()
            if record.state not in FREES_CONTAINERS
            for container in record.plan.containers
        }
        assert {key for key in self.ledger.state.records if key.startswith("container/")} == held

    @invariant()
    def the_calendar_has_the_deadlines_of_the_movements_and_no_other(self) -> None:
        deadlines = [(record.deadline_s, record.plan.mrn) for record in self._movements() if record.deadline_s]
        working = Working(self.ledger.state)
        for due_s, mrn in deadlines:
            assert f"escort/{mrn}" in due_at(working, due_s)
        seconds = [key for key in self.ledger.state.records if key.startswith("due/") and key.count("/") == 3]
        assert len(seconds) == len({due_s for due_s, _ in deadlines})
        first = next_deadline_ms(self.ledger.state)
        assert first == min((due_s * 1000 for due_s, _ in deadlines), default=None)
        timed = (e.STARTED, e.OFFERED, e.HANDED_OVER)
        assert all((record.deadline_s is not None) == (record.state in timed) for record in self._movements())

    @invariant()
    def declarations_know_the_movements_under_way(self) -> None:
        for ucr in UCRS:
            declaration = self._declaration_state(ucr)
            if declaration is not None:
                under_way = [
                    record
                    for record in self._movements()
                    if self._under_way(record, record.plan.mrn)
                    and ucr in [planned for planned, _ in record.plan.declarations]
                ]
                assert (declaration.movements_open, declaration.exits) == (len(under_way), self.exits[ucr])

    @invariant()
    def a_movement_that_did_not_start_is_not_under_way(self) -> None:
        for record in self._movements():
            assert self.started[record.plan.mrn] != (record.state in NOT_STARTED)

    @invariant()
    def recognition_in_force_is_of_the_current_version(self) -> None:
        for ucr in UCRS:
            declaration = self._declaration_state(ucr)
            if declaration is not None and declaration.recognition.state != d.NONE:
                assert declaration.recognition.version == declaration.version

    def teardown(self) -> None:
        assert self.ledger.replayed() == self.ledger.state.records, "the log alone gives another state"


TestCrossings = Crossings.TestCase
TestCrossings.settings = settings(stateful_step_count=60)

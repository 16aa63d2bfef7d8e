"""Plays a script: each declaration and each crossing is a story of its own, and all go on at once.

Knows devices and what they sign; does not know how a statement reaches the ledger, nor what a process is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from contracts.payloads import validate_payload, validate_subject
from ledger.algorithms import PrivateKey
from ledger.cbor import Value
from nodes.demo.board import Board, TruckLine
from nodes.demo.delivery import Delivery, TurnedAway
from nodes.demo.devices import Device, Records
from nodes.demo.scenario import Scenario
from nodes.demo.script import Script
from nodes.demo.steps import CheckFailed, require
from nodes.demo.story import ACCEPTED, SPEED_MM_S, Step, Story

# How long a truck at the end of its road waits for answers before it reports once more that it is still there.
STILL_HERE_S: Final = 1.0
STILL_HERE_MAX: Final = 100
# The longest time limit that a story should wait for, and then some.
WAITED_FOR_S: Final = 180.0
STATE_POLL_S: Final = 0.5

COSE_ALGORITHMS: Final = {"EdDSA": -8, "ES256": -7}


class Stage:
    """The devices of a scenario and the stories that they play."""

    def __init__(
        self,
        scenario: Scenario,
        script: Script,
        devices: Mapping[str, Device],
        records: Records,
        board: Board,
        refresh: Callable[[], None],
        state_of: Callable[[str, str], Awaitable[str]] | None = None,
    ) -> None:
        """`state_of` tells the state of a movement, asked at an authority; stories that wait for one need it."""
        self.scenario = scenario
        self.script = script
        self.devices = devices
        self.records = records
        self._board = board
        self._refresh = refresh
        self._state_of = state_of
        self.played: dict[str, list[tuple[Step, Delivery]]] = {}

    def trucks_driving(self, such: Callable[[str], bool] = lambda truck: True) -> int:
        """How many trucks, or of those that are such, are on the road with something still to report."""
        lines = self._board.trucks.values()
        return sum(not line.done and line.driving and such(line.truck) for line in lines)

    def crossings_final(self) -> int:
        """How many statements of crossings are final."""
        return sum(line.final for line in self._board.trucks.values())

    async def enrol(self, keys: Mapping[str, PrivateKey]) -> int:
        """Each registrar enrols the participants of its own authority. Returns how many."""
        deliveries = []
        registrars = {authority.registrar for authority in self.scenario.authorities}
        for participant in self.scenario.participants.values():
            if participant.id in registrars:
                continue  # named by the genesis record itself
            payload: dict[str, Value] = {
                "key": keys[participant.id].public.cose_key,
                "roles": list(participant.roles),
            }
            validate_subject("registry.enrol", participant.id)
            validate_payload("registry.enrol", payload)
            registrar = self.devices[self.scenario.authority(participant.authority).registrar]
            deliveries.append((registrar, registrar.sign("registry.enrol", participant.id, payload)))
        for registrar, delivery in deliveries:
            await registrar.until_final(delivery)
            self._refresh()
        return len(deliveries)

    async def play_registrations(self) -> None:
        await _all(self._play(story) for story in self.script.registrations)

    async def play_proposals(self) -> None:
        """One after the other: which is approved first decides what becomes of the others."""
        for story in self.script.proposals:
            await self._play(story)

    async def play_declarations(self) -> None:
        await _all(self._play(story) for story in self.script.declarations)

    async def play_refusals(self) -> None:
        await _all(self._play(story) for story in self.script.refusals)

    async def play_crossings(self) -> None:
        """All trucks, each setting out a little after the one before it."""
        for number, story in enumerate(self.script.crossings):
            crossing = self.scenario.crossings[number]
            self._board.trucks[story.subject] = TruckLine(
                mrn=story.subject, truck=crossing.truck, direction=crossing.route, planned=story.accepted
            )
        interval_s = self.scenario.pace.departure_interval_ms / 1000
        await _all(self._play(story, after_s=number * interval_s) for number, story in enumerate(self.script.crossings))

    async def _play(self, story: Story, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        played = self.played.setdefault(story.subject, [])
        line = self._board.trucks.get(story.subject)
        driving: Step | None = None
        for step in story.steps:
            if driving is not None and not step.driving:
                await self._until_heard(driving, story, line)
                driving = None
            if step.wait:
                if line is not None:
                    line.where, line.driving = step.where, False
                    self._show(line, played)
                await self._until_state(step)
                continue
            delivery = self._sign(step, story)
            if line is not None:
                line.where, line.remark = step.where, step.remark or line.remark
                line.driving = step.driving
            if step.driving:
                driving = step
                await asyncio.sleep(self.scenario.pace.position_interval_ms / 1000)
            else:
                await self._until_answered(step, delivery)
            self._show(line, played)
        if driving is not None:
            await self._until_heard(driving, story, line)
        for step, delivery in played:
            if step.outcome == ACCEPTED and not delivery.final:
                raise CheckFailed(f"{step.kind} of {story.subject} is not final: {delivery.turned_away}")
        if line is not None:
            line.done, line.driving = True, False
            self._show(line, played)

    async def _until_state(self, step: Step) -> None:
        """Wait until the movement stands in the state that the step names. Raises CheckFailed if it never does."""
        if self._state_of is None:
            raise CheckFailed(f"{step.subject} waits until {step.wait}, and nobody can be asked for its state")
        give_up_s = time.monotonic() + WAITED_FOR_S
        while (state := await self._state_of(step.authority, step.subject)) != step.wait:
            in_time = time.monotonic() < give_up_s
            require(in_time, f"{step.subject}: still {state} after {WAITED_FOR_S:.0f} s, expected {step.wait}")
            await asyncio.sleep(STATE_POLL_S)

    def _sign(self, step: Step, story: Story) -> Delivery:
        device = self.devices[step.actor]
        device.authority = step.authority
        if step.driving and story.keeps_track and step.fix is not None:
            device.record(step.subject, step.fix.latitude_udeg, step.fix.longitude_udeg, SPEED_MM_S)
        if step.batch:
            batch = device.close_batch()
            if batch is None:
                raise CheckFailed(f"{step.actor} has no track of {step.subject} to sign")
            delivery = batch
        else:
            payload = step.payload_at(time.time_ns() // 1_000_000)
            if step.names_proposal:
                payload["proposal"] = self.played[story.subject][0][1].statement.id
            device.clock_ahead_s = step.clock_s
            delivery = device.sign(step.kind, step.subject, payload)
            device.clock_ahead_s = 0
        self.played[story.subject].append((step, delivery))
        return delivery

    async def _until_answered(self, step: Step, delivery: Delivery) -> None:
        """Wait for the answer that the script expects. Raises CheckFailed for any other."""
        try:
            await self.devices[step.actor].until_final(delivery)
        except TurnedAway as no:
            if no.outcome != step.outcome:
                raise CheckFailed(f"{step.kind} of {step.subject}: expected {step.outcome}, got {no}") from no
            return
        require(step.outcome == ACCEPTED, f"{step.kind} of {step.subject}: expected {step.outcome}, got accepted")
        if step.batch:
            await self.devices[step.actor].until_idle()  # a gateway has the track
        if step.again:
            receipt = await self.devices[step.actor].send_again(delivery)
            same = delivery.receipt is not None and receipt.index == delivery.receipt.index
            require(receipt.duplicate and same, f"{step.kind} of {step.subject}: sent again, it was not known")

    async def _until_heard(self, step: Step, story: Story, line: TruckLine | None) -> None:
        """Wait until all that the truck reported is final; meanwhile it goes on reporting where it stands."""
        truck = self.devices[step.actor]
        for _ in range(STILL_HERE_MAX):
            try:
                await asyncio.wait_for(truck.until_idle(), STILL_HERE_S)
            except TimeoutError:
                self._sign(step, story)
                if line is not None:
                    line.planned += 1
                    self._show(line, self.played[story.subject])
                continue
            return
        await truck.until_idle()

    def _show(self, line: TruckLine | None, played: Iterable[tuple[Step, Delivery]]) -> None:
        if line is not None:
            deliveries = [delivery for _, delivery in played]
            line.final = sum(delivery.final for delivery in deliveries)
            line.waiting = sum(not delivery.answered for delivery in deliveries)
        self._board.signed = self.records.signed
        self._board.final = self.records.final
        self._board.resent = self.records.resent
        self._refresh()


async def _all(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all to their ends, or until one fails; then end the others and raise what that one raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

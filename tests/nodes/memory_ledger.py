"""A ledger in memory that runs the real contracts, one statement a block: what the demo's stories are tried on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from contracts.catalogue import usual_versions
from contracts.execute import BlockExecution, genesis_state
from ledger.algorithms import PrivateKey
from ledger.entry import Genesis, GenesisAuthority, GenesisValidator
from ledger.note import NoteSigner
from ledger.statement import Statement, parse_statement, verify_statement
from nodes.demo.board import Board
from nodes.demo.delivery import NotNow, Receipt, TurnedAway
from nodes.demo.devices import Device, Records
from nodes.demo.scenario import Scenario
from nodes.demo.script import write_script
from nodes.demo.stage import COSE_ALGORITHMS, Stage


def make_keys(scenario: Scenario) -> dict[str, PrivateKey]:
    return {
        participant.id: PrivateKey.generate(COSE_ALGORITHMS[participant.algorithm])
        for participant in scenario.participants.values()
    }


def make_genesis(scenario: Scenario, keys: dict[str, PrivateKey]) -> Genesis:
    authorities = []
    for authority in scenario.authorities:
        validators = tuple(
            GenesisValidator(f"{authority.name}-{number}", NoteSigner.generate().public_key) for number in (1, 2)
        )
        authorities.append(
            GenesisAuthority(
                name=authority.name,
                country=authority.country,
                log_key=NoteSigner.generate().public_key,
                ca_sha256=authority.name.encode().ljust(32, b"."),
                registrar_id=authority.registrar,
                registrar_key=keys[authority.registrar].public.cose_key,
                validators=validators,
            )
        )
    return Genesis(
        origin=scenario.origin,
        time_ms=time.time_ns() // 1_000_000 - 1,
        authorities=tuple(authorities),
        parameters=scenario.parameters,
        contracts=usual_versions(),
    )


class MemoryLedger:
    """One side's door to it is a `Door`; all doors lead to the same state."""

    def __init__(self, genesis: Genesis) -> None:
        self.state: dict[str, bytes] = dict(genesis_state(genesis))
        self.accepted: list[Statement] = []
        self.attachments: dict[bytes, bytes] = {}
        self.missing: tuple[str, ...] = ()
        self.lose_answers = random.Random(0)
        self.lost_answers_percent = 0

    def attach(self, data: bytes) -> bool:
        """Keep what a statement refers to by hash; whether it is new."""
        digest = sha256(data).digest()
        new = digest not in self.attachments
        self.attachments[digest] = data
        return new

    def get(self, key: str) -> bytes | None:
        return self.state.get(key)

    def take(self, raw: bytes) -> Receipt:
        statement = parse_statement(raw)
        if self.missing:
            raise NotNow(f"waiting for {self.missing[0]}", 0.01, self.missing)
        known = next((index for index, other in enumerate(self.accepted) if other.id == statement.id), None)
        if known is not None:
            return Receipt(known, known, 0, duplicate=True)
        execution = BlockExecution(self, time.time_ns() // 1_000_000, len(self.accepted) + 1)
        outcome = execution.execute(statement, verify_statement)
        if not outcome.accepted:
            raise TurnedAway(outcome.fact, execution.detail or "")
        for key, value in execution.changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        self.accepted.append(statement)
        return Receipt(len(self.accepted) - 1, len(self.accepted), 0)


class Door:
    """A post office in memory. Now and then the answer is lost after the statement was taken."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def deliver(self, statement: Statement, leaving: Callable[[], None]) -> Receipt:
        leaving()
        await asyncio.sleep(0)
        receipt = self._ledger.take(statement.raw)
        if self._ledger.lose_answers.randrange(100) < self._ledger.lost_answers_percent:
            raise NotNow("the answer was lost", 0.0)
        return receipt


def make_stage(scenario: Scenario, outboxes: Path) -> tuple[Stage, MemoryLedger, dict[str, PrivateKey]]:
    """The devices of a scenario in front of a fresh ledger."""
    keys = make_keys(scenario)
    ledger = MemoryLedger(make_genesis(scenario, keys))
    records = Records()
    doors = {authority.name: Door(ledger) for authority in scenario.authorities}

    async def leave(authority: str, media_type: str, data: bytes) -> bool:
        return ledger.attach(data)

    devices = {
        participant.id: Device(
            participant.id,
            keys[participant.id],
            participant.authority,
            doors,
            outboxes,
            records,
            random.Random(1),
            leave,
        )
        for participant in scenario.participants.values()
    }
    return Stage(scenario, write_script(scenario), devices, records, Board(), lambda: None), ledger, keys

"""What the steps of a run hand to each other, and where its files are."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.algorithms import PrivateKey
from nodes.demo.board import Board
from nodes.demo.devices import Records
from nodes.demo.display import Display
from nodes.demo.outage import OutageSeen
from nodes.demo.scenario import Scenario
from nodes.demo.script import Script
from nodes.demo.steps import Steps
from nodes.demo.timeline import Mark


@dataclass(frozen=True, slots=True)
class Places:
    """`root` is what `--out` keeps; `work` holds private keys and outboxes and is removed in every case."""

    root: Path
    work: Path

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def policies(self) -> Path:
        return self.root / "policy"

    @property
    def proofs(self) -> Path:
        return self.root / "proofs"

    @property
    def papers(self) -> Path:
        return self.root / "papers"

    @property
    def disclosure(self) -> Path:
        return self.root / "disclosure"

    @property
    def formats(self) -> Path:
        return self.root / "formats"

    @property
    def telemetry(self) -> Path:
        return self.root / "telemetry"

    @property
    def report(self) -> Path:
        return self.root / "report.json"

    def policy(self, authority: str) -> Path:
        return self.policies / f"{authority}.policy"


@dataclass(slots=True)
class Run:
    """One run. `report` is filled by the steps, part by part."""

    scenario: Scenario
    script: Script
    places: Places
    board: Board
    display: Display
    steps: Steps
    rng: random.Random
    records: Records = field(default_factory=Records)
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    timelines: dict[str, list[Mark]] = field(default_factory=dict)
    outage: OutageSeen | None = None
    report: dict[str, Any] = field(default_factory=dict)

"""Which rows of the contracts' tables a run used: its log executed once more, and each row noted that was taken.

A row is counted by where it leads, too: an incident that holds a movement is another than one that does not. Deadlines
are rows whose event nobody sends. What was refused used no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.catalogue import CONTRACTS, newest_versions
from contracts.deadlines import due_at, first_deadline_s
from contracts.execute import BlockExecution, genesis_state
from contracts.incidents import INCIDENTS
from contracts.machine import ABSENT, Contract, Machine
from contracts.working import Working
from ledger.algorithms import PublicKey
from ledger.entry import BlockRecord, Genesis
from ledger.statement import Statement

DEADLINE_EVENT: Final = "(time passes)"
# The tables that a corridor works by, and the one by which it is governed; in the versions that a new network has.
COUNTED: Final = ("registry", "declaration", "escort", "governance")


@dataclass(frozen=True, slots=True, order=True)
class RowTaken:
    """One row of one table, by where it led."""

    contract: str
    state: str
    event: str
    to: str

    def __str__(self) -> str:
        return f"{self.contract}: {self.state} --{self.event}--> {self.to}"


# Rows that no run of minutes between two authorities can take, and why.
OUT_OF_REACH: Final = {
    RowTaken("governance", ABSENT, "propose", "approved"): "there is another authority, which has not approved yet",
    RowTaken("governance", "open", "approve", "open"): "there is no third authority whose approval is missing",
    RowTaken("governance", "open", DEADLINE_EVENT, "lapsed"): "the shortest time to lapse is an hour",
}


def _counted(name: str) -> Contract:
    return CONTRACTS[name, newest_versions()[name]]


def every_row() -> set[RowTaken]:
    """All that a run can take, of the contracts that are counted."""
    return {row for name in COUNTED for row in _rows_of(_counted(name))} - OUT_OF_REACH.keys()


def _rows_of(contract: Contract) -> Iterator[RowTaken]:
    for machine in contract.machines:
        for (state, event), row in machine.transitions.items():
            for to in row.to:
                yield RowTaken(contract.name, state, event, to)
    if contract.deadlines is not None:
        for state, rule in contract.deadlines.rules.items():
            yield RowTaken(contract.name, state, DEADLINE_EVENT, rule.to)


def _machine_of(contract: Contract, event: str) -> Machine:
    return next(machine for machine in contract.machines if any(name == event for _, name in machine.transitions))


def _believe(statement: Statement, key: PublicKey) -> None:
    """Signatures are the audit's to check; here the same statements only pass once more."""


@dataclass(slots=True)
class RowsTaken:
    """Executes statements one after the other and notes the rows. `get` makes it a state that can be read."""

    state: dict[str, bytes]
    taken: set[RowTaken] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)  # of incidents

    @classmethod
    def from_genesis(cls, genesis: Genesis) -> RowsTaken:
        return cls(dict(genesis_state(genesis)))

    def get(self, key: str) -> bytes | None:
        return self.state.get(key)

    def _write(self, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value

    def begin(self, time_ms: int, height: int) -> None:
        """A block begins: note and fire what is due."""
        before: dict[str, str] = {}
        contract: Any = _counted("escort")
        due_s = first_deadline_s(working := Working(self))
        if due_s is not None and due_s * 1000 <= time_ms:
            hours = working.row("due") or ()
            for key in _due_keys(working, hours, time_ms):
                name, _, subject = key.partition("/")
                if name == contract.name:
                    before[subject] = contract.record.load(working, subject).state
        execution = BlockExecution(self, time_ms, height)
        execution.begin()
        self._write(execution.changes)
        for subject, state in before.items():
            to = contract.record.load(Working(self), subject).state
            self.taken.add(RowTaken(contract.name, state, DEADLINE_EVENT, to))

    def take(self, statement: Statement, time_ms: int, height: int) -> str:
        """Execute one statement; the name of its outcome."""
        self.begin(time_ms, height)
        name, _, event = statement.kind.partition(".")
        contract = _counted(name) if name in COUNTED else None
        payload: Any = statement.payload
        before = None if contract is None else contract.record.load(Working(self), statement.sub)
        execution = BlockExecution(self, time_ms, height)
        outcome = execution.execute(statement, _believe)
        self._write(execution.changes)
        if outcome.accepted and contract is not None:
            state_of = _machine_of(contract, event).state_of
            came = ABSENT if before is None else str(state_of(before, payload))
            went = str(state_of(contract.record.load(Working(self), statement.sub), payload))
            self.taken.add(RowTaken(name, came, event, went))
            if statement.kind == "escort.incident":
                self.codes.add(str(payload["code"]))
        return outcome.fact

    def follow(self, entries: Iterable[Genesis | Statement | BlockRecord]) -> None:
        """The entries of a log after the genesis, in order: statements wait for the time of their block."""
        block: list[Statement] = []
        for entry in entries:
            if isinstance(entry, Statement):
                block.append(entry)
            elif isinstance(entry, BlockRecord):
                self.begin(entry.time_ms, entry.height)
                for statement in block:
                    self.take(statement, entry.time_ms, entry.height)
                block = []

    def missing(self) -> list[RowTaken]:
        return sorted(every_row() - self.taken)

    def as_report(self) -> dict[str, Any]:
        rows = every_row()
        contracts = {}
        for name in COUNTED:
            of = {row for row in rows if row.contract == name}
            contracts[name] = {
                "rows": len(of),
                "used": len(of & self.taken),
                "not_used": [str(row) for row in sorted(of - self.taken)],
            }
        incidents = {
            "codes": len(INCIDENTS),
            "used": sorted(self.codes),
            "not_used": sorted(set(INCIDENTS) - self.codes),
        }
        out_of_reach = {str(row): why for row, why in OUT_OF_REACH.items()}
        return {"contracts": contracts, "incidents": incidents, "out_of_reach": out_of_reach}


def _due_keys(working: Working, hours: Iterable[int | str], time_ms: int) -> Iterator[str]:
    """The keys of all records that are due by a time."""
    for hour in hours:
        for minute in working.row(f"due/{hour}") or ():
            for second in working.row(f"due/{hour}/{minute}") or ():
                due_s = int(hour) * 3600 + int(minute) * 60 + int(second)
                if due_s * 1000 <= time_ms:
                    yield from due_at(working, due_s)

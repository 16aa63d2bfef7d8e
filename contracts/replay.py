"""The contracts as an audit executes them again: the same `BlockExecution` that validators use, handed in as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from contracts.authority_keys import read_authority_keys
from contracts.execute import BlockExecution, genesis_state
from contracts.membership_decisions import decided_changes
from contracts.working import StateView
from ledger.algorithms import PublicKey
from ledger.entry import Genesis
from ledger.statement import Statement
from ledger.tenure import Tenures


class ReplayedBlock:
    """One block; what is due fires as it begins."""

    def __init__(self, state: StateView, time_ms: int, height: int) -> None:
        self._execution = BlockExecution(state, time_ms, height)
        self._execution.begin()

    @property
    def changes(self) -> Mapping[str, bytes | None]:
        return self._execution.changes

    def execute(self, statement: Statement, check_signature: Callable[[Statement, PublicKey], None]) -> tuple[int, str]:
        outcome = self._execution.execute(statement, check_signature)
        return int(outcome), outcome.fact


class ContractReplay:
    """Hand this to `ledger.audit.audit_archive`."""

    def genesis_state(self, genesis: Genesis) -> Mapping[str, bytes]:
        return genesis_state(genesis)

    def begin_block(self, state: StateView, time_ms: int, height: int) -> ReplayedBlock:
        return ReplayedBlock(state, time_ms, height)

    def log_keys(self, state: StateView, authorities: Iterable[str]) -> Tenures:
        return read_authority_keys(state, authorities).log_keys

    def decided_changes(self, state: StateView) -> list[str]:
        return decided_changes(state)

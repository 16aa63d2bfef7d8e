"""What the state said under each key at every size, by executing an archive again. The checker's oracle for reads.

Signatures are not checked here: the audit of the same archive did.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from contracts.declaration_record import decode_declaration
from contracts.movement import decode_movement
from contracts.registry import decode_participant
from contracts.replay import ContractReplay
from contracts.views import declaration_view, movement_view, participant_view
from ledger.algorithms import PublicKey
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.statement import Statement
from tests.chaos.load import fingerprint


def _believed(statement: Statement, key: PublicKey) -> None:
    """The audit checked it."""


class _State(dict[str, bytes]):
    """A dict is all the state that a replay needs."""


class StateHistory:
    """Every value that any key ever had, with the size from which on it had it."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        replay, state = ContractReplay(), _State()
        self._values: dict[str, list[tuple[int, bytes | None]]] = {}
        statements: list[Statement] = []
        for index, raw in enumerate(entries):
            entry = parse_entry(raw)
            if isinstance(entry, Genesis):
                self._apply(state, replay.genesis_state(entry), index + 1)
            elif isinstance(entry, BlockRecord):
                block = replay.begin_block(state, entry.time_ms, entry.height)
                for statement in statements:
                    block.execute(statement, _believed)
                self._apply(state, block.changes, index + 1)
                statements = []
            else:
                statements.append(entry)

    def _apply(self, state: _State, changes: object, size: int) -> None:
        for key, value in dict(changes).items():  # type: ignore[call-overload]
            self._values.setdefault(key, []).append((size, value))
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value

    def record_at(self, about: str, size: int) -> str | None:
        """The fingerprint of what a gateway shows of `collection name` at that size; None if there is nothing."""
        collection, _, name = about.partition(" ")
        prefix, decode, view = _COLLECTIONS[collection]
        values = self._values.get(f"{prefix}/{name}", [])
        position = bisect_right(values, size, key=lambda item: item[0])
        raw = values[position - 1][1] if position else None
        return None if raw is None else fingerprint(view(decode(raw)))  # type: ignore[operator]


_COLLECTIONS = {
    "movements": ("escort", decode_movement, movement_view),
    "declarations": ("declaration", decode_declaration, declaration_view),
    "participants": ("registry", decode_participant, participant_view),
}

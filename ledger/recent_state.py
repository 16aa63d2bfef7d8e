"""The values that execution has lately read or written, beside the state map.

A block reads some twenty records that the block before it read too (parameters, contract versions, the participants and
movements that are busy), and each read from the store is checked and copied on the way. What is remembered here is
what the state map holds: values read from it, and values that a block has written, once that block is on the disk.

Belongs to the one thread that executes, in a validator or in an audit. Bounded by the number of values: two
generations, so that what is used stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

REMEMBERED_MAX_VALUES = 16_384


class State(Protocol):
    def get(self, key: str) -> bytes | None: ...


class RecentState:
    """A view of the state for executing a block; `written` after each block, and never before it is on the disk."""

    def __init__(self, state: State, max_values: int = REMEMBERED_MAX_VALUES) -> None:
        self._state = state
        self._generation_values = max_values // 2
        self._young: dict[str, bytes | None] = {}
        self._old: dict[str, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, key: str) -> bytes | None:
        young = self._young
        if key in young:
            return young[key]
        value = self._old[key] if key in self._old else self._state.get(key)
        self._put(key, value)
        return value

    def written(self, changes: Mapping[str, bytes | None]) -> None:
        """The state map has taken these in."""
        for key, value in changes.items():
            self._put(key, value)

    def _put(self, key: str, value: bytes | None) -> None:
        if len(self._young) >= self._generation_values:
            self._old, self._young = self._young, {}
        self._young[key] = value

"""Deadlines: what falls due when, as records that can be found without listing keys.

A calendar of four levels: `due` holds the hours (since 1970) in which something falls due, `due/<hour>` the minutes,
`due/<hour>/<minute>` the seconds, and `due/<hour>/<minute>/<second>` the keys of the records that do. Every list is in
ascending order; the keys of one second are in the order in which they were set. An entry is removed exactly when its
deadline is lifted, so that the first entry is always a deadline that stands and no block is proposed for nothing.
"""

from __future__ import annotations

from bisect import insort
from typing import Any

from contracts.working import Row, StateView, Working

ROOT = "due"


def ceil_s(time_ms: int) -> int:
    """The whole second at which a deadline at `time_ms` falls due: never before it."""
    return -(-time_ms // 1000)


def _levels(due_s: int) -> tuple[tuple[str, int], ...]:
    """The lists above a second, top first: the key of each and the element of it that leads to the second."""
    hours, rest = divmod(due_s, 3600)
    minute, second = divmod(rest, 60)
    return ((ROOT, hours), (f"{ROOT}/{hours}", minute), (f"{ROOT}/{hours}/{minute}", second))


def _second_key(due_s: int) -> str:
    hours, rest = divmod(due_s, 3600)
    minute, second = divmod(rest, 60)
    return f"{ROOT}/{hours}/{minute}/{second}"


def _row(working: Working, key: str) -> Row:
    return working.row(key) or ()


def _without(row: Row, value: int | str) -> Row:
    """The row without a value that stands in it once; the row if it does not."""
    try:
        at = row.index(value)
    except ValueError:
        return row
    return row[:at] + row[at + 1 :]


def set_deadline(working: Working, due_s: int, record_key: str) -> None:
    """Let `record_key` fall due at `due_s`. It must not be due then already."""
    key = _second_key(due_s)
    due = _row(working, key)
    working.put(key, (*due, record_key))
    if due:
        return
    for list_key, element in reversed(_levels(due_s)):
        elements: list[Any] = list(_row(working, list_key))
        insort(elements, element)
        working.put(list_key, tuple(elements))
        if len(elements) > 1:
            return


def lift_deadline(working: Working, due_s: int, record_key: str) -> None:
    """Take back what `set_deadline` did."""
    key = _second_key(due_s)
    left = _without(_row(working, key), record_key)
    working.put(key, left or None)
    if left:
        return
    for list_key, element in reversed(_levels(due_s)):
        elements = _without(_row(working, list_key), element)
        working.put(list_key, elements or None)
        if elements:
            return


def first_deadline_s(working: Working) -> int | None:
    """The earliest second at which something falls due."""
    hours = working.row(ROOT)
    if not hours:
        return None
    minute = _row(working, f"{ROOT}/{hours[0]}")[0]
    second = _row(working, f"{ROOT}/{hours[0]}/{minute}")[0]
    return int(hours[0]) * 3600 + int(minute) * 60 + int(second)


def due_at(working: Working, due_s: int) -> tuple[str, ...]:
    """The keys of the records that fall due in a second."""
    return tuple(str(value) for value in _row(working, _second_key(due_s)))


def next_deadline_ms(state: StateView) -> int | None:
    """When the next deadline falls due, read from the state between two blocks."""
    due_s = first_deadline_s(Working(state))
    return None if due_s is None else due_s * 1000

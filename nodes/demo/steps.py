"""The steps of a run: what was done, whether it held, how long it took. The exit status is read from here alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class CheckFailed(Exception):
    """Something that the run must show did not hold."""


class StepFailed(Exception):
    """A step did not hold; the cause is chained."""

    def __init__(self, step: Step) -> None:
        super().__init__(f"{step.name}: {step.detail}")
        self.step = step


@dataclass(slots=True)
class Step:
    """One thing that must hold. `name` is stable and for programs, `title` and `detail` are for people."""

    name: str
    title: str
    ok: bool = False
    detail: str = ""
    seconds: float = 0.0

    def as_report(self) -> dict[str, object]:
        return {
            "name": self.name,
            "title": self.title,
            "ok": self.ok,
            "detail": self.detail,
            "seconds": round(self.seconds, 3),
        }


class Steps:
    """The list of steps so far, told to whoever shows them."""

    def __init__(self, changed: Callable[[Step], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._changed = changed
        self._clock = clock
        self.taken: list[Step] = []

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Run the body as one step: it holds when the body ends without an exception."""
        step = Step(name, title)
        self.taken.append(step)
        begin = self._clock()
        self._changed(step)
        try:
            yield step
        except BaseException as error:
            step.seconds = self._clock() - begin
            failed = isinstance(error, Exception)
            step.detail = (str(error) or type(error).__name__) if failed else "interrupted"
            self._changed(step)
            if failed:
                raise StepFailed(step) from error
            raise
        step.seconds = self._clock() - begin
        step.ok = True
        self._changed(step)

    @property
    def held(self) -> bool:
        return bool(self.taken) and all(step.ok for step in self.taken)


def require(holds: bool, otherwise: str) -> None:
    """Raise CheckFailed unless it holds."""
    if not holds:
        raise CheckFailed(otherwise)


def counted(number: int, word: str) -> str:
    """`1 truck`, `2 trucks`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"

"""Four ways to fail, never merged.

Promises: whoever catches one class knows what to do. `Malformed`: the bytes are not what their format says, give them
back to the sender. `Untrue`: a well-formed claim does not hold, refuse it. `Misuse`: the calling code is wrong, fix
it. `UnknownDurableState`: what is on disk contradicts itself, stop, reload, derive it again.

Does not: carry HTTP statuses or contract outcomes; those belong to the packages above.
"""

from __future__ import annotations


class LedgerError(Exception):
    """Base of everything that this package raises on purpose."""


class _Coded(LedgerError):
    """An error that programs tell apart by `code`, stable for ever, and people by its text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        return f"{self.code}: {self.args[0]}"

    def __reduce__(self) -> tuple[type[_Coded], tuple[str, str]]:
        # The audit checks in several processes; the default would pickle the message alone and lose the code.
        return type(self), (self.code, self.args[0])


class Malformed(_Coded):
    """The bytes are not what their format says."""


class Untrue(_Coded):
    """A well-formed claim that does not hold: a bad signature, a root that differs."""


class Misuse(LedgerError):
    """The caller broke the contract of this package's interface."""


class UnknownDurableState(LedgerError):
    """What is stored contradicts itself. Fatal: stop, reload, derive it again."""


class WriteFailed(UnknownDurableState):
    """A write failed half way. Whether it is there only opening the store again tells: what is there may be sound."""

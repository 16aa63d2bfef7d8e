"""The history of a run: every operation of every client, with the times at which it was invoked and returned.

One JSON object a line, appended as operations return. Times are seconds of this machine's monotonic clock since the run
began, read by the one process that sends everything, so that "returned before" means what it says.

An operation whose answer never came, or came as "not now", is `unknown`: it may take effect at any time after it was
invoked, once, or never. Only an answer that settles the matter is anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Final

# What can come of a submission.
COMMITTED: Final = "committed"
FINAL: Final = "final"
REJECTED: Final = "rejected"
REFUSED: Final = "refused"
UNKNOWN: Final = "unknown"
# What can come of a read.
FOUND: Final = "found"
ABSENT: Final = "absent"

SUBMIT: Final = "submit"
READ_STATEMENT: Final = "statement"
READ_RECORD: Final = "record"
READ_CHECKPOINT: Final = "checkpoint"
READ_PROOF: Final = "proof"
READ_EVENT: Final = "event"
# A read of a statement that asked for an answer no older than the asking (`consistency=linearizable`).
READ_NOW: Final = "read-now"

ACKNOWLEDGED: Final = frozenset((COMMITTED, FINAL))
MAX_LINE_CHARS = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of one client, and its answer.

    `about` is the statement's id in hex, or the record's key. `gateway` is the gateway with its incarnation, as
    `kz-kgd-gateway-1#3`: one that was started anew remembers nothing. `value` is what a read read.
    """

    kind: str
    client: str
    gateway: str
    about: str
    invoked_s: float
    returned_s: float
    result: str
    index: int | None = None
    height: int | None = None
    size: int | None = None
    value: str | None = None
    detail: str = ""

    @property
    def acknowledged(self) -> bool:
        return self.kind == SUBMIT and self.result in ACKNOWLEDGED


_FIELDS = {item.name for item in fields(Operation)}


@dataclass(slots=True)
class History:
    """Operations in the order in which they returned; on disk as well when there is a file."""

    file: IO[str] | None = None
    operations: list[Operation] = field(default_factory=list)

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)
        if self.file is not None:
            self.file.write(json.dumps({k: v for k, v in asdict(operation).items() if v not in (None, "")}) + "\n")

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)


def read_history(path: Path) -> History:
    """Read a history back, to check it again. Raises ValueError, naming the line."""
    with path.open() as lines:
        return History(operations=list(_parse(lines)))


def _parse(lines: Iterable[str]) -> Iterator[Operation]:
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_CHARS:
            raise ValueError(f"line {number} is too long: limit {MAX_LINE_CHARS} characters, got {len(line)}")
        values: dict[str, Any] = json.loads(line)
        unknown = set(values) - _FIELDS
        if unknown:
            raise ValueError(f"line {number} has unknown fields: {', '.join(sorted(unknown))}")
        try:
            yield Operation(**({"about": "", "gateway": ""} | values))
        except TypeError as error:
            raise ValueError(f"line {number} is no operation: {error}") from error

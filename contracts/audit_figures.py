"""What an audit counts for people besides faults: statements a day by contract, and how long passages took.

Promises: computed from the entries that the audit reads, in their order; integers only; memory that does not grow with
the log: of times only how many fell into each of a row of bins, no wider than a thirty-second of the time they begin
with, so that what is shown is exact to three per cent. `comity dwell` has the exact figures.

Does not: judge anything. Entries that cannot be read, and blocks that no record closes, are left out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from contracts.dwell import DAY_MS, FOLLOWED, INTERVALS, Passage, follow
from ledger.audit_chunks import Chunk
from ledger.entry import MAX_BLOCK_STATEMENTS, BlockRecord, Genesis
from ledger.statement import Statement

# Passages under way that are remembered; beyond them the oldest are let go, and counted.
MAX_PASSAGES = 100_000
# Days and contracts that are told apart: a log of a century has fewer days. What is beyond is counted with the rest.
MAX_DAYS = 40_000
MAX_CONTRACTS = 64
OTHERS = "others"
_FINE_BITS = 5


def bin_of(took_ms: int) -> int:
    """Which bin a time falls into: those of 64 ms and more keep their six first bits."""
    shift = max(0, took_ms.bit_length() - _FINE_BITS - 1)
    return shift << _FINE_BITS + 1 | took_ms >> shift


def bin_ms(number: int) -> int:
    """The shortest time of a bin."""
    return (number & (1 << _FINE_BITS + 1) - 1) << (number >> _FINE_BITS + 1)


@dataclass(slots=True)
class Times:
    """How many times fell into each bin."""

    bins: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def add(self, took_ms: int) -> None:
        number = bin_of(took_ms)
        self.bins[number] = self.bins.get(number, 0) + 1
        self.count += 1

    def percentile_ms(self, percentile: int) -> int:
        """Nearest-rank, by the beginnings of the bins."""
        rank = -(-percentile * self.count // 100)
        for number in sorted(self.bins):
            rank -= self.bins[number]
            if rank <= 0:
                return bin_ms(number)
        return 0


@dataclass(slots=True)
class Figures:
    """Show it every chunk of an audit, in order."""

    # UTC day to contract to statements.
    days: dict[int, dict[str, int]] = field(default_factory=dict)
    blocks: dict[int, int] = field(default_factory=dict)
    # Interval to UTC day on which it ended to times.
    times: dict[str, dict[int, Times]] = field(default_factory=lambda: {name: {} for name in INTERVALS})
    forgotten: int = 0
    first_ms: int = 0
    last_ms: int = 0
    _pending: list[Statement] = field(default_factory=list)
    _passages: OrderedDict[str, Passage] = field(default_factory=OrderedDict)
    _contracts: set[str] = field(default_factory=set)

    def observe(self, chunk: Chunk, skip: int) -> None:
        """`skip`: so many entries at the beginning belong to what was audited before."""
        for parsed in chunk.entries[skip:]:
            if isinstance(parsed, tuple):
                if len(self._pending) < MAX_BLOCK_STATEMENTS:
                    self._pending.append(parsed[0])
            elif isinstance(parsed, BlockRecord | Genesis):
                self._close(parsed)

    def _close(self, record: BlockRecord | Genesis) -> None:
        self.first_ms = self.first_ms or record.time_ms
        self.last_ms = record.time_ms
        day = self._day(record.time_ms)
        self.blocks[day] = self.blocks.get(day, 0) + isinstance(record, BlockRecord)
        for statement in self._pending:
            contract = self._contract(statement.kind.partition(".")[0])
            counts = self.days.setdefault(day, {})
            counts[contract] = counts.get(contract, 0) + 1
            if statement.kind in FOLLOWED:
                self._follow(statement, record.time_ms)
        self._pending.clear()

    def _day(self, time_ms: int) -> int:
        """A day that there is room for."""
        day = time_ms // DAY_MS
        return day if day in self.blocks or len(self.blocks) < MAX_DAYS else max(self.blocks)

    def _contract(self, name: str) -> str:
        if name not in self._contracts and len(self._contracts) >= MAX_CONTRACTS:
            return OTHERS
        self._contracts.add(name)
        return name

    def _follow(self, statement: Statement, time_ms: int) -> None:
        before = self._passages.pop(statement.sub, None)
        after, measured = follow(before, statement.kind, statement.iss, statement.payload, time_ms)
        if after is not None:
            self._passages[statement.sub] = after
            if len(self._passages) > MAX_PASSAGES:
                self._passages.popitem(last=False)
                self.forgotten += 1
        # Once for each interval, at whichever side it is counted.
        for interval, took_ms, ended_ms in {(each.interval, each.took_ms, each.ended_ms) for each in measured}:
            self.times[interval].setdefault(self._day(ended_ms), Times()).add(took_ms)

    def all_times(self, interval: str) -> Times:
        """Of all days together."""
        whole = Times()
        for times in self.times[interval].values():
            whole.count += times.count
            for number, count in times.bins.items():
                whole.bins[number] = whole.bins.get(number, 0) + count
        return whole

"""How long a passage over the border takes, and where: dwell and queue times from the log alone.

Promises: pure functions of the entries and their block times, in integers; so whoever has the same log, or the same
beginning of it, comes to the same figures to the byte: both authorities, and an auditor with the archive. Block times
are cosigned by both. What each interval begins and ends with is `INTERVALS`; `docs/dwell-times.md` explains them.

A `Passage` is what has to be remembered of a movement under way. `follow` takes its next accepted statement and gives
the passage after it and the intervals that this ended. An interval that never ends is in no figure.

Percentiles are nearest-rank: p50 of n values is the ceil(n / 2)-th smallest, p95 the ceil(19 n / 20)-th; a value that
was measured, never one between two.
"""

from __future__ import annotations

import datetime
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from contracts.identifiers import IdentifierError, parse_place
from contracts.incidents import ABORTED, INCIDENTS
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import Malformed
from ledger.statement import Statement, parse_statement

DEPARTURE = "departure"
DESTINATION = "destination"
DAY_MS = 86_400_000
MAX_DAYS = 92
DEFAULT_DAYS = 7
MAX_PASSAGE_BYTES = 1024
MAX_REMEMBERED_PLACES = 1024
PERCENTILES = (50, 95)
_STATEMENT_TAG = b"\xd2"
_ESCORT = b"application/comity.escort."
EPOCH = datetime.date(1970, 1, 1)


class Interval(NamedTuple):
    """Which sides it is counted for, and what begins and ends it."""

    sides: tuple[str, ...]
    begins: str
    ends: str


INTERVALS: dict[str, Interval] = {
    "queue": Interval(
        (DEPARTURE,),
        "the truck's `reach_border`",
        "the gate's `reach_border`; 0 if the gate's was first",
    ),
    "offer": Interval(
        (DEPARTURE,),
        "the second of the two `reach_border`, or `refuse_handover`",
        "the next `offer`",
    ),
    "answer": Interval(
        (DESTINATION,),
        "`offer`",
        "`accept`, `accept_with_differences` or `refuse_handover`; an offer that lapses has no answer",
    ),
    "dispute": Interval(
        (DEPARTURE, DESTINATION),
        "`accept_with_differences`",
        "the `resolve` with which both decided to hand over",
    ),
    "border": Interval(
        (DEPARTURE, DESTINATION),
        "the first of the two `reach_border`",
        "the handover: `accept`, or the `resolve` that ended the dispute",
    ),
    "approach": Interval((DESTINATION,), "the handover", "`arrive`"),
    "unloading": Interval((DESTINATION,), "`arrive`", "`unload`"),
}
_ENDING = frozenset(f"escort.{event}" for event in ("refuse_start", "abort", "turn_back", "discharge", "recover"))
FOLLOWED = _ENDING | frozenset(
    f"escort.{event}"
    for event in (
        "plan",
        "reach_border",
        "resume",
        "offer",
        "accept",
        "accept_with_differences",
        "refuse_handover",
        "resolve",
        "arrive",
        "unload",
        "incident",
        "resolve_overdue",
    )
)


class Passage(NamedTuple):
    """A movement under way. Times are block times; None: not yet."""

    exit_post: str
    entry_post: str
    truck: str
    truck_ms: int | None = None  # when the truck, and the gate, said that it reached the border
    gate_ms: int | None = None
    waiting_ms: int | None = None  # since when an offer is awaited
    offer_ms: int | None = None  # of the offer that has no answer yet
    disputed_ms: int | None = None
    resolved_ms: int | None = None  # of the last decision in the dispute
    handed_over_ms: int | None = None
    arrived_ms: int | None = None

    def encode(self) -> bytes:
        """For who keeps passages: each time as a number of eight bytes, then the texts."""
        exit_post, entry_post, truck, *times = self
        packed = _TIMES.pack(*(_NOT_YET if time_ms is None else time_ms for time_ms in times))
        return packed + f"{exit_post}\x00{entry_post}\x00{truck}".encode()

    @classmethod
    def decode(cls, raw: bytes) -> Passage:
        texts = raw[_TIMES.size :].decode(errors="replace").split("\x00")
        if len(raw) > MAX_PASSAGE_BYTES or len(raw) < _TIMES.size or len(texts) != _TEXTS:
            raise Malformed("bad_passage", f"expected {_TIMES.size} bytes of times and {_TEXTS} texts")
        exit_post, entry_post, truck = texts
        times = (None if each == _NOT_YET else each for each in _TIMES.unpack_from(raw))
        return cls(exit_post, entry_post, truck, *times)


_TEXTS = 3
_TIMES = struct.Struct(f">{len(Passage._fields) - _TEXTS}Q")
_NOT_YET = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Measured:
    """One interval of one passage, counted at one post. It belongs to the day on which it ended."""

    post: str
    side: str
    interval: str
    ended_ms: int
    took_ms: int


class _Step:
    """One statement about a passage: what it changes, what it ends."""

    def __init__(self, passage: Passage, time_ms: int) -> None:
        self.passage = passage
        self.time_ms = time_ms
        self.measured: list[Measured] = []

    def ended(self, interval: str, began_ms: int | None, ended_ms: int | None = None) -> None:
        """Count an interval that began, at each side that it is counted for."""
        if began_ms is None:
            return
        ended_ms = self.time_ms if ended_ms is None else ended_ms
        for side in INTERVALS[interval].sides:
            post = self.passage.exit_post if side == DEPARTURE else self.passage.entry_post
            self.measured.append(Measured(post, side, interval, ended_ms, max(0, ended_ms - began_ms)))

    def change(self, **changes: Any) -> None:
        self.passage = self.passage._replace(**changes)

    def reach_border(self, issuer: str) -> None:
        passage, by_truck = self.passage, issuer == self.passage.truck
        if (passage.truck_ms if by_truck else passage.gate_ms) is not None:
            return
        self.change(**{"truck_ms" if by_truck else "gate_ms": self.time_ms})
        truck_ms, gate_ms = self.passage.truck_ms, self.passage.gate_ms
        if truck_ms is not None and gate_ms is not None:
            # Where the gate was first there was no queue; block time never goes back, so the truck's is then later.
            self.ended("queue", self.time_ms if by_truck else truck_ms)
            self.change(waiting_ms=self.time_ms)

    def offer(self) -> None:
        self.ended("offer", self.passage.waiting_ms)
        self.change(waiting_ms=None, offer_ms=self.time_ms)

    def answer(self, **changes: Any) -> None:
        self.ended("answer", self.passage.offer_ms)
        self.change(offer_ms=None, **changes)

    def hand_over(self, time_ms: int) -> None:
        said = [ms for ms in (self.passage.truck_ms, self.passage.gate_ms) if ms is not None]
        self.ended("border", min(said, default=None), time_ms)
        self.change(handed_over_ms=time_ms)

    def arrive(self) -> None:
        passage = self.passage
        if passage.disputed_ms is not None and passage.resolved_ms is not None:
            # It arrives, so the last decision was the one that both agreed on.
            self.ended("dispute", passage.disputed_ms, passage.resolved_ms)
            self.hand_over(passage.resolved_ms)
        self.ended("approach", self.passage.handed_over_ms)
        self.change(arrived_ms=self.time_ms)


def follow(
    passage: Passage | None, kind: str, issuer: str, payload: Mapping[Any, Any], time_ms: int
) -> tuple[Passage | None, list[Measured]]:
    """The passage after an accepted statement about it (None before the plan, and when it is over), and what ended."""
    if kind == "escort.plan":
        return _planned(payload), []
    if passage is None or kind in _ENDING:
        return None, []
    step = _Step(passage, time_ms)
    match kind.removeprefix("escort."):
        case "reach_border":
            step.reach_border(issuer)
        case "resume":
            step.change(truck=payload.get("truck", passage.truck))
        case "offer":
            step.offer()
        case "accept":
            step.answer()
            step.hand_over(time_ms)
        case "accept_with_differences":
            step.answer(disputed_ms=time_ms)
        case "refuse_handover":
            step.answer(waiting_ms=time_ms)
        case "resolve":
            step.change(resolved_ms=time_ms)
        case "arrive":
            step.arrive()
        case "unload":
            step.ended("unloading", passage.arrived_ms)
            return None, step.measured
        case "incident":
            rule = INCIDENTS.get(payload.get("code", ""))
            if rule is not None and rule.consequence == ABORTED:
                return None, []
        case "resolve_overdue":
            if payload.get("decision") != "continue":
                return None, []
    return step.passage, step.measured


def _planned(payload: Mapping[Any, Any]) -> Passage | None:
    """None for a plan of another form than this program knows: what is only counted must never stop a validator."""
    exit_post, entry_post, truck = (payload.get(name) for name in ("exit_post", "entry_post", "truck"))
    if not isinstance(exit_post, str) or not isinstance(entry_post, str) or not isinstance(truck, str):
        return None
    try:
        return Passage(post_code(exit_post), post_code(entry_post), truck)
    except IdentifierError:
        return None


@lru_cache(MAX_REMEMBERED_PLACES)
def post_code(place: str) -> str:
    """A post without its position: two spellings of where it stands are one post."""
    return parse_place(place).code


def parse_post(text: str) -> str:
    """A post as people name it, `CNBKT` or `KZ/BAKHTY`. Raises IdentifierError."""
    try:
        return parse_place(text).code
    except IdentifierError:
        # A local post without its position is enough here; what is wrong with any other text is said of the whole.
        if text[2:3] == "/" and "@" not in text:
            return parse_place(f"{text}@0,0").code
        raise


@dataclass(slots=True)
class LogReading:
    """A log read from its beginning; only passages under way and what was measured are remembered."""

    measured: list[Measured]
    last_time_ms: int = 0  # of the last block, or of the genesis
    size: int = 0  # entries of whole blocks that were read

    def read(self, entries: Iterable[bytes], size: int) -> None:
        """Take the whole blocks within the first `size` entries; the rest is only drawn, for who hashes on the way.

        Raises Malformed for what is no entry.
        """
        passages: dict[str, Passage] = {}
        block: list[Statement] = []
        for index, raw in enumerate(entries):
            if index >= size:
                continue
            if raw[:1] == _STATEMENT_TAG:
                if _ESCORT in raw:
                    block.append(parse_statement(raw))
                continue
            record = parse_entry(raw)
            if isinstance(record, Genesis | BlockRecord):
                self.last_time_ms = record.time_ms
            self.size = index + 1
            for statement in block:
                self._take(passages, statement)
            block.clear()

    def _take(self, passages: dict[str, Passage], statement: Statement) -> None:
        if statement.kind not in FOLLOWED:
            return
        before = passages.pop(statement.sub, None)
        after, measured = follow(before, statement.kind, statement.iss, statement.payload, self.last_time_ms)
        if after is not None:
            passages[statement.sub] = after
        self.measured += measured


# ---- figures


@dataclass(frozen=True, slots=True)
class Figure:
    """Of one interval at one side of one post, on one day; `day` None: on all days that were asked for."""

    post: str
    side: str
    interval: str
    day: int | None
    count: int
    p50_ms: int
    p95_ms: int
    max_ms: int


def nearest_rank(ordered: list[int], percentile: int) -> int:
    """The smallest of the sorted values that at least so many of a hundred do not exceed."""
    return ordered[-(-percentile * len(ordered) // 100) - 1]


def day_of(time_ms: int) -> int:
    """The UTC day, counted from 1970-01-01."""
    return time_ms // DAY_MS


def days_before(time_ms: int) -> tuple[int, int]:
    """First and last day of what is shown where nobody says: a week up to this time."""
    last = day_of(time_ms)
    return last - DEFAULT_DAYS + 1, last


def figures(measured: Iterable[Measured]) -> list[Figure]:
    """In order of post, side, interval; first over all days, then day by day."""
    took: dict[tuple[str, str, str], dict[int, list[int]]] = {}
    for each in measured:
        days = took.setdefault((each.post, each.side, each.interval), {})
        days.setdefault(day_of(each.ended_ms), []).append(each.took_ms)
    order = {name: number for number, name in enumerate(INTERVALS)}
    found = []
    for post, side, interval in sorted(took, key=lambda key: (key[0], key[1], order[key[2]])):
        days = took[post, side, interval]
        everything = sorted(each for day in days.values() for each in day)
        for day, values in ((None, everything), *((day, sorted(days[day])) for day in sorted(days))):
            p50_ms, p95_ms = (nearest_rank(values, percentile) for percentile in PERCENTILES)
            found.append(Figure(post, side, interval, day, len(values), p50_ms, p95_ms, values[-1]))
    return found


def date_text(day: int) -> str:
    return (EPOCH + datetime.timedelta(days=day)).isoformat()


def day_number(date: datetime.date) -> int:
    return (date - EPOCH).days


def document(
    origin: str, size: int, first_day: int, last_day: int, post: str, found: Iterable[Figure]
) -> dict[str, Any]:
    """What is shown, the same wherever it was computed: of the first `size` entries of the log `origin`."""
    posts: list[dict[str, Any]] = []
    for figure in found:
        row = {
            "count": figure.count,
            "p50_ms": figure.p50_ms,
            "p95_ms": figure.p95_ms,
            "max_ms": figure.max_ms,
        }
        if figure.day is None:
            head = {"post": figure.post, "side": figure.side, "interval": figure.interval}
            posts.append({**head, "all": row, "days": []})
        else:
            posts[-1]["days"].append({"day": date_text(figure.day), **row})
    return {
        "origin": origin,
        "size": size,
        "from": date_text(first_day),
        "to": date_text(last_day),
        "post": post or None,
        "figures": posts,
    }


def encoded(shown: Mapping[str, Any]) -> bytes:
    """The one spelling of a document: what two sides compare."""
    return json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode()

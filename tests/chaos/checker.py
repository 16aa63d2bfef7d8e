"""What must hold of a history and of the archives that the network was left with. Pure; knows no node and no network.

The log is one sequence, so nothing has to be searched for: where an operation stands is known, and each property is
one pass. Each returns its violations, all of them up to `MAX_VIOLATIONS`, and each has a name in `PROPERTIES`, with the
sentence that the report prints.

`ArchiveView` is what an archive says; `tests.chaos.archives` reads it from disk. Properties that compare with "the
log" use the longest archive; that all others are its beginning is a property as well.

Linearizability (Herlihy & Wing, 1990) of submissions is `order respects real time` together with `acknowledged
statements stand where they were said to stand`: the log is the witness of a legal sequential order, and both together
say that the order respects the times at which operations were invoked and returned.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.history import (
    ABSENT,
    ACKNOWLEDGED,
    FINAL,
    FOUND,
    READ_CHECKPOINT,
    READ_EVENT,
    READ_NOW,
    READ_PROOF,
    READ_RECORD,
    READ_STATEMENT,
    REJECTED,
    SUBMIT,
    Operation,
)

MAX_VIOLATIONS: Final = 50


@dataclass(frozen=True, slots=True)
class ArchiveView:
    """An archive: ids of its statements by index (None for genesis and block records), and the root at any size."""

    validator: str
    size: int
    ids: Sequence[str | None]
    files: Mapping[str, str]
    root_at: Callable[[int], str]
    audit_holds: bool
    audit_detail: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be."""

    name: str
    text: str


@dataclass(slots=True)
class Evidence:
    """All that a run leaves behind.

    `sent`: every statement id that anybody signed. `records`: what the state said under a key at a size, from
    replaying the longest archive (None when absent). `conflicts`: files of evidence that validators kept.
    `unwell`: what is wrong with a node at the end, by node.
    """

    operations: Sequence[Operation]
    archives: Sequence[ArchiveView]
    sent: frozenset[str]
    record_at: Callable[[str, int], str | None] | None = None
    conflicts: Sequence[str] = ()
    unwell: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> ArchiveView:
        return max(self.archives, key=lambda archive: archive.size)


Property = Callable[[Evidence], Iterable[str]]


def check(evidence: Evidence) -> dict[str, list[Violation]]:
    """Every property, with what violates it: nothing, if all is well."""
    verdicts = {}
    for name, (_, violated_by) in PROPERTIES.items():
        found: list[Violation] = []
        for text in violated_by(evidence):
            if len(found) < MAX_VIOLATIONS:
                found.append(Violation(name, text))
        verdicts[name] = found
    return verdicts


def _acknowledged(evidence: Evidence) -> list[Operation]:
    return [item for item in evidence.operations if item.acknowledged]


def _acknowledged_there(evidence: Evidence) -> Iterable[str]:
    ids = evidence.log.ids
    for item in _acknowledged(evidence):
        if item.index is None or not 0 <= item.index < len(ids):
            yield f"{item.about} was acknowledged at {item.index}, beyond the log of {len(ids)}"
        elif ids[item.index] != item.about:
            yield f"{item.about} was acknowledged at {item.index}, where the log has {ids[item.index]}"


def _at_most_once(evidence: Evidence) -> Iterable[str]:
    for archive in evidence.archives:
        seen: dict[str, int] = {}
        for index, statement_id in enumerate(archive.ids):
            if statement_id is None:
                continue
            if statement_id in seen:
                yield f"{archive.validator}: {statement_id} stands at {seen[statement_id]} and at {index}"
            seen[statement_id] = index


def _nothing_invented(evidence: Evidence) -> Iterable[str]:
    for archive in evidence.archives:
        for index, statement_id in enumerate(archive.ids):
            if statement_id is not None and statement_id not in evidence.sent:
                yield f"{archive.validator}: {statement_id} at {index} was sent by nobody"


def _invoked_before(evidence: Evidence) -> Iterable[str]:
    """Nothing that was read or acknowledged can have been sent later; part of what `real time` means."""
    first_invoked: dict[str, float] = {}
    for item in evidence.operations:
        if item.kind == SUBMIT:
            first_invoked[item.about] = min(first_invoked.get(item.about, item.invoked_s), item.invoked_s)
    for item in evidence.operations:
        if item.kind in (READ_STATEMENT, READ_EVENT) and item.result == FOUND:
            invoked_s = first_invoked.get(item.about)
            if invoked_s is not None and item.returned_s < invoked_s:
                yield f"{item.about} was read at {item.returned_s:.3f} s, before it was sent at {invoked_s:.3f} s"


def _real_time(evidence: Evidence) -> Iterable[str]:
    """A acknowledged before any sending of B: A stands before B, whether or not B was ever acknowledged."""
    where = {statement_id: index for index, statement_id in enumerate(evidence.log.ids) if statement_id is not None}
    first_invoked: dict[str, float] = {}
    first_returned: dict[str, float] = {}
    for item in evidence.operations:
        if item.kind != SUBMIT:
            continue
        first_invoked[item.about] = min(first_invoked.get(item.about, item.invoked_s), item.invoked_s)
        if item.result in ACKNOWLEDGED:
            first_returned[item.about] = min(first_returned.get(item.about, item.returned_s), item.returned_s)
    returned = sorted((at_s, where[about], about) for about, at_s in first_returned.items() if about in where)
    times = [at_s for at_s, _, _ in returned]
    highest: list[tuple[int, str]] = []
    for _, index, about in returned:
        highest.append(max(highest[-1], (index, about)) if highest else (index, about))
    for about, invoked_s in first_invoked.items():
        place = where.get(about)
        before = bisect_left(times, invoked_s)
        if place is None or before == 0:
            continue
        earlier, other = highest[before - 1]
        if earlier > place:
            yield f"{other} at {earlier} was acknowledged before {about} at {place} was first sent ({invoked_s:.3f} s)"


def _one_answer(evidence: Evidence) -> Iterable[str]:
    """The same statement has the same place in every answer, and is never turned down once it stands."""
    places: dict[str, int | None] = {}
    for item in evidence.operations:
        placed = item.acknowledged or (item.kind in (READ_STATEMENT, READ_NOW, READ_EVENT) and item.result == FOUND)
        if placed and places.setdefault(item.about, item.index) != item.index:
            yield f"{item.about}: answered at {places[item.about]} and at {item.index}"
    on_log = {statement_id for statement_id in evidence.log.ids if statement_id is not None}
    for item in evidence.operations:
        if item.kind == SUBMIT and item.result == REJECTED and item.about in on_log:
            yield f"{item.about} stands on the log and was rejected at {item.returned_s:.3f} s: {item.detail}"


def _accepted(evidence: Evidence) -> Iterable[str]:
    """The load is such that every statement is accepted if everything acknowledged before it has had its effect."""
    for item in evidence.operations:
        if item.kind == SUBMIT and item.result not in ACKNOWLEDGED and item.result != "unknown":
            yield f"{item.about} was {item.result} at {item.returned_s:.3f} s by {item.gateway}: {item.detail}"


def _checkpoints(evidence: Evidence) -> Iterable[str]:
    log = evidence.log
    for item in evidence.operations:
        if item.kind not in (READ_CHECKPOINT, READ_PROOF) or item.result != FOUND or item.size is None:
            continue
        if item.size > log.size:
            yield f"{item.gateway} served a checkpoint of {item.size} entries; the log ends with {log.size}"
        elif item.value != log.root_at(item.size):
            yield f"{item.gateway} served another root for {item.size} entries: {item.value}"
    for item in evidence.operations:
        if item.kind in (READ_CHECKPOINT, READ_PROOF) and item.result == REJECTED:
            yield f"{item.gateway} served what does not verify: {item.detail}"


def _reads_go_on(evidence: Evidence) -> Iterable[str]:
    """Per gateway incarnation: the final checkpoint never shrinks, in the order in which reads do not overlap."""
    by_gateway: dict[str, list[Operation]] = {}
    for item in evidence.operations:
        if item.kind == READ_CHECKPOINT and item.result == FOUND:
            by_gateway.setdefault(item.gateway, []).append(item)
    for gateway, reads in by_gateway.items():
        yield from _never_back(gateway, [(item.invoked_s, item.returned_s, item.size or 0) for item in reads])


def _never_back(who: str, reads: list[tuple[float, float, int]]) -> Iterable[str]:
    """Of two reads that do not overlap, the later one is not smaller."""
    by_return = sorted(reads, key=lambda read: read[1])
    pending, highest = 0, 0
    for invoked_s, returned_s, size in sorted(reads):
        while pending < len(by_return) and by_return[pending][1] < invoked_s:
            highest = max(highest, by_return[pending][2])
            pending += 1
        if size < highest:
            yield f"{who}: {size} entries at {returned_s:.3f} s, after {highest}"


def _final_stays(evidence: Evidence) -> Iterable[str]:
    """What one incarnation of a gateway called final, it never calls anything less."""
    final_at: dict[tuple[str, str], float] = {}
    for item in evidence.operations:
        if item.kind in (SUBMIT, READ_STATEMENT, READ_EVENT) and (item.result == FINAL or item.value == FINAL):
            key = (item.gateway, item.about)
            final_at[key] = min(final_at.get(key, item.returned_s), item.returned_s)
    for item in evidence.operations:
        since_s = final_at.get((item.gateway, item.about))
        if item.kind != READ_STATEMENT or since_s is None or item.invoked_s <= since_s:
            continue
        if item.result == ABSENT or (item.result == FOUND and item.value != FINAL):
            yield f"{item.gateway}: {item.about} final at {since_s:.3f} s, {item.value or item.result} afterwards"


def _final_in_archive(evidence: Evidence) -> Iterable[str]:
    """Final means final at every validator that is asked at the end, not only in the longest archive."""
    highest = -1
    for item in evidence.operations:
        if item.kind == SUBMIT and item.result == FINAL and item.index is not None:
            highest = max(highest, item.index)
    for archive in evidence.archives:
        if archive.size <= highest:
            yield f"{archive.validator} ends with {archive.size} entries; entry {highest} was called final"


def _records(evidence: Evidence) -> Iterable[str]:
    """A read that names a size says what the state said at that size."""
    if evidence.record_at is None:
        return
    for item in evidence.operations:
        if item.kind != READ_RECORD or item.result != FOUND or item.size is None:
            continue
        expected = evidence.record_at(item.about, item.size)
        if expected != item.value:
            yield f"{item.gateway}: {item.about} as of {item.size} entries: expected {expected}, got {item.value}"


def _events(evidence: Evidence) -> Iterable[str]:
    """An event stream has every statement of the log from the first on, once, in order, however often it broke."""
    streams: dict[str, list[Operation]] = {}
    for item in evidence.operations:
        if item.kind == READ_EVENT and item.result == FOUND:
            streams.setdefault(item.client, []).append(item)
    ids = evidence.log.ids
    for client, events in streams.items():
        expected = 0
        for event in events:
            while expected < len(ids) and ids[expected] is None:
                expected += 1
            if event.index != expected:
                yield f"{client}: expected entry {expected}, got {event.index}"
                expected = event.index or 0
            elif expected >= len(ids) or ids[expected] != event.about:
                yield f"{client}: entry {expected} is not {event.about}"
            expected += 1


def _identical(evidence: Evidence) -> Iterable[str]:
    longest = evidence.log
    for archive in evidence.archives:
        if list(archive.ids) != list(longest.ids[: archive.size]):
            yield f"{archive.validator} and {longest.validator} have other statements"
        if archive.root_at(archive.size) != longest.root_at(archive.size):
            yield f"{archive.validator} and {longest.validator} have another root at {archive.size} entries"
        if archive.size == longest.size:
            for path in sorted(set(archive.files) | set(longest.files)):
                if archive.files.get(path) != longest.files.get(path):
                    yield f"{archive.validator} and {longest.validator} differ in {path}"


def _same_size(evidence: Evidence) -> Iterable[str]:
    longest = evidence.log
    for archive in evidence.archives:
        if archive.size != longest.size:
            yield f"{archive.validator} ends with {archive.size} entries, {longest.validator} with {longest.size}"


def _audits(evidence: Evidence) -> Iterable[str]:
    for archive in evidence.archives:
        if not archive.audit_holds:
            yield f"{archive.validator}: {archive.audit_detail}"


def _evidence_files(evidence: Evidence) -> Iterable[str]:
    yield from evidence.conflicts


def _nodes_are_back(evidence: Evidence) -> Iterable[str]:
    for name, what in evidence.unwell.items():
        yield f"{name}: {what}"


def _reads_now(evidence: Evidence) -> Iterable[str]:
    """A linearizable read sees whatever was acknowledged, or read by such a read, before it was asked."""
    seen_s: dict[str, float] = {}
    for item in evidence.operations:
        if item.acknowledged or (item.kind == READ_NOW and item.result == FOUND):
            seen_s[item.about] = min(seen_s.get(item.about, item.returned_s), item.returned_s)
    for item in evidence.operations:
        since_s = seen_s.get(item.about)
        if item.kind == READ_NOW and item.result == ABSENT and since_s is not None and since_s < item.invoked_s:
            yield f"{item.gateway}: {item.about}, there at {since_s:.3f} s, was absent at {item.invoked_s:.3f} s"


def _something_happened(evidence: Evidence) -> Iterable[str]:
    """A run in which nothing was acknowledged proves nothing."""
    if not _acknowledged(evidence):
        yield "no statement was acknowledged at all"


PROPERTIES: Final[Mapping[str, tuple[str, Property]]] = {
    "acknowledged_there": ("every acknowledged statement stands where it was said to stand", _acknowledged_there),
    "at_most_once": ("no statement stands twice", _at_most_once),
    "nothing_invented": ("every statement on the log was sent by somebody", _nothing_invented),
    "real_time_order": ("what was acknowledged before another was sent stands before it", _real_time),
    "read_after_sent": ("nothing was read before it was sent", _invoked_before),
    "one_answer": ("every answer about a statement is the same answer", _one_answer),
    "all_accepted": ("no statement was turned down whose turn had come", _accepted),
    "checkpoints_consistent": ("every checkpoint and proof ever served is of this one log", _checkpoints),
    "checkpoints_grow": ("a gateway's final checkpoint never goes back", _reads_go_on),
    "final_stays": ("what was final stayed final", _final_stays),
    "final_everywhere": ("what was final is in every validator's archive", _final_in_archive),
    "records_existed": ("every record read was the state at the size named with it", _records),
    "linearizable_reads": ("a linearizable read sees all that was acknowledged before it was asked", _reads_now),
    "events_complete": ("event streams had every statement once, in order", _events),
    "archives_identical": ("the archives of all validators are identical", _identical),
    "archives_complete": ("all validators ended at the same size", _same_size),
    "archives_audit": ("every archive passes the offline audit", _audits),
    "no_conflicts": ("no validator kept evidence of a conflicting signature", _evidence_files),
    "nodes_back": ("every node came back, and stopped when it was told to", _nodes_are_back),
    "not_vacuous": ("statements were acknowledged", _something_happened),
}

"""The checker finds what it is there to find: one planted violation for each property, in a history that was good."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger.merkle import Frontier, leaf_hash
from tests.chaos.archives import Roots
from tests.chaos.checker import PROPERTIES, ArchiveView, Evidence, check
from tests.chaos.history import (
    ABSENT,
    COMMITTED,
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
    UNKNOWN,
    Operation,
)

GATEWAY = "kz-kgd-gateway-1#1"
OTHER = "cn-gacc-gateway-1#1"


def _id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


A, B, C, LOST = _id("a"), _id("b"), _id("c"), _id("lost")
# Genesis, two statements, a block record, one statement, a block record.
IDS = (None, A, B, None, C, None)


def _archive(validator: str, ids: tuple[str | None, ...] = IDS) -> ArchiveView:
    roots = Roots([bytes.fromhex(item or _id(f"record {index}")) for index, item in enumerate(ids)])
    files = {"tile/0/000": roots.at(len(ids))}
    return ArchiveView(validator, len(ids), ids, files, roots.at, audit_holds=True)


ROOT = _archive("any").root_at


def _submit(
    about: str, invoked_s: float, returned_s: float, result: str = COMMITTED, index: int | None = None
) -> Operation:
    where = IDS.index(about) if index is None and about in IDS and result in (COMMITTED, FINAL) else index
    return Operation(SUBMIT, "lane-0", GATEWAY, about, invoked_s, returned_s, result, index=where, height=1)


def _read(kind: str, about: str, at_s: float, result: str = FOUND, **more: object) -> Operation:
    values: dict[str, object] = {"client": "reader", "gateway": GATEWAY} | more
    return Operation(kind=kind, about=about, invoked_s=at_s, returned_s=at_s + 0.1, result=result, **values)  # type: ignore[arg-type]


def _event(about: str, at_s: float, index: int | None = None) -> Operation:
    return _read(READ_EVENT, about, at_s, value=FINAL, index=IDS.index(about) if index is None else index)


def _good() -> Evidence:
    operations = [
        _submit(A, 1.0, 2.0, FINAL),
        _submit(B, 1.5, 2.5, UNKNOWN),
        _submit(B, 2.6, 3.0),
        _submit(LOST, 2.7, 3.1, UNKNOWN),
        _submit(C, 4.0, 5.0, FINAL),
        _read(READ_STATEMENT, A, 5.0, value=FINAL, index=1),
        _read(READ_STATEMENT, LOST, 5.2, result=ABSENT),
        _read(READ_RECORD, "participants x", 5.3, size=4, value="record at 4"),
        _read(READ_CHECKPOINT, "", 5.4, size=4, value=ROOT(4)),
        _read(READ_CHECKPOINT, "", 6.0, size=6, value=ROOT(6)),
        _read(READ_PROOF, C, 6.1, size=6, value=ROOT(6), index=4),
        _event(A, 6.2),
        _event(B, 6.3),
        _event(C, 6.4),
    ]
    return Evidence(
        operations=operations,
        archives=[_archive("kz-kgd-1"), _archive("cn-gacc-1")],
        sent=frozenset((A, B, C, LOST)),
        record_at=lambda about, size: f"record at {size}",
    )


def _with(*operations: Operation) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, operations=[*evidence.operations, *operations])


def _without(*abouts: str) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(
        evidence, operations=[item for item in evidence.operations if item.about not in abouts]
    )


def _archives(*archives: ArchiveView) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, archives=list(archives))


def _of_size(size: int) -> ArchiveView:
    return _archive("cn-gacc-1", IDS[:size])


# What is planted, and the property that must notice. Others may notice as well.
PLANTED: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "an acknowledged statement is missing": ("acknowledged_there", _with(_submit(LOST, 7.0, 8.0, COMMITTED, 4))),
    "an acknowledged statement was beyond the end": ("acknowledged_there", _with(_submit(C, 7.0, 8.0, COMMITTED, 99))),
    "an acknowledgement without a place": (
        "acknowledged_there",
        _with(replace(_submit(C, 7.0, 8.0, COMMITTED, 4), index=None)),
    ),
    "a statement stands twice": (
        "at_most_once",
        _archives(_archive("kz-kgd-1", (*IDS, A, None)), _archive("cn-gacc-1", (*IDS, A, None))),
    ),
    "a statement stands twice in one archive only": (
        "at_most_once",
        _archives(_archive("kz-kgd-1"), _archive("cn-gacc-1", (None, A, B, None, B, None))),
    ),
    "nobody sent it": ("nothing_invented", _archives(_archive("kz-kgd-1", (*IDS, _id("forged"), None)))),
    "the later one stands first": (
        "real_time_order",
        lambda evidence: replace(
            evidence, operations=[_submit(C, 1.0, 2.0), _submit(A, 3.0, 4.0), *evidence.operations[5:]]
        ),
    ),
    "the later one stands first, and was never answered": (
        "real_time_order",
        lambda evidence: replace(evidence, operations=[_submit(C, 1.0, 2.0), _submit(A, 3.0, 4.0, UNKNOWN)]),
    ),
    "read before it was sent": ("read_after_sent", _with(_read(READ_STATEMENT, C, 3.0, value=COMMITTED, index=4))),
    "two places for one statement": ("one_answer", _with(_read(READ_STATEMENT, A, 7.0, value=FINAL, index=2))),
    "rejected although it stands": ("one_answer", _with(_submit(A, 7.0, 8.0, REJECTED))),
    "rejected although its turn had come": ("all_accepted", _with(_submit(LOST, 7.0, 8.0, REJECTED))),
    "another root for a size": (
        "checkpoints_consistent",
        _with(_read(READ_CHECKPOINT, "", 7.0, size=4, value=ROOT(6))),
    ),
    "a checkpoint beyond the log": (
        "checkpoints_consistent",
        _with(_read(READ_CHECKPOINT, "", 7.0, size=7, value=ROOT(6))),
    ),
    "a proof of another tree": ("checkpoints_consistent", _with(_read(READ_PROOF, A, 7.0, size=6, value=ROOT(4)))),
    "a proof that does not verify": ("checkpoints_consistent", _with(_read(READ_PROOF, A, 7.0, result=REJECTED))),
    "a checkpoint goes back": ("checkpoints_grow", _with(_read(READ_CHECKPOINT, "", 7.0, size=4, value=ROOT(4)))),
    "final, then committed": ("final_stays", _with(_read(READ_STATEMENT, A, 7.0, value=COMMITTED, index=1))),
    "final, then absent": ("final_stays", _with(_read(READ_STATEMENT, A, 7.0, result=ABSENT))),
    "final, and one archive ends before it": ("final_everywhere", _archives(_archive("kz-kgd-1"), _of_size(4))),
    "a record that never was": ("records_existed", _with(_read(READ_RECORD, "participants x", 7.0, size=6, value="?"))),
    "acknowledged, and not seen by a linearizable read": (
        "linearizable_reads",
        _with(_read(READ_NOW, B, 3.5, result=ABSENT)),
    ),
    "seen by one linearizable read, and not by the next": (
        "linearizable_reads",
        _with(_read(READ_NOW, LOST, 7.0, index=7), _read(READ_NOW, LOST, 8.0, result=ABSENT)),
    ),
    "an event left out": ("events_complete", _without(B)),
    "the first event left out": ("events_complete", _without(A)),
    "an event twice": ("events_complete", _with(_event(C, 7.0))),
    "an event of something else": ("events_complete", _with(_event(A, 7.0, index=6))),
    "other statements in one archive": (
        "archives_identical",
        _archives(_archive("kz-kgd-1"), _archive("cn-gacc-1", (None, B, A, None, C, None))),
    ),
    "another file in one archive": (
        "archives_identical",
        lambda evidence: replace(
            evidence, archives=[evidence.archives[0], replace(evidence.archives[1], files={"tile/0/000": "other"})]
        ),
    ),
    "one validator stayed behind": ("archives_complete", _archives(_archive("kz-kgd-1"), _of_size(4))),
    "an audit fails": (
        "archives_audit",
        lambda evidence: replace(evidence, archives=[replace(evidence.archives[0], audit_holds=False)]),
    ),
    "evidence was kept": ("no_conflicts", lambda evidence: replace(evidence, conflicts=["kz-kgd-1: 4.evidence"])),
    "a node did not come back": ("nodes_back", lambda evidence: replace(evidence, unwell={"kz-kgd-1": "status 4"})),
    "nothing was acknowledged": ("not_vacuous", _without(A, B, C)),
}


def test_a_good_history_has_no_violation() -> None:
    assert {name: found for name, found in check(_good()).items() if found} == {}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_violation_is_found(what: str) -> None:
    name, plant = PLANTED[what]
    assert check(plant(_good()))[name], f"{name} did not notice: {what}"


def test_every_property_has_a_planted_violation() -> None:
    assert {name for name, _ in PLANTED.values()} == set(PROPERTIES)


def test_another_gateway_may_lag_behind_and_a_gateway_started_anew_may_too() -> None:
    later = [
        _read(READ_CHECKPOINT, "", 7.0, size=4, value=ROOT(4), gateway=OTHER),
        _read(READ_CHECKPOINT, "", 7.0, size=4, value=ROOT(4), gateway="kz-kgd-gateway-1#2"),
    ]
    verdicts = check(_with(*later)(_good()))
    assert not verdicts["checkpoints_grow"]


def test_reads_that_overlap_may_return_in_any_order() -> None:
    slow = replace(_read(READ_CHECKPOINT, "", 5.9, size=4, value=ROOT(4)), returned_s=9.0)
    assert not check(_with(slow)(_good()))["checkpoints_grow"]


def test_concurrent_submissions_may_stand_in_any_order() -> None:
    operations = [_submit(C, 1.0, 3.0), _submit(A, 2.9, 4.0)]
    assert not check(replace(_good(), operations=operations))["real_time_order"]


def test_an_unanswered_statement_may_stand_or_not_and_be_acknowledged_late() -> None:
    late = [_submit(A, 0.0, 0.5, UNKNOWN), _submit(A, 0.6, 9.0)]
    assert not any(check(_with(*late)(_good())).values())


def test_a_linearizable_read_that_began_before_the_acknowledgement_may_see_nothing_yet() -> None:
    assert not check(_with(_read(READ_NOW, B, 2.95, result=ABSENT))(_good()))["linearizable_reads"]


def test_roots_are_those_of_the_ledger() -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(70)]
    roots, frontier = Roots(leaves), Frontier()
    for number, leaf in enumerate(leaves, 1):
        frontier.append(leaf)
        assert roots.at(number) == frontier.root().hex()

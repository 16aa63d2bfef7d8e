"""Making evidence: from two signed heads, and from an archive in which an audit found what no log may hold.

Promises: what is made here is a bundle in its one spelling; whether it convinces anybody, `ledger.evidence_check` says,
and whoever makes one asks it before handing it on. Nothing is made where nothing is contradicted.

Does not: look for faults; the audit does that, and names the entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from ledger.archive_tree import ArchiveTree
from ledger.audit_report import AuditReport, Check, Fault
from ledger.entry import BlockRecord, parse_entry
from ledger.errors import LedgerError, Misuse
from ledger.evidence import Claim, Evidence, ShownEntry, SignedHead
from ledger.evidence_check import check_evidence
from ledger.note import Note, NoteSignature, format_note, parse_note
from ledger.statement import Statement

# From one archive: faults that follow from one another are many, and a judge needs few.
MAX_BUNDLES = 64


class Roots(Protocol):
    """The roots that a log has had, as far as somebody has its tree."""

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]: ...

    def root_at(self, size: int) -> bytes: ...


class Tree(Roots, Protocol):
    """The tree of a log, as far as somebody has it: a `ledger.chain.Chain`, or an archive."""

    def inclusion_proof(self, index: int, size: int) -> list[bytes]: ...

    def entry(self, index: int) -> bytes: ...


def conflicting_heads(one: SignedHead, other: SignedHead, tree: Roots | None = None) -> Evidence | None:
    """Evidence that two heads cannot both be true; None if they can.

    `tree` has the larger head's tree, and is needed for heads of two sizes: Misuse without it. Whose signatures the
    heads carry is not asked.
    """
    smaller, larger = sorted((one, other), key=lambda head: (head.checkpoint.size, head.checkpoint.root))
    low, high = smaller.checkpoint, larger.checkpoint
    if low.origin != high.origin or low.size < 1:
        return None
    if low.size == high.size:
        return None if low.root == high.root else Evidence(Claim.TWO_ROOTS, (smaller, larger))
    if tree is None:
        raise Misuse(f"heads are of two sizes, {low.size} and {high.size}: the tree of the larger one is needed")
    root = tree.root_at(low.size)
    if root == low.root:
        return None
    path = tuple(tree.consistency_proof(low.size, high.size))
    return Evidence(Claim.INCONSISTENT_TREES, (smaller, larger), prefix_root=root, path=path)


def with_last_record(head: SignedHead, tree: Tree) -> SignedHead:
    """The head together with the last entry of its tree: the record of the block that it was signed for."""
    index = head.checkpoint.size - 1
    path = tuple(tree.inclusion_proof(index, head.checkpoint.size))
    return SignedHead(head.note, (ShownEntry(index, tree.entry(index), path),))


def joined(one: Evidence, other: Evidence) -> Evidence:
    """Two bundles of the same two heads as one: each head's lines and last record from whichever has them.

    So do the two sides of a divergence, each of which knows its own last block, show a third party in what they differ.
    Raises Misuse for bundles of other heads.
    """
    places = [[head.checkpoint for head in each.heads] for each in (one, other)]
    if one.claim is not Claim.TWO_ROOTS or other.claim is not Claim.TWO_ROOTS or places[0] != places[1]:
        raise Misuse("only bundles of the same two roots of one size can be joined")
    heads = []
    for mine, theirs in zip(one.heads, other.heads, strict=True):
        lines: dict[tuple[str, bytes], NoteSignature] = {}
        for line in (*parse_note(mine.note).signatures, *parse_note(theirs.note).signatures):
            lines.setdefault((line.name, line.key_id), line)
        note = format_note(Note(parse_note(mine.note).text, tuple(lines.values())))
        heads.append(SignedHead(note, mine.entries or theirs.entries))
    return Evidence(Claim.TWO_ROOTS, tuple(heads))


# --- from an archive -------------------------------------------------------------------------------------------------


def evidence_in_archive(directory: Path | str, policy: bytes, report: AuditReport) -> Iterator[Evidence]:
    """What the faults of an audit prove to somebody who has neither the archive nor a ledger: bundles that hold.

    Only what stands in a tree that somebody signed: an archive that was altered afterwards proves nothing.
    """
    try:
        tree = ArchiveTree(directory)
    except LedgerError:
        return
    yield from islice(_bundles(tree, policy, report), MAX_BUNDLES)


def _bundles(tree: ArchiveTree, policy: bytes, report: AuditReport) -> Iterator[Evidence]:
    told: set[str] = set()
    for fault in report.faults:
        if fault.entry is None or fault.entry >= tree.checkpoint.size:
            continue
        try:
            for evidence in _candidates(tree, fault):
                if check_evidence([policy], evidence.encode()).holds and evidence.id not in told:
                    told.add(evidence.id)
                    yield evidence
        except LedgerError:
            continue  # a file is missing or altered: the report says so, and from it nothing can be shown


def _candidates(tree: ArchiveTree, fault: Fault) -> Iterator[Evidence]:
    index = fault.entry or 0
    if fault.check is Check.UNIQUE and fault.other is not None:
        yield _shown(tree, Claim.CTI_TWICE, fault.other, index)
    elif fault.check is Check.ENTRIES:
        yield _shown(tree, Claim.SECOND_GENESIS, index)
    elif fault.check is Check.SIGNATURES:
        statement = parse_entry(tree.entry(index))
        key = tree.find_key(statement.kid) if isinstance(statement, Statement) else None
        if key is not None:
            yield replace(_shown(tree, Claim.STATEMENT_SIGNATURE, index), key=key)
    elif fault.check is Check.BLOCKS:
        record = parse_entry(tree.entry(index))
        if not isinstance(record, BlockRecord):
            return
        yield _shown(tree, Claim.BLOCK_END, index)
        if 0 < record.first <= index:
            for claim in (Claim.BLOCK_PREVIOUS, Claim.BLOCK_HEIGHT, Claim.BLOCK_TIME):
                yield _shown(tree, claim, record.first - 1, index)


def _shown(tree: ArchiveTree, claim: Claim, *indexes: int) -> Evidence:
    size = tree.checkpoint.size
    entries = tuple(
        ShownEntry(index, tree.entry(index), tuple(tree.inclusion_proof(index, size))) for index in sorted(indexes)
    )
    return Evidence(claim, (SignedHead(tree.note, entries),))

"""Logs that lie, each in one way, and the evidence that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord, parse_entry
from ledger.evidence import Claim, Evidence, ShownEntry, SignedHead
from ledger.evidence_making import conflicting_heads, with_last_record
from ledger.merkle import consistency_proof, inclusion_proof, leaf_hash
from ledger.statement import Statement
from tests.ledger.archives import entries_of, naive_root
from tests.ledger.toy import ORIGIN, World


def grown(blocks: int = 6, seed: str = "toy") -> World:
    world = World(seed=seed)
    world.grow(blocks, 4)
    return world


class Forged:
    """The tree of any list of entries, as `ledger.evidence_making.Tree`."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries = list(entries)
        self.leaves = [leaf_hash(each) for each in self.entries]

    def _tile(self, level: int, index: int, width: int) -> bytes:
        step = 256**level
        roots = [naive_root(self.leaves[at : at + step]) for at in range(0, len(self.leaves) - step + 1, step)]
        return b"".join(roots[256 * index : 256 * index + 256])

    def root_at(self, size: int) -> bytes:
        return naive_root(self.leaves[:size])

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        return inclusion_proof(index, size, self._tile)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        return consistency_proof(old_size, new_size, self._tile)

    def entry(self, index: int) -> bytes:
        return self.entries[index]

    def checkpoint(self, size: int = 0) -> Checkpoint:
        size = size or len(self.entries)
        return Checkpoint(ORIGIN, size, self.root_at(size))

    def shown(self, index: int) -> ShownEntry:
        return ShownEntry(index, self.entries[index], tuple(self.inclusion_proof(index, len(self.entries))))


def bad_entry(
    world: World, claim: Claim, entries: Sequence[bytes], *indexes: int, key: bytes = b"", without: Sequence[str] = ()
) -> Evidence:
    """Evidence about entries of a log that everybody signed; true or not is for who checks it."""
    tree = Forged(entries)
    head = SignedHead(world.note(tree.checkpoint(), without=without), tuple(map(tree.shown, indexes)))
    return Evidence(claim, (head,), key=key)


WORLD = grown()
ENTRIES = entries_of(WORLD)
RECORDS = [index for index, raw in enumerate(ENTRIES) if isinstance(parse_entry(raw), BlockRecord)]
LAST, BEFORE = RECORDS[-1], RECORDS[-2]


def with_record(**changes: object) -> list[bytes]:
    """The honest entries with another record of the last block."""
    record = parse_entry(ENTRIES[LAST])
    if not isinstance(record, BlockRecord):
        raise ValueError(record)
    return [*ENTRIES[:LAST], replace(record, **changes).encode()]  # type: ignore[arg-type]


def forged_statement() -> tuple[list[bytes], int, bytes]:
    """An entry whose signature is another's; and the key that it names."""
    index = LAST - 1
    statement = parse_entry(ENTRIES[index])
    if not isinstance(statement, Statement):
        raise ValueError(statement)
    forged = [*ENTRIES[:index], statement.raw[:-1] + bytes((statement.raw[-1] ^ 1,)), ENTRIES[LAST]]
    return forged, index, WORLD.keys[statement.iss].public.cose_key


def two_roots() -> Evidence:
    other = Forged(with_record(state_root=bytes(32)))
    mine = with_last_record(SignedHead(WORLD.note()), WORLD.chain)
    theirs = with_last_record(SignedHead(WORLD.note(other.checkpoint(), without=("kz-kgd-1", "kz-kgd-2"))), other)
    found = conflicting_heads(mine, theirs)
    if found is None:
        raise ValueError("no conflict")
    return found


def inconsistent_trees(size: int = RECORDS[2] + 1) -> Evidence:
    lie = SignedHead(WORLD.note(Checkpoint(ORIGIN, size, bytes(range(32))), without=("kz-kgd-1", "kz-kgd-2")))
    found = conflicting_heads(lie, SignedHead(WORLD.note()), WORLD.chain)
    if found is None:
        raise ValueError("no conflict")
    return found


def _bundles() -> dict[Claim, Evidence]:
    record = parse_entry(ENTRIES[LAST])
    before = parse_entry(ENTRIES[BEFORE])
    if not isinstance(record, BlockRecord) or not isinstance(before, BlockRecord):
        raise ValueError(record)
    forged, index, key = forged_statement()
    statement = LAST - 1
    return {
        Claim.TWO_ROOTS: two_roots(),
        Claim.INCONSISTENT_TREES: inconsistent_trees(),
        Claim.BLOCK_END: bad_entry(WORLD, Claim.BLOCK_END, with_record(count=record.count + 1), LAST),
        Claim.BLOCK_PREVIOUS: bad_entry(WORLD, Claim.BLOCK_PREVIOUS, with_record(previous=bytes(32)), BEFORE, LAST),
        Claim.BLOCK_HEIGHT: bad_entry(WORLD, Claim.BLOCK_HEIGHT, with_record(height=record.height + 1), BEFORE, LAST),
        Claim.BLOCK_TIME: bad_entry(WORLD, Claim.BLOCK_TIME, with_record(time_ms=before.time_ms - 1), BEFORE, LAST),
        Claim.STATEMENT_SIGNATURE: bad_entry(WORLD, Claim.STATEMENT_SIGNATURE, forged, index, key=key),
        Claim.CTI_TWICE: bad_entry(WORLD, Claim.CTI_TWICE, [*ENTRIES, ENTRIES[statement]], statement, len(ENTRIES)),
        Claim.SECOND_GENESIS: bad_entry(WORLD, Claim.SECOND_GENESIS, [*ENTRIES, ENTRIES[0]], len(ENTRIES)),
    }


BUNDLES = _bundles()

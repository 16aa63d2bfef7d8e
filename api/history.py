"""The entries of the log about one subject, with their block times: what documents about it are made from.

From a gateway they come as they are; from an archive they are read here, offline. Promises of an archive: the policy
holds its checkpoint for final, and its entries are those of that checkpoint, or an error says which does not hold. That
signatures and execution are in order is for the audit to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ledger.archive import CHECKPOINT
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import Malformed, Untrue
from ledger.merkle import TILE_WIDTH, Frontier, leaf_hash
from ledger.note import MAX_NOTE_BYTES
from ledger.policy import parse_policy, verify_checkpoint
from ledger.statement import Statement
from ledger.tiles import ENTRIES, MAX_ENTRY_BYTES, decode_entry_bundle, entries_path, tile_width

MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
MAX_HISTORY_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """One accepted statement as it stands on the log."""

    index: int
    block_time_ms: int
    statement: Statement


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority of the network, as its genesis names it."""

    name: str
    country: str


@dataclass(frozen=True, slots=True)
class History:
    """All that a log of `size` entries has about one subject, in order; `time_ms` is that of its last block."""

    origin: str
    size: int
    time_ms: int
    authorities: tuple[Authority, ...]
    entries: tuple[Recorded, ...]

    def authority_of(self, participant_id: str) -> str:
        """Who enrols under a participant's namespace, which is an authority's name or country; empty if nobody."""
        namespace = participant_id.partition("/")[0]
        for authority in self.authorities:
            if namespace in (authority.name, authority.country.lower()):
                return authority.name
        return ""

    def country_of(self, name: str) -> str:
        return next((each.country for each in self.authorities if each.name == name), "")


def authorities_of(genesis: Genesis) -> tuple[Authority, ...]:
    return tuple(Authority(each.name, each.country) for each in genesis.authorities)


def read_archive(
    directory: Path, policy: bytes, subject: str, progress: Callable[[int, int], None] | None = None
) -> History:
    """What an archive has about a subject. Untrue where the archive does not hold, Malformed where it is none."""
    with (directory / CHECKPOINT).open("rb") as file:
        checkpoint = verify_checkpoint(file.read(MAX_NOTE_BYTES + 1), parse_policy(policy))
    tree = Frontier()
    genesis: Genesis | None = None
    time_ms = 0
    waiting: list[tuple[int, Statement]] = []
    found: list[Recorded] = []
    for number in range(-(-checkpoint.size // TILE_WIDTH)):
        width = tile_width(ENTRIES, number, checkpoint.size)
        for raw in decode_entry_bundle(_read(directory / entries_path(number, width)), width):
            index = tree.size
            tree.append(leaf_hash(raw))
            entry = parse_entry(raw)
            if isinstance(entry, Genesis):
                genesis = entry
            elif isinstance(entry, BlockRecord):
                time_ms = entry.time_ms
                found += [Recorded(at, entry.time_ms, statement) for at, statement in waiting]
                waiting.clear()
            elif entry.sub == subject:
                waiting.append((index, entry))
        if len(found) + len(waiting) > MAX_HISTORY_ENTRIES:
            raise Malformed("too_many", f"expected at most {MAX_HISTORY_ENTRIES} entries about {subject}")
        if progress is not None:
            progress(tree.size, checkpoint.size)
    if tree.root() != checkpoint.root or genesis is None:
        raise Untrue("archive_differs", f"the entries of {directory} are not those of its checkpoint")
    return History(checkpoint.origin, checkpoint.size, time_ms, authorities_of(genesis), tuple(found))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_BUNDLE_BYTES + 1)
    if len(data) > MAX_BUNDLE_BYTES:
        raise Malformed("bad_entry_bundle", f"{path}: too large: expected at most {MAX_BUNDLE_BYTES} bytes")
    return data

"""Making crossing certificates: from an archive, offline, or from what a gateway can read.

Promises: the same certificate for the same checkpoint, whoever makes it, but for the movement's record with its state
proof, which an archive does not have. Of an archive every entry is held against the root of its checkpoint, so that
none about the movement is passed over, and what is made is verified before it is handed out.

Does not: decide who may have a certificate; `api.routes.certificates` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts.certificate import MAX_CERTIFICATE_ENTRIES, belongs, make_certificate
from contracts.certificate_check import check_certificate
from ledger.archive import CHECKPOINT, MAX_BUNDLE_BYTES
from ledger.errors import Malformed, Untrue
from ledger.merkle import HASH_BYTES, TILE_WIDTH, Frontier, leaf_hash
from ledger.multiproof import multiproof_tiles
from ledger.note import MAX_NOTE_BYTES
from ledger.policy import parse_policy, verify_checkpoint
from ledger.proof_check import Verdict
from ledger.statement import Statement, parse_statement
from ledger.tiles import ENTRIES, decode_entry_bundle, entries_path, tile_path, tile_width

PLAN = "escort.plan"
_STATEMENT_START = 0xD2
Progress = Callable[[int, int], None]


class NoSuchMovement(Exception):
    """Nothing on the ledger plans the movement."""


def declarations_of(statements: Iterable[Statement], mrn: str) -> tuple[str, ...]:
    """The UCRs that the plan of a movement names. NoSuchMovement if nothing plans it."""
    for statement in statements:
        named = statement.payload.get("declarations")
        if statement.kind == PLAN and statement.sub == mrn and isinstance(named, list):
            return tuple(ucr for ucr in named if isinstance(ucr, str))
    raise NoSuchMovement(f"nothing on the ledger plans movement {mrn}")


# --- from an archive -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Found:
    """What one walk over an archive finds: statements whose bytes hold one of the subjects, and their block records."""

    subjects: tuple[bytes, ...]
    entries: dict[int, bytes]
    open: bool = False  # a statement was found whose block record has not come yet

    def look_at(self, index: int, raw: bytes) -> None:
        if raw[:1] == bytes((_STATEMENT_START,)):
            if any(subject in raw for subject in self.subjects):
                self.entries[index] = raw
                self.open = True
        elif self.open or index == 0:
            self.entries[index] = raw
            self.open = False


def certificate_of_archive(
    directory: Path, policy: bytes, mrn: str, *, declarations: bool = True, progress: Progress | None = None
) -> bytes:
    """The certificate of a movement as of the archive's checkpoint, with what is about its declarations or without.

    Untrue where the archive does not hold, Malformed where it is none, NoSuchMovement where nothing plans the movement.
    """
    with (directory / CHECKPOINT).open("rb") as file:
        note = file.read(MAX_NOTE_BYTES + 1)
    checkpoint = verify_checkpoint(note, parse_policy(policy))
    size = checkpoint.size
    tree = Frontier()
    found = _Found((mrn.encode(),), {})
    for raw in _archive_entries(directory, size, lambda done: progress and progress(done, 2 * size)):
        found.look_at(tree.size, raw)
        tree.append(leaf_hash(raw))
    if tree.root() != checkpoint.root:
        raise Untrue("archive_differs", f"the entries of {directory} are not those of its checkpoint")
    ucrs = declarations_of((s for _, s in _statements(found.entries)), mrn)
    if declarations:
        found = _Found((mrn.encode(), *(ucr.encode() for ucr in ucrs)), {})
        reading = _archive_entries(directory, size, lambda done: progress and progress(size + done, 2 * size))
        for index, raw in enumerate(reading):
            found.look_at(index, raw)
    entries = _chosen(found.entries, mrn, ucrs if declarations else ())

    def read_tile(level: int, index: int, width: int) -> bytes:
        return _read(directory / tile_path(level, index, tile_width(level, index, size)), TILE_WIDTH * HASH_BYTES)

    return verified(policy, make_certificate(mrn, note, size, entries, read_tile))


def _archive_entries(directory: Path, size: int, done: Callable[[int], object]) -> Iterator[bytes]:
    for number in range(-(-size // TILE_WIDTH)):
        width = tile_width(ENTRIES, number, size)
        yield from decode_entry_bundle(_read(directory / entries_path(number, width), MAX_BUNDLE_BYTES), width)
        done(number * TILE_WIDTH + width)


def _read(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Malformed("too_large", f"{path}: too large: expected at most {max_bytes} bytes")
    return data


def _statements(entries: dict[int, bytes]) -> Iterator[tuple[int, Statement]]:
    for index, raw in entries.items():
        if raw[:1] == bytes((_STATEMENT_START,)):
            yield index, parse_statement(raw)


def _chosen(found: dict[int, bytes], mrn: str, ucrs: Collection[str]) -> dict[int, bytes]:
    """Of what mentions the subjects, what the certificate has: the genesis record, its statements, their block records.

    Each block record found follows the statements of its block that were found.
    """
    chosen: dict[int, bytes] = {}
    kept = False
    for index, raw in found.items():
        if raw[:1] == bytes((_STATEMENT_START,)):
            if belongs(parse_statement(raw), mrn, ucrs):
                chosen[index] = raw
                kept = True
        elif kept or index == 0:
            chosen[index] = raw
            kept = False
        if len(chosen) > MAX_CERTIFICATE_ENTRIES:
            raise Malformed("too_many", f"expected at most {MAX_CERTIFICATE_ENTRIES} entries about {mrn}")
    return chosen


def verified(policy: bytes, certificate: bytes) -> bytes:
    """The certificate, if it holds; Untrue with the first check that does not."""
    for check in check_certificate(policy, certificate).checks:
        if check.verdict is not Verdict.HOLDS:
            raise Untrue("certificate_does_not_hold", f"{check.number} {check.name}: {check.detail}")
    return certificate


# --- from a gateway --------------------------------------------------------------------------------------------------

Tile = Callable[[str], Awaitable[bytes | None]]


async def certificate_of_entries(
    mrn: str, note: bytes, size: int, entries: dict[int, bytes], tile: Tile, record: tuple[bytes, bytes] | None = None
) -> bytes:
    """The certificate of entries that were gathered, with hashes from tiles that are fetched."""
    tiles: dict[tuple[int, int, int], bytes] = {}
    for level, index, width in multiproof_tiles(sorted(entries), size):
        path = tile_path(level, index, width)
        data = await tile(path)
        if data is None or len(data) < width * HASH_BYTES:
            raise Malformed("bad_tile", f"{path} is not there")
        tiles[level, index, width] = data
    return make_certificate(mrn, note, size, entries, lambda level, index, width: tiles[level, index, width], record)

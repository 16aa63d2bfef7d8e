"""Copies of what statements refer to by hash, from one gateway to another: each authority keeps its own.

Gateways of two authorities never talk to each other, and so neither has to trust, or let in, the other's machine. What
a copy needs, an enrolled participant with a customs role can do: read the log and the attachments at the one gateway,
and leave them at the other. Bytes are known by their hash, so that it does not matter whom they came from.

Promises: everything that a final statement from `first` on refers to, and that the source has, is left at the
destination; what is there already costs one question. Interrupted, it goes on where it was told to begin.

Does not: bring back what both have lost, or copy what no final statement refers to.

Needs httpx (`comity[client]`), neither grpc nor fastapi.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from api.attachment_kinds import Kind, references_of
from api.exchange import NotFound, ProblemError
from ledger.errors import Malformed
from ledger.merkle import TILE_WIDTH
from ledger.statement import Statement, parse_statement
from ledger.tiles import decode_entry_bundle, entries_path


class Source(Protocol):
    """What of a client is needed: `api.client.Client` has it."""

    def status(self) -> dict[str, Any]: ...
    def tile(self, path: str) -> bytes: ...
    def attachment(self, sha256: str, *, statement_id: str | None = None) -> bytes: ...


class Destination(Protocol):
    def has_attachment(self, sha256: str) -> bool: ...
    def put_attachment(self, media_type: str, data: bytes) -> bool: ...


@dataclass(slots=True)
class Mirrored:
    """What a run came to. `next` is the entry at which the next run begins."""

    next: int
    copied: int = 0
    copied_bytes: int = 0
    there: int = 0
    missing: int = 0  # at the source: not sent yet, over, or deleted
    refused: int = 0  # by the destination


def statements_of(source: Source, first: int, size: int) -> Iterator[tuple[int, Statement]]:
    """The final statements from entry `first` up to `size`."""
    for bundle in range(first // TILE_WIDTH, -(-size // TILE_WIDTH)):
        start = bundle * TILE_WIDTH
        width = min(TILE_WIDTH, size - start)
        for offset, raw in enumerate(decode_entry_bundle(source.tile(entries_path(bundle, width)), width)):
            if start + offset < first:
                continue
            try:
                yield start + offset, parse_statement(raw)
            except Malformed:
                continue  # the genesis or a block record


def mirror(source: Source, destination: Destination, first: int = 0) -> Mirrored:
    """Copy what is missing at the destination, of every final statement from entry `first` on."""
    size = int(source.status()["final_size"])
    done = Mirrored(next=max(first, size))
    first_missing: int | None = None
    for index, statement in statements_of(source, first, size):
        for sha256, kind in references_of(statement.kind, statement.payload).items():
            before = done.missing + done.refused
            _copy(source, destination, sha256.hex(), kind, statement.id_hex, done)
            if done.missing + done.refused > before and first_missing is None:
                first_missing = index
    # What is not there yet may come: a device sends its batches when its link is back.
    if first_missing is not None:
        done.next = first_missing
    return done


def _copy(source: Source, destination: Destination, name: str, kind: Kind, statement_id: str, done: Mirrored) -> None:
    if destination.has_attachment(name):
        done.there += 1
        return
    try:
        data = source.attachment(name, statement_id=statement_id)
    except NotFound:
        done.missing += 1
        return
    try:
        destination.put_attachment(kind.media_type, data)
    except ProblemError as error:
        if error.status in (401, 503, 429):
            raise
        done.refused += 1
        return
    done.copied += 1
    done.copied_bytes += len(data)

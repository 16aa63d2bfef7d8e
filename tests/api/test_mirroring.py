"""Copies from one gateway to the other: all that is referred to, once, and again only what was not there."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from api.attachment_kinds import ENVELOPE, TELEMETRY
from api.exchange import NotFound, ProblemError, Unavailable
from api.mirroring import mirror
from contracts.telemetry import Fix, batch_payload, encode_telemetry
from ledger.tiles import encode_entry_bundle, parse_tile_path
from tests.api.fakes import signed_statement

BATCHES = [encode_telemetry([Fix(number, 0, 0, 0)]) for number in range(1, 5)]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class FakeGateway:
    """A log in a list, attachments in a dict, and what was asked for."""

    def __init__(self) -> None:
        self.entries: list[bytes] = [b"genesis"]
        self.kept: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.full: ProblemError | None = None

    def refer(self, *batches: bytes) -> None:
        for batch in batches:
            self.entries += [signed_statement(payload={"batch": batch_payload(batch)}).raw, b"block record"]

    def status(self) -> dict[str, Any]:
        return {"final_size": len(self.entries)}

    def tile(self, path: str) -> bytes:
        _, index, width = parse_tile_path(path)
        return encode_entry_bundle(self.entries[index * 256 : index * 256 + width])

    def has_attachment(self, sha256: str) -> bool:
        return sha256 in self.kept

    def attachment(self, sha256: str, *, statement_id: str | None = None) -> bytes:
        self.asked.append(sha256)
        if sha256 not in self.kept:
            raise NotFound("not_found", {"status": 404})
        return self.kept[sha256]

    def put_attachment(self, media_type: str, data: bytes) -> bool:
        if self.full is not None:
            raise self.full
        assert media_type in (TELEMETRY.media_type, ENVELOPE.media_type)
        self.kept[sha(data)] = data
        return True


@pytest.fixture
def source() -> FakeGateway:
    gateway = FakeGateway()
    gateway.refer(*BATCHES)
    gateway.kept = {sha(batch): batch for batch in BATCHES}
    return gateway


def test_everything_referred_to_is_copied_once_and_then_only_what_is_new(source: FakeGateway) -> None:
    own = FakeGateway()
    first = mirror(source, own)
    assert (first.copied, first.there, first.missing, first.next) == (4, 0, 0, len(source.entries))
    assert own.kept == source.kept
    new = encode_telemetry([Fix(9, 0, 0, 0)])
    source.refer(new)
    source.kept[sha(new)] = new
    source.asked.clear()
    again = mirror(source, own, first.next)
    assert (again.copied, source.asked) == (1, [sha(new)])
    assert mirror(source, own).there == 5


def test_what_is_not_there_yet_is_where_the_next_run_begins(source: FakeGateway) -> None:
    own, late = FakeGateway(), sha(BATCHES[1])
    data = source.kept.pop(late)
    done = mirror(source, own)
    assert (done.copied, done.missing, done.next) == (3, 1, 3)
    source.kept[late] = data
    done = mirror(source, own, done.next)
    assert (done.copied, done.there, done.missing, done.next) == (1, 2, 0, len(source.entries))


def test_a_destination_that_is_full_is_counted_and_one_that_is_not_there_ends_the_run(source: FakeGateway) -> None:
    own = FakeGateway()
    own.full = ProblemError("attachments_full", {"status": 507})
    assert (mirror(source, own).refused, mirror(source, own).next) == (4, 1)
    own.full = Unavailable("validators_unreachable", {"status": 503})
    with pytest.raises(Unavailable):
        mirror(source, own)


def test_a_log_of_many_bundles_is_read_from_where_it_was_left() -> None:
    source, own = FakeGateway(), FakeGateway()
    batches = [encode_telemetry([Fix(number, 1, 0, 0)]) for number in range(1, 301)]
    source.refer(*batches)
    source.kept = {sha(batch): batch for batch in batches}
    assert mirror(source, own, 400).copied == 100
    assert mirror(source, own).copied == 200

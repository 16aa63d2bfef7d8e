"""What is fuzzed: every reader of bytes from outside, with seeds and the errors that it may raise.

A reader may return, or raise one of its `refusals`; anything else is a finding. What it accepts it must write again as
the very same bytes, where the format has one spelling. Time and memory are libFuzzer's to watch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from api.problems import Problem
from api.tokens import parse_token
from api.wco.importing import Given, import_declaration
from api.wco.reading import XmlRefused
from contracts.commitments import encode_openings, parse_openings
from contracts.identifiers import IdentifierError, parse_container, parse_mrn, parse_ucr, parse_vehicle
from contracts.verifying import Context, verify_file
from ledger import cbor
from ledger.entry import parse_entry
from ledger.errors import Malformed, UnknownDurableState, Untrue
from ledger.membership import split_chain
from ledger.note import format_note, parse_note
from ledger.statement import parse_statement_sequence
from nodes.cosigning import Intent
from nodes.promises import Promise
from tests.corpus.formats import FORMATS, Format
from tests.corpus.mutations import mutations
from tests.ledger import corridor

ROOT = Path(__file__).resolve().parents[2]
MAX_SEED_BYTES = 16 * 1024
MAX_STATEMENTS = 64


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    seeds: Callable[[], Iterator[bytes]]
    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = (Malformed, Untrue)
    max_bytes: int = 8192

    def __call__(self, data: bytes) -> None:
        try:
            self.run(data)
        except self.refusals:
            return


class SecondSpelling(Exception):
    """Bytes were accepted that are not the one spelling of what was read from them."""


def _of_format(format_: Format) -> Target:
    def run(data: bytes) -> None:
        read = format_.read(data)
        if format_.write is None:
            return
        written = format_.write(read)
        if (written != data and format_.one_spelling) or format_.read(written) != read:
            raise SecondSpelling(f"{format_.name}: {data.hex()} is also {written.hex()}")

    def seeds() -> Iterator[bytes]:
        yield format_.good
        changed = (each.data for each in mutations(format_.good, *format_.rules))
        yield from itertools.islice((data for data in changed if len(data) <= MAX_SEED_BYTES), None, None, 7)

    return Target(format_.name, seeds, run)


def _respelled(read: Callable[[bytes], object], write: Callable[[object], bytes]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        value = read(data)
        if write(value) != data:
            raise SecondSpelling(data.hex())

    return run


def _cbor_seeds() -> Iterator[bytes]:
    return (each.good for each in FORMATS)


def _text_seeds() -> Iterator[bytes]:
    yield from (b"19GBCKKCQSXV2FGVA8", b"26KZ0123456789ABC1", b"CSQU3054383", b"KZ 123 ABC 02", b"")


def _wco_seeds() -> Iterator[bytes]:
    yield (ROOT / "docs" / "examples" / "wheat.xml").read_bytes()


def _token_seeds() -> Iterator[bytes]:
    yield (
        b"eyJhbGciOiJFZERTQSIsImtpZCI6IjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwIn0"
        b".eyJpc3MiOiJreiIsImF1ZCI6ImEiLCJpYXQiOjEsImV4cCI6Mn0.AAAA"
    )


def _identifiers(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for parse in (parse_ucr, parse_mrn, parse_container, parse_vehicle):
        try:
            parse(text)
        except IdentifierError:
            continue


def _verify(data: bytes) -> None:
    verify_file(data, "file", Context(corridor.policy_text("kz"), corridor.TIME_S, corridor.STATEMENT.raw))


TARGETS: tuple[Target, ...] = (
    *map(_of_format, FORMATS),
    Target("cbor", _cbor_seeds, _respelled(cbor.decode, cbor.encode)),  # type: ignore[arg-type]
    Target("note", _cbor_seeds, _respelled(parse_note, format_note)),  # type: ignore[arg-type]
    Target("entry", _cbor_seeds, parse_entry),
    Target("statement-sequence", _cbor_seeds, lambda data: parse_statement_sequence(data, MAX_STATEMENTS)),
    Target("membership-chain", _cbor_seeds, split_chain),
    Target("openings", _cbor_seeds, _respelled(parse_openings, encode_openings)),  # type: ignore[arg-type]
    Target("verify", _cbor_seeds, _verify, ()),
    Target("identifiers", _text_seeds, _identifiers, (), 256),
    Target("intent", _cbor_seeds, Intent.decode, (UnknownDurableState,), 512),
    Target("promise", _cbor_seeds, Promise.decode, (UnknownDurableState,), 512),
    Target("token", _token_seeds, lambda data: parse_token(data.decode("latin-1")), (Problem,), 2048),
    Target("wco", _wco_seeds, lambda data: import_declaration(data, Given()), (XmlRefused,), 32 * 1024),
)

"""The record of one electronic declaration: `declaration/<ucr>`, and the index of national numbers.

Two machines of the contract `declaration` move it: the status, which is the home authority's, and the recognition, the
partner's. The content is encoded once a version, since a declaration changes many times and its content seldom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from contracts.amending import amender
from contracts.working import Working, record_fields
from ledger.cbor import encode, encode_sequence, head

TAG = "declaration.v1"
_START = head(4, 28) + encode(TAG)

LODGED = "lodged"
REGISTERED = "registered"
ACCEPTED = "accepted"
UNDER_CONTROL = "under_control"
RELEASED = "released"
CLEARED = "cleared"
REJECTED = "rejected"
REFUSED = "refused"
INVALIDATED = "invalidated"

NONE = "none"
RECOGNISED = "recognised"
SUSPENDED = "suspended"
WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Goods:
    hs: str
    description: str
    mass_g: int
    packages: int
    value: tuple[int, str] | None = None  # amount in the smallest unit, currency


@dataclass(frozen=True, slots=True)
class Document:
    kind: str
    number: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """What is declared. A new one is a new version. What is committed to is empty, or None, where it would be open."""

    consignor: str
    consignee: str
    origin: str
    destination: str
    gross_mass_g: int
    goods: tuple[Goods, ...]
    containers: tuple[str, ...]
    documents: tuple[Document, ...]
    value: tuple[int, str] | None = None
    commitments: tuple[tuple[str, bytes], ...] = ()
    envelope: bytes | None = None
    # Spelled once: a declaration changes many times, its content seldom.
    encoded: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoded", encode(self.fields()))

    def fields(self) -> tuple[Any, ...]:
        return (
            self.consignor,
            self.consignee,
            self.origin,
            self.destination,
            self.gross_mass_g,
            tuple((g.hs, g.description, g.mass_g, g.packages, g.value) for g in self.goods),
            self.containers,
            tuple((d.kind, d.number, d.sha256) for d in self.documents),
            self.value,
            self.commitments,
            self.envelope,
        )


@dataclass(frozen=True, slots=True)
class Recognition:
    """The partner's last decision. `state` none has nothing else. `number` stays through suspension and withdrawal."""

    state: str = NONE
    version: int = 0
    number: str = ""
    reason: str = ""
    legal_basis: tuple[str, str, str] = ("", "", "")  # agreement, article, effective date
    by: str = ""
    since_ms: int = 0
    statement: bytes | None = None
    encoded: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoded", encode(self.fields()))

    def fields(self) -> tuple[Any, ...]:
        return (
            self.state,
            self.version,
            self.number,
            self.reason,
            self.legal_basis,
            self.by,
            self.since_ms,
            self.statement,
        )


@dataclass(frozen=True, slots=True)
class Declaration:
    ucr: str
    status: str
    version: int
    home: str
    home_country: str
    partner: str
    partner_country: str
    declarant: str
    carrier: str | None
    lodged_ms: int
    lodged_statement: bytes
    since_ms: int  # of the status
    since_statement: bytes
    by: str
    number: str  # the home authority's; empty until accepted
    content: Content
    amendment: Content | None
    amendment_reason: str
    invalidation_reason: str  # empty unless the declarant asked
    control: str  # documentary, physical or scan while under control, and the last one after it
    control_result: str
    reasons: tuple[str, ...]  # of a rejection, refusal or invalidation
    recognition: Recognition
    movements_open: int = 0  # movements that have started with it and not ended
    exits: int = 0  # movements with it that have ended on the partner's side
    exit_evidence: Document | None = None  # what proved the exit where no movement did
    flagged: int = 0

    def recognised(self) -> bool:
        return self.recognition.state == RECOGNISED and self.recognition.version == self.version

    def amended(self, **changes: Any) -> Declaration:
        return _amend(self, changes)

    def encode(self) -> bytes:
        proof = self.exit_evidence
        evidence = None if proof is None else (proof.kind, proof.number, proof.sha256)
        before = (
            self.ucr,
            self.status,
            self.version,
            self.home,
            self.home_country,
            self.partner,
            self.partner_country,
            self.declarant,
            self.carrier,
            self.lodged_ms,
            self.lodged_statement,
            self.since_ms,
            self.since_statement,
            self.by,
            self.number,
        )
        between = (
            None if self.amendment is None else self.amendment.fields(),
            self.amendment_reason,
            self.invalidation_reason,
            self.control,
            self.control_result,
            self.reasons,
        )
        return b"".join(
            (
                _START,
                encode_sequence(before),
                self.content.encoded,
                encode_sequence(between),
                self.recognition.encoded,
                encode_sequence((self.movements_open, self.exits, evidence, self.flagged)),
            )
        )


_amend = amender(Declaration)


def _content_of_fields(fields: Any) -> Content:
    fields[5] = tuple(Goods(hs, text, mass_g, count, _amount(value)) for hs, text, mass_g, count, value in fields[5])
    fields[6] = tuple(fields[6])
    fields[7] = tuple(Document(*document) for document in fields[7])
    fields[8] = _amount(fields[8])
    fields[9] = tuple((name, digest) for name, digest in fields[9])
    return Content(*fields)


def _amount(value: Any) -> tuple[int, str] | None:
    return None if value is None else (value[0], value[1])


def _amount_of(payload: Mapping[str, Any]) -> tuple[int, str] | None:
    value = payload.get("value")
    return None if value is None else (value["amount"], value["currency"])


def decode_declaration(raw: bytes) -> Declaration:
    fields = cast(Any, record_fields(TAG, raw, 27))
    fields[15] = _content_of_fields(fields[15])
    fields[16] = None if fields[16] is None else _content_of_fields(fields[16])
    fields[21] = tuple(fields[21])
    recognition = fields[22]
    recognition[4] = tuple(recognition[4])
    fields[22] = Recognition(*recognition)
    fields[25] = None if fields[25] is None else Document(*fields[25])
    return Declaration(*fields)


def content_of(payload: Mapping[str, Any]) -> Content:
    return Content(
        consignor=payload.get("consignor", ""),
        consignee=payload.get("consignee", ""),
        origin=payload["origin"],
        destination=payload["destination"],
        gross_mass_g=payload["gross_mass_g"],
        goods=tuple(
            Goods(g["hs"], g.get("description", ""), g["mass_g"], g.get("packages", 0), _amount_of(g))
            for g in payload["goods"]
        ),
        containers=tuple(payload["containers"]),
        documents=tuple(Document(d["kind"], d["number"], d["sha256"]) for d in payload.get("documents", ())),
        value=_amount_of(payload),
        commitments=tuple((c["name"], c["sha256"]) for c in payload.get("commitments", ())),
        envelope=payload.get("envelope_sha256"),
    )


def declaration_key(ucr: str) -> str:
    return f"declaration/{ucr}"


def number_key(country: str, number: str) -> str:
    return f"number/{country.lower()}/{number}"


def load_declaration(working: Working, ucr: str) -> Declaration | None:
    return working.record(declaration_key(ucr), Declaration, decode_declaration)

"""The shapes of the gateway's JSON, for its description and its tests.

The routes on the hot path write these shapes themselves; a test holds each of them against its model.
Times end in their unit; bytes are lower-case hex, or base64 where a program reads them on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Model(BaseModel):
    """Nothing beyond what is described."""

    model_config = ConfigDict(extra="forbid")


class ProblemDocument(BaseModel):
    """RFC 9457. `type` never changes; branch on it, not on the words."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
    id: Hex32 | None = None
    field: str | None = None
    outcome_code: int | None = None
    outcome: str | None = None
    help: str | None = Field(None, description="Path at this gateway: what the outcome means and what to do.")
    missing_authorities: list[str] | None = None
    retry_after_ms: int | None = None


class StatementResult(Model):
    """A statement on the log: `committed`, or `final` once both authorities have cosigned."""

    id: Hex32
    state: Literal["committed", "final"]
    index: int
    height: int
    block_time_ms: int
    duplicate: bool = Field(description="It was on the log already, and nothing happened twice.")
    unlisted: list[str] | None = Field(
        default=None, description="Codes in no reference table of this gateway, where that is only reported."
    )


class FailedResult(Model):
    """A statement of a sequence that is not on the log, and why."""

    id: Hex32
    state: Literal["rejected", "refused", "unavailable"]
    problem: ProblemDocument


class SequenceResult(Model):
    """One result for each statement of a sequence, in its order."""

    results: list[StatementResult | FailedResult]


class StatementRecord(Model):
    """A statement as it stands on the log."""

    id: Hex32
    state: Literal["committed", "final"]
    index: int
    height: int
    block_time_ms: int
    cosigned_at_s: dict[str, int] = Field(description="When each authority first cosigned a checkpoint that covers it.")
    kind: str
    iss: str
    sub: str
    iat_s: int
    statement: str = Field(description="The signed bytes, base64.")


class RecordDocument(Model):
    """What the ledger's state says of one thing, as of `size` entries."""

    key: str
    size: int
    record: dict[str, Any]


class PlaceDocument(Model):
    """A place that has a UN/LOCODE."""

    code: str
    country: str
    name: str
    subdivision: str | None
    function: str | None
    latitude_udeg: int | None
    longitude_udeg: int | None


class GoodsLine(Model):
    """A goods code and what it stands for."""

    code: str
    description: str


class GoodsDocument(GoodsLine):
    """A goods code, and what it stands under, the chapter first."""

    under: list[GoodsLine]


class DwellFigure(Model):
    """Of one interval: how often it ended, and how long it took."""

    count: int
    p50_ms: int
    p95_ms: int
    max_ms: int


class DwellDay(DwellFigure):
    """The same, of one UTC day."""

    day: str


class DwellInterval(Model):
    """One interval at one side of one post, over all days and day by day."""

    post: str
    side: Literal["departure", "destination"]
    interval: str
    all: DwellFigure
    days: list[DwellDay]


class DwellTimes(Model):
    """Of the first `size` entries of the log."""

    origin: str
    size: int
    first: str = Field(alias="from")
    to: str
    post: str | None
    figures: list[DwellInterval]


class LookedFor(Model):
    """An identifier, and the kind as which it was looked up."""

    kind: str
    identifier: str


class FoundRecord(Model):
    """A record whose statements mention an identifier, with all the identifiers that belong to it."""

    key: str
    contract: str
    subject: str
    state: str | None
    found_by: LookedFor
    first_entry: int
    last_entry: int
    identifiers: dict[str, Any]


class LookupPage(Model):
    """Newest first for each identifier; ask again with `next` until it is null. A page may be short or empty."""

    looked_for: list[LookedFor]
    found: list[FoundRecord]
    next: str | None
    size: int


class ImportProblem(Model):
    """Something for which a document cannot be signed as it is."""

    field: str = Field(description="Of the payload; empty for what is wrong of the document as a whole.")
    path: str = Field(description="Of the element that is to blame; empty where something is missing.")
    line: int
    message: str


class ImportedElement(Model):
    """A leaf element or attribute, and what became of it."""

    path: str
    line: int
    value: str
    fate: Literal["field", "subject", "commercial", "check", "escort", "nowhere", "fault"]
    to: str | None = None
    why: str | None = None


class ImportReport(Model):
    """A document as a payload to sign, and what became of everything in it."""

    ready: bool = Field(description="The payload is what the contract takes.")
    kind: str = Field(description="The kind of statement; empty where the document does not say.")
    subject: str | None
    payload: dict[str, Any] = Field(description='Bytes as {"hex": "00ff"}.')
    commercial: list[str] = Field(description="Fields that may be committed to instead of open.")
    escort: dict[str, Any] = Field(description="For the plan of the escort: seals, transport, itinerary.")
    problems: list[ImportProblem]
    notes: list[str]
    fates: dict[str, int] = Field(description="How many elements and attributes have each fate.")
    elements: list[ImportedElement]


class MovementPage(Model):
    """Movements in the order of their MRN; ask again with `next` until it is null."""

    movements: list[dict[str, Any]]
    next: str | None


class ParticipantPage(Model):
    """Participants in the order of their ids; ask again with `next` until it is null."""

    participants: list[dict[str, Any]]
    next: str | None


class AuthorityHealth(Model):
    """One authority as this gateway's validators see it."""

    name: str
    country: str
    reachable: bool
    validators_reachable: list[str]
    validators_missing: list[str]
    last_cosigned_size: int
    last_cosigned_at_s: int


class ValidatorHealth(Model):
    """One of this gateway's own validators."""

    name: str
    reachable: bool
    ready: bool
    leader: str
    size: int
    final_size: int
    halted: str


class ProtocolSpoken(Model):
    """Which versions of the protocol between validators one of them speaks; 0 to 0 if it has not been heard."""

    validator: str
    lowest: int
    highest: int
    release: str
    refusal: str = Field(description="Why it is not listened to: it speaks no version that ours speaks too.")


class EndingDocument(Model):
    """A certificate or key that ends within 90, 30 or 7 days; 0 if it has ended."""

    what: str
    ends_ms: int
    within_days: int


class FurtherCosigner(Model):
    """One of those whose cosignature makes nothing final, and may be demanded all the same."""

    name: str = Field(description="As the policy of further cosignatures names it.")
    size: int = Field(description="The largest size that it has cosigned, as far as is known; 0 if none.")
    time_s: int = Field(description="Its own time then, Unix seconds; 0 if it did not say when.")
    trouble: str = Field(description="What was wrong with it last, in words; empty if nothing.")


class FurtherHealth(Model):
    """How far behind those are whose cosignatures make nothing final; `/v1/further` has the note."""

    size: int = Field(description="Entries under the newest checkpoint that satisfies the policy that names them.")
    lag_ms: int = Field(description="How long the oldest final entry that is not under it has been waiting; 0 if none.")
    cosigners: list[FurtherCosigner]


class NetworkStatus(Model):
    """`state` says in plain words what works now."""

    origin: str
    gateway: str
    authority: str
    token_audience: str = Field(description="What `aud` of a token for this gateway is.")
    state: str
    ready: bool
    size: int
    height: int
    final_size: int
    final_lag_ms: int
    authorities: list[AuthorityHealth]
    validators: list[ValidatorHealth]
    protocol_effective: int = Field(description="The highest version that every validator of the network speaks.")
    protocols: list[ProtocolSpoken]
    endings: list[EndingDocument] = Field(description="Certificates and keys whose end is near, the nearest first.")
    evidence: list[str] = Field(
        description="What somebody signed that cannot be true, in words; `/v1/evidence` has the bundles."
    )
    releases_needed: list[str] = Field(description="Contracts ahead that the validator's program does not have.")
    further: FurtherHealth | None = Field(description="How far behind further cosigners are; null if none are asked.")


class CheckpointDocument(Model):
    """The newest checkpoint that both authorities cosigned."""

    origin: str
    size: int
    root: Hex32
    note: str = Field(description="The signed note (C2SP tlog-checkpoint), as `/log/checkpoint` serves it.")


class FurtherDocument(Model):
    """The further cosigners, and the newest checkpoint that satisfies the policy that names them."""

    size: int
    note: str | None = Field(description="The signed note, as `/log/further/checkpoint` serves it; null before any.")
    cosigners: list[FurtherCosigner]


class EvidenceRow(Model):
    """One bundle of evidence. `words` are the validators' own; `comity evidence verify` believes nobody."""

    id: Hex32
    claim: str
    words: str
    size_bytes: int
    validators: list[str] = Field(description="Which of this authority's validators have it.")


class EvidenceList(Model):
    """The bundles that this authority's validators have made, by id."""

    evidence: list[EvidenceRow]


class EventData(Model):
    """The data of one server-sent event `statement`; its `id` is the entry index."""

    index: int
    id: Hex32
    height: int
    block_time_ms: int
    kind: str
    iss: str
    sub: str
    iat_s: int
    statement: str


class Health(Model):
    """Whether the process lives (`/healthz`) or can serve (`/readyz`)."""

    status: Literal["ok", "unavailable"]
    detail: str


class MemberDocument(Model):
    """A member of the order."""

    name: str
    party: str = Field(description="An authority, or a neutral party.")
    role: Literal["voter", "witness", "observer"]
    address: str = Field(description="Empty for a member since genesis: each operator's configuration says.")
    reachable: bool
    leader: bool
    size: int = Field(description="Entries that it said last that it has executed.")
    behind: int = Field(description="Entries that the answering validator has executed and it has not.")


class MembershipDocument(Model):
    """Who belongs to the order."""

    number: int = Field(description="Changes since genesis.")
    digest: Hex32
    text: str
    committed: bool
    joint: bool = Field(description="A change is under way, and the members of before still have a say.")
    members: list[MemberDocument]
    changes: list[str]


class SinceDocument(Model):
    """What brought something into force."""

    proposal: str
    height: int
    time_ms: int
    statement: Hex32


class ParameterDocument(Model):
    """A governed parameter. Limits are null where it is text."""

    name: str
    value: int | str
    default: int | str
    lowest: int | None = None
    highest: int | None = None
    meaning: str
    since: SinceDocument | None = None
    pending: str | None = None


class ParametersDocument(Model):
    """All of them, as of a size of the log."""

    size: int
    parameters: list[ParameterDocument]


class ContractInForce(Model):
    """A contract of this network."""

    name: str
    version: int
    versions_here: list[int] = Field(description="Versions that this gateway's program has.")
    since: SinceDocument | None = None
    pending: str | None = None


class LegalBasisDocument(Model):
    """An entry of the register of legal bases. One that was taken off has no date."""

    agreement: str
    article: str
    effective: str | None = None


class AuthorityKeyDocument(Model):
    """A log key, or the SHA-256 of a CA certificate, and where it counts."""

    authority: str
    kind: Literal["log_key", "ca"]
    value: str
    from_height: int
    until_height: int | None = None
    until_ms: int | None = None
    proposal: str | None = None
    waiting: bool


class GovernanceDocument(Model):
    """What is proposed, approved and in force."""

    size: int
    authorities: list[str]
    open: list[dict[str, Any]]
    approved: list[dict[str, Any]]
    contracts: list[ContractInForce]
    legal_basis: list[LegalBasisDocument]
    keys: list[AuthorityKeyDocument]
    missing: list[str]


class ChangeReply(Model):
    """What became of a change of the membership."""

    state: Literal["committed", "proposed"]
    number: int
    detail: str


class AttachmentResult(Model):
    """An attachment that is on the gateway's disk."""

    sha256: Hex32
    kind: Literal["telemetry", "envelope"]
    size_bytes: int
    new: bool = Field(description="It was not here before.")


class DeletedAttachment(Model):
    """An attachment that is not here any more."""

    sha256: Hex32
    deleted: Literal[True]


class EnvelopeKeyDocument(Model):
    """An X25519 key that an authority published."""

    kid: Hex32
    public: Hex32
    since_ms: int
    until_ms: int | None = Field(description="When the next one came; null for the current one.")
    by: str
    statement: Hex32


class AuthorityEnvelopeKeys(Model):
    """The keys of one authority, the current one last."""

    authority: str
    keys: list[EnvelopeKeyDocument]


class EnvelopeKeysDocument(Model):
    """The keys of all authorities."""

    authorities: list[AuthorityEnvelopeKeys]

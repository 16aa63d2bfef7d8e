from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubmitRequest(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("tag", "statement")
        TAG_FIELD_NUMBER: _ClassVar[int]
        STATEMENT_FIELD_NUMBER: _ClassVar[int]
        tag: int
        statement: bytes
        def __init__(self, tag: _Optional[int] = ..., statement: _Optional[bytes] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[SubmitRequest.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[SubmitRequest.Item, _Mapping]]] = ...) -> None: ...

class SubmitReply(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    def __init__(self, results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("tag", "accepted", "rejected", "refused")
    TAG_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    tag: int
    accepted: Accepted
    rejected: Rejected
    refused: Refused
    def __init__(self, tag: _Optional[int] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., rejected: _Optional[_Union[Rejected, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("index", "height", "block_time_ms", "duplicate")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    index: int
    height: int
    block_time_ms: int
    duplicate: bool
    def __init__(self, index: _Optional[int] = ..., height: _Optional[int] = ..., block_time_ms: _Optional[int] = ..., duplicate: _Optional[bool] = ...) -> None: ...

class Rejected(_message.Message):
    __slots__ = ("code", "name", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: int
    name: str
    detail: str
    def __init__(self, code: _Optional[int] = ..., name: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("reason", "code", "detail", "retry_after_ms", "missing_authorities")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Refused.Reason]
        MALFORMED: _ClassVar[Refused.Reason]
        UNTRUE: _ClassVar[Refused.Reason]
        OVERLOADED: _ClassVar[Refused.Reason]
        UNAVAILABLE: _ClassVar[Refused.Reason]
    REASON_UNSPECIFIED: Refused.Reason
    MALFORMED: Refused.Reason
    UNTRUE: Refused.Reason
    OVERLOADED: Refused.Reason
    UNAVAILABLE: Refused.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    MISSING_AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    reason: Refused.Reason
    code: str
    detail: str
    retry_after_ms: int
    missing_authorities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, reason: _Optional[_Union[Refused.Reason, str]] = ..., code: _Optional[str] = ..., detail: _Optional[str] = ..., retry_after_ms: _Optional[int] = ..., missing_authorities: _Optional[_Iterable[str]] = ...) -> None: ...

class FollowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LedgerEvent(_message.Message):
    __slots__ = ("grown", "final")
    GROWN_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    grown: Grown
    final: Final
    def __init__(self, grown: _Optional[_Union[Grown, _Mapping]] = ..., final: _Optional[_Union[Final, _Mapping]] = ...) -> None: ...

class Grown(_message.Message):
    __slots__ = ("size", "height", "block_time_ms")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    size: int
    height: int
    block_time_ms: int
    def __init__(self, size: _Optional[int] = ..., height: _Optional[int] = ..., block_time_ms: _Optional[int] = ...) -> None: ...

class Final(_message.Message):
    __slots__ = ("size", "checkpoint")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    size: int
    checkpoint: bytes
    def __init__(self, size: _Optional[int] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class StatementQuery(_message.Message):
    __slots__ = ("id", "linearizable", "further")
    ID_FIELD_NUMBER: _ClassVar[int]
    LINEARIZABLE_FIELD_NUMBER: _ClassVar[int]
    FURTHER_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    linearizable: bool
    further: bool
    def __init__(self, id: _Optional[bytes] = ..., linearizable: _Optional[bool] = ..., further: _Optional[bool] = ...) -> None: ...

class StatementInfo(_message.Message):
    __slots__ = ("found", "index", "height", "block_time_ms", "final", "statement", "cosigned_at_s")
    class CosignedAtSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    FOUND_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    COSIGNED_AT_S_FIELD_NUMBER: _ClassVar[int]
    found: bool
    index: int
    height: int
    block_time_ms: int
    final: bool
    statement: bytes
    cosigned_at_s: _containers.ScalarMap[str, int]
    def __init__(self, found: _Optional[bool] = ..., index: _Optional[int] = ..., height: _Optional[int] = ..., block_time_ms: _Optional[int] = ..., final: _Optional[bool] = ..., statement: _Optional[bytes] = ..., cosigned_at_s: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ProofReply(_message.Message):
    __slots__ = ("found", "final", "proof", "statement")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    found: bool
    final: bool
    proof: bytes
    statement: bytes
    def __init__(self, found: _Optional[bool] = ..., final: _Optional[bool] = ..., proof: _Optional[bytes] = ..., statement: _Optional[bytes] = ...) -> None: ...

class ReceiptsQuery(_message.Message):
    __slots__ = ("id", "authority")
    ID_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    authority: str
    def __init__(self, id: _Optional[bytes] = ..., authority: _Optional[str] = ...) -> None: ...

class ReceiptsReply(_message.Message):
    __slots__ = ("found", "final", "statement", "document", "refused", "detail", "missing_authorities")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    MISSING_AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    found: bool
    final: bool
    statement: bytes
    document: bytes
    refused: str
    detail: str
    missing_authorities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, found: _Optional[bool] = ..., final: _Optional[bool] = ..., statement: _Optional[bytes] = ..., document: _Optional[bytes] = ..., refused: _Optional[str] = ..., detail: _Optional[str] = ..., missing_authorities: _Optional[_Iterable[str]] = ...) -> None: ...

class StatusProofQuery(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class StatusProofReply(_message.Message):
    __slots__ = ("size", "proof", "present")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    size: int
    proof: bytes
    present: bool
    def __init__(self, size: _Optional[int] = ..., proof: _Optional[bytes] = ..., present: _Optional[bool] = ...) -> None: ...

class PassQuery(_message.Message):
    __slots__ = ("mrn",)
    MRN_FIELD_NUMBER: _ClassVar[int]
    mrn: str
    def __init__(self, mrn: _Optional[str] = ...) -> None: ...

class PassReply(_message.Message):
    __slots__ = ("crossing_pass", "refused", "detail", "missing_authorities")
    CROSSING_PASS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    MISSING_AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    crossing_pass: bytes
    refused: str
    detail: str
    missing_authorities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, crossing_pass: _Optional[bytes] = ..., refused: _Optional[str] = ..., detail: _Optional[str] = ..., missing_authorities: _Optional[_Iterable[str]] = ...) -> None: ...

class FurtherQuery(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FurtherCosigner(_message.Message):
    __slots__ = ("name", "size", "time_s", "trouble")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    time_s: int
    trouble: str
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., time_s: _Optional[int] = ..., trouble: _Optional[str] = ...) -> None: ...

class FurtherReply(_message.Message):
    __slots__ = ("asked", "size", "checkpoint", "cosigners")
    ASKED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    COSIGNERS_FIELD_NUMBER: _ClassVar[int]
    asked: bool
    size: int
    checkpoint: bytes
    cosigners: _containers.RepeatedCompositeFieldContainer[FurtherCosigner]
    def __init__(self, asked: _Optional[bool] = ..., size: _Optional[int] = ..., checkpoint: _Optional[bytes] = ..., cosigners: _Optional[_Iterable[_Union[FurtherCosigner, _Mapping]]] = ...) -> None: ...

class RecordsQuery(_message.Message):
    __slots__ = ("keys", "linearizable")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    LINEARIZABLE_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    linearizable: bool
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., linearizable: _Optional[bool] = ...) -> None: ...

class ListQuery(_message.Message):
    __slots__ = ("prefix", "after", "limit", "linearizable")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    LINEARIZABLE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    after: str
    limit: int
    linearizable: bool
    def __init__(self, prefix: _Optional[str] = ..., after: _Optional[str] = ..., limit: _Optional[int] = ..., linearizable: _Optional[bool] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...

class RecordsReply(_message.Message):
    __slots__ = ("records", "more", "size")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[Record]
    more: bool
    size: int
    def __init__(self, records: _Optional[_Iterable[_Union[Record, _Mapping]]] = ..., more: _Optional[bool] = ..., size: _Optional[int] = ...) -> None: ...

class FindQuery(_message.Message):
    __slots__ = ("kind", "identifier", "after", "limit", "oldest_first", "linearizable")
    KIND_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    LINEARIZABLE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    identifier: str
    after: bytes
    limit: int
    oldest_first: bool
    linearizable: bool
    def __init__(self, kind: _Optional[str] = ..., identifier: _Optional[str] = ..., after: _Optional[bytes] = ..., limit: _Optional[int] = ..., oldest_first: _Optional[bool] = ..., linearizable: _Optional[bool] = ...) -> None: ...

class FoundRecord(_message.Message):
    __slots__ = ("key", "first_entry", "last_entry", "position")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FIRST_ENTRY_FIELD_NUMBER: _ClassVar[int]
    LAST_ENTRY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    key: str
    first_entry: int
    last_entry: int
    position: bytes
    def __init__(self, key: _Optional[str] = ..., first_entry: _Optional[int] = ..., last_entry: _Optional[int] = ..., position: _Optional[bytes] = ...) -> None: ...

class FindReply(_message.Message):
    __slots__ = ("found", "more", "size", "complete", "covered")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    COVERED_FIELD_NUMBER: _ClassVar[int]
    found: _containers.RepeatedCompositeFieldContainer[FoundRecord]
    more: bool
    size: int
    complete: bool
    covered: int
    def __init__(self, found: _Optional[_Iterable[_Union[FoundRecord, _Mapping]]] = ..., more: _Optional[bool] = ..., size: _Optional[int] = ..., complete: _Optional[bool] = ..., covered: _Optional[int] = ...) -> None: ...

class DwellQuery(_message.Message):
    __slots__ = ("post", "first_day", "last_day", "size")
    POST_FIELD_NUMBER: _ClassVar[int]
    FIRST_DAY_FIELD_NUMBER: _ClassVar[int]
    LAST_DAY_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    post: str
    first_day: int
    last_day: int
    size: int
    def __init__(self, post: _Optional[str] = ..., first_day: _Optional[int] = ..., last_day: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class DwellFigure(_message.Message):
    __slots__ = ("post", "side", "interval", "day", "count", "p50_ms", "p95_ms", "max_ms")
    POST_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    P50_MS_FIELD_NUMBER: _ClassVar[int]
    P95_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_MS_FIELD_NUMBER: _ClassVar[int]
    post: str
    side: str
    interval: str
    day: int
    count: int
    p50_ms: int
    p95_ms: int
    max_ms: int
    def __init__(self, post: _Optional[str] = ..., side: _Optional[str] = ..., interval: _Optional[str] = ..., day: _Optional[int] = ..., count: _Optional[int] = ..., p50_ms: _Optional[int] = ..., p95_ms: _Optional[int] = ..., max_ms: _Optional[int] = ...) -> None: ...

class DwellReply(_message.Message):
    __slots__ = ("figures", "first_day", "last_day", "size", "complete", "covered", "final_size")
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    FIRST_DAY_FIELD_NUMBER: _ClassVar[int]
    LAST_DAY_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    COVERED_FIELD_NUMBER: _ClassVar[int]
    FINAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    figures: _containers.RepeatedCompositeFieldContainer[DwellFigure]
    first_day: int
    last_day: int
    size: int
    complete: bool
    covered: int
    final_size: int
    def __init__(self, figures: _Optional[_Iterable[_Union[DwellFigure, _Mapping]]] = ..., first_day: _Optional[int] = ..., last_day: _Optional[int] = ..., size: _Optional[int] = ..., complete: _Optional[bool] = ..., covered: _Optional[int] = ..., final_size: _Optional[int] = ...) -> None: ...

class EntriesQuery(_message.Message):
    __slots__ = ("first", "limit", "subject", "final_only")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    FINAL_ONLY_FIELD_NUMBER: _ClassVar[int]
    first: int
    limit: int
    subject: str
    final_only: bool
    def __init__(self, first: _Optional[int] = ..., limit: _Optional[int] = ..., subject: _Optional[str] = ..., final_only: _Optional[bool] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("index", "raw", "height", "block_time_ms")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    index: int
    raw: bytes
    height: int
    block_time_ms: int
    def __init__(self, index: _Optional[int] = ..., raw: _Optional[bytes] = ..., height: _Optional[int] = ..., block_time_ms: _Optional[int] = ...) -> None: ...

class EntriesReply(_message.Message):
    __slots__ = ("entries", "next")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    next: int
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., next: _Optional[int] = ...) -> None: ...

class TileQuery(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class TileReply(_message.Message):
    __slots__ = ("found", "data")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    found: bool
    data: bytes
    def __init__(self, found: _Optional[bool] = ..., data: _Optional[bytes] = ...) -> None: ...

class StatusQuery(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AuthorityStatus(_message.Message):
    __slots__ = ("name", "country", "reachable", "validators_reachable", "validators_missing", "last_cosigned_size", "last_cosigned_at_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    VALIDATORS_REACHABLE_FIELD_NUMBER: _ClassVar[int]
    VALIDATORS_MISSING_FIELD_NUMBER: _ClassVar[int]
    LAST_COSIGNED_SIZE_FIELD_NUMBER: _ClassVar[int]
    LAST_COSIGNED_AT_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    country: str
    reachable: bool
    validators_reachable: _containers.RepeatedScalarFieldContainer[str]
    validators_missing: _containers.RepeatedScalarFieldContainer[str]
    last_cosigned_size: int
    last_cosigned_at_s: int
    def __init__(self, name: _Optional[str] = ..., country: _Optional[str] = ..., reachable: _Optional[bool] = ..., validators_reachable: _Optional[_Iterable[str]] = ..., validators_missing: _Optional[_Iterable[str]] = ..., last_cosigned_size: _Optional[int] = ..., last_cosigned_at_s: _Optional[int] = ...) -> None: ...

class ProtocolSpoken(_message.Message):
    __slots__ = ("validator", "lowest", "highest", "release", "refusal", "unknown_messages")
    VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    LOWEST_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    validator: str
    lowest: int
    highest: int
    release: str
    refusal: str
    unknown_messages: int
    def __init__(self, validator: _Optional[str] = ..., lowest: _Optional[int] = ..., highest: _Optional[int] = ..., release: _Optional[str] = ..., refusal: _Optional[str] = ..., unknown_messages: _Optional[int] = ...) -> None: ...

class ValidatorStatus(_message.Message):
    __slots__ = ("validator", "authority", "origin", "term", "leader", "commit_index", "applied_index", "size", "height", "final_size", "final_lag_ms", "authorities", "ready", "state", "genesis", "halted", "protocol_effective", "protocols", "endings", "evidence", "releases_needed", "further")
    VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FINAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    FINAL_LAG_MS_FIELD_NUMBER: _ClassVar[int]
    AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    HALTED_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
    ENDINGS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    RELEASES_NEEDED_FIELD_NUMBER: _ClassVar[int]
    FURTHER_FIELD_NUMBER: _ClassVar[int]
    validator: str
    authority: str
    origin: str
    term: int
    leader: str
    commit_index: int
    applied_index: int
    size: int
    height: int
    final_size: int
    final_lag_ms: int
    authorities: _containers.RepeatedCompositeFieldContainer[AuthorityStatus]
    ready: bool
    state: str
    genesis: bytes
    halted: str
    protocol_effective: int
    protocols: _containers.RepeatedCompositeFieldContainer[ProtocolSpoken]
    endings: _containers.RepeatedCompositeFieldContainer[Ending]
    evidence: _containers.RepeatedScalarFieldContainer[str]
    releases_needed: _containers.RepeatedScalarFieldContainer[str]
    further: FurtherStatus
    def __init__(self, validator: _Optional[str] = ..., authority: _Optional[str] = ..., origin: _Optional[str] = ..., term: _Optional[int] = ..., leader: _Optional[str] = ..., commit_index: _Optional[int] = ..., applied_index: _Optional[int] = ..., size: _Optional[int] = ..., height: _Optional[int] = ..., final_size: _Optional[int] = ..., final_lag_ms: _Optional[int] = ..., authorities: _Optional[_Iterable[_Union[AuthorityStatus, _Mapping]]] = ..., ready: _Optional[bool] = ..., state: _Optional[str] = ..., genesis: _Optional[bytes] = ..., halted: _Optional[str] = ..., protocol_effective: _Optional[int] = ..., protocols: _Optional[_Iterable[_Union[ProtocolSpoken, _Mapping]]] = ..., endings: _Optional[_Iterable[_Union[Ending, _Mapping]]] = ..., evidence: _Optional[_Iterable[str]] = ..., releases_needed: _Optional[_Iterable[str]] = ..., further: _Optional[_Union[FurtherStatus, _Mapping]] = ...) -> None: ...

class FurtherStatus(_message.Message):
    __slots__ = ("size", "lag_ms", "cosigners")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    COSIGNERS_FIELD_NUMBER: _ClassVar[int]
    size: int
    lag_ms: int
    cosigners: _containers.RepeatedCompositeFieldContainer[FurtherCosigner]
    def __init__(self, size: _Optional[int] = ..., lag_ms: _Optional[int] = ..., cosigners: _Optional[_Iterable[_Union[FurtherCosigner, _Mapping]]] = ...) -> None: ...

class EvidenceQuery(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: str
    def __init__(self, after: _Optional[str] = ...) -> None: ...

class EvidenceBundle(_message.Message):
    __slots__ = ("id", "claim", "words", "bundle")
    ID_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    id: str
    claim: str
    words: str
    bundle: bytes
    def __init__(self, id: _Optional[str] = ..., claim: _Optional[str] = ..., words: _Optional[str] = ..., bundle: _Optional[bytes] = ...) -> None: ...

class EvidenceReply(_message.Message):
    __slots__ = ("bundles", "more")
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    bundles: _containers.RepeatedCompositeFieldContainer[EvidenceBundle]
    more: bool
    def __init__(self, bundles: _Optional[_Iterable[_Union[EvidenceBundle, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class Ending(_message.Message):
    __slots__ = ("what", "ends_ms", "within_days")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    ENDS_MS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_DAYS_FIELD_NUMBER: _ClassVar[int]
    what: str
    ends_ms: int
    within_days: int
    def __init__(self, what: _Optional[str] = ..., ends_ms: _Optional[int] = ..., within_days: _Optional[int] = ...) -> None: ...

class MembershipQuery(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MemberStatus(_message.Message):
    __slots__ = ("name", "party", "role", "address", "reachable", "leader", "size", "behind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    party: str
    role: str
    address: str
    reachable: bool
    leader: bool
    size: int
    behind: int
    def __init__(self, name: _Optional[str] = ..., party: _Optional[str] = ..., role: _Optional[str] = ..., address: _Optional[str] = ..., reachable: _Optional[bool] = ..., leader: _Optional[bool] = ..., size: _Optional[int] = ..., behind: _Optional[int] = ...) -> None: ...

class Membership(_message.Message):
    __slots__ = ("number", "digest", "text", "committed", "joint", "members", "changes", "own")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    JOINT_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    number: int
    digest: bytes
    text: str
    committed: bool
    joint: bool
    members: _containers.RepeatedCompositeFieldContainer[MemberStatus]
    changes: _containers.RepeatedScalarFieldContainer[bytes]
    own: str
    def __init__(self, number: _Optional[int] = ..., digest: _Optional[bytes] = ..., text: _Optional[str] = ..., committed: _Optional[bool] = ..., joint: _Optional[bool] = ..., members: _Optional[_Iterable[_Union[MemberStatus, _Mapping]]] = ..., changes: _Optional[_Iterable[bytes]] = ..., own: _Optional[str] = ...) -> None: ...

class MembershipSubmission(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: bytes
    def __init__(self, change: _Optional[bytes] = ...) -> None: ...

class MembershipReply(_message.Message):
    __slots__ = ("state", "number", "code", "detail")
    STATE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    state: str
    number: int
    code: str
    detail: str
    def __init__(self, state: _Optional[str] = ..., number: _Optional[int] = ..., code: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Batch(_message.Message):
    __slots__ = ("sender", "network", "envelopes", "protocol_lowest", "protocol_highest", "release", "membership")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_LOWEST_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_HIGHEST_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    sender: str
    network: bytes
    envelopes: _containers.RepeatedCompositeFieldContainer[Envelope]
    protocol_lowest: int
    protocol_highest: int
    release: str
    membership: int
    def __init__(self, sender: _Optional[str] = ..., network: _Optional[bytes] = ..., envelopes: _Optional[_Iterable[_Union[Envelope, _Mapping]]] = ..., protocol_lowest: _Optional[int] = ..., protocol_highest: _Optional[int] = ..., release: _Optional[str] = ..., membership: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("name", "network", "protocol_lowest", "protocol_highest", "release", "membership")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_LOWEST_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_HIGHEST_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    name: str
    network: bytes
    protocol_lowest: int
    protocol_highest: int
    release: str
    membership: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, name: _Optional[str] = ..., network: _Optional[bytes] = ..., protocol_lowest: _Optional[int] = ..., protocol_highest: _Optional[int] = ..., release: _Optional[str] = ..., membership: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("raft", "proposals", "cosignatures", "cosignature_query", "membership_notes", "membership_change", "membership_answer", "attestation_query", "attestation_answer")
    RAFT_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURES_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURE_QUERY_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_NOTES_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_CHANGE_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_ANSWER_FIELD_NUMBER: _ClassVar[int]
    ATTESTATION_QUERY_FIELD_NUMBER: _ClassVar[int]
    ATTESTATION_ANSWER_FIELD_NUMBER: _ClassVar[int]
    raft: RaftMessage
    proposals: Proposals
    cosignatures: Cosignatures
    cosignature_query: CosignatureQuery
    membership_notes: MembershipNotes
    membership_change: MembershipChange
    membership_answer: MembershipAnswer
    attestation_query: AttestationQuery
    attestation_answer: AttestationAnswer
    def __init__(self, raft: _Optional[_Union[RaftMessage, _Mapping]] = ..., proposals: _Optional[_Union[Proposals, _Mapping]] = ..., cosignatures: _Optional[_Union[Cosignatures, _Mapping]] = ..., cosignature_query: _Optional[_Union[CosignatureQuery, _Mapping]] = ..., membership_notes: _Optional[_Union[MembershipNotes, _Mapping]] = ..., membership_change: _Optional[_Union[MembershipChange, _Mapping]] = ..., membership_answer: _Optional[_Union[MembershipAnswer, _Mapping]] = ..., attestation_query: _Optional[_Union[AttestationQuery, _Mapping]] = ..., attestation_answer: _Optional[_Union[AttestationAnswer, _Mapping]] = ...) -> None: ...

class RaftMessage(_message.Message):
    __slots__ = ("type", "term", "log_term", "index", "commit", "reject", "reject_hint", "context", "entries")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LOG_TERM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    REJECT_FIELD_NUMBER: _ClassVar[int]
    REJECT_HINT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    type: int
    term: int
    log_term: int
    index: int
    commit: int
    reject: bool
    reject_hint: int
    context: bytes
    entries: _containers.RepeatedCompositeFieldContainer[RaftEntry]
    def __init__(self, type: _Optional[int] = ..., term: _Optional[int] = ..., log_term: _Optional[int] = ..., index: _Optional[int] = ..., commit: _Optional[int] = ..., reject: _Optional[bool] = ..., reject_hint: _Optional[int] = ..., context: _Optional[bytes] = ..., entries: _Optional[_Iterable[_Union[RaftEntry, _Mapping]]] = ...) -> None: ...

class RaftEntry(_message.Message):
    __slots__ = ("term", "index", "type", "data")
    TERM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    term: int
    index: int
    type: int
    data: bytes
    def __init__(self, term: _Optional[int] = ..., index: _Optional[int] = ..., type: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Proposals(_message.Message):
    __slots__ = ("since", "statements")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    since: int
    statements: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, since: _Optional[int] = ..., statements: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Cosignatures(_message.Message):
    __slots__ = ("size", "root", "lines")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    size: int
    root: bytes
    lines: _containers.RepeatedCompositeFieldContainer[SignatureLine]
    def __init__(self, size: _Optional[int] = ..., root: _Optional[bytes] = ..., lines: _Optional[_Iterable[_Union[SignatureLine, _Mapping]]] = ...) -> None: ...

class SignatureLine(_message.Message):
    __slots__ = ("name", "key_id", "signature")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    key_id: bytes
    signature: bytes
    def __init__(self, name: _Optional[str] = ..., key_id: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class CosignatureQuery(_message.Message):
    __slots__ = ("final_size", "executed_size", "final_root", "membership")
    FINAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    FINAL_ROOT_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    final_size: int
    executed_size: int
    final_root: bytes
    membership: int
    def __init__(self, final_size: _Optional[int] = ..., executed_size: _Optional[int] = ..., final_root: _Optional[bytes] = ..., membership: _Optional[int] = ...) -> None: ...

class MembershipNotes(_message.Message):
    __slots__ = ("notes",)
    NOTES_FIELD_NUMBER: _ClassVar[int]
    notes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, notes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class MembershipChange(_message.Message):
    __slots__ = ("note",)
    NOTE_FIELD_NUMBER: _ClassVar[int]
    note: bytes
    def __init__(self, note: _Optional[bytes] = ...) -> None: ...

class MembershipAnswer(_message.Message):
    __slots__ = ("change", "refused", "detail")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    change: bytes
    refused: str
    detail: str
    def __init__(self, change: _Optional[bytes] = ..., refused: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class AttestationQuery(_message.Message):
    __slots__ = ("number", "receipt", "pass_facts")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    PASS_FACTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    receipt: ReceiptQuery
    pass_facts: bytes
    def __init__(self, number: _Optional[int] = ..., receipt: _Optional[_Union[ReceiptQuery, _Mapping]] = ..., pass_facts: _Optional[bytes] = ...) -> None: ...

class ReceiptQuery(_message.Message):
    __slots__ = ("size", "root")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    size: int
    root: bytes
    def __init__(self, size: _Optional[int] = ..., root: _Optional[bytes] = ...) -> None: ...

class AttestationAnswer(_message.Message):
    __slots__ = ("number", "signature", "refused", "detail")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    number: int
    signature: bytes
    refused: str
    detail: str
    def __init__(self, number: _Optional[int] = ..., signature: _Optional[bytes] = ..., refused: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("network", "hashes_from", "bundles_from", "position")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    HASHES_FROM_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FROM_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    hashes_from: int
    bundles_from: int
    position: PositionQuery
    def __init__(self, network: _Optional[bytes] = ..., hashes_from: _Optional[int] = ..., bundles_from: _Optional[int] = ..., position: _Optional[_Union[PositionQuery, _Mapping]] = ...) -> None: ...

class FetchPiece(_message.Message):
    __slots__ = ("beginning", "hashes", "bundle", "state", "end", "position")
    BEGINNING_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    beginning: FetchBeginning
    hashes: bytes
    bundle: BundlePiece
    state: bytes
    end: FetchEnd
    position: Position
    def __init__(self, beginning: _Optional[_Union[FetchBeginning, _Mapping]] = ..., hashes: _Optional[bytes] = ..., bundle: _Optional[_Union[BundlePiece, _Mapping]] = ..., state: _Optional[bytes] = ..., end: _Optional[_Union[FetchEnd, _Mapping]] = ..., position: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...

class FetchBeginning(_message.Message):
    __slots__ = ("descriptor", "order_term", "membership")
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    ORDER_TERM_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    descriptor: bytes
    order_term: int
    membership: bytes
    def __init__(self, descriptor: _Optional[bytes] = ..., order_term: _Optional[int] = ..., membership: _Optional[bytes] = ...) -> None: ...

class BundlePiece(_message.Message):
    __slots__ = ("data", "more")
    DATA_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    more: bool
    def __init__(self, data: _Optional[bytes] = ..., more: _Optional[bool] = ...) -> None: ...

class FetchEnd(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PositionQuery(_message.Message):
    __slots__ = ("applied", "height")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    applied: int
    height: int
    def __init__(self, applied: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("verdict", "order_term", "membership_sha256")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[Position.Verdict]
        YES: _ClassVar[Position.Verdict]
        NO: _ClassVar[Position.Verdict]
    UNKNOWN: Position.Verdict
    YES: Position.Verdict
    NO: Position.Verdict
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    ORDER_TERM_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_SHA256_FIELD_NUMBER: _ClassVar[int]
    verdict: Position.Verdict
    order_term: int
    membership_sha256: bytes
    def __init__(self, verdict: _Optional[_Union[Position.Verdict, str]] = ..., order_term: _Optional[int] = ..., membership_sha256: _Optional[bytes] = ...) -> None: ...

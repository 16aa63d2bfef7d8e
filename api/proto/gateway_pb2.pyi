from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Wait(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAIT_UNSPECIFIED: _ClassVar[Wait]
    WAIT_COMMITTED: _ClassVar[Wait]
    WAIT_FINAL: _ClassVar[Wait]

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_UNKNOWN: _ClassVar[State]
    STATE_COMMITTED: _ClassVar[State]
    STATE_FINAL: _ClassVar[State]
    STATE_REJECTED: _ClassVar[State]
    STATE_REFUSED: _ClassVar[State]
    STATE_UNAVAILABLE: _ClassVar[State]
WAIT_UNSPECIFIED: Wait
WAIT_COMMITTED: Wait
WAIT_FINAL: Wait
STATE_UNSPECIFIED: State
STATE_UNKNOWN: State
STATE_COMMITTED: State
STATE_FINAL: State
STATE_REJECTED: State
STATE_REFUSED: State
STATE_UNAVAILABLE: State

class SubmitRequest(_message.Message):
    __slots__ = ("statements", "wait")
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    statements: _containers.RepeatedScalarFieldContainer[bytes]
    wait: Wait
    def __init__(self, statements: _Optional[_Iterable[bytes]] = ..., wait: _Optional[_Union[Wait, str]] = ...) -> None: ...

class SubmitReply(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[StatementStatus]
    def __init__(self, statuses: _Optional[_Iterable[_Union[StatementStatus, _Mapping]]] = ...) -> None: ...

class StatementStatus(_message.Message):
    __slots__ = ("id", "state", "index", "height", "block_time_ms", "duplicate", "outcome_code", "outcome", "problem", "detail", "retry_after_ms", "missing_authorities")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_CODE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    MISSING_AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    state: State
    index: int
    height: int
    block_time_ms: int
    duplicate: bool
    outcome_code: int
    outcome: str
    problem: str
    detail: str
    retry_after_ms: int
    missing_authorities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[bytes] = ..., state: _Optional[_Union[State, str]] = ..., index: _Optional[int] = ..., height: _Optional[int] = ..., block_time_ms: _Optional[int] = ..., duplicate: _Optional[bool] = ..., outcome_code: _Optional[int] = ..., outcome: _Optional[str] = ..., problem: _Optional[str] = ..., detail: _Optional[str] = ..., retry_after_ms: _Optional[int] = ..., missing_authorities: _Optional[_Iterable[str]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    def __init__(self, id: _Optional[bytes] = ...) -> None: ...

class EventsRequest(_message.Message):
    __slots__ = ("first", "subject")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    first: int
    subject: str
    def __init__(self, first: _Optional[int] = ..., subject: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("index", "id", "statement", "height", "block_time_ms")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    index: int
    id: bytes
    statement: bytes
    height: int
    block_time_ms: int
    def __init__(self, index: _Optional[int] = ..., id: _Optional[bytes] = ..., statement: _Optional[bytes] = ..., height: _Optional[int] = ..., block_time_ms: _Optional[int] = ...) -> None: ...

"""What the client says and what it makes of the answers, without a socket: one core for the sync and the async client.

A conversation is a generator. It yields what to do next (`Request`: send this; `Pause`: wait so long) and is sent what
came back (`Reply`, or `NoReply` where the connection failed). It returns the result or raises. Because it does no I/O,
the whole of retrying is tested without a server and without a clock.

Retrying is safe throughout: reads change nothing, and a statement sent again gives the same answer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from api.problems import CONTENT_TYPE, code_of

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 10.0
ANSWER_MAX_BYTES = 64 * 1024 * 1024
SEQUENCE_MAX_STATEMENTS = 512
SEQUENCE_MAX_BYTES = 1024 * 1024


# ---- what can go wrong


class ClientError(Exception):
    """Base of everything that the clients raise on purpose."""


class Unreachable(ClientError):
    """No answer could be had; the last failure is the cause."""


class UnexpectedAnswer(ClientError):
    """An answer that is not one of this interface's."""


class ProblemError(ClientError):
    """The gateway answered with a problem document. `code` is its type's last part, in snake case."""

    def __init__(self, code: str, document: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.code = code
        self.document = dict(document)
        self.status = int(document.get("status", 0))
        self.detail = str(document.get("detail") or document.get("title") or code)
        self.retry_after_s = retry_after_s
        super().__init__(f"{code}: {self.detail}")


class MalformedStatement(ProblemError):
    """The bytes are not a statement, or too large for one."""


class UntrueStatement(ProblemError):
    """The statement makes a claim that does not hold, such as its signature."""


class RejectedStatement(ProblemError):
    """The contracts said no; `outcome_code` and `outcome` say which rule."""

    @property
    def outcome_code(self) -> int:
        return int(self.document.get("outcome_code", 0))

    @property
    def outcome(self) -> str:
        return str(self.document.get("outcome", ""))


class NotAuthenticated(ProblemError):
    """The token is missing, over, or not of a key that counts."""


class NotFound(ProblemError):
    """Nothing there that the caller may see."""


class NotFinal(ProblemError):
    """Committed, but not cosigned by both authorities yet, or not by the further cosigners that were asked for."""


class Overloaded(ProblemError):
    """Too much at once; come again after `retry_after_s`."""


class Unavailable(ProblemError):
    """Not now; `missing_authorities` names who is absent, if that is why."""

    @property
    def missing_authorities(self) -> tuple[str, ...]:
        return tuple(self.document.get("missing_authorities", ()))


_BY_CODE: dict[str, type[ProblemError]] = {
    "not_found": NotFound,
    "not_final": NotFinal,
    "not_further_cosigned": NotFinal,
    "bad_signature": UntrueStatement,
    "untrue_statement": UntrueStatement,
    "too_large": MalformedStatement,
    "malformed_statement": MalformedStatement,
    "malformed_cbor": MalformedStatement,
    "non_canonical_cbor": MalformedStatement,
    "unsupported_cbor": MalformedStatement,
    "wrong_tag": MalformedStatement,
    "unknown_algorithm": MalformedStatement,
    "bad_header": MalformedStatement,
    "bad_content_type": MalformedStatement,
    "bad_kid": MalformedStatement,
    "bad_claims": MalformedStatement,
    "unprotected_not_empty": MalformedStatement,
    "bad_payload": MalformedStatement,
    "bad_signature_spelling": MalformedStatement,
}
_BY_STATUS: dict[int, type[ProblemError]] = {401: NotAuthenticated, 404: NotFound, 429: Overloaded, 503: Unavailable}


def error_of(document: Mapping[str, Any], retry_after_s: float | None = None) -> ProblemError:
    """The exception of a problem document: by its type, then by what it carries, then by its status."""
    code = code_of(str(document.get("type", "")))
    cls = RejectedStatement if "outcome_code" in document else _BY_CODE.get(code)
    if cls is None:
        cls = _BY_STATUS.get(int(document.get("status", 0)), ProblemError)
    return cls(code, document, retry_after_s)


# ---- what is said


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `authenticated`: needs a token, which the driver adds."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class NoReply:
    """The connection failed, or the time was over, before an answer was whole."""

    cause: Exception


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before going on."""

    seconds: float


T = TypeVar("T")
Step: TypeAlias = Request | Pause
Conversation: TypeAlias = Generator[Step, Reply | NoReply | None, T]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and for how long in all, to try again what may succeed later. `attempts` 1 is never again."""

    attempts: int = 8
    total_pause_s: float = 60.0


# ---- what comes back


@dataclass(frozen=True, slots=True)
class Receipt:
    """A statement on the log."""

    id: str
    state: str
    index: int
    height: int
    block_time_ms: int
    duplicate: bool

    @property
    def final(self) -> bool:
        return self.state == "final"


@dataclass(frozen=True, slots=True)
class StatementRecord:
    """A statement as it stands on the log; `raw` are its signed bytes."""

    id: str
    state: str
    index: int
    height: int
    block_time_ms: int
    cosigned_at_s: Mapping[str, int]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """A final statement, as the event stream has it."""

    index: int
    id: str
    height: int
    block_time_ms: int
    kind: str
    iss: str
    sub: str
    raw: bytes


# ---- the conversations


def _retryable(error: ProblemError) -> bool:
    return isinstance(error, (Overloaded, Unavailable)) or error.status >= 500


def exchange(request: Request, retry: Retry, rng: random.Random) -> Conversation[Reply]:
    """Sends until answered with success; raises on a problem that trying again would not mend, or when tired."""
    bound_s = RETRY_FIRST_S
    paused_s = 0.0
    for attempt in range(1, retry.attempts + 1):
        reply = yield request
        asked_s = 0.0
        failure: ClientError
        if isinstance(reply, Reply):
            if 200 <= reply.status < 300:
                return reply
            error = problem_of(reply)
            if not _retryable(error):
                raise error
            failure = error
            asked_s = error.retry_after_s or 0.0
        else:
            cause = reply.cause if isinstance(reply, NoReply) else None
            failure = Unreachable(f"no answer to {request.method} {request.path}: {cause}")
            failure.__cause__ = cause
        # Never sooner than asked; spread out, so that all who were turned away do not come back together.
        pause_s = asked_s + rng.uniform(0, bound_s)
        if attempt == retry.attempts or paused_s + pause_s > retry.total_pause_s:
            raise failure
        paused_s += pause_s
        bound_s = min(bound_s * 2, RETRY_MAX_S)
        yield Pause(pause_s)
    raise Unreachable("no attempt was allowed")


def problem_of(reply: Reply) -> ProblemError:
    """The problem that a reply is; one is made up for answers that come from something before the gateway."""
    retry_after_s = _retry_after_s(reply.headers)
    if reply.headers.get("content-type", "").partition(";")[0] == CONTENT_TYPE:
        try:
            document = json.loads(reply.content)
        except ValueError:
            document = None
        if isinstance(document, dict):
            return error_of(document, retry_after_s)
    return error_of(
        {"type": "about:blank", "title": f"http status {reply.status}", "status": reply.status}, retry_after_s
    )


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None


def json_of(reply: Reply) -> dict[str, Any]:
    """The JSON object in a reply."""
    try:
        document = json.loads(reply.content)
    except ValueError as error:
        raise UnexpectedAnswer("answer is not json") from error
    if not isinstance(document, dict):
        raise UnexpectedAnswer(f"answer is not a json object: got {type(document).__name__}")
    return document


def _field(document: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = document.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UnexpectedAnswer(f"{name}: expected {kind.__name__}, got {value!r:.80}")
    return value


def _raw(document: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(_field(document, "statement", str), validate=True)
    except binascii.Error as error:
        raise UnexpectedAnswer("statement is not base64") from error


def receipt_of(document: Mapping[str, Any]) -> Receipt:
    return Receipt(
        _field(document, "id", str),
        _field(document, "state", str),
        _field(document, "index", int),
        _field(document, "height", int),
        _field(document, "block_time_ms", int),
        _field(document, "duplicate", bool),
    )


def event_of(document: Mapping[str, Any]) -> Event:
    return Event(
        _field(document, "index", int),
        _field(document, "id", str),
        _field(document, "height", int),
        _field(document, "block_time_ms", int),
        _field(document, "kind", str),
        _field(document, "iss", str),
        _field(document, "sub", str),
        _raw(document),
    )


def get(path: str, *, authenticated: bool, query: Mapping[str, object] | None = None) -> Request:
    pairs = [(name, str(value)) for name, value in (query or {}).items() if value is not None]
    return Request("GET", f"{path}?{urlencode(pairs)}" if pairs else path, authenticated=authenticated)


def segment(text: str) -> str:
    """Text as one part of a path."""
    return quote(text, safe="")


def receipt_path(statement_id: str, authority: str = "") -> str:
    """Where a statement with its receipts is, or the receipt of one authority alone."""
    query = f"?authority={segment(authority)}" if authority else ""
    return f"/v1/statements/{segment(statement_id)}/receipt{query}"


def checkpoint_path(*, further: bool = False) -> str:
    """Where the newest final checkpoint is, or the newest that has further cosignatures."""
    return "/log/further/checkpoint" if further else "/log/checkpoint"


def status_proof_path(collection: str, name: str) -> str:
    """Where the proof of a record as it stands is."""
    return f"/v1/{segment(collection)}/{segment(name)}/status-proof"


def proposal_path(proposal_id: str) -> str:
    """Where a proposal of governance is: its id has one slash, which stays one."""
    return "/v1/governance/" + "/".join(map(segment, proposal_id.split("/")))


def submit(raw: bytes, wait: str, timeout_ms: int | None, retry: Retry, rng: random.Random) -> Conversation[Receipt]:
    """One statement, sent again until answered."""
    request = Request("POST", _submit_path(wait, timeout_ms), {"content-type": "application/cose"}, raw)
    reply = yield from exchange(request, retry, rng)
    return receipt_of(json_of(reply))


def submit_many(
    raws: Sequence[bytes], wait: str, timeout_ms: int | None, retry: Retry, rng: random.Random
) -> Conversation[list[Receipt | ProblemError]]:
    """Many statements in as few requests as limits allow; those told to come again are sent again."""
    results: list[Receipt | ProblemError | None] = [None] * len(raws)
    pending = list(range(len(raws)))
    for attempt in range(1, retry.attempts + 1):
        again: list[int] = []
        retry_after_s = 0.0
        for chunk in _chunks(raws, pending):
            content = b"".join(raws[position] for position in chunk)
            request = Request("POST", _submit_path(wait, timeout_ms), {"content-type": "application/cbor-seq"}, content)
            reply = yield from exchange(request, retry, rng)
            documents = _field(json_of(reply), "results", list)
            if len(documents) != len(chunk):
                raise UnexpectedAnswer(f"results: expected {len(chunk)}, got {len(documents)}")
            for position, document in zip(chunk, documents, strict=True):
                if not isinstance(document, dict):
                    raise UnexpectedAnswer("a result is not a json object")
                result = _result(document)
                results[position] = result
                if isinstance(result, ProblemError) and _retryable(result):
                    again.append(position)
                    retry_after_s = max(retry_after_s, result.retry_after_s or 0.0)
        if not again or attempt == retry.attempts:
            break
        pending = again
        yield Pause(retry_after_s + rng.uniform(0, RETRY_FIRST_S))
    return [result for result in results if result is not None]


def _result(document: Mapping[str, Any]) -> Receipt | ProblemError:
    if "problem" not in document:
        return receipt_of(document)
    problem = _field(document, "problem", dict)
    after_ms = problem.get("retry_after_ms")
    return error_of(problem, after_ms / 1000 if isinstance(after_ms, int) else None)


def _chunks(raws: Sequence[bytes], positions: Sequence[int]) -> Generator[list[int], None, None]:
    chunk: list[int] = []
    size_bytes = 0
    for position in positions:
        length = len(raws[position])
        if chunk and (len(chunk) == SEQUENCE_MAX_STATEMENTS or size_bytes + length > SEQUENCE_MAX_BYTES):
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(position)
        size_bytes += length
    if chunk:
        yield chunk


def _submit_path(wait: str, timeout_ms: int | None) -> str:
    return "/v1/statements?" + urlencode({"wait": wait} | ({} if timeout_ms is None else {"timeout_ms": timeout_ms}))


def statement(statement_id: str, retry: Retry, rng: random.Random) -> Conversation[StatementRecord]:
    reply = yield from exchange(get(f"/v1/statements/{segment(statement_id)}", authenticated=True), retry, rng)
    document = json_of(reply)
    return StatementRecord(
        _field(document, "id", str),
        _field(document, "state", str),
        _field(document, "index", int),
        _field(document, "height", int),
        _field(document, "block_time_ms", int),
        _field(document, "cosigned_at_s", dict),
        _raw(document),
    )


def proof(
    statement_id: str, wait_s: float, retry: Retry, rng: random.Random, *, further: bool = False
) -> Conversation[bytes]:
    """The proof; waits up to `wait_s` for the statement to become final, or (`further`) cosigned by further ones."""
    query = "?further=true" if further else ""
    request = get(f"/v1/statements/{segment(statement_id)}/proof{query}", authenticated=True)
    waited_s = 0.0
    while True:
        try:
            reply = yield from exchange(request, retry, rng)
            return reply.content
        except NotFinal as error:
            pause_s = min(error.retry_after_s or RETRY_FIRST_S, RETRY_MAX_S)
            if waited_s + pause_s > wait_s:
                raise
            waited_s += pause_s
        yield Pause(pause_s)


def document(path: str, retry: Retry, rng: random.Random, *, authenticated: bool) -> Conversation[dict[str, Any]]:
    """A JSON document as it comes."""
    reply = yield from exchange(get(path, authenticated=authenticated), retry, rng)
    return json_of(reply)


def queried(path: str, query: Mapping[str, object], retry: Retry, rng: random.Random) -> Conversation[dict[str, Any]]:
    """One JSON object, asked for with a query and a token."""
    reply = yield from exchange(get(path, authenticated=True, query=query), retry, rng)
    return json_of(reply)


def page_of(
    path: str, items: str, query: Mapping[str, object], retry: Retry, rng: random.Random
) -> Conversation[tuple[list[dict[str, Any]], str | None]]:
    """What stands under `items` on a page, and the cursor of the next one."""
    reply = yield from exchange(get(path, authenticated=True, query=query), retry, rng)
    page = json_of(reply)
    following = page.get("next")
    return _field(page, items, list), following if isinstance(following, str) else None


def octets(path: str, retry: Retry, rng: random.Random, *, authenticated: bool) -> Conversation[bytes]:
    """Bytes as they come: the checkpoint, a tile."""
    reply = yield from exchange(get(path, authenticated=authenticated), retry, rng)
    return reply.content


def put_attachment(sha256: str, media_type: str, data: bytes, retry: Retry, rng: random.Random) -> Conversation[bool]:
    """Bytes that a statement refers to; whether they are new there. Sent again where there was no answer."""
    path = f"/v1/attachments/{sha256}"
    request = Request("PUT", path, {"content-type": media_type}, data, authenticated=True)
    reply = yield from exchange(request, retry, rng)
    return _field(json_of(reply), "new", bool)


def attachment(sha256: str, statement_id: str | None, retry: Retry, rng: random.Random) -> Conversation[bytes]:
    """The bytes of this hash. UnexpectedAnswer for any others: a gateway is not taken at its word."""
    query = f"?{urlencode({'statement': statement_id})}" if statement_id else ""
    reply = yield from exchange(get(f"/v1/attachments/{sha256}{query}", authenticated=True), retry, rng)
    got = hashlib.sha256(reply.content).hexdigest()
    if got != sha256:
        raise UnexpectedAnswer(f"attachment: expected bytes of hash {sha256}, got {got}")
    return reply.content


def has_attachment(sha256: str, retry: Retry, rng: random.Random) -> Conversation[bool]:
    """Whether the caller could fetch it there."""
    try:
        yield from exchange(Request("HEAD", f"/v1/attachments/{sha256}", authenticated=True), retry, rng)
    except NotFound:
        return False
    return True


def delete_attachment(sha256: str, retry: Retry, rng: random.Random) -> Conversation[None]:
    """Not sent again by itself: the second time would find nothing there."""
    request = Request("DELETE", f"/v1/attachments/{sha256}", authenticated=True)
    yield from exchange(request, Retry(1, retry.total_pause_s), rng)


def import_declaration(
    raw: bytes, query: Mapping[str, object], retry: Retry, rng: random.Random
) -> Conversation[dict[str, Any]]:
    """The report of a declaration in XML. Nothing happens there: sent again where there was no answer."""
    path = f"/v1/import?{urlencode(query)}"
    reply = yield from exchange(Request("POST", path, {"content-type": "application/xml"}, raw, True), retry, rng)
    return json_of(reply)


def change_membership(note: bytes, retry: Retry, rng: random.Random) -> Conversation[dict[str, Any]]:
    """A signed change of the membership. Sent again where there was no answer: it happens once."""
    request = Request("POST", "/v1/membership", {"content-type": "text/plain; charset=utf-8"}, note)
    reply = yield from exchange(request, retry, rng)
    return json_of(reply)


# ---- the event stream


class EventParser:
    """Server-sent events out of bytes as they come, in whatever pieces. Remembers where to resume.

    Follows the WHATWG format as far as the gateway uses it; a line longer than an event can be is refused.
    """

    LINE_MAX_BYTES = 256 * 1024

    def __init__(self, resume_at: int) -> None:
        self.resume_at = resume_at
        self._buffer = b""
        self._kind = ""
        self._data: list[str] = []
        self._last_id: int | None = None

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete, then the problem that the gateway says in the stream, as it comes."""
        self._buffer += data
        if len(self._buffer) > self.LINE_MAX_BYTES and b"\n" not in self._buffer:
            raise UnexpectedAnswer("a line of the event stream is too long")
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                yield event

    def _line(self, line: bytes) -> Event | None:
        if line:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            value = value.removeprefix(" ")
            if name == "id" and value.isascii() and value.isdigit():
                self._last_id = int(value)
            elif name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
            return None
        kind, data = self._kind, "\n".join(self._data)
        self._kind, self._data = "", []
        event = None
        if kind == "statement":
            event = event_of(_object(data))
            # What was shown once is not shown again, whatever the other side sends.
            if event.index < self.resume_at:
                event = None
        elif kind == "problem":
            raise error_of(_object(data))
        if self._last_id is not None:
            self.resume_at = max(self.resume_at, self._last_id + 1)
        return event


def _object(data: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise UnexpectedAnswer("event data is not json") from error
    if not isinstance(document, dict):
        raise UnexpectedAnswer("event data is not a json object")
    return document


def events_request(resume_at: int, subject: str) -> Request:
    query = {"from": resume_at, "subject": subject or None}
    request = get("/v1/events", authenticated=True, query=query)
    return Request(request.method, request.path, {"accept": "text/event-stream"}, authenticated=True)

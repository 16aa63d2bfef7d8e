"""Asking third parties' witnesses for cosignatures: C2SP tlog-witness, over HTTP.

Promises: each witness is asked for one checkpoint at a time, from the size that it is known, or says, to have; what it
answers is verified before it is kept (`further`). A witness that does not answer is asked less and less often; one that
says no is told of in the status and asked again with a later checkpoint.

Does not: run on the event loop: a request takes as long as it takes, in a thread of its own.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from ledger.chain import Chain
from ledger.errors import LedgerError, Malformed
from ledger.note import Note, NoteSignature, format_note
from ledger.witnessing import (
    MAX_ANSWER_BYTES,
    SIZE_CONTENT_TYPE,
    add_checkpoint_request,
    parse_witness_lines,
    parse_witness_size,
)
from nodes.further import Draft

REQUEST_TIMEOUT_S = 5.0
MAX_BACKOFF_S = 900.0
FIRST_BACKOFF_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP."""

    status: int
    content_type: str
    body: bytes


Post = Callable[[str, bytes], Answer]


class NoAnswer(Exception):
    """The witness could not be reached, or said nothing that can be used; the message says what."""


def post(url: str, body: bytes) -> Answer:
    """POST, and read a bounded answer, not for ever. Raises NoAnswer."""
    deadline_s = time.monotonic() + REQUEST_TIMEOUT_S
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "text/plain; charset=utf-8"}, method="POST")
        try:
            response = urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return Answer(response.status, response.headers.get_content_type(), _read(response, deadline_s))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(f"cannot be reached: {error}") from error


def _read(response: http.client.HTTPResponse | urllib.error.HTTPError, deadline_s: float) -> bytes:
    """At most one byte more than an answer may have. The socket's time-out is for each read: here they end together."""
    length = response.headers.get("Content-Length", "")
    expected = min(int(length), MAX_ANSWER_BYTES + 1) if length.isdecimal() else MAX_ANSWER_BYTES + 1
    data = b""
    while len(data) < expected:
        piece = response.read1(expected - len(data))
        if not piece:
            break
        data += piece
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"the answer did not end within {REQUEST_TIMEOUT_S} s")
    return data


class Feed:
    """One witness. `ask` runs in a thread; nothing else of it does."""

    def __init__(self, url: str, chain: Chain, send: Post = post) -> None:
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._chain = chain
        self._send = send
        # What the witness has cosigned last, as far as we know; it says so itself where that is wrong.
        self.known_size = 0
        self._backoff_s = 0.0
        self._not_before_s = 0.0

    def is_due(self, monotonic_s: float) -> bool:
        return monotonic_s >= self._not_before_s

    def succeeded(self) -> None:
        self._backoff_s = self._not_before_s = 0.0

    def failed(self, monotonic_s: float) -> None:
        """Wait twice as long as the last time."""
        self._backoff_s = min(max(2 * self._backoff_s, FIRST_BACKOFF_S), MAX_BACKOFF_S)
        self._not_before_s = monotonic_s + self._backoff_s

    def ask(self, draft: Draft) -> tuple[NoteSignature, ...]:
        """The lines that the witness answers with, not verified. Raises NoAnswer."""
        answer = self._add(draft)
        for _ in range(2):
            if answer.status != 409:
                break
            # It knows another size than we thought; or, of this very size, another root.
            said = self._said(answer)
            if said == self.known_size:
                raise NoAnswer(f"holds another root than ours at size {said}: keep its answer, and tell its operator")
            self.known_size = said
            if said > draft.checkpoint.size:
                raise NoAnswer(f"has cosigned size {said} already, asked for {draft.checkpoint.size}")
            answer = self._add(draft)
        if answer.status != 200:
            raise NoAnswer(f"status {answer.status}: {_reason(answer)}")
        try:
            lines = parse_witness_lines(answer.body)
        except Malformed as error:
            raise NoAnswer(str(error)) from error
        self.known_size = draft.checkpoint.size
        return lines

    def _add(self, draft: Draft) -> Answer:
        size = draft.checkpoint.size
        try:
            proof = self._chain.consistency_proof(self.known_size, size) if 0 < self.known_size < size else []
            note = format_note(Note(draft.body, draft.lines))
            return self._send(self._url, add_checkpoint_request(min(self.known_size, size), proof, note))
        except LedgerError as error:
            raise NoAnswer(f"cannot be asked: {error}") from error

    def _said(self, answer: Answer) -> int:
        if answer.content_type != SIZE_CONTENT_TYPE:
            raise NoAnswer(f"status 409 with {answer.content_type}, expected {SIZE_CONTENT_TYPE}")
        try:
            return parse_witness_size(answer.body)
        except Malformed as error:
            raise NoAnswer(str(error)) from error


def _reason(answer: Answer) -> str:
    """What the specification says that the status means, and what the witness wrote, made printable."""
    meaning = {
        400: "takes the request for malformed",
        403: "does not trust any key that signed the checkpoint",
        404: "does not know this log: its operator has to add the origin and the log key",
        422: "takes the consistency proof for wrong",
    }.get(answer.status, "refuses")
    text = answer.body[:120].decode("ascii", "replace")
    return f"{meaning} ({''.join(each if each.isprintable() else ' ' for each in text).strip()})"

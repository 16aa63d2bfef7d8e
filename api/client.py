"""The Python client of a gateway over HTTP: `Client` and `AsyncClient`, the same operations in both.

Promises: a statement is sent until it is answered, as often as `Retry` allows, honouring `Retry-After` and with jitter;
tokens are signed with the participant's key and renewed before they end; the event iterator resumes where it was,
without gap or repetition; every problem is raised as an exception of its type. Does not verify proofs: `ledger` does,
offline.

Needs httpx and PyJWT (`comity[client]`), neither grpc nor fastapi. What is said and how answers are read is in
`api.exchange`, which both clients drive (`api.driving`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from api import exchange
from api.driving import Driver, TokenSigner
from api.exchange import (
    ClientError,
    Conversation,
    Event,
    EventParser,
    MalformedStatement,
    NoReply,
    NotAuthenticated,
    NotFinal,
    NotFound,
    Overloaded,
    Pause,
    ProblemError,
    Receipt,
    RejectedStatement,
    Reply,
    Request,
    Retry,
    StatementRecord,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    UntrueStatement,
)

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Event",
    "MalformedStatement",
    "NotAuthenticated",
    "NotFinal",
    "NotFound",
    "Overloaded",
    "ProblemError",
    "Receipt",
    "RejectedStatement",
    "Retry",
    "StatementRecord",
    "TokenSigner",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "UntrueStatement",
]

REQUEST_TIMEOUT_S = 75.0
CONNECT_TIMEOUT_S = 5.0
EVENTS_SILENCE_MAX_S = 60.0

T = TypeVar("T")


def _timeout() -> httpx.Timeout:
    return httpx.Timeout(REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)


def _stream_timeout() -> httpx.Timeout:
    return httpx.Timeout(EVENTS_SILENCE_MAX_S, connect=CONNECT_TIMEOUT_S)


def _reply(response: httpx.Response, content: bytes) -> Reply:
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()}, content)


def _too_large() -> UnexpectedAnswer:
    return UnexpectedAnswer(f"answer is larger than {exchange.ANSWER_MAX_BYTES} bytes")


class Client:
    """Blocking. `signer` is needed for everything but submitting, status, checkpoint and hash tiles."""

    def __init__(
        self,
        base_url: str,
        *,
        signer: TokenSigner | None = None,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
        verify: Any = True,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._driver = Driver(signer, retry or Retry(), rng)
        self._http = httpx.Client(base_url=base_url, timeout=_timeout(), transport=transport, verify=verify)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _send(self, request: Request) -> Reply | NoReply:
        content = request.content or None
        try:
            with self._http.stream(
                request.method, request.path, headers=self._driver.headers(request), content=content
            ) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > exchange.ANSWER_MAX_BYTES:
                        raise _too_large()
                return _reply(response, bytes(body))
        except httpx.HTTPError as error:
            return NoReply(error)

    def _run(self, conversation: Conversation[T]) -> T:
        answer: Reply | NoReply | None = None
        while True:
            try:
                step = conversation.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            answer = None
            if isinstance(step, Pause):
                self._sleep(step.seconds)
            else:
                answer = self._send(step)

    def submit(self, raw: bytes, *, wait: str = "committed", timeout_ms: int | None = None) -> Receipt:
        """Submits one statement until it is answered."""
        return self._run(self._driver.submit(raw, wait, timeout_ms))

    def submit_many(
        self, raws: Sequence[bytes], *, wait: str = "committed", timeout_ms: int | None = None
    ) -> list[Receipt | ProblemError]:
        """Submits many; one result each, in order, a problem instead of an exception."""
        return self._run(self._driver.submit_many(raws, wait, timeout_ms))

    def statement(self, statement_id: str) -> StatementRecord:
        return self._run(self._driver.statement(statement_id))

    def proof(self, statement_id: str, *, wait_s: float = 0.0, further: bool = False) -> bytes:
        """The tlog-proof; waits up to `wait_s` for finality. `further`: under further cosignatures, and for them."""
        return self._run(self._driver.proof(statement_id, wait_s, further))

    def receipt(self, statement_id: str, *, authority: str = "") -> bytes:
        """The statement with COSE receipts of both authorities (RFC 9943); or the receipt of one alone."""
        return self._run(self._driver.octets(exchange.receipt_path(statement_id, authority), authenticated=True))

    def status_proof(self, collection: str, name: str) -> bytes:
        """Proof of a record as it stands, or that there is none: of `declarations`, `movements` or `participants`."""
        return self._run(self._driver.octets(exchange.status_proof_path(collection, name), authenticated=True))

    def crossing_pass(self, mrn: str) -> bytes:
        """A crossing pass of a movement, which a gate without a network verifies."""
        return self._run(self._driver.octets(f"/v1/movements/{exchange.segment(mrn)}/pass", authenticated=True))

    def declaration(self, ucr: str) -> dict[str, Any]:
        return self._run(self._driver.record("declarations", ucr))

    def movement(self, mrn: str) -> dict[str, Any]:
        return self._run(self._driver.record("movements", mrn))

    def movement_events(self, mrn: str) -> bytes:
        """The movement as EPCIS 2.0 events, JSON-LD: what an archive of the same size gives, byte for byte."""
        return self._run(self._driver.octets(f"/v1/movements/{exchange.segment(mrn)}/events", authenticated=True))

    def certificate(self, mrn: str, *, declarations: bool = True) -> bytes:
        """The crossing certificate; with what the caller may see of its declarations, or without any of that."""
        return self._run(self._driver.certificate(mrn, declarations))

    def notifications(self, ucr: str) -> bytes:
        """What the authorities decided of a declaration, as WCO Data Model responses."""
        path = f"/v1/declarations/{exchange.segment(ucr)}/notifications"
        return self._run(self._driver.octets(path, authenticated=True))

    def import_declaration(
        self, document: bytes, *, home: str = "", partner: str = "", carrier: str = "", ucr: str = ""
    ) -> dict[str, Any]:
        """A declaration in WCO Data Model XML as a payload to sign, with what became of every element."""
        query = {"home": home, "partner": partner, "carrier": carrier, "ucr": ucr}
        return self._run(self._driver.import_declaration(document, query))

    def participant(self, participant_id: str) -> dict[str, Any]:
        return self._run(self._driver.record("participants", participant_id))

    def record(self, contract: str, subject: str) -> dict[str, Any]:
        """The record of any contract: `record("phytosanitary", "KZ/2026-004711")`."""
        return self._run(self._driver.record(f"records/{exchange.segment(contract)}", subject))

    def movements(self, *, state: str = "", carrier: str = "", page_items: int = 100) -> Iterator[dict[str, Any]]:
        """Every movement that the caller may see, page after page."""
        cursor: str | None = None
        while True:
            movements, cursor = self._run(self._driver.page(state, carrier, cursor, page_items))
            yield from movements
            if cursor is None:
                return

    def find(self, identifier: str, *, kind: str = "", page_items: int = 100) -> Iterator[dict[str, Any]]:
        """Every declaration and movement that an identifier belongs to, newest first; its kind guessed if not said."""
        cursor: str | None = None
        while True:
            found, cursor = self._run(self._driver.found_page(identifier, kind, cursor, page_items))
            yield from found
            if cursor is None:
                return

    def dwell_times(
        self, *, post: str = "", first: str = "", last: str = "", size: int | None = None
    ) -> dict[str, Any]:
        """How long passages took: at a post or all, on days `YYYY-MM-DD`, by the first `size` entries of the log."""
        return self._run(self._driver.dwell_times(post, first, last, size))

    def status(self) -> dict[str, Any]:
        return self._run(self._driver.document("/v1/status", authenticated=False))

    def parameters(self) -> dict[str, Any]:
        """The governed parameters in force."""
        return self._run(self._driver.document("/v1/parameters", authenticated=False))

    def governance(self) -> dict[str, Any]:
        """Proposals that are open or approved, contracts in force, the legal basis."""
        return self._run(self._driver.document("/v1/governance", authenticated=False))

    def proposal(self, proposal_id: str) -> dict[str, Any]:
        """A proposal of governance by its id."""
        return self._run(self._driver.document(exchange.proposal_path(proposal_id), authenticated=False))

    def membership(self) -> dict[str, Any]:
        """Who belongs to the order."""
        return self._run(self._driver.document("/v1/membership", authenticated=False))

    def change_membership(self, note: bytes) -> dict[str, Any]:
        """Hands a signed change of the membership in; the same one again asks what has become of it."""
        return self._run(self._driver.change_membership(note))

    def evidence(self) -> list[dict[str, Any]]:
        """What the validators of the gateway's authority have evidence of."""
        rows: list[dict[str, Any]] = self._run(self._driver.document("/v1/evidence", authenticated=True))["evidence"]
        return rows

    def evidence_bundle(self, evidence_id: str) -> bytes:
        """One bundle of evidence, by its id: `ledger.evidence_check` says whether it holds."""
        return self._run(self._driver.octets(f"/v1/evidence/{evidence_id}", authenticated=True))

    def put_attachment(self, media_type: str, data: bytes) -> bool:
        """Leaves what a statement refers to by hash; False if it was there already."""
        return self._run(self._driver.put_attachment(media_type, data))

    def attachment(self, sha256: str, *, statement_id: str | None = None) -> bytes:
        """What a statement refers to by hash; name the statement where the bytes are not your own."""
        return self._run(self._driver.attachment(sha256, statement_id))

    def has_attachment(self, sha256: str) -> bool:
        """Whether the gateway has bytes of this hash that the caller may fetch."""
        return self._run(self._driver.has_attachment(sha256))

    def delete_attachment(self, sha256: str) -> None:
        """For an authority: away with it. The ledger, and every proof, stays as it is."""
        self._run(self._driver.delete_attachment(sha256))

    def envelope_keys(self) -> dict[str, Any]:
        """The keys that envelopes are sealed to, as the gateway says; `api.sealing` proves them."""
        return self._run(self._driver.document("/v1/envelope-keys", authenticated=False))

    def checkpoint(self, *, further: bool = False) -> bytes:
        """The newest final checkpoint, a signed note; `further`: the newest that has further cosignatures too."""
        return self._run(self._driver.octets(exchange.checkpoint_path(further=further), authenticated=False))

    def tile(self, path: str) -> bytes:
        """A tile by its tlog-tiles path, such as `tile/0/000.p/7`."""
        return self._run(self._driver.tile(path))

    def events(self, *, first: int = 0, subject: str = "") -> Iterator[Event]:
        """Final statements from entry `first` on, for ever; reconnects and resumes by itself."""
        resume_at, failures = first, 0
        while True:
            parser = EventParser(resume_at)
            request = exchange.events_request(resume_at, subject)
            error: ClientError = Unreachable("the event stream ended")
            try:
                with self._http.stream(
                    request.method,
                    request.path,
                    headers=self._driver.headers(request),
                    timeout=_stream_timeout(),
                ) as response:
                    if response.status_code != 200:
                        raise exchange.problem_of(_reply(response, response.read()))
                    for chunk in response.iter_bytes():
                        yield from parser.feed(chunk)
                        failures = 0
            except httpx.HTTPError as cause:
                error = Unreachable(f"the event stream broke: {cause}")
            except ClientError as problem:
                error = problem
            resume_at = parser.resume_at
            failures += 1
            self._sleep(self._driver.pause_s(error, failures))


class AsyncClient:
    """As `Client`, for asyncio."""

    def __init__(
        self,
        base_url: str,
        *,
        signer: TokenSigner | None = None,
        retry: Retry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: Any = True,
        connections_max: int = 100,
        rng: random.Random | None = None,
    ) -> None:
        self._driver = Driver(signer, retry or Retry(), rng)
        limits = httpx.Limits(max_connections=connections_max, max_keepalive_connections=connections_max)
        self._http = httpx.AsyncClient(
            base_url=base_url, timeout=_timeout(), transport=transport, verify=verify, limits=limits
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, request: Request) -> Reply | NoReply:
        content = request.content or None
        try:
            async with self._http.stream(
                request.method, request.path, headers=self._driver.headers(request), content=content
            ) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > exchange.ANSWER_MAX_BYTES:
                        raise _too_large()
                return _reply(response, bytes(body))
        except httpx.HTTPError as error:
            return NoReply(error)

    async def _run(self, conversation: Conversation[T]) -> T:
        answer: Reply | NoReply | None = None
        while True:
            try:
                step = conversation.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            answer = None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                answer = await self._send(step)

    async def submit(self, raw: bytes, *, wait: str = "committed", timeout_ms: int | None = None) -> Receipt:
        """Submits one statement until it is answered."""
        return await self._run(self._driver.submit(raw, wait, timeout_ms))

    async def submit_many(
        self, raws: Sequence[bytes], *, wait: str = "committed", timeout_ms: int | None = None
    ) -> list[Receipt | ProblemError]:
        """Submits many; one result each, in order, a problem instead of an exception."""
        return await self._run(self._driver.submit_many(raws, wait, timeout_ms))

    async def statement(self, statement_id: str) -> StatementRecord:
        return await self._run(self._driver.statement(statement_id))

    async def proof(self, statement_id: str, *, wait_s: float = 0.0, further: bool = False) -> bytes:
        """The tlog-proof; waits up to `wait_s` for finality. `further`: under further cosignatures, and for them."""
        return await self._run(self._driver.proof(statement_id, wait_s, further))

    async def receipt(self, statement_id: str, *, authority: str = "") -> bytes:
        """The statement with COSE receipts of both authorities (RFC 9943); or the receipt of one alone."""
        return await self._run(self._driver.octets(exchange.receipt_path(statement_id, authority), authenticated=True))

    async def status_proof(self, collection: str, name: str) -> bytes:
        """Proof of a record as it stands, or that there is none: of `declarations`, `movements` or `participants`."""
        return await self._run(self._driver.octets(exchange.status_proof_path(collection, name), authenticated=True))

    async def crossing_pass(self, mrn: str) -> bytes:
        """A crossing pass of a movement, which a gate without a network verifies."""
        return await self._run(self._driver.octets(f"/v1/movements/{exchange.segment(mrn)}/pass", authenticated=True))

    async def declaration(self, ucr: str) -> dict[str, Any]:
        return await self._run(self._driver.record("declarations", ucr))

    async def movement(self, mrn: str) -> dict[str, Any]:
        return await self._run(self._driver.record("movements", mrn))

    async def movement_events(self, mrn: str) -> bytes:
        """The movement as EPCIS 2.0 events, JSON-LD: what an archive of the same size gives, byte for byte."""
        return await self._run(self._driver.octets(f"/v1/movements/{exchange.segment(mrn)}/events", authenticated=True))

    async def certificate(self, mrn: str, *, declarations: bool = True) -> bytes:
        """The crossing certificate; with what the caller may see of its declarations, or without any of that."""
        return await self._run(self._driver.certificate(mrn, declarations))

    async def notifications(self, ucr: str) -> bytes:
        """What the authorities decided of a declaration, as WCO Data Model responses."""
        path = f"/v1/declarations/{exchange.segment(ucr)}/notifications"
        return await self._run(self._driver.octets(path, authenticated=True))

    async def import_declaration(
        self, document: bytes, *, home: str = "", partner: str = "", carrier: str = "", ucr: str = ""
    ) -> dict[str, Any]:
        """A declaration in WCO Data Model XML as a payload to sign, with what became of every element."""
        query = {"home": home, "partner": partner, "carrier": carrier, "ucr": ucr}
        return await self._run(self._driver.import_declaration(document, query))

    async def participant(self, participant_id: str) -> dict[str, Any]:
        return await self._run(self._driver.record("participants", participant_id))

    async def record(self, contract: str, subject: str) -> dict[str, Any]:
        """The record of any contract: `record("phytosanitary", "KZ/2026-004711")`."""
        return await self._run(self._driver.record(f"records/{exchange.segment(contract)}", subject))

    async def movements(
        self, *, state: str = "", carrier: str = "", page_items: int = 100
    ) -> AsyncIterator[dict[str, Any]]:
        """Every movement that the caller may see, page after page."""
        cursor: str | None = None
        while True:
            movements, cursor = await self._run(self._driver.page(state, carrier, cursor, page_items))
            for movement in movements:
                yield movement
            if cursor is None:
                return

    async def find(self, identifier: str, *, kind: str = "", page_items: int = 100) -> AsyncIterator[dict[str, Any]]:
        """Every declaration and movement that an identifier belongs to, newest first; its kind guessed if not said."""
        cursor: str | None = None
        while True:
            found, cursor = await self._run(self._driver.found_page(identifier, kind, cursor, page_items))
            for each in found:
                yield each
            if cursor is None:
                return

    async def dwell_times(
        self, *, post: str = "", first: str = "", last: str = "", size: int | None = None
    ) -> dict[str, Any]:
        """How long passages took: at a post or all, on days `YYYY-MM-DD`, by the first `size` entries of the log."""
        return await self._run(self._driver.dwell_times(post, first, last, size))

    async def status(self) -> dict[str, Any]:
        return await self._run(self._driver.document("/v1/status", authenticated=False))

    async def evidence(self) -> list[dict[str, Any]]:
        """What the validators of the gateway's authority have evidence of."""
        document = await self._run(self._driver.document("/v1/evidence", authenticated=True))
        rows: list[dict[str, Any]] = document["evidence"]
        return rows

    async def evidence_bundle(self, evidence_id: str) -> bytes:
        """One bundle of evidence, by its id: `ledger.evidence_check` says whether it holds."""
        return await self._run(self._driver.octets(f"/v1/evidence/{evidence_id}", authenticated=True))

    async def put_attachment(self, media_type: str, data: bytes) -> bool:
        """Leaves what a statement refers to by hash; False if it was there already."""
        return await self._run(self._driver.put_attachment(media_type, data))

    async def attachment(self, sha256: str, *, statement_id: str | None = None) -> bytes:
        """What a statement refers to by hash; name the statement where the bytes are not your own."""
        return await self._run(self._driver.attachment(sha256, statement_id))

    async def has_attachment(self, sha256: str) -> bool:
        """Whether the gateway has bytes of this hash that the caller may fetch."""
        return await self._run(self._driver.has_attachment(sha256))

    async def delete_attachment(self, sha256: str) -> None:
        """For an authority: away with it. The ledger, and every proof, stays as it is."""
        await self._run(self._driver.delete_attachment(sha256))

    async def envelope_keys(self) -> dict[str, Any]:
        """The keys that envelopes are sealed to, as the gateway says; `api.sealing` proves them."""
        return await self._run(self._driver.document("/v1/envelope-keys", authenticated=False))

    async def parameters(self) -> dict[str, Any]:
        """The governed parameters in force."""
        return await self._run(self._driver.document("/v1/parameters", authenticated=False))

    async def governance(self) -> dict[str, Any]:
        """Proposals that are open or approved, contracts in force, the legal basis."""
        return await self._run(self._driver.document("/v1/governance", authenticated=False))

    async def proposal(self, proposal_id: str) -> dict[str, Any]:
        """A proposal of governance by its id."""
        return await self._run(self._driver.document(exchange.proposal_path(proposal_id), authenticated=False))

    async def checkpoint(self, *, further: bool = False) -> bytes:
        """The newest final checkpoint, a signed note; `further`: the newest that has further cosignatures too."""
        return await self._run(self._driver.octets(exchange.checkpoint_path(further=further), authenticated=False))

    async def tile(self, path: str) -> bytes:
        """A tile by its tlog-tiles path, such as `tile/0/000.p/7`."""
        return await self._run(self._driver.tile(path))

    async def events(self, *, first: int = 0, subject: str = "") -> AsyncIterator[Event]:
        """Final statements from entry `first` on, for ever; reconnects and resumes by itself."""
        resume_at, failures = first, 0
        while True:
            parser = EventParser(resume_at)
            request = exchange.events_request(resume_at, subject)
            error: ClientError = Unreachable("the event stream ended")
            try:
                async with self._http.stream(
                    request.method,
                    request.path,
                    headers=self._driver.headers(request),
                    timeout=_stream_timeout(),
                ) as response:
                    if response.status_code != 200:
                        raise exchange.problem_of(_reply(response, await response.aread()))
                    async for chunk in response.aiter_bytes():
                        for event in parser.feed(chunk):
                            yield event
                        failures = 0
            except httpx.HTTPError as cause:
                error = Unreachable(f"the event stream broke: {cause}")
            except ClientError as problem:
                error = problem
            resume_at = parser.resume_at
            failures += 1
            await asyncio.sleep(self._driver.pause_s(error, failures))

"""What both HTTP clients hold: who they are, how patient, and every operation as a conversation of `api.exchange`.

Nothing in here waits or opens a connection: `api.client` does, in its two ways.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from api import exchange
from api.exchange import (
    ClientError,
    Conversation,
    Overloaded,
    ProblemError,
    Receipt,
    Request,
    Retry,
    StatementRecord,
    Unavailable,
)
from api.tokens import sign_token
from ledger.algorithms import PrivateKey

TOKEN_LIFETIME_S = 240
TOKEN_RENEWED_BEFORE_END_S = 60


class TokenSigner:
    """Bearer tokens of one participant, each used until shortly before it ends."""

    def __init__(
        self,
        key: PrivateKey,
        *,
        participant: str,
        origin: str,
        authority: str | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`authority`: whose gateways are asked. Without one the tokens are for those of all, if they take such."""
        self._key = key
        self._participant = participant
        self._origin = origin
        self._authority = authority
        self._clock = wall_clock
        self._token = ""
        self._ends_s = 0.0

    def token(self) -> str:
        now_s = self._clock()
        if now_s >= self._ends_s - TOKEN_RENEWED_BEFORE_END_S:
            self._token = sign_token(
                self._key,
                issuer=self._participant,
                origin=self._origin,
                now_s=int(now_s),
                lifetime_s=TOKEN_LIFETIME_S,
                authority=self._authority,
            )
            self._ends_s = int(now_s) + TOKEN_LIFETIME_S
        return self._token


class Driver:
    """What both clients hold; nothing in here waits."""

    def __init__(self, signer: TokenSigner | None, retry: Retry, rng: random.Random | None) -> None:
        self.retry = retry
        self._signer = signer
        self._rng = rng or random.Random()

    def headers(self, request: Request) -> dict[str, str]:
        headers = dict(request.headers)
        if request.authenticated and self._signer is not None:
            headers["authorization"] = f"Bearer {self._signer.token()}"
        return headers

    # Each conversation with this client's patience and chance.

    def submit(self, raw: bytes, wait: str, timeout_ms: int | None) -> Conversation[Receipt]:
        return exchange.submit(raw, wait, timeout_ms, self.retry, self._rng)

    def submit_many(
        self, raws: Sequence[bytes], wait: str, timeout_ms: int | None
    ) -> Conversation[list[Receipt | ProblemError]]:
        return exchange.submit_many(raws, wait, timeout_ms, self.retry, self._rng)

    def statement(self, statement_id: str) -> Conversation[StatementRecord]:
        return exchange.statement(statement_id, self.retry, self._rng)

    def proof(self, statement_id: str, wait_s: float, further: bool = False) -> Conversation[bytes]:
        return exchange.proof(statement_id, wait_s, self.retry, self._rng, further=further)

    def document(self, path: str, *, authenticated: bool) -> Conversation[dict[str, Any]]:
        return exchange.document(path, self.retry, self._rng, authenticated=authenticated)

    def record(self, collection: str, name: str) -> Conversation[dict[str, Any]]:
        return self.document(f"/v1/{collection}/{exchange.segment(name)}", authenticated=True)

    def page(
        self, state: str, carrier: str, cursor: str | None, page_items: int
    ) -> Conversation[tuple[list[dict[str, Any]], str | None]]:
        query = {"state": state or None, "carrier": carrier or None, "cursor": cursor, "limit": page_items}
        return exchange.page_of("/v1/movements", "movements", query, self.retry, self._rng)

    def found_page(
        self, identifier: str, kind: str, cursor: str | None, page_items: int
    ) -> Conversation[tuple[list[dict[str, Any]], str | None]]:
        query = {kind or "q": identifier, "cursor": cursor, "limit": page_items}
        return exchange.page_of("/v1/lookup", "found", query, self.retry, self._rng)

    def import_declaration(self, raw: bytes, query: dict[str, str]) -> Conversation[dict[str, Any]]:
        return exchange.import_declaration(raw, query, self.retry, self._rng)

    def change_membership(self, note: bytes) -> Conversation[dict[str, Any]]:
        return exchange.change_membership(note, self.retry, self._rng)

    def dwell_times(self, post: str, first: str, last: str, size: int | None) -> Conversation[dict[str, Any]]:
        query = {"post": post or None, "from": first or None, "to": last or None, "size": size}
        return exchange.queried("/v1/statistics/dwell", query, self.retry, self._rng)

    def octets(self, path: str, *, authenticated: bool) -> Conversation[bytes]:
        return exchange.octets(path, self.retry, self._rng, authenticated=authenticated)

    def certificate(self, mrn: str, declarations: bool) -> Conversation[bytes]:
        query = "" if declarations else "?declarations=false"
        return self.octets(f"/v1/movements/{exchange.segment(mrn)}/certificate{query}", authenticated=True)

    def put_attachment(self, media_type: str, data: bytes) -> Conversation[bool]:
        return exchange.put_attachment(hashlib.sha256(data).hexdigest(), media_type, data, self.retry, self._rng)

    def attachment(self, sha256: str, statement_id: str | None) -> Conversation[bytes]:
        return exchange.attachment(sha256, statement_id, self.retry, self._rng)

    def has_attachment(self, sha256: str) -> Conversation[bool]:
        return exchange.has_attachment(sha256, self.retry, self._rng)

    def delete_attachment(self, sha256: str) -> Conversation[None]:
        return exchange.delete_attachment(sha256, self.retry, self._rng)

    def tile(self, path: str) -> Conversation[bytes]:
        return self.octets(f"/log/{path}", authenticated=path.startswith("tile/entries/"))

    def pause_s(self, error: ClientError, failures: int) -> float:
        """How long an event stream that broke is left alone; raises once that is of no use."""
        if isinstance(error, ProblemError) and not isinstance(error, (Overloaded, Unavailable)):
            raise error
        if failures >= self.retry.attempts:
            raise error
        asked_s = error.retry_after_s if isinstance(error, ProblemError) and error.retry_after_s else 0.0
        bound_s = min(exchange.RETRY_MAX_S, exchange.RETRY_FIRST_S * 2.0**failures)
        return asked_s + self._rng.uniform(0, bound_s)

"""The declarant's side of private fields: which keys to seal to, proven; a content concealed and sealed in one step.

Promises: a key that `proven_envelope_keys` returns was published by that authority's registrar in a statement that both
authorities made final, by the policy file of whoever asks. So no gateway can put a key of its own in the place of the
other side's. `seal_content` leaves nothing half done: content, envelope and openings belong together.

Does not: know whether a proven key is the newest. A gateway could show one that was replaced; the authority that kept
its private part can still open what is sealed to it.

Needs neither grpc nor fastapi.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from api.envelope import Envelope, seal_envelope
from contracts.commitments import Opening, Salts
from contracts.declaration_private import ENVELOPE, conceal
from contracts.envelope_keys import X25519_KEY_BYTES
from ledger.errors import Misuse, Untrue
from ledger.proof_check import check_proof

PUBLISHING_KIND = "registry.publish_envelope_key"


class StatementRecord(Protocol):
    @property
    def raw(self) -> bytes: ...


class KeySource(Protocol):
    """What of a client is needed: `api.client.Client` has it."""

    def envelope_keys(self) -> dict[str, Any]: ...
    def proof(self, statement_id: str) -> bytes: ...
    def statement(self, statement_id: str) -> StatementRecord: ...


@dataclass(frozen=True, slots=True)
class SealedContent:
    """What goes into the payload, what goes beside the statement, and what the declarant keeps."""

    content: dict[str, Any]
    envelope: Envelope
    openings: tuple[Opening, ...]


def seal_content(
    subject: str,
    content: Mapping[str, Any],
    names: Collection[str],
    keys: Mapping[str, bytes],
    salts: Salts = secrets.token_bytes,
) -> SealedContent:
    """Conceal the named fields of a content about `subject`, and close what opens them for each authority of `keys`."""
    if not names:
        raise Misuse("expected at least one field to conceal, got none")
    concealed, openings = conceal(content, names, salts)
    envelope = seal_envelope(subject, openings, keys)
    concealed[ENVELOPE] = envelope.sha256
    return SealedContent(concealed, envelope, openings)


def envelope_key_of(policy: bytes, proof: bytes, statement: bytes) -> tuple[str, bytes]:
    """The authority and the key that a proven statement publishes; Untrue for anything less."""
    report = check_proof(policy, proof, statement)
    if not report.holds or report.statement is None:
        failed = next((f"{c.name}: {c.detail}" for c in report.checks if c.verdict.value != "holds"), "no statement")
        raise Untrue("envelope_key_not_proven", failed)
    if report.statement.kind != PUBLISHING_KIND:
        raise Untrue("envelope_key_not_proven", f"expected {PUBLISHING_KIND}, got {report.statement.kind}")
    payload = report.statement.payload
    authority, public = payload.get("authority"), payload.get("key")
    if not isinstance(authority, str) or not isinstance(public, bytes) or len(public) != X25519_KEY_BYTES:
        raise Untrue("envelope_key_not_proven", "the statement names no authority and key")
    return authority, public


def proven_envelope_keys(client: KeySource, policy: bytes) -> dict[str, bytes]:
    """The current key of each authority, each proven; Untrue if the gateway shows one that is not."""
    keys = {}
    for shown in client.envelope_keys()["authorities"]:
        if not shown["keys"]:
            raise Untrue("envelope_key_missing", f"{shown['authority']} has published no envelope key yet")
        current = shown["keys"][-1]
        proof = client.proof(current["statement"])
        authority, public = envelope_key_of(policy, proof, client.statement(current["statement"]).raw)
        if (authority, public.hex()) != (shown["authority"], current["public"]):
            said = f"{current['public']} of {shown['authority']}"
            raise Untrue(
                "envelope_key_not_proven", f"the gateway shows {said}, its statement {public.hex()} of {authority}"
            )
        keys[authority] = public
    return keys

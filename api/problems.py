"""What can go wrong at the gateway, as RFC 9457 problem documents with types that never change.

One table. The gateway renders from it, the OpenAPI description lists it, the clients raise from it. A code is the snake
case name that `ledger` and the validators use; the type is the same words in a URN. Adding a row is an addition to the
interface; changing one breaks those who match on it.

Existence is not disclosed: what a caller may not see answers exactly as what is not there (`not_found`, 404).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

TYPE_PREFIX = "urn:comity:problem:"
CONTENT_TYPE = "application/problem+json"


class ProblemType(NamedTuple):
    """One row of the table."""

    status: int
    title: str
    description: str = ""


PROBLEMS: dict[str, ProblemType] = {
    # The request itself.
    "bad_request": ProblemType(400, "The request is not what this operation takes"),
    "bad_identifier": ProblemType(400, "The identifier is not of its form"),
    "bad_cursor": ProblemType(400, "The cursor is not one this query gave out"),
    "bad_event_position": ProblemType(400, "The position to resume from is not an entry index"),
    "bad_tile_path": ProblemType(400, "The path is not a tile of a tlog-tiles log"),
    "bad_document": ProblemType(400, "The document is not one that can be imported", "`detail` says why and where."),
    "unsupported_media_type": ProblemType(415, "The body is of a type this operation does not take"),
    "method_not_allowed": ProblemType(405, "This method does not apply here"),
    "too_large": ProblemType(413, "The body or a statement in it is larger than allowed"),
    "body_too_slow": ProblemType(408, "The body did not arrive in time"),
    "too_many": ProblemType(413, "The sequence holds more statements than allowed"),
    "not_found": ProblemType(404, "There is nothing here that you may see"),
    "no_decision_yet": ProblemType(404, "No authority has decided anything of it yet"),
    "not_final": ProblemType(
        409, "The statement is committed but not final yet", "A proof exists once both authorities have cosigned."
    ),
    "state_not_final": ProblemType(
        503, "No state is final whose proof is at hand", "A moment later there is one, if both authorities are there."
    ),
    "may_not_pass": ProblemType(
        409, "Nothing may be issued with which this movement could pass a gate", "`detail` says why."
    ),
    "not_further_cosigned": ProblemType(
        409, "The statement is final, and the further cosigners have not cosigned a checkpoint that covers it"
    ),
    # The bytes of a statement.
    "malformed_statement": ProblemType(400, "The bytes are not a statement"),
    "malformed_cbor": ProblemType(400, "The bytes are not well-formed CBOR"),
    "non_canonical_cbor": ProblemType(400, "The bytes are CBOR, but not its one canonical spelling"),
    "empty_body": ProblemType(400, "The body holds no statement"),
    "wrong_tag": ProblemType(400, "The item is not a tagged COSE_Sign1"),
    "unknown_algorithm": ProblemType(400, "The signature algorithm is not one the ledger knows"),
    "bad_header": ProblemType(400, "The protected header is not that of a statement"),
    "bad_content_type": ProblemType(400, "The content type names no statement kind"),
    "unprotected_not_empty": ProblemType(400, "The unprotected header is not empty"),
    "bad_payload": ProblemType(400, "The payload is not a CBOR map"),
    "unsupported_cbor": ProblemType(400, "The bytes hold a CBOR type that the ledger does not use"),
    "bad_kid": ProblemType(400, "The kid is not a key thumbprint"),
    "bad_claims": ProblemType(400, "The CWT claims are not those of a statement"),
    "bad_signature_spelling": ProblemType(400, "The signature is not in its algorithm's one spelling"),
    # Claims that do not hold.
    "untrue_statement": ProblemType(422, "The statement makes a claim that does not hold"),
    "bad_signature": ProblemType(422, "The signature does not verify"),
    # What the contracts said: the fields outcome and outcome_code say which rule.
    "rejected": ProblemType(422, "The contracts rejected the statement", "Nothing was appended to the ledger."),
    "unknown_kind": ProblemType(422, "No contract takes statements of this kind"),
    "payload_refused": ProblemType(422, "The payload is not what statements of this kind carry"),
    "issuer_unknown": ProblemType(403, "The issuer is not enrolled"),
    "key_unknown": ProblemType(403, "The key is not one of the issuer's"),
    "key_not_yet_valid": ProblemType(403, "The key does not count yet"),
    "key_suspended": ProblemType(403, "The key is suspended"),
    "key_revoked": ProblemType(403, "The key has been revoked"),
    "key_expired": ProblemType(403, "The key's time is over"),
    "role_not_allowed": ProblemType(403, "The issuer does not have a role that may say this"),
    "side_not_allowed": ProblemType(403, "This is for the other authority to say"),
    "iat_in_future": ProblemType(422, "The statement is dated in the future"),
    "not_listed": ProblemType(
        422,
        "A code in the statement is in no reference table of this gateway",
        "`field` names it. The statement is well-formed: ask the operator whether the table is up to date.",
    ),
    "iat_too_old": ProblemType(422, "The statement is dated too far in the past"),
    "cti_reused": ProblemType(409, "The issuer has used this cti for another statement"),
    # Who asks.
    "token_missing": ProblemType(401, "A bearer token is needed here"),
    "token_malformed": ProblemType(401, "The bearer token is not a token of this ledger's kind"),
    "token_expired": ProblemType(401, "The bearer token's time is over or has not begun"),
    "token_too_long": ProblemType(401, "The bearer token is valid for longer than five minutes"),
    "token_wrong_audience": ProblemType(401, "The bearer token was made for another ledger"),
    "token_untrusted": ProblemType(401, "The bearer token is not signed by a key that counts now"),
    # Not now.
    "overloaded": ProblemType(429, "Too much at once: send it again later"),
    "too_many_streams": ProblemType(429, "Too many event streams are open"),
    "authority_unreachable": ProblemType(
        503,
        "An authority is unreachable, and nothing becomes committed without both",
        "missing_authorities names it. Keep what you signed and send it again: nothing is lost, nothing doubled.",
    ),
    "not_ordered_in_time": ProblemType(
        503, "The statement was not ordered in time", "It may still be: send the same bytes again."
    ),
    "read_not_confirmed": ProblemType(
        503,
        "The newest state could not be confirmed",
        "No majority has confirmed the leader in time. Ask again, or without `consistency=linearizable`.",
    ),
    # What statements refer to by hash.
    "bad_attachment": ProblemType(400, "The bytes are not an attachment of the type they came as"),
    "attachment_differs": ProblemType(422, "The bytes do not have the hash they were sent under"),
    "envelope_missing": ProblemType(
        409,
        "The statement refers to an envelope that this gateway does not have",
        "Send the envelope first: PUT /v1/attachments/{sha256}. The statement can then be sent again as it is.",
    ),
    "envelope_of_other_subject": ProblemType(
        409,
        "The envelope is about something else than the statement",
        "Seal an envelope for what the statement is about, and sign a statement with its hash.",
    ),
    "envelope_not_sealed_to_all": ProblemType(
        422,
        "The envelope is not sealed to the key of each authority",
        "GET /v1/envelope-keys has the keys. Seal it anew, and sign a statement with the new hash.",
    ),
    "not_yours_to_send": ProblemType(403, "The participant has no role that sends attachments of this type"),
    "attachments_full": ProblemType(
        507, "There is no room for the attachment", "Keep it, and send it again when older ones have gone."
    ),
    "attachments_not_kept": ProblemType(404, "This gateway keeps no attachments"),
    # Changes of the membership.
    "change_refused": ProblemType(409, "The change of the membership was refused", "`detail` begins with why."),
    "validators_unreachable": ProblemType(503, "No validator of this authority answers"),
    "index_incomplete": ProblemType(
        503, "The look-up index is being made", "After an upgrade or a repair; records by their own key are there."
    ),
    "shutting_down": ProblemType(503, "This gateway is stopping"),
    "internal": ProblemType(500, "The gateway failed; the ledger is unharmed"),
}

# Outcomes of the contracts that have a problem of their own: who signed, when and in what form, not what is said.
OUTCOME_PROBLEMS: dict[str, str] = {
    "cti_reused": "cti_reused",
    "kind_unknown": "unknown_kind",
    "payload_field_missing": "payload_refused",
    "payload_field_unknown": "payload_refused",
    "payload_field_wrong_type": "payload_refused",
    "payload_field_out_of_limits": "payload_refused",
    "payload_identifier_invalid": "payload_refused",
    "issuer_unknown": "issuer_unknown",
    "key_unknown": "key_unknown",
    "key_not_yet_valid": "key_not_yet_valid",
    "key_suspended": "key_suspended",
    "key_revoked": "key_revoked",
    "key_expired": "key_expired",
    "signature_invalid": "bad_signature",
    "role_not_allowed": "role_not_allowed",
    "side_not_allowed": "side_not_allowed",
    "iat_too_old": "iat_too_old",
    "iat_in_future": "iat_in_future",
}


def type_of(code: str) -> str:
    """The URN of a problem code."""
    return TYPE_PREFIX + code.replace("_", "-")


def code_of(type_uri: str) -> str:
    """The code of a problem URN; the unknown stays recognisable as it came."""
    return type_uri.removeprefix(TYPE_PREFIX).replace("-", "_")


def retry_after_s(retry_after_ms: int) -> int:
    """What goes into `Retry-After`: whole seconds, at least one, never sooner than asked."""
    return max(1, -(-retry_after_ms // 1000))


@dataclass(slots=True, eq=False)
class Problem(Exception):
    """A problem on its way to the caller."""

    code: str
    detail: str = ""
    retry_after_ms: int = 0
    missing_authorities: Sequence[str] = ()
    outcome_code: int | None = None
    outcome: str | None = None
    statement_id: str | None = None
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code

    @property
    def row(self) -> ProblemType:
        return PROBLEMS[self.code]

    def document(self, instance: str | None = None) -> dict[str, Any]:
        """The members of the problem document, extensions only where they say something."""
        row = self.row
        document: dict[str, Any] = {"type": type_of(self.code), "title": row.title, "status": row.status}
        if self.detail:
            document["detail"] = self.detail
        if instance is not None:
            document["instance"] = instance
        if self.outcome_code is not None:
            document["outcome_code"] = self.outcome_code
            document["outcome"] = self.outcome
            document["help"] = f"/v1/outcomes/{self.outcome_code}"
        if self.statement_id is not None:
            document["id"] = self.statement_id
        if self.field is not None:
            document["field"] = self.field
        if self.missing_authorities:
            document["missing_authorities"] = list(self.missing_authorities)
        if self.retry_after_ms:
            document["retry_after_ms"] = self.retry_after_ms
        return document

    def headers(self) -> dict[str, str]:
        """Headers the status asks for."""
        headers = {}
        if self.retry_after_ms or self.row.status in (429, 503):
            headers["Retry-After"] = str(retry_after_s(self.retry_after_ms))
        if self.row.status == 401:
            error = "" if self.code == "token_missing" else ', error="invalid_token"'
            headers["WWW-Authenticate"] = f'Bearer realm="comity"{error}'
        return headers


def of_malformed(code: str, detail: str) -> Problem:
    """The problem of bytes that `ledger` refused; a code newer than this table falls back to the general one."""
    if code in PROBLEMS:
        return Problem(code, detail)
    return Problem("malformed_statement", f"{code}: {detail}")


def of_untrue(code: str, detail: str) -> Problem:
    """The problem of a claim that does not hold."""
    if code in PROBLEMS:
        return Problem(code, detail)
    return Problem("untrue_statement", f"{code}: {detail}")


def of_rejection(outcome_code: int, outcome: str, detail: str = "") -> Problem:
    """The problem of a statement that the contracts rejected; `detail` is what they said beside the outcome."""
    code = OUTCOME_PROBLEMS.get(outcome, "rejected")
    return Problem(code, detail or outcome.replace("_", " "), outcome_code=outcome_code, outcome=outcome)

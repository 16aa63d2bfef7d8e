"""Payloads of `governance.*`. The subject is the id of the proposal, in the namespace of the side that makes it."""

from __future__ import annotations

import re

from contracts.identifiers import IdentifierError, parse_date, parse_participant_id
from contracts.schema import Field, Schema, Type, identifier, integer, list_of, map_of, octets, sha256, text

MAX_CHANGES = 16
MAX_TITLE_CHARS = 200
MAX_AUTHORITY_CHARS = 64
MAX_PARAMETER_NAME_CHARS = 64
MAX_PARAMETER_CHARS = 1_024
MAX_PARTY_CHARS = 200
MAX_ARTICLE_CHARS = 40
MAX_RELEASE_CHARS = 40
MAX_CONTRACT_VERSION = 10_000
MAX_COSE_KEY_BYTES = 4_096
MAX_KEY_OVERLAP_S = 90 * 86_400
MAX_MEMBERSHIP_CHARS = 16_384
MAX_HEIGHT = 2**53
KEY_BYTES = 32
SIGNATURE_BYTES = 64

_match_contract = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII).fullmatch


def parse_contract_name(name: str) -> str:
    """1 to 32 of `a-z0-9_`, beginning with a letter."""
    if not _match_contract(name):
        raise IdentifierError("contract name", 1, "1 to 32 of a-z, 0-9 and _, a letter first", name[:40])
    return name


def parse_proposal_id(proposal_id: str) -> str:
    """`kz-kgd/2026-014`: the name or country of the proposing side, a slash, and what the side calls it."""
    parse_participant_id(proposal_id)
    side, slash, rest = proposal_id.partition("/")
    if not slash or not rest or "/" in rest:
        raise IdentifierError("proposal id", len(side) + 1, "one slash, and a name behind it", proposal_id[:64])
    return proposal_id


def _integer_or_text() -> Type:
    number, words = integer(-(2**53), 2**53), text(MAX_PARAMETER_CHARS)

    def check(path: str, value: object) -> None:
        (words if type(value) is str else number).check(path, value)

    return Type(
        check,
        f"integer, or {words.description}, as the parameter is",
        {"anyOf": [number.json_schema, words.json_schema]},
    )


_AUTHORITY = Field("authority", text(MAX_AUTHORITY_CHARS), meaning="name of the authority whose it is")
_OVERLAP = Field(
    "overlap_s", integer(0, MAX_KEY_OVERLAP_S), False, "for how long after the effect the old one still counts; 0"
)
_DATE = identifier(parse_date, "date, YYYY-MM-DD")

PARAMETER = Schema(
    (
        Field("name", text(MAX_PARAMETER_NAME_CHARS)),
        Field("from", _integer_or_text(), meaning="the value in force, which this one replaces"),
        Field("to", _integer_or_text()),
    )
)
CONTRACT = Schema(
    (
        Field("name", identifier(parse_contract_name, "contract name")),
        Field("from", integer(0, MAX_CONTRACT_VERSION), meaning="the version in force; 0 if there is none"),
        Field("to", integer(1, MAX_CONTRACT_VERSION)),
        Field("release", text(MAX_RELEASE_CHARS), meaning="the first release of the program that can execute it"),
    )
)
REGISTRAR_KEY = Schema(
    (
        _AUTHORITY,
        Field("from", sha256(), meaning="thumbprint of the registrar's key that ends"),
        Field("key", octets(1, MAX_COSE_KEY_BYTES), meaning="the registrar's new public key, a canonical COSE_Key"),
        _OVERLAP,
    )
)
LOG_KEY = Schema(
    (
        _AUTHORITY,
        Field("from", octets(KEY_BYTES, KEY_BYTES), meaning="the Ed25519 key in force that signs checkpoints"),
        Field("to", octets(KEY_BYTES, KEY_BYTES)),
        _OVERLAP,
    )
)
CA = Schema(
    (
        _AUTHORITY,
        Field("from", sha256(), meaning="of the CA certificate in force, DER"),
        Field("to", sha256()),
        _OVERLAP,
    )
)
LEGAL_BASIS_CHANGE = Schema(
    (
        Field("agreement", text(MAX_PARTY_CHARS)),
        Field("article", text(MAX_ARTICLE_CHARS)),
        Field("from", _DATE, False, "the effective date in the register; left out if it is not there"),
        Field("to", _DATE, False, "the date from which recognitions may cite it; left out to take it off the register"),
    )
)
MEMBERSHIP = Schema(
    (
        Field(
            "change",
            text(MAX_MEMBERSHIP_CHARS),
            meaning="text of the change of the membership, as `comity membership propose` writes it",
        ),
    )
)
CHANGE_FIELDS: dict[str, tuple[Schema, str]] = {
    "parameter": (PARAMETER, "parameter change"),
    "contract": (CONTRACT, "contract change"),
    "registrar_key": (REGISTRAR_KEY, "registrar key change"),
    "log_key": (LOG_KEY, "log key change"),
    "ca": (CA, "ca change"),
    "legal_basis": (LEGAL_BASIS_CHANGE, "legal basis change"),
    "membership": (MEMBERSHIP, "membership decision"),
}
CHANGE = Schema(
    tuple(Field(name, map_of(schema, name=title), False) for name, (schema, title) in CHANGE_FIELDS.items()),
    exactly_one=tuple(CHANGE_FIELDS),
)

_PROPOSAL = Field("proposal", sha256(), meaning="id of the statement that proposed it: what was read is what is meant")
_SIGNATURE = Field(
    "membership_signature",
    octets(SIGNATURE_BYTES, SIGNATURE_BYTES),
    False,
    "of the text of the membership change, by the key that signs this statement; where there is such a change",
)
_REASON = Field("reason", text())

SCHEMAS: dict[str, Schema] = {
    "propose": Schema(
        (
            Field("title", text(MAX_TITLE_CHARS), meaning="what it is for, in one line"),
            Field("changes", list_of(map_of(CHANGE, name="change"), 1, MAX_CHANGES), meaning="all of them, or none"),
            Field(
                "height",
                integer(1, MAX_HEIGHT),
                False,
                "height at which it takes effect, or later if approved later; left out: as soon as it may",
            ),
            _SIGNATURE,
        ),
        meaning="A registrar proposes changes, and so approves them for its authority.",
    ),
    "approve": Schema((_PROPOSAL, _SIGNATURE), meaning="A registrar approves a proposal for its authority."),
    "reject": Schema((_PROPOSAL, _REASON), meaning="A registrar refuses a proposal for its authority, which ends it."),
    "withdraw": Schema(
        (_PROPOSAL, _REASON),
        meaning=(
            "The proposing side takes back an open proposal; an approved one that waits for its height is taken back "
            "once every authority has said so."
        ),
    ),
}

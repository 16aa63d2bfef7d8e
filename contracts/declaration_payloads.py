"""Payloads of `declaration.*`. The subject is the UCR."""

from __future__ import annotations

from dataclasses import replace

from contracts.commitments import MAX_OPENINGS
from contracts.declaration_private import MAX_DOCUMENTS, parse_currency, parse_private_field
from contracts.identifiers import (
    MAX_MASS_G,
    MAX_UCR_CHARS,
    parse_container,
    parse_country,
    parse_date,
    parse_declaration_number,
    parse_hs,
    parse_participant_id,
)
from contracts.schema import Field, Schema, choice, identifier, integer, list_of, map_of, sha256, text

MAX_GOODS_ITEMS = 99
MAX_DECLARED_CONTAINERS = 99
MAX_REASONS = 20
MAX_PARTY_CHARS = 200
MAX_AUTHORITY_CHARS = 64
MAX_PACKAGES = 10**9
MAX_VERSION = 10**6
MAX_AMOUNT = 10**15

COUNTRY = identifier(parse_country, "country")
CONTAINER = identifier(parse_container, "container")
PARTICIPANT = identifier(parse_participant_id, "participant id")
MASS = integer(1, MAX_MASS_G)
NUMBER = replace(
    text(MAX_UCR_CHARS),
    description="declaration number, in the form of the country that gives it",
    parse=parse_declaration_number,
)

INVOICE_VALUE = Schema(
    (
        Field("amount", integer(0, MAX_AMOUNT), meaning="in the smallest unit of the currency, as tiyn or fen"),
        Field("currency", identifier(parse_currency, "currency code"), meaning="ISO 4217, three letters"),
    )
)
_VALUE = Field("value", map_of(INVOICE_VALUE, name="invoice value"), False, "open, unless committed to")
GOODS_ITEM = Schema(
    (
        Field("hs", identifier(parse_hs, "HS code")),
        Field("description", text(), False, "open, or committed to"),
        Field("mass_g", MASS, meaning="net mass"),
        Field("packages", integer(0, MAX_PACKAGES), False, "0 or left out where the goods are in bulk"),
        _VALUE,
    )
)
DOCUMENT = Schema(
    (
        Field("kind", text(40), meaning="`invoice`, `cmr`, `phytosanitary certificate`"),
        Field("number", text(64)),
        Field("sha256", sha256()),
    )
)
COMMITMENT = Schema(
    (
        Field("name", identifier(parse_private_field, "name of a field that may be private")),
        Field("sha256", sha256(), meaning="of the deterministic CBOR `[salt, name, value]`; the salt has 16 bytes"),
    )
)
CONTENT = Schema(
    (
        Field("consignor", text(MAX_PARTY_CHARS), False, "open, or committed to"),
        Field("consignee", text(MAX_PARTY_CHARS), False, "open, or committed to"),
        Field("origin", COUNTRY),
        Field("destination", COUNTRY),
        Field("gross_mass_g", MASS),
        Field("goods", list_of(map_of(GOODS_ITEM, name="goods item"), 1, MAX_GOODS_ITEMS)),
        Field("containers", list_of(CONTAINER, 0, MAX_DECLARED_CONTAINERS, unique=True)),
        Field("documents", list_of(map_of(DOCUMENT, name="document"), 0, MAX_DOCUMENTS), False, "those that are open"),
        _VALUE,
        Field(
            "commitments",
            list_of(map_of(COMMITMENT, name="commitment"), 1, MAX_OPENINGS),
            False,
            "fields that are not open, in the order of their names, none twice",
        ),
        Field(
            "envelope_sha256",
            sha256(),
            False,
            "of the envelope with what opens the commitments; there if and only if there are any",
        ),
    )
)
LEGAL_BASIS = Schema(
    (
        Field("agreement", text(MAX_PARTY_CHARS)),
        Field("article", text(40)),
        Field("effective", identifier(parse_date, "date, YYYY-MM-DD")),
    )
)

_REASON = Field("reason", text())
_REASONS = Field("reasons", list_of(text(), 1, MAX_REASONS))
_NOTE = Field("note", text(), False)
_CONTENT = Field("content", map_of(CONTENT, name="content"))
_VERSION = Field("version", integer(1, MAX_VERSION), meaning="the version of the declaration that was looked at")
_DECISION = (_VERSION, _REASON, Field("legal_basis", map_of(LEGAL_BASIS, name="legal basis")))

SCHEMAS: dict[str, Schema] = {
    "lodge": Schema(
        (
            Field("home", text(MAX_AUTHORITY_CHARS), meaning="name of the authority that receives the declaration"),
            Field("partner", text(MAX_AUTHORITY_CHARS), meaning="name of the authority asked to recognise it"),
            Field("carrier", PARTICIPANT, False, "participant id of the carrier, who may then read it"),
            _CONTENT,
        ),
        meaning="A declarant hands in a declaration at its authority and names the partner who is to recognise it.",
    ),
    "register": Schema((_NOTE,), meaning="The home authority enters the declaration in its register."),
    "reject": Schema((_REASONS,), meaning="The home authority does not take the declaration, for the reasons given."),
    "accept": Schema(
        (Field("number", NUMBER), _NOTE), meaning="The home authority accepts the declaration under its own number."
    ),
    "control": Schema(
        (Field("control", choice("documentary", "physical", "scan")), _NOTE),
        meaning="The home authority orders a control of the documents or the goods.",
    ),
    "control_result": Schema(
        (
            Field("result", choice("satisfactory", "corrected")),
            Field("content", map_of(CONTENT, name="content"), False, "the whole corrected content, if corrected"),
            _NOTE,
        ),
        meaning="The home authority records what the control found; a corrected content is a new version.",
    ),
    "refuse": Schema((_REASONS,), meaning="The home authority refuses release, for the reasons given."),
    "request_amendment": Schema((_CONTENT, _REASON), meaning="The declarant asks to change the content."),
    "accept_amendment": Schema(
        (Field("number", NUMBER, False, "if none was given yet"), _NOTE),
        meaning="The home authority grants the amendment: a new version, to be recognised anew.",
    ),
    "refuse_amendment": Schema(
        (_REASON, Field("number", NUMBER, False, "if none was given yet")),
        meaning="The home authority leaves the content as it is.",
    ),
    "release": Schema((_NOTE,), meaning="The home authority releases the goods for the procedure."),
    "clear": Schema(
        (
            Field("evidence", map_of(DOCUMENT, name="document"), False, "what proves the exit, if no movement did"),
            _NOTE,
        ),
        meaning="The home authority confirms the exit and ends the procedure.",
    ),
    "request_invalidation": Schema((_REASON,), meaning="The declarant asks to take the declaration back."),
    "refuse_invalidation": Schema((_REASON,), meaning="The home authority lets the declaration stand."),
    "invalidate": Schema(
        (_REASON,),
        meaning="The home authority takes the declaration back, on request or of its own accord after release.",
    ),
    "recognise": Schema(
        (*_DECISION, Field("number", NUMBER, meaning="the partner's own number")),
        meaning="The partner recognises the present version, under its own number and a legal basis.",
    ),
    "refuse_recognition": Schema(_DECISION, meaning="The partner does not recognise the present version."),
    "suspend_recognition": Schema(_DECISION, meaning="The partner stops relying on a declaration that it recognised."),
    "resume_recognition": Schema(
        _DECISION, meaning="The partner relies again on a declaration whose recognition it had suspended."
    ),
    "withdraw_recognition": Schema(_DECISION, meaning="The partner takes its recognition of this version back."),
}

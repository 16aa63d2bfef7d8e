"""The contract `phytosanitary`: certificates of one side's plant protection, recognised by the other. Key: the number.

A phytosanitary certificate says that plants and plant products were inspected and are free of the pests that the
importing side names (ISPM 12 of the IPPC; in electronic form, ePhyto). The organization of the exporting side issues it
for the goods of one declaration, and may withdraw it or replace it by another; the importing side recognises or refuses
it, may suspend its recognition, and uses it up with the movement that brings the goods. A certificate that is not used
by its last day lapses.

What stands on the ledger is the hash of the ePhyto message, never the message; both organizations speak through the
systems and officers of their customs authority. An example: a network has this contract if its genesis names it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from contracts.deadlines import ceil_s
from contracts.declaration_record import load_declaration
from contracts.identifiers import IdentifierError, parse_mrn, parse_ucr
from contracts.machine import ABSENT, Context, Subject, Transition, Transitions, refuses
from contracts.movement import load_movement
from contracts.outcome import Outcome
from contracts.plain_record import PlainRecord, begun, customs_of, end, load_plain, plain_contract, step
from contracts.schema import Field, Schema, identifier, integer, list_of, map_of, sha256, text


def parse_certificate_number(number: str) -> None:
    """`KZ/2026-004711`: the country of the issuing organization, a slash, and its own number."""
    if not re.fullmatch("[A-Z]{2}/[A-Z0-9-]{1,32}", number):
        raise IdentifierError("certificate number", 1, "a country, / and 1 to 32 of A-Z, 0-9 and -", number[:40])


@dataclass(frozen=True, kw_only=True)
class Certificate(PlainRecord):
    TAG = "phytosanitary.v1"
    CONTRACT = "phytosanitary"

    exporting: str  # authority on whose side it was issued
    importing: str  # authority on whose side it is to be recognised
    declarant: str  # of the goods, who may read it
    ucr: str
    ephyto_sha256: bytes
    plants: tuple[tuple[str, int], ...]  # botanical name, mass in grams
    replacement: str = ""  # the certificate that holds in its place
    mrn: str = ""  # the movement that used it up


EXPORTING = customs_of("exporting", "The authority on whose side the certificate was issued.")
IMPORTING = customs_of("importing", "The authority on whose side the certificate is to be recognised.")


@refuses(Outcome.CERTIFICATE_COUNTRY_DIFFERS)
def number_is_of_the_own_country(ctx: Context) -> Outcome | None:
    """The number begins with the country of the authority that issues."""
    return None if ctx.statement.sub[:2] == ctx.issuer.country else Outcome.CERTIFICATE_COUNTRY_DIFFERS


@refuses(Outcome.CERTIFICATE_DECLARATION_UNKNOWN)
def goods_are_declared_here(ctx: Context) -> Outcome | None:
    """The declaration of the goods was lodged with the authority that issues."""
    declaration = load_declaration(ctx.working, ctx.payload["ucr"])
    here = declaration is not None and declaration.home == ctx.issuer.authority
    return None if here else Outcome.CERTIFICATE_DECLARATION_UNKNOWN


@refuses(Outcome.CERTIFICATE_TIME_IS_OVER)
def last_day_is_ahead(ctx: Context) -> Outcome | None:
    """The time at which it lapses is still to come."""
    return None if ctx.payload["valid_until_ms"] > ctx.time_ms else Outcome.CERTIFICATE_TIME_IS_OVER


@refuses(Outcome.REPLACEMENT_NOT_IN_FORCE)
def replacement_is_in_force(ctx: Context) -> Outcome | None:
    """The certificate that replaces it is another one, for the same goods, and issued or recognised."""
    other = load_plain(Certificate, ctx.working, ctx.payload["replacement"])
    fits = other is not None and other.subject != ctx.statement.sub and other.ucr == ctx.record.ucr
    in_force = other is not None and other.state in ("issued", "recognised")
    return None if fits and in_force else Outcome.REPLACEMENT_NOT_IN_FORCE


@refuses(Outcome.MOVEMENT_OF_OTHER_GOODS)
def movement_carries_the_goods(ctx: Context) -> Outcome | None:
    """The movement carries the goods of the certificate's declaration."""
    movement = load_movement(ctx.working, ctx.payload["mrn"])
    carried = movement is not None and any(ucr == ctx.record.ucr for ucr, _ in movement.plan.declarations)
    return None if carried else Outcome.MOVEMENT_OF_OTHER_GOODS


def issue(ctx: Context) -> Certificate:
    declaration: Any = load_declaration(ctx.working, ctx.payload["ucr"])
    sides = {"exporting": declaration.home, "importing": declaration.partner, "declarant": declaration.declarant}
    plants = tuple((plant["name"], plant["mass_g"]) for plant in ctx.payload["plants"])
    return begun(Certificate, ctx, "issued", **sides, plants=plants, due_s=ceil_s(ctx.payload["valid_until_ms"]))


ISSUE = (number_is_of_the_own_country, goods_are_declared_here, last_day_is_ahead)
TRANSITIONS: Transitions = {
    (ABSENT, "issue"): Transition(EXPORTING, issue, ("issued",), ISSUE),
    ("issued", "recognise"): step(IMPORTING, "recognised"),
    ("issued", "refuse"): end(IMPORTING, "refused"),
    ("recognised", "suspend"): step(IMPORTING, "suspended"),
    ("suspended", "resume"): step(IMPORTING, "recognised"),
    ("recognised", "use_up"): end(IMPORTING, "used", movement_carries_the_goods),
}
for in_force in ("issued", "recognised", "suspended"):
    TRANSITIONS[in_force, "withdraw"] = end(EXPORTING, "withdrawn")
    TRANSITIONS[in_force, "replace"] = end(EXPORTING, "replaced", replacement_is_in_force)

STATES = {
    "issued": "the exporting side vouches for the goods; the importing side has not decided",
    "recognised": "the importing side relies on it",
    "suspended": "recognised before, and not relied on until it is resumed",
    "used": "the goods came, with the movement that is named",
    "refused": "the importing side does not rely on it",
    "withdrawn": "the exporting side no longer vouches for the goods",
    "replaced": "another certificate holds in its place",
    "lapsed": "its last day passed before it was used",
}

NUMBER = identifier(parse_certificate_number, "certificate number")
REASON = Field("reason", text())
PLANT = Schema((Field("name", text(120), meaning="`Triticum aestivum`"), Field("mass_g", integer(1, 10**12))))
ISSUED = (
    Field("ucr", identifier(parse_ucr, "UCR"), meaning="the declaration of the goods"),
    Field("ephyto_sha256", sha256(), meaning="of the ePhyto message, byte for byte"),
    Field("plants", list_of(map_of(PLANT, name="plant"), 1, 50), meaning="botanical names and net masses"),
    Field("valid_until_ms", integer(0, 253_402_300_799_999), meaning="block time at which it lapses"),
)
REPLACED = (Field("replacement", NUMBER, meaning="the certificate that holds in its place"), REASON)
USED = (Field("mrn", identifier(parse_mrn, "MRN"), meaning="the movement that brings the goods"),)
SCHEMAS = {
    "issue": Schema(ISSUED, meaning="The exporting side issues a certificate for goods that were declared there."),
    "recognise": Schema((), meaning="The importing side recognises the certificate."),
    "refuse": Schema((REASON,), meaning="The importing side does not recognise the certificate."),
    "suspend": Schema((REASON,), meaning="The importing side stops relying on a certificate that it recognised."),
    "resume": Schema((REASON,), meaning="The importing side relies on it again."),
    "use_up": Schema(USED, meaning="The importing side uses it up with the movement that brings the goods."),
    "withdraw": Schema((REASON,), meaning="The exporting side takes the certificate back."),
    "replace": Schema(REPLACED, meaning="The exporting side puts another certificate in its place."),
}

PHYTOSANITARY = plain_contract(
    Certificate,
    version=1,
    title="Phytosanitary certificates (ISPM 12) of one side, recognised by the other",
    subject=Subject(parse_certificate_number, "certificate number"),
    visible_to=lambda certificate: frozenset({certificate.declarant}),
    transitions=TRANSITIONS,
    states=STATES,
    schemas=SCHEMAS,
    outcomes=range(500, 520),
    lapse=("lapsed", "its last day passed"),
)

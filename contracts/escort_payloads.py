"""Payloads of `escort.*`. The subject is the MRN."""

from __future__ import annotations

from contracts.declaration_payloads import CONTAINER, MASS, PARTICIPANT
from contracts.identifiers import MAX_LATITUDE_UDEG, MAX_LONGITUDE_UDEG, parse_place, parse_seal, parse_ucr
from contracts.identifiers import parse_vehicle as _parse_vehicle
from contracts.incidents import INCIDENTS
from contracts.schema import (
    Field,
    Schema,
    boolean,
    choice,
    identifier,
    integer,
    list_of,
    map_of,
    sha256,
    text,
)

MAX_DECLARATIONS = 20
MAX_CONTAINERS = 10
MAX_SEALS = 32  # ever put on one movement
MAX_ROUTE_PLACES = 50
MAX_FINDINGS = 20
MAX_CORRIDOR_M = 100_000
MAX_LEG_LIMIT_S = 30 * 86_400
MAX_SPEED_MM_S = 100_000
MAX_BATCH_FIXES = 100_000
MAX_TIME_MS = 253_402_300_799_999

SEAL = identifier(parse_seal, "seal")
PLACE = identifier(parse_place, "place")
VEHICLE = identifier(_parse_vehicle, "vehicle")
TIME = integer(0, MAX_TIME_MS)

FIX = Schema(
    (
        Field("at_ms", TIME, meaning="the device's clock"),
        Field("latitude_udeg", integer(-MAX_LATITUDE_UDEG, MAX_LATITUDE_UDEG)),
        Field("longitude_udeg", integer(-MAX_LONGITUDE_UDEG, MAX_LONGITUDE_UDEG)),
        Field("speed_mm_s", integer(0, MAX_SPEED_MM_S), False),
    )
)
BATCH = Schema(
    (
        Field("sha256", sha256(), meaning="of the telemetry kept elsewhere"),
        Field("fixes", integer(1, MAX_BATCH_FIXES)),
        Field("from_ms", TIME),
        Field("until_ms", TIME),
    )
)
NEW_SEAL = Schema(
    (
        Field("id", SEAL),
        Field("class", choice("I", "S", "H"), meaning="ISO 17712: indicative, security, high security"),
        Field("container", CONTAINER, False, "what it closes, if not the vehicle's own hold"),
        Field("device", PARTICIPANT, False, "participant id of an electronic seal"),
    )
)
READING = Schema((Field("id", SEAL), Field("state", choice("intact", "broken", "missing"))))

_REASON = Field("reason", text())
_NOTE = Field("note", text(), False)
_PHOTO = Field("photo_sha256", sha256(), False)
_FIX = Field("fix", map_of(FIX, name="fix"), False)
_SEALS = Field("seals", list_of(map_of(NEW_SEAL, name="new seal"), 1, MAX_SEALS))
_READINGS = Field("seals", list_of(map_of(READING, name="seal reading"), 1, MAX_SEALS), meaning="every seal in force")
_MASS = Field("mass_g", MASS)
_CONTAINERS = Field("containers", list_of(CONTAINER, 0, MAX_CONTAINERS, unique=True))
_LEG = integer(60, MAX_LEG_LIMIT_S)
_MAYBE_SEALS = Field("seals", list_of(map_of(NEW_SEAL, name="new seal"), 1, MAX_SEALS), False, "new seals")
_FINDINGS = Field("findings", list_of(text(), 1, MAX_FINDINGS))

SCHEMAS: dict[str, Schema] = {
    "plan": Schema(
        (
            Field("declarations", list_of(identifier(parse_ucr, "UCR"), 1, MAX_DECLARATIONS, unique=True)),
            Field("truck", PARTICIPANT, meaning="participant id of the vehicle's computer"),
            Field("vehicle", VEHICLE),
            Field("carrier", PARTICIPANT, meaning="liable up to the handover"),
            Field("receiver", PARTICIPANT, meaning="liable after it"),
            _CONTAINERS,
            Field("exit_post", PLACE),
            Field("entry_post", PLACE),
            Field("route", list_of(PLACE, 0, MAX_ROUTE_PLACES)),
            Field("corridor_m", integer(1, MAX_CORRIDOR_M)),
            Field("limit_to_border_s", _LEG),
            Field("limit_to_destination_s", _LEG),
        ),
        meaning="Customs of departure plans a movement: its goods, truck, containers, posts, route and time limits.",
    ),
    "load": Schema(
        (_CONTAINERS, _MASS), meaning="The departure terminal has loaded the planned containers, and weighed."
    ),
    "seal": Schema(
        (_SEALS, Field("photo_sha256", sha256())),
        meaning="Customs or the terminal of departure has closed the load with these seals.",
    ),
    "start": Schema(
        (_NOTE,), meaning="Customs of departure lets the movement go; the time limit to the border begins."
    ),
    "refuse_start": Schema(
        (_REASON,), meaning="Customs of departure gives the plan up; its containers are free again."
    ),
    "position": Schema(
        (_FIX, Field("batch", map_of(BATCH, name="batch"), False)),
        exactly_one=("fix", "batch"),
        meaning="The truck reports where it is, or the hash of a batch of fixes.",
    ),
    "reach_border": Schema(
        (_FIX, _PHOTO),
        meaning="The truck, or the departure gate, reports that the border is reached; it counts when both have.",
    ),
    "offer": Schema(
        (_READINGS, _MASS, Field("photo_sha256", sha256())),
        meaning="The departure terminal reads every seal, weighs, and offers the goods.",
    ),
    "accept": Schema(
        (_READINGS, _MASS, _PHOTO),
        meaning="The destination terminal reads the same, and takes the goods over: custody and liability pass.",
    ),
    "accept_with_differences": Schema(
        (_READINGS, _MASS, _PHOTO, _NOTE),
        meaning="The destination terminal reads something else than it was offered; the authorities decide.",
    ),
    "refuse_handover": Schema(
        (_REASON,), meaning="The destination side does not take the goods; they may be offered again."
    ),
    "resolve": Schema(
        (Field("decision", choice("handed_over", "returned")), _REASON, _MAYBE_SEALS),
        meaning="An officer of either authority says how a dispute ends; it does when both say the same. New seals are "
        "put on at once, and are needed before goods whose seals were not found intact go over.",
    ),
    "turn_back": Schema(
        (_REASON,), meaning="An officer of the departure side takes a truck back from the border, with its goods."
    ),
    "arrive": Schema((_FIX, _PHOTO), meaning="The destination terminal reports the arrival."),
    "unload": Schema(
        (
            Field("as_declared", boolean()),
            Field(
                "seals",
                list_of(map_of(READING, name="seal reading"), 0, MAX_SEALS),
                False,
                "every seal in force; required if there are any",
            ),
            Field("mass_g", MASS, False),
            _NOTE,
        ),
        meaning="Customs of destination records the unloading; as declared, it discharges the movement at once.",
    ),
    "discrepancy": Schema((_FINDINGS,), meaning="Customs of destination records what differs."),
    "recover": Schema((_REASON,), meaning="Customs of the side that has custody begins to recover what is owed."),
    "discharge": Schema(
        (_REASON,), meaning="Customs of the side that has custody discharges the movement; the guarantee is free."
    ),
    "incident": Schema(
        (
            Field("code", choice(*INCIDENTS)),
            Field("seal", SEAL, False, "the seal that the incident is about"),
            Field("vehicle", VEHICLE, False, "the vehicle that the goods are on now"),
            _FIX,
            _PHOTO,
            _NOTE,
        ),
        meaning="Someone who can see the movement reports an incident by its code, with the consequence of its table.",
    ),
    "resume": Schema(
        (
            _MAYBE_SEALS,
            Field("vehicle", VEHICLE, False, "the vehicle it goes on with"),
            Field("truck", PARTICIPANT, False, "participant id of that vehicle's computer, if another"),
            Field("mass_g", MASS, False, "what it weighs, if the vehicle changed"),
            Field(
                "containers",
                list_of(CONTAINER, 0, MAX_CONTAINERS, unique=True),
                False,
                "all that the goods are in now, if they were transferred",
            ),
            _PHOTO,
            _NOTE,
        ),
        meaning="An officer of the side that has custody lets a held movement go on.",
    ),
    "abort": Schema((_REASON,), meaning="An officer of the side that has custody ends a held movement."),
    "resolve_overdue": Schema(
        (
            Field("decision", choice("continue", "abort", "recover")),
            Field("limit_s", _LEG, False, "the new limit from now, if it continues"),
            _REASON,
        ),
        meaning="An officer of the side that has custody gives a late movement a new limit, or ends it.",
    ),
}

"""Outcomes: what became of a statement, as numbers that never change.

Design section 7: a committed statement always yields an outcome; a rejection is data, never an exception. A number,
once given, keeps its meaning for ever (`tests/contracts/outcomes.golden` holds every one of them); a retired code is
left unused. The name states the fact that stood in the way. Where several facts do, the order in which they are looked
for is fixed: first the statement (1xx, in the order of the numbers 103 to 120), then the contract's own facts.

Blocks: 0 accepted, 1xx statement and registry, 2xx declaration, 3xx escort, 9xx kernel.
"""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """One outcome. `Outcome.X.fact` is the name that goes over the wire."""

    ACCEPTED = 0

    # The statement, before any contract looks at it. 101 and 102 are found by whoever holds the chain's indexes.
    ALREADY_ACCEPTED = 101
    CTI_REUSED = 102
    KIND_UNKNOWN = 103
    SUBJECT_INVALID = 104
    PAYLOAD_FIELD_MISSING = 105
    PAYLOAD_FIELD_UNKNOWN = 106
    PAYLOAD_FIELD_WRONG_TYPE = 107
    PAYLOAD_FIELD_OUT_OF_LIMITS = 108
    PAYLOAD_IDENTIFIER_INVALID = 109
    ISSUER_UNKNOWN = 110
    KEY_UNKNOWN = 111
    KEY_NOT_YET_VALID = 112
    KEY_SUSPENDED = 113
    KEY_REVOKED = 114
    KEY_EXPIRED = 115
    SIGNATURE_INVALID = 116
    ROLE_NOT_ALLOWED = 117
    SIDE_NOT_ALLOWED = 118
    IAT_TOO_OLD = 119
    IAT_IN_FUTURE = 120

    PARTICIPANT_UNKNOWN = 130
    PARTICIPANT_ALREADY_ENROLLED = 131
    REGISTRY_TRANSITION_NOT_ALLOWED = 132
    PARTICIPANT_ID_OF_OTHER_AUTHORITY = 133
    KEY_MALFORMED = 134
    KEY_ALREADY_ENROLLED = 135
    KEY_NOT_OF_PARTICIPANT = 136
    KEY_VALIDITY_EMPTY = 137
    KEY_LIMIT_REACHED = 138
    LAST_REGISTRAR_KEY = 139
    ENVELOPE_KEY_NOT_OF_AUTHORITY = 148
    ENVELOPE_KEY_ALREADY_PUBLISHED = 149

    DECLARATION_UNKNOWN = 200
    DECLARATION_ALREADY_LODGED = 201
    DECLARATION_TRANSITION_NOT_ALLOWED = 202
    RECOGNITION_TRANSITION_NOT_ALLOWED = 203
    DECLARATION_AUTHORITY_UNKNOWN = 204
    DECLARATION_PARTNER_IS_HOME = 205
    DECLARATION_CARRIER_UNKNOWN = 206
    GOODS_MASS_EXCEEDS_GROSS_MASS = 207
    DECLARATION_NUMBER_INVALID = 208
    DECLARATION_NUMBER_TAKEN = 209
    DECLARATION_NUMBER_MISSING = 210
    DECLARATION_NUMBER_ALREADY_GIVEN = 211
    AMENDMENT_PENDING = 212
    AMENDMENT_NOT_PENDING = 213
    INVALIDATION_PENDING = 214
    INVALIDATION_NOT_REQUESTED = 215
    DECLARATION_IN_MOVEMENT = 216
    CORRECTION_MISSING = 217
    CORRECTION_NOT_EXPECTED = 218
    DECLARATION_VERSION_DIFFERS = 219
    DECLARATION_NOT_ACCEPTED = 220

    # Fields that are committed to instead of open.
    COMMITMENTS_NOT_IN_ORDER = 250
    COMMITMENT_OF_NOTHING = 251
    FIELD_OPEN_AND_COMMITTED = 252
    FIELD_NEITHER_OPEN_NOR_COMMITTED = 253
    ENVELOPE_MISSING = 254
    ENVELOPE_NOT_EXPECTED = 255

    MOVEMENT_UNKNOWN = 300
    MOVEMENT_ALREADY_PLANNED = 301
    MOVEMENT_TRANSITION_NOT_ALLOWED = 302
    MRN_COUNTRY_DIFFERS = 303
    MOVEMENT_DECLARATION_UNKNOWN = 304
    DECLARATION_HOME_DIFFERS = 305
    DECLARATION_PARTNER_DIFFERS = 306
    DECLARATION_NOT_RELEASED = 307
    DECLARATION_NOT_RECOGNISED = 308
    DECLARATION_VERSION_CHANGED = 309
    TRUCK_UNKNOWN = 310
    CARRIER_UNKNOWN = 311
    RECEIVER_UNKNOWN = 312
    POST_NOT_ALLOWED = 313
    CORRIDOR_TOO_WIDE = 314
    LEG_LIMIT_TOO_LONG = 315
    CONTAINER_NOT_DECLARED = 316
    CONTAINER_IN_OTHER_MOVEMENT = 317
    CONTAINERS_DIFFER_FROM_PLAN = 318
    SEAL_ALREADY_USED = 319
    SEAL_DEVICE_UNKNOWN = 320
    SEAL_CONTAINER_NOT_ON_MOVEMENT = 321
    SEAL_LIMIT_REACHED = 322
    BORDER_ALREADY_REPORTED = 323
    SEAL_READINGS_DIFFER = 324
    SEAL_NOT_INTACT = 325
    SEAL_READINGS_MISSING = 326
    MASS_OUT_OF_TOLERANCE = 327
    NO_DIFFERENCE_FOUND = 328
    INCIDENT_NEEDS_SEAL = 329
    SEAL_NOT_ON_MOVEMENT = 330
    SEAL_OF_OTHER_DEVICE = 331
    NEW_SEALS_REQUIRED = 332
    NEW_VEHICLE_REQUIRED = 333
    LEG_LIMIT_MISSING = 334

    # A contract version on the ledger that this program does not have: nothing of that contract may be decided here.
    CONTRACT_VERSION_UNKNOWN = 900

    @property
    def fact(self) -> str:
        """The stable name, in lower case: `declaration_not_released`."""
        return self.name.lower()

    @property
    def accepted(self) -> bool:
        return self is Outcome.ACCEPTED

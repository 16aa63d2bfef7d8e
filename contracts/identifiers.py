"""Identifiers of the customs domain: parse, validate, keep canonical.

Each `parse_*` takes the canonical spelling and nothing else, so that one thing has one key on the ledger: no lower
case, no blanks, no left-out separators. It gives a frozen value whose `str()` is the text it was parsed from, or raises
`IdentifierError`, which says which character is wrong. Only form and check digits are judged: whether a customs
office, a tariff line or a container exists is the operator's to know.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

MAX_UCR_CHARS = 35
MAX_SEAL_CHARS = 20
MAX_PLATE_CHARS = 12
MAX_FLEET_ID_CHARS = 32
MAX_LOCAL_POST_CHARS = 16
MAX_PARTICIPANT_ID_CHARS = 64
MAX_MASS_G = 10**12  # a million tonnes
MAX_LATITUDE_UDEG = 90_000_000
MAX_LONGITUDE_UDEG = 180_000_000

DIGITS = frozenset("0123456789")
UPPER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
UPPER_OR_DIGIT = UPPER | DIGITS
UCR_CHARS = UPPER_OR_DIGIT | frozenset("-/")
SEAL_CHARS = UPPER_OR_DIGIT | frozenset("-/")
FLEET_CHARS = UPPER_OR_DIGIT | frozenset("-")
LOCODE_PLACE_CHARS = UPPER | frozenset("23456789")
PARTICIPANT_FIRST_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
SEAL_CLASSES = {"I": "indicative", "S": "security", "H": "high security"}
PARTICIPANT_CHARS = PARTICIPANT_FIRST_CHARS | frozenset("./_-")


class IdentifierError(ValueError):
    """Text that is no identifier of its kind: which character (counted from 1), what was expected, what stood there."""

    def __init__(self, kind: str, position: int, expected: str, got: str) -> None:
        super().__init__(f"{kind}: character {position}: expected {expected}, got {got}")
        self.kind = kind
        self.position = position
        self.expected = expected
        self.got = got


def _shown(text: str, index: int) -> str:
    return repr(text[index]) if index < len(text) else "the end"


def _expect_length(kind: str, text: str, length: int) -> None:
    if len(text) < length:
        raise IdentifierError(kind, len(text) + 1, f"{length} characters", f"{len(text)}")
    if len(text) > length:
        raise IdentifierError(kind, length + 1, f"the end after {length} characters", _shown(text, length))


def _expect_length_within(kind: str, text: str, longest: int) -> None:
    if not text:
        raise IdentifierError(kind, 1, f"1 to {longest} characters", "the end")
    if len(text) > longest:
        raise IdentifierError(kind, longest + 1, f"the end after at most {longest} characters", _shown(text, longest))


def _expect_chars(kind: str, text: str, start: int, stop: int, allowed: frozenset[str], expected: str) -> None:
    if stop <= len(text) and allowed.issuperset(text[start:stop]):
        return
    for index in range(start, stop):
        if index >= len(text) or text[index] not in allowed:
            raise IdentifierError(kind, index + 1, expected, _shown(text, index))


def _iso6346_values() -> dict[str, int]:
    values = {str(digit): digit for digit in range(10)}
    value = 10
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        if value % 11 == 0:  # 11, 22 and 33 are skipped: they would make two letters count alike modulo 11
            value += 1
        values[letter] = value
        value += 1
    return values


ISO6346_VALUES = _iso6346_values()


def iso6346_check_digit(text: str) -> int:
    """Sum of value times 2^position, modulo 11, 10 counted as 0. For containers (10 places) and MRNs (17 places).

    What it catches: 2^position is never 0 modulo 11, so one changed character changes the sum by (new - old) times
    2^position, and two neighbours that change places change it by their difference times 2^position. It is not caught
    where the two values are equal modulo 11 (a digit and letters, such as 1, B, L and V, or letters alone: A, K and U),
    and where the sum goes from 0 to 10 or back, since both are written 0: the known weakness, for which owners avoid
    serial numbers whose sum is 10.
    """
    return sum(ISO6346_VALUES[char] << index for index, char in enumerate(text)) % 11 % 10


def _expect_check_digit(kind: str, text: str) -> None:
    index = len(text) - 1
    _expect_chars(kind, text, index, len(text), DIGITS, "a digit")
    digit = iso6346_check_digit(text[:index])
    if int(text[index]) != digit:
        raise IdentifierError(kind, index + 1, f"check digit {digit}", _shown(text, index))


def _expect_date(kind: str, start: int, year: int, month: int, day: int) -> datetime.date:
    try:
        return datetime.date(year, month, day)
    except ValueError as error:
        raise IdentifierError(kind, start + 1, "a date that exists", f"{year:04}-{month:02}-{day:02}") from error


@dataclass(frozen=True, slots=True)
class Ucr:
    text: str

    def __str__(self) -> str:
        return self.text


def parse_ucr(text: str) -> Ucr:
    """Unique consignment reference: 1 to 35 of `A-Z0-9-/`."""
    _expect_length_within("ucr", text, MAX_UCR_CHARS)
    _expect_chars("ucr", text, 0, len(text), UCR_CHARS, "A-Z, 0-9, - or /")
    return Ucr(text)


@dataclass(frozen=True, slots=True)
class KzNumber:
    office: str
    date: datetime.date
    serial: str
    transit: bool

    def __str__(self) -> str:
        date = self.date.strftime("%y%m%d" if self.transit else "%d%m%y")
        return f"{self.office}/{date}/{self.serial}"


def parse_kz_number(text: str) -> KzNumber:
    """`NNNNN/ddmmyy/NNNNNNN`, or the transit and express form `398NNNNN/yymmdd/NNNNNNN`."""
    kind = "kz number"
    transit = text.find("/") == 8
    office_digits = 8 if transit else 5
    _expect_chars(kind, text, 0, office_digits, DIGITS, "a digit")
    if transit and not text.startswith("398"):
        index = next(index for index, char in enumerate("398") if text[index] != char)
        raise IdentifierError(kind, index + 1, "398 and a customs office", _shown(text, index))
    date_at = office_digits + 1
    _expect_chars(kind, text, office_digits, date_at, frozenset("/"), "/")
    _expect_chars(kind, text, date_at, date_at + 6, DIGITS, "a digit")
    _expect_chars(kind, text, date_at + 6, date_at + 7, frozenset("/"), "/")
    _expect_chars(kind, text, date_at + 7, date_at + 14, DIGITS, "a digit")
    _expect_length(kind, text, date_at + 14)
    first, month, last = (int(text[date_at + step : date_at + step + 2]) for step in (0, 2, 4))
    year, day = (first, last) if transit else (last, first)
    date = _expect_date(kind, date_at, 2000 + year, month, day)
    return KzNumber(text[:office_digits], date, text[date_at + 7 :], transit)


@dataclass(frozen=True, slots=True)
class CnNumber:
    office: str
    year: int
    is_import: bool
    serial: str

    def __str__(self) -> str:
        return f"{self.office}{self.year:04}{int(self.is_import)}{self.serial}"


def parse_cn_number(text: str) -> CnNumber:
    """18 digits: office 4, year 4, `1` import or `0` export, serial 9."""
    kind = "cn number"
    _expect_chars(kind, text, 0, min(len(text), 18), DIGITS, "a digit")
    _expect_length(kind, text, 18)
    if text[4:6] not in ("19", "20"):
        raise IdentifierError(kind, 5, "a year of 1900 to 2099", text[4:8])
    _expect_chars(kind, text, 8, 9, frozenset("01"), "1 (import) or 0 (export)")
    return CnNumber(text[:4], int(text[4:8]), text[8] == "1", text[9:])


@dataclass(frozen=True, slots=True)
class Mrn:
    """`procedure` is the 17th character where it is a letter: the procedure identifier of the phase-5 form."""

    year: int
    country: str
    identifier: str
    procedure: str | None
    check_digit: int

    def __str__(self) -> str:
        return f"{self.year:02}{self.country}{self.identifier}{self.procedure or ''}{self.check_digit}"

    @property
    def form(self) -> str:
        """`phase_5` with a procedure identifier; `transition` where the identifier runs through the 17th character."""
        return "transition" if self.procedure is None else "phase_5"


def parse_mrn(text: str) -> Mrn:
    """Movement reference number: year 2, country 2, 12 characters, one of `A-Z0-9`, check digit."""
    _expect_chars("mrn", text, 0, 2, DIGITS, "a digit of the year")
    _expect_chars("mrn", text, 2, 4, UPPER, "a letter of the country code")
    _expect_chars("mrn", text, 4, min(len(text), 17), UPPER_OR_DIGIT, "A-Z or 0-9")
    _expect_length("mrn", text, 18)
    _expect_check_digit("mrn", text)
    procedure = text[16] if text[16] in UPPER else None
    return Mrn(int(text[:2]), text[2:4], text[4 : 16 if procedure else 17], procedure, int(text[17]))


@dataclass(frozen=True, slots=True)
class Container:
    owner: str
    category: str
    serial: str
    check_digit: int

    def __str__(self) -> str:
        return f"{self.owner}{self.category}{self.serial}{self.check_digit}"


def parse_container(text: str) -> Container:
    """ISO 6346: owner 3 letters, category U, J, Z or R, serial 6 digits, check digit."""
    kind = "container"
    _expect_chars(kind, text, 0, 3, UPPER, "a letter of the owner code")
    _expect_chars(kind, text, 3, 4, frozenset("UJZR"), "category U, J, Z or R")
    _expect_chars(kind, text, 4, 10, DIGITS, "a digit")
    _expect_length(kind, text, 11)
    _expect_check_digit(kind, text)
    return Container(text[:3], text[3], text[4:10], int(text[10]))


@dataclass(frozen=True, slots=True)
class SealNumber:
    text: str

    def __str__(self) -> str:
        return self.text


def parse_seal(text: str) -> SealNumber:
    """The number on a seal: 1 to 20 of `A-Z0-9-/`. Its ISO 17712 class stands in a field of its own."""
    _expect_length_within("seal", text, MAX_SEAL_CHARS)
    _expect_chars("seal", text, 0, len(text), SEAL_CHARS, "A-Z, 0-9, - or /")
    return SealNumber(text)


@dataclass(frozen=True, slots=True)
class SealClass:
    """How much force a mechanical seal withstands (ISO 17712)."""

    letter: str

    @property
    def meaning(self) -> str:
        return SEAL_CLASSES[self.letter]

    def __str__(self) -> str:
        return self.letter


def parse_seal_class(text: str) -> SealClass:
    """ISO 17712: `I` indicative, `S` security, `H` high security."""
    kind = "seal class"
    _expect_chars(kind, text, 0, 1, frozenset(SEAL_CLASSES), "I (indicative), S (security) or H (high security)")
    _expect_length(kind, text, 1)
    return SealClass(text)


@dataclass(frozen=True, slots=True)
class Place:
    """`code` is a UN/LOCODE, or `CC/NAME` with a position where the place has none."""

    country: str
    code: str
    latitude_udeg: int | None = None
    longitude_udeg: int | None = None

    def __str__(self) -> str:
        return self.code if self.latitude_udeg is None else f"{self.code}@{self.latitude_udeg},{self.longitude_udeg}"


def parse_place(text: str) -> Place:
    """A UN/LOCODE (`CNBKT`), or a local post and its position in micro-degrees (`KZ/BAKHTY@46660000,82750000`)."""
    kind = "place"
    _expect_chars(kind, text, 0, 2, UPPER, "a letter of the country code")
    if text[2:3] != "/":
        _expect_chars(kind, text, 2, min(max(len(text), 3), 5), LOCODE_PLACE_CHARS, "A-Z or 2-9 of a UN/LOCODE, or /")
        _expect_length(kind, text, 5)
        return Place(text[:2], text)
    at = text.find("@")
    if at < 0:
        raise IdentifierError(kind, len(text) + 1, "@ and a position", "the end")
    if not 4 <= at <= 3 + MAX_LOCAL_POST_CHARS:
        raise IdentifierError(kind, 4, f"a post code of 1 to {MAX_LOCAL_POST_CHARS} characters", f"{at - 3}")
    _expect_chars(kind, text, 3, at, FLEET_CHARS, "A-Z, 0-9 or -")
    comma = text.find(",", at)
    if comma < 0:
        raise IdentifierError(kind, len(text) + 1, ", and a longitude", "the end")
    latitude = _micro_degrees(kind, text, at + 1, comma, MAX_LATITUDE_UDEG)
    longitude = _micro_degrees(kind, text, comma + 1, len(text), MAX_LONGITUDE_UDEG)
    return Place(text[:2], text[:at], latitude, longitude)


def _micro_degrees(kind: str, text: str, start: int, stop: int, limit: int) -> int:
    digits_at = start + 1 if text[start : start + 1] == "-" else start
    if stop == digits_at or stop - digits_at > 9:
        raise IdentifierError(kind, digits_at + 1, "1 to 9 digits of micro-degrees", f"{stop - digits_at}")
    _expect_chars(kind, text, digits_at, stop, DIGITS, "a digit of micro-degrees")
    value = int(text[start:stop])
    if str(value) != text[start:stop]:
        raise IdentifierError(kind, start + 1, f"the shortest spelling {value}", text[start:stop])
    if abs(value) > limit:
        raise IdentifierError(kind, start + 1, f"at most {limit} micro-degrees", text[start:stop])
    return value


@dataclass(frozen=True, slots=True)
class HsCode:
    """`national` where the chapter (98, 99) has a meaning only in one country."""

    code: str

    @property
    def chapter(self) -> int:
        return int(self.code[:2])

    @property
    def heading(self) -> str:
        """The first four digits."""
        return self.code[:4]

    @property
    def subheading(self) -> str:
        """The six digits that all countries share."""
        return self.code[:6]

    @property
    def national_line(self) -> str | None:
        """The four digits that a country added, or None."""
        return self.code[6:] or None

    @property
    def national(self) -> bool:
        return self.chapter >= 98

    def __str__(self) -> str:
        return self.code


def parse_hs(text: str) -> HsCode:
    """Six digits of the Harmonized System, or a national code of ten that begins with them. Chapter 77 is reserved."""
    kind = "hs"
    _expect_chars(kind, text, 0, min(len(text), 10), DIGITS, "a digit")
    if len(text) != 6:
        if len(text) < 6:
            raise IdentifierError(kind, len(text) + 1, "6 or 10 digits", f"{len(text)}")
        _expect_length(kind, text, 10)
    if text[:2] in ("00", "77"):
        raise IdentifierError(kind, 1, "a chapter of 01 to 76 or 78 to 99", text[:2])
    return HsCode(text)


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A registered vehicle (`country` and `plate`), or an unmanned one of a fleet (`fleet_id`)."""

    country: str | None
    plate: str | None
    fleet_id: str | None

    def __str__(self) -> str:
        return f"{self.country}/{self.plate}" if self.fleet_id is None else f"fleet/{self.fleet_id}"


def _is_plate_char(char: str) -> bool:
    # Plates of mainland China begin with a Chinese character for the province.
    return char in UPPER_OR_DIGIT or "\u4e00" <= char <= "\u9fff"


def parse_vehicle(text: str) -> Vehicle:
    """`KZ/123ABC02` (country and plate), or `fleet/BKT-0001`."""
    kind = "vehicle"
    if text.startswith("fleet/"):
        fleet_id = text[6:]
        if not 1 <= len(fleet_id) <= MAX_FLEET_ID_CHARS:
            raise IdentifierError(kind, 7, f"a fleet id of 1 to {MAX_FLEET_ID_CHARS} characters", f"{len(fleet_id)}")
        _expect_chars(kind, text, 6, len(text), FLEET_CHARS, "A-Z, 0-9 or -")
        return Vehicle(None, None, fleet_id)
    _expect_chars(kind, text, 0, 2, UPPER, "a letter of the country code, or fleet/")
    _expect_chars(kind, text, 2, 3, frozenset("/"), "/")
    plate = text[3:]
    if not 1 <= len(plate) <= MAX_PLATE_CHARS:
        raise IdentifierError(kind, 4, f"a plate of 1 to {MAX_PLATE_CHARS} characters", f"{len(plate)}")
    for index, char in enumerate(plate):
        if not _is_plate_char(char):
            raise IdentifierError(kind, index + 4, "A-Z, 0-9 or a Chinese character", repr(char))
    return Vehicle(text[:2], plate, None)


@dataclass(frozen=True, slots=True)
class Mass:
    """Whole grams: what is hashed has no fractions."""

    grams: int

    def __str__(self) -> str:
        return str(self.grams)


def parse_mass(text: str) -> Mass:
    """Whole grams in decimal, from 1 up, without leading zeros: 33 t are `33000000`."""
    kind = "mass"
    longest = len(str(MAX_MASS_G))
    _expect_length_within(kind, text, longest)
    _expect_chars(kind, text, 0, 1, DIGITS - {"0"}, "1-9: whole grams without leading zeros")
    _expect_chars(kind, text, 1, len(text), DIGITS, "a digit of whole grams")
    if int(text) > MAX_MASS_G:
        raise IdentifierError(kind, 1, f"at most {MAX_MASS_G} g", text)
    return Mass(int(text))


@dataclass(frozen=True, slots=True)
class ParticipantId:
    text: str

    @property
    def namespace(self) -> str:
        """What stands before the first slash: the name or country of the authority that may enrol it."""
        return self.text.partition("/")[0]

    def __str__(self) -> str:
        return self.text


def parse_participant_id(text: str) -> ParticipantId:
    """1 to 64 of `a-z0-9./_-`, beginning with a letter or digit."""
    kind = "participant id"
    _expect_length_within(kind, text, MAX_PARTICIPANT_ID_CHARS)
    _expect_chars(kind, text, 0, 1, PARTICIPANT_FIRST_CHARS, "a-z or 0-9")
    _expect_chars(kind, text, 1, len(text), PARTICIPANT_CHARS, "a-z, 0-9, ., /, _ or -")
    return ParticipantId(text)


def parse_country(text: str) -> str:
    """ISO 3166-1 alpha-2, form only."""
    _expect_chars("country", text, 0, min(len(text), 2), UPPER, "a letter")
    _expect_length("country", text, 2)
    return text


def parse_date(text: str) -> datetime.date:
    """`YYYY-MM-DD`."""
    kind = "date"
    for start, stop in ((0, 4), (5, 7), (8, 10)):
        _expect_chars(kind, text, start, stop, DIGITS, "a digit")
        if stop < 10:
            _expect_chars(kind, text, stop, stop + 1, frozenset("-"), "-")
    _expect_length(kind, text, 10)
    return _expect_date(kind, 0, int(text[:4]), int(text[5:7]), int(text[8:]))


# Which form a national declaration number has, by the country of the authority that gives it.
NATIONAL_NUMBERS: dict[str, Callable[[str], object]] = {"CN": parse_cn_number, "KZ": parse_kz_number}


def parse_national_number(country: str, text: str) -> None:
    """The number of a declaration in `country`; where no form is registered, that of a UCR."""
    NATIONAL_NUMBERS.get(country, parse_ucr)(text)


def parse_declaration_number(text: str) -> object:
    """The number of a declaration in the form of some country: which one, the contract knows."""
    for parse in NATIONAL_NUMBERS.values():
        try:
            return parse(text)
        except IdentifierError:
            continue
    return parse_ucr(text)

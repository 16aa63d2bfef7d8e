"""Governed parameters: the numbers of the contracts that both authorities may change, never the code.

Each is a record `parameter/<name>` holding `[format, value]`. At genesis those of `FIRST` get one, and those that the
genesis record names; where there is no record, the default holds. Both sides change them by `contracts.governance`. An
unknown name or a value out of its limits is a genesis that nobody may start, and a proposal that is refused.

Names, limits and defaults are part of what a version of `governance` decides by: once released, one that is moved
brings a new version of that contract, or two releases would disagree about a proposal. One that is added comes with the
version of the contract that uses it (`since`): `governance` does not know it before that version is in force, and a
release that does not have the version has stopped by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from contracts.identifiers import IdentifierError, parse_place
from contracts.working import UnreadableRecord
from ledger.cbor import decode, encode
from ledger.errors import Misuse

FORMAT = 1
MAX_POSTS = 64
MAX_REMEMBERED_SETS = 16
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class IntegerParameter:
    default: int
    lowest: int
    highest: int
    meaning: str
    # The contract and the version that has a use for it; governed only where that is in force.
    since: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class TextParameter:
    default: str
    check: Callable[[str], None]
    meaning: str
    since: tuple[str, int] | None = None


def post_codes(text: str) -> tuple[str, ...]:
    """The posts of a list as a parameter spells it: codes of places, separated by one blank."""
    return tuple(text.split(" "))


def _check_posts(text: str) -> None:
    codes = post_codes(text)
    if len(codes) > MAX_POSTS or len(set(codes)) != len(codes):
        raise Misuse(f"parameter posts: expected at most {MAX_POSTS} different posts, got {len(codes)}")
    for code in codes:
        try:
            parse_place(f"{code}@0,0" if "/" in code else code)
        except IdentifierError as error:
            raise Misuse(f"parameter posts: {error}") from error


PARAMETERS: dict[str, IntegerParameter | TextParameter] = {
    "iat_skew_soft_s": IntegerParameter(
        300, 1, DAY_S, "a statement dated further from the block time than this is counted as flagged"
    ),
    "iat_skew_hard_s": IntegerParameter(
        3 * DAY_S, 60, 30 * DAY_S, "a statement dated further from the block time than this is refused"
    ),
    "mass_tolerance_permille": IntegerParameter(5, 0, 1000, "by how much two weighings may differ, of the greater"),
    "mass_tolerance_g": IntegerParameter(50_000, 0, 10_000_000, "two weighings may always differ by this much"),
    "offer_lapse_s": IntegerParameter(1_800, 10, 7 * DAY_S, "an offer not answered in this time lapses"),
    "leg_limit_s": IntegerParameter(3 * DAY_S, 60, 30 * DAY_S, "the longest time limit that a plan may give a leg"),
    "corridor_m": IntegerParameter(2_000, 10, 100_000, "the widest corridor that a plan may give a route"),
    "posts": TextParameter("CNBKT KZ/BAKHTY", _check_posts, "posts that a movement may leave and enter by"),
    "proposal_lapse_s": IntegerParameter(
        14 * DAY_S, 3_600, 366 * DAY_S, "a proposal that not every authority has approved in this time lapses"
    ),
    "effect_lead_blocks": IntegerParameter(
        10, 1, 100_000, "what all have approved takes effect at the earliest so many blocks later"
    ),
    "pass_minutes": IntegerParameter(
        30, 1, 1_440, "so long a crossing pass counts, from when it was signed", ("governance", 2)
    ),
    "late_report_s": IntegerParameter(
        3 * DAY_S,
        0,
        30 * DAY_S,
        "a truck's report of a journey that is over for longer than this is refused",
        ("escort", 2),
    ),
}
# With a record in every network: so it was when there were no others, and what began then must come out the same.
FIRST = (
    "iat_skew_soft_s",
    "iat_skew_hard_s",
    "mass_tolerance_permille",
    "mass_tolerance_g",
    "offer_lapse_s",
    "leg_limit_s",
    "corridor_m",
    "posts",
)


def parameter_key(name: str) -> str:
    return f"parameter/{name}"


def encode_parameter(value: int | str) -> bytes:
    return encode([FORMAT, value])


def decode_parameter(raw: bytes) -> int | str:
    fields = decode(raw)
    if not isinstance(fields, list) or fields[0] != FORMAT or not isinstance(fields[1], int | str):
        raise UnreadableRecord(f"parameter record has an unknown format: {raw.hex()}")
    return fields[1]


def check_parameter(name: str, value: object) -> None:
    """Raise Misuse unless there is such a parameter and it may have this value."""
    rule = PARAMETERS.get(name)
    if rule is None:
        raise Misuse(f"unknown parameter: expected one of {', '.join(PARAMETERS)}, got {name}")
    if isinstance(rule, IntegerParameter):
        if type(value) is not int or not rule.lowest <= value <= rule.highest:
            raise Misuse(f"parameter {name}: expected {rule.lowest} to {rule.highest}, got {value!r}")
    elif type(value) is not str:
        raise Misuse(f"parameter {name}: expected text, got {value!r}")
    else:
        rule.check(value)


def contradiction(get: Callable[[str], int | str]) -> str | None:
    """What is wrong with values that are each within their limits; None if they go together."""
    soft, hard = get("iat_skew_soft_s"), get("iat_skew_hard_s")
    if int(soft) > int(hard):
        return f"iat_skew_soft_s: expected at most iat_skew_hard_s, {hard}, got {soft}"
    return None


def genesis_parameters(named: Mapping[str, int | str]) -> dict[str, int | str]:
    """The parameters that have a record from the beginning, with the values that they begin with."""
    for name, value in sorted(named.items()):
        check_parameter(name, value)
    return {name: named.get(name, rule.default) for name, rule in PARAMETERS.items() if name in FIRST or name in named}


def parameter_value(get: Callable[[str], bytes | None], name: str) -> int | str:
    """The value in force: that of the record, or the default where there is none."""
    raw = get(parameter_key(name))
    return PARAMETERS[name].default if raw is None else decode_parameter(raw)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters as a block finds them."""

    iat_skew_soft_s: int
    iat_skew_hard_s: int
    mass_tolerance_permille: int
    mass_tolerance_g: int
    offer_lapse_s: int
    leg_limit_s: int
    corridor_m: int
    proposal_lapse_s: int
    effect_lead_blocks: int
    pass_minutes: int
    late_report_s: int
    posts: frozenset[str]

    def mass_within_tolerance(self, one_g: int, other_g: int) -> bool:
        """Integers throughout: permille of the greater of the two, or the fixed tolerance if that is more."""
        difference_g = abs(one_g - other_g)
        by_share = difference_g * 1000 <= max(one_g, other_g) * self.mass_tolerance_permille
        return by_share or difference_g <= self.mass_tolerance_g


def read_parameters(get: Callable[[str], bytes | None]) -> Parameters:
    """All parameters as the state has them. UnreadableRecord where one is missing that every state has."""
    records = []
    for name in PARAMETERS:
        raw = get(parameter_key(name))
        if raw is None and name in FIRST:
            raise UnreadableRecord(f"state has no parameter record: expected {parameter_key(name)}")
        records.append(raw)
    return _parameters_of(tuple(records))


@lru_cache(MAX_REMEMBERED_SETS)
def _parameters_of(records: tuple[bytes | None, ...]) -> Parameters:
    values = {
        name: PARAMETERS[name].default if raw is None else decode_parameter(raw)
        for name, raw in zip(PARAMETERS, records, strict=True)
    }
    posts = frozenset(post_codes(str(values.pop("posts"))))
    return Parameters(posts=posts, **{name: int(value) for name, value in values.items()})

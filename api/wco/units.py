"""Measures and amounts of WCO documents as the ledger has them: whole grams, exact decimals, no floating point."""

from __future__ import annotations

import re

# UN/ECE Recommendation 20 codes of mass, in grams. `KGM` is what the profile means where no unit is given.
GRAMS = {"GRM": 1, "KGM": 1_000, "TNE": 1_000_000}
DEFAULT_UNIT = "KGM"
# Digits after the point where they are not two: ISO 4217, the minor units of each currency.
USUAL_MINOR_UNIT_DIGITS = 2
_WITHOUT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_WITH_THREE = "BHD IQD JOD KWD LYD OMR TND"
_WITH_FOUR = "CLF UYW"
MINOR_UNIT_DIGITS = {
    currency: digits
    for digits, currencies in ((0, _WITHOUT), (3, _WITH_THREE), (4, _WITH_FOUR))
    for currency in currencies.split(" ")
}
MAX_INTEGER_DIGITS = 16
MAX_FRACTION_DIGITS = 6

_match_decimal = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,6}))?", re.ASCII).fullmatch
_match_integer = re.compile(r"[0-9]{1,9}", re.ASCII).fullmatch
_match_currency = re.compile(r"[A-Z]{3}", re.ASCII).fullmatch


class MeasureError(ValueError):
    """Text that is no measure of its kind: what was expected, what was got."""


def mass_g(text: str, unit: str | None) -> int:
    """The mass in grams, exactly; MeasureError where it is none or no whole number of grams."""
    factor = GRAMS.get(unit or DEFAULT_UNIT)
    if factor is None:
        raise MeasureError(f"unit of mass: expected one of {', '.join(GRAMS)}, got {unit!r:.40}")
    whole, fraction = _decimal(text, "mass")
    grams, rest = divmod(int(whole + fraction) * factor, int("1" + "0" * len(fraction)))
    if rest:
        raise MeasureError(f"mass: expected a whole number of grams, got {text} {unit or DEFAULT_UNIT}")
    return grams


def count(text: str) -> int:
    """A number of things. A fraction of noughts is the same number."""
    whole, _, fraction = text.partition(".")
    if not _match_integer(whole) or fraction.strip("0") or (fraction and not _match_decimal(text)):
        raise MeasureError(f"number: expected 1 to 9 digits, got {text!r:.40}")
    return int(whole)


def amount(text: str, currency: str | None) -> dict[str, int | str]:
    """An amount of money in the smallest unit of its currency, exactly."""
    if currency is None or not _match_currency(currency):
        raise MeasureError(f"currency: expected three capital letters, got {currency!r:.40}")
    whole, fraction = _decimal(text, "amount")
    digits = MINOR_UNIT_DIGITS.get(currency, USUAL_MINOR_UNIT_DIGITS)
    if fraction[digits:].strip("0"):
        raise MeasureError(f"amount: expected at most {digits} digits after the point in {currency}, got {text}")
    return {"amount": int(whole + fraction[:digits].ljust(digits, "0")), "currency": currency}


def _decimal(text: str, what: str) -> tuple[str, str]:
    match = _match_decimal(text)
    if match is None:
        raise MeasureError(
            f"{what}: expected up to {MAX_INTEGER_DIGITS} digits, a point and up to {MAX_FRACTION_DIGITS} digits, "
            f"got {text!r:.40}"
        )
    return match[1], match[2] or ""

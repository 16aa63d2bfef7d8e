"""Measures are exact or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.wco.units import GRAMS, MeasureError, amount, count, mass_g


@pytest.mark.parametrize(
    ("text", "unit", "grams"),
    [
        ("10", None, 10_000),
        ("10", "", 10_000),
        ("10.5", "KGM", 10_500),
        ("24.6", "TNE", 24_600_000),
        ("0.000001", "TNE", 1),
        ("7", "GRM", 7),
        ("7.000", "GRM", 7),
        ("0.1", "KGM", 100),
        ("0", "KGM", 0),
    ],
)
def test_a_mass_is_a_whole_number_of_grams(text: str, unit: str | None, grams: int) -> None:
    assert mass_g(text, unit) == grams


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("10.0005", "KGM"),
        ("0.5", "GRM"),
        ("1e3", "KGM"),
        ("-1", "KGM"),
        ("+1", "KGM"),
        ("1,5", "KGM"),
        (".5", "KGM"),
        ("5.", "KGM"),
        ("", "KGM"),
        ("NaN", "KGM"),
        ("١٢", "KGM"),
        ("1" * 17, "KGM"),
        ("1.1234567", "TNE"),
        ("10", "LBR"),
        ("10", "kgm"),
        ("10", "KGM#G"),
    ],
)
def test_what_is_no_whole_number_of_grams_is_refused_and_never_rounded(text: str, unit: str) -> None:
    with pytest.raises(MeasureError):
        mass_g(text, unit)


@given(st.decimals(0, 10**9, allow_nan=False, places=6), st.sampled_from(sorted(GRAMS)))
def test_masses_agree_with_decimal_arithmetic(value: Decimal, unit: str) -> None:
    expected = value * GRAMS[unit]
    try:
        assert mass_g(f"{value:f}", unit) == expected
    except MeasureError:
        assert expected != expected.to_integral_value()


def test_a_count_is_an_integer_and_noughts_after_the_point_change_nothing() -> None:
    assert [count(text) for text in ("0", "12", "12.00", "007")] == [0, 12, 12, 7]
    for text in ("12.5", "-1", "", ".0", "1e3", "1" * 10, "12.0000000", "12 "):
        with pytest.raises(MeasureError):
            count(text)


@pytest.mark.parametrize(
    ("text", "currency", "smallest"),
    [
        ("7200.50", "USD", 720_050),
        ("007200.000", "KZT", 720_000),
        ("7200.5", "CNY", 720_050),
        ("7200", "JPY", 7200),
        ("7200.0", "JPY", 7200),
        ("7200.125", "KWD", 7_200_125),
        ("0", "USD", 0),
    ],
)
def test_an_amount_is_in_the_smallest_unit_of_its_currency(text: str, currency: str, smallest: int) -> None:
    assert amount(text, currency) == {"amount": smallest, "currency": currency}


@pytest.mark.parametrize(
    ("text", "currency"),
    [("1", None), ("1", "usd"), ("1", "US"), ("x", "USD"), ("1.2.3", "USD"), ("1.234", "USD"), ("1.5", "JPY")],
)
def test_what_is_no_exact_amount_is_refused(text: str, currency: str | None) -> None:
    with pytest.raises(MeasureError):
        amount(text, currency)
